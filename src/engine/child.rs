//! A child process, shared by the thread that waits for its end and those that signal it.

use std::io;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::ExitStatus;
use crate::sys::process::{Ending, signal_group, wait_ended};

/// A program that runs, as those see it that signal it: once it has ended nothing is signalled any more, for
/// its number may be somebody else's by then. What it left behind in its group goes on.
#[derive(Debug)]
pub(crate) struct Running {
    pid: u32,
    /// Whether it has ended. Held while a signal is sent, so that none reaches a stranger with the same number.
    ended: Mutex<bool>,
    /// It has ended.
    reaped: Condvar,
}

impl Running {
    fn new(pid: u32) -> Arc<Self> {
        Arc::new(Self { pid, ended: Mutex::new(false), reaped: Condvar::new() })
    }

    /// Passes a signal on. That there is no such signal, or nobody left, is the client's affair.
    pub(crate) fn signal(&self, name: &str) {
        let sent = self.send(*self.ended.lock(), name);
        note(name, sent);
    }

    /// Hangs it up; whether it still ran.
    pub(crate) fn hang_up(&self) -> bool {
        let (ran, sent) = {
            let ended = self.ended.lock();
            (!*ended, self.send(*ended, "HUP"))
        };
        note("HUP", sent);
        ran
    }

    /// Kills it if it has not ended after `grace`.
    pub(crate) fn kill_after(&self, grace: Duration) {
        let deadline = Instant::now().checked_add(grace);
        let mut ended = self.ended.lock();
        while !*ended {
            if deadline.is_none_or(|until| self.reaped.wait_until(&mut ended, until).timed_out()) {
                break;
            }
        }
        let sent = self.send(*ended, "KILL");
        drop(ended);
        note("KILL", sent);
    }

    fn send(&self, ended: bool, name: &str) -> io::Result<()> {
        if ended { Ok(()) } else { signal_group(self.pid, name) }
    }

    /// Waits for the end without taking the child's number away from those who signal.
    fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        wait_ended(self.pid)?;
        let mut ended = self.ended.lock();
        *ended = true;
        self.reaped.notify_all();
        let ending = Ending::from(child.wait()?);
        Ok(match ending {
            Ending::Code(code) => ExitStatus::Code(code),
            Ending::Signal { name, core_dumped } => {
                ExitStatus::Signal { name: name.to_owned(), core_dumped, message: String::new() }
            }
        })
    }
}

/// Told without a lock: what writes the log is the application's.
fn note(name: &str, sent: io::Result<()>) {
    if let Err(error) = sent {
        log::debug!(target: "feramiko::process", "signal {name}: {error}");
    }
}

/// A program that was started here. If its end is not waited for it is killed, so that whatever fails
/// after its start leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) child: Child,
    running: Arc<Running>,
    waited: bool,
}

impl Program {
    /// Starts it. The command goes: it may hold the far ends of what the program is to hold alone.
    pub(crate) fn start(mut command: Command) -> io::Result<Self> {
        let child = command.spawn()?;
        Ok(Self { running: Running::new(child.id()), child, waited: false })
    }

    pub(crate) fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> io::Result<ExitStatus> {
        self.waited = true;
        self.running.wait(&mut self.child)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.waited {
            return;
        }
        self.running.signal("KILL");
        if let Err(error) = self.running.wait(&mut self.child) {
            log::debug!(target: "feramiko::process", "a program that was given up: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_given_up_is_killed_and_waited_for() {
        let mut command = Command::new("/bin/sleep");
        command.arg("600");
        let program = Program::start(command).unwrap();
        let pid = program.child.id();
        drop(program);
        assert!(wait_ended(pid).is_err(), "it is still a child of ours");
    }
}
