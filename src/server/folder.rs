//! A folder for what the programs of a session need of us: a socket, a cookie. It is the user's, who may put
//! anything there, also where it stands itself: it is removed with the user's rights.

use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use crate::crypto::rand;
use crate::engine::with_rights_of;
use crate::sys::private::{PrivateFolder, remove};
use crate::sys::user::Account;

/// Removed with all that it holds when this is dropped.
#[derive(Debug)]
pub(super) struct UserFolder {
    folder: PrivateFolder,
    /// Whose it is by now, if not ours.
    given: Option<Account>,
}

impl UserFolder {
    pub(super) fn new() -> io::Result<Self> {
        let folder = PrivateFolder::new(rand::array().map_err(io::Error::other)?)?;
        Ok(Self { folder, given: None })
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.file(name)
    }

    /// Writes a new file in it that its owner alone may read.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        self.folder.write(name, bytes)
    }

    /// Gives the folder and a file in it to the user of an account, if that is another than ours.
    pub(super) fn give(&mut self, file: &Path, owner: Option<&Account>) -> io::Result<()> {
        let Some(owner) = owner.filter(|owner| !owner.is_current()) else { return Ok(()) };
        // The folder last: until then nobody but us can put something else there.
        for path in [file, self.folder.path()] {
            chown(path, Some(owner.uid), Some(owner.gid))?;
        }
        self.given = Some(owner.clone());
        Ok(())
    }
}

impl Drop for UserFolder {
    fn drop(&mut self) {
        let Some(owner) = self.given.take() else { return };
        // Whatever comes of it, it is not removed with our rights.
        let path = self.folder.leave();
        let removed = with_rights_of(Some(&owner), move || {
            remove(&path);
            Ok(())
        });
        if let Err(error) = removed {
            log::warn!(target: "feramiko::server", "a folder of {} stays: {error}", owner.name);
        }
    }
}
