//! Ends of lines as a terminal in raw mode needs them.
//!
//! Pure.

/// Makes CR LF of a line feed that has no return before it, across pieces.
#[derive(Debug, Default)]
pub(super) struct Newlines {
    after_return: bool,
    within_line: bool,
}

impl Newlines {
    pub(super) fn convert(&mut self, text: &[u8], out: &mut Vec<u8>) {
        for byte in text {
            if *byte == b'\n' && !self.after_return {
                out.push(b'\r');
            }
            out.push(*byte);
            self.after_return = *byte == b'\r';
            self.within_line = *byte != b'\n';
        }
    }

    /// Whether the last line that was written has no end yet.
    pub(super) fn within_line(&self) -> bool {
        self.within_line
    }
}
