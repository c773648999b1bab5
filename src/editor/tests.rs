//! The editor with a terminal in memory, and beside a plain model of a line.

#[path = "tests/model.rs"]
mod model;
#[path = "tests/terminal.rs"]
mod terminal;

use super::keys::{Key, Keys};
use super::{Editor, KeyAction, Line, LineEditorOptions, TooLong};
use terminal::Terminal;

/// An editor, and the terminal that it writes to.
struct Desk {
    editor: Editor,
    terminal: Terminal,
    out: Vec<u8>,
}

impl Desk {
    fn new(columns: usize, rows: usize) -> Self {
        Self::with(LineEditorOptions::new(), columns, rows)
    }

    fn with(options: LineEditorOptions, columns: usize, rows: usize) -> Self {
        let size = (u32::try_from(columns).unwrap(), u32::try_from(rows).unwrap());
        Self {
            editor: Editor::new(options, Some(size)),
            terminal: Terminal::new(columns, rows),
            out: Vec::new(),
        }
    }

    fn begin(&mut self, prompt: &str) {
        self.editor.begin(prompt, false, &mut self.out);
        self.shown();
    }

    /// Types; what came of it.
    fn types(&mut self, keys: impl AsRef<[u8]>) -> Option<Line> {
        self.editor.feed(keys.as_ref());
        let line = self.editor.step(&mut self.out).unwrap();
        self.shown();
        line.map(plain)
    }

    /// Reads a line that is typed so.
    fn line(&mut self, keys: impl AsRef<[u8]>) -> Option<Line> {
        self.begin("> ");
        self.types(keys)
    }

    fn show(&mut self, text: &str) {
        self.editor.show(text.as_bytes(), &mut self.out);
        self.shown();
    }

    /// Brings to the terminal what was written; how much it was.
    fn shown(&mut self) -> usize {
        self.terminal.write(&self.out);
        std::mem::take(&mut self.out).len()
    }
}

fn plain(line: super::Typed) -> Line {
    match line {
        Line::Text(text) => Line::Text(text.to_string()),
        Line::Interrupted => Line::Interrupted,
        Line::End => Line::End,
    }
}

fn text(line: &str) -> Option<Line> {
    Some(Line::Text(line.to_owned()))
}

fn keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Keys::default();
    bytes.iter().flat_map(|byte| keys.feed(*byte)).flatten().collect()
}

#[test]
fn terminals_send_keys_in_their_ways() {
    for (key, sent) in [
        (Key::Up, &[&b"\x1b[A"[..], b"\x1bOA", b"\x1b[1;2A"][..]),
        (Key::Down, &[b"\x1b[B", b"\x1bOB"]),
        (Key::Right, &[b"\x1b[C", b"\x1bOC"]),
        (Key::Left, &[b"\x1b[D", b"\x1bOD"]),
        (Key::WordRight, &[b"\x1b[1;5C", b"\x1b[1;3C", b"\x1bOc", b"\x1b\x1b[C"]),
        (Key::WordLeft, &[b"\x1b[1;5D", b"\x1b[1;3D", b"\x1bOd", b"\x1b\x1b[D"]),
        (Key::Home, &[b"\x1b[H", b"\x1bOH", b"\x1b[1~", b"\x1b[7~"]),
        (Key::End, &[b"\x1b[F", b"\x1bOF", b"\x1b[4~", b"\x1b[8~"]),
        (Key::Delete, &[b"\x1b[3~", b"\x1b[3;5~", b"\x1b[3^"]),
        (Key::Insert, &[b"\x1b[2~"]),
        (Key::PageUp, &[b"\x1b[5~"]),
        (Key::PageDown, &[b"\x1b[6~"]),
        (Key::BackTab, &[b"\x1b[Z"]),
        (Key::Backspace, &[b"\x7f", b"\x08"]),
        (Key::AltBackspace, &[b"\x1b\x7f"]),
        (Key::Enter, &[b"\r", b"\n", b"\r\n", b"\r\0", b"\x1bOM"]),
        (Key::Function(1), &[b"\x1bOP", b"\x1b[11~", b"\x1b[[A", b"\x1b[P"]),
        (Key::Function(4), &[b"\x1bOS", b"\x1b[14~", b"\x1b[[D", b"\x1b[1;5S"]),
        (Key::Function(12), &[b"\x1b[24~"]),
        (Key::Ctrl('a'), &[b"\x01"]),
        (Key::Ctrl('_'), &[b"\x1f"]),
        (Key::Alt('b'), &[b"\x1bb"]),
        (Key::Char('\u{5b57}'), &["\u{5b57}".as_bytes()]),
    ] {
        for sent in sent {
            assert_eq!(keys(sent), [key], "{}", sent.escape_ascii());
        }
    }
    assert_eq!(keys(b"\r\n\r\r\n\n").len(), 4);
}

#[test]
fn bytes_that_are_no_keys_do_little() {
    let bad = Key::Char(char::REPLACEMENT_CHARACTER);
    assert_eq!(keys(b"a\xffb"), [Key::Char('a'), bad, Key::Char('b')]);
    assert_eq!(keys(b"\xe5\xadx\xc0\xaf"), [bad, Key::Char('x'), bad, bad]);
    assert_eq!(keys(b"\xe5\xad\r"), [bad, Key::Enter]);
    assert_eq!(keys(b"\xed\xa0\x80"), [bad, bad, bad]);
    // C1 controls, which some terminals obey.
    assert_eq!(keys("\u{9b}31m".as_bytes()), keys(b"31m"));
    // A colour that the terminal tells, ended in both ways; a device's name.
    assert_eq!(keys(b"\x1b]11;rgb:0/0/0\x07a\x1b]0;x\x1b\\b\x1bP1$r0m\x1b\\c\x1b[?1;2cd").len(), 4);
    // Sequences without an end hold nothing up.
    let endless = [b"\x1b[".to_vec(), vec![b'1'; 100_000], b"\rx".to_vec()].concat();
    assert_eq!(keys(&endless), [Key::Enter, Key::Char('x')]);
    assert_eq!(keys(&vec![0x1b; 100_000]), []);
    let report = [&b"\x1b]"[..], &[b'x'; 300]].concat();
    assert_eq!(keys(&report).len(), 300 - 257);
}

#[test]
fn keys_edit_the_line() {
    for (typed, line) in [
        ("abc", "abc"),
        ("abc\x7f", "ab"),
        ("abc\x01x\x05y", "xabcy"),
        ("abc\x1b[D\x1b[D\x1b[3~", "ac"),
        ("abc\x02\x02\x04", "ac"),
        ("one two\x17x", "one x"),
        ("one two-three\x1b\x7fx", "one two-x"),
        ("one two\x1bb\x0b", "one "),
        ("one two\x1bb\x15", "two"),
        ("one two\x15\x19\x19", "one twoone two"),
        ("one\x1b[H\x1bf!", "one!"),
        ("one two\x01\x1bd", " two"),
        ("ab\x14", "ba"),
        ("abc\x02\x14", "acb"),
        ("a\x14", "a"),
        ("e\u{301}x\x7f\x7fy", "y"),
        ("\u{5b57}\u{5b57}\x02\x08x", "x\u{5b57}"),
        ("a\tb", "a b"),
        ("\x1b[31mred\x1b]0;title\x07", "red"),
        ("\u{202e}a\u{85}\u{2028}b", "ab"),
    ] {
        assert_eq!(Desk::new(80, 24).line(format!("{typed}\r")), text(line), "{typed:?}");
    }
}

#[test]
fn events_end_the_reading() {
    let mut desk = Desk::new(80, 24);
    assert_eq!(desk.line("some\x03"), Some(Line::Interrupted));
    assert_eq!(desk.line("\x04"), Some(Line::End));
    assert_eq!(desk.line("a\x02\x04\x04"), Some(Line::End));
    assert_eq!(desk.line("x"), None);
    assert_eq!(plain(desk.editor.end(&mut desk.out)), Line::End);
    assert_eq!(desk.terminal.text(), ["> some^C", ">", ">", "> x"]);
}

#[test]
fn lines_that_were_pasted_come_one_by_one() {
    let mut desk = Desk::new(80, 24);
    assert_eq!(desk.line("one\r\ntwo\nthree"), text("one"));
    assert_eq!(desk.line(""), text("two"));
    assert_eq!(desk.line(" and more\r"), text("three and more"));
    assert_eq!(desk.terminal.text(), ["> one", "> two", "> three and more"]);
}

#[test]
fn history_comes_back_and_the_new_line_too() {
    let mut desk = Desk::with(LineEditorOptions::new().history(3), 80, 24);
    for line in ["first", "second", "third", "third", "  ", "fourth"] {
        assert_eq!(desk.line(format!("{line}\r")), text(line));
    }
    assert_eq!(desk.editor.history().collect::<Vec<_>>(), ["second", "third", "fourth"]);
    assert_eq!(desk.line("new\x10\x1b[A\r"), text("third"));
    assert_eq!(desk.line("new\x10\x10\x0e\x0e!\r"), text("new!"));
    desk.terminal.bells = 0;
    assert_eq!(desk.line("\x0e"), None);
    assert_eq!(desk.terminal.bells, 1);
    desk.editor.remember("a\x1b[2Jb");
    assert_eq!(desk.editor.history().last(), Some("a[2Jb"));
}

#[test]
fn history_is_searched() {
    let mut desk = Desk::new(80, 24);
    for line in ["make test", "ls", "make all"] {
        desk.line(format!("{line}\r"));
    }
    desk.begin("> ");
    desk.types("typed\x12mak");
    assert_eq!(desk.terminal.text().last().unwrap(), "(search) mak: make all");
    desk.types("\x12");
    assert_eq!(desk.terminal.text().last().unwrap(), "(search) mak: make test");
    // What no line has is not taken; back over a letter the search begins anew.
    desk.types("Q\x7f\x7f");
    assert_eq!(desk.terminal.text().last().unwrap(), "(search) m: make all");
    assert_eq!(desk.types("\x12\x05!\r"), text("make test!"));
    assert_eq!(desk.line("typed\x12ls\x07\r"), text("typed"));
    assert_eq!(desk.line("typed\x12ls\x03"), Some(Line::Interrupted));
}

#[test]
fn a_password_is_neither_shown_nor_remembered() {
    let mut desk = Desk::new(80, 24);
    desk.editor.hook(Key::Char('o'), Some(Box::new(|_, _| panic!("no hook sees a password"))));
    desk.editor.complete_with(Some(Box::new(|_, _| panic!("nor does a completer"))));
    desk.editor.begin("Password: ", true, &mut desk.out);
    assert_eq!(desk.types("fox\x7fo\t\x17foo\x12\x10"), None);
    assert_eq!((desk.terminal.text(), desk.terminal.at), (vec!["Password:".to_owned()], (0, 10)));
    assert!(!format!("{:?}", desk.editor).contains("foo"));
    assert_eq!(desk.types("\r"), text("foo"));
    assert_eq!(desk.editor.history().count(), 0);
    desk.editor.hook(Key::Char('o'), None);
    // Nor is it in what `^Y` brings back.
    assert_eq!(desk.line("\x19\x10\r"), text(""));
}

#[test]
fn keys_may_be_an_applications() {
    let mut desk = Desk::new(80, 24);
    let mut hook = |key, action: KeyAction| desk.editor.hook(key, Some(Box::new(move |_, _| action.clone())));
    hook(Key::Function(1), KeyAction::Show("help".to_owned()));
    hook(Key::Function(2), KeyAction::Insert("in\x1bs".to_owned()));
    hook(Key::Function(3), KeyAction::Replace { before: "be".to_owned(), after: "af\nter".to_owned() });
    hook(Key::Function(4), KeyAction::Enter);
    hook(Key::Char('q'), KeyAction::Interrupt);
    hook(Key::Char('e'), KeyAction::End);
    hook(Key::Char('n'), KeyAction::Nothing);
    hook(Key::Char('u'), KeyAction::Usual);
    hook(Key::Char('r'), KeyAction::Ring);
    desk.editor.hook(
        Key::Char('?'),
        Some(Box::new(|before, after| KeyAction::Insert(format!("{}{}", before.len(), after.len())))),
    );
    assert_eq!(desk.line("nurx\x1bOQ\x1bOS"), text("uxins"));
    assert_eq!(desk.terminal.bells, 1);
    assert_eq!(desk.line("\x1bOR|\r"), text("be|after"));
    assert_eq!(desk.line("abc\x02?\r"), text("ab21c"));
    assert_eq!(desk.line("abq"), Some(Line::Interrupted));
    assert_eq!(desk.line("abe"), Some(Line::End));
    assert_eq!(desk.line("x\x1bOPy\r"), text("xy"));
    let shown = desk.terminal.text();
    assert_eq!(shown[shown.len() - 2..], ["help", "> xy"]);
    desk.editor.hook(Key::Char('q'), None);
    assert_eq!(desk.line("q\r"), text("q"));
}

#[test]
fn words_are_completed() {
    let mut desk = Desk::new(80, 24);
    desk.editor.complete_with(Some(Box::new(|before, word| {
        let known = ["read", "remove", "restore", "b\u{fc}cher"];
        known
            .iter()
            .filter(|known| before.is_empty() && known.starts_with(word))
            .map(ToString::to_string)
            .collect()
    })));
    assert_eq!(desk.line("rea\tall\r"), text("read all"));
    assert_eq!(desk.line("b\t\r"), text("b\u{fc}cher "));
    desk.terminal.bells = 0;
    assert_eq!(desk.line("r\t\r"), text("re"));
    assert_eq!(desk.line("read re\t\r"), text("read re"));
    desk.begin("> ");
    desk.types("re\t");
    assert_eq!(desk.terminal.bells, 2);
    desk.types("\t");
    let shown = desk.terminal.text();
    assert_eq!(shown[shown.len() - 2..], ["read  remove  restore", "> re"]);
    assert_eq!(desk.types("m\t\r"), text("remove "));
    // A candidate with control characters is none: it would be shown.
    let harmful = |_: &str, _: &str| vec!["one".to_owned(), "o\x1b[2Jther".to_owned()];
    desk.editor.complete_with(Some(Box::new(harmful)));
    assert_eq!(desk.line("o\t\r"), text("one "));
    // Of very many some are shown.
    let many = |_: &str, _: &str| (0..1000).map(|number| format!("{number:04}")).collect();
    desk.editor.complete_with(Some(Box::new(many)));
    desk.begin("> ");
    desk.types("\t\t\t");
    let shown = desk.terminal.text().concat();
    assert!(shown.contains("0099  (900 more)") && !shown.contains("0100"), "{shown}");
}

#[test]
fn messages_come_above_the_line() {
    let mut desk = Desk::new(10, 6);
    desk.begin("> ");
    desk.types("a long line that wraps\x02\x02");
    assert_eq!(desk.terminal.text(), ["> a long l", "ine that w", "raps"]);
    assert_eq!(desk.terminal.at, (2, 2));
    desk.show("one\ntwo");
    assert_eq!(desk.terminal.text(), ["one", "two", "> a long l", "ine that w", "raps"]);
    assert_eq!(desk.terminal.at, (4, 2));
    desk.show("three\n");
    desk.show("four\n");
    assert_eq!(desk.terminal.gone, ["one"]);
    assert_eq!(desk.terminal.text()[..3], ["two", "three", "four"]);
    assert_eq!(desk.types("!\r"), text("a long line that wra!ps"));
}

#[test]
fn a_resize_draws_anew() {
    let mut desk = Desk::new(10, 8);
    desk.show("before");
    desk.begin("> ");
    desk.types("0123456789abcdef");
    for columns in [20, 13, 5, 40, 2, 30] {
        desk.terminal.resize(columns);
        desk.editor.resize((u32::try_from(columns).unwrap(), 8), &mut desk.out);
        desk.shown();
    }
    assert_eq!(desk.terminal.text().last().unwrap(), "> 0123456789abcdef");
    desk.editor.resize((0, u32::MAX), &mut desk.out);
    desk.editor.resize((u32::MAX, 0), &mut desk.out);
    desk.shown();
    assert_eq!(desk.types("\r"), text("0123456789abcdef"));
}

#[test]
fn a_line_may_be_higher_than_the_terminal() {
    let mut desk = Desk::new(4, 3);
    desk.begin("> ");
    desk.types("abcdefghijklmnopq");
    assert_eq!(desk.terminal.text(), ["ghij", "klmn", "opq"]);
    desk.types("\x01");
    assert_eq!(desk.terminal.text(), ["> ab", "cdef", "ghij"]);
    assert_eq!(desk.types("X\r"), text("Xabcdefghijklmnopq"));
}

#[test]
fn a_prompt_may_have_colours() {
    let mut desk = Desk::new(10, 6);
    desk.editor.begin("\x1b[1;32mme\x1b[0m\x1b[2J> \x1b[m", false, &mut desk.out);
    assert_eq!(desk.out, b"\x1b[1;32mme\x1b[0m[2J> \x1b[m");
    desk.shown();
    desk.editor.feed(b"abc\x02\x02\x02x");
    assert_eq!(desk.editor.step(&mut desk.out), Ok(None));
    // What is typed takes no part in it.
    assert_eq!(desk.out, b"xab\r\nc\x1b[1A\r\x1b[8C");
    desk.shown();
    assert_eq!(desk.terminal.text(), ["me[2J> xab", "c"]);
    for prompt in ["\x1b[1;3", "\x1b[m", "\x1b", "\u{301}"] {
        desk.begin(prompt);
        desk.types("\u{301}\x7f\x03");
    }
}

#[test]
fn typing_writes_what_is_typed() {
    let mut desk = Desk::new(80, 24);
    desk.begin("> ");
    for key in ["a", "b", "\u{5b57}"] {
        desk.editor.feed(key.as_bytes());
        assert_eq!(desk.editor.step(&mut desk.out), Ok(None));
        assert_eq!(desk.out, key.as_bytes());
        desk.shown();
    }
    desk.types("\x02\x02");
    desk.editor.feed(b"x");
    assert_eq!(desk.editor.step(&mut desk.out), Ok(None));
    assert_eq!(desk.out, "xb\u{5b57}\r\x1b[4C".as_bytes());
}

#[test]
fn a_line_is_bounded() {
    let mut desk = Desk::with(LineEditorOptions::new().max_line(5), 80, 24);
    assert_eq!(desk.line("abcdefg"), None);
    assert_eq!(desk.terminal.bells, 1);
    assert_eq!(desk.types("\x7f\u{5b57}x\r"), text("abcdx"));
    // A password of any length has its room from the beginning, which is not without bounds either.
    let mut desk = Desk::with(LineEditorOptions::new().max_line(usize::MAX), 80, 24);
    desk.editor.begin("Password: ", true, &mut desk.out);
    assert_eq!(desk.types("foo\r"), text("foo"));
    // A megabyte is taken as fast as it is read, and shown as little as it fits.
    let mut desk = Desk::new(80, 24);
    desk.begin("> ");
    desk.editor.feed(&vec![b'x'; 1 << 20]);
    assert_eq!(desk.editor.step(&mut desk.out), Ok(None));
    assert!(desk.shown() < 2000);
    assert_eq!(desk.types("\r"), text(&"x".repeat(1024)));
}

#[test]
fn without_a_terminal_lines_come_as_they_are() {
    let mut editor = Editor::new(LineEditorOptions::new().max_line(8), None);
    let mut out = Vec::new();
    let mut read = |sent: &str| {
        editor.begin("> ", false, &mut out);
        editor.feed(sent.as_bytes());
        editor.step(&mut out).map(|line| line.map(plain))
    };
    assert_eq!(read("one\r\ntwo\nx\x1b[31m\x03\x04y\t\x7f\n"), Ok(text("one")));
    assert_eq!(read(""), Ok(text("two")));
    assert_eq!(read(""), Ok(text("xy ")));
    // The rest of a line that is too long does not become the next one.
    assert_eq!(read("0123456789 rm -rf"), Err(TooLong { limit: 8 }));
    assert_eq!(read("more of it"), Ok(None));
    assert_eq!(read("\nnext\n"), Ok(text("next")));
    assert_eq!(read("last"), Ok(None));
    assert_eq!(plain(editor.end(&mut out)), Line::Text("last".to_owned()));
    assert_eq!(out, b"> ".repeat(7));
    out.clear();
    editor.print(b"a\nb\r\n", &mut out);
    assert_eq!(out, b"a\nb\r\n");
}

#[test]
fn a_terminal_gets_both_ends_of_lines() {
    let mut desk = Desk::new(80, 24);
    for piece in [&b"a\nb\r"[..], b"\nc\r\n", b"\n"] {
        desk.editor.print(piece, &mut desk.out);
    }
    assert_eq!(desk.out, b"a\r\nb\r\nc\r\n\r\n");
    desk.out.clear();
    desk.begin("above\nand the \x1b[31mprompt> ");
    assert_eq!(desk.terminal.text(), ["above", "and the prompt>"]);
    // What was written without an end gets one: a line begins at the left edge.
    let mut desk = Desk::new(10, 24);
    desk.editor.print(b"Name: ", &mut desk.out);
    assert_eq!(desk.line("a long name\r"), text("a long name"));
    assert_eq!(desk.terminal.text(), ["Name:", "> a long n", "ame"]);
}
