//! A server by hand: reads requests as bytes and answers with whatever bytes a case wants.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use feramiko::{Error, SFTPClient};

pub(crate) use super::watch::{alone, within};

pub(crate) const STATUS: u8 = 101;
pub(crate) const HANDLE: u8 = 102;
pub(crate) const DATA: u8 = 103;
pub(crate) const NAME: u8 = 104;
pub(crate) const ATTRS: u8 = 105;
pub(crate) const EXTENDED: u8 = 201;

pub(crate) const FILE: u32 = 0o100_644;
pub(crate) const DIR: u32 = 0o040_755;
pub(crate) const LINK: u32 = 0o120_777;

/// The error that ended a connection, or the one itself.
pub(crate) fn cause(error: &Error) -> &Error {
    match error {
        Error::Closed(Some(why)) => cause(why),
        other => other,
    }
}

pub(crate) fn is_protocol(error: &Error) -> bool {
    matches!(cause(error), Error::Protocol { .. })
}

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

pub(crate) fn packet(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    string(&[&[kind][..], &id.to_be_bytes(), body].concat())
}

pub(crate) fn status(id: u32, code: u32) -> Vec<u8> {
    packet(STATUS, id, &[&code.to_be_bytes()[..], &string(b"so it is"), &string(b"en")].concat())
}

/// Attributes with size, mode and times.
pub(crate) fn attributes(size: u64, mode: u32) -> Vec<u8> {
    let mut out = 0x0d_u32.to_be_bytes().to_vec();
    out.extend(size.to_be_bytes());
    out.extend(mode.to_be_bytes());
    out.extend(1_000_000_000_u32.to_be_bytes());
    out.extend(1_000_000_000_u32.to_be_bytes());
    out
}

pub(crate) fn entry(name: &[u8], attributes: &[u8]) -> Vec<u8> {
    [&string(name)[..], &string(b""), attributes].concat()
}

pub(crate) fn names(id: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    let count = u32::try_from(entries.len()).unwrap();
    packet(NAME, id, &[&count.to_be_bytes()[..], &entries.concat()].concat())
}

/// The server's first packet.
pub(crate) fn version(extensions: &[&str]) -> Vec<u8> {
    let pairs: Vec<u8> =
        extensions.iter().flat_map(|name| [string(name.as_bytes()), string(b"1")].concat()).collect();
    packet(2, 3, &pairs)
}

/// What the client asks.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) kind: u8,
    pub(crate) id: u32,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The string that the request begins with: a path or a handle.
    pub(crate) fn subject(&self) -> &[u8] {
        let length = u32::from_be_bytes(self.body[..4].try_into().unwrap()) as usize;
        &self.body[4..4 + length]
    }

    /// What follows that string.
    fn rest(&self) -> &[u8] {
        &self.body[4 + self.subject().len()..]
    }

    /// Where a READ or WRITE begins, and how much a READ asks for or a WRITE brings.
    pub(crate) fn place(&self) -> (u64, usize) {
        let (offset, length) = self.rest().split_at(8);
        let length = u32::from_be_bytes(length[..4].try_into().unwrap());
        (u64::from_be_bytes(offset.try_into().unwrap()), length as usize)
    }
}

/// The server's end.
pub(crate) struct Peer(pub(crate) UnixStream);

impl Peer {
    /// The next request; none when the client has gone.
    pub(crate) fn next(&mut self) -> Option<Request> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut packet).ok()?;
        let id = u32::from_be_bytes(packet[1..5].try_into().unwrap());
        Some(Request { kind: packet[0], id, body: packet.split_off(5) })
    }

    /// The next request, which must come.
    pub(crate) fn expect(&mut self, kind: u8) -> Request {
        let request = self.next().expect("a request");
        assert_eq!(request.kind, kind, "{request:?}");
        request
    }

    /// Whether the client is there still.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Says hello.
    pub(crate) fn begin(&mut self, extensions: &[&str]) {
        assert_eq!(self.next().expect("INIT").kind, 1);
        self.send(&version(extensions));
    }

    /// Answers each request by what `answer` makes of it, until one of both has enough.
    pub(crate) fn serve(&mut self, mut answer: impl FnMut(&Request) -> Option<Vec<u8>>) {
        while let Some(request) = self.next() {
            match answer(&request) {
                Some(bytes) if self.send(&bytes) => {}
                _ => break,
            }
        }
    }
}

/// A client whose server does `serve` after saying hello, and what came of `then`.
pub(crate) fn meets<T: Send + 'static>(
    what: &str,
    extensions: &'static [&'static str],
    serve: impl FnOnce(&mut Peer) + Send + 'static,
    then: impl FnOnce(SFTPClient) -> T + Send + 'static,
) -> T {
    within(what, move || {
        let (near, far) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || {
            let mut peer = Peer(far);
            peer.begin(extensions);
            serve(&mut peer);
        });
        let outcome = then(SFTPClient::over(near).unwrap());
        server.join().unwrap();
        outcome
    })
}

/// What there is on a server that means well.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    files: HashMap<Vec<u8>, Vec<u8>>,
    /// Directories, with the entries that they list.
    dirs: HashMap<Vec<u8>, Vec<Vec<u8>>>,
    links: HashMap<Vec<u8>, Vec<u8>>,
    listed: std::collections::HashSet<Vec<u8>>,
}

impl World {
    pub(crate) fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.files.insert(path.into(), content.to_vec());
        self
    }

    pub(crate) fn dir(mut self, path: &str, entries: &[Vec<u8>]) -> Self {
        self.dirs.insert(path.into(), entries.to_vec());
        self
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.links.insert(path.into(), target.into());
        self
    }

    /// The honest answer. Handles are paths.
    pub(crate) fn answer(&mut self, request: &Request) -> Vec<u8> {
        let (id, subject) = (request.id, request.subject());
        match request.kind {
            3 if self.files.contains_key(subject) => packet(HANDLE, id, &string(subject)),
            11 if self.dirs.contains_key(subject) => {
                self.listed.remove(subject);
                packet(HANDLE, id, &string(subject))
            }
            5 => {
                let (offset, length) = request.place();
                let content = &self.files[subject];
                let from = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
                let some = &content[from..from.saturating_add(length).min(content.len())];
                if some.is_empty() { status(id, 1) } else { packet(DATA, id, &string(some)) }
            }
            12 if self.listed.insert(subject.to_vec()) => names(id, &self.dirs[subject]),
            12 => status(id, 1),
            7 | 8 | 17 => match (self.files.get(subject), self.dirs.contains_key(subject)) {
                (Some(content), _) => packet(ATTRS, id, &attributes(content.len() as u64, FILE)),
                (None, true) => packet(ATTRS, id, &attributes(0, DIR)),
                (None, false) => status(id, 2),
            },
            16 => names(id, &[entry(subject, &attributes(0, DIR))]),
            19 if self.links.contains_key(subject) => {
                names(id, &[entry(&self.links[subject], &0_u32.to_be_bytes())])
            }
            3 | 11 | 19 => status(id, 2),
            _ => status(id, 0),
        }
    }
}
