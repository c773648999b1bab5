//! Which names a source may send: those that were asked for, and no others.
//!
//! A name that was asked for exactly is one; where the other side's shell makes names of a pattern, it is
//! read here as a POSIX shell reads it (quotes, braces, `*`, `?`, `[...]`). Pure.

use crate::pattern::glob::glob_matches;

/// What one pattern may stand for; more braces than anybody writes.
const MAX_PATTERNS: usize = 1024;
/// Longer patterns match nothing.
const MAX_PATTERN: usize = 4096;

/// A byte of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// Itself.
    Plain(u8),
    /// What the shell acts upon.
    Magic(u8),
}

use Token::{Magic, Plain};

/// A pattern of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Vec<Token>);

/// What may come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    Anything,
    Name(Vec<u8>),
    Patterns(Vec<Pattern>),
}

impl Expected {
    /// The last component of a path.
    pub(super) fn last_of(path: &[u8]) -> Self {
        let mut parts = path.rsplit(|byte| *byte == b'/');
        Self::Name(parts.find(|part| !part.is_empty()).unwrap_or_default().to_vec())
    }

    /// The last component of what a shell makes of `words`; none for too many braces.
    pub(super) fn of_shell(words: &[u8]) -> Option<Self> {
        let paths = braces(&tokens(words))?;
        let mut patterns = Vec::new();
        for path in paths {
            let slash = |token: &Token| matches!(token, Plain(b'/') | Magic(b'/'));
            let last = path.rsplit(slash).find(|part| !part.is_empty()).unwrap_or_default();
            // A home has whatever name it has.
            if last.first() == Some(&Magic(b'~')) && !path.iter().any(slash) {
                return Some(Self::Anything);
            }
            patterns.push(Pattern(last.to_vec()));
        }
        Some(Self::Patterns(patterns))
    }

    pub(super) fn admits(&self, name: &[u8]) -> bool {
        match self {
            Self::Anything => true,
            Self::Name(asked) => asked == name,
            Self::Patterns(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
        }
    }
}

impl Pattern {
    /// The components of a path with patterns.
    pub(super) fn components(path: &[u8]) -> Vec<Self> {
        let slash = |token: &Token| matches!(token, Plain(b'/') | Magic(b'/'));
        tokens(path).split(slash).filter(|part| !part.is_empty()).map(|part| Self(part.to_vec())).collect()
    }

    /// Its bytes, where it stands for nothing but itself.
    pub(super) fn plain(&self) -> Vec<u8> {
        self.0.iter().map(|(Plain(byte) | Magic(byte))| *byte).collect()
    }

    /// Whether it may stand for more than itself.
    pub(super) fn is_magic(&self) -> bool {
        self.0.iter().any(|token| matches!(token, Magic(b'*' | b'?' | b'[')))
    }

    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let bytes = self.0.iter().flat_map(|token| match token {
            Plain(byte) => [Some(b'\\'), Some(*byte)],
            Magic(byte) => [None, Some(*byte)],
        });
        self.0.len() <= MAX_PATTERN && glob_matches(bytes.flatten().collect::<Vec<u8>>(), name)
    }
}

/// A shell's reading of quotes and backslashes.
fn tokens(words: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut quote = None;
    let mut bytes = words.iter().copied();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (None, b'\'' | b'"') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            (None | Some(b'"'), b'\\') => tokens.extend(bytes.next().map(Plain)),
            (Some(_), byte) => tokens.push(Plain(byte)),
            (None, byte) => tokens.push(Magic(byte)),
        }
    }
    tokens
}

/// Every way to take one of each pair of braces; none if there are too many.
fn braces(tokens: &[Token]) -> Option<Vec<Vec<Token>>> {
    let mut done = Vec::new();
    let mut todo = vec![tokens.to_vec()];
    while let Some(path) = todo.pop() {
        match first_brace(&path) {
            None => done.push(path),
            Some((open, close, choices)) => {
                let (before, after) = (path.get(..open)?, path.get(close.checked_add(1)?..)?);
                for choice in choices.into_iter().rev() {
                    todo.push([before, &choice, after].concat());
                }
            }
        }
        if done.len().saturating_add(todo.len()) > MAX_PATTERNS {
            return None;
        }
    }
    Some(done)
}

/// The first pair of braces with a comma in it: where it begins and ends, and what it offers.
fn first_brace(path: &[Token]) -> Option<(usize, usize, Vec<Vec<Token>>)> {
    for open in (0..path.len()).filter(|at| path.get(*at) == Some(&Magic(b'{'))) {
        let mut depth = 0_usize;
        let mut choices = vec![Vec::new()];
        for (at, token) in path.iter().enumerate().skip(open.saturating_add(1)) {
            match token {
                Magic(b'}') if depth == 0 && choices.len() > 1 => return Some((open, at, choices)),
                Magic(b'}') if depth == 0 => break,
                Magic(b',') if depth == 0 => {
                    choices.push(Vec::new());
                    continue;
                }
                Magic(b'{') => depth = depth.saturating_add(1),
                Magic(b'}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            if let Some(choice) = choices.last_mut() {
                choice.push(*token);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(words: &str, name: &str) -> bool {
        Expected::of_shell(words.as_bytes()).is_some_and(|expected| expected.admits(name.as_bytes()))
    }

    #[test]
    fn a_name_is_itself() {
        for (path, name) in [("/a/b", "b"), ("b", "b"), ("b//", "b"), ("*", "*"), ("a/'x'", "'x'")] {
            assert!(Expected::last_of(path.as_bytes()).admits(name.as_bytes()), "{path}");
        }
        assert!(!Expected::last_of(b"a/b").admits(b"a"));
        assert!(!Expected::last_of(b"*").admits(b"x"));
    }

    #[test]
    fn patterns_stand_for_what_a_shell_makes_of_them() {
        for (words, name) in [
            ("dir/*", "x"),
            ("*.txt", "a.txt"),
            ("a?c", "abc"),
            ("[a-c]x", "bx"),
            ("[!a-c]x", "dx"),
            ("[]a]", "]"),
            ("[a-]", "-"),
            ("[", "["),
            ("{a,b}", "b"),
            ("x{a,b{1,2}}.[ch]", "xb2.c"),
            ("{a}", "{a}"),
            ("'a b'", "a b"),
            ("a\\ b", "a b"),
            ("\"*\"", "*"),
            (".*", ".x"),
            ("~/x", "x"),
            ("~", "whoever"),
            ("*a*b*", "xaxbx"),
        ] {
            assert!(shell(words, name), "{words} {name}");
        }
        for (words, name) in [
            ("dir/*", ".bashrc"),
            ("?bashrc", ".bashrc"),
            ("[.]bashrc", ".bashrc"),
            ("*.txt", "a.sh"),
            ("'*'", "x"),
            ("[a-c]x", "dx"),
            ("[!a-c]x", "bx"),
            ("{a,b}", "c"),
            ("a", "b"),
            ("", "b"),
            ("$HOME", "root"),
            ("*a*b*", "xbxa"),
        ] {
            assert!(!shell(words, name), "{words} {name}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        assert!(!shell(&"*a".repeat(1000), &"a".repeat(999)));
        assert_eq!(Expected::of_shell("{a,b}".repeat(30).as_bytes()), None);
        assert_eq!(Expected::of_shell("{a,{".repeat(1000).as_bytes()).map(|_| ()), Some(()));
    }
}
