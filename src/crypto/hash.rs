//! Hash functions by name of the exchange or signature that uses them.

use std::fmt;
use std::ops::Deref;

use openssl::hash::{Hasher, MessageDigest};

use super::CryptoError;

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum HashAlg {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl HashAlg {
    /// OpenSSL's handle of it.
    pub(crate) fn message_digest(self) -> MessageDigest {
        match self {
            Self::Md5 => MessageDigest::md5(),
            Self::Sha1 => MessageDigest::sha1(),
            Self::Sha224 => MessageDigest::sha224(),
            Self::Sha256 => MessageDigest::sha256(),
            Self::Sha384 => MessageDigest::sha384(),
            Self::Sha512 => MessageDigest::sha512(),
        }
    }

    /// Hashes the parts as if they were one.
    pub(crate) fn digest(self, parts: &[&[u8]]) -> Result<Digest, CryptoError> {
        let mut running = Running::new(self)?;
        for part in parts {
            running.update(part)?;
        }
        running.finish()
    }
}

/// A hash of what comes piece by piece.
pub(crate) struct Running(Hasher);

impl Running {
    pub(crate) fn new(hash: HashAlg) -> Result<Self, CryptoError> {
        Ok(Self(Hasher::new(hash.message_digest())?))
    }

    pub(crate) fn update(&mut self, piece: &[u8]) -> Result<(), CryptoError> {
        Ok(self.0.update(piece)?)
    }

    /// The hash of all pieces as if they were one.
    pub(crate) fn finish(mut self) -> Result<Digest, CryptoError> {
        let bytes = self.0.finish()?;
        let mut digest = Digest { bytes: [0; 64], length: bytes.len() };
        for (to, from) in digest.bytes.iter_mut().zip(bytes.iter()) {
            *to = *from;
        }
        Ok(digest)
    }
}

/// The output of a hash function: up to 64 bytes, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Digest {
    bytes: [u8; 64],
    length: usize,
}

impl Deref for Digest {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({} bytes)", self.length)
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.bytes);
    }
}
