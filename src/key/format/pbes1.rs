//! PBES1: PKCS#5's schemes with DES and RC2 (RFC 8018 §6.1) but for MD2's, which no program writes, and
//! PKCS#12's with SHA-1 (RFC 7292, appendices B and C).
//!
//! What old files are encrypted with. The caller has held the count of iterations against its limit.

use openssl::symm::Cipher;
use zeroize::Zeroizing;

use super::sealed::{check_blocks, des_key, padded};
use crate::crypto::bulk::{Bulk, CipherWay};
use crate::crypto::hash::{Digest, HashAlg};
use crate::crypto::secret::Secret;
use crate::key::KeyError;

/// The largest count that is worked through: some seconds, as every hash is a call of its own, of which
/// a key takes up to three per count. OpenSSL writes 2048.
pub(super) const ITERATIONS: u64 = if cfg!(fuzzing) { 1024 } else { 1_000_000 };

/// The block and the vector of DES and RC2.
const CIPHER_BLOCK: usize = 8;

type Bytes = Result<Zeroizing<Vec<u8>>, KeyError>;

/// How key and vector come from the passphrase.
#[derive(Debug, Clone, Copy)]
enum Derivation {
    /// PBKDF1: eight bytes of key, eight of vector.
    Pkcs5(HashAlg),
    Pkcs12,
}

/// What a scheme encrypts with.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// DES, or 3DES of two or three keys.
    Des,
    Rc2,
    Rc4,
}

pub(super) struct Scheme {
    oid: &'static [u8],
    derivation: Derivation,
    kind: Kind,
    /// Bytes of the cipher's key.
    key: usize,
}

const fn pkcs5(oid: &'static [u8], kind: Kind, hash: HashAlg) -> Scheme {
    Scheme { oid, derivation: Derivation::Pkcs5(hash), kind, key: 8 }
}

const fn pkcs12(oid: &'static [u8], kind: Kind, key: usize) -> Scheme {
    Scheme { oid, derivation: Derivation::Pkcs12, kind, key }
}

static SCHEMES: &[Scheme] = &[
    pkcs5(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x03", Kind::Des, HashAlg::Md5),
    pkcs5(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x06", Kind::Rc2, HashAlg::Md5),
    pkcs5(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0a", Kind::Des, HashAlg::Sha1),
    pkcs5(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0b", Kind::Rc2, HashAlg::Sha1),
    pkcs12(b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x01", Kind::Rc4, 16),
    pkcs12(b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x02", Kind::Rc4, 5),
    pkcs12(b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03", Kind::Des, 24),
    pkcs12(b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x04", Kind::Des, 16),
    pkcs12(b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x05", Kind::Rc2, 16),
    pkcs12(b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06", Kind::Rc2, 5),
];

pub(super) fn by_oid(oid: &[u8]) -> Option<&'static Scheme> {
    SCHEMES.iter().find(|scheme| scheme.oid == oid)
}

impl Scheme {
    pub(super) fn open(&self, salt: &[u8], iterations: u64, passphrase: &Secret, sealed: &[u8]) -> Bytes {
        let (key, iv) = match self.derivation {
            Derivation::Pkcs5(hash) => {
                let derived = iterated(hash, &[passphrase.expose(), salt], iterations)?;
                let half = |at| Zeroizing::new(derived.chunks(8).nth(at).unwrap_or_default().to_vec());
                (half(0), half(1))
            }
            Derivation::Pkcs12 => {
                let derive = |purpose, length| derive(purpose, length, passphrase, salt, iterations);
                (derive(KEY, self.key)?, derive(VECTOR, CIPHER_BLOCK)?)
            }
        };
        match self.kind {
            Kind::Des => padded(Cipher::des_ede3_cbc(), &des_key(&key), &iv, sealed),
            Kind::Rc2 => {
                check_blocks(sealed, CIPHER_BLOCK)?;
                let mut plain = Zeroizing::new(sealed.to_vec());
                Bulk::Rc2Cbc.start(CipherWay::Decrypt, &key, &iv)?.apply(&mut plain)?;
                let text = without_padding(&plain).ok_or(KeyError::WrongPassphrase)?;
                plain.truncate(text);
                Ok(plain)
            }
            Kind::Rc4 => {
                let mut plain = Zeroizing::new(sealed.to_vec());
                Bulk::Rc4 { skip: 0 }.start(CipherWay::Decrypt, &key, &[])?.apply(&mut plain)?;
                Ok(plain)
            }
        }
    }
}

/// How much of a text in blocks of eight bytes is not PKCS#7's padding.
pub(super) fn without_padding(plain: &[u8]) -> Option<usize> {
    let count = usize::from(*plain.last()?);
    let length = plain.len().checked_sub(count)?;
    let padding = plain.get(length..)?;
    ((1..=CIPHER_BLOCK).contains(&count) && padding.iter().all(|byte| usize::from(*byte) == count))
        .then_some(length)
}

/// The hash of `parts`, hashed again until that was done so often.
fn iterated(hash: HashAlg, parts: &[&[u8]], iterations: u64) -> Result<Digest, KeyError> {
    let mut last = hash.digest(parts)?;
    for _ in 1..iterations {
        last = hash.digest(&[&last])?;
    }
    Ok(last)
}

/// What is derived: RFC 7292, appendix B.3.
const KEY: u8 = 1;
const VECTOR: u8 = 2;
/// The block of SHA-1, in bytes.
const BLOCK: usize = 64;

/// RFC 7292, appendix B.2, with SHA-1.
fn derive(purpose: u8, length: usize, passphrase: &Secret, salt: &[u8], iterations: u64) -> Bytes {
    let mut input = filled(salt);
    input.extend_from_slice(&filled(&utf16(passphrase)));
    let mut derived = Zeroizing::new(Vec::with_capacity(length.saturating_add(BLOCK)));
    loop {
        let block = iterated(HashAlg::Sha1, &[&[purpose; BLOCK], &input], iterations)?;
        derived.extend_from_slice(&block);
        if derived.len() >= length {
            derived.truncate(length);
            return Ok(derived);
        }
        let filler = filled(&block);
        input.chunks_mut(BLOCK).for_each(|part| add(part, &filler));
    }
}

/// Repeated until it fills whole blocks.
fn filled(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = bytes.len().next_multiple_of(BLOCK);
    Zeroizing::new(bytes.iter().copied().cycle().take(length).collect())
}

/// UTF-16, most significant byte first, with a zero at the end. As OpenSSL does it, what is no UTF-8 is
/// taken for Latin-1.
fn utf16(passphrase: &Secret) -> Zeroizing<Vec<u8>> {
    let bytes = passphrase.expose();
    let mut wide = Zeroizing::new(Vec::with_capacity(bytes.len().saturating_mul(2).saturating_add(2)));
    match std::str::from_utf8(bytes) {
        Ok(text) => text.encode_utf16().for_each(|unit| wide.extend(unit.to_be_bytes())),
        Err(_) => bytes.iter().for_each(|byte| wide.extend([0, *byte])),
    }
    wide.extend([0, 0]);
    wide
}

/// Adds `other` and one to a number of as many bytes, without what overflows.
fn add(number: &mut [u8], other: &[u8]) {
    let mut carry = 1_u8;
    for (byte, other) in number.iter_mut().zip(other).rev() {
        let sum = u16::from(*byte).wrapping_add(u16::from(*other)).wrapping_add(u16::from(carry));
        [carry, *byte] = sum.to_be_bytes();
    }
}
