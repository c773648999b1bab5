//! Paths as bytes, on either side.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as this system has it.
pub(crate) fn local(path: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(path))
}

/// `name` below `path`.
pub(crate) fn append(path: &[u8], name: &[u8]) -> Vec<u8> {
    let mut out = path.to_vec();
    if !out.is_empty() && !out.ends_with(b"/") {
        out.push(b'/');
    }
    out.extend_from_slice(name);
    out
}

/// `path` as seen from `directory`, unless it is absolute.
pub(crate) fn absolute(path: &[u8], directory: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") { path.to_vec() } else { append(directory, path) }
}

/// `path` without the directory that it begins with, if it does.
pub(crate) fn strip<'a>(path: &'a [u8], directory: Option<&[u8]>) -> &'a [u8] {
    let Some(directory) = directory else { return path };
    match path.strip_prefix(directory) {
        Some(rest) if !directory.ends_with(b"/") => rest.strip_prefix(b"/").unwrap_or(rest),
        Some(rest) => rest,
        None => path,
    }
}

/// The last part, as basename(3) has it.
pub(crate) fn last(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    match path[..end].rsplit(|byte| *byte == b'/').next() {
        Some(b"") if path.is_empty() => b".",
        Some(b"") | None => b"/",
        Some(last) => last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(append(b"/a", b"b"), b"/a/b");
        assert_eq!(append(b"/", b"b"), b"/b");
        assert_eq!(append(b"", b"b"), b"b");
        assert_eq!(absolute(b"/x", b"/a"), b"/x");
        assert_eq!(absolute(b"x", b"/a"), b"/a/x");
        assert_eq!(strip(b"/a/b", Some(b"/a")), b"b");
        assert_eq!(strip(b"/a", Some(b"/")), b"a");
        assert_eq!(strip(b"/b/c", Some(b"/a")), b"/b/c");
        assert_eq!(strip(b"/b", None), b"/b");
        for (path, name) in [("/a/b", "b"), ("b/", "b"), ("/", "/"), ("", "."), (".", "."), ("a//", "a")] {
            assert_eq!(last(path.as_bytes()), name.as_bytes(), "{path}");
        }
    }
}
