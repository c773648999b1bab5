//! The options of a line of an allowed_signers file: ssh-keygen(1), "ALLOWED SIGNERS".
//!
//! Whatever is not understood spoils the line: an option left out could allow what it forbids.

use crate::key::time;

/// The options of a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// The key signs certificates of signers, and no messages.
    pub(super) authority: bool,
    /// A list of patterns.
    pub(super) namespaces: Option<Vec<u8>>,
    /// Seconds since 1970.
    pub(super) valid_after: Option<i64>,
    /// Seconds since 1970.
    pub(super) valid_before: Option<i64>,
}

type Result<T> = std::result::Result<T, &'static str>;

/// What stands before the first separator outside of quotes, and the rest with it.
pub(super) fn split_unquoted(text: &[u8], separates: impl Fn(u8) -> bool) -> Result<(&[u8], &[u8])> {
    let (mut rest, mut quoted) = (text, false);
    loop {
        rest = match rest {
            [byte, ..] if !quoted && separates(*byte) => break,
            [b'\\', b'"', after @ ..] => after,
            [byte, after @ ..] => {
                quoted ^= *byte == b'"';
                after
            }
            [] if quoted => return Err("a quote that does not end"),
            [] => break,
        };
    }
    Ok(text.split_at_checked(text.len().saturating_sub(rest.len())).unwrap_or((text, &[])))
}

/// The value inside of quotes; `\"` is a quote in it.
fn unquoted(text: &[u8]) -> Result<Vec<u8>> {
    let mut rest = text.strip_prefix(b"\"").ok_or("an option's value has to stand in quotes")?;
    let mut value = Vec::new();
    loop {
        rest = match rest {
            [b'"'] => return Ok(value),
            [b'\\', b'"', after @ ..] => {
                value.push(b'"');
                after
            }
            [b'"', ..] | [] => return Err("an option's value has to end with a quote"),
            [byte, after @ ..] => {
                value.push(*byte);
                after
            }
        };
    }
}

impl Options {
    /// Reads options with commas between them.
    pub(super) fn parse(text: &[u8]) -> Result<Self> {
        let mut options = Self::default();
        let mut rest = text;
        loop {
            let (option, after) = split_unquoted(rest, |byte| byte == b',')?;
            options.add(option)?;
            match after.split_first() {
                Some((_, next)) => rest = next,
                None => break,
            }
        }
        match (options.valid_after, options.valid_before) {
            (Some(after), Some(before)) if before <= after => {
                Err("valid-before is not later than valid-after")
            }
            _ => Ok(options),
        }
    }

    fn add(&mut self, option: &[u8]) -> Result<()> {
        if option.eq_ignore_ascii_case(b"cert-authority") {
            self.authority = true;
            return Ok(());
        }
        let value = |name: &[u8]| {
            let (start, value) = option.split_at_checked(name.len())?;
            start.eq_ignore_ascii_case(name).then_some(value)
        };
        if let Some(value) = value(b"namespaces=") {
            set(&mut self.namespaces, unquoted(value)?)
        } else if let Some(value) = value(b"valid-after=") {
            set(&mut self.valid_after, point_in_time(value)?)
        } else if let Some(value) = value(b"valid-before=") {
            set(&mut self.valid_before, point_in_time(value)?)
        } else {
            Err("an option that is not known")
        }
    }
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<()> {
    if place.replace(value).is_some() { Err("an option that is there twice") } else { Ok(()) }
}

/// A time after 1970 began, as ssh-keygen wants it.
fn point_in_time(value: &[u8]) -> Result<i64> {
    let text = unquoted(value)?;
    let seconds = std::str::from_utf8(&text).ok().and_then(time::parse);
    seconds.filter(|seconds| *seconds > 0).ok_or("a time that is none: YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]")
}
