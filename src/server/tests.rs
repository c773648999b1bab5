//! Servers on machines that start no thread any more.

mod events;

use std::io::Write;
use std::time::{Duration, Instant};

use super::*;
use crate::engine::STACK_HERE;
use crate::interface::{Answer, SessionKind, SessionRequest};
use crate::{AuthAnswer, AutoAddPolicy, HostKeys, KeyKind, MemoryStream, SSHClient, Secret};

/// More than any address space has.
pub(super) const TOO_MUCH: usize = 1 << 60;

/// Lets everybody in. Holds a session that is told to; what comes after any other starts no thread.
pub(super) struct Starved;

impl ServerInterface for Starved {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, command: &[u8]) -> Answer {
        if command != b"hold" {
            STACK_HERE.set(TOO_MUCH);
        }
        Answer::Yes
    }

    fn session(&self, session: Session) -> std::io::Result<crate::ExitStatus> {
        drop(session.events().recv());
        Ok(crate::ExitStatus::Missing)
    }
}

pub(super) fn server() -> SSHServer {
    SSHServer::builder().host_key(PKey::generate(KeyKind::Ed25519).unwrap()).build().unwrap()
}

/// Waits for what has to happen soon.
pub(super) fn soon(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: never");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A client of a server that serves one connection.
fn client_of(interface: impl ServerInterface) -> SSHClient {
    let (near, far) = MemoryStream::pair(1 << 16);
    std::thread::spawn(move || server().serve_stream(far, &Peer::named("test"), interface));
    SSHClient::builder()
        .no_ssh_config()
        .no_agent()
        .no_default_keys()
        .host_keys(HostKeys::new())
        .missing_host_key(AutoAddPolicy)
        .password("foo")
        .connect_over(near, "robey@memory")
        .unwrap()
}

#[test]
fn a_connection_that_is_served_no_more_ends() {
    let client = client_of(Starved);
    // What runs would keep it.
    let _held = client.exec_command("hold").unwrap();
    let session = client.open_session().unwrap();
    // Whether the answer still leaves depends on the moment.
    let _ = session.exec_command("anything");
    soon("the connection ends", || !client.transport().is_active());
}

/// Runs a shell where no more threads start, once the client has sent a signal.
#[cfg(target_os = "linux")]
struct Running;

#[cfg(target_os = "linux")]
impl ServerInterface for Running {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> std::io::Result<crate::ExitStatus> {
        let SessionKind::Exec(line) = session.request().kind.clone() else {
            return Ok(crate::ExitStatus::Missing);
        };
        assert_eq!(session.events().recv(), Some(SessionEvent::Signal("KILL".into())));
        STACK_HERE.set(TOO_MUCH);
        let mut shell = std::process::Command::new("/bin/sh");
        shell.arg("-c").arg(String::from_utf8(line).unwrap());
        session.run_command(shell)
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_that_takes_its_input_at_once_runs_on_the_threads_that_there_are() {
    let client = client_of(Running);
    let mut process = client.exec_command("cat; echo said >&2; exit 7").unwrap();
    process.kill().unwrap();
    process.stdin.take().unwrap().write_all(b"what is typed\n").unwrap();
    let ended = process.wait_with_output().unwrap();
    assert_eq!((ended.stdout.as_slice(), ended.stderr.as_slice()), (&b"what is typed\n"[..], &b"said\n"[..]));
    assert_eq!(ended.status, crate::ExitStatus::Code(7));
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_whose_input_cannot_be_carried_is_not_left_behind() {
    let client = client_of(Running);
    let mut process = client.exec_command("exec /bin/sleep 600.0625").unwrap();
    // More than a pipe holds; it is there when the signal is.
    process.stdin.as_mut().unwrap().write_all(&[b'x'; 300_000]).unwrap();
    process.kill().unwrap();
    assert_eq!(process.wait().unwrap(), crate::ExitStatus::Missing);
    let parent = format!("PPid:\t{}\n", std::process::id());
    let sleeps = |process: PathBuf| {
        let said = |name: &str, what: &str| {
            std::fs::read_to_string(process.join(name)).is_ok_and(|text| text.contains(what))
        };
        said("status", &parent) && said("cmdline", "600.0625")
    };
    soon("the program ends", || {
        let all = std::fs::read_dir("/proc").unwrap();
        !all.map(|process| process.unwrap().path()).any(sleeps)
    });
}
