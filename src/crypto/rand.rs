//! The one source of random bytes: OpenSSL's generator, seeded by the operating system.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use zeroize::{Zeroize, Zeroizing};

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

/// How much a borrower's small draws are served from: one of OpenSSL's takes longer than making these bytes, and a
/// key of sntrup761 is some 800 draws of four.
const AHEAD: usize = 1024;

/// The same bytes for a crate that draws them itself and takes no error: whoever lends it one asks
/// [`check`](Generator::check) before using what came of it.
pub(crate) struct Generator {
    /// Drawn already; what was given out is zero again.
    ahead: Zeroizing<[u8; AHEAD]>,
    /// How much of it was given out.
    given: usize,
    failed: Option<CryptoError>,
    filler: u64,
}

impl Default for Generator {
    fn default() -> Self {
        Self { ahead: Zeroizing::new([0; AHEAD]), given: AHEAD, failed: None, filler: 0 }
    }
}

impl Generator {
    /// The error of any draw that failed. What was made from it must be thrown away.
    pub(crate) fn check(self) -> Result<(), CryptoError> {
        self.failed.map_or(Ok(()), Err)
    }

    /// A small draw.
    fn small<const N: usize>(&mut self) -> [u8; N] {
        if self.ahead.len().saturating_sub(self.given) < N {
            let mut ahead = Zeroizing::new([0; AHEAD]);
            self.fill_or_note(&mut *ahead);
            (self.ahead, self.given) = (ahead, 0);
        }
        let mut out = [0; N];
        let end = self.given.saturating_add(N);
        if let Some(drawn) = self.ahead.get_mut(self.given..end) {
            out.copy_from_slice(drawn);
            drawn.zeroize();
        }
        self.given = end;
        out
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
        Ok(u32::from_le_bytes(self.small()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.small()))
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

    /// Through several fills, in draws of two sizes: no byte is given twice, none is left behind.
    #[test]
    fn small_draws_are_all_different() {
        let mut random = Generator::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..AHEAD {
            let Ok(large) = random.try_next_u64();
            let Ok(first) = random.try_next_u32();
            let Ok(second) = random.try_next_u32();
            for drawn in [large, u64::from(first) << 32 | u64::from(second)] {
                assert!(seen.insert(drawn), "{drawn} came twice");
            }
        }
        assert!(random.ahead[..random.given].iter().all(|byte| *byte == 0));
        random.check().unwrap();
    }

    #[test]
    fn a_failed_draw_ends_the_borrower_and_is_reported() {
        let mut random =
            Generator { failed: Some(CryptoError("no entropy".to_owned())), ..Generator::default() };
        let _ = sntrup::sntrup761::generate_key(&mut random);
        assert!(random.check().is_err());
    }
}
