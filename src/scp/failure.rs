//! What of a transfer failed, in words that can be shown.

use std::fmt;
use std::io;

use crate::wire::Escaped;

/// So many are kept; of more the number is told.
const KEPT: usize = 1000;

/// One thing that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SCPFailure {
    /// What and why, made harmless: `path: No such file or directory`. The other side's words are its own.
    pub text: String,
    /// What kind of failure it is; of the other side's words, as far as they tell.
    pub kind: io::ErrorKind,
    /// Whether the other side says so.
    pub from_peer: bool,
}

impl fmt::Display for SCPFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Some of a transfer failed. What is not named here has arrived, unless the other side gave up early.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SCPError {
    /// What failed, in order; the first thousand.
    pub failures: Vec<SCPFailure>,
    /// How many failures there were.
    pub count: u64,
}

impl SCPError {
    /// The kind of the first failure.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.failures.first().map_or(io::ErrorKind::Other, |failure| failure.kind)
    }

    pub(super) fn peer_says(&mut self, words: &[u8]) {
        let text = Escaped(words).to_string();
        self.push(SCPFailure { kind: kind_of(&text), text, from_peer: true });
    }

    pub(super) fn ours(&mut self, path: &[u8], error: &io::Error) {
        let text = format!("{}: {}", Escaped(path), reason(error));
        self.push(SCPFailure { text, kind: error.kind(), from_peer: false });
    }

    fn push(&mut self, failure: SCPFailure) {
        self.count = self.count.saturating_add(1);
        if self.failures.len() < KEPT {
            self.failures.push(failure);
        }
    }
}

impl fmt::Display for SCPError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.failures.first() {
            Some(first) => first.fmt(f)?,
            None => f.write_str("the copy failed")?,
        }
        match self.count.saturating_sub(1) {
            0 => Ok(()),
            more => write!(f, " (and {more} more failures)"),
        }
    }
}

impl std::error::Error for SCPError {}

/// What the system says, as C programs print it.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(at) => text.get(..at).unwrap_or_default().to_owned(),
        None => text,
    }
}

fn kind_of(text: &str) -> io::ErrorKind {
    let kinds = [
        ("No such file or directory", io::ErrorKind::NotFound),
        ("Permission denied", io::ErrorKind::PermissionDenied),
        ("Read-only file system", io::ErrorKind::ReadOnlyFilesystem),
        ("No space left on device", io::ErrorKind::StorageFull),
        ("Not a directory", io::ErrorKind::NotADirectory),
        ("Is a directory", io::ErrorKind::IsADirectory),
    ];
    kinds.iter().find(|(end, _)| text.ends_with(end)).map_or(io::ErrorKind::Other, |(_, kind)| *kind)
}
