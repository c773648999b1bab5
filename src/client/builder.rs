//! What a client is configured with.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::authenticate::Credentials;
use super::cancel::{Cancel, Ready};
use super::configured::Files;
use super::dial::DialOptions;
use super::hostcheck::Checker;
use super::hostoptions::HostKeyOptions;
use super::reach::{Jumps, Trip, Way};
use super::{SSHClient, dial, hostupdate};
use crate::auth::InteractiveQuery;
use crate::crypto::secret::Secret;
use crate::engine::{Clock, Limits, Stream};
use crate::error::{Error, Result};
use crate::kex::Algorithms;
use crate::key::PKey;
use crate::packet::VersionLine;
use crate::sys::traffic::TrafficClasses;
use crate::transport::{AuthMethod, Transport, TransportOptions};

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
    pub(super) options: TransportOptions,
    pub(super) host_keys: HostKeyOptions,
    pub(super) credentials: Credentials,
    /// For everything; none where each part has a time of its own.
    pub(super) deadline: Option<Duration>,
    /// None is [`Limits::connect_timeout`].
    pub(super) connect_timeout: Option<Duration>,
    pub(super) family: dial::Family,
    pub(super) dialling: DialOptions,
    pub(super) cancel: Cancel,
    pub(super) way: Way,
    /// The connections that this one is to carry at last.
    pub(super) depth: usize,
    pub(super) files: Files,
    /// Keywords of ssh_config(5) that were set here: files say nothing of them.
    pub(super) said: Vec<&'static str>,
    /// Variables that every session gets.
    pub(super) environment: Vec<(OsString, OsString)>,
}

impl SSHClientBuilder {
    pub(super) fn new() -> Self {
        let options = TransportOptions::default();
        Self {
            deadline: None,
            connect_timeout: None,
            options,
            host_keys: HostKeyOptions::default(),
            credentials: Credentials::default(),
            family: dial::Family::Any,
            dialling: DialOptions::default(),
            cancel: Cancel::new(),
            way: Way::Direct,
            depth: 0,
            files: Files::default(),
            said: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Notes what files have no say in any more.
    pub(super) fn says(mut self, names: &[&'static str]) -> Self {
        self.said.extend(names);
        self
    }

    /// The user's name; the destination's `user@` wins, else what ssh_config says, else the name of who runs
    /// the program. Where configuration is read it must hold nothing that a shell would understand.
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

    /// A method of your own, tried after all keys and before questions, where the server offers it; with
    /// `PreferredAuthentications` where its name stands. Of several with one name the last is used.
    #[must_use]
    pub fn auth_method(mut self, method: impl AuthMethod + 'static) -> Self {
        self.credentials.methods.retain(|known| known.name() != method.name());
        self.credentials.methods.push(Box::new(method));
        self
    }

    /// A key file, tried after the keys given and before those of `IdentityFile`. `passphrase` is used if the file needs one. When the
    /// agent holds the key, the agent signs, and the file may be the public half alone.
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

    /// Asks whether a key that was read from a file is given to the agent, where `AddKeysToAgent ask` of ssh_config(5)
    /// wants that asked; nobody asked, none is given.
    #[must_use]
    pub fn add_keys_to_agent_callback(
        mut self,
        ask: impl FnMut(&Path, &PKey) -> bool + Send + 'static,
    ) -> Self {
        self.credentials.may_add = Some(Box::new(ask));
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
        self.says(&["identityagent"])
    }

    /// Does not look for `~/.ssh/id_*`, nor for the files that `IdentityFile` names.
    #[must_use]
    pub fn no_default_keys(mut self) -> Self {
        self.credentials.default_keys = false;
        self.says(&["identityfile"])
    }

    /// Of the agent's keys, uses those alone that a key file names: the file, `FILE.pub` or
    /// `FILE-cert.pub` holds their public half. Without key files the usual ones name them.
    #[must_use]
    pub fn identities_only(mut self, only: bool) -> Self {
        self.credentials.identities_only = only;
        self.says(&["identitiesonly"])
    }

    /// The time for everything: resolving, connecting, hosts on the way, keys, authentication, whatever the
    /// server sends. Only the time in which somebody is asked (for a password, a passphrase, about a host key)
    /// does not count. Without one, [`connect_timeout`](Self::connect_timeout) and
    /// [`Limits::auth_timeout`] hold.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self.says(&["connecttimeout"])
    }

    /// The time for all that comes before authentication: resolving, connecting, keys. `ConnectTimeout` of
    /// ssh_config(5); [`Limits::connect_timeout`] unless said otherwise.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self.says(&["connecttimeout"])
    }

    /// Is told each banner when it comes: before a password is asked for, and also if nobody is let in. The
    /// text holds nothing that a terminal would act on; [`SSHClient::banners`] has it too.
    #[must_use]
    pub fn banner_callback(mut self, told: impl FnMut(&str) + Send + 'static) -> Self {
        self.credentials.on_banner = Some(Box::new(told));
        self
    }

    /// What is offered.
    #[must_use]
    pub fn algorithms(mut self, algorithms: Algorithms) -> Self {
        self.options.algorithms = algorithms;
        self.says(&[
            "ciphers",
            "macs",
            "kexalgorithms",
            "hostkeyalgorithms",
            "pubkeyacceptedalgorithms",
            "hostbasedacceptedalgorithms",
            "casignaturealgorithms",
            "requiredrsasize",
            "compression",
        ])
    }

    /// Compresses, if the server does.
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        let names = if compress { vec!["zlib@openssh.com", "zlib", "none"] } else { vec!["none"] };
        self.options.algorithms.compressions = names;
        self.says(&["compression"])
    }

    /// What we say that we are; the library's name and version unless told otherwise.
    #[must_use]
    pub fn version(mut self, version: VersionLine) -> Self {
        self.options.version = version;
        self.says(&["versionaddendum"])
    }

    /// What the server may use of us.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self.says(&["rekeylimit"])
    }

    /// Asks for a sign of life after so long a silence, and ends the connection when so many stay
    /// unanswered.
    #[must_use]
    pub fn keepalive(mut self, interval: Duration, count_max: u32) -> Self {
        self.options.keepalive = Some((interval, count_max));
        self.says(&["serveraliveinterval", "serveralivecountmax"])
    }

    /// How our packets ask to be treated on their way.
    #[must_use]
    pub fn traffic(mut self, classes: TrafficClasses) -> Self {
        self.options.traffic = classes;
        self.says(&["ipqos"])
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
        self.says(&["addressfamily"])
    }

    /// IPv6 addresses only.
    #[must_use]
    pub fn ipv6_only(mut self) -> Self {
        self.family = dial::Family::V6;
        self.says(&["addressfamily"])
    }

    /// Connects to `[user@]host[:port]`, `[user@][v6]:port` or `ssh://[user@]host[:port]`, as `~/.ssh/config` and
    /// `/etc/ssh/ssh_config` say, unless [`no_ssh_config`](Self::no_ssh_config) or
    /// [`ssh_config`](Self::ssh_config) was called; of each option what was set here counts more. All addresses
    /// of the host are tried.
    ///
    /// # Errors
    /// [`Error::Io`] when no address answers, [`Error::HostKey`] for a host that is not trusted,
    /// [`Error::Auth`] with every attempt, [`Error::Timeout`] naming the step, [`Error::Config`] for files that
    /// are not understood, [`Error::Unsupported`] for what they say and is not built,
    /// [`Error::NoCommon`], [`Error::Protocol`].
    pub fn connect(self, destination: &str) -> Result<SSHClient> {
        let (this, target) = self.configured(destination)?;
        this.dialled(&target)
    }

    /// Connects to where everything leads.
    pub(super) fn dialled(self, target: &dial::Target) -> Result<SSHClient> {
        let clock = Clock::start(self.time())?;
        self.connect_by(target, &clock)
    }

    /// Connects by the way that was named.
    pub(super) fn connect_by(mut self, target: &dial::Target, clock: &Clock) -> Result<SSHClient> {
        let mut way = std::mem::take(&mut self.way);
        if let Way::Jumps(Jumps { settings: settings @ None, .. }) = &mut way {
            let files = self.files.clone();
            *settings = Some(Box::new(move |_| Self { files: files.clone(), ..Self::new() }));
        }
        let trip = Trip {
            target,
            #[cfg(unix)]
            user: target.user.as_deref().or(self.credentials.user.as_deref()),
            family: self.family,
            dialling: &self.dialling,
            clock,
            cancel: &self.cancel,
            depth: self.depth,
        };
        let (stream, address) = way.open(&trip)?;
        self.login(stream, target, address, clock)
    }

    /// Connects over a stream that is already there: a UNIX socket, a proxy's, a [`Channel`](crate::Channel) of
    /// another connection. `destination` says whose host key and which user is meant; what configuration says of
    /// the way there does not count.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_over(self, stream: impl Stream, destination: &str) -> Result<SSHClient> {
        let (this, target) = self.configured(destination)?;
        let clock = Clock::start(this.time())?;
        this.login(Box::new(stream), &target, None, &clock)
    }

    /// The time for a connect to come to where authentication starts, or for all of it if that is bounded.
    pub(super) fn time(&self) -> Duration {
        let connect = self.connect_timeout.unwrap_or(self.options.limits.connect_timeout);
        self.deadline.unwrap_or(connect)
    }

    pub(super) fn login(
        self,
        stream: Box<dyn Stream>,
        target: &dial::Target,
        address: Option<IpAddr>,
        clock: &Clock,
    ) -> Result<SSHClient> {
        let cancel = self.cancel.clone();
        let halves = stream.split().map_err(|error| Error::io("preparing the stream", error))?;
        let _watch = cancel.watch(Arc::clone(&halves.closer));
        // Whatever a closed stream led to, the cause is known.
        self.login_on(Ready(halves), target, address, clock)
            .map_err(|error| if cancel.is_cancelled() { Error::Cancelled } else { error })
    }

    fn login_on(
        mut self,
        stream: Ready,
        target: &dial::Target,
        address: Option<IpAddr>,
        clock: &Clock,
    ) -> Result<SSHClient> {
        let mut checker =
            Checker::new(self.host_keys, target, address, self.options.algorithms.ca_signatures())?;
        checker.prefer_known(&mut self.options.algorithms);
        let host_keys = Arc::clone(&checker.keys);
        let auth_timeout = self.options.limits.auth_timeout;
        let transport =
            Transport::start_client_within(Box::new(stream), self.options, clock, |key| checker.check(key))?;
        let (taker, updated) = hostupdate::prepare(checker);
        transport.set_taker(taker);
        let user = target.user.clone();
        if self.deadline.is_none() {
            clock.restart(auth_timeout)?;
        }
        let banners = self.credentials.authenticate(&transport, user, clock, &self.cancel)?;
        let environment = self.environment.into();
        Ok(SSHClient {
            transport,
            host_keys,
            updated,
            banners: banners.into(),
            environment,
            request_timeout: None,
        })
    }
}
