//! Giving up a connect from another thread.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use crate::engine::{Closer, Halves, Stream};

/// Ends connects that are under way, from another thread. Clones are the same token; it can serve
/// several connects and stays cancelled. A connection that stands is ended by its `close`.
///
/// ```
/// use feramiko::{Cancel, Error, SSHClient};
/// let cancel = Cancel::new();
/// cancel.cancel();
/// let result = SSHClient::builder().cancel(&cancel).connect("192.0.2.1");
/// assert!(matches!(result, Err(Error::Cancelled)));
/// ```
#[derive(Debug, Clone)]
pub struct Cancel(Arc<State>);

#[derive(Debug)]
struct State {
    /// Taken for a few instructions by whoever cancels, and by connects.
    active: Mutex<Active>,
    /// Disconnected when cancelled.
    told: Receiver<()>,
}

#[derive(Debug)]
struct Active {
    /// None once cancelled.
    tell: Option<Sender<()>>,
    closers: Vec<Arc<dyn Closer>>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl Cancel {
    /// A token that nobody has used.
    #[must_use]
    pub fn new() -> Self {
        let (tell, told) = crossbeam_channel::bounded(0);
        Self(Arc::new(State { active: Mutex::new(Active { tell: Some(tell), closers: Vec::new() }), told }))
    }

    /// Ends the connects that use the token, now and later, with [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn cancel(&self) {
        let closers = {
            let mut active = self.0.active.lock();
            active.tell = None;
            std::mem::take(&mut active.closers)
        };
        for closer in closers {
            closer.close();
        }
    }

    /// Whether it was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.active.lock().tell.is_none()
    }

    /// Becomes ready (as disconnected) when cancelled.
    pub(super) fn told(&self) -> &Receiver<()> {
        &self.0.told
    }

    /// Has `closer` closed when cancelled, until the guard is dropped.
    pub(super) fn watch(&self, closer: Arc<dyn Closer>) -> Watch<'_> {
        let mut active = self.0.active.lock();
        if active.tell.is_some() {
            active.closers.push(Arc::clone(&closer));
        } else {
            drop(active);
            closer.close();
        }
        Watch { cancel: self, closer }
    }
}

/// A closer that the token knows.
pub(super) struct Watch<'a> {
    cancel: &'a Cancel,
    closer: Arc<dyn Closer>,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.cancel.0.active.lock().closers.retain(|known| !Arc::ptr_eq(known, &self.closer));
    }
}

/// Halves that were split off already, so that what ends them is known before they are used.
pub(super) struct Ready(pub(super) Halves);

impl Stream for Ready {
    fn split(self: Box<Self>) -> std::io::Result<Halves> {
        Ok(self.0)
    }
}
