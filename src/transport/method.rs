//! The client's side of an authentication method of an application's own.

use super::Transport;
use super::authenticate::{Answers, ClientLogin, Outcome};
use crate::auth::{Attempt, MethodLogin, MethodMessage};
use crate::crypto::secret::Secret;
use crate::error::{Error, Result};
use crate::wire::is_own_name;

/// The client's side of an authentication method of your own: a request, then an answer to every message of the
/// server's. Given to [`SSHClientBuilder::auth_method`](crate::SSHClientBuilder::auth_method) or
/// [`Transport::auth_method`]; the server's side is
/// [`ServerInterface::check_auth_method`](crate::ServerInterface::check_auth_method).
///
/// ```
/// use feramiko::{AuthMethod, MethodLogin, MethodMessage, Result, Secret};
/// /// Says a word, and the same backwards when asked for it.
/// struct Words(&'static str);
/// impl AuthMethod for Words {
///     fn name(&self) -> &'static str { "words@example.org" }
///     fn request(&mut self, _: &MethodLogin<'_>) -> Result<Secret> { Ok(Secret::from(self.0)) }
///     fn answer(&mut self, _: &MethodLogin<'_>, _: &MethodMessage) -> Result<Option<MethodMessage>> {
///         Ok(MethodMessage::new(61, self.0.chars().rev().collect::<String>()))
///     }
/// }
/// ```
pub trait AuthMethod: Send {
    /// What the method is called: `name@domain` (RFC 4251 §6).
    fn name(&self) -> &'static str;

    /// Begins an attempt: what follows the method's name in the request, at most [`MethodMessage::MAX_DATA`] bytes.
    ///
    /// # Errors
    /// What ends the login.
    fn request(&mut self, login: &MethodLogin<'_>) -> Result<Secret>;

    /// Answers a message of the server's; none gives the attempt up. What comes may be anything.
    ///
    /// # Errors
    /// What ends the login.
    fn answer(&mut self, login: &MethodLogin<'_>, message: &MethodMessage) -> Result<Option<MethodMessage>>;
}

impl Transport {
    /// Authenticates by a method of your own. Returns the methods that are needed besides; empty when done.
    ///
    /// # Errors
    /// [`Error::Auth`] when the server refuses, [`Error::Misuse`] for a name that is not `name@domain` and for a
    /// request that is too long, and whatever the method returns.
    pub fn auth_method(&self, user: &str, method: &mut dyn AuthMethod) -> Result<Vec<String>> {
        self.resume();
        let outcome = self.try_method(user, method)?;
        self.concluded(user, outcome)
    }

    /// One attempt, as [`try_auth`](Self::try_auth).
    pub(crate) fn try_method(&self, user: &str, method: &mut dyn AuthMethod) -> Result<Outcome> {
        let name = method.name();
        if !is_own_name(name) {
            return Err(Error::Misuse("a method of your own is called name@domain"));
        }
        let fields = self.step(|login| login.ask_method(user, name, |about| method.request(about)))?;
        if fields.expose().len() > MethodMessage::MAX_DATA {
            return Err(Error::Misuse("a method's request is too long"));
        }
        let answers = Answers { method: Some(method), ..Answers::none() };
        self.try_auth(user, Attempt::Own { method: name, fields }, answers)
    }
}

impl ClientLogin {
    /// Asks a method, which may ask a person: that takes none of the time.
    pub(super) fn ask_method<T>(
        &self,
        user: &str,
        method: &str,
        ask: impl FnOnce(&MethodLogin<'_>) -> Result<T>,
    ) -> Result<T> {
        let session_id = self.login.kex.session_id();
        self.login.clock.aside(|| ask(&MethodLogin { method, user, session_id }))
    }
}
