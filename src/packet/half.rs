//! What sealing and opening have in common: the keys of one direction, what they have done, and when its
//! compression starts.

use super::PLAIN_BLOCK;
use super::compress::CompressionSpec;
use super::count::{Counter, Usage};
use super::protect::Protection;
use super::suite::Keys;

/// One direction, whose compressor or decompressor is a `C`.
pub(super) struct Half<C> {
    pub(super) protection: Protection,
    pub(super) block: usize,
    pub(super) counter: Counter,
    /// Once compression runs.
    pub(super) compressor: Option<C>,
    start: fn(&CompressionSpec) -> C,
    compression: Option<&'static CompressionSpec>,
    authenticated: bool,
}

impl<C> Half<C> {
    /// No encryption, packets counted from 0; `start` makes the compressor of a set of keys.
    pub(super) fn plain(start: fn(&CompressionSpec) -> C) -> Self {
        Self {
            protection: Protection::Plain,
            block: PLAIN_BLOCK,
            counter: Counter::plain(),
            compressor: None,
            start,
            compression: None,
            authenticated: false,
        }
    }

    /// The same without padding, where another program has the keys.
    #[cfg_attr(not(unix), allow(dead_code, reason = "only UNIX sockets have masters"))]
    pub(super) fn shared(start: fn(&CompressionSpec) -> C) -> Self {
        Self { protection: Protection::Shared, counter: Counter::shared(), ..Self::plain(start) }
    }

    /// How much the length field counts for a packet's alignment.
    pub(super) fn aligned(&self) -> usize {
        if self.protection.aligns_length() { super::LENGTH_FIELD } else { 0 }
    }

    pub(super) fn replace(&mut self, keys: Keys, reset_sequence: bool) {
        self.counter.replace(keys.block, keys.block_limit, reset_sequence);
        self.protection = keys.protection;
        self.block = keys.block;
        self.compression = Some(keys.suite.compression);
        self.compressor = None;
        self.start_compression();
    }

    pub(super) fn start_delayed_compression(&mut self) {
        self.authenticated = true;
        self.start_compression();
    }

    /// Each set of keys has a new stream, RFC 4253 §6.2.
    fn start_compression(&mut self) {
        let running = self.compression.filter(|spec| spec.runs(self.authenticated));
        if let Some(spec) = running.filter(|_| self.compressor.is_none()) {
            self.compressor = Some((self.start)(spec));
        }
    }

    pub(super) fn usage(&self) -> Usage {
        self.counter.usage()
    }

    pub(super) fn rekey_due(&self) -> bool {
        self.counter.rekey_due()
    }
}
