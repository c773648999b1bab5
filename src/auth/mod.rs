//! User authentication: RFC 4252, keyboard-interactive (RFC 4256), signatures of RFC 8332.
//!
//! Pure machines, one a side: what to send, what to ask the application, when it is over.

mod client;
mod hostbased;
mod lists;
mod method;
mod own;
mod permissions;
mod server;

use std::fmt;

use crate::key::KeyError;
use crate::wire::Malformed;

pub(crate) use client::{Attempt, AuthClient, ClientAction, ClientLimits, service_request};
pub(crate) use hostbased::HostClaim;
pub use hostbased::HostbasedClient;
pub use lists::AuthenticationMethods;
pub use method::{AuthAnswer, AuthInfo, InteractiveAnswer, InteractiveQuery, Prompt};
pub(crate) use own::METHOD_NUMBERS;
pub use own::{MethodAnswer, MethodLogin, MethodMessage};
pub use permissions::Permissions;
pub(crate) use server::{AuthServer, Question, ServerAction, ServerLimits};

#[cfg(test)]
mod tests;

/// Why authentication cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// A message could not be read.
    Malformed(Malformed),
    /// A message that may not come now.
    Unexpected(u8),
    /// More of something than is accepted.
    TooMany(&'static str),
    /// A service that nobody offers.
    Service(String),
    /// A key failed.
    Key(KeyError),
}

impl fmt::Display for AuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "an authentication message {error}"),
            Self::Unexpected(number) => write!(f, "message {number} out of order in authentication"),
            Self::TooMany(what) => write!(f, "too many {what} in authentication"),
            Self::Service(name) => write!(f, "service {name} is not available"),
            Self::Key(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AuthError {}

impl From<Malformed> for AuthError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<KeyError> for AuthError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}
