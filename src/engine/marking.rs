//! How a connection's packets ask to be treated on their way: as those of somebody who waits for them while any of
//! its sessions has a terminal, and otherwise. Knows the number of terminals, nothing of channels.
//!
//! Threads change the number and mark without a lock between them: a stream of a user's own is called.

use std::sync::atomic::Ordering;

use super::stream::Closer;
use super::sync::AtomicU32;
use crate::sys::traffic::TrafficClasses;

#[derive(Debug)]
pub(super) struct Marking {
    classes: TrafficClasses,
    pub(super) terminals: AtomicU32,
}

impl Marking {
    pub(super) fn new(classes: TrafficClasses) -> Self {
        Self { classes, terminals: AtomicU32::new(0) }
    }

    fn of(&self, terminals: u32) -> Option<u8> {
        if terminals > 0 { self.classes.interactive } else { self.classes.bulk }
    }

    /// The login is over. Where nothing is asked for nothing is written.
    pub(super) fn begin(&self, stream: &dyn Closer) {
        self.mark(stream, None);
    }

    pub(super) fn one_more(&self, stream: &dyn Closer) {
        let before = self.terminals.fetch_add(1, Ordering::SeqCst);
        self.mark(stream, self.of(before));
    }

    /// Called once for each that was told.
    pub(super) fn one_less(&self, stream: &dyn Closer) {
        let before = self.terminals.fetch_sub(1, Ordering::SeqCst);
        self.mark(stream, self.of(before));
    }

    fn mark(&self, stream: &dyn Closer, mut marked: Option<u8>) {
        loop {
            let class = self.of(self.terminals.load(Ordering::SeqCst));
            if class == marked {
                return;
            }
            // A wish that the network may hear or not: that the system refuses it ends nothing.
            if let Err(error) = stream.set_traffic_class(class) {
                log::debug!(target: "feramiko::transport", "marking the packets: {error}");
            }
            // Another thread may have marked meanwhile, for a number that is over: whoever is last looks again.
            marked = class;
        }
    }
}
