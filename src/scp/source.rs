//! The side that sends. It waits for the other side's word where the protocol has it wait; where the other
//! side is known to read on, what needs no word leaves with what does, so that a small file costs one wait.

use std::ffi::OsStr;
use std::io::{self, Read};

use super::local::{Place, to_bytes};
use super::options::{Meter, Options};
use super::peer::Peer;
use super::record::{Record, Times, name_is_good};
use crate::error::Result;
use crate::sftp::RemoteName;
use crate::sys::dir::stat_file;
use crate::sys::entry::{Kind, Stat, Time};

/// Directories in directories: OpenSSH's figure for SFTP, which ends what links lead round in circles.
const MAX_DEPTH: usize = 64;

pub(super) struct Source<'p, 's, 'o> {
    peer: &'p mut Peer<'s>,
    options: &'o Options,
    meter: Meter<'o>,
    /// Words of the other side that are still to come.
    owed: usize,
}

impl<'p, 's, 'o> Source<'p, 's, 'o> {
    /// Begins when the other side is ready.
    pub(super) fn start(peer: &'p mut Peer<'s>, options: &'o Options) -> Result<Self> {
        let meter = Meter::new(options);
        let mut this = Self { peer, options, meter, owed: 1 };
        if this.settle()? {
            return Ok(this);
        }
        // It has no place for anything.
        Err(crate::error::Error::Scp(std::mem::take(&mut this.peer.failed)))
    }

    /// Takes all words that are owed; whether the last one is good.
    fn settle(&mut self) -> Result<bool> {
        self.peer.send()?;
        let mut good = true;
        while self.owed > 0 {
            self.owed = self.owed.saturating_sub(1);
            good = self.peer.status()?;
        }
        Ok(good)
    }

    /// The same where nothing depends on them yet.
    fn settle_some(&mut self) -> Result<()> {
        if self.options.pipelined { Ok(()) } else { self.settle().map(|_| ()) }
    }

    fn say(&mut self, record: &Record) {
        self.peer.put(&record.encode());
        self.owed = self.owed.saturating_add(1);
    }

    /// Ends the copy.
    pub(super) fn finish(mut self) -> Result<()> {
        self.settle().map(|_| ())
    }

    fn refuse(&mut self, path: &[u8], error: &io::Error) -> Result<()> {
        self.settle()?;
        self.peer.refuse(path, error)
    }

    /// What a path could not even be looked up for.
    pub(super) fn missing(&mut self, path: &[u8], error: &io::Error) -> Result<()> {
        self.refuse(path, error)
    }

    /// Sends what has that name in a directory.
    pub(super) fn entry(&mut self, place: &Place, name: &OsStr, depth: usize) -> Result<()> {
        let path = place.path_of(name);
        let stat = match place.stat(name) {
            Ok(stat) => stat,
            Err(error) => return self.refuse(&path, &error),
        };
        let bytes = to_bytes(name);
        if !name_is_good(&bytes) {
            return self.refuse(&path, &invalid("the protocol has no way to send such a name"));
        }
        match stat.kind {
            Kind::File => match place.open_source(name) {
                Ok((mut file, stat)) => self.file(&mut file, &stat, bytes.into(), &path),
                Err(error) => self.refuse(&path, &error),
            },
            Kind::Directory if self.options.recursive && depth >= MAX_DEPTH => {
                self.refuse(&path, &invalid("maximum directory depth exceeded"))
            }
            Kind::Directory if self.options.recursive => match place.enter(name) {
                Ok(inner) => self.directory(&inner, &stat, bytes, depth),
                Err(error) => self.refuse(&path, &error),
            },
            Kind::Symlink => self.refuse(&path, &invalid("is a symbolic link, which is not followed")),
            _ => self.refuse(&path, &invalid("not a regular file")),
        }
    }

    fn directory(&mut self, inner: &Place, stat: &Stat, name: Vec<u8>, depth: usize) -> Result<()> {
        let entries = match inner.dir.entries() {
            Ok(entries) => entries,
            Err(error) => return self.refuse(&inner.shown, &error),
        };
        self.times(stat)?;
        self.say(&Record::Directory { mode: stat.mode, name });
        if !self.settle()? {
            return Ok(());
        }
        for entry in entries {
            match entry {
                Ok((name, _)) => self.entry(inner, &name, depth.saturating_add(1))?,
                Err(error) => {
                    self.refuse(&inner.shown, &error)?;
                    break;
                }
            }
        }
        self.say(&Record::End);
        self.settle_some()
    }

    fn times(&mut self, stat: &Stat) -> Result<()> {
        if !self.options.preserve {
            return Ok(());
        }
        let time = |time: Time| (time.seconds, time.nanoseconds / 1000);
        self.say(&Record::Times(Times { modified: time(stat.modified), accessed: time(stat.accessed) }));
        self.settle_some()
    }

    fn file(&mut self, file: &mut std::fs::File, stat: &Stat, name: RemoteName, path: &[u8]) -> Result<()> {
        self.times(stat)?;
        // It may have grown since.
        let size = stat_file(file).map_or(stat.size, |stat| stat.size);
        self.data(file, size, stat.mode, &name, path)
    }

    /// Sends `size` bytes as a file.
    pub(super) fn data(
        &mut self,
        from: &mut dyn Read,
        size: u64,
        mode: u32,
        name: &RemoteName,
        path: &[u8],
    ) -> Result<()> {
        self.say(&Record::File { mode, size, name: name.as_bytes().to_vec() });
        if !self.settle()? {
            return Ok(());
        }
        let (mut left, mut failed) = (size, None);
        self.meter.step(name, 0, size, 0);
        while left > 0 {
            let count = match self.peer.put_from(from, left) {
                Ok(0) => {
                    failed = Some(io::Error::new(io::ErrorKind::UnexpectedEof, "shorter than it was"));
                    break;
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
                Ok(count) => count,
            };
            left = left.saturating_sub(u64::try_from(count).unwrap_or(0));
            if self.peer.is_full() {
                self.peer.send()?;
            }
            self.meter.step(name, size.saturating_sub(left), size, count);
        }
        self.owed = self.owed.saturating_add(1);
        match failed {
            None => {
                self.peer.put(&[0]);
                self.settle_some()
            }
            Some(error) => {
                // The other side waits for as much as it was told.
                while left > 0 {
                    let count = self.peer.put_from(&mut io::repeat(0), left).unwrap_or(0);
                    left = left.saturating_sub(u64::try_from(count).unwrap_or(0));
                    self.peer.send()?;
                }
                self.peer.refuse(path, &error)?;
                self.settle().map(|_| ())
            }
        }
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
