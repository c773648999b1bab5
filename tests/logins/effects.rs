//! What a line of authorized_keys or a certificate lets its user do: forward ports and sockets, an agent, X11,
//! have a terminal, run `~/.ssh/rc`. Tried on both servers.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use feramiko::{Agent, AgentServer, Channel, Endpoint, Error, KeyKind, PKey, Result, SSHClient, X11Options};

use crate::given;
use crate::judges::{Judges, all_agreed, connect, terminal};
use crate::makers::Workshop;
use crate::peers::Folder;

/// Further lines of sshd_config.
const CONFIG: &[&str] = &["X11Forwarding yes", "AllowAgentForwarding yes"];
/// What whoever is connected to says.
const GREETING: &[u8] = b"here";
/// RFC 4254 §5.1.
const ADMINISTRATIVELY_PROHIBITED: u32 = 1;
const CONNECT_FAILED: u32 = 2;
/// Where ports begin that no system gives to whoever connects.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Places to forward to and from, an agent and a display.
struct World {
    /// Somebody says [`GREETING`] there.
    open: u16,
    open_path: String,
    /// Nobody listens there.
    listen: u16,
    listen_path: String,
    agent: Agent,
    display: X11Options,
    _folder: Folder,
}

impl World {
    fn new() -> Self {
        let folder = Folder::new();
        let path = |name: &str| folder.file(name).display().to_string();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = tcp.local_addr().unwrap().port();
        thread::spawn(move || tcp.incoming().for_each(|stream| stream.unwrap().write_all(GREETING).unwrap()));
        let unix = UnixListener::bind(path("open")).unwrap();
        thread::spawn(move || {
            unix.incoming().for_each(|stream| stream.unwrap().write_all(GREETING).unwrap())
        });
        let server = AgentServer::builder().build();
        let agents = AgentServer::listen(path("agent")).unwrap();
        thread::spawn(move || {
            for stream in agents.incoming() {
                let (stream, server) = (stream.unwrap(), server.clone());
                thread::spawn(move || server.serve_connection(stream));
            }
        });
        // An entry for every display.
        let entry =
            [&[0xff, 0xff, 0, 0, 0, 0, 0, 18][..], b"MIT-MAGIC-COOKIE-1", &[0, 16], &[7; 16]].concat();
        fs::write(path("authority"), entry).unwrap();
        // Not where another test looks, of this process or of one beside it.
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let world = std::process::id() * 16 + WORLDS.fetch_add(1, Ordering::Relaxed);
        let skip = usize::try_from(world).unwrap() % PORTS.len();
        let mut ports = PORTS.cycle().skip(skip).take(PORTS.len());
        let listen = ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
        Self {
            open,
            open_path: path("open"),
            listen: listen.unwrap(),
            listen_path: path("listen"),
            agent: Agent::connect(path("agent")).unwrap(),
            display: X11Options::new(":7").unwrap().authority(path("authority")).trusted(true),
            _folder: folder,
        }
    }

    /// Options of a line, with the ports in them.
    fn options(&self, options: &str) -> String {
        options.replace("OPEN", &self.open.to_string()).replace("LISTEN", &self.listen.to_string())
    }

    /// A letter for each thing that may be done; one that is half done has a question mark.
    fn effects(&self, client: &SSHClient, ours: bool) -> String {
        let direct = client.open_direct_tcpip("localhost", self.open, ("127.0.0.1", 1));
        let unix = client.open_direct_streamlocal(&self.open_path);
        // OpenSSH says of sockets that may not be connected to that they cannot be.
        let mut letters = opened("o", direct, ADMINISTRATIVELY_PROHIBITED);
        letters += &opened("u", unix, if ours { ADMINISTRATIVELY_PROHIBITED } else { CONNECT_FAILED });
        letters += &self.listened("l", client, Endpoint::tcp("localhost", self.listen));
        letters += &self.listened("v", client, Endpoint::unix(&self.listen_path));
        // Not every server takes it away.
        let _ = fs::remove_file(&self.listen_path);
        letters += &self.session(client);
        letters + if terminal(client) == "\"tty\"" { "t" } else { "" }
    }

    fn listened(&self, letter: &str, client: &SSHClient, at: Endpoint) -> String {
        match client.forward_remote(at, Endpoint::tcp("127.0.0.1", self.open)) {
            Ok(forward) => {
                forward.close().unwrap();
                letter.to_owned()
            }
            Err(Error::RequestRefused(_)) => String::new(),
            Err(error) => format!("{letter}? {error} "),
        }
    }

    /// What a session is granted, and what its program sees of it.
    fn session(&self, client: &SSHClient) -> String {
        let session = client.open_session().unwrap();
        let granted = [session.request_forward_agent(&self.agent), session.request_x11(&self.display)];
        session
            .exec_command("test -S \"$SSH_AUTH_SOCK\" && echo agent; test -n \"$DISPLAY\" && echo display")
            .unwrap();
        let mut seen = String::new();
        { &session }.read_to_string(&mut seen).unwrap();
        let mut letters = String::new();
        for ((letter, word), granted) in [("a", "agent\n"), ("x", "display\n")].into_iter().zip(granted) {
            letters += &match (granted, seen.contains(word)) {
                (Ok(()), true) => letter.to_owned(),
                (Err(Error::RequestRefused(_)), false) => String::new(),
                (granted, seen) => format!("{letter}? {granted:?} {seen} "),
            };
        }
        letters + if seen.contains("rc ran\n") { "r" } else { "" }
    }
}

/// `refusal`: the code of one by whoever may not.
fn opened(letter: &str, channel: Result<Channel>, refusal: u32) -> String {
    match channel {
        Ok(mut channel) => {
            let mut said = Vec::new();
            channel.read_to_end(&mut said).unwrap();
            assert_eq!(said, GREETING);
            letter.to_owned()
        }
        Err(Error::ChannelRefused { code, .. }) if code == refusal => String::new(),
        Err(error) => format!("{letter}? {error} "),
    }
}

/// Both servers have the user do just that. What a capital stands for OpenSSH allows: it holds nobody who may
/// listen on some ports only to them where UNIX sockets are meant, and takes a socket for a host and a port where
/// all are allowed. Ours keeps to what the lists are of.
fn agree(judges: &Judges, world: &World, what: &str, key: &PKey, expected: &str, failed: &mut Vec<String>) {
    // One after the other: they listen in the same places.
    for (name, server) in &judges.servers {
        let ours = *name == "ours";
        let shown = connect(server, key).map(|client| world.effects(&client, ours));
        let expected = if ours { expected.replace(char::is_uppercase, "") } else { expected.to_lowercase() };
        if shown.as_ref() != Some(&expected) {
            failed.push(format!("{what}, {name}: {shown:?}, expected {expected}"));
        }
    }
}

fn judges() -> Option<Judges> {
    let judges = Judges::at_home(CONFIG)?;
    judges.write(".ssh/rc", "echo rc ran\n");
    Some(judges)
}

/// Connections to ports and sockets, listening on ports and sockets, agent, X11, rc, terminal.
const ALL: &str = "oulvaxrt";

/// Options before a key, and what they leave to its user.
const LINES: &[(&str, &str)] = &[
    ("", ALL),
    ("restrict", ""),
    ("restrict,port-forwarding", "oulv"),
    ("restrict,agent-forwarding", "a"),
    ("restrict,X11-forwarding", "x"),
    ("restrict,user-rc", "r"),
    ("restrict,pty", "t"),
    ("restrict,pty,agent-forwarding,user-rc", "art"),
    ("port-forwarding,restrict", ""),
    ("no-port-forwarding", "axrt"),
    ("No-Port-Forwarding", "axrt"),
    ("no-port-forwarding,port-forwarding", ALL),
    ("no-agent-forwarding", "oulvxrt"),
    ("no-agent-forwarding,agent-forwarding", ALL),
    ("no-X11-forwarding", "oulvart"),
    ("no-x11-forwarding", "oulvart"),
    ("no-user-rc", "oulvaxt"),
    ("no-pty", "oulvaxr"),
    ("no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-user-rc,no-pty", ""),
    ("permitopen=\"localhost:OPEN\"", "olvaxrt"),
    ("permitopen=\"localhost:*\"", "olvaxrt"),
    ("permitopen=\"*:OPEN\"", "olvaxrt"),
    ("permitopen=\"*:*\"", "oUlvaxrt"),
    ("permitopen=\"LOCALHOST:OPEN\"", "lvaxrt"),
    ("permitopen=\"local*:OPEN\"", "lvaxrt"),
    ("permitopen=\"localhost:1\"", "lvaxrt"),
    ("permitopen=\"127.0.0.1:OPEN\"", "lvaxrt"),
    ("permitopen=\"localhost:1\",permitopen=\"localhost:OPEN\"", "olvaxrt"),
    ("permitopen=\"localhost:OPEN\",no-port-forwarding", "axrt"),
    ("restrict,permitopen=\"localhost:OPEN\"", ""),
    ("restrict,port-forwarding,permitopen=\"localhost:OPEN\"", "olv"),
    ("permitlisten=\"localhost:LISTEN\"", "oulVaxrt"),
    ("permitlisten=\"LISTEN\"", "oulVaxrt"),
    ("permitlisten=\"localhost:*\"", "oulVaxrt"),
    ("permitlisten=\"*:LISTEN\"", "oulVaxrt"),
    ("permitlisten=\"local*:LISTEN\"", "oulVaxrt"),
    ("permitlisten=\"LOCALHOST:LISTEN\"", "ouVaxrt"),
    ("permitlisten=\"localhost:1\"", "ouVaxrt"),
    ("permitlisten=\"1\"", "ouVaxrt"),
    ("permitlisten=\"127.0.0.1:LISTEN\"", "ouVaxrt"),
    ("permitlisten=\"1\",permitlisten=\"LISTEN\"", "oulVaxrt"),
    ("permitlisten=\"LISTEN\",no-port-forwarding", "axrt"),
    ("permitopen=\"localhost:1\",permitlisten=\"1\"", "Vaxrt"),
    ("permitopen=\"localhost:OPEN\",permitlisten=\"LISTEN\"", "olVaxrt"),
];

#[test]
fn effects_of_lines() {
    let _watch = given::within(300);
    let Some(judges) = judges() else { return };
    let (world, key) = (World::new(), given::host_key());
    let mut failed = Vec::new();
    for (options, expected) in LINES {
        let options = world.options(options);
        judges.write("keys", &format!("{options} {}\n", key.public_key().to_line()));
        agree(&judges, &world, &options, &key, expected, &mut failed);
    }
    all_agreed(&failed);
}

/// Options of an authority's line, where it stands in one, arguments of `ssh-keygen -s`, and what both leave.
const CERTIFICATES: &[(Option<&str>, &[&str], &str)] = &[
    (None, &[], ALL),
    (None, &["-O", "clear"], ""),
    (None, &["-O", "clear", "-O", "permit-port-forwarding"], "oulv"),
    (None, &["-O", "clear", "-O", "permit-agent-forwarding"], "a"),
    (None, &["-O", "clear", "-O", "permit-x11-forwarding"], "x"),
    (None, &["-O", "clear", "-O", "permit-user-rc"], "r"),
    (None, &["-O", "clear", "-O", "permit-pty"], "t"),
    (None, &["-O", "no-port-forwarding"], "axrt"),
    (None, &["-O", "no-agent-forwarding"], "oulvxrt"),
    (None, &["-O", "no-x11-forwarding"], "oulvart"),
    (None, &["-O", "no-user-rc"], "oulvaxt"),
    (None, &["-O", "no-pty"], "oulvaxr"),
    (Some(""), &[], ALL),
    (Some(",restrict"), &[], ""),
    (Some(",restrict,pty,port-forwarding"), &["-O", "no-pty"], "oulv"),
    (Some(",no-agent-forwarding"), &["-O", "no-x11-forwarding"], "oulvrt"),
    (Some(",permitopen=\"localhost:OPEN\""), &[], "olvaxrt"),
    (Some(",permitopen=\"localhost:1\""), &["-O", "no-user-rc"], "lvaxt"),
    (Some(",permitlisten=\"1\""), &[], "ouVaxrt"),
];

#[test]
fn effects_of_certificates() {
    let _watch = given::within(300);
    let (Some(judges), Some(shop)) = (judges(), Workshop::new()) else { return };
    let world = World::new();
    let (authority, key) = (shop.key("authority", KeyKind::Ed25519), shop.key("id", KeyKind::Ed25519));
    let line = authority.public_key().to_line();
    let mut failed = Vec::new();
    for (options, arguments, expected) in CERTIFICATES {
        let options = options.map(|options| format!("cert-authority{}", world.options(options)));
        let keys = options.as_ref().map(|options| format!("{options} {line}\n"));
        judges.write("authorities", if keys.is_some() { "" } else { &line });
        judges.write("keys", &keys.unwrap_or_default());
        for (maker, by) in shop.makers() {
            let arguments = [&["-n", "USER"], *arguments].concat();
            let certified = key.with_certificate(&shop.certificate(maker, "authority", &arguments)).unwrap();
            let what = format!("{options:?} {arguments:?} {by}");
            agree(&judges, &world, &what, &certified, expected, &mut failed);
        }
    }
    all_agreed(&failed);
}
