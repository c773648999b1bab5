//! Commands that run on the server, in the manner of `std::process`.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::command::Copied;
use crate::channel::{Channel, TimedRead};
use crate::engine::{ExitStatus, Lane};
use crate::error::{Error, Phase, Result};

/// How much is read of a command's output at a time.
const PIECE: usize = 64 * 1024;

/// Closes the channel of a command some of whose streams are redirected: the copies hold it too.
#[derive(Debug)]
pub(super) struct Held(pub(super) Channel);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A running command. Dropping it closes its channel; what it does then is the server's affair.
#[derive(Debug)]
pub struct Process {
    /// Its standard input, unless it is redirected; dropping it is the end of input.
    pub stdin: Option<ProcessStdin>,
    /// Its standard output, unless it is redirected.
    pub stdout: Option<ProcessStdout>,
    /// Its standard error, unless it is redirected.
    pub stderr: Option<ProcessStderr>,
    pub(super) channel: Channel,
    /// The copy of its input.
    pub(super) feeding: Option<Copied>,
    /// How many outputs were here at first.
    pub(super) piped: usize,
    /// The copies of its outputs.
    pub(super) copies: Vec<Copied>,
    /// When it is ended.
    pub(super) deadline: Option<Instant>,
    pub(super) _held: Option<Arc<Held>>,
}

impl Process {
    /// The command's channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Ends its input, unless that is redirected, and waits for its end and for that of the copies of its
    /// redirected output. Output that was not taken for reading is dropped as it comes.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection breaks, [`Error::Timeout`] when the time it was given is over:
    /// then it is ended; [`Error::Io`] when a redirected stream could not be read or written.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.wait_timeout(None)
    }

    /// The same with a time limit.
    ///
    /// # Errors
    /// [`Error::Timeout`] when the time is over; the command runs on.
    pub fn wait_timeout(&mut self, timeout: Option<Duration>) -> Result<ExitStatus> {
        drop(self.stdin.take());
        // Where nobody holds a stream nobody will read.
        if usize::from(self.stdout.is_some()) + usize::from(self.stderr.is_some()) == self.piped {
            drop((self.stdout.take(), self.stderr.take()));
        }
        let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        match self.end(earlier(until, self.deadline)) {
            Err(Error::Timeout(Phase::Exit)) if self.late() => {
                self.give_up();
                Err(Error::Timeout(Phase::Exit))
            }
            ended => ended,
        }
    }

    /// Waits for its end and for its copies.
    fn end(&mut self, until: Option<Instant>) -> Result<ExitStatus> {
        let status = self.channel.link().wait_exit(until)?;
        if let Some(Ok(Err(error))) = self.feeding.as_ref().map(Copied::try_recv) {
            return Err(Error::io("reading what is redirected to a command", error));
        }
        while let Some(copied) = self.copies.last() {
            let copied = match until {
                Some(until) => copied.recv_deadline(until),
                None => copied.recv().map_err(|_| crossbeam_channel::RecvTimeoutError::Disconnected),
            };
            match copied {
                Ok(Err(error)) => {
                    self.copies.pop();
                    return Err(Error::io("copying a command's output", error));
                }
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => return Err(Error::Timeout(Phase::Exit)),
                Ok(Ok(())) | Err(crossbeam_channel::RecvTimeoutError::Disconnected) => {
                    self.copies.pop();
                }
            }
        }
        Ok(status)
    }

    /// Whether its time is over.
    fn late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Ends it, as far as the server does.
    fn give_up(&self) {
        // It may have ended meanwhile.
        let _ = self.kill();
        self.channel.close();
    }

    /// The status, if it has ended.
    #[must_use]
    pub fn try_wait(&self) -> Option<ExitStatus> {
        self.channel.exit_status()
    }

    /// Sends it the signal KILL. Not every server passes signals on.
    ///
    /// # Errors
    /// [`Error::Closed`] when it has ended.
    pub fn kill(&self) -> Result<()> {
        self.channel.send_signal("KILL")
    }

    /// Ends its input, unless that is redirected, reads both outputs together, or the one that was not taken,
    /// and waits for its end. When the time it was given is over it is ended, and what it has printed by then is
    /// there with [`Output::timed_out`].
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection breaks, [`Error::Io`] when a redirected stream could not be read
    /// or written.
    pub fn wait_with_output(mut self) -> Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let ended = self.copy_outputs(&mut stdout, &mut stderr).and_then(|()| self.end(self.deadline));
        match ended {
            Ok(status) => Ok(Output { status, stdout, stderr, timed_out: false }),
            Err(Error::Timeout(_)) if self.late() => {
                self.give_up();
                Ok(Output { status: ExitStatus::Missing, stdout, stderr, timed_out: true })
            }
            Err(error) => Err(error),
        }
    }

    /// The same, the outputs being written as they come: what was not taken or redirected.
    ///
    /// ```no_run
    /// # fn example(client: feramiko::SSHClient) -> feramiko::Result<()> {
    /// let make = client.exec_command("make")?;
    /// let status = make.copy_to(&mut std::io::stdout(), &mut std::io::stderr())?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and [`Error::Io`] when a writer fails.
    pub fn copy_to(mut self, stdout: &mut dyn Write, stderr: &mut dyn Write) -> Result<ExitStatus> {
        let ended = self.copy_outputs(stdout, stderr).and_then(|()| self.end(self.deadline));
        if matches!(ended, Err(Error::Timeout(_))) && self.late() {
            self.give_up();
            return Err(Error::Timeout(Phase::Exit));
        }
        ended
    }

    /// Copies the outputs that are here to their end, both at once.
    fn copy_outputs(&mut self, stdout: &mut dyn Write, stderr: &mut dyn Write) -> Result<()> {
        drop(self.stdin.take());
        // What is here is dropped only when the copies have ended.
        let (out, err) = (self.stdout.take(), self.stderr.take());
        let mut piece = vec![0; PIECE];
        if out.is_some() && err.is_some() {
            let link = self.channel.link().clone();
            loop {
                if !link.wait_readable(self.deadline) {
                    return Err(Error::Timeout(Phase::Exit));
                }
                let (readable, stderr_readable, _) = link.readiness();
                if readable && !self.copy_piece(Lane::Data, &mut piece, stdout)?
                    || stderr_readable && !self.copy_piece(Lane::Stderr, &mut piece, stderr)?
                {
                    break;
                }
            }
        }
        // What is left, of one stream at a time.
        while out.is_some() && self.copy_piece(Lane::Data, &mut piece, stdout)? {}
        while err.is_some() && self.copy_piece(Lane::Stderr, &mut piece, stderr)? {}
        stdout.flush().and_then(|()| stderr.flush()).map_err(unread)
    }

    /// Copies what there is of a stream; false at its end.
    fn copy_piece(&self, lane: Lane, piece: &mut [u8], to: &mut dyn Write) -> Result<bool> {
        let count = self.channel.link().read(lane, piece, self.deadline)?;
        to.write_all(piece.get(..count).unwrap_or_default()).map_err(unread)?;
        Ok(count > 0)
    }
}

fn unread(error: io::Error) -> Error {
    Error::io("copying a command's output", error)
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What a command left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Its time was over before it had ended: what is here is a part, and the status is missing.
    pub timed_out: bool,
}

impl Output {
    /// Itself if the command returned 0.
    ///
    /// # Errors
    /// [`Error::Exit`] with the status otherwise, [`Error::Timeout`] when its time was over.
    pub fn check(self) -> Result<Self> {
        if self.timed_out {
            return Err(Error::Timeout(Phase::Exit));
        }
        if self.status.success() { Ok(self) } else { Err(Error::Exit(self.status)) }
    }

    /// Standard output as text.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is not UTF-8.
    pub fn stdout_text(&self) -> Result<&str> {
        std::str::from_utf8(&self.stdout).map_err(|_| Error::Misuse("standard output is not UTF-8"))
    }

    /// Standard error as text.
    ///
    /// # Errors
    /// [`Error::Misuse`] when it is not UTF-8.
    pub fn stderr_text(&self) -> Result<&str> {
        std::str::from_utf8(&self.stderr).map_err(|_| Error::Misuse("standard error is not UTF-8"))
    }
}

/// A command's standard input. Dropping it is the end of input.
#[derive(Debug)]
pub struct ProcessStdin {
    pub(super) channel: Channel,
    pub(super) _held: Option<Arc<Held>>,
}

impl Write for ProcessStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.channel.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channel.flush()
    }
}

impl Drop for ProcessStdin {
    fn drop(&mut self) {
        self.channel.shutdown(Shutdown::Write);
    }
}

/// A command's standard output. Once it is dropped, what comes is dropped too.
#[derive(Debug)]
pub struct ProcessStdout {
    pub(super) channel: Channel,
    pub(super) _held: Option<Arc<Held>>,
}

impl Drop for ProcessStdout {
    fn drop(&mut self) {
        self.channel.link().stop_reading(Lane::Data);
    }
}

impl Read for ProcessStdout {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.channel.read(buf)
    }
}

impl TimedRead for ProcessStdout {
    fn read_within(&mut self, buf: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.channel.read_within(buf, timeout)
    }
}

/// A command's standard error. Once it is dropped, what comes is dropped too.
#[derive(Debug)]
pub struct ProcessStderr {
    pub(super) channel: Channel,
    pub(super) _held: Option<Arc<Held>>,
}

impl Drop for ProcessStderr {
    fn drop(&mut self) {
        self.channel.link().stop_reading(Lane::Stderr);
    }
}

impl Read for ProcessStderr {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.channel.stderr().read(buf)
    }
}

impl TimedRead for ProcessStderr {
    fn read_within(&mut self, buf: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.channel.stderr().read_within(buf, timeout)
    }
}
