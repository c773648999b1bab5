//! Trees: directories listed, made here, and given what was theirs when all in them is there.

use std::collections::HashSet;
use std::ffi::OsString;
use std::hash::BuildHasher;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::{Ask, Getting, MAX_WAITING, Named};
use crate::error::{Error, Result};
use crate::sftp::client::{Answer, Asked, Reply, SMALL_ANSWER};
use crate::sftp::packet::message::{Close, Opendir, Readdir, framed};
use crate::sftp::packet::{FileKind, MAX_PACKET, RemoteName, SFTPAttributes, SFTPEntry, SFTPStatus};
use crate::sftp::transfer::LinkMode;
use crate::sftp::transfer::local::{Place, failed, local_name, make_dir, remote_name, restore_dir};
use crate::sys::dir::Dir;

/// READDIRs under way in one directory.
const AHEAD: usize = 2;
/// Directories below each other; OpenSSH's figure.
const MAX_DEPTH: usize = 64;
/// Entries of one directory: a server may list for ever.
const MAX_ENTRIES: usize = 1_000_000;
/// Answers without any entry, of one directory: they bring nothing on.
const MAX_EMPTY: u64 = 100_000;
/// The longest name of a file, beyond what any file system here takes.
const MAX_NAME: usize = 1024;
/// Bytes that the paths of waiting directories take.
const MAX_WAITING_BYTES: usize = 24 * 1024 * 1024;

/// A directory to be listed.
pub(super) struct DirTask {
    pub(super) remote: Arc<RemoteName>,
    pub(super) parent: Arc<Dir>,
    pub(super) name: OsString,
    /// Of the one that is made here.
    pub(super) mode: u32,
    pub(super) depth: usize,
    /// Its place among `finals`, if it has one.
    pub(super) last: Option<usize>,
}

/// A directory that is being listed.
pub(super) struct Listed {
    pub(super) task: DirTask,
    pub(super) dir: Arc<Dir>,
    pub(super) handle: Vec<u8>,
    pub(super) asked: usize,
    pub(super) names: HashSet<u64>,
    /// Answers that had nothing in them.
    pub(super) empty: u64,
    pub(super) ended: bool,
}

/// What is set of a directory when all in it is there. It is found by its names then: none is held open
/// until the end.
pub(super) struct Final {
    /// The place of the one it is in; none in the tree's first.
    pub(super) parent: Option<usize>,
    pub(super) name: OsString,
    pub(super) attributes: SFTPAttributes,
}

/// The tree's first directory.
pub(super) struct Root {
    pub(super) remote: Arc<RemoteName>,
    pub(super) dir: Arc<Dir>,
    /// Where it is and what is set of it at the end, if anything is.
    pub(super) last: Option<(Dir, OsString, SFTPAttributes)>,
}

/// The directory that an entry is in.
struct Below {
    remote: Arc<RemoteName>,
    depth: usize,
    last: Option<usize>,
}

impl Below {
    fn of(task: &DirTask) -> Self {
        Self { remote: Arc::clone(&task.remote), depth: task.depth, last: task.last }
    }
}

impl Getting<'_, '_> {
    /// The tree's first directory: the user's own name, whose links are followed.
    pub(super) fn add_root(&mut self, remote: RemoteName, known: SFTPAttributes, local: &Path) -> Result<()> {
        let fail = |error| failed(local.display().to_string(), error);
        let dir = Dir::create_all(local).map_err(fail)?;
        // Without links in it, so that it has a name in a directory; the root of all has none.
        let whole = local.canonicalize().map_err(fail)?;
        let last = match (self.options.preserve, whole.parent(), whole.file_name()) {
            (true, Some(parent), Some(name)) => {
                Some((Dir::open(parent).map_err(fail)?, name.to_owned(), known))
            }
            _ => None,
        };
        let (remote, dir) = (Arc::new(remote), Arc::new(dir));
        self.root = Some(Root { remote: Arc::clone(&remote), dir: Arc::clone(&dir), last });
        self.list(DirTask { remote, parent: dir, name: OsString::new(), mode: 0, depth: 0, last: None })
    }

    /// What a listing says of one name.
    fn add_entry(&mut self, of: u64, entry: SFTPEntry) -> Result<()> {
        let Some(listed) = self.listed.get_mut(&of) else { return Ok(()) };
        let again = !listed.names.insert(self.hasher.hash_one(&entry.name));
        if listed.names.len() > MAX_ENTRIES {
            return Err(Error::Limit { which: "entries of one directory", limit: MAX_ENTRIES as u64 });
        }
        let bytes = entry.name.as_bytes();
        if bytes.len() > MAX_NAME {
            let text = format!("the directory has an entry with a name of {} bytes", bytes.len());
            let remote = listed.task.remote.as_ref().clone();
            return self.watch.failed(&remote, Error::protocol(text));
        }
        let remote = listed.task.remote.join(&entry.name);
        if again || bytes.is_empty() || bytes.contains(&b'/') || bytes.contains(&0) {
            let what = if again { "twice" } else { "which is no name of a file" };
            let error = Error::protocol(format!("the directory has an entry {}, {what}", entry.name));
            return self.watch.failed(&remote, error);
        }
        let (dir, below) = (Arc::clone(&listed.dir), Below::of(&listed.task));
        let outcome = local_name(&entry.name).and_then(|name| {
            let place = Place { dir, name, follow: false };
            self.add(remote.clone(), place, entry.attributes, below)
        });
        outcome.or_else(|error| self.watch.failed(&remote, error))
    }

    fn add(
        &mut self,
        remote: RemoteName,
        place: Place,
        mut known: SFTPAttributes,
        below: Below,
    ) -> Result<()> {
        if known.kind().is_none() {
            known = self.client().lstat(&remote)?;
        }
        if known.is_symlink() {
            match self.options.links {
                LinkMode::Keep => return self.make_link(&remote, &place),
                LinkMode::Follow => known = self.client().stat(&remote)?,
                LinkMode::Skip => {}
            }
        }
        match known.kind() {
            Some(FileKind::File) | None => self.add_file(&remote, Named::In(below.remote), place, known),
            Some(FileKind::Directory) if below.depth >= MAX_DEPTH => {
                Err(Error::Limit { which: "directories below each other", limit: MAX_DEPTH as u64 })
            }
            Some(FileKind::Directory) => {
                let (mode, attributes) = self.options.of_directory(known);
                let last = attributes.is_some().then_some(self.finals.len());
                if let Some(attributes) = attributes {
                    self.finals.push(Final { parent: below.last, name: place.name.clone(), attributes });
                }
                self.dirs_bytes = self.dirs_bytes.saturating_add(remote.as_bytes().len()).saturating_add(128);
                if self.dirs_bytes > MAX_WAITING_BYTES {
                    let limit = MAX_WAITING_BYTES as u64;
                    return Err(Error::Limit { which: "bytes of the paths of directories to come", limit });
                }
                let (remote, depth) = (Arc::new(remote), below.depth.saturating_add(1));
                let Place { dir: parent, name, .. } = place;
                self.dirs.push(DirTask { remote, parent, name, mode, depth, last });
                Ok(())
            }
            Some(_) => {
                self.watch.summary.skipped = self.watch.summary.skipped.saturating_add(1);
                Ok(())
            }
        }
    }

    /// A link that is there already and says the same stays.
    fn make_link(&mut self, remote: &RemoteName, place: &Place) -> Result<()> {
        let target = local_name(&self.client().readlink(remote)?)?;
        match place.dir.symlink(&target, &place.name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if place.dir.read_link(&place.name).ok().as_ref() != Some(&target) {
                    return Err(place.error(error));
                }
            }
            outcome => outcome.map_err(|error| place.error(error))?,
        }
        self.watch.summary.links = self.watch.summary.links.saturating_add(1);
        Ok(())
    }

    /// The innermost first: what is set of a directory is changed by what is done in it.
    pub(super) fn restore_dirs(&mut self) -> Result<()> {
        let Some(Root { remote, dir: first, last }) = self.root.take() else { return Ok(()) };
        // Mostly the next one is in the same.
        let mut open: (Option<usize>, Arc<Dir>) = (None, Arc::clone(&first));
        while let Some(Final { parent, name, attributes }) = self.finals.pop() {
            let mut names: Vec<OsString> = Vec::new();
            let mut above = parent;
            while let Some(Final { parent, name, .. }) = above.and_then(|at| self.finals.get(at)) {
                names.push(name.clone());
                above = *parent;
            }
            names.reverse();
            if open.0 != parent {
                open = (None, Arc::clone(&first));
            }
            let set =
                open_below(&mut open, parent, &names).and_then(|dir| restore_dir(dir, &name, &attributes));
            if let Err(error) = set {
                let mut path = remote.as_ref().clone();
                for name in names.iter().chain([&name]) {
                    path = path.join(remote_name(name)?);
                }
                self.watch.failed(&path, failed(name.display().to_string(), error))?;
            }
        }
        match last {
            Some((parent, name, attributes)) => restore_dir(&parent, &name, &attributes)
                .map_err(|error| failed(name.display().to_string(), error)),
            None => Ok(()),
        }
    }

    /// Makes the local directory and opens the server's.
    pub(super) fn list(&mut self, task: DirTask) -> Result<()> {
        let dir = match task.depth {
            0 => Arc::clone(&task.parent),
            _ => Arc::new(
                make_dir(&task.parent, &task.name, task.mode)
                    .map_err(|error| failed(task.name.display().to_string(), error))?,
            ),
        };
        self.local_dirs.add(&dir);
        let packet = framed(&Opendir { id: 0, path: task.remote.as_bytes() });
        let key = self.key();
        let (handle, names) = (Vec::new(), HashSet::new());
        self.listed.insert(key, Listed { task, dir, handle, asked: 0, names, empty: 0, ended: false });
        self.ask(Ask::Opendir(key), packet, SMALL_ANSWER)
    }

    pub(super) fn dir_opened(&mut self, key: u64, reply: Reply) -> Result<()> {
        let Some(listed) = self.listed.get_mut(&key) else { return Ok(()) };
        let asked = Asked { operation: "opendir", path: listed.task.remote.as_bytes() };
        match self.flight.client.read_answer(reply, asked) {
            Ok(Answer::Handle(handle)) => {
                listed.handle = handle;
                self.watch.directory(&listed.task.remote);
                self.watch.summary.directories = self.watch.summary.directories.saturating_add(1);
                Ok(())
            }
            Ok(other) => Err(self.flight.client.wrong(&other, asked)),
            Err(error) => {
                let remote = listed.task.remote.as_ref().clone();
                self.listed.remove(&key);
                self.watch.failed(&remote, error)
            }
        }
    }

    pub(super) fn read_dirs(&mut self) -> Result<()> {
        for (key, listed) in &mut self.listed {
            let may = !listed.ended && !listed.handle.is_empty() && self.files.len() < MAX_WAITING;
            while may && listed.asked < AHEAD {
                listed.asked = listed.asked.saturating_add(1);
                let packet = framed(&Readdir { id: 0, handle: &listed.handle });
                self.flight.ask(Ask::Readdir(*key), packet, MAX_PACKET, &mut || self.watch.go_on())?;
            }
        }
        Ok(())
    }

    pub(super) fn dir_read(&mut self, key: u64, reply: Reply) -> Result<()> {
        let Some(listed) = self.listed.get_mut(&key) else { return Ok(()) };
        listed.asked = listed.asked.saturating_sub(1);
        let asked = Asked { operation: "readdir", path: listed.task.remote.as_bytes() };
        match self.flight.client.read_answer(reply, asked) {
            Ok(Answer::Names(names)) => {
                let named = |entry: &SFTPEntry| entry.name != "." && entry.name != "..";
                let mut entries = names.into_iter().filter(named).peekable();
                if entries.peek().is_none() {
                    listed.empty = listed.empty.saturating_add(1);
                    if listed.empty > MAX_EMPTY {
                        let which = "answers of a directory without an entry";
                        return Err(Error::Limit { which, limit: MAX_EMPTY });
                    }
                }
                entries.try_for_each(|entry| self.add_entry(key, entry))
            }
            Ok(other) => Err(self.flight.client.wrong(&other, asked)),
            Err(Error::Sftp(error)) if error.status == SFTPStatus::EOF => self.dir_ended(key),
            Err(error) => {
                let remote = listed.task.remote.as_ref().clone();
                self.watch.failed(&remote, error)?;
                self.dir_ended(key)
            }
        }
    }

    fn dir_ended(&mut self, key: u64) -> Result<()> {
        let Some(listed) = self.listed.get_mut(&key) else { return Ok(()) };
        listed.ended = true;
        if listed.asked > 0 {
            return Ok(());
        }
        let packet = framed(&Close { id: 0, handle: &listed.handle });
        self.ask(Ask::Close, packet, SMALL_ANSWER)?;
        self.listed.remove(&key);
        Ok(())
    }
}

/// The directory that `names` lead to from the one that is open, which is kept under its number.
fn open_below<'a>(
    open: &'a mut (Option<usize>, Arc<Dir>),
    number: Option<usize>,
    names: &[OsString],
) -> io::Result<&'a Dir> {
    if open.0 != number {
        let mut dir = Arc::clone(&open.1);
        for name in names {
            dir = Arc::new(dir.open_dir(name)?);
        }
        *open = (number, dir);
    }
    Ok(&open.1)
}
