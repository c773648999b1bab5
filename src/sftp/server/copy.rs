//! `copy-data`: from one open file to another, on the server (draft-ietf-secsh-filexfer-extensions-00 §7).

use std::sync::Arc;

use super::answer::check_offset;
use super::interface::SFTPHandle;
use super::refusal::{SFTPRefusal, SFTPResult};
use crate::sftp::packet::SFTPStatus;

/// Bytes read at once.
const PIECE: usize = 256 * 1024;

/// What is copied.
#[derive(Clone, Copy)]
pub(super) struct Copied<'a> {
    pub(super) from: &'a Arc<dyn SFTPHandle>,
    pub(super) at: u64,
    /// 0: to the end.
    pub(super) length: u64,
    pub(super) to: &'a Arc<dyn SFTPHandle>,
    pub(super) to_at: u64,
}

pub(super) fn copy_data(mut asked: Copied<'_>) -> SFTPResult<()> {
    check_offset(asked.at)?;
    check_offset(asked.to_at)?;
    let to_end = asked.length == 0;
    if to_end {
        // The end as it is now: a file that is copied onto its own end would have none.
        let size = asked.from.stat()?.size.unwrap_or(u64::MAX);
        asked.length = size.saturating_sub(asked.at);
    }
    if Arc::ptr_eq(asked.from, asked.to) && overlap(asked.at, asked.to_at, asked.length) {
        return Err(SFTPRefusal::new(SFTPStatus::FAILURE, "the parts overlap"));
    }
    let copied = within_system(&asked)?;
    asked.at = asked.at.saturating_add(copied);
    asked.to_at = asked.to_at.saturating_add(copied);
    asked.length = asked.length.saturating_sub(copied);
    let left = through(&asked)?;
    if left == 0 || to_end { Ok(()) } else { Err(SFTPStatus::EOF.into()) }
}

/// By the draft.
fn overlap(one: u64, other: u64, length: u64) -> bool {
    one.abs_diff(other) < length
}

/// What the system copies by itself; the rest is ours.
#[cfg(unix)]
fn within_system(asked: &Copied<'_>) -> SFTPResult<u64> {
    use crate::sys::filedata;

    let mut copied = 0_u64;
    let (Some(from), Some(to)) = (asked.from.file(), asked.to.file()) else { return Ok(0) };
    while copied < asked.length {
        let (at, to_at) = (asked.at.saturating_add(copied), asked.to_at.saturating_add(copied));
        match filedata::copy(from, at, to, to_at, asked.length.saturating_sub(copied)) {
            Ok(0) => break,
            Ok(count) => copied = copied.saturating_add(count),
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(copied)
}

#[cfg(not(unix))]
fn within_system(_: &Copied<'_>) -> SFTPResult<u64> {
    Ok(0)
}

/// Copies through this program; how much the file had too little.
fn through(asked: &Copied<'_>) -> SFTPResult<u64> {
    let Copied { from, mut at, length: mut left, to, mut to_at } = *asked;
    if left == 0 {
        return Ok(0);
    }
    let mut piece = vec![0; PIECE];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let count = from.read(at, piece.get_mut(..most).unwrap_or_default())?.min(most);
        if count == 0 {
            break;
        }
        to.write(to_at, piece.get(..count).unwrap_or_default())?;
        let count = u64::try_from(count).unwrap_or_default();
        (at, to_at) = (at.saturating_add(count), to_at.saturating_add(count));
        left = left.saturating_sub(count);
    }
    Ok(left)
}
