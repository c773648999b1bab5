//! Lists of addresses and networks, as in sshd(8), "AUTHORIZED_KEYS FILE FORMAT", and in certificates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Letters, matches};

/// Whether a list of addresses and networks (`192.0.2.7`, `2001:db8::/32`) has `address`; none when
/// something in it is neither, or a network with bits set beyond its length.
pub(crate) fn address_in_list(list: &[u8], address: IpAddr) -> Option<bool> {
    let mut found = false;
    for entry in std::str::from_utf8(list).ok()?.split(',') {
        found |= network(entry)?.contains(address);
    }
    Some(found)
}

/// Whether `name` or `address` is matched by the list of a `from=`: patterns of names and of addresses,
/// networks, each with `!` to refuse.
pub(crate) fn source_in_list(list: &[u8], name: Option<&[u8]>, address: Option<IpAddr>) -> bool {
    let text = address.map(|address| plain(address).to_string());
    let one = |entry: &[u8]| {
        let network = std::str::from_utf8(entry).ok().and_then(network);
        network.zip(address).is_some_and(|(network, address)| network.contains(address))
            || name.is_some_and(|name| matches(entry, name, Letters::Lower))
            || text.as_ref().is_some_and(|text| matches(entry, text.as_bytes(), Letters::Lower))
    };
    let mut found = false;
    for entry in list.split(|byte| *byte == b',') {
        match entry {
            [b'!', refused @ ..] if one(refused) => return false,
            [b'!', ..] => {}
            _ => found |= one(entry),
        }
    }
    found
}

/// Addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    length: u32,
}

fn network(text: &str) -> Option<Network> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address.parse().ok()?, Some(length.parse::<u32>().ok()?)),
        None => (text.parse().ok()?, None),
    };
    let bits = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
    let network = Network { first: address, length: length.unwrap_or(bits) };
    let fits = network.length <= bits && masked(address, network.length) == address;
    fits.then_some(network)
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        // An IPv6 socket shows IPv4 peers so.
        masked(plain(address), self.length) == self.first
    }
}

/// An IPv4 address that an IPv6 one only wraps.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(wrapping) => wrapping.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The first `length` bits.
fn masked(address: IpAddr, length: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks() {
        let list = b"192.0.2.0/24,2001:db8::/32,203.0.113.7";
        for inside in ["192.0.2.255", "2001:db8:1::1", "203.0.113.7", "::ffff:192.0.2.1"] {
            assert_eq!(address_in_list(list, ip(inside)), Some(true), "{inside}");
        }
        for outside in ["192.0.3.0", "2001:db9::", "203.0.113.8", "::1"] {
            assert_eq!(address_in_list(list, ip(outside)), Some(false), "{outside}");
        }
        assert_eq!(address_in_list(b"0.0.0.0/0", ip("8.8.8.8")), Some(true));
        for bad in [&b"192.0.2.1/24"[..], b"192.0.2.0/33", b"host", b"", b"192.0.2.0/-1", b"::/129", b"\xff"]
        {
            assert_eq!(address_in_list(bad, ip("192.0.2.1")), None, "{bad:?}");
        }
    }

    #[test]
    fn sources() {
        let from = |list: &str, name: Option<&str>, address: &str| {
            source_in_list(list.as_bytes(), name.map(str::as_bytes), Some(ip(address)))
        };
        assert!(from("*.example.org", Some("a.example.org"), "192.0.2.1"));
        assert!(!from("*.example.org,!b.example.org", Some("b.example.org"), "192.0.2.1"));
        assert!(from("192.0.2.?", None, "192.0.2.1"));
        assert!(!from("192.0.2.?", None, "192.0.2.10"));
        assert!(from("10.0.0.0/8,!10.1.0.0/16", None, "10.2.0.1"));
        assert!(!from("10.0.0.0/8,!10.1.0.0/16", None, "10.1.0.1"));
        assert!(!from("!10.0.0.0/8", None, "11.0.0.1"), "a refusal lets nobody in");
        assert!(!source_in_list(b"*.example.org", None, None));
    }
}
