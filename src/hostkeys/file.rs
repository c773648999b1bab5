//! known_hosts files on disk: read up to a limit, replaced and appended to under a lock.
//!
//! The lock is the file's own (flock, or what the system has), so it holds among all programs that
//! use this library and is gone with the program that held it.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{HostKeyStatus, HostKeys, HostKeysError};
use crate::key::PublicKey;
use crate::sys::file::{
    create_private_dir, has_no_locks, is_at, open_append, read_bounded, read_regular, replace_like,
};

/// No known_hosts file is larger: room for more than 100000 hosts.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// How long another program may hold the lock; an honest one needs milliseconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait before the lock is tried again: the system has no call that waits for a lock
/// with a deadline.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
/// A new file's, for the owner alone: it tells which hosts its owner visits.
const MODE: u32 = 0o600;

/// By this name scripts say that nothing is known and nothing is to be kept.
const NOTHING: &str = "/dev/null";

fn is_nothing(path: &Path) -> bool {
    path == Path::new(NOTHING)
}

pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    if is_nothing(path) {
        return Ok(Vec::new());
    }
    read_regular(path, FILE_BYTES)
}

/// Writes the whole file in one step. A symbolic link stays one: the file that it means is written.
pub(super) fn write(path: &Path, text: &[u8]) -> Result<(), HostKeysError> {
    if is_nothing(path) {
        return Ok(());
    }
    let fail = |error: io::Error| HostKeysError::io(path, &error);
    let target = if path.is_symlink() { path.canonicalize().map_err(fail)? } else { path.to_path_buf() };
    // Held so that nobody appends to the old file what the new one would lack.
    let old = locked(&target)?;
    replace_like(&old, &target, text).map_err(fail)
}

/// Replaces the file, in one step and under its lock, by what `change` makes of it; whether it did. A
/// symbolic link stays one.
pub(super) fn edit(
    path: &Path,
    change: impl FnOnce(&[u8]) -> Result<Option<Vec<u8>>, HostKeysError>,
) -> Result<bool, HostKeysError> {
    let fail = |error: io::Error| HostKeysError::io(path, &error);
    let target = path.canonicalize().map_err(fail)?;
    let old = locked(&target)?;
    let present = read_bounded(&old, FILE_BYTES).map_err(fail)?;
    let Some(text) = change(&present)? else { return Ok(false) };
    replace_like(&old, &target, &text).map_err(fail)?;
    Ok(true)
}

/// Appends a key of a host, unless the file has it by now. The file, and the directory for it, are
/// made if they are not there.
pub(super) fn append(
    path: &Path,
    host: &str,
    port: u16,
    key: &PublicKey,
    line: &[u8],
) -> Result<(), HostKeysError> {
    if is_nothing(path) {
        return Ok(());
    }
    let fail = |error: io::Error| HostKeysError::io(path, &error);
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        create_private_dir(directory).map_err(fail)?;
    }
    let mut file = locked(path)?;
    let present = read_bounded(&file, FILE_BYTES).map_err(fail)?;
    match HostKeys::parse(&present).check(host, port, &key.without_certificate()) {
        HostKeyStatus::Known => return Ok(()),
        HostKeyStatus::Revoked => return Err(HostKeysError::revoked(path)),
        HostKeyStatus::Unknown | HostKeyStatus::Changed { .. } | HostKeyStatus::BadCertificate(_) => {}
    }
    let line_break: &[u8] = if present.is_empty() || present.ends_with(b"\n") { b"" } else { b"\n" };
    let addition = [line_break, line, b"\n"].concat();
    file.write_all(&addition).and_then(|()| file.sync_all()).map_err(fail)
}

/// The file, made if need be, and its lock, which goes with the file's descriptor.
fn locked(path: &Path) -> Result<File, HostKeysError> {
    let fail = |error: io::Error| HostKeysError::io(path, &error);
    let started = Instant::now();
    loop {
        let file = open_append(path, MODE).map_err(fail)?;
        let pause = match file.try_lock() {
            Ok(()) if is_at(&file, path).map_err(fail)? => return Ok(file),
            // Whoever held the lock has put another file in this one's place, or none: nobody is
            // waited for.
            Ok(()) => Duration::ZERO,
            Err(TryLockError::WouldBlock) => LOCK_PAUSE,
            // File systems without locks are used without.
            Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        };
        if started.elapsed() >= LOCK_PATIENCE {
            return Err(HostKeysError::locked(path));
        }
        thread::sleep(pause);
    }
}
