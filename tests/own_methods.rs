//! An authentication method of an application's own: our client and our server in two rounds, each with AsyncSSH, one
//! factor of two, and clients that say too much, too early and too late.

mod given;
mod peers;
mod raw;

use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use feramiko::{
    Answer, AuthAnswer, AuthInfo, AuthMethod, AuthenticationMethods, Error, ExitStatus, MethodAnswer,
    MethodLogin, MethodMessage, Permissions, PtyRequest, SSHServer, Secret, ServerHandle, ServerInterface,
    Session, SessionRequest, Transport, TransportOptions,
};
use peers::{Keys, Python};
use raw::{Field, Raw, auth_request};
use serde_json::json;

const NAME: &str = "challenge@example.org";
/// More than any verdict takes on a busy machine.
const LONG: Duration = Duration::from_secs(20);

/// What answers a challenge: it is good for one connection.
fn stamp(login: &MethodLogin<'_>, challenge: &[u8], secret: &str) -> Vec<u8> {
    let text = [login.session_id, challenge, login.user.as_bytes(), secret.as_bytes()].concat();
    let sum = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    sum.to_be_bytes().to_vec()
}

/// Says hello, then answers two challenges.
struct Challenge {
    secret: &'static str,
    /// Gives up instead of answering this one.
    gives_up: usize,
    asked: Arc<AtomicUsize>,
}

impl Challenge {
    fn new(secret: &'static str) -> Self {
        Self { secret, gives_up: usize::MAX, asked: Arc::default() }
    }
}

impl AuthMethod for Challenge {
    fn name(&self) -> &'static str {
        NAME
    }

    fn request(&mut self, login: &MethodLogin<'_>) -> feramiko::Result<Secret> {
        assert_eq!(login.method, NAME);
        Ok(Secret::from("hello"))
    }

    fn answer(
        &mut self,
        login: &MethodLogin<'_>,
        message: &MethodMessage,
    ) -> feramiko::Result<Option<MethodMessage>> {
        let asked = self.asked.fetch_add(1, SeqCst);
        let answer = stamp(login, message.data(), self.secret);
        // Both ways have numbers of their own, and any of them.
        Ok((asked != self.gives_up).then(|| MethodMessage::new(message.number() + 1, answer)).flatten())
    }
}

#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    responses: AtomicUsize,
    logins: Mutex<Vec<AuthInfo>>,
}

struct Door {
    seen: Arc<Seen>,
    methods: &'static [&'static str],
    /// What was asked last.
    round: Mutex<u8>,
}

impl Door {
    /// A challenge, by a number of its own.
    fn ask(&self, round: u8) -> MethodAnswer {
        *self.round.lock().unwrap() = round;
        MethodAnswer::Ask(MethodMessage::new(60 + 18 * (round - 1), vec![round; 100]).unwrap())
    }
}

impl ServerInterface for Door {
    fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
        self.methods.to_vec()
    }

    fn authentication_methods(&self, user: &str) -> Option<AuthenticationMethods> {
        let lists = user.strip_prefix("by ")?;
        Some(AuthenticationMethods::parse(lists).unwrap())
    }

    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_auth_method(&self, login: &MethodLogin<'_>, fields: &Secret) -> MethodAnswer {
        self.seen.requests.fetch_add(1, SeqCst);
        assert_eq!((login.method, login.session_id.is_empty()), (NAME, false));
        if fields.matches("hello") { self.ask(1) } else { MethodAnswer::Done(AuthAnswer::Refuse) }
    }

    fn check_auth_method_response(&self, login: &MethodLogin<'_>, response: &MethodMessage) -> MethodAnswer {
        self.seen.responses.fetch_add(1, SeqCst);
        let round = *self.round.lock().unwrap();
        let right = stamp(login, &[round; 100], "sesame");
        if response.data() != right || response.number() != 61 + 18 * (round - 1) {
            return MethodAnswer::Done(AuthAnswer::Refuse);
        }
        match (round, login.user) {
            (1, _) => self.ask(2),
            (_, "half") => MethodAnswer::Done(AuthAnswer::Partial),
            _ => MethodAnswer::Done(AuthAnswer::AcceptWith(Box::new(Permissions::restricted()))),
        }
    }

    fn authenticated(&self, auth: &AuthInfo) {
        self.seen.logins.lock().unwrap().push(auth.clone());
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, _: Session) -> io::Result<ExitStatus> {
        Ok(ExitStatus::Code(7))
    }
}

fn serve(methods: &'static [&'static str]) -> (ServerHandle, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let told = Arc::clone(&seen);
    let handle = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_| Door {
            seen: Arc::clone(&told),
            methods,
            round: Mutex::new(0),
        })
        .unwrap();
    (handle, seen)
}

/// The methods that were tried, and what came of each.
fn attempts(error: Error) -> Vec<(String, String)> {
    match error {
        Error::Auth { attempts, .. } => {
            attempts.into_iter().map(|attempt| (attempt.method, attempt.outcome)).collect()
        }
        other => panic!("{other}"),
    }
}

#[test]
fn two_rounds_let_in_with_what_is_allowed() {
    let _watch = given::within(120);
    let (server, seen) = serve(&["publickey", NAME, "password"]);
    let client = given::client().username("me").auth_method(Challenge::new("sesame"));
    let client = client.connect(&server.address()).unwrap();
    assert_eq!(client.output("x").unwrap().status, ExitStatus::Code(7));
    let logins = std::mem::take(&mut *seen.logins.lock().unwrap());
    assert_eq!((logins.len(), &logins[0].methods[..]), (1, &[NAME][..]));
    assert_eq!((seen.requests.load(SeqCst), seen.responses.load(SeqCst)), (1, 2));
    // The application would give a terminal; what it said of the login counts more.
    assert!(client.open_session().unwrap().get_pty(&PtyRequest::new("xterm", 80, 24)).is_err());
    let refused =
        given::client().username("me").auth_method(Challenge::new("wrong")).connect(&server.address());
    let refused = attempts(refused.unwrap_err());
    assert_eq!(refused.last().unwrap(), &(NAME.to_owned(), "refused".to_owned()));
    // A method that gives up is an attempt among others.
    let mut tired = Challenge::new("sesame");
    tired.gives_up = 1;
    let client = given::client().username("me").auth_method(tired).password("foo");
    let client = client.connect(&server.address()).unwrap();
    // Answered by whoever was told of the login before.
    client.output("x").unwrap();
    let logins = std::mem::take(&mut *seen.logins.lock().unwrap());
    assert_eq!(logins[0].methods, ["password"]);
}

#[test]
fn one_factor_of_two() {
    let _watch = given::within(120);
    let (server, seen) = serve(&[NAME, "password"]);
    for (user, password, lets_in) in [
        ("half", Some("foo"), true),
        ("half", None, false),
        ("half", Some("bar"), false),
        ("by challenge@example.org,password", Some("foo"), true),
        ("by challenge@example.org,password", None, false),
    ] {
        let mut client = given::client().username(user).auth_method(Challenge::new("sesame"));
        if let Some(password) = password {
            client = client.password(password);
        }
        let outcome = client.connect(&server.address());
        assert_eq!(outcome.is_ok(), lets_in, "{user} {password:?}: {outcome:?}");
        if let Ok(client) = &outcome {
            client.output("x").unwrap();
        }
        let logins = std::mem::take(&mut *seen.logins.lock().unwrap());
        assert_eq!(logins.len(), usize::from(lets_in));
        for login in logins {
            assert_eq!(login.methods, [NAME, "password"]);
            assert_eq!(login.permissions.pty, user == "half", "what one factor allows holds for both");
        }
    }
    // Before its turn it is refused without a question.
    let requests = seen.requests.load(SeqCst);
    let client = given::client().username("by password").auth_method(Challenge::new("sesame"));
    assert!(client.connect(&server.address()).is_err());
    assert_eq!(seen.requests.load(SeqCst), requests);
}

#[test]
fn a_transport_tries_one_attempt() {
    let _watch = given::within(120);
    let (server, _) = serve(&[NAME]);
    let connect = || {
        let stream = TcpStream::connect(server.address()).unwrap();
        Transport::start_client(stream, TransportOptions::default(), |_| Ok(())).unwrap()
    };
    let transport = connect();
    assert!(transport.auth_method("me", &mut Challenge::new("wrong")).is_err());
    assert!(transport.auth_method("me", &mut Challenge::new("sesame")).unwrap().is_empty());
    assert!(transport.open_session().is_ok());
    struct Odd(&'static str, usize);
    impl AuthMethod for Odd {
        fn name(&self) -> &'static str {
            self.0
        }
        fn request(&mut self, _: &MethodLogin<'_>) -> feramiko::Result<Secret> {
            Ok(Secret::new(vec![0; self.1]))
        }
        fn answer(
            &mut self,
            _: &MethodLogin<'_>,
            _: &MethodMessage,
        ) -> feramiko::Result<Option<MethodMessage>> {
            Err(Error::Misuse("never asked"))
        }
    }
    for name in ["challenge", "", "@", "a,b@example.org", "password"] {
        assert!(matches!(connect().auth_method("me", &mut Odd(name, 0)), Err(Error::Misuse(_))), "{name}");
    }
    let most = MethodMessage::MAX_DATA;
    assert!(matches!(connect().auth_method("me", &mut Odd(NAME, most)), Err(Error::Auth { .. })));
    assert!(matches!(connect().auth_method("me", &mut Odd(NAME, most + 1)), Err(Error::Misuse(_))));
}

#[test]
fn a_server_that_does_not_offer_it_is_not_asked() {
    let _watch = given::within(120);
    // A name without a domain is no method, whoever offers it.
    let (server, seen) = serve(&["password", "bare"]);
    let mut method = Challenge::new("sesame");
    let asked = Arc::clone(&method.asked);
    method.gives_up = 0;
    let refused = given::client().username("me").auth_method(method).connect(&server.address());
    let tried = attempts(refused.unwrap_err());
    assert!(tried.iter().all(|(method, _)| method != NAME), "{tried:?}");
    for name in [NAME, "bare"] {
        let mut raw = Raw::at_auth(&server.address());
        raw.send(&auth_request("me", name).raw("hello"));
        raw.expect(51);
        raw.send(&[61]);
        assert_eq!(raw.closed(LONG).code, Some(2), "{name}");
    }
    assert_eq!((asked.load(SeqCst), seen.requests.load(SeqCst)), (0, 0));
    // Interfaces that answer nothing refuse.
    let plain = SSHServer::builder().host_key(given::host_key());
    struct Silent;
    impl ServerInterface for Silent {
        fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
            vec![NAME]
        }
    }
    let plain = plain.serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| Silent).unwrap();
    let mut raw = Raw::at_auth(&plain.address());
    raw.send(&auth_request("me", NAME).raw("hello"));
    raw.expect(51);
}

#[test]
fn asyncssh_on_our_server() {
    let _watch = given::within(120);
    let (server, seen) = serve(&[NAME]);
    let port: u16 = server.address().rsplit_once(':').unwrap().1.parse().unwrap();
    for (secret, lets_in) in [("sesame", true), ("wrong", false)] {
        let spec = json!({
            "host": "127.0.0.1", "port": port, "user": "me", "command": "x",
            "own_method": {"name": NAME, "secret": secret},
        });
        let Some(answer) = Python::AsyncSsh.client(&spec) else { return };
        let refused = answer["error"].as_str().is_some_and(|error| error.starts_with("PermissionDenied"));
        assert_eq!((answer["exit"] == 7, refused), (lets_in, !lets_in), "{answer}");
    }
    assert_eq!(seen.logins.lock().unwrap().len(), 1);
}

#[test]
fn our_client_on_asyncssh() {
    let _watch = given::within(120);
    let Some(host_keys) = Keys::named("host") else { return };
    let spec = json!({
        "user": "me", "host_keys": host_keys.all_private(), "own_method": {"name": NAME, "secret": "sesame"},
    });
    let Some(server) = Python::AsyncSsh.server(&spec) else { return };
    for (secret, lets_in) in [("sesame", true), ("wrong", false)] {
        let client = given::client().username("me").auth_method(Challenge::new(secret));
        match client.connect(&format!("127.0.0.1:{}", server.port())) {
            Ok(client) => assert!(lets_in && client.output("echo in").unwrap().stdout == b"in\n"),
            Err(error) => {
                assert!(!lets_in, "{error}: {}", server.log());
                assert_eq!(attempts(error).last().unwrap().0, NAME);
            }
        }
    }
}

/// A client to which the server has put its first question.
fn asked(server: &ServerHandle) -> (Raw, Vec<u8>) {
    let mut raw = Raw::at_auth(&server.address());
    raw.send(&auth_request("me", NAME).raw("hello"));
    let question = raw.expect(60);
    (raw, question)
}

fn right(raw: &Raw, question: &[u8]) -> Vec<u8> {
    let transport = stamped(&raw.session_id, &question[1..]);
    [&[question[0] + 1], &transport[..]].concat()
}

/// The same as a client of the library's answers, by hand.
fn stamped(session_id: &[u8], challenge: &[u8]) -> Vec<u8> {
    let text = [session_id, challenge, b"me", b"sesame"].concat();
    let sum = text
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    sum.to_be_bytes().to_vec()
}

#[test]
fn messages_at_another_time_or_with_another_number() {
    let _watch = given::within(300);
    let (server, seen) = serve(&[NAME, "password", "keyboard-interactive"]);
    // Before a request they are what they were: out of order, or unknown.
    for (number, code) in [(60, Some(2)), (61, Some(2)), (62, None), (79, None), (59, None), (52, Some(2))] {
        let mut raw = Raw::at_auth(&server.address());
        raw.send(&[number, 0]);
        match code {
            Some(code) => assert_eq!(raw.closed(LONG).code, Some(code), "{number}"),
            None => drop(raw.expect(3)),
        }
    }
    assert_eq!(seen.responses.load(SeqCst), 0);
    // While one is awaited, whatever is no number of a method's.
    for number in [51, 52, 53, 59, 80, 90, 94] {
        let (mut raw, _) = asked(&server);
        raw.send(&[number, 0]);
        if number == 59 {
            raw.expect(3);
        } else {
            assert_eq!(raw.closed(LONG).code, Some(2), "{number}");
        }
    }
    assert_eq!(seen.responses.load(SeqCst), 0, "nobody was asked about any of them");
    // The right answer by a wrong number, an empty one, a long one, and that of another connection.
    let (other, _) = asked(&server);
    for (what, answer) in [
        ("number", [&[62], &stamped(&other.session_id, &[1; 100])[..]].concat()),
        ("empty", vec![61]),
        ("long", vec![61; 32 * 1024]),
        ("another connection", [&[61], &stamped(&other.session_id, &[1; 100])[..]].concat()),
    ] {
        let (mut raw, _) = asked(&server);
        raw.send(&answer);
        raw.expect(51);
        // It is over: another message is out of turn.
        raw.send(&[61, 0]);
        assert!(raw.closes(LONG), "{what}");
    }
    // Two answers where one is due.
    let (mut raw, question) = asked(&server);
    let answer = right(&raw, &question);
    raw.send(&answer);
    let question = raw.expect(78);
    let answer = right(&raw, &question);
    raw.send(&answer);
    raw.expect(52);
    // Late ones change nothing, or end it.
    raw.send(&answer);
    raw.expect(3);
    raw.send(&[61, 0]);
    let channel = raw.open_session(5, 1 << 20, 1 << 15);
    raw.exec(channel, "x");
    let logins = seen.logins.lock().unwrap().len();
    assert_eq!(logins, 1);
    raw.send(&[60, 0]);
    assert_eq!(raw.closed(LONG).code, Some(2));
}

#[test]
fn failures_and_requests_are_counted() {
    let _watch = given::within(300);
    let (server, seen) = serve(&[NAME]);
    let mut raw = Raw::at_auth(&server.address());
    for _ in 1..6 {
        raw.send(&auth_request("me", NAME).raw("hello"));
        raw.expect(60);
        raw.send(&[61, 0]);
        raw.expect(51);
    }
    raw.send(&auth_request("me", NAME).raw("no greeting"));
    assert_eq!(raw.closed(LONG).code, Some(14));
    // Dialogues that are given up count as requests.
    let mut raw = Raw::at_auth(&server.address());
    let before = seen.requests.load(SeqCst);
    for _ in 0..20 {
        raw.send(&auth_request("me", NAME).raw("hello"));
        raw.expect(60);
    }
    raw.send(&auth_request("me", NAME).raw("hello"));
    assert_eq!(raw.closed(LONG).code, Some(14));
    assert_eq!(seen.requests.load(SeqCst) - before, 20);
    assert!(seen.logins.lock().unwrap().is_empty());
}
