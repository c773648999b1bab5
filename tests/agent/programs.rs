//! `ssh_agent` and `ssh_add`, with each other and with OpenSSH's.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;

use rustix::process::{Pid, Signal, kill_process};

use super::peers::example;
use super::*;

fn our_add(socket: &Path, arguments: &[&str], status: i32) -> String {
    run(with_agent(example("ssh_add"), socket).args(arguments), status)
}

/// A private key that its passphrase `secret` protects.
fn encrypted(folder: &Folder, keys: &Keys) -> String {
    let file = folder.file("encrypted");
    let key = PKey::from_file(keys.private("ecdsa256"), None).unwrap();
    key.write_private_key_file(&file, Some(&Secret::from("secret"))).unwrap();
    file.to_str().unwrap().to_owned()
}

/// What `ssh_add` does with an agent, whoever's it is.
fn add_everything(keys: &Keys, socket: &Path) {
    let folder = Folder::new();
    assert_eq!(our_add(socket, &["-l"], 1), "The agent has no identities.\n");
    for (kind, _) in KEY_KINDS {
        let file = path(keys, kind);
        let said = our_add(socket, &[&file], 0);
        assert_eq!(said, format!("Identity added: {file} (feramiko test)\n"));
        our_add(socket, &["-T", &format!("{file}.pub")], 0);
    }
    // Both programs say the same.
    for arguments in [&["-l"][..], &["-L"], &["-l", "-E", "md5"]] {
        assert_eq!(our_add(socket, arguments, 0), ssh_add(socket, arguments, 0), "{arguments:?}");
    }
    let said = our_add(socket, &["-d", &path(keys, "rsa")], 0);
    assert!(said.starts_with("Identity removed: ") && said.contains(" RSA ("), "{said}");
    let said = our_add(socket, &["-d", &path(keys, "rsa")], 1);
    assert!(said.contains("Could not remove identity"), "{said}");
    our_add(socket, &["-T", &format!("{}.pub", path(keys, "rsa"))], 1);

    assert_eq!(our_add(socket, &["-x"], 0), "Agent locked.\n");
    our_add(socket, &["-l"], 1);
    our_add(socket, &["-x"], 1);
    assert_eq!(our_add(socket, &["-X"], 0), "Agent unlocked.\n");
    assert_eq!(our_add(socket, &["-l"], 0).lines().count(), KEY_KINDS.len() - 1);
    assert_eq!(our_add(socket, &["-D"], 0), "All identities removed.\n");
    assert_eq!(our_add(socket, &["-q", "-D"], 0), "");

    let said = our_add(socket, &["-t", "1h", &encrypted(&folder, keys)], 0);
    assert!(said.ends_with("Lifetime set to 3600 seconds\n"), "{said}");
    let said = our_add(socket, &["-t", "1", &path(keys, "ed25519"), "/nonexistent"], 1);
    assert!(said.contains("/nonexistent"), "{said}");
    soon("the key expires", || our_add(socket, &["-l"], 0).lines().count() == 1);
    our_add(socket, &["-D"], 0);
}

#[test]
fn our_ssh_add_with_the_agent_of_openssh() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let folder = Folder::new();
    let socket = folder.file("agent");
    let Some(_running) = ssh_agent(&socket, "/bin/false") else { return };
    add_everything(&keys, &socket);
    let said = our_add(&socket, &["-c", &path(&keys, "ed25519")], 0);
    assert!(said.ends_with("The user must confirm each use of the key\n"), "{said}");
    our_add(&socket, &["-T", &format!("{}.pub", path(&keys, "ed25519"))], 1);
}

#[test]
fn our_ssh_add_with_our_agent() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let ours = Ours::start(AgentServer::builder());
    add_everything(&keys, &ours.socket());
}

#[test]
fn our_ssh_add_takes_the_usual_keys_and_destinations() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let ours = Ours::start(AgentServer::builder());
    let (socket, home) = (ours.socket(), Folder::new());
    let at_home = |arguments: &[&str], status| {
        run(with_agent(example("ssh_add"), &socket).env("HOME", home.path()).args(arguments), status)
    };
    assert_eq!(at_home(&[], 1), "", "there are none");
    fs::create_dir(home.file(".ssh")).unwrap();
    for (from, to) in [("rsa", "id_rsa"), ("ed25519", "id_ed25519")] {
        fs::copy(keys.private(from), home.file(".ssh").join(to)).unwrap();
    }
    at_home(&["-q"], 0);
    assert_eq!(our_add(&socket, &["-l"], 0).lines().count(), 2);
    at_home(&["-q", "-d"], 0);
    our_add(&socket, &["-l"], 1);

    let said = at_home(&["-h", "somewhere"], 1);
    assert!(said.contains("no host key of it is known"), "{said}");
    fs::write(home.file(".ssh/known_hosts"), format!("somewhere {}\n", keys.public("rsa"))).unwrap();
    at_home(&["-q", "-h", "me@somewhere", "-h", "somewhere>somewhere"], 0);
    our_add(&socket, &["-T", home.file(".ssh/id_rsa").to_str().unwrap()], 1);
    our_add(&socket, &["-q", "-D"], 0);

    // An authority is as good as a key, for the hosts that it signs for.
    let line = format!("@cert-authority *.example.org {}\n", keys.public("ed25519"));
    fs::write(home.file("authorities"), line).unwrap();
    let at = |host: &str, status| {
        let known = home.file("authorities");
        at_home(&["-q", "-H", known.to_str().unwrap(), "-h", host], status)
    };
    assert!(at("www.example.com", 1).contains("no host key of it is known"));
    at("www.example.org", 0);
    assert_eq!(our_add(&socket, &["-l"], 0).lines().count(), 2);
}

/// As OpenSSH's says it, and with its certificate beside it.
#[test]
fn our_ssh_add_takes_the_certificate_along() {
    let Some(keys) = user_keys() else { return };
    let folder = Folder::new();
    let socket = folder.file("agent");
    let Some(_running) = ssh_agent(&socket, "/bin/false") else { return };
    let key = PKey::from_file(keys.private("ed25519"), None).unwrap();
    let builder = feramiko::CertificateBuilder::user(key.public_key()).key_id("me");
    let certificate = builder.sign(&PKey::from_file(keys.private("rsa"), None).unwrap()).unwrap();
    fs::copy(keys.private("ed25519"), folder.file("id")).unwrap();
    fs::write(folder.file("id-cert.pub"), certificate.to_line() + " certified").unwrap();
    let file = folder.file("id").to_str().unwrap().to_owned();
    for arguments in [&["-t", "1h", "-c", &file][..], &["-k", &file], &["-q", &file], &["-d", &file], &["-l"]]
    {
        let status = i32::from(arguments == ["-l"]);
        let theirs = ssh_add(&socket, arguments, status);
        if arguments.contains(&"-d") {
            ssh_add(&socket, &["-q", &file], 0);
        }
        // Theirs prints no comment of a private key's file.
        assert_eq!(our_add(&socket, arguments, status), theirs.replace("no comment", "feramiko test"));
    }
    our_add(&socket, &["-q", &file], 0);
    our_add(&socket, &["-q", "-k", "-d", &file], 0);
    assert!(our_add(&socket, &["-l"], 0).ends_with("(ED25519-CERT)\n"));
    let said = our_add(&socket, &["-d", &file], 0);
    assert!(
        said.contains("Could not remove identity") && said.contains("-cert.pub ED25519-CERT (certified)")
    );
    our_add(&socket, &["-d", &file], 1);
}

#[test]
fn nobody_listens_to_our_ssh_add() {
    let ours = Ours::start(AgentServer::builder());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = with_agent(example("ssh_add"), &ours.socket()).arg("-l").stdout(writer).output().unwrap();
    assert_eq!((output.status.signal(), &output.stderr[..]), (Some(Signal::PIPE.as_raw()), &b""[..]));
}

#[test]
fn statuses_of_our_ssh_add() {
    let _watch = given::within(300);
    let nowhere = Path::new("/nonexistent/agent");
    let said = our_add(nowhere, &["-l"], 2);
    assert_eq!(said, "Could not open a connection to your authentication agent.\n");
    for (arguments, words) in [
        (&["-z"][..], "usage: "),
        (&["-l", "-D"], "Invalid combination of actions"),
        (&["-E"], "option requires an argument"),
    ] {
        let said = our_add(nowhere, arguments, 1);
        assert!(said.contains(words), "{said}");
    }
    let ours = Ours::start(AgentServer::builder());
    assert!(our_add(&ours.socket(), &["-E", "foo", "-l"], 255).contains("Invalid hash algorithm \"foo\""));
    for (arguments, words) in [
        (&["-T"][..], "no keys to test"),
        (&["-t", "soon"], "Invalid lifetime"),
        (&["-s", "token"], "not built"),
    ] {
        let said = our_add(&ours.socket(), arguments, 1);
        assert!(said.contains(words), "{said}");
    }
}

fn our_agent(arguments: &[&str]) -> Command {
    let mut command = Command::new(example("ssh_agent"));
    command.args(arguments).stdin(Stdio::null()).env("SHELL", "/bin/sh");
    command.env_remove("SSH_AUTH_SOCK").env_remove("SSH_AGENT_PID");
    command
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The value behind `name` and a space or `=`, up to the `;`.
fn value(text: &str, name: &str) -> String {
    let (_, after) = text.split_once(name).unwrap_or_else(|| panic!("no {name} in {text}"));
    after[1..].split(';').next().unwrap().to_owned()
}

/// An agent that is no child of ours, ended with the test.
struct Background(Pid);

impl Background {
    /// Whether its number is still its own.
    fn runs(&self) -> bool {
        let program = fs::read_link(format!("/proc/{}/exe", self.0.as_raw_nonzero()));
        program.is_ok_and(|program| program.ends_with("ssh_agent"))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.runs() {
            let _ = kill_process(self.0, Signal::TERM);
        }
    }
}

#[test]
fn our_ssh_agent_in_the_background() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    for (arguments, set, unset) in [(&["-s"][..], "export", "unset "), (&["-c"], "setenv", "unsetenv ")] {
        let said = run(&mut our_agent(arguments), 0);
        assert!(said.contains(set), "{said}");
        let (socket, agent) = (value(&said, "SSH_AUTH_SOCK"), value(&said, "SSH_AGENT_PID"));
        let (socket, number) = (PathBuf::from(socket), agent.parse::<i32>().unwrap());
        let running = Background(Pid::from_raw(number).unwrap());
        assert!(said.ends_with(&format!("echo Agent pid {agent};\n")), "{said}");
        assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
        ssh_add(&socket, &["-q", &path(&keys, "ed25519")], 0);
        our_add(&socket, &["-T", &path(&keys, "ed25519")], 0);
        // It asks its user by what SSH_ASKPASS named when it was started: nothing here.
        ssh_add(&socket, &["-q", "-c", &path(&keys, "rsa")], 0);
        our_add(&socket, &["-T", &path(&keys, "rsa")], 1);
        // All keys go.
        kill_process(running.0, Signal::USR1).unwrap();
        soon("the keys go", || output(with_agent("ssh-add", &socket).arg("-l"), "").status.code() == Some(1));
        let said = run(our_agent(arguments).arg("-k").env("SSH_AGENT_PID", &agent), 0);
        assert!(said.contains(&format!("{unset}SSH_AUTH_SOCK;")), "{said}");
        soon("the socket goes", || !socket.parent().unwrap().exists());
        // Whoever has taken it over may not have waited for it yet: then it is no program any more.
        soon("the agent goes", || !running.runs());
    }
}

#[test]
fn our_ssh_agent_with_a_command() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let script = format!(
        "ssh-add -q {} && ssh-add -l >&2; echo \"$SSH_AUTH_SOCK\"; kill -0 $SSH_AGENT_PID && exit 7",
        path(&keys, "ed25519")
    );
    let output = output(&mut our_agent(&["sh", "-c", &script]), "");
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    assert!(String::from_utf8_lossy(&output.stderr).contains("(ED25519)"));
    let socket = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    assert!(!socket.exists() && !socket.parent().unwrap().exists());

    run(&mut our_agent(&["sh", "-c", "kill -TERM $$"]), 128 + 15);
    let said = run(&mut our_agent(&["/nonexistent/command"]), 1);
    assert!(said.contains("/nonexistent/command"), "{said}");

    // A signal ends the agent and leaves the command.
    let script = "kill -TERM $SSH_AGENT_PID; while [ -e $SSH_AUTH_SOCK ]; do :; done; exit 3";
    run(&mut our_agent(&["sh", "-c", script]), 3);
}

/// The agent in the foreground, and its first line.
fn in_foreground(arguments: &[&str], askpass: &str) -> (Running, String) {
    let mut command = our_agent(arguments);
    command.env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
    let mut running = Running::start(command.stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (running, line)
}

#[test]
fn our_ssh_agent_in_the_foreground() {
    let _watch = given::within(300);
    let Some(keys) = user_keys() else { return };
    let folder = Folder::new();
    let socket = folder.file("a socket");
    let place = socket.to_str().unwrap();
    for (signal, askpass, signs) in
        [(Signal::TERM, "/bin/true", 0), (Signal::HUP, "/bin/false", 1), (Signal::INT, "/bin/echo", 1)]
    {
        let (mut running, line) = in_foreground(&["-D", "-a", place, "-t", "1h"], askpass);
        assert_eq!(line, format!("SSH_AUTH_SOCK='{place}'; export SSH_AUTH_SOCK;\n"));
        // A second one does not take the place of the first.
        run(&mut our_agent(&["-a", place]), 1);
        our_add(&socket, &["-q", "-c", &path(&keys, "ed25519")], 0);
        our_add(&socket, &["-T", &path(&keys, "ed25519")], signs);
        let number = i32::try_from(running.0.id()).unwrap();
        kill_process(Pid::from_raw(number).unwrap(), signal).unwrap();
        assert_eq!(running.ended().code(), Some(2));
        assert!(!socket.exists());
    }
    let (_running, _) = in_foreground(&["-D", "-a", place, "-t", "1"], "/bin/false");
    our_add(&socket, &["-q", &path(&keys, "ed25519")], 0);
    soon("the key expires", || output(with_agent("ssh-add", &socket).arg("-l"), "").status.code() == Some(1));
}

#[test]
fn ssh_logs_in_by_our_ssh_agent() {
    let _watch = given::within(300);
    let (Some(keys), Some(hosts)) = (user_keys(), Keys::named("host")) else { return };
    let (Some(server), folder) = (sshd(&hosts, &keys, ""), Folder::new()) else { return };
    let socket = folder.file("socket");
    let (mut running, _) = in_foreground(&["-D", "-a", socket.to_str().unwrap()], "/bin/false");
    for kind in ["ed25519", "ecdsa256", "rsa"] {
        let public = public_file(&folder, &keys, kind);
        run(ssh(&server, &socket, &public).arg("true"), 255);
        ssh_add(&socket, &["-q", &path(&keys, kind)], 0);
        run(ssh(&server, &socket, &public).arg("true"), 0);
    }
    ssh_add(&socket, &["-q", "-D"], 0);
    // Asked for, and refused: nobody confirms.
    ssh_add(&socket, &["-q", "-c", &path(&keys, "rsa")], 0);
    run(ssh(&server, &socket, &public_file(&folder, &keys, "rsa")).arg("true"), 255);
    let number = i32::try_from(running.0.id()).unwrap();
    kill_process(Pid::from_raw(number).unwrap(), Signal::TERM).unwrap();
    running.ended();
}

#[test]
fn statuses_of_our_ssh_agent() {
    let _watch = given::within(300);
    for (arguments, words) in [
        (&["-z"][..], "unknown option"),
        (&["-c", "-s"], "usage: "),
        (&["-D", "-d"], "usage: "),
        (&["-D", "true"], "usage: "),
        (&["-t", "soon"], "no time"),
        (&["-k"], "SSH_AGENT_PID not set"),
        (&["-a", "/nonexistent/agent"], "cannot listen on"),
    ] {
        let said = run(&mut our_agent(arguments), 1);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    for bad in ["", "1", "0", "-1", "x", "99999999999"] {
        let said = run(our_agent(&["-k"]).env("SSH_AGENT_PID", bad), 1);
        assert!(said.contains("not a good PID"), "{said}");
    }
}
