//! What IP headers say of a connection's traffic: the DS field of RFC 2474, by the names that ssh_config(5)
//! has for its values, "IPQoS".

use std::fmt;
use std::io;
use std::net::TcpStream;
use std::str::FromStr;

use socket2::SockRef;

/// How a connection's packets ask to be treated on their way, while somebody sits at a terminal and otherwise.
///
/// ```
/// let classes: feramiko::TrafficClasses = "ef none".parse()?;
/// assert_eq!((classes.interactive, classes.bulk), (Some(0xb8), None));
/// assert_eq!(classes.to_string(), "ef none");
/// # Ok::<(), feramiko::UnknownTrafficClass>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrafficClasses {
    /// The DS field while a session of the connection has a terminal; none: the system's own choice.
    pub interactive: Option<u8>,
    /// The same while none has.
    pub bulk: Option<u8>,
}

impl TrafficClasses {
    /// What OpenSSH has since 10.1: Expedited Forwarding at a terminal, otherwise the system's own choice.
    pub const OPENSSH: Self = Self { interactive: Some(0xb8), bulk: None };
}

/// A word that stands for no class of traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownTrafficClass(String);

impl fmt::Display for UnknownTrafficClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad IPQoS value: {}", self.0)
    }
}

impl std::error::Error for UnknownTrafficClass {}

/// RFC 2474, 2597, 3246, 8622, 5865.
const NAMES: &[(&str, u8)] = &[
    ("af11", 0x28),
    ("af12", 0x30),
    ("af13", 0x38),
    ("af21", 0x48),
    ("af22", 0x50),
    ("af23", 0x58),
    ("af31", 0x68),
    ("af32", 0x70),
    ("af33", 0x78),
    ("af41", 0x88),
    ("af42", 0x90),
    ("af43", 0x98),
    ("cs0", 0x00),
    ("cs1", 0x20),
    ("cs2", 0x40),
    ("cs3", 0x60),
    ("cs4", 0x80),
    ("cs5", 0xa0),
    ("cs6", 0xc0),
    ("cs7", 0xe0),
    ("ef", 0xb8),
    ("le", 0x04),
    ("va", 0xb0),
];

/// The words of RFC 1349 stand for the system's own choice since OpenSSH 10.1.
const OWN_CHOICE: &[&str] = &["none", "lowdelay", "throughput", "reliability"];

fn class(word: &str) -> Result<Option<u8>, UnknownTrafficClass> {
    if OWN_CHOICE.iter().any(|name| name.eq_ignore_ascii_case(word)) {
        return Ok(None);
    }
    let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, class)| *class);
    let number = || match word.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    };
    named.or_else(number).map(Some).ok_or_else(|| UnknownTrafficClass(word.to_owned()))
}

impl FromStr for TrafficClasses {
    type Err = UnknownTrafficClass;

    /// Two words, or one for both.
    fn from_str(text: &str) -> Result<Self, UnknownTrafficClass> {
        let mut words = text.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(both), None, None) => class(both).map(|class| Self { interactive: class, bulk: class }),
            (Some(first), Some(second), None) => {
                Ok(Self { interactive: class(first)?, bulk: class(second)? })
            }
            _ => Err(UnknownTrafficClass(text.to_owned())),
        }
    }
}

/// As `ssh -G` shows it.
impl fmt::Display for TrafficClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |class: Option<u8>| match class {
            None => "none".to_owned(),
            Some(class) => match NAMES.iter().find(|(_, known)| *known == class) {
                Some((name, _)) => (*name).to_owned(),
                None => format!("0x{class:02x}"),
            },
        };
        write!(f, "{} {}", shown(self.interactive), shown(self.bulk))
    }
}

/// Writes the class in the headers of what is sent from now on; none: what the system writes unasked.
pub(crate) fn set(stream: &TcpStream, class: Option<u8>) -> io::Result<()> {
    let (socket, class) = (SockRef::from(stream), u32::from(class.unwrap_or(0)));
    // IPv4 through a socket of IPv6 has the headers of IPv4.
    if stream.local_addr()?.ip().to_canonical().is_ipv4() {
        return socket.set_tos_v4(class);
    }
    // Windows leaves it to its administrator.
    #[cfg(unix)]
    socket.set_tclass_v6(class)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn words_are_read_and_shown_as_openssh_does() {
        for (text, shown) in [
            ("af21 cs1", "af21 cs1"),
            ("EF", "ef ef"),
            ("0x10 16", "0x10 0x10"),
            ("lowdelay throughput", "none none"),
            ("184 0", "ef cs0"),
        ] {
            assert_eq!(text.parse::<TrafficClasses>().unwrap().to_string(), shown);
        }
        for bad in ["", "af99", "256", "0x100", "-1", "ef ef ef"] {
            assert!(bad.parse::<TrafficClasses>().is_err(), "{bad}");
        }
        assert_eq!(TrafficClasses::OPENSSH.to_string(), "ef none");
    }

    #[cfg(unix)]
    #[test]
    fn either_family_writes_the_class() {
        // The last is IPv4 through a socket of IPv6, where the system lets one listen to both.
        for (listens, calls) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1")] {
            let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
            let Ok(listener) = TcpListener::bind((ip(listens), 0)) else { continue };
            let port = listener.local_addr().unwrap().port();
            let Ok(_near) = TcpStream::connect((ip(calls), port)) else { continue };
            let (stream, _) = listener.accept().unwrap();
            let socket = SockRef::from(&stream);
            let written = || if calls == "::1" { socket.tclass_v6() } else { socket.tos_v4() }.unwrap();
            set(&stream, Some(0xb8)).unwrap();
            assert_eq!(written(), 0xb8, "{listens} {calls}");
            set(&stream, None).unwrap();
            assert_eq!(written(), 0, "{listens} {calls}");
        }
    }
}
