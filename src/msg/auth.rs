//! Authentication messages: RFC 4252, RFC 4256. What follows the method's name in a request, and
//! the numbers 60–79, belong to the method and are declared here by method.

use crate::wire::{Escaped, Hidden, NameList, Rest, messages};

messages! {
    /// RFC 4252 §5
    UserauthRequest<'a> = 50 { user: Escaped<'a>, service: Escaped<'a>, method: Escaped<'a>, rest: Rest<'a> }
    /// RFC 4252 §5.1
    UserauthFailure<'a> = 51 { methods: NameList<'a>, partial_success: bool }
    /// RFC 4252 §5.1
    UserauthSuccess = 52 {}
    /// RFC 4252 §5.4
    UserauthBanner<'a> = 53 { text: Escaped<'a>, language: &'a [u8] }
    /// RFC 4252 §7, answer to a key that was offered without a signature.
    UserauthPkOk<'a> = 60 { algorithm: Escaped<'a>, key: &'a [u8] }
    /// RFC 4252 §8
    UserauthPasswdChangereq<'a> = 60 { prompt: Escaped<'a>, language: &'a [u8] }
    /// RFC 4256 §3.2: `count` pairs of a prompt and an echo flag follow.
    UserauthInfoRequest<'a> = 60 { name: Escaped<'a>, instruction: Escaped<'a>, language: &'a [u8], count: u32, prompts: Rest<'a> }
    /// RFC 4256 §3.4: `count` strings follow.
    UserauthInfoResponse<'a> = 61 { count: u32, answers: HiddenRest<'a> }
}

/// The rest of a packet, never shown.
#[derive(Clone, Copy)]
pub(crate) struct HiddenRest<'a>(pub(crate) &'a [u8]);

impl std::fmt::Debug for HiddenRest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Hidden(self.0).fmt(f)
    }
}

impl<'a> crate::wire::Decode<'a> for HiddenRest<'a> {
    fn decode(reader: &mut crate::wire::Reader<'a>) -> Result<Self, crate::wire::Malformed> {
        Ok(Self(reader.rest()))
    }
}

impl crate::wire::Encode for HiddenRest<'_> {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0);
    }
}
