//! The lines that were entered before, newest last.
//!
//! Pure. No secret comes here.

use std::collections::VecDeque;

/// Lines that were entered, bounded in number.
#[derive(Debug)]
pub(super) struct History {
    lines: VecDeque<String>,
    most: usize,
}

impl History {
    pub(super) fn new(most: usize) -> Self {
        Self { lines: VecDeque::new(), most }
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    pub(super) fn get(&self, at: usize) -> Option<&str> {
        self.lines.get(at).map(String::as_str)
    }

    /// Remembers a line, unless it is blank or the last one again.
    pub(super) fn add(&mut self, line: &str) {
        if line.trim().is_empty() || self.lines.back().is_some_and(|last| last == line) {
            return;
        }
        self.lines.push_back(line.to_owned());
        while self.lines.len() > self.most {
            self.lines.pop_front();
        }
    }

    /// The newest line before `end` that contains `text`.
    pub(super) fn search(&self, text: &str, end: usize) -> Option<usize> {
        let end = end.min(self.lines.len());
        self.lines.range(..end).rposition(|line| line.contains(text))
    }
}
