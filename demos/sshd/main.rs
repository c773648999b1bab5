//! An SSH server for the user who runs it, with the options of sshd(8) that are built.

mod forwarding;
mod hosts;
mod site;
#[path = "../support/mod.rs"]
mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use feramiko::{Limits, PKey, PublicKey, SSHServer, SSHServerBuilder, Secret};
use forwarding::Forwarding;
use hosts::Hosts;
use site::{Application, Site};
use support::args::Options;
use support::given::{Given, choice, interval_of, number, one, option, rekey, yes};
use support::home::beside;
use support::log::{level, start};
use support::output::{complain, end};

const USAGE: &str =
    "usage: sshd [-de] [-E log] [-p port] [--listen address] -h host_key [-h ...] [-a authorized_keys]
            [-u user:password] [-B banner_file] [-o option=value] [-V]
Serves the user who runs it, and no other. It stays in the foreground, and without -E the log goes to standard
error, with -e or without. Not built yet: -D -f -i -t -T.";
/// Longer than any server runs.
const NO_LIMIT: Duration = Duration::from_secs(u32::MAX as u64);

/// `full`, or `begin:percent:full` as in sshd_config(5).
fn startups(value: &str, limits: &mut Limits) -> Result<(), String> {
    let (begin, percent, full) = match value.split(':').collect::<Vec<_>>()[..] {
        [full] => (full, "100", full),
        [begin, percent, full] => (begin, percent, full),
        _ => return Err("a number, or begin:percent:full".to_owned()),
    };
    let (begin, percent, full) = (number(begin)?, number(percent)?, number(full)?);
    if begin > full || !(1..=100).contains(&percent) {
        return Err("begin:percent:full, and begin is not above full".to_owned());
    }
    (limits.startups_begin, limits.startups) = (begin, full);
    limits.startups_refused_percent = percent;
    // As sshd's PerSourceMaxStartups: none.
    limits.startups_per_source = full;
    Ok(())
}

/// What is said, unless it is `none`.
fn some(value: &str) -> Option<&str> {
    (!value.eq_ignore_ascii_case("none")).then_some(value)
}

fn certificate(path: &Path) -> Result<PublicKey, String> {
    let (key, _) = PublicKey::from_file(path).map_err(|error| error.to_string())?;
    if key.certificate().is_none() {
        return Err(format!("{} holds a key without a certificate", path.display()));
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
    for path in args.paths('h') {
        let key = PKey::from_file(&path, None).map_err(|error| error.to_string())?;
        let beside = beside(&path, "-cert.pub");
        let beside = if beside.exists() { vec![certificate(&beside)?] } else { Vec::new() };
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

/// What the options set.
struct Settings {
    limits: Limits,
    site: Site,
    hosts: Hosts,
    forwarding: Forwarding,
    algorithms: feramiko::Algorithms,
    certificates: Vec<PublicKey>,
}

impl Settings {
    fn new(args: &Given) -> Result<Self, String> {
        let mut this = Self {
            limits: Limits::default(),
            site: Site::new()?,
            hosts: Hosts::default(),
            forwarding: Forwarding::default(),
            algorithms: feramiko::Algorithms::server_defaults(),
            certificates: Vec::new(),
        };
        this.limits.sessions = 64;
        for line in args.all('o').rev() {
            let taken = option(line).and_then(|(name, words)| this.set(&name, &words));
            taken.map_err(|wrong| format!("-o {line}: {wrong}"))?;
        }
        for pair in args.all('u') {
            let (user, password) = pair.split_once(':').ok_or("-u takes user:password")?;
            if user != this.site.user {
                return Err(format!(
                    "-u {user}: serving other users is not built; this is {}",
                    this.site.user
                ));
            }
            this.site.passwords.insert(user.to_owned(), Secret::from(password));
        }
        this.site.key_files.extend(args.paths('a'));
        if let Some(path) = args.path('B') {
            let read = std::fs::read_to_string(&path);
            this.site.banner = Some(read.map_err(|error| format!("{}: {error}", path.display()))?);
        }
        Ok(this)
    }

    /// Takes an option. Of those that are given more than once the first counts, as sshd_config(5) says:
    /// it is to be taken last.
    fn set(&mut self, name: &str, words: &[String]) -> Result<(), String> {
        let Self { limits, site, algorithms, .. } = self;
        match name {
            "authorizedkeysfile" => {
                let files = words.iter().filter_map(|word| some(word)).map(|word| site.file(word));
                site.key_files = files.collect::<Result<_, _>>()?;
                return Ok(());
            }
            "rekeylimit" => {
                let (bytes, interval) = rekey(words)?;
                let usual = Limits::default();
                limits.rekey_bytes = bytes.unwrap_or(usual.rekey_bytes);
                limits.rekey_interval = interval.unwrap_or(usual.rekey_interval);
                return Ok(());
            }
            name if self.forwarding.set(name, words)? => return Ok(()),
            _ => {}
        }
        let value = one(words)?;
        let failed = |error: feramiko::KexError| error.to_string();
        match name {
            "logingracetime" => limits.login_grace = interval_of(value)?.unwrap_or(NO_LIMIT),
            "ciphers" => algorithms.set_ciphers(value).map_err(failed)?,
            "macs" => algorithms.set_macs(value).map_err(failed)?,
            "kexalgorithms" => algorithms.set_kex(value).map_err(failed)?,
            "hostkeyalgorithms" => algorithms.set_host_keys(value).map_err(failed)?,
            "pubkeyacceptedalgorithms" => algorithms.set_public_keys(value).map_err(failed)?,
            "requiredrsasize" => *algorithms = algorithms.clone().required_rsa_size(number(value)?),
            "compression" => {
                let with = choice(value, &[("yes", true), ("delayed", true), ("no", false)])?;
                let offered = if with { "none,zlib@openssh.com" } else { "none" };
                algorithms.set_compressions(offered).map_err(failed)?;
            }
            "maxauthtries" => limits.auth_tries = number(value)?,
            "maxsessions" => limits.sessions = number(value)?,
            "maxstartups" => startups(value, limits)?,
            "permituserenvironment" => site.user_environment = yes(value)?,
            "allowagentforwarding" => site.agent_forwarding = yes(value)?,
            "x11forwarding" => site.x11_forwarding = yes(value)?,
            "x11displayoffset" => site.x11.offset = number(value)?,
            "x11uselocalhost" => site.x11.localhost = yes(value)?,
            "xauthlocation" => return Err("no xauth is run: sessions get a file of their own".to_owned()),
            "trustedusercakeys" => site.authorities = some(value).map(Into::into).into_iter().collect(),
            "authorizedprincipalsfile" => {
                site.principals_file = some(value).map(|value| site.file(value)).transpose()?;
            }
            "revokedkeys" => site.revoked = some(value).map(Into::into),
            "hostcertificate" => {
                self.certificates.extend(some(value).map(|path| certificate(path.as_ref())).transpose()?);
            }
            name if self.hosts.set(name, value)? => {}
            _ => return Err("not built".to_owned()),
        }
        Ok(())
    }
}

fn run() -> Result<(), String> {
    let options = Options { letters: "deDitTVE:p:h:a:u:f:B:o:L:", names: &[("listen", 'L')] };
    let args = Given::with_files(options, "EhafB").map_err(|error| format!("{error}\n{USAGE}"))?;
    for flag in ['D', 'i', 't', 'T', 'f'] {
        if args.has(flag) {
            return Err(format!("-{flag} is not built"));
        }
    }
    if let Some(extra) = args.files.first() {
        return Err(format!("Extra argument {}.", extra.display()));
    }
    if args.has('V') {
        complain(format_args!("feramiko {}", env!("CARGO_PKG_VERSION")));
        return Ok(());
    }
    start(level(args.count('d')), args.path('E').as_deref()).map_err(|error| format!("the log: {error}"))?;
    let Settings { limits, mut site, hosts, forwarding, algorithms, certificates } = Settings::new(&args)?;
    site.forwarding = forwarding.rules();
    site.hosts = hosts.believed.then_some(hosts);
    let builder = host_keys(SSHServer::builder(), &args, &certificates)?;
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
    complain(format_args!("listening on {bound}"));
    let mut signals =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT])
            .map_err(|error| error.to_string())?;
    signals.forever().next();
    server.shutdown(Duration::from_secs(5));
    Ok(())
}

fn main() -> ExitCode {
    feramiko::child_entry();
    end("sshd", run().map_err(Into::into))
}
