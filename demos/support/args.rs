//! Command lines as getopt reads them: `-v -v`, `-vvp22`, `-p 22`, `-o Key=Value`, `--port=22`,
//! `--`. Reading stops at the first operand; who wants options after it reads on.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fmt;

/// What a command line may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// The letters, as getopt takes them: one with `:` behind it wants a value.
    pub(crate) letters: &'static str,
    /// Long names, each for one of the letters.
    pub(crate) names: &'static [(&'static str, char)],
}

impl Options {
    fn wants_value(&self, letter: char) -> Option<bool> {
        if letter == ':' {
            return None;
        }
        let (_, after) = self.letters.split_once(letter)?;
        Some(after.starts_with(':'))
    }
}

/// A command line that cannot be followed; after it, the program's usage is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    Unknown(String),
    ValueMissing(String),
    ValueUnwanted(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "unknown option -- {name}"),
            Self::ValueMissing(name) => write!(f, "option requires an argument -- {name}"),
            Self::ValueUnwanted(name) => write!(f, "option takes no argument -- {name}"),
        }
    }
}

impl std::error::Error for Wrong {}

/// A command line that is being read.
#[derive(Debug)]
pub(crate) struct Args {
    options: Options,
    words: VecDeque<OsString>,
    /// What is left of a word of several letters.
    cluster: Option<OsString>,
    /// Whether `--` was read: nothing after it is an option.
    ended: bool,
}

impl Args {
    /// Reads the program's own command line.
    pub(crate) fn from_env(options: Options) -> Self {
        Self::new(options, std::env::args_os().skip(1))
    }

    /// Reads `words`, which do not begin with the program's name.
    pub(crate) fn new(options: Options, words: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let words = words.into_iter().map(Into::into).collect();
        Self { options, words, cluster: None, ended: false }
    }

    /// The next option, by its letter, with its value (empty if it takes none); `None` before an
    /// operand and at the end.
    pub(crate) fn option(&mut self) -> Result<Option<(char, OsString)>, Wrong> {
        if let Some(cluster) = self.cluster.take() {
            return self.letter(&cluster).map(Some);
        }
        if self.ended {
            return Ok(None);
        }
        let Some(word) = self.words.front() else { return Ok(None) };
        let bytes = word.as_encoded_bytes();
        if bytes == b"--" {
            self.words.pop_front();
            self.ended = true;
            return Ok(None);
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            return Ok(None);
        }
        let word = self.words.pop_front().unwrap_or_default();
        if word.as_encoded_bytes().starts_with(b"--") {
            return self.name(&without_first(&without_first(&word))).map(Some);
        }
        self.letter(&without_first(&word)).map(Some)
    }

    /// The next word, whatever it looks like.
    pub(crate) fn operand(&mut self) -> Option<OsString> {
        self.words.pop_front()
    }

    /// All words that are left.
    pub(crate) fn rest(self) -> Vec<OsString> {
        self.words.into()
    }

    /// Reads the first letter of a cluster.
    fn letter(&mut self, cluster: &OsStr) -> Result<(char, OsString), Wrong> {
        let letter = first_char(cluster);
        let wants = self.options.wants_value(letter).ok_or_else(|| Wrong::Unknown(letter.to_string()))?;
        let rest = without_first(cluster);
        if !wants {
            self.cluster = Some(rest).filter(|rest| !rest.is_empty());
            return Ok((letter, OsString::new()));
        }
        let value = if rest.is_empty() { self.words.pop_front() } else { Some(rest) };
        let value = value.ok_or_else(|| Wrong::ValueMissing(letter.to_string()))?;
        Ok((letter, value))
    }

    /// Reads a long name: `port=22`, or `port` with its value in the next word.
    fn name(&mut self, word: &OsStr) -> Result<(char, OsString), Wrong> {
        let text = word.to_string_lossy();
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(OsString::from(value))),
            None => (&*text, None),
        };
        let said = || format!("-{name}");
        let letter = self.options.names.iter().find(|(known, _)| *known == name).map(|(_, letter)| *letter);
        let letter = letter.ok_or_else(|| Wrong::Unknown(said()))?;
        let wants = self.options.wants_value(letter).unwrap_or(false);
        match (wants, value) {
            (false, None) => Ok((letter, OsString::new())),
            (false, Some(_)) => Err(Wrong::ValueUnwanted(said())),
            (true, Some(value)) => Ok((letter, value)),
            (true, None) => {
                self.words.pop_front().map(|value| (letter, value)).ok_or_else(|| Wrong::ValueMissing(said()))
            }
        }
    }
}

fn first_char(word: &OsStr) -> char {
    word.to_string_lossy().chars().next().unwrap_or_default()
}

/// `word` without its first byte, which is ASCII when it is a dash or a known letter.
#[cfg(unix)]
fn without_first(word: &OsStr) -> OsString {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(word.as_bytes().get(1..).unwrap_or_default()).to_owned()
}

/// `word` without its first character.
#[cfg(not(unix))]
fn without_first(word: &OsStr) -> OsString {
    word.to_string_lossy().chars().skip(1).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options =
        Options { letters: "46vp:o:", names: &[("port", 'p'), ("verbose", 'v'), ("help", 'h')] };

    /// All options up to the first operand, and what is left.
    fn read(words: &[&str]) -> (Vec<(char, String)>, Vec<OsString>) {
        let mut args = Args::new(OPTIONS, words);
        let mut options = Vec::new();
        while let Some((letter, value)) = args.option().unwrap() {
            options.push((letter, value.into_string().unwrap()));
        }
        (options, args.rest())
    }

    fn fails(words: &[&str]) -> String {
        let mut args = Args::new(OPTIONS, words);
        loop {
            match args.option() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("{words:?} is fine"),
                Err(wrong) => return wrong.to_string(),
            }
        }
    }

    fn pairs(list: &[(char, &str)]) -> Vec<(char, String)> {
        list.iter().map(|(letter, value)| (*letter, (*value).to_owned())).collect()
    }

    #[test]
    fn letters_alone_clustered_and_with_values() {
        assert_eq!(read(&["-v", "-4", "host"]).0, pairs(&[('v', ""), ('4', "")]));
        assert_eq!(read(&["-4vp22", "host"]).0, pairs(&[('4', ""), ('v', ""), ('p', "22")]));
        assert_eq!(read(&["-vp", "22", "host"]).0, pairs(&[('v', ""), ('p', "22")]));
        assert_eq!(read(&["-o", "A=b", "-oC=d"]).0, pairs(&[('o', "A=b"), ('o', "C=d")]));
        assert_eq!(read(&["-p", "-v", "x"]), (pairs(&[('p', "-v")]), vec!["x".into()]));
    }

    #[test]
    fn long_names() {
        assert_eq!(read(&["--port", "22", "--port=23"]).0, pairs(&[('p', "22"), ('p', "23")]));
        assert_eq!(read(&["--verbose", "x"]).0, pairs(&[('v', "")]));
        assert_eq!(fails(&["--nothing"]), "unknown option -- -nothing");
        assert_eq!(fails(&["--verbose=1"]), "option takes no argument -- -verbose");
        assert_eq!(fails(&["--port"]), "option requires an argument -- -port");
    }

    #[test]
    fn reading_stops_at_an_operand_and_can_go_on() {
        let mut args = Args::new(OPTIONS, ["-v", "host", "-p", "22", "ls", "-v"]);
        assert_eq!(args.option().unwrap().unwrap().0, 'v');
        assert_eq!(args.option().unwrap(), None);
        assert_eq!(args.operand().unwrap(), "host");
        assert_eq!(args.option().unwrap().unwrap(), ('p', "22".into()));
        assert_eq!(args.option().unwrap(), None);
        assert_eq!(args.rest(), ["ls", "-v"]);
    }

    #[test]
    fn two_dashes_end_the_options_for_good() {
        let mut args = Args::new(OPTIONS, ["-v", "--", "-v", "host", "-v"]);
        assert_eq!(args.option().unwrap().unwrap().0, 'v');
        assert_eq!(args.option().unwrap(), None);
        assert_eq!(args.operand().unwrap(), "-v");
        assert_eq!(args.operand().unwrap(), "host");
        assert_eq!(args.option().unwrap(), None);
        assert_eq!(args.rest(), ["-v"]);
        assert_eq!(read(&["-", "x"]), (vec![], vec!["-".into(), "x".into()]));
        assert_eq!(read(&[]), (vec![], vec![]));
    }

    #[test]
    fn wrong_ones_are_told_as_getopt_tells_them() {
        assert_eq!(fails(&["-vz"]), "unknown option -- z");
        assert_eq!(fails(&["-:"]), "unknown option -- :");
        assert_eq!(fails(&["-é"]), "unknown option -- é");
        assert_eq!(fails(&["-vp"]), "option requires an argument -- p");
    }

    #[cfg(unix)]
    #[test]
    fn values_need_not_be_text() {
        use std::os::unix::ffi::OsStrExt;
        let word = OsStr::from_bytes(b"-o\xff\xfe");
        let mut args = Args::new(OPTIONS, [word]);
        assert_eq!(args.option().unwrap().unwrap(), ('o', OsStr::from_bytes(b"\xff\xfe").to_owned()));
    }
}
