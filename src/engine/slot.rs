//! One channel as the engine keeps it: its buffers, credit, requests under way, and end.
//!
//! One lock a slot, taken by the reader (what arrives), the writer (what leaves) and users; never
//! held across I/O, sealing of data, or another lock. User calls live in `channel_link.rs`.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::asking::{Answer, Request};
use super::exit::ExitStatus;
use super::flow::{Flow, FlowError};
use super::pipe::Pipe;
use super::poll::Signal;
use super::sink::Sink;
use super::sync::{Condvar, Mutex, MutexGuard};
use super::waiting::{Asleep, Side};
use crate::error::Error;
use crate::msg::connection::{ChannelClose, ChannelEof, ChannelWindowAdjust};
use crate::packet::{PacketError, Sealer};
use crate::wire::Encode;

/// Bytes of one channel that wait to leave: enough to keep the writer busy, little enough that a
/// producer feels the network.
pub(super) const SEND_BUFFER: usize = 256 * 1024;
/// RFC 4254 §5.2: the only extended data there is.
pub(super) const STDERR: u32 = 1;

/// Which of a channel's two byte streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// CHANNEL_DATA: stdin one way, stdout the other.
    Data,
    /// CHANNEL_EXTENDED_DATA: stderr.
    Stderr,
}

impl Lane {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Data => Self::Stderr,
            Self::Stderr => Self::Data,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Data => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Where a channel stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// CHANNEL_OPEN was sent or received, nobody has answered.
    Opening,
    Open,
    Refused {
        code: u32,
        text: String,
    },
    /// Both CLOSEs have passed.
    Closed,
}

/// What arrived on one stream.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    pub(super) pipe: Pipe,
    /// Threads waiting to read.
    pub(super) waiting: u32,
    /// Bytes in the pipe that the peer was already credited for, because nobody read them while
    /// somebody waited for the other stream.
    credited: usize,
    /// Whether anything ever came.
    pub(super) arrived: bool,
    /// Whether anybody ever read it.
    pub(super) read: bool,
    /// Nobody will read it: what comes is dropped.
    unwanted: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) remote: u32,
    pub(super) flow: Flow,
    pub(super) data: Inbound,
    pub(super) stderr: Inbound,
    /// What comes for standard error is appended to the data, in the order it comes.
    pub(super) combined: bool,
    pub(super) exit_waiting: u32,
    pub(super) out_data: Pipe,
    pub(super) out_stderr: Pipe,
    pub(super) requests: VecDeque<Request>,
    /// Who waits for the peer's CHANNEL_SUCCESS and CHANNEL_FAILURE, in order.
    pub(super) replies: VecDeque<Sender<Answer>>,
    /// The exit status or signal to send once the data is out.
    pub(super) exit_out: Option<Vec<u8>>,
    /// Somebody sits at the session's terminal.
    pub(super) terminal: bool,
    /// What is written here asks for one thing of many that are on their way: nobody waits for its answer alone.
    pub(super) asks_ahead: bool,
    /// Whoever runs the session will say how it ended.
    pub(super) owes_exit: bool,
    pub(super) want_eof: bool,
    pub(super) want_close: bool,
    /// The peer does not read any more (`eow@openssh.com`).
    pub(super) peer_stopped_reading: bool,
    /// The peer closed the channel before everything written had left.
    pub(super) cut_off: bool,
    pub(super) exit: Option<ExitStatus>,
    pub(super) dead: Option<Arc<Error>>,
    /// Whether the slot stands in the data lane.
    pub(super) queued: bool,
    /// An adjust is worth sending.
    pub(super) adjust_due: bool,
    pub(super) watchers: Vec<Weak<Signal>>,
    /// When data last came or went; kept only where somebody has asked.
    used: Option<Instant>,
    /// Dropped when either side closes the channel, or with the transport: whoever waits for the
    /// other end of it learns so.
    pub(super) held: Vec<Box<dyn Any + Send>>,
    /// Where data goes as it comes; nothing waits to be read while it is here.
    pub(super) sink: Option<Sink>,
    /// Who sleeps on which side.
    pub(super) asleep: Asleep,
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Answers owed to the peer, in the order of its requests.
    pub(super) tickets: super::incoming::Tickets,
    pub(super) local: u32,
    pub(crate) kind: String,
    pub(super) state: Mutex<State>,
    /// Readers, waiters for the exit status, for open, for close.
    pub(super) incoming: Condvar,
    /// Writers.
    pub(super) outgoing: Condvar,
}

impl State {
    pub(super) fn inbound(&mut self, lane: Lane) -> &mut Inbound {
        match lane {
            Lane::Data => &mut self.data,
            Lane::Stderr => &mut self.stderr,
        }
    }

    pub(super) fn out(&mut self, lane: Lane) -> &mut Pipe {
        match lane {
            Lane::Data => &mut self.out_data,
            Lane::Stderr => &mut self.out_stderr,
        }
    }

    /// How many bytes a write may queue now: never more than the peer's window lets out.
    pub(super) fn room(&self) -> usize {
        SEND_BUFFER.min(self.flow.send_window()).saturating_sub(self.outbound())
    }

    /// The bytes that wait to leave.
    pub(super) fn outbound(&self) -> usize {
        self.out_data.len().saturating_add(self.out_stderr.len())
    }

    /// Takes what is there; marks credit as owed.
    pub(super) fn read(&mut self, lane: Lane, buf: &mut [u8]) -> usize {
        let inbound = self.inbound(lane);
        inbound.read = true;
        let count = inbound.pipe.drain(buf);
        let early = count.min(inbound.credited);
        inbound.credited = inbound.credited.saturating_sub(early);
        self.consumed(count.saturating_sub(early));
        count
    }

    /// Owes the peer credit for bytes that are out of the way.
    fn consumed(&mut self, count: usize) {
        if self.flow.consumed(count) && !self.flow.eof_received {
            self.adjust_due = true;
        }
    }

    /// Drops what is there and what will come (nobody will read it): the peer keeps its credit.
    pub(super) fn discard(&mut self, lane: Lane) {
        let inbound = self.inbound(lane);
        let count = inbound.pipe.len().saturating_sub(inbound.credited);
        inbound.pipe.clear();
        inbound.credited = 0;
        inbound.unwanted = true;
        self.consumed(count);
    }

    /// Appends what is there of standard error to the data, or no longer; what it was before.
    pub(super) fn combine(&mut self, combine: bool) -> bool {
        if combine {
            let kept = std::mem::take(&mut self.stderr.pipe);
            self.data.credited = self.data.credited.saturating_add(std::mem::take(&mut self.stderr.credited));
            self.data.arrived |= self.stderr.arrived;
            self.data.pipe.append(kept);
            if self.data.unwanted {
                self.discard(Lane::Data);
            }
        }
        std::mem::replace(&mut self.combined, combine)
    }

    /// Somebody waits for `lane` or for the exit: what nobody reads of the other stream is credited
    /// up to `limit`, so that the wait ends.
    pub(super) fn credit_unread(&mut self, limit: usize) {
        for lane in [Lane::Data, Lane::Stderr] {
            let other_waits = self.inbound(lane.other()).waiting > 0 || self.exit_waiting > 0;
            let inbound = self.inbound(lane);
            if inbound.waiting > 0 || !other_waits || inbound.pipe.len() > limit {
                continue;
            }
            let fresh = inbound.pipe.len().saturating_sub(inbound.credited);
            inbound.credited = inbound.pipe.len();
            self.consumed(fresh);
        }
    }

    /// The stream whose unread bytes keep everybody waiting, if one does.
    pub(super) fn overfull(&mut self, waiting_for: Option<Lane>, limit: usize) -> Option<&'static str> {
        [Lane::Data, Lane::Stderr].into_iter().find_map(|lane| {
            let inbound = self.inbound(lane);
            let stuck = Some(lane) != waiting_for
                && !inbound.read
                && inbound.waiting == 0
                && inbound.pipe.len() > limit;
            stuck.then_some(lane.name())
        })
    }

    /// Whether a read on `lane` finds nothing, and never will.
    pub(super) fn at_end(&mut self, lane: Lane) -> bool {
        self.flow.eof_received || self.want_close || self.inbound(lane).unwanted
    }

    /// Whether a read on `lane` would return at once.
    pub(super) fn readable(&mut self, lane: Lane) -> bool {
        let inbound = self.inbound(lane);
        !inbound.pipe.is_empty()
            || inbound.unwanted
            || self.flow.eof_received
            || self.flow.close_received
            || self.phase == Phase::Closed
            || self.dead.is_some()
    }

    /// Whether a write would take something or fail at once.
    pub(super) fn writable(&self) -> bool {
        self.room() > 0
            || self.want_eof
            || self.want_close
            || self.peer_stopped_reading
            || self.flow.close_received
            || self.dead.is_some()
    }

    /// Whether all that can still come on the channel is the exit status: no data goes either way any more.
    pub(super) fn awaits_exit(&self) -> bool {
        let taken = self.flow.eof_received || self.data.unwanted;
        self.owes_exit && taken && self.flow.eof_sent && self.exit_out.is_none() && !self.want_close
    }

    fn has_output(&self) -> bool {
        self.adjust_due
            || !self.requests.is_empty()
            || !self.out_data.is_empty()
            || !self.out_stderr.is_empty()
            || (self.want_eof && !self.flow.eof_sent)
            || self.exit_out.is_some()
            || (self.want_close && !self.flow.close_sent)
    }

    /// Whether the slot has to be put into the data lane now; marks it as put there.
    pub(super) fn enqueue(&mut self) -> bool {
        let open = self.phase == Phase::Open && !self.flow.close_sent && self.dead.is_none();
        let now = open && !self.queued && self.has_output();
        self.queued |= now;
        now
    }

    /// Whether either side has closed it, or the transport died.
    pub(super) fn over(&self) -> bool {
        self.want_close || self.phase == Phase::Closed || self.dead.is_some()
    }

    /// What is to be let go of when the channel is over, once the lock is.
    pub(super) fn let_go(&mut self) -> LetGo {
        LetGo { sink: self.sink.take(), _held: std::mem::take(&mut self.held) }
    }

    /// Data comes or goes.
    fn touch(&mut self) {
        if self.used.is_some() {
            self.used = Some(Instant::now());
        }
    }

    pub(super) fn wake_watchers(&mut self) {
        if !self.watchers.is_empty() {
            self.watchers.retain(|watcher| watcher.upgrade().map(|signal| signal.raise()).is_some());
        }
    }
}

/// What hangs on a channel. Dropped without the lock: it may be other channels that end then.
pub(super) struct LetGo {
    sink: Option<Sink>,
    _held: Vec<Box<dyn Any + Send>>,
}

impl Drop for LetGo {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.end();
        }
    }
}

/// What the reader has to do after data has arrived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Arrived {
    /// Put the slot into the data lane.
    pub(super) enqueue: bool,
    /// Wake these.
    pub(super) asleep: Asleep,
}

/// What the writer has to do after a turn of a slot.
pub(super) struct Turn {
    /// The slot has more: to the back of the lane.
    pub(super) again: bool,
    /// Both CLOSEs have passed: out of the table.
    pub(super) gone: bool,
    /// Budget that the window took.
    pub(super) grown: u32,
    /// Who waits for room has been woken.
    pub(super) room: bool,
}

impl Slot {
    pub(super) fn new(local: u32, kind: &str) -> Self {
        Self {
            local,
            kind: kind.to_owned(),
            tickets: super::incoming::Tickets::default(),
            state: Mutex::new(State {
                phase: Phase::Opening,
                remote: 0,
                flow: Flow::new(super::flow::WINDOW),
                data: Inbound::default(),
                stderr: Inbound::default(),
                combined: false,
                exit_waiting: 0,
                out_data: Pipe::default(),
                out_stderr: Pipe::default(),
                requests: VecDeque::new(),
                replies: VecDeque::new(),
                exit_out: None,
                terminal: false,
                asks_ahead: false,
                owes_exit: false,
                want_eof: false,
                want_close: false,
                peer_stopped_reading: false,
                cut_off: false,
                exit: None,
                dead: None,
                queued: false,
                adjust_due: false,
                watchers: Vec::new(),
                used: None,
                held: Vec::new(),
                sink: None,
                asleep: Asleep::default(),
            }),
            incoming: Condvar::new(),
            outgoing: Condvar::new(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.local
    }

    /// Whether either side has closed it, or the transport died.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().over()
    }

    /// When data last came or went, as far as is known: from the first question on, which is asked `now`.
    pub(crate) fn used(&self, now: Instant) -> Instant {
        *self.state.lock().used.get_or_insert(now)
    }

    /// What those sleep on who wait on that side.
    pub(super) fn changed(&self, side: Side) -> &Condvar {
        match side {
            Side::Incoming | Side::Answer => &self.incoming,
            Side::Outgoing => &self.outgoing,
        }
    }

    /// Data from the peer.
    pub(super) fn arrived(
        &self,
        lane: Lane,
        bytes: &[u8],
        unread_limit: usize,
    ) -> Result<Arrived, FlowError> {
        let mut state = self.state.lock();
        if state.flow.close_sent && !state.flow.eof_received {
            // It crossed our CLOSE. What follows the peer's own end is a breach whatever we sent.
            return Ok(Arrived::default());
        }
        state.flow.received(bytes.len())?;
        state.touch();
        if state.want_close {
            // Nobody will read it; the CLOSE is on its way.
            return Ok(Arrived::default());
        }
        let lane = if state.combined { Lane::Data } else { lane };
        state.inbound(lane).arrived |= !bytes.is_empty();
        let sink = if lane == Lane::Data { state.sink.take() } else { None };
        if let Some(sink) = sink {
            drop(state);
            state = self.pour(sink, bytes);
        } else if state.inbound(lane).unwanted {
            state.consumed(bytes.len());
        } else {
            state.inbound(lane).pipe.feed(bytes);
            state.credit_unread(unread_limit);
        }
        let enqueue = state.enqueue();
        state.wake_watchers();
        Ok(Arrived { enqueue, asleep: state.asleep.only(&[Side::Incoming]) })
    }

    /// Writes on what came; nobody else has the sink meanwhile.
    fn pour(&self, sink: Sink, bytes: &[u8]) -> MutexGuard<'_, State> {
        let sink = sink.pour(bytes);
        let mut state = self.state.lock();
        state.consumed(bytes.len());
        if !state.over() {
            state.sink = sink;
            return state;
        }
        drop(state);
        drop(LetGo { sink, _held: Vec::new() });
        self.state.lock()
    }

    /// The transport died: everybody who waits wakes up with `cause`.
    pub(super) fn die(&self, cause: &Arc<Error>) {
        let mut state = self.state.lock();
        if state.dead.is_none() && state.phase != Phase::Closed {
            state.dead = Some(Arc::clone(cause));
        }
        state.replies.clear();
        state.requests.clear();
        state.out_data.clear();
        state.out_stderr.clear();
        let let_go = state.let_go();
        state.wake_watchers();
        drop(state);
        self.wake_all();
        drop(let_go);
    }

    pub(super) fn wake_all(&self) {
        self.incoming.notify_all();
        self.outgoing.notify_all();
    }

    /// One turn of the writer: adjust, requests, one piece of data, then EOF, exit status, CLOSE
    /// once everything before them is out.
    pub(super) fn seal_turn(
        &self,
        sealer: &mut Sealer,
        out: &mut Vec<u8>,
        round_trip: Duration,
        budget: u32,
    ) -> Result<Turn, PacketError> {
        let mut state = self.state.lock();
        let mut turn = Turn { again: false, gone: false, grown: 0, room: false };
        if state.flow.close_sent || state.dead.is_some() {
            state.queued = false;
            return Ok(turn);
        }
        let remote = state.remote;
        if std::mem::take(&mut state.adjust_due) {
            let before = state.flow.grown();
            let bytes = state.flow.take_adjust(Instant::now(), round_trip, budget);
            turn.grown = state.flow.grown().saturating_sub(before);
            if bytes > 0 {
                seal_message(sealer, out, &ChannelWindowAdjust { recipient: remote, bytes })?;
            }
        }
        while let Some(request) = state.requests.pop_front() {
            sealer.seal(&[&request.payload], out)?;
            state.replies.extend(request.waiter);
        }
        for lane in [Lane::Data, Lane::Stderr] {
            let limit = state.flow.send_window();
            let piece = state.out(lane).take_piece(limit);
            if piece.is_empty() {
                continue;
            }
            state.flow.sent(piece.bytes().len());
            state.touch();
            let packet = state.flow.send_packet().max(1);
            drop(state);
            seal_data(sealer, out, remote, lane, packet, piece.bytes())?;
            piece.give_back();
            state = self.state.lock();
            // Half of the room at once, so that a writer is not woken for every piece.
            if state.outbound() <= SEND_BUFFER / 2 {
                self.outgoing.notify_all();
                turn.room = true;
            }
            state.wake_watchers();
        }
        if state.out_data.is_empty() && state.out_stderr.is_empty() {
            self.seal_end(&mut state, sealer, out)?;
        }
        turn.again = !state.flow.close_sent && state.has_output();
        state.queued = turn.again;
        turn.gone = state.flow.close_sent && state.flow.close_received;
        if turn.gone {
            state.phase = Phase::Closed;
            state.wake_watchers();
            self.incoming.notify_all();
        }
        Ok(turn)
    }

    fn seal_end(&self, state: &mut State, sealer: &mut Sealer, out: &mut Vec<u8>) -> Result<(), PacketError> {
        let recipient = state.remote;
        if state.want_eof && !state.flow.eof_sent {
            state.flow.eof_sent = true;
            seal_message(sealer, out, &ChannelEof { recipient })?;
        }
        if let Some(exit) = state.exit_out.take() {
            sealer.seal(&[&exit], out)?;
        }
        if state.want_close && !state.flow.close_sent {
            state.flow.close_sent = true;
            seal_message(sealer, out, &ChannelClose { recipient })?;
        }
        Ok(())
    }
}

/// Seals a small message; encoded on the stack of its own vector, since these are rare.
pub(super) fn seal_message(
    sealer: &mut Sealer,
    out: &mut Vec<u8>,
    message: &impl Encode,
) -> Result<(), PacketError> {
    sealer.seal(&[&message.to_vec()], out)
}

/// Seals `bytes` as data packets of at most `packet` bytes.
fn seal_data(
    sealer: &mut Sealer,
    out: &mut Vec<u8>,
    remote: u32,
    lane: Lane,
    packet: usize,
    bytes: &[u8],
) -> Result<(), PacketError> {
    for piece in bytes.chunks(packet) {
        let length = u32::try_from(piece.len()).unwrap_or(u32::MAX).to_be_bytes();
        match lane {
            Lane::Data => sealer.seal(&[&[94], &remote.to_be_bytes(), &length, piece], out)?,
            Lane::Stderr => {
                sealer.seal(&[&[95], &remote.to_be_bytes(), &STDERR.to_be_bytes(), &length, piece], out)?;
            }
        }
    }
    Ok(())
}
