//! What to do about a host that nothing is known about. A key that *changed* is never a question.

use std::fmt;

use crate::key::PublicKey;

/// A host whose key is not known.
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

/// A policy's verdict.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyAnswer {
    /// Go on, this once.
    Accept,
    /// Go on, and remember the key in the known_hosts file.
    AcceptAndSave,
    /// Do not.
    Reject,
}

/// Decides about hosts that nothing is known about.
pub trait MissingHostKeyPolicy: Send + Sync + fmt::Debug {
    /// The host showed a key that is in no file.
    fn missing_host_key(&self, unknown: &UnknownHostKey) -> HostKeyAnswer;
}

/// Rejects unknown hosts; the default.
#[derive(Debug, Clone, Copy, Default)]
pub struct RejectPolicy;

/// Accepts unknown hosts and keeps their keys in memory only, as paramiko's does until saved.
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
            unknown.host,
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
