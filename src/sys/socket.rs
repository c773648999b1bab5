//! Socket calls that std lacks: waiting with a deadline, writing without waiting.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};

/// A TCP socket that carries a transport.
pub(crate) type Tcp = TcpStream;

/// Makes a socket ready to be read and written here; there is nothing to do.
pub(crate) fn tcp(stream: TcpStream) -> io::Result<Tcp> {
    Ok(stream)
}

/// A socket that these calls can wait for.
pub(crate) use std::os::fd::AsFd as Waits;

/// Reads what is there; waits for it, at most until `deadline`.
pub(crate) fn read(socket: impl AsFd, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
    let socket = socket.as_fd();
    if deadline.is_some() {
        wait(socket, PollFlags::IN, deadline)?;
    }
    loop {
        match recv(socket, &mut *buf, RecvFlags::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.map(|(count, _)| count)?),
        }
    }
}

/// Reads what is there, or fails with `WouldBlock`.
pub(crate) fn read_now(socket: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match recv(socket.as_fd(), &mut *buf, RecvFlags::DONTWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.map(|(count, _)| count)?),
        }
    }
}

/// Nor is a signal sent for a peer that is gone. Apple has an option of the socket for that, which std
/// and socket2 set.
#[cfg(not(target_vendor = "apple"))]
pub(super) const WITHOUT_WAITING: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(target_vendor = "apple")]
pub(super) const WITHOUT_WAITING: SendFlags = SendFlags::DONTWAIT;

/// Writes what fits, or fails with `WouldBlock`.
pub(crate) fn write_now(socket: impl AsFd, buf: &[u8]) -> io::Result<usize> {
    loop {
        match send(socket.as_fd(), buf, WITHOUT_WAITING) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Waits until the socket takes bytes, at most until `deadline`.
pub(crate) fn wait_writable(socket: impl AsFd, deadline: Option<Instant>) -> io::Result<()> {
    wait(socket.as_fd(), PollFlags::OUT, deadline)
}

/// Waits until there is something to read, or the stream has ended, at most until `deadline`.
pub(crate) fn wait_readable(socket: impl AsFd, deadline: Option<Instant>) -> io::Result<()> {
    wait(socket.as_fd(), PollFlags::IN, deadline)
}

fn wait(socket: BorrowedFd<'_>, events: PollFlags, deadline: Option<Instant>) -> io::Result<()> {
    wait_any(&mut [PollFd::from_borrowed_fd(socket, events)], deadline)
}

/// Waits until one of them has what is waited for.
fn wait_any(waited: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(waited, timeout.as_ref()) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A pair of sockets, one of which a thread waits for until another thread shuts it.
#[derive(Debug)]
pub(crate) struct Bell(UnixStream, UnixStream);

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        Ok(Self(near, far))
    }

    /// Ends all waits, also those to come.
    pub(super) fn ring(&self) {
        // Both ends are ours: it cannot fail but for having been done before.
        let _ = self.1.shutdown(std::net::Shutdown::Both);
    }
}

/// Waits until what is waited for is there or the bell rings, at most until `deadline`.
pub(super) fn wait_or_bell(
    waited: BorrowedFd<'_>,
    events: PollFlags,
    bell: &Bell,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let bell = PollFd::from_borrowed_fd(bell.0.as_fd(), PollFlags::IN);
    wait_any(&mut [PollFd::from_borrowed_fd(waited, events), bell], deadline)
}

/// A pair of sockets by which one thread ends a wait of another one.
#[derive(Debug)]
pub(crate) struct Nudge(UnixStream, UnixStream);

impl Nudge {
    pub(crate) fn new() -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok(Self(near, far))
    }

    /// Ends a wait that is under way, or else the next one.
    pub(crate) fn give(&self) {
        // One that finds no room says nothing that those before it have not said.
        let _ = (&self.1).write(&[0]);
    }

    /// Takes all that were given.
    fn take(&self) {
        while matches!((&self.0).read(&mut [0; 64]), Ok(1..)) {}
    }
}

/// Waits until there is something to read, or the stream has ended, at most until `deadline`; a nudge makes it fail
/// with `Interrupted`.
pub(crate) fn wait_readable_or(
    socket: impl AsFd,
    nudge: &Nudge,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let mut waited =
        [nudge.0.as_fd(), socket.as_fd()].map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN));
    wait_any(&mut waited, deadline)?;
    let [nudged, _] = waited;
    if nudged.revents().is_empty() {
        return Ok(());
    }
    nudge.take();
    Err(io::ErrorKind::Interrupted.into())
}

/// Waits at a listener, at most until `deadline`; false when the bell is rung.
pub(super) fn wait_call(listener: &TcpListener, bell: &Bell, deadline: Instant) -> io::Result<bool> {
    let mut waited =
        [bell.0.as_fd(), listener.as_fd()].map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN));
    wait_any(&mut waited, Some(deadline))?;
    let [rung, _] = waited;
    Ok(rung.revents().is_empty())
}

/// Connects to the UNIX socket at `path`. Where the listener's queue is full it waits, at most for
/// `timeout` (unix(7): connecting is bound by SO_SNDTIMEO).
pub(crate) fn connect_unix(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_write_timeout(Some(timeout))?;
    socket.connect(&socket2::SockAddr::unix(path)?).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })?;
    socket.set_write_timeout(None)?;
    Ok(socket.into())
}

/// Connections that wait to be accepted; OpenSSH's figure.
const BACKLOG: i32 = 128;

/// Listens on a new UNIX socket at `path` that only its owner may connect to.
pub(crate) fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    listen_unix_as(path, 0o600)
}

/// Listens on a new UNIX socket at `path` with that mode.
pub(crate) fn listen_unix_as(path: &Path, mode: u32) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;

    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // Nobody can connect before `listen`.
    let listening = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .and_then(|()| socket.listen(BACKLOG));
    if let Err(error) = listening {
        // It is ours and of no use.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(socket.into())
}

/// Makes a blocked accept fail, and all later ones.
pub(crate) fn shut_listener(listener: impl AsFd) {
    // It may be shut already.
    let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
}

/// Waits until somebody can be accepted from one of the listeners, which must not block, and accepts him. One
/// that was shut makes it fail.
pub(crate) fn accept_any(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut fds: Vec<_> = listeners.iter().map(|listener| PollFd::new(listener, PollFlags::IN)).collect();
    loop {
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        for (listener, fd) in listeners.iter().zip(&fds) {
            if fd.revents().is_empty() {
                continue;
            }
            match listener.accept() {
                // Who was there is gone again.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok((stream, peer)) => {
                    stream.set_nonblocking(false)?;
                    return Ok((stream, peer));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_its_owners() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = listen_unix(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let _connected = connect_unix(&path, Duration::from_secs(5)).unwrap();
        listener.accept().unwrap();
        // Somebody else's socket stays.
        assert_eq!(listen_unix(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[test]
    fn a_nudge_ends_one_wait() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let nudge = Nudge::new().unwrap();
        let soon = || Instant::now().checked_add(Duration::from_millis(20));
        let wait = |deadline| wait_readable_or(&near, &nudge, deadline).map_err(|error| error.kind());
        // Many before it are one.
        (0..100_000).for_each(|_| nudge.give());
        assert_eq!(wait(None), Err(io::ErrorKind::Interrupted));
        assert_eq!(wait(soon()), Err(io::ErrorKind::TimedOut));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| wait(None));
            std::thread::sleep(Duration::from_millis(20));
            nudge.give();
            assert_eq!(waiting.join().unwrap(), Err(io::ErrorKind::Interrupted));
        });
        far.write_all(b"x").unwrap();
        assert_eq!(wait(None), Ok(()));
    }

    /// Nobody accepts, and the queue is full at some time.
    #[test]
    fn connecting_to_a_full_queue_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let mut waiting = Vec::new();
        let error = (0..100)
            .find_map(|_| connect_unix(&path, Duration::from_millis(50)).map(|it| waiting.push(it)).err());
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
    }
}
