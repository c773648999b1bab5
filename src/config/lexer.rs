//! One line of ssh_config(5): a keyword, and words. OpenSSH's misc.c, argv_split and strdelim.
//!
//! Pure; knows no keyword.

/// A line that is neither empty nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// As it is written.
    pub(super) keyword: &'a str,
    /// Everything behind the keyword, for values that are commands.
    pub(super) rest: &'a str,
    pub(super) words: Vec<String>,
}

/// What ends a word of the whole line; a form feed only ends the line.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Reads a line; none where it says nothing. The error is what is wrong with it.
pub(super) fn line(text: &str) -> Result<Option<Line<'_>>, String> {
    let text = text.trim_end_matches(|letter| BLANKS.contains(&letter) || letter == '\x0c');
    let text = text.trim_start_matches(BLANKS);
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (keyword, rest) = match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("a quote is not closed")?,
        None => {
            let end = text.find(|letter| BLANKS.contains(&letter) || letter == '=' || letter == '"');
            text.split_at(end.unwrap_or(text.len()))
        }
    };
    let rest = rest.trim_start_matches(BLANKS);
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start_matches(BLANKS);
    if rest.is_empty() {
        return Err(format!("no argument after keyword \"{keyword}\""));
    }
    let words = words(rest, true).ok_or("a quote is not closed")?;
    Ok(Some(Line { keyword, rest, words }))
}

/// Words with blanks between them; none where a quote is not closed. What is quoted, by either mark, is one;
/// `\` takes the meaning from quotes, from itself and, outside of quotes, from a blank. A `#` at the beginning
/// of a word ends the line where there may be `comments`.
pub(super) fn words(text: &str, comments: bool) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        while letters.next_if(|letter| matches!(letter, ' ' | '\t')).is_some() {}
        match letters.peek() {
            None => return Some(words),
            Some('#') if comments => return Some(words),
            Some(_) => {}
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(letter) = letters.next_if(|letter| quote.is_some() || !matches!(letter, ' ' | '\t')) {
            match letter {
                '\\' => {
                    let meant =
                        |next: &char| matches!(next, '"' | '\'' | '\\') || quote.is_none() && *next == ' ';
                    word.push(letters.next_if(meant).unwrap_or('\\'));
                }
                _ if quote == Some(letter) => quote = None,
                '"' | '\'' if quote.is_none() => quote = Some(letter),
                _ => word.push(letter),
            }
        }
        if quote.is_some() {
            return None;
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        for (text, keyword, rest, words) in [
            ("Port 22", "Port", "22", &["22"][..]),
            ("  Port = 22 \r\n", "Port", "22", &["22"]),
            ("Port=22 # ssh", "Port", "22 # ssh", &["22"]),
            ("Port==22", "Port", "=22", &["=22"]),
            ("Port\t\"22\"\x0c", "Port", "\"22\"", &["22"]),
            ("\"Port\" 22", "Port", "22", &["22"]),
            ("Port\"22\"", "Port", "\"22\"", &["22"]),
            ("Host a 'b c' d\\ e", "Host", "a 'b c' d\\ e", &["a", "b c", "d e"]),
            ("X a#b \"#\" \\\\ \\x ''", "X", "a#b \"#\" \\\\ \\x ''", &["a#b", "#", "\\", "\\x", ""]),
            ("X a\"b c\"d", "X", "a\"b c\"d", &["ab cd"]),
            ("X \"a\\\"b\\ c\"", "X", "\"a\\\"b\\ c\"", &["a\"b\\ c"]),
        ] {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(line(text), Ok(Some(Line { keyword, rest, words })), "{text:?}");
        }
        for text in ["", " \t\r\n\x0c", "# Port 22", "  #"] {
            assert_eq!(line(text), Ok(None), "{text:?}");
        }
        for text in ["Port", "Port =", "X \"a", "X 'a\"", "\"Port 22"] {
            assert!(line(text).is_err(), "{text:?}");
        }
    }
}
