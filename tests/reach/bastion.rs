//! Sessions that a server of ours hands to OpenSSH's.

use std::io::{self, Write};
use std::net::{Shutdown, TcpListener};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, ExitStatus, PtyRequest, SSHClient, SSHServer, Secret, ServerHandle, ServerInterface,
    Session, SessionRequest,
};

use super::terminal::Terminal;
use super::{given, of_user, openssh};
use crate::peers::{Folder, Python, Running, Server, output, program, require, run_shell};

/// Lets everybody in and hands everything on.
struct Bastion(SSHClient);

impl ServerInterface for Bastion {
    fn check_auth_none(&self, _: &str) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_env_request(&self, _: &str, _: &str) -> Answer {
        Answer::Yes
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn check_channel_subsystem_request(&self, _: &SessionRequest, _: &str) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        session.hand_to(&self.0)
    }
}

/// A server whose commands have two pipes, and get signals: those of OpenSSH's share a socket for both
/// directions, and get no signals where root logs in.
struct Pipes;

impl ServerInterface for Pipes {
    fn check_auth_none(&self, _: &str) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        run_shell(session)
    }
}

fn serve<I: ServerInterface>(interface: impl Fn() -> I + Send + Sync + 'static) -> ServerHandle {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SSHServer::builder().host_key(given::host_key()).serve(listener, move |_| interface()).unwrap()
}

/// A bastion before a server with pipes; a client of it.
fn piped() -> (ServerHandle, ServerHandle, SSHClient) {
    let inner = serve(|| Pipes);
    let there = given::client().username("me").connect(&inner.address()).unwrap();
    let bastion = serve(move || Bastion(there.clone()));
    let client = given::client().username("me").connect(&bastion.address()).unwrap();
    (inner, bastion, client)
}

/// A bastion before OpenSSH's server.
struct House {
    inner: Server,
    bastion: ServerHandle,
    folder: Folder,
}

impl House {
    fn open() -> Option<Self> {
        let (inner, own) = openssh("")?;
        let client = of_user(&own).connect(&format!("127.0.0.1:{}", inner.port())).unwrap();
        let bastion = serve(move || Bastion(client.clone()));
        Some(Self { inner, bastion, folder: Folder::new() })
    }

    fn port(&self) -> String {
        self.bastion.address().rsplit_once(':').unwrap().1.to_owned()
    }

    /// A program of OpenSSH's with what it needs to log in.
    fn command(&self, name: &str, port: &str) -> Option<Command> {
        let mut command = Command::new(require(name, program(name))?);
        command.args(["-F", "none", "-q", "-o", "StrictHostKeyChecking=no", "-o"]);
        command.arg(format!("UserKnownHostsFile={}", self.folder.file("known").display()));
        command.args([port, &self.port()]);
        Some(command)
    }

    fn ssh(&self, options: &[&str], line: &str, input: impl Into<Vec<u8>>) -> Option<Output> {
        let mut ssh = self.command("ssh", "-p")?;
        Some(output(ssh.args(options).arg("me@127.0.0.1").arg(line), input))
    }

    fn client(&self) -> SSHClient {
        given::client().username("me").connect(&self.bastion.address()).unwrap()
    }
}

#[test]
fn a_command_with_its_streams_environment_and_status() {
    let _watch = given::within(120);
    let Some(house) = House::open() else { return };
    let line = "cat; echo $LC_TEST >&2; exit 3";
    let mut ssh = house.command("ssh", "-p").unwrap();
    ssh.env("LC_TEST", "error").args(["-o", "SendEnv=LC_*", "-T", "me@127.0.0.1", line]);
    let answer = output(&mut ssh, "input");
    assert_eq!((&answer.stdout[..], &answer.stderr[..]), (&b"input"[..], &b"error\n"[..]));
    assert_eq!(answer.status.code(), Some(3));
    assert!(house.inner.log().contains("Starting session: command"), "{}", house.inner.log());
    // A signal that ends it arrives as one.
    let status = house.client().output("kill -TERM $$").unwrap().status;
    assert!(matches!(&status, ExitStatus::Signal { name, .. } if name == "TERM"), "{status}");
}

#[test]
fn much_in_both_directions_at_once() {
    let _watch = given::within(300);
    let Some(house) = House::open() else { return };
    let data: Vec<u8> = (0..50_000_000_u32).map(|at| (at >> 3) as u8).collect();
    let answer = house.ssh(&["-T"], "cat", data.clone()).unwrap();
    assert!(answer.stdout == data, "{} bytes came back", answer.stdout.len());
    // Both outputs, full, and an input that nobody reads.
    let line = "head -c 20000000 /dev/zero >&2 & head -c 20000000 /dev/zero; wait";
    let answer = house.ssh(&["-T"], line, vec![1; 10_000_000]).unwrap();
    assert_eq!((answer.stdout.len(), answer.stderr.len()), (20_000_000, 20_000_000));
    assert!(answer.status.success());
}

/// Sessions that share one connection behind the bastion, full in both directions; one of them is not read.
#[test]
fn many_at_once_hold_each_other_up_nowhere() {
    const SESSIONS: usize = 8;
    let _watch = given::within(300);
    let Some(house) = House::open() else { return };
    let client = house.client();
    let unread = client.open_session().unwrap();
    unread.exec_command("yes").unwrap();
    std::thread::scope(|scope| {
        for number in 1..=SESSIONS {
            let channel = client.open_session().unwrap();
            channel.exec_command("cat; exit 3").unwrap();
            scope.spawn(move || {
                let data: Vec<u8> = (0..3_000_000 + number).map(|at| ((at * number) >> 5) as u8).collect();
                assert!(given::echoed(&channel, &data).unwrap() == data, "session {number}");
                assert_eq!(channel.wait_exit(None).unwrap(), ExitStatus::Code(3));
            });
        }
    });
    drop(unread);
}

/// Each end of a stream goes through alone, in both directions.
#[test]
fn half_closes() {
    let _watch = given::within(120);
    let (_inner, _bastion, client) = piped();
    // It closes its output and reads on.
    let folder = Folder::new();
    let kept = folder.file("kept");
    let channel = client.open_session().unwrap();
    channel.exec_command(format!("echo out; exec >&- 2>&-; cat >{}", kept.display())).unwrap();
    let mut told = String::new();
    io::Read::read_to_string(&mut &channel, &mut told).unwrap();
    assert_eq!(told, "out\n");
    (&channel).write_all(b"after its end").unwrap();
    channel.shutdown(Shutdown::Write);
    assert!(channel.wait_exit(Some(Duration::from_secs(60))).unwrap().success());
    assert_eq!(std::fs::read(&kept).unwrap(), b"after its end");
    // It reads to the end and answers then.
    let output =
        client.command("sha256sum | cut -c1-8; echo $? >&2").input("x".repeat(100)).output().unwrap();
    assert_eq!((output.stdout.len(), &output.stderr[..]), (9, &b"0\n"[..]));
    // It reads no more, and who writes learns so.
    let channel = client.open_session().unwrap();
    channel.exec_command("exec <&-; sleep 600").unwrap();
    let error = io::copy(&mut io::repeat(0), &mut &channel).unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

#[test]
fn a_terminal_that_is_resized() {
    let _watch = given::within(180);
    let Some(house) = House::open() else { return };
    let (mut terminal, far) = Terminal::open(80, 24);
    let mut ssh = Command::new("setsid");
    let inner = house.command("ssh", "-p").unwrap();
    ssh.args(["-c", "-w"]).arg(inner.get_program()).args(inner.get_args()).args(["-tt", "me@127.0.0.1"]);
    ssh.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far);
    let mut child = Running::start(&mut ssh);
    drop(ssh);
    terminal.resizes_a_shell();
    // The interrupt key reaches what runs there.
    let waiting = "trap 'echo wo''ken; exit' INT; echo be''gun; while :; do sleep 0.05; done";
    terminal.types(&format!("sh -c \"{waiting}\"\n"));
    terminal.shows("begun");
    terminal.types("\x03");
    terminal.shows("woken");
    terminal.types("exit 5\n");
    terminal.shows_all();
    assert_eq!(child.ended().code(), Some(5));
}

#[test]
fn files_by_sftp() {
    let _watch = given::within(120);
    let Some(house) = House::open() else { return };
    let data: Vec<u8> = (0..3_000_000_u32).map(|at| (at >> 2) as u8).collect();
    let (from, there, back) =
        (house.folder.file("from"), house.folder.file("there"), house.folder.file("back"));
    std::fs::write(&from, &data).unwrap();
    let mut sftp = house.command("sftp", "-P").unwrap();
    sftp.args(["-b", "-", "me@127.0.0.1"]);
    let lines = format!("put {0} {1}\nget {1} {2}\n", from.display(), there.display(), back.display());
    let answer = output(&mut sftp, lines);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    assert!(std::fs::read(back).unwrap() == data);
}

#[test]
fn signals_and_clients_that_go() {
    let _watch = given::within(120);
    let (_inner, _bastion, client) = piped();
    let folder = Folder::new();
    let channel = client.open_session().unwrap();
    channel
        .exec_command("trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done")
        .unwrap();
    let mut line = [0; 6];
    io::Read::read_exact(&mut &channel, &mut line).unwrap();
    channel.send_signal("USR1").unwrap();
    let mut told = String::new();
    io::Read::read_to_string(&mut &channel, &mut told).unwrap();
    assert_eq!((told.as_str(), channel.wait_exit(None).unwrap()), ("caught\n", ExitStatus::Code(9)));
    // The command's input ends when its client is gone.
    let gone = folder.file("gone");
    let channel = client.open_session().unwrap();
    channel.exec_command(format!("trap '' HUP; echo ready; cat; echo gone >{}", gone.display())).unwrap();
    io::Read::read_exact(&mut &channel, &mut line).unwrap();
    drop(channel);
    drop(client);
    let until = Instant::now() + Duration::from_secs(60);
    while !gone.exists() {
        assert!(Instant::now() < until, "the command was left alone");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clients_of_others_through_the_bastion() {
    let _watch = given::within(120);
    let Some(house) = House::open() else { return };
    for python in Python::BOTH {
        let spec = serde_json::json!({
            "host": "127.0.0.1", "port": house.port().parse::<u16>().unwrap(), "user": "me", "password": "x",
            "command": "cat; echo error >&2; exit 6", "stdin": "input",
        });
        let Some(answer) = python.client(&spec) else { continue };
        assert_eq!(
            (&answer["stdout"], &answer["stderr"], &answer["exit"]),
            (&"input".into(), &"error\n".into(), &6.into()),
            "{answer}"
        );
    }
}
