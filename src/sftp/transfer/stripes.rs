//! One large file over several sessions at once, both ways: for a server that grants each session only so much, or
//! handles each connection only so fast. Knows nothing of what a part is read from and written to.
//!
//! Each session has a thread, a handle of its own and its own requests under way. The parts are handed out in the
//! file's order; no part is asked for while one that lies [`SPREAD`] before it is unanswered, and the last one is left
//! to who asked for the stripes. What is there after a failure is therefore whole up to `SPREAD` before its end, and
//! not the whole file while anything is missing.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

use super::Options;
use super::flight::Flight;
use super::local::failed;
use crate::engine::spawn;
use crate::error::{Error, Result};
use crate::sftp::client::{GoOn, LOOK_UP, Part, Reply, SFTPClient, SFTPFile};
use crate::sftp::packet::{OpenFlags, RemoteName, SFTPAttributes, SFTPStatus, SFTPTime};

/// How far apart parts under way may lie, in bytes: for four servers of OpenSSH's kind, each with its window of 2 MiB
/// full and one of requests that wait for it.
const SPREAD: u64 = 16 * 1024 * 1024;

/// How much is certainly there of a file of `size`, where a part of it has so many bytes. One that is as long as the
/// file may have been made of a longer one.
pub(super) fn whole_of_part(there: u64, size: u64, striped: bool) -> u64 {
    if striped && there <= size { there.saturating_sub(SPREAD) } else { there }
}

/// What one direction does with a part.
pub(super) trait Parts: Send + Sync + 'static {
    /// Bytes that a session may have under way, with parts of `size`.
    fn depth(&self, options: &Options, client: &SFTPClient, size: u32) -> usize;

    /// What is to be asked for a part. A buffer may be had from the flight.
    fn request(&self, lane: &Lane, part: Part, flight: &Flight<Part>) -> Result<Request>;

    /// What an answer brought. Its buffer may go back to the flight.
    fn answered(&self, lane: &Lane, part: Part, reply: Reply, flight: &Flight<Part>) -> Result<Came>;
}

/// What is to be asked for a part.
pub(super) enum Request {
    /// This, for an answer of at most so many bytes.
    Packet(Vec<u8>, usize),
    /// Nothing: it is a hole.
    Hole,
    /// Nothing: the file ends in it or before it.
    End,
}

/// What came of a part.
pub(super) enum Came {
    Whole,
    /// So many bytes, and the rest is to be asked for.
    Some(u32),
    /// The file ends where it begins, or before that.
    End,
}

/// A session's share.
pub(super) struct Lane {
    pub(super) client: SFTPClient,
    pub(super) handle: Vec<u8>,
    pub(super) path: RemoteName,
}

/// The file whose parts are moved.
pub(super) struct Whole<'s> {
    /// What it is called on the server, and how the other sessions open it.
    pub(super) path: &'s RemoteName,
    pub(super) flags: OpenFlags,
    /// It is open in this session already.
    pub(super) client: &'s SFTPClient,
    pub(super) handle: &'s [u8],
    pub(super) begin: u64,
    pub(super) size: u64,
    /// Bytes of a part.
    pub(super) part: u32,
}

/// What the lanes share.
struct Stripes<P> {
    parts: P,
    work: Mutex<Work>,
    /// A part was answered, or nothing more will be handed out.
    changed: Condvar,
    size: u32,
    /// Of one lane.
    options: Options,
}

struct Work {
    next: u64,
    /// Nothing from here on is handed out.
    end: u64,
    /// Where the parts begin that have not been answered.
    under_way: BTreeSet<u64>,
    /// Bytes that were answered and not told of.
    moved: usize,
    failure: Option<Error>,
}

/// Where one lane panics, in the user's own callback or by a bug of ours, the others neither go on nor wait for it.
struct Unwinding<'s, P>(&'s Stripes<P>);

impl<P> Drop for Unwinding<'_, P> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.ended(Err(Error::Misuse("what moved a part of the file panicked")));
        }
    }
}

/// What a lane is to do next.
enum Next {
    /// To ask for that part.
    Ask(Part),
    /// To wait for its answers: what comes next lies too far ahead.
    Wait,
    End,
}

/// Called with the bytes that have been moved since the last time, now and then; its error ends the transfer.
type Tell<'a> = &'a mut dyn FnMut(usize) -> Result<()>;

/// Moves all but the last part of a file over all sessions, and waits until all of that is there; up to where it is.
/// `tell` is called on this thread.
pub(super) fn move_parts<P: Parts>(
    parts: P,
    file: &Whole<'_>,
    options: &Options,
    tell: Tell<'_>,
) -> Result<u64> {
    let others = open_everywhere(file, &options.stripes)?;
    let lane = |client: &SFTPClient, handle: &[u8]| Lane {
        client: client.clone(),
        handle: handle.to_vec(),
        path: file.path.clone(),
    };
    let size = u64::from(file.part);
    let count = file.size.saturating_sub(file.begin).saturating_sub(1).checked_div(size).unwrap_or_default();
    let work = Work {
        next: file.begin,
        end: file.begin.saturating_add(count.saturating_mul(size)),
        under_way: BTreeSet::new(),
        moved: 0,
        failure: None,
    };
    let options_of_one = options.of_one_in(others.len().saturating_add(1));
    let (work, changed) = (Mutex::new(work), Condvar::new());
    let shared = Arc::new(Stripes { parts, work, changed, size: file.part, options: options_of_one });
    let _unwinding = Unwinding(&*shared);
    let mut threads = Vec::new();
    for (client, other) in options.stripes.iter().zip(&others) {
        let (there, lane) = (Arc::clone(&shared), lane(client, other.handle()));
        let run = move || {
            let _unwinding = Unwinding(&*there);
            there.ended(there.run(&lane, None));
        };
        match spawn("feramiko stripe", run) {
            Ok(thread) => threads.push(thread),
            Err(error) => shared.ended(Err(error)),
        }
    }
    shared.ended(shared.run(&lane(file.client, file.handle), Some(tell)));
    for thread in threads {
        // What it met, it has left in `shared`.
        let _ = thread.join();
    }
    let (moved, end, failure) = {
        let mut work = shared.work.lock();
        (work.moved, work.next.min(work.end), work.failure.take())
    };
    failure.map_or(Ok(()), Err)?;
    tell(moved)?;
    others.iter().try_for_each(SFTPFile::close)?;
    Ok(end)
}

/// Size and time of modification, as far as the server tells.
type Looks = (Option<u64>, Option<SFTPTime>);

fn looks(found: Result<SFTPAttributes>) -> Result<Looks> {
    match found {
        Ok(known) => Ok((known.size, known.times.map(|(_, modified)| modified))),
        Err(Error::Sftp(error)) if error.status == SFTPStatus::OP_UNSUPPORTED => Ok((None, None)),
        Err(error) => Err(error),
    }
}

/// Opens the file in the other sessions too; an error where one of them has another file of that name.
fn open_everywhere(file: &Whole<'_>, sessions: &[SFTPClient]) -> Result<Vec<SFTPFile>> {
    let before = looks(file.client.stat_handle(file.handle, file.path))?;
    let open = |client: &SFTPClient| {
        let client = client.cancelled_as(Some(file.client));
        let other = client.open_with(file.path, file.flags, &SFTPAttributes::new())?;
        let theirs = looks(other.stat())?;
        Ok((other, theirs))
    };
    let opened = sessions.iter().map(open).collect::<Result<Vec<_>>>()?;
    // A file that somebody appends to is between the two.
    let after = looks(file.client.stat_handle(file.handle, file.path))?;
    let same =
        |theirs: &Looks| (before.0..=after.0).contains(&theirs.0) && (before.1..=after.1).contains(&theirs.1);
    if opened.iter().all(|(_, theirs)| same(theirs)) {
        return Ok(opened.into_iter().map(|(other, _)| other).collect());
    }
    let text = "a session of the stripe has another file there: it leads to another server, or somebody changes the \
                file; leave out stripe";
    Err(failed(file.path.to_string(), io::Error::new(io::ErrorKind::InvalidInput, text)))
}

impl<P> Stripes<P> {
    /// The first failure is everybody's.
    fn ended(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.work.lock().failure.get_or_insert(error);
            self.changed.notify_all();
        }
    }
}

impl<P: Parts> Stripes<P> {
    /// Asks and waits until nothing is left for this lane. One of them tells how many bytes all have moved meanwhile.
    fn run(&self, lane: &Lane, mut tell: Option<Tell<'_>>) -> Result<()> {
        let mut flight = Flight::new(&lane.client, self.options.bandwidth);
        let mut held = 0_usize;
        loop {
            let depth = self.parts.depth(&self.options, &lane.client, self.size);
            let mut over = false;
            while held == 0 || held.saturating_add(self.size as usize) <= depth {
                match self.next() {
                    Next::Ask(part) => {
                        let asked = self.ask(lane, part, &mut flight, &mut || self.go_on(&mut tell))?;
                        held = held.saturating_add(asked);
                    }
                    Next::Wait => break,
                    Next::End => {
                        over = true;
                        break;
                    }
                }
            }
            if !flight.is_empty() {
                for (part, reply) in flight.next_all(&mut || self.go_on(&mut tell))? {
                    held = held.saturating_sub(part.length as usize);
                    let came = self.parts.answered(lane, part, reply, &flight)?;
                    if let Some(rest) = self.answered(part, &came) {
                        let asked = self.ask(lane, rest, &mut flight, &mut || self.go_on(&mut tell))?;
                        held = held.saturating_add(asked);
                    }
                }
            } else if over {
                return Ok(());
            } else {
                self.wait_for_others();
            }
            self.told(&mut tell)?;
        }
    }

    /// Asked where a lane has nothing to do but wait: others may have failed meanwhile.
    fn go_on(&self, tell: &mut Option<Tell<'_>>) -> Result<()> {
        if self.work.lock().failure.is_some() {
            // The first failure counts, which this is not.
            return Err(Error::Cancelled);
        }
        self.told(tell)
    }

    fn told(&self, tell: &mut Option<Tell<'_>>) -> Result<()> {
        let Some(tell) = tell else { return Ok(()) };
        let moved = std::mem::take(&mut self.work.lock().moved);
        tell(moved)
    }

    /// Asks for a part, if there is anything to ask for; how many bytes.
    fn ask(&self, lane: &Lane, part: Part, flight: &mut Flight<Part>, go_on: GoOn<'_>) -> Result<usize> {
        match self.parts.request(lane, part, flight)? {
            Request::Packet(packet, expected) => {
                flight.spend(part.length as usize, &mut *go_on)?;
                flight.ask(part, packet, expected, go_on)?;
                Ok(part.length as usize)
            }
            Request::Hole => {
                self.settled(part.offset, 0);
                go_on().map(|()| 0)
            }
            Request::End => {
                self.ends_at(part.offset);
                Ok(0)
            }
        }
    }

    /// What is left of a part, if it did not come whole.
    fn answered(&self, part: Part, came: &Came) -> Option<Part> {
        match *came {
            Came::Whole => self.settled(part.offset, part.length),
            Came::End => self.ends_at(part.offset),
            Came::Some(count) => {
                let offset = part.offset.saturating_add(count.into());
                self.work.lock().under_way.insert(offset);
                self.settled(part.offset, count);
                return Some(Part { offset, length: part.length.saturating_sub(count) });
            }
        }
        None
    }

    /// Waits a little for one of them to get an answer, unless there is something to do.
    fn wait_for_others(&self) {
        let mut work = self.work.lock();
        if !work.is_over() && work.is_too_far(self.size) {
            let _ = self.changed.wait_for(&mut work, LOOK_UP);
        }
    }

    /// Hands out the next part.
    fn next(&self) -> Next {
        let mut work = self.work.lock();
        if work.is_over() {
            return Next::End;
        }
        if work.is_too_far(self.size) {
            return Next::Wait;
        }
        let part = Part { offset: work.next, length: self.size };
        work.next = work.next.saturating_add(self.size.into());
        work.under_way.insert(part.offset);
        Next::Ask(part)
    }

    /// Nothing of the part that begins there is under way any more.
    fn settled(&self, offset: u64, moved: u32) {
        let mut work = self.work.lock();
        work.under_way.remove(&offset);
        work.moved = work.moved.saturating_add(moved as usize);
        self.changed.notify_all();
    }

    /// The file has become shorter: what lies beyond is not ours to move.
    fn ends_at(&self, offset: u64) {
        let mut work = self.work.lock();
        work.end = work.end.min(offset);
        work.under_way.remove(&offset);
        self.changed.notify_all();
    }
}

impl Work {
    fn is_over(&self) -> bool {
        self.failure.is_some() || self.next >= self.end
    }

    /// Whether the next part, of `size` bytes, would end too far behind where one begins that is unanswered.
    fn is_too_far(&self, size: u32) -> bool {
        let first = self.under_way.first().copied().unwrap_or(self.next);
        self.next.saturating_add(size.into()).saturating_sub(first) > SPREAD
    }
}
