//! What ssh_config(5) says of a host, put into a builder: every option that was not set there by name.
//!
//! Runs on the thread that connects. Knows what a keyword does, not how files say it.

use std::time::Duration;

use super::dial::{self, Target};
use super::hostoptions::HostAddressCheck;
#[cfg(unix)]
use super::hostoptions::{KnownHostsQuery, KnownHostsReason};
use super::reach::{Jumps, Way};
use super::{SSHClient, SSHClientBuilder};
use crate::agent::AddOptions;
use crate::config::{HostConfig, SSHConfig};
use crate::error::{Error, Result};
use crate::hostkeys::{AcceptNewPolicy, RejectPolicy};
use crate::kex::Algorithms;

/// What a KnownHostsCommand prints at most; known_hosts files of large sites have a few MiB.
#[cfg(unix)]
const KNOWN_HOSTS_BYTES: u64 = 16 * 1024 * 1024;
/// How long it may take; a login has no more time unless told so.
#[cfg(unix)]
const KNOWN_HOSTS_TIME: Duration = Duration::from_secs(30);

/// Where a builder's configuration comes from.
#[derive(Debug, Clone, Default)]
pub(super) enum Files {
    /// The user's and the system's files.
    #[default]
    Usual,
    Given(SSHConfig),
    /// None: nothing but what the builder says.
    Nothing,
}

impl SSHClientBuilder {
    /// Reads no configuration, neither `~/.ssh/config` nor `/etc/ssh/ssh_config`.
    #[must_use]
    pub fn no_ssh_config(mut self) -> Self {
        self.files = Files::Nothing;
        self
    }

    /// The configuration to be used instead of `~/.ssh/config` and `/etc/ssh/ssh_config`. What the builder
    /// itself was told counts more.
    #[must_use]
    pub fn ssh_config(mut self, config: SSHConfig) -> Self {
        self.files = Files::Given(config);
        self
    }

    /// Connects to a host that was looked up already. What the builder itself was told counts more, but for
    /// the host's name, its port and the user's name there.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_to(mut self, host: &HostConfig) -> Result<SSHClient> {
        let target = target(host);
        // Hosts on the way are looked up where this one was.
        self.files = Files::Given(host.config().clone());
        self.configure(host)?.dialled(&target)
    }

    /// The builder with what the configuration says of a destination, and where that leads.
    pub(super) fn configured(self, destination: &str) -> Result<(Self, Target)> {
        self.configured_for(dial::Destination::parse(destination)?)
    }

    /// The same.
    pub(super) fn configured_for(self, said: dial::Destination) -> Result<(Self, Target)> {
        let config = match &self.files {
            Files::Usual => SSHConfig::load()?,
            Files::Given(config) => config.clone(),
            Files::Nothing => return Ok((self, said.target())),
        };
        let mut query = config.query(&said.host);
        let user = said.user.as_deref().or(self.credentials.user.as_deref());
        if let Some(user) = user {
            query = query.user(user);
        }
        if let Some(port) = said.port {
            query = query.port(port);
        }
        let host = query.lookup()?;
        let target = target(&host);
        Ok((self.configure(&host)?, target))
    }

    /// Takes over what was not set here.
    fn configure(mut self, host: &HostConfig) -> Result<Self> {
        if let Some(name) = host.missing_safety() {
            return Err(Error::Unsupported(format!("{name}, which is said for {}", host.original_host())));
        }
        if cfg!(not(unix)) && host.said("knownhostscommand").is_some() {
            return Err(Error::Unsupported("KnownHostsCommand on this system".to_owned()));
        }
        host.tell_unbuilt();
        self.way_of(host)?;
        self = self.algorithms_of(host)?;
        self = self.host_keys_of(host);
        self.credentials_of(host)?;
        self.connection_of(host);
        if let Some(addendum) = host.said("versionaddendum").filter(|_| self.takes(host, "versionaddendum")) {
            self.options.version = self.options.version.comments(addendum)?;
        }
        self.environment = host.environment();
        Ok(self)
    }

    /// Whether the configuration says something that was not set here.
    fn takes(&self, host: &HostConfig, name: &'static str) -> bool {
        host.is_said(name) && !self.said.contains(&name)
    }

    fn algorithms_of(mut self, host: &HostConfig) -> Result<Self> {
        // A list by itself replaces and adds to the default; what was set here is none.
        let mut all = self.options.algorithms.clone();
        for name in Algorithms::keywords() {
            if let Some(list) = host.said(name).filter(|_| !self.said.contains(&name)) {
                all.set_list(name, list).unwrap_or(Ok(()))?;
            }
        }
        if self.takes(host, "requiredrsasize")
            && let Some(bits) = host.number("requiredrsasize").and_then(|bits| usize::try_from(bits).ok())
        {
            all = all.required_rsa_size(bits);
        }
        self.options.algorithms = all;
        if self.takes(host, "compression") {
            self = self.compress(host.is("compression"));
        }
        Ok(self)
    }

    fn host_keys_of(mut self, host: &HostConfig) -> Self {
        if self.takes(host, "userknownhostsfile") {
            self.host_keys.user_files = host.files("userknownhostsfile");
        }
        if self.takes(host, "globalknownhostsfile") {
            self.host_keys.global_files = host.files("globalknownhostsfile");
        }
        let checking = host.get("stricthostkeychecking").unwrap_or_default();
        if self.takes(host, "stricthostkeychecking") {
            self.host_keys.policy = match checking.as_str() {
                "false" | "accept-new" => Box::new(AcceptNewPolicy),
                _ => Box::new(RejectPolicy),
            };
        }
        if self.takes(host, "checkhostip") {
            self.host_keys.address = match (host.is("checkhostip"), checking.as_str()) {
                (false, _) => HostAddressCheck::Off,
                (true, "false") => HostAddressCheck::Warn,
                (true, _) => HostAddressCheck::Reject,
            };
        }
        if self.takes(host, "hostkeyalias") {
            self.host_keys.alias = host.get("hostkeyalias");
        }
        if self.takes(host, "hashknownhosts") {
            self.host_keys.hash = host.is("hashknownhosts");
        }
        if self.takes(host, "updatehostkeys") {
            self = self.update_host_keys(host.is("updatehostkeys"));
        }
        // Keys that are revoked anywhere are revoked.
        self.host_keys.revoked.extend(host.files("revokedhostkeys"));
        self.host_keys.trust_loopback = host.is("nohostauthenticationforlocalhost");
        #[cfg(unix)]
        if self.takes(host, "knownhostscommand") && host.said("knownhostscommand").is_some() {
            let host = host.clone();
            self = self.known_hosts_callback(move |query| known_hosts(&host, query));
        }
        self
    }

    fn credentials_of(&mut self, host: &HostConfig) -> Result<()> {
        if self.takes(host, "identityfile") {
            let files = host.identity_files()?.into_iter().map(|path| (path, None));
            self.credentials.key_files.extend(files);
            self.credentials.default_keys = false;
        }
        self.credentials.certificates = host.certificate_files()?;
        if self.takes(host, "identitiesonly") {
            self.credentials.identities_only = host.is("identitiesonly");
        }
        if self.takes(host, "identityagent")
            && let Some(agent) = host.identity_agent()
        {
            self.credentials.agent = agent.is_some();
            self.credentials.agent_socket = agent;
        }
        if let Some(prompts) = host.number("numberofpasswordprompts") {
            self.credentials.prompts = prompts;
        }
        let methods = [
            ("pubkeyauthentication", "publickey"),
            ("passwordauthentication", "password"),
            ("kbdinteractiveauthentication", "keyboard-interactive"),
        ];
        let refused =
            methods.iter().filter(|(name, _)| matches!(host.get(name).as_deref(), Some("no" | "false")));
        self.credentials.refused = refused.map(|(_, method)| *method).collect();
        self.credentials.preferred = host
            .said("preferredauthentications")
            .map(|list| list.split(',').map(|name| name.trim().to_owned()).collect());
        self.credentials.add_to_agent = add_to_agent(host);
        self.credentials.asks_to_add = host.get("addkeystoagent").as_deref() == Some("ask");
        Ok(())
    }

    /// How the host is reached, unless that was said here.
    fn way_of(&mut self, host: &HostConfig) -> Result<()> {
        let settings = match &mut self.way {
            Way::Direct => None,
            Way::Jumps(jumps) if jumps.hosts.is_empty() => jumps.settings.take(),
            _ => return Ok(()),
        };
        self.way = match (host.proxy_jump(), host.proxy_command()?) {
            (Some(hosts), _) => Way::Jumps(Jumps { hosts: hosts.to_owned(), settings }),
            (None, Some(line)) => Way::expanded(line, host.is("proxyusefdpass"))?,
            (None, None) => Way::Direct,
        };
        Ok(())
    }

    fn connection_of(&mut self, host: &HostConfig) {
        if self.takes(host, "addressfamily") {
            self.family = match host.get("addressfamily").as_deref() {
                Some("inet") => dial::Family::V4,
                Some("inet6") => dial::Family::V6,
                _ => dial::Family::Any,
            };
        }
        if self.takes(host, "connecttimeout") {
            self.connect_timeout = host.time("connecttimeout").or(self.connect_timeout);
        }
        if self.takes(host, "serveraliveinterval") {
            let count = host.number("serveralivecountmax").unwrap_or_default();
            self.options.keepalive = host.time("serveraliveinterval").map(|time| (time, count));
        }
        // What the configuration leaves open is OpenSSH's default.
        if !self.said.contains(&"ipqos") {
            self.options.traffic = host.traffic();
        }
        if self.takes(host, "rekeylimit") {
            let (bytes, time) = host.rekey_limit();
            let limits = &mut self.options.limits;
            limits.rekey_bytes = if bytes == 0 { limits.rekey_bytes } else { bytes };
            limits.rekey_interval = if time.is_zero() { limits.rekey_interval } else { time };
        }
        self.dialling = dial::DialOptions {
            address: host.said("bindaddress").map(str::to_owned),
            interface: host.said("bindinterface").map(str::to_owned),
            attempts: host.number("connectionattempts").unwrap_or(1),
            keepalive: host.is("tcpkeepalive"),
        };
    }
}

/// Where the configuration leads.
fn target(host: &HostConfig) -> Target {
    Target { user: Some(host.user().to_owned()), host: host.hostname().to_owned(), port: host.port() }
}

/// How a key that was read from a file is given to the agent: `AddKeysToAgent`.
fn add_to_agent(host: &HostConfig) -> Option<AddOptions> {
    let said = host.get("addkeystoagent")?;
    let (word, time) = said.split_once(' ').map_or((said.as_str(), None), |(word, time)| (word, Some(time)));
    let lifetime = |time: &str| time.parse().ok().map(Duration::from_secs);
    let options = AddOptions::new();
    match (word, time.and_then(lifetime)) {
        ("true" | "ask", _) => Some(options),
        ("confirm", Some(time)) => Some(options.confirm(true).lifetime(time)),
        ("confirm", None) => Some(options.confirm(true)),
        ("false", _) => None,
        (time, _) => lifetime(time).map(|time| options.lifetime(time)),
    }
}

/// Asks the command for lines of known_hosts.
#[cfg(unix)]
fn known_hosts(host: &HostConfig, query: &KnownHostsQuery) -> Result<Vec<u8>> {
    let reason = match query.reason {
        KnownHostsReason::Order => "ORDER",
        KnownHostsReason::HostName => "HOSTNAME",
        KnownHostsReason::Address => "ADDRESS",
    };
    // As with OpenSSH: a list that replaces the usual one is asked for in its own order.
    let replaced = |list: &str| !list.starts_with(['+', '-', '^']);
    if query.reason == KnownHostsReason::Order && host.said("hostkeyalgorithms").is_some_and(replaced) {
        return Ok(Vec::new());
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "NONE".to_owned());
    let kind = query.key.as_ref().map(|key| key.key_type().to_owned());
    let fingerprint = query.key.as_ref().map(|key| key.fingerprint());
    let (kind, fingerprint) = (or_none(kind), or_none(fingerprint));
    let key = or_none(query.key.as_ref().map(|key| key.base64()));
    let more = [('H', query.name.as_str()), ('I', reason), ('t', &kind), ('f', &fingerprint), ('K', &key)];
    let Some(words) = host.known_hosts_command(more)? else { return Ok(Vec::new()) };
    crate::engine::printed(&words, KNOWN_HOSTS_BYTES, KNOWN_HOSTS_TIME)
        .map_err(|error| Error::io("asking KnownHostsCommand", error))
}
