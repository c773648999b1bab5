//! Who seals and writes what leaves: whoever wrote it, while he is at it; the writer thread what he leaves.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::Condvar;

use super::still::Still;
use super::{accept, engines, read_all, soon, tcp_pair, within, write_all};
use crate::engine::waiting::Side;
use crate::engine::{ChannelLink, Closer, Halves, Lane, Limits, Link, MemoryStream, Stream, WriteHalf};
use crate::error::{Error, Phase};
use crate::kex::Role;

/// What is kept of the memory that the sealed bytes were in.
const KEPT: usize = 8 * 1024;

// ---- without a writer: what is left to one does not leave

/// An engine with a channel to a peer that takes so many bytes.
fn channel(window: u32) -> (Still, ChannelLink) {
    let still = Still::new(Role::Server);
    let link = Link::new(Arc::clone(&still.core));
    let channel = still.accepted(&link, window);
    (still, channel)
}

/// Writes so many bytes in one call: how many are taken, and how many leave at once.
fn written(still: &Still, channel: &ChannelLink, bytes: usize) -> (usize, usize) {
    let before = still.bytes_sent();
    let taken = channel.write(Lane::Data, &vec![7; bytes], soon()).unwrap();
    (taken, still.bytes_sent() - before)
}

#[test]
fn what_is_written_leaves_at_once_however_much() {
    let (still, channel) = channel(1 << 20);
    for bytes in [1, 5000, 60_000, 250_000] {
        let (taken, sent) = written(&still, &channel, bytes);
        assert_eq!(taken, bytes);
        assert!((bytes..bytes + 2000).contains(&sent), "{bytes}: {sent}");
        assert!(still.core.outbox.held() <= KEPT);
    }
}

#[test]
fn no_more_leaves_than_the_window_lets_out() {
    for window in [100_000, 190_000] {
        let (still, channel) = channel(window);
        let (taken, sent) = written(&still, &channel, 300_000);
        assert_eq!(taken, window as usize);
        assert!((taken..taken + 2000).contains(&sent), "{window}: {sent}");
        assert!(still.core.outbox.held() <= KEPT);
    }
}

#[test]
fn what_the_stream_did_not_take_is_written_by_who_waits_for_it() {
    let (still, channel) = channel(1 << 20);
    still.fill_up(true);
    // More than a batch: some of it is not even sealed.
    assert_eq!(written(&still, &channel, 250_000), (250_000, 0));
    still.fill_up(false);
    channel.flush(soon()).unwrap();
    assert!(still.bytes_sent() > 250_000);
    still.fill_up(true);
    while channel.readiness().2 {
        channel.write(Lane::Data, &[7; 100_000], soon()).unwrap();
    }
    still.fill_up(false);
    assert_eq!(channel.write(Lane::Data, &[7; 100], soon()).unwrap(), 100);
}

#[test]
fn what_was_left_by_who_goes_on_to_wait_for_the_peer_is_the_writers() {
    let (still, channel) = channel(1 << 20);
    let lent = || still.core.outbox.lanes.lock().lent;
    still.fill_up(true);
    written(&still, &channel, 250_000);
    assert!(lent(), "he may write on");
    let other = channel.clone();
    let now = Some(Instant::now());
    thread::spawn(move || other.read(Lane::Data, &mut [0; 10], now).unwrap_err()).join().unwrap();
    assert!(lent(), "somebody else waited");
    channel.flush(now).unwrap_err();
    assert!(lent(), "he waited for it himself");
    channel.read(Lane::Data, &mut [0; 10], now).unwrap_err();
    assert!(!lent());
}

/// Waits until something has happened.
fn until(happened: impl Fn() -> bool) {
    while !happened() {
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_writer_leaves_the_rest_to_who_waits_for_room() {
    within(60, || {
        let (still, channel) = channel(1 << 20);
        still.fill_up(true);
        while channel.readiness().2 {
            channel.write(Lane::Data, &[7; 100_000], soon()).unwrap();
        }
        still.fill_up(false);
        let writers = still.writers();
        writers.begun.lock().unwrap().clear();
        let held = writers.hold.lock().unwrap();
        let core = Arc::clone(&still.core);
        let writer = thread::spawn(move || assert!(core.outbox.drain(&core, None).unwrap()));
        until(|| !writers.begun.lock().unwrap().is_empty());
        let writing = channel.clone();
        let user = thread::spawn(move || {
            writing.write(Lane::Data, b"x", soon()).unwrap();
            writing.flush(soon()).unwrap();
        });
        until(|| channel.slot().state.lock().asleep.on(Side::Outgoing) == 1);
        let ids = [writer.thread().id(), user.thread().id()];
        drop(held);
        writer.join().unwrap();
        user.join().unwrap();
        let begun = writers.begun.lock().unwrap();
        // The batch that was sealed before, and what is more than it.
        assert!(
            begun.len() > 1 && begun[0] == ids[0] && begun[1..].iter().all(|id| *id == ids[1]),
            "{begun:?}"
        );
    });
}

// ---- with one

/// Who wrote how often, and whether the stream takes anything.
#[derive(Default)]
struct Gate {
    state: parking_lot::Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    shut: bool,
    /// A wait for it to open panics.
    broken: bool,
    closed: bool,
    writes: HashMap<ThreadId, usize>,
}

impl Gate {
    fn shut(&self, shut: bool) {
        self.state.lock().shut = shut;
        self.changed.notify_all();
    }

    /// How many writes this thread has made, and all, since the last time.
    fn writes(&self) -> (usize, usize) {
        let writes = std::mem::take(&mut self.state.lock().writes);
        (writes.get(&thread::current().id()).copied().unwrap_or(0), writes.values().sum())
    }
}

/// A stream whose outgoing half is behind a gate.
struct Gated(Box<dyn Stream>, Arc<Gate>);

struct GatedWrite(Box<dyn WriteHalf>, Arc<Gate>);

struct GatedCloser(Arc<dyn Closer>, Arc<Gate>);

impl Stream for Gated {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let Halves { read, write, closer, peer } = self.0.split()?;
        let (write, closer) = (
            Box::new(GatedWrite(write, Arc::clone(&self.1))),
            Arc::new(GatedCloser(closer, Arc::clone(&self.1))),
        );
        Ok(Halves { read, write, closer, peer })
    }
}

impl WriteHalf for GatedWrite {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut state = self.1.state.lock();
        if state.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if state.shut {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        *state.writes.entry(thread::current().id()).or_default() += 1;
        drop(state);
        self.0.write_now(buf)
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        let mut state = self.1.state.lock();
        assert!(!state.broken, "a stream of a user's own breaks");
        while state.shut && !state.closed {
            let Some(deadline) = deadline else {
                self.1.changed.wait(&mut state);
                continue;
            };
            if self.1.changed.wait_until(&mut state, deadline).timed_out() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        drop(state);
        self.0.wait(deadline)
    }
}

impl Closer for GatedCloser {
    fn close(&self) {
        self.1.state.lock().closed = true;
        self.1.changed.notify_all();
        self.0.close();
    }
}

/// A client behind a gate, a channel of its, and the server's end of that.
fn gated(
    (near, far): (impl Stream, impl Stream),
    limits: &Limits,
) -> (Link, Arc<Gate>, [ChannelLink; 2], Link) {
    let gate = Arc::<Gate>::default();
    let (client, server) = engines((Gated(Box::new(near), Arc::clone(&gate)), far), limits);
    let opening = client.clone();
    let opened = thread::spawn(move || opening.open("session", b"", soon()).unwrap());
    let far = accept(&server);
    (client, gate, [opened.join().unwrap(), far], server)
}

/// Writes until this thread makes nearly all writes to the stream itself: a busy machine may keep it away from many.
/// How many bytes that took.
fn write_until_he_does(channel: &ChannelLink, gate: &Gate) -> usize {
    let mut sent = 0;
    loop {
        gate.writes();
        for _ in 0..10 {
            write_all(channel, &[7; 300_000]).unwrap();
            sent += 300_000;
        }
        let (mine, all) = gate.writes();
        if mine * 10 > all * 9 {
            return sent;
        }
    }
}

fn writes_himself(streams: (impl Stream, impl Stream)) {
    let (client, gate, [near, far], server) = gated(streams, &Limits::default());
    let reading = thread::spawn(move || read_all(&far).unwrap().len());
    let sent = write_until_he_does(&near, &gate);
    near.send_eof();
    assert_eq!(reading.join().unwrap(), sent);
    client.close();
    server.close();
}

#[test]
fn who_writes_sees_to_it_himself() {
    within(60, || writes_himself(MemoryStream::pair(64 * 1024)));
    within(60, || writes_himself(MemoryStream::pair(1000)));
    within(60, || writes_himself(tcp_pair()));
}

#[test]
fn what_a_user_leaves_leaves_all_the_same() {
    for capacity in [1000, 100_000] {
        within(60, move || {
            let (client, _, [near, far], server) = gated(MemoryStream::pair(capacity), &Limits::default());
            let sent = near.write(Lane::Data, &[7; 250_000], soon()).unwrap();
            near.send_eof();
            // Nobody is left who waits for anything but the peer's data.
            assert_eq!(read_all(&far).unwrap().len(), sent);
            client.close();
            server.close();
        });
    }
}

#[test]
fn who_has_the_writer_thread_gets_back_to_writing_himself() {
    within(60, || {
        let (client, gate, [near, far], server) = gated(MemoryStream::pair(64 * 1024), &Limits::default());
        let reading = thread::spawn(move || read_all(&far).unwrap().len());
        for _ in 0..5 {
            gate.shut(true);
            near.write(Lane::Data, &[7; 100_000], soon()).unwrap();
            // The writer thread waits for the stream now.
            thread::sleep(Duration::from_millis(20));
            gate.shut(false);
            write_until_he_does(&near, &gate);
        }
        near.send_eof();
        assert!(reading.join().unwrap() > 0);
        client.close();
        server.close();
    });
}

/// Writes until it fails: the error, and after how long.
fn write_until_it_fails(channel: &ChannelLink, timeout: Option<Duration>) -> (Error, Duration) {
    let begun = Instant::now();
    loop {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        if let Err(error) = channel.write(Lane::Data, &[7; 1000], deadline) {
            return (error, begun.elapsed());
        }
    }
}

#[test]
fn who_waits_for_the_stream_keeps_his_deadline() {
    within(60, || {
        let (client, gate, [near, _far], server) = gated(MemoryStream::pair(64 * 1024), &Limits::default());
        gate.shut(true);
        for _ in 0..3 {
            let (error, after) = write_until_it_fails(&near, Some(Duration::from_millis(200)));
            assert!(matches!(error, Error::Timeout(Phase::Write)), "{error}");
            assert!(after < Duration::from_secs(2), "{after:?}");
        }
        gate.shut(false);
        near.flush(soon()).unwrap();
        client.close();
        server.close();
    });
}

/// What ends the connection, and within what time.
type End = fn(&Link);

#[test]
fn who_waits_for_the_stream_hears_of_the_end() {
    let limits = Limits { linger: Duration::from_millis(100), ..Limits::default() };
    let ends: [End; 2] =
        [|client| client.core().die(Error::protocol("cut off")), |client| client.core().close_gracefully()];
    for end in ends {
        let limits = limits.clone();
        within(60, move || {
            let (client, gate, [near, _far], server) = gated(MemoryStream::pair(64 * 1024), &limits);
            gate.shut(true);
            let user = thread::spawn(move || write_until_it_fails(&near, None));
            thread::sleep(Duration::from_millis(100));
            let begun = Instant::now();
            end(&client);
            let (error, _) = user.join().unwrap();
            assert!(matches!(error, Error::Closed(_)), "{error}");
            assert!(client.core().wait_end(soon()));
            assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
            server.close();
        });
    }
}

/// It ends the connection, as on the writer's thread; what the user did goes on no further.
#[test]
fn a_stream_that_panics_ends_the_wait_for_it() {
    within(60, || {
        let (client, gate, [near, _far], server) = gated(MemoryStream::pair(64 * 1024), &Limits::default());
        {
            let mut state = gate.state.lock();
            (state.shut, state.broken) = (true, true);
        }
        let (error, _) = write_until_it_fails(&near, None);
        assert!(matches!(error, Error::Closed(Some(_))), "{error}");
        assert!(client.core().wait_end(soon()));
        server.close();
    });
}
