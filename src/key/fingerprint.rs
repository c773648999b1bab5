//! Fingerprints of public keys: as text, as OpenSSH's picture (sshkey.c, fingerprint_randomart) and for
//! the DNS (RFC 4255). A certificate has its key's.

use std::fmt;

use base64ct::{Base64Unpadded, Encoding};

use super::algorithm::KeyType;
use super::{KeyError, PublicKey};
use crate::crypto::CryptoError;
use crate::crypto::hash::{Digest, HashAlg};

/// The picture's size, and the room for words on its border.
const WIDTH: usize = 17;
const HEIGHT: usize = 9;
/// What a place looks like by the number of visits; the last two are where the walk starts and ends.
const LOOKS: &[u8] = b" .o+=*BOX@%&#/^SE";

/// A hash function for fingerprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum FingerprintHash {
    /// In hex, as old OpenSSH has it.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256, what everybody shows.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl FingerprintHash {
    const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The function of that name, in upper or lower case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.name().eq_ignore_ascii_case(name))
    }

    /// The name that fingerprints begin with.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }

    fn of(self, key: &PublicKey) -> Result<Digest, CryptoError> {
        let function = match self {
            Self::Md5 => HashAlg::Md5,
            Self::Sha1 => HashAlg::Sha1,
            Self::Sha256 => HashAlg::Sha256,
            Self::Sha384 => HashAlg::Sha384,
            Self::Sha512 => HashAlg::Sha512,
        };
        let blob = key.certificate().map_or_else(|| key.blob(), |certificate| certificate.key().blob());
        function.digest(&[blob])
    }
}

/// What a domain says of its host's key: a record of type SSHFP (RFC 4255, RFC 6594, RFC 7479).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshfpRecord {
    /// The kind of key: 1 RSA, 2 DSA, 3 ECDSA, 4 Ed25519, 6 Ed448.
    pub algorithm: u8,
    /// The hash function: 1 SHA-1, 2 SHA-256.
    pub hash: u8,
    /// The hash of the key's blob.
    pub digest: Vec<u8>,
}

/// The record's data as zone files have it.
impl fmt::Display for SshfpRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.algorithm, self.hash, hex(&self.digest))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl PublicKey {
    /// `SHA256:` and the hash of the blob in base64, as OpenSSH shows it; a certificate has its key's.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.fingerprint_by(FingerprintHash::Sha256)
    }

    /// `MD5:` and the hash of the blob in hex, as old OpenSSH shows it.
    #[must_use]
    pub fn fingerprint_md5(&self) -> String {
        self.fingerprint_by(FingerprintHash::Md5)
    }

    /// The fingerprint by any function, as OpenSSH shows it.
    #[must_use]
    pub fn fingerprint_by(&self, hash: FingerprintHash) -> String {
        let shown = match hash.of(self) {
            Err(error) => format!("({error})"),
            Ok(digest) if hash == FingerprintHash::Md5 => {
                let pairs: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                pairs.join(":")
            }
            Ok(digest) => Base64Unpadded::encode_string(&digest),
        };
        format!("{}:{shown}", hash.name())
    }

    /// The fingerprint as a picture of eleven lines, in which people see sooner that it has changed.
    ///
    /// ```
    /// use feramiko::{FingerprintHash, KeyKind, PKey};
    /// let key = PKey::generate(KeyKind::Ed25519)?;
    /// let picture = key.public_key().randomart(FingerprintHash::Sha256);
    /// assert!(picture.starts_with("+--[ED25519 256]--+\n|"));
    /// assert!(picture.ends_with("|\n+----[SHA256]-----+"));
    /// # Ok::<(), feramiko::KeyError>(())
    /// ```
    #[must_use]
    pub fn randomart(&self, hash: FingerprintHash) -> String {
        let digest = hash.of(self);
        let places = walk(digest.as_deref().unwrap_or_default());
        let mut title = format!("[{} {}]", self.short_type(), self.bits());
        if title.len() > WIDTH {
            title = format!("[{}]", self.short_type());
        }
        // As much as fits into OpenSSH's field.
        title.truncate(WIDTH.saturating_sub(1));
        let mut picture = border(&title);
        for row in places {
            let looks = row.into_iter().map(|look| char::from(LOOKS.get(look).copied().unwrap_or(b' ')));
            picture.extend(std::iter::once('|').chain(looks));
            picture.push_str("|\n");
        }
        picture + border(&format!("[{}]", hash.name())).trim_end()
    }

    /// The key type's name in lists, as OpenSSH shows it: `ED25519`, `RSA-CERT`, …
    #[must_use]
    pub fn short_type(&self) -> &'static str {
        self.kind().short_name(self.certificate().is_some())
    }

    /// What the DNS may say of a host with this key.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for types without a number, and for certificates.
    pub fn sshfp_records(&self) -> Result<Vec<SshfpRecord>, KeyError> {
        let algorithm = match self.kind() {
            _ if self.certificate().is_some() => None,
            KeyType::Rsa => Some(1),
            KeyType::Dss => Some(2),
            KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 => Some(3),
            KeyType::Ed25519 => Some(4),
            KeyType::Ed448 => Some(6),
            KeyType::SkEd25519 | KeyType::SkEcdsa | KeyType::Own => None,
        };
        let algorithm = algorithm
            .ok_or_else(|| KeyError::Unsupported(format!("an SSHFP record of a {}", self.key_type())))?;
        let record = |(hash, function): (u8, FingerprintHash)| {
            Ok(SshfpRecord { algorithm, hash, digest: function.of(self)?.to_vec() })
        };
        [(1, FingerprintHash::Sha1), (2, FingerprintHash::Sha256)].into_iter().map(record).collect()
    }
}

/// Walks through the field, two bits of the hash for each step, and counts the visits: what each
/// place looks like.
fn walk(digest: &[u8]) -> [[usize; WIDTH]; HEIGHT] {
    let most = LOOKS.len().saturating_sub(3);
    let (start, end) = (LOOKS.len().saturating_sub(2), LOOKS.len().saturating_sub(1));
    let mut field = [[0_usize; WIDTH]; HEIGHT];
    let (middle_x, middle_y) = (WIDTH / 2, HEIGHT / 2);
    let (mut x, mut y) = (middle_x, middle_y);
    let step = |at: usize, forward: bool, size: usize| match forward {
        true => at.saturating_add(1).min(size.saturating_sub(1)),
        false => at.saturating_sub(1),
    };
    let steps = digest.iter().flat_map(|byte| [0_u8, 2, 4, 6].map(|shift| byte >> shift));
    for bits in steps {
        x = step(x, bits & 1 != 0, WIDTH);
        y = step(y, bits & 2 != 0, HEIGHT);
        if let Some(look) = field.get_mut(y).and_then(|row| row.get_mut(x)) {
            *look = look.saturating_add(1).min(most);
        }
    }
    for (x, y, look) in [(middle_x, middle_y, start), (x, y, end)] {
        if let Some(place) = field.get_mut(y).and_then(|row| row.get_mut(x)) {
            *place = look;
        }
    }
    field
}

/// A line of the border with words in its middle.
fn border(words: &str) -> String {
    let left = WIDTH.saturating_sub(words.len()) / 2;
    let right = WIDTH.saturating_sub(words.len()).saturating_sub(left);
    format!("+{}{words}{}+\n", "-".repeat(left), "-".repeat(right))
}
