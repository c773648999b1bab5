//! Operations on many files: patterns, whole trees, copies that the server makes itself.

use super::exchange::SMALL_ANSWER;
use super::{Answer, Asked, SFTPClient};
use crate::error::{Error, Result};
use crate::pattern::glob::{glob_matches, is_pattern, plain};
use crate::sftp::packet::message::{Remove, framed};
use crate::sftp::packet::{FileKind, OpenFlags, RemoteName, SFTPAttributes, SFTPEntry, extension};

/// Directories below each other that are looked into.
const MAX_DEPTH: usize = 64;
/// What a pattern may find.
const MAX_FOUND: usize = 1_000_000;
/// Files that are removed at once.
const AT_ONCE: usize = 256;

impl SFTPClient {
    /// The paths that match a pattern, sorted: `*`, `?`, `[a-z]` and `\` as in a shell, `**` for any number of
    /// directories, links not followed. A pattern that is a plain path finds it if it is there.
    ///
    /// # Errors
    /// [`Error::Limit`] for more than a million; as [`listdir_iter`](Self::listdir_iter), but directories that
    /// may not be read or are gone match nothing.
    pub fn glob(&self, pattern: impl AsRef<[u8]>) -> Result<Vec<RemoteName>> {
        let pattern = pattern.as_ref();
        let absolute = pattern.starts_with(b"/");
        let parts: Vec<&[u8]> = pattern.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
        let mut found = vec![RemoteName::from(if absolute { "/" } else { "" })];
        for (at, part) in parts.iter().enumerate() {
            let last = at.saturating_add(1) == parts.len();
            let mut next = Vec::new();
            for base in &found {
                self.match_part(base, part, last, &mut next)?;
            }
            found = next;
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// What one part of a pattern finds below `base`.
    fn match_part(
        &self,
        base: &RemoteName,
        part: &[u8],
        last: bool,
        found: &mut Vec<RemoteName>,
    ) -> Result<()> {
        if part == b"**" {
            return self.match_below(base, last, 0, found);
        }
        if !is_pattern(part) || matches!(part, b"." | b"..") {
            let path = base.join(plain(part));
            if !last || super::paths::if_there(self.lstat(&path))?.is_some() {
                found.push(path);
            }
            return Ok(());
        }
        for entry in self.entries(base)? {
            if glob_matches(part, &entry.name) && (last || self.may_be_dir(base, &entry)) {
                self.add_found(base.join(&entry.name), found)?;
            }
        }
        Ok(())
    }

    /// The directories below `base`, itself included; where nothing follows, the files too.
    fn match_below(
        &self,
        base: &RemoteName,
        last: bool,
        depth: usize,
        found: &mut Vec<RemoteName>,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::Limit { which: "directories below each other", limit: MAX_DEPTH as u64 });
        }
        if !last {
            self.add_found(base.clone(), found)?;
        }
        for entry in self.entries(base)?.into_iter().filter(|entry| !entry.name.as_bytes().starts_with(b"."))
        {
            let path = base.join(&entry.name);
            if last {
                self.add_found(path.clone(), found)?;
            }
            if entry.attributes.is_dir() {
                self.match_below(&path, last, depth.saturating_add(1), found)?;
            }
        }
        Ok(())
    }

    fn add_found(&self, path: RemoteName, found: &mut Vec<RemoteName>) -> Result<()> {
        if found.len() >= MAX_FOUND {
            return Err(Error::Limit { which: "files that a pattern finds", limit: MAX_FOUND as u64 });
        }
        found.push(path);
        Ok(())
    }

    /// What is in a directory; nothing in what is none, or may not be read.
    fn entries(&self, base: &RemoteName) -> Result<Vec<SFTPEntry>> {
        let here = if base.as_bytes().is_empty() { RemoteName::from(".") } else { base.clone() };
        match self.listdir_attr(&here) {
            Err(Error::Sftp(_)) => Ok(Vec::new()),
            listed => listed,
        }
    }

    fn may_be_dir(&self, base: &RemoteName, entry: &SFTPEntry) -> bool {
        match entry.attributes.kind() {
            Some(FileKind::Directory) => true,
            Some(FileKind::Symlink) | None => self.is_dir(base.join(&entry.name)).unwrap_or(false),
            Some(_) => false,
        }
    }

    /// Removes a directory with all that is in it; links are removed, not followed. A file is removed too.
    ///
    /// # Errors
    /// As [`remove`](SFTPClient::remove), of the first file that cannot be; what was removed by then is gone.
    pub fn rmtree(&self, path: impl AsRef<[u8]>) -> Result<()> {
        let path = self.absolute(path);
        if self.lstat(&path)?.is_dir() { self.remove_dir(&path, 0) } else { self.remove(&path) }
    }

    fn remove_dir(&self, path: &RemoteName, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::Limit { which: "directories below each other", limit: MAX_DEPTH as u64 });
        }
        let mut files = Vec::new();
        // All of it first: what is removed while it is listed may hide what is not.
        for entry in self.listdir_attr(path)? {
            let below = path.join(&entry.name);
            let known =
                if entry.attributes.kind().is_none() { self.lstat(&below)? } else { entry.attributes };
            if known.is_dir() {
                self.remove_dir(&below, depth.saturating_add(1))?;
            } else {
                files.push(below);
            }
        }
        self.remove_all(&files)?;
        self.rmdir(path)
    }

    /// Removes files, many at once.
    fn remove_all(&self, paths: &[RemoteName]) -> Result<()> {
        let (mailbox, deadline) = (self.mailbox(), self.deadline());
        let mut waiting = 0_usize;
        let mut left = paths.iter().zip(0_u64..);
        loop {
            while waiting < AT_ONCE {
                let Some((path, tag)) = left.next() else { break };
                let packet = framed(&Remove { id: 0, path: path.as_bytes() });
                self.post(&mailbox, packet, (SMALL_ANSWER, tag), deadline)?;
                waiting = waiting.saturating_add(1);
            }
            if waiting == 0 {
                return Ok(());
            }
            self.wait(deadline, |until| mailbox.flush(until))?;
            for (tag, reply) in self.wait(deadline, |until| mailbox.next_all(until))? {
                waiting = waiting.saturating_sub(1);
                let path = usize::try_from(tag).ok().and_then(|at| paths.get(at));
                let asked = Asked { operation: "remove", path: path.map_or(b"", RemoteName::as_bytes) };
                match self.read_answer(reply, asked)? {
                    Answer::Done => {}
                    other => return Err(self.wrong(&other, asked)),
                }
            }
        }
    }

    /// Has the server copy a file; nothing crosses the network. What `to` was is replaced; it gets the
    /// permissions that `from` has.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the server does not have `copy-data`; as [`open`](Self::open).
    pub fn copy(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<()> {
        if !self.has_extension(extension::COPY_DATA) {
            return Err(Error::Unsupported(
                "the SFTP server has no copy-data, which copying there needs".to_owned(),
            ));
        }
        let source = self.open(from, "r")?;
        let known = source.stat()?;
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let mode = known.permissions().unwrap_or(0o644) & 0o777;
        let target = self.open_with(to, flags, &SFTPAttributes::new().with_mode(mode))?;
        let copied = source.copy_to(0, 0, &target, 0);
        let closed = target.close();
        source.close()?;
        copied.and(closed)
    }
}
