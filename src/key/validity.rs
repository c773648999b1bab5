//! When a certificate is valid: two times in seconds since 1970, read as `ssh-keygen -V` takes them and
//! shown as `ssh-keygen -L` does. Knows no clock: whoever reads says what time it is.

use std::fmt;

use super::time;
use crate::sys::local_time::{Civil, shown};

/// Longer times than this many seconds are not said from now on; OpenSSH's figure.
const LONGEST: u64 = 0x7fff_ffff;
/// Times that begin now begin so much earlier, at a whole minute: other clocks may be late.
const MINUTE: u64 = 60;
/// The letters of times, with their seconds.
const UNITS: [(char, u64); 5] = [('s', 1), ('m', MINUTE), ('h', 3600), ('d', 86_400), ('w', 604_800)];

/// From `after` on, up to but without `before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) after: u64,
    pub(super) before: u64,
}

type Result<T> = std::result::Result<T, &'static str>;

impl Validity {
    pub(super) const FOREVER: Self = Self { after: 0, before: u64::MAX };

    /// Reads `+time`, or two times with `:` between them.
    pub(super) fn parse(interval: &str, now: u64) -> Result<Self> {
        let Some((from, to)) = interval.split_once(':') else {
            let life =
                interval.strip_prefix('+').ok_or("a validity is +time, or two times with : between")?;
            let after = now.saturating_sub(MINUTE.saturating_sub(1)) / MINUTE;
            let before = now.checked_add(duration(life)?).ok_or("a time that is too late")?;
            return Ok(Self { after: after.saturating_mul(MINUTE), before });
        };
        let this =
            Self { after: point(from, ("always", 0), now)?, before: point(to, ("forever", u64::MAX), now)? };
        if this.before > this.after { Ok(this) } else { Err("a validity that ends before it begins") }
    }
}

/// A point in time; one word means one of its own.
fn point(text: &str, (word, means): (&str, u64), now: u64) -> Result<u64> {
    const NONE: &str = "a time that is none: +time, -time, YYYYMMDD[HHMM[SS]][Z] or 0x and hex digits";
    if text == word {
        return Ok(means);
    }
    if let Some(later) = text.strip_prefix('+') {
        return now.checked_add(duration(later)?).ok_or(NONE);
    }
    if let Some(earlier) = text.strip_prefix('-') {
        return now.checked_sub(duration(earlier)?).ok_or(NONE);
    }
    match text.strip_prefix("0x") {
        // The standard library takes a sign.
        Some(digits) if digits.starts_with(['+', '-']) => Err(NONE),
        Some(digits) => u64::from_str_radix(digits, 16).map_err(|_| NONE),
        None => time::parse(text).and_then(|seconds| u64::try_from(seconds).ok()).ok_or(NONE),
    }
}

/// A span as sshd_config(5), "TIME FORMATS", has it, in seconds.
fn duration(text: &str) -> Result<u64> {
    const NONE: &str = "a span of time is digits and s, m, h, d or w";
    let (mut total, mut rest) = (0_u64, text);
    loop {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, after) = rest.split_at_checked(end).ok_or(NONE)?;
        let mut letters = after.chars();
        let factor = match letters.next().map(|letter| letter.to_ascii_lowercase()) {
            None => 1,
            Some(letter) => UNITS.iter().find(|(unit, _)| *unit == letter).ok_or(NONE)?.1,
        };
        let part = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        total =
            part.and_then(|part| total.checked_add(part)).filter(|total| *total <= LONGEST).ok_or(NONE)?;
        rest = letters.as_str();
        if rest.is_empty() {
            return Ok(total);
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (Shown(shown(self.after)), Shown(shown(self.before)));
        match (self.after, self.before) {
            (0, u64::MAX) => f.write_str("forever"),
            (0, _) => write!(f, "before {to}"),
            (_, u64::MAX) => write!(f, "after {from}"),
            _ => write!(f, "from {from} to {to}"),
        }
    }
}

struct Shown(Civil);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, hour, minute, second } = self.0;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        const NOW: u64 = 1_600_000_000;
        const DAY: u64 = 86_400;
        for (text, after, before) in [
            ("+52w", 1_599_999_900, NOW + 52 * 7 * DAY),
            ("+1h30m5", 1_599_999_900, NOW + 5405),
            ("-1d:+5m", NOW - DAY, NOW + 300),
            ("+1S:+1D", NOW + 1, NOW + DAY),
            ("always:forever", 0, u64::MAX),
            ("always:20200101000000Z", 0, 1_577_836_800),
            ("20200101Z:forever", 1_577_836_800, u64::MAX),
            ("202001010001Z:20200102UTC", 1_577_836_860, 1_577_836_800 + DAY),
            ("0x10:0xffffffffffffffff", 16, u64::MAX),
        ] {
            assert_eq!(Validity::parse(text, NOW), Ok(Validity { after, before }), "{text}");
        }
        for text in [
            "",
            "+",
            "-1d",
            "1d",
            "20200101",
            ":",
            "always:",
            ":forever",
            "forever:always",
            "always:always",
            "+1d:+1d",
            "+2d:+1d",
            "+1x",
            "+-1d",
            "-60000w:forever",
            "+2147483648",
            "0x:forever",
            "0xg:forever",
            "0x+1:forever",
            "0x10000000000000000:forever",
            "2020:forever",
            "20201301:forever",
            "+1d:é",
            "+é",
            "always:forever:",
            "+d",
        ] {
            assert!(Validity::parse(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn shown_as_ssh_keygen_shows_it() {
        let shown = |after, before| Validity { after, before }.to_string();
        assert_eq!(shown(0, u64::MAX), "forever");
        assert!(shown(5, u64::MAX).starts_with("after 19"), "{}", shown(5, u64::MAX));
        assert!(shown(0, 5).starts_with("before 19"));
        assert!(shown(1_577_836_800, 1_609_459_200).starts_with("from 20"));
        assert_eq!(
            shown(1_577_836_800, 1_609_459_200).len(),
            "from 2020-01-01T00:00:00 to 2021-01-01T00:00:00".len()
        );
    }
}
