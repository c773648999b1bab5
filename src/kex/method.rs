//! Every exchange as a key encapsulation: the client offers, the server answers, the client finishes.

use zeroize::Zeroizing;

use super::KexError;
use super::own::KexFinish;
use super::table::Kind;
use crate::crypto::dh::{self, DhKey, Group};
use crate::crypto::ec::{Curve, EcPrivate};
use crate::crypto::hash::HashAlg;
use crate::crypto::pq::{Kem, KemKey};
use crate::wire::{Encode, Mpint};

/// The shared secret as it is hashed: an encoded mpint, or for hybrids an encoded string.
pub(super) type Shared = Zeroizing<Vec<u8>>;

/// The client's private half between offer and finish.
pub(super) enum Offered {
    Ecdh(Curve, EcPrivate),
    Dh(DhKey),
    Own(KexFinish),
    Hybrid { kem: Kem, quantum_safe: KemKey, curve: Curve, classical: EcPrivate },
}

fn as_mpint(secret: &[u8]) -> Shared {
    Zeroizing::new(Mpint::from_unsigned(secret).to_vec())
}

/// draft-ietf-sshm-mlkem-hybrid-kex §2.4: the hash of both secrets, as a string.
fn combined(hash: HashAlg, quantum_safe: &[u8], classical: &[u8]) -> Result<Shared, KexError> {
    Ok(as_string(&hash.digest(&[quantum_safe, classical])?))
}

fn as_string(secret: &[u8]) -> Shared {
    let mut shared = Zeroizing::new(Vec::with_capacity(secret.len().saturating_add(4)));
    secret.encode(&mut shared);
    shared
}

/// The group of a method with a fixed one.
pub(super) fn fixed_group(kind: Kind) -> Result<Group, KexError> {
    match kind {
        Kind::Group(bits) => Ok(dh::fixed(bits)?),
        _ => Err(KexError::BadShare("no group")),
    }
}

/// The client's first half; finite-field methods take the group they run in.
pub(super) fn offer(kind: Kind, group: Option<&Group>) -> Result<(Offered, Vec<u8>), KexError> {
    Ok(match (kind, group) {
        (Kind::Ecdh(curve), _) => {
            let (key, share) = curve.generate()?;
            (Offered::Ecdh(curve, key), share)
        }
        (Kind::Hybrid(kem, curve), _) => {
            let (quantum_safe, mut share) = kem.generate()?;
            let (classical, classical_share) = curve.generate()?;
            share.extend_from_slice(&classical_share);
            (Offered::Hybrid { kem, quantum_safe, curve, classical }, share)
        }
        (Kind::Own(offer, _), _) => {
            let (share, finish) = offer()?;
            (Offered::Own(finish), share)
        }
        (Kind::Group(_) | Kind::GroupExchange, Some(group)) => {
            let (key, share) = DhKey::generate(group)?;
            (Offered::Dh(key), share)
        }
        (Kind::Group(_) | Kind::GroupExchange, None) => return Err(KexError::BadShare("no group")),
    })
}

/// The server's half: its share and the shared secret.
pub(super) fn answer(
    kind: Kind,
    hash: HashAlg,
    group: Option<&Group>,
    peer: &[u8],
) -> Result<(Vec<u8>, Shared), KexError> {
    let (kem, curve) = match kind {
        Kind::Hybrid(kem, curve) => (kem, curve),
        Kind::Own(_, answer) => {
            let (share, secret) = answer(peer)?;
            return Ok((share, as_string(secret.expose())));
        }
        _ => {
            let (offered, share) = offer(kind, group)?;
            let shared = offered.finish(hash, peer)?;
            return Ok((share, shared));
        }
    };
    let (public, classical_peer) = split(peer, kem.public_len())?;
    let (mut share, quantum_safe) = kem.encapsulate(public)?;
    let (classical, classical_share) = curve.generate()?;
    let classical = curve.agree(&classical, classical_peer)?;
    share.extend_from_slice(&classical_share);
    Ok((share, combined(hash, &quantum_safe, &classical)?))
}

/// Both parts of a hybrid's share. Each is refused by its own half if it has another length.
fn split(share: &[u8], first: usize) -> Result<(&[u8], &[u8]), KexError> {
    share.split_at_checked(first).ok_or(KexError::BadShare("a hybrid share of the wrong length"))
}

impl Offered {
    /// The client's second half: the shared secret with the server's share.
    pub(super) fn finish(&self, hash: HashAlg, peer: &[u8]) -> Result<Shared, KexError> {
        match self {
            Self::Ecdh(curve, key) => Ok(as_mpint(&curve.agree(key, peer)?)),
            Self::Own(finish) => Ok(as_string(finish(peer)?.expose())),
            Self::Dh(key) => Ok(as_mpint(&key.agree(peer)?)),
            Self::Hybrid { kem, quantum_safe, curve, classical } => {
                let (ciphertext, classical_peer) = split(peer, kem.ciphertext_len())?;
                let quantum_safe = quantum_safe.decapsulate(ciphertext)?;
                combined(hash, &quantum_safe, &curve.agree(classical, classical_peer)?)
            }
        }
    }
}
