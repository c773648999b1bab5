//! The channels of a connection, by the numbers that are ours. Knows nothing of what they carry.

use std::sync::Arc;
use std::time::Instant;

use super::slot::Slot;

/// The channels by our number. A number is not used again before all others were: an answer that
/// comes after its channel's end must not meet the next one.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// In the order of their numbers.
    slots: Vec<Arc<Slot>>,
    /// How many numbers were given, ever.
    given: u64,
    /// When the last channel was gone.
    emptied: Option<Instant>,
}

impl Table {
    pub(super) fn insert(&mut self, make: impl FnOnce(u32) -> Slot) -> Arc<Slot> {
        loop {
            let local = u32::try_from(self.given & u64::from(u32::MAX)).unwrap_or(u32::MAX);
            self.given = self.given.saturating_add(1);
            if let Err(at) = self.find(local) {
                let slot = Arc::new(make(local));
                self.slots.insert(at, Arc::clone(&slot));
                return slot;
            }
        }
    }

    /// Where the channel is, or where it would be.
    fn find(&self, local: u32) -> Result<usize, usize> {
        self.slots.binary_search_by_key(&local, |slot| slot.local)
    }

    pub(super) fn get(&self, local: u32) -> Option<&Arc<Slot>> {
        self.slots.get(self.find(local).ok()?)
    }

    /// Whether a channel had this number and is gone.
    pub(super) fn is_gone(&self, local: u32) -> bool {
        u64::from(local) < self.given && self.find(local).is_err()
    }

    pub(super) fn remove(&mut self, slot: &Slot) {
        if let Ok(at) = self.find(slot.local) {
            self.slots.remove(at);
            if self.slots.is_empty() {
                self.emptied = Some(Instant::now());
            }
        }
    }

    /// All channels, in the order of their numbers.
    pub(super) fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.clone()
    }

    /// When the last channel was gone; none when there never was one.
    pub(super) fn emptied(&self) -> Option<Instant> {
        self.emptied
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The numbers and kinds of all.
    pub(super) fn kinds(&self) -> Vec<(u32, String)> {
        self.slots.iter().map(|slot| (slot.local, slot.kind.clone())).collect()
    }
}
