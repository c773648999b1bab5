//! A stream that panics, for the tests of whoever holds streams.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::engine::{Halves, MemoryStream, Stream, WriteHalf};

/// A stream of somebody's own with a bug: from some time on, who writes to it panics.
pub(crate) struct Buggy(pub(crate) MemoryStream, pub(crate) Arc<AtomicBool>);

struct BuggyWrite(Box<dyn WriteHalf>, Arc<AtomicBool>);

impl Stream for Buggy {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let Self(inner, bug) = *self;
        let mut halves = Box::new(inner).split()?;
        halves.write = Box::new(BuggyWrite(halves.write, bug));
        Ok(halves)
    }
}

impl WriteHalf for BuggyWrite {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        assert!(!self.1.load(Ordering::SeqCst), "the bug of a stream");
        self.0.write_now(buf)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.0.wait(deadline)
    }
}
