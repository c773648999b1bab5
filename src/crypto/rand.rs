//! The one source of random bytes: OpenSSL's generator, seeded by the operating system.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

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

/// The same bytes for a crate that draws them itself and takes no error: whoever lends it one asks
/// [`check`](Generator::check) before using what came of it.
#[derive(Default)]
pub(crate) struct Generator {
    failed: Option<CryptoError>,
    filler: u64,
}

impl Generator {
    /// The error of any draw that failed. What was made from it must be thrown away.
    pub(crate) fn check(self) -> Result<(), CryptoError> {
        self.failed.map_or(Ok(()), Err)
    }

    /// After a failure: bytes that vary, because a borrower may draw until it likes what it got.
    fn fill_or_note(&mut self, out: &mut [u8]) {
        if self.failed.is_none() {
            self.failed = fill(out).err();
        }
        if self.failed.is_some() {
            for byte in out {
                // Knuth's MMIX generator.
                self.filler = self
                    .filler
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                *byte = self.filler.to_be_bytes()[0];
            }
        }
    }
}

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut out = [0; 4];
        self.fill_or_note(&mut out);
        Ok(u32::from_le_bytes(out))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut out = [0; 8];
        self.fill_or_note(&mut out);
        Ok(u64::from_le_bytes(out))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.fill_or_note(out);
        Ok(())
    }
}

impl TryCryptoRng for Generator {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_draw_ends_the_borrower_and_is_reported() {
        let mut random = Generator { failed: Some(CryptoError("no entropy".to_owned())), filler: 0 };
        let _ = sntrup::sntrup761::generate_key(&mut random);
        assert!(random.check().is_err());
    }
}
