//! What sessions run: shells, commands, subsystems, as whom and with which environment. OpenSSH's session.c.

use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, fchown};
use std::path::PathBuf;

use feramiko::{Account, AuthInfo, ExitStatus, FileService, Peer, Session, SessionKind, UserLogin};

use crate::keys::may_set;
use crate::tokens::expand;
use crate::who::{Who, tokens};

/// What is served here, without a program.
const INTERNAL: &str = "internal-sftp";

/// The command of a subsystem, as its words.
pub(crate) fn subsystem(who: &Who, name: &str) -> Option<Vec<String>> {
    let lines = who.config.values("subsystem");
    let line = lines.into_iter().find(|line| line.first().is_some_and(|known| known == name))?;
    Some(line.get(1..).unwrap_or_default().to_vec())
}

/// Runs a session to its end.
pub(crate) fn run(who: &Who, peer: &Peer, session: Session) -> io::Result<ExitStatus> {
    let account = who.account().ok_or_else(|| io::Error::other("nobody is logged in"))?.clone();
    let request = session.request();
    let forced = request.original.is_some();
    let words = match &request.kind {
        SessionKind::Subsystem(name) => subsystem(who, name),
        // Only who configures the server may name it so: a client's command is the shell's.
        SessionKind::Exec(command) if forced => {
            let line = String::from_utf8_lossy(command);
            let words: Vec<_> = line.split_ascii_whitespace().map(str::to_owned).collect();
            words.first().is_some_and(|word| word == INTERNAL).then_some(words)
        }
        _ => None,
    };
    let info =
        if who.config.flag("exposeauthinfo") { Some(Exposed::new(&account, &request.auth)?) } else { None };
    let login = login(who, peer, account, info.as_ref())?;
    match words.as_deref() {
        Some([first, options @ ..]) if first == INTERNAL => {
            let service = FileService::parse(options.iter().map(String::as_str))?;
            session.serve_files(&login, &service)
        }
        Some(command) => session.run_login(login.command(command.join(" "))),
        None => session.run_login(login),
    }
}

/// As whom, where, and with which environment.
fn login(who: &Who, peer: &Peer, account: Account, info: Option<&Exposed>) -> io::Result<UserLogin> {
    // ForceCommand leaves no room for what the user would run first; what the system runs is run all the same.
    let rc = who.config.some("forcecommand").is_none();
    let login = UserLogin::new(account.clone()).rc(rc).system_rc(true);
    let mut login = login.motd(who.config.flag("printmotd"));
    for (name, value) in own_variables(who, &account) {
        login = login.env(&name, &value);
    }
    // Of a name that comes twice the first counts: it is set last.
    for variable in who.config.words("setenv").iter().rev() {
        if let Some((name, value)) = variable.split_once('=') {
            login = login.env(name, value);
        }
    }
    let (from, to) = match peer.addresses {
        Some((peer, local)) => (
            (peer.ip().to_canonical().to_string(), peer.port()),
            (local.ip().to_canonical().to_string(), local.port()),
        ),
        // As sshd has it of a pipe.
        None => (("UNKNOWN".to_owned(), 65535), ("UNKNOWN".to_owned(), 65535)),
    };
    login = login.env("SSH_CLIENT", &format!("{} {} {}", from.0, from.1, to.1));
    login = login.env("SSH_CONNECTION", &format!("{} {} {} {}", from.0, from.1, to.0, to.1));
    if let Some(Exposed(path)) = info {
        login = login.env("SSH_USER_AUTH", &path.to_string_lossy());
    }
    match who.config.some("chrootdirectory") {
        Some(root) => {
            let root = expand(&root, &tokens(&account)).map_err(io::Error::other)?;
            Ok(login.chroot(root))
        }
        None => Ok(login),
    }
}

/// What `~/.ssh/environment` sets, where PermitUserEnvironment lets it.
fn own_variables(who: &Who, account: &Account) -> Vec<(String, String)> {
    if who.config.word("permituserenvironment") == "no" {
        return Vec::new();
    }
    let text = account.read_file(&account.home().join(".ssh/environment"), false).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !name.is_empty() && may_set(who, name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// ExposeAuthInfo: a file of the user's that says how it was authenticated. Gone with the session.
struct Exposed(PathBuf);

impl Exposed {
    fn new(account: &Account, auth: &AuthInfo) -> io::Result<Self> {
        let name = format!("sshauth.{:016x}", RandomState::new().hash_one(std::process::id()));
        let path = std::env::temp_dir().join(name);
        // A file that is there already, or a link, is refused.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let this = Self(path);
        for method in &auth.methods {
            match &auth.key {
                Some(key) if *method == "publickey" => {
                    writeln!(file, "{method} {} {}", key.key_type(), key.base64())?;
                }
                _ => writeln!(file, "{method}")?,
            }
        }
        if !account.is_current() {
            fchown(&file, Some(account.uid()), Some(account.gid()))?;
        }
        Ok(this)
    }
}

impl Drop for Exposed {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::debug!(target: "sshd", "{}: {error}", self.0.display());
        }
    }
}
