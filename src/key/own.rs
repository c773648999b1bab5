//! Key types of users' own: one signature algorithm each, by the type's name; no certificates and no files.
//!
//! A row is a `static` of the user's; [`Algorithms`](crate::Algorithms) makes it known to a connection. Who
//! signs is a [`Signer`](crate::Signer).

use super::KeyError;
use super::algorithm::{KeyType, SignatureSpec};
use crate::crypto::Rank;
use crate::wire::Reader;

/// Whether the bytes that follow the type's name in a blob are a public key.
pub type CheckKey = fn(&[u8]) -> bool;

/// Whether a signature is good: of the public key, the data, the signature without its label.
pub type CheckSignature = fn(&[u8], &[u8], &[u8]) -> bool;

/// A key type of a user's own.
#[derive(Debug)]
pub struct KeySpec {
    pub(super) names: [&'static str; 1],
    pub(crate) signature: SignatureSpec,
    check_key: CheckKey,
    check_signature: CheckSignature,
}

impl KeySpec {
    /// A key type of your own, and its signatures, under one name. Peers send what is checked here: neither
    /// function may panic, whatever the bytes.
    #[must_use]
    pub const fn own(name: &'static str, key: CheckKey, signature: CheckSignature) -> Self {
        let row =
            SignatureSpec { name, label: name, rank: Rank::Supported, key_type: KeyType::Own, hash: None };
        Self { names: [name], signature: row, check_key: key, check_signature: signature }
    }

    /// What follows the name in a blob, if that is a key of this type.
    pub(super) fn fields<'a>(&self, blob: &'a [u8]) -> Result<&'a [u8], KeyError> {
        let mut reader = Reader::new(blob);
        let name = reader.string()?;
        let fields = reader.rest();
        if name == self.signature.name.as_bytes() && (self.check_key)(fields) {
            Ok(fields)
        } else {
            Err(KeyError::Malformed("no key of its type"))
        }
    }

    pub(super) fn verify(&self, blob: &[u8], data: &[u8], signature: &[u8]) -> Result<bool, KeyError> {
        Ok((self.check_signature)(self.fields(blob)?, data, signature))
    }
}
