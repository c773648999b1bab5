//! Accepting connections, with a bound on those that are not authenticated.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{SocketAddr, TcpListener};
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::connection::{self, Milestone};
use super::running::Sessions;
use super::{Config, SSHServer};
use crate::engine::{self, BREATH, Closer, Link, Stream};
use crate::error::Result;
use crate::interface::ServerInterface;
use crate::sys::tcp::ask_silent_peers;

/// Who connected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// What limits per source go by: the peer's address without its port.
    pub source: String,
    /// The peer's address and the one it reached, on TCP.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
}

impl Peer {
    /// A peer that is known by a name only.
    #[must_use]
    pub fn named(source: &str) -> Self {
        Self { source: source.to_owned(), addresses: None }
    }
}

/// Something that connections are accepted from.
pub trait Listen: Send + Sync + 'static {
    /// Waits for the next connection: its stream, and who it is.
    ///
    /// # Errors
    /// What the system says.
    fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)>;

    /// Makes a blocked `accept` fail, and all later ones.
    fn stop(&self);

    /// Where it listens, for logs and tests.
    fn address(&self) -> String;
}

impl Listen for TcpListener {
    fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        let (stream, peer) = Self::accept(self)?;
        // As sshd does. What has ended already says so when it is read.
        let _ = ask_silent_peers(&stream);
        let addresses = stream.local_addr().ok().map(|local| (peer, local));
        Ok((Box::new(stream), Peer { source: peer.ip().to_string(), addresses }))
    }

    fn stop(&self) {
        crate::sys::socket::shut_listener(self);
    }

    fn address(&self) -> String {
        self.local_addr().map_or_else(|_| "tcp".to_owned(), |address| address.to_string())
    }
}

/// Connections that wait to be accepted; OpenSSH's figure.
#[cfg(unix)]
const BACKLOG: u16 = 128;

/// Several addresses, which share the limits of one listener.
///
/// ```no_run
/// use feramiko::{PKey, SSHServer, ServerInterface, TcpListeners};
/// # struct Nobody;
/// # impl ServerInterface for Nobody {}
/// let listeners = TcpListeners::bind(&["127.0.0.1:2200".parse()?, "[::1]:2200".parse()?])?;
/// let server = SSHServer::builder().host_key(PKey::from_file("host_key", None)?);
/// let handle = server.serve(listeners, |_peer| Nobody)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(unix)]
#[derive(Debug)]
pub struct TcpListeners {
    listeners: Vec<TcpListener>,
    keepalive: bool,
}

#[cfg(unix)]
impl TcpListeners {
    /// Listens on all of the addresses.
    ///
    /// # Errors
    /// What the system says of one of them; `InvalidInput` when there is none.
    pub fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on"));
        }
        let bind = |address: &SocketAddr| {
            let listener = crate::sys::tcp::listen(*address, BACKLOG)
                .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let listeners = addresses.iter().map(bind).collect::<io::Result<_>>()?;
        Ok(Self { listeners, keepalive: true })
    }

    /// Whether the system asks clients that have been silent for hours whether they are still there
    /// (`SO_KEEPALIVE`); it does unless told otherwise.
    #[must_use]
    pub fn tcp_keepalive(mut self, ask: bool) -> Self {
        self.keepalive = ask;
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }
}

#[cfg(unix)]
impl Listen for TcpListeners {
    fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        let (stream, peer) = crate::sys::socket::accept_any(&self.listeners)?;
        if self.keepalive {
            let _ = ask_silent_peers(&stream);
        }
        let addresses = stream.local_addr().ok().map(|local| (peer, local));
        Ok((Box::new(stream), Peer { source: peer.ip().to_canonical().to_string(), addresses }))
    }

    fn stop(&self) {
        self.listeners.iter().for_each(crate::sys::socket::shut_listener);
    }

    fn address(&self) -> String {
        let shown = self.listeners.iter().map(Listen::address);
        shown.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(unix)]
impl Listen for UnixListener {
    fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        let (stream, _) = Self::accept(self)?;
        Ok((Box::new(stream), Peer::named("unix")))
    }

    fn stop(&self) {
        crate::sys::socket::shut_listener(self);
    }

    fn address(&self) -> String {
        "unix".to_owned()
    }
}

/// What ends a connection at shutdown.
enum End {
    /// Nobody is authenticated yet.
    Login(Arc<dyn Closer>),
    Running(Link),
}

impl End {
    /// Never waits.
    fn begin(&self) {
        match self {
            Self::Login(closer) => closer.close(),
            Self::Running(link) => link.core().close_gracefully(),
        }
    }
}

#[derive(Default)]
struct Counts {
    /// Nobody is accepted.
    stopping: bool,
    /// How many listeners there were before the one that counts.
    listeners: u64,
    /// The time of a shutdown is over: whoever comes this far now is ended too.
    ended: bool,
    /// Connections that are not authenticated, by source.
    startups: HashMap<String, usize>,
    connections: usize,
    /// To be ended at shutdown.
    ends: HashMap<u64, End>,
    next: u64,
}

impl Counts {
    fn started(&mut self, source: &str, limits: &crate::Limits) -> bool {
        let total: usize = self.startups.values().sum();
        let here = self.startups.get(source).copied().unwrap_or(0);
        let room = !self.stopping
            && total < limits.startups
            && here < limits.startups_per_source
            && !refused_early(total, limits, || RandomState::new().hash_one(total) % 100);
        if room {
            self.startups.insert(source.to_owned(), here.saturating_add(1));
            self.connections = self.connections.saturating_add(1);
        }
        room
    }

    fn startup_over(&mut self, source: &str) {
        if let Some(count) = self.startups.get_mut(source) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.startups.remove(source);
            }
        }
    }
}

/// Whether one more is refused although the limit is not reached: the more log in at once, the more
/// likely, so that somebody who opens many cannot keep everybody out (MaxStartups of sshd_config(5)).
/// `percent` draws a number below 100.
fn refused_early(total: usize, limits: &crate::Limits, percent: impl FnOnce() -> u64) -> bool {
    let (begin, full) = (limits.startups_begin, limits.startups);
    let least = u64::from(limits.startups_refused_percent.min(100));
    if total < begin || full <= begin {
        return false;
    }
    let share = (total - begin) as u64 * (100 - least) / (full - begin) as u64;
    percent() < least + share
}

#[derive(Default)]
struct Shared {
    counts: Mutex<Counts>,
    changed: Condvar,
    sessions: Arc<Sessions>,
}

/// Starts the thread that accepts from a listener, which is the one of that number.
type Accepting = Box<dyn Fn(Arc<dyn Listen>, u64) -> Result<()> + Send + Sync>;

/// A running server. Dropping it stops accepting; connections go on until they end.
pub struct ServerHandle {
    /// Taken by whoever changes it, before the counts, and for a clone.
    listener: Mutex<Arc<dyn Listen>>,
    accepting: Accepting,
    shared: Arc<Shared>,
    /// What new connections are served by. Taken by whoever replaces it and by the listener, for a clone.
    config: Arc<Mutex<Arc<Config>>>,
}

impl std::fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServerHandle({})", self.address())
    }
}

impl ServerHandle {
    pub(super) fn start<I: ServerInterface>(
        config: Arc<Config>,
        listener: Arc<dyn Listen>,
        interface: impl Fn(&Peer) -> Arc<I> + Send + Sync + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let config = Arc::new(Mutex::new(config));
        let interface = Arc::new(interface);
        let accepting = {
            let (shared, config) = (Arc::clone(&shared), Arc::clone(&config));
            move |listener: Arc<dyn Listen>, number| {
                let served = (Arc::clone(&shared), Arc::clone(&config), Arc::clone(&interface));
                engine::spawn("feramiko listener", move || accept(&*listener, number, &served)).map(drop)
            }
        };
        accepting(Arc::clone(&listener), 0)?;
        Ok(Self { listener: Mutex::new(listener), accepting: Box::new(accepting), shared, config })
    }

    /// Where it listens, or listened last.
    #[must_use]
    pub fn address(&self) -> String {
        self.listener().address()
    }

    /// Asked without the lock: it may be of the application's own.
    fn listener(&self) -> Arc<dyn Listen> {
        Arc::clone(&self.listener.lock())
    }

    /// Accepts nobody any more. Connections that there are go on.
    pub fn stop_listening(&self) {
        self.shared.counts.lock().stopping = true;
        self.listener().stop();
    }

    /// Accepts from this listener instead of the one before. Connections that there are go on, and count.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the thread cannot be started; nobody is accepted then.
    pub fn listen(&self, listener: impl Listen) -> Result<()> {
        let listener: Arc<dyn Listen> = Arc::new(listener);
        let (before, number) = {
            let mut current = self.listener.lock();
            let before = std::mem::replace(&mut *current, Arc::clone(&listener));
            let mut counts = self.shared.counts.lock();
            counts.stopping = false;
            counts.listeners = counts.listeners.saturating_add(1);
            (before, counts.listeners)
        };
        before.stop();
        (self.accepting)(listener, number)
    }

    /// Serves new connections as `server` is configured: with its keys, algorithms and limits. Those that
    /// there are stay as they are.
    pub fn replace(&self, server: &SSHServer) {
        let before = std::mem::replace(&mut *self.config.lock(), Arc::clone(&server.0));
        drop(before);
    }

    /// The number of connections, authenticated or not.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.counts.lock().connections
    }

    /// Accepts nobody any more, waits until the connections have ended, ends the rest when the time is
    /// over. The sessions have six seconds more, in which their programs are hung up and killed. Whether all
    /// connections had ended by themselves.
    pub fn shutdown(self, drain: Duration) -> bool {
        self.stop_listening();
        let drained = self.wait_idle(drain);
        let ends = {
            let mut counts = self.shared.counts.lock();
            counts.ended = true;
            std::mem::take(&mut counts.ends)
        };
        ends.values().for_each(End::begin);
        for end in ends.into_values() {
            if let End::Running(link) = end {
                link.close();
            }
        }
        self.shared.sessions.wait();
        drained
    }

    fn wait_idle(&self, patience: Duration) -> bool {
        let deadline = Instant::now().checked_add(patience);
        let mut counts = self.shared.counts.lock();
        while counts.connections > 0 {
            match deadline {
                // Beyond the end of time: as long as it takes.
                None => self.shared.changed.wait(&mut counts),
                Some(deadline) => {
                    if self.shared.changed.wait_until(&mut counts, deadline).timed_out() {
                        return counts.connections == 0;
                    }
                }
            }
        }
        true
    }
}

impl Drop for ServerHandle {
    fn drop(&mut self) {
        self.stop_listening();
    }
}

/// What connections are counted in, configured by, and asked for.
type Served<F> = (Arc<Shared>, Arc<Mutex<Arc<Config>>>, Arc<F>);

/// Accepts connections until nobody is to be accepted from this listener any more.
fn accept<I: ServerInterface>(
    listener: &dyn Listen,
    number: u64,
    (shared, config, interface): &Served<impl Fn(&Peer) -> Arc<I> + Send + Sync + 'static>,
) {
    loop {
        let accepted = listener.accept();
        {
            let counts = shared.counts.lock();
            if counts.stopping || counts.listeners != number {
                return;
            }
        }
        match accepted {
            Ok((stream, peer)) => {
                let config = Arc::clone(&config.lock());
                begin(&config, shared, interface, stream, peer);
            }
            Err(error) => {
                log::warn!(target: "feramiko::server", "accepting a connection: {error}");
                std::thread::sleep(BREATH);
            }
        }
    }
}

/// Serves an accepted connection on a thread of its own, unless there are too many already.
fn begin<I: ServerInterface>(
    config: &Arc<Config>,
    shared: &Arc<Shared>,
    interface: &Arc<impl Fn(&Peer) -> Arc<I> + Send + Sync + 'static>,
    stream: Box<dyn Stream>,
    peer: Peer,
) {
    let source = peer.source.clone();
    if !shared.counts.lock().started(&source, &config.rules.limits) {
        log::info!(target: "feramiko::server", "{source}: refused, too many connections are logging in");
        return;
    }
    let mut ticket = Ticket { shared: Arc::clone(shared), source: source.clone(), end: None, login: true };
    let (config, interface) = (Arc::clone(config), Arc::clone(interface));
    let started = engine::spawn("feramiko server", move || {
        let application = interface(&peer);
        let sessions = Arc::clone(&ticket.shared.sessions);
        let result = connection::serve(&config, stream, &application, &peer, &sessions, &mut |milestone| {
            ticket.reached(milestone);
        });
        if let Err(error) = result {
            log::info!(target: "feramiko::server", "{}: {error}", ticket.source);
        }
    });
    if let Err(error) = started {
        log::warn!(target: "feramiko::server", "{source}: {error}");
    }
}

/// One connection's place in the counts; given back when dropped, also by a panic or by a thread that
/// did not start.
struct Ticket {
    shared: Arc<Shared>,
    source: String,
    /// Where in the counts what ends it is.
    end: Option<u64>,
    /// Nobody is authenticated yet.
    login: bool,
}

impl Ticket {
    fn reached(&mut self, milestone: Milestone) {
        let mut counts = self.shared.counts.lock();
        let end = match milestone {
            Milestone::Connected(closer) => End::Login(closer),
            Milestone::Authenticated(link) => {
                counts.startup_over(&self.source);
                self.login = false;
                End::Running(link)
            }
        };
        if counts.ended {
            drop(counts);
            return end.begin();
        }
        let id = self.end.unwrap_or(counts.next);
        counts.next = counts.next.max(id.saturating_add(1));
        self.end = Some(id);
        let before = counts.ends.insert(id, end);
        drop(counts);
        drop(before);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.shared.counts.lock();
        if self.login {
            counts.startup_over(&self.source);
        }
        let end = self.end.and_then(|id| counts.ends.remove(&id));
        counts.connections = counts.connections.saturating_sub(1);
        drop(counts);
        drop(end);
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Starved, TOO_MUCH, server};
    use super::*;

    #[test]
    fn startups_are_refused_at_random_between_begin_and_full() {
        let limits = crate::Limits::default();
        let refused = |total: usize, drawn: u64| refused_early(total, &limits, || drawn);
        assert!(!refused(9, 0));
        assert!((refused(10, 29), refused(10, 30)) == (true, false));
        assert!((refused(55, 64), refused(55, 65)) == (true, false));
        assert!(refused(99, 98));
        let all = crate::Limits { startups_begin: 100, ..limits.clone() };
        assert!(!refused_early(99, &all, || 0), "no early refusal where begin is the limit");
    }

    #[test]
    fn a_source_and_a_listener_have_their_limits() {
        let limits = crate::Limits { startups_begin: 100, startups: 20, ..crate::Limits::default() };
        let mut counts = Counts::default();
        assert_eq!((0..30).filter(|_| counts.started("a", &limits)).count(), limits.startups_per_source);
        assert_eq!((0..30).filter(|_| counts.started("b", &limits)).count(), 4);
        counts.startup_over("a");
        assert!(counts.started("c", &limits));
    }

    #[test]
    fn a_connection_whose_thread_does_not_start_keeps_no_place() {
        let shared = Arc::new(Shared::default());
        let (near, _far) = crate::MemoryStream::pair(1);
        engine::STACK_HERE.set(TOO_MUCH);
        begin(
            &server().0,
            &shared,
            &Arc::new(|_: &Peer| Arc::new(Starved)),
            Box::new(near),
            Peer::named("test"),
        );
        let counts = shared.counts.lock();
        assert_eq!((counts.connections, counts.startups.len()), (0, 0));
    }
}
