//! What a person types, sent so that its timing tells nothing about it: OpenSSH's clientloop.c,
//! obfuscate_keystroke_timing.
//!
//! Keys leave at fixed times only, and until some time after the last one a packet that looks the same leaves where
//! there is none; the other side answers it as it would echo a key. Runs on a thread of its own, which
//! sleeps while nobody types. It must not know what is typed, or where.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::Mutex;

use super::Channel;
use crate::crypto::rand;
use crate::engine::spawn;
use crate::error::{Error, Result};

/// Packets that are no keys go on so long after the last key at least; OpenSSH's figure.
const AFTER: Duration = Duration::from_millis(1024);
/// And by up to so much longer, at random; OpenSSH's figure.
const LONGER: u16 = 2048;
/// More than that at a time is nothing that is typed, and waits for no time.
const TYPED: usize = 256;
/// Pieces that wait for the thread.
const WAITING: usize = 16;
/// As long as one key in a packet of its own.
const NO_KEY: &[u8] = b"PING!";

/// Writes what is typed to a channel so that its timing tells nothing; see [`Channel::keystrokes`].
#[derive(Debug)]
pub struct Keystrokes {
    pieces: Sender<Piece>,
    failed: Arc<Mutex<Option<io::Error>>>,
}

enum Piece {
    Typed(Vec<u8>),
    /// To be told when all that came before has left.
    Flush(Sender<()>),
}

impl Channel {
    /// Takes what a person types and sends it at multiples of `interval`, together with packets that look the
    /// same where nothing was typed, until one to three seconds after the last key. Whoever watches the
    /// connection learns neither when a key was hit nor how many were.
    ///
    /// ```no_run
    /// # use std::io::Write;
    /// # use feramiko::*;
    /// # fn shell(channel: &Channel) -> Result<()> {
    /// let mut keys = channel.keystrokes(std::time::Duration::from_millis(20))?;
    /// keys.write_all(b"secret\n").unwrap();
    /// keys.flush().unwrap();
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the other side does not answer such packets (`ping@openssh.com`, OpenSSH
    /// since 9.4); [`Error::Io`] when the thread cannot be started.
    pub fn keystrokes(&self, interval: Duration) -> Result<Keystrokes> {
        if !self.link().link().core().extensions.pings {
            return Err(Error::Unsupported(
                "keystrokes without their timing: the peer answers no pings".into(),
            ));
        }
        let (pieces, taken) = bounded(WAITING);
        let failed = Arc::new(Mutex::new(None));
        let sending = Sending { channel: self.clone(), pieces: taken, interval };
        let told = Arc::clone(&failed);
        spawn("feramiko keystrokes", move || {
            if let Err(error) = sending.run() {
                *told.lock() = Some(error);
            }
        })?;
        Ok(Keystrokes { pieces, failed })
    }
}

impl Keystrokes {
    fn send(&self, piece: Piece) -> io::Result<()> {
        self.pieces.send(piece).map_err(|_| self.why())
    }

    fn why(&self) -> io::Error {
        self.failed.lock().take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until all has left, and ends: its thread with it.
    ///
    /// # Errors
    /// What has kept it from leaving.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()
    }
}

impl Write for Keystrokes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Piece::Typed(bytes.to_vec()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let (sender, left) = bounded(1);
        self.send(Piece::Flush(sender))?;
        // Nobody tells when the channel could not be written.
        left.recv().map_err(|_| self.why())
    }
}

/// The thread's side.
struct Sending {
    channel: Channel,
    pieces: Receiver<Piece>,
    interval: Duration,
}

impl Sending {
    fn run(self) -> io::Result<()> {
        // Nobody types, and no packet leaves.
        while let Ok(piece) = self.pieces.recv() {
            self.obscured(piece)?;
        }
        Ok(())
    }

    /// From a first key until some time after the last one.
    fn obscured(&self, first: Piece) -> io::Result<()> {
        let mut held = Held { typed: Vec::new(), waiting: Vec::new() };
        held.take(first);
        let mut tick = Instant::now();
        let mut until = tick;
        loop {
            // One that was late is followed by the next a whole interval later.
            tick = tick.checked_add(self.interval).map_or_else(Instant::now, |next| next.max(Instant::now()));
            let over = self.wait(&mut held, tick)?;
            if held.typed.is_empty() && !over && Instant::now() < until {
                self.channel.link().link().core().ping(NO_KEY);
                held.tell();
            } else if held.typed.is_empty() {
                held.tell();
                return Ok(());
            } else {
                held.leave(&self.channel)?;
                until = Instant::now().checked_add(after()?).unwrap_or(until);
            }
        }
    }

    /// Takes what is typed until then; whether no more comes.
    fn wait(&self, held: &mut Held, tick: Instant) -> io::Result<bool> {
        loop {
            match self.pieces.recv_deadline(tick) {
                Ok(piece) => held.take(piece),
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => return Ok(true),
            }
            if held.typed.len() > TYPED {
                held.leave(&self.channel)?;
            }
        }
    }
}

/// What waits for the next time.
struct Held {
    typed: Vec<u8>,
    waiting: Vec<Sender<()>>,
}

impl Held {
    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Typed(bytes) => self.typed.extend(bytes),
            Piece::Flush(waiting) => self.waiting.push(waiting),
        }
    }

    fn leave(&mut self, channel: &Channel) -> io::Result<()> {
        { channel }.write_all(&self.typed)?;
        self.typed.clear();
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        for waiting in self.waiting.drain(..) {
            // Whoever waited may have gone.
            let _ = waiting.send(());
        }
    }
}

/// How long packets go on that are no keys.
fn after() -> io::Result<Duration> {
    let random = u16::from_be_bytes(rand::array().map_err(io::Error::other)?);
    Ok(AFTER + Duration::from_millis((random % LONGER).into()))
}
