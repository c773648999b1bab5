//! A cookie of MIT-MAGIC-COOKIE-1, the one protocol that is forwarded: the others do not work through a
//! relay, because they sign or encrypt what the relay would have to replace.

use crate::crypto::CryptoError;
use crate::crypto::rand;
use crate::crypto::secret::Secret;

/// The protocol's name, Xsecurity(7).
pub(crate) const PROTOCOL: &str = "MIT-MAGIC-COOKIE-1";

/// A cookie's length: 128 bits, Xsecurity(7).
pub(super) const LENGTH: usize = 16;

/// Who shows it to a display is let in. Always of that length; compared in constant time, never shown.
#[derive(Debug, Clone)]
pub(crate) struct Cookie(Secret);

impl PartialEq for Cookie {
    fn eq(&self, other: &Self) -> bool {
        self.0.matches(other.bytes())
    }
}

impl Eq for Cookie {}

impl Cookie {
    /// One that nobody knows.
    pub(crate) fn random() -> Result<Self, CryptoError> {
        Ok(Self(Secret::from(&rand::array::<LENGTH>()?[..])))
    }

    /// What an Xauthority file or a packet holds; none if it has another length.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == LENGTH).then(|| Self(Secret::from(bytes)))
    }

    /// What `x11-req` carries: hexadecimal digits of that length and nothing else, so that no text of a
    /// peer goes any further (CVE-2016-3115).
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8; 2]| {
            let [high, low] = pair;
            Some(digit(high)?.wrapping_shl(4) | digit(low)?)
        };
        let (pairs, rest) = text.as_chunks::<2>();
        if !rest.is_empty() || pairs.len() != LENGTH {
            return None;
        }
        Self::from_bytes(Secret::new(pairs.iter().map(byte).collect::<Option<_>>()?).expose())
    }

    /// As `x11-req` carries it.
    pub(crate) fn to_hex(&self) -> Secret {
        let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
        let pairs = self.bytes().iter().flat_map(|byte| [digit(byte.wrapping_shr(4)), digit(byte & 15)]);
        Secret::from(pairs.collect::<String>())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.expose()
    }
}
