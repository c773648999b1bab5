//! The first packet of an X client, X Window System Protocol §8: byte order, version, and the name and data
//! of its authorization, each padded to four bytes.

use super::cookie::{Cookie, LENGTH, PROTOCOL};
use crate::crypto::secret::Secret;
use crate::wire::{Malformed, Reader};

/// What stands before the name: order, a pad, two version numbers, two lengths, a pad.
pub(crate) const HEADER: usize = 12;
/// Longer than any that is written, so that no copy of a cookie is left behind.
const WHOLE: usize = 64;
/// Fields are padded to multiples of it.
const UNIT: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    MostFirst,
    LeastFirst,
}

impl Order {
    fn read(self, bytes: [u8; 2]) -> usize {
        usize::from(match self {
            Self::MostFirst => u16::from_be_bytes(bytes),
            Self::LeastFirst => u16::from_le_bytes(bytes),
        })
    }

    fn write(self, value: usize) -> [u8; 2] {
        // Lengths of ours are small.
        let value = u16::try_from(value).unwrap_or(u16::MAX);
        match self {
            Self::MostFirst => value.to_be_bytes(),
            Self::LeastFirst => value.to_le_bytes(),
        }
    }
}

/// A client's first packet with a cookie of the one protocol that is forwarded.
#[derive(Debug)]
pub(crate) struct FirstPacket {
    order: Order,
    /// What stands before the lengths.
    opening: [u8; 6],
    cookie: Cookie,
}

impl FirstPacket {
    /// How much follows the header. A packet that could not carry a cookie of ours is refused here, so
    /// that no length of a peer's is waited for.
    ///
    /// # Errors
    /// [`Malformed::Value`] when it is no X client's, or has another authorization.
    pub(crate) fn rest(header: [u8; HEADER]) -> Result<usize, Malformed> {
        let mut reader = Reader::new(&header);
        let order = order(reader.array::<6>()?)?;
        let (name, data) = (order.read(reader.array()?), order.read(reader.array()?));
        if (name, data) != (PROTOCOL.len(), LENGTH) {
            return Err(Malformed::Value);
        }
        Ok(padded(name).saturating_add(padded(data)))
    }

    /// Reads a whole first packet.
    ///
    /// # Errors
    /// As [`rest`](Self::rest), and when it has another length than its header says.
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(packet);
        let header: [u8; HEADER] = reader.array()?;
        Self::rest(header)?;
        let opening = Reader::new(&header).array()?;
        let name = reader.take(PROTOCOL.len())?;
        reader.take(padding(PROTOCOL.len()))?;
        let cookie = Cookie::from_bytes(reader.take(LENGTH)?).ok_or(Malformed::Value)?;
        reader.take(padding(LENGTH))?;
        reader.finish()?;
        if name != PROTOCOL.as_bytes() {
            return Err(Malformed::Value);
        }
        Ok(Self { order: order(opening)?, opening, cookie })
    }

    /// What the client has shown.
    pub(crate) fn cookie(&self) -> &Cookie {
        &self.cookie
    }

    /// The packet with the display's own cookie; with none where the display has none.
    pub(crate) fn with(&self, real: Option<&Cookie>) -> Secret {
        let (name, data) = real.map_or((&b""[..], &b""[..]), |real| (PROTOCOL.as_bytes(), real.bytes()));
        let mut out = Vec::with_capacity(WHOLE);
        out.extend(self.opening);
        for field in [name, data] {
            out.extend(self.order.write(field.len()));
        }
        out.extend([0; 2]);
        for field in [name, data] {
            out.extend(field);
            out.resize(padded(out.len()), 0);
        }
        Secret::new(out)
    }
}

/// The order that a packet's first byte tells: `B` or `l`.
fn order(opening: [u8; 6]) -> Result<Order, Malformed> {
    match opening {
        [b'B', ..] => Ok(Order::MostFirst),
        [b'l', ..] => Ok(Order::LeastFirst),
        _ => Err(Malformed::Value),
    }
}

fn padded(length: usize) -> usize {
    length.next_multiple_of(UNIT)
}

fn padding(length: usize) -> usize {
    padded(length).saturating_sub(length)
}
