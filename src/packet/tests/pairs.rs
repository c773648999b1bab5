//! What is sealed is opened, for every suite.

use super::*;

#[test]
fn every_suite_carries_every_size() {
    let sizes: Vec<usize> = (1..70).chain([1000, 32 * 1024, 40_000, 200_000]).collect();
    let data = noise(200_000);
    for (name, suite) in suites() {
        let (mut sealer, mut opener) = pair(suite);
        sealer.start_delayed_compression();
        opener.start_delayed_compression();
        for size in &sizes {
            let mut wire = seal(&mut sealer, &data[..*size]);
            assert!(open(&mut opener, &mut wire) == data[..*size], "{name} {size}");
        }
        assert_eq!(sealer.usage(), opener.usage());
        assert_eq!(sealer.next_sequence(), opener.next_sequence());
        assert_eq!(sealer.usage().packets, sizes.len() as u64);
    }
}

/// What RFC 4253 §6.4, RFC 6668 and the drafts say.
fn tag_length(mac: &str) -> usize {
    match mac.split("-etm@").next().unwrap() {
        name if name.ends_with("-96") => 12,
        name if name.starts_with("umac-64") => 8,
        name if name.starts_with("umac-128") => 16,
        "hmac-md5" => 16,
        "hmac-sha1" => 20,
        "hmac-sha2-256" => 32,
        "hmac-sha2-512" => 64,
        name => panic!("{name}"),
    }
}

#[test]
fn every_cipher_with_every_mac() {
    for (cipher, mac) in protections() {
        let (mut sealer, mut opener) = pair(suite(cipher, mac, "none"));
        for size in [1, 8, 100, 5000] {
            let payload = noise(size);
            let mut wire = seal(&mut sealer, &payload);
            assert_eq!(open(&mut opener, &mut wire), payload, "{} {mac:?}", cipher.name);
        }
    }
}

#[test]
fn packets_are_aligned_and_padded_at_random() {
    for (cipher, mac) in protections() {
        let (mut sealer, _) = pair(suite(cipher, mac, "none"));
        for size in 1..40 {
            let wire = seal(&mut sealer, &noise(size));
            let block = match cipher.name {
                "chacha20-poly1305@openssh.com" => 8,
                name if name.starts_with("aes") || name.starts_with("rijndael") => 16,
                _ => 8,
            };
            let (tag, separate) = match mac.map(|mac| mac.name) {
                None => (16, 4),
                Some(name) => (tag_length(name), if name.contains("-etm@") { 4 } else { 0 }),
            };
            assert_eq!((wire.len() - tag - separate) % block, 0);
            assert!(wire.len() - tag - 5 - size >= 4);
            assert!(wire.len() - tag - 5 - size < block + 4);
        }
    }
    let mut sealer = Sealer::plain();
    let paddings: Vec<Vec<u8>> = (0..200).map(|_| seal(&mut sealer, b"msg").split_off(8)).collect();
    for padding in &paddings {
        assert_eq!(padding.len(), 8);
        assert_eq!(paddings.iter().filter(|other| *other == padding).count(), 1);
    }
}

#[test]
fn a_plain_packet_is_what_the_rfc_says() {
    let wire = seal(&mut Sealer::plain(), b"\x15");
    assert_eq!(wire.len(), 16);
    assert_eq!(wire[..6], [0, 0, 0, 12, 10, 21]);
}

#[test]
fn parts_are_one_payload_and_packets_follow_each_other() {
    for (name, suite) in suites() {
        let (mut sealer, mut opener) = pair(suite);
        let mut wire = b"before".to_vec();
        sealer.seal(&[b"\x5e", b"", b"abc", b"defg"], &mut wire).unwrap();
        sealer.seal(&[b"\x02"], &mut wire).unwrap();
        let (before, mut rest) = wire.split_at_mut(6);
        assert_eq!(before, b"before");
        for (sequence, expected) in [(3, &b"\x5eabcdefg"[..]), (4, b"\x02")] {
            let Opened::Packet { payload, consumed, sequence: number } = opener.open(rest).unwrap() else {
                panic!("{name}: incomplete")
            };
            assert_eq!(opener.payload(rest, &payload), expected);
            assert_eq!(number, sequence);
            rest = &mut rest[consumed..];
        }
        assert!(rest.is_empty());
    }
}

#[test]
fn packets_may_come_a_byte_at_a_time() {
    for (name, suite) in suites() {
        let (mut sealer, mut opener) = pair(suite);
        for size in [1, 16, 100] {
            let payload = noise(size);
            let wire = seal(&mut sealer, &payload);
            let mut received = Vec::new();
            let mut needed = 1;
            for byte in &wire[..wire.len() - 1] {
                received.push(*byte);
                let Opened::NeedMore(more) = opener.open(&mut received).unwrap() else {
                    panic!("{name}: too early")
                };
                assert!(more > received.len() && more >= needed && more <= wire.len());
                needed = more;
            }
            assert_eq!(needed, wire.len());
            received.push(wire[wire.len() - 1]);
            assert_eq!(open(&mut opener, &mut received), payload, "{name}");
        }
    }
}

#[test]
fn the_largest_packet_goes_and_no_larger() {
    let data = noise(MAX_PACKET + 1);
    for (_, suite) in suites().into_iter().filter(|(name, _)| name.ends_with("none")) {
        let (mut sealer, mut opener) = pair(suite);
        let mut out = b"before".to_vec();
        let largest = (MAX_PACKET - 40..MAX_PACKET)
            .rev()
            .find(|size| match sealer.seal(&[&data[..*size]], &mut out) {
                Ok(()) => true,
                Err(error) => {
                    assert!(matches!(error, PacketError::TooLong { .. }));
                    assert_eq!(out, b"before");
                    false
                }
            })
            .unwrap();
        assert!(largest >= MAX_PACKET - 1 - 4 - 16);
        assert!(open(&mut opener, &mut out[6..]) == data[..largest]);
    }
    let (mut sealer, _) = pair(suite(&CIPHERS[0], None, "zlib"));
    let error = sealer.seal(&[&vec![0; MAX_PACKET], b"x"], &mut Vec::new());
    assert_eq!(error, Err(PacketError::TooLong { length: MAX_PACKET as u32 + 1 }));
}

#[test]
fn compression_shrinks_and_inflates_up_to_the_limit() {
    let (mut sealer, mut opener) = pair(suite(&CIPHERS[0], None, "zlib"));
    for size in [1, 4096, 4097, 65_536, MAX_PACKET - 1, MAX_PACKET] {
        let payload = vec![b'a'; size];
        let mut wire = seal(&mut sealer, &payload);
        assert!(wire.len() < 1000);
        assert!(open(&mut opener, &mut wire) == payload);
    }
}

#[test]
fn delayed_compression_waits_and_survives_new_keys() {
    let delayed = suite(&CIPHERS[0], None, "zlib@openssh.com");
    let (mut sealer, mut opener) = pair(delayed);
    let payload = [b'a'; 2000];
    let exchange = |sealer: &mut Sealer, opener: &mut Opener| {
        let mut wire = seal(sealer, &payload);
        assert_eq!(open(opener, &mut wire), payload);
        wire.len() < payload.len()
    };
    assert!(!exchange(&mut sealer, &mut opener));
    // The payload that switches compression on is still readable afterwards.
    let mut wire = seal(&mut sealer, b"\x34");
    let Opened::Packet { payload: success, .. } = opener.open(&mut wire).unwrap() else { panic!() };
    sealer.start_delayed_compression();
    opener.start_delayed_compression();
    assert_eq!(opener.payload(&wire, &success), b"\x34");
    assert!(exchange(&mut sealer, &mut opener));
    install(&mut sealer, &mut opener, delayed, false);
    assert!(exchange(&mut sealer, &mut opener));
    install(&mut sealer, &mut opener, suite(&CIPHERS[0], None, "none"), false);
    assert!(!exchange(&mut sealer, &mut opener));
    install(&mut sealer, &mut opener, delayed, false);
    assert!(exchange(&mut sealer, &mut opener));
}

#[test]
fn zlib_starts_with_the_keys() {
    let (mut sealer, mut opener) = pair(suite(&CIPHERS[0], None, "zlib"));
    let mut wire = seal(&mut sealer, &[0; 500]);
    assert!(wire.len() < 100);
    assert_eq!(open(&mut opener, &mut wire), [0; 500]);
}

#[test]
fn sequence_numbers_wrap_under_fresh_keys() {
    for (name, suite) in suites() {
        let (mut sealer, mut opener) = pair(suite);
        sealer.set_count(u32::MAX - 1, 0);
        opener.set_count(u32::MAX - 1, 0);
        for _ in 0..4 {
            let mut wire = seal(&mut sealer, b"payload");
            assert_eq!(open(&mut opener, &mut wire), b"payload", "{name}");
        }
        assert_eq!((sealer.next_sequence(), opener.next_sequence()), (2, 2));
    }
}

#[test]
fn keys_end_after_two_to_the_32_packets() {
    for (mut sealer, mut opener) in
        [pair(suite(&CIPHERS[2], None, "none")), (Sealer::plain(), Opener::plain())]
    {
        sealer.set_count(u32::MAX, (1 << 32) - 1);
        opener.set_count(u32::MAX, (1 << 32) - 1);
        assert!(sealer.rekey_due() && opener.rekey_due());
        let mut wire = seal(&mut sealer, b"last");
        assert_eq!(open(&mut opener, &mut wire), b"last");
        let mut out = b"before".to_vec();
        assert_eq!(sealer.seal(&[b"more"], &mut out), Err(PacketError::Sequence));
        assert_eq!(out, b"before");
        assert_eq!(opener.open(&mut wire), Err(PacketError::Sequence));
        install(&mut sealer, &mut opener, suite(&CIPHERS[2], None, "none"), false);
        let mut wire = seal(&mut sealer, b"fresh");
        assert_eq!(open(&mut opener, &mut wire), b"fresh");
    }
}

#[test]
fn strict_exchanges_reset_the_sequence() {
    for (name, suite) in suites() {
        let (mut sealer, mut opener) = pair(suite);
        install(&mut sealer, &mut opener, suite, true);
        assert_eq!((sealer.next_sequence(), opener.next_sequence()), (0, 0));
        let mut wire = seal(&mut sealer, b"payload");
        let Opened::Packet { sequence, .. } = opener.open(&mut wire).unwrap() else { panic!("{name}") };
        assert_eq!(sequence, 0);
        install(&mut sealer, &mut opener, suite, false);
        assert_eq!((sealer.next_sequence(), opener.next_sequence()), (1, 1));
        // One side alone: where the number is authenticated, nothing passes.
        sealer.replace(suite.seal_keys(&source(), Direction::ToServer).unwrap(), true);
        let result = opener.open(&mut seal(&mut sealer, b"payload"));
        if name.contains("gcm") {
            assert!(result.is_ok());
        } else {
            assert!(!matches!(result, Ok(Opened::Packet { .. })));
        }
    }
}

#[test]
fn new_keys_are_due_by_packets_and_blocks() {
    let (mut sealer, mut opener) = pair(suite(&CIPHERS[0], None, "none"));
    assert_eq!(sealer.usage(), Usage::default());
    let mut wire = seal(&mut sealer, &[0; 100]);
    open(&mut opener, &mut wire);
    let expected = Usage { bytes: 4 + 112 + 16, packets: 1, blocks: 8 };
    assert_eq!((sealer.usage(), opener.usage()), (expected, expected));
    assert!(!sealer.rekey_due());
    sealer.set_count(0, (1 << 31) - 1);
    assert!(!sealer.rekey_due());
    seal(&mut sealer, b"x");
    assert!(sealer.rekey_due());
    install(&mut sealer, &mut opener, suite(&CIPHERS[0], None, "none"), false);
    assert!(!sealer.rekey_due());
    let mut count = count::Counter::plain();
    count.replace(8, 1 << 27, false);
    for _ in 0..4096 {
        assert!(!count.rekey_due());
        count.advance(256 * 1024);
    }
    assert!(count.rekey_due());
}

#[test]
fn directions_have_keys_of_their_own() {
    for (name, suite) in suites() {
        let mut sealer = Sealer::plain();
        let mut opener = Opener::plain();
        sealer.replace(suite.seal_keys(&source(), Direction::ToServer).unwrap(), false);
        opener.replace(suite.open_keys(&source(), Direction::ToClient).unwrap(), false);
        let result = opener.open(&mut seal(&mut sealer, b"payload"));
        assert!(!matches!(result, Ok(Opened::Packet { .. })), "{name}");
    }
}

#[test]
fn tables_are_found_by_name() {
    for spec in CIPHERS {
        assert!(cipher(spec.name).is_some_and(|found| std::ptr::eq(found, spec)));
    }
    for spec in MACS {
        assert!(mac(spec.name).is_some_and(|found| std::ptr::eq(found, spec)));
    }
    for spec in COMPRESSIONS {
        assert!(compression(spec.name).is_some_and(|found| std::ptr::eq(found, spec)));
    }
    assert!(cipher("none").is_none());
    assert_eq!(ciphers_by_preference().len(), CIPHERS.len());
    assert!(
        suite(cipher("aes128-ctr").unwrap(), None, "none").seal_keys(&source(), Direction::ToServer).is_err()
    );
}
