//! Framing, encryption, integrity and compression of packets: RFC 4253 §6, and the version line.
//!
//! Pure: bytes in, bytes out; knows no socket and no message but its length. Each direction is an
//! object of its own, owned by one thread.

mod compress;
mod ident;
mod open;
mod seal;
mod suite;

use std::fmt;

use crate::crypto::CryptoError;

pub use ident::IdentError;
pub(crate) use ident::{Ident, IdentReader, OUR_IDENT};
pub(crate) use open::{Opened, Opener};
pub(crate) use seal::Sealer;
pub(crate) use suite::{
    CIPHERS, COMPRESSIONS, CipherSpec, CompressionSpec, Direction, KeySource, MACS, MacSpec, OpenKeys,
    SealKeys, Suite, cipher, compression, mac,
};

#[cfg(test)]
mod tests;

/// The largest packet that is read, inflated or not: OpenSSH's figure, far above RFC 4253's 35000.
pub(crate) const MAX_PACKET: usize = 256 * 1024;

/// Why a packet cannot be sealed or opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PacketError {
    /// The length field says more than [`MAX_PACKET`], or less than a packet needs.
    BadLength,
    /// The padding is shorter than 4 bytes or longer than the packet.
    BadPadding,
    /// The tag does not fit, or an encrypted length was wrong: the same from outside.
    BadMac,
    /// The compressed stream is broken.
    Decompress,
    /// The packet would inflate beyond [`MAX_PACKET`].
    InflatedTooLong,
    /// 2^32 packets without new keys.
    SequenceExhausted,
    /// A primitive failed.
    Crypto(CryptoError),
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLength => f.write_str("a packet with a length that no packet has"),
            Self::BadPadding => f.write_str("a packet with wrong padding"),
            Self::BadMac => f.write_str("a packet whose integrity check failed"),
            Self::Decompress => f.write_str("a packet that does not decompress"),
            Self::InflatedTooLong => f.write_str("a packet that inflates beyond the limit"),
            Self::SequenceExhausted => f.write_str("2^32 packets without new keys"),
            Self::Crypto(error) => write!(f, "cryptography failed: {error}"),
        }
    }
}

impl std::error::Error for PacketError {}

impl From<CryptoError> for PacketError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}

/// How much one set of keys was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
}

/// RFC 4344 §3.1: new keys before 2^32 packets; OpenSSH asks at half of that.
const REKEY_PACKETS: u64 = 1 << 31;

impl Usage {
    fn count(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.packets = self.packets.saturating_add(1);
    }

    /// Whether keys of that cipher were used as much as is safe (RFC 4344 §3.2: 2^(L/4) blocks of
    /// L bits; for 16-byte blocks that is 2^32 blocks, for ChaCha20's 8 counted bytes OpenSSH takes 1 GiB).
    fn due(&self, block: usize) -> bool {
        let blocks = if block >= 16 { 1_u64 << 32 } else { 1 << 27 };
        self.packets >= REKEY_PACKETS || self.bytes / (block.max(8) as u64) >= blocks
    }
}
