//! Key exchange: RFC 4253 §7 and §8, strict kex, every exchange method.
//!
//! A pure machine: payloads in, actions out. Knows no socket and no clock; whoever drives it sends,
//! asks the application, signs, and switches keys when told.

mod algorithms;
mod exchange;
mod gex;
mod method;
mod negotiate;
mod own;
mod table;

use std::fmt;

use crate::crypto::CryptoError;
use crate::key::{KeyError, PublicKey};
use crate::packet::{OpenKeys, PacketError, SealKeys};
use crate::wire::Malformed;

pub use algorithms::Algorithms;
pub(crate) use exchange::{Kex, Setup};
pub(crate) use gex::{MAX_BITS, MIN_BITS, Moduli};
pub use negotiate::Negotiated;
pub use own::{KexAnswer, KexFinish, KexHash, KexOffer};
pub use table::KexSpec;

#[cfg(test)]
mod tests;

/// Which side of a connection we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// What whoever drives the machine has to do, in order.
#[derive(Debug)]
pub(crate) enum Action {
    Send(Vec<u8>),
    /// Client, first exchange: the host proved that it holds this key. Answer with
    /// [`Kex::host_key_accepted`].
    CheckHostKey(PublicKey),
    /// Server: sign with that host key. Answer with [`Kex::signed`].
    Sign {
        host_key: usize,
        algorithm: &'static str,
        data: Vec<u8>,
    },
    /// Send NEWKEYS under the old keys, then switch the sending side.
    NewKeys {
        keys: SealKeys,
        reset_sequence: bool,
    },
    /// The peer's NEWKEYS was received: switch the receiving side.
    Install {
        keys: OpenKeys,
        reset_sequence: bool,
    },
    /// Both sides have switched.
    Finished,
}

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KexError {
    /// A message could not be read.
    Malformed(Malformed),
    /// Nothing in common.
    NoCommon {
        /// The kind of algorithm.
        what: &'static str,
        /// What we offered.
        ours: Vec<String>,
        /// What the peer offered.
        theirs: Vec<String>,
    },
    /// A message that may not come now.
    Unexpected(u8),
    /// A share, group or size that must not be used.
    BadShare(&'static str),
    /// The host key cannot be used, or its signature is wrong.
    HostKey(KeyError),
    /// The host showed another kind of key than was agreed.
    HostKeyType,
    /// The host key changed within a connection.
    HostKeyChanged,
    /// An algorithm that is not known was named.
    UnknownAlgorithm {
        /// The name.
        name: String,
        /// The names that are known.
        known: Vec<&'static str>,
    },
    /// A row of a user's own that cannot be added.
    BadRow {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A primitive failed.
    Crypto(CryptoError),
    /// Keys could not be made.
    Packet(PacketError),
}

impl fmt::Display for KexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "a key exchange message {error}"),
            Self::NoCommon { what, .. } => write!(f, "no {what} algorithm in common"),
            Self::Unexpected(number) => write!(f, "message {number} out of order in a key exchange"),
            Self::BadShare(what) => write!(f, "a bad key exchange value: {what}"),
            Self::HostKey(error) => write!(f, "the host did not prove its identity: {error}"),
            Self::HostKeyType => f.write_str("the host key is not of the agreed type"),
            Self::HostKeyChanged => f.write_str("the host key changed within the connection"),
            Self::UnknownAlgorithm { name, known } => {
                write!(f, "algorithm {name:?} is not known; known are {}", known.join(","))
            }
            Self::BadRow { name, reason } => write!(f, "algorithm {name:?} cannot be added: {reason}"),
            Self::Crypto(error) => write!(f, "a bad key exchange value: {error}"),
            Self::Packet(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KexError {}

impl From<Malformed> for KexError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<CryptoError> for KexError {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}

impl From<PacketError> for KexError {
    fn from(error: PacketError) -> Self {
        Self::Packet(error)
    }
}
