//! Hosts that fall silent: whoever asks for signs of life notices in time, and nothing of the connection is
//! left. Then many connections, of every kind and with every end, after which nothing is left either.

#![cfg(unix)]

#[path = "loss/cycles.rs"]
mod cycles;
#[path = "forwarding/ends.rs"]
mod ends;
mod given;
#[path = "agent/ours.rs"]
mod ours;
mod peers;
#[path = "loss/relay.rs"]
mod relay;
#[path = "loss/served.rs"]
mod served;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use ends::connect_soon;
use feramiko::{Endpoint, Error, PKey, Phase};
use ours::soon;
use peers::{Folder, Keys, Running, command, example, free_port, sshd, user};
use relay::Relay;
use rustix::process::Signal;
use served::Served;

/// Signs of life a second apart, two of which may be missed, and a busy machine.
const NOTICED: Duration = Duration::from_secs(8);
/// The same, and time for a program to be hung up.
const CLEARED: Duration = Duration::from_secs(10);

/// Whoever counts threads of this process runs alone.
static ALONE: Mutex<()> = Mutex::new(());

fn keys() -> Option<(Keys, Keys)> {
    Some((Keys::named("host")?, Keys::named("user")?))
}

/// A client program that looks at nothing of the user's and takes the host as it is.
fn ssh(mut command: Command, port: u16, own: &Keys, known: &Folder) -> Command {
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-i"]);
    command.arg(own.private("ed25519")).args(["-o", "IdentitiesOnly=yes", "-p", &port.to_string()]);
    command.arg(format!("-oUserKnownHostsFile={}", known.file("known").display()));
    command.args(["-l", &user(), "127.0.0.1"]).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
    command
}

/// The first line that a program prints, without its end.
fn first_line(running: &mut Running) -> String {
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// Our `ssh` ends, and says why, when `silence` has come over its server.
fn our_ssh_notices(port: u16, own: &Keys, silence: impl FnOnce()) {
    let known = Folder::new();
    let mut command = ssh(Command::new(example("ssh")), port, own, &known);
    command.args(["-oServerAliveInterval=1", "-oServerAliveCountMax=2", "echo runs; sleep 600"]);
    let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(first_line(&mut running), "runs");
    silence();
    let status = running.end(Instant::now() + NOTICED).expect("it notices in time");
    let mut said = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(255), "{said}");
    assert!(said.contains("keepalive"), "{said}");
}

#[test]
fn our_client_notices_that_the_network_is_lost() {
    let _watch = given::within(60);
    let Some((host, own)) = keys() else { return };
    let Some(server) = sshd(&host, &own, "") else { return };
    let relay = Relay::to(server.port());
    our_ssh_notices(relay.port(), &own, || relay.freeze());
}

#[test]
fn our_server_notices_that_the_network_is_lost() {
    let _watch = given::within(60);
    let Some((host, own)) = keys() else { return };
    let Some(theirs) = command("ssh") else { return };
    let served = Served::start(&host, &own, &["-oClientAliveInterval=1", "-oClientAliveCountMax=2"]);
    let (relay, known) = (Relay::to(served.port()), Folder::new());
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    let (to, local, remote) = (service.local_addr().unwrap().port(), free_port(), free_port());
    let mut command = ssh(theirs, relay.port(), &own, &known);
    for (option, port) in [("-L", local), ("-R", remote)] {
        command.arg(format!("{option}127.0.0.1:{port}:127.0.0.1:{to}"));
    }
    command.args(["-oExitOnForwardFailure=yes", "echo $$; exec sleep 600"]);
    let mut running = Running::start(command.stdout(Stdio::piped()));
    let pid = first_line(&mut running);
    let program = Path::new("/proc").join(&pid);
    assert!(program.is_dir(), "{pid}");
    // One that the server has made, and one that it has accepted; both carry something.
    let carry = |port| {
        let mut near = connect_soon(&Endpoint::tcp("127.0.0.1", port));
        let (mut far, _) = service.accept().unwrap();
        near.write_all(b"x").unwrap();
        far.read_exact(&mut [0]).unwrap();
        (near, far)
    };
    let ((_near, mut made), (mut accepted, _far)) = (carry(local), carry(remote));
    made.set_read_timeout(Some(CLEARED)).unwrap();
    let frozen = Instant::now();
    relay.freeze();
    for stream in [&mut made as &mut dyn Read, &mut accepted] {
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(frozen.elapsed() < CLEARED, "{ended:?}");
    }
    soon("the program is gone", || !program.exists());
    assert!(TcpStream::connect(("127.0.0.1", remote)).is_err());
    assert!(frozen.elapsed() < CLEARED, "{:?}", frozen.elapsed());
    served.settles();
}

#[test]
fn clients_notice_that_the_server_has_stopped() {
    let _alone = ALONE.lock();
    let _watch = given::within(60);
    let Some((host, own)) = keys() else { return };
    let served = Served::start(&host, &own, &[]);
    let key = PKey::from_file(own.private("ed25519"), None).unwrap();
    let builder = given::client().username(&user()).key(key).keepalive(Duration::from_secs(1), 2);
    let client = builder.connect(&format!("127.0.0.1:{}", served.port())).unwrap();
    let forwards = [
        client.forward_local(Endpoint::tcp("127.0.0.1", 0), ends::tcp_service("tcp")).unwrap(),
        client.forward_remote(Endpoint::tcp("127.0.0.1", 0), ends::tcp_service("tcp")).unwrap(),
    ];
    let mut near = ends::connect(forwards[0].endpoint()).unwrap();
    // What the server has accepted is held there, where all stands still: of that the other end is ours.
    let far = ends::connect(forwards[1].endpoint()).unwrap();
    near.read_exact(&mut [0; 3]).unwrap();
    let mut process = client.exec_command("echo runs; sleep 600").unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    our_ssh_notices(served.port(), &own, || served.signal(Signal::STOP));
    let stopped = Instant::now();
    let error = stdout.read(&mut [0]).unwrap_err().downcast::<Error>().unwrap();
    assert!(stopped.elapsed() < NOTICED, "{:?}", stopped.elapsed());
    let lost = |error: &Error| matches!(error, Error::Timeout(Phase::Keepalive));
    assert!(lost(&error) || matches!(&error, Error::Closed(Some(cause)) if lost(cause)), "{error:?}");
    // What was forwarded has an end too, and nobody listens any more.
    let _ = near.read_to_end(&mut Vec::new());
    assert!(ends::connect(forwards[0].endpoint()).is_err() && stopped.elapsed() < NOTICED);
    drop((client, process, stdout, forwards));
    soon("no thread is left", || feramiko::running_threads() == 0);
    // Once it goes on it finds both gone.
    served.signal(Signal::CONT);
    drop(far);
    served.settles();
}
