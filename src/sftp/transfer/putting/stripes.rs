//! One large file over several sessions at once: for a server that grants each only so much, or handles each only so
//! fast.
//!
//! Each session has a thread, a handle of its own and its own requests under way. The parts are handed out in the
//! file's order; no part is sent while one that lies [`SPREAD`] before it is unanswered, and the last one is left to
//! who asked for the stripes. What is there after a failure is therefore whole up to `SPREAD` before its end, and not
//! the whole file while anything is missing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

use super::{Putting, Source, name_until_whole};
use crate::engine::spawn;
use crate::error::{Error, Result};
use crate::sftp::client::{Answer, Asked, Reply, SFTPClient, SFTPFile, SMALL_ANSWER, begin_write, end_write};
use crate::sftp::packet::{OpenFlags, RemoteName, SFTPAttributes};
use crate::sftp::transfer::Options;
use crate::sftp::transfer::flight::Flight;
use crate::sftp::transfer::local::failed;

/// How far apart parts under way may lie, in bytes: for four servers of OpenSSH's kind, each with its window of 2 MiB
/// full and one of requests that wait for it.
pub(super) const SPREAD: u64 = 16 * 1024 * 1024;

/// A session's share: where it writes.
struct Lane {
    client: SFTPClient,
    handle: Vec<u8>,
    path: RemoteName,
}

/// What the lanes share.
struct Shared {
    /// Locked for one part at a time, while it is read too: the file has one position.
    work: Mutex<Work>,
    /// A part was answered, or nothing more will be handed out.
    changed: Condvar,
    /// Bytes of a part.
    size: usize,
    /// Of one lane.
    options: Options,
}

struct Work {
    source: File,
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
struct Unwinding<'s>(&'s Shared);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.ended(Err(Error::Misuse("what put a part of the file panicked")));
        }
    }
}

/// What a lane is to do next.
enum Next {
    /// To send a WRITE of the part that begins there.
    Send(u64, Vec<u8>),
    /// To wait for its answers: what comes next lies too far ahead.
    Wait,
    End,
}

impl Putting<'_, '_> {
    /// Sends all but the last part of a file that is open, over all sessions, and waits until all of that is there.
    pub(super) fn put_striped(&mut self, key: u64) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let Source::File(source) = &mut job.source else { return Ok(()) };
        let path = name_until_whole(&job.task, &self.options);
        let open = |client: &SFTPClient| {
            // It is there already: where it is not, that session leads to another server.
            client.open_with(&path, OpenFlags::WRITE, &SFTPAttributes::new())
        };
        let others: Vec<SFTPFile> = self.options.stripes.iter().map(open).collect::<Result<_>>()?;
        let lane = |client: &SFTPClient, handle: &[u8]| Lane {
            client: client.clone(),
            handle: handle.to_vec(),
            path: path.clone(),
        };
        let limits = self.options.stripes.iter().map(|client| client.write_size() as usize);
        let size = limits.fold(self.size, usize::min);
        let rest = job.task.known.size.unwrap_or_default().saturating_sub(job.next);
        let parts = rest.saturating_sub(1).checked_div(size as u64).unwrap_or_default();
        let work = Work {
            source: source.try_clone().map_err(unreadable)?,
            next: job.next,
            end: job.next.saturating_add(parts.saturating_mul(size as u64)),
            under_way: BTreeSet::new(),
            moved: 0,
            failure: None,
        };
        let options = self.options.of_one_in(others.len().saturating_add(1));
        let shared = Shared { work: Mutex::new(work), changed: Condvar::new(), size, options };
        let shared = Arc::new(shared);
        let _unwinding = Unwinding(&shared);
        let mut threads = Vec::new();
        for (client, file) in self.options.stripes.iter().zip(&others) {
            let (there, lane) = (Arc::clone(&shared), lane(client, file.handle()));
            let run = move || {
                let _unwinding = Unwinding(&there);
                there.ended(there.run(&lane, None));
            };
            match spawn("feramiko stripe", run) {
                Ok(thread) => threads.push(thread),
                Err(error) => shared.ended(Err(error)),
            }
        }
        let (watch, task, written) = (&mut self.watch, &job.task, &mut job.written);
        let mut tell = |moved: usize| {
            *written = written.saturating_add(moved as u64);
            watch.moved(moved, (&task.remote, *written, task.known.size, task.begin));
            watch.go_on()
        };
        shared.ended(shared.run(&lane(&self.flight.client, &job.handle), Some(&mut tell)));
        for thread in threads {
            // What it met, it has left in `shared`.
            let _ = thread.join();
        }
        let (moved, next, failure) = {
            let mut work = shared.work.lock();
            (work.moved, work.next, work.failure.take())
        };
        failure.map_or(Ok(()), Err)?;
        tell(moved)?;
        others.iter().try_for_each(SFTPFile::close)?;
        (job.next, job.written) = (next, next);
        source.seek(SeekFrom::Start(next)).map(drop).map_err(unreadable)
    }
}

fn unreadable(error: io::Error) -> Error {
    failed("reading what is to be sent", error)
}

impl Shared {
    /// The first failure is everybody's.
    fn ended(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.work.lock().failure.get_or_insert(error);
            self.changed.notify_all();
        }
    }

    /// Sends and waits until nothing is left for this lane. One of them tells how many bytes all have moved meanwhile.
    fn run(&self, lane: &Lane, mut tell: Option<&mut dyn FnMut(usize) -> Result<()>>) -> Result<()> {
        let mut flight = Flight::new(&lane.client, self.options.bandwidth);
        let size = u32::try_from(self.size).unwrap_or(u32::MAX);
        let depth = self.options.depth(lane.client.depth(), size);
        let mut held = 0_usize;
        let mut spare = flight.buffer();
        loop {
            let mut over = false;
            while held < depth {
                if spare.capacity() == 0 {
                    spare = flight.buffer();
                }
                match self.next(lane, &mut spare)? {
                    Next::Send(offset, packet) => {
                        held = held.saturating_add(self.size);
                        flight.spend(self.size)?;
                        flight.ask(offset, packet, SMALL_ANSWER)?;
                    }
                    Next::Wait => break,
                    Next::End => {
                        over = true;
                        break;
                    }
                }
            }
            if !flight.is_empty() {
                for (offset, reply) in flight.next_all()? {
                    held = held.saturating_sub(self.size);
                    lane.check(reply)?;
                    self.answered(offset);
                }
            } else if over {
                return Ok(());
            } else {
                self.wait_for_others();
            }
            if let Some(tell) = &mut tell {
                let moved = std::mem::take(&mut self.work.lock().moved);
                tell(moved)?;
            }
        }
    }

    /// Waits until one of them has got an answer, unless there is something to do. That ends: whose answers are
    /// missing waits for them with a deadline, and what it meets is told here.
    fn wait_for_others(&self) {
        let mut work = self.work.lock();
        if !work.is_over() && work.is_too_far(self.size) {
            self.changed.wait(&mut work);
        }
    }

    /// Reads the next part, into the buffer if there is one.
    fn next(&self, lane: &Lane, spare: &mut Vec<u8>) -> Result<Next> {
        let mut work = self.work.lock();
        loop {
            if work.is_over() {
                return Ok(Next::End);
            }
            if work.is_too_far(self.size) {
                return Ok(Next::Wait);
            }
            let offset = work.next;
            let mut packet = begin_write(std::mem::take(spare), &lane.handle, offset, self.size);
            let front = packet.len();
            let read = (&work.source).take(self.size as u64).read_to_end(&mut packet);
            let count = read.map_err(unreadable)?;
            if count < self.size {
                // The file has become shorter: its end is not ours to send.
                work.end = offset;
                return Ok(Next::End);
            }
            work.next = offset.saturating_add(count as u64);
            let hole =
                self.options.sparse && packet.get(front..).unwrap_or_default().iter().all(|byte| *byte == 0);
            if !hole {
                work.under_way.insert(offset);
                end_write(&mut packet, front);
                return Ok(Next::Send(offset, packet));
            }
            packet.clear();
            *spare = packet;
        }
    }

    fn answered(&self, offset: u64) {
        let mut work = self.work.lock();
        work.under_way.remove(&offset);
        work.moved = work.moved.saturating_add(self.size);
        self.changed.notify_all();
    }
}

impl Work {
    fn is_over(&self) -> bool {
        self.failure.is_some() || self.next >= self.end
    }

    /// Whether the next part, of `size` bytes, would end too far behind where one begins that is unanswered.
    fn is_too_far(&self, size: usize) -> bool {
        let first = self.under_way.first().copied().unwrap_or(self.next);
        self.next.saturating_add(size as u64).saturating_sub(first) > SPREAD
    }
}

impl Lane {
    fn check(&self, reply: Reply) -> Result<()> {
        let asked = Asked { operation: "write", path: self.path.as_bytes() };
        match self.client.read_answer(reply, asked)? {
            Answer::Done => Ok(()),
            other => Err(self.client.wrong(&other, asked)),
        }
    }
}
