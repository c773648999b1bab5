//! The completion of words, by the application's candidates.
//!
//! Pure.

use super::{Editor, draft};

/// Candidates that are shown; more would push everything else off the terminal.
const SHOWN: usize = 100;

impl Editor {
    /// Completes the word before the cursor: by what all candidates begin with, and a space after the only one.
    /// When that adds nothing, the second time shows them. Without a completer, Tab is a space.
    pub(super) fn complete(&mut self, tabbed: bool, out: &mut Vec<u8>) {
        let Some(reading) = &mut self.reading else { return };
        let Some(completer) = self.hooks.completer.as_mut().filter(|_| !reading.secret) else {
            reading.ring |= reading.secret || !reading.draft.insert(' ');
            return;
        };
        let before = reading.draft.before();
        let begin = before.rfind(char::is_whitespace).map_or(0, |at| {
            at.saturating_add(before.get(at..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8))
        });
        let (before, word) = before.split_at_checked(begin).unwrap_or((before, ""));
        let mut candidates = completer(before, word);
        candidates.retain(|candidate| candidate.chars().all(draft::accepts));
        let Some(first) = candidates.first() else {
            reading.ring = true;
            return;
        };
        let mut shared =
            candidates.iter().fold(first.as_str(), |shared, other| shared_start(shared, other)).to_owned();
        if candidates.len() == 1 && !reading.draft.after().starts_with(' ') {
            shared.push(' ');
        }
        if shared.len() > word.len() {
            let (before, after) = (format!("{before}{shared}"), reading.draft.after().to_owned());
            reading.draft.set(&before, &after);
        } else if tabbed {
            let left_out = candidates.len().saturating_sub(SHOWN);
            candidates.truncate(SHOWN);
            let more = if left_out > 0 { format!("  ({left_out} more)") } else { String::new() };
            self.show(format!("{}{more}", candidates.join("  ")).as_bytes(), out);
        } else {
            (reading.ring, reading.tabbed) = (true, true);
        }
    }
}

/// What both begin with.
fn shared_start<'a>(one: &'a str, other: &str) -> &'a str {
    let length = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
    one.get(..length).unwrap_or_default()
}
