//! Encrypted PKCS#8: PBES2 with PBKDF2 or scrypt (RFC 8018, RFC 7914), and PBES1.
//!
//! What deriving the key costs is written in the file. It is read and held against the limits here
//! before anything is derived, and before a passphrase is asked for.

use openssl::hash::MessageDigest;
use openssl::pkcs5;
use openssl::symm::Cipher;
use zeroize::Zeroizing;

use super::der::{Der, NULL, OCTETS, OID, Oid};
use super::sealed::padded;
use super::{given, pbes1};
use crate::crypto::secret::Secret;
use crate::key::KeyError;

/// The largest PBKDF2 count that is worked through: some seconds. `ssh-keygen` writes
/// 2048, careful people a million.
const ITERATIONS: u64 = if cfg!(fuzzing) { 4096 } else { 10_000_000 };
/// The most memory that scrypt may take; `openssl pkcs8 -scrypt` takes 16 MiB.
const SCRYPT_MEMORY: u64 = if cfg!(fuzzing) { 1024 * 1024 } else { 1024 * 1024 * 1024 };
/// The most bytes that scrypt may go over: some seconds.
const SCRYPT_WORK: u64 = SCRYPT_MEMORY.saturating_mul(4);

const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
const SCRYPT: &[u8] = b"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b";
/// What PBKDF2 hashes with unless it says so: HMAC-SHA-1.
const HMAC_SHA1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02\x07";

/// An object identifier and what OpenSSL has for it.
type Row<T> = (&'static [u8], fn() -> T);

static HASHES: &[Row<MessageDigest>] = &[
    (HMAC_SHA1, MessageDigest::sha1),
    (b"\x2a\x86\x48\x86\xf7\x0d\x02\x08", MessageDigest::sha224),
    (b"\x2a\x86\x48\x86\xf7\x0d\x02\x09", MessageDigest::sha256),
    (b"\x2a\x86\x48\x86\xf7\x0d\x02\x0a", MessageDigest::sha384),
    (b"\x2a\x86\x48\x86\xf7\x0d\x02\x0b", MessageDigest::sha512),
];

static CIPHERS: &[Row<Cipher>] = &[
    (b"\x60\x86\x48\x01\x65\x03\x04\x01\x02", Cipher::aes_128_cbc),
    (b"\x60\x86\x48\x01\x65\x03\x04\x01\x16", Cipher::aes_192_cbc),
    (b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a", Cipher::aes_256_cbc),
    (b"\x2a\x86\x48\x86\xf7\x0d\x03\x07", Cipher::des_ede3_cbc),
];

enum Derivation<'a> {
    Pbkdf2 { salt: &'a [u8], iterations: u64, hash: MessageDigest },
    Scrypt { salt: &'a [u8], n: u64, r: u64, p: u64 },
}

/// Decrypts an EncryptedPrivateKeyInfo.
pub(super) fn open(bytes: &[u8], passphrase: Option<&Secret>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut info = Der::whole(bytes)?;
    let mut algorithm = info.sequence()?;
    let sealed = info.take(OCTETS)?;
    info.finish()?;
    let oid = algorithm.take(OID)?;
    let mut parameters = algorithm.sequence()?;
    algorithm.finish()?;
    if let Some(scheme) = pbes1::by_oid(oid) {
        let (salt, iterations) = (parameters.take(OCTETS)?, parameters.small()?);
        parameters.finish()?;
        check_iterations(iterations, pbes1::ITERATIONS)?;
        return scheme.open(salt, iterations, given(passphrase)?, sealed);
    }
    if oid != PBES2 {
        return Err(KeyError::Unsupported(format!("the PKCS#8 encryption {}", Oid(oid))));
    }
    let derivation = derivation(parameters.sequence()?)?;
    let mut scheme = parameters.sequence()?;
    parameters.finish()?;
    let cipher = row(CIPHERS, scheme.take(OID)?, "PKCS#8 cipher")?;
    let iv = scheme.take(OCTETS)?;
    scheme.finish()?;
    if Some(iv.len()) != cipher.iv_len() {
        return Err(KeyError::Malformed("its initialisation vector has an impossible length"));
    }
    let key = derivation.key(given(passphrase)?, cipher.key_len())?;
    padded(cipher, &key, iv, sealed)
}

fn row<T>(table: &[Row<T>], oid: &[u8], what: &str) -> Result<T, KeyError> {
    let found = table.iter().find(|(known, _)| *known == oid);
    let (_, make) = found.ok_or_else(|| KeyError::Unsupported(format!("the {what} {}", Oid(oid))))?;
    Ok(make())
}

fn check_iterations(count: u64, most: u64) -> Result<(), KeyError> {
    match count {
        0 => Err(KeyError::Malformed("an iteration count of zero")),
        _ if count <= most => Ok(()),
        _ => Err(KeyError::TooCostly(format!("{count} iterations; {most} are accepted"))),
    }
}

fn derivation(mut algorithm: Der<'_>) -> Result<Derivation<'_>, KeyError> {
    let oid = algorithm.take(OID)?;
    let mut parameters = algorithm.sequence()?;
    algorithm.finish()?;
    let salt = parameters.take(OCTETS)?;
    let found = if oid == PBKDF2 {
        let iterations = parameters.small()?;
        check_iterations(iterations, ITERATIONS)?;
        // The key's length follows from the cipher.
        if parameters.tag() == Some(super::der::INTEGER) {
            parameters.small()?;
        }
        let mut hash = HMAC_SHA1;
        if parameters.tag() == Some(super::der::SEQUENCE) {
            let mut function = parameters.sequence()?;
            hash = function.take(OID)?;
            function.optional(NULL)?;
            function.finish()?;
        }
        Derivation::Pbkdf2 { salt, iterations, hash: row(HASHES, hash, "PBKDF2 hash")? }
    } else if oid == SCRYPT {
        let (n, r, p) = (parameters.small()?, parameters.small()?, parameters.small()?);
        check_scrypt(n, r, p)?;
        if parameters.tag().is_some() {
            parameters.small()?;
        }
        Derivation::Scrypt { salt, n, r, p }
    } else {
        return Err(KeyError::Unsupported(format!("the key derivation {}", Oid(oid))));
    };
    parameters.finish()?;
    Ok(found)
}

/// RFC 7914 §2 and our limits.
fn check_scrypt(n: u64, r: u64, p: u64) -> Result<(), KeyError> {
    if !n.is_power_of_two() || n < 2 || r == 0 || p == 0 {
        return Err(KeyError::Malformed("impossible scrypt parameters"));
    }
    let row = r.saturating_mul(128);
    let memory = row.saturating_mul(n.saturating_add(p));
    if memory > SCRYPT_MEMORY || row.saturating_mul(n).saturating_mul(p) > SCRYPT_WORK {
        return Err(KeyError::TooCostly(format!(
            "scrypt with N {n}, r {r}, p {p}; {} MiB of memory are accepted",
            SCRYPT_MEMORY >> 20
        )));
    }
    Ok(())
}

impl Derivation<'_> {
    fn key(&self, passphrase: &Secret, length: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let mut key = Zeroizing::new(vec![0; length]);
        match *self {
            Self::Pbkdf2 { salt, iterations, hash } => {
                let iterations = usize::try_from(iterations).unwrap_or(usize::MAX);
                pkcs5::pbkdf2_hmac(passphrase.expose(), salt, iterations, hash, &mut key)?;
            }
            Self::Scrypt { salt, n, r, p } => {
                // OpenSSL counts some small tables, too.
                let most = SCRYPT_MEMORY.saturating_mul(2);
                pkcs5::scrypt(passphrase.expose(), salt, n, r, p, most, &mut key)?;
            }
        }
        Ok(key)
    }
}
