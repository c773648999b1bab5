//! Why agents fail.

use std::fmt;
use std::io;

use crate::key::KeyError;
use crate::wire::Malformed;

/// Why the agent could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentError {
    /// `SSH_AUTH_SOCK` names no agent, and none is where the system has one.
    NotRunning,
    /// The agent could not be reached, or the connection to it failed.
    Io {
        /// The kind of failure.
        kind: io::ErrorKind,
        /// The system's words.
        text: String,
    },
    /// The agent did not answer in time.
    Timeout,
    /// The agent closed the connection instead of answering.
    Closed,
    /// The agent refused: it does not hold the key, its user said no, or it is locked.
    Refused,
    /// The answer is none of the agent protocol.
    Malformed(Malformed),
    /// A request or an answer is longer than the 256 KiB that agents take.
    TooLong {
        /// Its length.
        length: u64,
    },
    /// The agent lists more than 1024 keys.
    TooManyKeys {
        /// As many.
        count: u32,
    },
    /// The agent knows the extension, and it failed.
    ExtensionFailed,
    /// A destination that no agent would take.
    Destination {
        /// As it was said.
        spec: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The key cannot be sent to an agent.
    Key(KeyError),
    /// Somebody else's program connected to our agent.
    Stranger {
        /// The number of its user.
        uid: u32,
    },
    /// Our agent serves as many connections as it may.
    Busy {
        /// As many.
        limit: usize,
    },
    /// What the agent made is no signature of this data by this key and algorithm.
    BadSignature,
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("no agent is running (SSH_AUTH_SOCK is not set)"),
            Self::Io { text, .. } => write!(f, "the agent cannot be reached: {text}"),
            Self::Timeout => f.write_str("the agent did not answer in time"),
            Self::Closed => f.write_str("the agent closed the connection"),
            Self::Refused => f.write_str("the agent refused"),
            Self::Malformed(error) => write!(f, "the agent's answer {error}"),
            Self::TooLong { length } => write!(f, "{length} bytes are more than agents and we exchange"),
            Self::TooManyKeys { count } => write!(f, "the agent lists {count} keys, more than we accept"),
            Self::ExtensionFailed => f.write_str("the agent's extension failed"),
            Self::Destination { spec, what } => write!(f, "destination {spec:?}: {what}"),
            Self::Key(error) => error.fmt(f),
            Self::Stranger { uid } => write!(f, "user {uid} may not use this agent"),
            Self::Busy { limit } => write!(f, "the agent serves {limit} connections already"),
            Self::BadSignature => f.write_str("the agent's signature is wrong"),
        }
    }
}

impl std::error::Error for AgentError {}

impl From<KeyError> for AgentError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<Malformed> for AgentError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<io::Error> for AgentError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            kind => Self::Io { kind, text: error.to_string() },
        }
    }
}
