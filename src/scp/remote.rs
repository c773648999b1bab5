//! The command line that starts the other side, and how it is read where we are that side. Pure.

use std::fmt;

/// The longest command that is read: more than any path.
const MAX_COMMAND: usize = 16 * 1024;

/// What `scp -t` and `scp -f` are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Request {
    /// Whether it receives (`-t`); it sends (`-f`) otherwise.
    pub(super) receives: bool,
    pub(super) recursive: bool,
    pub(super) preserve: bool,
    pub(super) directory: bool,
    pub(super) paths: Vec<Word>,
}

/// A word of a command line. Where a shell would have made names of it, `pattern` is what it would have
/// read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) bytes: Vec<u8>,
    pub(super) pattern: Option<Vec<u8>>,
}

/// Why a command is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotScp {
    /// It is no scp at all.
    Other,
    /// A shell would do more with it than we do.
    Shell,
    Option,
    Operands,
}

impl fmt::Display for NotScp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Other => "not a command for scp",
            Self::Shell => "there is no shell here that reads this command",
            Self::Option => "only -t, -f, -r, -p, -d, -v and -q are known here",
            Self::Operands => "-t takes one path, -f one or more",
        })
    }
}

/// A word as every POSIX shell takes it for itself.
pub(super) fn quoted(word: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_./,:+@%=-".contains(byte);
    if !word.is_empty() && word.iter().all(plain) {
        return word.to_vec();
    }
    let mut out = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => out.extend_from_slice(b"'\\''"),
            other => out.push(*other),
        }
    }
    out.push(b'\'');
    out
}

/// Whether a command begins with scp's name, so that it is for us.
pub(super) fn is_scp(command: &[u8]) -> bool {
    let first = command.split(|byte| *byte == b' ').next().unwrap_or_default();
    first.rsplit(|byte| *byte == b'/').next() == Some(b"scp")
}

impl Request {
    /// Reads a command as a client sends it.
    pub(super) fn parse(command: &[u8]) -> Result<Self, NotScp> {
        if command.len() > MAX_COMMAND || !is_scp(command) {
            return Err(NotScp::Other);
        }
        let mut words = words(command)?.into_iter();
        words.next();
        Self::from_words(words)
    }

    /// Reads the words behind the program's name.
    pub(super) fn from_words(words: impl Iterator<Item = Word>) -> Result<Self, NotScp> {
        let mut request = Self::default();
        let (mut receives, mut sends, mut ended) = (false, false, false);
        for word in words {
            match word.bytes.split_first() {
                Some((b'-', b"-")) if !ended && request.paths.is_empty() => ended = true,
                Some((b'-', letters)) if !ended && request.paths.is_empty() && !letters.is_empty() => {
                    for letter in letters {
                        match letter {
                            b't' => receives = true,
                            b'f' => sends = true,
                            b'r' => request.recursive = true,
                            b'p' => request.preserve = true,
                            b'd' => request.directory = true,
                            b'v' | b'q' => {}
                            _ => return Err(NotScp::Option),
                        }
                    }
                }
                _ => request.paths.push(word),
            }
        }
        let fits = if receives { request.paths.len() == 1 } else { !request.paths.is_empty() };
        if receives == sends {
            return Err(NotScp::Option);
        }
        request.receives = receives;
        if fits { Ok(request) } else { Err(NotScp::Operands) }
    }
}

/// Splits a command line as a shell does, and refuses what a shell would act upon.
fn words(command: &[u8]) -> Result<Vec<Word>, NotScp> {
    let mut words = Vec::new();
    let mut word: Option<(Vec<u8>, Vec<u8>, bool)> = None;
    let mut bytes = command.iter().copied().peekable();
    let mut quote = None;
    while let Some(byte) = bytes.next() {
        if quote.is_none() && matches!(byte, b' ' | b'\t') {
            words.extend(word.take().map(finished));
            continue;
        }
        let begins = word.is_none();
        let (plain, raw, magic) = word.get_or_insert_with(|| (Vec::new(), Vec::new(), false));
        let literal = match (quote, byte) {
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                continue;
            }
            (Some(open), byte) if open == byte => {
                quote = None;
                continue;
            }
            (None, b'\\') => bytes.next().ok_or(NotScp::Shell)?,
            (Some(b'"'), b'\\') if bytes.peek().is_some_and(|next| b"\\\"$`".contains(next)) => {
                bytes.next().unwrap_or(byte)
            }
            (Some(b'"'), b'$' | b'`') => return Err(NotScp::Shell),
            (None, b'*' | b'?' | b'[') => {
                *magic = true;
                plain.push(byte);
                raw.push(byte);
                continue;
            }
            (None, b'~') if begins && matches!(bytes.peek(), None | Some(b'/' | b' ')) => {
                // The home is where relative paths begin.
                bytes.next_if_eq(&b'/');
                continue;
            }
            (None, b'$' | b'`' | b';' | b'&' | b'|' | b'<' | b'>' | b'(' | b')' | b'{' | b'\n' | b'#')
            | (None, b'~') => return Err(NotScp::Shell),
            (_, byte) => byte,
        };
        plain.push(literal);
        raw.extend_from_slice(&[b'\\', literal]);
    }
    if quote.is_some() {
        return Err(NotScp::Shell);
    }
    words.extend(word.take().map(finished));
    Ok(words)
}

fn finished((bytes, raw, magic): (Vec<u8>, Vec<u8>, bool)) -> Word {
    Word { bytes, pattern: magic.then_some(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        Word { bytes: text.as_bytes().to_vec(), pattern: None }
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        for name in ["plain", "a b", "it's", "*", "$HOME", "a\\b", "\"", "é", "-x", "~", "a\nb", ""] {
            let command = [b"scp -t -- ".as_slice(), &quoted(name.as_bytes())].concat();
            let request = Request::parse(&command).unwrap();
            assert_eq!(request.paths, [word(name)], "{name:?}");
        }
    }

    #[test]
    fn commands_of_other_programs() {
        let request = Request::parse(b"scp -v -r -p -d -t .").unwrap();
        let all =
            Request { receives: true, recursive: true, preserve: true, directory: true, ..request.clone() };
        assert_eq!(request, all);
        let request = Request::parse(b"/usr/bin/scp -qrf a 'b c' d\\ e").unwrap();
        assert_eq!(request.paths, [word("a"), word("b c"), word("d e")]);
        assert!(!request.receives && request.recursive);
        assert_eq!(Request::parse(b"scp -f ~/x").unwrap().paths, [word("x")]);
        assert_eq!(Request::parse(b"scp -t ~").unwrap().paths, [word("")]);
        let request = Request::parse(b"scp -f dir/*.tx\\*").unwrap();
        assert!(request.paths[0].pattern.is_some());
    }

    #[test]
    fn what_is_more_than_that_is_refused() {
        for (command, error) in [
            ("ls", NotScp::Other),
            ("scpx -t .", NotScp::Other),
            ("scp", NotScp::Option),
            ("scp .", NotScp::Option),
            ("scp -t -f .", NotScp::Option),
            ("scp -t", NotScp::Operands),
            ("scp -t a b", NotScp::Operands),
            ("scp -f", NotScp::Operands),
            ("scp -S sh -t .", NotScp::Option),
            ("scp -tx .", NotScp::Option),
            ("scp --help -t .", NotScp::Option),
            ("scp -t .; id", NotScp::Shell),
            ("scp -t `id`", NotScp::Shell),
            ("scp -t $(id)", NotScp::Shell),
            ("scp -t \"$HOME\"", NotScp::Shell),
            ("scp -t . > x", NotScp::Shell),
            ("scp -t .\nid", NotScp::Shell),
            ("scp -t ~root", NotScp::Shell),
            ("scp -t 'x", NotScp::Shell),
            ("scp -t x\\", NotScp::Shell),
            ("scp -f {a,b}", NotScp::Shell),
        ] {
            assert_eq!(Request::parse(command.as_bytes()), Err(error), "{command}");
        }
    }
}
