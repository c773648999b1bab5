//! A folder of one's own among those that all users share, and the host's name.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder in the one for temporary files that its owner alone may enter; removed with all it holds when
/// this is dropped.
#[derive(Debug)]
pub(crate) struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Makes it; `random` makes its name one that nobody else has taken.
    pub(crate) fn new(random: [u8; 8]) -> io::Result<Self> {
        let name = format!("ssh-{:016x}", u64::from_be_bytes(random));
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a new file that its owner alone may read.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.file(name);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut file, bytes)?;
        Ok(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves it to somebody else to be removed.
    pub(crate) fn leave(&mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

/// Removes a folder with all that it holds; of a link, the link.
pub(crate) fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path) {
        log::debug!(target: "feramiko::sys", "{}: {error}", path.display());
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            remove(&self.0);
        }
    }
}

/// The name that this host has for itself, as entries of Xauthority files hold it.
pub(crate) fn host_name() -> Vec<u8> {
    rustix::system::uname().nodename().to_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_folder_is_its_owners_and_goes() {
        let name = u64::from(std::process::id()).to_be_bytes();
        let folder = PrivateFolder::new(name).unwrap();
        let file = folder.write("file", b"text").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&file)), (0o700, 0o600));
        // Somebody else's is left alone.
        assert_eq!(PrivateFolder::new(name).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(folder.write("file", b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
        let mut folder = PrivateFolder::new(name).unwrap();
        let left = folder.leave();
        drop(folder);
        assert!(left.exists());
        remove(&left);
        assert!(!path.exists());
    }
}
