//! Xauthority files, Xau(3): which cookie lets into which display. Entries follow each other, every field
//! with its length in two bytes before it, big-endian.

use std::net::IpAddr;

use super::cookie::{Cookie, PROTOCOL};
use crate::crypto::secret::Secret;
use crate::wire::{Malformed, Reader};

/// The families of X.h and Xauth.h.
const INTERNET: u16 = 0;
const INTERNET6: u16 = 6;
const LOCAL: u16 = 256;
const WILD: u16 = 65535;

/// Whose display it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// One of the host of that name, reached without the network or through a loopback address.
    Local(Vec<u8>),
    /// One at that address.
    Internet(IpAddr),
    /// Anybody's.
    Wild,
}

impl Address {
    /// Its family, and what stands for it in a file.
    fn encoded(&self) -> (u16, Vec<u8>) {
        match self {
            Self::Local(host) => (LOCAL, host.clone()),
            Self::Internet(IpAddr::V4(address)) => (INTERNET, address.octets().to_vec()),
            Self::Internet(IpAddr::V6(address)) => (INTERNET6, address.octets().to_vec()),
            Self::Wild => (WILD, Vec::new()),
        }
    }
}

/// An entry to be written.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) address: Address,
    pub(crate) number: u16,
    pub(crate) cookie: Cookie,
}

impl Entry {
    /// As it stands in a file; none when a field is longer than its length can say.
    pub(crate) fn encode(&self) -> Option<Secret> {
        let (family, address) = self.address.encoded();
        let number = self.number.to_string();
        let mut out = family.to_be_bytes().to_vec();
        for field in [&address[..], number.as_bytes(), PROTOCOL.as_bytes(), self.cookie.bytes()] {
            out.extend(u16::try_from(field.len()).ok()?.to_be_bytes());
            out.extend(field);
        }
        Some(Secret::new(out))
    }
}

/// An entry as it stands in a file.
struct Found<'a> {
    family: u16,
    address: &'a [u8],
    number: &'a [u8],
    name: &'a [u8],
    data: &'a [u8],
}

fn field<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let length = u16::from_be_bytes(reader.array()?);
    reader.take(length.into())
}

impl<'a> Found<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Ok(Self {
            family: u16::from_be_bytes(reader.array()?),
            address: field(reader)?,
            number: field(reader)?,
            name: field(reader)?,
            data: field(reader)?,
        })
    }

    /// Whether it is for a display at one of `addresses`. One without a number is for all there.
    fn is_for(&self, addresses: &[Address], number: u16) -> bool {
        let at = |address: &Address| address.encoded() == (self.family, self.address.to_vec());
        let here = self.family == WILD || addresses.iter().any(at);
        here && (self.number.is_empty() || self.number == number.to_string().as_bytes())
    }
}

/// The contents of a file.
#[derive(Debug)]
pub(crate) struct Authority<'a>(pub(crate) &'a [u8]);

impl Authority<'_> {
    /// The cookie of a display: of the first entry for it that has one. What follows a broken entry is not
    /// looked at, as by Xlib.
    pub(crate) fn cookie(&self, addresses: &[Address], number: u16) -> Option<Cookie> {
        let mut reader = Reader::new(self.0);
        while let Ok(found) = Found::read(&mut reader) {
            if found.name == PROTOCOL.as_bytes() && found.is_for(addresses, number) {
                let cookie = Cookie::from_bytes(found.data);
                if cookie.is_some() {
                    return cookie;
                }
            }
        }
        None
    }
}
