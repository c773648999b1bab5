//! Programs that a server runs, and channels that are closed under them.

#![cfg(unix)]

mod given;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, AuthInfo, Error, ExitStatus, Limits, MemoryStream, Peer, Process, SSHClient,
    SSHServer, Secret, ServerHandle, ServerInterface, Session, SessionKind, SessionRequest,
};

/// Runs whatever it is told by a shell; `forced` gets a program that says when it runs and when its input ends.
struct Shell;

impl ServerInterface for Shell {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn forced_command(&self, auth: &AuthInfo) -> Option<Vec<u8>> {
        (auth.user == "forced").then(|| UNTIL_INPUT_ENDS.into())
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        let SessionKind::Exec(line) = session.request().kind.clone() else { return Ok(ExitStatus::Missing) };
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(String::from_utf8(line).unwrap());
        session.run_command(shell)
    }
}

const UNTIL_INPUT_ENDS: &str = "echo runs; cat; echo ends";

/// A connection that lets one program run at a time.
fn connect() -> (ServerHandle, SSHClient) {
    connect_as("robey")
}

fn connect_as(user: &str) -> (ServerHandle, SSHClient) {
    let mut limits = Limits::default();
    limits.sessions = 1;
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .limits(limits)
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| Shell)
        .unwrap();
    let client = given::client().username(user).password("foo").connect(&server.address()).unwrap();
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

#[cfg(target_os = "linux")]
#[test]
fn what_a_program_has_left_behind_keeps_no_thread() {
    let carriers = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let names =
            threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
        names.filter(|name| name == "feramiko stdin\n").count()
    };
    let (_server, client) = connect();
    // It holds the input, never reads it, and no signal to the group reaches it.
    let mut process =
        client.exec_command("exec 3<&0; setsid sleep 40 >/dev/null 2>&1 & echo $!; sleep 0.5").unwrap();
    process.stdin.as_mut().unwrap().write_all(&[b'x'; 300_000]).unwrap();
    let begun = Instant::now();
    while carriers() == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "more than a pipe takes needs a thread");
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut left = String::new();
    process.stdout.take().unwrap().read_to_string(&mut left).unwrap();
    assert!(process.wait().unwrap().success());
    // Those of other tests end too.
    while carriers() > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it waits for what never reads");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = client.output(format!("kill -9 {left}")).unwrap();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn what_a_program_reads_late_is_all_there() {
    let (_server, client) = connect();
    let sent: Vec<u8> = (0..3_000_001_u32).map(|at| (at % 251) as u8).collect();
    // A pipe is full long before it reads, again while it does, and at the end it is slower than the client.
    let mut process = client.exec_command("sleep 0.3; head -c 70000; sleep 0.3; cat").unwrap();
    let (mut stdin, whole) = (process.stdin.take().unwrap(), sent.clone());
    let writing = std::thread::spawn(move || stdin.write_all(&whole));
    let ended = process.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert_eq!(ended.stdout.len(), sent.len());
    assert!(ended.stdout == sent);
}

#[test]
fn a_program_that_reads_no_more_keeps_nobody_waiting() {
    let (_server, client) = connect();
    for ends in [
        "exec 0<&-; echo runs; sleep 0.5; echo ends",
        "echo runs; sleep 0.5; exec 0<&-; sleep 0.5; echo ends",
    ] {
        let mut process = client.exec_command(ends).unwrap();
        let mut stdin = process.stdin.take().unwrap();
        // More than all the windows and buffers on the way hold: what is not read is dropped, or its end is told.
        let writing = std::thread::spawn(move || {
            let refused = (0..400).any(|_| stdin.write_all(&[b'x'; 65536]).is_err());
            drop(stdin);
            refused
        });
        let ended = process.wait_with_output().unwrap();
        assert_eq!(ended.status, ExitStatus::Code(0), "{ends}");
        assert_eq!(ended.stdout_text().unwrap(), "runs\nends\n", "{ends}");
        assert!(writing.join().unwrap(), "{ends}");
    }
}

#[test]
fn a_place_is_free_when_the_client_knows_that_the_program_has_ended() {
    let (_server, client) = connect();
    for code in 0..50 {
        assert_eq!(client.output(format!("exit {code}")).unwrap().status, ExitStatus::Code(code));
    }
}

#[test]
fn what_a_program_has_left_in_its_group_goes_on() {
    let (_server, client) = connect();
    let started = client.output("sleep 40 >/dev/null 2>&1 & echo $!").unwrap();
    let left = started.stdout_text().unwrap();
    // It was hung up at once.
    std::thread::sleep(Duration::from_millis(500));
    let ended = client.output(format!("kill -9 {left}")).unwrap();
    assert!(ended.status.success(), "{ended:?}");
}

#[test]
fn a_client_signals_the_programs_that_it_chose() {
    for (user, status, rest) in [
        ("robey", ExitStatus::Signal { name: "KILL".into(), core_dumped: false, message: String::new() }, ""),
        ("forced", ExitStatus::Code(0), "ends\n"),
    ] {
        let (_server, client) = connect_as(user);
        let mut process = client.exec_command(UNTIL_INPUT_ENDS).unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        process.kill().unwrap();
        // The end of the input goes another way.
        std::thread::sleep(Duration::from_millis(500));
        drop(process.stdin.take());
        let mut said = String::new();
        output.read_to_string(&mut said).unwrap();
        assert_eq!((line.as_str(), said.as_str()), ("runs\n", rest), "{user}");
        assert_eq!(process.wait().unwrap(), status, "{user}");
    }
}

/// A program that takes a second to end when it is hung up, and its number.
fn slow_to_end(client: &SSHClient) -> (Process, String) {
    let program = "trap 'sleep 1; exit' HUP; echo $$; while :; do sleep 0.1; done";
    let mut process = client.exec_command(program).unwrap();
    let mut number = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut number).unwrap();
    (process, number)
}

fn runs(number: &str) -> bool {
    Command::new("sh").arg("-c").arg(format!("kill -0 {number}")).status().unwrap().success()
}

#[test]
fn programs_end_with_their_server() {
    let (server, client) = connect();
    let (_process, number) = slow_to_end(&client);
    assert!(runs(&number));
    server.shutdown(Duration::ZERO);
    // Whoever ends the server may end the process too.
    assert!(!runs(&number));
}

#[test]
fn programs_end_with_a_connection_that_is_served_alone() {
    let (near, far) = MemoryStream::pair(1 << 16);
    let serving = std::thread::spawn(move || {
        let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
        server.serve_stream(far, &Peer::named("test"), Shell)
    });
    let client = given::client().username("robey").password("foo").connect_over(near, "memory").unwrap();
    let (_process, number) = slow_to_end(&client);
    client.close();
    serving.join().unwrap().unwrap();
    assert!(!runs(&number));
}
