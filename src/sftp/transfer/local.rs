//! The local side of a file that is got: where it goes, in order and without holes, so that what is there
//! after a failure can be gone on with; or, for stripes, in any order.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Weak};

use super::Options;
use crate::error::{Error, Result};
use crate::sftp::packet::{RemoteName, SFTPAttributes, SFTPTime};
use crate::sys::dir::Dir;
use crate::sys::entry::{FileOptions, Kind, Stat, Time};
use crate::sys::file::write_all_at;

/// Downloads are for whom the umask says.
const MODE: u32 = 0o666;
/// What zeros are looked for in: a page of most file systems.
const PAGE: usize = 4096;
/// The bits of an offset that tell its place in one.
const IN_A_PAGE: u64 = PAGE as u64 - 1;

/// What follows the name of a file that is not whole yet: WinSCP's word for it, as `.part` is that of
/// programs whose files one may well have in a tree beside the whole ones.
const PART: &str = ".filepart";
/// The same for one that is moved over several sessions, whose end may have holes: nobody else goes on with it.
const STRIPED_PART: &str = ".fileparts";

/// What follows the name of a file that is not whole yet.
pub(super) fn part(striped: bool) -> &'static str {
    if striped { STRIPED_PART } else { PART }
}

/// Directories that are open here at once, if more would not be needed to go on.
const MAX_DIRS: usize = 128;

/// The directories that are held open by what is to be done in them.
#[derive(Debug, Default)]
pub(super) struct HeldDirs(Vec<Weak<Dir>>);

impl HeldDirs {
    pub(super) fn add(&mut self, dir: &Arc<Dir>) {
        self.0.push(Arc::downgrade(dir));
    }

    pub(super) fn has_room(&mut self) -> bool {
        if self.0.len() >= MAX_DIRS {
            self.0.retain(|dir| dir.strong_count() > 0);
        }
        self.0.len() < MAX_DIRS
    }
}

/// Where a file goes.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) dir: Arc<Dir>,
    pub(super) name: OsString,
    /// Whether a link that is there is followed: the user's own name, never the server's.
    pub(super) follow: bool,
}

/// A name of the server's as one of this system's.
pub(super) fn local_name(name: &RemoteName) -> Result<OsString> {
    #[cfg(unix)]
    let named = Some(std::os::unix::ffi::OsStrExt::from_bytes(name.as_bytes()));
    #[cfg(not(unix))]
    let named = name.to_str().map(OsStr::new);
    let named: Option<&OsStr> = named;
    named.map(OsStr::to_owned).ok_or_else(|| failed(name.to_string(), io::ErrorKind::InvalidFilename.into()))
}

/// A local name as the server's.
pub(super) fn remote_name(name: &OsStr) -> Result<RemoteName> {
    #[cfg(unix)]
    let named = Some(std::os::unix::ffi::OsStrExt::as_bytes(name).to_vec());
    #[cfg(not(unix))]
    let named = name.to_str().map(|name| name.as_bytes().to_vec());
    let named: Option<Vec<u8>> = named;
    named
        .map(RemoteName::from)
        .ok_or_else(|| failed(name.to_string_lossy(), io::ErrorKind::InvalidFilename.into()))
}

/// An error of this side.
pub(super) fn failed(what: impl Into<String>, error: io::Error) -> Error {
    Error::io(what, error)
}

impl Place {
    /// The place that a path of the user's stands for.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let name = path
            .file_name()
            .ok_or_else(|| failed(path.display().to_string(), io::ErrorKind::IsADirectory.into()))?;
        let parent =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let dir = Dir::open(parent).map_err(|error| failed(parent.display().to_string(), error))?;
        Ok(Self { dir: Arc::new(dir), name: name.to_owned(), follow: true })
    }

    /// Where a file is while it is not whole, if nobody shall see that.
    pub(super) fn part(&self, striped: bool) -> Self {
        let mut name = self.name.clone();
        name.push(part(striped));
        Self { name, ..self.clone() }
    }

    /// What is there, if anything is.
    pub(super) fn stat(&self) -> Result<Option<Stat>> {
        let found = if self.follow { self.dir.stat_following(&self.name) } else { self.dir.stat(&self.name) };
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error(error)),
        }
    }

    pub(super) fn error(&self, error: io::Error) -> Error {
        failed(self.name.display().to_string(), error)
    }

    /// Opens for reading what is there already.
    pub(super) fn open(&self) -> Result<File> {
        self.open_by(&self.name, &FileOptions::reading())
    }

    fn open_by(&self, name: &OsStr, options: &FileOptions) -> Result<File> {
        let opened = if self.follow {
            self.dir.open_waiting(name, options)
        } else {
            self.dir.open_file(name, options)
        };
        opened.map_err(|error| self.error(error))
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Target {
    place: Place,
    /// The name while it is not whole.
    temporary: Option<OsString>,
    file: File,
    /// Everything before this is written.
    written: u64,
    /// Zeros at the end that stand for themselves as a hole.
    hole: bool,
    sparse: bool,
}

impl Target {
    /// Makes the file, or goes on with it from `begin`.
    pub(super) fn make(place: &Place, begin: u64, options: &Options, known: &SFTPAttributes) -> Result<Self> {
        // What is being written can be written, whatever its permissions.
        let mode = known.mode.filter(|_| options.permissions).map_or(MODE, |mode| mode & 0o777 | 0o200);
        let (atomic, sparse) = (options.atomic, options.sparse);
        let temporary = atomic.then(|| place.part(options.is_striped(known.size)).name);
        let name = temporary.as_ref().unwrap_or(&place.name);
        let options =
            FileOptions { write: true, create: true, truncate: begin == 0, mode, ..FileOptions::default() };
        let mut file = place.open_by(name, &options)?;
        if begin > 0 {
            file.seek(SeekFrom::Start(begin)).map_err(|error| place.error(error))?;
        }
        let sparse = sparse && file.metadata().is_ok_and(|found| found.is_file());
        Ok(Self { place: place.clone(), temporary, file, written: begin, hole: false, sparse })
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let outcome = if self.sparse { self.write_sparse(bytes) } else { self.file.write_all(bytes) };
        outcome.map_err(|error| self.place.error(error))?;
        self.written = self.written.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn write_sparse(&mut self, bytes: &[u8]) -> io::Result<()> {
        for page in pages(bytes, self.written) {
            self.hole = is_hole(page);
            if self.hole {
                self.file.seek(SeekFrom::Current(page.len() as i64))?;
            } else {
                self.file.write_all(page)?;
            }
        }
        Ok(())
    }

    /// The same file for parts that come in any order.
    pub(super) fn pieces(&self) -> Result<Pieces> {
        let file = self.file.try_clone().and_then(|file| {
            if self.sparse {
                // What lies there from an attempt before would show through the holes.
                file.set_len(self.written)?;
            }
            Ok(file)
        });
        let file = file.map_err(|error| self.place.error(error))?;
        Ok(Pieces { file, place: self.place.clone(), sparse: self.sparse })
    }

    /// Everything before `at` is there, and what follows is appended.
    pub(super) fn go_on(&mut self, at: u64) -> Result<()> {
        let there = self.file.set_len(at).and_then(|()| self.file.seek(SeekFrom::Start(at)));
        self.written = there.map_err(|error| self.place.error(error))?;
        Ok(())
    }

    /// The file is whole.
    pub(super) fn finish(mut self, preserve: Option<&SFTPAttributes>) -> Result<()> {
        self.settle().map_err(|error| self.place.error(error))?;
        if let Some(attributes) = preserve {
            restore_file(&self.file, attributes).map_err(|error| self.place.error(error))?;
        }
        if let Some(temporary) = &self.temporary {
            let Place { dir, name, .. } = &self.place;
            // Whole on the disk before it has the name.
            let renamed = self.file.sync_all().and_then(|()| dir.rename(temporary, dir, name));
            renamed.map_err(|error| self.place.error(error))?;
        }
        Ok(())
    }

    /// The file has its size, also where it ends with a hole.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        if self.hole { self.file.set_len(self.written) } else { Ok(()) }
    }

    /// The file will not be whole.
    pub(super) fn give_up(mut self, remove: bool) {
        // What can be done for a part that is left, is; the transfer's own error is the one to tell.
        let _ = self.settle();
        let name = self.temporary.as_ref().unwrap_or(&self.place.name);
        let regular = self.file.metadata().is_ok_and(|found| found.is_file());
        if remove && regular {
            let _ = self.place.dir.remove_file(name);
        }
    }
}

/// Bytes of a file by its pages: the first and the last may be parts of one.
fn pages(bytes: &[u8], offset: u64) -> impl Iterator<Item = &[u8]> {
    let within = usize::try_from(offset & IN_A_PAGE).unwrap_or_default();
    let (first, rest) = bytes.split_at(bytes.len().min(PAGE.saturating_sub(within)));
    std::iter::once(first).chain(rest.chunks(PAGE)).filter(|page| !page.is_empty())
}

fn is_hole(page: &[u8]) -> bool {
    page.iter().all(|byte| *byte == 0)
}

/// A file whose parts are written in any order, by several threads.
#[derive(Debug)]
pub(super) struct Pieces {
    file: File,
    place: Place,
    sparse: bool,
}

impl Pieces {
    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        if !self.sparse {
            return write_all_at(&self.file, bytes, offset).map_err(|error| self.place.error(error));
        }
        let mut at = offset;
        for page in pages(bytes, offset) {
            if !is_hole(page) {
                write_all_at(&self.file, page, at).map_err(|error| self.place.error(error))?;
            }
            at = at.saturating_add(page.len() as u64);
        }
        Ok(())
    }
}

/// A time of the server's as one of this system's.
pub(super) fn time(time: SFTPTime) -> Time {
    Time { seconds: time.seconds, nanoseconds: time.nanoseconds }
}

/// Permissions without what would let others become the user, and times.
fn restore_file(file: &File, attributes: &SFTPAttributes) -> io::Result<()> {
    if let Some(mode) = attributes.mode {
        crate::sys::dir::set_file_permissions(file, mode & 0o777)?;
    }
    if let Some((accessed, modified)) = attributes.times {
        crate::sys::dir::set_file_times(file, (time(accessed), time(modified)))?;
    }
    Ok(())
}

/// The same for a directory, when all that is in it is there.
pub(super) fn restore_dir(dir: &Dir, name: &OsStr, attributes: &SFTPAttributes) -> io::Result<()> {
    if let Some(mode) = attributes.mode {
        dir.set_permissions(name, mode & 0o777)?;
    }
    if let Some((accessed, modified)) = attributes.times {
        dir.set_times(name, (time(accessed), time(modified)), false)?;
    }
    Ok(())
}

/// What a local file says of itself, as the server is told.
pub(super) fn attributes(stat: &Stat) -> SFTPAttributes {
    let told = |time: Time| SFTPTime { seconds: time.seconds, nanoseconds: time.nanoseconds };
    SFTPAttributes::new()
        .with_size(stat.size)
        .with_mode(stat.mode & 0o777)
        .with_times(told(stat.accessed), told(stat.modified))
}

/// Whether a directory is there, or can be made.
pub(super) fn make_dir(dir: &Dir, name: &OsStr, mode: u32) -> io::Result<Dir> {
    match dir.create_dir(name, mode) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if dir.stat(name)?.kind != Kind::Directory {
                return Err(io::Error::new(
                    io::ErrorKind::NotADirectory,
                    "something that is no directory is in the way",
                ));
            }
        }
        Err(error) => return Err(error),
    }
    dir.open_dir(name)
}
