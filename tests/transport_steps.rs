//! A transport between its steps: threads that authenticate, close, or panic at once.

mod given;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use feramiko::{
    AuthAnswer, Error, InteractiveAnswer, InteractiveQuery, KeyError, MemoryStream, PKey, Peer, PublicKey,
    SSHServer, Secret, ServerInterface, Signer, Transport, TransportOptions, VersionLine,
};

struct Friendly;

impl ServerInterface for Friendly {
    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_auth_interactive(&self, _: &str) -> InteractiveAnswer {
        InteractiveAnswer::Ask(InteractiveQuery::new("", "").prompt("Code: ", false))
    }

    fn check_auth_interactive_response(&self, _: &str, _: &[Secret]) -> InteractiveAnswer {
        InteractiveAnswer::Done(AuthAnswer::Accept)
    }

    fn banner(&self) -> Option<String> {
        Some("welcome".to_owned())
    }
}

fn transport() -> Transport {
    let (near, far) = MemoryStream::pair(1 << 16);
    std::thread::spawn(move || {
        let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
        server.serve_stream(far, &Peer::named("test"), Friendly)
    });
    Transport::start_client(near, TransportOptions::default(), |_| Ok(())).unwrap()
}

#[test]
fn who_comes_too_late_to_authenticate_does_not_end_the_connection() {
    let transport = transport();
    transport.auth_password("robey", "foo").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50_000 {
                    assert!(matches!(transport.auth_password("robey", "foo"), Err(Error::Misuse(_))));
                }
            });
            // Each look at the stage must find the one that runs.
            scope.spawn(|| (0..50_000).for_each(|_| assert!(transport.is_authenticated())));
        }
    });
    transport.global_request("anything", b"", None).unwrap_err();
    assert!(transport.is_active());
}

/// Closes the connection while it is asked to sign, and cannot.
struct Closes(PKey, Transport);

impl Signer for Closes {
    fn public_key(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, _: &str, _: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.1.close();
        Err(KeyError::Signer("closed".to_owned()))
    }
}

#[test]
fn a_step_that_fails_on_a_connection_that_was_closed_does_not_open_it() {
    let transport = transport();
    transport.auth_none("robey").unwrap_err();
    let key = PKey::from_signer(Closes(given::host_key(), transport.clone()));
    transport.auth_publickey("robey", &key).unwrap_err();
    assert!(!transport.is_active());
    assert!(matches!(transport.auth_password("robey", "foo"), Err(Error::Closed(_))));
}

#[test]
fn closing_during_a_step_stays_closed() {
    let transport = transport();
    let ((asked, question), (answer, told)) = (channel(), channel());
    let there = transport.clone();
    let login = std::thread::spawn(move || {
        there.auth_interactive("robey", |_| {
            asked.send(()).unwrap();
            told.recv().unwrap();
            Ok(vec![Secret::from("42")])
        })
    });
    question.recv().unwrap();
    transport.close();
    assert!(!transport.is_active());
    answer.send(()).unwrap();
    assert!(login.join().unwrap().is_err());
    assert!(!transport.is_active() && matches!(transport.closed_by(), Some(Error::Closed(_))));
}

#[test]
fn a_step_that_fails_or_panics_closes_the_connection() {
    let fails = transport();
    assert!(fails.auth_interactive("robey", |_| Err(Error::Misuse("no idea"))).is_err());
    let panics = transport();
    let there = panics.clone();
    let panicked = std::thread::spawn(move || there.auth_interactive("robey", |_| panic!("no idea"))).join();
    assert!(panicked.is_err());
    for closed in [fails, panics] {
        assert!(!closed.is_active());
        assert!(matches!(closed.auth_password("robey", "foo"), Err(Error::Closed(_))));
    }
}

#[test]
fn a_panic_closes_the_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    let serving = std::thread::spawn(move || {
        let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
        server.serve_stream(far, &Peer::named("test"), Friendly)
    });
    let transport = Transport::start_client(stream, TransportOptions::default(), |_| Ok(())).unwrap();
    let there = transport.clone();
    std::thread::spawn(move || there.auth_interactive("robey", |_| panic!("no idea"))).join().unwrap_err();
    let begun = Instant::now();
    serving.join().unwrap().unwrap_err();
    // Not only when its time to log in is over.
    assert!(begun.elapsed() < Duration::from_secs(20));
    drop(transport);
}

/// The lines are hashed by both sides: keys come of them.
#[test]
fn each_side_may_say_what_it_is() {
    let (near, far) = MemoryStream::pair(1 << 16);
    let line = |software: &str| VersionLine::new(software).unwrap().comments("of a test").unwrap();
    let server = SSHServer::builder().host_key(given::host_key()).version(line("box_1")).build().unwrap();
    std::thread::spawn(move || server.serve_stream(far, &Peer::named("test"), Friendly));
    let client = given::client().version(line("backup_2")).username("robey").password("foo");
    let client = client.connect_over(near, "memory").unwrap();
    assert_eq!(client.transport().peer_version(), "SSH-2.0-box_1 of a test");
    // What the client sends first.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connecting = std::thread::spawn(move || given::client().version(line("backup_2")).connect(&address));
    let (stream, _) = listener.accept().unwrap();
    let mut first = String::new();
    BufReader::new(stream).read_line(&mut first).unwrap();
    assert_eq!(first, "SSH-2.0-backup_2 of a test\r\n");
    connecting.join().unwrap().unwrap_err();
}

#[test]
fn banners_stay() {
    let transport = transport();
    assert!(transport.auth_password("robey", "bar").is_err());
    assert_eq!(transport.banners(), ["welcome"]);
    transport.auth_password("robey", "foo").unwrap();
    assert_eq!(transport.banners(), ["welcome"]);
    transport.close();
    assert_eq!(transport.banners(), ["welcome"]);
}
