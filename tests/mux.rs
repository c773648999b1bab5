//! Connection sharing: our client on OpenSSH's master, OpenSSH's client on ours, ours on ours.

#![cfg(unix)]

mod given;
mod peers;

#[path = "mux/client.rs"]
mod client;
#[path = "mux/master.rs"]
mod master;
#[path = "mux/packets.rs"]
mod packets;
#[path = "mux/program.rs"]
mod program;
#[path = "given/terminal.rs"]
mod terminal;

use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{Endpoint, MuxClient, MuxCommand, PKey, SSHClient};
use peers::{Folder, Keys, Running, Server, our_sshd, program, require, sshd, user};

/// Far more than anything here takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of OpenSSH's, a folder for a control socket, and who may in.
struct Host {
    server: Server,
    folder: Folder,
    keys: Keys,
}

impl Host {
    fn start() -> Option<Self> {
        let (host, keys) = (Keys::named("host")?, Keys::named("user")?);
        Some(Self { server: sshd(&host, &keys, "")?, folder: Folder::new(), keys })
    }

    /// Where the master listens.
    fn path(&self) -> PathBuf {
        self.folder.file("control")
    }

    /// OpenSSH's program `name`, that knows the way to the server and to the control socket.
    fn openssh(&self, name: &str) -> Option<Command> {
        let mut command = Command::new(require(name, program(name))?);
        command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
        command.args(["-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-i"]);
        command.arg(self.keys.private("ed25519"));
        command.arg(format!("-oUserKnownHostsFile={}", self.folder.file("known").display()));
        command.arg(format!("-oControlPath={}", self.path().display()));
        Some(command)
    }

    /// OpenSSH's `ssh` as master, without a session.
    fn openssh_master(&self) -> Option<Running> {
        let mut command = self.openssh("ssh")?;
        command.args(["-M", "-N", "-p", &self.server.port().to_string()]);
        command.arg(format!("{}@127.0.0.1", user())).stdin(Stdio::null());
        let master = Running::start(&mut command);
        soon("the master listens", || self.path().exists());
        Some(master)
    }

    /// A connection of ours.
    fn client(&self) -> SSHClient {
        let key = PKey::from_file(self.keys.private("ed25519"), None).unwrap();
        let address = format!("127.0.0.1:{}", self.server.port());
        given::client().username(&user()).key(key).connect(&address).unwrap()
    }

    fn mux(&self) -> MuxClient {
        MuxClient::connect(self.path()).unwrap()
    }
}

fn soon(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not so in time");
        thread::sleep(Duration::from_millis(2));
    }
}

/// What comes out of a pipe, read by a thread.
fn all(mut pipe: PipeReader) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// Runs a command over a master, with a file as its input; status, output and errors.
fn run(master: MuxClient, command: &MuxCommand, input: &File) -> (feramiko::ExitStatus, Vec<u8>, Vec<u8>) {
    let (output, their_output) = std::io::pipe().unwrap();
    let (errors, their_errors) = std::io::pipe().unwrap();
    let (output, errors) = (all(output), all(errors));
    let session = master.start(command, input, &their_output, &their_errors).unwrap();
    drop((their_output, their_errors));
    let status = session.wait(|| panic!("there is a terminal")).unwrap();
    (status, output.join().unwrap(), errors.join().unwrap())
}

fn null() -> File {
    File::options().read(true).write(true).open("/dev/null").unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A listener that echoes what each connection says, to its end.
fn echoing() -> Endpoint {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    Endpoint::tcp("127.0.0.1", port)
}
