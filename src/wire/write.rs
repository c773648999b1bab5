//! Writing: the `Encode` trait of everything that goes into a packet.

use super::types::Mpint;

/// A type that is appended to a packet.
pub(crate) trait Encode {
    /// Appends the value's bytes to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// The value's bytes in a vector of their own.
    fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// Appending field by field, for blobs that are no message (keys, signed data).
pub(crate) trait Writer {
    /// Appends one value and returns the buffer, for chaining.
    fn put<T: Encode + ?Sized>(&mut self, value: &T) -> &mut Self;
    /// Appends `bytes` without a length.
    fn put_raw(&mut self, bytes: &[u8]) -> &mut Self;
}

impl Writer for Vec<u8> {
    fn put<T: Encode + ?Sized>(&mut self, value: &T) -> &mut Self {
        value.encode(self);
        self
    }

    fn put_raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.extend_from_slice(bytes);
        self
    }
}

/// The SSH string that holds `bytes`.
pub(crate) fn string_of(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().saturating_add(4));
    bytes.encode(&mut out);
    out
}

/// Appends an unsigned big-endian number (leading zeros allowed) as mpint, RFC 4251 §5.
pub(crate) fn put_mpint(out: &mut Vec<u8>, unsigned: &[u8]) {
    Mpint::from_unsigned(unsigned).encode(out);
}

impl Encode for u8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
}

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Encode for u32 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl Encode for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

/// An SSH string. Strings of 4 GiB and more cannot be expressed; their length saturates, which no
/// packet limit lets through.
impl Encode for [u8] {
    fn encode(&self, out: &mut Vec<u8>) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).encode(out);
        out.extend_from_slice(self);
    }
}

impl Encode for &[u8] {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

impl Encode for str {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_bytes().encode(out);
    }
}

/// Raw bytes of a fixed length, without a length field.
impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }
}
