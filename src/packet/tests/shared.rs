//! Packets on a connection that another program holds: OpenSSH's PROTOCOL.mux §9.

use super::*;

#[test]
fn packets_have_neither_padding_nor_alignment() {
    let (mut sealer, mut out) = (Sealer::shared(), Vec::new());
    sealer.seal(&[&[94, 1], &[2]], &mut out).unwrap();
    sealer.seal(&[&[80]], &mut out).unwrap();
    assert_eq!(out, [0, 0, 0, 4, 0, 94, 1, 2, 0, 0, 0, 2, 0, 80]);
    let mut opener = Opener::shared();
    for (cut, end) in [(0, 8), (8, 14)] {
        for short in cut..end {
            assert!(matches!(opener.open(&mut out[cut..short]), Ok(Opened::NeedMore(_))));
        }
        let opened = opener.open(&mut out[cut..end]).unwrap();
        assert!(matches!(&opened, Opened::Packet { payload, consumed, .. }
            if *payload == (5..end - cut) && *consumed == end - cut));
    }
}

/// The master has a connection to lose: what would reach the server as its own is not sent.
#[test]
fn only_the_connection_layer_passes() {
    let (mut sealer, mut out) = (Sealer::shared(), Vec::new());
    for number in (0..80).chain(128..=255) {
        sealer.seal(&[&[number, 0, 0, 0, 0]], &mut out).unwrap();
        let mut packet = [0, 0, 0, 2, 0, number];
        let error = Opener::shared().open(&mut packet).unwrap_err();
        assert_eq!(error, PacketError::NotShared { number });
    }
    sealer.seal(&[], &mut out).unwrap();
    assert!(out.is_empty());
    for number in 80..128 {
        sealer.seal(&[&[number]], &mut out).unwrap();
    }
    assert_eq!(out.len(), 48 * 6);
}

#[test]
fn impossible_packets_are_errors() {
    let open = |bytes: &[u8]| Opener::shared().open(&mut bytes.to_vec());
    for length in [0, 1_u32] {
        assert_eq!(open(&length.to_be_bytes()), Err(PacketError::BadLength { length }));
    }
    let length = MAX_PACKET as u32 + 1;
    assert_eq!(open(&length.to_be_bytes()), Err(PacketError::TooLong { length }));
    assert_eq!(open(&[0, 0, 0, 3, 1, 94, 0]), Err(PacketError::BadPadding));
    assert_eq!(open(&[0, 0, 0, 2, 255, 94]), Err(PacketError::BadPadding));
}

/// Another program has the keys: they are not used up here.
#[test]
fn numbers_go_on_for_ever() {
    let (mut sealer, mut opener) = (Sealer::shared(), Opener::shared());
    sealer.set_count(u32::MAX, 1 << 40);
    opener.set_count(u32::MAX, 1 << 40);
    for _ in 0..3 {
        let mut out = Vec::new();
        sealer.seal(&[&[94]], &mut out).unwrap();
        assert!(matches!(opener.open(&mut out), Ok(Opened::Packet { .. })));
    }
}
