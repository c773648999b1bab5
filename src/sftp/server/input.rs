//! Requests out of a stream: many by one read, each in place.

use std::io::{self, Read};

use crate::sftp::packet::MAX_PACKET;

/// The buffer at first, and as long as a client sends little at a time.
const LITTLE: usize = 16 * 1024;
/// The buffer of a client that sends much: one packet of the largest kind and part of the next.
const MUCH: usize = MAX_PACKET + 64 * 1024;
/// The length before each packet.
const FRONT: usize = 4;

#[derive(Debug)]
pub(super) struct Input<R> {
    read: R,
    bytes: Vec<u8>,
    /// What of `bytes` has come and is not taken.
    begin: usize,
    end: usize,
}

impl<R: Read> Input<R> {
    pub(super) fn new(read: R) -> Self {
        Self { read, bytes: vec![0; LITTLE], begin: 0, end: 0 }
    }

    /// The length of the next packet, when that much has come of it.
    fn length(&self) -> io::Result<Option<usize>> {
        let front = self.bytes.get(self.begin..self.end).and_then(|bytes| bytes.first_chunk::<FRONT>());
        let Some(front) = front else { return Ok(None) };
        match usize::try_from(u32::from_be_bytes(*front)) {
            Ok(length @ 1..=MAX_PACKET) => Ok(Some(length)),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "a packet of a length that none has")),
        }
    }

    /// Whether a whole packet is here.
    pub(super) fn ready(&self) -> io::Result<bool> {
        let here = self.end.saturating_sub(self.begin);
        Ok(self.length()?.is_some_and(|length| here >= length.saturating_add(FRONT)))
    }

    /// Reads more, which may wait; false at the end of the stream.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        let wanted = self.length()?.map_or(0, |length| length.saturating_add(FRONT));
        if self.begin > 0 {
            self.bytes.copy_within(self.begin..self.end, 0);
            self.end = self.end.saturating_sub(self.begin);
            self.begin = 0;
        }
        // A packet that hardly fits, or input that filled all there was: more is to come.
        if wanted > LITTLE / 2 || self.end == self.bytes.len() {
            self.bytes.resize(MUCH, 0);
        }
        loop {
            match self.read.read(self.bytes.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) if self.end == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.end = self.end.saturating_add(count);
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes the next packet, which is here.
    pub(super) fn take(&mut self) -> io::Result<&[u8]> {
        let length = self.length()?.unwrap_or_default();
        let begin = self.begin.saturating_add(FRONT);
        let end = begin.saturating_add(length).min(self.end);
        (self.begin, self.end) = if end == self.end { (0, 0) } else { (end, self.end) };
        Ok(self.bytes.get(begin..end).unwrap_or_default())
    }
}
