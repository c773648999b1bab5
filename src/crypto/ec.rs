//! Elliptic-curve Diffie-Hellman: X25519 (RFC 7748) and the NIST curves (RFC 5656).

use openssl::bn::BigNumContext;
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey, EcPoint, PointConversionForm};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private, Public};
use zeroize::Zeroizing;

use super::CryptoError;

/// The length of an X25519 share and secret.
pub(crate) const X25519: usize = 32;

/// The private half of an X25519 exchange.
pub(crate) type X25519Private = PKey<Private>;
/// The private half of an exchange on a NIST curve.
pub(crate) type EcPrivate = EcKey<Private>;

/// A NIST curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    fn nid(self) -> Nid {
        match self {
            Self::P256 => Nid::X9_62_PRIME256V1,
            Self::P384 => Nid::SECP384R1,
            Self::P521 => Nid::SECP521R1,
        }
    }
}

/// A fresh X25519 key and its share.
pub(crate) fn x25519_generate() -> Result<(PKey<Private>, Vec<u8>), CryptoError> {
    let key = PKey::generate_x25519()?;
    let share = key.raw_public_key()?;
    Ok((key, share))
}

/// The shared secret with `peer`; an all-zero one (a point of small order) is refused.
pub(crate) fn x25519_agree(key: &PKey<Private>, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    if peer.len() != X25519 {
        return Err(CryptoError("an X25519 share of the wrong length".to_owned()));
    }
    let peer = PKey::public_key_from_raw_bytes(peer, Id::X25519)?;
    let secret = derive(key, &peer)?;
    if secret.iter().all(|byte| *byte == 0) {
        return Err(CryptoError("an X25519 share of small order".to_owned()));
    }
    Ok(secret)
}

fn derive(key: &PKey<Private>, peer: &PKey<Public>) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let mut deriver = Deriver::new(key)?;
    deriver.set_peer(peer)?;
    Ok(Zeroizing::new(deriver.derive_to_vec()?))
}

/// A fresh key on a NIST curve and its share, an uncompressed point.
pub(crate) fn nist_generate(curve: Curve) -> Result<(EcKey<Private>, Vec<u8>), CryptoError> {
    let group = EcGroup::from_curve_name(curve.nid())?;
    let key = EcKey::generate(&group)?;
    let mut context = BigNumContext::new()?;
    let share = key.public_key().to_bytes(&group, PointConversionForm::UNCOMPRESSED, &mut context)?;
    Ok((key, share))
}

/// The shared x coordinate with `peer`, which must be an uncompressed point on the curve.
pub(crate) fn nist_agree(
    curve: Curve,
    key: &EcKey<Private>,
    peer: &[u8],
) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let group = EcGroup::from_curve_name(curve.nid())?;
    let mut context = BigNumContext::new()?;
    if peer.first() != Some(&4) {
        return Err(CryptoError("an ECDH share that is no uncompressed point".to_owned()));
    }
    // Fails for points that are not on the curve.
    let point = EcPoint::from_bytes(&group, peer, &mut context)?;
    if point.is_infinity(&group) || !point.is_on_curve(&group, &mut context)? {
        return Err(CryptoError("an ECDH share that is not on the curve".to_owned()));
    }
    let public = EcKey::from_public_key(&group, &point)?;
    public.check_key()?;
    derive(&PKey::from_ec_key(key.clone())?, &PKey::from_ec_key(public)?)
}
