//! Connections that are accepted here and carried to the server: `ssh -L`, `-D` and `-W`.
//!
//! A thread accepts; each connection has one of its own from the start, so that no answer of the server or
//! the application, nor a SOCKS client that is slow, keeps another waiting.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::listen::{Accepted, ForwardListener, Listening};
use super::message::Carried;
use super::relay::{Cut, join};
use super::socks::{Outcome, Socks, Step, Wanted};
use crate::channel::Channel;
use crate::engine::{Halves, Link, default_deadline, spawn};
use crate::error::{Error, Result};
use crate::interface::ListenOptions;
use crate::pattern::endpoint::Endpoint;
use crate::transport::Transport;

/// Time for a SOCKS client to say what it wants: it is a program on this machine or beside it.
const SOCKS_PATIENCE: Duration = Duration::from_secs(60);
/// What is read at once of a SOCKS request; most fit.
const SOCKS_READ: usize = 512;

/// Says of a connection where it is to lead; none refuses it.
type Accept = dyn Fn(&Endpoint) -> Option<Endpoint> + Send + Sync;

/// A forwarding that is under way. Dropping it ends it: nobody is accepted any more. Connections that were
/// accepted go on as long as the SSH connection does; this handle keeps that alive as every other does, and
/// they do not.
#[must_use = "a forwarding ends with its handle"]
pub struct Forward {
    endpoint: Endpoint,
    pub(super) under_way: UnderWay,
    /// Keeps the connection alive.
    _link: Link,
}

/// What a forwarding consists of.
pub(super) enum UnderWay {
    Local(#[allow(dead_code, reason = "its end is what counts")] Listening),
    Remote(super::remote::Asked),
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forward({})", self.endpoint)
    }
}

impl Forward {
    pub(super) fn new(endpoint: Endpoint, under_way: UnderWay, link: Link) -> Self {
        Self { endpoint, under_way, _link: link }
    }

    /// Where it listens: as asked, with the port that was chosen where that was 0.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The port it listens on; none on a UNIX socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.endpoint {
            Endpoint::Tcp { port, .. } => Some(*port),
            Endpoint::Unix(_) => None,
        }
    }

    /// Ends it; where the server listens, waits until it says that it no longer does.
    ///
    /// # Errors
    /// What the server says, or that the connection is closed.
    pub fn close(self) -> Result<()> {
        match self.under_way {
            UnderWay::Local(_) => Ok(()),
            UnderWay::Remote(asked) => asked.cancel(),
        }
    }
}

/// One of the connections that there may be at once; it is over when this is dropped.
pub(crate) struct Places(Arc<()>, usize);

impl Places {
    pub(crate) fn new(limit: usize) -> Self {
        Self(Arc::new(()), limit)
    }

    pub(crate) fn take(&self) -> Option<Arc<()>> {
        let place = Arc::clone(&self.0);
        (Arc::strong_count(&self.0) <= self.1.saturating_add(1)).then_some(place)
    }
}

impl Transport {
    /// Has the server connect to a host and port, and gives the channel that carries that connection: what
    /// `ssh -W` does. `originator` tells the server who wants it; servers only log that.
    ///
    /// # Errors
    /// [`Error::ChannelRefused`] with the reason when the server may not or cannot connect, [`Error::Timeout`],
    /// [`Error::Closed`].
    pub fn open_direct_tcpip(&self, host: &str, port: u16, originator: (&str, u16)) -> Result<Channel> {
        let originator = Endpoint::tcp(originator.0, originator.1);
        self.open_direct(Carried { to: Endpoint::tcp(host, port), originator }, None)
    }

    /// Has the server connect to a UNIX socket of its own.
    ///
    /// # Errors
    /// As [`open_direct_tcpip`](Self::open_direct_tcpip).
    pub fn open_direct_streamlocal(&self, path: impl AsRef<[u8]>) -> Result<Channel> {
        self.open_direct(Carried { to: Endpoint::unix(path), originator: Endpoint::unix("") }, None)
    }

    pub(crate) fn open_direct(&self, carried: Carried, timeout: Option<Duration>) -> Result<Channel> {
        let (kind, rest) = carried.direct();
        self.open_channel(kind, &rest, timeout)
    }

    /// Accepts connections here and has the server carry each on to `to`, as `ssh -L`. Either end may be a
    /// UNIX socket.
    ///
    /// ```no_run
    /// use feramiko::{Endpoint, SSHClient};
    /// let client = SSHClient::connect("bastion.example.org")?;
    /// let forward = client.forward_local(
    ///     Endpoint::tcp("localhost", 0),
    ///     Endpoint::tcp("db.example.org", 5432),
    /// )?;
    /// println!("the database is at {}", forward.endpoint());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] when nobody can listen there, [`Error::Closed`].
    pub fn forward_local(&self, listen: Endpoint, to: Endpoint) -> Result<Forward> {
        self.forward_local_with(listen, move |_| Some(to.clone()))
    }

    /// As [`forward_local`](Self::forward_local); `accept` is told who has connected and says where that
    /// connection is to lead; none refuses it. It runs on a thread of that connection's.
    ///
    /// # Errors
    /// As [`forward_local`](Self::forward_local).
    pub fn forward_local_with(
        &self,
        listen: Endpoint,
        accept: impl Fn(&Endpoint) -> Option<Endpoint> + Send + Sync + 'static,
    ) -> Result<Forward> {
        self.forward_listener(ForwardListener::bind(&listen, &ListenOptions::default())?, accept)
    }

    /// As [`forward_local_with`](Self::forward_local_with), from a listener that was bound before.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn forward_listener(
        &self,
        listener: ForwardListener,
        accept: impl Fn(&Endpoint) -> Option<Endpoint> + Send + Sync + 'static,
    ) -> Result<Forward> {
        let accept: Arc<Accept> = Arc::new(accept);
        self.carry_all(listener, move |link, accepted| {
            match accept(&accepted.originator) {
                Some(to) => carry(link, accepted, to),
                // Hung up on.
                None => Ok(()),
            }
        })
    }

    /// Accepts SOCKS clients here and has the server carry their connections where they want, as `ssh -D`.
    /// SOCKS 4, 4a and 5 are understood, names are looked up by the server.
    ///
    /// # Errors
    /// As [`forward_local`](Self::forward_local).
    pub fn forward_socks(&self, listen: Endpoint) -> Result<Forward> {
        self.forward_socks_listener(ForwardListener::bind(&listen, &ListenOptions::default())?)
    }

    /// As [`forward_socks`](Self::forward_socks), from a listener that was bound before.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn forward_socks_listener(&self, listener: ForwardListener) -> Result<Forward> {
        self.carry_all(listener, carry_socks)
    }

    /// Runs `carry` for everybody who connects, on a thread each.
    fn carry_all(
        &self,
        listener: ForwardListener,
        carry: impl Fn(&Link, Accepted) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Forward> {
        let link = self.link()?;
        let endpoint = listener.endpoint().clone();
        let listening = carry_each(&link, listener, carry)?;
        Ok(Forward::new(endpoint, UnderWay::Local(listening), link))
    }
}

/// Runs `carry` for everybody who connects, on a thread each, as many at once as the limits allow.
pub(crate) fn carry_each(
    link: &Link,
    listener: ForwardListener,
    carry: impl Fn(&Link, Accepted) -> Result<()> + Send + Sync + 'static,
) -> Result<Listening> {
    let places = Places::new(link.core().limits.forwarded);
    let (beside, carry) = (link.beside(), Arc::new(carry));
    listener.start(link, move |accepted| {
        let Some(place) = places.take() else {
            log::warn!(target: "feramiko::forward", "too many forwarded connections: one is hung up on");
            return;
        };
        let (link, carry) = (beside.clone(), Arc::clone(&carry));
        let started = spawn("feramiko forward", move || {
            let _place = place;
            if let Err(error) = carry(&link, accepted) {
                log::debug!(target: "feramiko::forward", "a forwarded connection ends: {error}");
            }
        });
        if let Err(error) = started {
            log::warn!(target: "feramiko::forward", "a connection is not forwarded: {error}");
        }
    })
}

fn split(accepted: Accepted) -> Result<Halves> {
    accepted.stream.split().map_err(|error| Error::io("preparing a forwarded connection", error))
}

/// Has the server connect, and carries a connection there.
fn carry(link: &Link, accepted: Accepted, to: Endpoint) -> Result<()> {
    let (kind, rest) = Carried { to, originator: accepted.originator.clone() }.direct();
    carry_over(link, kind, &rest, accepted)
}

/// Opens a channel and carries a connection over it.
pub(crate) fn carry_over(link: &Link, kind: &str, rest: &[u8], accepted: Accepted) -> Result<()> {
    let channel = open(link, kind, rest)?;
    let halves = split(accepted)?;
    join(&channel, halves).map_err(|error| Error::io("forwarding a connection", error))
}

fn open(link: &Link, kind: &str, rest: &[u8]) -> Result<Channel> {
    link.open(kind, rest, default_deadline(link.core(), None)).map(Channel::new)
}

/// Asks a SOCKS client what it wants, and carries its connection there.
fn carry_socks(link: &Link, accepted: Accepted) -> Result<()> {
    let originator = accepted.originator.clone();
    let mut halves = split(accepted)?;
    // Nobody waits for what a client wants of a connection that is gone.
    let _held = link.hold(Cut(Arc::clone(&halves.closer)));
    let broken = |error| Error::io("talking to a SOCKS client", error);
    let Some(wanted) = wanted(&mut halves).map_err(broken)? else { return Ok(()) };
    let (kind, rest) = Carried { to: wanted.to.clone(), originator }.direct();
    let opened = open(link, kind, &rest);
    let outcome = match &opened {
        Ok(_) => Outcome::Connected,
        Err(Error::ChannelRefused { code: crate::engine::ADMINISTRATIVELY_PROHIBITED, .. }) => {
            Outcome::Forbidden
        }
        Err(_) => Outcome::Unreachable,
    };
    let until = Instant::now().checked_add(SOCKS_PATIENCE);
    halves.write.write_all(&wanted.reply(outcome), until).map_err(broken)?;
    let channel = opened?;
    io::Write::write_all(&mut &channel, &wanted.early).map_err(broken)?;
    join(&channel, halves).map_err(|error| Error::io("forwarding a connection", error))
}

/// Talks to a SOCKS client until it has said what it wants; none: that it cannot have.
pub(super) fn wanted(halves: &mut Halves) -> io::Result<Option<Wanted>> {
    let until = Instant::now().checked_add(SOCKS_PATIENCE);
    let (mut socks, mut piece) = (Socks::default(), [0; SOCKS_READ]);
    loop {
        match socks.step() {
            Step::Open(wanted) => return Ok(Some(wanted)),
            Step::Send(bytes) => halves.write.write_all(&bytes, until)?,
            Step::Refuse(bytes) => {
                halves.write.write_all(&bytes, until)?;
                return Ok(None);
            }
            Step::More => {
                let count = halves.read.read(&mut piece, until)?;
                if count == 0 {
                    return Ok(None);
                }
                socks.feed(piece.get(..count).unwrap_or_default());
            }
        }
    }
}
