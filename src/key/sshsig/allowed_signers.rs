//! Who may sign what: ssh-keygen(1), "ALLOWED SIGNERS".
//!
//! The time is told by whoever asks. A line that is not understood allows nothing and spoils no other.

use std::fmt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::SshSignatureError;
use super::options::{Options, split_unquoted};
use crate::key::PublicKey;
use crate::key::line::{is_blank, key_blob, lines, trim_start};
use crate::pattern::{Letters, matches, matches_list};
use crate::sys::file::read_regular;

/// No file is larger: room for more than 10000 RSA keys.
const FILE_BYTES: u64 = 16 * 1024 * 1024;

/// What a list of signers says of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum SignerVerdict {
    /// The key may sign so.
    Allowed {
        /// The number of the line that allows it, counted from 1.
        line: usize,
    },
    /// No line has the key for this principal.
    Unknown,
    /// The key may sign, but not for this purpose.
    OtherNamespace {
        /// The number of the line.
        line: usize,
    },
    /// The key may not sign yet.
    NotYetValid {
        /// The number of the line.
        line: usize,
    },
    /// The key may not sign any more.
    Expired {
        /// The number of the line.
        line: usize,
    },
}

impl SignerVerdict {
    /// Whether the key may sign so.
    #[must_use]
    pub fn is_allowed(self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

impl fmt::Display for SignerVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed { line } => write!(f, "line {line} allows the key"),
            Self::Unknown => f.write_str("no line has this key for this principal"),
            Self::OtherNamespace { line } => write!(f, "line {line}: the key is not for this namespace"),
            Self::NotYetValid { line } => write!(f, "line {line}: the key is not valid yet"),
            Self::Expired { line } => write!(f, "line {line}: the key has expired"),
        }
    }
}

/// A line that allows nothing because it is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BadSignerLine {
    /// The line's number, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// A line that allows something.
#[derive(Debug, Clone)]
struct Signer {
    line: usize,
    /// A list of patterns.
    principals: Vec<u8>,
    options: Options,
    key: PublicKey,
}

/// Who may sign what: the `allowed_signers` file of ssh-keygen and git.
///
/// ```
/// use std::time::SystemTime;
/// use feramiko::{AllowedSigners, KeyKind, PKey};
/// let key = PKey::generate(KeyKind::Ed25519)?;
/// let line = format!("*@example.org namespaces=\"git\" {}", key.public_key().to_line());
/// let signers = AllowedSigners::parse(line);
/// let now = SystemTime::now();
/// assert!(signers.check("me@example.org", "git", key.public_key(), now).is_allowed());
/// assert!(!signers.check("me@example.com", "git", key.public_key(), now).is_allowed());
/// # Ok::<(), feramiko::KeyError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct AllowedSigners {
    signers: Vec<Signer>,
    bad: Vec<BadSignerLine>,
}

impl AllowedSigners {
    /// Reads a list. Lines that are not understood allow nothing: see [`bad_lines`](Self::bad_lines).
    /// A time without `Z` is what clocks show at this place, by the system's time zone. (In summer,
    /// ssh-keygen takes it for winter time, and is an hour late.)
    #[must_use]
    pub fn parse(text: impl AsRef<[u8]>) -> Self {
        let mut list = Self::default();
        for (number, line) in lines(text.as_ref()) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            match Signer::parse(number, line) {
                Ok(signer) => list.signers.push(signer),
                Err(reason) => list.bad.push(BadSignerLine { line: number, reason }),
            }
        }
        list
    }

    /// Reads a list from a regular file of at most 16 MiB.
    ///
    /// # Errors
    /// [`SshSignatureError::Io`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, SshSignatureError> {
        let path = path.as_ref();
        let text = read_regular(path, FILE_BYTES);
        Ok(Self::parse(text.map_err(|error| SshSignatureError::io(path.display(), &error))?))
    }

    /// The lines that are not understood.
    #[must_use]
    pub fn bad_lines(&self) -> &[BadSignerLine] {
        &self.bad
    }

    /// Whether `principal` may sign with `key` for the purpose `namespace` at `time`. A key with a
    /// certificate may also be allowed by a `cert-authority` line for what the certificate says.
    pub fn check(
        &self,
        principal: impl AsRef<[u8]>,
        namespace: impl AsRef<[u8]>,
        key: &PublicKey,
        time: SystemTime,
    ) -> SignerVerdict {
        let (principal, namespace) = (principal.as_ref(), namespace.as_ref());
        let verdict = self.verdict(principal, namespace, key, false, time);
        let certificate = key.certificate().filter(|_| !verdict.is_allowed());
        let good = certificate.filter(|certificate| certificate.check_signer(time, Some(principal)).is_ok());
        match good.map(|certificate| self.verdict(principal, namespace, certificate.authority(), true, time))
        {
            None | Some(SignerVerdict::Unknown) => verdict,
            Some(by_certificate) => by_certificate,
        }
    }

    /// The same for a signature by a certificate, of the key that signed the certificate. Whether the
    /// certificate itself is good, and for this principal, has to be checked besides.
    pub fn check_authority(
        &self,
        principal: impl AsRef<[u8]>,
        namespace: impl AsRef<[u8]>,
        ca: &PublicKey,
        time: SystemTime,
    ) -> SignerVerdict {
        self.verdict(principal.as_ref(), namespace.as_ref(), ca, true, time)
    }

    /// The first line that allows it; else what the last line says that has the key for the principal.
    fn verdict(
        &self,
        principal: &[u8],
        namespace: &[u8],
        key: &PublicKey,
        authority: bool,
        time: SystemTime,
    ) -> SignerVerdict {
        let time = seconds(time);
        let mut verdict = SignerVerdict::Unknown;
        let of_key = self.signers.iter().filter(|signer| signer.is_about(key, authority));
        for signer in of_key.filter(|signer| signer.is_for(principal)) {
            verdict = signer.verdict(Some(namespace), time);
            if verdict.is_allowed() {
                break;
            }
        }
        verdict
    }

    /// The patterns of the first line by which somebody may sign with `key` at `time`, for a purpose or
    /// for any. Of a `cert-authority` line, the principals of the key's certificate that it allows.
    #[must_use]
    pub fn find_principals<'a>(
        &'a self,
        key: &'a PublicKey,
        namespace: Option<&[u8]>,
        time: SystemTime,
    ) -> Vec<&'a [u8]> {
        let certified = key.certificate().and_then(|certificate| {
            Some((certificate.authority(), certificate.check_signer(time, None).ok()?))
        });
        let of_signer = |signer: &'a Signer| {
            let patterns = signer.principals.split(|byte| *byte == b',');
            let found: Vec<&[u8]> = match certified {
                _ if signer.is_about(key, false) => patterns.collect(),
                Some((authority, names)) if signer.is_about(authority, true) => {
                    let fits = |pattern: &[u8], name: &[u8]| matches(pattern, name, Letters::Exact);
                    let names = || names.iter().map(Vec::as_slice);
                    patterns.flat_map(|pattern| names().filter(move |name| fits(pattern, name))).collect()
                }
                _ => return None,
            };
            let allowed = signer.verdict(namespace, seconds(time)).is_allowed();
            Some(found).filter(|found| allowed && !found.is_empty())
        };
        self.signers.iter().find_map(of_signer).unwrap_or_default()
    }

    /// The lists of patterns that match `principal`, whatever the key and its options.
    #[must_use]
    pub fn match_principals(&self, principal: impl AsRef<[u8]>) -> Vec<&[u8]> {
        let matching = self.signers.iter().filter(|signer| signer.is_for(principal.as_ref()));
        matching.map(|signer| signer.principals.as_slice()).collect()
    }
}

impl Signer {
    /// Reads `principals options type base64 comment`, where the options may be missing.
    fn parse(number: usize, line: &[u8]) -> Result<Self, String> {
        if line.contains(&0) {
            return Err("a zero byte".to_owned());
        }
        let (principals, rest) = principals(line)?;
        let (options, rest) = if key_blob(rest).is_ok() {
            (Options::default(), rest)
        } else {
            let (options, rest) = split_unquoted(rest, is_blank)?;
            (Options::parse(options)?, trim_start(rest))
        };
        let blob = key_blob(rest).map_err(|error| error.to_string())?;
        let key = PublicKey::from_blob(&blob).map_err(|error| error.to_string())?;
        Ok(Self { line: number, principals, options, key })
    }

    fn is_about(&self, key: &PublicKey, authority: bool) -> bool {
        self.options.authority == authority && self.key == *key
    }

    fn is_for(&self, principal: &[u8]) -> bool {
        matches_list(&self.principals, principal, Letters::Exact)
    }

    /// What the options say. Both ends of the time are valid.
    fn verdict(&self, namespace: Option<&[u8]>, time: i64) -> SignerVerdict {
        let (line, options) = (self.line, &self.options);
        let fits = |patterns: &Vec<u8>| {
            namespace.is_none_or(|namespace| matches_list(patterns, namespace, Letters::Exact))
        };
        if !options.namespaces.as_ref().is_none_or(fits) {
            SignerVerdict::OtherNamespace { line }
        } else if options.valid_after.is_some_and(|after| time < after) {
            SignerVerdict::NotYetValid { line }
        } else if options.valid_before.is_some_and(|before| time > before) {
            SignerVerdict::Expired { line }
        } else {
            SignerVerdict::Allowed { line }
        }
    }
}

/// The first word of a line and what follows. From a quote on it goes to the next one, over blanks.
fn principals(line: &[u8]) -> Result<(Vec<u8>, &[u8]), &'static str> {
    const MISSING: &str = "a line has principals and a key";
    let end = line.iter().position(|byte| is_blank(*byte) || *byte == b'"').ok_or(MISSING)?;
    let (word, rest) = line.split_at_checked(end).ok_or(MISSING)?;
    let mut word = word.to_vec();
    let mut rest = rest;
    if let Some(after) = rest.strip_prefix(b"\"") {
        let end = after.iter().position(|byte| *byte == b'"').ok_or("a quote that does not end")?;
        let (quoted, after) = after.split_at_checked(end).ok_or(MISSING)?;
        word.extend_from_slice(quoted);
        rest = after.get(1..).unwrap_or_default();
    }
    if word.is_empty() {
        return Err(MISSING);
    }
    Ok((word, trim_start(rest)))
}

/// Whole seconds since 1970, rounded down.
fn seconds(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => {
            let before = before.duration();
            let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
            let part = i64::from(before.subsec_nanos() > 0);
            whole.saturating_neg().saturating_sub(part)
        }
    }
}
