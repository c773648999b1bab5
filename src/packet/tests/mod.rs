//! Tests of the room: a pair of sealer and opener with the same keys, fed honestly and by an attacker.

mod hostile;
mod known;
mod pairs;
mod shared;

use std::sync::LazyLock;

use zeroize::Zeroizing;

use super::*;
use crate::crypto::Rank;
use crate::crypto::hash::HashAlg;

/// Keys of a made-up exchange.
fn source() -> KeySource {
    KeySource {
        alg: HashAlg::Sha256,
        secret: Zeroizing::new(b"\0\0\0\x02\x12\x34".to_vec()),
        exchange_hash: vec![1; 32],
        session_id: vec![2; 32],
    }
}

/// Every cipher with every MAC it can have.
fn protections() -> Vec<(&'static CipherSpec, Option<&'static MacSpec>)> {
    let mut all = Vec::new();
    for cipher in CIPHERS {
        if cipher.is_aead() {
            all.push((cipher, None));
        } else {
            all.extend(MACS.iter().map(|mac| (cipher, Some(mac))));
        }
    }
    all
}

fn suite(cipher: &'static CipherSpec, mac: Option<&'static MacSpec>, compression_name: &str) -> Suite {
    Suite { cipher, mac, compression: compression(compression_name).unwrap() }
}

/// Suites for what takes long: every cipher with a MAC of either kind, every MAC with a cipher that is a
/// stream and with one that chains, every compression. With a name for messages.
fn suites() -> Vec<(String, Suite)> {
    let usual = |mac: &MacSpec| mac.name.starts_with("hmac-sha2-256") && mac.rank == Rank::Default;
    let mut all = Vec::new();
    for (cipher, mac) in protections() {
        let sample = mac.is_none_or(|mac| usual(mac) || matches!(cipher.name, "aes128-ctr" | "aes128-cbc"));
        let squeezed = mac.is_none_or(|mac| usual(mac) && cipher.name == "aes128-ctr");
        for compression in COMPRESSIONS.iter().filter(|spec| sample && (squeezed || spec.name == "none")) {
            let name = format!("{} {:?} {}", cipher.name, mac.map(|mac| mac.name), compression.name);
            all.push((name, Suite { cipher, mac, compression }));
        }
    }
    all
}

/// A sealer and an opener after their first key exchange, both at packet 3.
fn pair(suite: Suite) -> (Sealer, Opener) {
    let (mut sealer, mut opener) = (Sealer::plain(), Opener::plain());
    for message in [&[20u8][..], &[30, 1, 2], &[21]] {
        let mut wire = seal(&mut sealer, message);
        assert_eq!(open(&mut opener, &mut wire), message);
    }
    install(&mut sealer, &mut opener, suite, false);
    (sealer, opener)
}

fn install(sealer: &mut Sealer, opener: &mut Opener, suite: Suite, reset: bool) {
    sealer.replace(suite.seal_keys(&source(), Direction::ToServer).unwrap(), reset);
    opener.replace(suite.open_keys(&source(), Direction::ToServer).unwrap(), reset);
}

fn seal(sealer: &mut Sealer, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    sealer.seal(&[payload], &mut out).unwrap();
    out
}

/// Opens exactly one packet.
fn open(opener: &mut Opener, wire: &mut [u8]) -> Vec<u8> {
    match opener.open(wire).unwrap() {
        Opened::Packet { payload, consumed, .. } => {
            assert_eq!(consumed, wire.len());
            opener.payload(wire, &payload).to_vec()
        }
        Opened::NeedMore(needed) => panic!("needs {needed} of {}", wire.len()),
    }
}

/// Bytes that neither repeat nor compress.
fn noise(length: usize) -> Vec<u8> {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..2 * MAX_PACKET).map(|_| next()).collect()
    });
    NOISE[..length].to_vec()
}
