//! Why known_hosts files fail.

use std::fmt;
use std::io;
use std::path::Path;

use crate::crypto::CryptoError;

/// Why keys of hosts could not be read, added or written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostKeysError {
    /// The file could not be read or written.
    Io {
        /// The file.
        path: String,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The system's words.
        text: String,
    },
    /// Another program holds the file's lock.
    Locked {
        /// The file.
        path: String,
    },
    /// The file says that this key of this host is revoked.
    Revoked {
        /// The file.
        path: String,
    },
    /// No host can have that name: it is empty, or holds a character that would change the meaning
    /// of its line.
    BadHost {
        /// The name.
        host: String,
    },
    /// No salt could be had.
    Crypto(CryptoError),
}

impl HostKeysError {
    pub(super) fn io(path: &Path, error: &io::Error) -> Self {
        Self::Io { path: shown(path), kind: error.kind(), text: error.to_string() }
    }

    pub(super) fn locked(path: &Path) -> Self {
        Self::Locked { path: shown(path) }
    }

    pub(super) fn revoked(path: &Path) -> Self {
        Self::Revoked { path: shown(path) }
    }

    /// The kind of failure, in the words of `std`.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { kind, .. } => *kind,
            Self::Locked { .. } => io::ErrorKind::TimedOut,
            Self::Revoked { .. } => io::ErrorKind::PermissionDenied,
            Self::BadHost { .. } => io::ErrorKind::InvalidInput,
            Self::Crypto(_) => io::ErrorKind::Other,
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

impl fmt::Display for HostKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, text, .. } => write!(f, "host keys file {path}: {text}"),
            Self::Locked { path } => write!(f, "host keys file {path}: another program holds its lock"),
            Self::Revoked { path } => write!(f, "host keys file {path}: this key is marked as revoked there"),
            Self::BadHost { host } => {
                write!(f, "no host can be called \"{}\"", crate::wire::Escaped(host.as_bytes()))
            }
            Self::Crypto(error) => write!(f, "no salt for a host's name: {error}"),
        }
    }
}

impl std::error::Error for HostKeysError {}

impl From<CryptoError> for HostKeysError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}
