//! Sessions and files of a user who is another than the one who runs the server: who may log in, what is read
//! and run with whose rights. sshd(8), "LOGIN PROCESS" and "AUTHORIZED_KEYS FILE FORMAT"; OpenSSH's auth.c.
//!
//! Runs on the threads of its callers; what needs a user's rights has a thread of its own.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::engine::{ExitStatus, Program, spawn, with_rights_of};
use crate::sys::file::{open_regular, read_bounded};
use crate::sys::launch::Launch;
use crate::sys::safe::open_safe;
use crate::sys::shadow::{self, Closed};
use crate::sys::user::Account;

/// No file of a user's is larger: a hundred thousand keys.
const FILE: u64 = 64 * 1024 * 1024;
/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// How a user logs in: as which account, with which environment, below which root.
///
/// ```no_run
/// # use feramiko::*;
/// # fn session(session: Session) -> std::io::Result<ExitStatus> {
/// let name = session.request().auth.user.clone();
/// let account = Account::named(&name)?.ok_or(std::io::ErrorKind::NotFound)?;
/// session.run_login(UserLogin::new(account).env("LANG", "C.UTF-8").motd(true))
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct UserLogin {
    pub(super) account: Account,
    pub(super) environment: Vec<(String, String)>,
    pub(super) root: Option<PathBuf>,
    pub(super) command: Option<Vec<u8>>,
    pub(super) motd: bool,
    pub(super) user_rc: bool,
    pub(super) system_rc: bool,
}

impl UserLogin {
    /// A login of that account.
    #[must_use]
    pub fn new(account: Account) -> Self {
        Self {
            account,
            environment: Vec::new(),
            root: None,
            command: None,
            motd: false,
            user_rc: false,
            system_rc: false,
        }
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Makes a directory the root of whatever is run, which only root can do. It and all above it must be
    /// root's, and only root may be able to write them, or nothing is run.
    #[must_use]
    pub fn chroot(mut self, root: impl Into<PathBuf>) -> Self {
        self.root = Some(root.into());
        self
    }

    /// What the user's shell runs instead of what was asked for: the command of a subsystem.
    #[must_use]
    pub fn command(mut self, command: impl Into<Vec<u8>>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Whether shells at a terminal begin with /etc/motd, unless the user has `.hushlogin`.
    #[must_use]
    pub fn motd(mut self, shown: bool) -> Self {
        self.motd = shown;
        self
    }

    /// Whether `~/.ssh/rc` or, without it, /etc/ssh/sshrc is run before. Subsystems have the second only.
    #[must_use]
    pub fn rc(mut self, run: bool) -> Self {
        (self.user_rc, self.system_rc) = (run, run);
        self
    }

    /// Whether /etc/ssh/sshrc is run before where `~/.ssh/rc` is not.
    #[must_use]
    pub fn system_rc(mut self, run: bool) -> Self {
        self.system_rc = run;
        self
    }
}

impl Account {
    /// Why nobody may log in to this account, as far as the system says: it is locked, it has expired, its
    /// shell is none. Whether it is locked is known to root only. `shell`: whether one is needed.
    #[must_use]
    pub fn refusal(&self, shell: bool) -> Option<&'static str> {
        let today = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / DAY);
        match shadow::closed(&self.name, today) {
            Some(Closed::Locked) => return Some("the account is locked"),
            Some(Closed::Expired) => return Some("the account has expired"),
            Some(Closed::Unknown) => return Some("the list of locked accounts cannot be read"),
            None => {}
        }
        match std::fs::metadata(&self.shell) {
            _ if !shell => None,
            Err(_) => Some("the shell does not exist"),
            Ok(metadata) if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 => {
                Some("the shell cannot be run")
            }
            Ok(_) => None,
        }
    }

    /// Reads a file with the rights of the account's user, up to 64 MiB. `strict`, as sshd(8) has it under
    /// "StrictModes": the file, and every directory above it up to the home, must be the user's or root's,
    /// and nobody else may be able to write them.
    ///
    /// # Errors
    /// `PermissionDenied` when others could have written it; what the system says; `Unsupported` for another
    /// user where threads cannot take a user's rights.
    pub fn read_file(&self, path: &Path, strict: bool) -> io::Result<Vec<u8>> {
        let (account, path) = (self.clone(), path.to_owned());
        with_rights_of(Some(self), move || {
            let file = if strict {
                open_safe(&path, account.uid, Some(&account.home))?
            } else {
                open_regular(&path)?.0
            };
            read_bounded(&file, FILE)
        })
    }

    /// What a program prints that runs as the account's user, with the environment of a login and none of
    /// ours. The program must be root's, as must be the directories above it, and only root may be able to
    /// write them.
    ///
    /// # Errors
    /// When others could have written the program; `TimedOut` after `patience`, when it is killed;
    /// `FileTooLarge` for more than 64 MiB; when it ends with another status than 0; and as
    /// [`Session::run_login`](crate::Session::run_login).
    pub fn output_of(&self, program: &Path, arguments: &[String], patience: Duration) -> io::Result<Vec<u8>> {
        if !program.is_absolute() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{}: no absolute path", program.display()),
            ));
        }
        drop(open_safe(program, 0, None)?);
        let arguments = arguments.iter().map(OsString::from).collect();
        let mut launch = Launch::program(self.clone(), program.to_owned(), arguments);
        let mut set = |name: &str, value: &std::ffi::OsStr| {
            launch.environment.push((name.into(), value.to_owned()));
        };
        set("HOME", self.home.as_os_str());
        set("USER", self.name.as_ref());
        set("LOGNAME", self.name.as_ref());
        set("SHELL", self.shell.as_os_str());
        set("PATH", "/usr/bin:/bin:/usr/sbin:/sbin".as_ref());
        let mut command = launch.command()?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut program = Program::start(command)?;
        let running = Arc::clone(program.running());
        let (sender, ended) = crossbeam_channel::bounded(1);
        spawn("feramiko output", move || {
            let mut text = Vec::new();
            let read = match program.child.stdout.take() {
                Some(stdout) => stdout.take(FILE.saturating_add(1)).read_to_end(&mut text),
                None => Ok(0),
            };
            let end = read.and_then(|_| program.wait());
            // Nobody waits any more when it took too long.
            let _ = sender.send(end.map(|status| (status, text)));
        })?;
        let (status, text) = ended.recv_timeout(patience).map_err(|_| {
            running.signal("KILL");
            io::Error::from(io::ErrorKind::TimedOut)
        })??;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        match status {
            ExitStatus::Code(0) => Ok(text),
            status => Err(io::Error::other(format!("it ended with {status}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_nobody_logs_in_to() {
        let me = Account::current().unwrap();
        let with = |shell: &str| Account { shell: shell.into(), ..me.clone() };
        assert_eq!(with("/no/such/shell").refusal(true), Some("the shell does not exist"));
        assert_eq!(with("/etc/passwd").refusal(true), Some("the shell cannot be run"));
        assert_eq!(with("/etc").refusal(true), Some("the shell cannot be run"));
        assert_eq!(with("/etc/passwd").refusal(false), with("/bin/sh").refusal(true));
    }

    #[test]
    fn a_file_is_read_with_the_rights_of_its_reader() {
        let nobody = Account::named("nobody").unwrap().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "words").unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let me = Account::current().unwrap();
        assert_eq!(me.read_file(&file, false).unwrap(), b"words");
        assert!(me.read_file(&file, true).is_err(), "it is below a folder of everybody's");
        // The folder is its owner's only; who is not root cannot become another.
        assert_eq!(nobody.read_file(&file, false).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        // This thread and all others have their rights still.
        assert_eq!(std::fs::read(&file).unwrap(), b"words");
    }
}
