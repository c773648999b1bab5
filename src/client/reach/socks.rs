//! What is said to a SOCKS proxy and what it answers: SOCKS4 and 4a, SOCKS5 (RFC 1928) with users and
//! passwords (RFC 1929). Pure: bytes in, bytes out. It must not know sockets or clocks.

use std::net::IpAddr;

use super::proxied::{Greeting, Step};
use crate::crypto::secret::Secret;

/// The protocol that a SOCKS proxy is spoken to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SOCKSVersion {
    /// SOCKS4: to IPv4 addresses only.
    V4,
    /// SOCKS4a: the proxy looks names up.
    V4a,
    /// SOCKS5: the proxy looks names up; IPv6; users and passwords.
    V5,
}

const CONNECT: u8 = 1;
/// The version of the messages of RFC 1929.
const LOGIN: u8 = 1;
const NO_LOGIN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NO_METHOD: u8 = 255;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
/// An answer of SOCKS4; also the head of one of SOCKS5 with the first byte of its address.
const ANSWER_4: usize = 8;
const HEAD_5: usize = 5;
const GRANTED_4: u8 = 90;

/// Which answer comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Await {
    V4,
    Method,
    Login,
    Head,
    /// What is left of the address that the proxy connects from.
    Address,
}

/// A question for a connection and the answers to it.
pub(super) struct Connect {
    first: Option<Secret>,
    login: Option<Secret>,
    request: Vec<u8>,
    next: Await,
    /// The bytes that the next answer has.
    length: usize,
    answer: Vec<u8>,
}

impl Connect {
    /// Asks for a connection to `host`, as whoever `login` says: a name and, for SOCKS5, a password.
    pub(super) fn new(
        version: SOCKSVersion,
        host: &str,
        port: u16,
        login: Option<(&str, &Secret)>,
    ) -> Result<Self, &'static str> {
        match version {
            SOCKSVersion::V5 => Self::v5(host, port, login),
            _ => Self::v4(version == SOCKSVersion::V4a, host, port, login.map_or("", |(user, _)| user)),
        }
    }

    fn v4(names: bool, host: &str, port: u16, user: &str) -> Result<Self, &'static str> {
        if user.contains('\0') || host.contains('\0') {
            return Err("SOCKS4 takes no NUL");
        }
        let mut question = vec![4, CONNECT];
        question.extend(port.to_be_bytes());
        // An address that nobody has says that the name follows.
        let name = match host.parse() {
            Ok(IpAddr::V4(address)) => {
                question.extend(address.octets());
                None
            }
            Ok(IpAddr::V6(_)) => return Err("SOCKS4 knows no IPv6: use SOCKS5"),
            Err(_) if names => {
                question.extend([0, 0, 0, 1]);
                Some(host)
            }
            Err(_) => return Err("SOCKS4 takes IPv4 addresses only: use SOCKS4a or SOCKS5"),
        };
        question.extend(user.bytes().chain([0]));
        question.extend(name.into_iter().flat_map(|name| name.bytes().chain([0])));
        Ok(Self::awaiting(Secret::new(question), Await::V4, ANSWER_4))
    }

    fn v5(host: &str, port: u16, login: Option<(&str, &Secret)>) -> Result<Self, &'static str> {
        let first =
            if login.is_some() { vec![5, 2, NO_LOGIN, USER_AND_PASSWORD] } else { vec![5, 1, NO_LOGIN] };
        let mut this = Self::awaiting(Secret::new(first), Await::Method, 2);
        this.request = vec![5, CONNECT, 0];
        match host.parse() {
            Ok(IpAddr::V4(address)) => {
                this.request.push(IPV4);
                this.request.extend(address.octets());
            }
            Ok(IpAddr::V6(address)) => {
                this.request.push(IPV6);
                this.request.extend(address.octets());
            }
            Err(_) => {
                this.request.push(NAME);
                let name = short(host.as_bytes(), "a host's name for SOCKS5 has 1 to 255 bytes")?;
                this.request.extend(name);
            }
        }
        this.request.extend(port.to_be_bytes());
        if let Some((user, password)) = login {
            let wrong = "a user and a password for SOCKS5 have 1 to 255 bytes";
            let (user, password) = (short(user.as_bytes(), wrong)?, short(password.expose(), wrong)?);
            // The vectors on the way here are small and few; each is wiped as a secret.
            let (user, password) = (Secret::new(user), Secret::new(password));
            this.login = Some(Secret::new([&[LOGIN], user.expose(), password.expose()].concat()));
        }
        Ok(this)
    }

    fn awaiting(first: Secret, next: Await, length: usize) -> Self {
        Self { first: Some(first), login: None, request: Vec::new(), next, length, answer: Vec::new() }
    }

    /// Waits for another answer, after `told` was sent.
    fn then(&mut self, told: Secret, next: Await, length: usize) -> Step {
        (self.next, self.length) = (next, length);
        Step::Tell(told)
    }

    fn request(&mut self) -> Step {
        let request = Secret::new(std::mem::take(&mut self.request));
        self.then(request, Await::Head, HEAD_5)
    }

    /// A whole answer.
    fn answered(&mut self, answer: &[u8]) -> Result<Step, String> {
        match (self.next, answer) {
            (Await::V4, [0, GRANTED_4, ..]) | (Await::Address, _) => Ok(Step::Done),
            (Await::V4, [0, code, ..]) => Err(refused_4(*code)),
            (Await::Method, [5, NO_LOGIN]) => Ok(self.request()),
            (Await::Method, [5, USER_AND_PASSWORD]) => match self.login.take() {
                Some(login) => Ok(self.then(login, Await::Login, 2)),
                None => Err("wants a user and a password though none was offered".to_owned()),
            },
            (Await::Method, [5, NO_METHOD]) if self.login.is_none() => {
                Err("wants to know who asks: give it a user and a password".to_owned())
            }
            (Await::Method, [5, NO_METHOD]) => {
                Err("takes neither nobody nor users with passwords".to_owned())
            }
            (Await::Login, [LOGIN, 0]) => Ok(self.request()),
            (Await::Login, [LOGIN, _]) => Err("does not know the user or the password".to_owned()),
            (Await::Head, [5, 0, 0, kind, length]) => {
                // The address's first byte was read already; the port is behind it.
                let rest = match *kind {
                    IPV4 => 3 + 2,
                    IPV6 => 15 + 2,
                    NAME => usize::from(*length).saturating_add(2),
                    _ => return Err("answers with an address of no kind that there is".to_owned()),
                };
                (self.next, self.length) = (Await::Address, rest);
                Ok(Step::More)
            }
            (Await::Head, [5, code, ..]) if *code != 0 => Err(refused_5(*code)),
            _ => Err("answers with something that is not SOCKS".to_owned()),
        }
    }
}

/// `bytes` behind their length.
fn short(bytes: &[u8], wrong: &'static str) -> Result<Vec<u8>, &'static str> {
    match u8::try_from(bytes.len()) {
        Ok(length @ 1..) => Ok([&[length], bytes].concat()),
        _ => Err(wrong),
    }
}

fn refused_4(code: u8) -> String {
    match code {
        91 => "refuses the connection, or could not make it".to_owned(),
        92 => "cannot ask this host who its user is".to_owned(),
        93 => "takes this host's user for another one".to_owned(),
        code => format!("answers with code {code}, which means nothing"),
    }
}

/// RFC 1928 §6.
fn refused_5(code: u8) -> String {
    let words = match code {
        1 => "a failure of its own",
        2 => "its rules forbid the connection",
        3 => "the network cannot be reached",
        4 => "the host cannot be reached",
        5 => "the host refused the connection",
        6 => "the connection took too long",
        7 => "it makes no connections",
        8 => "it knows no such addresses",
        _ => "for no reason that there is",
    };
    format!("opens no connection: {words} (code {code})")
}

impl Greeting for Connect {
    fn first(&mut self) -> Secret {
        self.first.take().unwrap_or_else(|| Secret::new(Vec::new()))
    }

    fn take(&mut self, byte: u8) -> Result<Step, String> {
        self.answer.push(byte);
        if self.answer.len() < self.length {
            // What a wrong first byte begins is not waited for.
            let first = match self.next {
                Await::V4 => 0,
                Await::Login => LOGIN,
                Await::Method | Await::Head => 5,
                Await::Address => return Ok(Step::More),
            };
            return match self.answer.first() {
                Some(byte) if *byte != first => Err("answers with something that is not SOCKS".to_owned()),
                _ => Ok(Step::More),
            };
        }
        let answer = std::mem::take(&mut self.answer);
        self.answered(&answer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::proxied::{fed, tests::everywhere};
    use super::*;

    fn ask(version: SOCKSVersion) -> impl Fn() -> Connect {
        move || Connect::new(version, "host.example", 22, None).unwrap()
    }

    fn with_login() -> Connect {
        Connect::new(SOCKSVersion::V5, "host.example", 22, Some(("me", &"pass".into()))).unwrap()
    }

    #[test]
    fn questions() {
        let first = |version, host: &str, login: Option<(&str, &Secret)>| {
            Connect::new(version, host, 22, login).map(|mut it| it.first().expose().to_vec())
        };
        let me = Secret::from("");
        assert_eq!(first(SOCKSVersion::V4, "127.0.0.1", None).unwrap(), b"\x04\x01\0\x16\x7f\0\0\x01\0");
        let told = first(SOCKSVersion::V4a, "host", Some(("me", &me))).unwrap();
        assert_eq!(told, b"\x04\x01\0\x16\0\0\0\x01me\0host\0");
        assert_eq!(first(SOCKSVersion::V5, "host", None).unwrap(), b"\x05\x01\0");
        assert_eq!(first(SOCKSVersion::V5, "host", Some(("me", &"x".into()))).unwrap(), b"\x05\x02\0\x02");
        for (version, host, login) in [
            (SOCKSVersion::V4, "host", None),
            (SOCKSVersion::V4a, "::1", None),
            (SOCKSVersion::V4a, "a\0b", None),
            (SOCKSVersion::V4a, "host", Some(("a\0b", &me))),
            (SOCKSVersion::V5, &"x".repeat(256), None),
            (SOCKSVersion::V5, "host", Some(("me", &me))),
        ] {
            assert!(first(version, host, login).is_err(), "{version:?} {host}");
        }
    }

    #[test]
    fn a_connection_is_asked_for_by_name_and_address() {
        let told = |host: &str| {
            let mut connect = Connect::new(SOCKSVersion::V5, host, 258, None).unwrap();
            let Ok(Step::Tell(request)) = connect.take(5).and_then(|_| connect.take(0)) else { panic!() };
            request.expose().to_vec()
        };
        assert_eq!(told("host"), b"\x05\x01\0\x03\x04host\x01\x02");
        assert_eq!(told("127.0.0.1"), b"\x05\x01\0\x01\x7f\0\0\x01\x01\x02");
        assert_eq!(told("::1"), [&b"\x05\x01\0\x04"[..], &[0; 15], &[1, 1, 2]].concat());
        let mut connect = with_login();
        let Ok(Step::Tell(login)) = connect.take(5).and_then(|_| connect.take(2)) else { panic!() };
        assert_eq!(login.expose(), b"\x01\x02me\x04pass");
    }

    #[test]
    fn connections() {
        everywhere(ask(SOCKSVersion::V4a), b"\0\x5a\0\0\0\0\0\0");
        let v5: [&[u8]; 3] = [
            b"\x05\0\x05\0\0\x01\x7f\0\0\x01\0\x16",
            b"\x05\0\x05\0\0\x03\x04host\0\x16",
            b"\x05\0\x05\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x16",
        ];
        for answer in v5 {
            everywhere(ask(SOCKSVersion::V5), answer);
        }
        everywhere(ask(SOCKSVersion::V5), b"\x05\0\x05\0\0\x03\0\0\x16");
        everywhere(with_login, b"\x05\x02\x01\0\x05\0\0\x01\x7f\0\0\x01\0\x16");
    }

    #[test]
    fn refusals() {
        let v4: [(&[u8], &str); 3] = [
            (b"\0\x5b\0\0\0\0\0\0", "refuses the connection"),
            (b"\0\x05\0\0\0\0\0\0", "code 5"),
            (b"HTTP/1.1", "not SOCKS"),
        ];
        for (answer, words) in v4 {
            let error = fed(&mut ask(SOCKSVersion::V4a)(), answer).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let v5: [(&[u8], &str); 9] = [
            (b"\x05\xff", "give it a user and a password"),
            (b"\x05\x02", "though none was offered"),
            (b"\x05\x01", "not SOCKS"),
            (b"\x04\0", "not SOCKS"),
            (b"\x05\0\x05\x05\0\x01\0", "the host refused the connection (code 5)"),
            (b"\x05\0\x05\x63\0\x01\0", "code 99"),
            (b"\x05\0\x05\0\0\x02\0", "an address of no kind"),
            (b"\x05\0\x05\0\x07\x01\0", "not SOCKS"),
            (b"\x05\0\x04", "not SOCKS"),
        ];
        for (answer, words) in v5 {
            let error = fed(&mut ask(SOCKSVersion::V5)(), answer).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(fed(&mut with_login(), b"\x05\x02\x01\x01").unwrap_err().contains("does not know"));
        assert!(fed(&mut with_login(), b"\x05\x02\x05\0").unwrap_err().contains("not SOCKS"));
        assert!(fed(&mut with_login(), b"\x05\xff").unwrap_err().contains("neither"));
    }
}
