//! The data types of RFC 4251 §5 that need more than a length: integers, lists of names, and
//! wrappers that say how a field is shown.

use std::fmt;

use super::read::{Decode, Malformed, Reader};
use super::write::Encode;

/// The largest name list that is read, in bytes; OpenSSH's longest proposal has under 1 KiB.
pub(crate) const NAME_LIST_BYTES: usize = 16 * 1024;
/// The largest number of names in a list.
pub(crate) const NAME_LIST_NAMES: usize = 1024;
/// RFC 4251 §6: names are at most 64 characters long.
pub(crate) const NAME_BYTES: usize = 64;

/// A non-negative multiple-precision integer: its magnitude, big-endian, without leading zeros.
/// Negative ones exist in the RFC and are used nowhere in SSH, so they are refused.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mpint<'a>(&'a [u8]);

impl<'a> Mpint<'a> {
    /// From an unsigned big-endian number; leading zeros are dropped.
    pub(crate) fn from_unsigned(bytes: &'a [u8]) -> Self {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Self(bytes.get(zeros..).unwrap_or_default())
    }

    /// The magnitude, big-endian, without leading zeros; empty for zero.
    pub(crate) fn magnitude(self) -> &'a [u8] {
        self.0
    }

    /// The number of significant bits.
    pub(crate) fn bits(self) -> usize {
        let top = self.0.first().map_or(0, |byte| 8_usize.saturating_sub(byte.leading_zeros() as usize));
        self.0.len().saturating_sub(1).saturating_mul(8).saturating_add(top)
    }
}

impl fmt::Debug for Mpint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mpint({} bits)", self.bits())
    }
}

impl<'a> Decode<'a> for Mpint<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        match reader.string()? {
            [] => Ok(Self(&[])),
            [first, ..] if *first >= 0x80 => Err(Malformed::Mpint),
            [0] => Err(Malformed::Mpint),
            [0, second, ..] if *second < 0x80 => Err(Malformed::Mpint),
            [0, magnitude @ ..] => Ok(Self(magnitude)),
            magnitude => Ok(Self(magnitude)),
        }
    }
}

impl Encode for Mpint<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        let sign = usize::from(self.0.first().is_some_and(|byte| *byte >= 0x80));
        u32::try_from(self.0.len().saturating_add(sign)).unwrap_or(u32::MAX).encode(out);
        if sign == 1 {
            out.push(0);
        }
        out.extend_from_slice(self.0);
    }
}

/// A comma-separated list of names, checked when it was decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameList<'a>(&'a str);

impl<'a> NameList<'a> {
    /// A list that is already joined with commas.
    pub(crate) fn from_joined(joined: &'a str) -> Self {
        Self(joined)
    }

    /// The names, in the order of preference.
    pub(crate) fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.split(',').filter(|name| !name.is_empty())
    }

    /// Whether `name` stands in the list.
    pub(crate) fn contains(self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

/// RFC 4251 §6: names of one's own are `name@domain`, of up to 64 printable characters without commas. Those that
/// lists of algorithms understand differently, `+name` and the like, are none here.
pub(crate) fn is_own_name(name: &str) -> bool {
    let printable = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
    let own = name.split_once('@').is_some_and(|(name, domain)| {
        !name.is_empty() && !name.starts_with(['+', '-', '^']) && !domain.is_empty() && !domain.contains('@')
    });
    printable && own && name.len() <= 64
}

impl fmt::Debug for NameList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// RFC 4251 §5: printable US-ASCII names of 1 to 64 characters with commas between them. Empty
/// names (`a,,b`) are let through and skipped, as OpenSSH does.
impl<'a> Decode<'a> for NameList<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let bytes = reader.string()?;
        if bytes.len() > NAME_LIST_BYTES || !bytes.iter().all(u8::is_ascii_graphic) {
            return Err(Malformed::NameList);
        }
        let joined = std::str::from_utf8(bytes).map_err(|_| Malformed::NameList)?;
        let mut count = 0_usize;
        for name in joined.split(',') {
            count = count.saturating_add(1);
            if name.len() > NAME_BYTES || count > NAME_LIST_NAMES {
                return Err(Malformed::NameList);
            }
        }
        Ok(Self(joined))
    }
}

impl Encode for NameList<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

/// All bytes up to the end of the packet: the part of a message that another table decodes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rest<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Rest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rest({} bytes)", self.0.len())
    }
}

impl<'a> Decode<'a> for Rest<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self(reader.rest()))
    }
}

impl Encode for Rest<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}

/// A string that is a secret: never shown.
#[derive(Clone, Copy)]
pub(crate) struct Hidden<'a>(pub(crate) &'a [u8]);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'a> Decode<'a> for Hidden<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.string().map(Self)
    }
}

impl Encode for Hidden<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

/// Text from a peer, shown so that it can do no harm to a terminal or a log: control characters
/// and invalid UTF-8 escaped, cut after 256 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Escaped<'a>(pub(crate) &'a [u8]);

/// How much of a peer's text is shown, in bytes; enough for any honest message.
const SHOWN_BYTES: usize = 256;

impl<'a> Decode<'a> for Escaped<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.string().map(Self)
    }
}

impl Encode for Escaped<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..SHOWN_BYTES).unwrap_or(self.0);
        for chunk in shown.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control()
                    || matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    fmt::Write::write_char(f, character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        if shown.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

impl fmt::Debug for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
