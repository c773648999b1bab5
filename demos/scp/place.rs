//! Where a file is: here, or on a host, as scp(1) names it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// A file or directory that the command line names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Here(OsString),
    There(Remote),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Remote {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) path: Vec<u8>,
}

impl Remote {
    /// Whether both are on the same host, for the same user.
    pub(crate) fn shares_host(&self, other: &Self) -> bool {
        (&self.user, &self.host, self.port) == (&other.user, &other.host, other.port)
    }

    /// `[user@]host`, as a command line of another scp has it.
    pub(crate) fn destination(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match &self.user {
            Some(user) => format!("{user}@{host}"),
            None => host,
        }
    }
}

/// Reads a word: `path`, `[user@]host:[path]` or `scp://[user@]host[:port][/path]`.
pub(crate) fn parse(word: &OsStr) -> Result<Place, String> {
    let bytes = word.as_bytes();
    let shown = || word.display().to_string();
    if let Some(rest) = bytes.strip_prefix(b"scp://") {
        return uri(rest).map(Place::There).ok_or_else(|| format!("{}: invalid uri", shown()));
    }
    let Some(colon) = colon(bytes) else { return Ok(Place::Here(word.to_owned())) };
    let (before, path) = (&bytes[..colon], &bytes[colon + 1..]);
    let text = std::str::from_utf8(before).map_err(|_| format!("{}: invalid host", shown()))?;
    let (user, host) = match text.rsplit_once('@') {
        Some((user, host)) => (Some(user.to_owned()), host),
        None => (None, text),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
    if host.is_empty() || host.starts_with('-') {
        return Err(format!("{}: invalid host", shown()));
    }
    if let Some(user) = user.as_deref().filter(|user| !good_user(user)) {
        return Err(format!("{user}: invalid user name"));
    }
    Ok(Place::There(Remote { user, host, port: None, path: path.to_vec() }))
}

/// Where the colon is that ends a host's name. In a local name it comes first or behind a slash.
fn colon(word: &[u8]) -> Option<usize> {
    if word.first() == Some(&b':') {
        return None;
    }
    let start = word.iter().position(|byte| *byte == b'@').map_or(0, |at| at + 1);
    let bracket = [0, start].into_iter().find(|at| word.get(*at) == Some(&b'['));
    if let Some(open) = bracket
        && let Some(end) = word[open..].windows(2).position(|pair| pair == b"]:")
        && !word[..open].contains(&b'/')
    {
        return Some(open + end + 1);
    }
    let at = word.iter().position(|byte| matches!(byte, b':' | b'/'))?;
    (word[at] == b':').then_some(at)
}

/// As scp: letters, digits and a few more, so that no shell on the way reads anything into it.
fn good_user(user: &str) -> bool {
    !user.is_empty()
        && !user.starts_with('-')
        && !user.contains(['\'', '"', '`', ' ', '$', ';', '&', '|', '<', '>', '\\', '\n'])
}

fn uri(rest: &[u8]) -> Option<Remote> {
    let (authority, path) = match rest.iter().position(|byte| *byte == b'/') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &b""[..]),
    };
    let authority = std::str::from_utf8(authority).ok()?;
    let (user, mut host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let mut port = None;
    if let Some((name, number)) = host.rsplit_once(':').filter(|(_, number)| !number.ends_with(']')) {
        port = Some(number.parse::<u16>().ok().filter(|port| *port > 0)?);
        host = name;
    }
    host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let user = match user {
        // What comes after a semicolon are parameters, none of which is known.
        Some(user) => Some(String::from_utf8(decoded(user.split(';').next()?.as_bytes())?).ok()?),
        None => None,
    };
    if host.is_empty() || host.starts_with('-') || user.as_deref().is_some_and(|user| !good_user(user)) {
        return None;
    }
    Some(Remote { user, host: host.to_owned(), port, path: decoded(path)? })
}

/// Takes `%41` for `A`.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(*bytes.next()?).to_digit(16);
        out.push(if *byte == b'%' { u8::try_from(digit()? * 16 + digit()?).ok()? } else { *byte });
    }
    (!out.contains(&0)).then_some(out)
}

/// The last component of a path, slashes at its end left out.
pub(crate) fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or_default()
}

pub(crate) fn os(bytes: &[u8]) -> OsString {
    OsString::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there(word: &str) -> (Option<String>, String, Option<u16>, String) {
        match parse(OsStr::new(word)) {
            Ok(Place::There(Remote { user, host, port, path })) => {
                (user, host, port, String::from_utf8(path).unwrap())
            }
            other => panic!("{word}: {other:?}"),
        }
    }

    #[test]
    fn words_are_read_as_scp_reads_them() {
        for (word, user, host, port, path) in [
            ("host:", None, "host", None, ""),
            ("host:a:b", None, "host", None, "a:b"),
            ("me@host:/x y", Some("me"), "host", None, "/x y"),
            ("me@corp@host:x", Some("me@corp"), "host", None, "x"),
            ("[::1]:x", None, "::1", None, "x"),
            ("me@[::1]:/x", Some("me"), "::1", None, "/x"),
            ("scp://host", None, "host", None, ""),
            ("scp://me@host:2222/x/y", Some("me"), "host", Some(2222), "x/y"),
            ("scp://me@[::1]:22//abs%20x", Some("me"), "::1", Some(22), "/abs x"),
        ] {
            let expected = (user.map(str::to_owned), host.to_owned(), port, path.to_owned());
            assert_eq!(there(word), expected, "{word}");
        }
        for word in ["file", "./a:b", "/a:b", ":x", "", "dir/me@host:x", "a/[x]:y"] {
            assert_eq!(parse(OsStr::new(word)), Ok(Place::Here(word.into())), "{word}");
        }
        for word in [
            "@host:x",
            "-oProxyCommand=x:y",
            "a;b@host:x",
            "scp://",
            "scp://h:0/x",
            "scp://h/%zz",
            "scp://h/%00",
        ] {
            assert!(parse(OsStr::new(word)).is_err(), "{word}");
        }
    }
}
