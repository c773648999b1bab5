//! Jump hosts: connections through connections, each with settings, host check and keys of its own, as
//! `ProxyJump` of ssh_config(5). Runs on the thread that connects; from then on on the threads of the
//! connection that is carried.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::Trip;
use crate::channel::Channel;
use crate::client::dial::Destination;
use crate::client::{SSHClient, SSHClientBuilder};
use crate::engine::{ChannelLink, Closer, Halves, ReadHalf, Stream, WriteHalf};
use crate::error::{Error, Phase, Result};
use crate::wire::{Writer, string_of};

/// Connections that one may be carried by, those counted that a jump host's own settings add: a path that
/// leads in a circle ends here. Nobody honest has so many.
const JUMPS: usize = 16;
/// Who is said to have connected to us; OpenSSH's client says the same.
const ORIGINATOR: (&str, u32) = ("127.0.0.1", 65535);

/// A host on the way to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JumpHost {
    /// The user, if the path names one.
    pub user: Option<String>,
    /// The host as the path names it.
    pub host: String,
    /// The port, if the path names one.
    pub port: Option<u16>,
    /// How many hosts of the path come before it.
    pub position: usize,
}

type Settings = Box<dyn FnMut(&JumpHost) -> SSHClientBuilder + Send>;

/// A path of jump hosts and what each is connected with.
#[derive(Default)]
pub(in crate::client) struct Jumps {
    pub(in crate::client) hosts: String,
    pub(in crate::client) settings: Option<Settings>,
}

impl fmt::Debug for Jumps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jumps").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

fn parse(path: &str) -> Result<Vec<Destination>> {
    let named = path.split(',').filter(|_| !path.trim().is_empty());
    let hosts: Vec<_> = named.map(|host| Destination::parse(host.trim())).collect::<Result<_>>()?;
    // Whoever has come so far cannot have more.
    if hosts.len() > JUMPS { Err(too_many()) } else { Ok(hosts) }
}

fn too_many() -> Error {
    Error::Limit { which: "jump hosts", limit: JUMPS as u64 }
}

impl Jumps {
    /// Connects to each host through the one before it, and from the last to where the trip goes.
    pub(super) fn open(mut self, trip: &Trip<'_>) -> Result<Box<dyn Stream>> {
        let hosts = parse(&self.hosts)?;
        let depth = trip.depth.saturating_add(hosts.len());
        if depth > JUMPS {
            return Err(too_many());
        }
        let mut through: Option<Way> = None;
        for (position, destination) in hosts.into_iter().enumerate() {
            let Destination { user, host, port } = destination.clone();
            let jump = JumpHost { user, host, port, position };
            let builder = self.settings.as_mut().map_or_else(SSHClient::builder, |settings| settings(&jump));
            let (builder, target) = builder.configured_for(destination)?;
            let name = target.to_string();
            let trip = Trip { target: &target, depth, ..*trip };
            let carrier = through.take().map(|way| way.open(&trip)).transpose()?;
            let client = builder.connect_jump(&trip, carrier).map_err(|error| named(&name, error))?;
            through = Some(Way { client, name });
        }
        match through {
            Some(way) => way.open(trip),
            None => Err(Error::Misuse("a path of jump hosts names one at least")),
        }
    }
}

/// What happened at a jump host; that the user has cancelled the connect happened here.
fn named(host: &str, error: Error) -> Error {
    match error {
        Error::Cancelled => Error::Cancelled,
        error => Error::Jump { host: host.to_owned(), source: Arc::new(error) },
    }
}

/// A connection that carries others.
pub(super) struct Way {
    client: SSHClient,
    name: String,
}

impl Way {
    /// One that its user holds too.
    pub(super) fn of(client: SSHClient) -> Result<Self> {
        let name = client.transport().link()?.core().peer.clone();
        Ok(Self { client, name })
    }

    /// Asks the host for a connection to where the trip goes.
    pub(super) fn open(self, trip: &Trip<'_>) -> Result<Box<dyn Stream>> {
        self.tunnel(trip)
            .map_err(|error| if trip.cancel.is_cancelled() { Error::Cancelled } else { error })
            .map_err(|error| named(&self.name, error))
    }

    /// RFC 4254 §7.2.
    fn tunnel(&self, trip: &Trip<'_>) -> Result<Box<dyn Stream>> {
        let mut rest = string_of(trip.target.host.as_bytes());
        rest.put(&u32::from(trip.target.port)).put(ORIGINATOR.0).put(&ORIGINATOR.1);
        let channel = self.client.transport().link()?.begin_open("direct-tcpip", &rest)?;
        let _watch = trip.cancel.watch(Arc::new(Unanswered(channel.clone())));
        channel.wait_open(Some(trip.clock.ends())).map_err(|error| match error {
            Error::Timeout(Phase::Open) => Error::Timeout(Phase::Connect),
            error => error,
        })?;
        let carried = Box::new(Channel::new(channel));
        let halves = carried.split().map_err(|error| Error::io("preparing the channel", error))?;
        Ok(Box::new(Carried { halves, name: self.name.as_str().into() }))
    }
}

/// A channel that nobody has answered for yet.
struct Unanswered(ChannelLink);

impl Closer for Unanswered {
    fn close(&self) {
        self.0.close();
    }
}

/// A channel whose end is told with the name of the host that it came through. It holds the connection that
/// it belongs to: when the last handle of the carried connection is dropped, all of them end.
struct Carried {
    halves: Halves,
    name: Arc<str>,
}

impl Stream for Carried {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let Halves { read, write, closer, peer } = self.halves;
        Ok(Halves {
            read: Box::new(Half { inner: read, name: Arc::clone(&self.name) }),
            write: Box::new(Half { inner: write, name: Arc::clone(&self.name) }),
            closer,
            peer: format!("{peer} through {}", self.name),
        })
    }
}

struct Half<T> {
    inner: T,
    name: Arc<str>,
}

impl<T> Half<T> {
    fn explain(&self, error: io::Error) -> io::Error {
        // Nothing has happened yet.
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) {
            return error;
        }
        match error.downcast::<Error>() {
            Ok(error) => named(&self.name, error).into(),
            Err(error) => error,
        }
    }
}

impl ReadHalf for Half<Box<dyn ReadHalf>> {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        self.inner.read(buf, deadline).map_err(|error| self.explain(error))
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read_now(buf).map_err(|error| self.explain(error))
    }
}

impl WriteHalf for Half<Box<dyn WriteHalf>> {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner.write_now(buf).map_err(|error| self.explain(error))
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.inner.wait(deadline).map_err(|error| self.explain(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let hosts = parse("user@a:22, [::1]:2222,ssh://b").unwrap();
        let hosts: Vec<_> = hosts.iter().map(|it| (it.user.as_deref(), it.host.as_str(), it.port)).collect();
        assert_eq!(hosts, [(Some("user"), "a", Some(22)), (None, "::1", Some(2222)), (None, "b", None)]);
        assert!(parse(" ").unwrap().is_empty());
        for bad in ["a,", ",a", "a,,b", "-oX", "a:x"] {
            assert!(matches!(parse(bad), Err(Error::Misuse(_))), "{bad}");
        }
        assert_eq!(parse(&vec!["a"; JUMPS].join(",")).unwrap().len(), JUMPS);
        let long = parse(&vec!["a"; JUMPS + 1].join(","));
        assert!(matches!(long, Err(Error::Limit { which: "jump hosts", limit: 16 })), "{long:?}");
    }
}
