//! A session: hello, then one request after another until the stream ends.

use std::io::{self, Read, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use super::SFTPServer;
use super::answer::{Answer, Session};
use super::extended;
use super::handles::Open;
use super::input::Input;
use super::output::{Output, Page};
use super::overlap::{Job, Overlap};
use super::refusal::SFTPRefusal;
use crate::sftp::packet::message as msg;
use crate::sftp::packet::{SFTPStatus, VERSION};
use crate::wire::{Malformed, Reader, Rest, string_of};

/// What the log calls this room.
pub(super) const LOG: &str = "feramiko::sftp";

pub(super) fn serve(
    server: SFTPServer,
    read: impl Read,
    write: impl Write + Send + 'static,
) -> io::Result<()> {
    let mut input = Input::new(read);
    while !input.ready()? {
        if !input.fill()? {
            return Ok(());
        }
    }
    let hello = msg::Init::decode_packet(input.take()?).map_err(malformed)?;
    log::debug!(target: LOG, "the client speaks version {}", hello.version);
    let output = Arc::new(Mutex::new(Output::new(write)));
    let announced = extended::announced(&*server.interface);
    output.lock().page.put(&msg::Version { version: VERSION, extensions: Rest(&announced) });
    let interface = Arc::clone(&server.interface);
    interface.session_started();
    let mut serving =
        Serving { overlap: Overlap::new(Arc::clone(&output)), output, session: Session::new(server) };
    let ended = serving.run(&mut input);
    drop(serving);
    interface.session_ended();
    ended
}

fn malformed(error: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a packet {error}"))
}

struct Serving<W: Write + Send + 'static> {
    overlap: Overlap<W>,
    output: Arc<Mutex<Output<W>>>,
    session: Session,
}

impl<W: Write + Send + 'static> Serving<W> {
    fn run(&mut self, input: &mut Input<impl Read>) -> io::Result<()> {
        loop {
            if !input.ready()? {
                self.output.lock().flush()?;
                if !input.fill()? {
                    return Ok(());
                }
                continue;
            }
            self.request(input)?;
        }
    }

    fn request(&mut self, input: &mut Input<impl Read>) -> io::Result<()> {
        let packet = input.take()?;
        let mut reader = Reader::new(packet);
        // What has no number cannot be answered.
        let head = reader.get::<u8>().and_then(|number| Ok((number, reader.get::<u32>()?)));
        let (number, id) = head.map_err(malformed)?;
        if number == msg::Read::NUMBER {
            let job = self.session.read(packet);
            // That the next is none ends the session, but not before this one is answered.
            let more = input.ready().unwrap_or(false);
            return self.read(id, job, more);
        }
        self.overlap.wait();
        let answer = self.session.answer(number, packet);
        let mut output = self.output.lock();
        output.page.put_answer(id, answer);
        output.flush_much()
    }

    /// Answers a READ, or has it answered while others run.
    fn read(&mut self, id: u32, job: Result<Job, SFTPRefusal>, more: bool) -> io::Result<()> {
        let job = match job {
            Ok(job) if job.file.overlaps_reads() => {
                if !more {
                    // Alone, or the last of several: this thread has nothing else to do.
                    return self.read_here(&job);
                }
                match self.overlap.read(job) {
                    Ok(()) => return Ok(()),
                    Err(job) => job,
                }
            }
            Ok(job) => job,
            Err(refusal) => {
                let mut output = self.output.lock();
                output.page.put_refusal(id, &refusal);
                return output.flush_much();
            }
        };
        self.overlap.wait();
        let mut output = self.output.lock();
        put_read(&mut output.page, &job);
        output.flush_much()
    }

    /// Reads on this thread while others may run on theirs, which then need the output.
    fn read_here(&mut self, job: &Job) -> io::Result<()> {
        let mut page = std::mem::take(&mut self.output.lock().page);
        put_read(&mut page, job);
        self.output.lock().flush_page(&mut page)?;
        self.output.lock().page = page;
        Ok(())
    }
}

impl<W: Write + Send + 'static> Drop for Serving<W> {
    fn drop(&mut self) {
        self.overlap.wait();
        // What was answered before the end; nobody may be there to read it.
        let _ = self.output.lock().flush();
        self.session.end();
    }
}

/// Puts what a read gives into a page, or why it gives nothing.
pub(super) fn put_read(page: &mut Page, job: &Job) {
    let read = page.put_data(job.id, job.length, |buf| {
        if buf.is_empty() { Ok(0) } else { job.file.read(job.offset, buf) }
    });
    match read {
        Ok(true) => {}
        Ok(false) => page.put_refusal(job.id, &SFTPStatus::EOF.into()),
        Err(refusal) => page.put_refusal(job.id, &refusal),
    }
}

impl Page {
    pub(super) fn put_refusal(&mut self, id: u32, refusal: &SFTPRefusal) {
        let mut text = string_of(refusal.to_string().as_bytes());
        // The language: none.
        text.extend_from_slice(&[0; 4]);
        self.put(&msg::Status { id, code: refusal.status().0, text: Rest(&text) });
    }

    fn put_answer(&mut self, id: u32, answer: Result<Answer, SFTPRefusal>) {
        match answer {
            Ok(Answer::Done) => self.put_refusal(id, &SFTPStatus::OK.into()),
            Ok(Answer::Handle(handle)) => self.put(&msg::Handle { id, handle: &handle }),
            Ok(Answer::Attributes(attributes)) => self.put(&msg::Attrs { id, attributes: Rest(&attributes) }),
            Ok(Answer::Names(count, entries)) => self.put(&msg::Name { id, count, entries: Rest(&entries) }),
            Ok(Answer::Extended(rest)) => self.put(&msg::ExtendedReply { id, rest: Rest(&rest) }),
            Err(refusal) => self.put_refusal(id, &refusal),
        }
    }
}

impl Session {
    /// Closes what the client has left open; nobody can be told any more.
    fn end(&mut self) {
        for open in self.handles.drain() {
            if let Open::File(file) = open
                && let Err(refusal) = file.close()
            {
                log::debug!(target: LOG, "closing a file that the client left open: {refusal}");
            }
        }
    }
}
