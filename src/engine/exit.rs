//! How a command ended: RFC 4254 §6.10.

use std::fmt;

/// How a remote command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitStatus {
    /// It returned this code; 0 is success.
    Code(u32),
    /// A signal ended it.
    Signal {
        /// The signal's name without `SIG`: `KILL`, `TERM`, …
        name: String,
        /// Whether it left a core file.
        core_dumped: bool,
        /// What the server says about it.
        message: String,
    },
    /// The channel was closed without either: the connection broke, or the server does not tell.
    /// Never a success.
    Missing,
}

impl ExitStatus {
    /// Whether the command returned 0.
    #[must_use]
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// The code the command returned, if it returned.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Code(code) => Some(*code),
            _ => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal { name, core_dumped, .. } => {
                write!(f, "killed by signal {name}{}", if *core_dumped { " (core dumped)" } else { "" })
            }
            Self::Missing => f.write_str("no exit status: the channel was closed before the server sent one"),
        }
    }
}
