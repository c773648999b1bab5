//! Connection sharing: OpenSSH's ControlMaster protocol, PROTOCOL.mux version 4, both sides.
//!
//! [`MuxClient`] asks a running master for sessions, forwardings and its end, on its caller's thread.
//! [`ControlMaster`] is a master on a connection of ours: one thread accepts, one waits for the connection's end,
//! each client has one, and each session up to three that copy. Knows channels and the transport, not who logged
//! in nor who forwards.

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

mod answer;
mod client;
mod copying;
#[cfg(any(test, fuzzing))]
pub(crate) mod doors;
mod escape;
mod forward;
mod frame;
mod master;
mod message;
mod place;
mod session;
#[cfg(test)]
mod tests;

pub use client::{MuxClient, MuxCommand, MuxSession};
pub use escape::{Escape, Escapes};
pub use forward::{ForwardKind, ForwardRequest, Forwards};
pub use master::{ControlMaster, ControlMasterBuilder, MasterEnd};

use std::os::unix::net::UnixStream;

use crate::error::{Error, Result};
use crate::sys::tcp::peer_credentials;
use crate::sys::user::current_uid;

/// Whoever is at the other end of a control socket may use our connection, or gets our descriptors: our user
/// or root, nobody else.
fn check_peer(stream: &UnixStream) -> Result<()> {
    let uid = peer_credentials(stream).map_err(|error| Error::io("asking who shares", error))?.uid;
    if uid != 0 && uid != current_uid() {
        return Err(Error::protocol(format!("user {uid} is at the control socket")));
    }
    Ok(())
}
