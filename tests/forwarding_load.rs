//! Many forwarded connections at once, and what is left of them when the connection that carries them ends.

#![cfg(unix)]

#[path = "forwarding/ends.rs"]
mod ends;
mod given;
mod peers;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ends::{Duplex, connect, data, talk, tcp_service, unix};
use feramiko::{
    AuthAnswer, DirectAnswer, DirectRequest, Endpoint, ForwardRules, ListenAnswer, ListenRequest, Peer,
    SSHClient, SSHServer, Secret, ServerHandle, ServerInterface, running_threads,
};
use peers::Folder;

/// One at a time: threads are counted.
static ALONE: Mutex<()> = Mutex::new(());
const LONG: Duration = Duration::from_secs(30);

struct Open(ForwardRules);

impl ServerInterface for Open {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_direct_tcpip_request(&self, request: &DirectRequest) -> DirectAnswer {
        self.0.direct(request)
    }

    fn check_port_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        self.0.listen(request)
    }

    fn check_streamlocal_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        self.0.listen(request)
    }
}

fn server() -> ServerHandle {
    SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_: &Peer| Open(ForwardRules::all()))
        .unwrap()
}

fn client(server: &ServerHandle) -> SSHClient {
    given::client().username("robey").password("foo").deadline(LONG).connect(&server.address()).unwrap()
}

fn local() -> Endpoint {
    Endpoint::tcp("127.0.0.1", 0)
}

/// Waits until no more than so many threads run.
fn only(threads: usize) {
    let until = Instant::now() + LONG;
    while running_threads() > threads {
        assert!(Instant::now() < until, "{} threads run, not {threads}", running_threads());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The end of the connection ends everything that is forwarded over it, on both sides: sockets, threads and
/// the files of UNIX sockets.
#[test]
fn the_end_of_the_connection_ends_all() {
    let _alone = ALONE.lock();
    let _watch = given::within(60);
    let folder = Folder::new();
    let server = server();
    only(1);
    for round in 0..5 {
        let client = client(&server);
        let service = tcp_service("tcp");
        let forwards = [
            client.forward_local(local(), service.clone()).unwrap(),
            client.forward_local(unix(folder.file("local")), service.clone()).unwrap(),
            client.forward_remote(local(), service.clone()).unwrap(),
            client.forward_remote(unix(folder.file("remote")), service.clone()).unwrap(),
            client.forward_socks(local()).unwrap(),
        ];
        let mut held: Vec<Box<dyn Duplex>> =
            forwards.iter().map(|forward| connect(forward.endpoint()).unwrap()).collect();
        for stream in &mut held[..4] {
            stream.write_all(b"x").unwrap();
        }
        client.close();
        for mut stream in held {
            // An end or a reset, and no waiting for either.
            let _ = stream.read_to_end(&mut Vec::new());
        }
        only(1);
        assert!(!folder.file("local").exists() && !folder.file("remote").exists(), "round {round}");
        for forward in &forwards {
            assert!(connect(forward.endpoint()).is_err());
        }
    }
}

/// Through one connection, there and back, also where who reads is slow to begin; and all threads end.
#[test]
fn a_thousand_at_once() {
    const COUNT: usize = 1000;
    let _alone = ALONE.lock();
    let _watch = given::within(120);
    let server = server();
    let client = client(&server);
    let there = client.forward_local(local(), tcp_service("tcp")).unwrap();
    let back = client.forward_remote(local(), tcp_service("tcp")).unwrap();
    let sent = data(4096);
    for forward in [there, back] {
        let mut streams: Vec<_> = (0..COUNT).map(|_| connect(forward.endpoint()).unwrap()).collect();
        // All are open before one is answered: each is answered at its end.
        for stream in &mut streams {
            stream.write_all(&sent).unwrap();
        }
        for stream in streams {
            let answer = talk(stream, b"").unwrap();
            assert!(answer.len() == 3 + sent.len() && answer.ends_with(&sent), "{} bytes", answer.len());
        }
    }
    client.close();
    only(1);
}
