//! How a server ends: by a shutdown, whoever is logging in, and for whom the application fails.

mod given;

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, ExitStatus, MemoryStream, Peer, SSHClient, SSHServer, Secret, ServerHandle,
    ServerInterface, Session, SessionKind, SessionRequest,
};

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// Tells that it is asked, and answers when told.
struct Slow(Sender<()>, Mutex<Receiver<()>>);

impl ServerInterface for Slow {
    fn check_auth_password(&self, user: &str, _: &Secret) -> AuthAnswer {
        if user == "slow" {
            self.0.send(()).unwrap();
            self.1.lock().unwrap().recv().unwrap();
        }
        assert_ne!(user, "panics");
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, command: &[u8]) -> Answer {
        assert_ne!(command, b"panic");
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        if matches!(&session.request().kind, SessionKind::Exec(command) if command == b"hold") {
            drop(session.events().recv());
        }
        Ok(ExitStatus::Code(0))
    }
}

/// A server; the questions that it is slow to answer, and how they go on.
fn slow() -> (ServerHandle, Receiver<()>, Sender<()>) {
    let ((asked, question), (answer, told)) = (channel(), channel());
    let slow = Arc::new(Mutex::new(Some(Slow(asked, Mutex::new(told)))));
    let handle = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_: &Peer| {
            slow.lock().unwrap().take().unwrap_or_else(|| {
                let ((asked, _), (_, told)) = (channel(), channel());
                Slow(asked, Mutex::new(told))
            })
        })
        .unwrap();
    (handle, question, answer)
}

fn connect(address: &str, user: &str) -> feramiko::Result<SSHClient> {
    given::client().username(user).password("foo").deadline(LONG).connect(address)
}

#[test]
fn a_shutdown_ends_those_who_are_logging_in() {
    let (server, question, answer) = slow();
    let address = server.address();
    let there = address.clone();
    let login = std::thread::spawn(move || connect(&there, "slow"));
    question.recv_timeout(LONG).unwrap();
    let mut silent = TcpStream::connect(&address).unwrap();
    silent.set_read_timeout(Some(LONG)).unwrap();
    silent.read_exact(&mut [0; 8]).unwrap();
    assert!(!server.shutdown(Duration::ZERO), "nobody had ended");
    // To the end: a reset would be one too.
    assert!(
        !io::copy(&mut silent, &mut io::sink()).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    );
    answer.send(()).unwrap();
    assert!(login.join().unwrap().is_err(), "let in after the shutdown");
}

#[test]
fn another_listener_takes_over_and_connections_go_on() {
    let (server, ..) = slow();
    // The first connection takes the slow one.
    let first = connect(&server.address(), "robey").unwrap();
    let before = server.address();
    server.listen(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    assert_ne!(server.address(), before);
    assert!(connect(&before, "robey").is_err(), "served at the address before");
    let second = connect(&server.address(), "robey").unwrap();
    assert!(first.output("anything").unwrap().status.success());
    assert_eq!(server.connections(), 2);

    server.stop_listening();
    assert!(connect(&server.address(), "robey").is_err(), "served by nobody");
    server.listen(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
    let third = connect(&server.address(), "robey").unwrap();
    drop(second);
    // All of them are waited for, whatever they came by.
    let ending = std::thread::spawn(move || server.shutdown(Duration::MAX));
    assert!(first.output("anything").unwrap().status.success());
    assert!(third.output("anything").unwrap().status.success());
    drop(third);
    std::thread::sleep(Duration::from_millis(100));
    assert!(!ending.is_finished(), "ended too early");
    drop(first);
    assert!(ending.join().unwrap());
}

/// The last that was told counts, and nobody listens at another.
#[test]
fn listeners_may_change_from_many_threads() {
    let (server, ..) = slow();
    let addresses = Mutex::new(vec![server.address()]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                    addresses.lock().unwrap().push(listener.local_addr().unwrap().to_string());
                    server.listen(listener).unwrap();
                }
            });
        }
    });
    let last = server.address();
    let addresses = addresses.into_inner().unwrap();
    assert!(addresses.contains(&last));
    // The first connection takes the slow one.
    assert!(connect(&last, "robey").is_ok());
    for other in addresses.iter().filter(|address| **address != last) {
        assert!(TcpStream::connect(other).is_err(), "{other} is still listened at");
    }
}

#[test]
fn a_shutdown_without_end_waits() {
    let (server, ..) = slow();
    // The first connection takes the slow one.
    let client = connect(&server.address(), "robey").unwrap();
    let ending = std::thread::spawn(move || server.shutdown(Duration::MAX));
    std::thread::sleep(Duration::from_millis(100));
    assert!(client.output("anything").unwrap().status.success(), "ended too early");
    client.close();
    assert!(ending.join().unwrap());
}

#[test]
fn an_application_that_panics_ends_its_connection_and_no_other() {
    let (server, ..) = slow();
    let (other, client) =
        (connect(&server.address(), "robey").unwrap(), connect(&server.address(), "robey").unwrap());
    // What runs would keep it.
    let held = client.exec_command("hold").unwrap();
    let begun = Instant::now();
    assert!(client.output("panic").is_err());
    while client.transport().is_active() {
        assert!(begun.elapsed() < LONG, "nobody serves it and it lives");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(held);
    assert!(other.output("anything").unwrap().status.success());
}

#[test]
fn an_application_that_panics_while_it_is_asked_who_may_in_ends_its_connection() {
    let (near, far) = MemoryStream::pair(1 << 16);
    let serving = std::thread::spawn(move || {
        let ((asked, _), (_, told)) = (channel(), channel());
        let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
        server.serve_stream(far, &Peer::named("test"), Slow(asked, Mutex::new(told)))
    });
    let begun = Instant::now();
    let login =
        given::client().username("panics").password("foo").deadline(LONG).connect_over(near, "memory");
    assert!(login.is_err() && begun.elapsed() < LONG, "{login:?}");
    assert!(serving.join().is_err());
}
