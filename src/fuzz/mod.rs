//! Doors for the fuzzer: each takes bytes, does with them what a peer could make us do, and asserts
//! what must hold whatever they are. Built for tests and under `cfg(fuzzing)` only; a normal test
//! replays the corpus of `fuzz/` through them.

mod agent;
mod config;
mod connection;
mod files;
mod forward;
mod hosts;
mod lists;
mod machines;
#[cfg(unix)]
mod mux;
mod packets;
mod proxies;
mod scp;
mod session;
mod sftp;
mod sftp_client;
#[cfg(test)]
mod tests;
mod text;
mod x11;

pub use agent::{agent_client, agent_server};
pub use config::ssh_config;
pub use connection::connection;
pub use files::key_files;
pub use forward::{forwards, socks};
pub use hosts::host_keys;
pub use lists::{authorized_keys, revoked_keys, signatures};
pub use machines::{auth_client, auth_server, kex_client, kex_server};
#[cfg(unix)]
pub use mux::{mux_client, mux_master};
pub use packets::{ident, messages, open};
pub use proxies::proxies;
pub use scp::{scp_client, scp_server};
pub use session::session;
pub use sftp::sftp_server;
pub use sftp_client::sftp_client;
pub use text::{line_editor, text};
pub use x11::x11;

/// A target's name and its door.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("open", open),
    ("ident", ident),
    ("messages", messages),
    ("kex_client", kex_client),
    ("kex_server", kex_server),
    ("auth_client", auth_client),
    ("auth_server", auth_server),
    ("proxies", proxies),
    ("connection", connection),
    ("key_files", key_files),
    ("host_keys", host_keys),
    ("revoked_keys", revoked_keys),
    ("signatures", signatures),
    ("authorized_keys", authorized_keys),
    ("session", session),
    ("agent_server", agent_server),
    ("agent_client", agent_client),
    ("sftp_server", sftp_server),
    ("sftp_client", sftp_client),
    ("scp_client", scp_client),
    ("scp_server", scp_server),
    ("x11", x11),
    ("socks", socks),
    ("forwards", forwards),
    #[cfg(unix)]
    ("mux_master", mux_master),
    #[cfg(unix)]
    ("mux_client", mux_client),
    ("line_editor", line_editor),
    ("text", text),
    ("ssh_config", ssh_config),
];

/// The input as a source of small decisions; 0 when it has ended.
#[derive(Debug)]
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Up to `most` bytes; the first byte says how many.
    fn piece(&mut self, most: usize) -> &'a [u8] {
        let length = usize::from(self.byte()).saturating_mul(4).min(most).min(self.0.len());
        let (piece, rest) = self.0.split_at(length);
        self.0 = rest;
        piece
    }

    /// What becomes of an honest message on its way: mostly itself.
    fn meddle(&mut self, mut payload: Vec<u8>) -> Vec<Vec<u8>> {
        match self.byte() % 16 {
            1 => Vec::new(),
            2 => vec![payload.clone(), payload],
            3 => {
                let (at, with) = (usize::from(self.byte()), self.byte());
                if let Some(byte) = payload.get_mut(at) {
                    *byte ^= with;
                }
                vec![payload]
            }
            4 => {
                payload.truncate(usize::from(self.byte()));
                vec![payload]
            }
            5 => vec![self.piece(512).to_vec(), payload],
            6 => vec![payload, self.piece(512).to_vec()],
            7 => vec![self.piece(1024).to_vec()],
            8 => {
                let at = usize::from(self.byte()).saturating_mul(8).min(payload.len());
                let more = self.piece(64).to_vec();
                payload.splice(at..at, more);
                vec![payload]
            }
            _ => vec![payload],
        }
    }
}
