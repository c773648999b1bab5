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
    /// As [`listdir_iter`](Self::listdir_iter).
    pub fn listdir(&self, path: impl AsRef<[u8]>) -> Result<Vec<RemoteName>> {
        self.listdir_iter(path)?.map(|entry| entry.map(|entry| entry.name)).collect()
    }

    /// The files in a directory with what is known of them, links not followed.
    ///
    /// # Errors
    /// As [`listdir_iter`](Self::listdir_iter).
    pub fn listdir_attr(&self, path: impl AsRef<[u8]>) -> Result<Vec<SFTPEntry>> {
        self.listdir_iter(path)?.collect()
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
        })
    }
}

impl Listing {
    /// Asks and takes the next answer.
    fn fetch(&mut self) -> Result<()> {
        let deadline = self.client.deadline();
        while self.asked < AHEAD {
            let packet = framed(&Readdir { id: 0, handle: &self.handle });
            self.mailbox.send(packet, MAX_PACKET, 0, deadline)?;
            self.asked = self.asked.saturating_add(1);
        }
        let (_, reply) = self.mailbox.next(deadline)?;
        self.asked = self.asked.saturating_sub(1);
        let asked = Asked { operation: "readdir", path: self.path.as_bytes() };
        match self.client.read_answer(reply, asked) {
            Ok(Answer::Names(names)) => {
                self.listed = self.listed.saturating_add(names.len() as u64).saturating_add(1);
                if self.listed > MAX_ENTRIES {
                    return Err(Error::Limit { which: "entries of one directory", limit: MAX_ENTRIES });
                }
                let named = |entry: &SFTPEntry| entry.name != "." && entry.name != "..";
                self.ready.extend(names.into_iter().filter(named));
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
