//! Bytes at a rate: when the next ones may go. Pure: the time comes in as an argument.

use std::time::{Duration, Instant};

/// What is let through at once: the average is held over times like this.
const BURST: Duration = Duration::from_millis(100);

/// An average of bytes in a second that is not exceeded.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Bytes in a second.
    bytes: u64,
    began: Instant,
    spent: u64,
}

impl Pace {
    /// Begins at `now`; at least a byte in a second.
    pub(crate) fn new(bytes: u64, now: Instant) -> Self {
        Self { bytes: bytes.max(1), began: now, spent: 0 }
    }

    /// Counts bytes; when they may go, if not at `now`.
    pub(crate) fn spend(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let passed = now.saturating_duration_since(self.began);
        let due = self.due();
        // What a pause did not use is not made up for.
        let unused = passed.saturating_sub(due).saturating_sub(BURST);
        self.began = self.began.checked_add(unused).unwrap_or(self.began);
        self.spent = self.spent.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let until = self.began.checked_add(self.due())?;
        (until.saturating_duration_since(now) > BURST).then_some(until)
    }

    /// How long all so far should take.
    fn due(&self) -> Duration {
        let spent = u128::from(self.spent).saturating_mul(1_000_000_000);
        let nanoseconds = spent.checked_div(self.bytes.into()).unwrap_or(u128::MAX);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_on_average_and_makes_up_for_nothing() {
        let began = Instant::now();
        let mut pace = Pace::new(1000, began);
        assert_eq!(pace.spend(100, began), None);
        let until = pace.spend(900, began).unwrap();
        assert_eq!(until, began + Duration::from_secs(1));
        // After an hour of nothing, a second's worth takes a second again.
        let later = began + Duration::from_secs(3600);
        assert!(pace.spend(1000, later).unwrap() > later + Duration::from_millis(800));
    }
}
