//! Fingerprints of host keys that stand in the DNS: RFC 4255, RFC 6594, RFC 7479, RFC 8709.
//!
//! Compares only; whoever asks the DNS says whether the answer can be believed.

use crate::crypto::hash::HashAlg;
use crate::key::PublicKey;

/// The numbers of the kinds of keys, by the beginning of their type's name.
const ALGORITHMS: [(&str, u8); 5] =
    [("ssh-rsa", 1), ("ssh-dss", 2), ("ecdsa-sha2-", 3), ("ssh-ed25519", 4), ("ssh-ed448", 6)];
/// The numbers of the hash functions, the one that is to be believed first.
const HASHES: [(u8, HashAlg); 2] = [(2, HashAlg::Sha256), (1, HashAlg::Sha1)];

/// One fingerprint, as the DNS has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshfpRecord {
    /// The kind of key: 1 RSA, 2 DSA, 3 ECDSA, 4 Ed25519, 6 Ed448.
    pub algorithm: u8,
    /// The hash function: 1 SHA-1, 2 SHA-256.
    pub hash: u8,
    /// The hash of the key's blob.
    pub digest: Vec<u8>,
}

/// The fingerprints that the DNS has of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshfpRecords {
    /// Whether DNSSEC vouches for them. Without, they prove nothing.
    pub secure: bool,
    /// The fingerprints; those of unknown kinds are ignored.
    pub records: Vec<SshfpRecord>,
}

/// What the fingerprints say about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SshfpVerdict {
    /// None is of this kind of key.
    Silent,
    /// One is the key's.
    Match,
    /// Those of this kind are of other keys.
    Mismatch,
}

impl SshfpRecords {
    /// Compares a key, without its certificate. Fingerprints by SHA-1 count only where there is none by
    /// SHA-256, RFC 6594 §4.1.
    pub(crate) fn judge(&self, key: &PublicKey) -> SshfpVerdict {
        let kind = ALGORITHMS.iter().find(|(name, _)| key.key_type().starts_with(name));
        let Some((_, algorithm)) = kind else { return SshfpVerdict::Silent };
        for (number, function) in HASHES {
            let mut of_kind = self
                .records
                .iter()
                .filter(|record| (record.algorithm, record.hash) == (*algorithm, number))
                .peekable();
            if of_kind.peek().is_some() {
                let digest = function.digest(&[key.blob()]);
                let same = digest.is_ok_and(|digest| of_kind.any(|record| record.digest == digest[..]));
                return if same { SshfpVerdict::Match } else { SshfpVerdict::Mismatch };
            }
        }
        SshfpVerdict::Silent
    }
}
