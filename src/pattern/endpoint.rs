//! One end of a forwarding: a host and a port, or the path of a UNIX socket. Names, no addresses: whoever
//! dials or listens looks them up.

use std::fmt;

/// Where a forwarding listens or leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A host by its name or address, and a port. A listener's host may be empty, which is every address,
    /// and its port 0, which lets the system choose.
    Tcp {
        /// The host, an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// The path of a UNIX socket. Names of files are bytes.
    Unix(Vec<u8>),
}

impl Endpoint {
    /// A host and a port.
    #[must_use]
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: host.into(), port }
    }

    /// The path of a UNIX socket.
    #[must_use]
    pub fn unix(path: impl AsRef<[u8]>) -> Self {
        Self::Unix(path.as_ref().to_vec())
    }
}

impl fmt::Display for Endpoint {
    /// As ssh writes it: an address with colons stands in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.escape_ascii()),
        }
    }
}

/// The host and the port of an entry in a list of places; no port stands for every port, and an entry that is
/// none for nothing.
pub(crate) fn entry(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match port {
        "*" => Some((host, None)),
        port => port.parse().ok().map(|port| (host, Some(port))),
    }
}

/// Whether a list has somebody connect to `to`. Names are compared as they are, `*` is every host and every
/// port. A list is of hosts and ports: UNIX sockets stand in none.
pub(crate) fn may_open(list: Option<&[String]>, to: &Endpoint) -> bool {
    let Some(list) = list else { return true };
    let Endpoint::Tcp { host, port } = to else { return false };
    list.iter().filter_map(|text| entry(text)).any(|(allowed, allowed_port)| {
        (allowed == "*" || allowed == host) && allowed_port.is_none_or(|allowed| allowed == *port)
    })
}
