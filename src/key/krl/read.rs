//! The binary form, read: OpenSSH's PROTOCOL.krl.
//!
//! Nothing is skipped that could revoke something: what is not understood refuses the list.

use super::{Certificates, RevokedKeys, RevokedKeysError, c_text};
use crate::key::{KeyError, PublicKey, is_certificate};
use crate::wire::{Escaped, Reader};

/// What a list begins with.
pub(super) const MAGIC: &[u8; 8] = b"SSHKRL\n\0";
/// The only version of the format.
pub(super) const FORMAT: u32 = 1;

pub(super) const CERTIFICATES: u8 = 1;
pub(super) const EXPLICIT_KEY: u8 = 2;
pub(super) const FINGERPRINT_SHA1: u8 = 3;
pub(super) const SIGNATURE: u8 = 4;
pub(super) const FINGERPRINT_SHA256: u8 = 5;
pub(super) const EXTENSION: u8 = 255;

pub(super) const SERIAL_LIST: u8 = 0x20;
pub(super) const SERIAL_RANGE: u8 = 0x21;
pub(super) const SERIAL_BITMAP: u8 = 0x22;
pub(super) const KEY_ID: u8 = 0x23;
pub(super) const CERTIFICATE_EXTENSION: u8 = 0x39;

/// The largest bitmap that is read, in bytes: that of OpenSSH's bitmap.c. (ssh-keygen writes them
/// larger than it reads them, which is up to 2 KiB.)
pub(super) const BITMAP_BYTES: usize = (1 << 24) / 8;

type Result<T> = std::result::Result<T, RevokedKeysError>;

/// Reads a list with at most `runs` runs of serials.
pub(super) fn list(bytes: &[u8], runs: usize) -> Result<RevokedKeys> {
    let mut reader = Reader::new(bytes);
    let mut list = RevokedKeys::new();
    if reader.array()? != *MAGIC {
        return Err(RevokedKeysError::Malformed("it does not begin as one"));
    }
    let format = reader.get::<u32>()?;
    if format != FORMAT {
        return Err(RevokedKeysError::Unsupported(format!("format version {format}")));
    }
    (list.version, list.generated) = (reader.get()?, reader.get()?);
    reader.get::<u64>()?; // flags: none is defined
    reader.string()?; // reserved
    list.comment = c_text(reader.string()?).ok_or(ZERO)?.to_vec();
    let mut runs = Budget { left: runs, limit: runs };
    let mut signed = false;
    while !reader.is_empty() {
        let (kind, body) = (reader.get::<u8>()?, Reader::new(reader.string()?));
        if signed && kind != SIGNATURE {
            return Err(RevokedKeysError::Malformed("something follows its signature"));
        }
        match kind {
            CERTIFICATES => certificates(&mut list, body, &mut runs)?,
            EXPLICIT_KEY => each(body, |blob| {
                is_plain(blob)?;
                list.keys.insert(blob.to_vec());
                Ok(())
            })?,
            FINGERPRINT_SHA1 => each(body, |hash| {
                list.sha1.insert(hash.try_into().map_err(|_| HASH)?);
                Ok(())
            })?,
            FINGERPRINT_SHA256 => each(body, |hash| {
                list.sha256.insert(hash.try_into().map_err(|_| HASH)?);
                Ok(())
            })?,
            // Two strings, of which the first is the key's blob.
            SIGNATURE => {
                reader.string()?;
                signed = true;
            }
            EXTENSION => extension(body)?,
            other => return Err(RevokedKeysError::Unsupported(format!("a section of type {other}"))),
        }
    }
    Ok(list)
}

const ZERO: RevokedKeysError = RevokedKeysError::Malformed("a text with a zero byte");
const HASH: RevokedKeysError = RevokedKeysError::Malformed("a hash of the wrong length");

/// Strings up to the end.
fn each<'a>(mut body: Reader<'a>, mut take: impl FnMut(&'a [u8]) -> Result<()>) -> Result<()> {
    while !body.is_empty() {
        take(body.string()?)?;
    }
    Ok(())
}

/// That a blob can be one of a key. That of a certificate would revoke nothing: it is compared with keys.
fn is_plain(blob: &[u8]) -> Result<()> {
    Reader::new(blob).string()?;
    if is_certificate(blob) {
        return Err(RevokedKeysError::Malformed("a certificate where a key has to be"));
    }
    Ok(())
}

/// That a key holds together. One of another type, or too weak, is taken from nobody; lists may name it.
pub(super) fn is_sound(blob: &[u8]) -> Result<()> {
    is_plain(blob)?;
    match PublicKey::from_blob(blob) {
        Err(KeyError::Malformed(what)) => Err(RevokedKeysError::Malformed(what)),
        _ => Ok(()),
    }
}

/// No extension is known: those that need not be understood are skipped.
fn extension(mut body: Reader<'_>) -> Result<()> {
    let (name, critical) = (body.string()?, body.get::<bool>()?);
    body.string()?;
    body.finish()?;
    if critical {
        return Err(RevokedKeysError::Unsupported(format!("the critical extension {}", Escaped(name))));
    }
    Ok(())
}

/// How many more runs of serials are taken.
struct Budget {
    left: usize,
    limit: usize,
}

impl Budget {
    /// Adds a run, counting what it adds to the number of runs.
    fn insert(&mut self, of_one: &mut Certificates, first: u64, last: u64) -> Result<()> {
        if first == 0 || first > last {
            return Err(RevokedKeysError::Malformed("a range of serials that cannot be"));
        }
        let before = of_one.serials.len();
        of_one.serials.insert(first, last);
        let left = self.left.saturating_add(before).checked_sub(of_one.serials.len());
        let limit = u64::try_from(self.limit).unwrap_or(u64::MAX);
        self.left = left.ok_or(RevokedKeysError::TooMuch { what: "ranges of serials", limit })?;
        Ok(())
    }
}

/// What is revoked of one CA.
fn certificates(list: &mut RevokedKeys, mut body: Reader<'_>, runs: &mut Budget) -> Result<()> {
    let authority = body.string()?;
    body.string()?; // reserved
    if !authority.is_empty() {
        is_sound(authority)?;
    }
    let of_one = list.of_authority(authority.to_vec());
    while !body.is_empty() {
        let (kind, mut body) = (body.get::<u8>()?, Reader::new(body.string()?));
        match kind {
            SERIAL_LIST => {
                while !body.is_empty() {
                    let serial = body.get()?;
                    runs.insert(of_one, serial, serial)?;
                }
            }
            SERIAL_RANGE => {
                let (first, last) = (body.get()?, body.get()?);
                body.finish()?;
                runs.insert(of_one, first, last)?;
            }
            SERIAL_BITMAP => {
                let (offset, bits) = (body.get()?, body.string()?);
                body.finish()?;
                bitmap(offset, bits, |first, last| runs.insert(of_one, first, last))?;
            }
            KEY_ID => each(body, |key_id| {
                of_one.key_ids.insert(c_text(key_id).ok_or(ZERO)?.to_vec());
                Ok(())
            })?,
            CERTIFICATE_EXTENSION => extension(body)?,
            other => {
                return Err(RevokedKeysError::Unsupported(format!("a certificate section of type {other}")));
            }
        }
    }
    Ok(())
}

/// The runs of a bitmap, which is a number: its lowest bit is the serial `offset`.
fn bitmap(offset: u64, bits: &[u8], mut take: impl FnMut(u64, u64) -> Result<()>) -> Result<()> {
    if bits.first().is_some_and(|byte| *byte >= 0x80) {
        return Err(RevokedKeysError::Malformed("a bitmap below zero"));
    }
    // One byte more for the zero before a highest bit.
    if bits.len() > BITMAP_BYTES.saturating_add(1) {
        let limit = u64::try_from(BITMAP_BYTES).unwrap_or(u64::MAX);
        return Err(RevokedKeysError::TooMuch { what: "bytes of a bitmap", limit });
    }
    let mut run: Option<(u64, u64)> = None;
    let places = (0_u64..).zip(bits.iter().rev().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1)));
    for (place, _) in places.filter(|(_, bit)| *bit == 1) {
        let wrapped = RevokedKeysError::Malformed("a bitmap beyond the last serial");
        let serial = offset.checked_add(place).ok_or(wrapped)?;
        run = match run {
            Some((first, last)) if last.checked_add(1) == Some(serial) => Some((first, serial)),
            Some((first, last)) => {
                take(first, last)?;
                Some((serial, serial))
            }
            None => Some((serial, serial)),
        };
    }
    run.map_or(Ok(()), |(first, last)| take(first, last))
}
