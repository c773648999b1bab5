//! Every exchange as a key encapsulation: the client offers, the server answers, the client finishes.

use zeroize::Zeroizing;

use super::KexError;
use super::table::Kind;
use crate::crypto::dh::{DhKey, Group, rfc3526};
use crate::crypto::ec::{self, Curve, EcPrivate, X25519Private};
use crate::crypto::hash::HashAlg;
use crate::crypto::pq::{Kem, KemKey};
use crate::wire::{Encode, Mpint};

/// The shared secret as it is hashed: an encoded mpint, or for hybrids an encoded string.
pub(super) type Shared = Zeroizing<Vec<u8>>;

/// The client's private half between offer and finish.
pub(super) enum Offered {
    X25519(X25519Private),
    Nist(Curve, EcPrivate),
    Dh(DhKey),
    Hybrid(KemKey, X25519Private),
}

fn as_mpint(secret: &[u8]) -> Shared {
    Zeroizing::new(Mpint::from_unsigned(secret).to_vec())
}

/// draft-ietf-sshm-mlkem-hybrid-kex §2.4: the hash of both secrets, as a string.
fn combined(hash: HashAlg, quantum_safe: &[u8], classical: &[u8]) -> Result<Shared, KexError> {
    let digest = hash.digest(&[quantum_safe, classical])?;
    let mut shared = Zeroizing::new(Vec::with_capacity(digest.len().saturating_add(4)));
    digest.encode(&mut shared);
    Ok(shared)
}

/// The group of a method with a fixed one.
pub(super) fn fixed_group(kind: Kind) -> Result<Group, KexError> {
    match kind {
        Kind::Group(bits) => Ok(rfc3526(bits)?),
        _ => Err(KexError::BadShare("no group")),
    }
}

/// The client's first half; finite-field methods take the group they run in.
pub(super) fn offer(kind: Kind, group: Option<&Group>) -> Result<(Offered, Vec<u8>), KexError> {
    Ok(match (kind, group) {
        (Kind::X25519, _) => {
            let (key, share) = ec::x25519_generate()?;
            (Offered::X25519(key), share)
        }
        (Kind::Nist(curve), _) => {
            let (key, share) = ec::nist_generate(curve)?;
            (Offered::Nist(curve, key), share)
        }
        (Kind::Hybrid(kem), _) => {
            let (quantum_safe, mut share) = kem.generate()?;
            let (classical, classical_share) = ec::x25519_generate()?;
            share.extend_from_slice(&classical_share);
            (Offered::Hybrid(quantum_safe, classical), share)
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
    let Kind::Hybrid(kem) = kind else {
        let (offered, share) = offer(kind, group)?;
        let shared = offered.finish(hash, peer)?;
        return Ok((share, shared));
    };
    let (public, classical_peer) = split_exact(peer, kem.public_len())?;
    let (mut share, quantum_safe) = kem.encapsulate(public)?;
    let (classical, classical_share) = ec::x25519_generate()?;
    let classical = ec::x25519_agree(&classical, classical_peer)?;
    share.extend_from_slice(&classical_share);
    Ok((share, combined(hash, &quantum_safe, &classical)?))
}

/// Both parts of a hybrid's share; any other length is an error.
fn split_exact(share: &[u8], first: usize) -> Result<(&[u8], &[u8]), KexError> {
    share
        .split_at_checked(first)
        .filter(|(_, classical)| classical.len() == ec::X25519)
        .ok_or(KexError::BadShare("a hybrid share of the wrong length"))
}

impl Offered {
    /// The client's second half: the shared secret with the server's share.
    pub(super) fn finish(&self, hash: HashAlg, peer: &[u8]) -> Result<Shared, KexError> {
        match self {
            Self::X25519(key) => Ok(as_mpint(&ec::x25519_agree(key, peer)?)),
            Self::Nist(curve, key) => Ok(as_mpint(&ec::nist_agree(*curve, key, peer)?)),
            Self::Dh(key) => Ok(as_mpint(&key.agree(peer)?)),
            Self::Hybrid(key, classical) => {
                let kem = match key {
                    KemKey::MlKem768(_) => Kem::MlKem768,
                    KemKey::Sntrup761(_) => Kem::Sntrup761,
                };
                let (ciphertext, classical_peer) = split_exact(peer, kem.ciphertext_len())?;
                let quantum_safe = key.decapsulate(ciphertext)?;
                combined(hash, &quantum_safe, &ec::x25519_agree(classical, classical_peer)?)
            }
        }
    }
}
