//! What was read and is not given out yet, and where a pattern ends in it.
//!
//! Pure.

/// Bytes that wait to be given out.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    /// How many at the front were given out already.
    given: usize,
}

/// A pattern that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Match {
    /// Which of the patterns.
    pub(super) which: usize,
    begin: usize,
    end: usize,
}

impl Pending {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.given..).unwrap_or_default()
    }

    /// Where more is added.
    pub(super) fn space(&mut self) -> &mut Vec<u8> {
        self.bytes.drain(..self.given.min(self.bytes.len()));
        self.given = 0;
        &mut self.bytes
    }

    /// The pattern that ends first, among several the longest, among equal ones the first: whatever pieces the
    /// bytes come in, the same one is found. No pattern ends within the first `searched` bytes. An empty
    /// pattern is found nowhere.
    pub(super) fn find(&self, patterns: &[&[u8]], searched: usize) -> Option<Match> {
        let bytes = self.bytes();
        let mut best: Option<Match> = None;
        for (which, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| !pattern.is_empty()) {
            let from = searched.saturating_sub(pattern.len().saturating_sub(1));
            // Nothing that ends behind the best so far is wanted.
            let until = best.map_or(bytes.len(), |best| best.end);
            let Some(area) = bytes.get(from..until) else { continue };
            let Some(at) = area.windows(pattern.len()).position(|window| window == *pattern) else {
                continue;
            };
            let begin = from.saturating_add(at);
            let found = Match { which, begin, end: begin.saturating_add(pattern.len()) };
            if best.is_none_or(|best| (found.end, found.begin) < (best.end, best.begin)) {
                best = Some(found);
            }
        }
        best
    }

    /// Gives out what is before the match, and drops the match.
    pub(super) fn take(&mut self, found: Match) -> Vec<u8> {
        let before = self.bytes().get(..found.begin).unwrap_or_default().to_vec();
        self.skip(found.end);
        before
    }

    /// Gives out everything.
    pub(super) fn take_all(&mut self) -> Vec<u8> {
        std::mem::take(self.space())
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.given = self.given.saturating_add(count).min(self.bytes.len());
    }
}
