//! Sessions that are programs: their streams joined to the channel, signals passed on, the whole
//! process group ended with the channel.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::session::{Handler, Session, SessionEvent};
use crate::channel::{Channel, ChannelStderr, copy};
use crate::engine::{ExitStatus, Poured, Program, Running, Sink, WriteHalf, spawn};
use crate::sys::pipe::{Pipe, Stop};
use crate::sys::process::wait_readable;

/// How much is read of a program's output at a time; a pipe holds as much.
const PIECE: usize = 64 * 1024;
/// Time for a program to end by itself when its channel is gone; then it is killed.
const HANG_UP: Duration = Duration::from_secs(5);

/// Copies until the end of input, an error, or a closed output: what ended it is no news.
pub(super) fn pump(mut from: impl Read, mut to: impl Write) {
    let _ = copy(&mut from, &mut to);
}

/// Passes on what happens while the program runs. When the channel closes, drops `until_closed` and hangs
/// the program up.
pub(super) fn pass_on(
    session: &Session,
    running: &Arc<Running>,
    until_closed: impl Send + 'static,
    resize: impl Fn((u32, u32), (u32, u32)) + Send + 'static,
) {
    let (signalled, running, gone) = (session.may_signal(), Arc::clone(running), Arc::clone(running));
    let event = move |event| match event {
        SessionEvent::Signal(name) if signalled => running.signal(&name),
        SessionEvent::Signal(name) => {
            log::debug!(target: "feramiko::server", "signal {name} is refused: the program is not of the client's choice");
        }
        SessionEvent::Resize { size, pixels } => resize(size, pixels),
        SessionEvent::Break(_) => {}
    };
    let closed = move || {
        drop(until_closed);
        hang_up(gone);
    };
    session.events().handle(Handler::new(event, closed));
}

/// Hangs a program up; what has not ended some time later is killed.
fn hang_up(running: Arc<Running>) {
    if !running.hang_up() {
        return;
    }
    let waiting = Arc::clone(&running);
    if let Err(error) = spawn("feramiko hang up", move || waiting.kill_after(HANG_UP)) {
        log::warn!(target: "feramiko::server", "a program is killed at once: {error}");
        running.signal("KILL");
    }
}

/// A program's standard input, as the connection's reader writes to it.
struct Stdin(Arc<Pipe>);

impl WriteHalf for Stdin {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_now(buf)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.0.wait_writable(deadline)
    }

    fn prompt(&self) -> bool {
        true
    }
}

/// Has what the client sends written to the program: by the reader as long as the program takes it at once, by
/// a thread from then on, until `ended`.
fn feed(channel: &Channel, stdin: ChildStdin, ended: &Arc<Stop>) -> io::Result<()> {
    let stdin = Arc::new(Pipe::new(stdin.into(), ended)?);
    let (there, waits) = (channel.clone(), Arc::clone(&stdin));
    let then = move |_, why| match why {
        Poured::All => {}
        Poured::Broken(_) => unread(&there),
        Poured::Full(first) => {
            let channel = there.clone();
            let carried = spawn("feramiko stdin", move || {
                if (&*waits).write_all(&first).is_ok() {
                    pump(&channel, &*waits);
                }
                unread(&channel);
            });
            if let Err(error) = carried {
                log::warn!(target: "feramiko::server", "a program gets no more input: {error}");
                there.close();
            }
        }
    };
    channel.link().pour(Sink::new(Box::new(Stdin(stdin)), then));
    Ok(())
}

/// The program reads no more: what comes is dropped, and the client may know.
fn unread(channel: &Channel) {
    channel.shutdown(Shutdown::Read);
    channel.send_eow();
}

/// Copies both outputs until both have ended, the channel takes no more, or `closed` ends with it. One
/// thread loses nothing: the streams of a channel share its window.
fn join_outputs(
    (stdout, stderr): (ChildStdout, ChildStderr),
    closed: &UnixStream,
    channel: &Channel,
    errors: ChannelStderr,
) {
    let mut piece = vec![0; PIECE];
    let mut outputs: [(Option<File>, &mut dyn Write); 2] = [
        (Some(OwnedFd::from(stdout).into()), &mut &*channel),
        (Some(OwnedFd::from(stderr).into()), &mut { errors }),
    ];
    while outputs.iter().any(|(from, _)| from.is_some()) {
        let [first, second] = &outputs;
        let pipes = [first, second].map(|(from, _)| from.as_ref().map(File::as_fd));
        let ready = match wait_readable(pipes, closed.as_fd()) {
            Ok(Some(ready)) => ready,
            Ok(None) => return,
            Err(error) => return log::warn!(target: "feramiko::server", "waiting for output: {error}"),
        };
        for ((from, to), _) in outputs.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
            match from.as_ref().map_or(Ok(0), |mut from| from.read(&mut piece)) {
                Ok(count @ 1..) => {
                    if to.write_all(piece.get(..count).unwrap_or_default()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => *from = None,
            }
        }
    }
}

impl Session {
    /// Runs a program with the session as its standard streams, to its end. It leads a process group
    /// of its own, which signals of the client reach, unless its command was forced or it asked for a
    /// subsystem, and which is hung up when the channel closes; what has not ended five seconds later is
    /// killed. What the program leaves behind when it has ended goes on.
    ///
    /// ```no_run
    /// # use feramiko::*;
    /// # fn session(session: Session) -> std::io::Result<ExitStatus> {
    /// session.run_command(std::process::Command::new("/usr/bin/uptime"))
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn run_command(self, mut command: Command) -> io::Result<ExitStatus> {
        command.process_group(0);
        self.run_prepared(command)
    }

    /// Runs a program that makes its own process group.
    pub(super) fn run_prepared(self, mut command: Command) -> io::Result<ExitStatus> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = Stop::new()?;
        let mut program = Program::start(command)?;
        let (closed, until_closed) = UnixStream::pair()?;
        pass_on(&self, program.running(), until_closed, |_, _| {});
        if let Some(stdin) = program.child.stdin.take() {
            feed(self.channel(), stdin, &ended)?;
        }
        if let (Some(stdout), Some(stderr)) = (program.child.stdout.take(), program.child.stderr.take()) {
            // Ends with the program's last holders of the pipes, or with the channel.
            join_outputs((stdout, stderr), &closed, self.channel(), self.stderr());
            // It may still read.
            self.channel().shutdown(Shutdown::Write);
        }
        let status = program.wait();
        // What it has left behind may hold its input and never read it.
        ended.stop();
        status
    }
}
