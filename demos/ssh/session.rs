//! A session of the program's own: the command or shell, its terminal, and the standard streams. Also `-W`, where
//! the streams lead to a host behind the server.

use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::thread;

use feramiko::{Agent, Channel, Endpoint, ExitStatus, HostConfig, PtyRequest, SSHClient};

use crate::forwards::Forwardings;
use crate::support::output::complain;
use crate::support::stdio;
use crate::support::terminal::{self, Mode};
use crate::typing::Typing;
use crate::{FAILED, Outcome, is, x11};

/// The size of a terminal that nobody has.
const SIZE: (u32, u32) = (80, 24);
/// The address that standard streams are said to come from, as OpenSSH has it.
const ORIGIN: (&str, u16) = ("127.0.0.1", 65535);

/// Whether the session has a terminal by the configuration; `shell` says that it runs no command.
pub(crate) fn wants_terminal(config: &HostConfig, shell: bool) -> bool {
    let (wanted, forced) = match config.get("RequestTTY").as_deref() {
        Some("false") => (false, false),
        Some("true") => (true, false),
        Some("force") => (true, true),
        _ => (shell, false),
    };
    let here = io::stdin().is_terminal() && !config.is("StdinNull");
    if wanted && !forced && !here {
        log::warn!(target: "ssh", "Pseudo-terminal will not be allocated because stdin is not a terminal.");
    }
    wanted && (forced || here)
}

/// The type of the user's terminal.
pub(crate) fn term() -> String {
    std::env::var("TERM").unwrap_or_else(|_| "dumb".into())
}

/// The exit status of the program after that of the command.
pub(crate) fn code(status: &ExitStatus) -> i32 {
    match status {
        ExitStatus::Code(code) => i32::try_from(*code).unwrap_or(FAILED),
        ExitStatus::Signal { .. } | ExitStatus::Missing => FAILED,
    }
}

/// Runs the session to its end; its exit status.
pub(crate) fn run(
    client: &SSHClient,
    config: &HostConfig,
    forwardings: &Forwardings,
    command: &[u8],
) -> Outcome<i32> {
    let channel = client.open_session()?;
    for (name, value) in config.environment() {
        channel.set_environment_variable(name.as_bytes(), value.as_bytes())?;
    }
    if let Some(socket) = config.forward_agent() {
        // Like ssh: the session is worth having without it.
        let asked = Agent::connect(socket).map_err(feramiko::Error::from);
        if let Err(error) = asked.and_then(|agent| channel.request_forward_agent(&agent)) {
            log::warn!(target: "ssh", "the agent is not forwarded: {error}");
        }
    }
    x11::forward(&channel, config);
    let tty = wants_terminal(config, command.is_empty());
    let raw = if tty { open_terminal(&channel)? } else { None };
    if is(config, "SessionType", "subsystem") {
        channel.invoke_subsystem(command)?;
    } else if command.is_empty() {
        channel.invoke_shell()?;
    } else {
        channel.exec_command(command)?;
    }
    let resized = channel.clone();
    terminal::on_resize(move |size| {
        // The session may have ended meanwhile.
        let _ = resized.resize_pty(size.columns, size.rows, (size.width, size.height));
    })?;
    let typing = Typing::new(client.transport(), &channel, tty, forwardings, config);
    let status = stream(&channel, config.is("StdinNull"), typing.clone());
    drop(raw);
    if tty && log::max_level() >= log::LevelFilter::Warn {
        complain(format_args!("Connection to {} closed.\r", config.hostname()));
    }
    if typing.has_ended() {
        return Ok(FAILED);
    }
    Ok(code(&status?))
}

/// Asks for a terminal like ours, and passes every key on while the value lives, if there is one.
fn open_terminal(channel: &Channel) -> Outcome<Option<Mode>> {
    let (columns, rows) = terminal::size().map_or(SIZE, |size| (size.columns, size.rows));
    let pty = PtyRequest::new(&term(), columns, rows);
    channel.get_pty(&pty.clone().modes_of(io::stdin()).unwrap_or(pty))?;
    Ok(if io::stdin().is_terminal() { Some(Mode::raw(io::stdin())?) } else { None })
}

/// Joins the standard streams to the channel until the command has ended.
fn stream(channel: &Channel, no_input: bool, mut typing: Typing) -> Outcome<ExitStatus> {
    if no_input {
        channel.shutdown(Shutdown::Write);
    } else {
        let mut typed = stdio::stdin()?;
        // Ends with the input, or with the program.
        thread::spawn(move || typing.follow(&mut typed));
    }
    let (errors, shown) = (channel.stderr(), stdio::stderr()?);
    let second = thread::spawn(move || copy(errors, shown, |_| Ok(())));
    // Whoever read our output has gone, or a disk is full: the program may know. Its status counts.
    let first = copy(channel, stdio::stdout()?, |_| {
        channel.send_eow();
        Ok(())
    });
    let second = second.join().map_err(|_| "the thread of standard error panicked")?;
    first?;
    second?;
    Ok(channel.wait_exit(None)?)
}

/// Joins the standard streams to a connection that the server makes, until both directions have ended.
pub(crate) fn connect_streams(client: &SSHClient, to: &Endpoint) -> Outcome<()> {
    let opened = match to {
        Endpoint::Tcp { host, port } => client.open_direct_tcpip(host, *port, ORIGIN),
        Endpoint::Unix(path) => client.open_direct_streamlocal(path),
    };
    let channel = opened.map_err(|error| format!("stdio forwarding failed: {error}"))?;
    let (input, mut typed) = (channel.clone(), stdio::stdin()?);
    thread::spawn(move || {
        // Ends with the input, or with the program.
        let _ = copy(&mut typed, &input, Err);
        input.shutdown(Shutdown::Write);
    });
    copy(&channel, stdio::stdout()?, Err)?;
    // Whoever reads our output learns of its end now; the other direction may go on.
    rustix::stdio::dup2_stdout(std::fs::File::options().write(true).open("/dev/null")?)?;
    // A connection has no exit status: what is waited for is the end of the channel.
    let _ = channel.wait_exit(None);
    Ok(())
}

/// Copies to the end. What comes after an error of `to` that `failed` does not pass on is dropped.
fn copy(
    mut from: impl Read,
    mut to: impl Write,
    failed: impl Fn(io::Error) -> io::Result<()>,
) -> io::Result<()> {
    let mut piece = vec![0; 128 * 1024];
    let mut taken = true;
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) if taken => {
                if let Err(error) = to.write_all(&piece[..count]) {
                    failed(error)?;
                    taken = false;
                }
            }
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}
