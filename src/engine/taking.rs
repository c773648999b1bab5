//! What a link does as long as a guard lives: takes channels that fit what was asked for, keeps things that
//! end with the transport.

use std::any::Any;
use std::sync::Arc;

use super::channel_link::ChannelLink;
use super::core::Core;
use super::incoming::{ChannelTaker, Fit, OpenRequest};
use super::link::Link;
use crate::error::Result;

impl Link {
    /// As long as what is returned lives, those channels of this kind that `fits` says of, by what came with
    /// the request, are handed to `run`, on a thread each, at most `limit` at once; also where somebody
    /// serves. `fits` is asked by the reader.
    pub(crate) fn take_fitting(
        &self,
        kind: &'static str,
        limit: usize,
        fits: impl Fn(&[u8]) -> Fit + Send + Sync + 'static,
        run: impl Fn(OpenRequest, &Self) -> Option<ChannelLink> + Send + Sync + 'static,
    ) -> Result<Taking> {
        self.core().not_shared(kind)?;
        let taker = Arc::new(ChannelTaker::new(kind, limit, fits, run));
        if !self.core().add_taker(Arc::clone(&taker)) {
            return Err(self.core().closed());
        }
        Ok(Taking { core: Arc::clone(self.core()), taker })
    }

    /// Hands a channel that reached whoever serves to who takes it by now; gives it back if nobody does. The
    /// first ones come before whoever serves has said who takes what.
    pub(crate) fn hand_on(&self, request: OpenRequest) -> Option<OpenRequest> {
        match self.core().taker_of(&request) {
            Some(taker) => taker.take(request),
            None => return Some(request),
        }
        None
    }

    /// Keeps `thing` until the transport dies or what is returned is dropped.
    pub(crate) fn hold(&self, thing: impl Any + Send) -> Held {
        Held { core: Arc::clone(self.core()), number: self.core().hold(Box::new(thing)) }
    }
}

/// Somebody takes channels as long as this lives.
pub(crate) struct Taking {
    core: Arc<Core>,
    taker: Arc<ChannelTaker>,
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.core.remove_takers(|known| Arc::ptr_eq(known, &self.taker));
    }
}

/// Something that is kept as long as this and the transport live.
pub(crate) struct Held {
    core: Arc<Core>,
    number: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.core.let_go(self.number);
    }
}
