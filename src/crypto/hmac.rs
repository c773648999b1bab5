//! HMAC (RFC 2104) over OpenSSL's hash states: the two keyed states are made once and cloned for
//! each packet, which costs a tenth of what a keyed context costs.

use std::fmt;

use openssl::sha::{Sha1, Sha256, Sha512};

use super::hash::HashAlg;

/// A keyed MAC.
#[derive(Clone)]
pub(crate) struct Hmac(State);

#[derive(Clone)]
enum State {
    Sha1 { inner: Sha1, outer: Sha1 },
    Sha256 { inner: Sha256, outer: Sha256 },
    Sha512 { inner: Sha512, outer: Sha512 },
}

/// The longest tag.
pub(crate) const MAX_TAG: usize = 64;

/// A MAC's output, in its first `length` bytes.
#[derive(Clone, Copy)]
pub(crate) struct Tag {
    bytes: [u8; MAX_TAG],
    length: usize,
}

impl Tag {
    fn new(tag: &[u8]) -> Self {
        let mut bytes = [0; MAX_TAG];
        for (to, from) in bytes.iter_mut().zip(tag) {
            *to = *from;
        }
        Self { bytes, length: tag.len() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hmac(***)")
    }
}

/// One hash family's keyed states and tag; the three differ in type only.
macro_rules! keyed {
    ($hash:ident, $block:literal, $key:expr) => {{
        let (mut inner_pad, mut outer_pad) = ([0x36_u8; $block], [0x5c_u8; $block]);
        for ((inner, outer), byte) in inner_pad.iter_mut().zip(outer_pad.iter_mut()).zip($key) {
            *inner ^= byte;
            *outer ^= byte;
        }
        let (mut inner, mut outer) = ($hash::new(), $hash::new());
        inner.update(&inner_pad);
        outer.update(&outer_pad);
        zeroize::Zeroize::zeroize(&mut inner_pad);
        zeroize::Zeroize::zeroize(&mut outer_pad);
        State::$hash { inner, outer }
    }};
}

macro_rules! tag {
    ($inner:expr, $outer:expr, $parts:expr) => {{
        let (mut inner, mut outer) = ($inner.clone(), $outer.clone());
        for part in $parts {
            inner.update(part);
        }
        outer.update(&inner.finish());
        Tag::new(&outer.finish())
    }};
}

impl Hmac {
    /// A MAC keyed with `key`, which is at most one block long; none for hashes no MAC uses.
    pub(crate) fn new(hash: HashAlg, key: &[u8]) -> Option<Self> {
        Some(Self(match hash {
            HashAlg::Sha1 => keyed!(Sha1, 64, key),
            HashAlg::Sha256 => keyed!(Sha256, 64, key),
            HashAlg::Sha512 => keyed!(Sha512, 128, key),
            HashAlg::Md5 | HashAlg::Sha384 => return None,
        }))
    }

    /// The tag over the parts as if they were one.
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> Tag {
        match &self.0 {
            State::Sha1 { inner, outer } => tag!(inner, outer, parts),
            State::Sha256 { inner, outer } => tag!(inner, outer, parts),
            State::Sha512 { inner, outer } => tag!(inner, outer, parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 §4.3 and RFC 2202 §3: key "Jefe".
    #[test]
    fn vectors_of_the_rfcs() {
        let data: [&[u8]; 2] = [b"what do ya want ", b"for nothing?"];
        let cases = [
            (HashAlg::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (HashAlg::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                HashAlg::Sha512,
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ];
        for (hash, expected) in cases {
            let tag = Hmac::new(hash, b"Jefe").unwrap().tag(&data);
            let hex: String = tag.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, expected);
        }
    }
}
