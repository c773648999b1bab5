//! Connections for programs that take ssh's options but are not ssh: `-o`, and the letters that stand for
//! some of them. Of each option the first value counts, but for the files of keys.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use feramiko::{
    AcceptNewPolicy, Algorithms, HostAddressCheck, Limits, RejectPolicy, SSHClient, SSHClientBuilder,
};
use log::LevelFilter;

use super::given::{choice, interval_of, number, one, option, rekey, yes};
use super::home::expand;
use super::log::level_named;
use super::questions::{AskPolicy, questions};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const PORT: u16 = 22;
/// As ssh_config(5).
const DEFAULT_ALIVE_COUNT: u32 = 3;

/// What becomes of hosts that are not known.
#[derive(Debug, Clone, Copy)]
enum Checking {
    Strict,
    Ask,
    New,
}

/// StrictHostKeyChecking's words. A key that has changed is refused with any.
const CHECKING: &[(&str, Checking)] = &[
    ("yes", Checking::Strict),
    ("ask", Checking::Ask),
    ("accept-new", Checking::New),
    ("no", Checking::New),
    ("off", Checking::New),
];

/// What a connection is made with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connect {
    /// Options with their values, the first of each.
    set: Vec<(String, Vec<String>)>,
    keys: Vec<PathBuf>,
    /// `-4` or `-6`.
    pub(crate) family: Option<u8>,
}

impl Connect {
    /// `-o`. What is wrong with it is told at once.
    pub(crate) fn option(&mut self, line: &str) -> Result<(), String> {
        let (name, words) = option(line).map_err(|wrong| format!("-o {line}: {wrong}"))?;
        let mut alone = Self { set: vec![(name.clone(), words.clone())], ..Self::default() };
        if name == "identityfile" {
            let file = one(&words).map_err(|wrong| format!("-o {line}: {wrong}"))?;
            self.keys.extend((file != "none").then(|| expand(file)));
            return Ok(());
        }
        alone.builder().map_err(|wrong| format!("-o {line}: {wrong}"))?;
        if self.get(&name).is_none() {
            self.set.push((name, words));
        }
        Ok(())
    }

    /// A letter that stands for an option. The last one counts, and more than `-o`.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let mut alone = Self::default();
        alone.option(&format!("{name}={value}"))?;
        self.set.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.set.splice(..0, alone.set);
        Ok(())
    }

    /// `-i`.
    pub(crate) fn identity(&mut self, file: PathBuf) {
        self.keys.push(file);
    }

    fn get(&self, name: &str) -> Option<&[String]> {
        self.set.iter().find(|(known, _)| known == name).map(|(_, words)| words.as_slice())
    }

    fn says(&self, name: &str) -> bool {
        self.get(name).and_then(<[String]>::first).is_some_and(|word| yes(word) == Ok(true))
    }

    /// LogLevel.
    pub(crate) fn level(&self) -> Option<LevelFilter> {
        level_named(self.get("loglevel")?.first()?)
    }

    fn builder(&mut self) -> Outcome<SSHClientBuilder> {
        let mut builder = SSHClient::builder();
        let (mut algorithms, mut limits) = (Algorithms::client_defaults(), Limits::default());
        let (mut alive, mut count) = (None, DEFAULT_ALIVE_COUNT);
        for (name, words) in &self.set {
            let files = || words.iter().filter(|name| *name != "none").map(expand);
            let value = || one(words);
            match name.as_str() {
                "user" => drop(value()?),
                "batchmode" => drop(yes(value()?)?),
                "stricthostkeychecking" => drop(choice(value()?, CHECKING)?),
                "port" => drop(number::<u16>(value()?)?),
                "loglevel" => drop(level_named(value()?).ok_or("there is no such level")?),
                "identitiesonly" => builder = builder.identities_only(yes(value()?)?),
                "compression" => builder = builder.compress(yes(value()?)?),
                "userknownhostsfile" => builder = builder.known_hosts_files(files()),
                "globalknownhostsfile" => builder = builder.global_known_hosts_files(files()),
                "revokedhostkeys" => builder = files().fold(builder, SSHClientBuilder::revoked_host_keys),
                "hashknownhosts" => builder = builder.hash_known_hosts(yes(value()?)?),
                "updatehostkeys" => builder = builder.update_host_keys(yes(value()?)?),
                "hostkeyalias" => builder = builder.host_key_alias(value()?),
                "checkhostip" if yes(value()?)? => {
                    builder = builder.check_host_ip(HostAddressCheck::Reject);
                }
                "checkhostip" => {}
                "requiredrsasize" => algorithms = algorithms.required_rsa_size(number(value()?)?),
                "ciphers" => algorithms.set_ciphers(value()?)?,
                "macs" => algorithms.set_macs(value()?)?,
                "kexalgorithms" => algorithms.set_kex(value()?)?,
                "hostkeyalgorithms" => algorithms.set_host_keys(value()?)?,
                "pubkeyacceptedalgorithms" => algorithms.set_public_keys(value()?)?,
                "connecttimeout" => {
                    builder = interval_of(value()?)?.into_iter().fold(builder, SSHClientBuilder::deadline);
                }
                "serveraliveinterval" => alive = interval_of(value()?)?,
                "serveralivecountmax" => count = number(value()?)?,
                "rekeylimit" => {
                    let (bytes, interval) = rekey(words)?;
                    limits.rekey_bytes = bytes.unwrap_or(limits.rekey_bytes);
                    limits.rekey_interval = interval.unwrap_or(limits.rekey_interval);
                }
                _ => return Err("not built".into()),
            }
        }
        if let Some(interval) = alive {
            builder = builder.keepalive(interval, count);
        }
        Ok(builder.algorithms(algorithms).limits(limits))
    }

    /// Connects to a host. What stands with the host counts more than the options.
    pub(crate) fn connect(&self, host: &str, user: Option<&str>, port: Option<u16>) -> Outcome<SSHClient> {
        let mut builder = self.clone().builder()?;
        builder = match self.family {
            Some(4) => builder.ipv4_only(),
            Some(_) => builder.ipv6_only(),
            None => builder,
        };
        if !self.keys.is_empty() {
            builder = builder.no_default_keys();
        }
        builder = self.keys.iter().fold(builder, |builder, path| builder.key_file(path, None));
        let (batch, here) = (self.says("batchmode"), io::stdin().is_terminal());
        let checking = self.get("stricthostkeychecking").and_then(<[String]>::first);
        builder = match checking.map_or(Ok(Checking::Ask), |word| choice(word, CHECKING))? {
            Checking::New => builder.missing_host_key(AcceptNewPolicy),
            Checking::Ask if here && !batch => builder.missing_host_key(AskPolicy),
            _ => builder.missing_host_key(RejectPolicy),
        };
        if !batch && (here || std::env::var_os("SSH_ASKPASS_REQUIRE").is_some()) {
            builder = questions(builder, host);
        }
        let first = |name| self.get(name).and_then(<[String]>::first).map(String::as_str);
        if let Some(user) = user.or_else(|| first("user")) {
            builder = builder.username(user);
        }
        let port = match (port, first("port")) {
            (Some(port), _) => port,
            (None, Some(port)) => number(port)?,
            (None, None) => PORT,
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(builder.connect(&format!("{host}:{port}"))?)
    }

    /// The same options as ssh takes them, for a program that makes the connection instead.
    pub(crate) fn as_letters(&self) -> Vec<String> {
        let family = self.family.map(|family| format!("-{family}"));
        let keys = self.keys.iter().flat_map(|path| ["-i".to_owned(), path.display().to_string()]);
        let quoted = |word: &String| format!("\"{word}\"");
        let value = |words: &[String]| match words {
            [word] => word.clone(),
            many => many.iter().map(quoted).collect::<Vec<_>>().join(" "),
        };
        let options = self.set.iter().map(|(name, words)| format!("-o{name}={}", value(words)));
        family.into_iter().chain(keys).chain(options).collect()
    }
}
