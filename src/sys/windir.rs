//! Files by their names in a directory, on Windows: by paths, because std has nothing else there. Names are
//! single components, and links are not followed where std can tell them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata, OpenOptions, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::entry::{FileOptions, Kind, Stat, Time};

/// A directory.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// The directory that a path stands for; links are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        if path.is_dir() { Ok(Self(path)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// The same, with those of the directory and above it made that are not there.
    pub(crate) fn create_all(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// Another hold of the same directory.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.clone()))
    }

    /// The path of `name`, if it is one component; `:` would name a stream of a file, or a drive.
    fn at(&self, name: &OsStr) -> io::Result<PathBuf> {
        let bytes = name.as_encoded_bytes();
        let separates = |byte: &u8| matches!(byte, b'/' | b'\\' | b':' | 0);
        if matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(separates) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
        }
        Ok(self.0.join(name))
    }

    /// The path of what is no link.
    fn no_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let path = self.at(name)?;
        match path.symlink_metadata() {
            Ok(there) if there.is_symlink() => Err(io::Error::other("a link")),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(path),
        }
    }

    /// A directory of this one.
    pub(crate) fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        let path = self.no_link(name)?;
        if path.metadata()?.is_dir() { Ok(Self(path)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// The directory that a name of this one stands for when links are followed, wherever they lead.
    pub(crate) fn open_dir_following(&self, name: &OsStr) -> io::Result<Self> {
        Self::open(&self.at(name)?)
    }

    /// Makes a directory.
    pub(crate) fn create_dir(&self, name: &OsStr, _: u32) -> io::Result<()> {
        fs::create_dir(self.at(name)?)
    }

    /// Opens a file.
    pub(crate) fn open_file(&self, name: &OsStr, options: &FileOptions) -> io::Result<File> {
        by(options).open(self.no_link(name)?)
    }

    /// The same, but a link is followed.
    pub(crate) fn open_waiting(&self, name: &OsStr, options: &FileOptions) -> io::Result<File> {
        by(options).open(self.at(name)?)
    }

    /// The same, but a link is followed.
    pub(crate) fn open_following(&self, name: &OsStr, options: &FileOptions) -> io::Result<File> {
        by(options).open(self.at(name)?)
    }

    /// What is known of the directory itself.
    pub(crate) fn stat_itself(&self) -> io::Result<Stat> {
        Ok(known(&self.0.metadata()?))
    }

    /// What is known of a file.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(known(&self.at(name)?.symlink_metadata()?))
    }

    /// What is known of the file that a name stands for when links are followed.
    pub(crate) fn stat_following(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(known(&self.at(name)?.metadata()?))
    }

    /// What a link says.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        Ok(fs::read_link(self.at(name)?)?.into_os_string())
    }

    /// Makes a link to a file that says `target`.
    pub(crate) fn symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        std::os::windows::fs::symlink_file(target, self.at(name)?)
    }

    /// Gives a file another name.
    pub(crate) fn hard_link(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        fs::hard_link(self.at(name)?, to.at(new)?)
    }

    /// Renames; what has the new name is replaced.
    pub(crate) fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        fs::rename(self.at(name)?, to.at(new)?)
    }

    /// Renames, unless something is seen to have the new name.
    pub(crate) fn rename_no_replace(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        match to.stat(new) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(name, to, new),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Removes a file, or a link.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_file(self.at(name)?)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_dir(self.at(name)?)
    }

    /// Sets what there is of permissions: whether its owner may write it.
    pub(crate) fn set_permissions(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let path = self.no_link(name)?;
        let mut permissions = path.metadata()?.permissions();
        permissions.set_readonly(mode & 0o200 == 0);
        fs::set_permissions(path, permissions)
    }

    /// Sets when it was last read and written.
    pub(crate) fn set_times(&self, name: &OsStr, times: (Time, Time), follow: bool) -> io::Result<()> {
        let path = if follow { self.at(name)? } else { self.no_link(name)? };
        set_file_times(&OpenOptions::new().write(true).open(path)?, times)
    }

    /// There are no numbers of users here.
    pub(crate) fn set_owner(&self, _: &OsStr, _: (u32, u32), _: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What is in the directory.
    pub(crate) fn entries(&self) -> io::Result<Entries> {
        Ok(Entries(fs::read_dir(&self.0)?))
    }
}

/// The names in a directory.
#[derive(Debug)]
pub(crate) struct Entries(ReadDir);

impl Iterator for Entries {
    /// A name, and the kind of file where the system tells it without being asked further.
    type Item = io::Result<(OsString, Option<Kind>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let named = |entry: fs::DirEntry| {
            let kind = entry.file_type().ok().map(|kind| match (kind.is_dir(), kind.is_symlink()) {
                (_, true) => Kind::Symlink,
                (true, _) => Kind::Directory,
                _ => Kind::File,
            });
            (entry.file_name(), kind)
        };
        Some(self.0.next()?.map(named))
    }
}

/// What is known of an open file.
pub(crate) fn stat_file(file: &File) -> io::Result<Stat> {
    Ok(known(&file.metadata()?))
}

/// Sets what there is of permissions of an open file.
pub(crate) fn set_file_permissions(file: &File, mode: u32) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(mode & 0o200 == 0);
    file.set_permissions(permissions)
}

/// Sets when an open file was last read and written.
pub(crate) fn set_file_times(file: &File, (accessed, modified): (Time, Time)) -> io::Result<()> {
    let time = |time: Time| {
        let after = Duration::new(u64::try_from(time.seconds).unwrap_or_default(), time.nanoseconds);
        SystemTime::UNIX_EPOCH.checked_add(after).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    file.set_times(fs::FileTimes::new().set_accessed(time(accessed)).set_modified(time(modified)))
}

/// There are no numbers of users here.
pub(crate) fn set_file_owner(_: &File, _: (u32, u32)) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn known(metadata: &Metadata) -> Stat {
    let (kind, bits) = match (metadata.is_dir(), metadata.is_symlink()) {
        (_, true) => (Kind::Symlink, 0o120_777),
        (true, _) => (Kind::Directory, 0o040_755),
        _ => (Kind::File, 0o100_644),
    };
    let time = |time: io::Result<SystemTime>| {
        let since = time.ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        since.map_or_else(Time::default, |since| Time {
            seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: since.subsec_nanos(),
        })
    };
    Stat {
        kind,
        mode: if metadata.permissions().readonly() { bits & !0o222 } else { bits },
        size: metadata.len(),
        owner: (0, 0),
        accessed: time(metadata.accessed()),
        modified: time(metadata.modified()),
        links: 1,
        file: (0, 0),
    }
}

fn by(options: &FileOptions) -> OpenOptions {
    let mut opened = OpenOptions::new();
    opened
        .read(options.read)
        .write(options.write && !options.append)
        .append(options.append)
        .create(options.create)
        .create_new(options.create && options.exclusive)
        .truncate(options.truncate);
    opened
}
