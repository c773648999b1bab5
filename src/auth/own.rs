//! What a method of an application's own is made of: its messages, 60 to 79 (RFC 4252 §6), and who they are about.
//! What stands in them only the method knows.

use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use super::AuthAnswer;
use crate::crypto::secret::Secret;

/// RFC 4252 §6: the numbers that methods give their meaning.
pub(crate) const METHOD_NUMBERS: RangeInclusive<u8> = 60..=79;
/// What every peer takes is a payload of 32768 bytes (RFC 4253 §6.1); the rest is left to what stands before: the
/// user, the service and the method.
const DATA: usize = 30 * 1024;

/// A message of an authentication method of your own: a number of those that RFC 4252 §6 leaves to methods, and
/// what follows it. It is wiped when dropped, and never shown.
///
/// ```
/// use feramiko::MethodMessage;
/// let message = MethodMessage::new(60, "what is it?").unwrap();
/// assert_eq!((message.number(), message.data()), (60, &b"what is it?"[..]));
/// assert!(MethodMessage::new(52, "").is_none());
/// ```
#[derive(Debug, Clone)]
pub struct MethodMessage {
    number: u8,
    data: Secret,
}

impl MethodMessage {
    /// Bytes of a message that is sent, or of what follows the method's name in a request; those that come are as
    /// long as packets may be ([`Limits::PACKET_BYTES`](crate::Limits::PACKET_BYTES)).
    pub const MAX_DATA: usize = DATA;

    /// None for a number below 60 or above 79, and for more than [`MAX_DATA`](Self::MAX_DATA) bytes.
    #[must_use]
    pub fn new(number: u8, data: impl Into<Secret>) -> Option<Self> {
        let data = data.into();
        let fits = METHOD_NUMBERS.contains(&number) && data.expose().len() <= DATA;
        fits.then_some(Self { number, data })
    }

    /// From 60 to 79.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// What follows the number.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.data.expose()
    }

    /// What came; none for another message.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (number, data) = payload.split_first().filter(|(number, _)| METHOD_NUMBERS.contains(number))?;
        Some(Self { number: *number, data: Secret::from(data) })
    }

    pub(super) fn to_payload(&self) -> Zeroizing<Vec<u8>> {
        let mut payload = Zeroizing::new(Vec::with_capacity(self.data().len().saturating_add(1)));
        payload.push(self.number);
        payload.extend_from_slice(self.data());
        payload
    }
}

/// Whom an attempt by a method of your own is about.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct MethodLogin<'a> {
    /// The method's name.
    pub method: &'a str,
    /// The user's name.
    pub user: &'a str,
    /// What no other connection has, and both sides know: a proof that does not depend on it may be one that
    /// somebody else was given (RFC 4252 §7).
    pub session_id: &'a [u8],
}

/// A server's reaction to a request by a method of its application's own, or to the client's answer.
#[must_use]
#[derive(Debug)]
pub enum MethodAnswer {
    /// Send this and wait for the client's answer, one message.
    Ask(MethodMessage),
    /// It is decided.
    Done(AuthAnswer),
}
