//! What may be forwarded: lists of places as permitopen and permitlisten of sshd(8) have them, and a set of
//! rules that answers a server's questions as sshd_config(5) would.
//!
//! Pure.

use crate::interface::{DirectAnswer, DirectRequest, ListenAnswer, ListenOptions, ListenRequest};
use crate::pattern::endpoint::{Endpoint, entry, may_open};
use crate::pattern::{Letters, matches};

/// Ports below this are the system's.
const PRIVILEGED: u16 = 1024;

/// Whether a list has somebody listen at `at`. Names are patterns, held against the host in small letters, so that
/// one with a capital is for none, as with OpenSSH; an entry without a name is for every host. UNIX sockets stand
/// in no list; OpenSSH lets those pass whatever the list says.
pub(crate) fn may_listen(list: Option<&[String]>, at: &Endpoint) -> bool {
    let Some(list) = list else { return true };
    let Endpoint::Tcp { host, port } = at else { return false };
    let host = host.to_ascii_lowercase();
    list.iter().filter_map(|text| entry(text)).any(|(allowed, allowed_port)| {
        let allowed = if allowed.is_empty() { "*" } else { allowed };
        matches(allowed.as_bytes(), host.as_bytes(), Letters::Exact)
            && allowed_port.is_none_or(|allowed| allowed == *port)
    })
}

/// Rules that answer what a server asks about forwarding; everything is refused by default.
///
/// ```
/// use feramiko::{DirectAnswer, DirectRequest, ForwardRules, ServerInterface};
/// struct Gate(ForwardRules);
/// impl ServerInterface for Gate {
///     fn check_channel_direct_tcpip_request(&self, request: &DirectRequest) -> DirectAnswer {
///         self.0.direct(request)
///     }
/// }
/// let gate = Gate(ForwardRules::new().allow_direct(true).permit_open(["db.example.org:5432"]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForwardRules {
    direct: bool,
    direct_unix: bool,
    listen: bool,
    listen_unix: bool,
    permit_open: Option<Vec<String>>,
    permit_listen: Option<Vec<String>>,
    options: ListenOptions,
}

impl ForwardRules {
    /// Rules that refuse everything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Rules that allow every kind, on the loopback addresses.
    #[must_use]
    pub fn all() -> Self {
        Self { direct: true, direct_unix: true, listen: true, listen_unix: true, ..Self::default() }
    }

    /// Whether clients may have the server connect to hosts and ports: `AllowTcpForwarding local`.
    #[must_use]
    pub fn allow_direct(mut self, allow: bool) -> Self {
        self.direct = allow;
        self
    }

    /// Whether clients may have the server listen on ports: `AllowTcpForwarding remote`.
    #[must_use]
    pub fn allow_listen(mut self, allow: bool) -> Self {
        self.listen = allow;
        self
    }

    /// Whether clients may have the server connect to UNIX sockets: `AllowStreamLocalForwarding local`.
    #[must_use]
    pub fn allow_direct_unix(mut self, allow: bool) -> Self {
        self.direct_unix = allow;
        self
    }

    /// Whether clients may have the server listen on UNIX sockets: `AllowStreamLocalForwarding remote`.
    #[must_use]
    pub fn allow_listen_unix(mut self, allow: bool) -> Self {
        self.listen_unix = allow;
        self
    }

    /// Where the server may connect to, as `host:port` with an IPv6 address in brackets; `*` for either is
    /// any: `PermitOpen`. As with OpenSSH, a list lets nobody connect to UNIX sockets.
    #[must_use]
    pub fn permit_open<T: Into<String>>(mut self, list: impl IntoIterator<Item = T>) -> Self {
        self.permit_open = Some(list.into_iter().map(Into::into).collect());
        self
    }

    /// Where clients may have the server listen, as `host:port` where the host is a pattern, held against
    /// what the client says: `PermitListen`. It says nothing of UNIX sockets.
    #[must_use]
    pub fn permit_listen<T: Into<String>>(mut self, list: impl IntoIterator<Item = T>) -> Self {
        self.permit_listen = Some(list.into_iter().map(Into::into).collect());
        self
    }

    /// How the server listens.
    #[must_use]
    pub fn listen_options(mut self, options: ListenOptions) -> Self {
        self.options = options;
        self
    }

    /// Whether the list of [`permit_open`](Self::permit_open) lets somebody connect there. It does for
    /// `PermitRemoteOpen` too, which is the same list on a client.
    #[must_use]
    pub fn permits_open(&self, to: &Endpoint) -> bool {
        may_open(self.permit_open.as_deref(), to)
    }

    /// The answer to a client that wants the server to connect.
    pub fn direct(&self, request: &DirectRequest) -> DirectAnswer {
        let allowed = match request.to {
            Endpoint::Tcp { .. } => self.direct && may_open(self.permit_open.as_deref(), &request.to),
            Endpoint::Unix(_) => self.direct_unix && self.permit_open.is_none(),
        };
        if allowed { DirectAnswer::Connect(request.to.clone()) } else { DirectAnswer::Refuse }
    }

    /// The answer to a client that wants the server to listen.
    pub fn listen(&self, request: &ListenRequest) -> ListenAnswer {
        let allowed = match request.at {
            Endpoint::Tcp { .. } => self.listen && may_listen(self.permit_listen.as_deref(), &request.at),
            Endpoint::Unix(_) => self.listen_unix,
        };
        if allowed { ListenAnswer::Listen(self.options.clone()) } else { ListenAnswer::Refuse }
    }
}

/// Whether the options have a server listen on such a port; what the system says comes later.
pub(crate) fn may_bind(at: &Endpoint, options: &ListenOptions) -> bool {
    match at {
        Endpoint::Tcp { port, .. } => *port == 0 || *port >= PRIVILEGED || options.privileged_ports,
        Endpoint::Unix(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn lists_of_places_to_open() {
        let tcp = Endpoint::tcp;
        let allowed = list(&["host:80", "[::1]:*", "2001:db8::7:22", "*:443", "host", "host:", "host:70000"]);
        for (to, expected) in [
            (tcp("host", 80), true),
            (tcp("HOST", 80), false),
            (tcp("host", 81), false),
            (tcp("::1", 9), true),
            (tcp("2001:db8::7", 22), true),
            (tcp("anybody", 443), true),
            (tcp("host", 0), false),
            (Endpoint::unix("host:80"), false),
        ] {
            assert_eq!(may_open(Some(&allowed), &to), expected, "{to}");
            assert!(may_open(None, &to) && !may_open(Some(&[]), &to));
        }
    }

    #[test]
    fn lists_of_places_to_listen() {
        let tcp = Endpoint::tcp;
        let allowed = list(&[":8080", "local*:*", "*.example.org:90", "*.Example.com:90"]);
        for (at, expected) in [
            (tcp("", 8080), true),
            (tcp("0.0.0.0", 8080), true),
            (tcp("", 8081), false),
            (tcp("LOCALHOST", 1), true),
            (tcp("a.Example.org", 90), true),
            (tcp("a.example.com", 90), false),
            (tcp("a.Example.com", 90), false),
            (tcp("example.org", 90), false),
            (Endpoint::unix("/a"), false),
        ] {
            assert_eq!(may_listen(Some(&allowed), &at), expected, "{at}");
            assert!(may_listen(None, &at) && !may_listen(Some(&[]), &at));
        }
    }

    #[test]
    fn privileged_ports_are_for_those_who_may() {
        let usual = ListenOptions::default();
        let open = ListenOptions { privileged_ports: true, ..usual.clone() };
        for (port, expected) in [(0, true), (1, false), (1023, false), (1024, true)] {
            assert_eq!(may_bind(&Endpoint::tcp("", port), &usual), expected);
            assert!(may_bind(&Endpoint::tcp("", port), &open));
        }
    }
}
