//! What clocks show at a place, as seconds since 1970: by the system's time zone, through jiff. std
//! knows no time zones.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// What a calendar and a clock show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i16,
    pub(crate) month: i8,
    pub(crate) day: i8,
    pub(crate) hour: i8,
    pub(crate) minute: i8,
    pub(crate) second: i8,
}

/// Seconds since 1970, in UTC or by the system's time zone; none for what no calendar shows.
pub(crate) fn seconds(civil: &Civil, utc: bool) -> Option<i64> {
    seconds_in(civil, if utc { TimeZone::UTC } else { TimeZone::system() })
}

/// Where clocks skip an hour, the time that they would have shown without; where they show an hour
/// twice, the first.
fn seconds_in(civil: &Civil, zone: TimeZone) -> Option<i64> {
    let Civil { year, month, day, hour, minute, second } = *civil;
    let time = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    Some(time.to_zoned(zone).ok()?.timestamp().as_second())
}

/// What clocks show at this place at a time in seconds since 1970; after the year 9999, which is as
/// far as calendars go here, its end.
pub(crate) fn shown(seconds: u64) -> Civil {
    let last = Timestamp::MAX.as_second();
    let seconds = i64::try_from(seconds).map_or(last, |seconds| seconds.min(last));
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::system());
    Civil {
        year: time.year(),
        month: time.month(),
        day: time.day(),
        hour: time.hour(),
        minute: time.minute(),
        second: time.second(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_as_it_is_read() {
        for time in [0, 86_399, 1_577_836_800, 1_594_814_400, 4_102_444_800] {
            assert_eq!(seconds(&shown(time), false), i64::try_from(time).ok(), "{time}");
        }
        assert_eq!(shown(u64::MAX).year, 9999);
    }

    fn civil(digits: [i8; 5]) -> Civil {
        let [month, day, hour, minute, second] = digits;
        Civil { year: 2020, month, day, hour, minute, second }
    }

    /// Against `date -u -d … +%s`.
    #[test]
    fn times_of_a_calendar() {
        for (digits, expected) in [
            ([1, 1, 0, 0, 0], Some(1_577_836_800)),
            ([2, 29, 12, 34, 56], Some(1_582_979_696)),
            ([12, 31, 23, 59, 59], Some(1_609_459_199)),
            ([2, 30, 0, 0, 0], None),
            ([13, 1, 0, 0, 0], None),
            ([0, 1, 0, 0, 0], None),
            ([1, 1, 24, 0, 0], None),
            ([1, 1, 0, 60, 0], None),
        ] {
            assert_eq!(seconds(&civil(digits), true), expected, "{digits:?}");
        }
        let first = Civil { year: 1970, ..civil([1, 1, 0, 0, 1]) };
        assert_eq!(seconds(&first, true), Some(1));
    }

    #[test]
    fn clocks_of_a_place_with_summer_time() {
        let berlin = || TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let utc = |digits| seconds(&civil(digits), true).unwrap();
        for (there, in_utc) in [
            ([1, 15, 12, 0, 0], [1, 15, 11, 0, 0]),
            ([7, 15, 12, 0, 0], [7, 15, 10, 0, 0]),
            // Skipped, and shown twice.
            ([3, 29, 2, 30, 0], [3, 29, 1, 30, 0]),
            ([10, 25, 2, 30, 0], [10, 25, 0, 30, 0]),
        ] {
            assert_eq!(seconds_in(&civil(there), berlin()), Some(utc(in_utc)), "{there:?}");
        }
    }
}
