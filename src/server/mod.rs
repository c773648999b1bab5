//! `SSHServer`: listens, lets people in, and runs their sessions.

#[cfg(unix)]
mod account;
#[cfg(unix)]
mod agent;
mod callout;
mod connection;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod folder;
mod forwarding;
mod handover;
mod hostbased;
mod hostkeys;
mod line_editor;
mod listener;
#[cfg(unix)]
mod local;
mod login;
#[cfg(unix)]
mod process;
mod redirect;
mod rules;
mod running;
mod scp;
mod session;
mod sftp;
#[cfg(test)]
mod tests;
#[cfg(unix)]
mod x11;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::{Limits, Stream};
use crate::error::{Error, Result};
use crate::interface::ServerInterface;
use crate::kex::{Algorithms, Moduli};
use crate::key::PKey;
use crate::packet::VersionLine;
use crate::sys::traffic::TrafficClasses;

#[cfg(unix)]
pub use account::UserLogin;
#[cfg(unix)]
pub use agent::AgentSocket;
#[cfg(unix)]
pub use files::FileService;
pub use hostbased::HostbasedRules;
pub use line_editor::{LineEditor, LineEditorWriter};
#[cfg(unix)]
pub use listener::TcpListeners;
pub use listener::{Listen, Peer, ServerHandle};
#[cfg(unix)]
pub use local::child_entry;
pub use rules::{ChannelTimeouts, ConnectionRules};
pub use session::{Session, SessionEvent, SessionEvents};
#[cfg(unix)]
pub use x11::X11Display;

/// What every connection of a server shares.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) host_keys: Vec<PKey>,
    pub(crate) algorithms: Algorithms,
    pub(crate) rules: ConnectionRules,
    pub(crate) moduli: Arc<Moduli>,
    pub(crate) version: VersionLine,
    announce_host_keys: bool,
    /// Lists of keys by which nobody is let in.
    revoked_keys: Vec<PathBuf>,
    /// What a refusal of each user takes.
    delays: login::Delays,
}

/// A server of SSH connections.
///
/// ```no_run
/// use std::net::TcpListener;
/// use std::time::Duration;
/// use feramiko::{PKey, SSHServer, ServerInterface};
/// struct Nobody;
/// impl ServerInterface for Nobody {}
/// let server = SSHServer::builder()
///     .host_key(PKey::from_file("host_key", None)?)
///     .serve(TcpListener::bind("127.0.0.1:2200")?, |_peer| Nobody)?;
/// server.shutdown(Duration::from_secs(5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SSHServer(Arc<Config>);

impl SSHServer {
    /// A server to be configured.
    #[must_use]
    pub fn builder() -> SSHServerBuilder {
        SSHServerBuilder {
            config: Config {
                host_keys: Vec::new(),
                algorithms: Algorithms::server_defaults(),
                rules: ConnectionRules::default(),
                moduli: Arc::default(),
                version: VersionLine::default(),
                announce_host_keys: true,
                revoked_keys: Vec::new(),
                delays: login::Delays::new(),
            },
        }
    }

    /// Serves everybody who connects to `listener`, in the background; see [`SSHServerBuilder::serve`].
    ///
    /// # Errors
    /// [`Error::Io`] when the thread cannot be started.
    pub fn serve<I: ServerInterface>(
        &self,
        listener: impl Listen,
        interface: impl Fn(&Peer) -> I + Send + Sync + 'static,
    ) -> Result<ServerHandle> {
        let interface = move |peer: &Peer| Arc::new(interface(peer));
        ServerHandle::start(Arc::clone(&self.0), Arc::new(listener), interface)
    }

    /// Serves one connection that was accepted elsewhere, on the calling thread, until it ends; its sessions have
    /// six seconds more, in which their programs are hung up and killed. Keys and certificates that are bound to
    /// an address are held against that of `peer`.
    ///
    /// # Errors
    /// Why it ended, if not by the client's goodbye.
    pub fn serve_stream(
        &self,
        stream: impl Stream,
        peer: &Peer,
        interface: impl ServerInterface,
    ) -> Result<()> {
        let sessions = Arc::default();
        let served =
            connection::serve(&self.0, Box::new(stream), &Arc::new(interface), peer, &sessions, &mut |_| {});
        sessions.wait();
        served
    }
}

/// Configures an [`SSHServer`].
#[derive(Debug)]
pub struct SSHServerBuilder {
    config: Config,
}

impl SSHServerBuilder {
    /// Adds a host key. One of each type is useful.
    #[must_use]
    pub fn host_key(mut self, key: PKey) -> Self {
        self.config.host_keys.push(key);
        self
    }

    /// What is offered.
    #[must_use]
    pub fn algorithms(mut self, algorithms: Algorithms) -> Self {
        self.config.algorithms = algorithms;
        self
    }

    /// What we say that we are; the library's name and version unless told otherwise.
    #[must_use]
    pub fn version(mut self, version: VersionLine) -> Self {
        self.config.version = version;
        self
    }

    /// What clients may use of the server.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.rules.limits = limits;
        self
    }

    /// Asks clients for a sign of life after so long a silence; ends the connection when so many stay
    /// unanswered.
    #[must_use]
    pub fn keepalive(mut self, interval: Duration, count_max: u32) -> Self {
        self.config.rules.keepalive = Some((interval, count_max));
        self
    }

    /// How our packets ask to be treated on their way.
    #[must_use]
    pub fn traffic(mut self, classes: TrafficClasses) -> Self {
        self.config.rules.traffic = classes;
        self
    }

    /// Closes channels on which nothing comes or goes for too long.
    #[must_use]
    pub fn channel_timeouts(mut self, timeouts: ChannelTimeouts) -> Self {
        self.config.rules.channel_timeouts = timeouts;
        self
    }

    /// Ends connections that have no channel for so long.
    #[must_use]
    pub fn unused_timeout(mut self, timeout: Duration) -> Self {
        self.config.rules.unused_timeout = Some(timeout);
        self
    }

    /// Tells clients that were let in all host keys, and proves to hold them, so that they can learn those
    /// of other types, and new ones before the old ones go. On unless told otherwise.
    #[must_use]
    pub fn announce_host_keys(mut self, announce: bool) -> Self {
        self.config.announce_host_keys = announce;
        self
    }

    /// The least size of RSA keys, the server's and its users', in bits. See
    /// [`Algorithms::required_rsa_size`].
    #[must_use]
    pub fn required_rsa_size(mut self, bits: usize) -> Self {
        self.config.algorithms = self.config.algorithms.required_rsa_size(bits);
        self
    }

    /// A list of keys by which nobody is let in, whatever the application says: a KRL, or public keys line by line
    /// ([`RevokedKeys`](crate::RevokedKeys)), `RevokedKeys` of sshd_config(5). It is read for every key that is
    /// shown, a user's or that of a host that vouches for one; if it cannot be read, all keys are revoked. A
    /// certificate is revoked with its key and with its authority's.
    #[must_use]
    pub fn revoked_keys(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.revoked_keys.push(path.into());
        self
    }

    /// The groups of a moduli(5) file for `diffie-hellman-group-exchange`; without, RFC 3526's are
    /// used.
    #[must_use]
    pub fn moduli(mut self, text: &str) -> Self {
        self.config.moduli = Arc::new(Moduli::parse(text));
        self
    }

    /// The server, for streams that are accepted elsewhere.
    ///
    /// # Errors
    /// [`Error::Misuse`] without a host key, [`Error::Key`] with an RSA key that is too small.
    pub fn build(self) -> Result<SSHServer> {
        if self.config.host_keys.is_empty() {
            return Err(Error::Misuse("a server needs a host key"));
        }
        for key in &self.config.host_keys {
            key.public_key().check_size(self.config.algorithms.rsa_bits)?;
        }
        Ok(SSHServer(Arc::new(self.config)))
    }

    /// Serves everybody who connects to `listener`, in the background. `interface` makes the
    /// application of each connection; it is told who connected.
    ///
    /// # Errors
    /// As [`build`](Self::build), [`Error::Io`] when the thread cannot be started.
    pub fn serve<I: ServerInterface>(
        self,
        listener: impl Listen,
        interface: impl Fn(&Peer) -> I + Send + Sync + 'static,
    ) -> Result<ServerHandle> {
        self.build()?.serve(listener, interface)
    }
}
