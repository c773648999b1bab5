//! All options of a command line at once, for programs that look them up by letter; and the values of
//! options as ssh_config(5) and sshd_config(5) have them. What is not understood is an error.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use super::args::{Args, Options};

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    options: Vec<(char, OsString)>,
    /// What is no option, in order.
    pub(crate) operands: Vec<String>,
    /// The same where it is the names of files.
    pub(crate) files: Vec<OsString>,
}

impl Given {
    /// Reads the program's command line, which must be text.
    pub(crate) fn from_env(options: Options) -> Result<Self, String> {
        let mut this = Self::with_files(options, "")?;
        let operands = std::mem::take(&mut this.files).into_iter().map(|word| text(&word).map(str::to_owned));
        this.operands = operands.collect::<Result<_, _>>()?;
        Ok(this)
    }

    /// Reads the program's command line. The operands, and the values of these letters, are names of
    /// files: any bytes.
    pub(crate) fn with_files(options: Options, letters: &str) -> Result<Self, String> {
        Self::of(options, std::env::args_os().skip(1), letters)
    }

    /// The same of other words.
    pub(crate) fn of(
        options: Options,
        words: impl IntoIterator<Item = OsString>,
        letters: &str,
    ) -> Result<Self, String> {
        let mut args = Args::new(options, words);
        let mut this = Self::default();
        loop {
            while let Some((letter, value)) = args.option().map_err(|wrong| wrong.to_string())? {
                if !letters.contains(letter) {
                    text(&value).map_err(|wrong| format!("-{letter} {wrong}"))?;
                }
                this.options.push((letter, value));
            }
            let Some(operand) = args.operand() else { return Ok(this) };
            this.files.push(operand);
        }
    }

    pub(crate) fn has(&self, letter: char) -> bool {
        self.count(letter) > 0
    }

    pub(crate) fn count(&self, letter: char) -> usize {
        self.paths(letter).count()
    }

    /// The option's last value, if that is text.
    pub(crate) fn last(&self, letter: char) -> Option<&str> {
        self.all(letter).next_back()
    }

    /// All the option's values that are text.
    pub(crate) fn all(&self, letter: char) -> impl DoubleEndedIterator<Item = &str> {
        self.values(letter).filter_map(OsStr::to_str)
    }

    pub(crate) fn path(&self, letter: char) -> Option<PathBuf> {
        self.paths(letter).next_back()
    }

    pub(crate) fn paths(&self, letter: char) -> impl DoubleEndedIterator<Item = PathBuf> {
        self.values(letter).map(PathBuf::from)
    }

    fn values(&self, letter: char) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.options.iter().filter(move |(given, _)| *given == letter).map(|(_, value)| &**value)
    }
}

/// The words of a command line without options, which must be text.
pub(crate) fn operands() -> Result<Vec<String>, String> {
    Ok(Given::from_env(Options { letters: "", names: &[] })?.operands)
}

/// A word that must be text.
pub(crate) fn text(word: &OsStr) -> Result<&str, String> {
    word.to_str().ok_or_else(|| format!("{}: not UTF-8", word.display()))
}

/// The name, in lower case, and the words of `Name=value`, `Name value` or `Name = "a value" more`.
pub(crate) fn option(line: &str) -> Result<(String, Vec<String>), String> {
    let line = line.trim();
    let end = line.find(|letter: char| letter == '=' || letter.is_whitespace()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let words = words(rest.strip_prefix('=').unwrap_or(rest))?;
    if words.is_empty() {
        return Err("no value".to_owned());
    }
    Ok((name.to_ascii_lowercase(), words))
}

/// A line of a file that says something.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    /// The keyword.
    pub(crate) name: String,
    /// The rest of the line as it is.
    pub(crate) rest: &'a str,
    /// Its words up to a `#` that begins one.
    pub(crate) words: Vec<String>,
}

/// Reads a line of a file; none for one that says nothing.
pub(crate) fn statement(line: &str) -> Result<Option<Statement<'_>>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|letter: char| letter == '=' || letter.is_whitespace()).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start();
    Ok(Some(Statement { name: name.to_owned(), rest, words: words_until(rest, true)? }))
}

fn words(line: &str) -> Result<Vec<String>, String> {
    words_until(line, false)
}

/// Words with blanks between them. What is quoted, by either mark, is one; `\` takes the meaning from
/// quotes, blanks and itself. `comments`: whether a word that begins with `#` ends them.
fn words_until(line: &str, comments: bool) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut letters = line.trim_end().chars().peekable();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        if letters.peek().is_none_or(|letter| comments && *letter == '#') {
            return Ok(words);
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(letter) = letters.next_if(|letter| quote.is_some() || !letter.is_whitespace()) {
            match letter {
                '\\' => {
                    let meant = |next: &char| "\"'\\".contains(*next) || quote.is_none() && *next == ' ';
                    word.push(letters.next_if(meant).unwrap_or('\\'));
                }
                _ if quote == Some(letter) => quote = None,
                '"' | '\'' if quote.is_none() => quote = Some(letter),
                _ => word.push(letter),
            }
        }
        if quote.is_some() {
            return Err("a quote is not closed".to_owned());
        }
        words.push(word);
    }
}

/// The one value that an option takes.
pub(crate) fn one(words: &[String]) -> Result<&str, String> {
    match words {
        [word] => Ok(word),
        _ => Err("takes one value".to_owned()),
    }
}

/// The meaning of one of the known words, whose case does not matter.
pub(crate) fn choice<T: Clone>(value: &str, known: &[(&str, T)]) -> Result<T, String> {
    let found = known.iter().find(|(word, _)| word.eq_ignore_ascii_case(value));
    found.map(|(_, meaning)| meaning.clone()).ok_or_else(|| {
        let words: Vec<_> = known.iter().map(|(word, _)| *word).collect();
        format!("not one of {}", words.join(", "))
    })
}

pub(crate) fn yes(value: &str) -> Result<bool, String> {
    choice(value, &[("yes", true), ("no", false), ("true", true), ("false", false)])
}

pub(crate) fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| "no number, or one out of range".to_owned())
}

/// RekeyLimit: a size or `default`, as which 0 is shown and read, and perhaps a time or `none`.
pub(crate) fn rekey(words: &[String]) -> Result<(Option<u64>, Option<Duration>), String> {
    /// What OpenSSH takes at least.
    const LEAST: u64 = 16;
    let (bytes, interval) = match words {
        [bytes] => (bytes, "none"),
        [bytes, interval] => (bytes, interval.as_str()),
        _ => return Err("takes a size and a time".to_owned()),
    };
    let bytes = if bytes.eq_ignore_ascii_case("default") { None } else { Some(size(bytes)?) };
    let bytes = bytes.filter(|bytes| *bytes > 0);
    if bytes.is_some_and(|bytes| bytes < LEAST) {
        return Err("too small".to_owned());
    }
    Ok((bytes, interval_of(interval)?))
}

/// A time; `none` and 0 are none.
pub(crate) fn interval_of(value: &str) -> Result<Option<Duration>, String> {
    if value.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let seconds = time(value)?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds.into())))
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

    #[test]
    fn options_and_their_words() {
        for (line, name, expected) in [
            ("Port=22", "port", &["22"][..]),
            ("Port 22", "port", &["22"]),
            (" Port = \"22\" ", "port", &["22"]),
            ("SetEnv=A=1 B=2", "setenv", &["A=1", "B=2"]),
            ("SetEnv=A=\"1 2\" B='\"'", "setenv", &["A=1 2", "B=\""]),
            ("X=a\\ b\\\\ \\c", "x", &["a b\\", "\\c"]),
            ("X=\"\"", "x", &[""]),
        ] {
            let words = expected.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(option(line), Ok((name.to_owned(), words)), "{line}");
        }
        for line in ["", "Port", "Port=", "Port = ", "X=\"a", "X='a\""] {
            assert!(option(line).is_err(), "{line}");
        }
    }

    #[test]
    fn values() {
        assert_eq!((yes("YES"), yes("false")), (Ok(true), Ok(false)));
        assert!(yes("banana").unwrap_err().contains("yes, no"));
        assert!(number::<u32>("4294967296").is_err() && number::<u32>("-1").is_err());
        let words = |line: &str| words(line).unwrap();
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(rekey(&words("1G 1h")), Ok((Some(1 << 30), hour)));
        assert_eq!(rekey(&words("default 1h")), Ok((None, hour)));
        assert_eq!(rekey(&words("64K none")), Ok((Some(1 << 16), None)));
        for wrong in ["1", "1G 1x", "1G 1h 1h", "much"] {
            assert!(rekey(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
