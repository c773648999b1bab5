//! ssh_config(5): which lines are about a host, and what they say together. OpenSSH 10.5's readconf.c and ssh.c.
//!
//! `table` has all keywords as data; `lexer` and `value` are pure; `read` goes through the lines; `lookup` makes
//! a [`HostConfig`] of them. What the world is asked for is in `environment`. Runs on the threads of its callers;
//! knows no connection.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod canonical;
mod criteria;
mod environment;
mod error;
mod forwarding;
mod host;
mod jump;
mod lexer;
mod lookup;
mod names;
mod read;
mod show;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod value;
mod values;

use std::io;
use std::path::Path;
use std::sync::Arc;

use environment::System;

#[cfg(any(test, fuzzing))]
pub(crate) use environment::Environment;
#[cfg(not(any(test, fuzzing)))]
use environment::Environment;
pub use error::ConfigError;
pub use forwarding::ForwardRule;
pub use host::HostConfig;
pub use lookup::ConfigQuery;

/// The port of SSH.
const SSH_PORT: u16 = 22;
/// The system's file. On Windows whoever may log in can make folders at the root of a drive.
const SYSTEM_FILE: Option<&str> = if cfg!(unix) { Some("/etc/ssh/ssh_config") } else { None };

/// Files of ssh_config(5), read. Which of their lines count is asked for each host; files that they include are
/// read then.
///
/// ```no_run
/// let config = feramiko::SSHConfig::load()?;
/// let host = config.lookup("build")?;
/// println!("{}@{} port {}", host.user(), host.hostname(), host.port());
/// # Ok::<(), feramiko::ConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SSHConfig {
    sources: Arc<[Source]>,
    environment: Arc<dyn Environment>,
}

/// A file.
#[derive(Debug)]
struct Source {
    file: String,
    text: Vec<u8>,
    /// The user's, not the system's.
    users: bool,
    /// Its commands may be run.
    may_run: bool,
}

impl SSHConfig {
    /// No lines at all: every host has the defaults.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Vec::new())
    }

    /// `~/.ssh/config`, then, on UNIX, `/etc/ssh/ssh_config`; neither need exist.
    ///
    /// # Errors
    /// [`ConfigError::File`] when one cannot be read, is no regular file or larger than 1 MiB, or when
    /// `~/.ssh/config` is not the user's or root's, or others may write to it.
    pub fn load() -> Result<Self, ConfigError> {
        let mut sources = Vec::new();
        if let Some(home) = System.home() {
            sources.extend(source(&Path::new(&home).join(".ssh").join("config"), true, true)?);
        }
        if let Some(file) = SYSTEM_FILE {
            sources.extend(source(Path::new(file), false, false)?);
        }
        Ok(Self::of(sources))
    }

    /// One file of the user's and no other, as `ssh -F`. Who may write to it is not asked; of files that it
    /// includes it is.
    ///
    /// # Errors
    /// [`ConfigError::File`] when it cannot be read, is no regular file and no pipe, or larger than 1 MiB. A pipe
    /// is read to its end, however long its writer takes.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = environment::read_named(path).map_err(|error| ConfigError::file(path, &error))?;
        Ok(Self::of(vec![Source { file: path.display().to_string(), text, users: true, may_run: true }]))
    }

    /// Lines that stand in no file. They run no commands: `Match exec` is taken for false, and told in the log.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let file = "text".to_owned();
        Self::of(vec![Source { file, text: text.as_bytes().to_vec(), users: true, may_run: false }])
    }

    /// The same in a world of one's own.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn within(text: &[u8], may_run: bool, environment: Arc<dyn Environment>) -> Self {
        let source = Source { file: "text".to_owned(), text: text.to_vec(), users: true, may_run };
        Self { sources: Arc::new([source]), environment }
    }

    fn of(sources: Vec<Source>) -> Self {
        Self { sources: sources.into(), environment: Arc::new(System) }
    }

    /// What the lines say of a host.
    ///
    /// # Errors
    /// As [`ConfigQuery::lookup`].
    pub fn lookup(&self, host: &str) -> Result<HostConfig, ConfigError> {
        self.query(host).lookup()
    }

    /// A question about a host, to which options may be added.
    #[must_use]
    pub fn query(&self, host: &str) -> ConfigQuery {
        ConfigQuery::new(self.clone(), host)
    }

    /// Whether commands of these lines may be run.
    fn may_run(&self) -> bool {
        self.sources.iter().all(|source| source.may_run)
    }
}

/// A file, if it is there.
fn source(path: &Path, users: bool, owned: bool) -> Result<Option<Source>, ConfigError> {
    let file = path.display().to_string();
    match System.read(path, owned) {
        Ok(text) => Ok(Some(Source { file, text, users, may_run: true })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConfigError::file(path, &error)),
    }
}
