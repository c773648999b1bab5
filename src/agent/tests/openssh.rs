//! OpenSSH's ssh-agent: keys of every type listed and signing. Without it the test is skipped, or fails where peers are required.

use std::path::Path;
use std::process::{Command, Stdio};

use super::*;
use crate::programs::{Running, command, output};
use crate::sys::file::tests::Directory;

fn start(socket: &Path) -> Option<Running> {
    let mut agent = command("ssh-agent")?;
    agent.args(["-D", "-a"]).arg(socket).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running::start(&mut agent);
    let started = Instant::now();
    while UnixStream::connect(socket).is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "ssh-agent does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(running)
}

fn run(command: &mut Command) {
    let output = output(command, "");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn ssh_agent_lists_and_signs() {
    let directory = Directory::new();
    let socket = directory.file("agent");
    let Some(_running) = start(&socket) else { return };
    let agent = Agent::connect(&socket).unwrap();
    assert!(agent.keys().unwrap().is_empty());

    let kinds = [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "2048")];
    for (kind, bits) in kinds {
        let file = directory.file(&format!("{kind}{bits}"));
        let comment = format!("{kind} {bits} key");
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-b", bits, "-N", "", "-C", &comment, "-f"])
            .arg(&file));
        run(Command::new("ssh-add").arg("-q").arg(&file).env("SSH_AUTH_SOCK", &socket));
    }
    let keys = agent.keys().unwrap();
    assert_eq!(keys.len(), kinds.len());
    for (key, (kind, bits)) in keys.iter().zip(kinds) {
        assert_eq!(key.comment(), format!("{kind} {bits} key"));
        for algorithm in key.public_key().algorithms() {
            let signature = PKey::from(key.clone()).sign(algorithm, b"session and request").unwrap();
            key.public_key().verify(algorithm, b"session and request", &signature).unwrap();
        }
    }

    // A key that the agent no longer holds is refused, and the connection is still good.
    run(Command::new("ssh-add")
        .args(["-q", "-d"])
        .arg(directory.file("ed25519256"))
        .env("SSH_AUTH_SOCK", &socket));
    assert_eq!(keys[0].sign("ssh-ed25519", b"data"), Err(AgentError::Refused));
    assert_eq!(agent.keys().unwrap().len(), kinds.len() - 1);

    run(Command::new("ssh-add").arg("-D").arg("-q").env("SSH_AUTH_SOCK", &socket));
    assert!(agent.keys().unwrap().is_empty());
}
