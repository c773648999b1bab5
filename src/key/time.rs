//! Times as ssh-keygen has them: `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, with `Z` in UTC and else by the
//! clocks of this place.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sys::local_time::{Civil, seconds};

/// Seconds since 1970; none for anything that is no such time.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let ends = |suffix: &str| {
        let (digits, end) = text.split_at_checked(text.len().checked_sub(suffix.len())?)?;
        end.eq_ignore_ascii_case(suffix).then_some(digits)
    };
    let utc = ends("Z").or_else(|| ends("UTC"));
    let digits = utc.unwrap_or(text);
    if !matches!(digits.len(), 8 | 12 | 14) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Hours, minutes and seconds that are not there are 0.
    let field = |range: std::ops::Range<usize>| digits.get(range).map_or(Some(0), |text| text.parse().ok());
    let civil = Civil {
        year: digits.get(..4)?.parse().ok()?,
        month: field(4..6)?,
        day: field(6..8)?,
        hour: field(8..10)?,
        minute: field(10..12)?,
        second: field(12..14)?,
    };
    seconds(&civil, utc.is_some())
}

/// Reads a time as ssh-keygen takes it: `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, in UTC with `Z` at the end
/// and else by the clocks of this place. None for anything else, and for times before 1970.
#[must_use]
pub fn parse_time(text: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(parse(text)?).ok()?))
}
