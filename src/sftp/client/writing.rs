//! Writes to an open file, many under way at once. The first that fails is told by the call after it.

use std::collections::HashMap;
use std::io::Read;

use super::exchange::{Mailbox, SMALL_ANSWER};
use super::{Answer, Asked, SFTPClient};
use crate::error::{Error, Result};
use crate::sftp::packet::RemoteName;
use crate::sftp::packet::message::{Write, frame};
use crate::wire::{Encode, Writer};

/// Writes of one file under way.
#[derive(Debug)]
pub(super) struct Writing {
    client: SFTPClient,
    mailbox: Mailbox,
    handle: Vec<u8>,
    path: RemoteName,
    /// How many bytes each write under way has.
    asked: HashMap<u64, (u64, u32)>,
    under_way: usize,
    next_tag: u64,
}

impl Writing {
    pub(super) fn new(client: &SFTPClient, handle: &[u8], path: &RemoteName) -> Self {
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

    /// A WRITE whose data are still to come: they are appended, then it is [`send`](Self::send)t.
    pub(super) fn packet(&self, offset: u64, room: usize) -> Vec<u8> {
        let mut packet = Vec::with_capacity(room.saturating_add(64).saturating_add(self.handle.len()));
        packet.put_raw(&[0; 4]).put(&Write::NUMBER).put(&0_u32).put(self.handle.as_slice()).put(&offset);
        0_u32.encode(&mut packet);
        packet
    }

    /// Sends a packet of [`packet`](Self::packet) that has its data now.
    pub(super) fn send(&mut self, mut packet: Vec<u8>, offset: u64) -> Result<()> {
        let front = 4 + 1 + 4 + 4 + self.handle.len() + 8 + 4;
        let length = u32::try_from(packet.len().saturating_sub(front)).unwrap_or(u32::MAX);
        if let Some(place) = packet.get_mut(front - 4..front) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        frame(&mut packet);
        self.make_room(length as usize)?;
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        self.asked.insert(tag, (offset, length));
        self.under_way = self.under_way.saturating_add(length as usize);
        self.mailbox.send(packet, SMALL_ANSWER, tag, self.client.deadline())
    }

    /// Sends all of `buf`; waits only while too much is under way.
    pub(super) fn write(&mut self, buf: &[u8], offset: u64) -> Result<()> {
        let mut offset = offset;
        for piece in buf.chunks(self.client.write_size() as usize) {
            let mut packet = self.packet(offset, piece.len());
            packet.put_raw(piece);
            self.send(packet, offset)?;
            offset = offset.saturating_add(piece.len() as u64);
        }
        Ok(())
    }

    /// Sends what `source` gives, up to `limit` bytes; how many there were, and whether it has ended.
    pub(super) fn write_from(
        &mut self,
        source: &mut dyn Read,
        offset: u64,
        limit: usize,
    ) -> Result<(usize, bool)> {
        let room = limit.min(self.client.write_size() as usize);
        let mut packet = self.packet(offset, room);
        let front = packet.len();
        let read = source.take(room as u64).read_to_end(&mut packet);
        let count = packet.len().saturating_sub(front);
        read.map_err(|error| Error::io("reading what is to be sent", error))?;
        if count > 0 {
            self.send(packet, offset)?;
        }
        Ok((count, count < room))
    }

    fn make_room(&mut self, length: usize) -> Result<()> {
        let depth = self.client.depth();
        while let Some((tag, reply)) = self.mailbox.try_next() {
            self.taken(tag, reply)?;
        }
        while self.under_way > 0 && self.under_way.saturating_add(length) > depth {
            self.next()?;
        }
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        let (tag, reply) = self.mailbox.next(self.client.deadline())?;
        self.taken(tag, reply)
    }

    fn taken(&mut self, tag: u64, reply: super::Reply) -> Result<()> {
        let (_, length) = self.asked.remove(&tag).unwrap_or_default();
        self.under_way = self.under_way.saturating_sub(length as usize);
        let asked = Asked { operation: "write", path: self.path.as_bytes() };
        match self.client.read_answer(reply, asked)? {
            Answer::Done => Ok(()),
            other => Err(self.client.wrong(&other, asked)),
        }
    }

    /// Before this place everything is written, as far as the server has answered.
    pub(super) fn safe_before(&self, sent: u64) -> u64 {
        self.asked.values().map(|(offset, _)| *offset).min().unwrap_or(sent)
    }

    /// Waits for all; the first error of them.
    pub(super) fn finish(&mut self) -> Result<()> {
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
