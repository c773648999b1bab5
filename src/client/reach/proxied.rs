//! A connection through a proxy: what is said before the proxy falls silent and the host speaks. Runs on
//! the thread that connects; which words are said is `http.rs`'s and `socks.rs`'s affair.

use std::io;

use super::Trip;
use super::http;
use super::socks::{self, SOCKSVersion};
use crate::client::cancel::Ready;
use crate::client::dial::{self, Target};
use crate::crypto::secret::Secret;
use crate::engine::{Halves, Stream};
use crate::error::{Error, Phase, Result};

/// The ports of proxies whose address names none: what IANA has for them.
const HTTP_PORT: u16 = 8080;
const SOCKS_PORT: u16 = 1080;

/// What a proxy is told and how its answers are taken, a byte at a time: what follows the last one is the
/// host's, and must not be read here.
pub(super) trait Greeting {
    /// What is said first; once.
    fn first(&mut self) -> Secret;
    /// Takes a byte of the answer; an error says what is wrong with the proxy.
    fn take(&mut self, byte: u8) -> std::result::Result<Step, String>;
}

/// What follows a byte.
#[derive(Debug)]
pub(super) enum Step {
    More,
    Tell(Secret),
    /// The next byte is the host's.
    Done,
}

/// An HTTP proxy that opens tunnels by CONNECT (RFC 9110 §9.3.6).
///
/// ```no_run
/// use feramiko::{HTTPProxy, SSHClient};
/// let proxy = HTTPProxy::new("proxy.example.org:3128").login("me", "secret");
/// let client = SSHClient::builder().http_proxy(proxy).connect("host.example.net")?;
/// # Ok::<(), feramiko::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct HTTPProxy {
    address: String,
    login: Option<(String, Secret)>,
}

impl HTTPProxy {
    /// The proxy at `host[:port]` or `[v6]:port`; the port is 8080 unless named.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), login: None }
    }

    /// Tells the proxy who asks, by Basic authentication: whoever sees the connection to the proxy sees the
    /// password.
    #[must_use]
    pub fn login(mut self, user: &str, password: impl Into<Secret>) -> Self {
        self.login = Some((user.to_owned(), password.into()));
        self
    }

    pub(super) fn open(&self, trip: &Trip<'_>) -> Result<Box<dyn Stream>> {
        let (host, port) = (&trip.target.host, trip.target.port);
        let connect = http::Connect::new(host, port, login(&self.login)).map_err(Error::Misuse)?;
        open(&self.address, HTTP_PORT, connect, trip)
    }
}

impl From<&str> for HTTPProxy {
    fn from(address: &str) -> Self {
        Self::new(address)
    }
}

/// A SOCKS proxy: version 4, 4a or 5 (RFC 1928). But for version 4 it looks the host's name up itself.
///
/// ```no_run
/// use feramiko::{SOCKSProxy, SSHClient};
/// // As `ssh -D 1080` opens one.
/// let client = SSHClient::builder().socks_proxy("127.0.0.1:1080").connect("host.example.net")?;
/// let old = SSHClient::builder().socks_proxy(SOCKSProxy::v4a("gate.example.org").user("me"));
/// # drop(old);
/// # Ok::<(), feramiko::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SOCKSProxy {
    version: SOCKSVersion,
    address: String,
    login: Option<(String, Secret)>,
}

impl SOCKSProxy {
    /// The proxy at `host[:port]` or `[v6]:port`, spoken to in that version; the port is 1080 unless named.
    #[must_use]
    pub fn new(version: SOCKSVersion, address: &str) -> Self {
        Self { version, address: address.to_owned(), login: None }
    }

    /// One of version 4.
    #[must_use]
    pub fn v4(address: &str) -> Self {
        Self::new(SOCKSVersion::V4, address)
    }

    /// One of version 4a.
    #[must_use]
    pub fn v4a(address: &str) -> Self {
        Self::new(SOCKSVersion::V4a, address)
    }

    /// One of version 5.
    #[must_use]
    pub fn v5(address: &str) -> Self {
        Self::new(SOCKSVersion::V5, address)
    }

    /// Tells a proxy of version 4 or 4a the user's name.
    #[must_use]
    pub fn user(self, user: &str) -> Self {
        self.login(user, "")
    }

    /// Tells a proxy of version 5 who asks (RFC 1929): whoever sees the connection to the proxy sees the
    /// password. One of version 4 or 4a is told the name alone.
    #[must_use]
    pub fn login(mut self, user: &str, password: impl Into<Secret>) -> Self {
        self.login = Some((user.to_owned(), password.into()));
        self
    }

    pub(super) fn open(&self, trip: &Trip<'_>) -> Result<Box<dyn Stream>> {
        let (host, port) = (&trip.target.host, trip.target.port);
        let connect = socks::Connect::new(self.version, host, port, login(&self.login));
        open(&self.address, SOCKS_PORT, connect.map_err(Error::Misuse)?, trip)
    }
}

/// A proxy of version 5.
impl From<&str> for SOCKSProxy {
    fn from(address: &str) -> Self {
        Self::v5(address)
    }
}

fn login(login: &Option<(String, Secret)>) -> Option<(&str, &Secret)> {
    login.as_ref().map(|(user, password)| (user.as_str(), password))
}

/// Connects to the proxy and says what is to be said.
fn open(address: &str, port: u16, greeting: impl Greeting, trip: &Trip<'_>) -> Result<Box<dyn Stream>> {
    let proxy = Target::parse_at(address, port)?;
    if proxy.user.is_some() {
        return Err(Error::Misuse("a proxy's address names no user: give it by login"));
    }
    let stream = dial::dial(&proxy, trip.family, trip.dialling, trip.clock.ends(), trip.cancel)?;
    let mut halves =
        Box::new(stream).split().map_err(|error| Error::io("preparing the proxy's stream", error))?;
    let watch = trip.cancel.watch(halves.closer.clone());
    let greeted = greet(&mut halves, greeting, trip);
    drop(watch);
    match greeted {
        Ok(()) => Ok(Box::new(Ready(halves))),
        Err(_) if trip.cancel.is_cancelled() => Err(Error::Cancelled),
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::TimedOut => {
            Err(Error::Timeout(Phase::Connect))
        }
        Err(Failure::Io(error)) => Err(Error::Proxy { proxy: proxy.to_string(), text: error.to_string() }),
        Err(Failure::Answer(text)) => Err(Error::Proxy { proxy: proxy.to_string(), text }),
    }
}

/// Why the host did not come to speak.
#[derive(Debug)]
enum Failure {
    Io(io::Error),
    Answer(String),
}

fn greet(
    halves: &mut Halves,
    mut greeting: impl Greeting,
    trip: &Trip<'_>,
) -> std::result::Result<(), Failure> {
    let deadline = Some(trip.clock.ends());
    halves.write.write_all(greeting.first().expose(), deadline).map_err(Failure::Io)?;
    loop {
        let mut piece = [0];
        if halves.read.read(&mut piece, deadline).map_err(Failure::Io)? == 0 {
            return Err(Failure::Answer("closed the connection before it had answered".to_owned()));
        }
        let [byte] = piece;
        match greeting.take(byte).map_err(Failure::Answer)? {
            Step::More => {}
            Step::Tell(bytes) => {
                halves.write.write_all(bytes.expose(), deadline).map_err(Failure::Io)?;
            }
            Step::Done => return Ok(()),
        }
    }
}

/// Feeds an answer; how many bytes were taken when the proxy had done, if it had.
#[cfg(any(test, fuzzing))]
pub(super) fn fed(
    greeting: &mut (impl Greeting + ?Sized),
    answer: &[u8],
) -> std::result::Result<Option<usize>, String> {
    for (at, byte) in (1..).zip(answer) {
        if let Step::Done = greeting.take(*byte)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// The kinds of proxies that answers are told of.
#[cfg(any(test, fuzzing))]
pub(crate) const PROXIES: usize = 4;

/// What comes of an answer of one of those proxies, whatever it is.
#[cfg(any(test, fuzzing))]
pub(crate) fn proxy_answer(which: usize, answer: &[u8]) -> std::result::Result<Option<usize>, String> {
    let secret = Secret::from("secret");
    let login = (which > 1).then_some(("me", &secret));
    let mut greeting: Box<dyn Greeting> = match which {
        0 => Box::new(http::Connect::new("host", 22, login)?),
        1 => Box::new(socks::Connect::new(SOCKSVersion::V4a, "host", 22, login)?),
        2 => Box::new(socks::Connect::new(SOCKSVersion::V5, "host", 22, login)?),
        _ => Box::new(socks::Connect::new(SOCKSVersion::V5, "host", 22, None)?),
    };
    fed(&mut *greeting, answer)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An answer that is good is so at its last byte and not before, and takes nothing of what follows.
    /// Whatever byte is changed into whatever else, it ends one way or the other.
    pub(in super::super) fn everywhere<G: Greeting>(make: impl Fn() -> G, answer: &[u8]) {
        for end in 0..answer.len() {
            assert_eq!(fed(&mut make(), &answer[..end]), Ok(None), "cut at {end}");
        }
        let more = [answer, b"SSH-2.0-x\r\n"].concat();
        assert_eq!(fed(&mut make(), &more), Ok(Some(answer.len())));
        for at in 0..answer.len() {
            for other in 0..=255 {
                let mut changed = more.clone();
                changed[at] = other;
                // Taken or refused: what counts is that it does not panic.
                let _ = fed(&mut make(), &changed);
            }
        }
    }
}
