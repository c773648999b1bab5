//! Reads that wait no longer than they are told, each with a time of its own.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::{Channel, ChannelStderr};
use crate::engine::Lane;

/// A stream whose reads can be given a time.
///
/// ```no_run
/// # fn example(channel: &feramiko::Channel) -> std::io::Result<()> {
/// use std::time::Duration;
/// use feramiko::TimedRead;
/// let mut piece = [0; 100];
/// let count = { channel }.read_within(&mut piece, Duration::from_secs(5))?;
/// # Ok(()) }
/// ```
pub trait TimedRead: Read {
    /// Reads as [`Read::read`] does, and waits no longer than `timeout`, whatever the stream's own timeout is.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](io::ErrorKind::TimedOut) when nothing came in time.
    fn read_within(&mut self, buf: &mut [u8], timeout: Duration) -> io::Result<usize>;
}

impl<T: TimedRead + ?Sized> TimedRead for &mut T {
    fn read_within(&mut self, buf: &mut [u8], timeout: Duration) -> io::Result<usize> {
        (**self).read_within(buf, timeout)
    }
}

impl Channel {
    fn read_lane_within(&self, lane: Lane, buf: &mut [u8], timeout: Duration) -> io::Result<usize> {
        // Beyond the end of time: as long as it takes.
        Ok(self.link().read(lane, buf, Instant::now().checked_add(timeout))?)
    }
}

impl TimedRead for &Channel {
    fn read_within(&mut self, buf: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.read_lane_within(Lane::Data, buf, timeout)
    }
}

impl TimedRead for Channel {
    fn read_within(&mut self, buf: &mut [u8], timeout: Duration) -> io::Result<usize> {
        (&*self).read_within(buf, timeout)
    }
}

impl TimedRead for ChannelStderr {
    fn read_within(&mut self, buf: &mut [u8], timeout: Duration) -> io::Result<usize> {
        self.0.read_lane_within(Lane::Stderr, buf, timeout)
    }
}
