//! Sessions as sshd(8) runs them: the user's shell, on a terminal if one was asked for, started
//! through a second start of our own program.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;

use super::process::pass_on;
use super::session::Session;
use super::x11::X11Display;
use crate::channel::PtyRequest;
use crate::engine::{ExitStatus, Program, spawn};
use crate::interface::SessionKind;
use crate::sys::launch::{self, Launch};
use crate::sys::modes::TerminalModes;
use crate::sys::pty::{Pty, Size};
use crate::sys::user::Account;

/// OpenSSH's default for users other than root; root's has the sbin directories too.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/games";
const ROOT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much is read of a terminal at a time; it never has more.
const PIECE: usize = 16 * 1024;

/// To be called first thing in the `main` of a server that runs sessions by
/// [`Session::run_as_login`]: what OpenSSH does between fork and exec is done by starting the own
/// program again, with a hidden argument that this call looks for. It does not return then.
pub fn child_entry() {
    launch::enter();
}

impl Session {
    /// Runs what was asked for as the user who runs the server: the login shell, or a command by
    /// `shell -c`, on a terminal if one was granted. `environment` is set besides `HOME`, `USER`,
    /// `LOGNAME`, `SHELL`, `PATH`, `TERM`, `SSH_TTY`, `SSH_ORIGINAL_COMMAND` where a command is forced,
    /// what the client was granted, and, for an agent and a display that are forwarded, `SSH_AUTH_SOCK`,
    /// `DISPLAY` and `XAUTHORITY`.
    ///
    /// # Errors
    /// When the program cannot be started; `Unsupported` for subsystems, and when `main` does not
    /// begin with [`child_entry`].
    pub fn run_as_login(self, environment: &[(String, String)]) -> io::Result<ExitStatus> {
        let account = Account::current()?;
        let command = match &self.request().kind {
            SessionKind::Shell => None,
            SessionKind::Exec(command) => Some(command.clone()),
            SessionKind::Subsystem(name) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("no subsystem is called {name}"),
                ));
            }
        };
        let mut launch = Launch::shell(account.clone(), command.as_deref().map(OsStr::from_bytes));
        let mut set = |name: &str, value: &OsStr| launch.environment.push((name.into(), value.to_owned()));
        let root = account.uid == 0;
        set("HOME", account.home.as_os_str());
        set("USER", OsStr::new(&account.name));
        set("LOGNAME", OsStr::new(&account.name));
        set("SHELL", account.shell.as_os_str());
        set("PATH", OsStr::new(if root { ROOT_PATH } else { PATH }));
        if let Some(asked) = self.request().original.as_ref().and_then(asked_for) {
            set("SSH_ORIGINAL_COMMAND", OsStr::from_bytes(asked));
        }
        // Gone with the session.
        let agent = self.forward_agent()?;
        if let Some(agent) = &agent {
            set("SSH_AUTH_SOCK", agent.path().as_os_str());
        }
        let x11 = self.x11()?;
        for (name, value) in x11.iter().flat_map(X11Display::environment) {
            set(name, &value);
        }
        for (name, value) in self.request().env.iter().chain(environment) {
            set(name, OsStr::new(value));
        }
        match self.request().pty.clone() {
            Some(pty) => self.run_on_terminal(launch, &pty),
            None => {
                let command = launch.command()?;
                self.run_prepared(command)
            }
        }
    }

    fn run_on_terminal(self, mut launch: Launch, request: &PtyRequest) -> io::Result<ExitStatus> {
        let pty = Arc::new(Pty::open()?);
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
        pass_on(self.events().clone(), program.running(), (), move |characters, pixels| {
            if let Err(error) = resized.set_size(size(characters, pixels)) {
                log::debug!(target: "feramiko::server", "resizing a terminal: {error}");
            }
        })?;
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

/// What a client wanted to run, if it was not the shell: a subsystem goes by its name.
fn asked_for(kind: &SessionKind) -> Option<&[u8]> {
    match kind {
        SessionKind::Shell => None,
        SessionKind::Exec(command) => Some(command),
        SessionKind::Subsystem(name) => Some(name.as_bytes()),
    }
}
