//! Starting the program of a session: a session and process group of its own, perhaps a
//! controlling terminal, another user, then the program.
//!
//! Other servers do this between `fork` and `exec`, where a program with threads may do almost
//! nothing. Here our own program is started again with a hidden first argument; the fresh process,
//! which has one thread, does it and becomes the session's program. Both sides are in this file:
//! `Launch::command` is the server's, `enter` the fresh process's.
//!
//! The session's environment travels under names that mean nothing to the dynamic loader or to
//! libraries: while the fresh process may still be root, `LD_PRELOAD` of a user must not count.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::unistd::{Gid, Uid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGPROF, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1,
    SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};

use super::login::{self, LoginSteps};
use super::user::Account;

/// The hidden first argument.
const WORD: &str = "--feramiko-launch";
/// Holds the number of the process that asks. It keeps the hidden argument from working for
/// whoever can choose our arguments but not our environment.
const ASKER: &str = "FERAMIKO_LAUNCH";
/// Stands before the names of the session's variables on their way.
const PREFIX: &[u8] = b"FERAMIKO_SESSION_";
/// Ends the settings; the session's program and its arguments follow.
const END: &str = "--";
/// What a shell says of a program that is there but could not be started.
const NOT_STARTED: i32 = 126;
/// The first descriptor that is none of the three standard ones.
const FIRST_OTHER: i32 = 3;

/// The signals that whoever started us may have had ignored, as `nohup`, a shell's `&` and Python do.
const SIGNALS: [i32; 17] = [
    SIGALRM, SIGCHLD, SIGHUP, SIGINT, SIGPIPE, SIGPROF, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1,
    SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
];

/// Whether this process came by `enter`; otherwise a second start of our program would be a
/// second server.
static ENTERED: AtomicBool = AtomicBool::new(false);

/// How many files this process might have open when it came by `enter`, if that was limited: sessions begin
/// with that, whatever a server for many of them has allowed itself since.
static FILES: OnceLock<Option<u64>> = OnceLock::new();

/// What is to be started, and as what. Standard input, output and error are set on the `Command`
/// that comes of it; with `terminal` they must be the far side of the terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    /// The program, by its path.
    pub(crate) program: PathBuf,
    /// What the program is told as its own name; its path if not said.
    pub(crate) name: Option<OsString>,
    /// The program's arguments.
    pub(crate) arguments: Vec<OsString>,
    /// The program's whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// Where it starts. It starts in `/` when it may not enter there.
    pub(crate) directory: PathBuf,
    /// As whom it runs; as ourselves if not said.
    pub(crate) account: Option<Account>,
    /// The permissions that new files lose; ours if not said.
    pub(crate) umask: Option<u16>,
    /// Whether standard input is to be its controlling terminal.
    pub(crate) terminal: bool,
    /// The directory that becomes its root. Only root can do that.
    pub(crate) root: Option<PathBuf>,
    /// What happens before it starts, as at a login.
    pub(crate) login: LoginSteps,
}

/// Stands for the program: our own is to go on as the user, and not to become another.
pub(crate) const OURSELVES: &str = "-";

impl Launch {
    /// The account's shell: with `-c` for one command line, else as a login shell, whose name
    /// begins with `-`.
    pub(crate) fn shell(account: Account, command: Option<&OsStr>) -> Self {
        let base = account.shell.file_name().unwrap_or_else(|| OsStr::new("sh"));
        let (name, arguments) = match command {
            Some(command) => (base.to_owned(), vec!["-c".into(), command.to_owned()]),
            None => ([OsStr::new("-"), base].into_iter().collect(), Vec::new()),
        };
        Self {
            program: account.shell.clone(),
            name: Some(name),
            arguments,
            environment: Vec::new(),
            directory: account.home.clone(),
            account: Some(account),
            umask: None,
            terminal: false,
            root: None,
            login: LoginSteps::default(),
        }
    }

    /// Our own program, as the account's user: `enter` gives it the words.
    pub(crate) fn ourselves(account: Account, words: Vec<OsString>) -> Self {
        Self { program: OURSELVES.into(), name: None, arguments: words, ..Self::shell(account, None) }
    }

    /// A program of the account's user, without a shell. What it is told has no variables but those of a
    /// login.
    pub(crate) fn program(account: Account, program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self { program, name: None, arguments, directory: "/".into(), ..Self::shell(account, None) }
    }

    /// The command that starts it. The child's number is that of its session and process group
    /// as soon as the program runs.
    pub(crate) fn command(&self) -> io::Result<Command> {
        if !ENTERED.load(Ordering::Relaxed) {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this program cannot start sessions: its main does not begin with child_entry()",
            ));
        }
        let mut command = Command::new(own_program()?);
        command.arg(WORD).args(self.settings()).arg(END).arg(&self.program).args(&self.arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_bytes().starts_with(PREFIX)) {
            command.env_remove(name);
        }
        for (name, value) in &self.environment {
            if name.is_empty() || name.as_bytes().contains(&b'=') {
                return Err(invalid(format!("no variable can be called {name:?}")));
            }
            command.env(OsString::from_vec([PREFIX, name.as_bytes()].concat()), value);
        }
        command.env(ASKER, std::process::id().to_string());
        Ok(command)
    }

    /// Everything but program, arguments and environment, as arguments of the fresh process.
    fn settings(&self) -> Vec<OsString> {
        let mut settings = vec![setting("directory", &self.directory)];
        settings.extend(self.name.as_ref().map(|name| setting("name", name)));
        settings.extend(self.umask.map(|umask| setting("umask", umask.to_string())));
        settings.extend(self.root.as_ref().map(|root| setting("root", root)));
        let login = &self.login;
        settings.extend(login.user_rc.as_ref().map(|shell| setting("user_rc", shell)));
        let flags = [
            ("terminal", self.terminal),
            ("nologin", login.nologin),
            ("motd", login.motd),
            ("system_rc", login.system_rc),
        ];
        settings.extend(flags.into_iter().filter(|(_, set)| *set).map(|(flag, _)| setting(flag, "yes")));
        settings.extend(FILES.get().copied().flatten().map(|files| setting("files", files.to_string())));
        if let Some(account) = &self.account {
            settings.push(setting("user", &account.name));
            settings.push(setting("uid", account.uid.to_string()));
            settings.push(setting("gid", account.gid.to_string()));
        }
        settings
    }
}

/// The program we are. Linux names it in a way that survives its file being replaced.
fn own_program() -> io::Result<PathBuf> {
    let program = match Path::new("/proc/self/exe") {
        link if cfg!(target_os = "linux") && link.exists() => return Ok(link.to_owned()),
        _ => std::env::current_exe()?,
    };
    if program.is_file() {
        Ok(program)
    } else {
        let text = format!("our own program is no longer at {}", program.display());
        Err(io::Error::new(io::ErrorKind::NotFound, text))
    }
}

fn setting(key: &str, value: impl AsRef<OsStr>) -> OsString {
    [OsStr::new(key), OsStr::new("="), value.as_ref()].into_iter().collect()
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text.into())
}

/// To be called first thing in `main`, before there are threads or open files. In a process that
/// was started to become a session's program it does not return; where our own program is to go on as the
/// session's, it gives the words that say how; in any other it only notes that `Launch::command` will work.
pub(crate) fn enter() -> Option<Vec<OsString>> {
    ENTERED.store(true, Ordering::Relaxed);
    FILES.get_or_init(|| getrlimit(Resource::Nofile).current);
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == WORD) && asked_by_parent() {
        let error = match Fresh::parse(arguments).and_then(Fresh::prepare) {
            Ok(command) if command.get_program() == OURSELVES => {
                return Some(command.get_args().map(OsStr::to_owned).collect());
            }
            Ok(mut command) => {
                let error = command.exec();
                told(&format!("cannot start {}", Path::new(command.get_program()).display()), error)
            }
            Err(error) => error,
        };
        // Standard error is the session's: its user reads why.
        eprintln!("feramiko: {error}");
        std::process::exit(NOT_STARTED);
    }
    None
}

/// Whether our parent says that it asked for this process.
fn asked_by_parent() -> bool {
    let parent = std::os::unix::process::parent_id().to_string();
    std::env::var_os(ASKER).is_some_and(|asker| asker == *parent)
}

/// The fresh process, as it was told to be.
#[derive(Debug, Default)]
struct Fresh {
    directory: PathBuf,
    name: Option<OsString>,
    umask: Option<u16>,
    files: Option<u64>,
    terminal: bool,
    root: Option<PathBuf>,
    login: LoginSteps,
    user: Option<OsString>,
    uid: Option<u32>,
    gid: Option<u32>,
    program: OsString,
    arguments: Vec<OsString>,
}

impl Fresh {
    /// Reads what `Launch::command` wrote.
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> io::Result<Self> {
        let mut fresh = Self::default();
        while let Some(argument) = arguments.next().filter(|argument| argument != END) {
            let bytes = argument.as_bytes();
            let split = bytes.iter().position(|byte| *byte == b'=').ok_or_else(|| invalid("bad setting"))?;
            let (key, value) = bytes.split_at(split);
            let value = OsStr::from_bytes(value.get(1..).unwrap_or_default());
            match key {
                b"directory" => fresh.directory = value.into(),
                b"name" => fresh.name = Some(value.into()),
                b"umask" => fresh.umask = Some(number(value)?),
                b"files" => fresh.files = Some(number(value)?),
                b"terminal" => fresh.terminal = true,
                b"root" => fresh.root = Some(value.into()),
                b"nologin" => fresh.login.nologin = true,
                b"motd" => fresh.login.motd = true,
                b"user_rc" => fresh.login.user_rc = Some(value.into()),
                b"system_rc" => fresh.login.system_rc = true,
                b"user" => fresh.user = Some(value.into()),
                b"uid" => fresh.uid = Some(number(value)?),
                b"gid" => fresh.gid = Some(number(value)?),
                _ => return Err(invalid("unknown setting")),
            }
        }
        fresh.program = arguments.next().ok_or_else(|| invalid("no program was named"))?;
        fresh.arguments = arguments.collect();
        Ok(fresh)
    }

    /// Goes through the steps; what is left is to become the program.
    fn prepare(self) -> io::Result<Command> {
        close_others();
        mind_signals().map_err(|error| told("cannot set up signals", error))?;
        rustix::process::setsid().map_err(|error| told("cannot start a session", error))?;
        if self.terminal {
            rustix::process::ioctl_tiocsctty(io::stdin())
                .map_err(|error| told("cannot take the terminal", error))?;
        }
        if let Some(files) = self.files {
            let limit = Rlimit { current: Some(files), ..getrlimit(Resource::Nofile) };
            setrlimit(Resource::Nofile, limit).map_err(|error| told("cannot limit open files", error))?;
        }
        if let Some(umask) = self.umask {
            rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask.into()));
        }
        if self.login.nologin && self.uid != Some(0) {
            login::refuse_logins();
        }
        // Before the root is another: there the lists of groups, and the libraries that read them, are not ours.
        self.take_groups()?;
        if let Some(root) = &self.root {
            login::change_root(root)?;
        }
        self.become_user()?;
        if let Err(error) = std::env::set_current_dir(&self.directory) {
            // Below another root there need be no home.
            if self.root.is_none() {
                eprintln!("Could not chdir to home directory {}: {error}", self.directory.display());
            }
            std::env::set_current_dir("/")?;
        }
        if self.login.motd {
            login::show_motd(&self.directory);
        }
        login::run_rc(&self.login, &self.directory, session_variables());
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_clear().envs(session_variables());
        if let Some(name) = &self.name {
            command.arg0(name);
        }
        Ok(command)
    }

    /// Whom to become; none where we are that user already.
    fn other_user(&self) -> Option<(&OsStr, Uid, Gid)> {
        let (user, uid, gid) = (self.user.as_deref()?, Uid::from_raw(self.uid?), Gid::from_raw(self.gid?));
        let ours = nix::unistd::geteuid() == uid && nix::unistd::getuid() == uid && !uid.is_root();
        (!ours).then_some((user, uid, gid))
    }

    /// Takes the groups that the user belongs to.
    fn take_groups(&self) -> io::Result<()> {
        let Some((user, _, gid)) = self.other_user() else { return Ok(()) };
        let name = CString::new(user.as_bytes()).map_err(|_| invalid("bad user name"))?;
        take_groups(&name, gid).map_err(|error| told(&cannot_become(user), error))
    }

    /// Takes the user's numbers, for good.
    fn become_user(&self) -> io::Result<()> {
        let Some((user, uid, gid)) = self.other_user() else { return Ok(()) };
        let context = cannot_become(user);
        nix::unistd::setgid(gid).map_err(|error| told(&context, error))?;
        nix::unistd::setuid(uid).map_err(|error| told(&context, error))?;
        let back = !uid.is_root() && nix::unistd::setuid(Uid::from_raw(0)).is_ok();
        if back || nix::unistd::getuid() != uid || nix::unistd::geteuid() != uid {
            return Err(told(&context, "the way back is open"));
        }
        Ok(())
    }
}

fn cannot_become(user: &OsStr) -> String {
    format!("cannot become {}", Path::new(user).display())
}

#[cfg(not(any(target_os = "macos", target_os = "ios")))]
fn take_groups(user: &CString, gid: Gid) -> io::Result<()> {
    Ok(nix::unistd::initgroups(user, gid)?)
}

/// nix does not offer it there, and a user must not keep root's groups.
#[cfg(any(target_os = "macos", target_os = "ios"))]
fn take_groups(_: &CString, _: Gid) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Closes what came along from our parent's own ancestors; ours is all close-on-exec.
fn close_others() {
    let listing = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let Ok(entries) = std::fs::read_dir(listing) else { return };
    let open: Vec<i32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The listing's own descriptor is among them and closed by now: that error is no news.
    for fd in open.into_iter().filter(|fd| *fd >= FIRST_OTHER) {
        let _ = nix::unistd::close(fd);
    }
}

/// Sees to it that the program ignores no signal: `exec` leaves an ignored one ignored, and makes of one
/// that is handled the default again. Until then the handler does what the default would.
fn mind_signals() -> io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    SIGNALS.into_iter().try_for_each(|signal| {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&always)).map(drop)
    })
}

/// The session's environment, under its own names again.
fn session_variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let name = name.as_bytes().strip_prefix(PREFIX)?;
        Some((OsStr::from_bytes(name).to_owned(), value))
    })
}

fn number<T: std::str::FromStr>(value: &OsStr) -> io::Result<T> {
    value.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| invalid("bad number"))
}

fn told(what: &str, why: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{what}: {why}"))
}
