//! Serving streams that one accepts oneself, a thread each: the seed's SocketServer example.
//! `socket_server [port]`; user robey, password foo; greets and echoes lines.

mod support;

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::ExitCode;

use feramiko::{
    Answer, AuthAnswer, ExitStatus, KeyKind, PKey, Peer, SSHServer, Secret, ServerInterface, Session,
    SessionRequest,
};
use support::given::operands;
use support::output::end;

struct Echo;

impl ServerInterface for Echo {
    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(user == "robey" && password.matches("foo"))
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        write!(session, "Say something.\r\n")?;
        for line in BufReader::new(session.channel().clone()).lines() {
            write!(session, "You said: {}\r\n", line?)?;
        }
        Ok(ExitStatus::Code(0))
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = operands()?.first().map_or(Ok(2200), |port| port.parse())?;
    let server = SSHServer::builder().host_key(PKey::generate(KeyKind::Ed25519)?).build()?;
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    loop {
        let (stream, from) = listener.accept()?;
        let server = server.clone();
        std::thread::spawn(move || server.serve_stream(stream, &Peer::named(&from.to_string()), Echo));
    }
}

fn main() -> ExitCode {
    end("socket_server", run())
}
