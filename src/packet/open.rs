//! Opening: bytes from the wire into payloads, RFC 4253 §6. Owned by the thread that reads.
//!
//! Nothing the peer says is acted on before it is checked: a length bounds what is waited for and allocates
//! nothing; the rest of a packet is looked at after its MAC.

use std::fmt;
use std::ops::Range;

use super::compress::{CompressionSpec, Decompressor};
use super::count::Usage;
use super::half::Half;
use super::protect::Protection;
use super::suite::Keys;
use super::{CONNECTION, LENGTH_FIELD, MAX_PACKET, MIN_PADDING, PacketError};

/// The shortest `packet_length`: padding length, one byte of message, padding.
const MIN_LENGTH: usize = 2 + MIN_PADDING;
/// The same without padding.
const MIN_SHARED: usize = 2;

/// Keys for [`Opener::replace`].
pub(crate) struct OpenKeys(pub(super) Keys);

impl fmt::Debug for OpenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenKeys({})", self.0.suite.cipher.name)
    }
}

/// What [`Opener::open`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The buffer must hold this many bytes in all before a further call makes sense.
    NeedMore(usize),
    /// A packet. Its payload is what [`Opener::payload`] says; the next begins at `consumed`.
    Packet { payload: Range<usize>, consumed: usize, sequence: u32 },
}

/// The receiving half of a connection's packets.
pub(crate) struct Opener {
    half: Half<Decompressor>,
    /// The length of the packet at hand, once known; the head of the packet is decrypted then.
    length: Option<usize>,
    /// The packet at hand is refused, but the peer must not see yet at which byte that was clear.
    refused: bool,
    /// Whether the last payload is the inflater's.
    inflated: bool,
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener(next packet {})", self.half.counter.sequence())
    }
}

impl Opener {
    /// The opener of a new connection: no encryption, packets counted from 0.
    pub(crate) fn plain() -> Self {
        Self::of(Half::plain(CompressionSpec::decompressor))
    }

    /// The opener of a connection that another program made and holds: OpenSSH's PROTOCOL.mux §9. What is no
    /// message of the connection layer is an error.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only UNIX sockets have masters"))]
    pub(crate) fn shared() -> Self {
        Self::of(Half::shared(CompressionSpec::decompressor))
    }

    fn of(half: Half<Decompressor>) -> Self {
        Self { half, length: None, refused: false, inflated: false }
    }

    /// Opens the packet that `buf` starts with, decrypting in place. After [`Opened::NeedMore`] the same bytes,
    /// as this call left them, must come again with more behind them. An error ends the connection.
    pub(crate) fn open(&mut self, buf: &mut [u8]) -> Result<Opened, PacketError> {
        if !self.refused {
            match self.open_packet(buf) {
                Err(PacketError::BadMac) if self.half.protection.betrays_length() => self.refused = true,
                result => return result,
            }
        }
        self.read_on(buf)
    }

    /// As OpenSSH does: whatever was wrong with a packet, the error comes after as many bytes as the longest
    /// packet has, and after a MAC over as many.
    fn read_on(&mut self, buf: &[u8]) -> Result<Opened, PacketError> {
        const LONGEST: usize = LENGTH_FIELD + MAX_PACKET;
        let needed = LONGEST.saturating_add(self.half.protection.tag_length());
        if buf.len() < needed {
            return Ok(Opened::NeedMore(needed));
        }
        // A packet whose length was good has gone through the MAC.
        let done = self.length.map_or(0, |length| length.saturating_add(LENGTH_FIELD));
        let sequence = self.half.counter.current()?;
        self.half.protection.spend(sequence, buf.get(done..LONGEST).unwrap_or_default())?;
        Err(PacketError::BadMac)
    }

    fn open_packet(&mut self, buf: &mut [u8]) -> Result<Opened, PacketError> {
        let sequence = self.half.counter.current()?;
        let length = match self.length {
            Some(length) => length,
            None => {
                let needed = self.half.protection.head_length();
                let Some(head) = buf.get_mut(..needed) else { return Ok(Opened::NeedMore(needed)) };
                let length = self.half.protection.open_head(sequence, head)?;
                *self.length.insert(self.check_length(length)?)
            }
        };
        let end = length.saturating_add(LENGTH_FIELD);
        let consumed = end.saturating_add(self.half.protection.tag_length());
        let Some((packet, tag)) = buf.get_mut(..consumed).and_then(|all| all.split_at_mut_checked(end))
        else {
            return Ok(Opened::NeedMore(consumed));
        };
        self.half.protection.open(sequence, packet, tag)?;
        let payload = self.take_payload(packet)?;
        self.length = None;
        self.half.counter.advance(consumed);
        Ok(Opened::Packet { payload, consumed, sequence })
    }

    fn check_length(&self, field: u32) -> Result<usize, PacketError> {
        let length = usize::try_from(field).unwrap_or(usize::MAX);
        let over = length.saturating_add(self.half.aligned()).checked_rem(self.half.block);
        let bad = match &self.half.protection {
            Protection::Shared => length < MIN_SHARED,
            _ => length < MIN_LENGTH || over != Some(0),
        };
        let error = match (length > MAX_PACKET, bad) {
            (false, false) => return Ok(length),
            _ if !self.half.protection.is_plain() => PacketError::BadMac,
            (true, _) => PacketError::TooLong { length: field },
            (false, true) => PacketError::BadLength { length: field },
        };
        Err(error)
    }

    /// Strips header and padding of an authentic packet, and inflates what remains.
    fn take_payload(&mut self, packet: &[u8]) -> Result<Range<usize>, PacketError> {
        const START: usize = LENGTH_FIELD + 1;
        let padding = packet.get(LENGTH_FIELD).map_or(0, |padding| usize::from(*padding));
        let end = packet.len().saturating_sub(padding);
        if self.half.protection.is_shared() {
            let number = packet.get(START).copied().unwrap_or(0);
            return match (padding, CONNECTION.contains(&number)) {
                (0, true) => Ok(START..end),
                (0, false) => Err(PacketError::NotShared { number }),
                _ => Err(PacketError::BadPadding),
            };
        }
        if padding < MIN_PADDING || end <= START {
            return Err(PacketError::BadPadding);
        }
        self.inflated = self.half.compressor.is_some();
        match &mut self.half.compressor {
            None => Ok(START..end),
            Some(inflater) => Ok(0..inflater.inflate(packet.get(START..end).unwrap_or_default())?),
        }
    }

    /// The payload of the packet just opened: a part of `buf`, or of the opener's own buffer if it was inflated.
    pub(crate) fn payload<'a>(&'a self, buf: &'a [u8], payload: &Range<usize>) -> &'a [u8] {
        let from = match &self.half.compressor {
            _ if !self.inflated => buf,
            Some(inflater) => inflater.payload(),
            None => &[],
        };
        from.get(payload.clone()).unwrap_or_default()
    }

    /// Switches to new keys, after NEWKEYS was opened with the old ones.
    pub(crate) fn replace(&mut self, keys: OpenKeys, reset_sequence: bool) {
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
