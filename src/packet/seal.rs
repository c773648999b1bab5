//! The sending side: payloads become packets, in place at the end of a send buffer.

use super::compress::Deflater;
use super::suite::{CompressionKind, Keyed, SealKeys};
use super::{PacketError, Usage};
use crate::crypto::rand;

/// Random padding is drawn from the generator in pieces of this size.
const POOL: usize = 1024;
/// RFC 4253 §6: at least 4 bytes of padding.
const MIN_PADDING: usize = 4;

/// One direction's sending state.
#[derive(Debug)]
pub(crate) struct Sealer {
    keyed: Keyed,
    block: usize,
    sequence: u32,
    usage: Usage,
    compression: CompressionKind,
    delayed_now: bool,
    deflater: Option<Deflater>,
    padding: PaddingPool,
}

impl Sealer {
    /// Before the first key exchange.
    pub(crate) fn plain() -> Self {
        Self {
            keyed: Keyed::Plain,
            block: 8,
            sequence: 0,
            usage: Usage::default(),
            compression: CompressionKind::Never,
            delayed_now: false,
            deflater: None,
            padding: PaddingPool { bytes: [0; POOL], used: POOL },
        }
    }

    /// Appends one packet to `out`; its payload is the parts one after the other.
    pub(crate) fn seal(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), PacketError> {
        if self.usage.packets > u64::from(u32::MAX) {
            return Err(PacketError::SequenceExhausted);
        }
        let start = out.len();
        match &mut self.deflater {
            Some(deflater) => {
                deflater.deflate(parts)?;
                frame(&self.keyed, self.block, &mut self.padding, &[&deflater.out], out)?;
            }
            None => frame(&self.keyed, self.block, &mut self.padding, parts, out)?,
        }
        self.encrypt(start, out)?;
        self.usage.count(out.len().saturating_sub(start));
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }

    /// Encrypts the framed packet at the end of `out` and appends its tag.
    fn encrypt(&mut self, start: usize, out: &mut Vec<u8>) -> Result<(), PacketError> {
        let packet = out.get_mut(start..).unwrap_or_default();
        match &mut self.keyed {
            Keyed::Plain => {}
            Keyed::Gcm(gcm) => {
                let (length, body) = packet.split_at_mut_checked(4).ok_or(PacketError::BadLength)?;
                let tag = gcm.seal(length, body)?;
                out.extend_from_slice(&tag);
            }
            Keyed::ChaChaPoly(chacha) => {
                let length = packet.first_chunk_mut::<4>().ok_or(PacketError::BadLength)?;
                *length = chacha.apply_length(self.sequence, *length)?;
                let tag = chacha.seal(self.sequence, packet)?;
                out.extend_from_slice(&tag);
            }
            Keyed::Ctr { cipher, mac, etm: true, .. } => {
                cipher.apply(packet.get_mut(4..).unwrap_or_default())?;
                let tag = mac.tag(&[&self.sequence.to_be_bytes(), packet]);
                out.extend_from_slice(tag.bytes());
            }
            Keyed::Ctr { cipher, mac, etm: false, .. } => {
                let tag = mac.tag(&[&self.sequence.to_be_bytes(), packet]);
                cipher.apply(packet)?;
                out.extend_from_slice(tag.bytes());
            }
        }
        Ok(())
    }

    /// At NEWKEYS: later packets use `keys`.
    pub(crate) fn replace(&mut self, keys: SealKeys, reset_sequence: bool) {
        self.deflater = keys.compression.deflater(self.delayed_now);
        self.keyed = keys.keyed;
        self.block = keys.block;
        self.compression = keys.compression;
        self.usage = Usage::default();
        if reset_sequence {
            self.sequence = 0;
        }
    }

    /// At USERAUTH_SUCCESS: `zlib@openssh.com` starts.
    pub(crate) fn start_delayed_compression(&mut self) {
        self.delayed_now = true;
        if self.compression == CompressionKind::Delayed && self.deflater.is_none() {
            self.deflater = self.compression.deflater(true);
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// Whether these keys were used as much as is safe.
    pub(crate) fn rekey_due(&self) -> bool {
        !matches!(self.keyed, Keyed::Plain) && self.usage.due(self.block)
    }

    #[cfg(test)]
    pub(super) fn set_usage(&mut self, sequence: u32, packets: u64) {
        self.sequence = sequence;
        self.usage.packets = packets;
    }
}

/// Appends length, padding length, payload and padding.
fn frame(
    keyed: &Keyed,
    block: usize,
    pool: &mut PaddingPool,
    parts: &[&[u8]],
    out: &mut Vec<u8>,
) -> Result<(), PacketError> {
    let payload: usize = parts.iter().map(|part| part.len()).sum();
    let counted = if keyed.length_apart() { 1 } else { 5 };
    let over = payload.saturating_add(counted) % block.max(1);
    let mut padding = block.saturating_sub(over);
    if padding < MIN_PADDING {
        padding = padding.saturating_add(block);
    }
    let length = payload.saturating_add(padding).saturating_add(1);
    let length_field = u32::try_from(length).map_err(|_| PacketError::BadLength)?;
    out.reserve(length.saturating_add(4).saturating_add(keyed.tag()));
    out.extend_from_slice(&length_field.to_be_bytes());
    out.push(u8::try_from(padding).map_err(|_| PacketError::BadPadding)?);
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(pool.take(padding)?);
    Ok(())
}

/// Random bytes in stock.
struct PaddingPool {
    bytes: [u8; POOL],
    used: usize,
}

impl std::fmt::Debug for PaddingPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PaddingPool")
    }
}

impl PaddingPool {
    fn take(&mut self, count: usize) -> Result<&[u8], PacketError> {
        if self.used.saturating_add(count) > POOL {
            rand::fill(&mut self.bytes)?;
            self.used = 0;
        }
        let start = self.used;
        self.used = self.used.saturating_add(count);
        self.bytes.get(start..self.used).ok_or(PacketError::BadPadding)
    }
}
