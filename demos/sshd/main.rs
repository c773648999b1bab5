//! An SSH server with the options of sshd(8) and the keywords of sshd_config(5) that are built. Run by root it
//! serves every user of the machine, else the one who runs it.

mod config;
mod criteria;
mod daemon;
mod dump;
mod forwarding;
mod hosts;
mod inetd;
mod keys;
mod keywords;
mod sessions;
mod settings;
mod site;
#[path = "../support/mod.rs"]
mod support;
mod tokens;
mod who;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use config::Config;
use criteria::Connection;
use daemon::{Loaded, Place};
use feramiko::Secret;
use log::LevelFilter;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use site::Site;
use support::args::Options;
use support::given::{Given, number};
use support::log::{level, level_named, start, start_system};
use support::output::{complain, end, say};
use support::syslog::{Facility, SystemLog};

const USAGE: &str =
    "usage: sshd [-46DdeiqtTV] [-C connection_spec] [-c host_certificate] [-E log] [-f config] [-g login_grace]
            [-h host_key ...] [-o option=value] [-p port ...] [--listen address ...]
            [-a authorized_keys ...] [-u user:password ...] [-B banner_file]
Without -f it stays in the foreground, and the log goes to standard error, with -e or without; in the background,
and with -i, it goes to the system's without -e or -E.";

/// What holds without -f, behind all options: a server for whoever starts it.
const WITHOUT_FILE: &str = "MaxSessions 64
PermitRootLogin yes
StrictModes no
AuthorizedKeysFile none
PidFile none
Subsystem sftp internal-sftp
AcceptEnv LANG LC_*";

const LETTERS: Options = Options { letters: "46DdeiqtTVB:C:E:L:a:c:f:g:h:o:p:u:", names: &[("listen", 'L')] };

/// The options that are lines of a configuration.
const LINES: &[(char, &str)] = &[
    ('p', "Port"),
    ('L', "ListenAddress"),
    ('h', "HostKey"),
    ('c', "HostCertificate"),
    ('g', "LoginGraceTime"),
    ('B', "Banner"),
];

/// All lines: those of the command line first, because the first value counts.
fn configuration(args: &Given, file: Option<&Path>) -> Result<Config, String> {
    let mut config = Config::default();
    for line in args.all('o') {
        config.option(line)?;
    }
    for (letter, keyword) in LINES {
        for value in args.all(*letter) {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            config.option(&format!("{keyword} \"{quoted}\""))?;
        }
    }
    for (letter, family) in [('4', "inet"), ('6', "inet6")] {
        if args.has(letter) {
            config.option(&format!("AddressFamily {family}"))?;
        }
    }
    if args.has('q') {
        config.option("LogLevel QUIET")?;
    }
    match file {
        Some(path) => config.file(path)?,
        None => {
            if !config.has("listenaddress") {
                config.option("ListenAddress 0.0.0.0")?;
            }
            config.text(WITHOUT_FILE)?;
        }
    }
    Ok(config)
}

/// What -C says of a connection: `user=a,addr=192.0.2.7`.
fn specified(args: &Given) -> Result<Connection, String> {
    let mut connection = Connection::default();
    for word in args.all('C').flat_map(|spec| spec.split(',')).filter(|word| !word.is_empty()) {
        let wrong = || format!("-C {word}: takes user, host, addr, laddr, lport or rdomain, = and a value");
        let (name, value) = word.split_once('=').ok_or_else(wrong)?;
        match name {
            "user" => connection.user = Some(value.to_owned()),
            "host" => connection.host = Some(value.to_owned()),
            "addr" => connection.address = Some(value.parse().map_err(|_| wrong())?),
            "laddr" => connection.local_address = Some(value.parse().map_err(|_| wrong())?),
            "lport" => connection.local_port = Some(number(value).map_err(|_| wrong())?),
            "rdomain" => connection.routing = Some(value.to_owned()),
            _ => return Err(wrong()),
        }
    }
    connection.invalid =
        connection.user.as_ref().is_some_and(|user| !matches!(feramiko::Account::named(user), Ok(Some(_))));
    Ok(connection)
}

/// What the options and the file come to.
fn load(args: &Given, file: Option<&Path>) -> Result<Loaded, String> {
    let config = Arc::new(configuration(args, file)?);
    config.idle().for_each(|line| log::warn!(target: "sshd", "{line}"));
    if config.asks_for_routing() {
        return Err("Match RDomain is not built".to_owned());
    }
    let all = config.holds(None);
    for command in ["authorizedkeyscommand", "authorizedprincipalscommand"] {
        if all.some(command).is_some() && all.some(&format!("{command}user")).is_none() {
            return Err(format!("{command} set without {command}user"));
        }
    }
    let mut passwords = HashMap::new();
    for pair in args.all('u') {
        let (user, password) = pair.split_once(':').ok_or("-u takes user:password")?;
        let account = feramiko::Account::named(user).map_err(|error| error.to_string())?;
        let account = account.ok_or_else(|| format!("-u {user}: there is no such user"))?;
        if !account.is_current() && !nix::unistd::geteuid().is_root() {
            return Err(format!("-u {user}: only root serves other users"));
        }
        passwords.insert(user.to_owned(), Secret::from(password));
    }
    let server = settings::server(&all)
        .map_err(|why| if why.starts_with("no host key") { format!("{why}\n{USAGE}") } else { why })?;
    Ok(Loaded {
        server,
        addresses: settings::addresses(&all)?,
        keepalive: all.flag("tcpkeepalive"),
        pid_file: all.some("pidfile").map(PathBuf::from).filter(|_| !args.has('d')),
        site: Site {
            config,
            passwords,
            keys: args.paths('a').collect(),
            home: std::env::home_dir().filter(|_| file.is_none()),
        },
    })
}

/// Starts the log, whose level the configuration may say. `apart`: nobody would see standard error, or what is
/// written there would be the client's.
fn start_log(args: &Given, config: &Arc<Config>, apart: bool) -> Result<(), String> {
    let all = config.holds(None);
    let shown = match (args.count('d'), config.log_level().unwrap_or_default()) {
        // Who is let in and who is not is told unless somebody wants less, as by sshd.
        (0, name) if name.eq_ignore_ascii_case("INFO") => LevelFilter::Info,
        (0, name) => level_named(&name).unwrap_or(LevelFilter::Info),
        (count, _) => level(count),
    };
    if apart && !args.has('e') && !args.has('E') {
        let facility = Facility::named(&all.word("syslogfacility")).ok_or("bad SyslogFacility")?;
        start_system(shown, SystemLog::new("sshd", facility));
        return Ok(());
    }
    start(shown, args.path('E').as_deref()).map_err(|error| format!("the log: {error}"))
}

/// What sessions make is for its owner alone to write, however we were started; as with OpenSSH.
fn mask_files() {
    let before = umask(Mode::WGRP | Mode::WOTH);
    umask(before | Mode::WGRP | Mode::WOTH);
}

/// All connections share this process and what it may have open. Sessions begin with what we were given.
fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, most) {
        log::warn!(target: "sshd", "open files: {error}");
    }
}

fn run() -> Result<ExitCode, String> {
    mask_files();
    let mut words = std::env::args_os().skip(1).peekable();
    let inside = words.next_if(|word| word == daemon::WORD).is_some();
    let args = Given::of(LETTERS, words, "EhaBcf").map_err(|error| format!("{error}\n{USAGE}"))?;
    if let Some(extra) = args.files.first() {
        return Err(format!("Extra argument {}.", extra.display()));
    }
    if args.has('V') {
        complain(format_args!("feramiko {}", env!("CARGO_PKG_VERSION")));
        return Ok(ExitCode::SUCCESS);
    }
    // Read again after a change of the directory.
    let file = args.path('f').map(std::path::absolute).transpose().map_err(|error| error.to_string())?;
    let here = "DditT".chars().any(|letter| args.has(letter));
    let config = Arc::new(configuration(&args, file.as_deref())?);
    start_log(&args, &config, inside || args.has('i'))?;
    if args.has('T') {
        let connection = specified(&args)?;
        // What -t would find wrong is wrong here too.
        settings::server(&config.holds(None))?;
        let holds = config.holds(Some(&connection));
        dump::lines(&holds)?.into_iter().try_for_each(say).map_err(|error| error.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    if file.is_some() && !here && !inside {
        // What keeps it from starting is said here; what it logs is logged by the one in the background.
        log::set_max_level(LevelFilter::Off);
        load(&args, file.as_deref())?;
        return daemon::to_background().map(|()| ExitCode::SUCCESS);
    }
    let loaded = load(&args, file.as_deref())?;
    if args.has('t') {
        return Ok(ExitCode::SUCCESS);
    }
    if args.has('i') {
        return Ok(inetd::serve(&loaded.server, Arc::new(loaded.site), loaded.keepalive));
    }
    allow_many_files();
    let place = if inside { Place::Background { log: args.has('e') } } else { Place::Foreground };
    daemon::serve(loaded, place, || load(&args, file.as_deref())).map(|()| ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    feramiko::child_entry();
    run().unwrap_or_else(|why| end("sshd", Err(why.into())))
}
