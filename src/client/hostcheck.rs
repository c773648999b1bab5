//! Judging the key that a host shows: OpenSSH's sshconnect.c, verify_host_key and check_host_key.
//!
//! Runs on the thread that connects. Knows no stream.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::dial::Target;
use super::hostoptions::{HostAddressCheck, HostKeyOptions, KnownHostsQuery, KnownHostsReason};
use crate::error::{Error, Result};
use crate::hostkeys::{
    HostKeyAnswer, HostKeyPlace, HostKeyStatus, HostKeys, SshfpVerdict, UnknownHostKey, file_name_of,
};
use crate::kex::Algorithms;
use crate::key::algorithm::is_certified;
use crate::key::{Certificate, PublicKey, RevokedKeys};

/// The port whose hosts stand in known_hosts by name alone.
const SSH_PORT: u16 = 22;

/// Judges host keys.
pub(super) struct Checker {
    pub(super) keys: Arc<Mutex<HostKeys>>,
    /// What known_hosts calls the host.
    pub(super) host: String,
    pub(super) port: u16,
    /// What the DNS calls it.
    dns_name: String,
    /// Where it was reached, if that is to be looked up too.
    pub(super) address: Option<String>,
    pub(super) options: HostKeyOptions,
    /// The host was known by a plain key of a file of the user's, under its own name.
    pub(super) may_update: bool,
    /// It was reached on this machine itself, whose key need not be known.
    trusted: bool,
    /// What the callback has said.
    lines: HashSet<Vec<u8>>,
    /// How authorities may sign certificates.
    ca_signatures: Vec<&'static str>,
}

impl Checker {
    pub(super) fn new(
        mut options: HostKeyOptions,
        target: &Target,
        address: Option<IpAddr>,
        ca_signatures: &[&'static str],
    ) -> Result<Self> {
        let keys = Arc::new(Mutex::new(options.load()?));
        let alias = options.alias.clone();
        let port = if alias.is_some() { SSH_PORT } else { target.port };
        let here = address.is_some_and(|address| address.to_canonical().is_loopback());
        let trusted = options.trust_loopback && alias.is_none() && here;
        let address = address
            .filter(|address| options.address != HostAddressCheck::Off && !address.is_loopback())
            .map(|address| address.to_canonical().to_string())
            .filter(|address| *address != target.host);
        let host = alias.unwrap_or_else(|| target.host.clone());
        let mut this = Self {
            keys,
            host,
            port,
            dns_name: target.host.clone(),
            address,
            options,
            may_update: false,
            trusted,
            lines: HashSet::new(),
            ca_signatures: ca_signatures.to_vec(),
        };
        this.ask_for_lines(KnownHostsReason::Order, &this.host.clone(), None)?;
        Ok(this)
    }

    /// The ports under which the host's name is looked up, one after the other until something is known:
    /// what is said of a host without a port holds for all of its ports.
    fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        [self.port].into_iter().chain((self.port != SSH_PORT).then_some(SSH_PORT))
    }

    /// Asks a host first for what it can be judged by: certificates where an authority may sign them, then
    /// the kinds of keys that are known of it, and certificates last where nobody may.
    pub(super) fn prefer_known(&self, algorithms: &mut Algorithms) {
        let mut keys = self.keys.lock();
        keys.know(algorithms.own_keys());
        let mut of_port = self
            .ports()
            .map(|port| (keys.known_algorithms(&self.host, port), keys.has_authority(&self.host, port)));
        let found = of_port.find(|(known, certified)| !known.is_empty() || *certified);
        let (known, certified) = found.unwrap_or_default();
        algorithms.host_keys.sort_by_key(|name| match is_certified(name) {
            true if certified => 0,
            true => 3,
            false if known.contains(name) => 1,
            false => 2,
        });
    }

    /// Judges the key that the host has proven to hold.
    pub(super) fn check(&mut self, key: &PublicKey) -> Result<()> {
        self.check_revoked(key)?;
        if self.trusted {
            log::info!(target: "feramiko::hostkeys", "{}: this machine's key is not looked up", self.host);
            return Ok(());
        }
        self.ask_for_lines(KnownHostsReason::HostName, &self.host.clone(), Some(key))?;
        let (status, port) = self.status_as_signed(key);
        let address = self.address_status(key)?;
        match status {
            HostKeyStatus::Known => {
                self.differing_address(key, address.as_ref())?;
                let keys = self.keys.lock();
                let plain = keys.find(&self.host, port, &key.without_certificate());
                let at = plain.map(|entry| entry.place().clone());
                drop(keys);
                self.known(key, port, at.as_ref(), address.as_ref());
                Ok(())
            }
            HostKeyStatus::Unknown => self.unknown(&key.without_certificate(), address.as_ref()),
            HostKeyStatus::BadCertificate(error) => {
                Err(self.error(key, format!("{error}. Ask its administrator for a new certificate")))
            }
            HostKeyStatus::Revoked => {
                Err(self.error(key, "this key is marked as revoked; do not connect".to_owned()))
            }
            HostKeyStatus::Changed { expected, at } => {
                let text = format!(
                    "it CHANGED: expected {} ({at}). Somebody may be listening in, or the host was set up anew. \
                     Ask its administrator; if the new key is right, remove the old line",
                    listed(&expected)
                );
                Err(self.error(key, text))
            }
        }
    }

    /// What known_hosts says, and the port under which it says so.
    /// The same of a key whose certificate counts only if its authority has signed as it may.
    fn status_as_signed(&self, key: &PublicKey) -> (HostKeyStatus, u16) {
        let (status, port) = self.status(key);
        match key.certificate().map(Certificate::algorithm) {
            Some(algorithm)
                if status != HostKeyStatus::Revoked && !self.ca_signatures.contains(&algorithm) =>
            {
                log::warn!(
                    target: "feramiko::hostkeys",
                    "{}: its certificate is signed by {algorithm}, which CASignatureAlgorithms does not allow: \
                     it does not count",
                    self.host
                );
                self.status(&key.without_certificate())
            }
            _ => (status, port),
        }
    }

    fn status(&self, key: &PublicKey) -> (HostKeyStatus, u16) {
        let keys = self.keys.lock();
        let status = keys.check(&self.host, self.port, key);
        if status != HostKeyStatus::Unknown || self.port == SSH_PORT {
            return (status, self.port);
        }
        match keys.check(&self.host, SSH_PORT, key) {
            // Another port may well have another key.
            HostKeyStatus::Changed { .. } => (HostKeyStatus::Unknown, self.port),
            status => (status, SSH_PORT),
        }
    }

    /// What known_hosts says of the key under the host's address, if that is to be looked up.
    fn address_status(&mut self, key: &PublicKey) -> Result<Option<HostKeyStatus>> {
        let Some(address) = self.address.clone() else { return Ok(None) };
        self.ask_for_lines(KnownHostsReason::Address, &address, Some(key))?;
        Ok(Some(self.keys.lock().check(&address, self.port, key)))
    }

    fn check_revoked(&self, key: &PublicKey) -> Result<()> {
        for path in &self.options.revoked {
            let list = RevokedKeys::from_file(path).map_err(|error| {
                self.error(key, format!("the list of revoked keys cannot be used: {error}"))
            })?;
            if let Some(revoked) = list.check_key(key) {
                return Err(self.error(key, format!("{revoked} ({})", path.display())));
            }
        }
        Ok(())
    }

    fn ask_for_lines(&mut self, reason: KnownHostsReason, host: &str, key: Option<&PublicKey>) -> Result<()> {
        if let Some(ask) = &mut self.options.lines {
            let name = file_name_of(host, self.port);
            let lines = ask(&KnownHostsQuery { reason, name, key: key.cloned() })?;
            if !self.lines.contains(&lines) {
                self.keys.lock().extend(HostKeys::parse(&lines));
                self.lines.insert(lines);
            }
        }
        Ok(())
    }

    /// The address has another key: somebody may have led us there.
    fn differing_address(&self, key: &PublicKey, address: Option<&HostKeyStatus>) -> Result<()> {
        let Some(name) = &self.address else { return Ok(()) };
        let text = match address {
            Some(HostKeyStatus::Revoked) => format!("this key is marked as revoked for its address {name}"),
            Some(HostKeyStatus::Changed { expected, at }) => {
                format!("its address {name} has another key: {} ({at})", listed(expected))
            }
            _ => return Ok(()),
        };
        if self.options.address == HostAddressCheck::Reject || address == Some(&HostKeyStatus::Revoked) {
            return Err(self.error(key, text));
        }
        log::warn!(target: "feramiko::hostkeys", "{} port {}: {text}", self.host, self.port);
        Ok(())
    }

    /// The key is the host's: notes it for the address, and whether the host may change its keys.
    fn known(
        &mut self,
        key: &PublicKey,
        port: u16,
        at: Option<&HostKeyPlace>,
        address: Option<&HostKeyStatus>,
    ) {
        let plain = key.certificate().is_none();
        self.may_update =
            plain && (port == self.port) && at.is_some_and(|place| self.options.is_users(place.file()));
        if plain && address == Some(&HostKeyStatus::Unknown) {
            self.save_address(key);
        }
    }

    fn save_address(&self, key: &PublicKey) {
        let Some(address) = &self.address else { return };
        if let Err(error) = self.save(address, key) {
            log::warn!(target: "feramiko::hostkeys", "{address} is not noted: {error}");
        }
    }

    fn save(&self, host: &str, key: &PublicKey) -> Result<()> {
        self.keys.lock().add(host, self.port, key)?;
        match self.options.user_files.first() {
            Some(path) if self.options.hash => HostKeys::append_hashed(path, host, self.port, key)?,
            Some(path) => HostKeys::append(path, host, self.port, key)?,
            None => {}
        }
        Ok(())
    }

    fn unknown(&mut self, key: &PublicKey, address: Option<&HostKeyStatus>) -> Result<()> {
        self.differing_address(key, address)?;
        if self.in_dns(key)? {
            self.keys.lock().add(&self.host, self.port, key)?;
            return Ok(());
        }
        let unknown = UnknownHostKey { host: self.host.clone(), port: self.port, key: key.clone() };
        match self.options.policy.missing_host_key(&unknown) {
            HostKeyAnswer::Reject => Err(self.error(
                key,
                "nothing is known about this host. Check the fingerprint with its administrator, then add the \
                 key to known_hosts, or use another policy for unknown hosts"
                    .to_owned(),
            )),
            HostKeyAnswer::Accept => Ok(self.keys.lock().add(&self.host, self.port, key)?),
            HostKeyAnswer::AcceptAndSave => {
                self.save(&self.host, key)?;
                if address == Some(&HostKeyStatus::Unknown) {
                    self.save_address(key);
                }
                Ok(())
            }
        }
    }

    /// Whether the DNS vouches for the key.
    fn in_dns(&mut self, key: &PublicKey) -> Result<bool> {
        let Some(ask) = &mut self.options.sshfp else { return Ok(false) };
        let found = ask(&self.dns_name)?;
        let how = if found.secure { "by DNSSEC" } else { "without DNSSEC" };
        let host = &self.dns_name;
        match found.judge(key) {
            SshfpVerdict::Match if found.secure => return Ok(true),
            SshfpVerdict::Mismatch if found.secure => {
                return Err(self.error(key, "the DNS has the fingerprints of other keys for it".to_owned()));
            }
            SshfpVerdict::Match => {
                log::info!(target: "feramiko::hostkeys", "{host}: the DNS, {how}, has the key's fingerprint");
            }
            SshfpVerdict::Mismatch => {
                log::warn!(target: "feramiko::hostkeys", "{host}: the DNS, {how}, has fingerprints of other keys");
            }
            SshfpVerdict::Silent => {}
        }
        Ok(false)
    }

    fn error(&self, key: &PublicKey, text: String) -> Error {
        Error::HostKey { host: format!("{} port {}", self.host, self.port), key: Box::new(key.clone()), text }
    }
}

fn listed(keys: &[PublicKey]) -> String {
    let shown = keys.iter().map(|key| format!("{} {}", key.key_type(), key.fingerprint()));
    shown.collect::<Vec<_>>().join(" or ")
}
