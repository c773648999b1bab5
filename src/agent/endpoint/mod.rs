//! How an agent is reached: a place to connect to, and connections whose every call has a deadline.
//!
//! On Unix a socket; on Windows a named pipe, or the window of PuTTY's Pageant. Knows bytes, not messages.

#[cfg(windows)]
#[allow(unsafe_code, reason = "pipes with deadlines and Pageant's window have no safe interface")]
mod pageant;
#[cfg(windows)]
mod pipe;
#[cfg(unix)]
mod unix;

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Where an agent listens.
pub(super) trait Endpoint: fmt::Debug + Send + Sync {
    /// Makes a new connection; gives up after `timeout`.
    fn connect(&self, timeout: Duration) -> io::Result<Box<dyn Connection>>;
}

/// Ends a connection, from any thread: a call that waits returns.
pub(super) type Cutter = Box<dyn Fn() + Send>;

/// A connection to an agent. A call that reaches its deadline fails with `TimedOut` or `WouldBlock`;
/// without a deadline it waits as long as it takes.
pub(crate) trait Connection: Send {
    /// Reads what is there, at least one byte; 0 at the end.
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize>;
    /// Writes what fits, at least one byte.
    fn write(&mut self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize>;
    /// What ends it, where the system can do that from another thread.
    fn cutter(&self) -> Option<Cutter> {
        None
    }
}

/// The socket at `path`.
#[cfg(unix)]
pub(super) fn at(path: &Path) -> Box<dyn Endpoint> {
    Box::new(unix::Socket(path.to_owned()))
}

/// The named pipe at `path`.
#[cfg(windows)]
pub(super) fn at(path: &Path) -> Box<dyn Endpoint> {
    Box::new(pipe::Pipe(path.to_owned()))
}

/// Where agents are that nobody has to name, to be tried in order.
#[cfg(unix)]
pub(super) fn usual() -> Vec<Box<dyn Endpoint>> {
    Vec::new()
}

/// Where agents are that nobody has to name, to be tried in order: OpenSSH's service, then Pageant.
#[cfg(windows)]
pub(super) fn usual() -> Vec<Box<dyn Endpoint>> {
    let mut all = vec![at(Path::new(pipe::OPENSSH))];
    all.extend(pageant());
    all
}

/// Where Pageant is: its pipe, then its window, which is all that older ones have.
#[cfg(windows)]
pub(super) fn pageant() -> Vec<Box<dyn Endpoint>> {
    vec![Box::new(pipe::Pageant), Box::new(pageant::Window)]
}

/// The time that is left, as waits take it: none is an error, not "for ever".
fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        Some(Duration::ZERO) => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
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
