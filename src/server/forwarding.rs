//! Forwarding for a client: connections that the server makes, and places where it listens. RFC 4254 §7 and
//! OpenSSH's PROTOCOL, section 2.4.
//!
//! Nothing of it runs on the serving thread: the reader starts a thread for each connection that is to be
//! made, and one thread, started with the first request, listens and cancels in the order of the requests.
//! What the client's key or certificate forbids is refused before the application is asked.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use crate::auth::AuthInfo;
use crate::channel::Channel;
use crate::engine::{
    ADMINISTRATIVELY_PROHIBITED, CONNECT_FAILED, ChannelLink, Fit, Link, OpenRequest, Reply, Taking, spawn,
};
use crate::error::Result;
use crate::forward::dial::dial_as;
use crate::forward::listen::{ForwardListener, Listening};
use crate::forward::local::{carry_each, carry_over};
use crate::forward::relay::join;
use crate::forward::rules::{may_bind, may_listen};
use crate::interface::{
    DirectAnswer, DirectRequest, ForwardedPlace, ListenAnswer, ListenOptions, ListenRequest, ServerInterface,
};
use crate::msg::forwarding::{self as message, Carried};
use crate::pattern::endpoint::{Endpoint, may_open};
use crate::sys::user::Account;

/// What a connection's serving thread has of its forwardings; they end with it.
pub(super) struct Forwarding {
    _direct: [Taking; 2],
    /// To the thread that listens, once there is one.
    jobs: Option<Sender<Job>>,
    /// How many may wait for that thread.
    waiting: usize,
    start: Box<dyn Fn(Receiver<Job>) -> Result<()>>,
}

/// A request to listen, or to do so no longer.
struct Job {
    cancel: bool,
    at: Endpoint,
    reply: Reply,
}

impl Forwarding {
    pub(super) fn new<I: ServerInterface>(link: &Link, interface: &Arc<I>, auth: &AuthInfo) -> Result<Self> {
        let limits = &link.core().limits;
        let direct = |kind, read: fn(&[u8]) -> Option<Carried>| {
            let (interface, auth) = (Arc::clone(interface), auth.clone());
            link.take_fitting(
                kind,
                limits.forwarded,
                |_| Fit::Yes,
                move |request, link| {
                    let Some(carried) = read(&request.rest) else {
                        request.refuse(CONNECT_FAILED, "that is no place to connect to");
                        return None;
                    };
                    serve_direct(&*interface, &auth, carried, request, link)
                },
            )
        };
        let tcpip = direct(message::DIRECT_TCPIP, Carried::read_tcpip)?;
        let streamlocal = direct(message::DIRECT_STREAMLOCAL, Carried::read_direct_streamlocal)?;
        let (interface, auth, link) = (Arc::clone(interface), auth.clone(), link.beside());
        let waiting = link.core().limits.pending_requests;
        let start = Box::new(move |jobs| {
            let listeners = Listeners {
                interface: Arc::clone(&interface),
                auth: auth.clone(),
                link: link.clone(),
                open: HashMap::new(),
            };
            spawn("feramiko listeners", move || listeners.run(jobs)).map(drop)
        });
        Ok(Self { _direct: [tcpip, streamlocal], jobs: None, waiting, start })
    }

    /// Takes a request of the connection; gives the reply back when it is none of these.
    pub(super) fn request(&mut self, kind: &str, rest: &[u8], reply: Reply) -> Option<Reply> {
        let (cancel, at) = match kind {
            message::TCPIP_FORWARD => (false, message::read_listen_tcpip(rest)),
            message::CANCEL_TCPIP => (true, message::read_listen_tcpip(rest)),
            message::STREAMLOCAL_FORWARD => (false, message::read_listen_streamlocal(rest)),
            message::CANCEL_STREAMLOCAL => (true, message::read_listen_streamlocal(rest)),
            _ => return Some(reply),
        };
        // What is dropped is refused.
        let at = at?;
        if self.jobs.is_none() {
            let (sender, jobs) = crossbeam_channel::bounded(self.waiting);
            match (self.start)(jobs) {
                Ok(()) => self.jobs = Some(sender),
                Err(error) => log::warn!(target: "feramiko::server", "nobody listens: {error}"),
            }
        }
        // Nor is one taken when too many wait.
        let _ = self.jobs.as_ref().map(|jobs| jobs.try_send(Job { cancel, at, reply }));
        None
    }
}

/// Connects for a client, or hands the channel to the application; the channel, when it is over.
fn serve_direct<I: ServerInterface>(
    interface: &I,
    auth: &AuthInfo,
    carried: Carried,
    request: OpenRequest,
    link: &Link,
) -> Option<ChannelLink> {
    let permissions = &auth.permissions;
    let permitted = permissions.port_forwarding && may_open(permissions.permit_open.as_deref(), &carried.to);
    let unix = matches!(carried.to, Endpoint::Unix(_));
    let asked = DirectRequest::new(carried.to, carried.originator, auth.clone());
    let answer = match permitted {
        false => DirectAnswer::Refuse,
        true if unix => interface.check_channel_direct_streamlocal_request(&asked),
        true => interface.check_channel_direct_tcpip_request(&asked),
    };
    match answer {
        DirectAnswer::Refuse => {
            log::info!(target: "feramiko::server", "{} may not connect to {}", auth.user, asked.to);
            request.refuse(ADMINISTRATIVELY_PROHIBITED, "not permitted");
            None
        }
        DirectAnswer::Connect(to) => {
            match dial_as(user(interface, auth).as_ref(), &to, link).and_then(|stream| stream.split()) {
                Ok(stream) => {
                    let channel = Channel::new(request.accept(link)?);
                    if let Err(error) = join(&channel, stream) {
                        log::debug!(target: "feramiko::server", "a connection to {to} ends: {error}");
                    }
                    Some(channel.link().clone())
                }
                Err(error) => {
                    log::debug!(target: "feramiko::server", "connecting to {to}: {error}");
                    request.refuse(CONNECT_FAILED, &error.kind().to_string());
                    None
                }
            }
        }
        DirectAnswer::Take(run) => {
            let channel = Channel::new(request.accept(link)?);
            run(channel.clone());
            Some(channel.link().clone())
        }
    }
}

/// Whose rights are needed for UNIX sockets, if not ours.
#[cfg_attr(not(unix), allow(unused_variables, reason = "there are no others"))]
fn user<I: ServerInterface>(interface: &I, auth: &AuthInfo) -> Option<Account> {
    #[cfg(unix)]
    return interface.forwarding_account(auth);
    #[cfg(not(unix))]
    None
}

/// Where a server listens for one client.
struct Listeners<I> {
    interface: Arc<I>,
    auth: AuthInfo,
    link: Link,
    open: HashMap<Endpoint, Open>,
}

/// What ends when it is dropped.
enum Open {
    Listening(#[allow(dead_code, reason = "its end is what counts")] Listening),
    Taken(#[allow(dead_code, reason = "its end is what counts")] Sender<()>),
}

impl<I: ServerInterface> Listeners<I> {
    /// Does what is asked, until nobody serves the connection any more.
    fn run(mut self, jobs: Receiver<Job>) {
        for Job { cancel, at, reply } in jobs {
            if cancel {
                self.cancel(at, reply);
            } else {
                self.listen(at, reply);
            }
        }
    }

    fn cancel(&mut self, at: Endpoint, reply: Reply) {
        let Some(open) = self.open.remove(&at) else { return reply.refuse() };
        drop(open);
        self.interface.cancel_port_forward_request(&ListenRequest::new(at, self.auth.clone()));
        reply.accept(b"");
    }

    fn listen(&mut self, at: Endpoint, reply: Reply) {
        match self.ask(&at) {
            ListenAnswer::Listen(options) if may_bind(&at, &options) => self.bind(&at, &options, reply),
            ListenAnswer::Take(port, run) => self.hand_over(at, port, run, reply),
            ListenAnswer::Listen(_) | ListenAnswer::Refuse => {
                log::info!(target: "feramiko::server", "{} may not have us listen on {at}", self.auth.user);
                reply.refuse();
            }
        }
    }

    fn bind(&mut self, at: &Endpoint, options: &ListenOptions, reply: Reply) {
        let user = user(&*self.interface, &self.auth);
        let listener = match ForwardListener::bind_by_rule(at, options, user.as_ref()) {
            Ok(listener) => listener,
            Err(error) => {
                log::info!(target: "feramiko::server", "{}: {error}", self.auth.user);
                return reply.refuse();
            }
        };
        let bound = listener.endpoint().clone();
        // Before anybody is accepted: the client has to know the port first.
        reply.accept(&answer(at, &bound));
        match self.start(bound.clone(), listener) {
            Ok(listening) => drop(self.open.insert(bound, Open::Listening(listening))),
            Err(error) => log::warn!(target: "feramiko::server", "listening on {bound}: {error}"),
        }
    }

    /// The application makes the connections.
    fn hand_over(
        &mut self,
        at: Endpoint,
        port: u16,
        run: impl FnOnce(ForwardedPlace) + Send + 'static,
        reply: Reply,
    ) {
        let known = match &at {
            Endpoint::Tcp { host, port: 0 } => Endpoint::tcp(host.as_str(), port),
            _ => at.clone(),
        };
        if matches!(known, Endpoint::Tcp { port: 0, .. }) || self.open.contains_key(&known) {
            return reply.refuse();
        }
        let (place, end) = ForwardedPlace::new(self.link.clone(), known.clone());
        reply.accept(&answer(&at, &known));
        match spawn("feramiko place", move || run(place)) {
            Ok(_) => drop(self.open.insert(known, Open::Taken(end))),
            Err(error) => log::warn!(target: "feramiko::server", "nobody serves {known}: {error}"),
        }
    }

    /// What the application says, if the client's key or certificate lets it be asked.
    fn ask(&self, at: &Endpoint) -> ListenAnswer {
        let permissions = &self.auth.permissions;
        let permitted = permissions.port_forwarding
            && may_listen(permissions.permit_listen.as_deref(), at)
            && self.open.len() < self.link.core().limits.listeners
            && !self.open.contains_key(at);
        let asked = ListenRequest::new(at.clone(), self.auth.clone());
        match at {
            _ if !permitted => ListenAnswer::Refuse,
            Endpoint::Tcp { .. } => self.interface.check_port_forward_request(&asked),
            Endpoint::Unix(_) => self.interface.check_streamlocal_forward_request(&asked),
        }
    }

    /// Accepts connections, and carries them to the client.
    fn start(&self, at: Endpoint, listener: ForwardListener) -> Result<Listening> {
        carry_each(&self.link, listener, move |link, accepted| {
            let carried = Carried { to: at.clone(), originator: accepted.originator.clone() };
            let (kind, rest) = carried.forwarded();
            carry_over(link, kind, &rest, accepted)
        })
    }
}

/// The answer to who has asked for `at` and got `bound`: the port, where the choice was ours.
fn answer(at: &Endpoint, bound: &Endpoint) -> Vec<u8> {
    match (at, bound) {
        (Endpoint::Tcp { port: 0, .. }, Endpoint::Tcp { port, .. }) => message::tell_port(*port),
        _ => Vec::new(),
    }
}
