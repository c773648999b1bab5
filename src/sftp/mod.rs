//! SFTP: files of another machine through a channel.

mod client;
mod packet;
mod server;
mod transfer;

pub use client::{HashAlgorithm, Listing, SFTPClient, SFTPFile};
pub use packet::{
    FileKind, OpenFlags, RemoteName, SFTPAttributes, SFTPEntry, SFTPError, SFTPLimits, SFTPRange, SFTPStatus,
    SFTPTime, SFTPVendor, StatVfs,
};
#[cfg(unix)]
pub use server::LocalServer;
pub use server::{SFTPHandle, SFTPListing, SFTPRefusal, SFTPResult, SFTPServer, SFTPServerInterface};
pub use transfer::{LinkMode, Progress, SFTPTransfer, TransferFailure, TransferSummary};
