//! X11 as far as its forwarding must know it: names of displays, the cookies that let clients in, the files
//! that hold them, and the first packet of a client. RFC 4254 §6.3, X(7), Xau(3), and §8 of the X Window
//! System Protocol.
//!
//! Bytes only: no socket, no file, no clock, nothing of channels.

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
#![cfg_attr(not(unix), allow(dead_code, unused_imports, reason = "X11 is forwarded on UNIX only"))]

mod authority;
mod cookie;
mod display;
mod setup;
#[cfg(test)]
mod tests;

pub(crate) use authority::{Address, Authority, Entry};
pub(crate) use cookie::{Cookie, PROTOCOL};
pub(crate) use display::{BASE_PORT, Display, Place};
pub(crate) use setup::{FirstPacket, HEADER};
