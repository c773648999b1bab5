//! One request of the draft and its answer.

use std::sync::Arc;

use super::SFTPServer;
use super::extended;
use super::handles::{Handles, Open};
use super::interface::SFTPServerInterface;
use super::overlap::Job;
use super::refusal::{SFTPRefusal, SFTPResult};
use super::requests::{self, Rules};
use super::serve::LOG;
use crate::sftp::packet::message as msg;
use crate::sftp::packet::{MAX_DATA, MAX_PATH, OpenFlags, RemoteName, SFTPAttributes, SFTPEntry, SFTPStatus};
use crate::wire::{Decode, Encode, Reader, Rest};

/// Entries of one answer to READDIR: OpenSSH's figure.
const ENTRIES: u32 = 100;
/// Bytes of one: what every client takes.
const ENTRIES_BYTES: usize = 32 * 1024;

/// An answer that is no refusal, encoded but for its number and the request's.
pub(super) enum Answer {
    Done,
    Handle([u8; 4]),
    Attributes(Vec<u8>),
    Names(u32, Vec<u8>),
    Extended(Vec<u8>),
}

impl Answer {
    /// The answer that is one path.
    pub(super) fn name(path: &[u8]) -> Self {
        let entry = SFTPEntry::new(path, SFTPAttributes::new()).with_longname(path);
        Self::Names(1, entry.to_vec())
    }

    fn attributes(attributes: &SFTPAttributes) -> Self {
        Self::Attributes(attributes.to_vec())
    }
}

/// What a session has beside its stream.
pub(super) struct Session {
    pub(super) interface: Arc<dyn SFTPServerInterface>,
    pub(super) rules: Rules,
    pub(super) handles: Handles,
    pub(super) most_handles: usize,
    link_first: bool,
}

/// A path that an application may be asked about.
pub(super) fn path(bytes: &[u8]) -> SFTPResult<&[u8]> {
    if bytes.is_empty() {
        Err(SFTPStatus::NO_SUCH_FILE.into())
    } else if bytes.len() > MAX_PATH || bytes.contains(&0) {
        Err(SFTPRefusal::new(SFTPStatus::BAD_MESSAGE, "no path is like this"))
    } else {
        Ok(bytes)
    }
}

/// All of what is left of a packet.
pub(super) fn whole<'a, T: Decode<'a>>(rest: Rest<'a>) -> SFTPResult<T> {
    let mut reader = Reader::new(rest.0);
    let value = reader.get()?;
    reader.finish()?;
    Ok(value)
}

fn done(outcome: SFTPResult<()>) -> SFTPResult<Answer> {
    outcome.map(|()| Answer::Done)
}

impl Session {
    pub(super) fn new(server: SFTPServer) -> Self {
        let SFTPServer { interface, rules, handles, link_first } = server;
        Self { interface, rules, handles: Handles::new(handles), most_handles: handles, link_first }
    }

    /// What a READ is to read.
    pub(super) fn read(&self, packet: &[u8]) -> SFTPResult<Job> {
        requests::numbered(msg::Read::NUMBER).map_or(Ok(()), |request| self.rules.check(request))?;
        let msg::Read { id, handle, offset, length } = msg::Read::decode_packet(packet)?;
        let file = Arc::clone(self.handles.file(handle)?);
        check_offset(offset)?;
        Ok(Job { id, file, offset, length: length.min(MAX_DATA) })
    }

    /// Answers any other request.
    pub(super) fn answer(&mut self, number: u8, packet: &[u8]) -> SFTPResult<Answer> {
        if number == msg::Extended::NUMBER {
            return extended::answer(self, packet);
        }
        let Some(request) = requests::numbered(number) else {
            return Err(SFTPStatus::OP_UNSUPPORTED.into());
        };
        let answer = self.rules.check(request).and_then(|()| match number {
            msg::Open::NUMBER..=msg::Write::NUMBER
            | msg::Fstat::NUMBER
            | msg::Fsetstat::NUMBER
            | msg::Opendir::NUMBER
            | msg::Readdir::NUMBER => self.on_handle(number, packet),
            _ => self.on_path(number, packet),
        });
        match &answer {
            Err(refusal) if refusal.status() != SFTPStatus::EOF => {
                log::debug!(target: LOG, "{} is refused: {refusal}", request.name);
            }
            _ => log::trace!(target: LOG, "{}", request.name),
        }
        answer
    }

    /// Requests that make, use or close a handle.
    fn on_handle(&mut self, number: u8, packet: &[u8]) -> SFTPResult<Answer> {
        match number {
            msg::Open::NUMBER => {
                let request = msg::Open::decode_packet(packet)?;
                let (path, flags) = (path(request.path)?, OpenFlags(request.flags));
                let attributes: SFTPAttributes = whole(request.attributes)?;
                self.rules.check_open(flags)?;
                self.handles.check_room()?;
                log::info!(target: LOG, "open {} {flags:?}", RemoteName::from(path));
                let file = self.interface.open(path, flags, &attributes)?;
                Ok(Answer::Handle(self.handles.insert(Open::File(file.into()))?))
            }
            msg::Opendir::NUMBER => {
                let path = path(msg::Opendir::decode_packet(packet)?.path)?;
                self.handles.check_room()?;
                log::info!(target: LOG, "list {}", RemoteName::from(path));
                let folder = self.interface.list_folder(path)?.peekable();
                Ok(Answer::Handle(self.handles.insert(Open::Folder(folder))?))
            }
            msg::Close::NUMBER => match self.handles.remove(msg::Close::decode_packet(packet)?.handle)? {
                Open::File(file) => done(file.close()),
                Open::Folder(_) => Ok(Answer::Done),
            },
            msg::Write::NUMBER => {
                let msg::Write { handle, offset, data, .. } = msg::Write::decode_packet(packet)?;
                let file = self.handles.file(handle)?;
                check_offset(offset)?;
                done(file.write(offset, data))
            }
            msg::Fstat::NUMBER => {
                let file = self.handles.file(msg::Fstat::decode_packet(packet)?.handle)?;
                Ok(Answer::attributes(&file.stat()?))
            }
            msg::Fsetstat::NUMBER => {
                let request = msg::Fsetstat::decode_packet(packet)?;
                let attributes = whole(request.attributes)?;
                done(self.handles.file(request.handle)?.chattr(&attributes))
            }
            msg::Readdir::NUMBER => self.list(msg::Readdir::decode_packet(packet)?.handle),
            _ => Err(SFTPStatus::OP_UNSUPPORTED.into()),
        }
    }

    /// Requests about paths.
    fn on_path(&self, number: u8, packet: &[u8]) -> SFTPResult<Answer> {
        let interface = &self.interface;
        match number {
            msg::Lstat::NUMBER => {
                let path = path(msg::Lstat::decode_packet(packet)?.path)?;
                Ok(Answer::attributes(&interface.lstat(path)?))
            }
            msg::Stat::NUMBER => {
                let path = path(msg::Stat::decode_packet(packet)?.path)?;
                Ok(Answer::attributes(&interface.stat(path)?))
            }
            msg::Setstat::NUMBER => {
                let request = msg::Setstat::decode_packet(packet)?;
                let attributes = whole(request.attributes)?;
                done(interface.chattr(path(request.path)?, &attributes))
            }
            msg::Remove::NUMBER => done(interface.remove(path(msg::Remove::decode_packet(packet)?.path)?)),
            msg::Mkdir::NUMBER => {
                let request = msg::Mkdir::decode_packet(packet)?;
                let attributes = whole(request.attributes)?;
                done(interface.mkdir(path(request.path)?, &attributes))
            }
            msg::Rmdir::NUMBER => done(interface.rmdir(path(msg::Rmdir::decode_packet(packet)?.path)?)),
            msg::Realpath::NUMBER => {
                let asked = msg::Realpath::decode_packet(packet)?.path;
                // As OpenSSH: where one begins.
                let asked = if asked.is_empty() { b"." } else { path(asked)? };
                Ok(Answer::name(&interface.canonicalize(asked)?))
            }
            msg::Rename::NUMBER => {
                let request = msg::Rename::decode_packet(packet)?;
                done(interface.rename(path(request.from)?, path(request.to)?))
            }
            msg::Readlink::NUMBER => {
                let path = path(msg::Readlink::decode_packet(packet)?.path)?;
                Ok(Answer::name(&interface.readlink(path)?))
            }
            msg::Symlink::NUMBER => {
                let msg::Symlink { first, second, .. } = msg::Symlink::decode_packet(packet)?;
                let (target, link) = if self.link_first { (second, first) } else { (first, second) };
                done(interface.symlink(path(target)?, path(link)?))
            }
            _ => Err(SFTPStatus::OP_UNSUPPORTED.into()),
        }
    }

    /// The next entries of a directory.
    fn list(&mut self, handle: &[u8]) -> SFTPResult<Answer> {
        let folder = self.handles.folder(handle)?;
        let (mut count, mut entries, mut encoded) = (0_u32, Vec::new(), Vec::new());
        while count < ENTRIES && entries.len() < ENTRIES_BYTES {
            match folder.peek() {
                None => break,
                // Told when what came before it is.
                Some(Err(_)) if count > 0 => break,
                Some(Err(_)) => {}
                Some(Ok(entry)) => {
                    encoded.clear();
                    put_entry(entry, &mut encoded);
                    // What alone is larger than an answer may be is not told at all.
                    if encoded.len() <= ENTRIES_BYTES {
                        entries.extend_from_slice(&encoded);
                        count = count.saturating_add(1);
                    }
                }
            }
            if let Some(Err(refusal)) = folder.next() {
                return Err(refusal);
            }
        }
        if count == 0 { Err(SFTPStatus::EOF.into()) } else { Ok(Answer::Names(count, entries)) }
    }
}

/// An entry, with a long form if it has none.
fn put_entry(entry: &SFTPEntry, out: &mut Vec<u8>) {
    if entry.longname.as_bytes().is_empty() {
        let mut long = entry.attributes.to_string().into_bytes();
        long.push(b' ');
        long.extend_from_slice(entry.name.as_bytes());
        entry.name.as_bytes().encode(out);
        long.as_slice().encode(out);
        entry.attributes.encode(out);
    } else {
        entry.encode(out);
    }
}

/// Files end before 2^63: no system has a type for more.
pub(super) fn check_offset(offset: u64) -> SFTPResult<()> {
    match i64::try_from(offset) {
        Ok(_) => Ok(()),
        Err(_) => Err(SFTPRefusal::new(SFTPStatus::FAILURE, "no file is that long")),
    }
}
