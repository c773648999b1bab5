//! Public keys, with a certificate or without: their blobs and lines.

use std::fmt;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use openssl::pkey::{PKey, Public};

use super::KeyError;
use super::algorithm::{KeyType, SignatureSpec, signature};
use super::cert::Certificate;
use super::fields::{self, Fields, RSA_FLOOR, RSA_MAX, RSA_MIN};
use super::line::split_key;
use super::own::KeySpec;
use super::verify::{self, TokenUse};
use crate::wire::{Reader, Writer};

/// A public key of any type, with a certificate or without. Equal when the blobs are: a key is not
/// equal to itself with a certificate.
#[derive(Clone)]
pub struct PublicKey(Arc<Inner>);

struct Inner {
    kind: KeyType,
    blob: Vec<u8>,
    fields: Fields,
    own: Option<&'static KeySpec>,
    certificate: Option<Certificate>,
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

impl PublicKey {
    /// Reads a key blob as it stands on the wire, in agents and, in base64, in files; a certificate's
    /// too, whose signature is checked then.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for types that are not built, [`KeyError::BadSignature`] for a
    /// certificate that its authority has not signed, [`KeyError::Malformed`] otherwise.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let mut reader = Reader::new(blob);
        let name = reader.string()?;
        let (kind, certified) = KeyType::by_name(name)
            .ok_or_else(|| KeyError::Unsupported(format!("key type {}", crate::wire::Escaped(name))))?;
        if certified {
            // Makes the certificate's own bytes differ from all others'.
            reader.string()?;
        }
        let before = reader.clone().rest();
        let fields = fields::read(kind, &mut reader)?;
        let certificate = if certified {
            let after = reader.clone().rest().len();
            let numbers = before.get(..before.len().saturating_sub(after)).unwrap_or_default();
            let mut plain = Vec::new();
            plain.put(kind.name(false)).extend_from_slice(numbers);
            Some(Certificate::read(Self::from_blob(&plain)?, blob, &mut reader)?)
        } else {
            None
        };
        reader.finish()?;
        Ok(Self(Arc::new(Inner { kind, blob: blob.to_vec(), fields, own: None, certificate })))
    }

    /// Reads the blob of a key of a user's own type.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for keys of other types, and for what the type says is no key.
    pub fn from_own_blob(blob: &[u8], spec: &'static KeySpec) -> Result<Self, KeyError> {
        spec.fields(blob)?;
        let fields = Fields { key: None, application: Vec::new() };
        let (kind, blob) = (KeyType::Own, blob.to_vec());
        Ok(Self(Arc::new(Inner { kind, blob, fields, own: Some(spec), certificate: None })))
    }

    /// Reads the blob of a key of any type, one of `own` too.
    pub(crate) fn from_any_blob(blob: &[u8], own: &[&'static KeySpec]) -> Result<Self, KeyError> {
        let name = Reader::new(blob).string()?;
        match own.iter().find(|spec| spec.signature.name.as_bytes() == name) {
            Some(spec) => Self::from_own_blob(blob, spec),
            None => Self::from_blob(blob),
        }
    }

    /// The certificate, if it comes with one.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.0.certificate.as_ref()
    }

    /// The key alone.
    #[must_use]
    pub fn without_certificate(&self) -> Self {
        self.certificate().map_or_else(|| self.clone(), |certificate| certificate.key().clone())
    }

    /// The key as OpenSSL has it: every one that is not of a user's own type.
    pub(super) fn openssl(&self) -> Result<&PKey<Public>, KeyError> {
        self.0
            .fields
            .key
            .as_ref()
            .ok_or_else(|| KeyError::Unsupported(format!("this use of a {}", self.key_type())))
    }

    /// The row of a signature algorithm, if it is one of this key's type.
    pub(super) fn signature(&self, name: &str) -> Option<&'static SignatureSpec> {
        match self.0.own {
            Some(spec) => Some(&spec.signature).filter(|row| row.name == name),
            None => signature(name).filter(|row| row.key_type == self.kind()),
        }
    }

    /// Its type, if that is a user's own.
    pub(crate) fn own(&self) -> Option<&'static KeySpec> {
        self.0.own
    }

    /// What a token's key is bound to: `ssh:` and perhaps a name; empty for other keys.
    #[must_use]
    pub fn application(&self) -> &[u8] {
        &self.0.fields.application
    }

    /// Reads `type base64 comment`, as public key files and `authorized_keys` have it; the comment
    /// comes with the key.
    ///
    /// # Errors
    /// As [`from_blob`](Self::from_blob); also when the type named is not the blob's.
    pub fn from_line(line: &str) -> Result<(Self, String), KeyError> {
        let (blob, comment) = split_key(line.trim().as_bytes())?;
        Ok((Self::from_blob(&blob)?, String::from_utf8_lossy(comment).into_owned()))
    }

    /// Whether `name` is the name of a type of keys or certificates.
    pub(crate) fn is_type(name: &[u8]) -> bool {
        KeyType::by_name(name).is_some()
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

    pub(crate) fn kind(&self) -> KeyType {
        self.0.kind
    }

    /// The key type's name: `ssh-ed25519`, `ssh-rsa`, `ssh-ed25519-cert-v01@openssh.com`, …
    #[must_use]
    pub fn key_type(&self) -> &'static str {
        self.0.own.map_or_else(|| self.0.kind.name(self.certificate().is_some()), |spec| spec.signature.name)
    }

    /// The signature algorithms for this key, best first.
    #[must_use]
    pub fn algorithms(&self) -> &'static [&'static str] {
        self.0.own.map_or_else(|| self.0.kind.algorithms(self.certificate().is_some()), |spec| &spec.names)
    }

    /// The key's size in bits; zero for one of a user's own type.
    #[must_use]
    pub fn bits(&self) -> u32 {
        match self.0.kind {
            KeyType::Ed25519 | KeyType::SkEd25519 => 256,
            KeyType::Ed448 => 448,
            _ => self.openssl().map_or(0, |key| key.bits()),
        }
    }

    /// Checks that `signature_blob` (RFC 4253 §6.6) over `data` was made with this key by `algorithm`. A
    /// token must have been touched.
    ///
    /// # Errors
    /// [`KeyError::BadSignature`], also when the blob names another algorithm than `algorithm` or that
    /// one does not fit the key; [`KeyError::BadSize`] for RSA keys shorter than 2048 bits.
    pub fn verify(&self, algorithm: &str, data: &[u8], signature_blob: &[u8]) -> Result<(), KeyError> {
        self.verify_sized(RSA_MIN, algorithm, data, signature_blob)
    }

    /// As [`verify`](Self::verify), for RSA keys from so many bits on.
    pub(crate) fn verify_sized(
        &self,
        rsa_bits: usize,
        algorithm: &str,
        data: &[u8],
        signature_blob: &[u8],
    ) -> Result<(), KeyError> {
        match self.verify_use_sized(rsa_bits, algorithm, data, signature_blob)? {
            Some(TokenUse { touched: false, .. }) => Err(KeyError::BadSignature),
            _ => Ok(()),
        }
    }

    /// As [`verify`](Self::verify), and how the token was used if the key is a token's: whether a touch
    /// is asked for is for the caller to say.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_use(
        &self,
        algorithm: &str,
        data: &[u8],
        signature_blob: &[u8],
    ) -> Result<Option<TokenUse>, KeyError> {
        self.verify_use_sized(RSA_MIN, algorithm, data, signature_blob)
    }

    /// As [`verify_use`](Self::verify_use), for RSA keys from so many bits on.
    pub(crate) fn verify_use_sized(
        &self,
        rsa_bits: usize,
        algorithm: &str,
        data: &[u8],
        signature_blob: &[u8],
    ) -> Result<Option<TokenUse>, KeyError> {
        self.check_size(rsa_bits)?;
        verify::verify(self, algorithm, data, signature_blob)
    }

    /// RSA keys have a size that is neither too weak, by what the caller demands, nor a burden.
    pub(crate) fn check_size(&self, rsa_bits: usize) -> Result<(), KeyError> {
        let (bits, least) = (self.bits() as usize, rsa_bits.max(RSA_FLOOR));
        if self.0.kind == KeyType::Rsa && !(least..=RSA_MAX).contains(&bits) {
            return Err(KeyError::BadSize(format!(
                "an RSA key of {bits} bits is refused: {least} to {RSA_MAX} are accepted"
            )));
        }
        Ok(())
    }
}

/// Strict base64 with padding, as OpenSSH writes it.
pub(crate) fn decode_base64(text: &str) -> Result<Vec<u8>, KeyError> {
    Base64::decode_vec(text).map_err(|_| KeyError::Malformed("bad base64"))
}

/// Whether a blob is one of a certificate, as far as its type's name tells.
pub(crate) fn is_certificate(blob: &[u8]) -> bool {
    Reader::new(blob).string().is_ok_and(|name| name.ends_with(b"-cert-v01@openssh.com"))
}
