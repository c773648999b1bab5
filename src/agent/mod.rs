//! The agent that holds a user's keys: RFC 9987, the client's side.
//!
//! Runs on the threads of its callers. Agents may be hostile, above all forwarded ones: every answer is
//! bounded in length and time and checked, signatures too. Knows nothing of authentication.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod endpoint;
mod error;
mod exchange;
mod key;
mod message;
#[cfg(all(test, unix))]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::key::PublicKey;
use crate::wire::{Encode, Escaped, Reader};
use endpoint::{Connection, Endpoint};
use exchange::{Patience, exchange};
use message::{FAILURES, FLAGS, IdentitiesAnswer, RequestIdentities, SignRequest, SignResponse};

pub use error::AgentError;
pub use key::AgentKey;

/// Keys that an agent may list; servers hang up long before so many were tried.
const KEYS: u32 = 1024;
/// Time for an answer that needs no person.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a signature: a person may have to confirm it or to touch a token. No server waits longer,
/// OpenSSH's LoginGraceTime being 120 seconds.
const SIGN_TIMEOUT: Duration = Duration::from_secs(120);

/// An agent that holds keys and signs with them. Clones share its connection.
///
/// ```no_run
/// use feramiko::Agent;
///
/// for key in Agent::from_env()?.keys()? {
///     println!("{} {}", key.public_key().fingerprint(), key.comment());
/// }
/// # Ok::<(), feramiko::AgentError>(())
/// ```
#[derive(Clone)]
pub struct Agent {
    shared: Arc<Shared>,
    answer_timeout: Duration,
    sign_timeout: Duration,
}

struct Shared {
    endpoint: Box<dyn Endpoint>,
    /// A connection on which no answer is due. Whoever asks takes it, or makes one if another thread
    /// has it, and brings it back: nobody waits for another's answer, and no lock is held meanwhile.
    idle: Mutex<Option<Box<dyn Connection>>>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agent({:?})", self.shared.endpoint)
    }
}

impl Agent {
    /// The agent that the environment variable `SSH_AUTH_SOCK` names.
    ///
    /// # Errors
    /// [`AgentError::NotRunning`] when it is not set, [`AgentError::Io`] when the agent cannot be reached.
    pub fn from_env() -> Result<Self, AgentError> {
        let path = std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        Self::connect(path.ok_or(AgentError::NotRunning)?)
    }

    /// The agent that listens on a UNIX socket.
    ///
    /// # Errors
    /// [`AgentError::Io`] when it cannot be reached.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, AgentError> {
        Self::at(endpoint::at(path.as_ref()))
    }

    fn at(endpoint: Box<dyn Endpoint>) -> Result<Self, AgentError> {
        let idle = Mutex::new(Some(endpoint.connect(ANSWER_TIMEOUT)?));
        let shared = Arc::new(Shared { endpoint, idle });
        Ok(Self { shared, answer_timeout: ANSWER_TIMEOUT, sign_timeout: SIGN_TIMEOUT })
    }

    /// How long the agent may take for an answer that needs no person, and at most to finish any answer
    /// that it has begun; 5 seconds unless said otherwise.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// How long the agent may take for a signature; 120 seconds unless said otherwise. A person may have to confirm it or to touch a token.
    #[must_use]
    pub fn sign_timeout(mut self, timeout: Duration) -> Self {
        self.sign_timeout = timeout;
        self
    }

    /// The keys that the agent holds, in its order. Those of types that are not built, and what is no
    /// key, are left out.
    ///
    /// # Errors
    /// [`AgentError`] when the agent fails or breaks the protocol.
    pub fn keys(&self) -> Result<Vec<AgentKey>, AgentError> {
        let answer = self.ask(&RequestIdentities {}.to_vec(), self.answer_timeout)?;
        let message = IdentitiesAnswer::decode_packet(&answer)?;
        if message.count > KEYS {
            return Err(AgentError::TooManyKeys { count: message.count });
        }
        let mut reader = Reader::new(message.keys.0);
        let mut keys = Vec::new();
        for _ in 0..message.count {
            let (blob, comment) = (reader.string()?, Escaped(reader.string()?));
            match PublicKey::from_blob(blob) {
                Ok(public) => keys.push(AgentKey::new(self.clone(), public, comment.to_string())),
                Err(error) => {
                    log::debug!(target: "feramiko::agent", "key \"{comment}\" is left out: {error}")
                }
            }
        }
        reader.finish()?;
        Ok(keys)
    }

    /// Has the agent sign, and checks what it made: an agent that signs something else, or by another
    /// algorithm, is found out here and not by a server.
    fn sign(&self, key: &PublicKey, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, AgentError> {
        let flags = FLAGS.iter().find(|(name, _)| *name == algorithm).map_or(0, |(_, flags)| *flags);
        let request = SignRequest { key: key.blob(), data, flags }.to_vec();
        let answer = self.ask(&request, self.sign_timeout)?;
        let signature = SignResponse::decode_packet(&answer)?.signature;
        key.verify(algorithm, data, signature).map_err(|_| AgentError::BadSignature)?;
        Ok(signature.to_vec())
    }

    fn ask(&self, request: &[u8], timeout: Duration) -> Result<Vec<u8>, AgentError> {
        let patience = Patience::new(timeout, self.answer_timeout);
        let idle = self.shared.idle.lock().take();
        let asked = idle.map(|mut connection| {
            let answer = exchange(&mut *connection, request, patience);
            (answer, connection)
        });
        let (answer, connection) = match asked {
            Some(asked) if asked.0 != Err(AgentError::Closed) => asked,
            // None is idle, or the agent has closed it or was started anew since it was used.
            _ => {
                let mut connection = self.shared.endpoint.connect(self.answer_timeout)?;
                (exchange(&mut *connection, request, patience), connection)
            }
        };
        let answer = answer?;
        *self.shared.idle.lock() = Some(connection);
        match answer.first() {
            Some(number) if FAILURES.contains(number) => Err(AgentError::Refused),
            _ => Ok(answer),
        }
    }
}
