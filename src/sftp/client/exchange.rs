//! Requests and answers of one SFTP connection that any number of threads share, with no thread of its own.
//!
//! Whoever waits and finds nobody reading reads, and hands others what is theirs; who writes writes for all
//! that queue meanwhile. Both halves of the stream are tokens in one lock, taken out while they are used:
//! nobody waits with the lock.
//!
//! Nobody can wait for ever for a server that itself waits until somebody reads: what the answers to all
//! requests under way may hold is kept below what the stream takes in without a reader.
//!
//! Knows packets by their first nine bytes only.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::incoming::{Incoming, Reply, Wait, caught};
use super::outgoing::write_all;
use crate::engine::{Closer, WriteHalf};
use crate::error::{Error, Phase, Result};
use crate::sftp::packet::message::{self, Close};
use crate::wire::Reader;

/// What one answer may hold besides data: a handle, attributes, a status with some words.
pub(in crate::sftp) const SMALL_ANSWER: usize = 1024;
/// Bytes of requests that wait for the one who writes; who has more waits.
const MAX_QUEUED: usize = 1024 * 1024;
/// Requests under way, those included that nobody waits for any more: a server that answers none is given up.
const MAX_PENDING: usize = 65_536;
/// Buffers kept for requests and answers to come.
const MAX_SPARE: usize = 16;
/// How long who reads trusts that another one, who writes at that moment, does not give up: nothing else wakes
/// a reader for what that one leaves in the queue.
const LOOK_UP: Duration = Duration::from_secs(1);
/// Answers that are taken in at once, before they are looked at.
const AT_ONCE: usize = 64;
/// Bytes of them.
const BYTES_AT_ONCE: usize = 1024 * 1024;
/// While answers may hold so much, what comes is a flow and not a dialogue: most of it was asked for long before.
const AHEAD: usize = 1024 * 1024;
/// Below this requests are joined, so that many small ones are written at once.
const JOINED: usize = 32 * 1024;

/// A request that has not been answered.
struct Pending {
    /// Who waits; nobody any more when it gave up.
    owner: Option<u64>,
    /// What the owner knows it by.
    tag: u64,
    /// What its answer may hold.
    expected: usize,
}

/// What has come for one waiter.
struct Inbox {
    arrived: VecDeque<(u64, Reply)>,
    wake: Arc<Condvar>,
    /// Requests of its own under way.
    pending: usize,
}

/// Guarded by the exchange's lock, taken by every caller for a few instructions at a time.
struct State {
    pending: HashMap<u32, Pending>,
    next_id: u32,
    inboxes: HashMap<u64, Inbox>,
    next_inbox: u64,
    /// Those who wait and do not read.
    waiting: Vec<u64>,
    /// Those who wait for room to ask something more.
    starved: Vec<u64>,
    /// Taken out by who reads.
    incoming: Option<Incoming>,
    /// Taken out by who writes.
    outgoing: Option<Box<dyn WriteHalf>>,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    /// What the answers under way may hold.
    expected: usize,
    spare: Vec<Vec<u8>>,
    dead: Option<Error>,
}

/// What carries the session, as far as it concerns how much is asked for at once.
pub(in crate::sftp) trait Carrier: Send + Sync {
    /// How much the answers under way may hold together, in bytes.
    fn capacity(&self) -> usize;

    /// Whether the requests that follow ask for one answer of many that are on their way.
    fn asks_ahead(&self, ahead: bool);
}

/// A connection's requests and answers.
pub(in crate::sftp) struct Exchange {
    state: Mutex<State>,
    closer: Arc<dyn Closer>,
    carrier: Box<dyn Carrier>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.closer.close();
    }
}

impl Exchange {
    pub(in crate::sftp) fn new(
        incoming: Incoming,
        outgoing: Box<dyn WriteHalf>,
        closer: Arc<dyn Closer>,
        carrier: Box<dyn Carrier>,
    ) -> Arc<Self> {
        let state = State {
            pending: HashMap::new(),
            next_id: 0,
            inboxes: HashMap::new(),
            next_inbox: 0,
            waiting: Vec::new(),
            starved: Vec::new(),
            incoming: Some(incoming),
            outgoing: Some(outgoing),
            queue: VecDeque::new(),
            queued: 0,
            expected: 0,
            spare: Vec::new(),
            dead: None,
        };
        Arc::new(Self { state: Mutex::new(state), closer, carrier })
    }

    /// Ends it; every waiter returns.
    pub(in crate::sftp) fn close(&self) {
        self.die(&mut self.state.lock(), Error::Closed(None));
    }

    /// The first cause stays.
    fn die(&self, state: &mut State, cause: Error) {
        if state.dead.is_none() {
            state.dead = Some(cause);
            state.pending.clear();
            state.queue.clear();
            // Wakes who is blocked in a half; neither waits nor calls back.
            self.closer.close();
            for inbox in state.inboxes.values() {
                inbox.wake.notify_one();
            }
        }
    }

    /// What is to be said of a server that breaks a rule: it is not spoken to again.
    pub(in crate::sftp) fn broken_by_peer(&self, error: Error) -> Error {
        self.die(&mut self.state.lock(), error.clone());
        error
    }

    /// How much the answers under way may hold together.
    pub(in crate::sftp) fn capacity(&self) -> usize {
        self.carrier.capacity()
    }

    /// Takes back the buffer of an answer.
    pub(in crate::sftp) fn recycle(&self, body: Vec<u8>) {
        self.state.lock().keep(body);
    }

    /// Lets go of an answer that nobody has a use for.
    pub(in crate::sftp) fn discard(&self, reply: &Reply) {
        self.state.lock().discard(reply);
    }

    /// A buffer for a request, empty. One that was used before costs no new pages.
    pub(in crate::sftp) fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.state.lock().spare.pop().unwrap_or_default();
        buffer.clear();
        buffer
    }

    /// Sends a request whose answer nobody waits for, as far as that goes without waiting; the rest leaves
    /// with the next request.
    pub(in crate::sftp) fn tell(&self, packet: Vec<u8>) {
        let mut state = self.state.lock();
        if state.dead.is_none() {
            state.register(None, 0, SMALL_ANSWER, packet);
            drop(state);
            // A deadline that has passed: what cannot leave at once stays in the queue.
            let _ = self.write_queued(Some(Instant::now()));
        }
    }

    /// Waits until `ready` finds what it waits for; reads meanwhile if nobody else does.
    fn wait<T>(
        &self,
        key: u64,
        deadline: Option<Instant>,
        mut ready: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(found) = ready(&mut state) {
                state.pass_on_reading();
                return Ok(found);
            }
            if let Some(cause) = &state.dead {
                return Err(closed_by(cause));
            }
            // What somebody gave up writing, ours perhaps among it.
            if !state.queue.is_empty() && state.outgoing.is_some() {
                MutexGuard::unlocked(&mut state, || self.write_queued(deadline))?;
                continue;
            }
            if let Some(mut incoming) = state.incoming.take() {
                let mut spare = state.spare.pop();
                let look_up = state.outgoing.is_none().then(|| Instant::now().checked_add(LOOK_UP)).flatten();
                let until = [deadline, look_up].into_iter().flatten().min();
                let read = MutexGuard::unlocked(&mut state, || {
                    caught(|| incoming.next(Wait::Until(until), &mut spare))
                });
                state.incoming = Some(incoming);
                state.spare.extend(spare);
                match read {
                    Ok(reply) => self.route(&mut state, reply),
                    Err(Error::Timeout(_)) if until != deadline => {}
                    Err(Error::Timeout(phase)) => {
                        state.pass_on_reading();
                        return Err(Error::Timeout(phase));
                    }
                    Err(error) => self.die(&mut state, error),
                }
            } else if !sleep(&mut state, key, deadline) {
                let found = ready(&mut state);
                // Who was woken to read, and gives up, passes it on.
                state.pass_on_reading();
                return found.ok_or(Error::Timeout(Phase::Request));
            }
        }
    }

    /// Hands out what is there already, without waiting: many answers are then one wake-up.
    fn take_in(&self) {
        let mut state = self.state.lock();
        let Some(mut incoming) = state.incoming.take() else { return };
        let mut spare = std::mem::take(&mut state.spare);
        let (replies, end) = MutexGuard::unlocked(&mut state, || {
            let (mut replies, mut bytes) = (Vec::new(), 0_usize);
            while replies.len() < AT_ONCE && bytes < BYTES_AT_ONCE {
                let mut body = spare.pop();
                let reply = caught(|| incoming.next(Wait::No, &mut body));
                spare.extend(body);
                match reply {
                    Ok(reply) => {
                        bytes = bytes.saturating_add(reply.body.len());
                        replies.push(reply);
                    }
                    Err(error) => return (replies, Err(error)),
                }
            }
            (replies, Ok(()))
        });
        state.incoming = Some(incoming);
        state.spare.append(&mut spare);
        for reply in replies {
            self.route(&mut state, reply);
        }
        match end {
            Ok(()) | Err(Error::Timeout(_)) => {}
            Err(error) => self.die(&mut state, error),
        }
        state.pass_on_reading();
    }

    /// Hands an answer to who asked.
    fn route(&self, state: &mut State, reply: Reply) {
        let Some(pending) = state.pending.remove(&reply.id) else {
            let text = format!("an SFTP answer to request {}, which was not made", reply.id);
            return self.die(state, Error::protocol(text));
        };
        state.expected = state.expected.saturating_sub(pending.expected);
        state.wake_starved();
        match pending.owner.and_then(|owner| state.inboxes.get_mut(&owner)) {
            Some(inbox) => {
                inbox.arrived.push_back((pending.tag, reply));
                inbox.wake.notify_one();
            }
            None => state.discard(&reply),
        }
    }

    /// Writes what is queued, unless somebody is at it: then that one does.
    fn write_queued(&self, deadline: Option<Instant>) -> Result<()> {
        let mut state = self.state.lock();
        while !state.queue.is_empty() {
            let Some(mut outgoing) = state.outgoing.take() else { return Ok(()) };
            if state.others_are_busy() {
                MutexGuard::unlocked(&mut state, std::thread::yield_now);
            }
            let mut packets = std::mem::take(&mut state.queue);
            let mut done = Vec::new();
            let ahead = state.expected >= AHEAD;
            let written = MutexGuard::unlocked(&mut state, || {
                self.carrier.asks_ahead(ahead);
                caught(|| write_all(&mut *outgoing, &mut packets, &mut done, deadline))
            });
            state.outgoing = Some(outgoing);
            done.into_iter().for_each(|buffer| state.keep(buffer));
            state.queued = packets.iter().chain(&state.queue).map(Vec::len).sum();
            state.wake_starved();
            match written {
                Ok(()) => {}
                Err(Error::Timeout(phase)) => {
                    // The rest keeps its place before what others have queued since.
                    packets.append(&mut state.queue);
                    state.queue = packets;
                    state.pass_on_writing();
                    return Err(Error::Timeout(phase));
                }
                Err(error) => {
                    self.die(&mut state, error);
                    return Err(self.cause(&state));
                }
            }
        }
        Ok(())
    }

    fn cause(&self, state: &State) -> Error {
        state.dead.as_ref().map_or(Error::Closed(None), closed_by)
    }
}

/// What later calls say of a connection that has ended.
fn closed_by(cause: &Error) -> Error {
    match cause {
        Error::Closed(_) => cause.clone(),
        cause => Error::Closed(Some(Arc::new(cause.clone()))),
    }
}

/// Waits without reading; false at the deadline.
fn sleep(state: &mut MutexGuard<'_, State>, key: u64, deadline: Option<Instant>) -> bool {
    let Some(wake) = state.inboxes.get(&key).map(|inbox| Arc::clone(&inbox.wake)) else { return false };
    state.waiting.push(key);
    let in_time = match deadline {
        None => {
            wake.wait(state);
            true
        }
        Some(deadline) => !wake.wait_until(state, deadline).timed_out(),
    };
    state.waiting.retain(|waiting| *waiting != key);
    in_time
}

impl State {
    /// Whether callers besides the one who writes and the one who reads are not waiting: they may be about to
    /// ask something that can leave together with what is queued.
    fn others_are_busy(&self) -> bool {
        let reads = usize::from(self.incoming.is_none());
        self.inboxes.len() > self.waiting.len().saturating_add(reads).saturating_add(1)
    }

    /// Drops an answer that nobody waits for. A file that was opened for nobody is closed again.
    fn discard(&mut self, reply: &Reply) {
        let handle = Reader::new(&reply.body).string();
        if let (message::Handle::NUMBER, Ok(handle), None) = (reply.kind, handle, &self.dead) {
            self.register(None, 0, SMALL_ANSWER, message::framed(&Close { id: 0, handle }));
        }
    }

    /// Keeps a large buffer for later.
    fn keep(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > SMALL_ANSWER && self.spare.len() < MAX_SPARE {
            self.spare.push(buffer);
        }
    }

    /// Wakes one who can read when nobody does.
    fn pass_on_reading(&self) {
        if self.incoming.is_some() {
            self.wake(self.waiting.first());
        }
    }

    /// Wakes one who can go on with what was given up.
    fn pass_on_writing(&self) {
        self.wake(self.waiting.last());
    }

    fn wake(&self, key: Option<&u64>) {
        if let Some(inbox) = key.and_then(|key| self.inboxes.get(key)) {
            inbox.wake.notify_one();
        }
    }

    /// They look whether there is room now.
    fn wake_starved(&mut self) {
        for key in std::mem::take(&mut self.starved) {
            self.wake(Some(&key));
        }
    }

    /// Gives a packet its number and queues it.
    fn register(&mut self, owner: Option<u64>, tag: u64, expected: usize, mut packet: Vec<u8>) {
        // Numbers that are still under way are passed over.
        while self.pending.contains_key(&self.next_id) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        if let Some(place) = packet.get_mut(5..9) {
            place.copy_from_slice(&id.to_be_bytes());
        }
        self.expected = self.expected.saturating_add(expected);
        self.pending.insert(id, Pending { owner, tag, expected });
        self.queued = self.queued.saturating_add(packet.len());
        match self.queue.back_mut() {
            Some(last) if last.len().saturating_add(packet.len()) <= JOINED => last.append(&mut packet),
            _ => self.queue.push_back(packet),
        }
    }
}

/// Where one caller's answers arrive. What it still waits for when it is dropped is nobody's.
#[derive(Debug)]
pub(in crate::sftp) struct Mailbox {
    exchange: Arc<Exchange>,
    key: u64,
}

impl Mailbox {
    pub(in crate::sftp) fn new(exchange: &Arc<Exchange>) -> Self {
        let mut state = exchange.state.lock();
        let key = state.next_inbox;
        state.next_inbox = key.wrapping_add(1);
        let inbox = Inbox { arrived: VecDeque::new(), wake: Arc::new(Condvar::new()), pending: 0 };
        state.inboxes.insert(key, inbox);
        drop(state);
        Self { exchange: Arc::clone(exchange), key }
    }

    pub(in crate::sftp) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Queues a framed request, whose number is put in here; the answer, of at most `expected` bytes, comes under
    /// `tag`. It leaves with the next [`flush`](Self::flush), or with somebody's before. Waits while too much is under
    /// way; after a timeout it is in `packet` still, else taken from it.
    pub(in crate::sftp) fn post(
        &self,
        packet: &mut Vec<u8>,
        expected: usize,
        tag: u64,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let capacity = self.exchange.capacity();
        loop {
            let mut state = self.exchange.state.lock();
            if let Some(cause) = &state.dead {
                return Err(closed_by(cause));
            }
            if state.pending.len() >= MAX_PENDING {
                return Err(Error::Limit { which: "SFTP requests under way", limit: MAX_PENDING as u64 });
            }
            let room = |state: &State| {
                let fits = state.expected == 0 || state.expected.saturating_add(expected) <= capacity;
                fits && state.queued < MAX_QUEUED
            };
            if room(&state) {
                state.register(Some(self.key), tag, expected, std::mem::take(packet));
                if let Some(inbox) = state.inboxes.get_mut(&self.key) {
                    inbox.pending = inbox.pending.saturating_add(1);
                }
                return Ok(());
            }
            drop(state);
            // What is queued makes no room before it has left.
            self.exchange.write_queued(deadline)?;
            self.exchange.wait(self.key, deadline, |state| {
                let found = room(state).then_some(());
                if found.is_none() && !state.starved.contains(&self.key) {
                    state.starved.push(self.key);
                }
                found
            })?;
        }
    }

    /// Writes what is queued.
    pub(in crate::sftp) fn flush(&self, deadline: Option<Instant>) -> Result<()> {
        self.exchange.write_queued(deadline)
    }

    /// The next answer to a request of this mailbox, with its tag; waits for it.
    pub(in crate::sftp) fn next(&self, deadline: Option<Instant>) -> Result<(u64, Reply)> {
        let key = self.key;
        self.exchange.wait(key, deadline, |state| state.take(key))
    }

    /// Waits for an answer, and takes all that have come by then.
    pub(in crate::sftp) fn next_all(&self, deadline: Option<Instant>) -> Result<Vec<(u64, Reply)>> {
        let mut all = vec![self.next(deadline)?];
        self.exchange.take_in();
        all.extend(std::iter::from_fn(|| self.try_next()));
        Ok(all)
    }

    /// Does nothing until then, but hands others their answers.
    pub(in crate::sftp) fn pause(&self, until: Instant) -> Result<()> {
        match self.exchange.wait(self.key, Some(until), |_| None::<()>) {
            Ok(()) | Err(Error::Timeout(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The next answer, if one has come.
    pub(in crate::sftp) fn try_next(&self) -> Option<(u64, Reply)> {
        self.exchange.state.lock().take(self.key)
    }
}

impl State {
    fn take(&mut self, key: u64) -> Option<(u64, Reply)> {
        let inbox = self.inboxes.get_mut(&key)?;
        let found = inbox.arrived.pop_front()?;
        inbox.pending = inbox.pending.saturating_sub(1);
        Some(found)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut state = self.exchange.state.lock();
        let Some(inbox) = state.inboxes.remove(&self.key) else { return };
        if inbox.pending > inbox.arrived.len() {
            for pending in state.pending.values_mut().filter(|pending| pending.owner == Some(self.key)) {
                pending.owner = None;
            }
        }
        for (_, reply) in &inbox.arrived {
            state.discard(reply);
        }
        // Who was woken to read, and gives up, passes it on.
        state.pass_on_reading();
    }
}
