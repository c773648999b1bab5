//! `Transport`: one connection, from the first byte to the last. The client's steps run on the
//! caller's thread until somebody is authenticated; then the engine takes over.

mod authenticate;
mod method;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::channel::Channel;
use crate::engine::{
    self, Clock, Closer, Limits, Link, Login, Opening, RequestTaker, Start, Stream, default_deadline,
};
use crate::error::{Error, Result};
use crate::kex::{Algorithms, Negotiated, Role, Setup};
use crate::key::algorithm::signature;
use crate::key::{PKey, PublicKey};
use crate::packet::VersionLine;
use crate::sys::traffic::TrafficClasses;

use authenticate::ClientLogin;
pub(crate) use authenticate::{Answers, ChangePassword, OnBanner, Outcome};
pub use method::AuthMethod;

/// OpenSSH's PROTOCOL, section 2.2.
pub(crate) const NO_MORE_SESSIONS: &str = "no-more-sessions@openssh.com";

/// How a connection is made: algorithms, limits, keepalive, the version line.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TransportOptions {
    /// What is offered.
    pub algorithms: Algorithms,
    /// What a peer may use of us.
    pub limits: Limits,
    /// Ask for a sign of life after so long a silence; end the connection after so many unanswered.
    pub keepalive: Option<(Duration, u32)>,
    /// How our packets ask to be treated on their way.
    pub traffic: TrafficClasses,
    /// What we say that we are.
    pub version: VersionLine,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            algorithms: Algorithms::client_defaults(),
            limits: Limits::default(),
            keepalive: None,
            traffic: TrafficClasses::default(),
            version: VersionLine::default(),
        }
    }
}

enum Stage {
    /// Keys are exchanged; nobody is authenticated.
    Login(Box<ClientLogin>),
    /// A thread is authenticating.
    Busy,
    Running(Link),
    Closed,
}

struct Shared {
    stage: Mutex<Stage>,
    closer: Arc<dyn Closer>,
    /// Where another program holds the connection, it has them.
    agreed: Option<(PublicKey, Negotiated)>,
    peer_ident: String,
    options: TransportOptions,
    /// For the engine, when it starts.
    taker: Mutex<Option<RequestTaker>>,
    /// What the server told before it let somebody in; kept from then on.
    banners: OnceLock<Vec<String>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Stage::Login(login) = self.stage.get_mut() {
            login.login.abort(&Error::Closed(None));
        }
    }
}

/// A connection. Clones share it; it ends when the last handle (clone, channel) is dropped.
///
/// ```no_run
/// use feramiko::{Transport, TransportOptions};
/// let stream = std::net::TcpStream::connect("example.org:22")?;
/// let transport = Transport::start_client(stream, TransportOptions::default(), |key| {
///     println!("{}", key.fingerprint());
///     Ok(())
/// })?;
/// let remaining = transport.auth_password("robey", "foo")?;
/// assert!(remaining.is_empty());
/// let channel = transport.open_session()?;
/// channel.exec_command("uname")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Transport(Arc<Shared>);

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("negotiated", &self.negotiated()).finish_non_exhaustive()
    }
}

impl Transport {
    /// Starts a client on any stream: version lines and keys. `check_host_key` sees the key that the
    /// host has proven to hold, before anything else is sent; an error ends the connection.
    ///
    /// # Errors
    /// What the check says, [`Error::Timeout`], [`Error::NoCommon`], [`Error::Protocol`], [`Error::Io`].
    pub fn start_client(
        stream: impl Stream,
        options: TransportOptions,
        check_host_key: impl FnMut(&PublicKey) -> Result<()>,
    ) -> Result<Self> {
        let clock = Clock::start(options.limits.connect_timeout)?;
        let auth_timeout = options.limits.auth_timeout;
        let transport = Self::start_client_within(Box::new(stream), options, &clock, check_host_key)?;
        clock.restart(auth_timeout)?;
        Ok(transport)
    }

    pub(crate) fn start_client_within(
        stream: Box<dyn Stream>,
        options: TransportOptions,
        clock: &Clock,
        mut check_host_key: impl FnMut(&PublicKey) -> Result<()>,
    ) -> Result<Self> {
        let halves = stream.split().map_err(|error| Error::io("preparing the stream", error))?;
        let setup = Setup {
            role: Role::Client,
            algorithms: options.algorithms.clone(),
            our_ident: options.version.as_str().into(),
            peer_ident: Vec::new(),
            host_keys: Vec::new(),
            moduli: Arc::default(),
        };
        let bytes_limit = options.limits.client_bytes_before_auth;
        let opening = Opening { setup, host_keys: Vec::new(), clock: clock.clone(), bytes_limit };
        let login = Login::handshake(halves, opening, &mut check_host_key)?;
        let missing = || Error::Misuse("the exchange left no host key");
        let shared = Shared {
            closer: Arc::clone(&login.closer),
            agreed: Some((
                login.kex.host_key().cloned().ok_or_else(missing)?,
                login.kex.negotiated().cloned().ok_or_else(missing)?,
            )),
            peer_ident: crate::wire::Escaped(&login.setup.peer_ident).to_string(),
            stage: Mutex::new(Stage::Login(Box::new(ClientLogin::new(login, options.limits.auth_client())))),
            options,
            taker: Mutex::new(None),
            banners: OnceLock::new(),
        };
        Ok(Self(Arc::new(shared)))
    }

    /// Who takes one kind of request of the server's, once; to be named before somebody is authenticated.
    pub(crate) fn set_taker(&self, taker: Option<RequestTaker>) {
        *self.0.taker.lock() = taker;
    }

    /// A client on a stream that the master of a connection has switched to passing packets on.
    #[cfg(unix)]
    pub(crate) fn start_shared(stream: impl Stream, options: TransportOptions) -> Result<Self> {
        let halves = Box::new(stream).split().map_err(|error| Error::io("preparing the stream", error))?;
        let shared = Shared {
            closer: Arc::clone(&halves.closer),
            agreed: None,
            peer_ident: String::new(),
            stage: Mutex::new(Stage::Running(engine::start_shared(halves, options.limits.clone())?)),
            options,
            taker: Mutex::new(None),
            banners: OnceLock::new(),
        };
        Ok(Self(Arc::new(shared)))
    }

    /// The host key of the connection. None where another program holds the connection, which has checked
    /// it (`SSHClient::over_master`).
    #[must_use]
    pub fn host_key(&self) -> Option<&PublicKey> {
        self.0.agreed.as_ref().map(|(host_key, _)| host_key)
    }

    /// What was agreed on. After new keys were exchanged: at first. None where another program holds the
    /// connection.
    #[must_use]
    pub fn negotiated(&self) -> Option<&Negotiated> {
        self.0.agreed.as_ref().map(|(_, negotiated)| negotiated)
    }

    /// How many key exchanges there were, the first one counted; also where another program made it.
    #[must_use]
    pub fn exchanges(&self) -> u64 {
        match &*self.0.stage.lock() {
            Stage::Running(link) => link.core().exchanges(),
            _ => 1,
        }
    }

    /// The peer's version line; empty where another program holds the connection.
    #[must_use]
    pub fn peer_version(&self) -> &str {
        &self.0.peer_ident
    }

    /// Whether somebody is authenticated and the connection lives.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        matches!(&*self.0.stage.lock(), Stage::Running(link) if link.core().alive())
    }

    /// Whether the connection lives.
    #[must_use]
    pub fn is_active(&self) -> bool {
        match &*self.0.stage.lock() {
            Stage::Login(_) | Stage::Busy => true,
            Stage::Running(link) => link.core().alive(),
            Stage::Closed => false,
        }
    }

    pub(crate) fn link(&self) -> Result<Link> {
        match &*self.0.stage.lock() {
            Stage::Running(link) => Ok(link.clone()),
            Stage::Login(_) | Stage::Busy => {
                Err(Error::Misuse("nobody is authenticated yet: call an auth_ method"))
            }
            Stage::Closed => Err(Error::Closed(None)),
        }
    }

    /// Opens a session: a channel for a command, a shell or a subsystem.
    ///
    /// # Errors
    /// [`Error::ChannelRefused`] when the server refuses, [`Error::Timeout`], [`Error::Closed`].
    pub fn open_session(&self) -> Result<Channel> {
        self.open_channel("session", b"", None)
    }

    /// Opens a channel of any type; `rest` is what follows the common fields, RFC 4254 §5.1.
    ///
    /// # Errors
    /// As [`open_session`](Self::open_session).
    pub fn open_channel(&self, kind: &str, rest: &[u8], timeout: Option<Duration>) -> Result<Channel> {
        let link = self.link()?;
        let deadline = default_deadline(link.core(), timeout);
        link.open(kind, rest, deadline).map(Channel::new)
    }

    /// Asks the peer something of the connection; the bytes of its answer.
    ///
    /// # Errors
    /// [`Error::RequestRefused`], [`Error::Timeout`], [`Error::Closed`]; [`Error::Unsupported`] where another
    /// program holds the connection.
    pub fn global_request(&self, kind: &str, rest: &[u8], timeout: Option<Duration>) -> Result<Vec<u8>> {
        let link = self.link()?;
        let deadline = default_deadline(link.core(), timeout);
        link.global_request(kind, rest, deadline)
    }

    /// Tells the server to open no more sessions, so that whoever gets hold of this connection cannot run
    /// anything. Only OpenSSH and this library know that; others are not told, and whether they are is
    /// returned. Forwardings go on, and may be asked for.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is closed.
    pub fn no_more_sessions(&self) -> Result<bool> {
        let link = self.link()?;
        let known = ["OpenSSH", "feramiko"].iter().any(|name| self.0.peer_ident.contains(name));
        if known {
            link.tell(NO_MORE_SESSIONS, b"");
        }
        Ok(known)
    }

    /// Exchanges new keys now; returns at once, the exchange runs beside everything else.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is closed, [`Error::Unsupported`] where another program holds it.
    pub fn renegotiate_keys(&self) -> Result<()> {
        let link = self.link()?;
        link.core().not_shared("new keys")?;
        link.core().begin_rekey()
    }

    /// Sends a packet that means nothing, RFC 4253 §11.2.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is closed, [`Error::Unsupported`] where another program holds it.
    pub fn send_ignore(&self, data: &[u8]) -> Result<()> {
        let link = self.link()?;
        link.core().not_shared("a packet that means nothing")?;
        link.send_message(&crate::msg::transport::Ignore { data });
        Ok(())
    }

    /// Sends what waits (for [`Limits::linger`] at most), says goodbye and ends the connection; when
    /// it returns the stream is closed. Channels and other clones find it closed. Closing twice is
    /// fine.
    pub fn close(&self) {
        let stage = std::mem::replace(&mut *self.0.stage.lock(), Stage::Closed);
        match stage {
            Stage::Running(link) => link.close(),
            Stage::Login(mut login) => login.login.abort(&Error::Closed(None)),
            // Whoever authenticates finds the stream closed.
            Stage::Busy => self.0.closer.close(),
            Stage::Closed => {}
        }
    }

    /// Waits until the connection has ended, at most for `timeout`; whether it has.
    #[must_use]
    pub fn wait_closed(&self, timeout: Option<Duration>) -> bool {
        // What happens to a connection that nobody is authenticated on is told to who authenticates.
        let Ok(link) = self.link() else { return !self.is_active() };
        link.core().wait_end(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// Waits until no channel is open: every session and every forwarded connection is over. An ended
    /// connection has none.
    pub fn wait_channels(&self) {
        if let Ok(link) = self.link() {
            link.core().wait_idle();
        }
    }

    /// The channels that are open: their numbers, and the types that they were opened with.
    #[must_use]
    pub fn channels(&self) -> Vec<(u32, String)> {
        self.link().map_or_else(|_| Vec::new(), |link| link.core().channels())
    }

    /// Why the connection ended, if it has.
    #[must_use]
    pub fn closed_by(&self) -> Option<Error> {
        match &*self.0.stage.lock() {
            Stage::Running(link) if !link.core().alive() => Some(link.core().closed()),
            Stage::Closed => Some(Error::Closed(None)),
            _ => None,
        }
    }

    /// Runs a step of authentication with the login taken out, so that no lock is held meanwhile.
    fn step<T>(&self, step: impl FnOnce(&mut ClientLogin) -> Result<T>) -> Result<T> {
        let mut login = self.take_login()?;
        let busy = Busy(Some(&self.0));
        match step(&mut login) {
            Ok(value) => {
                let next = if login.done { Stage::Running(self.run(*login)?) } else { Stage::Login(login) };
                busy.over(next).map(|()| value)
            }
            Err(error) => {
                login.login.abort(&error);
                Err(error)
            }
        }
    }

    fn take_login(&self) -> Result<Box<ClientLogin>> {
        let mut stage = self.0.stage.lock();
        match std::mem::replace(&mut *stage, Stage::Busy) {
            Stage::Login(login) => Ok(login),
            other => {
                *stage = other;
                Err(match &*stage {
                    Stage::Running(_) => Error::Misuse("somebody is authenticated already"),
                    Stage::Closed => Error::Closed(None),
                    _ => Error::Misuse("another thread is authenticating"),
                })
            }
        }
    }

    /// The engine takes over.
    fn run(&self, login: ClientLogin) -> Result<Link> {
        // Nobody else sets them.
        let _ = self.0.banners.set(login.banners);
        let (finished, parts) = login.login.finish();
        let start = Start {
            role: Role::Client,
            setup: parts.setup,
            kex: parts.kex,
            host_keys: parts.host_keys,
            limits: self.0.options.limits.clone(),
            peer: parts.peer,
            peer_ident: self.0.peer_ident.clone(),
            keepalive: self.0.options.keepalive,
            traffic: self.0.options.traffic,
            round_trip: parts.round_trip,
            extensions: parts.extensions,
            closer: parts.closer,
            serving: false,
            shared: false,
            taker: self.0.taker.lock().take(),
        };
        engine::start(finished, start)
    }
}

/// A step of authentication. It ends with what it came to; if it comes to nothing, also by a panic, the
/// connection is closed.
struct Busy<'a>(Option<&'a Shared>);

impl Busy<'_> {
    /// Goes on to `next`, unless somebody has closed the connection meanwhile.
    fn over(mut self, next: Stage) -> Result<()> {
        let Some(shared) = self.0.take() else { return Ok(()) };
        let mut stage = shared.stage.lock();
        if !matches!(*stage, Stage::Busy) {
            drop(stage);
            // Ends it.
            drop(next);
            return Err(Error::Closed(None));
        }
        *stage = next;
        Ok(())
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let Some(shared) = self.0 else { return };
        *shared.stage.lock() = Stage::Closed;
        shared.closer.close();
    }
}

/// A private key and the algorithm it signs with for this server.
pub(crate) fn algorithm_for(
    key: &PKey,
    ours: &[&'static str],
    peer: Option<&[String]>,
) -> Option<&'static str> {
    let usable = key.public_key().algorithms().iter().copied().filter(|name| ours.contains(name));
    // Servers name the signatures, some of them those of certificates too.
    let taken = |name: &str| {
        let label = signature(name).map_or(name, |spec| spec.label);
        peer.is_none_or(|peer| peer.iter().any(|theirs| theirs == name || theirs == label))
    };
    // A server that lists what it takes, and none of it fits, may still take the first.
    usable.clone().find(|name| taken(name)).or_else(|| usable.clone().next())
}
