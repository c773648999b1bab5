//! Escapes, at a terminal.

use std::os::fd::AsFd;

use feramiko::{
    Answer, AuthAnswer, ExitStatus, PtyRequest, PublicKey, ServerInterface, Session, SessionEvent,
    SessionRequest,
};
use rustix::termios::{LocalModes, tcgetattr};

use super::relay::Relay;
use super::terminal::Terminal;
use super::*;

/// Our `ssh` on a terminal of its own.
fn at_terminal(host: &Host, arguments: &[&str]) -> (Terminal, Running, std::os::fd::OwnedFd) {
    on_terminal(&host.ssh(arguments))
}

/// A program on a terminal of its own.
fn on_terminal(program: &Command) -> (Terminal, Running, std::os::fd::OwnedFd) {
    let (terminal, far) = Terminal::open(80, 24);
    let mut command = Command::new("setsid");
    command.args(["-c", "-w"]).arg(program.get_program()).args(program.get_args()).env("TERM", "vt100");
    let stream = || far.try_clone().unwrap();
    command.stdin(stream()).stdout(stream()).stderr(stream());
    let running = Running::start(&mut command);
    drop(command);
    (terminal, running, far)
}

fn is_raw(terminal: impl AsFd) -> bool {
    !tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ICANON)
}

#[test]
fn what_follows_the_escape_character_is_for_us() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let log = host.folder.file("log").display().to_string();
    let (mut terminal, mut running, far) = at_terminal(&host, &["-v", "-E", &log, "host", "-tt", "cat"]);
    soon("the terminal is raw", || is_raw(&far));
    terminal.types("~?");
    terminal.shows(" ~#   - list forwarded connections");
    terminal.types("~#");
    terminal.shows("The following connections are open:\r\n  #0 session\r\n");
    terminal.types("~C");
    terminal.shows("commandline disabled");
    terminal.types("~V");
    terminal.shows("~V [LogLevel VERBOSE]");
    terminal.types("~v");
    terminal.shows("~v [LogLevel DEBUG]");
    terminal.types("~&");
    terminal.shows("~& is not built");
    let exchanges = || std::fs::read_to_string(&log).unwrap().matches("NEWKEYS received").count();
    assert_eq!(exchanges(), 1);
    terminal.types("~R");
    soon("there are new keys", || exchanges() == 2);
    terminal.types("~~tilde\r");
    terminal.shows("~tilde\r\n");
    terminal.types("\r~.");
    assert_eq!(running.ended().code(), Some(255));
    assert!(!is_raw(&far), "the terminal stays raw");
    drop(far);
    assert!(terminal.shows_all().contains("Connection to 127.0.0.1 closed."));
}

#[test]
fn a_suspended_program_leaves_the_terminal_and_takes_it_again() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let ssh = host.ssh(&["host", "-tt", "cat"]);
    // A shell with jobs: the user's, who looks at something else meanwhile.
    let mut shell = Command::new("bash");
    shell.args(["-m", "-c", r#""$@"; echo "stopped $?"; read -r _; fg >/dev/null; echo "ended $?""#, "sh"]);
    shell.arg(ssh.get_program()).args(ssh.get_args());
    let (mut terminal, mut running, far) = on_terminal(&shell);
    soon("the terminal is raw", || is_raw(&far));
    terminal.types("before\r");
    terminal.shows("before\r\nbefore\r\n");
    terminal.types("~\x1a");
    // 128 and the number of SIGSTOP, which follows SIGTSTP once the terminal is as it was.
    assert!(terminal.shows("stopped 147").contains("~^Z [suspend ssh]"));
    assert!(!is_raw(&far), "the terminal stays raw");
    terminal.types("\n");
    soon("the terminal is raw again", || is_raw(&far));
    terminal.types("after\r");
    terminal.shows("after\r\nafter\r\n");
    terminal.types("~.");
    terminal.shows("ended 255");
    running.ended();
    assert!(!is_raw(&far));
}

/// Gives a terminal, and tells what happens to it.
struct Told(std::sync::mpsc::Sender<SessionEvent>);

impl ServerInterface for Told {
    fn check_auth_publickey(&self, _: &str, _: &PublicKey) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_shell_request(&self, _: &SessionRequest) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> std::io::Result<ExitStatus> {
        self.0.send(session.events().recv().unwrap()).unwrap();
        session.channel().write_all(b"told")?;
        std::io::copy(&mut session.channel(), &mut std::io::sink())?;
        Ok(ExitStatus::Code(0))
    }
}

#[test]
fn a_break_is_asked_for() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let (sender, events) = std::sync::mpsc::channel();
    let server = feramiko::SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_| Told(sender.clone()))
        .unwrap();
    let address = server.address();
    let port = address.rsplit(':').next().unwrap();
    let (mut terminal, mut running, far) = at_terminal(&host, &["-p", port, "-tt", "host"]);
    soon("the terminal is raw", || is_raw(&far));
    terminal.types("~B");
    terminal.shows("told");
    assert_eq!(events.recv_timeout(PATIENCE).unwrap(), SessionEvent::Break(Duration::from_secs(1)));
    terminal.types("\r~.");
    assert_eq!(running.ended().code(), Some(255));
}

#[test]
fn a_line_of_commands_forwards() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let (echo, port) = (echoing(), free_port());
    let arguments = ["-oEnableEscapeCommandline=yes", "host", "-tt", "cat"];
    let (mut terminal, mut running, far) = at_terminal(&host, &arguments);
    soon("the terminal is raw", || is_raw(&far));
    for (line, shown) in [
        (format!("-L {port}:127.0.0.1:{echo}"), "Forwarding port."),
        (format!("-KL{port}:127.0.0.1:{echo}"), "Canceled forwarding."),
        ("-X".to_owned(), "Invalid command."),
        ("?".to_owned(), "Request dynamic forward"),
    ] {
        terminal.types("\r~C");
        soon("a line is asked for", || !is_raw(&far));
        terminal.types(&format!("{line}\n"));
        terminal.shows(shown);
        soon("the terminal is raw again", || is_raw(&far));
        let listens = TcpStream::connect(("127.0.0.1", port)).is_ok_and(echoes);
        assert_eq!(listens, shown == "Forwarding port.", "{line}");
    }
    terminal.types("\r~.");
    assert_eq!(running.ended().code(), Some(255));
}

#[test]
fn another_character_or_none() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    for (escape, typed, shown) in [("^E", "\x05?", " ^E.  - terminate"), ("none", "~.\r", "~.\r\n")] {
        let (mut terminal, mut running, far) = at_terminal(&host, &["-e", escape, "host", "-tt", "cat"]);
        soon("the terminal is raw", || is_raw(&far));
        terminal.types(typed);
        terminal.shows(shown);
        terminal.types("\x04");
        assert_eq!(running.ended().code(), Some(0));
    }
    // Without a terminal nothing is a command.
    let output = host.runs(&["host", "cat"], "~.\n~?\n");
    assert_eq!(answer(&output), (Some(0), "~.\n~?\n".to_owned()));
}

#[test]
fn the_terminal_comes_back_when_a_signal_or_the_network_ends_it() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let control = host.folder.file("control").display().to_string();
    let (_terminal, mut running, far) =
        at_terminal(&host, &["-M", "-S", &control, "host", "-tt", "echo $PPID; cat"]);
    soon("the terminal is raw", || is_raw(&far));
    let check = said(&host.runs(&["-S", &control, "-O", "check", "host"], ""));
    let pid = check.trim().trim_start_matches("Master running (pid=").trim_end_matches(')').to_owned();
    let process = pid.parse().ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    running.ended();
    assert!(!is_raw(&far) && !std::path::Path::new(&control).exists());

    // The server's side of the connection goes without a word.
    let lost = ["host", "-tt", "sleep 0.3; kill -9 $PPID; sleep 9"];
    let (_terminal, mut running, far) = at_terminal(&host, &lost);
    soon("the terminal is raw", || is_raw(&far));
    assert_eq!(running.ended().code(), Some(255));
    assert!(!is_raw(&far));

    // Nothing arrives any more, not even an end.
    let relay = Relay::to(host.server.port());
    let port = relay.port().to_string();
    let alive = ["-oServerAliveInterval=1", "-oServerAliveCountMax=2", "-p", &port, "host", "-tt", "cat"];
    let (mut terminal, mut running, far) = at_terminal(&host, &alive);
    soon("the terminal is raw", || is_raw(&far));
    terminal.types("seen\n");
    terminal.shows("seen\r\nseen\r\n");
    relay.freeze();
    assert_eq!(running.ended().code(), Some(255));
    assert!(!is_raw(&far));
}

#[test]
fn questions_come_before_the_background() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let (key, control) = (host.folder.file("key"), host.folder.file("control").display().to_string());
    std::fs::copy(host.keys.private("ed25519"), &key).unwrap();
    let Some(mut keygen) = peers::command("ssh-keygen") else { return };
    assert!(peers::output(keygen.args(["-q", "-p", "-N", "secret", "-f"]).arg(&key), "").status.success());
    let user = format!("ssh://{}@127.0.0.1:{}", user(), host.server.port());
    let options = [
        format!("-oIdentityFile={}", key.display()),
        format!("-oUserKnownHostsFile={}", host.folder.file("known").display()),
    ];
    let mut asked = vec!["-F", "none", "-f", "-N", "-M", "-S", &control, "-oIdentitiesOnly=yes"];
    asked.extend(options.iter().map(String::as_str));
    asked.push(&user);
    let (mut terminal, mut running, far) = at_terminal(&host, &asked);
    terminal.shows("Are you sure you want to continue connecting (yes/no/[fingerprint])? ");
    terminal.types("perhaps\n");
    terminal.shows("Please type 'yes', 'no' or the fingerprint: ");
    let known = Keys::named("host").unwrap().private("ed25519").with_extension("pub");
    let (known, _) = PublicKey::from_file(known).unwrap();
    terminal.types(&format!("{}\n", known.fingerprint()));
    terminal.shows("Enter passphrase for key");
    soon("nothing is shown", || !tcgetattr(&far).unwrap().local_modes.contains(LocalModes::ECHO));
    terminal.types("secret\n");
    assert_eq!(running.ended().code(), Some(0));
    // Its terminal is gone, and it is there.
    drop((terminal, far));
    let check = host.runs(&["-S", &control, "-O", "check", "host"], "");
    assert_eq!(check.status.code(), Some(0), "{}", said(&check));
    assert_eq!(host.runs(&["-S", &control, "-O", "exit", "host"], "").status.code(), Some(0));
}

/// A program that leads to the host may ask the user, as `ssh -W` does for a passphrase.
#[test]
fn a_proxy_command_asks_at_the_terminal() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let way = "ProxyCommand=bash -c 'read -p \"which port? \" port </dev/tty; exec 3<>/dev/tcp/%h/$port; \
               cat <&3 & cat >&3; kill $!'";
    let (mut terminal, mut running, far) = at_terminal(&host, &["-o", way, "host", "echo by that way"]);
    terminal.shows("which port? ");
    terminal.types(&format!("{}\n", host.server.port()));
    terminal.shows("by that way");
    assert_eq!(running.ended().code(), Some(0));
    drop(far);
}

/// Copying programs ask about hosts on the way as `ssh` does.
#[test]
fn copies_ask_about_hosts_on_the_way() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let text = std::fs::read_to_string(host.config()).unwrap();
    let text = text.replace("BatchMode yes", "").replace("accept-new", "ask");
    let (config, from, to) = (host.folder.file("asking"), host.folder.file("from"), host.folder.file("to"));
    std::fs::write(&config, text).unwrap();
    std::fs::write(&from, "content").unwrap();
    let mut scp = Command::new(example("scp"));
    scp.arg("-F").arg(&config).args(["-J", "hop"]).arg(&from).arg(format!("host:{}", to.display()));
    let (mut terminal, mut running, far) = on_terminal(&scp);
    terminal.shows("Are you sure you want to continue connecting (yes/no/[fingerprint])? ");
    terminal.types("yes\n");
    assert_eq!(running.ended().code(), Some(0));
    assert_eq!(std::fs::read(&to).unwrap(), b"content");
    drop(far);
}

/// ConnectTimeout is no time for users: neither at the host nor at one on the way.
#[test]
fn questions_may_take_longer_than_a_connect() {
    const LIMIT: Duration = Duration::from_secs(6);
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let text = std::fs::read_to_string(host.config()).unwrap();
    let text = text.replace("BatchMode yes", "").replace("accept-new", "ask");
    let key = host.folder.file("key");
    std::fs::copy(host.keys.private("ed25519"), &key).unwrap();
    let Some(mut keygen) = peers::command("ssh-keygen") else { return };
    assert!(peers::output(keygen.args(["-q", "-p", "-N", "secret", "-f"]).arg(&key), "").status.success());
    let text = text.replace(&host.keys.private("ed25519").display().to_string(), &key.display().to_string());
    let config = host.folder.file("asking").display().to_string();
    std::fs::write(&config, format!("ConnectTimeout {}\n{text}", LIMIT.as_secs())).unwrap();
    let mut ssh = Command::new(example("ssh"));
    ssh.args(["-F", &config, "-J", "hop", "host", "echo in time"]);
    let (mut terminal, mut running, far) = on_terminal(&ssh);
    terminal.shows("Are you sure you want to continue connecting (yes/no/[fingerprint])? ");
    thread::sleep(LIMIT);
    terminal.types("yes\n");
    for count in 1..=2 {
        soon("a passphrase is asked for", || {
            terminal.shows_within(Duration::from_millis(20), "what nobody says");
            terminal.shows("Enter passphrase for key").matches("Enter passphrase").count() == count
                && !tcgetattr(&far).unwrap().local_modes.contains(LocalModes::ECHO)
        });
        if count == 1 {
            thread::sleep(LIMIT);
        }
        terminal.types("secret\n");
    }
    terminal.shows("in time");
    assert_eq!(running.ended().code(), Some(0));
}

/// What is piped into the program, as git and tar do, keeps nobody from being asked.
#[test]
fn questions_are_asked_at_the_terminal_whatever_the_input_is() {
    let _watch = given::within(120);
    let Some(host) = Host::start("") else { return };
    let text = std::fs::read_to_string(host.config()).unwrap();
    let config = host.folder.file("asking").display().to_string();
    std::fs::write(&config, text.replace("BatchMode yes", "").replace("accept-new", "ask")).unwrap();
    let mut pipe = Command::new("sh");
    pipe.args(["-c", "echo \"it is $1\" | \"$0\" -F \"$2\" host cat", example("ssh").to_str().unwrap()]);
    pipe.args(["piped", &config]);
    let (mut terminal, mut running, _far) = on_terminal(&pipe);
    terminal.shows("Are you sure you want to continue connecting (yes/no/[fingerprint])? ");
    terminal.types("yes\n");
    terminal.shows("it is piped");
    assert_eq!(running.ended().code(), Some(0));
}
