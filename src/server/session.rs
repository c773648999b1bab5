//! A session as the application runs it: a stream, what was asked for, and what happens meanwhile.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use crate::channel::{Channel, ChannelStderr, TimedRead, Waker};
use crate::interface::{SessionKind, SessionRequest};

/// Something that happens while a session runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The terminal has another size: columns and rows in characters, width and height in pixels.
    Resize {
        /// Columns and rows.
        size: (u32, u32),
        /// Pixels.
        pixels: (u32, u32),
    },
    /// The client sends a signal, by its name without `SIG`.
    Signal(String),
    /// The client sends a break of that length.
    Break(Duration),
}

/// Who is woken by an event. Taken by the serving thread and by whoever says so, for a moment.
type Woken = Arc<Mutex<Option<Waker>>>;

/// The events of a session. Ends when the channel is closed.
#[derive(Debug, Clone)]
pub struct SessionEvents {
    receiver: Receiver<SessionEvent>,
    woken: Woken,
}

impl SessionEvents {
    /// The next event; none when the channel is closed.
    #[must_use]
    pub fn recv(&self) -> Option<SessionEvent> {
        self.receiver.recv().ok()
    }

    /// The next event if there is one now.
    #[must_use]
    pub fn try_recv(&self) -> Option<SessionEvent> {
        self.receiver.try_recv().ok()
    }

    /// From now on each event wakes a poll, so that one thread can wait for the channel and for the events.
    /// Replaces the waker that was set before.
    pub fn wake(&self, waker: Waker) {
        *self.woken.lock() = Some(waker);
    }
}

/// Where the events of a session come from.
#[derive(Debug)]
pub(super) struct EventSender {
    sender: Sender<SessionEvent>,
    woken: Woken,
}

impl EventSender {
    /// Both ends, with room for so many events that nobody has taken.
    pub(super) fn new(room: usize) -> (Self, SessionEvents) {
        let (sender, receiver) = crossbeam_channel::bounded(room);
        let woken = Woken::default();
        (Self { sender, woken: Arc::clone(&woken) }, SessionEvents { receiver, woken })
    }

    /// Passes an event on; false when there is no room.
    pub(super) fn send(&self, event: SessionEvent) -> bool {
        let sent = self.sender.try_send(event).is_ok();
        let waker = self.woken.lock().clone();
        waker.iter().for_each(Waker::wake);
        sent
    }
}

/// A session that an application runs. Reading yields what the client sends; writing goes to its
/// standard output.
#[derive(Debug)]
pub struct Session {
    channel: Channel,
    request: SessionRequest,
    events: SessionEvents,
}

impl Session {
    pub(super) fn new(channel: Channel, request: SessionRequest, events: SessionEvents) -> Self {
        Self { channel, request, events }
    }

    /// What was asked for.
    #[must_use]
    pub fn request(&self) -> &SessionRequest {
        &self.request
    }

    /// The channel; clones of it can be read and written by other threads.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The client's standard error.
    #[must_use]
    pub fn stderr(&self) -> ChannelStderr {
        self.channel.stderr()
    }

    /// What happens meanwhile: resizes, signals, breaks.
    #[must_use]
    pub fn events(&self) -> &SessionEvents {
        &self.events
    }

    /// Whether the client may signal what runs. Who may not choose the program does not break it off halfway
    /// either, as with OpenSSH: the program of a forced command, or of a subsystem.
    pub(super) fn may_signal(&self) -> bool {
        self.request.original.is_none() && !matches!(self.request.kind, SessionKind::Subsystem(_))
    }
}

impl Read for Session {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.channel.read(buf)
    }
}

impl TimedRead for Session {
    fn read_within(&mut self, buf: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.channel.read_within(buf, timeout)
    }
}

impl Write for Session {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.channel.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channel.flush()
    }
}
