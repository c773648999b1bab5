//! Many forwarded connections at once, and what is left of them when the connection that carries them ends.

#![cfg(unix)]

#[path = "forwarding/ends.rs"]
mod ends;
mod given;
mod peers;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ends::{BYTES, Duplex, connect, data, talk, tcp_service, unix};
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

    fn check_channel_direct_streamlocal_request(&self, request: &DirectRequest) -> DirectAnswer {
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

/// Each has a thread on either side; a stream that does not take what comes for it has another, on that side,
/// and gets everything in the end.
#[test]
fn a_second_thread_is_only_for_streams_that_are_slow() {
    const COUNT: usize = 10;
    let _alone = ALONE.lock();
    let _watch = given::within(60);
    let folder = Folder::new();
    let server = server();
    let client = client(&server);
    let listener = UnixListener::bind(folder.file("far")).unwrap();
    let far = unix(folder.file("far"));
    let forwards = [
        client.forward_local(local(), far.clone()).unwrap(),
        client.forward_remote(unix(folder.file("near")), far).unwrap(),
    ];
    for forward in forwards {
        let before = settled();
        let mut pairs = Vec::new();
        for _ in 0..COUNT {
            let mut near = connect(forward.endpoint()).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            far.set_read_timeout(Some(LONG)).unwrap();
            for _ in 0..3 {
                near.write_all(b"there").unwrap();
                far.read_exact(&mut [0; 5]).unwrap();
                far.write_all(b"back").unwrap();
                near.read_exact(&mut [0; 4]).unwrap();
            }
            pairs.push((near, far));
        }
        assert_eq!(running_threads(), before + 2 * COUNT);
        let sent = data(BYTES);
        let mut writing = Vec::new();
        for (mut near, far) in pairs {
            let sent = sent.clone();
            writing.push((std::thread::spawn(move || near.write_all(&sent).map(|()| near)), far));
        }
        let until = Instant::now() + LONG;
        while running_threads() < before + 3 * COUNT {
            assert!(Instant::now() < until, "{} threads run", running_threads());
            std::thread::sleep(Duration::from_millis(2));
        }
        for (writing, mut far) in writing {
            let mut found = vec![0; BYTES];
            far.read_exact(&mut found).unwrap();
            assert!(found == sent);
            drop(writing.join().unwrap().unwrap());
            assert_eq!(far.read(&mut [0]).unwrap(), 0);
        }
        only(before);
    }
}

/// Whoever closes a channel has had everything delivered that was written before, however slowly it is taken;
/// and who takes nothing any more holds nothing.
#[test]
fn a_closed_channel_s_data_still_arrives() {
    const WRITTEN: usize = 1_500_000;
    let _alone = ALONE.lock();
    let _watch = given::within(60);
    let folder = Folder::new();
    let server = server();
    let client = client(&server);
    let before = settled();
    let path = folder.file("far");
    let listener = UnixListener::bind(&path).unwrap();
    let open = || {
        let channel = client.open_direct_streamlocal(path.as_os_str().as_encoded_bytes()).unwrap();
        let (far, _) = listener.accept().unwrap();
        far.set_read_timeout(Some(LONG)).unwrap();
        { &channel }.write_all(&data(WRITTEN)).unwrap();
        channel.close();
        // More than the socket holds, so it waits in the server.
        assert!(running_threads() > before);
        far
    };
    let mut far = open();
    std::thread::sleep(Duration::from_millis(100));
    let mut found = Vec::new();
    far.read_to_end(&mut found).unwrap();
    assert!(found == data(WRITTEN), "{} bytes", found.len());
    only(before);
    drop(open());
    only(before);
    let _far = open();
    client.close();
    only(1);
}

/// How many threads run once none has started or ended for a while.
fn settled() -> usize {
    let until = Instant::now() + LONG;
    loop {
        let found = running_threads();
        std::thread::sleep(Duration::from_millis(100));
        if running_threads() == found {
            return found;
        }
        assert!(Instant::now() < until, "{found} threads run, and then others");
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

/// Through one connection, there and back; and all threads end.
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
        let mut streams = Vec::new();
        for _ in 0..COUNT {
            let mut stream = connect(forward.endpoint()).unwrap();
            // It has come to the other end.
            stream.read_exact(&mut [0; 3]).unwrap();
            streams.push(stream);
        }
        for stream in &mut streams {
            stream.write_all(&sent).unwrap();
        }
        for stream in streams {
            let answer = talk(stream, b"").unwrap();
            assert!(answer == sent, "{} bytes", answer.len());
        }
    }
    client.close();
    only(1);
}
