//! Patterns of file names, as shells have them: `*`, `?`, `[a-z]`, `[!a-z]` and `\` before what stands for
//! itself.
//!
//! Time is bounded by the product of both lengths.

/// Whether `name`, one component of a path, matches. A dot at its beginning is matched by a dot only.
///
/// ```
/// assert!(feramiko::glob_matches("*.[ch]", "main.c"));
/// assert!(!feramiko::glob_matches("*", ".profile"));
/// ```
#[must_use]
pub fn glob_matches(pattern: impl AsRef<[u8]>, name: impl AsRef<[u8]>) -> bool {
    let (pattern, name) = (pattern.as_ref(), name.as_ref());
    if name.first() == Some(&b'.') && !matches!(pattern, [b'.', ..] | [b'\\', b'.', ..]) {
        return false;
    }
    let (mut at, mut done) = (pattern, name);
    // Where the last star stood, and what it may take one more byte of.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (at, done) {
            ([b'*', rest @ ..], _) => {
                star = Some((rest, done));
                at = rest;
                continue;
            }
            ([], []) => return true,
            (_, [byte, left @ ..]) => {
                if let Some(rest) = one(at, *byte) {
                    (at, done) = (rest, left);
                    continue;
                }
            }
            (_, []) => {}
        }
        match star {
            Some((rest, [_, left @ ..])) => {
                star = Some((rest, left));
                (at, done) = (rest, left);
            }
            _ => return false,
        }
    }
}

/// Whether a pattern has anything that does not stand for itself.
#[must_use]
pub(crate) fn is_pattern(text: &[u8]) -> bool {
    text.iter().any(|byte| b"*?[\\".contains(byte))
}

/// The text that a pattern without wildcards stands for.
pub(crate) fn plain(pattern: &[u8]) -> Vec<u8> {
    let mut bytes = pattern.iter();
    let mut text = Vec::new();
    while let Some(byte) = bytes.next() {
        text.extend(if *byte == b'\\' { bytes.next().or(Some(byte)) } else { Some(byte) });
    }
    text
}

/// What is left of the pattern when its first part, which is no star, has matched `byte`.
fn one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', inside @ ..] => match set(inside, byte) {
            Some((within, rest)) => within.then_some(rest),
            // A bracket that is never closed stands for itself.
            None => (byte == b'[').then_some(inside),
        },
        [b'\\', literal, rest @ ..] => (*literal == byte).then_some(rest),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// Whether `byte` is in the set that begins here, and what follows the set; none if it does not end.
fn set(inside: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match inside {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut within, mut first) = (false, true);
    loop {
        rest = match rest {
            [b']', after @ ..] if !first => return Some((within != negated, after)),
            [from, b'-', to, after @ ..] if *to != b']' => {
                within |= (*from..=*to).contains(&byte);
                after
            }
            [literal, after @ ..] => {
                within |= *literal == byte;
                after
            }
            [] => return None,
        };
        first = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("*", "", true),
            ("*", ".a", false),
            (".*", ".a", true),
            ("?a", ".a", false),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("*.tar.gz", "x.tar.tar.gz", true),
            ("[a-c]?", "bz", true),
            ("[!a-c]?", "bz", false),
            ("[^a-c]", "d", true),
            ("[]x]", "]", true),
            ("[a-]", "-", true),
            ("[a", "[a", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob_matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(glob_matches("*", b"\xff"));
        assert_eq!(plain(b"a\\*b\\"), b"a*b\\");
    }

    #[test]
    fn many_stars_take_no_time() {
        let (pattern, name) = ("*a".repeat(500) + "b", "a".repeat(5000));
        assert!(!glob_matches(pattern, name));
    }
}
