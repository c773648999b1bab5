//! The program `control`, which shares connections by what `ssh` shares them by.

use rustix::process::{Pid, Signal, kill_process};

use super::terminal::Terminal;
use super::*;

impl Host {
    fn control(&self) -> Command {
        let mut command = Command::new(peers::example("control"));
        command.arg("-S").arg(self.path()).arg("-i").arg(self.keys.private("ed25519"));
        command.args(["-o", "StrictHostKeyChecking=accept-new", "-o", "GlobalKnownHostsFile=none"]);
        command.arg(format!("-oUserKnownHostsFile={}", self.folder.file("known").display()));
        command.args(["-p", &self.server.port().to_string()]).env_remove("SSH_AUTH_SOCK");
        command
    }

    fn control_says(&self, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
        let output = peers::output(self.control().args(arguments), input);
        let said = said(&output);
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), said)
    }
}

#[test]
fn the_first_session_leaves_a_master_behind() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let destination = format!("{}@127.0.0.1", user());
    let (code, out, err) = host.control_says(&[&destination, "cat; echo there >&2; exit 7"], "here");
    assert_eq!((code, &*out, &*err), (Some(7), "here", "there\n"));
    let pid = host.mux().check().unwrap();
    assert_ne!(pid, std::process::id());
    assert_eq!(host.control_says(&["-O", "check"], "").2, format!("Master running (pid={pid})\r\n"));
    // The same connection again: nothing of the way to the server counts any more.
    assert_eq!(host.control_says(&["nowhere.invalid", "echo again"], "").1, "again\n");
    let (code, out, _) = host.control_says(&["-O", "conninfo"], "");
    assert!(code == Some(0) && out.contains("OpenSSH"), "{out}");
    let (code, _, err) = host.control_says(&["-O", "forward", "-L", "8000:a:1"], "");
    assert!(code == Some(255) && err.contains("not built into this master"), "{err}");
    assert_eq!(host.control_says(&["-O", "exit"], "").2, "Exit request sent.\r\n");
    soon("the master has ended", || !Path::new(&format!("/proc/{pid}")).exists());
    let (code, _, err) = host.control_says(&["-O", "check"], "");
    assert!(code == Some(255) && err.contains("connecting to the master at"), "{err}");
}

#[test]
fn a_master_nobody_uses_goes() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let destination = format!("{}@127.0.0.1", user());
    assert_eq!(host.control_says(&["-P", "2", &destination, "exit 3"], "").0, Some(3));
    soon("the master has gone", || !host.path().exists());
    // So does one that is ended by a signal.
    assert_eq!(host.control_says(&[&destination, "exit 4"], "").0, Some(4));
    let pid = host.mux().check().unwrap().try_into().ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    soon("the master has gone", || !host.path().exists());
    // One that cannot connect leaves nothing, and says why.
    let (code, _, err) =
        host.control_says(&["-p", &peers::free_port().to_string(), &destination, "true"], "");
    assert!(code == Some(255) && err.contains("refused"), "{err}");
    assert!(!host.path().exists());
}

#[test]
fn a_terminal_and_orders_over_openssh() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let Some(mut master) = host.openssh_master() else { return };
    let (mut terminal, far) = Terminal::open(80, 24);
    let mut control = Command::new("setsid");
    control.args(["-c", "-w"]).arg(peers::example("control")).arg("-S").arg(host.path());
    control.args(["-t", "host"]).env("TERM", "vt100");
    control.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far.try_clone().unwrap());
    let mut running = Running::start(&mut control);
    drop(control);
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
    assert_eq!(host.control_says(&["-O", "forward", "-L", &forward], "").0, Some(0));
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(host.control_says(&["-O", "cancel", "-L", &forward], "").0, Some(0));
    assert_eq!(host.control_says(&["-O", "stop"], "").2, "Stop listening request sent.\r\n");
    assert!(!host.path().exists());
    master.0.kill().unwrap();
}

#[test]
fn openssh_has_a_terminal_over_the_program() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let destination = format!("{}@127.0.0.1", user());
    assert_eq!(host.control_says(&[&destination, "true"], "").0, Some(0));
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
    assert_eq!(host.control_says(&["-O", "exit"], "").0, Some(0));
}
