//! An engine without its threads: what it sends lies in a buffer, what it receives is handed in. Every
//! step happens on the thread that makes it, so that a test, or loom, decides what comes after what.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::setup;
use crate::engine::outbox::Outbox;
use crate::engine::{ChannelLink, Closer, Core, Limits, Link, Start, WriteHalf, mux};
use crate::error::Result;
use crate::kex::{Kex, Role};
use crate::msg::connection::ChannelOpenConfirmation;
use crate::packet::{Opened, Opener, Sealer};
use crate::wire::{Encode, Rest};

/// The peer's number of the one channel that `with_channel` opens.
pub(super) const PEERS_NUMBER: u32 = 5;

/// Takes everything, without waiting.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl WriteHalf for Sink {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
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
        let sent = Sink::default();
        let setup = setup(role);
        let start = Start {
            role,
            kex: Kex::new(setup.clone()),
            setup,
            host_keys: Vec::new(),
            limits: Limits::default(),
            peer: "still".to_owned(),
            peer_ident: String::new(),
            keepalive: None,
            round_trip: Duration::from_millis(1),
            closer: Arc::new(sent.clone()),
            serving: role == Role::Server,
        };
        let outbox = Outbox::new(Sealer::plain(), Box::new(sent.clone()));
        Self { core: Arc::new(Core::new(start, outbox)), sent, opener: Opener::plain() }
    }

    /// A client that a server has opened a channel to, with that window.
    pub(super) fn with_channel(window: u32) -> (Self, Link, ChannelLink) {
        let still = Self::new(Role::Client);
        let link = Link::new(Arc::clone(&still.core));
        let slot = still.core.new_slot("session").unwrap();
        let channel = ChannelLink::new(slot, link.clone());
        let confirmation = ChannelOpenConfirmation {
            recipient: channel.id(),
            sender: PEERS_NUMBER,
            window,
            max_packet: 32 * 1024,
            rest: Rest(b""),
        };
        receive(&still.core, &confirmation).unwrap();
        (still, link, channel)
    }

    /// The next packet it has sent.
    pub(super) fn next_sent(&mut self) -> Option<Vec<u8>> {
        let mut sent = self.sent.0.lock().unwrap();
        match self.opener.open(&mut sent).unwrap() {
            Opened::NeedMore(_) => None,
            Opened::Packet { payload, consumed, .. } => {
                let packet = self.opener.payload(&sent, &payload).to_vec();
                sent.drain(..consumed);
                Some(packet)
            }
        }
    }

    /// All packets it has sent.
    pub(super) fn all_sent(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.next_sent()).collect()
    }
}

/// Hands a message of the connection layer in, as the reader does.
pub(super) fn receive(core: &Arc<Core>, message: &impl Encode) -> Result<()> {
    receive_payload(core, &message.to_vec())
}

pub(super) fn receive_payload(core: &Arc<Core>, payload: &[u8]) -> Result<()> {
    if payload.first() == Some(&94) { mux::data(core, payload) } else { mux::dispatch(core, payload) }
}
