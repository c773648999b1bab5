//! The side that receives. What the other side names is checked before anything is done with it: a name
//! is one component, was asked for, comes once, and stays in directories that are held open.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::ffi::OsString;
use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, Write};

use super::expected::Expected;
use super::local::{Place, to_os};
use super::options::{Meter, Options};
use super::peer::Peer;
use super::record::{Record, Times};
use crate::error::{Error, Result};
use crate::sftp::RemoteName;
use crate::sys::dir::{set_file_permissions, set_file_times};
use crate::sys::entry::{Kind, Stat, Time};
use crate::wire::Escaped;

/// Directories in directories: OpenSSH's figure for SFTP.
const MAX_DEPTH: usize = 64;
/// What is read on of a file that can no longer be written. Beyond it the copy is given up: reading a
/// disk's worth for nothing helps nobody.
const READ_ON: u64 = 16 * 1024 * 1024;

/// Where what comes goes.
pub(super) enum Target<'a> {
    /// Into a directory, under the names it comes with.
    Into(Place),
    /// To one name in a directory, whatever it comes as.
    As(Place, OsString),
    /// One file's data.
    Writer(&'a mut dyn Write),
}

pub(super) struct Sink<'p, 's, 'o> {
    peer: &'p mut Peer<'s>,
    options: &'o Options,
    expected: &'o Expected,
    meter: Meter<'o>,
    entries: u64,
    hashes: RandomState,
}

/// A directory's, or the copy's, state.
struct Level {
    depth: usize,
    /// Hashes of the names that came.
    seen: HashSet<u64>,
    times: Option<Times>,
}

/// A file as it comes.
struct Incoming {
    mode: u32,
    size: u64,
    name: RemoteName,
    times: Option<Times>,
}

impl<'p, 's, 'o> Sink<'p, 's, 'o> {
    pub(super) fn new(peer: &'p mut Peer<'s>, options: &'o Options, expected: &'o Expected) -> Self {
        let (meter, hashes) = (Meter::new(options), RandomState::new());
        Self { peer, options, expected, meter, entries: 0, hashes }
    }

    /// Receives until the other side ends; whether anything came.
    pub(super) fn receive(&mut self, target: Target<'_>) -> Result<bool> {
        self.peer.accept()?;
        let top = matches!(target, Target::As(..) | Target::Writer(_));
        self.level(target, 0, top)?;
        Ok(self.entries > 0)
    }

    /// Receives what lies in one directory. With `alone`, one thing only.
    fn level(&mut self, mut target: Target<'_>, depth: usize, alone: bool) -> Result<()> {
        let mut level = Level { depth, seen: HashSet::new(), times: None };
        loop {
            let Some(line) = self.peer.line()? else {
                return if depth == 0 { Ok(()) } else { Err(self.peer.violated("a directory without end")) };
            };
            let record = match Record::parse(&line) {
                Ok(record) => record,
                Err(bad) => return Err(self.peer.violated(&format!("{bad}: \"{}\"", Escaped(&line)))),
            };
            match record {
                Record::Warning(text) => self.peer.warned(&text)?,
                Record::Fatal(text) => return Err(self.peer.given_up(&text)),
                Record::End if depth == 0 => return Err(self.peer.violated("the end of no directory")),
                Record::End => return self.peer.accept(),
                Record::Times(times) => {
                    // Those that nobody wanted are of no use.
                    level.times = self.options.preserve.then_some(times);
                    self.peer.accept()?;
                }
                Record::File { mode, size, name } => {
                    self.check(&mut level, &name, alone)?;
                    let times = level.times.take();
                    self.file(&mut target, Incoming { mode, size, name: name.into(), times })?;
                }
                Record::Directory { mode, name } => {
                    self.check(&mut level, &name, alone)?;
                    let times = level.times.take();
                    self.directory(&target, mode, &name, times, depth)?;
                }
            }
        }
    }

    /// Whether that name may come here and now.
    fn check(&mut self, level: &mut Level, name: &[u8], alone: bool) -> Result<()> {
        let shown = Escaped(name);
        if level.depth == 0 && !self.expected.admits(name) {
            return Err(self.peer.violated(&format!("\"{shown}\", which was not asked for")));
        }
        if !level.seen.insert(self.hashes.hash_one(name)) {
            return Err(self.peer.violated(&format!("\"{shown}\" a second time")));
        }
        if alone && level.seen.len() > 1 {
            return Err(self.peer.violated(&format!("\"{shown}\" where one file was asked for")));
        }
        self.entries = self.entries.saturating_add(1);
        if self.entries > self.options.max_entries {
            let limit = self.options.max_entries;
            return Err(Error::Limit { which: "files of an SCP copy", limit });
        }
        Ok(())
    }

    fn directory(
        &mut self,
        target: &Target<'_>,
        mode: u32,
        name: &[u8],
        times: Option<Times>,
        depth: usize,
    ) -> Result<()> {
        if !self.options.recursive {
            return Err(self.peer.violated("a directory, which was not asked for"));
        }
        let depth = depth.saturating_add(1);
        if depth > MAX_DEPTH {
            return Err(self.peer.violated("directories that are too deep"));
        }
        let (place, name) = match target {
            Target::Into(place) => (place, to_os(name)),
            Target::As(place, name) => (place, Ok(name.clone())),
            Target::Writer(_) => return Err(self.peer.violated("a directory, which was not asked for")),
        };
        let name = match name {
            Ok(name) => name,
            Err(error) => return self.peer.refuse(&place.shown, &error),
        };
        let (inner, made) = match make(place, &name, mode) {
            Ok(opened) => opened,
            Err(error) => return self.peer.refuse(&place.path_of(&name), &error),
        };
        let path = inner.shown.clone();
        self.peer.accept()?;
        self.level(Target::Into(inner), depth, false)?;
        // A group that directories inherit stays.
        let kept = if self.options.preserve { Some(mode) } else { made.map(|made| made & (mode | 0o7000)) };
        let finished = match times {
            Some(times) => place.dir.set_times(&name, stamps(&times), place.follow),
            None => Ok(()),
        }
        .and_then(|()| match kept {
            Some(mode) => {
                let stat = place.stat(&name)?;
                let mode = if self.options.preserve { allowed(mode, &stat) } else { mode };
                if mode == stat.mode & 0o7777 { Ok(()) } else { place.dir.set_permissions(&name, mode) }
            }
            None => Ok(()),
        });
        // Its end was accepted: the other side waits for nothing.
        if let Err(error) = finished {
            self.peer.failed.ours(&path, &error);
        }
        Ok(())
    }

    fn file(&mut self, target: &mut Target<'_>, incoming: Incoming) -> Result<()> {
        let (place, name) = match target {
            Target::Into(place) => (place, to_os(incoming.name.as_bytes())),
            Target::As(place, name) => (place, Ok(name.clone())),
            Target::Writer(writer) => return self.stream(&mut **writer, &incoming),
        };
        let name = match name {
            Ok(name) => name,
            Err(error) => return self.peer.refuse(incoming.name.as_bytes(), &error),
        };
        let path = place.path_of(&name);
        let (file, before, made) = match place.open_target(&name, (incoming.mode & 0o777) | 0o200) {
            Ok(opened) => opened,
            Err(error) => return self.peer.refuse(&path, &error),
        };
        self.peer.accept()?;
        let (written, failed) = match self.copy(&mut &file, &incoming, &path) {
            Ok(copied) => copied,
            Err((written, error)) => {
                // What is left of an older file must not pass for the end of this one.
                if before.kind == Kind::File {
                    let _ = file.set_len(written);
                }
                return Err(error);
            }
        };
        let cut = if before.kind == Kind::File { file.set_len(written) } else { Ok(()) };
        self.peer.status()?;
        let finished = match failed {
            Some(error) => Err(error),
            None => cut.and_then(|()| self.finish(&file, &before, made, &incoming)),
        };
        match finished {
            Ok(()) => self.peer.accept(),
            Err(error) => self.peer.refuse(&path, &error),
        }
    }

    /// The data of one file to whoever wants it.
    fn stream(&mut self, mut writer: &mut dyn Write, incoming: &Incoming) -> Result<()> {
        self.peer.accept()?;
        let (_, failed) =
            self.copy(&mut writer, incoming, incoming.name.as_bytes()).map_err(|(_, error)| error)?;
        if let Some(error) = failed {
            return Err(self.peer.give_up(incoming.name.as_bytes(), &error));
        }
        self.peer.status()?;
        self.peer.accept()
    }

    /// Copies a file's data: how much was written, and why not the rest. What ends the copy is an error.
    #[allow(clippy::type_complexity, reason = "how far it came belongs to either outcome")]
    fn copy(
        &mut self,
        to: &mut dyn Write,
        incoming: &Incoming,
        path: &[u8],
    ) -> std::result::Result<(u64, Option<io::Error>), (u64, Error)> {
        let (mut left, mut written, mut failed) = (incoming.size, 0_u64, None);
        self.meter.step(&incoming.name, 0, incoming.size, 0);
        while left > 0 {
            let piece = self.peer.data(left).map_err(|error| (written, error))?;
            let count = piece.len();
            if failed.is_none() {
                match to.write_all(piece) {
                    Ok(()) => written = written.saturating_add(u64::try_from(count).unwrap_or(0)),
                    Err(error) => failed = Some(error),
                }
            }
            left = left.saturating_sub(u64::try_from(count).unwrap_or(0));
            if let Some(error) = failed.as_ref().filter(|_| left > READ_ON) {
                return Err((written, self.peer.give_up(path, error)));
            }
            self.meter.step(&incoming.name, incoming.size.saturating_sub(left), incoming.size, count);
        }
        Ok((written, failed))
    }

    /// What a file has besides its data.
    fn finish(&self, file: &File, before: &Stat, made: bool, incoming: &Incoming) -> io::Result<()> {
        if before.kind != Kind::File {
            return Ok(());
        }
        if let Some(times) = &incoming.times {
            set_file_times(file, stamps(times))?;
        }
        let there = before.mode & 0o7777;
        let mode = match (self.options.preserve, made) {
            (true, _) => allowed(incoming.mode, before),
            (false, true) => there & incoming.mode,
            (false, false) => return Ok(()),
        };
        if mode == there { Ok(()) } else { set_file_permissions(file, mode) }
    }
}

/// A directory of that name, made if it is not there, and the mode it was made with.
fn make(place: &Place, name: &std::ffi::OsStr, mode: u32) -> io::Result<(Place, Option<u32>)> {
    // Whatever its mode is in the end, it must be written into before.
    let made = match place.dir.create_dir(name, (mode & 0o777) | 0o700) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    let mut inner = place.enter(name)?;
    // The user named this one, the other side what is in it.
    inner.follow = false;
    let mode = if made { Some(place.stat(name)?.mode & 0o7777) } else { None };
    Ok((inner, mode))
}

/// Of a mode that is kept, the bits beyond 0777 only of files that are ours.
fn allowed(mode: u32, stat: &Stat) -> u32 {
    if ours(stat) { mode & 0o7777 } else { mode & 0o777 }
}

#[cfg(unix)]
fn ours(stat: &Stat) -> bool {
    stat.owner.0 == crate::sys::user::current_uid()
}

#[cfg(not(unix))]
fn ours(_: &Stat) -> bool {
    false
}

fn stamps(times: &Times) -> (Time, Time) {
    let time = |(seconds, micros): (i64, u32)| Time { seconds, nanoseconds: micros.saturating_mul(1000) };
    (time(times.accessed), time(times.modified))
}
