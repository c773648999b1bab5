//! Sealing: payloads into packets on the wire, RFC 4253 §6. Owned by the thread that writes.

use std::fmt;

use crate::crypto::{CryptoError, rand};

use super::compress::{CompressionSpec, Compressor};
use super::count::Usage;
use super::half::Half;
use super::own::MAX_BLOCK;
use super::protect::MAX_TAG;
use super::suite::Keys;
use super::{CONNECTION, LENGTH_FIELD, MAX_PACKET, MIN_PADDING, PacketError};

/// Length field and padding length.
const HEADER: usize = LENGTH_FIELD + 1;

/// The most padding that is ever added: blocks have at most 64 bytes, and fewer than four are not enough.
const MAX_PADDING: usize = MAX_BLOCK + MIN_PADDING;

/// Keys for [`Sealer::replace`].
pub(crate) struct SealKeys(pub(super) Keys);

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKeys({})", self.0.suite.cipher.name)
    }
}

/// The sending half of a connection's packets.
pub(crate) struct Sealer {
    half: Half<Compressor>,
    padding: PaddingPool,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer(next packet {})", self.half.counter.sequence())
    }
}

impl Sealer {
    /// The sealer of a new connection: no encryption, packets counted from 0.
    pub(crate) fn plain() -> Self {
        Self { half: Half::plain(CompressionSpec::compressor), padding: PaddingPool::new() }
    }

    /// The sealer of a connection that another program made and holds: OpenSSH's PROTOCOL.mux §9. What is
    /// no message of the connection layer is left out: it would reach the server as the other's own.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only UNIX sockets have masters"))]
    pub(crate) fn shared() -> Self {
        Self { half: Half::shared(CompressionSpec::compressor), padding: PaddingPool::new() }
    }

    /// Appends one packet to `out`; its payload is the concatenation of `parts`. On an error `out` is as before
    /// and the connection at its end: the cipher and the compression may have gone on.
    pub(crate) fn seal(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), PacketError> {
        let start = out.len();
        let sealed = self.append(parts, out, start);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    fn append(&mut self, parts: &[&[u8]], out: &mut Vec<u8>, start: usize) -> Result<(), PacketError> {
        let number = parts.iter().find_map(|part| part.first());
        if self.half.protection.is_shared() && !number.is_some_and(|number| CONNECTION.contains(number)) {
            return Ok(());
        }
        let sequence = self.half.counter.current()?;
        let payload: usize = parts.iter().fold(0, |sum, part| part.len().saturating_add(sum));
        check_length(payload)?;
        out.reserve(payload.saturating_add(HEADER + MAX_PADDING + MAX_TAG));
        out.extend_from_slice(&[0; HEADER]);
        match &mut self.half.compressor {
            Some(deflater) => deflater.deflate(parts, out)?,
            None => parts.iter().for_each(|part| out.extend_from_slice(part)),
        }
        self.frame(out, start)?;
        self.half.protection.seal(sequence, out, start)?;
        self.half.counter.advance(out.len().saturating_sub(start));
        Ok(())
    }

    /// Appends the padding and fills in the header.
    fn frame(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), PacketError> {
        let unpadded = out.len().saturating_sub(start).saturating_sub(LENGTH_FIELD);
        let padding = self.padding_of(unpadded);
        let length = check_length(unpadded.saturating_add(padding))?;
        out.extend_from_slice(self.padding.take(padding)?);
        let header = out.get_mut(start..).and_then(|packet| packet.first_chunk_mut::<HEADER>());
        if let (Some(header), Ok(padding)) = (header, u8::try_from(padding)) {
            let [a, b, c, d] = length.to_be_bytes();
            *header = [a, b, c, d, padding];
        }
        Ok(())
    }

    fn padding_of(&self, unpadded: usize) -> usize {
        if self.half.protection.is_shared() {
            return 0;
        }
        let over = unpadded.saturating_add(self.half.aligned()).checked_rem(self.half.block).unwrap_or(0);
        let padding = self.half.block.saturating_sub(over);
        if padding < MIN_PADDING { padding.saturating_add(self.half.block) } else { padding }
    }

    /// Switches to new keys, after NEWKEYS was sealed with the old ones.
    pub(crate) fn replace(&mut self, keys: SealKeys, reset_sequence: bool) {
        self.half.replace(keys.0, reset_sequence);
    }

    /// USERAUTH_SUCCESS was sent or received: `zlib@openssh.com` starts, now or with later keys.
    pub(crate) fn start_delayed_compression(&mut self) {
        self.half.start_delayed_compression();
    }

    /// What passed since the last [`replace`](Self::replace).
    pub(crate) fn usage(&self) -> Usage {
        self.half.usage()
    }

    /// Whether the keys have done what they may: blocks of the cipher, or 2^31 packets.
    pub(crate) fn rekey_due(&self) -> bool {
        self.half.rekey_due()
    }

    /// The number of the next packet.
    #[cfg(test)]
    pub(crate) fn next_sequence(&self) -> u32 {
        self.half.counter.sequence()
    }

    #[cfg(test)]
    pub(super) fn set_count(&mut self, sequence: u32, packets: u64) {
        self.half.counter.set(sequence, packets);
    }
}

/// `length` as it goes into the length field.
fn check_length(length: usize) -> Result<u32, PacketError> {
    let field = u32::try_from(length).unwrap_or(u32::MAX);
    if length > MAX_PACKET { Err(PacketError::TooLong { length: field }) } else { Ok(field) }
}

/// Random bytes for padding, fetched many at a time: a call to the generator costs more than sealing a short
/// packet.
struct PaddingPool {
    bytes: [u8; Self::SIZE],
    used: usize,
}

impl PaddingPool {
    /// Padding of about a hundred packets.
    const SIZE: usize = 1024;

    fn new() -> Self {
        Self { bytes: [0; Self::SIZE], used: Self::SIZE }
    }

    /// `length` bytes, at most [`MAX_PADDING`], that were not given before.
    fn take(&mut self, length: usize) -> Result<&[u8], CryptoError> {
        let mut end = self.used.saturating_add(length);
        if end > Self::SIZE {
            rand::fill(&mut self.bytes)?;
            self.used = 0;
            end = length;
        }
        let padding = self.bytes.get(self.used..end).unwrap_or_default();
        self.used = end;
        Ok(padding)
    }
}
