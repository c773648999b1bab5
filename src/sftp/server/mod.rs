//! The serving side of SFTP: reads requests from any stream, asks the application's
//! [`SFTPServerInterface`], and writes the answers.
//!
//! Runs on its caller's thread; several reads of a file may run on threads of its own. Knows nothing of
//! channels, and of files only below `local/`.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod answer;
mod check;
mod copy;
mod extended;
mod handles;
mod input;
mod interface;
#[cfg(unix)]
mod local;
mod output;
mod overlap;
mod refusal;
mod requests;
mod serve;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

pub use interface::{SFTPHandle, SFTPListing, SFTPServerInterface};
#[cfg(unix)]
pub use local::LocalServer;
pub use refusal::{SFTPRefusal, SFTPResult};
use requests::Rules;

/// Files and directories that a client may have open at once, unless told otherwise: more than any
/// transfer uses, and far below what a system lets a program have open.
const HANDLES: usize = 128;

/// Serves SFTP, version 3, on any stream: a [`Session`](crate::Session), standard input and output, a socket.
///
/// ```no_run
/// use feramiko::{LocalServer, SFTPServer};
/// let server = SFTPServer::new(LocalServer::rooted("/srv/files")?).read_only(true);
/// server.serve(std::io::stdin(), std::io::stdout())?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SFTPServer {
    interface: Arc<dyn SFTPServerInterface>,
    rules: Rules,
    handles: usize,
    link_first: bool,
}

impl SFTPServer {
    /// A server that asks `interface`.
    pub fn new(interface: impl SFTPServerInterface + 'static) -> Self {
        Self { interface: Arc::new(interface), rules: Rules::default(), handles: HANDLES, link_first: false }
    }

    /// Refuses whatever changes something.
    #[must_use]
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.rules.read_only = read_only;
        self
    }

    /// Grants only the requests so named, as [`request_names`](Self::request_names) has them, besides those
    /// of calls before.
    ///
    /// # Errors
    /// `InvalidInput` when there is no such request.
    pub fn allow<'a>(mut self, requests: impl IntoIterator<Item = &'a str>) -> io::Result<Self> {
        self.rules.allow(requests)?;
        Ok(self)
    }

    /// Refuses the requests so named, whatever else is said.
    ///
    /// # Errors
    /// `InvalidInput` when there is no such request.
    pub fn deny<'a>(mut self, requests: impl IntoIterator<Item = &'a str>) -> io::Result<Self> {
        self.rules.deny(requests)?;
        Ok(self)
    }

    /// How many files and directories may be open at once; 128 unless told otherwise.
    #[must_use]
    pub fn max_handles(mut self, handles: usize) -> Self {
        self.handles = handles;
        self
    }

    /// Whether this client's requests for symbolic links name the link first and its target then, as the
    /// draft has it. Nearly all have OpenSSH's order, which is the other; some have the draft's unless the
    /// server says that it is OpenSSH. [`Session::serve_sftp`](crate::Session::serve_sftp) knows them.
    #[must_use]
    pub fn link_first(mut self, link_first: bool) -> Self {
        self.link_first = link_first;
        self
    }

    /// The requests that this server knows, by OpenSSH's names.
    pub fn request_names() -> impl Iterator<Item = &'static str> {
        requests::names()
    }

    /// Serves until the stream ends.
    ///
    /// # Errors
    /// What the stream says; `InvalidData` when what comes is not SFTP; `UnexpectedEof` when it ends within
    /// a request.
    pub fn serve(self, read: impl Read, write: impl Write + Send + 'static) -> io::Result<()> {
        serve::serve(self, read, write)
    }
}

impl<I: SFTPServerInterface + 'static> From<I> for SFTPServer {
    fn from(interface: I) -> Self {
        Self::new(interface)
    }
}

impl fmt::Debug for SFTPServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SFTPServer")
            .field("rules", &self.rules)
            .field("handles", &self.handles)
            .finish_non_exhaustive()
    }
}
