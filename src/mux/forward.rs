//! What a client of a shared connection wants forwarded. Names only: who listens and dials is not known here.

use std::fmt;

use crate::error::Result;
use crate::pattern::endpoint::Endpoint;

/// Which side listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardKind {
    /// The client of SSH, `-L` and `-D` of ssh.
    Local,
    /// The server, `-R`.
    Remote,
}

/// A forwarding that a client of a shared connection wants opened or closed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForwardRequest {
    /// Which side listens.
    pub kind: ForwardKind,
    /// Where.
    pub listen: Endpoint,
    /// Where it leads to; none where whoever connects says so by SOCKS.
    pub to: Option<Endpoint>,
}

impl fmt::Display for ForwardRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ForwardKind::Local => "local",
            ForwardKind::Remote => "remote",
        };
        write!(f, "{kind} forward {} -> ", self.listen)?;
        match &self.to {
            Some(to) => to.fmt(f),
            None => f.write_str("*"),
        }
    }
}

/// What forwards for the clients of a [`ControlMaster`](super::ControlMaster). Called on the thread that
/// serves the client.
pub trait Forwards: Send + Sync {
    /// Opens a forwarding; the port that was chosen, where 0 was asked for.
    ///
    /// # Errors
    /// Why it cannot be opened; the client is told.
    fn open(&self, request: &ForwardRequest) -> Result<Option<u16>>;

    /// Closes one that was opened. Connections that it has made go on.
    ///
    /// # Errors
    /// Why it cannot be closed; the client is told.
    fn close(&self, request: &ForwardRequest) -> Result<()>;
}
