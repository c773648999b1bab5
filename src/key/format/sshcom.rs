//! Private keys of ssh.com's programs: read only. The format was never published; it
//! is described by the import code of PuTTY (import.c) and OpenSSH (ssh-keygen.c).
//!
//! Nothing in it is authenticated: a wrong passphrase is seen from lengths that do not fit.

use openssl::pkey::{PKey as OpensslKey, Private};
use openssl::symm::{Cipher, Mode};
use zeroize::Zeroizing;

use super::armour::Contents;
use super::given;
use super::parts::{self, DssNumbers, RsaNumbers};
use super::sealed::unpadded;
use crate::crypto::hash::HashAlg;
use crate::crypto::secret::Secret;
use crate::key::{KeyError, PKey};
use crate::wire::{Escaped, Malformed, Reader};

pub(super) const LABEL: &str = "SSH2 ENCRYPTED PRIVATE KEY";
const MAGIC: u32 = 0x3f6f_f9eb;
/// The block of 3des-cbc.
const BLOCK: usize = 8;
/// No number of a key is larger, in bytes.
const NUMBER: usize = 4096;

/// A key type by the start of its name, which goes on to say what it signs and encrypts with.
struct Type {
    start: &'static [u8],
    read: fn(&mut Reader<'_>) -> Result<Numbers, Malformed>,
}

static TYPES: &[Type] = &[Type { start: b"if-modn{", read: rsa }, Type { start: b"dl-modp{", read: dsa }];

/// A key's numbers in the file's order.
enum Numbers {
    /// e, d, n, u, p, q, where u is the inverse of p modulo q.
    Rsa([Zeroizing<Vec<u8>>; 6]),
    /// p, g, q, y, x.
    Dss([Zeroizing<Vec<u8>>; 5]),
}

/// Reads the inside of a block.
pub(super) fn read(contents: &Contents, passphrase: Option<&Secret>) -> Result<PKey, KeyError> {
    let mut outer = Reader::new(&contents.body);
    if outer.get::<u32>()? != MAGIC {
        return Err(KeyError::Malformed("the magic number is missing"));
    }
    if usize::try_from(outer.get::<u32>()?).ok() != Some(contents.body.len()) {
        return Err(KeyError::Malformed("it is not as long as it says"));
    }
    let (kind, cipher, body) = (outer.string()?, outer.string()?, outer.string()?);
    outer.finish()?;
    let found = TYPES.iter().find(|known| kind.starts_with(known.start));
    let spec =
        found.ok_or_else(|| KeyError::Unsupported(format!("the ssh.com key type {}", Escaped(kind))))?;
    let plain = match cipher {
        b"none" => Zeroizing::new(body.to_vec()),
        b"3des-cbc" => open(body, given(passphrase)?)?,
        other => return Err(KeyError::Unsupported(format!("the ssh.com cipher {}", Escaped(other)))),
    };
    let found = inside(&plain, cipher != b"none").and_then(|mut inner| (spec.read)(&mut inner));
    let numbers = found.map_err(|_| match cipher {
        b"none" => KeyError::Malformed("its fields do not fit together"),
        _ => KeyError::WrongPassphrase,
    })?;
    PKey::from_openssl(numbers.key()?, contents.comment())
}

/// Two MD5 hashes are the key; the vector is zero.
fn open(body: &[u8], passphrase: &Secret) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    if body.is_empty() || !body.len().is_multiple_of(BLOCK) {
        return Err(KeyError::Malformed("its encrypted part has an impossible length"));
    }
    let first = HashAlg::Md5.digest(&[passphrase.expose()])?;
    let second = HashAlg::Md5.digest(&[passphrase.expose(), &first])?;
    let mut key = Zeroizing::new(Vec::with_capacity(32));
    key.extend_from_slice(&first);
    key.extend_from_slice(&second);
    key.truncate(24);
    unpadded(Cipher::des_ede3_cbc(), Mode::Decrypt, &key, &[0; BLOCK], body)
}

/// The numbers' part: a length, that many bytes, and padding where it was encrypted.
fn inside(plain: &[u8], encrypted: bool) -> Result<Reader<'_>, Malformed> {
    let mut reader = Reader::new(plain);
    let inner = reader.string()?;
    if reader.rest().len() < if encrypted { BLOCK } else { 1 } {
        Ok(Reader::new(inner))
    } else {
        Err(Malformed::Trailing)
    }
}

/// A number: its length in bits, then its bytes.
fn number(reader: &mut Reader<'_>) -> Result<Zeroizing<Vec<u8>>, Malformed> {
    let bits = usize::try_from(reader.get::<u32>()?).map_err(|_| Malformed::Value)?;
    let length = bits.div_ceil(8);
    if length > NUMBER {
        return Err(Malformed::Value);
    }
    reader.take(length).map(|bytes| Zeroizing::new(bytes.to_vec()))
}

fn rsa(reader: &mut Reader<'_>) -> Result<Numbers, Malformed> {
    let mut next = || number(reader);
    let numbers = Numbers::Rsa([next()?, next()?, next()?, next()?, next()?, next()?]);
    if reader.is_empty() { Ok(numbers) } else { Err(Malformed::Trailing) }
}

/// A zero says that the group is given by its numbers.
fn dsa(reader: &mut Reader<'_>) -> Result<Numbers, Malformed> {
    if reader.get::<u32>()? != 0 {
        return Err(Malformed::Value);
    }
    let mut next = || number(reader);
    let numbers = Numbers::Dss([next()?, next()?, next()?, next()?, next()?]);
    if reader.is_empty() { Ok(numbers) } else { Err(Malformed::Trailing) }
}

impl Numbers {
    fn key(&self) -> Result<OpensslKey<Private>, KeyError> {
        match self {
            // The primes change places, because u is the other one's inverse elsewhere.
            Self::Rsa([e, d, n, u, p, q]) => {
                parts::rsa(&RsaNumbers { n, e, d, p: q, q: p, iqmp: u, exponents: None })
            }
            Self::Dss([p, g, q, y, x]) => parts::dss(&DssNumbers { p, q, g, y: Some(y), x }),
        }
    }
}
