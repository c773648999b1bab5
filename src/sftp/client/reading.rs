//! Parts of an open file, many asked for at once, as their answers come: under `get`, `prefetch` and
//! `readv`. Short answers are asked on for; a server that gives nothing, or more than was asked, is at fault.

use std::collections::HashMap;

use super::answer::DATA_FRONT;
use super::exchange::Mailbox;
use super::{Answer, Asked, SFTPClient};
use crate::error::{Error, Result};
use crate::sftp::packet::message::{Read, framed};
use crate::sftp::packet::{RemoteName, SFTPStatus};

/// What an answer has besides the data.
const FRONT: usize = 16;

/// A part of the file that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sftp) struct Part {
    pub(in crate::sftp) offset: u64,
    pub(in crate::sftp) length: u32,
}

/// What came of a part.
#[derive(Debug)]
pub(in crate::sftp) enum Fetched {
    /// Data from this offset on. The buffer goes back by [`Reading::recycle`].
    Data(u64, Vec<u8>),
    /// The file ends at or before this offset.
    End(u64),
}

impl Fetched {
    /// The data in a buffer of [`Fetched::Data`].
    pub(in crate::sftp) fn bytes(buffer: &[u8]) -> &[u8] {
        buffer.get(DATA_FRONT..).unwrap_or_default()
    }
}

/// Parts of one file under way.
#[derive(Debug)]
pub(in crate::sftp) struct Reading {
    client: SFTPClient,
    mailbox: Mailbox,
    handle: Vec<u8>,
    path: RemoteName,
    asked: HashMap<u64, Part>,
    next_tag: u64,
}

impl Reading {
    pub(in crate::sftp) fn new(client: &SFTPClient, handle: &[u8], path: &RemoteName) -> Self {
        Self {
            client: client.clone(),
            mailbox: client.mailbox(),
            handle: handle.to_vec(),
            path: path.clone(),
            asked: HashMap::new(),
            next_tag: 0,
        }
    }

    /// Bytes asked for and not yet there.
    pub(in crate::sftp) fn under_way(&self) -> usize {
        self.asked.values().map(|part| part.length as usize).sum()
    }

    /// Whether that place of the file is under way.
    pub(in crate::sftp) fn covers(&self, offset: u64) -> bool {
        let within =
            |part: &Part| (part.offset..part.offset.saturating_add(part.length.into())).contains(&offset);
        self.asked.values().any(within)
    }

    /// Asks for a part, of at most the server's limit; it leaves with the next [`flush`](Self::flush).
    pub(in crate::sftp) fn ask(&mut self, part: Part) -> Result<()> {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        let packet = framed(&Read { id: 0, handle: &self.handle, offset: part.offset, length: part.length });
        let expected = (part.length as usize).saturating_add(FRONT);
        self.client.post(&self.mailbox, packet, (expected, tag), self.client.deadline())?;
        self.asked.insert(tag, part);
        Ok(())
    }

    /// Sends what was asked for.
    pub(in crate::sftp) fn flush(&self) -> Result<()> {
        self.client.wait(self.client.deadline(), |until| self.mailbox.flush(until))
    }

    /// The next answer, whichever part it is to.
    pub(in crate::sftp) fn next(&mut self) -> Result<Fetched> {
        let (tag, reply) = self.client.wait(self.client.deadline(), |until| self.mailbox.next(until))?;
        let asked = Asked { operation: "read", path: self.path.as_bytes() };
        let Some(part) = self.asked.remove(&tag) else {
            return Err(Error::Misuse("an answer to a read that nobody made"));
        };
        match self.client.read_answer(reply, asked) {
            Ok(Answer::Data(buffer)) => {
                let count = u32::try_from(Fetched::bytes(&buffer).len()).unwrap_or(u32::MAX);
                if count == 0 || count > part.length {
                    let text = format!("{count} bytes of SFTP data, where {} were asked for", part.length);
                    return Err(self.client.shared.exchange.broken_by_peer(Error::protocol(text)));
                }
                if count < part.length {
                    let offset = part.offset.saturating_add(count.into());
                    self.ask(Part { offset, length: part.length.saturating_sub(count) })?;
                    self.flush()?;
                }
                Ok(Fetched::Data(part.offset, buffer))
            }
            Ok(other) => Err(self.client.wrong(&other, asked)),
            Err(Error::Sftp(error)) if error.status == SFTPStatus::EOF => Ok(Fetched::End(part.offset)),
            Err(error) => Err(error),
        }
    }

    /// Gives a buffer back.
    pub(in crate::sftp) fn recycle(&self, buffer: Vec<u8>) {
        self.mailbox.exchange().recycle(buffer);
    }
}
