//! Sessions at a terminal: the line editor, and what ends a transfer.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::peers::Folder;
use crate::{PATIENCE, SFTP_SERVER, given, openssh, ours, prepare};

/// A pseudo-terminal: the near side and the far side.
fn terminal() -> (File, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let path = ptsname(&near, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let far = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    let size = rustix::termios::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&near, size).unwrap();
    (near.into(), far)
}

/// A session at a terminal.
struct Session {
    near: File,
    child: Child,
    folder: Folder,
}

/// A line that nothing is typed in yet.
const PROMPT: &str = "sftp> \x1b[K\r\x1b[6C";

impl Session {
    fn start(more: &[&str]) -> Self {
        let folder = Folder::new();
        prepare(folder.path());
        let (near, far) = terminal();
        let stream = || Stdio::from(far.try_clone().unwrap());
        // It tells who it is.
        let server = folder.file("server");
        fs::write(
            &server,
            format!("#!/bin/sh\necho $$ > '{}'\nexec {SFTP_SERVER}", folder.file("pid").display()),
        )
        .unwrap();
        fs::set_permissions(&server, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(ours()).args(more).arg("-D").arg(server);
        command.current_dir(folder.path().join("here")).env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        let mut this = Self { near, child, folder };
        this.until("sftp> ");
        this
    }

    fn keys(&mut self, keys: &str) {
        self.near.write_all(keys.as_bytes()).unwrap();
    }

    /// What is shown up to there.
    fn until(&mut self, wanted: &str) -> String {
        let (found, shown) = self.within(PATIENCE, wanted);
        assert!(found, "{wanted} did not come: {shown}");
        shown
    }

    /// What is shown up to there, or until the time is over.
    fn within(&mut self, time: Duration, wanted: &str) -> (bool, String) {
        let begun = Instant::now();
        let mut shown = String::new();
        while !shown.contains(wanted) {
            let left = time.saturating_sub(begun.elapsed()).try_into().unwrap();
            if poll(&mut [PollFd::new(&self.near, PollFlags::IN)], Some(&left)).unwrap() == 0 {
                return (false, shown);
            }
            let mut buffer = [0; 4096];
            let count = self.near.read(&mut buffer).unwrap_or_else(|error| panic!("{error} after {shown}"));
            shown += &String::from_utf8_lossy(&buffer[..count]);
        }
        (true, shown)
    }

    fn signal(&self, signal: Signal) {
        let pid = fs::read_to_string(self.folder.file("pid")).unwrap();
        kill_process(Pid::from_raw(pid.trim().parse().unwrap()).unwrap(), signal).unwrap();
    }

    /// Runs a line and waits for what it says.
    fn line(&mut self, keys: &str, wanted: &str) -> String {
        self.keys(keys);
        self.keys("\r");
        let mut shown = self.until(wanted);
        if !shown.ends_with(PROMPT) {
            shown += &self.until(PROMPT);
        }
        shown
    }
}

#[test]
fn lines_are_edited_remembered_and_completed() {
    let _watch = given::within(120);
    if openssh().is_none() {
        return;
    }
    let mut session = Session::start(&[]);
    session.line("cd ../there", "sftp> ");
    // Keys: the beginning, the end, and one too many.
    session.line("wdx\x7f\x01p\x05", "Remote working directory: ");
    session.line("\x1b[A", "Remote working directory: ");
    session.line("\x10\x10\x0e", "Remote working directory: ");
    // A command, and a name on the server.
    session.line("vers\t", "SFTP protocol version 3");
    let shown = session.line("get tw\t", "Fetching ");
    assert!(shown.contains("/there/two words to two words"), "{shown}");
    session.line("get \"tw\t", "Fetching ");
    session.line("cd di\tsu\t", "sftp> ");
    session.line("ls de\t", "deep");
    session.line("cd ../..", "sftp> ");
    session.line("mkdir \u{fc}b\u{5b57}", "b\u{5b57}");
    session.line("ls -1 ü\t", "b\u{5b57}/");
    // Several: they are shown.
    session.keys("ls t\t");
    session.until("two words");
    session.line("\x15lcd di\t", "sftp> ");
    session.line("put in\t", "Uploading inner to ");
    assert!(session.folder.file("there/inner").exists());
    // Between two lines the terminal is the shell's: what is typed before the prompt may be anybody's.
    session.keys("what is this\x03");
    session.until(PROMPT);
    session.line("!echo out of it", "out of it");
    session.keys("\x04");
    assert!(session.child.wait().unwrap().success());
}

#[test]
fn an_interrupt_ends_the_transfer_and_not_the_program() {
    let _watch = given::within(120);
    if openssh().is_none() {
        return;
    }
    let mut session = Session::start(&["-l", "800"]);
    let big = File::create(session.folder.file("there/big")).unwrap();
    big.set_len(50_000_000).unwrap();
    session.line("cd ../there", "sftp> ");
    session.keys("get big\r");
    let shown = session.until("ETA");
    assert!(shown.contains("big") && shown.contains('%'), "{shown}");
    session.until("KB");
    session.keys("\x03");
    session.until("Interrupt");
    session.line("pwd", "Remote working directory: ");
    let part = fs::metadata(session.folder.file("here/big")).unwrap().len();
    assert!(part < 50_000_000, "{part}");
    session.line("lpwd", "Local working directory: ");
    session.keys("bye\r");
    assert!(session.child.wait().unwrap().success());
}

#[test]
fn an_interrupt_ends_whatever_waits_for_a_server_that_stands_still() {
    let _watch = given::within(120);
    if openssh().is_none() {
        return;
    }
    let mut session = Session::start(&[]);
    session.line("cd ../there", "sftp> ");
    // Each with what is shown when it is over.
    let lines = [
        ("ls\r", PROMPT),
        ("ls -l t*\r", PROMPT),
        ("cd dir\r", PROMPT),
        ("df\r", PROMPT),
        ("mkdir new\r", PROMPT),
        ("rename t1 other\r", PROMPT),
        ("rm t*\r", PROMPT),
        ("chmod 600 t*\r", PROMPT),
        ("cp t1 other\r", PROMPT),
        ("get t1\r", PROMPT),
        ("get -r dir\r", PROMPT),
        ("put h1 dir\r", PROMPT),
        ("ls no\t", "\x07"),
    ];
    for (line, end) in lines {
        session.signal(Signal::STOP);
        session.keys(line);
        let begun = Instant::now();
        let mut patience = Duration::from_millis(200);
        loop {
            let (over, shown) = session.within(patience, end);
            assert!(!shown.contains("cancelled") && begun.elapsed() < PATIENCE, "{line}: {shown}");
            if over {
                break;
            }
            session.keys("\x03");
            patience = Duration::from_secs(3);
        }
        session.signal(Signal::CONT);
        session.line("\x15pwd", "/there");
    }
    session.signal(Signal::STOP);
    session.keys("bye\r");
    assert!(session.child.wait().unwrap().success());
}
