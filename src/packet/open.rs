//! The receiving side: packets become payloads, in place in the receive buffer.

use std::ops::Range;

use super::compress::Inflater;
use super::suite::{CompressionKind, Keyed, OpenKeys};
use super::{MAX_PACKET, PacketError, Usage};
use crate::crypto::secret::constant_time_eq;

/// What a look at the receive buffer gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The buffer must hold so many bytes before another look makes sense.
    NeedMore(usize),
    /// A packet: see [`Opener::payload`] for its payload.
    Packet { payload: Range<usize>, consumed: usize, sequence: u32 },
}

/// One direction's receiving state.
#[derive(Debug)]
pub(crate) struct Opener {
    keyed: Keyed,
    block: usize,
    sequence: u32,
    usage: Usage,
    compression: CompressionKind,
    delayed_now: bool,
    inflater: Option<Inflater>,
    /// The length of the packet at the front, once it was read. The first block of a CTR packet is
    /// then decrypted already.
    length: Option<usize>,
}

impl Opener {
    /// Before the first key exchange.
    pub(crate) fn plain() -> Self {
        Self {
            keyed: Keyed::Plain,
            block: 8,
            sequence: 0,
            usage: Usage::default(),
            compression: CompressionKind::Never,
            delayed_now: false,
            inflater: None,
            length: None,
        }
    }

    /// Looks at `buf`, which starts where a packet starts; decrypts in place what is whole.
    pub(crate) fn open(&mut self, buf: &mut [u8]) -> Result<Opened, PacketError> {
        let length = match self.length {
            Some(length) => length,
            None => {
                let needed = self.first_bytes();
                if buf.len() < needed {
                    return Ok(Opened::NeedMore(needed));
                }
                let length = self.read_length(buf)?;
                self.length = Some(length);
                length
            }
        };
        let end = length.saturating_add(4);
        let total = end.saturating_add(self.keyed.tag());
        if buf.len() < total {
            return Ok(Opened::NeedMore(total));
        }
        if self.usage.packets > u64::from(u32::MAX) {
            return Err(PacketError::SequenceExhausted);
        }
        let packet = buf.get_mut(..total).ok_or(PacketError::BadLength)?;
        self.decrypt(packet, end)?;
        let payload = payload_range(packet, end)?;
        if let Some(inflater) = &mut self.inflater {
            inflater.inflate(packet.get(payload.clone()).unwrap_or_default())?;
        }
        self.length = None;
        self.usage.count(total);
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(Opened::Packet { payload, consumed: total, sequence })
    }

    /// How many bytes are needed to know the packet's length.
    fn first_bytes(&self) -> usize {
        match &self.keyed {
            Keyed::Ctr { etm: false, .. } => self.block,
            _ => 4,
        }
    }

    fn read_length(&mut self, buf: &mut [u8]) -> Result<usize, PacketError> {
        let apart = self.keyed.length_apart();
        let field = match &mut self.keyed {
            Keyed::Ctr { cipher, etm: false, .. } => {
                cipher.apply(buf.get_mut(..self.block).unwrap_or_default())?;
                buf.first_chunk::<4>().copied()
            }
            Keyed::ChaChaPoly(chacha) => match buf.first_chunk::<4>() {
                Some(field) => Some(chacha.apply_length(self.sequence, *field)?),
                None => None,
            },
            _ => buf.first_chunk::<4>().copied(),
        };
        let length = field.map(u32::from_be_bytes).ok_or(PacketError::BadLength)?;
        let length = usize::try_from(length).map_err(|_| PacketError::BadLength)?;
        // A packet holds a padding length, a message number and 4 bytes of padding at least, in whole
        // blocks.
        let blocks = if apart { length } else { length.saturating_add(4) };
        if length > MAX_PACKET || length < 6 || blocks % self.block.max(1) != 0 {
            let plain = matches!(self.keyed, Keyed::Plain);
            return Err(if plain { PacketError::BadLength } else { PacketError::BadMac });
        }
        Ok(length)
    }

    /// Checks and decrypts a whole packet; `end` is where its tag starts.
    fn decrypt(&mut self, packet: &mut [u8], end: usize) -> Result<(), PacketError> {
        let sequence = self.sequence;
        let (body, tag) = packet.split_at_mut_checked(end).ok_or(PacketError::BadLength)?;
        let good = match &mut self.keyed {
            Keyed::Plain => true,
            Keyed::Gcm(gcm) => {
                let (length, data) = body.split_at_mut_checked(4).ok_or(PacketError::BadLength)?;
                gcm.open(length, data, tag)?
            }
            Keyed::ChaChaPoly(chacha) => chacha.open(sequence, body, tag)?,
            Keyed::Ctr { cipher, mac, etm: true, .. } => {
                let good = constant_time_eq(mac.tag(&[&sequence.to_be_bytes(), body]).bytes(), tag);
                if good {
                    cipher.apply(body.get_mut(4..).unwrap_or_default())?;
                }
                good
            }
            Keyed::Ctr { cipher, mac, etm: false, .. } => {
                cipher.apply(body.get_mut(self.block..).unwrap_or_default())?;
                constant_time_eq(mac.tag(&[&sequence.to_be_bytes(), body]).bytes(), tag)
            }
        };
        if good { Ok(()) } else { Err(PacketError::BadMac) }
    }

    /// The payload of the packet that was just opened: in `buf`, or inflated.
    pub(crate) fn payload<'a>(&'a self, buf: &'a [u8], opened: &Range<usize>) -> &'a [u8] {
        match &self.inflater {
            Some(inflater) => &inflater.out,
            None => buf.get(opened.clone()).unwrap_or_default(),
        }
    }

    /// At NEWKEYS: later packets use `keys`.
    pub(crate) fn replace(&mut self, keys: OpenKeys, reset_sequence: bool) {
        self.inflater = keys.compression.inflater(self.delayed_now);
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
        if self.compression == CompressionKind::Delayed && self.inflater.is_none() {
            self.inflater = self.compression.inflater(true);
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// Whether these keys were used as much as is safe.
    pub(crate) fn rekey_due(&self) -> bool {
        !matches!(self.keyed, Keyed::Plain) && self.usage.due(self.block)
    }
}

/// Where the payload lies between padding length and padding.
fn payload_range(packet: &[u8], end: usize) -> Result<Range<usize>, PacketError> {
    let padding = packet.get(4).copied().map(usize::from).ok_or(PacketError::BadPadding)?;
    let payload_end = end.checked_sub(padding).ok_or(PacketError::BadPadding)?;
    // A payload has a message number at least.
    if padding < 4 || payload_end < 6 { Err(PacketError::BadPadding) } else { Ok(5..payload_end) }
}
