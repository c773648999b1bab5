//! The streams that this process was started with, without std's buffers and locks.
//!
//! Whoever shares one may have made it non-blocking for all, as rsync does with its programs': a call waits
//! nevertheless.

use std::fs::File;
use std::io::{self, Read, Write};

#[cfg(unix)]
use std::os::fd::AsFd as AsOwned;
#[cfg(windows)]
use std::os::windows::io::AsHandle as AsOwned;

/// A standard stream, as a descriptor of its own.
#[derive(Debug)]
pub(crate) struct Standard(File);

impl Standard {
    /// Standard input.
    pub(crate) fn input() -> io::Result<Self> {
        duplicate(&io::stdin())
    }

    /// Standard output.
    pub(crate) fn output() -> io::Result<Self> {
        duplicate(&io::stdout())
    }

    /// Standard error.
    pub(crate) fn error() -> io::Result<Self> {
        duplicate(&io::stderr())
    }
}

#[cfg(unix)]
fn duplicate(stream: &impl AsOwned) -> io::Result<Standard> {
    Ok(Standard(stream.as_fd().try_clone_to_owned()?.into()))
}

#[cfg(windows)]
fn duplicate(stream: &impl AsOwned) -> io::Result<Standard> {
    Ok(Standard(stream.as_handle().try_clone_to_owned()?.into()))
}

/// Which call is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

/// Waits until a call does not have to.
#[cfg(unix)]
fn wait(file: &File, way: Way) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};

    let events = match way {
        Way::Read => PollFlags::IN,
        Way::Write => PollFlags::OUT,
    };
    match poll(&mut [PollFd::new(file, events)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Nothing else waits here.
#[cfg(windows)]
fn wait(_: &File, _: Way) -> io::Result<()> {
    Err(io::ErrorKind::WouldBlock.into())
}

impl Read for Standard {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(&self.0, Way::Read)?,
                read => return read,
            }
        }
    }
}

impl Write for Standard {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(&self.0, Way::Write)?,
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    /// More than a pipe holds.
    const MUCH: usize = 1_000_000;

    #[test]
    fn streams_that_do_not_wait_are_waited_for() {
        let (reader, writer) = io::pipe().unwrap();
        for end in [OwnedFd::from(reader.try_clone().unwrap()), OwnedFd::from(writer.try_clone().unwrap())] {
            rustix::io::ioctl_fionbio(&end, true).unwrap();
        }
        let (mut from, mut to) =
            (Standard(OwnedFd::from(reader).into()), Standard(OwnedFd::from(writer).into()));
        std::thread::scope(|scope| {
            scope.spawn(move || to.write_all(&vec![3; MUCH]).unwrap());
            let mut all = Vec::new();
            from.read_to_end(&mut all).unwrap();
            assert_eq!(all.len(), MUCH);
        });
    }
}
