//! Our master, and OpenSSH's client on it.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use feramiko::{
    ControlMaster, ControlMasterBuilder, Error, ExitStatus, ForwardKind, ForwardRequest, Forwards, MasterEnd,
    SSHClient,
};

use super::terminal::Terminal;
use super::*;

impl Host {
    pub(crate) fn our_master(&self, builder: ControlMasterBuilder) -> (SSHClient, ControlMaster) {
        let client = self.client();
        let master = builder.serve(client.transport(), self.path()).unwrap();
        (client, master)
    }

    /// OpenSSH's `ssh`, that can come to a server by the master only.
    pub(crate) fn ssh(&self) -> Option<Command> {
        let mut command = self.openssh("ssh")?;
        command.args(["-o", "ProxyCommand=false"]);
        Some(command)
    }

    fn ssh_runs(&self, arguments: &[&str], input: &str) -> Option<Output> {
        Some(peers::output(self.ssh()?.args(arguments), input))
    }
}

#[test]
fn openssh_runs_commands_over_our_master() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let (_client, master) = host.our_master(ControlMaster::builder().send_env("SHARED_*"));
    assert_eq!(std::fs::metadata(host.path()).unwrap().permissions().mode() & 0o777, 0o600);

    let Some(output) = host.ssh_runs(&["-O", "check", "host"], "") else { return };
    assert_eq!(said(&output).trim(), format!("Master running (pid={})", std::process::id()));
    let run = |arguments: &[&str], input: &str| {
        let output = host.ssh_runs(arguments, input).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = run(&["host", "cat; echo there >&2; exit 7"], "here");
    assert_eq!((code, &*out, &*err), (Some(7), "here", "there\n"));
    // No input, a shell, a command that a signal ends, one that does not exist.
    assert_eq!(run(&["-n", "host", "cat; echo done"], "unread").1, "done\n");
    assert_eq!(run(&["-T", "host"], "echo $((6 * 7)); exit 4"), (Some(4), "42\n".into(), String::new()));
    assert_eq!(run(&["host", "kill -9 $$"], "").0, Some(255));
    assert_eq!(run(&["host", "/no/such/command"], "").0, Some(127));
    let (code, _, err) = run(&["-s", "host", "nowhere"], "");
    assert_eq!(code, Some(255));
    assert!(err.contains("subsystem request failed on channel"), "{err}");
    // Nobody reads: the command ends and its status is told.
    let (code, ..) = run(&["host", "head -c 3000000 /dev/zero >&2; exit 5"], "");
    assert_eq!(code, Some(5));
    let variables = ["-oSetEnv=SHARED_A=1", "host", "echo $SHARED_A"];
    assert_eq!(run(&variables, "").1, "1\n");
    assert_eq!(run(&["-oSetEnv=OTHER_A=1", "host", "echo $OTHER_A"], "").1, "\n");

    let data: String = (0..400_000).map(|number| format!("{number:x} ")).collect();
    assert!(run(&["host", "cat"], &data).1 == data);
    soon("the clients have gone", || master.clients() == 0);
}

#[test]
fn ten_sessions_at_once_and_files_over_our_master() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let (_client, _master) = host.our_master(ControlMaster::builder());
    let Some(sftp) = host.openssh("sftp") else { return };
    drop(sftp);
    thread::scope(|scope| {
        for number in 0..10 {
            let host = &host;
            scope.spawn(move || {
                let command = format!("cat; sleep 0.2; exit {number}");
                let output = host.ssh_runs(&["host", &command], "x").unwrap();
                assert_eq!((output.status.code(), &*output.stdout), (Some(number), &b"x"[..]));
            });
        }
    });
    let (here, there) = (host.folder.file("here"), host.folder.file("there"));
    std::fs::write(&here, vec![7; 3_000_000]).unwrap();
    let mut sftp = host.openssh("sftp").unwrap();
    sftp.args(["-o", "ProxyCommand=false", "-b", "-", "host"]);
    let batch = format!("put {} {}\n", here.display(), there.display());
    let output = peers::output(&mut sftp, batch);
    assert!(output.status.success(), "{}", said(&output));
    assert!(std::fs::read(&there).unwrap() == std::fs::read(&here).unwrap());
    let mut scp = host.openssh("scp").unwrap();
    scp.args(["-q", "-o", "ProxyCommand=false"]).arg(format!("host:{}", there.display()));
    let output = peers::output(scp.arg(host.folder.file("back")), "");
    assert!(output.status.success(), "{}", said(&output));
    assert!(std::fs::read(host.folder.file("back")).unwrap().len() == 3_000_000);
}

#[test]
fn openssh_has_a_terminal_over_our_master() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let (_client, master) = host.our_master(ControlMaster::builder());
    let Some(mut ssh) = host.ssh() else { return };
    let (mut terminal, far) = Terminal::open(80, 24);
    ssh.args(["-tt", "host"]).env("TERM", "vt100");
    ssh.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far);
    let mut running = Running::start(&mut ssh);
    drop(ssh);
    terminal.types("stty size; echo $TERM\n");
    terminal.shows("24 80");
    terminal.shows("vt100");
    terminal.resize(132, 50);
    master.resized();
    terminal.types("stty size\n");
    terminal.shows("50 132");
    // What is typed to the master.
    terminal.types("\r~?");
    terminal.shows("Supported escape sequences");
    terminal.types("\r~.");
    assert_eq!(running.ended().code(), Some(255));
}

#[test]
fn streams_lead_to_a_host_over_our_master() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let (_client, _master) = host.our_master(ControlMaster::builder());
    let to = echoing();
    assert_eq!(host.by_streams(&to), b"hello");
    let Some(output) = host.ssh_runs(&["-W", &to.to_string(), "host"], "hello") else { return };
    assert_eq!(output.stdout, b"hello");
    // A UNIX socket, and nobody there.
    let path = host.folder.file("echo");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        std::io::copy(&mut &stream, &mut &stream).unwrap();
    });
    assert_eq!(host.by_streams(&Endpoint::unix(path.as_os_str().as_encoded_bytes())), b"hello");
    let nowhere = Endpoint::tcp("127.0.0.1", peers::free_port());
    let refused = host.mux().stdio_forward(&nowhere, null(), null()).unwrap_err();
    assert!(refused.to_string().contains("Session open refused by peer"), "{refused}");
}

/// Forwards nothing, and keeps what it was asked.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<String>>>);

impl Forwards for Noted {
    fn open(&self, request: &ForwardRequest) -> feramiko::Result<Option<u16>> {
        self.0.lock().unwrap().push(format!("+{request}"));
        match &request.listen {
            Endpoint::Tcp { port: 1, .. } => Err(Error::Unsupported("port 1".into())),
            Endpoint::Tcp { port: 0, .. } => Ok(Some(4711)),
            _ => Ok(None),
        }
    }

    fn close(&self, request: &ForwardRequest) -> feramiko::Result<()> {
        self.0.lock().unwrap().push(format!("-{request}"));
        Ok(())
    }
}

#[test]
fn forwardings_are_asked_of_our_master() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let noted = Noted::default();
    let (_client, _master) = host.our_master(ControlMaster::builder().forwards(noted.clone()));
    let Some(output) = host.ssh_runs(&["-O", "forward", "-L", "8000:a:1", "host"], "") else { return };
    assert!(output.status.success(), "{}", said(&output));
    let all = |arguments: &[&str]| {
        let output = host.ssh_runs(arguments, "").unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), said(&output))
    };
    // Opened already: the same again is no other.
    assert_eq!(all(&["-O", "forward", "-L", "8000:a:1", "host"]).0, Some(0));
    assert_eq!(all(&["-O", "forward", "-L", "*:8001:a:1", "host"]).0, Some(0));
    assert_eq!(all(&["-O", "forward", "-D", "8002", "host"]).0, Some(0));
    assert_eq!(all(&["-O", "forward", "-R", "0:b:2", "host"]).1, "4711\n");
    assert_eq!(all(&["-O", "forward", "-R", "8003", "host"]).0, Some(0));
    assert_eq!(all(&["-O", "forward", "-L", "/a/b:/c/d", "host"]).0, Some(0));
    assert!(all(&["-O", "forward", "-L", "1:a:1", "host"]).2.contains("not supported: port 1"));
    assert_eq!(all(&["-O", "cancel", "-L", "8000:a:1", "host"]).0, Some(0));
    assert!(all(&["-O", "cancel", "-L", "8000:a:1", "host"]).2.contains("port not forwarded"));
    let noted = noted.0.lock().unwrap().clone();
    assert_eq!(
        noted,
        [
            "+local forward localhost:8000 -> a:1",
            "+local forward :8001 -> a:1",
            "+local forward localhost:8002 -> *",
            "+remote forward localhost:0 -> b:2",
            "+remote forward localhost:8003 -> *",
            "+local forward /a/b -> /c/d",
            "+local forward localhost:1 -> a:1",
            "-local forward localhost:8000 -> a:1",
        ]
    );
    // There is a limit.
    let mut mux = host.mux();
    let many = |port| ForwardRequest { kind: ForwardKind::Local, listen: Endpoint::tcp("", port), to: None };
    let refused = (10_000..12_000).find_map(|port| mux.forward(&many(port)).err()).unwrap();
    assert!(refused.to_string().contains("too many forwardings"), "{refused}");
    mux.cancel_forward(&many(10_000)).unwrap();
    mux.forward(&many(12_001)).unwrap();
    drop((_client, _master));
    // Without anybody who forwards.
    let (_client, _master) = host.our_master(ControlMaster::builder());
    assert!(all(&["-O", "forward", "-L", "8000:a:1", "host"]).2.contains("not built into this master"));
}

#[test]
fn whoever_is_asked_may_refuse() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    let builder = ControlMaster::builder().forwards(Noted::default()).ask(move |question| {
        heard.lock().unwrap().push(question.split(" to ").next().unwrap().to_owned());
        false
    });
    let (client, _master) = host.our_master(builder);
    let local = ForwardRequest {
        kind: ForwardKind::Local,
        listen: Endpoint::tcp("", 1),
        to: Some(Endpoint::tcp("a\x1b[2J", 2)),
    };
    let refusals = [
        host.mux().stop().unwrap_err(),
        host.mux().exit().unwrap_err(),
        host.mux().forward(&local).unwrap_err(),
        host.mux().start(&MuxCommand::new("true"), null(), null(), null()).unwrap_err(),
        host.mux().stdio_forward(&Endpoint::tcp("a", 1), null(), null()).unwrap_err(),
    ];
    for refusal in refusals {
        assert!(
            matches!(&refusal, Error::MasterRefused { reason, .. } if reason == "Permission denied"),
            "{refusal}"
        );
    }
    host.mux().check().unwrap();
    let peer = format!("127.0.0.1:{}", host.server.port());
    assert_eq!(
        *asked.lock().unwrap(),
        [
            "Disable further multiplexing on shared connection",
            "Terminate shared connection",
            &format!("Open local forward :1 -> a\\u{{1b}}[2J:2 on {peer}? "),
            "Allow shared connection",
            "Allow forward",
        ]
    );
    assert!(client.output("true").unwrap().status.success());
}

#[test]
fn a_master_ends_as_it_is_told() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    // A client stops it from listening: sessions go on.
    let (client, master) = host.our_master(ControlMaster::builder());
    assert!(ControlMaster::builder().serve(client.transport(), host.path()).is_err());
    let (input, kept) = std::io::pipe().unwrap();
    let session = host.mux().start(&MuxCommand::new("cat; exit 6"), &input, null(), null()).unwrap();
    let Some(output) = host.ssh_runs(&["-O", "stop", "host"], "") else { return };
    assert_eq!(said(&output).trim(), "Stop listening request sent.");
    assert!(!host.path().exists());
    drop((input, kept));
    assert_eq!(session.wait(|| ()).unwrap(), ExitStatus::Code(6));
    // Nobody can come any more: it does not wait for anybody.
    assert_eq!(master.wait(None), MasterEnd::Idle);
    drop(master);
    assert!(client.output("true").unwrap().status.success());
    drop(client);

    // A client ends it, and the connection.
    let (client, master) = host.our_master(ControlMaster::builder());
    let session = host.mux().start(&MuxCommand::new("sleep 600"), null(), null(), null()).unwrap();
    let output = host.ssh_runs(&["-O", "exit", "host"], "").unwrap();
    assert_eq!(said(&output).trim(), "Exit request sent.");
    assert_eq!(master.wait(None), MasterEnd::Asked);
    assert_eq!(session.wait(|| ()).unwrap(), ExitStatus::Missing);
    soon("the connection is closed", || !client.transport().is_active());
    assert!(!host.path().exists());
    drop((client, master));

    // It has persisted long enough.
    let time = Duration::from_millis(300);
    let (client, master) = host.our_master(ControlMaster::builder());
    let started = Instant::now();
    host.mux().check().unwrap();
    assert_eq!(master.wait(Some(time)), MasterEnd::Idle);
    assert!(started.elapsed() >= time);
    assert!(!host.path().exists() && client.transport().is_active());
    drop((client, master));

    // The connection ends.
    let (client, master) = host.our_master(ControlMaster::builder());
    client.close();
    assert_eq!(master.wait(None), MasterEnd::Closed);
    soon("the socket is gone", || !host.path().exists());
    drop((client, master));
}

#[test]
fn a_master_tells_about_itself_and_passes_no_packets_on() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let (_client, _master) = host.our_master(ControlMaster::builder());
    let info = host.mux().info("connection").unwrap();
    assert!(info.contains("OpenSSH") && info.contains("cipher"), "{info}");
    assert!(matches!(host.mux().info("secrets"), Err(Error::MasterRefused { .. })));
    let refused = SSHClient::over_master(host.path()).unwrap_err();
    assert!(refused.to_string().contains("packets are not passed on"), "{refused}");
    // Streams of every kind: a socket, a pipe, a terminal; a command without a terminal.
    let (near, far) = UnixStream::pair().unwrap();
    let session = host.mux().start(&MuxCommand::new("cat >&2"), &far, &far, &far).unwrap();
    drop(far);
    (&near).write_all(b"hello").unwrap();
    near.shutdown(std::net::Shutdown::Write).unwrap();
    let mut back = Vec::new();
    (&near).read_to_end(&mut back).unwrap();
    assert_eq!((back.as_slice(), session.wait(|| ()).unwrap()), (&b"hello"[..], ExitStatus::Code(0)));
}

#[test]
fn a_command_whose_output_nobody_takes_any_more_ends() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let (_client, _master) = host.our_master(ControlMaster::builder());
    let (output, their_output) = std::io::pipe().unwrap();
    let session = host.mux().start(&MuxCommand::new("yes; exit 4"), null(), &their_output, null()).unwrap();
    drop(their_output);
    (&output).read_exact(&mut [0; 4]).unwrap();
    drop(output);
    assert_eq!(session.wait(|| ()).unwrap(), ExitStatus::Code(4));
}

/// Whoever may open the socket is not served for that: only our user is, and root.
#[test]
fn another_user_is_not_served() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let (_client, master) = host.our_master(ControlMaster::builder());
    if !rustix::process::geteuid().is_root() {
        return eprintln!("not root: nobody can be another user");
    }
    let (Some(setpriv), Some(curl)) =
        (require("setpriv", program("setpriv")), require("curl", program("curl")))
    else {
        return;
    };
    let open = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    };
    open(&host.path());
    open(host.path().parent().unwrap());
    let says = |user: u32| {
        let mut command = Command::new(&setpriv);
        command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
        command.arg(&curl).args(["--silent", "--max-time", "30", "--http0.9", "--unix-socket"]);
        peers::output(command.arg(host.path()).arg("http://master/"), "").stdout
    };
    // The master's hello, and nothing.
    assert!(says(0).windows(4).any(|bytes| bytes == b"info"));
    assert_eq!(says(65534), b"");
    soon("they have gone", || master.clients() == 0);
}

#[test]
fn output_that_is_taken_late_is_not_lost() {
    let _watch = given::within(120);
    let Some(host) = Host::start() else { return };
    let (_client, _master) = host.our_master(ControlMaster::builder());
    // More than is kept of a stream that nobody reads.
    let command = MuxCommand::new("echo first >&2; head -c 20000000 /dev/zero; echo last >&2; exit 3");
    let (output, their_output) = std::io::pipe().unwrap();
    let (errors, their_errors) = std::io::pipe().unwrap();
    let session = host.mux().start(&command, null(), &their_output, &their_errors).unwrap();
    drop((their_output, their_errors));
    (&errors).read_exact(&mut [0; 6]).unwrap();
    thread::sleep(Duration::from_millis(500));
    let errors = all(errors);
    assert_eq!(all(output).join().unwrap().len(), 20_000_000);
    assert_eq!(errors.join().unwrap(), b"last\n");
    assert_eq!(session.wait(|| ()).unwrap(), ExitStatus::Code(3));
}
