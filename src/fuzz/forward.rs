//! Forwarding: what a SOCKS client says, and the places that come with channels and requests.

use super::Input;
use crate::forward::rules::may_listen;
use crate::forward::socks::{Socks, Step, Wanted};
use crate::msg::forwarding::{self as message, Carried};
use crate::pattern::endpoint::{Endpoint, may_open};

/// A SOCKS request and what comes before it are never longer.
const SOCKS_BYTES: usize = 4096;

fn talk<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Option<Wanted>) {
    let (mut socks, mut sent) = (Socks::default(), Vec::new());
    for piece in pieces {
        socks.feed(piece);
        loop {
            match socks.step() {
                Step::More => break,
                Step::Send(bytes) => sent.extend(bytes),
                Step::Refuse(bytes) => {
                    sent.extend(bytes);
                    return (sent, None);
                }
                Step::Open(wanted) => return (sent, Some(wanted)),
            }
        }
        assert!(socks.kept() <= SOCKS_BYTES);
    }
    (sent, None)
}

/// Any bytes in any pieces: what is kept is bounded, and the pieces change nothing but what came early.
pub fn socks(data: &[u8]) {
    let single = talk(data.chunks(1));
    let larger = talk(data.chunks(7));
    assert_eq!(single.0, larger.0);
    let to = |wanted: Option<Wanted>| wanted.map(|wanted| wanted.to);
    let early = single.1.as_ref().map_or(0, |wanted| wanted.early.len());
    assert_eq!(early, 0, "a byte at a time nothing comes early");
    assert_eq!(to(single.1), to(larger.1));
}

/// Any bytes behind a channel's or a request's type, and any list: what is read is written the same way.
pub fn forwards(data: &[u8]) {
    let mut input = Input(data);
    let kind = input.byte();
    let list = [String::from_utf8_lossy(input.piece(64)).into_owned()];
    let rest = input.0;
    let read = match kind % 5 {
        0 => Carried::read_tcpip(rest),
        1 => Carried::read_direct_streamlocal(rest),
        2 => Carried::read_forwarded_streamlocal(rest),
        _ => None,
    };
    let place = match (kind % 5, &read) {
        (3, _) => message::read_listen_tcpip(rest),
        (4, _) => message::read_listen_streamlocal(rest),
        (_, read) => read.as_ref().map(|carried| carried.to.clone()),
    };
    if let Some(carried) = read {
        let again = match (kind % 5, &carried.to) {
            (0, Endpoint::Tcp { .. }) => Carried::read_tcpip(&carried.direct().1),
            (1, _) => Carried::read_direct_streamlocal(&carried.direct().1),
            _ => Carried::read_forwarded_streamlocal(&carried.forwarded().1),
        };
        // Who has connected is shown only, and escaped again.
        assert_eq!(again.map(|again| again.to), Some(carried.to));
    }
    if let Some(place) = place {
        let unix = matches!(place, Endpoint::Unix(_));
        assert!(!(unix && (may_open(Some(&list), &place) || may_listen(Some(&list), &place))));
        assert!(!may_open(Some(&[]), &place) && !may_listen(Some(&[]), &place));
    }
    if let Some(port) = message::chosen_port(rest) {
        assert_eq!(message::tell_port(port), rest);
    }
}
