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
    relay_within(channel, stream, REST)
}

fn relay_within(channel: &Channel, stream: Halves, patience: Duration) -> io::Result<()> {
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
        let _ = rest.recv_timeout(patience);
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::engine::{Bare, MemoryStream};
    use crate::kex::Role;
    use crate::msg::connection::{ChannelClose, ChannelData, ChannelOpenConfirmation};
    use crate::wire::{Encode, Rest};

    const DATA: [u8; 1000] = [7; 1000];

    /// A channel on which the peer has said all.
    fn closed() -> (Bare, Channel) {
        let bare = Bare::new(Role::Client).unwrap();
        let channel = Channel::new(bare.open("x11").unwrap());
        let recipient = channel.id();
        let (window, max_packet) = (1 << 20, 1 << 15);
        let confirmation =
            ChannelOpenConfirmation { recipient, sender: 0, window, max_packet, rest: Rest(b"") };
        bare.feed(&confirmation.to_vec());
        bare.feed(&ChannelData { recipient, data: &DATA }.to_vec());
        bare.feed(&ChannelClose { recipient }.to_vec());
        (bare, channel)
    }

    #[test]
    fn what_came_before_the_end_arrives() {
        let (_bare, channel) = closed();
        let (near, far) = MemoryStream::pair(1 << 16);
        let begun = Instant::now();
        relay(&channel, Box::new(near).split().unwrap()).unwrap();
        assert!(begun.elapsed() < REST);
        let mut got = [0; DATA.len() + 1];
        let mut far = Box::new(far).split().unwrap();
        assert_eq!(far.read.read(&mut got, None).unwrap(), DATA.len());
        assert_eq!(far.read.read(&mut got, None).unwrap(), 0);
    }

    #[test]
    fn who_takes_nothing_keeps_no_thread() {
        let (_bare, channel) = closed();
        let (near, _far) = MemoryStream::pair(1);
        let begun = Instant::now();
        let patience = Duration::from_millis(50);
        relay_within(&channel, Box::new(near).split().unwrap(), patience).unwrap();
        assert!((patience..REST).contains(&begun.elapsed()));
    }
}
