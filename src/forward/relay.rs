//! Joins a channel and another stream: what comes on one leaves on the other, and the end of each direction
//! is passed on by itself.
//!
//! Two threads, one a direction: the caller's and one more. They wait with a few bytes of stack; larger
//! memory is taken while bytes move and given back before a read that may wait. How fast one side takes
//! bytes is how fast the other is read: the channel's window carries that to the peer.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::channel::Channel;
use crate::engine::{Closer, Halves, Lane, ReadHalf, Stream, WriteHalf, spawn};
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

/// Both ends, and how many directions are under way.
struct Ends {
    channel: Channel,
    closer: Arc<dyn Closer>,
    open: AtomicUsize,
}

impl Ends {
    /// A direction has ended; the last one closes the channel.
    fn ended(&self) {
        if self.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.channel.close();
        }
    }
}

/// Joins a channel and the halves of a stream, as [`relay`].
pub(crate) fn join(channel: &Channel, stream: Halves) -> io::Result<()> {
    let Halves { mut read, write: mut to_stream, closer, .. } = stream;
    // A stream that nobody reads must not keep the thread of a transport that is gone.
    let held = channel.link().link().hold(Cut(Arc::clone(&closer)));
    channel.link().stop_reading(Lane::Stderr);
    let Halves { read: mut from_channel, write: mut to_channel, .. } = Box::new(channel.clone()).split()?;
    let ends = Arc::new(Ends { channel: channel.clone(), closer, open: AtomicUsize::new(2) });
    let there = Arc::clone(&ends);
    let out = spawn("feramiko forward", move || {
        match pump(&mut *read, &mut *to_channel) {
            Ok(()) | Err(Broken::Writing(_)) => {}
            // A reset is none of the channel's ends.
            Err(Broken::Reading(_)) => there.channel.close(),
        }
        there.ended();
    });
    let out = out.inspect_err(|_| {
        ends.channel.close();
        ends.closer.close();
    })?;
    let result = match pump(&mut *from_channel, &mut *to_stream) {
        Err(Broken::Writing(error)) => {
            // Nobody takes what still comes.
            channel.link().stop_reading(Lane::Data);
            Err(error)
        }
        Err(Broken::Reading(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    ends.ended();
    // The other direction goes on until its own end, or the peer's CLOSE.
    channel.link().wait_closed();
    ends.closer.close();
    drop(held);
    // All it waits for is closed.
    let joined = out.join();
    joined.map_err(|_| io::Error::other("a relay panicked"))?;
    result
}

/// Which side failed.
enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

/// Copies until the end, which is passed on.
fn pump(from: &mut dyn ReadHalf, to: &mut dyn WriteHalf) -> std::result::Result<(), Broken> {
    let mut small = [0; SMALL];
    loop {
        let count = from.read(&mut small, None).map_err(Broken::Reading)?;
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
            Err(error) => return Err(Broken::Reading(error)),
        };
        to.write_all(large.get(..count).unwrap_or_default(), None).map_err(Broken::Writing)?;
    }
}
