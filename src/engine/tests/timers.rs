//! Streams that take whatever there is, slowly: the writer looks at the time all the same.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{setup, soon, within};
use crate::engine::lanes::{Concerns, Control};
use crate::engine::login::PeerExtensions;
use crate::engine::outbox::Outbox;
use crate::engine::{Closer, Core, Limits, Start, WriteHalf, spawn, writer};
use crate::error::{Error, Phase};
use crate::kex::{Kex, Role};
use crate::msg::transport::Ignore;
use crate::packet::Sealer;
use crate::sys::traffic::TrafficClasses;
use crate::wire::Encode;

/// Takes so many bytes at a time, each time after a while.
struct Slow(usize, Duration);

impl WriteHalf for Slow {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        std::thread::sleep(self.1);
        Ok(buf.len().min(self.0))
    }

    fn wait(&mut self, _: Option<Instant>) -> io::Result<()> {
        Ok(())
    }
}

/// Takes nothing.
struct Stuck;

impl WriteHalf for Stuck {
    fn write_now(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let until = deadline.expect("nobody waits for ever");
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        Err(io::ErrorKind::TimedOut.into())
    }
}

struct Nothing;

impl Closer for Nothing {
    fn close(&self) {}
}

/// A transport with a writer, of which nothing is ever heard.
fn writing(stream: impl WriteHalf + 'static, keepalive: Option<(Duration, u32)>) -> Arc<Core> {
    let setup = setup(Role::Client);
    let start = Start {
        role: Role::Client,
        kex: Kex::new(setup.clone()),
        setup,
        host_keys: Vec::new(),
        limits: Limits { linger: Duration::from_millis(200), ..Limits::default() },
        peer: "slow".to_owned(),
        peer_ident: String::new(),
        keepalive,
        traffic: TrafficClasses::default(),
        round_trip: Duration::from_millis(1),
        extensions: PeerExtensions::default(),
        closer: Arc::new(Nothing),
        serving: false,
        shared: false,
        taker: None,
    };
    let core = Arc::new(Core::new(start, Outbox::new(Sealer::plain(), Box::new(stream))));
    let there = Arc::clone(&core);
    spawn("slow writer", move || writer::run(&there)).unwrap();
    core
}

/// Keeps so many bytes waiting to leave; who posts the last of them writes a batch himself.
fn fill(core: &Core, bytes: usize) {
    let payload = Ignore { data: &[0; 100_000] }.to_vec();
    let mut lanes = core.outbox.lanes.lock();
    if lanes.control_bytes >= bytes {
        return;
    }
    while lanes.control_bytes < bytes {
        lanes.control_bytes += payload.len();
        lanes.control.push_back(Control { payload: payload.clone(), concerns: Concerns::Nobody });
    }
    drop(lanes);
    core.post(&Ignore { data: b"" });
}

#[test]
fn keepalive_is_looked_at_while_there_is_always_more_to_send() {
    within(30, || {
        let core =
            writing(Slow(usize::MAX, Duration::from_millis(20)), Some((Duration::from_millis(100), 2)));
        while core.alive() {
            fill(&core, 800 * 1000);
            std::thread::yield_now();
        }
        let Error::Closed(Some(cause)) = core.closed() else { panic!("no cause") };
        assert!(matches!(*cause, Error::Timeout(Phase::Keepalive)), "{cause}");
        assert!(core.wait_end(soon()));
    });
}

#[test]
fn keepalive_is_looked_at_while_a_user_waits_for_the_stream() {
    within(30, || {
        let core = writing(Stuck, Some((Duration::from_millis(100), 2)));
        fill(&core, 800 * 1000);
        let begun = Instant::now();
        while core.alive() {
            core.outbox.carry(&core, soon());
        }
        // A look at most after the third interval.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let Error::Closed(Some(cause)) = core.closed() else { panic!("no cause") };
        assert!(matches!(*cause, Error::Timeout(Phase::Keepalive)), "{cause}");
        assert!(core.wait_end(soon()));
    });
}

#[test]
fn what_is_left_at_the_end_of_the_time_to_linger_does_not_leave() {
    within(30, || {
        // A batch takes some 0.2 s, everything more than a second.
        let core = writing(Slow(4096, Duration::from_millis(4)), None);
        fill(&core, 1000 * 1000);
        let begun = Instant::now();
        core.close_gracefully();
        assert!(core.wait_end(soon()));
        assert!(begun.elapsed() < Duration::from_millis(800), "{:?}", begun.elapsed());
    });
}
