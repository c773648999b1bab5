//! Who reads a connection: the user who waits alone, the reader thread for all others.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::{accept, echo, engines, read_all, serve_echo, soon, tcp_pair, through_echo, within, write_all};
use crate::engine::{ChannelLink, Halves, Lane, Limits, Link, MemoryStream, ReadHalf, Signal, Stream};
use crate::error::{Error, Phase};

/// How many reads each thread made that found something.
type Reads = Arc<Mutex<HashMap<ThreadId, usize>>>;

/// Notes who reads.
struct Noted(Box<dyn Stream>, Reads);

struct NotedRead(Box<dyn ReadHalf>, Reads);

impl Stream for Noted {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let halves = self.0.split()?;
        Ok(Halves { read: Box::new(NotedRead(halves.read, self.1)), ..halves })
    }
}

impl NotedRead {
    fn note(&self, read: io::Result<usize>) -> io::Result<usize> {
        if read.is_ok() {
            *self.1.lock().unwrap().entry(thread::current().id()).or_default() += 1;
        }
        read
    }
}

impl ReadHalf for NotedRead {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let read = self.0.read(buf, deadline);
        self.note(read)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_now(buf);
        self.note(read)
    }

    fn interrupter(&mut self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        self.0.interrupter()
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.0.wait(deadline)
    }
}

/// A client whose reads are noted, and an echo behind it.
fn noted() -> (Link, Reads, thread::JoinHandle<()>) {
    noted_over(MemoryStream::pair(64 * 1024))
}

fn noted_over((near, far): (impl Stream, impl Stream)) -> (Link, Reads, thread::JoinHandle<()>) {
    let reads = Reads::default();
    let near = Noted(Box::new(near), Arc::clone(&reads));
    let (client, server) = engines((near, far), &Limits::default());
    // Those of the login.
    reads.lock().unwrap().clear();
    (client, reads, serve_echo(server))
}

fn end(client: Link, served: thread::JoinHandle<()>) {
    client.close();
    drop(client);
    served.join().unwrap();
}

/// Sends a byte and waits for it.
fn ping(channel: &ChannelLink) {
    write_all(channel, b"x").unwrap();
    assert_eq!(channel.read(Lane::Data, &mut [0; 10], soon()).unwrap(), 1);
}

/// How many of the reads this thread made, and all.
fn shares(reads: &Reads) -> (usize, usize) {
    let reads = reads.lock().unwrap();
    (reads.get(&thread::current().id()).copied().unwrap_or(0), reads.values().sum())
}

/// Until this thread has made so many reads itself: a busy machine may keep it away from many a turn.
fn ping_until_read(channel: &ChannelLink, reads: &Reads, count: usize) {
    reads.lock().unwrap().clear();
    while shares(reads).0 < count {
        ping(channel);
    }
}

#[test]
fn who_waits_alone_reads() {
    within(60, || {
        let (client, reads, served) = noted();
        let channel = client.open("session", b"", soon()).unwrap();
        ping_until_read(&channel, &reads, 100);
        drop(channel);
        end(client, served);
    });
}

#[test]
fn who_wants_to_be_called_has_the_reader_thread() {
    within(60, || {
        let (client, reads, served) = noted();
        let channel = client.open("session", b"", soon()).unwrap();
        let signal = Arc::new(Signal::default());
        let watch = channel.watch(&signal);
        // The thread takes over, wherever it is.
        ping(&channel);
        reads.lock().unwrap().clear();
        for _ in 0..50 {
            write_all(&channel, b"x").unwrap();
            while !channel.readiness().0 {
                assert!(signal.wait(soon()));
            }
            assert_eq!(channel.read(Lane::Data, &mut [0; 10], soon()).unwrap(), 1);
        }
        assert_eq!(shares(&reads).0, 0);
        drop((watch, signal));
        ping_until_read(&channel, &reads, 1);
        drop(channel);
        end(client, served);
    });
}

/// Whoever of them reads when another one's data comes, and whether he goes away with his own.
#[test]
fn several_who_wait_are_all_served() {
    within(120, || {
        let (client, _, served) = noted();
        let users: Vec<_> = (0..4)
            .map(|number| {
                let client = client.clone();
                thread::spawn(move || {
                    let channel = client.open("session", b"", soon()).unwrap();
                    for round in 0..300 {
                        ping(&channel);
                        if round % 10 == number {
                            // Long enough for everybody to be in some other place by then.
                            thread::sleep(Duration::from_millis(3));
                        }
                    }
                })
            })
            .collect();
        users.into_iter().for_each(|user| user.join().unwrap());
        end(client, served);
    });
}

#[test]
fn bulk_both_ways_by_one_user_and_by_several() {
    within(120, || {
        let (client, _, served) = noted();
        through_echo(&client, vec![7; 5_000_000]).unwrap();
        let users: Vec<_> = (0..3)
            .map(|number| {
                let client = client.clone();
                thread::spawn(move || through_echo(&client, vec![number; 2_000_000]).unwrap())
            })
            .collect();
        users.into_iter().for_each(|user| user.join().unwrap());
        end(client, served);
    });
}

/// A user has read and does not come back: what comes then is looked at all the same.
#[test]
fn what_nobody_waits_for_is_read() {
    within(60, || {
        let (client, _, served) = noted();
        let channel = client.open("session", b"", soon()).unwrap();
        ping(&channel);
        channel.send_eof();
        let started = Instant::now();
        while channel.exit().is_none() {
            assert!(started.elapsed() < Duration::from_secs(10), "nobody has read the exit status");
            thread::sleep(Duration::from_millis(1));
        }
        drop(channel);
        end(client, served);
    });
}

/// What another thread does here ends the wait of one who reads, whatever he reads from.
#[test]
fn a_user_who_reads_hears_of_what_others_do() {
    type Deed = fn(&Link, &ChannelLink);
    let deeds: [Deed; 4] = [
        |_, channel| channel.close(),
        |_, channel| channel.stop_reading(Lane::Data),
        |client, _| client.core().die(Error::Misuse("cut off by a test")),
        |client, _| client.close(),
    ];
    type Connect = fn() -> (Link, Reads, thread::JoinHandle<()>);
    let kinds: [Connect; 3] = [noted, || noted_over(tcp_pair()), || noted_over(UnixStream::pair().unwrap())];
    for (deed, connect) in deeds.into_iter().flat_map(|deed| kinds.map(|connect| (deed, connect))) {
        within(60, move || {
            let (client, reads, served) = connect();
            let channel = client.open("session", b"", soon()).unwrap();
            ping_until_read(&channel, &reads, 1);
            let reading = channel.clone();
            let user = thread::spawn(move || {
                let read = reading.read(Lane::Data, &mut [0; 10], soon());
                assert!(!matches!(read, Ok(1..) | Err(Error::Timeout(_))), "{read:?}");
            });
            thread::sleep(Duration::from_millis(20));
            deed(&client, &channel);
            user.join().unwrap();
            drop(channel);
            end(client, served);
        });
    }
}

/// One waits for room and reads; another one gives up writing.
#[test]
fn a_user_who_waits_for_room_hears_of_the_end_of_writing() {
    within(60, || {
        let (near, far) = MemoryStream::pair(64 * 1024);
        let (client, server) = engines((near, far), &Limits::default());
        let opened = thread::spawn(move || (accept(&server), server));
        let channel = client.open("session", b"", soon()).unwrap();
        let (silent, server) = opened.join().unwrap();
        let writing = channel.clone();
        let user = thread::spawn(move || write_all(&writing, &vec![0; 8 << 20]).unwrap_err());
        thread::sleep(Duration::from_millis(50));
        channel.send_eof();
        assert!(matches!(user.join().unwrap(), Error::Closed(None)));
        // All that was taken arrives.
        drop(channel);
        assert!(!read_all(&silent).unwrap().is_empty());
        drop((silent, client, server));
    });
}

#[test]
fn a_user_who_reads_keeps_his_deadline() {
    within(60, || {
        let (client, _, served) = noted();
        let channel = client.open("session", b"", soon()).unwrap();
        for _ in 0..20 {
            ping(&channel);
            let started = Instant::now();
            let deadline = started.checked_add(Duration::from_millis(5));
            let error = channel.read(Lane::Data, &mut [0; 10], deadline).unwrap_err();
            assert!(matches!(error, Error::Timeout(Phase::Read)), "{error}");
            assert!(started.elapsed() >= Duration::from_millis(5));
        }
        drop(channel);
        end(client, served);
    });
}

/// What comes for others all the time, and what he reads for them, does not prolong his wait.
#[test]
fn a_user_who_reads_for_others_keeps_his_deadline() {
    within(60, || {
        let (client, _, served) = noted();
        let channel = client.open("session", b"", soon()).unwrap();
        let busy = client.open("session", b"", soon()).unwrap();
        // It comes back as fast as it can be read, and nobody waits for it.
        busy.stop_reading(Lane::Data);
        let writing = thread::spawn(move || while write_all(&busy, &[0; 10_000]).is_ok() {});
        for _ in 0..20 {
            let started = Instant::now();
            let deadline = started.checked_add(Duration::from_millis(20));
            let error = channel.read(Lane::Data, &mut [0; 10], deadline).unwrap_err();
            assert!(matches!(error, Error::Timeout(Phase::Read)), "{error}");
            assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        }
        client.close();
        writing.join().unwrap();
        drop(channel);
        end(client, served);
    });
}

/// Who serves is to be called whatever comes, so users of a server's channels never read.
#[test]
fn a_server_is_read_by_its_thread() {
    within(60, || {
        let reads = Reads::default();
        let (near, far) = MemoryStream::pair(64 * 1024);
        let (client, server) = engines((near, Noted(Box::new(far), Arc::clone(&reads))), &Limits::default());
        reads.lock().unwrap().clear();
        let served = thread::spawn(move || {
            let channel = accept(&server);
            echo(&channel).unwrap();
            shares(&reads)
        });
        let channel = client.open("session", b"", soon()).unwrap();
        (0..20).for_each(|_| ping(&channel));
        drop(channel);
        let (by_a_user, all) = served.join().unwrap();
        assert!(by_a_user == 0 && all > 0, "{by_a_user} of {all}");
        drop(client);
    });
}
