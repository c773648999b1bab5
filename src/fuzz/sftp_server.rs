//! Our SFTP server with a client that meddles with its requests; its files are in memory.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Cursor, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Input;
use crate::wire::{Reader, Writer, string_of};
use crate::{
    OpenFlags, SFTPAttributes, SFTPEntry, SFTPHandle, SFTPListing, SFTPResult, SFTPServer,
    SFTPServerInterface, SFTPStatus,
};

/// Requests of one input.
const REQUESTS: usize = 40;
/// Files that a client may have open.
const HANDLES: usize = 4;
/// The largest file.
const LARGEST: usize = 1 << 16;

type Content = Arc<Mutex<Vec<u8>>>;

/// What there is. The handles that are open are counted.
#[derive(Clone, Default)]
struct Memory {
    files: Arc<Mutex<BTreeMap<Vec<u8>, Content>>>,
    open: Arc<AtomicUsize>,
    sessions: Arc<AtomicUsize>,
}

struct Open {
    content: Content,
    open: Arc<AtomicUsize>,
}

fn no_such() -> crate::SFTPRefusal {
    SFTPStatus::NO_SUCH_FILE.into()
}

impl SFTPServerInterface for Memory {
    fn session_started(&self) {
        self.sessions.fetch_add(1, Ordering::SeqCst);
    }

    fn session_ended(&self) {
        assert_eq!(self.open.load(Ordering::SeqCst), 0, "all handles are closed by then");
        self.sessions.fetch_add(10, Ordering::SeqCst);
    }

    fn supports(&self, extension: &str) -> bool {
        extension == "posix-rename@openssh.com"
    }

    fn open(&self, path: &[u8], flags: OpenFlags, _: &SFTPAttributes) -> SFTPResult<Box<dyn SFTPHandle>> {
        assert!(!path.is_empty() && path.len() <= 4096 && !path.contains(&0));
        let mut files = self.files.lock();
        let content = match files.get(path) {
            Some(content) => Arc::clone(content),
            None if flags.has(OpenFlags::CREATE) => Arc::clone(files.entry(path.to_vec()).or_default()),
            None => return Err(no_such()),
        };
        // One more while `check-file-name` reads.
        assert!(self.open.fetch_add(1, Ordering::SeqCst) <= HANDLES, "more handles than may be");
        Ok(Box::new(Open { content, open: Arc::clone(&self.open) }))
    }

    fn list_folder(&self, _: &[u8]) -> SFTPResult<SFTPListing> {
        let names: Vec<Vec<u8>> = self.files.lock().keys().cloned().collect();
        Ok(Box::new(names.into_iter().map(|name| Ok(SFTPEntry::new(name, SFTPAttributes::new())))))
    }

    fn stat(&self, path: &[u8]) -> SFTPResult<SFTPAttributes> {
        let size = self.files.lock().get(path).ok_or_else(no_such)?.lock().len();
        Ok(SFTPAttributes::new().with_size(size as u64).with_mode(0o100_644))
    }

    fn remove(&self, path: &[u8]) -> SFTPResult<()> {
        self.files.lock().remove(path).map(drop).ok_or_else(no_such)
    }

    fn posix_rename(&self, from: &[u8], to: &[u8]) -> SFTPResult<()> {
        let mut files = self.files.lock();
        let moved = files.remove(from).ok_or_else(no_such)?;
        files.insert(to.to_vec(), moved);
        Ok(())
    }
}

impl SFTPHandle for Open {
    fn read(&self, offset: u64, buf: &mut [u8]) -> SFTPResult<usize> {
        let content = self.content.lock();
        let rest = usize::try_from(offset).ok().and_then(|from| content.get(from..)).unwrap_or_default();
        let count = rest.len().min(buf.len());
        buf[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write(&self, offset: u64, data: &[u8]) -> SFTPResult<()> {
        let end = usize::try_from(offset).ok().and_then(|from| from.checked_add(data.len()));
        let end = end.filter(|end| *end <= LARGEST).ok_or(SFTPStatus::FAILURE)?;
        let mut content = self.content.lock();
        let length = content.len().max(end);
        content.resize(length, 0);
        content[end - data.len()..end].copy_from_slice(data);
        Ok(())
    }

    fn overlaps_reads(&self) -> bool {
        false
    }

    fn close(&self) -> SFTPResult<()> {
        self.open.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Where the answers go.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<Vec<u8>>>);

impl Write for Answers {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whatever a client asks: each request that is whole is answered once, under its number and by a kind that
/// it may have; no more is open than may be, and all is closed at the end.
pub fn sftp_server(data: &[u8]) {
    let mut input = Input(data);
    let memory = Memory::default();
    memory.files.lock().insert(b"/f".to_vec(), Arc::new(Mutex::new(b"hello".repeat(100))));
    let requests = requests(&mut input);
    let framed: Vec<u8> = requests.iter().flat_map(|request| string_of(request)).collect();
    let answers = Answers::default();
    let server = SFTPServer::new(memory.clone()).max_handles(HANDLES);
    let _ = server.serve(Cursor::new(framed), answers.clone());
    assert_eq!(memory.open.load(Ordering::SeqCst), 0);
    assert!([0, 11].contains(&memory.sessions.load(Ordering::SeqCst)));
    check(&requests, &answers.0.lock());
}

fn check(requests: &[Vec<u8>], answers: &[u8]) {
    let mut asked: HashMap<u32, Vec<u8>> = HashMap::new();
    for request in requests.iter().skip(1) {
        if let Some(id) = request.get(1..5).and_then(|id| id.first_chunk()) {
            asked.entry(u32::from_be_bytes(*id)).or_default().push(request[0]);
        }
    }
    let mut answers = Reader::new(answers);
    let mut first = true;
    while !answers.is_empty() {
        let answer = answers.string().expect("answers are whole");
        if std::mem::take(&mut first) {
            assert_eq!(answer.get(..5), Some(&[2, 0, 0, 0, 3][..]));
            continue;
        }
        assert!(answer.len() <= 256 * 1024);
        let id = answer.get(1..5).and_then(|id| id.first_chunk()).expect("it has a number");
        let kinds = asked.get_mut(&u32::from_be_bytes(*id)).expect("it was asked for");
        let may = |kind: &u8| match answer[0] {
            101 => true,
            102 => matches!(kind, 3 | 11),
            103 => *kind == 5,
            104 => matches!(kind, 12 | 16 | 19 | 200),
            105 => matches!(kind, 7 | 8 | 17),
            201 => *kind == 200,
            _ => false,
        };
        let place = kinds.iter().position(may).expect("it may be answered so");
        kinds.remove(place);
    }
}

/// Requests that make sense, meddled with.
fn requests(input: &mut Input<'_>) -> Vec<Vec<u8>> {
    let mut hello = Vec::new();
    hello.put(&1_u8).put(&3_u32);
    let mut list = vec![hello];
    let mut id = 0_u32;
    while !input.is_empty() && list.len() < REQUESTS {
        id += 1;
        let honest = honest(input, id);
        list.extend(input.meddle(honest));
    }
    list
}

fn honest(input: &mut Input<'_>, id: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let path: &[u8] = [b"/f".as_slice(), b"/g", b".", b"/d/../f"][usize::from(input.byte() % 4)];
    let handle = u32::from(input.byte() % 6).to_be_bytes();
    let kind = 3 + input.byte() % 19;
    let kind = if kind == 21 { 200 } else { kind };
    out.put(&kind).put(&id);
    match kind {
        3 => drop(out.put(path).put(&u32::from(input.byte())).put(&0_u32)),
        4 | 8 | 12 => drop(out.put(handle.as_slice())),
        5 => {
            out.put(handle.as_slice()).put(&u64::from(input.byte())).put(&(u32::from(input.byte()) << 8));
        }
        6 => {
            let offset = u64::from(input.byte()) << 4;
            out.put(handle.as_slice()).put(&offset).put(input.piece(600));
        }
        10 => drop(out.put(handle.as_slice()).put(&1_u32).put(&u64::from(input.byte()))),
        9 | 14 => drop(out.put(path).put(&4_u32).put(&0o644_u32)),
        18 | 20 => drop(out.put(path).put("/g")),
        200 => match input.byte() % 6 {
            0 => drop(out.put("limits@openssh.com")),
            1 => drop(out.put("posix-rename@openssh.com").put(path).put("/g")),
            2 => {
                out.put("copy-data").put(handle.as_slice()).put(&0_u64).put(&u64::from(input.byte()));
                out.put(&[0, 0, 0, 1][..]).put(&u64::from(input.byte()));
            }
            3 => {
                out.put("check-file-name").put(path).put("sha256,md5").put(&0_u64).put(&0_u64);
                out.put(&(u32::from(input.byte()) << 2));
            }
            4 => drop(out.put("vendor-id").put("a").put("b").put("c").put(&1_u64)),
            _ => drop(out.put("statvfs@openssh.com").put(path)),
        },
        _ => drop(out.put(path)),
    }
    out
}
