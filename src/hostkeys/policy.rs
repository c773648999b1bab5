//! What to do about a host of which nothing is known. A key that *changed* or is revoked is never a
//! question: it is rejected before any policy is asked.

use std::fmt;

use super::file_name_of;
use crate::key::PublicKey;

/// A host of which nothing is known.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct UnknownHostKey {
    /// The host as it was asked for.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The key that it has proven to hold.
    pub key: PublicKey,
}

impl UnknownHostKey {
    /// The name as known_hosts files have it: `host`, or `[host]:port`.
    #[must_use]
    pub fn name(&self) -> String {
        file_name_of(&self.host, self.port)
    }
}

/// A policy's verdict.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyAnswer {
    /// Go on; the key is the host's for as long as this program keeps it in mind.
    Accept,
    /// Go on, and write the key into the known_hosts file.
    AcceptAndSave,
    /// Do not go on.
    Reject,
}

/// Decides about hosts of which nothing is known. Asked on the thread that connects; it may block,
/// to ask a person.
pub trait MissingHostKeyPolicy: Send + Sync + fmt::Debug {
    /// The host has shown a key, and proven to hold it, and no line is about that host.
    fn missing_host_key(&self, unknown: &UnknownHostKey) -> HostKeyAnswer;
}

/// Rejects unknown hosts; the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct RejectPolicy;

/// Accepts unknown hosts and keeps their keys in memory; whoever wants them in a file saves them.
#[derive(Debug, Clone, Copy, Default)]
pub struct AutoAddPolicy;

/// Accepts unknown hosts with a warning in the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct WarningPolicy;

/// Accepts unknown hosts and saves their keys: OpenSSH's `StrictHostKeyChecking=accept-new`.
#[derive(Debug, Clone, Copy, Default)]
pub struct AcceptNewPolicy;

impl MissingHostKeyPolicy for RejectPolicy {
    fn missing_host_key(&self, _: &UnknownHostKey) -> HostKeyAnswer {
        HostKeyAnswer::Reject
    }
}

impl MissingHostKeyPolicy for AutoAddPolicy {
    fn missing_host_key(&self, _: &UnknownHostKey) -> HostKeyAnswer {
        HostKeyAnswer::Accept
    }
}

impl MissingHostKeyPolicy for WarningPolicy {
    fn missing_host_key(&self, unknown: &UnknownHostKey) -> HostKeyAnswer {
        log::warn!(
            target: "feramiko::hostkeys",
            "unknown {} host key for {}: {}",
            unknown.key.key_type(),
            crate::wire::Escaped(unknown.name().as_bytes()),
            unknown.key.fingerprint()
        );
        HostKeyAnswer::Accept
    }
}

impl MissingHostKeyPolicy for AcceptNewPolicy {
    fn missing_host_key(&self, _: &UnknownHostKey) -> HostKeyAnswer {
        HostKeyAnswer::AcceptAndSave
    }
}
