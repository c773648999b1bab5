//! What is said to an HTTP proxy and what it answers: CONNECT (RFC 9110 §9.3.6), Basic authentication
//! (RFC 7617). Pure: bytes in, bytes out. It must not know sockets or clocks.

use base64ct::{Base64, Encoding};

use super::proxied::{Greeting, Step};
use crate::crypto::secret::Secret;
use crate::wire::Escaped;

/// Bytes of an answer up to the end of its head: what Apache and curl's relatives allow for one. What is
/// behind it is the tunnel's.
const ANSWER: usize = 16 * 1024;
/// Bytes of a proxy's own words that are shown.
const SHOWN: usize = 200;
/// Ways of authentication of a refusal that are shown; there are not so many.
const WAYS: usize = 8;
/// The proxy wants to know who asks.
const AUTHENTICATION_REQUIRED: u16 = 407;

/// A question for a tunnel and the answer to it.
pub(super) struct Connect {
    question: Option<Secret>,
    /// Of the answer's head, so far.
    seen: usize,
    /// The line that is coming in.
    line: Vec<u8>,
    /// What the first line said.
    status: Option<(u16, String)>,
    /// The ways of authentication that a refusal names.
    wanted: Vec<String>,
}

impl Connect {
    /// Asks for a tunnel to `host`, as whoever `login` says.
    pub(super) fn new(host: &str, port: u16, login: Option<(&str, &Secret)>) -> Result<Self, &'static str> {
        if !host.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("HTTP proxies take names in ASCII only");
        }
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        let question = match login {
            None => Secret::from(head + "\r\n"),
            Some((user, password)) => {
                let controls = |bytes: &[u8]| bytes.iter().any(u8::is_ascii_control);
                if user.contains(':') || controls(user.as_bytes()) || controls(password.expose()) {
                    return Err(
                        "Basic authentication knows no colon in a user's name, and no control characters",
                    );
                }
                let plain = Secret::new([user.as_bytes(), b":", password.expose()].concat());
                let encoded = Secret::from(Base64::encode_string(plain.expose()));
                let field = b"Proxy-Authorization: Basic ";
                Secret::new([head.as_bytes(), field, encoded.expose(), b"\r\n\r\n"].concat())
            }
        };
        Ok(Self { question: Some(question), seen: 0, line: Vec::new(), status: None, wanted: Vec::new() })
    }

    /// A whole line of the answer, without its end.
    fn line(&mut self, line: &[u8]) -> Result<Step, String> {
        let Some((status, words)) = &self.status else {
            self.status = Some(status_of(line).ok_or("answers with something that is not HTTP")?);
            return Ok(Step::More);
        };
        if !line.is_empty() {
            let text = String::from_utf8_lossy(line);
            if let Some((name, value)) = text.split_once(':')
                && name.eq_ignore_ascii_case("proxy-authenticate")
                && self.wanted.len() < WAYS
            {
                self.wanted.extend(value.split_whitespace().next().map(shown));
            }
            return Ok(Step::More);
        }
        match *status {
            // An answer that only announces another one.
            100..=199 => {
                self.status = None;
                Ok(Step::More)
            }
            200..=299 => Ok(Step::Done),
            AUTHENTICATION_REQUIRED => Err(format!(
                "wants a user and a password that it knows ({status} {words}; it takes {}, of which Basic is built)",
                if self.wanted.is_empty() { "nothing it names".to_owned() } else { self.wanted.join(", ") }
            )),
            _ => Err(format!("opens no tunnel: {status} {words}")),
        }
    }
}

impl Greeting for Connect {
    fn first(&mut self) -> Secret {
        self.question.take().unwrap_or_else(|| Secret::new(Vec::new()))
    }

    fn take(&mut self, byte: u8) -> Result<Step, String> {
        self.seen = self.seen.saturating_add(1);
        if self.seen > ANSWER {
            return Err(format!("answers with more than {ANSWER} bytes"));
        }
        if byte != b'\n' {
            self.line.push(byte);
            return Ok(Step::More);
        }
        let line = std::mem::take(&mut self.line);
        self.line(line.strip_suffix(b"\r").unwrap_or(&line))
    }
}

/// The number and the words of `HTTP/1.1 200 Connection established`.
fn status_of(line: &[u8]) -> Option<(u16, String)> {
    let text = String::from_utf8_lossy(line);
    let (version, rest) = text.split_once(' ')?;
    let (number, words) = rest.split_once(' ').unwrap_or((rest, ""));
    let http = matches!(version, "HTTP/1.0" | "HTTP/1.1");
    let digits = number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|number| (100..600).contains(number))?;
    (http && digits).then(|| (number, shown(words)))
}

/// A proxy's words, harmless and short.
fn shown(words: &str) -> String {
    let short: String = words.chars().take(SHOWN).collect();
    Escaped(short.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::proxied::{fed, tests::everywhere};
    use super::*;

    fn ask() -> Connect {
        Connect::new("host", 22, None).unwrap()
    }

    #[test]
    fn the_question() {
        let first = |host: &str, login: Option<(&str, &Secret)>| {
            let secret = Connect::new(host, 22, login).unwrap().first();
            String::from_utf8(secret.expose().to_vec()).unwrap()
        };
        assert_eq!(first("host", None), "CONNECT host:22 HTTP/1.1\r\nHost: host:22\r\n\r\n");
        assert!(first("::1", None).starts_with("CONNECT [::1]:22 HTTP/1.1\r\n"));
        let secret = Secret::from("open sesame");
        let told = first("host", Some(("Aladdin", &secret)));
        assert!(
            told.contains("\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"),
            "{told}"
        );
        for (user, password) in [("a:b", "x"), ("a\r\nX: y", "x"), ("a", "x\r\n\r\n")] {
            assert!(Connect::new("host", 22, Some((user, &password.into()))).is_err(), "{user}");
        }
        for host in ["a b", "a\r\nb", "h\u{f6}st"] {
            assert!(Connect::new(host, 22, None).is_err(), "{host}");
        }
    }

    #[test]
    fn tunnels() {
        let answers: [&[u8]; 4] = [
            b"HTTP/1.1 200 Connection established\r\n\r\n",
            b"HTTP/1.0 200\n\n",
            b"HTTP/1.1 299 x\r\nContent-Length: 99\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nVia: x\r\n\r\n",
        ];
        for answer in answers {
            everywhere(ask, answer);
        }
    }

    #[test]
    fn refusals() {
        let cases: [(&[u8], &str); 10] = [
            (b"HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n", "opens no tunnel: 302 Found"),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", "opens no tunnel: 403 Forbidden"),
            (b"HTTP/1.1 502 \x1b[31mred\r\n\r\n", "502 \\u{1b}[31mred"),
            (b"HTTP/1.1 407 Auth\r\nproxy-authenticate: Digest realm=\"x\"\r\n\r\n", "it takes Digest"),
            (b"HTTP/1.1 407 Auth\r\n\r\n", "wants a user and a password"),
            (b"HTTP/2 200 OK\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 20 OK\r\n\r\n", "not HTTP"),
            (b"HTTP/1.1 +20 OK\r\n\r\n", "not HTTP"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
            (b"\r\n", "not HTTP"),
        ];
        for (answer, words) in cases {
            let error = fed(&mut ask(), answer).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn an_answer_is_bounded() {
        let mut head = b"HTTP/1.1 200 OK\r\n".to_vec();
        head.extend(std::iter::repeat_n(b'a', ANSWER));
        assert!(fed(&mut ask(), &head).unwrap_err().contains("more than 16384 bytes"));
        let announced = b"HTTP/1.1 100 x\r\n\r\n".repeat(ANSWER / 17);
        assert!(fed(&mut ask(), &announced).unwrap_err().contains("more than 16384 bytes"));
        let ways = b"Proxy-Authenticate: x\r\n".repeat(100);
        let many = [&b"HTTP/1.1 407 x\r\n"[..], &ways, b"\r\n"].concat();
        assert!(fed(&mut ask(), &many).unwrap_err().len() < 300);
        let long = [b"HTTP/1.1 500 ".to_vec(), vec![b'x'; 9000], b"\r\n\r\n".to_vec()].concat();
        assert!(fed(&mut ask(), &long).unwrap_err().len() < 300);
    }
}
