//! Accounts of this machine: who we are, and what the system knows of a name.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// An account: an entry of the system's user database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name it logs in with.
    pub(crate) name: String,
    /// The number of the user.
    pub(crate) uid: u32,
    /// The number of the group that the user belongs to first.
    pub(crate) gid: u32,
    /// The directory it starts in.
    pub(crate) home: PathBuf,
    /// The program it starts with.
    pub(crate) shell: PathBuf,
}

/// The number of the user we run as.
#[cfg(unix)]
pub(crate) fn current_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// POSIX: an entry without a shell means this one.
#[cfg(unix)]
const DEFAULT_SHELL: &str = "/bin/sh";

#[cfg(unix)]
impl Account {
    /// The account we run as.
    pub(crate) fn current() -> io::Result<Self> {
        let uid = nix::unistd::geteuid();
        match nix::unistd::User::from_uid(uid)? {
            Some(user) => Ok(Self::from(user)),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("user {uid} has no account"))),
        }
    }

    /// The account called `name`; `None` when there is none.
    pub(crate) fn named(name: &str) -> io::Result<Option<Self>> {
        // A name with a NUL in it would reach the database cut short, as another name.
        if name.is_empty() || name.contains('\0') {
            return Ok(None);
        }
        Ok(nix::unistd::User::from_name(name)?.map(Self::from))
    }

    /// Whether this is the account we run as.
    pub(crate) fn is_current(&self) -> bool {
        nix::unistd::geteuid().as_raw() == self.uid
    }
}

#[cfg(unix)]
impl From<nix::unistd::User> for Account {
    fn from(user: nix::unistd::User) -> Self {
        let shell = if user.shell.as_os_str().is_empty() { DEFAULT_SHELL.into() } else { user.shell };
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir, shell }
    }
}

/// The name of the user with that number.
#[cfg(unix)]
pub(crate) fn user_name(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
}

/// The name of the group with that number.
#[cfg(unix)]
pub(crate) fn group_name(gid: u32) -> Option<String> {
    nix::unistd::Group::from_gid(gid.into()).ok().flatten().map(|group| group.name)
}

/// The name of the user we run as, where a login needs one and none was given.
pub(crate) fn login_name() -> io::Result<String> {
    #[cfg(unix)]
    if let Ok(account) = Account::current() {
        return Ok(account.name);
    }
    // The environment comes second: it outlives `su` and may be anything.
    ["LOGNAME", "USER", "USERNAME"]
        .into_iter()
        .filter_map(std::env::var_os)
        .filter_map(|name| OsString::into_string(name).ok())
        .find(|name| !name.is_empty())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the user we run as has no name"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn we_are_somebody() {
        let account = Account::current().unwrap();
        assert!(account.is_current());
        assert_eq!(Account::named(&account.name).unwrap().unwrap(), account);
        assert_eq!(login_name().unwrap(), account.name);
    }

    #[test]
    fn root_is_known() {
        let root = Account::named("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.home.is_absolute());
        assert!(root.shell.is_absolute());
        assert_eq!(user_name(0).unwrap(), "root");
        assert!(group_name(0).is_some());
        assert_eq!((user_name(u32::MAX - 7), group_name(u32::MAX - 7)), (None, None));
    }

    #[test]
    fn nobody_by_that_name() {
        for name in ["", "no such user", "root\0x", "\0"] {
            assert_eq!(Account::named(name).unwrap(), None, "{name:?}");
        }
    }
}
