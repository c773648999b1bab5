//! A peer that speaks SSH byte by byte, in both roles, and may break every rule on the way. It shares
//! nothing with the library: what both got wrong in the same way would not be seen.
//!
//! One suite: curve25519-sha256, ssh-ed25519, aes128-ctr with hmac-sha2-256 or aes128-gcm.

#![allow(dead_code, unused_imports, reason = "no test uses everything")]

mod bytes;
mod exchange;
mod protect;
mod stage;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) use bytes::{Field, Take, message};
pub(crate) use exchange::{Deviation, HostKey, Lists};
pub(crate) use protect::{Cipher, Direction};
pub(crate) use stage::{Case, GRACE, Memory, REKEY, STARTUPS, Stage, THINKING, run};

/// Longer than any verdict takes on a busy machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct Closed {
    /// The code of the peer's DISCONNECT, if it sent one.
    pub(crate) code: Option<u32>,
    /// Its text, for whoever reads of a failed test.
    pub(crate) text: String,
    /// The numbers of the messages that came before.
    pub(crate) numbers: Vec<u8>,
    pub(crate) after: Duration,
}

/// The peer.
pub(crate) struct Raw {
    stream: TcpStream,
    role: Role,
    /// Bytes that were read and not used.
    inbox: Vec<u8>,
    pub(crate) outgoing: Direction,
    pub(crate) incoming: Direction,
    strict: bool,
    ours: Vec<u8>,
    theirs: Vec<u8>,
    their_ident: Vec<u8>,
    pub(crate) session_id: Vec<u8>,
    pub(crate) cipher: Cipher,
    pub(crate) lists: Lists,
    /// Set when what comes is compressed.
    pub(crate) inflate: Option<flate2::Decompress>,
}

pub(crate) const IDENT: &str = "SSH-2.0-raw_peer";

impl Raw {
    /// A client of the server at `address` that has said nothing.
    pub(crate) fn client(address: &str) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        Self::on(TcpStream::connect_timeout(&address, PATIENCE).unwrap(), Role::Client)
    }

    pub(crate) fn on(stream: TcpStream, role: Role) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            stream,
            role,
            inbox: Vec::new(),
            outgoing: Direction::default(),
            incoming: Direction::default(),
            strict: false,
            ours: Vec::new(),
            theirs: Vec::new(),
            their_ident: Vec::new(),
            session_id: Vec::new(),
            cipher: Cipher::Ctr,
            lists: Lists::default(),
            inflate: None,
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Writes bytes as they are; false when the connection was cut. A peer that just stops reading has
    /// failed, whatever the test is about.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) => {
                let stuck = matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock);
                assert!(!stuck, "the peer has stopped reading");
                false
            }
        }
    }

    /// Both version lines.
    pub(crate) fn version(&mut self) -> &mut Self {
        self.bytes(format!("{IDENT}\r\n").as_bytes());
        let deadline = Instant::now() + PATIENCE;
        while !self.inbox.contains(&b'\n') {
            assert!(self.read_more(deadline).unwrap() > 0, "closed before its version line");
        }
        let end = self.inbox.iter().position(|byte| *byte == b'\n').unwrap();
        let line: Vec<u8> = self.inbox.drain(..=end).collect();
        self.their_ident = line.trim_ascii_end().to_vec();
        assert!(self.their_ident.starts_with(b"SSH-2.0-"), "{:?}", self.their_ident);
        self
    }

    /// Whether the peer says its version before it closes, one of which it must do within `within`.
    pub(crate) fn greeted(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        while !self.inbox.contains(&b'\n') {
            match self.read_more(deadline) {
                Ok(1..) => {}
                Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => {
                    panic!("neither a version nor an end within {within:?}")
                }
                Ok(0) | Err(_) => return false,
            }
        }
        true
    }

    /// Sends one packet; false when the connection was cut.
    pub(crate) fn send(&mut self, payload: &[u8]) -> bool {
        let packet = self.seal(payload);
        self.bytes(&packet)
    }

    /// Seals a packet without sending it.
    pub(crate) fn seal(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        self.outgoing.seal(payload, &mut packet);
        packet
    }

    fn read_more(&mut self, deadline: Instant) -> io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left)).unwrap();
        let mut piece = [0; 64 * 1024];
        let count = self.stream.read(&mut piece)?;
        self.inbox.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    /// The next payload; none at the end of the stream.
    pub(crate) fn next(&mut self, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(payload) = self.incoming.open(&mut self.inbox) {
                return Ok(Some(match &mut self.inflate {
                    Some(inflate) => inflated(inflate, &payload),
                    None => payload,
                }));
            }
            if self.read_more(deadline)? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next payload, whatever it is.
    pub(crate) fn recv(&mut self) -> Vec<u8> {
        let next = self.next(Instant::now() + PATIENCE);
        next.expect("nothing came in time").expect("the peer has closed")
    }

    /// The next message of that number. What a peer may send at any time is skipped: IGNORE, DEBUG,
    /// EXT_INFO, banners, window adjusts, global requests.
    pub(crate) fn expect(&mut self, number: u8) -> Vec<u8> {
        loop {
            let payload = self.recv();
            match payload[0] {
                got if got == number => return payload,
                2 | 4 | 7 | 53 | 80 | 93 => {}
                1 => panic!("disconnected instead of {number}: {}", String::from_utf8_lossy(&payload[5..])),
                got => panic!("message {got} instead of {number}: {payload:?}"),
            }
        }
    }

    /// Reads until the peer has closed, at most for `within`; panics when it has not.
    pub(crate) fn closed(&mut self, within: Duration) -> Closed {
        let started = Instant::now();
        let (mut code, mut text, mut numbers) = (None, String::new(), Vec::new());
        loop {
            match self.next(started + within) {
                Ok(Some(payload)) => {
                    if payload[0] == 1 {
                        code = payload.get(1..5).map(|code| u32::from_be_bytes(code.try_into().unwrap()));
                        text = String::from_utf8_lossy(&payload[5..]).into_owned();
                    }
                    numbers.push(payload[0]);
                }
                Ok(None) => break,
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    break;
                }
                Err(error) => panic!("not closed within {within:?}: {error}; it sent {numbers:?}"),
            }
        }
        Closed { code, text, numbers, after: started.elapsed() }
    }

    /// Whether the peer closes within `within`; what it sends meanwhile is dropped.
    pub(crate) fn closes(&mut self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        loop {
            match self.next(deadline) {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(error) => return !matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock),
            }
        }
    }

    /// Whether the peer has closed, as far as is known now; what it sent is dropped.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let mut piece = [0; 4096];
        let closed = loop {
            match self.stream.read(&mut piece) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        closed
    }

    // ---- a server's way

    /// Version, keys, the service.
    pub(crate) fn up_to_login(&mut self, key: &HostKey) {
        self.version();
        assert!(self.serve_exchange(key, Deviation::None));
        self.expect(5);
        self.send(&message(6).string("ssh-userauth"));
    }

    /// And success for whatever comes first.
    pub(crate) fn admit(&mut self) {
        self.up_to_login(&HostKey::new());
        self.expect(50);
        self.send(&[52]);
    }

    /// Opens the session channel that a client asks for; its number for it.
    pub(crate) fn accept_session(&mut self) -> u32 {
        let open = self.expect(90);
        let mut open = Take::new(&open[1..]);
        open.string();
        let theirs = open.u32();
        self.send(&message(91).u32(theirs).u32(0).u32(2 << 20).u32(32 * 1024));
        theirs
    }

    // ---- a client's way

    /// Version, keys.
    pub(crate) fn keyed(address: &str) -> Self {
        let mut raw = Self::client(address);
        raw.version().exchange();
        raw
    }

    /// Version, keys, the service.
    pub(crate) fn at_auth(address: &str) -> Self {
        let mut raw = Self::keyed(address);
        raw.send(&message(5).string("ssh-userauth"));
        raw.expect(6);
        raw
    }

    /// Logged in, by password.
    pub(crate) fn logged_in(address: &str, user: &str, password: &str) -> Self {
        let mut raw = Self::at_auth(address);
        raw.send(&auth_request(user, "password").bool(false).string(password));
        raw.expect(52);
        raw
    }

    /// A session channel with that window and packet; the peer's number for it.
    pub(crate) fn open_session(&mut self, ours: u32, window: u32, packet: u32) -> u32 {
        self.send(&message(90).string("session").u32(ours).u32(window).u32(packet));
        Take::new(&self.expect(91)[1..]).skip_u32().u32()
    }

    /// Starts a command and waits for the yes.
    pub(crate) fn exec(&mut self, channel: u32, command: &str) {
        self.send(&message(98).u32(channel).string("exec").bool(true).string(command));
        self.expect(99);
    }
}

/// USERAUTH_REQUEST up to its method.
pub(crate) fn auth_request(user: &str, method: &str) -> Vec<u8> {
    message(50).string(user).string("ssh-connection").string(method)
}

fn inflated(inflate: &mut flate2::Decompress, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 * 1024);
    inflate.decompress_vec(payload, &mut out, flate2::FlushDecompress::Sync).unwrap();
    out
}
