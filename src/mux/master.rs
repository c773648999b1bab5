//! The master of a shared connection: takes clients, counts them, and ends. PROTOCOL.mux, mux.c.

use std::fmt;
use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::answer;
use super::forward::{ForwardRequest, Forwards};
use super::place::Place;
use super::session::Terminal;
use crate::agent::Agent;
use crate::channel::Channel;
use crate::engine::{BREATH, Held, spawn};
use crate::error::{Error, Result};
use crate::sys::socket::shut_listener;
use crate::transport::Transport;

/// Clients at once. Each takes four threads and about ten descriptors; servers allow ten sessions on a
/// connection unless told otherwise.
const CLIENTS: usize = 128;

/// Forwardings that clients may have opened: each is kept in mind until it is closed.
pub(super) const FORWARDS: usize = 1024;

/// Time for a client to finish a message that it has begun, and to take an answer. Both are there at once, or
/// it is stopped or hostile.
pub(super) const STALL: Duration = Duration::from_secs(30);

/// Asks the user.
type Ask = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// Why a master ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MasterEnd {
    /// A client asked for it (`ssh -O exit`).
    Asked,
    /// There was no client for as long as it was to persist, or any more after one had asked it to take no
    /// others (`ssh -O stop`).
    Idle,
    /// The connection ended.
    Closed,
}

/// What asks for X11 on a session's channel.
type ForwardX11 = Box<dyn Fn(&Channel) -> Result<()> + Send + Sync>;

/// How a [`ControlMaster`] is to be.
#[derive(Default)]
pub struct ControlMasterBuilder {
    pub(super) ask: Option<Ask>,
    pub(super) forwards: Option<Box<dyn Forwards>>,
    pub(super) agent: Option<Agent>,
    pub(super) x11: Option<ForwardX11>,
    pub(super) send_env: Vec<Vec<u8>>,
    pub(super) stall: Option<Duration>,
    pub(super) keystrokes: Option<Duration>,
    /// What is forwarded already, with the ports that were chosen.
    opened: Vec<(ForwardRequest, Option<u16>)>,
}

impl fmt::Debug for ControlMasterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlMasterBuilder")
            .field("ask", &self.ask.is_some())
            .field("forwards", &self.forwards.is_some())
            .field("agent", &self.agent.is_some())
            .field("x11", &self.x11.is_some())
            .finish_non_exhaustive()
    }
}

impl ControlMasterBuilder {
    /// Asks the user before a client opens anything or ends the master: `ControlMaster ask`. As with OpenSSH
    /// nobody is asked for a check, for what is told of the connection, and when a forwarding is closed. Called on
    /// the thread that serves the client, with the question.
    #[must_use]
    pub fn ask(mut self, ask: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.ask = Some(Box::new(ask));
        self
    }

    /// What forwards for clients; without it forwardings are refused.
    #[must_use]
    pub fn forwards(mut self, forwards: impl Forwards + 'static) -> Self {
        self.forwards = Some(Box::new(forwards));
        self
    }

    /// A forwarding that is open already, which clients may close; with the port that was chosen, where 0 was
    /// asked for.
    #[must_use]
    pub fn forwarded(mut self, request: ForwardRequest, port: Option<u16>) -> Self {
        self.opened.push((request, port));
        self
    }

    /// The agent that sessions may use which ask for it; see
    /// [`Channel::request_forward_agent`](crate::Channel::request_forward_agent).
    #[must_use]
    pub fn forward_agent(mut self, agent: &Agent) -> Self {
        self.agent = Some(agent.clone());
        self
    }

    /// Forwards X11 for a session that asks for it, before its command is started; without it none is forwarded. What
    /// goes wrong is logged, and the session runs without.
    ///
    /// ```no_run
    /// use feramiko::{ControlMaster, SSHClient, X11Options};
    /// let client = SSHClient::connect("build.example.org")?;
    /// let display = X11Options::from_env()?;
    /// let master = ControlMaster::builder().forward_x11(move |channel| channel.request_x11(&display));
    /// let master = master.serve(client.transport(), "/run/user/1000/ssh.sock")?;
    /// # Ok::<(), feramiko::Error>(())
    /// ```
    #[must_use]
    pub fn forward_x11(mut self, forward: impl Fn(&Channel) -> Result<()> + Send + Sync + 'static) -> Self {
        self.x11 = Some(Box::new(forward));
        self
    }

    /// A pattern of the names of variables that clients may have sent to the server, as `SendEnv` has them; may
    /// be called for each. None unless said.
    #[must_use]
    pub fn send_env(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.send_env.push(pattern.as_ref().to_vec());
        self
    }

    /// Hides when keys are hit in sessions with a terminal: what is typed leaves at multiples of `interval`; see
    /// [`Channel::keystrokes`](crate::Channel::keystrokes). With servers that do not help nothing is hidden.
    #[must_use]
    pub fn keystrokes(mut self, interval: Duration) -> Self {
        self.keystrokes = Some(interval);
        self
    }

    /// How long a client may take to finish a message that it has begun, and to take an answer; 30 seconds
    /// unless said. Between messages it may be silent.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall = Some(timeout);
        self
    }

    /// Serves a connection to the clients that connect to a new socket at `path`, which only our user may
    /// use. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`Error::Io`] when something else is at `path` (`AlreadyExists`), [`Error::Closed`],
    /// [`Error::Misuse`] for a connection on which nobody is authenticated.
    pub fn serve(self, transport: &Transport, path: impl AsRef<Path>) -> Result<ControlMaster> {
        let path = path.as_ref();
        let link = transport.link()?;
        let at = Place::listen(path)
            .map_err(|error| Error::io(format!("listening at {}", path.display()), error))?;
        let shared = Shared::new(self, transport, at)?;
        // From here on whatever fails ends what there is.
        let held = link.hold(WithConnection(Arc::downgrade(&shared)));
        let master = ControlMaster { shared: Arc::clone(&shared), _held: held };
        spawn("feramiko master", move || accept(&shared))?;
        Ok(master)
    }
}

pub(super) struct State {
    clients: usize,
    /// When the last client went, or the master began.
    idle: Instant,
    end: Option<MasterEnd>,
    /// Dropped at the end: what waits for clients or streams wakes up.
    stops: Option<UnixStream>,
    /// What was opened for clients, with the ports that were chosen.
    pub(super) forwards: Vec<(ForwardRequest, Option<u16>)>,
    terminals: Vec<Weak<Terminal>>,
    /// A client has asked it to take no others.
    stopped: bool,
}

impl State {
    fn new(stops: UnixStream, forwards: Vec<(ForwardRequest, Option<u16>)>) -> Self {
        Self {
            clients: 0,
            idle: Instant::now(),
            end: None,
            stops: Some(stops),
            forwards,
            terminals: Vec::new(),
            stopped: false,
        }
    }

    /// It ends; the first cause stays. What is to be dropped, the first time.
    fn finish(&mut self, end: MasterEnd) -> Option<UnixStream> {
        self.end.get_or_insert(end);
        self.stops.take()
    }
}

pub(super) struct Shared {
    pub(super) options: ControlMasterBuilder,
    pub(super) transport: Transport,
    /// How the server is called in questions.
    pub(super) peer: String,
    place: Place,
    listener: UnixListener,
    /// Ends with the master.
    pub(super) stop: UnixStream,
    /// Taken for a few instructions by the threads of clients and by the master's owner.
    pub(super) state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn new(
        mut options: ControlMasterBuilder,
        transport: &Transport,
        (listener, place): (UnixListener, Place),
    ) -> Result<Arc<Self>> {
        let (stop, stops) =
            UnixStream::pair().map_err(|error| Error::io("making a pair of sockets", error))?;
        let opened = std::mem::take(&mut options.opened);
        Ok(Arc::new(Self {
            options,
            transport: transport.clone(),
            peer: transport.link()?.core().peer.clone(),
            place,
            listener,
            stop,
            state: Mutex::new(State::new(stops, opened)),
            changed: Condvar::new(),
        }))
    }

    /// A master that listens nowhere.
    #[cfg(any(test, fuzzing))]
    pub(super) fn unlisted(options: ControlMasterBuilder, transport: &Transport) -> Result<Arc<Self>> {
        use std::os::fd::OwnedFd;

        let (nowhere, _) =
            UnixStream::pair().map_err(|error| Error::io("making a pair of sockets", error))?;
        Self::new(options, transport, (UnixListener::from(OwnedFd::from(nowhere)), Place::nowhere()))
    }

    /// Time for what a client owes us.
    pub(super) fn stall(&self) -> Option<Instant> {
        Instant::now().checked_add(self.options.stall.unwrap_or(STALL))
    }

    /// Takes no further clients.
    pub(super) fn stop_listening(&self) {
        self.place.remove();
        shut_listener(&self.listener);
    }

    /// The same, and it ends when those that there are have gone.
    pub(super) fn stop(&self) {
        self.stop_listening();
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Everything ends; the first cause stays.
    pub(super) fn end(&self, end: MasterEnd) {
        let stops = self.state.lock().finish(end);
        self.wake(stops);
    }

    /// Wakes whatever waits, once it is to end.
    fn wake(&self, stops: Option<UnixStream>) {
        if stops.is_some() {
            self.stop_listening();
        }
        drop(stops);
        self.changed.notify_all();
    }

    /// Tells the terminal's size to the server from now on, as long as `terminal` lives.
    pub(super) fn watch(&self, terminal: &Arc<Terminal>) {
        let mut state = self.state.lock();
        state.terminals.retain(|known| known.strong_count() > 0);
        state.terminals.push(Arc::downgrade(terminal));
    }

    fn enter(&self) -> bool {
        let mut state = self.state.lock();
        let may = state.clients < CLIENTS && state.end.is_none();
        if may {
            state.clients = state.clients.saturating_add(1);
        }
        may
    }

    fn leave(&self) {
        let mut state = self.state.lock();
        state.clients = state.clients.saturating_sub(1);
        state.idle = Instant::now();
        drop(state);
        self.changed.notify_all();
    }
}

/// Ends the master when the connection drops it.
struct WithConnection(Weak<Shared>);

impl Drop for WithConnection {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade() {
            shared.end(MasterEnd::Closed);
        }
    }
}

/// A client that is being served.
struct Client(Arc<Shared>);

impl Drop for Client {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Takes clients until the listener is shut.
fn accept(shared: &Arc<Shared>) {
    loop {
        let stream = match shared.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error)
                if [io::ErrorKind::Interrupted, io::ErrorKind::ConnectionAborted].contains(&error.kind()) =>
            {
                continue;
            }
            Err(_) if shared.place.is_removed() => return,
            // Too few descriptors, say. A client that goes may leave some.
            Err(error) => {
                log::warn!(target: "feramiko::mux", "accepting a client: {error}");
                let mut state = shared.state.lock();
                shared.changed.wait_for(&mut state, BREATH);
                continue;
            }
        };
        if !shared.enter() {
            log::warn!(target: "feramiko::mux", "a client is turned away: there are {CLIENTS}");
            continue;
        }
        let client = Client(Arc::clone(shared));
        let served = spawn("feramiko mux client", move || {
            if let Err(error) = super::check_peer(&stream).and_then(|()| answer::serve(&client.0, stream)) {
                log::debug!(target: "feramiko::mux", "a client is served no more: {error}");
            }
        });
        if let Err(error) = served {
            log::warn!(target: "feramiko::mux", "a client is not served: {error}");
        }
    }
}

/// The master of a shared connection: serves sessions and forwardings on it to other programs of the user,
/// OpenSSH's `ssh -S path` or a [`MuxClient`](super::MuxClient). When this is dropped the socket is gone and its clients are cut
/// off; the connection stays its owner's.
///
/// ```no_run
/// use feramiko::{ControlMaster, SSHClient};
/// let client = SSHClient::connect("ci@build.example.org")?;
/// let master = ControlMaster::builder().serve(client.transport(), "/run/user/1000/ssh.sock")?;
/// // ssh -S /run/user/1000/ssh.sock build.example.org uname -a
/// println!("{:?}", master.wait(None));
/// # Ok::<(), feramiko::Error>(())
/// ```
pub struct ControlMaster {
    shared: Arc<Shared>,
    _held: Held,
}

impl fmt::Debug for ControlMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlMaster")
            .field("peer", &self.shared.peer)
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

impl ControlMaster {
    /// A master that asks nobody, forwards nothing and ends with the connection.
    #[must_use]
    pub fn builder() -> ControlMasterBuilder {
        ControlMasterBuilder::default()
    }

    /// Waits until a client asks for the end, which closes the connection, until the connection has ended, or
    /// until there was no client for as long as `persist` says (`ControlPersist`; a zero waits for those that
    /// there are), or any more after one has asked it to take no others. Then the master ends.
    #[must_use]
    pub fn wait(&self, persist: Option<Duration>) -> MasterEnd {
        let mut state = self.shared.state.lock();
        loop {
            if let Some(end) = state.end {
                return end;
            }
            let persist = if state.stopped { Some(Duration::ZERO) } else { persist };
            let until = match (state.clients, persist) {
                (0, Some(time)) => state.idle.checked_add(time),
                _ => None,
            };
            match until {
                None => self.shared.changed.wait(&mut state),
                Some(until) if until <= Instant::now() => {
                    // Under the lock: no client comes in between.
                    let stops = state.finish(MasterEnd::Idle);
                    drop(state);
                    self.shared.wake(stops);
                    state = self.shared.state.lock();
                }
                Some(until) => drop(self.shared.changed.wait_until(&mut state, until)),
            }
        }
    }

    /// How many clients there are: sessions, and programs that ask something.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.shared.state.lock().clients
    }

    /// Takes no further clients and removes the socket; sessions go on.
    pub fn stop_listening(&self) {
        self.shared.stop_listening();
    }

    /// Tells the server the sizes of the terminals that sessions run on. Clients pass SIGWINCH on to the
    /// process of the master, which is to call this then.
    pub fn resized(&self) {
        let terminals: Vec<_> = self.shared.state.lock().terminals.iter().filter_map(Weak::upgrade).collect();
        terminals.iter().for_each(|terminal| terminal.resized());
    }
}

impl Drop for ControlMaster {
    fn drop(&mut self) {
        self.shared.end(MasterEnd::Closed);
    }
}
