//! Parts of a file in the order they were asked for, each yielded as soon as it is there.

use std::collections::BTreeMap;

use super::SFTPFile;
use super::reading::{Fetched, Part, Reading};
use crate::error::Result;

/// The parts of one call.
#[derive(Debug)]
pub(super) struct Readv<'a> {
    reading: Reading,
    parts: &'a [(u64, u32)],
    /// Which part is yielded next, and which is asked for next.
    next: usize,
    asked: usize,
    /// What came, by its place in the file.
    pieces: BTreeMap<u64, Vec<u8>>,
    held: usize,
    /// Where the file ends, once that is known.
    end: u64,
    depth: usize,
    size: u32,
    failed: bool,
}

impl<'a> Readv<'a> {
    pub(super) fn new(file: &SFTPFile, parts: &'a [(u64, u32)]) -> Self {
        Self {
            reading: file.reading(),
            parts,
            next: 0,
            asked: 0,
            pieces: BTreeMap::new(),
            held: 0,
            end: u64::MAX,
            depth: file.client().read_depth(),
            size: file.client().read_size(),
            failed: false,
        }
    }

    /// Asks for whole parts, as many as may be under way; for one at least.
    fn ask(&mut self) -> Result<()> {
        while let Some(&(offset, length)) = self.parts.get(self.asked) {
            let under_way = self.reading.under_way().saturating_add(self.held);
            if under_way > 0 && under_way.saturating_add(length as usize) > self.depth {
                break;
            }
            let mut done = 0;
            while done < length {
                let now = length.saturating_sub(done).min(self.size);
                self.reading.ask(Part { offset: offset.saturating_add(done.into()), length: now })?;
                done = done.saturating_add(now);
            }
            self.asked = self.asked.saturating_add(1);
        }
        self.reading.flush()
    }

    /// What there is of a part, if all of it is.
    fn take(&mut self, offset: u64, length: u32) -> Option<Vec<u8>> {
        let end = offset.saturating_add(length.into()).min(self.end);
        let mut found = Vec::new();
        let mut at = offset;
        while at < end {
            let (&from, piece) = self.pieces.range(..=at).next_back()?;
            let inside = usize::try_from(at.checked_sub(from)?).ok()?;
            let bytes = Fetched::bytes(piece).get(inside..).filter(|bytes| !bytes.is_empty())?;
            let wanted = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
            let bytes = bytes.get(..wanted.min(bytes.len())).unwrap_or(bytes);
            found.extend_from_slice(bytes);
            at = at.saturating_add(bytes.len() as u64);
        }
        Some(found)
    }

    /// Where parts begin at one place, a short piece of one does not push out more of another.
    fn keep(&mut self, at: u64, piece: Vec<u8>) {
        let there = self.pieces.get(&at).map_or(0, |there| Fetched::bytes(there).len());
        let new = Fetched::bytes(&piece).len();
        if new > there {
            self.held = self.held.saturating_sub(there).saturating_add(new);
            self.pieces.insert(at, piece);
        }
    }

    /// Lets go of what no part to come needs.
    fn forget(&mut self) {
        let needed = |at: u64, piece: &[u8]| {
            let end = at.saturating_add(Fetched::bytes(piece).len() as u64);
            let rest = self.parts.get(self.next..self.asked).unwrap_or_default();
            rest.iter().any(|(offset, length)| *offset < end && at < offset.saturating_add((*length).into()))
        };
        self.pieces.retain(|at, piece| needed(*at, piece));
        self.held = self.pieces.values().map(|piece| Fetched::bytes(piece).len()).sum();
    }

    fn fetch(&mut self, offset: u64, length: u32) -> Result<Vec<u8>> {
        self.ask()?;
        loop {
            if let Some(found) = self.take(offset, length) {
                return Ok(found);
            }
            match self.reading.next()? {
                Fetched::Data(at, piece) => {
                    self.keep(at, piece);
                }
                Fetched::End(at) => self.end = self.end.min(at),
            }
        }
    }
}

impl Iterator for Readv<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        let &(offset, length) = self.parts.get(self.next).filter(|_| !self.failed)?;
        let found = self.fetch(offset, length);
        self.failed = found.is_err();
        self.next = self.next.saturating_add(1);
        self.forget();
        Some(found)
    }
}
