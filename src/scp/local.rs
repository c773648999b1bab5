//! The files of this machine that a copy reads and writes: in directories held open, by single components.
//!
//! Whether links are followed is decided once for a place: the user's own paths are, what the other side
//! names is not. Knows nothing of the protocol.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::sink::Target;
use crate::sys::dir::{Dir, stat_file};
use crate::sys::entry::{FileOptions, Kind, Stat};

/// A directory and how names in it are taken.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: Dir,
    pub(super) follow: bool,
    /// The directory as messages name it.
    pub(super) shown: Vec<u8>,
}

/// A name as the system has it.
#[cfg(unix)]
pub(super) fn to_os(name: &[u8]) -> io::Result<OsString> {
    use std::os::unix::ffi::OsStrExt;
    Ok(OsStr::from_bytes(name).to_owned())
}

/// A name as the system has it: UTF-8, without what means something in a path.
#[cfg(not(unix))]
pub(super) fn to_os(name: &[u8]) -> io::Result<OsString> {
    let text = std::str::from_utf8(name).ok().filter(|text| !text.contains(['\\', ':']));
    text.map(OsString::from).ok_or_else(|| io::ErrorKind::InvalidFilename.into())
}

/// A name as the other side gets it.
pub(super) fn to_bytes(name: &OsStr) -> Vec<u8> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        name.as_bytes().to_vec()
    }
    #[cfg(not(unix))]
    name.to_string_lossy().replace('\\', "/").into_bytes()
}

pub(super) fn text(kind: io::ErrorKind, text: &'static str) -> io::Error {
    io::Error::new(kind, text)
}

impl Place {
    pub(super) fn path_of(&self, name: &OsStr) -> Vec<u8> {
        let name = to_bytes(name);
        match self.shown.as_slice() {
            b"" => name,
            shown if shown.ends_with(b"/") => [shown, &name].concat(),
            shown => [shown, b"/", &name].concat(),
        }
    }

    pub(super) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        if self.follow { self.dir.stat_following(name) } else { self.dir.stat(name) }
    }

    /// A directory in this one.
    pub(super) fn enter(&self, name: &OsStr) -> io::Result<Self> {
        let dir = if self.follow { self.dir.open_dir_following(name) } else { self.dir.open_dir(name) };
        Ok(Self { dir: dir?, follow: self.follow, shown: self.path_of(name) })
    }

    fn open(&self, name: &OsStr, options: &FileOptions) -> io::Result<(File, Stat)> {
        let file = if self.follow {
            self.dir.open_following(name, options)
        } else {
            self.dir.open_file(name, options)
        }?;
        let stat = stat_file(&file)?;
        Ok((file, stat))
    }

    /// Opens a regular file for reading.
    pub(super) fn open_source(&self, name: &OsStr) -> io::Result<(File, Stat)> {
        let (file, stat) = self.open(name, &FileOptions::reading())?;
        match stat.kind {
            Kind::File => Ok((file, stat)),
            _ => Err(text(io::ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    /// Opens a file for writing, what it holds left; whether it was made. Where links are followed, so that
    /// the user named it, it may be a device.
    pub(super) fn open_target(&self, name: &OsStr, mode: u32) -> io::Result<(File, Stat, bool)> {
        match self.open(name, &FileOptions::making(mode)) {
            Ok((file, stat)) => return Ok((file, stat, true)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        if !self.follow {
            // Before it is opened: a device may act upon that.
            regular(&self.dir.stat(name)?)?;
        }
        let options = FileOptions { write: true, ..FileOptions::default() };
        if !self.follow {
            let (file, stat) = self.open(name, &options)?;
            regular(&stat)?;
            return Ok((file, stat, false));
        }
        let (file, made) = match self.dir.open_waiting(name, &options) {
            // A link of the user's that leads where nothing is yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let options = FileOptions { create: true, mode, ..options };
                (self.dir.open_waiting(name, &options)?, true)
            }
            other => (other?, false),
        };
        let stat = stat_file(&file)?;
        Ok((file, stat, made))
    }
}

fn regular(stat: &Stat) -> io::Result<()> {
    match stat.kind {
        Kind::File => Ok(()),
        Kind::Directory => Err(text(io::ErrorKind::IsADirectory, "Is a directory")),
        Kind::Symlink => Err(text(io::ErrorKind::InvalidInput, "is a symbolic link, which is not followed")),
        Kind::Other => Err(text(io::ErrorKind::InvalidInput, "not a regular file")),
    }
}

/// Where a path leads: the directory that holds it, and its last component. None for what has none, such
/// as `/` and `..`.
pub(super) fn above(path: &Path) -> io::Result<Option<(Place, OsString)>> {
    let Some(name) = path.file_name().filter(|_| !ends_in_dot(path)) else { return Ok(None) };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = Dir::open(parent.unwrap_or_else(|| Path::new(".")))?;
    let shown = parent.map(|parent| to_bytes(parent.as_os_str())).unwrap_or_default();
    Ok(Some((Place { dir, follow: true, shown }, name.to_owned())))
}

/// `file_name` overlooks a dot at the end.
fn ends_in_dot(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at.saturating_add(1));
    matches!(bytes.get(..end).unwrap_or_default(), b"." | [.., b'/', b'.'])
}

/// The directory that a path stands for.
pub(super) fn directory(path: &Path) -> io::Result<Place> {
    Ok(Place { dir: Dir::open(path)?, follow: false, shown: to_bytes(path.as_os_str()) })
}

/// Where what comes for a path of the user's goes.
pub(super) fn target(path: &Path, directory: bool) -> io::Result<Target<'static>> {
    let named = path.as_os_str().as_encoded_bytes();
    match path.metadata() {
        Ok(found) if found.is_dir() => return self::directory(path).map(Target::Into),
        Ok(_) if directory || named.ends_with(b"/") => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if directory || error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (place, name) = above(path)?.ok_or(io::ErrorKind::NotFound)?;
    Ok(Target::As(place, name))
}

/// Where a path of the user's leads; one such as `.` has the name of the directory that it is.
pub(super) fn source(path: &Path) -> io::Result<(Place, OsString)> {
    if let Some(found) = above(path)? {
        return Ok(found);
    }
    let nameless = || text(io::ErrorKind::InvalidInput, "the directory has no name");
    above(&path.canonicalize()?)?.ok_or_else(nameless)
}

/// The path whose bytes the other side has sent or the user has given.
pub(super) fn to_path(bytes: &[u8]) -> io::Result<PathBuf> {
    #[cfg(unix)]
    return to_os(bytes).map(PathBuf::from);
    #[cfg(not(unix))]
    std::str::from_utf8(bytes).map(PathBuf::from).map_err(|_| io::ErrorKind::InvalidFilename.into())
}
