//! Files that puttygen 0.78 wrote, and corners of the formats that no program writes by chance.

use super::*;
use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::Hmac;

const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJSWp/GbbrEVaklLADqm1OxK0WaQaFOCLanAOQH+8rE0";

const V3_PLAIN: &[u8] = b"PuTTY-User-Key-File-3: ssh-ed25519
Encryption: none
Comment: a b
Public-Lines: 2
AAAAC3NzaC1lZDI1NTE5AAAAIJSWp/GbbrEVaklLADqm1OxK0WaQaFOCLanAOQH+
8rE0
Private-Lines: 1
AAAAIBL7+f6j+BgEprQac934jQG0e7P5w4GOJg4kpDw4sLC1
Private-MAC: 38c71c565847dc3e0073e9a1c3c69ca29ec5fb1664de60aca9b6895d5c85d2f4
";

/// The comment is in Latin-1.
const V2: &[u8] = b"PuTTY-User-Key-File-2: ssh-ed25519
Encryption: aes256-cbc
Comment: caf\xe9
Public-Lines: 2
AAAAC3NzaC1lZDI1NTE5AAAAIJSWp/GbbrEVaklLADqm1OxK0WaQaFOCLanAOQH+
8rE0
Private-Lines: 1
We1IIe59Dt26QbWS+2lK0mO3Ywqblpizx9CyXwWbleRvkOpuh98r17jDW+kLKpeK
Private-MAC: 7419fedd2cfe9dd7b662e23e4493cb787009f721
";

const V3_ARGON2I: &[u8] = b"PuTTY-User-Key-File-3: ssh-ed25519
Encryption: aes256-cbc
Comment: Argon2i
Public-Lines: 2
AAAAC3NzaC1lZDI1NTE5AAAAIJSWp/GbbrEVaklLADqm1OxK0WaQaFOCLanAOQH+
8rE0
Key-Derivation: Argon2i
Argon2-Memory: 64
Argon2-Passes: 2
Argon2-Parallelism: 2
Argon2-Salt: b403872d9693b1484539f88111ff8e48
Private-Lines: 1
bdHwbk896lJSUKdPeUhzXNppjuvaNUyO+zlsHhPzVYkcMeNNhIiwspNRV1NQiiE9
Private-MAC: 11b2b748a35dcf574aeafe35cb81dc5193d9bd864341130ae02774fa6e6a42f9
";

/// The key of `PBES1`.
pub(super) const PBES1_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEbuQuLnOJ67VTJU5Ql96h6djTpCiS\n\
    updOtU++eERl8EYyP9skZh6oxrPFyLOoNSId4UGdkb9sI5Z2vnO+xqShBA==\n\
    -----END PUBLIC KEY-----\n";

/// A key of P-256 as `openssl pkcs8 -topk8 -iter 2 -v1 PBE-..` wrote it, with `SECRET`, by scheme.
pub(super) const PBES1: &[(&str, &str)] = &[
    (
        "MD5-DES",
        "MIGvMBoGCSqGSIb3DQEFAzANBAjvIUmDLPW6XwIBAgSBkE8cdAbbWTrylRyNkmjpAx0MVVo9uycm+mme/pXVPsSN\
         FFTg8CgVOvoV9/v4xcb4FPQe9QfZU9uy60E11wlpv1A81hIiqgDsKYEzr52fIfIS3kKWiOIAEw1uQEMP/RG+B+iC\
         Bv0AbqogpgK6qTLTNB4PlScS3rafZxBhGKaFcA2OW3SWC8cVkwhu2xMgpqp4Rw==",
    ),
    (
        "SHA1-DES",
        "MIGvMBoGCSqGSIb3DQEFCjANBAhcMYzkZWe9eAIBAgSBkD3Q7tIkkYYKwFQxGddlf/n8joVHYZCzd6xoKEpH3JuB\
         AUcpuCbb2aanpqxpzQfB827zDqvd/lFHGP5CbLEuxosR3TdysdS4y7nCUYKcFcGFZcIdpF+sEMAWOJFZcyYaKrGE\
         GsTrE43tXvx71A5TdVRjwmKvMFJG94gt9N0XDQyM5ySIcFyG0hFdQ1sXIlmaTg==",
    ),
    (
        "SHA1-3DES",
        "MIGwMBsGCiqGSIb3DQEMAQMwDQQIT/YLiDVzA7ECAQIEgZCnIJLszW2Jggwk3k7xP1aM6EFWjmgzpnP70NZOLLBQ\
         4BKei4lCUQZtCAPZheyqYaJeKrAu4Havdrc7dlVuJ7eALZ+Z2eMfH46LIJMWsvBLvSB+xp8r3ygt5JUuLgjTU2GM\
         6IvZ4gjBeC+p/kWHVmcODeatzLnNr7krEX70w/i+aQlvjz/cdmzQQQQB06CyyXk=",
    ),
    (
        "SHA1-2DES",
        "MIGwMBsGCiqGSIb3DQEMAQQwDQQIjFyUfWN+bWMCAQIEgZAkQVZ2hSeqUnHQLSx9DaqXiLdtukfJgTh9lOcTqzBy\
         QUPFcq2jmG4OQxEhLwgN1dwjsr6oBwMhnJ6oiosm8pm291M1N11J2umhzOPLw2hebq1zVYlYKYP5plLLOhklHNWS\
         ab7/ZQNq5AdYuLgEPHWBLJBNiQXOUowUpxtxT57DGYUIkL+k+TviZyZpYLg93rg=",
    ),
    (
        "SHA1-RC4-128",
        "MIGqMBsGCiqGSIb3DQEMAQEwDQQI57ugZKISugYCAQIEgYpgV2onrKdI8Cl+WXVd0eborQKVv8pZDvRsE/Ss5QnY\
         i3KJDeY7SQAQ3giDqpF6jl5OHeurGyQxFfR3xvorFscdZuDRUTpSdi9x9kwk/oJ2MK6YncBAT6Wy8eZ2BdnlISZD\
         uncTkco42fJFAiUrXdA6N/OWXGNdCXRiTWaYkwa5Xs4h3pwTLdpGUQ4=",
    ),
    (
        "SHA1-RC4-40",
        "MIGqMBsGCiqGSIb3DQEMAQIwDQQI1DdQYRSghN4CAQIEgYq6VPksCEZwsIsg9z2V5bb4EBHqJ36qq0WAw24ka84+\
         JV7Fa5eRIUUTM9TCAlzDmGYf/lhoiRfjSLtq/P5RiHKCQcNlZQhCtGs2JaLyDofhzX6IRQstjrrMgTwusB7jcm2d\
         8KpZfky4CbSVe4giaLvBZR2DAOvMtbmBW8Vt/a+F9H89r24jutoPHac=",
    ),
    (
        "MD5-RC2-64",
        "MIGvMBoGCSqGSIb3DQEFBjANBAiwW8oiCHQBLQIBAgSBkDE3/4+TFYfmevPgjx5QpJPY5mEo77lR1Yub2C4LYWWu\
         3KvH8nCO1fxhqwEyknHBTxVTaHe8m5yJSREWDTKgY91ScQosALRk6tAjSoWiYEl6ntZHsZRxjGGz3bmIK8ljsrtM\
         FKbGEv6tHnq1P4J2L+/klsmr2P5czJZWlvZfvitOqIUiySPsg8HacDJY4uTSlg==",
    ),
    (
        "SHA1-RC2-64",
        "MIGvMBoGCSqGSIb3DQEFCzANBAiMQaPx4cu/kQIBAgSBkKvKDebKxFzOs8mLkPaVKCMiBSY0EeEHB9MCR2oiFY4j\
         HYOsVRv1hAxvG+mavPfv/mJRQBjuDQj3KlIfzdUQp2Xgjv51eDJSQd3vs15+k/6i8beEHLjBn2XEb6ERtJLjbUML\
         tDZdRQsI7NLmfV8CiCY1n0UaV5HDU+iwqbBxmr4HSmEANIesPczwaFTitE1quQ==",
    ),
    (
        "SHA1-RC2-128",
        "MIGwMBsGCiqGSIb3DQEMAQUwDQQIXfhbtU9XQTECAQIEgZBSKM6W7BBqEur4m+f2uHcKxM97WcnV5ihOA6OuKnXQ\
         QpF1GHOf9hop4CV4rye/J0hq2z0mFOtwVvZKqsML/ddAowb4Kq9wDv24pbFXEM9ke7k9kTtGZlu5j0NOX2l5BMmV\
         k2n5D4aV9LP/aVimIciuUhNDlS0ys5KvBvQC+HemE09RiPOwM/ntOs3LAp7WOeM=",
    ),
    (
        "SHA1-RC2-40",
        "MIGwMBsGCiqGSIb3DQEMAQYwDQQIeh55AEcAEdwCAQIEgZAeSpNNl+8mSoBFuvvgy8V+dyjJiThaOGsAV3g7wqwQ\
         wfclBbbsgEV0twBydwnaErIo2MgGob3H7i78bPtAEygLdJaPo/9mMSESxJ8EtUviNcyCGBEPNQzhNaqNtzxqrRE6\
         Q162NJJeRidhHS6+gcJ03iO2FexdaoqR719AIS/O8uG1rVQdPUCfMbs3bl9koQI=",
    ),
];

/// RC2's; OpenSSL sees to the others'.
#[test]
fn padding_of_pkcs7() {
    for (plain, length) in [
        (&[][..], None),
        (&[8; 8], Some(0)),
        (&[7, 7, 7, 7, 7, 7, 7, 1], Some(7)),
        (&[7, 7, 7, 7, 7, 3, 3, 3], Some(5)),
        (&[7, 7, 7, 7, 7, 2, 3, 3], None),
        (&[7, 7, 7, 7, 7, 3, 3, 0], None),
        (&[9; 16], None),
        (&[16; 16], None),
        (&[5; 3], None),
    ] {
        assert_eq!(pbes1::without_padding(plain), length, "{plain:?}");
    }
}

#[test]
fn every_scheme_of_pbes1() {
    for (name, base64) in PBES1 {
        let file = crate::key::public::decode_base64(base64).unwrap();
        let read = |secret: Option<&str>| PKey::from_bytes(&file, secret.map(Secret::from).as_ref());
        let key = read(Some(SECRET)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(*key.public_key(), PublicKey::from_bytes(PBES1_KEY.as_bytes()).unwrap().0, "{name}");
        assert_eq!(read(None).unwrap_err(), KeyError::PassphraseNeeded, "{name}");
        assert_eq!(read(Some("Secret")).unwrap_err(), KeyError::WrongPassphrase, "{name}");
    }
}

#[test]
fn what_puttygen_wrote() {
    let lf = |text: &[u8]| text.to_vec();
    let crlf = |text: &[u8]| text.iter().flat_map(|byte| line_end(*byte, b"\r\n")).collect::<Vec<_>>();
    let cr = |text: &[u8]| text.iter().flat_map(|byte| line_end(*byte, b"\r")).collect::<Vec<_>>();
    for ends in [&lf as &dyn Fn(&[u8]) -> Vec<u8>, &crlf, &cr] {
        for (file, comment, encrypted) in
            [(V3_PLAIN, "a b", false), (V2, "caf\u{fffd}", true), (V3_ARGON2I, "Argon2i", true)]
        {
            let file = ends(file);
            let key = PKey::from_bytes(&file, Some(&secret())).unwrap();
            assert_eq!((key.public_key().to_line().as_str(), key.comment()), (PUBLIC, comment));
            if encrypted {
                let read = |secret| PKey::from_bytes(&file, secret).unwrap_err();
                assert_eq!(read(None), KeyError::PassphraseNeeded);
                assert_eq!(read(Some(&Secret::from("Secret"))), KeyError::WrongPassphrase);
            }
        }
    }
}

fn line_end(byte: u8, end: &[u8]) -> Vec<u8> {
    if byte == b'\n' { end.to_vec() } else { vec![byte] }
}

#[test]
fn old_ppk_versions_and_other_ciphers_are_named() {
    let text = String::from_utf8(V3_PLAIN.to_vec()).unwrap();
    for (from, to, said) in [
        ("File-3:", "File-1:", "version 1"),
        ("File-3:", "File-4:", "version 4"),
        ("File-3:", "File-\x1b[2J:", "version \\u{1b}[2J"),
        ("Encryption: none", "Encryption: aes512", "aes512"),
    ] {
        let error = PKey::from_bytes(text.replace(from, to).as_bytes(), None).unwrap_err();
        assert!(matches!(&error, KeyError::Unsupported(what) if what.contains(said)), "{error}");
    }
}

#[test]
fn a_ppk_whose_mac_is_wrong_is_not_read() {
    let text = String::from_utf8(V3_PLAIN.to_vec()).unwrap();
    for (from, to) in [("a b", "a c"), ("Private-MAC: 38", "Private-MAC: 39"), ("AAAAIBL7", "AAAAIBL8")] {
        assert_eq!(
            PKey::from_bytes(text.replace(from, to).as_bytes(), None).unwrap_err(),
            KeyError::Malformed("its MAC is wrong")
        );
    }
}

/// PuTTY writes all of a seed, but takes it for a number that may be shorter.
#[test]
fn a_ppk_with_a_seed_that_ends_in_zeros() {
    let mut seed = [7_u8; 32];
    seed[30..].fill(0);
    let key = parts::edwards(openssl::pkey::Id::ED25519, &seed, None).unwrap();
    let key = PKey::from_openssl(key, String::new()).unwrap();
    let ppk = key.to_format(&KeyFormat::Ppk(PpkParams::default()), None).unwrap();
    let text = std::str::from_utf8(ppk.expose()).unwrap();
    let private = text.lines().skip_while(|line| !line.starts_with("Private-Lines")).nth(1).unwrap();
    assert_eq!(crate::key::public::decode_base64(private).unwrap(), crate::wire::string_of(&seed));
    for length in 30..=33 {
        let number = [&seed[..], &[0]].concat();
        let file = ppk_of(key.public_key(), &crate::wire::string_of(&number[..length]));
        let read = PKey::from_bytes(file.as_bytes(), None);
        match length {
            33 => assert!(matches!(read, Err(KeyError::Malformed(_)))),
            _ => assert_eq!(read.unwrap().public_key(), key.public_key()),
        }
    }
}

/// RFC 5958's second version carries the public key; RFC 8410 §10.3 has the example.
#[test]
fn pkcs8_of_the_second_version() {
    let example = "-----BEGIN PRIVATE KEY-----\n\
        MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB\n\
        Z9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PRIVATE KEY-----\n";
    let key = PKey::from_bytes(example.as_bytes(), None).unwrap();
    let public = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
        -----END PUBLIC KEY-----\n";
    assert_eq!(PublicKey::from_bytes(public.as_bytes()).unwrap().0, *key.public_key());
    let other = example.replace("Z9w7lsh", "Z9w7lsi");
    assert_eq!(PKey::from_bytes(other.as_bytes(), None).unwrap_err(), parts::HALVES);
}

#[test]
fn keys_of_ssh_com() {
    let dss = PKey::generate(KeyKind::Dss).unwrap();
    for (wanted, passphrase) in [(rsa(), None), (rsa(), Some(SECRET)), (&dss, None), (&dss, Some(SECRET))] {
        let file = sshcom_file(wanted, passphrase);
        let key = PKey::from_bytes(&file, Some(&secret())).unwrap();
        assert_eq!((key.public_key(), key.comment()), (wanted.public_key(), "a comment"));
        if passphrase.is_some() {
            let read = |secret| PKey::from_bytes(&file, secret).unwrap_err();
            assert_eq!(read(None), KeyError::PassphraseNeeded);
            assert_eq!(read(Some(&Secret::from("Secret"))), KeyError::WrongPassphrase);
        }
    }
}

#[test]
fn a_key_of_ssh_com_that_is_not_as_long_as_it_says() {
    let text = sshcom_file(rsa(), None);
    let mut skipped = None;
    let block = armour::next_block(&mut Lines::new(&text), is_private, &mut skipped).unwrap().unwrap();
    let body = block.contents().unwrap().body;
    for (at, value) in [(0, 0), (3, 0), (6, 0xff), (7, body[7].wrapping_add(1))] {
        let mut changed = body.to_vec();
        changed[at] = value;
        let mut file = Zeroizing::new(format!("---- BEGIN {} ----\n", sshcom::LABEL));
        armour::put_base64(&mut file, &changed, 70);
        file.push_str(&format!("---- END {} ----\n", sshcom::LABEL));
        assert!(matches!(PKey::from_bytes(file.as_bytes(), None), Err(KeyError::Malformed(_))), "{at}");
    }
}

/// OpenSSH's format says how many keys it holds; ssh-keygen writes one.
#[test]
fn several_keys_in_one_openssh_file() {
    let keys: Vec<PKey> = (1..=3).map(|_| PKey::generate(KeyKind::Ed25519).unwrap()).collect();
    let padded = |count: u32, private: &[PKey], padding: &[u8], tag: &[u8]| {
        let mut plain = vec![1, 2, 3, 4, 1, 2, 3, 4];
        for (at, key) in private.iter().enumerate() {
            let (seed, public) =
                (key.here().unwrap().raw_private_key(), key.here().unwrap().raw_public_key());
            let (seed, public) = (seed.unwrap(), public.unwrap());
            plain.put("ssh-ed25519").put(public.as_slice()).put([seed, public].concat().as_slice());
            plain.put(format!("key {at}").as_str());
        }
        let mut blob = b"openssh-key-v1\0".to_vec();
        blob.put("none").put("none").put("").put(&count);
        for key in &keys {
            blob.put(key.public_key().blob());
        }
        plain.put_raw(padding);
        blob.put(plain.as_slice()).put_raw(tag);
        armour::pem(openssh::LABEL, &blob, 70).as_bytes().to_vec()
    };
    let file = |count, private: &[PKey]| padded(count, private, &[1, 2, 3], &[]);
    let read = PKey::all_from_bytes(&file(3, &keys), None).unwrap();
    let comments: Vec<_> = read.iter().map(|key| (key.public_key(), key.comment())).collect();
    let names = ["key 0", "key 1", "key 2"];
    assert_eq!(comments, keys.iter().map(PKey::public_key).zip(names).collect::<Vec<_>>());
    let first = PKey::from_bytes(&file(3, &keys), None).unwrap();
    assert_eq!(first.public_key(), keys[0].public_key());
    // Other numbers of keys than there are, and a public half that is another's.
    for (count, private) in [(0, 3), (1, 3), (2, 3), (3, 2), (4, 3), (65, 3), (u32::MAX, 3)] {
        assert!(PKey::all_from_bytes(&file(count, &keys[..private]), None).is_err(), "{count} {private}");
    }
    for (padding, tag) in [(&[1, 2, 4][..], &[][..]), (&[0], &[]), (&[1], &[0; 16])] {
        assert!(PKey::all_from_bytes(&padded(3, &keys, padding, tag), None).is_err());
    }
    let swapped = [keys[0].clone(), keys[2].clone(), keys[1].clone()];
    assert_eq!(PKey::all_from_bytes(&file(3, &swapped), None).unwrap_err(), parts::HALVES);
}

#[test]
fn several_keys_are_written_to_one_file() {
    let keys = [ecdsa().clone(), rsa().clone(), ed25519().clone()];
    for format in formats() {
        let one_only = matches!(format, KeyFormat::Ppk(_) | KeyFormat::Pkcs8Der);
        // Ed25519 has no PEM of its own.
        let keys = if format == KeyFormat::Pem { &keys[..2] } else { &keys };
        for passphrase in [None, Some(secret())] {
            let written = PKey::all_to_format(keys, &format, passphrase.as_ref());
            if one_only {
                assert!(matches!(written.unwrap_err(), KeyError::Unsupported(_)), "{format:?}");
                continue;
            }
            let file = written.unwrap();
            let read = PKey::all_from_bytes(file.expose(), passphrase.as_ref()).unwrap();
            assert!(read.iter().map(PKey::public_key).eq(keys.iter().map(PKey::public_key)), "{format:?}");
            let commented = matches!(format, KeyFormat::Openssh(_));
            assert!(read.iter().all(|key| (key.comment() == "a comment") == commented), "{format:?}");
            let first = PKey::from_bytes(file.expose(), passphrase.as_ref()).unwrap();
            assert_eq!(first.public_key(), keys[0].public_key());
            if passphrase.is_some() {
                let read = |secret| PKey::all_from_bytes(file.expose(), secret).unwrap_err();
                assert_eq!(read(None), KeyError::PassphraseNeeded);
                assert_eq!(read(Some(&Secret::from("Secret"))), KeyError::WrongPassphrase);
            }
        }
        let written = |count| PKey::all_to_format(&vec![ecdsa().clone(); count], &format, None);
        assert!(written(0).is_err(), "{format:?}");
        assert_eq!(written(64).is_ok(), !one_only, "{format:?}");
        assert!(written(65).is_err(), "{format:?}");
    }
}

#[test]
fn a_file_larger_than_any_is_not_written() {
    let keys = vec![ed25519().with_comment(&"x".repeat(20_000)).unwrap(); 64];
    assert!(PKey::all_to_format(&keys[..32], &KeyFormat::default(), None).is_ok());
    assert_eq!(PKey::all_to_format(&keys, &KeyFormat::default(), None).unwrap_err(), TOO_LARGE);
}

#[cfg(unix)]
#[test]
fn several_keys_in_a_file_of_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, "what was there").unwrap();
    PKey::write_all_as(&[ecdsa().clone(), rsa().clone()], &path, &KeyFormat::default(), None).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(PKey::all_from_file(&path, None).unwrap().len(), 2);
}

/// What PKCS#1 and SEC1 have, is the same in PEM and DER; there is no encryption in DER.
#[test]
fn keys_in_der() {
    let dss = PKey::generate(KeyKind::Dss).unwrap();
    for key in [ecdsa(), rsa(), &dss] {
        let der = key.to_format(&KeyFormat::Der, None).unwrap();
        let pem = key.to_format(&KeyFormat::Pem, None).unwrap();
        let block = armour::next_block(&mut Lines::new(pem.expose()), is_private, &mut None).unwrap();
        assert_eq!(*block.unwrap().contents().unwrap().body, der.expose());
        assert_eq!(PKey::from_bytes(der.expose(), None).unwrap().public_key(), key.public_key());
        let error = key.to_format(&KeyFormat::Der, Some(&secret())).unwrap_err();
        assert!(matches!(error, KeyError::Unsupported(text) if text.contains("passphrase")));
    }
    for passphrase in [None, Some(&secret())] {
        assert!(matches!(ed25519().to_format(&KeyFormat::Der, passphrase), Err(KeyError::Unsupported(_))));
    }
    for format in [PublicFormat::Line, PublicFormat::Rfc4716] {
        assert!(matches!(rsa().public_key().to_der(format), Err(KeyError::Unsupported(_))));
    }
}

/// A PPK file of version 3, not encrypted, with these halves.
fn ppk_of(public: &PublicKey, private: &[u8]) -> String {
    let fields = [public.key_type().as_bytes(), b"none", b"", public.blob(), private];
    let signed: Vec<u8> = fields.iter().flat_map(|field| crate::wire::string_of(field)).collect();
    let hmac = Hmac::new(HashAlg::Sha256, &[]).unwrap();
    let mac: String =
        hmac.compute(&[&signed], &mut [0; 64]).iter().map(|byte| format!("{byte:02x}")).collect();
    let [public_lines, private_lines] =
        [public.blob(), private].map(<base64ct::Base64 as base64ct::Encoding>::encode_string);
    format!(
        "PuTTY-User-Key-File-3: {}\nEncryption: none\nComment: \nPublic-Lines: 1\n{public_lines}\n\
         Private-Lines: 1\n{private_lines}\nPrivate-MAC: {mac}\n",
        public.key_type()
    )
}

/// Only who knows the MAC's key can make such a file: without a passphrase that is everybody.
#[test]
fn a_ppk_with_another_private_half() {
    let [one, other] = [0, 1].map(|_| PKey::generate(KeyKind::EcdsaP256).unwrap());
    let private = other.here().unwrap().ec_key().unwrap().private_key().to_vec();
    let mut plain = Vec::new();
    crate::wire::put_mpint(&mut plain, &private);
    let read = |tail: &[u8], public: &PublicKey| {
        let text = ppk_of(public, &[&plain, tail].concat());
        PKey::from_bytes(text.as_bytes(), None).map(|key| key.public_key().clone())
    };
    assert_eq!(read(&[], other.public_key()).as_ref(), Ok(other.public_key()));
    assert_eq!(read(&[], one.public_key()).unwrap_err(), parts::HALVES);
    assert!(matches!(read(&[0], other.public_key()), Err(KeyError::Malformed(_))));
}

#[test]
fn files_of_several_blocks() {
    let keys = [ecdsa(), rsa(), ed25519()];
    let formats = [KeyFormat::default(), KeyFormat::Pem, KeyFormat::Pkcs8];
    let mut text = b"Some words.\n".to_vec();
    for (format, key) in formats.iter().zip(keys) {
        text.extend_from_slice(key.to_format(format, Some(&secret())).unwrap().expose());
    }
    let read = PKey::all_from_bytes(&text, Some(&secret())).unwrap();
    assert!(read.iter().map(PKey::public_key).eq(keys.map(PKey::public_key)));
    assert_eq!(PKey::all_from_bytes(&text, None).unwrap_err(), KeyError::PassphraseNeeded);
    let first = PKey::from_bytes(&text, Some(&secret())).unwrap();
    assert_eq!(first.public_key(), keys[0].public_key());
}

const PEM: &str = "-----BEGIN EC PRIVATE KEY-----\n\
    Proc-Type: 4,ENCRYPTED\n\
    DEK-Info: AES-256-CBC,10C24BDD6A18B3706DD24C373CCFABE9\n\
    \n\
    UuYOD/g2xNgU1167WcuXtowgg/75hp83W5X9q4+ql78omLrkm2q2Vf9k9QVwerb4\n\
    ophGUV1a3wh4sNmR+jpBWU0MSGgEMFejYTDgm193XqLHZmeW8BsT2OztOl/OpRYR\n\
    bqlsr/3kvBfH6SAXSE+hTzo3r5MnZdJQ9XhCS8c9NEg=\n\
    -----END EC PRIVATE KEY-----\n";

const PKCS8: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n\
    MIHrMFYGCSqGSIb3DQEFDTBJMCgGCSqGSIb3DQEFDDAbBAg/oqNEHcqVfAIBAjAM\n\
    BggqhkiG9w0CCQUAMB0GCWCGSAFlAwQBAgQQjY24ebVvYyUFAFg3LXecuwSBkB/U\n\
    6I9zxJuz/hhZ43LoN8J9fzDzzSODCUd37PZoaSvOYprYpc0M3e2o5RTzH5/5xSOy\n\
    Wtt2PWf5FnK/AT3oFZGI/VspmAZDV7wG5h0w17bscskduUww2TZACfkLeRA9JUco\n\
    CbsfkoCsU5LJi8FEet4c/cFmzTVF/BTzGaPg8g2K85IzNK2bOQmyW3Z0XZzg3g==\n\
    -----END ENCRYPTED PRIVATE KEY-----\n";

/// A wrong passphrase leaves a padding that fits once in 256 times, and what it decrypts to is no key.
#[test]
fn no_wrong_passphrase_is_taken_for_damage() {
    for file in [PEM, PKCS8] {
        let read = |secret: &str| PKey::from_bytes(file.as_bytes(), Some(&Secret::from(secret)));
        read(SECRET).unwrap();
        for wrong in 0..2000 {
            assert_eq!(read(&format!("wrong {wrong}")).unwrap_err(), KeyError::WrongPassphrase, "{wrong}");
        }
    }
}
