//! An agent for the user who runs it, with the options of ssh-agent(1) that are built.
//!
//! Where OpenSSH's goes to the background by fork, this one starts its own program again: the fresh
//! process gets the listener as its standard input, says on its standard output that it serves, and
//! lives on. With a command it stays in front of it and ends with it.

mod support;

use std::error::Error;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use feramiko::{AgentServer, PublicKey};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit, setsid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use support::args::{Args, Options};
use support::given::{text, time};
use support::log::{level, start};
use support::output::{complain, say};
use support::prompt::permission;

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: ssh_agent [-c | -s] [-Dd] [-a bind_address] [-t life]
       ssh_agent [-a bind_address] [-t life] command [arg ...]
       ssh_agent [-c | -s] -k";
const OPTIONS: Options = Options { letters: "a:cdDkst:", names: &[] };
/// The hidden first argument of the process in the background.
const BACKGROUND: &str = "--feramiko-agent";
/// What it says when signals no longer leave its socket behind.
const READY: &[u8] = b"ready\n";
/// The status after a signal; OpenSSH's.
const SIGNALLED: u8 = 2;
/// The pause after a connection could not be accepted: something of the system's is used up.
const PAUSE: Duration = Duration::from_millis(100);

/// What the command line asks for.
#[derive(Debug, Default)]
struct Wanted {
    csh: Option<bool>,
    foreground: bool,
    debug: bool,
    kill: bool,
    socket: Option<PathBuf>,
    lifetime: Option<u32>,
    command: Vec<OsString>,
}

impl Wanted {
    fn read(mut args: Args) -> Outcome<Self> {
        let mut this = Self::default();
        while let Some((letter, value)) = args.option()? {
            match letter {
                'c' | 's' if this.csh.is_some_and(|csh| csh != (letter == 'c')) => return Err(USAGE.into()),
                'c' | 's' => this.csh = Some(letter == 'c'),
                'd' | 'D' if this.foreground => return Err(USAGE.into()),
                'd' | 'D' => (this.foreground, this.debug) = (true, letter == 'd'),
                'k' => this.kill = true,
                // A shell is told it, as text.
                'a' => this.socket = Some(text(&value)?.into()),
                _ => this.lifetime = Some(time(text(&value)?)?),
            }
        }
        this.command = args.rest();
        if !this.command.is_empty() && (this.csh.is_some() || this.kill || this.foreground) {
            return Err(USAGE.into());
        }
        Ok(this)
    }

    /// What is printed is for a C shell.
    fn for_csh(&self) -> bool {
        let shell = || std::env::var_os("SHELL").unwrap_or_default();
        self.csh.unwrap_or_else(|| shell().as_bytes().ends_with(b"csh"))
    }
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    let outcome = if words.next_if(|word| word == BACKGROUND).is_some() {
        in_background(words)
    } else {
        Wanted::read(Args::new(OPTIONS, words)).and_then(run)
    };
    outcome.unwrap_or_else(|error| {
        complain(format_args!("ssh_agent: {error}"));
        ExitCode::FAILURE
    })
}

fn run(wanted: Wanted) -> Outcome<ExitCode> {
    if wanted.kill {
        return kill(wanted.for_csh());
    }
    if wanted.debug {
        start(level(2), None)?;
    }
    let place = Place::new(wanted.socket.as_deref())?;
    let listener = AgentServer::listen(&place.path)
        .map_err(|error| format!("cannot listen on {}: {error}", place.path.display()))
        .inspect_err(|_| place.remove_directory())?;
    let outcome = if !wanted.command.is_empty() {
        with_command(&wanted, &place, listener)
    } else if wanted.foreground {
        let signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1])?;
        server(wanted.lifetime, listener).and_then(|server| {
            tell(&place.path, None, wanted.for_csh())?;
            Ok(serve(&server, &place, signals, true))
        })
    } else {
        to_background(&wanted, &place, listener)
    };
    outcome.inspect_err(|_| place.remove())
}

/// The socket, and the directory that was made for it.
#[derive(Debug, Clone)]
struct Place {
    path: PathBuf,
    directory: Option<PathBuf>,
}

impl Place {
    /// The socket that was asked for, or one in a new directory that only we may enter.
    fn new(socket: Option<&Path>) -> io::Result<Self> {
        if let Some(socket) = socket {
            // The background has another working directory.
            return Ok(Self { path: std::path::absolute(socket)?, directory: None });
        }
        let private = fs::Permissions::from_mode(0o700);
        let directory =
            tempfile::Builder::new().prefix("ssh-").rand_bytes(12).permissions(private).tempdir()?;
        let directory = directory.keep();
        let path = directory.join(format!("agent.{}", std::process::id()));
        Ok(Self { path, directory: Some(directory) })
    }

    /// Removes both. What is not there any more, or not empty, is somebody else's business.
    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        self.remove_directory();
    }

    fn remove_directory(&self) {
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Prints what a shell is to evaluate. In the foreground the number is only shown, as OpenSSH does.
fn tell(path: &Path, agent: Option<u32>, csh: bool) -> io::Result<()> {
    let set = |name: &str, value: &str| match csh {
        true => format!("setenv {name} {value};\n"),
        false => format!("{name}={value}; export {name};\n"),
    };
    let mut text = set("SSH_AUTH_SOCK", &quoted(&path.to_string_lossy()));
    text.extend(agent.map(|agent| set("SSH_AGENT_PID", &agent.to_string())));
    text += &format!("echo Agent pid {};\n", agent.unwrap_or_else(std::process::id));
    let mut output = io::stdout();
    output.write_all(text.as_bytes())?;
    output.flush()
}

/// A word as every shell takes it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%".contains(letter);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Ends the agent that SSH_AGENT_PID names.
fn kill(csh: bool) -> Outcome<ExitCode> {
    let value = std::env::var("SSH_AGENT_PID").map_err(|_| "SSH_AGENT_PID not set, cannot kill agent")?;
    let number = value.parse::<i32>().ok().filter(|number| *number > 1);
    let agent = number
        .and_then(Pid::from_raw)
        .ok_or_else(|| format!("SSH_AGENT_PID=\"{value}\", which is not a good PID"))?;
    kill_process(agent, Signal::TERM).map_err(|error| format!("kill: {error}"))?;
    let unset = if csh { "unsetenv" } else { "unset" };
    say(format_args!("{unset} SSH_AUTH_SOCK;\n{unset} SSH_AGENT_PID;\necho Agent pid {value} killed;"))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts our own program again as the agent, and tells the shell about it once it serves.
fn to_background(wanted: &Wanted, place: &Place, listener: UnixListener) -> Outcome<ExitCode> {
    let mut command = Command::new(std::env::current_exe()?);
    let lifetime = wanted.lifetime.map(|seconds| seconds.to_string()).unwrap_or_default();
    command.arg(BACKGROUND).arg(lifetime).arg(&place.path).args(&place.directory);
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir("/");
    let mut agent = command.spawn()?;
    let mut said = Vec::new();
    if let Some(output) = agent.stdout.as_mut() {
        output.take(u64::try_from(READY.len())?).read_to_end(&mut said)?;
    }
    if said != READY {
        return Err("the agent does not start".into());
    }
    tell(&place.path, Some(agent.id()), wanted.for_csh()).inspect_err(|_| {
        // Nobody would know of it.
        let _ = agent.kill();
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The fresh process: lifetime, socket and directory come as arguments, the listener as standard input.
fn in_background(mut words: impl Iterator<Item = OsString>) -> Outcome<ExitCode> {
    let lifetime = words.next().unwrap_or_default();
    let lifetime = Some(lifetime.to_string_lossy()).filter(|text| !text.is_empty()).map(|text| time(&text));
    let path = words.next().ok_or(USAGE)?.into();
    let place = Place { path, directory: words.next().map(PathBuf::from) };
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    setsid()?;
    let signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1])?;
    let server = server(lifetime.transpose()?, listener)?;
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    io::stdout().write_all(READY)?;
    io::stdout().flush()?;
    rustix::stdio::dup2_stdout(&nothing)?;
    Ok(serve(&server, &place, signals, false))
}

/// Runs the command with the agent behind it, and ends as it ends.
fn with_command(wanted: &Wanted, place: &Place, listener: UnixListener) -> Outcome<ExitCode> {
    // The terminal sends these to the command too, whose business they are.
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1])?;
    let server = server(wanted.lifetime, listener)?;
    let (program, arguments) = wanted.command.split_first().ok_or(USAGE)?;
    let mut command = Command::new(program);
    command.args(arguments).env("SSH_AUTH_SOCK", &place.path);
    command.env("SSH_AGENT_PID", std::process::id().to_string());
    let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
    let (agent, socket) = (server.clone(), place.clone());
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => agent.remove_all(),
                SIGHUP | SIGTERM => {
                    agent.close();
                    socket.remove();
                }
                _ => {}
            }
        }
    })?;
    let status = child.wait()?;
    server.close();
    place.remove();
    // What a shell says of a command that a signal has ended.
    let code = status.code().or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Serves until a signal ends it. SIGUSR1 removes all keys; SIGINT is for the foreground.
fn serve(server: &AgentServer, place: &Place, mut signals: Signals, foreground: bool) -> ExitCode {
    for signal in signals.forever() {
        match signal {
            SIGUSR1 => server.remove_all(),
            SIGINT if !foreground => {}
            _ => break,
        }
    }
    server.close();
    place.remove();
    ExitCode::from(SIGNALLED)
}

/// An agent that serves whoever connects to the listener, each on a thread.
fn server(lifetime: Option<u32>, listener: UnixListener) -> Outcome<AgentServer> {
    keep_memory_private()?;
    let mut builder = AgentServer::builder().confirm(confirm);
    if let Some(seconds) = lifetime.filter(|seconds| *seconds > 0) {
        builder = builder.default_lifetime(Duration::from_secs(seconds.into()));
    }
    let server = builder.build();
    let (clock, agent) = (server.clone(), server.clone());
    thread::Builder::new().name("clock".into()).spawn(move || clock.expire_keys())?;
    thread::Builder::new().name("accept".into()).spawn(move || accept(&agent, &listener))?;
    Ok(server)
}

fn accept(server: &AgentServer, listener: &UnixListener) {
    loop {
        let served = listener.accept().and_then(|(stream, _)| {
            let server = server.clone();
            let connection = move || {
                if let Err(error) = server.serve_connection(stream) {
                    log::debug!(target: "ssh_agent", "a connection ends: {error}");
                }
            };
            thread::Builder::new().name("connection".into()).spawn(connection).map(drop)
        });
        if let Err(error) = served {
            log::error!(target: "ssh_agent", "cannot serve: {error}");
            thread::sleep(PAUSE);
        }
    }
}

/// Neither a core dump nor a debugger of the user's other programs shows the keys.
fn keep_memory_private() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Asks the user, one question at a time.
fn confirm(key: &PublicKey, comment: &str) -> bool {
    static ASKING: Mutex<()> = Mutex::new(());
    let _asking = ASKING.lock();
    permission(&format!("Allow use of key {comment}?\nKey fingerprint {}.", key.fingerprint()))
}
