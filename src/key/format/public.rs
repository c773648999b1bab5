//! Public key files: one line, RFC 4716, PKCS#1 (RFC 8017) and SubjectPublicKeyInfo (RFC 5280,
//! RFC 5480, RFC 8410) in PEM or DER. Which one it is, is seen from the text. The private key files of
//! OpenSSH and PuTTY hold the public half in clear, so that it can be offered before a passphrase is
//! asked for.

use super::armour::{self, Block, Lines};
use super::der::{Der, INTEGER, OID, Oid, SEQUENCE};
use super::{openssh, pkcs8, ppk};
use crate::key::algorithm::KeyType;
use crate::key::fields::curve;
use crate::key::{KeyError, PublicKey};
use crate::wire::{Writer, put_mpint};

/// ssh-keygen breaks the lines of RFC 4716 after 70 characters; 72 are allowed.
const LINE: usize = 70;
/// RFC 7468 §2.
const PEM_LINE: usize = 64;

const SSH2: &str = "SSH2 PUBLIC KEY";
const PKCS1: &str = "RSA PUBLIC KEY";
const SPKI: &str = "PUBLIC KEY";

/// A format of public key files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublicFormat {
    /// One line, as in `authorized_keys`.
    Line,
    /// RFC 4716: `ssh-keygen -e`.
    Rfc4716,
    /// `RSA PUBLIC KEY` for RSA, as `Pkcs8` for others: `ssh-keygen -e -m PEM`. Has no comment.
    Pem,
    /// `PUBLIC KEY`: `ssh-keygen -e -m PKCS8`. Has no comment.
    Pkcs8,
}

/// Reads a public key and its comment.
pub(in crate::key) fn read(text: &[u8]) -> Result<(PublicKey, String), KeyError> {
    if let Some(key) = from_bare(text) {
        return Ok((key?, String::new()));
    }
    if ppk::is_ppk(text) {
        return ppk::read_public(text);
    }
    let mut skipped = None;
    let wanted = |label: &str| [SSH2, PKCS1, SPKI, openssh::LABEL].contains(&label);
    match armour::next_block(&mut Lines::new(text), wanted, &mut skipped)? {
        Some(block) => from_block(&block),
        None => match skipped {
            Some(label) if label.ends_with("PRIVATE KEY") => {
                Err(KeyError::Malformed("this is a private key; name the public key's file"))
            }
            Some(label) => Err(KeyError::Unsupported(format!("the key format {label:?}"))),
            None => match armour::base64(Lines::new(text)) {
                Ok(bytes) if !bytes.is_empty() => {
                    let key = from_bare(&bytes).unwrap_or_else(|| PublicKey::from_blob(&bytes));
                    Ok((key?, String::new()))
                }
                _ => from_lines(text),
            },
        },
    }
}

/// What is not in text: DER, and what OpenSSH has in its blocks.
fn from_bare(bytes: &[u8]) -> Option<Result<PublicKey, KeyError>> {
    if bytes.first() == Some(&SEQUENCE) {
        return Some(from_der(bytes));
    }
    bytes.starts_with(openssh::MAGIC).then(|| openssh::read_public(bytes))
}

fn from_block(block: &Block<'_>) -> Result<(PublicKey, String), KeyError> {
    let contents = block.contents()?;
    let comment = if block.label == SSH2 { contents.comment() } else { String::new() };
    let key = match block.label {
        SSH2 => PublicKey::from_blob(&contents.body)?,
        openssh::LABEL => openssh::read_public(&contents.body)?,
        _ => from_der(&contents.body)?,
    };
    Ok((key, comment))
}

/// The first line that is neither empty nor a remark.
fn from_lines(text: &[u8]) -> Result<(PublicKey, String), KeyError> {
    let mut lines = Lines::new(text).map(<[u8]>::trim_ascii);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with(b"#"));
    let line = line.ok_or(KeyError::Malformed("no public key is in it"))?;
    PublicKey::from_line(&String::from_utf8_lossy(line))
}

/// PKCS#1 starts with an integer, SubjectPublicKeyInfo with a sequence.
fn from_der(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    let mut info = Der::whole(bytes)?;
    if info.tag() == Some(INTEGER) {
        return rsa(info);
    }
    let mut algorithm = info.sequence()?;
    let key = info.bits()?;
    info.finish()?;
    let mut blob = Vec::new();
    match algorithm.take(OID)? {
        pkcs8::RSA => {
            pkcs8::no_parameters(algorithm)?;
            return rsa(Der::whole(key)?);
        }
        pkcs8::EC => {
            let kind = pkcs8::named_curve(algorithm)?;
            let (_, name) = curve(kind).ok_or(KeyError::Malformed("no curve"))?;
            blob.put(kind.name(false)).put(name).put(key);
        }
        pkcs8::ED25519 => {
            algorithm.finish()?;
            blob.put("ssh-ed25519").put(key);
        }
        pkcs8::ED448 => {
            algorithm.finish()?;
            blob.put("ssh-ed448").put(key);
        }
        pkcs8::DSA => {
            let mut inner = Der::new(key);
            let y = inner.unsigned()?;
            inner.finish()?;
            blob.put("ssh-dss");
            for number in pkcs8::dsa_group(algorithm)?.into_iter().chain([y]) {
                put_mpint(&mut blob, number);
            }
        }
        other => return Err(KeyError::Unsupported(format!("a public key of type {}", Oid(other)))),
    }
    PublicKey::from_blob(&blob)
}

fn rsa(mut numbers: Der<'_>) -> Result<PublicKey, KeyError> {
    let (n, e) = (numbers.unsigned()?, numbers.unsigned()?);
    numbers.finish()?;
    let mut blob = Vec::new();
    blob.put("ssh-rsa");
    put_mpint(&mut blob, e);
    put_mpint(&mut blob, n);
    PublicKey::from_blob(&blob)
}

/// The text of a public key file.
pub(in crate::key) fn write(
    key: &PublicKey,
    format: PublicFormat,
    comment: &str,
) -> Result<String, KeyError> {
    if comment.contains(['\r', '\n']) {
        return Err(KeyError::Malformed("a public key file has no comment of several lines"));
    }
    match format {
        PublicFormat::Line if comment.is_empty() => Ok(format!("{}\n", key.to_line())),
        PublicFormat::Line => Ok(format!("{} {comment}\n", key.to_line())),
        PublicFormat::Rfc4716 => rfc4716(key, comment),
        PublicFormat::Pem | PublicFormat::Pkcs8 => {
            let label = if is_pkcs1(key, format) { PKCS1 } else { SPKI };
            Ok(std::mem::take(&mut *armour::pem(label, &write_der(key, format)?, PEM_LINE)))
        }
    }
}

/// Whether the key is in PKCS#1 in that format.
fn is_pkcs1(key: &PublicKey, format: PublicFormat) -> bool {
    format == PublicFormat::Pem && key.kind() == KeyType::Rsa
}

/// The DER in a format that has any.
pub(in crate::key) fn write_der(key: &PublicKey, format: PublicFormat) -> Result<Vec<u8>, KeyError> {
    match format {
        // It would be read again as a key that signs by itself.
        PublicFormat::Pem | PublicFormat::Pkcs8 if key.kind().is_token() => Err(KeyError::Unsupported(
            "a token's key in PKCS#8, which has no room for its application".to_owned(),
        )),
        _ if is_pkcs1(key, format) => Ok(key.openssl()?.rsa()?.public_key_to_der_pkcs1()?),
        PublicFormat::Pem | PublicFormat::Pkcs8 => Ok(key.openssl()?.public_key_to_der()?),
        PublicFormat::Line | PublicFormat::Rfc4716 => {
            Err(KeyError::Unsupported("a format without DER".to_owned()))
        }
    }
}

fn rfc4716(key: &PublicKey, comment: &str) -> Result<String, KeyError> {
    let mut text = format!("---- BEGIN {SSH2} ----\n");
    if !comment.is_empty() {
        armour::put_header(&mut text, "Comment", &format!("\"{comment}\""))?;
    }
    let mut body = zeroize::Zeroizing::new(String::new());
    armour::put_base64(&mut body, key.blob(), LINE);
    text.push_str(&body);
    text.push_str(&format!("---- END {SSH2} ----\n"));
    Ok(text)
}
