//! How packets ask to be treated on their way: IPQoS, while somebody sits at a terminal and otherwise.

#![cfg(unix)]

mod given;
mod peers;

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, Channel, Peer, PtyRequest, SSHServer, Secret, ServerInterface, Transport,
    TransportOptions,
};
use peers::{Keys, example, keeper, output, program, require, sshd, start, user};
use rustix::net::sockopt::ip_tos;

const EF: u8 = 0xb8;
const AF21: u8 = 0x48;
const CS1: u8 = 0x20;

/// Gives terminals, except to who wants a dumb one.
struct Terminals;

impl ServerInterface for Terminals {
    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_channel_pty_request(&self, pty: &PtyRequest) -> Answer {
        if pty.term == "dumb" { Answer::No } else { Answer::Yes }
    }
}

/// A connection whose client and server mark packets so, and its two sockets to look at.
fn connected(client: &str, server: &str) -> (Transport, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    let (look_near, look_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
    let classes = server.parse().unwrap();
    thread::spawn(move || {
        let server = SSHServer::builder().host_key(given::host_key()).traffic(classes).build().unwrap();
        server.serve_stream(far, &Peer::named("test"), Terminals)
    });
    let mut options = TransportOptions::default();
    options.traffic = client.parse().unwrap();
    let transport = Transport::start_client(near, options, |_| Ok(())).unwrap();
    transport.auth_password("robey", "foo").unwrap();
    (transport, look_near, look_far)
}

/// Waits until the packets of a socket are marked so.
fn becomes(socket: &TcpStream, class: u8) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while ip_tos(socket).unwrap() != class {
        assert!(Instant::now() < deadline, "{:#x} and not {class:#x}", ip_tos(socket).unwrap());
        thread::sleep(Duration::from_millis(5));
    }
}

fn terminal(transport: &Transport) -> Channel {
    let channel = transport.open_session().unwrap();
    channel.get_pty(&PtyRequest::new("xterm", 80, 24)).unwrap();
    channel
}

#[test]
fn either_side_marks_by_whether_a_session_has_a_terminal() {
    let _watch = given::within(60);
    let (transport, near, far) = connected("ef cs1", "af21 none");
    becomes(&near, CS1);
    assert_eq!(ip_tos(&far).unwrap(), 0);

    let plain = transport.open_session().unwrap();
    let dumb = PtyRequest::new("dumb", 80, 24);
    plain.get_pty(&dumb).unwrap_err();
    assert_eq!((ip_tos(&near).unwrap(), ip_tos(&far).unwrap()), (CS1, 0));

    let (one, two) = (terminal(&transport), terminal(&transport));
    assert_eq!((ip_tos(&near).unwrap(), ip_tos(&far).unwrap()), (EF, AF21));
    one.close();
    drop(one);
    plain.close();
    drop(plain);
    // Once these are gone, and all that went before has been looked at.
    transport.global_request("anything", b"", None).unwrap_err();
    assert_eq!((ip_tos(&near).unwrap(), ip_tos(&far).unwrap()), (EF, AF21));
    two.close();
    drop(two);
    becomes(&near, CS1);
    becomes(&far, 0);
}

#[test]
fn who_says_nothing_leaves_the_headers_alone() {
    let _watch = given::within(60);
    let (transport, near, far) = connected("none", "none");
    let socket = |class| rustix::net::sockopt::set_ip_tos(&near, class).unwrap();
    // As a program might that has a socket of its own.
    socket(CS1);
    let channel = terminal(&transport);
    assert_eq!((ip_tos(&near).unwrap(), ip_tos(&far).unwrap()), (CS1, 0));
    drop(channel);
    transport.close();
}

/// What the headers of both sockets of a session say, by the session itself: the client's, the server's.
fn told_by_the_session(ssh: &mut Command, port: u16, options: &[&str]) -> Vec<String> {
    let keys = Keys::named("user").unwrap();
    ssh.args([
        "-F",
        "none",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "LogLevel=ERROR",
    ]);
    ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-i"]).arg(keys.private("ed25519"));
    ssh.args(["-p", &port.to_string(), "-l", &user()]).args(options).arg("127.0.0.1");
    let output = output(
        ssh.arg(
            "set -- $SSH_CONNECTION; for p in $2 $4; do ss -tnH --tos state established sport = :$p; done",
        ),
        "",
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{ssh:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text.split_whitespace().filter_map(|word| word.strip_prefix("tos:")).map(str::to_owned).collect()
}

#[test]
fn the_programs_mark_as_they_are_told() {
    let _watch = given::within(100);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let Some(theirs) = sshd(&host, &own, "IPQoS af11 cs6\n") else { return };
    let (Some(_), Some(ssh)) = (require("ss", program("ss")), require("ssh", program("ssh"))) else { return };
    let ours = start("our sshd", |folder, port| {
        std::fs::write(folder.file("keys"), own.public("ed25519")).unwrap();
        let mut command = keeper(r#""$@""#);
        command.arg(example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1", "-h"]);
        command.arg(host.private("ed25519")).arg("-a").arg(folder.file("keys"));
        command.args(["-o", "IPQoS=af11 cs6"]);
        (command, "listening on".to_owned())
    });
    for (client, server) in [(&example("ssh"), &theirs), (&ssh, &ours), (&example("ssh"), &ours)] {
        let told = |options: &[&str]| told_by_the_session(&mut Command::new(client), server.port(), options);
        assert_eq!(told(&["-o", "IPQoS=ef cs1"]), ["0x20", "0xc0"], "{client:?}");
        assert_eq!(told(&["-o", "IPQoS=ef cs1", "-tt"]), ["0xb8", "0x28"], "{client:?}");
    }
    let told =
        |options: &[&str]| told_by_the_session(&mut Command::new(example("ssh")), ours.port(), options);
    assert_eq!(told(&[])[..1], ["0"], "OpenSSH's default since 10.1");
    assert_eq!(told(&["-tt"])[..1], ["0xb8"], "OpenSSH's default since 10.1");
}
