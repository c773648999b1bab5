//! Watchdogs: of time, and of memory.

#![allow(dead_code, reason = "no test uses everything")]

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Longer than any case takes on a busy machine; a case that takes as long hangs.
const WATCHDOG: Duration = Duration::from_secs(120);
/// The same for those that only run where time is not short.
const LONG: Duration = Duration::from_secs(1800);

/// Whether what takes long is to be done too, as under `tests/run --all`.
pub(crate) fn long() -> bool {
    std::env::var_os("FERAMIKO_LONG").is_some()
}

/// Runs a case, or fails if it hangs.
pub(crate) fn within<T: Send + 'static>(what: &str, case: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let running = thread::spawn(move || {
        let _ = sender.send(case());
    });
    match receiver.recv_timeout(if long() { LONG } else { WATCHDOG }) {
        Ok(done) => done,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{what}: hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(running.join().unwrap_err()),
    }
}

/// Runs a case in a process of its own, which may not need more memory than so many MiB; `test` is the
/// whole name of the test that calls this.
pub(crate) fn alone(test: &'static str, most: u64, case: impl FnOnce() + Send + 'static) {
    const MARK: &str = "FERAMIKO_ALONE";
    if std::env::var(MARK).is_ok_and(|name| name == test) {
        let before = memory("VmRSS:");
        within(test, case);
        let used = memory("VmHWM:").saturating_sub(before);
        assert!(used <= most, "{used} MiB and not {most}");
        return;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(MARK, test);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "no test of that name: {test}");
}

/// A figure of this process, in MiB; 0 where the system does not tell it.
pub(crate) fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let Some(line) = status.lines().find_map(|line| line.strip_prefix(field)) else { return 0 };
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
