//! What else the system does with open files: copies within them, tells their holes and the figures of their
//! file system.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self, SeekFrom};

/// What `statvfs` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileSystem {
    pub(crate) block_size: u64,
    pub(crate) fragment_size: u64,
    pub(crate) blocks: u64,
    pub(crate) blocks_free: u64,
    pub(crate) blocks_available: u64,
    pub(crate) files: u64,
    pub(crate) files_free: u64,
    pub(crate) files_available: u64,
    pub(crate) id: u64,
    pub(crate) read_only: bool,
    pub(crate) no_setuid: bool,
    pub(crate) name_max: u64,
}

/// The figures of the file system that something open is on.
pub(crate) fn file_system(held: impl AsFd) -> io::Result<FileSystem> {
    let found = fs::fstatvfs(held)?;
    Ok(FileSystem {
        block_size: found.f_bsize,
        fragment_size: found.f_frsize,
        blocks: found.f_blocks,
        blocks_free: found.f_bfree,
        blocks_available: found.f_bavail,
        files: found.f_files,
        files_free: found.f_ffree,
        files_available: found.f_favail,
        id: found.f_fsid,
        read_only: found.f_flag.contains(fs::StatVfsMountFlags::RDONLY),
        no_setuid: found.f_flag.contains(fs::StatVfsMountFlags::NOSUID),
        name_max: found.f_namemax,
    })
}

/// Copies within the system, without the bytes coming here; less than `length` at the end of the file, and
/// where the system does not do more at once. `Unsupported` where it does not at all.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn copy(from: &File, at: u64, to: &File, to_at: u64, length: u64) -> io::Result<u64> {
    use rustix::io::Errno;

    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let (mut at, mut to_at) = (at, to_at);
    match fs::copy_file_range(from, Some(&mut at), to, Some(&mut to_at), length) {
        Ok(count) => Ok(u64::try_from(count).unwrap_or_default()),
        // Between file systems, of what is no file, into one that is appended to, in a sandbox.
        Err(Errno::XDEV | Errno::INVAL | Errno::BADF | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn copy(_: &File, _: u64, _: &File, _: u64, _: u64) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The first part of a file at or after `at` that is no hole, from where to where; none when nothing but a
/// hole follows. Moves the file's own position.
pub(crate) fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    use rustix::io::Errno;

    let begin = match fs::seek(file, SeekFrom::Data(at)) {
        Ok(begin) => begin,
        Err(Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(Some((begin, fs::seek(file, SeekFrom::Hole(begin))?)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::sys::file::tests::Directory;

    #[test]
    fn holes_are_told_and_copies_made() {
        let directory = Directory::new();
        let open = |name| {
            File::options().create(true).truncate(false).read(true).write(true).open(directory.file(name))
        };
        let (one, other) = (open("one").unwrap(), open("other").unwrap());
        one.set_len(4 << 20).unwrap();
        one.write_all_at(b"data", 2 << 20).unwrap();
        let (begin, end) = next_data(&one, 0).unwrap().unwrap();
        assert!(begin <= 2 << 20 && end >= (2 << 20) + 4);
        // A file system that knows no holes tells of one part.
        assert!(end == 4 << 20 || next_data(&one, end).unwrap().is_none());
        match copy(&one, 2 << 20, &other, 1, 100) {
            Ok(count) => {
                let mut bytes = [0; 5];
                other.read_exact_at(&mut bytes, 0).unwrap();
                assert!(count >= 4 && &bytes == b"\0data");
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        }
        assert!(file_system(&one).unwrap().name_max >= 14);
    }
}
