//! When a login has to be done. A person who is asked for a password or whether a host is the right one takes
//! their own time, which does not count.
//!
//! Knows nothing of who is asked, or what for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, Result};

/// The end of a login's time; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<Time>);

#[derive(Debug)]
struct Time {
    ends: Mutex<Instant>,
    /// Of the connect that this one is a part of.
    outer: Option<Clock>,
}

impl Clock {
    /// One that runs from now on.
    pub(crate) fn start(time: Duration) -> Result<Self> {
        Ok(Self(Arc::new(Time { ends: Mutex::new(after(time)?), outer: None })))
    }

    /// One for a part of what this one is for: it ends with this at the latest.
    pub(crate) fn within(&self, time: Duration) -> Result<Self> {
        Ok(Self(Arc::new(Time { ends: Mutex::new(after(time)?), outer: Some(self.clone()) })))
    }

    pub(crate) fn ends(&self) -> Instant {
        let own = *self.0.ends.lock();
        self.0.outer.as_ref().map_or(own, |outer| own.min(outer.ends()))
    }

    /// Starts again: the next part has time of its own.
    pub(crate) fn restart(&self, time: Duration) -> Result<()> {
        *self.0.ends.lock() = after(time)?;
        Ok(())
    }

    /// Moves the end by a time that did not count, here and in all that this is a part of.
    pub(crate) fn give(&self, more: Duration) {
        let mut ends = self.0.ends.lock();
        *ends = ends.checked_add(more).unwrap_or(*ends);
        drop(ends);
        if let Some(outer) = &self.0.outer {
            outer.give(more);
        }
    }

    /// Asks somebody whose time does not count.
    pub(crate) fn aside<T>(&self, ask: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let answer = ask();
        self.give(begun.elapsed());
        answer
    }
}

fn after(time: Duration) -> Result<Instant> {
    Instant::now().checked_add(time).ok_or(Error::Misuse("a timeout beyond the end of time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn what_is_asked_aside_takes_no_time() {
        let clock = Clock::start(HOUR).unwrap();
        let (before, pause) = (clock.ends(), Duration::from_millis(20));
        assert_eq!(clock.aside(|| 5), 5);
        clock.aside(|| std::thread::sleep(pause));
        assert!(clock.ends() >= before + pause);
        assert!(clock.ends() < before + HOUR);
    }

    #[test]
    fn a_part_ends_with_the_whole_and_gives_to_it() {
        let whole = Clock::start(HOUR).unwrap();
        let (short, long) = (whole.within(HOUR / 2).unwrap(), whole.within(HOUR * 2).unwrap());
        assert!(short.ends() < whole.ends());
        assert_eq!(long.ends(), whole.ends());
        let before = [&whole, &short, &long].map(Clock::ends);
        short.give(HOUR);
        let [whole_after, short_after, long_after] = [&whole, &short, &long].map(Clock::ends);
        assert_eq!([whole_after, short_after], [before[0] + HOUR, before[1] + HOUR]);
        assert!(long_after > before[2]);
        short.restart(HOUR * 5).unwrap();
        assert_eq!(short.ends(), whole.ends());
    }

    #[test]
    fn there_is_an_end_of_time() {
        assert!(matches!(Clock::start(Duration::MAX), Err(Error::Misuse(_))));
        let clock = Clock::start(HOUR).unwrap();
        let before = clock.ends();
        clock.give(Duration::MAX);
        assert_eq!(clock.ends(), before);
    }
}
