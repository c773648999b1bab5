//! What waits to leave, in three lanes, and the outgoing half of the connection.
//!
//! Lanes: *kex* (alone while keys are exchanged), *control* (bounded in bytes), *data* (channels
//! that have something, round robin). The outgoing half is a token that one thread holds at a
//! time: the writer, or, while nothing else is under way, whoever has posted little or can only wait,
//! which saves a hand-over. Nobody waits for the token but the writer.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::asking::GlobalWaiter;
use super::core::Core;
use super::pool::Pool;
use super::slot::{Slot, seal_message};
use super::stream::WriteHalf;
use super::sync::{AtomicBool, Condvar, Mutex, MutexGuard};
use super::waiting::Side;
use crate::error::Error;
use crate::msg::kex::NewKeys;
use crate::packet::{SealKeys, Sealer};

/// How much is sealed before it is written: one system call carries several packets.
const BATCH: usize = 192 * 1024;
/// Up to this many bytes a poster seals and writes itself: a packet or two, which is less than waking the writer.
const DIRECT: usize = 64 * 1024;
/// What is kept for what leaves next; large memory goes back as soon as it is empty.
const KEPT: usize = 8 * 1024;
/// While data flows: a batch, and the piece of a channel that fills it up.
const LARGE: usize = BATCH + 72 * 1024;
/// A blocked write looks at the timers at least this often.
const LOOK: std::time::Duration = std::time::Duration::from_secs(1);

/// Large buffers that nobody uses: more writers than processors make no use of more.
static FREE: Pool = Pool::new(8);

/// An item of the kex lane.
pub(super) enum KexItem {
    /// Our KEXINIT: from here on only the kex lane moves.
    Init(Vec<u8>),
    Send(Vec<u8>),
    /// Send NEWKEYS under the old keys, then use these.
    NewKeys {
        keys: SealKeys,
        reset_sequence: bool,
    },
}

/// Whom a control message concerns when it leaves.
pub(super) enum Concerns {
    Nobody,
    /// Who waits for the answer to a request of the connection.
    Global(GlobalWaiter),
    /// It answers on that channel: after our CLOSE it does not leave any more.
    Channel(Arc<Slot>),
}

/// An item of the control lane.
pub(super) struct Control {
    pub(super) payload: Vec<u8>,
    pub(super) concerns: Concerns,
}

impl Control {
    /// What it takes while it waits: short answers are mostly the queue's and the allocator's bytes.
    fn cost(&self) -> usize {
        const QUEUED: usize = size_of::<Control>() + 32;
        self.payload.len().saturating_add(QUEUED)
    }
}

/// The exchange of new keys, under way or past.
#[derive(Debug, Clone, Default)]
pub(super) struct Rekey {
    /// Our KEXINIT, until the peer's NEWKEYS.
    pub(super) ours: Option<Vec<u8>>,
    pub(super) since: Option<Instant>,
    /// When the last one was over.
    pub(super) last: Option<Instant>,
    /// Exchanges that were finished after the first.
    pub(super) count: u64,
}

#[derive(Default)]
pub(super) struct Lanes {
    kex: VecDeque<KexItem>,
    control: VecDeque<Control>,
    pub(super) control_bytes: usize,
    data: VecDeque<Arc<Slot>>,
    /// Our KEXINIT is out or under way; only the kex lane moves until NEWKEYS has left.
    rekeying: bool,
    /// In the same lock as the lane: whoever sees that our KEXINIT is there may post what follows it.
    pub(super) rekey: Rekey,
    /// The writer has to look at its timers anew.
    retime: bool,
    /// Sealed bytes wait for the stream.
    stalled: bool,
    /// Why and until when the writer should end.
    pub(super) stop: Option<Stop>,
    writer_parked: bool,
}

/// How the writer ends.
#[derive(Clone)]
pub(super) struct Stop {
    /// Everything that waits leaves before the goodbye, until that time.
    pub(super) flush_until: Option<Instant>,
    /// The DISCONNECT to send last.
    pub(super) goodbye: Option<Vec<u8>>,
}

enum Item {
    Kex(KexItem),
    Control(Control),
    Data(Arc<Slot>),
}

/// The outgoing half: owned by whoever holds the token.
pub(super) struct Outgoing {
    pub(super) sealer: Sealer,
    stream: Box<dyn WriteHalf>,
    buffer: Vec<u8>,
    written: usize,
}

pub(super) struct Outbox {
    pub(super) lanes: Mutex<Lanes>,
    wake: Condvar,
    token: Mutex<Outgoing>,
    /// The writer waits for the stream; see `Core::die`.
    pub(super) blocked: AtomicBool,
}

impl Lanes {
    fn next(&mut self) -> Option<Item> {
        if let Some(item) = self.kex.pop_front() {
            return Some(Item::Kex(item));
        }
        if self.rekeying {
            return None;
        }
        if let Some(item) = self.control.pop_front() {
            self.control_bytes = self.control_bytes.saturating_sub(item.cost());
            return Some(Item::Control(item));
        }
        self.data.pop_front().map(Item::Data)
    }

    fn has_work(&self) -> bool {
        !self.kex.is_empty() || (!self.rekeying && (!self.control.is_empty() || !self.data.is_empty()))
    }
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
        }
    }

    /// Posts a kex item.
    pub(super) fn post_kex(&self, core: &Core, item: KexItem) {
        self.lanes.lock().kex.push_back(item);
        self.kick(core, 0);
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
        self.kick(core, 0);
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
        if std::mem::take(&mut lanes.writer_parked) {
            drop(lanes);
            self.wake.notify_one();
        }
    }

    /// Posts a control message; an error when the peer lets too many of them wait.
    pub(super) fn post_control(&self, core: &Core, control: Control) -> Result<(), Error> {
        let size = control.payload.len();
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
        self.kick(core, size);
        Ok(())
    }

    /// Posts a channel that has something to send. `size` is about how much.
    pub(super) fn post_data(&self, core: &Core, slot: Arc<Slot>, size: usize) {
        self.lanes.lock().data.push_back(slot);
        self.kick(core, size);
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
        lanes.writer_parked = false;
        drop(lanes);
        drop(unsent);
        self.wake.notify_one();
    }

    /// Something was posted: does it at once if it is little and nobody is at it, else wakes the
    /// writer. Whoever holds the token looks at the lanes once more after giving it back, so nothing
    /// is left lying.
    fn kick(&self, core: &Core, size: usize) {
        if size <= DIRECT {
            while let Some(mut outgoing) = self.token.try_lock() {
                let done = self.drain_now(core, &mut outgoing);
                drop(outgoing);
                match done {
                    Ok(true) if self.lanes.lock().has_work() => {}
                    Ok(true) => return,
                    Ok(false) => break,
                    Err(error) => return core.die(error),
                }
            }
        }
        self.wake_writer();
    }

    /// The memory that sealed bytes have, whether any wait or not.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.token.lock().buffer.capacity()
    }

    /// Has the writer look at its timers.
    pub(super) fn wake_writer(&self) {
        let mut lanes = self.lanes.lock();
        if std::mem::take(&mut lanes.writer_parked) {
            drop(lanes);
            self.wake.notify_one();
        }
    }

    /// Seals and writes without waiting, as long as it is little; false when the writer has to go on.
    fn drain_now(&self, core: &Core, outgoing: &mut Outgoing) -> Result<bool, Error> {
        let mut lanes = self.lanes.lock();
        if lanes.stalled || lanes.stop.is_some() {
            return Ok(false);
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
        Ok(all && !more)
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

    /// The writer's work: waits until there is something to do, be it to look at the timers, or
    /// `timer`; false at the timer.
    pub(super) fn park(&self, timer: Option<Instant>) -> bool {
        let mut lanes = self.lanes.lock();
        while !(lanes.has_work() || lanes.stalled || lanes.stop.is_some() || lanes.retime) {
            lanes.writer_parked = true;
            match timer {
                None => self.wake.wait(&mut lanes),
                Some(timer) => {
                    if self.wake.wait_until(&mut lanes, timer).timed_out() {
                        lanes.writer_parked = false;
                        return false;
                    }
                }
            }
        }
        (lanes.writer_parked, lanes.retime) = (false, false);
        true
    }

    /// Waits until anything is posted, or `deadline`.
    pub(super) fn wait_changed(&self, deadline: Option<Instant>) {
        let mut lanes = self.lanes.lock();
        if lanes.has_work() || lanes.stop.as_ref().is_some_and(|stop| stop.flush_until.is_none()) {
            return;
        }
        lanes.writer_parked = true;
        match deadline {
            None => self.wake.wait(&mut lanes),
            Some(deadline) => drop(self.wake.wait_until(&mut lanes, deadline)),
        }
        lanes.writer_parked = false;
    }

    /// The writer's work: seals and writes until nothing is left, the timer passes or is another, or it is to
    /// end. Returns whether everything has left.
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
            if self.interrupted(!outgoing.buffer.is_empty(), timer) {
                return Ok(false);
            }
        }
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
