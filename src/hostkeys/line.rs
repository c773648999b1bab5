//! One line of a known_hosts file.

use base64ct::{Base64, Encoding};

use crate::crypto::hash::HashAlg;
use crate::crypto::hmac::{Hmac, MAX_MAC};
use crate::crypto::rand;
use crate::crypto::secret::constant_time_eq;
use crate::key::PublicKey;

/// What stands before the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Marker {
    CertAuthority,
    Revoked,
}

/// A line: its text as read, and what it says if it says anything.
#[derive(Debug, Clone)]
pub(super) struct Line {
    text: String,
    pub(super) marker: Option<Marker>,
    pub(super) names: String,
    pub(super) key: Option<PublicKey>,
}

/// Splits the first word off.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    text.split_once([' ', '\t']).unwrap_or((text, ""))
}

impl Line {
    /// A line of which nothing is understood says nothing, and is kept.
    pub(super) fn parse(text: &str) -> Self {
        let mut line = Self { text: text.to_owned(), marker: None, names: String::new(), key: None };
        let (mut first, mut rest) = word(text);
        if first.starts_with('#') {
            return line;
        }
        if first.starts_with('@') {
            line.marker = match first {
                "@cert-authority" => Some(Marker::CertAuthority),
                "@revoked" => Some(Marker::Revoked),
                _ => return line,
            };
            (first, rest) = word(rest);
            if first.starts_with('@') {
                return line;
            }
        }
        if let Ok((key, _)) = PublicKey::from_line(rest) {
            line.names = first.to_owned();
            line.key = Some(key);
        }
        line
    }

    /// A line for a host. What would break the file is taken out of the name.
    pub(super) fn new(name: &str, key: &PublicKey) -> Self {
        let name: String = name.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
        Self { text: format!("{name} {}", key.to_line()), marker: None, names: name, key: Some(key.clone()) }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the line is about `name`.
    pub(super) fn matches(&self, name: &str) -> bool {
        if let Some(hashed) = self.names.strip_prefix("|1|") {
            return matches_hashed(hashed, name);
        }
        let mut found = false;
        for pattern in self.names.split(',') {
            match pattern.strip_prefix('!') {
                Some(negated) if matches_pattern(negated, name) => return false,
                Some(_) => {}
                None => found |= matches_pattern(pattern, name),
            }
        }
        found
    }

    /// Whether the line is about `name` and no other host.
    pub(super) fn is_only(&self, name: &str) -> bool {
        let one = !self.names.contains([',', '*', '?', '!']);
        one && self.marker.is_none() && self.key.is_some() && self.matches(name)
    }
}

/// `salt|hash` in base64, HMAC-SHA1.
fn matches_hashed(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (Base64::decode_vec(salt), Base64::decode_vec(hash)) else { return false };
    let mut tag = [0; MAX_MAC];
    Hmac::new(HashAlg::Sha1, &salt)
        .is_ok_and(|mac| constant_time_eq(mac.compute(&[name.as_bytes()], &mut tag), &hash))
}

/// A hashed form of `name`.
pub(super) fn hashed(name: &str) -> Option<String> {
    let salt = rand::array::<20>().ok()?;
    let mut tag = [0; MAX_MAC];
    let mac = Hmac::new(HashAlg::Sha1, &salt).ok()?;
    let hash = Base64::encode_string(mac.compute(&[name.as_bytes()], &mut tag));
    Some(format!("|1|{}|{hash}", Base64::encode_string(&salt)))
}

/// `*` and `?`, in time proportional to both lengths, whatever the pattern.
pub(super) fn matches_pattern(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0_usize, 0_usize);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), name.get(n)) {
            (Some('*'), _) => {
                star = Some((p, n));
                p = p.saturating_add(1);
            }
            (Some('?'), Some(_)) => (p, n) = (p.saturating_add(1), n.saturating_add(1)),
            (Some(a), Some(b)) if a == b => (p, n) = (p.saturating_add(1), n.saturating_add(1)),
            _ => {
                // Back to the last star, which takes one more.
                let Some((star_p, star_n)) = star else { return false };
                let next = star_n.saturating_add(1);
                star = Some((star_p, next));
                (p, n) = (star_p.saturating_add(1), next);
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}
