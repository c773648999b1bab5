//! The entries of a directory, read ahead while they are looked at.

use std::collections::VecDeque;
use std::fmt;

use super::exchange::{Mailbox, SMALL_ANSWER};
use super::{Answer, Asked, SFTPClient};
use crate::error::{Error, Result};
use crate::sftp::packet::message::{Close, Opendir, Readdir, framed};
use crate::sftp::packet::{MAX_PACKET, RemoteName, SFTPEntry, SFTPStatus};

/// READDIRs under way: one is answered while the next ones wait at the server.
const AHEAD: usize = 4;
/// Entries of one directory: a server may list for ever.
const MAX_ENTRIES: u64 = 10_000_000;
/// Entries of one directory that are kept all at once.
const MAX_KEPT: u64 = 1_000_000;
/// Bytes of their names and long forms.
const MAX_KEPT_BYTES: u64 = 256 * 1024 * 1024;
/// Answers without any entry: they bring nothing on.
const MAX_EMPTY: u64 = 100_000;

/// The entries of a directory, `.` and `..` left out, in the server's order. Dropping it closes the
/// directory.
pub struct Listing {
    client: SFTPClient,
    mailbox: Mailbox,
    handle: Vec<u8>,
    path: RemoteName,
    ready: VecDeque<SFTPEntry>,
    asked: usize,
    ended: bool,
    listed: u64,
    /// Answers that listed nothing to be shown.
    empty: u64,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("path", &self.path).finish_non_exhaustive()
    }
}

impl SFTPClient {
    /// The names in a directory, `.` and `..` left out, in the server's order.
    ///
    /// # Errors
    /// As [`listdir_iter`](Self::listdir_iter); [`Error::Limit`] beyond a million entries, which come one by
    /// one only.
    pub fn listdir(&self, path: impl AsRef<[u8]>) -> Result<Vec<RemoteName>> {
        let mut names = Vec::new();
        self.listdir_iter(path)?.keep_all(|entry| names.push(entry.name))?;
        Ok(names)
    }

    /// The files in a directory with what is known of them, links not followed.
    ///
    /// # Errors
    /// As [`listdir`](Self::listdir).
    pub fn listdir_attr(&self, path: impl AsRef<[u8]>) -> Result<Vec<SFTPEntry>> {
        let mut entries = Vec::new();
        self.listdir_iter(path)?.keep_all(|entry| entries.push(entry))?;
        Ok(entries)
    }

    /// The same one by one, while more are read ahead.
    ///
    /// # Errors
    /// [`Error::Sftp`] when the server does not open the directory, [`Error::Timeout`],
    /// [`Error::Closed`]; each entry may be such an error too, and [`Error::Limit`].
    pub fn listdir_iter(&self, path: impl AsRef<[u8]>) -> Result<Listing> {
        let path = self.absolute(path);
        let asked = Asked { operation: "opendir", path: path.as_bytes() };
        let handle = match self.ask(framed(&Opendir { id: 0, path: asked.path }), SMALL_ANSWER, asked)? {
            Answer::Handle(handle) => handle,
            other => return Err(self.wrong(&other, asked)),
        };
        Ok(Listing {
            client: self.clone(),
            mailbox: self.mailbox(),
            handle,
            path,
            ready: VecDeque::new(),
            asked: 0,
            ended: false,
            listed: 0,
            empty: 0,
        })
    }
}

impl Listing {
    /// Hands out every entry to somebody who keeps them all.
    fn keep_all(self, mut keep: impl FnMut(SFTPEntry)) -> Result<()> {
        let (mut count, mut bytes) = (0_u64, 0_u64);
        for entry in self {
            let entry = entry?;
            count = count.saturating_add(1);
            let length = entry.name.as_bytes().len().saturating_add(entry.longname.as_bytes().len());
            bytes = bytes.saturating_add(length as u64);
            if count > MAX_KEPT {
                return Err(Error::Limit { which: "entries of one directory", limit: MAX_KEPT });
            }
            if bytes > MAX_KEPT_BYTES {
                let which = "bytes of the names in one directory";
                return Err(Error::Limit { which, limit: MAX_KEPT_BYTES });
            }
            keep(entry);
        }
        Ok(())
    }

    /// Asks and takes the next answer.
    fn fetch(&mut self) -> Result<()> {
        let deadline = self.client.deadline();
        while self.asked < AHEAD {
            let packet = framed(&Readdir { id: 0, handle: &self.handle });
            self.client.post(&self.mailbox, packet, (MAX_PACKET, 0), deadline)?;
            self.asked = self.asked.saturating_add(1);
        }
        self.client.wait(deadline, |until| self.mailbox.flush(until))?;
        let (_, reply) = self.client.wait(deadline, |until| self.mailbox.next(until))?;
        self.asked = self.asked.saturating_sub(1);
        let asked = Asked { operation: "readdir", path: self.path.as_bytes() };
        match self.client.read_answer(reply, asked) {
            Ok(Answer::Names(names)) => {
                self.listed = self.listed.saturating_add(names.len() as u64);
                let named = |entry: &SFTPEntry| entry.name != "." && entry.name != "..";
                self.ready.extend(names.into_iter().filter(named));
                if self.ready.is_empty() {
                    self.empty = self.empty.saturating_add(1);
                }
                if self.listed > MAX_ENTRIES || self.empty > MAX_EMPTY {
                    return Err(Error::Limit { which: "entries of one directory", limit: MAX_ENTRIES });
                }
                Ok(())
            }
            Ok(other) => Err(self.client.wrong(&other, asked)),
            Err(Error::Sftp(error)) if error.status == SFTPStatus::EOF => {
                self.ended = true;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

impl Iterator for Listing {
    type Item = Result<SFTPEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.ready.pop_front() {
                return Some(Ok(entry));
            }
            if self.ended {
                return None;
            }
            if let Err(error) = self.fetch() {
                self.ended = true;
                return Some(Err(error));
            }
        }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        self.client.close_handle(&framed(&Close { id: 0, handle: &self.handle }));
    }
}
