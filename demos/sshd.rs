//! An SSH server for the user who runs it, with the options of sshd(8) that are built.

mod support;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use feramiko::{
    Answer, AuthAnswer, ExitStatus, InteractiveAnswer, InteractiveQuery, Limits, PKey, Peer, PtyRequest,
    PublicKey, SSHServer, Secret, ServerInterface, Session, SessionRequest,
};
use support::args::Options;
use support::given::{Given, size};
use support::log::{level, start};

const USAGE: &str =
    "usage: sshd [-de] [-E log] [-p port] [--listen address] -h host_key [-h ...] [-a authorized_keys]
            [-u user:password] [-B banner_file] [-o option=value] [-V]
Serves the user who runs it. Not built yet: -D -f -i -t -T.";

/// What all connections share.
struct Site {
    passwords: HashMap<String, Secret>,
    keys: Vec<PublicKey>,
    user: String,
    banner: Option<String>,
}

struct Application {
    site: Arc<Site>,
    peer: Peer,
}

impl ServerInterface for Application {
    fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
        let mut methods = vec!["publickey"];
        if !self.site.passwords.is_empty() {
            methods.extend(["password", "keyboard-interactive"]);
        }
        methods
    }

    fn banner(&self) -> Option<String> {
        self.site.banner.clone()
    }

    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        // The same work for users that do not exist.
        let known = self.site.passwords.get(user);
        let nobody = Secret::from("");
        let right = known.unwrap_or(&nobody).matches(password.expose());
        AuthAnswer::when(right && known.is_some())
    }

    fn check_auth_interactive(&self, _: &str) -> InteractiveAnswer {
        InteractiveAnswer::Ask(InteractiveQuery::new("", "").prompt("Password: ", false))
    }

    fn check_auth_interactive_response(&self, user: &str, answers: &[Secret]) -> InteractiveAnswer {
        InteractiveAnswer::Done(match answers {
            [password] => self.check_auth_password(user, password),
            _ => AuthAnswer::Refuse,
        })
    }

    fn check_auth_publickey(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        AuthAnswer::when(user == self.site.user && self.site.keys.contains(key))
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_env_request(&self, name: &str, _: &str) -> Answer {
        Answer::when(name == "LANG" || name.starts_with("LC_"))
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        let mut environment = Vec::new();
        if let Some((peer, local)) = self.peer.addresses {
            let (from, to) =
                (format!("{} {}", peer.ip(), peer.port()), format!("{} {}", local.ip(), local.port()));
            environment.push(("SSH_CLIENT".to_owned(), format!("{from} {}", local.port())));
            environment.push(("SSH_CONNECTION".to_owned(), format!("{from} {to}")));
        }
        session.run_as_login(&environment)
    }
}

/// Public keys of an authorized_keys file. Lines with options are refused until options are enforced.
fn authorized_keys(path: &str) -> Result<Vec<PublicKey>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let mut keys = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match PublicKey::from_line(line) {
            Ok((key, _)) => keys.push(key),
            Err(error) => log::warn!(target: "sshd", "{path}:{}: line not used: {error}", at + 1),
        }
    }
    Ok(keys)
}

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
            "compression" => match value {
                "no" => {}
                "yes" | "delayed" => algorithms.set_compressions("none,zlib@openssh.com").map_err(failed)?,
                _ => return Err(format!("-o {option}: yes, delayed or no")),
            },
            "maxauthtries" => limits.auth_tries = number(value)? as u32,
            "maxsessions" => limits.sessions = number(value)?,
            "maxstartups" => startups(value, &mut limits)?,
            "rekeylimit" => limits.rekey_bytes = size(value)?,
            _ => return Err(format!("-o {name} is not built")),
        }
    }
    let mut host_keys = 0;
    for path in args.all('h') {
        builder = builder.host_key(PKey::from_file(path, None).map_err(|error| error.to_string())?);
        host_keys += 1;
    }
    if host_keys == 0 {
        return Err(format!("no host key: name one with -h\n{USAGE}"));
    }
    let mut site = Site {
        passwords: HashMap::new(),
        keys: Vec::new(),
        user: std::env::var("USER")
            .or_else(|_| std::env::var("LOGNAME"))
            .unwrap_or_else(|_| "root".to_owned()),
        banner: None,
    };
    for pair in args.all('u') {
        let (user, password) = pair.split_once(':').ok_or("-u takes user:password")?;
        site.passwords.insert(user.to_owned(), Secret::from(password));
    }
    for path in args.all('a') {
        site.keys.extend(authorized_keys(path)?);
    }
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
