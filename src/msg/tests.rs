//! The number table is sorted and says what RFC 4250 §4.1 and the security checklist say; messages round-trip.

use super::number::{Phase, lookup, name};
use crate::wire::{Encode, Escaped, Rest};

#[test]
fn every_number_is_found_under_itself() {
    for number in 0..=255 {
        if let Some(row) = lookup(number) {
            assert_eq!(row.number, number);
        }
    }
    assert_eq!(name(94), "CHANNEL_DATA");
    assert_eq!(name(200), "unknown message");
}

#[test]
fn nothing_of_the_connection_layer_comes_before_authentication() {
    for number in 80..=127 {
        for phase in [Phase::Initial, Phase::Auth] {
            for by_client in [true, false] {
                assert!(!lookup(number).is_some_and(|row| row.allowed(phase, by_client)), "{number}");
            }
        }
    }
}

#[test]
fn a_client_cannot_say_what_only_a_server_says() {
    for number in [6, 31, 33, 51, 52, 53, 60] {
        for phase in [Phase::Initial, Phase::Auth, Phase::Open] {
            assert!(!lookup(number).unwrap().allowed(phase, true), "{number}");
        }
    }
    for number in [5, 30, 32, 34, 50, 61] {
        for phase in [Phase::Initial, Phase::Auth, Phase::Open] {
            assert!(!lookup(number).unwrap().allowed(phase, false), "{number}");
        }
    }
}

#[test]
fn a_captured_disconnect_reads_and_writes() {
    let bytes = b"\x01\0\0\0\x0b\0\0\0\x03bye\0\0\0\0";
    let message = super::transport::Disconnect::decode_packet(bytes).unwrap();
    assert_eq!((message.code, message.text.0), (11, &b"bye"[..]));
    assert_eq!(message.to_vec(), bytes);
    let open = super::connection::ChannelOpen {
        kind: Escaped(b"session"),
        sender: 3,
        window: 4,
        max_packet: 5,
        rest: Rest(b"x"),
    };
    let bytes = open.to_vec();
    assert_eq!(bytes[0], 90);
    assert_eq!(super::connection::ChannelOpen::decode_packet(&bytes).unwrap().rest, Rest(b"x"));
}
