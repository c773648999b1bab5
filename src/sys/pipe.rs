//! An end of a pipe that is read or written without waiting, and waited for until a bell rings.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::socket::{self, Bell};

/// Ends the waits for all the pipes that have it.
#[derive(Debug)]
pub(crate) struct Stop {
    stopped: AtomicBool,
    bell: Bell,
}

impl Stop {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { stopped: AtomicBool::new(false), bell: Bell::new()? }))
    }

    /// Whoever waits is told so, and so is whoever comes later. Idempotent.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.bell.ring();
    }
}

/// One end of a pipe that nobody else has: its flags are its own.
#[derive(Debug)]
pub(crate) struct Pipe {
    end: OwnedFd,
    stop: Arc<Stop>,
}

impl Pipe {
    pub(crate) fn new(end: OwnedFd, stop: &Arc<Stop>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&end, true)?;
        Ok(Self { end, stop: Arc::clone(stop) })
    }

    /// Reads what is there, or fails with `WouldBlock`; 0 is the end.
    pub(crate) fn read_now(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.stopped.load(Ordering::SeqCst) {
                return Ok(0);
            }
            match rustix::io::read(&self.end, &mut *buf) {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Reads what is there; waits for it, at most until `deadline`.
    pub(crate) fn read(&self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        loop {
            match self.read_now(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::IN, deadline)?;
                }
                other => return other,
            }
        }
    }

    /// Writes what fits, or fails with `WouldBlock`. A reader that is gone is an error: std has its programs ignore
    /// the signal.
    pub(crate) fn write_now(&self, buf: &[u8]) -> io::Result<usize> {
        loop {
            if self.stop.stopped.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            match rustix::io::write(&self.end, buf) {
                Err(Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Waits until the pipe takes bytes, at most until `deadline`.
    pub(crate) fn wait_writable(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.wait(PollFlags::OUT, deadline)
    }

    fn wait(&self, events: PollFlags, deadline: Option<Instant>) -> io::Result<()> {
        socket::wait_or_bell(self.end.as_fd(), events, &self.stop.bell, deadline)
    }
}

impl Write for &Pipe {
    /// Waits until the pipe takes some.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        loop {
            match self.write_now(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_writable(None)?,
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn pair(stop: &Arc<Stop>) -> (Pipe, Pipe) {
        let (read, write) = io::pipe().unwrap();
        (Pipe::new(read.into(), stop).unwrap(), Pipe::new(write.into(), stop).unwrap())
    }

    #[test]
    fn a_pipe_carries_waits_and_ends() {
        let stop = Stop::new().unwrap();
        let (read, write) = pair(&stop);
        let mut found = [0; 8];
        assert_eq!(read.read_now(&mut found).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(read.read(&mut found, Some(soon)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(write.write_now(b"abc").unwrap(), 3);
        assert_eq!(read.read(&mut found, None).unwrap(), 3);
        while write.write_now(&[0; 4096]).is_ok() {}
        assert_eq!(write.write_now(b"x").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let soon = Instant::now() + Duration::from_millis(20);
        assert_eq!(write.wait_writable(Some(soon)).unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(read);
        assert_eq!(write.write_now(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let (read, write) = pair(&stop);
        drop(write);
        assert_eq!(read.read(&mut found, None).unwrap(), 0);
    }

    #[test]
    fn a_bell_ends_waits_for_pipes_that_others_hold_too() {
        let stop = Stop::new().unwrap();
        let (read, write) = pair(&stop);
        let (full, _other) = pair(&stop);
        thread::scope(|scope| {
            let reading = scope.spawn(|| read.read(&mut [0; 8], None));
            while write.write_now(&[0; 4096]).is_ok() {}
            assert!(reading.join().unwrap().unwrap() > 0);
            let empty = scope.spawn(|| full.read(&mut [0; 8], None));
            let writing = scope.spawn(|| write.wait_writable(None));
            thread::sleep(Duration::from_millis(20));
            stop.stop();
            assert_eq!(empty.join().unwrap().unwrap(), 0);
            writing.join().unwrap().unwrap();
        });
        assert_eq!(write.write_now(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(read.read(&mut [0; 8], None).unwrap(), 0);
    }
}
