//! How an application says no.

use std::borrow::Cow;
use std::fmt;
use std::io;

use crate::sftp::packet::SFTPStatus;
use crate::wire::Malformed;

/// What an operation of a server comes to.
pub type SFTPResult<T> = Result<T, SFTPRefusal>;

/// A refusal of one operation: a status code, and a short text for the user of the client.
///
/// Made of an [`io::Error`] it tells its kind and nothing else: neither paths nor an application's own words
/// reach the client.
///
/// ```
/// use feramiko::{SFTPRefusal, SFTPStatus};
/// assert_eq!(SFTPRefusal::from(SFTPStatus::PERMISSION_DENIED).to_string(), "permission denied");
/// let full = std::io::Error::new(std::io::ErrorKind::StorageFull, "/srv/secret-project is full");
/// assert_eq!(SFTPRefusal::from(full).to_string(), "no storage space");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SFTPRefusal {
    status: SFTPStatus,
    text: Option<Cow<'static, str>>,
}

impl SFTPRefusal {
    /// A refusal with words of one's own.
    #[must_use]
    pub fn new(status: SFTPStatus, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: Some(text.into()) }
    }

    /// The code.
    #[must_use]
    pub fn status(&self) -> SFTPStatus {
        self.status
    }
}

impl fmt::Display for SFTPRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => self.status.fmt(f),
        }
    }
}

impl std::error::Error for SFTPRefusal {}

impl From<SFTPStatus> for SFTPRefusal {
    fn from(status: SFTPStatus) -> Self {
        Self { status, text: None }
    }
}

impl From<io::Error> for SFTPRefusal {
    fn from(error: io::Error) -> Self {
        match SFTPStatus::of(&error) {
            SFTPStatus::FAILURE if error.kind() != io::ErrorKind::Other => {
                Self::new(SFTPStatus::FAILURE, error.kind().to_string())
            }
            status => status.into(),
        }
    }
}

impl From<io::ErrorKind> for SFTPRefusal {
    fn from(kind: io::ErrorKind) -> Self {
        io::Error::from(kind).into()
    }
}

/// A request that cannot be read.
impl From<Malformed> for SFTPRefusal {
    fn from(_: Malformed) -> Self {
        SFTPStatus::BAD_MESSAGE.into()
    }
}
