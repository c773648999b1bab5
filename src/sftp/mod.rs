//! SFTP: files of another machine through a channel.

mod packet;
mod server;

pub use packet::{
    FileKind, OpenFlags, RemoteName, SFTPAttributes, SFTPEntry, SFTPError, SFTPLimits, SFTPRange, SFTPStatus,
    SFTPTime, SFTPVendor, StatVfs,
};
#[cfg(unix)]
pub use server::LocalServer;
pub use server::{SFTPHandle, SFTPListing, SFTPRefusal, SFTPResult, SFTPServer, SFTPServerInterface};
