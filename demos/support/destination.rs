//! Where to: a destination as `sftp` and its like read it, and the letters of ssh's that they take.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::connect::Connect;
use super::given::text;
use super::home::expand;

/// Where to, as the user wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) path: Option<Vec<u8>>,
}

impl Destination {
    /// Reads `scheme://[user[;parameters]@]host[:port][/path]`; none where it is no such URI.
    pub(crate) fn from_uri(scheme: &str, word: &OsStr) -> Option<Result<Self, String>> {
        let rest = word.as_bytes().strip_prefix(scheme.as_bytes())?.strip_prefix(b"://")?;
        Some(Self::read_uri(rest).ok_or_else(|| format!("{}: bad URI", word.display())))
    }

    fn read_uri(rest: &[u8]) -> Option<Self> {
        let (user, rest) = match split_at(rest, b'@') {
            Some((user, rest)) => (user.split(|byte| *byte == b';').next(), rest),
            None => (None, rest),
        };
        let user = user.map(|user| String::from_utf8(decoded(user)?).ok().filter(|user| !user.is_empty()));
        let user = match user {
            Some(None) => return None,
            Some(user) => user,
            None => None,
        };
        let (host, path) = split_at(rest, b'/').map_or((rest, None), |(host, path)| (host, Some(path)));
        let host = std::str::from_utf8(host).ok()?;
        let (host, port) = match host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, Some(port_of(port)?)),
            None => (host, None),
        };
        let host = bare(host);
        let path = match path.filter(|path| !path.is_empty()) {
            Some(path) => Some(decoded(path)?),
            None => None,
        };
        Some(Self { user, host: host.to_owned(), port, path }).filter(|it| !it.host.is_empty())
    }

    /// Reads `[user@]host[:path]`, as sftp(1) and scp(1) do; the host of an address with colons stands in
    /// brackets.
    pub(crate) fn from_word(word: &OsStr) -> Result<Self, String> {
        let bytes = word.as_bytes();
        let (front, path) = match colon(bytes) {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        let front = std::str::from_utf8(front).map_err(|_| format!("{}: not UTF-8", word.display()))?;
        let (user, host) = front.rsplit_once('@').map_or((None, front), |(user, host)| (Some(user), host));
        let path = path.map(|path| if path.is_empty() { b".".to_vec() } else { path.to_vec() });
        Ok(Self {
            user: user.filter(|user| !user.is_empty()).map(str::to_owned),
            host: bare(host).to_owned(),
            port: None,
            path,
        })
    }
}

/// Where the colon is that ends a host, if there is one before the first slash.
pub(crate) fn colon(word: &[u8]) -> Option<usize> {
    let mut inside = false;
    for (at, byte) in word.iter().enumerate() {
        match byte {
            b'[' if at == 0 || word[at - 1] == b'@' => inside = true,
            b']' => inside = false,
            // A local file that begins with one.
            b':' if at == 0 => return None,
            b':' if !inside => return Some(at),
            b'/' => return None,
            _ => {}
        }
    }
    None
}

/// Without the brackets of an address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn split_at(word: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = word.iter().position(|byte| *byte == mark)?;
    Some((&word[..at], &word[at + 1..]))
}

pub(crate) fn port_of(value: &str) -> Option<u16> {
    value.parse().ok().filter(|port| *port > 0)
}

/// A part of a URI with what `%` hides.
fn decoded(part: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [*bytes.next()?, *bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok().filter(|digits| !digits.contains('+'))?;
                u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != 0)?
            }
            byte => *byte,
        });
    }
    Some(out)
}

/// Takes one of `46ACFJcio`, which mean what they mean to `ssh`; all others are somebody else's.
pub(crate) fn letter(connect: &mut Connect, letter: char, value: &OsStr) -> Result<(), String> {
    match letter {
        '4' => connect.family = Some(4),
        '6' => connect.family = Some(6),
        'C' => connect.set("Compression", "yes")?,
        'c' => connect.set("Ciphers", text(value)?)?,
        'i' => {
            let path = expand(value);
            match std::fs::metadata(&path) {
                Ok(_) => connect.identity(&path)?,
                Err(error) => eprintln!("Warning: Identity file {} not accessible: {error}.", path.display()),
            }
        }
        'F' => connect.files(value.into()),
        'J' => connect.set("ProxyJump", text(value)?)?,
        // An agent is for programs that run there, and none does.
        'A' => return Err("-A is not built".to_owned()),
        'o' => connect.option(text(value)?)?,
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(user: &str, host: &str, port: u16, path: &str) -> Destination {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Destination {
            user: some(user),
            host: host.to_owned(),
            port: Some(port).filter(|port| *port > 0),
            path: some(path).map(String::into_bytes),
        }
    }

    #[test]
    fn uris() {
        for (uri, expected) in [
            ("sftp://host", destination("", "host", 0, "")),
            ("sftp://me@host:2222/", destination("me", "host", 2222, "")),
            ("sftp://me;x=y@host/a%20b+c", destination("me", "host", 0, "a b c")),
            ("sftp://[::1]:22//etc/x", destination("", "::1", 22, "/etc/x")),
        ] {
            assert_eq!(Destination::from_uri("sftp", OsStr::new(uri)), Some(Ok(expected)), "{uri}");
        }
        for wrong in ["sftp://", "sftp://@host", "sftp://host:0/", "sftp://host:x/", "sftp://host/%g0"] {
            assert!(Destination::from_uri("sftp", OsStr::new(wrong)).unwrap().is_err(), "{wrong}");
        }
        assert_eq!(Destination::from_uri("sftp", OsStr::new("host:path")), None);
    }

    #[test]
    fn words() {
        for (word, expected) in [
            ("host", destination("", "host", 0, "")),
            ("me@host:", destination("me", "host", 0, ".")),
            ("a@b@host:x:y", destination("a@b", "host", 0, "x:y")),
            ("me@[::1]:/x", destination("me", "::1", 0, "/x")),
            ("[::1]", destination("", "::1", 0, "")),
        ] {
            assert_eq!(Destination::from_word(OsStr::new(word)), Ok(expected), "{word}");
        }
    }

    #[test]
    fn what_is_not_built_says_so() {
        let mut connect = Connect::default();
        let mut given = |option: char, value: &str| letter(&mut connect, option, OsStr::new(value));
        assert!(
            given('o', "ForwardX11 no").is_ok()
                && given('F', "none").is_ok()
                && given('o', "Port=22").is_ok()
        );
        for (option, value) in [('o', "Port"), ('o', "NoSuchOption=x"), ('J', "x;y"), ('A', "")] {
            assert!(given(option, value).is_err(), "{option} {value}");
        }
    }
}
