//! The client's machine with the server's, method by method, and what hostile ones may try.

mod hostbased;
mod own;

use super::*;
use crate::crypto::secret::Secret;
use crate::key::{KeyKind, PKey};
use crate::msg::auth::{UserauthFailure, UserauthRequest, UserauthSuccess};
use crate::msg::transport::ServiceRequest;
use crate::wire::{Encode, Escaped, Rest, Writer};

const HOST_KEY: &[u8] = b"host key";
const SESSION: &[u8] = b"session";
const ALGORITHMS: &[&str] = &["ssh-ed25519", "rsa-sha2-512"];

const SERVER: ServerLimits =
    ServerLimits { tries: 6, requests: 20, rounds: 20, user_bytes: 1024, password_bytes: 1024 };
const CLIENT: ClientLimits =
    ClientLimits { attempts: 64, prompts: 100, rounds: 20, banners: 1024, banner_bytes: 64 * 1024 };

fn server() -> AuthServer {
    let mut server = AuthServer::new(SESSION, HOST_KEY, ALGORITHMS, SERVER);
    server.set_methods(vec!["publickey", "password", "keyboard-interactive"]);
    server.feed(&service_request()).unwrap();
    server
}

fn client() -> AuthClient {
    AuthClient::new(b"me", SESSION, true, CLIENT)
}

fn request(user: &str, method: &str, rest: &[u8]) -> Vec<u8> {
    UserauthRequest {
        user: Escaped(user.as_bytes()),
        service: Escaped(b"ssh-connection"),
        method: Escaped(method.as_bytes()),
        rest: Rest(rest),
    }
    .to_vec()
}

/// Runs one attempt; `decide` is the application. True when the client was let in.
fn attempt(
    client: &mut AuthClient,
    server: &mut AuthServer,
    attempt: Attempt,
    decide: &mut dyn FnMut(Question) -> AuthAnswer,
) -> bool {
    let mut to_do = client.attempt(attempt).unwrap();
    loop {
        let mut answers = Vec::new();
        for action in std::mem::take(&mut to_do) {
            match action {
                ClientAction::Send(payload) => answers.extend(serve(server, &payload, decide)),
                ClientAction::Sign { key, algorithm, data } => {
                    let signature = key.sign(algorithm, &data).unwrap();
                    to_do = client.signed(&signature).unwrap();
                }
                ClientAction::Prompt(query) => {
                    let replies: Vec<_> = query.prompts.iter().map(|_| Secret::from("42")).collect();
                    to_do = client.answers(&replies).unwrap();
                }
                ClientAction::Method(message) => to_do = client.method_answer(&message).unwrap(),
                ClientAction::ChangePassword(_) => to_do = client.new_password(Secret::from("new")).unwrap(),
                ClientAction::Banner(_) => {}
                ClientAction::Success => return true,
                ClientAction::Failure { .. } => return false,
            }
        }
        for payload in answers {
            to_do.extend(client.feed(&payload).unwrap());
        }
    }
}

fn serve(
    server: &mut AuthServer,
    payload: &[u8],
    decide: &mut dyn FnMut(Question) -> AuthAnswer,
) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    let mut to_do = server.feed(payload).unwrap();
    while !to_do.is_empty() {
        for action in std::mem::take(&mut to_do) {
            match action {
                ServerAction::Send(payload)
                | ServerAction::Refuse(payload)
                | ServerAction::Success(_, payload) => {
                    sent.push(payload);
                }
                ServerAction::Ask(Question::Interactive { .. }) => {
                    let query = InteractiveQuery::new("", "").prompt("code", false).prompt("again", true);
                    to_do = server.interactive_answer(InteractiveAnswer::Ask(query));
                }
                ServerAction::Ask(Question::InteractiveResponse { answers, .. }) => {
                    let right = answers.iter().all(|answer| answer.matches("42"));
                    to_do = server.interactive_answer(InteractiveAnswer::Done(AuthAnswer::when(right)));
                }
                ServerAction::Ask(question) => to_do = server.answer(decide(question)),
                ServerAction::TooMany => panic!("too many"),
            }
        }
    }
    sent
}

/// Nobody learns whether a password is right before the key that has to come first.
#[test]
fn a_method_that_is_not_next_is_refused_unseen() {
    let mut server = server();
    server.require(AuthenticationMethods::parse("publickey,password"));
    let mut password = Vec::new();
    password.put(&false).put("secret");
    for (method, rest) in [("password", &password[..]), ("keyboard-interactive", b"\0\0\0\0\0\0\0\0")] {
        let actions = server.feed(&request("me", method, rest)).unwrap();
        assert!(matches!(actions[..], [ServerAction::Refuse(_)]), "{method}");
    }
    server.require(AuthenticationMethods::parse("password"));
    let actions = server.feed(&request("me", "password", &password)).unwrap();
    assert!(matches!(actions[..], [ServerAction::Ask(Question::Password { .. })]));
}

#[test]
fn every_method_succeeds_and_fails() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    for probe in [true, false] {
        for yes in [true, false] {
            let sign = Attempt::PublicKey { key: key.clone(), algorithm: "ssh-ed25519", probe };
            let mut decide = |question: Question| {
                assert!(matches!(question, Question::PublicKey { ref user, .. } if user == "me"));
                AuthAnswer::when(yes)
            };
            assert_eq!(attempt(&mut client(), &mut server(), sign, &mut decide), yes);
        }
    }
    let mut password = |question: Question| match question {
        Question::Password { password, .. } if password.matches("old") => {
            AuthAnswer::ChangePassword("expired".into())
        }
        Question::ChangePassword { old, new, .. } => {
            AuthAnswer::when(old.matches("old") && new.matches("new"))
        }
        _ => AuthAnswer::Refuse,
    };
    assert!(attempt(&mut client(), &mut server(), Attempt::Password(Secret::from("old")), &mut password));
    assert!(!attempt(&mut client(), &mut server(), Attempt::Password(Secret::from("no")), &mut password));
    assert!(attempt(&mut client(), &mut server(), Attempt::Interactive, &mut |_| AuthAnswer::Refuse));
    assert!(attempt(&mut client(), &mut server(), Attempt::None, &mut |_| AuthAnswer::Accept));
}

#[test]
fn a_second_factor_is_lost_with_a_change_of_user() {
    let (mut client, mut server) = (client(), server());
    let mut decide = |_: Question| AuthAnswer::Partial;
    assert!(!attempt(&mut client, &mut server, Attempt::Password(Secret::from("x")), &mut decide));
    let mut password = vec![0];
    password.put("x");
    let actions = server.feed(&request("other", "password", &password)).unwrap();
    assert!(matches!(actions[..], [ServerAction::Ask(_)]));
    let actions = server.answer(AuthAnswer::Accept);
    let [ServerAction::Success(info, _)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((info.user.as_str(), &info.methods[..]), ("other", &["password"][..]));
}

/// A signed request with every part of it to be changed.
fn signed(key: &PKey, session: &[u8], user: &str, algorithm: &str, shown: &PKey) -> Vec<u8> {
    let data = method::signed_data(session, user.as_bytes(), algorithm, shown.public_key().blob(), None);
    let signature = key.sign("ssh-ed25519", &data).unwrap();
    let mut rest = vec![1];
    rest.put(algorithm).put(shown.public_key().blob()).put(signature.as_slice());
    request("me", "publickey", &rest)
}

#[test]
fn a_signature_of_anything_else_lets_nobody_in() {
    let (key, other) = (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::Ed25519).unwrap());
    for bad in [
        signed(&key, b"another session", "me", "ssh-ed25519", &key),
        signed(&key, SESSION, "you", "ssh-ed25519", &key),
        signed(&other, SESSION, "me", "ssh-ed25519", &key),
        signed(&key, SESSION, "me", "rsa-sha2-512", &key),
    ] {
        let mut server = server();
        let actions = server.feed(&bad).unwrap();
        let verdict = match &actions[..] {
            [ServerAction::Ask(_)] => server.answer(AuthAnswer::Accept),
            _ => actions,
        };
        assert!(matches!(verdict[..], [ServerAction::Refuse(_)]), "{verdict:?}");
    }
    let mut server = server();
    server.feed(&signed(&key, SESSION, "me", "ssh-ed25519", &key)).unwrap();
    let actions = server.answer(AuthAnswer::Accept);
    let [ServerAction::Success(info, _)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(info.key.as_ref(), Some(key.public_key()));
}

/// A signature that is bound to a server's host key is good there and nowhere else, and not without it.
#[test]
fn a_signature_bound_to_another_server_lets_nobody_in() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let bound = |signed_for: Option<&[u8]>, shown: &[u8]| {
        let blob = key.public_key().blob();
        let data = method::signed_data(SESSION, b"me", "ssh-ed25519", blob, signed_for);
        let mut rest = vec![1];
        rest.put("ssh-ed25519").put(blob).put(shown).put(key.sign("ssh-ed25519", &data).unwrap().as_slice());
        let mut server = server();
        let actions = server.feed(&request("me", "publickey-hostbound-v00@openssh.com", &rest)).unwrap();
        match &actions[..] {
            [ServerAction::Ask(_)] => server.answer(AuthAnswer::Accept),
            _ => actions,
        }
    };
    assert!(matches!(bound(Some(HOST_KEY), HOST_KEY)[..], [ServerAction::Success(..)]));
    for refused in [
        bound(Some(b"another"), b"another"),
        bound(Some(b"another"), HOST_KEY),
        bound(Some(HOST_KEY), b"another"),
        bound(None, HOST_KEY),
    ] {
        assert!(matches!(refused[..], [ServerAction::Refuse(_)]), "{refused:?}");
    }
    let (mut client, mut server) = (client(), server());
    client.bind_to_host(HOST_KEY);
    let login = Attempt::PublicKey { key: key.clone(), algorithm: "ssh-ed25519", probe: true };
    assert!(attempt(&mut client, &mut server, login, &mut |_| AuthAnswer::Accept));
}

#[test]
fn what_a_key_allows_adds_up_over_several_factors() {
    let granted = |command: &str| {
        let command = Some(command.as_bytes().to_vec());
        Box::new(Permissions { pty: false, command, ..Permissions::default() })
    };
    let (mut client, mut server) = (client(), server());
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let login = Attempt::PublicKey { key, algorithm: "ssh-ed25519", probe: false };
    assert!(!attempt(&mut client, &mut server, login, &mut |_| AuthAnswer::PartialWith(granted("date"))));
    let mut password = vec![0];
    password.put("x");
    // A second factor that forces something else is refused, and what the first allows still holds.
    server.feed(&request("me", "password", &password)).unwrap();
    let refused = server.answer(AuthAnswer::AcceptWith(granted("uname")));
    assert!(matches!(refused[..], [ServerAction::Refuse(_)]), "{refused:?}");
    server.feed(&request("me", "password", &password)).unwrap();
    let actions = server.answer(AuthAnswer::Accept);
    let [ServerAction::Success(info, _)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(info.permissions, *granted("date"));
}

#[test]
fn failures_of_every_kind_count() {
    let mut server = server();
    let mut count = 0;
    loop {
        let mut rest = vec![0];
        rest.put("x");
        let attempts =
            [request("me", "nonsense", b""), request("me", "password", &rest), request("me", "none", b"")];
        let actions = server.feed(&attempts[count % 3]).unwrap();
        let actions = match &actions[..] {
            [ServerAction::Ask(_)] => server.answer(AuthAnswer::Refuse),
            _ => actions,
        };
        count += 1;
        if matches!(actions[..], [ServerAction::TooMany]) {
            break;
        }
    }
    assert!((6..=7).contains(&count), "{count}");
}

#[test]
fn names_and_passwords_that_are_none_reach_nobody() {
    let huge = "x".repeat(2000);
    for (user, password) in [("a\0b", "x"), ("a\x1b[2J", "x"), (&huge, "x"), ("me", "a\0b"), ("me", &huge)] {
        let mut rest = vec![0];
        rest.put(password);
        let actions = server().feed(&request(user, "password", &rest)).unwrap();
        assert!(matches!(actions[..], [ServerAction::Refuse(_)]), "{actions:?}");
    }
}

#[test]
fn every_prefix_of_a_request_is_malformed_or_refused() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let mut rest = vec![0];
    rest.put("password");
    let requests = [signed(&key, SESSION, "me", "ssh-ed25519", &key), request("me", "password", &rest)];
    for whole in requests {
        for length in 1..whole.len() {
            if let Ok(actions) = server().feed(&whole[..length]) {
                assert!(matches!(actions[..], [ServerAction::Refuse(_)]), "{length}: {actions:?}");
            }
        }
    }
}

#[test]
fn messages_out_of_order_are_errors() {
    assert_eq!(
        AuthServer::new(SESSION, HOST_KEY, ALGORITHMS, SERVER).feed(&request("me", "none", b"")).unwrap_err(),
        AuthError::Unexpected(50)
    );
    for number in [6, 51, 52, 53, 60, 61] {
        assert!(server().feed(&[number]).is_err(), "server {number}");
    }
    let unknown = ServiceRequest { service: Escaped(b"ssh-connection") }.to_vec();
    assert!(matches!(server().feed(&unknown), Err(AuthError::Service(_))));
    for payload in [&[52][..], &[51, 0, 0, 0, 0, 0], &[60], &[50], &[5]] {
        assert!(client().feed(payload).is_err(), "client {payload:?}");
        assert!(AuthClient::new(b"me", SESSION, false, CLIENT).feed(payload).is_err());
    }
    // Success for a key that was only asked about would be an authentication that nobody made.
    let mut client = client();
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    client.attempt(Attempt::PublicKey { key, algorithm: "ssh-ed25519", probe: true }).unwrap();
    assert_eq!(client.feed(&[52]).unwrap_err(), AuthError::Unexpected(52));
}

#[test]
fn a_server_that_asks_too_much_is_left() {
    let ask = |count: u32, prompts: &[u8]| {
        let mut payload = vec![60];
        payload.put("").put("").put("").put(&count).put_raw(prompts);
        payload
    };
    let mut machine = client();
    machine.attempt(Attempt::Interactive).unwrap();
    assert_eq!(machine.feed(&ask(u32::MAX, b"")).unwrap_err(), AuthError::TooMany("prompts"));
    let mut machine = client();
    machine.attempt(Attempt::Interactive).unwrap();
    let rounds =
        (0..100).take_while(|_| machine.feed(&ask(0, b"")).is_ok() && machine.answers(&[]).is_ok()).count();
    assert_eq!(rounds, 20);
    let mut machine = client();
    let refused = |machine: &mut AuthClient| {
        let sent = machine.attempt(Attempt::None).is_ok();
        sent && machine.feed(&[51, 0, 0, 0, 0, 1]).is_ok()
    };
    assert_eq!((0..1000).take_while(|_| refused(&mut machine)).count(), 64);
    let banner = [&[53, 0, 0, 0x40, 0][..], &[b'x'; 0x4000], &[0; 4]].concat();
    let mut machine = client();
    let shown: usize = (0..1024).map(|_| machine.feed(&banner).unwrap().len()).sum();
    assert_eq!(shown, 4);
    assert_eq!(machine.feed(&banner).unwrap_err(), AuthError::TooMany("banners"));
}

#[test]
fn a_key_that_was_not_offered_is_not_signed_with() {
    let (key, other) = (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::Ed25519).unwrap());
    let mut machine = client();
    machine.attempt(Attempt::PublicKey { key, algorithm: "ssh-ed25519", probe: true }).unwrap();
    let mut ok = vec![60];
    ok.put("ssh-ed25519").put(other.public_key().blob());
    assert!(machine.feed(&ok).is_err());
}

/// Asking whether a key would do is no failure, but not free for ever.
#[test]
fn requests_that_never_fail_are_counted() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let mut rest = Vec::new();
    rest.put(&false).put("ssh-ed25519").put(key.public_key().blob());
    let mut server = server();
    for count in 1..=SERVER.requests {
        let actions = server.feed(&request("me", "publickey", &rest)).unwrap();
        assert!(matches!(actions[..], [ServerAction::Ask(_)]), "{count}: {actions:?}");
        assert!(matches!(server.answer(AuthAnswer::Accept)[..], [ServerAction::Send(_)]), "{count}");
    }
    let actions = server.feed(&request("me", "publickey", &rest)).unwrap();
    assert!(matches!(actions[..], [ServerAction::TooMany]), "{actions:?}");
}
