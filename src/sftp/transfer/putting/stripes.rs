//! A large file that is put over several sessions.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use parking_lot::Mutex;

use super::{Options, Putting, Source, name_until_whole};
use crate::error::{Error, Result};
use crate::sftp::client::{Answer, Asked, Part, Reply, SFTPClient, SMALL_ANSWER, begin_write, end_write};
use crate::sftp::packet::OpenFlags;
use crate::sftp::transfer::flight::Flight;
use crate::sftp::transfer::local::failed;
use crate::sftp::transfer::stripes::{Came, Lane, Parts, Request, Whole, move_parts};

/// Parts that are read here and written there.
struct Sending {
    /// Locked while a part is read: the file has one position.
    source: Mutex<File>,
    sparse: bool,
}

impl Putting<'_, '_> {
    /// Sends all but the last part of a file that is open, over all sessions, and waits until all of that is there.
    pub(super) fn put_striped(&mut self, key: u64) -> Result<()> {
        let Some(job) = self.jobs.get(&key) else { return Ok(()) };
        let path = name_until_whole(&job.task, &self.options);
        if self.options.sparse && job.next > 0 {
            // What lies there from an attempt before would show through the holes.
            self.cut(&path, job.next)?;
        }
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let Source::File(source) = &mut job.source else { return Ok(()) };
        let limits = self.options.stripes.iter().map(|client| self.options.size(client.write_size()));
        let file = Whole {
            path: &path,
            // It is there already: where it is not, that session leads to another server.
            flags: OpenFlags::WRITE,
            client: &self.flight.client,
            handle: &job.handle,
            begin: job.next,
            size: job.task.known.size.unwrap_or_default(),
            part: limits.fold(u32::try_from(self.size).unwrap_or(u32::MAX), u32::min),
        };
        let (watch, task, written) = (&mut self.watch, &job.task, &mut job.written);
        let mut tell = |moved: usize| {
            *written = written.saturating_add(moved as u64);
            watch.moved(moved, (&task.remote, *written, task.known.size, task.begin));
            watch.go_on()
        };
        let sending = Sending {
            source: Mutex::new(source.try_clone().map_err(unreadable)?),
            sparse: self.options.sparse,
        };
        let end = move_parts(sending, &file, &self.options, &mut tell)?;
        (job.next, job.written) = (end, end);
        // From an attempt before; or the source has become shorter, and a part behind its end was sent already.
        job.stale = task.begin > 0 || end.saturating_add(file.part.into()) < file.size;
        source.seek(SeekFrom::Start(end)).map(drop).map_err(unreadable)
    }
}

fn unreadable(error: io::Error) -> Error {
    failed("reading what is to be sent", error)
}

impl Parts for Sending {
    /// One request that has begun waits in the server for the rest of it.
    fn depth(&self, options: &Options, client: &SFTPClient, size: u32) -> usize {
        options.write_depth(client, size).saturating_add(size.saturating_sub(1) as usize)
    }

    fn request(&self, lane: &Lane, part: Part, flight: &Flight<Part>) -> Result<Request> {
        let length = part.length as usize;
        let mut packet = begin_write(flight.buffer(), &lane.handle, part.offset, length);
        let front = packet.len();
        let read = {
            let mut source = self.source.lock();
            let there = source.seek(SeekFrom::Start(part.offset));
            there.and_then(|_| (&*source).take(length as u64).read_to_end(&mut packet))
        };
        let count = read.map_err(unreadable)?;
        let data = packet.get(front..).unwrap_or_default();
        let nothing = match count < length {
            true => Request::End,
            false if self.sparse && data.iter().all(|byte| *byte == 0) => Request::Hole,
            false => {
                end_write(&mut packet, front);
                return Ok(Request::Packet(packet, SMALL_ANSWER));
            }
        };
        flight.recycle(packet);
        Ok(nothing)
    }

    fn answered(&self, lane: &Lane, _: Part, reply: Reply, _: &Flight<Part>) -> Result<Came> {
        let asked = Asked { operation: "write", path: lane.path.as_bytes() };
        match lane.client.read_answer(reply, asked)? {
            Answer::Done => Ok(Came::Whole),
            other => Err(lane.client.wrong(&other, asked)),
        }
    }
}
