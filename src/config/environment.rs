//! What a configuration asks of the world: variables, names, files, addresses, whether a command succeeds.
//! [`System`] asks the system; tests and the fuzzer answer themselves.
//!
//! Runs on the thread that looks a host up. Knows no keyword.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::pattern::glob::{glob_matches, is_pattern, plain};

/// A file of configuration is no longer than this; OpenSSH's are read whatever their length.
pub(super) const FILE_BYTES: u64 = 1024 * 1024;
/// A pattern of an Include names so many files at most.
const FILES: usize = 1024;
/// So long may a command of `Match exec` run; OpenSSH waits for ever.
#[cfg(unix)]
const EXEC_TIME: Duration = Duration::from_secs(60);
/// So long may the system look up a name that is to be made canonical: glibc gives up after 5 s with each
/// of up to three servers, twice.
const RESOLVE_TIME: Duration = Duration::from_secs(30);

/// The world, as far as a configuration asks.
pub(crate) trait Environment: fmt::Debug + Send + Sync {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;
    /// The user's home directory.
    fn home(&self) -> Option<String>;
    /// Another user's.
    fn home_of(&self, user: &str) -> Option<String>;
    /// The user's name.
    fn user(&self) -> Option<String>;
    /// The user's number.
    fn uid(&self) -> u32;
    /// What this machine calls itself.
    fn host_name(&self) -> String;
    /// The addresses of this machine's interfaces that are up.
    fn addresses(&self) -> io::Result<Vec<IpAddr>>;
    /// Whether a name has addresses, and what the DNS calls the host then.
    fn resolve(&self, name: &str) -> Option<Option<String>>;
    /// Whether a command, run by the user's shell, ends with status 0.
    fn succeeds(&self, command: &str) -> io::Result<bool>;
    /// All of a file; `owned`: it must be the user's or root's, and nobody else may write to it.
    fn read(&self, path: &Path, owned: bool) -> io::Result<Vec<u8>>;
    /// The files that a pattern names, in order.
    fn matching(&self, pattern: &str) -> io::Result<Vec<PathBuf>>;
}

/// The system that we run on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct System;

impl Environment for System {
    fn variable(&self, name: &str) -> Option<String> {
        // A name with one of these is no variable's, and std panics on some.
        let bad = |letter: char| letter == '=' || letter == '\0';
        if name.is_empty() || name.contains(bad) { None } else { std::env::var(name).ok() }
    }

    fn home(&self) -> Option<String> {
        dirs::home_dir()?.into_os_string().into_string().ok()
    }

    #[cfg(unix)]
    fn home_of(&self, user: &str) -> Option<String> {
        let account = crate::sys::user::Account::named(user).ok()??;
        account.home.into_os_string().into_string().ok()
    }

    #[cfg(not(unix))]
    fn home_of(&self, _: &str) -> Option<String> {
        None
    }

    fn user(&self) -> Option<String> {
        crate::sys::user::login_name().ok()
    }

    #[cfg(unix)]
    fn uid(&self) -> u32 {
        crate::sys::user::current_uid()
    }

    /// Windows numbers no users.
    #[cfg(not(unix))]
    fn uid(&self) -> u32 {
        0
    }

    fn host_name(&self) -> String {
        crate::sys::names::host_name()
    }

    fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        Ok(crate::sys::names::interfaces()?.into_iter().map(|(_, address)| address).collect())
    }

    fn resolve(&self, name: &str) -> Option<Option<String>> {
        let asked = name.to_owned();
        let answer = crate::engine::within("feramiko resolver", RESOLVE_TIME, move || {
            crate::sys::names::canonical_name(&asked)
        });
        match answer {
            Ok(Some(found)) => found.ok(),
            Ok(None) => {
                log::warn!(target: "feramiko::config", "looking up {name} took too long");
                None
            }
            Err(_) => None,
        }
    }

    #[cfg(unix)]
    fn succeeds(&self, command: &str) -> io::Result<bool> {
        let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
        let shell = shell.unwrap_or_else(|| "/bin/sh".into());
        crate::engine::succeeds(&shell, command, EXEC_TIME)
    }

    #[cfg(not(unix))]
    fn succeeds(&self, _: &str) -> io::Result<bool> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "Match exec is not built on this system"))
    }

    fn read(&self, path: &Path, owned: bool) -> io::Result<Vec<u8>> {
        // The one device that many say for "no file".
        if path == Path::new("/dev/null") {
            return Ok(Vec::new());
        }
        let (file, metadata) = crate::sys::file::open_regular(path)?;
        if owned && !is_safe(&metadata) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "bad owner or permissions: it must be yours or root's, and nobody else may write to it",
            ));
        }
        crate::sys::file::read_bounded(&file, FILE_BYTES)
    }

    fn matching(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        matching(pattern)
    }
}

/// What a program was told to read, which may be a shell's pipe.
pub(super) fn read_named(path: &Path) -> io::Result<Vec<u8>> {
    if path == Path::new("/dev/null") {
        return Ok(Vec::new());
    }
    crate::sys::file::read_bounded(&crate::sys::file::open_named(path)?, FILE_BYTES)
}

/// OpenSSH's rule for its files.
#[cfg(unix)]
fn is_safe(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    let owner = metadata.uid();
    (owner == 0 || owner == crate::sys::user::current_uid()) && metadata.mode() & 0o022 == 0
}

/// Windows has no such bits; its directories hand rights down.
#[cfg(not(unix))]
fn is_safe(_: &std::fs::Metadata) -> bool {
    true
}

/// What a pattern means, component by component. A directory that cannot be read has no files.
fn matching(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "" })];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for base in &found {
            if is_pattern(part.as_bytes()) && part.contains(['*', '?', '[']) {
                next.extend(inside(base, part)?);
            } else {
                let name = plain(part.as_bytes());
                next.push(base.join(String::from_utf8_lossy(&name).as_ref()));
            }
            if next.len() > FILES {
                return Err(io::Error::other(format!("it names more than {FILES} files")));
            }
        }
        found = next;
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    Ok(found)
}

fn inside(base: &Path, part: &str) -> io::Result<Vec<PathBuf>> {
    let folder = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        if glob_matches(part, name.as_encoded_bytes()) {
            found.push(base.join(name));
            if found.len() > FILES {
                break;
            }
        }
    }
    Ok(found)
}
