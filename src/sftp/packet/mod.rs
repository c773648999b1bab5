//! SFTP's packets, version 3 (draft-ietf-secsh-filexfer-02) with the extensions of OpenSSH, paramiko
//! and AsyncSSH: bytes to values and back.
//!
//! Pure: no stream, no file, no thread. What differs between versions (attributes, status codes) stands in
//! files of its own.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod attributes;
mod entry;
pub(super) mod extension;
pub(super) mod long;
pub(super) mod message;
mod name;
mod status;
#[cfg(test)]
mod tests;

pub use attributes::{FileKind, SFTPAttributes, SFTPTime};
pub use entry::SFTPEntry;
pub use extension::{SFTPLimits, SFTPRange, SFTPVendor, StatVfs};
pub use message::OpenFlags;
pub use name::RemoteName;
pub use status::{SFTPError, SFTPStatus};

/// The version that both sides speak here.
pub(super) const VERSION: u32 = 3;
/// The largest packet, after its length: OpenSSH's figure. A longer one is refused before anything is
/// allocated.
pub(super) const MAX_PACKET: usize = 256 * 1024;
/// The largest READ and WRITE: what fits into a packet with its header; OpenSSH's figure.
pub(super) const MAX_DATA: u32 = 255 * 1024;
/// What every server takes, by the draft's §3: 32 KiB of data.
pub(super) const SAFE_DATA: u32 = 32 * 1024;
/// The longest handle, by the draft's §6.3.
pub(super) const MAX_HANDLE: usize = 256;
/// The longest path: Linux's PATH_MAX.
pub(super) const MAX_PATH: usize = 4096;
