//! Elliptic-curve Diffie-Hellman: X25519 and X448 (RFC 7748), and the NIST curves (RFC 5656).

use openssl::bn::BigNumContext;
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey, EcPoint, PointConversionForm};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private, Public};
use zeroize::Zeroizing;

use super::CryptoError;

/// The private half of an exchange.
pub(crate) type EcPrivate = PKey<Private>;

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    X25519,
    X448,
    P256,
    P384,
    P521,
}

/// How OpenSSL knows a curve.
enum Handle {
    /// Of RFC 7748, whose shares are coordinates.
    Raw(Id),
    /// Of NIST, whose shares are points.
    Nist(Nid),
}

impl Curve {
    fn handle(self) -> Handle {
        match self {
            Self::X25519 => Handle::Raw(Id::X25519),
            Self::X448 => Handle::Raw(Id::X448),
            Self::P256 => Handle::Nist(Nid::X9_62_PRIME256V1),
            Self::P384 => Handle::Nist(Nid::SECP384R1),
            Self::P521 => Handle::Nist(Nid::SECP521R1),
        }
    }

    /// The length of a share: a coordinate, or an uncompressed point.
    pub(crate) fn share_length(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::X448 => 56,
            Self::P256 => 65,
            Self::P384 => 97,
            Self::P521 => 133,
        }
    }

    /// A fresh key and its share.
    pub(crate) fn generate(self) -> Result<(EcPrivate, Vec<u8>), CryptoError> {
        match self.handle() {
            Handle::Raw(id) => {
                let key = if id == Id::X448 { PKey::generate_x448()? } else { PKey::generate_x25519()? };
                let share = key.raw_public_key()?;
                Ok((key, share))
            }
            Handle::Nist(nid) => {
                let group = EcGroup::from_curve_name(nid)?;
                let key = EcKey::generate(&group)?;
                let mut context = BigNumContext::new()?;
                let form = PointConversionForm::UNCOMPRESSED;
                let share = key.public_key().to_bytes(&group, form, &mut context)?;
                Ok((PKey::from_ec_key(key)?, share))
            }
        }
    }

    /// The shared secret with `peer`, the x coordinate in its full length. Refused are shares of another length,
    /// points that are not on the curve, and those of small order, which give an all-zero secret.
    pub(crate) fn agree(self, key: &EcPrivate, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        if peer.len() != self.share_length() {
            return Err(CryptoError(format!("an ECDH share of the wrong length for {self:?}")));
        }
        let peer = match self.handle() {
            Handle::Raw(id) => PKey::public_key_from_raw_bytes(peer, id)?,
            Handle::Nist(nid) => nist_public(nid, peer)?,
        };
        let secret = derive(key, &peer)?;
        if secret.iter().all(|byte| *byte == 0) {
            return Err(CryptoError(format!("an ECDH share of small order for {self:?}")));
        }
        Ok(secret)
    }
}

fn nist_public(nid: Nid, peer: &[u8]) -> Result<PKey<Public>, CryptoError> {
    let group = EcGroup::from_curve_name(nid)?;
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
    Ok(PKey::from_ec_key(public)?)
}

fn derive(key: &EcPrivate, peer: &PKey<Public>) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let mut deriver = Deriver::new(key)?;
    deriver.set_peer(peer)?;
    Ok(Zeroizing::new(deriver.derive_to_vec()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_on_every_curve() {
        for curve in [Curve::X25519, Curve::X448, Curve::P256, Curve::P384, Curve::P521] {
            let (ours, our_share) = curve.generate().unwrap();
            let (theirs, their_share) = curve.generate().unwrap();
            assert_eq!(our_share.len(), curve.share_length());
            assert_eq!(curve.agree(&ours, &their_share).unwrap(), curve.agree(&theirs, &our_share).unwrap());
            for bad in [&our_share[1..], &[0; 32], &[0; 56], &[&our_share[..], &[0]].concat(), &[]] {
                assert!(curve.agree(&ours, bad).is_err(), "{curve:?}");
            }
        }
    }

    /// Hybrids hash the x coordinate in its full length; one in 256 begins with a zero byte.
    #[test]
    fn leading_zeros_are_kept() {
        let (ours, _) = Curve::P256.generate().unwrap();
        let met = (0..10_000).any(|_| {
            let (_, share) = Curve::P256.generate().unwrap();
            let secret = Curve::P256.agree(&ours, &share).unwrap();
            assert_eq!(secret.len(), 32);
            secret.first() == Some(&0)
        });
        assert!(met);
    }
}
