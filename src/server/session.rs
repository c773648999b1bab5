//! A session as the application runs it: a stream, what was asked for, and what happens meanwhile.

use std::io::{self, Read, Write};
use std::time::Duration;

use crossbeam_channel::Receiver;

use crate::channel::{Channel, ChannelStderr};
use crate::interface::SessionRequest;

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

/// The events of a session. Ends when the channel is closed.
#[derive(Debug, Clone)]
pub struct SessionEvents(Receiver<SessionEvent>);

impl SessionEvents {
    /// The next event; none when the channel is closed.
    #[must_use]
    pub fn recv(&self) -> Option<SessionEvent> {
        self.0.recv().ok()
    }

    /// The next event if there is one now.
    #[must_use]
    pub fn try_recv(&self) -> Option<SessionEvent> {
        self.0.try_recv().ok()
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
    pub(super) fn new(channel: Channel, request: SessionRequest, events: Receiver<SessionEvent>) -> Self {
        Self { channel, request, events: SessionEvents(events) }
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
}

impl Read for Session {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.channel.read(buf)
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
