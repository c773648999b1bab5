//! Socket calls that std lacks, on Windows: what `socket.rs` has for Unix, for TCP.
//!
//! Winsock cannot read without waiting on a socket that waits otherwise, so a socket of ours never
//! waits; `WSAPoll` does. Nor does it say that a wait ends when another thread shuts the socket down,
//! so each has a bell that is waited for together with it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::AsSocket;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// A socket that one thread waits for and another one makes readable for good: it is connected to
/// itself and takes what nobody else has sent.
#[derive(Debug)]
pub(crate) struct Bell(UdpSocket);

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(socket.local_addr()?)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Ends all waits, also those to come.
    pub(super) fn ring(&self) {
        // What cannot be sent because too much was sent before has rung already.
        let _ = self.0.send(&[0]);
    }
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    Ready,
    Rung,
}

/// Waits for `events`, at most until `deadline`, or for the bell.
fn wait(
    socket: &impl AsSocket,
    bell: &Bell,
    events: PollFlags,
    deadline: Option<Instant>,
) -> io::Result<Woken> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Milliseconds are what WSAPoll counts; it shall not be called again and again in the last one.
        let left = left.map(|left| left.saturating_add(Duration::from_millis(1)));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let (socket, rung) = (socket.as_socket(), bell.0.as_socket());
        let mut waited =
            [PollFd::from_borrowed_fd(rung, PollFlags::IN), PollFd::from_borrowed_fd(socket, events)];
        if poll(&mut waited, timeout.as_ref())? > 0 {
            let [rung, _] = waited;
            return Ok(if rung.revents().is_empty() { Woken::Ready } else { Woken::Rung });
        }
    }
}

/// Waits at a listener, at most until `deadline`; false when the bell is rung.
pub(super) fn wait_call(listener: &TcpListener, bell: &Bell, deadline: Instant) -> io::Result<bool> {
    Ok(wait(listener, bell, PollFlags::IN, Some(deadline))? == Woken::Ready)
}

/// A TCP socket that carries a transport.
#[derive(Debug)]
pub(crate) struct Tcp {
    stream: TcpStream,
    bell: Bell,
}

impl Tcp {
    /// Ends both directions, and the waits of other threads.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let shut = self.stream.shutdown(how);
        self.bell.ring();
        shut
    }
}

impl std::ops::Deref for Tcp {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

/// Makes a socket ready to be read and written here.
pub(crate) fn tcp(stream: TcpStream) -> io::Result<Tcp> {
    stream.set_nonblocking(true)?;
    Ok(Tcp { stream, bell: Bell::new()? })
}

/// A socket that these calls can wait for.
pub(crate) trait Waits {
    /// The socket itself.
    fn tcp(&self) -> &Tcp;
}

impl Waits for Tcp {
    fn tcp(&self) -> &Tcp {
        self
    }
}

/// Reads what is there; waits for it, at most until `deadline`.
pub(crate) fn read(socket: &impl Waits, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
    let Tcp { stream, bell } = socket.tcp();
    loop {
        match read_now(socket, buf) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if wait(stream, bell, PollFlags::IN, deadline)? == Woken::Rung {
                    return Ok(0);
                }
            }
            other => return other,
        }
    }
}

/// Reads what is there, or fails with `WouldBlock`.
pub(crate) fn read_now(socket: &impl Waits, buf: &mut [u8]) -> io::Result<usize> {
    (&socket.tcp().stream).read(buf)
}

/// Writes what fits, or fails with `WouldBlock`.
pub(crate) fn write_now(socket: &impl Waits, buf: &[u8]) -> io::Result<usize> {
    (&socket.tcp().stream).write(buf)
}

/// Waits until the socket takes bytes or was shut, at most until `deadline`.
pub(crate) fn wait_writable(socket: &impl Waits, deadline: Option<Instant>) -> io::Result<()> {
    let Tcp { stream, bell } = socket.tcp();
    wait(stream, bell, PollFlags::OUT, deadline).map(|_| ())
}

/// Connects, within `timeout` and before the bell is rung.
pub(super) fn connect(
    socket: &socket2::Socket,
    bell: &Bell,
    address: SocketAddr,
    timeout: Duration,
) -> io::Result<()> {
    let deadline = Instant::now().checked_add(timeout);
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            if wait(socket, bell, PollFlags::OUT, deadline)? == Woken::Rung {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
            // Somebody is there.
            socket.peer_addr()?;
        }
        connected => connected?,
    }
    socket.set_nonblocking(false)
}

/// How long a listener that is being shut waits for its own call.
const OWN_CALL: Duration = Duration::from_secs(1);

/// Makes a blocked accept return, with our own call where it cannot fail, and all later ones fail.
pub(crate) fn shut_listener(listener: &TcpListener) {
    // It may be shut already.
    let _ = listener.set_nonblocking(true);
    if let Ok(address) = listener.local_addr() {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let _ = TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), OWN_CALL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for a busy machine; nothing waits for it when all is well.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn pair() -> (Tcp, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (tcp(near).unwrap(), listener.accept().unwrap().0)
    }

    fn soon(milliseconds: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(milliseconds))
    }

    #[test]
    fn reads_end_at_their_deadline_and_lose_nothing() {
        let (near, mut far) = pair();
        let mut buf = [0; 8];
        assert_eq!(read_now(&near, &mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(read(&near, &mut buf, soon(30)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        far.write_all(b"late").unwrap();
        let later = Some(Instant::now() + PATIENCE);
        assert_eq!(read(&near, &mut buf, later).unwrap(), 4);
        drop(far);
        assert_eq!(read(&near, &mut buf, later).unwrap(), 0);
    }

    #[test]
    fn writes_end_at_their_deadline() {
        let (near, _far) = pair();
        let piece = vec![0; 256 * 1024];
        while write_now(&near, &piece).is_ok() {}
        assert_eq!(wait_writable(&near, soon(30)).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn shutting_ends_the_waits_of_other_threads() {
        let (near, _far) = pair();
        let piece = vec![0; 256 * 1024];
        while write_now(&near, &piece).is_ok() {}
        let until = Some(Instant::now() + PATIENCE);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| read(&near, &mut [0; 8], until));
            let writer = scope.spawn(|| wait_writable(&near, until));
            near.shutdown(Shutdown::Both).unwrap();
            assert_eq!(reader.join().unwrap().unwrap(), 0);
            writer.join().unwrap().unwrap();
        });
        assert_eq!(read(&near, &mut [0; 8], None).unwrap(), 0);
        assert!(write_now(&near, b"x").is_err());
    }

    #[test]
    fn a_listener_that_was_shut_accepts_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        std::thread::scope(|scope| {
            let accepting = scope.spawn(|| listener.accept());
            shut_listener(&listener);
            // Our own call, or none.
            drop(accepting.join().unwrap());
        });
        while listener.accept().is_ok() {}
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
