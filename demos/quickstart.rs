//! The main job in one go: a handshake, a login, a command. Against a server inside this program, or
//! against `user@host[:port]`.

mod support;

use std::io::{self, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use feramiko::{
    AcceptNewPolicy, Answer, AuthAnswer, ExitStatus, HostKeys, KeyKind, PKey, PublicKey, SSHClient,
    SSHServer, ServerInterface, Session, SessionRequest,
};
use support::given::operands;
use support::output::{end, say};
use support::prompt::{Echo, ask};

struct Embedded(PublicKey);

impl ServerInterface for Embedded {
    fn check_auth_publickey(&self, _: &str, key: &PublicKey) -> AuthAnswer {
        AuthAnswer::when(*key == self.0)
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        writeln!(session, "hello from the embedded server")?;
        Ok(ExitStatus::Code(0))
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn show(client: &SSHClient, command: &str, started: Instant) -> Outcome {
    let agreed = client.transport().negotiated();
    let time = started.elapsed().as_secs_f64() * 1e3;
    say(format_args!("connected in {time:.1} ms to {}", client.transport().peer_version()))?;
    say(format_args!("  key exchange  {}{}", agreed.kex, if agreed.strict { " (strict)" } else { "" }))?;
    say(format_args!("  host key      {} {}", agreed.host_key, client.transport().host_key().fingerprint()))?;
    say(format_args!("  cipher        {}", agreed.cipher_to_server))?;
    say(format_args!("  MAC           {}", agreed.mac_to_server.as_deref().unwrap_or("in the cipher")))?;
    let output = client.output(command)?;
    say(format_args!("$ {command}\n{}", String::from_utf8_lossy(&output.stdout).trim_end()))?;
    Ok(say(output.status)?)
}

fn run() -> Outcome {
    let started = Instant::now();
    if let Some(destination) = operands()?.first() {
        let client = SSHClient::builder()
            .missing_host_key(AcceptNewPolicy)
            .password_callback(|user| ask(&format!("Password for {user}: "), Echo::Off).ok().flatten())
            .connect(destination)?;
        show(&client, "uname -a", started)?;
        client.close();
        return Ok(());
    }
    let (host_key, user_key) = (PKey::generate(KeyKind::Ed25519)?, PKey::generate(KeyKind::Ed25519)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let allowed = user_key.public_key().clone();
    let mut known = HostKeys::new();
    known.add("127.0.0.1", port, host_key.public_key())?;
    let server =
        SSHServer::builder().host_key(host_key).serve(listener, move |_| Embedded(allowed.clone()))?;
    say(format_args!("an SSH server listens on port {port}, inside this program"))?;
    let started = Instant::now();
    let client = SSHClient::builder()
        .no_agent()
        .no_default_keys()
        .host_keys(known)
        .username("me")
        .key(user_key)
        .connect(&format!("127.0.0.1:{port}"))?;
    show(&client, "greet", started)?;
    client.close();
    server.shutdown(Duration::from_secs(2));
    Ok(say("done")?)
}

fn main() -> ExitCode {
    end("quickstart", run())
}
