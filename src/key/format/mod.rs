//! Private key files: what format a file is in is found from its text, whatever its name.

pub(super) mod openssh;
mod pem;

use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::{KeyError, PKey};
use crate::crypto::secret::Secret;

/// No key file is larger; OpenSSH's figure.
const FILE: u64 = 1024 * 1024;

/// Reads a private key file that only its owner may read.
pub(super) fn read_private_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let io = |error: std::io::Error| KeyError::Io {
        path: path.display().to_string(),
        kind: error.kind(),
        text: error.to_string(),
    };
    let (file, metadata) = crate::sys::file::open_regular(path).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Permissions { path: path.display().to_string(), mode });
        }
    }
    if metadata.len() > FILE {
        return Err(KeyError::InFile {
            path: path.display().to_string(),
            error: Box::new(KeyError::Malformed("larger than any key file")),
        });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0)));
    file.take(FILE).read_to_end(&mut text).map_err(io)?;
    Ok(text)
}

/// Reads a private key in any format that is built.
pub(super) fn read_private(text: &[u8], passphrase: Option<&Secret>) -> Result<PKey, KeyError> {
    let text_str =
        std::str::from_utf8(text).map_err(|_| KeyError::Malformed("not text; DER files are not read"))?;
    match label(text_str) {
        Some("OPENSSH PRIVATE KEY") => openssh::read(text_str, passphrase),
        Some("RSA PRIVATE KEY" | "EC PRIVATE KEY" | "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY") => {
            pem::read(text, text_str, passphrase)
        }
        Some(other) => Err(KeyError::Unsupported(format!("the key format {other:?}"))),
        None if text_str.starts_with("PuTTY-User-Key-File-") => Err(KeyError::Unsupported(
            "PuTTY's key format (convert it: puttygen -O private-openssh)".to_owned(),
        )),
        None if text_str.starts_with("ssh-") || text_str.starts_with("ecdsa-") => {
            Err(KeyError::Malformed("this is a public key; name the private key's file"))
        }
        None => Err(KeyError::Malformed("no private key is in it")),
    }
}

/// What stands between `-----BEGIN ` and `-----`.
fn label(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("-----BEGIN ")?;
    after.split_once("-----").map(|(label, _)| label).filter(|label| label.len() < 64)
}

/// The base64 lines between BEGIN and END of `label`, decoded.
fn body(text: &str, label: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let begin = format!("-----BEGIN {label}-----");
    let end = format!("-----END {label}-----");
    let inside =
        text.split_once(&begin).and_then(|(_, after)| after.split_once(&end)).map(|(inside, _)| inside);
    let inside = inside.ok_or(KeyError::Malformed("its END line is missing"))?;
    let mut joined = Zeroizing::new(String::with_capacity(inside.len()));
    inside.split_ascii_whitespace().for_each(|line| joined.push_str(line));
    super::public::decode_base64(&joined).map(Zeroizing::new)
}
