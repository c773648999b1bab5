//! Credit and half-close of one channel, RFC 4254 §5.2 and §5.3.
//!
//! Pure: bytes are counted here, not kept; no lock, no thread. The clock comes in as an argument.

use std::time::{Duration, Instant};

/// The window a channel starts with; OpenSSH's and paramiko's figure.
pub(super) const WINDOW: u32 = 2 * 1024 * 1024;
/// The largest data packet we ask for; OpenSSH's figure, and more makes nobody faster.
pub(super) const MAX_PACKET: u32 = 32 * 1024;
/// The share of the window after which the peer is told that it was consumed: long before a fast sender stands still,
/// and seldom enough that it is not woken for little.
pub(super) const TOLD: u32 = 4;
/// On short round trips a window beyond this makes sshd slower (it buffers all of it).
const WINDOW_SHORT: u32 = 8 * 1024 * 1024;
/// The largest window at all: 1.2 GB/s at 50 ms.
pub(super) const WINDOW_LONG: u32 = 64 * 1024 * 1024;
/// Round trips up to this are short: a local network.
const SHORT: Duration = Duration::from_millis(5);

/// How the peer broke the rules of flow control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlowError {
    /// More data than the window allowed.
    OverWindow,
    /// A data packet larger than we said we take.
    OverPacket,
    /// A window of 2^32 bytes or more.
    WindowOverflow,
    /// Data after EOF or CLOSE.
    AfterEof,
}

/// One channel's counters.
#[derive(Debug)]
pub(super) struct Flow {
    /// What we may still send.
    send_window: u32,
    /// What we sent and the peer has not given credit for again.
    uncredited: u32,
    /// The largest data packet the peer takes.
    send_packet: u32,
    /// What the peer may still send.
    receive_window: u32,
    /// What the receive window is filled up to.
    target: u32,
    /// Consumed, not yet told to the peer.
    owed: u32,
    /// Consumed since `since`: the rate that decides whether the window is too small.
    measured: u32,
    since: Option<Instant>,
    pub(super) eof_sent: bool,
    pub(super) eof_received: bool,
    pub(super) close_sent: bool,
    pub(super) close_received: bool,
}

impl Flow {
    /// A channel that offered `window` and does not know the peer's side yet.
    pub(super) fn new(window: u32) -> Self {
        Self {
            send_window: 0,
            uncredited: 0,
            send_packet: 0,
            receive_window: window,
            target: window,
            owed: 0,
            measured: 0,
            since: None,
            eof_sent: false,
            eof_received: false,
            close_sent: false,
            close_received: false,
        }
    }

    /// The peer's side became known: its window and its largest packet.
    pub(super) fn opened(&mut self, window: u32, packet: u32) {
        self.send_window = window;
        // More than our own limit would only make larger bursts.
        self.send_packet = packet.min(MAX_PACKET);
    }

    /// The peer's CHANNEL_WINDOW_ADJUST.
    pub(super) fn adjusted(&mut self, bytes: u32) -> Result<(), FlowError> {
        self.send_window = self.send_window.checked_add(bytes).ok_or(FlowError::WindowOverflow)?;
        self.uncredited = self.uncredited.saturating_sub(bytes);
        Ok(())
    }

    pub(super) fn send_window(&self) -> usize {
        usize::try_from(self.send_window).unwrap_or(usize::MAX)
    }

    pub(super) fn send_packet(&self) -> usize {
        usize::try_from(self.send_packet).unwrap_or(usize::MAX)
    }

    /// `bytes` leave.
    pub(super) fn sent(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.send_window = self.send_window.saturating_sub(bytes);
        self.uncredited = self.uncredited.saturating_add(bytes);
    }

    /// Whether the peer has so much that it is busy for a while: what is written meanwhile is a flow, and nobody waits
    /// for its echo.
    pub(super) fn keeps_busy(&self) -> bool {
        self.uncredited >= WINDOW / 2
    }

    /// `bytes` arrived.
    pub(super) fn received(&mut self, bytes: usize) -> Result<(), FlowError> {
        if self.eof_received || self.close_received {
            return Err(FlowError::AfterEof);
        }
        let bytes = u32::try_from(bytes).map_err(|_| FlowError::OverPacket)?;
        if bytes > MAX_PACKET {
            return Err(FlowError::OverPacket);
        }
        self.receive_window = self.receive_window.checked_sub(bytes).ok_or(FlowError::OverWindow)?;
        Ok(())
    }

    /// `bytes` were consumed. True when the peer should be told now.
    pub(super) fn consumed(&mut self, bytes: usize) -> bool {
        self.owed = self.owed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.owed >= self.target / TOLD
    }

    /// The adjust that is due, at `now`, on a path with that round trip; grows the window out of
    /// `budget` when more than half of it was consumed within one round trip.
    pub(super) fn take_adjust(&mut self, now: Instant, round_trip: Duration, budget: u32) -> u32 {
        let mut grant = std::mem::take(&mut self.owed);
        self.measured = self.measured.saturating_add(grant);
        match self.since {
            Some(since) if now.saturating_duration_since(since) < round_trip => {}
            Some(since) => {
                let trips =
                    now.saturating_duration_since(since).as_secs_f64() / round_trip.as_secs_f64().max(1e-6);
                let per_trip = f64::from(self.measured) / trips.max(1.0);
                let ceiling = if round_trip <= SHORT { WINDOW_SHORT } else { WINDOW_LONG };
                if per_trip * 2.0 > f64::from(self.target) && self.target < ceiling {
                    let growth = self.target.min(ceiling.saturating_sub(self.target)).min(budget);
                    self.target = self.target.saturating_add(growth);
                    grant = grant.saturating_add(growth);
                }
                self.since = Some(now);
                self.measured = 0;
            }
            None => {
                self.since = Some(now);
                self.measured = 0;
            }
        }
        self.receive_window = self.receive_window.saturating_add(grant);
        grant
    }

    /// What comes in with nobody reading, at least: what was consumed and not yet told is withheld.
    pub(super) fn capacity(&self) -> usize {
        usize::try_from(self.target.saturating_sub(self.target / TOLD)).unwrap_or(usize::MAX)
    }

    /// What the window grew beyond what the channel started with: its share of the budget.
    pub(super) fn grown(&self) -> u32 {
        self.target.saturating_sub(WINDOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_beyond_the_window_is_an_error() {
        let mut flow = Flow::new(40_000);
        assert_eq!(flow.received(32_768), Ok(()));
        assert_eq!(flow.received(32_768), Err(FlowError::OverWindow));
        assert_eq!(flow.received(32_769), Err(FlowError::OverPacket));
        flow.eof_received = true;
        assert_eq!(flow.received(1), Err(FlowError::AfterEof));
    }

    #[test]
    fn a_window_of_four_gigabytes_is_an_error() {
        let mut flow = Flow::new(WINDOW);
        flow.opened(u32::MAX, 1 << 20);
        assert_eq!(flow.send_packet(), 32 * 1024);
        assert_eq!(flow.adjusted(1), Err(FlowError::WindowOverflow));
    }

    #[test]
    fn a_peer_is_busy_with_what_it_gave_no_credit_for() {
        let mut flow = Flow::new(WINDOW);
        flow.opened(2 * WINDOW, MAX_PACKET);
        flow.sent(WINDOW as usize / 2 - 1);
        assert!(!flow.keeps_busy());
        flow.sent(1);
        assert!(flow.keeps_busy());
        flow.adjusted(1).unwrap();
        assert!(!flow.keeps_busy());
        // A window that grows gives credit for what was never sent.
        flow.adjusted(WINDOW).unwrap();
        flow.sent(WINDOW as usize / 2);
        assert!(flow.keeps_busy());
    }

    #[test]
    fn credit_goes_back_by_quarters() {
        let mut flow = Flow::new(WINDOW);
        assert!(!flow.consumed(1000));
        assert!(flow.consumed((WINDOW / TOLD) as usize));
        assert_eq!(flow.take_adjust(Instant::now(), Duration::from_micros(100), 0), 1000 + WINDOW / TOLD);
        assert!(!flow.consumed((WINDOW / TOLD) as usize - 1));
        assert_eq!(flow.capacity(), (WINDOW - WINDOW / TOLD) as usize);
    }

    #[test]
    fn the_window_grows_when_a_round_trip_uses_it_up_and_only_then() {
        for (trip_ms, grows) in [(50, true), (1, false)] {
            let mut flow = Flow::new(WINDOW);
            let start = Instant::now();
            let mut granted = 0_u64;
            let mut consumed = 0_u64;
            // 2 MiB every 50 ms, told in quarters.
            for step in 1..=64_u64 {
                flow.receive_window -= WINDOW / TOLD;
                consumed += u64::from(WINDOW / TOLD);
                flow.consumed((WINDOW / TOLD) as usize);
                let now = start + Duration::from_micros(12_500 * step);
                granted += u64::from(flow.take_adjust(now, Duration::from_millis(trip_ms), u32::MAX));
            }
            assert_eq!(granted > consumed, grows, "{trip_ms} ms");
        }
    }
}
