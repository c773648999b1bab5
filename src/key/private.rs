//! Private keys: making, signing, and keys that live elsewhere.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use openssl::bn::BigNumContext;
use openssl::dsa::{Dsa, DsaSig};
use openssl::ec::{EcGroup, EcKey, PointConversionForm};
use openssl::ecdsa::EcdsaSig;
use openssl::pkey::{Id, PKey as OpensslKey, Private};
use openssl::rsa::Rsa;
use openssl::sign::Signer as OpensslSigner;

use super::PublicKey;
use super::algorithm::KeyType;
use super::fields::{RSA_MIN, curve};
use super::format;
use super::{Certificate, KeyError};
use crate::crypto::hash::HashAlg;
use crate::crypto::secret::Secret;
use crate::wire::{Writer, put_mpint};

/// A key that is held elsewhere, by an agent or a token, and signs there.
pub trait Signer: Send + Sync {
    /// The public half.
    fn public_key(&self) -> &PublicKey;

    /// Signs `data` by `algorithm`, one of the plain key's [`algorithms`](PublicKey::algorithms).
    /// Returns the whole signature blob of RFC 4253 §6.6.
    ///
    /// # Errors
    /// [`KeyError::Signer`] with the reason.
    fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// The same for a login that is given up at `deadline`. Unless there is more to it, as [`sign`](Self::sign).
    ///
    /// # Errors
    /// [`KeyError::Signer`] with the reason.
    fn sign_before(&self, deadline: Instant, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        let _ = deadline;
        self.sign(algorithm, data)
    }

    /// What the key is called.
    fn comment(&self) -> &str {
        ""
    }
}

/// Kinds of keys that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// Ed25519, the best choice.
    Ed25519,
    /// ECDSA on NIST P-256.
    EcdsaP256,
    /// ECDSA on NIST P-384.
    EcdsaP384,
    /// ECDSA on NIST P-521.
    EcdsaP521,
    /// RSA with that many bits, 2048 to 16384.
    Rsa(u32),
    /// Ed448, stronger than needed and little known.
    Ed448,
    /// DSA, for old devices only: 1024 bits, SHA-1.
    Dss,
}

/// A private key of any type, held here or elsewhere. Clones share it; it is wiped with the last.
///
/// ```
/// use feramiko::{KeyKind, PKey};
/// let key = PKey::generate(KeyKind::Ed25519)?;
/// let signature = key.sign("ssh-ed25519", b"data")?;
/// key.public_key().verify("ssh-ed25519", b"data", &signature)?;
/// # Ok::<(), feramiko::KeyError>(())
/// ```
#[derive(Clone)]
pub struct PKey(Arc<Inner>);

struct Inner {
    public: PublicKey,
    comment: String,
    holder: Holder,
}

#[derive(Clone)]
enum Holder {
    Here(OpensslKey<Private>),
    Elsewhere(Arc<dyn Signer>),
}

impl fmt::Debug for PKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PKey({} {})", self.0.public.key_type(), self.0.public.fingerprint())
    }
}

impl PKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`KeyError::BadSize`] for RSA outside of 2048 to 16384 bits.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyError> {
        // Else OpenSSL tears itself down when the process ends, under the feet of threads that still work: the crate
        // prevents that before most of its calls, not before those that make keys.
        openssl::init();
        let ec = |kind| -> Result<OpensslKey<Private>, KeyError> {
            let (nid, _) = curve(kind).ok_or(KeyError::Malformed("no curve"))?;
            let group = EcGroup::from_curve_name(nid)?;
            Ok(OpensslKey::from_ec_key(EcKey::generate(&group)?)?)
        };
        let key = match kind {
            KeyKind::Ed25519 => OpensslKey::generate_ed25519()?,
            KeyKind::EcdsaP256 => ec(KeyType::EcdsaP256)?,
            KeyKind::EcdsaP384 => ec(KeyType::EcdsaP384)?,
            KeyKind::EcdsaP521 => ec(KeyType::EcdsaP521)?,
            KeyKind::Ed448 => OpensslKey::generate_ed448()?,
            KeyKind::Dss => OpensslKey::from_dsa(Dsa::generate(1024)?)?,
            KeyKind::Rsa(bits) if (2048..=16384).contains(&bits) => {
                OpensslKey::from_rsa(Rsa::generate(bits)?)?
            }
            KeyKind::Rsa(bits) => {
                return Err(KeyError::BadSize(format!("RSA keys have 2048 to 16384 bits, not {bits}")));
            }
        };
        Self::from_openssl(key, String::new())
    }

    /// Takes over a key that a file held; the public half is computed from it.
    pub(super) fn from_openssl(key: OpensslKey<Private>, comment: String) -> Result<Self, KeyError> {
        let public = PublicKey::from_blob(&public_blob(&key)?)?;
        Ok(Self(Arc::new(Inner { public, comment, holder: Holder::Here(key) })))
    }

    /// A key that is held elsewhere.
    pub fn from_signer(signer: impl Signer + 'static) -> Self {
        let (public, comment) = (signer.public_key().clone(), signer.comment().to_owned());
        Self(Arc::new(Inner { public, comment, holder: Holder::Elsewhere(Arc::new(signer)) }))
    }

    /// Reads the first key of a private key file: OpenSSH's format, PuTTY's, PEM and DER (PKCS#1, SEC1,
    /// PKCS#8), ssh.com's, found by itself.
    ///
    /// # Errors
    /// [`KeyError::PassphraseNeeded`], [`KeyError::WrongPassphrase`], [`KeyError::Permissions`] when
    /// others may read the file (Unix only: access lists of Windows are not looked at),
    /// [`KeyError::InFile`] for what is wrong inside.
    pub fn from_file(path: impl AsRef<Path>, passphrase: Option<&str>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let text = format::read_private_file(path)?;
        let passphrase = passphrase.map(Secret::from);
        Self::from_bytes(&text, passphrase.as_ref()).map_err(|error| match error {
            KeyError::PassphraseNeeded | KeyError::WrongPassphrase => error,
            error => KeyError::InFile { path: path.display().to_string(), error: Box::new(error) },
        })
    }

    /// Reads the text of a private key file, or the base64 alone that stands in one.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file), without the file.
    pub fn from_bytes(text: &[u8], passphrase: Option<&Secret>) -> Result<Self, KeyError> {
        format::read_private(text, passphrase)
    }

    /// The key as an `OPENSSH PRIVATE KEY` file, encrypted (aes256-ctr, bcrypt) with a passphrase.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for keys held elsewhere.
    pub fn to_openssh(&self, passphrase: Option<&Secret>) -> Result<zeroize::Zeroizing<String>, KeyError> {
        format::openssh::write(std::slice::from_ref(self), passphrase, &format::OpensshParams::default())
    }

    /// Writes the key to a new file that only its owner may read; an existing file is replaced in one
    /// step.
    ///
    /// # Errors
    /// [`KeyError::Io`] when the file cannot be written.
    pub fn write_private_key_file(
        &self,
        path: impl AsRef<Path>,
        passphrase: Option<&Secret>,
    ) -> Result<(), KeyError> {
        let text = self.to_openssh(passphrase)?;
        let path = path.as_ref();
        crate::sys::file::replace(path, text.as_bytes(), 0o600).map_err(|error| KeyError::Io {
            path: path.display().to_string(),
            kind: error.kind(),
            text: error.to_string(),
        })
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.0.public
    }

    /// What the key is called.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.0.comment
    }

    /// The same key with another comment.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for keys held elsewhere.
    pub fn with_comment(&self, comment: &str) -> Result<Self, KeyError> {
        Self::from_openssl(self.here()?.clone(), comment.to_owned())
    }

    /// The same key with a certificate that is presented together with it.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] when `certificate` is none, or one for another key.
    pub fn with_certificate(&self, certificate: &PublicKey) -> Result<Self, KeyError> {
        if certificate.certificate().map(Certificate::key) != Some(&self.0.public.without_certificate()) {
            return Err(KeyError::Malformed("the certificate is not for this key"));
        }
        let (comment, holder) = (self.0.comment.clone(), self.0.holder.clone());
        Ok(Self(Arc::new(Inner { public: certificate.clone(), comment, holder })))
    }

    /// The key alone.
    #[must_use]
    pub fn without_certificate(&self) -> Self {
        match self.0.public.certificate() {
            None => self.clone(),
            Some(certificate) => {
                let (comment, holder) = (self.0.comment.clone(), self.0.holder.clone());
                Self(Arc::new(Inner { public: certificate.key().clone(), comment, holder }))
            }
        }
    }

    /// Whether the key is held elsewhere, so that signing may take its time.
    #[must_use]
    pub fn is_external(&self) -> bool {
        matches!(self.0.holder, Holder::Elsewhere(_))
    }

    pub(super) fn here(&self) -> Result<&OpensslKey<Private>, KeyError> {
        match &self.0.holder {
            Holder::Here(key) => Ok(key),
            Holder::Elsewhere(_) => {
                Err(KeyError::Unsupported("the private half of a key that is held elsewhere".to_owned()))
            }
        }
    }

    /// Signs `data` by `algorithm`; the whole signature blob of RFC 4253 §6.6.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for an algorithm that does not fit the key, [`KeyError::Signer`] from
    /// keys held elsewhere.
    pub fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.sign_sized(RSA_MIN, algorithm, data)
    }

    /// As [`sign`](Self::sign), with RSA keys from so many bits on.
    pub(crate) fn sign_sized(
        &self,
        rsa_bits: usize,
        algorithm: &str,
        data: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.sign_until(None, rsa_bits, algorithm, data)
    }

    /// The same for a login that is given up at `deadline`.
    pub(crate) fn sign_until(
        &self,
        deadline: Option<Instant>,
        rsa_bits: usize,
        algorithm: &str,
        data: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let public = &self.0.public;
        let spec = public.signature(algorithm).ok_or_else(|| {
            KeyError::Unsupported(format!("{algorithm} with a key of type {}", public.key_type()))
        })?;
        public.check_size(rsa_bits)?;
        let key = match &self.0.holder {
            Holder::Elsewhere(signer) => {
                return match deadline {
                    Some(deadline) => signer.sign_before(deadline, spec.label, data),
                    None => signer.sign(spec.label, data),
                };
            }
            Holder::Here(key) => key,
        };
        let raw = match (spec.key_type, spec.hash) {
            (KeyType::Rsa, Some(hash)) => with_digest(key, hash, data)?,
            (KeyType::Dss, Some(hash)) => {
                let pair = DsaSig::from_der(&with_digest(key, hash, data)?)?;
                [pair.r().to_vec_padded(20)?, pair.s().to_vec_padded(20)?].concat()
            }
            (_, Some(hash)) => {
                let pair = EcdsaSig::sign(&hash.digest(&[data])?, &*key.ec_key()?)?;
                let mut raw = Vec::new();
                put_mpint(&mut raw, &pair.r().to_vec());
                put_mpint(&mut raw, &pair.s().to_vec());
                raw
            }
            (_, None) => OpensslSigner::new_without_digest(key)?.sign_oneshot_to_vec(data)?,
        };
        let mut blob = Vec::new();
        blob.put(spec.label).put(raw.as_slice());
        Ok(blob)
    }
}

fn with_digest(key: &OpensslKey<Private>, hash: HashAlg, data: &[u8]) -> Result<Vec<u8>, KeyError> {
    let mut signer = OpensslSigner::new(hash.message_digest(), key)?;
    signer.update(data)?;
    Ok(signer.sign_to_vec()?)
}

/// The public blob of a private key.
fn public_blob(key: &OpensslKey<Private>) -> Result<Vec<u8>, KeyError> {
    let mut blob = Vec::new();
    match key.id() {
        Id::ED25519 => {
            blob.put("ssh-ed25519").put(key.raw_public_key()?.as_slice());
        }
        Id::ED448 => {
            blob.put("ssh-ed448").put(key.raw_public_key()?.as_slice());
        }
        Id::DSA => {
            let dsa = key.dsa()?;
            blob.put("ssh-dss");
            for number in [dsa.p(), dsa.q(), dsa.g(), dsa.pub_key()] {
                put_mpint(&mut blob, &number.to_vec());
            }
        }
        Id::RSA => {
            let rsa = key.rsa()?;
            blob.put("ssh-rsa");
            put_mpint(&mut blob, &rsa.e().to_vec());
            put_mpint(&mut blob, &rsa.n().to_vec());
        }
        Id::EC => {
            let ec = key.ec_key()?;
            let kind = ec_type(&ec)?;
            let (_, name) = curve(kind).ok_or(KeyError::Malformed("no curve"))?;
            let mut context = BigNumContext::new()?;
            let point =
                ec.public_key().to_bytes(ec.group(), PointConversionForm::UNCOMPRESSED, &mut context)?;
            blob.put(kind.name(false)).put(name).put(point.as_slice());
        }
        other => return Err(KeyError::Unsupported(format!("OpenSSL key type {}", other.as_raw()))),
    }
    Ok(blob)
}

fn ec_type(ec: &EcKey<Private>) -> Result<KeyType, KeyError> {
    let nid = ec.group().curve_name();
    [KeyType::EcdsaP256, KeyType::EcdsaP384, KeyType::EcdsaP521]
        .into_iter()
        .find(|kind| curve(*kind).map(|(curve, _)| curve) == nid)
        .ok_or_else(|| {
            KeyError::Unsupported("an elliptic curve other than P-256, P-384 and P-521".to_owned())
        })
}
