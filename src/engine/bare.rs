//! Transports without a login, for the fuzzer and tests: one without threads that is fed messages by hand,
//! and one with them over any stream, unencrypted.

use std::sync::Arc;
use std::time::Duration;

use super::Limits;
use super::channel_link::ChannelLink;
use super::core::{Core, Start};
use super::incoming::Incoming;
use super::link::Link;
use super::login::{Finished, PeerExtensions};
use super::mux::Wake;
use super::outbox::Outbox;
use super::reader::{self, Inbox};
use super::stream::{Closer, MemoryStream, Stream};
use crate::error::{Error, Result};
use crate::kex::{Algorithms, Kex, Role, Setup};
use crate::key::{KeyKind, PKey};
use crate::packet::{Opener, Sealer};
use crate::sys::traffic::TrafficClasses;

/// A connection layer that nobody drives.
pub(crate) struct Bare {
    link: Link,
    /// The far ends stay open; what is written there is never read.
    _peer: MemoryStream,
    _read: Box<dyn super::ReadHalf>,
}

fn start_of(role: Role, closer: Arc<dyn Closer>) -> Result<Start> {
    let key = PKey::generate(KeyKind::Ed25519)?;
    let setup = Setup {
        role,
        algorithms: Algorithms::client_defaults(),
        our_ident: b"SSH-2.0-us".to_vec(),
        peer_ident: b"SSH-2.0-them".to_vec(),
        host_keys: if role == Role::Server { vec![key.public_key().clone()] } else { Vec::new() },
        moduli: Arc::default(),
    };
    Ok(Start {
        role,
        kex: Kex::new(setup.clone()),
        setup,
        host_keys: vec![key],
        limits: Limits { linger: Duration::from_millis(100), ..Limits::default() },
        peer: "bare".to_owned(),
        peer_ident: String::new(),
        keepalive: None,
        traffic: TrafficClasses::default(),
        round_trip: Duration::from_millis(1),
        extensions: PeerExtensions { pings: true, ..PeerExtensions::default() },
        closer,
        serving: true,
        shared: false,
        taker: None,
    })
}

impl Bare {
    pub(crate) fn new(role: Role) -> Result<Self> {
        let (ours, peer) = MemoryStream::pair(1 << 16);
        let halves = Box::new(ours).split().map_err(|error| Error::io("splitting", error))?;
        let core = Core::new(start_of(role, halves.closer)?, Outbox::new(Sealer::plain(), halves.write));
        Ok(Self { link: Link::new(Arc::new(core)), _peer: peer, _read: halves.read })
    }

    /// A running transport over `stream`.
    pub(crate) fn start(role: Role, stream: Box<dyn Stream>) -> Result<Link> {
        let halves = stream.split().map_err(|error| Error::io("splitting", error))?;
        let start = start_of(role, halves.closer)?;
        let finished = Finished {
            read: halves.read,
            write: halves.write,
            sealer: Sealer::plain(),
            opener: Opener::plain(),
            inbox: Inbox::new(),
        };
        super::start(finished, start)
    }

    pub(crate) fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) fn alive(&self) -> bool {
        self.link.core().alive()
    }

    /// A message arrives, as the reader takes it.
    pub(crate) fn feed(&self, payload: &[u8]) {
        let mut wake = Wake::default();
        if let Err(error) = reader::dispatch(self.link.core(), payload, 0, &mut wake) {
            self.link.core().die(error);
        }
        wake.now();
    }

    /// A user opens a channel and does not wait for the answer.
    pub(crate) fn open(&self, kind: &str) -> Option<ChannelLink> {
        self.link.begin_open(kind, b"").ok()
    }

    pub(crate) fn next_incoming(&self) -> Option<Incoming> {
        self.link.core().incoming().try_recv().ok()
    }

    /// Ends as a writer would; true when nothing holds the transport any more.
    pub(crate) fn end(self) -> bool {
        self.link.core().end();
        let core = Arc::downgrade(self.link.core());
        drop(self);
        core.upgrade().is_none()
    }

    /// What is kept for the peer stays within the limits.
    pub(crate) fn check(&self) {
        let core = self.link.core();
        let lanes = core.outbox.lanes.lock();
        assert!(lanes.control_bytes <= core.limits.control_bytes.saturating_add(256 * 1024));
        drop(lanes);
        assert!(core.incoming().len() <= core.limits.pending_requests);
        assert!(core.table.lock().len() <= core.limits.channels);
    }
}
