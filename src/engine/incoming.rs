//! What the peer opens and asks, on its way to the application, and the answers on their way back.
//!
//! SSH answers carry no number, so they must leave in the order of the questions, whoever answers
//! first: each scope (the connection, each channel) has one queue of tickets.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::channel_link::ChannelLink;
use super::core::Core;
use super::lanes::Concerns;
use super::link::Link;
use super::slot::{Phase, Slot};
use super::sync::Mutex;
use crate::error::{Error, Result};
use crate::msg::connection::{
    ChannelFailure, ChannelOpen, ChannelOpenConfirmation, ChannelOpenFailure, ChannelSuccess, RequestFailure,
    RequestSuccess,
};
use crate::wire::{Encode, Escaped, Rest};

/// Something for the application to decide.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The peer wants to open a channel.
    Open(OpenRequest),
    /// The peer asks something on a channel.
    Channel { slot: Arc<Slot>, kind: String, rest: Vec<u8>, reply: Reply },
    /// The peer asks something of the connection.
    Global { kind: String, rest: Vec<u8>, reply: Reply },
}

/// Answers in the order of the questions; `None` is not yet answered.
#[derive(Debug, Default)]
pub(super) struct Tickets(Mutex<TicketQueue>);

#[derive(Debug, Default)]
struct TicketQueue {
    first: u64,
    answers: VecDeque<Option<Vec<u8>>>,
    /// Somebody posts what may leave. Two who did would post out of order: no lock is held meanwhile.
    posting: bool,
}

impl Tickets {
    /// Takes a ticket for a question that just arrived; an error when `limit` are out.
    fn take(&self, limit: usize) -> Result<u64> {
        let mut queue = self.0.lock();
        if queue.answers.len() >= limit {
            return Err(Error::Limit { which: "owed_answers", limit: limit as u64 });
        }
        let ticket = queue.first.saturating_add(queue.answers.len() as u64);
        queue.answers.push_back(None);
        Ok(ticket)
    }

    /// Notes an answer, and posts those that may leave now, in order. If another thread is at that, it
    /// posts this one too.
    fn answer(&self, ticket: u64, payload: Vec<u8>, post: impl Fn(Vec<u8>)) {
        let mut queue = self.0.lock();
        let at = usize::try_from(ticket.saturating_sub(queue.first)).unwrap_or(usize::MAX);
        if let Some(answer) = queue.answers.get_mut(at) {
            *answer = Some(payload);
        }
        if std::mem::replace(&mut queue.posting, true) {
            return;
        }
        while let Some(payload) = queue.next() {
            drop(queue);
            post(payload);
            queue = self.0.lock();
        }
        queue.posting = false;
    }
}

impl TicketQueue {
    /// The next answer that may leave.
    fn next(&mut self) -> Option<Vec<u8>> {
        let answer = self.answers.front_mut()?.take()?;
        self.answers.pop_front();
        self.first = self.first.saturating_add(1);
        Some(answer)
    }
}

/// Where a question was asked.
#[derive(Clone)]
enum Scope {
    Connection,
    Channel(Arc<Slot>),
}

/// The answer that the application owes the peer; dropped is refused.
pub(crate) struct Reply {
    core: Arc<Core>,
    scope: Scope,
    /// None: the peer wants no answer.
    ticket: Option<u64>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({:?})", self.ticket)
    }
}

impl Reply {
    pub(super) fn global(core: &Arc<Core>, want_reply: bool) -> Result<Self> {
        Self::new(core, Scope::Connection, &core.global_tickets, want_reply)
    }

    pub(super) fn channel(core: &Arc<Core>, slot: &Arc<Slot>, want_reply: bool) -> Result<Self> {
        Self::new(core, Scope::Channel(Arc::clone(slot)), &slot.tickets, want_reply)
    }

    fn new(core: &Arc<Core>, scope: Scope, tickets: &Tickets, want_reply: bool) -> Result<Self> {
        let ticket = want_reply.then(|| tickets.take(core.limits.owed_answers)).transpose()?;
        Ok(Self { core: Arc::clone(core), scope, ticket })
    }

    /// Yes, with `rest` behind REQUEST_SUCCESS (global requests only).
    pub(crate) fn accept(mut self, rest: &[u8]) {
        self.send(Some(rest));
    }

    /// No.
    pub(crate) fn refuse(mut self) {
        self.send(None);
    }

    fn send(&mut self, yes: Option<&[u8]>) {
        let Some(ticket) = self.ticket.take() else { return };
        let core = &self.core;
        match &self.scope {
            Scope::Connection => {
                let payload = match yes {
                    Some(rest) => RequestSuccess { rest: Rest(rest) }.to_vec(),
                    None => RequestFailure {}.to_vec(),
                };
                core.global_tickets
                    .answer(ticket, payload, |payload| core.post_control(payload, Concerns::Nobody));
            }
            Scope::Channel(slot) => {
                let recipient = slot.state.lock().remote;
                let payload = match yes {
                    Some(_) => ChannelSuccess { recipient }.to_vec(),
                    None => ChannelFailure { recipient }.to_vec(),
                };
                slot.tickets.answer(ticket, payload, |payload| {
                    core.post_control(payload, Concerns::Channel(Arc::clone(slot)));
                });
            }
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.send(None);
    }
}

/// A channel that the peer wants to open; dropped is refused.
pub(crate) struct OpenRequest {
    core: Arc<Core>,
    pub(crate) kind: String,
    /// What follows the fields that every kind has.
    pub(crate) rest: Vec<u8>,
    sender: u32,
    window: u32,
    max_packet: u32,
    answered: bool,
}

impl fmt::Debug for OpenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenRequest({:?})", self.kind)
    }
}

/// Does what a channel is for, from its request to its end; gives it back, if it came to be. It is closed
/// when its place is free, so that the peer never knows of the end before.
type RunChannel = Box<dyn Fn(OpenRequest, &Link) -> Option<ChannelLink> + Send + Sync>;

/// Whether a channel that the peer opens is one that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    No,
    /// If nobody else waits for one like it.
    Perhaps,
    Yes,
}

/// Tells that by what came with the request. Asked by the reader.
type Fits = Box<dyn Fn(&[u8]) -> Fit + Send + Sync>;

/// Takes channels of one kind that the peer opens, on a thread each.
pub(super) struct ChannelTaker {
    pub(super) kind: &'static str,
    limit: usize,
    live: AtomicUsize,
    fits: Fits,
    run: RunChannel,
}

impl ChannelTaker {
    pub(super) fn new(
        kind: &'static str,
        limit: usize,
        fits: impl Fn(&[u8]) -> Fit + Send + Sync + 'static,
        run: impl Fn(OpenRequest, &Link) -> Option<ChannelLink> + Send + Sync + 'static,
    ) -> Self {
        Self { kind, limit, live: AtomicUsize::new(0), fits: Box::new(fits), run: Box::new(run) }
    }

    /// Who of `takers`, the newest of whom is the last, takes the channel.
    pub(super) fn of(takers: &[Arc<Self>], request: &OpenRequest) -> Option<Arc<Self>> {
        let mut perhaps = Vec::new();
        for taker in takers.iter().rev().filter(|taker| taker.kind == request.kind) {
            match (taker.fits)(&request.rest) {
                Fit::Yes => return Some(Arc::clone(taker)),
                Fit::Perhaps => perhaps.push(taker),
                Fit::No => {}
            }
        }
        match perhaps[..] {
            [only] => Some(Arc::clone(only)),
            _ => None,
        }
    }

    /// Called by the reader: never waits.
    pub(super) fn take(self: Arc<Self>, request: OpenRequest) {
        if self.live.fetch_add(1, Ordering::SeqCst) >= self.limit {
            self.live.fetch_sub(1, Ordering::SeqCst);
            return request.refuse(RESOURCE_SHORTAGE, "too many channels of this kind");
        }
        let link = Link::aside(Arc::clone(&request.core));
        let live = Live(self);
        let started = super::spawn("feramiko channel", move || {
            let open = (live.0.run)(request, &link);
            drop(live);
            drop(open);
        });
        if let Err(error) = started {
            log::warn!(target: "feramiko::connection", "a channel of the peer's: {error}");
        }
    }
}

/// One that runs, or is about to.
struct Live(Arc<ChannelTaker>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// RFC 4254 §5.1.
pub(crate) const ADMINISTRATIVELY_PROHIBITED: u32 = 1;
pub(crate) const CONNECT_FAILED: u32 = 2;
pub(crate) const UNKNOWN_CHANNEL_TYPE: u32 = 3;
pub(crate) const RESOURCE_SHORTAGE: u32 = 4;

impl OpenRequest {
    pub(super) fn new(core: &Arc<Core>, message: &ChannelOpen<'_>) -> Self {
        Self {
            core: Arc::clone(core),
            kind: message.kind.to_string(),
            rest: message.rest.0.to_vec(),
            sender: message.sender,
            window: message.window,
            max_packet: message.max_packet,
            answered: false,
        }
    }

    /// Opens it. The link keeps the connection alive, as every handle does.
    pub(crate) fn accept(mut self, link: &Link) -> Option<ChannelLink> {
        self.answered = true;
        let Ok(slot) = self.core.new_slot(&self.kind) else {
            self.send_refusal(RESOURCE_SHORTAGE, "too many channels");
            return None;
        };
        let mut state = slot.state.lock();
        state.remote = self.sender;
        state.flow.opened(self.window, self.max_packet);
        state.phase = Phase::Open;
        drop(state);
        self.core.post(&ChannelOpenConfirmation {
            recipient: self.sender,
            sender: slot.local,
            window: super::flow::WINDOW,
            max_packet: super::flow::MAX_PACKET,
            rest: Rest(b""),
        });
        Some(ChannelLink::new(slot, link.clone()))
    }

    /// Refuses it with one of the codes of RFC 4254 §5.1.
    pub(crate) fn refuse(mut self, code: u32, text: &str) {
        self.answered = true;
        self.send_refusal(code, text);
    }

    fn send_refusal(&self, code: u32, text: &str) {
        let text = Escaped(text.as_bytes());
        self.core.post(&ChannelOpenFailure { recipient: self.sender, code, text, language: b"" });
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if !self.answered {
            self.send_refusal(ADMINISTRATIVELY_PROHIBITED, "refused");
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn answers_are_posted_in_order_whoever_answers_while_one_is_posted() {
        let (tickets, posted) = (Tickets::default(), Mutex::new(Vec::new()));
        let [first, second, third] = [0; 3].map(|_| tickets.take(3).unwrap());
        let post = |payload: Vec<u8>| posted.lock().extend(payload);
        tickets.answer(first, vec![1], |payload| {
            // Another thread answers the next question in between; this one posts both.
            if payload == [1] {
                tickets.answer(second, vec![2], post);
            }
            post(payload);
        });
        assert_eq!(*posted.lock(), [1, 2]);
        tickets.answer(third, vec![3], post);
        assert_eq!(*posted.lock(), [1, 2, 3]);
    }
}
