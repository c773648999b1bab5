//! Going to the background without a fork: `-f`, and the master of ControlPersist. The program starts itself
//! again and waits until that one is logged in; questions are asked by the new one, on the terminal that both
//! have. Its standard input is a socket by which it tells that it is ready.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;

use rustix::process::setsid;

use crate::{FAILED, Outcome};

/// What the program is started with, before the arguments that it had itself: letters of [`Behind`] follow.
const HIDDEN: &str = "--in-background=";

/// What a process in the background is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behind {
    /// The user may be asked.
    pub(crate) asks: bool,
    /// It holds the connection for others, and has no session of its own.
    pub(crate) holds: bool,
}

impl Behind {
    /// What this process was started for by [`start`](Self::start), if it was.
    pub(crate) fn this() -> Option<Self> {
        let word = std::env::args_os().nth(1)?;
        let letters = word.to_str()?.strip_prefix(HIDDEN)?;
        Some(Self { asks: letters.contains('a'), holds: letters.contains('h') })
    }

    /// Starts the program again with its own arguments, and waits until it is ready, or has said why not and
    /// ended; the exit status.
    pub(crate) fn start(self) -> Outcome<i32> {
        let letters = [(self.asks, 'a'), (self.holds, 'h')];
        let letters: String = letters.iter().filter(|(is, _)| *is).map(|(_, letter)| letter).collect();
        let (mut ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(format!("{HIDDEN}{letters}")).args(std::env::args_os().skip(1));
        let mut child = command.stdin(OwnedFd::from(theirs)).spawn()?;
        // It has the other end of the socket, which says its end when that one has ended.
        drop(command);
        match ours.read(&mut [0])? {
            0 => Ok(child.wait()?.code().filter(|code| *code != 0).unwrap_or(FAILED)),
            _ => Ok(0),
        }
    }
}

fn null() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/null")
}

/// Tells whoever has started this process that it is ready, and leaves the terminal.
pub(crate) fn ready() -> io::Result<()> {
    // One that leads a session already has left the terminal.
    let _ = setsid();
    let told = io::stdin().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(null()?)?;
    UnixStream::from(told).write_all(b"+")
}

/// Lets go of the outputs, so that whoever reads them finds their end. A log on standard error is shown on.
pub(crate) fn leave_outputs() -> io::Result<()> {
    rustix::stdio::dup2_stdout(null()?)?;
    if log::max_level() < log::LevelFilter::Debug {
        rustix::stdio::dup2_stderr(null()?)?;
    }
    Ok(())
}
