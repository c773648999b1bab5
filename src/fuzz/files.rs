//! Key files, public keys, known_hosts: what a user's directory may hold.

use super::Input;
use crate::crypto::secret::Secret;
use crate::hostkeys::HostKeys;
use crate::kex::Moduli;
use crate::key::{PKey, PublicKey};

/// Whatever is read as a key can be shown and compared; nothing is taken for what it is not.
pub fn key_files(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 5 {
        0 => drop(PKey::from_bytes(input.0, None)),
        1 => {
            // A cheap passphrase: the cost of the derivation is capped by the format's own limits.
            if let Ok(key) = PKey::from_bytes(input.0, Some(&Secret::from("secret"))) {
                assert!(!format!("{key:?}").is_empty());
            }
        }
        2 => {
            if let Ok(key) = PublicKey::from_blob(input.0) {
                assert_eq!(PublicKey::from_blob(key.blob()), Ok(key.clone()));
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
            drop(Moduli::parse(&text));
        }
        _ => {
            let keys = HostKeys::parse(input.0);
            drop(keys.lookup("host.example.org", 22));
            assert_eq!(HostKeys::parse(keys.to_text()).to_text(), keys.to_text());
        }
    }
}
