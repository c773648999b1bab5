//! Keys from and to files in every format: what `PKey` and `PublicKey` offer for it.

use std::io::Read;
use std::path::Path;

use zeroize::Zeroizing;

use super::format::{self, KeyFormat, PublicFormat};
use super::{KeyError, PKey, PublicKey};
use crate::crypto::secret::Secret;

/// Says of an error in which file it was, except where the caller is to act on the error itself.
pub(super) fn in_file(path: &Path, error: KeyError) -> KeyError {
    match error {
        KeyError::PassphraseNeeded | KeyError::WrongPassphrase => error,
        error => KeyError::InFile { path: path.display().to_string(), error: Box::new(error) },
    }
}

/// The text that a reader gives.
fn read_all(source: impl Read) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    format::read_bounded(source, 0).map_err(|error| {
        error.map_or(format::TOO_LARGE, |error| format::io_error(Path::new("(a reader)"), &error))
    })
}

impl PKey {
    /// Reads a private key file; `ask` is called, with a line to show, only when a passphrase is
    /// needed. Without an answer the error is [`KeyError::PassphraseNeeded`].
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    ///
    /// ```no_run
    /// # fn read_password(prompt: &str) -> Option<feramiko::Secret> { None }
    /// let key = feramiko::PKey::from_file_with("id_rsa.ppk", |prompt| read_password(prompt))?;
    /// # Ok::<(), feramiko::KeyError>(())
    /// ```
    pub fn from_file_with(
        path: impl AsRef<Path>,
        ask: impl FnOnce(&str) -> Option<Secret>,
    ) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let text = format::read_private_file(path)?;
        let read = |passphrase: Option<&Secret>| {
            format::read_private(&text, passphrase).map_err(|error| in_file(path, error))
        };
        match read(None) {
            Err(KeyError::PassphraseNeeded) => {
                let prompt = format!("Enter passphrase for key '{}': ", path.display());
                read(Some(&ask(&prompt).ok_or(KeyError::PassphraseNeeded)?))
            }
            done => done,
        }
    }

    /// Reads the text of a private key file to its end, 1 MiB at most.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes); [`KeyError::Io`] when `source` fails.
    pub fn from_reader(source: impl Read, passphrase: Option<&Secret>) -> Result<Self, KeyError> {
        Self::from_bytes(&read_all(source)?, passphrase)
    }

    /// Reads every key of a private key file, all with the same passphrase.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file); one key that cannot be read fails them all.
    pub fn all_from_file(path: impl AsRef<Path>, passphrase: Option<&str>) -> Result<Vec<Self>, KeyError> {
        let path = path.as_ref();
        let text = format::read_private_file(path)?;
        Self::all_from_bytes(&text, passphrase.map(Secret::from).as_ref())
            .map_err(|error| in_file(path, error))
    }

    /// Reads every key in the text of a private key file: OpenSSH's format holds several, and blocks
    /// of PEM may follow each other.
    ///
    /// # Errors
    /// As [`all_from_file`](Self::all_from_file), without the file.
    pub fn all_from_bytes(text: &[u8], passphrase: Option<&Secret>) -> Result<Vec<Self>, KeyError> {
        format::read_all(text, passphrase)
    }

    /// The bytes of a private key file in any format, encrypted with a passphrase that is not empty.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for keys held elsewhere, for a format that has no keys of this type and
    /// for an unknown cipher; [`KeyError::TooCostly`] for parameters that would not be read again.
    ///
    /// ```
    /// use feramiko::{KeyFormat, KeyKind, PKey, PpkParams, Secret};
    /// let key = PKey::generate(KeyKind::Ed25519)?;
    /// let ppk = key.to_format(&KeyFormat::Ppk(PpkParams::default()), Some(&Secret::from("secret")))?;
    /// assert!(ppk.expose().starts_with(b"PuTTY-User-Key-File-3: ssh-ed25519\n"));
    /// # Ok::<(), feramiko::KeyError>(())
    /// ```
    pub fn to_format(&self, format: &KeyFormat, passphrase: Option<&Secret>) -> Result<Secret, KeyError> {
        format::write::write(std::slice::from_ref(self), passphrase, format)
    }

    /// The bytes of one file that holds all of `keys`, with one passphrase: OpenSSH's format has them in
    /// one block, PEM in blocks that follow each other. [`all_from_bytes`](Self::all_from_bytes) reads
    /// either. Of blocks, other programs read the first; a block of several keys OpenSSH, PuTTY and
    /// AsyncSSH refuse.
    ///
    /// # Errors
    /// As [`to_format`](Self::to_format); [`KeyError::Unsupported`] for several keys in a format that has
    /// one; [`KeyError::Malformed`] for none, for more than 64 and for a file of more than 1 MiB.
    ///
    /// ```
    /// use feramiko::{KeyFormat, KeyKind, PKey};
    /// let keys = [PKey::generate(KeyKind::Ed25519)?, PKey::generate(KeyKind::EcdsaP256)?];
    /// let file = PKey::all_to_format(&keys, &KeyFormat::default(), None)?;
    /// assert_eq!(PKey::all_from_bytes(file.expose(), None)?.len(), 2);
    /// # Ok::<(), feramiko::KeyError>(())
    /// ```
    pub fn all_to_format(
        keys: &[Self],
        format: &KeyFormat,
        passphrase: Option<&Secret>,
    ) -> Result<Secret, KeyError> {
        format::write::write(keys, passphrase, format)
    }

    /// As [`write_private_key_file`](Self::write_private_key_file), in any format.
    ///
    /// # Errors
    /// As [`to_format`](Self::to_format); [`KeyError::Io`] when the file cannot be written.
    pub fn write_private_key_file_as(
        &self,
        path: impl AsRef<Path>,
        format: &KeyFormat,
        passphrase: Option<&Secret>,
    ) -> Result<(), KeyError> {
        Self::write_all_as(std::slice::from_ref(self), path, format, passphrase)
    }

    /// Writes all of `keys` to one new file that only its owner may read; an existing file is replaced in
    /// one step.
    ///
    /// # Errors
    /// As [`all_to_format`](Self::all_to_format); [`KeyError::Io`] when the file cannot be written.
    pub fn write_all_as(
        keys: &[Self],
        path: impl AsRef<Path>,
        format: &KeyFormat,
        passphrase: Option<&Secret>,
    ) -> Result<(), KeyError> {
        let (path, bytes) = (path.as_ref(), Self::all_to_format(keys, format, passphrase)?);
        crate::sys::file::replace(path, bytes.expose(), 0o600).map_err(|error| format::io_error(path, &error))
    }
}

impl PublicKey {
    /// Reads a public key file, in any format; its comment comes with the key.
    ///
    /// # Errors
    /// [`KeyError::Io`], or [`KeyError::InFile`] for what is wrong inside.
    pub fn from_file(path: impl AsRef<Path>) -> Result<(Self, String), KeyError> {
        let path = path.as_ref();
        let failed = |error: std::io::Error| format::io_error(path, &error);
        let (file, metadata) = crate::sys::file::open_regular(path).map_err(failed)?;
        let text = format::read_bounded(file, metadata.len())
            .map_err(|error| error.map_or_else(|| in_file(path, format::TOO_LARGE), failed))?;
        Self::from_bytes(&text).map_err(|error| in_file(path, error))
    }

    /// Reads the text of a public key file to its end, 1 MiB at most.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes); [`KeyError::Io`] when `source` fails.
    pub fn from_reader(source: impl Read) -> Result<(Self, String), KeyError> {
        Self::from_bytes(&read_all(source)?)
    }

    /// Reads the text of a public key file: one line, RFC 4716, PKCS#1 or PKCS#8 (in PEM or DER),
    /// found by itself; also a blob in base64 alone, and the public half of OpenSSH's and PuTTY's private
    /// key files, which needs no passphrase.
    ///
    /// # Errors
    /// As [`from_blob`](Self::from_blob).
    pub fn from_bytes(text: &[u8]) -> Result<(Self, String), KeyError> {
        format::public::read(text)
    }

    /// The text of a public key file in any format.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for a comment of several lines, or longer than RFC 4716 allows.
    pub fn to_format(&self, format: PublicFormat, comment: &str) -> Result<String, KeyError> {
        format::public::write(self, format, comment)
    }

    /// The DER that the PEM formats hold: [`PublicFormat::Pkcs8`] or [`PublicFormat::Pem`].
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] for the other formats, which hold none, and for keys of a user's own type.
    pub fn to_der(&self, format: PublicFormat) -> Result<Vec<u8>, KeyError> {
        format::public::write_der(self, format)
    }
}
