//! An engine without its threads: what it sends lies in a buffer, what it receives is handed in. Every
//! step happens on the thread that makes it, so that a test, or loom, decides what comes after what.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
#[cfg(not(loom))]
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::{setup, soon};
use crate::engine::login::PeerExtensions;
use crate::engine::naps::Naps;
use crate::engine::outbox::Outbox;
use crate::engine::reader::{Inbox, Reader};
#[cfg(loom)]
use crate::engine::turn::Turn;
use crate::engine::{ChannelLink, Closer, Core, Incoming, Limits, Link, ReadHalf, Start, WriteHalf, mux};
use crate::error::Result;
use crate::kex::{Kex, Role};
use crate::msg::connection::ChannelOpen;
use crate::packet::{Opened, Opener, Sealer};
use crate::sys::traffic::TrafficClasses;
use crate::wire::{Encode, Escaped, Rest};

/// Takes everything, or nothing, without waiting.
#[derive(Clone, Default)]
struct Sink {
    taken: Arc<Mutex<Vec<u8>>>,
    full: Arc<AtomicBool>,
    /// It takes something every other time.
    wavers: Arc<AtomicBool>,
    /// Who writes, and does so while a test does not hold it.
    #[cfg(not(loom))]
    writers: Writers,
}

/// Those who have begun to write to a stream, and what keeps them from going on.
#[cfg(not(loom))]
#[derive(Clone, Default)]
pub(super) struct Writers {
    pub(super) begun: Arc<Mutex<Vec<ThreadId>>>,
    pub(super) hold: Arc<Mutex<()>>,
}

impl WriteHalf for Sink {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        #[cfg(not(loom))]
        {
            self.writers.begun.lock().unwrap().push(std::thread::current().id());
            drop(self.writers.hold.lock().unwrap());
        }
        let wavers = self.wavers.load(Ordering::SeqCst);
        if self.full.fetch_xor(wavers, Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.taken.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn wait(&mut self, _: Option<Instant>) -> io::Result<()> {
        Ok(())
    }
}

impl Closer for Sink {
    fn close(&self) {}
}

/// An engine whose packets are not encrypted.
pub(super) struct Still {
    pub(super) core: Arc<Core>,
    sent: Sink,
    opener: Opener,
}

impl Still {
    pub(super) fn new(role: Role) -> Self {
        Self::prepared(role, |_| {})
    }

    /// One whose incoming packets are read from `half`, by [`Reader::run`] and by users.
    #[cfg(loom)]
    pub(super) fn read_from(role: Role, mut half: Box<dyn ReadHalf>) -> Self {
        Self::prepared(role, |core| {
            core.turn = Turn::new(half.interrupter());
            core.turn.leave(Box::new(reader(half)));
        })
    }

    fn prepared(role: Role, prepare: impl FnOnce(&mut Core)) -> Self {
        let sent = Sink::default();
        let setup = setup(role);
        let start = Start {
            role,
            kex: Kex::new(setup.clone()),
            setup,
            host_keys: Vec::new(),
            // Windows that grow with the clock are another matter.
            limits: Limits { window_budget: 0, ..Limits::default() },
            peer: "still".to_owned(),
            peer_ident: String::new(),
            keepalive: None,
            traffic: TrafficClasses::default(),
            round_trip: Duration::from_millis(1),
            extensions: PeerExtensions::default(),
            closer: Arc::new(sent.clone()),
            shared: false,
            serving: role == Role::Server,
            taker: None,
        };
        let outbox = Outbox::new(Sealer::plain(), Box::new(sent.clone()));
        let mut core = Core::new(start, outbox);
        prepare(&mut core);
        Self { core: Arc::new(core), sent, opener: Opener::plain() }
    }

    /// A channel that the peer opened, which takes so many bytes.
    pub(super) fn accepted(&self, link: &Link, window: u32) -> ChannelLink {
        let open = ChannelOpen {
            kind: Escaped(b"session"),
            sender: 0,
            window,
            max_packet: 32 * 1024,
            rest: Rest(b""),
        };
        receive_payload(&self.core, &open.to_vec()).unwrap();
        let Ok(Incoming::Open(request)) = link.next_incoming(soon()) else { panic!("no open") };
        request.accept(link).unwrap()
    }

    /// How many bytes have left for the stream.
    #[cfg(not(loom))]
    pub(super) fn bytes_sent(&self) -> usize {
        self.sent.taken.lock().unwrap().len()
    }

    /// Who writes to the stream.
    #[cfg(not(loom))]
    pub(super) fn writers(&self) -> Writers {
        self.sent.writers.clone()
    }

    /// From now on the stream takes everything, or nothing.
    pub(super) fn fill_up(&self, full: bool) {
        self.sent.full.store(full, Ordering::SeqCst);
    }

    /// From now on the stream takes something every other time.
    #[cfg(loom)]
    pub(super) fn waver(&self) {
        self.sent.wavers.store(true, Ordering::SeqCst);
    }

    /// The next packet it has sent.
    pub(super) fn next_sent(&mut self) -> Option<Vec<u8>> {
        let mut sent = self.sent.taken.lock().unwrap();
        match self.opener.open(&mut sent).unwrap() {
            Opened::NeedMore(_) => None,
            Opened::Packet { payload, consumed, .. } => {
                let packet = self.opener.payload(&sent, &payload).to_vec();
                sent.drain(..consumed);
                Some(packet)
            }
        }
    }
}

/// What reads packets that are not encrypted.
pub(super) fn reader(half: Box<dyn ReadHalf>) -> Reader {
    Reader {
        stream: half,
        opener: Opener::plain(),
        inbox: Inbox::new(),
        dialogue: false,
        naps: Naps::default(),
        wake: mux::Wake::default(),
        needed: 0,
        started: None,
    }
}

/// Hands a message of the connection layer in, as the reader does.
pub(super) fn receive_payload(core: &Arc<Core>, payload: &[u8]) -> Result<()> {
    let mut wake = mux::Wake::default();
    let done = match payload.first() {
        Some(94) => mux::data(core, payload, &mut wake),
        _ => mux::dispatch(core, payload, &mut wake),
    };
    wake.now();
    done
}
