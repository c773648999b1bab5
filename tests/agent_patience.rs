//! Agents that do not answer: a login ends at its deadline, and when it is cancelled, all the same.

#![cfg(unix)]

mod given;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use feramiko::{
    Agent, AuthAnswer, AutoAddPolicy, Cancel, Error, HostKeys, PKey, Phase, PublicKey, SSHClient, SSHServer,
    ServerHandle, ServerInterface,
};

/// Says yes to every key; that the client holds it is another matter.
struct Keys;

impl ServerInterface for Keys {
    fn check_auth_publickey(&self, _: &str, _: &PublicKey) -> AuthAnswer {
        AuthAnswer::Accept
    }
}

fn server() -> ServerHandle {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SSHServer::builder().host_key(given::host_key()).serve(listener, |_| Keys).unwrap()
}

/// How far the agent gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Listing,
    Signing,
}

/// An agent that answers nothing from there on.
fn agent(path: &Path, until: Until) {
    let listener = UnixListener::bind(path).unwrap();
    let key = given::host_key();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let key = key.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &key, until));
        }
    });
}

fn serve(mut stream: UnixStream, key: &PKey, until: Until) {
    let mut length = [0; 4];
    while stream.read_exact(&mut length).is_ok() {
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).unwrap();
        let blob = key.public_key().blob();
        let answer = match (request[0], until) {
            (11, Until::Signing) => {
                let length = u32::try_from(blob.len()).unwrap().to_be_bytes();
                [&[12, 0, 0, 0, 1][..], &length, blob, &[0; 4]].concat()
            }
            (27, Until::Signing) => vec![5],
            _ => continue,
        };
        stream.write_all(&u32::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
    }
}

/// Runs `test` in a process of its own, in whose environment the agent is.
fn with_agent(name: &str, until: Until, test: impl FnOnce()) {
    const HERE: &str = "FERAMIKO_AGENT_THAT_DOES_NOT_ANSWER";
    if std::env::var_os(HERE).is_some() {
        return test();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent");
    agent(&path, until);
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture"]).env(HERE, "1").env("SSH_AUTH_SOCK", &path);
    assert!(again.status().unwrap().success());
}

/// Connects with what the environment's agent has. What came of it, and after how long.
fn connect(deadline: Duration, cancel: &Cancel) -> (Error, Duration) {
    let server = server();
    let begun = Instant::now();
    let result = SSHClient::builder()
        .no_ssh_config()
        .no_default_keys()
        .host_keys(HostKeys::new())
        .missing_host_key(AutoAddPolicy)
        .username("robey")
        .deadline(deadline)
        .cancel(cancel)
        .connect(&server.address());
    (result.unwrap_err(), begun.elapsed())
}

fn ends_at_the_deadline(name: &str, until: Until) {
    with_agent(name, until, || {
        let (error, after) = connect(Duration::from_secs(1), &Cancel::new());
        assert!(matches!(error, Error::Timeout(Phase::Auth)), "{error}");
        assert!(after < Duration::from_millis(2500), "{after:?}");
    });
}

fn ends_when_cancelled(name: &str, until: Until) {
    with_agent(name, until, || {
        let cancel = Cancel::new();
        let there = cancel.clone();
        let cancelling = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(500));
            there.cancel();
        });
        let (error, after) = connect(Duration::from_secs(60), &cancel);
        assert!(matches!(error, Error::Cancelled), "{error}");
        assert!(after < Duration::from_millis(2500), "{after:?}");
        cancelling.join().unwrap();
    });
}

#[test]
fn a_list_that_does_not_come_ends_at_the_deadline() {
    ends_at_the_deadline("a_list_that_does_not_come_ends_at_the_deadline", Until::Listing);
}

#[test]
fn a_signature_that_does_not_come_ends_at_the_deadline() {
    ends_at_the_deadline("a_signature_that_does_not_come_ends_at_the_deadline", Until::Signing);
}

#[test]
fn a_list_that_does_not_come_is_cancelled() {
    ends_when_cancelled("a_list_that_does_not_come_is_cancelled", Until::Listing);
}

#[test]
fn a_signature_that_does_not_come_is_cancelled() {
    ends_when_cancelled("a_signature_that_does_not_come_is_cancelled", Until::Signing);
}

#[test]
fn a_key_of_an_agent_that_was_named_ends_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent");
    agent(&path, Until::Signing);
    let key = Agent::connect(&path).unwrap().keys().unwrap().remove(0);
    let server = server();
    let begun = Instant::now();
    let login = given::client().username("robey").key(key.into()).deadline(Duration::from_secs(1));
    let error = login.connect(&server.address()).unwrap_err();
    assert!(matches!(error, Error::Timeout(Phase::Auth)), "{error}");
    assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
}
