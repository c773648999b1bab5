//! Joins a channel and another stream: what comes on one leaves on the other, and the end of each direction
//! is passed on by itself.
//!
//! The caller's thread carries what comes from the stream. What comes on the channel is written on by the
//! connection's reader as long as the stream takes it at once; when it does not, a second thread carries that
//! direction from there on. Threads wait with a few bytes of stack; larger memory is taken while bytes move and
//! given back before a read that may wait. How fast one side takes bytes is how fast the other is read: the
//! channel's window carries that to the peer.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::channel::Channel;
use crate::engine::{Closer, Halves, Lane, Poured, ReadHalf, Sink, Stream, WriteHalf, spawn};
use crate::error::{Error, Result};

/// What a read that may wait is made with: an answer of most dialogues fits.
const SMALL: usize = 512;
/// While bytes move: two packets of the usual 32 KiB.
const LARGE: usize = 64 * 1024;

/// Joins a channel and a stream until both directions have ended or one side has failed; both are closed
/// then. The end of one direction is passed on while the other goes on.
///
/// ```no_run
/// use feramiko::{SSHClient, relay};
/// let client = SSHClient::connect("bastion.example.org")?;
/// let channel = client.transport().open_direct_tcpip("inner.example.org", 80, ("127.0.0.1", 0))?;
/// let (browser, _) = std::net::TcpListener::bind("127.0.0.1:8080")?.accept()?;
/// relay(&channel, browser)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// What the stream or the connection said when one of them failed.
pub fn relay(channel: &Channel, stream: impl Stream) -> Result<()> {
    let split = Box::new(stream).split().and_then(|halves| join(channel, halves));
    split.map_err(|error| match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io("relaying a channel", error),
    })
}

/// Closes a stream when it is dropped.
pub(crate) struct Cut(pub(crate) Arc<dyn Closer>);

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Both ends, and what is known of the directions between them.
struct Ends {
    channel: Channel,
    closer: Arc<dyn Closer>,
    state: Mutex<State>,
}

struct State {
    /// How many directions are under way.
    open: usize,
    /// Carries what comes on the channel, where that needs a thread.
    carrying: Option<JoinHandle<()>>,
    /// What the stream said when it took no more.
    broken: Option<io::Error>,
    /// Nobody waits for that thread any more: none is started.
    over: bool,
}

impl Ends {
    /// A direction has ended; the last one closes the channel.
    fn ended(&self) {
        let mut state = self.state.lock();
        state.open = state.open.saturating_sub(1);
        let last = state.open == 0;
        drop(state);
        if last {
            self.channel.close();
        }
    }

    /// Nothing more comes on the channel.
    fn all_written(&self, stream: &mut dyn WriteHalf) {
        // The stream may be gone already.
        let _ = stream.shutdown();
        self.ended();
        // What the stream still says is nobody's once the peer has closed the channel.
        self.channel.link().hold(Cut(Arc::clone(&self.closer)));
    }

    /// The stream takes nothing more: nobody takes what still comes.
    fn broken(&self, error: io::Error) {
        self.state.lock().broken = Some(error);
        self.channel.link().stop_reading(Lane::Data);
        self.ended();
        self.channel.link().hold(Cut(Arc::clone(&self.closer)));
    }

    /// Carries what comes on the channel from here on, `first` before it.
    fn carry(&self, mut stream: Box<dyn WriteHalf>, first: &[u8]) {
        let carried = stream.write_all(first, None).map_err(Broken::Writing).and_then(|()| {
            let halves = Box::new(self.channel.clone()).split();
            pump(&mut *halves.map_err(|_| Broken::Reading)?.read, &mut *stream)
        });
        match carried {
            Err(Broken::Writing(error)) => self.broken(error),
            // That the connection has died is seen by who waits for its end.
            Ok(()) | Err(Broken::Reading) => self.all_written(&mut *stream),
        }
    }
}

/// Has what comes on the channel written to the stream.
fn write_on(ends: &Arc<Ends>, stream: Box<dyn WriteHalf>) {
    let prompt = stream.prompt();
    let there = Arc::clone(ends);
    let then = move |mut stream: Box<dyn WriteHalf>, why| match why {
        Poured::All => there.all_written(&mut *stream),
        Poured::Broken(error) => there.broken(error),
        Poured::Full(first) => carry_aside(&there, stream, first),
    };
    if prompt {
        ends.channel.link().pour(Sink::new(stream, then));
    } else {
        then(stream, Poured::Full(Vec::new()));
    }
}

/// Carries what comes on the channel on a thread that can wait for the stream.
fn carry_aside(ends: &Arc<Ends>, stream: Box<dyn WriteHalf>, first: Vec<u8>) {
    let mut state = ends.state.lock();
    if state.over {
        return;
    }
    let there = Arc::clone(ends);
    match spawn("feramiko forward", move || there.carry(stream, &first)) {
        Ok(carrying) => state.carrying = Some(carrying),
        Err(error) => {
            state.broken = Some(error.into());
            drop(state);
            ends.channel.close();
            ends.closer.close();
        }
    }
}

/// Joins a channel and the halves of a stream, as [`relay`].
pub(crate) fn join(channel: &Channel, stream: Halves) -> io::Result<()> {
    let Halves { mut read, write, closer, .. } = stream;
    // A stream that nobody reads must not keep the thread of a transport that is gone.
    let held = channel.link().link().hold(Cut(Arc::clone(&closer)));
    channel.link().stop_reading(Lane::Stderr);
    let Halves { write: mut to_channel, .. } = Box::new(channel.clone()).split()?;
    let state = Mutex::new(State { open: 2, carrying: None, broken: None, over: false });
    let ends = Arc::new(Ends { channel: channel.clone(), closer, state });
    write_on(&ends, write);
    match pump(&mut *read, &mut *to_channel) {
        Ok(()) | Err(Broken::Writing(_)) => {}
        // A reset is none of the channel's ends.
        Err(Broken::Reading) => channel.close(),
    }
    ends.ended();
    // The other direction goes on until its own end, or the peer's CLOSE.
    channel.link().wait_closed();
    let carrying = {
        let mut state = ends.state.lock();
        state.over = true;
        state.carrying.take()
    };
    let carried = carrying.map_or(Ok(()), JoinHandle::join);
    ends.closer.close();
    drop(held);
    carried.map_err(|_| io::Error::other("a relay panicked"))?;
    let broken = ends.state.lock().broken.take();
    broken.or_else(|| channel.link().died().map(Into::into)).map_or(Ok(()), Err)
}

/// Which side failed.
enum Broken {
    Reading,
    Writing(io::Error),
}

/// Copies until the end, which is passed on.
fn pump(from: &mut dyn ReadHalf, to: &mut dyn WriteHalf) -> std::result::Result<(), Broken> {
    let mut small = [0; SMALL];
    loop {
        let count = from.read(&mut small, None).map_err(|_| Broken::Reading)?;
        let ended = count == 0;
        to.write_all(small.get(..count).unwrap_or_default(), None).map_err(Broken::Writing)?;
        if ended || count == SMALL && rush(from, to)? {
            return to.shutdown().map_err(Broken::Writing);
        }
    }
}

/// Copies what is there, with more memory; whether the end was there.
fn rush(from: &mut dyn ReadHalf, to: &mut dyn WriteHalf) -> std::result::Result<bool, Broken> {
    let mut large = vec![0; LARGE];
    loop {
        let count = match from.read_now(&mut large) {
            Ok(0) => return Ok(true),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(_) => return Err(Broken::Reading),
        };
        to.write_all(large.get(..count).unwrap_or_default(), None).map_err(Broken::Writing)?;
    }
}
