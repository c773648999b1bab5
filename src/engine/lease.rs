//! How long a thread of the transport leaves to users what they are at, before it looks whether they still are: the
//! longer they have been, the longer, for each look wakes it for nothing.
//!
//! Knows nothing of what is left to them.

use std::time::{Duration, Instant};

/// At first: long enough that one who works on what came, or goes on writing, is back, short enough that nobody
/// notices.
const FIRST: Duration = Duration::from_millis(2);
/// Which share of the time that they have been at it: whatever was left lies so much longer at most.
const SHARE: u32 = 8;
/// In the end. What users left without a word, having been at it all the time, waits that long.
const LAST: Duration = Duration::from_millis(20);

/// What a thread has left to users, and since when.
#[derive(Debug, Default)]
pub(super) struct Lease {
    since: Option<Instant>,
}

impl Lease {
    /// When to look next.
    pub(super) fn next_look(&mut self, now: Instant) -> Option<Instant> {
        let since = *self.since.get_or_insert(now);
        now.checked_add((now.saturating_duration_since(since) / SHARE).clamp(FIRST, LAST))
    }

    /// The thread has not looked for a while: it may have been quiet since, and the next lease is a first one.
    pub(super) fn end(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_the_time_that_users_are_at_it() {
        let start = Instant::now();
        let mut lease = Lease::default();
        let mut after = |ms| {
            let now = start + Duration::from_millis(ms);
            lease.next_look(now).unwrap() - now
        };
        assert_eq!(after(0), FIRST);
        assert_eq!(after(10), FIRST);
        assert_eq!(after(80), Duration::from_millis(10));
        assert_eq!(after(100_000), LAST);
        lease.end();
        assert_eq!(lease.next_look(start + LAST).unwrap(), start + LAST + FIRST);
    }
}
