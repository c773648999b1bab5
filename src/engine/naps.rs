//! When a reader that finds nothing sleeps for a moment and looks again, rather than until something comes: while data
//! flows fast that nobody asks for piece by piece. One waking serves many packets then, and not one or two; and where
//! there are fewer processors than threads at work, those that send have theirs to themselves meanwhile.
//!
//! Pure: it is told what came, and that nothing was found; it knows no clock and no thread.

use std::time::Duration;

/// How long, each twice the one before: from a handful of packets on a fast network to the most that nobody notices.
/// Where the shortest was 0.25 ms, a flow from OpenSSH's server took 1.04 of the time.
const LENGTHS: [Duration; 3] =
    [Duration::from_micros(200), Duration::from_micros(400), Duration::from_micros(800)];
/// So much without a word from this side is a flow. Who asks for every piece would have to wait for the nap's end each
/// time.
const FLOW: usize = 1024 * 1024;
/// Less than this between two waits is no flow that sleeping could gather.
const PACKET: usize = 32 * 1024;
/// What a nap has to gather, or the next ones are left out: more than a pipe holds, or a socket with a small buffer, for
/// the peer stands still once that is full.
const WORTH: usize = 3 * PACKET;
/// What it may gather: a quarter of the window that a channel starts with, so that the peer never stands still for want
/// of credit.
const MUCH: usize = 512 * 1024;
/// How many at most are left out.
const LEFT_OUT: u32 = 255;
/// So many of one length tell what that length gathers.
const SAMPLE: usize = 16;
/// After so many samples it is tried anew whether longer ones gather more.
const KEPT: u32 = 64;

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
    length: Length,
}

/// How long the naps are.
#[derive(Debug, Default)]
struct Length {
    /// Which of [`LENGTHS`].
    index: usize,
    /// Naps of that length, and what they gathered.
    naps: usize,
    gathered: usize,
    /// What each of the length below gathered, until it is known whether these gather more.
    shorter: Option<usize>,
    /// How many samples it stays.
    kept: u32,
}

impl Naps {
    /// So much was read, or more may be sent by so much.
    pub(super) fn took(&mut self, count: usize) {
        self.flow = self.flow.saturating_add(count);
        self.found = self.found.saturating_add(count);
    }

    /// A user and the peer are in a dialogue.
    pub(super) fn dialogue(&mut self) {
        self.flow = 0;
    }

    /// Nothing is there: how long to sleep and look again before a wait, if at all.
    pub(super) fn due(&mut self) -> Option<Duration> {
        let found = std::mem::take(&mut self.found);
        if std::mem::take(&mut self.napped) {
            if found < WORTH {
                self.penalty = self.penalty.saturating_mul(2).saturating_add(1).min(LEFT_OUT);
                self.length = Length::default();
            } else {
                self.penalty = 0;
                self.length.gathered(found);
            }
            self.left_out = self.penalty;
        }
        if self.flow < FLOW || found < PACKET {
            return None;
        }
        self.napped = self.left_out == 0;
        self.left_out = self.left_out.saturating_sub(1);
        LENGTHS.get(self.length.index).copied().filter(|_| self.napped)
    }
}

impl Length {
    /// A nap gathered so much. A longer one is tried where that would not be too much, and kept where it gathers more:
    /// if not, something fills up meanwhile and the peer stands still.
    fn gathered(&mut self, found: usize) {
        self.naps = self.naps.saturating_add(1);
        self.gathered = self.gathered.saturating_add(found);
        if self.naps < SAMPLE {
            return;
        }
        let each = self.gathered / SAMPLE;
        (self.naps, self.gathered) = (0, 0);
        let no_more = self.shorter.take().is_some_and(|shorter| each < shorter / 2 * 3);
        if no_more || each > MUCH {
            self.index = self.index.saturating_sub(1);
            self.kept = KEPT;
        } else if self.kept > 0 {
            self.kept = self.kept.saturating_sub(1);
        } else if self.index < LENGTHS.len().saturating_sub(1) && each <= MUCH / 2 {
            self.index = self.index.saturating_add(1);
            self.shorter = Some(each);
        }
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
                naps.due().is_some()
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
        assert!(slow.due().is_some(), "the first is tried");
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
        assert!(stopped.due().is_some());
        assert!(stopped.due().is_none());
    }

    /// How long the last of `count` naps is, where one of `LENGTHS[i]` gathers `bytes(i)`.
    fn length(naps: &mut Naps, count: usize, bytes: impl Fn(usize) -> usize) -> usize {
        let mut index = 0;
        for _ in 0..count {
            let length = naps.due().unwrap();
            index = LENGTHS.iter().position(|&one| one == length).unwrap();
            naps.took(bytes(index));
        }
        index
    }

    fn flowing() -> Naps {
        let mut flow = Naps::default();
        flow.took(FLOW);
        flow
    }

    #[test]
    fn naps_become_longer_where_they_gather_more() {
        // 500 MB/s, 600, 1,000, and more than any nap may gather: what fits below the bound.
        assert_eq!(length(&mut flowing(), 3 * SAMPLE, |i| 100_000 << i), 2);
        assert_eq!(length(&mut flowing(), 3 * SAMPLE, |i| 120_000 << i), 2);
        assert_eq!(length(&mut flowing(), 100 * SAMPLE, |i| 200_000 << i), 1);
        assert_eq!(length(&mut flowing(), 100 * SAMPLE, |_| FLOW), 0);
    }

    #[test]
    fn naps_stay_short_where_something_fills_up_meanwhile() {
        let mut full = flowing();
        assert_eq!(length(&mut full, SAMPLE + 2, |_| 200_000), 1, "one sample");
        assert_eq!(length(&mut full, SAMPLE, |_| 200_000), 0);
        let tried = (0..140).filter(|_| length(&mut full, SAMPLE, |_| 200_000) == 1).count();
        assert_eq!(tried, 2);
    }

    #[test]
    fn naps_become_shorter_when_the_flow_is_faster() {
        let mut faster = flowing();
        assert_eq!(length(&mut faster, 3 * SAMPLE, |i| 100_000 << i), 2);
        assert_eq!(length(&mut faster, 3 * SAMPLE, |i| 600_000 << i), 0);
    }

    #[test]
    fn naps_begin_short_after_one_that_gathered_little() {
        let mut slower = flowing();
        assert_eq!(length(&mut slower, 3 * SAMPLE, |i| 100_000 << i), 2);
        slower.found = PACKET;
        assert!(slower.due().is_none(), "one is left out");
        slower.took(WORTH);
        assert_eq!(slower.due(), Some(LENGTHS[0]));
    }
}
