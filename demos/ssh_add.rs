//! Gives an agent keys and asks it for what it has, with the options of ssh-add(1) that are built.

mod support;

use std::error::Error;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use feramiko::{
    AddOptions, Agent, AgentKey, Destination, Hop, HostKeyEntry, HostKeyMarker, HostKeys, KeyError, PKey,
    PublicKey, Secret,
};
use support::args::Options;
use support::given::{Given, time};
use support::log::{level, start};
use support::prompt::{Echo, ask};

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: ssh_add [-cDdLlqvXx] [-E fingerprint_hash] [-H hostkey_file]
               [-h destination_constraint] [-t life] [file ...]
       ssh_add -T pubkey ...";
const OPTIONS: Options = Options { letters: "cDdE:H:h:LlqTt:vXx", names: &[] };
/// Without files these are added, in this order; under the user's home.
const DEFAULT_KEYS: [&str; 3] = [".ssh/id_rsa", ".ssh/id_ecdsa", ".ssh/id_ed25519"];
/// Where the host keys of destinations are looked for; the first two under the user's home.
const HOST_KEYS: [&str; 4] =
    [".ssh/known_hosts", ".ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
/// No agent could be reached; everything else that fails is 1.
const NO_AGENT: u8 = 2;

fn main() -> ExitCode {
    let outcome = Given::from_env(OPTIONS, false).map_err(|error| format!("{error}\n{USAGE}").into());
    outcome.and_then(|args| run(&args)).unwrap_or_else(|error: Box<dyn Error>| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

fn run(args: &Given) -> Outcome<ExitCode> {
    let actions = ['l', 'L', 'D', 'x', 'X'];
    if actions.iter().filter(|letter| args.has(**letter)).count() > 1 {
        return Err("Invalid combination of actions".into());
    }
    if args.has('v') {
        start(level(args.count('v')), None)?;
    }
    let agent = match Agent::from_env() {
        Ok(agent) => agent,
        Err(error) => {
            log::debug!(target: "ssh_add", "{error}");
            eprintln!("Could not open a connection to your authentication agent.");
            return Ok(ExitCode::from(NO_AGENT));
        }
    };
    let good = match actions.into_iter().find(|letter| args.has(*letter)) {
        Some('l') => list(&agent, &|key| fingerprint_line(key, args.last('E')))?,
        Some('L') => list(&agent, &|key| Ok(format!("{} {}", key.public_key().to_line(), key.comment())))?,
        Some('D') => remove_all(&agent, args.has('q')),
        Some(letter) => lock(&agent, letter == 'x')?,
        None if args.has('T') => test(&agent, &args.operands)?,
        None => files(&agent, args)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a line about each key.
fn list(agent: &Agent, line: &dyn Fn(&AgentKey) -> Outcome<String>) -> Outcome<bool> {
    let keys = agent.keys().map_err(|error| format!("error fetching identities: {error}"))?;
    if keys.is_empty() {
        println!("The agent has no identities.");
    }
    for key in &keys {
        println!("{}", line(key)?);
    }
    Ok(!keys.is_empty())
}

fn fingerprint_line(key: &AgentKey, hash: Option<&str>) -> Outcome<String> {
    let public = key.public_key();
    let fingerprint = match hash.map(str::to_ascii_lowercase).as_deref() {
        None | Some("sha256") => public.fingerprint(),
        Some("md5") => public.fingerprint_md5(),
        Some(other) => return Err(format!("Invalid hash algorithm \"{other}\"").into()),
    };
    Ok(format!("{} {fingerprint} {} ({})", public.bits(), key.comment(), short_type(public)))
}

/// What OpenSSH calls the type in lists: without curve and version.
fn short_type(key: &PublicKey) -> String {
    let name = key.key_type();
    let (plain, certified) = match name.strip_suffix("-cert-v01@openssh.com") {
        Some(plain) => (plain, "-CERT"),
        None => (name, ""),
    };
    let plain = plain.trim_start_matches("ssh-");
    let plain = if plain.starts_with("ecdsa-sha2-") { "ecdsa" } else { plain };
    plain.to_ascii_uppercase() + certified
}

fn remove_all(agent: &Agent, quiet: bool) -> bool {
    let removed = agent.remove_all();
    match &removed {
        Ok(()) if quiet => {}
        Ok(()) => eprintln!("All identities removed."),
        Err(error) => eprintln!("Failed to remove all identities: {error}"),
    }
    removed.is_ok()
}

fn lock(agent: &Agent, lock: bool) -> Outcome<bool> {
    let nobody = || Secret::from("");
    let password = ask("Enter lock password: ", Echo::Off)?.unwrap_or_else(nobody);
    if lock && !ask("Again: ", Echo::Off)?.unwrap_or_else(nobody).matches(password.expose()) {
        eprintln!("Passwords do not match.");
        return Ok(false);
    }
    let (word, done) = match lock {
        true => ("lock", agent.lock(&password)),
        false => ("unlock", agent.unlock(&password)),
    };
    match &done {
        Ok(()) => eprintln!("Agent {word}ed."),
        Err(error) => eprintln!("Failed to {word} agent: {error}"),
    }
    Ok(done.is_ok())
}

/// Whether the agent signs with each of these keys; it checks the signatures.
fn test(agent: &Agent, names: &[String]) -> Outcome<bool> {
    if names.is_empty() {
        return Err("no keys to test".into());
    }
    let keys = agent.keys()?;
    let mut good = true;
    for name in names {
        let (public, _) = public_key(Path::new(name))?;
        let held = keys.iter().find(|key| *key.public_key() == public).ok_or("the agent does not hold it");
        let signed = held.map_err(Into::into).and_then(|key| {
            let algorithm = public.algorithms().first().ok_or("it does not sign")?;
            Ok::<_, Box<dyn Error>>(key.sign(algorithm, b"ssh_add tests a key").map(drop)?)
        });
        if let Err(error) = signed {
            eprintln!("Agent signature failed for {name}: {error}");
            good = false;
        }
    }
    Ok(good)
}

/// Adds or removes the keys of files; without files, of those that keys usually lie in.
fn files(agent: &Agent, args: &Given) -> Outcome<bool> {
    let options = options(args)?;
    let home = home();
    let default = || DEFAULT_KEYS.iter().map(|name| home.join(name)).filter(|path| path.exists()).collect();
    let given: Vec<_> = args.operands.iter().map(PathBuf::from).collect();
    let (paths, all_must) = if given.is_empty() { (default(), false) } else { (given, true) };
    let mut adding = Adding { agent, options: &options, args, passphrase: None };
    let mut count = 0;
    for path in &paths {
        let done = if args.has('d') { remove(agent, path, args.has('q')) } else { adding.add(path) };
        match done {
            Ok(true) => count += 1,
            Ok(false) => {}
            Err(error) => eprintln!("{}: {error}", path.display()),
        }
    }
    Ok(count == paths.len() && (all_must || count > 0))
}

/// How the keys are to be held.
fn options(args: &Given) -> Outcome<AddOptions> {
    let mut options = AddOptions::new().confirm(args.has('c'));
    if let Some(value) = args.last('t') {
        let seconds = time(value).map_err(|_| "Invalid lifetime")?;
        if seconds > 0 {
            options = options.lifetime(Duration::from_secs(seconds.into()));
        }
    }
    if args.has('h') {
        let home = home();
        let mut paths: Vec<_> = args.all('H').map(PathBuf::from).collect();
        if paths.is_empty() {
            paths.extend(HOST_KEYS.iter().map(|path| home.join(path)));
        }
        let mut known = HostKeys::new();
        paths.iter().filter_map(|path| HostKeys::load(path).ok()).for_each(|keys| known.extend(keys));
        for spec in args.all('h') {
            options = options.destination(Destination::parse(spec, |hop| with_keys(&known, hop))?);
        }
    }
    Ok(options)
}

/// The hop with the keys that are known of its host; `[host]:port` is another host than `host`.
fn with_keys(known: &HostKeys, hop: Hop) -> Hop {
    let name = hop.host().into_owned();
    let named = name.strip_prefix('[').and_then(|name| name.split_once("]:"));
    let (host, port) = match named.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
        Some((host, port)) => (host, port),
        None => (name.as_str(), 22),
    };
    let hop = known.lookup(host, port).into_iter().fold(hop, |hop, key| hop.key(key));
    let authorities = known.iter().filter(|entry| entry.marker() == Some(HostKeyMarker::CertAuthority));
    // Whose names are the host's is told as for the keys of hosts.
    let signs_for_it = |entry: &HostKeyEntry<'_>| {
        let line = format!("{} {}", entry.names(), entry.key().to_line());
        !HostKeys::parse(line).lookup(host, port).is_empty()
    };
    authorities.filter(signs_for_it).fold(hop, |hop, entry| hop.authority(entry.key()))
}

/// Adds one file after the other; a passphrase is tried on the next file too.
struct Adding<'a> {
    agent: &'a Agent,
    options: &'a AddOptions,
    args: &'a Given,
    passphrase: Option<Secret>,
}

impl Adding<'_> {
    /// False when the user gave no passphrase.
    fn add(&mut self, path: &Path) -> Outcome<bool> {
        let from_input = path == Path::new("-");
        let shown = if from_input { "(stdin)".into() } else { path.display().to_string() };
        let mut text = zeroize::Zeroizing::new(Vec::new());
        if from_input {
            io::stdin().read_to_end(&mut text)?;
        }
        let read = |passphrase: Option<&Secret>| match from_input {
            true => PKey::from_bytes(&text, passphrase),
            false => {
                let passphrase = passphrase.map(|secret| String::from_utf8_lossy(secret.expose()));
                PKey::from_file(path, passphrase.as_deref())
            }
        };
        let Some(mut key) = self.open(&shown, &read)? else { return Ok(false) };
        if key.comment().is_empty() {
            key = key.with_comment(&shown)?;
        }
        if let Err(error) = self.agent.add(&key, self.options) {
            eprintln!("Could not add identity \"{shown}\": {error}");
            return Ok(false);
        }
        self.add_certificate(&key, path)?;
        if !self.args.has('q') {
            eprintln!("Identity added: {shown} ({})", key.comment());
            if let Some(value) = self.args.last('t') {
                eprintln!("Lifetime set to {} seconds", time(value)?);
            }
            if self.args.has('c') {
                eprintln!("The user must confirm each use of the key");
            }
        }
        Ok(true)
    }

    /// Adds the key once more with the certificate that lies beside its file.
    fn add_certificate(&self, key: &PKey, path: &Path) -> Outcome<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push("-cert.pub");
        let beside = Path::new(&beside);
        if !beside.exists() {
            return Ok(());
        }
        let (certificate, _) = PublicKey::from_file(beside)?;
        self.agent.add(&key.with_certificate(&certificate)?, self.options)?;
        if !self.args.has('q') {
            let id = certificate.certificate().map(feramiko::Certificate::key_id).unwrap_or_default();
            eprintln!("Certificate added: {} ({id})", beside.display());
        }
        Ok(())
    }

    /// Reads the key: without a passphrase, with the last one, then with what the user says.
    fn open(
        &mut self,
        shown: &str,
        read: &dyn Fn(Option<&Secret>) -> Result<PKey, KeyError>,
    ) -> Outcome<Option<PKey>> {
        let mut tried = read(None);
        if let (Err(KeyError::PassphraseNeeded), Some(last)) = (&tried, &self.passphrase) {
            tried = read(Some(last));
        }
        let uses = if self.args.has('c') { " (will confirm each use)" } else { "" };
        let mut question = format!("Enter passphrase for {shown}{uses}: ");
        while let Err(KeyError::PassphraseNeeded | KeyError::WrongPassphrase) = tried {
            let Some(said) = ask(&question, Echo::Off)?.filter(|said| !said.expose().is_empty()) else {
                return Ok(None);
            };
            tried = read(Some(&said));
            self.passphrase = Some(said);
            question = format!("Bad passphrase, try again for {shown}{uses}: ");
        }
        Ok(Some(tried?))
    }
}

fn remove(agent: &Agent, path: &Path, quiet: bool) -> Outcome<bool> {
    let (key, comment) = public_key(path)?;
    if let Err(error) = agent.remove(&key) {
        eprintln!("Could not remove identity \"{}\": {error}", path.display());
        return Ok(false);
    }
    if !quiet {
        eprintln!("Identity removed: {} {} ({comment})", path.display(), short_type(&key));
    }
    Ok(true)
}

/// The public key of a file: what is in it, in the `.pub` beside it, or half of the private key in it.
fn public_key(path: &Path) -> Outcome<(PublicKey, String)> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    let parse = |path: &Path| PublicKey::from_line(std::fs::read_to_string(path).ok()?.lines().next()?).ok();
    if let Some(found) = parse(path).or_else(|| parse(beside.as_ref())) {
        return Ok(found);
    }
    let key = PKey::from_file(path, None)?;
    Ok((key.public_key().clone(), key.comment().to_owned()))
}

fn home() -> PathBuf {
    std::env::home_dir().unwrap_or_default()
}
