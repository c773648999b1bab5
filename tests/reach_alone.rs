//! What is left of connections through others, and what a program that is started meanwhile gets of them.
//! Counts threads and descriptors of the whole process: one test, alone.

#![cfg(target_os = "linux")]

mod given;
mod peers;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, ExitStatus, PKey, ProxyCommand, Redirect, SSHClient, SSHClientBuilder, SSHServer,
    ServerInterface, Session, SessionRequest, running_threads,
};
use given::Echo;
use peers::{Folder, Keys, Server, sshd, user};

/// Far more than threads take to see that they are done.
const PATIENCE: Duration = Duration::from_secs(30);

fn descriptors(pid: &str) -> BTreeSet<u32> {
    let listed = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    listed.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}; threads: {}", running_threads());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Hands what it is asked for to another server.
struct Bastion(SSHClient);

impl ServerInterface for Bastion {
    fn check_auth_none(&self, _: &str) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> std::io::Result<ExitStatus> {
        session.hand_to(&self.0)
    }
}

struct House {
    gates: [Server; 2],
    keys: Keys,
}

impl House {
    fn open() -> Option<Self> {
        let (host, keys) = (Keys::named("host")?, Keys::named("user")?);
        Some(Self { gates: [sshd(&host, &keys, "")?, sshd(&host, &keys, "")?], keys })
    }

    fn of_user(&self) -> SSHClientBuilder {
        let key = PKey::from_file(self.keys.private("ed25519"), None).unwrap();
        given::client().username(&user()).key(key)
    }

    fn path(&self) -> String {
        self.gates.each_ref().map(|gate| format!("127.0.0.1:{}", gate.port())).join(",")
    }

    fn through(&self, destination: &str) -> SSHClient {
        let key = PKey::from_file(self.keys.private("ed25519"), None).unwrap();
        let settings = move |_: &feramiko::JumpHost| given::client().username(&user()).key(key.clone());
        given::client()
            .username("robey")
            .password("foo")
            .proxy_jump(&self.path())
            .jump_with(settings)
            .connect(destination)
            .unwrap()
    }
}

#[test]
fn nothing_is_left_and_nothing_is_handed_down() {
    let _watch = given::within(240);
    // What whoever started the test has left open is not ours.
    let inherited = &descriptors("self") | &BTreeSet::from([0, 1, 2]);
    let Some(house) = House::open() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = SSHServer::builder().host_key(given::host_key()).serve(listener, |_| Echo).unwrap();
    let address = server.address();
    let (threads, open) = (running_threads(), descriptors("self").len());

    // The last handle, whichever it is, ends all connections of the way.
    for round in 0..3 {
        let client = house.through(&address);
        let channel = client.open_session().unwrap();
        channel.exec_command("cat").unwrap();
        if round == 1 {
            client.close();
        }
        drop(client);
        assert!(running_threads() > threads);
        drop(channel);
        until("a way through others is left", || running_threads() == threads);
    }
    bastions(&address);
    until("a bastion is left", || running_threads() == threads && descriptors("self").len() <= open);
    children(&house, &address, &inherited);
}

/// Sessions that end by either side.
fn bastions(address: &str) {
    let inner = given::client().username("robey").password("foo").connect(address).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let bastion = SSHServer::builder()
        .host_key(given::host_key())
        .serve(listener, move |_| Bastion(inner.clone()))
        .unwrap();
    for round in 0..20 {
        let client = given::client().username("me").connect(&bastion.address()).unwrap();
        let channel = client.open_session().unwrap();
        channel.exec_command("cat").unwrap();
        if round % 2 == 0 {
            assert_eq!(given::echoed(&channel, b"through").unwrap(), b"through");
            assert_eq!(channel.wait_exit(None).unwrap(), Echo::STATUS);
        }
    }
    assert!(bastion.shutdown(PATIENCE));
}

/// Everything that holds a descriptor is there while a program is started: it gets none.
fn children(house: &House, address: &str, inherited: &BTreeSet<u32>) {
    let folder = Folder::new();
    let client = house.through(address);
    let gate = house.of_user().connect(&format!("127.0.0.1:{}", house.gates[0].port())).unwrap();
    let (_reader, writer) = std::io::pipe().unwrap();
    let redirected = gate.command("sleep 600").stdout(Redirect::writer(writer)).stdin(Redirect::null());
    let _redirected = redirected.spawn().unwrap();
    let unix = SSHServer::builder()
        .host_key(given::host_key())
        .serve(UnixListener::bind(folder.file("socket")).unwrap(), |_| Echo)
        .unwrap();
    let mut cat = Command::new("bash");
    cat.args(["-c", &format!("exec 3<>/dev/tcp/{}; cat <&3 & cat >&3; kill $!", address.replace(':', "/"))]);
    let proxied = given::client().username("robey").password("foo");
    let proxied = proxied.connect_over(ProxyCommand::spawn(cat).unwrap(), "robey@inner").unwrap();
    let local = our_terminal(&house.keys);
    let _file = File::open("/").unwrap();
    assert!(descriptors("self").len() > 20);

    // A pipe of the test's own shows that it would be seen.
    let mut child =
        Command::new("sleep").arg("600").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = child.id().to_string();
    // Its descriptors are its own when it runs another program than ours.
    until("the child does not start", || {
        fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe != std::env::current_exe().unwrap())
    });
    let handed = descriptors(&pid);
    child.kill().unwrap();
    child.wait().unwrap();
    let ours = &handed - inherited;
    assert!(ours.is_empty() && handed.contains(&0), "the child holds {ours:?} of ours");
    // Nor has it said anything: the connections go on.
    for client in [&client, &proxied] {
        let channel = client.open_session().unwrap();
        channel.exec_command("cat").unwrap();
        assert_eq!(given::echoed(&channel, b"after").unwrap(), b"after");
    }
    for (pid, program) in sessions(&local.0) {
        assert!(descriptors(&pid).iter().all(|fd| *fd <= 2), "{program} holds {:?}", descriptors(&pid));
    }
    drop(unix);
}

/// Our program with a command and a terminal running.
fn our_terminal(keys: &Keys) -> (Vec<feramiko::Channel>, SSHClient, Server) {
    let host = Keys::named("host").unwrap();
    let server = peers::our_sshd(&host, keys);
    let key = PKey::from_file(keys.private("ed25519"), None).unwrap();
    let client = given::client().username(&user()).key(key);
    let client = client.connect(&format!("127.0.0.1:{}", server.port())).unwrap();
    let channels = [true, false].map(|terminal| {
        let channel = client.open_session().unwrap();
        if terminal {
            channel.get_pty(&feramiko::PtyRequest::new("xterm", 80, 24)).unwrap();
        }
        channel.exec_command("echo pid $$; exec sleep 600").unwrap();
        channel
    });
    // In the order in which they are to end.
    (channels.into(), client, server)
}

/// The programs of the sessions, by their numbers.
fn sessions(channels: &[feramiko::Channel]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for mut channel in channels {
        let mut said = String::new();
        while !said.ends_with('\n') {
            let mut piece = [0; 64];
            let count = std::io::Read::read(&mut channel, &mut piece).unwrap();
            assert!(count > 0, "it ended: {said}");
            said += std::str::from_utf8(&piece[..count]).unwrap();
        }
        let pid = said.split_whitespace().nth(1).unwrap().to_owned();
        let exe = Path::new("/proc").join(&pid).join("exe");
        until("the program does not start", || {
            fs::read_link(&exe).is_ok_and(|exe| exe.ends_with("sleep") || exe.ends_with("coreutils"))
        });
        found.push((pid, "a session's program".to_owned()));
    }
    found
}
