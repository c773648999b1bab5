//! The line editor: what a terminal sends comes in, bytes for the terminal and lines go out. The keys are those
//! of readline's emacs mode.
//!
//! Pure: no channel, no thread, no clock; `server/line_editor.rs` joins it to a session. No control character that
//! is typed or pasted gets into a line, and none is shown.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod complete;
mod draft;
mod history;
mod hooks;
mod keys;
mod newline;
mod screen;
mod search;
#[cfg(test)]
mod tests;

use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use draft::{Draft, Word};
use history::History;
use hooks::Hooks;
pub use hooks::KeyAction;
pub(crate) use hooks::{Completer, KeyHook};
pub use keys::Key;
use keys::Keys;
use newline::Newlines;
use screen::Screen;
use search::Search;

/// As AsyncSSH's editor: enough for what somebody types, a few screens of a terminal.
const MAX_LINE: usize = 1024;
/// What a line may be allowed at most: all of a secret's room is taken at once, for the line and behind the cursor.
const LARGEST_LINE: usize = 1024 * 1024;
/// Lines that are remembered: as many as OpenSSH's `sftp` does. Few enough that whoever searches them with every
/// key keeps no processor busy.
const HISTORY: usize = 100;

/// What reading a line led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<T = String> {
    /// A line, without its end. Holds no control characters.
    Text(T),
    /// `^C`, or the signal INT.
    Interrupted,
    /// `^D` on an empty line, or the end of input. After the key one may read on.
    End,
}

/// A line that may be a secret.
pub(crate) type Typed = Line<Zeroizing<String>>;

/// How a line editor behaves.
#[derive(Debug, Clone)]
pub struct LineEditorOptions {
    max_line: usize,
    history: usize,
}

impl Default for LineEditorOptions {
    fn default() -> Self {
        Self { max_line: MAX_LINE, history: HISTORY }
    }
}

impl LineEditorOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes that a line may have in UTF-8; 1024 unless told otherwise, and 1 MiB at most. A terminal
    /// rings for what is typed beyond; without a terminal a longer line is an error.
    #[must_use]
    pub fn max_line(mut self, bytes: usize) -> Self {
        self.max_line = bytes.min(LARGEST_LINE);
        self
    }

    /// How many lines are remembered; 100 unless told otherwise, none with 0.
    #[must_use]
    pub fn history(mut self, lines: usize) -> Self {
        self.history = lines;
        self
    }
}

/// A line without a terminal is longer than it may be; the rest of it is passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong {
    pub(crate) limit: usize,
}

/// A line that is being read.
struct Reading {
    prompt: String,
    draft: Draft,
    /// Neither shown nor remembered.
    secret: bool,
    /// Which line of the history is shown; behind the last, the new one.
    shown: usize,
    /// The new one, while another is shown.
    kept: String,
    search: Option<Search>,
    /// The last key was a Tab that completed nothing.
    tabbed: bool,
    ring: bool,
}

/// The editor of one terminal, or of input that comes from none.
pub(crate) struct Editor {
    options: LineEditorOptions,
    keys: Keys,
    /// What came and was not looked at yet: several lines may come at once, and passwords among them.
    input: Zeroizing<Vec<u8>>,
    taken: usize,
    history: History,
    killed: String,
    hooks: Hooks,
    newlines: Newlines,
    /// None without a terminal.
    screen: Option<Screen>,
    reading: Option<Reading>,
    /// The rest of a line that was too long is still to come.
    passing_over: bool,
}

impl Editor {
    /// An editor for a terminal of that many columns and rows; without, lines are only taken apart.
    pub(crate) fn new(options: LineEditorOptions, terminal: Option<(u32, u32)>) -> Self {
        Self {
            keys: Keys::default(),
            input: Zeroizing::default(),
            taken: 0,
            history: History::new(options.history),
            killed: String::new(),
            hooks: Hooks::default(),
            newlines: Newlines::default(),
            screen: terminal.map(Screen::new),
            reading: None,
            passing_over: false,
            options,
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.screen.is_some()
    }

    pub(crate) fn history(&self) -> impl Iterator<Item = &str> {
        self.history.lines()
    }

    pub(crate) fn remember(&mut self, line: &str) {
        let line: String = line.chars().filter(|c| draft::accepts(*c)).collect();
        self.history.add(&line);
    }

    pub(crate) fn hook(&mut self, key: Key, hook: Option<KeyHook>) {
        self.hooks.set(key, hook);
    }

    pub(crate) fn complete_with(&mut self, completer: Option<Completer>) {
        self.hooks.completer = completer;
    }

    /// Begins to read a line, at the terminal's left edge. Of a prompt of several lines the last one is drawn
    /// again with what is typed.
    pub(crate) fn begin(&mut self, prompt: &str, secret: bool, out: &mut Vec<u8>) {
        if self.screen.is_some() && self.newlines.within_line() {
            self.print(b"\n", out);
        }
        let (above, prompt) = prompt.rsplit_once('\n').unwrap_or(("", prompt));
        if !above.is_empty() {
            self.print(above.as_bytes(), out);
            self.print(b"\n", out);
        }
        if self.screen.is_none() {
            self.print(prompt.as_bytes(), out);
        }
        self.reading = Some(Reading {
            prompt: prompt.to_owned(),
            draft: Draft::new(self.options.max_line, secret),
            secret,
            shown: self.history.len(),
            kept: String::new(),
            search: None,
            tabbed: false,
            ring: false,
        });
        self.draw(out);
    }

    /// Adds what was sent.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Goes on with what was fed, up to the end of the line; none when all of it is taken.
    pub(crate) fn step(&mut self, out: &mut Vec<u8>) -> Result<Option<Typed>, TooLong> {
        while let Some(byte) = self.input.get(self.taken).copied() {
            self.taken = self.taken.saturating_add(1);
            let [cut_off, key] = self.keys.feed(byte);
            for key in [cut_off, key].into_iter().flatten() {
                let done = if self.screen.is_some() { self.press(key, out) } else { self.plain(key)? };
                if done.is_some() {
                    return Ok(done);
                }
            }
        }
        self.input.zeroize();
        self.taken = 0;
        self.draw(out);
        Ok(None)
    }

    /// The input has ended: what a terminal has not entered is dropped.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) -> Typed {
        let text = match &mut self.reading {
            Some(reading) if self.screen.is_none() && !reading.draft.is_empty() => reading.draft.take(),
            _ => return self.leave(Line::End, b"", out),
        };
        self.leave(Line::Text(Zeroizing::new(text)), b"", out)
    }

    /// As `^C`.
    pub(crate) fn interrupt(&mut self, out: &mut Vec<u8>) -> Typed {
        self.leave(Line::Interrupted, b"^C", out)
    }

    /// The terminal has so many columns and rows now.
    pub(crate) fn resize(&mut self, size: (u32, u32), out: &mut Vec<u8>) {
        if let Some(screen) = &mut self.screen {
            screen.resize(size, out);
        }
        self.draw(out);
    }

    /// Shows whole lines above the one that is being typed.
    pub(crate) fn show(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        if let (Some(screen), Some(_)) = (&mut self.screen, &self.reading) {
            screen.erase(out);
        }
        self.print(text, out);
        if !text.ends_with(b"\n") {
            self.print(b"\n", out);
        }
        self.draw(out);
    }

    /// Text for the terminal while no line is read.
    pub(crate) fn print(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if self.screen.is_some() {
            self.newlines.convert(text, out);
        } else {
            out.extend_from_slice(text);
        }
    }

    fn draw(&mut self, out: &mut Vec<u8>) {
        let (Some(screen), Some(reading)) = (&mut self.screen, &mut self.reading) else { return };
        if std::mem::take(&mut reading.ring) {
            out.push(0x07);
        }
        let line = self.history.get(reading.search.as_ref().map_or(usize::MAX, Search::found));
        match (&reading.search, reading.secret) {
            (Some(search), _) => {
                let prompt = format!("(search) {}: ", search.text());
                screen.draw(&prompt, line.unwrap_or_default(), "", out);
            }
            (None, true) => screen.draw(&reading.prompt, "", "", out),
            (None, false) => {
                screen.draw(&reading.prompt, reading.draft.before(), reading.draft.after(), out);
            }
        }
    }

    /// Ends the reading; `mark` is shown behind the line, which stays as it is.
    fn leave(&mut self, line: Typed, mark: &[u8], out: &mut Vec<u8>) -> Typed {
        // The cursor goes below all of the line.
        self.reading.iter_mut().for_each(|reading| reading.draft.end());
        self.draw(out);
        if let (Some(screen), Some(_)) = (&mut self.screen, &self.reading) {
            out.extend_from_slice(mark);
            screen.leave(out);
        }
        self.reading = None;
        line
    }

    /// A key of input that comes from no terminal.
    fn plain(&mut self, key: Key) -> Result<Option<Typed>, TooLong> {
        let Some(reading) = &mut self.reading else { return Ok(None) };
        let fits = match key {
            Key::Enter if std::mem::take(&mut self.passing_over) => true,
            Key::Enter => {
                let line = Zeroizing::new(reading.draft.take());
                self.reading = None;
                return Ok(Some(Line::Text(line)));
            }
            _ if self.passing_over => true,
            Key::Char(c) => reading.draft.insert(c) || !draft::accepts(c),
            Key::Tab => reading.draft.insert(' '),
            _ => true,
        };
        if fits {
            return Ok(None);
        }
        self.passing_over = true;
        self.reading = None;
        Err(TooLong { limit: self.options.max_line })
    }

    /// A key of a terminal.
    fn press(&mut self, key: Key, out: &mut Vec<u8>) -> Option<Typed> {
        let reading = self.reading.as_mut()?;
        if let Some(search) = &mut reading.search {
            if search.press(key, &self.history) {
                return None;
            }
            let cancelled = key == Key::Ctrl('g');
            let found = self.history.get(search.found()).filter(|_| !cancelled).map(str::to_owned);
            reading.search = None;
            if let Some(line) = found {
                reading.draft.set(&line, "");
            }
            if cancelled {
                return None;
            }
        }
        if !reading.secret
            && let Some(action) = self.hooks.ask(key, reading.draft.before(), reading.draft.after())
        {
            return self.act(key, action, out);
        }
        self.usual(key, out)
    }

    /// What a hook wants.
    fn act(&mut self, key: Key, action: KeyAction, out: &mut Vec<u8>) -> Option<Typed> {
        let reading = self.reading.as_mut()?;
        match action {
            KeyAction::Usual => return self.usual(key, out),
            KeyAction::Nothing => {}
            KeyAction::Ring => reading.ring = true,
            KeyAction::Insert(text) => reading.ring |= !reading.draft.insert_all(&text),
            KeyAction::Replace { before, after } => reading.draft.set(&before, &after),
            KeyAction::Show(text) => self.show(text.as_bytes(), out),
            KeyAction::Enter => return self.usual(Key::Enter, out),
            KeyAction::Interrupt => return Some(self.interrupt(out)),
            KeyAction::End => return Some(self.leave(Line::End, b"", out)),
        }
        None
    }

    /// What a key does unless a hook says otherwise.
    fn usual(&mut self, key: Key, out: &mut Vec<u8>) -> Option<Typed> {
        let reading = self.reading.as_mut()?;
        let tabbed = std::mem::take(&mut reading.tabbed);
        match key {
            Key::Enter => return self.enter(out),
            Key::Ctrl('c') => return Some(self.interrupt(out)),
            Key::Ctrl('d') if reading.draft.is_empty() => return Some(self.leave(Line::End, b"", out)),
            Key::Ctrl('l') => self.screen.iter_mut().for_each(|screen| screen.clear(out)),
            Key::Tab => self.complete(tabbed, out),
            Key::Ctrl('r') if !reading.secret => {
                reading.search = Some(Search::new(self.history.len()));
            }
            Key::Up | Key::Ctrl('p') => {
                let wanted = reading.shown.checked_sub(1);
                self.recall(wanted);
            }
            Key::Down | Key::Ctrl('n') => {
                let wanted = reading.shown.checked_add(1);
                self.recall(wanted);
            }
            other => self.edit(other),
        }
        None
    }

    /// A key that changes the draft only.
    fn edit(&mut self, key: Key) {
        let Some(reading) = &mut self.reading else { return };
        let draft = &mut reading.draft;
        let mut killed = None;
        match key {
            Key::Char(c) => reading.ring |= !draft.insert(c),
            Key::Backspace => reading.ring |= !draft.backspace(),
            Key::Delete | Key::Ctrl('d') => reading.ring |= !draft.delete(),
            Key::Left | Key::Ctrl('b') => draft.left(),
            Key::Right | Key::Ctrl('f') => draft.right(),
            Key::WordLeft | Key::Alt('b') => draft.word_left(),
            Key::WordRight | Key::Alt('f') => draft.word_right(),
            Key::Home | Key::Ctrl('a') => draft.home(),
            Key::End | Key::Ctrl('e') => draft.end(),
            Key::Ctrl('t') => reading.ring |= !draft.transpose(),
            Key::Ctrl('y') => reading.ring |= !draft.insert_all(&self.killed),
            Key::Ctrl('u') => killed = Some(draft.kill_before()),
            Key::Ctrl('k') => killed = Some(draft.kill_after()),
            Key::Ctrl('w') => killed = Some(draft.kill_word_before(Word::Spaces)),
            Key::AltBackspace => killed = Some(draft.kill_word_before(Word::Letters)),
            Key::Alt('d') => killed = Some(draft.kill_word_after()),
            _ => {}
        }
        if let Some(killed) = killed.filter(|killed| !reading.secret && !killed.is_empty()) {
            self.killed.clone_from(&killed);
        }
    }

    fn enter(&mut self, out: &mut Vec<u8>) -> Option<Typed> {
        let reading = self.reading.as_mut()?;
        reading.draft.end();
        if !reading.secret {
            self.history.add(reading.draft.before());
        }
        self.draw(out);
        let line = Zeroizing::new(self.reading.as_mut()?.draft.take());
        self.screen.iter_mut().for_each(|screen| screen.leave(out));
        self.reading = None;
        Some(Line::Text(line))
    }

    /// Shows another line of the history.
    fn recall(&mut self, wanted: Option<usize>) {
        let Some(reading) = self.reading.as_mut().filter(|reading| !reading.secret) else { return };
        let Some(wanted) = wanted.filter(|wanted| *wanted <= self.history.len()) else {
            reading.ring = true;
            return;
        };
        if reading.shown >= self.history.len() {
            reading.kept = reading.draft.take();
        }
        reading.shown = wanted;
        let line = self.history.get(wanted).unwrap_or(&reading.kept);
        reading.draft.set(line, "");
    }
}

/// What is typed may be a password.
impl fmt::Debug for Editor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editor").field("options", &self.options).finish_non_exhaustive()
    }
}
