//! Which ports and sockets are to be forwarded: the words of `ssh -L`, `-R`, `-D` and `-W`, and of LocalForward,
//! RemoteForward and DynamicForward. OpenSSH's readconf.c, parse_forward.
//!
//! Pure but for `${ENV}`. Listens and dials nothing.

use super::ConfigError;
use super::environment::{Environment, System};
use super::tokens::Expand;
use crate::pattern::endpoint::Endpoint;

/// The longest name of a host; NI_MAXHOST of netdb.h.
const HOST_BYTES: usize = 1025;
/// The longest path of a UNIX socket; sun_path of Linux' sockaddr_un.
const PATH_BYTES: usize = 108;

/// One forwarding: where it listens, and where what connects there is led to.
///
/// ```
/// use feramiko::{Endpoint, ForwardRule};
/// let rule = ForwardRule::local("8080:intranet.example.org:80")?;
/// assert_eq!(rule.listen, Endpoint::tcp("localhost", 8080));
/// assert_eq!(rule.to, Some(Endpoint::tcp("intranet.example.org", 80)));
/// assert_eq!(ForwardRule::dynamic("*:1080")?.to, None);
/// # Ok::<(), feramiko::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForwardRule {
    /// Where connections are taken. Without a host in the rule it is `localhost`; `*` is the empty host, every
    /// address.
    pub listen: Endpoint,
    /// Where they are led to; none where each connection says so itself by SOCKS.
    pub to: Option<Endpoint>,
    /// Whether the rule names the host where it listens, or a path. Where it does not, `GatewayPorts` may
    /// mean every address.
    pub bind_given: bool,
}

impl ForwardRule {
    /// The word of `ssh -L`: `[host:]port:host:port`, `[host:]port:path`, `path:host:port` or `path:path`. A
    /// host with colons stands in brackets.
    ///
    /// # Errors
    /// [`ConfigError::Line`] when it is none of them.
    pub fn local(word: &str) -> Result<Self, ConfigError> {
        one(word, Written::parse(word, Way::Local, &System))
    }

    /// The word of `ssh -R`: as that of [`local`](Self::local), or as that of [`dynamic`](Self::dynamic). The
    /// port may be 0; then the server chooses.
    ///
    /// # Errors
    /// As [`local`](Self::local).
    pub fn remote(word: &str) -> Result<Self, ConfigError> {
        let fixed = Written::parse(word, Way::Remote, &System);
        one(word, fixed.or_else(|_| Written::parse(word, Way::RemoteDynamic, &System)))
    }

    /// The word of `ssh -D`: `[host:]port`.
    ///
    /// # Errors
    /// As [`local`](Self::local).
    pub fn dynamic(word: &str) -> Result<Self, ConfigError> {
        one(word, Written::parse(word, Way::Dynamic, &System))
    }

    /// The word of `ssh -W`: `host:port`, or the path of a socket; where the standard streams lead to.
    ///
    /// # Errors
    /// As [`local`](Self::local).
    pub fn stdio(word: &str) -> Result<Endpoint, ConfigError> {
        let rule = Self::dynamic(word)?;
        if rule.bind_given { Ok(rule.listen) } else { Err(bad(word)) }
    }
}

fn bad(word: &str) -> ConfigError {
    ConfigError::Line {
        file: "command-line".to_owned(),
        line: 0,
        text: format!("bad forwarding specification '{word}'"),
    }
}

fn one(word: &str, written: Result<Written, String>) -> Result<ForwardRule, ConfigError> {
    written.map(|written| written.rule()).map_err(|_| bad(word))
}

/// Which kind of rule a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Local,
    Remote,
    Dynamic,
    RemoteDynamic,
}

/// One end as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Port(Option<String>, u16),
    Path(String),
}

impl End {
    fn shown(&self) -> String {
        match self {
            Self::Port(Some(host), port) => format!("[{host}]:{port}"),
            Self::Port(None, port) => port.to_string(),
            Self::Path(path) => path.clone(),
        }
    }

    fn expanded(&self, expand: Expand<'_>) -> Result<Self, String> {
        match self {
            Self::Path(path) => Ok(Self::Path(expand.text(path)?)),
            port @ Self::Port(..) => Ok(port.clone()),
        }
    }

    fn endpoint(&self) -> Endpoint {
        match self {
            Self::Port(host, port) => {
                let host = host.as_deref().unwrap_or("localhost");
                Endpoint::tcp(if host == "*" { "" } else { host }, *port)
            }
            Self::Path(path) => Endpoint::unix(path),
        }
    }
}

/// A rule as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) way: Way,
    listen: End,
    to: Option<End>,
}

impl Written {
    /// Reads a rule. The error is what is wrong with it.
    pub(super) fn parse(word: &str, way: Way, environment: &dyn Environment) -> Result<Self, String> {
        let wrong = || "bad forwarding specification".to_owned();
        let text = Expand { tokens: None, variables: Some(environment) }.text(word)?;
        let fields = fields(text.trim_start()).ok_or_else(wrong)?;
        let dynamic = matches!(way, Way::Dynamic | Way::RemoteDynamic);
        let (listen, to) = if dynamic { (listener(&fields), None) } else { ends(&fields) };
        let (listen, written) = (listen.ok_or_else(wrong)?, to.is_some());
        let zero = |end: &End| matches!(end, End::Port(_, 0));
        let remote = matches!(way, Way::Remote | Way::RemoteDynamic);
        let fits = |end: &End| match end {
            End::Port(host, _) => host.as_ref().is_none_or(|host| host.len() < HOST_BYTES),
            End::Path(path) => !path.is_empty() && path.len() < PATH_BYTES,
        };
        let fine = written != dynamic
            && (remote || !zero(&listen))
            && fits(&listen)
            && to.as_ref().is_none_or(|to| !zero(to) && fits(to));
        if fine { Ok(Self { way, listen, to }) } else { Err(wrong()) }
    }

    pub(super) fn rule(&self) -> ForwardRule {
        ForwardRule {
            listen: self.listen.endpoint(),
            to: self.to.as_ref().map(End::endpoint),
            bind_given: !matches!(self.listen, End::Port(None, _)),
        }
    }

    /// The same with the tokens of paths replaced.
    pub(super) fn expanded(&self, expand: Expand<'_>) -> Result<Self, String> {
        let to = self.to.as_ref().map(|to| to.expanded(expand)).transpose()?;
        Ok(Self { way: self.way, listen: self.listen.expanded(expand)?, to })
    }

    /// As `ssh -G` shows it, behind its keyword.
    pub(super) fn shown(&self) -> String {
        let to = match (&self.to, self.way) {
            (Some(to), _) => format!(" {}", to.shown()),
            // What OpenSSH calls the end that is not known.
            (None, Way::RemoteDynamic) => " [socks]:0".to_owned(),
            (None, _) => String::new(),
        };
        format!("{}{to}", self.listen.shown())
    }
}

/// A field between colons.
#[derive(Debug)]
struct Field {
    text: String,
    is_path: bool,
}

impl Field {
    fn port(&self) -> Option<u16> {
        let digits = !self.text.is_empty() && self.text.bytes().all(|byte| byte.is_ascii_digit());
        if digits { self.text.parse().ok() } else { None }
    }

    fn host(&self) -> Option<String> {
        Some(self.text.clone())
    }

    fn path(&self) -> End {
        End::Path(self.text.clone())
    }
}

/// One to four fields. What stands in brackets is taken as it is; elsewhere `\` takes the meaning from a colon.
fn fields(text: &str) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if fields.len() == 4 {
            return None;
        }
        let (field, after) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (inside, after) = inside.split_once(']')?;
                let after = if after.is_empty() { after } else { after.strip_prefix(':')? };
                (inside.to_owned(), after)
            }
            None => plain(rest)?,
        };
        rest = after;
        fields.push(Field { is_path: field.contains('/'), text: field });
    }
    (!fields.is_empty()).then_some(fields)
}

/// The text up to a colon, and what follows.
fn plain(text: &str) -> Option<(String, &str)> {
    let mut field = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => field.push(letters.next()?),
            ':' => break,
            _ => field.push(letter),
        }
    }
    Some((field, letters.as_str()))
}

/// `port`, `host:port`, or a path.
fn listener(fields: &[Field]) -> Option<End> {
    match fields {
        [path] if path.is_path => Some(path.path()),
        [port] => Some(End::Port(None, port.port()?)),
        [host, port] if !host.is_path && !port.is_path => Some(End::Port(host.host(), port.port()?)),
        _ => None,
    }
}

/// Where a rule listens, and where it leads to.
fn ends(fields: &[Field]) -> (Option<End>, Option<End>) {
    let (listen, to) = match fields {
        [from, to] if to.is_path => (std::slice::from_ref(from), std::slice::from_ref(to)),
        [path, to @ ..] if path.is_path && to.len() == 2 => (std::slice::from_ref(path), to),
        [host, port, to] if to.is_path => {
            return (host_port(host, port), Some(to.path()));
        }
        [from, to @ ..] if to.len() == 2 => (std::slice::from_ref(from), to),
        [host, port, to_host, to_port] => return (host_port(host, port), host_port(to_host, to_port)),
        _ => return (None, None),
    };
    (listener(listen), listener(to))
}

fn host_port(host: &Field, port: &Field) -> Option<End> {
    Some(End::Port(host.host(), port.port()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let tcp = Endpoint::tcp;
        let unix = |path: &str| Endpoint::unix(path);
        for (word, listen, to) in [
            ("80:h:90", tcp("localhost", 80), tcp("h", 90)),
            (":80:h:90", tcp("", 80), tcp("h", 90)),
            ("*:80:h:90", tcp("", 80), tcp("h", 90)),
            ("[::1]:80:[2001:db8::7]:90", tcp("::1", 80), tcp("2001:db8::7", 90)),
            ("80:/s", tcp("localhost", 80), unix("/s")),
            ("::1\\:2:80:/s", tcp("", 0), unix("")),
            ("a:80:/s", tcp("a", 80), unix("/s")),
            ("/l:h:90", unix("/l"), tcp("h", 90)),
            ("/l:/s", unix("/l"), unix("/s")),
            ("[/l:x]:/s", unix("/l:x"), unix("/s")),
            ("/l\\:x:/s", unix("/l:x"), unix("/s")),
        ] {
            let rule = ForwardRule::local(word);
            if word.starts_with("::1") {
                assert!(rule.is_err(), "{word}");
                continue;
            }
            let rule = rule.unwrap();
            assert_eq!((&rule.listen, rule.to.as_ref()), (&listen, Some(&to)), "{word}");
            assert_eq!(ForwardRule::remote(word).unwrap(), rule);
            assert!(ForwardRule::dynamic(word).is_err(), "{word}");
        }
        assert_eq!(ForwardRule::dynamic("1080").unwrap().listen, tcp("localhost", 1080));
        assert!(!ForwardRule::dynamic("1080").unwrap().bind_given);
        assert_eq!(ForwardRule::remote("0").unwrap().to, None);
        assert_eq!(ForwardRule::remote("0:h:1").unwrap().listen, tcp("localhost", 0));
        assert_eq!(ForwardRule::stdio("h:22").unwrap(), tcp("h", 22));
        assert_eq!(ForwardRule::stdio("/s").unwrap(), unix("/s"));
        assert!(ForwardRule::stdio("22").is_err());
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let long = format!("80:/{}", "x".repeat(PATH_BYTES));
        let host = format!("80:{}:90", "x".repeat(HOST_BYTES));
        for word in [
            "",
            ":",
            "80",
            "80:h",
            "0:h:90",
            "80:h:0",
            "x:h:90",
            "80:h:x",
            "65536:h:90",
            "-1:h:90",
            "+1:h:90",
            "80:h:90:1:2",
            "[::1:80:h:90",
            "[::1]x:80:h:90",
            "80:h:90\\",
            "${}:h:90",
            "${NOT SET}:h:90",
            "${x",
            &long,
            &host,
            "80:[]",
            "/l",
        ] {
            assert!(ForwardRule::local(word).is_err(), "{word}");
        }
        for word in ["0", "a:b:1080", "h:/s"] {
            assert!(ForwardRule::dynamic(word).is_err(), "{word}");
        }
    }
}
