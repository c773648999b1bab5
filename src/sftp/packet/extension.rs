//! Extensions: their names, what the sides announce of them, and what they carry. The sources are
//! OpenSSH's PROTOCOL, the draft's later versions and AsyncSSH.

use super::message;
use crate::wire::{Encode, Malformed, Reader, Rest, Writer};

/// `posix-rename@openssh.com` 1: from, to.
pub(in crate::sftp) const POSIX_RENAME: &str = "posix-rename@openssh.com";
/// `statvfs@openssh.com` 2: path.
pub(in crate::sftp) const STATVFS: &str = "statvfs@openssh.com";
/// `fstatvfs@openssh.com` 2: handle.
pub(in crate::sftp) const FSTATVFS: &str = "fstatvfs@openssh.com";
/// `hardlink@openssh.com` 1: from, to.
pub(in crate::sftp) const HARDLINK: &str = "hardlink@openssh.com";
/// `fsync@openssh.com` 1: handle.
pub(in crate::sftp) const FSYNC: &str = "fsync@openssh.com";
/// `lsetstat@openssh.com` 1: path, attributes.
pub(in crate::sftp) const LSETSTAT: &str = "lsetstat@openssh.com";
/// `limits@openssh.com` 1: nothing.
pub(in crate::sftp) const LIMITS: &str = "limits@openssh.com";
/// `expand-path@openssh.com` 1: path.
pub(in crate::sftp) const EXPAND_PATH: &str = "expand-path@openssh.com";
/// `copy-data` 1: handle, offset, length, handle, offset.
pub(in crate::sftp) const COPY_DATA: &str = "copy-data";
/// `home-directory` 1: user.
pub(in crate::sftp) const HOME_DIRECTORY: &str = "home-directory";
/// `users-groups-by-id@openssh.com` 1: a string of users' numbers, one of groups'.
pub(in crate::sftp) const USERS_GROUPS: &str = "users-groups-by-id@openssh.com";
/// `check-file-handle`: handle, algorithms, offset, length, block size. paramiko sends it as `check-file`.
pub(in crate::sftp) const CHECK_FILE: &str = "check-file";
pub(in crate::sftp) const CHECK_FILE_HANDLE: &str = "check-file-handle";
/// `check-file-name`: path, then the same.
pub(in crate::sftp) const CHECK_FILE_NAME: &str = "check-file-name";
/// `ranges@asyncssh.com` 1: handle, offset, length; the parts of a sparse file that hold data.
pub(in crate::sftp) const RANGES: &str = "ranges@asyncssh.com";
/// `vendor-id`: who made the other side.
pub(in crate::sftp) const VENDOR_ID: &str = "vendor-id";

/// Extensions that one side announces; OpenSSH has eleven.
const MAX_ANNOUNCED: usize = 128;

/// An extension as it is announced: its name, and what is said with it.
pub(in crate::sftp) type Announced = (Vec<u8>, Vec<u8>);

/// What VERSION or INIT announce.
pub(in crate::sftp) fn announced(extensions: Rest<'_>) -> Result<Vec<Announced>, Malformed> {
    let mut reader = Reader::new(extensions.0);
    let mut found = Vec::new();
    while !reader.is_empty() {
        if found.len() == MAX_ANNOUNCED {
            return Err(Malformed::Value);
        }
        found.push((reader.string()?.to_vec(), reader.string()?.to_vec()));
    }
    Ok(found)
}

/// An extended request, framed; `fields` follow the name.
pub(in crate::sftp) fn request(id: u32, name: &str, fields: &[u8]) -> Vec<u8> {
    message::framed(&message::Extended { id, name: name.as_bytes(), rest: Rest(fields) })
}

/// The figures of a file system, as POSIX's `statvfs` gives them (OpenSSH's PROTOCOL §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct StatVfs {
    /// The size of a block, in bytes.
    pub block_size: u64,
    /// The unit of the counts of blocks below, in bytes.
    pub fragment_size: u64,
    /// Blocks, in that unit.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks that the user may fill.
    pub blocks_available: u64,
    /// Files that the file system has room for.
    pub files: u64,
    /// How many of them are free.
    pub files_free: u64,
    /// How many of these the user may make.
    pub files_available: u64,
    /// A number for the file system.
    pub file_system_id: u64,
    /// [`READ_ONLY`](Self::READ_ONLY), [`NO_SETUID`](Self::NO_SETUID).
    pub flags: u64,
    /// The longest name of a file, in bytes.
    pub name_max: u64,
}

impl StatVfs {
    /// A flag: nothing can be written.
    pub const READ_ONLY: u64 = 1;
    /// A flag: setuid bits do nothing.
    pub const NO_SETUID: u64 = 2;

    pub(in crate::sftp) fn decode(rest: Rest<'_>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(rest.0);
        let figures = Self {
            block_size: reader.get()?,
            fragment_size: reader.get()?,
            blocks: reader.get()?,
            blocks_free: reader.get()?,
            blocks_available: reader.get()?,
            files: reader.get()?,
            files_free: reader.get()?,
            files_available: reader.get()?,
            file_system_id: reader.get()?,
            flags: reader.get()?,
            name_max: reader.get()?,
        };
        reader.finish()?;
        Ok(figures)
    }
}

impl Encode for StatVfs {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.block_size)
            .put(&self.fragment_size)
            .put(&self.blocks)
            .put(&self.blocks_free)
            .put(&self.blocks_available)
            .put(&self.files)
            .put(&self.files_free)
            .put(&self.files_available)
            .put(&self.file_system_id)
            .put(&self.flags)
            .put(&self.name_max);
    }
}

/// What a server takes (OpenSSH's PROTOCOL §4.8). 0 means that it sets no limit, or does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SFTPLimits {
    /// The largest packet, in bytes.
    pub packet: u64,
    /// The largest answer to one READ, in bytes.
    pub read: u64,
    /// The largest WRITE, in bytes of data.
    pub write: u64,
    /// Files and directories open at once.
    pub handles: u64,
}

impl SFTPLimits {
    pub(in crate::sftp) fn decode(rest: Rest<'_>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(rest.0);
        let limits =
            Self { packet: reader.get()?, read: reader.get()?, write: reader.get()?, handles: reader.get()? };
        reader.finish()?;
        Ok(limits)
    }
}

impl Encode for SFTPLimits {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(&self.packet).put(&self.read).put(&self.write).put(&self.handles);
    }
}

/// A part of a sparse file that holds data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a part has a place and a length")]
pub struct SFTPRange {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// Ranges of one answer; AsyncSSH sends up to 128.
const MAX_RANGES: u32 = 4096;

/// The answer to `ranges@asyncssh.com`: the ranges, and whether they reach the end of what was asked.
pub(in crate::sftp) fn decode_ranges(rest: Rest<'_>) -> Result<(Vec<SFTPRange>, bool), Malformed> {
    let mut reader = Reader::new(rest.0);
    let count = reader.get::<u32>()?;
    if count > MAX_RANGES {
        return Err(Malformed::Value);
    }
    let mut ranges = Vec::new();
    for _ in 0..count {
        ranges.push(SFTPRange { offset: reader.get()?, length: reader.get()? });
    }
    let at_end = if reader.is_empty() { false } else { reader.get()? };
    reader.finish()?;
    Ok((ranges, at_end))
}

pub(in crate::sftp) fn encode_ranges(ranges: &[SFTPRange], at_end: bool) -> Vec<u8> {
    let mut out = Vec::new();
    out.put(&u32::try_from(ranges.len()).unwrap_or(u32::MAX));
    for range in ranges {
        out.put(&range.offset).put(&range.length);
    }
    out.put(&at_end);
    out
}

/// Who made the other side, as it says itself (draft-ietf-secsh-filexfer-13 §4.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SFTPVendor {
    /// The maker.
    pub vendor: String,
    /// What it made.
    pub product: String,
    /// Which version of it.
    pub version: String,
    /// Which build.
    pub build: u64,
}

impl SFTPVendor {
    pub(in crate::sftp) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut text = || reader.get::<crate::wire::Escaped<'_>>().map(|text| text.to_string());
        let (vendor, product, version) = (text()?, text()?, text()?);
        let build = reader.get()?;
        reader.finish()?;
        Ok(Self { vendor, product, version, build })
    }
}

impl Encode for SFTPVendor {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put(self.vendor.as_str()).put(self.product.as_str()).put(self.version.as_str()).put(&self.build);
    }
}
