//! What the handle of a running transport holds. Every blocking call of a user on a transport runs here, on the
//! user's thread, with a deadline.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::asking::{Answer, GlobalWaiter, Install};
use super::channel_link::{ChannelLink, close};
use super::core::Core;
use super::incoming::{ChannelTaker, Fit, Incoming, OpenRequest};
use super::lanes::Concerns;
use super::slot::Slot;
use super::waiting::Wait;
use crate::error::{Error, Phase, Result};
use crate::key::PublicKey;
use crate::msg::connection::{ChannelOpen, GlobalRequest};
use crate::wire::{Encode, Escaped, Rest};

/// A running transport. The last one that is dropped ends it.
#[derive(Clone)]
pub(crate) struct Link(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    /// Whether the transport ends with it.
    keeps: bool,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.keeps {
            self.core.close_gracefully();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.0.core.peer)
    }
}

impl Link {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self(Arc::new(Handle { core, keeps: true }))
    }

    /// A link that neither keeps the transport alive nor ends it: for channels that the peer opens to a
    /// client, which is gone when its user is.
    pub(super) fn aside(core: Arc<Core>) -> Self {
        Self(Arc::new(Handle { core, keeps: false }))
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    /// Opens a channel and waits for the peer's answer.
    pub(crate) fn open(&self, kind: &str, rest: &[u8], deadline: Option<Instant>) -> Result<ChannelLink> {
        let channel = self.begin_open(kind, rest)?;
        channel.wait_open(deadline)?;
        Ok(channel)
    }

    /// Asks the peer for a channel, which is of no use before [`ChannelLink::wait_open`]. Never waits.
    pub(crate) fn begin_open(&self, kind: &str, rest: &[u8]) -> Result<ChannelLink> {
        let core = self.core();
        let slot = core.new_slot(kind)?;
        let open = ChannelOpen {
            kind: Escaped(kind.as_bytes()),
            sender: slot.local,
            window: super::flow::WINDOW,
            max_packet: super::flow::MAX_PACKET,
            rest: Rest(rest),
        };
        core.post_control(open.to_vec(), Concerns::Nobody);
        // From here on dropping it closes the channel as soon as the peer has confirmed it.
        Ok(ChannelLink::new(slot, self.clone()))
    }

    /// Asks the peer something of the connection and waits for the answer.
    pub(crate) fn global_request(
        &self,
        kind: &str,
        rest: &[u8],
        deadline: Option<Instant>,
    ) -> Result<Vec<u8>> {
        global_request(self.core(), kind, rest, deadline)
    }

    /// Asks the peer something of the connection that has no answer.
    pub(crate) fn tell(&self, kind: &str, rest: &[u8]) {
        self.core().post(&GlobalRequest {
            kind: Escaped(kind.as_bytes()),
            want_reply: false,
            rest: Rest(rest),
        });
    }

    /// Sends a message of the transport layer.
    pub(crate) fn send_message(&self, message: &impl Encode) {
        self.core().post(message);
    }

    /// From now on channels of this kind that the peer opens are handed to `run`, on a thread each, at
    /// most `limit` at once, unless `asking` for them fails; also where somebody serves. `run` accepts the
    /// request or refuses it, and gives back the channel when it is done with it.
    pub(crate) fn take_channels(
        &self,
        kind: &'static str,
        limit: usize,
        run: impl Fn(OpenRequest, &Self) -> Option<ChannelLink> + Send + Sync + 'static,
        asking: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        // What the server opens goes to the program that holds the connection.
        self.core().not_shared(kind)?;
        let taker = Arc::new(ChannelTaker::new(kind, limit, |_| Fit::Yes, run));
        if !self.core().add_taker(Arc::clone(&taker)) {
            return Err(self.core().closed());
        }
        let asked = asking();
        match asked {
            Ok(()) => self.core().replace_takers(&taker),
            Err(_) => self.core().remove_takers(|known| Arc::ptr_eq(known, &taker)),
        }
        asked
    }

    /// The one thing of its type that is kept with the connection, made when it is first asked for. It must
    /// not hold the connection.
    #[cfg(unix)]
    pub(crate) fn companion<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut companions = self.core().companions.lock();
        if let Some(known) = companions.iter().find_map(|thing| Arc::clone(thing).downcast().ok()) {
            return known;
        }
        let made = Arc::new(T::default());
        companions.push(Arc::<T>::clone(&made));
        made
    }

    /// A link that neither keeps the transport alive nor ends it.
    pub(crate) fn beside(&self) -> Self {
        Self::aside(Arc::clone(self.core()))
    }

    /// As [`global_request`](Self::global_request); what a success switches on is done by the reader,
    /// before it looks at the next packet. It must not wait.
    pub(crate) fn global_request_then(
        &self,
        kind: &str,
        rest: &[u8],
        deadline: Option<Instant>,
        install: impl FnOnce(&[u8]) + Send + 'static,
    ) -> Result<Vec<u8>> {
        request_of_connection(self.core(), kind, rest, deadline, Some(Box::new(install)))
    }

    /// What ties an agent's signature to this connection: the host key that the server proved in the
    /// first exchange, the session's identifier, and the proof.
    pub(crate) fn session_binding(&self) -> Option<(PublicKey, Vec<u8>, Vec<u8>)> {
        let kex = self.core().kex.lock();
        let (key, proof) = kex.first_proof()?;
        Some((key.clone(), kex.session_id().to_vec(), proof.to_vec()))
    }

    /// The next thing that the peer opens or asks.
    pub(crate) fn next_incoming(&self, deadline: Option<Instant>) -> Result<Incoming> {
        next_incoming(self.core(), deadline)
    }

    /// The channels that there are, also those that are being opened or closed.
    pub(crate) fn channels(&self) -> Vec<Arc<Slot>> {
        self.core().table.lock().all()
    }

    /// When the last channel was gone; none when there never was one.
    pub(crate) fn without_channels_since(&self) -> Option<Instant> {
        self.core().table.lock().emptied()
    }

    /// Closes a channel, whoever uses it; what is queued leaves first.
    pub(crate) fn close_channel(&self, slot: &Arc<Slot>) {
        close(slot, self.core());
    }

    /// Sends what waits, says goodbye, and waits until the stream is cut.
    pub(crate) fn close(&self) {
        let core = self.core();
        core.close_gracefully();
        let patience = core.limits.linger.saturating_add(2 * super::core::GOODBYE);
        core.wait_end(Instant::now().checked_add(patience));
    }
}

/// The next thing that the peer opens or asks.
pub(crate) fn next_incoming(core: &Core, deadline: Option<Instant>) -> Result<Incoming> {
    match deadline {
        None => core.incoming().recv().map_err(|_| core.closed()),
        Some(deadline) => core.incoming().recv_deadline(deadline).map_err(|error| match error {
            RecvTimeoutError::Timeout => Error::Timeout(Phase::Accept),
            RecvTimeoutError::Disconnected => core.closed(),
        }),
    }
}

/// Asks the peer something of the connection and waits for the answer.
pub(crate) fn global_request(
    core: &Arc<Core>,
    kind: &str,
    rest: &[u8],
    deadline: Option<Instant>,
) -> Result<Vec<u8>> {
    request_of_connection(core, kind, rest, deadline, None)
}

fn request_of_connection(
    core: &Arc<Core>,
    kind: &str,
    rest: &[u8],
    deadline: Option<Instant>,
    install: Option<Install>,
) -> Result<Vec<u8>> {
    // OpenSSH's master hangs up on most, and gives nobody the answers.
    core.not_shared(kind)?;
    let request = GlobalRequest { kind: Escaped(kind.as_bytes()), want_reply: true, rest: Rest(rest) };
    let (sender, receiver) = crossbeam_channel::bounded::<Answer>(1);
    core.post_control(request.to_vec(), Concerns::Global(GlobalWaiter { sender, install }));
    answered(&receiver, Wait::on_connection(core, deadline), kind)
}

/// Waits for the answer to a request of ours.
pub(super) fn answered(receiver: &Receiver<Answer>, mut wait: Wait<'_>, kind: &str) -> Result<Vec<u8>> {
    let mut in_time = true;
    loop {
        let answer = match receiver.try_recv() {
            Err(TryRecvError::Empty) if !in_time => Err(RecvTimeoutError::Timeout),
            Err(TryRecvError::Empty) if wait.sleeps() => match wait.deadline() {
                None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => receiver.recv_deadline(deadline),
            },
            Err(TryRecvError::Empty) => {
                in_time = wait.go_on();
                continue;
            }
            Err(TryRecvError::Disconnected) => Err(RecvTimeoutError::Disconnected),
            Ok(answer) => Ok(answer),
        };
        return match answer {
            Ok(Ok(rest)) => Ok(rest),
            Ok(Err(())) => Err(Error::RequestRefused(kind.to_owned())),
            Err(RecvTimeoutError::Timeout) => Err(Error::Timeout(Phase::Request)),
            Err(RecvTimeoutError::Disconnected) => Err(wait.core().closed()),
        };
    }
}

/// How long a request may take if the caller says nothing.
pub(crate) fn default_deadline(core: &Core, own: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(own.unwrap_or(core.limits.request_timeout))
}
