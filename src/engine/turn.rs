//! Whose turn it is to read a connection: the reader thread's, or that of the one user who waits for what the
//! peer sends, so that nobody need be woken for it. Where several wait, where somebody is called rather than
//! waits, and where nobody comes for a while, the reader thread reads.
//!
//! Nobody is left waiting: who waits without reading calls the reader thread back, and who waits while another
//! user reads is served by him, and by the reader thread as soon as that one has what he came for.
//!
//! Knows nothing of what is read, nor what anybody waits for.

use std::sync::Arc;
use std::time::Instant;

use super::lease::Lease;
use super::sync::{Condvar, Mutex, MutexGuard, ThreadId, thread_id};

/// Ends a wait for the connection that another thread is in, or its next one.
pub(super) type Interrupt = Arc<dyn Fn() + Send + Sync>;

/// Who reads. Its lock is taken for a few instructions at a time, and no other one under it.
pub(super) struct Turn<R, W> {
    state: Mutex<State<R, W>>,
    /// The reader thread is wanted.
    back: Condvar,
    interrupt: Option<Interrupt>,
}

struct State<R, W> {
    /// None while somebody reads.
    reader: Option<R>,
    /// Whether users may read, where nobody wants to be called.
    shared: bool,
    /// Those who want to be called rather than wait.
    called: usize,
    /// The user who reads, and what for.
    user: Option<(ThreadId, Option<W>)>,
    /// How many turns users have had.
    turns: u64,
    /// Those who wait and do not read.
    waiting: usize,
    /// What for, where there is one and that is known.
    waits_for: Option<W>,
    /// One of them has been woken and is about to leave.
    woken: bool,
    /// The reader thread sleeps until the user who reads is done.
    rests: bool,
    ended: bool,
}

/// What somebody who waits does.
pub(super) enum Place<'a, R, W> {
    /// Read, until what he waits for has come.
    Reads(Reads<'a, R, W>),
    /// Sleep, until whoever reads wakes him.
    Waits(#[expect(dead_code, reason = "it is only held")] Waits<'a, R, W>),
}

/// A user's turn.
pub(super) struct Reads<'a, R, W> {
    turn: &'a Turn<R, W>,
    /// None only once it is dropped.
    reader: Option<R>,
}

/// One who waits and does not read.
pub(super) struct Waits<'a, R, W>(&'a Turn<R, W>);

impl<R, W> Turn<R, W> {
    /// Users may read where their waits can be ended.
    pub(super) fn new(interrupt: Option<Interrupt>) -> Self {
        let state = State {
            reader: None,
            shared: interrupt.is_some(),
            called: 0,
            user: None,
            turns: 0,
            waiting: 0,
            waits_for: None,
            woken: false,
            rests: false,
            ended: false,
        };
        Self { state: Mutex::new(state), back: Condvar::new(), interrupt }
    }

    // ---- users

    /// A place for somebody who waits for `waits_for`, if that has a name. He looks once more whether it has come
    /// before he reads or sleeps.
    pub(super) fn enter(&self, waits_for: Option<W>) -> Place<'_, R, W> {
        let mut state = self.state.lock();
        if state.may_share() && state.waiting == 0 && state.reader.is_some() {
            state.user = Some((thread_id(), waits_for));
            state.turns = state.turns.wrapping_add(1);
            return Place::Reads(Reads { turn: self, reader: state.reader.take() });
        }
        Place::Waits(self.wait(state, waits_for))
    }

    /// A place for somebody who waits for what nobody is interrupted for, and so cannot read.
    pub(super) fn aside(&self) -> Waits<'_, R, W> {
        self.wait(self.state.lock(), None)
    }

    fn wait(&self, mut state: MutexGuard<'_, State<R, W>>, waits_for: Option<W>) -> Waits<'_, R, W> {
        state.waiting = state.waiting.saturating_add(1);
        state.waits_for = waits_for.filter(|_| state.waiting == 1);
        state.woken = false;
        if state.reader.is_some() {
            self.back.notify_one();
        }
        Waits(self)
    }

    /// From now on only the reader thread reads, until [`release`](Self::release): somebody wants to be called at once.
    pub(super) fn keep(&self) {
        let mut state = self.state.lock();
        state.called = state.called.saturating_add(1);
        drop(state);
        self.back.notify_one();
    }

    /// One of those who called [`keep`](Self::keep) does not want that any longer.
    pub(super) fn release(&self) {
        let mut state = self.state.lock();
        state.called = state.called.saturating_sub(1);
    }

    /// Something has changed that did not come from the peer: a user who reads and waits for what `concerns` says
    /// looks whether he is to go on.
    pub(super) fn interrupt(&self, concerns: impl FnOnce(&W) -> bool) {
        let concerned = self.is_user_for(concerns);
        if let Some(interrupt) = self.interrupt.as_ref().filter(|_| concerned) {
            interrupt();
        }
    }

    /// Whether another thread is the user who reads, and waits for what `concerns` says.
    pub(super) fn is_user_for(&self, concerns: impl FnOnce(&W) -> bool) -> bool {
        match &self.state.lock().user {
            // Who changes something himself looks anyway.
            Some((user, waits_for)) if *user != thread_id() => waits_for.as_ref().is_some_and(concerns),
            _ => false,
        }
    }

    /// The connection has ended: nobody reads it any more.
    pub(super) fn end(&self) {
        let read = {
            let mut state = self.state.lock();
            state.ended = true;
            state.user.is_some()
        };
        self.back.notify_one();
        if let Some(interrupt) = self.interrupt.as_ref().filter(|_| read) {
            interrupt();
        }
    }

    // ---- the reader thread

    /// Leaves the connection to whoever reads it first.
    pub(super) fn leave(&self, reader: R) {
        self.state.lock().reader = Some(reader);
    }

    /// The reader thread has nothing to do, having woken somebody who waited for what is `woken`: unless others wait
    /// too, the connection is left to users, as long as they come. Returns when it is the thread's again.
    pub(super) fn lend(&self, reader: R, woken: impl FnOnce(&W) -> bool) -> R {
        let mut state = self.state.lock();
        let nobody_left = match state.waiting {
            0 => true,
            1 => state.waits_for.as_ref().is_some_and(woken),
            _ => false,
        };
        if !nobody_left || !state.may_share() || state.ended {
            return reader;
        }
        state.woken = state.waiting == 1;
        state.reader = Some(reader);
        self.await_turn(state)
    }

    /// Waits until the connection is the reader thread's.
    pub(super) fn resume(&self) -> R {
        self.await_turn(self.state.lock())
    }

    fn await_turn(&self, mut state: MutexGuard<'_, State<R, W>>) -> R {
        let mut lease = Lease::default();
        let mut seen = state.turns;
        loop {
            let turns = state.turns;
            let unused = match state.reader {
                // One user has the turn since the last look: it may be long until he is done.
                None if turns == seen => {
                    state.rests = true;
                    self.back.wait(&mut state);
                    state.rests = false;
                    lease.end();
                    false
                }
                // They come and go, and need not call for that.
                None => {
                    self.pause(&mut state, &mut lease);
                    false
                }
                Some(_) if state.is_called() => false,
                Some(_) => self.pause(&mut state, &mut lease) && state.turns == turns,
            };
            if (unused || state.is_called())
                && let Some(reader) = state.reader.take()
            {
                return reader;
            }
            seen = turns;
        }
    }

    /// Sleeps for a while; false when called before.
    fn pause(&self, state: &mut MutexGuard<'_, State<R, W>>, lease: &mut Lease) -> bool {
        match lease.next_look(Instant::now()) {
            Some(until) => self.back.wait_until(state, until).timed_out(),
            None => true,
        }
    }
}

impl<R, W> State<R, W> {
    /// Whether the reader thread is to read, if nobody does.
    fn is_called(&self) -> bool {
        self.waiting > usize::from(self.woken) || !self.may_share() || self.ended
    }

    fn may_share(&self) -> bool {
        self.shared && self.called == 0
    }
}

impl<R, W> Reads<'_, R, W> {
    /// What reads.
    pub(super) fn reader(&mut self) -> Option<&mut R> {
        self.reader.as_mut()
    }
}

impl<R, W> Drop for Reads<'_, R, W> {
    fn drop(&mut self) {
        let mut state = self.turn.state.lock();
        state.reader = self.reader.take();
        state.user = None;
        if state.rests || state.is_called() {
            self.turn.back.notify_one();
        }
    }
}

impl<R, W> Drop for Waits<'_, R, W> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.waiting = state.waiting.saturating_sub(1);
        state.waits_for = None;
        state.woken = false;
    }
}
