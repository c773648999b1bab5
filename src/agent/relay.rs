//! Forwarding: requests that come over one connection are answered by another. Requests and answers
//! take turns, so one thread is enough. Both sides may be hostile: frames are bounded, and what the near
//! side has begun it must finish in time.

use std::time::{Duration, Instant};

use super::endpoint::Connection;
use super::exchange::{Patience, exchange, next_request, write_frame};
use super::requests::bind_request;
use super::{Agent, AgentError};
use crate::key::PublicKey;

/// Time to finish a request or an answer once it has begun; it may come from the other end of the world.
const STEP: Duration = Duration::from_secs(60);
/// Time for an answer to begin: a person may have to confirm a signature. No server waits longer.
const ANSWER: Duration = Duration::from_secs(300);

/// What ties a connection to an agent to a session: the server's host key, the session's identifier, and
/// the server's signature of that.
pub(crate) type Binding = (PublicKey, Vec<u8>, Vec<u8>);

/// Passes requests from `near` to `far` and the answers back, until `near` hangs up.
pub(crate) fn relay(near: &mut dyn Connection, far: &mut dyn Connection) -> Result<(), AgentError> {
    while let Some(request) = next_request(near, STEP)? {
        let answer = exchange(far, &request, Patience::new(ANSWER, STEP))?;
        write_frame(near, &answer, Instant::now().checked_add(STEP))?;
    }
    Ok(())
}

impl Agent {
    /// Serves a forwarded channel by a connection of its own, which is told what session the channel comes
    /// through, so that the agent holds its keys to their destinations.
    pub(crate) fn serve_forwarded(
        &self,
        channel: &mut dyn Connection,
        binding: Option<&Binding>,
    ) -> Result<(), AgentError> {
        let mut connection = self.shared.endpoint.connect(self.answer_timeout)?;
        if let Some((host_key, session_id, proof)) = binding {
            let request = bind_request(host_key, session_id, proof, true);
            // An agent that does not know of sessions has no keys that are held to any.
            exchange(&mut *connection, &request, Patience::new(self.answer_timeout, self.answer_timeout))?;
        }
        relay(channel, &mut *connection)
    }
}
