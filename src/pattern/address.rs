//! Lists of addresses and networks, as in sshd(8), "AUTHORIZED_KEYS FILE FORMAT", and in certificates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Letters, PATTERN_BYTES, matches};

/// Whether a list of addresses and networks (`192.0.2.7`, `2001:db8::/32`) has `address`; none when
/// something in it is neither, or a network with bits set beyond its length.
pub(crate) fn address_in_list(list: &[u8], address: IpAddr) -> Option<bool> {
    let mut found = false;
    for entry in std::str::from_utf8(list).ok()?.split(',') {
        found |= network(entry)?.contains(address);
    }
    Some(found)
}

/// The list of a `from=`: patterns of names and of addresses, networks, each with `!` to refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources(Vec<Source>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    refused: bool,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Network(Network),
    /// Of names, and of addresses as they are written.
    Pattern(Vec<u8>),
}

impl Sources {
    /// None when anything in the list is not understood: it may be meant to refuse.
    pub(crate) fn parse(list: &[u8]) -> Option<Self> {
        let source = |entry: &[u8]| {
            let (refused, entry) = entry.strip_prefix(b"!").map_or((false, entry), |entry| (true, entry));
            Some(Source { refused, place: place(entry)? })
        };
        list.split(|byte| *byte == b',').map(source).collect::<Option<_>>().map(Self)
    }

    /// Whether the list has `name`, in lower case, or `address`, and refuses neither.
    pub(crate) fn contain(&self, name: Option<&[u8]>, address: Option<IpAddr>) -> bool {
        let text = address.map(|address| plain(address).to_string());
        let has = |place: &Place| match place {
            Place::Network(network) => address.is_some_and(|address| network.contains(address)),
            Place::Pattern(pattern) => [name, text.as_ref().map(String::as_bytes)]
                .into_iter()
                .flatten()
                .any(|shown| matches(pattern, shown, Letters::Lower)),
        };
        let (refused, named): (Vec<_>, Vec<_>) = self.0.iter().partition(|source| source.refused);
        named.iter().any(|source| has(&source.place)) && !refused.iter().any(|source| has(&source.place))
    }
}

/// What an entry of a `from=` is about; none for what could never be a client's name or address. sshd
/// takes all but bad networks for patterns then, also those of refusals, which nobody matches.
fn place(entry: &[u8]) -> Option<Place> {
    let text = std::str::from_utf8(entry).ok()?;
    if let Some(network) = network(text) {
        return Some(Place::Network(network));
    }
    let never = |c: char| c == '/' || c == '!' || c.is_whitespace() || c.is_control();
    let bad = text.is_empty()
        || text.len() > PATTERN_BYTES
        || text.contains(never)
        || !text.contains(['*', '?']) && is_number_like(text);
    (!bad).then(|| Place::Pattern(entry.to_vec()))
}

/// What no name looks like: addresses with a zone, and the short, octal and hexadecimal forms of IPv4.
fn is_number_like(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    text.contains(':')
        || last.starts_with("0x")
        || last.starts_with("0X")
        || last.bytes().all(|byte| byte.is_ascii_digit())
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
            Sources::parse(list.as_bytes()).unwrap().contain(name.map(str::as_bytes), Some(ip(address)))
        };
        assert!(from("*.example.org", Some("a.example.org"), "192.0.2.1"));
        assert!(!from("*.example.org,!b.example.org", Some("b.example.org"), "192.0.2.1"));
        assert!(from("192.0.2.?", None, "192.0.2.1"));
        assert!(!from("192.0.2.?", None, "192.0.2.10"));
        assert!(from("10.0.0.0/8,!10.1.0.0/16", None, "10.2.0.1"));
        assert!(!from("10.0.0.0/8,!10.1.0.0/16", None, "10.1.0.1"));
        assert!(!from("!10.0.0.0/8", None, "11.0.0.1"), "a refusal lets nobody in");
        assert!(!from("192.0.2.0/24,!A.example.org", Some("a.example.org"), "192.0.2.1"));
        assert!(!from("!192.0.2.1,*", None, "::ffff:192.0.2.1"));
        assert!(from("2001:db8:*,10.*.?", None, "2001:db8::7"));
        assert!(!Sources::parse(b"*.example.org").unwrap().contain(None, None));
    }

    #[test]
    fn lists_with_a_bad_entry_are_none() {
        let long = "x".repeat(PATTERN_BYTES + 1);
        for bad in [
            "",
            "127.0.0.1/8",
            "::1/64",
            "127.0.0.0/33",
            "127.0.0.0/x",
            "127.0.0.*/8",
            "fe80::1%lo",
            "127.1",
            "127",
            "0x7f.1",
            "10.0x1",
            "0X7f000001",
            "010.0.0.1",
            "!127.0.0.1",
            " 127.0.0.1",
            "a b",
            "\u{7f}",
            &long,
        ] {
            for list in [format!("*,!{bad}"), format!("!{bad},*"), format!("*,!10.0.0.1,!{bad}")] {
                assert_eq!(Sources::parse(list.as_bytes()), None, "{list:?}");
            }
        }
        for bad in ["", "*,", ",*", "127.0.0.1/8,*", "*\u{ff}"] {
            let latin: Vec<u8> = bad.chars().map(|c| u8::try_from(c).unwrap()).collect();
            assert_eq!(Sources::parse(&latin), None, "{bad:?}");
        }
    }
}
