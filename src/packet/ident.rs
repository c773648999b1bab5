//! The version line that both sides send first: RFC 4253 §4.2.

use std::fmt;

use crate::wire::Escaped;

/// Our version line, without CR LF.
pub(crate) const OUR_IDENT: &str = concat!("SSH-2.0-feramiko_", env!("CARGO_PKG_VERSION"));
/// RFC 4253 §4.2: 255 characters, CR LF included.
const LINE: usize = 255;
/// A server may send other lines first; OpenSSH and AsyncSSH read so many.
const LINES_BEFORE: usize = 1024;
/// All lines before the version line together.
const BYTES_BEFORE: usize = 64 * 1024;

/// The peer's version line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ident {
    /// Without CR LF, as it is hashed.
    pub(crate) line: Vec<u8>,
}

/// Why the peer is no SSH 2 peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentError {
    /// The line is longer than 255 bytes, or more than a little came before it.
    TooLong,
    /// The peer speaks SSH 1 only.
    Version1(String),
    /// The peer speaks HTTP.
    Http,
    /// The first line of a client is no version line, or a version line holds a NUL.
    NotSsh(String),
}

impl fmt::Display for IdentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                f.write_str("no SSH version line within what may come before it; is this an SSH port?")
            }
            Self::Version1(line) => write!(f, "the peer speaks only SSH 1 ({line}), which is not supported"),
            Self::Http => f.write_str("the peer speaks HTTP, not SSH; check host and port"),
            Self::NotSsh(line) => {
                write!(f, "the peer does not speak SSH, it sent {line:?}; check host and port")
            }
        }
    }
}

impl std::error::Error for IdentError {}

/// Finds the version line in what arrives.
#[derive(Debug)]
pub(crate) struct IdentReader {
    /// Servers may send lines before theirs, clients may not.
    lines_before: bool,
    lines: usize,
    bytes: usize,
}

impl IdentReader {
    /// For what a server sends (`lines_before`), or a client.
    pub(crate) fn new(lines_before: bool) -> Self {
        Self { lines_before, lines: 0, bytes: 0 }
    }

    /// Looks at what has arrived and not been consumed. The line when it is there, and how many bytes
    /// are done with.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(Option<Ident>, usize), IdentError> {
        let mut consumed = 0_usize;
        loop {
            let left = bytes.get(consumed..).unwrap_or_default();
            let limit = if left.starts_with(b"SSH-") || !self.lines_before { LINE } else { BYTES_BEFORE };
            let Some(end) = left.iter().take(limit).position(|byte| *byte == b'\n') else {
                if left.len() >= limit || self.bytes.saturating_add(left.len()) > BYTES_BEFORE {
                    return Err(self.judge(left).err().unwrap_or(IdentError::TooLong));
                }
                return Ok((None, consumed));
            };
            let line = left.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            consumed = consumed.saturating_add(end).saturating_add(1);
            if let Some(ident) = self.judge(line)? {
                return Ok((Some(ident), consumed));
            }
            self.lines = self.lines.saturating_add(1);
            self.bytes = self.bytes.saturating_add(end);
            if self.lines > LINES_BEFORE || self.bytes > BYTES_BEFORE {
                return Err(IdentError::TooLong);
            }
        }
    }

    fn judge(&self, line: &[u8]) -> Result<Option<Ident>, IdentError> {
        let shown = || Escaped(line.get(..80).unwrap_or(line)).to_string();
        if line.starts_with(b"SSH-2.0-") || line.starts_with(b"SSH-1.99-") {
            if line.contains(&0) {
                return Err(IdentError::NotSsh(shown()));
            }
            return Ok(Some(Ident { line: line.to_vec() }));
        }
        if line.starts_with(b"SSH-") {
            return Err(IdentError::Version1(shown()));
        }
        let http = line.starts_with(b"HTTP/")
            || [&b"GET "[..], b"POST ", b"HEAD "].iter().any(|verb| line.starts_with(verb));
        match (http, self.lines_before) {
            (true, _) => Err(IdentError::Http),
            (false, false) => Err(IdentError::NotSsh(shown())),
            (false, true) => Ok(None),
        }
    }
}
