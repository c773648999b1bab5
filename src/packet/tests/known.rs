//! Bytes made by another implementation: Python's `hashlib`, `hmac`, `zlib` and `cryptography`, and nettle's
//! UMAC, put together from the RFCs.

use super::*;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn known_source(alg: HashAlg) -> KeySource {
    let mut secret = vec![0, 0, 0, 33, 0, 0x80];
    secret.extend(0..31);
    KeySource {
        alg,
        secret: Zeroizing::new(secret),
        exchange_hash: HashAlg::Sha256.digest(&[b"exchange"]).unwrap().to_vec(),
        session_id: HashAlg::Sha256.digest(&[b"session"]).unwrap().to_vec(),
    }
}

/// RFC 4253 §7.2, with and without extension.
#[test]
fn derived_keys() {
    let expected = "3054dfe49a793f6f143bd32309a6ccb2af81fd60a57e476660d39d7a4b8d93be\
                    3121eecc5e980274e7756b265a66e3bbcb4361af011dad0486673ee7c394739e\
                    8d15f9440e2ffe3055f46590362b8ddf";
    let source = known_source(HashAlg::Sha256);
    for length in [0, 1, 16, 32, 33, 64, 80] {
        assert_eq!(source.derive(b'E', length).unwrap().to_vec(), unhex(&expected[..2 * length]));
    }
    let expected = "ca93b614f1b7e44a554c0b620069fa44d873bdf3a52bbe93044eabbb065551d2\
                    836e3399bb60b589f0494dbf1b514c9e22b955a3ffe9957a3ae8516801adf432";
    assert_eq!(known_source(HashAlg::Sha512).derive(b'C', 64).unwrap().to_vec(), unhex(expected));
}

/// Three packets, numbers 3 to 5, from client to server under each cipher and each MAC.
#[test]
fn packets_of_another_implementation() {
    let data: Vec<u8> = [94].into_iter().chain(0..100).collect();
    let payloads: [&[u8]; 3] = [b"\x05\0\0\0\x0cssh-userauth", b"\x02\0\0\0\x03abc", &data];
    for line in include_str!("known.txt").lines() {
        let mut fields = line.split(' ');
        let mut field = || fields.next().unwrap();
        let suite = suite(cipher(field()).unwrap(), mac(field()), "none");
        let mut wire = unhex(field());
        let mut opener = Opener::plain();
        opener.set_count(3, 0);
        opener.replace(suite.open_keys(&known_source(HashAlg::Sha256), Direction::ToServer).unwrap(), false);
        let mut at = 0;
        for (number, expected) in payloads.iter().enumerate() {
            let Opened::Packet { payload, consumed, sequence } = opener.open(&mut wire[at..]).unwrap() else {
                panic!("{line}: incomplete")
            };
            assert_eq!(opener.payload(&wire[at..], &payload), *expected, "{line}");
            assert_eq!(sequence, 3 + number as u32);
            at += consumed;
        }
        assert_eq!(at, wire.len());
    }
    let names: Vec<_> = include_str!("known.txt").split([' ', '\n']).collect();
    assert!(CIPHERS.iter().all(|spec| names.contains(&spec.name)));
    assert!(MACS.iter().all(|spec| names.contains(&spec.name)));
}

/// The second refers back to the first.
const ZLIB_PACKETS: [&str; 2] = ["789c8acb48cdc9c957a03f0910", "407103653140"];

/// A stream that zlib itself made, flushed partially after each of two packets.
#[test]
fn zlib_of_another_implementation() {
    let mut inflater = compress::Inflater::new();
    let payload = [&b"\x5e"[..], &b"hello ".repeat(20)].concat();
    for packet in ZLIB_PACKETS {
        assert_eq!(inflater.inflate(&unhex(packet)), Ok(payload.len()));
        assert_eq!(inflater.payload(), payload);
    }
}
