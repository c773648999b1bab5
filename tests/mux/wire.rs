//! The multiplexing protocol by hand, without the library: messages of four-byte numbers and strings, and
//! descriptors.

use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// A message of that number, and what `fields` appends.
pub(crate) fn message(number: u32, fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = number.to_be_bytes().to_vec();
    fields(&mut message);
    message
}

fn string(message: &mut Vec<u8>, bytes: &[u8]) {
    message.extend((bytes.len() as u32).to_be_bytes());
    message.extend(bytes);
}

fn number(message: &mut Vec<u8>, value: u32) {
    message.extend(value.to_be_bytes());
}

pub(crate) fn hello_of(version: u32) -> Vec<u8> {
    message(1, |it| number(it, version))
}

pub(crate) fn hello() -> Vec<u8> {
    hello_of(4)
}

pub(crate) fn alive() -> Vec<u8> {
    message(0x1000_0004, |it| number(it, 7))
}

pub(crate) fn new_session(command: &[u8]) -> Vec<u8> {
    message(0x1000_0002, |it| {
        number(it, 7);
        string(it, b"");
        [0, 0, 0, 0, u32::MAX].into_iter().for_each(|value| number(it, value));
        string(it, b"vt100");
        string(it, command);
        string(it, b"LANG=C");
    })
}

fn forward(kind: u32) -> Vec<u8> {
    message(kind, |it| {
        number(it, 7);
        number(it, 1);
        string(it, b"localhost");
        number(it, 8000);
        string(it, b"elsewhere");
        number(it, 80);
    })
}

pub(crate) fn stdio_forward() -> Vec<u8> {
    message(0x1000_0008, |it| {
        number(it, 7);
        string(it, b"");
        string(it, b"elsewhere");
        number(it, 80);
    })
}

/// Every request but those that end or stop the master, which nothing cut may do.
pub(crate) fn every() -> Vec<Vec<u8>> {
    let stdio = stdio_forward();
    let info = message(0x2000_0001, |it| {
        number(it, 7);
        string(it, b"connection");
    });
    let longer = message(1, |it| {
        number(it, 4);
        string(it, b"name");
        string(it, b"value");
    });
    let proxy = message(0x1000_000f, |it| number(it, 7));
    vec![longer, new_session(b"cat"), alive(), forward(0x1000_0006), forward(0x1000_0007), stdio, info, proxy]
}

/// A message as text.
pub(crate) fn long(message: &[u8]) -> String {
    String::from_utf8_lossy(message).into_owned()
}

/// A client that says what it likes.
pub(crate) struct Raw(UnixStream);

impl Raw {
    pub(crate) fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    /// Sends bytes as they are. The master may have hung up already.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &[u8]) {
        let mut frame = Vec::new();
        string(&mut frame, message);
        self.bytes(&frame);
    }

    /// Sends a message; whether the master is still there.
    pub(crate) fn try_send(&mut self, message: &[u8]) -> bool {
        let mut frame = Vec::new();
        string(&mut frame, message);
        self.0.write_all(&frame).is_ok()
    }

    /// The next message.
    pub(crate) fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut message = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut message).unwrap();
        message
    }

    /// Reads until the master hangs up, which it must.
    pub(crate) fn reads_end(&mut self) {
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "the master does not hang up");
        }
    }

    /// Says nothing more.
    pub(crate) fn hang_up(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// Passes a descriptor.
    pub(crate) fn pass(&mut self, descriptor: &impl AsFd) {
        self.pass_all(&[descriptor.as_fd()]);
    }

    /// Passes two at once.
    pub(crate) fn pass_both(&mut self, one: &impl AsFd, two: &impl AsFd) {
        self.pass_all(&[one.as_fd(), two.as_fd()]);
    }

    fn pass_all(&mut self, descriptors: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(descriptors)));
        // The master may have hung up already.
        let _ = sendmsg(&self.0, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL);
    }
}
