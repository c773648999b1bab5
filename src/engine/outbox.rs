//! The outgoing half of the connection: a token that one thread holds at a time, to seal what waits in the lanes
//! and write it.
//!
//! Whoever posts something takes it, where it is free, for what the stream takes at once; a user who has to wait
//! until what he wrote has left also waits for the stream. What they leave is the writer thread's, at once, or, where
//! a user left it who may be back in no time, when he has stayed away for a while. Nobody waits for the token but the
//! writer, and who gives it back looks once more, so that nothing is left lying.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::core::Core;
use super::lanes::{Concerns, Control, Item, KexItem, Lanes, Rekey, Sleep, Stop};
use super::lease::Lease;
use super::pool::Pool;
use super::slot::{Slot, seal_message};
use super::stream::WriteHalf;
use super::sync::{AtomicBool, Condvar, Mutex, MutexGuard, thread_id};
use super::waiting::Side;
use crate::error::Error;
use crate::msg::kex::NewKeys;
use crate::packet::Sealer;

/// How much is sealed before it is written: one system call carries several packets.
const BATCH: usize = 192 * 1024;
/// What is kept for what leaves next; large memory goes back as soon as it is empty.
const KEPT: usize = 8 * 1024;
/// While data flows: a batch, and the piece of a channel that fills it up.
const LARGE: usize = BATCH + 72 * 1024;
/// Who waits for the stream gives up at least this often: the writer looks at its timers, a user lets the writer have
/// the token, which may have to end.
const LOOK: Duration = Duration::from_secs(1);

/// Large buffers that nobody uses: more writers than processors make no use of more.
static FREE: Pool = Pool::new(8);

/// The outgoing half: owned by whoever holds the token.
pub(super) struct Outgoing {
    pub(super) sealer: Sealer,
    stream: Box<dyn WriteHalf>,
    buffer: Vec<u8>,
    written: usize,
}

/// What the writer has to do.
pub(super) enum Due {
    /// To write, or to end.
    Stream,
    /// A timer has passed.
    Timer,
    /// To look at the timers anew.
    Nothing,
}

/// What is left once the stream has taken what it takes at once.
enum Left {
    Nothing,
    /// More than one batch.
    More,
    /// The stream takes no more for now; or the writer is to end and sees to the rest.
    Blocked,
}

pub(super) struct Outbox {
    pub(super) lanes: Mutex<Lanes>,
    wake: Condvar,
    token: Mutex<Outgoing>,
    /// Somebody waits for the stream; see `Core::die`.
    pub(super) blocked: AtomicBool,
    /// A user has written something since the reader asked.
    spoken: AtomicBool,
}

impl Outbox {
    pub(super) fn new(sealer: Sealer, stream: Box<dyn WriteHalf>) -> Self {
        Self {
            lanes: Mutex::new(Lanes {
                rekey: Rekey { last: Some(Instant::now()), ..Rekey::default() },
                ..Lanes::default()
            }),
            wake: Condvar::new(),
            token: Mutex::new(Outgoing { sealer, stream, buffer: Vec::new(), written: 0 }),
            blocked: AtomicBool::new(false),
            spoken: AtomicBool::new(false),
        }
    }

    /// Posts a kex item.
    pub(super) fn post_kex(&self, core: &Core, item: KexItem) {
        self.lanes.lock().kex.push_back(item);
        self.kick(core, None);
    }

    /// Whether an exchange is under way on either side of ours: until both NEWKEYS have passed.
    pub(super) fn rekeying(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.rekeying || lanes.rekey.ours.is_some()
    }

    /// Our KEXINIT of the exchange under way.
    pub(super) fn our_kexinit(&self) -> Option<Vec<u8>> {
        self.lanes.lock().rekey.ours.clone()
    }

    /// Posts `ours` unless an exchange is under way; the KEXINIT that counts.
    pub(super) fn begin_rekey(&self, core: &Core, ours: Vec<u8>) -> Vec<u8> {
        let mut lanes = self.lanes.lock();
        if let Some(earlier) = &lanes.rekey.ours {
            return earlier.clone();
        }
        log::debug!(target: "feramiko::kex", "{}: KEXINIT sent", core.peer);
        (lanes.rekey.ours, lanes.rekey.since) = (Some(ours.clone()), Some(Instant::now()));
        lanes.rekeying = true;
        lanes.kex.push_back(KexItem::Init(ours.clone()));
        self.retime(lanes);
        self.kick(core, None);
        ours
    }

    /// The peer's NEWKEYS arrived; ours has left or is about to.
    pub(super) fn finish_rekey(&self) {
        let mut lanes = self.lanes.lock();
        let count = lanes.rekey.count.saturating_add(1);
        lanes.rekey = Rekey { last: Some(Instant::now()), count, ..Rekey::default() };
        self.retime(lanes);
    }

    /// Wakes the writer, whose next timer may be another now.
    fn retime(&self, mut lanes: MutexGuard<'_, Lanes>) {
        lanes.retime = true;
        self.call(lanes);
    }

    /// Wakes the writer if it sleeps.
    fn call(&self, mut lanes: MutexGuard<'_, Lanes>) {
        if std::mem::take(&mut lanes.writer) != Sleep::Awake {
            drop(lanes);
            self.wake.notify_one();
        }
    }

    /// Posts a control message; an error when the peer lets too many of them wait.
    pub(super) fn post_control(&self, core: &Core, control: Control) -> Result<(), Error> {
        let mut lanes = self.lanes.lock();
        if lanes.stop.is_some() {
            return Ok(());
        }
        lanes.control_bytes = lanes.control_bytes.saturating_add(control.cost());
        if lanes.control_bytes > core.limits.control_bytes {
            return Err(Error::Limit { which: "control_bytes", limit: core.limits.control_bytes as u64 });
        }
        lanes.control.push_back(control);
        drop(lanes);
        self.kick(core, None);
        Ok(())
    }

    /// Posts a channel that has something to send.
    pub(super) fn post_data(&self, core: &Core, slot: &Arc<Slot>) {
        self.lanes.lock().data.push_back(Arc::clone(slot));
        self.kick(core, None);
    }

    /// Posts a channel on which a user has written: he sees to all of it that the stream takes at once.
    pub(super) fn post_written(&self, core: &Core, slot: &Arc<Slot>) {
        self.lanes.lock().data.push_back(Arc::clone(slot));
        self.kick(core, Some(slot));
    }

    /// A user has written something, whoever sends it.
    pub(super) fn speak(&self) {
        self.spoken.store(true, Ordering::Relaxed);
    }

    /// Whether a user has written something since the last call.
    pub(super) fn take_spoken(&self) -> bool {
        self.spoken.swap(false, Ordering::Relaxed)
    }

    /// Tells the writer to end.
    pub(super) fn stop(&self, stop: Stop) {
        let mut lanes = self.lanes.lock();
        if lanes.stop.as_ref().is_none_or(|old| old.flush_until.is_some() && stop.flush_until.is_none()) {
            lanes.stop = Some(stop);
        }
        let mut unsent = VecDeque::new();
        if lanes.stop.as_ref().is_some_and(|stop| stop.flush_until.is_none()) {
            // Nothing of it will leave; who waits for an answer has to learn that.
            unsent = std::mem::take(&mut lanes.control);
        }
        lanes.writer = Sleep::Awake;
        drop(lanes);
        drop(unsent);
        self.wake.notify_one();
    }

    /// Something was posted: does it at once if nobody is at it, up to a batch, or all of what was `written`.
    fn kick(&self, core: &Core, written: Option<&Slot>) {
        while let Some(mut outgoing) = self.token.try_lock() {
            // As on the writer's thread: the stream may be a user's own, and this thread anybody's.
            let left = catch_unwind(AssertUnwindSafe(|| self.drain_now(core, &mut outgoing)))
                .unwrap_or(Err(Error::Misuse("the stream that carries the transport panicked")));
            drop(outgoing);
            match left {
                Err(error) => return core.die(error),
                Ok(Left::Nothing) if self.lanes.lock().has_work() => {}
                Ok(Left::Nothing) => return,
                Ok(Left::More) if written.is_some_and(|slot| slot.state.lock().outbound() > 0) => {}
                Ok(Left::Blocked) if written.is_some() => return self.leave(),
                Ok(Left::More | Left::Blocked) => return self.wake_writer(),
            }
        }
    }

    /// A user who waits until what he wrote has left sees to it himself: he writes a batch, or waits for the stream.
    /// None where somebody else is at it, or nothing may leave; false at the deadline.
    pub(super) fn carry(&self, core: &Core, deadline: Option<Instant>) -> Option<bool> {
        {
            let lanes = self.lanes.lock();
            if lanes.stop.is_some() || !lanes.is_due() {
                return None;
            }
        }
        let mut outgoing = self.token.try_lock()?;
        {
            let mut lanes = self.lanes.lock();
            lanes.carried = true;
            lanes.lend();
        }
        let done = self.write_on(core, &mut outgoing, deadline);
        drop(outgoing);
        self.leave();
        if let Err(error) = done {
            core.die(error);
        }
        Some(deadline.is_none_or(|deadline| Instant::now() < deadline))
    }

    /// Writes a batch, once the stream takes it; nothing at `deadline`.
    fn write_on(&self, core: &Core, outgoing: &mut Outgoing, deadline: Option<Instant>) -> Result<(), Error> {
        if outgoing.buffer.is_empty() || self.wait_for_stream(core, outgoing, deadline)? {
            self.lanes.lock().stalled = false;
            self.drain_now(core, outgoing)?;
        }
        Ok(())
    }

    /// A user has given the token back, and may have left something, be it what was posted while he had it.
    fn leave(&self) {
        let mut lanes = self.lanes.lock();
        lanes.carried = false;
        lanes.lend();
        if lanes.lent && lanes.writer == Sleep::Sleeps {
            self.call(lanes);
        }
    }

    /// A user goes on to wait for the peer: what he left, if anything, is the writer's.
    pub(super) fn hand_over(&self) {
        let mut lanes = self.lanes.lock();
        if lanes.lent && !lanes.carried && lanes.left_by == Some(thread_id()) {
            lanes.lent = false;
            self.call(lanes);
        }
    }

    /// The memory that sealed bytes have, whether any wait or not.
    #[cfg(all(test, not(loom)))]
    pub(super) fn held(&self) -> usize {
        self.token.lock().buffer.capacity()
    }

    /// Has the writer see to what is left, unless it watches a user who does.
    fn wake_writer(&self) {
        let lanes = self.lanes.lock();
        if !lanes.lent {
            self.call(lanes);
        }
    }

    /// Seals a batch and writes what the stream takes of it at once.
    fn drain_now(&self, core: &Core, outgoing: &mut Outgoing) -> Result<Left, Error> {
        let mut lanes = self.lanes.lock();
        if lanes.stalled || lanes.stop.is_some() {
            return Ok(Left::Blocked);
        }
        while outgoing.buffer.len() < BATCH {
            let Some(item) = lanes.next() else { break };
            drop(lanes);
            self.seal(core, outgoing, item)?;
            lanes = self.lanes.lock();
        }
        let more = lanes.has_work();
        drop(lanes);
        let all = outgoing.write_now()?;
        if !all {
            self.lanes.lock().stalled = true;
        }
        core.after_seal(outgoing.sealer.usage().bytes, outgoing.sealer.rekey_due());
        Ok(match (all, more) {
            (false, _) => Left::Blocked,
            (true, true) => Left::More,
            (true, false) => Left::Nothing,
        })
    }

    /// Seals one item into the buffer.
    fn seal(&self, core: &Core, outgoing: &mut Outgoing, item: Item) -> Result<(), Error> {
        let Outgoing { sealer, buffer, .. } = outgoing;
        match item {
            Item::Kex(KexItem::Init(payload) | KexItem::Send(payload)) => {
                core.trace_out(&payload);
                sealer.seal(&[&payload], buffer)?;
            }
            Item::Kex(KexItem::NewKeys { keys, reset_sequence }) => {
                seal_message(sealer, buffer, &NewKeys {})?;
                log::debug!(target: "feramiko::kex", "{}: NEWKEYS sent", core.peer);
                sealer.replace(keys, reset_sequence);
                // The next exchange may have begun already.
                let mut lanes = self.lanes.lock();
                lanes.rekeying = lanes.kex.iter().any(|item| matches!(item, KexItem::Init(_)));
            }
            Item::Control(Control { payload, concerns }) => {
                match concerns {
                    Concerns::Nobody => {}
                    Concerns::Global(waiter) => core.expect_global_reply(waiter),
                    // Whoever seals holds the token: no CLOSE leaves meanwhile.
                    Concerns::Channel(slot) if slot.state.lock().flow.close_sent => return Ok(()),
                    Concerns::Channel(_) => {}
                }
                core.trace_out(&payload);
                sealer.seal(&[&payload], buffer)?;
            }
            Item::Data(slot) => {
                if buffer.capacity() < LARGE && slot.state.lock().outbound() > KEPT {
                    let mut large = FREE.take().unwrap_or_else(|| Vec::with_capacity(LARGE));
                    large.extend_from_slice(buffer);
                    *buffer = large;
                }
                let turn = slot.seal_turn(sealer, buffer, core.round_trip(), core.window_budget())?;
                core.spend_window(turn.grown);
                if turn.room {
                    core.changed_here(&slot, Side::Outgoing);
                }
                if turn.again {
                    self.lanes.lock().data.push_back(slot);
                } else if turn.gone {
                    core.forget(&slot);
                }
            }
        }
        Ok(())
    }

    /// The writer's work: waits until there is something to do that no user is at, or `timer`.
    pub(super) fn park(&self, timer: Option<Instant>) -> Due {
        let mut lanes = self.lanes.lock();
        let mut lease = Lease::default();
        let mut seen = lanes.left;
        loop {
            lanes.lent &= lanes.is_due() && lanes.stop.is_none();
            if lanes.stop.is_some() || (lanes.is_due() && !lanes.lent) {
                return Due::Stream;
            }
            if std::mem::take(&mut lanes.retime) {
                return Due::Nothing;
            }
            // One who is at it comes and goes, or waits for the stream since the last look, which may be long.
            if lanes.lent && !(lanes.carried && lanes.left == seen) {
                seen = lanes.left;
                self.nap(&mut lanes, &mut lease);
            } else {
                lease.end();
                lanes.writer = Sleep::Sleeps;
                match timer {
                    None => self.wake.wait(&mut lanes),
                    Some(timer) => drop(self.wake.wait_until(&mut lanes, timer)),
                }
                lanes.writer = Sleep::Awake;
            }
            if timer.is_some_and(|timer| timer <= Instant::now()) {
                return Due::Timer;
            }
        }
    }

    /// Leaves what is left to users for a while, and for good if none of them was at it meanwhile.
    fn nap(&self, lanes: &mut MutexGuard<'_, Lanes>, lease: &mut Lease) {
        let left = lanes.left;
        lanes.writer = Sleep::Naps;
        // In a model every wait for a time would be one for ever.
        let over = match lease.next_look(Instant::now()).filter(|_| !cfg!(loom)) {
            Some(until) => self.wake.wait_until(lanes, until).timed_out(),
            None => true,
        };
        lanes.writer = Sleep::Awake;
        if over {
            lanes.lent = lanes.carried || lanes.left != left;
        }
    }

    /// Waits until anything is posted, or `deadline`.
    pub(super) fn wait_changed(&self, deadline: Option<Instant>) {
        let mut lanes = self.lanes.lock();
        if lanes.has_work() || lanes.stop.as_ref().is_some_and(|stop| stop.flush_until.is_none()) {
            return;
        }
        lanes.writer = Sleep::Sleeps;
        match deadline {
            None => self.wake.wait(&mut lanes),
            Some(deadline) => drop(self.wake.wait_until(&mut lanes, deadline)),
        }
        lanes.writer = Sleep::Awake;
    }

    /// The writer's work: seals and writes until nothing is left, a user waits who can go on himself, the timer passes
    /// or is another, or it is to end. Returns whether it is done.
    pub(super) fn drain(&self, core: &Core, timer: Option<Instant>) -> Result<bool, Error> {
        let mut outgoing = self.token.lock();
        loop {
            self.gather(core, &mut outgoing)?;
            if outgoing.buffer.is_empty() {
                return Ok(true);
            }
            if !outgoing.write_now()? {
                self.lanes.lock().stalled = true;
                if !self.wait_for_stream(core, &mut outgoing, timer)? {
                    return Ok(false);
                }
            }
            core.after_seal(outgoing.sealer.usage().bytes, outgoing.sealer.rekey_due());
            // A stream that takes bytes for ever keeps nobody from the timers.
            let stalled = !outgoing.buffer.is_empty();
            if self.interrupted(stalled, timer) {
                return Ok(false);
            }
            if let Some(slot) = (!stalled).then(|| self.lend(core)).flatten() {
                drop(outgoing);
                slot.outgoing.notify_all();
                core.changed_here(&slot, Side::Outgoing);
                return Ok(true);
            }
        }
    }

    /// Leaves the rest to the user who waits until it has left, if it is his alone; his channel.
    fn lend(&self, core: &Core) -> Option<Arc<Slot>> {
        let slot = {
            let lanes = self.lanes.lock();
            lanes.data.front().filter(|_| lanes.are_ones() && lanes.stop.is_none()).cloned()?
        };
        let waits = core.awaits_room(&slot);
        waits.then(|| {
            self.lanes.lock().lend();
            slot
        })
    }

    /// Between two writes: whether the writer has to look at its timers, or to end.
    fn interrupted(&self, stalled: bool, timer: Option<Instant>) -> bool {
        let now = Instant::now();
        let mut lanes = self.lanes.lock();
        lanes.stalled = stalled;
        let ends = lanes.stop.as_ref().is_some_and(|stop| stop.flush_until.is_none_or(|until| until <= now));
        ends || lanes.retime || timer.is_some_and(|timer| timer <= now)
    }

    fn gather(&self, core: &Core, outgoing: &mut Outgoing) -> Result<(), Error> {
        while outgoing.buffer.len() < BATCH {
            let Some(item) = self.lanes.lock().next() else { break };
            self.seal(core, outgoing, item)?;
        }
        Ok(())
    }

    /// Waits until the stream takes bytes; false when it is time to look at timers or to stop.
    fn wait_for_stream(
        &self,
        core: &Core,
        outgoing: &mut Outgoing,
        timer: Option<Instant>,
    ) -> Result<bool, Error> {
        let look = Instant::now().checked_add(LOOK);
        let until = [timer, look].into_iter().flatten().min();
        self.blocked.store(true, Ordering::SeqCst);
        let abrupt = self.lanes.lock().stop.as_ref().is_some_and(|stop| stop.flush_until.is_none());
        let result = if abrupt { Err(io::ErrorKind::TimedOut.into()) } else { outgoing.stream.wait(until) };
        self.blocked.store(false, Ordering::SeqCst);
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
            Err(error) => Err(Error::io(format!("writing to {}", core.peer), error)),
        }
    }

    /// The last words: what is sealed and `goodbye`, as far as the stream takes them until `deadline`.
    pub(super) fn say_goodbye(&self, goodbye: &[u8], deadline: Instant) -> Result<(), Error> {
        let mut outgoing = self.token.lock();
        let Outgoing { sealer, buffer, .. } = &mut *outgoing;
        sealer.seal(&[goodbye], buffer)?;
        while !outgoing.write_now()? {
            outgoing.stream.wait(Some(deadline)).map_err(|error| Error::io("saying goodbye", error))?;
        }
        Ok(())
    }
}

impl Outgoing {
    /// Writes what the stream takes now; whether that was everything. Then large memory goes back.
    fn write_now(&mut self) -> Result<bool, Error> {
        while let Some(rest) = self.buffer.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write_now(rest) {
                Ok(0) => return Err(Error::io("writing", io::ErrorKind::WriteZero.into())),
                Ok(count) => self.written = self.written.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(Error::io("writing", error)),
            }
        }
        self.buffer.clear();
        self.written = 0;
        if self.buffer.capacity() > KEPT {
            let large = std::mem::take(&mut self.buffer);
            if large.capacity() == LARGE {
                FREE.give_back(large);
            }
        }
        Ok(true)
    }
}
