//! Gives an agent keys and asks it for what it has, with the options of ssh-add(1) that are built.

mod support;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use feramiko::{
    AddOptions, Agent, AgentKey, Destination, FingerprintHash, Hop, HostKeyEntry, HostKeyMarker, HostKeys,
    KeyError, PKey, PublicKey, Secret,
};
use support::args::Options;
use support::given::{Given, time};
use support::home::{beside, home};
use support::log::{level, start};
use support::output::{complain, say};
use support::prompt::{Echo, ask};

type Outcome<T> = Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: ssh_add [-cDdkLlqvXx] [-E fingerprint_hash] [-H hostkey_file]
               [-h destination_constraint] [-t life] [file ...]
       ssh_add -T pubkey ...
Not built: -e -K -S -s, keys of tokens.";
const OPTIONS: Options = Options { letters: "cDde:E:H:h:KkLlqS:s:Tt:vXx", names: &[] };
const NOT_BUILT: &str = "eKSs";
/// Without files these are added, in this order; under the user's home.
const DEFAULT_KEYS: [&str; 3] = [".ssh/id_rsa", ".ssh/id_ecdsa", ".ssh/id_ed25519"];
/// Where the host keys of destinations are looked for; the first two under the user's home.
const HOST_KEYS: [&str; 4] =
    [".ssh/known_hosts", ".ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
/// No agent could be reached.
const NO_AGENT: u8 = 2;
/// OpenSSH's `fatal`; everything else that fails is 1.
const FATAL: u8 = 255;

fn main() -> ExitCode {
    let outcome = Given::with_files(OPTIONS, "H").map_err(|error| format!("{error}\n{USAGE}").into());
    outcome.and_then(|args| run(&args)).unwrap_or_else(|error: Box<dyn Error>| {
        complain(error);
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
            complain("Could not open a connection to your authentication agent.");
            return Ok(ExitCode::from(NO_AGENT));
        }
    };
    if let Some(letter) = NOT_BUILT.chars().find(|letter| args.has(*letter)) {
        return Err(format!("-{letter}: keys of tokens are not built").into());
    }
    let hash = args.last('E').map(|name| FingerprintHash::by_name(name).ok_or(name)).transpose();
    let hash = match hash {
        Ok(hash) => hash.unwrap_or_default(),
        Err(name) => {
            complain(format_args!("Invalid hash algorithm \"{name}\""));
            return Ok(ExitCode::from(FATAL));
        }
    };
    let good = match actions.into_iter().find(|letter| args.has(*letter)) {
        Some('l') => list(&agent, &|key| fingerprint_line(key, hash))?,
        Some('L') => list(&agent, &|key| format!("{} {}", key.public_key().to_line(), key.comment()))?,
        Some('D') => remove_all(&agent, args.has('q')),
        Some(letter) => lock(&agent, letter == 'x')?,
        None if args.has('T') => test(&agent, &args.files)?,
        None => files(&agent, args)?,
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints a line about each key.
fn list(agent: &Agent, line: &dyn Fn(&AgentKey) -> String) -> Outcome<bool> {
    let keys = agent.keys().map_err(|error| format!("error fetching identities: {error}"))?;
    if keys.is_empty() {
        say("The agent has no identities.")?;
    }
    for key in &keys {
        say(line(key))?;
    }
    Ok(!keys.is_empty())
}

fn fingerprint_line(key: &AgentKey, hash: FingerprintHash) -> String {
    let public = key.public_key();
    let (bits, shown, kind) = (public.bits(), public.fingerprint_by(hash), public.short_type());
    format!("{bits} {shown} {} ({kind})", key.comment())
}

fn remove_all(agent: &Agent, quiet: bool) -> bool {
    let removed = agent.remove_all();
    match &removed {
        Ok(()) if quiet => {}
        Ok(()) => complain("All identities removed."),
        Err(error) => complain(format_args!("Failed to remove all identities: {error}")),
    }
    removed.is_ok()
}

fn lock(agent: &Agent, lock: bool) -> Outcome<bool> {
    let nobody = || Secret::from("");
    let password = ask("Enter lock password: ", Echo::Off)?.unwrap_or_else(nobody);
    if lock && !ask("Again: ", Echo::Off)?.unwrap_or_else(nobody).matches(password.expose()) {
        complain("Passwords do not match.");
        return Ok(false);
    }
    let (word, done) = match lock {
        true => ("lock", agent.lock(&password)),
        false => ("unlock", agent.unlock(&password)),
    };
    match &done {
        Ok(()) => complain(format_args!("Agent {word}ed.")),
        Err(error) => complain(format_args!("Failed to {word} agent: {error}")),
    }
    Ok(done.is_ok())
}

/// Whether the agent signs with each of these keys; it checks the signatures.
fn test(agent: &Agent, names: &[OsString]) -> Outcome<bool> {
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
            complain(format_args!("Agent signature failed for {}: {error}", name.display()));
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
    let given: Vec<_> = args.files.iter().map(PathBuf::from).collect();
    let (paths, all_must) = if given.is_empty() { (default(), false) } else { (given, true) };
    let mut adding = Adding { agent, options: &options, args, passphrase: None };
    let mut count = 0;
    for path in &paths {
        let done = if args.has('d') { remove(agent, path, args) } else { adding.add(path) };
        match done {
            Ok(true) => count += 1,
            Ok(false) => {}
            Err(error) => complain(format_args!("{}: {error}", path.display())),
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
        let mut paths: Vec<_> = args.paths('H').collect();
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
            complain(format_args!("Could not add identity \"{shown}\": {error}"));
            return Ok(false);
        }
        self.added(&format!("Identity added: {shown} ({})", key.comment()))?;
        if !self.args.has('k') {
            self.add_certificate(&key, path)?;
        }
        Ok(true)
    }

    /// Says what was added, and how it is held.
    fn added(&self, what: &str) -> Outcome<()> {
        if self.args.has('q') {
            return Ok(());
        }
        complain(what);
        if let Some(value) = self.args.last('t') {
            complain(format_args!("Lifetime set to {} seconds", time(value)?));
        }
        if self.args.has('c') {
            complain("The user must confirm each use of the key");
        }
        Ok(())
    }

    /// Adds the key once more with the certificate that lies beside its file.
    fn add_certificate(&self, key: &PKey, path: &Path) -> Outcome<()> {
        let Some((path, certificate, _)) = certificate(path)? else { return Ok(()) };
        self.agent.add(&key.with_certificate(&certificate)?, self.options)?;
        let id = certificate.certificate().map(feramiko::Certificate::key_id).unwrap_or_default();
        self.added(&format!("Certificate added: {} ({id})", path.display()))
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

/// Removes a key, and its certificate; whether either was there.
fn remove(agent: &Agent, path: &Path, args: &Given) -> Outcome<bool> {
    let (key, comment) = public_key(path)?;
    let mut removed = remove_one(agent, path, &key, &comment, args);
    if let Some((path, certificate, comment)) = certificate(path)?.filter(|_| !args.has('k')) {
        removed |= remove_one(agent, &path, &certificate, &comment, args);
    }
    Ok(removed)
}

fn remove_one(agent: &Agent, path: &Path, key: &PublicKey, comment: &str, args: &Given) -> bool {
    let removed = agent.remove(key);
    match &removed {
        Ok(()) if args.has('q') => {}
        Ok(()) => {
            complain(format_args!("Identity removed: {} {} ({comment})", path.display(), key.short_type()));
        }
        Err(error) => complain(format_args!("Could not remove identity \"{}\": {error}", path.display())),
    }
    removed.is_ok()
}

/// The certificate that lies beside the file of a key, with its own path and its comment.
fn certificate(path: &Path) -> Outcome<Option<(PathBuf, PublicKey, String)>> {
    let path = beside(path, "-cert.pub");
    if !path.exists() {
        return Ok(None);
    }
    let (certificate, comment) = PublicKey::from_file(&path)?;
    Ok(Some((path, certificate, comment)))
}

/// The public key of a file: what is in it, in the `.pub` beside it, or half of the private key in it.
fn public_key(path: &Path) -> Outcome<(PublicKey, String)> {
    let parse = |path: &Path| PublicKey::from_line(std::fs::read_to_string(path).ok()?.lines().next()?).ok();
    if let Some(found) = parse(path).or_else(|| parse(&beside(path, ".pub"))) {
        return Ok(found);
    }
    let key = PKey::from_file(path, None)?;
    Ok((key.public_key().clone(), key.comment().to_owned()))
}
