//! DER of another form, numbers that do not belong together, curves and types that are not read.

use super::*;

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

#[test]
fn object_identifiers_are_shown_as_numbers() {
    for (oid, shown) in [
        (&b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"[..], "1.2.840.113549.1.1.1"),
        (b"\x2b\x65\x70", "1.3.101.112"),
        (b"\x88\x37\x03", "2.999.3"),
        (b"\x00", "0.0"),
        (b"", "[]"),
        (b"\x2b\x86", "[2b, 86]"),
        (b"\x2b\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "[2b, ff, ff, ff, ff, ff, ff, ff, ff, ff, 7f]"),
    ] {
        assert_eq!(der::Oid(oid).to_string(), shown);
    }
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
