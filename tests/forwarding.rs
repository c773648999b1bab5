//! Forwarded connections: our client and server with each other and with the programs of others.

#![cfg(unix)]

#[path = "forwarding/ends.rs"]
mod ends;
mod given;
mod peers;
#[path = "forwarding/programs.rs"]
mod programs;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ends::{connect, reaches, refused, talk, tcp_service, unix, unix_service};
use feramiko::{
    AuthAnswer, Channel, DirectAnswer, DirectRequest, Endpoint, Error, ForwardListener, ForwardRules,
    GatewayPorts, Limits, ListenAnswer, ListenOptions, ListenRequest, PKey, Peer, Permissions, SSHClient,
    SSHServer, Secret, ServerHandle, ServerInterface,
};
use peers::{Folder, Keys, Python, Server, our_sshd, sshd, user};

const LONG: Duration = Duration::from_secs(30);
const CONNECT_FAILED: u32 = 2;
const PROHIBITED: u32 = 1;

/// Lets everybody in with these permissions, and forwards by these rules.
struct Gate(ForwardRules, Permissions);

impl ServerInterface for Gate {
    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        match password.matches("foo") {
            true => AuthAnswer::AcceptWith(Box::new(self.1.clone())),
            false => AuthAnswer::Refuse,
        }
    }

    fn check_channel_direct_tcpip_request(&self, request: &DirectRequest) -> DirectAnswer {
        match &request.to {
            Endpoint::Tcp { host, .. } if host == "taken" => DirectAnswer::take(|mut channel| {
                channel.write_all(b"taken in Rust").unwrap();
            }),
            _ => self.0.direct(request),
        }
    }

    fn check_channel_direct_streamlocal_request(&self, request: &DirectRequest) -> DirectAnswer {
        self.0.direct(request)
    }

    fn check_port_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        if matches!(&request.at, Endpoint::Tcp { host, .. } if host == "taken") {
            return ListenAnswer::take(4444, |place| {
                let mut channel = place.open(Endpoint::tcp("nobody", 1)).unwrap();
                channel.write_all(b"made in Rust").unwrap();
                drop(channel);
                assert!(place.wait_end(None) && place.open(Endpoint::tcp("nobody", 2)).is_err());
            });
        }
        self.0.listen(request)
    }

    fn check_streamlocal_forward_request(&self, request: &ListenRequest) -> ListenAnswer {
        self.0.listen(request)
    }
}

fn gate(rules: ForwardRules, permissions: Permissions) -> ServerHandle {
    SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_: &Peer| {
            Gate(rules.clone(), permissions.clone())
        })
        .unwrap()
}

fn client(server: &ServerHandle) -> SSHClient {
    given::client().username("robey").password("foo").deadline(LONG).connect(&server.address()).unwrap()
}

/// A client of one of the programs that let in `user()`.
fn client_of(server: &Server, own: &Keys) -> SSHClient {
    let key = PKey::from_file(own.private("ed25519"), None).unwrap();
    let address = format!("127.0.0.1:{}", server.port());
    given::client().username(&user()).key(key).deadline(LONG).connect(&address).unwrap()
}

fn local(port: u16) -> Endpoint {
    Endpoint::tcp("127.0.0.1", port)
}

/// Waits until something holds.
fn soon(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Both directions, ports and UNIX sockets at either end: all bytes arrive, and the answer comes after the
/// end of what was asked.
fn every_way(client: &SSHClient) {
    let folder = Folder::new();
    let services = [tcp_service("tcp"), unix_service("unix", folder.file("service"))];
    let mut forwards = Vec::new();
    for (at, to) in services.iter().enumerate() {
        let name = ["tcp", "unix"][at];
        let at_path = |kind: &str| unix(folder.file(&format!("{kind}-{name}")));
        for listen in [local(0), at_path("local")] {
            let forward = client.forward_local(listen, to.clone()).unwrap();
            reaches(forward.endpoint(), name);
            forwards.push(forward);
        }
        for listen in [local(0), at_path("remote")] {
            let forward = client.forward_remote(listen, to.clone()).unwrap();
            reaches(forward.endpoint(), name);
            forwards.push(forward);
        }
    }
    for forward in forwards {
        let endpoint = forward.endpoint().clone();
        assert!(forward.port() != Some(0));
        forward.close().unwrap();
        assert!(connect(&endpoint).is_err(), "{endpoint} is not listened at any more");
    }
}

#[test]
fn every_way_with_our_server() {
    let _watch = given::within(60);
    let server = gate(ForwardRules::all(), Permissions::default());
    every_way(&client(&server));
}

#[test]
fn every_way_with_openssh_and_our_program() {
    let _watch = given::within(120);
    let Some((host, own)) = Keys::named("host").zip(Keys::named("user")) else { return };
    let Some(theirs) = sshd(&host, &own, "") else { return };
    for server in [theirs, our_sshd(&host, &own)] {
        every_way(&client_of(&server, &own));
    }
}

#[test]
fn two_forwards_have_their_own_handlers_and_ports() {
    let _watch = given::within(60);
    let server = gate(ForwardRules::all(), Permissions::default());
    let client = client(&server);
    let say = |text: &'static str| {
        client
            .forward_remote_with(local(0), move |connection| {
                assert!(matches!(connection.originator(), Endpoint::Tcp { host, .. } if host == "127.0.0.1"));
                connection.accept().unwrap().write_all(text.as_bytes()).unwrap();
            })
            .unwrap()
    };
    let (one, two) = (say("one"), say("two"));
    assert_ne!(one.endpoint(), two.endpoint());
    let said = |at: &Endpoint| talk(connect(at).unwrap(), b"").unwrap();
    for _ in 0..20 {
        assert_eq!((said(one.endpoint()), said(two.endpoint())), (b"one".to_vec(), b"two".to_vec()));
    }
    // A place that is taken stays whose it is.
    assert!(matches!(client.forward_remote(one.endpoint().clone(), local(1)), Err(Error::RequestRefused(_))));
    assert_eq!(said(one.endpoint()), b"one");
    let gone = one.endpoint().clone();
    one.close().unwrap();
    assert!(connect(&gone).is_err());
    assert_eq!(said(two.endpoint()), b"two");
    // Dropped is cancelled too, without waiting.
    let gone = two.endpoint().clone();
    drop(two);
    soon("nobody listens", || connect(&gone).is_err());
}

/// An application makes the connections itself, at a place that only the client believes in.
#[test]
fn an_application_makes_the_connections() {
    let _watch = given::within(60);
    let server = gate(ForwardRules::new(), Permissions::default());
    let client = client(&server);
    let (told, said) = channel();
    let ask = |port| {
        let told = told.clone();
        client.forward_remote_with(Endpoint::tcp("taken", port), move |connection| {
            assert_eq!(connection.originator(), &Endpoint::tcp("nobody", 1));
            let mut text = String::new();
            connection.accept().unwrap().read_to_string(&mut text).unwrap();
            told.send(text).unwrap();
        })
    };
    for (asked, port) in [(0, 4444), (7, 7)] {
        let forward = ask(asked).unwrap();
        assert_eq!(forward.port(), Some(port));
        assert_eq!(said.recv_timeout(LONG).unwrap(), "made in Rust");
        assert!(ask(port).is_err(), "it is taken");
        forward.close().unwrap();
    }
}

/// Whoever connects the moment the server listens is served: the port is known before.
#[test]
fn the_port_is_known_before_the_first_connection() {
    let _watch = given::within(60);
    let server = gate(ForwardRules::all(), Permissions::default());
    let client = client(&server);
    let free = peers::free_port();
    let eager = std::thread::spawn(move || {
        let until = Instant::now() + LONG;
        loop {
            match TcpStream::connect(("127.0.0.1", free)) {
                Ok(mut stream) => {
                    let mut said = String::new();
                    stream.read_to_string(&mut said).unwrap();
                    return said;
                }
                Err(_) => assert!(Instant::now() < until),
            }
        }
    });
    let forward = client.forward_remote_with(local(free), |connection| {
        connection.accept().unwrap().write_all(b"served").unwrap();
    });
    assert_eq!(eager.join().unwrap(), "served");
    drop(forward);
}

#[test]
fn a_handler_decides_where_a_connection_leads() {
    let _watch = given::within(60);
    let server = gate(ForwardRules::all(), Permissions::default());
    let client = client(&server);
    let (one, two) = (tcp_service("one"), tcp_service("two"));
    let turns = Arc::new(Mutex::new(vec![Some(two), None, Some(one)]));
    let forward =
        client.forward_local_with(local(0), move |_| turns.lock().unwrap().pop().flatten()).unwrap();
    reaches(forward.endpoint(), "one");
    assert!(refused(forward.endpoint()));
    reaches(forward.endpoint(), "two");
}

#[test]
fn what_cannot_be_reached_is_told() {
    let _watch = given::within(60);
    let server = gate(ForwardRules::all(), Permissions::default());
    let client = client(&server);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let told = |opened: feramiko::Result<Channel>| match opened {
        Err(Error::ChannelRefused { code, text }) => (code, text),
        other => panic!("{other:?}"),
    };
    let origin = ("127.0.0.1", 1);
    assert_eq!(
        told(client.open_direct_tcpip("127.0.0.1", nobody, origin)),
        (CONNECT_FAILED, "connection refused".to_owned())
    );
    assert_eq!(told(client.open_direct_tcpip("no.such.host.invalid", 1, origin)).0, CONNECT_FAILED);
    assert_eq!(told(client.open_direct_streamlocal("/no/such/socket")).0, CONNECT_FAILED);
    let mut said = String::new();
    client.open_direct_tcpip("taken", 1, origin).unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "taken in Rust");
    // And who is there no more: a connection through a forward is hung up on.
    let forward = client.forward_local(local(0), local(nobody)).unwrap();
    assert!(refused(forward.endpoint()));
    let back = client.forward_remote(local(0), local(nobody)).unwrap();
    assert!(refused(back.endpoint()));
}

/// Keys and certificates hold whatever the application answers.
#[test]
fn keys_hold_whatever_the_application_answers() {
    let _watch = given::within(60);
    let service = tcp_service("tcp");
    let Endpoint::Tcp { port, .. } = service else { unreachable!("it is TCP") };
    let folder = Folder::new();
    let socket = unix_service("unix", folder.file("service"));
    let free = peers::free_port();
    let with = |change: fn(&mut Permissions, u16, u16)| {
        let mut permissions = Permissions::default();
        change(&mut permissions, port, free);
        let server = gate(ForwardRules::all(), permissions);
        let client = client(&server);
        let origin = ("127.0.0.1", 1);
        let open = |opened: feramiko::Result<Channel>| match opened {
            Ok(_) => true,
            Err(Error::ChannelRefused { code: PROHIBITED, .. }) => false,
            Err(error) => panic!("{error}"),
        };
        let listen = |at: Endpoint| match client.forward_remote(at, local(1)) {
            Ok(_) => true,
            Err(Error::RequestRefused(_)) => false,
            Err(error) => panic!("{error}"),
        };
        [
            open(client.open_direct_tcpip("127.0.0.1", port, origin)),
            open(client.open_direct_tcpip("localhost", port, origin)),
            open(client.open_direct_streamlocal(ends::path(&socket).to_str().unwrap())),
            listen(local(free)),
            listen(local(0)),
            listen(unix(folder.file("listen"))),
        ]
    };
    assert_eq!(with(|_, _, _| {}), [true; 6]);
    assert_eq!(with(|it, _, _| it.port_forwarding = false), [false; 6]);
    assert_eq!(with(|it, _, _| *it = Permissions::restricted()), [false; 6]);
    let opened = with(|it, port, _| it.permit_open = Some(vec![format!("127.0.0.1:{port}")]));
    assert_eq!(opened, [true, false, false, true, true, true]);
    let listened = with(|it, _, free| it.permit_listen = Some(vec![format!(":{free}")]));
    assert_eq!(listened, [true, true, true, true, false, false]);
}

#[test]
fn rules_refuse_by_default_and_by_kind() {
    let _watch = given::within(60);
    let service = tcp_service("tcp");
    let Endpoint::Tcp { port, .. } = service else { unreachable!("it is TCP") };
    let allowed = |rules: ForwardRules| {
        let server = gate(rules, Permissions::default());
        let client = client(&server);
        let opened = client.open_direct_tcpip("127.0.0.1", port, ("127.0.0.1", 1)).is_ok();
        (opened, client.forward_remote(local(0), local(port)).is_ok())
    };
    assert_eq!(allowed(ForwardRules::new()), (false, false));
    assert_eq!(allowed(ForwardRules::all()), (true, true));
    assert_eq!(allowed(ForwardRules::new().allow_direct(true)), (true, false));
    assert_eq!(allowed(ForwardRules::new().allow_listen(true)), (false, true));
    assert_eq!(allowed(ForwardRules::all().permit_open(["other:1"])), (false, true));
    assert_eq!(allowed(ForwardRules::all().permit_listen(["*:1"])), (true, false));
}

/// UNIX sockets are allowed by themselves, and stand in no list of places to open.
#[test]
fn rules_tell_sockets_from_ports() {
    let _watch = given::within(60);
    let folder = Folder::new();
    let service = unix_service("unix", folder.file("service"));
    let Endpoint::Unix(path) = &service else { unreachable!("it is a path") };
    for (at, (rules, expected)) in [
        (ForwardRules::new().allow_direct(true).allow_listen(true), (false, false)),
        (ForwardRules::new().allow_direct_unix(true), (true, false)),
        (ForwardRules::new().allow_listen_unix(true), (false, true)),
        (ForwardRules::all().permit_open(["*:*"]), (false, true)),
        (ForwardRules::all().permit_listen(["*:1"]), (true, true)),
    ]
    .into_iter()
    .enumerate()
    {
        let server = gate(rules.clone(), Permissions::default());
        let client = client(&server);
        let opened = client.open_direct_streamlocal(path).is_ok();
        let listen = unix(folder.file(&format!("listen-{at}")));
        assert_eq!((opened, client.forward_remote(listen, local(1)).is_ok()), expected, "{rules:?}");
    }
}

/// A service that breaks off leaves nobody waiting for its end.
#[test]
fn a_reset_ends_a_forwarded_connection() {
    let _watch = given::within(60);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // What is closed before all is read that came is reset.
    std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| drop(stream.peek(&mut [0]))));
    let server = gate(ForwardRules::all(), Permissions::default());
    let client = client(&server);
    let channel = client.open_direct_tcpip("127.0.0.1", port, ("127.0.0.1", 1)).unwrap();
    { &channel }.write_all(b"unread").unwrap();
    assert_eq!({ &channel }.read(&mut [0]).unwrap(), 0);
    soon("it is closed", || channel.is_closed());
}

#[test]
fn gateway_ports_say_who_may_connect() {
    let _watch = given::within(60);
    let service = tcp_service("tcp");
    // An address of this machine that is not the one that loopback listeners have.
    let reach = |gateway, host: &str| {
        let options = ListenOptions { gateway, ..ListenOptions::default() };
        let server = gate(ForwardRules::all().listen_options(options), Permissions::default());
        let client = client(&server);
        let forward = client.forward_remote(Endpoint::tcp(host, 0), service.clone()).unwrap();
        let port = forward.port().unwrap();
        ["127.0.0.1", "127.0.0.2"].map(|address| connect(&Endpoint::tcp(address, port)).is_ok())
    };
    for (gateway, host, expected) in [
        (GatewayPorts::No, "", [true, false]),
        (GatewayPorts::No, "0.0.0.0", [true, false]),
        (GatewayPorts::No, "127.0.0.2", [true, false]),
        (GatewayPorts::Yes, "localhost", [true, true]),
        (GatewayPorts::Yes, "127.0.0.1", [true, true]),
        (GatewayPorts::ClientSpecified, "", [true, true]),
        (GatewayPorts::ClientSpecified, "0.0.0.0", [true, true]),
        (GatewayPorts::ClientSpecified, "localhost", [true, false]),
        (GatewayPorts::ClientSpecified, "127.0.0.2", [false, true]),
    ] {
        assert_eq!(reach(gateway, host), expected, "{gateway:?} {host}");
    }
}

#[test]
fn no_more_sessions_are_opened() {
    let _watch = given::within(60);
    let server = gate(ForwardRules::all(), Permissions::default());
    let client = client(&server);
    drop(client.open_session().unwrap());
    assert!(client.transport().no_more_sessions().unwrap());
    assert!(matches!(client.open_session(), Err(Error::ChannelRefused { code: PROHIBITED, .. })));
    let service = tcp_service("tcp");
    reaches(client.forward_local(local(0), service).unwrap().endpoint(), "tcp");
}

/// A slow answer, or a host that does not answer, delays nobody else.
#[test]
fn one_that_waits_delays_no_other() {
    let _watch = given::within(60);
    let (release, wait) = channel::<()>();
    struct Slow(Mutex<std::sync::mpsc::Receiver<()>>);
    impl ServerInterface for Slow {
        fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
            AuthAnswer::Accept
        }
        fn check_channel_direct_tcpip_request(&self, request: &DirectRequest) -> DirectAnswer {
            if request.to == Endpoint::tcp("slow", 1) {
                let _ = self.0.lock().unwrap().recv();
            }
            DirectAnswer::Connect(request.to.clone())
        }
    }
    let wait = Mutex::new(Some(Slow(Mutex::new(wait))));
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_: &Peer| {
            wait.lock().unwrap().take().unwrap()
        })
        .unwrap();
    let client = client(&server);
    let there = client.clone();
    let slow = std::thread::spawn(move || there.open_direct_tcpip("slow", 1, ("127.0.0.1", 1)));
    let Endpoint::Tcp { port, .. } = tcp_service("tcp") else { unreachable!("it is TCP") };
    for _ in 0..10 {
        client.open_direct_tcpip("127.0.0.1", port, ("127.0.0.1", 1)).unwrap();
    }
    assert!(!slow.is_finished());
    drop(release);
    assert!(slow.join().unwrap().is_err());
}

/// More than the limit is hung up on, and a place is free again when its connection is over.
#[test]
fn connections_have_a_limit() {
    let _watch = given::within(60);
    let mut limits = Limits::default();
    (limits.forwarded, limits.listeners) = (2, 1);
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .limits(limits)
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_: &Peer| {
            Gate(ForwardRules::all(), Permissions::default())
        })
        .unwrap();
    let client = client(&server);
    let service = tcp_service("tcp");
    let Endpoint::Tcp { port, .. } = service else { unreachable!("it is TCP") };
    let open = || client.open_direct_tcpip("127.0.0.1", port, ("127.0.0.1", 1));
    let (first, _second) = (open().unwrap(), open().unwrap());
    assert!(matches!(open(), Err(Error::ChannelRefused { code: 4, .. })));
    drop(first);
    soon("a place is free", || open().is_ok());
    let _listening = client.forward_remote(local(0), local(port)).unwrap();
    assert!(matches!(client.forward_remote(local(0), local(port)), Err(Error::RequestRefused(_))));
}

/// A reset here is an end there, and nobody is left behind.
#[test]
fn a_reset_is_passed_on() {
    let _watch = given::within(60);
    let server = gate(ForwardRules::all(), Permissions::default());
    let client = client(&server);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = local(listener.local_addr().unwrap().port());
    let forward = client.forward_local(local(0), to).unwrap();
    let Endpoint::Tcp { host, port } = forward.endpoint().clone() else { unreachable!("it is TCP") };
    let mut near = TcpStream::connect((host.as_str(), port)).unwrap();
    near.write_all(b"x").unwrap();
    let (mut far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(LONG)).unwrap();
    far.read_exact(&mut [0]).unwrap();
    far.write_all(&[0; 100_000]).unwrap();
    // What is not read makes the end a reset.
    soon("it arrives", || near.peek(&mut [0]).is_ok_and(|count| count > 0));
    drop(near);
    let mut rest = Vec::new();
    let _ = far.read_to_end(&mut rest);
    assert!(rest.is_empty());
    let listener = ForwardListener::bind(&local(0), &ListenOptions::default()).unwrap();
    assert!(matches!(listener.endpoint(), Endpoint::Tcp { port: 1.., .. }));
}

#[test]
fn asyncssh_serves_our_client() {
    let _watch = given::within(60);
    let Some((host, own)) = Keys::named("host").zip(Keys::named("user")) else { return };
    let spec = serde_json::json!({
        "host": "127.0.0.1", "port": 0, "user": user(),
        "host_keys": host.all_private(), "authorized_keys": own.all_public(),
    });
    let Some(server) = Python::AsyncSsh.server(&spec) else { return };
    every_way(&client_of(&server, &own));
}

/// Our `sshd` with these options, and these before the user's key in authorized_keys.
fn sshd_with(host: &Keys, own: &Keys, options: &[String], key: &str) -> Server {
    peers::start("our sshd", |folder, port| {
        let keys = folder.file("authorized_keys");
        std::fs::write(&keys, format!("{key} {}\n", own.public("ed25519"))).unwrap();
        let mut command = peers::keeper(r#""$@""#);
        command.arg(peers::example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1", "-h"]);
        command.arg(host.private("ed25519")).arg("-a").arg(keys).args(options);
        (command, "listening on".to_owned())
    })
}

/// The options of sshd_config(5), and those of authorized_keys.
#[test]
fn sshd_forwards_by_its_options_and_its_keys() {
    use std::os::unix::fs::PermissionsExt;

    let _watch = given::within(60);
    let Some((host, own)) = Keys::named("host").zip(Keys::named("user")) else { return };
    let folder = Folder::new();
    let Endpoint::Tcp { port, .. } = tcp_service("tcp") else { unreachable!("it is TCP") };
    let _service = unix_service("unix", folder.file("service"));
    let allowed = |options: &[&str], key: &str| {
        let options: Vec<_> = options.iter().flat_map(|text| ["-o".to_owned(), (*text).to_owned()]).collect();
        let server = sshd_with(&host, &own, &options, key);
        let client = client_of(&server, &own);
        let socket = folder.file("socket");
        let listening = client.forward_remote(unix(socket.clone()), local(port));
        let mode = socket.metadata().map(|socket| socket.permissions().mode() & 0o777).ok();
        drop(listening);
        let kinds = [
            client.open_direct_tcpip("127.0.0.1", port, ("127.0.0.1", 1)).is_ok(),
            client.open_direct_streamlocal(folder.file("service").to_str().unwrap()).is_ok(),
            client.forward_remote(local(0), local(port)).is_ok(),
            mode.is_some(),
        ];
        // The next one makes it anew.
        soon("the socket is gone", || !socket.exists());
        (kinds, mode)
    };
    let here = format!("permitopen=127.0.0.1:{port}");
    let other = "PermitOpen=127.0.0.1:1";
    for (options, key, expected, mode) in [
        (&[][..], "", [true; 4], Some(0o600)),
        (&["StreamLocalBindMask=0117"], "", [true; 4], Some(0o660)),
        (&["AllowTcpForwarding=no"], "", [false, true, false, true], Some(0o600)),
        (&["AllowTcpForwarding=local"], "", [true, true, false, true], Some(0o600)),
        (&["AllowStreamLocalForwarding=remote"], "", [true, false, true, true], Some(0o600)),
        (&["DisableForwarding=yes"], "", [false; 4], None),
        (&[&here], "", [true, false, true, true], Some(0o600)),
        (&[other], "", [false, false, true, true], Some(0o600)),
        (&["PermitListen=none"], "", [true, true, false, true], Some(0o600)),
        (&[], "no-port-forwarding", [false; 4], None),
        (&[], "restrict", [false; 4], None),
        (&[], "permitopen=\"127.0.0.1:1\"", [false, false, true, true], Some(0o600)),
        (&[], "permitlisten=\"1234\"", [true, true, false, false], None),
    ] {
        assert_eq!(allowed(options, key), (expected, mode), "{options:?} {key}");
    }
    for wrong in ["GatewayPorts=maybe", "PermitOpen=host", "PermitListen=a:b", "StreamLocalBindMask=9"] {
        let mut sshd = std::process::Command::new(peers::example("sshd"));
        let said = peers::output(sshd.args(["-p", "0", "-o", wrong, "-h"]).arg(host.private("ed25519")), "");
        assert_eq!(said.status.code(), Some(1), "{wrong}");
    }
}
