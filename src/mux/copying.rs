//! Copies between a channel and the descriptors that a client has passed. A thread for what comes in, one or
//! two for what goes out; none waits in a read or a write, and all end with the session.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use parking_lot::Mutex;

use super::escape::{Escape, Escapes};
use crate::channel::{Channel, Keystrokes};
use crate::engine::{ExitStatus, Lane, spawn};
use crate::error::Result;
use crate::sys::passing::Passed;

/// How much is copied at a time; a pipe holds as much.
const PIECE: usize = 64 * 1024;
/// How long a break is, in milliseconds; OpenSSH's figure.
const BREAK: u32 = 1000;

/// From a client to a channel.
pub(super) struct Input {
    pub(super) channel: Channel,
    pub(super) from: Passed,
    /// Writes to the channel what a person types.
    pub(super) keys: Option<Keystrokes>,
    pub(super) escapes: Option<Escapes>,
    pub(super) words: Option<Passed>,
    /// Ends with the session.
    pub(super) stop: Arc<UnixStream>,
}

/// From a channel to a client.
pub(super) struct Output {
    pub(super) channel: Channel,
    pub(super) lane: Lane,
    pub(super) to: Passed,
    /// Ends with the session.
    pub(super) stop: Arc<UnixStream>,
}

/// Writes all of it; an error as soon as `stop` ends.
fn write_all(to: &Passed, mut bytes: &[u8], stop: &UnixStream) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write_now(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !to.wait(stop.as_fd())? {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Tells the user something, as far as it is taken at once.
pub(super) fn say(to: &Passed, text: &str) {
    if let Err(error) = to.write_now(text.as_bytes()) {
        log::debug!(target: "feramiko::mux", "the user is not told: {error}");
    }
}

/// Starts what copies both outputs, waits for the end, notes it, and then drops `ends`.
pub(super) fn start_output(
    output: Output,
    errors: Option<Output>,
    status: Arc<Mutex<Option<ExitStatus>>>,
    ends: UnixStream,
) -> Result<()> {
    let second = match errors {
        Some(errors) => Some(spawn("feramiko mux errors", move || errors.copy())?),
        None => None,
    };
    spawn("feramiko mux output", move || {
        let channel = output.channel.clone();
        output.copy();
        if second.is_some_and(|second| second.join().is_err()) {
            log::error!(target: "feramiko::mux", "the thread of standard error panicked");
        }
        // Ends with the command, or with the channel.
        *status.lock() = channel.wait_exit(None).ok();
        drop(ends);
    })?;
    Ok(())
}

/// Starts what copies the input.
pub(super) fn start_input(input: Input) -> Result<()> {
    spawn("feramiko mux input", move || input.copy()).map(drop)
}

impl Output {
    /// Copies to the end. What nobody takes any more is dropped, and the server may know.
    fn copy(self) {
        let mut piece = vec![0; PIECE];
        let mut errors = self.channel.stderr();
        loop {
            let read = match self.lane {
                Lane::Data => (&self.channel).read(&mut piece),
                Lane::Stderr => errors.read(&mut piece),
            };
            // The end of the channel and that of the connection are told by its exit.
            let Ok(count @ 1..) = read else { return };
            if write_all(&self.to, piece.get(..count).unwrap_or_default(), &self.stop).is_err() {
                self.channel.link().stop_reading(self.lane);
                if self.lane == Lane::Data {
                    self.channel.send_eow();
                }
                return;
            }
        }
    }
}

impl Input {
    fn copy(mut self) {
        let mut piece = vec![0; PIECE];
        loop {
            match self.from.read_now(&mut piece) {
                Ok(count @ 1..) => {
                    if !self.pass(piece.get(..count).unwrap_or_default()) {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !self.from.wait(self.stop.as_fd()).unwrap_or(false) {
                        return;
                    }
                }
                // A terminal that is gone has ended as well.
                Ok(0) | Err(_) => {
                    // Who has closed the channel waits for nothing.
                    let _ = self.settle();
                    return self.channel.shutdown(Shutdown::Write);
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.keys {
            Some(keys) => keys.write_all(bytes),
            None => (&self.channel).write_all(bytes),
        }
    }

    /// Waits until what was typed has left.
    fn settle(&mut self) -> io::Result<()> {
        self.keys.as_mut().map_or(Ok(()), Keystrokes::flush)
    }

    /// Passes on what was read; false when nobody takes any more.
    fn pass(&mut self, bytes: &[u8]) -> bool {
        let Some(mut escapes) = self.escapes.take() else { return self.send(bytes).is_ok() };
        let passed = self.escape(&mut escapes, bytes);
        self.escapes = Some(escapes);
        passed
    }

    fn escape(&mut self, escapes: &mut Escapes, bytes: &[u8]) -> bool {
        let mut typed = Vec::with_capacity(bytes.len());
        for byte in bytes {
            match escapes.take(*byte) {
                Escape::Nothing => {}
                Escape::Byte(byte) => typed.push(byte),
                Escape::Both(first, second) => typed.extend([first, second]),
                Escape::Help => {
                    let help = escapes.help();
                    self.words.iter().for_each(|words| say(words, &help));
                }
                Escape::Rekey => {
                    if let Err(error) = self.channel.link().core().begin_rekey() {
                        log::debug!(target: "feramiko::mux", "no new keys: {error}");
                    }
                }
                Escape::List => {
                    let list = escapes.list(&self.channel.link().core().channels());
                    self.words.iter().for_each(|words| say(words, &list));
                }
                Escape::Suspend | Escape::Background | Escape::More | Escape::Less | Escape::CommandLine => {
                    let text =
                        format!("{} escape not available to multiplexed sessions\r\n", escapes.shown(*byte));
                    self.words.iter().for_each(|words| say(words, &text));
                }
                Escape::Break => {
                    let sent = self.send(&typed).is_ok()
                        && self.settle().is_ok()
                        && self.channel.link().request("break", &BREAK.to_be_bytes(), None).is_ok();
                    if !sent {
                        return false;
                    }
                    typed.clear();
                }
                Escape::End => {
                    self.channel.close();
                    return false;
                }
            }
        }
        self.send(&typed).is_ok()
    }
}
