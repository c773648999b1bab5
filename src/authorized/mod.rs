//! authorized_keys: whose keys, and whose certificates, let a user in, and with what restrictions.
//! sshd(8), "AUTHORIZED_KEYS FILE FORMAT". Authorities for all users stand beside them. A bad line spoils only
//! itself.
//!
//! Runs on the threads of its callers. Who holds a key, and what is done with the answer, is for others
//! to see.

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

mod authorities;
mod options;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use options::Options;

use crate::auth::AuthAnswer;
use crate::key::{KeyError, PublicKey, is_certificate, key_blob, split_word};
use crate::sys::file::read_regular;

pub use authorities::UserAuthorities;

/// No file is larger: a hundred thousand keys.
const FILE: u64 = 64 * 1024 * 1024;
/// Lines of one text that are looked at, so that what is made of them has a bound too: a line of two bytes takes
/// hundreds.
const LINES: usize = 100_000;

/// Who wants in, and from where.
#[derive(Debug, Clone, Copy)]
pub struct KeyLogin<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The key that the client offers, with its certificate or without.
    pub key: &'a PublicKey,
    /// The client's address, if it has one.
    pub address: Option<IpAddr>,
    /// The name of that address, if it was looked up.
    pub host: Option<&'a str>,
    /// The time.
    pub now: SystemTime,
}

impl<'a> KeyLogin<'a> {
    /// `user` wants in with `key`, now, from `address`.
    #[must_use]
    pub fn new(user: &'a str, key: &'a PublicKey, address: Option<IpAddr>) -> Self {
        Self { user, key, address, host: None, now: SystemTime::now() }
    }
}

/// A line that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadLine {
    /// Its number, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

#[derive(Debug)]
struct Entry {
    line: usize,
    options: Options,
}

/// The keys that let a user in.
///
/// ```
/// use feramiko::{AuthAnswer, AuthorizedKeys, KeyKind, KeyLogin, PKey};
/// let key = PKey::generate(KeyKind::Ed25519)?;
/// let line = format!("restrict,command=\"date\" {} robey's laptop", key.public_key().to_line());
/// let keys = AuthorizedKeys::parse(&line);
/// match keys.check(&KeyLogin::new("robey", key.public_key(), None)) {
///     AuthAnswer::AcceptWith(permissions) => assert!(!permissions.pty && permissions.command.is_some()),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), feramiko::KeyError>(())
/// ```
#[derive(Debug, Default)]
pub struct AuthorizedKeys {
    /// By the blob of the key; a key may stand in several lines, and the first that lets in counts.
    entries: HashMap<Vec<u8>, Vec<Entry>>,
    bad: Vec<BadLine>,
    environment: bool,
}

impl AuthorizedKeys {
    /// Reads a file. What is wrong with lines is logged, and told by [`bad_lines`](Self::bad_lines).
    ///
    /// # Errors
    /// [`KeyError::Io`] when it cannot be read, is no regular file, or is larger than 64 MiB.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let this = Self::parse(text_of(path)?);
        tell_bad(path, &this.bad);
        Ok(this)
    }

    /// Reads the text of a file, at most 100000 lines.
    #[must_use]
    pub fn parse(text: impl AsRef<[u8]>) -> Self {
        let mut this = Self::default();
        for (line, bytes) in lines(text.as_ref()) {
            match read(bytes) {
                Ok(None) => {}
                Ok(Some((key, options))) => {
                    // Nearly every key stands in one line; a list that grows has room for four.
                    let lines = this.entries.entry(key).or_insert_with(|| Vec::with_capacity(1));
                    lines.push(Entry { line, options });
                }
                Err(reason) => this.bad.push(BadLine { line, reason }),
            }
        }
        this.bad.extend(too_many(text.as_ref()));
        this
    }

    /// Lets lines set variables by `environment=`, which may change what programs do in ways that
    /// nobody foresaw: sshd's `PermitUserEnvironment`. Without, they are ignored.
    #[must_use]
    pub fn permit_user_environment(mut self, permit: bool) -> Self {
        self.environment = permit;
        self
    }

    /// The lines that could not be used.
    #[must_use]
    pub fn bad_lines(&self) -> &[BadLine] {
        &self.bad
    }

    /// Whether the key lets the user in, for [`check_auth_publickey`] and, with a certificate that was
    /// checked, for [`check_auth_certificate`]: one of an authority in a `cert-authority` line that
    /// names the user, or one of the line's `principals`.
    ///
    /// [`check_auth_publickey`]: crate::ServerInterface::check_auth_publickey
    /// [`check_auth_certificate`]: crate::ServerInterface::check_auth_certificate
    pub fn check(&self, login: &KeyLogin<'_>) -> AuthAnswer {
        let certificate = login.key.certificate();
        let stands = certificate.map_or(login.key, |certificate| certificate.authority());
        for entry in self.entries.get(stands.blob()).into_iter().flatten() {
            match entry.options.refuses(login) {
                None => return entry.options.granted(self.environment),
                Some(reason) => log::info!(
                    target: "feramiko::auth",
                    "{}: line {} does not let {} in: {reason}",
                    login.key.fingerprint(),
                    entry.line,
                    login.user
                ),
            }
        }
        AuthAnswer::Refuse
    }
}

/// All of a file.
fn text_of(path: &Path) -> Result<Vec<u8>, KeyError> {
    read_regular(path, FILE).map_err(|error| KeyError::Io {
        path: path.display().to_string(),
        kind: error.kind(),
        text: error.to_string(),
    })
}

fn tell_bad(path: &Path, bad: &[BadLine]) {
    for bad in bad {
        log::warn!(target: "feramiko::auth", "{}:{}: line not used: {}", path.display(), bad.line, bad.reason);
    }
}

/// Lines with their numbers, without blanks around them.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..=LINES).zip(text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii))
}

/// The line from which on none is used.
fn too_many(text: &[u8]) -> Option<BadLine> {
    let (line, reason) = (LINES.saturating_add(1), format!("only {LINES} lines are read"));
    let rest = text.splitn(line, |byte| *byte == b'\n').nth(LINES)?;
    (!rest.is_empty()).then_some(BadLine { line, reason })
}

/// The blob of a line's key and what its options say; none for lines without a key.
fn read(line: &[u8]) -> Result<Option<(Vec<u8>, Options)>, String> {
    if line.is_empty() || line.starts_with(b"#") {
        return Ok(None);
    }
    let (options, rest) =
        if begins_with_key(line) { (Options::default(), line) } else { options::parse(line)? };
    if !begins_with_key(rest) {
        return Err("it has no key".to_owned());
    }
    // Compared with keys that were read, so it need not be read itself: that takes longer than all else.
    let key = plain(key_blob(rest).map_err(|error| error.to_string())?, &options)?;
    Ok(Some((key, options)))
}

/// Of a type that is known, or whole: it may be of a user's own.
fn begins_with_key(text: &[u8]) -> bool {
    PublicKey::is_type(split_word(text).0) || key_blob(text).is_ok()
}

/// Lines hold plain keys; what certificates may do stands in lines of their authorities.
fn plain(key: Vec<u8>, options: &Options) -> Result<Vec<u8>, String> {
    if is_certificate(&key) {
        return Err("it holds a certificate; name its authority with cert-authority".to_owned());
    }
    if options.principals.is_some() && !options.authority {
        return Err("principals are those of certificates: cert-authority is missing".to_owned());
    }
    Ok(key)
}

impl Options {
    /// Why the line does not let in; none if it does.
    fn refuses(&self, login: &KeyLogin<'_>) -> Option<String> {
        match login.key.certificate() {
            None if self.authority => return Some("it is an authority's".to_owned()),
            Some(_) if !self.authority => return Some("it is no authority's".to_owned()),
            Some(certificate) => {
                let named = match &self.principals {
                    Some(names) => names.iter().any(|name| certificate.names(name)),
                    None => certificate.names(login.user),
                };
                if !named {
                    return Some("the certificate is for others".to_owned());
                }
            }
            None => {}
        }
        self.refuses_here(login)
    }

    /// Why the line does not let in from there, or not any more; none if it does.
    fn refuses_here(&self, login: &KeyLogin<'_>) -> Option<String> {
        let host = login.host.map(str::to_ascii_lowercase);
        let name = host.as_ref().map(String::as_bytes);
        if !self.from.iter().all(|sources| sources.contain(name, login.address)) {
            return Some("the client comes from elsewhere".to_owned());
        }
        let now = login.now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let expired = |time| u64::try_from(time).is_ok_and(|time| now >= time) || time < 0;
        self.expires.is_some_and(expired).then(|| "it has expired".to_owned())
    }

    /// What the line allows; variables only where lines may set them.
    fn granted(&self, environment: bool) -> AuthAnswer {
        let mut permissions = self.permissions.clone();
        if !environment {
            permissions.environment.clear();
        }
        AuthAnswer::AcceptWith(Box::new(permissions))
    }
}
