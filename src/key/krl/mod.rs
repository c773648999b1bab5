//! Lists of revoked keys: OpenSSH's PROTOCOL.krl, and ssh-keygen(1), "KEY REVOCATION LISTS".
//!
//! What is revoked and the questions asked of it. Knows no certificate and no clock: whoever has a
//! certificate asks by its CA, serial and key id.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod error;
mod listing;
mod read;
mod serials;
mod text;
mod write;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::PublicKey;
use crate::crypto::hash::HashAlg;
use crate::sys::file::{read_regular, replace};

pub use error::RevokedKeysError;
use serials::Serials;

/// No file is larger: room for 400000 hashes, or for a hundred million serials in bitmaps.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Runs of serials in one file. A bitmap of 1 KiB can hold 4096 of them, which take a hundred times
/// its size in memory; this many take about 100 MiB.
const RUNS: usize = 4 * 1024 * 1024;
/// The list tells nothing secret, and those who check by it need not be who wrote it.
const MODE: u32 = 0o644;

/// Why a key or certificate is not to be trusted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum Revoked {
    /// The key stands in the list.
    Key,
    /// The key's hash stands in the list, or could not be computed.
    KeyHash,
    /// The certificate's serial stands in the list.
    Serial,
    /// The certificate's key id stands in the list.
    KeyId,
    /// The key that signed the certificate is revoked itself.
    Authority,
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "the key is revoked",
            Self::KeyHash => "the key is revoked by its hash",
            Self::Serial => "the certificate is revoked by its serial number",
            Self::KeyId => "the certificate is revoked by its key id",
            Self::Authority => "the key that signed the certificate is revoked",
        })
    }
}

/// Who signed the certificates that are revoked by serial or key id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuedBy<'a> {
    /// Any CA.
    Anyone,
    /// The CA with this key.
    Key(&'a PublicKey),
}

impl IssuedBy<'_> {
    /// As lists have it: the empty blob is any CA.
    fn blob(self) -> Vec<u8> {
        match self {
            Self::Anyone => Vec::new(),
            Self::Key(key) => key.blob().to_vec(),
        }
    }
}

/// What is revoked of the certificates of one CA, or of any.
#[derive(Debug, Clone, Default, Eq)]
struct Certificates {
    /// Which CA of the list this is: what is written keeps their order.
    place: usize,
    serials: Serials,
    key_ids: BTreeSet<Vec<u8>>,
}

/// In whatever order they are listed.
impl PartialEq for Certificates {
    fn eq(&self, other: &Self) -> bool {
        self.serials == other.serials && self.key_ids == other.key_ids
    }
}

/// Keys and certificates that are not to be trusted any more: what ssh-keygen calls a KRL.
///
/// ```
/// use feramiko::{IssuedBy, KeyKind, PKey, Revoked, RevokedKeys};
/// let (stolen, ca) = (PKey::generate(KeyKind::Ed25519)?, PKey::generate(KeyKind::Ed25519)?);
/// let mut list = RevokedKeys::new();
/// list.revoke_key(stolen.public_key());
/// list.revoke_serials(IssuedBy::Key(ca.public_key()), 1..=99)?;
/// list.set_version(2);
/// let list = RevokedKeys::from_bytes(&list.to_bytes()?)?;
/// assert_eq!(list.check_key(stolen.public_key()), Some(Revoked::Key));
/// assert_eq!(list.check_certificate(ca.public_key(), 7, b"me"), Some(Revoked::Serial));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RevokedKeys {
    version: u64,
    /// Seconds since 1970; 0 when nobody said.
    generated: u64,
    comment: Vec<u8>,
    keys: BTreeSet<Vec<u8>>,
    sha1: BTreeSet<[u8; 20]>,
    sha256: BTreeSet<[u8; 32]>,
    /// By the CA's blob; the empty one stands for any CA.
    certificates: BTreeMap<Vec<u8>, Certificates>,
}

impl fmt::Debug for RevokedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "RevokedKeys(version {}, {} keys, {} hashes, certificates of {} CAs)",
            self.version,
            self.keys.len(),
            self.sha1.len().saturating_add(self.sha256.len()),
            self.certificates.len()
        )
    }
}

impl RevokedKeys {
    /// A list that revokes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a list: OpenSSH's binary form, or else text with one public key on each line, empty lines
    /// and lines that begin with `#` between them. Signatures in a binary list are not checked: a
    /// list that comes from elsewhere is better signed as a whole ([`SshSignature`](super::SshSignature)).
    ///
    /// # Errors
    /// [`RevokedKeysError`] if anything in it is not understood: half a list would let keys through.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RevokedKeysError> {
        if bytes.starts_with(read::MAGIC) { read::list(bytes, RUNS) } else { text::plain(bytes) }
    }

    /// Reads a list from a regular file of at most 16 MiB.
    ///
    /// # Errors
    /// [`RevokedKeysError::Io`], [`RevokedKeysError::InFile`] for what is wrong inside.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, RevokedKeysError> {
        let path = path.as_ref();
        let bytes = read_regular(path, FILE_BYTES).map_err(|error| RevokedKeysError::io(path, &error))?;
        Self::from_bytes(&bytes).map_err(|error| RevokedKeysError::InFile {
            path: path.display().to_string(),
            error: Box::new(error),
        })
    }

    /// The list in OpenSSH's binary form.
    ///
    /// # Errors
    /// [`RevokedKeysError::TooMuch`] if it takes more than the 16 MiB that are read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RevokedKeysError> {
        let bytes = write::list(self);
        if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE_BYTES) {
            Ok(bytes)
        } else {
            Err(RevokedKeysError::TooMuch { what: "bytes of a list of revoked keys", limit: FILE_BYTES })
        }
    }

    /// Writes the list in OpenSSH's binary form; a file that is there is replaced in one step.
    ///
    /// # Errors
    /// As [`to_bytes`](Self::to_bytes); [`RevokedKeysError::Io`].
    pub fn write_file(&self, path: impl AsRef<Path>) -> Result<(), RevokedKeysError> {
        let path = path.as_ref();
        replace(path, &self.to_bytes()?, MODE).map_err(|error| RevokedKeysError::io(path, &error))
    }

    /// The number that grows with each change of the list.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Sets the number that grows with each change of the list.
    pub fn set_version(&mut self, version: u64) -> &mut Self {
        self.version = version;
        self
    }

    /// When the list was made, if it says so.
    #[must_use]
    pub fn generated(&self) -> Option<SystemTime> {
        let seconds = Some(self.generated).filter(|seconds| *seconds != 0)?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    }

    /// Sets when the list was made, in whole seconds.
    pub fn set_generated(&mut self, time: SystemTime) -> &mut Self {
        self.generated = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self
    }

    /// What the list says of itself.
    #[must_use]
    pub fn comment(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.comment)
    }

    /// Sets what the list says of itself.
    ///
    /// # Errors
    /// [`RevokedKeysError::Unfit`] for a text with a zero byte.
    pub fn set_comment(&mut self, comment: &str) -> Result<&mut Self, RevokedKeysError> {
        self.comment = c_text(comment.as_bytes())
            .ok_or(RevokedKeysError::Unfit("a comment cannot hold a zero byte"))?
            .to_vec();
        Ok(self)
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let certificates = &mut self.certificates.values();
        self.keys.is_empty()
            && self.sha1.is_empty()
            && self.sha256.is_empty()
            && certificates.all(|of_one| of_one.serials.len() == 0 && of_one.key_ids.is_empty())
    }

    /// Revokes a key. Certificates that it has signed are revoked with it.
    pub fn revoke_key(&mut self, key: &PublicKey) -> &mut Self {
        self.keys.insert(key.blob().to_vec());
        self
    }

    /// Revokes a key by its SHA-1 hash, for OpenSSH before 7.9; shorter than the key.
    ///
    /// # Errors
    /// [`RevokedKeysError::Crypto`].
    pub fn revoke_key_sha1(&mut self, key: &PublicKey) -> Result<&mut Self, RevokedKeysError> {
        self.sha1.insert(hash(HashAlg::Sha1, key.blob())?);
        Ok(self)
    }

    /// Revokes a key by its SHA-256 hash; shorter than the key.
    ///
    /// # Errors
    /// [`RevokedKeysError::Crypto`].
    pub fn revoke_key_sha256(&mut self, key: &PublicKey) -> Result<&mut Self, RevokedKeysError> {
        self.sha256.insert(hash(HashAlg::Sha256, key.blob())?);
        Ok(self)
    }

    /// Revokes a key by its fingerprint as logs show it: `SHA256:` and base64.
    ///
    /// # Errors
    /// [`RevokedKeysError::Unfit`] for anything else.
    pub fn revoke_fingerprint(&mut self, fingerprint: &str) -> Result<&mut Self, RevokedKeysError> {
        self.sha256.insert(text::fingerprint(fingerprint)?);
        Ok(self)
    }

    /// Revokes certificates by their serial numbers, both ends included. 0 is what certificates have
    /// that were given none: it revokes nothing.
    ///
    /// # Errors
    /// [`RevokedKeysError::Unfit`] for an empty range, and for one with 0.
    pub fn revoke_serials(
        &mut self,
        issued_by: IssuedBy<'_>,
        serials: RangeInclusive<u64>,
    ) -> Result<&mut Self, RevokedKeysError> {
        if *serials.start() == 0 {
            return Err(RevokedKeysError::Unfit("serial 0 stands for none and cannot be revoked"));
        }
        if serials.is_empty() {
            return Err(RevokedKeysError::Unfit("the range of serials is empty"));
        }
        let of_one = self.of_authority(issued_by.blob());
        of_one.serials.insert(*serials.start(), *serials.end());
        Ok(self)
    }

    /// Revokes a certificate by its serial number.
    ///
    /// # Errors
    /// [`RevokedKeysError::Unfit`] for 0.
    pub fn revoke_serial(
        &mut self,
        issued_by: IssuedBy<'_>,
        serial: u64,
    ) -> Result<&mut Self, RevokedKeysError> {
        self.revoke_serials(issued_by, serial..=serial)
    }

    /// Revokes certificates by their key id.
    ///
    /// # Errors
    /// [`RevokedKeysError::Unfit`] for one with a zero byte, which no certificate can have.
    pub fn revoke_key_id(
        &mut self,
        issued_by: IssuedBy<'_>,
        key_id: impl AsRef<[u8]>,
    ) -> Result<&mut Self, RevokedKeysError> {
        let key_id =
            c_text(key_id.as_ref()).ok_or(RevokedKeysError::Unfit("a key id cannot hold a zero byte"))?;
        self.of_authority(issued_by.blob()).key_ids.insert(key_id.to_vec());
        Ok(self)
    }

    /// Revokes what a specification says, as `ssh-keygen -k` reads it: lines `serial:`, `id:`, `key:`,
    /// `sha1:`, `sha256:`, `hash:`, and plain keys and certificates. Serials and key ids are those of
    /// certificates of `issued_by`. If any line is not understood, nothing is revoked.
    ///
    /// # Errors
    /// [`RevokedKeysError::Line`], also for serials and key ids where `issued_by` is none.
    pub fn revoke_specified(
        &mut self,
        specification: &[u8],
        issued_by: Option<IssuedBy<'_>>,
    ) -> Result<&mut Self, RevokedKeysError> {
        let mut with_them = self.clone();
        text::specification(&mut with_them, specification, issued_by)?;
        *self = with_them;
        Ok(self)
    }

    /// What is revoked of a CA's certificates; a new CA comes last.
    fn of_authority(&mut self, blob: Vec<u8>) -> &mut Certificates {
        let place = self.certificates.len();
        self.certificates.entry(blob).or_insert_with(|| Certificates { place, ..Certificates::default() })
    }

    /// What is revoked of the certificates of each CA, in their order.
    fn by_authority(&self) -> Vec<(&Vec<u8>, &Certificates)> {
        let mut all: Vec<_> = self.certificates.iter().collect();
        all.sort_by_key(|(_, of_one)| of_one.place);
        all
    }

    /// Whether a key is revoked, and why; one with a certificate also by that.
    #[must_use]
    pub fn check_key(&self, key: &PublicKey) -> Option<Revoked> {
        self.check_blob(key.without_certificate().blob()).or_else(|| {
            let certificate = key.certificate()?;
            let (serial, key_id) = (certificate.serial(), certificate.key_id_bytes());
            self.check_certificate(certificate.authority(), serial, key_id)
        })
    }

    fn check_blob(&self, blob: &[u8]) -> Option<Revoked> {
        // A hash that fails counts as one that is found.
        let in_sha1 = !self.sha1.is_empty()
            && hash(HashAlg::Sha1, blob).map_or(true, |digest| self.sha1.contains(&digest));
        let in_sha256 = !self.sha256.is_empty()
            && hash(HashAlg::Sha256, blob).map_or(true, |digest| self.sha256.contains(&digest));
        if self.keys.contains(blob) {
            Some(Revoked::Key)
        } else {
            (in_sha1 || in_sha256).then_some(Revoked::KeyHash)
        }
    }

    /// Whether a certificate is revoked, and why: by its key id or serial, for its CA or for any, or
    /// because the CA's own key is revoked.
    #[must_use]
    pub fn check_certificate(&self, ca: &PublicKey, serial: u64, key_id: &[u8]) -> Option<Revoked> {
        self.check_issued(ca.blob(), serial, key_id)
    }

    fn check_issued(&self, ca: &[u8], serial: u64, key_id: &[u8]) -> Option<Revoked> {
        if self.check_blob(ca).is_some() {
            return Some(Revoked::Authority);
        }
        // One that cannot be has been tampered with.
        let Some(key_id) = c_text(key_id) else { return Some(Revoked::KeyId) };
        for of_one in [ca, &[]].into_iter().filter_map(|ca| self.certificates.get(ca)) {
            if of_one.key_ids.contains(key_id) {
                return Some(Revoked::KeyId);
            }
            if serial != 0 && of_one.serials.contains(serial) {
                return Some(Revoked::Serial);
            }
        }
        None
    }
}

/// The hash of a blob, as long as the function makes it.
fn hash<const N: usize>(function: HashAlg, blob: &[u8]) -> Result<[u8; N], RevokedKeysError> {
    let digest = function.digest(&[blob])?;
    let whole = <[u8; N]>::try_from(&*digest);
    whole.map_err(|_| RevokedKeysError::Malformed("a hash of another length"))
}

/// Text as a C program sees it: one zero byte at the end is none of it, and others cannot be.
fn c_text(bytes: &[u8]) -> Option<&[u8]> {
    let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    (!text.contains(&0)).then_some(text)
}
