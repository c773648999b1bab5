//! What the programs in `demos/` share: arguments, log, output, terminal, progress bar. A program takes
//! it in with `mod support;`.

#![allow(dead_code, reason = "no program uses everything")]

pub(crate) mod args;
#[cfg(unix)]
pub(crate) mod connect;
#[cfg(unix)]
pub(crate) mod copying;
#[cfg(unix)]
pub(crate) mod destination;
#[cfg(unix)]
pub(crate) mod forwarding;
pub(crate) mod given;
pub(crate) mod home;
pub(crate) mod log;
pub(crate) mod output;
pub(crate) mod progress;
#[cfg(unix)]
pub(crate) mod prompt;
#[cfg(unix)]
pub(crate) mod questions;
#[cfg(unix)]
pub(crate) mod stdio;
#[cfg(unix)]
pub(crate) mod syslog;
#[cfg(unix)]
pub(crate) mod terminal;
