//! How an agent is reached: a place to connect to, and connections whose every call has a deadline.
//!
//! A UNIX socket, so far. Knows bytes, not messages.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where an agent listens.
pub(super) trait Endpoint: fmt::Debug + Send + Sync {
    /// Makes a new connection; gives up after `timeout`.
    fn connect(&self, timeout: Duration) -> io::Result<Box<dyn Connection>>;
}

/// A connection to an agent. A call that reaches its deadline fails with `TimedOut` or `WouldBlock`;
/// without a deadline it waits as long as it takes.
pub(crate) trait Connection: Send {
    /// Reads what is there, at least one byte; 0 at the end.
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize>;
    /// Writes what fits, at least one byte.
    fn write(&mut self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize>;
}

/// The socket at `path`.
#[cfg(unix)]
pub(super) fn at(path: &Path) -> Box<dyn Endpoint> {
    Box::new(unix::Socket(path.to_owned()))
}

/// No kind of agent can be reached on this system.
#[cfg(not(unix))]
pub(super) fn at(_: &Path) -> Box<dyn Endpoint> {
    #[derive(Debug)]
    struct Nowhere;

    impl Endpoint for Nowhere {
        fn connect(&self, _: Duration) -> io::Result<Box<dyn Connection>> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    Box::new(Nowhere)
}

/// Answers with these bytes, over all connections together, and takes whatever is sent.
#[cfg(any(test, fuzzing))]
pub(super) fn scripted(bytes: Vec<u8>) -> Box<dyn Endpoint> {
    use std::sync::Arc;

    use parking_lot::Mutex;

    #[derive(Debug, Clone)]
    struct Script(Arc<Mutex<io::Cursor<Vec<u8>>>>);

    impl Endpoint for Script {
        fn connect(&self, _: Duration) -> io::Result<Box<dyn Connection>> {
            Ok(Box::new(self.clone()))
        }
    }

    impl Connection for Script {
        fn read(&mut self, buf: &mut [u8], _: Option<Instant>) -> io::Result<usize> {
            io::Read::read(&mut *self.0.lock(), buf)
        }

        fn write(&mut self, bytes: &[u8], _: Option<Instant>) -> io::Result<usize> {
            Ok(bytes.len())
        }
    }

    Box::new(Script(Arc::new(Mutex::new(io::Cursor::new(bytes)))))
}

#[cfg(unix)]
mod unix {
    use std::io::{self, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    use super::{Connection, Endpoint};

    #[derive(Debug)]
    pub(super) struct Socket(pub(super) PathBuf);

    impl Endpoint for Socket {
        fn connect(&self, timeout: Duration) -> io::Result<Box<dyn Connection>> {
            Ok(Box::new(crate::sys::socket::connect_unix(&self.0, timeout)?))
        }
    }

    /// The time that is left, as sockets take it: none is an error, not "for ever".
    fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }

    impl Connection for UnixStream {
        fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
            self.set_read_timeout(left(deadline)?)?;
            Read::read(self, buf)
        }

        fn write(&mut self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
            self.set_write_timeout(left(deadline)?)?;
            Write::write(self, bytes)
        }
    }
}
