//! How long a login may take, and whose time counts: the server's and the network's, not that of a person who is
//! asked.

mod given;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{
    AuthAnswer, DirectAnswer, DirectRequest, Error, HostKeyAnswer, Limits, MemoryStream,
    MissingHostKeyPolicy, Peer, Phase, SSHServer, Secret, ServerHandle, ServerInterface, Transport,
    TransportOptions, UnknownHostKey,
};

/// The time that a login has here.
const TIME: Duration = Duration::from_millis(1500);
/// What a person takes to answer.
const THOUGHT: Duration = Duration::from_millis(2000);
/// What a slow server takes to answer.
const SLOW: Duration = Duration::from_secs(20);

/// Greets, lets in whoever knows `foo`, forwards; thinks about some.
#[derive(Clone, Copy)]
struct Site;

impl ServerInterface for Site {
    fn banner(&self) -> Option<String> {
        Some("welcome\n".to_owned())
    }

    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        match user {
            "slow" => thread::sleep(SLOW),
            "slower" => thread::sleep(THOUGHT),
            _ => {}
        }
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_channel_direct_tcpip_request(&self, request: &DirectRequest) -> DirectAnswer {
        DirectAnswer::Connect(request.to.clone())
    }
}

fn site() -> (ServerHandle, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = SSHServer::builder().host_key(given::host_key()).serve(listener, |_| Site).unwrap();
    let address = server.address();
    (server, address)
}

/// One connection to a site in memory.
fn near() -> MemoryStream {
    let (near, far) = MemoryStream::pair(1 << 16);
    thread::spawn(move || {
        let server = SSHServer::builder().host_key(given::host_key()).build().unwrap();
        let _ = server.serve_stream(far, &Peer::named("test"), Site);
    });
    near
}

/// Looks at each key for a while.
#[derive(Debug)]
struct Thoughtful;

impl MissingHostKeyPolicy for Thoughtful {
    fn missing_host_key(&self, _: &UnknownHostKey) -> HostKeyAnswer {
        thread::sleep(THOUGHT);
        HostKeyAnswer::Accept
    }
}

/// What happened, in order.
type Events = Arc<Mutex<Vec<String>>>;

#[test]
fn whoever_is_asked_has_all_the_time_and_has_read_the_banner() {
    let events = Events::default();
    let (told, asked) = (Arc::clone(&events), Arc::clone(&events));
    let client = given::client()
        .deadline(TIME)
        .missing_host_key(Thoughtful)
        .username("robey")
        .banner_callback(move |text| told.lock().unwrap().push(text.to_owned()))
        .password_callback(move |user| {
            asked.lock().unwrap().push(user.to_owned());
            thread::sleep(THOUGHT);
            Some(Secret::from("foo"))
        })
        .connect_over(near(), "memory")
        .unwrap();
    assert_eq!(*events.lock().unwrap(), ["welcome\n", "robey"]);
    assert_eq!(client.banners(), ["welcome\n"]);
}

#[test]
fn a_banner_is_told_when_nobody_is_let_in() {
    let events = Events::default();
    let told = Arc::clone(&events);
    let client =
        given::client().username("robey").banner_callback(move |text| told.lock().unwrap().push(text.into()));
    assert!(matches!(client.connect_over(near(), "memory"), Err(Error::Auth { .. })));
    assert_eq!(*events.lock().unwrap(), ["welcome\n"]);
}

#[test]
fn a_server_has_a_time_to_answer() {
    let mut limits = Limits::default();
    limits.auth_timeout = TIME;
    let slow = || given::client().username("slow").password("foo");
    for client in [slow().limits(limits), slow().deadline(TIME)] {
        let begun = Instant::now();
        let error = client.connect_over(near(), "memory").unwrap_err();
        assert!(matches!(error, Error::Timeout(Phase::Auth)), "{error}");
        assert!(begun.elapsed() < SLOW / 2);
    }
}

#[test]
fn the_time_to_connect_is_not_that_of_the_login() {
    let client = given::client().connect_timeout(TIME).username("slower").password("foo");
    client.connect_over(near(), "memory").unwrap();
}

#[test]
fn callers_of_single_steps_have_their_time_between_them() {
    let mut options = TransportOptions::default();
    options.limits.auth_timeout = TIME;
    let transport = Transport::start_client(near(), options, |_| Ok(())).unwrap();
    for password in ["bar", "foo"] {
        thread::sleep(THOUGHT);
        assert_eq!(transport.auth_password("robey", password).is_ok(), password == "foo");
    }
}

#[test]
fn who_is_asked_on_the_way_takes_no_time_of_the_hosts_behind() {
    let ((_one, first), (_two, last)) = (site(), site());
    let client = given::client().deadline(TIME).username("robey").password("foo");
    let jump = |_: &feramiko::JumpHost| {
        given::client().username("robey").password_callback(|_| {
            thread::sleep(THOUGHT);
            Some(Secret::from("foo"))
        })
    };
    client.proxy_jump(&first).jump_with(jump).connect(&last).unwrap();
    // A host on the way that is slow takes the time of all.
    let slow = |_: &feramiko::JumpHost| given::client().username("slow").password("foo");
    let client = given::client().deadline(TIME).username("robey").password("foo");
    let begun = Instant::now();
    let error = client.proxy_jump(&first).jump_with(slow).connect(&last).unwrap_err();
    assert!(matches!(&error, Error::Jump { source, .. } if matches!(**source, Error::Timeout(_))), "{error}");
    assert!(begun.elapsed() < SLOW / 2);
}
