//! Reading: a cursor over one packet, and the `Decode` trait of everything that is read from it.

use std::fmt;

/// Why bytes could not be read as what they should have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// The packet ended inside a field.
    Truncated,
    /// Bytes were left over after the last field.
    Trailing,
    /// The packet carries another message number than expected.
    Number {
        /// The number that stood there.
        found: u32,
        /// The number that had to stand there.
        expected: u32,
    },
    /// A multiple-precision integer is negative or not in its shortest form.
    Mpint,
    /// A name list holds something that is no name, or is larger than names ever are.
    NameList,
    /// A value that the field cannot have.
    Value,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("ends inside a field"),
            Self::Trailing => f.write_str("has bytes after its last field"),
            Self::Number { found, expected } => {
                write!(f, "has number {found} where {expected} was expected")
            }
            Self::Mpint => f.write_str("holds a badly encoded integer"),
            Self::NameList => f.write_str("holds a bad list of names"),
            Self::Value => f.write_str("holds a value that its field cannot have"),
        }
    }
}

impl std::error::Error for Malformed {}

/// A type that is read from the front of a packet.
pub(crate) trait Decode<'a>: Sized {
    /// Takes the value's bytes from `reader`.
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed>;
}

/// A cursor over bytes that came from a peer or a file.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// Decodes the next value.
    pub(crate) fn get<T: Decode<'a>>(&mut self) -> Result<T, Malformed> {
        T::decode(self)
    }

    /// Takes exactly `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.left.split_at_checked(count).ok_or(Malformed::Truncated)?;
        self.left = tail;
        Ok(head)
    }

    /// Takes exactly `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.left.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.left = tail;
        Ok(*head)
    }

    /// Takes an SSH string: a length and that many bytes.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.get::<u32>()?;
        self.take(usize::try_from(length).map_err(|_| Malformed::Truncated)?)
    }

    /// Takes everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.left)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Ends the reading; bytes left over are an error.
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.left.is_empty() { Ok(()) } else { Err(Malformed::Trailing) }
    }
}

impl<'a> Decode<'a> for u8 {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.array::<1>().map(|[byte]| byte)
    }
}

/// RFC 4251 §5: zero is false, everything else is true.
impl<'a> Decode<'a> for bool {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.get::<u8>().map(|byte| byte != 0)
    }
}

impl<'a> Decode<'a> for u32 {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.array().map(Self::from_be_bytes)
    }
}

impl<'a> Decode<'a> for u64 {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.array().map(Self::from_be_bytes)
    }
}

/// An SSH string.
impl<'a> Decode<'a> for &'a [u8] {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.string()
    }
}

/// Raw bytes of a fixed length, without a length field.
impl<'a, const N: usize> Decode<'a> for [u8; N] {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.array()
    }
}
