//! The threads of a transport: one that reads, one that writes, and what they share.
//!
//! Shows `Link`, `ChannelLink` and what arrives on them to the floors above; nobody above may know
//! how many threads there are.

mod asking;
#[cfg(any(test, fuzzing))]
mod bare;
mod channel_link;
#[cfg(unix)]
mod child;
mod clock;
mod core;
mod exit;
mod flow;
mod incoming;
mod lanes;
mod lease;
mod limits;
mod link;
mod login;
mod marking;
mod mux;
mod naps;
mod outbox;
mod outside;
mod pipe;
mod poll;
mod pool;
mod reader;
#[cfg(unix)]
mod rights;
#[cfg(unix)]
mod shared;
mod sink;
mod slot;
mod stream;
mod sync;
mod table;
mod taking;
#[cfg(test)]
pub(crate) mod tests;
mod turn;
mod waiting;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) use self::core::{Core, RequestTaker, Start};
#[cfg(any(test, fuzzing))]
pub(crate) use bare::Bare;
pub(crate) use channel_link::{ChannelLink, Intake, Watch};
#[cfg(unix)]
pub(crate) use child::{Program, Running};
pub(crate) use clock::Clock;
pub use exit::ExitStatus;
pub(crate) use incoming::{
    ADMINISTRATIVELY_PROHIBITED, CONNECT_FAILED, Fit, Incoming, OpenRequest, RESOURCE_SHORTAGE, Reply,
    UNKNOWN_CHANNEL_TYPE,
};
pub use limits::Limits;
pub(crate) use link::{Link, default_deadline, global_request};
pub(crate) use login::{Login, Opening};
pub(crate) use outside::within;
#[cfg(unix)]
pub(crate) use outside::{printed, succeeds};
pub(crate) use poll::Signal;
#[cfg(unix)]
pub(crate) use rights::with_rights_of;
#[cfg(unix)]
pub(crate) use shared::start_shared;
pub(crate) use sink::{Poured, Sink};
pub(crate) use slot::Lane;
pub use stream::{Closer, Halves, MemoryStream, ReadHalf, Stream, WriteHalf};
pub(crate) use taking::{Held, Taking};

use crate::error::{Error, Result};
use crate::kex::Role;

/// After a failed accept (out of descriptors) whoever listens waits so long, so that it does not spin.
pub(crate) const BREATH: Duration = Duration::from_millis(100);

/// A stack that the engine's and sessions' threads never fill; only touched pages cost memory.
const STACK: usize = 256 * 1024;

/// Threads of all transports that run now.
static THREADS: AtomicUsize = AtomicUsize::new(0);

#[cfg(test)]
thread_local! {
    /// The stack of the threads that a test's thread starts: more than there is, and none starts.
    pub(crate) static STACK_HERE: std::cell::Cell<usize> = const { std::cell::Cell::new(STACK) };
}

fn stack() -> usize {
    #[cfg(test)]
    return STACK_HERE.get();
    #[cfg(not(test))]
    STACK
}

struct Counted;

impl Drop for Counted {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts a thread: every thread of the library is started here and counted.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    THREADS.fetch_add(1, Ordering::SeqCst);
    let counted = Counted;
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack())
        .spawn(move || {
            let _counted = counted;
            run();
        })
        .map_err(|error| Error::io("starting a thread", error))
}

/// The number of threads that the library runs in this process.
#[must_use]
pub fn running_threads() -> usize {
    THREADS.load(Ordering::SeqCst)
}

/// Starts the threads of a transport that is logged in.
pub(crate) fn start(mut login: login::Finished, start: Start) -> Result<Link> {
    let outbox = outbox::Outbox::new(login.sealer, login.write);
    let (role, serving) = (start.role, start.serving);
    let mut core = Core::new(start, outbox);
    if role == Role::Client && !serving {
        // Who serves is to be called, whatever comes.
        core.turn = turn::Turn::new(login.read.interrupter());
    }
    core.turn.leave(Box::new(reader::Reader {
        stream: login.read,
        opener: login.opener,
        inbox: login.inbox,
        dialogue: true,
        naps: naps::Naps::default(),
        wake: mux::Wake::default(),
        needed: 0,
        started: (role == Role::Server).then(Instant::now),
    }));
    let core = Arc::new(core);
    core.mark_from_the_start();
    let link = Link::new(Arc::clone(&core));
    let there = Arc::clone(&core);
    spawn("feramiko writer", move || guarded(&there, writer::run))?;
    spawn("feramiko reader", move || guarded(&core, reader::Reader::run))?;
    Ok(link)
}

/// A panic in an engine thread is a bug of ours; it ends this transport and nothing else.
fn guarded(core: &Arc<Core>, run: impl FnOnce(&Arc<Core>)) {
    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(core))).is_err() {
        core.die(Error::Misuse("a thread of the transport panicked"));
        core.end();
    }
}
