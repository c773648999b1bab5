//! Sequence numbers (RFC 4253 §6.4) and how much a set of keys may still do (RFC 4344 §3).

use super::{PLAIN_BLOCK, PacketError};

/// New keys are due after this many packets, RFC 4344 §3.1.
const REKEY_PACKETS: u64 = 1 << 31;

/// Packets that one set of keys can ever number: the sequence number is ChaCha20's nonce and what keeps a
/// MAC from being replayed.
const MAX_PACKETS: u64 = 1 << 32;

/// What passed since the present keys were installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes on the wire.
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    /// Blocks of the cipher.
    pub(crate) blocks: u64,
}

/// Numbers the packets of one direction and counts what the keys have done.
pub(super) struct Counter {
    sequence: u32,
    usage: Usage,
    block: u64,
    block_limit: u64,
    /// How many packets may pass under the same keys.
    packet_limit: u64,
}

impl Counter {
    /// The counter of a connection's first, unencrypted packets.
    pub(super) fn plain() -> Self {
        let mut counter = Self {
            sequence: 0,
            usage: Usage::default(),
            block: 0,
            block_limit: 0,
            packet_limit: MAX_PACKETS,
        };
        counter.replace(PLAIN_BLOCK, u64::MAX, true);
        counter
    }

    /// The counter where another program has the keys, and sees to new ones: nothing is ever used up.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only UNIX sockets have masters"))]
    pub(super) fn shared() -> Self {
        Self { packet_limit: u64::MAX, ..Self::plain() }
    }

    /// New keys: what they may do is counted afresh; the sequence goes on unless `reset_sequence`.
    pub(super) fn replace(&mut self, block: usize, block_limit: u64, reset_sequence: bool) {
        if reset_sequence {
            self.sequence = 0;
        }
        self.usage = Usage::default();
        self.block = u64::try_from(block).unwrap_or(u64::MAX);
        self.block_limit = block_limit;
    }

    /// The number of the packet at hand; an error when these keys have no number left.
    pub(super) fn current(&self) -> Result<u32, PacketError> {
        if self.usage.packets >= self.packet_limit { Err(PacketError::Sequence) } else { Ok(self.sequence) }
    }

    /// The packet at hand is done; it had `bytes` bytes on the wire.
    pub(super) fn advance(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.sequence = self.sequence.wrapping_add(1);
        self.usage.packets = self.usage.packets.saturating_add(1);
        self.usage.bytes = self.usage.bytes.saturating_add(bytes);
        let blocks = bytes.checked_div(self.block).unwrap_or(bytes);
        self.usage.blocks = self.usage.blocks.saturating_add(blocks);
    }

    pub(super) fn sequence(&self) -> u32 {
        self.sequence
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn rekey_due(&self) -> bool {
        self.usage.packets >= REKEY_PACKETS || self.usage.blocks >= self.block_limit
    }

    #[cfg(test)]
    pub(super) fn set(&mut self, sequence: u32, packets: u64) {
        self.sequence = sequence;
        self.usage.packets = packets;
    }
}
