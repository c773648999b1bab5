//! OpenSSH's private key files: openssh-portable's PROTOCOL.key.

use openssl::pkey::{Id, PKey as OpensslKey, Private};
use zeroize::Zeroizing;

use super::parts::{self, DssNumbers, RsaNumbers};
use super::{MANY, armour, sealed};
use crate::crypto::rand;
use crate::crypto::secret::Secret;
use crate::key::algorithm::KeyType;
use crate::key::fields::curve;
use crate::key::{KeyError, PKey, PublicKey};
use crate::wire::{Encode, Mpint, Reader, Writer};

pub(super) const MAGIC: &[u8] = b"openssh-key-v1\0";
pub(super) const LABEL: &str = "OPENSSH PRIVATE KEY";
/// ssh-keygen breaks lines after 70 characters.
const LINE: usize = 70;
/// The most keys in one file; ssh-keygen writes one.
const KEYS: u32 = 64;

/// Room for the private fields of every key.
pub(crate) const FIELDS_ROOM: usize = 16 * 1024;
/// What is said of the file of a key that a token holds.
fn of_a_token() -> KeyError {
    KeyError::Unsupported(
        "a security token's key file (add it to an agent: ssh-add, and use the agent)".to_owned(),
    )
}

/// How an `OPENSSH PRIVATE KEY` file is encrypted; without a passphrase it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpensshParams {
    /// The cipher, by its name in SSH.
    pub cipher: String,
    /// Rounds of bcrypt, 1 to 2048; each costs about 10 ms.
    pub rounds: u32,
}

impl Default for OpensshParams {
    /// As ssh-keygen: aes256-ctr, 24 rounds.
    fn default() -> Self {
        Self { cipher: "aes256-ctr".to_owned(), rounds: 24 }
    }
}

/// What stands in a file in clear.
struct Outer<'a> {
    cipher: &'a [u8],
    kdf: &'a [u8],
    options: &'a [u8],
    publics: Vec<PublicKey>,
    body: &'a [u8],
    tag: &'a [u8],
}

fn outer(blob: &[u8]) -> Result<Outer<'_>, KeyError> {
    let mut reader =
        Reader::new(blob.strip_prefix(MAGIC).ok_or(KeyError::Malformed("the magic word is missing"))?);
    let (cipher, kdf, options) = (reader.string()?, reader.string()?, reader.string()?);
    let count = reader.get::<u32>()?;
    if count == 0 || count > KEYS {
        return Err(MANY);
    }
    let mut publics = Vec::new();
    for _ in 0..count {
        publics.push(PublicKey::from_blob(reader.string()?)?);
    }
    Ok(Outer { cipher, kdf, options, publics, body: reader.string()?, tag: reader.rest() })
}

/// The public half of the first key, which is never encrypted.
pub(super) fn read_public(blob: &[u8]) -> Result<PublicKey, KeyError> {
    outer(blob)?.publics.into_iter().next().ok_or(KeyError::Malformed("no keys"))
}

/// Reads all keys of a file.
pub(super) fn read(blob: &[u8], passphrase: Option<&Secret>) -> Result<Vec<PKey>, KeyError> {
    let Outer { cipher, kdf, options, publics, body, tag } = outer(blob)?;
    let encrypted = cipher != b"none";
    let plain = match (encrypted, kdf) {
        (false, b"none") if tag.is_empty() => Zeroizing::new(body.to_vec()),
        (false, _) => return Err(KeyError::Malformed("it is not encrypted, but has parts that say so")),
        (true, b"bcrypt") => sealed::by_name(cipher)?.open(options, passphrase, body, tag)?,
        (true, _) => return Err(KeyError::Unsupported("a key derivation other than bcrypt".to_owned())),
    };
    private_section(&plain, encrypted, &publics)
}

/// The decrypted part: check numbers, the keys with their comments, padding 1, 2, 3, …
fn private_section(plain: &[u8], encrypted: bool, publics: &[PublicKey]) -> Result<Vec<PKey>, KeyError> {
    let mut reader = Reader::new(plain);
    if reader.get::<u32>()? != reader.get::<u32>()? {
        return Err(if encrypted {
            KeyError::WrongPassphrase
        } else {
            KeyError::Malformed("its check numbers differ")
        });
    }
    let mut keys = Vec::new();
    for public in publics {
        let key = get_fields(&mut reader)?;
        if key.public_key() != public {
            return Err(parts::HALVES);
        }
        keys.push(key);
    }
    let padded =
        reader.rest().iter().enumerate().all(|(at, byte)| usize::from(*byte) == at.saturating_add(1) & 0xff);
    if !padded {
        return Err(KeyError::Malformed("its padding is wrong"));
    }
    Ok(keys)
}

/// Reads type, numbers and comment: a private key as files have it inside, and agents when one is added,
/// those with a certificate too.
pub(crate) fn get_fields(reader: &mut Reader<'_>) -> Result<PKey, KeyError> {
    let name = reader.string()?;
    let (kind, certified) = KeyType::by_name(name)
        .ok_or_else(|| KeyError::Unsupported(format!("key type {}", crate::wire::Escaped(name))))?;
    let certificate = if certified { Some(PublicKey::from_blob(reader.string()?)?) } else { None };
    let key = match &certificate {
        None => private_key(kind, reader)?,
        Some(certificate) => certified_key(kind, &certificate.without_certificate(), reader)?,
    };
    let comment = String::from_utf8_lossy(reader.string()?).into_owned();
    let key = PKey::from_openssl(key, comment)?;
    certificate.map_or(Ok(key.clone()), |certificate| key.with_certificate(&certificate))
}

fn private_key(kind: KeyType, reader: &mut Reader<'_>) -> Result<OpensslKey<Private>, KeyError> {
    match kind {
        KeyType::Ed25519 => edwards(Id::ED25519, 32, reader),
        KeyType::Ed448 => edwards(Id::ED448, 57, reader),
        KeyType::Rsa => rsa(reader),
        KeyType::Dss => {
            let mut next = || number(reader);
            let (p, q, g, y, x) = (next()?, next()?, next()?, next()?, next()?);
            parts::dss(&DssNumbers { p, q, g, y: Some(y), x })
        }
        KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 => ecdsa(kind, reader),
        KeyType::SkEd25519 | KeyType::SkEcdsa => Err(of_a_token()),
        KeyType::Own => Err(KeyError::Unsupported("a file of a user's own key type".to_owned())),
    }
}

/// The private numbers that follow a certificate, which has the public ones.
fn certified_key(
    kind: KeyType,
    public: &PublicKey,
    reader: &mut Reader<'_>,
) -> Result<OpensslKey<Private>, KeyError> {
    let mut outer = Reader::new(public.blob());
    outer.string()?;
    match kind {
        KeyType::Ed25519 => edwards(Id::ED25519, 32, reader),
        KeyType::Ed448 => edwards(Id::ED448, 57, reader),
        KeyType::Rsa => {
            let (e, n) = (number(&mut outer)?, number(&mut outer)?);
            let (d, iqmp, p, q) = (number(reader)?, number(reader)?, number(reader)?, number(reader)?);
            parts::rsa(&RsaNumbers { n, e, d, p, q, iqmp, exponents: None })
        }
        KeyType::Dss => {
            let mut next = || number(&mut outer);
            let (p, q, g, y) = (next()?, next()?, next()?, next()?);
            parts::dss(&DssNumbers { p, q, g, y: Some(y), x: number(reader)? })
        }
        KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521 => {
            outer.string()?;
            parts::ecdsa(kind, number(reader)?, Some(outer.string()?))
        }
        KeyType::SkEd25519 | KeyType::SkEcdsa => Err(of_a_token()),
        KeyType::Own => Err(KeyError::Unsupported("a file of a user's own key type".to_owned())),
    }
}

/// The public key, then the seed with the public key once more.
fn edwards(id: Id, length: usize, reader: &mut Reader<'_>) -> Result<OpensslKey<Private>, KeyError> {
    let (public, private) = (reader.string()?, reader.string()?);
    let (seed, again) =
        private.split_at_checked(length).ok_or(KeyError::Malformed("an Ed25519 or Ed448 key is short"))?;
    if again != public {
        return Err(parts::HALVES);
    }
    parts::edwards(id, seed, Some(public))
}

/// The magnitude of the next number.
fn number<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], KeyError> {
    Ok(reader.get::<Mpint<'_>>()?.magnitude())
}

fn rsa(reader: &mut Reader<'_>) -> Result<OpensslKey<Private>, KeyError> {
    let mut next = || number(reader);
    let (n, e, d, iqmp, p, q) = (next()?, next()?, next()?, next()?, next()?, next()?);
    parts::rsa(&RsaNumbers { n, e, d, p, q, iqmp, exponents: None })
}

fn ecdsa(kind: KeyType, reader: &mut Reader<'_>) -> Result<OpensslKey<Private>, KeyError> {
    let (_, name) = curve(kind).ok_or(KeyError::Malformed("no curve"))?;
    if reader.string()? != name {
        return Err(KeyError::Malformed("the curve is not the one of its type"));
    }
    let point = reader.string()?;
    parts::ecdsa(kind, number(reader)?, Some(point))
}

/// The text of a file that holds `keys`.
pub(in crate::key) fn write(
    keys: &[PKey],
    passphrase: Option<&Secret>,
    params: &OpensshParams,
) -> Result<Zeroizing<String>, KeyError> {
    let spec = sealed::by_name(params.cipher.as_bytes())?;
    let passphrase = passphrase.filter(|secret| !secret.expose().is_empty());
    let block = if passphrase.is_some() { spec.block } else { 8 };
    let count = u32::try_from(keys.len()).ok().filter(|count| (1..=KEYS).contains(count)).ok_or(MANY)?;
    let mut plain = private_fields(keys)?;
    for byte in 1_u8.. {
        if plain.len().is_multiple_of(block) {
            break;
        }
        plain.push(byte);
    }
    let mut publics = Vec::new();
    for key in keys {
        publics.put(key.public_key().without_certificate().blob());
    }
    let room = plain.len().saturating_add(publics.len()).saturating_add(1024);
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    out.put_raw(MAGIC);
    match passphrase {
        None => {
            out.put("none").put("none").put("");
            out.put(&count).put_raw(&publics).put(plain.as_slice());
        }
        Some(passphrase) => {
            let sealed = spec.seal(params.rounds, passphrase, &plain)?;
            out.put(spec.name).put("bcrypt").put(sealed.options.as_slice());
            out.put(&count).put_raw(&publics).put(sealed.body.as_slice()).put_raw(&sealed.tag);
        }
    }
    Ok(armour::pem(LABEL, &out, LINE))
}

/// Check numbers, then each key with its comment.
fn private_fields(keys: &[PKey]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let check = u32::from_be_bytes(rand::array()?);
    let mut out = Zeroizing::new(Vec::with_capacity(FIELDS_ROOM.saturating_mul(keys.len())));
    out.put(&check).put(&check);
    for key in keys {
        put_fields(&mut out, &key.without_certificate())?;
    }
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
    // A certificate has the public numbers, and so has the blob of a plain key, but for RSA, whose
    // numbers stand in another order.
    let public = key.public_key();
    let certified = public.certificate().is_some();
    match held.id() {
        _ if certified => {
            out.put(public.key_type()).put(public.blob());
        }
        Id::RSA => {
            out.put("ssh-rsa");
            let rsa = held.rsa()?;
            put_number(out, rsa.n().to_vec());
            put_number(out, rsa.e().to_vec());
        }
        _ => {
            out.put_raw(public.blob());
        }
    }
    match held.id() {
        Id::ED25519 | Id::ED448 => {
            let public = held.raw_public_key()?;
            if certified {
                out.put(public.as_slice());
            }
            let seed = Zeroizing::new(held.raw_private_key()?);
            let pair = Zeroizing::new([seed.as_slice(), &public].concat());
            out.put(pair.as_slice());
        }
        Id::DSA => put_number(out, held.dsa()?.priv_key().to_vec()),
        Id::RSA => {
            let rsa = held.rsa()?;
            let none = || KeyError::Malformed("an RSA key without its primes");
            put_number(out, rsa.d().to_vec());
            for number in [rsa.iqmp(), rsa.p(), rsa.q()] {
                put_number(out, number.ok_or_else(none)?.to_vec());
            }
        }
        _ => put_number(out, held.ec_key()?.private_key().to_vec()),
    }
    out.put(key.comment());
    Ok(())
}
