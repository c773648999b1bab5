//! Ways to a host: commands, jump hosts, proxies, calls home; and a session's way through a bastion.

#![cfg(unix)]

#[path = "reach/bastion.rs"]
mod bastion;
#[path = "reach/calls.rs"]
mod calls;
mod given;
#[path = "reach/jumps.rs"]
mod jumps;
mod peers;
#[path = "reach/proxies.rs"]
mod proxies;
#[path = "given/terminal.rs"]
mod terminal;

use std::net::TcpListener;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use feramiko::{Cancel, Error, PKey, Phase, SSHClientBuilder, SSHServer, ServerHandle};
use given::Echo;
use peers::{Keys, Server, sshd, user};

/// A server of ours that echoes, and where it listens.
fn echo() -> (ServerHandle, String) {
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| Echo)
        .unwrap();
    let address = server.address();
    (server, address)
}

/// A client that echo lets in.
fn knowing() -> SSHClientBuilder {
    given::client().username("robey").password("foo")
}

/// OpenSSH's server, and the key of its user.
fn openssh(more: &str) -> Option<(Server, Keys)> {
    let (host, own) = (Keys::named("host")?, Keys::named("user")?);
    Some((sshd(&host, &own, more)?, own))
}

fn own_key(own: &Keys) -> PKey {
    PKey::from_file(own.private("ed25519"), None).unwrap()
}

/// A client that OpenSSH's server lets in.
fn of_user(own: &Keys) -> SSHClientBuilder {
    given::client().username(&user()).key(own_key(own))
}

/// bash has a socket of its own: what comes from it goes out, what comes in goes to it.
const BASH: &str = "bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; kill $!'";

#[test]
fn a_command_leads_to_the_host() {
    let _watch = given::within(120);
    let (_server, address) = echo();
    let client = knowing().proxy_command(BASH).connect(&address).unwrap();
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    assert_eq!(given::echoed(&channel, &[7; 300_000]).unwrap(), [7; 300_000]);
}

#[test]
fn ssh_as_a_command() {
    let _watch = given::within(120);
    let Some((gate, own)) = openssh("") else { return };
    let Some(ssh) = peers::require("ssh", peers::program("ssh")) else { return };
    let (_server, address) = echo();
    let folder = peers::Folder::new();
    let line = format!(
        "{} -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile={} -i {} -p {} -W [%h]:%p {}@127.0.0.1",
        ssh.display(),
        folder.file("known").display(),
        own.private("ed25519").display(),
        gate.port(),
        user()
    );
    let client = knowing().proxy_command(&line).connect(&address).unwrap();
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    assert!(given::echoed(&channel, &[1; 2_000_000]).unwrap() == [1; 2_000_000]);
    // Its end is the connection's, and it is told.
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    if !jumps::kill_session_of(gate.port()) {
        return;
    }
    let error = channel.wait_exit(Some(Duration::from_secs(60))).unwrap_err().to_string();
    assert!(error.contains("the proxy command") && error.contains("ended: exit status 255"), "{error}");
}

#[test]
fn a_command_that_ends_says_how() {
    let _watch = given::within(120);
    let error = knowing().proxy_command("sh -c 'echo %r >&2; exit 7'").connect("robey@host").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("the proxy command sh -c 'echo robey >&2; exit 7' ended: exit status 7"), "{text}");
}

/// It has our process group, and with it the signals that are typed at the terminal for us.
#[test]
fn signals_from_the_terminal_end_no_command() {
    let _watch = given::within(120);
    let line = "sh -c 'kill -INT $$; kill -QUIT $$; kill -HUP $$; exit 7'";
    let text = knowing().proxy_command(line).connect("host").unwrap_err().to_string();
    assert!(text.contains("ended: exit status 7"), "{text}");
}

/// What was logged, by anybody.
static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target() == "feramiko::proxy" {
            LOGGED.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

#[test]
fn the_errors_of_a_command_are_logged_when_told_so() {
    let _watch = given::within(120);
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let line = r#"sh -c "printf 'no route\nto \033[31mit\n' >&2; exit 1""#;
    let result = knowing().proxy_command_logged(line).connect("host");
    assert!(result.is_err());
    let until = Instant::now() + Duration::from_secs(20);
    while LOGGED.lock().unwrap().len() < 2 {
        assert!(Instant::now() < until, "{:?}", LOGGED.lock().unwrap());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(*LOGGED.lock().unwrap(), ["no route", "to \\u{1b}[31mit"]);
}

#[test]
fn no_name_of_a_user_or_a_host_is_run() {
    let _watch = given::within(120);
    let folder = peers::Folder::new();
    let bait = folder.file("bait");
    for destination in [format!("$(touch {})@h", bait.display()), format!("u@`touch {}`", bait.display())] {
        let result = knowing().proxy_command("echo %r %h; exit 1").connect(&destination);
        assert!(matches!(result, Err(Error::Misuse(_))), "{destination}: {result:?}");
    }
    let result = knowing().proxy_command("true %r").connect("-x@host");
    assert!(matches!(result, Err(Error::Misuse(_))), "{result:?}");
    assert!(!bait.exists());
}

/// The program is ended, not only left alone.
#[test]
fn a_command_that_leads_nowhere_ends_at_the_deadline() {
    let _watch = given::within(120);
    let folder = peers::Folder::new();
    let pid = folder.file("pid");
    let line = format!("sh -c 'echo $$ >{}; exec sleep 600'", pid.display());
    let started = Instant::now();
    let result = knowing().deadline(Duration::from_millis(700)).proxy_command(&line).connect("host");
    assert!(matches!(result, Err(Error::Timeout(Phase::Handshake))), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    let pid = std::fs::read_to_string(pid).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let alive = format!("kill -0 {}", pid.trim());
    while Command::new("sh").arg("-c").arg(&alive).output().unwrap().status.success() {
        assert!(Instant::now() < until, "process {pid} runs on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Each way is given up: by a token, while its far end says nothing.
#[test]
fn every_way_is_cancelled() {
    let _watch = given::within(120);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ways: [&dyn Fn(SSHClientBuilder) -> feramiko::Result<feramiko::SSHClient>; 5] = [
        &|it| it.proxy_command("sleep 600").connect("host"),
        &|it| it.http_proxy(address.as_str()).connect("host"),
        &|it| it.socks_proxy(address.as_str()).connect("host"),
        &|it| it.proxy_jump(&address).jump_with(|_| knowing()).connect("host"),
        &|it| it.accept(&listener, "host"),
    ];
    for (at, way) in ways.iter().enumerate() {
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(150));
                cancel.cancel();
            });
            let result = way(knowing().cancel(&cancel));
            assert!(matches!(result, Err(Error::Cancelled)), "way {at}: {result:?}");
        });
    }
}
