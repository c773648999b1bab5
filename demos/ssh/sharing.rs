//! Sharing a connection as ssh(1) does: `-M`, `-S`, `-O`, and ControlMaster, ControlPath, ControlPersist of
//! ssh_config(5). What a program does first with a destination is [`run`]: a session over a master that is
//! there. If there is none it connects, and [`Sharing::hold`]s the connection.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use feramiko::{
    ControlMaster, ControlMasterBuilder, Endpoint, Error, ForwardRequest, MuxClient, MuxCommand, SSHClient,
};
use rustix::process::{Pid, Signal, kill_process};

use crate::Outcome;
use crate::session::code;
use crate::support::connect::no_master;
use crate::support::output::{complain, say, say_bytes};
use crate::support::prompt::permission;
use crate::support::terminal::{Mode, before_the_end, on_resize, on_window_change};

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
    /// `-W`: what runs is a connection there.
    pub(crate) streams: Option<&'a Endpoint>,
    /// `-N`: nothing runs.
    pub(crate) nothing: bool,
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

/// Runs a session over the master at `path`; its exit status. `begun` is called when it runs. None where there is
/// no master, or none that forwards what is wanted or has a session for us: whoever asked connects.
pub(crate) fn run(
    path: &Path,
    wanted: &Wanted<'_>,
    begun: impl FnOnce() -> io::Result<()>,
) -> Outcome<Option<i32>> {
    let Some(mut master) = reach(path)? else { return Ok(None) };
    let pid = master.check()?;
    if let Err(error) = forward(&mut master, wanted.forwards, false) {
        log::error!(target: "ssh", "master forward request failed: {error}");
        return Ok(None);
    }
    if wanted.nothing {
        begun()?;
        return Ok(Some(0));
    }
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let session = match wanted.streams {
        Some(to) => Ok(master.stdio_forward(to, stdin, stdout)?),
        None if wanted.no_input => master.start(&wanted.command, File::open("/dev/null")?, stdout, stderr),
        None => master.start(&wanted.command, stdin, stdout, stderr),
    };
    let session = match session {
        // The server may let no more sessions run on one connection, or the master's user refuse.
        Err(error @ Error::MasterRefused { .. }) => {
            log::error!(target: "ssh", "{error}");
            return Ok(None);
        }
        session => session?,
    };
    begun()?;
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
    Ok(Some(if wanted.streams.is_some() { 0 } else { code(&status) }))
}

/// The master at `path`, if one listens there.
fn reach(path: &Path) -> Outcome<Option<MuxClient>> {
    match MuxClient::connect(path) {
        Ok(master) => Ok(Some(master)),
        Err(error) if no_master(&error) => {
            log::debug!(target: "ssh", "no master at {}: {error}", path.display());
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
    ) -> Outcome<Option<Arc<ControlMaster>>> {
        builder = self.send_env.iter().fold(builder, ControlMasterBuilder::send_env);
        if self.ask {
            builder = builder.ask(permission);
        }
        match builder.serve(client.transport(), &self.path) {
            Ok(master) => Ok(Some(followed(master)?)),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                let path = self.path.display();
                log::error!(target: "ssh", "ControlSocket {path} already exists, disabling multiplexing");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A master whose clients resize their terminals, and that leaves no socket behind when a signal ends the
/// program.
fn followed(master: ControlMaster) -> io::Result<Arc<ControlMaster>> {
    let master = Arc::new(master);
    let (resized, ended) = (Arc::downgrade(&master), Arc::downgrade(&master));
    on_window_change(move || resized.upgrade().iter().for_each(|master| master.resized()))?;
    before_the_end(move || ended.upgrade().iter().for_each(|master| master.stop_listening()))?;
    Ok(master)
}
