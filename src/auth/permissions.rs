//! What a key lets its user do: the options of authorized_keys lines and certificates, sshd(8),
//! "AUTHORIZED_KEYS FILE FORMAT", and OpenSSH's PROTOCOL.certkeys.

use crate::key::Certificate;

/// What an authenticated user may do. Everything unless somebody restricted it; whoever serves enforces
/// it, whatever the application answers later.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Permissions {
    /// A terminal.
    pub pty: bool,
    /// Forwarded ports, from here and from there.
    pub port_forwarding: bool,
    /// A forwarded agent.
    pub agent_forwarding: bool,
    /// Forwarded X11.
    pub x11_forwarding: bool,
    /// The user's `~/.ssh/rc`.
    pub user_rc: bool,
    /// The command that is run whatever the user asks for.
    pub command: Option<Vec<u8>>,
    /// Variables for the environment of whatever is run.
    pub environment: Vec<(String, String)>,
    /// Where forwarded connections may go, as `host:port`; none: anywhere.
    pub permit_open: Option<Vec<String>>,
    /// Where the user may have us listen, as `host:port`; none: anywhere.
    pub permit_listen: Option<Vec<String>>,
    /// The one tunnel device that may be used; none: any.
    pub tunnel: Option<String>,
    /// A security token must have been touched.
    pub touch_required: bool,
    /// A security token must have known who used it.
    pub verify_required: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            pty: true,
            port_forwarding: true,
            agent_forwarding: true,
            x11_forwarding: true,
            user_rc: true,
            command: None,
            environment: Vec::new(),
            permit_open: None,
            permit_listen: None,
            tunnel: None,
            touch_required: true,
            verify_required: false,
        }
    }
}

impl Permissions {
    /// Nothing but to run something: the option `restrict`.
    #[must_use]
    pub fn restricted() -> Self {
        Self {
            pty: false,
            port_forwarding: false,
            agent_forwarding: false,
            x11_forwarding: false,
            user_rc: false,
            ..Self::default()
        }
    }

    /// What a certificate says; it has been checked.
    #[must_use]
    pub fn of_certificate(certificate: &Certificate) -> Self {
        let has = |name| certificate.has_extension(name);
        Self {
            pty: has("permit-pty"),
            port_forwarding: has("permit-port-forwarding"),
            agent_forwarding: has("permit-agent-forwarding"),
            x11_forwarding: has("permit-X11-forwarding"),
            user_rc: has("permit-user-rc"),
            command: certificate.force_command().map(<[u8]>::to_vec),
            touch_required: !has("no-touch-required"),
            verify_required: certificate.verify_required(),
            ..Self::default()
        }
    }

    /// Takes away what `other` does not allow; none when both force a command and not the same.
    #[must_use]
    pub fn and(self, other: Self) -> Option<Self> {
        let command = match (self.command, other.command) {
            (Some(one), Some(two)) if one != two => return None,
            (one, two) => one.or(two),
        };
        let tunnel = match (self.tunnel, other.tunnel) {
            (Some(one), Some(two)) if one != two => return None,
            (one, two) => one.or(two),
        };
        let mut environment = self.environment;
        environment.extend(other.environment);
        Some(Self {
            pty: self.pty && other.pty,
            port_forwarding: self.port_forwarding && other.port_forwarding,
            agent_forwarding: self.agent_forwarding && other.agent_forwarding,
            x11_forwarding: self.x11_forwarding && other.x11_forwarding,
            user_rc: self.user_rc && other.user_rc,
            command,
            environment,
            permit_open: both(self.permit_open, other.permit_open),
            permit_listen: both(self.permit_listen, other.permit_listen),
            tunnel,
            touch_required: self.touch_required || other.touch_required,
            verify_required: self.verify_required || other.verify_required,
        })
    }
}

/// What stands in both lists; no list allows everything.
fn both(one: Option<Vec<String>>, two: Option<Vec<String>>) -> Option<Vec<String>> {
    match (one, two) {
        (Some(one), Some(two)) => Some(one.into_iter().filter(|entry| two.contains(entry)).collect()),
        (one, two) => one.or(two),
    }
}
