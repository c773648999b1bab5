//! PEM as OpenSSL writes it: PKCS#1, SEC1 and PKCS#8, the first two also encrypted as RFC 1421 has it.

use openssl::pkey::{Id, PKey as OpensslKey, Private};
use openssl::symm::Cipher;
use zeroize::Zeroizing;

use super::armour::Contents;
use super::der::Der;
use super::sealed::{des_key, padded};
use super::{given, pkcs8};
use crate::crypto::hash::HashAlg;
use crate::crypto::secret::Secret;
use crate::key::KeyError;

type Key = Result<OpensslKey<Private>, KeyError>;

/// A cipher of DEK-Info.
struct PemCipher {
    name: &'static str,
    /// Bytes of its key.
    key: usize,
    openssl: fn() -> Cipher,
}

const fn cipher(name: &'static str, key: usize, openssl: fn() -> Cipher) -> PemCipher {
    PemCipher { name, key, openssl }
}

static CIPHERS: &[PemCipher] = &[
    cipher("AES-128-CBC", 16, Cipher::aes_128_cbc),
    cipher("AES-192-CBC", 24, Cipher::aes_192_cbc),
    cipher("AES-256-CBC", 32, Cipher::aes_256_cbc),
    cipher("DES-EDE3-CBC", 24, Cipher::des_ede3_cbc),
    cipher("DES-CBC", DES_KEY, Cipher::des_ede3_cbc),
];

/// Single DES, which many systems' OpenSSL has only as 3DES with one key.
const DES_KEY: usize = 8;

/// A label, and how a block of that label is read.
struct Label {
    name: &'static str,
    read: fn(&Contents, Option<&Secret>) -> Key,
}

static LABELS: &[Label] = &[
    Label { name: "PRIVATE KEY", read: |contents, _| pkcs8::private_info(&contents.body) },
    Label {
        name: "ENCRYPTED PRIVATE KEY",
        read: |contents, passphrase| pkcs8::encrypted(&contents.body, passphrase),
    },
    Label {
        name: "RSA PRIVATE KEY",
        read: |contents, passphrase| pkcs8::pkcs1(&opened(contents, passphrase)?),
    },
    Label {
        name: "EC PRIVATE KEY",
        read: |contents, passphrase| pkcs8::sec1(&opened(contents, passphrase)?, None, None),
    },
    Label {
        name: "DSA PRIVATE KEY",
        read: |contents, passphrase| pkcs8::dsa_numbers(&opened(contents, passphrase)?),
    },
];

/// Whether a block of that label is read here.
pub(super) fn knows(label: &str) -> bool {
    LABELS.iter().any(|known| known.name == label)
}

pub(super) fn read(label: &str, contents: &Contents, passphrase: Option<&Secret>) -> Key {
    let found = LABELS.iter().find(|known| known.name == label);
    (found.ok_or(KeyError::Malformed("no private key is in it"))?.read)(contents, passphrase)
}

/// The DER in a block that may be encrypted as RFC 1421 §4.6 has it.
fn opened(contents: &Contents, passphrase: Option<&Secret>) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let encrypted = match contents.header("Proc-Type") {
        None => false,
        Some("4,ENCRYPTED") => true,
        Some(_) => return Err(KeyError::Unsupported("a PEM file of another Proc-Type".to_owned())),
    };
    let information = match (encrypted, contents.header("DEK-Info")) {
        (false, None) => return Ok(contents.body.clone()),
        (true, Some(information)) => information,
        _ => return Err(KeyError::Malformed("of Proc-Type and DEK-Info there is one only")),
    };
    let (name, iv) =
        information.split_once(',').ok_or(KeyError::Malformed("a DEK-Info without its vector"))?;
    let spec = CIPHERS.iter().find(|spec| spec.name == name);
    let spec = spec.ok_or_else(|| {
        KeyError::Unsupported(format!("the PEM cipher {}", crate::wire::Escaped(name.as_bytes())))
    })?;
    let cipher = (spec.openssl)();
    let iv = super::unhex(iv.as_bytes()).filter(|iv| Some(iv.len()) == cipher.iv_len());
    let iv = iv.ok_or(KeyError::Malformed("a DEK-Info whose vector has an impossible form"))?;
    let mut key = derive(given(passphrase)?, &iv, spec.key)?;
    if spec.key == DES_KEY {
        key = des_key(&key);
    }
    let plain = padded(cipher, &key, &iv, &contents.body)?;
    // One wrong passphrase in 256 leaves a padding that fits.
    Der::whole(&plain).map_err(|_| KeyError::WrongPassphrase)?;
    Ok(plain)
}

/// OpenSSL's EVP_BytesToKey with MD5 and a count of one; the salt is the vector's first half.
fn derive(passphrase: &Secret, iv: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let salt = iv.get(..8).ok_or(KeyError::Malformed("a short vector"))?;
    let mut key = Zeroizing::new(Vec::with_capacity(length.saturating_add(16)));
    let mut last = HashAlg::Md5.digest(&[passphrase.expose(), salt])?;
    loop {
        key.extend_from_slice(&last);
        if key.len() >= length {
            key.truncate(length);
            return Ok(key);
        }
        last = HashAlg::Md5.digest(&[&last, passphrase.expose(), salt])?;
    }
}

/// PKCS#1 or SEC1, encrypted as `ssh-keygen -m PEM` does it.
pub(super) fn write(key: &OpensslKey<Private>, passphrase: Option<&Secret>) -> Result<Vec<u8>, KeyError> {
    let cipher = Cipher::aes_128_cbc();
    match (key.id(), passphrase) {
        (Id::RSA, None) => Ok(key.rsa()?.private_key_to_pem()?),
        (Id::RSA, Some(secret)) => Ok(key.rsa()?.private_key_to_pem_passphrase(cipher, secret.expose())?),
        (Id::EC, None) => Ok(key.ec_key()?.private_key_to_pem()?),
        (Id::EC, Some(secret)) => Ok(key.ec_key()?.private_key_to_pem_passphrase(cipher, secret.expose())?),
        (Id::DSA, None) => Ok(key.dsa()?.private_key_to_pem()?),
        (Id::DSA, Some(secret)) => Ok(key.dsa()?.private_key_to_pem_passphrase(cipher, secret.expose())?),
        _ => Err(not_traditional()),
    }
}

fn not_traditional() -> KeyError {
    KeyError::Unsupported("a key of this type in PKCS#1 or SEC1 (write PKCS#8)".to_owned())
}

/// PKCS#8 in PEM.
pub(super) fn write_pkcs8(
    key: &OpensslKey<Private>,
    passphrase: Option<&Secret>,
) -> Result<Vec<u8>, KeyError> {
    Ok(match passphrase {
        None => key.private_key_to_pem_pkcs8()?,
        Some(secret) => key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), secret.expose())?,
    })
}

/// PKCS#1, SEC1, or a DSA key as OpenSSL has it, in DER.
pub(super) fn write_der(key: &OpensslKey<Private>, passphrase: Option<&Secret>) -> Result<Vec<u8>, KeyError> {
    match (key.id(), passphrase) {
        (Id::RSA | Id::EC | Id::DSA, None) => Ok(key.private_key_to_der()?),
        (Id::RSA | Id::EC | Id::DSA, Some(_)) => {
            Err(KeyError::Unsupported("a passphrase in PKCS#1 or SEC1 in DER (write PKCS#8)".to_owned()))
        }
        _ => Err(not_traditional()),
    }
}

/// PKCS#8 in DER.
pub(super) fn write_pkcs8_der(
    key: &OpensslKey<Private>,
    passphrase: Option<&Secret>,
) -> Result<Vec<u8>, KeyError> {
    Ok(match passphrase {
        None => key.private_key_to_pkcs8()?,
        Some(secret) => key.private_key_to_pkcs8_passphrase(Cipher::aes_256_cbc(), secret.expose())?,
    })
}
