//! A strict reader of DER (X.690): definite lengths in their shortest form,
//! non-negative integers in their shortest form. What it lets through has one meaning only.

use std::fmt;

use crate::key::KeyError;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BITS: u8 = 0x03;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

const BAD: KeyError = KeyError::Malformed("broken DER");

/// A cursor over the elements of a sequence.
#[derive(Clone)]
pub(super) struct Der<'a> {
    left: &'a [u8],
}

impl<'a> Der<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes }
    }

    /// The inside of `bytes`, which is one sequence and nothing else.
    pub(super) fn whole(bytes: &'a [u8]) -> Result<Self, KeyError> {
        let mut outer = Self::new(bytes);
        let inside = outer.sequence()?;
        outer.finish()?;
        Ok(inside)
    }

    /// The next element: its tag and its content.
    fn any(&mut self) -> Result<(u8, &'a [u8]), KeyError> {
        let (&tag, rest) = self.left.split_first().ok_or(BAD)?;
        let (&first, rest) = rest.split_first().ok_or(BAD)?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let count = usize::from(first & 0x7f);
            let (digits, rest) = rest.split_at_checked(count).ok_or(BAD)?;
            let length = number(digits).and_then(|length| usize::try_from(length).ok()).ok_or(BAD)?;
            if length < 0x80 || digits.first() == Some(&0) {
                return Err(BAD);
            }
            (length, rest)
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(BAD)?;
        self.left = rest;
        Ok((tag, content))
    }

    /// The tag of the next element; none at the end.
    pub(super) fn tag(&self) -> Option<u8> {
        self.left.first().copied()
    }

    /// The content of the next element, which has this tag.
    pub(super) fn take(&mut self, tag: u8) -> Result<&'a [u8], KeyError> {
        let (found, content) = self.any()?;
        if found == tag { Ok(content) } else { Err(BAD) }
    }

    /// The content of the next element if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, KeyError> {
        if self.tag() == Some(tag) { self.take(tag).map(Some) } else { Ok(None) }
    }

    pub(super) fn sequence(&mut self) -> Result<Self, KeyError> {
        self.take(SEQUENCE).map(Self::new)
    }

    /// The magnitude of an integer that is not negative.
    pub(super) fn unsigned(&mut self) -> Result<&'a [u8], KeyError> {
        match self.take(INTEGER)? {
            [0] => Ok(&[]),
            [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Ok(rest),
            whole @ [0x01..=0x7f, ..] => Ok(whole),
            _ => Err(BAD),
        }
    }

    /// An integer that is not negative; one beyond 64 bits counts as the largest.
    pub(super) fn small(&mut self) -> Result<u64, KeyError> {
        self.unsigned().map(|digits| number(digits).unwrap_or(u64::MAX))
    }

    /// The bytes of a bit string of whole bytes.
    pub(super) fn bits(&mut self) -> Result<&'a [u8], KeyError> {
        whole_bytes(self.take(BITS)?)
    }

    /// Ends the reading; elements left over are an error.
    pub(super) fn finish(self) -> Result<(), KeyError> {
        if self.left.is_empty() { Ok(()) } else { Err(BAD) }
    }
}

/// The content of a bit string without its count of unused bits, which is none.
pub(super) fn whole_bytes(content: &[u8]) -> Result<&[u8], KeyError> {
    content.strip_prefix(&[0]).ok_or(BAD)
}

/// Shows an object identifier (X.690 §8.19) as numbers with dots; one that is broken, in hexadecimal.
pub(super) struct Oid<'a>(pub(super) &'a [u8]);

impl fmt::Display for Oid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arcs: Option<Vec<u64>> = self.0.split_inclusive(|byte| *byte < 0x80).map(arc).collect();
        let Some([first, rest @ ..]) = arcs.as_deref() else { return write!(f, "{:02x?}", self.0) };
        // The first two numbers are one.
        let top = (first / 40).min(2);
        write!(f, "{top}.{}", first.saturating_sub(top.saturating_mul(40)))?;
        rest.iter().try_for_each(|arc| write!(f, ".{arc}"))
    }
}

/// A number of an object identifier: seven bits a byte, and a set bit in all bytes but the last.
fn arc(digits: &[u8]) -> Option<u64> {
    digits.last().filter(|byte| **byte < 0x80)?;
    let add = |sum: u64, byte: &u8| sum.checked_mul(128)?.checked_add(u64::from(byte & 0x7f));
    digits.iter().try_fold(0, add)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |sum, digit| sum.checked_mul(256)?.checked_add(u64::from(*digit)))
}
