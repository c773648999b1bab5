//! Whose thread seals and writes. The engine of these tests has no writer: what is left to one does not leave.

use std::sync::Arc;

use super::soon;
use super::still::Still;
use crate::engine::{ChannelLink, Lane, Link};
use crate::kex::Role;

/// What is kept of the memory that the sealed bytes were in.
const KEPT: usize = 8 * 1024;

/// An engine with a channel to a peer that takes so many bytes.
fn channel(window: u32) -> (Still, ChannelLink) {
    let still = Still::new(Role::Server);
    let link = Link::new(Arc::clone(&still.core));
    let channel = still.accepted(&link, window);
    (still, channel)
}

/// Writes so many bytes in one call: how many are taken, and how many leave at once.
fn written(still: &Still, channel: &ChannelLink, bytes: usize) -> (usize, usize) {
    let before = still.bytes_sent();
    let taken = channel.write(Lane::Data, &vec![7; bytes], soon()).unwrap();
    (taken, still.bytes_sent() - before)
}

#[test]
fn little_leaves_at_once_and_much_is_left_to_the_writer() {
    let (still, channel) = channel(1 << 20);
    for bytes in [1, 5000, 60_000] {
        let (taken, sent) = written(&still, &channel, bytes);
        assert_eq!(taken, bytes);
        assert!((bytes..bytes + 200).contains(&sent), "{bytes}: {sent}");
        assert!(still.core.outbox.held() <= KEPT);
    }
    assert_eq!(written(&still, &channel, 100_000), (100_000, 0));
}

#[test]
fn whoever_uses_up_the_window_writes_himself_as_much_as_a_batch() {
    for window in [100_000, 190_000] {
        let (still, channel) = channel(window);
        let (taken, sent) = written(&still, &channel, 300_000);
        assert_eq!(taken, window as usize);
        assert!((taken..taken + 2000).contains(&sent), "{window}: {sent}");
        assert!(still.core.outbox.held() <= KEPT);
    }
}
