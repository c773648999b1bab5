//! Sessions that are programs: their streams joined to the channel, signals passed on, the whole
//! process group ended with the channel.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::session::{Session, SessionEvent};
use crate::channel::{Channel, ChannelStderr, copy};
use crate::engine::{ExitStatus, Program, Running, spawn};
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
) -> io::Result<()> {
    let (events, running) = (session.events().clone(), Arc::clone(running));
    let signalled = session.may_signal();
    spawn("feramiko events", move || {
        while let Some(event) = events.recv() {
            match event {
                SessionEvent::Signal(name) if signalled => running.signal(&name),
                SessionEvent::Signal(name) => {
                    log::debug!(target: "feramiko::server", "signal {name} is refused: the program is not of the client's choice");
                }
                SessionEvent::Resize { size, pixels } => resize(size, pixels),
                SessionEvent::Break(_) => {}
            }
        }
        drop(until_closed);
        running.hang_up(HANG_UP);
    })?;
    Ok(())
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
        let mut program = Program::start(command)?;
        let (closed, until_closed) = UnixStream::pair()?;
        pass_on(&self, program.running(), until_closed, |_, _| {})?;
        if let Some(stdin) = program.child.stdin.take() {
            let channel = self.channel().clone();
            spawn("feramiko stdin", move || {
                pump(&channel, stdin);
                // The program reads no more: what comes is dropped, and the client may know.
                channel.shutdown(Shutdown::Read);
                channel.send_eow();
            })?;
        }
        if let (Some(stdout), Some(stderr)) = (program.child.stdout.take(), program.child.stderr.take()) {
            // Ends with the program's last holders of the pipes, or with the channel.
            join_outputs((stdout, stderr), &closed, self.channel(), self.stderr());
            // It may still read.
            self.channel().shutdown(Shutdown::Write);
        }
        program.wait()
    }
}
