//! The words of a command: quotes, backslashes and comments as sh(1) has them, and what keeps the letters of
//! patterns plain.

/// As OpenSSH: nobody types more.
const MAX_WORDS: usize = 128;
const MAX_LINE: usize = 8192;

/// A line taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) words: Vec<Vec<u8>>,
    /// The quote that the last word begins with, if it does.
    pub(crate) quote: Option<u8>,
    /// Whether the last word's quote is closed.
    pub(crate) terminated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Between,
    Plain,
    Quoted(u8),
}

struct Reader<'a> {
    line: &'a [u8],
    at: usize,
    state: State,
    word: Vec<u8>,
    found: Words,
}

/// Takes a line apart. Patterns' letters that are quoted keep a backslash, for whoever looks names up by the
/// word. A `sloppy` reader forgives a quote that is not closed.
pub(crate) fn split(line: &[u8], sloppy: bool) -> Result<Words, &'static str> {
    if line.len() > MAX_LINE {
        return Err("string too long");
    }
    let found = Words { terminated: true, ..Words::default() };
    let mut reader = Reader { line, at: 0, state: State::Between, word: Vec::new(), found };
    while let Some(byte) = reader.next() {
        if reader.found.words.len() >= MAX_WORDS {
            return Err("Too many arguments.");
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => reader.blank(byte),
            b'"' | b'\'' => reader.quote(byte),
            b'\\' => reader.backslash(),
            b'#' if !matches!(reader.state, State::Quoted(_)) => break,
            byte => reader.letter(byte),
        }
    }
    match reader.state {
        State::Quoted(_) if sloppy => reader.found.terminated = false,
        State::Quoted(_) => return Err("Unterminated quoted argument"),
        State::Between => return Ok(reader.found),
        State::Plain => {}
    }
    reader.found.words.push(reader.word);
    Ok(reader.found)
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.line.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    /// Begins a word where there is none.
    fn begin(&mut self, quote: Option<u8>) {
        if self.state == State::Between {
            self.found.quote = quote;
            self.state = State::Plain;
        }
    }

    fn blank(&mut self, byte: u8) {
        match self.state {
            State::Plain => {
                self.found.words.push(std::mem::take(&mut self.word));
                self.state = State::Between;
            }
            State::Quoted(_) => self.word.push(byte),
            State::Between => {}
        }
    }

    fn quote(&mut self, byte: u8) {
        match self.state {
            State::Quoted(open) if open == byte => self.state = State::Plain,
            State::Quoted(_) => self.word.push(byte),
            State::Plain | State::Between => {
                self.begin(Some(byte));
                self.state = State::Quoted(byte);
            }
        }
    }

    fn backslash(&mut self) {
        let next = self.next();
        match (self.state, next) {
            (State::Quoted(open), Some(byte)) if byte == open => self.word.push(byte),
            // Twice: who looks names up takes one away.
            (State::Quoted(_), Some(byte @ (b'?' | b'[' | b'*'))) => {
                self.word.extend_from_slice(&[b'\\', b'\\', b'\\', byte]);
            }
            (State::Quoted(_), next) => {
                self.word.push(b'\\');
                self.word.extend(next);
            }
            (_, next) => {
                self.begin(None);
                if matches!(next, Some(b'?' | b'[' | b'*' | b'\\')) {
                    self.word.push(b'\\');
                }
                self.word.extend(next);
            }
        }
    }

    fn letter(&mut self, byte: u8) {
        self.begin(None);
        if matches!(self.state, State::Quoted(_)) && matches!(byte, b'?' | b'[' | b'*') {
            self.word.push(b'\\');
        }
        self.word.push(byte);
    }
}

/// Takes the backslashes away that [`split`] has put before patterns' letters, for a word that is no pattern.
pub(crate) fn without_pattern(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = byte == b'\\' && matches!(bytes.peek(), Some(b'?' | b'[' | b'*' | b'\\'));
        out.push(if escaped { bytes.next().unwrap_or(byte) } else { byte });
    }
    out
}

/// A pattern for exactly this path.
pub(crate) fn as_pattern(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for byte in path {
        if b"[]?*\\".contains(byte) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let found = split(line.as_bytes(), false).unwrap();
        found.words.into_iter().map(|word| String::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn quotes_backslashes_and_comments() {
        for (line, expected) in [
            ("", &[][..]),
            ("  get  a\tb ", &["get", "a", "b"]),
            ("get 'a b' \"c d\"", &["get", "a b", "c d"]),
            ("get a' 'b\"'\"", &["get", "a b'"]),
            ("get '' x", &["get", "", "x"]),
            ("get a\\ b \\\"c\\'", &["get", "a b", "\"c'"]),
            ("get \"a\\\"b\" 'a\\'b'", &["get", "a\"b", "a'b"]),
            ("get \"a\\nb\\'\"", &["get", "a\\nb\\'"]),
            ("get a # b", &["get", "a"]),
            ("get a#b", &["get", "a"]),
            ("get 'a#b' \\#c", &["get", "a#b", "#c"]),
            ("ls *.c a?[b]", &["ls", "*.c", "a?[b]"]),
            ("ls '*' \"?\" '['", &["ls", "\\*", "\\?", "\\["]),
            ("ls \\* \\\\ a\\b", &["ls", "\\*", "\\\\", "ab"]),
            ("ls '\\*'", &["ls", "\\\\\\*"]),
            ("ls a\\", &["ls", "a"]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
        assert_eq!(split(b"get 'a", false), Err("Unterminated quoted argument"));
        assert_eq!(split(&[b'x'; 9000], false), Err("string too long"));
        assert_eq!(split(&b"x ".repeat(200), false), Err("Too many arguments."));
        assert_eq!(split(b"get \xff\\\xfe", false).unwrap().words[1], b"\xff\xfe");
    }

    #[test]
    fn an_open_quote_is_told_of() {
        let found = split(b"get 'a b", true).unwrap();
        assert_eq!(
            (found.words[1].as_slice(), found.quote, found.terminated),
            (&b"a b"[..], Some(b'\''), false)
        );
        let found = split(b"get 'a' b", true).unwrap();
        assert_eq!((found.quote, found.terminated), (None, true));
    }

    #[test]
    fn patterns_and_plain_words() {
        for (word, plain) in [("a\\*b", "a*b"), ("\\\\", "\\"), ("a\\b\\", "a\\b\\"), ("\\?\\[x]", "?[x]")] {
            assert_eq!(without_pattern(word.as_bytes()), plain.as_bytes(), "{word}");
        }
        assert_eq!(as_pattern(b"a*[b]\\?"), b"a\\*\\[b\\]\\\\\\?");
    }
}
