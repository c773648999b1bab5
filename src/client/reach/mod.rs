//! How a client reaches its host: directly, by a program, through proxies and jump hosts, or by waiting
//! for the host to call. Everything runs on the thread that connects, within its time, until its token is
//! cancelled.

#[cfg(unix)]
mod command;
mod http;
mod jump;
mod proxied;
mod socks;

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;

use super::SSHClient;
use super::builder::SSHClientBuilder;
use super::cancel::Cancel;
use super::dial::{self, DialOptions, Family, Target};
use crate::engine::{Clock, Closer, Stream};
use crate::error::{Error, Phase, Result};
use crate::sys::tcp::Accepting;

#[cfg(unix)]
use command::CommandLine;
pub use jump::JumpHost;
pub(super) use jump::Jumps;
use jump::Way as Tunnel;
pub use proxied::{HTTPProxy, SOCKSProxy};
#[cfg(any(test, fuzzing))]
pub(crate) use proxied::{PROXIES, proxy_answer};
pub use socks::SOCKSVersion;

/// Where a connect goes and what holds for all of its steps.
pub(super) struct Trip<'a> {
    pub(super) target: &'a Target,
    /// Who is to log in, if that is known.
    #[cfg(unix)]
    pub(super) user: Option<&'a str>,
    pub(super) family: Family,
    pub(super) dialling: &'a DialOptions,
    pub(super) clock: &'a Clock,
    pub(super) cancel: &'a Cancel,
    /// The connections that this one will carry at last.
    pub(super) depth: usize,
}

/// How the host is reached.
#[derive(Debug, Default)]
pub(super) enum Way {
    #[default]
    Direct,
    #[cfg(unix)]
    Command(CommandLine),
    Jumps(Jumps),
    Client(SSHClient),
    Http(HTTPProxy),
    Socks(SOCKSProxy),
}

impl Way {
    /// A proxy command as the configuration has it, its tokens replaced; whether it passes a connection on.
    #[cfg(unix)]
    pub(super) fn expanded(line: String, passes: bool) -> Result<Self> {
        Ok(Self::Command(CommandLine { line, expanded: true, log: false, passes }))
    }

    /// The same, where none can be run.
    #[cfg(not(unix))]
    pub(super) fn expanded(_: String, _: bool) -> Result<Self> {
        Err(Error::Unsupported("ProxyCommand on this system".to_owned()))
    }

    /// A stream to the host, and the host's address where it is known.
    pub(super) fn open(self, trip: &Trip<'_>) -> Result<(Box<dyn Stream>, Option<IpAddr>)> {
        let stream = match self {
            Self::Direct => {
                let stream =
                    dial::dial(trip.target, trip.family, trip.dialling, trip.clock.ends(), trip.cancel)?;
                let address = stream.peer_addr().ok().map(|address| address.ip());
                return Ok((Box::new(stream), address));
            }
            #[cfg(unix)]
            Self::Command(line) => line.open(trip),
            Self::Jumps(jumps) => jumps.open(trip),
            Self::Client(client) => Tunnel::of(client)?.open(trip),
            Self::Http(proxy) => proxy.open(trip),
            Self::Socks(proxy) => proxy.open(trip),
        };
        Ok((stream?, None))
    }
}

/// How the host is reached; of several ways the last one named counts. None of them tells the host's
/// address, so that none is looked up in known_hosts.
impl SSHClientBuilder {
    /// Reaches the host by a program whose standard streams lead to it, as `ProxyCommand` of ssh_config(5):
    /// the user's shell runs the line, in which `%h` and `%n` stand for the host, `%p` for its port, `%r` for
    /// the user and `%%` for a percent sign. A host or a user whose name a shell would take for more than a
    /// name is an error where the line has it. The program's standard error is ours, and so is its process group,
    /// so that it can ask at our terminal (what is typed there ends it only with us); it ends with the connection,
    /// and a connection that it ends says how it has ended.
    ///
    /// ```no_run
    /// let client = feramiko::SSHClient::builder().proxy_command("nc %h %p").connect("build.example.org")?;
    /// # Ok::<(), feramiko::Error>(())
    /// ```
    #[cfg(unix)]
    #[must_use]
    pub fn proxy_command(mut self, line: &str) -> Self {
        self.way =
            Way::Command(CommandLine { line: line.to_owned(), expanded: false, log: false, passes: false });
        self
    }

    /// The same for programs without a terminal: the lines of its standard error are logged as warnings, and it
    /// has a process group of its own.
    #[cfg(unix)]
    #[must_use]
    pub fn proxy_command_logged(mut self, line: &str) -> Self {
        self.way =
            Way::Command(CommandLine { line: line.to_owned(), expanded: false, log: true, passes: false });
        self
    }

    /// Reaches the host through others, as `ProxyJump` of ssh_config(5): `[user@]host[:port]`, separated by
    /// commas, the first one being connected to first. Each is connected to with the defaults of
    /// [`SSHClient::builder`] and what this one's configuration says of it, unless
    /// [`jump_with`](Self::jump_with) says otherwise, within the time and with the token of this connect. They end with the last handle of the connection.
    ///
    /// ```no_run
    /// let client = feramiko::SSHClient::builder()
    ///     .proxy_jump("me@gate.example.org,[2001:db8::7]:2222")
    ///     .connect("inner")?;
    /// # Ok::<(), feramiko::Error>(())
    /// ```
    #[must_use]
    pub fn proxy_jump(mut self, hosts: &str) -> Self {
        let settings = match self.way {
            Way::Jumps(jumps) => jumps.settings,
            _ => None,
        };
        self.way = Way::Jumps(Jumps { hosts: hosts.to_owned(), settings });
        self
    }

    /// What each host of [`proxy_jump`](Self::proxy_jump), or of `ProxyJump` in the configuration, is connected to with: users, keys, host keys. The
    /// first one's way (a proxy, jump hosts of its own) holds too; the others are reached through the one
    /// before.
    ///
    /// ```no_run
    /// use feramiko::{PKey, SSHClient};
    /// let key = PKey::from_file("gate_key", None)?;
    /// let client = SSHClient::builder()
    ///     .proxy_jump("gate.example.org")
    ///     .jump_with(move |_jump| SSHClient::builder().no_agent().key(key.clone()))
    ///     .connect("inner")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn jump_with(mut self, settings: impl FnMut(&JumpHost) -> Self + Send + 'static) -> Self {
        let hosts = match self.way {
            Way::Jumps(jumps) => jumps.hosts,
            _ => String::new(),
        };
        self.way = Way::Jumps(Jumps { hosts, settings: Some(Box::new(settings)) });
        self
    }

    /// Reaches the host through a connection that stands. It stays as long as this one does.
    ///
    /// ```no_run
    /// # fn example(gate: feramiko::SSHClient) -> feramiko::Result<()> {
    /// let inner = feramiko::SSHClient::builder().jump(gate).connect("inner")?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn jump(mut self, client: SSHClient) -> Self {
        self.way = Way::Client(client);
        self
    }

    /// Reaches the host through an HTTP proxy; see [`HTTPProxy`].
    #[must_use]
    pub fn http_proxy(mut self, proxy: impl Into<HTTPProxy>) -> Self {
        self.way = Way::Http(proxy.into());
        self
    }

    /// Reaches the host through a SOCKS proxy; see [`SOCKSProxy`].
    #[must_use]
    pub fn socks_proxy(mut self, proxy: impl Into<SOCKSProxy>) -> Self {
        self.way = Way::Socks(proxy.into());
        self
    }

    /// Waits until a host calls (RFC 8071: it connects, and is the server nevertheless), at most for the
    /// time that a connect has, and logs in. `destination` says whose host key and which user is meant,
    /// whoever has called. The listener is non-blocking from then on; several threads may wait at it. A stream
    /// that was accepted elsewhere is for
    /// [`connect_over`](Self::connect_over).
    ///
    /// ```no_run
    /// # use std::{net::TcpListener, time::Duration};
    /// let listener = TcpListener::bind("0.0.0.0:4334")?;
    /// let device = feramiko::SSHClient::builder()
    ///     .deadline(Duration::from_secs(3600))
    ///     .accept(&listener, "admin@device-17")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn accept(self, listener: &TcpListener, destination: &str) -> Result<SSHClient> {
        let (this, target) = self.configured(destination)?;
        let clock = Clock::start(this.time())?;
        let waiting = |error| Error::io("waiting for a host to call", error);
        let accepting = Arc::new(Accepting::new(listener).map_err(waiting)?);
        let watch = this.cancel.watch(Arc::<Accepting>::clone(&accepting));
        let accepted = accepting.finish(clock.ends());
        drop(watch);
        match accepted {
            Ok((stream, address)) => this.login(Box::new(stream), &target, Some(address.ip()), &clock),
            Err(_) if this.cancel.is_cancelled() => Err(Error::Cancelled),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(Error::Timeout(Phase::Accept)),
            Err(error) => Err(waiting(error)),
        }
    }

    /// Connects to a jump host that was looked up: through `carrier`, or else its own way.
    fn connect_jump(mut self, trip: &Trip<'_>, carrier: Option<Box<dyn Stream>>) -> Result<SSHClient> {
        let clock = trip.clock.within(self.time())?;
        self.cancel = trip.cancel.clone();
        self.depth = trip.depth;
        match carrier {
            Some(stream) => self.login(stream, trip.target, None, &clock),
            None => self.connect_by(trip.target, &clock),
        }
    }
}

impl Closer for Accepting {
    fn close(&self) {
        self.abandon();
    }
}
