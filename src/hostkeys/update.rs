//! A host's further keys, which it announces and proves to hold: OpenSSH's PROTOCOL, §2.5, and what a
//! client may then change in known_hosts: OpenSSH's clientloop.c, client_input_hostkeys.
//!
//! Bytes and lines only. Knows no connection.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::line::{Entry, hashed};
use super::{HostKeys, HostKeysError, Item, file, new_entry, new_file_name};
use crate::key::PublicKey;
use crate::wire::{Encode, Reader};

/// The request by which a server announces its keys.
pub(crate) const ANNOUNCE: &str = "hostkeys-00@openssh.com";
/// The request by which a client asks for proofs; also the beginning of what is signed.
pub(crate) const PROVE: &str = "hostkeys-prove-00@openssh.com";
/// Keys of one announcement that are looked at: there are not a dozen kinds of keys, and each may come
/// twice while they are changed.
const KEYS: usize = 64;

/// Keys as both requests carry them.
pub(crate) fn encode_keys<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> Vec<u8> {
    let mut out = Vec::new();
    keys.into_iter().for_each(|key| key.blob().encode(&mut out));
    out
}

/// The strings that a request or answer consists of; none if it holds anything else, or too many.
pub(crate) fn strings(rest: &[u8]) -> Option<Vec<&[u8]>> {
    let mut reader = Reader::new(rest);
    let mut found = Vec::new();
    while !reader.clone().rest().is_empty() {
        if found.len() == KEYS {
            return None;
        }
        found.push(reader.string().ok()?);
    }
    Some(found)
}

/// What a host signs to prove that it holds `key`.
pub(crate) fn proof(session_id: &[u8], key: &PublicKey) -> Vec<u8> {
    let mut data = Vec::new();
    PROVE.encode(&mut data);
    session_id.encode(&mut data);
    key.blob().encode(&mut data);
    data
}

/// What known_hosts calls a host.
#[derive(Debug, Clone)]
pub(crate) struct HostNames {
    host: String,
    address: Option<String>,
}

impl HostNames {
    pub(crate) fn new(host: &str, address: Option<&str>, port: u16) -> Result<Self, HostKeysError> {
        let address = address.map(|address| new_file_name(address, port)).transpose()?;
        Ok(Self { host: new_file_name(host, port)?, address })
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        [&self.host].into_iter().chain(&self.address).map(String::as_str)
    }

    fn of(&self, entry: &Entry) -> bool {
        self.all().any(|name| entry.matches(name))
    }
}

/// What an announcement leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum UpdatePlan {
    /// Everything is known.
    Nothing,
    /// Nothing may be changed, for this reason.
    Not(&'static str),
    /// Keys to learn once they are proven, and keys to forget.
    Change { new: Vec<PublicKey>, old: Vec<PublicKey> },
}

/// Whether a line names more than one host, or one and its address.
fn is_complex(entry: &Entry) -> bool {
    let names = String::from_utf8_lossy(entry.names());
    let mut others = names.split(',').skip(1);
    let address = |name: &str| {
        let inside = name.strip_prefix('[').and_then(|name| name.split_once("]:"));
        inside.map_or(name, |(inside, _)| inside).parse::<IpAddr>().is_ok()
    };
    let second = others.next().is_none_or(address);
    names.contains(['*', '?', '!']) || !second || others.next().is_some()
}

/// Whether a line is about a host and another's address, or an address and another host.
fn is_mixed(entry: &Entry, names: &HostNames) -> bool {
    entry.names().contains(&b',') && !names.all().all(|name| entry.matches(name))
}

impl HostKeys {
    /// What to do about `keys`, which a host has announced. `self` is all files of the user, and only the
    /// `first` is written to.
    pub(crate) fn plan_update(&self, names: &HostNames, keys: &[PublicKey], first: &Path) -> UpdatePlan {
        let (about, others): (Vec<_>, Vec<_>) = self
            .entries()
            .filter_map(|entry| Some((entry, entry.key()?)))
            .partition(|(entry, _)| names.of(entry));
        let is_announced = |key: &PublicKey| keys.contains(key);
        let known = |key: &&PublicKey| about.iter().any(|(entry, _)| entry.has(key));
        let new: Vec<_> = keys.iter().filter(|key| !known(key)).cloned().collect();
        let mut old: Vec<PublicKey> = Vec::new();
        for (_, key) in about.iter().filter(|(entry, key)| entry.marker.is_none() && !is_announced(key)) {
            if !old.contains(key) {
                old.push((*key).clone());
            }
        }
        let elsewhere = |entry: &Entry| entry.place.file() != Some(first);
        if new.is_empty() && old.is_empty() {
            UpdatePlan::Nothing
        } else if about.iter().any(|(entry, _)| entry.marker.is_some() || is_complex(entry)) {
            UpdatePlan::Not("known_hosts has an authority, a revoked key, a pattern or several hosts for it")
        } else if about.iter().any(|(entry, _)| is_mixed(entry, names)) {
            UpdatePlan::Not("known_hosts has another name or address beside it")
        } else if others.iter().any(|(_, key)| is_announced(key) || old.contains(key)) {
            UpdatePlan::Not("known_hosts has one of the keys under another name")
        } else if about.iter().any(|(entry, key)| old.contains(key) && elsewhere(entry)) {
            UpdatePlan::Not("an old key stands in a file that is not written to")
        } else {
            UpdatePlan::Change { new, old }
        }
    }

    /// Forgets and learns.
    pub(crate) fn apply_update(
        &mut self,
        names: &HostNames,
        new: &[PublicKey],
        old: &[PublicKey],
        hash: bool,
    ) -> Result<(), HostKeysError> {
        self.items.retain(|item| match item {
            Item::Entry(entry) => {
                entry.marker.is_some() || !names.of(entry) || !old.iter().any(|key| entry.has(key))
            }
            Item::Text(_) => true,
        });
        for key in new {
            for name in names.all() {
                let written = if hash { hashed(name, None)? } else { name.to_owned() };
                self.items.push(Item::Entry(Box::new(new_entry(&written, key)?)));
            }
        }
        Ok(())
    }

    /// Makes a planned change in the first of the user's files, in one step and under its lock, if
    /// it is still what is to be changed there.
    pub(crate) fn update_file(
        files: &[PathBuf],
        names: &HostNames,
        keys: &[PublicKey],
        plan: &UpdatePlan,
        hash: bool,
    ) -> Result<bool, HostKeysError> {
        let (Some((first, others)), UpdatePlan::Change { new, old }) = (files.split_first(), plan) else {
            return Ok(false);
        };
        let own: Vec<_> = keys.iter().chain(new).chain(old).filter_map(PublicKey::own).collect();
        let mut others = Self::load_all(others)?;
        others.know(&own);
        file::edit(first, |present| {
            let mut here = Self::parse_from(present, Some(first.as_path().into()));
            here.know(&own);
            let mut all = here.clone();
            all.extend(std::mem::take(&mut others));
            if all.plan_update(names, keys, first) != *plan {
                return Ok(None);
            }
            here.apply_update(names, new, old, hash)?;
            Ok(Some(here.to_text()))
        })
    }
}
