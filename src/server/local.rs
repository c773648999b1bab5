//! Sessions as sshd(8) runs them: the user's shell, on a terminal if one was asked for, started
//! through a second start of our own program.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use super::account::UserLogin;
use super::files::{self, FileService};
use super::process::pass_on;
use super::session::Session;
use super::x11::X11Display;
use crate::channel::PtyRequest;
use crate::engine::{ExitStatus, Program, spawn};
use crate::interface::SessionKind;
use crate::sys::launch::{self, Launch};
use crate::sys::login::LoginSteps;
use crate::sys::modes::TerminalModes;
use crate::sys::pty::{Pty, Size};
use crate::sys::user::Account;

/// OpenSSH's default for users other than root; root's has the sbin directories too.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/games";
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where mail waits.
const MAIL: &str = "/var/mail";
/// How much is read of a terminal at a time; it never has more.
const PIECE: usize = 16 * 1024;

/// To be called first thing in the `main` of a server that runs sessions by
/// [`Session::run_as_login`] or [`Session::run_login`]: what OpenSSH does between fork and exec is done by
/// starting the own program again, with a hidden argument that this call looks for. It does not return then.
pub fn child_entry() {
    if let Some(words) = launch::enter() {
        std::process::exit(files::serve(&words));
    }
}

impl Session {
    /// Runs what was asked for as the user who runs the server, as [`run_login`](Self::run_login) does, with
    /// `environment` besides.
    ///
    /// # Errors
    /// As [`run_login`](Self::run_login).
    pub fn run_as_login(self, environment: &[(String, String)]) -> io::Result<ExitStatus> {
        let login = UserLogin::new(Account::current()?);
        self.run_login(environment.iter().fold(login, |login, (name, value)| login.env(name, value)))
    }

    /// Runs what was asked for as the user of an account: the login shell, or a command by `shell -c`, on a
    /// terminal if one was granted. Its environment is, later ones in the place of earlier ones: what the client
    /// was granted; `HOME`, `USER`, `LOGNAME`, `SHELL`, `PATH`, `MAIL`, `TZ`; what the client's key sets; what
    /// `login` sets; `SSH_ORIGINAL_COMMAND` where a command is forced, `SSH_AUTH_SOCK`, `DISPLAY`, `XAUTHORITY`,
    /// `TERM`, `SSH_TTY`.
    ///
    /// While /etc/nologin is there, users other than root are shown it and get nothing else.
    ///
    /// The program leads a session and a process group of its own; when the channel closes it is hung up, and
    /// killed if it has not ended five seconds later. Signals of the client reach it, but for forced commands and
    /// subsystems. A client that closes it when all output has ended, and
    /// sends nothing more, is waiting for the status: the program runs on till then, or till the connection ends.
    ///
    /// # Errors
    /// When the program cannot be started, as for another user without being root; `Unsupported` for
    /// subsystems that `login` has no command for, and when `main` does not begin with [`child_entry`].
    pub fn run_login(self, login: UserLogin) -> io::Result<ExitStatus> {
        let command = match (&login.command, &self.request().kind) {
            (Some(command), _) => Some(command.clone()),
            (None, SessionKind::Shell) => None,
            (None, SessionKind::Exec(command)) => Some(command.clone()),
            (None, SessionKind::Subsystem(name)) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("no subsystem is called {name}"),
                ));
            }
        };
        let mut launch = Launch::shell(login.account.clone(), command.as_deref().map(OsStr::from_bytes));
        launch.environment = self.environment(&login);
        // Gone with the session.
        let agent = self.forward_agent_to(&login.account)?;
        if let Some(agent) = &agent {
            launch.environment.push(("SSH_AUTH_SOCK".into(), agent.path().as_os_str().to_owned()));
        }
        let x11 = self.x11_of(&login.account)?;
        let display = x11.iter().flat_map(X11Display::environment);
        launch.environment.extend(display.map(|(name, value)| (name.into(), value)));
        let terminal = self.request().pty.clone();
        launch.root.clone_from(&login.root);
        launch.login = LoginSteps {
            nologin: true,
            motd: login.motd && terminal.is_some() && command.is_none(),
            // What the client's key forbids is not run, whatever the application says.
            user_rc: (login.user_rc && self.request().auth.permissions.user_rc && !self.is_subsystem())
                .then(|| login.account.shell.clone()),
            system_rc: login.system_rc,
        };
        match terminal {
            Some(pty) => self.run_on_terminal(launch, &login.account, &pty),
            None => {
                let command = launch.command()?;
                self.run_prepared(command)
            }
        }
    }

    /// Whether the client asked for a subsystem, also where a command is forced.
    fn is_subsystem(&self) -> bool {
        let request = self.request();
        matches!(request.original.as_ref().unwrap_or(&request.kind), SessionKind::Subsystem(_))
    }

    /// The environment of a login; of a name that comes twice the last counts.
    fn environment(&self, login: &UserLogin) -> Vec<(OsString, OsString)> {
        let account = &login.account;
        let request = self.request();
        let mut environment: Vec<(OsString, OsString)> = Vec::new();
        let mut set = |name: &str, value: &OsStr| environment.push((name.into(), value.to_owned()));
        for (name, value) in request.env.iter().filter(|(name, _)| is_name(name)) {
            set(name, OsStr::new(value));
        }
        set("USER", OsStr::new(&account.name));
        set("LOGNAME", OsStr::new(&account.name));
        set("HOME", account.home.as_os_str());
        set("PATH", OsStr::new(if account.uid == 0 { ROOT_PATH } else { PATH }));
        set("MAIL", Path::new(MAIL).join(&account.name).as_os_str());
        set("SHELL", account.shell.as_os_str());
        if let Some(zone) = std::env::var_os("TZ") {
            set("TZ", &zone);
        }
        for (name, value) in request.auth.permissions.environment.iter().chain(&login.environment) {
            set(name, OsStr::new(value));
        }
        if let Some(asked) = request.original.as_ref().and_then(asked_for) {
            set("SSH_ORIGINAL_COMMAND", OsStr::from_bytes(asked));
        }
        environment
    }

    /// Serves SFTP as the user of an account: in a process of that user's where that is another than ours, or
    /// has a root of its own. `options` are those of `internal-sftp` in sshd_config(5), as
    /// [`FileService::parse`] reads them.
    ///
    /// # Errors
    /// As [`run_login`](Self::run_login), and when what the client sends is not SFTP.
    pub fn serve_files(self, login: &UserLogin, options: &FileService) -> io::Result<ExitStatus> {
        if login.account.is_current() && login.root.is_none() && !options.has_umask() {
            return self.serve_sftp(options.server(&login.account)?);
        }
        let mut launch = Launch::ourselves(login.account.clone(), options.words(self.link_first()));
        launch.directory = options.start(&login.account)?;
        launch.umask = options.umask();
        launch.root.clone_from(&login.root);
        launch.login = LoginSteps { nologin: true, ..LoginSteps::default() };
        launch.environment = self.environment(login);
        let command = launch.command()?;
        self.run_prepared(command)
    }

    fn run_on_terminal(
        self,
        mut launch: Launch,
        account: &Account,
        request: &PtyRequest,
    ) -> io::Result<ExitStatus> {
        let pty = Arc::new(Pty::open()?);
        if !account.is_current() {
            pty.give_to(account.uid, account.gid)?;
        }
        pty.set_size(size(request.size, request.pixels))?;
        pty.apply_modes(&TerminalModes::decode(&request.modes))?;
        launch.terminal = true;
        launch.environment.push(("TERM".into(), request.term.clone().into()));
        launch.environment.push(("SSH_TTY".into(), pty.path().as_os_str().to_owned()));
        let far = pty.open_far_side()?;
        let mut command = launch.command()?;
        command
            .stdin(Stdio::from(far.try_clone()?))
            .stdout(Stdio::from(far.try_clone()?))
            .stderr(Stdio::from(far));
        let program = Program::start(command)?;
        let resized = Arc::clone(&pty);
        pass_on(&self, program.running(), (), move |characters, pixels| {
            if let Err(error) = resized.set_size(size(characters, pixels)) {
                log::debug!(target: "feramiko::server", "resizing a terminal: {error}");
            }
        });
        let (keyboard, channel) = (Arc::clone(&pty), self.channel().clone());
        spawn("feramiko keyboard", move || {
            super::process::pump(&channel, &*keyboard);
        })?;
        // When the shell has ended its output is read to the last byte, but a program that it left
        // behind does not keep the session.
        let (over, end) = UnixStream::pair()?;
        let (sender, ended) = crossbeam_channel::bounded(1);
        spawn("feramiko wait", move || {
            let status = program.wait();
            drop(end);
            // Nobody waits any more when the session ended early.
            let _ = sender.send(status);
        })?;
        self.show(&pty, &over);
        ended
            .recv()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that waits for the program panicked")))
    }

    /// Copies the terminal's output until its program has ended.
    fn show(&self, pty: &Pty, over: &UnixStream) {
        let mut piece = vec![0; PIECE];
        let mut open = true;
        loop {
            let read = if open { pty.read_unless(over, &mut piece) } else { pty.read_available(&mut piece) };
            match read {
                Ok(0) if open => open = false,
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    if (&mut self.channel()).write_all(piece.get(..count).unwrap_or_default()).is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn size((columns, rows): (u32, u32), (width, height): (u32, u32)) -> Size {
    Size { columns, rows, width, height }
}

/// Whether a variable can have that name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// What a client wanted to run, if it was not the shell: a subsystem goes by its name.
fn asked_for(kind: &SessionKind) -> Option<&[u8]> {
    match kind {
        SessionKind::Shell => None,
        SessionKind::Exec(command) => Some(command),
        SessionKind::Subsystem(name) => Some(name.as_bytes()),
    }
}
