//! Files that nobody but their owner can have written: what sshd(8) asks of authorized_keys ("StrictModes"), of
//! the programs that it runs for keys, and of directories that it makes the root.
//!
//! Knows nothing of what is in the files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::file::open_regular;

/// Writable by the group or by everybody.
const OTHERS_WRITE: u32 = 0o022;

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("{}: {why}", path.display()))
}

/// Whether what `metadata` tells of is the user's or root's, and only his to write.
fn check(path: &Path, metadata: &fs::Metadata, uid: u32) -> io::Result<()> {
    if metadata.uid() != 0 && metadata.uid() != uid {
        return Err(refused(path, "it belongs to somebody else"));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        return Err(refused(path, "others may write it"));
    }
    Ok(())
}

/// Opens a regular file that only `uid` and root can have written or put there: so is the file, and every
/// directory above it up to `home`, or to the root where it does not lie below `home`.
pub(crate) fn open_safe(path: &Path, uid: u32, home: Option<&Path>) -> io::Result<File> {
    let (file, metadata) = open_regular(path)?;
    check(path, &metadata, uid)?;
    let real = fs::canonicalize(path)?;
    let home = home.and_then(|home| fs::canonicalize(home).ok());
    for folder in real.ancestors().skip(1) {
        check(folder, &fs::metadata(folder)?, uid)?;
        if home.as_deref() == Some(folder) {
            break;
        }
    }
    Ok(file)
}

/// The directory, if it may become the root of a user: it and all above it are root's, and only root may write
/// them.
pub(crate) fn safe_root(path: &Path) -> io::Result<PathBuf> {
    if !path.is_absolute() {
        return Err(refused(path, "a root begins with /"));
    }
    let parts: Vec<_> = path.ancestors().collect();
    for folder in parts.into_iter().rev() {
        let metadata = fs::metadata(folder)?;
        if !metadata.is_dir() {
            return Err(refused(folder, "it is no directory"));
        }
        check(folder, &metadata, 0)?;
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_and_what_is_above_it() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().join("home");
        let folder = home.join(".ssh");
        let file = folder.join("authorized_keys");
        fs::create_dir_all(&folder).unwrap();
        fs::write(&file, "key").unwrap();
        for path in [&home, &folder] {
            mode(path, 0o755);
        }
        mode(&file, 0o644);
        let uid = fs::metadata(&file).unwrap().uid();
        assert!(open_safe(&file, uid, Some(&home)).is_ok());
        // The folder of temporary files is everybody's.
        assert!(open_safe(&file, uid, None).is_err());
        for path in [&file, &folder, &home] {
            let before = fs::metadata(path).unwrap().mode();
            for bit in [0o020, 0o002] {
                mode(path, before | bit);
                let error = open_safe(&file, uid, Some(&home)).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{}", path.display());
            }
            mode(path, before);
        }
        assert!(open_safe(&folder, uid, Some(&home)).is_err(), "no regular file");
        if uid == 0 {
            std::os::unix::fs::chown(&file, Some(12345), None).unwrap();
            assert!(open_safe(&file, 0, Some(&home)).is_err());
            assert!(open_safe(&file, 12345, Some(&home)).is_ok(), "the folders are root's");
        }
    }

    #[test]
    fn roots() {
        let base = tempfile::tempdir().unwrap();
        assert!(safe_root(Path::new("/")).is_ok());
        assert!(safe_root(Path::new("usr")).is_err());
        assert!(safe_root(Path::new("/etc/passwd")).is_err());
        assert!(safe_root(base.path()).is_err(), "it is below a folder of everybody's");
    }
}
