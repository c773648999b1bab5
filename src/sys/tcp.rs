//! Socket options that std has no name for, listening sockets, and who is at the other end of a
//! Unix socket.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
#[cfg(unix)]
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// How often the system asks a silent peer for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keepalive {
    /// The silence after which it asks first.
    pub(crate) idle: Duration,
    /// The time between two questions.
    pub(crate) interval: Duration,
    /// The unanswered questions after which the connection is dead.
    pub(crate) retries: u32,
}

/// Small packets leave at once instead of waiting for the answer to the packet before (Nagle).
pub(crate) fn set_nodelay(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

/// Whether what arrives is acknowledged at once instead of together with the next data. The system
/// takes it as a hint for the moment and may fall back; systems other than Linux have no such hint.
#[cfg(unix)]
pub(crate) fn set_quickack(stream: impl AsFd, on: bool) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    rustix::net::sockopt::set_tcp_quickack(stream, on)?;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (stream, on);
    Ok(())
}

/// Whether what arrives is acknowledged at once: Windows has no hint for it.
#[cfg(windows)]
pub(crate) fn set_quickack<S>(_: S, _: bool) -> io::Result<()> {
    Ok(())
}

/// Switches the system's own questions on, at the times that the system has for them.
pub(crate) fn ask_silent_peers(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_keepalive(true)
}

/// Switches the system's own questions on or off.
pub(crate) fn set_keepalive(stream: &TcpStream, keepalive: Option<Keepalive>) -> io::Result<()> {
    let socket = SockRef::from(stream);
    match keepalive {
        None => socket.set_keepalive(false),
        Some(Keepalive { idle, interval, retries }) => socket.set_tcp_keepalive(
            &TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries),
        ),
    }
}

/// Asks for this much room in the system for what is being sent and what was received; `None`
/// leaves the system's own tuning. The system may give less or more.
pub(crate) fn set_buffers(stream: &TcpStream, send: Option<usize>, receive: Option<usize>) -> io::Result<()> {
    let socket = SockRef::from(stream);
    if let Some(size) = send {
        socket.set_send_buffer_size(size)?;
    }
    if let Some(size) = receive {
        socket.set_recv_buffer_size(size)?;
    }
    Ok(())
}

/// Whether nobody can listen there because the host has no addresses of that family.
#[cfg(unix)]
pub(crate) fn no_such_family(error: &io::Error) -> bool {
    use rustix::io::Errno;

    Errno::from_io_error(error)
        .is_some_and(|errno| [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].contains(&errno))
}

/// A listening socket on `address`. It may take over an address whose last connections still
/// linger, and one for `[::]` leaves `0.0.0.0` to another.
pub(crate) fn listen(address: SocketAddr, backlog: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Windows the option means something else: it would let a stranger share the address.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog.into())?;
    Ok(socket.into())
}

/// The process at the other end of a Unix socket, as it was when it connected.
#[cfg(unix)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Asks the system who is at the other end of `stream`.
#[cfg(unix)]
pub(crate) fn peer_credentials(stream: &std::os::unix::net::UnixStream) -> io::Result<Credentials> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let peer = rustix::net::sockopt::socket_peercred(stream)?;
        Ok(Credentials { uid: peer.uid.as_raw(), gid: peer.gid.as_raw() })
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let (uid, gid) = nix::unistd::getpeereid(stream)?;
        Ok(Credentials { uid: uid.as_raw(), gid: gid.as_raw() })
    }
}

/// A socket that connects, and can be given up by another thread meanwhile.
#[derive(Debug)]
pub(crate) struct Connecting {
    socket: Socket,
    address: SocketAddr,
    /// Shutting a socket that is not connected wakes nobody there.
    #[cfg(windows)]
    bell: super::winsock::Bell,
}

impl Connecting {
    /// A socket that does not connect yet.
    pub(crate) fn new(address: &SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
        Ok(Self {
            socket,
            address: *address,
            #[cfg(windows)]
            bell: super::winsock::Bell::new()?,
        })
    }

    /// The address that it connects from.
    pub(crate) fn come_from(&self, address: &SocketAddr) -> io::Result<()> {
        self.socket.bind(&(*address).into())
    }

    /// Waits for the connection, at most for `timeout`.
    pub(crate) fn finish(&self, timeout: Duration) -> io::Result<TcpStream> {
        #[cfg(unix)]
        self.socket.connect_timeout(&self.address.into(), timeout)?;
        #[cfg(windows)]
        super::winsock::connect(&self.socket, &self.bell, self.address, timeout)?;
        Ok(self.socket.try_clone()?.into())
    }

    /// Makes `finish` fail, or ends what it gave.
    pub(crate) fn abandon(&self) {
        // It may not have begun to connect, or be over already.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        #[cfg(windows)]
        self.bell.ring();
    }
}

/// A listener that is waited at for one connection, and can be given up by another thread meanwhile without
/// being shut.
#[derive(Debug)]
pub(crate) struct Accepting {
    listener: TcpListener,
    bell: super::socket::Bell,
}

impl Accepting {
    /// Waits at `listener`, which stays its owner's and does not wait for anybody else from now on: of two
    /// threads that see the same call, one would be left waiting in `accept`.
    pub(crate) fn new(listener: &TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: listener.try_clone()?, bell: super::socket::Bell::new()? })
    }

    /// The next connection; `TimedOut` when none comes by `deadline`, `ConnectionAborted` when it is given up.
    pub(crate) fn finish(&self, deadline: Instant) -> io::Result<(TcpStream, SocketAddr)> {
        while super::socket::wait_call(&self.listener, &self.bell, deadline)? {
            match self.listener.accept() {
                // Another thread was first, or who called is gone.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
                Ok((stream, address)) => {
                    // Some systems hand the listener's manners on.
                    stream.set_nonblocking(false)?;
                    return Ok((stream, address));
                }
            }
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    /// Makes `finish` fail.
    pub(crate) fn abandon(&self) {
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn options_arrive() {
        let (near, far) = pair();
        set_nodelay(&near).unwrap();
        assert!(near.nodelay().unwrap());
        set_quickack(&near, true).unwrap();
        set_quickack(&near, false).unwrap();
        set_buffers(&far, Some(64 * 1024), Some(32 * 1024)).unwrap();
        let socket = SockRef::from(&far);
        assert!(socket.send_buffer_size().unwrap() >= 64 * 1024);
        assert!(socket.recv_buffer_size().unwrap() >= 32 * 1024);
        set_buffers(&far, None, None).unwrap();
    }

    #[test]
    fn keepalive() {
        let (near, _far) = pair();
        let socket = SockRef::from(&near);
        let (idle, interval) = (Duration::from_secs(60), Duration::from_secs(7));
        set_keepalive(&near, Some(Keepalive { idle, interval, retries: 3 })).unwrap();
        assert!(socket.keepalive().unwrap());
        // Windows does not tell the times.
        #[cfg(unix)]
        {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), idle);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), interval);
        }
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        set_keepalive(&near, None).unwrap();
        assert!(!socket.keepalive().unwrap());
    }

    #[test]
    fn an_address_is_free_again_at_once() {
        let listener = listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = listener.local_addr().unwrap();
        let near = TcpStream::connect(address).unwrap();
        let far = listener.accept().unwrap().0;
        // The side that closes first keeps the address in TIME_WAIT.
        drop((far, near, listener));
        listen(address, 1).unwrap();
    }

    #[test]
    fn both_families_share_a_port() {
        // A machine without IPv6 has nothing to share.
        let Ok(six) = listen("[::]:0".parse().unwrap(), 1) else { return };
        let port = six.local_addr().unwrap().port();
        listen(SocketAddr::from(([0, 0, 0, 0], port)), 1).unwrap();
        assert!(listen(SocketAddr::from(([0; 16], port)), 1).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_of_our_own_is_ours() {
        let (near, _far) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = peer_credentials(&near).unwrap();
        assert_eq!(peer.uid, rustix::process::getuid().as_raw());
        assert_eq!(peer.gid, rustix::process::getgid().as_raw());
    }
}
