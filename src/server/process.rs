//! Sessions that are programs: their streams joined to the channel, signals passed on, the whole
//! process group ended with the channel.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;

use super::session::{Session, SessionEvent, SessionEvents};
use crate::channel::Channel;
use crate::engine::{ExitStatus, spawn};
use crate::sys::process::{Ending, Leader, signal_group, wait_ended};

/// How much is read of a program's output at a time; a pipe holds as much.
const PIECE: usize = 64 * 1024;

/// A program that runs, as those see it that signal it.
pub(super) struct Running {
    pid: u32,
    /// Held while a signal is sent, so that none reaches a stranger with the same number.
    leader: Mutex<Leader>,
}

impl Running {
    pub(super) fn new(pid: u32) -> Arc<Self> {
        Arc::new(Self { pid, leader: Mutex::new(Leader::Present) })
    }

    /// Passes a signal on. That there is no such signal, or nobody left, is the client's affair.
    pub(super) fn signal(&self, name: &str) {
        if let Err(error) = signal_group(self.pid, *self.leader.lock(), name) {
            log::debug!(target: "feramiko::server", "signal {name}: {error}");
        }
    }

    /// Waits for the end without taking the child's number away from those who signal.
    pub(super) fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        wait_ended(self.pid)?;
        let mut leader = self.leader.lock();
        *leader = Leader::Reaped;
        let ending = Ending::from(child.wait()?);
        Ok(match ending {
            Ending::Code(code) => ExitStatus::Code(code),
            Ending::Signal { name, core_dumped } => {
                ExitStatus::Signal { name: name.to_owned(), core_dumped, message: String::new() }
            }
        })
    }
}

/// Copies until the end of input, an error, or a closed output.
pub(super) fn pump(mut from: impl Read, mut to: impl Write) {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return,
            Ok(count) => {
                if to.write_all(piece.get(..count).unwrap_or_default()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Hangs the program up when the channel closes under it.
pub(super) fn hang_up_with(channel: &Channel, running: &Arc<Running>) -> io::Result<()> {
    let (channel, running) = (channel.link().clone(), Arc::clone(running));
    spawn("feramiko hang-up", move || {
        channel.wait_closed();
        running.signal("HUP");
    })?;
    Ok(())
}

/// Passes on what happens while the program runs.
pub(super) fn pass_on(
    events: SessionEvents,
    running: &Arc<Running>,
    resize: impl Fn((u32, u32), (u32, u32)) + Send + 'static,
) -> io::Result<()> {
    let running = Arc::clone(running);
    spawn("feramiko events", move || {
        while let Some(event) = events.recv() {
            match event {
                SessionEvent::Signal(name) => running.signal(&name),
                SessionEvent::Resize { size, pixels } => resize(size, pixels),
                SessionEvent::Break(_) => {}
            }
        }
    })?;
    Ok(())
}

impl Session {
    /// Runs a program with the session as its standard streams, to its end. It leads a process group
    /// of its own, which signals of the client reach and which is hung up when the channel closes.
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
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        drop(command);
        let running = Running::new(child.id());
        hang_up_with(self.channel(), &running)?;
        pass_on(self.events().clone(), &running, |_, _| {})?;
        if let Some(stdin) = child.stdin.take() {
            let channel = self.channel().clone();
            spawn("feramiko stdin", move || {
                pump(&channel, stdin);
                // The program reads no more: what comes is dropped, and the client may know.
                channel.shutdown(Shutdown::Read);
                channel.send_eow();
            })?;
        }
        let stderr = child.stderr.take();
        let errors = self.stderr();
        let second = spawn("feramiko stderr", move || {
            if let Some(stderr) = stderr {
                pump(stderr, errors);
            }
        })?;
        if let Some(stdout) = child.stdout.take() {
            pump(stdout, self.channel());
        }
        // Ends with the program's last holder of the pipe, or with the channel.
        if second.join().is_err() {
            log::error!(target: "feramiko::server", "the thread of standard error panicked");
        }
        running.wait(&mut child)
    }
}
