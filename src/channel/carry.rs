//! A channel as the stream of another connection: SSH through SSH.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::Channel;
use crate::engine::{ChannelLink, Closer, Halves, Lane, ReadHalf, Stream, WriteHalf};

struct Half(ChannelLink);
struct ChannelCloser(ChannelLink);

impl Closer for ChannelCloser {
    fn close(&self) {
        self.0.close();
    }
}

impl ReadHalf for Half {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        Ok(self.0.read(Lane::Data, buf, deadline)?)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.readiness().0 {
            Ok(self.0.read(Lane::Data, buf, None)?)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }
}

impl WriteHalf for Half {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.0.readiness().2 {
            Ok(self.0.write(Lane::Data, buf, None)?)
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        Ok(self.0.wait_writable(deadline)?)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.0.send_eof();
        Ok(())
    }
}

impl Stream for Channel {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let link = self.link().clone();
        Ok(Halves {
            read: Box::new(Half(link.clone())),
            write: Box::new(Half(link.clone())),
            closer: Arc::new(ChannelCloser(link)),
            peer: format!("channel {}", self.id()),
        })
    }
}
