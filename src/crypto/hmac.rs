//! HMAC (RFC 2104) over MD5, SHA-1 and SHA-2, made for many short messages under one key.
//!
//! The two hash states that have taken the padded key are made once and cloned for each message:
//! an order of magnitude cheaper at 64 bytes than OpenSSL's own HMAC through its key objects.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)
)]
#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::as_conversions))]

use md5::Md5;
use openssl::sha::{Sha1, Sha256, Sha512};
use zeroize::Zeroizing;

use super::CryptoError;
use super::hash::HashAlg;

/// The longest output: SHA-512's.
pub(crate) const MAX_MAC: usize = 64;

/// An HMAC key, ready for use.
pub(crate) enum Hmac {
    Md5(Box<Keyed<Md5>>),
    Sha1(Box<Keyed<Sha1>>),
    Sha256(Box<Keyed<Sha256>>),
    Sha512(Box<Keyed<Sha512>>),
}

impl Hmac {
    pub(crate) fn new(alg: HashAlg, key: &[u8]) -> Result<Self, CryptoError> {
        match alg {
            HashAlg::Md5 => Ok(Self::Md5(Box::new(Keyed::new(key)))),
            HashAlg::Sha1 => Ok(Self::Sha1(Box::new(Keyed::new(key)))),
            HashAlg::Sha256 => Ok(Self::Sha256(Box::new(Keyed::new(key)))),
            HashAlg::Sha512 => Ok(Self::Sha512(Box::new(Keyed::new(key)))),
            HashAlg::Sha224 | HashAlg::Sha384 => Err(CryptoError(format!("no HMAC over {alg:?}"))),
        }
    }

    /// The MAC of the concatenated `parts`, in the front of `out`.
    pub(crate) fn compute<'a>(&self, parts: &[&[u8]], out: &'a mut [u8; MAX_MAC]) -> &'a [u8] {
        match self {
            Self::Md5(keyed) => keyed.compute(parts, out),
            Self::Sha1(keyed) => keyed.compute(parts, out),
            Self::Sha256(keyed) => keyed.compute(parts, out),
            Self::Sha512(keyed) => keyed.compute(parts, out),
        }
    }
}

/// The hash states after the inner and the outer padded key.
pub(crate) struct Keyed<S: State> {
    inner: S,
    outer: S,
}

impl<S: State> Keyed<S> {
    fn new(key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0; MAX_BLOCK]);
        let hashed;
        let key = if key.len() > S::BLOCK {
            let mut state = S::start();
            state.update(key);
            hashed = Zeroizing::new(state.finish());
            hashed.as_ref()
        } else {
            key
        };
        for (to, from) in block.iter_mut().zip(key) {
            *to = *from;
        }
        Self { inner: padded::<S>(&block, 0x36), outer: padded::<S>(&block, 0x5c) }
    }

    fn compute<'a>(&self, parts: &[&[u8]], out: &'a mut [u8; MAX_MAC]) -> &'a [u8] {
        let mut inner = self.inner.clone();
        for part in parts {
            inner.update(part);
        }
        let mut outer = self.outer.clone();
        outer.update(inner.finish().as_ref());
        let mac = outer.finish();
        let mac = mac.as_ref();
        for (to, from) in out.iter_mut().zip(mac) {
            *to = *from;
        }
        out.get(..mac.len()).unwrap_or_default()
    }
}

/// The states are as good as the key: they are overwritten, and the compiler is told that somebody looks.
impl<S: State> Drop for Keyed<S> {
    fn drop(&mut self) {
        self.inner = S::start();
        self.outer = S::start();
        std::hint::black_box(&*self);
    }
}

fn padded<S: State>(key_block: &[u8; MAX_BLOCK], pad: u8) -> S {
    let mut block = Zeroizing::new(*key_block);
    for byte in block.iter_mut() {
        *byte ^= pad;
    }
    let mut state = S::start();
    state.update(block.get(..S::BLOCK).unwrap_or_default());
    state
}

/// The largest block: SHA-512's.
const MAX_BLOCK: usize = 128;

/// A hash function in the middle of its work.
pub(crate) trait State: Clone {
    /// Bytes in a block of the hash.
    const BLOCK: usize;
    type Output: AsRef<[u8]> + zeroize::Zeroize;

    fn start() -> Self;
    fn update(&mut self, bytes: &[u8]);
    fn finish(self) -> Self::Output;
}

macro_rules! state {
    ($name:ty, $block:literal, $output:literal) => {
        impl State for $name {
            const BLOCK: usize = $block;
            type Output = [u8; $output];

            fn start() -> Self {
                Self::new()
            }

            fn update(&mut self, bytes: &[u8]) {
                self.update(bytes);
            }

            fn finish(self) -> Self::Output {
                self.finish()
            }
        }
    };
}

state!(Sha1, 64, 20);
state!(Sha256, 64, 32);
state!(Sha512, 128, 64);

/// The `md-5` crate's: OpenSSL's needs an allocation and may fail.
impl State for Md5 {
    const BLOCK: usize = 64;
    type Output = [u8; 16];

    fn start() -> Self {
        Self::default()
    }

    fn update(&mut self, bytes: &[u8]) {
        md5::Digest::update(self, bytes);
    }

    fn finish(self) -> [u8; 16] {
        md5::Digest::finalize(self).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn mac(alg: HashAlg, key: &[u8], parts: &[&[u8]]) -> String {
        let hmac = Hmac::new(alg, key).unwrap();
        let mut out = [0; MAX_MAC];
        let mac = hmac.compute(parts, &mut out);
        hex(mac)
    }

    /// RFC 2202 §2, cases 1, 2, 6.
    #[test]
    fn rfc2202_md5() {
        let alg = HashAlg::Md5;
        assert_eq!(mac(alg, &[0x0b; 16], &[b"Hi There"]), "9294727a3638bb1c13f48ef8158bfc9d");
        let split: &[&[u8]] = &[b"what do ya want", b"", b" for nothing?"];
        assert_eq!(mac(alg, b"Jefe", split), "750c783e6ab0b503eaa86e310a5db738");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(mac(alg, &[0xaa; 80], &[long]), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    /// RFC 2202 §3, cases 1, 2, 6.
    #[test]
    fn rfc2202_sha1() {
        let alg = HashAlg::Sha1;
        assert_eq!(mac(alg, &[0x0b; 20], &[b"Hi There"]), "b617318655057264e28bc0b6fb378c8ef146be00");
        let split: &[&[u8]] = &[b"what do ya want", b"", b" for nothing?"];
        assert_eq!(mac(alg, b"Jefe", split), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(mac(alg, &[0xaa; 80], &[long]), "aa4ae5e15272d00e95705637ce8a3b55ed402112");
    }

    /// RFC 4231 §4, cases 1, 2, 6.
    #[test]
    fn rfc4231_sha2() {
        let (sha256, sha512) = (HashAlg::Sha256, HashAlg::Sha512);
        assert_eq!(
            mac(sha256, &[0x0b; 20], &[b"Hi There"]),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            mac(sha256, b"Jefe", &[b"what do ya want ", b"for nothing?"]),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(
            mac(sha256, &[0xaa; 131], &[long]),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
        assert_eq!(
            mac(sha512, &[0x0b; 20], &[b"Hi There"]),
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde\
             daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
        );
        assert_eq!(
            mac(sha512, &[0xaa; 131], &[long]),
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f352\
             6b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"
        );
    }

    #[test]
    fn one_key_serves_many_messages() {
        let hmac = Hmac::new(HashAlg::Sha256, b"key").unwrap();
        let (mut a, mut b) = ([0; MAX_MAC], [0; MAX_MAC]);
        let first = hmac.compute(&[b"one"], &mut a).to_vec();
        assert_ne!(first, hmac.compute(&[b"two"], &mut b));
        assert_eq!(first, hmac.compute(&[b"one"], &mut b));
    }

    #[test]
    fn unknown_hash_is_refused() {
        assert!(Hmac::new(HashAlg::Sha384, b"key").is_err());
    }
}
