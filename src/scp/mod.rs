//! SCP: the protocol of `scp -t` and `scp -f`, which OpenSSH calls legacy, on either side of any stream.
//!
//! One thread, the caller's, does it all. Knows nothing of clients and servers of SSH but their channels.

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

mod client;
mod expected;
mod failure;
mod local;
mod options;
mod peer;
mod record;
mod remote;
mod server;
mod sink;
mod source;
#[cfg(all(test, unix))]
mod tests;

pub use client::SCPClient;
pub use failure::{SCPError, SCPFailure};
pub use options::SCPProgress;
pub use server::SCPServer;
