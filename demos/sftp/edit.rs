//! A line typed at a terminal, with history and completion. Lines are bytes: names need not be UTF-8.

use std::io::{self, Read, Write};

use rustix::process::{Signal, getpid, kill_process};

use crate::complete::Completion;
use crate::listing::width;
use crate::messages::shown;
use crate::support::terminal::{Mode, with_signals};

/// As OpenSSH: so many lines are remembered.
const REMEMBERED: usize = 100;
/// What an escape sequence of a key has at most.
const LONGEST_KEY: usize = 8;

/// What the user has typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    Line(Vec<u8>),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    End,
}

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Insert(u8),
    Enter,
    Interrupt,
    End,
    Suspend,
    Tab,
    Left,
    Right,
    WordLeft,
    WordRight,
    Home,
    ToEnd,
    Up,
    Down,
    Backspace,
    Delete,
    KillWord,
    KillBefore,
    KillAfter,
    Clear,
    Nothing,
}

pub(crate) struct Editor {
    prompt: &'static str,
    history: Vec<Vec<u8>>,
}

/// A line that is being typed.
#[derive(Debug, Default)]
struct Draft {
    line: Vec<u8>,
    cursor: usize,
    /// Which line of the history is shown; beyond its end, the new one.
    shown: usize,
    /// The new one, while another is shown.
    kept: Vec<u8>,
}

type Completer<'a> = dyn FnMut(&[u8], &[u8]) -> Completion + 'a;

impl Editor {
    pub(crate) fn new(prompt: &'static str) -> Self {
        Self { prompt, history: Vec::new() }
    }

    /// Reads a line from the terminal.
    pub(crate) fn read(&mut self, completer: &mut Completer<'_>) -> io::Result<Typed> {
        let _mode = Mode::raw(io::stdin())?;
        let mut keys = Keyboard;
        let mut draft = Draft { shown: self.history.len(), ..Draft::default() };
        loop {
            if !draft.in_a_letter() {
                self.draw(&draft)?;
            }
            let typed = match key(&mut keys)? {
                Key::Enter => Typed::Line(std::mem::take(&mut draft.line)),
                Key::Interrupt => Typed::Interrupt,
                Key::End if draft.line.is_empty() => Typed::End,
                Key::End => {
                    draft.delete();
                    continue;
                }
                Key::Suspend => {
                    let _ = kill_process(getpid(), Signal::TSTP);
                    continue;
                }
                Key::Tab => {
                    self.complete(&mut draft, completer)?;
                    continue;
                }
                Key::Clear => {
                    put(b"\x1b[H\x1b[2J")?;
                    continue;
                }
                other => {
                    draft.press(other, &self.history);
                    continue;
                }
            };
            if typed != Typed::End {
                draft.cursor = draft.line.len();
                put(b"\r\n")?;
            }
            if let Typed::Line(line) = &typed {
                self.remember(line);
            }
            return Ok(typed);
        }
    }

    fn remember(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() || self.history.last().is_some_and(|last| last == line) {
            return;
        }
        self.history.push(line.to_vec());
        if self.history.len() > REMEMBERED {
            self.history.remove(0);
        }
    }

    fn complete(&self, draft: &mut Draft, completer: &mut Completer<'_>) -> io::Result<()> {
        let (before, after) = draft.line.split_at(draft.cursor);
        let Completion { insert, show } = with_signals(|| completer(before, after));
        if insert.is_empty() && show.is_empty() {
            return put(b"\x07");
        }
        for byte in insert {
            draft.insert(byte);
        }
        if show.is_empty() { Ok(()) } else { put(&[b"\r\n", &show[..]].concat()) }
    }

    /// Draws the line anew, as much of it as the terminal is wide.
    fn draw(&self, draft: &Draft) -> io::Result<()> {
        let (before, after) = draft.line.split_at(draft.cursor);
        let (before, after) = (cells(before), cells(after));
        let room = width().saturating_sub(self.prompt.len() + 1).max(8);
        let taken: usize = before.iter().map(|(_, width)| width).sum();
        // What is left of the window is not seen.
        let mut hidden = taken.saturating_sub(room);
        let mut column = taken;
        let mut out = format!("\r{}", self.prompt).into_bytes();
        let mut used = 0;
        for (text, wide) in &before {
            if hidden > 0 {
                hidden = hidden.saturating_sub(*wide);
                column -= wide;
                continue;
            }
            out.extend_from_slice(text);
            used += wide;
        }
        for (text, wide) in &after {
            if used + wide > room {
                break;
            }
            out.extend_from_slice(text);
            used += wide;
        }
        out.extend_from_slice(b"\x1b[K");
        let column = self.prompt.len() + column;
        out.extend_from_slice(format!("\r\x1b[{column}C").as_bytes());
        put(&out)
    }
}

/// Standard input without a buffer: what is typed ahead may be for a program that is started next.
struct Keyboard;

impl Read for Keyboard {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(io::stdin(), buffer)?)
    }
}

fn put(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// What a terminal shows for each letter, and how wide that is.
fn cells(bytes: &[u8]) -> Vec<(Vec<u8>, usize)> {
    let mut cells = Vec::new();
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let text = shown(letter.encode_utf8(&mut buffer).as_bytes());
            let text = if matches!(letter, '\t' | '\r' | '\n') { b" ".to_vec() } else { text };
            // What is escaped is as wide as its escape.
            let escaped = text.first() == Some(&b'\\') && letter != '\\';
            let width = if escaped { text.len() } else { letter_width(letter) };
            cells.push((text, width));
        }
        cells.extend(chunk.invalid().iter().map(|byte| (shown(&[*byte]), 4)));
    }
    cells
}

/// How many columns a letter takes: two in the scripts of East Asia and for pictures, none for marks on others.
fn letter_width(letter: char) -> usize {
    match u32::from(letter) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff => 2,
        0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

impl Draft {
    fn insert(&mut self, byte: u8) {
        self.line.insert(self.cursor, byte);
        self.cursor += 1;
    }

    /// Whether more bytes of the letter before the cursor are to come.
    fn in_a_letter(&self) -> bool {
        let text = &self.line[..self.cursor];
        std::str::from_utf8(text).is_err_and(|error| error.error_len().is_none())
    }

    /// Where the letter before the cursor begins.
    fn before(&self) -> usize {
        let mut at = self.cursor.saturating_sub(1);
        while at > 0 && self.line[at] & 0xc0 == 0x80 {
            at -= 1;
        }
        at
    }

    /// Where the letter at the cursor ends.
    fn after(&self) -> usize {
        let mut at = (self.cursor + 1).min(self.line.len());
        while at < self.line.len() && self.line[at] & 0xc0 == 0x80 {
            at += 1;
        }
        at
    }

    fn word_before(&self) -> usize {
        let text = &self.line[..self.cursor];
        let end = text.iter().rposition(|byte| *byte != b' ').map_or(0, |at| at + 1);
        text[..end].iter().rposition(|byte| *byte == b' ').map_or(0, |at| at + 1)
    }

    fn word_after(&self) -> usize {
        let rest = &self.line[self.cursor..];
        let begin = rest.iter().position(|byte| *byte != b' ').unwrap_or(rest.len());
        let length = rest[begin..].iter().position(|byte| *byte == b' ').unwrap_or(rest.len() - begin);
        self.cursor + begin + length
    }

    fn delete(&mut self) {
        self.line.drain(self.cursor..self.after());
    }

    fn press(&mut self, key: Key, history: &[Vec<u8>]) {
        match key {
            Key::Insert(byte) => self.insert(byte),
            Key::Left => self.cursor = self.before(),
            Key::Right => self.cursor = self.after(),
            Key::WordLeft => self.cursor = self.word_before(),
            Key::WordRight => self.cursor = self.word_after(),
            Key::Home => self.cursor = 0,
            Key::ToEnd => self.cursor = self.line.len(),
            Key::Delete => self.delete(),
            Key::Backspace => self.cut(self.before()),
            Key::KillWord => self.cut(self.word_before()),
            Key::KillBefore => self.cut(0),
            Key::KillAfter => self.line.truncate(self.cursor),
            Key::Up => self.recall(self.shown.saturating_sub(1), history),
            Key::Down => self.recall((self.shown + 1).min(history.len()), history),
            _ => {}
        }
    }

    /// Takes away what is between there and the cursor.
    fn cut(&mut self, from: usize) {
        self.line.drain(from..self.cursor);
        self.cursor = from;
    }

    fn recall(&mut self, which: usize, history: &[Vec<u8>]) {
        if which == self.shown {
            return;
        }
        if self.shown == history.len() {
            self.kept = std::mem::take(&mut self.line);
        }
        self.shown = which;
        self.line = history.get(which).unwrap_or(&self.kept).clone();
        self.cursor = self.line.len();
    }
}

/// Reads a key.
fn key(keys: &mut impl Read) -> io::Result<Key> {
    let Some(byte) = next(keys)? else { return Ok(Key::End) };
    Ok(match byte {
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x01 => Key::Home,
        0x02 => Key::Left,
        0x03 => Key::Interrupt,
        0x04 => Key::End,
        0x05 => Key::ToEnd,
        0x06 => Key::Right,
        0x08 | 0x7f => Key::Backspace,
        0x0b => Key::KillAfter,
        0x0c => Key::Clear,
        0x0e => Key::Down,
        0x10 => Key::Up,
        0x15 => Key::KillBefore,
        0x17 => Key::KillWord,
        0x1a => Key::Suspend,
        0x1b => escape(keys)?,
        0..0x20 => Key::Nothing,
        byte => Key::Insert(byte),
    })
}

fn next(keys: &mut impl Read) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        match keys.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The rest of a key that begins with ESC.
fn escape(keys: &mut impl Read) -> io::Result<Key> {
    match next(keys)? {
        Some(b'b') => return Ok(Key::WordLeft),
        Some(b'f') => return Ok(Key::WordRight),
        Some(0x7f) => return Ok(Key::KillWord),
        Some(b'[' | b'O') => {}
        _ => return Ok(Key::Nothing),
    }
    let mut sequence = Vec::new();
    while let Some(byte) = next(keys)? {
        sequence.push(byte);
        if (0x40..0x7f).contains(&byte) || sequence.len() >= LONGEST_KEY {
            break;
        }
    }
    Ok(match sequence.as_slice() {
        b"A" => Key::Up,
        b"B" => Key::Down,
        b"C" => Key::Right,
        b"D" => Key::Left,
        b"1;5C" | b"1;3C" => Key::WordRight,
        b"1;5D" | b"1;3D" => Key::WordLeft,
        b"H" | b"1~" | b"7~" => Key::Home,
        b"F" | b"4~" | b"8~" => Key::ToEnd,
        b"3~" => Key::Delete,
        _ => Key::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of a line after these keys.
    fn typed(mut bytes: &[u8], history: &[&str]) -> (String, usize) {
        let history: Vec<Vec<u8>> = history.iter().map(|line| line.as_bytes().to_vec()).collect();
        let mut draft = Draft { shown: history.len(), ..Draft::default() };
        while !bytes.is_empty() {
            let key = key(&mut bytes).unwrap();
            draft.press(key, &history);
        }
        (String::from_utf8_lossy(&draft.line).into_owned(), draft.cursor)
    }

    #[test]
    fn keys_edit_the_line() {
        for (keys, line, cursor) in [
            (&b"abc"[..], "abc", 3),
            (b"abc\x7f", "ab", 2),
            (b"abc\x01x", "xabc", 1),
            (b"abc\x1b[D\x1b[D\x1b[3~", "ac", 1),
            (b"a\xc3\xa4\x7fb", "ab", 2),
            (b"a\xc3\xa4\x02\x02\x06x", "ax\u{e4}", 2),
            (b"one two\x17", "one ", 4),
            (b"one two\x1b[1;5D\x0b", "one ", 4),
            (b"one two\x15x", "x", 1),
            (b"one\x1b[H\x1bf!", "one!", 4),
            (b"\x1b[99;99;99;99;99Xa", ";99;99Xa", 8),
        ] {
            assert_eq!(typed(keys, &[]), (line.to_owned(), cursor), "{}", String::from_utf8_lossy(keys));
        }
    }

    #[test]
    fn history_comes_back_and_the_new_line_too() {
        let history = ["first", "second"];
        assert_eq!(typed(b"x\x10", &history).0, "second");
        assert_eq!(typed(b"x\x1b[A\x1b[A\x1b[A", &history).0, "first");
        assert_eq!(typed(b"x\x10\x10\x0e\x0e", &history).0, "x");
        let mut editor = Editor::new("> ");
        for line in ["a", "a", "  ", "b"] {
            editor.remember(line.as_bytes());
        }
        assert_eq!(editor.history, [b"a", b"b"]);
    }

    #[test]
    fn letters_have_widths() {
        let widths: Vec<usize> = cells("a\u{1b}\u{301}".as_bytes()).iter().map(|(_, width)| *width).collect();
        assert_eq!(widths[..2], [1, 4]);
        assert_eq!((letter_width('字'), letter_width('e'), letter_width('\u{301}')), (2, 1, 0));
        assert_eq!(cells(b"\xff"), [(b"\\377".to_vec(), 4)]);
    }
}
