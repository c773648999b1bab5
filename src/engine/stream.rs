//! What can carry a transport: TCP, UNIX sockets, child processes on a socket pair, an in-memory
//! pair, and whatever a user implements [`Stream`] for.
//!
//! Knows bytes and deadlines, nothing of SSH. One contract for all: a read or write ends at its
//! deadline with `TimedOut`; closing makes both blocked halves return.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Shutdown, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::sys::{socket, tcp, traffic};

/// A connection that can carry a transport, or an SFTP session. After the login, or the session's first answer, a panic
/// in one of its calls is the end of what it carries, not of the thread that made the call.
pub trait Stream: Send + 'static {
    /// Cuts the stream into the halves that the engine's threads own.
    ///
    /// # Errors
    /// What the system says when a descriptor cannot be duplicated.
    fn split(self: Box<Self>) -> io::Result<Halves>;
}

/// The two directions of a stream, and the handle that ends both.
#[allow(missing_debug_implementations, reason = "three trait objects have nothing to show")]
pub struct Halves {
    /// Where bytes come from.
    pub read: Box<dyn ReadHalf>,
    /// Where bytes go to.
    pub write: Box<dyn WriteHalf>,
    /// Ends both.
    pub closer: Arc<dyn Closer>,
    /// How the peer is called in logs: an address, `unix`, `memory`.
    pub peer: String,
}

/// The incoming half.
pub trait ReadHalf: Send {
    /// Reads at least one byte, waiting at most until `deadline`; 0 is the end of the stream.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, otherwise what the stream says.
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize>;

    /// Reads what is there without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there.
    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize>;

    /// Asks the system to acknowledge at once what was received (TCP only).
    fn quick_ack(&mut self) {}

    /// What ends a [`wait`](Self::wait) that another thread is in, or its next one; asked for once, before the first
    /// of them. A stream that has no such thing is only read by the transport's own thread; one that has it is also
    /// read by a user who waits alone, which spares two threads waking each other.
    fn interrupter(&mut self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        None
    }

    /// Waits until [`read_now`](Self::read_now) finds something, at most until `deadline`.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, `Interrupted` by the [`interrupter`](Self::interrupter), `Unsupported` where there
    /// is none.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let _ = deadline;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// The outgoing half.
pub trait WriteHalf: Send {
    /// Writes what fits without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits.
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize>;

    /// Waits until something fits, at most until `deadline`.
    ///
    /// # Errors
    /// `TimedOut` at the deadline.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()>;

    /// Whether [`write_now`](Self::write_now) and [`shutdown`](Self::shutdown) are no more than a call of the system,
    /// so that the thread that reads a connection may make them. A stream that says no is written to by a thread of
    /// its own.
    fn prompt(&self) -> bool {
        false
    }

    /// Says that nothing more will be written, where the stream can say that of one direction.
    ///
    /// # Errors
    /// What the stream says.
    fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Writes everything, resuming at the byte where it stopped.
    ///
    /// # Errors
    /// `TimedOut` at the deadline, otherwise what the stream says.
    fn write_all(&mut self, mut buf: &[u8], deadline: Option<Instant>) -> io::Result<()> {
        while !buf.is_empty() {
            match self.write_now(buf) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => buf = buf.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(deadline)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Ends both directions of a stream, from any thread, without waiting.
pub trait Closer: Send + Sync {
    /// Blocked reads and writes return; later ones fail. Idempotent.
    fn close(&self);

    /// Says in the headers of what is sent from now on how it is to be treated on its way, where the stream has
    /// such headers: the DS field of RFC 2474; none: what the system writes unasked. Several threads may call it at once,
    /// that which reads the connection among them: it must not wait.
    ///
    /// # Errors
    /// What the system says.
    fn set_traffic_class(&self, class: Option<u8>) -> io::Result<()> {
        let _ = class;
        Ok(())
    }
}

impl fmt::Debug for dyn Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closer")
    }
}

/// A stream socket with its own shutdown call.
trait Socket: socket::Waits + Send + Sync + 'static {
    fn shut(&self, how: Shutdown) -> io::Result<()>;

    /// The socket, if what it sends goes out with headers of IP.
    fn ip_socket(&self) -> Option<&TcpStream> {
        None
    }
}

impl Socket for socket::Tcp {
    fn shut(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }

    fn ip_socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn shut(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

struct SocketHalf<S: Socket> {
    socket: Arc<S>,
    tcp: bool,
    #[cfg(unix)]
    nudge: Option<Arc<socket::Nudge>>,
}

struct SocketCloser<S: Socket>(Arc<S>);

impl<S: Socket> Closer for SocketCloser<S> {
    fn close(&self) {
        // It may be shut already.
        let _ = self.0.shut(Shutdown::Both);
    }

    fn set_traffic_class(&self, class: Option<u8>) -> io::Result<()> {
        self.0.ip_socket().map_or(Ok(()), |stream| traffic::set(stream, class))
    }
}

impl<S: Socket> ReadHalf for SocketHalf<S> {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        socket::read(&*self.socket, buf, deadline)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        socket::read_now(&*self.socket, buf)
    }

    fn quick_ack(&mut self) {
        if self.tcp {
            // A hint only; that it may fail changes nothing but the speed.
            let _ = tcp::set_quickack(&*self.socket, true);
        }
    }

    #[cfg(unix)]
    fn interrupter(&mut self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        match socket::Nudge::new() {
            Ok(nudge) => {
                let nudge = Arc::new(nudge);
                self.nudge = Some(Arc::clone(&nudge));
                Some(Arc::new(move || nudge.give()))
            }
            Err(error) => {
                log::debug!(target: "feramiko::transport", "only the transport's own thread reads: {error}");
                None
            }
        }
    }

    #[cfg(unix)]
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        match &self.nudge {
            Some(nudge) => socket::wait_readable_or(&*self.socket, nudge, deadline),
            None => socket::wait_readable(&*self.socket, deadline),
        }
    }
}

impl<S: Socket> WriteHalf for SocketHalf<S> {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        socket::write_now(&*self.socket, buf)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        socket::wait_writable(&*self.socket, deadline)
    }

    fn prompt(&self) -> bool {
        true
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.socket.shut(Shutdown::Write)
    }
}

fn halves<S: Socket>(socket: S, tcp: bool, peer: String) -> Halves {
    let socket = Arc::new(socket);
    let half = || SocketHalf {
        socket: Arc::clone(&socket),
        tcp,
        #[cfg(unix)]
        nudge: None,
    };
    Halves { read: Box::new(half()), write: Box::new(half()), closer: Arc::new(SocketCloser(socket)), peer }
}

impl Stream for TcpStream {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        // Without it every small packet behind an unacknowledged one waits some 40 ms.
        self.set_nodelay(true)?;
        let peer = self.peer_addr()?.to_string();
        Ok(halves(socket::tcp(*self)?, true, peer))
    }
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        Ok(halves(*self, false, "unix".to_owned()))
    }
}

/// One direction of a [`MemoryStream`].
#[derive(Debug)]
struct Lane {
    state: Mutex<LaneState>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct LaneState {
    bytes: VecDeque<u8>,
    closed: bool,
    /// Whoever waits to read is to stop that.
    interrupted: bool,
}

/// One end of an in-memory connection: for tests of one's own SSH code, without sockets.
///
/// ```
/// let (client_end, server_end) = feramiko::MemoryStream::pair(64 * 1024);
/// # drop((client_end, server_end));
/// ```
#[derive(Debug)]
pub struct MemoryStream {
    incoming: Arc<Lane>,
    outgoing: Arc<Lane>,
}

impl MemoryStream {
    /// Two connected ends that hold up to `capacity` bytes on the way in each direction.
    #[must_use]
    pub fn pair(capacity: usize) -> (Self, Self) {
        let lane =
            || Arc::new(Lane { state: Mutex::default(), changed: Condvar::new(), capacity: capacity.max(1) });
        let (there, back) = (lane(), lane());
        let one = Self { incoming: Arc::clone(&back), outgoing: Arc::clone(&there) };
        (one, Self { incoming: there, outgoing: back })
    }
}

impl Lane {
    fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }

    fn read_now(&self, state: &mut LaneState, buf: &mut [u8]) -> io::Result<usize> {
        let count = io::Read::read(&mut state.bytes, buf)?;
        if count > 0 {
            self.changed.notify_all();
            Ok(count)
        } else if state.closed {
            Ok(0)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    /// Waits for a change, at most until `deadline`.
    fn wait(
        &self,
        state: &mut parking_lot::MutexGuard<'_, LaneState>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        match deadline {
            None => self.changed.wait(state),
            Some(deadline) => {
                if self.changed.wait_until(state, deadline).timed_out() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
        Ok(())
    }
}

struct MemoryRead(Arc<Lane>);
struct MemoryWrite(Arc<Lane>);
struct MemoryCloser(Arc<Lane>, Arc<Lane>);

impl Closer for MemoryCloser {
    fn close(&self) {
        self.0.close();
        self.1.close();
    }
}

impl ReadHalf for MemoryRead {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        loop {
            match self.0.read_now(&mut state, buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.0.wait(&mut state, deadline)?
                }
                other => return other,
            }
        }
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_now(&mut self.0.state.lock(), buf)
    }

    fn interrupter(&mut self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        let lane = Arc::clone(&self.0);
        Some(Arc::new(move || {
            lane.state.lock().interrupted = true;
            lane.changed.notify_all();
        }))
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let mut state = self.0.state.lock();
        while state.bytes.is_empty() && !state.closed {
            if std::mem::take(&mut state.interrupted) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.0.wait(&mut state, deadline)?;
        }
        Ok(())
    }
}

impl WriteHalf for MemoryWrite {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = self.0.capacity.saturating_sub(state.bytes.len());
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = buf.get(..room).unwrap_or(buf);
        state.bytes.extend(taken);
        self.0.changed.notify_all();
        Ok(taken.len())
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let mut state = self.0.state.lock();
        while !state.closed && state.bytes.len() >= self.0.capacity {
            self.0.wait(&mut state, deadline)?;
        }
        Ok(())
    }
}

impl Stream for MemoryStream {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        Ok(Halves {
            read: Box::new(MemoryRead(Arc::clone(&self.incoming))),
            write: Box::new(MemoryWrite(Arc::clone(&self.outgoing))),
            closer: Arc::new(MemoryCloser(self.incoming, self.outgoing)),
            peer: "memory".to_owned(),
        })
    }
}
