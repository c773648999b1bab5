//! The tables of ciphers and MACs, and the keys of a direction, RFC 4253 §7.2.

use zeroize::Zeroizing;

use crate::crypto::chachapoly::{self, ChaChaPoly};
use crate::crypto::cipher::{AesCtr, AesGcm, has_aes_instructions};
use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::Hmac;
use crate::crypto::{CryptoError, Rank};

use super::compress::CompressionSpec;
use super::protect::{Mac, Protection};
use super::{OpenKeys, PacketError, SealKeys};

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// What a cipher is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CipherKind {
    Gcm,
    ChaChaPoly,
    Ctr,
}

/// A cipher.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CipherSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    kind: CipherKind,
    key_length: usize,
    /// What the packet is aligned to, and what the rekey limit counts.
    block: usize,
}

impl CipherSpec {
    /// Whether it authenticates by itself, so that no MAC is used.
    pub(crate) fn is_aead(&self) -> bool {
        self.kind != CipherKind::Ctr
    }

    /// Blocks after which new keys are due. RFC 4344 §3.2 gives 2^(L/4) for blocks of L ≥ 128 bits and 1 GiB
    /// for shorter ones; OpenSSH applies the latter to ChaCha20, whose `block` is 8.
    fn block_limit(&self) -> u64 {
        if self.block >= 16 { 1 << 32 } else { (1 << 30) / 8 }
    }
}

/// A MAC.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MacSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    hash: HashAlg,
    key_length: usize,
    /// Over the encrypted packet rather than the plain one.
    encrypt_then_mac: bool,
}

const fn row(name: &'static str, kind: CipherKind, key_length: usize, block: usize) -> CipherSpec {
    CipherSpec { name, rank: Rank::Default, kind, key_length, block }
}

/// In order of preference where AES is fast; see [`ciphers_by_preference`].
pub(crate) static CIPHERS: &[CipherSpec] = &[
    row("aes128-gcm@openssh.com", CipherKind::Gcm, 16, 16),
    row("aes256-gcm@openssh.com", CipherKind::Gcm, 32, 16),
    row("chacha20-poly1305@openssh.com", CipherKind::ChaChaPoly, chachapoly::KEY_LENGTH, 8),
    row("aes128-ctr", CipherKind::Ctr, 16, 16),
    row("aes192-ctr", CipherKind::Ctr, 24, 16),
    row("aes256-ctr", CipherKind::Ctr, 32, 16),
];

const fn hmac(
    name: &'static str,
    rank: Rank,
    hash: HashAlg,
    key_length: usize,
    encrypt_then_mac: bool,
) -> MacSpec {
    MacSpec { name, rank, hash, key_length, encrypt_then_mac }
}

/// In order of preference.
pub(crate) static MACS: &[MacSpec] = &[
    hmac("hmac-sha2-256-etm@openssh.com", Rank::Default, HashAlg::Sha256, 32, true),
    hmac("hmac-sha2-512-etm@openssh.com", Rank::Default, HashAlg::Sha512, 64, true),
    hmac("hmac-sha2-256", Rank::Default, HashAlg::Sha256, 32, false),
    hmac("hmac-sha2-512", Rank::Default, HashAlg::Sha512, 64, false),
    hmac("hmac-sha1-etm@openssh.com", Rank::Supported, HashAlg::Sha1, 20, true),
    hmac("hmac-sha1", Rank::Supported, HashAlg::Sha1, 20, false),
];

/// The cipher of that name.
pub(crate) fn cipher(name: &str) -> Option<&'static CipherSpec> {
    CIPHERS.iter().find(|spec| spec.name == name)
}

/// The MAC of that name.
pub(crate) fn mac(name: &str) -> Option<&'static MacSpec> {
    MACS.iter().find(|spec| spec.name == name)
}

/// All ciphers, best first on this processor: without AES instructions ChaCha20 leads.
pub(crate) fn ciphers_by_preference() -> Vec<&'static CipherSpec> {
    let mut ciphers: Vec<_> = CIPHERS.iter().collect();
    if !has_aes_instructions() {
        ciphers.sort_by_key(|spec| spec.kind != CipherKind::ChaChaPoly);
    }
    ciphers
}

/// What keys are derived from.
pub(crate) struct KeySource {
    /// The hash of the key exchange.
    pub(crate) alg: HashAlg,
    /// K exactly as it is hashed: an encoded mpint, or an encoded string for hybrid exchanges.
    pub(crate) secret: Zeroizing<Vec<u8>>,
    /// H of this exchange.
    pub(crate) exchange_hash: Vec<u8>,
    /// H of the first exchange.
    pub(crate) session_id: Vec<u8>,
}

impl KeySource {
    /// `length` bytes for the purpose that `letter` stands for: HASH(K || H || letter || session_id), extended
    /// by HASH(K || H || all so far) until it suffices.
    pub(super) fn derive(&self, letter: u8, length: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut key = Zeroizing::new(Vec::with_capacity(length.saturating_add(MAX_HASH)));
        key.extend_from_slice(&self.alg.digest(&[
            &self.secret,
            &self.exchange_hash,
            &[letter],
            &self.session_id,
        ])?);
        while key.len() < length {
            let more = self.alg.digest(&[&self.secret, &self.exchange_hash, &key])?;
            key.extend_from_slice(&more);
        }
        key.truncate(length);
        Ok(key)
    }

    fn derive_array<const N: usize>(&self, letter: u8) -> Result<Zeroizing<[u8; N]>, CryptoError> {
        let mut out = Zeroizing::new([0; N]);
        for (to, from) in out.iter_mut().zip(self.derive(letter, N)?.iter()) {
            *to = *from;
        }
        Ok(out)
    }
}

/// The longest hash: room for it keeps a derived key from being moved while it grows.
const MAX_HASH: usize = 64;

/// The letters of RFC 4253 §7.2 for one direction.
struct Letters {
    initial_vector: u8,
    encryption: u8,
    integrity: u8,
}

impl Direction {
    fn letters(self) -> Letters {
        match self {
            Self::ToServer => Letters { initial_vector: b'A', encryption: b'C', integrity: b'E' },
            Self::ToClient => Letters { initial_vector: b'B', encryption: b'D', integrity: b'F' },
        }
    }
}

/// The algorithms agreed for one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Suite {
    pub(crate) cipher: &'static CipherSpec,
    /// `None` with a cipher that authenticates by itself.
    pub(crate) mac: Option<&'static MacSpec>,
    pub(crate) compression: &'static CompressionSpec,
}

/// A direction's keys, ready to be installed.
pub(super) struct Keys {
    pub(super) suite: Suite,
    pub(super) protection: Protection,
    pub(super) block: usize,
    pub(super) block_limit: u64,
}

impl Suite {
    /// The keys for sending in `direction`.
    pub(crate) fn seal_keys(
        &self,
        source: &KeySource,
        direction: Direction,
    ) -> Result<SealKeys, PacketError> {
        Ok(SealKeys(self.keys(source, direction)?))
    }

    /// The keys for receiving from `direction`.
    pub(crate) fn open_keys(
        &self,
        source: &KeySource,
        direction: Direction,
    ) -> Result<OpenKeys, PacketError> {
        Ok(OpenKeys(self.keys(source, direction)?))
    }

    fn keys(&self, source: &KeySource, direction: Direction) -> Result<Keys, CryptoError> {
        let letters = direction.letters();
        let cipher = self.cipher;
        let protection = match cipher.kind {
            CipherKind::ChaChaPoly => {
                Protection::ChaChaPoly(ChaChaPoly::new(&*source.derive_array(letters.encryption)?)?)
            }
            CipherKind::Gcm => {
                let key = source.derive(letters.encryption, cipher.key_length)?;
                Protection::Gcm(AesGcm::new(&key, &*source.derive_array(letters.initial_vector)?)?)
            }
            CipherKind::Ctr => {
                let key = source.derive(letters.encryption, cipher.key_length)?;
                let counter = source.derive_array(letters.initial_vector)?;
                let mac = self.mac.ok_or_else(|| CryptoError(format!("{} needs a MAC", cipher.name)))?;
                let mac_key = source.derive(letters.integrity, mac.key_length)?;
                let mac =
                    Mac { hmac: Hmac::new(mac.hash, &mac_key)?, encrypt_then_mac: mac.encrypt_then_mac };
                Protection::Ctr(AesCtr::new(&key, &counter)?, mac)
            }
        };
        Ok(Keys { suite: *self, protection, block: cipher.block, block_limit: cipher.block_limit() })
    }
}
