//! An agent that is forwarded over one server and two, by our client and OpenSSH's, over our server and
//! OpenSSH's; keys that are held to destinations, which only works when every hop says where it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use feramiko::AgentServer;

use super::{Ours, run, soon, ssh_add, text, user_keys, with_agent};
use crate::peers::{Folder, Keys, Server, example, our_sshd, output, program, sshd, user};

/// A client program, and what makes it look at nothing of the user's.
fn client(ours: bool) -> String {
    let program = if ours { example("ssh") } else { program("ssh").unwrap() };
    format!(
        "{} -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        program.display()
    )
}

/// Runs `command` on a server, by its login shell there.
fn on(server: &Server, ours: bool, options: &str, command: &str) -> String {
    format!("{} {options} -p {} {}@127.0.0.1 '{command}'", client(ours), server.port(), user())
}

fn shell(line: &str, socket: &Path) -> Command {
    let mut command = with_agent("sh", socket);
    command.args(["-c", line]);
    command
}

/// A server of each kind, ours and OpenSSH's, whose host keys are called `host`.
fn servers(host: &Keys, keys: &Keys) -> Option<[Server; 2]> {
    Some([our_sshd(host, keys), sshd(host, keys, "")?])
}

#[test]
fn one_server() {
    let _watch = crate::given::within(300);
    let (Some(keys), Some(host)) = (user_keys(), Keys::named("host")) else { return };
    let Some(servers) = servers(&host, &keys) else { return };
    let ours = Ours::start(AgentServer::builder());
    let socket = ours.socket();
    ssh_add(&socket, &["-q", keys.private("ed25519").to_str().unwrap()], 0);
    for (server, name) in servers.iter().zip(["ours", "sshd"]) {
        for by_ours in [true, false] {
            let listed = run(&mut shell(&on(server, by_ours, "-A", "ssh-add -L"), &socket), 0);
            assert!(listed.contains(keys.public("ed25519").split(' ').nth(1).unwrap()), "{name}: {listed}");
            let none = run(&mut shell(&on(server, by_ours, "-a", "ssh-add -L"), &socket), 2);
            assert!(none.contains("authentication agent"), "{name}: {none}");
        }
    }
    // The socket is for its user alone, and goes with the session.
    let line = on(
        &servers[0],
        true,
        "-A",
        "stat -c %a $SSH_AUTH_SOCK $(dirname $SSH_AUTH_SOCK); echo $SSH_AUTH_SOCK",
    );
    let shown = run(&mut shell(&line, &socket), 0);
    let [file, folder, path] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
    assert_eq!((file, folder), ("600", "700"));
    let folder = PathBuf::from(path).parent().unwrap().to_owned();
    soon("the socket goes", || !folder.exists());
}

#[test]
fn two_servers_in_all_combinations() {
    let _watch = crate::given::within(300);
    let (Some(keys), Some(host)) = (user_keys(), Keys::named("host")) else { return };
    let (Some(first), Some(second)) = (servers(&host, &keys), servers(&host, &keys)) else { return };
    let ours = Ours::start(AgentServer::builder());
    let socket = ours.socket();
    ssh_add(&socket, &["-q", keys.private("ed25519").to_str().unwrap()], 0);
    for (near, by_ours) in first.iter().zip([false, true]) {
        for (far, from_ours) in second.iter().zip([true, false]) {
            // On the way there is nothing to log in with but the agent.
            let line = on(far, from_ours, "-A", "ssh-add -l && echo there").replace('\'', "\"");
            let shown = run(&mut shell(&on(near, by_ours, "-A", &line), &socket), 0);
            // The user's shell may say something of its own, at any time.
            assert!(shown.contains("ED25519") && shown.lines().any(|line| line == "there"), "{shown}");
        }
    }
}

#[test]
fn a_key_that_is_held_to_its_destinations() {
    let _watch = crate::given::within(300);
    let (Some(keys), Some(host)) = (user_keys(), Keys::named("host")) else { return };
    // Two places, each with a server of each kind; the second has the user's keys as host keys.
    let (Some(here), Some(there)) = (servers(&host, &keys), servers(&keys, &keys)) else { return };
    let folder = Folder::new();
    let known = folder.file("known_hosts");
    let line = |name: &str, keys: &Keys, kind: &str| format!("{name} {}\n", keys.public(kind));
    let kinds = crate::peers::KEY_KINDS;
    let lines = kinds.iter().map(|(kind, _)| line("here", &host, kind) + &line("there", &keys, kind));
    fs::write(&known, lines.collect::<String>()).unwrap();
    let openssh = folder.file("openssh");
    let Some(_running) = super::ssh_agent(&openssh, "/bin/false") else { return };
    let ours = Ours::start(AgentServer::builder());
    for socket in [ours.socket(), openssh] {
        let hold = |destinations: &[&str]| {
            ssh_add(&socket, &["-q", "-D"], 0);
            let constraints = destinations.iter().flat_map(|one| ["-h", *one]);
            let known = known.to_str().unwrap();
            let arguments: Vec<_> = ["-q", "-H", known].into_iter().chain(constraints).collect();
            let file = keys.private("ed25519");
            ssh_add(&socket, &[&arguments[..], &[file.to_str().unwrap()]].concat(), 0);
        };
        hold(&["here"]);
        for (here, there) in here.iter().zip(&there) {
            run(&mut shell(&on(here, true, "", "true"), &socket), 0);
            run(&mut shell(&on(there, true, "", "true"), &socket), 255);
        }
        hold(&["here", "here>there"]);
        for (here, by_ours) in here.iter().zip([true, false]) {
            for (far, from_ours) in there.iter().zip([true, false]) {
                let line = on(far, from_ours, "", "echo through").replace('\'', "\"");
                let shown = run(&mut shell(&on(here, by_ours, "-A", &line), &socket), 0);
                assert!(shown.contains("through"), "{shown}");
            }
            // Back to where one is: not allowed.
            let line = on(here, true, "", "true").replace('\'', "\"");
            let output = output(&mut shell(&on(here, by_ours, "-A", &line), &socket), "");
            assert!(!output.status.success(), "{}", text(&output));
        }
    }
}
