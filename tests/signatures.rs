//! Every row of the table of signatures alone, as a host's key and as a user's, with every peer that
//! has it, in both roles; and what peers and we ask of security tokens.

mod given;
mod peers;
#[path = "signatures/rows.rs"]
mod rows;
#[path = "signatures/token.rs"]
mod token;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use feramiko::{
    AddOptions, AgentServer, Algorithms, Answer, AuthAnswer, AuthorizedKeys, ExitStatus, HostKeys, KeyKind,
    KeyLogin, PKey, PublicKey, RejectPolicy, SSHClient, SSHServer, ServerHandle, ServerInterface, Session,
    SessionRequest,
};
use peers::{Folder, Python, Server, inside, keeper, output, program, require, start, user};
use rows::{FILES, ROWS, certified, host_key, key, known_hosts, user_certificate, user_key};
use serde_json::json;
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

/// Which rows a peer has; the others it must refuse, or we must.
fn has(peer: &str, used: Use, row: &str) -> bool {
    let token = row.contains("sk-");
    let old = row.starts_with("ssh-rsa") || row.starts_with("ssh-dss");
    let browser = row.starts_with("webauthn");
    match (peer, used) {
        // Their own tokens are not here; ours are played by an agent for their client.
        ("openssh", Use::TheirHost) => !token && !row.contains("ed448"),
        // It takes browsers' signatures from users only, and makes none.
        ("openssh", Use::OurHost | Use::OurUser) => !row.contains("ed448") && !browser,
        ("openssh", _) => !row.contains("ed448"),
        // Under the name of SHA-1 it signs for hosts with SHA-2.
        ("asyncssh", Use::TheirHost) => !token && row != "ssh-rsa-cert-v01@openssh.com",
        ("asyncssh", Use::OurUser) => !token,
        ("asyncssh", _) => true,
        // Its server takes a user's certificate for the key in it.
        ("paramiko", Use::TheirUser | Use::OurUser) => !token && !old && !row.contains("ed448"),
        ("paramiko", _) => !token && !old && !row.contains("ed448") && !certified(row),
        ("dropbear", _) => {
            // Four host keys fit; it checks DSA signatures but makes none.
            let given = match row {
                "ecdsa-sha2-nistp384" => used != Use::TheirHost,
                "ssh-dss" => used == Use::TheirUser,
                _ => true,
            };
            let token = token && (used != Use::TheirUser || browser);
            let lacks = ["rsa-sha2-512", "ssh-ed448"].contains(&row);
            given && !token && !certified(row) && !lacks
        }
        ("plink", Use::OurHost) => !token && !certified(row),
        ("plink", _) => !token && row != "ssh-ed448-cert-v01@openssh.com",
        _ => false,
    }
}

/// What came of each row must be what the peer has.
fn compare(peer: &str, used: Use, outcomes: Vec<(&str, Result<(), String>)>) {
    let mut wrong = Vec::new();
    for (row, outcome) in outcomes {
        match (outcome, has(peer, used, row)) {
            (Ok(()), true) | (Err(_), false) => {}
            (Ok(()), false) => wrong.push(format!("{row}: works")),
            (Err(said), true) => wrong.push(format!("{row}: {said}")),
        }
    }
    assert!(wrong.is_empty(), "{peer} {used:?}:\n{}", wrong.join("\n"));
}

fn names(of: impl Fn(&str) -> bool) -> Vec<&'static str> {
    ROWS.iter().map(|(row, _)| *row).filter(|row| of(row)).collect()
}

#[test]
fn the_table_is_whole() {
    let _watch = given::within(600);
    let all = Algorithms::client_defaults().legacy();
    let mut ours = all.host_keys().to_vec();
    let mut here = names(|_| true);
    ours.sort_unstable();
    here.sort_unstable();
    assert_eq!(here, ours);
}

/// The servers of others, with all the keys in files as their own, and letting in all keys.
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
    found.extend(dropbear(folder).map(|server| ("dropbear", server)));
    found
}

fn sshd(keys: &Folder, more: &str) -> Option<Server> {
    let sshd = require("sshd", program("sshd"))?;
    let algorithms = names(|row| has("openssh", Use::TheirUser, row)).join(",");
    let path = |name: &str| keys.file(name).display().to_string();
    let mut text = format!(
        "{more}\nAuthorizedKeysFile {}\nTrustedUserCAKeys {}\nHostKeyAlgorithms {algorithms}\n\
         PubkeyAcceptedAlgorithms {algorithms}\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
         PasswordAuthentication no\nMaxStartups 200\nLogLevel DEBUG1\n",
        path("authorized_keys"),
        path("authority.pub")
    );
    for name in FILES.iter().filter(|name| **name != "ed448") {
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
fn dropbear(keys: &Folder) -> Option<Server> {
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
        // It takes four.
        for name in ["ed25519", "p256", "p521", "rsa"] {
            command.arg("-r").arg(for_dropbear(keys, folder, name));
        }
        (command, "Not backgrounding".to_owned())
    }))
}

fn for_dropbear(keys: &Folder, folder: &Folder, name: &str) -> std::path::PathBuf {
    let to = folder.file(&format!("{name}.dropbear"));
    let mut convert = Command::new(program("dropbearconvert").expect("it comes with dropbear"));
    convert.args(["openssh", "dropbear"]).arg(keys.file(name)).arg(&to);
    let output = output(&mut convert, "");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    to
}

fn connect(server: &Server, key: PKey, host: &str, own: &str) -> Result<(), String> {
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
    let client = client.map_err(|error| format!("{error}\n{}", server.log()))?;
    let output = client.output("echo yes").map_err(|error| error.to_string())?;
    if output.stdout == b"yes\n" { Ok(()) } else { Err("no answer".to_owned()) }
}

#[test]
fn the_host_keys_of_other_servers() {
    let _watch = given::within(600);
    let folder = Folder::new();
    for (peer, server) in servers(&folder) {
        let outcomes =
            ROWS.iter().map(|(row, _)| (*row, connect(&server, key("ed25519"), row, "ssh-ed25519")));
        compare(peer, Use::TheirHost, outcomes.collect());
    }
}

#[test]
fn users_keys_on_other_servers() {
    let _watch = given::within(600);
    let folder = Folder::new();
    for (peer, server) in servers(&folder) {
        let outcomes =
            ROWS.iter().map(|(row, name)| (*row, connect(&server, user_key(row, name), "ssh-ed25519", row)));
        compare(peer, Use::TheirUser, outcomes.collect());
    }
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

/// A server of ours with one signature for hosts and one for users.
fn ours(host: PKey, host_row: &str, own_row: &str, lines: &str) -> (ServerHandle, u16) {
    let mut algorithms = Algorithms::server_defaults();
    algorithms.set_host_keys(host_row).unwrap();
    algorithms.set_public_keys(own_row).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let lines = lines.to_owned();
    let server = SSHServer::builder()
        .host_key(host)
        .algorithms(algorithms)
        .serve(listener, move |_| Lines(AuthorizedKeys::parse(&lines)))
        .unwrap();
    (server, port)
}

fn all_lines() -> String {
    let authority = key("authority").public_key().to_line();
    format!("{}cert-authority {authority}\n", rows::authorized_keys())
}

/// A login on our server by a client of others, with the keys in a folder.
type Client = fn(&Folder, u16, (&str, &str), (&str, &str)) -> Option<Result<(), String>>;

fn said(output: std::process::Output) -> Result<(), String> {
    if output.stdout == b"yes\n" { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

fn openssh(folder: &Folder, port: u16, host: (&str, &str), own: (&str, &str)) -> Option<Result<(), String>> {
    let mut ssh = Command::new(require("ssh", program("ssh"))?);
    ssh.args(["-F", "none", "-T", "-v", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]);
    ssh.arg(format!("-oUserKnownHostsFile={}", folder.file("known_hosts").display()));
    let label =
        own.0.replace("-cert-v01@openssh.com", if own.1.starts_with("sk-") { "@openssh.com" } else { "" });
    ssh.arg(format!("-oHostKeyAlgorithms={}", host.0));
    ssh.arg(format!("-oPubkeyAcceptedAlgorithms={},{label}", own.0));
    let agent = own.1.starts_with("sk-").then(|| {
        let socket = folder.file(&format!("agent-{}", own.0));
        agent(&socket, &user_key(own.0, own.1));
        socket
    });
    match agent {
        Some(socket) => ssh.env("SSH_AUTH_SOCK", socket),
        None => ssh.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(folder.file(own.1)),
    };
    if let Some(certificate) = user_certificate(folder, own.0, own.1).filter(|path| path.exists()) {
        ssh.arg(format!("-oCertificateFile={}", certificate.display()));
    }
    ssh.args(["-p", &port.to_string()]).arg(format!("{}@127.0.0.1", user())).arg("x");
    Some(said(output(&mut ssh, "")))
}

/// An agent of ours that holds one key.
fn agent(socket: &Path, key: &PKey) {
    let agent = AgentServer::builder().build();
    agent.add(key, &AddOptions::new()).unwrap();
    let listener = AgentServer::listen(socket).unwrap();
    std::thread::spawn(move || {
        // One connection is all that a login makes.
        let (stream, _) = listener.accept().unwrap();
        agent.serve_connection(stream)
    });
}

fn python(
    python: Python,
    folder: &Folder,
    port: u16,
    host: (&str, &str),
    own: (&str, &str),
) -> Option<Result<(), String>> {
    let mut spec = json!({
        "host": "127.0.0.1", "port": port, "user": user(), "command": "x", "key": folder.file(own.1),
        "certificate": user_certificate(folder, own.0, own.1), "host_key_algorithms": [host.0],
        "signatures": [own.0.strip_suffix("-cert-v01@openssh.com").unwrap_or(own.0)],
    });
    match python {
        Python::AsyncSsh => spec["known_hosts"] = json!(known_hosts()),
        Python::Paramiko => spec["host_key"] = json!(key(host.1).public_key().to_line()),
    }
    let answer = python.client(&spec)?;
    Some(if answer["stdout"] == "yes\n" { Ok(()) } else { Err(answer.to_string()) })
}

fn asyncssh(folder: &Folder, port: u16, host: (&str, &str), own: (&str, &str)) -> Option<Result<(), String>> {
    python(Python::AsyncSsh, folder, port, host, own)
}

fn paramiko(folder: &Folder, port: u16, host: (&str, &str), own: (&str, &str)) -> Option<Result<(), String>> {
    python(Python::Paramiko, folder, port, host, own)
}

fn dbclient(folder: &Folder, port: u16, _: (&str, &str), own: (&str, &str)) -> Option<Result<(), String>> {
    let mut client = Command::new(require("dbclient", program("dbclient"))?);
    client.env("HOME", folder.path()).args(["-y", "-y", "-T", "-p", &port.to_string(), "-i"]);
    let converted = Folder::new();
    client.arg(for_dropbear(folder, &converted, own.1)).arg(format!("{}@127.0.0.1", user())).arg("x");
    Some(said(output(&mut client, "")))
}

fn plink(folder: &Folder, port: u16, host: (&str, &str), own: (&str, &str)) -> Option<Result<(), String>> {
    let mut client = Command::new(require("plink", program("plink"))?);
    client.env("HOME", folder.path()).args(["-batch", "-ssh", "-T", "-P", &port.to_string(), "-hostkey"]);
    client.arg(key(host.1).public_key().fingerprint()).arg("-i").arg(folder.file(&format!("{}.ppk", own.1)));
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
    ("plink", plink),
];

/// Every row that a client has, two at a time.
fn each(
    peer: &str,
    used: Use,
    run: impl Fn(&'static str, &'static str) -> Option<Result<(), String>> + Sync,
) {
    let waiting: Mutex<Vec<_>> = Mutex::new(ROWS.iter().filter(|(row, _)| has(peer, used, row)).collect());
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().pop();
                    let Some((row, name)) = next else { return };
                    let Some(outcome) = run(row, name) else { return };
                    outcomes.lock().unwrap().push((*row, outcome));
                }
            });
        }
    });
    compare(peer, used, outcomes.into_inner().unwrap());
}

#[test]
fn our_host_keys_for_other_clients() {
    let _watch = given::within(600);
    let folder = Folder::new();
    rows::write(&folder);
    for (peer, client) in CLIENTS {
        each(peer, Use::OurHost, |row, name| {
            let (_server, port) = ours(host_key(row, name), row, "ssh-ed25519", &all_lines());
            client(&folder, port, (row, name), ("ssh-ed25519", "ed25519"))
        });
    }
}

#[test]
fn users_keys_of_other_clients() {
    let _watch = given::within(600);
    let folder = Folder::new();
    rows::write(&folder);
    for (peer, client) in CLIENTS {
        each(peer, Use::OurUser, |row, name| {
            let (_server, port) = ours(key("ed25519"), "ssh-ed25519", row, &all_lines());
            client(&folder, port, ("ssh-ed25519", "ed25519"), (row, name))
        });
    }
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
            let sshd = connect(&theirs, token(), "ssh-ed25519", name).is_ok();
            let (_server, port) = ours(key("ed25519"), "ssh-ed25519", name, &line);
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
        let (_server, port) = ours(host, &name, "ssh-ed25519", &all_lines());
        let client = given::client().username(&user()).key(key("ed25519"));
        client.connect(&format!("127.0.0.1:{port}")).unwrap();
    }
}
