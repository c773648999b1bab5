//! The search backwards through the history, `^R`.
//!
//! Pure.

use super::history::History;
use super::keys::Key;

/// What is searched, and what was found.
#[derive(Debug)]
pub(super) struct Search {
    text: String,
    found: usize,
}

impl Search {
    /// A search for nothing yet, in a history of so many lines.
    pub(super) fn new(end: usize) -> Self {
        Self { text: String::new(), found: end }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The line that was found; beyond the history, if none was.
    pub(super) fn found(&self) -> usize {
        self.found
    }

    /// Takes a key of the search; false for one that ends it. What no line contains is not taken into the
    /// text, which therefore is no longer than a line.
    pub(super) fn press(&mut self, key: Key, history: &History) -> bool {
        let (text, end) = match key {
            Key::Char(c) => (format!("{}{c}", self.text), self.found.saturating_add(1)),
            Key::Ctrl('r') => (self.text.clone(), self.found),
            Key::Backspace => {
                let mut text = self.text.clone();
                text.pop();
                (text, history.len())
            }
            _ => return false,
        };
        if let Some(found) = history.search(&text, end) {
            (self.text, self.found) = (text, found);
        }
        true
    }
}
