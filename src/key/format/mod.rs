//! Key files: what format a file is in is found from what stands in it, whatever its name.
//!
//! Files come from anywhere. A size, count or cost that stands in one is held against a named limit
//! before anything is done for it; every pass is linear.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod armour;
mod der;
pub(super) mod openssh;
mod parts;
mod pbe;
mod pbes1;
mod pem;
mod pkcs8;
mod ppk;
pub(super) mod public;
mod sealed;
mod sshcom;
pub(super) mod write;

#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use self::armour::{Block, Lines};
pub use self::openssh::OpensshParams;
pub use self::ppk::{Argon2Kind, PpkParams, PpkVersion};
pub use self::public::PublicFormat;
pub use self::write::KeyFormat;
use super::{KeyError, PKey};
use crate::crypto::secret::Secret;

/// No key file is larger; OpenSSH's figure.
const FILE: u64 = 1024 * 1024;
/// The most blocks of one file: no agent is given more keys at once.
const BLOCKS: usize = 64;
const MANY: KeyError = KeyError::Malformed("no keys, or more than any file has");

/// What went wrong with the file itself.
pub(super) fn io_error(path: &Path, error: &std::io::Error) -> KeyError {
    KeyError::Io { path: path.display().to_string(), kind: error.kind(), text: error.to_string() }
}

/// Reads a private key file. One of our own must be for nobody else to read; another's, which he lets us
/// read, is his concern, as with OpenSSH. Windows has no mode to check.
pub(super) fn read_private_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (file, metadata) = crate::sys::file::open_regular(path).map_err(|error| io_error(path, &error))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let mode = metadata.mode() & 0o777;
        if metadata.uid() == crate::sys::user::current_uid() && mode & 0o077 != 0 {
            return Err(KeyError::Permissions { path: path.display().to_string(), mode });
        }
    }
    read_bounded(file, metadata.len()).map_err(|error| {
        error.map_or_else(
            || KeyError::InFile { path: path.display().to_string(), error: Box::new(TOO_LARGE) },
            |error| io_error(path, &error),
        )
    })
}

/// What a reader that is too long gives.
pub(super) const TOO_LARGE: KeyError = KeyError::Malformed("larger than any key file");

/// All of `source`, which is expected to have `size` bytes; `Err(None)` when it is larger than any key.
pub(super) fn read_bounded(
    source: impl Read,
    size: u64,
) -> Result<Zeroizing<Vec<u8>>, Option<std::io::Error>> {
    if size > FILE {
        return Err(None);
    }
    // Room for all at once, so that no copy is left behind by growing.
    let room = usize::try_from(size).unwrap_or(0).saturating_add(32);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    source.take(FILE.saturating_add(1)).read_to_end(&mut bytes).map_err(Some)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= FILE) { Ok(bytes) } else { Err(None) }
}

/// The passphrase, where one is needed.
fn given(passphrase: Option<&Secret>) -> Result<&Secret, KeyError> {
    passphrase.filter(|secret| !secret.expose().is_empty()).ok_or(KeyError::PassphraseNeeded)
}

/// Reads the first private key in any format.
pub(super) fn read_private(text: &[u8], passphrase: Option<&Secret>) -> Result<PKey, KeyError> {
    let keys = read_some(text, passphrase, 1)?;
    keys.into_iter().next().ok_or(KeyError::Malformed("no private key is in it"))
}

/// Reads every private key: those of all blocks, and all of a block.
pub(super) fn read_all(text: &[u8], passphrase: Option<&Secret>) -> Result<Vec<PKey>, KeyError> {
    read_some(text, passphrase, usize::MAX)
}

/// Reads up to `most` blocks.
fn read_some(text: &[u8], passphrase: Option<&Secret>, most: usize) -> Result<Vec<PKey>, KeyError> {
    if let Some(read) = read_bare(text, passphrase) {
        return read;
    }
    if ppk::is_ppk(text) {
        return Ok(vec![ppk::read(text, passphrase)?]);
    }
    let mut lines = Lines::new(text);
    let mut skipped = None;
    let mut keys = Vec::new();
    for count in 1_usize.. {
        let Some(block) = armour::next_block(&mut lines, is_private, &mut skipped)? else { break };
        if count > BLOCKS {
            return Err(MANY);
        }
        keys.extend(read_block(&block, passphrase)?);
        if count == most {
            break;
        }
    }
    if !keys.is_empty() {
        return Ok(keys);
    }
    // What stands between the lines of a block may stand alone, as in a variable of the environment.
    let bare = armour::base64(Lines::new(text)).ok();
    bare.and_then(|bytes| read_bare(&bytes, passphrase)).unwrap_or_else(|| Err(no_key(text, skipped)))
}

/// Reads what is not in text: DER, and what OpenSSH has in its blocks.
fn read_bare(bytes: &[u8], passphrase: Option<&Secret>) -> Option<Result<Vec<PKey>, KeyError>> {
    if bytes.first() == Some(&der::SEQUENCE) {
        let key = pkcs8::read(bytes, passphrase).and_then(|key| PKey::from_openssl(key, String::new()));
        return Some(key.map(|key| vec![key]));
    }
    bytes.starts_with(openssh::MAGIC).then(|| openssh::read(bytes, passphrase))
}

fn is_private(label: &str) -> bool {
    label == openssh::LABEL || label == sshcom::LABEL || pem::knows(label)
}

fn read_block(block: &Block<'_>, passphrase: Option<&Secret>) -> Result<Vec<PKey>, KeyError> {
    let contents = block.contents()?;
    match block.label {
        openssh::LABEL => openssh::read(&contents.body, passphrase),
        sshcom::LABEL => Ok(vec![sshcom::read(&contents, passphrase)?]),
        label => Ok(vec![PKey::from_openssl(pem::read(label, &contents, passphrase)?, String::new())?]),
    }
}

/// Why there was no key.
fn no_key(text: &[u8], skipped: Option<&str>) -> KeyError {
    let public = || KeyError::Malformed("this is a public key; name the private key's file");
    match skipped {
        Some(label) if label.ends_with("PUBLIC KEY") => public(),
        Some(label) if label.len() < 64 => KeyError::Unsupported(format!("the key format {label:?}")),
        None if text.starts_with(b"ssh-") || text.starts_with(b"ecdsa-") => public(),
        _ => KeyError::Malformed("no private key is in it"),
    }
}

/// The bytes that pairs of hexadecimal digits stand for.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
