//! The table of message numbers: a name for logs, and in which phase, from which side a message
//! may come. What is not in the table is answered with UNIMPLEMENTED after authentication and is
//! fatal before.

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the first NEWKEYS: the initial key exchange.
    Initial,
    /// Encrypted, nobody authenticated.
    Auth,
    /// Authenticated.
    Open,
}

/// Which side sends a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Server,
    Both,
}

/// One message number.
#[derive(Debug)]
pub(crate) struct Number {
    pub(crate) number: u8,
    pub(crate) name: &'static str,
    /// The phases in which it may come: initial, auth, open.
    phases: [bool; 3],
    from: From,
}

impl Number {
    /// Whether the message may come from that side in that phase.
    pub(crate) fn allowed(&self, phase: Phase, sent_by_client: bool) -> bool {
        let [initial, auth, open] = self.phases;
        let phase_fits = match phase {
            Phase::Initial => initial,
            Phase::Auth => auth,
            Phase::Open => open,
        };
        let side_fits = match self.from {
            From::Both => true,
            From::Client => sent_by_client,
            From::Server => !sent_by_client,
        };
        phase_fits && side_fits
    }
}

/// The row of `number`, if SSH knows it.
pub(crate) fn lookup(number: u8) -> Option<&'static Number> {
    NUMBERS.binary_search_by_key(&number, |row| row.number).ok().and_then(|at| NUMBERS.get(at))
}

/// The name of `number` for logs.
pub(crate) fn name(number: u8) -> &'static str {
    lookup(number).map_or("unknown message", |row| row.name)
}

const ALWAYS: [bool; 3] = [true, true, true];
const ENCRYPTED: [bool; 3] = [false, true, true];
const AUTH: [bool; 3] = [false, true, false];
/// A client may send authentication requests that cross our USERAUTH_SUCCESS; RFC 4252 §5.3 has
/// them silently ignored.
const AUTH_AND_LATE: [bool; 3] = [false, true, true];
const OPEN: [bool; 3] = [false, false, true];

const fn row(number: u8, name: &'static str, phases: [bool; 3], from: From) -> Number {
    Number { number, name, phases, from }
}

/// In order of the number.
static NUMBERS: &[Number] = &[
    row(1, "DISCONNECT", ALWAYS, From::Both),
    row(2, "IGNORE", ALWAYS, From::Both),
    row(3, "UNIMPLEMENTED", ALWAYS, From::Both),
    row(4, "DEBUG", ALWAYS, From::Both),
    row(5, "SERVICE_REQUEST", AUTH, From::Client),
    row(6, "SERVICE_ACCEPT", AUTH, From::Server),
    row(7, "EXT_INFO", AUTH, From::Both),
    row(20, "KEXINIT", ALWAYS, From::Both),
    row(21, "NEWKEYS", ALWAYS, From::Both),
    row(30, "KEX_30", ALWAYS, From::Client),
    row(31, "KEX_31", ALWAYS, From::Server),
    row(32, "KEX_32", ALWAYS, From::Client),
    row(33, "KEX_33", ALWAYS, From::Server),
    row(34, "KEX_34", ALWAYS, From::Client),
    row(50, "USERAUTH_REQUEST", AUTH_AND_LATE, From::Client),
    row(51, "USERAUTH_FAILURE", AUTH, From::Server),
    row(52, "USERAUTH_SUCCESS", AUTH, From::Server),
    row(53, "USERAUTH_BANNER", AUTH, From::Server),
    row(60, "USERAUTH_60", AUTH, From::Server),
    row(61, "USERAUTH_61", AUTH_AND_LATE, From::Client),
    row(80, "GLOBAL_REQUEST", OPEN, From::Both),
    row(81, "REQUEST_SUCCESS", OPEN, From::Both),
    row(82, "REQUEST_FAILURE", OPEN, From::Both),
    row(90, "CHANNEL_OPEN", OPEN, From::Both),
    row(91, "CHANNEL_OPEN_CONFIRMATION", OPEN, From::Both),
    row(92, "CHANNEL_OPEN_FAILURE", OPEN, From::Both),
    row(93, "CHANNEL_WINDOW_ADJUST", OPEN, From::Both),
    row(94, "CHANNEL_DATA", OPEN, From::Both),
    row(95, "CHANNEL_EXTENDED_DATA", OPEN, From::Both),
    row(96, "CHANNEL_EOF", OPEN, From::Both),
    row(97, "CHANNEL_CLOSE", OPEN, From::Both),
    row(98, "CHANNEL_REQUEST", OPEN, From::Both),
    row(99, "CHANNEL_SUCCESS", OPEN, From::Both),
    row(100, "CHANNEL_FAILURE", OPEN, From::Both),
    row(192, "PING", ENCRYPTED, From::Both),
    row(193, "PONG", ENCRYPTED, From::Both),
];
