//! All options of a command line at once, for programs that look them up by letter.

use std::collections::HashMap;
use std::path::PathBuf;

use super::args::{Args, Options};

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    options: HashMap<char, Vec<String>>,
    /// What is no option, in order.
    pub(crate) operands: Vec<String>,
}

impl Given {
    /// Reads the program's command line. With `command_last`, options may also follow the first
    /// operand (ssh's host), and everything from the second on is left alone (the command).
    pub(crate) fn from_env(options: Options, command_last: bool) -> Result<Self, String> {
        let mut args = Args::from_env(options);
        let mut this = Self::default();
        loop {
            while let Some((letter, value)) = args.option().map_err(|wrong| wrong.to_string())? {
                this.options.entry(letter).or_default().push(value.to_string_lossy().into_owned());
            }
            let Some(operand) = args.operand() else { return Ok(this) };
            this.operands.push(operand.to_string_lossy().into_owned());
            if command_last && this.operands.len() == 2 {
                this.operands.extend(args.rest().iter().map(|word| word.to_string_lossy().into_owned()));
                return Ok(this);
            }
        }
    }

    pub(crate) fn has(&self, letter: char) -> bool {
        self.options.contains_key(&letter)
    }

    pub(crate) fn count(&self, letter: char) -> usize {
        self.options.get(&letter).map_or(0, Vec::len)
    }

    /// The option's last value.
    pub(crate) fn last(&self, letter: char) -> Option<&str> {
        self.options.get(&letter)?.last().map(String::as_str)
    }

    pub(crate) fn path(&self, letter: char) -> Option<PathBuf> {
        self.last(letter).map(PathBuf::from)
    }

    /// All the option's values.
    pub(crate) fn all(&self, letter: char) -> impl Iterator<Item = &str> {
        self.options.get(&letter).into_iter().flatten().map(String::as_str)
    }
}

/// A size as sshd_config(5) has it: `64K`, `1G`.
pub(crate) fn size(value: &str) -> Result<u64, String> {
    let units = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30)];
    let unit = units.into_iter().find(|(unit, _)| value.to_ascii_uppercase().ends_with(*unit));
    let number = if unit.is_some() { &value[..value.len() - 1] } else { value };
    let number = number.parse::<u64>().map_err(|_| format!("{value} is no size"))?;
    number.checked_mul(unit.map_or(1, |(_, factor)| factor)).ok_or_else(|| format!("{value} is too large"))
}

/// A time as sshd_config(5), "TIME FORMATS", has it, in seconds: `600`, `10m`, `1h30m`.
pub(crate) fn time(value: &str) -> Result<u32, String> {
    let wrong = || format!("{value} is no time");
    let (mut total, mut rest) = (0_u32, value);
    while !rest.is_empty() || value.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let number = rest[..end].parse::<u32>().map_err(|_| wrong())?;
        let mut letters = rest[end..].chars();
        let unit = match letters.next().map(|letter| letter.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            Some(_) => return Err(wrong()),
        };
        total = number.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = letters.as_str();
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (value, seconds) in
            [("600", 600), ("600s", 600), ("10m", 600), ("1h30m", 5400), ("1h30", 3630), ("1W2D", 777_600)]
        {
            assert_eq!(time(value), Ok(seconds), "{value}");
        }
        for value in ["", "m", "-1", "1x", "1hm", "h1", "4294967296", "9999999w", "é"] {
            assert!(time(value).is_err(), "{value}");
        }
    }
}
