//! The agent that holds a user's keys: RFC 9987, the client's side.
//!
//! Hostile agents are expected: frames are bounded, answers are checked, every answer has a deadline.

mod endpoint;
mod message;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::key::{KeyError, PKey, PublicKey, Signer};
use crate::wire::{Encode, Malformed, Reader};
use endpoint::Endpoint;
use message::{IdentitiesAnswer, RequestIdentities, SignRequest, SignResponse};

#[cfg(test)]
mod tests;

/// Keys that an agent may hold.
const KEYS: u32 = 1024;
/// RFC 9987 §3.6.1.
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// Why the agent could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AgentError {
    /// `SSH_AUTH_SOCK` names no agent.
    NotRunning,
    /// The agent could not be reached.
    Io(String),
    /// The agent did not answer in time.
    Timeout,
    /// The agent refused.
    Refused,
    /// The answer is none of the agent protocol.
    Malformed(Malformed),
    /// The answer is larger, or lists more keys, than is accepted.
    TooMuch,
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning => f.write_str("no agent is running (SSH_AUTH_SOCK is not set)"),
            Self::Io(text) => write!(f, "the agent cannot be reached: {text}"),
            Self::Timeout => f.write_str("the agent did not answer in time"),
            Self::Refused => f.write_str("the agent refused"),
            Self::Malformed(error) => write!(f, "the agent's answer {error}"),
            Self::TooMuch => f.write_str("the agent's answer is larger than is accepted"),
        }
    }
}

impl std::error::Error for AgentError {}

impl From<Malformed> for AgentError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

/// A connection to an agent. Clones share it.
#[derive(Clone)]
pub struct Agent(Arc<Mutex<Endpoint>>);

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Agent")
    }
}

impl Agent {
    /// The agent that `SSH_AUTH_SOCK` names.
    ///
    /// # Errors
    /// [`AgentError::NotRunning`] when it is not set, [`AgentError::Io`] when it cannot be reached.
    pub fn from_env() -> Result<Self, AgentError> {
        let path = std::env::var_os("SSH_AUTH_SOCK")
            .filter(|path| !path.is_empty())
            .ok_or(AgentError::NotRunning)?;
        Self::connect(path)
    }

    /// The agent that listens on a UNIX socket.
    ///
    /// # Errors
    /// [`AgentError::Io`] when it cannot be reached.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, AgentError> {
        Ok(Self(Arc::new(Mutex::new(Endpoint::connect(path.as_ref())?))))
    }

    /// The keys that the agent holds, ready to sign. Types that are not built are left out.
    ///
    /// # Errors
    /// [`AgentError`] when the agent fails or breaks the protocol.
    pub fn keys(&self) -> Result<Vec<PKey>, AgentError> {
        let answer = self.0.lock().ask(&RequestIdentities {}.to_vec(), endpoint::LIST)?;
        let message = IdentitiesAnswer::decode_packet(&answer)?;
        if message.count > KEYS {
            return Err(AgentError::TooMuch);
        }
        let mut reader = Reader::new(message.keys.0);
        let mut keys = Vec::new();
        for _ in 0..message.count {
            let (blob, comment) = (reader.string()?, reader.string()?);
            if let Ok(public) = PublicKey::from_blob(blob) {
                let comment = crate::wire::Escaped(comment).to_string();
                keys.push(PKey::from_signer(AgentKey { agent: self.clone(), public, comment }));
            }
        }
        reader.finish()?;
        Ok(keys)
    }

    /// Has the agent sign `data` with the key. Takes as long as the agent's user takes to confirm.
    fn sign(&self, key: &PublicKey, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, AgentError> {
        let flags = match algorithm {
            "rsa-sha2-256" => RSA_SHA2_256,
            "rsa-sha2-512" => RSA_SHA2_512,
            _ => 0,
        };
        let request = SignRequest { key: key.blob(), data, flags }.to_vec();
        let answer = self.0.lock().ask(&request, endpoint::SIGN)?;
        Ok(SignResponse::decode_packet(&answer)?.signature.to_vec())
    }
}

/// A key that an agent holds.
struct AgentKey {
    agent: Agent,
    public: PublicKey,
    comment: String,
}

impl Signer for AgentKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self
            .agent
            .sign(&self.public, algorithm, data)
            .map_err(|error| KeyError::Signer(error.to_string()))?;
        // An agent that signs something else, or as something else, is found here and not by a server.
        self.public
            .verify(algorithm, data, &signature)
            .map_err(|error| KeyError::Signer(format!("the agent's answer does not verify: {error}")))?;
        Ok(signature)
    }

    fn comment(&self) -> &str {
        &self.comment
    }
}
