//! Private keys from their numbers, held against each other: a file that was damaged or tampered
//! with gives an error, not another key. Nothing is computed before the sizes were looked at, and
//! whether the primes are prime is not asked: that takes minutes for large ones.

use openssl::bn::{BigNum, BigNumContext, BigNumRef};
use openssl::dsa::Dsa;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::pkey::{Id, PKey as OpensslKey, Private};
use openssl::rsa::RsaPrivateKeyBuilder;

use crate::key::algorithm::KeyType;
use crate::key::fields::{self, curve};
use crate::key::{KeyError, RSA_MAX};
use crate::wire::{Reader, put_mpint};

/// The numbers of the only size of DSA that there is, with a leading zero.
const DSS_BYTES: usize = 129;
const UNFIT: KeyError = KeyError::Malformed("an RSA key whose numbers do not fit together");
pub(super) const HALVES: KeyError = KeyError::Malformed("its public and private half are of different keys");

/// An RSA key's numbers, big-endian.
pub(super) struct RsaNumbers<'a> {
    pub(super) n: &'a [u8],
    pub(super) e: &'a [u8],
    pub(super) d: &'a [u8],
    pub(super) p: &'a [u8],
    pub(super) q: &'a [u8],
    /// The inverse of q modulo p.
    pub(super) iqmp: &'a [u8],
    /// d modulo p-1 and q-1, where the format has them.
    pub(super) exponents: Option<(&'a [u8], &'a [u8])>,
}

fn secret_number(bytes: &[u8]) -> Result<BigNum, KeyError> {
    let mut number = BigNum::new_secure()?;
    number.copy_from_slice(bytes)?;
    Ok(number)
}

pub(super) fn rsa(numbers: &RsaNumbers<'_>) -> Result<OpensslKey<Private>, KeyError> {
    let all = [numbers.n, numbers.e, numbers.d, numbers.p, numbers.q, numbers.iqmp];
    // One byte for a leading zero.
    if all.iter().any(|number| number.len() > RSA_MAX.div_ceil(8).saturating_add(1)) {
        return Err(KeyError::BadSize(format!("an RSA key larger than {RSA_MAX} bits")));
    }
    let (n, e) = (BigNum::from_slice(numbers.n)?, BigNum::from_slice(numbers.e)?);
    let [d, p, q, iqmp] = [
        secret_number(numbers.d)?,
        secret_number(numbers.p)?,
        secret_number(numbers.q)?,
        secret_number(numbers.iqmp)?,
    ];
    if p.num_bits() < 2 || q.num_bits() < 2 {
        return Err(KeyError::Malformed("an RSA key without its primes"));
    }
    let mut context = BigNumContext::new_secure()?;
    let mut product = |a: &BigNumRef, b: &BigNumRef, modulus: Option<&BigNumRef>| {
        let (mut whole, mut rest) = (BigNum::new_secure()?, BigNum::new_secure()?);
        whole.checked_mul(a, b, &mut context)?;
        let Some(modulus) = modulus else { return Ok::<_, KeyError>(whole) };
        rest.nnmod(&whole, modulus, &mut context)?;
        Ok(rest)
    };
    let one = BigNum::from_u32(1)?;
    let less_one = |prime: &BigNumRef| -> Result<BigNum, KeyError> {
        let mut out = BigNum::new_secure()?;
        out.checked_sub(prime, &one)?;
        Ok(out)
    };
    let (p_less, q_less) = (less_one(&p)?, less_one(&q)?);
    let fits = product(&p, &q, None)? == n
        && product(&d, &e, Some(&p_less))? == one
        && product(&d, &e, Some(&q_less))? == one
        && product(&iqmp, &q, Some(&p))? == one
        && d < n
        && iqmp < p;
    let (dp, dq) = (product(&d, &one, Some(&p_less))?, product(&d, &one, Some(&q_less))?);
    let given = match numbers.exponents {
        Some((first, second)) => secret_number(first)? == dp && secret_number(second)? == dq,
        None => true,
    };
    if !fits || !given {
        return Err(UNFIT);
    }
    let key = RsaPrivateKeyBuilder::new(n, e, d)?.set_factors(p, q)?.set_crt_params(dp, dq, iqmp)?.build();
    Ok(OpensslKey::from_rsa(key)?)
}

/// An ECDSA key from its secret number; the point, where the format has one, must be its own.
pub(super) fn ecdsa(
    kind: KeyType,
    secret: &[u8],
    point: Option<&[u8]>,
) -> Result<OpensslKey<Private>, KeyError> {
    let (nid, _) = curve(kind).ok_or(KeyError::Malformed("no curve"))?;
    let group = EcGroup::from_curve_name(nid)?;
    let secret = secret_number(secret)?;
    let mut order = BigNum::new()?;
    let mut context = BigNumContext::new_secure()?;
    group.order(&mut order, &mut context)?;
    if secret.num_bits() == 0 || secret >= order {
        return Err(KeyError::Malformed("an ECDSA key whose secret number is outside of its curve's"));
    }
    let mut own = EcPoint::new(&group)?;
    own.mul_generator2(&group, &secret, &mut context)?;
    if let Some(point) = point {
        let given = EcPoint::from_bytes(&group, point, &mut context).map_err(|_| HALVES)?;
        if !given.eq(&group, &own, &mut context)? {
            return Err(HALVES);
        }
    }
    Ok(OpensslKey::from_ec_key(EcKey::from_private_components(&group, &secret, &own)?)?)
}

/// An Edwards curve's key from its seed; the public half, where the format has one, must be its own.
pub(super) fn edwards(id: Id, seed: &[u8], public: Option<&[u8]>) -> Result<OpensslKey<Private>, KeyError> {
    let length = |_| KeyError::Malformed("a key of the wrong length");
    let key = OpensslKey::private_key_from_raw_bytes(seed, id).map_err(length)?;
    if let Some(public) = public
        && key.raw_public_key()? != public
    {
        return Err(HALVES);
    }
    Ok(key)
}

/// A DSA key's numbers, big-endian.
pub(super) struct DssNumbers<'a> {
    pub(super) p: &'a [u8],
    pub(super) q: &'a [u8],
    pub(super) g: &'a [u8],
    /// The public number, where the format has it.
    pub(super) y: Option<&'a [u8]>,
    pub(super) x: &'a [u8],
}

pub(super) fn dss(numbers: &DssNumbers<'_>) -> Result<OpensslKey<Private>, KeyError> {
    // Before anything is computed; the other sizes are looked at once the public number is there.
    if numbers.p.len() > DSS_BYTES || numbers.x.len() > DSS_BYTES {
        return Err(KeyError::BadSize("a DSA key larger than 1024 bits".to_owned()));
    }
    let [p, q, g, x] = [
        BigNum::from_slice(numbers.p)?,
        BigNum::from_slice(numbers.q)?,
        BigNum::from_slice(numbers.g)?,
        secret_number(numbers.x)?,
    ];
    let (mut y, mut context) = (BigNum::new()?, BigNumContext::new_secure()?);
    y.mod_exp(&g, &x, &p, &mut context)?;
    let mut public = Vec::new();
    for number in [&p, &q, &g, &y] {
        put_mpint(&mut public, &number.to_vec());
    }
    fields::read(KeyType::Dss, &mut Reader::new(&public))?;
    let given = numbers.y.map(BigNum::from_slice).transpose()?;
    if x >= q || given.is_some_and(|given| given != y) {
        return Err(HALVES);
    }
    Ok(OpensslKey::from_dsa(Dsa::from_private_components(p, q, g, x, y)?)?)
}
