//! What is typed leaves so that its timing tells nothing: seen from outside, on the way to the server.

mod given;

#[cfg(unix)]
#[path = "given/terminal.rs"]
mod terminal;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, Channel, ExitStatus, PtyRequest, SSHClient, SSHServer, Secret, ServerHandle,
    ServerInterface, Session, SessionRequest,
};
use given::{Echo, within};

const INTERVAL: Duration = Duration::from_millis(20);
/// What comes after the last key ends by then; OpenSSH's figures are one to three seconds.
const OVER: Duration = Duration::from_secs(4);

/// What went by on the way to the server: when, and how many bytes.
type Seen = Arc<Mutex<Vec<(Instant, usize)>>>;

/// Passes a connection on to a server, and notes what it sends.
fn watched(server: &str) -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (server, seen) = (server.to_owned(), Seen::default());
    let noted = Arc::clone(&seen);
    thread::spawn(move || {
        let (mut near, _) = listener.accept().unwrap();
        let mut far = TcpStream::connect(server).unwrap();
        far.set_nodelay(true).unwrap();
        near.set_nodelay(true).unwrap();
        let (mut back, mut to) = (far.try_clone().unwrap(), near.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut back, &mut to));
        let mut piece = vec![0; 1 << 16];
        while let Ok(count @ 1..) = near.read(&mut piece) {
            noted.lock().unwrap().push((Instant::now(), count));
            far.write_all(&piece[..count]).unwrap();
        }
        let _ = far.shutdown(Shutdown::Both);
    });
    (address, seen)
}

/// Echoes at terminals too.
struct Terminals;

impl ServerInterface for Terminals {
    fn check_auth_password(&self, user: &str, password: &Secret) -> AuthAnswer {
        Echo.check_auth_password(user, password)
    }

    fn check_channel_pty_request(&self, _: &PtyRequest) -> Answer {
        Answer::Yes
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> std::io::Result<ExitStatus> {
        Echo.session(session)
    }
}

/// A connection to a server that echoes, and what is seen of it.
fn connected() -> (ServerHandle, SSHClient, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = SSHServer::builder().host_key(given::host_key()).serve(listener, |_| Terminals).unwrap();
    let (address, seen) = watched(&server.address());
    let client = given::client().username("robey").password("foo").connect(&address).unwrap();
    (server, client, seen)
}

/// A session that echoes, and what is seen of it.
fn session() -> (ServerHandle, SSHClient, Channel, Seen) {
    let (server, client, seen) = connected();
    let channel = client.open_session().unwrap();
    channel.exec_command("cat").unwrap();
    // Keys, window and reply have gone by.
    thread::sleep(Duration::from_millis(300));
    seen.lock().unwrap().clear();
    (server, client, channel, seen)
}

fn sizes(seen: &Seen) -> Vec<usize> {
    seen.lock().unwrap().iter().map(|(_, size)| *size).collect()
}

#[test]
fn one_key_looks_like_typing() {
    let _watch = within(60);
    let (_server, _client, channel, seen) = session();
    let mut keys = channel.keystrokes(INTERVAL).unwrap();
    thread::sleep(INTERVAL * 5);
    assert!(seen.lock().unwrap().is_empty(), "nobody has typed");
    let begun = Instant::now();
    keys.write_all(b"a").unwrap();
    thread::sleep(Duration::from_millis(500));
    keys.write_all(b"b").unwrap();
    let mut back = [0; 2];
    { &channel }.read_exact(&mut back).unwrap();
    assert_eq!(back, *b"ab");
    thread::sleep(OVER);
    let after = sizes(&seen).len();
    let last = seen.lock().unwrap().last().unwrap().0;
    // A busy machine sends fewer, and two at a time.
    assert!(after >= 30, "{after}");
    let one = *sizes(&seen).iter().min().unwrap();
    assert!(sizes(&seen).iter().all(|size| size % one == 0), "{:?}", sizes(&seen));
    assert!(last - begun >= Duration::from_millis(1400), "{:?}", last - begun);
    thread::sleep(INTERVAL * 10);
    assert_eq!(sizes(&seen).len(), after, "it goes on for ever");
    // And begins anew.
    keys.write_all(b"c").unwrap();
    keys.flush().unwrap();
    { &channel }.read_exact(&mut back[..1]).unwrap();
    assert_eq!(back[0], b'c');
}

/// Of one key that is typed at a terminal whose session a master carries.
#[cfg(unix)]
#[test]
fn a_masters_session_at_a_terminal_hides_its_keys() {
    use feramiko::{ControlMaster, MuxClient, MuxCommand};

    let _watch = within(100);
    let folder = tempfile::tempdir().unwrap();
    // How many packets follow a key, with a terminal and without.
    let packets = |name: &str, interval: Option<Duration>, terminal: bool| {
        let (_server, client, seen) = connected();
        let mut builder = ControlMaster::builder();
        if let Some(interval) = interval {
            builder = builder.keystrokes(interval);
        }
        let path = folder.path().join(name);
        let master = builder.serve(client.transport(), &path).unwrap();
        let (mut keys, far) = terminal::Terminal::open(80, 24);
        let command = if terminal { MuxCommand::new("cat").tty("xterm") } else { MuxCommand::new("cat") };
        let session = MuxClient::connect(&path).unwrap().start(&command, &far, &far, &far).unwrap();
        // The first key and its echo set all going.
        keys.types("a\n");
        keys.shows("a");
        thread::sleep(OVER);
        seen.lock().unwrap().clear();
        keys.types("b\n");
        keys.shows("b");
        thread::sleep(OVER);
        let packets = sizes(&seen).len();
        master.stop_listening();
        client.close();
        drop(session);
        packets
    };
    thread::scope(|scope| {
        let hidden = scope.spawn(|| packets("hidden", Some(INTERVAL), true));
        let streams = scope.spawn(|| packets("streams", Some(INTERVAL), false));
        let open = scope.spawn(|| packets("open", None, true));
        assert!(hidden.join().unwrap() >= 30);
        assert!(streams.join().unwrap() < 30, "nobody sits there");
        assert!(open.join().unwrap() < 30, "nobody has asked for it");
    });
}

#[test]
fn what_nobody_types_waits_for_no_time_and_all_arrives_in_order() {
    let _watch = within(60);
    let (_server, _client, channel, _) = session();
    let data: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_be_bytes()[3]).collect();
    let mut back = vec![0; data.len() + 3];
    // With a time that far apart nothing would arrive in time.
    let mut keys = channel.keystrokes(Duration::from_secs(1)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            for piece in data.chunks(1000) {
                keys.write_all(piece).unwrap();
            }
            keys.write_all(b"end").unwrap();
            keys.finish().unwrap();
            channel.shutdown(Shutdown::Write);
        });
        { &channel }.read_exact(&mut back).unwrap();
    });
    assert!(back.starts_with(&data) && back.ends_with(b"end"));
    assert_eq!({ &channel }.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_channel_that_is_gone_is_told() {
    let _watch = within(60);
    let (_server, client, channel, _) = session();
    let mut keys = channel.keystrokes(INTERVAL).unwrap();
    client.close();
    let begun = Instant::now();
    while keys.write_all(b"a").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        thread::sleep(INTERVAL);
    }
    keys.finish().unwrap_err();
}
