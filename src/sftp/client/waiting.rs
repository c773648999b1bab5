//! Waits for the server, and whether they are to go on: a user may have had enough long before the request has.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::SFTPClient;
use super::exchange::Mailbox;
use crate::error::{Error, Result};

/// Whoever waits longer looks whether to go on.
pub(in crate::sftp) const LOOK_UP: Duration = Duration::from_millis(100);

/// Whether to go on; its error ends the wait.
pub(in crate::sftp) type GoOn<'a> = &'a mut dyn FnMut() -> Result<()>;

/// Says that what a client asks is given up.
#[derive(Clone)]
pub(super) struct CancelWhen(Arc<dyn Fn() -> bool + Send + Sync>);

impl fmt::Debug for CancelWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelWhen").finish_non_exhaustive()
    }
}

/// Attempts, by a deadline that is told, what goes on after a timeout where it was; asks `go_on` ten times a second.
pub(in crate::sftp) fn wait_while<T>(
    deadline: Option<Instant>,
    go_on: GoOn<'_>,
    mut attempt: impl FnMut(Option<Instant>) -> Result<T>,
) -> Result<T> {
    loop {
        let now = Instant::now();
        let until = [deadline, now.checked_add(LOOK_UP)].into_iter().flatten().min();
        match attempt(until) {
            // The stream may have timeouts of its own.
            Err(Error::Timeout(_)) if until != deadline && now.elapsed() >= LOOK_UP => go_on()?,
            outcome => return outcome,
        }
    }
}

impl SFTPClient {
    /// The same connection, where requests, and what is done with the files that are opened by it, are given up with
    /// [`Error::Cancelled`] when `cancel_when` says so. It is asked ten times a second while the server does not answer,
    /// on the thread that waits. Whether the server still acts on such a request is not known.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// # let sftp = feramiko::SSHClient::connect("build.example.org")?.open_sftp()?;
    /// let interrupted = Arc::new(AtomicBool::new(false));
    /// let seen = interrupted.clone();
    /// let sftp = sftp.cancel_when(move || seen.load(Ordering::Relaxed));
    /// let names = sftp.listdir("/srv")?;
    /// # Ok::<(), feramiko::Error>(())
    /// ```
    #[must_use]
    pub fn cancel_when(&self, cancel_when: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { shared: Arc::clone(&self.shared), cancel_when: Some(CancelWhen(Arc::new(cancel_when))) }
    }

    /// The same connection, given up as another one is, or not at all.
    pub(in crate::sftp) fn cancelled_as(&self, other: Option<&Self>) -> Self {
        let cancel_when = other.and_then(|other| other.cancel_when.clone());
        Self { shared: Arc::clone(&self.shared), cancel_when }
    }

    /// Whether what is asked is to go on.
    pub(in crate::sftp) fn go_on(&self) -> Result<()> {
        match &self.cancel_when {
            Some(CancelWhen(cancelled)) if cancelled() => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }

    /// Attempts, by a deadline that is told, what goes on after a timeout where it was.
    pub(super) fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(Option<Instant>) -> Result<T>,
    ) -> Result<T> {
        match self.cancel_when {
            None => attempt(deadline),
            Some(_) => wait_while(deadline, &mut || self.go_on(), attempt),
        }
    }

    /// Queues a framed request; the answer, of at most `expected` bytes, comes under `tag`.
    pub(super) fn post(
        &self,
        mailbox: &Mailbox,
        mut packet: Vec<u8>,
        (expected, tag): (usize, u64),
        deadline: Option<Instant>,
    ) -> Result<()> {
        self.wait(deadline, |until| mailbox.post(&mut packet, expected, tag, until))
    }
}
