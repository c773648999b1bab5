//! Two engines with each other over in-memory streams, in one process. Nobody authenticates: what
//! fails here is the engine.

pub(crate) mod buggy;
mod closing;
mod dying;
mod ending;
#[cfg(not(loom))]
mod leaving;
#[cfg(not(loom))]
mod marking;
mod model;
#[cfg(all(unix, not(loom)))]
mod napping;
#[cfg(loom)]
mod orders;
#[cfg(loom)]
mod readers;
mod rekey;
mod replies;
mod still;
mod takers;
mod throttle;
mod timers;
#[cfg(all(unix, not(loom)))]
mod turns;

#[cfg(not(loom))]
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{ChannelLink, Clock, Incoming, Lane, Limits, Link, Login, Opening, Start, Stream};
use crate::error::Result;
use crate::kex::{Algorithms, Role, Setup};
use crate::key::{KeyKind, PKey};
use crate::packet::VersionLine;
use crate::sys::traffic::TrafficClasses;
use crate::wire::Encode;

static KEY: LazyLock<PKey> = LazyLock::new(|| PKey::generate(KeyKind::Ed25519).unwrap());

/// What the echo says at its end.
const STATUS: u32 = 7;

/// Runs `test` on a thread of its own; panics when it has not ended after so many seconds.
fn within(seconds: u64, test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        test();
        // A watchdog that has barked hears nothing any more.
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(seconds)) {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            panic!("hangs: not done after {seconds} s; {} threads of engines", super::running_threads())
        }
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A deadline that only a hang reaches.
fn soon() -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(60))
}

/// Numbers that look random and come again with the same seed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of 0 to `below` - 1.
    fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % below
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.below(256) as u8).collect()
    }
}

/// One side's machines, before a byte has passed.
fn setup(role: Role) -> Setup {
    let mut algorithms = Algorithms::client_defaults();
    // Cheap, so that thousands of exchanges are.
    algorithms.set_kex("curve25519-sha256").unwrap();
    let server = role == Role::Server;
    Setup {
        role,
        algorithms,
        our_ident: VersionLine::default().as_str().into(),
        peer_ident: Vec::new(),
        host_keys: if server { vec![KEY.public_key().clone()] } else { Vec::new() },
        moduli: Arc::default(),
    }
}

/// Logs one side in and starts its engine.
fn engine(stream: impl Stream, role: Role, limits: &Limits) -> Result<Link> {
    let server = role == Role::Server;
    let opening = Opening {
        setup: setup(role),
        host_keys: if server { vec![KEY.clone()] } else { Vec::new() },
        clock: Clock::start(Duration::from_secs(20)).unwrap(),
        bytes_limit: u64::MAX,
    };
    let halves = Box::new(stream).split().unwrap();
    let mut login = Login::handshake(halves, opening, &mut |_| Ok(()))?;
    // SERVICE_REQUEST and USERAUTH_SUCCESS stand for all of authentication.
    if server {
        assert_eq!(login.receive()?, [5]);
        login.send(&[52])?;
    } else {
        login.send(&[5])?;
        assert_eq!(login.receive()?, [52]);
    }
    let (finished, parts) = login.finish();
    let start = Start {
        role,
        setup: parts.setup,
        kex: parts.kex,
        host_keys: parts.host_keys,
        limits: limits.clone(),
        peer: parts.peer,
        peer_ident: String::new(),
        keepalive: None,
        traffic: TrafficClasses::default(),
        round_trip: parts.round_trip,
        extensions: parts.extensions,
        closer: parts.closer,
        serving: server,
        shared: false,
        taker: None,
    };
    super::start(finished, start)
}

/// A client's and a server's engine on both ends of a stream.
fn engines((near, far): (impl Stream, impl Stream), limits: &Limits) -> (Link, Link) {
    let there = limits.clone();
    let server = std::thread::spawn(move || engine(far, Role::Server, &there).unwrap());
    let client = engine(near, Role::Client, limits).unwrap();
    (client, server.join().unwrap())
}

/// Says yes to everything and echoes every channel to its end, until the connection's.
fn serve_echo(link: Link) -> JoinHandle<()> {
    std::thread::spawn(move || {
        // A scope keeps no handle: with one, the stack of a thread that has ended stays.
        std::thread::scope(|scope| {
            while let Ok(incoming) = link.next_incoming(None) {
                match incoming {
                    Incoming::Open(request) => {
                        let Some(channel) = request.accept(&link) else { continue };
                        scope.spawn(move || drop(echo(&channel)));
                    }
                    Incoming::Channel { reply, .. } | Incoming::Global { reply, .. } => reply.accept(b""),
                }
            }
        });
    })
}

fn echo(channel: &ChannelLink) -> Result<()> {
    let mut buf = vec![0; 10_000];
    loop {
        let count = channel.read(Lane::Data, &mut buf, None)?;
        if count == 0 {
            break;
        }
        write_all(channel, &buf[..count])?;
    }
    channel.send_eof();
    channel.send_exit("exit-status", &STATUS.to_vec());
    channel.close();
    Ok(())
}

#[cfg(not(loom))]
fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

/// The channel that the client opens.
#[cfg(not(loom))]
fn accept(server: &Link) -> ChannelLink {
    let Ok(Incoming::Open(request)) = server.next_incoming(soon()) else { panic!("no open") };
    request.accept(server).unwrap()
}

fn write_all(channel: &ChannelLink, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let count = channel.write(Lane::Data, bytes, soon())?;
        bytes = &bytes[count..];
    }
    Ok(())
}

fn read_all(channel: &ChannelLink) -> Result<Vec<u8>> {
    let (mut all, mut buf) = (Vec::new(), vec![0; 7000]);
    loop {
        match channel.read(Lane::Data, &mut buf, soon())? {
            0 => return Ok(all),
            count => all.extend_from_slice(&buf[..count]),
        }
    }
}

/// Sends `sent` through an echo, reading meanwhile; what came back is the same, and the exit status
/// follows it.
fn through_echo(client: &Link, sent: Vec<u8>) -> Result<()> {
    let channel = client.open("session", b"", soon())?;
    let (writer, bytes) = (channel.clone(), sent.clone());
    let writing = std::thread::spawn(move || {
        write_all(&writer, &bytes)?;
        writer.send_eof();
        Ok(())
    });
    let echoed = read_all(&channel);
    let written: Result<()> = writing.join().unwrap();
    let echoed = echoed?;
    written?;
    assert_eq!(echoed.len(), sent.len());
    assert!(echoed == sent, "other bytes came back");
    assert_eq!(channel.wait_exit(soon())?, super::ExitStatus::Code(STATUS));
    Ok(())
}
