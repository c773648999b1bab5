//! One line of a known_hosts file, read and written: sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
//!
//! A line of which anything is not understood says nothing at all. Knows no file and no policy.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use base64ct::{Base64, Encoding};

use crate::crypto::secret::constant_time_eq;
use crate::crypto::{CryptoError, host_hash, rand};
use crate::key::{KeySpec, PublicKey, split_key, split_word, trim_start};
use crate::pattern::{Letters, matches_list};

/// Larger keys are not kept: the largest, RSA of 16384 bits, takes little more than 2 KiB.
const BLOB_BYTES: usize = 12 * 1024;
/// What begins a hashed name: the method, HMAC-SHA1, is the only one there is.
const HASHED: &str = "|1|";

/// What a line says of its key, other than that it belongs to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyMarker {
    /// `@cert-authority`: the key signs certificates of such hosts.
    CertAuthority,
    /// `@revoked`: the key must not be accepted from such hosts.
    Revoked,
}

/// Where an entry stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostKeyPlace {
    pub(super) file: Option<Arc<Path>>,
    pub(super) line: Option<usize>,
}

impl HostKeyPlace {
    /// The file that the entry was read from, if it came from a file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The line's number, counted from 1, unless the entry was added by this program.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

impl fmt::Display for HostKeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}", file.display()),
            (None, Some(line)) => write!(f, "line {line}"),
            (_, None) => f.write_str("added by this program"),
        }
    }
}

/// A salt and the hash of a name under it.
#[derive(Clone)]
struct HashedName {
    salt: [u8; host_hash::LENGTH],
    hash: [u8; host_hash::LENGTH],
}

impl HashedName {
    /// Reads `|1|salt|hash`.
    fn parse(word: &[u8]) -> Option<Self> {
        let (salt, hash) = std::str::from_utf8(word).ok()?.strip_prefix(HASHED)?.split_once('|')?;
        let decode = |text| Base64::decode_vec(text).ok()?.try_into().ok();
        Some(Self { salt: decode(salt)?, hash: decode(hash)? })
    }

    fn matches(&self, name: &[u8]) -> bool {
        constant_time_eq(&host_hash::hash(&self.salt, name), &self.hash)
    }
}

/// `|1|salt|hash` of a name; with a salt of its own if none is given.
pub(super) fn hashed(name: &str, salt: Option<[u8; host_hash::LENGTH]>) -> Result<String, CryptoError> {
    let salt = salt.map_or_else(rand::array, Ok)?;
    let hash = Base64::encode_string(&host_hash::hash(&salt, name.as_bytes()));
    Ok(format!("{HASHED}{}|{hash}", Base64::encode_string(&salt)))
}

/// A line that says something about a host.
#[derive(Clone)]
pub(super) struct Entry {
    /// The line as it was read, without its line break.
    text: Vec<u8>,
    pub(super) marker: Option<HostKeyMarker>,
    names: Range<usize>,
    hashed: Option<HashedName>,
    blob: Vec<u8>,
    /// Made from the blob when somebody asks for it: most lines of a large file are never asked.
    key: OnceLock<Option<PublicKey>>,
    comment: Range<usize>,
    pub(super) place: HostKeyPlace,
}

impl Entry {
    /// Reads a line. None for comments, empty lines, and whatever is not understood: another or a
    /// second marker, bad base64, a key that is not of the type named.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        let mut about = trim_start(text);
        let (first, after) = split_word(about);
        let marker = match first {
            [] | [b'#', ..] => return None,
            b"@cert-authority" => Some(HostKeyMarker::CertAuthority),
            b"@revoked" => Some(HostKeyMarker::Revoked),
            _ => None,
        };
        if marker.is_some() {
            about = after;
        }
        let (names, rest) = split_word(about);
        let hashed = match names {
            [] | [b'@', ..] => return None,
            [b'|', ..] => Some(HashedName::parse(names)?),
            _ => None,
        };
        let (blob, comment) = split_key(rest).ok().filter(|(blob, _)| blob.len() <= BLOB_BYTES)?;
        let start = text.len().saturating_sub(about.len());
        Some(Self {
            text: line.to_vec(),
            marker,
            names: start..start.saturating_add(names.len()),
            hashed,
            blob,
            key: OnceLock::new(),
            comment: text.len().saturating_sub(comment.len())..text.len(),
            place: HostKeyPlace::default(),
        })
    }

    /// A line for one host, by its name as files have it or by the hashed form of that.
    pub(super) fn new(name: &str, key: &PublicKey) -> Option<Self> {
        let line = format!("{name} {} {}", key.key_type(), Base64::encode_string(key.blob()));
        let entry = Self::parse(line.as_bytes())?;
        // It cannot be set already.
        let _ = entry.key.set(Some(key.clone()));
        Some(entry)
    }

    /// The line as it was read, without its line break.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// The names as they stand in the line.
    pub(super) fn names(&self) -> &[u8] {
        self.text.get(self.names.clone()).unwrap_or_default()
    }

    /// What follows the key.
    pub(super) fn comment(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.text.get(self.comment.clone()).unwrap_or_default())
    }

    /// Whether the line is about a name in lower case.
    pub(super) fn matches(&self, name: &str) -> bool {
        match &self.hashed {
            Some(hashed) => hashed.matches(name.as_bytes()),
            None => matches_list(self.names(), name.as_bytes(), Letters::Lower),
        }
    }

    /// Whether the line is about `key`.
    pub(super) fn has(&self, key: &PublicKey) -> bool {
        self.blob == key.blob()
    }

    /// Whether both lines are about the same key.
    pub(super) fn same_key(&self, other: &Self) -> bool {
        self.blob == other.blob
    }

    /// The key; None if it is of no type that is built, or does not hold together.
    pub(super) fn key(&self) -> Option<&PublicKey> {
        self.key.get_or_init(|| PublicKey::from_blob(&self.blob).ok()).as_ref()
    }

    /// Reads the key if it is of one of these types.
    pub(super) fn know(&mut self, own: &[&'static KeySpec]) {
        if let Some(key) = own.iter().find_map(|spec| PublicKey::from_own_blob(&self.blob, spec).ok()) {
            self.key = OnceLock::from(Some(key));
        }
    }

    /// The line without a name in lower case, which it must carry by itself, not by a pattern: the
    /// rest of the line, or None if no other host is left that it is about.
    pub(super) fn without(&self, name: &str) -> Removal {
        if self.hashed.is_some() {
            return if self.matches(name) { Removal::Line } else { Removal::Nothing };
        }
        let is_it = |word: &&[u8]| word.eq_ignore_ascii_case(name.as_bytes());
        let words = self.names().split(|byte| *byte == b',');
        let kept: Vec<_> = words.clone().filter(|word| !is_it(word)).collect();
        if kept.len() == words.count() {
            return Removal::Nothing;
        }
        if kept.iter().all(|word| word.is_empty() || word.starts_with(b"!")) {
            return Removal::Line;
        }
        let head = self.text.get(..self.names.start).unwrap_or_default();
        let tail = self.text.get(self.names.end..).unwrap_or_default();
        let line = [head, &kept.join(&b','), tail].concat();
        let rest = Self::parse(&line).map(|entry| Self { place: self.place.clone(), ..entry });
        rest.map_or(Removal::Line, |entry| Removal::Name(Box::new(entry)))
    }
}

/// What is left of a line when a name is taken out.
pub(super) enum Removal {
    /// The name did not stand in it.
    Nothing,
    /// The line, for the other hosts.
    Name(Box<Entry>),
    /// No host is left: the line goes.
    Line,
}
