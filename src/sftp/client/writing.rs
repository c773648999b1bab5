//! Writes to an open file, many under way at once. The first that fails is told by the call after it.

use std::collections::HashMap;

use super::exchange::{Mailbox, SMALL_ANSWER};
use super::{Answer, Asked, SFTPClient};
use crate::error::{Error, Result};
use crate::sftp::packet::RemoteName;
use crate::sftp::packet::message::{Write, frame};
use crate::wire::Writer;

/// Bytes of one WRITE, where nobody asks for more: whole pages, and with its head no more than fills a pipe twice.
/// OpenSSH's server does not read the pipe that its requests come through while it writes: of longer ones it has to
/// wait for the rest each time.
pub(in crate::sftp) const WRITE_PART: u32 = 124 * 1024;

/// A WRITE whose data are still to come: they are appended, then [`end_write`] makes it whole.
/// `packet` is an empty buffer.
pub(in crate::sftp) fn begin_write(mut packet: Vec<u8>, handle: &[u8], offset: u64, room: usize) -> Vec<u8> {
    // Length, type, number, handle with its length, offset, length of the data.
    let front = 4 + 1 + 4 + 4 + 8 + 4;
    packet.reserve(room.saturating_add(front).saturating_add(handle.len()));
    packet.put_raw(&[0; 4]).put(&Write::NUMBER).put(&0_u32).put(handle).put(&offset).put(&0_u32);
    packet
}

/// Puts the lengths in, now that the data stand behind `front` bytes; how many there are.
pub(in crate::sftp) fn end_write(packet: &mut [u8], front: usize) -> u32 {
    let length = u32::try_from(packet.len().saturating_sub(front)).unwrap_or(u32::MAX);
    if let Some(place) = packet.get_mut(front.saturating_sub(4)..front) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    frame(packet);
    length
}

/// Writes of one file under way.
#[derive(Debug)]
pub(in crate::sftp) struct Writing {
    client: SFTPClient,
    mailbox: Mailbox,
    handle: Vec<u8>,
    path: RemoteName,
    /// How many bytes each write under way has.
    asked: HashMap<u64, u32>,
    under_way: usize,
    next_tag: u64,
}

impl Writing {
    pub(in crate::sftp) fn new(client: &SFTPClient, handle: &[u8], path: &RemoteName) -> Self {
        Self {
            client: client.clone(),
            mailbox: client.mailbox(),
            handle: handle.to_vec(),
            path: path.clone(),
            asked: HashMap::new(),
            under_way: 0,
            next_tag: 0,
        }
    }

    /// Sends a packet that has its data.
    fn send(&mut self, mut packet: Vec<u8>, front: usize) -> Result<()> {
        let length = end_write(&mut packet, front);
        self.make_room(length as usize)?;
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        let deadline = self.client.deadline();
        self.client.post(&self.mailbox, packet, (SMALL_ANSWER, tag), deadline)?;
        self.asked.insert(tag, length);
        self.under_way = self.under_way.saturating_add(length as usize);
        self.client.wait(deadline, |until| self.mailbox.flush(until))
    }

    /// Sends all of `buf`; waits only while too much is under way.
    pub(in crate::sftp) fn write(&mut self, buf: &[u8], offset: u64) -> Result<()> {
        let mut offset = offset;
        for piece in buf.chunks(self.client.write_size().min(WRITE_PART) as usize) {
            let mut packet = begin_write(self.mailbox.exchange().buffer(), &self.handle, offset, piece.len());
            let front = packet.len();
            packet.put_raw(piece);
            self.send(packet, front)?;
            offset = offset.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    fn make_room(&mut self, length: usize) -> Result<()> {
        let depth = self.client.write_depth();
        while let Some((tag, reply)) = self.mailbox.try_next() {
            self.taken(tag, reply)?;
        }
        while self.under_way > 0 && self.under_way.saturating_add(length) > depth {
            self.next()?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        let (tag, reply) = self.client.wait(self.client.deadline(), |until| self.mailbox.next(until))?;
        self.taken(tag, reply)
    }

    fn taken(&mut self, tag: u64, reply: super::Reply) -> Result<()> {
        let length = self.asked.remove(&tag).unwrap_or_default();
        self.under_way = self.under_way.saturating_sub(length as usize);
        let asked = Asked { operation: "write", path: self.path.as_bytes() };
        match self.client.read_answer(reply, asked)? {
            Answer::Done => Ok(()),
            other => Err(self.client.wrong(&other, asked)),
        }
    }

    /// Waits for all; the first error of them.
    pub(in crate::sftp) fn finish(&mut self) -> Result<()> {
        let mut first = Ok(());
        while !self.asked.is_empty() {
            let outcome = self.next();
            let lost = matches!(outcome, Err(ref error) if !matches!(error, Error::Sftp(_)));
            first = first.and(outcome);
            if lost {
                break;
            }
        }
        first
    }
}
