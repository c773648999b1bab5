//! What a SOCKS client asks for: SOCKS4, 4a, and 5 (RFC 1928) without authentication, the command CONNECT
//! only, as OpenSSH's channels.c.
//!
//! Pure: is fed bytes, says what to send and where to connect. What is kept is bounded.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::pattern::endpoint::Endpoint;

/// The longest user or host in a SOCKS4 request, in bytes; OpenSSH's figure.
const NAME_BYTES: usize = 1024;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Four,
    Five,
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    version: Version,
    /// Where it wants to be connected to.
    pub(crate) to: Endpoint,
    /// What it has sent already for whoever is there.
    pub(crate) early: Vec<u8>,
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Connected,
    /// It may not be.
    Forbidden,
    /// It could not be reached.
    Unreachable,
}

impl Wanted {
    /// The answer.
    pub(crate) fn reply(&self, outcome: Outcome) -> Vec<u8> {
        match (self.version, outcome) {
            (Version::Four, Outcome::Connected) => four(90),
            (Version::Four, _) => four(91),
            (Version::Five, Outcome::Connected) => five(0),
            (Version::Five, Outcome::Forbidden) => five(2),
            (Version::Five, Outcome::Unreachable) => five(5),
        }
    }
}

/// A reply of SOCKS4; address and port mean nothing.
fn four(code: u8) -> Vec<u8> {
    vec![0, code, 0, 0, 0, 0, 0, 0]
}

/// A reply of SOCKS5, with an address that means nothing.
fn five(code: u8) -> Vec<u8> {
    vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read on.
    More,
    /// Send this; there may be more to be done.
    Send(Vec<u8>),
    /// Connect, and [`reply`](Wanted::reply).
    Open(Wanted),
    /// Send this and hang up.
    Refuse(Vec<u8>),
}

/// A client's side of the talk, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Socks {
    input: Vec<u8>,
    /// The method of SOCKS5 is agreed on.
    greeted: bool,
}

/// Bytes, read from their front; none: there are not enough yet.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    /// Up to a zero, which is read too.
    fn line(&mut self) -> Option<&'a [u8]> {
        let line = self.take(self.0.iter().position(|byte| *byte == 0)?)?;
        self.take(1).map(|_| line)
    }
}

/// What was read of a request.
enum Read {
    NotYet,
    Wrong,
    Right(Endpoint, Vec<u8>),
}

impl Socks {
    /// Bytes from the client.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// How many bytes are kept.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn kept(&self) -> usize {
        self.input.len()
    }

    /// What to do next.
    pub(crate) fn step(&mut self) -> Step {
        let (version, read, refusal) = match self.input.first() {
            None => return Step::More,
            Some(4) => (Version::Four, self.socks4(), four(91)),
            Some(5) if self.greeted => (Version::Five, self.socks5(), five(7)),
            Some(5) => return self.greeting(),
            Some(_) => return Step::Refuse(Vec::new()),
        };
        match read.unwrap_or(Read::NotYet) {
            Read::NotYet => Step::More,
            Read::Wrong => Step::Refuse(refusal),
            Read::Right(to, early) => {
                self.input.clear();
                Step::Open(Wanted { version, to, early })
            }
        }
    }

    /// RFC 1928 §3.
    fn greeting(&mut self) -> Step {
        let mut bytes = Bytes(&self.input);
        let methods = bytes.array().and_then(|[_, count]| bytes.take(usize::from(count)));
        let Some(methods) = methods else { return Step::More };
        if !methods.contains(&0) {
            return Step::Refuse(vec![5, 0xff]);
        }
        self.input = bytes.0.to_vec();
        self.greeted = true;
        Step::Send(vec![5, 0])
    }

    /// RFC 1928 §4.
    fn socks5(&self) -> Option<Read> {
        let mut bytes = Bytes(&self.input);
        let [_, command, reserved, kind] = bytes.array()?;
        if command != 1 || reserved != 0 {
            return Some(Read::Wrong);
        }
        let host = match kind {
            1 => Some(Ipv4Addr::from(bytes.array::<4>()?).to_string()),
            3 => {
                let [length] = bytes.array()?;
                name(bytes.take(usize::from(length))?)
            }
            4 => Some(Ipv6Addr::from(bytes.array::<16>()?).to_string()),
            _ => return Some(Read::Wrong),
        };
        let port = u16::from_be_bytes(bytes.array()?);
        Some(right(host, port, bytes.0))
    }

    fn socks4(&self) -> Option<Read> {
        let mut bytes = Bytes(&self.input);
        let [_, command] = bytes.array()?;
        if command != 1 {
            return Some(Read::Wrong);
        }
        let port = u16::from_be_bytes(bytes.array()?);
        let address: [u8; 4] = bytes.array()?;
        // The user is nobody we know.
        let Some(user) = bytes.line() else { return too_long(&bytes) };
        if user.len() > NAME_BYTES {
            // In smaller pieces it would have been refused before its end.
            return Some(Read::Wrong);
        }
        // An address that cannot be says that a name follows: 4a.
        let host = match address {
            [0, 0, 0, 1..=255] => match bytes.line() {
                Some(host) => name(host),
                None => return too_long(&bytes),
            },
            _ => Some(Ipv4Addr::from(address).to_string()),
        };
        Some(right(host, port, bytes.0))
    }
}

/// A name that has not ended, and never will.
fn too_long(left: &Bytes<'_>) -> Option<Read> {
    (left.0.len() > NAME_BYTES).then_some(Read::Wrong)
}

fn right(host: Option<String>, port: u16, early: &[u8]) -> Read {
    match host {
        Some(host) if port > 0 => Read::Right(Endpoint::Tcp { host, port }, early.to_vec()),
        _ => Read::Wrong,
    }
}

/// The name of a host, or an address as text.
fn name(bytes: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(bytes).ok()?;
    let fit = (1..=NAME_BYTES).contains(&name.len());
    (fit && !name.chars().any(|c| c.is_control() || c.is_whitespace())).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &[u8] = &[5, 2, 1, 0];

    fn four(address: [u8; 4], user: &[u8], host: &[u8]) -> Vec<u8> {
        [&[4, 1, 0, 80][..], &address, user, &[0], host].concat()
    }

    fn five(kind: u8, host: &[u8]) -> Vec<u8> {
        [GREETING, &[5, 1, 0, kind], host, &[0, 80]].concat()
    }

    /// What is sent until the request is there, and the request; or the refusal.
    fn talk(pieces: impl Iterator<Item = Vec<u8>>) -> Result<(Vec<u8>, Option<Wanted>), Vec<u8>> {
        let (mut socks, mut sent) = (Socks::default(), Vec::new());
        for piece in pieces {
            socks.feed(&piece);
            loop {
                match socks.step() {
                    Step::More => break,
                    Step::Send(bytes) => sent.extend(bytes),
                    Step::Open(wanted) => return Ok((sent, Some(wanted))),
                    Step::Refuse(bytes) => return Err(bytes),
                }
            }
        }
        Ok((sent, None))
    }

    fn whole(bytes: &[u8]) -> Result<(Vec<u8>, Option<Wanted>), Vec<u8>> {
        talk([bytes.to_vec()].into_iter())
    }

    #[test]
    fn every_kind_of_request_is_read_in_any_pieces() {
        let mut six = [0; 16];
        six[15] = 1;
        let cases = [
            (four([127, 0, 0, 1], b"me", b""), "127.0.0.1", &b""[..]),
            (four([0, 0, 0, 9], b"", b"host\0"), "host", b""),
            (four([0, 0, 0, 0], b"", b""), "0.0.0.0", b""),
            (five(1, &[10, 0, 0, 1]), "10.0.0.1", &[5, 0]),
            (five(3, b"\x04host"), "host", &[5, 0]),
            (five(4, &six), "::1", &[5, 0]),
        ];
        for (bytes, host, sent) in cases {
            let (said, wanted) = whole(&bytes).unwrap();
            let wanted = wanted.unwrap();
            assert_eq!((&said[..], &wanted.to), (sent, &Endpoint::tcp(host, 80)));
            assert!(wanted.early.is_empty());
            let mut single = bytes.iter().map(|byte| vec![*byte]);
            assert_eq!(talk(&mut single), Ok((said, Some(wanted))));
            for cut in 0..bytes.len() {
                assert_eq!(whole(&bytes[..cut]).map(|(_, wanted)| wanted), Ok(None), "{cut} of {bytes:?}");
            }
            let early = whole(&[&bytes[..], b"GET"].concat()).unwrap().1.unwrap();
            assert_eq!(early.early, b"GET");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let other_command = |mut bytes: Vec<u8>, at: usize| {
            bytes[at] = 2;
            bytes
        };
        let wrong = [
            vec![0],
            vec![22, 3, 1],
            b"GET / HTTP/1.1".to_vec(),
            vec![5, 0],
            vec![5, 1, 2],
            other_command(four([1; 4], b"", b""), 1),
            other_command(five(1, &[1; 4]), 5),
            other_command(five(1, &[1; 4]), 6),
            five(2, &[1; 4]),
            five(3, b"\x00"),
            five(3, b"\x02\xff\xff"),
            five(3, b"\x03a\0b"),
            four([0, 0, 0, 1], b"", b"\0"),
            four([0, 0, 0, 1], b"", b"a b\0"),
            [&[4, 1, 0, 0][..], &[1; 4], &[0]].concat(),
        ];
        for bytes in wrong {
            assert!(whole(&bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn names_without_an_end_are_refused() {
        let endless =
            |start: Vec<u8>| talk([start].into_iter().chain((0..NAME_BYTES).map(|_| vec![b'a'; 1])));
        for start in [[&[4, 1, 0, 80][..], &[1; 4], b"a"].concat(), four([0, 0, 0, 1], b"", b"a")] {
            assert_eq!(endless(start), Err(super::four(91)));
        }
        // However many bytes come at once.
        for (length, fits) in [(NAME_BYTES, true), (NAME_BYTES + 1, false)] {
            let request = four([1; 4], &vec![b'a'; length], b"");
            let single = talk(request.iter().map(|byte| vec![*byte]));
            assert_eq!(single.is_ok(), fits);
            assert_eq!(whole(&request), single);
        }
    }

    #[test]
    fn replies_tell_what_came_of_it() {
        let (four, five) = (whole(&four([1; 4], b"", b"")), whole(&five(1, &[1; 4])));
        let (four, five) = (four.unwrap().1.unwrap(), five.unwrap().1.unwrap());
        let codes = |outcome| (four.reply(outcome)[1], five.reply(outcome)[1]);
        assert_eq!(codes(Outcome::Connected), (90, 0));
        assert_eq!(codes(Outcome::Forbidden), (91, 2));
        assert_eq!(codes(Outcome::Unreachable), (91, 5));
    }
}
