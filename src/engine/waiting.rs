//! One user's wait for something that happens on a channel, step by step: he looks whether it has, takes a place,
//! looks again, and reads the connection or sleeps.
//!
//! Knows nothing of what he waits for.

use std::sync::Arc;
use std::time::Instant;

use super::core::Core;
use super::guarded;
use super::reader::Reader;
use super::slot::{Slot, State};
use super::sync::MutexGuard;
use super::turn::Place;

/// Which of those who wait on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// For what comes: data, answers, ends.
    Incoming,
    /// For room to write, or for what was written to leave.
    Outgoing,
    /// For the answer to a request, on a channel of the answer's own.
    Answer,
}

/// How many sleep on each side of a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Asleep([u32; 3]);

impl Asleep {
    /// Somebody who waits for an answer, and nobody else.
    pub(super) fn for_answer() -> Self {
        let mut asleep = Self::default();
        *asleep.at(Side::Answer) = 1;
        asleep
    }

    fn at(&mut self, side: Side) -> &mut u32 {
        let [incoming, outgoing, answer] = &mut self.0;
        match side {
            Side::Incoming => incoming,
            Side::Outgoing => outgoing,
            Side::Answer => answer,
        }
    }

    /// Somebody falls asleep there.
    fn fell(&mut self, side: Side) {
        let asleep = self.at(side);
        *asleep = asleep.saturating_add(1);
    }

    /// He is awake again.
    fn woke(&mut self, side: Side) {
        let asleep = self.at(side);
        *asleep = asleep.saturating_sub(1);
    }

    pub(super) fn on(mut self, side: Side) -> u32 {
        *self.at(side)
    }

    /// Those on these sides.
    pub(super) fn only(mut self, sides: &[Side]) -> Self {
        let mut only = Self::default();
        for side in sides {
            *only.at(*side) = *self.at(*side);
        }
        only
    }
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) channel: u32,
    pub(super) side: Side,
}

/// A wait that is under way.
pub(super) struct Wait<'a> {
    core: &'a Arc<Core>,
    /// None: an answer that concerns no channel.
    awaited: Option<Awaited>,
    deadline: Option<Instant>,
    place: Option<Place<'a, Box<Reader>, Awaited>>,
}

impl<'a> Wait<'a> {
    /// For what happens on that channel. What happens there without the peer [is
    /// told](super::core::Core::changed_here).
    pub(super) fn on_channel(
        core: &'a Arc<Core>,
        channel: u32,
        side: Side,
        deadline: Option<Instant>,
    ) -> Self {
        Self { core, awaited: Some(Awaited { channel, side }), deadline, place: None }
    }

    /// For an answer of the peer's that concerns no channel.
    pub(super) fn on_connection(core: &'a Arc<Core>, deadline: Option<Instant>) -> Self {
        Self { core, awaited: None, deadline, place: None }
    }

    pub(super) fn core(&self) -> &Core {
        self.core
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether who waits is to sleep now, if he still finds nothing.
    pub(super) fn sleeps(&self) -> bool {
        matches!(self.place, Some(Place::Waits(_)))
    }

    /// Takes a place, or reads once. Called with no lock held; afterwards it is looked again. False at the deadline.
    pub(super) fn go_on(&mut self) -> bool {
        match &mut self.place {
            None => {
                if !self.is_to_leave() {
                    self.core.outbox.hand_over();
                }
                self.place = Some(self.core.turn.enter(self.awaited));
                true
            }
            Some(Place::Waits(_)) => true,
            Some(Place::Reads(reads)) => {
                let mut in_time = true;
                if let Some(reader) = reads.reader() {
                    guarded(self.core, |core| in_time = reader.read_for_user(core, self.deadline));
                }
                if self.is_to_leave() {
                    // He may have to write now: nobody reads and writes at a time.
                    self.place = None;
                }
                // What comes for others all the time does not prolong it.
                in_time && self.deadline.is_none_or(|deadline| Instant::now() < deadline)
            }
        }
    }

    /// One step of a wait on a channel's slot; false at the deadline.
    pub(super) fn step<'s>(
        &mut self,
        slot: &'s Slot,
        mut state: MutexGuard<'s, State>,
    ) -> (MutexGuard<'s, State>, bool) {
        let in_time = if self.sleeps() {
            let side = self.awaited.map_or(Side::Incoming, |awaited| awaited.side);
            let changed = slot.changed(side);
            state.asleep.fell(side);
            let in_time = match self.deadline {
                None => {
                    changed.wait(&mut state);
                    true
                }
                Some(deadline) => !changed.wait_until(&mut state, deadline).timed_out(),
            };
            state.asleep.woke(side);
            drop(state);
            // Somebody may have to read now, or another one may do so by then.
            self.place = None;
            in_time
        } else {
            let writes = self.place.is_none() && self.is_to_leave() && state.outbound() > 0;
            drop(state);
            let mut carried = None;
            if writes {
                // As on the writer's thread: the stream may be a user's own.
                guarded(self.core, |core| carried = core.outbox.carry(core, self.deadline));
            }
            carried.unwrap_or_else(|| self.go_on())
        };
        (slot.state.lock(), in_time)
    }

    /// Whether it is for what he wrote himself: he sees to it where nobody else does.
    fn is_to_leave(&self) -> bool {
        self.awaited.is_some_and(|awaited| awaited.side == Side::Outgoing)
    }
}
