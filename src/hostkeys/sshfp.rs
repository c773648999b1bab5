//! Fingerprints of host keys that stand in the DNS: RFC 4255, RFC 6594, RFC 7479, RFC 8709.
//!
//! Compares only; whoever asks the DNS says whether the answer can be believed.

use crate::key::{PublicKey, SshfpRecord};

/// The numbers of the hash functions, the one that is to be believed first.
const HASHES: [u8; 2] = [2, 1];

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
        let Ok(own) = key.without_certificate().sshfp_records() else { return SshfpVerdict::Silent };
        for own in HASHES.iter().filter_map(|number| own.iter().find(|own| own.hash == *number)) {
            let same_kind =
                |record: &&SshfpRecord| (record.algorithm, record.hash) == (own.algorithm, own.hash);
            let mut of_kind = self.records.iter().filter(same_kind).peekable();
            if of_kind.peek().is_some() {
                let same = of_kind.any(|record| record == own);
                return if same { SshfpVerdict::Match } else { SshfpVerdict::Mismatch };
            }
        }
        SshfpVerdict::Silent
    }
}
