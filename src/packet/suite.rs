//! The tables of ciphers and MACs, and the keys of a direction, RFC 4253 §7.2.

use zeroize::Zeroizing;

use crate::crypto::bulk::{Bulk, CipherState, CipherWay};
use crate::crypto::chachapoly::{self, ChaChaPoly};
use crate::crypto::cipher::{AesGcm, has_aes_instructions};
use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::Hmac;
use crate::crypto::umac::{self, Umac};
use crate::crypto::{CryptoError, Rank};

use super::compress::CompressionSpec;
use super::own::{StartCipher, StartMac};
use super::protect::{Mac, MacKey, Pair, Protection};
use super::{OpenKeys, PacketError, SealKeys};

/// Which way packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// What a cipher is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum CipherKind {
    Gcm,
    ChaChaPoly,
    /// With a MAC beside it.
    Bulk(Bulk),
    /// A user's, with a MAC beside it.
    Own {
        vector_length: usize,
        start: StartCipher,
    },
}

/// A cipher: a row of the table, or a user's own.
#[derive(Debug)]
pub struct CipherSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    pub(super) kind: CipherKind,
    pub(super) key_length: usize,
    /// What the packet is aligned to, and what the rekey limit counts.
    pub(super) block: usize,
}

impl CipherSpec {
    /// Whether it authenticates by itself, so that no MAC is used.
    pub(crate) fn is_aead(&self) -> bool {
        matches!(self.kind, CipherKind::Gcm | CipherKind::ChaChaPoly)
    }

    /// How strong its key is, in bits: three keys of DES are as strong as two.
    pub(crate) fn strength(&self) -> usize {
        if self.name.starts_with("3des-") { 112 } else { self.key_length.saturating_mul(8) }
    }

    /// Blocks after which new keys are due. RFC 4344 §3.2 gives 2^(L/4) for blocks of L ≥ 128 bits and 1 GiB
    /// for shorter ones; OpenSSH applies the latter to ChaCha20, whose `block` is 8.
    fn block_limit(&self) -> u64 {
        if self.block >= 16 { 1 << 32 } else { (1 << 30) / 8 }
    }
}

/// What a MAC is made of.
#[derive(Debug, Clone, Copy)]
pub(super) enum MacKind {
    Hmac(HashAlg),
    Umac,
    /// A user's.
    Own(StartMac),
}

/// A MAC: a row of the table, or a user's own.
#[derive(Debug)]
pub struct MacSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    pub(super) kind: MacKind,
    pub(super) key_length: usize,
    /// Bytes of it that are sent.
    pub(super) length: usize,
    /// Over the encrypted packet rather than the plain one.
    pub(crate) encrypt_then_mac: bool,
}

const fn row(name: &'static str, kind: CipherKind, key_length: usize, block: usize) -> CipherSpec {
    CipherSpec { name, rank: Rank::Default, kind, key_length, block }
}

const fn bulk(name: &'static str, rank: Rank, cipher: Bulk, key_length: usize, block: usize) -> CipherSpec {
    CipherSpec { name, rank, kind: CipherKind::Bulk(cipher), key_length, block }
}

/// In order of preference where AES is fast; see [`ciphers_by_preference`]. Those of rank `Legacy` chain
/// their blocks, have blocks of 64 bits (Sweet32) or are RC4.
pub(crate) static CIPHERS: &[CipherSpec] = &[
    row("aes128-gcm@openssh.com", CipherKind::Gcm, 16, 16),
    row("aes256-gcm@openssh.com", CipherKind::Gcm, 32, 16),
    row("chacha20-poly1305@openssh.com", CipherKind::ChaChaPoly, chachapoly::KEY_LENGTH, 8),
    bulk("aes128-ctr", Rank::Default, Bulk::AesCtr, 16, 16),
    bulk("aes192-ctr", Rank::Default, Bulk::AesCtr, 24, 16),
    bulk("aes256-ctr", Rank::Default, Bulk::AesCtr, 32, 16),
    bulk("aes256-cbc", Rank::Legacy, Bulk::AesCbc, 32, 16),
    bulk("rijndael-cbc@lysator.liu.se", Rank::Legacy, Bulk::AesCbc, 32, 16),
    bulk("aes192-cbc", Rank::Legacy, Bulk::AesCbc, 24, 16),
    bulk("aes128-cbc", Rank::Legacy, Bulk::AesCbc, 16, 16),
    bulk("3des-ctr", Rank::Legacy, Bulk::TripleDesCtr, 24, 8),
    bulk("blowfish-ctr", Rank::Legacy, Bulk::BlowfishCtr, 32, 8),
    bulk("3des-cbc", Rank::Legacy, Bulk::TripleDesCbc, 24, 8),
    bulk("blowfish-cbc", Rank::Legacy, Bulk::BlowfishCbc, 16, 8),
    bulk("cast128-cbc", Rank::Legacy, Bulk::Cast128Cbc, 16, 8),
    bulk("arcfour256", Rank::Legacy, Bulk::Rc4 { skip: RC4_SKIP }, 32, 8),
    bulk("arcfour128", Rank::Legacy, Bulk::Rc4 { skip: RC4_SKIP }, 16, 8),
    bulk("arcfour", Rank::Legacy, Bulk::Rc4 { skip: 0 }, 16, 8),
];

/// The start of RC4's key stream tells of the key, RFC 4345 §4.
const RC4_SKIP: usize = 1536;

const fn hmac(name: &'static str, rank: Rank, hash: HashAlg, key_length: usize, length: usize) -> MacSpec {
    MacSpec { name, rank, kind: MacKind::Hmac(hash), key_length, length, encrypt_then_mac: false }
}

const fn umac(name: &'static str, length: usize) -> MacSpec {
    let (rank, key_length) = (Rank::Supported, umac::KEY_LENGTH);
    MacSpec { name, rank, kind: MacKind::Umac, key_length, length, encrypt_then_mac: false }
}

const fn etm(spec: MacSpec) -> MacSpec {
    MacSpec { encrypt_then_mac: true, ..spec }
}

/// Of the rows cut to 96 bits.
const CUT: usize = 12;

/// In order of preference.
pub(crate) static MACS: &[MacSpec] = &[
    etm(hmac("hmac-sha2-256-etm@openssh.com", Rank::Default, HashAlg::Sha256, 32, 32)),
    etm(hmac("hmac-sha2-512-etm@openssh.com", Rank::Default, HashAlg::Sha512, 64, 64)),
    hmac("hmac-sha2-256", Rank::Default, HashAlg::Sha256, 32, 32),
    hmac("hmac-sha2-512", Rank::Default, HashAlg::Sha512, 64, 64),
    etm(umac("umac-128-etm@openssh.com", 16)),
    umac("umac-128@openssh.com", 16),
    etm(umac("umac-64-etm@openssh.com", 8)),
    umac("umac-64@openssh.com", 8),
    etm(hmac("hmac-sha1-etm@openssh.com", Rank::Supported, HashAlg::Sha1, 20, 20)),
    hmac("hmac-sha1", Rank::Supported, HashAlg::Sha1, 20, 20),
    etm(hmac("hmac-sha2-256-96-etm@openssh.com", Rank::Supported, HashAlg::Sha256, 32, CUT)),
    hmac("hmac-sha2-256-96", Rank::Supported, HashAlg::Sha256, 32, CUT),
    etm(hmac("hmac-sha2-512-96-etm@openssh.com", Rank::Supported, HashAlg::Sha512, 64, CUT)),
    hmac("hmac-sha2-512-96", Rank::Supported, HashAlg::Sha512, 64, CUT),
    etm(hmac("hmac-sha1-96-etm@openssh.com", Rank::Legacy, HashAlg::Sha1, 20, CUT)),
    hmac("hmac-sha1-96", Rank::Legacy, HashAlg::Sha1, 20, CUT),
    etm(hmac("hmac-md5-etm@openssh.com", Rank::Legacy, HashAlg::Md5, 16, 16)),
    hmac("hmac-md5", Rank::Legacy, HashAlg::Md5, 16, 16),
    etm(hmac("hmac-md5-96-etm@openssh.com", Rank::Legacy, HashAlg::Md5, 16, CUT)),
    hmac("hmac-md5-96", Rank::Legacy, HashAlg::Md5, 16, CUT),
];

impl MacSpec {
    fn start(&self, source: &KeySource, letter: u8) -> Result<Mac, CryptoError> {
        let key = source.derive(letter, self.key_length)?;
        let key = match self.kind {
            MacKind::Hmac(hash) => MacKey::Hmac(Hmac::new(hash, &key)?),
            MacKind::Umac => MacKey::Umac(Umac::new(&key, self.length)?),
            MacKind::Own(start) => MacKey::Own(start(&key)?),
        };
        Ok(Mac { key, length: self.length, encrypt_then_mac: self.encrypt_then_mac })
    }
}

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
        ciphers.sort_by_key(|spec| !matches!(spec.kind, CipherKind::ChaChaPoly));
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
#[derive(Debug, Clone, Copy)]
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
        Ok(SealKeys(self.keys(source, direction, CipherWay::Encrypt)?))
    }

    /// The keys for receiving from `direction`.
    pub(crate) fn open_keys(
        &self,
        source: &KeySource,
        direction: Direction,
    ) -> Result<OpenKeys, PacketError> {
        Ok(OpenKeys(self.keys(source, direction, CipherWay::Decrypt)?))
    }

    fn keys(&self, source: &KeySource, direction: Direction, way: CipherWay) -> Result<Keys, CryptoError> {
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
            CipherKind::Bulk(bulk) => {
                let start = |key: &[u8], vector: &[u8]| bulk.start(way, key, vector);
                self.pair(source, &letters, bulk.vector_length(), bulk.is_cbc(), start)?
            }
            // Whether a user's cipher chains its blocks is not known: it is taken for one that does.
            CipherKind::Own { vector_length, start } => {
                let start = |key: &[u8], vector: &[u8]| start(way, key, vector);
                self.pair(source, &letters, vector_length, true, start)?
            }
        };
        Ok(Keys { suite: *self, protection, block: cipher.block, block_limit: cipher.block_limit() })
    }

    fn pair(
        &self,
        source: &KeySource,
        letters: &Letters,
        vector_length: usize,
        chained: bool,
        start: impl FnOnce(&[u8], &[u8]) -> Result<Box<dyn CipherState>, CryptoError>,
    ) -> Result<Protection, CryptoError> {
        let cipher = self.cipher;
        let mac = self.mac.ok_or_else(|| CryptoError(format!("{} needs a MAC", cipher.name)))?;
        let key = source.derive(letters.encryption, cipher.key_length)?;
        let vector = source.derive(letters.initial_vector, vector_length)?;
        let mac = mac.start(source, letters.integrity)?;
        Ok(Protection::Pair(Pair { cipher: start(&key, &vector)?, mac, block: cipher.block, chained }))
    }
}
