//! The main job in one go: a handshake, a login, a command, a file there and back. Against a server inside this
//! program, or against `user@host[:port]`.

mod support;

use std::io::{self, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use feramiko::{
    AcceptNewPolicy, Answer, AuthAnswer, ExitStatus, HostKeys, KeyKind, LocalServer, PKey, PublicKey,
    SFTPClient, SSHClient, SSHServer, ServerInterface, Session, SessionKind, SessionRequest,
};
use support::given::operands;
use support::output::{end, say};
use support::progress::Progress;
use support::prompt::{Echo, ask};

/// The file that goes there and back, in bytes.
const SIZE: usize = 64 << 20;

/// Lets one key in, to a greeting and to the files in one directory.
struct Embedded {
    key: PublicKey,
    files: PathBuf,
}

impl ServerInterface for Embedded {
    fn check_auth_publickey(&self, _: &str, key: &PublicKey) -> AuthAnswer {
        AuthAnswer::when(*key == self.key)
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn check_channel_subsystem_request(&self, _: &SessionRequest, name: &str) -> Answer {
        Answer::when(name == "sftp")
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        if let SessionKind::Subsystem(_) = session.request().kind {
            return session.serve_sftp(LocalServer::rooted(&self.files)?);
        }
        writeln!(session, "hello from the embedded server")?;
        Ok(ExitStatus::Code(0))
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn sha256(path: &Path) -> io::Result<String> {
    let digest = openssl::sha::sha256(&std::fs::read(path)?);
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Draws what a transfer tells.
fn bar(name: &'static str) -> impl FnMut(&feramiko::Progress<'_>) {
    let mut bar = Some(Progress::new(name, 0, Some(SIZE as u64)));
    move |at| match at.finished {
        true => bar.take().map_or((), |bar| bar.finish(at.done)),
        false => bar.as_mut().map_or((), |bar| bar.update(at.done)),
    }
}

/// A file to the server and back.
fn files(sftp: &SFTPClient) -> Outcome {
    let here = tempfile::tempdir()?;
    let (there, back) = (here.path().join("there"), here.path().join("back"));
    let mut noise = vec![0; SIZE];
    openssl::rand::rand_bytes(&mut noise)?;
    std::fs::write(&there, noise)?;
    let name = format!("feramiko-quickstart-{}", std::process::id());
    let started = Instant::now();
    let moved = sftp.transfer().progress(bar("put")).put(&there, &name).and_then(|_| {
        let put = started.elapsed();
        sftp.transfer().progress(bar("get")).get(&name, &back).map(|_| (put, started.elapsed() - put))
    });
    sftp.remove(&name)?;
    let (put, get) = moved?;
    let rate = |time: Duration| SIZE as f64 / 1e6 / time.as_secs_f64();
    say(format_args!("sftp: 64 MiB put at {:.0} MB/s, got at {:.0} MB/s", rate(put), rate(get)))?;
    let (sent, found) = (sha256(&there)?, sha256(&back)?);
    say(format_args!("  sha256 sent   {sent}\n  sha256 found  {found}"))?;
    if sent == found { Ok(()) } else { Err("the file came back as another".into()) }
}

fn show(client: &SSHClient, command: &str, started: Instant) -> Outcome {
    let transport = client.transport();
    let (agreed, host_key) =
        transport.negotiated().zip(transport.host_key()).ok_or("nothing was agreed on")?;
    let time = started.elapsed().as_secs_f64() * 1e3;
    say(format_args!("connected in {time:.1} ms to {}", client.transport().peer_version()))?;
    say(format_args!("  key exchange  {}{}", agreed.kex, if agreed.strict { " (strict)" } else { "" }))?;
    say(format_args!("  host key      {} {}", agreed.host_key, host_key.fingerprint()))?;
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
        files(&client.open_sftp()?)?;
        client.close();
        return Ok(());
    }
    let (host_key, user_key) = (PKey::generate(KeyKind::Ed25519)?, PKey::generate(KeyKind::Ed25519)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let allowed = user_key.public_key().clone();
    let folder = tempfile::tempdir()?;
    let files_of = folder.path().to_owned();
    let mut known = HostKeys::new();
    known.add("127.0.0.1", port, host_key.public_key())?;
    let server = SSHServer::builder()
        .host_key(host_key)
        .serve(listener, move |_| Embedded { key: allowed.clone(), files: files_of.clone() })?;
    say(format_args!("an SSH server listens on port {port}, inside this program"))?;
    let started = Instant::now();
    let client = SSHClient::builder()
        .no_ssh_config()
        .no_agent()
        .no_default_keys()
        .host_keys(known)
        .username("me")
        .key(user_key)
        .connect(&format!("127.0.0.1:{port}"))?;
    show(&client, "greet", started)?;
    files(&client.open_sftp()?)?;
    client.close();
    server.shutdown(Duration::from_secs(2));
    Ok(say("done")?)
}

fn main() -> ExitCode {
    end("quickstart", run())
}
