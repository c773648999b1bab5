//! Key files, public keys, known_hosts: what a user's directory may hold.

use super::Input;
use crate::crypto::secret::Secret;
use crate::hostkeys::HostKeys;
use crate::kex::Moduli;
use crate::key::{FingerprintHash, KeyFormat, PKey, PpkParams, PublicFormat, PublicKey};
use crate::server::HostbasedRules;

/// Whatever is read as a key can be shown and compared; nothing is taken for what it is not.
pub fn key_files(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 5 {
        0 => {
            if let Ok(keys) = PKey::all_from_bytes(input.0, None) {
                keys.iter().for_each(comes_back);
                // More than a file may hold are not written.
                if let Ok(file) = PKey::all_to_format(&keys, &KeyFormat::default(), None) {
                    let read = PKey::all_from_bytes(file.expose(), None).unwrap_or_default();
                    assert!(read.iter().map(PKey::public_key).eq(keys.iter().map(PKey::public_key)));
                }
            }
        }
        1 => {
            // A cheap passphrase: the cost of the derivation is capped by the format's own limits.
            if let Ok(key) = PKey::from_bytes(input.0, Some(&Secret::from("secret"))) {
                assert!(!format!("{key:?}").is_empty());
                comes_back(&key);
            }
        }
        2 => {
            if let Ok(key) = PublicKey::from_blob(input.0) {
                assert_eq!(PublicKey::from_blob(key.blob()), Ok(key.clone()));
                assert_eq!(key.randomart(FingerprintHash::Sha512).lines().count(), 11);
                // A signature that nobody made.
                for algorithm in key.algorithms() {
                    assert!(key.verify(algorithm, b"data", &[0; 64]).is_err());
                }
            }
        }
        3 => {
            let text = String::from_utf8_lossy(input.0);
            if let Ok((key, comment)) = PublicKey::from_line(&text) {
                let line = format!("{} {comment}", key.to_line());
                assert_eq!(PublicKey::from_line(&line).map(|(key, _)| key), Ok(key));
            }
            if let Ok((key, comment)) = PublicKey::from_bytes(input.0) {
                for format in
                    [PublicFormat::Line, PublicFormat::Rfc4716, PublicFormat::Pem, PublicFormat::Pkcs8]
                {
                    let Ok(file) = key.to_format(format, &comment) else { continue };
                    assert_eq!(PublicKey::from_bytes(file.as_bytes()).map(|(key, _)| key), Ok(key.clone()));
                    let Ok(file) = key.to_der(format) else { continue };
                    assert_eq!(PublicKey::from_bytes(&file).map(|(key, _)| key), Ok(key.clone()));
                }
            }
            drop(Moduli::parse(&text));
        }
        _ => {
            let keys = HostKeys::parse(input.0);
            drop(keys.lookup("host.example.org", 22));
            assert_eq!(HostKeys::parse(keys.to_text()).to_text(), keys.to_text());
            drop(HostbasedRules::parse(input.0));
        }
    }
}

/// What was read as a key is written and read as the same, in every format that has it.
fn comes_back(key: &PKey) {
    for format in [
        KeyFormat::default(),
        KeyFormat::Ppk(PpkParams::default()),
        KeyFormat::Pem,
        KeyFormat::Der,
        KeyFormat::Pkcs8Der,
    ] {
        if let Ok(file) = key.to_format(&format, None) {
            let read = PKey::from_bytes(file.expose(), None).map(|read| read.public_key().clone());
            assert_eq!(read.as_ref(), Ok(key.public_key()));
        }
    }
}
