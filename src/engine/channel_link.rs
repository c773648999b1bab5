//! What the handle of a channel holds. Every blocking call of a user on a channel runs here, on the user's
//! thread, with a deadline.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::asking::Request;
use super::core::Core;
use super::exit::ExitStatus;
use super::link::{Link, answered};
use super::poll::Signal;
use super::sink::Sink;
use super::slot::{Lane, Phase as SlotPhase, Slot, State};
use super::sync::MutexGuard;
use super::waiting::{Side, Wait};
use crate::error::{Error, Phase, Result};
use crate::msg::connection::ChannelRequest;
use crate::wire::{Encode, Escaped, Rest};

/// What waits of a channel's data is written on in pieces of so many bytes: two packets of the usual 32 KiB.
const PIECE: usize = 64 * 1024;

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

pub(super) fn close(slot: &Arc<Slot>, core: &Core) {
    let mut state = slot.state.lock();
    state.want_close = true;
    state.want_eof = true;
    let let_go = state.let_go();
    let enqueue = state.enqueue();
    state.wake_watchers();
    drop(state);
    slot.wake_all();
    core.turn.interrupt(|awaited| awaited.channel == slot.local);
    if enqueue {
        core.post_slot(slot);
    }
    drop(let_go);
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
        let mut wait = self.wait(Side::Incoming, deadline);
        let mut state = slot.state.lock();
        let mut in_time = true;
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
            if !in_time {
                return Err(Error::Timeout(Phase::Open));
            }
            (state, in_time) = wait.step(slot, state);
        }
    }

    fn wait(&self, side: Side, deadline: Option<Instant>) -> Wait<'_> {
        Wait::on_channel(self.core(), self.id(), side, deadline)
    }

    /// Puts the slot into the data lane if it has something to send.
    fn post_if_due(&self, mut state: MutexGuard<'_, State>) {
        let enqueue = state.enqueue();
        drop(state);
        if enqueue {
            self.core().post_slot(&self.0.slot);
        }
    }

    /// Reads what is there; waits for it. 0 is the stream's end.
    pub(crate) fn read(&self, lane: Lane, buf: &mut [u8], deadline: Option<Instant>) -> Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let slot = &self.0.slot;
        let unread = self.core().limits.unread_stream;
        let mut wait = self.wait(Side::Incoming, deadline);
        let mut state = slot.state.lock();
        let mut in_time = true;
        loop {
            let count = state.read(lane, buf);
            if count > 0 {
                self.post_if_due(state);
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
            if !in_time && !state.readable(lane) {
                return Err(Error::Timeout(Phase::Read));
            }
            state.inbound(lane).waiting = state.inbound(lane).waiting.saturating_add(1);
            state.credit_unread(unread);
            if state.enqueue() {
                // Without the lock anything may happen: everything is looked at again.
                drop(state);
                self.core().post_slot(slot);
                state = slot.state.lock();
            } else {
                (state, in_time) = wait.step(slot, state);
            }
            state.inbound(lane).waiting = state.inbound(lane).waiting.saturating_sub(1);
        }
    }

    /// Takes some of `buf`; waits until there is room for at least a byte.
    pub(crate) fn write(&self, lane: Lane, buf: &[u8], deadline: Option<Instant>) -> Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        let slot = &self.0.slot;
        let mut wait = self.wait(Side::Outgoing, deadline);
        let mut state = slot.state.lock();
        let mut in_time = true;
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
                let (enqueue, flows) = (state.enqueue(), state.asks_ahead || state.flow.keeps_busy());
                drop(state);
                if !flows {
                    self.core().outbox.speak();
                }
                if enqueue {
                    self.core().outbox.post_written(self.core(), slot);
                }
                return Ok(taken.len());
            }
            if !in_time {
                return Err(Error::Timeout(Phase::Write));
            }
            (state, in_time) = wait.step(slot, state);
        }
    }

    /// Waits until a write takes at least a byte, or fails.
    pub(crate) fn wait_writable(&self, deadline: Option<Instant>) -> Result<()> {
        let slot = &self.0.slot;
        let mut wait = self.wait(Side::Outgoing, deadline);
        let mut state = slot.state.lock();
        let mut in_time = true;
        while !state.writable() {
            if !in_time {
                return Err(Error::Timeout(Phase::Write));
            }
            (state, in_time) = wait.step(slot, state);
        }
        Ok(())
    }

    /// Waits until everything written has left for the stream; an error when the peer closed the
    /// channel before.
    pub(crate) fn flush(&self, deadline: Option<Instant>) -> Result<()> {
        let slot = &self.0.slot;
        let mut wait = self.wait(Side::Outgoing, deadline);
        let mut state = slot.state.lock();
        let mut in_time = true;
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
            if !in_time {
                return Err(Error::Timeout(Phase::Write));
            }
            (state, in_time) = wait.step(slot, state);
        }
    }

    /// Nothing more will be written: EOF follows what is queued.
    pub(crate) fn send_eof(&self) {
        let mut state = self.0.slot.state.lock();
        state.want_eof = true;
        self.post_if_due(state);
        self.0.slot.outgoing.notify_all();
        self.core().changed_here(&self.0.slot, Side::Outgoing);
    }

    /// Nothing more will be read: what is there and what comes is dropped.
    pub(crate) fn stop_reading(&self, lane: Lane) {
        let mut state = self.0.slot.state.lock();
        state.discard(lane);
        state.wake_watchers();
        self.post_if_due(state);
        self.0.slot.incoming.notify_all();
        self.core().changed_here(&self.0.slot, Side::Incoming);
    }

    /// Has the reader write what comes to a stream, from what waits here on.
    pub(crate) fn pour(&self, mut sink: Sink) {
        // For good: such a connection mostly carries others of its kind.
        self.core().turn.keep();
        let mut piece = Vec::new();
        loop {
            let mut state = self.0.slot.state.lock();
            if state.data.pipe.is_empty() {
                if state.at_end(Lane::Data) || state.dead.is_some() {
                    drop(state);
                    return sink.end();
                }
                state.data.read = true;
                state.sink = Some(sink);
                return;
            }
            piece.resize(state.data.pipe.len().min(PIECE), 0);
            let count = state.read(Lane::Data, &mut piece);
            self.post_if_due(state);
            let Some(on) = sink.pour(piece.get(..count).unwrap_or_default()) else { return };
            sink = on;
        }
    }

    /// Why the transport died, if it has.
    pub(crate) fn died(&self) -> Option<Error> {
        let dead = self.0.slot.state.lock().dead.is_some();
        dead.then(|| self.core().closed())
    }

    /// Waits until either side has closed it, or the transport died.
    pub(crate) fn wait_closed(&self) {
        let slot = &self.0.slot;
        let mut wait = self.wait(Side::Incoming, None);
        let mut state = slot.state.lock();
        while !state.over() {
            (state, _) = wait.step(slot, state);
        }
    }

    /// Has what comes for standard error appended to the data, or no longer; what it was before.
    pub(crate) fn combine_stderr(&self, combine: bool) -> bool {
        let mut state = self.0.slot.state.lock();
        let before = state.combine(combine);
        state.wake_watchers();
        self.post_if_due(state);
        self.0.slot.incoming.notify_all();
        self.core().changed_here(&self.0.slot, Side::Incoming);
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
            self.post_if_due(state);
            return Ok(());
        };
        let limit = self.core().limits.unanswered_requests;
        if state.replies.len().saturating_add(state.requests.len()) >= limit {
            return Err(Error::Limit { which: "unanswered_requests", limit: limit as u64 });
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        state.requests.push_back(Request { payload, waiter: Some(sender) });
        self.post_if_due(state);
        answered(&receiver, self.wait(Side::Answer, deadline), kind).map(drop)
    }

    /// An exit status will be sent, and then the channel closed, whatever the peer does before.
    pub(crate) fn owe_exit(&self) {
        self.0.slot.state.lock().owes_exit = true;
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
        if !state.want_close {
            state.exit_out = Some(request.to_vec());
            self.post_if_due(state);
        }
    }

    /// Waits for the command's end. Data that nobody reads meanwhile is kept, up to a limit.
    pub(crate) fn wait_exit(&self, deadline: Option<Instant>) -> Result<ExitStatus> {
        let slot = &self.0.slot;
        let unread = self.core().limits.unread_stream;
        let mut wait = self.wait(Side::Incoming, deadline);
        let mut state = slot.state.lock();
        let mut in_time = true;
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
            if !in_time {
                return Err(Error::Timeout(Phase::Exit));
            }
            state.exit_waiting = state.exit_waiting.saturating_add(1);
            state.credit_unread(unread);
            if state.enqueue() {
                drop(state);
                self.core().post_slot(slot);
                state = slot.state.lock();
            } else {
                (state, in_time) = wait.step(slot, state);
            }
            state.exit_waiting = state.exit_waiting.saturating_sub(1);
        }
    }

    /// Keeps `thing` until the channel is closed or the transport ends.
    pub(crate) fn hold(&self, thing: impl Any + Send) {
        let mut state = self.0.slot.state.lock();
        if !state.over() {
            state.held.push(Box::new(thing));
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

    /// For somebody who asks for much at once.
    pub(crate) fn intake(&self) -> Intake {
        Intake(Arc::clone(&self.0.slot))
    }

    /// Waits until a read of either stream would return at once; false at the deadline.
    pub(crate) fn wait_readable(&self, deadline: Option<Instant>) -> bool {
        let slot = &self.0.slot;
        let mut wait = self.wait(Side::Incoming, deadline);
        let mut state = slot.state.lock();
        let mut in_time = true;
        while !state.readable(Lane::Data) && !state.readable(Lane::Stderr) {
            if !in_time {
                return false;
            }
            (state, in_time) = wait.step(slot, state);
        }
        true
    }

    /// Raises `signal` at every change from now on, as long as it and what is returned live.
    pub(crate) fn watch(&self, signal: &Arc<Signal>) -> Watch {
        self.0.slot.state.lock().watchers.push(Arc::downgrade(signal));
        self.core().turn.keep();
        Watch(Arc::clone(self.core()))
    }
}

/// What a channel takes in. Does not keep it open.
#[derive(Debug)]
pub(crate) struct Intake(Arc<Slot>);

impl Intake {
    /// How many bytes come in with nobody reading, at least.
    pub(crate) fn capacity(&self) -> usize {
        self.0.state.lock().flow.capacity()
    }

    /// Whether what is written from now on asks for one thing of many that are on their way. If so, what comes is a
    /// flow, and not a dialogue.
    pub(crate) fn asks_ahead(&self, ahead: bool) {
        self.0.state.lock().asks_ahead = ahead;
    }
}

/// Somebody wants to be called when a channel changes.
pub(crate) struct Watch(Arc<Core>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.turn.release();
    }
}
