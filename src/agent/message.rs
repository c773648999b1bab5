//! The agent's messages: RFC 9987 §5.

use crate::wire::{Rest, messages};

messages! {
    /// RFC 9987 §5.1.1
    Failure = 5 {}
    /// RFC 9987 §3.5
    RequestIdentities = 11 {}
    /// RFC 9987 §3.5: `count` pairs of a key and a comment follow.
    IdentitiesAnswer<'a> = 12 { count: u32, keys: Rest<'a> }
    /// RFC 9987 §3.6
    SignRequest<'a> = 13 { key: &'a [u8], data: &'a [u8], flags: u32 }
    /// RFC 9987 §3.6
    SignResponse<'a> = 14 { signature: &'a [u8] }
}
