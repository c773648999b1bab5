//! Where a channel's data goes as it comes, with no thread that waits for it: the reader writes it on itself as
//! long as that takes no waiting, and hands the stream to somebody who can wait when it does.
//!
//! Knows streams, nothing of channels; called with no lock held.

use std::fmt;
use std::io;

use super::stream::WriteHalf;

/// Why the stream comes back.
pub(crate) enum Poured {
    /// All that came is written, and nothing more will come.
    All,
    /// These bytes came, and the stream does not take them now; what comes next waits in the channel.
    Full(Vec<u8>),
    /// What the stream said.
    Broken(io::Error),
}

/// Called once, by whoever sees why: mostly the reader, so it must not wait.
type Then = Box<dyn FnOnce(Box<dyn WriteHalf>, Poured) + Send>;

/// A stream that takes a channel's data.
pub(crate) struct Sink {
    to: Box<dyn WriteHalf>,
    then: Then,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sink")
    }
}

impl Sink {
    /// `then` gets the stream back, and why. `to` is [`prompt`](WriteHalf::prompt).
    pub(crate) fn new(
        to: Box<dyn WriteHalf>,
        then: impl FnOnce(Box<dyn WriteHalf>, Poured) + Send + 'static,
    ) -> Self {
        Self { to, then: Box::new(then) }
    }

    /// Writes `bytes` on; none when the stream has been given back.
    pub(super) fn pour(mut self, mut bytes: &[u8]) -> Option<Self> {
        while !bytes.is_empty() {
            let why = match self.to.write_now(bytes) {
                Ok(0) => Poured::Broken(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poured::Full(bytes.to_vec()),
                Err(error) => Poured::Broken(error),
            };
            (self.then)(self.to, why);
            return None;
        }
        Some(self)
    }

    /// Nothing more comes.
    pub(super) fn end(self) {
        (self.then)(self.to, Poured::All);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::engine::{MemoryStream, Stream};

    #[test]
    fn a_stream_that_is_full_comes_back_with_what_it_did_not_take() {
        let (here, there) = MemoryStream::pair(4);
        let halves = Box::new(here).split().unwrap();
        let given = Arc::new(Mutex::new(None));
        let to = Arc::clone(&given);
        let sink = Sink::new(halves.write, move |_, why| *to.lock().unwrap() = Some(why));
        let sink = sink.pour(b"ab").unwrap().pour(b"").unwrap();
        assert!(given.lock().unwrap().is_none());
        assert!(sink.pour(b"cdef").is_none());
        assert!(matches!(given.lock().unwrap().take(), Some(Poured::Full(rest)) if rest == b"ef"));
        let mut found = [0; 8];
        assert_eq!(Box::new(there).split().unwrap().read.read_now(&mut found).unwrap(), 4);
        assert_eq!(&found[..4], b"abcd");
    }

    #[test]
    fn a_stream_that_breaks_comes_back_with_the_reason_and_one_that_ends_without() {
        let (here, there) = MemoryStream::pair(4);
        let halves = Box::new(here).split().unwrap();
        let given = Arc::new(Mutex::new(Vec::new()));
        let sink = |to: Box<dyn WriteHalf>| {
            let given = Arc::clone(&given);
            Sink::new(to, move |_, why| given.lock().unwrap().push(why))
        };
        Box::new(there).split().unwrap().closer.close();
        assert!(sink(halves.write).pour(b"x").is_none());
        sink(Box::new(MemoryStream::pair(4).0).split().unwrap().write).end();
        let given = given.lock().unwrap();
        assert!(matches!(&given[..], [Poured::Broken(error), Poured::All]
            if error.kind() == io::ErrorKind::BrokenPipe));
    }
}
