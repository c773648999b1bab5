//! What waits to leave, in three lanes, and who sees to it: *kex* (alone while keys are exchanged), *control*
//! (bounded in bytes), *data* (channels that have something, round robin).
//!
//! Knows nothing of sealing and of streams.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::asking::GlobalWaiter;
use super::slot::Slot;
use super::sync::{ThreadId, thread_id};
use crate::packet::SealKeys;

/// An item of the kex lane.
pub(super) enum KexItem {
    /// Our KEXINIT: from here on only the kex lane moves.
    Init(Vec<u8>),
    Send(Vec<u8>),
    /// Send NEWKEYS under the old keys, then use these.
    NewKeys {
        keys: SealKeys,
        reset_sequence: bool,
    },
}

/// Whom a control message concerns when it leaves.
pub(super) enum Concerns {
    Nobody,
    /// Who waits for the answer to a request of the connection.
    Global(GlobalWaiter),
    /// It answers on that channel: after our CLOSE it does not leave any more.
    Channel(Arc<Slot>),
}

/// An item of the control lane.
pub(super) struct Control {
    pub(super) payload: Vec<u8>,
    pub(super) concerns: Concerns,
}

impl Control {
    /// What it takes while it waits: short answers are mostly the queue's and the allocator's bytes.
    pub(super) fn cost(&self) -> usize {
        const QUEUED: usize = size_of::<Control>() + 32;
        self.payload.len().saturating_add(QUEUED)
    }
}

/// The exchange of new keys, under way or past.
#[derive(Debug, Clone, Default)]
pub(super) struct Rekey {
    /// Our KEXINIT, until the peer's NEWKEYS.
    pub(super) ours: Option<Vec<u8>>,
    pub(super) since: Option<Instant>,
    /// When the last one was over.
    pub(super) last: Option<Instant>,
    /// Exchanges that were finished after the first.
    pub(super) count: u64,
}

#[derive(Default)]
pub(super) struct Lanes {
    pub(super) kex: VecDeque<KexItem>,
    pub(super) control: VecDeque<Control>,
    pub(super) control_bytes: usize,
    pub(super) data: VecDeque<Arc<Slot>>,
    /// Our KEXINIT is out or under way; only the kex lane moves until NEWKEYS has left.
    pub(super) rekeying: bool,
    /// In the same lock as the lane: whoever sees that our KEXINIT is there may post what follows it.
    pub(super) rekey: Rekey,
    /// The writer has to look at its timers anew.
    pub(super) retime: bool,
    /// Sealed bytes wait for the stream.
    pub(super) stalled: bool,
    /// Why and until when the writer should end.
    pub(super) stop: Option<Stop>,
    /// What is left is a user's, who may be back in no time: the writer looks only when he has stayed away.
    pub(super) lent: bool,
    /// How often users have left something.
    pub(super) left: u64,
    /// Who did so last.
    pub(super) left_by: Option<ThreadId>,
    /// A user waits for the stream.
    pub(super) carried: bool,
    pub(super) writer: Sleep,
}

/// Whether the writer sleeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Sleep {
    #[default]
    Awake,
    /// It looks soon whether users are still at it.
    Naps,
    /// Until it is called, or a timer passes.
    Sleeps,
}

/// How the writer ends.
#[derive(Clone)]
pub(super) struct Stop {
    /// Everything that waits leaves before the goodbye, until that time.
    pub(super) flush_until: Option<Instant>,
    /// The DISCONNECT to send last.
    pub(super) goodbye: Option<Vec<u8>>,
}

pub(super) enum Item {
    Kex(KexItem),
    Control(Control),
    Data(Arc<Slot>),
}

impl Lanes {
    pub(super) fn next(&mut self) -> Option<Item> {
        if let Some(item) = self.kex.pop_front() {
            return Some(Item::Kex(item));
        }
        if self.rekeying {
            return None;
        }
        if let Some(item) = self.control.pop_front() {
            self.control_bytes = self.control_bytes.saturating_sub(item.cost());
            return Some(Item::Control(item));
        }
        self.data.pop_front().map(Item::Data)
    }

    /// Whether anything may leave now.
    pub(super) fn has_work(&self) -> bool {
        !self.kex.is_empty() || (!self.rekeying && (!self.control.is_empty() || !self.data.is_empty()))
    }

    /// Whether anything is to be done for the stream.
    pub(super) fn is_due(&self) -> bool {
        self.stalled || self.has_work()
    }

    /// What is left, if anything, is a user's for now. The writer must not sleep then.
    pub(super) fn lend(&mut self) {
        self.lent = self.is_due();
        self.left = self.left.wrapping_add(1);
        self.left_by = Some(thread_id());
    }

    /// Whether nothing waits but what one channel has.
    pub(super) fn are_ones(&self) -> bool {
        self.kex.is_empty() && self.control.is_empty() && self.data.len() <= 1
    }
}
