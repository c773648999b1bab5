//! known_hosts: which keys hosts have, read, asked, changed and written back with its order,
//! comments and unknown lines. sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".

mod line;
mod policy;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use line::{Line, Marker};

use crate::key::PublicKey;

pub use policy::{
    AcceptNewPolicy, AutoAddPolicy, HostKeyAnswer, MissingHostKeyPolicy, RejectPolicy, UnknownHostKey,
    WarningPolicy,
};

#[cfg(test)]
mod tests;

/// No known_hosts file is larger.
const FILE: u64 = 16 * 1024 * 1024;

/// Why a known_hosts file could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKeysError {
    path: String,
    kind: io::ErrorKind,
    text: String,
}

impl fmt::Display for HostKeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host keys file {}: {}", self.path, self.text)
    }
}

impl std::error::Error for HostKeysError {}

impl HostKeysError {
    fn new(path: &Path, error: &io::Error) -> Self {
        Self { path: path.display().to_string(), kind: error.kind(), text: error.to_string() }
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }
}

/// What is known about a host's key.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyStatus {
    /// It is the host's key.
    Known,
    /// Nothing is known about the host.
    Unknown,
    /// The host has other keys.
    Changed {
        /// The keys it has.
        expected: Vec<PublicKey>,
        /// Where the first of them stands: file and line.
        at: String,
    },
    /// The key is marked `@revoked`.
    Revoked,
}

/// The keys of hosts, in the order of the file.
///
/// ```
/// use feramiko::{HostKeyStatus, HostKeys, KeyKind, PKey};
/// let key = PKey::generate(KeyKind::Ed25519)?;
/// let mut keys = HostKeys::new();
/// keys.add("example.org", 22, key.public_key());
/// assert_eq!(keys.check("example.org", 22, key.public_key()), HostKeyStatus::Known);
/// assert_eq!(keys.check("other.org", 22, key.public_key()), HostKeyStatus::Unknown);
/// # Ok::<(), feramiko::KeyError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct HostKeys {
    lines: Vec<Line>,
    path: Option<PathBuf>,
}

/// The name under which a host and port stand in the file.
fn entry_name(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

impl HostKeys {
    /// Nothing known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file. A bad line spoils only itself.
    ///
    /// # Errors
    /// [`HostKeysError`] when the file cannot be read or is larger than 16 MiB.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, HostKeysError> {
        let path = path.as_ref();
        let read = || -> io::Result<Vec<u8>> {
            let (file, metadata) = crate::sys::file::open_regular(path)?;
            if metadata.len() > FILE {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
            }
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, FILE), &mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error| HostKeysError::new(path, &error))?;
        let mut this = Self::parse(&String::from_utf8_lossy(&bytes));
        this.path = Some(path.to_owned());
        Ok(this)
    }

    /// Reads the text of a file.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { lines: text.lines().map(Line::parse).collect(), path: None }
    }

    /// The file that was loaded.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The text of the file: every line as it was read, and those added.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(line.text());
            text.push('\n');
        }
        text
    }

    /// Writes everything to `path` in one step, readable by its owner only.
    ///
    /// # Errors
    /// [`HostKeysError`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), HostKeysError> {
        let path = path.as_ref();
        crate::sys::file::replace(path, self.to_text().as_bytes(), 0o600)
            .map_err(|error| HostKeysError::new(path, &error))
    }

    /// Adds a key of a host.
    pub fn add(&mut self, host: &str, port: u16, key: &PublicKey) {
        self.lines.push(Line::new(&entry_name(host, port), key));
    }

    /// Adds a key of a host under a hashed name, so that the file does not tell which hosts it knows.
    pub fn add_hashed(&mut self, host: &str, port: u16, key: &PublicKey) {
        let name = line::hashed(&entry_name(host, port)).unwrap_or_else(|| entry_name(host, port));
        self.lines.push(Line::new(&name, key));
    }

    /// The host's keys, revoked ones and certificate authorities not included.
    #[must_use]
    pub fn lookup(&self, host: &str, port: u16) -> Vec<&PublicKey> {
        self.matching(host, port, None).map(|(_, key)| key).collect()
    }

    fn matching(
        &self,
        host: &str,
        port: u16,
        marker: Option<Marker>,
    ) -> impl Iterator<Item = (usize, &PublicKey)> {
        let name = entry_name(host, port);
        self.lines
            .iter()
            .enumerate()
            .filter(move |(_, line)| line.marker == marker && line.matches(&name))
            .filter_map(|(at, line)| line.key.as_ref().map(|key| (at.saturating_add(1), key)))
    }

    /// Judges a key that a host showed.
    pub fn check(&self, host: &str, port: u16, key: &PublicKey) -> HostKeyStatus {
        if self.matching(host, port, Some(Marker::Revoked)).any(|(_, revoked)| revoked == key) {
            return HostKeyStatus::Revoked;
        }
        let known: Vec<_> = self.matching(host, port, None).collect();
        if known.iter().any(|(_, known)| *known == key) {
            return HostKeyStatus::Known;
        }
        match known.first() {
            None => HostKeyStatus::Unknown,
            Some((at, _)) => HostKeyStatus::Changed {
                at: match &self.path {
                    Some(path) => format!("{}:{at}", path.display()),
                    None => format!("line {at}"),
                },
                expected: known.into_iter().map(|(_, key)| key.clone()).collect(),
            },
        }
    }

    /// Removes a host's keys; how many lines that were. Lines that name other hosts too stay.
    pub fn remove(&mut self, host: &str, port: u16) -> usize {
        let name = entry_name(host, port);
        let before = self.lines.len();
        self.lines.retain(|line| !line.is_only(&name));
        before.saturating_sub(self.lines.len())
    }

    /// Whether anything is known about the host.
    #[must_use]
    pub fn contains(&self, host: &str, port: u16) -> bool {
        self.matching(host, port, None).next().is_some()
    }

    /// Every entry: the names as they stand in the file, and the key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &PublicKey)> {
        self.lines.iter().filter_map(|line| line.key.as_ref().map(|key| (line.names.as_str(), key)))
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.lines.clear();
    }

    /// Adds everything that `other` knows.
    pub fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }
}

/// Adds a key of a host to the end of a file, which is made (with its directory) if it is not there.
pub(crate) fn append(path: &Path, host: &str, port: u16, key: &PublicKey) -> Result<(), HostKeysError> {
    let fail = |error: io::Error| HostKeysError::new(path, &error);
    let mut keys = match HostKeys::load(path) {
        Ok(keys) => keys,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HostKeys::new(),
        Err(error) => return Err(error),
    };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        crate::sys::file::create_private_dir(directory).map_err(fail)?;
    }
    keys.add(host, port, key);
    keys.save(path)
}
