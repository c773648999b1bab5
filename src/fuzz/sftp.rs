//! SFTP's server with a client that meddles with its requests. The files are in memory.

use std::io::{self, Cursor, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Input;
use crate::sftp::{
    OpenFlags, SFTPAttributes, SFTPEntry, SFTPHandle, SFTPListing, SFTPRange, SFTPResult, SFTPServer,
    SFTPServerInterface, SFTPStatus,
};
use crate::wire::{Reader, Writer, string_of};

/// Requests of one input.
const REQUESTS: usize = 48;
/// The largest packet.
const PACKET: usize = 256 * 1024;
/// A file that is longer takes nothing more.
const FILE: usize = 64 * 1024;
/// Handles that a client may have; few, so that they run out.
const HANDLES: usize = 4;

/// The answers on their way out.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<Vec<u8>>>);

impl Write for Answers {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every name stands for a file of its own, empty when it is opened, or for a directory of a few entries.
struct Model;

struct Memory(Mutex<Vec<u8>>);

/// What an application may rely on.
fn check(path: &[u8]) {
    assert!(!path.is_empty() && path.len() <= 4096 && !path.contains(&0), "{path:?}");
}

impl SFTPServerInterface for Model {
    fn supports(&self, _: &str) -> bool {
        true
    }

    fn open(&self, path: &[u8], _: OpenFlags, _: &SFTPAttributes) -> SFTPResult<Box<dyn SFTPHandle>> {
        check(path);
        Ok(Box::new(Memory(Mutex::default())))
    }

    fn list_folder(&self, path: &[u8]) -> SFTPResult<SFTPListing> {
        check(path);
        let named = |number: u8| match number {
            200 => Err(SFTPStatus::FAILURE.into()),
            _ => Ok(SFTPEntry::new(vec![number; usize::from(number)], SFTPAttributes::new())),
        };
        Ok(Box::new((0..=255).map(named)))
    }

    fn stat(&self, path: &[u8]) -> SFTPResult<SFTPAttributes> {
        check(path);
        Ok(SFTPAttributes::new())
    }

    fn chattr(&self, path: &[u8], _: &SFTPAttributes) -> SFTPResult<()> {
        check(path);
        Ok(())
    }

    fn rename(&self, from: &[u8], to: &[u8]) -> SFTPResult<()> {
        check(from);
        check(to);
        Ok(())
    }

    fn users_groups_by_id(&self, users: &[u32], groups: &[u32]) -> SFTPResult<(Vec<String>, Vec<String>)> {
        assert!(users.len() <= 1024 && groups.len() <= 1024);
        Ok((vec!["u".into(); users.len()], vec!["g".into(); groups.len()]))
    }

    fn extended(&self, _: &[u8], data: &[u8]) -> SFTPResult<Vec<u8>> {
        Ok(data.to_vec())
    }
}

impl SFTPHandle for Memory {
    fn read(&self, offset: u64, buf: &mut [u8]) -> SFTPResult<usize> {
        assert!(!buf.is_empty() && buf.len() <= PACKET && offset <= i64::MAX.unsigned_abs());
        let bytes = self.0.lock();
        let left = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        Ok(io::Read::read(&mut &*left, buf)?)
    }

    fn write(&self, offset: u64, data: &[u8]) -> SFTPResult<()> {
        assert!(offset <= i64::MAX.unsigned_abs());
        let end = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(data.len());
        if end > FILE {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = self.0.lock();
        let end = end.max(bytes.len());
        bytes.resize(end, 0);
        let offset = usize::try_from(offset).unwrap_or_default();
        bytes.get_mut(offset..).unwrap_or_default().iter_mut().zip(data).for_each(|(to, from)| *to = *from);
        Ok(())
    }

    fn stat(&self) -> SFTPResult<SFTPAttributes> {
        Ok(SFTPAttributes::new().with_size(self.0.lock().len() as u64))
    }

    fn next_range(&self, offset: u64) -> SFTPResult<Option<SFTPRange>> {
        let length = self.0.lock().len() as u64;
        Ok((offset < length).then_some(SFTPRange { offset, length: length.saturating_sub(offset) }))
    }

    fn overlaps_reads(&self) -> bool {
        false
    }
}

/// Whatever a client says: each request that can be answered is, in turn, by a packet that may be one; the
/// application is asked for nothing that it may rely on not to be.
pub fn sftp_server(data: &[u8]) {
    let mut input = Input(data);
    let requests = requests(&mut input);
    let mut framed = string_of(b"\x01\0\0\0\x03");
    framed.extend(requests.iter().flat_map(|request| string_of(request)));
    let answers = Answers::default();
    let served = SFTPServer::new(Model).max_handles(HANDLES).serve(Cursor::new(framed), answers.clone());
    let answers = answers.0.lock();
    let mut packets = Reader::new(&answers);
    let first = packets.string().expect("hello is answered");
    assert_eq!(first.get(..5), Some(&b"\x02\0\0\0\x03"[..]));
    let mut asked = requests.iter();
    while !packets.is_empty() {
        let answer = packets.string().expect("answers are whole");
        assert!(answer.len() <= PACKET && matches!(answer.first(), Some(101..=105 | 201)));
        let request = asked.next().expect("there is a request for each answer");
        assert_eq!(answer.get(1..5), request.get(1..5), "the answer to another request");
    }
    // It ends early at what is no packet with a number only.
    let next = asked.next();
    assert_eq!(served.is_err(), next.is_some());
    assert!(next.is_none_or(|request| request.len() < 5));
}

/// Requests that make sense, meddled with.
fn requests(input: &mut Input<'_>) -> Vec<Vec<u8>> {
    let mut list = Vec::new();
    while !input.is_empty() && list.len() < REQUESTS {
        let number = u32::try_from(list.len()).unwrap_or_default();
        let honest = honest(input, number);
        list.extend(input.meddle(honest));
    }
    list
}

/// The extended requests.
const EXTENDED: &[&str] = &[
    "posix-rename@openssh.com",
    "statvfs@openssh.com",
    "fstatvfs@openssh.com",
    "hardlink@openssh.com",
    "fsync@openssh.com",
    "lsetstat@openssh.com",
    "limits@openssh.com",
    "expand-path@openssh.com",
    "copy-data",
    "home-directory",
    "users-groups-by-id@openssh.com",
    "check-file",
    "check-file-name",
    "ranges@asyncssh.com",
    "vendor-id",
    "own@example.org",
];

fn honest(input: &mut Input<'_>, id: u32) -> Vec<u8> {
    let kind = input.byte();
    let handle = u32::from(input.byte() % 8).to_be_bytes();
    let (handle, path) = (&handle[..], &b"path"[..]);
    let (offset, length) = (u64::from(input.byte()), u32::from(input.byte()));
    let mut out = Vec::new();
    let number = match kind % 32 {
        0..=19 => kind % 20 + 3,
        _ => 200,
    };
    out.put(&number).put(&id);
    match number {
        3 => out.put(path).put(&length).put(&0_u32),
        4 | 8 | 12 => out.put(handle),
        5 => out.put(handle).put(&offset).put(&length),
        6 => out.put(handle).put(&offset).put(input.piece(1024)),
        9 | 14 => out.put(path).put(&0_u32),
        10 => out.put(handle).put(&1_u32).put(&offset),
        7 | 11 | 13 | 15..=17 | 19 => out.put(path),
        18 | 20 => out.put(path).put(path),
        200 => {
            let name = EXTENDED[usize::from(input.byte()) % EXTENDED.len()];
            out.put(name);
            match name {
                "copy-data" => out.put(handle).put(&offset).put(&u64::from(length)).put(handle).put(&offset),
                "check-file" => out.put(handle).put("md5,sha1").put(&offset).put(&0_u64).put(&length),
                "check-file-name" => out.put(path).put("sha256").put(&offset).put(&0_u64).put(&length),
                "ranges@asyncssh.com" => out.put(handle).put(&offset).put(&u64::from(length)),
                "users-groups-by-id@openssh.com" => out.put(input.piece(1024)).put(input.piece(64)),
                "lsetstat@openssh.com" => out.put(path).put(&0_u32),
                "limits@openssh.com" => &mut out,
                "fstatvfs@openssh.com" | "fsync@openssh.com" => out.put(handle),
                "vendor-id" => out.put("maker").put("product").put("1").put(&offset),
                name if name.starts_with("posix") || name.starts_with("hard") => out.put(path).put(path),
                _ => out.put(path),
            }
        }
        _ => out.put_raw(input.piece(64)),
    };
    out
}
