//! Clients that break rules: an answer or the end of the session, in bounded time and memory.

use super::*;
use crate::sftp::packet::{MAX_DATA, MAX_PACKET};
use crate::sftp::server::{SFTPHandle, SFTPResult, SFTPServerInterface};

/// One endless file under every name, and one empty directory.
struct Endless;

struct Zeros;

impl SFTPServerInterface for Endless {
    fn open(&self, path: &[u8], _: OpenFlags, _: &SFTPAttributes) -> SFTPResult<Box<dyn SFTPHandle>> {
        assert!(path.len() <= 4096 && !path.contains(&0) && !path.is_empty());
        Ok(Box::new(Zeros))
    }
}

impl SFTPHandle for Zeros {
    fn read(&self, offset: u64, buf: &mut [u8]) -> SFTPResult<usize> {
        assert!(offset < 1 << 63 && buf.len() <= MAX_DATA as usize);
        buf.fill(0);
        Ok(buf.len())
    }

    fn write(&self, offset: u64, _: &[u8]) -> SFTPResult<()> {
        assert!(offset < 1 << 63);
        Ok(())
    }

    fn stat(&self) -> SFTPResult<SFTPAttributes> {
        Ok(SFTPAttributes::new().with_size(u64::MAX))
    }
}

#[test]
fn lengths_that_no_packet_has_end_the_session() {
    for length in [0, u32::MAX, 0x8000_0000, u32::try_from(MAX_PACKET).unwrap() + 1] {
        for greeted in [false, true] {
            let peer = if greeted { Peer::new(Endless) } else { Peer::silent(Endless) };
            peer.send_bytes(&length.to_be_bytes());
            let error = peer.end().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{length}");
        }
    }
    // The longest is fine.
    let mut peer = Peer::new(Endless);
    let handle = peer.open("x", OpenFlags::WRITE).unwrap();
    let data = vec![0; MAX_PACKET - 4 - 4 - 8 - 4 - 4 - 1];
    assert_eq!(peer.write(&handle, 0, &data), SFTPStatus::OK);
    peer.end().unwrap();
}

#[test]
fn what_was_answered_before_the_end_is_sent() {
    let mut peer = Peer::silent(Endless);
    let hello = framed(&msg::Init { version: 3, extensions: Rest(b"") });
    let request = framed(&msg::Stat { id: 7, path: b"x" });
    let read = framed(&msg::Read { id: 8, handle: b"none", offset: 0, length: 1 });
    peer.send_bytes(&[&hello[..], &request, &read, &[0; 4]].concat());
    assert!(msg::Version::decode_packet(&peer.receive()).is_ok());
    assert_eq!(status(&peer.receive()), SFTPStatus::OP_UNSUPPORTED);
    assert_eq!(status(&peer.receive()), SFTPStatus::FAILURE);
    assert!(peer.end().is_err());
}

#[test]
fn without_hello_nothing_is_answered() {
    for first in [
        framed(&msg::Opendir { id: 1, path: b"/" }),
        framed(&msg::Version { version: 3, extensions: Rest(b"") }),
        b"\0\0\0\x01\x01".to_vec(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
    ] {
        let mut peer = Peer::silent(Endless);
        peer.send_bytes(&first);
        drop(peer.to.take());
        let mut answer = Vec::new();
        peer.from.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"", "{first:?}");
        assert!(peer.server.take().unwrap().join().unwrap().is_err());
    }
    // Nobody said anything, which is nobody's fault.
    Peer::silent(Endless).end().unwrap();
}

#[test]
fn a_packet_that_is_cut_is_the_stream_s_fault() {
    let whole = framed(&msg::Stat { id: 1, path: b"/some/path" });
    for cut in 1..whole.len() {
        let peer = Peer::new(Endless);
        peer.send_bytes(&whole[..cut]);
        assert_eq!(peer.end().unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{cut}");
    }
}

#[test]
fn what_cannot_be_read_is_a_bad_message() {
    let mut peer = Peer::new(Endless);
    let handle = peer.open("x", OpenFlags::READ).unwrap();
    let bytes = |number: u8, rest: &[u8]| {
        let mut message = vec![number];
        message.put(&7_u32).put_raw(rest);
        framed(&Rest(&message))
    };
    let mut with_unknown_flag = Vec::new();
    with_unknown_flag.put("x").put(&1_u32).put(&0x40_u32);
    let mut with_rest = Vec::new();
    with_rest.put(handle.as_slice()).put(&0_u8);
    let long_path = {
        let mut fields = Vec::new();
        fields.put("x".repeat(4097).as_str());
        fields
    };
    let nul_path = b"\0\0\0\x03a\0b".to_vec();
    for (number, rest) in [
        (3, with_unknown_flag),
        (4, with_rest),
        (4, b"\xff\xff\xff\xff".to_vec()),
        (5, Vec::new()),
        (17, b"\0\0\0\x09x".to_vec()),
        (11, long_path.clone()),
        (17, long_path),
        (13, nul_path),
        (200, Vec::new()),
    ] {
        peer.send_bytes(&bytes(number, &rest));
        assert_eq!(status(&peer.receive()), SFTPStatus::BAD_MESSAGE, "{number} {rest:?}");
    }
    // Unknown numbers, INIT once more, and answers that nobody asked for.
    for number in [0, 1, 2, 21, 100, 101, 103, 199, 201, 255] {
        peer.send_bytes(&bytes(number, b"anything"));
        assert_eq!(status(&peer.receive()), SFTPStatus::OP_UNSUPPORTED, "{number}");
    }
    assert_eq!(peer.stat(""), Err(SFTPStatus::NO_SUCH_FILE));
    // What has no number of a request cannot be answered.
    peer.send_bytes(b"\0\0\0\x03\x11ab");
    assert_eq!(peer.end().unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn handles_that_were_never_given_are_refused() {
    let mut peer = Peer::new(Endless);
    let handle = peer.open("x", OpenFlags::READ).unwrap();
    let mut longer = handle.clone();
    longer.push(0);
    let other = [handle[0], handle[1], handle[2], handle[3] ^ 1];
    let huge = vec![0; 100_000];
    for bogus in [&b""[..], b"\0", &handle[..3], &longer, &other, b"\xff\xff\xff\xff", &huge] {
        let failure = SFTPStatus::FAILURE;
        assert_eq!(peer.read(bogus, 0, 10), Err(failure));
        assert_eq!(peer.write(bogus, 0, b"x"), failure);
        assert_eq!(peer.readdir(bogus), Err(failure));
        assert_eq!(peer.close(bogus), failure);
        let id = peer.id();
        assert_eq!(peer.status(&msg::Fstat { id, handle: bogus }), failure);
    }
    // A file is no directory.
    assert_eq!(peer.readdir(&handle), Err(SFTPStatus::FAILURE));
    assert_eq!(peer.read(&handle, 0, 10).unwrap().len(), 10);
    assert_eq!(peer.close(&handle), SFTPStatus::OK);
    assert_eq!(peer.read(&handle, 0, 10), Err(SFTPStatus::FAILURE));
    peer.end().unwrap();
}

#[test]
fn numbers_at_the_end_of_the_world() {
    let mut peer = Peer::new(Endless);
    let handle = peer.open("x", OpenFlags::READ).unwrap();
    assert_eq!(peer.read(&handle, 0, u32::MAX).unwrap().len(), MAX_DATA as usize);
    assert_eq!(peer.read(&handle, i64::MAX as u64, 1).unwrap().len(), 1);
    for offset in [1 << 63, u64::MAX] {
        assert_eq!(peer.read(&handle, offset, 10), Err(SFTPStatus::FAILURE));
        assert_eq!(peer.write(&handle, offset, b"x"), SFTPStatus::FAILURE);
    }
    assert_eq!(peer.read(&handle, 0, 0), Err(SFTPStatus::EOF));
    peer.end().unwrap();
}

#[test]
fn more_handles_than_allowed_are_refused() {
    for (server, most) in [(SFTPServer::new(Endless), 128), (SFTPServer::new(Endless).max_handles(3), 3)] {
        let mut peer = Peer::new(server);
        let mut open = Vec::new();
        for _ in 0..20_000 / 128 * most {
            match peer.open("x", OpenFlags::READ) {
                Ok(handle) => open.push(handle),
                Err(status) => assert_eq!(status, SFTPStatus::FAILURE),
            }
        }
        assert_eq!(open.len(), most);
        assert_eq!(peer.close(&open[0]), SFTPStatus::OK);
        let again = peer.open("x", OpenFlags::READ).unwrap();
        assert!(!open.contains(&again), "a handle stands for something else at once");
        peer.end().unwrap();
    }
}

#[test]
fn answers_that_nobody_reads_hold_up_the_requests() {
    let mut peer = Peer::new(Endless);
    let handle = peer.open("x", OpenFlags::READ).unwrap();
    // 10,000 reads of 255 KiB would be 2.5 GB of answers.
    let request = framed(&msg::Read { id: 1, handle: &handle, offset: 0, length: u32::MAX });
    let to = peer.to.take().unwrap();
    let writer =
        std::thread::spawn(move || (0..10_000).take_while(|_| (&to).write_all(&request).is_ok()).count());
    for _ in 0..20 {
        peer.receive();
    }
    // The client goes away; the server does not stay behind.
    let Peer { server, .. } = &mut peer;
    let server = server.take().unwrap();
    let (reader, _) = io::pipe().unwrap();
    drop(std::mem::replace(&mut peer.from, reader));
    assert!(server.join().unwrap().is_err());
    writer.join().unwrap();
}
