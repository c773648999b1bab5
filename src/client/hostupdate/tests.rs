//! Announcements and proofs as no honest host sends them.

use super::*;
use crate::key::{CertificateBuilder, KeyKind, PKey};
use crate::wire::Encode;

const SESSION: &[u8] = b"the session";

fn host_keys() -> [PKey; 3] {
    [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::Rsa(2048)].map(|kind| PKey::generate(kind).unwrap())
}

fn public(keys: &[PKey]) -> Vec<PublicKey> {
    keys.iter().map(|key| key.public_key().clone()).collect()
}

fn signed(keys: &[PKey], algorithms: &[&str], session: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    for (key, algorithm) in keys.iter().zip(algorithms) {
        let signature = key.sign(algorithm, &proof(session, key.public_key())).unwrap();
        signature.encode(&mut answer);
    }
    answer
}

const BEST: [&str; 3] = ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512"];

#[test]
fn one_good_proof_for_each_key_and_nothing_else_will_do() {
    let (keys, algorithms) = (host_keys(), Algorithms::client_defaults());
    let asked = public(&keys);
    let check = |answer: &[u8]| check_proofs(SESSION, &algorithms, &asked, answer);
    let good = signed(&keys, &BEST, SESSION);
    check(&good).unwrap();
    check(&signed(&keys, &["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-256"], SESSION)).unwrap();
    for end in 0..good.len() {
        assert!(check(&good[..end]).is_err(), "cut at {end}");
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(check(&bad).is_err(), "flipped at {at}");
    }
    assert!(check(&[&good[..], &signed(&keys[..1], &BEST, SESSION)].concat()).is_err());
    assert!(check(&signed(&keys[..2], &BEST, SESSION)).is_err());
    // Of another session, by SHA-1, and by the keys in another order.
    assert!(check(&signed(&keys, &BEST, b"another session")).is_err());
    assert!(check(&signed(&keys, &["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"], SESSION)).is_err());
    let [first, second, third] = keys.clone();
    let swapped =
        signed(&[second, first, third], &["ecdsa-sha2-nistp256", "ssh-ed25519", "rsa-sha2-512"], SESSION);
    assert!(check(&swapped).is_err());
    // A signature over anything else, such as what an exchange signs.
    let mut bare = Vec::new();
    for (key, algorithm) in keys.iter().zip(BEST) {
        key.sign(algorithm, SESSION).unwrap().encode(&mut bare);
    }
    assert!(check(&bare).is_err());
}

#[test]
fn keys_that_we_could_not_judge_a_host_by_are_passed_over() {
    let (keys, algorithms) = (host_keys(), Algorithms::client_defaults());
    let certificate = CertificateBuilder::host(keys[0].public_key()).principal("x").sign(&keys[1]).unwrap();
    let dss = PKey::generate(KeyKind::Dss).unwrap();
    let mut rest = encode_keys([&certificate, dss.public_key()]);
    for odd in [&b"\0\0\0\x07unknown"[..], b"", b"\xff"] {
        odd.encode(&mut rest);
    }
    rest.extend(encode_keys(&public(&keys)));
    assert_eq!(usable(&rest, &algorithms, &[]).unwrap(), public(&keys));
    assert_eq!(usable(b"", &algorithms, &[]).unwrap(), []);
    let mut revoked = RevokedKeys::new();
    revoked.revoke_key(keys[1].public_key());
    assert_eq!(usable(&rest, &algorithms, &[revoked]).unwrap().len(), 2);
    let mut only = algorithms.clone();
    only.set_host_keys("ssh-ed25519").unwrap();
    assert_eq!(usable(&rest, &only, &[]).unwrap(), public(&keys[..1]));
    let large = algorithms.clone().required_rsa_size(4096);
    assert_eq!(usable(&rest, &large, &[]).unwrap(), public(&keys[..2]));
}

#[test]
fn announcements_that_cannot_be_read_or_never_end_are_refused() {
    let (keys, algorithms) = (host_keys(), Algorithms::client_defaults());
    let whole = encode_keys(&public(&keys));
    let mut ends = Vec::new();
    for end in 0..=whole.len() {
        if usable(&whole[..end], &algorithms, &[]).is_ok() {
            ends.push(end);
        }
    }
    assert_eq!(ends.len(), 4, "at the end of each key, and before the first");
    assert!(usable(&[&whole[..], &whole].concat(), &algorithms, &[]).is_err(), "twice");
    let blobs = |count: usize| (0..count).flat_map(|_| [0, 0, 0, 1, 7]).collect::<Vec<u8>>();
    assert_eq!(usable(&blobs(64), &algorithms, &[]).unwrap(), []);
    assert!(usable(&blobs(65), &algorithms, &[]).is_err());
}
