//! A key that an agent holds.

use std::fmt;
use std::time::Instant;

use super::{Agent, AgentError};
use crate::key::{KeyError, PKey, PublicKey, Signer};

/// A key that an agent holds and signs with.
#[derive(Clone)]
pub struct AgentKey {
    agent: Agent,
    public: PublicKey,
    comment: String,
}

impl fmt::Debug for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentKey").field("public", &self.public).field("comment", &self.comment).finish()
    }
}

impl AgentKey {
    pub(super) fn new(agent: Agent, public: PublicKey, comment: String) -> Self {
        Self { agent, public, comment }
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// What the agent calls the key; control characters are escaped.
    #[must_use]
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// Has the agent sign `data` by `algorithm`, one of the public key's algorithms, and checks what it
    /// made. Returns the whole signature blob of RFC 4253 §6.6. Blocks while the agent asks its user.
    ///
    /// # Errors
    /// [`AgentError`] when the agent fails, refuses, or signs something else.
    pub fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, AgentError> {
        self.agent.sign(&self.public, algorithm, data)
    }
}

impl Signer for AgentKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        Self::sign(self, algorithm, data).map_err(|error| KeyError::Signer(error.to_string()))
    }

    fn sign_before(&self, deadline: Instant, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        let agent = self.agent.clone().within(deadline);
        agent.sign(&self.public, algorithm, data).map_err(|error| KeyError::Signer(error.to_string()))
    }

    fn comment(&self) -> &str {
        &self.comment
    }
}

impl From<AgentKey> for PKey {
    fn from(key: AgentKey) -> Self {
        Self::from_signer(key)
    }
}
