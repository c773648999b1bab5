//! An agent of our own: RFC 9987, the side that holds the keys.
//!
//! Serves each connection on the thread of its caller and starts none: who listens also decides where
//! connections run. One lock guards the keys; nobody is asked, nothing signed and nothing sent under it.
//! No library is ever loaded on a client's word (CVE-2023-38408): tokens are refused.

mod answer;
mod bindings;
mod lock;
mod login;
mod store;
#[cfg(all(test, unix))]
mod tests;

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::endpoint::Connection;
use super::exchange::{next_request, write_frame};
use super::{AddOptions, AgentError, KEYS};
use crate::key::{PKey, PublicKey};
use crate::sys::clock::since_start;
use bindings::Bindings;
use store::{Entry, Store};

/// Connections served at once: as many programs, or sessions that forward the agent, as anybody runs.
const CONNECTIONS: usize = 128;
/// Time to finish a request once begun, and to take the answer. Both are there at once, or the client is
/// stopped or hostile.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The wait after the first wrong passphrase, and how much longer it gets with each; OpenSSH's figure.
const DELAY_STEP: Duration = Duration::from_millis(100);
/// The wait does not get longer after so many; OpenSSH's figure.
const DELAY_STEPS: u32 = 100;

/// Why a request is refused. Clients only hear that it is.
type Refusal = &'static str;
/// Asks the user whether a key may be used.
type Confirm = Box<dyn Fn(&PublicKey, &str) -> bool + Send + Sync>;

/// An agent that holds keys in memory and signs with them for the programs that connect. Clones are the
/// same agent. Whoever owns the listener gives each connection a thread, and one thread to the clock:
///
/// ```no_run
/// use feramiko::AgentServer;
///
/// let server = AgentServer::builder().confirm(|key, comment| ask(key, comment)).build();
/// let listener = AgentServer::listen("/run/user/1000/agent/socket")?;
/// let clock = server.clone();
/// std::thread::spawn(move || clock.expire_keys());
/// for stream in listener.incoming() {
///     let (stream, server) = (stream?, server.clone());
///     std::thread::spawn(move || server.serve_connection(stream));
/// }
/// # fn ask(_: &feramiko::PublicKey, _: &str) -> bool { false }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct AgentServer(Arc<Shared>);

struct Shared {
    options: AgentServerBuilder,
    /// Taken by every request and by the clock, for as long as it takes to look at the keys.
    state: Mutex<State>,
    /// Told when a key came that expires, and at the end.
    changed: Condvar,
    connections: AtomicUsize,
}

struct State {
    store: Store,
    /// Wrong passphrases since the last right one.
    failures: u32,
    /// No passphrase is tried before.
    unlock_after: Option<Instant>,
    closed: bool,
}

impl fmt::Debug for AgentServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentServer").field("options", &self.0.options).finish_non_exhaustive()
    }
}

/// How an [`AgentServer`] is to be.
pub struct AgentServerBuilder {
    default_lifetime: Option<Duration>,
    confirm: Option<Confirm>,
    max_keys: usize,
    max_connections: usize,
    stall_timeout: Duration,
}

impl fmt::Debug for AgentServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentServerBuilder")
            .field("default_lifetime", &self.default_lifetime)
            .field("confirm", &self.confirm.is_some())
            .field("max_keys", &self.max_keys)
            .field("max_connections", &self.max_connections)
            .field("stall_timeout", &self.stall_timeout)
            .finish()
    }
}

impl AgentServerBuilder {
    /// How long keys are held that come without a lifetime of their own; for ever unless said otherwise.
    #[must_use]
    pub fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.default_lifetime = Some(lifetime);
        self
    }

    /// Asks the user before a key is used that was added so; called on the thread of the connection, with
    /// the key and its comment, which comes from whoever added it. Without it such keys are refused.
    #[must_use]
    pub fn confirm(mut self, ask: impl Fn(&PublicKey, &str) -> bool + Send + Sync + 'static) -> Self {
        self.confirm = Some(Box::new(ask));
        self
    }

    /// How many keys are held at most; 1024 unless said otherwise.
    #[must_use]
    pub fn max_keys(mut self, count: usize) -> Self {
        self.max_keys = count;
        self
    }

    /// How many connections are served at once; 128 unless said otherwise.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// How long a client may take to finish a request it has begun, or to take an answer; 30 seconds
    /// unless said otherwise. Between requests it may be silent.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout;
        self
    }

    /// Makes the agent, which holds no keys yet.
    #[must_use]
    pub fn build(self) -> AgentServer {
        let store = Store::new(self.max_keys);
        let state = State { store, failures: 0, unlock_after: None, closed: false };
        AgentServer(Arc::new(Shared {
            options: self,
            state: Mutex::new(state),
            changed: Condvar::new(),
            connections: AtomicUsize::new(0),
        }))
    }
}

impl AgentServer {
    /// An agent that cannot ask its user, holds up to 1024 keys and serves up to 128 connections.
    #[must_use]
    pub fn builder() -> AgentServerBuilder {
        AgentServerBuilder {
            default_lifetime: None,
            confirm: None,
            max_keys: usize::try_from(KEYS).unwrap_or(usize::MAX),
            max_connections: CONNECTIONS,
            stall_timeout: STALL_TIMEOUT,
        }
    }

    /// Listens on a new UNIX socket that only our user may connect to. It should lie in a directory that
    /// nobody else may enter, and whoever listens removes it.
    ///
    /// # Errors
    /// When something is there already, or the directory cannot be written.
    #[cfg(unix)]
    pub fn listen(path: impl AsRef<std::path::Path>) -> io::Result<std::os::unix::net::UnixListener> {
        crate::sys::socket::listen_unix(path.as_ref())
    }

    /// Takes a key, as a client's [`add`](super::Agent::add) does. One that is held elsewhere is not hidden
    /// by the lock, only refused.
    ///
    /// # Errors
    /// [`AgentError::Refused`] when the agent is locked or full, or cannot ask its user.
    pub fn add(&self, key: &PKey, options: &AddOptions) -> Result<(), AgentError> {
        self.admit(key.clone(), options.clone(), &Bindings::default()).map_err(|why| {
            log::debug!(target: "feramiko::agent", "refused: {why}");
            AgentError::Refused
        })
    }

    /// Forgets all keys, also while locked.
    pub fn remove_all(&self) {
        self.0.state.lock().store.clear();
    }

    /// Serves a client until it hangs up. Programs of other users are turned away, root's are not.
    ///
    /// # Errors
    /// [`AgentError::Stranger`], [`AgentError::Busy`], and why the connection could not go on.
    #[cfg(unix)]
    pub fn serve_connection(&self, mut stream: std::os::unix::net::UnixStream) -> Result<(), AgentError> {
        let uid = crate::sys::tcp::peer_credentials(&stream)?.uid;
        if uid != 0 && uid != crate::sys::user::current_uid() {
            return Err(AgentError::Stranger { uid });
        }
        self.serve(&mut stream)
    }

    /// Serves a client on any stream until it hangs up. Who that is and how long a read may take is the
    /// caller's to see to.
    ///
    /// # Errors
    /// [`AgentError::Busy`], and why the connection could not go on.
    pub fn serve_stream(&self, stream: impl Read + Write + Send) -> Result<(), AgentError> {
        self.serve(&mut Plain(stream))
    }

    /// Removes keys as their time comes, until [`close`](Self::close); to be called on a thread of its own.
    /// Without it they are removed when they are next asked for.
    pub fn expire_keys(&self) {
        let mut state = self.0.state.lock();
        while !state.closed {
            let now = since_start();
            match state.store.expire(now) {
                Some(next) => drop(self.0.changed.wait_for(&mut state, next.saturating_sub(now))),
                None => self.0.changed.wait(&mut state),
            }
        }
    }

    /// Forgets all keys for good: every request is refused from now on, and [`expire_keys`] returns. The
    /// streams are the caller's to close.
    ///
    /// [`expire_keys`]: Self::expire_keys
    pub fn close(&self) {
        let mut state = self.0.state.lock();
        state.store.clear();
        state.closed = true;
        self.0.changed.notify_all();
    }

    fn serve(&self, connection: &mut dyn Connection) -> Result<(), AgentError> {
        let _place = Place::take(&self.0)?;
        let mut bindings = Bindings::default();
        let patience = self.0.options.stall_timeout;
        while let Some(request) = next_request(connection, patience)? {
            let answer = self.answer(&request, &mut bindings);
            drop(request);
            write_frame(connection, &answer, Instant::now().checked_add(patience))?;
        }
        Ok(())
    }

    /// The keys, without those whose time has come; refused while locked and after the end.
    fn open(&self) -> Result<MutexGuard<'_, State>, Refusal> {
        let mut state = self.0.state.lock();
        state.store.expire(since_start());
        match state.closed || state.store.is_locked() {
            true => Err("the agent is locked or closed"),
            false => Ok(state),
        }
    }

    fn admit(&self, key: PKey, options: AddOptions, bindings: &Bindings) -> Result<(), Refusal> {
        if options.confirm && self.0.options.confirm.is_none() {
            return Err("nobody can be asked");
        }
        let lifetime = options.lifetime.map(|seconds| Duration::from_secs(seconds.into()));
        let lifetime = lifetime.or(self.0.options.default_lifetime);
        let expires = lifetime.map(|lifetime| since_start().saturating_add(lifetime));
        let entry = Entry::new(key, expires, options.confirm, options.destinations);
        self.open()?.store.add(entry, bindings)?;
        if expires.is_some() {
            self.0.changed.notify_all();
        }
        Ok(())
    }

    fn lock(&self, passphrase: &[u8]) -> Result<(), Refusal> {
        let (salt, secret) = lock::fresh(passphrase)?;
        self.open()?.store.lock(salt, &secret)
    }

    /// One try at a time, and after a wrong one a wait for all who try, so that many connections guess no
    /// faster than one.
    fn unlock(&self, passphrase: &[u8]) -> Result<(), Refusal> {
        let salt = self.0.state.lock().store.salt().ok_or("the agent is not locked")?;
        let secret = lock::derive(passphrase, &salt)?;
        let mut state = self.0.state.lock();
        while let Some(until) = state.unlock_after.filter(|until| *until > Instant::now()) {
            self.wait(&mut state, until)?;
        }
        if state.store.unlock(&secret)? {
            state.failures = 0;
            return Ok(());
        }
        state.failures = state.failures.saturating_add(1).min(DELAY_STEPS);
        let until = Instant::now().checked_add(DELAY_STEP.saturating_mul(state.failures));
        state.unlock_after = until;
        while let Some(until) = until.filter(|until| *until > Instant::now()) {
            self.wait(&mut state, until)?;
        }
        Err("the passphrase is wrong")
    }

    /// Waits until then, or for less.
    fn wait(&self, state: &mut MutexGuard<'_, State>, until: Instant) -> Result<(), Refusal> {
        if state.closed {
            return Err("the agent is closed");
        }
        self.0.changed.wait_until(state, until);
        Ok(())
    }
}

/// A connection's place among those that are served; given back when dropped.
struct Place<'a>(&'a Shared);

impl<'a> Place<'a> {
    fn take(shared: &'a Shared) -> Result<Self, AgentError> {
        let limit = shared.options.max_connections;
        let more = |count: usize| Some(count.saturating_add(1)).filter(|count| *count <= limit);
        shared
            .connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| AgentError::Busy { limit })?;
        Ok(Self(shared))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that knows no deadlines.
struct Plain<S>(S);

impl<S: Read + Write + Send> Connection for Plain<S> {
    fn read(&mut self, buf: &mut [u8], _: Option<Instant>) -> io::Result<usize> {
        self.0.read(buf)
    }

    fn write(&mut self, bytes: &[u8], _: Option<Instant>) -> io::Result<usize> {
        self.0.write(bytes)
    }
}
