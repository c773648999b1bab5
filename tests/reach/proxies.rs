//! Through proxies of others, and one of HTTP that wants a password.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use feramiko::{Error, HTTPProxy, Phase, SOCKSProxy, SSHClientBuilder};

use super::{echo, given, knowing, openssh};
use crate::peers::{Server, keeper, program, require, start, user};

/// Whether the way that `through` names carries a connection.
fn carries(through: impl FnOnce(SSHClientBuilder) -> SSHClientBuilder, address: &str) {
    let client = through(knowing()).connect(address).unwrap();
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    let data = vec![9; 1_000_000];
    assert!(given::echoed(&channel, &data).unwrap() == data);
}

/// Passes on what one side sends until it ends.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// An HTTP proxy that wants `me:secret`, writes its answer in pieces of a byte, and the first bytes of the
/// host with its last; and what it was asked.
fn http_proxy() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (asked, questions) = channel();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(client.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let _ = asked.send(head.clone());
            if !head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
                let refusal = "HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\nbody";
                client.write_all(refusal.as_bytes()).unwrap();
                continue;
            }
            let host = TcpStream::connect(head.split(' ').nth(1).unwrap()).unwrap();
            let answer = b"HTTP/1.1 200 Connection established\r\nX-Proxy: test\r\n\r\n";
            let (most, last) = answer.split_at(answer.len() - 1);
            most.chunks(1).for_each(|byte| client.write_all(byte).unwrap());
            let mut first = [0; 200];
            let count = (&host).read(&mut first).unwrap();
            client.write_all(&[last, &first[..count]].concat()).unwrap();
            let (back, there) = (client.try_clone().unwrap(), host.try_clone().unwrap());
            thread::spawn(move || pass(there, back));
            thread::spawn(move || pass(client, host));
        }
    });
    (address, questions)
}

#[test]
fn http_with_a_password() {
    let _watch = given::within(120);
    let (_server, address) = echo();
    let (proxy, questions) = http_proxy();
    carries(|it| it.http_proxy(HTTPProxy::new(&proxy).login("me", "secret")), &address);
    let asked = questions.recv().unwrap();
    assert!(asked.starts_with(&format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n")), "{asked}");
    let refused = knowing().http_proxy(proxy.as_str()).connect(&address).unwrap_err();
    let Error::Proxy { proxy: named, text } = &refused else { panic!("{refused:?}") };
    assert_eq!(*named, proxy);
    assert!(text.contains("407 Who are you") && text.contains("Basic"), "{text}");
}

#[test]
fn tinyproxy() {
    let _watch = given::within(120);
    let Some(program) = require("tinyproxy", program("tinyproxy")) else { return };
    let (_server, address) = echo();
    let proxy = start("tinyproxy", |folder, port| {
        let config =
            format!("Port {port}\nListen 127.0.0.1\nLogLevel Info\nBasicAuth me secret\nUser root\n");
        std::fs::write(folder.file("config"), config).unwrap();
        let mut command = keeper(r#""$1" -d -c "$2""#);
        command.arg(&program).arg(folder.file("config"));
        (command, "Accepting connections".to_owned())
    });
    let at = format!("127.0.0.1:{}", proxy.port());
    carries(|it| it.http_proxy(HTTPProxy::new(&at).login("me", "secret")), &address);
    let refused =
        |proxy: HTTPProxy, to: &str| knowing().http_proxy(proxy).connect(to).unwrap_err().to_string();
    let denied = refused(HTTPProxy::new(&at).login("me", "wrong"), &address);
    assert!(denied.contains("401") || denied.contains("407"), "{denied}");
    let unreachable = refused(HTTPProxy::new(&at).login("me", "secret"), "127.0.0.1:1");
    assert!(unreachable.contains("opens no tunnel: 5"), "{unreachable}");
}

/// OpenSSH's `ssh -D` is a SOCKS proxy of both versions.
fn dynamic() -> Option<(Server, Server)> {
    let (host, own) = openssh("")?;
    let ssh = require("ssh", program("ssh"))?;
    let proxy = start("ssh -D", |folder, port| {
        let mut command = keeper(r#""$@""#);
        command.arg(&ssh).args(["-F", "none", "-N", "-v", "-o", "StrictHostKeyChecking=no", "-o"]);
        command.arg(format!("UserKnownHostsFile={}", folder.file("known").display()));
        command.args(["-o", "ExitOnForwardFailure=yes", "-D", &format!("127.0.0.1:{port}"), "-i"]);
        command.arg(own.private("ed25519")).args(["-p", &host.port().to_string()]);
        command.arg(format!("{}@127.0.0.1", user()));
        (command, "Entering interactive session".to_owned())
    });
    Some((host, proxy))
}

#[test]
fn socks_of_openssh() {
    let _watch = given::within(120);
    let (_server, address) = echo();
    let Some((_host, proxy)) = dynamic() else { return };
    let at = format!("127.0.0.1:{}", proxy.port());
    let by_name = address.replace("127.0.0.1", "localhost");
    carries(|it| it.socks_proxy(at.as_str()), &address);
    carries(|it| it.socks_proxy(at.as_str()), &by_name);
    carries(|it| it.socks_proxy(SOCKSProxy::v4(&at)), &address);
    carries(|it| it.socks_proxy(SOCKSProxy::v4a(&at).user("me")), &by_name);
    let by_name = knowing().socks_proxy(SOCKSProxy::v4(&at)).connect(&by_name);
    assert!(matches!(by_name, Err(Error::Misuse(_))), "{by_name:?}");
    let nobody = knowing().socks_proxy(at.as_str()).connect("127.0.0.1:1");
    assert!(nobody.is_err(), "{nobody:?}");
}

#[test]
fn socks_with_a_password() {
    let _watch = given::within(120);
    let Some(program) = require("microsocks", program("microsocks")) else { return };
    let (_server, address) = echo();
    let port = crate::peers::free_port();
    let mut command = Command::new(program);
    command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-u", "me", "-P", "secret"]);
    let _proxy = crate::peers::Running::start(command.stderr(std::process::Stdio::null()));
    let at = format!("127.0.0.1:{port}");
    // It does not say when it is ready.
    let until = std::time::Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(&at).is_err() {
        assert!(std::time::Instant::now() < until, "microsocks does not listen");
        thread::sleep(Duration::from_millis(10));
    }
    carries(|it| it.socks_proxy(SOCKSProxy::v5(&at).login("me", "secret")), &address);
    let refused =
        |proxy: SOCKSProxy, to: &str| knowing().socks_proxy(proxy).connect(to).unwrap_err().to_string();
    let denied = refused(SOCKSProxy::v5(&at).login("me", "wrong"), &address);
    assert!(denied.contains("does not know the user or the password"), "{denied}");
    let unknown = refused(SOCKSProxy::v5(&at), &address);
    assert!(unknown.contains("give it a user and a password"), "{unknown}");
    let closed = refused(SOCKSProxy::v5(&at).login("me", "secret"), "127.0.0.1:1");
    assert!(closed.contains("opens no connection: the host refused the connection (code 5)"), "{closed}");
}

/// A proxy that says nothing, half of something, or too much.
#[test]
fn proxies_that_are_none() {
    let _watch = given::within(120);
    let answering = |answer: Vec<u8>, stay: bool| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let _ = client.write_all(&answer);
            if stay {
                thread::sleep(Duration::from_secs(30));
            }
        });
        address
    };
    let http = |address: String| {
        knowing()
            .deadline(Duration::from_millis(1500))
            .http_proxy(address.as_str())
            .connect("host")
            .unwrap_err()
    };
    assert!(matches!(http(answering(Vec::new(), true)), Error::Timeout(Phase::Connect)));
    assert!(matches!(http(answering(b"HTTP/1.1 200".to_vec(), true)), Error::Timeout(Phase::Connect)));
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\n", b"SSH-2.0-x\r\n"] {
        let error = http(answering(answer.to_vec(), false));
        assert!(matches!(error, Error::Proxy { .. }), "{error}");
    }
    let endless = http(answering(vec![b'x'; 100_000], true));
    assert!(endless.to_string().contains("more than 16384 bytes"), "{endless}");
    // Nobody is there at all; and a user in the address.
    assert!(matches!(http("127.0.0.1:1".to_owned()), Error::Io { .. }));
    assert!(matches!(http("me@127.0.0.1:1".to_owned()), Error::Misuse(_)));
}
