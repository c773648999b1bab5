//! A client with the options of ssh(1) that are built; exit status as ssh's.

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
    AcceptNewPolicy, Agent, Channel, ExitStatus, HostAddressCheck, HostKeysChange, Limits, PKey, PtyRequest,
    PublicKey, RejectPolicy, SSHClient, SSHClientBuilder,
};
use options::{Checking, Family, Options, Tty, Update};
use support::output::{complain, say};
use support::prompt::{Echo, ask};
use support::questions::{AskPolicy, questions};
use support::stdio;
use support::terminal::{self, Mode};

const USAGE: &str =
    "usage: ssh [-46AaCNnqsTtVvXxY] [-c ciphers] [-E log] [-F none] [-i identity] [-l user] [-m macs]
           [-o option=value] [-p port] [-Q query] destination [command ...]
Not built yet: -B -b -D -e -f -G -g -I -J -K -k -L -M -O -R -S -W -w -y, and -F other than none:
no configuration file is read, ~/.ssh/config neither. A terminal knows no escapes (~. and others).
A host whose key has changed is refused, with StrictHostKeyChecking=no too.";
/// The exit status when it is not the command's.
const FAILED: i32 = 255;
const PORT: u16 = 22;

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
    if options.subsystem && options.command.is_empty() {
        return Err(format!("You must specify a subsystem to invoke.\n{USAGE}").into());
    }
    support::log::start(options.level(), options.log_file.as_deref())?;
    let client = connect(&options)?;
    if log::max_level() >= log::LevelFilter::Warn {
        client.banners().iter().for_each(complain);
    }
    if options.no_command {
        while client.transport().is_active() {
            std::thread::park_timeout(Duration::from_secs(1));
        }
        return Err("the connection was closed".into());
    }
    session(&client, &options)
}

fn connect(options: &Options) -> Outcome<SSHClient> {
    let mut builder = SSHClient::builder().algorithms(options.algorithms()?).limits(limits(options));
    builder = builder.compress(options.compression.unwrap_or(false));
    builder = match options.family {
        Some(Family::V4) => builder.ipv4_only(),
        Some(Family::V6) => builder.ipv6_only(),
        None => builder,
    };
    if let Some((interval, count)) = options.keepalive() {
        builder = builder.keepalive(interval, count);
    }
    if let Some(time) = options.connect_timeout.flatten() {
        builder = builder.deadline(time);
    }
    let (batch, here) = (options.batch.unwrap_or(false), io::stdin().is_terminal());
    builder = host_keys(identities(builder, options)?, options, here && !batch);
    if !batch && (here || std::env::var_os("SSH_ASKPASS_REQUIRE").is_some()) {
        builder = questions(builder, &options.host);
    }
    if let Some(user) = &options.user {
        builder = builder.username(user);
    }
    let host = if options.host.contains(':') { format!("[{}]", options.host) } else { options.host.clone() };
    Ok(builder.connect(&format!("{host}:{}", options.port.unwrap_or(PORT)))?)
}

fn limits(options: &Options) -> Limits {
    let mut limits = Limits::default();
    let (bytes, interval) = options.rekey.unwrap_or_default();
    limits.rekey_bytes = bytes.unwrap_or(limits.rekey_bytes);
    limits.rekey_interval = interval.unwrap_or(limits.rekey_interval);
    limits
}

/// What the user proves with. Files that are named stand for the usual ones.
fn identities(mut builder: SSHClientBuilder, options: &Options) -> Outcome<SSHClientBuilder> {
    if options.hostbased.unwrap_or(false) {
        builder = hostbased(builder)?;
    }
    if !options.identities.is_empty() {
        builder = builder.no_default_keys();
    }
    builder = options.identities.iter().fold(builder, |builder, path| builder.key_file(path, None));
    Ok(builder.identities_only(options.identities_only.unwrap_or(false)))
}

/// How the host is known.
fn host_keys(mut builder: SSHClientBuilder, options: &Options, may_ask: bool) -> SSHClientBuilder {
    let checking = options.checking.unwrap_or(Checking::Ask);
    builder = match checking {
        Checking::No | Checking::AcceptNew => builder.missing_host_key(AcceptNewPolicy),
        Checking::Ask if may_ask => builder.missing_host_key(AskPolicy),
        Checking::Ask | Checking::Yes => builder.missing_host_key(RejectPolicy),
    };
    if let Some(files) = &options.known_hosts {
        builder = builder.known_hosts_files(files);
    }
    if let Some(files) = &options.global_known_hosts {
        builder = builder.global_known_hosts_files(files);
    }
    builder = options.revoked.iter().flatten().fold(builder, SSHClientBuilder::revoked_host_keys);
    if options.check_host_ip.unwrap_or(false) {
        let warn = checking == Checking::No;
        builder = builder.check_host_ip(if warn { HostAddressCheck::Warn } else { HostAddressCheck::Reject });
    }
    if let Some(hash) = options.hash_known_hosts {
        builder = builder.hash_known_hosts(hash);
    }
    if let Some(name) = &options.alias {
        builder = builder.host_key_alias(name);
    }
    match options.update {
        Some(Update::Ask) => builder.update_host_keys_callback(may_update),
        Some(update) => builder.update_host_keys(update == Update::Yes),
        None => builder,
    }
}

fn session(client: &SSHClient, options: &Options) -> Outcome<i32> {
    let channel = client.open_session()?;
    for (name, value) in options.environment() {
        channel.set_environment_variable(name.as_bytes(), value.as_bytes())?;
    }
    if let Some(socket) = options.forward_agent.iter().flatten().next() {
        // Like ssh: the session is worth having without it.
        let asked = Agent::connect(socket).map_err(feramiko::Error::from);
        if let Err(error) = asked.and_then(|agent| channel.request_forward_agent(&agent)) {
            log::warn!(target: "ssh", "the agent is not forwarded: {error}");
        }
    }
    options.x11.forward(&channel);
    let raw = open_terminal(&channel, options)?;
    if options.subsystem {
        channel.invoke_subsystem(&options.command)?;
    } else if options.command.is_empty() {
        channel.invoke_shell()?;
    } else {
        channel.exec_command(&options.command)?;
    }
    let resized = channel.clone();
    terminal::on_resize(move |size| {
        // The session may have ended meanwhile.
        let _ = resized.resize_pty(size.columns, size.rows, (size.width, size.height));
    })?;
    let status = stream(&channel, options.no_input)?;
    drop(raw);
    client.close();
    Ok(match status {
        ExitStatus::Code(code) => i32::try_from(code).unwrap_or(FAILED),
        ExitStatus::Signal { .. } | ExitStatus::Missing => FAILED,
    })
}

/// Asks for a terminal, if there is to be one, and passes every key on while the value lives.
fn open_terminal(channel: &Channel, options: &Options) -> Outcome<Option<Mode>> {
    let shell = options.command.is_empty();
    let (wanted, forced) = match options.tty.unwrap_or(Tty::Auto) {
        Tty::No => (false, false),
        Tty::Auto => (shell, false),
        Tty::Yes => (true, false),
        Tty::Force => (true, true),
    };
    let here = io::stdin().is_terminal();
    if !wanted || !(forced || here) {
        if wanted {
            log::warn!(target: "ssh", "Pseudo-terminal will not be allocated because stdin is not a terminal.");
        }
        return Ok(None);
    }
    let (columns, rows) = terminal::size().map_or((80, 24), |size| (size.columns, size.rows));
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
