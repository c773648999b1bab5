//! A command before it runs, in the manner of `std::process`, and the threads that copy its redirected
//! streams.

use std::io::{self, Cursor, Read, Write};
use std::net::Shutdown;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::SSHClient;
use super::process::{Held, Output, Process, ProcessStderr, ProcessStdin, ProcessStdout};
use crate::agent::Agent;
use crate::channel::{Channel, End, PtyRequest, Redirect, copy};
use crate::engine::{ExitStatus, Lane, spawn};
use crate::error::{Error, Result};
use crate::sys::standard::Standard;

/// A command that can be started.
///
/// Its streams are piped unless told otherwise ([`status`](Self::status) lets it inherit them). Those that
/// are redirected are copied by threads of their own for as long as the [`Process`], or one of the streams
/// it gave, is held; with the last of them the channel is closed.
///
/// ```no_run
/// use std::{fs::File, time::Duration};
/// # fn example(client: feramiko::SSHClient) -> Result<(), Box<dyn std::error::Error>> {
/// let sorted = client.command("sort").input("b\na\n").output()?.check()?;
/// let status = client
///     .command("make -C /srv/site 2>&1")
///     .stdout(File::create("make.log")?)
///     .timeout(Duration::from_secs(600))
///     .status()?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Command {
    client: SSHClient,
    command: Vec<u8>,
    env: Vec<(String, String, Answered)>,
    pty: Option<PtyRequest>,
    agent: Option<Agent>,
    stdin: Option<Redirect>,
    stdout: Option<Redirect>,
    stderr: Option<Redirect>,
    combine: bool,
    timeout: Option<Duration>,
}

/// Whether the server's answer to a variable counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    Yes,
    No,
}

impl Command {
    pub(super) fn new(client: SSHClient, command: &[u8]) -> Self {
        Self {
            client,
            command: command.to_vec(),
            env: Vec::new(),
            pty: None,
            agent: None,
            stdin: None,
            stdout: None,
            stderr: None,
            combine: false,
            timeout: None,
        }
    }

    /// Sets an environment variable. Servers accept few names (`LC_*`, `LANG`) and are not asked which:
    /// see [`require_env`](Self::require_env).
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned(), Answered::No));
        self
    }

    /// Sets an environment variable without which the command is not started: a server that does not accept
    /// it is an error, [`Error::RequestRefused`].
    #[must_use]
    pub fn require_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned(), Answered::Yes));
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

    /// Where its input comes from.
    #[must_use]
    pub fn stdin(mut self, from: impl Into<Redirect>) -> Self {
        self.stdin = Some(from.into());
        self
    }

    /// What it reads as its input.
    #[must_use]
    pub fn input(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin(Redirect::reader(Cursor::new(bytes.into())))
    }

    /// Where its output goes to.
    #[must_use]
    pub fn stdout(mut self, to: impl Into<Redirect>) -> Self {
        self.stdout = Some(to.into());
        self
    }

    /// Where its errors go to.
    #[must_use]
    pub fn stderr(mut self, to: impl Into<Redirect>) -> Self {
        self.stderr = Some(to.into());
        self
    }

    /// Has its errors with its output, in the order they come; paramiko's `set_combine_stderr`.
    #[must_use]
    pub fn stderr_to_stdout(mut self) -> Self {
        self.combine = true;
        self
    }

    /// The time that it has, from its start on: whoever waits for it then ends it (the signal KILL, and its
    /// channel is closed; not every server passes signals on) and is told so: [`Error::Timeout`] or, with
    /// what it has printed by then, [`Output::timed_out`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// See [`SSHClient::exec_command`]; [`Error::Misuse`] for a stream that goes the other way.
    pub fn spawn(self) -> Result<Process> {
        self.start(Redirect::piped, Redirect::piped)
    }

    /// Runs it to its end with an empty standard input, unless told otherwise; both outputs are read together.
    ///
    /// # Errors
    /// See [`SSHClient::output`].
    pub fn output(self) -> Result<Output> {
        self.start(Redirect::null, Redirect::piped)?.wait_with_output()
    }

    /// Runs it to its end with the streams of this process, unless told otherwise.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`Process::wait`].
    pub fn status(self) -> Result<ExitStatus> {
        self.start(Redirect::inherit, Redirect::inherit)?.wait()
    }

    fn start(self, input: impl Fn() -> Redirect, output: impl Fn() -> Redirect) -> Result<Process> {
        let stdin = self.stdin.unwrap_or_else(input).source()?;
        let stdout = self.stdout.unwrap_or_else(&output).sink(Standard::output)?;
        let stderr = match (self.combine, self.stderr) {
            (false, stderr) => stderr.unwrap_or_else(&output).sink(Standard::error)?,
            (true, None) => End::Null,
            (true, Some(_)) => return Err(Error::Misuse("standard error cannot go to two places")),
        };
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let channel = match self.timeout {
            None => self.client.open_session()?,
            timeout => self.client.transport().open_channel("session", b"", timeout)?,
        };
        // Each request has what is left of the time.
        let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        channel.set_read_timeout(left());
        if let Some(agent) = &self.agent {
            channel.request_forward_agent(agent)?;
        }
        self.client.set_environment(&channel)?;
        for (name, value, answered) in &self.env {
            channel.set_read_timeout(left());
            match answered {
                Answered::Yes => channel.request_environment_variable(name, value)?,
                Answered::No => channel.set_environment_variable(name, value)?,
            }
        }
        channel.set_read_timeout(left());
        if let Some(pty) = &self.pty {
            channel.get_pty(pty)?;
            channel.set_read_timeout(left());
        }
        channel.set_combine_stderr(self.combine);
        channel.exec_command(&self.command)?;
        channel.set_read_timeout(None);
        Streams { stdin, stdout, stderr, combined: self.combine }.joined(channel, deadline)
    }
}

/// The streams of a command that has just been started.
struct Streams {
    stdin: End<Box<dyn Read + Send>>,
    stdout: End<Box<dyn Write + Send>>,
    stderr: End<Box<dyn Write + Send>>,
    combined: bool,
}

impl Streams {
    /// Starts the copies; what is left is the caller's.
    fn joined(self, channel: Channel, deadline: Option<Instant>) -> Result<Process> {
        let copied = matches!(self.stdin, End::There(_))
            || matches!(self.stdout, End::There(_))
            || matches!(self.stderr, End::There(_));
        let held = copied.then(|| Arc::new(Held(channel.clone())));
        let mut process = Process {
            stdin: None,
            stdout: None,
            stderr: None,
            channel: channel.clone(),
            feeding: None,
            piped: 0,
            copies: Vec::new(),
            deadline,
            _held: held.clone(),
        };
        match self.stdin {
            End::Piped => {
                process.stdin = Some(ProcessStdin { channel: channel.clone(), _held: held.clone() })
            }
            End::Null => channel.shutdown(Shutdown::Write),
            End::There(source) => process.feeding = Some(feed(source, &channel)?),
        }
        match self.stdout {
            End::Piped => {
                process.stdout = Some(ProcessStdout { channel: channel.clone(), _held: held.clone() })
            }
            End::Null => channel.link().stop_reading(Lane::Data),
            End::There(sink) => process.copies.push(drain(&channel, Lane::Data, sink)?),
        }
        match self.stderr {
            End::Piped => process.stderr = Some(ProcessStderr { channel, _held: held }),
            // Of what comes with the output there is nothing to drop.
            End::Null if self.combined => {}
            End::Null => channel.link().stop_reading(Lane::Stderr),
            End::There(sink) => process.copies.push(drain(&channel, Lane::Stderr, sink)?),
        }
        process.piped = usize::from(process.stdout.is_some()) + usize::from(process.stderr.is_some());
        Ok(process)
    }
}

/// How a copy ended, when it has.
pub(super) type Copied = Receiver<io::Result<()>>;

/// Gives a command its input. While the source is waited for nothing holds the channel: a terminal that nobody
/// types at keeps no connection.
fn feed(mut source: Box<dyn Read + Send>, channel: &Channel) -> Result<Copied> {
    let (sender, copied) = crossbeam_channel::bounded(1);
    let there = channel.weak();
    spawn("feramiko stdin", move || {
        let mut input = Input { there: &there, refused: false };
        let result = copy(&mut *source, &mut input);
        // A command that reads no more has what it wants.
        let Some(channel) = there().filter(|_| !input.refused) else { return };
        if result.is_ok() {
            channel.shutdown(Shutdown::Write);
        } else {
            // Half of an input must not look like all of it. Nobody may wait to be told.
            let _ = sender.send(result);
            channel.close();
        }
    })?;
    Ok(copied)
}

/// The command's end of its input, for as long as somebody holds the channel.
struct Input<'a, F: Fn() -> Option<Channel>> {
    there: &'a F,
    /// It takes no more.
    refused: bool,
}

impl<F: Fn() -> Option<Channel>> Write for Input<'_, F> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let closed = || Err(Error::Closed(None).into());
        let written = (self.there)().map_or_else(closed, |channel| (&channel).write(buf));
        self.refused = written.is_err();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies one of a command's outputs to its end.
fn drain(channel: &Channel, lane: Lane, mut sink: Box<dyn Write + Send>) -> Result<Copied> {
    let (sender, copied) = crossbeam_channel::bounded(1);
    let link = channel.link().clone();
    spawn("feramiko output", move || {
        let mut from: Box<dyn Read> = match lane {
            Lane::Data => Box::new(Channel::new(link.clone())),
            Lane::Stderr => Box::new(Channel::new(link.clone()).stderr()),
        };
        let result = copy(&mut *from, &mut *sink);
        // Where the sink takes no more, what comes is dropped.
        link.stop_reading(lane);
        // Nobody may wait for it.
        let _ = sender.send(result);
    })?;
    Ok(copied)
}

impl From<ProcessStdin> for Redirect {
    fn from(stdin: ProcessStdin) -> Self {
        Self::writer(stdin)
    }
}

impl From<ProcessStdout> for Redirect {
    fn from(stdout: ProcessStdout) -> Self {
        Self::reader(stdout)
    }
}

impl From<ProcessStderr> for Redirect {
    fn from(stderr: ProcessStderr) -> Self {
        Self::reader(stderr)
    }
}

impl From<ChildStdin> for Redirect {
    fn from(stdin: ChildStdin) -> Self {
        Self::writer(stdin)
    }
}

impl From<ChildStdout> for Redirect {
    fn from(stdout: ChildStdout) -> Self {
        Self::reader(stdout)
    }
}

impl From<ChildStderr> for Redirect {
    fn from(stderr: ChildStderr) -> Self {
        Self::reader(stderr)
    }
}
