//! Signatures with the vectors of Project Wycheproof, as blobs of ours. DSA is not among them: its
//! tests begin at 2048 bits, SSH's end at 1024. Nor is RSA with SHA-1, of which it has none for PKCS#1.

use super::*;
use crate::crypto::tests::vectors::{Expected, Vector, vectors};
use crate::wire::{Writer, put_mpint};

fn judge(name: &str, key: &PublicKey, algorithm: &str, vector: &Vector, raw: &[u8]) {
    let mut blob = Vec::new();
    blob.put(algorithm).put(raw);
    let good = key.verify(algorithm, &vector.fields[0], &blob).is_ok();
    assert_eq!(good, vector.expected == Expected::Valid, "{name} {}", vector.number);
}

#[test]
fn edwards() {
    for (name, algorithm) in [("ed25519", "ssh-ed25519"), ("ed448", "ssh-ed448")] {
        for vector in vectors(name) {
            let mut blob = Vec::new();
            blob.put(algorithm).put(vector.key[0].as_slice());
            let key = PublicKey::from_blob(&blob).unwrap();
            judge(name, &key, algorithm, &vector, &vector.fields[1]);
        }
    }
}

#[test]
fn ecdsa() {
    for (name, algorithm, curve, size) in [
        ("ecdsa_secp256r1_sha256_p1363", "ecdsa-sha2-nistp256", "nistp256", 32),
        ("ecdsa_secp384r1_sha384_p1363", "ecdsa-sha2-nistp384", "nistp384", 48),
        ("ecdsa_secp521r1_sha512_p1363", "ecdsa-sha2-nistp521", "nistp521", 66),
    ] {
        let mut judged = 0;
        for vector in vectors(name) {
            // Both numbers at a fixed length; what has another is about that encoding alone.
            if vector.fields[1].len() != 2 * size {
                assert_eq!(vector.expected, Expected::Invalid, "{name} {}", vector.number);
                continue;
            }
            let mut blob = Vec::new();
            blob.put(algorithm).put(curve).put(vector.key[0].as_slice());
            let key = PublicKey::from_blob(&blob).unwrap();
            let (r, s) = vector.fields[1].split_at(size);
            let mut raw = Vec::new();
            put_mpint(&mut raw, r);
            put_mpint(&mut raw, s);
            judge(name, &key, algorithm, &vector, &raw);
            judged += 1;
        }
        assert!(judged > 200, "{name}: {judged}");
    }
}

#[test]
fn rsa() {
    for (name, algorithm) in [
        ("rsa_signature_2048_sha256", "rsa-sha2-256"),
        ("rsa_signature_2048_sha512", "rsa-sha2-512"),
        ("rsa_signature_3072_sha256", "rsa-sha2-256"),
        ("rsa_signature_3072_sha512", "rsa-sha2-512"),
        ("rsa_signature_4096_sha256", "rsa-sha2-256"),
        ("rsa_signature_8192_sha512", "rsa-sha2-512"),
    ] {
        for vector in vectors(name) {
            let mut blob = Vec::new();
            blob.put("ssh-rsa");
            put_mpint(&mut blob, &vector.key[1]);
            put_mpint(&mut blob, &vector.key[0]);
            let key = PublicKey::from_blob(&blob).unwrap();
            // Where either may be right, the hash is named without its NULL: refused.
            judge(name, &key, algorithm, &vector, &vector.fields[1]);
            let mut blob = Vec::new();
            blob.put(algorithm).put([&vector.fields[1][..], &[0]].concat().as_slice());
            assert!(key.verify(algorithm, &vector.fields[0], &blob).is_err(), "{name} {}", vector.number);
        }
    }
}

/// Tokens sign other data than the vectors have, so that none of their signatures may be taken for a
/// token's: least of all those of zeros and of the group's order.
#[test]
fn tokens() {
    let refused = |vector: &Vector, name: &str, curve: &str, raw: &[u8]| {
        let mut blob = Vec::new();
        blob.put(name);
        if !curve.is_empty() {
            blob.put(curve);
        }
        blob.put(vector.key[0].as_slice()).put("ssh:");
        let key = PublicKey::from_blob(&blob).unwrap();
        for algorithm in key.algorithms() {
            let mut blob = Vec::new();
            blob.put(*algorithm).put(raw).put(&1_u8).put(&7_u32);
            let data = &vector.fields[0];
            if algorithm.starts_with("webauthn") {
                let challenge = <base64ct::Base64UrlUnpadded as base64ct::Encoding>::encode_string(data);
                let start =
                    format!("{{\"type\":\"webauthn.get\",\"challenge\":\"{challenge}\",\"origin\":\"o\"");
                blob.put("o").put(format!("{start}}}").as_str()).put("");
            }
            let verified = key.verify(algorithm, data, &blob);
            assert_eq!(verified.unwrap_err(), KeyError::BadSignature, "{algorithm} {}", vector.number);
        }
        key.algorithms().len()
    };
    for vector in vectors("ed25519") {
        assert_eq!(refused(&vector, "sk-ssh-ed25519@openssh.com", "", &vector.fields[1]), 1);
    }
    for vector in vectors("ecdsa_secp256r1_sha256_p1363") {
        let (r, s) = vector.fields[1].split_at(vector.fields[1].len() / 2);
        let mut raw = Vec::new();
        put_mpint(&mut raw, r);
        put_mpint(&mut raw, s);
        assert_eq!(refused(&vector, "sk-ecdsa-sha2-nistp256@openssh.com", "nistp256", &raw), 2);
    }
}
