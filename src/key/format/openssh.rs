//! OpenSSH's private key files: openssh-portable's PROTOCOL.key.

use base64ct::{Base64, Encoding};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::pkey::{Id, PKey as OpensslKey, Private};
use openssl::rsa::RsaPrivateKeyBuilder;
use openssl::symm::Cipher;
use zeroize::Zeroizing;

use super::body;
use crate::crypto::chachapoly::ChaChaPoly;
use crate::crypto::rand;
use crate::crypto::secret::Secret;
use crate::key::algorithm::KeyType;
use crate::key::public::curve;
use crate::key::{KeyError, PKey, PublicKey};
use crate::wire::{Encode, Mpint, Reader, Writer};

const MAGIC: &[u8] = b"openssh-key-v1\0";
const LABEL: &str = "OPENSSH PRIVATE KEY";
/// The largest bcrypt count that is worked through; Go's figure, about a minute.
const ROUNDS_MAX: u32 = 2048;
/// ssh-keygen's default.
const ROUNDS: u32 = 24;
/// Room for the private fields of every key.
pub(crate) const FIELDS_ROOM: usize = 16 * 1024;
/// ssh-keygen breaks lines after 70 characters.
const LINE: usize = 70;

/// A cipher that protects key files.
struct FileCipher {
    name: &'static str,
    key: usize,
    iv: usize,
    block: usize,
    tag: usize,
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

/// Reads the one key of a file.
pub(super) fn read(text: &str, passphrase: Option<&Secret>) -> Result<PKey, KeyError> {
    let blob = body(text, LABEL)?;
    let mut reader =
        Reader::new(blob.strip_prefix(MAGIC).ok_or(KeyError::Malformed("the magic word is missing"))?);
    let (cipher, kdf, options) = (reader.string()?, reader.string()?, reader.string()?);
    if reader.get::<u32>()? != 1 {
        return Err(KeyError::Unsupported("a file with several keys".to_owned()));
    }
    let public = PublicKey::from_blob(reader.string()?)?;
    let sealed = reader.string()?;
    let plain = if cipher == b"none" {
        Zeroizing::new(sealed.to_vec())
    } else {
        let spec = CIPHERS.iter().find(|spec| spec.name.as_bytes() == cipher).ok_or_else(|| {
            KeyError::Unsupported(format!("key file cipher {}", crate::wire::Escaped(cipher)))
        })?;
        let passphrase =
            passphrase.filter(|secret| !secret.expose().is_empty()).ok_or(KeyError::PassphraseNeeded)?;
        if kdf != b"bcrypt" {
            return Err(KeyError::Unsupported("a key derivation other than bcrypt".to_owned()));
        }
        decrypt(spec, &derive(spec, options, passphrase)?, sealed, reader.rest())?
    };
    let key = private_section(&plain, cipher != b"none")?;
    if *key.public_key() != public {
        return Err(KeyError::Malformed("its public and private half are of different keys"));
    }
    Ok(key)
}

/// bcrypt_pbkdf: key and IV.
fn derive(spec: &FileCipher, options: &[u8], passphrase: &Secret) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let mut reader = Reader::new(options);
    let (salt, rounds) = (reader.string()?, reader.get::<u32>()?);
    reader.finish()?;
    if rounds > ROUNDS_MAX {
        return Err(KeyError::TooCostly(format!("{rounds} rounds of bcrypt; {ROUNDS_MAX} are accepted")));
    }
    let mut key = Zeroizing::new(vec![0; spec.key.saturating_add(spec.iv)]);
    bcrypt_pbkdf::bcrypt_pbkdf(passphrase.expose(), salt, rounds, &mut key)
        .map_err(|_| KeyError::Malformed("impossible bcrypt parameters"))?;
    Ok(key)
}

fn decrypt(spec: &FileCipher, key: &[u8], sealed: &[u8], tag: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let (key, iv) = key.split_at_checked(spec.key).ok_or(KeyError::Malformed("key length"))?;
    if tag.len() != spec.tag || !sealed.len().is_multiple_of(spec.block) || sealed.is_empty() {
        return Err(KeyError::Malformed("its encrypted part has an impossible length"));
    }
    let wrong = |_| KeyError::WrongPassphrase;
    let Some(openssl) = spec.openssl else {
        // OpenSSH's cipher encrypts a length too; the file has none, so the body stands alone.
        return decrypt_chacha(key, sealed, tag);
    };
    if spec.tag > 0 {
        let plain = openssl::symm::decrypt_aead(openssl(), key, Some(iv), &[], sealed, tag).map_err(wrong)?;
        return Ok(Zeroizing::new(plain));
    }
    let mut crypter = openssl::symm::Crypter::new(openssl(), openssl::symm::Mode::Decrypt, key, Some(iv))?;
    crypter.pad(false);
    let mut plain = Zeroizing::new(vec![0; sealed.len().saturating_add(spec.block)]);
    let count = crypter.update(sealed, &mut plain)?;
    plain.truncate(count);
    Ok(plain)
}

fn decrypt_chacha(key: &[u8], sealed: &[u8], tag: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let key = key.first_chunk().ok_or(KeyError::Malformed("key length"))?;
    let mut body = Zeroizing::new(sealed.to_vec());
    let tag = tag.first_chunk().ok_or(KeyError::Malformed("tag length"))?;
    if ChaChaPoly::new(key)?.open_body(&mut body, tag)? { Ok(body) } else { Err(KeyError::WrongPassphrase) }
}

/// The decrypted part: check numbers, the key, its comment, padding 1, 2, 3, …
fn private_section(plain: &[u8], encrypted: bool) -> Result<PKey, KeyError> {
    let mut reader = Reader::new(plain);
    if reader.get::<u32>()? != reader.get::<u32>()? {
        return Err(if encrypted {
            KeyError::WrongPassphrase
        } else {
            KeyError::Malformed("its check numbers differ")
        });
    }
    let key = get_fields(&mut reader)?;
    let padded =
        reader.rest().iter().enumerate().all(|(at, byte)| usize::from(*byte) == at.saturating_add(1) & 0xff);
    if !padded {
        return Err(KeyError::Malformed("its padding is wrong"));
    }
    Ok(key)
}

/// Reads type, numbers and comment: a private key as files have it inside, and agents when one is added.
pub(crate) fn get_fields(reader: &mut Reader<'_>) -> Result<PKey, KeyError> {
    let key = private_key(reader)?;
    let comment = String::from_utf8_lossy(reader.string()?).into_owned();
    PKey::from_openssl(key, comment)
}

fn private_key(reader: &mut Reader<'_>) -> Result<OpensslKey<Private>, KeyError> {
    let name = reader.string()?;
    let kind = KeyType::by_name(name)
        .ok_or_else(|| KeyError::Unsupported(format!("key type {}", crate::wire::Escaped(name))))?;
    match kind {
        KeyType::Ed25519 => {
            let (public, private) = (reader.string()?, reader.string()?);
            let (seed, again) =
                private.split_at_checked(32).ok_or(KeyError::Malformed("an Ed25519 key is short"))?;
            let key = OpensslKey::private_key_from_raw_bytes(seed, Id::ED25519)?;
            if again != public || key.raw_public_key()? != public {
                return Err(KeyError::Malformed("its public and private half are of different keys"));
            }
            Ok(key)
        }
        KeyType::Rsa => rsa(reader),
        _ => ecdsa(kind, reader),
    }
}

fn number(reader: &mut Reader<'_>) -> Result<BigNum, KeyError> {
    Ok(BigNum::from_slice(reader.get::<Mpint<'_>>()?.magnitude())?)
}

fn rsa(reader: &mut Reader<'_>) -> Result<OpensslKey<Private>, KeyError> {
    let [n, e, d, iqmp, p, q] = [
        number(reader)?,
        number(reader)?,
        number(reader)?,
        number(reader)?,
        number(reader)?,
        number(reader)?,
    ];
    if n.num_bits() > 16384 || e.num_bits() > 64 {
        return Err(KeyError::BadSize("an RSA key larger than 16384 bits".to_owned()));
    }
    let one = BigNum::from_u32(1)?;
    let mut context = BigNumContext::new_secure()?;
    let mut less_one = |prime: &BigNum| -> Result<BigNum, KeyError> {
        let mut minus = BigNum::new_secure()?;
        minus.checked_sub(prime, &one)?;
        let mut out = BigNum::new_secure()?;
        out.nnmod(&d, &minus, &mut context)?;
        Ok(out)
    };
    if p.num_bits() < 2 || q.num_bits() < 2 {
        return Err(KeyError::Malformed("an RSA key without its primes"));
    }
    let (dp, dq) = (less_one(&p)?, less_one(&q)?);
    let key = RsaPrivateKeyBuilder::new(n, e, d)?.set_factors(p, q)?.set_crt_params(dp, dq, iqmp)?.build();
    if !key.check_key().unwrap_or(false) {
        return Err(KeyError::Malformed("an RSA key whose numbers do not fit together"));
    }
    Ok(OpensslKey::from_rsa(key)?)
}

fn ecdsa(kind: KeyType, reader: &mut Reader<'_>) -> Result<OpensslKey<Private>, KeyError> {
    let (nid, name) = curve(kind).ok_or(KeyError::Malformed("no curve"))?;
    if reader.string()? != name {
        return Err(KeyError::Malformed("the curve is not the one of its type"));
    }
    let group = EcGroup::from_curve_name(nid)?;
    let mut context = BigNumContext::new()?;
    let point = EcPoint::from_bytes(&group, reader.string()?, &mut context)
        .map_err(|_| KeyError::Malformed("an ECDSA key that is not on its curve"))?;
    let secret = number(reader)?;
    let key = EcKey::from_private_components(&group, &secret, &point)?;
    key.check_key().map_err(|_| KeyError::Malformed("its public and private half are of different keys"))?;
    Ok(OpensslKey::from_ec_key(key)?)
}

/// The text of a file that holds `key`.
pub(in crate::key) fn write(key: &PKey, passphrase: Option<&Secret>) -> Result<Zeroizing<String>, KeyError> {
    let passphrase = passphrase.filter(|secret| !secret.expose().is_empty());
    let block = if passphrase.is_some() { 16 } else { 8 };
    let mut plain = private_fields(key)?;
    for byte in (1_u8..).take((block - plain.len() % block) % block) {
        plain.push(byte);
    }
    let mut out = Zeroizing::new(MAGIC.to_vec());
    match passphrase {
        None => {
            out.put("none").put("none").put("");
        }
        Some(passphrase) => {
            let spec = CIPHERS.first().ok_or(KeyError::Malformed("no cipher"))?;
            let mut options = Vec::new();
            options.put(&rand::array::<16>()?[..]).put(&ROUNDS);
            let derived = derive(spec, &options, passphrase)?;
            let (cipher_key, iv) =
                derived.split_at_checked(spec.key).ok_or(KeyError::Malformed("key length"))?;
            let openssl = spec.openssl.ok_or(KeyError::Malformed("no cipher"))?;
            let sealed = openssl::symm::encrypt(openssl(), cipher_key, Some(iv), &plain)?;
            plain = Zeroizing::new(sealed);
            out.put(spec.name).put("bcrypt").put(options.as_slice());
        }
    }
    out.put(&1_u32).put(key.public_key().blob()).put(plain.as_slice());
    let base64 = Zeroizing::new(Base64::encode_string(&out));
    let mut text = Zeroizing::new(format!("-----BEGIN {LABEL}-----\n"));
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(LINE.min(rest.len()));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {LABEL}-----\n"));
    Ok(text)
}

/// Check numbers, key, comment.
fn private_fields(key: &PKey) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let check = u32::from_be_bytes(rand::array()?);
    let mut out = Zeroizing::new(Vec::with_capacity(FIELDS_ROOM));
    out.put(&check).put(&check);
    put_fields(&mut out, key)?;
    Ok(out)
}

/// Appends type, numbers and comment, as [`get_fields`] reads them. With [`FIELDS_ROOM`] in `out` no copy
/// is left behind by growing.
pub(crate) fn put_fields(out: &mut Vec<u8>, key: &PKey) -> Result<(), KeyError> {
    let held = key.here()?;
    let put_number = |out: &mut Vec<u8>, number: Vec<u8>| {
        let number = Zeroizing::new(number);
        Mpint::from_unsigned(&number).encode(out);
    };
    match held.id() {
        Id::ED25519 => {
            let public = held.raw_public_key()?;
            let mut pair = Zeroizing::new(held.raw_private_key()?);
            pair.extend_from_slice(&public);
            out.put("ssh-ed25519").put(public.as_slice()).put(pair.as_slice());
        }
        Id::RSA => {
            let rsa = held.rsa()?;
            let none = || KeyError::Malformed("an RSA key without its primes");
            out.put("ssh-rsa");
            for number in [rsa.n(), rsa.e(), rsa.d(), rsa.iqmp().ok_or_else(none)?] {
                put_number(out, number.to_vec());
            }
            for number in [rsa.p().ok_or_else(none)?, rsa.q().ok_or_else(none)?] {
                put_number(out, number.to_vec());
            }
        }
        _ => {
            // Type, curve and point are the public blob's fields.
            out.put_raw(key.public_key().blob());
            put_number(out, held.ec_key()?.private_key().to_vec());
        }
    }
    out.put(key.comment());
    Ok(())
}
