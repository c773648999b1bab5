//! What holds for every application: what it does not answer is refused, and the order of requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use super::*;
use crate::sftp::packet::extension as ext;
use crate::sftp::server::{SFTPHandle, SFTPListing, SFTPRefusal, SFTPResult, SFTPServerInterface};

/// Refuses everything.
struct Nothing;

impl SFTPServerInterface for Nothing {}

#[test]
fn everything_is_refused_unless_answered() {
    let (mut peer, announced) = Peer::announced(Nothing);
    let names: Vec<&[u8]> = announced.iter().map(|(name, _)| name.as_slice()).collect();
    let built = ["vendor-id", "limits@openssh.com", "copy-data", "check-file", "check-file-handle"];
    assert!(names.starts_with(&built.map(str::as_bytes)), "{names:?}");
    let unsupported = SFTPStatus::OP_UNSUPPORTED;
    assert_eq!(peer.open("x", OpenFlags::READ), Err(unsupported));
    assert_eq!(peer.opendir("x"), Err(unsupported));
    assert_eq!((peer.stat("x"), peer.lstat("x")), (Err(unsupported), Err(unsupported)));
    assert_eq!(peer.setstat("x", &SFTPAttributes::new()), unsupported);
    for kind in ["remove", "mkdir", "rmdir"] {
        assert_eq!(peer.on_path(kind, "x"), unsupported, "{kind}");
    }
    for kind in ["rename", "symlink", ext::POSIX_RENAME, ext::HARDLINK, "own@example.org"] {
        assert_eq!(peer.on_paths(kind, "x", "y"), unsupported, "{kind}");
    }
    for kind in ["readlink", ext::EXPAND_PATH, ext::HOME_DIRECTORY, ext::STATVFS] {
        assert_eq!(peer.path(kind, "x"), Err(unsupported), "{kind}");
    }
    assert_eq!(peer.path("realpath", "a//./b/../c").unwrap(), "/a/c");
    assert_eq!(peer.path("realpath", "").unwrap(), "/");
    for kind in [ext::FSTATVFS, ext::FSYNC, ext::RANGES, ext::CHECK_FILE, ext::COPY_DATA] {
        // A short packet, before the handle is looked at.
        assert_eq!(peer.extended(kind, b""), Err(SFTPStatus::BAD_MESSAGE), "{kind}");
    }
    peer.end().unwrap();
}

/// An application with counters, own extensions and files that are slow to read.
#[derive(Default)]
struct Counting {
    started: AtomicUsize,
    ended: AtomicUsize,
    closed: Arc<AtomicUsize>,
    /// Where as many reads meet as there must be at once.
    meeting: Option<Arc<Barrier>>,
}

struct Slow {
    closed: Arc<AtomicUsize>,
    meeting: Option<Arc<Barrier>>,
    written: AtomicUsize,
}

impl SFTPServerInterface for Arc<Counting> {
    fn session_started(&self) {
        self.started.fetch_add(1, Ordering::SeqCst);
    }

    fn session_ended(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }

    fn supports(&self, extension: &str) -> bool {
        extension == ext::FSYNC
    }

    fn extensions(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        vec![(b"reverse@example.org".to_vec(), b"7".to_vec())]
    }

    fn open(&self, _: &[u8], _: OpenFlags, _: &SFTPAttributes) -> SFTPResult<Box<dyn SFTPHandle>> {
        let (closed, meeting) = (Arc::clone(&self.closed), self.meeting.clone());
        Ok(Box::new(Slow { closed, meeting, written: AtomicUsize::new(0) }))
    }

    fn list_folder(&self, path: &[u8]) -> SFTPResult<SFTPListing> {
        let entry = |number: u32| Ok(SFTPEntry::new(format!("{number}").as_str(), SFTPAttributes::new()));
        let long = SFTPEntry::new(vec![b'x'; 40_000], SFTPAttributes::new());
        Ok(match path {
            b"long" => Box::new([Ok(long), entry(1)].into_iter()),
            b"broken" => Box::new([entry(1), Err(SFTPStatus::FAILURE.into()), entry(2)].into_iter()),
            _ => Box::new((0..).map(entry)),
        })
    }

    fn extended(&self, name: &[u8], data: &[u8]) -> SFTPResult<Vec<u8>> {
        match name {
            b"reverse@example.org" => Ok(data.iter().rev().copied().collect()),
            b"long@example.org" => Ok(vec![0; 300_000]),
            _ => Err(SFTPRefusal::new(SFTPStatus(99), "not here")),
        }
    }
}

impl SFTPHandle for Slow {
    fn read(&self, offset: u64, buf: &mut [u8]) -> SFTPResult<usize> {
        assert_ne!(offset, 666, "a bug of the application");
        if let Some(meeting) = &self.meeting {
            meeting.wait();
        }
        let written = self.written.load(Ordering::SeqCst);
        buf.fill(u8::try_from(written).unwrap());
        Ok(if offset >= 1000 { 0 } else { buf.len() })
    }

    fn write(&self, _: u64, _: &[u8]) -> SFTPResult<()> {
        self.written.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn close(&self) -> SFTPResult<()> {
        self.closed.fetch_add(1, Ordering::SeqCst);
        Err(SFTPStatus::PERMISSION_DENIED.into())
    }
}

#[test]
fn a_session_begins_and_ends_and_closes_what_is_open() {
    let application = Arc::new(Counting::default());
    let (mut peer, announced) = Peer::announced(Arc::clone(&application));
    let has = |name: &str| announced.iter().any(|(known, _)| known == name.as_bytes());
    assert!(has(ext::FSYNC) && has("reverse@example.org") && !has(ext::STATVFS));
    let (one, other) = (peer.open("x", OpenFlags::READ).unwrap(), peer.open("x", OpenFlags::READ).unwrap());
    assert_ne!(one, other);
    // What becomes known at the end is told, and the handle is gone all the same.
    assert_eq!(peer.close(&one), SFTPStatus::PERMISSION_DENIED);
    assert_eq!(peer.close(&one), SFTPStatus::FAILURE);
    assert_eq!(peer.extended("reverse@example.org", b"abc").unwrap(), b"cba");
    assert_eq!(peer.extended("other@example.org", b""), Err(SFTPStatus(99)));
    assert_eq!(peer.extended("long@example.org", b""), Err(SFTPStatus::FAILURE));
    assert_eq!(
        (application.started.load(Ordering::SeqCst), application.ended.load(Ordering::SeqCst)),
        (1, 0)
    );
    peer.end().unwrap();
    let counts = (application.ended.load(Ordering::SeqCst), application.closed.load(Ordering::SeqCst));
    assert_eq!(counts, (1, 2));
}

#[test]
fn reads_of_a_file_overlap_and_nothing_else_overtakes_them() {
    let meeting = Some(Arc::new(Barrier::new(3)));
    let mut peer = Peer::new(Arc::new(Counting { meeting, ..Counting::default() }));
    let handle = peer.open("x", OpenFlags::READ | OpenFlags::WRITE).unwrap();
    let handle = handle.as_slice();
    // Three reads wait for each other; the write after them waits for all, and the reads after it see it.
    let mut sent = Vec::new();
    let (mut ids, mut written) = (Vec::new(), Vec::new());
    for round in 0..2 {
        for _ in 0..3 {
            let id = peer.id();
            ids.push((id, round));
            sent.extend(framed(&msg::Read { id, handle, offset: 0, length: 10 }));
        }
        let id = peer.id();
        written.push(id);
        sent.extend(framed(&msg::Write { id, handle, offset: 0, data: b"x", rest: Rest(b"") }));
    }
    peer.send_bytes(&sent);
    let answers: Vec<_> = (0..8).map(|_| peer.receive()).collect();
    for (at, answer) in answers.iter().enumerate() {
        let (_, id) = number_of(answer);
        match ids.iter().find(|(known, _)| *known == id) {
            Some((_, round)) => {
                let data = msg::Data::decode_packet(answer).unwrap().data;
                assert_eq!(data, [*round; 10], "answer {at}");
                assert_eq!(at / 4, usize::from(*round));
            }
            None => assert_eq!((id, status(answer)), (written[at / 4], SFTPStatus::OK)),
        }
    }
    peer.end().unwrap();
}

#[test]
fn a_read_that_panics_is_a_failure_of_its_own() {
    let mut peer = Peer::new(Arc::new(Counting::default()));
    let handle = peer.open("x", OpenFlags::READ).unwrap();
    let (one, other, last) = (peer.id(), peer.id(), peer.id());
    let read = |id, offset| framed(&msg::Read { id, handle: &handle, offset, length: 10 });
    peer.send_bytes(&[read(one, 666), read(other, 5), read(last, 1000)].concat());
    for _ in 0..3 {
        let answer = peer.receive();
        match number_of(&answer).1 {
            id if id == one => assert_eq!(status(&answer), SFTPStatus::FAILURE),
            id if id == other => assert_eq!(msg::Data::decode_packet(&answer).unwrap().data.len(), 10),
            _ => assert_eq!(status(&answer), SFTPStatus::EOF),
        }
    }
    peer.end().unwrap();
}

#[test]
fn listings_come_in_parts_as_they_are_asked_for() {
    let mut peer = Peer::new(Arc::new(Counting::default()));
    let endless = peer.opendir("endless").unwrap();
    for part in 0..3 {
        let entries = peer.readdir(&endless).unwrap();
        assert_eq!((entries.len(), entries[0].name.to_string()), (100, (part * 100).to_string()));
        assert!(entries[0].longname.to_string().ends_with(&(part * 100).to_string()));
    }
    assert_eq!(peer.close(&endless), SFTPStatus::OK);
    // What no answer can hold is left out; an error is told after what came before it.
    let long = peer.opendir("long").unwrap();
    assert_eq!(peer.readdir(&long).unwrap().len(), 1);
    assert_eq!(peer.readdir(&long), Err(SFTPStatus::EOF));
    let broken = peer.opendir("broken").unwrap();
    assert_eq!(peer.readdir(&broken).unwrap().len(), 1);
    assert_eq!(peer.readdir(&broken), Err(SFTPStatus::FAILURE));
    assert_eq!(peer.readdir(&broken).unwrap().len(), 1);
    peer.end().unwrap();
}

#[test]
fn rules_are_held() {
    let server = || SFTPServer::new(Arc::new(Counting::default()));
    let mut peer = Peer::new(server().read_only(true));
    let denied = SFTPStatus::PERMISSION_DENIED;
    assert!(peer.open("x", OpenFlags::READ).is_ok());
    for flags in
        [OpenFlags::WRITE, OpenFlags::APPEND, OpenFlags::READ | OpenFlags::CREATE, OpenFlags::TRUNCATE]
    {
        assert_eq!(peer.open("x", flags), Err(denied));
    }
    for kind in ["remove", "mkdir", "rmdir"] {
        assert_eq!(peer.on_path(kind, "x"), denied, "{kind}");
    }
    for kind in ["rename", "symlink", ext::POSIX_RENAME, ext::HARDLINK, "own@example.org"] {
        assert_eq!(peer.on_paths(kind, "x", "y"), denied, "{kind}");
    }
    for kind in [ext::FSYNC, ext::LSETSTAT, ext::COPY_DATA] {
        assert_eq!(peer.extended(kind, b""), Err(denied), "{kind}");
    }
    assert_eq!(peer.setstat("x", &SFTPAttributes::new()), denied);
    peer.end().unwrap();

    let mut peer = Peer::new(server().allow(["open", "close", "read"]).unwrap().deny(["read"]).unwrap());
    let handle = peer.open("x", OpenFlags::WRITE).unwrap();
    assert_eq!(peer.read(&handle, 0, 1), Err(denied));
    assert_eq!(peer.write(&handle, 0, b"x"), denied);
    assert_eq!(peer.opendir("x"), Err(denied));
    assert_eq!(peer.extended(ext::LIMITS, b""), Err(denied));
    peer.end().unwrap();

    assert!(server().allow(["open", "nothing"]).is_err() && server().deny([""]).is_err());
    let names: Vec<_> = SFTPServer::request_names().collect();
    assert!(names.iter().all(|name| server().deny([*name]).is_ok()) && names.len() > 30);
}
