//! zlib, RFC 4253 §6.2: one stream for all packets of a direction, flushed at each.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{MAX_PACKET, PacketError};

/// How much the output grows at a time.
const STEP: usize = 16 * 1024;

/// The sending side's stream.
pub(super) struct Deflater {
    stream: Compress,
    pub(super) out: Vec<u8>,
}

impl std::fmt::Debug for Deflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Deflater")
    }
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self { stream: Compress::new(Compression::default(), true), out: Vec::new() }
    }

    /// Compresses the parts as one payload into `out`.
    pub(super) fn deflate(&mut self, parts: &[&[u8]]) -> Result<(), PacketError> {
        self.out.clear();
        for part in parts {
            self.feed(part, FlushCompress::None)?;
        }
        self.feed(&[], FlushCompress::Partial)
    }

    fn feed(&mut self, mut bytes: &[u8], flush: FlushCompress) -> Result<(), PacketError> {
        loop {
            self.out.reserve(STEP);
            let before = self.stream.total_in();
            let room = self.out.capacity().saturating_sub(self.out.len());
            let produced_before = self.stream.total_out();
            self.stream.compress_vec(bytes, &mut self.out, flush).map_err(|_| PacketError::Decompress)?;
            let taken = usize::try_from(self.stream.total_in().saturating_sub(before)).unwrap_or(usize::MAX);
            bytes = bytes.get(taken..).unwrap_or_default();
            let produced = self.stream.total_out().saturating_sub(produced_before);
            // Room left over means that the flush is complete.
            if bytes.is_empty() && produced < room as u64 {
                return Ok(());
            }
        }
    }
}

/// The receiving side's stream.
pub(super) struct Inflater {
    stream: Decompress,
    pub(super) out: Vec<u8>,
}

impl std::fmt::Debug for Inflater {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(true), out: Vec::new() }
    }

    /// Inflates one payload into `out`; more than a packet may hold is an error, found before it is
    /// allocated.
    pub(super) fn inflate(&mut self, mut bytes: &[u8]) -> Result<(), PacketError> {
        self.out.clear();
        loop {
            if self.out.len() > MAX_PACKET {
                return Err(PacketError::InflatedTooLong);
            }
            self.out.reserve(STEP);
            let room = self.out.capacity().saturating_sub(self.out.len());
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let status = self
                .stream
                .decompress_vec(bytes, &mut self.out, FlushDecompress::Sync)
                .map_err(|_| PacketError::Decompress)?;
            let taken =
                usize::try_from(self.stream.total_in().saturating_sub(before_in)).unwrap_or(usize::MAX);
            bytes = bytes.get(taken..).unwrap_or_default();
            let produced = self.stream.total_out().saturating_sub(before_out);
            match status {
                Status::StreamEnd => return Err(PacketError::Decompress),
                _ if bytes.is_empty() && produced < room as u64 => return Ok(()),
                _ if taken == 0 && produced == 0 => return Err(PacketError::Decompress),
                _ => {}
            }
        }
    }
}
