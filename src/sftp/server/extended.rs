//! Extended requests, and what is announced of them.

use super::answer::{Answer, Session, check_offset, path, whole};
use super::check;
use super::copy::{Copied, copy_data};
use super::interface::{SFTPHandle, SFTPServerInterface};
use super::refusal::{SFTPRefusal, SFTPResult};
use super::requests;
use super::serve::LOG;
use crate::sftp::packet::extension as ext;
use crate::sftp::packet::message as msg;
use crate::sftp::packet::{
    MAX_DATA, MAX_PACKET, OpenFlags, RemoteName, SFTPAttributes, SFTPLimits, SFTPRange, SFTPStatus,
    SFTPVendor,
};
use crate::wire::{Encode, Reader, Rest, Writer};

/// Extensions that need no answer of the application, with the version that is announced.
const BUILT: &[(&str, &str)] = &[
    (ext::LIMITS, "1"),
    (ext::COPY_DATA, "1"),
    (ext::CHECK_FILE, "1"),
    (ext::CHECK_FILE_HANDLE, "1"),
    (ext::CHECK_FILE_NAME, "1"),
];
/// Those that do.
const ASKED: &[(&str, &str)] = &[
    (ext::POSIX_RENAME, "1"),
    (ext::STATVFS, "2"),
    (ext::FSTATVFS, "2"),
    (ext::HARDLINK, "1"),
    (ext::FSYNC, "1"),
    (ext::LSETSTAT, "1"),
    (ext::EXPAND_PATH, "1"),
    (ext::HOME_DIRECTORY, "1"),
    (ext::USERS_GROUPS, "1"),
    (ext::RANGES, "1"),
];
/// Numbers of users, and of groups, of one request: each is looked up in the system's database.
const NAMES: usize = 1024;
/// Ranges of one answer: AsyncSSH's figure.
const RANGES: usize = 128;

/// What VERSION announces.
pub(super) fn announced(interface: &dyn SFTPServerInterface) -> Vec<u8> {
    let mut out = Vec::new();
    out.put(ext::VENDOR_ID).put(vendor().to_vec().as_slice());
    let asked = ASKED.iter().filter(|(name, _)| interface.supports(name));
    for (name, version) in asked.chain(BUILT) {
        out.put(*name).put(*version);
    }
    for (name, data) in interface.extensions() {
        out.put(name.as_slice()).put(data.as_slice());
    }
    out
}

fn vendor() -> SFTPVendor {
    SFTPVendor {
        vendor: "feramiko".to_owned(),
        product: "feramiko".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: 0,
    }
}

/// Answers an extended request.
pub(super) fn answer(session: &mut Session, packet: &[u8]) -> SFTPResult<Answer> {
    let msg::Extended { name, rest, .. } = msg::Extended::decode_packet(packet)?;
    let request = requests::extended(name);
    session.rules.check(request)?;
    log::debug!(target: LOG, "extended request {}", RemoteName::from(name));
    let Ok(known) = std::str::from_utf8(name) else { return own(session, name, rest) };
    match known {
        ext::FSTATVFS | ext::FSYNC | ext::RANGES | ext::CHECK_FILE | ext::CHECK_FILE_HANDLE => {
            on_file(session, known, rest)
        }
        ext::CHECK_FILE_NAME => {
            let mut fields = Reader::new(rest.0);
            let path = path(fields.string()?)?;
            session.rules.check_open(OpenFlags::READ)?;
            let file = session.interface.open(path, OpenFlags::READ, &SFTPAttributes::new())?;
            let hashes = check::check_file(&*file, fields);
            // Only read; what closing it says changes nothing.
            let _ = file.close();
            Ok(Answer::Extended(hashes?))
        }
        ext::COPY_DATA => {
            let mut fields = Reader::new(rest.0);
            let (from, at, length) = (fields.string()?, fields.get()?, fields.get()?);
            let (to, to_at) = (fields.string()?, fields.get()?);
            fields.finish()?;
            let (from, to) = (session.handles.file(from)?, session.handles.file(to)?);
            copy_data(Copied { from, at, length, to, to_at })?;
            Ok(Answer::Done)
        }
        ext::LIMITS => {
            whole_of_nothing(rest)?;
            Ok(Answer::Extended(limits(session.most_handles).to_vec()))
        }
        ext::VENDOR_ID => {
            let client = SFTPVendor::decode(rest.0)?;
            log::debug!(target: LOG, "the client is {} {}", client.product, client.version);
            Ok(Answer::Done)
        }
        ext::USERS_GROUPS => names(session, rest),
        _ if ASKED.iter().any(|(asked, _)| *asked == known) => on_path(session, known, rest),
        _ => own(session, name, rest),
    }
}

/// A request that the application may know.
fn own(session: &Session, name: &[u8], rest: Rest<'_>) -> SFTPResult<Answer> {
    let answer = session.interface.extended(name, rest.0)?;
    if answer.len() > MAX_PACKET.saturating_sub(5) {
        return Err(SFTPRefusal::new(SFTPStatus::FAILURE, "the answer is too long"));
    }
    Ok(Answer::Extended(answer))
}

fn whole_of_nothing(rest: Rest<'_>) -> SFTPResult<()> {
    Ok(Reader::new(rest.0).finish()?)
}

fn limits(handles: usize) -> SFTPLimits {
    let wide = |number: usize| u64::try_from(number).unwrap_or_default();
    SFTPLimits {
        packet: wide(MAX_PACKET),
        read: MAX_DATA.into(),
        write: MAX_DATA.into(),
        handles: wide(handles),
    }
}

/// Requests about an open file.
fn on_file(session: &Session, name: &str, rest: Rest<'_>) -> SFTPResult<Answer> {
    let mut fields = Reader::new(rest.0);
    let file = session.handles.file(fields.string()?)?;
    match name {
        ext::FSTATVFS => {
            fields.finish()?;
            Ok(Answer::Extended(file.statvfs()?.to_vec()))
        }
        ext::FSYNC => {
            fields.finish()?;
            file.fsync()?;
            Ok(Answer::Done)
        }
        ext::RANGES => {
            let (offset, length) = (fields.get()?, fields.get()?);
            fields.finish()?;
            Ok(Answer::Extended(ranges(&**file, offset, length)?))
        }
        _ => Ok(Answer::Extended(check::check_file(&**file, fields)?)),
    }
}

/// The parts of a file that are no holes, within what was asked.
fn ranges(file: &dyn SFTPHandle, offset: u64, length: u64) -> SFTPResult<Vec<u8>> {
    check_offset(offset)?;
    let end = offset.saturating_add(length);
    let (mut at, mut found) = (offset, Vec::new());
    while at < end && found.len() < RANGES {
        let Some(next) = file.next_range(at)? else { break };
        let (begin, next_end) = (next.offset.max(at), next.offset.saturating_add(next.length).min(end));
        if begin >= next_end {
            break;
        }
        found.push(SFTPRange { offset: begin, length: next_end.saturating_sub(begin) });
        at = next_end;
    }
    if found.is_empty() {
        return Err(SFTPStatus::EOF.into());
    }
    Ok(ext::encode_ranges(&found, found.len() < RANGES))
}

/// Requests about paths, and homes.
fn on_path(session: &Session, name: &str, rest: Rest<'_>) -> SFTPResult<Answer> {
    let (interface, mut fields) = (&session.interface, Reader::new(rest.0));
    let first = fields.string()?;
    if name == ext::LSETSTAT {
        let attributes: SFTPAttributes = whole(Rest(fields.rest()))?;
        interface.lchattr(path(first)?, &attributes)?;
        return Ok(Answer::Done);
    }
    if let ext::POSIX_RENAME | ext::HARDLINK = name {
        let second = fields.string()?;
        fields.finish()?;
        let (from, to) = (path(first)?, path(second)?);
        if name == ext::HARDLINK {
            interface.hard_link(from, to)?
        } else {
            interface.posix_rename(from, to)?
        }
        return Ok(Answer::Done);
    }
    fields.finish()?;
    match name {
        ext::STATVFS => Ok(Answer::Extended(interface.statvfs(path(first)?)?.to_vec())),
        ext::EXPAND_PATH => Ok(Answer::name(&interface.expand_path(path(first)?)?)),
        // No name asks for one's own.
        ext::HOME_DIRECTORY if first.is_empty() => Ok(Answer::name(&interface.home_directory(first)?)),
        ext::HOME_DIRECTORY => Ok(Answer::name(&interface.home_directory(path(first)?)?)),
        _ => Err(SFTPStatus::OP_UNSUPPORTED.into()),
    }
}

/// The names of users and groups by their numbers.
fn names(session: &Session, rest: Rest<'_>) -> SFTPResult<Answer> {
    let mut fields = Reader::new(rest.0);
    let (users, groups) = (numbers(fields.string()?)?, numbers(fields.string()?)?);
    fields.finish()?;
    let (users, groups) = session.interface.users_groups_by_id(&users, &groups)?;
    let mut answer = Vec::new();
    for names in [users, groups] {
        let mut list = Vec::new();
        for name in names {
            list.put(name.as_str());
        }
        answer.put(list.as_slice());
    }
    if answer.len() > MAX_PACKET.saturating_sub(5) {
        return Err(SFTPRefusal::new(SFTPStatus::FAILURE, "the answer is too long"));
    }
    Ok(Answer::Extended(answer))
}

fn numbers(packed: &[u8]) -> SFTPResult<Vec<u32>> {
    let (numbers, []) = packed.as_chunks::<4>() else { return Err(SFTPStatus::BAD_MESSAGE.into()) };
    if numbers.len() > NAMES {
        return Err(SFTPRefusal::new(SFTPStatus::FAILURE, "too many numbers"));
    }
    Ok(numbers.iter().map(|number| u32::from_be_bytes(*number)).collect())
}
