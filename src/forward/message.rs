//! The bytes of requests and channels for forwarding: RFC 4254 §7, and for UNIX sockets OpenSSH's PROTOCOL,
//! section 2.4.
//!
//! Pure. What names no place that can be reached or listened on is not read: ports above 65535, names that
//! are no text or too long, paths with a zero byte.

use crate::pattern::endpoint::Endpoint;
use crate::wire::{Encode, Escaped, Malformed, Reader, Writer};

/// A client has the server connect.
pub(crate) const DIRECT_TCPIP: &str = "direct-tcpip";
pub(crate) const DIRECT_STREAMLOCAL: &str = "direct-streamlocal@openssh.com";
/// Somebody has connected where a client has the server listen.
pub(crate) const FORWARDED_TCPIP: &str = "forwarded-tcpip";
pub(crate) const FORWARDED_STREAMLOCAL: &str = "forwarded-streamlocal@openssh.com";
/// A client has the server listen, and no longer.
pub(crate) const TCPIP_FORWARD: &str = "tcpip-forward";
pub(crate) const CANCEL_TCPIP: &str = "cancel-tcpip-forward";
pub(crate) const STREAMLOCAL_FORWARD: &str = "streamlocal-forward@openssh.com";
pub(crate) const CANCEL_STREAMLOCAL: &str = "cancel-streamlocal-forward@openssh.com";

/// The longest name of a host, in bytes: NI_MAXHOST without its end, as OpenSSH.
pub(crate) const HOST_BYTES: usize = 1024;
/// The longest path of a socket, in bytes; systems take about a hundred.
pub(crate) const PATH_BYTES: usize = 1024;

/// Who has connected, where that has no address: some servers ask for one. OpenSSH's words.
const NOBODY: (&str, u16) = ("127.0.0.1", u16::MAX);

/// A connection to be carried by a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Where it leads to, or where it was accepted.
    pub(crate) to: Endpoint,
    /// Who has connected; a UNIX socket without a path where that is not known.
    pub(crate) originator: Endpoint,
}

impl Carried {
    /// The channel's type and what comes with it, where the peer is to connect.
    pub(crate) fn direct(&self) -> (&'static str, Vec<u8>) {
        match &self.to {
            Endpoint::Tcp { .. } => (DIRECT_TCPIP, self.tcpip()),
            Endpoint::Unix(path) => {
                let mut rest = Vec::new();
                rest.put(path.as_slice()).put("").put(&0_u32);
                (DIRECT_STREAMLOCAL, rest)
            }
        }
    }

    /// The channel's type and what comes with it, where somebody has connected here.
    pub(crate) fn forwarded(&self) -> (&'static str, Vec<u8>) {
        match &self.to {
            Endpoint::Tcp { .. } => (FORWARDED_TCPIP, self.tcpip()),
            Endpoint::Unix(path) => {
                let mut rest = Vec::new();
                rest.put(path.as_slice()).put("");
                (FORWARDED_STREAMLOCAL, rest)
            }
        }
    }

    fn tcpip(&self) -> Vec<u8> {
        let mut rest = listen(&self.to);
        match &self.originator {
            Endpoint::Tcp { .. } => rest.extend(listen(&self.originator)),
            Endpoint::Unix(_) => drop(rest.put(NOBODY.0).put(&u32::from(NOBODY.1))),
        }
        rest
    }

    /// What comes with a channel of type [`DIRECT_TCPIP`] or [`FORWARDED_TCPIP`].
    pub(crate) fn read_tcpip(rest: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(rest);
        let to = place(&mut reader)?;
        let (host, port) = (reader.get::<Escaped<'_>>().ok()?, reader.get::<u32>().ok()?);
        reader.finish().ok()?;
        // Only shown: one that makes no sense harms nobody.
        let originator = Endpoint::tcp(host.to_string(), u16::try_from(port).unwrap_or(0));
        Some(Self { to, originator })
    }

    /// What comes with a channel of type [`DIRECT_STREAMLOCAL`].
    pub(crate) fn read_direct_streamlocal(rest: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(rest);
        let to = path(&mut reader)?;
        reader.string().and_then(|_| reader.get::<u32>()).ok()?;
        reader.finish().ok()?;
        Some(Self { to, originator: Endpoint::unix(b"") })
    }

    /// What comes with a channel of type [`FORWARDED_STREAMLOCAL`].
    pub(crate) fn read_forwarded_streamlocal(rest: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(rest);
        let to = path(&mut reader)?;
        reader.string().ok()?;
        reader.finish().ok()?;
        Some(Self { to, originator: Endpoint::unix(b"") })
    }
}

/// What comes with a request to listen, and to cancel that.
pub(crate) fn listen(at: &Endpoint) -> Vec<u8> {
    let mut rest = Vec::new();
    match at {
        Endpoint::Tcp { host, port } => rest.put(host.as_str()).put(&u32::from(*port)),
        Endpoint::Unix(path) => rest.put(path.as_slice()),
    };
    rest
}

/// The requests to listen at such a place, and to cancel that.
pub(crate) fn listen_requests(at: &Endpoint) -> (&'static str, &'static str) {
    match at {
        Endpoint::Tcp { .. } => (TCPIP_FORWARD, CANCEL_TCPIP),
        Endpoint::Unix(_) => (STREAMLOCAL_FORWARD, CANCEL_STREAMLOCAL),
    }
}

/// What comes with [`TCPIP_FORWARD`] and [`CANCEL_TCPIP`].
pub(crate) fn read_listen_tcpip(rest: &[u8]) -> Option<Endpoint> {
    let mut reader = Reader::new(rest);
    let at = place(&mut reader)?;
    reader.finish().ok().map(|()| at)
}

/// What comes with [`STREAMLOCAL_FORWARD`] and [`CANCEL_STREAMLOCAL`].
pub(crate) fn read_listen_streamlocal(rest: &[u8]) -> Option<Endpoint> {
    let mut reader = Reader::new(rest);
    let at = path(&mut reader)?;
    reader.finish().ok().map(|()| at)
}

/// The port that was chosen, which comes with the answer where port 0 was asked for.
pub(crate) fn chosen_port(rest: &[u8]) -> Option<u16> {
    let mut reader = Reader::new(rest);
    let port = reader.get::<u32>().ok()?;
    reader.finish().ok()?;
    u16::try_from(port).ok().filter(|port| *port > 0)
}

/// The answer that tells it.
pub(crate) fn tell_port(port: u16) -> Vec<u8> {
    u32::from(port).to_vec()
}

fn place(reader: &mut Reader<'_>) -> Option<Endpoint> {
    let read =
        |reader: &mut Reader<'_>| Ok::<_, Malformed>((reader.string()?.to_vec(), reader.get::<u32>()?));
    let (host, port) = read(reader).ok()?;
    let host = String::from_utf8(host).ok()?;
    let fit = host.len() <= HOST_BYTES && !host.chars().any(|c| c.is_control() || c.is_whitespace());
    fit.then_some(Endpoint::Tcp { host, port: u16::try_from(port).ok()? })
}

fn path(reader: &mut Reader<'_>) -> Option<Endpoint> {
    let path = reader.string().ok()?;
    let fit = !path.is_empty() && path.len() <= PATH_BYTES && !path.contains(&0);
    fit.then(|| Endpoint::unix(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(to: Endpoint) -> Carried {
        Carried { to, originator: Endpoint::tcp("::1", 4) }
    }

    #[test]
    fn what_is_written_is_read() {
        let tcp = carried(Endpoint::tcp("host", 65535));
        assert_eq!(Carried::read_tcpip(&tcp.direct().1), Some(tcp.clone()));
        assert_eq!(Carried::read_tcpip(&tcp.forwarded().1), Some(tcp.clone()));
        let unix = Carried { to: Endpoint::unix("/a b"), originator: Endpoint::unix("") };
        assert_eq!(Carried::read_direct_streamlocal(&unix.direct().1), Some(unix.clone()));
        assert_eq!(Carried::read_forwarded_streamlocal(&unix.forwarded().1), Some(unix.clone()));
        assert_eq!(read_listen_tcpip(&listen(&tcp.to)), Some(tcp.to.clone()));
        assert_eq!(read_listen_streamlocal(&listen(&unix.to)), Some(unix.to.clone()));
        assert_eq!(chosen_port(&tell_port(7)), Some(7));
        let nowhere = Carried { to: tcp.to, originator: unix.to };
        assert_eq!(
            Carried::read_tcpip(&nowhere.direct().1).map(|read| read.originator),
            Some(Endpoint::tcp("127.0.0.1", 65535))
        );
    }

    #[test]
    fn nothing_that_is_cut_or_goes_on_is_read() {
        type Read = fn(&[u8]) -> bool;
        let (tcp, unix) = (carried(Endpoint::tcp("host", 1)), carried(Endpoint::unix("/a")));
        let cases: [(Vec<u8>, Read); 6] = [
            (tcp.direct().1, |rest| Carried::read_tcpip(rest).is_some()),
            (unix.direct().1, |rest| Carried::read_direct_streamlocal(rest).is_some()),
            (unix.forwarded().1, |rest| Carried::read_forwarded_streamlocal(rest).is_some()),
            (listen(&tcp.to), |rest| read_listen_tcpip(rest).is_some()),
            (listen(&unix.to), |rest| read_listen_streamlocal(rest).is_some()),
            (tell_port(1), |rest| chosen_port(rest).is_some()),
        ];
        for (mut bytes, read) in cases {
            assert!(read(&bytes));
            for cut in 0..bytes.len() {
                assert!(!read(&bytes[..cut]), "{cut} of {bytes:?}");
            }
            bytes.push(0);
            assert!(!read(&bytes));
        }
    }

    #[test]
    fn places_that_cannot_be_are_not_read() {
        let tcp = |host: &[u8], port: u32| {
            let mut rest = Vec::new();
            rest.put(host).put(&port);
            read_listen_tcpip(&rest).is_some()
        };
        assert!(tcp(b"", 0) && tcp(b"*", 65535) && tcp(&[b'a'; HOST_BYTES], 1));
        assert!(!tcp(b"host", 65536) && !tcp(b"host", 70000) && !tcp(b"host", u32::MAX));
        assert!(!tcp(&[b'a'; HOST_BYTES + 1], 1) && !tcp(b"\xff", 1) && !tcp(b"a\0b", 1) && !tcp(b"a b", 1));
        let unix = |path: &[u8]| read_listen_streamlocal(&listen(&Endpoint::unix(path))).is_some();
        assert!(unix(b"\xff") && unix(&[b'a'; PATH_BYTES]));
        assert!(!unix(b"") && !unix(b"a\0") && !unix(&[b'a'; PATH_BYTES + 1]));
        assert_eq!((chosen_port(&[0; 4]), chosen_port(&70000_u32.to_be_bytes())), (None, None));
    }
}
