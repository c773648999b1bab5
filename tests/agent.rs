//! Agents: ours with OpenSSH's `ssh-add` and `ssh`, our client with OpenSSH's `ssh-agent`, and the
//! programs `ssh_agent` and `ssh_add` with both.

#![cfg(unix)]

#[path = "agent/forwarding.rs"]
mod forwarding;
mod given;
#[path = "agent/identities.rs"]
mod identities;
#[path = "agent/ours.rs"]
mod ours;
mod peers;
#[path = "agent/programs.rs"]
mod programs;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use feramiko::{AddOptions, Agent, AgentError, AgentServer, Destination, Hop, PKey, Secret};
use ours::{Ours, soon};
use peers::{Folder, KEY_KINDS, Keys, Running, Server, output, program, require, sshd, user};

/// OpenSSH's agent on this socket; it asks its user by `askpass`.
fn ssh_agent(socket: &Path, askpass: &str) -> Option<Running> {
    let mut command = Command::new(require("ssh-agent", program("ssh-agent"))?);
    command.args(["-D", "-a"]).arg(socket).env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
    let running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
    soon("ssh-agent listens", || UnixStream::connect(socket).is_ok());
    Some(running)
}

/// A program with an agent; passphrases are `secret`.
fn with_agent(name: impl AsRef<OsStr>, socket: &Path) -> Command {
    static ASKPASS: std::sync::OnceLock<(Folder, PathBuf)> = std::sync::OnceLock::new();
    let (_, askpass) = ASKPASS.get_or_init(|| {
        let folder = Folder::new();
        let path = folder.file("askpass");
        fs::write(&path, "#!/bin/sh\necho secret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        (folder, path)
    });
    let mut command = Command::new(name);
    command.env("SSH_AUTH_SOCK", socket).env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
    command.stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// Runs it and returns what it printed, and fails if its status is another.
fn run(command: &mut Command, status: i32) -> String {
    let output = output(command, "");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(status), "{command:?}:\n{text}");
    text
}

fn ssh_add(socket: &Path, arguments: &[&str], status: i32) -> String {
    run(with_agent("ssh-add", socket).args(arguments), status)
}

/// What there is to test with; None where OpenSSH is missing.
fn user_keys() -> Option<Keys> {
    require("ssh-add", program("ssh-add"))?;
    Keys::named("user")
}

fn path(keys: &Keys, kind: &str) -> String {
    keys.private(kind).to_str().unwrap().to_owned()
}

#[test]
fn ssh_agent_takes_every_key_of_ours() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let folder = Folder::new();
    let socket = folder.file("agent");
    let Some(_running) = ssh_agent(&socket, "/bin/false") else { return };
    let agent = Agent::connect(&socket).unwrap();
    for (kind, _) in KEY_KINDS {
        let key = PKey::from_file(keys.private(kind), None).unwrap().with_comment(kind).unwrap();
        agent.add(&key, &AddOptions::new()).unwrap();
    }
    let listed = ssh_add(&socket, &["-l"], 0);
    for ((kind, _), line) in KEY_KINDS.iter().zip(listed.lines()) {
        assert!(line.contains(&format!(" {kind} (")), "{line}");
        ssh_add(&socket, &["-T", &format!("{}.pub", path(&keys, kind))], 0);
    }
    for key in agent.keys().unwrap() {
        for algorithm in key.public_key().algorithms() {
            key.sign(algorithm, b"data").unwrap();
        }
    }
    let first = agent.keys().unwrap().remove(0);
    agent.remove(first.public_key()).unwrap();
    assert_eq!(agent.remove(first.public_key()), Err(AgentError::Refused));
    assert_eq!(agent.keys().unwrap().len(), KEY_KINDS.len() - 1);
    let provider = agent.add_smartcard("/nonexistent.so", &Secret::from("1234"), &AddOptions::new());
    assert_eq!(provider, Err(AgentError::Refused));
    assert_eq!(agent.remove_smartcard("/nonexistent.so", &Secret::from("")), Err(AgentError::Refused));
    assert_eq!(agent.extension("unknown@example.org", b"x"), Err(AgentError::Refused));
    match agent.query() {
        Ok(names) => assert!(names.contains(&"session-bind@openssh.com".to_owned()), "{names:?}"),
        Err(error) => assert_eq!(error, AgentError::Refused, "OpenSSH before 10 knows no query"),
    }
    agent.remove_all().unwrap();
    ssh_add(&socket, &["-l"], 1);
}

#[test]
fn ssh_agent_is_locked_and_unlocked() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let folder = Folder::new();
    let socket = folder.file("agent");
    let Some(_running) = ssh_agent(&socket, "/bin/false") else { return };
    let agent = Agent::connect(&socket).unwrap();
    agent.add(&PKey::from_file(keys.private("ed25519"), None).unwrap(), &AddOptions::new()).unwrap();
    let held = agent.keys().unwrap().remove(0);
    agent.lock(&Secret::from("right")).unwrap();
    assert!(agent.keys().unwrap().is_empty());
    assert_eq!(held.sign("ssh-ed25519", b"data"), Err(AgentError::Refused));
    assert_eq!(agent.lock(&Secret::from("right")), Err(AgentError::Refused));
    assert_eq!(agent.unlock(&Secret::from("wrong")), Err(AgentError::Refused));
    agent.unlock(&Secret::from("right")).unwrap();
    held.sign("ssh-ed25519", b"data").unwrap();
}

#[test]
fn ssh_agent_holds_our_keys_to_their_constraints() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let key = PKey::from_file(keys.private("ed25519"), None).unwrap();
    for (askpass, allowed) in [("/bin/false", false), ("/bin/true", true)] {
        let folder = Folder::new();
        let socket = folder.file("agent");
        let Some(_running) = ssh_agent(&socket, askpass) else { return };
        let agent = Agent::connect(&socket).unwrap();
        agent.add(&key, &AddOptions::new().confirm(true)).unwrap();
        let signature = agent.keys().unwrap()[0].sign("ssh-ed25519", b"data");
        assert_eq!(signature.is_ok(), allowed, "{askpass}: {signature:?}");
        agent.add(&key, &AddOptions::new().lifetime(Duration::from_secs(1))).unwrap();
        assert_eq!(agent.keys().unwrap().len(), 1);
        if allowed {
            soon("the key expires", || agent.keys().unwrap().is_empty());
        }
    }
}

/// What is signed for a login, RFC 4252 §7.
fn login(session: &[u8], key: &PKey) -> Vec<u8> {
    let put = |data: &mut Vec<u8>, text: &[u8]| {
        data.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        data.extend(text);
    };
    let mut data = Vec::new();
    put(&mut data, session);
    data.push(50);
    for text in ["me", "ssh-connection", "publickey"] {
        put(&mut data, text.as_bytes());
    }
    data.push(1);
    put(&mut data, key.public_key().key_type().as_bytes());
    put(&mut data, key.public_key().blob());
    data
}

#[test]
fn destinations_are_kept_alike_by_both_agents() {
    let _watch = given::within(300);
    let (Some(keys), Some(hosts)) = (user_keys(), Keys::named("host")) else { return };
    let folder = Folder::new();
    let theirs = folder.file("agent");
    let Some(_running) = ssh_agent(&theirs, "/bin/false") else { return };
    let ours = Ours::start(AgentServer::builder());
    let key = PKey::from_file(keys.private("ed25519"), None).unwrap();
    let host = PKey::from_file(hosts.private("ed25519"), None).unwrap();
    let other = PKey::from_file(hosts.private("ecdsa256"), None).unwrap();
    for socket in [theirs, ours.socket()] {
        let agent = Agent::connect(&socket).unwrap();
        let to = Destination::new(Hop::new("host").user("m*").key(host.public_key()));
        agent.add(&key, &AddOptions::new().destination(to)).unwrap();
        let held = agent.keys().unwrap().remove(0);
        let signs = |agent: &Agent, data: &[u8]| {
            let held = agent.keys().unwrap();
            held.first().is_some_and(|held| held.sign("ssh-ed25519", data).is_ok())
        };
        assert!(held.sign("ssh-ed25519", &login(b"one", &key)).is_err(), "no session is bound");
        let bind = |host: &PKey, session: &[u8], forwarding| {
            let agent = Agent::connect(&socket).unwrap();
            let signature = host.sign(host.public_key().algorithms()[0], session).unwrap();
            agent.session_bind(host.public_key(), session, &signature, forwarding).map(|()| agent)
        };
        let good = bind(&host, b"one", false).unwrap();
        assert!(signs(&good, &login(b"one", &key)));
        assert!(!signs(&good, &login(b"two", &key)), "another session");
        assert!(!signs(&good, b"data"), "no login");
        let elsewhere = bind(&other, b"two", false).unwrap();
        assert!(elsewhere.keys().unwrap().is_empty());
        let forwarded = bind(&host, b"three", true).unwrap();
        assert!(forwarded.keys().unwrap().is_empty());
        let agent = Agent::connect(&socket).unwrap();
        let lie =
            agent.session_bind(host.public_key(), b"four", &host.sign("ssh-ed25519", b"five").unwrap(), true);
        // Before 10 there was one refusal for everything.
        assert!(matches!(lie, Err(AgentError::ExtensionFailed | AgentError::Refused)), "{lie:?}");
    }
}

#[test]
fn ssh_add_with_our_agent() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let ours = Ours::start(AgentServer::builder());
    let socket = ours.socket();
    ssh_add(&socket, &["-l"], 1);
    for (kind, _) in KEY_KINDS {
        let said = ssh_add(&socket, &[&path(&keys, kind)], 0);
        assert!(said.starts_with("Identity added: "), "{said}");
        let public = public_file(&ours.folder, &keys, kind);
        let mut sign = with_agent("ssh-keygen", &socket);
        let signed = run(sign.args(["-q", "-Y", "sign", "-n", "file", "-f"]).arg(public), 0);
        assert!(signed.contains("BEGIN SSH SIGNATURE"), "{signed}");
        // Before 10 OpenSSH tests RSA keys with SHA-1.
        if *kind != "rsa" {
            ssh_add(&socket, &["-T", &format!("{}.pub", path(&keys, kind))], 0);
        }
    }
    assert_eq!(ssh_add(&socket, &["-l"], 0).lines().count(), KEY_KINDS.len());
    let whole = ssh_add(&socket, &["-L"], 0);
    for ((kind, _), line) in KEY_KINDS.iter().zip(whole.lines()) {
        assert_eq!(line, keys.public(kind));
    }
    ssh_add(&socket, &["-d", &path(&keys, "rsa")], 0);
    ssh_add(&socket, &["-d", &path(&keys, "rsa")], 1);
    ssh_add(&socket, &["-x"], 0);
    ssh_add(&socket, &["-l"], 1);
    ssh_add(&socket, &["-T", &format!("{}.pub", path(&keys, "ed25519"))], 1);
    ssh_add(&socket, &[&path(&keys, "rsa")], 1);
    ssh_add(&socket, &["-X"], 0);
    assert_eq!(ssh_add(&socket, &["-l"], 0).lines().count(), KEY_KINDS.len() - 1);
    ssh_add(&socket, &["-X"], 1);
    ssh_add(&socket, &["-D"], 0);
    ssh_add(&socket, &["-l"], 1);
    // Nobody can be asked; no library is loaded.
    ssh_add(&socket, &["-c", &path(&keys, "rsa")], 1);
    ssh_add(&socket, &["-s", "/usr/lib/nothing.so"], 1);
    ssh_add(&socket, &["-t", "1", &path(&keys, "rsa")], 0);
    soon("the key expires", || output(with_agent("ssh-add", &socket).arg("-l"), "").status.code() == Some(1));
}

#[test]
fn another_users_ssh_add_is_turned_away() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let root = user() == "root";
    let Some(setpriv) = require("setpriv (as root)", program("setpriv").filter(|_| root)) else { return };
    let ours = Ours::start(AgentServer::builder());
    ssh_add(&ours.socket(), &[&path(&keys, "ed25519")], 0);
    // Even where the file system lets them.
    fs::set_permissions(ours.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(ours.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    let mut command = with_agent(setpriv, &ours.socket());
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "ssh-add", "-l"]);
    let output = output(&mut command, "");
    // It may be told by the answer that does not come, or by a signal when it asks.
    assert!(!output.status.success() && output.stdout.is_empty(), "{}", text(&output));
}

/// `ssh` to the server by keys that the agent alone has: of `folder`, where their public halves are.
fn ssh(server: &Server, socket: &Path, key: &Path) -> Command {
    let mut command = with_agent("ssh", socket);
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR"]);
    command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-i"]).arg(key);
    command.args(["-p", &server.port().to_string(), &format!("{}@127.0.0.1", user())]);
    command
}

/// The public half alone, so that `ssh` needs the agent for the other.
fn public_file(folder: &Folder, keys: &Keys, kind: &str) -> PathBuf {
    let path = folder.file(&format!("{kind}.pub"));
    fs::write(&path, keys.public(kind) + "\n").unwrap();
    path
}

#[test]
fn ssh_logs_in_with_every_key_of_our_agent() {
    let _watch = given::within(300);
    let (Some(keys), Some(hosts)) = (user_keys(), Keys::named("host")) else { return };
    let Some(server) = sshd(&hosts, &keys, "") else { return };
    let (ours, folder) = (Ours::start(AgentServer::builder()), Folder::new());
    run(ssh(&server, &ours.socket(), &public_file(&folder, &keys, "rsa")).arg("true"), 255);
    for (kind, _) in KEY_KINDS {
        let public = public_file(&folder, &keys, kind);
        ssh_add(&ours.socket(), &["-q", &path(&keys, kind)], 0);
        run(ssh(&server, &ours.socket(), &public).arg("true"), 0);
    }
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        let mut command = ssh(&server, &ours.socket(), &public_file(&folder, &keys, "rsa"));
        command.args(["-o", &format!("PubkeyAcceptedAlgorithms={algorithm}"), "true"]);
        run(&mut command, 0);
    }
    ssh_add(&ours.socket(), &["-q", "-x"], 0);
    run(ssh(&server, &ours.socket(), &public_file(&folder, &keys, "rsa")).arg("true"), 255);
}

#[test]
fn ssh_is_refused_when_the_user_says_no() {
    let _watch = given::within(300);
    let (Some(keys), Some(hosts)) = (user_keys(), Keys::named("host")) else { return };
    let Some(server) = sshd(&hosts, &keys, "") else { return };
    for answer in [false, true] {
        let ours = Ours::start(AgentServer::builder().confirm(move |_, comment| {
            assert_eq!(comment, "feramiko test");
            answer
        }));
        let public = public_file(&ours.folder, &keys, "ed25519");
        ssh_add(&ours.socket(), &["-q", "-c", &path(&keys, "ed25519")], 0);
        run(ssh(&server, &ours.socket(), &public).arg("true"), if answer { 0 } else { 255 });
    }
}

#[test]
fn ssh_uses_keys_for_their_destinations_only() {
    let _watch = given::within(300);
    let (Some(keys), Some(hosts)) = (user_keys(), Keys::named("host")) else { return };
    let (Some(server), Some(other)) = (sshd(&hosts, &keys, ""), sshd(&keys, &keys, "")) else { return };
    let ours = Ours::start(AgentServer::builder());
    let (socket, public) = (ours.socket(), public_file(&ours.folder, &keys, "ed25519"));
    let known = ours.folder.file("known_hosts");
    let line = |name: &str, keys: &Keys, kind: &str| format!("{name} {}\n", keys.public(kind));
    let lines = KEY_KINDS.iter().map(|(kind, _)| line("here", &hosts, kind) + &line("there", &keys, kind));
    fs::write(&known, lines.collect::<String>()).unwrap();
    let hold = |destinations: &[&str]| {
        ssh_add(&socket, &["-q", "-D"], 0);
        let constraints: Vec<_> = destinations.iter().flat_map(|one| ["-h", *one]).collect();
        let known = known.to_str().unwrap();
        ssh_add(&socket, &[&["-q", "-H", known], &constraints[..], &[&path(&keys, "ed25519")]].concat(), 0);
    };
    hold(&["here"]);
    run(ssh(&server, &socket, &public).arg("true"), 0);
    run(ssh(&other, &socket, &public).arg("true"), 255);
    hold(&["nobody@here"]);
    run(ssh(&server, &socket, &public).arg("true"), 255);

    // Where the agent is forwarded to, the key is of use only for what lies behind.
    let behind = |server: &Server| {
        let port = server.port();
        format!(
            "ssh-add -l && ssh -F none -o BatchMode=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile=/dev/null -p {port} {}@127.0.0.1 true",
            user()
        )
    };
    let forwarded = |command: &str| {
        let output = output(ssh(&server, &socket, &public).args(["-A", command]), "");
        (output.status.success(), text(&output))
    };
    hold(&["here"]);
    let (good, said) = forwarded(&behind(&other));
    assert!(!good && said.contains("no identities"), "{said}");
    hold(&["here", "here>there"]);
    let (good, said) = forwarded(&behind(&other));
    assert!(good, "{said}");
    let (good, said) = forwarded(&behind(&server));
    assert!(!good && said.contains("ED25519"), "it is seen, and refused: {said}");
}
