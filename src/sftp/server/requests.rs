//! The requests by name, and which of them are granted.

use std::io;

use super::refusal::{SFTPRefusal, SFTPResult};
use crate::sftp::packet::extension as ext;
use crate::sftp::packet::message as msg;
use crate::sftp::packet::{OpenFlags, SFTPStatus};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    /// OpenSSH's name for it, which lists of requests have.
    pub(super) name: &'static str,
    /// Whether it changes something.
    writes: bool,
}

/// The draft's requests, by their numbers.
const NUMBERED: &[(u8, Request)] = &[
    (msg::Open::NUMBER, reads("open")),
    (msg::Close::NUMBER, reads("close")),
    (msg::Read::NUMBER, reads("read")),
    (msg::Write::NUMBER, writes("write")),
    (msg::Lstat::NUMBER, reads("lstat")),
    (msg::Fstat::NUMBER, reads("fstat")),
    (msg::Setstat::NUMBER, writes("setstat")),
    (msg::Fsetstat::NUMBER, writes("fsetstat")),
    (msg::Opendir::NUMBER, reads("opendir")),
    (msg::Readdir::NUMBER, reads("readdir")),
    (msg::Remove::NUMBER, writes("remove")),
    (msg::Mkdir::NUMBER, writes("mkdir")),
    (msg::Rmdir::NUMBER, writes("rmdir")),
    (msg::Realpath::NUMBER, reads("realpath")),
    (msg::Stat::NUMBER, reads("stat")),
    (msg::Rename::NUMBER, writes("rename")),
    (msg::Readlink::NUMBER, reads("readlink")),
    (msg::Symlink::NUMBER, writes("symlink")),
];

/// Extended requests, by their names on the wire.
const EXTENDED: &[(&str, Request)] = &[
    (ext::POSIX_RENAME, writes("posix-rename")),
    (ext::STATVFS, reads("statvfs")),
    (ext::FSTATVFS, reads("fstatvfs")),
    (ext::HARDLINK, writes("hardlink")),
    (ext::FSYNC, writes("fsync")),
    (ext::LSETSTAT, writes("lsetstat")),
    (ext::LIMITS, reads("limits")),
    (ext::EXPAND_PATH, reads("expand-path")),
    (ext::COPY_DATA, writes("copy-data")),
    (ext::HOME_DIRECTORY, reads("home-directory")),
    (ext::USERS_GROUPS, reads("users-groups-by-id")),
    (ext::CHECK_FILE, reads("check-file")),
    (ext::CHECK_FILE_HANDLE, reads("check-file-handle")),
    (ext::CHECK_FILE_NAME, reads("check-file-name")),
    (ext::RANGES, reads("ranges")),
    (ext::VENDOR_ID, reads("vendor-id")),
];

/// All that an application has made up itself. Whether they write only it knows.
const OWN: Request = writes("extended");

const fn reads(name: &'static str) -> Request {
    Request { name, writes: false }
}

const fn writes(name: &'static str) -> Request {
    Request { name, writes: true }
}

/// The request of a number, if the draft has it.
pub(super) fn numbered(number: u8) -> Option<Request> {
    NUMBERED.iter().find(|(known, _)| *known == number).map(|(_, request)| *request)
}

/// The extended request of a name.
pub(super) fn extended(name: &[u8]) -> Request {
    EXTENDED.iter().find(|(known, _)| known.as_bytes() == name).map_or(OWN, |(_, request)| *request)
}

fn all() -> impl Iterator<Item = Request> {
    let extended = EXTENDED.iter().map(|(_, request)| *request);
    NUMBERED.iter().map(|(_, request)| *request).chain(extended).chain([OWN])
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    all().map(|request| request.name)
}

/// What is granted. Everything, at first.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) read_only: bool,
    /// If there are any, only these.
    allowed: Option<Vec<&'static str>>,
    denied: Vec<&'static str>,
}

impl Rules {
    pub(super) fn allow<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        let mut named = names.into_iter().map(known).collect::<io::Result<Vec<_>>>()?;
        self.allowed.get_or_insert_default().append(&mut named);
        Ok(())
    }

    pub(super) fn deny<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> io::Result<()> {
        for name in names {
            self.denied.push(known(name)?);
        }
        Ok(())
    }

    /// Refuses what is not granted.
    pub(super) fn check(&self, request: Request) -> SFTPResult<()> {
        let listed = self.allowed.as_ref().is_none_or(|allowed| allowed.contains(&request.name));
        if !listed || self.denied.contains(&request.name) || (self.read_only && request.writes) {
            return Err(SFTPStatus::PERMISSION_DENIED.into());
        }
        Ok(())
    }

    /// Refuses to open a file for what is not granted.
    pub(super) fn check_open(&self, flags: OpenFlags) -> SFTPResult<()> {
        // Whatever is more than reading.
        if self.read_only && flags.0 & !OpenFlags::READ.0 != 0 {
            return Err(SFTPRefusal::from(SFTPStatus::PERMISSION_DENIED));
        }
        Ok(())
    }
}

fn known(name: &str) -> io::Result<&'static str> {
    let found = names().find(|known| *known == name);
    found.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("no request is called {}", name.escape_default()))
    })
}
