//! The time since the system was started, with the time it slept: lifetimes go on while a lid is closed.

use std::time::Duration;

/// How long ago some fixed moment was; never less than before.
#[cfg(unix)]
pub(crate) fn since_start() -> Duration {
    // CLOCK_MONOTONIC, as Instant has it, stands still on Linux while the system sleeps.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

    let now = rustix::time::clock_gettime(CLOCK);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds).saturating_add(Duration::from_nanos(now.tv_nsec.unsigned_abs()))
}

/// How long ago some fixed moment was; never less than before.
#[cfg(not(unix))]
pub(crate) fn since_start() -> Duration {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_as_fast_as_the_other_clock() {
        let (ours, other) = (since_start(), std::time::Instant::now());
        while since_start() < ours + Duration::from_millis(5) {}
        let passed = other.elapsed();
        assert!((Duration::from_millis(4)..Duration::from_secs(5)).contains(&passed), "{passed:?}");
    }
}
