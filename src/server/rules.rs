//! What holds for one connection and not for all: limits, signs of life, and how long channels may be idle.
//! ClientAliveInterval, ChannelTimeout and UnusedConnectionTimeout of sshd_config(5).
//!
//! Idle channels are looked for on the thread that serves the connection.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::engine::{Limits, Link};
use crate::pattern::{Letters, matches};
use crate::sys::traffic::TrafficClasses;

/// What one connection is held to. [`ServerInterface::connection_rules`] may change what the server has for
/// all as soon as the client has named a user.
///
/// [`ServerInterface::connection_rules`]: crate::ServerInterface::connection_rules
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ConnectionRules {
    /// What the client may use. What was needed before the user was known, and what concerns a listener, does
    /// not change any more.
    pub limits: Limits,
    /// The client is asked for a sign of life after so long a silence; when so many stay unanswered the
    /// connection ends.
    pub keepalive: Option<(Duration, u32)>,
    /// How our packets ask to be treated on their way.
    pub traffic: TrafficClasses,
    /// How long channels may be idle.
    pub channel_timeouts: ChannelTimeouts,
    /// The connection ends when it has had no channel for so long.
    pub unused_timeout: Option<Duration>,
    /// The signature algorithms that the user's keys may use, if not those that the server has for all.
    pub public_keys: Option<Vec<&'static str>>,
    /// The same for the keys of hosts that say who their user is.
    pub host_keys: Option<Vec<&'static str>>,
    /// The signature algorithms by which authorities may have signed certificates, if not those that the
    /// server has for all.
    pub ca_signatures: Option<Vec<&'static str>>,
    /// Lists of keys by which this user is not let in, besides those that the server has for all
    /// ([`SSHServerBuilder::revoked_keys`](crate::SSHServerBuilder::revoked_keys)).
    pub revoked_keys: Vec<PathBuf>,
}

/// How long channels on which nothing comes or goes are kept, by their kinds. The names are those of
/// sshd_config(5), "ChannelTimeout": `session:shell`, `session:command`, `session:subsystem:sftp`,
/// `direct-tcpip`, `agent-connection`, …; `*` and `?` match.
///
/// ```
/// use std::time::Duration;
/// let hour = Duration::from_secs(3600);
/// let timeouts = feramiko::ChannelTimeouts::default().add("session:*", Some(hour));
/// assert_eq!(timeouts.of("session:shell"), Some(hour));
/// assert_eq!(timeouts.of("direct-tcpip"), None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelTimeouts(Vec<(String, Option<Duration>)>);

impl ChannelTimeouts {
    /// Channels of this kind have that long; none: for ever. Of several patterns that match, the first
    /// counts.
    #[must_use]
    pub fn add(mut self, kind: &str, timeout: Option<Duration>) -> Self {
        self.0.push((kind.to_owned(), timeout.filter(|timeout| !timeout.is_zero())));
        self
    }

    /// How long a channel of this kind may be idle.
    #[must_use]
    pub fn of(&self, kind: &str) -> Option<Duration> {
        let fits = |(pattern, _): &&(String, _)| matches(pattern.as_bytes(), kind.as_bytes(), Letters::Exact);
        self.0.iter().find(fits).and_then(|(_, timeout)| *timeout)
    }
}

/// What sshd_config(5) calls channels that have another name on the wire.
const NAMES: [(&str, &str); 3] = [
    ("auth-agent@openssh.com", "agent-connection"),
    ("agent-connect", "agent-connection"),
    ("x11", "x11-connection"),
];

/// What a channel is called in a rule.
fn name(wire: &str) -> &str {
    NAMES.iter().find(|(known, _)| *known == wire).map_or(wire, |(_, name)| name)
}

/// Watches the channels of one connection.
#[derive(Debug)]
pub(super) struct Idle {
    timeouts: ChannelTimeouts,
    unused: Option<Duration>,
    /// What sessions run, by the numbers of their channels.
    sessions: HashMap<u32, String>,
    /// When somebody was authenticated.
    begun: Instant,
}

/// What the time has brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Something is to be looked at then, if nothing comes before.
    Later(Option<Instant>),
    /// The connection has been without channels for too long.
    Unused,
}

impl Idle {
    pub(super) fn new(rules: &ConnectionRules) -> Self {
        Self {
            timeouts: rules.channel_timeouts.clone(),
            unused: rules.unused_timeout,
            sessions: HashMap::new(),
            begun: Instant::now(),
        }
    }

    /// A session runs something from now on.
    pub(super) fn runs(&mut self, id: u32, what: String) {
        if !self.timeouts.0.is_empty() {
            self.sessions.insert(id, what);
        }
    }

    /// Closes the channels that were idle for too long; when to look again.
    pub(super) fn look(&mut self, link: &Link) -> Due {
        if self.timeouts.0.is_empty() && self.unused.is_none() {
            return Due::Later(None);
        }
        let now = Instant::now();
        let slots = link.channels();
        self.sessions.retain(|id, _| slots.iter().any(|slot| slot.id() == *id));
        let mut next: Option<Instant> = None;
        let mut sooner = |due: Option<Instant>| next = [next, due].into_iter().flatten().min();
        for slot in slots.iter().filter(|slot| !slot.is_closed()) {
            let kind = self.sessions.get(&slot.id()).map_or_else(|| name(&slot.kind), String::as_str);
            let Some(timeout) = self.timeouts.of(kind) else { continue };
            match slot.used(now).checked_add(timeout) {
                Some(due) if due <= now => {
                    log::info!(target: "feramiko::server", "{link:?}: channel {} ({kind}) was idle for {timeout:?}: closed", slot.id());
                    link.close_channel(slot);
                }
                due => sooner(due),
            }
        }
        let Some(unused) = self.unused else { return Due::Later(next) };
        let since = if slots.is_empty() { link.without_channels_since().unwrap_or(self.begun) } else { now };
        match since.checked_add(unused) {
            Some(due) if due <= now => return Due::Unused,
            due => sooner(due),
        }
        Due::Later(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_names_a_channel_counts() {
        let second = Duration::from_secs(1);
        let rules = ChannelTimeouts::default()
            .add("session:subsystem:sftp", Some(Duration::ZERO))
            .add("session:*", Some(second))
            .add("*-connection", Some(second * 2));
        for (wire, timeout) in [
            ("session:shell", Some(second)),
            // None at all, and not one that is over at once.
            ("session:subsystem:sftp", None),
            ("x11", Some(second * 2)),
            ("auth-agent@openssh.com", Some(second * 2)),
            ("direct-tcpip", None),
        ] {
            assert_eq!(rules.of(name(wire)), timeout, "{wire}");
        }
    }
}
