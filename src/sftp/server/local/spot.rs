//! Where a path leads: a directory held open and a name in it, and what is done there.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use super::{Base, LocalServer, os, times};
use crate::sftp::packet::SFTPAttributes;
use crate::sys::dir::{self, Dir};
use crate::sys::entry::{FileOptions, Kind, Stat};

/// A directory and a name in it. Where the whole file system is served, the name is the path.
pub(super) struct Spot<'a> {
    dir: Held<'a>,
    name: Cow<'a, OsStr>,
    /// Whether the system may follow a link at the end, wherever it leads.
    follow: bool,
    /// Whether only regular files are opened.
    regular: bool,
}

enum Held<'a> {
    Ours(&'a Dir),
    Found(Dir),
}

impl LocalServer {
    /// Where a path leads; a link at its end is what is meant.
    pub(super) fn spot<'a>(&'a self, path: &'a [u8]) -> io::Result<Spot<'a>> {
        self.spot_of(path, false)
    }

    /// Where a path leads when links are followed.
    pub(super) fn spot_following<'a>(&'a self, path: &'a [u8]) -> io::Result<Spot<'a>> {
        self.spot_of(path, true)
    }

    fn spot_of<'a>(&'a self, path: &'a [u8], follow: bool) -> io::Result<Spot<'a>> {
        match &self.base {
            Base::Whole { dir, .. } => {
                Ok(Spot { dir: Held::Ours(dir), name: os(path).into(), follow, regular: false })
            }
            Base::Rooted(root) => {
                // What is followed here is looked up below the root; the system follows nothing.
                let place = if follow { root.place_following(path)? } else { root.place(path)? };
                let name = place.name.into();
                Ok(Spot { dir: Held::Found(place.dir), name, follow: false, regular: true })
            }
        }
    }

    /// What is known of a file, links followed.
    pub(super) fn known(&self, path: &[u8]) -> io::Result<Stat> {
        if let Base::Rooted(_) = self.base {
            // Most files are no links.
            let stat = self.spot(path)?.stat()?;
            if stat.kind != Kind::Symlink {
                return Ok(stat);
            }
        }
        self.spot_following(path)?.stat()
    }

    /// Opens a file, links followed.
    pub(super) fn opened(&self, path: &[u8], options: &FileOptions) -> io::Result<File> {
        if let Base::Rooted(_) = self.base {
            let spot = self.spot(path)?;
            match spot.open(options) {
                // It may be a link, which is told in as many ways as there are systems.
                Err(_) if spot.stat().is_ok_and(|stat| stat.kind == Kind::Symlink) && !options.exclusive => {}
                other => return other,
            }
        }
        self.spot_following(path)?.open(options)
    }
}

impl Spot<'_> {
    pub(super) fn dir(&self) -> &Dir {
        match &self.dir {
            Held::Ours(dir) => dir,
            Held::Found(dir) => dir,
        }
    }

    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    pub(super) fn stat(&self) -> io::Result<Stat> {
        if self.follow { self.dir().stat_following(&self.name) } else { self.dir().stat(&self.name) }
    }

    fn open(&self, options: &FileOptions) -> io::Result<File> {
        if !self.regular {
            return self.dir().open_following(&self.name, options);
        }
        let file = self.dir().open_file(&self.name, options)?;
        match dir::stat_file(&file)?.kind {
            Kind::File => Ok(file),
            Kind::Directory => Err(io::ErrorKind::IsADirectory.into()),
            _ => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    pub(super) fn open_dir(&self) -> io::Result<Dir> {
        if self.follow { self.dir().open_dir_following(&self.name) } else { self.dir().open_dir(&self.name) }
    }

    pub(super) fn hold(&self) -> io::Result<OwnedFd> {
        self.dir().hold(&self.name, self.follow)
    }

    /// Sets what `attributes` hold, in OpenSSH's order.
    pub(super) fn set(&self, attributes: &SFTPAttributes) -> io::Result<()> {
        if let Some(size) = attributes.size {
            let options = FileOptions { write: true, ..FileOptions::default() };
            self.open(&options)?.set_len(size)?;
        }
        if let Some(mode) = attributes.permissions() {
            match self.follow {
                true => self.dir().set_permissions_following(&self.name, mode)?,
                false => self.dir().set_permissions(&self.name, mode)?,
            }
        }
        if let Some(times) = times(attributes) {
            self.dir().set_times(&self.name, times, self.follow)?;
        }
        if let Some(owner) = attributes.owner {
            self.dir().set_owner(&self.name, owner, self.follow)?;
        }
        Ok(())
    }
}
