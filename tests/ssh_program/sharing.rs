//! The background, and connections that programs of others share through ours.

use super::*;

#[test]
fn the_background_holds_a_forwarding_until_it_is_ended() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let (echo, port) = (echoing(), free_port());
    let control = host.folder.file("control").display().to_string();
    let forward = format!("{port}:127.0.0.1:{echo}");
    // Whoever reads what it prints finds the end as soon as it is in the background.
    let output = host.runs(&["-f", "-N", "-M", "-S", &control, "-L", &forward, "host"], "");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(echoes(TcpStream::connect(("127.0.0.1", port)).unwrap()));
    let check = said(&host.runs(&["-S", &control, "-O", "check", "host"], ""));
    let pid = check.trim().trim_start_matches("Master running (pid=").trim_end_matches(')').to_owned();
    assert!(is_alive(&pid), "{check}");
    // It was opened before the master was there, and clients may close it all the same.
    let cancel = host.runs(&["-S", &control, "-O", "cancel", "-L", &forward, "host"], "");
    assert_eq!(cancel.status.code(), Some(0), "{}", said(&cancel));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(host.runs(&["-S", &control, "-O", "exit", "host"], "").status.code(), Some(0));
    soon("it has ended", || !is_alive(&pid));
}

#[test]
fn what_fails_before_the_background_is_told() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = format!("127.0.0.1:{}:127.0.0.1:1", taken.local_addr().unwrap().port());
    let output = host.runs(&["-fN", "-oExitOnForwardFailure=yes", "-L", &forward, "host"], "");
    assert_eq!(output.status.code(), Some(255));
    assert!(said(&output).contains("Could not request local forwarding."), "{}", said(&output));
    let output = host.runs(&["-f", "host"], "");
    assert!(said(&output).contains("without a command"), "{}", said(&output));
    // A command in the background has our output, and no input.
    let output = host.runs(&["-f", "host", "cat; sleep 0.3; echo behind"], "unread");
    assert_eq!(answer(&output), (Some(0), "behind\n".to_owned()), "{}", said(&output));
}

#[test]
fn programs_share_one_connection() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let control = host.folder.file("control").display().to_string();
    let shared = ["-oControlMaster=auto", "-oControlPersist=60", "-S", &control];
    let ssh = |rest: &[&str], input: &str| host.runs(&[&shared, rest].concat(), input);
    for status in [0, 1, 44] {
        let output = ssh(&["host", &format!("cat; exit {status}")], "in");
        assert_eq!(answer(&output), (Some(status), "in".to_owned()), "{}", said(&output));
    }
    let echo = echoing();
    let output = ssh(&["-W", &format!("127.0.0.1:{echo}"), "host"], "through");
    assert_eq!(answer(&output), (Some(0), "through".to_owned()), "{}", said(&output));
    let output = ssh(&["-O", "proxy", "host", "exit 5"], "");
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    // OpenSSH's programs that start ours.
    let (from, to) = (host.folder.file("from"), host.folder.file("to"));
    std::fs::write(&from, "content").unwrap();
    for (name, letters) in [("scp", &["-q"][..]), ("scp", &["-q", "-O"])] {
        let Some(mut copy) = peers::command(name) else { return };
        copy.args(letters).arg("-S").arg(example("ssh")).args(["-F", &host.config()]);
        copy.arg(format!("-oControlPath={control}")).arg(&from).arg(format!("host:{}", to.display()));
        let output = peers::output(&mut copy, "");
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(std::fs::read(&to).unwrap(), b"content");
        std::fs::remove_file(&to).unwrap();
    }
    // All of it was one connection.
    assert_eq!(host.server.log().matches("Accepted publickey").count(), 1, "{}", host.server.log());
    assert_eq!(ssh(&["-O", "exit", "host"], "").status.code(), Some(0));
}

#[test]
fn a_master_that_stops_goes_with_its_last_client() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let control = host.folder.file("control").display().to_string();
    let mut master = Running::start(host.ssh(&["-M", "-N", "-S", &control, "host"]).stdin(Stdio::null()));
    soon("it listens", || std::path::Path::new(&control).exists());
    let mut ssh = host.ssh(&["-S", &control, "host", "echo runs; read x"]);
    let mut client = Running::start(ssh.stdin(Stdio::piped()).stdout(Stdio::piped()));
    let mut runs = [0; 5];
    client.0.stdout.as_mut().unwrap().read_exact(&mut runs).unwrap();
    let log = || said(&host.runs(&["-S", &control, "-O", "check", "host"], ""));
    assert!(log().starts_with("Master running"));
    assert_eq!(host.runs(&["-S", &control, "-O", "stop", "host"], "").status.code(), Some(0));
    assert!(log().contains("connecting to the master"));
    assert!(master.end(Instant::now()).is_none() && client.end(Instant::now()).is_none());
    drop(client.0.stdin.take());
    client.ended();
    assert_eq!(master.ended().code(), Some(0));
}

#[test]
fn a_session_that_the_master_has_not_is_had_elsewhere() {
    let _watch = given::within(120);
    let Some(host) = Host::start("MaxSessions 1") else { return };
    let control = host.folder.file("control").display().to_string();
    let _master = Running::start(host.ssh(&["-M", "-N", "-S", &control, "host"]).stdin(Stdio::null()));
    soon("it listens", || std::path::Path::new(&control).exists());
    let mut ssh = host.ssh(&["-S", &control, "host", "echo runs; read x"]);
    let mut client = Running::start(ssh.stdin(Stdio::piped()).stdout(Stdio::piped()));
    client.0.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
    let output = host.runs(&["-S", &control, "host", "cat; exit 4"], "elsewhere");
    assert_eq!(answer(&output), (Some(4), "elsewhere".to_owned()), "{}", said(&output));
    assert!(said(&output).contains("refused a session"), "{}", said(&output));
    // Streams that are to lead on are not: who refuses them may have a reason.
    let to = format!("127.0.0.1:{}", free_port());
    assert_eq!(host.runs(&["-S", &control, "-W", &to, "host"], "").status.code(), Some(255));
    assert_eq!(host.server.log().matches("Accepted publickey").count(), 2);
}

#[test]
fn a_lost_connection_is_told_by_who_shares_it_too() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let control = host.folder.file("control").display().to_string();
    let mut master = Running::start(host.ssh(&["-M", "-N", "-S", &control, "host"]).stdin(Stdio::null()));
    soon("it listens", || std::path::Path::new(&control).exists());
    // The server's side of the connection goes without a word.
    let output = host.runs(&["-S", &control, "host", "kill -9 $PPID; sleep 9"], "");
    assert_eq!(output.status.code(), Some(255));
    // Whoever starts it again looks at this.
    assert_eq!(master.ended().code(), Some(255));
}

#[test]
fn autossh_starts_it_again() {
    let _watch = given::within(120);
    for host in Host::both() {
        autossh_starts(&host);
    }
}

fn autossh_starts(host: &Host) {
    let Some(mut autossh) = peers::command("autossh") else { return };
    let (echo, port) = (echoing(), free_port());
    autossh.args(["-M", "0", "-N", "-F", &host.config(), "-L", &format!("{port}:127.0.0.1:{echo}"), "host"]);
    autossh.env("AUTOSSH_PATH", example("ssh")).env("AUTOSSH_GATETIME", "0").env_remove("SSH_AUTH_SOCK");
    let running = Running::start(autossh.stdin(Stdio::null()).stderr(Stdio::null()));
    assert!(echoes(connected(port)));
    let children = format!("/proc/{0}/task/{0}/children", running.0.id());
    let child = || std::fs::read_to_string(&children).unwrap().trim().to_owned();
    let first = child();
    let pid = first.parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    soon("there is another", || !child().is_empty() && child() != first);
    assert!(echoes(connected(port)));
    let second = child().parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
    drop(running);
    rustix::process::kill_process(second, rustix::process::Signal::TERM).unwrap();
}
