//! Names of files on the other side: bytes, mostly UTF-8, never trusted.

use std::borrow::Cow;
use std::fmt;

use crate::wire::Escaped;

/// A file's name or path as the other side has it: any bytes. `Display` shows it so that it can do a
/// terminal no harm; [`to_str`](Self::to_str) and [`as_bytes`](Self::as_bytes) give it exactly.
///
/// ```
/// let name = feramiko::RemoteName::from("naïve\u{1b}.txt");
/// assert_eq!(name.to_string(), "naïve\\u{1b}.txt");
/// assert_eq!(name, "naïve\u{1b}.txt");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RemoteName(Vec<u8>);

impl RemoteName {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, taken out.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The name as text, if it is UTF-8.
    #[must_use]
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The name as text; what is not UTF-8 is replaced, so that two names may look alike.
    #[must_use]
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The part after the last `/`; all of it where there is none.
    #[must_use]
    pub fn file_name(&self) -> &[u8] {
        self.0.rsplit(|byte| *byte == b'/').next().unwrap_or_default()
    }

    /// This path with `name` below it; an absolute `name` stands for itself.
    #[must_use]
    pub fn join(&self, name: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        if self.0.is_empty() || name.starts_with(b"/") {
            return Self(name.to_vec());
        }
        let mut joined = self.0.clone();
        if !joined.ends_with(b"/") {
            joined.push(b'/');
        }
        joined.extend_from_slice(name);
        Self(joined)
    }
}

impl fmt::Display for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&Escaped(&self.0).to_string())
    }
}

impl fmt::Debug for RemoteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Escaped(&self.0), f)
    }
}

impl AsRef<[u8]> for RemoteName {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for RemoteName {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}

impl From<Vec<u8>> for RemoteName {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<&str> for RemoteName {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl PartialEq<str> for RemoteName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for RemoteName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined() {
        for (base, name, joined) in
            [("/a", "b", "/a/b"), ("/a/", "b", "/a/b"), ("", "b", "b"), ("/a", "/b", "/b"), ("/", "b", "/b")]
        {
            assert_eq!(RemoteName::from(base).join(name), joined);
        }
        assert_eq!(RemoteName::from("/a/b").file_name(), b"b");
        assert_eq!(RemoteName::from("b").file_name(), b"b");
    }

    #[test]
    fn any_bytes_are_a_name() {
        let name = RemoteName::from(&b"\xff\n"[..]);
        assert_eq!((name.to_str(), name.to_string().as_str()), (None, "\\xff\\n"));
        assert_eq!(format!("{name:?}"), "\"\\xff\\n\"");
        assert_eq!(format!("{:>6}|", RemoteName::from("ab")), "    ab|");
    }
}
