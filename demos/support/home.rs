//! The user's home directory, and paths that begin with `~`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The user's home directory.
pub(crate) fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_default()
}

/// The path with `~` or `~/` at its start replaced.
pub(crate) fn expand(path: impl AsRef<OsStr>) -> PathBuf {
    let path = Path::new(&path);
    path.strip_prefix("~").map_or_else(|_| path.to_owned(), |rest| home().join(rest))
}

/// The path of a file that lies beside another, its name with more behind it.
pub(crate) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}

/// The user's shell.
pub(crate) fn shell() -> OsString {
    std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(expand("~/.ssh/id"), home().join(".ssh/id"));
        assert_eq!(expand("~"), home());
        for path in ["~user/x", "/~/x", "a~", ""] {
            assert_eq!(expand(path), Path::new(path));
        }
        assert_eq!(beside(Path::new("/a/key"), "-cert.pub"), Path::new("/a/key-cert.pub"));
    }
}
