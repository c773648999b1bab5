//! The one error above the waist, grouped by who is to blame.

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::agent::AgentError;
use crate::auth::AuthError;
use crate::config::ConfigError;
use crate::crypto::CryptoError;
use crate::engine::ExitStatus;
use crate::hostkeys::HostKeysError;
use crate::kex::KexError;
use crate::key::{KeyError, PublicKey};
use crate::packet::{IdentError, PacketError};
use crate::scp::SCPError;
use crate::sftp::SFTPError;
use crate::wire::Malformed;

/// What this library's fallible calls return.
pub type Result<T> = std::result::Result<T, Error>;

/// The step of a connection that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the host's addresses.
    Resolve,
    /// Reaching the host.
    Connect,
    /// Version strings and the first key exchange.
    Handshake,
    /// Authentication.
    Auth,
    /// Opening a channel.
    Open,
    /// A request on a channel or the connection.
    Request,
    /// Reading from a channel.
    Read,
    /// Writing to a channel.
    Write,
    /// Waiting for a command's end.
    Exit,
    /// A later key exchange.
    Rekey,
    /// The peer did not answer keepalives.
    Keepalive,
    /// Waiting for what the peer opens or asks.
    Accept,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the host",
            Self::Connect => "connecting",
            Self::Handshake => "the handshake",
            Self::Auth => "authentication",
            Self::Open => "opening a channel",
            Self::Request => "a request",
            Self::Read => "reading",
            Self::Write => "writing",
            Self::Exit => "waiting for the command's end",
            Self::Rekey => "the exchange of new keys",
            Self::Keepalive => "waiting for an answer to keepalives",
            Self::Accept => "waiting for the peer to open something",
        })
    }
}

/// One attempt to authenticate, as the error lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthAttempt {
    /// The method's name on the wire: `publickey`, `password`, …
    pub method: String,
    /// The fingerprint of the key that was offered, if one was.
    pub key: Option<String>,
    /// What came of it, in the words of the server or of whoever could not try it.
    pub outcome: String,
    /// The methods that the server still accepts.
    pub remaining: Vec<String>,
}

/// Everything that can go wrong above single packets, keys and files.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The system or the network failed.
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A deadline passed.
    Timeout(Phase),
    /// Another thread cancelled the call, or whoever was asked whether to go on.
    Cancelled,
    /// The peer broke a rule; the connection was ended with `code` (RFC 4253 §11.1).
    Protocol {
        /// The disconnect code that was sent.
        code: u32,
        /// The rule.
        text: String,
    },
    /// Something exceeded one of [`Limits`](crate::Limits).
    Limit {
        /// The limit's name.
        which: &'static str,
        /// Its value.
        limit: u64,
    },
    /// The peer ended the connection and said why.
    Disconnected {
        /// The code of RFC 4253 §11.1.
        code: u32,
        /// The peer's words, escaped.
        text: String,
    },
    /// Both sides have nothing in common for one part of the key exchange.
    NoCommon {
        /// `key exchange`, `host key`, `cipher`, …
        what: &'static str,
        /// What we offered.
        ours: Vec<String>,
        /// What the peer offered.
        theirs: Vec<String>,
    },
    /// The host could not be trusted.
    HostKey {
        /// The host as it was asked for.
        host: String,
        /// The key it showed.
        key: Box<PublicKey>,
        /// Why that was not good enough, and what to do.
        text: String,
    },
    /// Nobody was authenticated; every attempt is listed.
    Auth {
        /// The user.
        user: String,
        /// What was tried, in order.
        attempts: Vec<AuthAttempt>,
    },
    /// A key could not be read or used.
    Key(KeyError),
    /// The known_hosts file could not be read or written.
    HostKeys(HostKeysError),
    /// The configuration of a host could not be used.
    Config(ConfigError),
    /// The peer refused to open a channel.
    ChannelRefused {
        /// The code of RFC 4254 §5.1.
        code: u32,
        /// The peer's words, escaped.
        text: String,
    },
    /// The master of a shared connection refused.
    MasterRefused {
        /// What it was asked for.
        what: &'static str,
        /// Its words, escaped.
        reason: String,
    },
    /// The peer refused a request.
    RequestRefused(String),
    /// A command did not end with exit status 0.
    Exit(ExitStatus),
    /// A proxy did not lead to the host.
    Proxy {
        /// The proxy as it was named.
        proxy: String,
        /// What it did, its own words escaped.
        text: String,
    },
    /// A host on the way to the host could not be reached or passed, or the connection to it ended.
    Jump {
        /// The jump host as it was named.
        host: String,
        /// What went wrong there.
        source: Arc<Self>,
    },
    /// The agent could not be used.
    Agent(AgentError),
    /// An SFTP server refused an operation.
    Sftp(SFTPError),
    /// Some of a copy by SCP failed.
    Scp(SCPError),
    /// Something that is not built, or not on this system.
    Unsupported(String),
    /// The connection or channel is closed; why it was, if there was a reason.
    Closed(Option<Arc<Self>>),
    /// The call could never return where it was made.
    WouldDeadlock(&'static str),
    /// The caller used the library wrongly.
    Misuse(&'static str),
    /// A primitive failed.
    Crypto(CryptoError),
}

/// Disconnect codes of RFC 4253 §11.1 that we send.
pub(crate) mod reason {
    pub(crate) const PROTOCOL_ERROR: u32 = 2;
    pub(crate) const KEY_EXCHANGE_FAILED: u32 = 3;
    pub(crate) const MAC_ERROR: u32 = 5;
    pub(crate) const COMPRESSION_ERROR: u32 = 6;
    pub(crate) const VERSION_NOT_SUPPORTED: u32 = 8;
    pub(crate) const HOST_KEY_NOT_VERIFIABLE: u32 = 9;
    pub(crate) const CONNECTION_LOST: u32 = 10;
    pub(crate) const BY_APPLICATION: u32 = 11;
    pub(crate) const NO_MORE_AUTH_METHODS: u32 = 14;
}

impl Error {
    /// An error of the system while `doing` something.
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source: Arc::new(source) }
    }

    /// What std would call it.
    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { source, .. } => source.kind(),
            Self::Timeout(_) => io::ErrorKind::TimedOut,
            // Whoever reads or writes by std's ways would try anew what is Interrupted, for ever.
            Self::Cancelled => io::ErrorKind::Other,
            Self::Protocol { .. } | Self::Limit { .. } => io::ErrorKind::InvalidData,
            Self::Disconnected { .. } => io::ErrorKind::ConnectionReset,
            Self::HostKey { .. } | Self::Auth { .. } => io::ErrorKind::PermissionDenied,
            Self::ChannelRefused { .. }
            | Self::RequestRefused(_)
            | Self::MasterRefused { .. }
            | Self::Proxy { .. } => io::ErrorKind::ConnectionRefused,
            Self::Jump { source, .. } => source.kind(),
            Self::Sftp(error) => error.status.kind(),
            Self::Scp(error) => error.kind(),
            Self::Unsupported(_) => io::ErrorKind::Unsupported,
            Self::Closed(_) => io::ErrorKind::BrokenPipe,
            Self::WouldDeadlock(_) => io::ErrorKind::Deadlock,
            Self::Misuse(_) => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        }
    }

    /// The peer broke `rule`.
    pub(crate) fn protocol(rule: impl Into<String>) -> Self {
        Self::Protocol { code: reason::PROTOCOL_ERROR, text: rule.into() }
    }

    /// The disconnect code to send when the connection dies of this; none when the peer is gone or
    /// has said goodbye itself.
    pub(crate) fn disconnect_code(&self) -> Option<u32> {
        match self {
            Self::Protocol { code, .. } => Some(*code),
            Self::Limit { .. } => Some(reason::PROTOCOL_ERROR),
            Self::NoCommon { .. } => Some(reason::KEY_EXCHANGE_FAILED),
            Self::HostKey { .. } => Some(reason::HOST_KEY_NOT_VERIFIABLE),
            Self::Auth { .. } => Some(reason::NO_MORE_AUTH_METHODS),
            Self::Timeout(Phase::Keepalive) => Some(reason::CONNECTION_LOST),
            Self::Io { .. } | Self::Disconnected { .. } => None,
            _ => Some(reason::BY_APPLICATION),
        }
    }

    /// The text of the DISCONNECT that tells the peer. Says nothing that the peer need not know.
    pub(crate) fn disconnect_text(&self) -> String {
        match self {
            Self::Protocol { text, .. } => text.clone(),
            Self::Limit { which, .. } => format!("limit exceeded: {which}"),
            Self::NoCommon { what, .. } => format!("no common {what}"),
            Self::Timeout(_) => "timeout".to_owned(),
            Self::HostKey { .. } => "host key not accepted".to_owned(),
            _ => "closed".to_owned(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
            Self::Timeout(phase) => write!(f, "timed out during {phase}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Protocol { text, .. } => write!(f, "the peer broke the protocol: {text}"),
            Self::Limit { which, limit } => write!(f, "limit {which} ({limit}) exceeded"),
            Self::Disconnected { code, text } => write!(f, "the peer disconnected (code {code}): {text}"),
            Self::NoCommon { what, ours, theirs } => write!(
                f,
                "no {what} algorithm in common: we offer {}, the peer offers {}; name one of the peer's to allow it",
                ours.join(","),
                theirs.join(",")
            ),
            Self::HostKey { host, key, text } => {
                write!(f, "host key of {host} ({} {}): {text}", key.key_type(), key.fingerprint())
            }
            Self::Auth { user, attempts } => {
                write!(f, "authentication of user {user} failed")?;
                for attempt in attempts {
                    write!(f, "; {}", attempt.method)?;
                    if let Some(key) = &attempt.key {
                        write!(f, " {key}")?;
                    }
                    write!(f, ": {}", attempt.outcome)?;
                }
                match attempts.last() {
                    Some(last) if !last.remaining.is_empty() => {
                        write!(f, "; the server accepts {}", last.remaining.join(","))
                    }
                    Some(_) => Ok(()),
                    None => f.write_str(": nothing to try: no key, no agent, no password"),
                }
            }
            Self::Key(error) => error.fmt(f),
            Self::HostKeys(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::ChannelRefused { code, text } => {
                write!(f, "the peer refused to open the channel (code {code}): {text}")
            }
            Self::MasterRefused { what, reason } => {
                write!(f, "the master of the connection refused {what}: {reason}")
            }
            Self::RequestRefused(what) => write!(f, "the peer refused the request {what}"),
            Self::Exit(status) => write!(f, "the command failed: {status}"),
            Self::Proxy { proxy, text } => write!(f, "proxy {proxy}: {text}"),
            Self::Jump { host, source } => write!(f, "jump host {host}: {source}"),
            Self::Agent(error) => error.fmt(f),
            Self::Sftp(error) => error.fmt(f),
            Self::Scp(error) => error.fmt(f),
            Self::Unsupported(what) => write!(f, "not supported: {what}"),
            Self::Closed(None) => f.write_str("closed"),
            Self::Closed(Some(cause)) => write!(f, "closed: {cause}"),
            Self::WouldDeadlock(what) => write!(f, "would wait for ever: {what}"),
            Self::Misuse(what) => f.write_str(what),
            Self::Crypto(error) => write!(f, "cryptography failed: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(&**source),
            Self::Key(error) => Some(error),
            Self::HostKeys(error) => Some(error),
            Self::Config(error) => Some(error),
            Self::Agent(error) => Some(error),
            Self::Sftp(error) => Some(error),
            Self::Scp(error) => Some(error),
            Self::Crypto(error) => Some(error),
            Self::Closed(Some(cause)) | Self::Jump { source: cause, .. } => Some(&**cause),
            _ => None,
        }
    }
}

/// Picks the honest kind and keeps the error as source.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::protocol(format!("a packet {malformed}"))
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<HostKeysError> for Error {
    fn from(error: HostKeysError) -> Self {
        Self::HostKeys(error)
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<AgentError> for Error {
    fn from(error: AgentError) -> Self {
        Self::Agent(error)
    }
}

impl From<SFTPError> for Error {
    fn from(error: SFTPError) -> Self {
        Self::Sftp(error)
    }
}

impl From<CryptoError> for Error {
    fn from(error: CryptoError) -> Self {
        Self::Crypto(error)
    }
}

/// A packet that could not be opened. A bad length and a bad tag look the same from outside.
impl From<PacketError> for Error {
    fn from(error: PacketError) -> Self {
        let code = match error {
            PacketError::BadMac => reason::MAC_ERROR,
            PacketError::Compress | PacketError::Decompress | PacketError::InflatedTooLong => {
                reason::COMPRESSION_ERROR
            }
            _ => reason::PROTOCOL_ERROR,
        };
        Self::Protocol { code, text: error.to_string() }
    }
}

impl From<KexError> for Error {
    fn from(error: KexError) -> Self {
        match error {
            KexError::NoCommon { what, ours, theirs } => Self::NoCommon { what, ours, theirs },
            KexError::Unexpected(_) => Self::protocol(error.to_string()),
            other => Self::Protocol { code: reason::KEY_EXCHANGE_FAILED, text: other.to_string() },
        }
    }
}

impl From<IdentError> for Error {
    fn from(error: IdentError) -> Self {
        match error {
            IdentError::Ours(why) => Self::Misuse(why),
            error => Self::Protocol { code: reason::VERSION_NOT_SUPPORTED, text: error.to_string() },
        }
    }
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        Self::protocol(error.to_string())
    }
}
