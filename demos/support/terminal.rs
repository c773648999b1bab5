//! The user's terminal: raw mode that is undone on every way out, its size, hidden questions.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};

use feramiko::Secret;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Raw mode of standard input, until dropped.
pub(crate) struct RawMode(Termios);

#[allow(dead_code, reason = "each program uses what it needs")]
impl RawMode {
    /// Every key goes to the other side.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }

    /// What undoes it from another thread, for signals.
    pub(crate) fn undo(&self) -> impl Fn() + Send + Sync + use<> {
        let before = self.0.clone();
        move || {
            // The terminal may be gone; then there is nothing to undo.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.undo()();
    }
}

/// Columns and rows.
#[allow(dead_code, reason = "each program uses what it needs")]
pub(crate) fn size() -> (u32, u32) {
    tcgetwinsize(io::stdin()).map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

/// Asks on the terminal; hidden answers are not shown. None without a terminal.
#[allow(dead_code, reason = "each program uses what it needs")]
pub(crate) fn ask(prompt: &str, echo: bool) -> Option<Secret> {
    let mut terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
    let before = tcgetattr(&terminal).ok()?;
    if !echo {
        let mut hidden = before.clone();
        hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
        tcsetattr(&terminal, OptionalActions::Now, &hidden).ok()?;
    }
    write!(terminal, "{prompt}").ok()?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    tcsetattr(&terminal, OptionalActions::Now, &before).ok()?;
    if !echo {
        writeln!(terminal).ok()?;
    }
    read.ok().filter(|count| *count > 0)?;
    Some(Secret::from(line.trim_end_matches(['\r', '\n'])))
}
