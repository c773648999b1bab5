//! The server, asked by raw packets.

#[cfg(unix)]
mod extensions;
mod framework;
mod hostile;
#[cfg(unix)]
mod jail;
#[cfg(unix)]
mod local;

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::thread::JoinHandle;

use super::SFTPServer;
use crate::sftp::packet::message as msg;
use crate::sftp::packet::message::framed;
use crate::sftp::packet::{OpenFlags, SFTPAttributes, SFTPEntry, SFTPStatus};
use crate::wire::{Encode, Malformed, Reader, Rest, Writer};

/// Extensions that a server announces: names and data.
type Announced = Vec<(Vec<u8>, Vec<u8>)>;

/// A client of raw packets, and the server it talks to.
struct Peer {
    to: Option<PipeWriter>,
    from: PipeReader,
    server: Option<JoinHandle<io::Result<()>>>,
    next: u32,
}

impl Peer {
    /// Before hello.
    fn silent(server: impl Into<SFTPServer>) -> Self {
        let server = server.into();
        let ((read, to), (from, write)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let server = std::thread::spawn(move || server.serve(read, write));
        Self { to: Some(to), from, server: Some(server), next: 0 }
    }

    fn new(server: impl Into<SFTPServer>) -> Self {
        Self::announced(server).0
    }

    /// After hello, with what was announced.
    fn announced(server: impl Into<SFTPServer>) -> (Self, Announced) {
        let mut peer = Self::silent(server);
        peer.send(&msg::Init { version: 3, extensions: Rest(b"") });
        let answer = peer.receive();
        let version = msg::Version::decode_packet(&answer).unwrap();
        assert_eq!(version.version, 3);
        let announced = crate::sftp::packet::extension::announced(version.extensions).unwrap();
        (peer, announced)
    }

    fn send_bytes(&self, bytes: &[u8]) {
        self.to.as_ref().unwrap().write_all(bytes).unwrap();
    }

    fn send(&self, message: &impl Encode) {
        self.send_bytes(&framed(message));
    }

    fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.from.read_exact(&mut length).unwrap();
        let mut packet = vec![0; u32::from_be_bytes(length) as usize];
        self.from.read_exact(&mut packet).unwrap();
        packet
    }

    fn id(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// A request and its answer.
    fn ask(&mut self, message: &impl Encode) -> Vec<u8> {
        self.send(message);
        let answer = self.receive();
        assert_eq!(number_of(&answer).1, self.next, "the answer to another request");
        answer
    }

    fn status(&mut self, message: &impl Encode) -> SFTPStatus {
        status(&self.ask(message))
    }

    /// The end of the session, and what the server says of it; all that it sent before is thrown away.
    fn end(mut self) -> io::Result<()> {
        drop(self.to.take());
        io::copy(&mut self.from, &mut io::sink()).unwrap();
        self.server.take().unwrap().join().unwrap()
    }

    // ---- what tests ask often

    fn open(&mut self, path: &str, flags: OpenFlags) -> Result<Vec<u8>, SFTPStatus> {
        self.open_with(path, flags, &SFTPAttributes::new())
    }

    fn open_with(
        &mut self,
        path: &str,
        flags: OpenFlags,
        attributes: &SFTPAttributes,
    ) -> Result<Vec<u8>, SFTPStatus> {
        let (id, attributes) = (self.id(), attributes.to_vec());
        let answer =
            self.ask(&msg::Open { id, path: path.as_bytes(), flags: flags.0, attributes: Rest(&attributes) });
        match msg::Handle::decode_packet(&answer) {
            Ok(answer) => Ok(answer.handle.to_vec()),
            Err(_) => Err(status(&answer)),
        }
    }

    fn opendir(&mut self, path: &str) -> Result<Vec<u8>, SFTPStatus> {
        let id = self.id();
        let answer = self.ask(&msg::Opendir { id, path: path.as_bytes() });
        match msg::Handle::decode_packet(&answer) {
            Ok(answer) => Ok(answer.handle.to_vec()),
            Err(_) => Err(status(&answer)),
        }
    }

    fn readdir(&mut self, handle: &[u8]) -> Result<Vec<SFTPEntry>, SFTPStatus> {
        let id = self.id();
        let answer = self.ask(&msg::Readdir { id, handle });
        let Ok(names) = msg::Name::decode_packet(&answer) else { return Err(status(&answer)) };
        let mut reader = Reader::new(names.entries.0);
        let entries = (0..names.count).map(|_| reader.get().unwrap()).collect();
        reader.finish().unwrap();
        Ok(entries)
    }

    /// The sorted names of a directory.
    /// The names in a directory, sorted, without the two that every one has.
    fn list(&mut self, path: &str) -> Result<Vec<String>, SFTPStatus> {
        let handle = self.opendir(path)?;
        let mut names = Vec::new();
        loop {
            match self.readdir(&handle) {
                Ok(entries) => names.extend(entries.iter().map(|entry| entry.name.to_string())),
                Err(SFTPStatus::EOF) => break,
                Err(status) => return Err(status),
            }
        }
        assert_eq!(self.close(&handle), SFTPStatus::OK);
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }

    fn read(&mut self, handle: &[u8], offset: u64, length: u32) -> Result<Vec<u8>, SFTPStatus> {
        let id = self.id();
        let answer = self.ask(&msg::Read { id, handle, offset, length });
        match msg::Data::decode_packet(&answer) {
            Ok(answer) => Ok(answer.data.to_vec()),
            Err(_) => Err(status(&answer)),
        }
    }

    fn write(&mut self, handle: &[u8], offset: u64, data: &[u8]) -> SFTPStatus {
        let id = self.id();
        self.status(&msg::Write { id, handle, offset, data, rest: Rest(b"") })
    }

    fn close(&mut self, handle: &[u8]) -> SFTPStatus {
        let id = self.id();
        self.status(&msg::Close { id, handle })
    }

    /// All of a file.
    fn contents(&mut self, path: &str) -> Result<String, SFTPStatus> {
        let handle = self.open(path, OpenFlags::READ)?;
        let bytes = match self.read(&handle, 0, 1000) {
            Err(SFTPStatus::EOF) => Vec::new(),
            other => other?,
        };
        assert_eq!(self.close(&handle), SFTPStatus::OK);
        Ok(String::from_utf8(bytes).unwrap())
    }

    fn stat(&mut self, path: &str) -> Result<SFTPAttributes, SFTPStatus> {
        let id = self.id();
        let answer = self.ask(&msg::Stat { id, path: path.as_bytes() });
        attributes(&answer)
    }

    fn lstat(&mut self, path: &str) -> Result<SFTPAttributes, SFTPStatus> {
        let id = self.id();
        let answer = self.ask(&msg::Lstat { id, path: path.as_bytes() });
        attributes(&answer)
    }

    fn setstat(&mut self, path: &str, attributes: &SFTPAttributes) -> SFTPStatus {
        let (id, attributes) = (self.id(), attributes.to_vec());
        self.status(&msg::Setstat { id, path: path.as_bytes(), attributes: Rest(&attributes) })
    }

    /// A request with one path, or two, and what came of it.
    fn on_path(&mut self, kind: &str, path: &str) -> SFTPStatus {
        let (id, path, nothing) = (self.id(), path.as_bytes(), SFTPAttributes::new().to_vec());
        match kind {
            "remove" => self.status(&msg::Remove { id, path }),
            "mkdir" => self.status(&msg::Mkdir { id, path, attributes: Rest(&nothing) }),
            "rmdir" => self.status(&msg::Rmdir { id, path }),
            other => panic!("{other}"),
        }
    }

    fn on_paths(&mut self, kind: &str, first: &str, second: &str) -> SFTPStatus {
        let (id, first, second) = (self.id(), first.as_bytes(), second.as_bytes());
        let mut fields = Vec::new();
        fields.put(first).put(second);
        match kind {
            "rename" => self.status(&msg::Rename { id, from: first, to: second }),
            "symlink" => self.status(&msg::Symlink { id, first, second }),
            name => self.status(&msg::Extended { id, name: name.as_bytes(), rest: Rest(&fields) }),
        }
    }

    /// The one path that is the answer to REALPATH, READLINK, or an extension of that kind.
    fn path(&mut self, kind: &str, path: &str) -> Result<String, SFTPStatus> {
        let (id, path) = (self.id(), path.as_bytes());
        let field = path.to_vec();
        let mut fields = Vec::new();
        fields.put(field.as_slice());
        let answer = match kind {
            "realpath" => self.ask(&msg::Realpath { id, path }),
            "readlink" => self.ask(&msg::Readlink { id, path }),
            name => self.ask(&msg::Extended { id, name: name.as_bytes(), rest: Rest(&fields) }),
        };
        let Ok(names) = msg::Name::decode_packet(&answer) else { return Err(status(&answer)) };
        assert_eq!(names.count, 1);
        Ok(Reader::new(names.entries.0).get::<SFTPEntry>().unwrap().name.to_string())
    }

    /// An extended request: the fields of its answer.
    fn extended(&mut self, name: &str, fields: &[u8]) -> Result<Vec<u8>, SFTPStatus> {
        let id = self.id();
        let answer = self.ask(&msg::Extended { id, name: name.as_bytes(), rest: Rest(fields) });
        match msg::ExtendedReply::decode_packet(&answer) {
            Ok(reply) => Ok(reply.rest.0.to_vec()),
            Err(_) => Err(status(&answer)),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.to.take());
    }
}

fn number_of(packet: &[u8]) -> (u8, u32) {
    let mut reader = Reader::new(packet);
    (reader.get().unwrap(), reader.get().unwrap())
}

/// The code of a STATUS, whose text must be there too.
fn status(packet: &[u8]) -> SFTPStatus {
    let status = msg::Status::decode_packet(packet).unwrap();
    assert!(!status.words().unwrap().is_empty());
    SFTPStatus(status.code)
}

fn attributes(packet: &[u8]) -> Result<SFTPAttributes, SFTPStatus> {
    match msg::Attrs::decode_packet(packet) {
        Ok(answer) => Ok(Reader::new(answer.attributes.0).get().unwrap()),
        Err(Malformed::Number { .. }) => Err(status(packet)),
        Err(error) => panic!("{error}"),
    }
}
