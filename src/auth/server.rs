//! The server's machine. Every request is read to its end before anybody is asked; signatures are
//! checked here and nowhere else; whatever the reason, a refusal looks the same.

mod own;
mod question;

use super::hostbased::{self, HostRequest};
use super::method::{
    AuthAnswer, AuthInfo, CONNECTION, HOSTBOUND, InteractiveAnswer, InteractiveQuery, PUBLICKEY, USERAUTH,
    signed_data,
};
use super::own::METHOD_NUMBERS;
use super::{AuthError, AuthenticationMethods, HostbasedClient, Permissions};
use crate::crypto::secret::Secret;
use crate::key::{CertificateError, KeySpec, PublicKey, RSA_MIN, TokenUse};
use crate::msg::auth::{
    UserauthFailure, UserauthInfoRequest, UserauthInfoResponse, UserauthPasswdChangereq, UserauthPkOk,
    UserauthRequest, UserauthSuccess,
};
use crate::msg::transport::{ServiceAccept, ServiceRequest};
use crate::wire::{Encode, Escaped, NameList, Reader, Rest, Writer};

pub(crate) use question::Question;

/// What a client is held to; [`crate::Limits`] says why.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerLimits {
    pub(crate) tries: u32,
    pub(crate) requests: u32,
    pub(crate) rounds: u32,
    pub(crate) user_bytes: usize,
    pub(crate) password_bytes: usize,
}

/// What whoever drives the machine has to do.
#[derive(Debug)]
pub(crate) enum ServerAction {
    Send(Vec<u8>),
    /// A refusal: to be sent after a while, the same while for all.
    Refuse(Vec<u8>),
    Ask(Question),
    Success(AuthInfo, Vec<u8>),
    /// The client has failed too often.
    TooMany,
}

enum State {
    /// Before SERVICE_REQUEST.
    Service,
    Idle,
    Password,
    Query {
        algorithm: &'static str,
        key: PublicKey,
    },
    Verified {
        key: PublicKey,
        /// How a token was used, if the signature is good.
        good: Option<Option<TokenUse>>,
    },
    Hostbased {
        client: HostbasedClient,
        /// The signature is the host's.
        good: bool,
    },
    None,
    InteractiveStart,
    /// Prompts are out.
    Prompted {
        count: u32,
        rounds: u32,
    },
    InteractiveAnswered {
        rounds: u32,
    },
    /// The application is asked about a message of its own method.
    Method {
        method: &'static str,
        rounds: u32,
    },
    /// A message of that method is out.
    MethodAsked {
        method: &'static str,
        rounds: u32,
    },
    Done,
}

/// The server's side of authentication.
pub(crate) struct AuthServer {
    session_id: Vec<u8>,
    /// The blob of the host key that the first exchange was signed with.
    host_key: Vec<u8>,
    /// Signature algorithms of users' keys, and of hosts'.
    algorithms: Vec<&'static str>,
    host_algorithms: Vec<&'static str>,
    /// And of the authorities of their certificates.
    ca_signatures: Vec<&'static str>,
    methods: Vec<&'static str>,
    /// Which methods are to be passed, if one is not enough.
    required: Option<AuthenticationMethods>,
    limits: ServerLimits,
    rsa_bits: usize,
    own_keys: Vec<&'static KeySpec>,
    requests: u32,
    failures: u32,
    nones: u32,
    user: Option<String>,
    passed: Vec<&'static str>,
    key: Option<PublicKey>,
    /// The keys that were passed with: each counts once.
    used: Vec<PublicKey>,
    hostbased: Option<HostbasedClient>,
    permissions: Permissions,
    method: &'static str,
    state: State,
}

impl AuthServer {
    /// `algorithms` are the signature algorithms accepted.
    pub(crate) fn new(
        session_id: &[u8],
        host_key: &[u8],
        algorithms: &[&'static str],
        limits: ServerLimits,
    ) -> Self {
        Self {
            session_id: session_id.to_vec(),
            host_key: host_key.to_vec(),
            algorithms: algorithms.to_vec(),
            host_algorithms: algorithms.to_vec(),
            ca_signatures: Vec::new(),
            methods: Vec::new(),
            required: None,
            limits,
            rsa_bits: RSA_MIN,
            own_keys: Vec::new(),
            requests: 0,
            failures: 0,
            nones: 0,
            user: None,
            passed: Vec::new(),
            key: None,
            used: Vec::new(),
            hostbased: None,
            permissions: Permissions::default(),
            method: "none",
            state: State::Service,
        }
    }

    /// The least size of users' RSA keys, in bits.
    pub(crate) fn require_rsa(&mut self, bits: usize) {
        self.rsa_bits = bits;
    }

    /// Key types of the application's own, which users may have.
    pub(crate) fn take_own_keys(&mut self, own: &[&'static KeySpec]) {
        self.own_keys = own.to_vec();
    }

    /// The methods that a refusal lists; asked of the application for each user.
    pub(crate) fn set_methods(&mut self, methods: Vec<&'static str>) {
        self.methods = methods;
    }

    /// Which methods the user has to pass; asked of the application for each user.
    pub(crate) fn require(&mut self, required: Option<AuthenticationMethods>) {
        self.required = required;
    }

    /// The signature algorithms of certificates' authorities from now on; without any, no certificate counts.
    pub(crate) fn take_authorities(&mut self, algorithms: &[&'static str]) {
        self.ca_signatures = algorithms.to_vec();
    }

    /// Why the authority of the key's certificate, if it has one, may not sign so.
    fn refused_authority(&self, key: &PublicKey) -> Option<CertificateError> {
        let algorithm = key.certificate()?.algorithm();
        let refused = || CertificateError::Algorithm(algorithm.to_owned());
        (!self.ca_signatures.contains(&algorithm)).then(refused)
    }

    /// The signature algorithms of users' keys and of hosts' from now on.
    pub(crate) fn set_algorithms(&mut self, users: &[&'static str], hosts: &[&'static str]) {
        (self.algorithms, self.host_algorithms) = (users.to_vec(), hosts.to_vec());
    }

    /// What the client is held to from now on.
    pub(crate) fn set_limits(&mut self, limits: ServerLimits) {
        self.limits = limits;
    }

    /// A message of the client: 5, 50, 61, and 60 to 79 of the application's own methods.
    pub(crate) fn feed(&mut self, payload: &[u8]) -> Result<Vec<ServerAction>, AuthError> {
        let number = payload.first().copied().unwrap_or(0);
        match (std::mem::replace(&mut self.state, State::Idle), number) {
            (State::Service, 5) | (State::Idle, 5) => {
                let service = ServiceRequest::decode_packet(payload)?.service;
                if service.0 != USERAUTH {
                    return Err(AuthError::Service(service.to_string()));
                }
                Ok(vec![ServerAction::Send(ServiceAccept { service: Escaped(USERAUTH) }.to_vec())])
            }
            (State::Done, 50 | 61) => {
                self.state = State::Done;
                Ok(Vec::new())
            }
            // A request in the middle of an attempt abandons it, RFC 4252 §5 and RFC 4256 §3.1.
            (State::Idle | State::Prompted { .. } | State::MethodAsked { .. }, 50) => self.request(payload),
            (State::MethodAsked { method, rounds }, number) if METHOD_NUMBERS.contains(&number) => {
                self.method_response(payload, method, rounds)
            }
            (State::Prompted { count, rounds }, 61) => self.response(payload, count, rounds),
            (_, number) => Err(AuthError::Unexpected(number)),
        }
    }

    fn request(&mut self, payload: &[u8]) -> Result<Vec<ServerAction>, AuthError> {
        let message = UserauthRequest::decode_packet(payload)?;
        self.requests = self.requests.saturating_add(1);
        if self.requests > self.limits.requests {
            return Ok(vec![ServerAction::TooMany]);
        }
        if message.service.0 != CONNECTION {
            return Err(AuthError::Service(message.service.to_string()));
        }
        let user = self.sane_user(message.user.0);
        if self.user.as_deref() != user {
            // Whatever was passed was passed by somebody else.
            self.passed.clear();
            self.key = None;
            self.used.clear();
            self.hostbased = None;
            self.permissions = Permissions::default();
            self.user = user.map(str::to_owned);
        }
        let rest = message.rest.0;
        if !self.may_come(message.method.0) {
            return Ok(self.refuse());
        }
        match message.method.0 {
            b"none" => self.none(rest),
            b"password" => self.password(rest),
            PUBLICKEY => self.public_key(message.user.0, rest, false),
            HOSTBOUND => self.public_key(message.user.0, rest, true),
            b"hostbased" => self.hostbased(message.user.0, rest),
            b"keyboard-interactive" => self.interactive(rest),
            name => Ok(self.method(name, rest)),
        }
    }

    /// Whether the lists of methods have this one next. "none" asks for the methods, and is no step of any.
    fn may_come(&self, method: &[u8]) -> bool {
        let method = if method == HOSTBOUND { PUBLICKEY } else { method };
        self.required.as_ref().is_none_or(|required| {
            method == b"none" || required.next(&self.passed).iter().any(|next| next.as_bytes() == method)
        })
    }

    /// The user that a request names, if it is a name that the application may see.
    pub(crate) fn user_of(&self, payload: &[u8]) -> Option<String> {
        let message = UserauthRequest::decode_packet(payload).ok()?;
        self.sane_user(message.user.0).map(str::to_owned)
    }

    fn sane_user<'a>(&self, user: &'a [u8]) -> Option<&'a str> {
        let user = std::str::from_utf8(user).ok();
        user.filter(|user| user.len() <= self.limits.user_bytes && !user.chars().any(char::is_control))
    }

    fn ask(
        &mut self,
        method: &'static str,
        state: State,
        question: impl FnOnce(String) -> Question,
    ) -> Vec<ServerAction> {
        let Some(user) = self.user.clone() else { return self.refuse() };
        self.method = method;
        self.state = state;
        vec![ServerAction::Ask(question(user))]
    }

    fn none(&mut self, rest: &[u8]) -> Result<Vec<ServerAction>, AuthError> {
        Reader::new(rest).finish()?;
        self.nones = self.nones.saturating_add(1);
        Ok(self.ask("none", State::None, |user| Question::None { user }))
    }

    fn password(&mut self, rest: &[u8]) -> Result<Vec<ServerAction>, AuthError> {
        let mut reader = Reader::new(rest);
        let change = reader.get::<bool>()?;
        let old = reader.string()?;
        let new = if change { Some(reader.string()?) } else { None };
        reader.finish()?;
        let sane = |password: &[u8]| password.len() <= self.limits.password_bytes && !password.contains(&0);
        if !sane(old) || !new.is_none_or(sane) || !self.methods.contains(&"password") {
            return Ok(self.refuse());
        }
        let old = Secret::from(old);
        Ok(self.ask("password", State::Password, |user| match new {
            None => Question::Password { user, password: old },
            Some(new) => Question::ChangePassword { user, old, new: Secret::from(new) },
        }))
    }

    /// `bound`: our host key stands in it too, and is signed.
    fn public_key(
        &mut self,
        raw_user: &[u8],
        rest: &[u8],
        bound: bool,
    ) -> Result<Vec<ServerAction>, AuthError> {
        let mut reader = Reader::new(rest);
        let signed = reader.get::<bool>()?;
        let (name, blob) = (reader.string()?, reader.string()?);
        let host_key = if bound { Some(reader.string()?) } else { None };
        let signature = if signed { Some(reader.string()?) } else { None };
        reader.finish()?;
        if host_key.is_some_and(|host_key| host_key != self.host_key) {
            return Ok(self.refuse());
        }
        let algorithm = self.algorithms.iter().copied().find(|known| known.as_bytes() == name);
        let key = PublicKey::from_any_blob(blob, &self.own_keys)
            .inspect_err(|error| log::info!(target: "feramiko::auth", "a public key is not read: {error}"));
        let (Some(algorithm), Ok(key)) = (algorithm, key) else { return Ok(self.refuse()) };
        let plain = || key.without_certificate();
        let spent = self.used.iter().any(|used| *used == plain());
        if let Some(refused) = self.refused_authority(&key) {
            log::warn!(target: "feramiko::auth", "{}: {refused}", key.fingerprint());
            return Ok(self.refuse());
        }
        if spent || !key.algorithms().contains(&algorithm) || !self.methods.contains(&"publickey") {
            return Ok(self.refuse());
        }
        let state = match signature {
            None => State::Query { algorithm, key: key.clone() },
            Some(signature) => {
                let data = signed_data(&self.session_id, raw_user, algorithm, blob, host_key);
                // The application is asked either way, so that the time tells nothing.
                State::Verified {
                    good: key.verify_use_sized(self.rsa_bits, algorithm, &data, signature).ok(),
                    key: key.clone(),
                }
            }
        };
        Ok(self.ask("publickey", state, |user| match key.certificate() {
            None => Question::PublicKey { user, key },
            Some(_) => Question::Certificate { user, key },
        }))
    }

    fn hostbased(&mut self, raw_user: &[u8], rest: &[u8]) -> Result<Vec<ServerAction>, AuthError> {
        let request = HostRequest::read(rest)?;
        let known = |known: &&'static str| known.as_bytes() == request.algorithm;
        let algorithm = self.host_algorithms.iter().copied().find(known);
        let (Some(algorithm), Some(client)) = (algorithm, request.client(self.limits.user_bytes)) else {
            return Ok(self.refuse());
        };
        if let Some(refused) = self.refused_authority(&client.key) {
            log::warn!(target: "feramiko::auth", "host {}: {refused}", client.host);
            return Ok(self.refuse());
        }
        if !client.key.algorithms().contains(&algorithm) || !self.methods.contains(&"hostbased") {
            return Ok(self.refuse());
        }
        let data = hostbased::signed_data(&self.session_id, raw_user, request.fields);
        // As with users' keys, the application is asked either way.
        let good = client.key.verify_sized(self.rsa_bits, algorithm, &data, request.signature).is_ok();
        let state = State::Hostbased { client: client.clone(), good };
        Ok(self.ask("hostbased", state, |user| Question::Hostbased { user, client }))
    }

    fn interactive(&mut self, rest: &[u8]) -> Result<Vec<ServerAction>, AuthError> {
        let mut reader = Reader::new(rest);
        reader.string()?;
        reader.string()?;
        reader.finish()?;
        if !self.methods.contains(&"keyboard-interactive") {
            return Ok(self.refuse());
        }
        Ok(self.ask("keyboard-interactive", State::InteractiveStart, |user| Question::Interactive { user }))
    }

    fn response(&mut self, payload: &[u8], count: u32, rounds: u32) -> Result<Vec<ServerAction>, AuthError> {
        let message = UserauthInfoResponse::decode_packet(payload)?;
        if message.count != count {
            return Ok(self.refuse());
        }
        let mut reader = Reader::new(message.answers.0);
        let mut answers = Vec::new();
        for _ in 0..count {
            answers.push(Secret::from(reader.string()?));
        }
        reader.finish()?;
        let longest = self.limits.password_bytes;
        let sane = |answer: &Secret| answer.expose().len() <= longest && !answer.expose().contains(&0);
        if !answers.iter().all(sane) {
            return Ok(self.refuse());
        }
        let state = State::InteractiveAnswered { rounds };
        Ok(self.ask("keyboard-interactive", state, |user| Question::InteractiveResponse { user, answers }))
    }

    /// The application's answer to every question but keyboard-interactive ones.
    pub(crate) fn answer(&mut self, answer: AuthAnswer) -> Vec<ServerAction> {
        match (std::mem::replace(&mut self.state, State::Idle), answer) {
            (State::Query { .. }, AuthAnswer::Refuse | AuthAnswer::ChangePassword(_)) => self.refuse(),
            (State::Query { algorithm, key }, _) => {
                let ok = UserauthPkOk { algorithm: Escaped(algorithm.as_bytes()), key: key.blob() };
                vec![ServerAction::Send(ok.to_vec())]
            }
            (State::Verified { good: None, .. }, _) => self.refuse(),
            (State::Verified { key, good: Some(token) }, answer) => match granted(&key, token, answer) {
                Some(answer) => self.decide(answer, Some(key)),
                None => self.refuse(),
            },
            (State::Hostbased { good: false, .. }, _) => self.refuse(),
            (State::Hostbased { client, good: true }, answer) => self.decide_host(client, answer),
            (State::Password, AuthAnswer::ChangePassword(prompt)) => {
                let ask = UserauthPasswdChangereq { prompt: Escaped(prompt.as_bytes()), language: b"" };
                vec![ServerAction::Send(ask.to_vec())]
            }
            (State::Password | State::None, answer) => self.decide(answer, None),
            (_, _) => self.refuse(),
        }
    }

    /// The application's answer to a keyboard-interactive question.
    pub(crate) fn interactive_answer(&mut self, answer: InteractiveAnswer) -> Vec<ServerAction> {
        let rounds = match std::mem::replace(&mut self.state, State::Idle) {
            State::InteractiveStart => 0,
            State::InteractiveAnswered { rounds } => rounds,
            _ => return self.refuse(),
        };
        match answer {
            InteractiveAnswer::Done(answer) => self.decide(answer, None),
            InteractiveAnswer::Ask(_) if rounds >= self.limits.rounds => self.refuse(),
            InteractiveAnswer::Ask(query) => self.prompt(&query, rounds),
        }
    }

    fn prompt(&mut self, query: &InteractiveQuery, rounds: u32) -> Vec<ServerAction> {
        let count = u32::try_from(query.prompts.len()).unwrap_or(u32::MAX);
        let mut prompts = Vec::new();
        for prompt in &query.prompts {
            prompts.put(prompt.text.as_str()).put(&prompt.echo);
        }
        self.state = State::Prompted { count, rounds: rounds.saturating_add(1) };
        let ask = UserauthInfoRequest {
            name: Escaped(query.name.as_bytes()),
            instruction: Escaped(query.instructions.as_bytes()),
            language: b"",
            count,
            prompts: Rest(&prompts),
        };
        vec![ServerAction::Send(ask.to_vec())]
    }

    fn decide_host(&mut self, client: HostbasedClient, answer: AuthAnswer) -> Vec<ServerAction> {
        let before = self.hostbased.replace(client);
        let decided = self.decide(answer, None);
        if matches!(decided[..], [ServerAction::Refuse(_) | ServerAction::TooMany]) {
            self.hostbased = before;
        }
        decided
    }

    fn decide(&mut self, answer: AuthAnswer, key: Option<PublicKey>) -> Vec<ServerAction> {
        let Some((whole, granted)) = answer.passed() else { return self.refuse() };
        // What was passed before allows no more than it did.
        let before = self.permissions.clone();
        let both = match granted {
            Some(granted) => before.and(granted),
            None => Some(before),
        };
        let (Some(permissions), Some(user)) = (both, self.user.clone()) else { return self.refuse() };
        let lists = self.required.is_some();
        if lists && self.method == "none" {
            return self.refuse();
        }
        if let Some(key) = key {
            self.used.push(key.without_certificate());
            self.key = Some(key);
        }
        if whole || lists || !self.passed.contains(&self.method) {
            self.passed.push(self.method);
        }
        let whole = whole && self.required.as_ref().is_none_or(|required| required.satisfied(&self.passed));
        if whole {
            self.state = State::Done;
            let (methods, key) = (self.passed.clone(), self.key.take());
            let hostbased = self.hostbased.take();
            let info = AuthInfo { user, methods, key, hostbased, permissions };
            return vec![ServerAction::Success(info, UserauthSuccess {}.to_vec())];
        }
        self.permissions = permissions;
        vec![ServerAction::Send(self.failure(true))]
    }

    fn failure(&self, partial_success: bool) -> Vec<u8> {
        let next = self.required.as_ref().map(|required| required.next(&self.passed));
        let may = |method: &&str| match &next {
            Some(next) => next.contains(method),
            None => !self.passed.contains(method),
        };
        let left: Vec<_> = self.methods.iter().copied().filter(may).collect();
        UserauthFailure { methods: NameList::from_joined(&left.join(",")), partial_success }.to_vec()
    }

    /// No, for whatever reason. The first "none" is how clients ask for the methods; it is free.
    fn refuse(&mut self) -> Vec<ServerAction> {
        self.state = State::Idle;
        let free = self.method == "none" && self.nones == 1 && self.failures == 0;
        if free {
            self.nones = self.nones.saturating_add(1);
        } else {
            self.failures = self.failures.saturating_add(1);
        }
        let failure = self.failure(false);
        self.method = "";
        if self.failures >= self.limits.tries {
            vec![ServerAction::TooMany]
        } else if free {
            // It proves nothing and tells nothing: it need not be slow.
            vec![ServerAction::Send(failure)]
        } else {
            vec![ServerAction::Refuse(failure)]
        }
    }
}

/// The application's answer with what a certificate allows taken into account; none when that, or the
/// way a token was used, does not do.
fn granted(key: &PublicKey, token: Option<TokenUse>, answer: AuthAnswer) -> Option<AuthAnswer> {
    let (whole, own) = answer.passed()?;
    let permissions = match (own, key.certificate().map(Permissions::of_certificate)) {
        (Some(own), Some(certified)) => own.and(certified).or_else(|| {
            log::error!(target: "feramiko::auth", "a line and a certificate force different commands");
            None
        })?,
        (own, certified) => own.or(certified).unwrap_or_default(),
    };
    if let Some(token) = token
        && (permissions.touch_required && !token.touched || permissions.verify_required && !token.verified)
    {
        return None;
    }
    let permissions = Box::new(permissions);
    Some(if whole { AuthAnswer::AcceptWith(permissions) } else { AuthAnswer::PartialWith(permissions) })
}
