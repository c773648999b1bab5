//! A client with the options of ssh(1) that are built; exit status as ssh's.

mod forwards;
mod options;
mod query;
#[path = "../support/mod.rs"]
mod support;
mod x11;

use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStrExt;
use std::process::exit;
use std::time::Duration;

use feramiko::{
    Agent, Channel, ExitStatus, HostConfig, HostKeysChange, PKey, PtyRequest, PublicKey, SSHClient,
    SSHClientBuilder,
};
use options::Options;
use support::output::{complain, say};
use support::prompt::{Echo, ask};
use support::questions::{AskPolicy, questions};
use support::stdio;
use support::terminal::{self, Mode};

const USAGE: &str =
    "usage: ssh [-46AaCGgNnqsTtVvXxY] [-B interface] [-b address] [-c ciphers] [-D listen] [-E log] [-e escape]
           [-F config] [-i identity] [-J jump] [-L rule] [-l user] [-m macs] [-o option=value] [-P tag] [-p port]
           [-Q query] [-R rule] destination [command ...]
Not built yet: -f -I -K -k -M -O -S -W -w -y, and the options of the same meaning.
A terminal knows no escapes (~. and others).
A host whose key has changed is refused, with StrictHostKeyChecking=no too.";
/// The exit status when it is not the command's.
const FAILED: i32 = 255;
/// The size of a terminal that nobody has.
const SIZE: (u32, u32) = (80, 24);

/// The keys of this host, which its users can seldom read: ssh has ssh-keysign sign with them.
const HOST_KEYS: [&str; 3] =
    ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_rsa_key"];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// This host vouches for its user, with each key that can be read.
fn hostbased(mut builder: SSHClientBuilder) -> Outcome<SSHClientBuilder> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let user = std::env::var("LOGNAME").or_else(|_| std::env::var("USER"))?;
    let mut failed = String::new();
    let mut count = 0;
    for path in HOST_KEYS {
        let mut key = match PKey::from_file(path, None) {
            Ok(key) => key,
            Err(error) => {
                failed = error.to_string();
                continue;
            }
        };
        if let Ok((certificate, _)) = PublicKey::from_file(format!("{path}-cert.pub")) {
            key = key.with_certificate(&certificate)?;
        }
        builder = builder.hostbased(key, &host, &user);
        count += 1;
    }
    if count == 0 {
        return Err(format!("HostbasedAuthentication: no key of this host can be read: {failed}").into());
    }
    Ok(builder)
}

/// Asks whether known_hosts may be changed.
fn may_update(change: &HostKeysChange) -> bool {
    for (what, keys) in [("Learned new", &change.new), ("Deprecating obsolete", &change.old)] {
        for key in keys {
            complain(format_args!("{what} hostkey: {} {}", key.key_type(), key.fingerprint()));
        }
    }
    let answer = ask("Accept updated hostkeys? (yes/no): ", Echo::On).ok().flatten();
    answer.is_some_and(|answer| answer.matches("yes"))
}

fn run() -> Outcome<i32> {
    let options = Options::from_env()?;
    if options.version {
        complain(format_args!("feramiko {}", env!("CARGO_PKG_VERSION")));
        return Ok(0);
    }
    if let Some(what) = &options.query {
        let lines = query::answer(what).ok_or_else(|| format!("Unsupported query \"{what}\""))?;
        lines.iter().try_for_each(say)?;
        return Ok(0);
    }
    // What is wrong with the files is told as the command line wants it.
    let config = options.lookup().inspect_err(|_| start_log(options.level().unwrap_or("INFO"), &options))?;
    if options.show {
        config.lines().iter().try_for_each(say)?;
        return Ok(0);
    }
    let command = command(&config, &options)?;
    start_log(&config.get("LogLevel").unwrap_or_default(), &options);
    built(&config)?;
    let client = connect(&config, &options)?;
    if log::max_level() >= log::LevelFilter::Warn {
        client.banners().iter().for_each(complain);
    }
    let _forwards = forwards::start(&client, &config)?;
    if let Some(line) = config.local_command(None)? {
        let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
        std::process::Command::new(shell).arg("-c").arg(line).status()?;
    }
    if is(&config, "SessionType", "none") {
        while client.transport().is_active() {
            std::thread::park_timeout(Duration::from_secs(1));
        }
        return Err("the connection was closed".into());
    }
    session(&client, &config, &command)
}

/// Shows the log from now on. A log that cannot be written is no reason to stop.
fn start_log(level: &str, options: &Options) {
    let level = support::log::level_named(level).unwrap_or_else(|| support::log::level(0));
    if let Err(error) = support::log::start(level, options.log_file.as_deref()) {
        complain(format_args!("ssh: the log: {error}"));
    }
}

fn is(config: &HostConfig, name: &str, value: &str) -> bool {
    config.get(name).as_deref() == Some(value)
}

/// The command of the line or of the file; empty for a shell.
fn command(config: &HostConfig, options: &Options) -> Outcome<Vec<u8>> {
    match (config.remote_command(), options.command.as_slice()) {
        (Some(_), [_, ..]) => Err("Cannot execute command-line and remote command.".into()),
        (Some(command), []) => Ok(command.as_bytes().to_vec()),
        (None, []) if is(config, "SessionType", "subsystem") => {
            Err(format!("You must specify a subsystem to invoke.\n{USAGE}").into())
        }
        (None, command) => Ok(command.to_vec()),
    }
}

/// Refuses what is asked for and is not built: nobody is to rely on it.
fn built(config: &HostConfig) -> Outcome<()> {
    let asked =
        |name: &str, not: &str| config.is_said(name) && !is(config, name, not) && !is(config, name, "none");
    let wanted = [
        ("ForkAfterAuthentication", "no"),
        ("ControlMaster", "false"),
        ("ControlPath", ""),
        ("Tunnel", "false"),
        ("GSSAPIDelegateCredentials", "no"),
    ];
    if config.stdio_forward().is_some() {
        return Err("-W is not built".into());
    }
    if config.remote_forwards().iter().any(|rule| rule.to.is_none()) {
        return Err("RemoteForward without an end is not built".into());
    }
    match wanted.iter().find(|(name, not)| asked(name, not)) {
        Some((name, _)) => Err(format!("{name} is not built").into()),
        None => Ok(()),
    }
}

fn connect(config: &HostConfig, options: &Options) -> Outcome<SSHClient> {
    let files = options.odd_identities.iter();
    let mut builder = files.fold(SSHClient::builder(), |builder, path| builder.key_file(path, None));
    if config.is("HostbasedAuthentication") {
        builder = hostbased(builder)?;
    }
    let (batch, here) = (config.is("BatchMode"), io::stdin().is_terminal());
    if is(config, "StrictHostKeyChecking", "ask") && here && !batch {
        builder = builder.missing_host_key(AskPolicy);
    }
    if is(config, "UpdateHostKeys", "ask") {
        builder = builder.update_host_keys_callback(may_update);
    }
    if config.proxy_jump().is_some() {
        let files = config.config().clone();
        builder = builder.jump_with(move |jump| {
            let builder = SSHClient::builder().ssh_config(files.clone());
            if here && !batch { questions(builder.missing_host_key(AskPolicy), &jump.host) } else { builder }
        });
    }
    if !batch && (here || std::env::var_os("SSH_ASKPASS_REQUIRE").is_some()) {
        builder = questions(builder, config.original_host());
    }
    Ok(builder.connect_to(config)?)
}

fn session(client: &SSHClient, config: &HostConfig, command: &[u8]) -> Outcome<i32> {
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
    x11::forward(config, &channel);
    let raw = open_terminal(&channel, config, command.is_empty())?;
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
    let status = stream(&channel, config.is("StdinNull"))?;
    drop(raw);
    client.close();
    Ok(match status {
        ExitStatus::Code(code) => i32::try_from(code).unwrap_or(FAILED),
        ExitStatus::Signal { .. } | ExitStatus::Missing => FAILED,
    })
}

/// Asks for a terminal, if there is to be one, and passes every key on while the value lives.
fn open_terminal(channel: &Channel, config: &HostConfig, shell: bool) -> Outcome<Option<Mode>> {
    let (wanted, forced) = match config.get("RequestTTY").as_deref() {
        Some("false") => (false, false),
        Some("true") => (true, false),
        Some("force") => (true, true),
        _ => (shell, false),
    };
    let here = io::stdin().is_terminal() && !config.is("StdinNull");
    if !wanted || !(forced || here) {
        if wanted {
            log::warn!(target: "ssh", "Pseudo-terminal will not be allocated because stdin is not a terminal.");
        }
        return Ok(None);
    }
    let (columns, rows) = terminal::size().map_or(SIZE, |size| (size.columns, size.rows));
    let pty = PtyRequest::new(&std::env::var("TERM").unwrap_or_else(|_| "dumb".into()), columns, rows);
    channel.get_pty(&pty.clone().modes_of(io::stdin()).unwrap_or(pty))?;
    Ok(if here { Some(Mode::raw(io::stdin())?) } else { None })
}

/// Joins the standard streams to the channel until the command has ended.
fn stream(channel: &Channel, no_input: bool) -> Outcome<ExitStatus> {
    if no_input {
        channel.shutdown(Shutdown::Write);
    } else {
        let (input, mut typed) = (channel.clone(), stdio::stdin()?);
        std::thread::spawn(move || {
            // Ends with the input, or with the program.
            let _ = copy(&mut typed, &input, Err);
            input.shutdown(Shutdown::Write);
        });
    }
    let (errors, shown) = (channel.stderr(), stdio::stderr()?);
    let second = std::thread::spawn(move || copy(errors, shown, |_| Ok(())));
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

fn main() {
    let code = run().unwrap_or_else(|error| {
        if support::log::started() {
            log::error!(target: "ssh", "ssh: {error}");
        } else {
            complain(format_args!("ssh: {error}"));
        }
        FAILED
    });
    exit(code);
}
