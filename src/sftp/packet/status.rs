//! Status codes, and the error they make.

use std::fmt;
use std::io;

use super::name::RemoteName;

/// A status code, §7 of the draft; versions 4 to 6 add to the nine of version 3, and some servers send
/// those in any version.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SFTPStatus(pub u32);

/// What the codes are called, what they mean to a reader, and what to a program.
const CODES: &[(u32, &str, &str, io::ErrorKind)] = &[
    (0, "OK", "success", io::ErrorKind::Other),
    (1, "EOF", "end of file", io::ErrorKind::UnexpectedEof),
    (2, "NO_SUCH_FILE", "no such file", io::ErrorKind::NotFound),
    (3, "PERMISSION_DENIED", "permission denied", io::ErrorKind::PermissionDenied),
    (4, "FAILURE", "failure", io::ErrorKind::Other),
    (5, "BAD_MESSAGE", "bad message", io::ErrorKind::InvalidData),
    (6, "NO_CONNECTION", "no connection", io::ErrorKind::NotConnected),
    (7, "CONNECTION_LOST", "connection lost", io::ErrorKind::ConnectionAborted),
    (8, "OP_UNSUPPORTED", "operation not supported", io::ErrorKind::Unsupported),
    (9, "INVALID_HANDLE", "invalid handle", io::ErrorKind::InvalidInput),
    (10, "NO_SUCH_PATH", "no such path", io::ErrorKind::NotFound),
    (11, "FILE_ALREADY_EXISTS", "file already exists", io::ErrorKind::AlreadyExists),
    (12, "WRITE_PROTECT", "write protected", io::ErrorKind::ReadOnlyFilesystem),
    (13, "NO_MEDIA", "no media", io::ErrorKind::NotFound),
    (14, "NO_SPACE_ON_FILESYSTEM", "no space on the file system", io::ErrorKind::StorageFull),
    (15, "QUOTA_EXCEEDED", "quota exceeded", io::ErrorKind::QuotaExceeded),
    (16, "UNKNOWN_PRINCIPAL", "unknown principal", io::ErrorKind::InvalidInput),
    (17, "LOCK_CONFLICT", "lock conflict", io::ErrorKind::ResourceBusy),
    (18, "DIR_NOT_EMPTY", "directory not empty", io::ErrorKind::DirectoryNotEmpty),
    (19, "NOT_A_DIRECTORY", "not a directory", io::ErrorKind::NotADirectory),
    (20, "INVALID_FILENAME", "invalid file name", io::ErrorKind::InvalidFilename),
    (21, "LINK_LOOP", "too many links", io::ErrorKind::Other),
    (22, "CANNOT_DELETE", "cannot delete", io::ErrorKind::PermissionDenied),
    (23, "INVALID_PARAMETER", "invalid parameter", io::ErrorKind::InvalidInput),
    (24, "FILE_IS_A_DIRECTORY", "is a directory", io::ErrorKind::IsADirectory),
];

impl SFTPStatus {
    /// Success.
    pub const OK: Self = Self(0);
    /// The end of a file or a listing.
    pub const EOF: Self = Self(1);
    /// The file does not exist.
    pub const NO_SUCH_FILE: Self = Self(2);
    /// The user may not.
    pub const PERMISSION_DENIED: Self = Self(3);
    /// Anything else.
    pub const FAILURE: Self = Self(4);
    /// The packet could not be read.
    pub const BAD_MESSAGE: Self = Self(5);
    /// A client's own: there is no connection.
    pub const NO_CONNECTION: Self = Self(6);
    /// A client's own: the connection broke.
    pub const CONNECTION_LOST: Self = Self(7);
    /// The server does not know the operation.
    pub const OP_UNSUPPORTED: Self = Self(8);

    fn row(self) -> Option<&'static (u32, &'static str, &'static str, io::ErrorKind)> {
        CODES.iter().find(|(code, ..)| *code == self.0)
    }

    /// The name in the drafts, without `SSH_FX_`; none for a code they do not have.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|(_, name, ..)| *name)
    }

    /// The matching kind of an I/O error.
    #[must_use]
    pub fn kind(self) -> io::ErrorKind {
        self.row().map_or(io::ErrorKind::Other, |(.., kind)| *kind)
    }

    /// The code that tells of an error of the system: version 3 has no more than these, as OpenSSH maps
    /// them; the text says the rest.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NO_SUCH_FILE,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::PERMISSION_DENIED,
            io::ErrorKind::InvalidFilename => Self::BAD_MESSAGE,
            io::ErrorKind::UnexpectedEof => Self::EOF,
            io::ErrorKind::Unsupported => Self::OP_UNSUPPORTED,
            _ => Self::FAILURE,
        }
    }
}

impl fmt::Display for SFTPStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.row() {
            Some((_, _, text, _)) => f.write_str(text),
            None => write!(f, "status {}", self.0),
        }
    }
}

impl fmt::Debug for SFTPStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "SFTPStatus({})", self.0),
        }
    }
}

/// A server's refusal of one operation. The connection lives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SFTPError {
    /// The code.
    pub status: SFTPStatus,
    /// The server's own words, if it had any beyond the code's; not made harmless.
    pub text: RemoteName,
    /// The operation: `open`, `mkdir`, …
    pub operation: &'static str,
    /// The path it was asked of; empty where it was asked of none.
    pub path: RemoteName,
}

impl SFTPError {
    /// A refusal of `operation` on `path`.
    pub(in crate::sftp) fn new(
        status: SFTPStatus,
        text: &[u8],
        operation: &'static str,
        path: &[u8],
    ) -> Self {
        Self { status, text: text.into(), operation, path: path.into() }
    }
}

/// Whether the server's text says no more than the code.
fn says_nothing(text: &str, status: SFTPStatus) -> bool {
    let known = status.to_string();
    text.is_empty() || text.eq_ignore_ascii_case(&known) || text.eq_ignore_ascii_case(&format!("{status:?}"))
}

impl fmt::Display for SFTPError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)?;
        if !self.path.as_bytes().is_empty() {
            write!(f, " {}", self.path)?;
        }
        write!(f, ": {}", self.status)?;
        let text = self.text.to_string();
        if says_nothing(&text, self.status) { Ok(()) } else { write!(f, " ({text})") }
    }
}

impl std::error::Error for SFTPError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_failed_and_where() {
        let shown = |status, text: &str, path: &str| {
            SFTPError::new(status, text.as_bytes(), "open", path.as_bytes()).to_string()
        };
        assert_eq!(shown(SFTPStatus::NO_SUCH_FILE, "No such file", "/a b"), "open /a b: no such file");
        assert_eq!(shown(SFTPStatus::FAILURE, "Failure", ""), "open: failure");
        assert_eq!(shown(SFTPStatus::FAILURE, "disk\x1b full", "/a"), "open /a: failure (disk\\u{1b} full)");
        assert_eq!(shown(SFTPStatus(99), "", "/a"), "open /a: status 99");
        assert_eq!(format!("{:?} {:?}", SFTPStatus::EOF, SFTPStatus(99)), "EOF SFTPStatus(99)");
    }

    #[test]
    fn the_system_s_errors_have_a_code_and_come_back() {
        for (kind, status) in [
            (io::ErrorKind::NotFound, SFTPStatus::NO_SUCH_FILE),
            (io::ErrorKind::PermissionDenied, SFTPStatus::PERMISSION_DENIED),
            (io::ErrorKind::Unsupported, SFTPStatus::OP_UNSUPPORTED),
            (io::ErrorKind::UnexpectedEof, SFTPStatus::EOF),
        ] {
            assert_eq!(SFTPStatus::of(&kind.into()), status);
            assert_eq!(status.kind(), kind);
        }
        assert_eq!(SFTPStatus::of(&io::ErrorKind::AlreadyExists.into()), SFTPStatus::FAILURE);
        assert!(CODES.iter().zip(0..).all(|((code, ..), place)| *code == place));
    }
}
