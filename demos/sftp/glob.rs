//! Patterns of names on either side, as glob(3) has them: `*`, `?`, `[a-z]`, `[!a]`, `[[:digit:]]`, `{a,b}`
//! where asked for; a backslash takes the meaning from what follows.

use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

use feramiko::{Error, SFTPAttributes, SFTPClient, SFTPEntry};

use crate::interrupt::interrupted;
use crate::messages::{complain, refused};
use crate::paths::local;

/// As OpenSSH: what a pattern with more braces would become, nobody wants.
const MAX_PATTERNS: usize = 1024;

/// Where names are looked up.
pub(crate) trait Tree {
    /// The names in a directory, with what is known of them; none where it cannot be read.
    fn list(&self, directory: &[u8]) -> Option<Vec<(Vec<u8>, SFTPAttributes)>>;
    /// What is at the path, links not followed.
    fn look(&self, path: &[u8]) -> Option<SFTPAttributes>;
    /// What is at the path, links followed.
    fn follow(&self, path: &[u8]) -> Option<SFTPAttributes>;
}

/// The server's files.
pub(crate) struct Remote<'a>(pub(crate) &'a SFTPClient);

/// What is in a directory of the server's. What is no name of a file there is told of and left out: it could lead
/// what is copied by a pattern anywhere.
pub(crate) fn entries(client: &SFTPClient, directory: &[u8]) -> feramiko::Result<Vec<SFTPEntry>> {
    let mut entries = client.listdir_attr(directory)?;
    entries.retain(|entry| {
        let name = entry.name.as_bytes();
        let fine = !name.is_empty() && !name.contains(&b'/') && !name.contains(&0);
        if !fine {
            complain(&[b"Server sent suspect path \"", name, b"\" during readdir of \"", directory, b"\""]);
        }
        fine
    });
    Ok(entries)
}

impl Tree for Remote<'_> {
    fn list(&self, directory: &[u8]) -> Option<Vec<(Vec<u8>, SFTPAttributes)>> {
        match entries(self.0, directory) {
            Ok(entries) => {
                Some(entries.into_iter().map(|entry| (entry.name.into_bytes(), entry.attributes)).collect())
            }
            Err(Error::Cancelled) => None,
            Err(error) => {
                let why = refused(&error).map_or_else(|_| error.to_string(), str::to_owned);
                complain(&[b"remote readdir(\"", directory, b"\"): ", why.as_bytes()]);
                None
            }
        }
    }

    fn look(&self, path: &[u8]) -> Option<SFTPAttributes> {
        self.0.lstat(path).ok()
    }

    fn follow(&self, path: &[u8]) -> Option<SFTPAttributes> {
        self.0.stat(path).ok()
    }
}

/// This machine's files.
pub(crate) struct Local;

fn attributes(found: &std::fs::Metadata) -> SFTPAttributes {
    SFTPAttributes::new().with_mode(found.mode()).with_size(found.len())
}

impl Tree for Local {
    fn list(&self, directory: &[u8]) -> Option<Vec<(Vec<u8>, SFTPAttributes)>> {
        let directory = if directory.is_empty() { b"." } else { directory };
        let entries = std::fs::read_dir(local(directory)).ok()?.flatten();
        let known = |entry: &std::fs::DirEntry| {
            entry.metadata().map_or_else(|_| SFTPAttributes::new(), |it| attributes(&it))
        };
        Some(entries.map(|entry| (entry.file_name().into_vec(), known(&entry))).collect())
    }

    fn look(&self, path: &[u8]) -> Option<SFTPAttributes> {
        std::fs::symlink_metadata(local(path)).ok().as_ref().map(attributes)
    }

    fn follow(&self, path: &[u8]) -> Option<SFTPAttributes> {
        std::fs::metadata(local(path)).ok().as_ref().map(attributes)
    }
}

/// A name that was found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Match {
    pub(crate) path: Vec<u8>,
    /// None for a pattern's own words, which nothing matched.
    pub(crate) attributes: Option<SFTPAttributes>,
}

/// One letter of a pattern, or what stands for letters.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Byte(u8),
    One,
    Any,
    Class { not: bool, ranges: Vec<(u8, u8)> },
}

/// Names that match, sorted. `mark` ends directories with a slash.
pub(crate) fn glob(tree: &dyn Tree, pattern: &[u8], mark: bool) -> Vec<Match> {
    let pieces = read(pattern);
    let segments: Vec<&[Piece]> = pieces.split(|piece| *piece == Piece::Byte(b'/')).collect();
    let mut found = Vec::new();
    walk(tree, Vec::new(), None, &segments, mark, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The same; where nothing matches, the pattern itself without its backslashes.
pub(crate) fn glob_or_itself(tree: &dyn Tree, pattern: &[u8], mark: bool) -> Vec<Match> {
    let found = glob(tree, pattern, mark);
    if found.is_empty() { vec![Match { path: plain(pattern), attributes: None }] } else { found }
}

/// The same for each of what `{a,b}` stands for.
pub(crate) fn glob_braces(tree: &dyn Tree, pattern: &[u8]) -> Vec<Match> {
    let mut patterns = Vec::new();
    braces(pattern, &mut patterns);
    patterns.iter().flat_map(|pattern| glob_or_itself(tree, pattern, true)).collect()
}

/// A pattern without its backslashes.
pub(crate) fn plain(pattern: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        out.push(if *byte == b'\\' { *bytes.next().unwrap_or(byte) } else { *byte });
    }
    out
}

fn walk(
    tree: &dyn Tree,
    path: Vec<u8>,
    known: Option<SFTPAttributes>,
    segments: &[&[Piece]],
    mark: bool,
    found: &mut Vec<Match>,
) {
    if interrupted() {
        return;
    }
    let Some((segment, rest)) = segments.split_first() else {
        found.extend(finish(tree, path, known, mark));
        return;
    };
    let below = |name: &[u8]| {
        let mut path = path.clone();
        path.extend_from_slice(name);
        if !rest.is_empty() {
            path.push(b'/');
        }
        path
    };
    let literal: Option<Vec<u8>> = segment
        .iter()
        .map(|piece| match piece {
            Piece::Byte(byte) => Some(*byte),
            _ => None,
        })
        .collect();
    if let Some(name) = literal {
        return walk(tree, below(&name), None, rest, mark, found);
    }
    for (name, attributes) in tree.list(&path).unwrap_or_default() {
        // A dot at the beginning must be there in the pattern too.
        let hidden = name.first() == Some(&b'.') && segment.first() != Some(&Piece::Byte(b'.'));
        if !hidden && matches(segment, &name) {
            let known = rest.is_empty().then_some(attributes).filter(|known| known.kind().is_some());
            walk(tree, below(&name), known, rest, mark, found);
        }
    }
}

fn finish(tree: &dyn Tree, mut path: Vec<u8>, known: Option<SFTPAttributes>, mark: bool) -> Option<Match> {
    let mut attributes = known.or_else(|| tree.look(&path))?;
    if mark && !path.ends_with(b"/") {
        if attributes.is_symlink() {
            attributes = tree.follow(&path).filter(SFTPAttributes::is_dir).unwrap_or(attributes);
        }
        if attributes.is_dir() {
            path.push(b'/');
        }
    }
    Some(Match { path, attributes: Some(attributes) })
}

/// Takes a pattern apart.
fn read(pattern: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(byte) = pattern.get(at) {
        at += 1;
        pieces.push(match byte {
            b'*' if pieces.last() == Some(&Piece::Any) => continue,
            b'*' => Piece::Any,
            b'?' => Piece::One,
            b'\\' => {
                let next = pattern.get(at).copied();
                at += usize::from(next.is_some());
                Piece::Byte(next.unwrap_or(b'\\'))
            }
            b'[' => match class(&pattern[at..]) {
                Some((class, length)) => {
                    at += length;
                    class
                }
                None => Piece::Byte(b'['),
            },
            byte => Piece::Byte(*byte),
        });
    }
    pieces
}

/// What stands after `[`, and how long it is with its `]`.
fn class(rest: &[u8]) -> Option<(Piece, usize)> {
    let mut at = 0;
    let not = rest.first() == Some(&b'!');
    at += usize::from(not);
    let begin = at;
    let mut ranges = Vec::new();
    loop {
        let byte = *rest.get(at)?;
        if byte == b']' && at > begin {
            return Some((Piece::Class { not, ranges }, at + 1));
        }
        if byte == b'/' {
            return None;
        }
        if let Some((named, length)) = named_class(&rest[at..]) {
            ranges.extend(named);
            at += length;
            continue;
        }
        let (low, next) = letter(rest, at)?;
        at = next;
        let high = match (rest.get(at), rest.get(at + 1)) {
            (Some(b'-'), Some(end)) if *end != b']' => {
                let (high, next) = letter(rest, at + 1)?;
                at = next;
                high
            }
            _ => low,
        };
        ranges.push((low, high));
    }
}

/// A letter of a class, which may have a backslash before it, and where the next one is.
fn letter(rest: &[u8], at: usize) -> Option<(u8, usize)> {
    match *rest.get(at)? {
        b'\\' => Some((*rest.get(at + 1)?, at + 2)),
        byte => Some((byte, at + 1)),
    }
}

/// `[:name:]`.
fn named_class(rest: &[u8]) -> Option<(Vec<(u8, u8)>, usize)> {
    let rest = rest.strip_prefix(b"[:")?;
    let end = rest.windows(2).position(|pair| pair == b":]")?;
    let of: fn(&u8) -> bool = match &rest[..end] {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| byte.is_ascii_graphic() || *byte == b' ',
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| byte.is_ascii_whitespace() || *byte == 0x0b,
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return None,
    };
    Some(((0..=u8::MAX).filter(of).map(|byte| (byte, byte)).collect(), end + 4))
}

/// Whether a name is what a pattern says. As long as both at most, times each other.
fn matches(pattern: &[Piece], name: &[u8]) -> bool {
    // Where to go on when what followed the last `*` did not match.
    let mut again: Option<(usize, usize)> = None;
    let (mut piece, mut byte) = (0, 0);
    loop {
        let fits = match (pattern.get(piece), name.get(byte)) {
            (None, None) => return true,
            (Some(Piece::Any), _) => {
                again = Some((piece + 1, byte));
                piece += 1;
                continue;
            }
            (Some(Piece::One), Some(_)) => true,
            (Some(Piece::Byte(wanted)), Some(found)) => wanted == found,
            (Some(Piece::Class { not, ranges }), Some(found)) => {
                ranges.iter().any(|(low, high)| (low..=high).contains(&found)) != *not
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if fits {
            (piece, byte) = (piece + 1, byte + 1);
            continue;
        }
        let Some((after, taken)) = again.filter(|(_, taken)| *taken < name.len()) else { return false };
        again = Some((after, taken + 1));
        (piece, byte) = (after, taken + 1);
    }
}

/// Writes out what `{a,b}` stands for; `{}` is itself.
fn braces(pattern: &[u8], out: &mut Vec<Vec<u8>>) {
    let open = if pattern == b"{}" { None } else { find(pattern, 0, |byte| byte == b'{') };
    let whole = open.and_then(|open| Some((open, closing(pattern, open)?)));
    let Some((open, close)) = whole else {
        if out.len() < MAX_PATTERNS {
            out.push(pattern.to_vec());
        }
        return;
    };
    if close == open + 1 {
        let mut rest = Vec::new();
        braces(&pattern[close + 1..], &mut rest);
        out.extend(rest.iter().map(|rest| [&pattern[..=close], rest].concat()));
        return;
    }
    let (mut begin, mut depth, mut at) = (open + 1, 0, open + 1);
    while at <= close {
        match pattern[at] {
            b'\\' => at += 1,
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => {
                let one = [&pattern[..open], &pattern[begin..at], &pattern[close + 1..]].concat();
                if out.len() < MAX_PATTERNS {
                    braces(&one, out);
                }
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
}

/// Where the next letter is that means something.
fn find(pattern: &[u8], from: usize, wanted: impl Fn(u8) -> bool) -> Option<usize> {
    let mut at = from;
    while let Some(byte) = pattern.get(at) {
        match byte {
            b'\\' => at += 1,
            byte if wanted(*byte) => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

fn closing(pattern: &[u8], open: usize) -> Option<usize> {
    let (mut depth, mut at) = (0, open + 1);
    loop {
        at = find(pattern, at, |byte| matches!(byte, b'{' | b'}'))?;
        match (pattern[at], depth) {
            (b'{', _) => depth += 1,
            (_, 0) => return Some(at),
            _ => depth -= 1,
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;
    use crate::paths::append;

    fn bytes(path: &std::path::Path) -> &[u8] {
        path.as_os_str().as_bytes()
    }

    fn fits(pattern: &str, name: &str) -> bool {
        matches(&read(pattern.as_bytes()), name.as_bytes())
    }

    #[test]
    fn patterns_match_as_in_glob_3() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]a]", "]", true),
            ("[a", "[a", true),
            ("[[:digit:]a]", "7", true),
            ("[[:digit:]a]", "b", false),
            ("[a\\]b]", "]", true),
            ("[a-]", "-", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\", "a\\", true),
            ("**", "x", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
        // No pattern takes for ever.
        assert!(!fits(&"a*".repeat(200), &"a".repeat(190)));
    }

    #[test]
    fn braces_stand_for_words() {
        for (pattern, expected) in [
            ("a{b,c}d", &["abd", "acd"][..]),
            ("{a,b{1,2}}", &["a", "b1", "b2"]),
            ("{}", &["{}"]),
            ("a{}b", &["a{}b"]),
            ("a{b", &["a{b"]),
            ("a\\{b,c}", &["a\\{b,c}"]),
            ("{a}", &["a"]),
            ("{a,}x", &["ax", "x"]),
        ] {
            let mut out = Vec::new();
            braces(pattern.as_bytes(), &mut out);
            let out: Vec<_> = out.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
            assert_eq!(out, expected, "{pattern}");
        }
    }

    #[test]
    fn local_names_are_found_and_marked() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a1", "a2", ".a3", "b*"] {
            std::fs::write(folder.path().join(name), b"").unwrap();
        }
        std::fs::create_dir(folder.path().join("ad")).unwrap();
        std::os::unix::fs::symlink("ad", folder.path().join("al")).unwrap();
        let root = bytes(folder.path()).to_vec();
        let found = |pattern: &str| -> Vec<String> {
            let found = glob(&Local, &append(&root, pattern.as_bytes()), true);
            let name = |it: &Match| String::from_utf8_lossy(&it.path[root.len() + 1..]).into_owned();
            found.iter().map(name).collect()
        };
        assert_eq!(found("a*"), ["a1", "a2", "ad/", "al/"]);
        assert_eq!(found(".a*"), [".a3"]);
        assert_eq!(found("b\\*"), ["b*"]);
        assert_eq!(found("none*"), [""; 0]);
        assert_eq!(found("none"), [""; 0]);
        assert_eq!(glob_or_itself(&Local, b"/none\\*", false)[0].path, b"/none*");
    }
}
