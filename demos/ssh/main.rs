//! A client with the options of ssh(1) that are built; exit status as ssh's.

mod query;
#[path = "../support/mod.rs"]
mod support;

use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::exit;
use std::time::Duration;

use feramiko::{
    AcceptNewPolicy, Agent, Channel, ExitStatus, HostAddressCheck, HostKeyAnswer, HostKeysChange, KexError,
    MissingHostKeyPolicy, PKey, PtyRequest, PublicKey, RejectPolicy, SSHClient, SSHClientBuilder, Secret,
    UnknownHostKey,
};
use support::args::Options as Letters;
use support::given::{Given, size};
use support::log::{level, level_named, start};
use support::prompt::{Echo, ask};
use support::terminal::{self, Mode};

const USAGE: &str =
    "usage: ssh [-46AaCNnqsTtVv] [-c ciphers] [-E log] [-F none] [-i identity] [-l user] [-m macs]
           [-o option=value] [-p port] [-Q query] [user@]host [command ...]
Not built yet: -B -b -D -e -f -G -g -I -J -K -k -L -M -O -R -S -W -w -X -x -Y -y, and -F other than none.";
const NOT_BUILT: &str = "BbDefGgIJKkLMORSWwXxYy";

/// The keys of this host, which its users can seldom read: ssh has ssh-keysign sign with them.
const HOST_KEYS: [&str; 3] =
    ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_rsa_key"];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Asks the user about unknown hosts, as ssh does.
#[derive(Debug)]
struct AskPolicy;

impl MissingHostKeyPolicy for AskPolicy {
    fn missing_host_key(&self, unknown: &UnknownHostKey) -> HostKeyAnswer {
        let text = format!(
            "The authenticity of host '{}' can't be established.\n{} key fingerprint is {}.\nAre you sure you want \
             to continue connecting (yes/no)? ",
            unknown.host,
            unknown.key.key_type(),
            unknown.key.fingerprint()
        );
        match ask(&text, Echo::On) {
            Ok(Some(answer)) if answer.matches("yes") => HostKeyAnswer::AcceptAndSave,
            _ => HostKeyAnswer::Reject,
        }
    }
}

/// Options that `-o` and letters set.
#[derive(Default)]
struct Options {
    user: Option<String>,
    port: Option<String>,
    host_key_checking: Option<String>,
    check_host_ip: bool,
    batch: bool,
    identities_only: bool,
    request_tty: Option<bool>,
    force_tty: bool,
    send_env: Vec<(String, String)>,
    keepalive: (u64, u32),
    compression: bool,
    /// The socket of the agent that the server's programs may use.
    forward_agent: Option<PathBuf>,
}

fn yes(value: &str) -> bool {
    value.eq_ignore_ascii_case("yes") || value.eq_ignore_ascii_case("true")
}

fn apply(
    mut builder: SSHClientBuilder,
    options: &mut Options,
    algorithms: &mut feramiko::Algorithms,
    limits: &mut feramiko::Limits,
    option: &str,
) -> Outcome<SSHClientBuilder> {
    let (name, value) = option.split_once(['=', ' ']).ok_or_else(|| format!("-o {option}: no value"))?;
    let value = value.trim_matches('"');
    let failed = |error: KexError| format!("-o {option}: {error}");
    match name.to_ascii_lowercase().as_str() {
        "user" => options.user = Some(value.to_owned()),
        "port" => options.port = Some(value.to_owned()),
        "identityfile" => builder = builder.key_file(expand(value), None),
        "identitiesonly" => options.identities_only = yes(value),
        "batchmode" => options.batch = yes(value),
        "compression" => options.compression = yes(value),
        "forwardagent" => options.forward_agent = forwarded_agent(value),
        "hostbasedauthentication" if yes(value) => builder = hostbased(builder)?,
        "hostbasedauthentication" => {}
        "stricthostkeychecking" => options.host_key_checking = Some(value.to_ascii_lowercase()),
        "userknownhostsfile" => builder = builder.known_hosts_files(files(value)),
        "globalknownhostsfile" => builder = builder.global_known_hosts_files(files(value)),
        "checkhostip" => options.check_host_ip = yes(value),
        "hashknownhosts" => builder = builder.hash_known_hosts(yes(value)),
        "revokedhostkeys" => {
            builder = files(value).into_iter().fold(builder, SSHClientBuilder::revoked_host_keys)
        }
        "requiredrsasize" => *algorithms = algorithms.clone().required_rsa_size(value.parse()?),
        "updatehostkeys" => match value {
            "ask" => builder = builder.update_host_keys_callback(may_update),
            _ => builder = builder.update_host_keys(yes(value)),
        },
        "hostkeyalias" => builder = builder.host_key_alias(value),
        "ciphers" => algorithms.set_ciphers(value).map_err(failed)?,
        "macs" => algorithms.set_macs(value).map_err(failed)?,
        "kexalgorithms" => algorithms.set_kex(value).map_err(failed)?,
        "hostkeyalgorithms" => algorithms.set_host_keys(value).map_err(failed)?,
        "pubkeyacceptedalgorithms" => algorithms.set_public_keys(value).map_err(failed)?,
        "connecttimeout" => builder = builder.deadline(Duration::from_secs(value.parse()?)),
        "serveraliveinterval" => options.keepalive.0 = value.parse()?,
        "serveralivecountmax" => options.keepalive.1 = value.parse()?,
        "rekeylimit" => limits.rekey_bytes = size(value)?,
        "requesttty" => {
            options.request_tty = match value {
                "no" => Some(false),
                "yes" => Some(true),
                "force" => {
                    options.force_tty = true;
                    Some(true)
                }
                _ => None,
            }
        }
        "setenv" => {
            let (name, value) = value.split_once('=').ok_or("SetEnv takes NAME=VALUE")?;
            options.send_env.push((name.to_owned(), value.to_owned()));
        }
        // Read before anything else.
        "loglevel" => {}
        "sendenv" => {
            for pattern in value.split([' ', ',']) {
                let sent = std::env::vars().filter(|(name, _)| match pattern.strip_suffix('*') {
                    Some(start) => name.starts_with(start),
                    None => name == pattern,
                });
                options.send_env.extend(sent);
            }
        }
        _ => return Err(format!("-o {name} is not built").into()),
    }
    Ok(builder)
}

/// `yes`, `no`, the path of a socket, or a variable that names one.
fn forwarded_agent(value: &str) -> Option<PathBuf> {
    match value.strip_prefix('$') {
        Some(variable) => std::env::var_os(variable).map(PathBuf::from),
        None if yes(value) => std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from),
        None => (!value.eq_ignore_ascii_case("no")).then(|| expand(value).into()),
    }
}

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

/// The files of a list; `none` is none.
fn files(list: &str) -> Vec<PathBuf> {
    list.split_whitespace().filter(|name| *name != "none").map(|name| expand(name).into()).collect()
}

/// Asks whether known_hosts may be changed.
fn may_update(change: &HostKeysChange) -> bool {
    for (what, keys) in [("Learned new", &change.new), ("Deprecating obsolete", &change.old)] {
        for key in keys {
            eprintln!("{what} hostkey: {} {}", key.key_type(), key.fingerprint());
        }
    }
    let answer = ask("Accept updated hostkeys? (yes/no): ", Echo::On).ok().flatten();
    answer.is_some_and(|answer| answer.matches("yes"))
}

/// Asks without showing the answer.
fn hidden(question: &str) -> Option<Secret> {
    ask(question, Echo::Off).ok().flatten()
}

fn expand(path: &str) -> String {
    match (path.strip_prefix("~/"), std::env::var("HOME")) {
        (Some(rest), Ok(home)) => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

fn run() -> Outcome<i32> {
    let letters =
        Letters { letters: "46AaCfGgKkMNnqsTtVvXxYyB:b:c:D:E:e:F:I:i:J:L:l:m:O:o:p:Q:R:S:W:w:", names: &[] };
    let args = Given::from_env(letters, true).map_err(|error| format!("{error}\n{USAGE}"))?;
    if args.has('V') {
        eprintln!("feramiko {}", env!("CARGO_PKG_VERSION"));
        return Ok(0);
    }
    if let Some(what) = args.last('Q') {
        let lines = query::answer(what).ok_or_else(|| format!("Unsupported query \"{what}\""))?;
        lines.iter().for_each(|line| println!("{line}"));
        return Ok(0);
    }
    if let Some(letter) = NOT_BUILT.chars().find(|letter| args.has(*letter)) {
        return Err(format!("-{letter} is not built").into());
    }
    if args.last('F').is_some_and(|file| file != "none") {
        return Err("-F other than none is not built".into());
    }
    let (host, command) = args.operands.split_first().ok_or(USAGE)?;
    let named = args.all('o').filter_map(|option| option.split_once(['=', ' ']));
    let named = named.filter(|(name, _)| name.eq_ignore_ascii_case("loglevel")).last();
    let verbosity = match named {
        Some((_, value)) => level_named(value).ok_or_else(|| format!("LogLevel {value} is not known"))?,
        None => level(args.count('v')),
    };
    start(verbosity, args.path('E').as_deref())?;
    let mut options = Options { keepalive: (0, 3), compression: args.has('C'), ..Options::default() };
    let mut builder = SSHClient::builder();
    let mut algorithms = feramiko::Algorithms::client_defaults();
    let mut limits = feramiko::Limits::default();
    for path in args.all('i') {
        builder = builder.key_file(expand(path), None);
    }
    for option in args.all('o') {
        builder = apply(builder, &mut options, &mut algorithms, &mut limits, option)?;
    }
    if args.has('A') {
        options.forward_agent = forwarded_agent("yes");
    }
    if args.has('a') {
        options.forward_agent = None;
    }
    args.last('c').map_or(Ok(()), |list| algorithms.set_ciphers(list))?;
    args.last('m').map_or(Ok(()), |list| algorithms.set_macs(list))?;
    let client = connect(builder, &options, algorithms, limits, &args, host)?;
    if !args.has('q') {
        for banner in client.banners() {
            eprintln!("{banner}");
        }
    }
    if args.has('N') {
        while client.transport().is_active() {
            std::thread::park_timeout(Duration::from_secs(1));
        }
        return Err("the connection was closed".into());
    }
    session(&client, &options, &args, &command.join(" "))
}

fn connect(
    mut builder: SSHClientBuilder,
    options: &Options,
    algorithms: feramiko::Algorithms,
    limits: feramiko::Limits,
    args: &Given,
    host: &str,
) -> Outcome<SSHClient> {
    builder = builder.algorithms(algorithms).limits(limits);
    if options.compression {
        builder = builder.compress(true);
    }
    if options.identities_only {
        builder = builder.no_agent().no_default_keys();
    }
    if options.keepalive.0 > 0 {
        builder = builder.keepalive(Duration::from_secs(options.keepalive.0), options.keepalive.1);
    }
    if args.has('4') {
        builder = builder.ipv4_only();
    }
    if args.has('6') {
        builder = builder.ipv6_only();
    }
    let may_ask = !options.batch && io::stdin().is_terminal();
    builder = match options.host_key_checking.as_deref() {
        Some("no" | "off" | "accept-new") => builder.missing_host_key(AcceptNewPolicy),
        Some("yes") => builder.missing_host_key(RejectPolicy),
        _ if may_ask => builder.missing_host_key(AskPolicy),
        _ => builder.missing_host_key(RejectPolicy),
    };
    if options.check_host_ip {
        builder = builder.check_host_ip(match options.host_key_checking.as_deref() {
            Some("no" | "off") => HostAddressCheck::Warn,
            _ => HostAddressCheck::Reject,
        });
    }
    if may_ask || std::env::var_os("SSH_ASKPASS_REQUIRE").is_some() {
        let shown = host.to_owned();
        builder = builder
            .passphrase_callback(|path| hidden(&format!("Enter passphrase for key '{}': ", path.display())))
            .password_callback(move |user| hidden(&format!("{user}@{shown}'s password: ")))
            .interactive(|query| {
                let echo = |echo: bool| if echo { Echo::On } else { Echo::Off };
                let answer = |prompt: &feramiko::Prompt| ask(&prompt.text, echo(prompt.echo)).ok().flatten();
                let answers: Option<Vec<Secret>> = query.prompts.iter().map(answer).collect();
                answers.ok_or(feramiko::Error::Cancelled)
            });
    }
    let uri = host.strip_prefix("ssh://").unwrap_or(host);
    let mut destination = uri.to_owned();
    if let Some(port) = args.last('p').or(options.port.as_deref()) {
        let bare = if uri.matches(':').count() > 1 && !uri.contains('[') {
            format!("[{uri}]")
        } else {
            uri.to_owned()
        };
        destination = format!("{bare}:{port}");
    }
    if let Some(user) = args.last('l').or(options.user.as_deref()).filter(|_| !uri.contains('@')) {
        builder = builder.username(user);
    }
    Ok(builder.connect(&destination)?)
}

fn session(client: &SSHClient, options: &Options, args: &Given, command: &str) -> Outcome<i32> {
    let channel = client.open_session()?;
    for (name, value) in &options.send_env {
        channel.set_environment_variable(name, value)?;
    }
    if let Some(socket) = &options.forward_agent {
        // Like ssh: the session is worth having without it.
        let asked = Agent::connect(socket).map_err(feramiko::Error::from);
        if let Err(error) = asked.and_then(|agent| channel.request_forward_agent(&agent)) {
            log::warn!(target: "ssh", "the agent is not forwarded: {error}");
        }
    }
    let wanted = match (args.has('T'), args.count('t')) {
        (true, _) => false,
        (false, 0) => options.request_tty.unwrap_or(command.is_empty()),
        _ => true,
    };
    let forced = args.count('t') > 1 || options.force_tty;
    let raw = if wanted && (forced || io::stdin().is_terminal()) {
        let (columns, rows) = terminal::size().map_or((80, 24), |size| (size.columns, size.rows));
        let pty = PtyRequest::new(&std::env::var("TERM").unwrap_or_else(|_| "dumb".into()), columns, rows);
        channel.get_pty(&pty.clone().modes_of(io::stdin()).unwrap_or(pty))?;
        if io::stdin().is_terminal() { Some(Mode::raw(io::stdin())?) } else { None }
    } else {
        if wanted && !args.has('q') {
            eprintln!("Pseudo-terminal will not be allocated because stdin is not a terminal.");
        }
        None
    };
    if args.has('s') {
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
    let status = stream(&channel, args.has('n'))?;
    drop(raw);
    client.close();
    Ok(match status {
        ExitStatus::Code(code) => i32::try_from(code).unwrap_or(255),
        ExitStatus::Signal { .. } | ExitStatus::Missing => 255,
    })
}

/// Joins the standard streams to the channel until the command has ended.
fn stream(channel: &Channel, no_input: bool) -> Outcome<ExitStatus> {
    if no_input {
        channel.shutdown(Shutdown::Write);
    } else {
        let input = channel.clone();
        std::thread::spawn(move || {
            // Ends with the input, or with the program.
            let _ = copy(raw_stdin(), &input);
            input.shutdown(Shutdown::Write);
        });
    }
    let errors = channel.stderr();
    let second = std::thread::spawn(move || copy(errors, io::stderr()));
    let first = copy(channel, unbuffered_stdout()?);
    let second = second.join().map_err(|_| "the thread of standard error panicked")?;
    first?;
    second?;
    Ok(channel.wait_exit(None)?)
}

/// Standard input without std's buffer, which holds pieces back.
fn raw_stdin() -> impl Read {
    match io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => Box::new(std::fs::File::from(fd)) as Box<dyn Read>,
        Err(_) => Box::new(io::stdin()),
    }
}

fn unbuffered_stdout() -> io::Result<std::fs::File> {
    Ok(std::fs::File::from(io::stdout().as_fd().try_clone_to_owned()?))
}

fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut piece = vec![0; 128 * 1024];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&piece[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn main() {
    let code = run().unwrap_or_else(|error| {
        eprintln!("ssh: {error}");
        255
    });
    exit(code);
}
