//! A transport dies while users wait for it: every wait ends, and says why.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::buggy::Buggy;
use super::{engines, soon, within};
use crate::engine::{
    ChannelLink, Closer, Core, Halves, Incoming, Lane, Limits, Link, MemoryStream, ReadHalf, Stream,
};
use crate::error::{Error, Phase, Result};

/// A stream that a test can cut, and whose reads it can hold up.
#[derive(Clone, Default)]
struct Gate {
    frozen: Arc<AtomicBool>,
    closer: Arc<Mutex<Option<Arc<dyn Closer>>>>,
}

impl Gate {
    fn freeze(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::SeqCst);
    }

    fn cut(&self) {
        self.closer.lock().unwrap().as_ref().unwrap().close();
        self.freeze(false);
    }
}

struct Gated(MemoryStream, Gate);

struct GatedRead(Box<dyn ReadHalf>, Gate);

impl Stream for Gated {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let Self(inner, gate) = *self;
        let mut halves = Box::new(inner).split()?;
        *gate.closer.lock().unwrap() = Some(Arc::clone(&halves.closer));
        halves.read = Box::new(GatedRead(halves.read, gate));
        Ok(halves)
    }
}

impl ReadHalf for GatedRead {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        while self.1.frozen.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.0.read(buf, deadline)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.1.frozen.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.read_now(buf)
    }
}

/// Opens what is asked for, answers nothing else, keeps everything until the connection ends.
fn serve_silently(link: Link) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (mut channels, mut kept) = (Vec::new(), Vec::new());
        while let Ok(incoming) = link.next_incoming(None) {
            match incoming {
                Incoming::Open(request) if request.kind == "session" => {
                    channels.push(request.accept(&link));
                }
                other => kept.push(other),
            }
        }
    })
}

/// What the connection is at when it dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    /// All is well, only nobody answers.
    Live,
    /// The peer does not read.
    Frozen,
    /// Keys are exchanged, and the peer does not read.
    Rekeying,
}

/// A call that waits.
type Call = fn(&Link, &ChannelLink) -> Result<()>;

const CALLS: &[(&str, Call)] = &[
    ("open", |link, _| link.open("other", b"", soon()).map(drop)),
    ("global request", |link, _| link.global_request("x", b"", soon()).map(drop)),
    ("request", |_, channel| channel.request("x", b"", Some(soon()))),
    ("read", |_, channel| channel.read(Lane::Data, &mut [0; 10], soon()).map(drop)),
    ("read stderr", |_, channel| channel.read(Lane::Stderr, &mut [0; 10], soon()).map(drop)),
    ("exit status", |_, channel| channel.wait_exit(soon()).map(drop)),
    ("incoming", |link, _| link.next_incoming(soon()).map(drop)),
    ("write", |_, channel| {
        loop {
            channel.write(Lane::Data, &[1; 10_000], soon())?;
        }
    }),
    ("flush", |_, channel| {
        // Half of the window: it lets it out, and a peer that does not read keeps it here.
        channel.write(Lane::Data, &[1; 200_000], soon())?;
        channel.flush(soon())?;
        channel.read(Lane::Data, &mut [0], soon()).map(drop)
    }),
];

fn died_of_the_cut(error: &Error) -> bool {
    match error {
        Error::Io { .. } => true,
        Error::Closed(Some(cause)) => died_of_the_cut(cause),
        _ => false,
    }
}

pub(super) fn wait_until_gone(core: &Weak<Core>) {
    let deadline = soon().unwrap();
    while core.strong_count() > 0 {
        assert!(Instant::now() < deadline, "a thread still holds the transport");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All calls at once on a connection in `mode`, which is cut `after` so long.
fn cut_during_calls(mode: Mode, after: Duration) {
    let gate = Gate::default();
    let (near, far) = MemoryStream::pair(3000);
    let (client, server) = engines((near, Gated(far, gate.clone())), &Limits::default());
    let (client_core, server_core) = (Arc::downgrade(client.core()), Arc::downgrade(server.core()));
    let serving = serve_silently(server);
    let channels: Vec<_> = CALLS.iter().map(|_| client.open("session", b"", soon()).unwrap()).collect();
    gate.freeze(mode != Mode::Live);
    if mode == Mode::Rekeying {
        client.core().begin_rekey().unwrap();
    }
    let threads: Vec<_> = CALLS
        .iter()
        .zip(channels)
        .map(|((name, call), channel)| {
            let client = client.clone();
            (name, std::thread::spawn(move || call(&client, &channel)))
        })
        .collect();
    std::thread::sleep(after);
    gate.cut();
    let cut = Instant::now();
    for (name, thread) in threads {
        let error = thread.join().unwrap().expect_err(name);
        assert!(died_of_the_cut(&error), "{mode:?} {name}: {error:?}");
        assert!(cut.elapsed() < Duration::from_secs(30), "{mode:?} {name}: woke up late");
    }
    drop(client);
    serving.join().unwrap();
    wait_until_gone(&client_core);
    wait_until_gone(&server_core);
}

#[test]
fn every_wait_ends_with_the_cause_of_death() {
    within(300, || {
        for mode in [Mode::Live, Mode::Frozen, Mode::Rekeying] {
            cut_during_calls(mode, Duration::from_millis(50));
            // While they are about to wait.
            for round in 0..40 {
                cut_during_calls(mode, Duration::from_micros(round * 25));
            }
        }
    });
}

#[test]
fn an_exchange_that_the_peer_never_finishes_ends_the_connection() {
    for started_by_a_user in [true, false] {
        within(60, move || {
            let mut limits = Limits { rekey_timeout: Duration::from_millis(200), ..Limits::default() };
            if !started_by_a_user {
                limits.rekey_interval = Duration::from_millis(100);
            }
            let gate = Gate::default();
            let (near, far) = MemoryStream::pair(1 << 16);
            let (client, server) = engines((near, Gated(far, gate.clone())), &limits);
            gate.freeze(true);
            if started_by_a_user {
                client.core().begin_rekey().unwrap();
            }
            let started = Instant::now();
            let error = client.next_incoming(soon()).unwrap_err();
            let Error::Closed(Some(cause)) = &error else { panic!("{error:?}") };
            // With the same limits the server may be the first to give up; it says so.
            let told = matches!(&**cause, Error::Disconnected { text, .. } if text == "timeout");
            assert!(told || matches!(**cause, Error::Timeout(Phase::Rekey)), "{cause}");
            assert!(started.elapsed() < Duration::from_secs(20), "late: {:?}", started.elapsed());
            gate.freeze(false);
            drop(server);
        });
    }
}

#[test]
fn a_channel_that_is_opened_after_the_death_is_dead() {
    within(60, || {
        let gate = Gate::default();
        let (near, far) = MemoryStream::pair(1 << 16);
        let (client, server) = engines((near, Gated(far, gate.clone())), &Limits::default());
        let opening = std::thread::spawn({
            let client = client.clone();
            move || client.open("session", b"", soon()).map(drop)
        });
        let Ok(Incoming::Open(request)) = server.next_incoming(soon()) else { panic!("no open") };
        gate.cut();
        opening.join().unwrap().unwrap_err();
        server.next_incoming(soon()).unwrap_err();
        if let Some(channel) = request.accept(&server) {
            channel.read(Lane::Data, &mut [0], soon()).unwrap_err();
        }
    });
}

#[test]
fn a_stream_that_panics_ends_its_transport_and_no_thread_of_a_user() {
    within(60, || {
        let bug = Arc::new(AtomicBool::new(false));
        let (near, far) = MemoryStream::pair(1 << 16);
        let (client, server) = engines((Buggy(near, Arc::clone(&bug)), far), &Limits::default());
        let core = Arc::downgrade(client.core());
        let serving = serve_silently(server);
        let channel = client.open("session", b"", soon()).unwrap();
        bug.store(true, Ordering::SeqCst);
        // What is written leaves with this call, on this thread.
        let written = channel.write(Lane::Data, b"words", soon());
        let error = written.and_then(|_| channel.read(Lane::Data, &mut [0], soon())).unwrap_err();
        let Error::Closed(Some(cause)) = &error else { panic!("{error:?}") };
        assert!(matches!(**cause, Error::Misuse(text) if text.contains("stream")), "{cause}");
        drop((channel, client));
        serving.join().unwrap();
        wait_until_gone(&core);
    });
}
