//! The formats that private keys are written in.

use super::openssh::{self, OpensshParams};
use super::pem;
use super::ppk::{self, PpkParams};
use crate::crypto::secret::Secret;
use crate::key::{KeyError, PKey};

/// A format of private key files.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFormat {
    /// OpenSSH's own: what `ssh-keygen` writes.
    Openssh(OpensshParams),
    /// PuTTY's.
    Ppk(PpkParams),
    /// PKCS#1 for RSA, SEC1 for ECDSA: `ssh-keygen -m PEM`. Encrypted with aes128-cbc and a key that
    /// costs next to nothing to derive: for old programs only. Has no comment.
    Pem,
    /// `ssh-keygen -m PKCS8`. Encrypted with aes256-cbc and 2048 rounds of PBKDF2. Has no comment.
    Pkcs8,
    /// As `Pkcs8`, in DER.
    Pkcs8Der,
}

impl Default for KeyFormat {
    fn default() -> Self {
        Self::Openssh(OpensshParams::default())
    }
}

/// The bytes of a file that holds `key`; an empty passphrase is none.
pub(in crate::key) fn write(
    key: &PKey,
    passphrase: Option<&Secret>,
    format: &KeyFormat,
) -> Result<Secret, KeyError> {
    let passphrase = passphrase.filter(|secret| !secret.expose().is_empty());
    let mut text = match format {
        KeyFormat::Openssh(params) => openssh::write(key, passphrase, params)?,
        KeyFormat::Ppk(params) => ppk::write(key, passphrase, params)?,
        KeyFormat::Pem => return pem::write(key.here()?, passphrase).map(Secret::new),
        KeyFormat::Pkcs8 => return pem::write_pkcs8(key.here()?, passphrase).map(Secret::new),
        KeyFormat::Pkcs8Der => return pem::write_der(key.here()?, passphrase).map(Secret::new),
    };
    Ok(Secret::from(std::mem::take(&mut *text)))
}
