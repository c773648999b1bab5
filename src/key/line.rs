//! The words of a line that holds a public key: `type base64 comment`, sshd(8), "AUTHORIZED_KEYS FILE
//! FORMAT". Bytes only: knows not what the types mean.

use super::KeyError;
use super::public::decode_base64;
use crate::wire::Reader;

/// Blanks between words.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The first word and what follows it and the blanks after it.
pub(crate) fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| is_blank(*byte)).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (word, trim_start(rest))
}

/// Without the blanks at the front.
pub(crate) fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    text.get(blanks..).unwrap_or_default()
}

/// The lines of a text with their numbers, counted from 1; without line breaks of either kind and
/// the blanks at the front.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let without_return = |line| trim_start(<[u8]>::strip_suffix(line, b"\r").unwrap_or(line));
    (1..).zip(text.split(|byte| *byte == b'\n').map(without_return))
}

/// The blob of the key that `text` begins with, of any type, and what follows it; the type named must be
/// the blob's.
pub(crate) fn split_key(text: &[u8]) -> Result<(Vec<u8>, &[u8]), KeyError> {
    let (named, rest) = split_word(text);
    let (base64, comment) = split_word(rest);
    if base64.is_empty() {
        return Err(KeyError::Malformed("a public key line has a type and a base64 blob"));
    }
    let base64 = std::str::from_utf8(base64).map_err(|_| KeyError::Malformed("bad base64"))?;
    let blob = decode_base64(base64)?;
    if Reader::new(&blob).string()? != named {
        return Err(KeyError::Malformed("the type named is not the key's"));
    }
    Ok((blob, comment))
}

/// The blob of the key that `text` begins with, as [`split_key`] reads it.
pub(crate) fn key_blob(text: &[u8]) -> Result<Vec<u8>, KeyError> {
    Ok(split_key(text)?.0)
}
