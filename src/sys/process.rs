//! Processes that a session started: signals to the whole group, waiting, how one ended.
//!
//! A process started through `launch` leads a session and a group of its own, so that a signal
//! reaches what it started in turn.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use super::signals;

/// How a process ended, in the words of RFC 4254 §6.10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It returned this status.
    Code(u32),
    /// A signal ended it.
    Signal {
        /// The signal's name on the wire.
        name: &'static str,
        /// Whether the system kept an image of it.
        core_dumped: bool,
    },
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match status.signal() {
            Some(number) => Self::Signal { name: signals::name(number), core_dumped: status.core_dumped() },
            // Statuses are 0 to 255; one that is neither code nor signal never leaves `wait`.
            None => Self::Code(status.code().and_then(|code| u32::try_from(code).ok()).unwrap_or(255)),
        }
    }
}

/// Sends the signal that SSH calls `name` to the group of `pid`, a child of ours that nobody has waited for:
/// from then on its number may be that of a stranger, and of his group.
///
/// A leader that has not yet come so far as to have a group gets the signal alone. When nobody
/// is left this is no error.
pub(crate) fn signal_group(pid: u32, name: &str) -> io::Result<()> {
    let signal = signals::number(name).and_then(Signal::from_named_raw).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("no signal is called {}", name.escape_debug()))
    })?;
    let pid = checked(pid)?;
    let sent = match kill_process_group(pid, signal) {
        Err(Errno::SRCH) => kill_process(pid, signal),
        sent => sent,
    };
    match sent {
        Err(Errno::SRCH) => Ok(()),
        sent => Ok(sent?),
    }
}

/// Waits until at least one of two pipes can be read or has ended, and says which; none as soon as `stop`
/// can be read or has ended.
pub(crate) fn wait_readable(
    pipes: [Option<BorrowedFd<'_>>; 2],
    stop: BorrowedFd<'_>,
) -> io::Result<Option<[bool; 2]>> {
    // A pipe that is no more stands for nothing: it is not looked at unless `stop` is ready too.
    let [first, second] = pipes.map(|pipe| pipe.unwrap_or(stop));
    let mut fds = [first, second, stop].map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN));
    loop {
        match poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => break,
        }
    }
    let [first, second, stop] = fds.map(|fd| !fd.revents().is_empty());
    Ok((!stop).then_some([first, second]))
}

/// Waits until process `pid`, a child of ours, has ended, and leaves it to be waited for again.
///
/// A thread that watches a process waits with this, then takes the lock under which signals are
/// sent, notes that it has ended and only then calls `Child::wait`: no signal can reach a
/// stranger that was given the same number.
pub(crate) fn wait_ended(pid: u32) -> io::Result<()> {
    let pid = checked(pid)?;
    loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(Errno::INTR) => {}
            waited => return waited.map(drop).map_err(Into::into),
        }
    }
}

/// Process 0 would mean our own group and 1 is the system's: neither is ever a child of ours.
fn checked(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 1)
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{pid} is no child's number")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn shell(line: &str) -> Child {
        Command::new("/bin/sh")
            .args(["-c", line])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    #[test]
    fn statuses() {
        assert_eq!(Ending::from(shell("exit 0").wait().unwrap()), Ending::Code(0));
        assert_eq!(Ending::from(shell("exit 255").wait().unwrap()), Ending::Code(255));
        let killed = shell("kill -USR1 $$").wait().unwrap();
        assert_eq!(Ending::from(killed), Ending::Signal { name: "USR1", core_dumped: false });
        assert_eq!(
            Ending::from(ExitStatus::from_raw(0x80 | 6)),
            Ending::Signal { name: "ABRT", core_dumped: true }
        );
    }

    #[test]
    fn a_signal_reaches_the_whole_group() {
        let mut child = shell("sleep 600 & sleep 600");
        signal_group(child.id(), "TERM").unwrap();
        assert_eq!(Ending::from(child.wait().unwrap()), Ending::Signal { name: "TERM", core_dumped: false });
        // Ends only when no process of the group holds the pipe any more.
        let mut output = Vec::new();
        io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut output).unwrap();
    }

    #[test]
    fn a_leader_without_a_group_gets_the_signal_alone() {
        let mut child = Command::new("/bin/sleep").arg("600").spawn().unwrap();
        signal_group(child.id(), "KILL").unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn waiting_leaves_the_status() {
        let mut child = shell("exit 7");
        wait_ended(child.id()).unwrap();
        wait_ended(child.id()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert!(wait_ended(child.id()).is_err());
    }

    #[test]
    fn impossible_requests() {
        assert!(signal_group(0, "TERM").is_err());
        assert!(signal_group(1, "TERM").is_err());
        assert!(signal_group(u32::MAX, "TERM").is_err());
        let error = signal_group(4_000_000, "STOP\n").unwrap_err();
        assert_eq!(error.to_string(), "no signal is called STOP\\n");
    }
}
