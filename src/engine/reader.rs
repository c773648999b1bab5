//! What reads a connection: it has the opening half and the inbox, and waits for nothing but the socket. The
//! reader thread runs it, or a user whose turn it is (`turn.rs`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use super::core::Core;
use super::lanes::KexItem;
use super::mux::{self, Wake};
use super::naps::Naps;
use super::pool::Pool;
use super::stream::ReadHalf;
use crate::error::{self, Error, Result};
use crate::kex::{Action, Role};
use crate::msg::number::{self, Phase};
use crate::msg::transport::{Debug, Disconnect, Ping, Pong, Unimplemented};
use crate::packet::{MAX_PACKET, Opened, Opener};

/// Between packets an idle reader waits with this little; a packet of an echo fits.
const SMALL: usize = 2 * 1024;
/// While data flows: several packets a read, and the largest packet with its head-room.
const LARGE: usize = MAX_PACKET + 64 * 1024;
/// Large buffers that nobody uses: more readers than processors make no use of more.
static FREE: Pool = Pool::new(8);

/// What was read and not yet opened.
pub(crate) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; SMALL], start: 0, end: 0 }
    }

    /// The bytes that wait.
    pub(crate) fn waiting(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn waiting_len(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    pub(crate) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Where the next read goes.
    fn space(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count);
    }

    /// Makes room for a packet of `needed` bytes in all.
    pub(crate) fn make_room(&mut self, needed: usize) {
        if needed > self.buffer.len() {
            let mut large = FREE.take().unwrap_or_else(|| vec![0; LARGE]);
            if needed > large.len() {
                large.resize(needed, 0);
            }
            let waiting = self.end.saturating_sub(self.start);
            if let (Some(to), Some(from)) = (large.get_mut(..waiting), self.buffer.get(self.start..self.end))
            {
                to.copy_from_slice(from);
            }
            (self.start, self.end) = (0, waiting);
            self.buffer = large;
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end = self.end.saturating_sub(self.start);
            self.start = 0;
        }
    }

    /// Nothing waits: large memory goes back before a read that may take long.
    fn slim(&mut self) {
        if self.start == self.end && self.buffer.len() > SMALL {
            let large = std::mem::replace(&mut self.buffer, vec![0; SMALL]);
            if large.len() == LARGE {
                FREE.give_back(large);
            }
        }
    }

    /// Reads what is there.
    pub(crate) fn read_now(&mut self, stream: &mut dyn ReadHalf) -> io::Result<usize> {
        let count = stream.read_now(self.space())?;
        self.filled(count);
        Ok(count)
    }

    /// Reads more: a packet is unfinished, or none is there.
    pub(crate) fn read(&mut self, stream: &mut dyn ReadHalf, deadline: Option<Instant>) -> io::Result<usize> {
        let count = stream.read(self.space(), deadline)?;
        self.filled(count);
        Ok(count)
    }
}

/// The incoming half, and what is known of the packets on their way.
pub(crate) struct Reader {
    pub(crate) stream: Box<dyn ReadHalf>,
    pub(crate) opener: Opener,
    pub(crate) inbox: Inbox,
    /// Something other than data and credit came since the last read: the peer is in a dialogue with us, and one
    /// that has Nagle's algorithm on waits for our acknowledgement before it goes on.
    pub(crate) dialogue: bool,
    pub(super) naps: Naps,
    /// Whom the packets of this read concern.
    pub(super) wake: Wake,
    /// How many bytes the next packet takes, as far as is known; 0 before anybody has looked.
    pub(super) needed: usize,
    /// When a server started: a client's first request comes a round trip after our USERAUTH_SUCCESS, or later.
    pub(super) started: Option<Instant>,
}

impl Reader {
    /// What the reader thread does, until the stream ends or the transport dies.
    pub(super) fn run(core: &Arc<Core>) {
        let mut reader = core.turn.resume();
        loop {
            if let Err(error) = reader.open_all(core) {
                return core.die(error);
            }
            if let Some(woken) = reader.wake.woken() {
                reader = core.turn.lend(reader, |awaited| woken.includes(awaited));
            }
            if !core.alive() {
                return;
            }
            if let Err(error) = reader.fill(core) {
                return core.die(error);
            }
        }
    }

    /// Reads and deals with what came, for a user who waits for some of it; false at the deadline. It may also be that
    /// nothing came.
    pub(super) fn read_for_user(&mut self, core: &Arc<Core>, deadline: Option<Instant>) -> bool {
        match self.fill_until(core, deadline) {
            Err(Error::Timeout(_)) => return false,
            Err(error) => core.die(error),
            Ok(()) => {
                if let Err(error) = self.open_all(core) {
                    core.die(error);
                }
            }
        }
        true
    }

    /// Deals with all packets that are whole.
    fn open_all(&mut self, core: &Arc<Core>) -> Result<()> {
        loop {
            match self.opener.open(self.inbox.waiting())? {
                Opened::Packet { payload, consumed, sequence } => {
                    if let Some(started) = self.started.take() {
                        core.answered_after(started.elapsed());
                    }
                    {
                        let bytes = self.inbox.waiting();
                        let payload = self.opener.payload(bytes, &payload);
                        self.dialogue |= !matches!(payload.first(), Some(93..=95));
                        if let Some(install) = dispatch(core, payload, sequence, &mut self.wake)? {
                            self.opener.replace(install.0, install.1);
                            core.outbox.finish_rekey();
                        }
                    }
                    self.inbox.consume(consumed);
                }
                Opened::NeedMore(needed) => {
                    self.needed = needed;
                    self.wake.now();
                    // Who sends much waits for credit, as others do for data.
                    self.naps.took(self.wake.take_credit());
                    let usage = self.opener.usage();
                    core.after_seal(usage.bytes, self.opener.rekey_due());
                    return Ok(());
                }
            }
            if !core.alive() {
                return Ok(());
            }
        }
    }

    /// Reads on: what is there at once; when nothing is, with large memory given back.
    fn fill(&mut self, core: &Core) -> Result<()> {
        let idle = self.inbox.waiting().is_empty();
        if !idle || self.needed > self.inbox.buffer.len() {
            self.inbox.make_room(self.needed.max(if idle { 0 } else { LARGE }));
        }
        let count = if self.inbox.buffer.len() > SMALL {
            match self.read_now(core) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.inbox.slim();
                    self.inbox.read(&mut *self.stream, None)
                }
                other => other,
            }
        } else {
            self.inbox.read(&mut *self.stream, None)
        };
        self.took(core, count)
    }

    /// Reads what is there, or what is there a moment later.
    fn read_now(&mut self, core: &Core) -> io::Result<usize> {
        loop {
            let count = self.inbox.read_now(&mut *self.stream);
            if !matches!(&count, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                return count;
            }
            if core.outbox.take_spoken() {
                self.naps.dialogue();
            }
            // On Windows a short sleep may take 15 ms.
            match self.naps.due().filter(|_| !cfg!(windows)) {
                Some(nap) => thread::sleep(nap),
                None => return count,
            }
        }
    }

    /// Reads on, as much as there is, for somebody who waits until then and can be interrupted.
    fn fill_until(&mut self, core: &Core, deadline: Option<Instant>) -> Result<()> {
        if self.needed == 0 {
            // Nobody has looked at what the login left.
            return Ok(());
        }
        loop {
            self.inbox.make_room(self.needed.max(LARGE));
            let count = match self.read_now(core) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.inbox.slim();
                    match self.stream.wait(deadline) {
                        Ok(()) => continue,
                        Err(error) => Err(error),
                    }
                }
                other => other,
            };
            return match count {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    Err(Error::Timeout(error::Phase::Read))
                }
                count => self.took(core, count),
            };
        }
    }

    /// So much was read.
    fn took(&mut self, core: &Core, count: io::Result<usize>) -> Result<()> {
        let count = count.map_err(|error| Error::io(format!("reading from {}", core.peer), error))?;
        if count == 0 {
            return Err(Error::io(
                format!("reading from {}", core.peer),
                io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection"),
            ));
        }
        if std::mem::take(&mut self.dialogue) {
            self.stream.quick_ack();
            self.naps.dialogue();
        }
        self.naps.took(count);
        core.heard.fetch_add(1, Ordering::Relaxed);
        core.bytes_in.fetch_add(count as u64, Ordering::Relaxed);
        Ok(())
    }
}

type Install = (crate::packet::OpenKeys, bool);

/// One packet: transport messages here, keys to the exchange, the rest to the channels.
pub(super) fn dispatch(
    core: &Arc<Core>,
    payload: &[u8],
    sequence: u32,
    wake: &mut Wake,
) -> Result<Option<Install>> {
    let Some(&kind) = payload.first() else { return Err(Error::protocol("an empty packet")) };
    if kind == 94 {
        return mux::data(core, payload, wake).map(|()| None);
    }
    trace_in(core, kind, payload);
    let sent_by_client = core.role == Role::Server;
    match number::lookup(kind) {
        None => {
            core.post(&Unimplemented { sequence });
            return Ok(None);
        }
        Some(row) if !row.allowed(Phase::Open, sent_by_client) => {
            return Err(Error::protocol(format!("{} may not come here", row.name)));
        }
        Some(_) => {}
    }
    match kind {
        1 => {
            let message = Disconnect::decode_packet(payload)?;
            return Err(Error::Disconnected { code: message.code, text: message.text.to_string() });
        }
        2 | 3 | 50 | 61 | 193 => {}
        4 => {
            let message = Debug::decode_packet(payload)?;
            log::debug!(target: "feramiko::transport", "{}: peer says: {}", core.peer, message.text);
        }
        192 => core.post(&Pong { data: Ping::decode_packet(payload)?.data }),
        20 | 21 | 30..=49 => return kex(core, payload),
        _ => mux::dispatch(core, payload, wake)?,
    }
    Ok(None)
}

fn trace_in(core: &Core, kind: u8, payload: &[u8]) {
    if log::log_enabled!(target: "feramiko::packet", log::Level::Trace) {
        log::trace!(target: "feramiko::packet", "{}: < {} ({} bytes)", core.peer, number::name(kind), payload.len());
    }
}

pub(super) fn kex(core: &Arc<Core>, payload: &[u8]) -> Result<Option<Install>> {
    if payload.first() == Some(&20) {
        // Ours first: the exchange hashes both.
        let ours = core.answer_rekey()?;
        let mut kex = core.kex.lock();
        if !kex.begun() {
            kex.begin(ours);
        }
    } else if payload.first() == Some(&21) {
        log::debug!(target: "feramiko::kex", "{}: NEWKEYS received", core.peer);
    }
    let actions = core.kex.lock().feed(payload)?;
    act(core, actions)
}

fn act(core: &Arc<Core>, actions: Vec<Action>) -> Result<Option<Install>> {
    let mut install = None;
    for action in actions {
        match action {
            Action::Send(payload) => core.outbox.post_kex(core, KexItem::Send(payload)),
            Action::NewKeys { keys, reset_sequence } => {
                core.outbox.post_kex(core, KexItem::NewKeys { keys, reset_sequence });
            }
            Action::Install { keys, reset_sequence } => install = Some((keys, reset_sequence)),
            Action::Sign { host_key, algorithm, data } => sign(core, host_key, algorithm, data)?,
            // A later exchange compares the key byte by byte and asks nobody.
            Action::CheckHostKey(_) => return Err(Error::protocol("a new host key in a later exchange")),
            Action::Finished => {}
        }
    }
    Ok(install)
}

/// The server's signature. A key held elsewhere may take its time, so it signs on a thread of its
/// own; nothing but the exchange waits for it.
fn sign(core: &Arc<Core>, host_key: usize, algorithm: &'static str, data: Vec<u8>) -> Result<()> {
    let Some(key) = core.host_keys.get(host_key).cloned() else {
        return Err(Error::Misuse("the exchange names a host key that does not exist"));
    };
    let core_there = Arc::clone(core);
    let job = move || -> Result<()> {
        let signature = key.sign_sized(core_there.setup.algorithms.rsa_bits, algorithm, &data)?;
        let actions = core_there.kex.lock().signed(signature)?;
        act(&core_there, actions).map(drop)
    };
    if core.host_keys.get(host_key).is_some_and(crate::key::PKey::is_external) {
        let core = Arc::clone(core);
        super::spawn("feramiko sign", move || {
            if let Err(error) = job() {
                core.die(error);
            }
        })
        .map(drop)
    } else {
        job()
    }
}
