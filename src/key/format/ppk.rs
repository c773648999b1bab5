//! PuTTY's private key files, versions 2 and 3 (PuTTY's manual, appendix "PPK file format").
//!
//! The MAC covers all of the file and is checked before the private part is looked at. It is keyed
//! from the passphrase, so that a damaged file that is encrypted looks like a wrong passphrase; the
//! format has nothing that would tell them apart.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use openssl::pkey::{Id, PKey as OpensslKey, Private};
use openssl::symm::{Cipher, Mode};
use zeroize::{Zeroize, Zeroizing};

use super::armour::{self, Lines};
use super::parts::{self, DssNumbers, RsaNumbers};
use super::sealed::unpadded;
use super::{given, unhex};
use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::{Hmac, MAX_MAC};
use crate::crypto::rand;
use crate::crypto::secret::{Secret, constant_time_eq};
use crate::key::algorithm::KeyType;
use crate::key::{KeyError, PKey, PublicKey};
use crate::wire::{Encode, Escaped, Mpint, Reader, Writer};

const MAGIC: &[u8] = b"PuTTY-User-Key-File-";
/// The most memory that Argon2 may take, in KiB; puttygen takes 8 MiB unless told otherwise.
const MEMORY: u32 = if cfg!(fuzzing) { 64 } else { 1024 * 1024 };
/// The most memory that Argon2 may go over, in KiB, all passes together: some 20 seconds.
const WORK: u32 = MEMORY.saturating_mul(16);
/// The most lanes of Argon2; more than any machine had when the limit was made. They cost nothing.
const LANES: u32 = 256;
/// The most bytes in Argon2's salt; puttygen takes 16.
const SALT: usize = 64;
/// PuTTY breaks lines after 64 characters.
const LINE: usize = 64;
/// The block and the initialisation vector of aes256-cbc, and its key.
const BLOCK: usize = 16;
const KEY: usize = 32;
/// The MAC key that version 3 derives.
const MAC_KEY: usize = 32;

/// The version of a PPK file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PpkVersion {
    /// Of PuTTY 0.52 to 0.74: the passphrase is hashed once with SHA-1. For old programs only.
    V2,
    /// Since PuTTY 0.75: Argon2.
    V3,
}

/// A flavour of Argon2 (RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Argon2Kind {
    /// Argon2d.
    D,
    /// Argon2i.
    I,
    /// Argon2id, the best choice.
    Id,
}

impl Argon2Kind {
    const ALL: [Self; 3] = [Self::Id, Self::I, Self::D];

    fn name(self) -> &'static str {
        match self {
            Self::D => "Argon2d",
            Self::I => "Argon2i",
            Self::Id => "Argon2id",
        }
    }

    fn algorithm(self) -> Algorithm {
        match self {
            Self::D => Algorithm::Argon2d,
            Self::I => Algorithm::Argon2i,
            Self::Id => Algorithm::Argon2id,
        }
    }
}

/// How a PPK file is written; all but the version says how it is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PpkParams {
    /// The version.
    pub version: PpkVersion,
    /// The flavour of Argon2.
    pub kind: Argon2Kind,
    /// Memory for Argon2 in KiB, up to 1 GiB.
    pub memory: u32,
    /// Passes of Argon2; memory times passes is at most 16 GiB.
    pub passes: u32,
    /// Lanes of Argon2, up to 256.
    pub parallelism: u32,
}

impl Default for PpkParams {
    /// Version 3, Argon2id over 8 MiB, 21 times: about the tenth of a second that puttygen aims at.
    fn default() -> Self {
        Self { version: PpkVersion::V3, kind: Argon2Kind::Id, memory: 8192, passes: 21, parallelism: 1 }
    }
}

/// Whether the text is a PPK file.
pub(super) fn is_ppk(text: &[u8]) -> bool {
    Lines::new(text).next().is_some_and(|line| line.starts_with(MAGIC))
}

/// What the lines of a file say, before anything is believed.
struct File<'a> {
    version: PpkVersion,
    algorithm: &'a [u8],
    encryption: &'a [u8],
    comment: &'a [u8],
    public: Zeroizing<Vec<u8>>,
    argon: Option<(PpkParams, Vec<u8>)>,
    private: Zeroizing<Vec<u8>>,
    mac: Vec<u8>,
}

/// The value of the next line, which has this tag.
fn value<'a>(lines: &mut Lines<'a>, tag: &str) -> Result<&'a [u8], KeyError> {
    let line = lines.raw().ok_or(KeyError::Malformed("a PuTTY key file that ends early"))?;
    let rest = line.strip_prefix(tag.as_bytes()).and_then(|rest| rest.strip_prefix(b": "));
    rest.ok_or(KeyError::Malformed("a PuTTY key file whose lines are not in order"))
}

fn decimal(lines: &mut Lines<'_>, tag: &str) -> Result<u32, KeyError> {
    let text = value(lines, tag)?;
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(text).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    number.ok_or(KeyError::Malformed("a PuTTY key file with a number that is none"))
}

/// A count of lines, and that many lines of base64.
fn lines_of_base64(lines: &mut Lines<'_>, tag: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let count = usize::try_from(decimal(lines, tag)?).unwrap_or(usize::MAX);
    let body = armour::base64(lines.clone().take(count))?;
    if count > 0 {
        lines.nth(count.saturating_sub(1)).ok_or(KeyError::Malformed("a PuTTY key file that ends early"))?;
    }
    Ok(body)
}

fn parse(text: &[u8]) -> Result<File<'_>, KeyError> {
    let mut lines = Lines::new(text);
    let first = lines.raw().and_then(|line| line.strip_prefix(MAGIC)).unwrap_or_default();
    let (version, algorithm) = match first {
        [b'2', b':', b' ', algorithm @ ..] => (PpkVersion::V2, algorithm),
        [b'3', b':', b' ', algorithm @ ..] => (PpkVersion::V3, algorithm),
        other => {
            let shown = other.split(|byte| *byte == b':').next().unwrap_or_default();
            return Err(KeyError::Unsupported(format!(
                "version {} of PuTTY's key files (versions 2 and 3 are)",
                Escaped(shown)
            )));
        }
    };
    let encryption = value(&mut lines, "Encryption")?;
    let comment = value(&mut lines, "Comment")?;
    let public = lines_of_base64(&mut lines, "Public-Lines")?;
    let argon = match (version, encryption) {
        (PpkVersion::V3, b"aes256-cbc") => Some(parse_argon(&mut lines)?),
        (_, b"aes256-cbc" | b"none") => None,
        (_, other) => return Err(KeyError::Unsupported(format!("the PuTTY cipher {}", Escaped(other)))),
    };
    let private = lines_of_base64(&mut lines, "Private-Lines")?;
    let mac = unhex(value(&mut lines, "Private-MAC")?.trim_ascii_end());
    let mac = mac.ok_or(KeyError::Malformed("a PuTTY key file whose MAC is no hex"))?;
    Ok(File { version, algorithm, encryption, comment, public, argon, private, mac })
}

fn parse_argon(lines: &mut Lines<'_>) -> Result<(PpkParams, Vec<u8>), KeyError> {
    let name = value(lines, "Key-Derivation")?;
    let kind = Argon2Kind::ALL.into_iter().find(|kind| kind.name().as_bytes() == name);
    let params = PpkParams {
        version: PpkVersion::V3,
        kind: kind.ok_or_else(|| KeyError::Unsupported(format!("the key derivation {}", Escaped(name))))?,
        memory: decimal(lines, "Argon2-Memory")?,
        passes: decimal(lines, "Argon2-Passes")?,
        parallelism: decimal(lines, "Argon2-Parallelism")?,
    };
    let salt = unhex(value(lines, "Argon2-Salt")?.trim_ascii_end()).filter(|salt| salt.len() <= SALT);
    Ok((params, salt.ok_or(KeyError::Malformed("a PuTTY key file whose salt is impossible"))?))
}

/// What is derived from the passphrase.
struct Keys {
    cipher: Zeroizing<Vec<u8>>,
    iv: Zeroizing<Vec<u8>>,
    mac: Hmac,
}

impl Keys {
    /// Version 2, and files that are not encrypted: then without a passphrase.
    fn plain(version: PpkVersion, passphrase: &[u8]) -> Result<Self, KeyError> {
        let mac = match version {
            PpkVersion::V2 => {
                let key = HashAlg::Sha1.digest(&[b"putty-private-key-file-mac-key", passphrase])?;
                Hmac::new(HashAlg::Sha1, &key)?
            }
            PpkVersion::V3 => Hmac::new(HashAlg::Sha256, &[])?,
        };
        let mut cipher = Zeroizing::new(Vec::with_capacity(KEY.saturating_mul(2)));
        for counter in [0_u32, 1] {
            cipher.extend_from_slice(&HashAlg::Sha1.digest(&[&counter.to_be_bytes(), passphrase])?);
        }
        cipher.truncate(KEY);
        Ok(Self { cipher, iv: Zeroizing::new(vec![0; BLOCK]), mac })
    }

    fn argon(params: &PpkParams, salt: &[u8], passphrase: &Secret) -> Result<Self, KeyError> {
        let mut out = Zeroizing::new([0; KEY + BLOCK + MAC_KEY]);
        let impossible = |_| KeyError::Malformed("impossible Argon2 parameters");
        let settings = Params::new(params.memory, params.passes, params.parallelism, Some(out.len()))
            .map_err(impossible)?;
        let count = settings.block_count();
        let mut memory: Vec<Block> = Vec::new();
        memory
            .try_reserve_exact(count)
            .map_err(|_| KeyError::TooCostly(format!("there are not {} KiB of memory", params.memory)))?;
        memory.resize(count, Block::new());
        let argon = Argon2::new(params.kind.algorithm(), Version::V0x13, settings);
        let done = argon.hash_password_into_with_memory(passphrase.expose(), salt, &mut out[..], &mut memory);
        memory.iter_mut().for_each(Zeroize::zeroize);
        done.map_err(impossible)?;
        let (cipher, rest) = out.split_at_checked(KEY).unwrap_or_default();
        let (iv, mac) = rest.split_at_checked(BLOCK).unwrap_or_default();
        Ok(Self {
            cipher: Zeroizing::new(cipher.to_vec()),
            iv: Zeroizing::new(iv.to_vec()),
            mac: Hmac::new(HashAlg::Sha256, mac)?,
        })
    }

    fn cipher(&self, mode: Mode, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        unpadded(Cipher::aes_256_cbc(), mode, &self.cipher, &self.iv, input)
    }

    /// The MAC over all that a file says; `private` is not encrypted, but padded.
    fn mac(
        &self,
        algorithm: &[u8],
        encryption: &[u8],
        comment: &[u8],
        public: &[u8],
        private: &[u8],
    ) -> Vec<u8> {
        let fields = [algorithm, encryption, comment, public, private];
        let lengths = fields.map(|field| u32::try_from(field.len()).unwrap_or(u32::MAX).to_be_bytes());
        let parts: Vec<&[u8]> =
            lengths.iter().zip(&fields).flat_map(|(length, field)| [&length[..], *field]).collect();
        self.mac.compute(&parts, &mut [0; MAX_MAC]).to_vec()
    }
}

/// Argon2's cost against our limits.
fn check_cost(params: &PpkParams) -> Result<(), KeyError> {
    let PpkParams { memory, passes, parallelism, .. } = *params;
    if memory > MEMORY || memory.saturating_mul(passes) > WORK || parallelism > LANES {
        return Err(KeyError::TooCostly(format!(
            "Argon2 over {memory} KiB, {passes} passes, {parallelism} lanes; {MEMORY} KiB, \
             {WORK} KiB in all passes and {LANES} lanes are accepted"
        )));
    }
    Ok(())
}

/// The public half, as the file has it in clear.
fn public_half(file: &File<'_>) -> Result<PublicKey, KeyError> {
    let public = PublicKey::from_blob(&file.public)?;
    if public.key_type().as_bytes() == file.algorithm {
        Ok(public)
    } else {
        Err(KeyError::Malformed("the type named is not the key's"))
    }
}

/// The public half and the comment. No MAC was checked: that takes the passphrase.
pub(super) fn read_public(text: &[u8]) -> Result<(PublicKey, String), KeyError> {
    let file = parse(text)?;
    Ok((public_half(&file)?, String::from_utf8_lossy(file.comment).into_owned()))
}

/// Reads a PPK file.
pub(super) fn read(text: &[u8], passphrase: Option<&Secret>) -> Result<PKey, KeyError> {
    let file = parse(text)?;
    let public = public_half(&file)?;
    let encrypted = file.encryption != b"none";
    if encrypted && (file.private.is_empty() || !file.private.len().is_multiple_of(BLOCK)) {
        return Err(KeyError::Malformed("its encrypted part has an impossible length"));
    }
    let keys = match (&file.argon, encrypted) {
        (_, false) => Keys::plain(file.version, b"")?,
        (None, true) => Keys::plain(file.version, given(passphrase)?.expose())?,
        (Some((params, salt)), true) => {
            check_cost(params)?;
            Keys::argon(params, salt, given(passphrase)?)?
        }
    };
    let private = if encrypted { keys.cipher(Mode::Decrypt, &file.private)? } else { file.private };
    let mac = keys.mac(file.algorithm, file.encryption, file.comment, &file.public, &private);
    if !constant_time_eq(&mac, &file.mac) {
        return Err(if encrypted {
            KeyError::WrongPassphrase
        } else {
            KeyError::Malformed("its MAC is wrong")
        });
    }
    let mut reader = Reader::new(&private);
    let key = private_key(&public, &mut reader)?;
    // Up to a block may be padding.
    if reader.rest().len() >= if encrypted { BLOCK } else { 1 } {
        return Err(KeyError::Malformed("its private part is too long"));
    }
    let key = PKey::from_openssl(key, String::from_utf8_lossy(file.comment).into_owned())?;
    if *key.public_key() == public { Ok(key) } else { Err(parts::HALVES) }
}

/// The private half by the type of the public one.
fn private_key(public: &PublicKey, reader: &mut Reader<'_>) -> Result<OpensslKey<Private>, KeyError> {
    let mut fields = Reader::new(public.blob());
    fields.string()?;
    match public.kind() {
        KeyType::Rsa => {
            let mut outer = || fields.get::<Mpint<'_>>().map(Mpint::magnitude);
            let (e, n) = (outer()?, outer()?);
            let mut inner = || reader.get::<Mpint<'_>>().map(Mpint::magnitude);
            let (d, p, q, iqmp) = (inner()?, inner()?, inner()?, inner()?);
            parts::rsa(&RsaNumbers { n, e, d, p, q, iqmp, exponents: None })
        }
        kind @ (KeyType::EcdsaP256 | KeyType::EcdsaP384 | KeyType::EcdsaP521) => {
            parts::ecdsa(kind, reader.get::<Mpint<'_>>()?.magnitude(), None)
        }
        KeyType::Ed25519 => edwards(Id::ED25519, 32, reader),
        KeyType::Ed448 => edwards(Id::ED448, 57, reader),
        KeyType::Dss => {
            let mut outer = || fields.get::<Mpint<'_>>().map(Mpint::magnitude);
            let (p, q, g, y) = (outer()?, outer()?, outer()?, outer()?);
            parts::dss(&DssNumbers { p, q, g, y: Some(y), x: reader.get::<Mpint<'_>>()?.magnitude() })
        }
        KeyType::SkEd25519 | KeyType::SkEcdsa => {
            Err(KeyError::Unsupported("a security token's key in a PPK file".to_owned()))
        }
        KeyType::Own => Err(KeyError::Unsupported("a user's own key type in a PPK file".to_owned())),
    }
}

/// An Edwards curve's seed is a number to PuTTY, in little-endian order: zeros at its end may be missing.
fn edwards(id: Id, length: usize, reader: &mut Reader<'_>) -> Result<OpensslKey<Private>, KeyError> {
    let number = reader.string()?;
    let mut seed = Zeroizing::new(vec![0; length]);
    let place = seed.get_mut(..number.len()).ok_or(KeyError::Malformed("a key of the wrong length"))?;
    place.copy_from_slice(number);
    parts::edwards(id, &seed, None)
}

/// The private part by the type of the key.
fn private_blob(key: &OpensslKey<Private>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // Large enough for every key, so that no copy is left behind by growing.
    let mut out = Zeroizing::new(Vec::with_capacity(16 * 1024));
    let number = |out: &mut Vec<u8>, number: Vec<u8>| {
        Mpint::from_unsigned(&Zeroizing::new(number)).encode(out);
    };
    match key.id() {
        Id::RSA => {
            let rsa = key.rsa()?;
            let none = || KeyError::Malformed("an RSA key without its primes");
            number(&mut out, rsa.d().to_vec());
            for prime in [rsa.p(), rsa.q(), rsa.iqmp()] {
                number(&mut out, prime.ok_or_else(none)?.to_vec());
            }
        }
        Id::EC => number(&mut out, key.ec_key()?.private_key().to_vec()),
        Id::DSA => number(&mut out, key.dsa()?.priv_key().to_vec()),
        Id::ED25519 | Id::ED448 => {
            out.put(Zeroizing::new(key.raw_private_key()?).as_slice());
        }
        other => {
            return Err(KeyError::Unsupported(format!("OpenSSL key type {} in a PPK file", other.as_raw())));
        }
    }
    Ok(out)
}

/// The text of a PPK file that holds `key`.
pub(super) fn write(
    key: &PKey,
    passphrase: Option<&Secret>,
    params: &PpkParams,
) -> Result<Zeroizing<String>, KeyError> {
    let (public, comment) = (key.public_key().without_certificate(), key.comment());
    if comment.contains(['\r', '\n']) {
        return Err(KeyError::Malformed("a PuTTY key file has no comment of several lines"));
    }
    let mut private = private_blob(key.here()?)?;
    let salt = rand::array::<16>()?;
    let keys = match (passphrase, params.version) {
        (None, version) => Keys::plain(version, b"")?,
        (Some(passphrase), PpkVersion::V2) => Keys::plain(PpkVersion::V2, passphrase.expose())?,
        (Some(passphrase), PpkVersion::V3) => {
            check_cost(params)?;
            Keys::argon(params, &salt, passphrase)?
        }
    };
    let encryption = if passphrase.is_some() { "aes256-cbc" } else { "none" };
    if passphrase.is_some() {
        // As PuTTY: the padding is the start of the plain text's hash.
        let digest = HashAlg::Sha1.digest(&[&private])?;
        let missing = private.len().next_multiple_of(BLOCK).saturating_sub(private.len());
        private.extend_from_slice(digest.get(..missing).unwrap_or_default());
    }
    let mac = keys.mac(
        public.key_type().as_bytes(),
        encryption.as_bytes(),
        comment.as_bytes(),
        public.blob(),
        &private,
    );
    if passphrase.is_some() {
        private = keys.cipher(Mode::Encrypt, &private)?;
    }
    let version = if params.version == PpkVersion::V2 { 2 } else { 3 };
    let mut text = Zeroizing::new(format!(
        "PuTTY-User-Key-File-{version}: {}\nEncryption: {encryption}\nComment: {comment}\n",
        public.key_type()
    ));
    put_lines(&mut text, "Public-Lines", public.blob());
    if passphrase.is_some() && params.version == PpkVersion::V3 {
        let PpkParams { kind, memory, passes, parallelism, .. } = params;
        text.push_str(&format!(
            "Key-Derivation: {}\nArgon2-Memory: {memory}\nArgon2-Passes: {passes}\n\
             Argon2-Parallelism: {parallelism}\nArgon2-Salt: {}\n",
            kind.name(),
            hex(&salt)
        ));
    }
    put_lines(&mut text, "Private-Lines", &private);
    text.push_str(&format!("Private-MAC: {}\n", hex(&mac)));
    Ok(text)
}

fn put_lines(text: &mut Zeroizing<String>, tag: &str, bytes: &[u8]) {
    let mut body = Zeroizing::new(String::new());
    armour::put_base64(&mut body, bytes, LINE);
    text.reserve_exact(body.len().saturating_add(256));
    text.push_str(&format!("{tag}: {}\n", body.lines().count()));
    text.push_str(&body);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
