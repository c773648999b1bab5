//! UMAC-64 and UMAC-128 (RFC 4418), as OpenSSH uses them (draft-miller-secsh-umac-01): the packet's
//! number is the nonce. Own code: neither OpenSSL nor a kept crate has it. AES is OpenSSL's.
//!
//! Time depends on lengths only. Knows nothing of packets.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::as_conversions))]

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use zeroize::Zeroizing;

use super::CryptoError;

/// The length of a key, that of AES-128.
pub(crate) const KEY_LENGTH: usize = 16;

/// AES's block, and the longest tag.
const BLOCK: usize = 16;

/// Bytes that the first layer hashes at a time.
const CHUNK: usize = 1024;

/// Bytes of it that the inner loop takes, and the words of key for them.
const STEP: usize = 32;
const STEP_WORDS: usize = 8;

/// Key words of a stream in the first layer. The key of the next stream starts four words later.
const CHUNK_WORDS: usize = CHUNK / 4;
const SHIFT_WORDS: usize = 4;

/// Beyond 16 MiB the second layer needs another field (RFC 4418 §5.4); packets are far shorter.
const MAX_MESSAGE: usize = 1 << 24;

/// The prime below 2^64 of the second layer and its distance from there.
const P64: u128 = (1 << 64) - P64_OFFSET;
const P64_OFFSET: u128 = 59;
const LOW_64: u128 = (1 << 64) - 1;

/// What a key of the second layer may have set.
const POLY_MASK: u128 = 0x01ff_ffff_01ff_ffff;

/// Words from here on are hashed in two steps.
const MAX_WORD: u128 = (1 << 64) - (1 << 32);

/// The prime of the third layer.
const P36: u64 = (1 << 36) - 5;

/// A UMAC key, ready for use.
pub(crate) struct Umac {
    pad: Aes,
    streams: Vec<Stream>,
}

impl Umac {
    /// `key` has 16 bytes; `length` is that of the tags, 8 or 16.
    pub(crate) fn new(key: &[u8], length: usize) -> Result<Self, CryptoError> {
        let count = match length {
            8 => 2,
            16 => 4,
            _ => return Err(CryptoError(format!("no UMAC of {length} bytes"))),
        };
        let mut aes = Aes::new(key)?;
        let nh = words(&derive(&mut aes, 1, CHUNK.saturating_add(BLOCK.saturating_mul(count)))?);
        let poly = derive(&mut aes, 2, count.saturating_mul(24))?;
        let inner = derive(&mut aes, 3, count.saturating_mul(64))?;
        let mask = derive(&mut aes, 4, count.saturating_mul(4))?;
        let rows =
            poly.as_chunks::<24>().0.iter().zip(inner.as_chunks::<64>().0).zip(mask.as_chunks::<4>().0);
        let streams = rows
            .enumerate()
            .map(|(at, ((poly, inner), mask))| {
                let nh = nh.get(at.saturating_mul(SHIFT_WORDS)..).unwrap_or_default();
                Stream::new(nh, poly, inner, mask)
            })
            .collect();
        let pad = Aes::new(&derive(&mut aes, 0, KEY_LENGTH)?)?;
        Ok(Self { pad, streams })
    }

    /// The tag of `message` under a nonce that the key sees once. As many bytes of it count as the tag has.
    pub(crate) fn compute(&mut self, nonce: u64, message: &[u8]) -> Result<[u8; BLOCK], CryptoError> {
        if message.len() > MAX_MESSAGE {
            return Err(CryptoError("a message too long for UMAC".to_owned()));
        }
        let mut tag = self.pad(nonce)?;
        for (to, stream) in tag.as_chunks_mut::<4>().0.iter_mut().zip(&self.streams) {
            to.iter_mut().zip(stream.hash(message)).for_each(|(to, from)| *to ^= from);
        }
        Ok(tag)
    }

    /// RFC 4418 §3.3. A block of AES gives the pads of two tags of 8 bytes.
    fn pad(&mut self, nonce: u64) -> Result<[u8; BLOCK], CryptoError> {
        let short = self.streams.len() == 2;
        let nonce_of_block = if short { nonce & !1 } else { nonce };
        let block = self.pad.encrypt(u128::from(nonce_of_block).rotate_left(64).to_be_bytes())?;
        let second = short && nonce & 1 == 1;
        let value = u128::from_be_bytes(block);
        Ok(if second { value.rotate_left(64) } else { value }.to_be_bytes())
    }
}

/// One of the independent hashes, each giving four bytes of the tag.
struct Stream {
    nh: Zeroizing<[u32; CHUNK_WORDS]>,
    poly: Zeroizing<u128>,
    inner: Zeroizing<[u64; 8]>,
    mask: Zeroizing<[u8; 4]>,
}

impl Stream {
    fn new(nh_key: &[u32], poly: &[u8; 24], inner_key: &[u8; 64], mask: &[u8; 4]) -> Self {
        let mut nh = Zeroizing::new([0; CHUNK_WORDS]);
        nh.iter_mut().zip(nh_key).for_each(|(to, from)| *to = *from);
        let poly = poly.first_chunk().map_or(0, |key| u128::from(u64::from_be_bytes(*key)) & POLY_MASK);
        let mut inner = Zeroizing::new([0; 8]);
        for (to, key) in inner.iter_mut().zip(inner_key.as_chunks().0) {
            *to = u64::from_be_bytes(*key).checked_rem(P36).unwrap_or(0);
        }
        Self { nh, poly: Zeroizing::new(poly), inner, mask: Zeroizing::new(*mask) }
    }

    fn hash(&self, message: &[u8]) -> [u8; 4] {
        if message.len() <= CHUNK {
            return self.finish(u128::from(self.chunk(message)));
        }
        let mut sum = 1;
        for chunk in message.chunks(CHUNK) {
            sum = self.poly(sum, u128::from(self.chunk(chunk)));
        }
        self.finish(sum)
    }

    /// The first layer, RFC 4418 §5.2: the chunk's length in bits and NH of its words.
    fn chunk(&self, chunk: &[u8]) -> u64 {
        let mut sum = u64::try_from(chunk.len()).unwrap_or(0).wrapping_mul(8);
        let (steps, rest) = chunk.as_chunks::<STEP>();
        let (keys, _) = self.nh.as_chunks::<STEP_WORDS>();
        for (step, key) in steps.iter().zip(keys) {
            sum = sum.wrapping_add(nh(step, key));
        }
        if let Some(key) = keys.get(steps.len()).filter(|_| !rest.is_empty()) {
            let mut last = [0; STEP];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            sum = sum.wrapping_add(nh(&last, key));
        } else if let Some(key) = keys.first().filter(|_| chunk.is_empty()) {
            sum = nh(&[0; STEP], key);
        }
        sum
    }

    /// The second layer, RFC 4418 §5.3: a step of the polynomial.
    fn poly(&self, sum: u128, word: u128) -> u128 {
        if word >= MAX_WORD {
            let marked = self.poly_step(sum, P64.wrapping_sub(1));
            self.poly_step(marked, word.wrapping_sub(P64_OFFSET))
        } else {
            self.poly_step(sum, word)
        }
    }

    fn poly_step(&self, sum: u128, word: u128) -> u128 {
        let fold = |value: u128| (value >> 64).wrapping_mul(P64_OFFSET).wrapping_add(value & LOW_64);
        // The key has 57 bits and the sum 64: folded twice, at most P64 + 117 remain.
        let value = fold(fold(self.poly.wrapping_mul(sum).wrapping_add(word)));
        if value >= P64 { value.wrapping_sub(P64) } else { value }
    }

    /// The third layer, RFC 4418 §5.5.
    fn finish(&self, value: u128) -> [u8; 4] {
        let value = value.to_be_bytes();
        let sum = value.as_chunks::<2>().0.iter().zip(self.inner.iter()).fold(0_u64, |sum, (half, key)| {
            u64::from(u16::from_be_bytes(*half)).wrapping_mul(*key).wrapping_add(sum)
        });
        let [_, _, _, _, tag @ ..] = sum.checked_rem(P36).unwrap_or(0).to_be_bytes();
        let mut masked = tag;
        masked.iter_mut().zip(self.mask.iter()).for_each(|(to, mask)| *to ^= mask);
        masked
    }
}

/// NH of 32 bytes, RFC 4418 §5.2.2. Messages are read little-endian, keys big-endian.
fn nh(step: &[u8; STEP], key: &[u32; STEP_WORDS]) -> u64 {
    let mut sums = [0; STEP_WORDS];
    for ((to, word), key) in sums.iter_mut().zip(step.as_chunks().0).zip(key) {
        *to = u64::from(u32::from_le_bytes(*word).wrapping_add(*key));
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let (left, right) = (a.wrapping_mul(e).wrapping_add(b.wrapping_mul(f)), c.wrapping_mul(g));
    left.wrapping_add(right).wrapping_add(d.wrapping_mul(h))
}

/// RFC 4418 §3.2: key material for the layer that `index` stands for.
fn derive(aes: &mut Aes, index: u64, length: usize) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
    let mut key = Zeroizing::new(Vec::with_capacity(length.saturating_add(BLOCK)));
    let mut block = (u128::from(index) << 64).wrapping_add(1);
    while key.len() < length {
        key.extend_from_slice(&aes.encrypt(block.to_be_bytes())?);
        block = block.wrapping_add(1);
    }
    key.truncate(length);
    Ok(key)
}

fn words(bytes: &[u8]) -> Zeroizing<Vec<u32>> {
    Zeroizing::new(bytes.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect())
}

/// AES-128 of single blocks.
struct Aes(CipherCtx);

impl Aes {
    fn new(key: &[u8]) -> Result<Self, CryptoError> {
        if key.len() != KEY_LENGTH {
            return Err(CryptoError(format!("UMAC takes no key of {} bytes", key.len())));
        }
        let mut context = CipherCtx::new()?;
        context.encrypt_init(Some(Cipher::aes_128_ecb()), Some(key), None)?;
        context.set_padding(false);
        Ok(Self(context))
    }

    fn encrypt(&mut self, block: [u8; BLOCK]) -> Result<[u8; BLOCK], CryptoError> {
        // OpenSSL's interface asks for room for another block.
        let mut out = Zeroizing::new([0; 2 * BLOCK]);
        self.0.cipher_update(&block, Some(out.as_mut_slice()))?;
        Ok(out.first_chunk().copied().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(length: usize, message: &[u8]) -> String {
        let mut umac = Umac::new(b"abcdefghijklmnop", length).unwrap();
        let tag = umac.compute(u64::from_be_bytes(*b"bcdefghi"), message).unwrap();
        tag[..length].iter().map(|byte| format!("{byte:02X}")).collect()
    }

    /// RFC 4418, appendix: the tags of 8 bytes. Those of 16 bytes are nettle's for the same input.
    #[test]
    fn vectors() {
        let rows: [(&[u8], usize, &str, &str); 7] = [
            (b"", 0, "6E155FAD26900BE1", "32FEDB100C79AD58F07FF7643CC60465"),
            (b"a", 3, "44B5CB542F220104", "185E4FE905CBA7BD85E4C2DC3D117D8D"),
            (b"a", 1 << 10, "26BF2F5D60118BD9", "7A54ABE04AF82D60FB298C3CBD195BCB"),
            (b"a", 1 << 15, "27F8EF643B0D118D", "7B136BD911E4B734286EF2BE501F2C3C"),
            (b"a", 1 << 20, "A4477E87E9F55853", "F8ACFA3AC31CFEEA047F7B115B03BEF5"),
            (b"abc", 1, "D4D7B9F6BD4FBFCF", "883C3D4B97A61976FFCF232308CBA5A5"),
            (b"abc", 500, "D4CF26DDEFD5C01A", "8824A260C53C66A36C9260A62CB83AA1"),
        ];
        for (piece, count, short, long) in rows {
            let message = piece.repeat(count);
            assert_eq!(tag(8, &message), short, "{count}");
            assert_eq!(tag(16, &message), long, "{count}");
        }
    }

    /// The prime and its neighbours; words that need two steps. Against arithmetic without shortcuts.
    #[test]
    fn the_polynomial_is_reduced() {
        let umac = Umac::new(&[0xff; 16], 8).unwrap();
        let stream = &umac.streams[0];
        for sum in [0, 1, 58, P64 - 1, P64 >> 1] {
            for word in [0, 1, 59, MAX_WORD - 1, MAX_WORD, P64 - 1, P64, P64 + 58] {
                let step = |sum: u128, word: u128| (*stream.poly * sum + word) % P64;
                let slow = if word >= MAX_WORD {
                    step(step(sum, P64 - 1), word - P64_OFFSET)
                } else {
                    step(sum, word)
                };
                assert_eq!(stream.poly(sum, word), slow, "{sum} {word}");
            }
        }
    }

    #[test]
    fn every_bit_and_the_nonce_count() {
        for length in [8, 16] {
            let mut umac = Umac::new(&[7; 16], length).unwrap();
            let mut seen = std::collections::HashSet::new();
            for nonce in [0, 1, 2, 3, u64::from(u32::MAX), u64::MAX] {
                assert!(seen.insert(umac.compute(nonce, b"message").unwrap()[..length].to_vec()));
            }
            let mut message = [0; 40];
            for at in 0..40 * 8 {
                message[at / 8] ^= 1 << (at % 8);
                assert!(seen.insert(umac.compute(0, &message).unwrap()[..length].to_vec()));
                message[at / 8] ^= 1 << (at % 8);
            }
            // Zeros at the end are no padding.
            assert!(seen.insert(umac.compute(0, &message[..39]).unwrap()[..length].to_vec()));
        }
    }

    #[test]
    fn what_it_cannot_take_is_refused() {
        assert!(Umac::new(&[0; 15], 8).is_err());
        assert!(Umac::new(&[0; 16], 12).is_err());
        assert!(Umac::new(&[0; 16], 8).unwrap().compute(0, &vec![0; MAX_MESSAGE + 1]).is_err());
    }
}
