//! What TAB adds: commands, names on the server and names here.

use crate::commands::{COMMANDS, Names, find};
use crate::glob::{Local, Match, Remote, Tree, glob};
use crate::listing::columns;
use crate::messages::shown;
use crate::paths::{absolute, strip};
use crate::session::Session;
use crate::words::{as_pattern, split};

/// What is to be inserted, and what to be shown above the line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) insert: Vec<u8>,
    pub(crate) show: Vec<u8>,
}

/// Completes the last word of what stands before the cursor.
pub(crate) fn complete(session: &Session, before: &[u8], after: &[u8]) -> Completion {
    let at_a_word_s_end = matches!(after.first(), None | Some(b' '));
    let Ok(found) = split(before, true) else { return Completion::default() };
    let Some(first) = found.words.first().filter(|_| at_a_word_s_end) else {
        return if found.words.is_empty() { command(b"", after) } else { Completion::default() };
    };
    let open = found.terminated && before.ends_with(b" ") && !before.ends_with(b"\\ ");
    if found.words.len() == 1 && !open {
        return command(first, after);
    }
    let Some((_, one, two)) = find(first) else { return Completion::default() };
    let mut number = found.words[1..].iter().filter(|word| !word.starts_with(b"-")).count();
    let mut word = found.words.last().cloned().unwrap_or_default();
    let mut quote = found.quote;
    if open {
        number += 1;
        word.clear();
        quote = None;
    }
    let names = match number {
        1 => *one,
        2 => *two,
        _ => Names::Nothing,
    };
    let end = End { quote, terminated: found.terminated, after };
    match names {
        Names::Nothing => Completion::default(),
        Names::Remote => {
            let pattern = absolute(&word, &as_pattern(&session.directory));
            let below = (!word.starts_with(b"/")).then_some(session.directory.as_slice());
            file(&Remote(&session.client), &word, &pattern, below, &end)
        }
        Names::Local => file(&Local, &word, &word, None, &end),
    }
}

/// What stands around the end of a word.
struct End<'a> {
    quote: Option<u8>,
    terminated: bool,
    after: &'a [u8],
}

fn command(word: &[u8], after: &[u8]) -> Completion {
    let names = COMMANDS.iter().map(|(name, ..)| name.as_bytes());
    let begins = |name: &&[u8]| name.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word));
    let names: Vec<&[u8]> = names.filter(begins).collect();
    let mut insert = stem(&names).get(word.len()..).unwrap_or_default().to_vec();
    if names.len() == 1 && !after.starts_with(b" ") {
        insert.push(b' ');
    }
    Completion { insert, show: if names.len() > 1 { table(&names) } else { Vec::new() } }
}

fn file(tree: &dyn Tree, word: &[u8], pattern: &[u8], below: Option<&[u8]>, end: &End<'_>) -> Completion {
    let found = glob(tree, &[pattern, b"*"].concat(), true);
    let names: Vec<&[u8]> = found.iter().map(|Match { path, .. }| strip(path, below)).collect();
    if names.is_empty() {
        return Completion::default();
    }
    // The last parts tell them apart.
    let slash = word.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let typed = crate::glob::plain(word);
    let last: Vec<&[u8]> = names.iter().map(|name| last_part(name)).collect();
    let show = if names.len() > 1 { table(&last) } else { Vec::new() };
    // A pattern is not gone on with.
    let patterns = |at: usize| b"*?[".contains(&word[at]) && (at == 0 || word[at - 1] != b'\\');
    let stem = stem(&names);
    if (slash..word.len()).any(patterns) || !stem.starts_with(&typed) {
        return Completion { insert: Vec::new(), show };
    }
    let mut insert = Vec::new();
    for byte in &stem[typed.len()..] {
        let special = b"'\"\\\t[ #*?".contains(byte);
        if special && end.quote.is_none_or(|quote| quote == *byte) {
            insert.push(b'\\');
        }
        insert.push(*byte);
    }
    if names.len() == 1 && !stem.ends_with(b"/") {
        insert.extend(end.quote.filter(|_| !end.terminated));
        if !end.after.starts_with(b" ") {
            insert.push(b' ');
        }
    }
    Completion { insert, show }
}

/// The last part of a name with its mark.
fn last_part(name: &[u8]) -> &[u8] {
    let bare = name.strip_suffix(b"/").unwrap_or(name);
    let slash = bare.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    &name[slash..]
}

/// What all begin with, up to the end of a letter.
fn stem<'a>(names: &[&'a [u8]]) -> &'a [u8] {
    let Some((first, rest)) = names.split_first() else { return b"" };
    let common = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let mut length = rest.iter().map(|name| common(first, name)).min().unwrap_or(first.len());
    while length < first.len() && first[length] & 0xc0 == 0x80 && length > 0 {
        length -= 1;
    }
    &first[..length]
}

/// Names in columns.
fn table(names: &[&[u8]]) -> Vec<u8> {
    let (columns, width) = columns(names.iter().map(|name| name.len()).max().unwrap_or_default());
    let mut out = Vec::new();
    for row in names.chunks(columns) {
        for name in row {
            let mut name = shown(name);
            name.resize(name.len().max(width), b' ');
            out.extend_from_slice(&name);
        }
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_completed() {
        let shown = |word: &str| {
            let found = command(word.as_bytes(), b"");
            (String::from_utf8(found.insert).unwrap(), !found.show.is_empty())
        };
        assert_eq!(shown("vers"), ("ion ".to_owned(), false));
        assert_eq!(shown("VERS"), ("ion ".to_owned(), false));
        assert_eq!(shown("re"), (String::new(), true));
        assert_eq!(shown("zz"), (String::new(), false));
    }

    #[test]
    fn files_are_completed_with_their_quotes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["one thing", "other", "x[1]", "über"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        let root = folder.path().as_os_str().as_encoded_bytes().to_vec();
        let inserted = |word: &str, quote: Option<u8>| {
            let end = End { quote, terminated: quote.is_none(), after: b"" };
            let pattern = [&root, &b"/"[..], word.as_bytes()].concat();
            let found = file(&Local, word.as_bytes(), &pattern, Some(&root), &end);
            (String::from_utf8(found.insert).unwrap(), !found.show.is_empty())
        };
        assert_eq!(inserted("on", None), ("e\\ thing ".to_owned(), false));
        assert_eq!(inserted("on", Some(b'"')), ("e thing\" ".to_owned(), false));
        assert_eq!(inserted("o", None), (String::new(), true));
        assert_eq!(inserted("su", None), ("b/".to_owned(), false));
        assert_eq!(inserted("x", None), ("\\[1] ".to_owned(), false));
        assert_eq!(inserted("o*", None), (String::new(), true));
        assert_eq!(inserted("none", None), (String::new(), false));
    }
}
