//! The tables of ciphers, MACs and compressions, and how their keys are derived: RFC 4253 §7.2.
//!
//! Adding an algorithm is one row and one vector.

use zeroize::Zeroizing;

use super::PacketError;
use super::compress::{Deflater, Inflater};
use crate::crypto::chachapoly::{self, ChaChaPoly};
use crate::crypto::cipher::{Ctr, GCM_TAG, Gcm, Way};
use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::Hmac;
use crate::crypto::{CryptoError, Rank};

/// How a cipher works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CipherKind {
    Gcm,
    ChaChaPoly,
    Ctr,
}

/// A row of the cipher table.
#[derive(Debug)]
pub(crate) struct CipherSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    pub(super) kind: CipherKind,
    key: usize,
    iv: usize,
    pub(super) block: usize,
}

impl CipherSpec {
    /// Whether it checks integrity itself, so that no MAC is negotiated.
    pub(crate) fn is_aead(&self) -> bool {
        self.kind != CipherKind::Ctr
    }
}

/// In the order of preference for processors with AES instructions.
pub(crate) static CIPHERS: &[CipherSpec] = &[
    CipherSpec {
        name: "aes128-gcm@openssh.com",
        rank: Rank::Default,
        kind: CipherKind::Gcm,
        key: 16,
        iv: 12,
        block: 16,
    },
    CipherSpec {
        name: "aes256-gcm@openssh.com",
        rank: Rank::Default,
        kind: CipherKind::Gcm,
        key: 32,
        iv: 12,
        block: 16,
    },
    CipherSpec {
        name: "chacha20-poly1305@openssh.com",
        rank: Rank::Default,
        kind: CipherKind::ChaChaPoly,
        key: chachapoly::KEY,
        iv: 0,
        block: 8,
    },
    CipherSpec { name: "aes128-ctr", rank: Rank::Default, kind: CipherKind::Ctr, key: 16, iv: 16, block: 16 },
    CipherSpec { name: "aes192-ctr", rank: Rank::Default, kind: CipherKind::Ctr, key: 24, iv: 16, block: 16 },
    CipherSpec { name: "aes256-ctr", rank: Rank::Default, kind: CipherKind::Ctr, key: 32, iv: 16, block: 16 },
];

/// A row of the MAC table.
#[derive(Debug)]
pub(crate) struct MacSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    hash: HashAlg,
    /// Encrypt-then-MAC: the length stays in the clear and the tag covers the ciphertext.
    etm: bool,
}

/// In the order of preference.
pub(crate) static MACS: &[MacSpec] = &[
    MacSpec { name: "hmac-sha2-256-etm@openssh.com", rank: Rank::Default, hash: HashAlg::Sha256, etm: true },
    MacSpec { name: "hmac-sha2-512-etm@openssh.com", rank: Rank::Default, hash: HashAlg::Sha512, etm: true },
    MacSpec { name: "hmac-sha2-256", rank: Rank::Default, hash: HashAlg::Sha256, etm: false },
    MacSpec { name: "hmac-sha2-512", rank: Rank::Default, hash: HashAlg::Sha512, etm: false },
    MacSpec { name: "hmac-sha1-etm@openssh.com", rank: Rank::Supported, hash: HashAlg::Sha1, etm: true },
    MacSpec { name: "hmac-sha1", rank: Rank::Supported, hash: HashAlg::Sha1, etm: false },
];

/// When a compression starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompressionKind {
    Never,
    /// With the keys.
    AtOnce,
    /// After authentication, so that nobody unauthenticated reaches the decompressor.
    Delayed,
}

/// A row of the compression table.
#[derive(Debug)]
pub(crate) struct CompressionSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    pub(super) kind: CompressionKind,
}

/// In the order of preference.
pub(crate) static COMPRESSIONS: &[CompressionSpec] = &[
    CompressionSpec { name: "none", rank: Rank::Default, kind: CompressionKind::Never },
    CompressionSpec { name: "zlib@openssh.com", rank: Rank::Supported, kind: CompressionKind::Delayed },
    CompressionSpec { name: "zlib", rank: Rank::Supported, kind: CompressionKind::AtOnce },
];

pub(crate) fn cipher(name: &str) -> Option<&'static CipherSpec> {
    CIPHERS.iter().find(|spec| spec.name == name)
}

pub(crate) fn mac(name: &str) -> Option<&'static MacSpec> {
    MACS.iter().find(|spec| spec.name == name)
}

pub(crate) fn compression(name: &str) -> Option<&'static CompressionSpec> {
    COMPRESSIONS.iter().find(|spec| spec.name == name)
}

/// Which way packets go; each way has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// What all keys of an exchange are derived from.
pub(crate) struct KeySource {
    pub(crate) alg: HashAlg,
    /// K exactly as it was hashed: an encoded mpint, or an encoded string in hybrid exchanges.
    pub(crate) secret: Zeroizing<Vec<u8>>,
    pub(crate) exchange_hash: Vec<u8>,
    pub(crate) session_id: Vec<u8>,
}

impl KeySource {
    /// RFC 4253 §7.2: `length` bytes for the letter `A` to `F`.
    fn derive(&self, letter: u8, length: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let first = self.alg.digest(&[&self.secret, &self.exchange_hash, &[letter], &self.session_id])?;
        let mut key = Zeroizing::new(Vec::with_capacity(length.saturating_add(64)));
        key.extend_from_slice(&first);
        while key.len() < length {
            let more = self.alg.digest(&[&self.secret, &self.exchange_hash, &key])?;
            key.extend_from_slice(&more);
        }
        key.truncate(length);
        Ok(key)
    }
}

/// The algorithms of one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suite {
    pub(crate) cipher: &'static CipherSpec,
    /// None for ciphers that check integrity themselves.
    pub(crate) mac: Option<&'static MacSpec>,
    pub(crate) compression: &'static CompressionSpec,
}

/// A keyed cipher with its MAC.
#[derive(Debug)]
pub(super) enum Keyed {
    Plain,
    Gcm(Gcm),
    ChaChaPoly(ChaChaPoly),
    Ctr { cipher: Ctr, mac: Hmac, etm: bool, tag: usize },
}

impl Keyed {
    /// The length of the tag behind each packet.
    pub(super) fn tag(&self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Gcm(_) => GCM_TAG,
            Self::ChaChaPoly(_) => chachapoly::TAG,
            Self::Ctr { tag, .. } => *tag,
        }
    }

    /// Whether the length field is outside of what is padded to whole blocks.
    pub(super) fn length_apart(&self) -> bool {
        match self {
            Self::Plain => false,
            Self::Gcm(_) | Self::ChaChaPoly(_) => true,
            Self::Ctr { etm, .. } => *etm,
        }
    }
}

/// New keys of the sending side.
#[derive(Debug)]
pub(crate) struct SealKeys {
    pub(super) keyed: Keyed,
    pub(super) block: usize,
    pub(super) compression: CompressionKind,
}

/// New keys of the receiving side.
#[derive(Debug)]
pub(crate) struct OpenKeys {
    pub(super) keyed: Keyed,
    pub(super) block: usize,
    pub(super) compression: CompressionKind,
}

impl Suite {
    /// The keys of whoever sends in `direction`.
    pub(crate) fn seal_keys(
        &self,
        source: &KeySource,
        direction: Direction,
    ) -> Result<SealKeys, PacketError> {
        let keyed = self.keyed(source, direction, Way::Encrypt)?;
        Ok(SealKeys { keyed, block: self.cipher.block, compression: self.compression.kind })
    }

    /// The keys of whoever receives from `direction`.
    pub(crate) fn open_keys(
        &self,
        source: &KeySource,
        direction: Direction,
    ) -> Result<OpenKeys, PacketError> {
        let keyed = self.keyed(source, direction, Way::Decrypt)?;
        Ok(OpenKeys { keyed, block: self.cipher.block, compression: self.compression.kind })
    }

    fn keyed(&self, source: &KeySource, direction: Direction, way: Way) -> Result<Keyed, CryptoError> {
        let [iv_letter, key_letter, mac_letter] = match direction {
            Direction::ToServer => *b"ACE",
            Direction::ToClient => *b"BDF",
        };
        let iv = source.derive(iv_letter, self.cipher.iv)?;
        let key = source.derive(key_letter, self.cipher.key)?;
        let wrong = || CryptoError("a key of the wrong length".to_owned());
        Ok(match self.cipher.kind {
            CipherKind::Gcm => {
                let iv = iv.first_chunk().ok_or_else(wrong)?;
                Keyed::Gcm(Gcm::new(way, &key, iv)?)
            }
            CipherKind::ChaChaPoly => {
                Keyed::ChaChaPoly(ChaChaPoly::new(key.first_chunk().ok_or_else(wrong)?)?)
            }
            CipherKind::Ctr => {
                let spec = self.mac.ok_or_else(|| CryptoError("a cipher without a MAC".to_owned()))?;
                let tag = spec.hash.size();
                let mac_key = source.derive(mac_letter, tag)?;
                let mac = Hmac::new(spec.hash, &mac_key).ok_or_else(wrong)?;
                Keyed::Ctr { cipher: Ctr::new(&key, &iv)?, mac, etm: spec.etm, tag }
            }
        })
    }
}

impl CompressionKind {
    pub(super) fn deflater(self, delayed_now: bool) -> Option<Deflater> {
        (self == Self::AtOnce || (self == Self::Delayed && delayed_now)).then(Deflater::new)
    }

    pub(super) fn inflater(self, delayed_now: bool) -> Option<Inflater> {
        (self == Self::AtOnce || (self == Self::Delayed && delayed_now)).then(Inflater::new)
    }
}
