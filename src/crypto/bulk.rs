//! Ciphers that need a MAC beside them: AES in counter mode, and those of old devices: cipher block
//! chaining (RFC 4253 §6.3), counter mode over blocks of 64 bits (RFC 4344 §4), RC4 (RFC 4345).
//!
//! OpenSSL's where its default provider has them. Blowfish, CAST-128, RC2 and RC4 lie in a provider that many
//! systems do not install: they are RustCrypto's. Knows nothing of packets.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::as_conversions))]

use blowfish::Blowfish;
use cast5::Cast5;
use cbc::cipher::array::Array;
use cbc::cipher::consts::U8;
use cbc::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InvalidLength, KeyInit,
    KeyIvInit, StreamCipher, StreamCipherCore,
};
use ctr::{CtrCore, flavors};
use des::TdesEde3;
use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::CipherCtx;
use rc2::Rc2;
use rc4::Rc4;
use zeroize::Zeroizing;

use super::CryptoError;
use super::cipher::AesCtr;

/// Which way a cipher works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CipherWay {
    /// From plain to encrypted.
    Encrypt,
    /// From encrypted to plain.
    Decrypt,
}

/// A cipher under a key, going one way.
pub trait CipherState: Send {
    /// Encrypts or decrypts the next bytes in place: whole blocks, as often as packets have parts.
    ///
    /// # Errors
    /// Any; it ends the connection.
    fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError>;
}

/// A cipher without integrity of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bulk {
    AesCtr,
    AesCbc,
    TripleDesCbc,
    TripleDesCtr,
    BlowfishCbc,
    BlowfishCtr,
    /// RC2 (RFC 2268), whose effective bits are those of its key. In key files only.
    Rc2Cbc,
    Cast128Cbc,
    /// RC4, of whose key stream that many bytes are thrown away.
    Rc4 {
        skip: usize,
    },
}

impl Bulk {
    /// Whether blocks are chained.
    pub(crate) fn is_cbc(self) -> bool {
        matches!(
            self,
            Self::AesCbc | Self::TripleDesCbc | Self::BlowfishCbc | Self::Cast128Cbc | Self::Rc2Cbc
        )
    }

    /// The length of the initial vector or first counter.
    pub(crate) fn vector_length(self) -> usize {
        match self {
            Self::AesCtr | Self::AesCbc => 16,
            Self::Rc4 { .. } => 0,
            _ => 8,
        }
    }

    /// The cipher under `key`, its first block masked with or counted from `vector`.
    pub(crate) fn start(
        self,
        way: CipherWay,
        key: &[u8],
        vector: &[u8],
    ) -> Result<Box<dyn CipherState>, CryptoError> {
        let state = match self {
            Self::AesCtr => {
                let counter = vector.try_into().map_err(|_| lengths())?;
                return Ok(Box::new(AesCtr::new(key, counter)?));
            }
            Self::AesCbc => return OpensslCbc::start(aes_cbc(key)?, way, key, vector),
            Self::TripleDesCbc => return OpensslCbc::start(Cipher::des_ede3_cbc(), way, key, vector),
            Self::TripleDesCtr => counter::<TdesEde3>(key, vector),
            Self::BlowfishCbc => chained::<Blowfish>(way, key, vector),
            Self::BlowfishCtr => counter::<Blowfish>(key, vector),
            Self::Cast128Cbc => chained::<Cast5>(way, key, vector),
            Self::Rc2Cbc => chained::<Rc2>(way, key, vector),
            Self::Rc4 { skip } => rc4(key, skip),
        };
        state.map_err(|_| lengths())
    }
}

fn lengths() -> CryptoError {
    CryptoError("a cipher takes no key or vector of that length".to_owned())
}

impl CipherState for AesCtr {
    fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
        Self::apply(self, data)
    }
}

fn aes_cbc(key: &[u8]) -> Result<&'static CipherRef, CryptoError> {
    match key.len() {
        16 => Ok(Cipher::aes_128_cbc()),
        24 => Ok(Cipher::aes_192_cbc()),
        32 => Ok(Cipher::aes_256_cbc()),
        _ => Err(lengths()),
    }
}

/// Cipher block chaining by OpenSSL, which does not work in place: through a buffer.
struct OpensslCbc {
    context: CipherCtx,
    buffer: Zeroizing<[u8; Self::CHUNK + Self::MAX_BLOCK]>,
}

impl OpensslCbc {
    /// Taken at once: whole blocks.
    const CHUNK: usize = 4096;
    /// OpenSSL's interface asks for room for another block.
    const MAX_BLOCK: usize = 16;

    fn start(
        cipher: &CipherRef,
        way: CipherWay,
        key: &[u8],
        vector: &[u8],
    ) -> Result<Box<dyn CipherState>, CryptoError> {
        if cipher.key_length() != key.len() || cipher.iv_length() != vector.len() {
            return Err(lengths());
        }
        let mut context = CipherCtx::new()?;
        match way {
            CipherWay::Encrypt => context.encrypt_init(Some(cipher), Some(key), Some(vector))?,
            CipherWay::Decrypt => context.decrypt_init(Some(cipher), Some(key), Some(vector))?,
        }
        context.set_padding(false);
        let buffer = Zeroizing::new([0; Self::CHUNK + Self::MAX_BLOCK]);
        Ok(Box::new(Self { context, buffer }))
    }
}

impl CipherState for OpensslCbc {
    fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
        for chunk in data.chunks_mut(Self::CHUNK) {
            let done = self.context.cipher_update(chunk, Some(self.buffer.as_mut_slice()))?;
            if done != chunk.len() {
                return Err(broken_block());
            }
            chunk.iter_mut().zip(self.buffer.iter()).for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }
}

fn broken_block() -> CryptoError {
    CryptoError("a block cipher was given part of a block".to_owned())
}

fn chained<C>(way: CipherWay, key: &[u8], vector: &[u8]) -> Result<Box<dyn CipherState>, InvalidLength>
where
    C: KeyInit + BlockCipherEncrypt + BlockCipherDecrypt + Send + 'static,
{
    Ok(match way {
        CipherWay::Encrypt => Box::new(cbc::Encryptor::<C>::new_from_slices(key, vector)?),
        CipherWay::Decrypt => Box::new(cbc::Decryptor::<C>::new_from_slices(key, vector)?),
    })
}

impl<C: BlockCipherEncrypt + Send> CipherState for cbc::Encryptor<C> {
    fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
        let (blocks, rest) = Array::slice_as_chunks_mut(data);
        self.encrypt_blocks(blocks);
        if rest.is_empty() { Ok(()) } else { Err(broken_block()) }
    }
}

impl<C: BlockCipherDecrypt + Send> CipherState for cbc::Decryptor<C> {
    fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
        let (blocks, rest) = Array::slice_as_chunks_mut(data);
        self.decrypt_blocks(blocks);
        if rest.is_empty() { Ok(()) } else { Err(broken_block()) }
    }
}

/// Counter mode over blocks of 64 bits: all of a block counts. What is in a packet is whole blocks.
struct Counter<C>(CtrCore<C, flavors::Ctr64BE>)
where
    C: BlockCipherEncrypt<BlockSize = U8>;

impl<C: BlockCipherEncrypt<BlockSize = U8> + Send> CipherState for Counter<C> {
    fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
        let (blocks, rest) = Array::slice_as_chunks_mut(data);
        self.0.apply_keystream_blocks(blocks);
        if rest.is_empty() { Ok(()) } else { Err(broken_block()) }
    }
}

fn counter<C>(key: &[u8], first: &[u8]) -> Result<Box<dyn CipherState>, InvalidLength>
where
    C: KeyInit + BlockCipherEncrypt<BlockSize = U8> + Send + 'static,
{
    Ok(Box::new(Counter::<C>(CtrCore::new_from_slices(key, first)?)))
}

impl CipherState for Rc4 {
    fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
        self.try_apply_keystream(data).map_err(|_| CryptoError("RC4's key stream is at its end".to_owned()))
    }
}

fn rc4(key: &[u8], skip: usize) -> Result<Box<dyn CipherState>, InvalidLength> {
    let mut stream = Rc4::new_from_slice(key)?;
    let mut skipped = Zeroizing::new(vec![0; skip]);
    stream.apply_keystream(&mut skipped);
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Bulk, usize); 9] = [
        (Bulk::AesCtr, 16),
        (Bulk::AesCbc, 24),
        (Bulk::TripleDesCbc, 24),
        (Bulk::TripleDesCtr, 24),
        (Bulk::BlowfishCbc, 16),
        (Bulk::BlowfishCtr, 32),
        (Bulk::Cast128Cbc, 16),
        (Bulk::Rc2Cbc, 5),
        (Bulk::Rc4 { skip: 1536 }, 32),
    ];

    /// RFC 4344 §4: the counter is the whole block, and zero follows its greatest value.
    #[test]
    fn counters_wrap() {
        let key: Vec<u8> = (0..24).collect();
        let mut context = CipherCtx::new().unwrap();
        context.encrypt_init(Some(Cipher::des_ede3_ecb()), Some(&key), None).unwrap();
        context.set_padding(false);
        let counters = [[0xff; 8], [0; 8], [0, 0, 0, 0, 0, 0, 0, 1]].concat();
        let mut expected = vec![0; 32];
        context.cipher_update(&counters, Some(&mut expected)).unwrap();
        let mut data = [0; 24];
        Bulk::TripleDesCtr.start(CipherWay::Encrypt, &key, &[0xff; 8]).unwrap().apply(&mut data).unwrap();
        assert_eq!(data, expected[..24]);
    }

    /// RFC 6229, key 0102030405: the first bytes, and those at 1536.
    #[test]
    fn rc4_vectors() {
        let key = [1, 2, 3, 4, 5];
        for (skip, expected) in [(0, [0xb2, 0x39, 0x63, 0x05]), (1536, [0xd8, 0x72, 0x9d, 0xb4])] {
            let mut data = [0; 4];
            Bulk::Rc4 { skip }.start(CipherWay::Encrypt, &key, &[]).unwrap().apply(&mut data).unwrap();
            assert_eq!(data, expected, "{skip}");
        }
    }

    #[test]
    fn what_was_encrypted_in_pieces_is_decrypted_in_others() {
        for (bulk, length) in ALL {
            let (key, vector) = (vec![5; length], vec![6; bulk.vector_length()]);
            let start = |way| bulk.start(way, &key, &vector).unwrap();
            let (mut encrypt, mut decrypt) = (start(CipherWay::Encrypt), start(CipherWay::Decrypt));
            let mut data = vec![7; 10_000];
            for piece in data.chunks_mut(4112) {
                encrypt.apply(piece).unwrap();
            }
            assert!(data.windows(16).all(|window| window != [7; 16]));
            for piece in data.chunks_mut(16) {
                decrypt.apply(piece).unwrap();
            }
            assert_eq!(data, vec![7; 10_000], "{bulk:?}");
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for (bulk, length) in ALL {
            let vector = vec![0; bulk.vector_length()];
            for wrong in [0, 300] {
                assert!(
                    bulk.start(CipherWay::Encrypt, &vec![0; wrong], &vector).is_err(),
                    "{bulk:?} {wrong}"
                );
            }
            let mut cipher = bulk.start(CipherWay::Decrypt, &vec![0; length], &vector).unwrap();
            let streams = matches!(bulk, Bulk::AesCtr | Bulk::Rc4 { .. });
            assert_eq!(cipher.apply(&mut [0; 12]).is_ok(), streams, "{bulk:?}");
            if !matches!(bulk, Bulk::Rc4 { .. }) {
                assert!(bulk.start(CipherWay::Encrypt, &vec![0; length], &[0; 12]).is_err(), "{bulk:?}");
            }
        }
    }
}
