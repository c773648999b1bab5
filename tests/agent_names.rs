//! Agents are forwarded by the names of RFC 9987 where both sides know them, and by OpenSSH's where not: our client
//! and our server, each with a raw peer.

#![cfg(unix)]

mod given;
mod raw;

use std::io;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use feramiko::{
    Agent, Answer, AuthAnswer, AuthInfo, ExitStatus, Peer, SSHServer, Secret, ServerInterface, Session,
    SessionRequest,
};
use raw::{Deviation, Field, HostKey, Raw, Role, Take, message};

const LONG: Duration = Duration::from_secs(30);
const NAMES: [(&str, &str); 2] =
    [("auth-agent-req@openssh.com", "auth-agent@openssh.com"), ("agent-req", "agent-connect")];

/// A server that says so or does not, and takes what the client asks for.
fn serve(raw: &mut Raw, told: bool) {
    raw.version();
    assert!(raw.serve_exchange(&HostKey::new(), Deviation::None));
    if told {
        raw.send(&message(7).u32(1).string("agent-forward").string("0"));
    }
    raw.expect(5);
    raw.send(&message(6).string("ssh-userauth"));
    raw.expect(50);
    raw.send(&[52]);
    let theirs = raw.accept_session();
    let (request, channel) = NAMES[usize::from(told)];
    let asked = raw.expect(98);
    assert_eq!(Take::new(&asked[5..]).string(), request.as_bytes());
    raw.send(&message(99).u32(theirs));
    // The other name's channels were not asked for.
    let (_, other) = NAMES[usize::from(!told)];
    raw.send(&message(90).string(other).u32(7).u32(1 << 20).u32(1 << 15));
    raw.expect(92);
    raw.send(&message(90).string(channel).u32(8).u32(1 << 20).u32(1 << 15));
    raw.expect(91);
}

#[test]
fn a_client_asks_by_the_names_that_the_server_knows() {
    let _watch = given::within(60);
    let folder = tempfile::tempdir().unwrap();
    let _agent = UnixListener::bind(folder.path().join("agent")).unwrap();
    let agent = Agent::connect(folder.path().join("agent")).unwrap();
    for told in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::scope(|scope| {
            let server = scope.spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                serve(&mut Raw::on(stream, Role::Server), told);
            });
            let client = given::client().deadline(LONG).username("robey").password("foo");
            let client = client.connect(&address).unwrap();
            let channel = client.open_session().unwrap();
            channel.request_forward_agent(&agent).unwrap();
            server.join().unwrap();
        });
    }
}

struct Forwards;

impl ServerInterface for Forwards {
    fn check_auth_password(&self, _: &str, _: &Secret) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_forward_agent_request(&self, _: &AuthInfo) -> Answer {
        Answer::Yes
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        assert!(session.request().forwards_agent());
        let socket = session.forward_agent()?.expect("an agent is forwarded");
        let _program = UnixStream::connect(socket.path())?;
        while session.events().recv().is_some() {}
        Ok(ExitStatus::Code(0))
    }
}

#[test]
fn a_server_takes_both_names_and_opens_what_belongs_to_each() {
    let _watch = given::within(60);
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_: &Peer| Forwards)
        .unwrap();
    for (request, channel) in NAMES {
        let mut raw = Raw::client(&server.address());
        raw.lists.kex += ",ext-info-c";
        raw.version().exchange();
        raw.send(&message(5).string("ssh-userauth"));
        let told = raw.expect(7);
        assert!(
            told.windows(13).any(|name| name == b"agent-forward"),
            "the server says that it knows the names"
        );
        raw.expect(6);
        raw.send(&raw::auth_request("robey", "password").bool(false).string("foo"));
        raw.expect(52);
        let theirs = raw.open_session(0, 1 << 20, 1 << 15);
        raw.send(&message(98).u32(theirs).string(request).bool(true));
        raw.expect(99);
        raw.exec(theirs, "x");
        let open = raw.expect(90);
        assert_eq!(Take::new(&open[1..]).string(), channel.as_bytes());
    }
}
