//! Operations on paths, under paramiko's names.

use super::exchange::SMALL_ANSWER;
use super::{Answer, Asked, SFTPClient};
use crate::error::{Error, Result};
use crate::sftp::packet::message::{
    Lstat, Mkdir, Readlink, Realpath, Remove, Rename, Rmdir, Setstat, Stat, Symlink, framed,
};
use crate::sftp::packet::{
    FileKind, MAX_PATH, RemoteName, SFTPAttributes, SFTPEntry, SFTPStatus, SFTPTime, extension,
};
use crate::wire::{Encode, Rest, Writer};

/// What an answer with one name may hold: it comes twice, once in a long form.
const NAME_ANSWER: usize = 2 * MAX_PATH + SMALL_ANSWER;

impl SFTPClient {
    // ---- what is there

    /// What is known of a file; links are followed.
    ///
    /// # Errors
    /// [`Error::Sftp`] with [`SFTPStatus::NO_SUCH_FILE`] when it is not there; see [`Error::Sftp`] for all
    /// other refusals, [`Error::Timeout`], [`Error::Closed`].
    pub fn stat(&self, path: impl AsRef<[u8]>) -> Result<SFTPAttributes> {
        let path = self.absolute(path);
        let asked = Asked { operation: "stat", path: path.as_bytes() };
        self.attributes(framed(&Stat { id: 0, path: asked.path }), asked)
    }

    /// What is known of a file; a link is looked at itself.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn lstat(&self, path: impl AsRef<[u8]>) -> Result<SFTPAttributes> {
        let path = self.absolute(path);
        let asked = Asked { operation: "lstat", path: path.as_bytes() };
        self.attributes(framed(&Lstat { id: 0, path: asked.path }), asked)
    }

    pub(super) fn attributes(&self, packet: Vec<u8>, asked: Asked<'_>) -> Result<SFTPAttributes> {
        match self.ask(packet, SMALL_ANSWER, asked)? {
            Answer::Attributes(attributes) => Ok(attributes),
            other => Err(self.wrong(&other, asked)),
        }
    }

    /// Whether the path leads to something; links are followed.
    ///
    /// # Errors
    /// As [`stat`](Self::stat), but for files that are not there.
    pub fn exists(&self, path: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.stat_if_there(path)?.is_some())
    }

    /// Whether the path leads to a directory; links are followed.
    ///
    /// # Errors
    /// As [`exists`](Self::exists).
    pub fn is_dir(&self, path: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.stat_if_there(path)?.is_some_and(|found| found.is_dir()))
    }

    /// Whether the path leads to a regular file; links are followed.
    ///
    /// # Errors
    /// As [`exists`](Self::exists).
    pub fn is_file(&self, path: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.stat_if_there(path)?.is_some_and(|found| found.is_file()))
    }

    /// Whether the path is a symbolic link.
    ///
    /// # Errors
    /// As [`exists`](Self::exists).
    pub fn is_symlink(&self, path: impl AsRef<[u8]>) -> Result<bool> {
        Ok(if_there(self.lstat(path))?.is_some_and(|found| found.kind() == Some(FileKind::Symlink)))
    }

    /// As [`stat`](Self::stat); none for a file that is not there.
    pub(in crate::sftp) fn stat_if_there(&self, path: impl AsRef<[u8]>) -> Result<Option<SFTPAttributes>> {
        if_there(self.stat(path))
    }

    // ---- names

    /// The path as the server has it, without `.`, `..` and links: `realpath`. With most servers the last
    /// part need not exist.
    ///
    /// # Errors
    /// [`Error::Sftp`] and as [`stat`](Self::stat).
    pub fn normalize(&self, path: impl AsRef<[u8]>) -> Result<RemoteName> {
        let path = self.absolute(path);
        let asked = Asked { operation: "realpath", path: path.as_bytes() };
        self.name(framed(&Realpath { id: 0, path: asked.path }), asked)
    }

    /// Where a link leads, as it is written in the link.
    ///
    /// # Errors
    /// As [`normalize`](Self::normalize).
    pub fn readlink(&self, path: impl AsRef<[u8]>) -> Result<RemoteName> {
        let path = self.absolute(path);
        let asked = Asked { operation: "readlink", path: path.as_bytes() };
        self.name(framed(&Readlink { id: 0, path: asked.path }), asked)
    }

    /// An answer that is one name.
    pub(super) fn name(&self, packet: Vec<u8>, asked: Asked<'_>) -> Result<RemoteName> {
        match self.ask(packet, NAME_ANSWER, asked)? {
            Answer::Names(mut names) if names.len() == 1 => {
                Ok(names.pop().map(|SFTPEntry { name, .. }| name).unwrap_or_default())
            }
            other => Err(self.wrong(&other, asked)),
        }
    }

    /// Sets where relative paths begin, for all who share the client: the server knows nothing of it.
    ///
    /// # Errors
    /// As [`normalize`](Self::normalize), and when it is no directory.
    pub fn chdir(&self, path: impl AsRef<[u8]>) -> Result<()> {
        let directory = self.normalize(path)?;
        let found = self.stat(&directory)?;
        if found.kind().is_some_and(|kind| kind != FileKind::Directory) {
            return Err(crate::sftp::packet::SFTPError::new(
                SFTPStatus::FAILURE,
                b"not a directory",
                "chdir",
                directory.as_bytes(),
            )
            .into());
        }
        *self.shared.directory.lock() = Some(directory);
        Ok(())
    }

    /// Where relative paths begin: what [`chdir`](Self::chdir) has set, else the server's own place.
    ///
    /// # Errors
    /// As [`normalize`](Self::normalize).
    pub fn getcwd(&self) -> Result<RemoteName> {
        let set = self.shared.directory.lock().clone();
        match set {
            Some(directory) => Ok(directory),
            None => self.normalize("."),
        }
    }

    // ---- changes

    /// Removes a file or a link.
    ///
    /// # Errors
    /// [`Error::Sftp`] and as [`stat`](Self::stat); so for all that follow.
    pub fn remove(&self, path: impl AsRef<[u8]>) -> Result<()> {
        let path = self.absolute(path);
        let asked = Asked { operation: "remove", path: path.as_bytes() };
        self.tell(&Remove { id: 0, path: asked.path }, asked)
    }

    /// Renames; refused where `to` is there already.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        let (from, to) = (self.absolute(from), self.absolute(to));
        let asked = Asked { operation: "rename", path: from.as_bytes() };
        self.tell(&Rename { id: 0, from: asked.path, to: to.as_bytes() }, asked)
    }

    /// Renames in one step, replacing what `to` was: POSIX's `rename`, an extension of OpenSSH's.
    ///
    /// # Errors
    /// As [`remove`](Self::remove); [`Error::Unsupported`] where the server does not have it.
    pub fn posix_rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        let (from, to) = (self.absolute(from), self.absolute(to));
        let mut fields = Vec::new();
        fields.put(from.as_bytes()).put(to.as_bytes());
        self.extended_done(extension::POSIX_RENAME, &fields, from.as_bytes())
    }

    /// Makes a directory with those permissions, less what the server takes away.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn mkdir(&self, path: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = self.absolute(path);
        let asked = Asked { operation: "mkdir", path: path.as_bytes() };
        let attributes = SFTPAttributes::new().with_mode(mode).to_vec();
        self.tell(&Mkdir { id: 0, path: asked.path, attributes: Rest(&attributes) }, asked)
    }

    /// Makes a directory and those above it; what is there already stays as it is.
    ///
    /// # Errors
    /// As [`mkdir`](Self::mkdir), and when something else is in the way.
    pub fn makedirs(&self, path: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = self.absolute(path);
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at > 0).map(|(at, _)| at);
        // From the top: what is below cannot be there where the upper part is not.
        for end in ends.chain([bytes.len()]) {
            let part = bytes.get(..end).unwrap_or_default();
            if self.is_dir(part)? {
                continue;
            }
            match self.mkdir(part, mode) {
                // Somebody else may have made it meanwhile.
                Err(Error::Sftp(error)) if !self.is_dir(part)? => return Err(error.into()),
                Ok(()) | Err(Error::Sftp(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn rmdir(&self, path: impl AsRef<[u8]>) -> Result<()> {
        let path = self.absolute(path);
        let asked = Asked { operation: "rmdir", path: path.as_bytes() };
        self.tell(&Rmdir { id: 0, path: asked.path }, asked)
    }

    /// Makes a symbolic link at `path` that leads to `target`, which is written into it as it is.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn symlink(&self, target: impl AsRef<[u8]>, path: impl AsRef<[u8]>) -> Result<()> {
        let (target, path) = (target.as_ref(), self.absolute(path));
        let asked = Asked { operation: "symlink", path: path.as_bytes() };
        let (first, second) =
            if self.shared.server.target_first { (target, asked.path) } else { (asked.path, target) };
        self.tell(&Symlink { id: 0, first, second }, asked)
    }

    /// Makes a second name for a file: POSIX's `link`, an extension of OpenSSH's.
    ///
    /// # Errors
    /// As [`posix_rename`](Self::posix_rename).
    pub fn hard_link(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        let (from, to) = (self.absolute(from), self.absolute(to));
        let mut fields = Vec::new();
        fields.put(from.as_bytes()).put(to.as_bytes());
        self.extended_done(extension::HARDLINK, &fields, from.as_bytes())
    }

    /// Sets what `attributes` has; links are followed.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn setstat(&self, path: impl AsRef<[u8]>, attributes: &SFTPAttributes) -> Result<()> {
        let path = self.absolute(path);
        let asked = Asked { operation: "setstat", path: path.as_bytes() };
        self.tell(&Setstat { id: 0, path: asked.path, attributes: Rest(&attributes.to_vec()) }, asked)
    }

    /// Sets what `attributes` has of the link itself: an extension of OpenSSH's.
    ///
    /// # Errors
    /// As [`posix_rename`](Self::posix_rename).
    pub fn lsetstat(&self, path: impl AsRef<[u8]>, attributes: &SFTPAttributes) -> Result<()> {
        let path = self.absolute(path);
        let mut fields = Vec::new();
        fields.put(path.as_bytes()).put(attributes);
        self.extended_done(extension::LSETSTAT, &fields, path.as_bytes())
    }

    /// Sets the permissions; links are followed.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn chmod(&self, path: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        self.setstat(path, &SFTPAttributes::new().with_mode(mode & 0o7777))
    }

    /// Sets the numbers of the user and the group; links are followed.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn chown(&self, path: impl AsRef<[u8]>, uid: u32, gid: u32) -> Result<()> {
        self.setstat(path, &SFTPAttributes::new().with_owner(uid, gid))
    }

    /// Sets when the file was last read and last written, in whole seconds; links are followed.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn utime(
        &self,
        path: impl AsRef<[u8]>,
        accessed: impl Into<SFTPTime>,
        modified: impl Into<SFTPTime>,
    ) -> Result<()> {
        self.setstat(path, &SFTPAttributes::new().with_times(accessed, modified))
    }

    /// Sets the size: cut off, or filled up with zeros; links are followed.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    pub fn truncate(&self, path: impl AsRef<[u8]>, size: u64) -> Result<()> {
        self.setstat(path, &SFTPAttributes::new().with_size(size))
    }
}

/// A file that is not there is no error.
pub(in crate::sftp) fn if_there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Error::Sftp(error)) if error.status.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
