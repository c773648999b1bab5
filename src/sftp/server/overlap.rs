//! Reads of a file at the same time, on threads of their own that start with the first two such reads.
//!
//! Whoever asks for anything else waits first until all reads are answered.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use super::interface::SFTPHandle;
use super::output::{Output, Page};
use super::refusal::SFTPRefusal;
use super::serve::put_read;
use crate::engine;
use crate::sftp::packet::SFTPStatus;

/// Threads of a session: what one disk or one other machine can make use of.
const THREADS: usize = 4;
/// Reads that wait for a thread; the session waits beyond.
const WAITING: usize = 64;

/// A read to be done.
pub(super) struct Job {
    pub(super) id: u32,
    pub(super) file: Arc<dyn SFTPHandle>,
    pub(super) offset: u64,
    pub(super) length: u32,
}

/// Reads that are not yet answered.
#[derive(Debug, Default)]
struct Unanswered {
    /// Guards the count; taken by the session and its threads.
    count: Mutex<usize>,
    changed: Condvar,
}

/// The threads, if there are any yet.
pub(super) struct Overlap<W> {
    output: Arc<Mutex<Output<W>>>,
    unanswered: Arc<Unanswered>,
    threads: Option<(Sender<Job>, Vec<JoinHandle<()>>)>,
}

impl<W: Write + Send + 'static> Overlap<W> {
    pub(super) fn new(output: Arc<Mutex<Output<W>>>) -> Self {
        Self { output, unanswered: Arc::default(), threads: None }
    }

    /// Waits until all reads are answered.
    pub(super) fn wait(&self) {
        if self.threads.is_some() {
            let mut count = self.unanswered.count.lock();
            while *count > 0 {
                self.unanswered.changed.wait(&mut count);
            }
        }
    }

    /// Has a read done. Gives it back where no thread can be started.
    pub(super) fn read(&mut self, job: Job) -> Result<(), Job> {
        if self.threads.is_none() {
            self.threads = self.start();
        }
        let Some((sender, _)) = &self.threads else { return Err(job) };
        self.unanswered.change(|count| count.saturating_add(1));
        sender.send(job).map_err(|error| {
            self.unanswered.change(|count| count.saturating_sub(1));
            error.into_inner()
        })
    }

    fn start(&self) -> Option<(Sender<Job>, Vec<JoinHandle<()>>)> {
        let (sender, jobs) = bounded(WAITING);
        let threads: Vec<_> = (0..THREADS)
            .map_while(|_| {
                let (jobs, output) = (jobs.clone(), Arc::clone(&self.output));
                let unanswered = Arc::clone(&self.unanswered);
                engine::spawn("feramiko sftp read", move || work(&jobs, &output, &unanswered)).ok()
            })
            .collect();
        (!threads.is_empty()).then_some((sender, threads))
    }
}

impl<W> Drop for Overlap<W> {
    /// The session's end waits for the reads that run: they use the application.
    fn drop(&mut self) {
        if let Some((sender, threads)) = self.threads.take() {
            drop(sender);
            for thread in threads {
                // A panic was caught where it happened.
                let _ = thread.join();
            }
        }
    }
}

impl Unanswered {
    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut count = self.count.lock();
        *count = change(*count);
        self.changed.notify_all();
    }
}

fn work<W: Write>(jobs: &Receiver<Job>, output: &Mutex<Output<W>>, unanswered: &Unanswered) {
    let mut page = Page::default();
    for job in jobs {
        let read = AssertUnwindSafe(|| put_read(&mut page, &job));
        let answered = catch_unwind(read).is_ok();
        if !answered {
            page = Page::default();
            page.put_refusal(job.id, &SFTPRefusal::from(SFTPStatus::FAILURE));
        }
        // A stream that takes no more has ended for reading too: the session sees it there.
        let _ = output.lock().flush_page(&mut page);
        unanswered.change(|count| count.saturating_sub(1));
    }
}
