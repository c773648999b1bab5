//! Why lists of revoked keys fail.

use std::fmt;
use std::io;
use std::path::Path;

use crate::crypto::CryptoError;
use crate::wire::Malformed;

/// Why a list of revoked keys could not be read, written or added to. Whoever needs the list should
/// trust no key then.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokedKeysError {
    /// The list does not hold together.
    Malformed(&'static str),
    /// The list has something that must be understood and is not.
    Unsupported(String),
    /// A line of text that says nothing that is understood.
    Line {
        /// The line's number, counted from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// More of something than is accepted.
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much of it is accepted.
        limit: u64,
    },
    /// What was to be revoked cannot be.
    Unfit(&'static str),
    /// A hash could not be computed.
    Crypto(CryptoError),
    /// The file could not be read or written.
    Io {
        /// The file.
        path: String,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The system's words.
        text: String,
    },
    /// As another error, in this file.
    InFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: Box<Self>,
    },
}

impl RevokedKeysError {
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io { path: path.display().to_string(), kind: error.kind(), text: error.to_string() }
    }
}

impl fmt::Display for RevokedKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "not a usable list of revoked keys: {what}"),
            Self::Unsupported(what) => write!(f, "a list of revoked keys with {what} is not understood"),
            Self::Line { number, reason } => write!(f, "line {number}: {reason}"),
            Self::TooMuch { what, limit } => write!(f, "more {what} than are accepted ({limit})"),
            Self::Unfit(what) => f.write_str(what),
            Self::Crypto(error) => write!(f, "cryptography failed: {error}"),
            Self::Io { path, text, .. } => write!(f, "revoked keys {path}: {text}"),
            Self::InFile { path, error } => write!(f, "revoked keys {path}: {error}"),
        }
    }
}

impl std::error::Error for RevokedKeysError {}

impl From<Malformed> for RevokedKeysError {
    fn from(_: Malformed) -> Self {
        Self::Malformed("its fields do not fit together")
    }
}

impl From<CryptoError> for RevokedKeysError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}
