//! What is typed into a line editor, and streams that are read as text.

use std::io::{self, Read};

use super::Input;
use crate::editor::{Editor, Key, KeyAction, Line, LineEditorOptions, Typed};
use crate::text::{ByteReader, Encoding, TextReader};

/// Lines that an editor takes in this target, in bytes.
const MAX_LINE: usize = 64;

/// Whatever is typed, a line is text within its bounds, and nothing but the editor's own sequences is written.
pub fn line_editor(data: &[u8]) {
    let mut input = Input(data);
    let terminal =
        (input.byte() % 4 > 0).then(|| (u32::from(input.byte() % 40), u32::from(input.byte() % 8)));
    let mut editor = Editor::new(LineEditorOptions::new().max_line(MAX_LINE).history(4), terminal);
    editor.complete_with(Some(Box::new(|before, word| {
        vec![format!("{word}one"), format!("{word}other"), before.to_owned(), "\x1b[2J".to_owned()]
    })));
    editor.hook(
        Key::Function(1),
        Some(Box::new(|before, after| KeyAction::Insert(format!("{after}\n{before}")))),
    );
    editor.hook(
        Key::Function(2),
        Some(Box::new(|before, after| KeyAction::Replace {
            before: after.to_owned(),
            after: before.to_owned(),
        })),
    );
    let mut out = Vec::new();
    while !input.is_empty() {
        let step = input.byte();
        editor.begin("> ", step.is_multiple_of(16), &mut out);
        match step % 8 {
            0 => {
                let size = (u32::from(input.byte()), u32::from(input.byte()));
                editor.resize(size, &mut out);
            }
            1 => editor.show(b"a message\n", &mut out),
            2 => check_line(&editor.interrupt(&mut out)),
            3 => check_line(&editor.end(&mut out)),
            _ => {
                editor.feed(input.piece(256));
                while let Ok(Some(line)) = editor.step(&mut out) {
                    check_line(&line);
                    editor.begin("> ", false, &mut out);
                }
            }
        }
        check_shown(&out, terminal.is_some());
        out.clear();
    }
    assert!(editor.history().count() <= 4);
}

fn check_line(line: &Typed) {
    if let Line::Text(text) = line {
        assert!(text.len() <= MAX_LINE && !text.chars().any(char::is_control));
    }
}

/// Of control characters a terminal gets CR, LF, BS, BEL, and sequences that move and erase.
fn check_shown(out: &[u8], terminal: bool) {
    let text = std::str::from_utf8(out).unwrap_or("\0");
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\x1b' && terminal {
            assert!(rest.next() == Some('['));
            let last = rest.by_ref().find(|c| !c.is_ascii_digit());
            assert!(last.is_some_and(|last| "ACHJK".contains(last)));
        } else {
            assert!(!c.is_control() || c == '\n' || terminal && "\r\x08\x07".contains(c));
        }
    }
}

/// A stream in pieces of a size.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.1.min(buf.len()).min(self.0.len());
        let (now, later) = self.0.split_at(size);
        self.0 = later;
        buf.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
        Ok(size)
    }
}

/// What is read does not depend on the pieces it comes in, and nothing is lost before an error.
pub fn text(data: &[u8]) {
    let mut input = Input(data);
    let size = usize::from(input.byte() % 8).saturating_add(1);
    let encoding = match input.byte() % 4 {
        0 => Encoding::named("shift_jis"),
        1 => Encoding::named("iso-2022-jp"),
        2 => Encoding::named("utf-16le"),
        _ => Ok(Encoding::UTF_8),
    };
    let encoding = encoding.unwrap_or(Encoding::UTF_8);
    let patterns = [input.piece(4), input.piece(4), input.piece(4)];
    let whole = until(input.0, usize::MAX, &patterns);
    assert!(whole == until(input.0, size, &patterns));
    for lossy in [false, true] {
        let whole = lines(input.0, usize::MAX, encoding, lossy);
        assert!(whole == lines(input.0, size, encoding, lossy));
        assert!(!lossy || whole.1);
    }
}

/// What comes before each match, which one it is, and the rest.
fn until(bytes: &[u8], size: usize, patterns: &[&[u8]]) -> (Vec<(Vec<u8>, usize)>, Vec<u8>) {
    let mut reader = ByteReader::new(Pieces(bytes, size));
    let mut found = Vec::new();
    while let Ok(until) = reader.read_until(patterns) {
        found.push((until.before, until.which));
    }
    let mut rest = Vec::new();
    assert!(reader.read_to_end(&mut rest).is_ok());
    (found, rest)
}

/// The lines, and whether all of them are text.
fn lines(bytes: &[u8], size: usize, encoding: Encoding, lossy: bool) -> (Vec<String>, bool) {
    let reader = TextReader::new(Pieces(bytes, size)).encoding(encoding);
    let mut reader = if lossy { reader.lossy() } else { reader };
    let mut lines: Vec<_> = reader.lines().collect();
    let last = lines.pop_if(|line| line.is_err());
    (lines.into_iter().flatten().chain([reader.take_buffered()]).collect(), last.is_none())
}
