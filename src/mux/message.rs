//! The messages of a shared connection: OpenSSH's PROTOCOL.mux and mux.c, where they differ the latter. Pure.
//!
//! Flags are numbers of four bytes there; each request but the first begins with a number of its own, which
//! its answer repeats.

use super::forward::{ForwardKind, ForwardRequest};
use crate::pattern::endpoint::Endpoint;
use crate::wire::{Encode, Escaped, Malformed, Reader, Rest, messages};

messages! { in u32;
    /// §1: pairs of a name and a value follow.
    Hello<'a> = 0x0000_0001 { version: u32, extensions: Rest<'a> }
    /// §2: three descriptors follow.
    NewSession<'a> = 0x1000_0002 {
        id: u32,
        reserved: &'a [u8],
        tty: u32,
        x11: u32,
        agent: u32,
        subsystem: u32,
        escape: u32,
        term: &'a [u8],
        command: &'a [u8],
        env: Rest<'a>,
    }
    /// §4
    AliveCheck = 0x1000_0004 { id: u32 }
    /// §5
    Terminate = 0x1000_0005 { id: u32 }
    /// §6
    OpenForward<'a> = 0x1000_0006 {
        id: u32,
        kind: u32,
        listen: &'a [u8],
        listen_port: u32,
        connect: &'a [u8],
        connect_port: u32,
    }
    /// §7
    CloseForward<'a> = 0x1000_0007 {
        id: u32,
        kind: u32,
        listen: &'a [u8],
        listen_port: u32,
        connect: &'a [u8],
        connect_port: u32,
    }
    /// §3: two descriptors follow.
    NewStdioForward<'a> = 0x1000_0008 { id: u32, reserved: &'a [u8], host: &'a [u8], port: u32 }
    /// §8
    StopListening = 0x1000_0009 { id: u32 }
    /// §9
    Proxy = 0x1000_000f { id: u32 }
    /// Of masters that say `info`: mux.c.
    ExtInfo<'a> = 0x2000_0001 { id: u32, name: &'a [u8] }
    /// §10
    Done = 0x8000_0001 { id: u32 }
    /// §10
    PermissionDenied<'a> = 0x8000_0002 { id: u32, reason: Escaped<'a> }
    /// §10
    Failure<'a> = 0x8000_0003 { id: u32, reason: Escaped<'a> }
    /// §2
    ExitMessage = 0x8000_0004 { session: u32, status: u32 }
    /// §4
    Alive = 0x8000_0005 { id: u32, pid: u32 }
    /// §2
    SessionOpened = 0x8000_0006 { id: u32, session: u32 }
    /// §6
    RemotePort = 0x8000_0007 { id: u32, port: u32 }
    /// §2
    TtyAllocFail = 0x8000_0008 { session: u32 }
    /// §9
    ProxyBegins = 0x8000_000f { id: u32 }
    /// The answer to 0x20000001; a status of 0 is a refusal.
    ExtInfoAnswer<'a> = 0x9000_0001 { id: u32, status: u32, text: &'a [u8] }
}

/// The one version there is.
pub(super) const VERSION: u32 = 4;
/// The extension of masters that answer 0x20000001, and its value.
pub(super) const INFO: Pair<'_> = (b"info", b"0");
/// No escape character.
pub(super) const NO_ESCAPE: u32 = u32::MAX;
/// The port that says that the host is the path of a UNIX socket.
const UNIX_PORT: u32 = u32::MAX - 1;

/// §11: the kinds of forwardings.
mod kind {
    pub(super) const LOCAL: u32 = 1;
    pub(super) const REMOTE: u32 = 2;
    pub(super) const DYNAMIC: u32 = 3;
}

/// Where a forwarding leads to whose connections speak SOCKS; with port 0. OpenSSH's figure.
const SOCKS: &[u8] = b"socks";

/// The number of a message.
pub(super) fn number(message: &[u8]) -> Result<u32, Malformed> {
    Reader::new(message).get()
}

/// The number of the request, where a message has one.
pub(super) fn request_id(message: &[u8]) -> Option<u32> {
    let mut reader = Reader::new(message);
    reader.get::<u32>().ok()?;
    reader.get().ok()
}

/// Reads strings up to the end.
pub(super) fn strings(rest: Rest<'_>) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    let mut reader = Reader::new(rest.0);
    std::iter::from_fn(move || (!reader.is_empty()).then(|| reader.string()))
        // What follows a string that is cut off is nothing.
        .scan(false, |cut, string| (!std::mem::replace(cut, string.is_err())).then_some(string))
}

/// A name and a value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Reads the pairs of a hello.
pub(super) fn extensions(rest: Rest<'_>) -> Result<Vec<Pair<'_>>, Malformed> {
    let mut reader = Reader::new(rest.0);
    let mut pairs = Vec::new();
    while !reader.is_empty() {
        pairs.push((reader.string()?, reader.string()?));
    }
    Ok(pairs)
}

/// A name as C has it: no byte of it is 0.
pub(super) fn name(bytes: &[u8]) -> Result<&[u8], Malformed> {
    if bytes.contains(&0) { Err(Malformed::Value) } else { Ok(bytes) }
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    Ok(std::str::from_utf8(name(bytes)?).map_err(|_| Malformed::Value)?.to_owned())
}

/// One end of a forwarding as it is sent.
pub(super) fn fields(endpoint: &Endpoint) -> (Vec<u8>, u32) {
    match endpoint {
        Endpoint::Tcp { host, port } => (host.clone().into_bytes(), u32::from(*port)),
        Endpoint::Unix(path) => (path.clone(), UNIX_PORT),
    }
}

/// A port that was chosen.
pub(super) fn port(number: u32) -> Result<u16, Malformed> {
    u16::try_from(number).map_err(|_| Malformed::Value)
}

/// Where something leads to.
pub(super) fn endpoint(host: &[u8], number: u32) -> Result<Endpoint, Malformed> {
    if number == UNIX_PORT {
        Ok(Endpoint::unix(name(host)?))
    } else {
        Ok(Endpoint::tcp(text(host)?, port(number)?))
    }
}

impl ForwardRequest {
    /// The message that opens it, or closes it.
    pub(super) fn message(&self, id: u32, opens: bool) -> Vec<u8> {
        // No host means the loopback addresses to a master, and an asterisk all.
        let (listen, listen_port) = match fields(&self.listen) {
            (host, port) if host.is_empty() => (b"*".to_vec(), port),
            end => end,
        };
        let kind = match (self.kind, &self.to) {
            (ForwardKind::Local, Some(_)) => kind::LOCAL,
            (ForwardKind::Local, None) => kind::DYNAMIC,
            (ForwardKind::Remote, _) => kind::REMOTE,
        };
        let (connect, connect_port) = self.to.as_ref().map_or_else(|| (SOCKS.to_vec(), 0), fields);
        let (listen, connect) = (listen.as_slice(), connect.as_slice());
        if opens {
            OpenForward { id, kind, listen, listen_port, connect, connect_port }.to_vec()
        } else {
            CloseForward { id, kind, listen, listen_port, connect, connect_port }.to_vec()
        }
    }

    /// What a message asks for; none for what no forwarding can be.
    pub(super) fn from_message(message: &OpenForward<'_>) -> Result<Option<Self>, Malformed> {
        let mut listen = endpoint(message.listen, message.listen_port)?;
        if let Endpoint::Tcp { host, .. } = &mut listen {
            *host = match host.as_str() {
                "" => "localhost".to_owned(),
                "*" => String::new(),
                _ => std::mem::take(host),
            };
        }
        let to = endpoint(message.connect, message.connect_port)?;
        let leads = match &to {
            Endpoint::Tcp { host, port } => !host.is_empty() && *port != 0,
            Endpoint::Unix(path) => !path.is_empty(),
        };
        let (kind, to) = match (message.kind, leads) {
            (kind::LOCAL, true) => (ForwardKind::Local, Some(to)),
            (kind::REMOTE, true) => (ForwardKind::Remote, Some(to)),
            (kind::REMOTE, false) if message.connect_port == 0 => (ForwardKind::Remote, None),
            (kind::DYNAMIC, _) if matches!(listen, Endpoint::Tcp { .. }) => (ForwardKind::Local, None),
            _ => return Ok(None),
        };
        Ok(Some(Self { kind, listen, to }))
    }
}

impl<'a> CloseForward<'a> {
    /// The same as the message that opened it.
    pub(super) fn opened_by(&self) -> OpenForward<'a> {
        let Self { id, kind, listen, listen_port, connect, connect_port } = *self;
        OpenForward { id, kind, listen, listen_port, connect, connect_port }
    }
}
