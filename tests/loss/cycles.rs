//! Connections of every kind to one server, which end in order or are cut: it has nothing of them afterwards, nor has
//! this process, whose clients most of them are.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use feramiko::{
    AddOptions, Agent, AgentServer, Algorithms, Endpoint, ExitStatus, PKey, PtyRequest, SSHClient,
    running_threads,
};

use crate::ends::{connect, tcp_service, unix};
use crate::given;
use crate::ours::{Ours, soon};
use crate::peers::{Folder, Keys, Running, example, program, require, user};
use crate::served::Served;
use crate::{ALONE, first_line, ssh};

const CYCLES: usize = 500;
/// As many as keep two cores busy.
const WORKERS: usize = 4;

/// One server, and what connections to it need.
struct Site {
    served: Served,
    own: Keys,
    key: PKey,
    agent: Agent,
    held: Ours,
    service: Endpoint,
    known: Folder,
    name: AtomicUsize,
}

impl Site {
    /// A client, and what its connection is cut with.
    fn client(&self) -> (SSHClient, TcpStream) {
        let stream = TcpStream::connect(("127.0.0.1", self.served.port())).unwrap();
        let cutter = stream.try_clone().unwrap();
        let mut algorithms = Algorithms::client_defaults();
        algorithms.set_kex("curve25519-sha256").unwrap();
        let builder = given::client().username(&user()).key(self.key.clone()).algorithms(algorithms);
        (builder.deadline(Duration::from_secs(60)).connect_over(stream, "127.0.0.1").unwrap(), cutter)
    }
}

fn end(client: &SSHClient, connection: &TcpStream, cut: bool) {
    if cut {
        connection.shutdown(Shutdown::Both).unwrap();
    } else {
        client.close();
    }
}

/// What a command does once it has said where it is.
fn afterwards(cut: bool) -> &'static str {
    if cut { "exec sleep 600" } else { "exit 7" }
}

fn command(site: &Site, cut: bool) {
    let (client, connection) = site.client();
    let mut process = client.exec_command(format!("echo runs; {}", afterwards(cut))).unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "runs\n");
    if !cut {
        assert_eq!(process.wait().unwrap(), ExitStatus::Code(7));
    }
    end(&client, &connection, cut);
}

fn shell(site: &Site, cut: bool) {
    let (client, connection) = site.client();
    let mut channel = client.invoke_shell(&PtyRequest::new("xterm", 80, 24)).unwrap();
    // In front, where the system hangs it up: what becomes of jobs behind is the shell's affair, and bash forgets
    // one now and then.
    channel.write_all(b"sh -c 'echo $((40 + 2))seen; exec sleep 600'\n").unwrap();
    let mut lines = BufReader::new(channel.clone()).lines();
    assert!(lines.any(|line| line.unwrap().contains("42seen")));
    if !cut {
        channel.write_all(b"\x03exit 0\n").unwrap();
        assert_eq!(channel.wait_exit(None).unwrap(), ExitStatus::Code(0));
    }
    end(&client, &connection, cut);
}

fn agent(site: &Site, cut: bool) {
    let (client, connection) = site.client();
    let line = format!("echo $SSH_AUTH_SOCK; ssh-add -l; {}", afterwards(cut));
    let mut process = client.command(line).forward_agent(&site.agent).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let socket = lines.next().unwrap().unwrap();
    assert!(socket.starts_with(site.served.folder.path().to_str().unwrap()), "{socket}");
    assert!(lines.next().unwrap().unwrap().contains("ED25519"));
    end(&client, &connection, cut);
}

fn forwards(site: &Site, cut: bool) {
    let (client, connection) = site.client();
    let name = site.name.fetch_add(1, Ordering::Relaxed).to_string();
    let loopback = || Endpoint::tcp("127.0.0.1", 0);
    let forwards = [
        client.forward_local(loopback(), site.service.clone()).unwrap(),
        client.forward_remote(loopback(), site.service.clone()).unwrap(),
        client.forward_remote(unix(site.served.folder.file(&name)), site.service.clone()).unwrap(),
    ];
    let mut streams: Vec<_> = forwards.iter().map(|forward| connect(forward.endpoint()).unwrap()).collect();
    for stream in &mut streams {
        stream.read_exact(&mut [0; 3]).unwrap();
    }
    end(&client, &connection, cut);
    for mut stream in streams {
        // An end or a reset, and no waiting for either.
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

fn files(site: &Site, cut: bool) {
    let (client, connection) = site.client();
    let sftp = client.open_sftp().unwrap();
    let names = sftp.listdir(site.served.folder.path().to_str().unwrap()).unwrap();
    let name = site.name.fetch_add(1, Ordering::Relaxed);
    let path = site.known.file(&format!("file{name}"));
    let mut file = sftp.open(path.to_str().unwrap(), "w").unwrap();
    file.write_all(format!("{names:?}").as_bytes()).unwrap();
    end(&client, &connection, cut);
}

/// OpenSSH's client or our program, with a terminal, an agent that is asked for nothing, and a forwarding.
fn programs(site: &Site, program: impl AsRef<OsStr>, cut: bool) {
    let mut command = ssh(Command::new(program), site.served.port(), &site.own, &site.known);
    command.args(["-A", "-tt", "-R", "0:127.0.0.1:9"]).env("SSH_AUTH_SOCK", site.held.socket());
    command.arg(format!("echo runs; {}", afterwards(cut))).stdin(Stdio::piped()).stderr(Stdio::null());
    let mut running = Running::start(command.stdout(Stdio::piped()));
    assert_eq!(first_line(&mut running), "runs");
    if cut {
        running.0.kill().unwrap();
    } else {
        assert_eq!(running.ended().code(), Some(7));
    }
}

/// Two in this many are OpenSSH's client's and two our program's, which take longer.
const PROGRAMS: usize = 20;
const KINDS: [fn(&Site, bool); 5] = [command, shell, agent, forwards, files];

fn cycle(site: &Site, number: usize) {
    let cut = number.is_multiple_of(2);
    match number % PROGRAMS {
        0 | 1 => programs(site, "ssh", cut),
        2 | 3 => programs(site, example("ssh"), cut),
        _ => KINDS[number / 2 % KINDS.len()](site, cut),
    }
}

#[test]
fn nothing_is_left_after_many_connections() {
    let _alone = ALONE.lock();
    let _watch = given::within(300);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let Some(_) = require("ssh-add", program("ssh-add")) else { return };
    let key = PKey::from_file(own.private("ed25519"), None).unwrap();
    let ours = Ours::start(AgentServer::builder());
    let agent = Agent::connect(ours.socket()).unwrap();
    agent.add(&key, &AddOptions::new()).unwrap();
    let site = Site {
        served: Served::start(&host, &own, &[]),
        own,
        key,
        agent,
        held: ours,
        service: tcp_service("tcp"),
        known: Folder::new(),
        name: AtomicUsize::new(0),
    };
    // Once of each kind: what that brings in stays.
    (0..PROGRAMS).for_each(|number| cycle(&site, number));
    site.served.settles();
    let before = (running_threads(), descriptors());
    let next = AtomicUsize::new(PROGRAMS);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= CYCLES {
                        return;
                    }
                    cycle(&site, number);
                }
            });
        }
    });
    site.served.settles();
    soon("nothing is left here", || (running_threads(), descriptors()) <= before);
}

/// How many descriptors this process has.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
