//! What a login is held to, and what it tells.

mod given;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use feramiko::{
    Algorithms, AuthAnswer, Error, Limits, MemoryStream, Peer, Phase, SSHServer, Secret, ServerInterface,
    Transport, TransportOptions,
};

/// Notes whom it is asked about.
#[derive(Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl ServerInterface for Notes {
    fn allowed_auths(&self, user: &str) -> Vec<&'static str> {
        self.0.lock().unwrap().push(user.to_owned());
        vec!["publickey", "hostbased", "password"]
    }

    fn check_auth_password(&self, user: &str, _: &Secret) -> AuthAnswer {
        self.0.lock().unwrap().push(user.to_owned());
        AuthAnswer::Refuse
    }
}

/// A server of one connection; the client's end, and why the server ended.
fn served(limits: Limits, notes: Notes) -> (MemoryStream, std::thread::JoinHandle<feramiko::Result<()>>) {
    let (near, far) = MemoryStream::pair(1 << 16);
    let serving = std::thread::spawn(move || {
        let server = SSHServer::builder().host_key(given::host_key()).limits(limits).build().unwrap();
        server.serve_stream(far, &Peer::named("test"), notes)
    });
    (near, serving)
}

#[test]
fn the_limit_of_the_time_to_connect_holds_unless_a_deadline_is_given() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut limits = Limits::default();
    limits.connect_timeout = Duration::from_millis(300);
    let begun = Instant::now();
    let error = given::client().limits(limits).connect(&address).unwrap_err();
    assert!(matches!(error, Error::Timeout(Phase::Handshake)), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let begun = Instant::now();
    let login = given::client().deadline(Duration::from_millis(300)).limits(Limits::default());
    assert!(matches!(login.connect(&address), Err(Error::Timeout(Phase::Handshake))));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_bytes_before_somebody_is_authenticated_are_limited_by_name() {
    let mut limits = Limits::default();
    limits.bytes_before_auth = 100;
    let (near, serving) = served(limits, Notes::default());
    assert!(Transport::start_client(near, TransportOptions::default(), |_| Ok(())).is_err());
    let error = serving.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Limit { which: "bytes_before_auth", limit: 100 }), "{error}");

    let mut options = TransportOptions::default();
    options.limits.client_bytes_before_auth = 101;
    let (near, serving) = served(Limits::default(), Notes::default());
    let error = Transport::start_client(near, options, |_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::Limit { which: "client_bytes_before_auth", limit: 101 }), "{error}");
    assert!(serving.join().unwrap().is_err());
}

#[test]
fn names_that_are_none_do_not_reach_the_application() {
    let notes = Notes::default();
    let seen = Arc::clone(&notes.0);
    let (near, _serving) = served(Limits::default(), notes);
    let transport = Transport::start_client(near, TransportOptions::default(), |_| Ok(())).unwrap();
    for user in ["x".repeat(1025).as_str(), "a\x1b[2Jb", "robey"] {
        let Err(Error::Auth { attempts, .. }) = transport.auth_password(user, "foo") else {
            panic!("{user}")
        };
        assert_eq!(attempts.last().unwrap().remaining, ["publickey", "hostbased", "password"], "{user}");
    }
    assert_eq!(*seen.lock().unwrap(), ["", "", "robey", "robey"]);
}

#[test]
fn keys_that_cannot_be_offered_are_told() {
    let mut algorithms = Algorithms::client_defaults();
    algorithms.set_public_keys("rsa-sha2-512").unwrap();
    algorithms.set_hostbased("rsa-sha2-512").unwrap();
    let (near, _serving) = served(Limits::default(), Notes::default());
    let (key, host) = (given::host_key(), given::host_key());
    let login = given::client()
        .username("robey")
        .algorithms(algorithms)
        .hostbased(host.clone(), "here", "me")
        .key(key.clone());
    let Err(Error::Auth { attempts, .. }) = login.connect_over(near, "memory") else { panic!("let in") };
    let told: Vec<_> = attempts.iter().map(|one| (one.method.as_str(), one.key.clone().unwrap())).collect();
    let (key, host) = (key.public_key().fingerprint(), host.public_key().fingerprint());
    assert_eq!(told, [("hostbased", host), ("publickey", key)]);
    assert!(attempts.iter().all(|one| one.outcome.contains("ssh-ed25519")), "{attempts:?}");
}
