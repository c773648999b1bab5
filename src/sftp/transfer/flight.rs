//! Requests under way, each with what it is for; and how fast they may go.

use std::collections::HashMap;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::sftp::client::{GoOn, LOOK_UP, Mailbox, Reply, SFTPClient, wait_while};
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

    /// Queues a request whose answer may have `expected` bytes; it leaves with the next [`next_all`](Self::next_all).
    /// Waits where too much is under way, of others too.
    pub(super) fn ask(&mut self, kind: K, packet: Vec<u8>, expected: usize, go_on: GoOn<'_>) -> Result<()> {
        let (mut packet, tag) = (packet, self.next_tag);
        self.next_tag = tag.wrapping_add(1);
        self.asked.insert(tag, kind);
        self.wait(go_on, |mailbox, until| mailbox.post(&mut packet, expected, tag, until))
    }

    /// Sends what is queued, waits for an answer and takes all there are.
    pub(super) fn next_all(&mut self, go_on: GoOn<'_>) -> Result<Vec<(K, Reply)>> {
        let replies = self.wait(go_on, |mailbox, until| {
            mailbox.flush(until)?;
            mailbox.next_all(until)
        })?;
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

    /// Waits for the server, as long as one request may take.
    fn wait<T>(
        &self,
        go_on: GoOn<'_>,
        mut attempt: impl FnMut(&Mailbox, Option<Instant>) -> Result<T>,
    ) -> Result<T> {
        wait_while(self.client.deadline(), go_on, |until| attempt(&self.mailbox, until))
    }

    /// Counts bytes that go or are asked for; waits where they would be too many.
    pub(super) fn spend(&mut self, bytes: usize, go_on: GoOn<'_>) -> Result<()> {
        let due = self.pace.as_mut().and_then(|pace| pace.spend(bytes, Instant::now()));
        let Some(due) = due else { return Ok(()) };
        // What is queued is within the limit still.
        self.wait(&mut *go_on, Mailbox::flush)?;
        loop {
            let look_up = Instant::now().checked_add(LOOK_UP);
            self.mailbox.pause(look_up.map_or(due, |look_up| look_up.min(due)))?;
            if Instant::now() >= due {
                return Ok(());
            }
            go_on()?;
        }
    }
}
