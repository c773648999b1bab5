//! The machines of key exchange and authentication with an honest partner whose words are meddled with.

use std::sync::{Arc, LazyLock};

use super::Input;
use crate::auth::{
    Attempt, AuthAnswer, AuthClient, AuthServer, ClientAction, ClientLimits, InteractiveAnswer,
    InteractiveQuery, MethodAnswer, MethodMessage, Question, ServerAction, ServerLimits, service_request,
};
use crate::crypto::secret::Secret;
use crate::kex::{Action, Algorithms, Kex, KexError, Role, Setup};
use crate::key::{KeyKind, PKey};

/// More than any message may lead to.
const ANSWERS: usize = 8;
/// Rounds of a dialogue; honest ones need fewer.
const ROUNDS: usize = 64;

static HOST_KEY: LazyLock<Option<PKey>> = LazyLock::new(|| PKey::generate(KeyKind::Ed25519).ok());

/// Methods that take little time.
const METHODS: [&str; 4] = [
    "curve25519-sha256",
    "ecdh-sha2-nistp256",
    "mlkem768x25519-sha256",
    "diffie-hellman-group-exchange-sha256",
];

struct Side {
    kex: Kex,
    out: Vec<Vec<u8>>,
    installed: bool,
}

impl Side {
    fn new(role: Role, method: &str) -> Option<Self> {
        let mut algorithms = Algorithms::client_defaults();
        algorithms.set_kex(method).ok()?;
        let (client, server) = (b"SSH-2.0-client".to_vec(), b"SSH-2.0-server".to_vec());
        let (our_ident, peer_ident) = if role == Role::Client { (client, server) } else { (server, client) };
        let key = HOST_KEY.as_ref()?.public_key().clone();
        let host_keys = if role == Role::Server { vec![key] } else { Vec::new() };
        let setup = Setup { role, algorithms, our_ident, peer_ident, host_keys, moduli: Arc::default() };
        let kexinit = Kex::kexinit(&setup, true).ok()?;
        let mut kex = Kex::new(setup);
        kex.begin(kexinit.clone());
        Some(Self { kex, out: vec![kexinit], installed: false })
    }

    fn act(&mut self, actions: Vec<Action>) -> Result<(), KexError> {
        assert!(actions.len() <= ANSWERS);
        for action in actions {
            match action {
                Action::Send(payload) => self.out.push(payload),
                Action::CheckHostKey(key) => {
                    let known = HOST_KEY.as_ref().map(PKey::public_key);
                    assert_eq!(Some(&key), known, "a host key was proven that the host does not hold");
                    let more = self.kex.host_key_accepted(key)?;
                    self.act(more)?;
                }
                Action::Sign { algorithm, data, .. } => {
                    let key = HOST_KEY.as_ref();
                    let Some(Ok(signature)) = key.map(|key| key.sign(algorithm, &data)) else { continue };
                    let more = self.kex.signed(signature)?;
                    self.act(more)?;
                }
                Action::NewKeys { .. } => self.out.push(vec![21]),
                Action::Install { .. } => self.installed = true,
                Action::Finished => {}
            }
        }
        Ok(())
    }

    fn feed(&mut self, payload: &[u8]) -> Result<(), KexError> {
        let actions = self.kex.feed(payload)?;
        self.act(actions)
    }
}

/// A client whose server is meddled with: it accepts no key that the host does not hold.
pub fn kex_client(data: &[u8]) {
    exchange(data, Role::Client);
}

/// A server whose client is meddled with.
pub fn kex_server(data: &[u8]) {
    exchange(data, Role::Server);
}

fn exchange(data: &[u8], victim: Role) {
    let mut input = Input(data);
    let Some(method) = METHODS.get(usize::from(input.byte()) % METHODS.len()) else { return };
    let honest = if victim == Role::Client { Role::Server } else { Role::Client };
    let (Some(mut victim), Some(mut honest)) = (Side::new(victim, method), Side::new(honest, method)) else {
        return;
    };
    for _ in 0..ROUNDS {
        for payload in std::mem::take(&mut victim.out) {
            // What an honest partner makes of a broken dialogue is not looked at.
            let _ = honest.feed(&payload);
        }
        let said = std::mem::take(&mut honest.out);
        if said.is_empty() && input.is_empty() {
            break;
        }
        let said = if said.is_empty() { vec![input.piece(1024).to_vec()] } else { said };
        for payload in said.into_iter().flat_map(|payload| input.meddle(payload)) {
            if victim.feed(&payload).is_err() {
                return;
            }
        }
    }
    if victim.installed && honest.installed {
        assert_eq!(victim.kex.session_id(), honest.kex.session_id(), "both are done and do not agree");
    }
}

const CLIENT: ClientLimits =
    ClientLimits { attempts: 64, prompts: 100, rounds: 20, banners: 1024, banner_bytes: 64 * 1024 };
const SERVER: ServerLimits =
    ServerLimits { tries: 6, requests: 20, rounds: 20, user_bytes: 1024, password_bytes: 1024 };
const SESSION: &[u8] = b"session";
/// A method of the application's own.
const OWN: &str = "stamp@example.org";

/// Answers what an application is asked: one key would do, and nobody here can sign with it.
fn judge(machine: &mut AuthServer, question: Question) -> Vec<ServerAction> {
    let query = || InteractiveQuery::new("", "").prompt("Code: ", false);
    match question {
        Question::PublicKey { key, .. } => {
            let known = HOST_KEY.as_ref().is_some_and(|known| *known.public_key() == key);
            machine.answer(AuthAnswer::when(known))
        }
        Question::Password { password, .. } if password.matches("old") => {
            machine.answer(AuthAnswer::ChangePassword("another".to_owned()))
        }
        Question::Interactive { .. } => machine.interactive_answer(InteractiveAnswer::Ask(query())),
        Question::InteractiveResponse { answers, .. } => {
            let again = answers.iter().any(|answer| answer.matches("again"));
            let refused = InteractiveAnswer::Done(AuthAnswer::Refuse);
            machine.interactive_answer(if again { InteractiveAnswer::Ask(query()) } else { refused })
        }
        Question::Method { .. } => machine.method_answer(asking(b"what?")),
        Question::MethodResponse { message, .. } => {
            let again = message.data() == b"again";
            let refused = MethodAnswer::Done(AuthAnswer::Refuse);
            machine.method_answer(if again { asking(message.data()) } else { refused })
        }
        _ => machine.answer(AuthAnswer::Refuse),
    }
}

/// A message of a method of the application's own.
fn asking(data: &[u8]) -> MethodAnswer {
    let message = MethodMessage::new(60, data);
    message.map_or(MethodAnswer::Done(AuthAnswer::Refuse), MethodAnswer::Ask)
}

/// What a server sends for a message of its client; none when it is over. It never lets anybody in.
fn serve(machine: &mut AuthServer, payload: &[u8]) -> Option<Vec<Vec<u8>>> {
    machine.set_methods(vec!["publickey", "password", "hostbased", "keyboard-interactive", OWN]);
    let mut actions = machine.feed(payload).ok()?;
    let mut sent = Vec::new();
    while !actions.is_empty() {
        assert!(actions.len() <= ANSWERS);
        for action in std::mem::take(&mut actions) {
            match action {
                ServerAction::Send(payload) | ServerAction::Refuse(payload) => sent.push(payload),
                ServerAction::Ask(question) => actions = judge(machine, question),
                ServerAction::Success(info, _) => panic!("{info:?} was let in without a proof"),
                ServerAction::TooMany => return None,
            }
        }
    }
    Some(sent)
}

/// A client's next attempt.
fn attempt(choice: u8) -> Option<Attempt> {
    static KEY: LazyLock<Option<PKey>> = LazyLock::new(|| PKey::generate(KeyKind::Ed25519).ok());
    Some(match choice % 6 {
        0 => Attempt::None,
        1 => Attempt::Password(Secret::from("wrong")),
        2 => Attempt::Password(Secret::from("old")),
        3 => Attempt::Interactive,
        5 => Attempt::Own { method: OWN, fields: Secret::from("fields") },
        _ => Attempt::PublicKey {
            key: KEY.clone()?,
            algorithm: "ssh-ed25519",
            probe: choice.is_multiple_of(2),
        },
    })
}

/// What a client sends for `actions`; none when it is over.
fn speak(machine: &mut AuthClient, actions: Vec<ClientAction>) -> Option<Vec<Vec<u8>>> {
    let mut sent = Vec::new();
    let mut waiting = actions;
    while !waiting.is_empty() {
        assert!(waiting.len() <= ANSWERS);
        for action in std::mem::take(&mut waiting) {
            match action {
                ClientAction::Send(payload) => sent.push(payload.to_vec()),
                ClientAction::Sign { key, algorithm, data } => {
                    waiting = machine.signed(&key.sign(algorithm, &data).ok()?).ok()?;
                }
                ClientAction::Prompt(query) => {
                    let answers = vec![Secret::from("again"); query.prompts.len()];
                    waiting = machine.answers(&answers).ok()?;
                }
                ClientAction::Method(_) => {
                    waiting = machine.method_answer(&MethodMessage::new(61, "again")?).ok()?;
                }
                ClientAction::ChangePassword(_) => {
                    waiting = machine.new_password(Secret::from("new")).ok()?
                }
                ClientAction::Banner(_) | ClientAction::Failure { .. } => {}
                ClientAction::Success => return None,
            }
        }
    }
    Some(sent)
}

/// A server whose client is meddled with. Nothing that it says is a proof: it is never let in.
pub fn auth_server(data: &[u8]) {
    let mut input = Input(data);
    let mut server = AuthServer::new(SESSION, b"host key", &["ssh-ed25519", "rsa-sha2-256"], SERVER);
    let mut client = AuthClient::new(b"me", SESSION, true, CLIENT);
    let mut out = vec![service_request()];
    for _ in 0..ROUNDS {
        if out.is_empty() {
            let Some(next) = attempt(input.byte()) else { return };
            let Ok(actions) = client.attempt(next) else { return };
            out = speak(&mut client, actions).unwrap_or_default();
        }
        let mut replies = Vec::new();
        for payload in std::mem::take(&mut out).into_iter().flat_map(|payload| input.meddle(payload)) {
            let Some(sent) = serve(&mut server, &payload) else { return };
            replies.extend(sent);
        }
        for reply in replies {
            if let Ok(actions) = client.feed(&reply) {
                out.extend(speak(&mut client, actions).unwrap_or_default());
            } else {
                // It has lost the thread; another goes on.
                client = AuthClient::new(b"me", SESSION, true, CLIENT);
            }
        }
        if input.is_empty() && out.is_empty() {
            return;
        }
    }
}

/// A client whose server is meddled with. It signs with no key but its own.
pub fn auth_client(data: &[u8]) {
    let mut input = Input(data);
    let mut server = AuthServer::new(SESSION, b"host key", &["ssh-ed25519"], SERVER);
    let mut client = AuthClient::new(b"me", SESSION, false, CLIENT);
    let mut out = vec![service_request()];
    for _ in 0..ROUNDS {
        let Some(next) = attempt(input.byte()) else { return };
        let Ok(actions) = client.attempt(next) else { return };
        out.extend(speak(&mut client, actions).unwrap_or_default());
        while !out.is_empty() {
            let mut replies = Vec::new();
            for payload in std::mem::take(&mut out) {
                replies.extend(serve(&mut server, &payload).unwrap_or_default());
            }
            for reply in replies.into_iter().flat_map(|payload| input.meddle(payload)) {
                let Ok(actions) = client.feed(&reply) else { return };
                let Some(sent) = speak(&mut client, actions) else { return };
                out.extend(sent);
            }
        }
        if input.is_empty() {
            return;
        }
    }
}
