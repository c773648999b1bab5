//! What key files are encrypted with, by the vectors of Project Wycheproof.

use super::*;
use crate::crypto::tests::vectors::{Expected, vectors};

/// PBKDF2's hash and the cipher, by the parts of the sets' names.
const HASHES: [(&str, u8); 5] = [("sha1", 7), ("sha224", 8), ("sha256", 9), ("sha384", 10), ("sha512", 11)];
const CIPHERS: [(&str, u8); 3] = [("128", 0x02), ("192", 0x16), ("256", 0x2a)];

#[test]
fn pbes2() {
    for (hash, cipher) in [
        ("sha1", "256"),
        ("sha224", "256"),
        ("sha256", "128"),
        ("sha256", "192"),
        ("sha256", "256"),
        ("sha384", "256"),
        ("sha512", "256"),
    ] {
        let last = |table: &[(&str, u8)], name| table.iter().find(|(known, _)| *known == name).unwrap().1;
        let prf = [b"\x2a\x86\x48\x86\xf7\x0d\x02", &[last(&HASHES, hash)][..]].concat();
        let aes = [b"\x60\x86\x48\x01\x65\x03\x04\x01", &[last(&CIPHERS, cipher)][..]].concat();
        for vector in vectors(&format!("pbes2_hmac{hash}_aes_{cipher}")) {
            let [password, salt, count, iv, message, sealed] = &vector.fields[..] else { panic!("fields") };
            let count = integer(u128::from(u64::from_be_bytes(count[..].try_into().unwrap())));
            let prf = tlv(0x30, &[&tlv(6, &[&prf]), &[5, 0]]);
            let parameters = tlv(0x30, &[&tlv(4, &[salt]), &count, &prf]);
            let derivation = tlv(0x30, &[&tlv(6, &[PBKDF2]), &parameters]);
            let file = pbes2_info(&derivation, &aes, iv, sealed);
            let opened = pbe::open(&file, Some(&Secret::from(&password[..])));
            assert_eq!(vector.expected, Expected::Valid);
            // An empty passphrase is none.
            let wanted = if password.is_empty() { Err(KeyError::PassphraseNeeded) } else { Ok(message) };
            assert_eq!(opened.as_deref(), wanted.as_ref().copied(), "{hash} {cipher} {}", vector.number);
        }
    }
}

#[test]
fn aes_cbc_and_its_padding() {
    use openssl::symm::Cipher;
    for vector in vectors("aes_cbc_pkcs5") {
        let [key, iv, message, sealed] = &vector.fields[..] else { panic!("fields") };
        let cipher = match key.len() {
            16 => Cipher::aes_128_cbc(),
            24 => Cipher::aes_192_cbc(),
            _ => Cipher::aes_256_cbc(),
        };
        let opened = sealed::padded(cipher, key, iv, sealed);
        assert_eq!(opened.is_ok(), vector.expected == Expected::Valid, "{}", vector.number);
        if let Ok(opened) = opened {
            assert_eq!(&*opened, message, "{}", vector.number);
        }
    }
}
