//! Forwarded X11: what a display sees of it, what is kept from it, and real programs on a real X server with
//! OpenSSH at either end.

#![cfg(unix)]

mod given;
mod peers;
#[path = "x11/programs.rs"]
mod programs;
mod raw;

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, AuthInfo, Channel, ExitStatus, Permissions, SSHClient, SSHServer, Secret,
    ServerHandle, ServerInterface, Session, SessionRequest, X11Answer, X11Displays, X11Options, X11Request,
};
use peers::Folder;
use raw::{Field, Raw, message};

const PROTOCOL: &str = "MIT-MAGIC-COOKIE-1";
/// The cookies of the displays.
const REAL: [[u8; 16]; 2] = [[0x11; 16], [0x22; 16]];
/// Whoever is to be served is, in that time.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Forwards X11 to whom it may, tells where, and waits for the end of input.
struct App;

impl ServerInterface for App {
    fn check_auth_password(&self, user: &str, _: &Secret) -> AuthAnswer {
        if user == "robey" {
            return AuthAnswer::Accept;
        }
        AuthAnswer::AcceptWith(Box::new(Permissions::restricted()))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn check_channel_x11_request(&self, _: &AuthInfo, request: &X11Request) -> X11Answer {
        assert!(!format!("{request:?}").contains("1111"), "a cookie is shown");
        let mut displays = X11Displays::default();
        displays.offset = 100;
        X11Answer::Accept(displays)
    }

    fn session(&self, mut session: Session) -> io::Result<ExitStatus> {
        let display = session.x11()?.expect("it was granted");
        let [(_, name), (_, authority)] = display.environment();
        writeln!(session, "{} {}", name.display(), authority.display())?;
        io::copy(&mut session.channel(), &mut io::sink())?;
        Ok(ExitStatus::Code(0))
    }
}

fn connect() -> (ServerHandle, SSHClient) {
    let server = SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| App)
        .unwrap();
    let client = given::client().username("robey").password("foo").connect(&server.address()).unwrap();
    (server, client)
}

/// A display that takes whoever comes, and its Xauthority file.
struct Screen {
    listener: UnixListener,
    folder: Folder,
}

impl Screen {
    fn new(cookie: [u8; 16]) -> Self {
        let folder = Folder::new();
        fs::write(folder.file("authority"), entry(cookie)).unwrap();
        Self { listener: UnixListener::bind(folder.file("x:0")).unwrap(), folder }
    }

    fn options(&self) -> X11Options {
        let name = format!("{}.3", self.folder.file("x:0").display());
        X11Options::new(&name).unwrap().authority(self.folder.file("authority")).trusted(true)
    }

    fn accept(&self) -> UnixStream {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(AT_ONCE)).unwrap();
        stream
    }

    fn nobody_came(&self) {
        self.listener.set_nonblocking(true).unwrap();
        assert_eq!(self.listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        self.listener.set_nonblocking(false).unwrap();
    }
}

/// An entry for every display.
fn entry(cookie: [u8; 16]) -> Vec<u8> {
    let mut entry = vec![0xff, 0xff, 0, 0, 0, 0, 0, 18];
    entry.extend(PROTOCOL.bytes().chain([0, 16]).chain(cookie));
    entry
}

/// A session that forwards X11, as its programs see it.
struct Forwarded {
    session: Channel,
    name: String,
    authority: PathBuf,
}

impl Forwarded {
    fn new(client: &SSHClient, options: &X11Options) -> Self {
        let session = client.open_session().unwrap();
        session.request_x11(options).unwrap();
        session.exec_command("wait").unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            { &session }.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        let line = String::from_utf8(line).unwrap();
        let (name, authority) = line.trim().split_once(' ').unwrap();
        Self { session, name: name.to_owned(), authority: authority.into() }
    }

    fn port(&self) -> u16 {
        let number = self.name.strip_prefix("localhost:").unwrap().strip_suffix(".3").unwrap();
        6000 + number.parse::<u16>().unwrap()
    }

    fn cookie(&self) -> [u8; 16] {
        *fs::read(&self.authority).unwrap().last_chunk().unwrap()
    }

    fn program(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        stream.set_read_timeout(Some(AT_ONCE)).unwrap();
        stream
    }

    /// What a program gets that sends this and nothing more.
    fn answer(&self, packet: &[u8]) -> Vec<u8> {
        let mut program = self.program();
        let mut answer = Vec::new();
        // It may be cut off while it writes.
        let _ = program.write_all(packet).and_then(|()| program.shutdown(Shutdown::Write));
        match program.read_to_end(&mut answer) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("not cut off: {error}"),
            _ => answer,
        }
    }
}

impl Drop for Forwarded {
    /// Does not let the test end before the session has cleared up.
    fn drop(&mut self) {
        self.session.close();
        if !std::thread::panicking() {
            soon("the cookie is gone", || !self.authority.parent().unwrap().exists());
        }
    }
}

fn first_packet(big: bool, name: &str, data: &[u8]) -> Vec<u8> {
    let number = |value: usize| {
        let value = u16::try_from(value).unwrap();
        if big { value.to_be_bytes() } else { value.to_le_bytes() }
    };
    let mut packet = vec![if big { b'B' } else { b'l' }, 0];
    for value in [11, 0, name.len(), data.len(), 0] {
        packet.extend(number(value));
    }
    for field in [name.as_bytes(), data] {
        packet.extend(field);
        packet.resize(packet.len().next_multiple_of(4), 0);
    }
    packet
}

fn soon(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + AT_ONCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: never");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn each_display_gets_its_own_cookie_and_every_byte() {
    let _watch = given::within(60);
    let (_server, client) = connect();
    let screens = REAL.map(Screen::new);
    let sessions = [0, 1].map(|at: usize| Forwarded::new(&client, &screens[at].options()));
    assert_ne!(sessions[0].cookie(), sessions[1].cookie());
    for ((session, screen), real) in sessions.iter().zip(&screens).zip(REAL) {
        assert_ne!(session.cookie(), real);
        let folder = session.authority.parent().unwrap();
        for (path, mode) in [(session.authority.as_path(), 0o600), (folder, 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        for big in [true, false] {
            let mut program = session.program();
            program.write_all(&first_packet(big, PROTOCOL, &session.cookie())).unwrap();
            program.write_all(b"and more").unwrap();
            program.shutdown(Shutdown::Write).unwrap();
            let (mut display, mut got) = (screen.accept(), Vec::new());
            display.read_to_end(&mut got).unwrap();
            assert_eq!(got, [&first_packet(big, PROTOCOL, &real)[..], b"and more"].concat());
            // The program has said all, and still hears.
            let long = vec![7; 300_000];
            display.write_all(&long).unwrap();
            drop(display);
            let mut heard = Vec::new();
            program.read_to_end(&mut heard).unwrap();
            assert!(heard == long);
        }
    }
    // A display without a cookie is shown none.
    let open = Screen::new(REAL[0]);
    fs::write(open.folder.file("authority"), b"").unwrap();
    let session = Forwarded::new(&client, &open.options());
    let packet = first_packet(true, PROTOCOL, &session.cookie());
    let mut program = session.program();
    program.write_all(&packet).unwrap();
    let mut got = [0; 12];
    open.accept().read_exact(&mut got).unwrap();
    assert_eq!(got[..], first_packet(true, "", b""));
}

/// `fwd.x11_cookie`.
#[test]
fn who_does_not_show_the_cookie_reaches_no_display() {
    let _watch = given::within(120);
    let (_server, client) = connect();
    let screen = Screen::new(REAL[0]);
    let session = Forwarded::new(&client, &screen.options());
    let right = session.cookie();
    let mut wrong = right;
    wrong[15] ^= 1;
    for big in [true, false] {
        let packet = first_packet(big, PROTOCOL, &right);
        for length in 0..packet.len() {
            assert_eq!(session.answer(&packet[..length]), b"", "{length}");
        }
        for packet in [
            first_packet(big, PROTOCOL, &wrong),
            first_packet(big, PROTOCOL, &REAL[0]),
            first_packet(big, PROTOCOL, &right[..15]),
            first_packet(big, "MIT-MAGIC-COOKIE-2", &right),
            first_packet(big, "XDM-AUTHORIZATION-1", &right),
            first_packet(big, "", b""),
            first_packet(big, &"n".repeat(60_000), &[0; 60_000]),
            first_packet(!big, PROTOCOL, &right).into_iter().rev().collect(),
        ] {
            assert_eq!(session.answer(&packet), b"");
        }
    }
    screen.nobody_came();
    session.program().write_all(&first_packet(true, PROTOCOL, &right)).unwrap();
    screen.accept();
}

#[test]
fn one_connection_where_one_was_asked_for() {
    let _watch = given::within(60);
    let (_server, client) = connect();
    let screen = Screen::new(REAL[0]);
    let session = Forwarded::new(&client, &screen.options().single_connection(true));
    let mut program = session.program();
    program.write_all(&first_packet(true, PROTOCOL, &session.cookie())).unwrap();
    let mut display = screen.accept();
    let port = session.port();
    soon("it listens no more", || TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_err());
    // The one goes on.
    display.write_all(b"still").unwrap();
    let mut heard = [0; 5];
    program.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still");
}

#[test]
fn untrusted_connections_are_taken_for_a_time() {
    let _watch = given::within(60);
    let (_server, client) = connect();
    let screen = Screen::new(REAL[0]);
    let (xauth, said) = (screen.folder.file("xauth"), screen.folder.file("said"));
    fs::write(screen.folder.file("made"), entry(REAL[1])).unwrap();
    let script = "#!/bin/sh\ncd \"${0%/*}\"; echo \"$*\" >said; umask 077; cp made \"$3\"\n";
    fs::write(&xauth, script).unwrap();
    fs::set_permissions(&xauth, fs::Permissions::from_mode(0o700)).unwrap();
    let options = screen.options().trusted(false).xauth_location(&xauth);
    let session = Forwarded::new(&client, &options.clone().timeout(Some(Duration::from_secs(2))));
    let begun = Instant::now();
    let text = fs::read_to_string(&said).unwrap();
    let made = text.split(' ').nth(2).unwrap();
    let display = format!("{}.3", screen.folder.file("x:0").display());
    assert_eq!(text, format!("-q -f {made} generate {display} {PROTOCOL} untrusted timeout 62\n"));
    assert!(!fs::exists(made).unwrap());
    let packet = first_packet(false, PROTOCOL, &session.cookie());
    let mut early = session.program();
    early.write_all(&packet).unwrap();
    let (mut shown, mut got) = (screen.accept(), vec![0; packet.len()]);
    shown.read_exact(&mut got).unwrap();
    assert_eq!(got, first_packet(false, PROTOCOL, &REAL[1]));
    std::thread::sleep(Duration::from_millis(2100).saturating_sub(begun.elapsed()));
    assert_eq!(session.answer(&packet), b"");
    screen.nobody_came();
    // Who was let in in time stays.
    early.write_all(b"x").unwrap();
    shown.read_exact(&mut got[..1]).unwrap();

    // The time is for untrusted ones alone.
    let trusted = Forwarded::new(&client, &screen.options().timeout(Some(Duration::from_nanos(1))));
    trusted.program().write_all(&first_packet(true, PROTOCOL, &trusted.cookie())).unwrap();
    screen.accept();

    // Without a cookie for untrusted programs nothing is forwarded: never the user's own.
    for (script, within) in [("#!/bin/sh\nexit 1\n", AT_ONCE), ("#!/bin/sh\nexit 0\n", AT_ONCE)] {
        fs::write(&xauth, script).unwrap();
        let begun = Instant::now();
        let error = client.open_session().unwrap().request_x11(&options).unwrap_err().to_string();
        assert!(error.contains("makes no cookie for untrusted programs"), "{error}");
        assert!(begun.elapsed() < within);
    }
    let missing = options.xauth_location("/nonexistent/xauth");
    assert!(client.open_session().unwrap().request_x11(&missing).is_err());
}

#[test]
fn all_is_gone_with_the_session() {
    let _watch = given::within(60);
    let (server, client) = connect();
    let screen = Screen::new(REAL[0]);
    for whole in [false, true] {
        let session = Forwarded::new(&client, &screen.options());
        let packet = first_packet(true, PROTOCOL, &session.cookie());
        let mut program = session.program();
        program.write_all(&packet).unwrap();
        let mut display = screen.accept();
        display.read_exact(&mut vec![0; packet.len()]).unwrap();
        if whole {
            client.close();
        } else {
            session.session.close();
        }
        for cut in [program.read(&mut [0]), display.read(&mut [0])] {
            assert!(cut.map_or_else(|error| error.kind() == ErrorKind::ConnectionReset, |count| count == 0));
        }
        let port = session.port();
        soon("nobody listens", || TcpStream::connect(("127.0.0.1", port)).is_err());
    }
    server.shutdown(AT_ONCE);
}

/// `fwd.x11_cookie`, and CVE-2016-3115: what is no cookie goes nowhere.
#[test]
fn requests_that_are_refused() {
    let _watch = given::within(60);
    let (server, _client) = connect();
    let cookie = "0123456789abcdef0123456789abcdef";
    let ask = |user: &str, protocol: &str, cookie: &str| {
        let mut raw = Raw::logged_in(&server.address(), user, "foo");
        let channel = raw.open_session(0, 1 << 20, 1 << 15);
        let request = message(98).u32(channel).string("x11-req").bool(true).bool(false);
        (raw, request.string(protocol).string(cookie).u32(0))
    };
    let long = cookie.repeat(1000);
    for bad in [
        "",
        "0",
        &cookie[1..],
        &long,
        "0123456789abcdef0123456789abcdeg",
        "; touch /tmp/x",
        "\nadd :0 . 00",
        "0123456789abcdef0123456789abcde\n",
        " 0123456789abcdef0123456789abcde",
    ] {
        let (mut raw, request) = ask("robey", PROTOCOL, bad);
        raw.send(&request);
        raw.expect(100);
    }
    for (user, protocol) in [
        ("robey", "XDM-AUTHORIZATION-1"),
        ("robey", "mit-magic-cookie-1"),
        ("robey", ""),
        // The user's key forbids it, whatever the application says.
        ("restricted", PROTOCOL),
    ] {
        let (mut raw, request) = ask(user, protocol, cookie);
        raw.send(&request);
        raw.expect(100);
    }
    let (mut raw, request) = ask("robey", PROTOCOL, cookie);
    for length in request.len() - 50..request.len() {
        raw.send(&request[..length]);
        raw.expect(100);
    }
    raw.send(&request);
    raw.expect(99);
    // Once a session.
    raw.send(&request);
    raw.expect(100);
}
