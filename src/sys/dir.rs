//! Files by their names in a directory that is held open, so that nobody can put another directory, or a
//! link, between the check of a path and its use.
//!
//! Every name is one component. A link that a name stands for is never followed, but where a function says
//! so. Knows nothing of paths that a peer sends: see `root`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags, Timespec, Timestamps};

use super::entry::{FileOptions, Kind, Stat, Time};

/// What holds a directory: where the system can, something that is good for nothing but looking names up,
/// so that a directory which may only be entered can be held too.
#[cfg(any(target_os = "linux", target_os = "android"))]
const HELD: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const HELD: OFlags = OFlags::empty();

/// Files are opened so that neither a FIFO makes us wait nor a terminal becomes ours.
const CAREFUL: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A directory, held open.
#[derive(Debug)]
pub(crate) struct Dir {
    held: OwnedFd,
    /// Whether names may be whole paths, with links followed on the way.
    paths: bool,
}

impl Dir {
    /// Holds the directory that a path stands for; links are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = HELD | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { held: fs::open(path, flags, Mode::empty())?, paths: false })
    }

    /// The same, with those of the directory and above it made that are not there.
    pub(crate) fn create_all(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        Self::open(path)
    }

    /// Holds what is known to be a directory.
    pub(super) fn holding(held: OwnedFd) -> Self {
        Self { held, paths: false }
    }

    /// The same directory for whom the whole file system is open: what it is given may be whole paths,
    /// absolute ones too, whose directories are looked up as everywhere.
    pub(crate) fn with_paths(self) -> Self {
        Self { paths: true, ..self }
    }

    /// Another hold of the same directory.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { held: self.held.try_clone()?, paths: self.paths })
    }

    /// `name`, if it is one component of a path; `.` stands for the directory itself where `root` has
    /// put it.
    fn checked<'a>(&self, name: &'a OsStr) -> io::Result<&'a OsStr> {
        let bytes = name.as_bytes();
        let component = !matches!(bytes, b"" | b"." | b"..") && !bytes.contains(&b'/');
        if (component || self.paths) && !bytes.contains(&0) {
            Ok(name)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))
        }
    }

    /// Holds a directory of this one.
    pub(crate) fn open_dir(&self, name: &OsStr) -> io::Result<Self> {
        let flags = HELD | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self::holding(fs::openat(&self.held, self.checked(name)?, flags, Mode::empty())?))
    }

    /// The same, but a link is followed, wherever it leads.
    pub(crate) fn open_dir_following(&self, name: &OsStr) -> io::Result<Self> {
        let flags = HELD | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::holding(fs::openat(&self.held, self.checked(name)?, flags, Mode::empty())?))
    }

    /// Makes a directory.
    pub(crate) fn create_dir(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(fs::mkdirat(&self.held, self.checked(name)?, bits(mode))?)
    }

    /// Opens a file. It need not be a regular one: who cares asks the file.
    pub(crate) fn open_file(&self, name: &OsStr, options: &FileOptions) -> io::Result<File> {
        let flags = flags_of(options)? | CAREFUL | OFlags::NOFOLLOW;
        Ok(fs::openat(&self.held, self.checked(name)?, flags, bits(options.mode))?.into())
    }

    /// The same, but a link is followed, wherever it leads.
    pub(crate) fn open_following(&self, name: &OsStr, options: &FileOptions) -> io::Result<File> {
        let flags = flags_of(options)? | CAREFUL;
        Ok(fs::openat(&self.held, self.checked(name)?, flags, bits(options.mode))?.into())
    }

    /// The same as any program opens what its user names: a FIFO is waited for.
    pub(crate) fn open_waiting(&self, name: &OsStr, options: &FileOptions) -> io::Result<File> {
        let flags = flags_of(options)? | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(fs::openat(&self.held, self.checked(name)?, flags, bits(options.mode))?.into())
    }

    /// What is known of the directory itself.
    pub(crate) fn stat_itself(&self) -> io::Result<Stat> {
        Ok(known(&fs::fstat(&self.held)?))
    }

    /// What is known of a file.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(known(&fs::statat(&self.held, self.checked(name)?, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    /// What is known of the file that a name stands for when links are followed, wherever they lead.
    pub(crate) fn stat_following(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(known(&fs::statat(&self.held, self.checked(name)?, AtFlags::empty())?))
    }

    /// What a link says.
    pub(crate) fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        let target = fs::readlinkat(&self.held, self.checked(name)?, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    /// Makes a link that says `target`, whatever that is.
    pub(crate) fn symlink(&self, target: &OsStr, name: &OsStr) -> io::Result<()> {
        Ok(fs::symlinkat(target, &self.held, self.checked(name)?)?)
    }

    /// Gives a file another name; of a link, the link itself.
    pub(crate) fn hard_link(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        let (name, new) = (self.checked(name)?, to.checked(new)?);
        Ok(fs::linkat(&self.held, name, &to.held, new, AtFlags::empty())?)
    }

    /// Renames; what has the new name is replaced.
    pub(crate) fn rename(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.held, self.checked(name)?, &to.held, to.checked(new)?)?)
    }

    /// Renames, unless something has the new name.
    pub(crate) fn rename_no_replace(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        let (name, new) = (self.checked(name)?, to.checked(new)?);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::io::Errno;
            let without = fs::RenameFlags::NOREPLACE;
            match fs::renameat_with(&self.held, name, &to.held, new, without) {
                // What old kernels and some file systems say, and what a sandbox may.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {}
                other => return Ok(other?),
            }
        }
        self.rename_by_link(name, to, new)
    }

    /// As OpenSSH does: files get the new name before they lose the old one; what cannot have two, such as
    /// a directory, is renamed if nothing is seen there.
    fn rename_by_link(&self, name: &OsStr, to: &Self, new: &OsStr) -> io::Result<()> {
        let there = self.stat(name)?;
        if there.kind == Kind::File && self.hard_link(name, to, new).is_ok() {
            return self.remove_file(name);
        }
        match to.stat(new) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(name, to, new),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    /// Removes a file, or a link.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.held, self.checked(name)?, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub(crate) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.held, self.checked(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Sets the permissions, with the setuid, setgid and sticky bits, of what is no link.
    pub(crate) fn set_permissions(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        let name = self.checked(name)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            // The system call has no word for "not a link" before Linux 6.6.
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = fs::openat(&self.held, name, flags, Mode::empty())?;
            if known(&fs::fstat(&file)?).kind == Kind::Symlink {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "a link has no permissions"));
            }
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            match fs::chmod(path, bits(mode)) {
                // No /proc, as in a chroot: then it must be opened for real.
                Err(rustix::io::Errno::NOENT) => {
                    let file = fs::openat(&self.held, name, CAREFUL | OFlags::NOFOLLOW, Mode::empty())?;
                    Ok(fs::fchmod(file, bits(mode))?)
                }
                other => Ok(other?),
            }
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        Ok(fs::chmodat(&self.held, name, bits(mode), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The same, but a link is followed, wherever it leads.
    pub(crate) fn set_permissions_following(&self, name: &OsStr, mode: u32) -> io::Result<()> {
        Ok(fs::chmodat(&self.held, self.checked(name)?, bits(mode), AtFlags::empty())?)
    }

    /// Sets when it was last read and written; of a link, of the link, unless `follow`.
    pub(crate) fn set_times(&self, name: &OsStr, times: (Time, Time), follow: bool) -> io::Result<()> {
        Ok(fs::utimensat(&self.held, self.checked(name)?, &stamps(times), following(follow))?)
    }

    /// Sets the user and the group it belongs to; of a link, of the link, unless `follow`.
    pub(crate) fn set_owner(&self, name: &OsStr, owner: (u32, u32), follow: bool) -> io::Result<()> {
        let (user, group) = owners(owner);
        Ok(fs::chownat(&self.held, self.checked(name)?, user, group, following(follow))?)
    }

    /// Something that stands for a file and is good for nothing but being asked about; where the system has
    /// no such thing, the file opened for reading.
    pub(crate) fn hold(&self, name: &OsStr, follow: bool) -> io::Result<OwnedFd> {
        let mut flags = HELD | CAREFUL;
        flags.set(OFlags::NOFOLLOW, !follow);
        Ok(fs::openat(&self.held, self.checked(name)?, flags, Mode::empty())?)
    }

    /// What is in the directory, but `.` and `..`.
    pub(crate) fn entries(&self) -> io::Result<Entries> {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Entries(fs::Dir::new(fs::openat(&self.held, ".", flags, Mode::empty())?)?))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.held.as_fd()
    }
}

/// The names in a directory.
#[derive(Debug)]
pub(crate) struct Entries(fs::Dir);

impl Entries {
    /// What is known of a file in the directory, which is named by one of its entries.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(known(&fs::statat(self.0.fd()?, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }
}

impl Iterator for Entries {
    /// A name, and the kind of file where the system tells it without being asked further.
    type Item = io::Result<(OsString, Option<Kind>)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.0.read()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                return Some(Ok((OsStr::from_bytes(name).to_owned(), kind(entry.file_type()))));
            }
        }
    }
}

/// What is known of an open file.
pub(crate) fn stat_file(file: &File) -> io::Result<Stat> {
    Ok(known(&fs::fstat(file)?))
}

/// Sets the permissions of an open file.
pub(crate) fn set_file_permissions(file: &File, mode: u32) -> io::Result<()> {
    Ok(fs::fchmod(file, bits(mode))?)
}

/// Sets when an open file was last read and written.
pub(crate) fn set_file_times(file: &File, times: (Time, Time)) -> io::Result<()> {
    Ok(fs::futimens(file, &stamps(times))?)
}

/// Sets the user and the group that an open file belongs to.
pub(crate) fn set_file_owner(file: &File, owner: (u32, u32)) -> io::Result<()> {
    let (user, group) = owners(owner);
    Ok(fs::fchown(file, user, group)?)
}

fn flags_of(options: &FileOptions) -> io::Result<OFlags> {
    let mut flags = match (options.read, options.write || options.append) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (true, false) => OFlags::RDONLY,
        (false, false) => return Err(io::Error::new(io::ErrorKind::InvalidInput, "opened for nothing")),
    };
    flags.set(OFlags::APPEND, options.append);
    flags.set(OFlags::CREATE, options.create);
    flags.set(OFlags::TRUNC, options.truncate);
    flags.set(OFlags::EXCL, options.exclusive);
    Ok(flags)
}

fn bits(mode: u32) -> Mode {
    Mode::from_bits_truncate(wide(mode & 0o7777))
}

fn following(follow: bool) -> AtFlags {
    if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW }
}

fn stamps((accessed, modified): (Time, Time)) -> Timestamps {
    let stamp = |time: Time| Timespec { tv_sec: wide(time.seconds), tv_nsec: wide(time.nanoseconds) };
    Timestamps { last_access: stamp(accessed), last_modification: stamp(modified) }
}

/// -1, as chown(2) has it, leaves what there is.
fn owners((user, group): (u32, u32)) -> (Option<fs::Uid>, Option<fs::Gid>) {
    let set = |number: u32| (number != u32::MAX).then_some(number);
    (set(user).map(fs::Uid::from_raw), set(group).map(fs::Gid::from_raw))
}

/// The types of these numbers differ between systems; their values fit.
fn wide<T: Default>(number: impl TryInto<T>) -> T {
    number.try_into().unwrap_or_default()
}

fn kind(found: fs::FileType) -> Option<Kind> {
    Some(match found {
        fs::FileType::RegularFile => Kind::File,
        fs::FileType::Directory => Kind::Directory,
        fs::FileType::Symlink => Kind::Symlink,
        fs::FileType::Unknown => return None,
        _ => Kind::Other,
    })
}

fn known(stat: &fs::Stat) -> Stat {
    Stat {
        kind: kind(fs::FileType::from_raw_mode(stat.st_mode)).unwrap_or(Kind::Other),
        mode: wide(stat.st_mode),
        size: wide(stat.st_size),
        owner: (stat.st_uid, stat.st_gid),
        accessed: Time { seconds: wide(stat.st_atime), nanoseconds: wide(stat.st_atime_nsec) },
        modified: Time { seconds: wide(stat.st_mtime), nanoseconds: wide(stat.st_mtime_nsec) },
        links: wide(stat.st_nlink),
        file: (wide(stat.st_dev), wide(stat.st_ino)),
    }
}

#[cfg(test)]
mod tests;
