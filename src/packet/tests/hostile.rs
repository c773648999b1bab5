//! What an attacker sends: nothing of it becomes a payload, and nothing is waited for without need.

use super::*;

/// Lengths no packet may have.
const LENGTHS: [u32; 9] = [0, 1, 5, 13, 0x4_0001, 1 << 20, 1 << 31, u32::MAX - 3, u32::MAX];

/// Whether an error may tell what was in a packet.
fn chains(suite: Suite) -> bool {
    suite.cipher.name.contains("-cbc") && suite.mac.is_some_and(|mac| !mac.encrypt_then_mac)
}

/// An opener at packet 3 with the keys of `suite`.
fn opener_at_3(suite: Suite) -> Opener {
    let mut opener = Opener::plain();
    opener.set_count(3, 0);
    opener.replace(suite.open_keys(&source(), Direction::ToServer).unwrap(), false);
    opener
}

/// Feeds `wire` and then as much noise as the opener asks for: there must be an error in the end.
fn refuse(opener: &mut Opener, wire: &[u8], what: &str) -> PacketError {
    let mut received = wire.to_vec();
    for _ in 0..3 {
        match opener.open(&mut received) {
            Err(error) => return error,
            Ok(Opened::NeedMore(needed)) => {
                assert!(needed <= 4 + MAX_PACKET + 64, "{what}: waits for {needed}");
                received.extend(noise(needed - received.len()));
            }
            Ok(Opened::Packet { .. }) => panic!("{what}: opened"),
        }
    }
    panic!("{what}: never satisfied")
}

#[test]
fn every_flipped_bit_is_refused() {
    for (name, suite) in suites() {
        let (mut sealer, _) = pair(suite);
        let wire = seal(&mut sealer, b"\x5ea payload of no interest");
        // Each of these refusals is read to the end of the longest packet.
        let bits = if chains(suite) { &[0x10][..] } else { &[1, 0x10, 0x80] };
        for at in 0..wire.len() {
            for bit in bits {
                let mut wrong = wire.clone();
                wrong[at] ^= bit;
                let error = refuse(&mut opener_at_3(suite), &wrong, &format!("{name} {at}"));
                assert_eq!(error, PacketError::BadMac, "{name} {at}");
            }
        }
        assert_eq!(open(&mut opener_at_3(suite), &mut wire.clone()), b"\x5ea payload of no interest");
    }
}

#[test]
fn replay_and_exchange_of_packets_are_refused() {
    for (name, suite) in suites() {
        let (mut sealer, mut opener) = pair(suite);
        let first = seal(&mut sealer, b"first");
        let second = seal(&mut sealer, b"second");
        assert_eq!(refuse(&mut opener_at_3(suite), &second, &name), PacketError::BadMac);
        open(&mut opener, &mut first.clone());
        assert_eq!(refuse(&mut opener, &first, &name), PacketError::BadMac);
    }
}

#[test]
fn noise_is_refused() {
    for (name, suite) in suites() {
        let data = noise(4096);
        for start in 0..if chains(suite) { 10 } else { 100 } {
            refuse(&mut opener_at_3(suite), &data[start * 16..start * 16 + 64], &name);
        }
    }
}

#[test]
fn plain_lengths_are_refused_at_once() {
    for length in LENGTHS {
        let error = Opener::plain().open(&mut length.to_be_bytes()).unwrap_err();
        if length > MAX_PACKET as u32 {
            assert_eq!(error, PacketError::TooLong { length });
        } else {
            assert_eq!(error, PacketError::BadLength { length });
        }
    }
    for length in [4u32, 6, 11, 14, 20 - 1] {
        let error = Opener::plain().open(&mut length.to_be_bytes()).unwrap_err();
        assert_eq!(error, PacketError::BadLength { length });
    }
    let mut largest = (MAX_PACKET as u32 - 4).to_be_bytes();
    assert_eq!(Opener::plain().open(&mut largest), Ok(Opened::NeedMore(MAX_PACKET)));
}

/// A stream cipher lets an attacker choose the length of a packet whose length he knows.
#[test]
fn encrypted_lengths_are_refused_at_once_and_look_like_a_bad_mac() {
    let all = protections().into_iter().map(|(cipher, mac)| suite(cipher, mac, "none"));
    for suite in all.filter(|suite| !chains(*suite)) {
        let (cipher, mac) = (suite.cipher, suite.mac);
        let (mut sealer, _) = pair(suite);
        let wire = seal(&mut sealer, &[0; 20]);
        let clear = |bytes: &[u8]| u32::from_be_bytes(bytes[..4].try_into().unwrap());
        let hidden = match (cipher.name, mac.map(|mac| mac.name)) {
            ("chacha20-poly1305@openssh.com", _) => true,
            (_, Some(mac)) => !mac.contains("-etm@"),
            (_, None) => false,
        };
        let tag = wire.len() - if hidden { plain_length(suite, &wire) } else { clear(&wire) } as usize - 4;
        let known = (wire.len() - tag - 4) as u32;
        for wanted in LENGTHS {
            let field = clear(&wire) ^ known ^ wanted;
            let mut wrong = if hidden { field } else { wanted }.to_be_bytes().to_vec();
            wrong.extend_from_slice(&wire[4..16]);
            let error = opener_at_3(suite).open(&mut wrong);
            assert_eq!(error, Err(PacketError::BadMac), "{} {wanted}", cipher.name);
        }
    }
    assert_eq!(
        PacketError::BadMac.to_string(),
        "the peer's packet was changed on the way: message authentication code incorrect"
    );
}

/// CVE-2008-5161: with chained blocks the moment of the error would tell four bytes of any packet that is
/// sent again in the place of another's beginning. Whatever is wrong, it comes after the longest packet.
#[test]
fn chained_blocks_are_refused_no_sooner_than_the_longest_packet_ends() {
    let all = protections().into_iter().map(|(cipher, mac)| suite(cipher, mac, "none"));
    for suite in all.filter(|suite| chains(*suite)) {
        let (mut sealer, _) = pair(suite);
        let wire = seal(&mut sealer, &[0; 100]);
        let longest = 4 + MAX_PACKET + suite.mac.unwrap().length;
        let mut flipped_tag = wire.clone();
        *flipped_tag.last_mut().unwrap() ^= 1;
        // The head of another packet has most likely a length that none may have; the end of a good one, and
        // its middle, fail the MAC.
        for mut wrong in [noise(wire.len()), flipped_tag, [&wire[..32], &noise(wire.len() - 32)].concat()] {
            let mut opener = opener_at_3(suite);
            loop {
                match opener.open(&mut wrong) {
                    Ok(Opened::NeedMore(needed)) if needed < longest => wrong.resize(needed, 1),
                    result => {
                        assert_eq!(result, Ok(Opened::NeedMore(longest)), "{suite:?}");
                        break;
                    }
                }
            }
            wrong.resize(longest - 1, 2);
            assert_eq!(opener.open(&mut wrong), Ok(Opened::NeedMore(longest)));
            wrong.push(2);
            assert_eq!(opener.open(&mut wrong), Err(PacketError::BadMac));
        }
    }
}

/// `packet_length` of an intact packet, as an opener learns it.
fn plain_length(suite: Suite, wire: &[u8]) -> u32 {
    let keys = suite.open_keys(&source(), Direction::ToServer).unwrap();
    let mut protection = keys.0.protection;
    let needed = protection.head_length();
    protection.open_head(3, &mut wire[..needed].to_vec()).unwrap()
}

/// A packet of number 3 whose header and padding are as given.
fn with_padding(suite: Option<Suite>, length: usize, padding: u8) -> (Opener, Vec<u8>) {
    let mut wire = (length as u32).to_be_bytes().to_vec();
    wire.push(padding);
    wire.resize(4 + length, 7);
    let Some(suite) = suite else { return (Opener::plain(), wire) };
    let keys = suite.seal_keys(&source(), Direction::ToServer).unwrap();
    let mut protection = keys.0.protection;
    protection.seal(3, &mut wire, 0).unwrap();
    (opener_at_3(suite), wire)
}

#[test]
fn impossible_padding_is_refused() {
    let all = protections().into_iter().map(|(cipher, mac)| Some(suite(cipher, mac, "none")));
    for suite in all.chain([None]) {
        let aligned = suite.is_none_or(|suite| suite.mac.is_some_and(|mac| !mac.name.contains("-etm@")));
        let length = if aligned { 28 } else { 32 };
        for padding in [0, 1, 3, length - 1, length, length + 1, 200, 255] {
            let (mut opener, mut wire) = with_padding(suite, length, padding as u8);
            assert_eq!(opener.open(&mut wire), Err(PacketError::BadPadding), "{suite:?} {padding}");
        }
        for padding in [4, length - 2] {
            let (mut opener, mut wire) = with_padding(suite, length, padding as u8);
            assert_eq!(open(&mut opener, &mut wire), vec![7; length - 1 - padding]);
        }
    }
}

/// Opens `packets`, sealed as they are, with an opener that inflates.
fn inflate(packets: &[Vec<u8>]) -> Result<Vec<u8>, PacketError> {
    let (mut sealer, _) = pair(suite(&CIPHERS[0], None, "none"));
    let mut opener = opener_at_3(suite(&CIPHERS[0], None, "zlib"));
    let mut last = Vec::new();
    for packet in packets {
        let mut wire = seal(&mut sealer, packet);
        let Opened::Packet { payload, .. } = opener.open(&mut wire)? else { panic!() };
        last = opener.payload(&wire, &payload).to_vec();
    }
    Ok(last)
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress::Deflater::new().deflate(&[payload], &mut out).unwrap();
    out
}

#[test]
fn zip_bombs_are_cut() {
    for size in [MAX_PACKET + 1, 1 << 20, 100 << 20] {
        let bomb = deflate(&vec![0; size]);
        assert!(bomb.len() < MAX_PACKET);
        assert_eq!(inflate(&[bomb]), Err(PacketError::InflatedTooLong));
    }
    assert_eq!(inflate(&[deflate(&vec![0; MAX_PACKET])]).map(|payload| payload.len()), Ok(MAX_PACKET));
}

#[test]
fn bad_streams_are_refused() {
    let good = deflate(b"payload");
    assert_eq!(inflate(&[good]), Ok(b"payload".to_vec()));
    // zlib.compress(b"x"): a stream that ends, and one with more behind its end.
    let ended = vec![0x78, 0x9c, 0xab, 0, 0, 0, 0x79, 0, 0x79];
    let more = [ended.clone(), vec![1, 2, 3]].concat();
    let rows = [
        vec![noise(100)],
        vec![b"\0\0\0\0\0".to_vec()],
        vec![ended],
        vec![more],
        // A header alone gives no payload, and an empty block neither.
        vec![vec![0x78, 0x9c]],
        vec![deflate(b"x"), vec![0, 0, 0, 0xff, 0xff]],
    ];
    for packets in rows {
        assert_eq!(inflate(&packets), Err(PacketError::Decompress), "{packets:?}");
    }
}

/// A compression of a user's that believes everything: makes as many bytes as it is told.
struct Credulous;

impl CompressionState for Credulous {
    fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), PacketError> {
        out.extend_from_slice(payload);
        Ok(())
    }

    fn decompress(&mut self, data: &[u8], _: usize, out: &mut Vec<u8>) -> Result<(), PacketError> {
        let count = data.first_chunk().map_or(0, |count| u32::from_be_bytes(*count));
        out.resize(out.len() + count as usize, 7);
        Ok(())
    }
}

#[test]
fn what_a_users_compression_makes_is_bounded() {
    static OWN: CompressionSpec = CompressionSpec::own("own@example.org", false, || Box::new(Credulous));
    let plain = suite(&CIPHERS[0], None, "none");
    let (mut sealer, _) = pair(plain);
    let mut opener = opener_at_3(Suite { compression: &OWN, ..plain });
    for (count, expected) in [
        (5_u32, Ok(5)),
        (3, Ok(3)),
        (MAX_PACKET as u32, Ok(MAX_PACKET)),
        (MAX_PACKET as u32 + 1, Err(PacketError::InflatedTooLong)),
        (0, Err(PacketError::Decompress)),
    ] {
        let mut wire = seal(&mut sealer, &count.to_be_bytes());
        let opened = opener.open(&mut wire).map(|opened| match opened {
            Opened::Packet { payload, .. } => opener.payload(&wire, &payload).len(),
            Opened::NeedMore(_) => panic!("incomplete"),
        });
        assert_eq!(opened, expected);
        if expected.is_err() {
            opener = opener_at_3(Suite { compression: &OWN, ..plain });
            (sealer, _) = pair(plain);
        }
    }
}

#[test]
fn debug_shows_no_keys() {
    let suite = suite(&CIPHERS[0], None, "none");
    let (sealer, opener) = pair(suite);
    assert_eq!(format!("{sealer:?} {opener:?}"), "Sealer(next packet 3) Opener(next packet 3)");
    let keys = suite.seal_keys(&source(), Direction::ToServer).unwrap();
    assert_eq!(format!("{keys:?}"), "SealKeys(aes128-gcm@openssh.com)");
}
