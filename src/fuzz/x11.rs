//! What forwarding X11 reads: names of displays, Xauthority files, cookies of requests, and first packets.

use super::Input;
use crate::x11::{Address, Authority, Cookie, Display, Entry, FirstPacket};

/// Which reader gets the rest is the first byte's choice.
pub fn x11(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => display(input.0),
        1 => authority(input.0),
        2 => cookie(input.0),
        _ => first_packet(input.0),
    }
}

/// A name that is read comes back the same, and no shell would find anything in it.
fn display(text: &[u8]) {
    let Some(read) = std::str::from_utf8(text).ok().and_then(Display::parse) else { return };
    let text = read.to_string();
    assert_eq!(Display::parse(&text), Some(read));
    assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/.-_[]".contains(&byte)));
}

/// An entry before whatever it is counts.
fn authority(file: &[u8]) {
    let address = Address::Local(b"here".to_vec());
    let found = Authority(file).cookie(std::slice::from_ref(&address), 10);
    let Some(cookie) = found.or_else(|| Cookie::from_bytes(&[7; 16])) else { return };
    let entry = Entry { address: address.clone(), number: 10, cookie: cookie.clone() }.encode();
    let file = [entry.as_ref().map_or(&b""[..], |entry| entry.expose()), file].concat();
    assert_eq!(Authority(&file).cookie(&[address], 10), Some(cookie));
}

/// What is a cookie is digits of its length.
fn cookie(text: &[u8]) {
    if let Some(cookie) = Cookie::from_hex(text) {
        assert_eq!(cookie.to_hex().expose(), text.to_ascii_lowercase());
    }
}

/// With its own cookie a packet is itself, but for what pads it; without one, no longer than its header.
fn first_packet(packet: &[u8]) {
    let Ok(first) = FirstPacket::parse(packet) else { return };
    let again = first.with(Some(first.cookie()));
    assert_eq!(again.expose().len(), packet.len());
    assert!(FirstPacket::parse(again.expose()).is_ok_and(|again| again.cookie() == first.cookie()));
    assert_eq!(first.with(None).expose().len(), crate::x11::HEADER);
}
