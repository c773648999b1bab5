//! `SFTPFile`: an open file, as `std::fs::File` and paramiko's file have it.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::answer::DATA_FRONT;
use super::exchange::SMALL_ANSWER;
use super::prefetch::Prefetch;
use super::reading::{Fetched, Part, Reading};
use super::writing::Writing;
use super::{Answer, Asked, SFTPClient};
use crate::error::{Error, Result};
use crate::sftp::packet::message::{self, Close, Fsetstat, Fstat, Open, framed};
use crate::sftp::packet::{OpenFlags, RemoteName, SFTPAttributes, SFTPStatus, SFTPTime};
use crate::wire::{Encode, Rest, Writer};

/// What one call moves on, and who else waits for it. Held for the length of a call: two readers of one
/// position can only take turns. No other lock is held when it is taken.
#[derive(Debug)]
struct Cursor {
    position: u64,
    prefetch: Option<Prefetch>,
    /// Writes that were not waited for.
    writing: Option<Writing>,
    pipelined: bool,
    closed: bool,
}

/// An open file of the server. `Read`, `Write` and `Seek` work on `&SFTPFile` too; threads that share one
/// take turns at its position, and do not with [`read_at`](Self::read_at) and [`write_at`](Self::write_at).
///
/// A read asks the server for what was asked for and no more: wrap it in a `BufReader`, or
/// [`prefetch`](Self::prefetch), for many small ones. Dropping it closes it without a word of what failed:
/// [`close`](Self::close) tells.
pub struct SFTPFile {
    client: SFTPClient,
    handle: Vec<u8>,
    path: RemoteName,
    append: bool,
    cursor: Mutex<Cursor>,
}

impl fmt::Debug for SFTPFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SFTPFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The flags of a mode as C's `fopen` and Python's `open` have it.
fn flags(mode: &str) -> Result<OpenFlags> {
    let new = OpenFlags::WRITE | OpenFlags::CREATE;
    let mut flags = match mode.as_bytes().first() {
        Some(b'r') => OpenFlags::READ,
        Some(b'w') => new | OpenFlags::TRUNCATE,
        Some(b'a') => new | OpenFlags::APPEND,
        Some(b'x') => new | OpenFlags::EXCLUSIVE,
        _ => return Err(Error::Misuse("a file's mode begins with r, w, a or x")),
    };
    for letter in mode.bytes().skip(1) {
        match letter {
            b'+' => flags = flags | OpenFlags::READ | OpenFlags::WRITE,
            // All files are binary.
            b'b' => {}
            _ => return Err(Error::Misuse("a file's mode has one of r, w, a, x, then + or b")),
        }
    }
    Ok(flags)
}

impl SFTPClient {
    /// Opens a file: `r` to read it; `w` to write it from its beginning, `a` at its end, `x` only if it is not
    /// there yet; with `+` for both. A new one gets the permissions that the server gives.
    ///
    /// # Errors
    /// [`Error::Sftp`] when the server refuses, [`Error::Misuse`] for another mode, [`Error::Timeout`],
    /// [`Error::Closed`].
    pub fn open(&self, path: impl AsRef<[u8]>, mode: &str) -> Result<SFTPFile> {
        self.open_with(path, flags(mode)?, &SFTPAttributes::new())
    }

    /// Opens a file by the protocol's flags; a new one gets those attributes.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(
        &self,
        path: impl AsRef<[u8]>,
        flags: OpenFlags,
        attributes: &SFTPAttributes,
    ) -> Result<SFTPFile> {
        let path = self.absolute(path);
        let asked = Asked { operation: "open", path: path.as_bytes() };
        let attributes = attributes.to_vec();
        let packet = Open { id: 0, path: asked.path, flags: flags.0, attributes: Rest(&attributes) };
        let handle = match self.ask(framed(&packet), SMALL_ANSWER, asked)? {
            Answer::Handle(handle) => handle,
            other => return Err(self.wrong(&other, asked)),
        };
        let file = SFTPFile::new(self.clone(), handle, path, flags.has(OpenFlags::APPEND));
        if file.append {
            // Not every server looks at the flag; writing at the end is right for both.
            let size = file.stat()?.size.unwrap_or_default();
            file.cursor.lock().position = size;
        }
        Ok(file)
    }

    /// The data asked for at once: what the round trip takes, and what the stream takes in.
    pub(in crate::sftp) fn read_depth(&self) -> usize {
        /// Enough for a local network; more makes servers slower.
        const SHORT: usize = 2 * 1024 * 1024;
        self.depth(SHORT).min(self.shared.exchange.capacity())
    }

    /// The data that is written at once: what the round trip takes.
    pub(in crate::sftp) fn write_depth(&self) -> usize {
        /// Four of [`WRITE_PART`] keep OpenSSH's server busy. With its window full of them it took 1.3 times as long,
        /// and swung more.
        const SHORT: usize = 512 * 1024;
        self.depth(SHORT)
    }

    /// Writes under way, at most: their answers must fit into what the stream takes in.
    pub(in crate::sftp) fn most_writes(&self) -> usize {
        (self.shared.exchange.capacity() / SMALL_ANSWER).max(1)
    }

    /// What the round trip takes, and on a short one not so much that it only fills memory.
    fn depth(&self, short: usize) -> usize {
        /// Ten gigabits in a second, in bytes of a microsecond.
        const BYTES_OF_A_MICROSECOND: u128 = 1250;
        let trip = self.shared.round_trip.as_micros().saturating_mul(BYTES_OF_A_MICROSECOND);
        short.saturating_add(usize::try_from(trip).unwrap_or(usize::MAX)).min(64 * 1024 * 1024)
    }

    /// The most that one READ may ask for.
    pub(in crate::sftp) fn read_size(&self) -> u32 {
        u32::try_from(self.shared.server.limits.read).unwrap_or(u32::MAX)
    }

    /// The most that one WRITE may carry.
    pub(in crate::sftp) fn write_size(&self) -> u32 {
        u32::try_from(self.shared.server.limits.write).unwrap_or(u32::MAX)
    }

    /// What the server says of an open file.
    pub(in crate::sftp) fn stat_handle(&self, handle: &[u8], path: &RemoteName) -> Result<SFTPAttributes> {
        let asked = Asked { operation: "fstat", path: path.as_bytes() };
        self.attributes(framed(&Fstat { id: 0, handle }), asked)
    }

    /// Closes a handle for somebody who does not wait; who drops something may not wait.
    pub(in crate::sftp) fn close_handle(&self, packet: &[u8]) {
        self.shared.exchange.tell(packet.to_vec());
    }
}

impl SFTPFile {
    pub(super) fn new(client: SFTPClient, handle: Vec<u8>, path: RemoteName, append: bool) -> Self {
        let cursor = Cursor { position: 0, prefetch: None, writing: None, pipelined: false, closed: false };
        Self { client, handle, path, append, cursor: Mutex::new(cursor) }
    }

    /// The path that it was opened by.
    #[must_use]
    pub fn path(&self) -> &RemoteName {
        &self.path
    }

    pub(super) fn client(&self) -> &SFTPClient {
        &self.client
    }

    pub(in crate::sftp) fn handle(&self) -> &[u8] {
        &self.handle
    }

    pub(super) fn handle_field(&self) -> Vec<u8> {
        let mut fields = Vec::new();
        fields.put(self.handle.as_slice());
        fields
    }

    pub(super) fn same_connection(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client.shared, &other.client.shared)
    }

    fn asked(&self, operation: &'static str) -> Asked<'_> {
        Asked { operation, path: self.path.as_bytes() }
    }

    fn open_cursor(&self) -> Result<MutexGuard<'_, Cursor>> {
        let cursor = self.cursor.lock();
        if cursor.closed { Err(Error::Closed(None)) } else { Ok(cursor) }
    }

    // ---- the file itself

    /// What is known of the file.
    ///
    /// # Errors
    /// [`Error::Sftp`], [`Error::Timeout`], [`Error::Closed`]; and what earlier writes met that were not
    /// waited for.
    pub fn stat(&self) -> Result<SFTPAttributes> {
        self.finish_writes()?;
        self.client.stat_handle(&self.handle, &self.path)
    }

    /// Sets what `attributes` has.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn setstat(&self, attributes: &SFTPAttributes) -> Result<()> {
        self.finish_writes()?;
        let attributes = attributes.to_vec();
        let message = Fsetstat { id: 0, handle: &self.handle, attributes: Rest(&attributes) };
        self.client.tell(&message, self.asked("fsetstat"))
    }

    /// Sets the permissions.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn chmod(&self, mode: u32) -> Result<()> {
        self.setstat(&SFTPAttributes::new().with_mode(mode & 0o7777))
    }

    /// Sets the numbers of the user and the group.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn chown(&self, uid: u32, gid: u32) -> Result<()> {
        self.setstat(&SFTPAttributes::new().with_owner(uid, gid))
    }

    /// Sets when the file was last read and last written, in whole seconds.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn utime(&self, accessed: impl Into<SFTPTime>, modified: impl Into<SFTPTime>) -> Result<()> {
        self.setstat(&SFTPAttributes::new().with_times(accessed, modified))
    }

    /// Sets the size: cut off, or filled up with zeros.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn truncate(&self, size: u64) -> Result<()> {
        self.setstat(&SFTPAttributes::new().with_size(size))
    }

    /// Closes the file. What earlier writes met that were not waited for is told here at the latest.
    /// Closing twice is fine.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn close(&self) -> Result<()> {
        let mut cursor = self.cursor.lock();
        if std::mem::replace(&mut cursor.closed, true) {
            return Ok(());
        }
        cursor.prefetch = None;
        let written = cursor.writing.take().map_or(Ok(()), |mut writing| writing.finish());
        let closed = self.client.tell(&Close { id: 0, handle: &self.handle }, self.asked("close"));
        written.and(closed)
    }

    // ---- reading

    /// Reads ahead from here to the end of the file as it is now, or to `end`; reads in any order are served
    /// from what is there.
    ///
    /// # Errors
    /// As [`stat`](Self::stat), which it asks for without an `end`.
    pub fn prefetch(&self, end: Option<u64>) -> Result<()> {
        let end = match end {
            Some(end) => end,
            None => self.stat()?.size.unwrap_or_default(),
        };
        let mut cursor = self.open_cursor()?;
        let reading = Reading::new(&self.client, &self.handle, &self.path);
        let depth = self.client.read_depth();
        let range = cursor.position..end;
        cursor.prefetch = Some(Prefetch::new(reading, range, depth, self.client.read_size()));
        Ok(())
    }

    /// Reads at a place of the file without moving the position; 0 at the end.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        if buf.len() <= self.client.read_size() as usize {
            self.read_one(buf, offset)
        } else {
            self.read_many(buf, offset)
        }
    }

    /// One request's worth.
    fn read_one(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let length = u32::try_from(buf.len()).unwrap_or(u32::MAX);
        let asked = self.asked("read");
        let packet = framed(&message::Read { id: 0, handle: &self.handle, offset, length });
        let data = match self.client.ask(packet, buf.len().saturating_add(SMALL_ANSWER), asked) {
            Ok(Answer::Data(data)) => data,
            Ok(other) => return Err(self.client.wrong(&other, asked)),
            Err(Error::Sftp(error)) if error.status == SFTPStatus::EOF => return Ok(0),
            Err(error) => return Err(error),
        };
        let bytes = data.get(DATA_FRONT..).unwrap_or_default();
        match buf.get_mut(..bytes.len()) {
            Some(room) if !bytes.is_empty() => room.copy_from_slice(bytes),
            _ => {
                let text = format!("{} bytes of SFTP data, where {length} were asked for", bytes.len());
                return Err(self.client.shared.exchange.broken_by_peer(Error::protocol(text)));
            }
        }
        let count = bytes.len();
        self.client.shared.exchange.recycle(data);
        Ok(count)
    }

    /// As many requests as it takes, at once.
    fn read_many(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let wanted = buf.len().min(self.client.read_depth());
        let size = self.client.read_size();
        let mut reading = Reading::new(&self.client, &self.handle, &self.path);
        let mut asked = 0_usize;
        while asked < wanted {
            let length = u32::try_from(wanted.saturating_sub(asked)).unwrap_or(u32::MAX).min(size);
            reading.ask(Part { offset: offset.saturating_add(asked as u64), length })?;
            asked = asked.saturating_add(length as usize);
        }
        reading.flush()?;
        let mut end = offset.saturating_add(wanted as u64);
        while reading.under_way() > 0 {
            match reading.next()? {
                Fetched::Data(at, data) => {
                    let bytes = Fetched::bytes(&data);
                    let from = usize::try_from(at.saturating_sub(offset)).unwrap_or(usize::MAX);
                    let room = buf.get_mut(from..).and_then(|room| room.get_mut(..bytes.len()));
                    room.ok_or(Error::Misuse("data outside of what was asked for"))?.copy_from_slice(bytes);
                    reading.recycle(data);
                }
                Fetched::End(at) => end = end.min(at),
            }
        }
        Ok(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX))
    }

    /// Reads parts of the file, by place and length, all asked for ahead: each is yielded, in the order
    /// asked, as soon as it is there; shorter where the file ends.
    pub fn readv<'a>(&'a self, parts: &'a [(u64, u32)]) -> impl Iterator<Item = Result<Vec<u8>>> + 'a {
        super::readv::Readv::new(self, parts)
    }

    pub(super) fn reading(&self) -> Reading {
        Reading::new(&self.client, &self.handle, &self.path)
    }

    // ---- writing

    /// Whether writes return before the server has answered. What they meet is told by a later call, by
    /// [`close`](Self::close) at the latest.
    ///
    /// # Errors
    /// What writes have met that were not waited for, when it is switched off.
    pub fn set_pipelined(&self, pipelined: bool) -> Result<()> {
        self.open_cursor()?.pipelined = pipelined;
        if pipelined { Ok(()) } else { self.finish_writes() }
    }

    /// Waits for the writes that were not waited for.
    pub(super) fn finish_writes(&self) -> Result<()> {
        match &mut self.open_cursor()?.writing {
            Some(writing) => writing.finish(),
            None => Ok(()),
        }
    }

    /// Writes all of `buf` at a place of the file without moving the position. A file that was opened to
    /// append is written at its end.
    ///
    /// # Errors
    /// As [`stat`](Self::stat).
    pub fn write_at(&self, buf: &[u8], offset: u64) -> Result<()> {
        let mut writing = Writing::new(&self.client, &self.handle, &self.path);
        writing.write(buf, offset)?;
        writing.finish()
    }

    fn write_here(&self, buf: &[u8]) -> Result<usize> {
        let mut cursor = self.open_cursor()?;
        let Cursor { position, writing, pipelined, .. } = &mut *cursor;
        let writing = writing.get_or_insert_with(|| Writing::new(&self.client, &self.handle, &self.path));
        writing.write(buf, *position)?;
        *position = position.saturating_add(buf.len() as u64);
        if !*pipelined {
            writing.finish()?;
        }
        Ok(buf.len())
    }

    fn read_here(&self, buf: &mut [u8]) -> Result<usize> {
        let mut cursor = self.open_cursor()?;
        let Cursor { position, prefetch, writing, .. } = &mut *cursor;
        if let Some(writing) = writing {
            writing.finish()?;
        }
        let ahead = match prefetch {
            Some(prefetch) => prefetch.read(*position, buf)?,
            None => None,
        };
        let count = match ahead {
            Some(count) => count,
            None => self.read_at(buf, *position)?,
        };
        *position = position.saturating_add(count as u64);
        Ok(count)
    }

    /// The position of the next read or write.
    #[must_use]
    pub fn tell(&self) -> u64 {
        self.cursor.lock().position
    }
}

impl Drop for SFTPFile {
    fn drop(&mut self) {
        if !self.cursor.get_mut().closed {
            self.client.close_handle(&framed(&Close { id: 0, handle: &self.handle }));
        }
    }
}

impl Read for &SFTPFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_here(buf)?)
    }
}

impl Read for SFTPFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for &SFTPFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(self.write_here(buf)?)
    }

    /// Waits until the server has answered all writes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(self.finish_writes()?)
    }
}

impl Write for SFTPFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl Seek for &SFTPFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let end = match to {
            SeekFrom::End(_) => self.stat()?.size.unwrap_or_default(),
            _ => 0,
        };
        let mut cursor = self.open_cursor()?;
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => end.checked_add_signed(offset),
            SeekFrom::Current(offset) => cursor.position.checked_add_signed(offset),
        };
        let outside =
            || io::Error::new(io::ErrorKind::InvalidInput, "a position before the file's beginning");
        cursor.position = target.ok_or_else(outside)?;
        Ok(cursor.position)
    }
}

impl Seek for SFTPFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_python_s() {
        let new = OpenFlags::WRITE | OpenFlags::CREATE;
        for (mode, expected) in [
            ("r", OpenFlags::READ),
            ("rb", OpenFlags::READ),
            ("r+", OpenFlags::READ | OpenFlags::WRITE),
            ("w", new | OpenFlags::TRUNCATE),
            ("wb+", new | OpenFlags::TRUNCATE | OpenFlags::READ),
            ("a", new | OpenFlags::APPEND),
            ("x", new | OpenFlags::EXCLUSIVE),
        ] {
            assert_eq!(flags(mode).unwrap(), expected, "{mode}");
        }
        for mode in ["", "b", "rw", "rU", "+"] {
            assert!(matches!(flags(mode), Err(Error::Misuse(_))), "{mode}");
        }
    }
}
