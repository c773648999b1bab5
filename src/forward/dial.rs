//! From an endpoint to a connected stream. Runs on the thread of the connection that is forwarded, which
//! nobody waits for.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::engine::{Link, Stream};
use crate::pattern::endpoint::Endpoint;
use crate::sys::tcp::Connecting;
use crate::sys::user::Account;

/// Time for all addresses of a host together. Systems give up after about two minutes; nobody waits so long
/// for a forwarded connection. Looking a name up takes what the system's resolver allows itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects, unless the transport dies meanwhile; every address of a host is tried in turn.
pub(crate) fn dial(to: &Endpoint, link: &Link) -> io::Result<Box<dyn Stream>> {
    dial_as(None, to, link)
}

/// The same, to a UNIX socket with the rights of a user, if one is named.
#[cfg_attr(not(unix), allow(unused_variables, reason = "there is nothing to have rights for"))]
pub(crate) fn dial_as(user: Option<&Account>, to: &Endpoint, link: &Link) -> io::Result<Box<dyn Stream>> {
    match to {
        Endpoint::Tcp { host, port } => Ok(Box::new(tcp(host, *port, link)?)),
        #[cfg(unix)]
        Endpoint::Unix(path) => {
            use std::os::unix::ffi::OsStrExt;
            let path = std::path::PathBuf::from(std::ffi::OsStr::from_bytes(path));
            let connect = move || crate::sys::socket::connect_unix(&path, PATIENCE);
            Ok(Box::new(crate::engine::with_rights_of(user, connect)?))
        }
        #[cfg(not(unix))]
        Endpoint::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Gives up connecting when it is dropped before that is over.
struct Abandon(Weak<Connecting>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(connecting) = self.0.upgrade() {
            connecting.abandon();
        }
    }
}

fn tcp(host: &str, port: u16, link: &Link) -> io::Result<TcpStream> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    let deadline = Instant::now().checked_add(PATIENCE);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let shares = addresses.len().saturating_sub(at).try_into().unwrap_or(u32::MAX);
        // One address that does not answer leaves time for the others.
        let share = left.and_then(|left| left.checked_div(shares)).filter(|share| !share.is_zero());
        let Some(share) = share else { return Err(io::ErrorKind::TimedOut.into()) };
        match connect(address, share, link) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to one address; the end of the transport gives that up.
fn connect(address: &SocketAddr, timeout: Duration, link: &Link) -> io::Result<TcpStream> {
    let connecting = Arc::new(Connecting::new(address)?);
    let held = link.hold(Abandon(Arc::downgrade(&connecting)));
    // What is dead by now has dropped it.
    let alive = link.core().alive();
    let connected = if alive { connecting.finish(timeout) } else { Err(io::ErrorKind::NotConnected.into()) };
    // In this order: what stands is somebody else's to end.
    drop(connecting);
    drop(held);
    connected
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Bare;
    use crate::error::Error;
    use crate::kex::Role;
    use crate::sys::tcp;

    /// A host that does not answer: its queue is full.
    #[test]
    fn the_end_of_the_transport_ends_a_dial() {
        let listener = tcp::listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
        }
        let bare = Bare::new(Role::Client).unwrap();
        let link = bare.link();
        let (to, begun) = (Endpoint::tcp("127.0.0.1", address.port()), Instant::now());
        std::thread::scope(|scope| {
            let dialing = scope.spawn(|| dial(&to, link).map(drop));
            std::thread::sleep(Duration::from_millis(100));
            assert!(!dialing.is_finished());
            link.core().die(Error::Closed(None));
            assert!(dialing.join().unwrap().is_err());
        });
        assert!(begun.elapsed() < PATIENCE / 2);
        assert!(dial(&to, link).is_err(), "a dead transport connects nobody");
        assert!(begun.elapsed() < PATIENCE / 2);
    }
}
