//! What a peer may do to forwarding: a client to our server, and a server to our client.

mod given;
mod raw;

use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{
    AuthAnswer, DirectAnswer, DirectRequest, Endpoint, Error, ForwardRules, Limits, ListenAnswer,
    ListenRequest, Peer, SSHClient, SSHServer, Secret, ServerHandle, ServerInterface, running_threads,
};
use raw::{Field, Raw, Role, Take, message};

const WINDOW: u32 = 2 << 20;
const PACKET: u32 = 32 * 1024;
/// Codes of CHANNEL_OPEN_FAILURE, RFC 4254 §5.1.
const PROHIBITED: u32 = 1;
const CONNECT_FAILED: u32 = 2;

/// More than anything here takes.
const LONG: Duration = Duration::from_secs(30);
/// More threads than the tests beside one run.
const OTHERS: usize = 100;

struct Gate(ForwardRules);

impl ServerInterface for Gate {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_direct_tcpip_request(&self, request: &DirectRequest) -> DirectAnswer {
        assert_ne!(request.to, Endpoint::tcp("panic", 1));
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

fn server(rules: ForwardRules) -> (ServerHandle, Raw) {
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_: &Peer| Gate(rules.clone()))
        .unwrap();
    let raw = Raw::logged_in(&server.address(), "robey", "foo");
    (server, raw)
}

fn opening(kind: &str, rest: &[u8]) -> Vec<u8> {
    let mut open = message(90).string(kind).u32(7).u32(WINDOW).u32(PACKET);
    open.extend_from_slice(rest);
    open
}

/// The code that a channel is refused with.
fn refusal(raw: &mut Raw, kind: &str, rest: &[u8]) -> u32 {
    assert!(raw.send(&opening(kind, rest)));
    Take::new(&raw.expect(92)[1..]).skip_u32().u32()
}

fn tcpip(host: &[u8], port: u32) -> Vec<u8> {
    Vec::new().string(host).u32(port).string("127.0.0.1").u32(1)
}

/// Whether a request of the connection is granted.
fn granted(raw: &mut Raw, kind: &str, rest: &[u8]) -> bool {
    let mut request = message(80).string(kind).bool(true);
    request.extend_from_slice(rest);
    assert!(raw.send(&request));
    loop {
        match raw.recv()[0] {
            81 => return true,
            82 => return false,
            2 | 4 | 7 | 80 | 93 => {}
            other => panic!("message {other}"),
        }
    }
}

#[test]
fn places_that_cannot_be_are_refused_and_the_connection_lives() {
    let _watch = given::within(60);
    let (_server, mut raw) = server(ForwardRules::all());
    let long = vec![b'a'; 100_000];
    for (host, port) in [
        (&b"127.0.0.1"[..], 70_000),
        (b"127.0.0.1", u32::MAX),
        (b"127.0.0.1", 0),
        (&long, 80),
        (b"\xff", 80),
        (b"a\0b", 80),
        (b"-oProxyCommand=x", 80),
        (b"panic", 1),
    ] {
        let code = refusal(&mut raw, "direct-tcpip", &tcpip(host, port));
        assert!(code == CONNECT_FAILED || host == b"panic" && code == PROHIBITED, "{code} for port {port}");
        assert!(
            port < 65536 && host.len() < 20 && host.is_ascii()
                || !granted(&mut raw, "tcpip-forward", &Vec::new().string(host).u32(port))
        );
    }
    let whole = tcpip(b"127.0.0.1", 80);
    for cut in 0..whole.len() {
        assert_eq!(refusal(&mut raw, "direct-tcpip", &whole[..cut]), CONNECT_FAILED, "{cut}");
    }
    let path = Vec::new().string("/no/such/socket").string("").u32(0);
    for cut in 0..=path.len() {
        assert_eq!(refusal(&mut raw, "direct-streamlocal@openssh.com", &path[..cut]), CONNECT_FAILED);
    }
    let listen = Vec::new().string("127.0.0.1").u32(0);
    for cut in 0..listen.len() {
        for kind in ["tcpip-forward", "cancel-tcpip-forward"] {
            assert!(!granted(&mut raw, kind, &listen[..cut]), "{kind} {cut}");
        }
    }
    for path in [&b""[..], b"/tmp/a\0b", &long] {
        let path = Vec::new().string(path);
        for kind in ["streamlocal-forward@openssh.com", "cancel-streamlocal-forward@openssh.com"] {
            assert!(!granted(&mut raw, kind, &path), "{kind}");
            assert!(!granted(&mut raw, kind, &path[..path.len() - 1]), "{kind}");
        }
    }
    // Nobody listens there, or on a port that is for root; and who is refused all this goes on.
    assert!(!granted(&mut raw, "cancel-tcpip-forward", &Vec::new().string("127.0.0.1").u32(4)));
    assert!(!granted(&mut raw, "tcpip-forward", &Vec::new().string("127.0.0.1").u32(1023)));
    assert!(granted(&mut raw, "tcpip-forward", &listen));
}

/// What is sent where no forwarded connection has a stream is dropped, and holds the connection up no more than that.
#[test]
fn errors_of_no_program_hold_nothing_up() {
    let _watch = given::within(60);
    let (_server, mut raw) = server(ForwardRules::all());
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u32::from(service.local_addr().unwrap().port());
    thread::spawn(move || {
        let (stream, _) = service.accept().unwrap();
        std::io::copy(&mut &stream, &mut &stream).unwrap();
    });
    assert!(raw.send(&opening("direct-tcpip", &tcpip(b"127.0.0.1", port))));
    let confirmed = raw.expect(91);
    let mut fields = Take::new(&confirmed[5..]);
    let (theirs, mut window) = (fields.u32(), fields.u32());
    let piece = vec![b'x'; PACKET as usize];
    // More than is kept of any stream that is not read.
    let mut left = Limits::default().unread_stream + (4 << 20);
    while left > 0 {
        while window < PACKET {
            let more = raw.recv();
            assert_eq!(more[0], 93, "{more:?}");
            window += Take::new(&more[1..]).skip_u32().u32();
        }
        assert!(raw.send(&message(95).u32(theirs).u32(1).string(&piece[..])));
        (window, left) = (window - PACKET, left.saturating_sub(piece.len()));
    }
    assert!(raw.send(&message(94).u32(theirs).string("still")));
    assert!(raw.expect(94).ends_with(b"still"));
}

/// A server opens these; and a server that is asked nothing forwards nothing.
#[test]
fn a_client_opens_no_channels_of_a_server() {
    let _watch = given::within(60);
    let (_server, mut raw) = server(ForwardRules::all());
    for kind in ["forwarded-tcpip", "forwarded-streamlocal@openssh.com", "auth-agent@openssh.com", "x11"] {
        assert!(refusal(&mut raw, kind, &tcpip(b"127.0.0.1", 80)) > 0, "{kind}");
    }
    struct Nothing;
    impl ServerInterface for Nothing {
        fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
            AuthAnswer::Accept
        }
    }
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_: &Peer| Nothing)
        .unwrap();
    let mut raw = Raw::logged_in(&server.address(), "robey", "foo");
    assert_eq!(refusal(&mut raw, "direct-tcpip", &tcpip(b"127.0.0.1", 22)), PROHIBITED);
    let path = Vec::new().string("/tmp/socket").string("").u32(0);
    assert_eq!(refusal(&mut raw, "direct-streamlocal@openssh.com", &path), PROHIBITED);
    assert!(!granted(&mut raw, "tcpip-forward", &Vec::new().string("").u32(0)));
    assert!(!granted(&mut raw, "streamlocal-forward@openssh.com", &Vec::new().string("/tmp/feramiko-no")));
}

/// A client that opens more than it may, and one that leaves while its connections are made, keep nothing.
#[test]
fn a_flood_of_channels_is_bounded_and_ends_with_its_client() {
    let _watch = given::within(120);
    let (server, mut raw) = server(ForwardRules::all());
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = u32::from(silent.local_addr().unwrap().port());
    thread::spawn(move || silent.incoming().collect::<Vec<_>>());
    let mut sent = 0;
    while sent < 3000 && raw.send(&opening("direct-tcpip", &tcpip(b"127.0.0.1", port))) {
        sent += 1;
    }
    let (mut opened, mut refused) = (0, 0);
    while opened + refused < sent {
        match raw.recv()[0] {
            91 => opened += 1,
            92 => refused += 1,
            _ => {}
        }
    }
    assert_eq!((opened, refused), (Limits::default().forwarded, sent - Limits::default().forwarded));
    drop(raw);
    server.shutdown(LONG);
    let until = Instant::now() + LONG;
    // Some are other tests'.
    while running_threads() > OTHERS {
        assert!(Instant::now() < until, "{} threads", running_threads());
        thread::sleep(Duration::from_millis(10));
    }
}

/// A client meets a server that does `attack` once it is let in.
fn meets(attack: impl FnOnce(&mut Raw) + Send, then: impl FnOnce(SSHClient)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut raw = Raw::on(stream, Role::Server);
            raw.admit();
            attack(&mut raw);
        });
        then(given::client().username("robey").password("foo").connect(&address).unwrap());
        server.join().unwrap();
    });
}

#[test]
fn a_server_opens_nothing_where_nothing_was_asked_for() {
    let _watch = given::within(60);
    meets(
        |raw| {
            assert_eq!(refusal(raw, "forwarded-tcpip", &tcpip(b"localhost", 80)), PROHIBITED);
            let path = Vec::new().string("/a").string("");
            assert_eq!(refusal(raw, "forwarded-streamlocal@openssh.com", &path), PROHIBITED);
        },
        |client| {
            let _ = client.transport().wait_closed(None);
        },
    );
}

/// Nothing that was not asked for is opened: no other port, kind or path, before the answer or after the end.
#[test]
fn a_server_opens_what_was_asked_for_only() {
    let _watch = given::within(60);
    let (done, ended) = channel();
    meets(
        |raw| {
            let forwarded = |port| tcpip(b"localhost", port);
            let asked = raw.expect(80);
            assert!(Take::new(&asked[1..]).string() == b"tcpip-forward");
            // Asked, and not yet granted.
            assert_eq!(refusal(raw, "forwarded-tcpip", &forwarded(4000)), PROHIBITED);
            // The answer and the first connection in one breath.
            let mut both = raw.seal(&message(81).u32(4000));
            both.extend(raw.seal(&opening("forwarded-tcpip", &forwarded(4000))));
            assert!(raw.bytes(&both));
            let confirmed = raw.expect(91);
            assert_eq!(Take::new(&confirmed[1..]).u32(), 7);
            // By another name it is the only one with that port.
            raw.send(&opening("forwarded-tcpip", &tcpip(b"127.0.0.1", 4000)));
            raw.expect(91);
            for port in [0, 80, 3999, 4001, 69_536] {
                assert_eq!(refusal(raw, "forwarded-tcpip", &forwarded(port)), PROHIBITED, "{port}");
            }
            let path = Vec::new().string("localhost").string("");
            assert_eq!(refusal(raw, "forwarded-streamlocal@openssh.com", &path), PROHIBITED);
            for kind in ["session", "direct-tcpip", "x11", "auth-agent@openssh.com"] {
                assert_eq!(refusal(raw, kind, &forwarded(4000)), PROHIBITED, "{kind}");
            }
            done.send(()).unwrap();
            let cancelled = raw.expect(80);
            assert!(Take::new(&cancelled[1..]).string() == b"cancel-tcpip-forward");
            assert_eq!(refusal(raw, "forwarded-tcpip", &forwarded(4000)), PROHIBITED);
        },
        |client| {
            let hold = Arc::new(Mutex::new(Vec::new()));
            let kept = Arc::clone(&hold);
            let forward = client
                .forward_remote_with(Endpoint::tcp("localhost", 0), move |connection| {
                    kept.lock().unwrap().push(connection.accept().unwrap());
                })
                .unwrap();
            assert_eq!(forward.port(), Some(4000));
            ended.recv_timeout(LONG).unwrap();
            drop(forward);
            let _ = client.transport().wait_closed(None);
        },
    );
}

/// Where two have one port, a name that is neither's is nobody's.
#[test]
fn a_place_that_may_be_either_is_neither() {
    let _watch = given::within(60);
    let (done, ended) = channel();
    meets(
        |raw| {
            for _ in 0..2 {
                raw.expect(80);
                raw.send(&message(81));
            }
            assert_eq!(refusal(raw, "forwarded-tcpip", &tcpip(b"127.0.0.9", 4000)), PROHIBITED);
            for (ours, host) in [(8, "127.0.0.2"), (9, "127.0.0.1")] {
                let rest = tcpip(host.as_bytes(), 4000);
                let mut open = message(90).string("forwarded-tcpip").u32(ours).u32(WINDOW).u32(PACKET);
                open.extend_from_slice(&rest);
                raw.send(&open);
                raw.expect(91);
                let said = raw.expect(94);
                assert!(said.ends_with(host.as_bytes()), "{said:?} is not for {host}");
                raw.expect(96);
                raw.expect(97);
            }
            done.send(()).unwrap();
        },
        |client| {
            let forward = |host: &'static str| {
                let take = move |connection: feramiko::ForwardedConnection| {
                    let channel = connection.accept().unwrap();
                    (&channel).write_all(host.as_bytes()).unwrap();
                };
                client.forward_remote_with(Endpoint::tcp(host, 4000), take).unwrap()
            };
            let _both = (forward("127.0.0.1"), forward("127.0.0.2"));
            ended.recv_timeout(LONG).unwrap();
        },
    );
}

/// A server that grants port 0 and names none, or one that cannot be, has granted nothing.
#[test]
fn a_port_that_is_not_named_is_an_error() {
    let _watch = given::within(60);
    for answer in [message(81), message(81).u32(0), message(81).u32(70_000), message(81).u32(1).u32(1)] {
        meets(
            |raw| {
                raw.expect(80);
                raw.send(&answer);
                assert_eq!(refusal(raw, "forwarded-tcpip", &tcpip(b"", 0)), PROHIBITED);
            },
            |client| {
                let asked = client.forward_remote(Endpoint::tcp("", 0), Endpoint::tcp("127.0.0.1", 1));
                assert!(matches!(asked, Err(Error::Protocol { .. })), "{asked:?}");
                let _ = client.transport().wait_closed(None);
            },
        );
    }
}
