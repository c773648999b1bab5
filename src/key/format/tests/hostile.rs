//! Every file cut at every byte and with every byte changed; numbers that do not belong together;
//! files that are none. Whatever is read is the key that was written, or an error.

use super::*;

/// Files with what they hold, whose passphrase is `SECRET` where they have one. Ed25519 in PKCS#8 is
/// left out: it holds nothing that its seed could be held against.
fn files() -> Vec<(String, Vec<u8>, &'static PKey)> {
    let mut files = Vec::new();
    for format in formats() {
        for passphrase in [None, Some(secret())] {
            let bytes = ecdsa().to_format(&format, passphrase.as_ref()).unwrap().expose().to_vec();
            files.push((format!("{format:?} {}", passphrase.is_some()), bytes, ecdsa()));
        }
    }
    for passphrase in [None, Some(SECRET)] {
        files.push((format!("ssh.com {passphrase:?}"), sshcom_file(rsa(), passphrase), rsa()));
    }
    let pem = rsa().to_format(&KeyFormat::Pem, None).unwrap();
    files.push(("RSA in PEM".to_owned(), pem.expose().to_vec(), rsa()));
    files
}

#[test]
fn cut_at_every_byte() {
    for (name, file, _) in files() {
        let text = file.trim_ascii_end().len();
        let needed = if file[0] == 0x30 { file.len() } else { text };
        for length in 0..needed {
            let read = PKey::from_bytes(&file[..length], Some(&secret()));
            assert!(read.is_err(), "{name}, {length} of {}", file.len());
        }
        PKey::from_bytes(&file, Some(&secret())).unwrap();
    }
}

#[test]
fn every_byte_changed() {
    for (name, file, key) in files() {
        // Deriving a key costs as much as the file says; that is what another test is about. Even the
        // smallest cost of bcrypt adds up.
        let bcrypt = name.contains("rounds") && name.ends_with("true");
        let (first, step) = if bcrypt { (160, 3) } else { (0, 1) };
        for at in (first..file.len()).step_by(step) {
            let mut changed = file.clone();
            changed[at] ^= [1, 0x20, 0x80][at % 3];
            if let Ok(read) = PKey::from_bytes(&changed, Some(&secret())) {
                assert_eq!(read.public_key(), key.public_key(), "{name} at {at}");
            }
        }
    }
}

#[test]
fn public_files_cut_and_changed() {
    for key in [ecdsa(), rsa(), ed25519()] {
        for format in [PublicFormat::Line, PublicFormat::Rfc4716, PublicFormat::Pem, PublicFormat::Pkcs8] {
            let file = key.public_key().to_format(format, "").unwrap().into_bytes();
            for length in 0..file.len() - 1 {
                assert!(PublicKey::from_bytes(&file[..length]).is_err(), "{format:?} {length}");
            }
            for at in 0..file.len() {
                let mut changed = file.clone();
                changed[at] ^= [1, 0x20, 0x80][at % 3];
                drop(PublicKey::from_bytes(&changed));
            }
            assert_eq!(PublicKey::from_bytes(&file).unwrap().0, *key.public_key());
        }
    }
}

#[test]
fn der_has_one_form_only() {
    let good = tlv(0x30, &[&integer(5)]);
    assert_eq!(der::Der::whole(&good).unwrap().small(), Ok(5));
    for bad in [
        &[][..],
        &[0x30],
        &[0x30, 0x03, 2, 1],
        // A length that is longer than need be, indefinite, and beyond the file.
        &[0x30, 0x81, 3, 2, 1, 5],
        &[0x30, 0x82, 0, 3, 2, 1, 5],
        &[0x30, 0x80, 2, 1, 5, 0, 0],
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 2, 1, 5],
        &[0x30, 0x89, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 5],
        // Something after the end, a set.
        &[0x30, 3, 2, 1, 5, 0],
        &[0x31, 3, 2, 1, 5],
    ] {
        assert!(der::Der::whole(bad).is_err(), "{bad:x?}");
    }
    for bad in [&[2, 0][..], &[2, 2, 0, 5], &[2, 1, 0x80], &[2, 2, 0xff, 0xff], &[3, 1, 5]] {
        assert!(der::Der::new(bad).unsigned().is_err(), "{bad:x?}");
    }
    assert_eq!(der::Der::new(&[2, 2, 0, 0x80]).unsigned(), Ok(&[0x80][..]));
    assert_eq!(der::Der::new(&[2, 1, 0]).unsigned(), Ok(&[][..]));
    assert_eq!(der::Der::new(&integer(1 << 64)).small(), Ok(u64::MAX));
    assert!(der::whole_bytes(&[1, 0xfe]).is_err());
}

/// A file that holds an RSA key of these numbers.
fn pkcs1(numbers: &[Vec<u8>]) -> Vec<u8> {
    let mut parts = integer(0);
    for number in numbers {
        let sign: &[u8] = if number.first().is_none_or(|byte| *byte >= 0x80) { &[0] } else { &[] };
        parts.extend(tlv(2, &[sign, number]));
    }
    tlv(0x30, &[&parts])
}

#[test]
fn rsa_numbers_that_do_not_belong_together() {
    let key = rsa().here().unwrap().rsa().unwrap();
    let [p, q] = [key.p().unwrap(), key.q().unwrap()];
    let [dp, dq, iqmp] = [key.dmp1().unwrap(), key.dmq1().unwrap(), key.iqmp().unwrap()];
    let numbers = [key.n(), key.e(), key.d(), p, q, dp, dq, iqmp].map(|number| number.to_vec());
    let read = |numbers: &[Vec<u8>]| PKey::from_bytes(&pkcs1(numbers), None);
    assert_eq!(read(&numbers).unwrap().public_key(), rsa().public_key());
    for at in 0..numbers.len() {
        for bad in [vec![], vec![1], vec![2], vec![3], vec![0x7f; 4000]] {
            let mut changed = numbers.clone();
            changed[at] = bad;
            assert!(read(&changed).is_err(), "{at}");
        }
        let mut changed = numbers.clone();
        let last = changed[at].len() - 1;
        changed[at][last] ^= 4;
        assert!(read(&changed).is_err(), "{at}");
    }
    // The primes in each other's place do not fit to the inverse.
    let mut changed = numbers.clone();
    changed.swap(3, 4);
    changed.swap(5, 6);
    assert!(read(&changed).is_err());
    let huge = [vec![0x7f; 30_000], vec![3]].concat();
    let mut changed = numbers;
    changed[0] = huge;
    assert!(matches!(read(&changed), Err(KeyError::BadSize(_))));
}

#[test]
fn curves_are_known_by_their_names_only() {
    let key = ecdsa().here().unwrap().ec_key().unwrap();
    let secret = key.private_key().to_vec_padded(32).unwrap();
    let point = ecdsa().public_key().blob()[39..].to_vec();
    let p256 = tlv(6, &[b"\x2a\x86\x48\xce\x3d\x03\x01\x07"]);
    let p384 = tlv(6, &[b"\x2b\x81\x04\x00\x22"]);
    let point = tlv(0xa1, &[&tlv(3, &[&[0], &point])]);
    let sec1 = |secret: &[u8], curve: &[u8], point: &[u8]| {
        let curve = if curve.is_empty() { vec![] } else { tlv(0xa0, &[curve]) };
        tlv(0x30, &[&integer(1), &tlv(4, &[secret]), &curve, point])
    };
    let read = |der: &[u8]| PKey::from_bytes(der, None);
    for point in [&point[..], &[]] {
        assert_eq!(read(&sec1(&secret, &p256, point)).unwrap().public_key(), ecdsa().public_key());
    }
    let explicit = tlv(0x30, &[&integer(1), &tlv(0x30, &[&p256])]);
    assert!(matches!(read(&sec1(&secret, &explicit, &point)), Err(KeyError::Unsupported(_))));
    let secp256k1 = tlv(6, &[b"\x2b\x81\x04\x00\x0a"]);
    assert!(matches!(read(&sec1(&secret, &secp256k1, &point)), Err(KeyError::Unsupported(_))));
    for bad in [
        sec1(&secret, &p384, &point),
        sec1(&secret, &[], &point),
        sec1(&[0; 32], &p256, &[]),
        sec1(&[0xff; 32], &p256, &[]),
        sec1(&[1; 5000], &p256, &[]),
        sec1(&[7; 32], &p256, &point),
    ] {
        assert!(matches!(read(&bad), Err(KeyError::Malformed(_))));
    }
    // Inside of PKCS#8 the curve stands outside; both must be the same.
    let ec = tlv(6, &[b"\x2a\x86\x48\xce\x3d\x02\x01"]);
    let pkcs8 = |outside: &[u8], inside: &[u8]| {
        tlv(0x30, &[&integer(0), &tlv(0x30, &[&ec, outside]), &tlv(4, &[inside])])
    };
    for inside in [&p256[..], &[]] {
        let key = read(&pkcs8(&p256, &sec1(&secret, inside, &point))).unwrap();
        assert_eq!(key.public_key(), ecdsa().public_key());
    }
    for point in [&point[..], &[]] {
        assert!(read(&pkcs8(&p256, &sec1(&secret, &p384, point))).is_err());
    }
    for (outside, inside) in [(&explicit, &p256), (&p256, &explicit)] {
        let read = read(&pkcs8(outside, &sec1(&secret, inside, &point)));
        assert!(matches!(read, Err(KeyError::Unsupported(_))));
    }
}

#[test]
fn types_that_are_not_built_are_named() {
    let x25519 = tlv(0x30, &[&tlv(6, &[b"\x2b\x65\x6e"])]);
    let pkcs8 = tlv(0x30, &[&integer(0), &x25519, &tlv(4, &[&tlv(4, &[&[7; 32]])])]);
    assert!(matches!(PKey::from_bytes(&pkcs8, None), Err(KeyError::Unsupported(_))));
    let spki = tlv(0x30, &[&x25519, &tlv(3, &[&[0; 33]])]);
    assert!(matches!(PublicKey::from_bytes(&spki), Err(KeyError::Unsupported(_))));
    assert!(
        matches!(PKey::from_bytes(&spki, None), Err(KeyError::Malformed(text)) if text.contains("public"))
    );
    let error = ed25519().to_format(&KeyFormat::Pem, None).unwrap_err();
    assert!(matches!(error, KeyError::Unsupported(_)));
    let unknown = OpensshParams { cipher: "rot13".to_owned(), rounds: 1 };
    let error = ed25519().to_format(&KeyFormat::Openssh(unknown), Some(&secret())).unwrap_err();
    assert!(matches!(&error, KeyError::Unsupported(text) if text.contains("aes256-ctr")), "{error}");
}

/// Numbers that pass one test of an RSA key and fail another: with them signatures would be wrong, or
/// those of the same key differ.
#[test]
fn rsa_numbers_that_nearly_belong_together() {
    let key = rsa().here().unwrap().rsa().unwrap();
    let (p, q, one) = (key.p().unwrap(), key.q().unwrap(), openssl::bn::BigNum::from_u32(1).unwrap());
    let (p_less, q_less) = (p - &one, q - &one);
    let bytes = |d: &openssl::bn::BigNumRef, iqmp: &openssl::bn::BigNumRef| {
        let (dp, dq) = (d % &p_less, d % &q_less);
        pkcs1(&[key.n(), key.e(), d, p, q, &dp, &dq, iqmp].map(|number| number.to_vec()))
    };
    let read = |d: &openssl::bn::BigNumRef, iqmp: &openssl::bn::BigNumRef| {
        PKey::from_bytes(&bytes(d, iqmp), None).map(|key| key.public_key().clone())
    };
    let (d, iqmp) = (key.d(), key.iqmp().unwrap());
    assert_eq!(read(d, iqmp).as_ref(), Ok(rsa().public_key()));
    let phi = &p_less * &q_less;
    for (d, iqmp) in [
        (d + &p_less, iqmp.to_owned().unwrap()),
        (d + &q_less, iqmp.to_owned().unwrap()),
        (d + &phi, iqmp.to_owned().unwrap()),
        (d.to_owned().unwrap(), iqmp + p),
    ] {
        assert!(matches!(read(&d, &iqmp), Err(KeyError::Malformed(_))));
    }
}
