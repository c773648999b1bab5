//! What the command line asks for. As ssh(1) and ssh_config(5) say, it is read in order and of each
//! option the first value counts, whether `-o`, a letter or the destination gave it; letters that only
//! switch something override what stands before them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use feramiko::{Algorithms, KexError};
use log::LevelFilter;

use crate::support::args::{Args, Options as Letters};
use crate::support::given::{choice, interval_of, number, one, option, rekey, text, yes};
use crate::support::home::expand;
use crate::support::log::{level, level_named};
use crate::x11::X11;
use crate::{Outcome, USAGE};

const LETTERS: Letters =
    Letters { letters: "46AaCfGgKkMNnqsTtVvXxYyB:b:c:D:E:e:F:I:i:J:L:l:m:O:o:p:Q:R:S:W:w:", names: &[] };
const NOT_BUILT: &str = "BbDefGgIJKkLMORSWwy";
/// As ssh_config(5).
const DEFAULT_ALIVE_COUNT: u32 = 3;

/// Who may be a host whose key is not known: StrictHostKeyChecking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checking {
    Yes,
    Ask,
    AcceptNew,
    No,
}

/// RequestTTY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tty {
    Auto,
    No,
    Yes,
    Force,
}

/// UpdateHostKeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Update {
    No,
    Yes,
    Ask,
}

/// `-4` and `-6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

#[derive(Default)]
pub(crate) struct Options {
    pub(crate) host: String,
    /// Empty for a shell.
    pub(crate) command: Vec<u8>,
    pub(crate) user: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) family: Option<Family>,
    pub(crate) query: Option<String>,
    pub(crate) version: bool,
    pub(crate) no_command: bool,
    pub(crate) no_input: bool,
    pub(crate) subsystem: bool,
    pub(crate) log_file: Option<PathBuf>,
    pub(crate) tty: Option<Tty>,
    pub(crate) batch: Option<bool>,
    pub(crate) compression: Option<bool>,
    /// The socket of the agent that the server's programs may use.
    pub(crate) forward_agent: Option<Option<PathBuf>>,
    pub(crate) x11: X11,
    pub(crate) identities: Vec<PathBuf>,
    pub(crate) identities_only: Option<bool>,
    pub(crate) hostbased: Option<bool>,
    pub(crate) checking: Option<Checking>,
    pub(crate) known_hosts: Option<Vec<PathBuf>>,
    pub(crate) global_known_hosts: Option<Vec<PathBuf>>,
    pub(crate) check_host_ip: Option<bool>,
    pub(crate) hash_known_hosts: Option<bool>,
    pub(crate) revoked: Option<Vec<PathBuf>>,
    pub(crate) update: Option<Update>,
    pub(crate) alias: Option<String>,
    pub(crate) connect_timeout: Option<Option<Duration>>,
    pub(crate) rekey: Option<(Option<u64>, Option<Duration>)>,
    /// Patterns of SendEnv.
    pub(crate) send: Vec<String>,
    /// Variables of SetEnv.
    pub(crate) set: Option<Vec<(String, String)>>,
    alive_interval: Option<Option<Duration>>,
    alive_count: Option<u32>,
    ciphers: Option<String>,
    macs: Option<String>,
    kex: Option<String>,
    host_keys: Option<String>,
    public_keys: Option<String>,
    required_rsa: Option<usize>,
    log_level: Option<LevelFilter>,
    /// `-v`, so many times.
    verbose: usize,
}

/// Lets the first value count.
pub(crate) fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

/// Lets the first list of algorithms count, and makes sure that all are known.
fn first_list(
    slot: &mut Option<String>,
    value: &str,
    set: fn(&mut Algorithms, &str) -> Result<(), KexError>,
) -> Result<(), String> {
    set(&mut Algorithms::client_defaults(), value).map_err(|error| error.to_string())?;
    first(slot, value.to_owned());
    Ok(())
}

impl Options {
    /// Reads the program's command line.
    pub(crate) fn from_env() -> Outcome<Self> {
        let mut this = Self::default();
        let mut args = Args::from_env(LETTERS);
        let mut host = None;
        let used = |wrong: &dyn Display| format!("{wrong}\n{USAGE}");
        loop {
            while let Some((letter, value)) = args.option().map_err(|wrong| used(&wrong))? {
                this.letter(letter, &value)?;
            }
            // Options may follow the host, but not the command.
            match (&host, args.operand()) {
                (None, Some(word)) => host = Some(this.destination(text(&word)?)?),
                (Some(_), Some(word)) => {
                    let words: Vec<_> = std::iter::once(word).chain(args.rest()).collect();
                    this.command = words.join(OsStr::new(" ")).into_vec();
                    break;
                }
                (_, None) => break,
            }
        }
        match host {
            Some(host) => this.host = host,
            None if this.version || this.query.is_some() => {}
            None => return Err(USAGE.into()),
        }
        Ok(this)
    }

    fn letter(&mut self, letter: char, value: &OsString) -> Outcome<()> {
        if NOT_BUILT.contains(letter) {
            return Err(format!("-{letter} is not built").into());
        }
        match letter {
            'E' => self.log_file = Some(value.into()),
            'i' => self.identity(expand(value)),
            _ => {
                let value = text(value).map_err(|wrong| format!("-{letter} {wrong}"))?;
                self.text_letter(letter, value).map_err(|wrong| format!("-{letter} {value}: {wrong}"))?;
            }
        }
        Ok(())
    }

    /// A letter whose value, if it has one, is text.
    fn text_letter(&mut self, letter: char, value: &str) -> Result<(), String> {
        match letter {
            '4' => self.family = Some(Family::V4),
            '6' => self.family = Some(Family::V6),
            'A' => self.forward_agent = Some(forwarded_agent("yes")),
            'a' => self.forward_agent = Some(None),
            'C' => self.compression = Some(true),
            'c' => {
                self.ciphers = None;
                first_list(&mut self.ciphers, value, Algorithms::set_ciphers)?;
            }
            'F' if value == "none" => {}
            'F' => return Err("not built; no file is read".to_owned()),
            'l' => first(&mut self.user, value.to_owned()),
            'm' => {
                self.macs = None;
                first_list(&mut self.macs, value, Algorithms::set_macs)?;
            }
            'N' => (self.no_command, self.tty) = (true, Some(Tty::No)),
            'n' => self.no_input = true,
            'o' => return self.option(value),
            'p' => first(&mut self.port, port(value)?),
            'Q' => self.query = Some(value.to_owned()),
            'q' => self.log_level = Some(LevelFilter::Off),
            's' => self.subsystem = true,
            'T' => self.tty = Some(Tty::No),
            't' => self.tty = Some(if self.tty == Some(Tty::Yes) { Tty::Force } else { Tty::Yes }),
            'V' => self.version = true,
            'X' | 'x' | 'Y' => self.x11.letter(letter),
            _ => {
                self.verbose += 1;
                self.log_level = Some(level(self.verbose));
            }
        }
        Ok(())
    }

    /// Adds a file of a key, if it is there.
    fn identity(&mut self, path: PathBuf) {
        match std::fs::metadata(&path) {
            Ok(_) => self.identities.push(path),
            Err(error) => {
                let text = format!("Warning: Identity file {} not accessible: {error}.", path.display());
                crate::support::output::complain(text);
            }
        }
    }

    /// `-o`.
    fn option(&mut self, line: &str) -> Result<(), String> {
        let (name, words) = option(line)?;
        let files = || words.iter().filter(|name| *name != "none").map(expand).collect();
        match name.as_str() {
            "sendenv" => words.iter().for_each(|pattern| self.send(pattern)),
            "setenv" => {
                let pair = |word: &String| {
                    let (name, value) = word.split_once('=').ok_or("NAME=VALUE is wanted")?;
                    Ok::<_, String>((name.to_owned(), value.to_owned()))
                };
                first(&mut self.set, words.iter().map(pair).collect::<Result<_, _>>()?);
            }
            "userknownhostsfile" => first(&mut self.known_hosts, files()),
            "globalknownhostsfile" => first(&mut self.global_known_hosts, files()),
            "revokedhostkeys" => first(&mut self.revoked, files()),
            "rekeylimit" => first(&mut self.rekey, rekey(&words)?),
            _ => self.single(&name, one(&words)?)?,
        }
        Ok(())
    }

    /// An option with one value.
    fn single(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "user" => first(&mut self.user, value.to_owned()),
            "port" => first(&mut self.port, port(value)?),
            "identityfile" => self.identities.extend((value != "none").then(|| expand(value))),
            "identitiesonly" => first(&mut self.identities_only, yes(value)?),
            "batchmode" => first(&mut self.batch, yes(value)?),
            "compression" => first(&mut self.compression, yes(value)?),
            "forwardagent" => first(&mut self.forward_agent, forwarded_agent(value)),
            "hostbasedauthentication" => first(&mut self.hostbased, yes(value)?),
            "checkhostip" => first(&mut self.check_host_ip, yes(value)?),
            "hashknownhosts" => first(&mut self.hash_known_hosts, yes(value)?),
            "stricthostkeychecking" => first(&mut self.checking, choice(value, CHECKING)?),
            "updatehostkeys" => first(&mut self.update, choice(value, UPDATE)?),
            "requesttty" => first(&mut self.tty, choice(value, TTY)?),
            "hostkeyalias" => first(&mut self.alias, value.to_owned()),
            "requiredrsasize" => first(&mut self.required_rsa, number(value)?),
            "ciphers" => first_list(&mut self.ciphers, value, Algorithms::set_ciphers)?,
            "macs" => first_list(&mut self.macs, value, Algorithms::set_macs)?,
            "kexalgorithms" => first_list(&mut self.kex, value, Algorithms::set_kex)?,
            "hostkeyalgorithms" => first_list(&mut self.host_keys, value, Algorithms::set_host_keys)?,
            "pubkeyacceptedalgorithms" => {
                first_list(&mut self.public_keys, value, Algorithms::set_public_keys)?;
            }
            "connecttimeout" => first(&mut self.connect_timeout, interval_of(value)?),
            "serveraliveinterval" => first(&mut self.alive_interval, interval_of(value)?),
            "serveralivecountmax" => first(&mut self.alive_count, number(value)?),
            "loglevel" => {
                first(&mut self.log_level, level_named(value).ok_or("there is no such level")?);
            }
            // What is not built is not done, and need not be allowed.
            "clearallforwardings" => _ = yes(value)?,
            "permitlocalcommand" if !yes(value)? => {}
            name if self.x11.option(name, value)? => {}
            _ => return Err("not built".to_owned()),
        }
        Ok(())
    }

    /// Adds a pattern of SendEnv; `-` takes those before away that it matches.
    fn send(&mut self, pattern: &str) {
        match pattern.strip_prefix('-') {
            Some(away) => self.send.retain(|pattern| !matches(away.as_bytes(), pattern.as_bytes())),
            None => self.send.push(pattern.to_owned()),
        }
    }

    /// Reads `[user@]host` or `ssh://[user@]host[:port]`; the host.
    fn destination(&mut self, word: &str) -> Outcome<String> {
        let uri = word.strip_prefix("ssh://").map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        let whole = uri.unwrap_or(word);
        let (user, mut host) = match whole.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, whole),
        };
        if let Some((name, said)) =
            host.rsplit_once(':').filter(|(_, said)| uri.is_some() && !said.ends_with(']'))
        {
            first(&mut self.port, port(said).map_err(|wrong| format!("{word}: {wrong}"))?);
            host = name;
        }
        host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || user == Some("") {
            return Err(USAGE.into());
        }
        if let Some(user) = user {
            first(&mut self.user, user.to_owned());
        }
        Ok(host.to_owned())
    }

    pub(crate) fn level(&self) -> LevelFilter {
        self.log_level.unwrap_or_else(|| level(0))
    }

    /// What is offered to the server.
    pub(crate) fn algorithms(&self) -> Result<Algorithms, KexError> {
        let mut all = Algorithms::client_defaults();
        if let Some(bits) = self.required_rsa {
            all = all.required_rsa_size(bits);
        }
        self.ciphers.as_ref().map_or(Ok(()), |list| all.set_ciphers(list))?;
        self.macs.as_ref().map_or(Ok(()), |list| all.set_macs(list))?;
        self.kex.as_ref().map_or(Ok(()), |list| all.set_kex(list))?;
        self.host_keys.as_ref().map_or(Ok(()), |list| all.set_host_keys(list))?;
        self.public_keys.as_ref().map_or(Ok(()), |list| all.set_public_keys(list))?;
        Ok(all)
    }

    /// ServerAliveInterval and ServerAliveCountMax.
    pub(crate) fn keepalive(&self) -> Option<(Duration, u32)> {
        Some((self.alive_interval.flatten()?, self.alive_count.unwrap_or(DEFAULT_ALIVE_COUNT)))
    }

    /// The variables that are sent: of SetEnv, and ours that SendEnv names, byte by byte.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let sent =
            |name: &OsString| self.send.iter().any(|pattern| matches(pattern.as_bytes(), name.as_bytes()));
        let mut seen = BTreeSet::new();
        let set = self.set.iter().flatten().map(|(name, value)| (name.into(), value.into()));
        set.chain(std::env::vars_os().filter(|(name, _)| sent(name)))
            .filter(|(name, _): &(OsString, OsString)| seen.insert(name.clone()))
            .collect()
    }
}

const CHECKING: &[(&str, Checking)] = &[
    ("yes", Checking::Yes),
    ("no", Checking::No),
    ("ask", Checking::Ask),
    ("accept-new", Checking::AcceptNew),
    ("off", Checking::No),
    ("true", Checking::Yes),
    ("false", Checking::No),
];
const UPDATE: &[(&str, Update)] = &[
    ("yes", Update::Yes),
    ("no", Update::No),
    ("ask", Update::Ask),
    ("true", Update::Yes),
    ("false", Update::No),
];
const TTY: &[(&str, Tty)] = &[
    ("yes", Tty::Yes),
    ("no", Tty::No),
    ("force", Tty::Force),
    ("auto", Tty::Auto),
    ("true", Tty::Yes),
    ("false", Tty::No),
];

fn port(value: &str) -> Result<u16, String> {
    value.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("Bad port '{value}'"))
}

/// `yes`, `no`, the path of a socket, or a variable that names one.
fn forwarded_agent(value: &str) -> Option<PathBuf> {
    let named = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    match (value.strip_prefix('$'), yes(value)) {
        (Some(variable), _) => named(variable),
        (None, Ok(forward)) => named("SSH_AUTH_SOCK").filter(|_| forward),
        (None, Err(_)) => Some(expand(value)),
    }
}

/// Whether a pattern with `*` and `?` matches the whole name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|skipped| matches(rest, &name[skipped..])),
        ([b'?', rest @ ..], [_, after @ ..]) => matches(rest, after),
        ([letter, rest @ ..], [same, after @ ..]) => letter == same && matches(rest, after),
        _ => false,
    }
}
