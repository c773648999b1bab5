//! From a destination to a connected socket: every address is tried, within one deadline.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cancel::Cancel;
use crate::engine::{Closer, spawn};
use crate::error::{Error, Phase, Result};
use crate::sys::tcp::Connecting;

/// SSH's port.
const PORT: u16 = 22;
/// An address that does not answer gets so long while others are left.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time between two attempts to reach a host; OpenSSH's.
const PAUSE: Duration = Duration::from_secs(1);

/// Which addresses are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Any,
    V4,
    V6,
}

/// Where to connect, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: u16,
}

/// From where, and how.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The address, or the name of one, that the connection comes from: `BindAddress`.
    pub(super) address: Option<String>,
    /// The interface whose address it comes from: `BindInterface`.
    pub(super) interface: Option<String>,
    /// How often all addresses are tried: `ConnectionAttempts`.
    pub(super) attempts: u32,
    /// The system asks a silent host for a sign of life: `TCPKeepAlive`.
    pub(super) keepalive: bool,
}

impl Default for Origin {
    fn default() -> Self {
        Self { address: None, interface: None, attempts: 1, keepalive: false }
    }
}

/// A destination as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

impl Destination {
    /// `[user@]host[:port]`, `[user@][v6]:port`, a bare IPv6 address, `ssh://…`.
    pub(super) fn parse(destination: &str) -> Result<Self> {
        let text = destination.strip_prefix("ssh://").unwrap_or(destination).trim_end_matches('/');
        Self::parse_plain(text)
    }

    /// The same without a scheme.
    fn parse_plain(text: &str) -> Result<Self> {
        let bad = Error::Misuse("a destination looks like user@host:port or [address]:port");
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let (host, named) = if let Some(inside) = rest.strip_prefix('[') {
            let (host, after) = inside.split_once(']').ok_or_else(|| bad.clone())?;
            match after.strip_prefix(':') {
                None if !after.is_empty() => return Err(bad),
                named => (host, named),
            }
        } else if rest.matches(':').count() > 1 {
            (rest, None)
        } else {
            rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
        };
        let port = named.map(str::parse).transpose().map_err(|_| bad.clone())?;
        // Names that could be taken for options or hold control characters are nobody's.
        if host.is_empty()
            || host.starts_with('-')
            || host.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            return Err(bad);
        }
        Ok(Self { user: user.filter(|user| !user.is_empty()), host: host.to_owned(), port })
    }

    /// Where that leads when nothing else is said.
    pub(super) fn target(self) -> Target {
        Target { user: self.user, host: self.host, port: self.port.unwrap_or(PORT) }
    }
}

impl Target {
    /// `[user@]host[:port]` without a scheme, with this port where none is named.
    pub(super) fn parse_at(text: &str, port: u16) -> Result<Self> {
        let said = Destination::parse_plain(text)?;
        Ok(Self { user: said.user, host: said.host, port: said.port.unwrap_or(port) })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// The host's addresses. The system's resolver knows no deadline: it runs on a thread of its own,
/// which is left behind when it takes too long.
fn resolve(target: &Target, deadline: Instant, cancel: &Cancel) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let (host, port) = (target.host.clone(), target.port);
    spawn("feramiko resolver", move || {
        // Nobody listens any more after the deadline.
        let _ = sender.send((host.as_str(), port).to_socket_addrs().map(Vec::from_iter));
    })?;
    crossbeam_channel::select! {
        recv(receiver) -> found => found
            .unwrap_or_else(|_| Err(io::Error::other("the resolver's thread panicked")))
            .map_err(|error| Error::io(format!("looking up {}", target.host), error)),
        recv(cancel.told()) -> _ => Err(Error::Cancelled),
        recv(crossbeam_channel::at(deadline)) -> _ => Err(Error::Timeout(Phase::Resolve)),
    }
}

/// A socket to `host[:port]`, for others than clients.
pub(crate) fn dial_to(destination: &str, port: u16, deadline: Instant) -> Result<TcpStream> {
    let target = Target::parse_at(destination, port)?;
    dial(&target, Family::Any, &Origin::default(), deadline, &Cancel::new())
}

/// A socket to the first address that answers.
pub(super) fn dial(
    target: &Target,
    family: Family,
    origin: &Origin,
    deadline: Instant,
    cancel: &Cancel,
) -> Result<TcpStream> {
    let mut left = origin.attempts.max(1);
    loop {
        left = left.saturating_sub(1);
        match dial_once(target, family, origin, deadline, cancel) {
            Err(Error::Io { .. }) if left > 0 => pause(deadline, cancel)?,
            Ok(stream) if origin.keepalive => {
                let set = crate::sys::tcp::ask_silent_peers(&stream);
                set.map_err(|error| Error::io("preparing the stream", error))?;
                return Ok(stream);
            }
            other => return other,
        }
    }
}

fn pause(deadline: Instant, cancel: &Cancel) -> Result<()> {
    crossbeam_channel::select! {
        recv(cancel.told()) -> _ => Err(Error::Cancelled),
        recv(crossbeam_channel::at(deadline)) -> _ => Err(Error::Timeout(Phase::Connect)),
        recv(crossbeam_channel::after(PAUSE)) -> _ => Ok(()),
    }
}

/// The addresses that a connection may come from; none where it does not matter.
fn sources(origin: &Origin, deadline: Instant, cancel: &Cancel) -> Result<Option<Vec<SocketAddr>>> {
    if let Some(name) = &origin.address {
        let here = Target { user: None, host: name.clone(), port: 0 };
        return resolve(&here, deadline, cancel).map(Some);
    }
    let Some(name) = &origin.interface else { return Ok(None) };
    let doing = || format!("looking for the addresses of interface {name}");
    let all = crate::sys::names::interfaces().map_err(|error| Error::io(doing(), error))?;
    let own = all.into_iter().filter(|(interface, _)| interface == name);
    Ok(Some(own.map(|(_, address)| SocketAddr::new(address, 0)).collect()))
}

/// Tries every address once.
fn dial_once(
    target: &Target,
    family: Family,
    origin: &Origin,
    deadline: Instant,
    cancel: &Cancel,
) -> Result<TcpStream> {
    let sources = sources(origin, deadline, cancel)?;
    let mut addresses = resolve(target, deadline, cancel)?;
    addresses.retain(|address| match family {
        Family::Any => true,
        Family::V4 => address.is_ipv4(),
        Family::V6 => address.is_ipv6(),
    });
    let mut last =
        Error::io(format!("connecting to {target}"), io::Error::other("the host has no such address"));
    let mut failed = Vec::new();
    for (at, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout(Phase::Connect));
        }
        let more = addresses.len() > at.saturating_add(1);
        let patience = if more { left.min(PATIENCE) } else { left };
        let source = sources.as_ref().map(|all| all.iter().find(|own| own.is_ipv4() == address.is_ipv4()));
        let connected = match source {
            Some(None) => Err(io::Error::other("no address to come from is of its kind")),
            source => connect(address, source.flatten(), patience, cancel),
        };
        match connected {
            Ok(stream) => return Ok(stream),
            Err(_) if cancel.is_cancelled() => return Err(Error::Cancelled),
            Err(error) if error.kind() == io::ErrorKind::TimedOut && !more => {
                return Err(Error::Timeout(Phase::Connect));
            }
            Err(error) => {
                failed.push(describe(address, &error));
                last = Error::io(format!("connecting to {target} ({})", failed.join("; ")), error);
            }
        }
    }
    Err(last)
}

/// Connects; the token shuts the socket down meanwhile.
fn connect(
    address: &SocketAddr,
    source: Option<&SocketAddr>,
    timeout: Duration,
    cancel: &Cancel,
) -> io::Result<TcpStream> {
    let connecting = Arc::new(Connecting::new(address)?);
    source.map_or(Ok(()), |source| connecting.come_from(source))?;
    let _watch = cancel.watch(Arc::<Connecting>::clone(&connecting));
    connecting.finish(timeout)
}

impl Closer for Connecting {
    fn close(&self) {
        self.abandon();
    }
}

fn describe(address: &SocketAddr, error: &io::Error) -> String {
    format!("{}: {error}", address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let cases = [
            ("host", None, "host", 22),
            ("me@host", Some("me"), "host", 22),
            ("me@host:2222", Some("me"), "host", 2222),
            ("a@b@host", Some("a@b"), "host", 22),
            ("[2001:db8::7]:2222", None, "2001:db8::7", 2222),
            ("2001:db8::7", None, "2001:db8::7", 22),
            ("ssh://me@host:99/", Some("me"), "host", 99),
        ];
        for (text, user, host, port) in cases {
            let target = Destination::parse(text).unwrap().target();
            assert_eq!(
                (target.user.as_deref(), target.host.as_str(), target.port),
                (user, host, port),
                "{text}"
            );
        }
        for bad in
            ["", "host:", "host:x", "host:70000", "-oProxyCommand=x", "[::1", "[::1]2222", "[::1]x", "a\nb"]
        {
            assert!(Destination::parse(bad).is_err(), "{bad}");
        }
    }
}
