//! Requests of ours, and who waits for their answers.

use crossbeam_channel::Sender;

/// The answer to a request of ours: the bytes after REQUEST_SUCCESS, or a refusal.
pub(super) type Answer = Result<Vec<u8>, ()>;

/// Who waits for the answer to a request of the connection.
pub(super) struct GlobalWaiter {
    pub(super) sender: Sender<Answer>,
    /// What a success switches on, before the next packet is looked at.
    pub(super) install: Option<Install>,
}

/// Runs where the connection is read: never waits, and is no user's.
pub(super) type Install = Box<dyn FnOnce(&[u8]) + Send>;

impl GlobalWaiter {
    /// Called where the connection is read.
    pub(super) fn answer(self, answer: Answer) {
        if let (Ok(rest), Some(install)) = (&answer, self.install) {
            install(rest);
        }
        // Who asked may have given up.
        let _ = self.sender.try_send(answer);
    }
}

/// A request that waits to leave.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) payload: Vec<u8>,
    pub(super) waiter: Option<Sender<Answer>>,
}
