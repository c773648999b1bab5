//! Other programs that a test runs: finds them, runs them to their end under a deadline, and ends them.
//! The unit tests of the library take this file in too.

#![allow(dead_code, reason = "no test uses everything")]

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Far more than any program takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether a program has ended.
const STEP: Duration = Duration::from_millis(2);

/// What `found` holds; without it, the test that asks is skipped or, where peers are required,
/// fails.
pub(crate) fn require<T>(peer: &str, found: Option<T>) -> Option<T> {
    if found.is_none() {
        let required = std::env::var_os("FERAMIKO_PEERS").is_some_and(|wanted| wanted == "required");
        assert!(!required, "{peer} is required and not here: run tests/peers/install");
        // Past the harness, which would show it of failed tests only.
        let _ = writeln!(io::stderr(), "skipped: no {peer}");
    }
    found
}

/// A program of the system, by its name.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    folders.map(|folder: PathBuf| folder.join(&file)).find(|path| path.is_file())
}

/// Where Debian has OpenSSH's SFTP server.
pub(crate) const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

/// The same, where it is installed.
pub(crate) fn sftp_server() -> Option<PathBuf> {
    let server = PathBuf::from(SFTP_SERVER);
    require("sftp-server", server.is_file().then_some(server))
}

/// A command of a program that a test cannot do without.
pub(crate) fn command(name: &str) -> Option<Command> {
    require(name, program(name)).map(Command::new)
}

/// A process that ends with the test.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// How it ended; none if it has not by then.
    pub(crate) fn end(&mut self, deadline: Instant) -> Option<ExitStatus> {
        loop {
            let status = self.0.try_wait().expect("it is ours");
            if status.is_some() || Instant::now() > deadline {
                return status;
            }
            thread::sleep(STEP);
        }
    }

    /// How it ended, which it must.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.end(Instant::now() + PATIENCE).unwrap_or_else(|| panic!("{self:?} does not end"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; until it was waited for its number is nobody else's.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end and returns what it printed; one that does not end is killed, and the
/// test fails.
pub(crate) fn output(command: &mut Command, input: impl Into<Vec<u8>>) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (mut running, deadline) = (Running::start(command), Instant::now() + PATIENCE);
    let child = &mut running.0;
    let (stdin, input) = (child.stdin.take(), input.into());
    // A program may have enough before it has read all.
    thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(&input)));
    let printed = [Printed::by(child.stdout.take()), Printed::by(child.stderr.take())];
    let whole = printed.iter().all(|printed| printed.is_whole(deadline));
    let [stdout, stderr] = printed.map(Printed::so_far);
    match running.end(deadline).filter(|_| whole) {
        Some(status) => Output { status, stdout, stderr },
        None => panic!(
            "{command:?} does not end; it said {} bytes and {}",
            stdout.len(),
            String::from_utf8_lossy(&stderr)
        ),
    }
}

/// What a program prints on one of its streams.
struct Printed {
    bytes: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl Printed {
    fn by(stream: Option<impl Read + Send + 'static>) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (kept, (ended, end)) = (Arc::clone(&bytes), channel::<()>());
        thread::spawn(move || {
            let _ended = ended;
            let mut piece = vec![0; 1 << 16];
            let mut stream = stream.expect("it is a pipe");
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                kept.lock().expect("nobody panics with it").extend_from_slice(&piece[..count]);
            }
        });
        Self { bytes, end }
    }

    /// Whether the stream comes to its end, which its thread says by ending.
    fn is_whole(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        self.end.recv_timeout(left) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
    }

    fn so_far(self) -> Vec<u8> {
        std::mem::take(&mut *self.bytes.lock().expect("nobody panics with it"))
    }
}
