//! Every row of the table of signatures alone, as a host's key and as a user's, with every peer that
//! has it, in both roles; and what peers and we ask of security tokens.

mod given;
mod peers;
#[path = "signatures/rows.rs"]
mod rows;
#[path = "interop/table.rs"]
mod table;
#[path = "signatures/token.rs"]
mod token;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use feramiko::{
    AddOptions, AgentServer, Algorithms, Answer, AuthAnswer, AuthorizedKeys, Error, ExitStatus, HostKeys,
    KeyFormat, KeyKind, KeyLogin, Listen, PKey, Peer, PublicKey, RejectPolicy, SSHClient, SSHServer,
    ServerHandle, ServerInterface, Session, SessionRequest, Stream,
};
use peers::{Folder, Python, Server, inside, keeper, output, program, require, start, user};
use rows::{FILES, ROWS, TOKENS, certified, host_key, key, known_hosts, user_certificate, user_key};
use serde_json::json;
use table::Outcome;
use token::{TOUCHED, Token, VERIFIED};

/// What a row is used for, and whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// The host key of their server.
    TheirHost,
    /// A user's key on their server.
    TheirUser,
    /// The host key of our server.
    OurHost,
    /// A user's key on our server.
    OurUser,
}

impl Use {
    /// Where the table has it: whose side the peer takes, and which mark.
    fn place(self) -> (&'static str, usize) {
        match self {
            Self::TheirHost => ("server", 0),
            Self::TheirUser => ("server", 1),
            Self::OurHost => ("client", 0),
            Self::OurUser => ("client", 1),
        }
    }

    /// Holds what came of the rows with a peer against the table.
    fn hold(self, peer: &str, ident: &str, outcomes: &[(&str, Outcome)]) {
        let (role, at) = self.place();
        table::hold((peer, role), ident, at, outcomes);
    }
}

fn names(of: impl Fn(&str) -> bool) -> Vec<&'static str> {
    ROWS.iter().map(|(row, _)| *row).filter(|row| of(row)).collect()
}

#[test]
fn the_rows_here_are_all() {
    let all = Algorithms::client_defaults().legacy();
    let mut ours = all.host_keys().to_vec();
    let mut here = names(|_| true);
    ours.sort_unstable();
    here.sort_unstable();
    assert_eq!(here, ours);
}

/// The servers of others, with all the keys in files as their own, and letting in all keys. Dropbear takes four host
/// keys, so that there are two.
fn servers(folder: &Folder) -> Vec<(&'static str, Server)> {
    rows::write(folder);
    let paths = |of: &[&str], end: &str| -> Vec<_> {
        of.iter().map(|name| folder.file(&format!("{name}{end}"))).collect()
    };
    let lines: Vec<_> = ROWS.iter().map(|(_, name)| key(name).public_key().to_line()).collect();
    let authority = key("authority").public_key().to_line();
    let of_asyncssh = json!({
        "user": user(), "host_keys": paths(&FILES, ""), "host_certificates": paths(&FILES, "-host.pub"),
        "authorized": format!("{}cert-authority {authority}\n", rows::authorized_keys()),
        "authorized_keys": [], "signatures": names(|row| !certified(row)),
    });
    let of_paramiko =
        json!({ "user": user(), "host_keys": paths(&FILES[..5], ""), "authorized_keys": lines });
    let mut found = Vec::new();
    found.extend(Python::AsyncSsh.server(&of_asyncssh).map(|server| ("asyncssh", server)));
    found.extend(Python::Paramiko.server(&of_paramiko).map(|server| ("paramiko", server)));
    found.extend(sshd(folder, "").map(|server| ("openssh", server)));
    for own in [&["ed25519", "p256", "p521", "rsa"][..], &["p384", "dss"]] {
        found.extend(dropbear(folder, own).map(|server| ("dropbear", server)));
    }
    found
}

fn sshd(keys: &Folder, more: &str) -> Option<Server> {
    let sshd = require("sshd", program("sshd"))?;
    let all = output(Command::new(require("ssh", program("ssh"))?).args(["-Q", "key-sig"]), "").stdout;
    let algorithms = String::from_utf8(all).unwrap().split_whitespace().collect::<Vec<_>>().join(",");
    let path = |name: &str| keys.file(name).display().to_string();
    let mut text = format!(
        "{more}\nAuthorizedKeysFile {}\nTrustedUserCAKeys {}\nHostKeyAlgorithms {algorithms}\n\
         PubkeyAcceptedAlgorithms {algorithms}\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
         PasswordAuthentication no\nMaxStartups 200\nLogLevel DEBUG1\n",
        path("authorized_keys"),
        path("authority.pub")
    );
    // What a token signs comes from an agent.
    let socket = keys.file("hosts-agent");
    agent_with(&socket, &TOKENS.map(key));
    text += &format!("HostKeyAgent {}\n", socket.display());
    for name in FILES.iter().chain(&TOKENS).filter(|name| **name != "ed448") {
        text += &format!("HostKey {}\nHostCertificate {}\n", path(name), path(&format!("{name}-host.pub")));
    }
    Some(start("sshd", |folder, port| {
        fs::write(folder.file("config"), format!("ListenAddress 127.0.0.1:{port}\n{text}")).unwrap();
        let mut command = keeper(r#""$@""#);
        command.arg(&sshd).args(["-D", "-e", "-f"]).arg(folder.file("config"));
        (command, format!("Server listening on 127.0.0.1 port {port}"))
    }))
}

/// Dropbear keeps its keys in a form of its own, one ECDSA key of each size, and reads those that let
/// in from the home, which is one of its own here.
fn dropbear(keys: &Folder, own: &[&str]) -> Option<Server> {
    let root = user() == "root";
    let dropbear = require("dropbear (as root)", program("dropbear").filter(|_| root))?;
    let home = std::env::home_dir().unwrap();
    Some(start("dropbear", |folder, port| {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(folder.file(".ssh")).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let lines = rows::authorized_keys();
        let lines: String =
            lines.lines().filter(|line| !line.contains("ed448")).map(|line| format!("{line}\n")).collect();
        fs::write(folder.file(".ssh/authorized_keys"), lines).unwrap();
        let mut command = keeper(&inside(r#"mount --bind "$1" "$2" && shift 2"#));
        command.arg(folder.path()).arg(&home);
        command.arg(&dropbear).args(["-F", "-E", "-m", "-p"]).arg(format!("127.0.0.1:{port}"));
        for name in own {
            command.arg("-r").arg(for_dropbear(keys, folder, name).unwrap());
        }
        (command, "Not backgrounding".to_owned())
    }))
}

fn for_dropbear(keys: &Folder, folder: &Folder, name: &str) -> Result<PathBuf, String> {
    let to = folder.file(&format!("{name}.dropbear"));
    let mut from = keys.file(name);
    if name == "dss" {
        // Of OpenSSH's two forms it knows the older one.
        from = folder.file("dss.pem");
        key(name).write_private_key_file_as(&from, &KeyFormat::Pem, None).unwrap();
    }
    let mut convert = Command::new(program("dropbearconvert").expect("it comes with dropbear"));
    convert.args(["openssh", "dropbear"]).arg(&from).arg(&to);
    let output = output(&mut convert, "");
    let said = || format!("{name}: {}", String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(to) } else { Err(said()) }
}

/// A login by our client with one signature for hosts and one for users; what the server is goes to `ident`.
fn connect(server: &Server, key: PKey, (host, own): (&str, &str), ident: &mut String) -> Outcome {
    let mut algorithms = Algorithms::client_defaults();
    algorithms.set_host_keys(host).unwrap();
    algorithms.set_public_keys(own).unwrap();
    let client = SSHClient::builder()
        .no_ssh_config()
        .no_agent()
        .no_default_keys()
        .host_keys(HostKeys::parse(known_hosts()))
        .missing_host_key(RejectPolicy)
        .algorithms(algorithms)
        .username(&user())
        .key(key);
    let client = client.connect(&format!("127.0.0.1:{}", server.port()));
    let client = client.map_err(|error| {
        // One of the two said no; a connection that broke says nothing about a row.
        let refused = matches!(
            error,
            Error::NoCommon { .. } | Error::Auth { .. } | Error::Protocol { .. } | Error::Disconnected { .. }
        );
        assert!(refused, "{host} {own}: {error}\n{}", server.log());
        error.to_string()
    })?;
    client.transport().peer_version().clone_into(ident);
    assert_eq!(client.output("echo yes").unwrap().stdout, b"yes\n", "{host} {own}");
    Ok(())
}

/// Every row on the servers of others: a peer has it if one of its servers does.
fn on_servers(used: Use, one: impl Fn(&Server, (&'static str, &str), &mut String) -> Outcome) {
    let folder = Folder::new();
    let servers = servers(&folder);
    for peers in servers.chunk_by(|one, other| one.0 == other.0) {
        let mut ident = String::new();
        let mut outcome = |row| {
            let mut outcome = Err("no server".to_owned());
            for (_, server) in peers {
                // Dropbear offers signatures of keys that it does not hold, and is not asked for them.
                outcome = outcome.or_else(|_| one(server, row, &mut ident));
            }
            (row.0, outcome)
        };
        let outcomes: Vec<_> = ROWS.iter().map(|row| outcome(*row)).collect();
        used.hold(peers[0].0, &ident, &outcomes);
    }
}

#[test]
fn the_host_keys_of_other_servers() {
    let _watch = given::within(600);
    on_servers(Use::TheirHost, |server, (row, _), ident| {
        connect(server, key("ed25519"), (row, "ssh-ed25519"), ident)
    });
}

#[test]
fn users_keys_on_other_servers() {
    let _watch = given::within(600);
    on_servers(Use::TheirUser, |server, (row, name), ident| {
        connect(server, user_key(row, name), ("ssh-ed25519", row), ident)
    });
}

/// Lets in whom lines of authorized_keys let in, the authority's among them.
struct Lines(AuthorizedKeys);

impl ServerInterface for Lines {
    fn check_auth_publickey(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        self.0.check(&KeyLogin::new(user, key, None))
    }

    fn check_auth_certificate(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        self.0.check(&KeyLogin::new(user, key, None))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        let mut echo = Command::new("echo");
        echo.arg("yes");
        session.run_command(echo)
    }
}

/// Accepts, and keeps what comes says it is.
struct Door(TcpListener, Arc<Mutex<String>>);

impl Listen for Door {
    fn accept(&self) -> io::Result<(Box<dyn Stream>, Peer)> {
        let (stream, from) = self.0.accept()?;
        let ident = table::first_line(&stream);
        // Who stops listening comes by himself, and says nothing.
        if !ident.is_empty() {
            *self.1.lock().unwrap() = ident;
        }
        Ok((Box::new(stream), Peer::named(&from.ip().to_string())))
    }

    fn stop(&self) {
        Listen::stop(&self.0);
    }

    fn address(&self) -> String {
        self.0.address()
    }
}

/// A server of ours with one signature for hosts and one for users.
fn ours(
    host: PKey,
    (host_row, own_row): (&str, &str),
    lines: &str,
    ident: &Arc<Mutex<String>>,
) -> (ServerHandle, u16) {
    let mut algorithms = Algorithms::server_defaults();
    algorithms.set_host_keys(host_row).unwrap();
    algorithms.set_public_keys(own_row).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let lines = lines.to_owned();
    let server = SSHServer::builder()
        .host_key(host)
        .algorithms(algorithms)
        // Dbclient may forget to go, as it does in `interop/alone.rs`.
        .unused_timeout(Duration::from_secs(10))
        .serve(Door(listener, Arc::clone(ident)), move |_| Lines(AuthorizedKeys::parse(&lines)))
        .unwrap();
    (server, port)
}

fn all_lines() -> String {
    let authority = key("authority").public_key().to_line();
    format!("{}cert-authority {authority}\n", rows::authorized_keys())
}

/// A row, and the key that signs by it.
type Row = (&'static str, &'static str);

/// A login on our server by a client of others, with the keys in a folder, the host's row and the user's.
type Client = fn(&Folder, u16, Row, Row) -> Option<Outcome>;

fn said(output: std::process::Output) -> Outcome {
    if output.stdout == b"yes\n" { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// The signature of a row without its certificate.
fn plain((row, key): Row) -> String {
    row.replace("-cert-v01@openssh.com", if key.starts_with("sk-") { "@openssh.com" } else { "" })
}

fn openssh(folder: &Folder, port: u16, host: Row, own: Row) -> Option<Outcome> {
    let mut ssh = Command::new(require("ssh", program("ssh"))?);
    ssh.args(["-F", "none", "-T", "-v", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]);
    ssh.arg(format!("-oUserKnownHostsFile={}", folder.file("known_hosts").display()));
    ssh.arg(format!("-oHostKeyAlgorithms={}", host.0));
    ssh.arg(format!("-oPubkeyAcceptedAlgorithms={},{}", own.0, plain(own)));
    match agent(folder, port, own) {
        Some(socket) => ssh.env("SSH_AUTH_SOCK", socket),
        None => ssh.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(folder.file(own.1)),
    };
    if let Some(certificate) = user_certificate(folder, own.0, own.1).filter(|path| path.exists()) {
        ssh.arg(format!("-oCertificateFile={}", certificate.display()));
    }
    ssh.args(["-p", &port.to_string()]).arg(format!("{}@127.0.0.1", user())).arg("x");
    Some(said(output(&mut ssh, "")))
}

/// An agent of ours that holds the user's key, if that lives in a token, for a client that comes to a port.
fn agent(folder: &Folder, port: u16, own: Row) -> Option<PathBuf> {
    if !own.1.starts_with("sk-") {
        return None;
    }
    let socket = folder.file(&format!("agent-{port}"));
    agent_with(&socket, &[user_key(own.0, own.1)]);
    Some(socket)
}

/// An agent of ours with keys, on a socket.
fn agent_with(socket: &Path, keys: &[PKey]) {
    let agent = AgentServer::builder().build();
    keys.iter().for_each(|key| agent.add(key, &AddOptions::new()).unwrap());
    let listener = AgentServer::listen(socket).unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let agent = agent.clone();
            std::thread::spawn(move || agent.serve_connection(stream));
        }
    });
}

fn python(python: Python, folder: &Folder, port: u16, host: Row, own: Row) -> Option<Outcome> {
    let agent = agent(folder, port, own);
    let key_file = agent.is_none().then(|| folder.file(own.1));
    let mut spec = json!({
        "host": "127.0.0.1", "port": port, "user": user(), "command": "x", "key": key_file, "agent": agent,
        "certificate": user_certificate(folder, own.0, own.1), "host_key_algorithms": [host.0],
        "signatures": [plain(own)],
    });
    match python {
        Python::AsyncSsh => spec["known_hosts"] = json!(known_hosts()),
        Python::Paramiko => spec["host_key"] = json!(key(host.1).public_key().to_line()),
    }
    let answer = python.client(&spec)?;
    Some(if answer["stdout"] == "yes\n" { Ok(()) } else { Err(answer.to_string()) })
}

fn asyncssh(folder: &Folder, port: u16, host: Row, own: Row) -> Option<Outcome> {
    python(Python::AsyncSsh, folder, port, host, own)
}

fn paramiko(folder: &Folder, port: u16, host: Row, own: Row) -> Option<Outcome> {
    python(Python::Paramiko, folder, port, host, own)
}

fn dbclient(folder: &Folder, port: u16, _: Row, own: Row) -> Option<Outcome> {
    let mut client = Command::new(require("dbclient", program("dbclient"))?);
    client.env("HOME", folder.path()).args(["-y", "-y", "-T", "-p", &port.to_string()]);
    let converted = Folder::new();
    match agent(folder, port, own) {
        Some(socket) => client.env("SSH_AUTH_SOCK", socket),
        None => match for_dropbear(folder, &converted, own.1) {
            Ok(own) => client.arg("-i").arg(own),
            Err(said) => return Some(Err(said)),
        },
    };
    client.arg(format!("{}@127.0.0.1", user())).arg("x");
    Some(said(output(&mut client, "")))
}

fn plink(folder: &Folder, port: u16, host: Row, own: Row) -> Option<Outcome> {
    let mut client = Command::new(require("plink", program("plink"))?);
    client.env("HOME", folder.path()).args(["-batch", "-ssh", "-T", "-P", &port.to_string()]);
    match agent(folder, port, own) {
        Some(socket) => client.arg("-agent").env("SSH_AUTH_SOCK", socket),
        None => client.arg("-i").arg(folder.file(&format!("{}.ppk", own.1))),
    };
    if !certified(host.0) {
        client.arg("-hostkey").arg(key(host.1).public_key().fingerprint());
    }
    if let Some(certificate) = user_certificate(folder, own.0, own.1) {
        client.arg("-cert").arg(certificate);
    }
    client.args(["-l", &user(), "127.0.0.1", "x"]);
    Some(said(output(&mut client, "")))
}

const CLIENTS: [(&str, Client); 5] = [
    ("openssh", openssh),
    ("asyncssh", asyncssh),
    ("paramiko", paramiko),
    ("dropbear", dbclient),
    ("PuTTY", plink),
];

/// Every row with every client, two at a time: a login on a server of ours with what signs for the host and the user.
fn each(used: Use, of: impl Fn(Row) -> (PKey, Row, Row) + Sync) {
    let folder = Folder::new();
    rows::write(&folder);
    for (peer, client) in CLIENTS {
        let (waiting, ident) = (Mutex::new(ROWS.to_vec()), Arc::new(Mutex::new(String::new())));
        let outcomes = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let next = waiting.lock().unwrap().pop();
                        let Some(row) = next else { return };
                        let (key, host, own) = of(row);
                        let (_server, port) = ours(key, (host.0, own.0), &all_lines(), &ident);
                        let Some(outcome) = client(&folder, port, host, own) else { return };
                        outcomes.lock().unwrap().push((row.0, outcome));
                    }
                });
            }
        });
        used.hold(peer, &ident.lock().unwrap(), &outcomes.into_inner().unwrap());
    }
}

/// What signs where nothing depends on it.
const USUAL: Row = ("ssh-ed25519", "ed25519");

#[test]
fn our_host_keys_for_other_clients() {
    let _watch = given::within(600);
    each(Use::OurHost, |row| (host_key(row.0, row.1), row, USUAL));
}

#[test]
fn users_keys_of_other_clients() {
    let _watch = given::within(600);
    each(Use::OurUser, |row| (key(USUAL.1), USUAL, row));
}

/// What stands before the key of a token, how the token was used, and whether that lets in.
const PRESENCE: &[(&str, u8, bool)] = &[
    ("", 0, false),
    ("", TOUCHED, true),
    ("", VERIFIED, false),
    ("", TOUCHED | VERIFIED, true),
    ("no-touch-required", 0, true),
    ("no-touch-required", TOUCHED, true),
    ("no-touch-required", VERIFIED, true),
    ("verify-required", 0, false),
    ("verify-required", TOUCHED, false),
    ("verify-required", VERIFIED, false),
    ("verify-required", TOUCHED | VERIFIED, true),
    ("no-touch-required,verify-required", 0, false),
    ("no-touch-required,verify-required", TOUCHED, false),
    ("no-touch-required,verify-required", VERIFIED, true),
    ("restrict,no-touch-required", 0, true),
];

#[test]
fn touches_and_pins_of_tokens() {
    let _watch = given::within(600);
    let folder = Folder::new();
    rows::write(&folder);
    let Some(theirs) = sshd(&folder, "") else { return };
    let mut wrong = Vec::new();
    for (kind, name) in [
        (KeyKind::Ed25519, "sk-ssh-ed25519@openssh.com"),
        (KeyKind::EcdsaP256, "sk-ecdsa-sha2-nistp256@openssh.com"),
        (KeyKind::EcdsaP256, "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"),
    ] {
        let inner = PKey::generate(kind).unwrap();
        for (options, flags, lets_in) in PRESENCE {
            let token = || PKey::from_signer(Token::new(&inner, *flags));
            let line = format!("{options} {}\n", token().public_key().to_line());
            fs::write(folder.file("authorized_keys"), &line).unwrap();
            let sshd = connect(&theirs, token(), ("ssh-ed25519", name), &mut String::new()).is_ok();
            let (_server, port) = ours(key("ed25519"), ("ssh-ed25519", name), &line, &Arc::default());
            let mut algorithms = Algorithms::client_defaults();
            algorithms.set_public_keys(name).unwrap();
            let client = given::client().username(&user()).key(token()).algorithms(algorithms);
            let own = client.connect(&format!("127.0.0.1:{port}")).is_ok();
            if (sshd, own) != (*lets_in, *lets_in) {
                wrong
                    .push(format!("{name} {options:?} {flags}: sshd {sshd}, ours {own}, expected {lets_in}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nobody_touches_the_token_of_a_host() {
    let _watch = given::within(120);
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP256] {
        let host = Token::generate(kind, 0);
        let name = host.public_key().key_type().to_owned();
        let (_server, port) = ours(host, (&name, "ssh-ed25519"), &all_lines(), &Arc::default());
        let client = given::client().username(&user()).key(key("ed25519"));
        client.connect(&format!("127.0.0.1:{port}")).unwrap();
    }
}
