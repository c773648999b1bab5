//! Private keys in DER: PKCS#8 (RFC 5208, RFC 5958, RFC 8410), PKCS#1 (RFC 8017), SEC1 (RFC 5915).
//!
//! OpenSSL sees the numbers only, never the file: no curve but by its name, nothing left over.

use openssl::pkey::{Id, PKey as OpensslKey, Private};

use super::der::{self, Der, INTEGER, NULL, OCTETS, OID, Oid, SEQUENCE};
use super::parts::{self, DssNumbers, RsaNumbers};
use super::pbe;
use crate::crypto::secret::Secret;
use crate::key::KeyError;
use crate::key::algorithm::KeyType;

type Key = Result<OpensslKey<Private>, KeyError>;

/// How a key type stands in PKCS#8.
struct Algorithm {
    oid: &'static [u8],
    /// From the algorithm's parameters, the private and, in RFC 5958, the public key.
    read: fn(Der<'_>, &[u8], Option<&[u8]>) -> Key,
}

pub(super) const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
pub(super) const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
pub(super) const ED25519: &[u8] = b"\x2b\x65\x70";
pub(super) const ED448: &[u8] = b"\x2b\x65\x71";
pub(super) const DSA: &[u8] = b"\x2a\x86\x48\xce\x38\x04\x01";

static ALGORITHMS: &[Algorithm] = &[
    Algorithm { oid: RSA, read: rsa },
    Algorithm { oid: EC, read: ec },
    Algorithm { oid: ED25519, read: |parameters, key, public| edwards(Id::ED25519, parameters, key, public) },
    Algorithm { oid: ED448, read: |parameters, key, public| edwards(Id::ED448, parameters, key, public) },
    Algorithm { oid: DSA, read: dsa },
];

static CURVES: &[(&[u8], KeyType)] = &[
    (b"\x2a\x86\x48\xce\x3d\x03\x01\x07", KeyType::EcdsaP256),
    (b"\x2b\x81\x04\x00\x22", KeyType::EcdsaP384),
    (b"\x2b\x81\x04\x00\x23", KeyType::EcdsaP521),
];

/// The ECDSA type whose curve has this name.
pub(super) fn curve(oid: &[u8]) -> Result<KeyType, KeyError> {
    let found = CURVES.iter().find(|(name, _)| *name == oid);
    found.map(|(_, kind)| *kind).ok_or_else(|| {
        KeyError::Unsupported("an elliptic curve other than P-256, P-384 and P-521".to_owned())
    })
}

/// The curve in the parameters of an EC key. Curves given by their numbers are not taken: they may
/// be any, and cost any time.
pub(super) fn named_curve(mut parameters: Der<'_>) -> Result<KeyType, KeyError> {
    if parameters.tag() == Some(SEQUENCE) {
        return Err(KeyError::Unsupported("an elliptic curve that is not given by its name".to_owned()));
    }
    let kind = curve(parameters.take(OID)?)?;
    parameters.finish()?;
    Ok(kind)
}

/// The parameters of an RSA key: NULL or nothing.
pub(super) fn no_parameters(mut parameters: Der<'_>) -> Result<(), KeyError> {
    parameters.optional(NULL)?;
    parameters.finish()
}

/// Reads DER of whatever kind; what kind is seen from its first elements.
pub(super) fn read(bytes: &[u8], passphrase: Option<&Secret>) -> Key {
    let mut inside = Der::whole(bytes)?;
    let first = inside.tag();
    let version = if first == Some(INTEGER) { inside.small()? } else { 0 };
    let second = if first == Some(SEQUENCE) {
        inside.sequence()?;
        inside.tag()
    } else {
        inside.tag()
    };
    match (first, version, second) {
        (Some(SEQUENCE), _, Some(OCTETS)) => encrypted(bytes, passphrase),
        (Some(INTEGER), _, Some(SEQUENCE)) => private_info(bytes),
        (Some(INTEGER), 1, Some(OCTETS)) => sec1(bytes, None, None),
        (Some(INTEGER), _, Some(INTEGER)) => by_numbers(bytes),
        (Some(SEQUENCE), _, Some(der::BITS)) => {
            Err(KeyError::Malformed("this is a public key; name the private key's file"))
        }
        _ => Err(KeyError::Malformed("DER that is no private key")),
    }
}

/// PKCS#1, or a DSA key as OpenSSL wrote it: nothing but numbers, nine or six.
fn by_numbers(bytes: &[u8]) -> Key {
    let mut numbers = Der::whole(bytes)?;
    let mut count = 0_u32;
    while numbers.tag().is_some() {
        numbers.unsigned()?;
        count = count.saturating_add(1);
    }
    if count == 6 { dsa_numbers(bytes) } else { pkcs1(bytes) }
}

/// An EncryptedPrivateKeyInfo.
pub(super) fn encrypted(bytes: &[u8], passphrase: Option<&Secret>) -> Key {
    let plain = pbe::open(bytes, passphrase)?;
    // One wrong passphrase in 256 leaves a padding that fits.
    Der::whole(&plain).map_err(|_| KeyError::WrongPassphrase)?;
    private_info(&plain)
}

/// A PrivateKeyInfo or OneAsymmetricKey.
pub(super) fn private_info(bytes: &[u8]) -> Key {
    let mut info = Der::whole(bytes)?;
    if info.small()? > 1 {
        return Err(KeyError::Unsupported("a later version of PKCS#8".to_owned()));
    }
    let mut algorithm = info.sequence()?;
    let oid = algorithm.take(OID)?;
    let key = info.take(OCTETS)?;
    // Attributes say nothing about the key.
    info.optional(0xa0)?;
    let public = info.optional(0x81)?.map(der::whole_bytes).transpose()?;
    info.finish()?;
    let found = ALGORITHMS.iter().find(|known| known.oid == oid);
    let found = found.ok_or_else(|| KeyError::Unsupported(format!("a PKCS#8 key of type {}", Oid(oid))))?;
    (found.read)(algorithm, key, public)
}

fn rsa(parameters: Der<'_>, key: &[u8], _: Option<&[u8]>) -> Key {
    no_parameters(parameters)?;
    pkcs1(key)
}

fn ec(parameters: Der<'_>, key: &[u8], public: Option<&[u8]>) -> Key {
    sec1(key, Some(named_curve(parameters)?), public)
}

fn edwards(id: Id, parameters: Der<'_>, key: &[u8], public: Option<&[u8]>) -> Key {
    parameters.finish()?;
    let mut inner = Der::new(key);
    let seed = inner.take(OCTETS)?;
    inner.finish()?;
    parts::edwards(id, seed, public)
}

/// p, q and g in the parameters of a DSA key.
pub(super) fn dsa_group(mut parameters: Der<'_>) -> Result<[&[u8]; 3], KeyError> {
    let mut group = parameters.sequence()?;
    let numbers = [group.unsigned()?, group.unsigned()?, group.unsigned()?];
    group.finish()?;
    parameters.finish()?;
    Ok(numbers)
}

fn dsa(parameters: Der<'_>, key: &[u8], _: Option<&[u8]>) -> Key {
    let [p, q, g] = dsa_group(parameters)?;
    let mut inner = Der::new(key);
    let x = inner.unsigned()?;
    inner.finish()?;
    parts::dss(&DssNumbers { p, q, g, y: None, x })
}

/// A DSA key as OpenSSL wrote it before PKCS#8; no standard has it.
pub(super) fn dsa_numbers(bytes: &[u8]) -> Key {
    let mut numbers = Der::whole(bytes)?;
    if numbers.small()? != 0 {
        return Err(KeyError::Unsupported("a DSA key of another version".to_owned()));
    }
    let mut next = || numbers.unsigned();
    let (p, q, g, y, x) = (next()?, next()?, next()?, next()?, next()?);
    numbers.finish()?;
    parts::dss(&DssNumbers { p, q, g, y: Some(y), x })
}

/// An RSAPrivateKey.
pub(super) fn pkcs1(bytes: &[u8]) -> Key {
    let mut numbers = Der::whole(bytes)?;
    if numbers.small()? != 0 {
        return Err(KeyError::Unsupported("an RSA key of more than two primes".to_owned()));
    }
    let mut next = || numbers.unsigned();
    let (n, e, d, p, q, dp, dq, iqmp) =
        (next()?, next()?, next()?, next()?, next()?, next()?, next()?, next()?);
    numbers.finish()?;
    parts::rsa(&RsaNumbers { n, e, d, p, q, iqmp, exponents: Some((dp, dq)) })
}

/// An ECPrivateKey; inside of PKCS#8 the curve, and sometimes the point, are known from outside.
pub(super) fn sec1(bytes: &[u8], outside: Option<KeyType>, public: Option<&[u8]>) -> Key {
    let mut key = Der::whole(bytes)?;
    if key.small()? != 1 {
        return Err(KeyError::Malformed("an EC key of an unknown version"));
    }
    let secret = key.take(OCTETS)?;
    let inside = key.optional(0xa0)?.map(|parameters| named_curve(Der::new(parameters))).transpose()?;
    let mut point = None;
    if let Some(content) = key.optional(0xa1)? {
        let mut content = Der::new(content);
        point = Some(content.bits()?);
        content.finish()?;
    }
    key.finish()?;
    let kind = inside.or(outside).ok_or(KeyError::Malformed("an EC key without its curve"))?;
    if outside.is_some_and(|outside| outside != kind) {
        return Err(KeyError::Malformed("an EC key that names two curves"));
    }
    if let (Some(one), Some(other)) = (point, public)
        && one != other
    {
        return Err(parts::HALVES);
    }
    parts::ecdsa(kind, secret, point.or(public))
}
