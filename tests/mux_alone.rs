//! A master of ours and clients that are none: nothing they send or leave out hangs, and no descriptor and no
//! thread stays.
//!
//! One test a process: it counts both.

#![cfg(unix)]

mod given;
#[path = "mux/wire.rs"]
mod wire;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{ControlMaster, Limits, MuxClient, MuxCommand, SSHClient, SSHServer, running_threads};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wire::{Raw, every, hello, long, new_session, stdio_forward};

/// Time that a client of these tests is given.
const STALL: Duration = Duration::from_millis(300);
/// Clients that a master serves at once.
const CLIENTS: usize = 128;

fn soon(what: &str, is: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not so in time");
        thread::sleep(Duration::from_millis(5));
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Everything here: a server that echoes, a connection to it, and its master.
struct Shared {
    path: PathBuf,
    client: SSHClient,
    master: ControlMaster,
    server: feramiko::ServerHandle,
}

impl Shared {
    fn start(folder: &Path) -> Self {
        let mut limits = Limits::default();
        limits.sessions = 64;
        let server = SSHServer::builder()
            .host_key(given::host_key())
            .limits(limits)
            .serve(TcpListener::bind("127.0.0.1:0").unwrap(), |_| given::Echo)
            .unwrap();
        let client = given::client().username("me").password("foo").connect(&server.address()).unwrap();
        let path = folder.join("control");
        let builder = ControlMaster::builder().stall_timeout(STALL);
        let master = builder.serve(client.transport(), &path).unwrap();
        Self { path, client, master, server }
    }

    fn raw(&self) -> Raw {
        Raw::connect(&self.path)
    }

    /// It lives and serves.
    fn lives(&self) {
        assert_eq!(MuxClient::connect(&self.path).unwrap().check().unwrap(), std::process::id());
    }
}

#[test]
fn clients_that_are_none_leave_nothing() {
    let _watch = given::within(120);
    let folder = tempfile::tempdir().unwrap();
    let before = descriptors();
    let shared = Shared::start(folder.path());
    soon("the server has nothing to do", || shared.master.clients() == 0);
    shared.lives();
    soon("the first client has gone", || shared.master.clients() == 0);
    let served = descriptors();

    cut_messages(&shared);
    broken_frames(&shared);
    missing_descriptors(&shared);
    sessions_that_are_left(&shared);
    never_reading(&shared);
    too_many(&shared);
    too_few_descriptors(&shared);
    masters_that_go(&shared);

    shared.lives();
    soon("the clients have gone", || shared.master.clients() == 0);
    soon("no descriptor stays", || descriptors() <= served);
    assert!(shared.client.transport().is_active());
    let Shared { client, master, server, .. } = shared;
    drop(master);
    drop(client);
    server.shutdown(Duration::from_secs(5));
    soon("no thread stays", || running_threads() == 0);
    soon("no descriptor stays of all", || descriptors() <= before);
}

/// Every message, cut at every byte, and with a byte too many.
fn cut_messages(shared: &Shared) {
    for message in every() {
        let longer = [message.as_slice(), b"\0"].concat();
        for cut in (0..message.len()).map(|end| &message[..end]).chain([longer.as_slice()]) {
            let mut raw = shared.raw();
            raw.send(&hello());
            raw.send(cut);
            // Whether it is refused or hung up on, it is soon.
            raw.hang_up();
            raw.reads_end();
        }
    }
    shared.lives();
}

fn broken_frames(shared: &Shared) {
    for bytes in
        [&u32::MAX.to_be_bytes()[..], &(256 * 1024 + 1_u32).to_be_bytes(), &[0; 4], &[0, 0, 0, 4, 0, 0, 0, 9]]
    {
        let mut raw = shared.raw();
        raw.bytes(bytes);
        // What is too long or no hello is not waited for.
        raw.reads_end();
    }
    for bytes in [&b"\0"[..], &[0, 0, 0], &[0, 0, 1, 0, 1]] {
        // It is begun and not gone on with, or it is left.
        let mut raw = shared.raw();
        raw.bytes(bytes);
        raw.reads_end();
        let mut raw = shared.raw();
        raw.bytes(bytes);
        raw.hang_up();
        raw.reads_end();
    }
    for first in [wire::alive(), wire::hello_of(3), wire::hello_of(5)] {
        let mut raw = shared.raw();
        raw.send(&first);
        raw.reads_end();
    }
    let mut raw = shared.raw();
    raw.send(&hello());
    raw.send(&hello());
    raw.reads_end();
    // What is not known is answered, and the next request too.
    let mut raw = shared.raw();
    raw.send(&hello());
    raw.receive();
    raw.send(&wire::message(0x1234_5678, |it| it.extend([0, 0, 0, 9])));
    assert!(long(&raw.receive()).contains("unsupported request"));
    raw.send(&wire::alive());
    assert_eq!(raw.receive()[..4], 0x8000_0005_u32.to_be_bytes());
    shared.lives();
}

fn missing_descriptors(shared: &Shared) {
    let null = || std::fs::File::open("/dev/null").unwrap();
    for count in 0..3 {
        for hangs_up in [true, false] {
            let mut raw = shared.raw();
            raw.send(&hello());
            raw.send(&new_session(b"cat"));
            (0..count).for_each(|_| raw.pass(&null()));
            if hangs_up {
                raw.hang_up();
            }
            raw.reads_end();
        }
    }
    let mut raw = shared.raw();
    raw.send(&hello());
    raw.send(&new_session(b"cat"));
    raw.bytes(b"abc");
    raw.reads_end();
    // Two with a byte.
    let mut raw = shared.raw();
    raw.send(&hello());
    raw.send(&new_session(b"cat"));
    raw.pass_both(&null(), &null());
    raw.reads_end();
    // Nobody asked for one: it is not kept.
    let mut raw = shared.raw();
    raw.send(&hello());
    raw.pass(&null());
    raw.reads_end();
    // What a command cannot be.
    let mut raw = shared.raw();
    raw.send(&hello());
    raw.receive();
    raw.send(&new_session(b"a\0b"));
    (0..3).for_each(|_| raw.pass(&null()));
    assert!(long(&raw.receive()).contains("Session open refused"));
    shared.lives();
}

/// A session whose client goes, and one whose client wants a second.
fn sessions_that_are_left(shared: &Shared) {
    for _ in 0..8 {
        let (input, kept) = std::io::pipe().unwrap();
        let (output, theirs) = std::io::pipe().unwrap();
        let mut raw = shared.raw();
        raw.send(&hello());
        raw.receive();
        raw.send(&new_session(b"cat"));
        raw.pass(&input);
        raw.pass(&theirs);
        raw.pass(&theirs);
        assert_eq!(raw.receive()[..4], 0x8000_0006_u32.to_be_bytes());
        (&kept).write_all(b"echo").unwrap();
        (&output).read_exact(&mut [0; 4]).unwrap();
        raw.send(&new_session(b"cat"));
        (0..3).for_each(|_| raw.pass(&input));
        assert!(long(&raw.receive()).contains("Multiple sessions"));
        raw.send(&stdio_forward());
        (0..2).for_each(|_| raw.pass(&input));
        assert!(long(&raw.receive()).contains("Multiple sessions"));
        drop((input, theirs, raw));
        // The master lets go of its descriptors, although the input has not ended.
        assert_eq!((&output).read(&mut [0]).unwrap(), 0);
        drop(kept);
    }
}

/// Clients that take no answers, and a session whose output nobody takes.
fn never_reading(shared: &Shared) {
    let mut raw = shared.raw();
    raw.send(&hello());
    let alive = wire::alive();
    // The master gives it up when it has waited long enough.
    while raw.try_send(&alive) {}

    let (input, kept) = std::io::pipe().unwrap();
    let (output, theirs) = std::io::pipe().unwrap();
    let master = MuxClient::connect(&shared.path).unwrap();
    let session = master.start(&MuxCommand::new("cat"), &input, &theirs, &theirs).unwrap();
    drop((input, theirs));
    let feeding = thread::spawn(move || {
        // Ends when the master lets go of the pipe.
        while (&kept).write_all(&[7; 65536]).is_ok() {}
    });
    thread::sleep(STALL);
    // Nobody has read a byte; other sessions do not mind.
    shared.lives();
    drop(session);
    feeding.join().unwrap();
    drop(output);
}

fn too_many(shared: &Shared) {
    soon("the clients have gone", || shared.master.clients() == 0);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| shared.raw()).collect();
    clients.iter_mut().for_each(|raw| drop(raw.receive()));
    shared.raw().reads_end();
    drop(clients);
    soon("there is room again", || shared.master.clients() == 0);
    shared.lives();
}

/// Nobody can be taken in for a while: whoever comes is served when there is room again.
fn too_few_descriptors(shared: &Shared) {
    soon("the clients have gone", || shared.master.clients() == 0);
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(512), ..before }).unwrap();
    let mut all: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
    drop(all.pop());
    let mut raw = shared.raw();
    thread::sleep(STALL);
    drop(all);
    setrlimit(Resource::Nofile, before).unwrap();
    raw.receive();
    drop(raw);
    shared.lives();
}

/// Masters of one connection, one after the other: none leaves a thread.
fn masters_that_go(shared: &Shared) {
    soon("the clients have gone", || shared.master.clients() == 0);
    let path = shared.path.with_extension("another");
    let threads = running_threads();
    for _ in 0..3 {
        let another = ControlMaster::builder().serve(shared.client.transport(), &path).unwrap();
        MuxClient::connect(&path).unwrap().check().unwrap();
        drop(another);
    }
    soon("their threads have ended", || running_threads() <= threads);
}
