//! loom runs each of these in every order of its threads, with a few preemptions: the reader thread and users
//! take turns at reading, and nobody waits for ever for what lies in the stream. No lease ends here: whatever relies
//! on one is found waiting.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use loom::thread::{self, JoinHandle};

use super::orders::{confirmation, in_every_order, read_to_end};
use super::still::Still;
use crate::engine::reader::Reader;
use crate::engine::sync::{Condvar, Mutex};
use crate::engine::{ChannelLink, Lane, Link, ReadHalf};
use crate::error::Error;
use crate::kex::Role;
use crate::msg::connection::{ChannelClose, ChannelData, ChannelEof, ChannelWindowAdjust};
use crate::packet::Sealer;
use crate::wire::Encode;

/// How often a thread is interrupted where it need not wait.
const PREEMPTIONS: usize = 3;

/// The incoming half of a stream, with locks that loom models.
#[derive(Default)]
struct Line {
    state: Mutex<LineState>,
    changed: Condvar,
}

#[derive(Default)]
struct LineState {
    bytes: VecDeque<u8>,
    closed: bool,
    interrupted: bool,
}

impl Line {
    fn change(&self, change: impl FnOnce(&mut LineState)) {
        change(&mut self.state.lock());
        self.changed.notify_all();
    }

    /// Packets from the peer, all at once.
    fn send(&self, messages: &[&dyn Encode]) {
        let (mut sealer, mut sealed) = (Sealer::plain(), Vec::new());
        for message in messages {
            sealer.seal(&[&message.to_vec()], &mut sealed).unwrap();
        }
        self.change(|state| state.bytes.extend(sealed));
    }
}

struct LineRead(Arc<Line>);

impl ReadHalf for LineRead {
    fn read(&mut self, buf: &mut [u8], _: Option<Instant>) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        while state.bytes.is_empty() && !state.closed {
            self.0.changed.wait(&mut state);
        }
        io::Read::read(&mut state.bytes, buf)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut state = self.0.state.lock();
        match io::Read::read(&mut state.bytes, buf)? {
            0 if !state.closed => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    fn interrupter(&mut self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        let line = Arc::clone(&self.0);
        Some(Arc::new(move || line.change(|state| state.interrupted = true)))
    }

    fn wait(&mut self, _: Option<Instant>) -> io::Result<()> {
        let mut state = self.0.state.lock();
        while state.bytes.is_empty() && !state.closed {
            if std::mem::take(&mut state.interrupted) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.0.changed.wait(&mut state);
        }
        Ok(())
    }
}

/// A client with open channels, and its reader thread.
struct Client {
    still: Still,
    link: Link,
    line: Arc<Line>,
    channels: Vec<ChannelLink>,
    reading: JoinHandle<()>,
}

impl Client {
    fn new(channels: usize, window: u32) -> Self {
        let line = Arc::new(Line::default());
        let still = Still::read_from(Role::Client, Box::new(LineRead(Arc::clone(&line))));
        let link = Link::new(Arc::clone(&still.core));
        let channels = (0..channels)
            .map(|_| {
                let channel = ChannelLink::new(still.core.new_slot("session").unwrap(), link.clone());
                super::still::receive_payload(&still.core, &confirmation(&channel, window).to_vec()).unwrap();
                channel
            })
            .collect();
        let core = Arc::clone(&still.core);
        let reading = thread::spawn(move || Reader::run(&core));
        Self { still, link, line, channels, reading }
    }

    /// A user who waits for a byte on that channel.
    fn user(&self, number: usize) -> JoinHandle<()> {
        let channel = self.channels[number].clone();
        thread::spawn(move || assert_eq!(channel.read(Lane::Data, &mut [0; 8], None).unwrap(), 1))
    }

    /// The connection ends, and its thread.
    fn end(self) {
        self.still.core.die(Error::Closed(None));
        self.line.change(|state| state.closed = true);
        self.reading.join().unwrap();
        drop((self.channels, self.link));
    }
}

#[test]
fn loom_one_who_waits_gets_everything_whoever_reads() {
    in_every_order(PREEMPTIONS, || {
        let client = Client::new(1, 1000);
        let channel = client.channels[0].clone();
        let recipient = channel.id();
        let user = thread::spawn(move || assert_eq!(read_to_end(&channel), b"abcd"));
        client.line.send(&[&ChannelData { recipient, data: b"ab" }]);
        client.line.send(&[
            &ChannelData { recipient, data: b"cd" },
            &ChannelEof { recipient },
            &ChannelClose { recipient },
        ]);
        user.join().unwrap();
        client.end();
    });
}

#[test]
fn loom_two_who_wait_are_both_served() {
    in_every_order(PREEMPTIONS, || {
        let client = Client::new(2, 1000);
        let users = [client.user(0), client.user(1)];
        for channel in &client.channels {
            client.line.send(&[&ChannelData { recipient: channel.id(), data: b"x" }]);
        }
        users.into_iter().for_each(|user| user.join().unwrap());
        client.end();
    });
}

#[test]
fn loom_one_who_reads_hears_of_a_close_here() {
    in_every_order(PREEMPTIONS, || {
        let client = Client::new(1, 1000);
        let channel = client.channels[0].clone();
        let user = thread::spawn(move || assert_eq!(read_to_end(&channel), b""));
        client.channels[0].close();
        user.join().unwrap();
        client.end();
    });
}

#[test]
fn loom_one_who_waits_for_room_gets_it_while_another_waits_for_data() {
    in_every_order(PREEMPTIONS, || {
        let client = Client::new(1, 1);
        let writing = client.channels[0].clone();
        let recipient = writing.id();
        let reader = client.user(0);
        let writer = thread::spawn(move || {
            for _ in 0..2 {
                assert_eq!(writing.write(Lane::Data, b"x", None).unwrap(), 1);
            }
        });
        client.line.send(&[&ChannelWindowAdjust { recipient, bytes: 1 }]);
        client.line.send(&[&ChannelData { recipient, data: b"x" }]);
        reader.join().unwrap();
        writer.join().unwrap();
        client.end();
    });
}

#[test]
fn loom_death_ends_the_turn_of_one_who_reads() {
    in_every_order(PREEMPTIONS, || {
        let client = Client::new(1, 1000);
        let channel = client.channels[0].clone();
        let user = thread::spawn(move || channel.read(Lane::Data, &mut [0; 8], None).unwrap_err());
        client.still.core.die(Error::protocol("cut off"));
        user.join().unwrap();
        client.end();
    });
}
