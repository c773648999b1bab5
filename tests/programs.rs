//! Programs that a server runs, and channels that are closed under them.

#![cfg(unix)]

mod given;

use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, Error, ExitStatus, Limits, SSHClient, SSHServer, Secret, ServerHandle,
    ServerInterface, Session, SessionKind, SessionRequest,
};

/// Runs whatever it is told by a shell.
struct Shell;

impl ServerInterface for Shell {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        let SessionKind::Exec(line) = session.request().kind.clone() else { return Ok(ExitStatus::Missing) };
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(String::from_utf8(line).unwrap());
        session.run_command(shell)
    }
}

/// A connection that lets one program run at a time.
fn connect() -> (ServerHandle, SSHClient) {
    let mut limits = Limits::default();
    limits.sessions = 1;
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .limits(limits)
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| Shell)
        .unwrap();
    let client = given::client().username("robey").password("foo").connect(&server.address()).unwrap();
    (server, client)
}

/// Runs a program until it has written a line, then closes its channel.
fn left_alone_after_a_line(client: &SSHClient, program: &str) {
    let mut process = client.exec_command(program).unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "runs\n");
}

/// Runs another program as soon as one more may run.
fn runs_again(client: &SSHClient) -> Duration {
    let begun = Instant::now();
    loop {
        match client.output("exit 7") {
            Err(Error::ChannelRefused { .. }) => {}
            ended => {
                assert_eq!(ended.unwrap().status, ExitStatus::Code(7));
                return begun.elapsed();
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the program before runs on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn programs_count_until_they_end_and_are_killed_in_the_end() {
    let (_server, client) = connect();
    // Nothing but KILL ends it.
    left_alone_after_a_line(&client, "trap '' HUP TERM PIPE; echo runs; while :; do sleep 1; done");
    assert!(runs_again(&client) > Duration::from_secs(3), "it had time to end by itself");
}

#[test]
fn what_a_program_has_left_behind_does_not_keep_its_session() {
    let (_server, client) = connect();
    // No signal to the group reaches it, and it holds the pipes.
    left_alone_after_a_line(&client, "setsid sleep 40 & echo runs");
    assert!(runs_again(&client) < Duration::from_secs(10));
}

#[test]
fn a_place_is_free_when_the_client_knows_that_the_program_has_ended() {
    let (_server, client) = connect();
    for code in 0..50 {
        assert_eq!(client.output(format!("exit {code}")).unwrap().status, ExitStatus::Code(code));
    }
}
