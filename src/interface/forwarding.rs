//! What a server asks about forwarding, and what it can be answered.

use std::fmt;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::auth::AuthInfo;
use crate::channel::Channel;
use crate::engine::{Link, default_deadline};
use crate::error::{Error, Result};
use crate::msg::forwarding::Carried;
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
pub enum ListenAnswer {
    /// Refused.
    Refuse,
    /// The server listens.
    Listen(ListenOptions),
    /// The application makes the connections; made by [`take`](Self::take).
    Take(u16, RunPlace),
}

/// Makes connections for a place, on a thread of its own.
type RunPlace = Box<dyn FnOnce(ForwardedPlace) + Send>;

impl ListenAnswer {
    /// The application makes the connections: `run` opens a channel for each, on a thread of its own. `port` is
    /// told to a client that has left the choice to the server; otherwise it means nothing.
    pub fn take(port: u16, run: impl FnOnce(ForwardedPlace) + Send + 'static) -> Self {
        Self::Take(port, Box::new(run))
    }
}

impl fmt::Debug for ListenAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("Refuse"),
            Self::Listen(options) => f.debug_tuple("Listen").field(options).finish(),
            Self::Take(port, _) => write!(f, "Take({port})"),
        }
    }
}

/// A place that a client believes the server listens at, and where an application makes the connections.
#[derive(Debug)]
pub struct ForwardedPlace {
    link: Link,
    at: Endpoint,
    /// Disconnected when the client wants no more.
    ended: Receiver<()>,
}

impl ForwardedPlace {
    /// The place, and what ends it when it is dropped.
    pub(crate) fn new(link: Link, at: Endpoint) -> (Self, Sender<()>) {
        let (end, ended) = crossbeam_channel::bounded(0);
        (Self { link, at, ended }, end)
    }

    /// The place as the client knows it.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.at
    }

    /// Opens a channel to the client for a connection that `originator` has made; a UNIX socket without a path
    /// tells nobody.
    ///
    /// # Errors
    /// [`Error::ChannelRefused`] when the client does not take it, [`Error::Closed`] when it wants no more.
    pub fn open(&self, originator: Endpoint) -> Result<Channel> {
        if self.wait_end(Some(Duration::ZERO)) {
            return Err(Error::Closed(None));
        }
        let (kind, rest) = Carried { to: self.at.clone(), originator }.forwarded();
        self.link.open(kind, &rest, default_deadline(self.link.core(), None)).map(Channel::new)
    }

    /// Waits until the client wants no more connections or is gone, at most for `timeout`; whether that is so.
    #[must_use]
    pub fn wait_end(&self, timeout: Option<Duration>) -> bool {
        match timeout {
            None => self.ended.recv().is_err(),
            Some(timeout) => self.ended.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected),
        }
    }
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
