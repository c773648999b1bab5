//! Which hosts may say who their users are: files like `shosts.equiv` and `.shosts`, hosts.equiv(5) as
//! sshd(8) reads it, together with the keys of hosts.
//!
//! Runs on the threads of its callers. Reads no file and looks no name up.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use crate::auth::{AuthAnswer, HostbasedClient};
use crate::authorized::BadLine;
use crate::hostkeys::{HostKeyStatus, HostKeys};

/// The port of hosts that stand in files by name alone.
const SSH_PORT: u16 = 22;

/// Whom a line is about, in its first word or its second.
#[derive(Debug, PartialEq, Eq)]
enum Who {
    Named(String),
    /// A netgroup, which nobody here can look up.
    Netgroup,
}

#[derive(Debug)]
struct Rule {
    denies: bool,
    host: Who,
    /// None: the user of the same name.
    user: Option<Who>,
}

/// Hosts whose users are believed to be who they say, in the form of `shosts.equiv` and `.shosts`: a
/// host on each line, and perhaps the name of a user there. The first line that fits decides.
///
/// A host alone lets its users in under their own names; with a user, it lets that user in as whoever
/// the file is asked about. A file that holds for everybody should therefore not be asked about root,
/// as sshd does not. A `-` before a host or a user turns those away; a `+` means nothing, and a word
/// that is only a `+` spoils the line: there is no line for all hosts or all users. Netgroups are not
/// looked up: a line that would let one in is not used.
///
/// What turns away and is not understood turns everybody away.
///
/// ```
/// use feramiko::HostbasedRules;
/// let rules = HostbasedRules::parse("# build machines\nci.example.org\nci.example.org deploy\n+ +\n");
/// assert_eq!(rules.bad_lines()[0].line, 4);
/// ```
#[derive(Debug, Default)]
pub struct HostbasedRules {
    rules: Vec<Rule>,
    bad: Vec<BadLine>,
}

impl HostbasedRules {
    /// Reads the text of a file.
    #[must_use]
    pub fn parse(text: impl AsRef<[u8]>) -> Self {
        let mut this = Self::default();
        for (line, bytes) in (1..).zip(text.as_ref().split(|byte| *byte == b'\n')) {
            let text = String::from_utf8_lossy(bytes);
            let words: Vec<_> = text.split_ascii_whitespace().collect();
            match words.first() {
                None => continue,
                Some(first) if first.starts_with('#') || first.starts_with("NO_PLUS") => continue,
                Some(_) => {}
            }
            let read = match std::str::from_utf8(bytes) {
                Ok(_) => Rule::read(&words),
                Err(_) => Err("it is no UTF-8"),
            };
            let denies = words.iter().take(2).any(|word| word.starts_with('-'));
            match read {
                Ok(rule) => this.rules.push(rule),
                Err(reason) => {
                    this.bad.push(BadLine { line, reason: reason.to_owned() });
                    if denies {
                        let user = Some(Who::Netgroup);
                        this.rules.push(Rule { denies, host: Who::Netgroup, user });
                    }
                }
            }
        }
        this
    }

    /// The lines that could not be used.
    #[must_use]
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad
    }

    /// Whether the host may say that its user is `user` here, for [`check_auth_hostbased`]: a line lets
    /// it, and `known` has its key, or the authority of its certificate. That the client's address is
    /// the host's is not looked at.
    ///
    /// [`check_auth_hostbased`]: crate::ServerInterface::check_auth_hostbased
    pub fn check(&self, user: &str, client: &HostbasedClient, known: &HostKeys) -> AuthAnswer {
        let key = known.check(&client.host, SSH_PORT, &client.key);
        AuthAnswer::when(self.lets(user, client) && key == HostKeyStatus::Known)
    }

    fn lets(&self, user: &str, client: &HostbasedClient) -> bool {
        let about = |rule: &&Rule| rule.is_about(user, client);
        self.rules.iter().find(about).is_some_and(|rule| !rule.denies)
    }
}

impl Rule {
    fn read(words: &[&str]) -> Result<Self, &'static str> {
        let (host, user) = match words {
            [host] => (host, None),
            [host, user] => (host, Some(user)),
            _ => return Err("a line has a host and perhaps a user, and no more"),
        };
        let (host_denied, host) = Who::read(host)?;
        let user = user.map(|user| Who::read(user)).transpose()?;
        let denies = host_denied || user.as_ref().is_some_and(|(denied, _)| *denied);
        let user = user.map(|(_, user)| user);
        if !denies && (host == Who::Netgroup || user == Some(Who::Netgroup)) {
            return Err("netgroups are not looked up");
        }
        Ok(Self { denies, host, user })
    }

    fn is_about(&self, user: &str, client: &HostbasedClient) -> bool {
        let host = match &self.host {
            Who::Named(host) => host.eq_ignore_ascii_case(&client.host),
            Who::Netgroup => true,
        };
        let name = match &self.user {
            Some(Who::Named(name)) => name == &client.user,
            Some(Who::Netgroup) => true,
            None => user == client.user,
        };
        host && name
    }
}

impl Who {
    /// Whether a word turns away, and whom it names.
    fn read(word: &str) -> Result<(bool, Self), &'static str> {
        let (denies, name) = match word.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, word.strip_prefix('+').unwrap_or(word)),
        };
        match name {
            "" => Err("it names everybody"),
            name if name.starts_with('@') => Ok((denies, Self::Netgroup)),
            name => Ok((denies, Self::Named(name.to_owned()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{KeyKind, PKey};

    /// A file, who asks (a user here, a host, its user), and whether it lets in.
    const CASES: &[(&str, (&str, &str, &str), bool)] = &[
        ("", ("me", "h", "me"), false),
        ("h", ("me", "h", "me"), true),
        ("H", ("me", "h", "me"), true),
        ("h\r\n", ("me", "h", "me"), true),
        ("h", ("me", "h", "you"), false),
        ("h", ("me", "other", "me"), false),
        ("h you", ("me", "h", "you"), true),
        ("h you", ("me", "h", "me"), false),
        ("h YOU", ("me", "h", "you"), false),
        ("+h +you", ("me", "h", "you"), true),
        ("+", ("me", "h", "me"), false),
        ("+ +", ("me", "h", "me"), false),
        ("+ me", ("me", "h", "me"), false),
        ("h +", ("me", "h", "me"), false),
        ("*", ("me", "h", "me"), false),
        ("-h\nh", ("me", "h", "me"), false),
        ("h -me\nh", ("me", "h", "me"), false),
        ("h -you\nh", ("me", "h", "me"), true),
        ("-other\nh", ("me", "h", "me"), true),
        ("h\n-h", ("me", "h", "me"), true),
        ("# h\n  h", ("me", "h", "me"), true),
        ("#h", ("me", "h", "me"), false),
        ("h # a comment", ("me", "h", "me"), false),
        ("h me more", ("me", "h", "me"), false),
        ("NO_PLUS\nh", ("me", "h", "me"), true),
        ("@group", ("me", "h", "me"), false),
        ("+@group", ("me", "@group", "me"), false),
        ("h @group", ("me", "h", "me"), false),
        ("@group\nh", ("me", "h", "me"), true),
        ("-@group\nh", ("me", "h", "me"), false),
        ("-@group you\nh", ("me", "h", "me"), true),
        ("h -@group\nh", ("me", "h", "me"), false),
        ("-\nh", ("me", "h", "me"), false),
        ("-x y z\nh", ("me", "h", "me"), false),
        ("h -\nh", ("me", "h", "me"), false),
    ];

    #[test]
    fn lines_let_in_and_turn_away() {
        let key = PKey::generate(KeyKind::Ed25519).unwrap().public_key().clone();
        for (text, (user, host, name), lets) in CASES {
            let client =
                HostbasedClient { host: (*host).to_owned(), user: (*name).to_owned(), key: key.clone() };
            assert_eq!(
                HostbasedRules::parse(text).lets(user, &client),
                *lets,
                "{text:?} {user} {host} {name}"
            );
        }
        let client = HostbasedClient { host: "h".to_owned(), user: "me".to_owned(), key };
        assert!(!HostbasedRules::parse(b"-\xff\nh").lets("me", &client));
        assert!(HostbasedRules::parse(b"\xff\nh").lets("me", &client));
    }

    #[test]
    fn the_key_must_be_the_hosts() {
        let (key, other) =
            (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::Ed25519).unwrap());
        let rules = HostbasedRules::parse("h");
        let mut known = HostKeys::new();
        known.add("h", SSH_PORT, key.public_key()).unwrap();
        known.add("other", SSH_PORT, other.public_key()).unwrap();
        let check = |host: &str, key: &PKey| {
            let client = HostbasedClient {
                host: host.to_owned(),
                user: "me".to_owned(),
                key: key.public_key().clone(),
            };
            rules.check("me", &client, &known)
        };
        assert_eq!(check("h", &key), AuthAnswer::Accept);
        assert_eq!(check("H", &key), AuthAnswer::Accept);
        assert_eq!(check("h", &other), AuthAnswer::Refuse);
        assert_eq!(check("other", &other), AuthAnswer::Refuse);
    }
}
