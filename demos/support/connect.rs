//! Connections for programs that take ssh's options but are not ssh. Options and letters are lines of
//! configuration that come before `~/.ssh/config`.

use std::io;
use std::path::{Path, PathBuf};

use feramiko::{ConfigQuery, Error, HostConfig, SSHClient, SSHConfig};
use log::LevelFilter;

use super::log::level_named;
use super::prompt::somebody_there;
use super::questions::asking;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What a connection is made with.
#[derive(Debug, Clone)]
pub(crate) struct Connect {
    given: ConfigQuery,
    /// The same as ssh takes it.
    letters: Vec<String>,
    /// `-F`.
    files: Option<PathBuf>,
    /// `-4` or `-6`.
    pub(crate) family: Option<u8>,
}

/// Whether nobody shares a connection there.
pub(crate) fn no_master(error: &Error) -> bool {
    let none = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
    matches!(error, Error::Io { source, .. } if none.contains(&source.kind()))
}

/// A client over the master at `path`; none where there is no master, or one that passes no packets on, as ours.
fn shared(path: &Path) -> Outcome<Option<SSHClient>> {
    match SSHClient::over_master(path) {
        Ok(client) => Ok(Some(client)),
        Err(error) if no_master(&error) || matches!(error, Error::MasterRefused { .. }) => {
            log::debug!(target: "ssh", "nothing is shared at {}: {error}", path.display());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl Default for Connect {
    fn default() -> Self {
        Self { given: SSHConfig::empty().query(""), letters: Vec::new(), files: None, family: None }
    }
}

impl Connect {
    /// `-o`. What is wrong with it is told at once.
    pub(crate) fn option(&mut self, line: &str) -> Result<(), String> {
        let given = self.given.clone().option(line);
        self.given = given.map_err(|wrong| format!("-o {line}: {}", wrong.text()))?;
        self.letters.push(format!("-o{line}"));
        Ok(())
    }

    /// A letter that stands for an option. The last one counts, and more than `-o`.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let given = self.given.clone().instead(name, &[value]);
        self.given = given.map_err(|wrong| format!("{name} {value}: {}", wrong.text()))?;
        self.letters.insert(0, format!("-o{name}={value}"));
        Ok(())
    }

    /// `-i`.
    pub(crate) fn identity(&mut self, file: &Path) -> Result<(), String> {
        let path = file.to_str().ok_or_else(|| format!("-i {}: not UTF-8", file.display()))?;
        self.given = self.given.clone().words("IdentityFile", &[path]).map_err(|wrong| wrong.to_string())?;
        self.letters.extend(["-i".to_owned(), path.to_owned()]);
        Ok(())
    }

    /// `-F`: the file to be read instead of the user's and the system's, or `none`.
    pub(crate) fn files(&mut self, path: PathBuf) {
        self.letters.extend(["-F".to_owned(), path.display().to_string()]);
        self.files = Some(path);
    }

    /// LogLevel, if an option says it.
    pub(crate) fn level(&self) -> Option<LevelFilter> {
        level_named(self.given.given("LogLevel")?)
    }

    /// What is said of a host.
    fn lookup(&self, host: &str, user: Option<&str>, port: Option<u16>) -> Outcome<HostConfig> {
        let config = match &self.files {
            None => SSHConfig::load()?,
            Some(path) if path.as_os_str().eq_ignore_ascii_case("none") => SSHConfig::empty(),
            Some(path) => SSHConfig::from_file(path)?,
        };
        let mut given = self.given.clone().files(config).host(host);
        given = user.iter().fold(given, |given, user| given.user(user));
        // Of the user's name the first counts, as with ssh; the port of a URI stands for that host alone.
        if let Some(port) = port {
            given = given.instead("Port", &[port.to_string()])?;
        }
        given = match self.family {
            Some(4) => given.instead("AddressFamily", &["inet"])?,
            Some(_) => given.instead("AddressFamily", &["inet6"])?,
            None => given,
        };
        Ok(given.lookup()?)
    }

    /// Connects to a host; over the connection that is shared at its ControlPath, if there is one.
    pub(crate) fn connect(&self, host: &str, user: Option<&str>, port: Option<u16>) -> Outcome<SSHClient> {
        let config = self.lookup(host, user, port)?;
        if let Some(path) = config.control_path()
            && let Some(client) = shared(&path)?
        {
            return Ok(client);
        }
        Ok(asking(SSHClient::builder(), &config, somebody_there()).connect_to(&config)?)
    }

    /// The same options as ssh takes them, for a program that makes the connection instead.
    pub(crate) fn as_letters(&self) -> Vec<String> {
        let family = self.family.map(|family| format!("-{family}"));
        family.into_iter().chain(self.letters.iter().cloned()).collect()
    }
}
