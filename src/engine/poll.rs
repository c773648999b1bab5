//! Waiting for any of many things: the signal that slots raise, and that a thread sleeps on.
//!
//! A level is looked at, never remembered: the signal only says that looking again is worth it.

use std::time::Instant;

use super::sync::{Condvar, Mutex};

/// Raised by whatever changes; slept on by one poller.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Something changed.
    pub(crate) fn raise(&self) {
        *self.raised.lock() = true;
        self.changed.notify_all();
    }

    /// Sleeps until something changed since the last call; false at the deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut raised = self.raised.lock();
        while !*raised {
            match deadline {
                None => self.changed.wait(&mut raised),
                Some(deadline) => {
                    if self.changed.wait_until(&mut raised, deadline).timed_out() {
                        return std::mem::take(&mut *raised);
                    }
                }
            }
        }
        *raised = false;
        true
    }
}
