//! Trees: directories listed here and made there, links made again.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Ask, Putting};
use crate::error::{Error, Result};
use crate::sftp::client::{Answer, Asked, Reply, SMALL_ANSWER};
use crate::sftp::packet::message::{Stat, framed};
use crate::sftp::packet::{RemoteName, SFTPAttributes, SFTPError, SFTPStatus};
use crate::sftp::transfer::LinkMode;
use crate::sftp::transfer::local::{Place, attributes, failed, remote_name};
use crate::sys::dir::Dir;
use crate::sys::entry::Kind;

/// A directory to be made, and then listed.
pub(super) struct DirTask {
    pub(super) remote: RemoteName,
    pub(super) parent: Arc<Dir>,
    /// Empty for the first one, which is `parent` itself.
    pub(super) name: OsString,
    pub(super) known: SFTPAttributes,
}

impl Putting<'_, '_> {
    pub(super) fn add_root(&mut self, remote: RemoteName, local: &Path) -> Result<()> {
        let held = Dir::open(local).and_then(|dir| Ok((dir.stat_itself()?, dir)));
        let (found, dir) = held.map_err(|error| failed(local.display().to_string(), error))?;
        let (parent, name) = (Arc::new(dir), OsString::new());
        self.dirs.push(DirTask { remote, parent, name, known: attributes(&found) });
        Ok(())
    }

    pub(super) fn add_entry(&mut self, dir: &Arc<Dir>, below: &RemoteName, name: OsString) -> Result<()> {
        let place = Place { dir: Arc::clone(dir), name, follow: self.options.links == LinkMode::Follow };
        let remote = below.join(remote_name(&place.name)?);
        let added = self.add(remote.clone(), place);
        added.or_else(|error| self.watch.failed(&remote, error))
    }

    pub(super) fn add(&mut self, remote: RemoteName, place: Place) -> Result<()> {
        let Some(found) = place.stat()? else { return Err(place.error(io::ErrorKind::NotFound.into())) };
        match found.kind {
            Kind::File => self.add_file(remote, place, attributes(&found)),
            Kind::Directory => {
                let Place { dir, name, .. } = place;
                self.dirs.push(DirTask { remote, parent: dir, name, known: attributes(&found) });
                Ok(())
            }
            Kind::Symlink if self.options.links == LinkMode::Keep => self.put_link(&remote, &place),
            Kind::Symlink | Kind::Other => {
                self.watch.summary.skipped = self.watch.summary.skipped.saturating_add(1);
                Ok(())
            }
        }
    }

    /// A link that is there already and says the same stays.
    pub(super) fn put_link(&mut self, remote: &RemoteName, place: &Place) -> Result<()> {
        let target = place.dir.read_link(&place.name).map_err(|error| place.error(error))?;
        let target = remote_name(&target)?;
        match self.client().symlink(&target, remote) {
            Err(Error::Sftp(error)) => {
                if self.client().readlink(remote).ok().as_ref() != Some(&target) {
                    return Err(error.into());
                }
            }
            outcome => outcome?,
        }
        self.watch.summary.links = self.watch.summary.links.saturating_add(1);
        Ok(())
    }

    pub(super) fn dir_made(&mut self, key: u64, reply: Reply) -> Result<()> {
        let Some(task) = self.making.get(&key) else { return Ok(()) };
        let asked = Asked { operation: "mkdir", path: task.remote.as_bytes() };
        match self.flight.client.read_answer(reply, asked) {
            Ok(Answer::Done) => self.list(key),
            Ok(other) => Err(self.flight.client.wrong(&other, asked)),
            // It may be there: version 3 has no word for that.
            Err(Error::Sftp(_)) => {
                let packet = framed(&Stat { id: 0, path: asked.path });
                self.ask(Ask::Looked(key), packet, SMALL_ANSWER)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn dir_looked_at(&mut self, key: u64, reply: Reply) -> Result<()> {
        let Some(task) = self.making.get(&key) else { return Ok(()) };
        let asked = Asked { operation: "mkdir", path: task.remote.as_bytes() };
        let error = match self.flight.client.read_answer(reply, asked) {
            Ok(Answer::Attributes(found)) if found.is_dir() || found.kind().is_none() => {
                return self.list(key);
            }
            Ok(Answer::Attributes(_)) => {
                SFTPError::new(SFTPStatus::FAILURE, b"something else is in the way", "mkdir", asked.path)
                    .into()
            }
            Ok(other) => return Err(self.flight.client.wrong(&other, asked)),
            Err(error) => error,
        };
        let Some(task) = self.making.remove(&key) else { return Ok(()) };
        self.watch.failed(&task.remote, error)
    }

    /// The directory is there: what is in the local one is to follow.
    pub(super) fn list(&mut self, key: u64) -> Result<()> {
        let Some(task) = self.making.remove(&key) else { return Ok(()) };
        self.watch.summary.directories = self.watch.summary.directories.saturating_add(1);
        self.watch.directory(&task.remote);
        if self.options.preserve || self.options.permissions {
            let times = task.known.times.filter(|_| self.options.preserve);
            let kept = SFTPAttributes { size: None, owner: None, times, ..task.known.clone() };
            self.finals.push((task.remote.clone(), kept));
        }
        let names = self.open_dir(&task).and_then(|dir| {
            let names: io::Result<Vec<OsString>> =
                dir.entries()?.map(|entry| entry.map(|(name, _)| name)).collect();
            names.map(|names| (dir, names))
        });
        match names {
            Ok((dir, names)) => {
                self.local_dirs.add(&dir);
                names.into_iter().try_for_each(|name| self.add_entry(&dir, &task.remote, name))
            }
            Err(error) => {
                let error = failed(task.name.display().to_string(), error);
                self.watch.failed(&task.remote, error)
            }
        }
    }

    pub(super) fn open_dir(&self, task: &DirTask) -> io::Result<Arc<Dir>> {
        if task.name.is_empty() {
            return Ok(Arc::clone(&task.parent));
        }
        if self.options.links == LinkMode::Follow {
            return task.parent.open_dir_following(&task.name).map(Arc::new);
        }
        task.parent.open_dir(&task.name).map(Arc::new)
    }
}
