//! `Channel`: a byte stream inside a connection, with requests. Works like a socket and a file.
//!
//! Knows the engine's links, not its threads; nothing of clients or servers.

mod agent;
mod carry;
mod keystrokes;
mod poll;
mod redirect;
mod stderr;
mod timed;

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::engine::{ChannelLink, ExitStatus, Lane, default_deadline};
use crate::error::Result;
use crate::wire::{Writer, string_of};

pub(crate) use agent::NAMES as AGENT_NAMES;
pub use keystrokes::Keystrokes;
pub use poll::{Poll, Ready, Waker};
pub use redirect::Redirect;
pub(crate) use redirect::{End, copy};
pub use stderr::ChannelStderr;
pub use timed::TimedRead;

/// A pseudo-terminal as a client asks for it, RFC 4254 §6.2.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PtyRequest {
    /// The value of `TERM`.
    pub term: String,
    /// Columns and rows, in characters.
    pub size: (u32, u32),
    /// Width and height, in pixels; 0 when unknown.
    pub pixels: (u32, u32),
    /// Encoded terminal modes, RFC 4254 §8; empty for the server's defaults.
    pub modes: Vec<u8>,
}

impl PtyRequest {
    /// A terminal of that type with so many columns and rows.
    #[must_use]
    pub fn new(term: &str, columns: u32, rows: u32) -> Self {
        Self { term: term.to_owned(), size: (columns, rows), pixels: (0, 0), modes: Vec::new() }
    }

    /// The same with the modes that a terminal of ours has now.
    ///
    /// # Errors
    /// When it is no terminal.
    #[cfg(unix)]
    pub fn modes_of(self, terminal: impl std::os::fd::AsFd) -> io::Result<Self> {
        let modes = crate::sys::terminal::read_modes(terminal)?.encode();
        Ok(self.modes(modes))
    }

    /// The same with encoded terminal modes (RFC 4254 §8).
    #[must_use]
    pub fn modes(mut self, modes: Vec<u8>) -> Self {
        self.modes = modes;
        self
    }
}

#[derive(Debug, Default)]
struct Timeouts {
    read: Option<Duration>,
    write: Option<Duration>,
}

/// A channel of a connection. Clones share it; the last one dropped closes the channel and never the
/// connection. `Read` and `Write` work on `&Channel` too, so that threads can share one.
///
/// Reading yields the other side's data (a command's standard output), [`stderr`](Self::stderr) its
/// extended data. Reads return 0 at the end; a connection that breaks is an error, never an end.
#[derive(Debug, Clone)]
pub struct Channel {
    link: ChannelLink,
    timeouts: Arc<Mutex<Timeouts>>,
}

impl Channel {
    pub(crate) fn new(link: ChannelLink) -> Self {
        Self { link, timeouts: Arc::default() }
    }

    pub(crate) fn link(&self) -> &ChannelLink {
        &self.link
    }

    /// The channel's number on our side.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.link.id()
    }

    /// The other stream: standard error.
    #[must_use]
    pub fn stderr(&self) -> ChannelStderr {
        ChannelStderr::new(self.clone())
    }

    /// Has standard error read together with standard output, in the order it comes, or no longer; what it was
    /// before. What has come already is moved behind the output that has.
    pub fn set_combine_stderr(&self, combine: bool) -> bool {
        self.link.combine_stderr(combine)
    }

    /// How long a read may wait; none for ever.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) {
        self.timeouts.lock().read = timeout;
    }

    /// How long a write may wait; none for ever.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) {
        self.timeouts.lock().write = timeout;
    }

    fn read_deadline(&self) -> Option<Instant> {
        self.timeouts.lock().read.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    fn write_deadline(&self) -> Option<Instant> {
        self.timeouts.lock().write.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    fn read_lane(&self, lane: Lane, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.link.read(lane, buf, self.read_deadline())?)
    }

    fn write_lane(&self, lane: Lane, buf: &[u8]) -> io::Result<usize> {
        Ok(self.link.write(lane, buf, self.write_deadline())?)
    }

    fn flush_lanes(&self) -> io::Result<()> {
        Ok(self.link.flush(self.write_deadline())?)
    }

    /// Ends a direction: for writing, the other side reads the end after what was written; for
    /// reading, what comes is dropped.
    pub fn shutdown(&self, how: Shutdown) {
        if matches!(how, Shutdown::Write | Shutdown::Both) {
            self.link.send_eof();
        }
        if matches!(how, Shutdown::Read | Shutdown::Both) {
            self.link.stop_reading(Lane::Data);
            self.link.stop_reading(Lane::Stderr);
        }
    }

    /// Closes the channel once what was written has left. Closing twice is fine.
    pub fn close(&self) {
        self.link.close();
    }

    /// Whether the channel is closed, by either side.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.link.closed()
    }

    /// Looks whether the channel is closed, without keeping it open.
    pub(crate) fn watch_closed(&self) -> impl Fn() -> bool + Send + use<> {
        let slot = Arc::clone(self.link.slot());
        move || slot.is_closed()
    }

    /// Gives the channel as long as somebody else holds it.
    pub(crate) fn weak(&self) -> impl Fn() -> Option<Self> + Send + use<> {
        let (link, timeouts) = (self.link.weak(), Arc::clone(&self.timeouts));
        move || link().map(|link| Self { link, timeouts: Arc::clone(&timeouts) })
    }

    // ---- requests of a client

    pub(crate) fn ask(&self, kind: &str, rest: &[u8]) -> Result<()> {
        let deadline = default_deadline(self.link.link().core(), self.timeouts.lock().read);
        self.link.request(kind, rest, Some(deadline))
    }

    /// Asks for a pseudo-terminal, RFC 4254 §6.2.
    ///
    /// # Errors
    /// [`Error::RequestRefused`](crate::Error::RequestRefused) when the server does not give one.
    pub fn get_pty(&self, pty: &PtyRequest) -> Result<()> {
        let mut rest = string_of(pty.term.as_bytes());
        rest.put(&pty.size.0)
            .put(&pty.size.1)
            .put(&pty.pixels.0)
            .put(&pty.pixels.1)
            .put(pty.modes.as_slice());
        self.ask("pty-req", &rest)?;
        self.has_terminal();
        Ok(())
    }

    /// Says that the session has a terminal now.
    pub(crate) fn has_terminal(&self) {
        self.link.link().core().has_terminal(self.link.slot());
    }

    /// Sets an environment variable of the command to come. Servers accept few, so the answer is not
    /// waited for: RFC 4254 §6.4.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed) when the channel is closed.
    pub fn set_environment_variable(&self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let rest = [string_of(name.as_ref()), string_of(value.as_ref())].concat();
        self.link.request("env", &rest, None)
    }

    /// The same, waiting for the server's answer.
    ///
    /// # Errors
    /// [`Error::RequestRefused`](crate::Error::RequestRefused) when the server does not set it.
    pub fn request_environment_variable(
        &self,
        name: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<()> {
        self.ask("env", &[string_of(name.as_ref()), string_of(value.as_ref())].concat())
    }

    /// Starts the user's shell.
    ///
    /// # Errors
    /// [`Error::RequestRefused`](crate::Error::RequestRefused) when the server does not start one.
    pub fn invoke_shell(&self) -> Result<()> {
        self.ask("shell", b"")
    }

    /// Starts a command. A channel runs one.
    ///
    /// # Errors
    /// [`Error::RequestRefused`](crate::Error::RequestRefused) when the server does not start it.
    pub fn exec_command(&self, command: impl AsRef<[u8]>) -> Result<()> {
        self.ask("exec", &string_of(command.as_ref()))
    }

    /// Starts a subsystem, such as `sftp`.
    ///
    /// # Errors
    /// [`Error::RequestRefused`](crate::Error::RequestRefused) when the server does not have it.
    pub fn invoke_subsystem(&self, name: impl AsRef<[u8]>) -> Result<()> {
        self.ask("subsystem", &string_of(name.as_ref()))
    }

    /// Tells the terminal's new size in characters and pixels.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed) when the channel is closed.
    pub fn resize_pty(&self, columns: u32, rows: u32, pixels: (u32, u32)) -> Result<()> {
        let mut rest = Vec::new();
        rest.put(&columns).put(&rows).put(&pixels.0).put(&pixels.1);
        self.link.request("window-change", &rest, None)
    }

    /// Sends a signal to the command: its name without `SIG`, as `TERM`.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed) when the channel is closed.
    pub fn send_signal(&self, name: &str) -> Result<()> {
        self.link.request("signal", &string_of(name.as_bytes()), None)
    }

    /// Sends a break of that length, RFC 4335.
    ///
    /// # Errors
    /// [`Error::RequestRefused`](crate::Error::RequestRefused) when the server does not know breaks.
    pub fn send_break(&self, length: Duration) -> Result<()> {
        let milliseconds = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
        self.ask("break", &milliseconds.to_be_bytes())
    }

    // ---- the end of a command

    /// Waits for the command's end. Output that nobody reads meanwhile is kept, up to
    /// [`Limits::unread_stream`](crate::Limits::unread_stream).
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout) after `timeout`, [`Error::Closed`](crate::Error::Closed) when the connection breaks.
    pub fn wait_exit(&self, timeout: Option<Duration>) -> Result<ExitStatus> {
        self.link.wait_exit(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// The command's exit status, if it has arrived.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.link.exit()
    }

    /// Tells the client how its command ended (servers). It follows all data written before.
    pub fn send_exit_status(&self, status: &ExitStatus) {
        match status {
            ExitStatus::Code(code) => self.link.send_exit("exit-status", &code.to_be_bytes()),
            ExitStatus::Signal { name, core_dumped, message } => {
                let mut rest = string_of(name.as_bytes());
                rest.put(core_dumped).put(message.as_str()).put("");
                self.link.send_exit("exit-signal", &rest);
            }
            ExitStatus::Missing => {}
        }
    }

    /// Tells a peer that knows `eow@openssh.com`, OpenSSH or one of ours, that nothing more will be read.
    pub fn send_eow(&self) {
        let peer = &self.link.link().core().peer_ident;
        if ["OpenSSH", "feramiko"].iter().any(|name| peer.contains(name)) {
            // A closed channel needs none.
            let _ = self.link.request("eow@openssh.com", b"", None);
        }
    }
}

impl Read for &Channel {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_lane(Lane::Data, buf)
    }
}

impl Read for Channel {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for &Channel {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_lane(Lane::Data, buf)
    }

    /// Waits until everything written has been handed to the connection.
    fn flush(&mut self) -> io::Result<()> {
        self.flush_lanes()
    }
}

impl Write for Channel {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
