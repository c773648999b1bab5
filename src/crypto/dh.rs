//! Diffie-Hellman in finite fields: RFC 4253 §8, groups of RFC 2409 and RFC 3526.

use openssl::bn::{BigNum, BigNumContext, MsbOption};
use zeroize::Zeroizing;

use super::CryptoError;

/// Bits of the private exponent: twice the strength of the strongest cipher, as OpenSSH takes.
const EXPONENT_BITS: i32 = 512;

/// A group: prime and generator, big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) p: Vec<u8>,
    pub(crate) g: Vec<u8>,
}

/// The group of RFC 3526 with that many bits, if it has one that is at least 2048 bits strong; with 1024 bits
/// the second of RFC 2409, which RFC 4253 calls group1.
pub(crate) fn fixed(bits: usize) -> Result<Group, CryptoError> {
    let p = match bits {
        1024 => BigNum::get_rfc2409_prime_1024()?,
        2048 => BigNum::get_rfc3526_prime_2048()?,
        3072 => BigNum::get_rfc3526_prime_3072()?,
        4096 => BigNum::get_rfc3526_prime_4096()?,
        6144 => BigNum::get_rfc3526_prime_6144()?,
        8192 => BigNum::get_rfc3526_prime_8192()?,
        _ => return Err(CryptoError("no such group".to_owned())),
    };
    Ok(Group { p: p.to_vec(), g: vec![2] })
}

/// The private half of an exchange.
pub(crate) struct DhKey {
    p: BigNum,
    x: BigNum,
}

impl Drop for DhKey {
    fn drop(&mut self) {
        self.x.clear();
    }
}

impl DhKey {
    /// A fresh key in `group` and its share g^x mod p.
    pub(crate) fn generate(group: &Group) -> Result<(Self, Vec<u8>), CryptoError> {
        let p = BigNum::from_slice(&group.p)?;
        let g = BigNum::from_slice(&group.g)?;
        let mut x = BigNum::new_secure()?;
        x.rand(EXPONENT_BITS, MsbOption::ONE, false)?;
        x.set_const_time();
        let mut share = BigNum::new()?;
        share.mod_exp(&g, &x, &p, &mut *BigNumContext::new_secure()?)?;
        Ok((Self { p, x }, share.to_vec()))
    }

    /// The shared secret with `peer`, which must lie strictly between 1 and p - 1.
    pub(crate) fn agree(&self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let peer = BigNum::from_slice(peer)?;
        let one = BigNum::from_u32(1)?;
        let mut top = BigNum::new()?;
        top.checked_sub(&self.p, &one)?;
        if peer <= one || peer >= top {
            return Err(CryptoError("a Diffie-Hellman share out of range".to_owned()));
        }
        let mut secret = BigNum::new_secure()?;
        secret.mod_exp(&peer, &self.x, &self.p, &mut *BigNumContext::new_secure()?)?;
        let bytes = Zeroizing::new(secret.to_vec());
        secret.clear();
        Ok(bytes)
    }
}
