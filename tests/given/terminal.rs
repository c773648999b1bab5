//! A pseudo-terminal whose near side the test has: what is shown there is read by a thread, so that
//! every wait for it ends.

#![allow(dead_code, reason = "no test uses everything")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Far more than any program takes to show something, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The near side.
#[derive(Debug)]
pub(crate) struct Terminal {
    near: File,
    pieces: Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    /// Both sides of a new one.
    pub(crate) fn open(columns: u16, rows: u16) -> (Self, OwnedFd) {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let path = ptsname(&near, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let far = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        let near = File::from(near);
        let pieces = follow(near.try_clone().unwrap());
        let terminal = Self { near, pieces, shown: Vec::new() };
        terminal.resize(columns, rows);
        (terminal, far)
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.near, size).unwrap();
    }

    /// Sees to it that a shell there sees 80x24, and 132x50 after a resize.
    pub(crate) fn resizes_a_shell(&mut self) {
        self.types("stty size\n");
        self.shows("24 80");
        self.resize(132, 50);
        // The client passes the size on when it sees the signal; the shell may be asked before.
        let deadline = Instant::now() + PATIENCE;
        self.types("stty size\n");
        while !self.shows_within(Duration::from_millis(200), "50 132") {
            assert!(Instant::now() < deadline, "no new size came: {}", self.text());
            self.types("stty size\n");
        }
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.near.write_all(text.as_bytes()).unwrap();
    }

    /// All that was shown, up to `wanted` at least, which must come.
    pub(crate) fn shows(&mut self, wanted: &str) -> String {
        assert!(self.shows_within(PATIENCE, wanted), "{wanted} did not come: {}", self.text());
        self.text()
    }

    /// Whether `wanted` comes in that time, if it has not already.
    pub(crate) fn shows_within(&mut self, time: Duration, wanted: &str) -> bool {
        let deadline = Instant::now() + time;
        while !self.text().contains(wanted) {
            match self.piece(deadline) {
                Ok(piece) => self.shown.extend(piece),
                Err(_) => return false,
            }
        }
        true
    }

    /// All that was shown, up to the end, which comes when nobody has the far side.
    pub(crate) fn shows_all(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.piece(deadline) {
                Ok(piece) => self.shown.extend(piece),
                Err(RecvTimeoutError::Disconnected) => return self.text(),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {}", self.text()),
            }
        }
    }

    fn piece(&self, deadline: Instant) -> Result<Vec<u8>, RecvTimeoutError> {
        self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

/// What is shown, piece by piece; a terminal takes no more than a little that nobody reads.
fn follow(mut near: File) -> Receiver<Vec<u8>> {
    let (sender, pieces) = channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        // Linux reports the end of a terminal as an error.
        while let Ok(count @ 1..) = near.read(&mut piece) {
            if sender.send(piece[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    pieces
}
