//! What this machine and others are called: its own name, its interfaces' addresses, and the name that the
//! DNS has for a host (by the crates nix, rustix and dns-lookup: std asks for addresses only).
//!
//! Looking a name up waits as long as the system's resolver likes.

use std::io;
use std::net::IpAddr;

/// What the machine calls itself; empty where it has no name.
#[cfg(unix)]
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What the machine calls itself; empty where it has no name.
#[cfg(not(unix))]
pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}

/// The interfaces that are up, with each of their addresses.
#[cfg(unix)]
pub(crate) fn interfaces() -> io::Result<Vec<(String, IpAddr)>> {
    use nix::net::if_::InterfaceFlags;

    let mut found = Vec::new();
    for interface in nix::ifaddrs::getifaddrs()? {
        let up = interface.flags.contains(InterfaceFlags::IFF_UP);
        let Some(address) = interface.address.filter(|_| up) else { continue };
        let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(four), _) => IpAddr::V4(four.ip()),
            (None, Some(six)) => IpAddr::V6(six.ip()),
            (None, None) => continue,
        };
        found.push((interface.interface_name, address));
    }
    Ok(found)
}

/// The interfaces that are up, with each of their addresses.
#[cfg(not(unix))]
pub(crate) fn interfaces() -> io::Result<Vec<(String, IpAddr)>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "the addresses of interfaces are not known on this system",
    ))
}

/// What the DNS calls the host of that name, if it tells; an error where the name has no address.
pub(crate) fn canonical_name(name: &str) -> io::Result<Option<String>> {
    /// `AI_CANONNAME` of netdb.h, the same on all systems that we know.
    const CANONICAL: i32 = 2;
    let hints = dns_lookup::AddrInfoHints {
        socktype: dns_lookup::SockType::Stream.into(),
        flags: CANONICAL,
        ..dns_lookup::AddrInfoHints::default()
    };
    let mut found = dns_lookup::getaddrinfo(Some(name), None, Some(hints)).map_err(io::Error::from)?;
    found.next().transpose().map(|first| first.and_then(|first| first.canonname))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        assert!(!host_name().is_empty());
        assert!(interfaces().unwrap().iter().any(|(_, address)| address.is_loopback()));
        assert!(canonical_name("127.0.0.1").unwrap().is_some());
        assert!(canonical_name("no-such-host.invalid").is_err());
    }
}
