//! Sharing a connection as ssh(1) does: `-M`, `-S`, `-O`, and ControlMaster, ControlPath, ControlPersist of
//! ssh_config(5). What a program does first with a destination is [`run`]: a session over a master that is
//! there. If there is none it connects, and [`Sharing::hold`]s the connection.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use feramiko::{
    ControlMaster, ControlMasterBuilder, Error, ExitStatus, ForwardRequest, MuxClient, MuxCommand, SSHClient,
};
use rustix::process::{Pid, Signal, kill_process, setsid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::support::output::{complain, say, say_bytes};
use crate::support::prompt::permission;
use crate::support::terminal::{Mode, on_resize};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The exit status when it is not the command's.
const FAILED: i32 = 255;

/// What [`background`] starts a program with, before the arguments that it had itself.
pub(crate) const HIDDEN: &str = "--hold-shared-connection";

/// What the master is told by `-O`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Check,
    Forward,
    Cancel,
    Exit,
    Stop,
    /// `conninfo` and `channels`, by what the protocol calls them.
    Info(&'static str),
}

impl Order {
    /// The words of `-O`; none for others, and for `proxy`, which is not built.
    pub(crate) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "check" => Self::Check,
            "forward" => Self::Forward,
            "cancel" => Self::Cancel,
            "exit" => Self::Exit,
            "stop" => Self::Stop,
            "conninfo" => Self::Info("connection"),
            "channels" => Self::Info("channels"),
            _ => return None,
        })
    }
}

/// A session over a master, as it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    /// How the host is called in what the user is told.
    pub(crate) host: &'a str,
    pub(crate) command: MuxCommand,
    /// Whether the command has a terminal. Ours is then raw while it runs, if there is one.
    pub(crate) tty: bool,
    /// `-n`
    pub(crate) no_input: bool,
    /// What is to be forwarded first: `-L`, `-R`, `-D`.
    pub(crate) forwards: &'a [ForwardRequest],
}

/// `-O`: tells the master something.
pub(crate) fn order(path: &Path, order: Order, forwards: &[ForwardRequest]) -> Outcome<()> {
    let mut master = MuxClient::connect(path)?;
    match order {
        Order::Check => complain(format_args!("Master running (pid={})\r", master.check()?)),
        Order::Exit => {
            master.exit()?;
            complain("Exit request sent.\r");
        }
        Order::Stop => {
            master.stop()?;
            complain("Stop listening request sent.\r");
        }
        Order::Forward => forward(&mut master, forwards, true)?,
        Order::Cancel => forwards.iter().try_for_each(|request| master.cancel_forward(request))?,
        Order::Info(name) => say_bytes(master.info(name)?.as_bytes())?,
    }
    Ok(())
}

/// Opens forwardings; ports that the server has chosen are shown on standard output if they were asked for
/// alone.
fn forward(master: &mut MuxClient, forwards: &[ForwardRequest], alone: bool) -> Outcome<()> {
    for request in forwards {
        if let Some(port) = master.forward(request)?
            && alone
        {
            say(port)?;
        }
    }
    Ok(())
}

/// Runs a session over the master at `path`; its exit status. None where there is no master: whoever asked
/// connects.
pub(crate) fn run(path: &Path, wanted: &Wanted<'_>) -> Outcome<Option<i32>> {
    let Some(mut master) = reach(path)? else { return Ok(None) };
    let pid = master.check()?;
    forward(&mut master, wanted.forwards, false)?;
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let session = if wanted.no_input {
        master.start(&wanted.command, File::open("/dev/null")?, stdout, stderr)?
    } else {
        master.start(&wanted.command, stdin, stdout, stderr)?
    };
    // The master has seen the modes that the terminal had.
    let mut raw = match wanted.tty && io::stdin().is_terminal() {
        true => Some(Mode::raw(io::stdin())?),
        false => None,
    };
    if wanted.tty {
        relay_resizes(pid)?;
    }
    let status = session.wait(|| raw = None)?;
    drop(raw);
    if wanted.tty {
        complain(format_args!("Shared connection to {} closed.\r", wanted.host));
    }
    Ok(Some(match status {
        ExitStatus::Code(code) => i32::try_from(code).unwrap_or(FAILED),
        ExitStatus::Signal { .. } | ExitStatus::Missing => FAILED,
    }))
}

/// The master at `path`, if one listens there.
fn reach(path: &Path) -> Outcome<Option<MuxClient>> {
    match MuxClient::connect(path) {
        Ok(master) => Ok(Some(master)),
        Err(Error::Io { source, .. })
            if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused].contains(&source.kind()) =>
        {
            log::debug!(target: "ssh", "no master at {}: {source}", path.display());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The master, which has our terminal, learns of its changes by a signal.
fn relay_resizes(pid: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw);
    on_resize(move |_| {
        // It may have ended meanwhile.
        let _ = pid.map(|pid| kill_process(pid, Signal::WINCH));
    })
}

/// How a connection is held for others.
#[derive(Debug, Clone)]
pub(crate) struct Sharing {
    /// ControlPath.
    pub(crate) path: PathBuf,
    /// ControlMaster is `ask` or `autoask`: the user at the terminal, or an askpass program, may refuse.
    pub(crate) ask: bool,
    /// SendEnv: what variables of clients may pass.
    pub(crate) send_env: Vec<String>,
}

impl Sharing {
    /// Serves the connection to others. None where somebody else listens at the path: the connection is not
    /// shared then, which is told. `builder` says who forwards, and whose agent is used.
    pub(crate) fn hold(
        &self,
        client: &SSHClient,
        mut builder: ControlMasterBuilder,
    ) -> Outcome<Option<ControlMaster>> {
        builder = self.send_env.iter().fold(builder, ControlMasterBuilder::send_env);
        if self.ask {
            builder = builder.ask(permission);
        }
        match builder.serve(client.transport(), &self.path) {
            Ok(master) => Ok(Some(master)),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                let path = self.path.display();
                log::error!(target: "ssh", "ControlSocket {path} already exists, disabling multiplexing");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Waits until a master is done with: for ever, or until it had no client for `persist`. Clients that resize
/// their terminals are followed. A signal that ends the program leaves no socket behind.
pub(crate) fn wait(master: ControlMaster, persist: Option<Duration>) -> io::Result<()> {
    let master = Arc::new(master);
    let there = Arc::downgrade(&master);
    let mut signals = Signals::new([SIGWINCH, SIGHUP, SIGINT, SIGTERM])?;
    let handle = signals.handle();
    let following = std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let master = there.upgrade();
            if signal == SIGWINCH {
                master.iter().for_each(|master| master.resized());
            } else {
                master.iter().for_each(|master| master.stop_listening());
                // Ends the program.
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    })?;
    let end = master.wait(persist);
    log::debug!(target: "ssh", "the master ends: {end:?}");
    handle.close();
    following.join().map_err(|_| io::Error::other("the thread of signals panicked"))
}

/// Starts this program again, with `arguments` behind [`HIDDEN`], to connect and hold the connection in the
/// background: ControlPersist. It may ask for passwords; true once it serves, false when it has said why not.
pub(crate) fn background(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> io::Result<bool> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(HIDDEN).args(arguments).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut ready = Vec::new();
    if let Some(mut told) = child.stdout.take() {
        told.read_to_end(&mut ready)?;
    }
    // One that serves goes on when we end; one that does not has ended.
    Ok(!ready.is_empty() || child.wait()?.success())
}

/// Tells whoever has started this program by [`background`] that it serves, and leaves the terminal.
pub(crate) fn detach() -> io::Result<()> {
    io::stdout().write_all(b"+")?;
    io::stdout().flush()?;
    // One that leads a session already has left the terminal.
    let _ = setsid();
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
