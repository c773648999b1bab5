//! Who runs the program, and what the system knows of users.

use std::path::PathBuf;

use nix::unistd::{Uid, User};

/// A user of the system.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) home: PathBuf,
    pub(crate) shell: PathBuf,
}

/// The name of who runs the program.
pub(crate) fn current_name() -> Option<String> {
    current().map(|account| account.name)
}

/// Who runs the program.
pub(crate) fn current() -> Option<Account> {
    let user = User::from_uid(Uid::effective()).ok().flatten()?;
    Some(Account { name: user.name, home: user.dir, shell: user.shell })
}
