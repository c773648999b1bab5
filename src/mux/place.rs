//! The path of a control socket: it appears when it listens, for its owner alone, and goes with the master.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::crypto::rand;
use crate::sys::socket::{connect_unix, listen_unix};

/// Time for a master to have us in its queue, when it is asked whether it lives.
const LIVES: Duration = Duration::from_secs(5);

/// A path that leads to our socket.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    found: (u64, u64),
    /// Once removed the number of our socket may be another's.
    removed: AtomicBool,
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Place {
    /// Listens at `path`. The socket is bound elsewhere and then linked there, so that nobody finds one that
    /// does not listen yet. One that is there already stays, unless nobody listens on it any more.
    pub(super) fn listen(path: &Path) -> io::Result<(UnixListener, Self)> {
        let random: [u8; 8] = rand::array().map_err(io::Error::other)?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", random.map(|byte| format!("{byte:02x}")).concat()));
        let bound = PathBuf::from(name);
        let listener = listen_unix(&bound)?;
        let placed = fs::symlink_metadata(&bound).and_then(|metadata| {
            link(&bound, path)?;
            Ok(Self { path: path.to_owned(), found: identity(&metadata), removed: AtomicBool::new(false) })
        });
        // It has its name, or is of no use.
        let unbound = fs::remove_file(&bound);
        let place = placed?;
        unbound?;
        Ok((listener, place))
    }

    /// No path at all.
    #[cfg(any(test, fuzzing))]
    pub(super) fn nowhere() -> Self {
        Self { path: PathBuf::new(), found: (0, 0), removed: AtomicBool::new(true) }
    }

    /// Whether nobody is to find us any more.
    pub(super) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }

    /// Removes the path, unless it leads elsewhere by now.
    pub(super) fn remove(&self) {
        if self.removed.swap(true, Ordering::SeqCst) {
            return;
        }
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.found);
        if let Some(error) = ours.then(|| fs::remove_file(&self.path).err()).flatten() {
            log::debug!(target: "feramiko::mux", "{}: {error}", self.path.display());
        }
    }
}

fn link(bound: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(bound, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let before = fs::symlink_metadata(path)?;
            let dead = before.file_type().is_socket()
                && connect_unix(path, LIVES)
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if !dead {
                return Err(error);
            }
            // Somebody else may have done the same meanwhile.
            if fs::symlink_metadata(path).is_ok_and(|now| identity(&now) == identity(&before)) {
                fs::remove_file(path)?;
            }
            fs::hard_link(bound, path)
        }
        linked => linked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_stands_alone_and_goes() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        let (listener, place) = Place::listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let there = Place::listen(&path).unwrap_err();
        assert_eq!(there.kind(), io::ErrorKind::AlreadyExists);
        // Nobody listens: it is replaced, and the first does not remove what is not its own.
        drop(listener);
        let (_listener, second) = Place::listen(&path).unwrap();
        place.remove();
        assert!(path.exists());
        second.remove();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control");
        fs::write(&path, "mine").unwrap();
        assert_eq!(Place::listen(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let long = folder.path().join("a".repeat(120));
        assert!(Place::listen(&long).is_err());
    }
}
