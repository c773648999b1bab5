//! What a login does before its program starts: /etc/nologin, another root, the message of the day, rc files.
//! sshd(8), "LOGIN PROCESS".
//!
//! Runs in the fresh process, which has one thread.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::file::{open_regular, read_bounded};
use super::safe::safe_root;

const NOLOGIN: &str = "/etc/nologin";
const MOTD: &str = "/etc/motd";
const SYSTEM_RC: &str = "/etc/ssh/sshrc";
/// In the home.
const USER_RC: &str = ".ssh/rc";
const HUSH: &str = ".hushlogin";
/// How a login that /etc/nologin forbids ends; OpenSSH's figure.
const FORBIDDEN: i32 = 254;
/// More than anybody reads at a login.
const MESSAGE: u64 = 1024 * 1024;

/// What the fresh process does before it becomes the program of a login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LoginSteps {
    /// Nobody but root gets in while /etc/nologin is there: it is shown instead.
    pub(crate) nologin: bool,
    /// Shows /etc/motd, unless the user has `.hushlogin`.
    pub(crate) motd: bool,
    /// Runs `~/.ssh/rc`, if there is one, by this shell: whose shell lets nothing be run has no rc either.
    pub(crate) user_rc: Option<PathBuf>,
    /// Runs /etc/ssh/sshrc, if there is one and no `~/.ssh/rc` was run.
    pub(crate) system_rc: bool,
}

/// Ends the process where /etc/nologin is there, after showing what is in it.
pub(crate) fn refuse_logins() {
    if fs::metadata(NOLOGIN).is_err() {
        return;
    }
    // Whatever it is, it is there.
    if let Ok((file, _)) = open_regular(Path::new(NOLOGIN)) {
        show(&file, io::stderr());
    }
    std::process::exit(FORBIDDEN);
}

/// Makes a directory the root, if nobody but root can have put anything above it.
pub(crate) fn change_root(root: &Path) -> io::Result<()> {
    let change = || {
        std::env::set_current_dir(safe_root(root)?)?;
        rustix::process::chroot(".")?;
        std::env::set_current_dir("/")
    };
    change().map_err(|error: io::Error| io::Error::other(format!("cannot change the root: {error}")))
}

/// Shows the message of the day, unless the user wants none.
pub(crate) fn show_motd(home: &Path) {
    if fs::metadata(home.join(HUSH)).is_ok() {
        return;
    }
    if let Ok((file, _)) = open_regular(Path::new(MOTD)) {
        show(&file, io::stdout());
    }
}

/// A login does not fail because its message cannot be shown.
fn show(file: &File, mut to: impl Write) {
    if let Ok(text) = read_bounded(file, MESSAGE) {
        let _ = to.write_all(&text).and_then(|()| to.flush());
    }
}

/// Runs the user's rc file or the system's, with the session's environment and output. Nothing comes to its
/// input: cookies of X11 are not added here.
pub(crate) fn run_rc(
    login: &LoginSteps,
    home: &Path,
    environment: impl Iterator<Item = (OsString, OsString)>,
) {
    let own = home.join(USER_RC);
    let (mut command, file) = match &login.user_rc {
        Some(shell) if own.exists() => {
            let mut command = Command::new(shell);
            // The name is ours and the directory is the home: no word of the user's is in the line.
            command.args(["-c", &format!("/bin/sh {USER_RC}")]).current_dir(home);
            (command, own.as_path())
        }
        _ if login.system_rc && Path::new(SYSTEM_RC).exists() => {
            let mut command = Command::new("/bin/sh");
            command.arg(SYSTEM_RC);
            (command, Path::new(SYSTEM_RC))
        }
        _ => return,
    };
    // Its status means nothing; the session goes on.
    if let Err(error) = command.env_clear().envs(environment).stdin(Stdio::null()).status() {
        eprintln!("Could not run {}: {error}", file.display());
    }
}
