//! Commands on the server, in the manner of `std::process`.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use super::SSHClient;
use crate::agent::Agent;
use crate::channel::{Channel, Poll, PtyRequest};
use crate::engine::{ExitStatus, Lane};
use crate::error::{Error, Result};

/// How much is read of a command's output at a time.
const PIECE: usize = 64 * 1024;

/// A command that can be started.
#[derive(Debug)]
pub struct Command {
    client: SSHClient,
    command: Vec<u8>,
    env: Vec<(String, String)>,
    pty: Option<PtyRequest>,
    agent: Option<Agent>,
}

impl Command {
    pub(super) fn new(client: SSHClient, command: &[u8]) -> Self {
        Self { client, command: command.to_vec(), env: Vec::new(), pty: None, agent: None }
    }

    /// Sets an environment variable. Servers accept few names (`LC_*`, `LANG`) and do not say which.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets it use the agent; see [`Channel::request_forward_agent`].
    #[must_use]
    pub fn forward_agent(mut self, agent: &Agent) -> Self {
        self.agent = Some(agent.clone());
        self
    }

    /// Runs it on a pseudo-terminal; standard error then comes with standard output.
    #[must_use]
    pub fn get_pty(mut self, pty: PtyRequest) -> Self {
        self.pty = Some(pty);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// See [`SSHClient::exec_command`].
    pub fn spawn(self) -> Result<Process> {
        let channel = self.client.open_session()?;
        if let Some(agent) = &self.agent {
            channel.request_forward_agent(agent)?;
        }
        self.client.set_environment(&channel)?;
        for (name, value) in &self.env {
            channel.set_environment_variable(name, value)?;
        }
        if let Some(pty) = &self.pty {
            channel.get_pty(pty)?;
        }
        channel.exec_command(&self.command)?;
        Ok(Process {
            stdin: Some(ProcessStdin(channel.clone())),
            stdout: Some(ProcessStdout(channel.clone())),
            stderr: Some(ProcessStderr(channel.clone())),
            channel,
        })
    }

    /// Runs it to its end with an empty standard input; both outputs are read together.
    ///
    /// # Errors
    /// See [`SSHClient::output`].
    pub fn output(self) -> Result<Output> {
        self.spawn()?.wait_with_output()
    }
}

/// A running command. Dropping it closes its channel; what it does then is the server's affair.
#[derive(Debug)]
pub struct Process {
    /// Its standard input; dropping it is the end of input.
    pub stdin: Option<ProcessStdin>,
    /// Its standard output.
    pub stdout: Option<ProcessStdout>,
    /// Its standard error.
    pub stderr: Option<ProcessStderr>,
    channel: Channel,
}

impl Process {
    /// The command's channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Ends its input and waits for its end. Output that was not taken for reading is dropped as it
    /// comes.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection breaks.
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
        if self.stdout.is_some() && self.stderr.is_some() {
            drop((self.stdout.take(), self.stderr.take()));
        }
        self.channel.wait_exit(timeout)
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

    /// Ends its input, reads both outputs together, or the one that was not taken, and waits for its end.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection breaks.
    pub fn wait_with_output(mut self) -> Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let (Some(out), Some(err)) = (&mut self.stdout, &mut self.stderr) {
            read_both(&self.channel, (out, &mut stdout), (err, &mut stderr)).map_err(unread)?;
        }
        // What is left, of one stream at a time.
        if let Some(mut out) = self.stdout.take() {
            out.read_to_end(&mut stdout).map_err(unread)?;
        }
        if let Some(mut err) = self.stderr.take() {
            err.read_to_end(&mut stderr).map_err(unread)?;
        }
        Ok(Output { status: self.channel.wait_exit(None)?, stdout, stderr })
    }
}

fn unread(error: io::Error) -> Error {
    Error::io("reading a command's output", error)
}

/// Reads two streams of a channel until one of them has ended.
fn read_both(
    channel: &Channel,
    (out, stdout): (&mut impl Read, &mut Vec<u8>),
    (err, stderr): (&mut impl Read, &mut Vec<u8>),
) -> io::Result<()> {
    let mut poll = Poll::new();
    poll.add(channel);
    let mut piece = vec![0; PIECE];
    let mut read = |from: &mut dyn Read, to: &mut Vec<u8>| {
        let count = from.read(&mut piece)?;
        to.extend_from_slice(piece.get(..count).unwrap_or_default());
        io::Result::Ok(count > 0)
    };
    loop {
        let ready = poll.readable(None).first().map(|(_, ready)| *ready).unwrap_or_default();
        if ready.readable && !read(out, stdout)? || ready.stderr_readable && !read(err, stderr)? {
            return Ok(());
        }
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
}

impl Output {
    /// Itself if the command returned 0.
    ///
    /// # Errors
    /// [`Error::Exit`] with the status otherwise.
    pub fn check(self) -> Result<Self> {
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
pub struct ProcessStdin(Channel);

impl Write for ProcessStdin {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Drop for ProcessStdin {
    fn drop(&mut self) {
        self.0.shutdown(Shutdown::Write);
    }
}

/// A command's standard output. Once it is dropped, what comes is dropped too.
#[derive(Debug)]
pub struct ProcessStdout(Channel);

impl Drop for ProcessStdout {
    fn drop(&mut self) {
        self.0.link().stop_reading(Lane::Data);
    }
}

impl Read for ProcessStdout {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

/// A command's standard error. Once it is dropped, what comes is dropped too.
#[derive(Debug)]
pub struct ProcessStderr(Channel);

impl Drop for ProcessStderr {
    fn drop(&mut self) {
        self.0.link().stop_reading(Lane::Stderr);
    }
}

impl Read for ProcessStderr {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.stderr().read(buf)
    }
}
