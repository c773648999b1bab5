//! The sessions that a connection serves, and what keys with destinations may do on it: OpenSSH's
//! PROTOCOL.agent §1 and §2.

use super::Refusal;
use super::login::Login;
use crate::agent::{Destination, Hop};
use crate::crypto::secret::constant_time_eq;
use crate::key::PublicKey;
use crate::wire::{Malformed, Reader};

/// Sessions of one connection; OpenSSH's figure. As many hosts can be on the way to the last.
const SESSIONS: usize = 16;
/// The longest session id; OpenSSH's figure, twice the longest hash.
const SESSION_BYTES: usize = 128;

/// The sessions, in the order in which they were bound: the way of the agent through its hosts.
#[derive(Default)]
pub(super) struct Bindings {
    list: Vec<Binding>,
    /// Whether any was tried, good or bad: then the client is not on the agent's own host.
    attempted: bool,
}

struct Binding {
    host_key: PublicKey,
    session: Vec<u8>,
    /// Whether the agent is forwarded through it, instead of used to log in.
    forwarded: bool,
}

/// What `session-bind` says.
struct Claim<'a> {
    host_key: &'a [u8],
    session: &'a [u8],
    signature: &'a [u8],
    forwarded: bool,
}

impl<'a> Claim<'a> {
    fn parse(contents: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(contents);
        let (host_key, session, signature) = (reader.string()?, reader.string()?, reader.string()?);
        let forwarded = reader.get()?;
        reader.finish()?;
        Ok(Self { host_key, session, signature, forwarded })
    }
}

impl Bindings {
    /// Notes a session, once the host key's signature proves it.
    pub(super) fn bind(&mut self, contents: &[u8]) -> Result<(), Refusal> {
        self.attempted = true;
        let claim = Claim::parse(contents).map_err(|_| "its fields do not fit together")?;
        if claim.session.len() > SESSION_BYTES {
            return Err("the session's id is too long");
        }
        let host_key = PublicKey::from_blob(claim.host_key).map_err(|_| "the host key cannot be used")?;
        verify(&host_key, &claim)?;
        if self.list.iter().any(|bound| !bound.forwarded) {
            return Err("the connection serves a login already");
        }
        if let Some(bound) = self.list.iter().find(|bound| bound.session == claim.session) {
            return if bound.host_key == host_key { Ok(()) } else { Err("the session has another host key") };
        }
        if self.list.len() >= SESSIONS {
            return Err("too many sessions");
        }
        self.list.push(Binding { host_key, session: claim.session.to_vec(), forwarded: claim.forwarded });
        Ok(())
    }

    /// Whether a key with these destinations may be seen here, or sign for a login of `user`.
    pub(super) fn permit(&self, destinations: &[Destination], user: Option<&[u8]>) -> Result<(), Refusal> {
        if destinations.is_empty() {
            return Ok(());
        }
        let Some((last, before)) = self.list.split_last() else {
            return if self.attempted { Err("its session could not be bound") } else { Ok(()) };
        };
        if before.iter().any(|bound| !bound.forwarded) || (last.forwarded && user.is_some()) {
            return Err("logins are not forwarded, and what is forwarded is no login");
        }
        let any = |from, to, user| destinations.iter().any(|one| allows(one, from, to, user));
        let mut from = None;
        for bound in before {
            if !any(from, Some(&bound.host_key), None) {
                return Err("the key may not go this way");
            }
            from = Some(&bound.host_key);
        }
        if !any(from, Some(&last.host_key), user) {
            return Err("the key is not for this destination");
        }
        // Who is there sees only what is of use from there on.
        if last.forwarded && !any(Some(&last.host_key), None, None) {
            return Err("the key ends here");
        }
        Ok(())
    }

    /// Whether `key`, with these destinations, may sign `data` here: only the login that was bound last.
    pub(super) fn permit_signature(
        &self,
        destinations: &[Destination],
        key: &PublicKey,
        data: &[u8],
    ) -> Result<(), Refusal> {
        let last = self.list.last().ok_or("no session is bound")?;
        let login = Login::parse(data, key).map_err(|_| "what is to be signed is no login")?;
        self.permit(destinations, Some(login.user))?;
        if !constant_time_eq(login.session, &last.session) {
            return Err("the login is of another session");
        }
        match login.host_key {
            None if self.list.len() > 1 => Err("the login of a forwarded agent names no host key"),
            Some(host_key) if host_key != last.host_key.blob() => Err("the login is to another host"),
            _ => Ok(()),
        }
    }
}

/// The signature names its algorithm itself.
fn verify(host_key: &PublicKey, claim: &Claim<'_>) -> Result<(), Refusal> {
    let label = Reader::new(claim.signature).string().unwrap_or_default();
    let mut algorithms = host_key.algorithms().iter();
    let algorithm =
        algorithms.find(|name| name.as_bytes() == label).ok_or("the host key does not sign so")?;
    host_key.verify(algorithm, claim.session, claim.signature).map_err(|_| "the host key has not signed it")
}

/// Whether the way leads from one host to the other. `from`: none is the agent's own host; `to`: none is
/// any host.
fn allows(
    destination: &Destination,
    from: Option<&PublicKey>,
    to: Option<&PublicKey>,
    user: Option<&[u8]>,
) -> bool {
    let from_there = match (&destination.from, from) {
        (None, None) => true,
        (Some(hop), Some(key)) => is_of(key, hop),
        _ => false,
    };
    let pattern = destination.to.user.as_slice();
    from_there
        && to.is_none_or(|key| is_of(key, &destination.to))
        && user.is_none_or(|user| pattern.is_empty() || matches(pattern, user))
}

/// Whether the host has this key. Certificates are not taken for the keys of their authorities.
fn is_of(key: &PublicKey, hop: &Hop) -> bool {
    hop.keys.iter().any(|known| !known.authority && known.blob == key.blob())
}

/// Whether `name` matches a pattern of `*` and `?`, by going through both once for each star.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    // Behind the last star, and the name from where that was last tried.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([], []) => return true,
            ([b'*', after @ ..], _) => {
                star = Some((after, name));
                pattern = after;
            }
            ([wanted, after @ ..], [byte, left @ ..]) if *wanted == b'?' || wanted == byte => {
                (pattern, name) = (after, left);
            }
            _ => match star {
                Some((after, [_, left @ ..])) => {
                    star = Some((after, left));
                    (pattern, name) = (after, left);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, fits) in [
            ("root", "root", true),
            ("root", "Root", false),
            ("root", "roo", false),
            ("r*t", "root", true),
            ("r?t", "root", false),
            ("r??t", "root", true),
            ("*", "", true),
            ("?", "", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("**?", "x", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fits, "{pattern} {name}");
        }
    }
}
