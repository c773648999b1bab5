//! The text around keys: PEM (RFC 7468, headers of RFC 1421) and RFC 4716 blocks, lines, base64.
//!
//! Knows no key and no label. Every pass over a file is linear, whatever stands in it.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::key::KeyError;

/// RFC 4716 §3.3: a header's tag is at most 64 bytes long, its value 1024.
const TAG: usize = 64;
const VALUE: usize = 1024;
/// Headers in a block; nobody writes more than three.
const HEADERS: usize = 32;
/// RFC 4716 §3.1: no line is longer.
const LINE: usize = 72;

/// How a block is fenced: what stands before and after its label.
struct Fence {
    begin: &'static str,
    end: &'static str,
    close: &'static str,
}

static PEM: Fence = Fence { begin: "-----BEGIN ", end: "-----END ", close: "-----" };
static SSH2: Fence = Fence { begin: "---- BEGIN ", end: "---- END ", close: " ----" };

impl Fence {
    fn label<'a>(&self, line: &'a [u8]) -> Option<&'a str> {
        let label = line.strip_prefix(self.begin.as_bytes())?.strip_suffix(self.close.as_bytes())?;
        std::str::from_utf8(label).ok()
    }

    fn ends(&self, line: &[u8], label: &str) -> bool {
        let inside = line.strip_prefix(self.end.as_bytes());
        inside.and_then(|rest| rest.strip_suffix(self.close.as_bytes())) == Some(label.as_bytes())
    }
}

/// The lines of a text, ended by LF, CR LF or CR, without the white space at their ends. A UTF-8
/// byte order mark at the start is dropped.
#[derive(Clone)]
pub(super) struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text))
    }

    fn left(&self) -> usize {
        self.0.len()
    }

    /// The next line with the white space at its end.
    pub(super) fn raw(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let length = self.0.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(self.0.len());
        let (line, rest) = self.0.split_at_checked(length)?;
        self.0 = match rest {
            [b'\r', b'\n', rest @ ..] | [b'\r' | b'\n', rest @ ..] => rest,
            rest => rest,
        };
        Some(line)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.raw().map(<[u8]>::trim_ascii_end)
    }
}

/// A block: its label and what stands between its BEGIN and its END.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    inside: &'a [u8],
}

/// Moves on to the next block whose label is `wanted`; other text and blocks are skipped. The label
/// of the first block that was not wanted is noted in `skipped`.
pub(super) fn next_block<'a>(
    lines: &mut Lines<'a>,
    wanted: fn(&str) -> bool,
    skipped: &mut Option<&'a str>,
) -> Result<Option<Block<'a>>, KeyError> {
    while let Some(line) = lines.next() {
        let fenced = [&PEM, &SSH2].into_iter().find_map(|fence| Some((fence, fence.label(line)?)));
        let Some((fence, label)) = fenced else { continue };
        if !wanted(label) {
            skipped.get_or_insert(label);
            continue;
        }
        let start = lines.clone();
        loop {
            let before = lines.left();
            let line = lines.next().ok_or(KeyError::Malformed("its END line is missing"))?;
            if fence.ends(line, label) {
                let inside = start.0.get(..start.left().saturating_sub(before)).unwrap_or_default();
                return Ok(Some(Block { label, inside }));
            }
        }
    }
    Ok(None)
}

/// What a block holds.
pub(super) struct Contents {
    headers: Vec<(String, String)>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Contents {
    /// The value of a header; tags are compared without regard to case (RFC 4716 §3.3).
    pub(super) fn header(&self, tag: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(tag));
        found.map(|(_, value)| value.as_str())
    }

    /// The Comment header of RFC 4716 §3.3.2, without its quotes.
    pub(super) fn comment(&self) -> String {
        let comment = self.header("Comment").unwrap_or_default();
        comment.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(comment).to_owned()
    }
}

impl Block<'_> {
    /// Takes the block apart: headers, then base64.
    pub(super) fn contents(&self) -> Result<Contents, KeyError> {
        let mut lines = Lines(self.inside);
        let mut headers = Vec::new();
        let mut body = lines.clone();
        while let Some(line) = lines.next().filter(|line| line.contains(&b':')) {
            if headers.len() >= HEADERS {
                return Err(KeyError::Malformed("it has too many headers"));
            }
            headers.push(header(line, &mut lines)?);
            body = lines.clone();
        }
        Ok(Contents { headers, body: base64(body)? })
    }
}

/// `Tag: value`, where a backslash at the end of a line continues it on the next one.
fn header(line: &[u8], lines: &mut Lines<'_>) -> Result<(String, String), KeyError> {
    let too_long = || KeyError::Malformed("one of its headers is too long");
    let mut text = line.to_vec();
    while text.last() == Some(&b'\\') {
        text.pop();
        text.extend_from_slice(lines.next().ok_or(KeyError::Malformed("a header ends in a backslash"))?);
        // The colon and some white space.
        if text.len() > TAG.saturating_add(VALUE).saturating_add(8) {
            return Err(too_long());
        }
    }
    let colon = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
    let (tag, value) = text.split_at_checked(colon).unwrap_or_default();
    let value = value.get(1..).unwrap_or_default().trim_ascii();
    if tag.len() > TAG || value.len() > VALUE {
        return Err(too_long());
    }
    let shown = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((shown(tag), shown(value)))
}

/// Lines of base64, decoded.
pub(super) fn base64<'a>(
    lines: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let length = lines.clone().fold(0_usize, |sum, line| sum.saturating_add(line.len()));
    let mut joined = Zeroizing::new(Vec::with_capacity(length));
    lines.for_each(|line| joined.extend_from_slice(line.trim_ascii()));
    let bad = KeyError::Malformed("bad base64");
    let text = std::str::from_utf8(&joined).map_err(|_| bad.clone())?;
    Base64::decode_vec(text).map(Zeroizing::new).map_err(|_| bad)
}

/// `bytes` in base64, in lines of `width` characters.
pub(super) fn put_base64(out: &mut Zeroizing<String>, bytes: &[u8], width: usize) {
    let base64 = Zeroizing::new(Base64::encode_string(bytes));
    // Room for all at once, so that no copy is left behind by growing.
    out.reserve_exact(base64.len().saturating_mul(2).saturating_add(256));
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(width.max(1)).unwrap_or((rest, ""));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
}

/// A PEM block without headers.
pub(super) fn pem(label: &str, bytes: &[u8], width: usize) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len().saturating_mul(2).saturating_add(512)));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    put_base64(&mut text, bytes, width);
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

/// An RFC 4716 header, broken into lines of at most 72 bytes.
pub(super) fn put_header(out: &mut String, tag: &str, value: &str) -> Result<(), KeyError> {
    if value.len() > VALUE {
        return Err(KeyError::Malformed("RFC 4716 has no comments of more than 1022 bytes"));
    }
    let mut used = 0_usize;
    for character in format!("{tag}: {value}").chars() {
        // One byte is kept for the backslash.
        if used.saturating_add(character.len_utf8()) >= LINE {
            out.push_str("\\\n");
            used = 0;
        }
        out.push(character);
        used = used.saturating_add(character.len_utf8());
    }
    out.push('\n');
    Ok(())
}
