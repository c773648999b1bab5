//! Keys: public ones that verify, private ones that sign, and the files they live in.
//!
//! Pure but for reading and writing files; the other room besides `crypto/` that names `openssl`.

pub(crate) mod algorithm;
mod cert;
mod certify;
mod fields;
mod files;
mod fingerprint;
mod format;
mod krl;
mod line;
mod own;
mod private;
mod public;
mod sshsig;
mod time;
mod validity;
mod verify;

use std::fmt;
use std::io;

use crate::crypto::CryptoError;
use crate::wire::Malformed;

pub use cert::{Certificate, CertificateError, CertificateKind};
pub use certify::CertificateBuilder;
pub(crate) use fields::{RSA_FLOOR, RSA_MAX, RSA_MIN};
pub use fingerprint::{FingerprintHash, SshfpRecord};
pub(crate) use format::openssh::{FIELDS_ROOM, get_fields, put_fields};
pub use format::{Argon2Kind, KeyFormat, OpensshParams, PpkParams, PpkVersion, PublicFormat};
pub use krl::{IssuedBy, Revoked, RevokedKeys, RevokedKeysError};
pub(crate) use line::{key_blob, split_key, split_word, trim_start};
pub use own::{CheckKey, CheckSignature, KeySpec};
pub use private::{KeyKind, PKey, Signer};
pub use public::PublicKey;
pub(crate) use public::is_certificate;
pub use sshsig::{
    AllowedSigners, BadSignerLine, SignatureHash, SignerVerdict, SshSignature, SshSignatureError,
};
pub(crate) use time::parse as parse_seconds;
pub use time::parse_time;
pub use verify::TokenUse;

#[cfg(test)]
mod tests;

/// Why a key could not be read or used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes are no key, or not one that holds together.
    Malformed(&'static str),
    /// A key type, cipher or format that is not built.
    Unsupported(String),
    /// The key is encrypted and no passphrase was given.
    PassphraseNeeded,
    /// The passphrase is wrong.
    WrongPassphrase,
    /// A signature does not fit.
    BadSignature,
    /// The key is too weak or too large to be used.
    BadSize(String),
    /// Deriving the file's key would cost more than is accepted.
    TooCostly(String),
    /// Others may read the file.
    Permissions {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file could not be read or written.
    Io {
        /// The file.
        path: String,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The system's words.
        text: String,
    },
    /// A signer (agent, token) failed.
    Signer(String),
    /// A primitive failed.
    Crypto(CryptoError),
    /// As another error, in this file.
    InFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: Box<Self>,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "not a usable key: {what}"),
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
            Self::PassphraseNeeded => f.write_str("the key is encrypted: a passphrase is needed"),
            Self::WrongPassphrase => f.write_str("the passphrase is wrong"),
            Self::BadSignature => f.write_str("the signature is wrong"),
            Self::BadSize(what) => f.write_str(what),
            Self::TooCostly(what) => write!(f, "refusing to derive a key at that cost: {what}"),
            Self::Permissions { path, mode } => write!(
                f,
                "others can read the private key {path} (mode {mode:03o}); it is not used. Run: chmod 600 {path}"
            ),
            Self::Io { path, text, .. } => write!(f, "key file {path}: {text}"),
            Self::Signer(text) => write!(f, "the signer failed: {text}"),
            Self::Crypto(error) => write!(f, "cryptography failed: {error}"),
            Self::InFile { path, error } => write!(f, "key file {path}: {error}"),
        }
    }
}

impl std::error::Error for KeyError {}

impl From<Malformed> for KeyError {
    fn from(_: Malformed) -> Self {
        Self::Malformed("its fields do not fit together")
    }
}

impl From<CryptoError> for KeyError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}

impl From<openssl::error::ErrorStack> for KeyError {
    fn from(stack: openssl::error::ErrorStack) -> Self {
        Self::Crypto(stack.into())
    }
}
