//! Where commands come from: a batch, a pipe, or a user at a terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};

use crate::commands::{self, Command, Copying, Line};
use crate::complete::complete;
use crate::edit::{Editor, Typed};
use crate::interrupt;
use crate::messages::{print, say, system};
use crate::paths::{absolute, local};
use crate::session::{Next, Session};
use crate::settings::Settings;

const PROMPT: &str = "sftp> ";

/// What the program ends with.
pub(crate) const FINE: i32 = 0;
pub(crate) const FAILED: i32 = 1;

/// A line without marks.
fn plain(command: Command) -> Line {
    Line { command: Ok(command), forgiven: false, silent: true }
}

/// Does what the command line asks for; what the program ends with.
pub(crate) fn run(mut session: Session, settings: &Settings) -> Result<i32, String> {
    // Who cannot be read from is told so before anything is done.
    let batch = settings.batch.as_ref().map(|name| open(name)).transpose()?;
    if let Some(path) = &settings.destination.path {
        let path = absolute(path, &session.directory);
        let directory = session.client.is_dir(&path).unwrap_or(false);
        if !directory || settings.to.is_some() {
            let to = settings.to.as_ref().map(|to| to.as_encoded_bytes().to_vec());
            let asked = Copying { from: path, to, ..Copying::default() };
            let next = session.run(plain(Command::Get(asked)), true)?;
            return Ok(if next == Next::Stop { FAILED } else { FINE });
        }
        if !settings.manner.quiet {
            say(&[b"Changing to: ", &path]);
        }
        if session.run(plain(Command::Chdir(Some(path))), true)? == Next::Stop {
            return Ok(FAILED);
        }
    }
    match batch {
        Some(source) => lines(session, source, true),
        None if io::stdin().is_terminal() => interactive(session),
        None => lines(session, Box::new(io::stdin().lock()), false),
    }
}

/// The batch that -b names; `-` is standard input.
fn open(name: &std::ffi::OsStr) -> Result<Box<dyn BufRead>, String> {
    if name == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(local(name.as_encoded_bytes()));
    let file = file.map_err(|error| format!("{} ({}).", system(&error), name.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

/// Runs line by line, and shows each.
fn lines(mut session: Session, mut source: Box<dyn BufRead>, strict: bool) -> Result<i32, String> {
    loop {
        let mut line = Vec::new();
        let count = source.read_until(b'\n', &mut line);
        if count.map_err(|error| format!("reading commands: {}", system(&error)))? == 0 {
            return Ok(FINE);
        }
        if line.ends_with(b"\n") {
            line.pop();
        }
        let read = commands::read(&line);
        if !read.silent {
            say(&[PROMPT.as_bytes(), &line]);
        }
        match session.run(read, strict)? {
            Next::GoOn => {}
            Next::Quit => return Ok(FINE),
            Next::Stop => return Ok(FAILED),
        }
    }
}

fn interactive(mut session: Session) -> Result<i32, String> {
    interrupt::take().map_err(|error| format!("waiting for interrupts: {error}"))?;
    let mut editor = Editor::new(PROMPT);
    loop {
        interrupt::clear();
        let typed = editor.read(&mut |before: &[u8], after: &[u8]| {
            interrupt::clear();
            complete(&session, before, after)
        });
        match typed.map_err(|error| format!("reading the terminal: {}", system(&error)))? {
            Typed::Line(line) => {
                interrupt::clear();
                if session.run(commands::read(&line), false)? == Next::Quit {
                    return Ok(FINE);
                }
            }
            Typed::Interrupt => {}
            Typed::End => {
                print(b"\n");
                return Ok(FINE);
            }
        }
    }
}
