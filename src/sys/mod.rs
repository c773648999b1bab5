//! What std lacks of the system, by the safe interfaces of rustix, nix, socket2 and jiff: terminals,
//! processes, accounts, socket options, time zones. No `unsafe`, nothing of SSH's packets.
//!
//! What only Unix has is not there on other systems.

#![allow(dead_code, reason = "the room is whole; root's logins and forwarding come to use the rest of it")]
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

pub(crate) mod clock;
#[cfg(unix)]
pub(crate) mod dir;
pub(crate) mod entry;
pub(crate) mod file;
#[cfg(unix)]
pub(crate) mod filedata;
#[cfg(unix)]
pub(crate) mod launch;
pub(crate) mod local_time;
#[cfg(unix)]
pub(crate) mod login;
pub(crate) mod modes;
pub(crate) mod names;
pub(crate) mod pace;
#[cfg(unix)]
pub(crate) mod passing;
#[cfg(unix)]
pub(crate) mod pipe;
#[cfg(unix)]
pub(crate) mod private;
#[cfg(unix)]
pub(crate) mod process;
#[cfg(unix)]
pub(crate) mod pty;
#[cfg(unix)]
pub(crate) mod root;
#[cfg(unix)]
pub(crate) mod safe;
#[cfg(unix)]
pub(crate) mod shadow;
pub(crate) mod signals;
#[cfg(unix)]
pub(crate) mod socket;
pub(crate) mod standard;
pub(crate) mod tcp;
#[cfg(unix)]
pub(crate) mod terminal;
pub(crate) mod traffic;
pub(crate) mod user;
#[cfg(windows)]
pub(crate) mod windir;
#[cfg(windows)]
pub(crate) mod winsock;

#[cfg(windows)]
pub(crate) use windir as dir;
#[cfg(windows)]
pub(crate) use winsock as socket;
