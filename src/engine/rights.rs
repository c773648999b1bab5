//! What is done with the rights of another user than the one who runs us: on a thread that takes them and ends,
//! since only a thread can take them and nobody has them any more when it has ended.

use std::io;
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::spawn;
use crate::sys::user::{Account, take_rights_of};

/// The time for anything with a user's rights: more than a connect to a socket has. The file system of a user's
/// home may answer nobody any more; the thread stays with it, and whoever asked goes on.
const PATIENCE: Duration = Duration::from_secs(75);

/// Runs something with the rights of a user; with our own, where none is named or the user is ours.
pub(crate) fn with_rights_of<T: Send + 'static>(
    account: Option<&Account>,
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    with_rights_within(PATIENCE, account, run)
}

fn with_rights_within<T: Send + 'static>(
    time: Duration,
    account: Option<&Account>,
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let Some(user) = account.filter(|account| !account.is_current()).cloned() else { return run() };
    let name = user.name.clone();
    let (sender, result) = crossbeam_channel::bounded(1);
    spawn("feramiko as a user", move || {
        // Whoever asked may have gone on.
        let _ = sender.send(take_rights_of(&user).and_then(|()| run()));
    })?;
    result.recv_timeout(time).unwrap_or_else(|why| {
        Err(match why {
            RecvTimeoutError::Timeout => io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the system does not answer what is asked for {name}"),
            ),
            RecvTimeoutError::Disconnected => io::Error::other("the thread of a user panicked"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_ever_for_a_users_files() {
        let (Ok(me), Ok(Some(other))) = (Account::current(), Account::named("nobody")) else { return };
        assert_eq!(with_rights_of(Some(&me), || Ok(5)).unwrap(), 5);
        let (hold, held) = crossbeam_channel::bounded::<()>(0);
        let waits = move || Ok(held.recv().is_ok());
        let error = with_rights_within(Duration::from_millis(50), Some(&other), waits).unwrap_err();
        // Whoever is not root is refused at once.
        if me.uid == 0 {
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        }
        drop(hold);
    }
}
