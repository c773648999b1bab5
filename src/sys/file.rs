//! Files that are read and written with care: regular files only and bounded when read; replaced in
//! one step, and for their owner only from the first instant, when written.
//!
//! Knows nothing of what is in them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::path::Path;

/// What is said of devices, pipes and directories.
const NOT_REGULAR: &str = "not a regular file";

/// Options that neither wait for the other end of a FIFO nor take over a terminal, and that make
/// files with `mode` (less the umask) from the first instant.
#[cfg(unix)]
fn careful(mode: u32) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::fs::OFlags;

    let mut options = OpenOptions::new();
    options.mode(mode).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed());
    options
}

/// Elsewhere a file gets the permissions that its directory hands down.
#[cfg(not(unix))]
fn careful(_: u32) -> OpenOptions {
    OpenOptions::new()
}

/// What a descriptor stands for is asked of the descriptor: the path may mean another file by now.
fn regular(file: File) -> io::Result<(File, Metadata)> {
    let metadata = file.metadata()?;
    if metadata.is_file() {
        Ok((file, metadata))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, NOT_REGULAR))
    }
}

/// Opens a regular file for reading; a FIFO, device or directory is refused without waiting for it.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    regular(careful(0).read(true).open(path)?)
}

/// Opens what somebody has named to be read once: a regular file, or a pipe, whose writer is waited for, as a
/// shell's `<(command)` is one.
#[cfg(unix)]
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::FileTypeExt;

    let file = careful(0).read(true).open(path)?;
    if file.metadata()?.file_type().is_fifo() {
        let flags = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, flags.difference(rustix::fs::OFlags::NONBLOCK))?;
        return Ok(file);
    }
    Ok(regular(file)?.0)
}

/// The same where shells have no such pipes.
#[cfg(not(unix))]
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    Ok(open_regular(path)?.0)
}

/// Opens a regular file for reading and for appending; one that is not there is made with `mode`.
pub(crate) fn open_append(path: &Path, mode: u32) -> io::Result<File> {
    Ok(regular(careful(mode).read(true).append(true).create(true).open(path)?)?.0)
}

/// All of a regular file, or [`io::ErrorKind::FileTooLarge`] for more than `limit` bytes.
pub(crate) fn read_regular(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_bounded(&open_regular(path)?.0, limit)
}

/// All of an open file that was not read yet, or [`io::ErrorKind::FileTooLarge`] for more than `limit` bytes.
pub(crate) fn read_bounded(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {limit} bytes"));
    // A pipe has no size, and a file may grow: it is looked at while reading, too.
    let size = file.metadata()?.len();
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= limit) { Ok(bytes) } else { Err(too_large()) }
}

/// Puts `bytes` in the place of the file in one step: whoever reads it sees all of the old or all
/// of the new one, also after a crash. The new one has `mode` (less the umask) from its first
/// instant. A symbolic link is replaced, not followed; a device, a pipe or a directory is refused: root
/// could put a file in the place of `/dev/null`.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    replace_by(path, bytes, mode, |_| Ok(()))
}

/// As [`replace`]; the new file has the owner, the group and the mode of the `old` one, but is not for
/// others to write to.
pub(crate) fn replace_like(old: &File, path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_by(path, bytes, 0o600, |file| keep_rights(old, file))
}

#[cfg(unix)]
fn keep_rights(old: &File, new: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};

    let (theirs, ours) = (old.metadata()?, new.metadata()?);
    if (theirs.uid(), theirs.gid()) != (ours.uid(), ours.gid()) {
        fchown(new, Some(theirs.uid()), Some(theirs.gid()))?;
    }
    // After its owner: until then nobody else may read it.
    new.set_permissions(fs::Permissions::from_mode(theirs.mode() & 0o755))
}

/// Elsewhere the directory says whose it is.
#[cfg(not(unix))]
fn keep_rights(_: &File, _: &File) -> io::Result<()> {
    Ok(())
}

fn replace_by(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    prepare: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.is_file() && !there.is_symlink() => {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NOT_REGULAR));
        }
        _ => {}
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = name.to_owned();
    // The name need not be secret: a file that is there already, or a link, is refused.
    temporary.push(format!(".{:016x}", RandomState::new().hash_one(std::process::id())));
    let temporary = path.with_file_name(temporary);
    let mut file = careful(mode).write(true).create_new(true).open(&temporary)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| prepare(&file))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The half-written file is nobody's; that it may not be removable changes nothing.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    sync_directory_of(path);
    Ok(())
}

/// Whether a lock failed since the file system has none. NFS without its lock daemon says ENOLCK.
pub(crate) fn has_no_locks(error: &io::Error) -> bool {
    #[cfg(unix)]
    if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::NOLCK) {
        return true;
    }
    error.kind() == io::ErrorKind::Unsupported
}

/// Makes a rename outlast a crash. Some file systems refuse this for directories; then they have
/// rules of their own, and the file is whole either way.
fn sync_directory_of(path: &Path) {
    #[cfg(unix)]
    if let Some(directory) = path.parent() {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Whether `path` still means this open file, and not another or none.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match same_file(file, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other,
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (ours, there) = (file.metadata()?, fs::metadata(path)?);
    Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
}

#[cfg(not(unix))]
fn same_file(file: &File, path: &Path) -> io::Result<bool> {
    Ok(same_file::Handle::from_file(file.try_clone()?)? == same_file::Handle::from_path(path)?)
}

/// Makes a directory, and those above it, that only its owner may enter; one that is there stays
/// as it is.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Writes all of it from `offset` on, whoever else writes elsewhere in the file meanwhile. Where its own position is
/// afterwards is not said.
pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, offset);
    #[cfg(windows)]
    {
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(file, rest, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    at = at.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory that goes away with the test.
    pub(crate) struct Directory(pub(crate) PathBuf);

    impl Directory {
        pub(crate) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let random = RandomState::new().hash_one(number);
            let path = std::env::temp_dir().join(format!("feramiko-{random:016x}"));
            create_private_dir(&path).unwrap();
            Self(path)
        }

        pub(crate) fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn names(directory: &Directory) -> Vec<String> {
        let entries = fs::read_dir(&directory.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[cfg(unix)]
    fn mode(path: &Path) -> u32 {
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
    }

    #[test]
    fn pieces_are_written_at_their_places_by_several_threads() {
        let directory = Directory::new();
        let path = directory.file("pieces");
        let file = File::create(&path).unwrap();
        std::thread::scope(|scope| {
            for first in 0..2_u8 {
                let file = file.try_clone().unwrap();
                scope.spawn(move || {
                    // The last ones first.
                    for number in (first..100).step_by(2).rev() {
                        write_all_at(&file, &[number; 1000], u64::from(number) * 1000).unwrap();
                    }
                });
            }
        });
        let whole: Vec<u8> = (0..100).flat_map(|number| [number; 1000]).collect();
        assert!(fs::read(path).unwrap() == whole);
    }

    #[test]
    fn a_file_is_replaced_whole_and_leaves_no_other() {
        let directory = Directory::new();
        let path = directory.file("hosts");
        for text in ["one\n", "a longer second one\n", ""] {
            replace(&path, text.as_bytes(), 0o600).unwrap();
            assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
        }
        assert_eq!(names(&directory), ["hosts"]);
    }

    #[test]
    fn a_failed_replacement_leaves_nothing_behind() {
        let directory = Directory::new();
        let path = directory.file("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("x"), "x").unwrap();
        assert!(replace(&path, b"text", 0o600).is_err());
        assert!(replace(Path::new("/"), b"text", 0o600).is_err());
        assert_eq!(names(&directory), ["taken"]);
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let directory = Directory::new();
        let path = directory.file("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        assert_eq!(read_regular(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_regular(&directory.file("none"), 4).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn what_is_made_is_for_its_owner_only() {
        let directory = Directory::new();
        let (replaced, appended) = (directory.file("replaced"), directory.file("appended"));
        fs::write(&replaced, "readable by all").unwrap();
        fs::set_permissions(&replaced, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        replace(&replaced, b"x", 0o600).unwrap();
        open_append(&appended, 0o600).unwrap().write_all(b"x").unwrap();
        create_private_dir(&directory.file("deep/er")).unwrap();
        assert_eq!((mode(&replaced), mode(&appended)), (0o600, 0o600));
        assert_eq!((mode(&directory.file("deep")), mode(&directory.file("deep/er"))), (0o700, 0o700));
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_a_device_and_a_directory_are_refused_at_once() {
        let directory = Directory::new();
        let fifo = directory.file("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status();
        let mut paths = vec![Path::new("/dev/zero"), directory.0.as_path()];
        if made.is_ok_and(|status| status.success()) {
            paths.push(&fifo);
        }
        for path in paths {
            assert!(read_regular(path, 10).is_err(), "{}", path.display());
            assert!(open_append(path, 0o600).is_err(), "{}", path.display());
            assert!(replace(path, b"new", 0o600).is_err(), "{}", path.display());
            assert!(!path.is_file(), "{}", path.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_and_its_target_untouched() {
        let directory = Directory::new();
        let (target, link) = (directory.file("target"), directory.file("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        replace(&link, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        assert_eq!(fs::read(&link).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn what_replaces_a_file_has_its_rights() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

        let directory = Directory::new();
        let path = directory.file("file");
        let old = open_append(&path, 0o600).unwrap();
        let ours = old.metadata().unwrap();
        for (before, after) in
            [(0o600, 0o600), (0o644, 0o644), (0o666, 0o644), (0o4775, 0o755), (0o440, 0o440)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
            let given = chown(&path, Some(12345), Some(54321)).is_ok();
            let owner = if given { (12345, 54321) } else { (ours.uid(), ours.gid()) };
            // What chown has taken away from the mode.
            fs::set_permissions(&path, fs::Permissions::from_mode(before)).unwrap();
            replace_like(&File::open(&path).unwrap(), &path, b"new").unwrap();
            let now = fs::metadata(&path).unwrap();
            assert_eq!((now.mode() & 0o7777, (now.uid(), now.gid())), (after, owner), "{before:o}");
        }
        assert_eq!((names(&directory), fs::read(&path).unwrap()), (vec!["file".to_owned()], b"new".to_vec()));
    }

    #[cfg(unix)]
    #[test]
    fn file_systems_without_locks_are_known() {
        use rustix::io::Errno;

        for (error, none) in [
            (Errno::NOLCK, true),
            (Errno::NOTSUP, true),
            (Errno::NOSYS, true),
            (Errno::WOULDBLOCK, false),
            (Errno::BADF, false),
            (Errno::IO, false),
        ] {
            assert_eq!(has_no_locks(&error.into()), none, "{error}");
        }
    }

    #[test]
    fn two_files_are_told_apart() {
        let directory = Directory::new();
        let (one, other) = (directory.file("one"), directory.file("other"));
        let files = [&one, &other].map(|path| open_append(path, 0o600).unwrap());
        assert!(is_at(&files[0], &one).unwrap() && is_at(&files[1], &other).unwrap());
        assert!(!is_at(&files[0], &other).unwrap());
        assert!(!is_at(&files[0], &directory.file("none")).unwrap());
        // Windows knows no difference between what is not there and what cannot be.
        let below = is_at(&files[0], &one.join("below")).ok();
        assert_eq!(below, if cfg!(unix) { None } else { Some(false) });
    }

    #[test]
    fn a_replaced_file_is_seen_to_be_another() {
        let directory = Directory::new();
        let path = directory.file("file");
        let file = open_append(&path, 0o600).unwrap();
        assert!(is_at(&file, &path).unwrap());
        replace(&path, b"new", 0o600).unwrap();
        assert!(!is_at(&file, &path).unwrap());
    }
}
