//! The files of this machine: all of them, or those below a directory.
//!
//! Knows nothing of packets. Everything is looked up in directories held open, by `sys/`.

mod file;
mod listing;
mod operations;
mod spot;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use listing::Names;

use crate::sftp::packet::{SFTPAttributes, SFTPTime};
use crate::sys::dir::Dir;
use crate::sys::entry::{Stat, Time};
use crate::sys::root::Root;
use crate::sys::user::Account;

/// Serves the files of this machine with the rights of the user who runs the program. Unix only.
///
/// [`rooted`](Self::rooted) is for people who shall see one directory and nothing else: neither `..` nor links
/// nor renamed directories lead out of it, and nothing tells what there is outside.
///
/// ```no_run
/// use std::io;
/// use feramiko::{Answer, ExitStatus, LocalServer, ServerInterface, Session, SessionRequest};
/// struct Files;
/// impl ServerInterface for Files {
///     fn check_channel_subsystem_request(&self, _: &SessionRequest, name: &str) -> Answer {
///         Answer::when(name == "sftp")
///     }
///     fn session(&self, session: Session) -> io::Result<ExitStatus> {
///         session.serve_sftp(LocalServer::rooted("/srv/files")?)
///     }
/// }
/// ```
#[derive(Debug)]
pub struct LocalServer {
    base: Base,
    umask: u32,
    names: Arc<Names>,
}

/// What paths are relative to.
#[derive(Debug)]
enum Base {
    /// Everything; relative paths begin in `start`, which `dir` holds.
    Whole { dir: Dir, start: PathBuf },
    /// What is below a root, and no more.
    Rooted(Root),
}

impl LocalServer {
    fn over(base: Base) -> Self {
        Self { base, umask: 0, names: Arc::default() }
    }

    /// The whole file system; relative paths begin in the user's home.
    ///
    /// # Errors
    /// When the user has no home.
    pub fn new() -> io::Result<Self> {
        Self::starting_in(Account::current()?.home)
    }

    /// The whole file system; relative paths begin in `start`.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn starting_in(start: impl AsRef<Path>) -> io::Result<Self> {
        let start = start.as_ref().canonicalize()?;
        Ok(Self::over(Base::Whole { dir: Dir::open(&start)?.with_paths(), start }))
    }

    /// What is below a directory, which clients know as `/`. Only directories, regular files and links are
    /// opened.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn rooted(directory: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self::over(Base::Rooted(Root::open(directory.as_ref())?)))
    }

    /// Permissions that nothing made here gets, besides those that the process's umask holds back.
    #[must_use]
    pub fn umask(mut self, umask: u32) -> Self {
        self.umask = umask;
        self
    }

    /// The same, as if the kernel knew no roots.
    #[cfg(test)]
    pub(in crate::sftp::server) fn walking(self) -> Self {
        match self.base {
            Base::Rooted(root) => Self { base: Base::Rooted(root.walking()), ..self },
            Base::Whole { .. } => self,
        }
    }
}

fn os(path: &[u8]) -> &OsStr {
    OsStr::from_bytes(path)
}

/// What the system says, as SFTP has it.
fn attributes(stat: &Stat) -> SFTPAttributes {
    let (uid, gid) = stat.owner;
    let time = |time: Time| SFTPTime { seconds: time.seconds, nanoseconds: time.nanoseconds };
    SFTPAttributes::new()
        .with_size(stat.size)
        .with_owner(uid, gid)
        .with_mode(stat.mode)
        .with_times(time(stat.accessed), time(stat.modified))
}

/// The times to be set, if there are any.
fn times(attributes: &SFTPAttributes) -> Option<(Time, Time)> {
    let time = |time: SFTPTime| Time { seconds: time.seconds, nanoseconds: time.nanoseconds };
    attributes.times.map(|(accessed, modified)| (time(accessed), time(modified)))
}
