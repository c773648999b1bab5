//! Public keys: blobs of RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, and the signatures they verify.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64, Base64Unpadded, Encoding};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Rsa;
use openssl::sign::Verifier;

use super::KeyError;
use super::algorithm::{KeyType, signature};
use crate::crypto::hash::HashAlg;
use crate::wire::{Mpint, Reader};

/// RSA keys shorter than this verify and sign nothing (NIST SP 800-131A).
pub(crate) const RSA_MIN: usize = 2048;
/// Longer ones only burn time; OpenSSH's and Go's figure.
pub(crate) const RSA_MAX: usize = 16384;
/// An Ed25519 signature, RFC 8032.
const ED25519_SIGNATURE: usize = 64;

/// A public key of any type. Equal when the blobs are.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    kind: KeyType,
    blob: Vec<u8>,
    key: PKey<Public>,
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.blob == other.0.blob
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.blob.cmp(&other.0.blob)
    }
}

impl std::hash::Hash for PublicKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.blob.hash(state);
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.key_type(), self.fingerprint())
    }
}

/// The curve of an ECDSA key and its name inside the blob.
pub(super) fn curve(kind: KeyType) -> Option<(Nid, &'static [u8])> {
    match kind {
        KeyType::EcdsaP256 => Some((Nid::X9_62_PRIME256V1, b"nistp256")),
        KeyType::EcdsaP384 => Some((Nid::SECP384R1, b"nistp384")),
        KeyType::EcdsaP521 => Some((Nid::SECP521R1, b"nistp521")),
        _ => None,
    }
}

impl PublicKey {
    /// Reads a key blob as it stands on the wire, in agents and, in base64, in files.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for types that are not built, [`KeyError::Malformed`] otherwise.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let mut reader = Reader::new(blob);
        let name = reader.string()?;
        let kind = KeyType::by_name(name)
            .ok_or_else(|| KeyError::Unsupported(format!("key type {}", crate::wire::Escaped(name))))?;
        let key = match kind {
            KeyType::Ed25519 => ed25519(reader.string()?)?,
            KeyType::Rsa => {
                let (e, n) = (reader.get::<Mpint<'_>>()?, reader.get::<Mpint<'_>>()?);
                rsa(e, n)?
            }
            _ => {
                let (nid, curve_name) = curve(kind).ok_or(KeyError::Malformed("no curve"))?;
                if reader.string()? != curve_name {
                    return Err(KeyError::Malformed("the curve is not the one of its type"));
                }
                ecdsa(nid, reader.string()?)?
            }
        };
        reader.finish()?;
        Ok(Self(Arc::new(Inner { kind, blob: blob.to_vec(), key })))
    }

    /// Reads `type base64 comment`, as public key files and `authorized_keys` have it; the comment
    /// comes with the key.
    ///
    /// # Errors
    /// As [`from_blob`](Self::from_blob); also when the type named is not the blob's.
    pub fn from_line(line: &str) -> Result<(Self, String), KeyError> {
        let mut words = line.trim().splitn(3, [' ', '\t']);
        let (Some(kind), Some(base64)) = (words.next(), words.next()) else {
            return Err(KeyError::Malformed("a public key line has a type and a base64 blob"));
        };
        let blob = decode_base64(base64)?;
        let key = Self::from_blob(&blob)?;
        if key.key_type() != kind {
            return Err(KeyError::Malformed("the type named is not the key's"));
        }
        Ok((key, words.next().unwrap_or_default().trim().to_owned()))
    }

    /// `type base64`, as files have it.
    #[must_use]
    pub fn to_line(&self) -> String {
        format!("{} {}", self.key_type(), self.base64())
    }

    /// The blob in base64.
    #[must_use]
    pub fn base64(&self) -> String {
        Base64::encode_string(&self.0.blob)
    }

    /// The blob as it stands on the wire.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.0.blob
    }

    pub(super) fn openssl(&self) -> &PKey<Public> {
        &self.0.key
    }

    pub(crate) fn kind(&self) -> KeyType {
        self.0.kind
    }

    /// The key type's name: `ssh-ed25519`, `ssh-rsa`, …
    #[must_use]
    pub fn key_type(&self) -> &'static str {
        self.0.kind.name()
    }

    /// The signature algorithms for this key, best first.
    #[must_use]
    pub fn algorithms(&self) -> &'static [&'static str] {
        self.0.kind.algorithms()
    }

    /// The key's size in bits.
    #[must_use]
    pub fn bits(&self) -> u32 {
        match self.0.kind {
            KeyType::Ed25519 => 256,
            KeyType::EcdsaP521 => 521,
            _ => self.0.key.bits(),
        }
    }

    /// `SHA256:` and the hash of the blob in base64, as OpenSSH shows it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = HashAlg::Sha256.digest(&[&self.0.blob]);
        digest.map_or_else(
            |error| format!("SHA256:({error})"),
            |digest| format!("SHA256:{}", Base64Unpadded::encode_string(&digest)),
        )
    }

    /// `MD5:` and the hash of the blob in hex, as old OpenSSH shows it.
    #[must_use]
    pub fn fingerprint_md5(&self) -> String {
        let digest = HashAlg::Md5.digest(&[&self.0.blob]);
        digest.map_or_else(
            |error| format!("MD5:({error})"),
            |digest| {
                let pairs: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("MD5:{}", pairs.join(":"))
            },
        )
    }

    /// Checks that `signature_blob` (RFC 4253 §6.6) over `data` was made with this key by `algorithm`.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`], also when the blob names another algorithm than `algorithm` or that
    /// one does not fit the key; [`KeyError::BadSize`] for RSA keys shorter than 2048 bits.
    pub fn verify(&self, algorithm: &str, data: &[u8], signature_blob: &[u8]) -> Result<(), KeyError> {
        let spec =
            signature(algorithm).filter(|spec| spec.key_type == self.0.kind).ok_or(KeyError::BadSignature)?;
        let mut reader = Reader::new(signature_blob);
        let label = reader.string().map_err(|_| KeyError::BadSignature)?;
        let raw = reader.string().map_err(|_| KeyError::BadSignature)?;
        if label != algorithm.as_bytes() || !reader.is_empty() {
            return Err(KeyError::BadSignature);
        }
        self.check_size()?;
        let good = match self.0.kind {
            KeyType::Ed25519 => {
                raw.len() == ED25519_SIGNATURE
                    && Verifier::new_without_digest(&self.0.key)?.verify_oneshot(raw, data).unwrap_or(false)
            }
            KeyType::Rsa => self.verify_rsa(spec.hash, data, raw)?,
            _ => self.verify_ecdsa(spec.hash, data, raw)?,
        };
        // A failed check leaves OpenSSL's error queue filled; it must not colour a later error.
        drop(openssl::error::ErrorStack::get());
        if good { Ok(()) } else { Err(KeyError::BadSignature) }
    }

    /// RSA keys have a size that is neither weak nor a burden.
    pub(super) fn check_size(&self) -> Result<(), KeyError> {
        let bits = self.bits() as usize;
        if self.0.kind == KeyType::Rsa && !(RSA_MIN..=RSA_MAX).contains(&bits) {
            return Err(KeyError::BadSize(format!(
                "an RSA key of {bits} bits is refused: {RSA_MIN} to {RSA_MAX} are accepted"
            )));
        }
        Ok(())
    }

    fn verify_rsa(&self, hash: Option<HashAlg>, data: &[u8], raw: &[u8]) -> Result<bool, KeyError> {
        let hash = hash.ok_or(KeyError::BadSignature)?;
        // RFC 4253 §6.6 lets leading zeros be missing; OpenSSL wants them.
        let size = self.0.key.size();
        let mut padded = vec![0; size.checked_sub(raw.len()).ok_or(KeyError::BadSignature)?];
        padded.extend_from_slice(raw);
        let mut verifier = Verifier::new(hash.message_digest(), &self.0.key)?;
        verifier.update(data)?;
        Ok(verifier.verify(&padded).unwrap_or(false))
    }

    fn verify_ecdsa(&self, hash: Option<HashAlg>, data: &[u8], raw: &[u8]) -> Result<bool, KeyError> {
        let hash = hash.ok_or(KeyError::BadSignature)?;
        let mut reader = Reader::new(raw);
        let mut number = || reader.get::<Mpint<'_>>().map_err(|_| KeyError::BadSignature);
        let (r, s) = (number()?, number()?);
        reader.finish().map_err(|_| KeyError::BadSignature)?;
        let pair = EcdsaSig::from_private_components(
            BigNum::from_slice(r.magnitude())?,
            BigNum::from_slice(s.magnitude())?,
        )?;
        let digest = hash.digest(&[data])?;
        let key = self.0.key.ec_key()?;
        Ok(pair.verify(&digest, &key).unwrap_or(false))
    }
}

fn ed25519(raw: &[u8]) -> Result<PKey<Public>, KeyError> {
    if raw.len() != 32 {
        return Err(KeyError::Malformed("an Ed25519 key has 32 bytes"));
    }
    Ok(PKey::public_key_from_raw_bytes(raw, Id::ED25519)?)
}

fn rsa(e: Mpint<'_>, n: Mpint<'_>) -> Result<PKey<Public>, KeyError> {
    // Before any arithmetic: CVE-2026-39829.
    let odd = |number: Mpint<'_>| number.magnitude().last().is_some_and(|byte| byte & 1 == 1);
    if n.bits() > RSA_MAX || n.bits() < 1024 {
        return Err(KeyError::BadSize(format!("an RSA key of {} bits is refused", n.bits())));
    }
    if e.bits() < 2 || e.bits() > 64 || !odd(e) || !odd(n) {
        return Err(KeyError::Malformed("an RSA key with an impossible exponent or modulus"));
    }
    let key =
        Rsa::from_public_components(BigNum::from_slice(n.magnitude())?, BigNum::from_slice(e.magnitude())?)?;
    Ok(PKey::from_rsa(key)?)
}

fn ecdsa(nid: Nid, point: &[u8]) -> Result<PKey<Public>, KeyError> {
    if point.first() != Some(&4) {
        return Err(KeyError::Malformed("an ECDSA key that is no uncompressed point"));
    }
    let group = EcGroup::from_curve_name(nid)?;
    let mut context = BigNumContext::new()?;
    let off = |_| KeyError::Malformed("an ECDSA key that is not on its curve");
    let point = EcPoint::from_bytes(&group, point, &mut context).map_err(off)?;
    let key = EcKey::from_public_key(&group, &point)?;
    key.check_key().map_err(off)?;
    Ok(PKey::from_ec_key(key)?)
}

/// Strict base64 with padding, as OpenSSH writes it.
pub(crate) fn decode_base64(text: &str) -> Result<Vec<u8>, KeyError> {
    Base64::decode_vec(text).map_err(|_| KeyError::Malformed("bad base64"))
}
