//! A line that is being typed: what stands before the cursor and what stands after it.
//!
//! Pure. Holds no control character, whoever put it there, and never more bytes than its limit.

use unicode_width::UnicodeWidthChar;
use zeroize::Zeroizing;

/// Whether a line may hold `c`: neither control characters, which a terminal obeys, nor those that turn the
/// direction of all that follows, nor separators of lines.
pub(crate) fn accepts(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !(c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// How many columns `c` takes; none for what stands on the character before.
pub(crate) fn width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// What ends a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// White space, as for `^W`.
    Spaces,
    /// All but letters and digits, as for Alt and a letter.
    Letters,
}

impl Word {
    fn has(self, c: char) -> bool {
        match self {
            Self::Spaces => !c.is_whitespace(),
            Self::Letters => c.is_alphanumeric() || width(c) == 0,
        }
    }
}

/// A line with a cursor. Wiped when dropped: it may be a password.
pub(super) struct Draft {
    before: Zeroizing<String>,
    after: Zeroizing<String>,
    limit: usize,
}

impl Draft {
    /// An empty one that takes so many bytes. That of a secret has all its room from the beginning, so that
    /// none of it stays behind where it has grown out of.
    pub(super) fn new(limit: usize, secret: bool) -> Self {
        let room = || Zeroizing::new(String::with_capacity(if secret { limit } else { 0 }));
        Self { before: room(), after: room(), limit }
    }

    pub(super) fn before(&self) -> &str {
        &self.before
    }

    pub(super) fn after(&self) -> &str {
        &self.after
    }

    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }

    /// The whole of it; an empty one stays.
    pub(super) fn take(&mut self) -> String {
        self.end();
        std::mem::take(&mut *self.before)
    }

    /// Replaces it, as far as it fits.
    pub(super) fn set(&mut self, before: &str, after: &str) {
        self.before.clear();
        self.after.clear();
        self.insert_all(after);
        self.home();
        self.insert_all(before);
    }

    /// Inserts a character; false when it does not fit or may not stand here.
    pub(super) fn insert(&mut self, c: char) -> bool {
        let length = self.before.len().saturating_add(self.after.len()).saturating_add(c.len_utf8());
        let fits = length <= self.limit && accepts(c);
        if fits {
            self.before.push(c);
        }
        fits
    }

    /// Inserts what fits of a text, leaving out what may not stand here.
    pub(super) fn insert_all(&mut self, text: &str) -> bool {
        text.chars().filter(|c| accepts(*c)).all(|c| self.insert(c))
    }

    /// The characters before the cursor that are drawn in one place, as their length.
    fn cluster_before(&self) -> usize {
        let mut length = 0_usize;
        for c in self.before.chars().rev() {
            length = length.saturating_add(c.len_utf8());
            if width(c) > 0 {
                break;
            }
        }
        length
    }

    fn cluster_after(&self) -> usize {
        let marks = |(at, c): &(usize, char)| *at == 0 || width(*c) == 0;
        self.after.char_indices().take_while(marks).map(|(_, c)| c.len_utf8()).sum()
    }

    fn word_before(&self, word: Word) -> usize {
        let mut letters = self.before.chars().rev().peekable();
        let mut length = 0_usize;
        while let Some(c) = letters.next_if(|c| !word.has(*c)) {
            length = length.saturating_add(c.len_utf8());
        }
        while let Some(c) = letters.next_if(|c| word.has(*c)) {
            length = length.saturating_add(c.len_utf8());
        }
        length
    }

    fn word_after(&self) -> usize {
        let mut letters = self.after.chars().peekable();
        let mut length = 0_usize;
        while let Some(c) = letters.next_if(|c| !Word::Letters.has(*c)) {
            length = length.saturating_add(c.len_utf8());
        }
        while let Some(c) = letters.next_if(|c| Word::Letters.has(*c)) {
            length = length.saturating_add(c.len_utf8());
        }
        length
    }

    /// Takes so many bytes off the end of what is before the cursor.
    fn cut_before(&mut self, length: usize) -> Zeroizing<String> {
        let at = self.before.len().saturating_sub(length);
        let cut = self.before.get(at..).unwrap_or_default().to_owned();
        self.before.truncate(at);
        Zeroizing::new(cut)
    }

    fn cut_after(&mut self, length: usize) -> Zeroizing<String> {
        let cut = self.after.get(..length).unwrap_or_default().to_owned();
        self.after.drain(..cut.len());
        Zeroizing::new(cut)
    }

    fn back(&mut self, length: usize) {
        let moved = self.cut_before(length);
        self.after.insert_str(0, &moved);
    }

    fn forth(&mut self, length: usize) {
        let moved = self.cut_after(length);
        self.before.push_str(&moved);
    }

    pub(super) fn left(&mut self) {
        self.back(self.cluster_before());
    }

    pub(super) fn right(&mut self) {
        self.forth(self.cluster_after());
    }

    pub(super) fn word_left(&mut self) {
        self.back(self.word_before(Word::Letters));
    }

    pub(super) fn word_right(&mut self) {
        self.forth(self.word_after());
    }

    pub(super) fn home(&mut self) {
        self.back(self.before.len());
    }

    pub(super) fn end(&mut self) {
        self.forth(self.after.len());
    }

    pub(super) fn backspace(&mut self) -> bool {
        !self.cut_before(self.cluster_before()).is_empty()
    }

    pub(super) fn delete(&mut self) -> bool {
        !self.cut_after(self.cluster_after()).is_empty()
    }

    pub(super) fn kill_before(&mut self) -> Zeroizing<String> {
        self.cut_before(self.before.len())
    }

    pub(super) fn kill_after(&mut self) -> Zeroizing<String> {
        self.cut_after(self.after.len())
    }

    pub(super) fn kill_word_before(&mut self, word: Word) -> Zeroizing<String> {
        self.cut_before(self.word_before(word))
    }

    pub(super) fn kill_word_after(&mut self) -> Zeroizing<String> {
        self.cut_after(self.word_after())
    }

    /// Changes the places of the characters around the cursor, at the end of the line of the last two.
    pub(super) fn transpose(&mut self) -> bool {
        if self.after.is_empty() {
            self.left();
        }
        let (first, second) = (self.cluster_before(), self.cluster_after());
        if first == 0 || second == 0 {
            self.right();
            return false;
        }
        let first = self.cut_before(first);
        self.forth(second);
        self.before.push_str(&first);
        true
    }
}
