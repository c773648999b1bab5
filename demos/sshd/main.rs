//! An SSH server for the user who runs it, with the options of sshd(8) that are built.

mod hosts;
mod site;
#[path = "../support/mod.rs"]
mod support;

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use feramiko::{Limits, PKey, PublicKey, SSHServer, SSHServerBuilder, Secret};
use hosts::Hosts;
use site::{Application, Site};
use support::args::Options;
use support::given::{Given, size};
use support::log::{level, start};

const USAGE: &str =
    "usage: sshd [-de] [-E log] [-p port] [--listen address] -h host_key [-h ...] [-a authorized_keys]
            [-u user:password] [-B banner_file] [-o option=value] [-V]
Serves the user who runs it. Not built yet: -D -f -i -t -T.";

fn seconds(value: &str) -> Result<Duration, String> {
    let (number, unit) = match value.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &value[number.len()..]),
        None => (value, "s"),
    };
    let number: u64 = number.parse().map_err(|_| format!("{value} is no time"))?;
    Ok(Duration::from_secs(
        number
            * match unit {
                "m" => 60,
                "h" => 3600,
                _ => 1,
            },
    ))
}

/// `full`, or `begin:percent:full` as in sshd_config(5).
fn startups(value: &str, limits: &mut Limits) -> Result<(), String> {
    match value.split(':').collect::<Vec<_>>()[..] {
        [full] => (limits.startups_begin, limits.startups) = (number(full)?, number(full)?),
        [begin, percent, full] => {
            (limits.startups_begin, limits.startups) = (number(begin)?, number(full)?);
            limits.startups_refused_percent = number(percent)? as u32;
        }
        _ => return Err(format!("-o MaxStartups={value}: a number, or begin:percent:full")),
    }
    // As sshd's PerSourceMaxStartups: none.
    limits.startups_per_source = limits.startups;
    Ok(())
}

fn number(value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| format!("{value} is no number"))
}

pub(crate) fn yes(option: &str, value: &str) -> Result<bool, String> {
    match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("-o {option}: yes or no")),
    }
}

fn certificate(path: &str) -> Result<PublicKey, String> {
    let (key, _) = PublicKey::from_file(path).map_err(|error| error.to_string())?;
    if key.certificate().is_none() {
        return Err(format!("{path} holds a key without a certificate"));
    }
    Ok(key)
}

/// Every key, and every one once more with its certificates: those named, and `FILE-cert.pub`.
fn host_keys(
    mut builder: SSHServerBuilder,
    args: &Given,
    named: &[PublicKey],
) -> Result<SSHServerBuilder, String> {
    let mut count = 0;
    for path in args.all('h') {
        let key = PKey::from_file(path, None).map_err(|error| error.to_string())?;
        let beside = format!("{path}-cert.pub");
        let beside = if Path::new(&beside).exists() { vec![certificate(&beside)?] } else { Vec::new() };
        for certificate in named.iter().chain(&beside) {
            if let Ok(certified) = key.with_certificate(certificate) {
                builder = builder.host_key(certified);
                count += 1;
            }
        }
        builder = builder.host_key(key);
        count += 1;
    }
    if count == 0 {
        return Err(format!("no host key: name one with -h\n{USAGE}"));
    }
    Ok(builder)
}

fn run() -> Result<(), String> {
    let options = Options { letters: "deDitTVE:p:h:a:u:f:B:o:L:", names: &[("listen", 'L')] };
    let args = Given::from_env(options, false).map_err(|error| format!("{error}\n{USAGE}"))?;
    for flag in ['D', 'i', 't', 'T', 'f'] {
        if args.has(flag) {
            return Err(format!("-{flag} is not built"));
        }
    }
    if args.has('V') {
        eprintln!("feramiko {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    start(level(args.count('d')), args.path('E').as_deref()).map_err(|error| format!("the log: {error}"))?;
    let mut limits = Limits::default();
    limits.sessions = 64;
    let mut builder = SSHServer::builder();
    let mut site = Site::new();
    let mut certificates = Vec::new();
    let mut hosts = Hosts::default();
    let mut algorithms = feramiko::Algorithms::server_defaults();
    for option in args.all('o') {
        let (name, value) = option.split_once(['=', ' ']).ok_or_else(|| format!("-o {option}: no value"))?;
        let failed = |error: feramiko::KexError| format!("-o {option}: {error}");
        match name.to_ascii_lowercase().as_str() {
            "logingracetime" => limits.login_grace = seconds(value)?,
            "ciphers" => algorithms.set_ciphers(value).map_err(failed)?,
            "macs" => algorithms.set_macs(value).map_err(failed)?,
            "kexalgorithms" => algorithms.set_kex(value).map_err(failed)?,
            "hostkeyalgorithms" => algorithms.set_host_keys(value).map_err(failed)?,
            "pubkeyacceptedalgorithms" => algorithms.set_public_keys(value).map_err(failed)?,
            "requiredrsasize" => algorithms = algorithms.required_rsa_size(number(value)?),
            "compression" => match value {
                "no" => {}
                "yes" | "delayed" => algorithms.set_compressions("none,zlib@openssh.com").map_err(failed)?,
                _ => return Err(format!("-o {option}: yes, delayed or no")),
            },
            "maxauthtries" => limits.auth_tries = number(value)? as u32,
            "maxsessions" => limits.sessions = number(value)?,
            "maxstartups" => startups(value, &mut limits)?,
            "rekeylimit" => limits.rekey_bytes = size(value)?,
            "permituserenvironment" => site.user_environment = yes(option, value)?,
            "allowagentforwarding" => site.agent_forwarding = yes(option, value)?,
            "trustedusercakeys" => site.authorities.push(value.into()),
            "authorizedkeysfile" => site.key_files.extend(value.split(' ').map(Into::into)),
            "authorizedprincipalsfile" => site.principals_file = Some(value.into()),
            "revokedkeys" => site.revoked = (value != "none").then(|| value.into()),
            "hostcertificate" => certificates.push(certificate(value)?),
            name if hosts.set(name, value)? => {}
            _ => return Err(format!("-o {name} is not built")),
        }
    }
    site.hosts = hosts.believed.then_some(hosts);
    builder = host_keys(builder, &args, &certificates)?;
    for pair in args.all('u') {
        let (user, password) = pair.split_once(':').ok_or("-u takes user:password")?;
        site.passwords.insert(user.to_owned(), Secret::from(password));
    }
    site.key_files.extend(args.all('a').map(Into::into));
    if let Some(path) = args.last('B') {
        site.banner = Some(std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?);
    }
    let address = format!("{}:{}", args.last('L').unwrap_or("0.0.0.0"), args.last('p').unwrap_or("22"));
    let listener =
        TcpListener::bind(&address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let bound = listener.local_addr().map_err(|error| error.to_string())?;
    let site = Arc::new(site);
    let server = builder
        .algorithms(algorithms)
        .limits(limits)
        .serve(listener, move |peer| Application { site: Arc::clone(&site), peer: peer.clone() })
        .map_err(|error| error.to_string())?;
    eprintln!("listening on {bound}");
    io::stderr().flush().map_err(|error| error.to_string())?;
    let mut signals =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])
            .map_err(|error| error.to_string())?;
    signals.forever().next();
    server.shutdown(Duration::from_secs(5));
    Ok(())
}

fn main() -> ExitCode {
    feramiko::child_entry();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sshd: {error}");
            ExitCode::FAILURE
        }
    }
}
