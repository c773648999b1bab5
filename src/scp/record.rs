//! The lines of the protocol that `scp -t` and `scp -f` speak, to values and back. There is no standard:
//! what rcp(1) and OpenSSH's scp send is what there is.
//!
//! Pure: no stream, no file. Knows not what was asked for.

use std::fmt;

/// The longest line, its end included: what OpenSSH's source has room for, PATH_MAX and 128.
pub(super) const MAX_LINE: usize = 4096 + 128;
/// The bits of a mode that a line may set.
const MODE: u32 = 0o7777;

/// When a file was last written and read: seconds since 1970 and microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) modified: (i64, u32),
    pub(crate) accessed: (i64, u32),
}

/// What a source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// `T`: the times of the next file or directory.
    Times(Times),
    /// `C`: a file, of which `size` bytes follow.
    File { mode: u32, size: u64, name: Vec<u8> },
    /// `D`: a directory, in which what follows lies.
    Directory { mode: u32, name: Vec<u8> },
    /// `E`: the end of a directory.
    End,
    /// 1: something failed, the rest comes.
    Warning(Vec<u8>),
    /// 2: it failed, nothing more comes.
    Fatal(Vec<u8>),
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRecord {
    Unknown,
    Mode,
    Size,
    Name,
    Times,
    End,
}

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "expected control record",
            Self::Mode => "bad mode",
            Self::Size => "bad size",
            Self::Name => "unexpected filename",
            Self::Times => "bad times",
            Self::End => "bad end of a directory",
        })
    }
}

/// Whether a line can carry that name, and a directory hold it.
pub(super) fn name_is_good(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
        && name.len() < MAX_LINE.saturating_sub(64)
        && !name.iter().any(|byte| matches!(byte, b'/' | b'\n' | 0))
}

impl Record {
    /// Reads a line, without the newline at its end.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, BadRecord> {
        let (kind, rest) = line.split_first().ok_or(BadRecord::Unknown)?;
        match kind {
            1 => Ok(Self::Warning(rest.to_vec())),
            2 => Ok(Self::Fatal(rest.to_vec())),
            b'E' => rest.is_empty().then_some(Self::End).ok_or(BadRecord::End),
            b'T' => times(rest).map(Self::Times).ok_or(BadRecord::Times),
            b'C' | b'D' => {
                let (digits, rest) = rest.split_at_checked(4).ok_or(BadRecord::Mode)?;
                let mode = octal(digits).ok_or(BadRecord::Mode)?;
                let rest = rest.strip_prefix(b" ").ok_or(BadRecord::Mode)?;
                let (size, name) = word(rest).ok_or(BadRecord::Size)?;
                let size = decimal(size).ok_or(BadRecord::Size)?;
                if !name_is_good(name) {
                    return Err(BadRecord::Name);
                }
                let name = name.to_vec();
                Ok(if *kind == b'C' {
                    Self::File { mode, size, name }
                } else {
                    Self::Directory { mode, name }
                })
            }
            _ => Err(BadRecord::Unknown),
        }
    }

    /// The line, with its newline.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut line = match self {
            Self::Times(Times { modified: (written, micros), accessed: (read, more) }) => {
                format!("T{} {micros} {} {more}", (*written).max(0), (*read).max(0)).into_bytes()
            }
            Self::File { mode, size, name } => {
                [format!("C{:04o} {size} ", mode & MODE).as_bytes(), name].concat()
            }
            Self::Directory { mode, name } => [format!("D{:04o} 0 ", mode & MODE).as_bytes(), name].concat(),
            Self::End => vec![b'E'],
            Self::Warning(text) => [&[1], text.as_slice()].concat(),
            Self::Fatal(text) => [&[2], text.as_slice()].concat(),
        };
        line.push(b'\n');
        line
    }
}

/// What stands before the next space, and what behind it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b' ')?;
    let (word, rest) = text.split_at_checked(at)?;
    Some((word, rest.strip_prefix(b" ")?))
}

fn octal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |mode, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
        mode.checked_mul(8)?.checked_add(digit.into())
    })
}

/// A number that a file's size or a time can be: it has a sign everywhere, so that 63 bits are left.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })?;
    i64::try_from(number).is_ok().then_some(number)
}

fn times(text: &[u8]) -> Option<Times> {
    let (written, rest) = word(text)?;
    let (written_micros, rest) = word(rest)?;
    let (read, read_micros) = word(rest)?;
    let time = |seconds, micros| {
        let seconds = i64::try_from(decimal(seconds)?).ok()?;
        let micros = u32::try_from(decimal(micros)?).ok()?;
        (micros < 1_000_000).then_some((seconds, micros))
    };
    Some(Times { modified: time(written, written_micros)?, accessed: time(read, read_micros)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back() {
        for line in [
            "C0644 12 name with spaces\n",
            "C7777 9223372036854775807 n\n",
            "D0755 0 dir\n",
            "E\n",
            "T1700000000 5 1700000001 999999\n",
            "\u{1}scp: x: No such file or directory\n",
            "\u{2}\n",
        ] {
            let record = Record::parse(line.trim_end_matches('\n').as_bytes()).unwrap();
            assert_eq!(record.encode(), line.as_bytes(), "{line:?}");
        }
        let wild = Record::parse(b"C0600 1 \xff\x1b\r \xfe").unwrap();
        assert_eq!(wild, Record::File { mode: 0o600, size: 1, name: b"\xff\x1b\r \xfe".to_vec() });
    }

    #[test]
    fn bad_lines_are_told_apart() {
        for (line, error) in [
            ("", BadRecord::Unknown),
            ("X", BadRecord::Unknown),
            ("\0", BadRecord::Unknown),
            ("Welcome to the host", BadRecord::Unknown),
            ("C", BadRecord::Mode),
            ("C064", BadRecord::Mode),
            ("C0648 1 x", BadRecord::Mode),
            ("C00644 1 x", BadRecord::Mode),
            ("C-644 1 x", BadRecord::Mode),
            ("C0644 x", BadRecord::Size),
            ("C0644  x", BadRecord::Size),
            ("C0644 -1 x", BadRecord::Size),
            ("C0644 +1 x", BadRecord::Size),
            ("C0644 1k x", BadRecord::Size),
            ("C0644 9223372036854775808 x", BadRecord::Size),
            ("C0644 99999999999999999999999 x", BadRecord::Size),
            ("C0644 1 ", BadRecord::Name),
            ("C0644 1 .", BadRecord::Name),
            ("C0644 1 ..", BadRecord::Name),
            ("D0755 0 ..", BadRecord::Name),
            ("C0644 1 /etc/passwd", BadRecord::Name),
            ("C0644 1 ../x", BadRecord::Name),
            ("C0644 1 a/b", BadRecord::Name),
            ("C0644 1 a\0b", BadRecord::Name),
            ("C0644 1 a\nb", BadRecord::Name),
            ("E ", BadRecord::End),
            ("T1 2 3", BadRecord::Times),
            ("T1 1000000 3 0", BadRecord::Times),
            ("T-1 0 0 0", BadRecord::Times),
            ("T1 0 99999999999999999999 0", BadRecord::Times),
            ("T1 0 1 0 ", BadRecord::Times),
        ] {
            assert_eq!(Record::parse(line.as_bytes()), Err(error), "{line:?}");
        }
        assert_eq!(
            Record::parse(&[b"C0644 1 ".as_slice(), &[b'n'; MAX_LINE]].concat()),
            Err(BadRecord::Name)
        );
    }

    #[test]
    fn any_line_is_read_or_refused() {
        let mut seed = 7_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize
        };
        let parts = ["C", "D", "E", "T", "0644", " ", "12", "x", "..", "/", "\0", "\x01", "9999999999", "é"];
        for _ in 0..20_000 {
            let line: String = (0..next() % 8).map(|_| parts[next() % parts.len()]).collect();
            if let Ok(record) = Record::parse(line.as_bytes()) {
                let again = record.encode();
                assert_eq!(Record::parse(&again[..again.len() - 1]), Ok(record), "{line:?}");
            }
        }
    }
}
