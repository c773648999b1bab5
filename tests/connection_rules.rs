//! What a server holds one connection to: idle channels, connections without channels, limits and commands by
//! user; and a server that is configured anew while it runs.

#![cfg(unix)]

mod given;

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use feramiko::{
    Algorithms, Answer, AuthAnswer, AuthInfo, AuthenticationMethods, ChannelTimeouts, ConnectionRules, Error,
    ExitStatus, HostbasedClient, InteractiveAnswer, KeyKind, PKey, PublicKey, SSHServer, SSHServerBuilder,
    Secret, ServerHandle, ServerInterface, Session, SessionRequest, TcpListeners,
};
use given::within;

/// How long channels and connections may be idle here.
const SHORT: Duration = Duration::from_millis(700);

/// Sends back what comes. `strict` may fail once; `forced` gets another command; `both` needs two methods.
struct Echo;

impl ServerInterface for Echo {
    fn authentication_methods(&self, user: &str) -> Option<AuthenticationMethods> {
        AuthenticationMethods::parse("password,keyboard-interactive").filter(|_| user == "both")
    }

    fn connection_rules(&self, user: &str, mut usual: ConnectionRules) -> ConnectionRules {
        match user {
            "strict" => usual.limits.auth_tries = 1,
            "unsigned" => (usual.public_keys, usual.host_keys) = (Some(Vec::new()), Some(Vec::new())),
            "users" => usual.host_keys = Some(Vec::new()),
            "hosts" => {
                (usual.public_keys, usual.host_keys) = (Some(Vec::new()), Some(vec!["ssh-ed25519"]));
            }
            _ => {}
        }
        usual
    }

    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
        vec!["publickey", "hostbased", "password", "keyboard-interactive"]
    }

    fn check_auth_publickey(&self, _: &str, _: &PublicKey) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_auth_hostbased(&self, _: &str, _: &HostbasedClient) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_auth_interactive(&self, _: &str) -> InteractiveAnswer {
        InteractiveAnswer::Done(AuthAnswer::Accept)
    }

    fn forced_command(&self, auth: &AuthInfo) -> Option<Vec<u8>> {
        (auth.user == "forced").then(|| b"forced".to_vec())
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn check_channel_subsystem_request(&self, _: &SessionRequest, _: &str) -> Answer {
        Answer::Yes
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        if session.request().original.is_some() {
            write!(session, "{:?}", session.request().kind.clone())?;
            return Ok(ExitStatus::Code(0));
        }
        if session.request().auth.user == "both" {
            write!(session, "{}", session.request().auth.methods.join(","))?;
            return Ok(ExitStatus::Code(0));
        }
        io::copy(&mut session.channel(), &mut session.channel())?;
        Ok(ExitStatus::Code(3))
    }
}

fn builder() -> SSHServerBuilder {
    SSHServer::builder().host_key(given::host_key())
}

fn serve(builder: SSHServerBuilder) -> (ServerHandle, String) {
    let listeners = TcpListeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listeners.local_addrs().unwrap()[0].to_string();
    (builder.serve(listeners, |_| Echo).unwrap(), address)
}

fn connect(address: &str, user: &str) -> feramiko::Result<feramiko::SSHClient> {
    given::client().username(user).password("foo").connect(address)
}

#[test]
fn idle_channels_are_closed_and_others_are_not() {
    let _watch = within(30);
    let timeouts = ChannelTimeouts::default().add("session:subsystem:*", None).add("session:*", Some(SHORT));
    let (_server, address) = serve(builder().channel_timeouts(timeouts));
    let client = connect(&address, "robey").unwrap();
    let kept = client.transport().open_session().unwrap();
    kept.invoke_subsystem("echo").unwrap();
    let idle = client.transport().open_session().unwrap();
    idle.exec_command("echo").unwrap();
    let begun = Instant::now();
    // As long as something comes it stays.
    for _ in 0..6 {
        std::thread::sleep(SHORT / 3);
        { &idle }.write_all(b"x").unwrap();
        { &idle }.read_exact(&mut [0]).unwrap();
    }
    assert!(begun.elapsed() > SHORT);
    assert_eq!({ &idle }.read(&mut [0]).unwrap(), 0, "nothing comes but its end");
    assert!(begun.elapsed() > SHORT * 2 && begun.elapsed() < SHORT * 6, "{:?}", begun.elapsed());
    { &kept }.write_all(b"x").unwrap();
    { &kept }.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_connection_without_channels_ends() {
    let _watch = within(30);
    let (server, address) = serve(builder().unused_timeout(SHORT));
    let client = connect(&address, "robey").unwrap();
    let channel = client.transport().open_session().unwrap();
    channel.exec_command("echo").unwrap();
    std::thread::sleep(SHORT * 2);
    assert_eq!(server.connections(), 1, "it has a channel");
    let ended = Instant::now();
    channel.close();
    while server.connections() > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(ended.elapsed() > SHORT / 2 && ended.elapsed() < SHORT * 4, "{:?}", ended.elapsed());
    let begun = Instant::now();
    let _never_used = connect(&address, "robey").unwrap();
    while server.connections() > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(begun.elapsed() > SHORT / 2, "{:?}", begun.elapsed());
}

#[test]
fn what_one_user_is_held_to() {
    let _watch = within(30);
    let (_server, address) = serve(builder());
    let wrong = |user: &str| given::client().username(user).password("wrong").connect(&address).unwrap_err();
    assert!(matches!(wrong("strict"), Error::Disconnected { .. } | Error::Auth { .. }));
    let once = wrong("strict").to_string();
    assert!(once.contains("Too many") || once.contains("refused"), "{once}");
    let client = connect(&address, "forced").unwrap();
    assert_eq!(client.output("x").unwrap().stdout, b"Exec([102, 111, 114, 99, 101, 100])");
    // The second method is not had before the first, and the first alone is not enough.
    let client = connect(&address, "both").unwrap();
    assert_eq!(client.output("methods").unwrap().stdout, b"password,keyboard-interactive");
    let alone = given::client().username("both").connect(&address);
    assert!(matches!(alone, Err(Error::Auth { .. })), "{alone:?}");
}

#[test]
fn which_signatures_one_user_may_make() {
    let _watch = within(30);
    let (_server, address) = serve(builder());
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    for (user, own, hosts) in
        [("any", true, true), ("unsigned", false, false), ("users", true, false), ("hosts", false, true)]
    {
        let client = || given::client().username(user);
        assert_eq!(client().key(key.clone()).connect(&address).is_ok(), own, "{user}");
        let vouched = client().hostbased(key.clone(), "ci.example.org", user);
        assert_eq!(vouched.connect(&address).is_ok(), hosts, "{user}, by its host");
    }
}

#[test]
fn small_keys_of_users_let_nobody_in() {
    let _watch = within(30);
    let key = PKey::generate(KeyKind::Rsa(2048)).unwrap();
    for (bits, enters) in [(2048, true), (2049, false)] {
        let (_server, address) =
            serve(builder().algorithms(Algorithms::server_defaults().required_rsa_size(bits)));
        let client = given::client().username("robey").key(key.clone()).connect(&address);
        assert_eq!(client.is_ok(), enters, "{bits}");
    }
}

#[test]
fn several_addresses_share_a_server_that_is_configured_anew() {
    let _watch = within(30);
    let any = "127.0.0.1:0".parse().unwrap();
    let listeners = TcpListeners::bind(&[any, any]).unwrap();
    let addresses = listeners.local_addrs().unwrap();
    let server = builder().serve(listeners, |_| Echo).unwrap();
    let key = |address: &std::net::SocketAddr| {
        connect(&address.to_string(), "robey").unwrap().transport().host_key().cloned()
    };
    let before: Vec<_> = addresses.iter().map(key).collect();
    assert_eq!(before[0], before[1]);
    let kept = connect(&addresses[0].to_string(), "robey").unwrap();
    server.replace(&builder().build().unwrap());
    let after: Vec<_> = addresses.iter().map(key).collect();
    assert!(after[0] == after[1] && after[0] != before[0]);
    let channel = kept.transport().open_session().unwrap();
    channel.exec_command("echo").unwrap();
    server.shutdown(Duration::ZERO);
    for address in addresses {
        assert!(std::net::TcpStream::connect(address).is_err(), "it listens still");
    }
    assert!(TcpListeners::bind(&[]).is_err());
}
