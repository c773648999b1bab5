//! A lot of everything: one client shared by 16 threads that run 1,000 commands each, 1,000 connections after
//! which no thread and no descriptor is left, a poll of several connections.

mod given;

use std::io::{self, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{
    Algorithms, Answer, AuthAnswer, ExitStatus, Limits, Poll, SSHClient, SSHServer, Secret, ServerHandle,
    ServerInterface, Session, SessionKind, SessionRequest,
};

/// One after the other: both count what the process has.
static ALONE: Mutex<()> = Mutex::new(());

/// Says back what the command is, on both streams, and exits with its length.
struct Parrot;

impl ServerInterface for Parrot {
    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        let SessionKind::Exec(command) = session.request().kind.clone() else {
            return Ok(ExitStatus::Missing);
        };
        session.write_all(&command)?;
        session.stderr().write_all(&command)?;
        Ok(ExitStatus::Code(command.len() as u32))
    }
}

fn serve() -> ServerHandle {
    let mut limits = Limits::default();
    (limits.sessions, limits.startups_begin, limits.startups_per_source) = (64, 100, 100);
    let mut algorithms = Algorithms::server_defaults();
    algorithms.set_kex("curve25519-sha256").unwrap();
    SSHServer::builder()
        .host_key(given::host_key())
        .algorithms(algorithms)
        .limits(limits)
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| Parrot)
        .unwrap()
}

fn connect(server: &ServerHandle) -> SSHClient {
    given::client().username("robey").password("foo").connect(&server.address()).unwrap()
}

fn run(client: &SSHClient, command: &str) {
    let output = client.output(command).unwrap();
    let code = ExitStatus::Code(command.len() as u32);
    assert_eq!((output.stdout, output.stderr, output.status), (command.into(), command.into(), code));
}

#[test]
fn sixteen_threads_run_a_thousand_commands_each() {
    let _watch = given::within(300);
    let _alone = ALONE.lock();
    let server = serve();
    let client = connect(&server);
    thread::scope(|scope| {
        for number in 0..16 {
            let client = &client;
            scope.spawn(move || {
                for at in 0..1000 {
                    run(client, &format!("thread {number} command {at}"));
                }
            });
        }
    });
}

/// Channels of different connections have the same numbers.
#[test]
fn a_poll_of_many_connections_forgets_the_channel_that_it_is_told_to() {
    let _watch = given::within(120);
    let _alone = ALONE.lock().unwrap();
    let server = serve();
    let clients: Vec<_> = (0..5).map(|_| connect(&server)).collect();
    let channels: Vec<_> = clients.iter().map(|client| client.open_session().unwrap()).collect();
    let mut poll = Poll::new();
    for channel in &channels {
        assert_eq!(channel.id(), channels[0].id());
        channel.exec_command("x").unwrap();
        poll.add(channel);
    }
    poll.remove(&channels[2]);
    let begun = Instant::now();
    while poll.readable(Some(Duration::from_millis(100))).len() < 4 {
        assert!(begun.elapsed() < Duration::from_secs(60), "others were forgotten");
    }
    assert_eq!(poll.readable(None).len(), 4);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_thousand_connections_leave_nothing_behind() {
    let _watch = given::within(300);
    let _alone = ALONE.lock();
    let server = serve();
    // What the first one brings in for good is not counted.
    run(&connect(&server), "x");
    let settled = |descriptors_before: usize, threads_before: usize| {
        let deadline = Instant::now() + Duration::from_secs(30);
        while descriptors() > descriptors_before || threads() > threads_before {
            assert!(
                Instant::now() < deadline,
                "{} descriptors for {descriptors_before}, {} threads for {threads_before}",
                descriptors(),
                threads()
            );
            thread::sleep(Duration::from_millis(10));
        }
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.connections() > 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(10));
    }
    let (descriptors_before, threads_before) = (descriptors(), threads());
    for at in 0..1000 {
        run(&connect(&server), &format!("connection {at}"));
    }
    settled(descriptors_before, threads_before);
    assert!(server.shutdown(Duration::from_secs(30)));
    let deadline = Instant::now() + Duration::from_secs(30);
    while feramiko::running_threads() > 0 {
        assert!(Instant::now() < deadline, "{} threads of the library", feramiko::running_threads());
        thread::sleep(Duration::from_millis(10));
    }
}
