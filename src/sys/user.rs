//! Accounts of this machine: who we are, and what the system knows of a name.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// An account: an entry of the system's user database.
///
/// ```
/// # #[cfg(unix)]
/// let me = feramiko::Account::current()?;
/// # #[cfg(unix)]
/// assert!(me.is_current() && me.shell().is_absolute());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(unix), allow(unreachable_pub, reason = "only where there are such databases"))]
pub struct Account {
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
    /// The account that this program runs as.
    ///
    /// # Errors
    /// When its user has none.
    pub fn current() -> io::Result<Self> {
        let uid = nix::unistd::geteuid();
        match nix::unistd::User::from_uid(uid)? {
            Some(user) => Ok(Self::from(user)),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("user {uid} has no account"))),
        }
    }

    /// The account called `name`; none when there is none.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub fn named(name: &str) -> io::Result<Option<Self>> {
        // A name with a NUL in it would reach the database cut short, as another name.
        if name.is_empty() || name.contains('\0') {
            return Ok(None);
        }
        Ok(nix::unistd::User::from_name(name)?.map(Self::from))
    }

    /// Whether this program runs as this account's user.
    #[must_use]
    pub fn is_current(&self) -> bool {
        nix::unistd::geteuid().as_raw() == self.uid
    }

    /// The name it logs in with.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the user.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of the group that the user belongs to first.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// The directory it starts in.
    #[must_use]
    pub fn home(&self) -> &std::path::Path {
        &self.home
    }

    /// The program it starts with.
    #[must_use]
    pub fn shell(&self) -> &std::path::Path {
        &self.shell
    }

    /// The same account with another directory to start in.
    #[must_use]
    pub fn with_home(self, home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), ..self }
    }

    /// The numbers of all groups that the user belongs to.
    ///
    /// # Errors
    /// When the database cannot be asked; where the system has no call for it.
    #[cfg(not(any(target_os = "macos", target_os = "ios")))]
    pub(crate) fn group_numbers(&self) -> io::Result<Vec<u32>> {
        let name = std::ffi::CString::new(self.name.as_str())?;
        let groups = nix::unistd::getgrouplist(&name, nix::unistd::Gid::from_raw(self.gid))?;
        Ok(groups.into_iter().map(nix::unistd::Gid::as_raw).collect())
    }

    /// The system's call takes other types there.
    #[cfg(any(target_os = "macos", target_os = "ios"))]
    pub(crate) fn group_numbers(&self) -> io::Result<Vec<u32>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The names of all groups that the user belongs to.
    ///
    /// # Errors
    /// When the database cannot be asked; where the system has no call for it.
    pub fn groups(&self) -> io::Result<Vec<String>> {
        Ok(self.group_numbers()?.into_iter().filter_map(group_name).collect())
    }
}

#[cfg(unix)]
impl From<nix::unistd::User> for Account {
    fn from(user: nix::unistd::User) -> Self {
        let shell = if user.shell.as_os_str().is_empty() { DEFAULT_SHELL.into() } else { user.shell };
        Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir, shell }
    }
}

/// Takes the rights of a user for this thread, for good: its groups, and the numbers that files are opened with.
/// The other threads keep theirs. The real and the saved number stay root's, as when sshd reads a user's files:
/// otherwise the user could send the thread a signal, and with it end the whole process.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn take_rights_of(account: &Account) -> io::Result<()> {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

    let groups: Vec<_> = account.group_numbers()?.into_iter().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(None, gid, None)?;
    set_thread_res_uid(None, uid, None)?;
    Ok(())
}

/// Elsewhere all threads of a process have the same rights.
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
pub(crate) fn take_rights_of(_: &Account) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
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
