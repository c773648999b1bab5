//! An in-memory stream that is cut after some bytes, or passes few at a time.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use feramiko::{Closer, Error, Halves, MemoryStream, ReadHalf, Stream, WriteHalf};

/// What a stream does to its bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    /// Bytes that may be written before the stream is cut, both ways.
    left: usize,
    /// Bytes in one call.
    piece: usize,
}

impl Fault {
    pub(crate) const NONE: Self = Self { left: usize::MAX, piece: usize::MAX };

    pub(crate) fn cut_after(left: usize) -> Self {
        Self { left, ..Self::NONE }
    }

    pub(crate) fn pieces(piece: usize) -> Self {
        Self { piece, ..Self::NONE }
    }
}

#[derive(Debug)]
pub(crate) struct Faulty(pub(crate) MemoryStream, pub(crate) Fault);

impl Stream for Faulty {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let Self(inner, fault) = *self;
        let halves = Box::new(inner).split()?;
        if fault.left == 0 {
            halves.closer.close();
        }
        let closer = Arc::clone(&halves.closer);
        Ok(Halves {
            read: Box::new(FaultyRead(halves.read, fault.piece)),
            write: Box::new(FaultyWrite { inner: halves.write, fault, closer }),
            closer: halves.closer,
            peer: halves.peer,
        })
    }
}

struct FaultyRead(Box<dyn ReadHalf>, usize);

impl ReadHalf for FaultyRead {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let most = buf.len().min(self.1);
        self.0.read(&mut buf[..most], deadline)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(self.1);
        self.0.read_now(&mut buf[..most])
    }
}

struct FaultyWrite {
    inner: Box<dyn WriteHalf>,
    fault: Fault,
    closer: Arc<dyn Closer>,
}

impl WriteHalf for FaultyWrite {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        let most = buf.len().min(self.fault.left).min(self.fault.piece);
        let count = self.inner.write_now(&buf[..most])?;
        self.fault.left -= count;
        if self.fault.left == 0 {
            self.closer.close();
        }
        Ok(count)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.wait(deadline)
    }
}

/// The stream broke: the error says so, and nothing else.
pub(crate) fn says_that_the_stream_broke(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => {
            matches!(source.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
        }
        Error::Closed(Some(cause)) => says_that_the_stream_broke(cause),
        _ => false,
    }
}
