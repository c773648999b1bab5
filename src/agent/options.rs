//! What an agent is to hold a key to: RFC 9987, "Key Constraints", and the destinations of OpenSSH's
//! PROTOCOL.agent §2. Built by users, written by clients, read by servers. Pure.

use std::borrow::Cow;
use std::time::Duration;

use super::AgentError;
use super::message::{RESTRICT_DESTINATION, constraint};
use crate::key::PublicKey;
use crate::wire::{Malformed, Reader, Writer, string_of};

/// Destinations of one key; OpenSSH's figure.
const DESTINATIONS: usize = 1024;
/// The longest pattern of a user's name; OpenSSH's figure.
const USER_BYTES: usize = 256;

/// How an agent is to hold a key: for ever and for every use, unless said otherwise.
///
/// ```
/// use std::time::Duration;
/// let options = feramiko::AddOptions::new().lifetime(Duration::from_secs(3600)).confirm(true);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddOptions {
    pub(super) lifetime: Option<u32>,
    pub(super) confirm: bool,
    pub(super) destinations: Vec<Destination>,
}

impl AddOptions {
    /// No constraints.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent removes the key after this time; parts of a second count as a whole one.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        let seconds = lifetime.as_secs().saturating_add(u64::from(lifetime.subsec_nanos() > 0));
        self.lifetime = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
        self
    }

    /// Whether the agent asks its user before each use of the key.
    #[must_use]
    pub fn confirm(mut self, confirm: bool) -> Self {
        self.confirm = confirm;
        self
    }

    /// The key may be used for this destination. Without any it may be used for all; with one or more it
    /// signs for logins there and for nothing else.
    #[must_use]
    pub fn destination(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }

    /// The constraints as they stand behind a key; empty when there are none.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(seconds) = self.lifetime {
            out.put(&constraint::LIFETIME).put(&seconds);
        }
        if self.confirm {
            out.put(&constraint::CONFIRM);
        }
        if !self.destinations.is_empty() {
            let list: Vec<u8> = self.destinations.iter().flat_map(Destination::encode).collect();
            out.put(&constraint::EXTENSION).put(RESTRICT_DESTINATION).put(list.as_slice());
        }
        out
    }

    /// Reads constraints up to the end. Those that are not known are an error: a key must not be held to
    /// less than was asked for.
    pub(super) fn decode(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let mut options = Self::default();
        while !reader.is_empty() {
            match reader.get::<u8>()? {
                constraint::LIFETIME if options.lifetime.is_none() => options.lifetime = Some(reader.get()?),
                constraint::CONFIRM if !options.confirm => options.confirm = true,
                constraint::EXTENSION
                    if reader.string()? == RESTRICT_DESTINATION.as_bytes()
                        && options.destinations.is_empty() =>
                {
                    options.destinations = decode_destinations(reader.string()?)?;
                }
                _ => return Err(Malformed::Value),
            }
        }
        Ok(options)
    }
}

/// A list of no destinations would allow all.
fn decode_destinations(list: &[u8]) -> Result<Vec<Destination>, Malformed> {
    let mut reader = Reader::new(list);
    let mut destinations = Vec::new();
    while !reader.is_empty() {
        if destinations.len() >= DESTINATIONS {
            return Err(Malformed::Value);
        }
        destinations.push(Destination::decode(reader.string()?)?);
    }
    if destinations.is_empty() { Err(Malformed::Value) } else { Ok(destinations) }
}

/// A host that a key may be used to log in to, and from where: one `-h` of ssh-add(1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// None: from the agent's own host.
    pub(super) from: Option<Hop>,
    pub(super) to: Hop,
}

/// A host on the way to a destination, known by its host keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// A pattern with `*` and `?`; empty for every user.
    pub(super) user: Vec<u8>,
    pub(super) host: Vec<u8>,
    pub(super) keys: Vec<HopKey>,
}

/// A host key of a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HopKey {
    pub(super) blob: Vec<u8>,
    /// Whether it signs the host's certificates instead of being the host's.
    pub(super) authority: bool,
}

impl Hop {
    /// A host without keys; an agent takes it with at least one.
    #[must_use]
    pub fn new(host: &str) -> Self {
        Self { user: Vec::new(), host: host.into(), keys: Vec::new() }
    }

    /// The host's name.
    #[must_use]
    pub fn host(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.host)
    }

    /// Only for users whose name matches this pattern of `*` and `?`.
    #[must_use]
    pub fn user(mut self, pattern: &str) -> Self {
        self.user = pattern.into();
        self
    }

    /// A host key of the host.
    #[must_use]
    pub fn key(mut self, key: &PublicKey) -> Self {
        self.keys.push(HopKey { blob: key.blob().to_vec(), authority: false });
        self
    }

    /// A key that signs host certificates of the host.
    #[must_use]
    pub fn authority(mut self, key: &PublicKey) -> Self {
        self.keys.push(HopKey { blob: key.blob().to_vec(), authority: true });
        self
    }

    fn parse(spec: &str, keys: &impl Fn(Self) -> Self) -> Self {
        let (user, host) = spec.rsplit_once('@').unwrap_or(("", spec));
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        keys(Self::new(host).user(user))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put(self.user.as_slice()).put(self.host.as_slice()).put("");
        for key in &self.keys {
            out.put(key.blob.as_slice()).put(&key.authority);
        }
        string_of(&out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (user, host, reserved) = (reader.string()?, reader.string()?, reader.string()?);
        if !reserved.is_empty() || user.len() > USER_BYTES {
            return Err(Malformed::Value);
        }
        let mut keys = Vec::new();
        while !reader.is_empty() {
            keys.push(HopKey { blob: reader.string()?.to_vec(), authority: reader.get()? });
        }
        Ok(Self { user: user.to_vec(), host: host.to_vec(), keys })
    }
}

impl Destination {
    /// A host that is reached from the agent's own host.
    #[must_use]
    pub fn new(to: Hop) -> Self {
        Self { from: None, to }
    }

    /// A host that is reached through another, to which the agent is forwarded. The other one needs a
    /// destination of its own.
    #[must_use]
    pub fn through(from: Hop, to: Hop) -> Self {
        Self { from: Some(from), to }
    }

    /// Reads `[user@]host`, or `host>[user@]host`, as `-h` of ssh-add(1) has it. `keys` puts the host keys
    /// of each host into it.
    ///
    /// # Errors
    /// [`AgentError::Destination`] when a host is not named or has no keys, or the first of two has a user.
    pub fn parse(spec: &str, keys: impl Fn(Hop) -> Hop) -> Result<Self, AgentError> {
        let destination = match spec.split_once('>') {
            None => Self::new(Hop::parse(spec, &keys)),
            Some((from, to)) => Self::through(Hop::parse(from, &keys), Hop::parse(to, &keys)),
        };
        destination.check().map_err(|what| AgentError::Destination { spec: spec.to_owned(), what })?;
        Ok(destination)
    }

    /// What agents want of a destination.
    fn check(&self) -> Result<(), &'static str> {
        let named = |hop: &Hop| match hop {
            Hop { host, .. } if host.is_empty() => Err("it names no host"),
            Hop { keys, .. } if keys.is_empty() => Err("no host key of it is known"),
            _ => Ok(()),
        };
        match &self.from {
            Some(from) if !from.user.is_empty() => return Err("the host on the way has no user"),
            Some(from) => named(from)?,
            None => {}
        }
        named(&self.to)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let origin = Hop::new("");
        out.put_raw(&self.from.as_ref().unwrap_or(&origin).encode()).put_raw(&self.to.encode()).put("");
        string_of(&out)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (from, to) = (Hop::decode(reader.string()?)?, Hop::decode(reader.string()?)?);
        if !reader.string()?.is_empty() {
            return Err(Malformed::Value);
        }
        reader.finish()?;
        let this = Self { from: Some(from).filter(|from| *from != Hop::new("")), to };
        this.check().map_err(|_| Malformed::Value)?;
        Ok(this)
    }
}
