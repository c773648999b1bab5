//! Transport layer messages that are no key exchange: RFC 4253 §11, RFC 8308, OpenSSH's PROTOCOL §1.8 (ping).

use crate::wire::{Escaped, Rest, messages};

messages! {
    /// RFC 4253 §11.1
    Disconnect<'a> = 1 { code: u32, text: Escaped<'a>, language: &'a [u8] }
    /// RFC 4253 §11.2
    Ignore<'a> = 2 { data: &'a [u8] }
    /// RFC 4253 §11.4
    Unimplemented = 3 { sequence: u32 }
    /// RFC 4253 §11.3
    Debug<'a> = 4 { always_display: bool, text: Escaped<'a>, language: &'a [u8] }
    /// RFC 4253 §10
    ServiceRequest<'a> = 5 { service: Escaped<'a> }
    /// RFC 4253 §10
    ServiceAccept<'a> = 6 { service: Escaped<'a> }
    /// RFC 8308 §2.3: `count` pairs of strings follow.
    ExtInfo<'a> = 7 { count: u32, extensions: Rest<'a> }
    /// OpenSSH's PROTOCOL §1.8, asked.
    Ping<'a> = 192 { data: &'a [u8] }
    /// OpenSSH's PROTOCOL §1.8, answered.
    Pong<'a> = 193 { data: &'a [u8] }
}
