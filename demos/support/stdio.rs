//! The standard streams without std's buffers, which hold pieces back; whoever started the program may have
//! made them non-blocking, as rsync does with the output of its `ssh`: then what is not ready is waited for.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};

/// One of the standard streams.
#[derive(Debug)]
pub(crate) struct Stdio(File);

/// Standard input.
pub(crate) fn stdin() -> io::Result<Stdio> {
    of(io::stdin().as_fd())
}

/// Standard output.
pub(crate) fn stdout() -> io::Result<Stdio> {
    of(io::stdout().as_fd())
}

/// Standard error.
pub(crate) fn stderr() -> io::Result<Stdio> {
    of(io::stderr().as_fd())
}

fn of(stream: BorrowedFd<'_>) -> io::Result<Stdio> {
    Ok(Stdio(stream.try_clone_to_owned()?.into()))
}

impl Stdio {
    /// Repeats what is not possible yet, once it may be.
    fn when_ready<T>(
        &mut self,
        wanted: PollFlags,
        mut call: impl FnMut(&mut File) -> io::Result<T>,
    ) -> io::Result<T> {
        loop {
            match call(&mut self.0) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    match poll(&mut [PollFd::new(&self.0, wanted)], None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                done => return done,
            }
        }
    }
}

impl Read for Stdio {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.when_ready(PollFlags::IN, |stream| stream.read(buf))
    }
}

impl Write for Stdio {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.when_ready(PollFlags::OUT, |stream| stream.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard input and output as one stream.
#[derive(Debug)]
pub(crate) struct Both(Stdio, Stdio);

/// Standard input and output as one stream.
pub(crate) fn both() -> io::Result<Both> {
    Ok(Both(stdin()?, stdout()?))
}

impl Read for Both {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Both {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.1.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.1.flush()
    }
}
