//! What handles hold: a running transport, and a channel on it. Every blocking call of a user runs
//! here, on the user's thread, with a deadline.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;

use super::core::Core;
use super::exit::ExitStatus;
use super::incoming::{ChannelTaker, Fit, Incoming, OpenRequest};
use super::outbox::Concerns;
use super::poll::Signal;
use super::slot::{Answer, GlobalWaiter, Install, Lane, Phase as SlotPhase, Request, Slot, State};
use super::sync::{Condvar, MutexGuard};
use crate::error::{Error, Phase, Result};
use crate::key::PublicKey;
use crate::msg::connection::{ChannelOpen, ChannelRequest, GlobalRequest};
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
    core: &Core,
    kind: &str,
    rest: &[u8],
    deadline: Option<Instant>,
) -> Result<Vec<u8>> {
    request_of_connection(core, kind, rest, deadline, None)
}

fn request_of_connection(
    core: &Core,
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
    answered(&receiver, core, kind, deadline)
}

/// Waits for the answer to a request of ours.
fn answered(
    receiver: &crossbeam_channel::Receiver<Answer>,
    core: &Core,
    kind: &str,
    deadline: Option<Instant>,
) -> Result<Vec<u8>> {
    let answer = match deadline {
        None => receiver.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(deadline) => receiver.recv_deadline(deadline),
    };
    match answer {
        Ok(Ok(rest)) => Ok(rest),
        Ok(Err(())) => Err(Error::RequestRefused(kind.to_owned())),
        Err(RecvTimeoutError::Timeout) => Err(Error::Timeout(Phase::Request)),
        Err(RecvTimeoutError::Disconnected) => Err(core.closed()),
    }
}

/// Sleeps until something changed; false at the deadline.
fn wait(changed: &Condvar, state: &mut MutexGuard<'_, State>, deadline: Option<Instant>) -> bool {
    match deadline {
        None => {
            changed.wait(state);
            true
        }
        Some(deadline) => !changed.wait_until(state, deadline).timed_out(),
    }
}

/// A channel. The last clone that is dropped closes it, and never the transport.
#[derive(Clone)]
pub(crate) struct ChannelLink(Arc<ChannelHandle>);

struct ChannelHandle {
    slot: Arc<Slot>,
    link: Link,
}

impl Drop for ChannelHandle {
    fn drop(&mut self) {
        close(&self.slot, self.link.core());
    }
}

fn close(slot: &Arc<Slot>, core: &Core) {
    let mut state = slot.state.lock();
    state.want_close = true;
    state.want_eof = true;
    state.exit_owed = false;
    state.held = None;
    let enqueue = state.enqueue();
    state.wake_watchers();
    drop(state);
    slot.wake_all();
    if enqueue {
        core.post_slot(slot, 0);
    }
}

impl fmt::Debug for ChannelLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} channel {}", self.0.slot.kind, self.0.slot.local)
    }
}

impl ChannelLink {
    pub(super) fn new(slot: Arc<Slot>, link: Link) -> Self {
        Self(Arc::new(ChannelHandle { slot, link }))
    }

    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.0.slot
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.slot.local
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        self.0.link.core()
    }

    /// Waits until the peer has opened it, or somebody closes it here.
    pub(crate) fn wait_open(&self, deadline: Option<Instant>) -> Result<()> {
        let slot = &self.0.slot;
        let mut state = slot.state.lock();
        loop {
            match &state.phase {
                SlotPhase::Opening if state.dead.is_some() => return Err(self.core().closed()),
                SlotPhase::Opening if state.want_close => return Err(Error::Closed(None)),
                SlotPhase::Opening => {}
                SlotPhase::Refused { code, text } => {
                    return Err(Error::ChannelRefused { code: *code, text: text.clone() });
                }
                SlotPhase::Open | SlotPhase::Closed => return Ok(()),
            }
            if !wait(&slot.incoming, &mut state, deadline) {
                return Err(Error::Timeout(Phase::Open));
            }
        }
    }

    /// Puts the slot into the data lane if it has something to send.
    fn post_if_due(&self, mut state: MutexGuard<'_, State>, size: usize) {
        let enqueue = state.enqueue();
        drop(state);
        if enqueue {
            self.core().post_slot(&self.0.slot, size);
        }
    }

    /// Reads what is there; waits for it. 0 is the stream's end.
    pub(crate) fn read(&self, lane: Lane, buf: &mut [u8], deadline: Option<Instant>) -> Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let slot = &self.0.slot;
        let unread = self.core().limits.unread_stream;
        let mut state = slot.state.lock();
        loop {
            let count = state.read(lane, buf);
            if count > 0 {
                self.post_if_due(state, 0);
                return Ok(count);
            }
            if state.at_end(lane) {
                return Ok(0);
            }
            if state.dead.is_some() {
                return Err(self.core().closed());
            }
            if state.overfull(Some(lane), unread).is_some() {
                return Err(Error::Limit { which: "unread_stream", limit: unread as u64 });
            }
            state.inbound(lane).waiting = state.inbound(lane).waiting.saturating_add(1);
            state.credit_unread(unread);
            let credit = state.enqueue();
            let in_time = credit || wait(&slot.incoming, &mut state, deadline);
            state.inbound(lane).waiting = state.inbound(lane).waiting.saturating_sub(1);
            if credit {
                // Without the lock anything may happen: everything is looked at again.
                drop(state);
                self.core().post_slot(slot, 0);
                state = slot.state.lock();
                continue;
            }
            if !in_time && !state.readable(lane) {
                return Err(Error::Timeout(Phase::Read));
            }
        }
    }

    /// Takes some of `buf`; waits until there is room for at least a byte.
    pub(crate) fn write(&self, lane: Lane, buf: &[u8], deadline: Option<Instant>) -> Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let slot = &self.0.slot;
        let mut state = slot.state.lock();
        loop {
            if state.dead.is_some() {
                return Err(self.core().closed());
            }
            if state.want_eof || state.want_close || state.peer_stopped_reading || self.core().closing() {
                return Err(Error::Closed(None));
            }
            let room = state.room();
            if room > 0 {
                let taken = buf.get(..room).unwrap_or(buf);
                state.out(lane).feed(taken);
                self.post_if_due(state, taken.len());
                return Ok(taken.len());
            }
            if !wait(&slot.outgoing, &mut state, deadline) && state.room() == 0 {
                return Err(Error::Timeout(Phase::Write));
            }
        }
    }

    /// Waits until a write takes at least a byte, or fails.
    pub(crate) fn wait_writable(&self, deadline: Option<Instant>) -> Result<()> {
        let slot = &self.0.slot;
        let mut state = slot.state.lock();
        while !state.writable() {
            if !wait(&slot.outgoing, &mut state, deadline) && !state.writable() {
                return Err(Error::Timeout(Phase::Write));
            }
        }
        Ok(())
    }

    /// Waits until everything written has left for the stream; an error when the peer closed the
    /// channel before.
    pub(crate) fn flush(&self, deadline: Option<Instant>) -> Result<()> {
        let slot = &self.0.slot;
        let mut state = slot.state.lock();
        loop {
            if state.dead.is_some() {
                return Err(self.core().closed());
            }
            if state.cut_off {
                return Err(Error::Closed(None));
            }
            if state.out_data.is_empty() && state.out_stderr.is_empty() {
                return Ok(());
            }
            if !wait(&slot.outgoing, &mut state, deadline) {
                return Err(Error::Timeout(Phase::Write));
            }
        }
    }

    /// Nothing more will be written: EOF follows what is queued.
    pub(crate) fn send_eof(&self) {
        let mut state = self.0.slot.state.lock();
        state.want_eof = true;
        self.post_if_due(state, 0);
        self.0.slot.outgoing.notify_all();
    }

    /// Nothing more will be read: what is there and what comes is dropped.
    pub(crate) fn stop_reading(&self, lane: Lane) {
        let mut state = self.0.slot.state.lock();
        state.discard(lane);
        state.wake_watchers();
        self.post_if_due(state, 0);
        self.0.slot.incoming.notify_all();
    }

    /// Waits until either side has closed it, or the transport died.
    pub(crate) fn wait_closed(&self) {
        let slot = &self.0.slot;
        let mut state = slot.state.lock();
        while !(state.want_close || state.phase == SlotPhase::Closed || state.dead.is_some()) {
            wait(&slot.incoming, &mut state, None);
        }
    }

    /// Has what comes for standard error appended to the data, or no longer; what it was before.
    pub(crate) fn combine_stderr(&self, combine: bool) -> bool {
        let mut state = self.0.slot.state.lock();
        let before = state.combine(combine);
        state.wake_watchers();
        self.post_if_due(state, 0);
        self.0.slot.incoming.notify_all();
        before
    }

    /// Gives the channel as long as somebody else holds it.
    pub(crate) fn weak(&self) -> impl Fn() -> Option<Self> + Send + use<> {
        let weak = Arc::downgrade(&self.0);
        move || weak.upgrade().map(Self)
    }

    /// Closes it; what is queued leaves first. Idempotent.
    pub(crate) fn close(&self) {
        close(&self.0.slot, self.core());
    }

    /// Whether either side has closed it, or the transport died.
    pub(crate) fn closed(&self) -> bool {
        self.0.slot.is_closed()
    }

    /// Sends a request; with `deadline` given waits for the answer.
    pub(crate) fn request(&self, kind: &str, rest: &[u8], wait_until: Option<Option<Instant>>) -> Result<()> {
        let mut state = self.0.slot.state.lock();
        if state.dead.is_some() {
            return Err(self.core().closed());
        }
        if state.want_close {
            return Err(Error::Closed(None));
        }
        let request = ChannelRequest {
            recipient: state.remote,
            kind: Escaped(kind.as_bytes()),
            want_reply: wait_until.is_some(),
            rest: Rest(rest),
        };
        let payload = request.to_vec();
        let Some(deadline) = wait_until else {
            state.requests.push_back(Request { payload, waiter: None });
            self.post_if_due(state, 0);
            return Ok(());
        };
        let limit = self.core().limits.unanswered_requests;
        if state.replies.len().saturating_add(state.requests.len()) >= limit {
            return Err(Error::Limit { which: "unanswered_requests", limit: limit as u64 });
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        state.requests.push_back(Request { payload, waiter: Some(sender) });
        self.post_if_due(state, 0);
        answered(&receiver, self.core(), kind, deadline).map(drop)
    }

    /// Sends the exit status once all data is out; the last word before CLOSE.
    pub(crate) fn send_exit(&self, kind: &str, rest: &[u8]) {
        let mut state = self.0.slot.state.lock();
        let request = ChannelRequest {
            recipient: state.remote,
            kind: Escaped(kind.as_bytes()),
            want_reply: false,
            rest: Rest(rest),
        };
        if !state.want_close || state.exit_owed {
            state.exit_out = Some(request.to_vec());
            state.exit_owed = false;
            self.post_if_due(state, 0);
        }
    }

    /// From now on a program runs whose exit status will be sent, or the channel closed here.
    pub(crate) fn owe_exit(&self) {
        self.0.slot.state.lock().exit_owed = true;
    }

    /// Waits for the command's end. Data that nobody reads meanwhile is kept, up to a limit.
    pub(crate) fn wait_exit(&self, deadline: Option<Instant>) -> Result<ExitStatus> {
        let slot = &self.0.slot;
        let unread = self.core().limits.unread_stream;
        let mut state = slot.state.lock();
        loop {
            if let Some(exit) = &state.exit {
                return Ok(exit.clone());
            }
            if state.flow.close_received || state.phase == SlotPhase::Closed {
                return Ok(ExitStatus::Missing);
            }
            if state.dead.is_some() {
                return Err(self.core().closed());
            }
            if state.want_close {
                return Ok(ExitStatus::Missing);
            }
            if state.overfull(None, unread).is_some() {
                return Err(Error::Limit { which: "unread_stream", limit: unread as u64 });
            }
            state.exit_waiting = state.exit_waiting.saturating_add(1);
            state.credit_unread(unread);
            let credit = state.enqueue();
            let in_time = credit || wait(&slot.incoming, &mut state, deadline);
            state.exit_waiting = state.exit_waiting.saturating_sub(1);
            if credit {
                drop(state);
                self.core().post_slot(slot, 0);
                state = slot.state.lock();
                continue;
            }
            if !in_time && state.exit.is_none() && !state.flow.close_received {
                return Err(Error::Timeout(Phase::Exit));
            }
        }
    }

    /// Keeps `thing` until the channel is closed or the transport ends.
    pub(crate) fn hold(&self, thing: impl Any + Send) {
        let mut state = self.0.slot.state.lock();
        if !(state.want_close || state.phase == SlotPhase::Closed || state.dead.is_some()) {
            state.held = Some(Box::new(thing));
        }
    }

    /// The exit status, if it has come.
    pub(crate) fn exit(&self) -> Option<ExitStatus> {
        self.0.slot.state.lock().exit.clone()
    }

    /// Whether a read would return at once, and a write would.
    pub(crate) fn readiness(&self) -> (bool, bool, bool) {
        let mut state = self.0.slot.state.lock();
        (state.readable(Lane::Data), state.readable(Lane::Stderr), state.writable())
    }

    /// Looks how far the peer may be ahead of us, in bytes, without keeping the channel open.
    pub(crate) fn watch_window(&self) -> impl Fn() -> usize + Send + Sync + use<> {
        let slot = Arc::clone(&self.0.slot);
        move || slot.state.lock().flow.window()
    }

    /// Raises `signal` at every change from now on, as long as it lives.
    pub(crate) fn watch(&self, signal: &Arc<Signal>) {
        self.0.slot.state.lock().watchers.push(Arc::downgrade(signal));
    }
}

/// How long a request may take if the caller says nothing.
pub(crate) fn default_deadline(core: &Core, own: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(own.unwrap_or(core.limits.request_timeout))
}
