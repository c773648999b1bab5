//! Sockets that listen for connections to be forwarded: which addresses a name stands for, UNIX sockets and
//! who may connect to them, and the threads that accept, one a socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(unix)]
use crate::engine::with_rights_of;
use crate::engine::{BREATH, Held, Link, Stream, spawn};
use crate::error::{Error, Result};
use crate::interface::{GatewayPorts, ListenOptions};
use crate::pattern::endpoint::Endpoint;
use crate::sys::user::Account;
use crate::sys::{socket, tcp};

/// Connections that wait to be accepted. With OpenSSH's 128, some of a burst are dropped by the system and
/// tried again a second later.
const BACKLOG: u16 = 1024;

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// With the file, and whose rights it was made with, if they are not ours.
    #[cfg(unix)]
    Unix(UnixListener, PathBuf, Option<Account>),
}

impl Socket {
    fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept()?;
                let originator = Endpoint::tcp(peer.ip().to_canonical().to_string(), peer.port());
                Ok(Accepted { stream: Box::new(stream), originator })
            }
            #[cfg(unix)]
            Self::Unix(listener, ..) => {
                let (stream, _) = listener.accept()?;
                Ok(Accepted { stream: Box::new(stream), originator: Endpoint::unix("") })
            }
        }
    }

    /// Ends it, and removes its file. Where that needs the rights of another user it waits for what the
    /// system knows of them, unless `at_once`.
    #[cfg_attr(not(unix), allow(unused_variables, reason = "there are no files"))]
    fn stop(&self, at_once: bool) {
        match self {
            Self::Tcp(listener) => socket::shut_listener(listener),
            #[cfg(unix)]
            Self::Unix(listener, path, user) => {
                socket::shut_listener(listener);
                let anothers = user.as_ref().is_some_and(|user| !user.is_current());
                let (path, user) = (path.clone(), user.clone());
                // Somebody may have removed it before, or put something else there.
                let remove = move || drop(with_rights_of(user.as_ref(), || std::fs::remove_file(path)));
                if at_once && anothers { drop(spawn("feramiko socket", remove)) } else { remove() }
            }
        }
    }
}

/// Somebody who has connected.
pub(crate) struct Accepted {
    pub(crate) stream: Box<dyn Stream>,
    /// Who that is; a UNIX socket without a path where that is not known.
    pub(crate) originator: Endpoint,
}

/// A place where connections to be forwarded are accepted, from when it is bound.
///
/// ```
/// use feramiko::{Endpoint, ForwardListener, ListenOptions};
/// let listener = ForwardListener::bind(&Endpoint::tcp("127.0.0.1", 0), &ListenOptions::default())?;
/// println!("listening on {}", listener.endpoint());
/// # Ok::<(), feramiko::Error>(())
/// ```
#[derive(Debug)]
pub struct ForwardListener {
    sockets: Vec<Socket>,
    endpoint: Endpoint,
}

impl ForwardListener {
    /// Listens. The host of a TCP endpoint is an address, a name, `localhost` for both loopback addresses,
    /// or empty or `*` for every address; [`ListenOptions::gateway`] is not asked: who calls this chooses.
    ///
    /// # Errors
    /// [`Error::Io`] when nobody can listen there, [`Error::Unsupported`] for UNIX sockets on systems without.
    pub fn bind(listen: &Endpoint, options: &ListenOptions) -> Result<Self> {
        Self::bind_at(listen, options, listen, None)
    }

    /// Listens where the options have a server listen that was asked to listen at `listen`. A UNIX socket is
    /// made, and removed, with the rights of `user`, if one is named.
    pub(crate) fn bind_by_rule(
        listen: &Endpoint,
        options: &ListenOptions,
        user: Option<&Account>,
    ) -> Result<Self> {
        let at = match listen {
            Endpoint::Tcp { host, port } => {
                Endpoint::tcp(bind_host(host, options.gateway).unwrap_or("localhost"), *port)
            }
            Endpoint::Unix(_) => listen.clone(),
        };
        Self::bind_at(listen, options, &at, user)
    }

    /// Listens at `at`, and is known under the name that was asked for.
    fn bind_at(
        asked: &Endpoint,
        options: &ListenOptions,
        at: &Endpoint,
        user: Option<&Account>,
    ) -> Result<Self> {
        let failed = |error| Error::io(format!("listening on {asked}"), error);
        match at {
            Endpoint::Tcp { host, port } => {
                let (sockets, port) = bind_tcp(host, *port).map_err(failed)?;
                let endpoint = match asked {
                    Endpoint::Tcp { host, .. } => Endpoint::tcp(host.as_str(), port),
                    Endpoint::Unix(_) => at.clone(),
                };
                Ok(Self { sockets, endpoint })
            }
            #[cfg(unix)]
            Endpoint::Unix(path) => {
                let socket = bind_unix(path, options, user).map_err(failed)?;
                Ok(Self { sockets: vec![socket], endpoint: asked.clone() })
            }
            #[cfg(not(unix))]
            Endpoint::Unix(_) => {
                let _ = (options, failed, user);
                Err(Error::Unsupported("listening on a UNIX socket on this system".to_owned()))
            }
        }
    }

    /// Where it listens: as asked, with the port that the system chose where that was 0.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Hands whoever connects to `take`, which must not wait, until what is returned is dropped or the
    /// transport dies.
    pub(crate) fn start(
        mut self,
        link: &Link,
        take: impl Fn(Accepted) + Send + Sync + 'static,
    ) -> Result<Listening> {
        let sockets = std::mem::take(&mut self.sockets);
        let shared = Arc::new(Sockets { sockets, stopped: AtomicBool::new(false) });
        let stop = Stop { sockets: Arc::clone(&shared), at_once: false };
        let take = Arc::new(take);
        for at in 0..shared.sockets.len() {
            let (shared, take) = (Arc::clone(&shared), Arc::clone(&take));
            spawn("feramiko listen", move || shared.accept_all(at, &*take))?;
        }
        // The thread on which the transport dies waits for nobody.
        let held = link.hold(Stop { sockets: shared, at_once: true });
        Ok(Listening { _stop: stop, _held: held })
    }
}

impl Drop for ForwardListener {
    fn drop(&mut self) {
        self.sockets.iter().for_each(|socket| socket.stop(false));
    }
}

/// The sockets of one listener.
struct Sockets {
    sockets: Vec<Socket>,
    stopped: AtomicBool,
}

impl Sockets {
    fn accept_all(&self, at: usize, take: &dyn Fn(Accepted)) {
        let Some(socket) = self.sockets.get(at) else { return };
        loop {
            let accepted = socket.accept();
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            match accepted {
                Ok(accepted) => take(accepted),
                Err(error) => {
                    log::warn!(target: "feramiko::forward", "accepting a connection: {error}");
                    std::thread::sleep(BREATH);
                }
            }
        }
    }
}

/// Has them accept nobody any more when it is dropped.
struct Stop {
    sockets: Arc<Sockets>,
    at_once: bool,
}

impl Drop for Stop {
    fn drop(&mut self) {
        if !self.sockets.stopped.swap(true, Ordering::SeqCst) {
            self.sockets.sockets.iter().for_each(|socket| socket.stop(self.at_once));
        }
    }
}

/// Connections are accepted as long as this and the transport live.
pub(crate) struct Listening {
    // In this order: whoever ends it has its files removed when it is over.
    _stop: Stop,
    _held: Held,
}

/// The sockets on every address that `host` stands for; one is enough. A port that the system chooses for
/// the first is taken for the others too.
fn bind_tcp(host: &str, mut port: u16) -> io::Result<(Vec<Socket>, u16)> {
    let both = |six: Ipv6Addr, four: Ipv4Addr| vec![IpAddr::from(four), IpAddr::from(six)];
    let addresses = match host {
        "" | "*" => both(Ipv6Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED),
        "localhost" => both(Ipv6Addr::LOCALHOST, Ipv4Addr::LOCALHOST),
        _ => (host, port).to_socket_addrs()?.map(|address| address.ip()).collect(),
    };
    let mut sockets = Vec::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match tcp::listen(SocketAddr::new(address, port), BACKLOG) {
            Ok(listener) => {
                port = listener.local_addr()?.port();
                sockets.push(Socket::Tcp(listener));
            }
            Err(error) => failed = error,
        }
    }
    if sockets.is_empty() { Err(failed) } else { Ok((sockets, port)) }
}

#[cfg(unix)]
fn bind_unix(path: &[u8], options: &ListenOptions, user: Option<&Account>) -> io::Result<Socket> {
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::FileTypeExt;

    let path = PathBuf::from(std::ffi::OsStr::from_bytes(path));
    let (file, unlink, mode) = (path.clone(), options.unlink, 0o777 & !options.mask);
    let listener = with_rights_of(user, move || {
        // A file that is no socket is not ours to remove.
        if unlink && file.symlink_metadata().is_ok_and(|there| there.file_type().is_socket()) {
            std::fs::remove_file(&file)?;
        }
        socket::listen_unix_as(&file, mode)
    })?;
    Ok(Socket::Unix(listener, path, user.cloned()))
}

/// Where a server listens that was asked to listen at `host`; none: on the loopback addresses. The words of
/// RFC 4254 §7.1 in the meaning that OpenSSH's `channel_fwd_bind_addr` gives them.
pub(crate) fn bind_host(host: &str, gateway: GatewayPorts) -> Option<&str> {
    match gateway {
        // A client that prefers one family may say so.
        GatewayPorts::No => ["127.0.0.1", "::1"].into_iter().find(|address| *address == host),
        GatewayPorts::Yes => Some(""),
        GatewayPorts::ClientSpecified if host == "localhost" => None,
        GatewayPorts::ClientSpecified => Some(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_for_what_openssh_takes_it_for() {
        use GatewayPorts::{ClientSpecified, No, Yes};
        for (host, no, yes, client) in [
            ("", None, Some(""), Some("")),
            ("*", None, Some(""), Some("*")),
            ("0.0.0.0", None, Some(""), Some("0.0.0.0")),
            ("::", None, Some(""), Some("::")),
            ("localhost", None, Some(""), None),
            ("127.0.0.1", Some("127.0.0.1"), Some(""), Some("127.0.0.1")),
            ("::1", Some("::1"), Some(""), Some("::1")),
            ("192.0.2.1", None, Some(""), Some("192.0.2.1")),
        ] {
            let got = [No, Yes, ClientSpecified].map(|rule| bind_host(host, rule));
            assert_eq!(got, [no, yes, client], "{host}");
        }
    }

    #[test]
    fn both_loopback_addresses_get_one_port() {
        let listener =
            ForwardListener::bind(&Endpoint::tcp("localhost", 0), &ListenOptions::default()).unwrap();
        let ports: Vec<_> = listener
            .sockets
            .iter()
            .map(|socket| match socket {
                Socket::Tcp(listener) => listener.local_addr().unwrap(),
                #[cfg(unix)]
                Socket::Unix(..) => unreachable!("asked for TCP"),
            })
            .collect();
        let Endpoint::Tcp { port, .. } = listener.endpoint() else { unreachable!("asked for TCP") };
        assert!(!ports.is_empty() && ports.iter().all(|at| at.port() == *port && at.ip().is_loopback()));
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_file_has_its_mode_and_goes_with_its_listener() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let endpoint = Endpoint::unix(path.as_os_str().as_encoded_bytes());
        let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let usual = ListenOptions::default();
        let first = ForwardListener::bind(&endpoint, &usual).unwrap();
        assert_eq!(mode(&path), 0o600);
        assert!(ForwardListener::bind(&endpoint, &usual).is_err(), "somebody listens there");
        let open = ListenOptions { mask: 0o117, unlink: true, ..usual };
        let second = ForwardListener::bind(&endpoint, &open).unwrap();
        assert_eq!(mode(&path), 0o660);
        drop(second);
        assert!(!path.exists());
        drop(first);
        std::fs::write(&path, "a file").unwrap();
        assert!(ForwardListener::bind(&endpoint, &open).is_err(), "no socket, and not removed");
        assert!(path.exists());
    }
}
