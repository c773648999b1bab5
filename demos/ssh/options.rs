//! What the command line asks for. Each letter is a line of configuration that comes before the files, as in
//! OpenSSH's ssh.c: the library knows the keywords, and there is one way from an option to what it does.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use feramiko::{ConfigError, ConfigQuery, HostConfig, SSHConfig};

use crate::background::Behind;
use crate::support::args::{Args, Options as Letters};
use crate::support::given::text;
use crate::support::home::expand;
use crate::{Outcome, USAGE};

const LETTERS: Letters =
    Letters { letters: "1246AaCfGgKkMNnqsTtVvXxYyB:b:c:D:E:e:F:I:i:J:L:l:m:O:o:P:p:Q:R:S:W:w:", names: &[] };
const NOT_BUILT: &str = "IKkw";

/// Letters that switch something, each with the keyword and its value: more than what stands before them.
const SWITCHES: &[(char, &str, &str)] = &[
    ('4', "AddressFamily", "inet"),
    ('6', "AddressFamily", "inet6"),
    ('A', "ForwardAgent", "yes"),
    ('a', "ForwardAgent", "no"),
    ('C', "Compression", "yes"),
    ('f', "ForkAfterAuthentication", "yes"),
    ('f', "StdinNull", "yes"),
    ('g', "GatewayPorts", "yes"),
    ('N', "SessionType", "none"),
    ('N', "RequestTTY", "no"),
    ('n', "StdinNull", "yes"),
    ('q', "LogLevel", "QUIET"),
    ('s', "SessionType", "subsystem"),
    ('T', "RequestTTY", "no"),
    ('X', "ForwardX11", "yes"),
    ('x', "ForwardX11", "no"),
    ('Y', "ForwardX11", "yes"),
    ('Y', "ForwardX11Trusted", "yes"),
];
/// Letters with a value that counts more than what stands before them.
const VALUES: &[(char, &str)] = &[
    ('B', "BindInterface"),
    ('b', "BindAddress"),
    ('c', "Ciphers"),
    ('e', "EscapeChar"),
    ('m', "MACs"),
    ('S', "ControlPath"),
];
/// Letters with a value of which the first counts.
const FIRST: &[(char, &str)] = &[('J', "ProxyJump"), ('P', "Tag"), ('p', "Port")];
/// LogLevel after so many `-v`.
const LEVELS: [&str; 3] = ["DEBUG", "DEBUG2", "DEBUG3"];

pub(crate) struct Options {
    given: ConfigQuery,
    files: Option<PathBuf>,
    has_host: bool,
    /// Empty for a shell.
    pub(crate) command: Vec<u8>,
    pub(crate) query: Option<String>,
    pub(crate) version: bool,
    /// `-G`.
    pub(crate) show: bool,
    pub(crate) log_file: Option<PathBuf>,
    /// The log goes to the system's.
    pub(crate) system_log: bool,
    /// `-O`.
    pub(crate) order: Option<String>,
    /// Files of keys whose names are no text, which a line of configuration cannot have.
    pub(crate) odd_identities: Vec<PathBuf>,
    verbose: usize,
}

impl Options {
    /// Reads the program's command line.
    pub(crate) fn from_env() -> Outcome<Self> {
        let mut this = Self {
            given: SSHConfig::empty().query(""),
            files: None,
            has_host: false,
            command: Vec::new(),
            query: None,
            version: false,
            show: false,
            log_file: None,
            system_log: false,
            order: None,
            odd_identities: Vec::new(),
            verbose: 0,
        };
        // Of a process in the background the first word is no option of the user's.
        let skipped = if Behind::this().is_some() { 2 } else { 1 };
        let mut args = Args::new(LETTERS, std::env::args_os().skip(skipped));
        loop {
            while let Some((letter, value)) = args.option().map_err(|wrong| format!("{wrong}\n{USAGE}"))? {
                this.letter(letter, &value)?;
            }
            // Options may follow the host, but not the command.
            match (this.has_host, args.operand()) {
                (false, Some(word)) => this.destination(text(&word)?)?,
                (true, Some(word)) => {
                    let words: Vec<_> = std::iter::once(word).chain(args.rest()).collect();
                    this.command = words.join(OsStr::new(" ")).into_vec();
                    break;
                }
                (_, None) => break,
            }
        }
        if this.has_host || this.version || this.query.is_some() { Ok(this) } else { Err(USAGE.into()) }
    }

    fn letter(&mut self, letter: char, value: &OsString) -> Outcome<()> {
        if letter == '1' {
            return Err("SSH protocol v.1 is no longer supported".into());
        }
        if NOT_BUILT.contains(letter) {
            return Err(format!("-{letter} is not built").into());
        }
        match letter {
            'E' => self.log_file = Some(value.into()),
            'F' => self.files = Some(value.into()),
            'G' => self.show = true,
            'V' => self.version = true,
            'y' => self.system_log = true,
            'i' => {
                self.identity(&expand(value)).map_err(|wrong| format!("-i {}: {wrong}", value.display()))?
            }
            _ => {
                let value = text(value).map_err(|wrong| format!("-{letter} {wrong}"))?;
                self.keyword(letter, value)
                    .map_err(|wrong| format!("-{letter} {value}: {}", wrong.text()).replace(" : ", ": "))?;
            }
        }
        Ok(())
    }

    /// A letter that stands for a keyword. `-2` names the protocol that there is.
    fn keyword(&mut self, letter: char, value: &str) -> Result<(), ConfigError> {
        let mut given = self.given.clone();
        for (_, name, value) in SWITCHES.iter().filter(|(known, ..)| *known == letter) {
            given = given.instead(name, &[value])?;
        }
        for (_, name) in VALUES.iter().filter(|(known, _)| *known == letter) {
            given = given.instead(name, &[value])?;
        }
        for (_, name) in FIRST.iter().filter(|(known, _)| *known == letter) {
            given = given.words(name, &[value])?;
        }
        self.given = match letter {
            'D' | 'L' | 'R' => given.forward(letter, value)?,
            'l' => given.user(value),
            'M' => {
                let ask = given.given("ControlMaster") == Some("true");
                given.instead("ControlMaster", &[if ask { "ask" } else { "yes" }])?
            }
            'o' => given.option(value)?,
            'O' => {
                self.order = Some(value.to_owned());
                given
            }
            'Q' => {
                self.query = Some(value.to_owned());
                given
            }
            'W' => given.stdio_forward(value)?,
            't' => {
                let force = given.given("RequestTTY") == Some("true");
                given.instead("RequestTTY", &[if force { "force" } else { "yes" }])?
            }
            'v' => {
                let level = LEVELS.get(self.verbose).or(LEVELS.last()).copied().unwrap_or_default();
                self.verbose += 1;
                given.instead("LogLevel", &[level])?
            }
            _ => given,
        };
        Ok(())
    }

    /// Adds a file of a key, if it is there.
    fn identity(&mut self, path: &Path) -> Outcome<()> {
        match std::fs::metadata(path) {
            Ok(_) => match path.to_str() {
                Some(text) => self.given = self.given.clone().words("IdentityFile", &[text])?,
                None => self.odd_identities.push(path.to_owned()),
            },
            Err(error) => {
                let text = format!("Warning: Identity file {} not accessible: {error}.", path.display());
                crate::support::output::complain(text);
            }
        }
        Ok(())
    }

    /// Reads `[user@]host` or `ssh://[user@]host[:port]`.
    fn destination(&mut self, word: &str) -> Outcome<()> {
        let mut given = self.given.clone();
        if let Some(uri) =
            crate::support::destination::Destination::from_uri("ssh", OsStr::from_bytes(word.as_bytes()))
        {
            let uri = uri?;
            if uri.path.is_some() {
                return Err(USAGE.into());
            }
            given = uri.user.iter().fold(given, |given, user| given.user(user));
            given = uri.port.iter().fold(given, |given, port| given.port(*port));
            self.given = given.host(&uri.host);
        } else {
            let (user, host) = word.rsplit_once('@').map_or((None, word), |(user, host)| (Some(user), host));
            if host.is_empty() || user == Some("") {
                return Err(USAGE.into());
            }
            given = user.iter().fold(given, |given, user| given.user(user));
            self.given = given.host(host);
        }
        self.has_host = true;
        Ok(())
    }

    /// The files of `-F`, or the usual ones.
    pub(crate) fn files(&self) -> Outcome<SSHConfig> {
        Ok(match &self.files {
            None => SSHConfig::load()?,
            Some(path) if path.as_os_str().eq_ignore_ascii_case("none") => SSHConfig::empty(),
            Some(path) => SSHConfig::from_file(path)?,
        })
    }

    /// Whether a process in the background will read the same as this one.
    pub(crate) fn can_be_read_again(&self) -> Outcome<()> {
        match &self.files {
            Some(path) if path.exists() && !path.is_file() && path != Path::new("/dev/null") => Err(format!(
                "{} is a pipe, which ssh in the background cannot read again: name a file",
                path.display()
            )
            .into()),
            _ => Ok(()),
        }
    }

    /// What the command line and the files say of the host.
    pub(crate) fn lookup(&self) -> Outcome<HostConfig> {
        let command = String::from_utf8_lossy(&self.command);
        Ok(self.given.clone().files(self.files()?).command(&command).lookup()?)
    }

    /// LogLevel as far as the command line says.
    pub(crate) fn level(&self) -> Option<&str> {
        self.given.given("LogLevel")
    }
}
