//! To the server: files of any size and trees of them, opened, written and closed all at once.
//!
//! What is written of a file, its times and its CLOSE leave together, without waiting for answers between
//! them: a server handles what is asked of one file in order.

mod stripes;
mod tree;

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::flight::Flight;
use super::local::{self, HeldDirs, Place, attributes, failed, remote_name};
use super::progress::Watch;
use super::stripes::whole_of_part;
use super::{Options, SFTPTransfer, TransferSummary, resume};
use crate::error::{Error, Result};
use crate::sftp::client::{
    Answer, Asked, Reply, SFTPClient, SMALL_ANSWER, WRITE_PART, begin_write, end_write,
};
use crate::sftp::packet::message::{Close, Fsetstat, Mkdir, Open, framed};
use crate::sftp::packet::{OpenFlags, RemoteName, SFTPAttributes, SFTPStatus, extension};
use crate::wire::{Encode, Rest, Writer};

use tree::DirTask;

/// Files open at once, here and, if it allows as many, on the server.
const MAX_OPEN: usize = 64;
/// Directories that are being made at once.
const MAX_DIRS: usize = 64;
/// Files that wait to be opened; beyond it no further directory is listed.
const MAX_WAITING: usize = 4096;

/// What a request was for.
enum Ask {
    Mkdir(u64),
    /// Whether what MKDIR met is a directory.
    Looked(u64),
    Open(u64),
    /// So many bytes of a file, from there on.
    Write(u64, u64, u32),
    Setstat(u64),
    Close(u64),
    Rename(u64),
}

/// Where the bytes of a file come from.
enum Source<'t> {
    File(File),
    Reader(&'t mut dyn Read),
    /// Not opened yet.
    None,
}

/// A file to be put.
struct FileTask {
    remote: RemoteName,
    /// None when it comes from the one reader.
    place: Option<Place>,
    known: SFTPAttributes,
    begin: u64,
}

/// A file that is being put.
struct Job<'t> {
    task: FileTask,
    source: Source<'t>,
    handle: Vec<u8>,
    next: u64,
    /// What the server has answered for.
    written: u64,
    under_way: usize,
    /// Whether the last bytes were a hole, which only its size tells of.
    hole: bool,
    /// Whether the server may have bytes behind the file's end.
    stale: bool,
    close_sent: bool,
    /// Where the first bytes stand that the server refused.
    refused: Option<u64>,
    failure: Option<Error>,
}

struct Putting<'t, 'a> {
    flight: Flight<Ask>,
    options: Options,
    watch: Watch<'a>,
    reader: Option<&'t mut dyn Read>,
    dirs: Vec<DirTask>,
    making: HashMap<u64, DirTask>,
    files: VecDeque<FileTask>,
    jobs: HashMap<u64, Job<'t>>,
    hungry: VecDeque<u64>,
    /// What is set of directories when all in them is there.
    finals: Vec<(RemoteName, SFTPAttributes)>,
    local_dirs: HeldDirs,
    next_key: u64,
    /// Bytes that the server has not answered for.
    held: usize,
    max_open: usize,
    depth: usize,
    size: usize,
}

pub(super) fn run(transfer: SFTPTransfer<'_>, local: &Path, remote: &[u8]) -> Result<TransferSummary> {
    transfer.options.check_for_files()?;
    let client = transfer.client.clone();
    let mut remote = client.absolute(remote);
    let found = std::fs::metadata(local).map_err(|error| failed(local.display().to_string(), error))?;
    let mut putting = Putting::new(transfer, None);
    if found.is_dir() {
        if !putting.options.recursive {
            return Err(failed(local.display().to_string(), io::ErrorKind::IsADirectory.into()));
        }
        putting.add_root(remote, local)?;
    } else {
        let place = Place::of(local)?;
        if client.is_dir(&remote)? {
            remote = remote.join(remote_name(&place.name)?);
        }
        let known = place.stat()?.as_ref().map(attributes).unwrap_or_default();
        putting.add_file(remote, place, known)?;
    }
    putting.work()
}

pub(super) fn from_reader(transfer: SFTPTransfer<'_>, reader: &mut dyn Read, remote: &[u8]) -> Result<u64> {
    transfer.options.check_for_streams()?;
    let remote = transfer.client.absolute(remote);
    let mut putting = Putting::new(transfer, Some(reader));
    putting.files.push_back(FileTask { remote, place: None, known: SFTPAttributes::new(), begin: 0 });
    Ok(putting.work()?.bytes)
}

impl<'t, 'a> Putting<'t, 'a> {
    fn new(transfer: SFTPTransfer<'a>, reader: Option<&'t mut dyn Read>) -> Self {
        let SFTPTransfer { client, mut options, callbacks } = transfer;
        options.buffer.get_or_insert(WRITE_PART);
        let handles = usize::try_from(client.limits().handles).unwrap_or(usize::MAX);
        let size = options.size(client.write_size());
        Self {
            flight: Flight::new(&client, options.bandwidth),
            watch: Watch::new(&client, callbacks),
            reader,
            dirs: Vec::new(),
            making: HashMap::new(),
            files: VecDeque::new(),
            jobs: HashMap::new(),
            hungry: VecDeque::new(),
            finals: Vec::new(),
            local_dirs: HeldDirs::default(),
            next_key: 0,
            held: 0,
            // Others may have files open too.
            max_open: if handles == 0 { MAX_OPEN } else { (handles / 2).clamp(1, MAX_OPEN) },
            depth: options.write_depth(&client, size),
            size: size as usize,
            options,
        }
    }

    fn client(&self) -> &SFTPClient {
        &self.flight.client
    }

    fn key(&mut self) -> u64 {
        self.next_key = self.next_key.wrapping_add(1);
        self.next_key
    }

    fn ask(&mut self, ask: Ask, packet: Vec<u8>, expected: usize) -> Result<()> {
        self.flight.ask(ask, packet, expected, &mut || self.watch.go_on())
    }

    // ---- what is to be put

    fn add_file(&mut self, remote: RemoteName, place: Place, known: SFTPAttributes) -> Result<()> {
        let begin = match self.options.resume {
            true => self.begin(&remote, &place, &known)?,
            false => resume::Begin::At(0),
        };
        match begin {
            resume::Begin::At(begin) => {
                self.files.push_back(FileTask { remote, place: Some(place), known, begin })
            }
            resume::Begin::Complete => {
                self.watch.summary.skipped = self.watch.summary.skipped.saturating_add(1);
                self.verify(&remote, &place)?;
            }
        }
        Ok(())
    }

    /// Where putting a file goes on.
    fn begin(&self, remote: &RemoteName, place: &Place, known: &SFTPAttributes) -> Result<resume::Begin> {
        let size = known.size.unwrap_or_default();
        let there =
            |name: &RemoteName| self.client().stat_if_there(name).map(|found| found.and_then(|it| it.size));
        if self.options.atomic {
            // What has its name is whole where it is given only to what is.
            if there(remote)? == Some(size) {
                return Ok(resume::Begin::Complete);
            }
            let striped = self.options.is_striped(known.size);
            let part = part(remote, striped);
            let there = whole_of_part(there(&part)?.unwrap_or_default(), size, striped);
            let begin = resume::of_put(self.client(), &part, &mut place.open()?, size, there)?;
            return Ok(if begin == resume::Begin::Complete { resume::Begin::At(size) } else { begin });
        }
        let there = there(remote)?;
        if size == 0 && there == Some(0) {
            return Ok(resume::Begin::Complete);
        }
        resume::of_put(self.client(), remote, &mut place.open()?, size, there.unwrap_or_default())
    }

    // ---- the loop

    fn work(mut self) -> Result<TransferSummary> {
        let outcome = self.work_to_the_end();
        for (_, job) in self.jobs.drain().filter(|(_, job)| !job.handle.is_empty()) {
            if !job.close_sent {
                self.flight.client.close_handle(&framed(&Close { id: 0, handle: &job.handle }));
            }
            if self.options.remove_partial {
                // Where the connection is gone it stays; the transfer's own error is the one to tell.
                let _ = self.flight.client.remove(name_until_whole(&job.task, &self.options));
            }
        }
        outcome?;
        Ok(self.watch.summary)
    }

    fn work_to_the_end(&mut self) -> Result<()> {
        // Who has had enough by now wants nothing opened, and no file emptied for what will not come.
        self.watch.go_on()?;
        loop {
            self.ask_more()?;
            if self.flight.is_empty() {
                break;
            }
            let mut replies = self.flight.next_all(&mut || self.watch.go_on())?.into_iter();
            if let Err(error) = self.watch.go_on() {
                self.flight.abandon(replies);
                return Err(error);
            }
            while let Some((ask, reply)) = replies.next() {
                if let Err(error) = self.answered(ask, reply) {
                    self.flight.abandon(replies);
                    return Err(error);
                }
            }
        }
        // The innermost first: what is set of a directory is changed by what is done in it.
        while let Some((remote, attributes)) = self.finals.pop() {
            self.client().setstat(&remote, &attributes)?;
        }
        Ok(())
    }

    fn ask_more(&mut self) -> Result<()> {
        while self.held < self.depth {
            let Some(key) = self.hungry.front().copied() else { break };
            if let Err(error) = self.write_next(key) {
                self.hungry.pop_front();
                self.give_up(key, error)?;
            }
        }
        while self.jobs.len() < self.max_open && self.held < self.depth {
            let Some(task) = self.files.pop_front() else { break };
            let remote = task.remote.clone();
            self.open(task).or_else(|error| self.watch.failed(&remote, error))?;
        }
        while self.making.len() < MAX_DIRS && self.files.len() < MAX_WAITING && self.may_hold_another() {
            let Some(task) = self.dirs.pop() else { break };
            let mode = task.known.permissions().unwrap_or(0o777);
            // What is to be put into it can be put whatever its permissions are to be.
            let attributes = SFTPAttributes::new().with_mode(mode | 0o700).to_vec();
            let packet =
                framed(&Mkdir { id: 0, path: task.remote.as_bytes(), attributes: Rest(&attributes) });
            let key = self.key();
            self.making.insert(key, task);
            self.ask(Ask::Mkdir(key), packet, SMALL_ANSWER)?;
        }
        Ok(())
    }

    /// Whether one more directory may be open here. One always may where nothing is under way that would make
    /// room.
    fn may_hold_another(&mut self) -> bool {
        let idle = self.files.is_empty() && self.jobs.is_empty() && self.making.is_empty();
        idle || self.local_dirs.has_room()
    }

    fn answered(&mut self, ask: Ask, reply: Reply) -> Result<()> {
        match ask {
            Ask::Mkdir(key) => self.dir_made(key, reply),
            Ask::Looked(key) => self.dir_looked_at(key, reply),
            Ask::Open(key) => self.opened(key, reply),
            Ask::Write(key, offset, length) => self.wrote(key, (offset, length), reply),
            Ask::Setstat(key) => self.done(key, reply, "fsetstat", None),
            Ask::Close(key) => self.done(key, reply, "close", None),
            Ask::Rename(key) => self.renamed(key, reply),
        }
    }

    // ---- files

    fn open(&mut self, task: FileTask) -> Result<()> {
        let source = match &task.place {
            Some(place) => {
                let mut file = place.open()?;
                file.seek(SeekFrom::Start(task.begin)).map_err(|error| place.error(error))?;
                Source::File(file)
            }
            None => self.reader.take().map_or(Source::None, Source::Reader),
        };
        let name = name_until_whole(&task, &self.options);
        let flags = OpenFlags::WRITE | OpenFlags::CREATE;
        let flags = if task.begin == 0 { flags | OpenFlags::TRUNCATE } else { flags };
        // As OpenSSH, a new file gets the local one's permissions.
        let attributes =
            task.known.mode.map_or_else(SFTPAttributes::new, |mode| SFTPAttributes::new().with_mode(mode));
        let attributes = attributes.to_vec();
        let packet =
            framed(&Open { id: 0, path: name.as_bytes(), flags: flags.0, attributes: Rest(&attributes) });
        let key = self.key();
        let (handle, next) = (Vec::new(), task.begin);
        let job = Job {
            task,
            source,
            handle,
            next,
            written: next,
            under_way: 0,
            hole: false,
            stale: false,
            close_sent: false,
            refused: None,
            failure: None,
        };
        self.jobs.insert(key, job);
        self.ask(Ask::Open(key), packet, SMALL_ANSWER)
    }

    fn opened(&mut self, key: u64, reply: Reply) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let asked = Asked { operation: "open", path: job.task.remote.as_bytes() };
        match self.flight.client.read_answer(reply, asked) {
            Ok(Answer::Handle(handle)) => {
                job.handle = handle;
                let told = (&job.task.remote, job.written, job.task.known.size, job.task.begin);
                self.watch.tell(told, false);
                if self.options.is_striped(job.task.known.size)
                    && let Err(error) = self.put_striped(key)
                {
                    return self.give_up(key, error);
                }
                self.hungry.push_back(key);
                Ok(())
            }
            Ok(other) => Err(self.flight.client.wrong(&other, asked)),
            Err(error) => {
                let Some(job) = self.jobs.remove(&key) else { return Ok(()) };
                self.watch.failed(&job.task.remote, error)
            }
        }
    }

    /// Sends the next part of a file, and what ends it with its last part.
    fn write_next(&mut self, key: u64) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&key).filter(|job| job.failure.is_none() && !job.close_sent) else {
            self.hungry.pop_front();
            return Ok(());
        };
        let offset = job.next;
        let mut packet = begin_write(self.flight.buffer(), &job.handle, offset, self.size);
        let front = packet.len();
        let read = job.source.read(&mut packet, self.size);
        read.map_err(|error| failed("reading what is to be sent", error))?;
        let bytes = packet.get(front..).unwrap_or_default();
        let count = bytes.len();
        job.next = job.next.saturating_add(count as u64);
        job.hole = self.options.sparse && !bytes.is_empty() && bytes.iter().all(|byte| *byte == 0);
        if job.hole {
            self.flight.recycle(packet);
            // Nobody waits for it, who would look up then.
            self.watch.go_on()?;
        } else if count > 0 {
            let length = end_write(&mut packet, front);
            job.under_way = job.under_way.saturating_add(1);
            self.held = self.held.saturating_add(count);
            self.flight.spend(count, &mut || self.watch.go_on())?;
            self.ask(Ask::Write(key, offset, length), packet, SMALL_ANSWER)?;
        }
        if count < self.size { self.end(key) } else { Ok(()) }
    }

    /// All has been sent.
    fn end(&mut self, key: u64) -> Result<()> {
        self.hungry.pop_front();
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let mut last = SFTPAttributes::new();
        // A hole at the end, or one that is all there is, is told by the size alone.
        if self.options.sparse || job.stale {
            last.size = Some(job.next);
        }
        if self.options.preserve {
            (last.mode, last.times) = (job.task.known.mode, job.task.known.times);
        }
        if last != SFTPAttributes::new() {
            job.under_way = job.under_way.saturating_add(1);
            let last = last.to_vec();
            let packet = framed(&Fsetstat { id: 0, handle: &job.handle, attributes: Rest(&last) });
            self.ask(Ask::Setstat(key), packet, SMALL_ANSWER)?;
        }
        self.close(key)
    }

    fn close(&mut self, key: u64) -> Result<()> {
        let Some(job) = self.jobs.get(&key).filter(|job| !job.close_sent) else { return Ok(()) };
        let packet = framed(&Close { id: 0, handle: &job.handle });
        self.ask(Ask::Close(key), packet, SMALL_ANSWER)?;
        if let Some(job) = self.jobs.get_mut(&key) {
            job.close_sent = true;
            job.under_way = job.under_way.saturating_add(1);
        }
        Ok(())
    }

    fn wrote(&mut self, key: u64, (offset, length): (u64, u32), reply: Reply) -> Result<()> {
        self.held = self.held.saturating_sub(length as usize);
        if let Some(job) = self.jobs.get_mut(&key) {
            job.written = job.written.saturating_add(length.into());
            let file = (&job.task.remote, job.written, job.task.known.size, job.task.begin);
            self.watch.moved(length as usize, file);
        }
        self.done(key, reply, "write", Some(offset))
    }

    /// An answer that is success or not, to a WRITE from `offset` on or something else. The file ends with the last of
    /// them.
    fn done(&mut self, key: u64, reply: Reply, operation: &'static str, offset: Option<u64>) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        job.under_way = job.under_way.saturating_sub(1);
        let asked = Asked { operation, path: job.task.remote.as_bytes() };
        match self.flight.client.read_answer(reply, asked) {
            Ok(Answer::Done) => {}
            Ok(other) => return Err(self.flight.client.wrong(&other, asked)),
            Err(error @ Error::Sftp(_)) => {
                job.failure.get_or_insert(error);
                job.refused = [job.refused, offset].into_iter().flatten().min();
                // Nothing more of it is sent.
                self.close(key)?;
            }
            Err(error) => return Err(error),
        }
        let Some(job) = self.jobs.get_mut(&key).filter(|job| job.under_way == 0 && job.close_sent) else {
            return Ok(());
        };
        match job.failure.take() {
            Some(error) => self.fail(key, error),
            None if self.options.atomic => self.rename(key),
            None => self.whole(key),
        }
    }

    /// Gives a whole file its name, when it is made sure that it is.
    fn rename(&mut self, key: u64) -> Result<()> {
        let Some(task) = self.jobs.get(&key).map(|job| &job.task) else { return Ok(()) };
        let part = name_until_whole(task, &self.options);
        let sure = task.place.as_ref().map_or(Ok(()), |place| self.verify(&part, place));
        if let Err(error) = sure {
            return self.fail(key, error);
        }
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let (client, remote) = (self.flight.client.clone(), job.task.remote.clone());
        if client.has_extension(extension::POSIX_RENAME) {
            let mut fields = Vec::new();
            fields.put(part.as_bytes()).put(remote.as_bytes());
            job.under_way = job.under_way.saturating_add(1);
            let packet = extension::request(0, extension::POSIX_RENAME, &fields);
            return self.ask(Ask::Rename(key), packet, SMALL_ANSWER);
        }
        // Without it there is a moment without a file of that name: what is begun is brought to its end.
        let client = client.cancelled_as(None);
        let removed = match client.remove(&remote) {
            Err(Error::Sftp(error)) if error.status != SFTPStatus::NO_SUCH_FILE => Err(error.into()),
            Err(Error::Sftp(_)) => Ok(()),
            outcome => outcome,
        };
        match removed.and_then(|()| client.rename(part, &remote)) {
            Ok(()) => self.whole(key),
            Err(error) => self.fail(key, error),
        }
    }

    fn renamed(&mut self, key: u64, reply: Reply) -> Result<()> {
        let Some(job) = self.jobs.get(&key) else { return Ok(()) };
        let asked = Asked { operation: "rename", path: job.task.remote.as_bytes() };
        match self.flight.client.read_answer(reply, asked) {
            Ok(Answer::Done) => self.whole(key),
            Ok(other) => Err(self.flight.client.wrong(&other, asked)),
            Err(error) => self.fail(key, error),
        }
    }

    fn whole(&mut self, key: u64) -> Result<()> {
        let Some(Job { task, next, .. }) = self.jobs.remove(&key) else { return Ok(()) };
        let verified = match &task.place {
            Some(place) if !self.options.atomic => self.verify(&task.remote, place),
            _ => Ok(()),
        };
        match verified {
            Ok(()) => {
                self.watch.summary.files = self.watch.summary.files.saturating_add(1);
                self.watch.tell((&task.remote, next, Some(next), task.begin), true);
                Ok(())
            }
            Err(error) => self.watch.failed(&task.remote, error),
        }
    }

    fn verify(&self, remote: &RemoteName, place: &Place) -> Result<()> {
        if self.options.verify { resume::verify(self.client(), remote, &mut place.open()?) } else { Ok(()) }
    }

    /// Something failed that concerns this file only: it is closed first, then told of.
    fn give_up(&mut self, key: u64, error: Error) -> Result<()> {
        if !matches!(error, Error::Io { .. } | Error::Sftp(_)) {
            return Err(error);
        }
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        job.failure.get_or_insert(error);
        self.close(key)
    }

    /// Cuts off what the server took behind bytes that it refused: what is left shall have no hole.
    fn cut(&self, name: &RemoteName, refused: u64) -> Result<()> {
        match self.client().stat(name)?.size {
            Some(size) if size > refused => {
                self.client().setstat(name, &SFTPAttributes::new().with_size(refused))
            }
            _ => Ok(()),
        }
    }

    fn fail(&mut self, key: u64, error: Error) -> Result<()> {
        let Some(job) = self.jobs.remove(&key) else { return Ok(()) };
        let name = name_until_whole(&job.task, &self.options);
        // The failure is what is told.
        let _ = match job.refused {
            _ if self.options.remove_partial => self.client().remove(name),
            Some(refused) => self.cut(&name, refused),
            None => Ok(()),
        };
        self.watch.failed(&job.task.remote, error)
    }
}

/// What a file is called until it is whole.
fn name_until_whole(task: &FileTask, options: &Options) -> RemoteName {
    if options.atomic { part(&task.remote, options.is_striped(task.known.size)) } else { task.remote.clone() }
}

/// The name of a file that is not whole yet.
fn part(remote: &RemoteName, striped: bool) -> RemoteName {
    let mut name = remote.as_bytes().to_vec();
    name.extend_from_slice(local::part(striped).as_bytes());
    name.into()
}

impl Source<'_> {
    /// Appends up to `limit` bytes; fewer only at the end.
    fn read(&mut self, packet: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
        match self {
            Self::File(file) => file.take(limit as u64).read_to_end(packet),
            Self::Reader(reader) => reader.take(limit as u64).read_to_end(packet),
            Self::None => Ok(0),
        }
    }
}
