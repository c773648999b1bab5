//! `get` and `put`: what is copied where, what is told of it, and how failures are told.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

use feramiko::{
    Error, LinkMode, Progress, RemoteName, SFTPAttributes, SFTPClient, SFTPError, SFTPTransfer,
    TransferSummary,
};

use crate::commands::Copying;
use crate::glob::{Local, Remote, glob, glob_or_itself};
use crate::interrupt::interrupted;
use crate::messages::{Done, Fault, complain, fault, refused, remark, say, system};
use crate::paths::{absolute, append, last, local};
use crate::support::progress::Progress as Bar;
use crate::words::as_pattern;

/// What holds for all transfers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Manner {
    pub(crate) resume: bool,
    pub(crate) sync: bool,
    pub(crate) preserve: bool,
    pub(crate) recursive: bool,
    /// Bytes in a second.
    pub(crate) bandwidth: Option<u64>,
    /// Bytes of one request.
    pub(crate) buffer: Option<u32>,
    /// Requests at once.
    pub(crate) requests: Option<usize>,
    /// Whether a bar is drawn.
    pub(crate) progress: bool,
    /// Whether files are named as they come.
    pub(crate) quiet: bool,
}

impl Manner {
    /// With what a command adds.
    fn with(self, asked: &Copying) -> Self {
        Self {
            resume: self.resume || asked.resume,
            sync: self.sync || asked.sync,
            preserve: self.preserve || asked.preserve,
            recursive: self.recursive || asked.recursive,
            ..self
        }
    }
}

/// `get`.
pub(crate) fn get(client: &SFTPClient, asked: &Copying, directory: &[u8], manner: Manner) -> Done {
    let manner = manner.with(asked);
    let pattern = absolute(&asked.from, &as_pattern(directory));
    let found = glob(&Remote(client), &pattern, true);
    if found.is_empty() && !interrupted() {
        return Err(fault(&[b"File \"", &pattern, b"\" not found."]));
    }
    let to = asked.to.as_deref();
    let inside = to.is_some_and(|to| local(to).is_dir());
    if let Some(to) = to.filter(|_| found.len() > 1 && !inside) {
        return Err(fault(&[b"Multiple source paths, but destination \"", to, b"\" is not a directory"]));
    }
    let mut outcome = Ok(());
    for it in found {
        if interrupted() {
            break;
        }
        let name = last(&it.path);
        let target = match to {
            Some(to) if inside => append(to, name),
            Some(to) => to.to_vec(),
            None => name.to_vec(),
        };
        if !manner.quiet {
            say(&[if manner.resume { b"Resuming " } else { b"Fetching " }, &it.path, b" to ", &target]);
        }
        let done = if it.path.ends_with(b"/") && manner.recursive {
            get_directory(client, &it.path, &target, manner)
        } else {
            get_file(client, &it.path, &target, manner)
        };
        outcome = remember(outcome, done)?;
    }
    outcome
}

/// A failure that was told does not keep the rest from being copied.
fn remember(before: Done, now: Done) -> Done<Done> {
    match now {
        Err(Fault::Told) => Ok(Err(Fault::Told)),
        Err(fatal) => Err(fatal),
        Ok(()) => Ok(before),
    }
}

fn stat(client: &SFTPClient, path: &[u8]) -> Done<SFTPAttributes> {
    client.stat(path).or_else(|error| Err(fault(&[b"stat remote: ", refused(&error)?.as_bytes()])))
}

fn get_file(client: &SFTPClient, remote: &[u8], target: &[u8], manner: Manner) -> Done {
    let known = stat(client, remote)?;
    if known.mode.is_some() && !known.is_file() {
        return Err(fault(&[b"download ", remote, b": not a regular file"]));
    }
    let there = fs::metadata(local(target)).ok();
    if there.as_ref().is_some_and(fs::Metadata::is_dir) {
        return Err(fault(&[b"open local \"", target, b"\": Is a directory"]));
    }
    let had = there.filter(|there| there.is_file()).map(|there| there.len());
    if manner.resume && had > known.size {
        let why = b"\": local file is larger than remote";
        return Err(fault(&[b"Unable to resume download of \"", target, why]));
    }
    let mut shown = Shown::new(manner);
    let transfer = prepared(client, manner, &mut shown);
    let done = transfer.get(remote, local(target)).map_err(|error| get_failed(&error, remote, target))?;
    if manner.resume && done.files == 0 {
        remark(&[b"File \"", target, b"\" was not modified"]);
    } else if manner.sync {
        sync_local(target);
    }
    Ok(())
}

fn get_directory(client: &SFTPClient, remote: &[u8], target: &[u8], manner: Manner) -> Done {
    let remote = match client.normalize(remote) {
        Ok(remote) => remote,
        Err(error) => {
            complain(&[b"realpath ", remote, b": ", refused(&error)?.as_bytes()]);
            return Err(fault(&[b"download \"", remote, b"\": path canonicalization failed"]));
        }
    };
    let known = stat(client, remote.as_bytes())?;
    let mode = known.mode.map_or(0o777, |mode| mode & 0o777);
    match DirBuilder::new().mode(mode | 0o300).create(local(target)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(fault(&[b"mkdir ", target, b": ", system(&error).as_bytes()]));
        }
        _ => {}
    }
    let base = remote.clone();
    let below = move |name: &RemoteName| below(name, base.as_bytes(), target);
    let mut failed = false;
    let mut shown = Shown::new(manner);
    let done = prepared(client, manner, &mut shown)
        .recursive(true)
        .on_directory(|name| say(&[b"Retrieving ", name.as_bytes()]))
        .on_error(|failure| {
            let (name, target) = (failure.remote.as_bytes(), below(&failure.remote));
            failed = true;
            let told = !matches!(get_failed(&failure.error, name, &target), Fault::Fatal(_));
            complain(&[b"Download of file ", name, b" to ", &target, b" failed"]);
            told
        })
        .get(&remote, local(target))
        .map_err(|error| get_failed(&error, remote.as_bytes(), target));
    if mode & 0o300 != 0o300 {
        let set = fs::set_permissions(local(target), fs::Permissions::from_mode(mode));
        if let Err(error) = set {
            complain(&[b"local chmod directory \"", target, b"\": ", system(&error).as_bytes()]);
        }
    }
    left_out(&done?, manner);
    if manner.sync {
        shown.whole.iter().for_each(|name| sync_local(&below(name)));
    }
    if failed { Err(Fault::Told) } else { Ok(()) }
}

/// The local path for one of the server's, or the other way round.
fn below(name: &RemoteName, base: &[u8], target: &[u8]) -> Vec<u8> {
    match name.as_bytes().strip_prefix(base) {
        Some(b"") | None => target.to_vec(),
        Some(rest) => append(target, rest.strip_prefix(b"/").unwrap_or(rest)),
    }
}

/// Says what became of a file that was to be got.
fn get_failed(error: &Error, remote: &[u8], target: &[u8]) -> Fault {
    match error {
        Error::Sftp(refusal) => sftp_failed(refusal, error, remote, b"remote"),
        Error::Io { doing, source } => match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                fault(&[doing.as_bytes(), b": ", system(source).as_bytes()])
            }
            io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge | io::ErrorKind::QuotaExceeded => {
                fault(&[b"write local \"", target, b"\": ", system(source).as_bytes()])
            }
            _ => fault(&[b"open local \"", target, b"\": ", system(source).as_bytes()]),
        },
        other => ended(other),
    }
}

/// A server's refusal in a transfer; `side` is what OpenSSH calls the file on the server.
fn sftp_failed(refusal: &SFTPError, error: &Error, remote: &[u8], side: &[u8]) -> Fault {
    let why = match refused(error) {
        Ok(why) => why.as_bytes(),
        Err(fatal) => return fatal,
    };
    match refusal.operation {
        "open" => fault(&[side, b" open \"", remote, b"\": ", why]),
        "read" => fault(&[b"read remote \"", remote, b"\" : ", why]),
        "write" => fault(&[b"write remote \"", remote, b"\": ", why]),
        "opendir" | "readdir" => fault(&[b"remote readdir(\"", remote, b"\"): ", why]),
        "stat" | "lstat" => fault(&[b"stat remote: ", why]),
        operation => fault(&[b"remote ", operation.as_bytes(), b" \"", remote, b"\": ", why]),
    }
}

/// What ends a transfer, and perhaps all.
fn ended(error: &Error) -> Fault {
    match error {
        Error::Misuse(_) | Error::Limit { .. } | Error::Protocol { .. } => {
            fault(&[error.to_string().as_bytes()])
        }
        other => refused(other).map_or_else(|fatal| fatal, |why| fault(&[why.as_bytes()])),
    }
}

fn left_out(done: &TransferSummary, manner: Manner) {
    if done.skipped > 0 && !manner.resume {
        let count = done.skipped.to_string();
        remark(&[count.as_bytes(), b" left out: not a regular file"]);
    }
}

/// `put`.
pub(crate) fn put(client: &SFTPClient, asked: &Copying, directory: &[u8], manner: Manner) -> Done {
    let manner = manner.with(asked);
    let found = glob_or_itself(&Local, &asked.from, true);
    let to = asked.to.as_deref().map(|to| absolute(to, directory));
    let inside = to.as_ref().is_none_or(|to| client.is_dir(to).unwrap_or(false));
    if let Some(to) = to.as_ref().filter(|_| found.len() > 1 && !inside) {
        return Err(fault(&[b"Multiple paths match, but destination \"", to, b"\" is not a directory"]));
    }
    let mut outcome = Ok(());
    for it in found {
        if interrupted() {
            break;
        }
        if let Err(error) = fs::metadata(local(&it.path)) {
            complain(&[b"stat ", &it.path, b": ", system(&error).as_bytes()]);
            outcome = Err(Fault::Told);
            continue;
        }
        let name = last(&it.path);
        let target = match &to {
            Some(to) if inside => append(to, name),
            Some(to) => to.clone(),
            None => absolute(name, directory),
        };
        if !manner.quiet {
            let what: &[u8] = if manner.resume { b"Resuming upload of " } else { b"Uploading " };
            say(&[what, &it.path, b" to ", &target]);
        }
        let done = if it.path.ends_with(b"/") && manner.recursive {
            put_directory(client, &it.path, &target, manner)
        } else {
            put_file(client, &it.path, &target, manner)
        };
        outcome = remember(outcome, done)?;
    }
    outcome
}

fn put_file(client: &SFTPClient, path: &[u8], target: &[u8], manner: Manner) -> Done {
    let known = File::open(local(path)).and_then(|file| file.metadata());
    let known =
        known.map_err(|error| fault(&[b"open local \"", path, b"\": ", system(&error).as_bytes()]))?;
    if !known.is_file() {
        return Err(fault(&[b"local \"", path, b"\" is not a regular file"]));
    }
    if manner.resume {
        let there = stat(client, target)?;
        if there.size.unwrap_or_default() >= known.len() {
            return Err(fault(&[b"resume \"", path, b"\": destination file same size or larger"]));
        }
    } else if client.is_dir(target).unwrap_or(false) {
        return Err(fault(&[b"dest open \"", target, b"\": Failure"]));
    }
    let mut shown = Shown::new(manner);
    let done = prepared(client, manner, &mut shown).put(local(path), target);
    done.map_err(|error| put_failed(&error, path, target))?;
    if manner.sync { sync_remote(client, target) } else { Ok(()) }
}

fn put_directory(client: &SFTPClient, path: &[u8], target: &[u8], manner: Manner) -> Done {
    let source = |name: &RemoteName| below(name, target, path);
    let mut failed = false;
    let mut shown = Shown::new(manner);
    let done = prepared(client, manner, &mut shown)
        .recursive(true)
        .on_directory(|name| say(&[b"Entering ", &source(name)]))
        .on_error(|failure| {
            let (name, path) = (failure.remote.as_bytes(), source(&failure.remote));
            failed = true;
            let told = !matches!(put_failed(&failure.error, &path, name), Fault::Fatal(_));
            complain(&[b"upload \"", &path, b"\" to \"", name, b"\" failed"]);
            told
        })
        .put(local(path), target)
        .map_err(|error| put_failed(&error, path, target))?;
    left_out(&done, manner);
    if manner.sync {
        shown.whole.iter().try_for_each(|name| sync_remote(client, name.as_bytes()))?;
    }
    if failed { Err(Fault::Told) } else { Ok(()) }
}

/// Says what became of a file that was to be put.
fn put_failed(error: &Error, path: &[u8], target: &[u8]) -> Fault {
    match error {
        Error::Sftp(refusal) => sftp_failed(refusal, error, target, b"dest"),
        Error::Io { doing, source } => match source.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                fault(&[doing.as_bytes(), b": ", system(source).as_bytes()])
            }
            _ => fault(&[b"open local \"", path, b"\": ", system(source).as_bytes()]),
        },
        other => ended(other),
    }
}

fn sync_local(path: &[u8]) {
    if let Err(error) = File::open(local(path)).and_then(|file| file.sync_all()) {
        complain(&[b"local sync \"", path, b"\": ", system(&error).as_bytes()]);
    }
}

fn sync_remote(client: &SFTPClient, path: &[u8]) -> Done {
    if !client.has_extension("fsync@openssh.com") {
        return Ok(());
    }
    if let Err(error) = client.open(path, "r").and_then(|file| file.sync_all()) {
        complain(&[b"remote fsync: ", refused(&error)?.as_bytes()]);
    }
    Ok(())
}

/// A transfer as it was asked for.
fn prepared<'a>(client: &SFTPClient, manner: Manner, shown: &'a mut Shown) -> SFTPTransfer<'a> {
    let mut transfer = client
        .transfer()
        .links(LinkMode::Skip)
        .permissions(true)
        .preserve(manner.preserve)
        .resume(manner.resume)
        .progress(|at| shown.update(at));
    if let Some(bandwidth) = manner.bandwidth {
        transfer = transfer.bandwidth(bandwidth);
    }
    if let Some(bytes) = manner.buffer {
        transfer = transfer.buffer(bytes);
    }
    if let Some(requests) = manner.requests {
        transfer = transfer.requests(requests);
    }
    transfer
}

/// The bar of the file that comes, and the names of those that are whole.
struct Shown {
    manner: Manner,
    bar: Option<(RemoteName, Bar)>,
    whole: Vec<RemoteName>,
}

impl Shown {
    fn new(manner: Manner) -> Self {
        Self { manner, bar: None, whole: Vec::new() }
    }

    fn update(&mut self, at: &Progress<'_>) {
        if at.finished && self.manner.sync {
            self.whole.push(at.remote.clone());
        }
        if !self.manner.progress || at.total == Some(0) {
            return;
        }
        let fresh = || Bar::new(String::from_utf8_lossy(at.remote.file_name()), at.began, at.total);
        match &mut self.bar {
            Some((name, bar)) if name == at.remote => bar.update(at.done),
            // Of many files at once one is shown until it is whole.
            Some(_) if !at.finished => return,
            Some(_) => return fresh().finish(at.done),
            None => self.bar = Some((at.remote.clone(), fresh())),
        }
        if at.finished
            && let Some((_, bar)) = self.bar.take()
        {
            bar.finish(at.done);
        }
    }
}
