//! The keys that an agent holds. Pure: it is told what time it is.

use std::time::Duration;

use zeroize::Zeroizing;

use super::Refusal;
use super::bindings::Bindings;
use super::lock::{Lock, SALT, SECRET, Sealed};
use crate::agent::Destination;
use crate::agent::exchange::FRAME_BYTES;
use crate::key::{PKey, PublicKey};
use crate::wire::Writer;

/// What the list of the keys has besides their blobs and comments: a number and a count, and for each key
/// two lengths.
const LIST_BYTES: usize = 5;
const LISTED_BYTES: usize = 8;

/// A key and what it is held to.
pub(super) struct Entry {
    pub(super) public: PublicKey,
    comment: String,
    held: Held,
    /// By the clock that goes on while the system sleeps.
    expires: Option<Duration>,
    pub(super) confirm: bool,
    pub(super) destinations: Vec<Destination>,
}

/// OpenSSL wipes a key when its last holder lets go of it.
enum Held {
    Open(PKey),
    Sealed(Sealed),
}

impl Entry {
    pub(super) fn new(
        key: PKey,
        expires: Option<Duration>,
        confirm: bool,
        destinations: Vec<Destination>,
    ) -> Self {
        let (public, comment) = (key.public_key().clone(), key.comment().to_owned());
        Self { public, comment, held: Held::Open(key), expires, confirm, destinations }
    }

    pub(super) fn key(&self) -> Result<PKey, Refusal> {
        match &self.held {
            Held::Open(key) => Ok(key.clone()),
            Held::Sealed(_) => Err("the key is sealed"),
        }
    }

    fn is(&self, blob: &[u8]) -> bool {
        self.public.blob() == blob
    }

    /// Its bytes in the list.
    fn listed(&self) -> usize {
        self.public.blob().len().saturating_add(self.comment.len()).saturating_add(LISTED_BYTES)
    }
}

/// The keys in the order in which they came.
pub(super) struct Store {
    entries: Vec<Entry>,
    lock: Option<Lock>,
    max_keys: usize,
}

impl Store {
    pub(super) fn new(max_keys: usize) -> Self {
        Self { entries: Vec::new(), lock: None, max_keys }
    }

    /// Removes the keys whose time has come; when the next one's comes.
    pub(super) fn expire(&mut self, now: Duration) -> Option<Duration> {
        self.entries.retain(|entry| entry.expires.is_none_or(|expires| expires > now));
        self.entries.iter().filter_map(|entry| entry.expires).min()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    pub(super) fn find(&self, blob: &[u8]) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.is(blob))
    }

    /// How many keys this connection may see, and the keys with their comments.
    pub(super) fn list(&self, bindings: &Bindings) -> (u32, Vec<u8>) {
        let (mut count, mut keys) = (0_u32, Vec::new());
        for entry in &self.entries {
            if bindings.permit(&entry.destinations, None).is_ok() {
                count = count.saturating_add(1);
                keys.put(entry.public.blob()).put(entry.comment.as_str());
            }
        }
        (count, keys)
    }

    /// Takes a key in, in the place of the same one if that is held already.
    pub(super) fn add(&mut self, entry: Entry, bindings: &Bindings) -> Result<(), Refusal> {
        let place = self.entries.iter().position(|held| held.is(entry.public.blob()));
        if place.is_none() && self.entries.len() >= self.max_keys {
            return Err("no more keys are held");
        }
        let others = self.entries.iter().enumerate().filter(|(at, _)| Some(*at) != place);
        let listed = others.fold(LIST_BYTES, |sum, (_, held)| sum.saturating_add(held.listed()));
        if listed.saturating_add(entry.listed()) > FRAME_BYTES {
            return Err("the keys could not be listed any more");
        }
        match place.and_then(|place| self.entries.get_mut(place)) {
            Some(held) => {
                bindings.permit(&held.destinations, None)?;
                *held = entry;
            }
            None => self.entries.push(entry),
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, blob: &[u8], bindings: &Bindings) -> Result<(), Refusal> {
        let place = self.entries.iter().position(|entry| entry.is(blob)).ok_or("the key is not held")?;
        let entry = self.entries.get(place).ok_or("the key is not held")?;
        bindings.permit(&entry.destinations, None)?;
        self.entries.remove(place);
        Ok(())
    }

    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// What the passphrase of the lock was mixed with.
    pub(super) fn salt(&self) -> Option<[u8; SALT]> {
        self.lock.as_ref().map(Lock::salt)
    }

    /// Seals every key under a secret that is not kept. All or none: the keys are let go at the end.
    pub(super) fn lock(&mut self, salt: [u8; SALT], secret: &Zeroizing<[u8; SECRET]>) -> Result<(), Refusal> {
        let mut lock = Lock::new(salt, secret)?;
        let seal = |entry: &Entry| match &entry.held {
            // Nothing of a key that is held elsewhere is here.
            Held::Open(key) if key.is_external() => Ok(Held::Open(key.clone())),
            Held::Open(key) => lock.seal(key, secret).map(Held::Sealed),
            Held::Sealed(_) => Err("the agent is locked"),
        };
        let sealed = self.entries.iter().map(seal).collect::<Result<Vec<_>, _>>()?;
        for (entry, sealed) in self.entries.iter_mut().zip(sealed) {
            entry.held = sealed;
        }
        self.lock = Some(lock);
        Ok(())
    }

    /// Opens every key again; false for a wrong secret.
    pub(super) fn unlock(&mut self, secret: &Zeroizing<[u8; SECRET]>) -> Result<bool, Refusal> {
        let lock = self.lock.as_ref().ok_or("the agent is not locked")?;
        if !lock.fits(secret)? {
            return Ok(false);
        }
        let open = |entry: &Entry| match &entry.held {
            Held::Sealed(sealed) => sealed.open(secret).map(Held::Open),
            Held::Open(key) => Ok(Held::Open(key.clone())),
        };
        let opened = self.entries.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        for (entry, opened) in self.entries.iter_mut().zip(opened) {
            entry.held = opened;
        }
        self.lock = None;
        Ok(true)
    }
}
