//! What a client is told about host keys: files, aliases, addresses, revoked keys, callbacks. The names
//! are those of ssh_config(5).

use std::fmt;
use std::path::{Path, PathBuf};

use super::SSHClientBuilder;
use super::hostupdate::{Ask, HostKeysChange};
use crate::error::Result;
use crate::hostkeys::{HostKeys, MissingHostKeyPolicy, RejectPolicy, SshfpRecords};
use crate::key::PublicKey;

/// The known_hosts files of the user, below the home directory, as OpenSSH has them.
const USER_FILES: [&str; 2] = [".ssh/known_hosts", ".ssh/known_hosts2"];
/// Those of the system. On Windows whoever may log in can make folders at the root of a drive.
const GLOBAL_FILES: &[&str] =
    if cfg!(unix) { &["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"] } else { &[] };

/// What to do about the address that a host is reached at: `CheckHostIP` of ssh_config(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HostAddressCheck {
    /// Nothing.
    #[default]
    Off,
    /// When known_hosts has another key for the address: a warning in the log.
    Warn,
    /// When known_hosts has another key for the address: an error.
    Reject,
}

/// Why lines of known_hosts are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KnownHostsReason {
    /// To know which kinds of keys to ask the host for; it has not shown one yet.
    Order,
    /// The host has shown a key.
    HostName,
    /// The host has shown a key, and it is looked up by the host's address.
    Address,
}

/// A question for lines of known_hosts.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KnownHostsQuery {
    /// What for.
    pub reason: KnownHostsReason,
    /// The host as known_hosts has it: `host`, or `[host]:port`.
    pub name: String,
    /// The key that the host has shown, if it has.
    pub key: Option<PublicKey>,
}

type AskLines = Box<dyn FnMut(&KnownHostsQuery) -> Result<Vec<u8>> + Send>;
type AskSshfp = Box<dyn FnMut(&str) -> Result<SshfpRecords> + Send>;

/// Everything a builder says about host keys.
pub(super) struct HostKeyOptions {
    pub(super) keys: Option<HostKeys>,
    /// The first one is written to.
    pub(super) user_files: Vec<PathBuf>,
    pub(super) global_files: Vec<PathBuf>,
    pub(super) policy: Box<dyn MissingHostKeyPolicy>,
    pub(super) alias: Option<String>,
    pub(super) address: HostAddressCheck,
    pub(super) hash: bool,
    pub(super) revoked: Vec<PathBuf>,
    pub(super) lines: Option<AskLines>,
    pub(super) sshfp: Option<AskSshfp>,
    pub(super) update: Option<Ask>,
    /// This machine needs no known key: `NoHostAuthenticationForLocalhost`.
    pub(super) trust_loopback: bool,
}

impl Default for HostKeyOptions {
    fn default() -> Self {
        Self {
            keys: None,
            user_files: dirs::home_dir()
                .map(|home| USER_FILES.map(|name| home.join(name)).to_vec())
                .unwrap_or_default(),
            global_files: GLOBAL_FILES.iter().map(PathBuf::from).collect(),
            policy: Box::new(RejectPolicy),
            alias: None,
            address: HostAddressCheck::Off,
            hash: false,
            revoked: Vec::new(),
            lines: None,
            sshfp: None,
            update: None,
            trust_loopback: false,
        }
    }
}

impl fmt::Debug for HostKeyOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostKeyOptions")
            .field("keys", &self.keys)
            .field("user_files", &self.user_files)
            .field("global_files", &self.global_files)
            .field("policy", &self.policy)
            .field("alias", &self.alias)
            .finish_non_exhaustive()
    }
}

impl HostKeyOptions {
    /// What the user's and the system's files say, together.
    pub(super) fn load(&mut self) -> Result<HostKeys> {
        let mut all = match self.keys.take() {
            Some(keys) => keys,
            None => HostKeys::load_all(&self.user_files)?,
        };
        all.extend(HostKeys::load_all(&self.global_files)?);
        Ok(all)
    }

    /// Whether `file` is one of the user's.
    pub(super) fn is_users(&self, file: Option<&Path>) -> bool {
        file.is_some_and(|file| self.user_files.iter().any(|known| known == file))
    }
}

impl SSHClientBuilder {
    /// The host keys to check against, instead of all known_hosts files of the user and the system. New
    /// ones are added to the file that they were loaded from.
    #[must_use]
    pub fn host_keys(mut self, keys: HostKeys) -> Self {
        self.host_keys.user_files = keys.path().map(Path::to_owned).into_iter().collect();
        self.host_keys.global_files.clear();
        self.host_keys.keys = Some(keys);
        self.says(&["userknownhostsfile", "globalknownhostsfile"])
    }

    /// The user's known_hosts file to check against and to add to, instead of `~/.ssh/known_hosts` and
    /// `~/.ssh/known_hosts2`. It need not exist.
    #[must_use]
    pub fn known_hosts_file(self, path: impl Into<PathBuf>) -> Self {
        self.known_hosts_files([path])
    }

    /// The user's known_hosts files to check against: `UserKnownHostsFile`.
    /// Only the first one is ever written to. They need not exist.
    #[must_use]
    pub fn known_hosts_files<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.host_keys.user_files = paths.into_iter().map(Into::into).collect();
        self.host_keys.keys = None;
        self.says(&["userknownhostsfile"])
    }

    /// The system's known_hosts files to check against besides, instead of `/etc/ssh/ssh_known_hosts` and
    /// `/etc/ssh/ssh_known_hosts2`: `GlobalKnownHostsFile`. They need not exist, and are never written to.
    #[must_use]
    pub fn global_known_hosts_files<P: Into<PathBuf>>(mut self, paths: impl IntoIterator<Item = P>) -> Self {
        self.host_keys.global_files = paths.into_iter().map(Into::into).collect();
        self.says(&["globalknownhostsfile"])
    }

    /// What to do about hosts that nothing is known about.
    #[must_use]
    pub fn missing_host_key(mut self, policy: impl MissingHostKeyPolicy + 'static) -> Self {
        self.host_keys.policy = Box::new(policy);
        self.says(&["stricthostkeychecking"])
    }

    /// The name under which the host's key is looked up, instead of the host's, and without its port:
    /// `HostKeyAlias`.
    #[must_use]
    pub fn host_key_alias(mut self, name: &str) -> Self {
        self.host_keys.alias = Some(name.to_owned());
        self.says(&["hostkeyalias"])
    }

    /// Also looks the key up by the address that the host is reached at, and notes it there when it is
    /// the host's: `CheckHostIP`. Not for the machine itself, nor over streams that were opened elsewhere.
    #[must_use]
    pub fn check_host_ip(mut self, check: HostAddressCheck) -> Self {
        self.host_keys.address = check;
        self.says(&["checkhostip"])
    }

    /// Hashes the names of hosts that are added to known_hosts: `HashKnownHosts`.
    #[must_use]
    pub fn hash_known_hosts(mut self, hash: bool) -> Self {
        self.host_keys.hash = hash;
        self.says(&["hashknownhosts"])
    }

    /// A list of keys that no host may show, whatever known_hosts says: `RevokedHostKeys`. If it cannot be
    /// read, every host is refused. May be named several times.
    #[must_use]
    pub fn revoked_host_keys(mut self, path: impl Into<PathBuf>) -> Self {
        self.host_keys.revoked.push(path.into());
        self
    }

    /// Asks for further lines of known_hosts: `KnownHostsCommand`. Asked before the host has shown a key,
    /// and again when it has. An error ends the attempt: the lines may have revoked the key.
    #[must_use]
    pub fn known_hosts_callback(
        mut self,
        ask: impl FnMut(&KnownHostsQuery) -> Result<Vec<u8>> + Send + 'static,
    ) -> Self {
        self.host_keys.lines = Some(Box::new(ask));
        self.says(&["knownhostscommand"])
    }

    /// Asks for what the DNS knows of a host of which nothing else is known: `VerifyHostKeyDNS`. A
    /// fingerprint for which DNSSEC vouches lets the host be trusted for this connection; without DNSSEC it is
    /// only told in the log. An error ends the attempt.
    #[must_use]
    pub fn sshfp_callback(mut self, ask: impl FnMut(&str) -> Result<SshfpRecords> + Send + 'static) -> Self {
        self.host_keys.sshfp = Some(Box::new(ask));
        self
    }

    /// The least size of RSA keys, of hosts and of ours, in bits: `RequiredRSASize`. See
    /// [`Algorithms::required_rsa_size`](crate::Algorithms::required_rsa_size).
    #[must_use]
    pub fn required_rsa_size(mut self, bits: usize) -> Self {
        self.options.algorithms = self.options.algorithms.required_rsa_size(bits);
        self.says(&["requiredrsasize"])
    }

    /// Learns the further keys that a known host proves to have, and forgets those it has no more, in the
    /// first known_hosts file: `UpdateHostKeys`. Off unless asked for.
    ///
    /// Nothing is changed unless the host was known by a plain key of a file of the user's, by a line about
    /// this host alone, and none of the keys stands under another name.
    #[must_use]
    pub fn update_host_keys(mut self, update: bool) -> Self {
        self.host_keys.update = update.then(|| Box::new(|_: &HostKeysChange| true) as Ask);
        self.says(&["updatehostkeys"])
    }

    /// As [`update_host_keys`](Self::update_host_keys), after asking. Called on a thread of its own, when
    /// the host has announced its keys.
    #[must_use]
    pub fn update_host_keys_callback(
        mut self,
        ask: impl FnMut(&HostKeysChange) -> bool + Send + 'static,
    ) -> Self {
        self.host_keys.update = Some(Box::new(ask));
        self.says(&["updatehostkeys"])
    }
}
