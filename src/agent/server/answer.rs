//! What the agent answers to each request.

use super::bindings::Bindings;
use super::{AgentServer, Refusal};
use crate::agent::AddOptions;
use crate::agent::message::{
    AddIdConstrained, AddIdentity, Extension, ExtensionFailure, ExtensionResponse, FLAGS, Failure,
    IdentitiesAnswer, Lock, QUERY, RemoveAllIdentities, RemoveIdentity, RequestIdentities, SESSION_BIND,
    SignRequest, SignResponse, Success, Unlock,
};
use crate::key::{PKey, PublicKey, get_fields};
use crate::wire::{Encode, Malformed, Reader, Rest, string_of};

impl From<Malformed> for Refused {
    fn from(_: Malformed) -> Self {
        Self("its fields do not fit together")
    }
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Self(why)
    }
}

/// A refusal on its way to become an answer.
struct Refused(Refusal);

impl AgentServer {
    /// The answer to a request, whatever it is.
    pub(super) fn answer(&self, request: &[u8], bindings: &mut Bindings) -> Vec<u8> {
        self.answer_or_refuse(request, bindings).unwrap_or_else(|Refused(why)| {
            let number = request.first().copied().unwrap_or_default();
            log::debug!(target: "feramiko::agent", "request {number} refused: {why}");
            Failure {}.to_vec()
        })
    }

    fn answer_or_refuse(&self, request: &[u8], bindings: &mut Bindings) -> Result<Vec<u8>, Refused> {
        match request.first().copied().unwrap_or_default() {
            RequestIdentities::NUMBER => {
                RequestIdentities::decode_packet(request)?;
                return Ok(self.list(bindings));
            }
            SignRequest::NUMBER => return self.sign(&SignRequest::decode_packet(request)?, bindings),
            Extension::NUMBER => return self.extend(&Extension::decode_packet(request)?, bindings),
            AddIdentity::NUMBER => {
                self.take_key(AddIdentity::decode_packet(request)?.fields, false, bindings)?
            }
            AddIdConstrained::NUMBER => {
                self.take_key(AddIdConstrained::decode_packet(request)?.fields, true, bindings)?;
            }
            RemoveIdentity::NUMBER => {
                let key = RemoveIdentity::decode_packet(request)?.key;
                self.open()?.store.remove(key, bindings)?;
            }
            RemoveAllIdentities::NUMBER => {
                RemoveAllIdentities::decode_packet(request)?;
                self.open()?.store.clear();
            }
            Lock::NUMBER => self.lock(Lock::decode_packet(request)?.passphrase.0)?,
            Unlock::NUMBER => self.unlock(Unlock::decode_packet(request)?.passphrase.0)?,
            _ => return Err(Refused("there is no such request here")),
        }
        Ok(Success {}.to_vec())
    }

    /// A locked agent shows no keys; that is no refusal.
    fn list(&self, bindings: &Bindings) -> Vec<u8> {
        let (count, keys) = self.open().map(|state| state.store.list(bindings)).unwrap_or_default();
        IdentitiesAnswer { count, keys: Rest(&keys) }.to_vec()
    }

    fn take_key(&self, fields: Rest<'_>, constrained: bool, bindings: &Bindings) -> Result<(), Refused> {
        let mut reader = Reader::new(fields.0);
        let key = get_fields(&mut reader).map_err(|error| {
            log::debug!(target: "feramiko::agent", "a key cannot be added: {error}");
            "the key cannot be used"
        })?;
        let options = match constrained {
            true => AddOptions::decode(reader)?,
            false => reader.finish().map(|()| AddOptions::default())?,
        };
        Ok(self.admit(key, options, bindings)?)
    }

    fn sign(&self, message: &SignRequest<'_>, bindings: &Bindings) -> Result<Vec<u8>, Refused> {
        let (mut key, confirm) = self.claim(message, bindings)?;
        if confirm {
            let ask = self.0.options.confirm.as_ref().ok_or("nobody can be asked")?;
            if !ask(key.public_key(), key.comment()) {
                return Err(Refused("the user said no"));
            }
            // The agent may have been locked, or the key removed, while the user thought about it.
            (key, _) = self.claim(message, bindings)?;
        }
        let algorithm = algorithm(key.public_key(), message.flags).ok_or("unknown flags")?;
        let signature = key.sign(algorithm, message.data).map_err(|error| {
            log::debug!(target: "feramiko::agent", "no signature by {algorithm}: {error}");
            "the key does not sign so"
        })?;
        Ok(SignResponse { signature: &signature }.to_vec())
    }

    /// The key, if it may sign this here and now, and whether the user is to be asked.
    fn claim(&self, message: &SignRequest<'_>, bindings: &Bindings) -> Result<(PKey, bool), Refusal> {
        let state = self.open()?;
        let entry = state.store.find(message.key).ok_or("the key is not held")?;
        if !entry.destinations.is_empty() {
            bindings.permit_signature(&entry.destinations, &entry.public, message.data)?;
        }
        Ok((entry.key()?, entry.confirm))
    }

    /// Sessions are bound while locked too: they last, the lock may not.
    fn extend(&self, message: &Extension<'_>, bindings: &mut Bindings) -> Result<Vec<u8>, Refused> {
        if message.name == SESSION_BIND.as_bytes() {
            return Ok(match bindings.bind(message.contents.0) {
                Ok(()) => Success {}.to_vec(),
                Err(why) => {
                    log::debug!(target: "feramiko::agent", "a session is not bound: {why}");
                    ExtensionFailure {}.to_vec()
                }
            });
        }
        drop(self.open()?);
        if message.name != QUERY.as_bytes() {
            return Err(Refused("there is no such extension here"));
        }
        let names = string_of(SESSION_BIND.as_bytes());
        Ok(ExtensionResponse { name: QUERY.as_bytes(), contents: Rest(&names) }.to_vec())
    }
}

/// The algorithm that a sign request means. Flags of RSA mean nothing to other keys, and clients set them.
fn algorithm(key: &PublicKey, flags: u32) -> Option<&'static str> {
    let known = FLAGS.iter().fold(0, |all, (_, flag)| all | flag);
    if flags & !known != 0 {
        return None;
    }
    let mut rows = FLAGS.iter().filter(|(name, flag)| flags & flag != 0 && key.algorithms().contains(name));
    Some(rows.next().map_or_else(|| key.key_type(), |(name, _)| *name))
}
