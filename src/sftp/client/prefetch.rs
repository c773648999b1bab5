//! Reading ahead of who reads a file: what was asked for and not read yet is bounded, and a read
//! elsewhere stops nothing.

use std::collections::BTreeMap;

use super::reading::{Fetched, Part, Reading};
use crate::error::Result;

/// A file that is read ahead from one place to another.
#[derive(Debug)]
pub(super) struct Prefetch {
    reading: Reading,
    /// What is there, by its place in the file.
    ready: BTreeMap<u64, Vec<u8>>,
    ready_bytes: usize,
    /// What is asked for next.
    next: u64,
    end: u64,
    /// How much may be under way and unread.
    depth: usize,
    part: u32,
}

impl Prefetch {
    pub(super) fn new(reading: Reading, range: std::ops::Range<u64>, depth: usize, part: u32) -> Self {
        let (ready, next, end) = (BTreeMap::new(), range.start, range.end);
        Self { reading, ready, ready_bytes: 0, next, end, depth, part }
    }

    /// Keeps as much under way as may be.
    fn ask(&mut self) -> Result<()> {
        let mut asked = false;
        while self.next < self.end {
            let under_way = self.reading.under_way().saturating_add(self.ready_bytes);
            if under_way > 0 && under_way.saturating_add(self.part as usize) > self.depth {
                break;
            }
            let left = self.end.saturating_sub(self.next);
            let length = u32::try_from(left).unwrap_or(u32::MAX).min(self.part);
            self.reading.ask(Part { offset: self.next, length })?;
            self.next = self.next.saturating_add(length.into());
            asked = true;
        }
        if asked { self.reading.flush() } else { Ok(()) }
    }

    /// Reads at `offset` from what was read ahead; none where that is not under way.
    pub(super) fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<Option<usize>> {
        self.ask()?;
        loop {
            if let Some(count) = self.take(offset, buf) {
                self.ask()?;
                return Ok(Some(count));
            }
            if offset < self.end && !self.reading.covers(offset) && self.make_room(offset) {
                self.ask()?;
            }
            if !self.reading.covers(offset) {
                return Ok(None);
            }
            match self.reading.next()? {
                Fetched::Data(at, buffer) => {
                    self.ready_bytes = self.ready_bytes.saturating_add(Fetched::bytes(&buffer).len());
                    self.ready.insert(at, buffer);
                }
                // Shorter than was said: nothing more is asked for behind its end.
                Fetched::End(at) => self.end = self.end.min(at),
            }
        }
    }

    /// Where everything that may be is there unread and the reader is beyond it, what is behind the reader
    /// goes: it has been passed over.
    fn make_room(&mut self, offset: u64) -> bool {
        let before = self.ready.len();
        let passed: Vec<u64> = self.ready.range(..offset).map(|(at, _)| *at).collect();
        for at in passed {
            self.forget(at);
        }
        self.ready.len() < before
    }

    fn forget(&mut self, at: u64) {
        if let Some(buffer) = self.ready.remove(&at) {
            self.ready_bytes = self.ready_bytes.saturating_sub(Fetched::bytes(&buffer).len());
            self.reading.recycle(buffer);
        }
    }

    /// Copies from the part that holds `offset`; a part that was read to its end goes.
    fn take(&mut self, offset: u64, buf: &mut [u8]) -> Option<usize> {
        let (&at, buffer) = self.ready.range(..=offset).next_back()?;
        let inside = usize::try_from(offset.checked_sub(at)?).ok()?;
        let bytes = Fetched::bytes(buffer).get(inside..).filter(|bytes| !bytes.is_empty())?;
        let count = bytes.len().min(buf.len());
        buf.get_mut(..count)?.copy_from_slice(bytes.get(..count)?);
        if count == bytes.len() {
            self.forget(at);
        }
        Some(count)
    }
}
