//! Files of every format, whole and broken. `tests/keys_matrix.rs` holds them against other programs.

use std::sync::OnceLock;

use super::*;
use crate::key::{KeyKind, PublicKey};
use crate::wire::{Encode, Writer};

mod cost;
mod damaged;
mod hostile;
mod text;
mod vectors;
mod wycheproof;

const SECRET: &str = "secret";

fn secret() -> Secret {
    Secret::from(SECRET)
}

/// One key of each kind that is made once for all tests.
fn ecdsa() -> &'static PKey {
    static KEY: OnceLock<PKey> = OnceLock::new();
    KEY.get_or_init(|| PKey::generate(KeyKind::EcdsaP256).unwrap().with_comment("a comment").unwrap())
}

fn rsa() -> &'static PKey {
    static KEY: OnceLock<PKey> = OnceLock::new();
    KEY.get_or_init(|| PKey::generate(KeyKind::Rsa(2048)).unwrap().with_comment("a comment").unwrap())
}

fn ed25519() -> &'static PKey {
    static KEY: OnceLock<PKey> = OnceLock::new();
    KEY.get_or_init(|| PKey::generate(KeyKind::Ed25519).unwrap().with_comment("a comment").unwrap())
}

/// Every format, with parameters that cost little.
fn formats() -> Vec<KeyFormat> {
    let openssh = |cipher: &str| KeyFormat::Openssh(OpensshParams { cipher: cipher.to_owned(), rounds: 1 });
    let ppk = |version| {
        KeyFormat::Ppk(PpkParams { version, kind: Argon2Kind::Id, memory: 16, passes: 1, parallelism: 2 })
    };
    vec![
        openssh("aes256-ctr"),
        openssh("aes256-gcm@openssh.com"),
        openssh("chacha20-poly1305@openssh.com"),
        ppk(PpkVersion::V2),
        ppk(PpkVersion::V3),
        KeyFormat::Pem,
        KeyFormat::Pkcs8,
        KeyFormat::Pkcs8Der,
    ]
}

/// A DER element of the parts, in the shortest form.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let inside = parts.concat();
    let mut out = vec![tag];
    match inside.len() {
        length @ ..0x80 => out.push(u8::try_from(length).unwrap()),
        length @ ..0x100 => out.extend([0x81, u8::try_from(length).unwrap()]),
        length => out.extend([&[0x82][..], &u16::try_from(length).unwrap().to_be_bytes()].concat()),
    }
    out.extend(inside);
    out
}

/// An INTEGER that is not negative.
fn integer(value: u128) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count().min(15);
    let digits = &bytes[zeros..];
    if digits[0] >= 0x80 { tlv(2, &[&[0], digits]) } else { tlv(2, &[digits]) }
}

fn pem_of(label: &str, headers: &str, der: &[u8]) -> Vec<u8> {
    let text = armour::pem(label, der, 64).to_string();
    let first = text.find('\n').unwrap() + 1;
    format!("{}{headers}{}", &text[..first], &text[first..]).into_bytes()
}

/// An EncryptedPrivateKeyInfo of PBES2 with this derivation and AES-CBC.
fn pbes2_info(derivation: &[u8], cipher: &[u8], iv: &[u8], sealed: &[u8]) -> Vec<u8> {
    let scheme = tlv(0x30, &[&tlv(6, &[cipher]), &tlv(4, &[iv])]);
    let oid = tlv(6, &[b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d"]);
    let algorithm = tlv(0x30, &[&oid, &tlv(0x30, &[derivation, &scheme])]);
    tlv(0x30, &[&algorithm, &tlv(4, &[sealed])])
}

const AES_256_CBC: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";
const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";

/// An EncryptedPrivateKeyInfo of PBES1.
fn pbes1_info(scheme: &[u8], iterations: u128, sealed: &[u8]) -> Vec<u8> {
    let parameters = tlv(0x30, &[&tlv(4, &[b"saltsalt"]), &integer(iterations)]);
    tlv(0x30, &[&tlv(0x30, &[&tlv(6, &[scheme]), &parameters]), &tlv(4, &[sealed])])
}

/// A file of pbeWithMD5AndDES-CBC, of a single iteration: one hash is key and vector.
fn pbes1_file(key: &PKey) -> Vec<u8> {
    let plain = key.to_format(&KeyFormat::Pkcs8Der, None).unwrap();
    let derived = [SECRET.as_bytes(), b"saltsalt"].concat();
    let derived = openssl::hash::hash(openssl::hash::MessageDigest::md5(), &derived).unwrap();
    let (key, iv) = derived.split_at(8);
    let cipher = openssl::symm::Cipher::des_ede3_cbc();
    let sealed = openssl::symm::encrypt(cipher, &sealed::des_key(key), Some(iv), plain.expose());
    pbes1_info(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x03", 1, &sealed.unwrap())
}

/// The type of an ssh.com file that holds `key`, and its numbers: what PuTTY's and OpenSSH's import code
/// expect.
fn sshcom_numbers(key: &PKey) -> (&'static str, Vec<u8>) {
    let mut numbers = Vec::new();
    let put = |number: &openssl::bn::BigNumRef| {
        numbers.put(&u32::try_from(number.num_bits()).unwrap()).put_raw(&number.to_vec());
    };
    let here = key.here().unwrap();
    if let Ok(rsa) = here.rsa() {
        let (iqmp, p, q) = (rsa.iqmp().unwrap(), rsa.p().unwrap(), rsa.q().unwrap());
        [rsa.e(), rsa.d(), rsa.n(), iqmp, q, p].into_iter().for_each(put);
        return ("if-modn{sign{rsa-pkcs1-sha1},encrypt{rsa-pkcs1v2-oaep}}", numbers);
    }
    let dsa = here.dsa().unwrap();
    [dsa.p(), dsa.g(), dsa.q(), dsa.pub_key(), dsa.priv_key()].into_iter().for_each(put);
    ("dl-modp{sign{dsa-nist-sha1},dh{plain}}", [&[0; 4], numbers.as_slice()].concat())
}

/// An ssh.com file that holds an RSA or DSA key.
fn sshcom_file(key: &PKey, passphrase: Option<&str>) -> Vec<u8> {
    let (kind, numbers) = sshcom_numbers(key);
    let mut plain = crate::wire::string_of(&numbers);
    if let Some(passphrase) = passphrase {
        plain.resize(plain.len().next_multiple_of(8), 0x55);
        let first = openssl::hash::hash(openssl::hash::MessageDigest::md5(), passphrase.as_bytes()).unwrap();
        let second = [passphrase.as_bytes(), &first].concat();
        let second = openssl::hash::hash(openssl::hash::MessageDigest::md5(), &second).unwrap();
        let key = [&first[..], &second[..8]].concat();
        let (cipher, mode) = (openssl::symm::Cipher::des_ede3_cbc(), openssl::symm::Mode::Encrypt);
        plain = sealed::unpadded(cipher, mode, &key, &[0; 8], &plain).unwrap().to_vec();
    }
    let mut rest = Vec::new();
    rest.put(kind).put(if passphrase.is_some() { "3des-cbc" } else { "none" }).put(plain.as_slice());
    let mut file = Vec::new();
    file.put(&0x3f6f_f9eb_u32).put(&u32::try_from(rest.len() + 8).unwrap()).put_raw(&rest);
    let mut text = Zeroizing::new(format!(
        "---- BEGIN {label} ----\nSubject: me\nComment: \"a \\\ncomment\"\n",
        label = sshcom::LABEL
    ));
    armour::put_base64(&mut text, &file, 70);
    text.push_str(&format!("---- END {} ----\n", sshcom::LABEL));
    text.as_bytes().to_vec()
}
