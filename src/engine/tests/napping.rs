//! Who finds nothing more in a flow looks again after a nap; in a dialogue he waits for what comes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::still::{Still, reader, receive_payload};
use super::{accept, engines, soon, within, write_all};
use crate::engine::{ChannelLink, Halves, Lane, Limits, Link, MemoryStream, ReadHalf, Stream};
use crate::kex::Role;
use crate::msg::connection::ChannelWindowAdjust;
use crate::packet::Sealer;
use crate::wire::Encode;

/// What is there to be read at a time: before each of them there is nothing.
const PORTION: usize = 128 * 1024;
/// Less than the window a channel starts with.
const PORTIONS: usize = 15;

/// Whether anything is read, and how often somebody waited for it.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    changed: Condvar,
    waits: AtomicUsize,
    /// What something is said on whenever nothing is found.
    said_on: Mutex<Option<ChannelLink>>,
}

impl Gate {
    fn shut(&self, shut: bool) {
        *self.shut.lock() = shut;
        self.waits.store(0, Ordering::SeqCst);
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut shut = self.shut.lock();
        while *shut {
            self.changed.wait(&mut shut);
        }
    }
}

struct Portioned(MemoryStream, Arc<Gate>);

struct PortionedRead {
    inner: Box<dyn ReadHalf>,
    gate: Arc<Gate>,
    nothing: bool,
}

impl Stream for Portioned {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let halves = Box::new(self.0).split()?;
        Ok(Halves {
            read: Box::new(PortionedRead { inner: halves.read, gate: self.1, nothing: false }),
            ..halves
        })
    }
}

impl ReadHalf for PortionedRead {
    fn read(&mut self, buf: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        self.gate.pass();
        self.gate.waits.fetch_add(1, Ordering::SeqCst);
        self.nothing = false;
        let portion = buf.len().min(PORTION);
        self.inner.read(&mut buf[..portion], deadline)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.gate.pass();
        self.nothing = !self.nothing;
        if self.nothing {
            if let Some(channel) = &*self.gate.said_on.lock() {
                write_all(channel, b"more").unwrap();
            }
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let portion = buf.len().min(PORTION);
        self.inner.read_now(&mut buf[..portion])
    }

    fn interrupter(&mut self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        self.inner.interrupter()
    }

    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<()> {
        self.gate.pass();
        self.gate.waits.fetch_add(1, Ordering::SeqCst);
        self.inner.wait(deadline)
    }
}

/// What a client says before each portion.
#[derive(PartialEq)]
enum Says {
    Nothing,
    /// That it wants the next one.
    Something,
    /// The same, while many are on their way.
    Ahead,
}

/// How often it is waited while a client reads what lies there.
fn waits(says: &Says) -> usize {
    let gate = Arc::new(Gate::default());
    let (near, far) = MemoryStream::pair(4 << 20);
    let (client, server) = engines((Portioned(near, Arc::clone(&gate)), far), &Limits::default());
    let opening = std::thread::spawn({
        let client = client.clone();
        move || client.open("session", b"", soon()).unwrap()
    });
    let there = accept(&server);
    let channel = opening.join().unwrap();
    gate.shut(true);
    write_all(&there, &vec![7; PORTION * PORTIONS]).unwrap();
    there.send_eof();
    there.flush(soon()).unwrap();
    channel.intake().asks_ahead(*says == Says::Ahead);
    *gate.said_on.lock() = (*says != Says::Nothing).then(|| channel.clone());
    gate.shut(false);
    let (mut buf, mut got) = (vec![0; PORTION], 0);
    loop {
        let count = channel.read(Lane::Data, &mut buf, soon()).unwrap();
        if count == 0 {
            break;
        }
        got += count;
    }
    assert_eq!(got, PORTION * PORTIONS);
    let waits = gate.waits.load(Ordering::SeqCst);
    gate.said_on.lock().take();
    client.close();
    waits
}

#[test]
fn a_flow_is_not_waited_for_piece_by_piece() {
    within(60, || {
        for says in [Says::Nothing, Says::Ahead] {
            let waits = waits(&says);
            // The first MiB shows that it is one.
            assert!((8..12).contains(&waits), "{waits}");
        }
    });
}

#[test]
fn a_dialogue_is_waited_for_piece_by_piece() {
    within(60, || {
        let waits = waits(&Says::Something);
        assert!(waits >= PORTIONS, "{waits}");
    });
}

#[test]
fn who_writes_to_a_peer_that_is_busy_begins_no_dialogue() {
    let still = Still::new(Role::Server);
    let link = Link::new(Arc::clone(&still.core));
    let channel = still.accepted(&link, 4 << 20);
    let said = || {
        write_all(&channel, &[7; 256 * 1024]).unwrap();
        still.core.outbox.take_spoken()
    };
    assert_eq!([said(), said(), said(), said()], [true; 4], "up to a MiB");
    assert!(!said());
    receive_payload(&still.core, &credit(1 << 20)).unwrap();
    assert!(said(), "it has asked for more");
}

#[test]
fn credit_is_a_flow_as_data_is() {
    let still = Still::new(Role::Server);
    let link = Link::new(Arc::clone(&still.core));
    let _channel = still.accepted(&link, 0);
    let (near, far) = MemoryStream::pair(1000);
    let mut far = Box::new(far).split().unwrap();
    let mut reader = reader(Box::new(near).split().unwrap().read);
    // The first time it looks only at what the login has left.
    assert!(reader.read_for_user(&still.core, soon()));
    let mut sealer = Sealer::plain();
    let mut come = |bytes| {
        let mut packet = Vec::new();
        sealer.seal(&[&credit(bytes)], &mut packet).unwrap();
        far.write.write_all(&packet, soon()).unwrap();
        assert!(reader.read_for_user(&still.core, soon()));
        reader.naps.due().is_some()
    };
    assert!(!come(1 << 19));
    assert!(come(1 << 19), "a MiB in all");
}

/// CHANNEL_WINDOW_ADJUST for the first channel.
fn credit(bytes: u32) -> Vec<u8> {
    ChannelWindowAdjust { recipient: 0, bytes }.to_vec()
}
