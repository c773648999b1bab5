//! The client's authentication: one attempt after the other, on the caller's thread.

use std::time::Instant;

use super::{AuthMethod, Transport, algorithm_for};
use crate::auth::{
    Attempt, AuthClient, ClientAction, ClientLimits, HostClaim, InteractiveQuery, service_request,
};
use crate::crypto::secret::Secret;
use crate::engine::Login;
use crate::error::{AuthAttempt, Error, Phase, Result};
use crate::key::{PKey, PublicKey};
use crate::wire::Escaped;

/// A login with the machine that authenticates, and what was tried.
pub(super) struct ClientLogin {
    pub(super) login: Login,
    limits: ClientLimits,
    machine: Option<(String, AuthClient)>,
    service_asked: bool,
    pub(super) done: bool,
    attempts: Vec<AuthAttempt>,
    pub(super) banners: Vec<String>,
    /// Is told each banner when it comes.
    on_banner: Option<OnBanner>,
    /// Since when no attempt runs.
    idle: Instant,
}

/// What came of an attempt.
pub(crate) enum Outcome {
    /// With the banners that were sent before.
    Success(Vec<String>),
    Failure {
        methods: Vec<String>,
        partial: bool,
    },
    /// The key could not sign.
    Unusable(String),
}

/// Answers keyboard-interactive questions, one answer a prompt.
pub(crate) type AnswerPrompts<'a> = dyn FnMut(&InteractiveQuery) -> Result<Vec<Secret>> + 'a;
/// Names a new password when the old one has expired; none gives up.
pub(crate) type ChangePassword<'a> = dyn FnMut(&str) -> Result<Option<Secret>> + 'a;

/// Is told what the server has to say before it lets somebody in.
pub(crate) type OnBanner = Box<dyn FnMut(&str) + Send>;

/// Who answers what the server asks during an attempt.
pub(crate) struct Answers<'a> {
    pub(crate) interactive: Option<&'a mut AnswerPrompts<'a>>,
    pub(crate) change_password: Option<&'a mut ChangePassword<'a>>,
    pub(crate) method: Option<&'a mut dyn AuthMethod>,
}

impl Answers<'_> {
    /// Nobody answers anything.
    pub(crate) fn none() -> Self {
        Self { interactive: None, change_password: None, method: None }
    }
}

impl ClientLogin {
    pub(super) fn new(login: Login, limits: ClientLimits) -> Self {
        Self {
            login,
            limits,
            machine: None,
            service_asked: false,
            done: false,
            attempts: Vec::new(),
            banners: Vec::new(),
            on_banner: None,
            idle: Instant::now(),
        }
    }

    fn machine(&mut self, user: &str) -> &mut AuthClient {
        if !matches!(&self.machine, Some((known, _)) if known == user) {
            self.machine = None;
        }
        let (session_id, accepted, limits) = (self.login.kex.session_id(), self.service_asked, self.limits);
        let (_, machine) = self.machine.get_or_insert_with(|| {
            (user.to_owned(), AuthClient::new(user.as_bytes(), session_id, accepted, limits))
        });
        if let Some(host_key) = self.login.kex.host_key().filter(|_| self.login.extensions.hostbound) {
            machine.bind_to_host(host_key.blob());
        }
        machine
    }

    /// Runs one attempt to its verdict.
    fn attempt(&mut self, user: &str, attempt: Attempt, mut answers: Answers<'_>) -> Result<Outcome> {
        if !self.service_asked {
            self.login.queue(&service_request())?;
        }
        let mut actions = self.machine(user).attempt(attempt)?;
        self.service_asked = true;
        loop {
            for action in std::mem::take(&mut actions) {
                match action {
                    ClientAction::Send(payload) => {
                        self.login.ask();
                        self.login.queue(&payload)?;
                    }
                    ClientAction::Sign { key, algorithm, data } => {
                        let least = self.login.setup.algorithms.rsa_bits;
                        match key.sign_until(Some(self.login.clock.ends()), least, algorithm, &data) {
                            Ok(signature) => actions = self.machine(user).signed(&signature)?,
                            Err(_) if self.login.clock.ends() <= Instant::now() => {
                                return Err(Error::Timeout(Phase::Auth));
                            }
                            Err(error) => {
                                self.machine(user).give_up();
                                self.login.flush()?;
                                return Ok(Outcome::Unusable(error.to_string()));
                            }
                        }
                    }
                    ClientAction::Prompt(query) => {
                        let replies = match answers.interactive.as_mut() {
                            Some(handler) => self.login.clock.aside(|| handler(&query))?,
                            None if query.prompts.is_empty() => Vec::new(),
                            None => return Err(Error::Misuse("the server asks and nobody answers")),
                        };
                        if replies.len() != query.prompts.len() {
                            return Err(Error::Misuse("each prompt needs one answer"));
                        }
                        actions = self.machine(user).answers(&replies)?;
                    }
                    ClientAction::Method(message) => {
                        let Some(method) = answers.method.as_mut() else {
                            return Err(Error::Misuse("the server asks and nobody answers"));
                        };
                        let name = method.name();
                        match self.ask_method(user, name, |about| method.answer(about, &message))? {
                            Some(answer) => actions = self.machine(user).method_answer(&answer)?,
                            None => {
                                self.machine(user).give_up();
                                return Ok(Outcome::Unusable("given up".to_owned()));
                            }
                        }
                    }
                    ClientAction::ChangePassword(prompt) => {
                        let new = match answers.change_password.as_mut() {
                            Some(change) => self.login.clock.aside(|| change(&prompt))?,
                            None => None,
                        };
                        let Some(new) = new else {
                            self.machine(user).give_up();
                            return Ok(Outcome::Unusable(format!("the password must be changed: {prompt}")));
                        };
                        actions = self.machine(user).new_password(new)?;
                    }
                    ClientAction::Banner(text) => {
                        let text = harmless(&text);
                        if let Some(on_banner) = &mut self.on_banner {
                            self.login.clock.aside(|| on_banner(&text));
                        }
                        self.banners.push(text);
                    }
                    ClientAction::Success => return Ok(Outcome::Success(self.banners.clone())),
                    ClientAction::Failure { methods, partial } => {
                        return Ok(Outcome::Failure { methods, partial });
                    }
                }
            }
            if actions.is_empty() {
                self.login.flush()?;
                self.login.awaits_method = self.machine(user).awaits_method();
                let payload = self.login.receive()?;
                self.login.answered();
                actions = self.machine(user).feed(&payload)?;
            }
        }
    }

    fn note(&mut self, method: &str, key: Option<String>, outcome: String, remaining: &[String]) {
        self.attempts.push(AuthAttempt {
            method: method.to_owned(),
            key,
            outcome,
            remaining: remaining.to_vec(),
        });
    }
}

impl Transport {
    /// One attempt, noted for the error that lists them all. The methods still needed; empty when
    /// somebody is authenticated.
    pub(crate) fn try_auth(&self, user: &str, attempt: Attempt, answers: Answers<'_>) -> Result<Outcome> {
        let (method, key) = match &attempt {
            Attempt::None => ("none", None),
            Attempt::Password(_) => ("password", None),
            Attempt::PublicKey { key, .. } => ("publickey", Some(key.public_key().fingerprint())),
            Attempt::Hostbased(claim) => ("hostbased", Some(claim.key.public_key().fingerprint())),
            Attempt::Interactive => ("keyboard-interactive", None),
            Attempt::Own { method, .. } => (*method, None),
        };
        self.step(|login| {
            let outcome = login.attempt(user, attempt, answers)?;
            login.idle = Instant::now();
            match &outcome {
                Outcome::Success(_) => login.done = true,
                Outcome::Failure { methods, partial: true } => {
                    login.note(method, key, "accepted, more is needed".to_owned(), methods);
                }
                Outcome::Failure { methods, partial: false } => {
                    login.note(method, key, "refused".to_owned(), methods);
                }
                Outcome::Unusable(why) => login.note(method, key, why.clone(), &[]),
            }
            Ok(outcome)
        })
    }

    /// Who is told each banner of the login.
    pub(crate) fn set_on_banner(&self, told: OnBanner) {
        if let super::Stage::Login(login) = &mut *self.0.stage.lock() {
            login.on_banner = Some(told);
        }
    }

    /// What ties an agent's signatures to this connection: the host key, the session's identifier, and
    /// the host key's signature of it.
    pub(crate) fn session_binding(&self) -> Option<(PublicKey, Vec<u8>, Vec<u8>)> {
        match &*self.0.stage.lock() {
            super::Stage::Login(login) => {
                let (key, proof) = login.login.kex.first_proof()?;
                Some((key.clone(), login.login.kex.session_id().to_vec(), proof.to_vec()))
            }
            _ => None,
        }
    }

    /// Notes something that could not even be tried, for the error that lists all.
    pub(crate) fn note_attempt(&self, method: &str, key: Option<String>, outcome: &str) {
        if let super::Stage::Login(login) = &mut *self.0.stage.lock() {
            login.note(method, key, outcome.to_owned(), &[]);
        }
    }

    /// The error that lists every attempt so far.
    pub(crate) fn auth_error(&self, user: &str) -> Error {
        let attempts = match &*self.0.stage.lock() {
            super::Stage::Login(login) => login.attempts.clone(),
            _ => Vec::new(),
        };
        Error::Auth { user: user.to_owned(), attempts }
    }

    /// The banners that the server sent before somebody was authenticated, line by line, made harmless.
    #[must_use]
    pub fn banners(&self) -> Vec<String> {
        match &*self.0.stage.lock() {
            super::Stage::Login(login) => login.banners.clone(),
            _ => self.0.banners.get().cloned().unwrap_or_default(),
        }
    }

    /// What a user's key signs by.
    pub(crate) fn algorithm_for(&self, key: &PKey) -> Option<&'static str> {
        self.algorithm_of(key, self.0.options.algorithms.public_keys())
    }

    /// What a host's key signs by that says who the user is.
    pub(crate) fn host_algorithm_for(&self, key: &PKey) -> Option<&'static str> {
        self.algorithm_of(key, self.0.options.algorithms.hostbased())
    }

    /// The first of ours that the server takes, as far as it has told: `server-sig-algs`.
    fn algorithm_of(&self, key: &PKey, ours: &[&'static str]) -> Option<&'static str> {
        match &*self.0.stage.lock() {
            super::Stage::Login(login) => algorithm_for(key, ours, login.login.peer_signatures.as_deref()),
            _ => algorithm_for(key, ours, None),
        }
    }

    /// What the caller did since the last attempt takes none of the time.
    pub(super) fn resume(&self) {
        if let super::Stage::Login(login) = &*self.0.stage.lock() {
            login.login.clock.give(login.idle.elapsed());
        }
    }

    fn attempt(&self, user: &str, attempt: Attempt, answers: Answers<'_>) -> Result<Vec<String>> {
        self.resume();
        let outcome = self.try_auth(user, attempt, answers)?;
        self.concluded(user, outcome)
    }

    /// The methods that are needed besides.
    pub(super) fn concluded(&self, user: &str, outcome: Outcome) -> Result<Vec<String>> {
        match outcome {
            Outcome::Success(_) => Ok(Vec::new()),
            Outcome::Failure { methods, partial: true } => Ok(methods),
            Outcome::Failure { .. } | Outcome::Unusable(_) => Err(self.auth_error(user)),
        }
    }

    /// Asks to be let in without anything, which mostly tells the methods that would do: they are in
    /// the error's last attempt.
    ///
    /// # Errors
    /// [`Error::Auth`] when the server refuses.
    pub fn auth_none(&self, user: &str) -> Result<Vec<String>> {
        let answers = Answers::none();
        self.attempt(user, Attempt::None, answers)
    }

    /// Authenticates with a password. Returns the methods that are needed besides; empty when done.
    ///
    /// # Errors
    /// [`Error::Auth`] when the server refuses.
    pub fn auth_password(&self, user: &str, password: impl Into<Secret>) -> Result<Vec<String>> {
        let answers = Answers::none();
        self.attempt(user, Attempt::Password(password.into()), answers)
    }

    /// Authenticates with a key. Returns the methods that are needed besides; empty when done.
    ///
    /// # Errors
    /// [`Error::Auth`] when the server refuses or the key cannot sign.
    pub fn auth_publickey(&self, user: &str, key: &PKey) -> Result<Vec<String>> {
        let Some(algorithm) = self.algorithm_for(key) else {
            return Err(Error::Unsupported(format!(
                "signing with a key of type {}",
                key.public_key().key_type()
            )));
        };
        let attempt = Attempt::PublicKey { key: key.clone(), algorithm, probe: false };
        let answers = Answers::none();
        self.attempt(user, attempt, answers)
    }

    /// Authenticates as a user of this host: with the host's key, the name that the server knows this
    /// host by (a dot at its end means nothing), and the user's name here. Returns the methods that are
    /// needed besides; empty when done.
    ///
    /// # Errors
    /// [`Error::Auth`] when the server refuses or the key cannot sign.
    pub fn auth_hostbased(
        &self,
        user: &str,
        host_key: &PKey,
        client_host: &str,
        local_user: &str,
    ) -> Result<Vec<String>> {
        let Some(algorithm) = self.host_algorithm_for(host_key) else {
            return Err(Error::Unsupported(format!(
                "signing with a key of type {}",
                host_key.public_key().key_type()
            )));
        };
        let claim = HostClaim {
            key: host_key.clone(),
            algorithm,
            host: client_host.to_owned(),
            user: local_user.to_owned(),
        };
        let answers = Answers::none();
        self.attempt(user, Attempt::Hostbased(claim), answers)
    }

    /// Authenticates by answering the server's questions. Returns the methods that are needed
    /// besides; empty when done.
    ///
    /// # Errors
    /// [`Error::Auth`] when the server refuses, and whatever the handler returns.
    pub fn auth_interactive(
        &self,
        user: &str,
        mut handler: impl FnMut(&InteractiveQuery) -> Result<Vec<Secret>>,
    ) -> Result<Vec<String>> {
        let answers = Answers { interactive: Some(&mut handler), ..Answers::none() };
        self.attempt(user, Attempt::Interactive, answers)
    }
}

/// A server's words with nothing in them but lines.
fn harmless(text: &[u8]) -> String {
    let shown = |line: &[u8]| Escaped(line.strip_suffix(b"\r").unwrap_or(line)).to_string();
    text.split(|byte| *byte == b'\n').map(shown).collect::<Vec<_>>().join("\n")
}
