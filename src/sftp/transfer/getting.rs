//! From the server: files of any size and trees of them, listed, opened, read and closed all at once.
//!
//! A file that fits into one answer takes three requests in two round trips: OPEN, then READ of one byte more
//! than the listing says and CLOSE together. If it is not what the listing said, it is opened again and read to
//! its end.

mod stripes;
mod tree;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::RandomState;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::flight::Flight;
use super::local::{HeldDirs, Place, Target, failed, local_name, remote_name};
use super::progress::Watch;
use super::{Options, SFTPTransfer, TransferSummary, resume};
use crate::error::{Error, Result};
use crate::sftp::client::{Answer, Asked, Fetched, Part, Reply, SFTPClient, SMALL_ANSWER};
use crate::sftp::packet::message::{Close, Open, Read, framed};
use crate::sftp::packet::{OpenFlags, RemoteName, SFTPAttributes, SFTPError, SFTPStatus};
use crate::wire::{Encode, Rest};

use tree::{DirTask, Final, Listed, Root};

/// Files open at once, if the server allows as many.
const MAX_OPEN: usize = 64;
/// Directories open at once.
const MAX_DIRS: usize = 8;
/// Files that wait to be opened; beyond it nothing more is listed.
const MAX_WAITING: usize = 4096;

/// What a request was for.
enum Ask {
    Open(u64),
    Read(u64, Part),
    Opendir(u64),
    Readdir(u64),
    /// Nothing depends on it.
    Close,
}

/// Where the bytes of a file go.
enum Sink<'t> {
    File(Target),
    Writer(&'t mut dyn Write),
    /// Not opened yet, or given up.
    None,
}

/// A file that waits for its turn. Its path is made then: there may be many in a directory of a long name.
struct Waiting {
    path: Named,
    place: Option<Place>,
    known: SFTPAttributes,
    begin: u64,
    to_its_end: bool,
}

/// What a file is called on the server.
enum Named {
    Whole(RemoteName),
    /// As its place, in that directory.
    In(Arc<RemoteName>),
}

/// A file to be got.
struct FileTask {
    remote: RemoteName,
    /// None when it goes to the one writer.
    place: Option<Place>,
    known: SFTPAttributes,
    begin: u64,
    /// Whether the listing has been found wrong: then it is read to its end, whatever is said of its size.
    to_its_end: bool,
}

/// A file that is being got.
struct Job<'t> {
    task: FileTask,
    sink: Sink<'t>,
    handle: Vec<u8>,
    /// What is asked for next.
    next: u64,
    /// What came before its turn.
    early: BTreeMap<u64, Vec<u8>>,
    written: u64,
    under_way: usize,
    end: Option<u64>,
    close_sent: bool,
    failure: Option<Error>,
}

struct Getting<'t, 'a> {
    flight: Flight<Ask>,
    options: Options,
    watch: Watch<'a>,
    writer: Option<&'t mut dyn Write>,
    /// Newest first, so that few directories are held open.
    dirs: Vec<DirTask>,
    dirs_bytes: usize,
    listed: HashMap<u64, Listed>,
    files: VecDeque<Waiting>,
    jobs: HashMap<u64, Job<'t>>,
    /// Files that have more to ask for, the oldest first.
    hungry: VecDeque<u64>,
    root: Option<Root>,
    finals: Vec<Final>,
    local_dirs: HeldDirs,
    next_key: u64,
    /// Bytes asked for, and there before their turn.
    held: usize,
    max_open: usize,
    /// How much may be held; grows with what the connection takes in.
    depth: usize,
    size: u32,
    hasher: RandomState,
}

/// How many bytes an answer has brought of what was asked for.
fn counted(client: &SFTPClient, bytes: &[u8], part: Part) -> Result<u32> {
    let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if (1..=part.length).contains(&count) {
        return Ok(count);
    }
    let text = format!("{count} bytes of SFTP data, where {} were asked for", part.length);
    Err(client.broken_by_peer(Error::protocol(text)))
}

pub(super) fn run(transfer: SFTPTransfer<'_>, remote: &[u8], local: &Path) -> Result<TransferSummary> {
    transfer.options.check_for_files()?;
    let client = transfer.client.clone();
    let remote = client.absolute(remote);
    let known = client.stat(&remote)?;
    let mut getting = Getting::new(transfer, None);
    if known.is_dir() {
        if !getting.options.recursive {
            return Err(
                SFTPError::new(SFTPStatus::FAILURE, b"it is a directory", "get", remote.as_bytes()).into()
            );
        }
        getting.add_root(remote, known, local)?;
    } else {
        let inside = local.is_dir().then(|| local_name(&RemoteName::from(remote.file_name()))).transpose()?;
        let local = inside.map_or_else(|| local.to_owned(), |name| local.join(name));
        getting.add_file(&remote, Named::Whole(remote.clone()), Place::of(&local)?, known)?;
    }
    getting.work()
}

pub(super) fn into_writer(transfer: SFTPTransfer<'_>, remote: &[u8], writer: &mut dyn Write) -> Result<u64> {
    transfer.options.check_for_streams()?;
    let client = transfer.client.clone();
    let remote = client.absolute(remote);
    let known = client.stat(&remote)?;
    let mut getting = Getting::new(transfer, Some(writer));
    let path = Named::Whole(remote);
    getting.files.push_back(Waiting { path, place: None, known, begin: 0, to_its_end: false });
    Ok(getting.work()?.bytes)
}

impl<'t, 'a> Getting<'t, 'a> {
    fn new(transfer: SFTPTransfer<'a>, writer: Option<&'t mut dyn Write>) -> Self {
        let SFTPTransfer { client, options, callbacks } = transfer;
        let handles = usize::try_from(client.limits().handles).unwrap_or(usize::MAX);
        let size = options.size(client.read_size());
        Self {
            flight: Flight::new(&client, options.bandwidth),
            watch: Watch::new(&client, callbacks),
            writer,
            dirs: Vec::new(),
            dirs_bytes: 0,
            listed: HashMap::new(),
            files: VecDeque::new(),
            jobs: HashMap::new(),
            hungry: VecDeque::new(),
            root: None,
            finals: Vec::new(),
            local_dirs: HeldDirs::default(),
            next_key: 0,
            held: 0,
            // Others may have files open too.
            max_open: if handles == 0 { MAX_OPEN } else { (handles / 2).clamp(1, MAX_OPEN) },
            depth: options.read_depth(&client, size),
            size,
            options,
            hasher: RandomState::new(),
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

    // ---- what is to be got

    /// A file; one that is there whole is left as it is, one that is there in part gone on with.
    fn add_file(
        &mut self,
        remote: &RemoteName,
        path: Named,
        place: Place,
        known: SFTPAttributes,
    ) -> Result<()> {
        let begin = match self.options.resume {
            true => resume::of_get(self.client(), remote, &place, &known, &self.options)?,
            false => resume::Begin::At(0),
        };
        match begin {
            resume::Begin::At(begin) => {
                let to_its_end = begin > 0;
                self.files.push_back(Waiting { path, place: Some(place), known, begin, to_its_end });
            }
            resume::Begin::Complete => {
                self.watch.summary.skipped = self.watch.summary.skipped.saturating_add(1);
                self.verify(remote, &place)?;
            }
        }
        Ok(())
    }

    // ---- the loop

    fn work(mut self) -> Result<TransferSummary> {
        let outcome = self.work_to_the_end();
        for (_, job) in self.jobs.drain() {
            if let Sink::File(target) = job.sink {
                target.give_up(self.options.remove_partial);
            }
            if !job.handle.is_empty() && !job.close_sent {
                self.flight.client.close_handle(&framed(&Close { id: 0, handle: &job.handle }));
            }
        }
        for listed in self.listed.values().filter(|listed| !listed.handle.is_empty()) {
            self.flight.client.close_handle(&framed(&Close { id: 0, handle: &listed.handle }));
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
        self.restore_dirs()
    }

    fn answered(&mut self, ask: Ask, reply: Reply) -> Result<()> {
        match ask {
            Ask::Open(key) => self.opened(key, reply),
            Ask::Read(key, part) => self.read(key, part, reply),
            Ask::Opendir(key) => self.dir_opened(key, reply),
            Ask::Readdir(key) => self.dir_read(key, reply),
            Ask::Close => Ok(()),
        }
    }

    /// Keeps as much under way as may be.
    fn ask_more(&mut self) -> Result<()> {
        self.depth = self.options.read_depth(self.client(), self.size);
        while let Some(key) = self.hungry.front().copied() {
            if !self.ask_read(key)? {
                break;
            }
        }
        while self.jobs.len() < self.max_open && self.held < self.depth {
            let Some(task) = self.files.pop_front() else { break };
            let task = task.begun()?;
            let attributes = SFTPAttributes::new().to_vec();
            let (path, flags) = (task.remote.as_bytes(), OpenFlags::READ.0);
            let packet = framed(&Open { id: 0, path, flags, attributes: Rest(&attributes) });
            let key = self.key();
            self.jobs.insert(key, Job::new(task));
            self.ask(Ask::Open(key), packet, SMALL_ANSWER)?;
        }
        while self.listed.len() < MAX_DIRS && self.files.len() < MAX_WAITING && self.may_hold_another() {
            let Some(task) = self.dirs.pop() else { break };
            self.dirs_bytes =
                self.dirs_bytes.saturating_sub(task.remote.as_bytes().len()).saturating_sub(128);
            let remote = task.remote.as_ref().clone();
            self.list(task).or_else(|error| self.watch.failed(&remote, error))?;
        }
        self.read_dirs()
    }

    /// Whether one more directory may be open here. One always may where nothing is under way that would make
    /// room.
    fn may_hold_another(&mut self) -> bool {
        let idle = self.files.is_empty() && self.jobs.is_empty() && self.listed.is_empty();
        idle || self.local_dirs.has_room()
    }

    /// Asks for the next part of a file; false when enough is under way, or it has no more to ask for.
    fn ask_read(&mut self, key: u64) -> Result<bool> {
        let Some(job) = self.jobs.get_mut(&key).filter(|job| job.is_hungry()) else {
            self.hungry.pop_front();
            return Ok(true);
        };
        // Beyond the size it is known to have there is mostly the end: one question, and the others wait.
        let beyond = job.task.known.size.is_none_or(|size| job.next >= size);
        if beyond && job.under_way > 0 {
            self.hungry.rotate_left(1);
            return Ok(false);
        }
        let part = Part { offset: job.next, length: self.size };
        if self.held > 0 && self.held.saturating_add(part.length as usize) > self.depth {
            return Ok(false);
        }
        job.next = job.next.saturating_add(part.length.into());
        self.ask_part(key, part)?;
        Ok(true)
    }

    fn ask_part(&mut self, key: u64, part: Part) -> Result<()> {
        self.flight.spend(part.length as usize, &mut || self.watch.go_on())?;
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        job.under_way = job.under_way.saturating_add(1);
        self.held = self.held.saturating_add(part.length as usize);
        let packet = framed(&Read { id: 0, handle: &job.handle, offset: part.offset, length: part.length });
        self.ask(Ask::Read(key, part), packet, (part.length as usize).saturating_add(SMALL_ANSWER))
    }

    // ---- files

    fn opened(&mut self, key: u64, reply: Reply) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        let asked = Asked { operation: "open", path: job.task.remote.as_bytes() };
        let handle = match self.flight.client.read_answer(reply, asked) {
            Ok(Answer::Handle(handle)) => handle,
            Ok(other) => return Err(self.flight.client.wrong(&other, asked)),
            Err(error) => return self.fail(key, error),
        };
        job.handle = handle;
        let made = match (&job.task.place, &job.sink) {
            (_, Sink::File(_) | Sink::Writer(_)) => Ok(()),
            (Some(place), Sink::None) => Target::make(place, job.task.begin, &self.options, &job.task.known)
                .map(|target| job.sink = Sink::File(target)),
            (None, Sink::None) => match self.writer.take() {
                Some(writer) => {
                    job.sink = Sink::Writer(writer);
                    Ok(())
                }
                None => Err(Error::Misuse("one writer takes one file")),
            },
        };
        if let Err(error) = made {
            return self.fail(key, error);
        }
        let told = (&job.task.remote, job.written, job.task.known.size, job.task.begin);
        self.watch.tell(told, false);
        if self.options.is_striped(job.task.known.size)
            && let Err(error) = self.get_striped(key)
        {
            return match error {
                Error::Io { .. } | Error::Sftp(_) => self.fail(key, error),
                // Where the connection is gone, say, or the transfer is cancelled.
                _ => Err(error),
            };
        }
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        match job.task.known.size {
            Some(size @ 1..) if !job.task.to_its_end && size < self.size.into() => {
                let length = u32::try_from(size.saturating_add(1)).unwrap_or(u32::MAX);
                self.ask_part(key, Part { offset: 0, length })?;
                self.close(key)
            }
            _ => {
                self.hungry.push_back(key);
                Ok(())
            }
        }
    }

    fn read(&mut self, key: u64, part: Part, reply: Reply) -> Result<()> {
        self.held = self.held.saturating_sub(part.length as usize);
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        job.under_way = job.under_way.saturating_sub(1);
        let asked = Asked { operation: "read", path: job.task.remote.as_bytes() };
        match self.flight.client.read_answer(reply, asked) {
            Ok(Answer::Data(buffer)) => {
                let count = counted(&self.flight.client, Fetched::bytes(&buffer), part)?;
                self.held = self.held.saturating_add(count as usize);
                job.early.insert(part.offset, buffer);
                if count < part.length && !job.close_sent {
                    let offset = part.offset.saturating_add(count.into());
                    self.ask_part(key, Part { offset, length: part.length.saturating_sub(count) })?;
                }
                self.write(key)?;
            }
            Ok(other) => return Err(self.flight.client.wrong(&other, asked)),
            Err(Error::Sftp(error)) if error.status == SFTPStatus::EOF => {
                job.end = Some(job.end.map_or(part.offset, |end| end.min(part.offset)));
            }
            Err(error) => job.failure = Some(job.failure.take().unwrap_or(error)),
        }
        self.settle(key)
    }

    /// Writes what has its turn.
    fn write(&mut self, key: u64) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        while let Some(buffer) = job.early.remove(&job.written) {
            let bytes = Fetched::bytes(&buffer);
            self.held = self.held.saturating_sub(bytes.len());
            if job.failure.is_none() {
                job.failure = job.sink.write(bytes).err();
            }
            job.written = job.written.saturating_add(bytes.len() as u64);
            let file = (&job.task.remote, job.written, job.task.known.size, job.task.begin);
            self.watch.moved(bytes.len(), file);
            self.flight.recycle(buffer);
        }
        Ok(())
    }

    /// Ends a file that nothing more is to come of.
    fn settle(&mut self, key: u64) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&key).filter(|job| job.under_way == 0) else { return Ok(()) };
        if let Some(error) = job.failure.take() {
            return self.fail(key, error);
        }
        if job.close_sent {
            // Read in one go: it is whole if there was as much as the listing said, and not a byte more.
            return if job.task.known.size == Some(job.written) { self.whole(key) } else { self.again(key) };
        }
        match job.end {
            // What was there before is gone: it was cut while it was read, and has a hole no more.
            Some(end) if end < job.written => self.fail(
                key,
                failed("the file became shorter while it was read", io::ErrorKind::UnexpectedEof.into()),
            ),
            Some(_) => self.whole(key),
            None => Ok(()),
        }
    }

    /// Closes what is open on the server. Whoever takes the file away does so after it: what is cancelled here is given
    /// up with all others.
    fn close(&mut self, key: u64) -> Result<()> {
        let Some(job) = self.jobs.get(&key).filter(|job| !job.handle.is_empty() && !job.close_sent) else {
            return Ok(());
        };
        let packet = framed(&Close { id: 0, handle: &job.handle });
        self.ask(Ask::Close, packet, SMALL_ANSWER)?;
        if let Some(job) = self.jobs.get_mut(&key) {
            job.close_sent = true;
        }
        Ok(())
    }

    /// Opens a file again that was not what the listing said, to read it to its end.
    fn again(&mut self, key: u64) -> Result<()> {
        let Some(job) = self.jobs.get_mut(&key) else { return Ok(()) };
        job.task.to_its_end = true;
        (job.next, job.end) = (job.written, None);
        (job.close_sent, job.handle) = (false, Vec::new());
        let attributes = SFTPAttributes::new().to_vec();
        let (path, flags) = (job.task.remote.as_bytes(), OpenFlags::READ.0);
        let packet = framed(&Open { id: 0, path, flags, attributes: Rest(&attributes) });
        self.ask(Ask::Open(key), packet, SMALL_ANSWER)
    }

    fn whole(&mut self, key: u64) -> Result<()> {
        self.close(key)?;
        let Some(job) = self.jobs.remove(&key) else { return Ok(()) };
        let Job { task, sink, written, .. } = job;
        let preserve = self.options.preserve.then_some(&task.known);
        let finished = match sink {
            Sink::File(target) => self.finish(&task, target, preserve),
            Sink::Writer(writer) => writer.flush().map_err(|error| failed("writing what was got", error)),
            Sink::None => Ok(()),
        };
        match finished {
            Ok(()) => {
                self.watch.summary.files = self.watch.summary.files.saturating_add(1);
                self.watch.tell((&task.remote, written, Some(written), task.begin), true);
                Ok(())
            }
            Err(error) => self.watch.failed(&task.remote, error),
        }
    }

    /// A file that gets its name only when it is whole gets it only when that is made sure, too.
    fn finish(&self, task: &FileTask, mut target: Target, preserve: Option<&SFTPAttributes>) -> Result<()> {
        let Some(place) = &task.place else { return target.finish(preserve) };
        if !self.options.atomic {
            target.finish(preserve)?;
            return self.verify(&task.remote, place);
        }
        let sure = target.settle().map_err(|error| place.error(error));
        let part = place.part(self.options.is_striped(task.known.size));
        match sure.and_then(|()| self.verify(&task.remote, &part)) {
            Ok(()) => target.finish(preserve),
            Err(error) => {
                target.give_up(self.options.remove_partial);
                Err(error)
            }
        }
    }

    fn verify(&self, remote: &RemoteName, place: &Place) -> Result<()> {
        if self.options.verify { resume::verify(self.client(), remote, &mut place.open()?) } else { Ok(()) }
    }

    fn fail(&mut self, key: u64, error: Error) -> Result<()> {
        self.close(key)?;
        let Some(job) = self.jobs.remove(&key) else { return Ok(()) };
        self.held =
            self.held.saturating_sub(job.early.values().map(|buffer| Fetched::bytes(buffer).len()).sum());
        if let Sink::File(target) = job.sink {
            target.give_up(self.options.remove_partial);
        }
        self.watch.failed(&job.task.remote, error)
    }
}

impl Waiting {
    fn begun(self) -> Result<FileTask> {
        let Self { path, place, known, begin, to_its_end } = self;
        let remote = match (path, &place) {
            (Named::Whole(remote), _) => remote,
            (Named::In(below), Some(place)) => below.join(remote_name(&place.name)?),
            (Named::In(below), None) => below.as_ref().clone(),
        };
        Ok(FileTask { remote, place, known, begin, to_its_end })
    }
}

impl Job<'_> {
    fn new(task: FileTask) -> Self {
        Self {
            sink: Sink::None,
            handle: Vec::new(),
            next: task.begin,
            early: BTreeMap::new(),
            written: task.begin,
            under_way: 0,
            end: None,
            close_sent: false,
            failure: None,
            task,
        }
    }

    fn is_hungry(&self) -> bool {
        !self.handle.is_empty() && !self.close_sent && self.end.is_none() && self.failure.is_none()
    }
}

impl Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::File(target) => target.write(bytes),
            Self::Writer(writer) => {
                writer.write_all(bytes).map_err(|error| failed("writing what was got", error))
            }
            Self::None => Ok(()),
        }
    }
}
