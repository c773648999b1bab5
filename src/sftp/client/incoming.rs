//! The answers, read off the stream one by one. Whoever waits and finds nobody reading holds this; where a
//! deadline cuts a packet in two, the next one who reads goes on with it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use super::exchange::SMALL_ANSWER;
use crate::engine::ReadHalf;
use crate::error::{Error, Phase, Result};
use crate::sftp::packet::MAX_PACKET;
use crate::wire::Reader;

/// Length, type and number of a request: what every answer begins with.
const HEAD: usize = 9;
/// Type and number, which the length counts.
const COUNTED: usize = 5;

/// An answer as it came: what follows its number is for who asked.
#[derive(Debug)]
pub(in crate::sftp) struct Reply {
    pub(in crate::sftp) kind: u8,
    pub(in crate::sftp) id: u32,
    pub(in crate::sftp) body: Vec<u8>,
}

/// How long to wait for the rest of an answer.
#[derive(Debug, Clone, Copy)]
pub(in crate::sftp) enum Wait {
    Until(Option<Instant>),
    /// Not at all: what is not there yet is a timeout.
    No,
}

/// The incoming half of the stream, and the packet that is on its way.
pub(in crate::sftp) struct Incoming {
    half: Box<dyn ReadHalf>,
    head: [u8; HEAD],
    head_filled: usize,
    /// The length is the packet's as soon as the head is whole.
    body: Vec<u8>,
    body_filled: usize,
}

impl Incoming {
    pub(in crate::sftp) fn new(half: Box<dyn ReadHalf>) -> Self {
        Self { half, head: [0; HEAD], head_filled: 0, body: Vec::new(), body_filled: 0 }
    }

    /// Reads the next answer. `body` is a buffer that may be used again.
    pub(in crate::sftp) fn next(&mut self, wait: Wait, body: &mut Option<Vec<u8>>) -> Result<Reply> {
        if self.head_filled < HEAD {
            fill(&mut *self.half, &mut self.head, &mut self.head_filled, wait)?;
            let length = Reader::new(&self.head).get::<u32>()?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let rest = length.checked_sub(COUNTED).filter(|_| length <= MAX_PACKET);
            let Some(rest) = rest else {
                // The next one who reads meets the same.
                self.head_filled = HEAD.saturating_sub(1);
                return Err(Error::protocol(format!("an SFTP packet of {length} bytes")));
            };
            // A small one is not worth a large buffer.
            self.body = if rest > SMALL_ANSWER { body.take().unwrap_or_default() } else { Vec::new() };
            self.body.resize(rest, 0);
        }
        fill(&mut *self.half, &mut self.body, &mut self.body_filled, wait)?;
        (self.head_filled, self.body_filled) = (0, 0);
        let mut reader = Reader::new(self.head.get(4..).unwrap_or_default());
        Ok(Reply { kind: reader.get()?, id: reader.get()?, body: std::mem::take(&mut self.body) })
    }
}

/// Reads until `buf` is full, from where an earlier call stopped.
fn fill(half: &mut dyn ReadHalf, buf: &mut [u8], filled: &mut usize, wait: Wait) -> Result<()> {
    while let Some(room) = buf.get_mut(*filled..).filter(|room| !room.is_empty()) {
        let read = match wait {
            Wait::Until(deadline) => half.read(room, deadline),
            Wait::No => half.read_now(room),
        };
        match read {
            Ok(0) => return Err(ended()),
            Ok(count) => *filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::Timeout(Phase::Request));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
    }
    Ok(())
}

/// The server has closed its side.
pub(in crate::sftp) fn ended() -> Error {
    Error::io("reading from the SFTP server", io::Error::new(io::ErrorKind::UnexpectedEof, "it has ended"))
}

/// Uses a half of the stream, which may be a user's own with a bug: a panic there is the error of the connection, and
/// no half is lost to the other threads that share it.
pub(in crate::sftp) fn caught<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or(Err(Error::Misuse("the stream that carries the SFTP session panicked")))
}

/// What a stream says, as the error of the call that met it.
pub(in crate::sftp) fn broken(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::TimedOut {
        return Error::Timeout(Phase::Request);
    }
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::io("talking to the SFTP server", error),
    }
}
