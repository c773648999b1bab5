//! AES in counter mode and Galois/counter mode, with contexts that are kept: a packet costs a new
//! nonce, not a new key schedule.

use std::fmt;

use openssl::cipher::{Cipher, CipherRef};
use openssl::cipher_ctx::CipherCtx;

use super::CryptoError;

/// The length of a GCM tag.
pub(crate) const GCM_TAG: usize = 16;

/// Which way a kept context goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Encrypt,
    Decrypt,
}

fn aes_gcm(key: usize) -> Result<&'static CipherRef, CryptoError> {
    match key {
        16 => Ok(Cipher::aes_128_gcm()),
        32 => Ok(Cipher::aes_256_gcm()),
        _ => Err(CryptoError("no such AES-GCM key length".to_owned())),
    }
}

fn aes_ctr(key: usize) -> Result<&'static CipherRef, CryptoError> {
    match key {
        16 => Ok(Cipher::aes_128_ctr()),
        24 => Ok(Cipher::aes_192_ctr()),
        32 => Ok(Cipher::aes_256_ctr()),
        _ => Err(CryptoError("no such AES-CTR key length".to_owned())),
    }
}

/// AES-GCM as RFC 5647 uses it: a nonce of 4 fixed bytes and a counter that rises by one a packet.
pub(crate) struct Gcm {
    context: CipherCtx,
    fixed: [u8; 4],
    counter: u64,
}

impl Gcm {
    pub(crate) fn new(way: Way, key: &[u8], iv: &[u8; 12]) -> Result<Self, CryptoError> {
        let mut context = CipherCtx::new()?;
        let cipher = aes_gcm(key.len())?;
        match way {
            Way::Encrypt => context.encrypt_init(Some(cipher), Some(key), None)?,
            Way::Decrypt => context.decrypt_init(Some(cipher), Some(key), None)?,
        }
        let [a, b, c, d, counter @ ..] = *iv;
        Ok(Self { context, fixed: [a, b, c, d], counter: u64::from_be_bytes(counter) })
    }

    fn next_nonce(&mut self) -> [u8; 12] {
        let [a, b, c, d] = self.fixed;
        let [e, f, g, h, i, j, k, l] = self.counter.to_be_bytes();
        self.counter = self.counter.wrapping_add(1);
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// Encrypts `data` in place; returns the tag over `aad` and it.
    pub(crate) fn seal(&mut self, aad: &[u8], data: &mut [u8]) -> Result<[u8; GCM_TAG], CryptoError> {
        let nonce = self.next_nonce();
        self.context.encrypt_init(None, None, Some(&nonce))?;
        self.context.cipher_update(aad, None)?;
        let length = data.len();
        self.context.cipher_update_inplace(data, length)?;
        self.context.cipher_final(&mut [])?;
        let mut tag = [0; GCM_TAG];
        self.context.tag(&mut tag)?;
        Ok(tag)
    }

    /// Decrypts `data` in place; false when the tag does not fit.
    pub(crate) fn open(&mut self, aad: &[u8], data: &mut [u8], tag: &[u8]) -> Result<bool, CryptoError> {
        let nonce = self.next_nonce();
        self.context.decrypt_init(None, None, Some(&nonce))?;
        self.context.set_tag(tag)?;
        self.context.cipher_update(aad, None)?;
        let length = data.len();
        self.context.cipher_update_inplace(data, length)?;
        Ok(self.context.cipher_final(&mut []).is_ok())
    }
}

/// AES-CTR, RFC 4344 §4: one key stream for all packets of a direction.
pub(crate) struct Ctr(CipherCtx);

impl Ctr {
    pub(crate) fn new(key: &[u8], iv: &[u8]) -> Result<Self, CryptoError> {
        let mut context = CipherCtx::new()?;
        context.encrypt_init(Some(aes_ctr(key.len())?), Some(key), Some(iv))?;
        Ok(Self(context))
    }

    /// Encrypts or decrypts in place.
    pub(crate) fn apply(&mut self, data: &mut [u8]) -> Result<(), CryptoError> {
        let length = data.len();
        if length > 0 {
            self.0.cipher_update_inplace(data, length)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Gcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gcm(***)")
    }
}

impl fmt::Debug for Ctr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ctr(***)")
    }
}
