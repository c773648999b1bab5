//! Serving: the listeners, the signals that end and reload, the background. OpenSSH's sshd.c.

use std::fs;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use feramiko::{SSHServer, ServerHandle, TcpListeners};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::site::{Application, Site};
use crate::support::output::complain;

/// The hidden first argument of the process in the background.
pub(crate) const WORD: &str = "--in-background";
/// What that process says on its standard output once it listens.
const READY: &[u8] = b"ready\n";
/// Time for connections to end by themselves.
const DRAIN: Duration = Duration::from_secs(5);

/// What a configuration comes to.
pub(crate) struct Loaded {
    pub(crate) site: Site,
    pub(crate) server: SSHServer,
    pub(crate) addresses: Vec<SocketAddr>,
    /// TCPKeepAlive
    pub(crate) keepalive: bool,
    pub(crate) pid_file: Option<PathBuf>,
}

/// How this process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Foreground,
    /// Started by one that waits to hear that we listen. `log`: standard error is still ours.
    Background {
        log: bool,
    },
}

/// Starts our own program again in the background, and waits until it listens or has said why it does not.
pub(crate) fn to_background() -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut child = Command::new(program)
        .arg(WORD)
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start in the background: {error}"))?;
    let mut said = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_end(&mut said).map_err(|error| error.to_string())?;
    }
    // It has said why on our standard error.
    if said == READY { Ok(()) } else { Err("not started".to_owned()) }
}

/// Lets go of whoever started us.
fn detach(log: bool) -> io::Result<()> {
    std::env::set_current_dir("/")?;
    io::stdout().write_all(READY)?;
    io::stdout().flush()?;
    let nothing = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&nothing)?;
    if !log {
        dup2_stderr(&nothing)?;
    }
    // Last: whoever waits for its end goes on then.
    Ok(dup2_stdout(&nothing)?)
}

/// Listens on those of the addresses that can be listened on.
fn listen(addresses: &[SocketAddr]) -> Result<TcpListeners, String> {
    let all = TcpListeners::bind(addresses);
    let Err(error) = all else { return all.map_err(|error| error.to_string()) };
    let can = |address: &&SocketAddr| match TcpListeners::bind(&[**address]) {
        Ok(_) => true,
        Err(error) => {
            log::warn!(target: "sshd", "cannot listen on {error}");
            false
        }
    };
    let some: Vec<_> = addresses.iter().filter(can).copied().collect();
    TcpListeners::bind(&some).map_err(|_| format!("cannot listen on {error}"))
}

/// Says where connections are accepted, once they are.
fn told(listeners: &TcpListeners) -> Result<impl FnOnce() + use<>, String> {
    let bound = listeners.local_addrs().map_err(|error| error.to_string())?;
    Ok(move || bound.iter().for_each(|address| complain(format_args!("listening on {address}"))))
}

/// A file with our number, removed with this value.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Option<Self> {
        match fs::write(path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(Self(path.to_owned())),
            Err(error) => {
                // As sshd does: it serves all the same.
                log::error!(target: "sshd", "PidFile {}: {error}", path.display());
                None
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            log::debug!(target: "sshd", "PidFile {}: {error}", self.0.display());
        }
    }
}

/// A server that runs, with what it was made of.
struct Serving {
    handle: ServerHandle,
    addresses: Vec<SocketAddr>,
    keepalive: bool,
    /// What new connections begin with.
    site: Arc<Mutex<Arc<Site>>>,
    pid_file: Option<PidFile>,
}

impl Serving {
    fn begin(loaded: Loaded) -> Result<Self, String> {
        let listeners = listen(&loaded.addresses)?;
        let bound = told(&listeners)?;
        let site = Arc::new(Mutex::new(Arc::new(loaded.site)));
        let current = Arc::clone(&site);
        let interface = move |peer: &_| {
            let site = Arc::clone(&current.lock().unwrap_or_else(PoisonError::into_inner));
            Application::new(site, peer)
        };
        let listeners = listeners.tcp_keepalive(loaded.keepalive);
        let handle = loaded.server.serve(listeners, interface).map_err(|error| error.to_string())?;
        let pid_file = loaded.pid_file.as_deref().and_then(PidFile::write);
        bound();
        Ok(Self { handle, addresses: loaded.addresses, keepalive: loaded.keepalive, site, pid_file })
    }

    /// Serves new connections as another configuration has it.
    fn reload(&mut self, mut loaded: Loaded) -> Result<(), String> {
        self.handle.replace(&loaded.server);
        *self.site.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded.site);
        // Written anew, as by a sshd that starts again. The one before goes first: it may be the same.
        self.pid_file = None;
        self.pid_file = loaded.pid_file.as_deref().and_then(PidFile::write);
        if loaded.addresses != self.addresses || loaded.keepalive != self.keepalive {
            // Some addresses may be the same.
            self.handle.stop_listening();
            let listeners = listen(&loaded.addresses).or_else(|why| {
                // Whoever asked for it may come in no other way.
                log::error!(target: "sshd", "the addresses stay as they were: {why}");
                loaded.addresses.clone_from(&self.addresses);
                listen(&loaded.addresses)
            })?;
            let tell = told(&listeners)?;
            let listeners = listeners.tcp_keepalive(loaded.keepalive);
            self.handle.listen(listeners).map_err(|error| error.to_string())?;
            tell();
            (self.addresses, self.keepalive) = (loaded.addresses, loaded.keepalive);
        }
        Ok(())
    }
}

/// Serves until a signal ends it. `load` reads the configuration again.
pub(crate) fn serve(
    loaded: Loaded,
    place: Place,
    load: impl Fn() -> Result<Loaded, String>,
) -> Result<(), String> {
    if matches!(place, Place::Background { .. }) {
        rustix::process::setsid().map_err(|error| error.to_string())?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| error.to_string())?;
    let mut serving = Serving::begin(loaded)?;
    if let Place::Background { log } = place {
        detach(log).map_err(|error| error.to_string())?;
    }
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        match load() {
            Ok(loaded) => serving.reload(loaded)?,
            Err(why) => log::error!(target: "sshd", "the configuration stays as it was: {why}"),
        }
    }
    serving.handle.shutdown(DRAIN);
    Ok(())
}
