//! Agreement, encryption and MACs with the vectors of Project Wycheproof. Those of ChaCha20-Poly1305 are
//! RFC 8439's, with associated data and another nonce than OpenSSH's: here they judge its two parts.

use ml_kem::array::Array;
use ml_kem::{DecapsulationKey768, DecapsulationKey1024};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey};
use openssl::symm::{self, Cipher};

use super::vectors::{Expected, vectors};
use crate::crypto::chachapoly::{poly_crate, poly_openssl};
use crate::crypto::cipher::AesGcm;
use crate::crypto::ec::{Curve, EcPrivate};
use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::{Hmac, MAX_MAC};
use crate::crypto::pq::{Kem, KemKey};

fn nist(nid: Nid, private: &[u8]) -> EcPrivate {
    let group = EcGroup::from_curve_name(nid).unwrap();
    let number = BigNum::from_slice(private).unwrap();
    let mut point = EcPoint::new(&group).unwrap();
    point.mul_generator2(&group, &number, &mut BigNumContext::new().unwrap()).unwrap();
    let key = EcKey::from_private_components(&group, &number, &point).unwrap();
    PKey::from_ec_key(key).unwrap()
}

#[test]
fn coordinates_of_rfc_7748() {
    for (name, curve, id) in [("x25519", Curve::X25519, Id::X25519), ("x448", Curve::X448, Id::X448)] {
        let mut refused = 0;
        for vector in vectors(name) {
            let [public, private, shared] = &vector.fields[..] else { panic!("{name}") };
            let key = PKey::private_key_from_raw_bytes(private, id).unwrap();
            let agreed = curve.agree(&key, public);
            // Where either may be right: RFC 7748 §5 wants what is not reduced, or lies on the twist,
            // taken, and RFC 8731 §3 wants a secret of zeros refused.
            let wanted = vector.expected != Expected::Invalid
                && public.len() == curve.share_length()
                && shared.iter().any(|byte| *byte != 0);
            assert_eq!(agreed.is_ok(), wanted, "{name} {}", vector.number);
            match agreed {
                Ok(agreed) => assert_eq!(&*agreed, shared, "{name} {}", vector.number),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 10, "{name}: {refused}");
    }
}

#[test]
fn points_of_nist() {
    for (name, curve, nid) in [
        ("ecdh_secp256r1_ecpoint", Curve::P256, Nid::X9_62_PRIME256V1),
        ("ecdh_secp384r1_ecpoint", Curve::P384, Nid::SECP384R1),
        ("ecdh_secp521r1_ecpoint", Curve::P521, Nid::SECP521R1),
    ] {
        for vector in vectors(name) {
            let [public, private, shared] = &vector.fields[..] else { panic!("{name}") };
            let agreed = curve.agree(&nist(nid, private), public);
            // A compressed point is right too, but nobody sends one (RFC 5656 §3.1); a secret of zeros
            // is right too, but nobody meets one by chance.
            let zeros = shared.iter().all(|byte| *byte == 0);
            let wanted = vector.expected != Expected::Invalid && public.first() == Some(&4) && !zeros;
            assert_eq!(agreed.is_ok(), wanted, "{name} {}", vector.number);
            if let Ok(agreed) = agreed {
                assert_eq!(&*agreed, shared, "{name} {}", vector.number);
            }
        }
    }
}

#[test]
fn aes_gcm() {
    for vector in vectors("aes_gcm") {
        let [key, nonce, associated, message, sealed, tag] = &vector.fields[..] else { panic!("fields") };
        let (nonce, tag) = (nonce[..].try_into().unwrap(), tag[..].try_into().unwrap());
        let mut data = sealed.clone();
        let good = AesGcm::new(key, nonce).unwrap().open(associated, &mut data, tag).unwrap();
        assert_eq!(good, vector.expected == Expected::Valid, "{}", vector.number);
        if good {
            assert_eq!(&data, message, "{}", vector.number);
            let made = AesGcm::new(key, nonce).unwrap().seal(associated, &mut data).unwrap();
            assert_eq!((&data, &made), (sealed, tag), "{}", vector.number);
        }
    }
}

#[test]
fn chacha20_and_poly1305() {
    for vector in vectors("chacha20_poly1305") {
        let [key, nonce, associated, message, sealed, tag] = &vector.fields[..] else { panic!("fields") };
        let apply = |counter: u32, data: &[u8]| {
            let start = [&counter.to_le_bytes(), &nonce[..]].concat();
            symm::encrypt(Cipher::chacha20(), key, Some(&start), data).unwrap()
        };
        // RFC 8439 §2.8: each part is filled to whole blocks, their lengths follow.
        let mut signed = Vec::new();
        for part in [associated, sealed] {
            signed.extend_from_slice(part);
            signed.resize(signed.len().next_multiple_of(16), 0);
        }
        for part in [associated, sealed] {
            signed.extend_from_slice(&u64::try_from(part.len()).unwrap().to_le_bytes());
        }
        let once = apply(0, &[0; 32])[..].try_into().unwrap();
        let made = poly_crate(&once, &signed);
        assert_eq!(poly_openssl(&once, &signed).unwrap(), made, "{}", vector.number);
        assert_eq!(&made[..] == tag, vector.expected == Expected::Valid, "{}", vector.number);
        if vector.expected == Expected::Valid {
            assert_eq!(&apply(1, sealed), message, "{}", vector.number);
        }
    }
}

#[test]
fn hmacs() {
    for (name, hash) in
        [("hmac_sha1", HashAlg::Sha1), ("hmac_sha256", HashAlg::Sha256), ("hmac_sha512", HashAlg::Sha512)]
    {
        for vector in vectors(name) {
            let [key, message, tag] = &vector.fields[..] else { panic!("{name}") };
            let (one, two) = message.split_at(message.len() / 2);
            let mut out = [0; MAX_MAC];
            let made = Hmac::new(hash, key).unwrap().compute(&[one, two], &mut out).to_vec();
            let same = made.starts_with(tag);
            assert_eq!(same, vector.expected == Expected::Valid, "{name} {}", vector.number);
        }
    }
}

#[test]
fn ml_kem_opens() {
    for (name, kem) in [("mlkem_768", Kem::MlKem768), ("mlkem_1024", Kem::MlKem1024)] {
        for vector in vectors(name) {
            let [seed, ciphertext, secret] = &vector.fields[..] else { panic!("{name}") };
            // Whole seeds are all that we make keys of.
            let Ok(seed) = <[u8; 64]>::try_from(&seed[..]) else {
                assert_eq!(vector.expected, Expected::Invalid, "{name} {}", vector.number);
                continue;
            };
            let key = match kem {
                Kem::MlKem768 => KemKey::MlKem768(Box::new(DecapsulationKey768::from_seed(Array(seed)))),
                _ => KemKey::MlKem1024(Box::new(DecapsulationKey1024::from_seed(Array(seed)))),
            };
            let opened = key.decapsulate(ciphertext);
            assert_eq!(opened.is_ok(), vector.expected == Expected::Valid, "{name} {}", vector.number);
            if let Ok(opened) = opened {
                assert_eq!(&*opened, secret, "{name} {}", vector.number);
            }
        }
    }
}

#[test]
fn ml_kem_takes_public_keys() {
    for (name, kem) in [("mlkem_768_encaps", Kem::MlKem768), ("mlkem_1024_encaps", Kem::MlKem1024)] {
        for vector in vectors(name) {
            let taken = kem.encapsulate(&vector.fields[0]).is_ok();
            assert_eq!(taken, vector.expected == Expected::Valid, "{name} {}", vector.number);
        }
    }
}
