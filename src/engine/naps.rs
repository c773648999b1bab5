//! When a reader that finds nothing sleeps for a moment and looks again, rather than until something comes: while data
//! flows fast that nobody asks for piece by piece. One waking serves many packets then, and not one or two.
//!
//! Pure: it is told what was read, and that nothing was found; it knows no clock and no thread.

use std::time::Duration;

/// How long: a handful of packets on a fast network, and too short for anybody to notice.
pub(super) const NAP: Duration = Duration::from_micros(200);
/// So much without a word from this side is a flow. Who asks for every piece would have to wait for the nap's end each
/// time.
const FLOW: usize = 1024 * 1024;
/// Less than this between two waits is no flow that sleeping could gather.
const PACKET: usize = 32 * 1024;
/// What a nap has to gather, or the next ones are left out: more than a pipe holds, or a socket with a small buffer, for
/// the peer stands still once that is full.
const WORTH: usize = 3 * PACKET;
/// How many at most are left out.
const LEFT_OUT: u32 = 255;

/// What is known of the flow.
#[derive(Debug, Default)]
pub(super) struct Naps {
    /// Bytes since anybody here said something.
    flow: usize,
    /// Bytes since nothing was found.
    found: usize,
    /// A nap came before them.
    napped: bool,
    /// How many naps are left out after one more that was not worth it.
    penalty: u32,
    left_out: u32,
}

impl Naps {
    /// So much was read.
    pub(super) fn took(&mut self, count: usize) {
        self.flow = self.flow.saturating_add(count);
        self.found = self.found.saturating_add(count);
    }

    /// A user and the peer are in a dialogue.
    pub(super) fn dialogue(&mut self) {
        self.flow = 0;
    }

    /// Nothing is there: whether to sleep for [`NAP`] and look again before a wait.
    pub(super) fn due(&mut self) -> bool {
        let found = std::mem::take(&mut self.found);
        if std::mem::take(&mut self.napped) {
            let doubled = self.penalty.saturating_mul(2).saturating_add(1).min(LEFT_OUT);
            self.penalty = if found < WORTH { doubled } else { 0 };
            self.left_out = self.penalty;
        }
        if self.flow < FLOW || found < PACKET {
            return false;
        }
        self.napped = self.left_out == 0;
        self.left_out = self.left_out.saturating_sub(1);
        self.napped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes come in such portions between two looks: at how many of them a nap follows.
    fn naps(naps: &mut Naps, portions: usize, bytes: usize) -> usize {
        (0..portions)
            .filter(|_| {
                naps.took(bytes);
                naps.due()
            })
            .count()
    }

    #[test]
    fn a_fast_flow_is_slept_through() {
        let mut flow = Naps::default();
        assert_eq!(naps(&mut flow, FLOW / PACKET - 1, PACKET), 0, "no flow yet");
        assert_eq!(naps(&mut flow, 100, WORTH), 100);
    }

    #[test]
    fn a_dialogue_is_not_slept_through() {
        let mut talk = Naps::default();
        for _ in 0..100 {
            assert_eq!(naps(&mut talk, 3, FLOW / 4), 0);
            talk.dialogue();
        }
    }

    #[test]
    fn a_trickle_is_not_slept_through() {
        let mut trickle = Naps::default();
        assert_eq!(naps(&mut trickle, 10_000, 1000), 0);
    }

    #[test]
    fn naps_that_gather_little_are_left_out_ever_longer() {
        let mut slow = Naps::default();
        slow.took(FLOW);
        assert!(slow.due(), "the first is tried");
        // After 1, 3, 7, ... 255 waits, and then after every 255.
        assert_eq!(naps(&mut slow, 2 + 4 + 8 + 16 + 32 + 64 + 128, PACKET), 7);
        assert_eq!(naps(&mut slow, 256 * 10 + 100, PACKET), 10);
        // It is fast again: the next nap shows it.
        assert_eq!(naps(&mut slow, 156, WORTH), 1);
        assert_eq!(naps(&mut slow, 100, WORTH), 100);
    }

    #[test]
    fn nothing_after_a_nap_is_waited_for() {
        let mut stopped = Naps::default();
        stopped.took(FLOW);
        assert!(stopped.due());
        assert!(!stopped.due());
    }
}
