//! Our client with the servers of others, and our server with their clients.

#![cfg(unix)]

#[path = "interop/alone.rs"]
mod alone;
mod given;
mod peers;
#[path = "interop/table.rs"]
mod table;
#[path = "given/terminal.rs"]
mod terminal;

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use feramiko::{
    Algorithms, Answer, AuthAnswer, ExitStatus, KeyKind, Limits, PKey, PublicKey, SSHClient, SSHServer,
    Secret, ServerHandle, ServerInterface, Session, SessionRequest,
};
use peers::{
    Folder, Keys, Python, Running, Server, example, our_sshd, output, program, require, run_shell, sshd, user,
};
use serde_json::json;
use table::Table;
use terminal::Terminal;

/// The servers of others, by name; where `every`, with all that they have.
fn servers(more: &str, every: bool) -> Vec<(&'static str, Server, PKey)> {
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return Vec::new() };
    let key = PKey::from_file(own.private("ed25519"), None).unwrap();
    let mut found = Vec::new();
    for python in Python::BOTH {
        let spec = json!({
            "user": user(), "password": "foo",
            "host_keys": host.all_private(), "authorized_keys": own.all_public(), "every": every,
        });
        found.extend(python.server(&spec).map(|server| (python.name(), server)));
    }
    let all = alone::all_of_openssh().filter(|_| every).map(|options| options.join("\n"));
    let more = all.unwrap_or_else(|| more.to_owned());
    found.extend(sshd(&host, &own, &more).map(|server| ("openssh", server)));
    found.into_iter().map(|(name, server)| (name, server, key.clone())).collect()
}

fn connect(
    server: &Server,
    key: &PKey,
    algorithms: Algorithms,
    limits: Limits,
) -> feramiko::Result<SSHClient> {
    given::client()
        .username(&user())
        .key(key.clone())
        .algorithms(algorithms)
        .limits(limits)
        .connect(&format!("127.0.0.1:{}", server.port()))
}

#[test]
fn commands_on_the_servers_of_others() {
    let _watch = given::within(600);
    for (name, server, key) in servers("", false) {
        let client = connect(&server, &key, Algorithms::client_defaults(), Limits::default()).unwrap();
        let mut process = client.exec_command("cat; echo error >&2; exit 3").unwrap();
        process.stdin.take().unwrap().write_all(b"input").unwrap();
        let output = process.wait_with_output().unwrap();
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"input"[..], &b"error\n"[..]), "{name}");
        assert_eq!(output.status, ExitStatus::Code(3), "{name}");
        if name != "paramiko" {
            let killed = client.output("kill -TERM $$").unwrap().status;
            assert!(matches!(killed, ExitStatus::Signal { .. }), "{name}: {killed}");
        }
    }
}

/// Chained blocks with MACs of both kinds, more than one packet of them, and new keys in between.
#[test]
fn old_ciphers_carry_data_both_ways() {
    let _watch = given::within(600);
    let ciphers = ["aes256-cbc", "3des-cbc", "blowfish-cbc", "cast128-cbc", "arcfour256"];
    let table = Table::read();
    for (name, server, key) in servers("", true) {
        for (cipher, mac) in ciphers
            .into_iter()
            .filter(|cipher| table.has(cipher, (name, "server"), 0))
            .flat_map(|cipher| [(cipher, "hmac-sha2-256"), (cipher, "hmac-sha2-256-etm@openssh.com")])
        {
            let mut algorithms = Algorithms::client_defaults();
            algorithms.set_kex("curve25519-sha256@libssh.org").unwrap();
            algorithms.set_ciphers(cipher).unwrap();
            algorithms.set_macs(mac).unwrap();
            let mut limits = Limits::default();
            if name != "paramiko" {
                limits.rekey_bytes = 200_000;
            }
            let client = connect(&server, &key, algorithms, limits).unwrap();
            let data: Vec<u8> =
                (0..1_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            let channel = client.open_session().unwrap();
            channel.exec_command("cat").unwrap();
            let echo = given::echoed(&channel, &data).unwrap();
            assert!(echo == data, "{name} {cipher} {mac}: {} came back", echo.len());
            let exchanges = client.transport().exchanges();
            assert!(name == "paramiko" || exchanges > 1, "{name} {cipher} {mac}: {exchanges} exchanges");
        }
    }
}

#[test]
fn megabytes_both_ways_with_new_keys_all_the_time() {
    let _watch = given::within(600);
    for (name, server, key) in servers("RekeyLimit 1M", false) {
        let mut limits = Limits::default();
        // Paramiko stalls by itself when new keys meet data both ways.
        if name != "paramiko" {
            limits.rekey_bytes = 1 << 20;
        }
        let mut algorithms = Algorithms::client_defaults();
        algorithms.set_kex("curve25519-sha256@libssh.org").unwrap();
        let client = connect(&server, &key, algorithms, limits).unwrap();
        let channel = client.open_session().unwrap();
        channel.exec_command("cat").unwrap();
        let data: Vec<u8> =
            (0..16_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let echo = given::echoed(&channel, &data).unwrap();
        assert!(echo == data, "{name}: {} bytes came back", echo.len());
        let exchanges = client.transport().exchanges();
        assert!(name == "paramiko" || exchanges > 10, "{name}: {exchanges} exchanges");
    }
}

/// Lets everybody in by the test's keys or `foo`, and runs commands with `sh -c`.
struct Open(Vec<PublicKey>);

impl Open {
    fn to(keys: &Keys) -> Self {
        Self(
            ["ed25519", "rsa"]
                .iter()
                .map(|kind| PublicKey::from_line(&keys.public(kind)).unwrap().0)
                .collect(),
        )
    }
}

impl ServerInterface for Open {
    fn check_auth_publickey(&self, _: &str, key: &PublicKey) -> AuthAnswer {
        AuthAnswer::when(self.0.contains(key))
    }

    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        run_shell(session)
    }
}

fn ours(algorithms: Algorithms) -> Option<(ServerHandle, u16, Keys)> {
    let own = Keys::named("user")?;
    let Open(allowed) = Open::to(&own);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut limits = Limits::default();
    (limits.startups_begin, limits.startups_per_source, limits.sessions) = (100, 100, 100);
    let handle = SSHServer::builder()
        .host_key(PKey::generate(KeyKind::Ed25519).unwrap())
        .host_key(PKey::generate(KeyKind::Rsa(3072)).unwrap())
        .algorithms(algorithms)
        .limits(limits)
        .serve(listener, move |_| Open(allowed.clone()))
        .unwrap();
    Some((handle, port, own))
}

#[test]
fn the_python_clients_on_our_server() {
    let _watch = given::within(600);
    let Some((_server, port, own)) = ours(Algorithms::server_defaults()) else { return };
    for python in Python::BOTH {
        let spec = |more: serde_json::Value| {
            let mut spec =
                json!({"host": "127.0.0.1", "port": port, "user": "me", "key": own.private("ed25519")});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            spec
        };
        let name = python.name();
        let command = spec(json!({"command": "cat; echo error >&2; exit 3", "stdin": "input"}));
        let Some(answer) = python.client(&command) else { continue };
        assert_eq!(answer["error"], serde_json::Value::Null, "{name}: {answer}");
        assert_eq!((&answer["stdout"], &answer["stderr"]), (&json!("input"), &json!("error\n")), "{name}");
        assert_eq!(answer["exit"], 3, "{name}");
        for action in ["down", "up"] {
            // Paramiko's reader may wait for what only itself can read when its own new keys meet a
            // window adjust: our KEXINIT then lies unread in its socket, and it gives up after 30 s.
            let mut moved = spec(json!({"action": action, "bytes": 64 << 20}));
            if matches!(python, Python::AsyncSsh) {
                moved["rekey_bytes"] = json!(4 << 20);
            }
            let Some(answer) = python.client(&moved) else { continue };
            assert_eq!(answer["error"], serde_json::Value::Null, "{name} {action}: {answer}");
            assert_eq!(answer["bytes"], 64 << 20, "{name} {action}: {answer}");
            assert_eq!(answer["ok"], true, "{name} {action}: {answer}");
            // It counts what it sends.
            let exchanges = answer["exchanges"].as_u64().unwrap();
            assert!(moved["rekey_bytes"].is_null() || action == "down" || exchanges > 4, "{name}: {answer}");
        }
    }
}

/// A login shell on a terminal that changes its size, by each client, on our `sshd` program.
#[test]
fn shells_with_resize_on_our_sshd() {
    let _watch = given::within(600);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let server = our_sshd(&host, &own);
    let shown = |name: &str, text: &str| {
        assert!(text.contains("24 80") && text.contains("50 132"), "{name}: {text}");
    };
    for python in Python::BOTH {
        let spec = json!({
            "host": "127.0.0.1", "port": server.port(), "user": user(), "key": own.private("ed25519"),
            "action": "shell",
        });
        let Some(answer) = python.client(&spec) else { continue };
        shown(python.name(), answer["stdout"].as_str().unwrap_or_default());
        assert_eq!(answer["exit"], 5, "{}: {answer}", python.name());
    }
    let Some(ssh) = require("ssh", program("ssh")) else { return };
    let known = Folder::new();
    let mut command = Command::new("setsid");
    command.args(["-c", "-w"]).arg(ssh).args(["-F", "none", "-tt", "-q", "-o", "StrictHostKeyChecking=no"]);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", known.file("known").display()));
    command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(own.private("ed25519"));
    command.args(["-p", &server.port().to_string()]).arg(format!("{}@127.0.0.1", user()));
    let (text, code) = on_terminal(command);
    shown("ssh", &text);
    assert_eq!(code, Some(5), "{text}");
}

/// Runs a client on a terminal of 80 columns that grows to 132; what it showed, and its exit code.
fn on_terminal(mut command: Command) -> (String, Option<i32>) {
    let (mut terminal, far) = Terminal::open(80, 24);
    command.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far);
    let mut child = Running::start(&mut command);
    drop(command);
    terminal.resizes_a_shell();
    terminal.types("exit 5\n");
    (terminal.shows_all(), child.ended().code())
}

/// OpenSSH's client on our server.
fn openssh(
    port: u16,
    own: &Keys,
    options: &[&str],
    command: &str,
    input: &[u8],
) -> Option<std::process::Output> {
    let folder = Folder::new();
    let mut ssh = Command::new(require("ssh", program("ssh"))?);
    ssh.args(["-F", "none", "-T", "-q", "-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes", "-p"])
        .arg(port.to_string())
        .arg("-i")
        .arg(own.private("ed25519"))
        .arg(format!("-oUserKnownHostsFile={}", folder.file("known").display()))
        .args(options)
        .arg("me@127.0.0.1")
        .arg(command);
    Some(output(&mut ssh, input))
}

#[test]
fn openssh_on_our_server() {
    let _watch = given::within(600);
    let Some((_server, port, own)) = ours(Algorithms::server_defaults()) else { return };
    let Some(output) = openssh(port, &own, &[], "cat; echo error >&2; exit 3", b"input") else { return };
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"input"[..], &b"error\n"[..]));
    assert_eq!(output.status.code(), Some(3));
    let data: Vec<u8> = (0..64_000_000_u32).map(|at| (at >> 3) as u8).collect();
    let options = ["-oRekeyLimit=4M", "-oKexAlgorithms=curve25519-sha256", "-v"];
    let Some(output) = openssh(port, &own, &options, "cat", &data) else { return };
    assert!(output.stdout == data, "{} bytes came back", output.stdout.len());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.matches("SSH2_MSG_NEWKEYS received").count() > 10, "{said}");
}

#[test]
fn reading_what_a_peer_sends_in_pieces() {
    let _watch = given::within(600);
    for (name, server, key) in servers("", false) {
        let client = connect(&server, &key, Algorithms::client_defaults(), Limits::default()).unwrap();
        let mut process = client.exec_command("head -c 5000000 /dev/zero").unwrap();
        let mut total = 0;
        let (mut stdout, mut piece) = (process.stdout.take().unwrap(), [0; 777]);
        loop {
            match stdout.read(&mut piece).unwrap() {
                0 => break,
                count => total += count,
            }
        }
        assert_eq!(total, 5_000_000, "{name}");
        assert!(process.wait().unwrap().success(), "{name}");
    }
}

/// Our `ssh` program against OpenSSH's server: exit status, both streams, a clone over it.
#[test]
fn our_ssh_on_sshd() {
    let _watch = given::within(600);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let Some(server) = sshd(&host, &own, "") else { return };
    let program = example("ssh");
    let folder = Folder::new();
    let known = format!("-oUserKnownHostsFile={}", folder.file("known").display());
    let (port, identity) = (server.port().to_string(), own.private("ed25519"));
    let options = [
        "-F",
        "none",
        "-o",
        "StrictHostKeyChecking=accept-new",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "LogLevel=QUIET",
    ];
    let mut ssh = Command::new(&program);
    ssh.args(options).args([&known, "-p", &port, "-i"]).arg(&identity).arg(format!("{}@127.0.0.1", user()));
    let answer = output(ssh.arg("cat; echo error >&2; exit 7"), "input");
    assert_eq!((&answer.stdout[..], &answer.stderr[..]), (&b"input"[..], &b"error\n"[..]));
    assert_eq!(answer.status.code(), Some(7));
    let refused = |more: &[&str]| {
        let mut ssh = Command::new(&program);
        ssh.args(more).args(options).args([&known, "-p", &port, "-o", "BatchMode=yes"]);
        let answer = output(ssh.args(["nobody-of-that-name@127.0.0.1", "true"]), "");
        assert_eq!(answer.status.code(), Some(255));
        String::from_utf8(answer.stderr).unwrap()
    };
    assert_eq!(refused(&[]), "");
    assert!(refused(&["-oLogLevel=ERROR"]).contains("authentication of user nobody-of-that-name failed"));
}
