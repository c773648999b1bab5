//! Who finds nothing more in a flow looks again after a nap; in a dialogue he waits for what comes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use super::{accept, engines, soon, within, write_all};
use crate::engine::{ChannelLink, Halves, Lane, Limits, MemoryStream, ReadHalf, Stream};

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

/// How often it is waited while a client reads what lies there, and something is said before each portion, or not.
fn waits(speaks: bool) -> usize {
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
    *gate.said_on.lock() = speaks.then(|| channel.clone());
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
        let waits = waits(false);
        // The first MiB shows that it is one.
        assert!((8..12).contains(&waits), "{waits}");
    });
}

#[test]
fn a_dialogue_is_waited_for_piece_by_piece() {
    within(60, || {
        let waits = waits(true);
        assert!(waits >= PORTIONS, "{waits}");
    });
}
