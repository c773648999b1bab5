//! known_hosts: which keys hosts have, read, asked, changed and written back with its order,
//! comments and unknown lines. sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT".
//!
//! Runs on the threads of its callers. Knows no connection; that a key was *proven* to be held is for
//! the key exchange to see.

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

mod check;
mod error;
mod file;
mod line;
mod policy;
mod sshfp;
#[cfg(test)]
mod tests;
mod update;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use line::{Entry, Removal};

use crate::crypto::host_hash;
use crate::key::{KeySpec, PublicKey};

pub use check::HostKeyStatus;
pub use error::HostKeysError;
pub use line::{HostKeyMarker, HostKeyPlace};
pub use policy::{
    AcceptNewPolicy, AutoAddPolicy, HostKeyAnswer, MissingHostKeyPolicy, RejectPolicy, UnknownHostKey,
    WarningPolicy,
};
pub use sshfp::SshfpRecords;
pub(crate) use sshfp::SshfpVerdict;
pub(crate) use update::{ANNOUNCE, HostNames, PROVE, UpdatePlan, encode_keys, proof, strings};

/// The port whose hosts stand in the file by name alone.
const SSH_PORT: u16 = 22;
/// Characters that mean something in a list of names; no host is called by them.
const NOT_IN_HOSTS: &str = ",*?!|#@[]";

/// A part of the file.
#[derive(Clone)]
enum Item {
    /// Lines that say nothing: comments, empty ones, and those that were not understood.
    Text(Vec<u8>),
    Entry(Box<Entry>),
}

/// The keys of hosts, in the order of their files.
///
/// Hosts are named as the user names them, without brackets; letters in upper case are as good as
/// those in lower case.
///
/// ```
/// use feramiko::{HostKeyStatus, HostKeys, PublicKey};
///
/// let text = "# build machines\n\
///     *.build.example.org ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYkCMScBgImnT7HHiFCOj0zuxgtmtrc2qqkMPsexTo9\n";
/// let mut keys = HostKeys::parse(text);
/// let key = keys.lookup("ci.build.example.org", 22).remove(0).clone();
/// assert_eq!(keys.check("elsewhere.example.org", 2222, &key), HostKeyStatus::Unknown);
///
/// keys.add("elsewhere.example.org", 2222, &key)?;
/// assert_eq!(keys.check("elsewhere.example.org", 2222, &key), HostKeyStatus::Known);
/// assert!(keys.to_text().starts_with(text.as_bytes()));
/// # Ok::<(), feramiko::HostKeysError>(())
/// ```
#[derive(Clone, Default)]
pub struct HostKeys {
    items: Vec<Item>,
    path: Option<Arc<Path>>,
    /// Key types of users' own that are read.
    own: Vec<&'static KeySpec>,
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKeys({} entries)", self.entries().count())
    }
}

/// An entry of a known_hosts file: names and a key.
#[derive(Clone, Copy)]
pub struct HostKeyEntry<'a> {
    entry: &'a Entry,
    key: &'a PublicKey,
}

impl<'a> HostKeyEntry<'a> {
    /// The names and patterns as they stand in the file, with commas between them, or hashed.
    #[must_use]
    pub fn names(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.entry.names())
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a PublicKey {
        self.key
    }

    /// What the entry says of the key, unless it is simply the hosts' key.
    #[must_use]
    pub fn marker(&self) -> Option<HostKeyMarker> {
        self.entry.marker
    }

    /// What follows the key in its line.
    #[must_use]
    pub fn comment(&self) -> Cow<'a, str> {
        self.entry.comment()
    }

    /// Where the entry stands.
    #[must_use]
    pub fn place(&self) -> &'a HostKeyPlace {
        &self.entry.place
    }
}

impl fmt::Debug for HostKeyEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostKeyEntry")
            .field("marker", &self.marker())
            .field("names", &self.names())
            .field("key", self.key)
            .finish()
    }
}

/// The name of a host as files have it: `host`, or `[host]:port`.
pub(crate) fn file_name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == SSH_PORT { host } else { format!("[{host}]:{port}") }
}

/// As [`file_name_of`], for a name that will be written.
fn new_file_name(host: &str, port: u16) -> Result<String, HostKeysError> {
    let bad = |c: char| c.is_control() || c.is_whitespace() || NOT_IN_HOSTS.contains(c);
    if host.is_empty() || host.chars().any(bad) {
        return Err(HostKeysError::BadHost { host: host.to_owned() });
    }
    Ok(file_name_of(host, port))
}

/// A line for the key alone: those of certificates are their authorities'.
fn new_entry(name: &str, key: &PublicKey) -> Result<Entry, HostKeysError> {
    Entry::new(name, &key.without_certificate())
        .ok_or_else(|| HostKeysError::BadHost { host: name.to_owned() })
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
    /// [`HostKeysError::Io`] when the file cannot be read, is none, or is larger than 16 MiB.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, HostKeysError> {
        let path = path.as_ref();
        let text = file::read(path).map_err(|error| HostKeysError::io(path, &error))?;
        Ok(Self::parse_from(&text, Some(path.into())))
    }

    /// Reads several files as one; those that are not there say nothing. What is asked for its path says
    /// the first one's.
    ///
    /// # Errors
    /// As [`load`](Self::load), except for files that are not there.
    pub fn load_all(paths: &[impl AsRef<Path>]) -> Result<Self, HostKeysError> {
        let mut all = Self { path: paths.first().map(|path| path.as_ref().into()), ..Self::default() };
        for path in paths {
            match Self::load(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => all.extend(other?),
            }
        }
        Ok(all)
    }

    /// Reads the text of a file. A bad line spoils only itself.
    #[must_use]
    pub fn parse(text: impl AsRef<[u8]>) -> Self {
        Self::parse_from(text.as_ref(), None)
    }

    /// As [`parse`](Self::parse), as if the text stood in a file.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn parse_as(text: &[u8], file: &Path) -> Self {
        Self::parse_from(text, Some(file.into()))
    }

    fn parse_from(text: &[u8], file: Option<Arc<Path>>) -> Self {
        let mut items = Vec::new();
        for (line, number) in text.split_inclusive(|byte| *byte == b'\n').zip(1_usize..) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if let Some(mut entry) = Entry::parse(line) {
                entry.place = HostKeyPlace { file: file.clone(), line: Some(number) };
                items.push(Item::Entry(Box::new(entry)));
                continue;
            }
            if !matches!(items.last(), Some(Item::Text(_))) {
                items.push(Item::Text(Vec::new()));
            }
            if let Some(Item::Text(text)) = items.last_mut() {
                text.extend_from_slice(line);
                text.push(b'\n');
            }
        }
        Self { items, path: file, own: Vec::new() }
    }

    /// The file that was loaded, if one was.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The text of the file: every line as it was read, and those added.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for item in &self.items {
            match item {
                Item::Text(lines) => text.extend_from_slice(lines),
                Item::Entry(entry) => {
                    text.extend_from_slice(entry.text());
                    text.push(b'\n');
                }
            }
        }
        text
    }

    /// Writes everything to `path` in one step. A file that is there keeps its owner, its group and its
    /// mode, except that others lose the right to write to it; a new one is for its owner only. What
    /// another program has put there since it was loaded is gone; [`append`](Self::append) keeps it.
    ///
    /// # Errors
    /// [`HostKeysError`] when the file cannot be written or its owner not be kept, or another program
    /// holds its lock for longer than 5 seconds.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), HostKeysError> {
        file::write(path.as_ref(), &self.to_text())
    }

    /// Adds a key of a host, without a certificate that it may have, to the end of a file, unless the file
    /// says it already. The file, and the directory for it, are made if they are not there, for their
    /// owner only. Programs that do this
    /// at the same time do not lose each other's lines.
    ///
    /// # Errors
    /// [`HostKeysError::Revoked`] when the file says so of the key, [`HostKeysError::BadHost`] for a
    /// name that no host can have; else as [`save`](Self::save).
    pub fn append(
        path: impl AsRef<Path>,
        host: &str,
        port: u16,
        key: &PublicKey,
    ) -> Result<(), HostKeysError> {
        let entry = new_entry(&new_file_name(host, port)?, key)?;
        file::append(path.as_ref(), host, port, key, entry.text())
    }

    /// As [`append`](Self::append), with the host's name hashed, so that the file does not tell which
    /// hosts it knows.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn append_hashed(
        path: impl AsRef<Path>,
        host: &str,
        port: u16,
        key: &PublicKey,
    ) -> Result<(), HostKeysError> {
        let entry = new_entry(&line::hashed(&new_file_name(host, port)?, None)?, key)?;
        file::append(path.as_ref(), host, port, key, entry.text())
    }

    /// Adds a key of a host, without a certificate that it may have, beside those it has.
    ///
    /// # Errors
    /// [`HostKeysError::BadHost`] for a name that no host can have, such as a pattern.
    pub fn add(&mut self, host: &str, port: u16, key: &PublicKey) -> Result<(), HostKeysError> {
        let name = new_file_name(host, port)?;
        self.push(&name, &name, key)
    }

    /// Adds a key of a host under a hashed name, so that the file does not tell which hosts it knows.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_hashed(&mut self, host: &str, port: u16, key: &PublicKey) -> Result<(), HostKeysError> {
        let name = new_file_name(host, port)?;
        self.push(&name, &line::hashed(&name, None)?, key)
    }

    fn push(&mut self, name: &str, written: &str, key: &PublicKey) -> Result<(), HostKeysError> {
        let plain = key.without_certificate();
        if !self.trusted(name).iter().any(|entry| entry.has(&plain)) {
            self.items.push(Item::Entry(Box::new(new_entry(written, &plain)?)));
        }
        Ok(())
    }

    /// Gives a host these keys and no other, as far as lines about that host alone say; see
    /// [`remove`](Self::remove).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn insert(&mut self, host: &str, port: u16, keys: &[PublicKey]) -> Result<(), HostKeysError> {
        new_file_name(host, port)?;
        self.remove(host, port);
        keys.iter().try_for_each(|key| self.add(host, port, key))
    }

    /// Takes a host out of every line that names it; how many lines that were. A line that names
    /// other hosts stays, for those. Patterns that match the host, and lines with a marker, stay too.
    pub fn remove(&mut self, host: &str, port: u16) -> usize {
        let name = file_name_of(host, port);
        let mut count = 0_usize;
        self.items.retain_mut(|item| {
            let Item::Entry(entry) = item else { return true };
            if entry.marker.is_some() {
                return true;
            }
            let removal = entry.without(&name);
            count = count.saturating_add(usize::from(!matches!(removal, Removal::Nothing)));
            match removal {
                Removal::Nothing => true,
                Removal::Name(rest) => {
                    *entry = rest;
                    true
                }
                Removal::Line => false,
            }
        });
        count
    }

    /// Forgets everything, comments too.
    pub fn clear(&mut self) {
        self.items.clear();
    }

    /// Adds everything that `other` says, after what is there: several files are asked as one.
    pub fn extend(&mut self, mut other: Self) {
        other.know(&self.own);
        self.items.extend(other.items);
    }

    /// The names and patterns of all entries, each once, in the order of the file; hashed ones as
    /// they stand there.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        let names = self.iter().map(|entry| entry.names()).collect::<Vec<_>>();
        let names = names.iter().flat_map(|names| names.split(','));
        names.filter(|name| !name.is_empty() && seen.insert(*name)).map(str::to_owned).collect()
    }

    /// The keys of all entries, in the order of the file.
    pub fn values(&self) -> impl Iterator<Item = &PublicKey> {
        self.entries().filter_map(Entry::key)
    }

    /// All entries, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = HostKeyEntry<'_>> {
        self.entries().filter_map(|entry| Some(HostKeyEntry { entry, key: entry.key()? }))
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values().count()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }

    /// The hashed form of a name, `|1|salt|hash`, with a salt of its own if none is given. The name
    /// is what stands in files: `host`, or `[host]:port`.
    ///
    /// # Errors
    /// [`HostKeysError::Crypto`] when no salt can be had.
    pub fn hash_host(name: &str, salt: Option<[u8; host_hash::LENGTH]>) -> Result<String, HostKeysError> {
        Ok(line::hashed(&name.to_ascii_lowercase(), salt)?)
    }

    /// Reads the keys of types of your own, also of what is added later: before, such a line is one of no
    /// known type, and its host unknown when it shows another key. A client does so by its
    /// [`Algorithms`](crate::Algorithms).
    pub fn know(&mut self, own: &[&'static KeySpec]) {
        self.own.extend(own);
        for item in self.items.iter_mut().filter(|_| !own.is_empty()) {
            if let Item::Entry(entry) = item {
                entry.know(own);
            }
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.items.iter().filter_map(|item| match item {
            Item::Entry(entry) => Some(&**entry),
            Item::Text(_) => None,
        })
    }
}
