//! Serial numbers of certificates as runs: what follows one another is kept as its first and last.

use std::collections::BTreeMap;

/// Runs that neither overlap nor touch, by their first serial.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Serials(BTreeMap<u64, u64>);

impl Serials {
    /// Adds a run; those that it overlaps or touches become one with it.
    pub(super) fn insert(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first, last);
        while let Some((start, end)) = self.at_or_before(last.saturating_add(1)) {
            if end.saturating_add(1) < first {
                break;
            }
            (first, last) = (first.min(start), last.max(end));
            self.0.remove(&start);
        }
        self.0.insert(first, last);
    }

    pub(super) fn contains(&self, serial: u64) -> bool {
        self.at_or_before(serial).is_some_and(|(_, last)| serial <= last)
    }

    /// The last run that begins at `serial` or before.
    fn at_or_before(&self, serial: u64) -> Option<(u64, u64)> {
        self.0.range(..=serial).next_back().map(|(first, last)| (*first, *last))
    }

    /// The runs in order.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    /// How many runs there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
