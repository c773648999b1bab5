//! A large file that is got over several sessions.

use super::{Getting, Options, Sink, counted};
use crate::error::{Error, Result};
use crate::sftp::client::{Answer, Asked, Fetched, Part, Reply, SFTPClient, SMALL_ANSWER};
use crate::sftp::packet::message::{Read, framed};
use crate::sftp::packet::{OpenFlags, SFTPStatus};
use crate::sftp::transfer::flight::Flight;
use crate::sftp::transfer::local::Pieces;
use crate::sftp::transfer::stripes::{Came, Lane, Parts, Request, Whole, move_parts};

/// Parts that are read there and written here.
struct Receiving(Pieces);

impl Getting<'_, '_> {
    /// Gets all but the last part of a file that is open, over all sessions.
    pub(super) fn get_striped(&mut self, key: u64) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let Sink::File(target) = &mut job.sink else { return Ok(()) };
        let limits = self.options.stripes.iter().map(|client| self.options.size(client.read_size()));
        let file = Whole {
            path: &job.task.remote,
            flags: OpenFlags::READ,
            client: &self.flight.client,
            handle: &job.handle,
            begin: job.next,
            size: job.task.known.size.unwrap_or_default(),
            part: limits.fold(self.size, u32::min),
        };
        let (watch, task, mut done) = (&mut self.watch, &job.task, job.written);
        let mut tell = |moved: usize| {
            done = done.saturating_add(moved as u64);
            watch.moved(moved, (&task.remote, done, task.known.size, task.begin));
            watch.go_on()
        };
        let end = move_parts(Receiving(target.pieces()?), &file, &self.options, &mut tell)?;
        (job.next, job.written) = (end, end);
        target.go_on(end)
    }
}

impl Parts for Receiving {
    /// What comes must fit into what the stream takes in.
    fn depth(&self, options: &Options, client: &SFTPClient, size: u32) -> usize {
        options.read_depth(client, size)
    }

    fn request(&self, lane: &Lane, part: Part, _: &Flight<Part>) -> Result<Request> {
        let packet = framed(&Read { id: 0, handle: &lane.handle, offset: part.offset, length: part.length });
        Ok(Request::Packet(packet, (part.length as usize).saturating_add(SMALL_ANSWER)))
    }

    fn answered(&self, lane: &Lane, part: Part, reply: Reply, flight: &Flight<Part>) -> Result<Came> {
        let asked = Asked { operation: "read", path: lane.path.as_bytes() };
        match lane.client.read_answer(reply, asked) {
            Ok(Answer::Data(buffer)) => {
                let bytes = Fetched::bytes(&buffer);
                let count = counted(&lane.client, bytes, part)?;
                self.0.write(bytes, part.offset)?;
                flight.recycle(buffer);
                Ok(if count < part.length { Came::Some(count) } else { Came::Whole })
            }
            Ok(other) => Err(lane.client.wrong(&other, asked)),
            Err(Error::Sftp(error)) if error.status == SFTPStatus::EOF => Ok(Came::End),
            Err(error) => Err(error),
        }
    }
}
