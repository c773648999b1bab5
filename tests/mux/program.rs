//! The program `ssh`: ControlMaster, ControlPersist, `-O`.

use rustix::process::{Pid, Signal, kill_process};

use super::terminal::Terminal;
use super::*;

impl Host {
    /// Ours, that shares connections and holds them for so long.
    fn sharing(&self, persist: &str) -> Command {
        let mut command = Command::new(peers::example("ssh"));
        command.args(["-F", "none", "-o", "ControlMaster=auto", "-S"]).arg(self.path());
        command.arg(format!("-oControlPersist={persist}")).arg("-i").arg(self.keys.private("ed25519"));
        command.args(["-o", "StrictHostKeyChecking=accept-new", "-o", "GlobalKnownHostsFile=none"]);
        command.arg(format!("-oUserKnownHostsFile={}", self.folder.file("known").display()));
        command.args(["-o", "IdentitiesOnly=yes", "-p", &self.server.port().to_string()]);
        command.env_remove("SSH_AUTH_SOCK");
        command
    }

    fn sharing_says(&self, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
        self.says_of("600", arguments, input)
    }

    fn says_of(&self, persist: &str, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
        let output = peers::output(self.sharing(persist).args(arguments), input);
        let said = said(&output);
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), said)
    }
}

#[test]
fn the_first_session_leaves_a_master_behind() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let destination = format!("{}@127.0.0.1", user());
    let (code, out, err) = host.sharing_says(&[&destination, "cat; echo there >&2; exit 7"], "here");
    assert_eq!((code, &*out, &*err), (Some(7), "here", "there\n"));
    let pid = host.mux().check().unwrap();
    assert_ne!(pid, std::process::id());
    assert_eq!(host.sharing_says(&["-O", "check", "host"], "").2, format!("Master running (pid={pid})\r\n"));
    // The same connection again: nothing of the way to the server counts any more.
    assert_eq!(host.sharing_says(&["nowhere.invalid", "echo again"], "").1, "again\n");
    let (code, out, _) = host.sharing_says(&["-O", "conninfo", "host"], "");
    assert!(code == Some(0) && out.contains("OpenSSH"), "{out}");
    forwards_through(&host);
    assert_eq!(host.sharing_says(&["-O", "exit", "host"], "").2, "Exit request sent.\r\n");
    soon("the master has ended", || !Path::new(&format!("/proc/{pid}")).exists());
    let (code, _, err) = host.sharing_says(&["-O", "check", "host"], "");
    assert!(code == Some(255) && err.contains("connecting to the master at"), "{err}");
}

/// Opens a forwarding on a master of ours, uses it and closes it.
fn forwards_through(host: &Host) {
    let port = peers::free_port();
    let Endpoint::Tcp { port: to, .. } = echoing() else { return };
    let forward = format!("{port}:127.0.0.1:{to}");
    assert_eq!(host.sharing_says(&["-O", "forward", "-L", &forward, "host"], "").0, Some(0));
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(host.sharing_says(&["-O", "cancel", "-L", &forward, "host"], "").0, Some(0));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    let (code, _, err) = host.sharing_says(&["-O", "cancel", "-L", &forward, "host"], "");
    assert!(code == Some(255) && err.contains("port not forwarded"), "{err}");
    let (code, out, _) =
        host.sharing_says(&["-O", "forward", "-R", &format!("0:127.0.0.1:{to}"), "host"], "");
    let chosen: u16 = out.trim().parse().unwrap();
    assert!(code == Some(0) && std::net::TcpStream::connect(("127.0.0.1", chosen)).is_ok());
}

#[test]
fn a_master_nobody_uses_goes() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let destination = format!("{}@127.0.0.1", user());
    assert_eq!(host.says_of("2", &[&destination, "exit 3"], "").0, Some(3));
    soon("the master has gone", || !host.path().exists());
    // So does one that is ended by a signal.
    assert_eq!(host.sharing_says(&[&destination, "exit 4"], "").0, Some(4));
    let pid = host.mux().check().unwrap().try_into().ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    soon("the master has gone", || !host.path().exists());
    // One that cannot connect leaves nothing, and says why.
    let (code, _, err) = host.sharing_says(
        &["-oHostName=127.0.0.2", "-oConnectTimeout=5", "-oHostKeyAlgorithms=ssh-dss", &destination],
        "",
    );
    assert!(code == Some(255) && !err.is_empty(), "{err}");
    assert!(!host.path().exists());
}

#[test]
fn a_terminal_and_orders_over_openssh() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let Some(mut master) = host.openssh_master() else { return };
    let (mut terminal, far) = Terminal::open(80, 24);
    let mut ssh = Command::new("setsid");
    ssh.args(["-c", "-w"]).arg(peers::example("ssh")).args(["-F", "none", "-S"]).arg(host.path());
    ssh.args(["-t", "host"]).env("TERM", "vt100");
    ssh.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far.try_clone().unwrap());
    let mut running = Running::start(&mut ssh);
    drop(ssh);
    terminal.types("stty size; echo $TERM\n");
    terminal.shows("24 80");
    terminal.shows("vt100");
    terminal.resize(132, 50);
    // The size is told when the signal has come through two programs.
    let asked = Instant::now();
    while !terminal.shows_within(Duration::from_millis(200), "50 132") {
        assert!(asked.elapsed() < PATIENCE, "the size does not change");
        terminal.types("stty size\n");
    }
    terminal.types("exit 5\n");
    assert_eq!(running.ended().code(), Some(5));
    drop(far);
    assert!(terminal.shows_all().contains("Shared connection to host closed."));

    let port = peers::free_port();
    let Endpoint::Tcp { port: to, .. } = echoing() else { return };
    let forward = format!("{port}:127.0.0.1:{to}");
    assert_eq!(host.sharing_says(&["-O", "forward", "-L", &forward, "host"], "").0, Some(0));
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(host.sharing_says(&["-O", "cancel", "-L", &forward, "host"], "").0, Some(0));
    assert_eq!(host.sharing_says(&["-O", "stop", "host"], "").2, "Stop listening request sent.\r\n");
    assert!(!host.path().exists());
    master.0.kill().unwrap();
}

#[test]
fn openssh_has_a_terminal_over_the_program() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let destination = format!("{}@127.0.0.1", user());
    assert_eq!(host.sharing_says(&[&destination, "true"], "").0, Some(0));
    let Some(ssh) = host.ssh() else { return };
    let (mut terminal, far) = Terminal::open(80, 24);
    // The signal of a change goes to whoever has the terminal, and from there to the master.
    let mut command = Command::new("setsid");
    command.args(["-c", "-w"]).arg(ssh.get_program()).args(ssh.get_args()).args(["-tt", "host"]);
    command.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far);
    let mut running = Running::start(&mut command);
    drop(command);
    terminal.types("stty size\n");
    terminal.shows("24 80");
    terminal.resize(132, 50);
    let asked = Instant::now();
    while !terminal.shows_within(Duration::from_millis(200), "50 132") {
        assert!(asked.elapsed() < PATIENCE, "the size does not change");
        terminal.types("stty size\n");
    }
    terminal.types("exit 6\n");
    assert_eq!(running.ended().code(), Some(6));
    assert_eq!(host.sharing_says(&["-O", "exit", "host"], "").0, Some(0));
}

/// `scp` and `sftp` go over a master of OpenSSH's, whatever the way to the server is; a master of ours passes no
/// packets on, and they connect.
#[test]
fn files_are_copied_over_a_shared_connection() {
    let _watch = given::within(60);
    let Some(host) = Host::start() else { return };
    let Some(master) = host.openssh_master() else { return };
    let (from, to) = (host.folder.file("from"), host.folder.file("to"));
    std::fs::write(&from, "contents").unwrap();
    let (from, to) = (from.display(), to.display());
    let copy = |name: &str, more: &[&str], destination: &str| {
        let mut command = Command::new(peers::example(name));
        command.args(["-q", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new"]);
        command.arg(format!("-oControlPath={}", host.path().display())).args(more);
        command.arg(format!("-oUserKnownHostsFile={}", host.folder.file("known").display()));
        command.env_remove("SSH_AUTH_SOCK");
        let output = if name == "scp" {
            peers::output(command.arg(from.to_string()).arg(format!("{destination}:{to}")), "")
        } else {
            peers::output(command.args(["-b", "-", destination]), format!("put {from} {to}\n"))
        };
        let copied = std::fs::read_to_string(to.to_string()).is_ok_and(|found| found == "contents");
        let _ = std::fs::remove_file(to.to_string());
        assert_eq!(copied, output.status.success(), "{name} {more:?}: {}", said(&output));
        copied
    };
    for (name, more) in [("scp", &[][..]), ("scp", &["-O"]), ("sftp", &[])] {
        assert!(copy(name, more, "nowhere.invalid"), "{name}");
    }
    drop(master);
    let (_client, _ours) = host.our_master(feramiko::ControlMaster::builder());
    let (port, key) = (host.server.port().to_string(), host.keys.private("ed25519").display().to_string());
    let way = ["-P", &port, "-i", &key, "-o", "IdentitiesOnly=yes"];
    for name in ["scp", "sftp"] {
        assert!(!copy(name, &[], "nowhere.invalid"), "{name}");
        assert!(copy(name, &way, &format!("{}@127.0.0.1", user())), "{name}");
    }
}

/// Sessions of a connection that is shared have a display where both its master and they want one.
#[test]
fn displays_are_forwarded_over_a_shared_connection() {
    let _watch = given::within(60);
    if require("xauth", program("xauth")).is_none() {
        return;
    }
    let (Some(server), Some(keys)) = (Keys::named("host"), Keys::named("user")) else { return };
    let Some(server) = sshd(&server, &keys, "X11Forwarding yes") else { return };
    let host = Host { server, folder: Folder::new(), keys };
    let shown = |command: &mut Command, letter: &str| {
        command
            .args([letter, "host", "echo [$DISPLAY]"])
            .env("DISPLAY", ":77")
            .env("XAUTHORITY", "/dev/null");
        let output = peers::output(command, "");
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let forwarded = |text: &str| text.starts_with("[localhost:") && text.len() > 13;
    {
        let display = feramiko::X11Options::new(":77").unwrap().trusted(true).authority("/dev/null");
        let builder = feramiko::ControlMaster::builder();
        let (_client, _master) =
            host.our_master(builder.forward_x11(move |channel| channel.request_x11(&display)));
        let Some(mut theirs) = host.ssh() else { return };
        let text = shown(&mut theirs, "-Y");
        assert!(forwarded(&text), "{text}");
        let text = shown(&mut host.ssh().unwrap(), "-x");
        assert_eq!(text, "[]\n");
        let text = shown(&mut host.sharing("no"), "-Y");
        assert!(forwarded(&text), "{text}");
    }
    let Some(mut master) = host.openssh("ssh") else { return };
    master.args(["-M", "-N", "-Y", "-p", &host.server.port().to_string()]).env("DISPLAY", ":77");
    master.arg(format!("{}@127.0.0.1", user())).env("XAUTHORITY", "/dev/null").stdin(Stdio::null());
    let _master = Running::start(&mut master);
    soon("the master listens", || host.path().exists());
    let text = shown(&mut host.sharing("no"), "-Y");
    assert!(forwarded(&text), "{text}");
    assert_eq!(shown(&mut host.sharing("no"), "-x"), "[]\n");
}
