//! The parts of the program `sshd` by themselves: their own tests, which cargo does not run in programs.

#![cfg(unix)]
#![allow(dead_code, reason = "the parts are mounted whole, and used in part")]

#[path = "../demos/sshd/config.rs"]
mod config;
#[path = "../demos/sshd/criteria.rs"]
mod criteria;
#[path = "../demos/sshd/keywords.rs"]
mod keywords;
#[path = "../demos/sshd/settings.rs"]
mod settings;
#[path = "../demos/support/mod.rs"]
mod support;
#[path = "../demos/sshd/tokens.rs"]
mod tokens;
#[path = "../demos/sshd/who.rs"]
mod who;
