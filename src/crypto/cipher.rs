//! AES in the two modes of SSH: GCM (RFC 5647) and counter mode (RFC 4344 §4).
//!
//! A context keeps its expanded key for life; a packet costs a new nonce at most. All work is done in
//! place. Knows nothing of packets.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::as_conversions))]

use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::{CipherCtx, CipherCtxRef};

use super::CryptoError;

/// The authentication tag of GCM in SSH.
pub(crate) const GCM_TAG: usize = 16;

/// Whether the processor has AES instructions. Without them ChaCha20 is several times faster than AES,
/// and AES from tables leaks through the cache.
pub(crate) fn has_aes_instructions() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// AES-GCM with the nonce of RFC 5647 §7.1: four fixed bytes and a counter of messages.
pub(crate) struct AesGcm {
    context: CipherCtx,
    fixed: [u8; 4],
    invocation: u64,
}

impl AesGcm {
    /// `key` has 16 or 32 bytes; `nonce` is that of the first message.
    pub(crate) fn new(key: &[u8], nonce: &[u8; 12]) -> Result<Self, CryptoError> {
        let cipher = match key.len() {
            16 => Cipher::aes_128_gcm(),
            32 => Cipher::aes_256_gcm(),
            length => return Err(key_length("AES-GCM", length)),
        };
        let [a, b, c, d, counter @ ..] = *nonce;
        let context = keyed(cipher, key, nonce)?;
        Ok(Self { context, fixed: [a, b, c, d], invocation: u64::from_be_bytes(counter) })
    }

    /// Encrypts `data` and authenticates `associated` with it.
    pub(crate) fn seal(&mut self, associated: &[u8], data: &mut [u8]) -> Result<[u8; GCM_TAG], CryptoError> {
        let nonce = self.next_nonce();
        let mut tag = [0; GCM_TAG];
        self.context.encrypt_init(None, None, Some(&nonce))?;
        self.context.cipher_update(associated, None)?;
        update_in_place(&mut self.context, data)?;
        self.context.cipher_final(&mut [])?;
        self.context.tag(&mut tag)?;
        Ok(tag)
    }

    /// Decrypts `data`. `false`: the tag is wrong and `data` must not be looked at.
    pub(crate) fn open(
        &mut self,
        associated: &[u8],
        data: &mut [u8],
        tag: &[u8; GCM_TAG],
    ) -> Result<bool, CryptoError> {
        let nonce = self.next_nonce();
        self.context.decrypt_init(None, None, Some(&nonce))?;
        self.context.set_tag(tag)?;
        self.context.cipher_update(associated, None)?;
        update_in_place(&mut self.context, data)?;
        Ok(self.context.cipher_final(&mut []).is_ok())
    }

    fn next_nonce(&mut self) -> [u8; 12] {
        let [a, b, c, d] = self.fixed;
        let [i, j, k, l, m, n, o, p] = self.invocation.to_be_bytes();
        self.invocation = self.invocation.wrapping_add(1);
        [a, b, c, d, i, j, k, l, m, n, o, p]
    }
}

/// AES in counter mode: one key stream for the life of the key, encryption and decryption alike.
pub(crate) struct AesCtr(CipherCtx);

impl AesCtr {
    /// `key` has 16, 24 or 32 bytes; `counter` is the first block's.
    pub(crate) fn new(key: &[u8], counter: &[u8; 16]) -> Result<Self, CryptoError> {
        let cipher = match key.len() {
            16 => Cipher::aes_128_ctr(),
            24 => Cipher::aes_192_ctr(),
            32 => Cipher::aes_256_ctr(),
            length => return Err(key_length("AES-CTR", length)),
        };
        Ok(Self(keyed(cipher, key, counter)?))
    }

    /// Encrypts or decrypts the next bytes of the stream.
    pub(crate) fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
        update_in_place(&mut self.0, data)
    }
}

fn key_length(name: &str, length: usize) -> CryptoError {
    CryptoError(format!("{name} takes no key of {length} bytes"))
}

/// A context for `cipher`. The caller has checked that key and nonce have the cipher's lengths.
pub(super) fn keyed(cipher: &CipherRef, key: &[u8], nonce: &[u8]) -> Result<CipherCtx, CryptoError> {
    if cipher.key_length() != key.len() || cipher.iv_length() != nonce.len() {
        return Err(key_length("the cipher", key.len()));
    }
    let mut context = CipherCtx::new()?;
    context.encrypt_init(Some(cipher), Some(key), Some(nonce))?;
    Ok(context)
}

/// Runs `data` through a stream cipher.
pub(super) fn update_in_place(context: &mut CipherCtxRef, data: &mut [u8]) -> Result<(), CryptoError> {
    let length = data.len();
    context.cipher_update_inplace(data, length)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    const KEY_128: &str = "feffe9928665731c6d6a8f9467308308";
    const NONCE: &str = "cafebabefacedbaddecaf888";
    const PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    const ASSOCIATED: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";

    /// The GCM submission to NIST (McGrew, Viega), test cases 4 and 16.
    #[test]
    fn gcm_vectors() {
        let rows = [
            (
                KEY_128.to_owned(),
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e\
                 21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
                "5bc94fbc3221a5db94fae95ae7121a47",
            ),
            (
                KEY_128.repeat(2),
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa\
                 8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
                "76fc6ece0f4e1768cddf8853bb2d551b",
            ),
        ];
        for (key, cipher, tag) in rows {
            let nonce: [u8; 12] = unhex(NONCE).try_into().unwrap();
            let mut data = unhex(PLAIN);
            let sealed = AesGcm::new(&unhex(&key), &nonce).unwrap().seal(&unhex(ASSOCIATED), &mut data);
            assert_eq!(data, unhex(cipher));
            assert_eq!(sealed.unwrap().to_vec(), unhex(tag));
            let tag: [u8; 16] = unhex(tag).try_into().unwrap();
            let mut open = AesGcm::new(&unhex(&key), &nonce).unwrap();
            assert_eq!(open.open(&unhex(ASSOCIATED), &mut data, &tag), Ok(true));
            assert_eq!(data, unhex(PLAIN));
        }
    }

    #[test]
    fn gcm_counter_wraps_and_both_ways_agree() {
        let mut nonce = [0xff; 12];
        nonce[0] = 1;
        let mut seal = AesGcm::new(&[9; 16], &nonce).unwrap();
        let mut open = AesGcm::new(&[9; 16], &nonce).unwrap();
        for round in 0..3u8 {
            let mut data = [round; 37];
            let tag = seal.seal(b"len", &mut data).unwrap();
            assert_ne!(data, [round; 37]);
            assert_eq!(open.open(b"len", &mut data, &tag), Ok(true));
            assert_eq!(data, [round; 37]);
        }
        let after_wrap = AesGcm::new(&[9; 16], &[1, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 2]).unwrap();
        assert_eq!(seal.invocation, after_wrap.invocation);
    }

    #[test]
    fn gcm_refuses_every_flipped_bit_of_tag_and_associated_data() {
        let sealed = |data: &mut [u8]| AesGcm::new(&[1; 32], &[2; 12]).unwrap().seal(b"abcd", data).unwrap();
        let mut data = [7; 20];
        let tag = sealed(&mut data);
        for bit in 0..128 {
            let mut wrong = tag;
            wrong[bit / 8] ^= 1 << (bit % 8);
            let mut copy = data;
            assert_eq!(AesGcm::new(&[1; 32], &[2; 12]).unwrap().open(b"abcd", &mut copy, &wrong), Ok(false));
        }
        let mut copy = data;
        assert_eq!(AesGcm::new(&[1; 32], &[2; 12]).unwrap().open(b"abce", &mut copy, &tag), Ok(false));
        // The context is usable after a failure.
        let mut open = AesGcm::new(&[1; 32], &[2; 12]).unwrap();
        let mut copy = data;
        assert_eq!(open.open(b"abcd", &mut copy, &[0; 16]), Ok(false));
        open.invocation = open.invocation.wrapping_sub(1);
        let mut copy = data;
        assert_eq!(open.open(b"abcd", &mut copy, &tag), Ok(true));
        assert_eq!(copy, [7; 20]);
    }

    /// NIST SP 800-38A §F.5.
    #[test]
    fn ctr_vectors() {
        let plain = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                     30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
        let rows = [
            (
                "2b7e151628aed2a6abf7158809cf4f3c",
                "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff\
                 5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
            ),
            (
                "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
                "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94\
                 1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
            ),
            (
                "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
                "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
                 2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
            ),
        ];
        let counter: [u8; 16] = unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff").try_into().unwrap();
        for (key, cipher) in rows {
            for split in [0, 1, 16, 17, 64] {
                let mut data = unhex(plain);
                let mut ctr = AesCtr::new(&unhex(key), &counter).unwrap();
                let (front, back) = data.split_at_mut(split);
                ctr.apply(front).unwrap();
                ctr.apply(back).unwrap();
                assert_eq!(data, unhex(cipher), "split at {split}");
            }
        }
    }

    #[test]
    fn wrong_key_lengths_are_refused() {
        assert!(AesGcm::new(&[0; 24], &[0; 12]).is_err());
        assert!(AesCtr::new(&[0; 20], &[0; 16]).is_err());
    }
}
