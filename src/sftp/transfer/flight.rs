//! Requests under way, each with what it is for; and how fast they may go.

use std::collections::HashMap;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::sftp::client::{Mailbox, Reply, SFTPClient};
use crate::sys::pace::Pace;

/// Requests of one transfer.
#[derive(Debug)]
pub(super) struct Flight<K> {
    pub(super) client: SFTPClient,
    mailbox: Mailbox,
    asked: HashMap<u64, K>,
    next_tag: u64,
    pace: Option<Pace>,
}

impl<K> Flight<K> {
    pub(super) fn new(client: &SFTPClient, bandwidth: Option<u64>) -> Self {
        let pace = bandwidth.map(|bytes| Pace::new(bytes, Instant::now()));
        Self { client: client.clone(), mailbox: client.mailbox(), asked: HashMap::new(), next_tag: 0, pace }
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Queues a request whose answer may have `expected` bytes; it leaves with the next
    /// [`next_all`](Self::next_all).
    pub(super) fn ask(&mut self, kind: K, packet: Vec<u8>, expected: usize) -> Result<()> {
        let tag = self.next_tag;
        self.next_tag = tag.wrapping_add(1);
        self.asked.insert(tag, kind);
        self.mailbox.post(packet, expected, tag, self.client.deadline())
    }

    /// Sends what is queued, waits for an answer and takes all there are.
    pub(super) fn next_all(&mut self) -> Result<Vec<(K, Reply)>> {
        let deadline = self.client.deadline();
        self.mailbox.flush(deadline)?;
        let replies = self.mailbox.next_all(deadline)?;
        let known = |(tag, reply)| {
            let kind = self.asked.remove(&tag).ok_or(Error::Misuse("an answer that nobody asked for"))?;
            Ok((kind, reply))
        };
        replies.into_iter().map(known).collect()
    }

    /// Lets go of answers that came with one that ends the transfer.
    pub(super) fn abandon(&self, replies: impl Iterator<Item = (K, Reply)>) {
        for (_, reply) in replies {
            self.mailbox.exchange().discard(&reply);
        }
    }

    /// An empty buffer for a large request.
    pub(super) fn buffer(&self) -> Vec<u8> {
        self.mailbox.exchange().buffer()
    }

    /// Gives the buffer of an answer back.
    pub(super) fn recycle(&self, buffer: Vec<u8>) {
        self.mailbox.exchange().recycle(buffer);
    }

    /// Counts bytes that go or are asked for; waits where they would be too many.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<()> {
        let Some(pace) = &mut self.pace else { return Ok(()) };
        match pace.spend(bytes, Instant::now()) {
            Some(until) => {
                // What is queued is within the limit still.
                self.mailbox.flush(self.client.deadline())?;
                self.mailbox.pause(until)
            }
            None => Ok(()),
        }
    }
}
