//! Compression of payloads, RFC 4253 §6.2: one zlib stream a direction, flushed at each packet.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use zeroize::Zeroizing;

use crate::crypto::Rank;

use super::own::{CompressionState, StartCompression};
use super::{MAX_PACKET, PacketError};

/// When a compression starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Never,
    /// With the keys.
    AtOnce,
    /// After authentication: strangers get no inflater to attack.
    Delayed,
}

/// A compression: a row of the table, or a user's own.
#[derive(Debug)]
pub struct CompressionSpec {
    pub(crate) name: &'static str,
    pub(crate) rank: Rank,
    pub(super) start: Start,
    /// A user's; zlib without.
    pub(super) own: Option<StartCompression>,
}

const fn row(name: &'static str, rank: Rank, start: Start) -> CompressionSpec {
    CompressionSpec { name, rank, start, own: None }
}

impl CompressionSpec {
    pub(super) fn compressor(&self) -> Compressor {
        self.own.map_or_else(|| Compressor::Zlib(Deflater::new()), |start| Compressor::Own(start()))
    }

    pub(super) fn decompressor(&self) -> Decompressor {
        match self.own {
            None => Decompressor::Zlib(Inflater::new()),
            Some(start) => Decompressor::Own(start(), Zeroizing::new(Vec::new())),
        }
    }

    /// Whether it runs, given whether the user is authenticated.
    pub(super) fn runs(&self, authenticated: bool) -> bool {
        match self.start {
            Start::Never => false,
            Start::AtOnce => true,
            Start::Delayed => authenticated,
        }
    }
}

/// In order of preference. Compression is off by default: it tells an observer how predictable the data is.
pub(crate) static COMPRESSIONS: &[CompressionSpec] = &[
    row("none", Rank::Default, Start::Never),
    row("zlib@openssh.com", Rank::Supported, Start::Delayed),
    row("zlib", Rank::Supported, Start::AtOnce),
];

/// The compression of that name.
pub(crate) fn compression(name: &str) -> Option<&'static CompressionSpec> {
    COMPRESSIONS.iter().find(|spec| spec.name == name)
}

/// The sending end of any compression.
pub(super) enum Compressor {
    Zlib(Deflater),
    Own(Box<dyn CompressionState>),
}

impl Compressor {
    /// Appends the compressed concatenation of `parts` to `out`.
    pub(super) fn deflate(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), PacketError> {
        match self {
            Self::Zlib(deflater) => deflater.deflate(parts, out),
            Self::Own(state) => state.compress(&Zeroizing::new(parts.concat()), out),
        }
    }
}

/// The receiving end of any compression, with the last payload.
pub(super) enum Decompressor {
    Zlib(Inflater),
    Own(Box<dyn CompressionState>, Zeroizing<Vec<u8>>),
}

impl Decompressor {
    /// The last payload.
    pub(super) fn payload(&self) -> &[u8] {
        match self {
            Self::Zlib(inflater) => inflater.payload(),
            Self::Own(_, payload) => payload,
        }
    }

    /// Inflates one packet's payload; gives its length.
    pub(super) fn inflate(&mut self, input: &[u8]) -> Result<usize, PacketError> {
        let (state, payload) = match self {
            Self::Zlib(inflater) => return inflater.inflate(input),
            Self::Own(state, payload) => (state, payload),
        };
        payload.clear();
        state.decompress(input, MAX_PACKET, payload)?;
        match payload.len() {
            0 => Err(PacketError::Decompress),
            length if length > MAX_PACKET => Err(PacketError::InflatedTooLong),
            length => Ok(length),
        }
    }
}

/// What one call of the compressor may write: a few of them make a packet.
const DEFLATE_CHUNK: usize = 4 * 1024;

/// The sending end of the stream.
pub(super) struct Deflater {
    stream: Compress,
    chunk: Box<[u8; DEFLATE_CHUNK]>,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self { stream: Compress::new(Compression::default(), true), chunk: Box::new([0; DEFLATE_CHUNK]) }
    }

    /// Appends the compressed concatenation of `parts` to `out`.
    pub(super) fn deflate(&mut self, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), PacketError> {
        for part in parts {
            self.run(part, out, FlushCompress::None)?;
        }
        self.run(&[], out, FlushCompress::Partial)
    }

    /// Runs until all of `input` is taken and all output is written, as a chunk that is not full tells.
    fn run(&mut self, input: &[u8], out: &mut Vec<u8>, flush: FlushCompress) -> Result<(), PacketError> {
        let mut input = input;
        loop {
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            self.stream
                .compress(input, self.chunk.as_mut_slice(), flush)
                .map_err(|_| PacketError::Compress)?;
            let taken = difference(before_in, self.stream.total_in());
            let written = difference(before_out, self.stream.total_out());
            input = input.get(taken..).unwrap_or_default();
            out.extend_from_slice(self.chunk.get(..written).unwrap_or_default());
            if input.is_empty() && written < DEFLATE_CHUNK {
                return Ok(());
            }
        }
    }
}

/// The receiving end of the stream, with the last payload.
pub(super) struct Inflater {
    stream: Decompress,
    /// As long as the longest payload so far, rounded up, and never wiped in between.
    buffer: Zeroizing<Vec<u8>>,
    /// Bytes of the last payload in it.
    filled: usize,
}

/// What the payload's buffer starts with; most packets are short.
const FIRST_INFLATED: usize = 4 * 1024;

impl Inflater {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(true), buffer: Zeroizing::new(Vec::new()), filled: 0 }
    }

    /// The last payload.
    pub(super) fn payload(&self) -> &[u8] {
        self.buffer.get(..self.filled).unwrap_or_default()
    }

    /// Inflates one packet's payload; gives its length. Runs until a call neither takes nor gives anything.
    pub(super) fn inflate(&mut self, input: &[u8]) -> Result<usize, PacketError> {
        let mut input = input;
        self.filled = 0;
        loop {
            self.make_room()?;
            let (before_in, before_out) = (self.stream.total_in(), self.stream.total_out());
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            let status = self.stream.decompress(input, room, FlushDecompress::Sync);
            let taken = difference(before_in, self.stream.total_in());
            let written = difference(before_out, self.stream.total_out());
            input = input.get(taken..).unwrap_or_default();
            self.filled = self.filled.saturating_add(written);
            match status {
                Ok(Status::Ok | Status::BufError) if taken > 0 || written > 0 => {}
                Ok(Status::Ok | Status::BufError) if input.is_empty() && self.filled > 0 => break,
                // Also the end of the stream, which SSH has no use for.
                _ => return Err(PacketError::Decompress),
            }
        }
        if self.filled > MAX_PACKET { Err(PacketError::InflatedTooLong) } else { Ok(self.filled) }
    }

    /// Grows a full buffer, by doubling, to one byte more than a payload may have.
    fn make_room(&mut self) -> Result<(), PacketError> {
        if self.filled < self.buffer.len() {
            return Ok(());
        }
        if self.filled > MAX_PACKET {
            return Err(PacketError::InflatedTooLong);
        }
        let goal = self.filled.saturating_mul(2).clamp(FIRST_INFLATED, MAX_PACKET.saturating_add(1));
        let mut grown = Zeroizing::new(vec![0; goal]);
        for (to, from) in grown.iter_mut().zip(self.buffer.iter()) {
            *to = *from;
        }
        self.buffer = grown;
        Ok(())
    }
}

/// How far a stream's total went.
fn difference(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}
