//! Primitives: hashes, ciphers, Diffie-Hellman, random bytes, secrets.
//!
//! Pure, and the only room besides `key/` that may name `openssl`. Knows no SSH message.

pub(crate) mod bulk;
pub(crate) mod chachapoly;
pub(crate) mod cipher;
pub(crate) mod dh;
pub(crate) mod ec;
pub(crate) mod hash;
pub(crate) mod hmac;
pub(crate) mod host_hash;
pub(crate) mod pq;
pub(crate) mod rand;
pub(crate) mod secret;
pub(crate) mod umac;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

use openssl::error::ErrorStack;

/// A primitive refused to work: OpenSSL's own words, or a value that the primitive cannot take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CryptoError(pub(crate) String);

impl CryptoError {
    /// An error of a user's own algorithm.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CryptoError {}

impl From<ErrorStack> for CryptoError {
    fn from(stack: ErrorStack) -> Self {
        let reason = stack.errors().iter().rev().find_map(|error| error.reason());
        Self(reason.unwrap_or("OpenSSL gave no reason").to_owned())
    }
}

/// How a table row may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// Offered unless the user says otherwise.
    Default,
    /// Sound, offered only when named.
    Supported,
    /// Weak, for old devices; offered only when named.
    Legacy,
}
