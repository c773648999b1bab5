//! What a file says that it costs is believed only up to a limit, and before anything is done.

use std::time::{Duration, Instant};

use super::*;

/// What the cheapest of these files costs is more than this, on the fastest machine.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Refused as too costly, at once, with a passphrase at hand.
fn refused(file: &[u8]) {
    let started = Instant::now();
    let error = PKey::from_bytes(file, Some(&secret())).unwrap_err();
    assert!(matches!(error, KeyError::TooCostly(_)), "{error}");
    assert!(started.elapsed() < AT_ONCE);
    // Nobody is asked for a passphrase in vain.
    assert!(matches!(PKey::from_bytes(file, None).unwrap_err(), KeyError::TooCostly(_)));
}

/// Accepted but for the passphrase, which is not there.
fn accepted(file: &[u8]) {
    assert_eq!(PKey::from_bytes(file, None).unwrap_err(), KeyError::PassphraseNeeded);
}

fn ppk(memory: u64, passes: u64, lanes: u64) -> Vec<u8> {
    let params =
        PpkParams { version: PpkVersion::V3, kind: Argon2Kind::D, memory: 16, passes: 1, parallelism: 2 };
    let file = ecdsa().to_format(&KeyFormat::Ppk(params), Some(&secret())).unwrap();
    let text = std::str::from_utf8(file.expose()).unwrap();
    text.replace("Memory: 16", &format!("Memory: {memory}"))
        .replace("Passes: 1", &format!("Passes: {passes}"))
        .replace("Parallelism: 2", &format!("Parallelism: {lanes}"))
        .into_bytes()
}

#[test]
fn argon2() {
    const GIB: u64 = 1024 * 1024;
    accepted(&ppk(16, 1, 2));
    accepted(&ppk(GIB, 16, 256));
    for (memory, passes, lanes) in [
        (GIB + 1, 1, 1),
        (4 * GIB - 1, 1, 1),
        (GIB, 17, 1),
        (8, u64::from(u32::MAX), 1),
        (GIB, 1, 257),
        (GIB, 1, u64::from(u32::MAX)),
    ] {
        refused(&ppk(memory, passes, lanes));
    }
    // Numbers beyond 32 bits are none, as are combinations that Argon2 does not have.
    for (memory, passes, lanes) in
        [(1 << 32, 1, 1), (16, 1 << 32, 1), (16, 0, 1), (16, 1, 0), (7, 1, 1), (16, 1, 3)]
    {
        let error = PKey::from_bytes(&ppk(memory, passes, lanes), Some(&secret())).unwrap_err();
        assert!(matches!(error, KeyError::Malformed(_)), "{error}");
    }
    let costly = PpkParams { passes: u32::MAX, ..PpkParams::default() };
    let error = ecdsa().to_format(&KeyFormat::Ppk(costly), Some(&secret())).unwrap_err();
    assert!(matches!(error, KeyError::TooCostly(_)));
}

#[test]
fn lines_that_a_ppk_does_not_have() {
    let file = String::from_utf8(ppk(16, 1, 2)).unwrap();
    for (from, to) in [
        ("Public-Lines: 3", "Public-Lines: 2147483648"),
        ("Public-Lines: 3", "Public-Lines: 4"),
        ("Public-Lines: 3", "Public-Lines: 2"),
        ("Private-Lines: 1", "Private-Lines: 4294967295"),
        ("Private-Lines: 1", "Private-Lines: 0"),
        ("Private-Lines: 1", "Private-Lines: -1"),
        ("Private-Lines: 1", "Private-Lines: +1"),
        ("Private-Lines: 1", "Private-Lines: "),
        ("Argon2-Salt: ", &format!("Argon2-Salt: {}", "00".repeat(64))),
    ] {
        assert!(file.contains(from), "{from}");
        let error = PKey::from_bytes(file.replace(from, to).as_bytes(), Some(&secret())).unwrap_err();
        assert!(matches!(error, KeyError::Malformed(_)), "{to}: {error}");
    }
}

/// A file of PBES2 with this derivation, and an aes256-cbc that decrypts nothing.
fn pbes2(derivation: &[u8]) -> Vec<u8> {
    pbes2_info(derivation, AES_256_CBC, &[0; 16], &[0; 48])
}

fn pbkdf2(iterations: u128) -> Vec<u8> {
    pbes2(&tlv(0x30, &[&tlv(6, &[PBKDF2]), &tlv(0x30, &[&tlv(4, &[b"saltsalt"]), &integer(iterations)])]))
}

fn scrypt(n: u128, r: u128, p: u128) -> Vec<u8> {
    let oid = tlv(6, &[b"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b"]);
    let numbers = [integer(n), integer(r), integer(p)].concat();
    pbes2(&tlv(0x30, &[&oid, &tlv(0x30, &[&tlv(4, &[b"saltsalt"]), &numbers])]))
}

fn pbes1(iterations: u128) -> Vec<u8> {
    pbes1_info(b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03", iterations, &[0; 48])
}

#[test]
fn pkcs8() {
    for (make, most) in [(pbkdf2 as fn(_) -> _, 10_000_000), (pbes1, 1_000_000)] {
        accepted(&make(1));
        accepted(&make(most));
        for iterations in [most + 1, 1 << 31, u128::from(u64::MAX), 1 << 64, u128::MAX] {
            refused(&make(iterations));
            refused(&pem_of("ENCRYPTED PRIVATE KEY", "", &make(iterations)));
        }
        assert!(matches!(PKey::from_bytes(&make(0), Some(&secret())), Err(KeyError::Malformed(_))));
    }
    assert_eq!(PKey::from_bytes(&pbkdf2(1), Some(&secret())).unwrap_err(), KeyError::WrongPassphrase);
    assert_eq!(PKey::from_bytes(&pbes1(1), Some(&secret())).unwrap_err(), KeyError::WrongPassphrase);
    // pbeWithMD2AndDES-CBC.
    let md2 = pbes1_info(b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x01", 1, &[0; 48]);
    let error = PKey::from_bytes(&md2, Some(&secret())).unwrap_err();
    assert_eq!(error, KeyError::Unsupported("the PKCS#8 encryption 1.2.840.113549.1.5.1".to_owned()));
}

#[test]
fn scrypt_in_pkcs8() {
    accepted(&scrypt(16384, 8, 1));
    accepted(&scrypt(1 << 19, 8, 4));
    assert_eq!(PKey::from_bytes(&scrypt(2, 1, 1), Some(&secret())).unwrap_err(), KeyError::WrongPassphrase);
    for (n, r, p) in [
        (1 << 20, 8, 1),
        (1 << 19, 8, 64),
        (1 << 40, 8, 1),
        (16384, 1 << 20, 1),
        (16384, 8, 1 << 30),
        (2, 1, 1 << 40),
        (1 << 63, u128::MAX, u128::MAX),
    ] {
        refused(&scrypt(n, r, p));
    }
    for (n, r, p) in [(0, 8, 1), (1, 8, 1), (3, 8, 1), (16, 0, 1), (16, 8, 0), (u128::MAX, 8, 1)] {
        assert!(matches!(PKey::from_bytes(&scrypt(n, r, p), Some(&secret())), Err(KeyError::Malformed(_))));
    }
}

#[test]
fn bcrypt() {
    let file = |rounds: u32| {
        let mut options = Vec::new();
        options.put(&[7_u8; 16][..]).put(&rounds);
        let mut blob = b"openssh-key-v1\0".to_vec();
        blob.put("aes256-ctr").put("bcrypt").put(options.as_slice()).put(&1_u32);
        blob.put(ecdsa().public_key().blob()).put(&[0_u8; 128][..]);
        armour::pem(openssh::LABEL, &blob, 70).as_bytes().to_vec()
    };
    accepted(&file(2048));
    assert_eq!(PKey::from_bytes(&file(1), Some(&secret())).unwrap_err(), KeyError::WrongPassphrase);
    for rounds in [2049, u32::MAX] {
        refused(&file(rounds));
    }
    assert!(matches!(PKey::from_bytes(&file(0), Some(&secret())), Err(KeyError::Malformed(_))));
    for rounds in [0, 2049] {
        let params = OpensshParams { rounds, ..OpensshParams::default() };
        assert!(ecdsa().to_format(&KeyFormat::Openssh(params), Some(&secret())).is_err());
    }
}
