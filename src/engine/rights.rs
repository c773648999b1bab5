//! What is done with the rights of another user than the one who runs us: on a thread that takes them and ends,
//! since only a thread can take them and nobody has them any more when it has ended.

use std::io;

use super::spawn;
use crate::sys::user::{Account, take_rights_of};

/// Runs something with the rights of a user; with our own, where none is named or the user is ours.
pub(crate) fn with_rights_of<T: Send + 'static>(
    account: Option<&Account>,
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let Some(user) = account.filter(|account| !account.is_current()).cloned() else { return run() };
    let (sender, result) = crossbeam_channel::bounded(1);
    spawn("feramiko as a user", move || {
        // Whoever asked waits until this has ended.
        let _ = sender.send(take_rights_of(&user).and_then(|()| run()));
    })?;
    result.recv().unwrap_or_else(|_| Err(io::Error::other("the thread of a user panicked")))
}
