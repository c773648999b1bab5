//! What a user at a terminal types to the program and not to the server: `~.` and others, ssh(1), "ESCAPE
//! CHARACTERS". clientloop.c, process_escapes.
//!
//! Pure: whoever reads the terminal acts on it, a master for its clients or a program for itself.

/// What a byte that was typed comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Escape {
    /// Nothing yet.
    Nothing,
    /// It goes to the server.
    Byte(u8),
    /// So do these two: they are no command.
    Both(u8, u8),
    /// The connection is to end, `~.`; of a shared one the session.
    End,
    /// The server gets a break, `~B`.
    Break,
    /// New keys are to be exchanged, `~R`.
    Rekey,
    /// The open channels are to be shown, `~#`.
    List,
    /// The commands are to be shown, `~?`.
    Help,
    /// The program is to be stopped until its shell continues it, `~^Z`.
    Suspend,
    /// The program is to go to the background, `~&`.
    Background,
    /// More is to be logged, `~v`.
    More,
    /// Less is to be logged, `~V`.
    Less,
    /// A line about forwardings is to be asked for, `~C`.
    CommandLine,
}

/// Follows what is typed.
///
/// ```
/// use feramiko::{Escape, Escapes};
/// let mut escapes = Escapes::new(b'~');
/// let typed: Vec<_> = b"ls\r~.".iter().map(|byte| escapes.take(*byte)).collect();
/// assert_eq!(typed[..2], [Escape::Byte(b'l'), Escape::Byte(b's')]);
/// assert_eq!(typed.last(), Some(&Escape::End));
/// ```
#[derive(Debug, Clone)]
pub struct Escapes {
    character: u8,
    /// The connection is shared: some commands are for its master's own user.
    shared: bool,
    /// A line begins, and commands with it.
    begins: bool,
    /// The escape character was typed there.
    escaped: bool,
}

/// CTRL and Z.
const CTRL_Z: u8 = b'Z' & 31;

/// The commands: what is typed, what the help says, and whether they work on a shared connection.
const COMMANDS: &[(u8, &str, Escape, bool)] = &[
    (b'.', "terminate connection (and any multiplexed sessions)", Escape::End, true),
    (b'B', "send a BREAK to the remote system", Escape::Break, true),
    (b'C', "open a command line", Escape::CommandLine, false),
    (b'R', "request rekey", Escape::Rekey, true),
    (b'V', "decrease verbosity (LogLevel)", Escape::Less, false),
    (b'v', "increase verbosity (LogLevel)", Escape::More, false),
    (CTRL_Z, "suspend ssh", Escape::Suspend, false),
    (b'#', "list forwarded connections", Escape::List, true),
    (b'&', "background ssh (not built)", Escape::Background, false),
    (b'?', "this message", Escape::Help, true),
];

impl Escapes {
    /// Commands that begin with a character, at the start of a line.
    #[must_use]
    pub fn new(character: u8) -> Self {
        Self { character, shared: false, begins: true, escaped: false }
    }

    /// The same, on a connection that is shared: the help names what can be done there.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// The next byte that was typed.
    pub fn take(&mut self, byte: u8) -> Escape {
        if std::mem::take(&mut self.escaped) {
            if byte == self.character {
                self.begins = false;
                return Escape::Byte(byte);
            }
            let command = COMMANDS.iter().find(|(typed, ..)| *typed == byte);
            // A command leaves the line as it was.
            self.begins = command.is_some() || matches!(byte, b'\r' | b'\n');
            return command.map_or(Escape::Both(self.character, byte), |(_, _, escape, _)| *escape);
        }
        if self.begins && byte == self.character {
            self.escaped = true;
            return Escape::Nothing;
        }
        self.begins = matches!(byte, b'\r' | b'\n');
        Escape::Byte(byte)
    }

    /// A command as it is typed.
    #[must_use]
    pub fn shown(&self, command: u8) -> String {
        [self.character, command].map(letter).concat()
    }

    /// The list of commands, as a terminal in raw mode shows it.
    #[must_use]
    pub fn help(&self) -> String {
        let mut text = format!("{}\r\nSupported escape sequences:\r\n", self.shown(b'?'));
        for (typed, what, _, when_shared) in COMMANDS {
            if *when_shared || !self.shared {
                text += &format!(" {:4} - {what}\r\n", self.shown(*typed));
            }
        }
        let twice = "send the escape character by typing it twice";
        text += &format!(" {:4} - {twice}\r\n", self.shown(self.character));
        text + "(Note that escapes are only recognized immediately after newline.)\r\n"
    }

    /// The list of channels, by their numbers and types, as a terminal in raw mode shows it.
    #[must_use]
    pub fn list(&self, channels: &[(u32, String)]) -> String {
        let mut text = format!("{}\r\nThe following connections are open:\r\n", self.shown(b'#'));
        for (number, kind) in channels {
            text += &format!("  #{number} {}\r\n", kind.escape_default());
        }
        text
    }
}

/// A byte of a terminal's as one that can be seen.
fn letter(byte: u8) -> String {
    match byte {
        0..32 => format!("^{}", char::from(byte | 64)),
        127 => "^?".to_owned(),
        byte => char::from(byte).escape_default().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Vec<Escape> {
        let mut escapes = Escapes::new(b'~');
        text.bytes().map(|byte| escapes.take(byte)).filter(|typed| *typed != Escape::Nothing).collect()
    }

    #[test]
    fn commands_begin_a_line() {
        use Escape::{Both, Break, Byte, CommandLine, End, Help, Less, List, More, Rekey, Suspend};

        assert_eq!(typed("~."), [End]);
        assert_eq!(typed("a~."), [Byte(b'a'), Byte(b'~'), Byte(b'.')]);
        assert_eq!(typed("\r~."), [Byte(b'\r'), End]);
        assert_eq!(typed("\n~B~?"), [Byte(b'\n'), Break, Help]);
        assert_eq!(
            typed("~R~#~V~v~C~\x1a~&~."),
            [Rekey, List, Less, More, CommandLine, Suspend, Escape::Background, End]
        );
        assert_eq!(typed("~~."), [Byte(b'~'), Byte(b'.')]);
        assert_eq!(typed("~x~."), [Both(b'~', b'x'), Byte(b'~'), Byte(b'.')]);
        assert_eq!(typed("~\r~?"), [Both(b'~', b'\r'), Help]);
    }

    #[test]
    fn lists_are_shown() {
        let help = Escapes::new(b'~').help();
        assert!(help.contains("\r\n ~B   - send") && help.contains(" ~^Z  - suspend"), "{help}");
        assert!(!Escapes::new(b'~').shared().help().contains("~^Z"));
        assert!(Escapes::new(5).help().contains(" ^E^E - send the escape character"));
        let list = Escapes::new(b'~').list(&[(3, "session".to_owned()), (4, "\x1b".to_owned())]);
        assert_eq!(list, "~#\r\nThe following connections are open:\r\n  #3 session\r\n  #4 \\u{1b}\r\n");
    }
}
