//! Connections that the server accepts and carries here: `ssh -R`.
//!
//! Each forwarding waits for its own connections: those that name the place it was asked for, which with
//! port 0 is known from the server's answer on (the reader notes it before it looks at the next packet). Some
//! servers name the place otherwise, so what names the port of one forwarding only is its too. Nobody
//! waits for other connections, and they are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::dial::dial;
use super::local::{Forward, UnderWay, wanted};
use super::relay::join;
use super::socks::Outcome;
use crate::channel::Channel;
use crate::engine::{
    ADMINISTRATIVELY_PROHIBITED, CONNECT_FAILED, ChannelLink, Fit, Link, OpenRequest, Taking,
    default_deadline,
};
use crate::error::{Error, Result};
use crate::msg::forwarding::{self as message, Carried};
use crate::pattern::endpoint::Endpoint;
use crate::transport::Transport;

/// What the server was asked for. Dropping it cancels that, without waiting.
pub(super) struct Asked {
    link: Link,
    at: Endpoint,
    /// None once it is cancelled.
    taking: Option<Taking>,
}

impl Asked {
    /// Has the server listen no longer, and waits until it says so.
    pub(super) fn cancel(mut self) -> Result<()> {
        let (_, cancel) = message::listen_requests(&self.at);
        let until = default_deadline(self.link.core(), None);
        let cancelled = self.link.global_request(cancel, &message::listen(&self.at), until);
        self.taking = None;
        cancelled.map(drop)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.taking.take().is_some() {
            let (_, cancel) = message::listen_requests(&self.at);
            self.link.tell(cancel, &message::listen(&self.at));
        }
    }
}

/// A connection that the server has accepted. Dropping it refuses it.
///
/// ```no_run
/// use std::io::Write;
/// use feramiko::{Endpoint, SSHClient};
/// let client = SSHClient::connect("example.org")?;
/// let forward = client.forward_remote_with(Endpoint::tcp("localhost", 0), |connection| {
///     if let Ok(mut channel) = connection.accept() {
///         let _ = channel.write_all(b"hello from behind\n");
///     }
/// })?;
/// println!("the server listens on {}", forward.endpoint());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ForwardedConnection {
    carried: Carried,
    request: OpenRequest,
    link: Link,
}

impl ForwardedConnection {
    /// Where it was accepted, in the server's words.
    #[must_use]
    pub fn listen(&self) -> &Endpoint {
        &self.carried.to
    }

    /// Who has connected, in the server's words; a UNIX socket without a path where that is not told.
    #[must_use]
    pub fn originator(&self) -> &Endpoint {
        &self.carried.originator
    }

    /// Takes it: the channel that carries it.
    ///
    /// # Errors
    /// [`Error::Limit`] when there are too many channels.
    pub fn accept(self) -> Result<Channel> {
        let limit = self.link.core().limits.channels;
        let channel = self.request.accept(&self.link);
        channel.map(Channel::new).ok_or(Error::Limit { which: "channels", limit: limit as u64 })
    }

    /// Refuses it; the server is told why.
    pub fn refuse(self, reason: &str) {
        self.request.refuse(ADMINISTRATIVELY_PROHIBITED, reason);
    }

    /// Connects to `to` and carries the connection there, until both directions have ended. If nobody is
    /// there, the server is told.
    ///
    /// # Errors
    /// [`Error::Io`] when nobody is there, or a side fails.
    pub fn connect(self, to: &Endpoint) -> Result<()> {
        self.carry_to(to).map(drop)
    }

    /// As [`connect`](Self::connect); the channel, which is over.
    fn carry_to(self, to: &Endpoint) -> Result<ChannelLink> {
        let doing = || format!("forwarding a connection to {to}");
        match dial(to, &self.link).and_then(|stream| stream.split()) {
            Ok(stream) => {
                let channel = self.accept()?;
                join(&channel, stream).map_err(|error| Error::io(doing(), error))?;
                Ok(channel.link().clone())
            }
            Err(error) => {
                self.request.refuse(CONNECT_FAILED, &error.kind().to_string());
                Err(Error::io(doing(), error))
            }
        }
    }

    /// Takes it, talks SOCKS over it, and carries it where that says.
    fn carry_socks(self, permit: &dyn Fn(&Endpoint) -> bool) -> Result<ChannelLink> {
        let broken = |error| Error::io("talking to a SOCKS client on the server", error);
        let link = self.link.clone();
        let channel = self.accept()?;
        let mut halves = crate::engine::Stream::split(Box::new(channel.clone())).map_err(broken)?;
        let Some(wanted) = wanted(&mut halves).map_err(broken)? else { return Ok(channel.link().clone()) };
        let refuse = |outcome, halves: &mut crate::engine::Halves| {
            halves.write.write_all(&wanted.reply(outcome), None).map_err(broken)
        };
        if !permit(&wanted.to) {
            refuse(Outcome::Forbidden, &mut halves)?;
            return Ok(channel.link().clone());
        }
        match dial(&wanted.to, &link).and_then(|stream| stream.split()) {
            Ok(mut stream) => {
                halves.write.write_all(&wanted.reply(Outcome::Connected), None).map_err(broken)?;
                stream.write.write_all(&wanted.early, None).map_err(broken)?;
                join(&channel, stream).map_err(broken)?;
            }
            Err(error) => {
                refuse(Outcome::Unreachable, &mut halves)?;
                return Err(Error::io(format!("forwarding a connection to {}", wanted.to), error));
            }
        }
        Ok(channel.link().clone())
    }
}

/// Whether a connection that was accepted at `carried` is one of a forwarding that was asked for at `at`;
/// `port` is the one that the server listens on, 0 as long as it does not.
fn fit(at: &Endpoint, port: u16, carried: &Endpoint) -> Fit {
    match (at, carried) {
        (Endpoint::Tcp { host, .. }, Endpoint::Tcp { host: theirs, port: their_port }) => {
            match port > 0 && port == *their_port {
                false => Fit::No,
                true if host == theirs => Fit::Yes,
                true => Fit::Perhaps,
            }
        }
        (Endpoint::Unix(path), Endpoint::Unix(theirs)) if port > 0 && path == theirs => Fit::Yes,
        _ => Fit::No,
    }
}

/// Stands for the port of a UNIX socket on which the server listens.
const LISTENS: u16 = 1;

impl Transport {
    /// Has the server accept connections at `listen` and carries each on from here to `to`, as `ssh -R`.
    /// With port 0 the server chooses; see [`Forward::endpoint`]. Either end may be a UNIX socket.
    ///
    /// # Errors
    /// [`Error::RequestRefused`] when the server does not listen there, [`Error::Timeout`], [`Error::Closed`].
    pub fn forward_remote(&self, listen: Endpoint, to: Endpoint) -> Result<Forward> {
        self.forward_remote_until(listen, to, None)
    }

    pub(crate) fn forward_remote_until(
        &self,
        listen: Endpoint,
        to: Endpoint,
        timeout: Option<Duration>,
    ) -> Result<Forward> {
        self.ask_to_listen(listen, timeout, move |connection| connection.carry_to(&to).map(Some))
    }

    /// As [`forward_remote`](Self::forward_remote); each connection is handed to `take`, on a thread of its
    /// own. Every forwarding has its own `take`, and gets the connections that it was made for only.
    ///
    /// # Errors
    /// As [`forward_remote`](Self::forward_remote).
    pub fn forward_remote_with(
        &self,
        listen: Endpoint,
        take: impl Fn(ForwardedConnection) + Send + Sync + 'static,
    ) -> Result<Forward> {
        self.forward_remote_with_until(listen, take, None)
    }

    pub(crate) fn forward_remote_with_until(
        &self,
        listen: Endpoint,
        take: impl Fn(ForwardedConnection) + Send + Sync + 'static,
        timeout: Option<Duration>,
    ) -> Result<Forward> {
        self.ask_to_listen(listen, timeout, move |connection| {
            take(connection);
            Ok(None)
        })
    }

    /// Has the server accept SOCKS clients at `listen` and carries their connections on from here to where
    /// they want, as `ssh -R` with a port alone. `permit` says where they may go, as `PermitRemoteOpen` does.
    ///
    /// # Errors
    /// As [`forward_remote`](Self::forward_remote).
    pub fn forward_remote_socks(
        &self,
        listen: Endpoint,
        permit: impl Fn(&Endpoint) -> bool + Send + Sync + 'static,
    ) -> Result<Forward> {
        self.forward_remote_socks_until(listen, permit, None)
    }

    pub(crate) fn forward_remote_socks_until(
        &self,
        listen: Endpoint,
        permit: impl Fn(&Endpoint) -> bool + Send + Sync + 'static,
        timeout: Option<Duration>,
    ) -> Result<Forward> {
        self.ask_to_listen(listen, timeout, move |connection| connection.carry_socks(&permit).map(Some))
    }

    fn ask_to_listen(
        &self,
        mut at: Endpoint,
        timeout: Option<Duration>,
        run: impl Fn(ForwardedConnection) -> Result<Option<ChannelLink>> + Send + Sync + 'static,
    ) -> Result<Forward> {
        let link = self.link()?;
        let port = Arc::new(AtomicU16::new(0));
        let asked_port = match &at {
            Endpoint::Tcp { port, .. } => *port,
            Endpoint::Unix(_) => LISTENS,
        };
        let taking = take_forwarded(&link, at.clone(), Arc::clone(&port), run)?;
        let (request, cancel) = message::listen_requests(&at);
        let until = default_deadline(link.core(), timeout);
        let known = Arc::clone(&port);
        let answered = link.global_request_then(request, &message::listen(&at), until, move |rest| {
            let port = if asked_port > 0 { Some(asked_port) } else { message::chosen_port(rest) };
            known.store(port.unwrap_or(0), Ordering::SeqCst);
        });
        if let Err(Error::Timeout(_)) = &answered {
            // It may listen yet, for nobody.
            link.tell(cancel, &message::listen(&at));
        }
        answered?;
        if let Endpoint::Tcp { port: chosen, .. } = &mut at {
            *chosen = port.load(Ordering::SeqCst);
            if *chosen == 0 {
                return Err(Error::protocol("the server listens on a port and does not say which"));
            }
        }
        let asked = Asked { link: link.beside(), at: at.clone(), taking: Some(taking) };
        Ok(Forward::new(at, UnderWay::Remote(asked), link))
    }
}

/// Reads what comes with a channel.
type ReadCarried = fn(&[u8]) -> Option<Carried>;

/// Waits for the connections of a forwarding that was asked for at `at`.
fn take_forwarded(
    link: &Link,
    at: Endpoint,
    port: Arc<AtomicU16>,
    run: impl Fn(ForwardedConnection) -> Result<Option<ChannelLink>> + Send + Sync + 'static,
) -> Result<Taking> {
    let (kind, read): (_, ReadCarried) = match &at {
        Endpoint::Tcp { .. } => (message::FORWARDED_TCPIP, Carried::read_tcpip),
        Endpoint::Unix(_) => (message::FORWARDED_STREAMLOCAL, Carried::read_forwarded_streamlocal),
    };
    let fits = move |rest: &[u8]| match read(rest) {
        Some(carried) => fit(&at, port.load(Ordering::SeqCst), &carried.to),
        None => Fit::No,
    };
    link.take_fitting(kind, link.core().limits.forwarded, fits, move |request, link| {
        let carried = read(&request.rest)?;
        let ended = run(ForwardedConnection { carried, request, link: link.clone() });
        ended.unwrap_or_else(|error| {
            log::debug!(target: "feramiko::forward", "a forwarded connection ends: {error}");
            None
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_to_whom_they_were_made_for() {
        let tcp = |host: &str, port| Endpoint::tcp(host, port);
        let (a, path) = (tcp("a", 0), Endpoint::unix("/a"));
        for (at, port, carried, expected) in [
            (&a, 5, tcp("a", 5), Fit::Yes),
            (&a, 5, tcp("b", 5), Fit::Perhaps),
            (&a, 5, tcp("a", 6), Fit::No),
            (&a, 0, tcp("a", 0), Fit::No),
            (&a, 5, Endpoint::unix("a"), Fit::No),
            (&path, LISTENS, Endpoint::unix("/a"), Fit::Yes),
            (&path, LISTENS, Endpoint::unix("/b"), Fit::No),
            (&path, 0, Endpoint::unix("/a"), Fit::No),
            (&path, LISTENS, tcp("/a", 1), Fit::No),
        ] {
            assert_eq!(fit(at, port, &carried), expected, "{at} {port} {carried}");
        }
    }
}
