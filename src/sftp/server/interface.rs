//! What an SFTP server asks its application: one question an operation, each refused unless answered.

use std::fs::File;

use super::refusal::SFTPResult;
use crate::sftp::packet::{OpenFlags, SFTPAttributes, SFTPEntry, SFTPRange, SFTPStatus, StatVfs};

/// The entries of a directory, made as the client asks for them.
pub type SFTPListing = Box<dyn Iterator<Item = SFTPResult<SFTPEntry>> + Send>;

/// The application of one client's SFTP session. Paths are bytes as the client sends them, at most 4,096, not
/// empty and without NUL; nothing else is checked. Everything is refused by default.
///
/// The extensions of OpenSSH and others are announced where [`supports`](Self::supports) says so.
///
/// ```
/// use feramiko::{OpenFlags, SFTPAttributes, SFTPHandle, SFTPResult, SFTPServerInterface, SFTPStatus};
/// /// One file for everybody.
/// struct Motd;
/// struct Text;
/// impl SFTPServerInterface for Motd {
///     fn open(&self, path: &[u8], _: OpenFlags, _: &SFTPAttributes) -> SFTPResult<Box<dyn SFTPHandle>> {
///         if path == b"/motd" { Ok(Box::new(Text)) } else { Err(SFTPStatus::NO_SUCH_FILE.into()) }
///     }
///     fn stat(&self, _: &[u8]) -> SFTPResult<SFTPAttributes> {
///         Ok(SFTPAttributes::new().with_mode(0o100_444).with_size(5))
///     }
/// }
/// impl SFTPHandle for Text {
///     fn read(&self, offset: u64, buf: &mut [u8]) -> SFTPResult<usize> {
///         let left = b"hello".get(offset as usize..).unwrap_or_default();
///         let count = left.len().min(buf.len());
///         buf[..count].copy_from_slice(&left[..count]);
///         Ok(count)
///     }
/// }
/// let server = feramiko::SFTPServer::new(Motd);
/// # drop(server);
/// ```
#[allow(unused_variables, reason = "the defaults refuse whatever is asked")]
pub trait SFTPServerInterface: Send + Sync {
    /// A client has said hello.
    fn session_started(&self) {}

    /// The stream has ended; all handles are closed.
    fn session_ended(&self) {}

    /// Whether the extension of that name is there, as `statvfs@openssh.com`. Asked for those that need an
    /// answer of the application; `limits@openssh.com`, `copy-data`, `check-file` and `vendor-id` do not.
    fn supports(&self, extension: &str) -> bool {
        false
    }

    /// Extensions of one's own to announce: names and data. See [`extended`](Self::extended).
    fn extensions(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        Vec::new()
    }

    /// Opens a file, or makes it with those attributes.
    ///
    /// # Errors
    /// A refusal.
    fn open(
        &self,
        path: &[u8],
        flags: OpenFlags,
        attributes: &SFTPAttributes,
    ) -> SFTPResult<Box<dyn SFTPHandle>> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Lists a directory, `.` and `..` included if one likes. An entry without a long form gets one.
    ///
    /// # Errors
    /// A refusal.
    fn list_folder(&self, path: &[u8]) -> SFTPResult<SFTPListing> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// What is known of a file, links followed.
    ///
    /// # Errors
    /// A refusal.
    fn stat(&self, path: &[u8]) -> SFTPResult<SFTPAttributes> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// What is known of a file; of a link, what is known of the link.
    ///
    /// # Errors
    /// A refusal.
    fn lstat(&self, path: &[u8]) -> SFTPResult<SFTPAttributes> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// A refusal.
    fn remove(&self, path: &[u8]) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Renames; fails where the new name is taken.
    ///
    /// # Errors
    /// A refusal.
    fn rename(&self, from: &[u8], to: &[u8]) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Renames as POSIX does: what has the new name is replaced (`posix-rename@openssh.com`).
    ///
    /// # Errors
    /// A refusal.
    fn posix_rename(&self, from: &[u8], to: &[u8]) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// A refusal.
    fn mkdir(&self, path: &[u8], attributes: &SFTPAttributes) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Removes a directory.
    ///
    /// # Errors
    /// A refusal.
    fn rmdir(&self, path: &[u8]) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Sets what `attributes` hold, links followed.
    ///
    /// # Errors
    /// A refusal.
    fn chattr(&self, path: &[u8], attributes: &SFTPAttributes) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// The same; of a link, the link's own (`lsetstat@openssh.com`).
    ///
    /// # Errors
    /// A refusal.
    fn lchattr(&self, path: &[u8], attributes: &SFTPAttributes) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// The absolute path that a path stands for. By default paths are absolute, and `.` and `..` are
    /// resolved without looking at any file.
    ///
    /// # Errors
    /// A refusal.
    fn canonicalize(&self, path: &[u8]) -> SFTPResult<Vec<u8>> {
        let mut parts: Vec<&[u8]> = Vec::new();
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => drop(parts.pop()),
                _ => parts.push(part),
            }
        }
        Ok([b"/", parts.join(&b'/').as_slice()].concat())
    }

    /// What a link says.
    ///
    /// # Errors
    /// A refusal.
    fn readlink(&self, path: &[u8]) -> SFTPResult<Vec<u8>> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Makes the symbolic link `link`, which says `target`.
    ///
    /// # Errors
    /// A refusal.
    fn symlink(&self, target: &[u8], link: &[u8]) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Gives a file another name (`hardlink@openssh.com`).
    ///
    /// # Errors
    /// A refusal.
    fn hard_link(&self, path: &[u8], new: &[u8]) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// The figures of the file system that a path is on (`statvfs@openssh.com`).
    ///
    /// # Errors
    /// A refusal.
    fn statvfs(&self, path: &[u8]) -> SFTPResult<StatVfs> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// The path that `~`, `~user`, or a path with one of them first, stands for
    /// (`expand-path@openssh.com`).
    ///
    /// # Errors
    /// A refusal.
    fn expand_path(&self, path: &[u8]) -> SFTPResult<Vec<u8>> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// The home of a user; of the client, when the name is empty (`home-directory`).
    ///
    /// # Errors
    /// A refusal.
    fn home_directory(&self, user: &[u8]) -> SFTPResult<Vec<u8>> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// The names of users and of groups by their numbers; empty ones for those that have none
    /// (`users-groups-by-id@openssh.com`).
    ///
    /// # Errors
    /// A refusal.
    fn users_groups_by_id(&self, users: &[u32], groups: &[u32]) -> SFTPResult<(Vec<String>, Vec<String>)> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// A request of one's own: what follows its name, and what follows in the answer.
    ///
    /// # Errors
    /// A refusal.
    fn extended(&self, name: &[u8], data: &[u8]) -> SFTPResult<Vec<u8>> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }
}

/// A file that a client has open. Everything is refused by default.
#[allow(unused_variables, reason = "the defaults refuse whatever is asked")]
pub trait SFTPHandle: Send + Sync {
    /// Reads at a place into the front of `buf`, which is not empty; 0 at the end of the file.
    ///
    /// # Errors
    /// A refusal.
    fn read(&self, offset: u64, buf: &mut [u8]) -> SFTPResult<usize> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Writes all of `data` at a place.
    ///
    /// # Errors
    /// A refusal.
    fn write(&self, offset: u64, data: &[u8]) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// What is known of the file.
    ///
    /// # Errors
    /// A refusal.
    fn stat(&self) -> SFTPResult<SFTPAttributes> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Sets what `attributes` hold.
    ///
    /// # Errors
    /// A refusal.
    fn chattr(&self, attributes: &SFTPAttributes) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// Waits until what was written would outlast a crash (`fsync@openssh.com`).
    ///
    /// # Errors
    /// A refusal.
    fn fsync(&self) -> SFTPResult<()> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// The figures of the file system that the file is on (`fstatvfs@openssh.com`).
    ///
    /// # Errors
    /// A refusal.
    fn statvfs(&self) -> SFTPResult<StatVfs> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// The first part at or after `offset` that is no hole; none where nothing follows
    /// (`ranges@asyncssh.com`).
    ///
    /// # Errors
    /// A refusal.
    fn next_range(&self, offset: u64) -> SFTPResult<Option<SFTPRange>> {
        Err(SFTPStatus::OP_UNSUPPORTED.into())
    }

    /// The file of this system that is behind it, if there is one: copies from one to another then need not
    /// go through this program.
    fn file(&self) -> Option<&File> {
        None
    }

    /// Whether several reads may run at once, each on a thread of its own: pays where a read waits, as for
    /// another machine. Their answers may change places.
    fn overlaps_reads(&self) -> bool {
        true
    }

    /// Nobody uses it any more: called once, also when the connection breaks.
    ///
    /// # Errors
    /// What becomes known only now.
    fn close(&self) -> SFTPResult<()> {
        Ok(())
    }
}
