//! What a user at a terminal types to the master and not to the server: `~.` and others, ssh(1), "ESCAPE
//! CHARACTERS". Pure.

/// What a byte that was typed comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing yet.
    Nothing,
    /// It goes to the server.
    Byte(u8),
    /// So do these two: they are no command.
    Both(u8, u8),
    /// The session is to end.
    End,
    /// The server gets a break.
    Break,
    /// The commands are to be shown.
    Help,
}

/// Follows what is typed.
#[derive(Debug)]
pub(super) struct Escapes {
    character: u8,
    /// A line begins, and commands with it.
    begins: bool,
    /// The escape character was typed there.
    escaped: bool,
}

impl Escapes {
    pub(super) fn new(character: u8) -> Self {
        Self { character, begins: true, escaped: false }
    }

    /// The next byte that was typed.
    pub(super) fn take(&mut self, byte: u8) -> Typed {
        if std::mem::take(&mut self.escaped) {
            // A command leaves the line as it was.
            self.begins = matches!(byte, b'\r' | b'\n' | b'B' | b'?');
            return match byte {
                b'.' => Typed::End,
                b'B' => Typed::Break,
                b'?' => Typed::Help,
                byte if byte == self.character => Typed::Byte(byte),
                byte => Typed::Both(self.character, byte),
            };
        }
        if self.begins && byte == self.character {
            self.escaped = true;
            return Typed::Nothing;
        }
        self.begins = matches!(byte, b'\r' | b'\n');
        Typed::Byte(byte)
    }

    /// The list of commands, as a terminal in raw mode shows it.
    pub(super) fn help(&self) -> String {
        let c = char::from(self.character).escape_default();
        format!(
            "{c}?\r\nSupported escape sequences:\r\n {c}.   - end this session\r\n {c}B   - send a BREAK\r\n \
             {c}?   - this message\r\n {c}{c}   - send the escape character by typing it twice\r\n\
             (Note that escapes are only recognized immediately after newline.)\r\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Vec<Typed> {
        let mut escapes = Escapes::new(b'~');
        text.bytes().map(|byte| escapes.take(byte)).filter(|typed| *typed != Typed::Nothing).collect()
    }

    #[test]
    fn commands_begin_a_line() {
        use Typed::{Both, Break, Byte, End, Help};

        assert_eq!(typed("~."), [End]);
        assert_eq!(typed("a~."), [Byte(b'a'), Byte(b'~'), Byte(b'.')]);
        assert_eq!(typed("\r~."), [Byte(b'\r'), End]);
        assert_eq!(typed("\n~B~?"), [Byte(b'\n'), Break, Help]);
        assert_eq!(typed("~~."), [Byte(b'~'), Byte(b'.')]);
        assert_eq!(typed("~x~."), [Both(b'~', b'x'), Byte(b'~'), Byte(b'.')]);
        assert_eq!(typed("~\r~?"), [Both(b'~', b'\r'), Help]);
        assert!(Escapes::new(b'~').help().contains("~B"));
    }
}
