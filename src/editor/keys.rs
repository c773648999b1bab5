//! What a terminal sends, byte by byte, as keys: UTF-8, C0 controls, and the escape sequences of xterm, the
//! VT series, rxvt and the Linux console.
//!
//! Pure. Knows no line. Whatever comes, one byte gives two keys at most and nothing grows with the input.

/// A key as a terminal tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Key {
    /// A character; one that is no control character. What is not UTF-8 is U+FFFD.
    Char(char),
    /// Control and a lower-case letter, or one of `@`, `\`, `]`, `^`, `_`.
    Ctrl(char),
    /// Alt, or Escape before, and a character.
    Alt(char),
    /// Return; a line feed and a pair of both count as one too.
    Enter,
    /// The tabulator.
    Tab,
    /// Shift and the tabulator.
    BackTab,
    /// Backspace: DEL or `^H`, which terminals do not agree on.
    Backspace,
    /// Alt and backspace.
    AltBackspace,
    /// Delete.
    Delete,
    /// Insert.
    Insert,
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Arrow left with Control or Alt.
    WordLeft,
    /// Arrow right with Control or Alt.
    WordRight,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// A function key: 1 to 12.
    Function(u8),
}

const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
/// The longest parameters that mean a key (`1;5`) and some more; of longer ones nothing is kept.
const PARAMETERS: usize = 8;
/// What a terminal answers to a question (a colour, its name) is shorter. Bounds what is passed over as one
/// when its end never comes.
const REPORT: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Ground,
    /// After ESC; `again` after two of them, which rxvt sends for Alt.
    Escape { again: bool },
    /// After `ESC [`.
    Csi { alt: bool },
    /// After `ESC [ [`: a function key of the Linux console.
    Console,
    /// After `ESC O`.
    Ss3 { alt: bool },
    /// Inside a report, which BEL or `ESC \` ends.
    Report { left: usize },
}

/// Makes keys of bytes.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    state: State,
    parameters: [u8; PARAMETERS],
    /// How many of them came, kept or not.
    came: usize,
    /// The beginning of a character.
    part: [u8; 4],
    have: usize,
    after_return: bool,
}

impl Keys {
    /// The keys that `byte` completes: what became of a character that it cuts off, and its own.
    pub(crate) fn feed(&mut self, byte: u8) -> [Option<Key>; 2] {
        if self.have > 0 {
            if let Some(slot) = self.part.get_mut(self.have) {
                *slot = byte;
            }
            let part = self.part.get(..=self.have).unwrap_or_default();
            match std::str::from_utf8(part) {
                Ok(text) => {
                    let key = text.chars().next().and_then(character);
                    self.have = 0;
                    return [key, None];
                }
                Err(error) if error.error_len().is_none() => {
                    self.have = self.have.saturating_add(1);
                    return [None, None];
                }
                Err(_) => {
                    self.have = 0;
                    return [Some(Key::Char(char::REPLACEMENT_CHARACTER)), self.fresh(byte)];
                }
            }
        }
        [self.fresh(byte), None]
    }

    /// A byte that continues no character.
    fn fresh(&mut self, byte: u8) -> Option<Key> {
        let after_return = std::mem::take(&mut self.after_return);
        let reporting = matches!(self.state, State::Report { .. });
        match self.state {
            // A control character ends what it interrupts, as in a terminal: no sequence holds a line up.
            _ if byte < 0x20 && byte != ESCAPE => {
                self.state = State::Ground;
                self.after_return = byte == b'\r';
                // The rest of a pair; telnet's pair is return and NUL.
                let rest = after_return && matches!(byte, b'\n' | 0);
                let ends_report = reporting && byte == BELL;
                if rest || ends_report { None } else { control(byte) }
            }
            State::Ground if byte == ESCAPE => self.go(State::Escape { again: false }),
            State::Ground if byte < 0x7f => Some(Key::Char(char::from(byte))),
            State::Ground if byte == 0x7f => Some(Key::Backspace),
            State::Ground => self.begin(byte),
            State::Escape { .. } if byte == ESCAPE => self.go(State::Escape { again: true }),
            State::Escape { again } => self.escaped(byte, again),
            // In a report it may be the first byte of its end.
            _ if byte == ESCAPE => self.go(State::Escape { again: false }),
            State::Csi { alt } => self.csi(byte, alt),
            State::Console => {
                self.state = State::Ground;
                byte.checked_sub(b'@').filter(|number| (1..=5).contains(number)).map(Key::Function)
            }
            State::Ss3 { alt } => {
                self.state = State::Ground;
                ss3(byte, alt)
            }
            State::Report { left } => {
                self.state = left.checked_sub(1).map_or(State::Ground, |left| State::Report { left });
                None
            }
        }
    }

    fn go(&mut self, state: State) -> Option<Key> {
        self.state = state;
        None
    }

    /// The first byte of a character of several.
    fn begin(&mut self, byte: u8) -> Option<Key> {
        if !matches!(byte, 0xc2..=0xf4) {
            return Some(Key::Char(char::REPLACEMENT_CHARACTER));
        }
        self.part = [byte, 0, 0, 0];
        self.have = 1;
        None
    }

    fn escaped(&mut self, byte: u8, again: bool) -> Option<Key> {
        self.state = State::Ground;
        match byte {
            b'[' => {
                (self.came, self.parameters) = (0, [0; PARAMETERS]);
                self.go(State::Csi { alt: again })
            }
            b'O' => self.go(State::Ss3 { alt: again }),
            b']' | b'P' | b'X' | b'^' | b'_' => self.go(State::Report { left: REPORT }),
            // The end of a report.
            b'\\' => None,
            0x7f => Some(Key::AltBackspace),
            ascii if ascii < 0x7f => Some(Key::Alt(char::from(ascii))),
            other => self.begin(other),
        }
    }

    fn csi(&mut self, byte: u8, alt: bool) -> Option<Key> {
        match byte {
            b'[' if self.came == 0 => return self.go(State::Console),
            0x20..=0x3f => {
                if let Some(slot) = self.parameters.get_mut(self.came) {
                    *slot = byte;
                }
                self.came = self.came.saturating_add(1);
                return None;
            }
            _ => self.state = State::Ground,
        }
        let parameters = self.parameters.get(..self.came)?;
        let mut fields = parameters.split(|byte| *byte == b';');
        let first = fields.next().unwrap_or_default();
        // xterm's modifiers: 1 and a bit for each of Shift, Alt and Control; Shift alone changes nothing.
        let held = matches!(fields.next(), Some([b'3'..=b'8'])) || alt;
        match byte {
            b'A'..=b'D' | b'F' | b'H' => Some(arrow(byte, held)),
            b'Z' => Some(Key::BackTab),
            b'P'..=b'S' => byte.checked_sub(b'O').map(Key::Function),
            // rxvt: with Control, with Shift too.
            b'~' | b'^' | b'@' => numbered(first),
            // rxvt: with Shift. A terminal that tells what it is ends so too.
            b'a'..=b'd' if parameters.is_empty() => Some(arrow(byte.to_ascii_uppercase(), held)),
            _ => None,
        }
    }
}

fn character(c: char) -> Option<Key> {
    // C1 controls: no key sends them, and some terminals obey them.
    (!c.is_control()).then_some(Key::Char(c))
}

fn control(byte: u8) -> Option<Key> {
    Some(match byte {
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x08 => Key::Backspace,
        byte => Key::Ctrl(char::from(byte | 0x40).to_ascii_lowercase()),
    })
}

fn arrow(byte: u8, held: bool) -> Key {
    match byte {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' if held => Key::WordRight,
        b'C' => Key::Right,
        b'D' if held => Key::WordLeft,
        b'D' => Key::Left,
        b'F' => Key::End,
        _ => Key::Home,
    }
}

fn ss3(byte: u8, alt: bool) -> Option<Key> {
    match byte {
        b'A'..=b'D' | b'F' | b'H' => Some(arrow(byte, alt)),
        // rxvt: arrows with Control.
        b'a'..=b'd' => Some(arrow(byte.to_ascii_uppercase(), true)),
        b'M' => Some(Key::Enter),
        b'P'..=b'S' => byte.checked_sub(b'O').map(Key::Function),
        _ => None,
    }
}

fn numbered(number: &[u8]) -> Option<Key> {
    Some(match number {
        b"1" | b"7" => Key::Home,
        b"2" => Key::Insert,
        b"3" => Key::Delete,
        b"4" | b"8" => Key::End,
        b"5" => Key::PageUp,
        b"6" => Key::PageDown,
        b"11" => Key::Function(1),
        b"12" => Key::Function(2),
        b"13" => Key::Function(3),
        b"14" => Key::Function(4),
        b"15" => Key::Function(5),
        b"17" => Key::Function(6),
        b"18" => Key::Function(7),
        b"19" => Key::Function(8),
        b"20" => Key::Function(9),
        b"21" => Key::Function(10),
        b"23" => Key::Function(11),
        b"24" => Key::Function(12),
        _ => return None,
    })
}
