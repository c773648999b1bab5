//! Waiting on many channels at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Channel;
use crate::engine::{Signal, Watch};

/// What a channel is ready for. The end of a stream and a closed channel are readable and writable:
/// the call will not wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Ready {
    /// Reading the channel returns at once.
    pub readable: bool,
    /// Reading its standard error returns at once.
    pub stderr_readable: bool,
    /// Writing takes at least a byte at once, or fails.
    pub writable: bool,
}

/// Waits on many channels and wakers at once; levels, not edges.
///
/// ```no_run
/// # fn example(client: &feramiko::SSHClient) -> feramiko::Result<()> {
/// let (one, two) = (client.open_session()?, client.open_session()?);
/// one.exec_command("make")?;
/// two.exec_command("tail -f log")?;
/// let mut poll = feramiko::Poll::new();
/// poll.add(&one);
/// poll.add(&two);
/// for (channel, ready) in poll.readable(None) {
///     println!("channel {} has something: {}", channel.id(), ready.readable);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct Poll {
    signal: Arc<Signal>,
    channels: Vec<(Channel, Watch)>,
    woken: Arc<AtomicBool>,
}

/// Wakes a [`Poll`] from another thread.
#[derive(Debug, Clone)]
pub struct Waker {
    signal: Arc<Signal>,
    woken: Arc<AtomicBool>,
}

impl Waker {
    /// The poll returns now, or at once the next time it waits.
    pub fn wake(&self) {
        self.woken.store(true, Ordering::SeqCst);
        self.signal.raise();
    }
}

impl Poll {
    /// Waits on nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits on this channel too.
    pub fn add(&mut self, channel: &Channel) {
        let watch = channel.link().watch(&self.signal);
        self.channels.push((channel.clone(), watch));
    }

    /// Waits on it no longer.
    pub fn remove(&mut self, channel: &Channel) {
        // Another connection's channel may have the same number.
        self.channels.retain(|(kept, _)| !Arc::ptr_eq(kept.link().slot(), channel.link().slot()));
    }

    /// What wakes this poll.
    #[must_use]
    pub fn waker(&self) -> Waker {
        Waker { signal: Arc::clone(&self.signal), woken: Arc::clone(&self.woken) }
    }

    /// Waits until a channel can be read, a waker was used or the time is over (then: none).
    pub fn readable(&self, timeout: Option<Duration>) -> Vec<(Channel, Ready)> {
        self.wait(timeout, |ready| ready.readable || ready.stderr_readable)
    }

    /// Waits until a channel can be read or written, a waker was used or the time is over.
    pub fn ready(&self, timeout: Option<Duration>) -> Vec<(Channel, Ready)> {
        self.wait(timeout, |ready| ready.readable || ready.stderr_readable || ready.writable)
    }

    fn wait(&self, timeout: Option<Duration>, wanted: impl Fn(&Ready) -> bool) -> Vec<(Channel, Ready)> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let found: Vec<_> = self
                .channels
                .iter()
                .map(|(channel, _)| {
                    let (readable, stderr_readable, writable) = channel.link().readiness();
                    (channel.clone(), Ready { readable, stderr_readable, writable })
                })
                .filter(|(_, ready)| wanted(ready))
                .collect();
            if !found.is_empty() || self.woken.swap(false, Ordering::SeqCst) || !self.signal.wait(deadline) {
                return found;
            }
        }
    }
}
