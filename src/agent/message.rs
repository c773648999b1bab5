//! The agent's messages, RFC 9987; the numbers are those of §8.1.

use crate::wire::{Hidden, Rest, messages};

messages! {
    /// What agents answer to what they will or can not do.
    Failure = 5 {}
    /// It is done.
    Success = 6 {}
    /// RFC 9987, "Requesting a List of Keys"
    RequestIdentities = 11 {}
    /// The answer: `count` pairs of a key and a comment follow.
    IdentitiesAnswer<'a> = 12 { count: u32, keys: Rest<'a> }
    /// RFC 9987, "Private Key Operations"
    SignRequest<'a> = 13 { key: &'a [u8], data: &'a [u8], flags: u32 }
    /// The answer: a whole signature blob of RFC 4253 §6.6.
    SignResponse<'a> = 14 { signature: &'a [u8] }
    /// RFC 9987, "Adding Keys to the Agent": type, numbers and comment.
    AddIdentity<'a> = 17 { fields: Rest<'a> }
    /// RFC 9987, "Removing Keys from the Agent"
    RemoveIdentity<'a> = 18 { key: &'a [u8] }
    /// Removes every key.
    RemoveAllIdentities = 19 {}
    /// RFC 9987, "Adding Keys from a Token"
    AddSmartcardKey<'a> = 20 { provider: &'a [u8], pin: Hidden<'a> }
    /// Removes the keys of a token.
    RemoveSmartcardKey<'a> = 21 { provider: &'a [u8], pin: Hidden<'a> }
    /// RFC 9987, "Locking and Unlocking the Agent"
    Lock<'a> = 22 { passphrase: Hidden<'a> }
    /// Undoes it.
    Unlock<'a> = 23 { passphrase: Hidden<'a> }
    /// As 17, constraints behind it.
    AddIdConstrained<'a> = 25 { fields: Rest<'a> }
    /// As 20, constraints behind it.
    AddSmartcardKeyConstrained<'a> = 26 { provider: &'a [u8], pin: Hidden<'a>, constraints: Rest<'a> }
    /// RFC 9987, "Extension Mechanism"
    Extension<'a> = 27 { name: &'a [u8], contents: Rest<'a> }
    /// The agent knows the extension, and it failed.
    ExtensionFailure = 28 {}
    /// The answer of extensions that have more to say than yes.
    ExtensionResponse<'a> = 29 { name: &'a [u8], contents: Rest<'a> }
}

/// SSH_AGENT_FAILURE, and the numbers that agents older than the RFC have for it.
pub(super) const FAILURES: [u8; 3] = [Failure::NUMBER, 30, 102];

/// The flags of a sign request, by signature algorithm; every other algorithm has none. Without them
/// RSA keys sign with SHA-1.
pub(super) const FLAGS: [(&str, u32); 4] = [
    ("rsa-sha2-256", 2),
    ("rsa-sha2-512", 4),
    ("rsa-sha2-256-cert-v01@openssh.com", 2),
    ("rsa-sha2-512-cert-v01@openssh.com", 4),
];

/// The extension that lists the extensions, RFC 9987.
pub(super) const QUERY: &str = "query";
/// OpenSSH's PROTOCOL.agent §1: tells the agent which session a connection serves.
pub(super) const SESSION_BIND: &str = "session-bind@openssh.com";
/// OpenSSH's PROTOCOL.agent §2: the constraint that names the hosts a key may be used for.
pub(super) const RESTRICT_DESTINATION: &str = "restrict-destination-v00@openssh.com";

/// The kinds of constraints, RFC 9987, "Key Constraints".
pub(super) mod constraint {
    /// A `u32` of seconds follows.
    pub(in crate::agent) const LIFETIME: u8 = 1;
    /// The user is asked before each use.
    pub(in crate::agent) const CONFIRM: u8 = 2;
    /// A name follows, and what the name says.
    pub(in crate::agent) const EXTENSION: u8 = 255;
}
