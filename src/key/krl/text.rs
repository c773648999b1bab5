//! Lists of revoked keys as text: one public key on each line, and the specification that
//! `ssh-keygen -k` reads (ssh-keygen(1), "KEY REVOCATION LISTS").

use base64ct::{Base64Unpadded, Encoding};

use super::read::is_sound;
use super::{IssuedBy, RevokedKeys, RevokedKeysError, c_text, hash};
use crate::crypto::hash::HashAlg;
use crate::key::line::{is_blank, key_blob, lines, trim_start};
use crate::key::{Certificate, KeyError, PublicKey, is_certificate};

type Result<T> = std::result::Result<T, RevokedKeysError>;

/// Reads the plain form.
pub(super) fn plain(text: &[u8]) -> Result<RevokedKeys> {
    let mut list = RevokedKeys::new();
    for (number, line) in lines(text) {
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let key = key(line).map_err(|error| at(number, &error))?;
        list.keys.insert(key);
    }
    Ok(list)
}

fn at(number: usize, error: &RevokedKeysError) -> RevokedKeysError {
    let reason = match error {
        RevokedKeysError::Malformed(what) => (*what).to_owned(),
        error => error.to_string(),
    };
    RevokedKeysError::Line { number, reason }
}

/// The blob of the key that a line holds, or of the one inside its certificate.
fn key(line: &[u8]) -> Result<Vec<u8>> {
    let blob = blob(line)?;
    let key = certificate(&blob)?.map_or(blob, |certificate| certificate.key().blob().to_vec());
    is_sound(&key)?;
    Ok(key)
}

/// What certifies the key of a blob, if it is one of a certificate.
fn certificate(blob: &[u8]) -> Result<Option<Certificate>> {
    if !is_certificate(blob) {
        return Ok(None);
    }
    match PublicKey::from_blob(blob) {
        Ok(key) => Ok(key.certificate().cloned()),
        Err(KeyError::Malformed(what)) => Err(RevokedKeysError::Malformed(what)),
        Err(error) => Err(RevokedKeysError::Unsupported(error.to_string())),
    }
}

/// The blob that a line holds, of a key or a certificate.
fn blob(line: &[u8]) -> Result<Vec<u8>> {
    key_blob(line).map_err(|error| match error {
        KeyError::Malformed(what) => RevokedKeysError::Malformed(what),
        error => RevokedKeysError::Unsupported(error.to_string()),
    })
}

/// Reads `SHA256:` and base64, padded or not.
pub(super) fn fingerprint(text: &str) -> Result<[u8; 32]> {
    let base64 = text.strip_prefix("SHA256:").map(|base64| base64.trim_end_matches('='));
    let bytes = base64.and_then(|base64| Base64Unpadded::decode_vec(base64).ok());
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(RevokedKeysError::Unfit("not a fingerprint of the form SHA256:base64"))
}

/// What a line of a specification can begin with, and what it then revokes.
const DIRECTIVES: &[(&str, Directive)] = &[
    ("serial:", serial),
    ("id:", key_id),
    ("hash:", |list, value, _| {
        let value = std::str::from_utf8(value).unwrap_or_default();
        list.sha256.insert(fingerprint(value)?);
        Ok(())
    }),
    ("key:", |list, value, _| {
        list.keys.insert(key(value)?);
        Ok(())
    }),
    ("sha1:", |list, value, _| {
        list.sha1.insert(hash(HashAlg::Sha1, &key(value)?)?);
        Ok(())
    }),
    ("sha256:", |list, value, _| {
        list.sha256.insert(hash(HashAlg::Sha256, &key(value)?)?);
        Ok(())
    }),
];

type Directive = fn(&mut RevokedKeys, &[u8], Option<IssuedBy<'_>>) -> Result<()>;

/// Revokes what each line says.
pub(super) fn specification(
    list: &mut RevokedKeys,
    text: &[u8],
    issued_by: Option<IssuedBy<'_>>,
) -> Result<()> {
    for (number, line) in lines(text) {
        // A comment may begin anywhere.
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let line = trim_end(line);
        if line.is_empty() {
            continue;
        }
        let found = DIRECTIVES.iter().find_map(|(word, directive)| {
            let (start, value) = line.split_at_checked(word.len())?;
            start.eq_ignore_ascii_case(word.as_bytes()).then_some((directive, trim_start(value)))
        });
        match found {
            Some((directive, value)) => directive(list, value, issued_by),
            None => key_or_certificate(list, line),
        }
        .map_err(|error| at(number, &error))?;
    }
    Ok(())
}

fn trim_end(text: &[u8]) -> &[u8] {
    let blanks = text.iter().rev().take_while(|byte| is_blank(**byte)).count();
    text.get(..text.len().saturating_sub(blanks)).unwrap_or_default()
}

fn serial(list: &mut RevokedKeys, value: &[u8], issued_by: Option<IssuedBy<'_>>) -> Result<()> {
    let issued_by = issued_by.ok_or(RevokedKeysError::Unfit("a serial needs the CA that it belongs to"))?;
    let text = std::str::from_utf8(value).unwrap_or_default();
    let bad = RevokedKeysError::Unfit("not a serial number or a range of them");
    let range = match text.split_once('-') {
        None => number(text).map(|serial| serial..=serial),
        Some((first, last)) => number(first)
            .zip(number(last.trim_start_matches([' ', '\t'])))
            .filter(|(first, last)| first < last)
            .map(|(first, last)| first..=last),
    };
    list.revoke_serials(issued_by, range.ok_or(bad)?).map(|_| ())
}

/// A number as C writes it: decimal, hexadecimal after `0x`, octal after `0`.
fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (text.get(2..)?, 16),
        [b'0', _, ..] => (text.get(1..)?, 8),
        _ => (text, 10),
    };
    // A sign is taken by the standard library, and is none of a serial.
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok() }
}

fn key_id(list: &mut RevokedKeys, value: &[u8], issued_by: Option<IssuedBy<'_>>) -> Result<()> {
    let issued_by = issued_by.ok_or(RevokedKeysError::Unfit("a key id needs the CA that it belongs to"))?;
    list.revoke_key_id(issued_by, value).map(|_| ())
}

/// A plain key is revoked as it is; a certificate by its serial or, without one, by its key id.
fn key_or_certificate(list: &mut RevokedKeys, line: &[u8]) -> Result<()> {
    let Some(certificate) = certificate(&blob(line)?)? else {
        list.keys.insert(key(line)?);
        return Ok(());
    };
    let of_one = list.of_authority(certificate.authority().blob().to_vec());
    match certificate.serial() {
        0 => {
            let zero = RevokedKeysError::Malformed("a key id with a zero byte");
            of_one.key_ids.insert(c_text(certificate.key_id_bytes()).ok_or(zero)?.to_vec());
        }
        serial => of_one.serials.insert(serial, serial),
    }
    Ok(())
}
