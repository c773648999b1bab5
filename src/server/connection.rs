//! One connection: handshake and authentication, then what the client opens and asks, all on the
//! serving thread. Sessions run on threads of their own.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::forwarding::Forwarding;
use super::rules::{ConnectionRules, Due, Idle};
use super::running::Sessions;
use super::session::{EventSender, Session, SessionEvent, SessionEvents};
use super::{Config, Peer, hostkeys, login};
use crate::auth::AuthInfo;
use crate::channel::{AGENT_NAMES, Channel, PtyRequest};
use crate::engine::{
    self, Clock, Closer, Core, ExitStatus, Incoming, Link, Login, OpenRequest, Opening, Reply, Start, Stream,
};
use crate::error::{Error, Result};
use crate::hostkeys::PROVE;
use crate::interface::{
    Answer, ServerInterface, SessionKind, SessionRequest, X11Answer, X11Displays, X11Request,
};
use crate::kex::{Role, Setup};
use crate::transport::NO_MORE_SESSIONS;
use crate::wire::{Escaped, Malformed, Reader};
use crate::x11::{Cookie, PROTOCOL};

/// Events of a session that nobody takes; more are dropped.
const EVENTS: usize = 64;
/// Environment variables of a session.
const ENV: usize = 256;

/// What the rest of the server is told of a connection.
pub(super) enum Milestone {
    /// The stream is ours; what ends it while nobody is authenticated.
    Connected(Arc<dyn Closer>),
    /// Somebody is authenticated; the link ends the connection at shutdown.
    Authenticated(Link),
}

/// Serves one connection to its end.
pub(super) fn serve<I: ServerInterface>(
    config: &Arc<Config>,
    stream: Box<dyn Stream>,
    interface: &Arc<I>,
    peer: &Peer,
    sessions: &Arc<Sessions>,
    told: &mut dyn FnMut(Milestone),
) -> Result<()> {
    let (link, auth, rules) = log_in(config, stream, interface, peer, told)?;
    let served = Served(Arc::clone(link.core()));
    told(Milestone::Authenticated(link.clone()));
    hostkeys::announce(&link, config);
    let mut serving = Serving {
        interface,
        forwarding: Forwarding::new(&link, interface, &auth)?,
        link,
        auth,
        config,
        sessions: HashMap::new(),
        running: sessions,
        places: Place::default(),
        proofs: 0,
        no_more_sessions: false,
        idle: Idle::new(&rules),
        sessions_limit: rules.limits.sessions,
    };
    loop {
        let Due::Later(next) = serving.idle.look(&serving.link) else {
            log::info!(target: "feramiko::server", "{}: no channel for too long: disconnected", peer.source);
            serving.link.close();
            return Ok(());
        };
        match serving.link.next_incoming(next) {
            Err(Error::Timeout(_)) => {}
            Ok(incoming) => {
                if let Err(error) = serving.incoming(incoming) {
                    served.0.die(error.clone());
                    return Err(error);
                }
            }
            Err(Error::Closed(cause)) => return ended(cause.as_deref()),
            Err(error) => return Err(error),
        }
    }
}

/// A connection lives while somebody serves it: it ends with this, also by a panic of the application.
struct Served(Arc<Core>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.die(Error::Misuse("nobody serves the connection any more"));
    }
}

/// A client that says goodbye, or closes the socket, has ended the connection in order.
fn ended(cause: Option<&Error>) -> Result<()> {
    match cause {
        None | Some(Error::Disconnected { .. } | Error::Closed(_)) => Ok(()),
        Some(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        Some(error) => Err(error.clone()),
    }
}

fn log_in<I: ServerInterface>(
    config: &Arc<Config>,
    stream: Box<dyn Stream>,
    interface: &Arc<I>,
    peer: &Peer,
    told: &mut dyn FnMut(Milestone),
) -> Result<(Link, AuthInfo, ConnectionRules)> {
    let halves = stream.split().map_err(|error| Error::io("preparing the stream", error))?;
    told(Milestone::Connected(Arc::clone(&halves.closer)));
    let mut unfinished = Unfinished(Some(Arc::clone(&halves.closer)));
    let setup = Setup {
        role: Role::Server,
        algorithms: config.algorithms.clone(),
        our_ident: config.version.as_str().into(),
        peer_ident: Vec::new(),
        host_keys: config.host_keys.iter().map(|key| key.public_key().clone()).collect(),
        moduli: Arc::clone(&config.moduli),
    };
    let opening = Opening {
        setup,
        host_keys: config.host_keys.clone(),
        clock: Clock::start(config.rules.limits.login_grace)?,
        bytes_limit: config.rules.limits.bytes_before_auth,
    };
    let mut login = Login::handshake(halves, opening, &mut |_| Ok(()))?;
    let (auth, rules) = match login::authenticate(&mut login, config, interface, peer) {
        Ok(authenticated) => authenticated,
        Err(error) => {
            login.abort(&error);
            return Err(error);
        }
    };
    interface.authenticated(&auth);
    let peer_ident = Escaped(&login.setup.peer_ident).to_string();
    let (finished, parts) = login.finish();
    let start = Start {
        role: Role::Server,
        setup: parts.setup,
        kex: parts.kex,
        host_keys: parts.host_keys,
        limits: rules.limits.clone(),
        peer: parts.peer,
        peer_ident,
        keepalive: rules.keepalive,
        traffic: rules.traffic,
        round_trip: parts.round_trip,
        extensions: parts.extensions,
        closer: parts.closer,
        serving: true,
        shared: false,
        taker: None,
    };
    let link = engine::start(finished, start)?;
    unfinished.0 = None;
    Ok((link, auth, rules))
}

/// A login that is given up, also by a panic of the application, closes its stream.
struct Unfinished(Option<Arc<dyn Closer>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(closer) = &self.0 {
            closer.close();
        }
    }
}

/// A session before it runs, and what reaches it while it does.
struct SessionState {
    /// Taken when it starts.
    channel: Option<Channel>,
    /// Held by the channel, so that the events end with it.
    events: Weak<EventSender>,
    receiver: Option<SessionEvents>,
    env: Vec<(String, String)>,
    agent: Option<&'static str>,
    x11: Option<X11Request>,
    pty: Option<PtyRequest>,
    /// Looks whether the channel still lives, without keeping it open.
    closed: Box<dyn Fn() -> bool + Send>,
    /// Taken when it starts.
    place: Option<Place>,
}

/// Each session holds one, until what it runs has ended: a client that closes the channels of programs
/// which run on gets no more of them.
type Place = Arc<()>;

struct Serving<'a, I: ServerInterface> {
    interface: &'a Arc<I>,
    link: Link,
    auth: AuthInfo,
    config: &'a Config,
    sessions: HashMap<u32, SessionState>,
    /// Those that run, of this connection and perhaps of others.
    running: &'a Arc<Sessions>,
    /// The one that all places of sessions are clones of.
    places: Place,
    /// How often the client has asked for proofs of the host keys.
    proofs: u32,
    forwarding: Forwarding,
    /// The client has said that it will open no more.
    no_more_sessions: bool,
    /// Which channels have been idle for too long.
    idle: Idle,
    /// Sessions at once.
    sessions_limit: usize,
}

impl<I: ServerInterface> Serving<'_, I> {
    fn incoming(&mut self, incoming: Incoming) -> Result<()> {
        match incoming {
            Incoming::Open(request) => self.open(request),
            Incoming::Global { kind, rest, reply } => {
                let Some(reply) = self.forwarding.request(&kind, &rest, reply) else { return Ok(()) };
                let answer = match kind.as_str() {
                    PROVE => hostkeys::prove(&self.link, self.config, &mut self.proofs, &rest),
                    NO_MORE_SESSIONS => {
                        self.no_more_sessions = true;
                        Some(Vec::new())
                    }
                    _ => self.interface.check_global_request(&kind, &rest),
                };
                match answer {
                    Some(answer) => reply.accept(&answer),
                    None => reply.refuse(),
                }
            }
            Incoming::Channel { slot, kind, rest, reply } => {
                let granted = match self.sessions.get_mut(&slot.id()) {
                    Some(session) => request(&**self.interface, &self.auth, session, &kind, &rest),
                    None => Ok(None),
                };
                match granted {
                    Ok(Some(Granted::Done)) => reply.accept(b""),
                    Ok(Some(Granted::Start(request))) => self.start(slot.id(), request, reply)?,
                    Ok(None) => reply.refuse(),
                    // A request that cannot be read is refused; the connection lives.
                    Err(error) => {
                        log::debug!(target: "feramiko::server", "{:?}: request {kind} {error}", self.link);
                        reply.refuse();
                    }
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, request: OpenRequest) {
        self.sessions.retain(|_, session| !(session.closed)());
        let Some(request) = self.link.hand_on(request) else { return };
        if request.kind != "session" {
            return request.refuse(engine::UNKNOWN_CHANNEL_TYPE, "this server does not open such channels");
        }
        if self.no_more_sessions {
            return request.refuse(engine::ADMINISTRATIVELY_PROHIBITED, "there were to be no more sessions");
        }
        if Arc::strong_count(&self.places) > self.sessions_limit {
            return request.refuse(engine::RESOURCE_SHORTAGE, "too many sessions");
        }
        if let Some(link) = request.accept(&self.link) {
            let channel = Channel::new(link);
            let (events, receiver) = EventSender::new(EVENTS);
            let closed = channel.watch_closed();
            let events = Arc::new(events);
            let weak = Arc::downgrade(&events);
            channel.link().hold(events);
            let state = SessionState {
                events: weak,
                receiver: Some(receiver),
                env: Vec::new(),
                agent: None,
                x11: None,
                pty: None,
                closed: Box::new(closed),
                channel: Some(channel.clone()),
                place: Some(Arc::clone(&self.places)),
            };
            self.sessions.insert(channel.id(), state);
        }
    }

    /// Runs a session on a thread of its own.
    fn start(&mut self, id: u32, request: Box<SessionRequest>, reply: Reply) -> Result<()> {
        let Some(session) = self.sessions.get_mut(&id) else { return Ok(()) };
        let (Some(channel), Some(receiver)) = (session.channel.take(), session.receiver.take()) else {
            return Ok(());
        };
        session.env = Vec::new();
        let runs = match (&request.original, &request.kind) {
            (Some(SessionKind::Subsystem(name)), _) | (_, SessionKind::Subsystem(name)) => {
                format!("session:subsystem:{name}")
            }
            (_, SessionKind::Exec(_)) => "session:command".to_owned(),
            (_, SessionKind::Shell) => "session:shell".to_owned(),
        };
        self.idle.runs(id, runs);
        let place = session.place.take();
        channel.link().owe_exit();
        let (interface, running) = (Arc::clone(self.interface), self.running.begin());
        reply.accept(b"");
        engine::spawn("feramiko session", move || {
            run_session(&*interface, channel, *request, receiver, place);
            drop(running);
        })
        .map(drop)
    }
}

fn run_session<I: ServerInterface>(
    interface: &I,
    channel: Channel,
    request: SessionRequest,
    events: SessionEvents,
    place: Option<Place>,
) {
    let session = Session::new(channel.clone(), request, events);
    let run = std::panic::AssertUnwindSafe(|| interface.session(session));
    let status = match std::panic::catch_unwind(run) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            log::debug!(target: "feramiko::server", "a session ended early: {error}");
            ExitStatus::Missing
        }
        Err(_) => {
            log::error!(target: "feramiko::server", "the application's session panicked");
            ExitStatus::Missing
        }
    };
    // Before the client can know of it and ask for the next.
    drop(place);
    channel.send_exit_status(&status);
    channel.close();
}

/// What a request led to.
enum Granted {
    Done,
    Start(Box<SessionRequest>),
}

type Judged = std::result::Result<Option<Granted>, Malformed>;

/// Judges a request on a session; none is a refusal.
fn request<I: ServerInterface>(
    interface: &I,
    auth: &AuthInfo,
    session: &mut SessionState,
    kind: &str,
    rest: &[u8],
) -> Judged {
    let mut reader = Reader::new(rest);
    match kind {
        "window-change" => {
            let (size, pixels) = ((reader.get()?, reader.get()?), (reader.get()?, reader.get()?));
            event(session, SessionEvent::Resize { size, pixels })
        }
        "signal" => {
            let name = reader.get::<Escaped<'_>>()?.to_string();
            event(session, SessionEvent::Signal(name))
        }
        "break" => {
            let length = Duration::from_millis(u64::from(reader.get::<u32>()?));
            event(session, SessionEvent::Break(length))
        }
        // A session runs one thing; whatever prepares it comes before.
        _ if session.channel.is_none() => Ok(None),
        "pty-req" if !auth.permissions.pty => Ok(None),
        "pty-req" => pty(interface, session, &mut reader),
        name if let Some((_, channel)) = AGENT_NAMES.iter().find(|(request, _)| *request == name) => {
            reader.finish()?;
            let may = auth.permissions.agent_forwarding;
            let may = may && interface.check_channel_forward_agent_request(auth) == Answer::Yes;
            session.agent = may.then_some(*channel);
            Ok(may.then_some(Granted::Done))
        }
        // Elsewhere there is nothing that would listen.
        "x11-req" if !auth.permissions.x11_forwarding || cfg!(not(unix)) => Ok(None),
        "x11-req" => x11(interface, auth, session, &mut reader),
        "env" => env(interface, session, &mut reader),
        "shell" | "exec" | "subsystem" => {
            let kind = match kind {
                "shell" => SessionKind::Shell,
                "exec" => SessionKind::Exec(reader.string()?.to_vec()),
                _ => SessionKind::Subsystem(reader.get::<Escaped<'_>>()?.to_string()),
            };
            reader.finish()?;
            Ok(may_start(interface, auth, session, kind))
        }
        _ => Ok(None),
    }
}

fn event(session: &SessionState, event: SessionEvent) -> Judged {
    // Before it runs there is nothing to resize or to signal.
    let runs = session.channel.is_none();
    let taken = runs && session.events.upgrade().is_some_and(|events| events.send(event));
    Ok(taken.then_some(Granted::Done))
}

fn pty<I: ServerInterface>(interface: &I, session: &mut SessionState, reader: &mut Reader<'_>) -> Judged {
    let term = reader.get::<Escaped<'_>>()?.to_string();
    let (size, pixels) = ((reader.get()?, reader.get()?), (reader.get()?, reader.get()?));
    let pty = PtyRequest { term, size, pixels, modes: reader.string()?.to_vec() };
    let granted = session.pty.is_none() && interface.check_channel_pty_request(&pty) == Answer::Yes;
    if granted {
        session.pty = Some(pty);
        if let Some(channel) = &session.channel {
            channel.has_terminal();
        }
    }
    Ok(granted.then_some(Granted::Done))
}

fn x11<I: ServerInterface>(
    interface: &I,
    auth: &AuthInfo,
    session: &mut SessionState,
    reader: &mut Reader<'_>,
) -> Judged {
    let single_connection = reader.get()?;
    let (protocol, cookie) = (reader.string()?, Cookie::from_hex(reader.string()?));
    let screen = reader.get()?;
    reader.clone().finish()?;
    let Some(cookie) = cookie.filter(|_| protocol == PROTOCOL.as_bytes() && session.x11.is_none()) else {
        return Ok(None);
    };
    let mut request = X11Request { single_connection, screen, cookie, displays: X11Displays::default() };
    match interface.check_channel_x11_request(auth, &request) {
        X11Answer::Refuse => Ok(None),
        X11Answer::Accept(displays) => {
            request.displays = displays;
            session.x11 = Some(request);
            Ok(Some(Granted::Done))
        }
    }
}

fn env<I: ServerInterface>(interface: &I, session: &mut SessionState, reader: &mut Reader<'_>) -> Judged {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok().filter(|text| !text.contains('\0'));
    let (name, value) = (text(reader.string()?), text(reader.string()?));
    let (Some(name), Some(value)) = (name, value) else { return Ok(None) };
    let granted =
        session.env.len() < ENV && interface.check_channel_env_request(&name, &value) == Answer::Yes;
    if granted {
        session.env.push((name, value));
    }
    Ok(granted.then_some(Granted::Done))
}

fn may_start<I: ServerInterface>(
    interface: &I,
    auth: &AuthInfo,
    session: &SessionState,
    asked: SessionKind,
) -> Option<Granted> {
    let (kind, original) = match interface.forced_command(auth) {
        Some(forced) => (SessionKind::Exec(forced), Some(asked)),
        None => (asked, None),
    };
    let mut env = session.env.clone();
    env.extend(auth.permissions.environment.iter().cloned());
    let request = SessionRequest {
        kind,
        original,
        agent: session.agent,
        x11: session.x11.clone(),
        pty: session.pty.clone(),
        env,
        auth: auth.clone(),
    };
    let answer = match &request.kind {
        SessionKind::Shell => interface.check_channel_shell_request(&request),
        SessionKind::Exec(command) => interface.check_channel_exec_request(&request, command),
        SessionKind::Subsystem(name) => interface.check_channel_subsystem_request(&request, name),
    };
    (answer == Answer::Yes).then_some(Granted::Start(Box::new(request)))
}
