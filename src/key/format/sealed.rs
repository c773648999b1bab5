//! The encryption inside of OpenSSH's private key files: bcrypt and any cipher of SSH
//! (openssh-portable's PROTOCOL.key).

use openssl::symm::{self, Cipher, Crypter, Mode};
use zeroize::Zeroizing;

use super::given;
use crate::crypto::chachapoly::ChaChaPoly;
use crate::crypto::rand;
use crate::crypto::secret::Secret;
use crate::key::KeyError;
use crate::wire::{Escaped, Reader, Writer};

/// The largest bcrypt count that is worked through; Go's figure, about a minute.
const ROUNDS_MAX: u32 = if cfg!(fuzzing) { 1 } else { 2048 };
/// What ssh-keygen writes.
const SALT: usize = 16;

/// A cipher that protects key files.
pub(super) struct FileCipher {
    pub(super) name: &'static str,
    key: usize,
    iv: usize,
    pub(super) block: usize,
    tag: usize,
    /// None for OpenSSH's own ChaCha20-Poly1305.
    openssl: Option<fn() -> Cipher>,
}

const fn cipher(
    name: &'static str,
    key: usize,
    iv: usize,
    tag: usize,
    openssl: fn() -> Cipher,
) -> FileCipher {
    FileCipher { name, key, iv, block: 16, tag, openssl: Some(openssl) }
}

static CIPHERS: &[FileCipher] = &[
    cipher("aes256-ctr", 32, 16, 0, Cipher::aes_256_ctr),
    cipher("aes192-ctr", 24, 16, 0, Cipher::aes_192_ctr),
    cipher("aes128-ctr", 16, 16, 0, Cipher::aes_128_ctr),
    cipher("aes256-cbc", 32, 16, 0, Cipher::aes_256_cbc),
    cipher("aes192-cbc", 24, 16, 0, Cipher::aes_192_cbc),
    cipher("aes128-cbc", 16, 16, 0, Cipher::aes_128_cbc),
    FileCipher { name: "3des-cbc", key: 24, iv: 8, block: 8, tag: 0, openssl: Some(Cipher::des_ede3_cbc) },
    cipher("aes256-gcm@openssh.com", 32, 12, 16, Cipher::aes_256_gcm),
    cipher("aes128-gcm@openssh.com", 16, 12, 16, Cipher::aes_128_gcm),
    FileCipher { name: "chacha20-poly1305@openssh.com", key: 64, iv: 0, block: 8, tag: 16, openssl: None },
];

/// The row of `name`.
pub(super) fn by_name(name: &[u8]) -> Result<&'static FileCipher, KeyError> {
    CIPHERS.iter().find(|spec| spec.name.as_bytes() == name).ok_or_else(|| {
        let known: Vec<_> = CIPHERS.iter().map(|spec| spec.name).collect();
        KeyError::Unsupported(format!("key file cipher {} (known: {})", Escaped(name), known.join(", ")))
    })
}

const SHORT: KeyError = KeyError::Malformed("its encrypted part has an impossible length");

impl FileCipher {
    /// Decrypts `body`; `options` are those of bcrypt.
    pub(super) fn open(
        &self,
        options: &[u8],
        passphrase: Option<&Secret>,
        body: &[u8],
        tag: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let mut reader = Reader::new(options);
        let (salt, rounds) = (reader.string()?, reader.get::<u32>()?);
        reader.finish()?;
        check_rounds(rounds)?;
        if tag.len() != self.tag || !body.len().is_multiple_of(self.block) || body.is_empty() {
            return Err(SHORT);
        }
        let derived = self.derive(salt, rounds, given(passphrase)?)?;
        let (key, iv) = derived.split_at_checked(self.key).ok_or(SHORT)?;
        let wrong = |_| KeyError::WrongPassphrase;
        match self.openssl {
            None => open_chacha(key, body, tag),
            Some(openssl) if self.tag > 0 => symm::decrypt_aead(openssl(), key, Some(iv), &[], body, tag)
                .map(Zeroizing::new)
                .map_err(wrong),
            Some(openssl) => unpadded(openssl(), Mode::Decrypt, key, iv, body),
        }
    }

    /// Encrypts `plain` under a new salt: bcrypt's options, the body, and the tag that follows it.
    pub(super) fn seal(&self, rounds: u32, passphrase: &Secret, plain: &[u8]) -> Result<Sealed, KeyError> {
        check_rounds(rounds)?;
        let salt = rand::array::<SALT>()?;
        let mut options = Vec::new();
        options.put(&salt[..]).put(&rounds);
        let derived = self.derive(&salt, rounds, passphrase)?;
        let (key, iv) = derived.split_at_checked(self.key).ok_or(SHORT)?;
        let mut tag = vec![0; self.tag];
        let body = match self.openssl {
            None => {
                let mut body = plain.to_vec();
                let key = key.first_chunk().ok_or(SHORT)?;
                tag = ChaChaPoly::new(key)?.seal_body(&mut body)?.to_vec();
                body
            }
            Some(openssl) if self.tag > 0 => {
                symm::encrypt_aead(openssl(), key, Some(iv), &[], plain, &mut tag)?
            }
            Some(openssl) => unpadded(openssl(), Mode::Encrypt, key, iv, plain)?.to_vec(),
        };
        Ok(Sealed { options, body, tag })
    }

    /// bcrypt_pbkdf: key and initialisation vector.
    fn derive(&self, salt: &[u8], rounds: u32, passphrase: &Secret) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let mut key = Zeroizing::new(vec![0; self.key.saturating_add(self.iv)]);
        bcrypt_pbkdf::bcrypt_pbkdf(passphrase.expose(), salt, rounds, &mut key)
            .map_err(|_| KeyError::Malformed("impossible bcrypt parameters"))?;
        Ok(key)
    }
}

/// What encrypting made.
pub(super) struct Sealed {
    pub(super) options: Vec<u8>,
    pub(super) body: Vec<u8>,
    pub(super) tag: Vec<u8>,
}

fn check_rounds(rounds: u32) -> Result<(), KeyError> {
    match rounds {
        0 => Err(KeyError::Malformed("impossible bcrypt parameters")),
        1..=ROUNDS_MAX => Ok(()),
        _ => Err(KeyError::TooCostly(format!("{rounds} rounds of bcrypt; {ROUNDS_MAX} are accepted"))),
    }
}

/// A cipher over whole blocks.
pub(super) fn unpadded(
    cipher: Cipher,
    mode: Mode,
    key: &[u8],
    iv: &[u8],
    input: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut crypter = Crypter::new(cipher, mode, key, Some(iv))?;
    crypter.pad(false);
    let mut out = Zeroizing::new(vec![0; input.len().saturating_add(cipher.block_size())]);
    let count = crypter.update(input, &mut out)?;
    if count != input.len() {
        return Err(SHORT);
    }
    out.truncate(count);
    Ok(out)
}

/// Decrypts whole blocks with PKCS#7's padding. Nothing else tells a wrong passphrase from a right one.
pub(super) fn padded(
    cipher: Cipher,
    key: &[u8],
    iv: &[u8],
    body: &[u8],
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    check_blocks(body, cipher.block_size())?;
    let plain = symm::decrypt(cipher, key, Some(iv), body).map_err(|_| KeyError::WrongPassphrase)?;
    Ok(Zeroizing::new(plain))
}

/// That there are whole blocks, and one at least.
pub(super) fn check_blocks(body: &[u8], block: usize) -> Result<(), KeyError> {
    if body.is_empty() || !body.len().is_multiple_of(block) { Err(SHORT) } else { Ok(()) }
}

/// A key of DES, or of 3DES with two keys, as 3DES with three has it.
pub(super) fn des_key(key: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(key.iter().copied().cycle().take(24).collect())
}

fn open_chacha(key: &[u8], body: &[u8], tag: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let key = key.first_chunk().ok_or(SHORT)?;
    let mut body = Zeroizing::new(body.to_vec());
    let tag = tag.first_chunk().ok_or(SHORT)?;
    if ChaChaPoly::new(key)?.open_body(&mut body, tag)? { Ok(body) } else { Err(KeyError::WrongPassphrase) }
}
