//! Signatures of messages and files: OpenSSH's PROTOCOL.sshsig; and who may make them.
//!
//! Knows no clock. Who signs with a certificate signs with its key; what the certificate says is for the
//! list of signers to see.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod allowed_signers;
mod error;
mod options;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read};

use base64ct::{Base64, Encoding};

use super::public::decode_base64;
use super::{PKey, PublicKey};
use crate::crypto::hash::{Digest, HashAlg, Running};
use crate::wire::{Escaped, Reader, Writer};

pub use allowed_signers::{AllowedSigners, BadSignerLine, SignerVerdict};
pub use error::SshSignatureError;

type Result<T> = std::result::Result<T, SshSignatureError>;

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Columns of the base64 text, as ssh-keygen has it.
const COLUMNS: usize = 70;
/// What both the signature and what is signed begin with.
const MAGIC: &[u8; 6] = b"SSHSIG";
/// The only version.
const VERSION: u32 = 1;
/// SHA-1 with RSA, which signs nothing any more.
const LEGACY: &[u8] = b"ssh-rsa";
/// Bytes of a message that are hashed at once.
const PIECE: usize = 16 * 1024;

/// What a message is hashed by before it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SignatureHash {
    /// SHA-256.
    Sha256,
    /// SHA-512, what ssh-keygen takes unless told otherwise.
    #[default]
    Sha512,
}

impl SignatureHash {
    /// The name in signatures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The function of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sha512].into_iter().find(|hash| hash.name() == name)
    }

    fn function(self) -> HashAlg {
        match self {
            Self::Sha256 => HashAlg::Sha256,
            Self::Sha512 => HashAlg::Sha512,
        }
    }
}

/// A signature of a message, as `ssh-keygen -Y sign` makes it. The namespace says what it is good for
/// (`file`, `git`, …): a signature made for one purpose is good for no other.
///
/// ```
/// use feramiko::{KeyKind, PKey, SignatureHash, SshSignature};
/// let key = PKey::generate(KeyKind::Ed25519)?;
/// let signature = SshSignature::sign(&key, "file", SignatureHash::Sha512, &b"a message"[..])?;
/// let read = SshSignature::from_armored(signature.to_armored())?;
/// assert_eq!(read.verify("file", &b"a message"[..])?, key.public_key());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SshSignature {
    key: PublicKey,
    namespace: Vec<u8>,
    hash: SignatureHash,
    /// RFC 4253 §6.6.
    signature: Vec<u8>,
}

impl fmt::Debug for SshSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = Escaped(&self.namespace);
        write!(f, "SshSignature({namespace:?} by {:?}, {})", self.key, self.hash.name())
    }
}

impl SshSignature {
    /// Signs all of `message`. RSA keys sign by `rsa-sha2-512`.
    ///
    /// # Errors
    /// [`SshSignatureError::NoNamespace`] for an empty one, [`SshSignatureError::Io`] when the message
    /// cannot be read, [`SshSignatureError::Key`] when the key cannot sign.
    pub fn sign(
        key: &PKey,
        namespace: impl AsRef<[u8]>,
        hash: SignatureHash,
        message: impl Read,
    ) -> Result<Self> {
        let namespace = named(namespace.as_ref())?;
        let best = key.public_key().without_certificate().algorithms().first().copied();
        let algorithm = best.ok_or_else(|| SshSignatureError::Unsupported("such a key".to_owned()))?;
        let digest = digest_of(hash, message)?;
        let signature = key.sign(algorithm, &signed(namespace, hash, &digest))?;
        let made = Self { key: key.public_key().clone(), namespace: namespace.to_vec(), hash, signature };
        // A signer elsewhere, such as an old agent, may do as it likes.
        made.algorithm()?;
        Ok(made)
    }

    /// Checks that this is a signature of all of `message` for the purpose `namespace`; gives the key
    /// that made it. Whether that key is trusted is another question: see [`AllowedSigners`].
    ///
    /// # Errors
    /// [`SshSignatureError::OtherNamespace`], [`SshSignatureError::BadSignature`],
    /// [`SshSignatureError::Io`] when the message cannot be read.
    pub fn verify(&self, namespace: impl AsRef<[u8]>, message: impl Read) -> Result<&PublicKey> {
        if named(namespace.as_ref())? != self.namespace {
            return Err(SshSignatureError::OtherNamespace { found: Escaped(&self.namespace).to_string() });
        }
        let algorithm = self.algorithm()?;
        let digest = digest_of(self.hash, message)?;
        let plain = self.key.without_certificate();
        plain.verify(algorithm, &signed(&self.namespace, self.hash, &digest), &self.signature)?;
        Ok(&self.key)
    }

    /// The key that says it made the signature.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.key
    }

    /// What the signature says it is good for.
    #[must_use]
    pub fn namespace(&self) -> &[u8] {
        &self.namespace
    }

    /// What the message was hashed by.
    #[must_use]
    pub fn hash(&self) -> SignatureHash {
        self.hash
    }

    /// The algorithm that the signature names, if it is one of the key's.
    fn algorithm(&self) -> Result<&'static str> {
        let name = Reader::new(&self.signature).string()?;
        let plain = self.key.without_certificate();
        let known = plain.algorithms().iter().find(|algorithm| algorithm.as_bytes() == name);
        known
            .filter(|_| name != LEGACY)
            .copied()
            .ok_or_else(|| SshSignatureError::Unsupported(format!("the algorithm {}", Escaped(name))))
    }

    /// Reads the text of a signature file. As with ssh-keygen, blanks between BEGIN and END and all that
    /// follows END count for nothing.
    ///
    /// # Errors
    /// [`SshSignatureError::Malformed`], [`SshSignatureError::Unsupported`] for ways of signing that are
    /// not built or that are too weak, [`SshSignatureError::Key`] for the key in it.
    pub fn from_armored(text: impl AsRef<[u8]>) -> Result<Self> {
        let mut lines = text.as_ref().split(|byte| *byte == b'\n');
        let first = lines.next().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        if first != Some(BEGIN.as_bytes()) {
            return Err(SshSignatureError::Malformed("its BEGIN line is missing"));
        }
        let mut base64 = String::new();
        loop {
            let line = lines.next().ok_or(SshSignatureError::Malformed("its END line is missing"))?;
            if line.starts_with(END.as_bytes()) {
                break;
            }
            base64.extend(line.iter().filter(|byte| !is_space(**byte)).map(|byte| char::from(*byte)));
        }
        let blob = decode_base64(&base64).map_err(|_| SshSignatureError::Malformed("bad base64"))?;
        Self::from_blob(&blob)
    }

    fn from_blob(blob: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(blob);
        if reader.array()? != *MAGIC {
            return Err(SshSignatureError::Malformed("it does not begin as one"));
        }
        let version = reader.get::<u32>()?;
        if version != VERSION {
            return Err(SshSignatureError::Unsupported(format!("version {version}")));
        }
        let (key, namespace) = (reader.string()?, named(reader.string()?)?);
        reader.string()?; // reserved: to be ignored
        let hash = reader.string()?;
        let signature = reader.string()?.to_vec();
        reader.finish()?;
        let hash = std::str::from_utf8(hash)
            .ok()
            .and_then(SignatureHash::by_name)
            .ok_or_else(|| SshSignatureError::Unsupported(format!("the hash {}", Escaped(hash))))?;
        let key = PublicKey::from_blob(key)?;
        let read = Self { key, namespace: namespace.to_vec(), hash, signature };
        read.algorithm()?;
        Ok(read)
    }

    /// The signature as the text of a file, as ssh-keygen writes it.
    #[must_use]
    pub fn to_armored(&self) -> String {
        let base64 = Base64::encode_string(&self.to_blob());
        let mut text = format!("{BEGIN}\n");
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at_checked(COLUMNS).unwrap_or((rest, ""));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text + END + "\n"
    }

    fn to_blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        blob.put(MAGIC).put(&VERSION).put(self.key.blob()).put(self.namespace.as_slice());
        // Nothing reserved.
        blob.put("").put(self.hash.name()).put(self.signature.as_slice());
        blob
    }
}

/// C's isspace: what ssh-keygen skips in base64.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// A namespace that can be one: not empty, and without zero bytes, which ssh-keygen does not take.
fn named(namespace: &[u8]) -> Result<&[u8]> {
    if namespace.is_empty() {
        return Err(SshSignatureError::NoNamespace);
    }
    if namespace.contains(&0) {
        return Err(SshSignatureError::Malformed("a namespace with a zero byte"));
    }
    Ok(namespace)
}

/// The hash of all of a message, which is never in memory as a whole.
fn digest_of(hash: SignatureHash, mut message: impl Read) -> Result<Digest> {
    let mut running = Running::new(hash.function())?;
    let mut piece = vec![0; PIECE];
    loop {
        match message.read(&mut piece) {
            Ok(0) => return Ok(running.finish()?),
            Ok(count) => running.update(piece.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(SshSignatureError::io("the message", &error)),
        }
    }
}

/// What is signed.
fn signed(namespace: &[u8], hash: SignatureHash, digest: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put(MAGIC).put(namespace);
    // Nothing reserved.
    data.put("").put(hash.name()).put(digest);
    data
}
