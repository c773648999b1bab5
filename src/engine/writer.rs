//! The writer thread: owns the timers, and sees to what leaves where nobody else is at it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::asking::GlobalWaiter;
use super::core::{Core, GOODBYE};
use super::lanes::Concerns;
use super::outbox::Due;
use crate::error::{Error, Phase};
use crate::msg::connection::GlobalRequest;
use crate::wire::{Encode, Escaped, Rest};

/// Runs until the transport ends; cuts the stream last.
pub(super) fn run(core: &Arc<Core>) {
    let mut timers = Timers::new(core);
    loop {
        let next = timers.next(core);
        match core.outbox.park(next) {
            Due::Stream => {}
            Due::Timer => {
                timers.passed(core);
                continue;
            }
            Due::Nothing => continue,
        }
        let stop = core.outbox.lanes.lock().stop.clone();
        let flush_until = stop.as_ref().and_then(|stop| stop.flush_until);
        if let Some(stop) = &stop
            && stop.flush_until.is_none_or(|until| until <= Instant::now())
        {
            break;
        }
        match core.outbox.drain(core, flush_until.or(next)) {
            Err(error) => core.die(error),
            // Everything has left, and it was asked to end. A rekey under way holds the rest back
            // until it is over or the time is up.
            Ok(true) if stop.is_some() && core.outbox.our_kexinit().is_none() => break,
            Ok(true) if stop.is_some() => {
                core.outbox.wait_changed(flush_until);
            }
            Ok(true) => {}
            Ok(false) => timers.passed(core),
        }
    }
    let stop = core.outbox.lanes.lock().stop.clone();
    if let (Some(goodbye), Some(deadline)) =
        (stop.and_then(|stop| stop.goodbye), Instant::now().checked_add(GOODBYE))
        && let Err(error) = core.outbox.say_goodbye(&goodbye, deadline)
    {
        log::debug!(target: "feramiko::transport", "{}: no goodbye: {error}", core.peer);
    }
    core.end();
}

/// When something has to happen without anybody asking.
struct Timers {
    keepalive: Option<Instant>,
    heard: u64,
    silent: u32,
}

impl Timers {
    fn new(core: &Core) -> Self {
        let keepalive = core.keepalive.and_then(|(interval, _)| Instant::now().checked_add(interval));
        Self { keepalive, heard: 0, silent: 0 }
    }

    /// The earliest of them.
    fn next(&self, core: &Core) -> Option<Instant> {
        let lanes = core.outbox.lanes.lock();
        let rekey = &lanes.rekey;
        let rekeyed = match rekey.since {
            Some(since) => since.checked_add(core.limits.rekey_timeout),
            None => rekey.last.and_then(|last| last.checked_add(core.limits.rekey_interval)),
        };
        drop(lanes);
        [self.keepalive, rekeyed].into_iter().flatten().min()
    }

    /// Does what is due.
    fn passed(&mut self, core: &Core) {
        let now = Instant::now();
        let (since, last) = {
            let lanes = core.outbox.lanes.lock();
            (lanes.rekey.since, lanes.rekey.last)
        };
        match since {
            Some(since) if now.saturating_duration_since(since) >= core.limits.rekey_timeout => {
                core.die(Error::Timeout(Phase::Rekey));
            }
            None if last
                .is_some_and(|last| now.saturating_duration_since(last) >= core.limits.rekey_interval) =>
            {
                if let Err(error) = core.begin_rekey() {
                    core.die(error);
                }
            }
            _ => {}
        }
        if self.keepalive.is_some_and(|due| due <= now) {
            self.keepalive_due(core, now);
        }
    }

    /// Counts the intervals in which nothing was heard; asks for a sign of life.
    fn keepalive_due(&mut self, core: &Core, now: Instant) {
        let Some((interval, count_max)) = core.keepalive else { return };
        self.keepalive = now.checked_add(interval);
        let heard = core.heard.load(Ordering::Relaxed);
        if heard != self.heard {
            self.heard = heard;
            self.silent = 0;
        } else {
            self.silent = self.silent.saturating_add(1);
            if self.silent > count_max {
                return core.die(Error::Timeout(Phase::Keepalive));
            }
        }
        let ask =
            GlobalRequest { kind: Escaped(b"keepalive@openssh.com"), want_reply: true, rest: Rest(b"") };
        // The answer matters to nobody but the reader, which counts it as heard.
        let (sender, _) = crossbeam_channel::bounded(1);
        core.post_control(ask.to_vec(), Concerns::Global(GlobalWaiter { sender, install: None }));
    }
}
