//! What the threads of one transport share: the tables, the lanes, the cause of death.
//!
//! Never two of its locks at a time; none is held across I/O or a callback.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError};

use super::asking::{Answer, GlobalWaiter};
use super::incoming::{ChannelTaker, Incoming, OpenRequest, Tickets};
use super::lanes::{Concerns, Control, Stop};
use super::limits::Limits;
use super::login::PeerExtensions;
use super::marking::Marking;
use super::outbox::Outbox;
use super::reader::Reader;
use super::slot::{Phase, Slot};
use super::stream::Closer;
use super::sync::{AtomicBool, AtomicU32, AtomicU64, Condvar, Mutex};
use super::table::Table;
use super::turn::Turn;
use super::waiting::{Awaited, Side};
use crate::error::{Error, Result};
use crate::kex::{Kex, Role, Setup};
use crate::key::PKey;
use crate::msg::transport::{Disconnect, Ping};
use crate::sys::traffic::TrafficClasses;
use crate::wire::{Encode, Escaped};

/// Time for a last DISCONNECT to leave; the peer may not read any more.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// What a running transport starts with.
pub(crate) struct Start {
    pub(crate) role: Role,
    pub(crate) setup: Setup,
    pub(crate) kex: Kex,
    pub(crate) host_keys: Vec<PKey>,
    pub(crate) limits: Limits,
    pub(crate) peer: String,
    pub(crate) peer_ident: String,
    pub(crate) keepalive: Option<(Duration, u32)>,
    pub(crate) traffic: TrafficClasses,
    pub(crate) round_trip: Duration,
    /// What the peer says that it can do.
    pub(crate) extensions: PeerExtensions,
    pub(crate) closer: Arc<dyn Closer>,
    /// Whether somebody takes what the peer opens and asks; nobody: it is refused.
    pub(crate) serving: bool,
    /// Whether another program holds the connection and passes on what concerns channels.
    pub(crate) shared: bool,
    pub(crate) taker: Option<RequestTaker>,
}

/// Takes the first request of the connection of one kind, on a thread of its own, also where nobody
/// serves. Dropped when the transport dies.
pub(crate) struct RequestTaker {
    pub(crate) kind: &'static str,
    pub(crate) take: Box<dyn FnOnce(Arc<Core>, Vec<u8>) + Send>,
}

/// What is dropped when the transport dies.
#[derive(Default)]
struct Kept {
    things: HashMap<u64, Box<dyn Any + Send>>,
    next: u64,
}

pub(crate) struct Core {
    pub(crate) role: Role,
    pub(crate) setup: Setup,
    pub(crate) limits: Limits,
    pub(crate) peer: String,
    pub(crate) peer_ident: String,
    pub(crate) keepalive: Option<(Duration, u32)>,
    pub(super) host_keys: Vec<PKey>,
    pub(super) outbox: Outbox,
    /// Taken by the reader (what arrives), users (open), the writer (forget).
    pub(super) table: Mutex<Table>,
    /// The last channel is gone, or the transport is dead.
    idle: Condvar,
    /// Taken by the reader, and by the thread that signs for it.
    pub(super) kex: Mutex<Kex>,
    /// Who waits for REQUEST_SUCCESS and REQUEST_FAILURE, in order. Filled by the writer.
    global_replies: Mutex<VecDeque<GlobalWaiter>>,
    /// Answers owed to the peer's global requests.
    pub(super) global_tickets: Tickets,
    /// What rooms above keep with the connection, one of each type. Taken by users.
    #[cfg(unix)]
    pub(super) companions: Mutex<Vec<Arc<dyn Any + Send + Sync>>>,
    /// Who takes channels that the peer opens, so that whoever serves does not get them; the newest last.
    /// Taken by the reader, and by whoever asks for channels or no longer does.
    takers: Mutex<Vec<Arc<ChannelTaker>>>,
    held: Mutex<Kept>,
    incoming: Mutex<Option<Sender<Incoming>>>,
    incoming_receiver: Receiver<Incoming>,
    /// Whether anybody takes what the peer opens and asks.
    pub(super) serving: bool,
    /// Whether another program holds the connection: it sees to the keys, and to all but channels.
    shared: bool,
    /// What the peer says that it can do.
    pub(crate) extensions: PeerExtensions,
    /// Taken by the reader, and by whoever ends the transport.
    taker: Mutex<Option<RequestTaker>>,
    cause: Mutex<Option<Arc<Error>>>,
    pub(super) dying: AtomicBool,
    /// It is to end in order: nothing new is taken to be sent.
    closing: AtomicBool,
    round_trip_us: AtomicU64,
    window_spent: AtomicU32,
    /// Counts reads of the socket: the writer sees that the peer lives.
    pub(super) heard: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    closer: Arc<dyn Closer>,
    pub(super) marking: Marking,
    /// Whose turn it is to read.
    pub(super) turn: Turn<Box<Reader>, Awaited>,
    /// Raised when the writer has ended and the stream is closed.
    pub(super) ended: (Mutex<bool>, Condvar),
}

impl Core {
    pub(super) fn new(start: Start, outbox: Outbox) -> Self {
        let (sender, receiver) = crossbeam_channel::bounded(start.limits.pending_requests);
        Self {
            role: start.role,
            setup: start.setup,
            peer: start.peer,
            peer_ident: start.peer_ident,
            keepalive: start.keepalive,
            host_keys: start.host_keys,
            outbox,
            table: Mutex::default(),
            idle: Condvar::new(),
            kex: Mutex::new(start.kex),
            global_replies: Mutex::default(),
            global_tickets: Tickets::default(),
            takers: Mutex::default(),
            #[cfg(unix)]
            companions: Mutex::default(),
            held: Mutex::default(),
            incoming: Mutex::new(Some(sender)),
            incoming_receiver: receiver,
            serving: start.serving,
            shared: start.shared,
            extensions: start.extensions,
            taker: Mutex::new(start.taker),
            cause: Mutex::new(None),
            dying: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            round_trip_us: AtomicU64::new(u64::try_from(start.round_trip.as_micros()).unwrap_or(u64::MAX)),
            window_spent: AtomicU32::new(0),
            heard: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            closer: start.closer,
            turn: Turn::new(None),
            marking: Marking::new(start.traffic),
            ended: (Mutex::new(false), Condvar::new()),
            limits: start.limits,
        }
    }

    // ---- life and death

    /// The transport ends because of `cause`; the first cause stays. Never waits.
    pub(crate) fn die(&self, cause: Error) {
        let goodbye = cause.disconnect_code().map(|code| goodbye(code, &cause.disconnect_text()));
        let cause = Arc::new(cause);
        {
            let mut kept = self.cause.lock();
            if kept.is_some() {
                return;
            }
            *kept = Some(Arc::clone(&cause));
        }
        log::debug!(target: "feramiko::transport", "{}: ends: {cause}", self.peer);
        // After the cause, so that whoever finds it dead finds out why; before the tables are emptied,
        // so that whoever comes later does not enter them.
        self.dying.store(true, Ordering::SeqCst);
        // Before anybody wakes up and closes gracefully: the peer is to learn this reason.
        self.outbox.stop(Stop { flush_until: None, goodbye });
        *self.incoming.lock() = None;
        // What nobody took would hold this core, which holds it.
        while let Ok(incoming) = self.incoming_receiver.try_recv() {
            drop(incoming);
        }
        self.global_replies.lock().clear();
        // They may hold what holds this core.
        let takers = std::mem::take(&mut *self.takers.lock());
        drop(takers);
        let held = std::mem::take(&mut self.held.lock().things);
        drop(held);
        let taker = self.taker.lock().take();
        drop(taker);
        let slots = self.table.lock().all();
        self.idle.notify_all();
        for slot in slots {
            slot.die(&cause);
        }
        self.turn.end();
        if self.outbox.blocked.load(Ordering::SeqCst) {
            // The writer waits for a peer that does not read: no goodbye will get through.
            self.closer.close();
        }
    }

    /// Asks the writer to send what waits, say goodbye, and end. Never waits.
    pub(crate) fn close_gracefully(&self) {
        self.closing.store(true, Ordering::SeqCst);
        let goodbye = goodbye(crate::error::reason::BY_APPLICATION, "closed by the user");
        self.outbox.stop(Stop {
            flush_until: Instant::now().checked_add(self.limits.linger),
            goodbye: Some(goodbye),
        });
    }

    /// The writer is done: the stream is cut.
    pub(super) fn end(&self) {
        self.die(Error::Closed(None));
        self.closer.close();
        *self.ended.0.lock() = true;
        self.ended.1.notify_all();
    }

    /// Why the transport ended, as the error of a call that needs it alive.
    pub(crate) fn closed(&self) -> Error {
        match self.cause.lock().clone() {
            Some(cause) if !matches!(*cause, Error::Closed(None)) => Error::Closed(Some(cause)),
            _ => Error::Closed(None),
        }
    }

    /// Whether nothing more is taken to be sent.
    pub(super) fn closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub(crate) fn alive(&self) -> bool {
        !self.dying.load(Ordering::SeqCst)
    }

    /// Waits until the stream is cut.
    pub(crate) fn wait_end(&self, deadline: Option<Instant>) -> bool {
        let mut ended = self.ended.0.lock();
        while !*ended {
            match deadline {
                None => self.ended.1.wait(&mut ended),
                Some(deadline) => {
                    if self.ended.1.wait_until(&mut ended, deadline).timed_out() {
                        return *ended;
                    }
                }
            }
        }
        true
    }

    // ---- sending

    /// Posts a message of the connection layer that concerns the connection or an answer.
    pub(super) fn post(&self, message: &impl Encode) {
        self.post_control(message.to_vec(), Concerns::Nobody);
    }

    /// Sends what the peer answers and nobody else sees, OpenSSH's PROTOCOL, section 1.8.
    pub(crate) fn ping(&self, data: &[u8]) {
        self.post(&Ping { data });
    }

    pub(super) fn post_control(&self, payload: Vec<u8>, concerns: Concerns) {
        if let Err(error) = self.outbox.post_control(self, Control { payload, concerns }) {
            self.die(error);
        }
    }

    pub(super) fn post_slot(&self, slot: &Arc<Slot>) {
        self.outbox.post_data(self, slot);
    }

    pub(super) fn expect_global_reply(&self, waiter: GlobalWaiter) {
        let mut waiting = self.global_replies.lock();
        if self.alive() {
            waiting.push_back(waiter);
        }
    }

    /// REQUEST_SUCCESS or REQUEST_FAILURE arrived; false when nobody asked.
    pub(super) fn global_reply(&self, answer: Answer) -> bool {
        let waiter = self.global_replies.lock().pop_front();
        waiter.map(|waiter| waiter.answer(answer)).is_some()
    }

    // ---- channels

    pub(super) fn slot(&self, local: u32) -> Option<Arc<Slot>> {
        self.table.lock().get(local).cloned()
    }

    /// Something has changed on that side of a channel that did not come from the peer: whoever reads the connection
    /// because he waits for it looks.
    pub(super) fn changed_here(&self, slot: &Slot, side: Side) {
        self.turn.interrupt(|awaited| *awaited == Awaited { channel: slot.local, side });
    }

    /// Whether somebody waits until what he wrote on a channel has left.
    pub(super) fn awaits_room(&self, slot: &Slot) -> bool {
        let side = Side::Outgoing;
        slot.state.lock().asleep.on(side) > 0
            || self.turn.is_user_for(|awaited| *awaited == Awaited { channel: slot.local, side })
    }

    /// Both CLOSEs have passed, or the open was refused.
    pub(super) fn forget(&self, slot: &Slot) {
        let mut table = self.table.lock();
        table.remove(slot);
        if table.len() == 0 {
            self.idle.notify_all();
        }
        drop(table);
        let (grown, terminal) = {
            let mut state = slot.state.lock();
            (state.flow.grown(), std::mem::take(&mut state.terminal))
        };
        self.window_spent.fetch_sub(grown, Ordering::Relaxed);
        if terminal {
            self.marking.one_less(&*self.closer);
        }
    }

    /// The session of this channel has a terminal: until it ends the connection's packets are marked as those of
    /// somebody who waits for them.
    pub(crate) fn has_terminal(&self, slot: &Slot) {
        let new = {
            let mut state = slot.state.lock();
            // Nobody would count off one that has ended already.
            !matches!(state.phase, Phase::Closed) && !std::mem::replace(&mut state.terminal, true)
        };
        if new {
            self.marking.one_more(&*self.closer);
        }
    }

    /// No session has a terminal yet.
    pub(super) fn mark_from_the_start(&self) {
        self.marking.begin(&*self.closer);
    }

    /// The numbers and kinds of the channels that there are.
    pub(crate) fn channels(&self) -> Vec<(u32, String)> {
        self.table.lock().kinds()
    }

    /// Waits until there is no channel, or the transport is dead.
    pub(crate) fn wait_idle(&self) {
        let _waits = self.turn.aside();
        let mut table = self.table.lock();
        // Whoever dies says so before it takes the lock.
        while table.len() > 0 && self.alive() {
            self.idle.wait(&mut table);
        }
    }

    pub(crate) fn new_slot(&self, kind: &str) -> Result<Arc<Slot>> {
        let mut table = self.table.lock();
        if table.len() >= self.limits.channels {
            return Err(Error::Limit { which: "channels", limit: self.limits.channels as u64 });
        }
        if self.alive() {
            return Ok(table.insert(|local| Slot::new(local, kind)));
        }
        drop(table);
        Err(self.closed())
    }

    // ---- what the peer opens and asks

    /// Adds somebody who takes channels; false when the transport is dead.
    pub(super) fn add_taker(&self, taker: Arc<ChannelTaker>) -> bool {
        // For good: who asked for channels will ask again.
        self.turn.keep();
        let mut takers = self.takers.lock();
        if self.alive() {
            takers.push(taker);
            return true;
        }
        false
    }

    /// Takes away those that are `gone`.
    pub(super) fn remove_takers(&self, gone: impl Fn(&Arc<ChannelTaker>) -> bool) {
        // They may hold what holds this core: not dropped under the lock.
        let removed: Vec<_> = self.takers.lock().extract_if(.., |taker| gone(taker)).collect();
        drop(removed);
    }

    /// Takes away who came before `taker` for channels of the same kind.
    pub(super) fn replace_takers(&self, taker: &Arc<ChannelTaker>) {
        let before: Vec<_> = {
            let takers = self.takers.lock();
            let same = |known: &&Arc<ChannelTaker>| !Arc::ptr_eq(known, taker);
            takers.iter().take_while(same).filter(|known| known.kind == taker.kind).cloned().collect()
        };
        self.remove_takers(|known| before.iter().any(|old| Arc::ptr_eq(old, known)));
    }

    /// Who takes a channel that the peer opens.
    pub(super) fn taker_of(&self, request: &OpenRequest) -> Option<Arc<ChannelTaker>> {
        ChannelTaker::of(&self.takers.lock(), request)
    }

    /// Keeps `thing` until the transport dies or [`let_go`](Self::let_go); its number.
    pub(super) fn hold(&self, thing: Box<dyn Any + Send>) -> u64 {
        let mut held = self.held.lock();
        let number = held.next;
        held.next = number.saturating_add(1);
        if self.alive() {
            held.things.insert(number, thing);
        } else {
            drop(held);
            drop(thing);
        }
        number
    }

    /// Drops what is kept under that number.
    pub(super) fn let_go(&self, number: u64) {
        let thing = self.held.lock().things.remove(&number);
        drop(thing);
    }

    /// Hands something to the serving thread; gives it back when too much waits or nobody serves.
    pub(super) fn hand_in(&self, incoming: Incoming) -> std::result::Result<(), Incoming> {
        match &*self.incoming.lock() {
            Some(sender) if self.serving => sender.try_send(incoming).map_err(|error| match error {
                TrySendError::Full(incoming) | TrySendError::Disconnected(incoming) => incoming,
            }),
            _ => Err(incoming),
        }
    }

    /// Who takes a request of that kind, once.
    pub(super) fn taker(&self, kind: &str) -> Option<RequestTaker> {
        self.taker.lock().take_if(|taker| taker.kind == kind)
    }

    pub(crate) fn incoming(&self) -> &Receiver<Incoming> {
        &self.incoming_receiver
    }

    // ---- keys

    pub(crate) fn session_id(&self) -> Vec<u8> {
        self.kex.lock().session_id().to_vec()
    }

    /// The signature algorithm of the last exchange.
    pub(crate) fn host_key_algorithm(&self) -> String {
        self.kex.lock().negotiated().map(|agreed| agreed.host_key.clone()).unwrap_or_default()
    }

    /// An error where another program holds the connection, which does not pass `what` on.
    pub(crate) fn not_shared(&self, what: &str) -> Result<()> {
        match self.shared {
            true => Err(Error::Unsupported(format!("{what} over the connection of a master"))),
            false => Ok(()),
        }
    }

    /// Starts an exchange unless one is under way: our KEXINIT leaves. Not where another program has the
    /// keys.
    pub(crate) fn begin_rekey(&self) -> Result<()> {
        if self.alive() && !self.shared && !self.outbox.rekeying() {
            self.outbox.begin_rekey(self, Kex::kexinit(&self.setup, false)?);
        }
        Ok(())
    }

    /// The peer's KEXINIT arrived: ours, that leaves now if it has not yet.
    pub(super) fn answer_rekey(&self) -> Result<Vec<u8>> {
        if let Some(ours) = self.outbox.our_kexinit() {
            return Ok(ours);
        }
        Ok(self.outbox.begin_rekey(self, Kex::kexinit(&self.setup, false)?))
    }

    /// After something was sealed or opened: new keys when the old ones were used enough.
    pub(super) fn after_seal(&self, bytes: u64, due: bool) {
        if (due || bytes >= self.limits.rekey_bytes)
            && let Err(error) = self.begin_rekey()
        {
            self.die(error);
        }
    }

    /// Key exchanges so far, the first one counted.
    pub(crate) fn exchanges(&self) -> u64 {
        self.outbox.lanes.lock().rekey.count.saturating_add(1)
    }

    // ---- the path

    pub(crate) fn round_trip(&self) -> Duration {
        Duration::from_micros(self.round_trip_us.load(Ordering::Relaxed))
    }

    /// Something was answered after `waited`: the round trip is no longer than that.
    pub(super) fn answered_after(&self, waited: Duration) {
        self.round_trip_us
            .fetch_min(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn window_budget(&self) -> u32 {
        self.limits.window_budget.saturating_sub(self.window_spent.load(Ordering::Relaxed))
    }

    pub(super) fn spend_window(&self, bytes: u32) {
        if bytes > 0 {
            self.window_spent.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn trace_out(&self, payload: &[u8]) {
        if log::log_enabled!(target: "feramiko::packet", log::Level::Trace) {
            let number = payload.first().copied().unwrap_or(0);
            log::trace!(target: "feramiko::packet", "{}: > {} ({} bytes)", self.peer, crate::msg::number::name(number), payload.len());
        }
    }
}

/// A DISCONNECT.
pub(super) fn goodbye(code: u32, text: &str) -> Vec<u8> {
    Disconnect { code, text: Escaped(text.as_bytes()), language: b"" }.to_vec()
}
