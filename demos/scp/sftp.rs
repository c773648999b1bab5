//! Copies by SFTP, with the names, the rules for directories and the messages of scp(1).

use std::collections::HashSet;
use std::fmt::Display;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use feramiko::{Error, LinkMode, OpenFlags, SFTPAttributes, SFTPClient, SFTPTransfer};

use crate::links::{Links, NoConnection};
use crate::place::{Remote, last, os};
use crate::support::progress::Progress;
use crate::{Outcome, failed};

/// Directories in directories: scp's figure.
const MAX_DEPTH: usize = 64;
/// How much is passed on at a time between two hosts.
const PIECE: usize = 256 * 1024;

/// A remote path as scp takes it: it begins in the home, and `~` is known.
fn prepared(sftp: &SFTPClient, path: &[u8]) -> Outcome<Vec<u8>> {
    let path = match path {
        b"" | b"~" => b".".to_vec(),
        [b'~', b'/', rest @ ..] => match rest.iter().position(|byte| *byte != b'/') {
            Some(at) => rest[at..].to_vec(),
            None => b".".to_vec(),
        },
        [b'~', ..] if sftp.has_extension("expand-path@openssh.com") => sftp.expand_path(path)?.into_bytes(),
        [b'~', ..] => {
            return Err("server expand-path extension is required for ~user paths in SFTP mode".into());
        }
        path => path.to_vec(),
    };
    Ok(path)
}

/// What a path with patterns stands for.
fn expanded(sftp: &SFTPClient, path: &[u8]) -> Outcome<Vec<Vec<u8>>> {
    let found = sftp.glob(path)?;
    if found.is_empty() {
        Ok(vec![path.to_vec()])
    } else {
        Ok(found.into_iter().map(|name| name.into_bytes()).collect())
    }
}

fn shown(path: &[u8]) -> feramiko::RemoteName {
    path.into()
}

/// An error in the system's words, where it has one.
fn reason(error: &Error) -> String {
    match error {
        Error::Sftp(refused) => match refused.status {
            feramiko::SFTPStatus::NO_SUCH_FILE => "No such file or directory".to_owned(),
            feramiko::SFTPStatus::PERMISSION_DENIED => "Permission denied".to_owned(),
            feramiko::SFTPStatus::FAILURE => "Failure".to_owned(),
            _ => refused.to_string(),
        },
        Error::Io { source, .. } => plain(source),
        other => other.to_string(),
    }
}

fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Says that something failed.
fn no(what: impl Display) -> Outcome<bool> {
    failed(what);
    Ok(false)
}

fn transfer<'a>(links: &Links, sftp: &SFTPClient, bar: &'a mut Option<Progress>) -> SFTPTransfer<'a> {
    let settings = &links.settings;
    let mut transfer = sftp.transfer().recursive(settings.recursive).preserve(settings.preserve);
    transfer = transfer.links(LinkMode::Follow);
    if let Some(limit) = settings.limit {
        transfer = transfer.bandwidth(limit);
    }
    if let Some(bytes) = settings.buffer {
        transfer = transfer.buffer(bytes);
    }
    if let Some(requests) = settings.requests {
        transfer = transfer.requests(requests);
    }
    if settings.shows() {
        transfer = transfer.progress(move |file| {
            let name = || os(last(file.remote.as_bytes())).to_string_lossy().into_owned();
            let mut drawn = bar.take().unwrap_or_else(|| Progress::new(name(), file.began, file.total));
            if file.finished {
                return drawn.finish(file.done);
            }
            drawn.update(file.done);
            *bar = Some(drawn);
        });
    }
    transfer
}

/// What a transfer has left out, each as scp names it; whether nothing.
fn told(
    outcome: Result<feramiko::TransferSummary, Error>,
    path: &feramiko::RemoteName,
    name: impl Fn(&feramiko::RemoteName) -> String,
) -> bool {
    let say = |path, error: &Error| match error {
        // A file here: what was done with it says which.
        Error::Io { doing, source } => failed(format_args!("{doing}: {}", plain(source))),
        error => failed(format_args!("{}: {}", name(path), reason(error))),
    };
    match outcome {
        Ok(summary) => {
            summary.failures.iter().for_each(|one| say(&one.remote, &one.error));
            summary.failures.is_empty()
        }
        Err(error) => {
            say(path, &error);
            false
        }
    }
}

pub(crate) fn get(links: &mut Links, source: &Remote, target: &Path, several: bool) -> Outcome<bool> {
    let sftp = links.sftp(source)?;
    let paths = expanded(&sftp, &prepared(&sftp, &source.path)?)?;
    let mut into = target.is_dir();
    if (several || paths.len() > 1) && !into {
        if target.exists() {
            return no(format_args!("{}: Not a directory", target.display()));
        }
        if paths.len() > 1 {
            std::fs::create_dir(target)
                .map_err(|error| format!("local mkdir \"{}\": {}", target.display(), plain(&error)))?;
            into = true;
        } else {
            return no(format_args!("{}: No such file or directory", target.display()));
        }
    }
    let mut good = true;
    for path in paths {
        let attributes = match sftp.stat(&path) {
            Ok(attributes) => attributes,
            Err(error) => {
                good = no(format_args!("{}: {}", shown(&path), reason(&error)))?;
                continue;
            }
        };
        if attributes.is_dir() && !links.settings.recursive {
            good = no(format_args!("download {}: not a regular file", shown(&path)))?;
            continue;
        }
        let name = last(&path);
        let local = match name {
            b"." | b".." | b"" => target.to_owned(),
            name if into => target.join(os(name)),
            _ => target.to_owned(),
        };
        let mut bar = None;
        let moved = transfer(links, &sftp, &mut bar).on_error(|_| true).get(&path, &local);
        good &= told(moved, &shown(&path), ToString::to_string);
    }
    Ok(good)
}

pub(crate) fn put(links: &mut Links, sources: &[PathBuf], target: &Remote, several: bool) -> Outcome<bool> {
    for path in sources {
        if let Err(error) = path.metadata() {
            return Err(NoConnection::fatal(format!("stat local \"{}\": {}", path.display(), plain(&error))));
        }
    }
    let sftp = links.sftp(target)?;
    let place = prepared(&sftp, &target.path)?;
    let mut into = sftp.is_dir(&place)?;
    if several && !into {
        if let Err(error) = sftp.mkdir(&place, 0o777) {
            return no(format_args!("{}: {}", shown(&place), reason(&error)));
        }
        into = true;
    }
    let mut good = true;
    for path in sources {
        if path.is_dir() && !links.settings.recursive {
            good = no(format_args!("local \"{}\" is not a regular file", path.display()))?;
            continue;
        }
        let to = match path.file_name() {
            Some(name) if into => shown(&place).join(name.as_encoded_bytes()),
            _ => shown(&place),
        };
        let mut bar = None;
        let moved = transfer(links, &sftp, &mut bar).on_error(|_| true).put(path, &to);
        if !told(moved, &to, |remote| format!("dest open \"{remote}\"")) {
            let what = if path.is_dir() { "directory" } else { "file" };
            good = no(format_args!("failed to upload {what} {} to {to}", path.display()))?;
        }
    }
    Ok(good)
}

/// From one host to the other through this one.
pub(crate) fn through(links: &mut Links, source: &Remote, target: &Remote, several: bool) -> Outcome<bool> {
    let (from, to) = (links.sftp(source)?, links.sftp(target)?);
    let place = prepared(&to, &target.path)?;
    let into = to.is_dir(&place)?;
    let paths = expanded(&from, &prepared(&from, &source.path)?)?;
    if (several || paths.len() > 1) && !into {
        return no(format_args!("{}: destination is not a directory", shown(&place)));
    }
    let mut good = true;
    for path in paths {
        let name = last(&path);
        let under = into && !matches!(name, b"" | b"." | b"..");
        let to_path = if under { shown(&place).join(name).into_bytes() } else { place.clone() };
        let mut pass = Pass { links, from: &from, to: &to, good: true };
        pass.entry(&path, &to_path, 0)?;
        good &= pass.good;
    }
    Ok(good)
}

/// Files on their way through.
struct Pass<'a> {
    links: &'a Links,
    from: &'a SFTPClient,
    to: &'a SFTPClient,
    good: bool,
}

impl Pass<'_> {
    fn note(&mut self, path: &[u8], why: impl Display) {
        failed(format_args!("{}: {why}", shown(path)));
        self.good = false;
    }

    /// What leads to nothing of this file only is noted, what ends a connection is an error.
    fn entry(&mut self, path: &[u8], to: &[u8], depth: usize) -> Outcome<()> {
        let copied = match self.from.stat(path) {
            Ok(attributes) if !attributes.is_dir() => self.file(path, to, &attributes),
            Ok(_) if !self.links.settings.recursive => {
                self.note(path, "not a regular file");
                return Ok(());
            }
            Ok(_) if depth >= MAX_DEPTH => {
                self.note(path, "Maximum directory depth exceeded");
                return Ok(());
            }
            Ok(attributes) => return self.directory(path, to, &attributes, depth),
            Err(error) => Err(error),
        };
        match copied {
            Err(error @ Error::Sftp(_)) => self.note(path, reason(&error)),
            other => other?,
        }
        Ok(())
    }

    fn directory(
        &mut self,
        path: &[u8],
        to: &[u8],
        attributes: &SFTPAttributes,
        depth: usize,
    ) -> Outcome<()> {
        let mode = attributes.permissions().unwrap_or(0o777) & 0o777;
        if !self.to.is_dir(to)? {
            self.to.mkdir(to, mode | 0o700)?;
        }
        let mut seen = HashSet::new();
        for entry in self.from.listdir_iter(path)? {
            let name = entry?.name;
            let bytes = name.as_bytes();
            if bytes.is_empty() || bytes.contains(&b'/') || bytes.contains(&0) || !seen.insert(bytes.to_vec())
            {
                self.note(path, format_args!("a name that cannot be: \"{name}\""));
                continue;
            }
            if bytes != b"." && bytes != b".." {
                self.entry(shown(path).join(bytes).as_bytes(), shown(to).join(bytes).as_bytes(), depth + 1)?;
            }
        }
        let mut kept = SFTPAttributes::new().with_mode(mode);
        if self.links.settings.preserve {
            kept.times = attributes.times;
        }
        if self.links.settings.preserve || mode | 0o700 != mode {
            self.to.setstat(to, &kept)?;
        }
        Ok(())
    }

    fn file(&mut self, path: &[u8], to: &[u8], attributes: &SFTPAttributes) -> Result<(), Error> {
        let mode = attributes.permissions().unwrap_or(0o666) & 0o777;
        let mut source = self.from.open(path, "r")?;
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        let mut target = self.to.open_with(to, flags, &SFTPAttributes::new().with_mode(mode))?;
        source.prefetch(attributes.size)?;
        target.set_pipelined(true)?;
        let name = os(last(path)).to_string_lossy().into_owned();
        let mut bar = self.links.settings.shows().then(|| Progress::new(name, 0, attributes.size));
        let mut piece = vec![0; PIECE];
        let mut done = 0;
        let lost = |error: std::io::Error| error.downcast::<Error>().unwrap_or_else(|_| Error::Cancelled);
        loop {
            let count = source.read(&mut piece).map_err(lost)?;
            if count == 0 {
                break;
            }
            target.write_all(&piece[..count]).map_err(lost)?;
            done += count as u64;
            bar.iter_mut().for_each(|bar| bar.update(done));
        }
        if self.links.settings.preserve {
            let mut kept = SFTPAttributes::new().with_mode(mode);
            kept.times = attributes.times;
            target.flush().map_err(lost)?;
            target.setstat(&kept)?;
        }
        bar.into_iter().for_each(|bar| bar.finish(done));
        target.close()
    }
}
