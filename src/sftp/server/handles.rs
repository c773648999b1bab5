//! What a client has open, by the handles it was given.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;

use super::interface::{SFTPHandle, SFTPListing};
use super::refusal::{SFTPRefusal, SFTPResult};
use crate::sftp::packet::SFTPStatus;

/// Something open.
pub(super) enum Open {
    File(Arc<dyn SFTPHandle>),
    Folder(Peekable<SFTPListing>),
}

/// The table. A handle is a number in four bytes; numbers are given in turn, so that the handle of something
/// closed does not stand for something else soon.
pub(super) struct Handles {
    open: HashMap<u32, Open>,
    next: u32,
    most: usize,
}

impl Handles {
    pub(super) fn new(most: usize) -> Self {
        Self { open: HashMap::new(), next: 0, most }
    }

    /// Refuses when there is no room for another.
    pub(super) fn check_room(&self) -> SFTPResult<()> {
        if self.open.len() < self.most {
            Ok(())
        } else {
            Err(SFTPRefusal::new(SFTPStatus::FAILURE, "too many open files"))
        }
    }

    pub(super) fn insert(&mut self, open: Open) -> SFTPResult<[u8; 4]> {
        self.check_room()?;
        while self.open.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let handle = self.next;
        self.next = self.next.wrapping_add(1);
        self.open.insert(handle, open);
        Ok(handle.to_be_bytes())
    }

    fn number(handle: &[u8]) -> SFTPResult<u32> {
        handle.try_into().map(u32::from_be_bytes).map_err(|_| no_handle())
    }

    pub(super) fn remove(&mut self, handle: &[u8]) -> SFTPResult<Open> {
        self.open.remove(&Self::number(handle)?).ok_or_else(no_handle)
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Open> {
        self.open.drain().map(|(_, open)| open)
    }

    pub(super) fn file(&self, handle: &[u8]) -> SFTPResult<&Arc<dyn SFTPHandle>> {
        match self.open.get(&Self::number(handle)?) {
            Some(Open::File(file)) => Ok(file),
            _ => Err(no_handle()),
        }
    }

    pub(super) fn folder(&mut self, handle: &[u8]) -> SFTPResult<&mut Peekable<SFTPListing>> {
        match self.open.get_mut(&Self::number(handle)?) {
            Some(Open::Folder(folder)) => Ok(folder),
            _ => Err(no_handle()),
        }
    }
}

/// Version 3 has no code of its own for it.
fn no_handle() -> SFTPRefusal {
    SFTPRefusal::new(SFTPStatus::FAILURE, "no such handle")
}
