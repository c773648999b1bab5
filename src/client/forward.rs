//! Forwarding by a client: the calls of its transport, under paramiko's and OpenSSH's words.

use super::SSHClient;
use crate::channel::Channel;
use crate::error::Result;
use crate::forward::message::Carried;
use crate::forward::{Forward, ForwardedConnection};
use crate::pattern::endpoint::Endpoint;

impl SSHClient {
    /// Has the server connect to a host and port; the channel that carries the connection. See
    /// [`Transport::open_direct_tcpip`](crate::Transport::open_direct_tcpip).
    ///
    /// # Errors
    /// [`Error::ChannelRefused`](crate::Error::ChannelRefused), [`Error::Timeout`](crate::Error::Timeout),
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn open_direct_tcpip(&self, host: &str, port: u16, originator: (&str, u16)) -> Result<Channel> {
        let originator = Endpoint::tcp(originator.0, originator.1);
        let carried = Carried { to: Endpoint::tcp(host, port), originator };
        self.transport.open_direct(carried, self.request_timeout)
    }

    /// Has the server connect to a UNIX socket of its own.
    ///
    /// # Errors
    /// As [`open_direct_tcpip`](Self::open_direct_tcpip).
    pub fn open_direct_streamlocal(&self, path: impl AsRef<[u8]>) -> Result<Channel> {
        let carried = Carried { to: Endpoint::unix(path), originator: Endpoint::unix("") };
        self.transport.open_direct(carried, self.request_timeout)
    }

    /// Accepts connections here and has the server carry them on, as `ssh -L`. See
    /// [`Transport::forward_local`](crate::Transport::forward_local).
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Closed`](crate::Error::Closed).
    pub fn forward_local(&self, listen: Endpoint, to: Endpoint) -> Result<Forward> {
        self.transport.forward_local(listen, to)
    }

    /// The same; `accept` says of each connection where it is to lead. See
    /// [`Transport::forward_local_with`](crate::Transport::forward_local_with).
    ///
    /// # Errors
    /// As [`forward_local`](Self::forward_local).
    pub fn forward_local_with(
        &self,
        listen: Endpoint,
        accept: impl Fn(&Endpoint) -> Option<Endpoint> + Send + Sync + 'static,
    ) -> Result<Forward> {
        self.transport.forward_local_with(listen, accept)
    }

    /// Accepts SOCKS clients here, as `ssh -D`. See
    /// [`Transport::forward_socks`](crate::Transport::forward_socks).
    ///
    /// # Errors
    /// As [`forward_local`](Self::forward_local).
    pub fn forward_socks(&self, listen: Endpoint) -> Result<Forward> {
        self.transport.forward_socks(listen)
    }

    /// Has the server accept connections and carries them on from here, as `ssh -R`. See
    /// [`Transport::forward_remote`](crate::Transport::forward_remote).
    ///
    /// # Errors
    /// [`Error::RequestRefused`](crate::Error::RequestRefused), [`Error::Timeout`](crate::Error::Timeout),
    /// [`Error::Closed`](crate::Error::Closed).
    pub fn forward_remote(&self, listen: Endpoint, to: Endpoint) -> Result<Forward> {
        self.transport.forward_remote_until(listen, to, self.request_timeout)
    }

    /// The same; `take` gets each connection. See
    /// [`Transport::forward_remote_with`](crate::Transport::forward_remote_with).
    ///
    /// # Errors
    /// As [`forward_remote`](Self::forward_remote).
    pub fn forward_remote_with(
        &self,
        listen: Endpoint,
        take: impl Fn(ForwardedConnection) + Send + Sync + 'static,
    ) -> Result<Forward> {
        self.transport.forward_remote_with_until(listen, take, self.request_timeout)
    }

    /// Has the server accept SOCKS clients, as `ssh -R` with a port alone. See
    /// [`Transport::forward_remote_socks`](crate::Transport::forward_remote_socks).
    ///
    /// # Errors
    /// As [`forward_remote`](Self::forward_remote).
    pub fn forward_remote_socks(
        &self,
        listen: Endpoint,
        permit: impl Fn(&Endpoint) -> bool + Send + Sync + 'static,
    ) -> Result<Forward> {
        self.transport.forward_remote_socks_until(listen, permit, self.request_timeout)
    }
}
