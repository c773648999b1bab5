//! A channel's second stream.

use std::io::{self, Read, Write};

use super::Channel;
use crate::engine::Lane;

/// The standard error of a channel: read by clients, written by servers.
#[derive(Debug, Clone)]
pub struct ChannelStderr(pub(super) Channel);

impl ChannelStderr {
    pub(super) fn new(channel: Channel) -> Self {
        Self(channel)
    }
}

impl Read for &ChannelStderr {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read_lane(Lane::Stderr, buf)
    }
}

impl Read for ChannelStderr {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for &ChannelStderr {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_lane(Lane::Stderr, buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush_lanes()
    }
}

impl Write for ChannelStderr {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}
