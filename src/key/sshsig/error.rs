//! Why signatures of messages and lists of signers fail.

use std::fmt;
use std::io;

use crate::crypto::CryptoError;
use crate::key::KeyError;
use crate::wire::Malformed;

/// Why a message could not be signed, a signature not be read, or is not good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SshSignatureError {
    /// The text is no signature.
    Malformed(&'static str),
    /// A signature in a way that is not built, or too weak to be taken.
    Unsupported(String),
    /// A namespace is missing: without one, a signature could be used for what it was not meant for.
    NoNamespace,
    /// The signature was made for another purpose.
    OtherNamespace {
        /// What it was made for.
        found: String,
    },
    /// The signature is not one of this message by this key.
    BadSignature,
    /// The key could not be read or used.
    Key(KeyError),
    /// A hash could not be computed.
    Crypto(CryptoError),
    /// The message or the file could not be read.
    Io {
        /// What was read.
        what: String,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The system's words.
        text: String,
    },
}

impl SshSignatureError {
    pub(super) fn io(what: impl fmt::Display, error: &io::Error) -> Self {
        Self::Io { what: what.to_string(), kind: error.kind(), text: error.to_string() }
    }
}

impl fmt::Display for SshSignatureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "not a usable signature: {what}"),
            Self::Unsupported(what) => write!(f, "a signature with {what} is not accepted"),
            Self::NoNamespace => f.write_str("a signature needs a namespace"),
            Self::OtherNamespace { found } => {
                write!(f, "the signature was made for another purpose: namespace {found}")
            }
            Self::BadSignature => f.write_str("the signature is wrong"),
            Self::Key(error) => error.fmt(f),
            Self::Crypto(error) => write!(f, "cryptography failed: {error}"),
            Self::Io { what, text, .. } => write!(f, "{what}: {text}"),
        }
    }
}

impl std::error::Error for SshSignatureError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Key(error) => Some(error),
            Self::Crypto(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Malformed> for SshSignatureError {
    fn from(_: Malformed) -> Self {
        Self::Malformed("its fields do not fit together")
    }
}

impl From<KeyError> for SshSignatureError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::BadSignature => Self::BadSignature,
            error => Self::Key(error),
        }
    }
}

impl From<CryptoError> for SshSignatureError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}
