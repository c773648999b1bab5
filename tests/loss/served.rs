//! Our `sshd` as a process whose number is known: what it has open, what it has started, what it has left.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::peers::{Folder, Keys, Server, example, keeper, start};

/// How soon all of a connection must be gone: whoever ignores the hang-up is killed after five seconds.
const SETTLED: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(10);

/// The server. What it runs has a variable in its environment that nothing else has.
pub(crate) struct Served {
    server: Server,
    pid: Pid,
    /// Where it may leave files.
    pub(crate) folder: Folder,
    home: Folder,
    before: (usize, usize),
}

impl Served {
    pub(crate) fn start(host: &Keys, own: &Keys, options: &[&str]) -> Self {
        let (folder, home) = (Folder::new(), Folder::new());
        let server = start("our sshd", |_, port| {
            let mut command = keeper(r#"sh -c 'echo "pid $$" >&2; exec "$@"' sh "$@""#);
            command.arg(example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1", "-h"]);
            command.arg(host.private("ed25519")).arg("-a").arg(own.private("ed25519").with_extension("pub"));
            // Nobody's start-up files.
            command.arg(format!("-oSetEnv=HOME={0} LEFT={0}", home.path().display())).args(options);
            command.env("TMPDIR", folder.path());
            (command, "listening on".to_owned())
        });
        let log = server.log();
        let pid = log.lines().find_map(|line| line.strip_prefix("pid ")).unwrap().parse().unwrap();
        let mut served = Self { server, pid: Pid::from_raw(pid).unwrap(), folder, home, before: (0, 0) };
        served.before = (served.threads().len(), served.descriptors().len());
        served
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    fn entries(&self, folder: &str) -> Vec<PathBuf> {
        let path = format!("/proc/{}/{folder}", self.pid.as_raw_nonzero());
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// The names of its threads.
    fn threads(&self) -> Vec<String> {
        let name = |path: PathBuf| fs::read_to_string(path.join("comm")).unwrap_or_default();
        self.entries("task").into_iter().map(name).collect()
    }

    /// What its descriptors lead to; one that is closed meanwhile leads nowhere.
    fn descriptors(&self) -> Vec<PathBuf> {
        self.entries("fd").into_iter().filter_map(|path| fs::read_link(path).ok()).collect()
    }

    /// Its children, and whatever else sessions have started and left, as numbers.
    fn programs(&self) -> Vec<String> {
        let mark = format!("LEFT={}", self.home.path().display());
        let belongs = |path: &PathBuf| {
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            // Behind the name, which may hold anything: the state, then the parent.
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
            let environment = fs::read(path.join("environ")).unwrap_or_default();
            parent == Some(&self.pid.as_raw_nonzero().to_string())
                || environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        let found = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()).filter(belongs);
        let shown = |path: PathBuf| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            format!("{}: {}", path.display(), String::from_utf8_lossy(&line).replace('\0', " "))
        };
        found.map(shown).collect()
    }

    /// The files in its temporary folder.
    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    /// In time it has nothing that it had not when it started, and nothing of what it has run is there.
    pub(crate) fn settles(&self) {
        let until = Instant::now() + SETTLED;
        loop {
            let (threads, descriptors) = (self.threads(), self.descriptors());
            let (programs, files) = (self.programs(), self.files());
            if (threads.len(), descriptors.len()) == self.before && programs.is_empty() && files.is_empty() {
                return;
            }
            assert!(
                Instant::now() < until,
                "before: {:?}; now {threads:?} {descriptors:?} {programs:?} {files:?}",
                self.before
            );
            std::thread::sleep(STEP);
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // One that is stopped would not end when it is told to. It may be gone.
        let _ = kill_process(self.pid, Signal::CONT);
    }
}
