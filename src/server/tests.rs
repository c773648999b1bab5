//! Servers on machines that start no thread any more.

use std::time::{Duration, Instant};

use super::*;
use crate::engine::STACK_HERE;
use crate::interface::{Answer, SessionRequest};
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

/// Runs a program of its own.
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
        STACK_HERE.set(TOO_MUCH);
        let mut sleep = std::process::Command::new("/bin/sleep");
        sleep.arg("600.0625");
        session.run_command(sleep)
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_program_whose_threads_do_not_start_is_not_left_behind() {
    let client = client_of(Running);
    let status = client.output("anything").unwrap().status;
    assert_eq!(status, crate::ExitStatus::Missing);
    let parent = format!("PPid:\t{}\n", std::process::id());
    let sleeps = |process: PathBuf| {
        let said = |name: &str, what: &str| {
            std::fs::read_to_string(process.join(name)).is_ok_and(|text| text.contains(what))
        };
        said("status", &parent) && said("cmdline", "600.0625")
    };
    let all = std::fs::read_dir("/proc").unwrap();
    assert!(!all.map(|process| process.unwrap().path()).any(sleeps), "it runs on");
}
