//! What known_hosts lines say about a host and a key that it shows: OpenSSH's hostfile.c,
//! check_hostkeys_by_key_or_type.
//!
//! Knows no file and no connection.

use std::time::SystemTime;

use super::line::{Entry, HostKeyMarker, HostKeyPlace};
use super::{HostKeyEntry, HostKeys, file_name_of};
use crate::key::{CertificateError, PublicKey};

/// What is known about a key that a host showed.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeyStatus {
    /// It is the host's key.
    Known,
    /// Nothing is known about the host.
    Unknown,
    /// The host has other keys, of whatever type.
    Changed {
        /// The keys it has.
        expected: Vec<PublicKey>,
        /// Where the first of them stands.
        at: HostKeyPlace,
    },
    /// The key, or the authority that certified it, is marked `@revoked` for the host.
    Revoked,
    /// An authority of the host has certified the key, but not for this host or not for now; the key
    /// is not known otherwise.
    BadCertificate(CertificateError),
}

impl HostKeys {
    /// Judges a key that a host showed. One with a certificate is good when an authority of the host
    /// says so, now, and else as good as without.
    pub fn check(&self, host: &str, port: u16, key: &PublicKey) -> HostKeyStatus {
        self.check_at(host, port, key, SystemTime::now())
    }

    pub(super) fn check_at(&self, host: &str, port: u16, key: &PublicKey, now: SystemTime) -> HostKeyStatus {
        let name = file_name_of(host, port);
        let about: Vec<_> = self.entries().filter(|entry| entry.matches(&name)).collect();
        let with = |marker: Option<HostKeyMarker>, key: &PublicKey| {
            about.iter().any(|entry| entry.marker == marker && entry.has(key))
        };
        let plain = key.without_certificate();
        let authority = key.certificate().map(|certificate| (certificate, certificate.authority()));
        let revoked = |key: &PublicKey| with(Some(HostKeyMarker::Revoked), key);
        if revoked(&plain) || authority.is_some_and(|(_, authority)| revoked(authority)) {
            return HostKeyStatus::Revoked;
        }
        let trusted = |authority: &PublicKey| with(Some(HostKeyMarker::CertAuthority), authority);
        let certified = authority
            .filter(|(_, authority)| trusted(authority))
            .map(|(certificate, _)| certificate.check_host(now, host));
        match certified {
            Some(Ok(())) => return HostKeyStatus::Known,
            _ if with(None, &plain) => return HostKeyStatus::Known,
            Some(Err(error)) => return HostKeyStatus::BadCertificate(error),
            None => {}
        }
        let known = || about.iter().filter(|entry| entry.marker.is_none() && entry.key().is_some());
        match known().next() {
            None => HostKeyStatus::Unknown,
            Some(first) => HostKeyStatus::Changed {
                at: first.place.clone(),
                expected: known().filter_map(|entry| entry.key()).cloned().collect(),
            },
        }
    }

    /// Whether an authority may sign certificates for the host.
    #[must_use]
    pub fn has_authority(&self, host: &str, port: u16) -> bool {
        let name = file_name_of(host, port);
        let authority = |entry: &Entry| entry.marker == Some(HostKeyMarker::CertAuthority);
        self.entries().any(|entry| authority(entry) && entry.matches(&name))
    }

    /// The host's keys, in the order of the file. Certificate authorities are not among them, nor
    /// are revoked keys.
    #[must_use]
    pub fn lookup(&self, host: &str, port: u16) -> Vec<&PublicKey> {
        let name = file_name_of(host, port);
        self.trusted(&name).into_iter().filter_map(Entry::key).collect()
    }

    /// The signature algorithms of the host's keys: what a client should ask the host for first, so
    /// that it shows a key that is known.
    #[must_use]
    pub fn known_algorithms(&self, host: &str, port: u16) -> Vec<&'static str> {
        let mut known = Vec::new();
        for name in self.lookup(host, port).iter().flat_map(|key| key.algorithms()) {
            if !known.contains(name) {
                known.push(*name);
            }
        }
        known
    }

    /// Whether a key of the host is known.
    #[must_use]
    pub fn contains(&self, host: &str, port: u16) -> bool {
        !self.lookup(host, port).is_empty()
    }

    /// All entries about a host, whatever they say of it, in the order of the file: what
    /// `ssh-keygen -F` finds.
    #[must_use]
    pub fn entries_for(&self, host: &str, port: u16) -> Vec<HostKeyEntry<'_>> {
        let name = file_name_of(host, port);
        let about = self.entries().filter(|entry| entry.matches(&name));
        about.filter_map(|entry| Some(HostKeyEntry { entry, key: entry.key()? })).collect()
    }

    /// The first entry that gives a host this very key.
    #[must_use]
    pub fn find(&self, host: &str, port: u16, key: &PublicKey) -> Option<HostKeyEntry<'_>> {
        let name = file_name_of(host, port);
        let gives = |entry: &Entry| entry.marker.is_none() && entry.has(key) && entry.matches(&name);
        let entry = self.entries().find(|entry| gives(entry))?;
        Some(HostKeyEntry { entry, key: entry.key()? })
    }

    /// The entries that give a host, by its name as files have it, a key that is not revoked.
    pub(super) fn trusted(&self, name: &str) -> Vec<&Entry> {
        let about = self.entries().filter(|entry| entry.matches(name));
        let (plain, marked): (Vec<_>, Vec<_>) = about.partition(|entry| entry.marker.is_none());
        let revoked = |entry: &Entry| {
            marked.iter().any(|other| other.marker == Some(HostKeyMarker::Revoked) && other.same_key(entry))
        };
        plain.into_iter().filter(|entry| !revoked(entry)).collect()
    }
}
