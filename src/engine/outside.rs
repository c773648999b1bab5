//! What waits for somebody outside of SSH, with an end to the waiting: calls of the system that know no
//! deadline, and commands that the user's own files name.
//!
//! A thread of its own waits; it is left behind, or its program killed, when that takes too long.

#[cfg(unix)]
use std::ffi::OsStr;
#[cfg(unix)]
use std::io::{self, Read};
#[cfg(unix)]
use std::os::unix::process::CommandExt;
#[cfg(unix)]
use std::process::{Command, Stdio};
#[cfg(unix)]
use std::sync::Arc;
use std::time::Duration;

use super::spawn;
#[cfg(unix)]
use super::{ExitStatus, Program};
use crate::error::Result;

/// What `call` gives, or none when it takes longer than `time`: then its thread is left behind.
pub(crate) fn within<T: Send + 'static>(
    name: &str,
    time: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<Option<T>> {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    spawn(name, move || {
        // Nobody listens any more after the time.
        let _ = sender.send(call());
    })?;
    Ok(receiver.recv_timeout(time).ok())
}

/// Whether a command, run by a shell, ends with status 0. Its input is empty, its output nobody's; what it
/// says on standard error is shown.
#[cfg(unix)]
pub(crate) fn succeeds(shell: &OsStr, command: &str, time: Duration) -> io::Result<bool> {
    let mut run = Command::new(shell);
    run.arg("-c").arg(command);
    let (status, _) = run_to_its_end(run, 0, time)?;
    match status {
        ExitStatus::Code(code) => Ok(code == 0),
        other => Err(io::Error::other(format!("it ended abnormally: {other}"))),
    }
}

/// What a program prints, at most `limit` bytes; an error when it does not end with status 0.
#[cfg(unix)]
pub(crate) fn printed(words: &[String], limit: u64, time: Duration) -> io::Result<Vec<u8>> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut run = Command::new(program);
    run.args(arguments);
    let (status, printed) = run_to_its_end(run, limit, time)?;
    match status {
        ExitStatus::Code(0) => Ok(printed),
        other => Err(io::Error::other(format!("{program} failed: {other}"))),
    }
}

/// Runs a program to its end, and kills it when that takes longer than `time`, or when it prints more than
/// `limit` bytes; without a limit nobody reads what it prints.
#[cfg(unix)]
fn run_to_its_end(mut run: Command, limit: u64, time: Duration) -> io::Result<(ExitStatus, Vec<u8>)> {
    let heard = limit > 0;
    run.stdin(Stdio::null()).stdout(if heard { Stdio::piped() } else { Stdio::null() }).process_group(0);
    let mut program = Program::start(run)?;
    let running = Arc::clone(program.running());
    let output = program.child.stdout.take();
    let killed = Arc::clone(&running);
    let ended = within("feramiko command", time, move || {
        let mut printed = Vec::new();
        if let Some(output) = output {
            output.take(limit.saturating_add(1)).read_to_end(&mut printed)?;
        }
        let long = heard && u64::try_from(printed.len()).is_ok_and(|length| length > limit);
        if long {
            killed.signal("KILL");
        }
        let status = program.wait()?;
        if long {
            return Err(io::Error::other(format!("it prints more than {limit} bytes")));
        }
        Ok((status, printed))
    });
    ended.map_err(io::Error::from)?.unwrap_or_else(|| {
        // The thread that waits for it sees it end.
        running.signal("KILL");
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("it takes longer than {} s", time.as_secs())))
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn commands_end() {
        let shell = OsStr::new("/bin/sh");
        assert!(succeeds(shell, "exit 0", LONG).unwrap());
        assert!(!succeeds(shell, "exit 3", LONG).unwrap());
        assert!(succeeds(shell, "kill -9 $$", LONG).is_err());
        assert!(succeeds(OsStr::new("/no/such/shell"), "true", LONG).is_err());
        let late = succeeds(shell, "sleep 600", Duration::from_millis(50)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let words = |text: &str| ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
        assert_eq!(printed(&words("printf abc"), 3, LONG).unwrap(), b"abc");
        assert!(printed(&words("printf abcd"), 3, LONG).is_err());
        assert!(printed(&words("yes"), 1000, LONG).is_err());
        assert!(printed(&words("echo; exit 1"), 10, LONG).is_err());
        assert!(printed(&[], 10, LONG).is_err());
    }
}
