//! A queue of bytes in chunks: what arrived for a stream and was not read yet, or what was written
//! and did not leave yet.
//!
//! Pure but for the process-wide pool that large chunks come from and go back to, so that an idle
//! channel holds no memory and a busy one keeps using chunks that are warm in the cache.

use std::collections::VecDeque;

use super::pool::Pool;

/// The size of a pooled chunk: two packets of the usual 32 KiB, and well inside an L2 cache.
const CHUNK: usize = 64 * 1024;
/// Pieces from this size on go into pooled chunks; smaller ones into vectors of their own size, so
/// that thousands of channels with a byte each hold no megabytes.
const POOLED_FROM: usize = 8 * 1024;
/// The smallest vector, so that a byte at a time is not an allocation a byte.
const SMALL: usize = 512;
/// Chunks that nobody uses: 4 MiB at most.
static FREE: Pool = Pool::new(64);

fn chunk_for(bytes: usize) -> Vec<u8> {
    if bytes < POOLED_FROM {
        return Vec::with_capacity(bytes.max(SMALL));
    }
    FREE.take().unwrap_or_else(|| Vec::with_capacity(CHUNK))
}

fn give_back(mut chunk: Vec<u8>) {
    if chunk.capacity() == CHUNK {
        chunk.clear();
        FREE.give_back(chunk);
    }
}

/// A queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    chunks: VecDeque<Vec<u8>>,
    /// How much of the first chunk is already drained.
    drained: usize,
    length: usize,
}

impl Pipe {
    /// The number of bytes in the queue.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends `bytes`.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        while !bytes.is_empty() {
            let room = self.chunks.back().map_or(0, |last| last.capacity().saturating_sub(last.len()));
            if room == 0 {
                self.chunks.push_back(chunk_for(bytes.len()));
                continue;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            if let Some(last) = self.chunks.back_mut() {
                last.extend_from_slice(now);
            }
            bytes = later;
        }
    }

    /// Appends all of another pipe.
    pub(super) fn append(&mut self, mut other: Self) {
        while !other.is_empty() {
            let piece = other.take_piece(usize::MAX);
            self.feed(piece.bytes());
            piece.give_back();
        }
    }

    /// The bytes at the front that lie together; empty only when the pipe is.
    pub(super) fn front(&self) -> &[u8] {
        self.chunks.front().and_then(|first| first.get(self.drained..)).unwrap_or_default()
    }

    /// Drops `count` bytes from the front.
    pub(super) fn skip(&mut self, count: usize) {
        let mut count = count.min(self.length);
        self.length = self.length.saturating_sub(count);
        while count > 0 {
            let here = self.front().len();
            if count < here {
                self.drained = self.drained.saturating_add(count);
                return;
            }
            count = count.saturating_sub(here);
            self.drained = 0;
            if let Some(chunk) = self.chunks.pop_front() {
                give_back(chunk);
            }
        }
    }

    /// Moves bytes from the front into `buf`; how many.
    pub(super) fn drain(&mut self, buf: &mut [u8]) -> usize {
        let mut done = 0_usize;
        while let Some(to) = buf.get_mut(done..).filter(|to| !to.is_empty()) {
            let from = self.front();
            if from.is_empty() {
                break;
            }
            let count = from.len().min(to.len());
            if let (Some(to), Some(from)) = (to.get_mut(..count), from.get(..count)) {
                to.copy_from_slice(from);
            }
            self.skip(count);
            done = done.saturating_add(count);
        }
        done
    }

    /// Takes up to `limit` bytes that lie together off the front: a whole chunk by moving it, a part
    /// of one by copying.
    pub(super) fn take_piece(&mut self, limit: usize) -> Piece {
        let here = self.front().len();
        if here > limit {
            let mut chunk = chunk_for(limit);
            chunk.extend_from_slice(self.front().get(..limit).unwrap_or_default());
            self.skip(limit);
            return Piece { chunk, from: 0 };
        }
        let Some(chunk) = self.chunks.pop_front() else {
            return Piece { chunk: Vec::new(), from: 0 };
        };
        self.length = self.length.saturating_sub(here);
        Piece { chunk, from: std::mem::take(&mut self.drained) }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.skip(self.length);
    }
}

/// Bytes that were taken off the front of a pipe.
pub(super) struct Piece {
    chunk: Vec<u8>,
    from: usize,
}

impl Piece {
    pub(super) fn bytes(&self) -> &[u8] {
        self.chunk.get(self.from..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Returns the memory to the pool.
    pub(super) fn give_back(self) {
        give_back(self.chunk);
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_whatever_the_sizes() {
        let mut pipe = Pipe::default();
        let (mut next_in, mut next_out) = (0_u8, 0_u8);
        let mut seed = 7_usize;
        for _ in 0..2000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let size = (seed >> 33) % 20_000;
            if seed & 1 << 20 == 0 {
                let piece: Vec<u8> = (0..size).map(|at| next_in.wrapping_add(at as u8)).collect();
                next_in = next_in.wrapping_add(size as u8);
                pipe.feed(&piece);
            } else {
                let mut buf = vec![0; size];
                let count = pipe.drain(&mut buf);
                for byte in &buf[..count] {
                    assert_eq!(*byte, next_out);
                    next_out = next_out.wrapping_add(1);
                }
            }
        }
        let mut rest = vec![0; pipe.len()];
        assert_eq!(pipe.drain(&mut rest), rest.len());
        assert!(pipe.is_empty() && pipe.front().is_empty());
    }

    #[test]
    fn a_small_piece_takes_little_memory() {
        let mut pipe = Pipe::default();
        pipe.feed(b"x");
        assert!(pipe.chunks[0].capacity() < 2 * SMALL);
        pipe.skip(1);
        assert!(pipe.chunks.is_empty());
    }
}
