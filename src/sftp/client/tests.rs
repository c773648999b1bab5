//! What threads of one client owe each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::SFTPClient;
use super::exchange::{Carrier, Exchange, Mailbox};
use super::incoming::Incoming;
use crate::engine::tests::buggy::Buggy;
use crate::engine::{Halves, MemoryStream, Stream};
use crate::error::Error;
use crate::sftp::packet::SFTPAttributes;
use crate::sftp::packet::message::{Attrs, Handle, Stat, Status, Version, framed};
use crate::wire::{Encode, Reader, Rest, Writer};

const PATIENCE: Duration = Duration::from_secs(30);

/// Answers what comes; the first WRITE is not read on before `go` says so.
fn serve(
    stream: MemoryStream,
    stalled: &crossbeam_channel::Sender<()>,
    go: &crossbeam_channel::Receiver<()>,
) {
    let Halves { mut read, mut write, .. } = Box::new(stream).split().unwrap();
    let mut exact = |length: usize| {
        let (mut bytes, mut filled) = (vec![0; length], 0);
        while filled < length {
            match read.read(&mut bytes[filled..], None) {
                Ok(count) if count > 0 => filled += count,
                _ => return None,
            }
        }
        Some(bytes)
    };
    let mut first = true;
    while let Some(head) = exact(5) {
        let length = Reader::new(&head).get::<u32>().unwrap() as usize - 1;
        if head[4] == 6 && std::mem::take(&mut first) {
            stalled.send(()).unwrap();
            go.recv().unwrap();
        }
        let Some(body) = exact(length) else { return };
        let id = Reader::new(&body).get::<u32>().unwrap();
        let answer = match head[4] {
            1 => framed(&Version { version: 3, extensions: Rest(b"") }),
            3 => framed(&Handle { id, handle: b"h" }),
            Stat::NUMBER => framed(&Attrs { id, attributes: Rest(&SFTPAttributes::new().to_vec()) }),
            _ => {
                let mut text = Vec::new();
                text.put("").put("");
                framed(&Status { id, code: 0, text: Rest(&text) })
            }
        };
        if write.write_all(&answer, None).is_err() {
            return;
        }
    }
}

#[test]
fn what_one_gives_up_writing_another_goes_on_with() {
    let (ours, theirs) = MemoryStream::pair(4096);
    let (stalled, is_stalled) = crossbeam_channel::bounded(1);
    let (go, may_go) = crossbeam_channel::bounded(1);
    let server = std::thread::spawn(move || serve(theirs, &stalled, &may_go));
    let sftp = SFTPClient::over(ours).unwrap();
    let file = sftp.open("file", "w").unwrap();
    std::thread::scope(|scope| {
        sftp.set_timeout(Duration::from_secs(1));
        let writer = scope.spawn(|| file.write_at(&[7; 30_000], 0));
        is_stalled.recv_timeout(PATIENCE).unwrap();
        sftp.set_timeout(PATIENCE);
        let asker = scope.spawn(|| {
            let asked = Instant::now();
            (sftp.stat("file"), asked.elapsed())
        });
        assert!(matches!(writer.join().unwrap(), Err(Error::Timeout(_))));
        go.send(()).unwrap();
        let (answer, took) = asker.join().unwrap();
        answer.unwrap();
        assert!(took < PATIENCE / 2, "{took:?}");
    });
    sftp.close();
    drop(file);
    server.join().unwrap();
}

#[test]
fn a_stream_that_panics_ends_the_session_for_all_who_share_it() {
    let bug = Arc::new(AtomicBool::new(false));
    let (ours, theirs) = MemoryStream::pair(4096);
    let (stalled, is_stalled) = crossbeam_channel::bounded(1);
    let (go, may_go) = crossbeam_channel::bounded(1);
    let server = std::thread::spawn(move || serve(theirs, &stalled, &may_go));
    let sftp = SFTPClient::over(Buggy(ours, Arc::clone(&bug))).unwrap();
    sftp.set_timeout(PATIENCE);
    let file = sftp.open("file", "w").unwrap();
    std::thread::scope(|scope| {
        // One waits for an answer that does not come, and reads.
        let waiter = scope.spawn(|| file.write_at(b"data", 0));
        is_stalled.recv_timeout(PATIENCE).unwrap();
        bug.store(true, Ordering::SeqCst);
        let began = Instant::now();
        for outcome in [sftp.stat("file").map(drop), waiter.join().unwrap(), sftp.stat("file").map(drop)] {
            let Err(Error::Closed(Some(cause))) = &outcome else { panic!("{outcome:?}") };
            assert!(matches!(**cause, Error::Misuse(text) if text.contains("stream")), "{cause}");
        }
        assert!(began.elapsed() < PATIENCE / 2);
        go.send(()).unwrap();
    });
    drop((file, sftp));
    server.join().unwrap();
}

/// Notes what it is told of the requests that follow.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<bool>>>);

impl Carrier for Told {
    fn capacity(&self) -> usize {
        4 << 20
    }

    fn asks_ahead(&self, ahead: bool) {
        self.0.lock().push(ahead);
    }
}

#[test]
fn requests_are_asked_ahead_while_a_mib_is_on_its_way() {
    let (ours, _theirs) = MemoryStream::pair(4096);
    let Halves { read, write, closer, .. } = Box::new(ours).split().unwrap();
    let told = Told::default();
    let exchange = Exchange::new(Incoming::new(read), write, closer, Box::new(told.clone()));
    let mailbox = Mailbox::new(&exchange);
    let deadline = Instant::now().checked_add(PATIENCE);
    for expected in [1 << 19, (1 << 19) - 1, 1, 0] {
        let mut packet = framed(&Stat { id: 0, path: b"file" });
        mailbox.post(&mut packet, expected, 0, deadline).unwrap();
        mailbox.flush(deadline).unwrap();
    }
    assert_eq!(*told.0.lock(), [false, false, true, true]);
}
