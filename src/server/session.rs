//! A session as the application runs it: a stream, what was asked for, and what happens meanwhile.

use std::fmt;
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

/// Does what events ask for as they come, on the thread that serves the connection: it must not wait.
pub(super) struct Handler {
    event: Box<dyn FnMut(SessionEvent) + Send>,
    closed: Box<dyn FnOnce() + Send>,
}

impl Handler {
    /// `closed` is called once, when the channel is closed, mostly by the thread that reads the connection.
    pub(super) fn new(
        event: impl FnMut(SessionEvent) + Send + 'static,
        closed: impl FnOnce() + Send + 'static,
    ) -> Self {
        Self { event: Box::new(event), closed: Box::new(closed) }
    }
}

/// Who hears of an event.
#[derive(Default)]
struct Listeners {
    waker: Option<Waker>,
    /// Taken by whoever calls it, without the lock.
    handler: Option<Handler>,
    closed: bool,
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// The events of a session. Ends when the channel is closed.
#[derive(Debug, Clone)]
pub struct SessionEvents {
    receiver: Receiver<SessionEvent>,
    /// Taken by the serving thread, by whoever closes the channel and by the session, for a moment.
    listeners: Arc<Mutex<Listeners>>,
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
        self.listeners.lock().waker = Some(waker);
    }

    /// From now on the handler has the events, those that wait first. No thread need wait for them.
    pub(super) fn handle(&self, handler: Handler) {
        self.listeners.lock().handler = Some(handler);
        self.have_handled();
    }

    /// Calls the handler for what waits. Where another thread has taken it, that one looks again.
    fn have_handled(&self) {
        loop {
            let Some(mut handler) = self.listeners.lock().handler.take() else { return };
            self.receiver.try_iter().for_each(&mut handler.event);
            let mut listeners = self.listeners.lock();
            if listeners.closed {
                drop(listeners);
                return (handler.closed)();
            }
            listeners.handler = Some(handler);
            if self.receiver.is_empty() {
                return;
            }
        }
    }
}

/// Where the events of a session come from.
#[derive(Debug)]
pub(super) struct EventSender {
    sender: Sender<SessionEvent>,
    events: SessionEvents,
}

impl EventSender {
    /// Both ends, with room for so many events that nobody has taken.
    pub(super) fn new(room: usize) -> (Self, SessionEvents) {
        let (sender, receiver) = crossbeam_channel::bounded(room);
        let events = SessionEvents { receiver, listeners: Arc::default() };
        (Self { sender, events: events.clone() }, events)
    }

    /// Passes an event on; false when there is no room.
    pub(super) fn send(&self, event: SessionEvent) -> bool {
        let sent = self.sender.try_send(event).is_ok();
        let waker = self.events.listeners.lock().waker.clone();
        waker.iter().for_each(Waker::wake);
        self.events.have_handled();
        sent
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.events.listeners.lock().closed = true;
        self.events.have_handled();
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
