//! The program `ssh` as people use it: forwarding, jump hosts, the background, escapes, shared connections.

#![cfg(unix)]

mod given;
mod peers;

#[path = "ssh_program/forwards.rs"]
mod forwards;
#[path = "loss/relay.rs"]
mod relay;
#[path = "ssh_program/sharing.rs"]
mod sharing;
#[path = "given/terminal.rs"]
mod terminal;
#[path = "ssh_program/typing.rs"]
mod typing;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use peers::{Folder, Keys, Running, Server, example, free_port, our_sshd, program, sshd, user};

/// Far more than anything here takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of OpenSSH's, and what a client of it needs.
struct Host {
    server: Server,
    folder: Folder,
    keys: Keys,
}

impl Host {
    fn start(more: &str) -> Option<Self> {
        let (host, keys) = (Keys::named("host")?, Keys::named("user")?);
        Some(Self { server: sshd(&host, &keys, more)?, folder: Folder::new(), keys })
    }

    /// The same, and one of ours.
    fn both() -> Vec<Self> {
        let (Some(host), Some(keys)) = (Keys::named("host"), Keys::named("user")) else { return Vec::new() };
        let own = Self { server: our_sshd(&host, &keys), folder: Folder::new(), keys };
        [Some(own), Self::start("")].into_iter().flatten().collect()
    }

    /// A file of configuration in which `host` is the server.
    fn config(&self) -> String {
        let port = self.server.port();
        self.written("config", &format!("Host host hop*\n HostName 127.0.0.1\n Port {port}\n"))
    }

    /// The same for any host of that name.
    fn for_any_host(&self) -> String {
        self.written("any", "Host *\n")
    }

    fn written(&self, name: &str, begin: &str) -> String {
        let text = format!(
            "{begin} User {}\n IdentityFile {}\n IdentitiesOnly yes\n StrictHostKeyChecking accept-new\n \
             UserKnownHostsFile {}\n GlobalKnownHostsFile none\n BatchMode yes\n",
            user(),
            self.keys.private("ed25519").display(),
            self.folder.file("known").display()
        );
        let path = self.folder.file(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Our `ssh`, which knows the way.
    fn ssh(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(example("ssh"));
        command.args(["-F", &self.config()]).args(arguments).env_remove("SSH_AUTH_SOCK");
        command
    }

    fn runs(&self, arguments: &[&str], input: &str) -> Output {
        peers::output(&mut self.ssh(arguments), input)
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The exit status and what was printed.
fn answer(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The port of a listener that echoes what each connection says, to its end.
fn echoing() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    port
}

/// Whether what is said on a connection comes back.
fn echoes(mut stream: impl Read + Write) -> bool {
    let mut back = [0; 5];
    stream.write_all(b"hello").is_ok() && stream.read_exact(&mut back).is_ok() && back == *b"hello"
}

/// Connects to a port as soon as somebody listens there.
fn connected(port: u16) -> TcpStream {
    let mut stream = None;
    soon("somebody listens", || {
        stream = TcpStream::connect(("127.0.0.1", port)).ok();
        stream.is_some()
    });
    stream.unwrap()
}

fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not so in time");
        thread::sleep(Duration::from_millis(5));
    }
}

fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn an_exchange_that_will_not_last_is_warned_of() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    for (options, warned) in [
        (&["-oKexAlgorithms=curve25519-sha256"][..], true),
        (&["-oKexAlgorithms=curve25519-sha256", "-oWarnWeakCrypto=no"], false),
        (&["-oKexAlgorithms=curve25519-sha256", "-oWarnWeakCrypto=no-pq-kex"], false),
        (&["-oKexAlgorithms=curve25519-sha256", "-q"], false),
        (&["-oKexAlgorithms=sntrup761x25519-sha512@openssh.com"], false),
        (&[], false),
    ] {
        let output = host.runs(&[options, &["host", "echo out"]].concat(), "");
        assert_eq!(answer(&output), (Some(0), "out\n".to_owned()), "{options:?}");
        let told = said(&output).contains("** WARNING: connection is not using a post-quantum key exchange");
        assert_eq!(told, warned, "{options:?}: {}", said(&output));
    }
}
