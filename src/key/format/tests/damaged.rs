//! Every format with every type of key, with and without a passphrase, cut at every byte and with its
//! bytes changed. Whatever is read is the key that was written, or an error.

use super::*;
use crate::key::algorithm::KeyType;

/// A file, with what it holds.
struct Sample {
    name: String,
    bytes: Vec<u8>,
    key: PublicKey,
    /// Whether it holds anything that its private numbers can be held against: PKCS#8 has the seed of
    /// an Edwards curve alone, and of DSA the group and the private number.
    bound: bool,
}

/// One key of every type that is held here.
fn keys() -> &'static [PKey] {
    static KEYS: OnceLock<Vec<PKey>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let kinds = [KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Ed448, KeyKind::Dss];
        let made = kinds.map(|kind| PKey::generate(kind).unwrap().with_comment("a comment").unwrap());
        [ecdsa(), rsa(), ed25519()].into_iter().cloned().chain(made).collect()
    })
}

/// Every private file of `key`; the passphrase is `SECRET` where there is one.
fn private_files(key: &PKey) -> Vec<Sample> {
    let kind = key.public_key().kind();
    let seed_only = [KeyType::Ed25519, KeyType::Ed448, KeyType::Dss].contains(&kind);
    let named = |name: String, bytes: Vec<u8>, bound| {
        let (name, key) = (format!("{kind:?} {name}"), key.public_key().clone());
        Sample { name, bytes, key, bound }
    };
    let mut files = Vec::new();
    for format in formats().into_iter().chain([KeyFormat::Der]) {
        for passphrase in [None, Some(secret())] {
            let bytes = match key.to_format(&format, passphrase.as_ref()) {
                Ok(bytes) => bytes.expose().to_vec(),
                Err(error) => {
                    assert!(matches!(error, KeyError::Unsupported(_)), "{kind:?} {format:?}: {error}");
                    continue;
                }
            };
            let bound = !(seed_only && matches!(format, KeyFormat::Pkcs8 | KeyFormat::Pkcs8Der));
            files.push(named(format!("{format:?} {}", passphrase.is_some()), bytes, bound));
        }
    }
    files.push(named("PBES1".to_owned(), pbes1_file(key), !seed_only));
    if [KeyType::Rsa, KeyType::Dss].contains(&kind) {
        for passphrase in [None, Some(SECRET)] {
            files.push(named(format!("ssh.com {passphrase:?}"), sshcom_file(key, passphrase), true));
        }
    }
    // Nothing but what a type does not have is missing.
    let wanted = match kind {
        KeyType::Rsa | KeyType::Dss => 20,
        KeyType::Ed25519 | KeyType::Ed448 => 15,
        _ => 18,
    };
    assert_eq!(files.len(), wanted, "{kind:?}");
    files
}

/// Those that openssl wrote in every scheme of PBES1.
fn foreign_files() -> Vec<Sample> {
    let schemes = vectors::PBES1.iter().map(|(name, base64)| {
        let key = PublicKey::from_bytes(vectors::PBES1_KEY.as_bytes()).unwrap().0;
        let bytes = crate::key::public::decode_base64(base64).unwrap();
        Sample { name: (*name).to_owned(), bytes, key, bound: true }
    });
    schemes.collect()
}

/// Runs `test` with every private file; those of each type on a thread of their own.
fn each(test: impl Fn(&Sample) + Sync) {
    std::thread::scope(|scope| {
        for key in keys() {
            scope.spawn(|| private_files(key).iter().for_each(&test));
        }
        scope.spawn(|| foreign_files().iter().for_each(&test));
    });
}

/// What is wrong with a file is said of the file: OpenSSL has seen nothing that it fails at.
fn check_error(error: &KeyError, about: &str) {
    assert!(!matches!(error, KeyError::Crypto(_)), "{about}: {error}");
}

#[test]
fn cut_at_every_byte() {
    each(|Sample { name, bytes, key, .. }| {
        let needed = if bytes[0] == der::SEQUENCE { bytes.len() } else { bytes.trim_ascii_end().len() };
        for length in 0..needed {
            let about = format!("{name}, {length} of {}", bytes.len());
            let read = PKey::from_bytes(&bytes[..length], Some(&secret()));
            check_error(&read.expect_err(&about), &about);
            assert!(PKey::all_from_bytes(&bytes[..length], None).is_err(), "{about}");
        }
        assert_eq!(PKey::from_bytes(bytes, Some(&secret())).unwrap().public_key(), key, "{name}");
    });
}

/// The characters in which OpenSSH's format says what deriving the key costs. That a large cost is
/// refused is shown elsewhere; here one would only take time.
fn rounds_at(cipher: &str) -> std::ops::Range<usize> {
    let before = b"openssh-key-v1\0".len() + 4 + cipher.len() + 4 + "bcrypt".len() + 4 + 4 + 16;
    let character = |byte: usize| {
        let at = byte / 3 * 4;
        "-----BEGIN OPENSSH PRIVATE KEY-----\n".len() + at + at / 70
    };
    character(before)..character(before + 4) + 5
}

#[test]
fn every_byte_changed() {
    each(|Sample { name, bytes, key, bound }| {
        // Even the smallest cost of bcrypt adds up.
        let bcrypt = ["aes256-ctr", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"]
            .into_iter()
            .find(|cipher| name.contains(cipher) && name.ends_with("true"));
        let (skipped, step) =
            bcrypt.map_or((0..0, 1), |cipher| (rounds_at(cipher), bytes.len().div_ceil(60)));
        for at in (0..bytes.len()).step_by(step).filter(|at| !skipped.contains(at)) {
            let mut changed = bytes.clone();
            changed[at] ^= [1, 0x20, 0x80][at % 3];
            let about = format!("{name} at {at}");
            match PKey::from_bytes(&changed, Some(&secret())) {
                Ok(read) => assert!(!bound || read.public_key() == key, "{about}"),
                Err(error) => check_error(&error, &about),
            }
            if let Err(error) = PublicKey::from_bytes(&changed) {
                check_error(&error, &about);
            }
        }
    });
}

#[test]
fn public_files_cut_and_changed() {
    for key in keys().iter().map(PKey::public_key) {
        let texts = [PublicFormat::Line, PublicFormat::Rfc4716, PublicFormat::Pem, PublicFormat::Pkcs8]
            .map(|format| (format!("{format:?}"), key.to_format(format, "").unwrap().into_bytes()));
        let ders = [PublicFormat::Pem, PublicFormat::Pkcs8]
            .map(|format| (format!("{format:?} in DER"), key.to_der(format).unwrap()));
        for (name, file) in texts.into_iter().chain(ders) {
            assert_eq!(PublicKey::from_bytes(&file).unwrap().0, *key, "{name}");
            // All but the end of the last line is needed.
            for length in 0..if file[0] == der::SEQUENCE { file.len() } else { file.len() - 1 } {
                let about = format!("{:?} {name}, {length}", key.kind());
                check_error(&PublicKey::from_bytes(&file[..length]).expect_err(&about), &about);
            }
            for (at, bit) in (0..file.len()).flat_map(|at| [1, 0x20, 0x80].map(|bit| (at, bit))) {
                let mut changed = file.clone();
                changed[at] ^= bit;
                if let Err(error) = PublicKey::from_bytes(&changed) {
                    check_error(&error, &format!("{:?} {name} at {at}", key.kind()));
                }
            }
        }
    }
}
