//! Ciphers, MACs and compressions of users' own: what they implement, and how it becomes a row.
//!
//! A row is a `static` of the user's; [`Algorithms`](crate::Algorithms) makes it known to a connection.

use crate::crypto::bulk::{CipherState, CipherWay};
use crate::crypto::{CryptoError, Rank};

use super::PacketError;
use super::compress::{CompressionSpec, Start};
use super::protect::MAX_TAG;
use super::suite::{CipherKind, CipherSpec, MacKind, MacSpec};

/// Makes a cipher from its key and its initial vector.
pub type StartCipher = fn(CipherWay, &[u8], &[u8]) -> Result<Box<dyn CipherState>, CryptoError>;

/// Makes a MAC from its key.
pub type StartMac = fn(&[u8]) -> Result<Box<dyn MacState>, CryptoError>;

/// Makes one end of a compression.
pub type StartCompression = fn() -> Box<dyn CompressionState>;

/// A MAC under a key.
pub trait MacState: Send {
    /// Writes the MAC of packet number `sequence` into `tag`, which has the length that the row says.
    ///
    /// # Errors
    /// Any; it ends the connection.
    fn compute(&mut self, sequence: u32, packet: &[u8], tag: &mut [u8]) -> Result<(), CryptoError>;
}

/// One end of a compression: packets follow each other, each is complete.
pub trait CompressionState: Send {
    /// Appends the compressed `payload` to `out`.
    ///
    /// # Errors
    /// [`PacketError::Compress`]; it ends the connection.
    fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), PacketError>;

    /// Appends to `out` what [`compress`](Self::compress) made `data` from. The peer may have made it up: stop
    /// beyond `limit` bytes.
    ///
    /// # Errors
    /// [`PacketError::Decompress`] or [`PacketError::InflatedTooLong`]; it ends the connection.
    fn decompress(&mut self, data: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), PacketError>;
}

/// The longest key or vector that is derived for a user's algorithm; those in use have at most 64 bytes.
const MAX_KEY: usize = 1024;

/// The largest block that packets are aligned to: one byte tells the padding, and ciphers in use have 16.
pub(super) const MAX_BLOCK: usize = 64;

/// The blocks that packets are aligned to; RFC 4253 §6 has 8 as the least.
const BLOCKS: std::ops::RangeInclusive<usize> = 8..=MAX_BLOCK;

/// The tags that a packet can end with.
const TAGS: std::ops::RangeInclusive<usize> = 1..=MAX_TAG;

impl CipherSpec {
    /// A cipher of your own. It gets a MAC beside it. `lengths` are those of the key, of the initial vector (zero
    /// for none) and of the block (8 to 64 bytes; 8 for a stream).
    ///
    /// ```
    /// use feramiko::{Algorithms, CipherSpec, CipherState, CryptoError};
    ///
    /// /// Hides nothing.
    /// struct Xor(u8);
    ///
    /// impl CipherState for Xor {
    ///     fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
    ///         data.iter_mut().for_each(|byte| *byte ^= self.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// static XOR: CipherSpec =
    ///     CipherSpec::own("xor@example.org", [1, 0, 8], |_way, key, _vector| Ok(Box::new(Xor(key[0]))));
    ///
    /// let mut algorithms = Algorithms::client_defaults();
    /// algorithms.add_cipher(&XOR)?;
    /// algorithms.set_ciphers("^xor@example.org")?;
    /// # Ok::<(), feramiko::KexError>(())
    /// ```
    #[must_use]
    pub const fn own(name: &'static str, lengths: [usize; 3], start: StartCipher) -> Self {
        let [key_length, vector_length, block] = lengths;
        let kind = CipherKind::Own { vector_length, start };
        Self { name, rank: Rank::Supported, kind, key_length, block }
    }

    /// What is wrong with a user's row.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let long = |length| length > MAX_KEY;
        let vector = matches!(self.kind, CipherKind::Own { vector_length, .. } if long(vector_length));
        match (vector || long(self.key_length), BLOCKS.contains(&self.block)) {
            (true, _) => Some("its key or vector is longer than 1024 bytes"),
            (_, false) => Some("its block has not 8 to 64 bytes"),
            _ => None,
        }
    }
}

impl MacSpec {
    /// A MAC of your own. `lengths` are those of the key and of the tag (1 to 64 bytes); it is computed over the
    /// encrypted packet, or else over the plain one.
    #[must_use]
    pub const fn own(
        name: &'static str,
        lengths: [usize; 2],
        encrypt_then_mac: bool,
        start: StartMac,
    ) -> Self {
        let [key_length, length] = lengths;
        let kind = MacKind::Own(start);
        Self { name, rank: Rank::Supported, kind, key_length, length, encrypt_then_mac }
    }

    /// What is wrong with a user's row.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        match (self.key_length > MAX_KEY, TAGS.contains(&self.length)) {
            (true, _) => Some("its key is longer than 1024 bytes"),
            (_, false) => Some("its tag has not 1 to 64 bytes"),
            _ => None,
        }
    }
}

impl CompressionSpec {
    /// A compression of your own; a `delayed` one starts after authentication, so that strangers cannot attack it.
    #[must_use]
    pub const fn own(name: &'static str, delayed: bool, start: StartCompression) -> Self {
        let when = if delayed { Start::Delayed } else { Start::AtOnce };
        Self { name, rank: Rank::Supported, start: when, own: Some(start) }
    }
}
