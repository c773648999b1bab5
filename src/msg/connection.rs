//! Connection layer messages: RFC 4254. The part of a request or an open that depends on its
//! type is `rest`; who handles the type decodes it.

use crate::wire::{Escaped, Rest, messages};

messages! {
    /// RFC 4254 §4
    GlobalRequest<'a> = 80 { kind: Escaped<'a>, want_reply: bool, rest: Rest<'a> }
    /// RFC 4254 §4
    RequestSuccess<'a> = 81 { rest: Rest<'a> }
    /// RFC 4254 §4
    RequestFailure = 82 {}
    /// RFC 4254 §5.1
    ChannelOpen<'a> = 90 { kind: Escaped<'a>, sender: u32, window: u32, max_packet: u32, rest: Rest<'a> }
    /// RFC 4254 §5.1
    ChannelOpenConfirmation<'a> = 91 { recipient: u32, sender: u32, window: u32, max_packet: u32, rest: Rest<'a> }
    /// RFC 4254 §5.1
    ChannelOpenFailure<'a> = 92 { recipient: u32, code: u32, text: Escaped<'a>, language: &'a [u8] }
    /// RFC 4254 §5.2
    ChannelWindowAdjust = 93 { recipient: u32, bytes: u32 }
    /// RFC 4254 §5.2
    ChannelData<'a> = 94 { recipient: u32, data: &'a [u8] }
    /// RFC 4254 §5.2
    ChannelExtendedData<'a> = 95 { recipient: u32, code: u32, data: &'a [u8] }
    /// RFC 4254 §5.3
    ChannelEof = 96 { recipient: u32 }
    /// RFC 4254 §5.3
    ChannelClose = 97 { recipient: u32 }
    /// RFC 4254 §5.4
    ChannelRequest<'a> = 98 { recipient: u32, kind: Escaped<'a>, want_reply: bool, rest: Rest<'a> }
    /// RFC 4254 §5.4
    ChannelSuccess = 99 { recipient: u32 }
    /// RFC 4254 §5.4
    ChannelFailure = 100 { recipient: u32 }
}
