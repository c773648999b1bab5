//! What a server asks about forwarding, and what it can be answered.

use std::fmt;

use crate::auth::AuthInfo;
use crate::channel::Channel;
use crate::pattern::endpoint::Endpoint;

/// A connection that a client wants the server to make.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectRequest {
    /// Where it is to lead.
    pub to: Endpoint,
    /// Who has connected to the client, in the client's words; a UNIX socket without a path where that is
    /// not told.
    pub originator: Endpoint,
    /// Who the client is.
    pub auth: AuthInfo,
}

impl DirectRequest {
    pub(crate) fn new(to: Endpoint, originator: Endpoint, auth: AuthInfo) -> Self {
        Self { to, originator, auth }
    }
}

/// Runs a channel to its end, on a thread of its own.
type RunChannel = Box<dyn FnOnce(Channel) + Send>;

/// An application's answer to a [`DirectRequest`].
#[must_use]
pub enum DirectAnswer {
    /// Refused.
    Refuse,
    /// The server connects there, be it where the client wants or elsewhere, and passes the bytes on.
    Connect(Endpoint),
    /// The application is who the client talks to; made by [`take`](Self::take).
    Take(RunChannel),
}

impl DirectAnswer {
    /// The application is who the client talks to: `run` gets the channel, on a thread of its own. The channel
    /// is closed when it returns.
    pub fn take(run: impl FnOnce(Channel) + Send + 'static) -> Self {
        Self::Take(Box::new(run))
    }
}

impl fmt::Debug for DirectAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("Refuse"),
            Self::Connect(to) => write!(f, "Connect({to})"),
            Self::Take(_) => f.write_str("Take"),
        }
    }
}

/// A place where a client wants the server to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenRequest {
    /// The place, in the client's words: RFC 4254 §7.1 says what `""`, `localhost` and others stand for.
    pub at: Endpoint,
    /// Who the client is.
    pub auth: AuthInfo,
}

impl ListenRequest {
    pub(crate) fn new(at: Endpoint, auth: AuthInfo) -> Self {
        Self { at, auth }
    }
}

/// An application's answer to a [`ListenRequest`].
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAnswer {
    /// Refused.
    Refuse,
    /// The server listens.
    Listen(ListenOptions),
}

/// Who may connect where a client has the server listen: `GatewayPorts` of sshd_config(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GatewayPorts {
    /// Programs on the server only, whatever the client asks for.
    #[default]
    No,
    /// Everybody, whatever the client asks for.
    Yes,
    /// Whom the client wants.
    ClientSpecified,
}

/// How somebody listens for connections to be forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOptions {
    /// Which addresses a server listens on that was asked to listen on one.
    pub gateway: GatewayPorts,
    /// Whether a server that was asked to may listen on ports below 1024; the system must let it, too.
    pub privileged_ports: bool,
    /// The bits that are taken away from the mode of a UNIX socket: `StreamLocalBindMask`.
    pub mask: u32,
    /// Whether a UNIX socket that is there already is removed before: `StreamLocalBindUnlink`.
    pub unlink: bool,
}

impl Default for ListenOptions {
    /// Loopback addresses, no privileged ports, and UNIX sockets for their owner only.
    fn default() -> Self {
        Self { gateway: GatewayPorts::No, privileged_ports: false, mask: 0o177, unlink: false }
    }
}
