//! A child process, shared by the thread that waits for its end and those that signal it.

use std::io;
use std::process::Child;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ExitStatus;
use crate::sys::process::{Ending, Leader, signal_group, wait_ended};

/// A program that runs, as those see it that signal it.
#[derive(Debug)]
pub(crate) struct Running {
    pid: u32,
    /// Held while a signal is sent, so that none reaches a stranger with the same number.
    leader: Mutex<Leader>,
}

impl Running {
    pub(crate) fn new(pid: u32) -> Arc<Self> {
        Arc::new(Self { pid, leader: Mutex::new(Leader::Present) })
    }

    /// Passes a signal on. That there is no such signal, or nobody left, is the client's affair.
    pub(crate) fn signal(&self, name: &str) {
        if let Err(error) = signal_group(self.pid, *self.leader.lock(), name) {
            log::debug!(target: "feramiko::process", "signal {name}: {error}");
        }
    }

    /// Waits for the end without taking the child's number away from those who signal.
    pub(crate) fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        wait_ended(self.pid)?;
        let mut leader = self.leader.lock();
        *leader = Leader::Reaped;
        let ending = Ending::from(child.wait()?);
        Ok(match ending {
            Ending::Code(code) => ExitStatus::Code(code),
            Ending::Signal { name, core_dumped } => {
                ExitStatus::Signal { name: name.to_owned(), core_dumped, message: String::new() }
            }
        })
    }
}
