//! The operations on this machine's files.

use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{LocalFile, figures};
use super::listing::Listing;
use super::{Base, LocalServer, attributes, os};
use crate::sftp::packet::{OpenFlags, SFTPAttributes, SFTPStatus, StatVfs};
use crate::sftp::server::interface::{SFTPHandle, SFTPListing, SFTPServerInterface};
use crate::sftp::server::refusal::{SFTPRefusal, SFTPResult};
use crate::sys::entry::FileOptions;
use crate::sys::filedata;
use crate::sys::user::{self, Account};

impl SFTPServerInterface for LocalServer {
    fn supports(&self, _: &str) -> bool {
        true
    }

    fn open(
        &self,
        path: &[u8],
        flags: OpenFlags,
        attributes: &SFTPAttributes,
    ) -> SFTPResult<Box<dyn SFTPHandle>> {
        let append = flags.has(OpenFlags::APPEND);
        let options = FileOptions {
            read: flags.has(OpenFlags::READ),
            write: flags.has(OpenFlags::WRITE),
            append,
            create: flags.has(OpenFlags::CREATE),
            truncate: flags.has(OpenFlags::TRUNCATE),
            exclusive: flags.has(OpenFlags::EXCLUSIVE),
            mode: self.mode(attributes, 0o666),
        };
        let file = self.opened(path, &options)?;
        Ok(Box::new(LocalFile { file, append }))
    }

    fn list_folder(&self, path: &[u8]) -> SFTPResult<SFTPListing> {
        let entries = self.spot_following(path)?.open_dir()?.entries()?;
        let (here, above) = (self.known(path)?, self.known(&[path, b"/.."].concat())?);
        Ok(Box::new(Listing::new(here, above, entries, Arc::clone(&self.names))))
    }

    fn stat(&self, path: &[u8]) -> SFTPResult<SFTPAttributes> {
        Ok(attributes(&self.known(path)?))
    }

    fn lstat(&self, path: &[u8]) -> SFTPResult<SFTPAttributes> {
        Ok(attributes(&self.spot(path)?.stat()?))
    }

    fn remove(&self, path: &[u8]) -> SFTPResult<()> {
        let spot = self.spot(path)?;
        Ok(spot.dir().remove_file(spot.name())?)
    }

    fn rename(&self, from: &[u8], to: &[u8]) -> SFTPResult<()> {
        let (from, to) = (self.spot(from)?, self.spot(to)?);
        Ok(from.dir().rename_no_replace(from.name(), to.dir(), to.name())?)
    }

    fn posix_rename(&self, from: &[u8], to: &[u8]) -> SFTPResult<()> {
        let (from, to) = (self.spot(from)?, self.spot(to)?);
        Ok(from.dir().rename(from.name(), to.dir(), to.name())?)
    }

    fn mkdir(&self, path: &[u8], attributes: &SFTPAttributes) -> SFTPResult<()> {
        let spot = self.spot(path)?;
        Ok(spot.dir().create_dir(spot.name(), self.mode(attributes, 0o777))?)
    }

    fn rmdir(&self, path: &[u8]) -> SFTPResult<()> {
        let spot = self.spot(path)?;
        Ok(spot.dir().remove_dir(spot.name())?)
    }

    fn chattr(&self, path: &[u8], attributes: &SFTPAttributes) -> SFTPResult<()> {
        Ok(self.spot_following(path)?.set(attributes)?)
    }

    fn lchattr(&self, path: &[u8], attributes: &SFTPAttributes) -> SFTPResult<()> {
        if attributes.size.is_some() {
            return Err(SFTPRefusal::new(SFTPStatus::BAD_MESSAGE, "a link has no size to be set"));
        }
        Ok(self.spot(path)?.set(attributes)?)
    }

    fn canonicalize(&self, path: &[u8]) -> SFTPResult<Vec<u8>> {
        match &self.base {
            Base::Whole { start, .. } => Ok(bytes(real(&start.join(os(path)))?)),
            Base::Rooted(root) => Ok(root.canonical(path)?),
        }
    }

    fn readlink(&self, path: &[u8]) -> SFTPResult<Vec<u8>> {
        let spot = self.spot(path)?;
        Ok(spot.dir().read_link(spot.name())?.into_vec())
    }

    fn symlink(&self, target: &[u8], link: &[u8]) -> SFTPResult<()> {
        let spot = self.spot(link)?;
        Ok(spot.dir().symlink(os(target), spot.name())?)
    }

    fn hard_link(&self, path: &[u8], new: &[u8]) -> SFTPResult<()> {
        let (from, to) = (self.spot(path)?, self.spot(new)?);
        Ok(from.dir().hard_link(from.name(), to.dir(), to.name())?)
    }

    fn statvfs(&self, path: &[u8]) -> SFTPResult<StatVfs> {
        Ok(figures(&filedata::file_system(self.spot_following(path)?.hold()?)?))
    }

    fn expand_path(&self, path: &[u8]) -> SFTPResult<Vec<u8>> {
        let Some(rest) = path.strip_prefix(b"~") else { return self.canonicalize(path) };
        let user = rest.split(|byte| *byte == b'/').next().unwrap_or_default();
        let below = rest.get(user.len()..).unwrap_or_default();
        self.canonicalize(&[&self.home_directory(user)?, below].concat())
    }

    fn home_directory(&self, user: &[u8]) -> SFTPResult<Vec<u8>> {
        let found = match (&self.base, user) {
            // Nobody else lives below a root.
            (Base::Rooted(_), b"") => return Ok(b"/".to_vec()),
            (Base::Rooted(_), _) => None,
            (Base::Whole { .. }, b"") => Some(Account::current()?),
            (Base::Whole { .. }, user) => std::str::from_utf8(user).map_or(Ok(None), Account::named)?,
        };
        found.map(|account| bytes(account.home)).ok_or_else(|| SFTPStatus::NO_SUCH_FILE.into())
    }

    fn users_groups_by_id(&self, users: &[u32], groups: &[u32]) -> SFTPResult<(Vec<String>, Vec<String>)> {
        let names = |numbers: &[u32], name: fn(u32) -> Option<String>| {
            numbers.iter().map(|number| name(*number).unwrap_or_default()).collect()
        };
        Ok((names(users, user::user_name), names(groups, user::group_name)))
    }
}

impl LocalServer {
    /// The permissions of what is made.
    fn mode(&self, attributes: &SFTPAttributes, otherwise: u32) -> u32 {
        attributes.permissions().unwrap_or(otherwise) & !self.umask
    }
}

fn bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}

/// The path without links, `.` and `..`. As OpenSSH: what the last component names need not be there.
fn real(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    match (path.parent(), path.file_name()) {
        (Some(above), Some(name)) if !ends_in_dots(path.as_os_str().as_bytes()) => {
            Ok(above.canonicalize()?.join(name))
        }
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// Whether `.` or `..` is the last component: std leaves the one out.
fn ends_in_dots(path: &[u8]) -> bool {
    matches!(path.rsplit(|byte| *byte == b'/').next(), Some(b"." | b".."))
}
