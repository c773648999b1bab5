//! What a client is configured with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::authenticate::Credentials;
use super::cancel::{Cancel, Ready};
use super::{SSHClient, dial};
use crate::auth::InteractiveQuery;
use crate::channel::Channel;
use crate::crypto::secret::Secret;
use crate::engine::{Limits, Stream};
use crate::error::{Error, Result};
use crate::hostkeys::{
    HostKeyAnswer, HostKeyStatus, HostKeys, MissingHostKeyPolicy, RejectPolicy, UnknownHostKey,
};
use crate::kex::Algorithms;
use crate::key::algorithm::is_certified;
use crate::key::{PKey, PublicKey};
use crate::transport::{Transport, TransportOptions};

/// Configures and connects an [`SSHClient`].
///
/// ```no_run
/// use std::time::Duration;
/// use feramiko::{HostKeys, PKey, RejectPolicy, SSHClient};
/// let client = SSHClient::builder()
///     .no_agent()
///     .host_keys(HostKeys::load("hosts")?)
///     .missing_host_key(RejectPolicy)
///     .username("ci")
///     .key(PKey::from_file("id", Some("secret"))?)
///     .deadline(Duration::from_secs(20))
///     .connect("[2001:db8::7]:2222")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SSHClientBuilder {
    options: TransportOptions,
    host_keys: Option<HostKeys>,
    known_hosts: Option<PathBuf>,
    policy: Box<dyn MissingHostKeyPolicy>,
    credentials: Credentials,
    deadline: Duration,
    family: dial::Family,
    host_key_alias: Option<String>,
    cancel: Cancel,
}

impl SSHClientBuilder {
    pub(super) fn new() -> Self {
        let options = TransportOptions::default();
        Self {
            deadline: options.limits.connect_timeout,
            options,
            host_keys: None,
            known_hosts: dirs::home_dir().map(|home| home.join(".ssh").join("known_hosts")),
            policy: Box::new(RejectPolicy),
            credentials: Credentials::default(),
            family: dial::Family::Any,
            host_key_alias: None,
            cancel: Cancel::new(),
        }
    }

    /// The user's name; the destination's `user@` wins, else the name of who runs the program.
    #[must_use]
    pub fn username(mut self, user: &str) -> Self {
        self.credentials.user = Some(user.to_owned());
        self
    }

    /// A password, tried after all keys, also as the answer to a keyboard-interactive question.
    #[must_use]
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.credentials.password = Some(password.into());
        self
    }

    /// A key, tried before all others.
    #[must_use]
    pub fn key(mut self, key: PKey) -> Self {
        self.credentials.keys.push(key);
        self
    }

    /// A key of this host, by which it vouches for its user (RFC 4252 §9), tried before all else: with
    /// its certificate, if it has one, and without. `client_host` is the name that the server knows
    /// this host by, `local_user` the user's here. May be called for each of the host's keys.
    #[must_use]
    pub fn hostbased(mut self, host_key: PKey, client_host: &str, local_user: &str) -> Self {
        self.credentials.hosts.push((host_key, client_host.to_owned(), local_user.to_owned()));
        self
    }

    /// A key file, tried after the keys given. `passphrase` is used if the file needs one.
    #[must_use]
    pub fn key_file(mut self, path: impl Into<PathBuf>, passphrase: Option<&str>) -> Self {
        self.credentials.key_files.push((path.into(), passphrase.map(Secret::from)));
        self
    }

    /// Asks for the passphrase of a key file when a key is needed and the file is encrypted.
    #[must_use]
    pub fn passphrase_callback(mut self, ask: impl FnMut(&Path) -> Option<Secret> + Send + 'static) -> Self {
        self.credentials.passphrase = Some(Box::new(ask));
        self
    }

    /// Asks for a password when everything else was refused; none gives up. May be asked three times.
    #[must_use]
    pub fn password_callback(mut self, ask: impl FnMut(&str) -> Option<Secret> + Send + 'static) -> Self {
        self.credentials.ask_password = Some(Box::new(ask));
        self
    }

    /// Names a new password when the server wants the old one changed: called with the server's
    /// prompt. None, and no callback, gives the attempt up.
    #[must_use]
    pub fn change_password(mut self, new: impl FnMut(&str) -> Option<Secret> + Send + 'static) -> Self {
        self.credentials.new_password = Some(Box::new(new));
        self
    }

    /// Answers keyboard-interactive questions.
    #[must_use]
    pub fn interactive(
        mut self,
        answer: impl FnMut(&InteractiveQuery) -> Result<Vec<Secret>> + Send + 'static,
    ) -> Self {
        self.credentials.interactive = Some(Box::new(answer));
        self
    }

    /// Does not ask the agent for keys.
    #[must_use]
    pub fn no_agent(mut self) -> Self {
        self.credentials.agent = false;
        self
    }

    /// Does not look for `~/.ssh/id_*`.
    #[must_use]
    pub fn no_default_keys(mut self) -> Self {
        self.credentials.default_keys = false;
        self
    }

    /// The host keys to check against, instead of `~/.ssh/known_hosts`.
    #[must_use]
    pub fn host_keys(mut self, keys: HostKeys) -> Self {
        self.known_hosts = keys.path().map(Path::to_owned);
        self.host_keys = Some(keys);
        self
    }

    /// The known_hosts file to check against and to add to, instead of `~/.ssh/known_hosts`. It need
    /// not exist.
    #[must_use]
    pub fn known_hosts_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.known_hosts = Some(path.into());
        self.host_keys = None;
        self
    }

    /// What to do about hosts that nothing is known about.
    #[must_use]
    pub fn missing_host_key(mut self, policy: impl MissingHostKeyPolicy + 'static) -> Self {
        self.policy = Box::new(policy);
        self
    }

    /// The name under which the host's key is looked up, instead of the host's.
    #[must_use]
    pub fn host_key_alias(mut self, name: &str) -> Self {
        self.host_key_alias = Some(name.to_owned());
        self
    }

    /// The time for everything: resolving, connecting, keys, authentication. Absolute, whatever the
    /// server sends.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// What is offered.
    #[must_use]
    pub fn algorithms(mut self, algorithms: Algorithms) -> Self {
        self.options.algorithms = algorithms;
        self
    }

    /// Compresses, if the server does.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        let names = if compress { vec!["zlib@openssh.com", "zlib", "none"] } else { vec!["none"] };
        self.options.algorithms.compressions = names;
        self
    }

    /// What the server may use of us.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Asks for a sign of life after so long a silence, and ends the connection when so many stay
    /// unanswered.
    #[must_use]
    pub fn keepalive(mut self, interval: Duration, count_max: u32) -> Self {
        self.options.keepalive = Some((interval, count_max));
        self
    }

    /// A token by which another thread can end the connect.
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.cancel = cancel.clone();
        self
    }

    /// IPv4 addresses only.
    #[must_use]
    pub fn ipv4_only(mut self) -> Self {
        self.family = dial::Family::V4;
        self
    }

    /// IPv6 addresses only.
    #[must_use]
    pub fn ipv6_only(mut self) -> Self {
        self.family = dial::Family::V6;
        self
    }

    /// Connects to `[user@]host[:port]`, `[user@][v6]:port` or `ssh://[user@]host[:port]`. All
    /// addresses of the host are tried.
    ///
    /// # Errors
    /// [`Error::Io`] when no address answers, [`Error::HostKey`] for a host that is not trusted,
    /// [`Error::Auth`] with every attempt, [`Error::Timeout`] naming the step,
    /// [`Error::NoCommon`], [`Error::Protocol`].
    pub fn connect(self, destination: &str) -> Result<SSHClient> {
        let target = dial::Target::parse(destination)?;
        let deadline = self.until()?;
        let stream = dial::dial(&target, self.family, deadline, &self.cancel)?;
        self.login(Box::new(stream), &target, deadline)
    }

    /// Connects over a stream that is already there: a UNIX socket, a proxy's, a [`Channel`] of
    /// another connection. `destination` says whose host key and which user is meant.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_over(self, stream: impl Stream, destination: &str) -> Result<SSHClient> {
        let target = dial::Target::parse(destination)?;
        let deadline = self.until()?;
        self.login(Box::new(stream), &target, deadline)
    }

    fn until(&self) -> Result<Instant> {
        Instant::now().checked_add(self.deadline).ok_or(Error::Misuse("a deadline beyond the end of time"))
    }

    fn login(self, stream: Box<dyn Stream>, target: &dial::Target, deadline: Instant) -> Result<SSHClient> {
        let cancel = self.cancel.clone();
        let halves = stream.split().map_err(|error| Error::io("preparing the stream", error))?;
        let _watch = cancel.watch(Arc::clone(&halves.closer));
        // Whatever a closed stream led to, the cause is known.
        self.login_on(Ready(halves), target, deadline)
            .map_err(|error| if cancel.is_cancelled() { Error::Cancelled } else { error })
    }

    fn login_on(mut self, stream: Ready, target: &dial::Target, deadline: Instant) -> Result<SSHClient> {
        let keys = match self.host_keys.take() {
            Some(keys) => keys,
            None => self.load_known_hosts()?,
        };
        let host = self.host_key_alias.clone().unwrap_or_else(|| target.host.clone());
        let port = if self.host_key_alias.is_some() { 22 } else { target.port };
        prefer_known(&mut self.options.algorithms, &keys, &host, port);
        let keys = Arc::new(Mutex::new(keys));
        let mut options = self.options;
        options.limits.connect_timeout = self.deadline;
        let checker = Checker {
            keys: Arc::clone(&keys),
            host,
            port,
            policy: self.policy,
            known_hosts: self.known_hosts,
        };
        let transport =
            Transport::start_client_until(Box::new(stream), options, deadline, |key| checker.check(key))?;
        let user = target.user.clone();
        let banners = self.credentials.authenticate(&transport, user)?;
        Ok(SSHClient { transport, host_keys: keys, banners: banners.into(), request_timeout: None })
    }

    fn load_known_hosts(&self) -> Result<HostKeys> {
        let Some(path) = &self.known_hosts else { return Ok(HostKeys::new()) };
        match HostKeys::load(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HostKeys::new()),
            other => Ok(other?),
        }
    }
}

/// Asks a host first for what it can be judged by: certificates where an authority may sign them, then
/// the kinds of keys that are known of it, and certificates last where nobody may.
fn prefer_known(algorithms: &mut Algorithms, keys: &HostKeys, host: &str, port: u16) {
    let (known, certified) = (keys.known_algorithms(host, port), keys.has_authority(host, port));
    algorithms.host_keys.sort_by_key(|name| match is_certified(name) {
        true if certified => 0,
        true => 3,
        false if known.contains(name) => 1,
        false => 2,
    });
}

/// Judges host keys.
struct Checker {
    keys: Arc<Mutex<HostKeys>>,
    host: String,
    port: u16,
    policy: Box<dyn MissingHostKeyPolicy>,
    known_hosts: Option<PathBuf>,
}

impl Checker {
    fn check(&self, key: &PublicKey) -> Result<()> {
        let status = self.keys.lock().check(&self.host, self.port, key);
        match status {
            HostKeyStatus::Known => Ok(()),
            HostKeyStatus::Unknown => self.unknown(&key.without_certificate()),
            HostKeyStatus::BadCertificate(error) => {
                Err(self.error(key, format!("{error}. Ask its administrator for a new certificate")))
            }
            HostKeyStatus::Revoked => {
                Err(self.error(key, "this key is marked as revoked; do not connect".to_owned()))
            }
            HostKeyStatus::Changed { expected, at } => {
                let expected: Vec<_> =
                    expected.iter().map(|key| format!("{} {}", key.key_type(), key.fingerprint())).collect();
                let text = format!(
                    "it CHANGED: expected {} ({at}). Somebody may be listening in, or the host was set up anew. \
                     Ask its administrator; if the new key is right, remove the old line",
                    expected.join(" or ")
                );
                Err(self.error(key, text))
            }
        }
    }

    fn unknown(&self, key: &PublicKey) -> Result<()> {
        let unknown = UnknownHostKey { host: self.host.clone(), port: self.port, key: key.clone() };
        match self.policy.missing_host_key(&unknown) {
            HostKeyAnswer::Reject => Err(self.error(
                key,
                "nothing is known about this host. Check the fingerprint with its administrator, then add the \
                 key to known_hosts, or use another policy for unknown hosts"
                    .to_owned(),
            )),
            HostKeyAnswer::Accept => {
                self.keys.lock().add(&self.host, self.port, key)?;
                Ok(())
            }
            HostKeyAnswer::AcceptAndSave => {
                self.keys.lock().add(&self.host, self.port, key)?;
                if let Some(path) = &self.known_hosts {
                    HostKeys::append(path, &self.host, self.port, key)?;
                }
                Ok(())
            }
        }
    }

    fn error(&self, key: &PublicKey, text: String) -> Error {
        Error::HostKey { host: format!("{} port {}", self.host, self.port), key: Box::new(key.clone()), text }
    }
}

impl SSHClientBuilder {
    /// Connects through a channel of another connection (a tunnel to the host).
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_through(self, channel: Channel, destination: &str) -> Result<SSHClient> {
        self.connect_over(channel, destination)
    }
}
