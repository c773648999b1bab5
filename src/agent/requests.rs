//! What a client asks of an agent besides its keys and their signatures: RFC 9987, and OpenSSH's
//! PROTOCOL.agent.

use std::time::Duration;

use zeroize::Zeroizing;

use super::message::{
    AddIdConstrained, AddIdentity, AddSmartcardKey, AddSmartcardKeyConstrained, Extension, ExtensionFailure,
    ExtensionResponse, FAILURES, Lock, QUERY, RemoveAllIdentities, RemoveIdentity, RemoveSmartcardKey,
    SESSION_BIND, Success, Unlock,
};
use super::{AddOptions, Agent, AgentError};
use crate::crypto::secret::Secret;
use crate::key::{FIELDS_ROOM, PKey, PublicKey, put_fields};
use crate::wire::{Encode, Escaped, Hidden, Reader, Rest, Writer};

/// The longest that OpenSSH's agent, and ours, keeps one waiting after wrong passphrases.
const UNLOCK_DELAY: Duration = Duration::from_secs(10);
/// More than the fields of a request take besides its texts.
const REQUEST_ROOM: usize = 64;

impl Agent {
    /// Gives the agent a key. One that it holds already gets the new constraints.
    ///
    /// # Errors
    /// [`AgentError::Refused`], also when the agent cannot hold the key to `options`; [`AgentError::Key`]
    /// for keys held elsewhere.
    pub fn add(&self, key: &PKey, options: &AddOptions) -> Result<(), AgentError> {
        let constraints = options.encode();
        let plain = constraints.is_empty();
        let room = FIELDS_ROOM.saturating_add(constraints.len());
        let mut request = Zeroizing::new(Vec::with_capacity(room));
        request.put(if plain { &AddIdentity::NUMBER } else { &AddIdConstrained::NUMBER });
        put_fields(&mut request, key)?;
        request.put_raw(&constraints);
        self.order(&request, self.answer_timeout)
    }

    /// Makes the agent forget a key.
    ///
    /// # Errors
    /// [`AgentError::Refused`] when the agent does not hold it.
    pub fn remove(&self, key: &PublicKey) -> Result<(), AgentError> {
        self.order(&RemoveIdentity { key: key.blob() }.to_vec(), self.answer_timeout)
    }

    /// Makes the agent forget all keys.
    ///
    /// # Errors
    /// [`AgentError`] when the agent fails or refuses.
    pub fn remove_all(&self) -> Result<(), AgentError> {
        self.order(&RemoveAllIdentities {}.to_vec(), self.answer_timeout)
    }

    /// Locks the agent: until it is unlocked with the same passphrase it shows and does nothing.
    ///
    /// # Errors
    /// [`AgentError::Refused`] when it is locked already.
    pub fn lock(&self, passphrase: &Secret) -> Result<(), AgentError> {
        let request = secretly(&Lock { passphrase: Hidden(passphrase.expose()) }, passphrase, &[]);
        self.order(&request, self.answer_timeout)
    }

    /// Unlocks the agent. After wrong passphrases the answer takes longer each time, up to 10 seconds.
    ///
    /// # Errors
    /// [`AgentError::Refused`] when the passphrase is wrong or the agent is not locked.
    pub fn unlock(&self, passphrase: &Secret) -> Result<(), AgentError> {
        let request = secretly(&Unlock { passphrase: Hidden(passphrase.expose()) }, passphrase, &[]);
        self.order(&request, self.answer_timeout.saturating_add(UNLOCK_DELAY))
    }

    /// Has the agent take over the keys of a token, by the PKCS#11 library `provider` that it loads.
    ///
    /// # Errors
    /// [`AgentError::Refused`]; most agents allow few libraries.
    pub fn add_smartcard(
        &self,
        provider: &str,
        pin: &Secret,
        options: &AddOptions,
    ) -> Result<(), AgentError> {
        let (provider, hidden) = (provider.as_bytes(), Hidden(pin.expose()));
        let constraints = options.encode();
        let request = if constraints.is_empty() {
            secretly(&AddSmartcardKey { provider, pin: hidden }, pin, provider)
        } else {
            let texts = [provider, &constraints].concat();
            let constraints = Rest(&constraints);
            secretly(&AddSmartcardKeyConstrained { provider, pin: hidden, constraints }, pin, &texts)
        };
        // A person may be at the token.
        self.order(&request, self.sign_timeout)
    }

    /// Makes the agent forget the keys of a token.
    ///
    /// # Errors
    /// [`AgentError::Refused`] when it has none of `provider`.
    pub fn remove_smartcard(&self, provider: &str, pin: &Secret) -> Result<(), AgentError> {
        let provider = provider.as_bytes();
        let message = RemoveSmartcardKey { provider, pin: Hidden(pin.expose()) };
        self.order(&secretly(&message, pin, provider), self.answer_timeout)
    }

    /// Asks for an extension by its name and returns what the agent says besides yes.
    ///
    /// # Errors
    /// [`AgentError::Refused`] when the agent does not know it, [`AgentError::ExtensionFailed`] when it
    /// knows it and failed.
    pub fn extension(&self, name: &str, contents: &[u8]) -> Result<Vec<u8>, AgentError> {
        let request = Extension { name: name.as_bytes(), contents: Rest(contents) }.to_vec();
        let answer = self.ask(&request, self.answer_timeout)?;
        extension_answer(name, &answer).map(<[u8]>::to_vec)
    }

    /// The names of the extensions that the agent knows.
    ///
    /// # Errors
    /// [`AgentError::Refused`] from agents that know none, as OpenSSH's before 10.
    pub fn query(&self) -> Result<Vec<String>, AgentError> {
        let answer = self.extension(QUERY, &[])?;
        let mut reader = Reader::new(&answer);
        let mut names = Vec::new();
        while !reader.is_empty() {
            names.push(Escaped(reader.string()?).to_string());
        }
        Ok(names)
    }

    /// Tells the agent which SSH session its connections serve from now on, so that it can hold keys to
    /// their destinations: the session's id, the server's host key, and its signature of the id from the
    /// first exchange of keys. With `forwarding` it is a session that the agent is forwarded through,
    /// otherwise one to log in to, after which no other can be bound.
    ///
    /// Clones of this `Agent` are bound too; for each session [`connect`](Self::connect) anew.
    ///
    /// # Errors
    /// [`AgentError::ExtensionFailed`] when the agent does not believe it, [`AgentError::Refused`] when it
    /// does not know the extension.
    pub fn session_bind(
        &self,
        host_key: &PublicKey,
        session_id: &[u8],
        signature: &[u8],
        forwarding: bool,
    ) -> Result<(), AgentError> {
        let request = bind_request(host_key, session_id, signature, forwarding);
        // A connection that was refused is not used again: OpenSSH's agent holds it against it.
        let (answer, mut line) = self.converse(&request, self.answer_timeout)?;
        if answer.first().is_some_and(|number| FAILURES.contains(number)) {
            return Err(AgentError::Refused);
        }
        extension_answer(SESSION_BIND, &answer)?;
        let mut bindings = self.shared.bindings.lock();
        let current = bindings.len() == line.bound;
        bindings.push(request.into());
        line.bound = bindings.len();
        drop(bindings);
        // One that missed what another thread has bound meanwhile is not used again either.
        if current {
            *self.shared.idle.lock() = Some(line);
        }
        Ok(())
    }

    /// Asks for something that is done or not.
    fn order(&self, request: &[u8], timeout: Duration) -> Result<(), AgentError> {
        let answer = self.ask(request, timeout)?;
        Success::decode_packet(&answer)?;
        Ok(())
    }
}

/// What binds a connection to a session.
pub(super) fn bind_request(
    host_key: &PublicKey,
    session_id: &[u8],
    signature: &[u8],
    forwarding: bool,
) -> Vec<u8> {
    let mut contents = Vec::new();
    contents.put(host_key.blob()).put(session_id).put(signature).put(&forwarding);
    Extension { name: SESSION_BIND.as_bytes(), contents: Rest(&contents) }.to_vec()
}

/// A message with a secret in it and other texts, in a buffer that need not grow and leaves no copy behind.
fn secretly(message: &impl Encode, secret: &Secret, texts: &[u8]) -> Zeroizing<Vec<u8>> {
    let room = secret.expose().len().saturating_add(texts.len()).saturating_add(REQUEST_ROOM);
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    message.encode(&mut out);
    out
}

/// What the answer to extension `name` says: nothing, or what stands behind its name.
fn extension_answer<'a>(name: &str, answer: &'a [u8]) -> Result<&'a [u8], AgentError> {
    match answer.split_first() {
        Some((&ExtensionFailure::NUMBER, _)) => Err(AgentError::ExtensionFailed),
        // The drafts before the RFC put contents behind it.
        Some((&Success::NUMBER, contents)) => Ok(contents),
        _ => {
            let response = ExtensionResponse::decode_packet(answer)?;
            if response.name == name.as_bytes() {
                Ok(response.contents.0)
            } else {
                Err(AgentError::Malformed(crate::wire::Malformed::Value))
            }
        }
    }
}
