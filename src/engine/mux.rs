//! The connection layer as the reader sees it: which channel a message is for, and what it does
//! there. Runs on the reader; posts, never waits.

use std::sync::Arc;

use super::core::Core;
use super::exit::ExitStatus;
use super::flow::FlowError;
use super::incoming::{ADMINISTRATIVELY_PROHIBITED, Incoming, OpenRequest, RESOURCE_SHORTAGE, Reply};
use super::slot::{Lane, Phase, STDERR, Slot, State};
use super::sync::MutexGuard;
use super::waiting::{Asleep, Awaited, Side};
use crate::error::{Error, Result};
use crate::msg::connection::{
    ChannelClose, ChannelData, ChannelEof, ChannelExtendedData, ChannelFailure, ChannelOpen,
    ChannelOpenConfirmation, ChannelOpenFailure, ChannelRequest, ChannelSuccess, ChannelWindowAdjust,
    GlobalRequest, RequestSuccess,
};
use crate::wire::{Escaped, Reader};

/// While packets keep coming a waiting reader is woken after so much: he copies while the next ones are
/// opened.
const WORTH_WAKING: usize = 128 * 1024;

/// Who is to be woken for data that has arrived: once for all the packets of one read, not once for each.
#[derive(Default)]
pub(super) struct Wake {
    slot: Option<Arc<Slot>>,
    bytes: usize,
    /// Who slept there when something came for him.
    asleep: Asleep,
    /// Who was woken last.
    woken: Option<Woken>,
    /// What we may send besides.
    credit: usize,
}

/// Those on a channel who slept and were woken.
pub(super) struct Woken {
    channel: u32,
    asleep: Asleep,
}

impl Woken {
    pub(super) fn includes(&self, awaited: &Awaited) -> bool {
        awaited.channel == self.channel && self.asleep.on(awaited.side) > 0
    }
}

impl Wake {
    fn later(&mut self, slot: Arc<Slot>, bytes: usize, asleep: Asleep) {
        if !self.slot.as_ref().is_some_and(|waiting| Arc::ptr_eq(waiting, &slot)) {
            self.now();
            self.slot = Some(slot);
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.asleep == Asleep::default() {
            self.asleep = asleep;
        }
        if self.bytes >= WORTH_WAKING {
            self.now();
        }
    }

    /// Before anything that may wait.
    pub(super) fn now(&mut self) {
        self.bytes = 0;
        let asleep = std::mem::take(&mut self.asleep);
        if let Some(slot) = self.slot.take() {
            slot.incoming.notify_all();
            self.note(slot.local, asleep);
        }
    }

    /// Those who wait on these sides of a channel, at once.
    fn at_once(&mut self, slot: &Slot, state: MutexGuard<'_, State>, sides: &[Side]) {
        let asleep = state.asleep;
        drop(state);
        for side in sides {
            slot.changed(*side).notify_all();
        }
        self.note(slot.local, asleep.only(sides));
    }

    fn note(&mut self, channel: u32, asleep: Asleep) {
        if asleep != Asleep::default() {
            self.woken = Some(Woken { channel, asleep });
        }
    }

    /// What credit has come since the last call.
    pub(super) fn take_credit(&mut self) -> usize {
        std::mem::take(&mut self.credit)
    }

    /// Who was woken last, if anybody was since the last call.
    pub(super) fn woken(&mut self) -> Option<Woken> {
        self.woken.take()
    }
}

/// What opens or ends a channel concerns both.
const ALL: &[Side] = &[Side::Incoming, Side::Outgoing];

/// CHANNEL_DATA, the hot path.
pub(super) fn data(core: &Arc<Core>, payload: &[u8], wake: &mut Wake) -> Result<()> {
    let message = ChannelData::decode_packet(payload)?;
    arrived(core, message.recipient, Lane::Data, message.data, wake)
}

fn arrived(core: &Arc<Core>, recipient: u32, lane: Lane, bytes: &[u8], wake: &mut Wake) -> Result<()> {
    let slot = open_slot(core, recipient)?;
    let arrived =
        slot.arrived(lane, bytes, core.limits.unread_stream).map_err(|error| flow_error(&slot, error))?;
    if arrived.enqueue {
        core.post_slot(&slot);
    }
    wake.later(slot, bytes.len(), arrived.asleep);
    Ok(())
}

fn flow_error(slot: &Slot, error: FlowError) -> Error {
    Error::protocol(match error {
        FlowError::OverWindow => format!("more data than the window of channel {} allows", slot.local),
        FlowError::OverPacket => format!("a data packet larger than channel {} takes", slot.local),
        FlowError::WindowOverflow => format!("a window of 2^32 bytes on channel {}", slot.local),
        FlowError::AfterEof => format!("data after the end of channel {}", slot.local),
    })
}

/// The slot of a channel that is open.
fn open_slot(core: &Core, recipient: u32) -> Result<Arc<Slot>> {
    core.slot(recipient).ok_or_else(|| Error::protocol(format!("channel {recipient} does not exist")))
}

/// Every other message of the connection layer.
pub(super) fn dispatch(core: &Arc<Core>, payload: &[u8], wake: &mut Wake) -> Result<()> {
    match payload.first().copied().unwrap_or(0) {
        80 => global_request(core, &GlobalRequest::decode_packet(payload)?),
        81 => global_reply(core, Ok(RequestSuccess::decode_packet(payload)?.rest.0.to_vec())),
        82 => global_reply(core, Err(())),
        90 => open(core, &ChannelOpen::decode_packet(payload)?),
        91 => confirmed(core, &ChannelOpenConfirmation::decode_packet(payload)?, wake),
        92 => refused(core, &ChannelOpenFailure::decode_packet(payload)?, wake),
        93 => adjust(core, &ChannelWindowAdjust::decode_packet(payload)?, wake),
        95 => extended(core, &ChannelExtendedData::decode_packet(payload)?, wake),
        96 => eof(core, ChannelEof::decode_packet(payload)?.recipient, wake),
        97 => close(core, ChannelClose::decode_packet(payload)?.recipient, wake),
        98 => request(core, &ChannelRequest::decode_packet(payload)?, wake),
        99 => reply(core, ChannelSuccess::decode_packet(payload)?.recipient, Ok(Vec::new()), wake),
        100 => reply(core, ChannelFailure::decode_packet(payload)?.recipient, Err(()), wake),
        other => Err(Error::protocol(format!("message {other} is not expected"))),
    }
}

fn global_request(core: &Arc<Core>, message: &GlobalRequest<'_>) -> Result<()> {
    let reply = Reply::global(core, message.want_reply)?;
    let kind = message.kind.to_string();
    log::debug!(target: "feramiko::connection", "{}: global request {kind}", core.peer);
    if let Some(taker) = core.taker(&kind) {
        let (there, rest) = (Arc::clone(core), message.rest.0.to_vec());
        if let Err(error) = super::spawn("feramiko request", move || (taker.take)(there, rest)) {
            log::warn!(target: "feramiko::connection", "{}: {kind} is not looked at: {error}", core.peer);
        }
        return Ok(());
    }
    // What nobody takes is dropped, and a dropped reply is a refusal, in its turn.
    drop(core.hand_in(Incoming::Global { kind, rest: message.rest.0.to_vec(), reply }));
    Ok(())
}

fn global_reply(core: &Core, answer: std::result::Result<Vec<u8>, ()>) -> Result<()> {
    if core.global_reply(answer) { Ok(()) } else { Err(Error::protocol("an answer that nobody asked for")) }
}

fn open(core: &Arc<Core>, message: &ChannelOpen<'_>) -> Result<()> {
    let request = OpenRequest::new(core, message);
    let (peer, kind) = (&core.peer, &request.kind);
    log::debug!(target: "feramiko::connection", "{peer}: opens channel {} ({kind})", message.sender);
    if message.max_packet == 0 {
        request.refuse(ADMINISTRATIVELY_PROHIBITED, "a largest packet of 0 bytes");
    } else if core.table.lock().len() >= core.limits.channels {
        request.refuse(RESOURCE_SHORTAGE, "too many channels");
    } else if let Some(taker) = core.taker_of(&request) {
        taker.take(request);
    } else if !core.serving {
        request.refuse(ADMINISTRATIVELY_PROHIBITED, "nobody asked for it");
    } else if let Err(Incoming::Open(request)) = core.hand_in(Incoming::Open(request)) {
        request.refuse(RESOURCE_SHORTAGE, "too many requests");
    }
    Ok(())
}

fn confirmed(core: &Core, message: &ChannelOpenConfirmation<'_>, wake: &mut Wake) -> Result<()> {
    let slot = open_slot(core, message.recipient)?;
    if message.max_packet == 0 {
        return Err(Error::protocol("a channel with a largest packet of 0 bytes"));
    }
    let mut state = slot.state.lock();
    if state.phase != Phase::Opening {
        return Err(Error::protocol(format!("channel {} was confirmed twice", slot.local)));
    }
    state.phase = Phase::Open;
    state.remote = message.sender;
    state.flow.opened(message.window, message.max_packet);
    let enqueue = state.enqueue();
    state.wake_watchers();
    wake.at_once(&slot, state, ALL);
    if enqueue {
        core.post_slot(&slot);
    }
    Ok(())
}

fn refused(core: &Core, message: &ChannelOpenFailure<'_>, wake: &mut Wake) -> Result<()> {
    let slot = open_slot(core, message.recipient)?;
    let mut state = slot.state.lock();
    if state.phase != Phase::Opening {
        return Err(Error::protocol(format!("channel {} was refused after it was opened", slot.local)));
    }
    state.phase = Phase::Refused { code: message.code, text: message.text.to_string() };
    state.wake_watchers();
    wake.at_once(&slot, state, ALL);
    core.forget(&slot);
    Ok(())
}

fn adjust(core: &Core, message: &ChannelWindowAdjust, wake: &mut Wake) -> Result<()> {
    let Some(slot) = core.slot(message.recipient) else {
        return Err(Error::protocol(format!("channel {} does not exist", message.recipient)));
    };
    let mut state = slot.state.lock();
    let adjusted = state.flow.adjusted(message.bytes);
    let enqueue = state.enqueue();
    state.wake_watchers();
    wake.at_once(&slot, state, &[Side::Outgoing]);
    wake.credit = wake.credit.saturating_add(usize::try_from(message.bytes).unwrap_or(usize::MAX));
    adjusted.map_err(|error| flow_error(&slot, error))?;
    if enqueue {
        core.post_slot(&slot);
    }
    Ok(())
}

fn extended(core: &Arc<Core>, message: &ChannelExtendedData<'_>, wake: &mut Wake) -> Result<()> {
    if message.code == STDERR {
        return arrived(core, message.recipient, Lane::Stderr, message.data, wake);
    }
    // Of a kind nobody knows: dropped, but its credit goes back.
    arrived(core, message.recipient, Lane::Stderr, &[], wake)?;
    let slot = open_slot(core, message.recipient)?;
    let mut state = slot.state.lock();
    let counted = state.flow.received(message.data.len());
    let consumed = state.flow.consumed(message.data.len());
    state.adjust_due |= consumed;
    let enqueue = state.enqueue();
    drop(state);
    counted.map_err(|error| flow_error(&slot, error))?;
    if enqueue {
        core.post_slot(&slot);
    }
    Ok(())
}

fn eof(core: &Core, recipient: u32, wake: &mut Wake) -> Result<()> {
    let slot = open_slot(core, recipient)?;
    let mut state = slot.state.lock();
    state.flow.eof_received = true;
    let sink = state.sink.take();
    state.wake_watchers();
    wake.at_once(&slot, state, &[Side::Incoming]);
    if let Some(sink) = sink {
        sink.end();
    }
    Ok(())
}

fn close(core: &Arc<Core>, recipient: u32, wake: &mut Wake) -> Result<()> {
    let slot = open_slot(core, recipient)?;
    let mut state = slot.state.lock();
    if state.flow.close_received {
        return Err(Error::protocol(format!("channel {recipient} was closed twice")));
    }
    let awaits_exit = state.awaits_exit();
    state.flow.close_received = true;
    state.flow.eof_received = true;
    if awaits_exit {
        // As OpenSSH's client closes a channel that it shares with others when both streams have ended: it
        // waits for the status all the same. Our CLOSE follows that, and the program runs on till then.
        state.wake_watchers();
        wake.at_once(&slot, state, ALL);
        return Ok(());
    }
    // The peer takes nothing any more; ours is owed.
    state.want_close = true;
    let let_go = state.let_go();
    state.cut_off = !(state.out_data.is_empty() && state.out_stderr.is_empty());
    state.out_data.clear();
    state.out_stderr.clear();
    state.requests.clear();
    // What gave data or an exit status was started, whatever became of the answer.
    let ran = state.exit.is_some() || state.data.arrived || state.stderr.arrived;
    for waiter in std::mem::take(&mut state.replies) {
        if ran {
            // Who asked may have given up.
            let _ = waiter.try_send(Ok(Vec::new()));
        }
    }
    let both = state.flow.close_sent;
    if both {
        state.phase = Phase::Closed;
    }
    let enqueue = state.enqueue();
    state.wake_watchers();
    wake.at_once(&slot, state, ALL);
    if both {
        core.forget(&slot);
    } else if enqueue {
        core.post_slot(&slot);
    }
    drop(let_go);
    Ok(())
}

fn reply(
    core: &Core,
    recipient: u32,
    answer: std::result::Result<Vec<u8>, ()>,
    wake: &mut Wake,
) -> Result<()> {
    // Paramiko's server answers on another thread than it runs the command: the answer to a short
    // one may follow the channel's CLOSE.
    if core.table.lock().is_gone(recipient) {
        return Ok(());
    }
    let slot = open_slot(core, recipient)?;
    let mut state = slot.state.lock();
    let waiter = state.replies.pop_front();
    let closing = state.flow.close_sent || state.want_close;
    drop(state);
    match waiter {
        Some(waiter) => {
            // Who asked may have given up; the answer is then nobody's.
            let _ = waiter.try_send(answer);
            wake.note(recipient, Asleep::for_answer());
            Ok(())
        }
        None if closing => Ok(()),
        None => Err(Error::protocol("an answer that nobody asked for")),
    }
}

fn request(core: &Arc<Core>, message: &ChannelRequest<'_>, wake: &mut Wake) -> Result<()> {
    let slot = open_slot(core, message.recipient)?;
    let kind = message.kind.to_string();
    let rest = message.rest.0;
    log::debug!(target: "feramiko::connection", "{}: channel {} request {kind}", core.peer, slot.local);
    let reply = Reply::channel(core, &slot, message.want_reply)?;
    match kind.as_str() {
        "exit-status" => ended(&slot, exit_status(rest)?, wake),
        "exit-signal" => ended(&slot, exit_signal(rest)?, wake),
        "eow@openssh.com" => {
            let mut state = slot.state.lock();
            state.peer_stopped_reading = true;
            state.wake_watchers();
            wake.at_once(&slot, state, &[Side::Outgoing]);
        }
        _ => drop(core.hand_in(Incoming::Channel { slot, kind, rest: rest.to_vec(), reply })),
    }
    Ok(())
}

fn exit_status(rest: &[u8]) -> Result<ExitStatus> {
    let mut reader = Reader::new(rest);
    let code = reader.get::<u32>()?;
    reader.finish()?;
    Ok(ExitStatus::Code(code))
}

fn exit_signal(rest: &[u8]) -> Result<ExitStatus> {
    let mut reader = Reader::new(rest);
    let name = reader.get::<Escaped<'_>>()?.to_string();
    let core_dumped = reader.get::<bool>()?;
    let message = reader.get::<Escaped<'_>>()?.to_string();
    reader.get::<Escaped<'_>>()?;
    reader.finish()?;
    Ok(ExitStatus::Signal { name, core_dumped, message })
}

fn ended(slot: &Slot, status: ExitStatus, wake: &mut Wake) {
    let mut state = slot.state.lock();
    state.exit.get_or_insert(status);
    state.wake_watchers();
    wake.at_once(slot, state, &[Side::Incoming]);
}
