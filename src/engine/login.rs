//! Before authentication one thread owns both halves of the stream and steps the machines itself:
//! the caller of `connect`, or the thread that serves a connection.
//!
//! One clock for everything, from the first byte, which stands still while a person is asked.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clock::Clock;
use super::core::{GOODBYE, goodbye};
use super::reader::Inbox;
use super::stream::{Closer, Halves, ReadHalf, WriteHalf};
use crate::auth::METHOD_NUMBERS;
use crate::error::{Error, Phase, Result};
use crate::kex::{Action, Kex, Role, Setup};
use crate::key::{PKey, PublicKey};
use crate::msg::number;
use crate::msg::transport::{Debug, Disconnect, ExtInfo, Ping, Pong, Unimplemented};
use crate::packet::{IdentReader, Opened, Opener, Sealer};
use crate::wire::{Encode, Escaped, NameList, Reader, Rest, Writer};

/// OpenSSH's PROTOCOL §3.1.
const HOSTBOUND: &[u8] = b"publickey-hostbound@openssh.com";
/// OpenSSH's PROTOCOL §1.8.
const PINGS: &[u8] = b"ping@openssh.com";
/// RFC 9987: the server takes `agent-req` and opens `agent-connect`.
const AGENTS: &[u8] = b"agent-forward";
/// RFC 8308 §2.3 has few extensions; more is a peer that wants to keep us busy.
pub(super) const EXTENSIONS: u32 = 1024;

/// Packets of other kinds that a peer may send while it exchanges keys; honest ones send a few.
pub(super) const HELD_BACK: usize = 64;

/// Both sides may write at once into full buffers; after so long ours are emptied.
const CROSSING: Duration = Duration::from_millis(5);
/// How much is taken in then: several times what any peer sends unasked.
const CROSSED: usize = 64 * 1024;

/// What a login starts with.
pub(crate) struct Opening {
    pub(crate) setup: Setup,
    /// A server's keys.
    pub(crate) host_keys: Vec<PKey>,
    pub(crate) clock: Clock,
    pub(crate) bytes_limit: u64,
}

/// A connection on its way to authentication.
pub(crate) struct Login {
    read: Box<dyn ReadHalf>,
    write: Box<dyn WriteHalf>,
    pub(crate) closer: Arc<dyn Closer>,
    pub(crate) peer: String,
    sealer: Sealer,
    opener: Opener,
    inbox: Inbox,
    outgoing: Vec<u8>,
    pub(crate) kex: Kex,
    pub(crate) setup: Setup,
    pub(crate) host_keys: Vec<PKey>,
    pub(crate) clock: Clock,
    bytes_limit: u64,
    bytes_left: u64,
    phase: Phase,
    /// `server-sig-algs` of the peer's EXT_INFO.
    pub(crate) peer_signatures: Option<Vec<String>>,
    /// What else it says there.
    pub(crate) extensions: PeerExtensions,
    held_back: VecDeque<Vec<u8>>,
    /// A message of a method of the application's own may come: numbers that mean nothing else then.
    pub(crate) awaits_method: bool,
    encrypted: bool,
    /// When something left that the peer's next message answers.
    asked: Option<Instant>,
    /// The shortest wait for an answer: about the round trip of the path.
    round_trip: Option<Duration>,
}

/// What the peer's EXT_INFO says of itself, besides signatures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PeerExtensions {
    /// The server takes requests with signatures that are bound to its host key.
    pub(crate) hostbound: bool,
    /// It answers pings.
    pub(crate) pings: bool,
    /// The server forwards agents by the names of RFC 9987.
    pub(crate) agents: bool,
}

impl PeerExtensions {
    /// Notes one that is understood, in the version that is.
    fn note(&mut self, name: &[u8], version: &[u8]) {
        let known = [(HOSTBOUND, &mut self.hostbound), (PINGS, &mut self.pings), (AGENTS, &mut self.agents)];
        for (known, is) in known {
            *is |= name == known && version == b"0";
        }
    }
}

/// What the engine takes over.
pub(crate) struct Finished {
    pub(super) read: Box<dyn ReadHalf>,
    pub(super) write: Box<dyn WriteHalf>,
    pub(super) sealer: Sealer,
    pub(super) opener: Opener,
    pub(super) inbox: Inbox,
}

impl Login {
    /// Exchanges version lines and keys. `check_host_key` is asked (client) with the key that the
    /// host has proven to hold.
    pub(crate) fn handshake(
        halves: Halves,
        opening: Opening,
        check_host_key: &mut dyn FnMut(&PublicKey) -> Result<()>,
    ) -> Result<Self> {
        let Halves { read, write, closer, peer } = halves;
        let mut login = Self {
            read,
            write,
            closer,
            peer,
            sealer: Sealer::plain(),
            opener: Opener::plain(),
            inbox: Inbox::new(),
            outgoing: Vec::new(),
            kex: Kex::new(opening.setup.clone()),
            setup: opening.setup,
            host_keys: opening.host_keys,
            clock: opening.clock,
            bytes_limit: opening.bytes_limit,
            bytes_left: opening.bytes_limit,
            phase: Phase::Handshake,
            peer_signatures: None,
            extensions: PeerExtensions::default(),
            held_back: VecDeque::new(),
            awaits_method: false,
            encrypted: false,
            asked: None,
            round_trip: None,
        };
        match login.run_handshake(check_host_key) {
            Ok(()) => Ok(login),
            Err(error) => {
                login.abort(&error);
                Err(error)
            }
        }
    }

    fn run_handshake(&mut self, check_host_key: &mut dyn FnMut(&PublicKey) -> Result<()>) -> Result<()> {
        self.outgoing.extend_from_slice(&self.setup.our_ident);
        self.outgoing.extend_from_slice(b"\r\n");
        let kexinit = Kex::kexinit(&self.setup, true)?;
        self.sealer.seal(&[&kexinit], &mut self.outgoing)?;
        self.flush()?;
        self.setup.peer_ident = self.read_ident()?;
        self.kex = Kex::new(self.setup.clone());
        self.kex.begin(kexinit);
        self.exchange(check_host_key)?;
        self.encrypted = true;
        if self.kex.peer_wants_ext_info() {
            self.queue(&ext_info(&self.setup))?;
        }
        self.phase = Phase::Auth;
        Ok(())
    }

    fn read_ident(&mut self) -> Result<Vec<u8>> {
        let mut reader = match self.setup.role {
            Role::Client => IdentReader::client(),
            Role::Server => IdentReader::server(),
        };
        loop {
            let found = reader.feed(self.inbox.waiting()).inspect_err(|error| {
                if self.setup.role == Role::Server {
                    self.outgoing.extend_from_slice(error.reply());
                }
            })?;
            let count = self.inbox.waiting_len();
            self.inbox.consume(found.as_ref().map_or(count, |(_, used)| *used));
            if let Some((ident, _)) = found {
                log::debug!(target: "feramiko::transport", "{}: remote version {}", self.peer, Escaped(ident.line()));
                return Ok(ident.line().to_vec());
            }
            self.read_more()?;
        }
    }

    /// Runs one exchange to its end; what comes of other kinds meanwhile is held back.
    fn exchange(&mut self, check_host_key: &mut dyn FnMut(&PublicKey) -> Result<()>) -> Result<()> {
        loop {
            let (payload, sequence) = self.read_packet()?;
            let number = payload.first().copied().unwrap_or(0);
            let from_client = self.setup.role == Role::Server;
            let row = number::lookup(number);
            if !self.encrypted && row.is_some_and(|row| !row.allowed(number::Phase::Initial, from_client)) {
                return Err(Error::protocol(format!("{} before keys", number::name(number))));
            }
            match number {
                20 | 21 | 30..=49 => {
                    if number != 20 {
                        self.answered();
                    }
                    let actions = self.kex.feed(&payload)?;
                    // What came before would shift the counters by as much as was cut out later
                    // (CVE-2023-48795).
                    if number == 20 && !self.encrypted && self.kex.strict() && sequence != 0 {
                        return Err(Error::protocol(
                            "KEXINIT was not the first packet of a strict key exchange",
                        ));
                    }
                    if self.act(actions, check_host_key)? {
                        return Ok(());
                    }
                }
                1 => return Err(disconnected(&payload)?),
                _ if self.kex.strict() && !self.encrypted => {
                    return Err(Error::protocol(format!(
                        "{} inside a strict key exchange",
                        number::name(number)
                    )));
                }
                2..=4 => {}
                _ if self.encrypted => self.held_back.push_back(payload),
                _ => self.send(&Unimplemented { sequence }.to_vec())?,
            }
            if self.held_back.len() > HELD_BACK {
                return Err(Error::Limit { which: "PACKETS_IN_KEX", limit: HELD_BACK as u64 });
            }
        }
    }

    /// What leaves next has an answer, which cannot come before a round trip is over.
    pub(crate) fn ask(&mut self) {
        self.asked = Some(Instant::now());
    }

    /// The answer came, if one was awaited.
    pub(crate) fn answered(&mut self) {
        if let Some(waited) = self.asked.take().map(|asked| asked.elapsed()) {
            self.round_trip = Some(self.round_trip.map_or(waited, |shortest| shortest.min(waited)));
        }
    }

    /// Does what the machine says; true when the exchange is over.
    fn act(
        &mut self,
        actions: Vec<Action>,
        check_host_key: &mut dyn FnMut(&PublicKey) -> Result<()>,
    ) -> Result<bool> {
        let mut waiting: VecDeque<_> = actions.into();
        while let Some(action) = waiting.pop_front() {
            match action {
                Action::Send(payload) => {
                    if payload.first().is_some_and(|number| *number >= 30) {
                        self.ask();
                    }
                    self.queue(&payload)?;
                }
                Action::NewKeys { keys, reset_sequence } => {
                    self.queue(&[21])?;
                    self.sealer.replace(keys, reset_sequence);
                    log::debug!(target: "feramiko::kex", "{}: NEWKEYS sent", self.peer);
                    self.flush()?;
                }
                Action::Install { keys, reset_sequence } => {
                    self.opener.replace(keys, reset_sequence);
                    log::debug!(target: "feramiko::kex", "{}: NEWKEYS received", self.peer);
                }
                Action::CheckHostKey(key) => {
                    self.clock.aside(|| check_host_key(&key))?;
                    waiting.extend(self.kex.host_key_accepted(key)?);
                }
                Action::Sign { host_key, algorithm, data } => {
                    let key = self.host_keys.get(host_key).ok_or(Error::Misuse("no such host key"))?;
                    let signature = key.sign_sized(self.setup.algorithms.rsa_bits, algorithm, &data)?;
                    waiting.extend(self.kex.signed(signature)?);
                }
                Action::Finished => return Ok(true),
            }
        }
        self.flush()?;
        Ok(false)
    }

    /// The next message that concerns authentication. Key exchanges that the peer starts are run.
    pub(crate) fn receive(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(payload) = self.held_back.pop_front() {
                return Ok(payload);
            }
            let (payload, sequence) = self.read_packet()?;
            let number = payload.first().copied().unwrap_or(0);
            let from_client = self.setup.role == Role::Server;
            match number::lookup(number) {
                _ if self.awaits_method && METHOD_NUMBERS.contains(&number) => return Ok(payload),
                None => {
                    self.send(&Unimplemented { sequence }.to_vec())?;
                    continue;
                }
                Some(row) if !row.allowed(number::Phase::Auth, from_client) => {
                    return Err(Error::protocol(format!("{} before authentication", row.name)));
                }
                Some(_) => {}
            }
            match number {
                1 => return Err(disconnected(&payload)?),
                2 | 3 | 193 => {}
                4 => {
                    let text = Debug::decode_packet(&payload)?.text;
                    log::debug!(target: "feramiko::transport", "{}: peer says: {text}", self.peer);
                }
                7 => self.ext_info(&payload)?,
                20 => self.rekey(&payload)?,
                192 => {
                    let pong = Pong { data: Ping::decode_packet(&payload)?.data }.to_vec();
                    self.send(&pong)?;
                }
                _ => return Ok(payload),
            }
        }
    }

    fn rekey(&mut self, payload: &[u8]) -> Result<()> {
        let ours = Kex::kexinit(&self.setup, false)?;
        self.send(&ours)?;
        self.kex.begin(ours);
        let mut nobody = |_: &PublicKey| Err(Error::protocol("a new host key in a later exchange"));
        let actions = self.kex.feed(payload)?;
        if !self.act(actions, &mut nobody)? {
            self.exchange(&mut nobody)?;
        }
        Ok(())
    }

    fn ext_info(&mut self, payload: &[u8]) -> Result<()> {
        let message = ExtInfo::decode_packet(payload)?;
        if message.count > EXTENSIONS {
            return Err(Error::Limit { which: "EXTENSIONS", limit: u64::from(EXTENSIONS) });
        }
        let mut reader = Reader::new(message.extensions.0);
        for _ in 0..message.count {
            let name = reader.string()?;
            let mut value = Reader::new(reader.string()?);
            if name == b"server-sig-algs" {
                let joined = value.rest();
                let list = std::str::from_utf8(joined).map(NameList::from_joined).ok();
                self.peer_signatures = list.map(|list| list.names().map(str::to_owned).collect());
            }
            self.extensions.note(name, value.rest());
        }
        reader.finish()?;
        Ok(())
    }

    /// Sends a packet with the next flush.
    pub(crate) fn queue(&mut self, payload: &[u8]) -> Result<()> {
        self.sealer.seal(&[payload], &mut self.outgoing)?;
        Ok(())
    }

    /// Sends a packet.
    pub(crate) fn send(&mut self, payload: &[u8]) -> Result<()> {
        self.queue(payload)?;
        self.flush()
    }

    /// Sends everything queued in one write.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let mut written = 0_usize;
        while let Some(rest) = self.outgoing.get(written..).filter(|rest| !rest.is_empty()) {
            match self.write.write_now(rest) {
                Ok(0) => return Err(self.io_error("writing to", io::ErrorKind::WriteZero.into())),
                Ok(count) => written = written.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_writable()?,
                Err(error) => return Err(self.io_error("writing to", error)),
            }
        }
        self.outgoing.clear();
        Ok(())
    }

    /// The peer may be writing too, and wait for us to read before it reads: where both buffers are
    /// full, what arrives is taken in, up to a bound.
    fn wait_writable(&mut self) -> Result<()> {
        let ends = self.clock.ends();
        let until = Instant::now().checked_add(CROSSING).map_or(ends, |until| until.min(ends));
        match self.write.wait(Some(until)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && until < ends => {}
            Err(error) => return Err(self.io_error("writing to", error)),
        }
        if self.inbox.waiting_len() > CROSSED {
            return Ok(());
        }
        self.inbox.make_room(self.inbox.waiting_len().saturating_add(CROSSED));
        match self.inbox.read_now(&mut *self.read) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                Err(self.io_error("reading from", error))
            }
            // The end of the stream shows at the next write or read.
            _ => Ok(()),
        }
    }

    fn io_error(&self, doing: &str, error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::TimedOut {
            Error::Timeout(self.phase)
        } else {
            Error::io(format!("{doing} {} during {}", self.peer, self.phase), error)
        }
    }

    fn read_more(&mut self) -> Result<()> {
        let count = self
            .inbox
            .read(&mut *self.read, Some(self.clock.ends()))
            .map_err(|error| self.io_error("reading from", error))?;
        if count == 0 {
            let closed = io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection");
            return Err(self.io_error("reading from", closed));
        }
        self.read.quick_ack();
        let which = match self.setup.role {
            Role::Client => "client_bytes_before_auth",
            Role::Server => "bytes_before_auth",
        };
        let left = self.bytes_left.checked_sub(count as u64);
        self.bytes_left = left.ok_or(Error::Limit { which, limit: self.bytes_limit })?;
        Ok(())
    }

    fn read_packet(&mut self) -> Result<(Vec<u8>, u32)> {
        loop {
            match self.opener.open(self.inbox.waiting())? {
                Opened::Packet { payload, consumed, sequence } => {
                    let payload = self.opener.payload(self.inbox.waiting(), &payload).to_vec();
                    self.inbox.consume(consumed);
                    return Ok((payload, sequence));
                }
                Opened::NeedMore(needed) => {
                    self.inbox.make_room(needed);
                    self.read_more()?;
                }
            }
        }
    }

    /// Authenticated: delayed compression starts, both halves go to the engine.
    pub(crate) fn finish(mut self) -> (Finished, Parts) {
        self.sealer.start_delayed_compression();
        self.opener.start_delayed_compression();
        let finished = Finished {
            read: self.read,
            write: self.write,
            sealer: self.sealer,
            opener: self.opener,
            inbox: self.inbox,
        };
        let parts = Parts {
            kex: self.kex,
            setup: self.setup,
            host_keys: self.host_keys,
            peer: self.peer,
            closer: self.closer,
            // A local one, until something was measured.
            round_trip: self.round_trip.unwrap_or(Duration::from_millis(1)),
            extensions: self.extensions,
        };
        (finished, parts)
    }

    /// Tells the peer why, as far as it listens, and closes.
    pub(crate) fn abort(&mut self, error: &Error) {
        self.clock = Clock::start(GOODBYE).unwrap_or_else(|_| self.clock.clone());
        // Nobody may be listening any more; the connection ends either way.
        if self.setup.peer_ident.is_empty() {
            // Nor is it known to read packets.
            let _ = self.flush();
        } else if let Some(code) = error.disconnect_code() {
            let _ = self.send(&goodbye(code, &error.disconnect_text()));
        }
        self.closer.close();
    }
}

/// What of a login goes on living beside the halves.
pub(crate) struct Parts {
    pub(crate) kex: Kex,
    pub(crate) setup: Setup,
    pub(crate) host_keys: Vec<PKey>,
    pub(crate) peer: String,
    pub(crate) closer: Arc<dyn Closer>,
    pub(crate) round_trip: Duration,
    pub(crate) extensions: PeerExtensions,
}

fn disconnected(payload: &[u8]) -> Result<Error> {
    let message = Disconnect::decode_packet(payload)?;
    Ok(Error::Disconnected { code: message.code, text: message.text.to_string() })
}

/// What we tell a peer that reads EXT_INFO: the signatures that a server takes, that it knows the agent's names of
/// RFC 9987, and that we answer pings.
fn ext_info(setup: &Setup) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut count = 1;
    if setup.role == Role::Server {
        // Keys with certificates sign as keys without: a client looks for the plain name.
        let mut taken = Vec::new();
        for spec in setup.algorithms.public_keys.iter().filter_map(|name| setup.algorithms.signature(name)) {
            if !taken.contains(&spec.label) {
                taken.push(spec.label);
            }
        }
        extensions.put("server-sig-algs").put(taken.join(",").as_str());
        extensions.put(HOSTBOUND).put("0");
        extensions.put(AGENTS).put("0");
        count = 4;
    }
    extensions.put(PINGS).put("0");
    ExtInfo { count, extensions: Rest(&extensions) }.to_vec()
}
