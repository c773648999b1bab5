//! From an endpoint to a connected stream. Runs on the thread of the connection that is forwarded, which
//! nobody waits for.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::engine::Stream;
use crate::pattern::endpoint::Endpoint;

/// Time for all addresses of a host together. Systems give up after about two minutes; nobody waits so long
/// for a forwarded connection. Looking a name up takes what the system's resolver allows itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Connects; every address of a host is tried in turn.
pub(crate) fn dial(to: &Endpoint) -> io::Result<Box<dyn Stream>> {
    match to {
        Endpoint::Tcp { host, port } => Ok(Box::new(tcp(host, *port)?)),
        #[cfg(unix)]
        Endpoint::Unix(path) => {
            use std::os::unix::ffi::OsStrExt;
            let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
            Ok(Box::new(crate::sys::socket::connect_unix(path, PATIENCE)?))
        }
        #[cfg(not(unix))]
        Endpoint::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
    let deadline = Instant::now().checked_add(PATIENCE);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let shares = addresses.len().saturating_sub(at).try_into().unwrap_or(u32::MAX);
        // One address that does not answer leaves time for the others.
        let Some(share) = left.and_then(|left| left.checked_div(shares)).filter(|left| !left.is_zero())
        else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
