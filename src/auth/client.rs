//! The client's machine: one attempt at a time; which one is next is decided above.

use zeroize::Zeroizing;

use super::AuthError;
use super::hostbased::{self, HostClaim};
use super::method::{CONNECTION, HOSTBOUND, InteractiveQuery, PUBLICKEY, Prompt, USERAUTH, signed_data};
use super::own::{METHOD_NUMBERS, MethodMessage};
use crate::crypto::secret::Secret;
use crate::key::PKey;
use crate::msg::auth::{
    HiddenRest, UserauthBanner, UserauthFailure, UserauthInfoRequest, UserauthInfoResponse,
    UserauthPasswdChangereq, UserauthPkOk, UserauthRequest, UserauthSuccess,
};
use crate::msg::transport::{ServiceAccept, ServiceRequest};
use crate::wire::{Encode, Escaped, Reader, Rest, Writer};

/// What a server is held to; [`crate::Limits`] says why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientLimits {
    pub(crate) attempts: u32,
    pub(crate) prompts: u32,
    pub(crate) rounds: u32,
    pub(crate) banners: u32,
    pub(crate) banner_bytes: usize,
}

/// One attempt.
#[derive(Debug)]
pub(crate) enum Attempt {
    None,
    Password(Secret),
    PublicKey {
        key: PKey,
        algorithm: &'static str,
        /// Ask first whether the key would do; sign only then.
        probe: bool,
    },
    Hostbased(HostClaim),
    Interactive,
    /// A method of the application's own, with what follows its name in the request.
    Own {
        method: &'static str,
        fields: Secret,
    },
}

/// What whoever drives the machine has to do.
#[derive(Debug)]
pub(crate) enum ClientAction {
    Send(Zeroizing<Vec<u8>>),
    /// Sign; answer with [`AuthClient::signed`].
    Sign {
        key: PKey,
        algorithm: &'static str,
        data: Vec<u8>,
    },
    /// Ask the user; answer with [`AuthClient::answers`].
    Prompt(InteractiveQuery),
    /// Ask the method of the application's own; answer with [`AuthClient::method_answer`].
    Method(MethodMessage),
    /// Ask the user for a new password; answer with [`AuthClient::new_password`].
    ChangePassword(String),
    Banner(Vec<u8>),
    Success,
    Failure {
        methods: Vec<String>,
        partial: bool,
    },
}

enum State {
    Idle,
    /// Sent; 51, 52 or a method's 60 may come.
    Password(Secret),
    Probe {
        key: PKey,
        algorithm: &'static str,
    },
    Signing {
        key: PKey,
        algorithm: &'static str,
    },
    /// The fields of a hostbased request before the signature.
    SigningHost(Vec<u8>),
    Interactive {
        rounds: u32,
        prompts: usize,
    },
    /// A message of a method of the application's own may come.
    Method {
        rounds: u32,
    },
    /// It came, and is to be answered.
    MethodAnswer {
        rounds: u32,
    },
    /// Only success or failure may come.
    Verdict,
    Done,
}

/// The client's side of authentication.
pub(crate) struct AuthClient {
    user: Vec<u8>,
    session_id: Vec<u8>,
    host_key: Option<Vec<u8>>,
    state: State,
    accepted: bool,
    limits: ClientLimits,
    attempts: u32,
    banners: u32,
    banner_bytes: usize,
}

/// Asks for the authentication service; may be sent together with the first attempt.
pub(crate) fn service_request() -> Vec<u8> {
    ServiceRequest { service: Escaped(USERAUTH) }.to_vec()
}

impl AuthClient {
    /// `accepted`: the service was granted already, for another user of this connection.
    pub(crate) fn new(user: &[u8], session_id: &[u8], accepted: bool, limits: ClientLimits) -> Self {
        Self {
            user: user.to_vec(),
            session_id: session_id.to_vec(),
            host_key: None,
            state: State::Idle,
            accepted,
            limits,
            attempts: 0,
            banners: 0,
            banner_bytes: 0,
        }
    }

    fn request(&self, method: &[u8], rest: &[u8]) -> ClientAction {
        let request = UserauthRequest {
            user: Escaped(&self.user),
            service: Escaped(CONNECTION),
            method: Escaped(method),
            rest: Rest(rest),
        };
        // Room for all, so that growing leaves no copy of a password behind.
        let mut payload =
            Zeroizing::new(Vec::with_capacity(self.user.len().saturating_add(rest.len()).saturating_add(64)));
        request.encode(&mut payload);
        ClientAction::Send(payload)
    }

    /// Starts an attempt; the one before must be over.
    pub(crate) fn attempt(&mut self, attempt: Attempt) -> Result<Vec<ClientAction>, AuthError> {
        if !matches!(self.state, State::Idle) {
            return Err(AuthError::Unexpected(50));
        }
        self.attempts = self.attempts.saturating_add(1);
        if self.attempts > self.limits.attempts {
            return Err(AuthError::TooMany("attempts"));
        }
        let action = match attempt {
            Attempt::None => {
                self.state = State::Verdict;
                self.request(b"none", b"")
            }
            Attempt::Password(password) => {
                let mut rest = Zeroizing::new(Vec::with_capacity(password.expose().len().saturating_add(8)));
                rest.put(&false).put(password.expose());
                let action = self.request(b"password", &rest);
                self.state = State::Password(password);
                action
            }
            Attempt::PublicKey { key, algorithm, probe: true } => {
                let mut rest = Vec::new();
                rest.put(&false).put(algorithm).put(key.public_key().blob());
                let action = self.request(b"publickey", &rest);
                self.state = State::Probe { key, algorithm };
                action
            }
            Attempt::PublicKey { key, algorithm, probe: false } => self.sign(key, algorithm),
            Attempt::Hostbased(claim) => {
                let fields = claim.fields();
                let data = hostbased::signed_data(&self.session_id, &self.user, &fields);
                self.state = State::SigningHost(fields);
                ClientAction::Sign { key: claim.key, algorithm: claim.algorithm, data }
            }
            Attempt::Interactive => {
                let mut rest = Vec::new();
                rest.put("").put("");
                self.state = State::Interactive { rounds: 0, prompts: 0 };
                self.request(b"keyboard-interactive", &rest)
            }
            Attempt::Own { method, fields } => {
                self.state = State::Method { rounds: 0 };
                self.request(method.as_bytes(), fields.expose())
            }
        };
        Ok(vec![action])
    }

    /// The server's host key, once it has said that it knows requests that are bound to one.
    pub(crate) fn bind_to_host(&mut self, host_key: &[u8]) {
        self.host_key = Some(host_key.to_vec());
    }

    fn sign(&mut self, key: PKey, algorithm: &'static str) -> ClientAction {
        let (blob, host_key) = (key.public_key().blob(), self.host_key.as_deref());
        let data = signed_data(&self.session_id, &self.user, algorithm, blob, host_key);
        self.state = State::Signing { key: key.clone(), algorithm };
        ClientAction::Sign { key, algorithm, data }
    }

    /// The signature that `Sign` asked for.
    pub(crate) fn signed(&mut self, signature: &[u8]) -> Result<Vec<ClientAction>, AuthError> {
        match std::mem::replace(&mut self.state, State::Verdict) {
            State::Signing { key, algorithm } => {
                let mut rest = Vec::new();
                rest.put(&true).put(algorithm).put(key.public_key().blob());
                let method = match &self.host_key {
                    Some(host_key) => {
                        rest.put(host_key.as_slice());
                        HOSTBOUND
                    }
                    None => PUBLICKEY,
                };
                rest.put(signature);
                Ok(vec![self.request(method, &rest)])
            }
            State::SigningHost(mut fields) => {
                fields.put(signature);
                Ok(vec![self.request(b"hostbased", &fields)])
            }
            _ => Err(AuthError::Unexpected(50)),
        }
    }

    /// The key cannot sign after all: the attempt is over without the server knowing.
    pub(crate) fn give_up(&mut self) {
        self.state = State::Idle;
    }

    /// A message of the server: 6, 51, 52, 53, 60, and 60 to 79 of the application's own methods.
    pub(crate) fn feed(&mut self, payload: &[u8]) -> Result<Vec<ClientAction>, AuthError> {
        let number = payload.first().copied().unwrap_or(0);
        match number {
            6 if !self.accepted => {
                let service = ServiceAccept::decode_packet(payload)?.service;
                if service.0 != USERAUTH {
                    return Err(AuthError::Service(service.to_string()));
                }
                self.accepted = true;
                Ok(Vec::new())
            }
            53 => self.banner(payload),
            _ if !self.accepted => Err(AuthError::Unexpected(number)),
            51 => self.failure(payload),
            52 => self.success(payload),
            number if METHOD_NUMBERS.contains(&number) && self.awaits_method() => self.own_message(payload),
            60 => self.method_message(payload),
            _ => Err(AuthError::Unexpected(number)),
        }
    }

    fn banner(&mut self, payload: &[u8]) -> Result<Vec<ClientAction>, AuthError> {
        let text = UserauthBanner::decode_packet(payload)?.text.0;
        self.banners = self.banners.saturating_add(1);
        if self.banners > self.limits.banners {
            return Err(AuthError::TooMany("banners"));
        }
        self.banner_bytes = self.banner_bytes.saturating_add(text.len());
        let shown = self.banner_bytes <= self.limits.banner_bytes;
        Ok(shown.then(|| ClientAction::Banner(text.to_vec())).into_iter().collect())
    }

    fn outstanding(&self) -> bool {
        !matches!(
            self.state,
            State::Idle
                | State::Done
                | State::Signing { .. }
                | State::SigningHost(_)
                | State::MethodAnswer { .. }
        )
    }

    fn failure(&mut self, payload: &[u8]) -> Result<Vec<ClientAction>, AuthError> {
        let message = UserauthFailure::decode_packet(payload)?;
        if !self.outstanding() {
            return Err(AuthError::Unexpected(51));
        }
        self.state = State::Idle;
        let methods = message.methods.names().map(str::to_owned).collect();
        Ok(vec![ClientAction::Failure { methods, partial: message.partial_success }])
    }

    fn success(&mut self, payload: &[u8]) -> Result<Vec<ClientAction>, AuthError> {
        UserauthSuccess::decode_packet(payload)?;
        // A probe asks only; success without a signature would be an authentication nobody made.
        if !self.outstanding() || matches!(self.state, State::Probe { .. }) {
            return Err(AuthError::Unexpected(52));
        }
        self.state = State::Done;
        Ok(vec![ClientAction::Success])
    }

    fn method_message(&mut self, payload: &[u8]) -> Result<Vec<ClientAction>, AuthError> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Probe { key, algorithm } => {
                let message = UserauthPkOk::decode_packet(payload)?;
                if message.algorithm.0 != algorithm.as_bytes() || message.key != key.public_key().blob() {
                    return Err(AuthError::Unexpected(60));
                }
                Ok(vec![self.sign(key, algorithm)])
            }
            State::Password(old) => {
                let message = UserauthPasswdChangereq::decode_packet(payload)?;
                self.state = State::Password(old);
                Ok(vec![ClientAction::ChangePassword(message.prompt.to_string())])
            }
            State::Interactive { rounds, .. } => self.info_request(payload, rounds),
            _ => Err(AuthError::Unexpected(60)),
        }
    }

    /// Whether a message of a method of the application's own may come.
    pub(crate) fn awaits_method(&self) -> bool {
        matches!(self.state, State::Method { .. })
    }

    fn own_message(&mut self, payload: &[u8]) -> Result<Vec<ClientAction>, AuthError> {
        let number = payload.first().copied().unwrap_or(0);
        let message = MethodMessage::read(payload).ok_or(AuthError::Unexpected(number))?;
        match self.state {
            State::Method { rounds } if rounds < self.limits.rounds => {
                self.state = State::MethodAnswer { rounds: rounds.saturating_add(1) };
                Ok(vec![ClientAction::Method(message)])
            }
            State::Method { .. } => Err(AuthError::TooMany("rounds of a method")),
            _ => Err(AuthError::Unexpected(number)),
        }
    }

    /// The answer that `Method` asked for.
    pub(crate) fn method_answer(&mut self, answer: &MethodMessage) -> Result<Vec<ClientAction>, AuthError> {
        let State::MethodAnswer { rounds } = self.state else {
            return Err(AuthError::Unexpected(answer.number()));
        };
        self.state = State::Method { rounds };
        Ok(vec![ClientAction::Send(answer.to_payload())])
    }

    fn info_request(&mut self, payload: &[u8], rounds: u32) -> Result<Vec<ClientAction>, AuthError> {
        let message = UserauthInfoRequest::decode_packet(payload)?;
        if message.count > self.limits.prompts {
            return Err(AuthError::TooMany("prompts"));
        }
        if rounds >= self.limits.rounds {
            return Err(AuthError::TooMany("rounds of prompts"));
        }
        let mut reader = Reader::new(message.prompts.0);
        let mut prompts = Vec::new();
        for _ in 0..message.count {
            let text = reader.get::<Escaped<'_>>()?.to_string();
            prompts.push(Prompt { text, echo: reader.get()? });
        }
        reader.finish()?;
        self.state = State::Interactive { rounds: rounds.saturating_add(1), prompts: prompts.len() };
        Ok(vec![ClientAction::Prompt(InteractiveQuery {
            name: message.name.to_string(),
            instructions: message.instruction.to_string(),
            prompts,
        })])
    }

    /// The user's answers, one a prompt.
    pub(crate) fn answers(&mut self, answers: &[Secret]) -> Result<Vec<ClientAction>, AuthError> {
        match &self.state {
            State::Interactive { prompts, .. } if *prompts == answers.len() => {}
            _ => return Err(AuthError::Unexpected(61)),
        }
        let size: usize = answers.iter().map(|answer| answer.expose().len().saturating_add(4)).sum();
        let mut packed = Zeroizing::new(Vec::with_capacity(size));
        for answer in answers {
            packed.put(answer.expose());
        }
        let count = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        let mut payload = Zeroizing::new(Vec::with_capacity(size.saturating_add(8)));
        UserauthInfoResponse { count, answers: HiddenRest(&packed) }.encode(&mut payload);
        Ok(vec![ClientAction::Send(payload)])
    }

    /// The new password that `ChangePassword` asked for.
    pub(crate) fn new_password(&mut self, new: Secret) -> Result<Vec<ClientAction>, AuthError> {
        let State::Password(old) = std::mem::replace(&mut self.state, State::Idle) else {
            return Err(AuthError::Unexpected(50));
        };
        let size = old.expose().len().saturating_add(new.expose().len()).saturating_add(16);
        let mut rest = Zeroizing::new(Vec::with_capacity(size));
        rest.put(&true).put(old.expose()).put(new.expose());
        let action = self.request(b"password", &rest);
        self.state = State::Password(new);
        Ok(vec![action])
    }
}
