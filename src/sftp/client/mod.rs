//! `SFTPClient`: the files of a server, as paramiko has them. The handle may be shared by any number of
//! threads; each waits for its own answers only.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects
    )
)]

mod answer;
mod exchange;
mod extensions;
mod file;
mod incoming;
mod listing;
mod outgoing;
mod paths;
mod prefetch;
mod reading;
mod readv;
mod start;
#[cfg(test)]
mod tests;
mod tree;
mod waiting;
mod writing;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::channel::Channel;
use crate::engine::Stream;
use crate::error::{Error, Result};
use crate::sftp::packet::{RemoteName, SFTPLimits, SFTPVendor};
use crate::transport::Transport;
use crate::wire::Encode;

use answer::Failed;
use exchange::Exchange;
use waiting::CancelWhen;

pub(super) use answer::{Answer, Asked};
pub(super) use exchange::{Mailbox, SMALL_ANSWER};
pub(super) use incoming::Reply;
pub(super) use reading::{Fetched, Part};
pub(super) use waiting::{GoOn, LOOK_UP, wait_while};
pub(super) use writing::{WRITE_PART, begin_write, end_write};

pub use extensions::HashAlgorithm;
pub use file::SFTPFile;
pub use listing::Listing;

/// What the server said of itself at the start.
#[derive(Debug)]
struct Server {
    extensions: Vec<(Vec<u8>, Vec<u8>)>,
    limits: SFTPLimits,
    vendor: Option<SFTPVendor>,
    /// Whether SYMLINK names the target first, as OpenSSH does, and not the link, as the draft does.
    target_first: bool,
}

struct Shared {
    exchange: Arc<Exchange>,
    server: Server,
    /// Where relative paths begin; the server's own place until it is set. Taken for a copy only.
    directory: Mutex<Option<RemoteName>>,
    /// How long one request may take. Taken for a copy only.
    timeout: Mutex<Duration>,
    /// Of the connection, as its login measured it.
    round_trip: Duration,
}

/// An SFTP connection. Clones share it; it ends with the last of them and of the files it opened.
///
/// Paths are bytes: `&str`, `&[u8]` and [`RemoteName`] will do. Relative ones begin where
/// [`chdir`](Self::chdir) has led, at first where the server puts its users.
///
/// ```no_run
/// use std::io::Write;
/// let client = feramiko::SSHClient::connect("build.example.org")?;
/// let sftp = client.open_sftp()?;
/// for entry in sftp.listdir_iter("/srv")? {
///     println!("{}", entry?);
/// }
/// let log = sftp.open("/srv/log", "a")?;
/// writeln!(&log, "hello")?;
/// log.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SFTPClient {
    shared: Arc<Shared>,
    cancel_when: Option<CancelWhen>,
}

impl fmt::Debug for SFTPClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SFTPClient").field("server", &self.shared.server).finish_non_exhaustive()
    }
}

impl SFTPClient {
    /// Opens a session on a connection and starts the server's `sftp` in it.
    ///
    /// # Errors
    /// As [`Transport::open_session`]; [`Error::RequestRefused`] when the server has no SFTP; as
    /// [`over`](Self::over).
    pub fn from_transport(transport: &Transport) -> Result<Self> {
        let channel = transport.open_session()?;
        channel.invoke_subsystem("sftp")?;
        Self::from_channel(channel, transport.peer_version())
    }

    /// Speaks SFTP on a channel whose server side does so already. `peer_version` is
    /// [`Transport::peer_version`]: what some requests look like depends on it.
    ///
    /// # Errors
    /// As [`over`](Self::over).
    pub fn from_channel(channel: Channel, peer_version: &str) -> Result<Self> {
        start::on_channel(channel, peer_version)
    }

    /// Speaks SFTP on any stream: with a server that runs as a child process, for example.
    ///
    /// # Errors
    /// [`Error::Protocol`] when the other side does not speak SFTP's version 3, [`Error::Timeout`],
    /// [`Error::Io`].
    pub fn over(stream: impl Stream) -> Result<Self> {
        start::on_stream(Box::new(stream))
    }

    /// Ends the connection: what waits, in any thread, returns [`Error::Closed`]. Data that
    /// [`SFTPFile::close`] has not been called for may be lost.
    pub fn close(&self) {
        self.shared.exchange.close();
    }

    /// How long a request may take from now on, at most; an hour until it is set. A request that takes
    /// longer is [`Error::Timeout`]; whether the server still acts on it is not known.
    pub fn set_timeout(&self, timeout: Duration) {
        *self.shared.timeout.lock() = timeout;
    }

    /// What the server takes, at most, as it says itself or as the protocol promises.
    #[must_use]
    pub fn limits(&self) -> SFTPLimits {
        self.shared.server.limits
    }

    /// Who made the server, if it says so.
    #[must_use]
    pub fn vendor(&self) -> Option<&SFTPVendor> {
        self.shared.server.vendor.as_ref()
    }

    /// The extensions that the server announces: names, and what it says with them.
    pub fn extensions(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.shared.server.extensions.iter().map(|(name, data)| (name.as_slice(), data.as_slice()))
    }

    /// Whether the server announces that extension.
    #[must_use]
    pub fn has_extension(&self, name: &str) -> bool {
        self.extensions().any(|(known, _)| known == name.as_bytes())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let timeout = *self.shared.timeout.lock();
        Instant::now().checked_add(timeout)
    }

    pub(super) fn mailbox(&self) -> Mailbox {
        Mailbox::new(&self.shared.exchange)
    }

    /// The path as the server takes it.
    pub(super) fn absolute(&self, path: impl AsRef<[u8]>) -> RemoteName {
        let path = path.as_ref();
        match &*self.shared.directory.lock() {
            Some(directory) => directory.join(path),
            None => path.into(),
        }
    }

    /// Reads an answer. A server that breaks the rules is not spoken to again.
    pub(super) fn read_answer(&self, reply: Reply, asked: Asked<'_>) -> Result<Answer> {
        answer::read(reply, asked).map_err(|failed| match failed {
            Failed::Refused(error) => Error::Sftp(error),
            Failed::Broken(error) => self.shared.exchange.broken_by_peer(error),
        })
    }

    /// The error for an answer that does not answer the question.
    pub(super) fn wrong(&self, answer: &Answer, asked: Asked<'_>) -> Error {
        self.shared.exchange.broken_by_peer(answer::wrong(answer, asked))
    }

    /// What is to be said of a server that breaks the rules.
    pub(super) fn broken_by_peer(&self, error: Error) -> Error {
        self.shared.exchange.broken_by_peer(error)
    }

    /// Asks and waits.
    fn ask(&self, packet: Vec<u8>, expected: usize, asked: Asked<'_>) -> Result<Answer> {
        let mailbox = self.mailbox();
        let deadline = self.deadline();
        self.post(&mailbox, packet, (expected, 0), deadline)?;
        self.wait(deadline, |until| mailbox.flush(until))?;
        let (_, reply) = self.wait(deadline, |until| mailbox.next(until))?;
        self.read_answer(reply, asked)
    }

    /// Asks for something that has no result.
    fn tell(&self, message: &impl Encode, asked: Asked<'_>) -> Result<()> {
        match self.ask(crate::sftp::packet::message::framed(message), SMALL_ANSWER, asked)? {
            Answer::Done => Ok(()),
            other => Err(self.wrong(&other, asked)),
        }
    }
}
