//! Methods of the application's own: it is asked about each message, and alone knows what stands in it. That a
//! method was offered, that messages come in turn, and what comes of the answer is held here, as for every method.

use super::{AuthServer, Question, ServerAction, State};
use crate::auth::{AuthError, MethodAnswer, MethodMessage};
use crate::crypto::secret::Secret;
use crate::wire::is_own_name;

impl AuthServer {
    /// Whether a message of such a method may come.
    pub(crate) fn awaits_method(&self) -> bool {
        matches!(self.state, State::MethodAsked { .. })
    }

    /// A request by a method that no standard has.
    pub(super) fn method(&mut self, name: &[u8], fields: &[u8]) -> Vec<ServerAction> {
        let mut offered = self.methods.iter().copied().filter(|method| is_own_name(method));
        let Some(method) = offered.find(|method| method.as_bytes() == name) else { return self.refuse() };
        let fields = Secret::from(fields);
        let state = State::Method { method, rounds: 0 };
        self.ask(method, state, |user| Question::Method { user, method, fields })
    }

    /// The client's answer to what was asked by `method`.
    pub(super) fn method_response(
        &mut self,
        payload: &[u8],
        method: &'static str,
        rounds: u32,
    ) -> Result<Vec<ServerAction>, AuthError> {
        let number = payload.first().copied().unwrap_or(0);
        let message = MethodMessage::read(payload).ok_or(AuthError::Unexpected(number))?;
        let state = State::Method { method, rounds };
        Ok(self.ask(method, state, |user| Question::MethodResponse { user, method, message }))
    }

    /// The application's answer to such a question.
    pub(crate) fn method_answer(&mut self, answer: MethodAnswer) -> Vec<ServerAction> {
        let State::Method { method, rounds } = std::mem::replace(&mut self.state, State::Idle) else {
            return self.refuse();
        };
        match answer {
            MethodAnswer::Done(answer) => self.decide(answer, None),
            MethodAnswer::Ask(_) if rounds >= self.limits.rounds => self.refuse(),
            MethodAnswer::Ask(message) => {
                self.state = State::MethodAsked { method, rounds: rounds.saturating_add(1) };
                vec![ServerAction::Send(message.to_payload().to_vec())]
            }
        }
    }
}
