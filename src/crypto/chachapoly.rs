//! chacha20-poly1305@openssh.com: draft-ietf-sshm-chacha20-poly1305. Two ChaCha20 keys, one for the
//! length and one for the rest; the sequence number is the nonce; a fresh Poly1305 key a packet.

use std::fmt;

use openssl::cipher::Cipher;
use openssl::cipher_ctx::CipherCtx;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use zeroize::Zeroizing;

use super::CryptoError;
use super::secret::constant_time_eq;

/// The length of a tag.
pub(crate) const TAG: usize = 16;
/// The length of both keys together.
pub(crate) const KEY: usize = 64;

/// One direction's state.
pub(crate) struct ChaChaPoly {
    length: CipherCtx,
    body: CipherCtx,
}

impl fmt::Debug for ChaChaPoly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChaChaPoly(***)")
    }
}

/// OpenSSL's nonce: the block counter, little-endian, then the sequence number, big-endian.
fn nonce(block: u8, sequence: u32) -> [u8; 16] {
    let [a, b, c, d] = sequence.to_be_bytes();
    [block, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]
}

impl ChaChaPoly {
    pub(crate) fn new(key: &[u8; KEY]) -> Result<Self, CryptoError> {
        let (body_key, length_key) = key.split_at(KEY / 2);
        let mut length = CipherCtx::new()?;
        length.encrypt_init(Some(Cipher::chacha20()), Some(length_key), Some(&nonce(0, 0)))?;
        let mut body = CipherCtx::new()?;
        body.encrypt_init(Some(Cipher::chacha20()), Some(body_key), Some(&nonce(0, 0)))?;
        Ok(Self { length, body })
    }

    /// Encrypts or decrypts the length field.
    pub(crate) fn apply_length(&mut self, sequence: u32, field: [u8; 4]) -> Result<[u8; 4], CryptoError> {
        let mut field = field;
        self.length.encrypt_init(None, None, Some(&nonce(0, sequence)))?;
        self.length.cipher_update_inplace(&mut field, 4)?;
        Ok(field)
    }

    /// Sets the body's key stream to block 1; the first block became the Poly1305 key.
    fn authenticator(&mut self, sequence: u32) -> Result<Poly1305, CryptoError> {
        let mut key = Zeroizing::new([0; 64]);
        self.body.encrypt_init(None, None, Some(&nonce(0, sequence)))?;
        // A whole block, so that the next byte is the first of block 1.
        self.body.cipher_update_inplace(&mut key[..], 64)?;
        let (poly_key, _) = key.split_at(32);
        Poly1305::new_from_slice(poly_key).map_err(|_| CryptoError("bad Poly1305 key".to_owned()))
    }

    /// Encrypts `packet` (encrypted length, then plain body) in place; returns the tag over all.
    pub(crate) fn seal(&mut self, sequence: u32, packet: &mut [u8]) -> Result<[u8; TAG], CryptoError> {
        let authenticator = self.authenticator(sequence)?;
        if let Some(body) = packet.get_mut(4..) {
            let length = body.len();
            self.body.cipher_update_inplace(body, length)?;
        }
        Ok(authenticator.compute_unpadded(packet).into())
    }

    /// Checks the tag over `packet` (encrypted length and body), then decrypts the body in place.
    pub(crate) fn open(&mut self, sequence: u32, packet: &mut [u8], tag: &[u8]) -> Result<bool, CryptoError> {
        let authenticator = self.authenticator(sequence)?;
        let computed: [u8; TAG] = authenticator.compute_unpadded(packet).into();
        if !constant_time_eq(&computed, tag) {
            return Ok(false);
        }
        if let Some(body) = packet.get_mut(4..) {
            let length = body.len();
            self.body.cipher_update_inplace(body, length)?;
        }
        Ok(true)
    }

    /// Like [`open`](Self::open) for data without a length field, as key files have it.
    pub(crate) fn open_body(
        &mut self,
        sequence: u32,
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<bool, CryptoError> {
        let computed: [u8; TAG] = self.authenticator(sequence)?.compute_unpadded(body).into();
        let good = constant_time_eq(&computed, tag);
        if good {
            let length = body.len();
            self.body.cipher_update_inplace(body, length)?;
        }
        Ok(good)
    }
}
