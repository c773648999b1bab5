//! The agent that holds a user's keys: RFC 9987, the client's side here, the agent itself in `server/`.
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
mod options;
mod relay;
mod requests;
mod server;
#[cfg(all(test, unix))]
mod tests;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::key::{PublicKey, RSA_FLOOR};
use crate::wire::{Encode, Escaped, Reader};
use endpoint::{Cutter, Endpoint};
use exchange::{Patience, exchange};
use message::{FAILURES, FLAGS, IdentitiesAnswer, RequestIdentities, SignRequest, SignResponse, Success};

pub(crate) use endpoint::Connection;
pub use error::AgentError;
pub use key::AgentKey;
pub use options::{AddOptions, Destination, Hop};
pub(crate) use relay::Binding;
#[cfg(unix)]
pub(crate) use relay::relay;
pub use server::{AgentServer, AgentServerBuilder};

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
    idle: Mutex<Option<Line>>,
    /// The requests that bind a connection to its sessions, in order. Every new connection gets them.
    bindings: Mutex<Vec<Arc<[u8]>>>,
    /// What ends the connections, if somebody wants to. Taken for a few instructions.
    cutters: Mutex<Cutters>,
}

/// The connections that were made, for whoever may end them.
enum Cutters {
    /// Nobody wants to.
    Unwanted,
    Wanted(Vec<Cutter>),
    /// They were ended; no more are made.
    Cut,
}

/// A connection, and how many of the bindings it has got.
struct Line {
    connection: Box<dyn Connection>,
    bound: usize,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Agent({:?})", self.shared.endpoint)
    }
}

impl Agent {
    /// The agent that the environment variable `SSH_AUTH_SOCK` names. When it is not set, on Windows:
    /// OpenSSH's service, or else Pageant.
    ///
    /// # Errors
    /// [`AgentError::NotRunning`] when there is none, [`AgentError::Io`] when the agent cannot be reached.
    pub fn from_env() -> Result<Self, AgentError> {
        Self::named(ANSWER_TIMEOUT)
    }

    fn named(timeout: Duration) -> Result<Self, AgentError> {
        match std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()) {
            Some(path) => Self::at(endpoint::at(path.as_ref()), timeout),
            None => Self::first(endpoint::usual(), timeout),
        }
    }

    /// The same, or the one that listens on `socket`, for a login that ends at `deadline`, and may be ended
    /// before by [`cut`](Self::cut).
    pub(crate) fn for_login(socket: Option<&Path>, deadline: Instant) -> Result<Self, AgentError> {
        let left = deadline.saturating_duration_since(Instant::now()).min(ANSWER_TIMEOUT);
        let agent = match socket {
            Some(path) => Self::at(endpoint::at(path), left)?,
            None => Self::named(left)?,
        };
        let first = agent.shared.idle.lock().as_ref().and_then(|line| line.connection.cutter());
        *agent.shared.cutters.lock() = Cutters::Wanted(first.into_iter().collect());
        Ok(agent)
    }

    /// The same agent for whoever has time until `deadline` only.
    pub(crate) fn within(mut self, deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        self.answer_timeout = self.answer_timeout.min(left);
        self.sign_timeout = self.sign_timeout.min(left);
        self
    }

    /// Ends all connections: calls that wait fail, and all later ones.
    pub(crate) fn cut(&self) {
        let cutters = std::mem::replace(&mut *self.shared.cutters.lock(), Cutters::Cut);
        if let Cutters::Wanted(cutters) = cutters {
            cutters.iter().for_each(|cut| cut());
        }
    }

    /// PuTTY's Pageant, by its pipe or its window.
    ///
    /// # Errors
    /// [`AgentError::NotRunning`] when there is none, [`AgentError::Io`] when it cannot be reached.
    #[cfg(windows)]
    pub fn pageant() -> Result<Self, AgentError> {
        Self::first(endpoint::pageant(), ANSWER_TIMEOUT)
    }

    /// The first of several agents that is there; or why one of them could not be reached.
    fn first(endpoints: Vec<Box<dyn Endpoint>>, timeout: Duration) -> Result<Self, AgentError> {
        let mut failed = AgentError::NotRunning;
        for endpoint in endpoints {
            match Self::at(endpoint, timeout) {
                Ok(agent) => return Ok(agent),
                Err(AgentError::Io { kind: io::ErrorKind::NotFound, .. }) => {}
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    /// The agent that listens on a UNIX socket, or on Windows on a named pipe of this machine; the pipe
    /// must belong to our user or to the system.
    ///
    /// # Errors
    /// [`AgentError::Io`] when it cannot be reached.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, AgentError> {
        Self::at(endpoint::at(path.as_ref()), ANSWER_TIMEOUT)
    }

    fn at(endpoint: Box<dyn Endpoint>, timeout: Duration) -> Result<Self, AgentError> {
        let connection = connect(&*endpoint, timeout)?;
        let idle = Mutex::new(Some(Line { connection, bound: 0 }));
        let cutters = Mutex::new(Cutters::Unwanted);
        let shared = Arc::new(Shared { endpoint, idle, bindings: Mutex::default(), cutters });
        Ok(Self { shared, answer_timeout: ANSWER_TIMEOUT, sign_timeout: SIGN_TIMEOUT })
    }

    /// An agent that answers with these bytes, whatever it is asked; for the fuzzer.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn scripted(bytes: Vec<u8>) -> Result<Self, AgentError> {
        Self::at(endpoint::scripted(bytes), ANSWER_TIMEOUT)
    }

    /// How long the agent may take for an answer that needs no person, and at most to finish any answer
    /// that it has begun; 5 seconds unless said otherwise.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// How long the agent may take for a signature; 120 seconds unless said otherwise. A person
    /// may have to confirm it or to touch a token.
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
        // Whether the key is long enough, and its token was touched, is for whoever takes it to say.
        key.verify_use_sized(RSA_FLOOR, algorithm, data, signature).map_err(|_| AgentError::BadSignature)?;
        Ok(signature.to_vec())
    }

    /// Sends a request and returns the answer, if it is no refusal.
    fn ask(&self, request: &[u8], timeout: Duration) -> Result<Vec<u8>, AgentError> {
        let (answer, line) = self.converse(request, timeout)?;
        *self.shared.idle.lock() = Some(line);
        match answer.first() {
            Some(number) if FAILURES.contains(number) => Err(AgentError::Refused),
            _ => Ok(answer),
        }
    }

    /// Sends a request and returns the answer and the connection, on which no answer is due.
    fn converse(&self, request: &[u8], timeout: Duration) -> Result<(Vec<u8>, Line), AgentError> {
        let patience = Patience::new(timeout, self.answer_timeout);
        let idle = self.shared.idle.lock().take();
        if let Some(mut line) = idle {
            match self.converse_on(&mut line, request, patience) {
                // The agent has closed it or was started anew since it was used.
                Err(AgentError::Closed) => {}
                answer => return Ok((answer?, line)),
            }
        }
        let mut line = self.new_line(patience)?;
        let answer = self.converse_on(&mut line, request, patience)?;
        Ok((answer, line))
    }

    fn new_line(&self, patience: Patience) -> Result<Line, AgentError> {
        let left = patience.step_until().map(|until| until.saturating_duration_since(Instant::now()));
        let connection = connect(&*self.shared.endpoint, left.unwrap_or(self.answer_timeout))?;
        match &mut *self.shared.cutters.lock() {
            Cutters::Unwanted => {}
            Cutters::Wanted(cutters) => cutters.extend(connection.cutter()),
            Cutters::Cut => return Err(AgentError::Closed),
        }
        Ok(Line { connection, bound: 0 })
    }

    fn converse_on(
        &self,
        line: &mut Line,
        request: &[u8],
        patience: Patience,
    ) -> Result<Vec<u8>, AgentError> {
        loop {
            let binding = self.shared.bindings.lock().get(line.bound).cloned();
            let Some(binding) = binding else {
                return exchange(&mut *line.connection, request, patience);
            };
            let answer = exchange(&mut *line.connection, &binding, patience)?;
            Success::decode_packet(&answer).map_err(|_| AgentError::ExtensionFailed)?;
            line.bound = line.bound.saturating_add(1);
        }
    }
}

/// Makes a connection; no time is none, not "for ever".
fn connect(endpoint: &dyn Endpoint, timeout: Duration) -> Result<Box<dyn Connection>, AgentError> {
    if timeout.is_zero() {
        return Err(AgentError::Timeout);
    }
    Ok(endpoint.connect(timeout)?)
}
