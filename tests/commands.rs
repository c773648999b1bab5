//! The streams of a command when not all of them are wanted.

mod given;

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use feramiko::{
    Answer, AuthAnswer, ExitStatus, SSHClient, SSHServer, Secret, ServerHandle, ServerInterface, Session,
    SessionKind, SessionRequest,
};

/// Its commands are steps: how much to write on `out` or `err`, how many milliseconds to `sleep`.
struct Steps;

impl ServerInterface for Steps {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        let SessionKind::Exec(command) = session.request().kind.clone() else {
            return Ok(ExitStatus::Missing);
        };
        for step in String::from_utf8(command).unwrap().split(',') {
            let (what, count) = step.split_once(' ').unwrap();
            let count: usize = count.parse().unwrap();
            match what {
                "out" => session.write_all(&vec![b'o'; count])?,
                "err" => session.stderr().write_all(&vec![b'e'; count])?,
                _ => std::thread::sleep(Duration::from_millis(count as u64)),
            }
        }
        Ok(ExitStatus::Code(0))
    }
}

fn connect() -> (ServerHandle, SSHClient) {
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| Steps)
        .unwrap();
    let client = given::client().username("robey").password("foo").connect(&server.address()).unwrap();
    (server, client)
}

/// More than is kept of a stream that nobody reads.
const MUCH: usize = 20_000_000;

#[test]
fn a_stream_that_was_dropped_holds_nothing_up() {
    let (_server, client) = connect();
    let mut process = client.exec_command(format!("err {MUCH},out 10,err {MUCH}")).unwrap();
    drop(process.stderr.take());
    let output = process.wait_with_output().unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (10, 0));
    let mut process = client.exec_command(format!("out {MUCH},err 10,out {MUCH}")).unwrap();
    drop(process.stdout.take());
    let mut stderr = Vec::new();
    process.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    assert_eq!(stderr.len(), 10);
    assert!(process.wait().unwrap().success());
}

#[test]
fn a_stream_that_is_read_elsewhere_is_left_to_its_reader() {
    let (_server, client) = connect();
    let mut process = client.exec_command(format!("out {MUCH},err {MUCH},out {MUCH}")).unwrap();
    let mut stderr = process.stderr.take().unwrap();
    let reading = std::thread::spawn(move || io::copy(&mut stderr, &mut io::sink()).unwrap());
    let output = process.wait_with_output().unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (2 * MUCH, 0));
    assert_eq!(reading.join().unwrap(), MUCH as u64);
}

#[cfg(target_os = "linux")]
#[test]
fn waiting_for_one_stream_while_the_other_has_something_takes_no_time_of_the_processor() {
    use rustix::time::{ClockId, clock_gettime};
    let (_server, client) = connect();
    let mut process = client.exec_command("err 10,sleep 3000,out 10").unwrap();
    let _held = process.stderr.take();
    let before = clock_gettime(ClockId::ThreadCPUTime);
    assert_eq!(process.wait_with_output().unwrap().stdout.len(), 10);
    let after = clock_gettime(ClockId::ThreadCPUTime);
    let spent = Duration::try_from(after).unwrap() - Duration::try_from(before).unwrap();
    assert!(spent < Duration::from_millis(200), "{spent:?}");
}
