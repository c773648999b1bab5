//! The sessions that run, counted: whoever ends a server, and perhaps the process with it, waits until what they
//! have started and made is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// The time that sessions have for their ends: a program that is hung up is killed after five seconds.
const LAST: Duration = Duration::from_secs(6);

/// The sessions of one server, or of one connection.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// How many run. Taken by who begins and ends one, and by who waits.
    running: Mutex<usize>,
    ended: Condvar,
}

impl Sessions {
    /// One more runs, until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> RunningSession {
        let mut running = self.running.lock();
        *running = running.saturating_add(1);
        RunningSession(Arc::clone(self))
    }

    /// Waits for the ends of sessions whose connections have ended. What an application does for longer is its
    /// own affair.
    pub(super) fn wait(&self) {
        let deadline = Instant::now().checked_add(LAST);
        let mut running = self.running.lock();
        while *running > 0 {
            if deadline.is_none_or(|until| self.ended.wait_until(&mut running, until).timed_out()) {
                return;
            }
        }
    }
}

/// A session that runs.
#[derive(Debug)]
pub(super) struct RunningSession(Arc<Sessions>);

impl Drop for RunningSession {
    fn drop(&mut self) {
        let mut running = self.0.running.lock();
        *running = running.saturating_sub(1);
        drop(running);
        self.0.ended.notify_all();
    }
}
