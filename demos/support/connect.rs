//! From a command line's destination and options to a connection: what `sftp` and `scp` share. Options are
//! those of ssh_config(5) that are built; as there, of each the first value counts.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use feramiko::{
    AcceptNewPolicy, Algorithms, HostKeyAnswer, Limits, MissingHostKeyPolicy, RejectPolicy, SSHClient,
    SSHClientBuilder, Secret, UnknownHostKey,
};

use super::given::{size, time};
use super::prompt::{Echo, ask};

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Where to, as the user wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) path: Option<Vec<u8>>,
}

impl Destination {
    /// Reads `scheme://[user[;parameters]@]host[:port][/path]`; none where it is no such URI.
    pub(crate) fn from_uri(scheme: &str, word: &OsStr) -> Option<Result<Self, String>> {
        let rest = word.as_bytes().strip_prefix(scheme.as_bytes())?.strip_prefix(b"://")?;
        Some(Self::read_uri(rest).ok_or_else(|| format!("{}: bad URI", word.display())))
    }

    fn read_uri(rest: &[u8]) -> Option<Self> {
        let (user, rest) = match split_at(rest, b'@', false) {
            Some((user, rest)) => (user.split(|byte| *byte == b';').next(), rest),
            None => (None, rest),
        };
        let user = user.map(|user| String::from_utf8(decoded(user)?).ok().filter(|user| !user.is_empty()));
        let user = match user {
            Some(None) => return None,
            Some(user) => user,
            None => None,
        };
        let (host, path) =
            split_at(rest, b'/', false).map_or((rest, None), |(host, path)| (host, Some(path)));
        let host = std::str::from_utf8(host).ok()?;
        let (host, port) = match host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => (host, Some(port_of(port)?)),
            None => (host, None),
        };
        let host = bare(host);
        let path = match path.filter(|path| !path.is_empty()) {
            Some(path) => Some(decoded(path)?),
            None => None,
        };
        Some(Self { user, host: host.to_owned(), port, path }).filter(|it| !it.host.is_empty())
    }

    /// Reads `[user@]host[:path]`, as sftp(1) and scp(1) do; the host of an address with colons stands in
    /// brackets.
    pub(crate) fn from_word(word: &OsStr) -> Result<Self, String> {
        let bytes = word.as_bytes();
        let (front, path) = match colon(bytes) {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        let front = std::str::from_utf8(front).map_err(|_| format!("{}: not UTF-8", word.display()))?;
        let (user, host) = front.rsplit_once('@').map_or((None, front), |(user, host)| (Some(user), host));
        let path = path.map(|path| if path.is_empty() { b".".to_vec() } else { path.to_vec() });
        Ok(Self {
            user: user.filter(|user| !user.is_empty()).map(str::to_owned),
            host: bare(host).to_owned(),
            port: None,
            path,
        })
    }
}

/// Where the colon is that ends a host, if there is one before the first slash.
pub(crate) fn colon(word: &[u8]) -> Option<usize> {
    let mut inside = false;
    for (at, byte) in word.iter().enumerate() {
        match byte {
            b'[' if at == 0 || word[at - 1] == b'@' => inside = true,
            b']' => inside = false,
            // A local file that begins with one.
            b':' if at == 0 => return None,
            b':' if !inside => return Some(at),
            b'/' => return None,
            _ => {}
        }
    }
    None
}

/// Without the brackets of an address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn split_at(word: &[u8], mark: u8, last: bool) -> Option<(&[u8], &[u8])> {
    let found = |byte: &u8| *byte == mark;
    let at = if last { word.iter().rposition(found) } else { word.iter().position(found) }?;
    Some((&word[..at], &word[at + 1..]))
}

pub(crate) fn port_of(value: &str) -> Option<u16> {
    value.parse().ok().filter(|port| *port > 0)
}

/// A part of a URI with what `%` hides.
fn decoded(part: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [*bytes.next()?, *bytes.next()?];
                let digits = std::str::from_utf8(&digits).ok().filter(|digits| !digits.contains('+'))?;
                u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != 0)?
            }
            byte => *byte,
        });
    }
    Some(out)
}

/// What is known of a connection before it is made.
#[derive(Debug, Default)]
pub(crate) struct Connect {
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) batch: Option<bool>,
    ipv4: bool,
    ipv6: bool,
    compression: Option<bool>,
    identities: Vec<PathBuf>,
    identities_only: bool,
    checking: Option<String>,
    known_hosts: Option<Vec<PathBuf>>,
    global_known_hosts: Option<Vec<PathBuf>>,
    revoked: Vec<PathBuf>,
    hash_known_hosts: Option<bool>,
    alias: Option<String>,
    timeout: Option<Duration>,
    alive: (Option<u32>, Option<u32>),
    rekey: Option<u64>,
    algorithms: Vec<(&'static str, String)>,
    pub(crate) log_level: Option<String>,
}

/// Options that name algorithms.
const ALGORITHMS: [&str; 5] =
    ["ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms"];
/// Options for what these programs never do.
const WITHOUT_EFFECT: [&str; 6] =
    ["forwardx11", "permitlocalcommand", "clearallforwardings", "forwardagent", "requesttty", "escapechar"];

impl Connect {
    /// Takes one of `46AaCFJciqv` and `o`, which mean to `sftp` and `scp` what they mean to `ssh`.
    pub(crate) fn letter(&mut self, letter: char, value: &OsStr) -> Result<(), String> {
        let text = || value.to_str().ok_or_else(|| format!("-{letter} {}: not UTF-8", value.display()));
        match letter {
            '4' => self.ipv4 = true,
            '6' => self.ipv6 = true,
            'C' => self.compression = Some(true),
            'c' => self.algorithms.insert(0, ("ciphers", text()?.to_owned())),
            'i' => self.identity(value),
            'F' if value == "none" => {}
            'F' => return Err("-F other than none is not built".to_owned()),
            'A' | 'J' => return Err(format!("-{letter} is not built")),
            'o' => self.option(text()?)?,
            _ => {}
        }
        Ok(())
    }

    fn identity(&mut self, name: &OsStr) {
        let path = expand(name);
        match std::fs::metadata(&path) {
            Ok(_) => self.identities.push(path),
            Err(error) => {
                eprintln!("Warning: Identity file {} not accessible: {error}.", path.display());
            }
        }
    }

    /// Takes `Name=value` or `Name value`.
    pub(crate) fn option(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim();
        let (name, value) =
            line.split_once(['=', ' ']).ok_or_else(|| format!("command-line line 0: no value: {line}"))?;
        let value = value.trim().trim_start_matches('=').trim().trim_matches('"');
        let name = name.trim().to_ascii_lowercase();
        self.named(&name, value).map_err(|wrong| format!("-o {line}: {wrong}"))
    }

    fn named(&mut self, name: &str, value: &str) -> Result<(), String> {
        if let Some(known) = ALGORITHMS.into_iter().find(|known| *known == name) {
            if !self.algorithms.iter().any(|(set, _)| *set == known) {
                self.algorithms.push((known, value.to_owned()));
            }
            return Ok(());
        }
        match name {
            "user" => first(&mut self.user, value.to_owned()),
            "port" => first(&mut self.port, port_of(value).ok_or_else(|| format!("Bad port '{value}'"))?),
            "identityfile" if value == "none" => {}
            "identityfile" => self.identity(OsStr::new(value)),
            "identitiesonly" => self.identities_only = yes(value)?,
            "batchmode" => first(&mut self.batch, yes(value)?),
            "compression" => first(&mut self.compression, yes(value)?),
            "stricthostkeychecking" => first(&mut self.checking, value.to_ascii_lowercase()),
            "userknownhostsfile" => first(&mut self.known_hosts, files(value)),
            "globalknownhostsfile" => first(&mut self.global_known_hosts, files(value)),
            "revokedhostkeys" => self.revoked.extend(files(value)),
            "hashknownhosts" => first(&mut self.hash_known_hosts, yes(value)?),
            "hostkeyalias" => first(&mut self.alias, value.to_owned()),
            "connecttimeout" => {
                first(&mut self.timeout, Duration::from_secs(time(value)?.into()));
            }
            "serveraliveinterval" => first(&mut self.alive.0, time(value)?),
            "serveralivecountmax" => {
                first(&mut self.alive.1, value.parse().map_err(|_| "no number".to_owned())?);
            }
            "rekeylimit" => first(&mut self.rekey, size(value)?),
            "loglevel" => first(&mut self.log_level, value.to_owned()),
            _ if WITHOUT_EFFECT.contains(&name) => {}
            _ => return Err("not built".to_owned()),
        }
        Ok(())
    }

    /// Connects; what must be asked is asked on the terminal.
    pub(crate) fn connect(self, destination: &Destination) -> Outcome<SSHClient> {
        let mut builder = SSHClient::builder().algorithms(self.algorithms()?);
        if let Some(bytes) = self.rekey {
            let mut limits = Limits::default();
            limits.rekey_bytes = bytes;
            builder = builder.limits(limits);
        }
        builder = builder.compress(self.compression.unwrap_or(false));
        if self.ipv4 {
            builder = builder.ipv4_only();
        }
        if self.ipv6 {
            builder = builder.ipv6_only();
        }
        if let (Some(interval @ 1..), count) = self.alive {
            builder = builder.keepalive(Duration::from_secs(interval.into()), count.unwrap_or(3));
        }
        if let Some(timeout) = self.timeout.filter(|timeout| !timeout.is_zero()) {
            builder = builder.deadline(timeout);
        }
        builder = self.identities(builder);
        // Who reads commands from a file may still have a terminal for questions: /dev/tty.
        let may_ask = !self.batch.unwrap_or(false)
            && (io::stdin().is_terminal()
                || super::terminal::controlling().is_ok()
                || std::env::var_os("SSH_ASKPASS_REQUIRE").is_some());
        builder = self.host_keys(builder, may_ask);
        if may_ask {
            builder = questions(builder, &destination.host);
        }
        if let Some(user) = destination.user.as_ref().or(self.user.as_ref()) {
            builder = builder.username(user);
        }
        let host = &destination.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let port = destination.port.or(self.port).unwrap_or(22);
        Ok(builder.connect(&format!("{host}:{port}"))?)
    }

    fn algorithms(&self) -> Outcome<Algorithms> {
        let mut all = Algorithms::client_defaults();
        let mut seen: Vec<&str> = Vec::new();
        for (name, list) in &self.algorithms {
            if seen.contains(name) {
                continue;
            }
            seen.push(name);
            match *name {
                "ciphers" => all.set_ciphers(list),
                "macs" => all.set_macs(list),
                "kexalgorithms" => all.set_kex(list),
                "hostkeyalgorithms" => all.set_host_keys(list),
                _ => all.set_public_keys(list),
            }
            .map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(all)
    }

    /// What the user proves with. Files that are named stand for the usual ones.
    fn identities(&self, mut builder: SSHClientBuilder) -> SSHClientBuilder {
        if !self.identities.is_empty() || self.identities_only {
            builder = builder.no_default_keys();
        }
        if self.identities_only {
            builder = builder.no_agent();
        }
        self.identities.iter().fold(builder, |builder, path| builder.key_file(path, None))
    }

    /// How the host is known.
    fn host_keys(&self, mut builder: SSHClientBuilder, may_ask: bool) -> SSHClientBuilder {
        builder = match self.checking.as_deref() {
            Some("no" | "off" | "false" | "accept-new") => builder.missing_host_key(AcceptNewPolicy),
            Some("yes" | "true") => builder.missing_host_key(RejectPolicy),
            _ if may_ask => builder.missing_host_key(AskPolicy),
            _ => builder.missing_host_key(RejectPolicy),
        };
        if let Some(files) = &self.known_hosts {
            builder = builder.known_hosts_files(files);
        }
        if let Some(files) = &self.global_known_hosts {
            builder = builder.global_known_hosts_files(files);
        }
        builder = self.revoked.iter().fold(builder, SSHClientBuilder::revoked_host_keys);
        if let Some(hash) = self.hash_known_hosts {
            builder = builder.hash_known_hosts(hash);
        }
        match &self.alias {
            Some(name) => builder.host_key_alias(name),
            None => builder,
        }
    }
}

/// Lets the first value count.
fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn yes(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("not yes or no".to_owned()),
    }
}

/// The files of a list; `none` is none.
fn files(list: &str) -> Vec<PathBuf> {
    list.split_whitespace().filter(|name| *name != "none").map(|name| expand(OsStr::new(name))).collect()
}

/// A path with the home directory for `~/`.
pub(crate) fn expand(path: &OsStr) -> PathBuf {
    match (path.as_bytes().strip_prefix(b"~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(OsStr::from_bytes(rest)),
        _ => PathBuf::from(OsString::from(path)),
    }
}

/// Asks the user about unknown hosts, as ssh does.
#[derive(Debug)]
pub(crate) struct AskPolicy;

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

/// Asks without showing the answer.
fn hidden(question: &str) -> Option<Secret> {
    ask(question, Echo::Off).ok().flatten()
}

/// Passphrases, passwords and what else the server asks.
pub(crate) fn questions(builder: SSHClientBuilder, host: &str) -> SSHClientBuilder {
    let host = host.to_owned();
    builder
        .passphrase_callback(|path| hidden(&format!("Enter passphrase for key '{}': ", path.display())))
        .password_callback(move |user| hidden(&format!("{user}@{host}'s password: ")))
        .interactive(|query| {
            let echo = |echo: bool| if echo { Echo::On } else { Echo::Off };
            let answer = |prompt: &feramiko::Prompt| ask(&prompt.text, echo(prompt.echo)).ok().flatten();
            let answers: Option<Vec<Secret>> = query.prompts.iter().map(answer).collect();
            answers.ok_or(feramiko::Error::Cancelled)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(user: &str, host: &str, port: u16, path: &str) -> Destination {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Destination {
            user: some(user),
            host: host.to_owned(),
            port: Some(port).filter(|port| *port > 0),
            path: some(path).map(String::into_bytes),
        }
    }

    #[test]
    fn uris() {
        for (uri, expected) in [
            ("sftp://host", destination("", "host", 0, "")),
            ("sftp://me@host:2222/", destination("me", "host", 2222, "")),
            ("sftp://me;x=y@host/a%20b+c", destination("me", "host", 0, "a b c")),
            ("sftp://[::1]:22//etc/x", destination("", "::1", 22, "/etc/x")),
        ] {
            assert_eq!(Destination::from_uri("sftp", OsStr::new(uri)), Some(Ok(expected)), "{uri}");
        }
        for wrong in ["sftp://", "sftp://@host", "sftp://host:0/", "sftp://host:x/", "sftp://host/%g0"] {
            assert!(Destination::from_uri("sftp", OsStr::new(wrong)).unwrap().is_err(), "{wrong}");
        }
        assert_eq!(Destination::from_uri("sftp", OsStr::new("host:path")), None);
    }

    #[test]
    fn words() {
        for (word, expected) in [
            ("host", destination("", "host", 0, "")),
            ("me@host:", destination("me", "host", 0, ".")),
            ("a@b@host:x:y", destination("a@b", "host", 0, "x:y")),
            ("me@[::1]:/x", destination("me", "::1", 0, "/x")),
            ("[::1]", destination("", "::1", 0, "")),
        ] {
            assert_eq!(Destination::from_word(OsStr::new(word)), Ok(expected), "{word}");
        }
    }

    #[test]
    fn the_first_value_counts_and_what_is_not_built_says_so() {
        let mut connect = Connect::default();
        connect.option("Port=22").unwrap();
        connect.option("port 23").unwrap();
        connect.option("ForwardX11 no").unwrap();
        assert_eq!(connect.port, Some(22));
        for wrong in ["Port", "Port=0", "ProxyCommand=x", "BatchMode=x"] {
            assert!(connect.option(wrong).is_err(), "{wrong}");
        }
        assert!(connect.letter('J', OsStr::new("x")).is_err());
        assert!(connect.letter('F', OsStr::new("none")).is_ok());
    }
}
