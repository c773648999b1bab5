//! Packets, RFC 4253 §6: framing, compression, encryption, integrity, and the version line before them (§4.2).
//!
//! Pure: a [`Sealer`] turns payloads into bytes, an [`Opener`] bytes into payloads; each belongs to one
//! thread. Knows no message but its length, and neither who is authenticated nor why keys change.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::as_conversions))]

mod compress;
mod count;
mod half;
mod ident;
mod open;
mod own;
mod protect;
mod seal;
mod suite;

pub use compress::CompressionSpec;
pub(crate) use compress::{COMPRESSIONS, compression};
pub use ident::{IdentError, VersionLine};
pub(crate) use ident::{IdentReader, MAX_LINE, MAX_PRE_BYTES, MAX_PRE_LINES};
pub(crate) use open::{OpenKeys, Opened, Opener};
pub use own::{CompressionState, MacState, StartCipher, StartCompression, StartMac};
pub(crate) use seal::{SealKeys, Sealer};
#[cfg(any(test, fuzzing))]
pub(crate) use suite::CIPHERS;
pub use suite::{CipherSpec, MacSpec};
pub(crate) use suite::{Direction, KeySource, MACS, Suite, cipher, ciphers_by_preference, mac};

#[cfg(test)]
use count::Usage;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;

use crate::crypto::CryptoError;

/// The largest `packet_length` that is sent or accepted, and the largest payload after decompression.
/// RFC 4253 §6.1 asks for 35000; OpenSSH and others stop at 256 KiB as well.
pub(crate) const MAX_PACKET: usize = 256 * 1024;

/// The numbers of the connection layer, RFC 4250 §4.1.2: all that passes on a connection that another
/// program holds.
const CONNECTION: RangeInclusive<u8> = 80..=127;

/// Bytes of the length field.
const LENGTH_FIELD: usize = 4;

/// The least padding, RFC 4253 §6.
const MIN_PADDING: usize = 4;

/// The alignment without a cipher, RFC 4253 §6.
const PLAIN_BLOCK: usize = 8;

/// Why a packet could not be sealed or opened. Each ends the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PacketError {
    /// `packet_length` above 256 KiB, in a packet of ours or in an unencrypted one of the peer's.
    TooLong {
        /// The length that stood there.
        length: u32,
    },
    /// An unencrypted packet's length is no multiple of the block or leaves no room for a message.
    BadLength {
        /// The length that stood there.
        length: u32,
    },
    /// What another program's connection passes on is no message of the connection layer.
    NotShared {
        /// The message's number.
        number: u8,
    },
    /// The padding is shorter than four bytes or leaves no message.
    BadPadding,
    /// The MAC or tag is wrong, or the length of an encrypted packet is: whoever changes packets must
    /// not learn which.
    BadMac,
    /// The compressor failed.
    Compress,
    /// The compressed payload is no continuation of the zlib stream.
    Decompress,
    /// The payload inflates beyond 256 KiB.
    InflatedTooLong,
    /// 2^32 packets under the same keys: the sequence number would repeat.
    Sequence,
    /// A primitive failed.
    Crypto(CryptoError),
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { length } => {
                write!(f, "a packet of {length} bytes exceeds the limit of {MAX_PACKET}")
            }
            Self::BadLength { length } => write!(f, "the peer sent a packet of impossible length {length}"),
            Self::NotShared { number } => {
                write!(f, "the master of the connection passed on a message of number {number}")
            }
            Self::BadPadding => f.write_str("the peer sent a packet with impossible padding"),
            Self::BadMac => {
                f.write_str("the peer's packet was changed on the way: message authentication code incorrect")
            }
            Self::Compress => f.write_str("a packet could not be compressed"),
            Self::Decompress => f.write_str("the peer's packet could not be decompressed"),
            Self::InflatedTooLong => {
                write!(f, "the peer's packet inflates beyond the limit of {MAX_PACKET} bytes")
            }
            Self::Sequence => f.write_str("2^32 packets have passed without new keys"),
            Self::Crypto(error) => write!(f, "a cipher failed: {error}"),
        }
    }
}

impl std::error::Error for PacketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Crypto(error) => Some(error),
            _ => None,
        }
    }
}

impl From<CryptoError> for PacketError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}
