//! Our SFTP client with a server that meddles with its answers, on one thread but for stripes: a request is answered
//! when the client reads.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use super::Input;
use crate::engine::{Closer, Halves, ReadHalf, Stream, WriteHalf};
use crate::wire::{Reader, Writer};
use crate::{HashAlgorithm, SFTPAttributes, SFTPClient, SFTPFile, SFTPTime};

/// Operations of one input.
const OPERATIONS: usize = 6;
/// Answers of one input: a server may list for ever.
const ANSWERS: usize = 400;
/// The size that honest files have.
const SIZE: u64 = 3000;
/// The same of one that is got in stripes.
const LARGE: u64 = 9 << 20;

/// The server: requests that are not answered yet, and answers that are not read yet.
struct Script {
    data: Vec<u8>,
    at: usize,
    /// Bytes of a request that has not come whole.
    coming: Vec<u8>,
    requests: Vec<Vec<u8>>,
    answers: Vec<u8>,
    answered: usize,
    listed: HashMap<Vec<u8>, u8>,
}

#[derive(Clone)]
struct Scripted(Arc<Mutex<Script>>);

impl Stream for Scripted {
    fn split(self: Box<Self>) -> io::Result<Halves> {
        let halves = (Box::new(Self(Arc::clone(&self.0))), Box::new(Self(Arc::clone(&self.0))));
        Ok(Halves { read: halves.0, write: halves.1, closer: Arc::new(*self), peer: "script".to_owned() })
    }
}

impl Closer for Scripted {
    fn close(&self) {
        self.0.lock().answered = ANSWERS;
    }
}

impl ReadHalf for Scripted {
    fn read(&mut self, buf: &mut [u8], _: Option<Instant>) -> io::Result<usize> {
        let mut script = self.0.lock();
        while script.answers.is_empty() {
            if script.answered >= ANSWERS || script.requests.is_empty() {
                return Ok(0);
            }
            script.answer_one();
        }
        let count = buf.len().min(script.answers.len());
        buf[..count].copy_from_slice(&script.answers[..count]);
        script.answers.drain(..count);
        Ok(count)
    }

    fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.0.lock().answers.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read(buf, None)
    }
}

impl WriteHalf for Scripted {
    fn write_now(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut script = self.0.lock();
        script.coming.extend_from_slice(buf);
        loop {
            let mut reader = Reader::new(&script.coming);
            let Ok(request) = reader.string().map(<[u8]>::to_vec) else { break };
            script.coming.drain(..request.len() + 4);
            script.requests.push(request);
        }
        Ok(buf.len())
    }

    fn wait(&mut self, _: Option<Instant>) -> io::Result<()> {
        Ok(())
    }
}

impl Script {
    /// What comes of one request on its way back.
    fn answer_one(&mut self) {
        self.answered += 1;
        let mut input = Input(self.data.get(self.at..).unwrap_or_default());
        let choice = usize::from(input.byte());
        // Mostly in order.
        let request = self.requests.remove(if choice > 240 { choice % self.requests.len() } else { 0 });
        let honest = honest(&request, choice, &mut self.listed);
        let before = input.0.len();
        let answers = if choice % 4 == 0 { input.meddle(honest) } else { vec![honest] };
        self.at += usize::from(before < self.data.len()) + before - input.0.len();
        for answer in answers {
            // A length may lie too.
            let lies = choice == 239;
            let length = u32::try_from(answer.len()).unwrap_or(u32::MAX) ^ u32::from(lies) << (self.at % 32);
            self.answers.extend(length.to_be_bytes());
            self.answers.extend(answer);
        }
    }
}

/// The answer of a server that means well; what there is depends on `choice` a little.
fn honest(request: &[u8], choice: usize, listed: &mut HashMap<Vec<u8>, u8>) -> Vec<u8> {
    let mut reader = Reader::new(request);
    let kind = reader.get::<u8>().unwrap_or_default();
    let mut out = Vec::new();
    if kind == 1 {
        out.put(&2_u8).put(&3_u32);
        for name in ["limits@openssh.com", "statvfs@openssh.com", "posix-rename@openssh.com"] {
            out.put(name).put("1");
        }
        return out;
    }
    let id = reader.get::<u32>().unwrap_or_default();
    let subject = reader.string().unwrap_or_default();
    let mode = if subject.ends_with(b"d") { 0o040_755 } else { 0o100_644 };
    let size = if subject.starts_with(b"large") { LARGE } else { SIZE };
    let attributes = SFTPAttributes::new()
        .with_size(size)
        .with_mode(mode)
        .with_times(SFTPTime::from_seconds(0), SFTPTime::from_seconds(0));
    match kind {
        3 | 11 => drop(out.put(&102_u8).put(&id).put(&subject[..subject.len().min(200)])),
        5 => {
            let offset = reader.get::<u64>().unwrap_or_default();
            let length = reader.get::<u32>().unwrap_or_default();
            let left = size.saturating_sub(offset).min(length.into());
            if left == 0 {
                return status(id, 1);
            }
            let short = if choice == 238 { 1 + left / 2 } else { left };
            out.put(&103_u8).put(&id).put(vec![b'x'; short as usize].as_slice());
        }
        12 => {
            let times = listed.entry(subject.to_vec()).or_default();
            *times = times.saturating_add(1);
            if *times > 1 + (choice % 3) as u8 {
                return status(id, 1);
            }
            let names: [&[u8]; 5] = [b"f", b"d", b"l", b"..", b"g"];
            out.put(&104_u8).put(&id).put(&(names.len() as u32));
            for name in names {
                let mode = match name {
                    b"d" => 0o040_755,
                    b"l" => 0o120_777,
                    _ => 0o100_644,
                };
                out.put(name).put("").put(&attributes.clone().with_mode(mode));
            }
        }
        7 | 8 | 17 => drop(out.put(&105_u8).put(&id).put(&attributes)),
        16 | 19 => drop(out.put(&104_u8).put(&id).put(&1_u32).put(subject).put("").put(&0_u32)),
        200 if subject.starts_with(b"limits") => {
            out.put(&201_u8).put(&id).put(&262_144_u64).put(&1000_u64).put(&1000_u64).put(&(choice as u64));
        }
        200 if subject.starts_with(b"statvfs") => drop(out.put(&201_u8).put(&id).put_raw(&[0; 88])),
        200 if subject.starts_with(b"check") => {
            out.put(&201_u8).put(&id).put("check-file").put("sha256").put_raw(&[7; 32]);
        }
        _ => return status(id, if choice % 8 == 7 { 4 } else { 0 }),
    }
    out
}

fn status(id: u32, code: u32) -> Vec<u8> {
    let mut out = Vec::new();
    out.put(&101_u8).put(&id).put(&code).put("as it is").put("");
    out
}

/// A folder for what is got; whatever comes of it, nothing is beside it.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("feramiko-fuzz-{}-{count}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    fn check(&self, names: &[&str]) {
        let mut inside = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let known = |found: &std::ffi::OsStr| names.iter().any(|name| found == *name);
        assert!(inside.all(|entry| known(&entry.file_name())), "something is beside what is got");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Whatever a server answers: no operation hangs, gives more than was asked for, or leaves the folder that a
/// tree is got into.
pub fn sftp_client(data: &[u8]) {
    let (chosen, data) = data.split_at(data.len().min(OPERATIONS));
    let script = Script {
        data: data.to_vec(),
        at: 0,
        coming: Vec::new(),
        requests: Vec::new(),
        answers: Vec::new(),
        answered: 0,
        listed: HashMap::new(),
    };
    let Ok(sftp) = SFTPClient::over(Scripted(Arc::new(Mutex::new(script)))) else { return };
    assert!(sftp.limits().read <= 256 * 1024 && sftp.limits().write <= 256 * 1024);
    for operation in chosen {
        operate(&sftp, *operation);
    }
}

fn operate(sftp: &SFTPClient, operation: u8) {
    match operation % 14 {
        0 => drop(sftp.stat("f")),
        1 => drop(sftp.normalize("f")),
        2 => drop(sftp.listdir_attr("d").map(|list| list.iter().for_each(|entry| drop(entry.to_string())))),
        3 => drop(sftp.readlink("l")),
        4 => drop(sftp.statvfs("f")),
        5 => drop(sftp.check_file("f", &[HashAlgorithm::Sha256], (0, 0), 0)),
        6 => drop(sftp.makedirs("a/b", 0o755)),
        7 => drop(sftp.rename("f", "g").and_then(|()| sftp.posix_rename("f", "g"))),
        8 => drop(sftp.open("f", "r+").map(|file| read(&file))),
        9 => drop(sftp.open("f", "w").map(|file| write(&file))),
        10 => {
            let mut found = Vec::new();
            let _ = sftp.getfo("f", &mut found);
        }
        11 => drop(sftp.putfo(&mut &[7; 5000][..], "f")),
        12 => {
            let Ok(place) = Place::new() else { return };
            let striped = sftp.transfer().atomic(true).sparse(operation & 0x40 != 0).stripe(sftp);
            let _ = striped.resume(operation & 0x80 != 0).get("large", place.0.join("in"));
            place.check(&["in", "in.fileparts"]);
        }
        _ => {
            let Ok(place) = Place::new() else { return };
            let options = sftp.transfer().recursive(true).preserve(true).atomic(operation & 0x40 != 0);
            let _ = options.on_error(|_| operation & 0x80 != 0).get("d", place.0.join("in"));
            place.check(&["in"]);
        }
    }
}

fn read(file: &SFTPFile) {
    let mut buf = [0; 2500];
    assert!(file.read_at(&mut buf, 1000).is_ok_and(|count| count <= buf.len()) || buf.len() == 2500);
    for part in file.readv(&[(0, 10), (5, 2000), (5, 10), (2999, 50)]) {
        let Ok(part) = part else { break };
        assert!(part.len() <= 2000);
    }
    if file.prefetch(Some(SIZE)).is_ok() {
        let mut found = Vec::new();
        let _ = file.take(2 * SIZE).read_to_end(&mut found);
    }
    let _ = file.stat();
}

fn write(mut file: &SFTPFile) {
    let _ = file.set_pipelined(true);
    let _ = file.write_all(&[7; 4000]);
    let _ = file.flush();
    let _ = file.write_all(&[7; 4000]);
    let _ = file.close();
}
