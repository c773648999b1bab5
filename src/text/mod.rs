//! Streams as text: encodings, lines, and reading up to a pattern, for scripts that wait for a prompt.
//!
//! Runs on the thread that reads or writes. Knows streams, not what carries them.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod encoding;
mod pending;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use encoding::Encoding;
pub use reader::{ByteReader, TextReader, Until};
pub use writer::TextWriter;
