//! An agent that is forwarded by the library goes with its client, whoever holds it on the server.
//!
//! One test a process: it counts the library's threads.

#![cfg(unix)]

mod given;
#[path = "agent/ours.rs"]
mod ours;
mod peers;

use std::io::Read;

use feramiko::{AddOptions, Agent, AgentServer, Error, PKey, running_threads};
use ours::{Ours, soon};
use peers::{Keys, Server, our_sshd, program, require, sshd, user};

/// Asks the agent, and keeps its connection until nobody is at the other end.
const HOLDER: &str = "python3 -c \"
import os, socket, sys
agent = socket.socket(socket.AF_UNIX)
agent.connect(os.environ['SSH_AUTH_SOCK'])
agent.send(bytes([0, 0, 0, 1, 11]))
print(agent.recv(4), flush=True)
sys.stdin.read()\"";

#[test]
fn the_library_forwards_and_stops() {
    let _watch = given::within(300);
    let Some(_) = require("ssh-add", program("ssh-add")) else { return };
    let (Some(keys), Some(host)) = (Keys::named("user"), Keys::named("host")) else { return };
    let ours = Ours::start(AgentServer::builder());
    let agent = Agent::connect(ours.socket()).unwrap();
    let key = PKey::from_file(keys.private("ed25519"), None).unwrap();
    agent.add(&key, &AddOptions::new()).unwrap();
    let server = our_sshd(&host, &keys);
    let connect = |server: &Server| {
        let builder = given::client().username(&user()).key(key.clone());
        builder.connect(&format!("127.0.0.1:{}", server.port())).unwrap()
    };
    let client = connect(&server);
    let output = client.command("ssh-add -l").forward_agent(&agent).output().unwrap();
    assert!(output.stdout_text().unwrap().contains("ED25519"), "{output:?}");
    // A program that holds the agent does not hold a client that is dropped.
    let mut held = client.command(HOLDER).forward_agent(&agent).spawn().unwrap();
    held.stdout.as_mut().unwrap().read_exact(&mut [0; 2]).unwrap();
    assert!(running_threads() > 0);
    drop((held, client));
    soon("the threads end", || running_threads() == 0);
    let Some(refuses) = sshd(&host, &keys, "AllowAgentForwarding no") else { return };
    let refused = connect(&refuses).command("true").forward_agent(&agent).output();
    assert!(matches!(refused, Err(Error::RequestRefused(_))), "{refused:?}");
}
