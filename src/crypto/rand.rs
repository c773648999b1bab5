//! The one source of random bytes: OpenSSL's generator, seeded by the operating system.

use super::CryptoError;

/// Fills `out` with random bytes fit for keys.
pub(crate) fn fill(out: &mut [u8]) -> Result<(), CryptoError> {
    openssl::rand::rand_priv_bytes(out).map_err(CryptoError::from)
}

/// `N` random bytes.
pub(crate) fn array<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut out = [0; N];
    fill(&mut out)?;
    Ok(out)
}
