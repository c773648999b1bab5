//! The version exchange, RFC 4253 §4.2: one line each way before the first packet.

use std::fmt;

/// A version line has at most 255 bytes with CR LF, RFC 4253 §4.2.
pub(crate) const MAX_LINE: usize = 255;

/// Lines a server may send before its version line. Go's client draws the line here as well.
pub(crate) const MAX_PRE_LINES: usize = 1024;

/// Bytes of all those lines together.
pub(crate) const MAX_PRE_BYTES: usize = 64 * 1024;

/// Bytes after which a first line that is none of SSH is told from its beginning, without waiting for its end.
const SNIFFED: usize = 8;

/// What every version line begins with.
const PREFIX: &[u8] = b"SSH-";

/// The versions that mean protocol 2; a server that also speaks 1 says 1.99, RFC 4253 §5.1.
const VERSIONS: [&[u8]; 2] = [b"2.0", b"1.99"];

/// First bytes of what is heard from a wrong port, for the error's text.
const OTHERS: &[(&[u8], &str)] = &[
    (b"HTTP/", "HTTP"),
    (b"GET ", "HTTP"),
    (b"HEAD ", "HTTP"),
    (b"POST ", "HTTP"),
    (b"PUT ", "HTTP"),
    (b"OPTIONS ", "HTTP"),
    (b"CONNECT ", "HTTP"),
    (b"PRI * HT", "HTTP"),
    (b"\x16\x03", "TLS"),
    (b"\x15\x03", "TLS"),
    (b"RFB 0", "VNC"),
    (b"\x03\x00\x00", "RDP"),
];

/// The version line that a side sends, RFC 4253 §4.2: `SSH-2.0-`, what software it is, and comments.
///
/// ```
/// use feramiko::VersionLine;
/// let line = VersionLine::new("backup_2.1")?.comments("on the cellar's NAS")?;
/// assert_eq!(line.as_str(), "SSH-2.0-backup_2.1 on the cellar's NAS");
/// assert!(VersionLine::default().as_str().starts_with("SSH-2.0-feramiko_"));
/// # Ok::<(), feramiko::IdentError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionLine(String);

impl VersionLine {
    /// With the name of a software, printable ASCII without a space or a minus sign.
    ///
    /// # Errors
    /// [`IdentError::Ours`] for a name that has others, or that is too long.
    pub fn new(software: &str) -> Result<Self, IdentError> {
        let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'-';
        if software.is_empty() || !software.bytes().all(fits) {
            return Err(IdentError::Ours(
                "a software version is printable ASCII without a space or a minus sign",
            ));
        }
        Self::fitting(format!("SSH-2.0-{software}"))
    }

    /// The same with comments, printable ASCII.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn comments(&self, comments: &str) -> Result<Self, IdentError> {
        if !comments.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(IdentError::Ours("the comments of a version line are printable ASCII"));
        }
        if comments.is_empty() { Ok(self.clone()) } else { Self::fitting(format!("{} {comments}", self.0)) }
    }

    fn fitting(line: String) -> Result<Self, IdentError> {
        let fits = line.len().saturating_add(b"\r\n".len()) <= MAX_LINE;
        if fits { Ok(Self(line)) } else { Err(IdentError::Ours("a version line has at most 253 bytes")) }
    }

    /// The line, without CR LF: what is hashed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for VersionLine {
    fn default() -> Self {
        Self(concat!("SSH-2.0-feramiko_", env!("CARGO_PKG_VERSION")).to_owned())
    }
}

/// Why the peer's version line is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentError {
    /// The line is longer than 255 bytes.
    LineTooLong,
    /// Too many lines, or bytes, before the version line.
    TooMuchBefore,
    /// No version line; what it looks like instead, if known.
    NotSsh(Option<&'static str>),
    /// A version of the protocol other than 2.
    Version(String),
    /// No software version, or a NUL or CR inside the line.
    Malformed,
    /// One of ours that cannot be sent.
    Ours(&'static str),
}

impl fmt::Display for IdentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineTooLong => {
                write!(f, "the peer's version line is longer than {MAX_LINE} bytes")
            }
            Self::TooMuchBefore => f.write_str("the peer sent too much text before its version line"),
            Self::NotSsh(Some(protocol)) => write!(f, "the peer speaks {protocol}, not SSH"),
            Self::NotSsh(None) => f.write_str("the peer does not speak SSH"),
            Self::Version(version) => {
                write!(f, "the peer speaks SSH version {}, not 2.0", version.escape_debug())
            }
            Self::Malformed => f.write_str("the peer's version line is malformed"),
            Self::Ours(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for IdentError {}

impl IdentError {
    /// What a server says to such a client, in OpenSSH's words: it reads no packets.
    pub(crate) fn reply(&self) -> &'static [u8] {
        match self {
            Self::Version(_) => b"Protocol major versions differ.\r\n",
            _ => b"Invalid SSH identification string.\r\n",
        }
    }
}

/// The peer's version line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ident {
    line: Vec<u8>,
}

impl Ident {
    /// The whole line without CR LF, as it is hashed.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }
}

/// Reads the peer's version line.
#[derive(Debug)]
pub(crate) struct IdentReader {
    /// Whether text may come before it: from servers only.
    pre_lines_allowed: bool,
    /// The line at hand, without its end; no more of it than can matter.
    line: Vec<u8>,
    pre_lines: usize,
    pre_bytes: usize,
}

impl IdentReader {
    /// The client's reader: a server may send other lines first.
    pub(crate) fn client() -> Self {
        Self { pre_lines_allowed: true, line: Vec::new(), pre_lines: 0, pre_bytes: 0 }
    }

    /// The server's reader: a client's first line is its version.
    pub(crate) fn server() -> Self {
        Self { pre_lines_allowed: false, ..Self::client() }
    }

    /// Takes the next bytes from the peer. With the line come the number of `bytes` used up to and with its
    /// end; the rest belongs to the first packet. On `None` all are used.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<Option<(Ident, usize)>, IdentError> {
        for (at, byte) in bytes.iter().enumerate() {
            if *byte != b'\n' {
                self.take(*byte)?;
            } else if let Some(ident) = self.end_line()? {
                return Ok(Some((ident, at.saturating_add(1))));
            }
        }
        Ok(None)
    }

    /// One more byte of the line at hand.
    fn take(&mut self, byte: u8) -> Result<(), IdentError> {
        // The LF counts as well.
        let room = self.line.len().saturating_add(1) < MAX_LINE;
        if room {
            self.line.push(byte);
        }
        if PREFIX.starts_with(self.line.get(..PREFIX.len()).unwrap_or(&self.line)) {
            return if room { Ok(()) } else { Err(IdentError::LineTooLong) };
        }
        self.count_pre_bytes()?;
        if self.line.len() == SNIFFED { self.check_other() } else { Ok(()) }
    }

    fn count_pre_bytes(&mut self) -> Result<(), IdentError> {
        self.pre_bytes = self.pre_bytes.saturating_add(1);
        if self.pre_bytes > MAX_PRE_BYTES { Err(IdentError::TooMuchBefore) } else { Ok(()) }
    }

    /// The line at hand is not a version line: is that an error?
    fn check_other(&self) -> Result<(), IdentError> {
        let other = OTHERS.iter().find(|(start, _)| self.line.starts_with(start));
        match other {
            Some((_, protocol)) if self.pre_lines == 0 => Err(IdentError::NotSsh(Some(protocol))),
            _ if !self.pre_lines_allowed => Err(IdentError::NotSsh(None)),
            _ => Ok(()),
        }
    }

    fn end_line(&mut self) -> Result<Option<Ident>, IdentError> {
        let mut line = std::mem::take(&mut self.line);
        if !line.starts_with(PREFIX) {
            self.line = line;
            self.check_other()?;
            self.count_pre_bytes()?;
            self.line.clear();
            self.pre_lines = self.pre_lines.saturating_add(1);
            return if self.pre_lines > MAX_PRE_LINES { Err(IdentError::TooMuchBefore) } else { Ok(None) };
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err(IdentError::Malformed);
        }
        let mut fields = line.splitn(3, |byte| *byte == b'-').skip(1);
        let (Some(version), Some(_software)) = (fields.next(), fields.next()) else {
            return Err(IdentError::Malformed);
        };
        if !VERSIONS.contains(&version) {
            return Err(IdentError::Version(String::from_utf8_lossy(version).into_owned()));
        }
        Ok(Some(Ident { line }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut reader: IdentReader, bytes: &[u8]) -> Result<Option<(Ident, usize)>, IdentError> {
        reader.feed(bytes)
    }

    /// The same bytes one at a time give the same, but for the count.
    fn read_slowly(mut reader: IdentReader, bytes: &[u8]) -> Result<Option<Ident>, IdentError> {
        for byte in bytes {
            if let Some((ident, used)) = reader.feed(&[*byte])? {
                assert_eq!(used, 1);
                return Ok(Some(ident));
            }
        }
        Ok(None)
    }

    fn line_of(bytes: &[u8]) -> Vec<u8> {
        read(IdentReader::client(), bytes).unwrap().unwrap().0.line().to_vec()
    }

    #[test]
    fn our_line_is_readable() {
        let ours = VersionLine::default();
        let line = format!("{}\r\n", ours.as_str());
        assert!(line.starts_with("SSH-2.0-feramiko_0."));
        let (ident, used) = read(IdentReader::server(), line.as_bytes()).unwrap().unwrap();
        assert_eq!(ident.line(), ours.as_str().as_bytes());
        assert_eq!(used, line.len());
    }

    #[test]
    fn lines_of_ours_are_of_what_may_be_in_them() {
        for bad in ["", "a b", "a-b", "caf\u{e9}", "a\r", "a\0"] {
            assert!(matches!(VersionLine::new(bad), Err(IdentError::Ours(_))), "{bad:?}");
        }
        let longest = VersionLine::new(&"x".repeat(MAX_LINE - 10)).unwrap();
        let sent = format!("{}\r\n", longest.as_str());
        assert_eq!(sent.len(), MAX_LINE);
        assert_eq!(read(IdentReader::server(), sent.as_bytes()).unwrap().unwrap().1, MAX_LINE);
        assert!(VersionLine::new(&"x".repeat(MAX_LINE - 9)).is_err());
        assert!(longest.comments("y").is_err());
        assert_eq!(longest.comments("").unwrap(), longest);
        for bad in ["a\n", "\u{1b}[2J", "\u{e9}"] {
            assert!(VersionLine::default().comments(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn line_ends_and_versions() {
        assert_eq!(line_of(b"SSH-2.0-x\r\n"), b"SSH-2.0-x");
        assert_eq!(line_of(b"SSH-2.0-x\n"), b"SSH-2.0-x");
        assert_eq!(line_of(b"SSH-1.99-Cisco-1.25\n"), b"SSH-1.99-Cisco-1.25");
        let (_, used) =
            read(IdentReader::client(), b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\0\0").unwrap().unwrap();
        assert_eq!(used, 32);
        assert_eq!(line_of(b"SSH-2.0-\r\n"), b"SSH-2.0-");
    }

    #[test]
    fn other_versions_are_named() {
        for version in ["1.5", "1.3", "3.0", "2.0x", ""] {
            let line = format!("SSH-{version}-old\r\n");
            assert_eq!(
                read(IdentReader::client(), line.as_bytes()),
                Err(IdentError::Version(version.to_owned()))
            );
        }
        assert!(IdentError::Version("1.5".to_owned()).to_string().contains("1.5"));
    }

    #[test]
    fn pre_lines_are_for_clients_only() {
        let text = b"Welcome\r\nSSH, this is\n\nSSH-2.0-x\r\n";
        assert_eq!(line_of(text), b"SSH-2.0-x");
        let slow = read_slowly(IdentReader::client(), text).unwrap().unwrap();
        assert_eq!(slow.line(), b"SSH-2.0-x");
        assert_eq!(read(IdentReader::server(), text), Err(IdentError::NotSsh(None)));
        assert_eq!(read(IdentReader::server(), b"x\n"), Err(IdentError::NotSsh(None)));
        assert_eq!(read(IdentReader::server(), b"\n"), Err(IdentError::NotSsh(None)));
        let long = [&[b'x'; 5000][..], b"\nSSH-2.0-x\n"].concat();
        assert_eq!(line_of(&long), b"SSH-2.0-x");
    }

    #[test]
    fn pre_lines_are_bounded() {
        let allowed = [&b"\n".repeat(MAX_PRE_LINES)[..], b"SSH-2.0-x\n"].concat();
        assert_eq!(line_of(&allowed), b"SSH-2.0-x");
        let lines = b"\n".repeat(MAX_PRE_LINES + 1);
        assert_eq!(read(IdentReader::client(), &lines), Err(IdentError::TooMuchBefore));
        let bytes = [&[b'x'; 99][..], b"\n"].concat().repeat(700);
        assert_eq!(read(IdentReader::client(), &bytes), Err(IdentError::TooMuchBefore));
    }

    #[test]
    fn endless_lines_end_early_and_are_not_kept() {
        let mut reader = IdentReader::client();
        let mut error = None;
        let mut fed = 0;
        while fed < 4 << 20 && error.is_none() {
            error = reader.feed(&[b'a'; 4096]).err();
            fed += 4096;
        }
        assert_eq!(error, Some(IdentError::TooMuchBefore));
        assert!(fed <= MAX_PRE_BYTES + 4096);
        assert!(reader.line.capacity() <= 2 * MAX_LINE);

        let endless = [b"SSH-2.0-".to_vec(), vec![b'a'; 4 << 20]].concat();
        assert_eq!(read(IdentReader::client(), &endless), Err(IdentError::LineTooLong));
        assert_eq!(read(IdentReader::server(), &endless[..300]), Err(IdentError::LineTooLong));
    }

    #[test]
    fn the_longest_line_has_255_bytes() {
        let line = |length: usize| {
            let mut line = b"SSH-2.0-".to_vec();
            line.resize(length - 2, b'v');
            line.extend_from_slice(b"\r\n");
            line
        };
        assert_eq!(line_of(&line(255)).len(), 253);
        assert_eq!(read(IdentReader::client(), &line(256)), Err(IdentError::LineTooLong));
    }

    #[test]
    fn other_protocols_are_recognised() {
        let rows: [(&[u8], _); 5] = [
            (b"GET / HTTP/1.1\r\n", Some("HTTP")),
            (b"HTTP/1.1 400 Bad Request\r\n", Some("HTTP")),
            (b"HTTP/1.1", Some("HTTP")),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01", Some("TLS")),
            (b"CONNECT x:22 HTTP/1.0", Some("HTTP")),
        ];
        for (bytes, protocol) in rows {
            assert_eq!(read(IdentReader::server(), bytes), Err(IdentError::NotSsh(protocol)));
            assert_eq!(read_slowly(IdentReader::client(), bytes), Err(IdentError::NotSsh(protocol)));
        }
        assert_eq!(read(IdentReader::server(), b"\x99\x12\x13abcdefgh"), Err(IdentError::NotSsh(None)));
        assert!(IdentError::NotSsh(Some("HTTP")).to_string().contains("HTTP"));
    }

    #[test]
    fn malformed_lines() {
        for line in
            [&b"SSH-2.0\r\n"[..], b"SSH-\n", b"SSH-2.0-a\0b\r\n", b"SSH-2.0-a\rb\r\n", b"SSH-2.0-a\r\r\n"]
        {
            assert_eq!(read(IdentReader::client(), line), Err(IdentError::Malformed));
        }
    }
}
