//! What is told of a transfer while it runs, and what is made of its failures.

use std::time::{Duration, Instant};

use super::{Callbacks, TransferFailure, TransferSummary};
use crate::error::{Error, Result};
use crate::sftp::client::SFTPClient;
use crate::sftp::packet::RemoteName;

/// Often enough for a bar.
const BETWEEN: Duration = Duration::from_millis(100);

/// How far a file has got.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The file on the server.
    pub remote: &'a RemoteName,
    /// Bytes of it that are there.
    pub done: u64,
    /// Its size, if that is known.
    pub total: Option<u64>,
    /// Where this transfer began in it: beyond 0 when it was gone on with.
    pub began: u64,
    /// Bytes in a second, of the whole transfer so far.
    pub rate: f64,
    /// Whether the file is whole.
    pub finished: bool,
}

/// Tells of the transfer and keeps its summary.
pub(super) struct Watch<'a> {
    client: SFTPClient,
    callbacks: Callbacks<'a>,
    pub(super) summary: TransferSummary,
    began: Instant,
    told: Instant,
}

impl<'a> Watch<'a> {
    pub(super) fn new(client: &SFTPClient, callbacks: Callbacks<'a>) -> Self {
        let now = Instant::now();
        Self { client: client.clone(), callbacks, summary: TransferSummary::default(), began: now, told: now }
    }

    /// `bytes` more have come of a file.
    pub(super) fn moved(&mut self, bytes: usize, file: (&RemoteName, u64, Option<u64>, u64)) {
        self.summary.bytes = self.summary.bytes.saturating_add(bytes as u64);
        if self.callbacks.progress.is_some() && self.told.elapsed() >= BETWEEN {
            self.tell(file, false);
        }
    }

    /// Tells of a file: its name, what is there of it, its size, and where this transfer began in it.
    pub(super) fn tell(
        &mut self,
        (remote, done, total, began): (&RemoteName, u64, Option<u64>, u64),
        finished: bool,
    ) {
        if let Some(progress) = &mut self.callbacks.progress {
            let seconds = self.began.elapsed().as_secs_f64().max(1e-6);
            let rate = self.summary.bytes as f64 / seconds;
            progress(&Progress { remote, done, total, began, rate, finished });
            self.told = Instant::now();
        }
    }

    /// A directory comes next.
    pub(super) fn directory(&mut self, remote: &RemoteName) {
        if let Some(on_directory) = &mut self.callbacks.on_directory {
            on_directory(remote);
        }
    }

    /// Whether the transfer is to go on.
    pub(super) fn go_on(&self) -> Result<()> {
        self.client.go_on()
    }

    /// A file could not be copied: an error where that ends the transfer.
    pub(super) fn failed(&mut self, remote: &RemoteName, error: Error) -> Result<()> {
        // Where the connection is gone, every file to come would fail.
        let of_one_file =
            matches!(error, Error::Sftp(_) | Error::Io { .. } | Error::Misuse(_) | Error::Protocol { .. });
        match &mut self.callbacks.on_error {
            Some(on_error) if of_one_file => {
                let failure = TransferFailure { remote: remote.clone(), error };
                if on_error(&failure) {
                    self.summary.failures.push(failure);
                    Ok(())
                } else {
                    Err(failure.error)
                }
            }
            _ => Err(error),
        }
    }
}
