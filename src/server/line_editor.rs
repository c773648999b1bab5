//! `LineEditor`: lines that are typed at the terminal of a session.
//!
//! Runs on the thread that reads the lines, which alone reads and writes the channel. Other threads leave
//! messages, and the serving thread leaves events; both only wake it, so that a caller who reads nothing holds
//! up nobody. What keys do is `editor/`'s affair.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::session::{Session, SessionEvent, SessionEvents};
use crate::channel::{Channel, Poll, Waker};
use crate::crypto::secret::Secret;
use crate::editor::{Editor, Key, KeyAction, Line, LineEditorOptions, TooLong, Typed};
use crate::error::{Error, Phase};

/// How much is read at a time: typed lines are short, and a paste comes in pieces.
const PIECE: usize = 4096;
/// Messages that a session has not shown yet, in bytes; a chat of some hours. A session that shows none for so
/// long has stalled.
const WAITING: usize = 64 * 1024;

impl Session {
    /// An editor for the lines that the user types. With a terminal it echoes, edits and remembers them; without
    /// one they are read as they come. Make one for a session: it remembers its lines and holds what was typed
    /// ahead.
    #[must_use]
    pub fn line_editor(&self, options: LineEditorOptions) -> LineEditor {
        let mut poll = Poll::new();
        poll.add(self.channel());
        self.events().wake(poll.waker());
        LineEditor {
            channel: self.channel().clone(),
            events: self.events().clone(),
            poll,
            editor: Editor::new(options, self.request().pty.as_ref().map(|pty| pty.size)),
            messages: Arc::default(),
            timeout: None,
        }
    }
}

/// Reads lines that are typed in a session, and writes to its terminal.
///
/// Keys: arrows, Home, End, Delete; `^A` `^E` `^B` `^F` and Alt with `b` and `f` move, `^H` `^D` `^K` `^U` `^W` and Alt
/// with `d` and Backspace delete, `^Y` brings back, `^T` swaps, `^P` and `^N` recall, `^R` searches, `^L` clears, Tab
/// completes. Lines wider than the terminal go on in further rows.
///
/// While a line is read the editor takes the events of the session: a resize draws anew, the signal INT and a
/// break are `^C`, others are dropped.
///
/// ```no_run
/// use std::io::{self, Write};
/// use feramiko::{ExitStatus, Line, LineEditorOptions, Session};
/// fn session(session: Session) -> io::Result<ExitStatus> {
///     let mut editor = session.line_editor(LineEditorOptions::new());
///     while let Line::Text(line) = editor.read_line("> ")? {
///         writeln!(editor, "You said {line}.")?;
///     }
///     Ok(ExitStatus::Code(0))
/// }
/// ```
#[derive(Debug)]
pub struct LineEditor {
    channel: Channel,
    events: SessionEvents,
    poll: Poll,
    editor: Editor,
    messages: Arc<Messages>,
    timeout: Option<Duration>,
}

impl LineEditor {
    /// Reads a line. Of a prompt of several lines the last one is drawn again when the line is. Of escape sequences
    /// in it only those that set colours (SGR) reach a terminal.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`](io::ErrorKind::TimedOut) when nothing was typed for too long: what was typed of the
    /// line is dropped;
    /// [`ErrorKind::InvalidData`](io::ErrorKind::InvalidData) when a line without a terminal is longer than
    /// [`max_line`](LineEditorOptions::max_line); reading can go on. Others when the connection breaks.
    pub fn read_line(&mut self, prompt: &str) -> io::Result<Line> {
        Ok(match self.read(prompt, false)? {
            Line::Text(mut text) => Line::Text(std::mem::take(&mut *text)),
            Line::Interrupted => Line::Interrupted,
            Line::End => Line::End,
        })
    }

    /// Reads a line that is neither shown nor remembered, and that no hook sees.
    ///
    /// # Errors
    /// See [`read_line`](Self::read_line).
    pub fn read_password(&mut self, prompt: &str) -> io::Result<Line<Secret>> {
        Ok(match self.read(prompt, true)? {
            Line::Text(mut text) => Line::Text(Secret::from(std::mem::take(&mut *text))),
            Line::Interrupted => Line::Interrupted,
            Line::End => Line::End,
        })
    }

    /// How long a user may type nothing; for ever unless told otherwise.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Whether there is a terminal.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.editor.is_terminal()
    }

    /// The lines that are remembered, the oldest first.
    pub fn history(&self) -> impl Iterator<Item = &str> {
        self.editor.history()
    }

    /// Remembers a line as if it had been typed.
    pub fn add_history(&mut self, line: &str) {
        self.editor.remember(line);
    }

    /// Asks `hook` what a key does from now on; it is told what stands before the cursor and after it.
    ///
    /// ```no_run
    /// # fn example(editor: &mut feramiko::LineEditor) {
    /// use feramiko::{Key, KeyAction};
    /// editor.register_key(Key::Function(1), |_, _| KeyAction::Show("There is no help.".to_owned()));
    /// # }
    /// ```
    pub fn register_key(&mut self, key: Key, hook: impl FnMut(&str, &str) -> KeyAction + Send + 'static) {
        self.editor.hook(key, Some(Box::new(hook)));
    }

    /// Lets a key do what it usually does.
    pub fn unregister_key(&mut self, key: Key) {
        self.editor.hook(key, None);
    }

    /// Completes words with Tab: `completer` is told what stands before the word and the word, and names what it
    /// may become. Without one, Tab is a space.
    ///
    /// ```no_run
    /// # fn example(editor: &mut feramiko::LineEditor) {
    /// editor.set_completer(|_, word| {
    ///     ["help", "quit"].iter().filter(|known| known.starts_with(word)).map(|known| known.to_string()).collect()
    /// });
    /// # }
    /// ```
    pub fn set_completer(&mut self, completer: impl FnMut(&str, &str) -> Vec<String> + Send + 'static) {
        self.editor.complete_with(Some(Box::new(completer)));
    }

    /// A handle by which other threads write to this terminal.
    #[must_use]
    pub fn writer(&self) -> LineEditorWriter {
        LineEditorWriter { messages: Arc::clone(&self.messages), waker: self.poll.waker() }
    }

    fn read(&mut self, prompt: &str, secret: bool) -> io::Result<Typed> {
        let mut out = Vec::new();
        // What came while no line was read; an interrupt meant what was done then.
        self.happened(&mut out);
        self.editor.show(&self.messages.take().0, &mut out);
        self.editor.begin(prompt, secret, &mut out);
        let mut deadline = self.deadline();
        let mut waited = Waited::Woken;
        loop {
            let interrupted = self.happened(&mut out);
            let (messages, closed) = self.messages.take();
            self.editor.show(&messages, &mut out);
            let done = if waited == Waited::End || closed {
                Ok(Some(self.editor.end(&mut out)))
            } else if interrupted {
                Ok(Some(self.editor.interrupt(&mut out)))
            } else {
                self.editor.step(&mut out)
            };
            let written = self.channel.write_all(&out);
            out.clear();
            match done.map_err(too_long)? {
                // Who ended the input may have gone.
                Some(line) if waited == Waited::End => return Ok(line),
                Some(line) => return written.map(|()| line),
                None => written?,
            }
            waited = match self.wait(deadline) {
                Ok(waited) => waited,
                Err(error) => {
                    // What is written next stands below the line. A broken connection takes nothing.
                    let _ = self.editor.end(&mut out);
                    let _ = self.channel.write_all(&out);
                    return Err(error);
                }
            };
            if waited == Waited::Input {
                deadline = self.deadline();
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.timeout.and_then(|timeout| Instant::now().checked_add(timeout))
    }

    /// Waits for input, which is fed to the editor, and for messages and events.
    fn wait(&mut self, deadline: Option<Instant>) -> io::Result<Waited> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let ready = self.poll.readable(left).first().map(|(_, ready)| *ready).unwrap_or_default();
            let mut piece = Zeroizing::new([0; PIECE]);
            if ready.readable {
                let count = self.channel.read(&mut *piece)?;
                self.editor.feed(piece.get(..count).unwrap_or_default());
                return Ok(if count > 0 { Waited::Input } else { Waited::End });
            }
            if !ready.stderr_readable {
                let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                return if over { Err(Error::Timeout(Phase::Read).into()) } else { Ok(Waited::Woken) };
            }
            // A client has no such stream; what it sends there all the same is dropped.
            let _ = self.channel.stderr().read(&mut *piece)?;
        }
    }

    /// Takes the events that have come; true when one of them is an interrupt.
    fn happened(&mut self, out: &mut Vec<u8>) -> bool {
        let (mut interrupted, mut resized) = (false, None);
        while let Some(event) = self.events.try_recv() {
            match event {
                SessionEvent::Resize { size, .. } => resized = Some(size),
                SessionEvent::Signal(name) => interrupted |= name == "INT",
                SessionEvent::Break(_) => interrupted = true,
            }
        }
        resized.into_iter().for_each(|size| self.editor.resize(size, out));
        interrupted
    }
}

fn too_long(error: TooLong) -> io::Error {
    let limit = u64::try_from(error.limit).unwrap_or(u64::MAX);
    Error::Limit { which: "max_line", limit }.into()
}

/// What a wait led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Input,
    End,
    Woken,
}

/// Writes to the session, with the ends of lines that its terminal needs. A prompt belongs to
/// [`read_line`](LineEditor::read_line): what is written before without an end of line is given one.
impl Write for LineEditor {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let mut out = Vec::new();
        self.editor.print(buf, &mut out);
        self.channel.write_all(&out)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.channel.flush()
    }
}

impl Drop for LineEditor {
    fn drop(&mut self) {
        self.messages.0.lock().closed = true;
    }
}

/// Messages that wait for the thread that reads lines. Taken by it and by who leaves one, for a copy.
#[derive(Debug, Default)]
struct Messages(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    closed: bool,
}

impl Messages {
    /// What waits, and whether it is the last.
    fn take(&self) -> (Vec<u8>, bool) {
        let mut waiting = self.0.lock();
        (std::mem::take(&mut waiting.text), waiting.closed)
    }
}

/// Writes to the terminal of a [`LineEditor`] from other threads, and never waits for it.
///
/// ```no_run
/// # fn example(editor: &feramiko::LineEditor) {
/// let writer = editor.writer();
/// std::thread::spawn(move || writer.show("somebody has entered"));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct LineEditorWriter {
    messages: Arc<Messages>,
    waker: Waker,
}

impl LineEditorWriter {
    /// Shows lines above the one that is being typed, or before the next one is read. Lines that were typed in a
    /// line editor hold no control characters; text from elsewhere may.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`](io::ErrorKind::WouldBlock) when 64 KiB wait to be shown: the message is not
    /// taken. [`ErrorKind::BrokenPipe`](io::ErrorKind::BrokenPipe) when the editor is gone or closed.
    pub fn show(&self, text: &str) -> io::Result<()> {
        let mut waiting = self.messages.0.lock();
        if waiting.closed {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the session has ended"));
        }
        if waiting.text.len().saturating_add(text.len()) >= WAITING {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "the session shows no messages; try later",
            ));
        }
        waiting.text.extend_from_slice(text.as_bytes());
        if !text.ends_with('\n') {
            waiting.text.push(b'\n');
        }
        drop(waiting);
        self.waker.wake();
        Ok(())
    }

    /// Ends the reading: what waits is shown, then the line that is read, and every further one, is
    /// [`Line::End`]; without a terminal, after the line that was begun.
    pub fn close(&self) {
        self.messages.0.lock().closed = true;
        self.waker.wake();
    }
}
