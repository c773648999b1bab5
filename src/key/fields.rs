//! The numbers of a public key, as they follow its type's name in blobs and certificates: RFC 4253
//! §6.6, RFC 5656 §3.1, RFC 8709 §4, OpenSSH's PROTOCOL.u2f.

use openssl::bn::{BigNum, BigNumContext};
use openssl::dsa::Dsa;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Rsa;

use super::KeyError;
use super::algorithm::KeyType;
use crate::wire::{Mpint, Reader};

/// RSA keys shorter than this verify and sign nothing unless somebody said so (NIST SP 800-131A).
pub(crate) const RSA_MIN: usize = 2048;
/// And shorter than this never; OpenSSH's figure. Shorter keys have been broken by amateurs.
pub(crate) const RSA_FLOOR: usize = 1024;
/// Longer ones only burn time; OpenSSH's and Go's figure.
pub(crate) const RSA_MAX: usize = 16384;
/// The only size that RFC 4253 knows for DSA.
const DSS_BITS: usize = 1024;
/// Its subgroup's.
const DSS_SUBGROUP_BITS: usize = 160;
/// What a token's key is bound to, `ssh:` and a name; OpenSSH's examples have a dozen characters.
const APPLICATION_BYTES: usize = 1024;

/// A public key ready to verify with.
pub(super) struct Fields {
    /// None for the types of users' own.
    pub(super) key: Option<PKey<Public>>,
    /// What a token's key is bound to; empty for other keys.
    pub(super) application: Vec<u8>,
}

/// The curve of an ECDSA key and its name inside the blob.
pub(super) fn curve(kind: KeyType) -> Option<(Nid, &'static [u8])> {
    match kind {
        KeyType::EcdsaP256 | KeyType::SkEcdsa => Some((Nid::X9_62_PRIME256V1, b"nistp256")),
        KeyType::EcdsaP384 => Some((Nid::SECP384R1, b"nistp384")),
        KeyType::EcdsaP521 => Some((Nid::SECP521R1, b"nistp521")),
        _ => None,
    }
}

/// Reads the fields of a key of type `kind`; what follows them is left.
pub(super) fn read(kind: KeyType, reader: &mut Reader<'_>) -> Result<Fields, KeyError> {
    let key = match kind {
        KeyType::Ed25519 | KeyType::SkEd25519 => edwards(Id::ED25519, 32, reader.string()?)?,
        KeyType::Ed448 => edwards(Id::ED448, 57, reader.string()?)?,
        KeyType::Rsa => {
            let (e, n) = (reader.get::<Mpint<'_>>()?, reader.get::<Mpint<'_>>()?);
            rsa(e, n)?
        }
        KeyType::Dss => dss([reader.get()?, reader.get()?, reader.get()?, reader.get()?])?,
        KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 | KeyType::SkEcdsa => {
            let (nid, curve_name) = curve(kind).ok_or(KeyError::Malformed("no curve"))?;
            if reader.string()? != curve_name {
                return Err(KeyError::Malformed("the curve is not the one of its type"));
            }
            ecdsa(nid, reader.string()?)?
        }
        KeyType::Own => return Err(KeyError::Malformed("a key of a user's own type")),
    };
    let application = if kind.is_token() { reader.string()?.to_vec() } else { Vec::new() };
    if application.len() > APPLICATION_BYTES {
        return Err(KeyError::Malformed("a token's key with an endless application name"));
    }
    Ok(Fields { key: Some(key), application })
}

fn edwards(id: Id, length: usize, raw: &[u8]) -> Result<PKey<Public>, KeyError> {
    if raw.len() != length {
        return Err(KeyError::Malformed("an Ed25519 key has 32 bytes, an Ed448 key 57"));
    }
    Ok(PKey::public_key_from_raw_bytes(raw, id)?)
}

fn rsa(e: Mpint<'_>, n: Mpint<'_>) -> Result<PKey<Public>, KeyError> {
    // Before any arithmetic: CVE-2026-39829.
    let odd = |number: Mpint<'_>| number.magnitude().last().is_some_and(|byte| byte & 1 == 1);
    if n.bits() > RSA_MAX || n.bits() < RSA_FLOOR {
        return Err(KeyError::BadSize(format!("an RSA key of {} bits is refused", n.bits())));
    }
    if e.bits() < 2 || e.bits() > 64 || !odd(e) || !odd(n) {
        return Err(KeyError::Malformed("an RSA key with an impossible exponent or modulus"));
    }
    let key =
        Rsa::from_public_components(BigNum::from_slice(n.magnitude())?, BigNum::from_slice(e.magnitude())?)?;
    Ok(PKey::from_rsa(key)?)
}

fn dss([p, q, g, y]: [Mpint<'_>; 4]) -> Result<PKey<Public>, KeyError> {
    if p.bits() != DSS_BITS || q.bits() != DSS_SUBGROUP_BITS {
        return Err(KeyError::BadSize(format!(
            "a DSA key of {} bits over {} is refused: only {DSS_BITS} over {DSS_SUBGROUP_BITS} is defined",
            p.bits(),
            q.bits()
        )));
    }
    let [p, q, g, y] = [big(p.magnitude())?, big(q.magnitude())?, big(g.magnitude())?, big(y.magnitude())?];
    let one = BigNum::from_u32(1)?;
    let inside = |number: &BigNum| *number > one && *number < p;
    let mut context = BigNumContext::new()?;
    let mut power = BigNum::new()?;
    if !inside(&g) || !inside(&y) || !p.is_odd() {
        return Err(KeyError::Malformed("a DSA key with impossible numbers"));
    }
    power.mod_exp(&y, &q, &p, &mut context)?;
    if power != one {
        return Err(KeyError::Malformed("a DSA key outside of its group"));
    }
    Ok(PKey::from_dsa(Dsa::from_public_components(p, q, g, y)?)?)
}

fn ecdsa(nid: Nid, point: &[u8]) -> Result<PKey<Public>, KeyError> {
    if point.first() != Some(&4) {
        return Err(KeyError::Malformed("an ECDSA key that is no uncompressed point"));
    }
    let group = EcGroup::from_curve_name(nid)?;
    let mut context = BigNumContext::new()?;
    let off = |_| KeyError::Malformed("an ECDSA key that is not on its curve");
    let point = EcPoint::from_bytes(&group, point, &mut context).map_err(off)?;
    let key = EcKey::from_public_key(&group, &point)?;
    key.check_key().map_err(off)?;
    Ok(PKey::from_ec_key(key)?)
}

fn big(magnitude: &[u8]) -> Result<BigNum, KeyError> {
    Ok(BigNum::from_slice(magnitude)?)
}
