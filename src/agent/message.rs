//! The agent's messages, RFC 9987; the numbers are those of §8.1.

use crate::wire::{Rest, messages};

messages! {
    /// RFC 9987, "Requesting a List of Keys"
    RequestIdentities = 11 {}
    /// The answer: `count` pairs of a key and a comment follow.
    IdentitiesAnswer<'a> = 12 { count: u32, keys: Rest<'a> }
    /// RFC 9987, "Private Key Operations"
    SignRequest<'a> = 13 { key: &'a [u8], data: &'a [u8], flags: u32 }
    /// The answer: a whole signature blob of RFC 4253 §6.6.
    SignResponse<'a> = 14 { signature: &'a [u8] }
}

/// What agents answer to what they will or can not do: SSH_AGENT_FAILURE, and the numbers that agents
/// older than the RFC have for it.
pub(super) const FAILURES: [u8; 3] = [5, 30, 102];

/// The flags of a sign request, by signature algorithm; every other algorithm has none. Without them
/// RSA keys sign with SHA-1.
pub(super) const FLAGS: [(&str, u32); 4] = [
    ("rsa-sha2-256", 2),
    ("rsa-sha2-512", 4),
    ("rsa-sha2-256-cert-v01@openssh.com", 2),
    ("rsa-sha2-512-cert-v01@openssh.com", 4),
];
