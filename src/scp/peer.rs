//! The other side of a copy: lines, statuses and data over any stream, in large pieces, and what of the
//! copy has failed so far. Runs on the caller's thread; how long a read may wait is the stream's affair.
//!
//! Knows nothing of files.

use std::io::{self, Read, Write};

use super::failure::{SCPError, reason};
use super::record::{MAX_LINE, Record};
use crate::error::{Error, Result};
use crate::wire::Escaped;

/// What fails of one copy, at most; a side that reports more does nothing else.
const MAX_FAILURES: u64 = 10_000;

/// A stream both ways.
pub(super) trait Duplex: Read + Write {}
impl<T: Read + Write + ?Sized> Duplex for T {}

pub(super) struct Peer<'a> {
    stream: &'a mut dyn Duplex,
    piece: usize,
    /// What was read and not yet taken: from `start` to `end`.
    inbox: Vec<u8>,
    start: usize,
    end: usize,
    /// What leaves with the next `send`.
    outbox: Vec<u8>,
    /// Whether a write has failed: nothing more is sent.
    mute: bool,
    pub(super) failed: SCPError,
}

/// An error of the stream; what the connection says of itself is taken out of it.
pub(super) fn broken(doing: &str, error: io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|error| Error::io(doing, error))
}

pub(super) fn lost() -> Error {
    Error::io("copying", io::Error::new(io::ErrorKind::UnexpectedEof, "lost connection"))
}

impl<'a> Peer<'a> {
    /// `piece` is how much is read and written at a time.
    pub(super) fn new(stream: &'a mut dyn Duplex, piece: usize) -> Self {
        Self {
            stream,
            piece,
            inbox: vec![0; piece],
            start: 0,
            end: 0,
            outbox: Vec::with_capacity(piece.saturating_add(MAX_LINE)),
            mute: false,
            failed: SCPError::default(),
        }
    }

    /// Reads more when all was taken; how much there is then, 0 at the end.
    fn fill(&mut self) -> Result<usize> {
        while self.start == self.end {
            match self.stream.read(&mut self.inbox) {
                Ok(0) => return Ok(0),
                Ok(count) => (self.start, self.end) = (0, count.min(self.inbox.len())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken("reading from the other side", error)),
            }
        }
        Ok(self.end.saturating_sub(self.start))
    }

    fn ready(&self) -> &[u8] {
        self.inbox.get(self.start..self.end).unwrap_or_default()
    }

    fn take(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// A line without its end; none at the end of the stream.
    pub(super) fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        loop {
            if self.fill()? == 0 {
                return if line.is_empty() { Ok(None) } else { Err(lost()) };
            }
            let ready = self.ready();
            let end = ready.iter().position(|byte| *byte == b'\n');
            let piece = ready.get(..end.unwrap_or(ready.len())).unwrap_or_default();
            if line.len().saturating_add(piece.len()) >= MAX_LINE {
                return Err(self.violated("a line that is too long"));
            }
            line.extend_from_slice(piece);
            self.take(piece.len().saturating_add(usize::from(end.is_some())));
            if end.is_some() {
                return Ok(Some(line));
            }
        }
    }

    /// Some of the `left` bytes of a file that come next.
    pub(super) fn data(&mut self, left: u64) -> Result<&[u8]> {
        let count = self.fill()?;
        if count == 0 {
            return Err(lost());
        }
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        let from = self.start;
        self.take(count);
        Ok(self.inbox.get(from..self.start).unwrap_or_default())
    }

    /// The other side's verdict: whether it is fine. What is not is noted.
    pub(super) fn status(&mut self) -> Result<bool> {
        if self.fill()? == 0 {
            return Err(lost());
        }
        match self.ready().first() {
            Some(0) => {
                self.take(1);
                Ok(true)
            }
            Some(1 | 2) => match self.line()?.as_deref().map(Record::parse) {
                Some(Ok(Record::Warning(text))) => self.warned(&text).map(|()| false),
                Some(Ok(Record::Fatal(text))) => Err(self.given_up(&text)),
                _ => Err(lost()),
            },
            // A shell's words, most likely: all programs that speak this say a status.
            _ => {
                let line = self.line().ok().flatten().unwrap_or_default();
                Err(self.violated(&format!("no status but \"{}\"", Escaped(&line))))
            }
        }
    }

    /// The other side tells of a failure that does not end the copy.
    pub(super) fn warned(&mut self, text: &[u8]) -> Result<()> {
        self.failed.peer_says(text);
        self.bounded()
    }

    fn bounded(&self) -> Result<()> {
        if self.failed.count < MAX_FAILURES {
            return Ok(());
        }
        Err(Error::Limit { which: "failures of an SCP copy", limit: MAX_FAILURES })
    }

    /// The other side ends the copy: the error that this is.
    pub(super) fn given_up(&mut self, text: &[u8]) -> Error {
        self.failed.peer_says(text);
        Error::Scp(std::mem::take(&mut self.failed))
    }

    /// Tells the other side that all is well.
    pub(super) fn accept(&mut self) -> Result<()> {
        self.put(&[0]);
        self.send()
    }

    /// Something of ours failed; the other side is told, and goes on.
    pub(super) fn refuse(&mut self, path: &[u8], error: &io::Error) -> Result<()> {
        self.failed.ours(path, error);
        self.put(&words(1, path, &reason(error)));
        self.send()?;
        self.bounded()
    }

    /// The same, but nothing more is copied: the error that this is.
    pub(super) fn give_up(&mut self, path: &[u8], error: &io::Error) -> Error {
        self.failed.ours(path, error);
        self.put(&words(2, path, &reason(error)));
        // It may be gone.
        let _ = self.send();
        Error::Scp(std::mem::take(&mut self.failed))
    }

    /// The other side broke `rule`; it is told before we leave.
    pub(super) fn violated(&mut self, rule: &str) -> Error {
        self.put(&words(2, b"protocol error", rule));
        let _ = self.send();
        Error::protocol(format!("SCP: {rule}"))
    }

    /// Puts bytes among those that leave next.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }

    /// Puts up to `left` bytes of a file among them; how many. A file that has ended early gives 0.
    pub(super) fn put_from(&mut self, file: &mut dyn Read, left: u64) -> io::Result<usize> {
        let from = self.outbox.len();
        let room = self.piece.saturating_sub(from).max(1).min(usize::try_from(left).unwrap_or(self.piece));
        self.outbox.resize(from.saturating_add(room), 0);
        let space = self.outbox.get_mut(from..).unwrap_or_default();
        let read = loop {
            match file.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let count = read.as_ref().map_or(0, |count| (*count).min(room));
        self.outbox.truncate(from.saturating_add(count));
        read.map(|_| count)
    }

    /// Whether what waits is worth a write of its own.
    pub(super) fn is_full(&self) -> bool {
        self.outbox.len() >= self.piece
    }

    /// Sends what waits. If that fails, the other side may have said why.
    pub(super) fn send(&mut self) -> Result<()> {
        if self.outbox.is_empty() || self.mute {
            self.outbox.clear();
            return Ok(());
        }
        let sent = self.stream.write_all(&self.outbox).and_then(|()| self.stream.flush());
        self.outbox.clear();
        let Err(error) = sent else { return Ok(()) };
        self.mute = true;
        let said = if error.kind() == io::ErrorKind::TimedOut { None } else { self.line().ok().flatten() };
        let said = said.unwrap_or_default();
        let said = said.iter().position(|byte| *byte != 0).and_then(|from| said.get(from..));
        Err(match said.map(Record::parse) {
            Some(Ok(Record::Warning(text) | Record::Fatal(text))) => self.given_up(&text),
            _ => broken("writing to the other side", error),
        })
    }

    /// The end of a copy.
    pub(super) fn outcome(self) -> Result<()> {
        if self.failed.count == 0 { Ok(()) } else { Err(Error::Scp(self.failed)) }
    }
}

/// A failure's line. What the path holds ends no line.
fn words(status: u8, path: &[u8], reason: &str) -> Vec<u8> {
    let text = format!("scp: {}: {}", Escaped(path), Escaped(reason.as_bytes())).into_bytes();
    if status == 2 { Record::Fatal(text).encode() } else { Record::Warning(text).encode() }
}
