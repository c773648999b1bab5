//! Ctrl-C ends what a command does, not the program.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::terminal::on_interrupt;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether the command that runs is to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// A new command runs.
pub(crate) fn clear() {
    INTERRUPTED.store(false, Ordering::Relaxed);
}

/// From now on an interrupt ends commands only.
pub(crate) fn take() -> io::Result<()> {
    on_interrupt(|| {
        INTERRUPTED.store(true, Ordering::Relaxed);
        // Nothing can be done for a terminal that is gone.
        let _ = io::stderr().write_all(b"\rInterrupt  \n");
    })
}
