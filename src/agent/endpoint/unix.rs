//! A UNIX socket, with the deadlines that sockets have.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{Connection, Cutter, Endpoint, left};

#[derive(Debug)]
pub(super) struct Socket(pub(super) PathBuf);

impl Endpoint for Socket {
    fn connect(&self, timeout: Duration) -> io::Result<Box<dyn Connection>> {
        Ok(Box::new(crate::sys::socket::connect_unix(&self.0, timeout)?))
    }
}

impl Connection for UnixStream {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        self.set_read_timeout(left(deadline)?)?;
        Read::read(self, buf)
    }

    fn write(&mut self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        self.set_write_timeout(left(deadline)?)?;
        Write::write(self, bytes)
    }

    fn cutter(&self) -> Option<Cutter> {
        let there = self.try_clone().ok()?;
        // One that is closed already needs no cutting.
        Some(Box::new(move || drop(there.shutdown(Shutdown::Both))))
    }
}
