//! Names of displays, X(7) "DISPLAY NAMES": `[protocol/][host]:number[.screen]`, or the path of a socket as
//! launchd on macOS gives it.

use std::fmt;
use std::path::PathBuf;

/// The TCP port of display 0; the others follow (X(7)).
pub(crate) const BASE_PORT: u16 = 6000;

/// The longest name of a host; no path of a socket is longer (108).
const LONGEST: usize = 255;

/// Where a display listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the UNIX socket that goes with its number.
    Local,
    /// At the port that goes with its number, of a host.
    Tcp(String),
    /// At this UNIX socket.
    Socket(PathBuf),
}

/// A display, and one of its screens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Display {
    pub(crate) place: Place,
    pub(crate) number: u16,
    pub(crate) screen: u32,
}

impl Display {
    /// Reads the value of `DISPLAY`; none if it is none. What passes holds letters, digits and `:/.-_[]`
    /// only, as with OpenSSH: it is given to programs.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b":/.-_[]".contains(&byte);
        if !text.bytes().all(harmless) {
            return None;
        }
        let (before, numbers) = text.rsplit_once(':')?;
        let (number, screen) = match numbers.split_once('.') {
            Some((number, screen)) => (number, digits(screen)?),
            None => (numbers, 0),
        };
        let number = u16::try_from(digits(number)?).ok()?;
        BASE_PORT.checked_add(number)?;
        let place = if before.starts_with('/') {
            // The socket's name has the number in it, but not the screen.
            (before.len() <= LONGEST).then(|| Place::Socket(format!("{before}:{number}").into()))
        } else {
            place(before)
        }?;
        Some(Self { place, number, screen })
    }

    /// The port it has, where it listens on TCP.
    pub(crate) fn port(&self) -> u16 {
        BASE_PORT.saturating_add(self.number)
    }
}

fn digits(text: &str) -> Option<u32> {
    // A sign is no digit, but would parse.
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What stands before the number.
fn place(text: &str) -> Option<Place> {
    let host = match text.split_once('/') {
        Some(("unix", _) | (_, "unix")) => return Some(Place::Local),
        Some(("tcp" | "inet" | "inet6", host)) => host,
        Some(_) => return None,
        None if text.is_empty() || text == "unix" => return Some(Place::Local),
        None => text,
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // In brackets it would be a host, and by itself none.
    let fits = (1..=LONGEST).contains(&host.len()) && host != "unix";
    let named = fits && !host.starts_with('-') && !host.contains(['[', ']', '/']);
    named.then(|| Place::Tcp(host.to_owned()))
}

impl fmt::Display for Display {
    /// As the value of `DISPLAY`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Local => write!(f, ":{}", self.number)?,
            Place::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.number)?,
            Place::Tcp(host) => write!(f, "{host}:{}", self.number)?,
            Place::Socket(path) => write!(f, "{}", path.display())?,
        }
        write!(f, ".{}", self.screen)
    }
}
