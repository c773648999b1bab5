//! SFTP: files of another machine through a channel.

mod packet;

pub use packet::{
    FileKind, OpenFlags, RemoteName, SFTPAttributes, SFTPEntry, SFTPError, SFTPLimits, SFTPRange, SFTPStatus,
    SFTPTime, SFTPVendor, StatVfs,
};
