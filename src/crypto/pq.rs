//! Post-quantum key encapsulation: ML-KEM-768 and ML-KEM-1024 (FIPS 203), Streamlined NTRU Prime 761.

use ::sntrup::sntrup761;
use ml_kem::array::Array;
use ml_kem::kem::{Decapsulate, KeyExport};
use ml_kem::{DecapsulationKey768, DecapsulationKey1024, EncapsulationKey768, EncapsulationKey1024};
use zeroize::{Zeroize, Zeroizing};

use super::{CryptoError, rand};

/// A key encapsulation mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kem {
    MlKem768,
    MlKem1024,
    Sntrup761,
}

/// The private half of an exchange.
pub(crate) enum KemKey {
    MlKem768(Box<DecapsulationKey768>),
    MlKem1024(Box<DecapsulationKey1024>),
    Sntrup761(Box<sntrup761::DecapsulationKey>),
}

impl Kem {
    /// The length of a public key on the wire.
    pub(crate) fn public_len(self) -> usize {
        match self {
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
            Self::Sntrup761 => 1158,
        }
    }

    /// The length of an encapsulated secret on the wire.
    pub(crate) fn ciphertext_len(self) -> usize {
        match self {
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
            Self::Sntrup761 => 1039,
        }
    }

    // As in `sntrup` below, neither this one nor its siblings are inlined: ML-KEM takes some 20 KiB of the stack.

    /// A fresh key and its public half.
    #[inline(never)]
    pub(crate) fn generate(self) -> Result<(KemKey, Vec<u8>), CryptoError> {
        match self {
            Self::MlKem768 => {
                let mut seed = rand::array::<64>()?;
                let key = DecapsulationKey768::from_seed(Array(seed));
                seed.zeroize();
                let public = key.encapsulation_key().to_bytes().to_vec();
                Ok((KemKey::MlKem768(Box::new(key)), public))
            }
            Self::MlKem1024 => {
                let mut seed = rand::array::<64>()?;
                let key = DecapsulationKey1024::from_seed(Array(seed));
                seed.zeroize();
                let public = key.encapsulation_key().to_bytes().to_vec();
                Ok((KemKey::MlKem1024(Box::new(key)), public))
            }
            Self::Sntrup761 => sntrup::generate(),
        }
    }

    /// A secret for the owner of `public`: the ciphertext and the secret.
    #[inline(never)]
    pub(crate) fn encapsulate(self, public: &[u8]) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), CryptoError> {
        let bad = || CryptoError("a post-quantum share that is no public key".to_owned());
        match self {
            Self::MlKem768 => {
                let public = Array::try_from(public).map_err(|_| bad())?;
                let public = EncapsulationKey768::new(&public).map_err(|_| bad())?;
                let mut random = rand::array::<32>()?;
                let (ciphertext, secret) = public.encapsulate_deterministic(&Array(random));
                random.zeroize();
                Ok((ciphertext.to_vec(), Zeroizing::new(secret.to_vec())))
            }
            Self::MlKem1024 => {
                let public = Array::try_from(public).map_err(|_| bad())?;
                let public = EncapsulationKey1024::new(&public).map_err(|_| bad())?;
                let mut random = rand::array::<32>()?;
                let (ciphertext, secret) = public.encapsulate_deterministic(&Array(random));
                random.zeroize();
                Ok((ciphertext.to_vec(), Zeroizing::new(secret.to_vec())))
            }
            Self::Sntrup761 => sntrup::encapsulate(public).unwrap_or_else(|| Err(bad())),
        }
    }
}

impl KemKey {
    /// The secret in `ciphertext`. A ciphertext that was tampered with gives another secret.
    #[inline(never)]
    pub(crate) fn decapsulate(&self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let bad = || CryptoError("a post-quantum share of the wrong length".to_owned());
        match self {
            Self::MlKem768(key) => {
                let ciphertext = Array::try_from(ciphertext).map_err(|_| bad())?;
                Ok(Zeroizing::new(key.decapsulate(&ciphertext).to_vec()))
            }
            Self::MlKem1024(key) => {
                let ciphertext = Array::try_from(ciphertext).map_err(|_| bad())?;
                Ok(Zeroizing::new(key.decapsulate(&ciphertext).to_vec()))
            }
            Self::Sntrup761(key) => sntrup::decapsulate(key, ciphertext).ok_or_else(bad),
        }
    }
}

/// Never inlined: the crate's working space lies on the stack, dozens of pages, and a caller that it
/// was inlined into would touch them even for another exchange. A connection keeps what it touched.
mod sntrup {
    use super::{CryptoError, KemKey, Zeroizing, rand, sntrup761};

    type Pair = (Vec<u8>, Zeroizing<Vec<u8>>);

    #[inline(never)]
    pub(super) fn generate() -> Result<(KemKey, Vec<u8>), CryptoError> {
        let mut random = rand::Generator::default();
        let (public, key) = sntrup761::generate_key(&mut random);
        random.check()?;
        Ok((KemKey::Sntrup761(Box::new(key)), public.as_ref().to_vec()))
    }

    /// None when `public` is no key.
    #[inline(never)]
    pub(super) fn encapsulate(public: &[u8]) -> Option<Result<Pair, CryptoError>> {
        let public = sntrup761::EncapsulationKey::try_from(public).ok()?;
        let mut random = rand::Generator::default();
        let (ciphertext, secret) = public.encapsulate(&mut random);
        let pair = (ciphertext.as_ref().to_vec(), Zeroizing::new(secret.as_ref().to_vec()));
        Some(random.check().map(|()| pair))
    }

    /// None when `ciphertext` has another length.
    #[inline(never)]
    pub(super) fn decapsulate(
        key: &sntrup761::DecapsulationKey,
        ciphertext: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let ciphertext = sntrup761::Ciphertext::try_from(ciphertext).ok()?;
        Some(Zeroizing::new(key.decapsulate(&ciphertext).as_ref().to_vec()))
    }
}
