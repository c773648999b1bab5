//! Whole files and trees, both ways: `SFTPClient::get`, `put` and what can be asked of them.
//!
//! One thread keeps many requests of many files under way; the round trip is paid once, not per file.

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

mod flight;
mod getting;
mod local;
mod progress;
mod putting;
mod resume;
mod stripes;

use std::fmt;
use std::io;
use std::path::Path;

use crate::error::{Error, Result};
use crate::sftp::client::SFTPClient;
use crate::sftp::packet::{RemoteName, SFTPAttributes};

pub use progress::Progress;

/// What becomes of symbolic links in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum LinkMode {
    /// They are made again as links that say the same.
    #[default]
    Keep,
    /// What they lead to is copied in their place.
    Follow,
    /// They are left out.
    Skip,
}

/// A file of a tree that could not be copied.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TransferFailure {
    /// The file on the server.
    pub remote: RemoteName,
    /// Why.
    pub error: Error,
}

impl fmt::Display for TransferFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.remote, self.error)
    }
}

/// What a transfer has done.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TransferSummary {
    /// Files that were copied whole.
    pub files: u64,
    /// Directories that were made or found.
    pub directories: u64,
    /// Links that were made.
    pub links: u64,
    /// Bytes that were moved; what a resumed transfer found in place is not counted.
    pub bytes: u64,
    /// Files that were left out: complete already, special ones, links that are skipped.
    pub skipped: u64,
    /// What failed while the rest went on; see [`SFTPTransfer::on_error`].
    pub failures: Vec<TransferFailure>,
}

/// Smaller files are not worth the requests that open them for a second session.
const STRIPED: u64 = 8 * 1024 * 1024;

/// What is asked of a transfer, for both directions.
#[derive(Debug, Clone, Default)]
struct Options {
    recursive: bool,
    preserve: bool,
    resume: bool,
    verify: bool,
    atomic: bool,
    sparse: bool,
    remove_partial: bool,
    links: LinkMode,
    permissions: bool,
    /// Bytes in a second.
    bandwidth: Option<u64>,
    /// Bytes of one request.
    buffer: Option<u32>,
    /// Requests under way.
    requests: Option<usize>,
    /// Sessions that large files are moved over, too.
    stripes: Vec<SFTPClient>,
}

impl Options {
    /// Bytes of one request, where the server takes `limit`.
    fn size(&self, limit: u32) -> u32 {
        self.buffer.map_or(limit, |buffer| buffer.min(limit)).max(1)
    }

    /// With which permissions a directory is made here, and what is set of it when all in it is there; none
    /// where nothing is set of any.
    fn of_directory(&self, known: SFTPAttributes) -> (u32, Option<SFTPAttributes>) {
        if !self.permissions {
            return (0o777, self.preserve.then_some(known));
        }
        let mode = known.mode.map_or(0o777, |mode| mode & 0o777);
        // What is to go into it must be able to.
        let made = mode | 0o300;
        let last = match (self.preserve, made == mode) {
            (true, _) => known,
            (false, true) => SFTPAttributes::new(),
            (false, false) => SFTPAttributes::new().with_mode(mode),
        };
        (made, Some(last))
    }

    /// What is asked of files, not streams, must go together.
    fn check_for_files(&self) -> Result<()> {
        if self.stripes.is_empty() || self.atomic {
            return Ok(());
        }
        Err(Error::Misuse("stripes write a file under another name until it is whole: ask for atomic, too"))
    }

    /// A reader or a writer has nothing that could be gone on with, or moved in any order.
    fn check_for_streams(&self) -> Result<()> {
        if self.verify || self.resume {
            return Err(Error::Misuse(
                "what comes from a reader, or goes into a writer, is neither resumed nor verified: name a file instead",
            ));
        }
        if !self.stripes.is_empty() {
            return Err(Error::Misuse(
                "what comes from a reader, or goes into a writer, has no stripes: name a file instead",
            ));
        }
        Ok(())
    }

    /// Whether a file of that size is moved over several sessions.
    fn is_striped(&self, size: Option<u64>) -> bool {
        !self.stripes.is_empty() && size.is_some_and(|size| size >= STRIPED)
    }

    /// The share of one of so many sessions.
    fn of_one_in(&self, sessions: usize) -> Self {
        let sessions = sessions.max(1);
        let bandwidth =
            self.bandwidth.and_then(|bytes| bytes.checked_div(sessions as u64)).map(|bytes| bytes.max(1));
        let requests = self.requests.map(|requests| requests.div_ceil(sessions));
        Self { bandwidth, requests, ..self.clone() }
    }

    /// Bytes that are to be read at once, by requests of `size`.
    fn read_depth(&self, client: &SFTPClient, size: u32) -> usize {
        let (depth, requests) = (client.read_depth(), self.requests.unwrap_or(usize::MAX));
        requests.max(1).saturating_mul(size as usize).min(depth)
    }

    /// Bytes that are to be written at once, by requests of `size`.
    fn write_depth(&self, client: &SFTPClient, size: u32) -> usize {
        let Some(requests) = self.requests else { return client.write_depth() };
        requests.clamp(1, client.most_writes()).saturating_mul(size as usize)
    }
}

type OnProgress<'a> = Box<dyn FnMut(&Progress<'_>) + 'a>;
type OnError<'a> = Box<dyn FnMut(&TransferFailure) -> bool + 'a>;
type OnDirectory<'a> = Box<dyn FnMut(&RemoteName) + 'a>;

/// Whom a transfer calls while it runs.
#[derive(Default)]
struct Callbacks<'a> {
    progress: Option<OnProgress<'a>>,
    on_error: Option<OnError<'a>>,
    on_directory: Option<OnDirectory<'a>>,
}

/// A transfer to be configured and started.
///
/// ```no_run
/// let sftp = feramiko::SSHClient::connect("build.example.org")?.open_sftp()?;
/// sftp.transfer().recursive(true).preserve(true).get("/srv/data", "data")?;
/// let done = sftp.transfer().resume(true).progress(|at| eprintln!("{}", at.done)).put("image", "/srv/image")?;
/// println!("{} bytes", done.bytes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing moves before get or put is called"]
pub struct SFTPTransfer<'a> {
    client: SFTPClient,
    options: Options,
    callbacks: Callbacks<'a>,
}

impl fmt::Debug for SFTPTransfer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SFTPTransfer").field("options", &self.options).finish_non_exhaustive()
    }
}

impl SFTPClient {
    /// A transfer of files or trees, to be configured.
    pub fn transfer<'a>(&self) -> SFTPTransfer<'a> {
        SFTPTransfer { client: self.clone(), options: Options::default(), callbacks: Callbacks::default() }
    }

    /// Copies a file of the server to a local one, which is replaced.
    ///
    /// # Errors
    /// As [`SFTPTransfer::get`].
    pub fn get(&self, remote: impl AsRef<[u8]>, local: impl AsRef<Path>) -> Result<TransferSummary> {
        self.transfer().get(remote, local)
    }

    /// Copies a local file to the server, where it is replaced.
    ///
    /// # Errors
    /// As [`SFTPTransfer::put`].
    pub fn put(&self, local: impl AsRef<Path>, remote: impl AsRef<[u8]>) -> Result<TransferSummary> {
        self.transfer().put(local, remote)
    }

    /// Copies a file of the server into anything that can be written; how many bytes.
    ///
    /// # Errors
    /// As [`SFTPTransfer::get`].
    pub fn getfo(&self, remote: impl AsRef<[u8]>, target: &mut dyn io::Write) -> Result<u64> {
        self.transfer().getfo(remote, target)
    }

    /// Copies anything that can be read, to its end, into a file of the server, which is replaced; how many
    /// bytes.
    ///
    /// # Errors
    /// As [`SFTPTransfer::put`].
    pub fn putfo(&self, source: &mut dyn io::Read, remote: impl AsRef<[u8]>) -> Result<u64> {
        self.transfer().putfo(source, remote)
    }
}

impl<'a> SFTPTransfer<'a> {
    /// Whether a directory is copied with all that is in it. Without it a directory is an error.
    pub fn recursive(mut self, recursive: bool) -> Self {
        self.options.recursive = recursive;
        self
    }

    /// Whether permissions and times are copied too. Setuid, setgid and sticky bits never are.
    pub fn preserve(mut self, preserve: bool) -> Self {
        self.options.preserve = preserve;
        self
    }

    /// Whether new files and directories get the permissions of what they are copied from, less what the
    /// umask takes away, as `sftp` and `cp` have it. Otherwise what is got is for whom the umask says; what
    /// is put always has them.
    pub fn permissions(mut self, permissions: bool) -> Self {
        self.options.permissions = permissions;
        self
    }

    /// Whether a file that is there in part is gone on with, and one that is there whole left as it is. That
    /// the part is the same is checked: by the server's hash of it where it has `check-file`, else by what
    /// stands at its end.
    pub fn resume(mut self, resume: bool) -> Self {
        self.options.resume = resume;
        self
    }

    /// Whether every file's hash is compared with the server's when it has been copied.
    pub fn verify(mut self, verify: bool) -> Self {
        self.options.verify = verify;
        self
    }

    /// Whether a file is written under another name and renamed when it is whole, so that nobody ever sees
    /// a part of it. Otherwise it is written in its place, as `sftp` does.
    pub fn atomic(mut self, atomic: bool) -> Self {
        self.options.atomic = atomic;
        self
    }

    /// Whether what is all zeros is left as a hole where the file system can.
    pub fn sparse(mut self, sparse: bool) -> Self {
        self.options.sparse = sparse;
        self
    }

    /// Whether the part of a file that was copied before something failed is removed; it is kept otherwise,
    /// without holes, so that [`resume`](Self::resume) can go on with it. A part on a server that is out of
    /// reach stays.
    pub fn remove_partial(mut self, remove: bool) -> Self {
        self.options.remove_partial = remove;
        self
    }

    /// Moves files of 8 MiB and more over that session as well. Of another connection it is faster where a
    /// processor at either end is the limit, because each connection has its own there; of the same one, too, where a
    /// server grants a session less than the line could carry, as OpenSSH's does for a put with 2 MiB in each round
    /// trip. Once for each session beside this one.
    ///
    /// Only for [`atomic`](Self::atomic) transfers. Such a file is written as `NAME.fileparts`: what a failure leaves
    /// of it may have holes in its last 16 MiB, and those are moved again by a transfer that resumes it with stripes.
    /// Several such files are moved one after another.
    pub fn stripe(mut self, session: &SFTPClient) -> Self {
        self.options.stripes.push(session.clone());
        self
    }

    /// What becomes of the links in a tree.
    pub fn links(mut self, links: LinkMode) -> Self {
        self.options.links = links;
        self
    }

    /// The most bytes in a second, on average.
    pub fn bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.options.bandwidth = Some(bytes_per_second.max(1));
        self
    }

    /// The most bytes that one request reads or writes; never more than the server takes. Without it that is
    /// what is read at once, and 124 KiB what is written.
    pub fn buffer(mut self, bytes: u32) -> Self {
        self.options.buffer = Some(bytes);
        self
    }

    /// How much is under way at once: as much as so many full requests carry, as long as the connection takes in the
    /// answers. Without it that is what the round trip takes, and on a short one 2 MiB that are read, which more
    /// requests don't make more, and half a MiB that is written: a server that takes long for each write, and does many
    /// at once, is faster with more.
    pub fn requests(mut self, requests: usize) -> Self {
        self.options.requests = Some(requests);
        self
    }

    /// Called on this thread when a file begins and ends, and now and then in between.
    pub fn progress(mut self, progress: impl FnMut(&Progress<'_>) + 'a) -> Self {
        self.callbacks.progress = Some(Box::new(progress));
        self
    }

    /// Called for every file of a tree that cannot be copied; true goes on with the rest. Without it the
    /// first failure ends the transfer.
    pub fn on_error(mut self, on_error: impl FnMut(&TransferFailure) -> bool + 'a) -> Self {
        self.callbacks.on_error = Some(Box::new(on_error));
        self
    }

    /// Called for every directory before what is in it is copied, with its name on the server.
    pub fn on_directory(mut self, on_directory: impl FnMut(&RemoteName) + 'a) -> Self {
        self.callbacks.on_directory = Some(Box::new(on_directory));
        self
    }

    /// Asked whenever the server has answered, and ten times a second while it does not; true ends the transfer with
    /// [`Error::Cancelled`]. What is there by then stays, as after a failure. As
    /// [`SFTPClient::cancel_when`], which a transfer of such a client needs not.
    pub fn cancel_when(mut self, cancel_when: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.client = self.client.cancel_when(cancel_when);
        self
    }

    /// Copies from the server: a file into a local file, or into a directory that is there under its own
    /// name; with [`recursive`](Self::recursive) a directory into a new one, or, where that is there,
    /// its contents into it.
    ///
    /// No name that the server says leads out of the local directory, and no link that is there is followed
    /// below it.
    ///
    /// # Errors
    /// [`Error::Sftp`] with the file's path, [`Error::Io`] for local files, [`Error::Timeout`],
    /// [`Error::Closed`], [`Error::Protocol`] and [`Error::Limit`] for a server that breaks the rules.
    pub fn get(self, remote: impl AsRef<[u8]>, local: impl AsRef<Path>) -> Result<TransferSummary> {
        getting::run(self, remote.as_ref(), local.as_ref())
    }

    /// Copies to the server: a file to a file, or into a directory that is there under its own name; with
    /// [`recursive`](Self::recursive) a directory to a new one, or, where that is there, its contents into it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn put(self, local: impl AsRef<Path>, remote: impl AsRef<[u8]>) -> Result<TransferSummary> {
        putting::run(self, local.as_ref(), remote.as_ref())
    }

    /// Copies a file of the server into anything that can be written; how many bytes.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn getfo(self, remote: impl AsRef<[u8]>, target: &mut dyn io::Write) -> Result<u64> {
        getting::into_writer(self, remote.as_ref(), target)
    }

    /// Copies anything that can be read, to its end, into a file of the server; how many bytes.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn putfo(self, source: &mut dyn io::Read, remote: impl AsRef<[u8]>) -> Result<u64> {
        putting::from_reader(self, source, remote.as_ref())
    }
}
