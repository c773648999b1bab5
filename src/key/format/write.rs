//! The formats that private keys are written in.

use openssl::pkey::{PKey as OpensslKey, Private};
use zeroize::Zeroizing;

use super::openssh::{self, OpensshParams};
use super::ppk::{self, PpkParams};
use super::{BLOCKS, FILE, MANY, TOO_LARGE, pem};
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
    /// As `Pem`, in DER, which cannot be encrypted.
    Der,
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

/// The bytes of a file that holds `keys`; an empty passphrase is none.
pub(in crate::key) fn write(
    keys: &[PKey],
    passphrase: Option<&Secret>,
    format: &KeyFormat,
) -> Result<Secret, KeyError> {
    let passphrase = passphrase.filter(|secret| !secret.expose().is_empty());
    let file = match format {
        KeyFormat::Openssh(params) => {
            Secret::from(std::mem::take(&mut *openssh::write(keys, passphrase, params)?))
        }
        KeyFormat::Ppk(params) => {
            Secret::from(std::mem::take(&mut *ppk::write(only(keys)?, passphrase, params)?))
        }
        KeyFormat::Der => pem::write_der(only(keys)?.here()?, passphrase).map(Secret::new)?,
        KeyFormat::Pkcs8Der => pem::write_pkcs8_der(only(keys)?.here()?, passphrase).map(Secret::new)?,
        KeyFormat::Pem => blocks(keys, |key| pem::write(key, passphrase))?,
        KeyFormat::Pkcs8 => blocks(keys, |key| pem::write_pkcs8(key, passphrase))?,
    };
    // Nothing is written that would not be read again.
    if u64::try_from(file.expose().len()).is_ok_and(|length| length <= FILE) {
        Ok(file)
    } else {
        Err(TOO_LARGE)
    }
}

/// The key of a format that has one.
fn only(keys: &[PKey]) -> Result<&PKey, KeyError> {
    match keys {
        [key] => Ok(key),
        _ => Err(KeyError::Unsupported(format!("{} keys in one file of this format", keys.len()))),
    }
}

/// Blocks that follow each other.
fn blocks(
    keys: &[PKey],
    write: impl Fn(&OpensslKey<Private>) -> Result<Vec<u8>, KeyError>,
) -> Result<Secret, KeyError> {
    if keys.is_empty() || keys.len() > BLOCKS {
        return Err(MANY);
    }
    let mut written = Vec::with_capacity(keys.len());
    for key in keys {
        written.push(Zeroizing::new(write(key.here()?)?));
    }
    // Room for all at once, so that no copy is left behind by growing.
    let mut text = Vec::with_capacity(written.iter().fold(0, |sum, block| block.len().saturating_add(sum)));
    written.iter().for_each(|block| text.extend_from_slice(block));
    Ok(Secret::new(text))
}
