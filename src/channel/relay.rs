//! Joins a channel and another stream: what comes on one leaves on the other, and the end of each direction
//! is passed on by itself.
//!
//! The caller's thread waits for the channel's end while two others copy.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::Channel;
use crate::engine::{Halves, ReadHalf, Stream, WriteHalf, spawn};

/// How much is copied at a time: half of the largest packet.
const PIECE: usize = 16 * 1024;

/// Time for whoever is at the other end of the stream to take what came before the channel's end. Who
/// takes nothing in that time keeps no thread.
const REST: Duration = Duration::from_secs(10);

/// Closes the channel when both directions have let go of it.
struct Both(Channel);

impl Drop for Both {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Joins both until both directions have ended or one side has failed; both are closed then.
pub(crate) fn relay(channel: &Channel, stream: Halves) -> io::Result<()> {
    let Halves { mut read, mut write, closer, .. } = stream;
    let Halves { read: mut from_channel, write: mut to_channel, .. } = Box::new(channel.clone()).split()?;
    let both = Arc::new(Both(channel.clone()));
    let (copied, rest) = sync_channel::<()>(0);
    let (one, other) = (Arc::clone(&both), both);
    let out = spawn("feramiko relay", move || pump(&mut *read, &mut *to_channel, &one.0))?;
    let back = spawn("feramiko relay", move || {
        pump(&mut *from_channel, &mut *write, &other.0);
        drop(copied);
    });
    if back.is_ok() {
        channel.link().wait_closed();
        // Tells only by its end that all is copied.
        let _ = rest.recv_timeout(REST);
    }
    channel.close();
    closer.close();
    let panicked = out.join().is_err();
    if back?.join().is_err() || panicked {
        return Err(io::Error::other("a relay panicked"));
    }
    Ok(())
}

/// Copies until the end, which is passed on. A failure is the channel's end.
fn pump(from: &mut dyn ReadHalf, to: &mut dyn WriteHalf, channel: &Channel) {
    let mut piece = vec![0; PIECE];
    let mut copy = || -> io::Result<()> {
        loop {
            match from.read(&mut piece, None)? {
                0 => return to.shutdown(),
                count => to.write_all(piece.get(..count).unwrap_or_default(), None)?,
            }
        }
    };
    if let Err(error) = copy() {
        log::debug!(target: "feramiko::x11", "a relay ends: {error}");
        channel.close();
    }
}
