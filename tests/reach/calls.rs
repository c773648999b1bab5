//! Servers that call their clients (RFC 8071), with AsyncSSH on either side.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{Error, Phase, SSHServer};
use serde_json::json;

use super::{given, knowing, of_user, user};
use crate::given::Echo;
use crate::peers::{Keys, Python, free_port};

#[test]
fn a_client_of_ours_is_called_by_a_server_of_ours() {
    let _watch = given::within(120);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
    let serving = thread::spawn(move || server.connect_out(&address, Echo));
    let client = knowing().accept(&listener, "device-17").unwrap();
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    assert_eq!(given::echoed(&channel, b"called").unwrap(), b"called");
    drop((channel, client));
    serving.join().unwrap().unwrap();
}

#[test]
fn nobody_calls_and_nobody_waits() {
    let _watch = given::within(120);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let result = knowing().deadline(Duration::from_millis(200)).accept(&listener, "device");
    assert!(matches!(result, Err(Error::Timeout(Phase::Accept))), "{result:?}");
    let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
    let result = server.connect_out("127.0.0.1:1", Echo);
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
}

/// Several threads wait at one listener; each call goes to one of them.
#[test]
fn many_calls_at_one_listener() {
    let _watch = given::within(120);
    const CALLS: usize = 8;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..CALLS {
            scope.spawn(|| {
                let client = knowing().accept(&listener, "device").unwrap();
                let channel = client.open_session().unwrap();
                channel.exec_command("cat").unwrap();
                assert_eq!(given::echoed(&channel, b"x").unwrap(), b"x");
            });
            let (server, address) = (server.clone(), address.clone());
            scope.spawn(move || server.connect_out(&address, Echo).unwrap());
        }
    });
}

#[test]
fn a_server_of_asyncssh_calls() {
    let _watch = given::within(120);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = json!({
        "user": user(), "host_keys": [host.private("ed25519")], "authorized_keys": own.all_public(),
        "reverse": ["127.0.0.1", listener.local_addr().unwrap().port()],
    });
    let waiting = thread::spawn(move || of_user(&own).accept(&listener, "device"));
    let Some(_server) = Python::AsyncSsh.server(&spec) else { return };
    let client = waiting.join().unwrap().unwrap();
    let output = client.command("cat; echo error >&2; exit 4").input("in").output().unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"in"[..], &b"error\n"[..]));
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn a_client_of_asyncssh_is_called() {
    let _watch = given::within(120);
    let port = free_port();
    let spec = json!({
        "host": "127.0.0.1", "port": port, "user": "robey", "password": "foo", "reverse": true,
        "command": "x", "stdin": "echo",
    });
    let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
    thread::scope(|scope| {
        let asking = scope.spawn(|| Python::AsyncSsh.client(&spec));
        let until = Instant::now() + Duration::from_secs(60);
        while !asking.is_finished() {
            match server.connect_out(&format!("127.0.0.1:{port}"), Echo) {
                // It does not listen yet.
                Err(Error::Io { .. }) if Instant::now() < until => thread::sleep(Duration::from_millis(50)),
                ended => {
                    ended.unwrap();
                    break;
                }
            }
        }
        let Some(answer) = asking.join().unwrap() else { return };
        assert_eq!((&answer["stdout"], &answer["exit"]), (&json!("echo"), &json!(3)), "{answer}");
    });
}
