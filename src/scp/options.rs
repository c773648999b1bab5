//! What a copy is told, and what it tells while it runs: how far it is, and no faster than it may.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::sftp::RemoteName;
use crate::sys::pace::Pace;

/// How much is read and written at a time: what a connection writes at once.
const PIECE: usize = 256 * 1024;
/// The least piece of a copy that is held back.
const SMALL_PIECE: usize = 2048;
/// A copy that is held back moves so many times a second.
const STEPS: u64 = 8;
/// Files and directories of one copy: more than any tree has, less than a hostile side needs to fill the
/// memory.
const MAX_ENTRIES: u64 = 10_000_000;

/// How far a copy is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SCPProgress<'a> {
    /// The file's name, without the directory it is in.
    pub name: &'a RemoteName,
    /// Bytes of it that were copied.
    pub done: u64,
    /// Bytes it has.
    pub total: u64,
}

pub(super) type Tell = Arc<dyn Fn(&SCPProgress<'_>) + Send + Sync>;

#[derive(Clone)]
pub(super) struct Options {
    pub(super) recursive: bool,
    pub(super) preserve: bool,
    /// Whether the target must be a directory.
    pub(super) directory: bool,
    /// Whether the other side is known to take what it has not yet asked for.
    pub(super) pipelined: bool,
    /// Bytes in a second.
    pub(super) bandwidth: Option<u64>,
    pub(super) progress: Option<Tell>,
    pub(super) max_entries: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recursive: false,
            preserve: false,
            directory: false,
            pipelined: false,
            bandwidth: None,
            progress: None,
            max_entries: MAX_ENTRIES,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("recursive", &self.recursive)
            .field("preserve", &self.preserve)
            .field("bandwidth", &self.bandwidth)
            .finish_non_exhaustive()
    }
}

impl Options {
    pub(super) fn piece(&self) -> usize {
        let step = |rate: u64| usize::try_from(rate / STEPS).unwrap_or(PIECE).clamp(SMALL_PIECE, PIECE);
        self.bandwidth.map_or(PIECE, step)
    }
}

/// Counts, tells and holds back.
pub(super) struct Meter<'a> {
    options: &'a Options,
    pace: Option<Pace>,
}

impl<'a> Meter<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self { options, pace: options.bandwidth.map(|rate| Pace::new(rate, Instant::now())) }
    }

    /// `count` more bytes of a file were copied.
    pub(super) fn step(&mut self, name: &RemoteName, done: u64, total: u64, count: usize) {
        if let Some(tell) = &self.options.progress {
            tell(&SCPProgress { name, done, total });
        }
        let now = Instant::now();
        if let Some(until) = self.pace.as_mut().and_then(|pace| pace.spend(count, now)) {
            std::thread::sleep(until.saturating_duration_since(now));
        }
    }
}
