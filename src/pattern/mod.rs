//! Patterns of names: `*`, `?`, and lists with `!`, as in ssh_config(5), "PATTERNS".
//!
//! Bytes against bytes; knows not what the names are of.

mod address;
pub(crate) mod endpoint;
pub(crate) mod glob;
#[cfg(test)]
mod tests;

pub(crate) use address::{Sources, address_in_list};

/// Longer patterns match nothing, and a list that has one matches nothing, as with OpenSSH: no name
/// has that many bytes.
const PATTERN_BYTES: usize = 1024;

/// How letters are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Letters {
    /// As they are.
    Exact,
    /// ASCII letters without case, against a name that is in lower case.
    Lower,
}

/// Whether `name` is matched by a list of patterns with commas between them: by one without `!`, and by none
/// with it. `*` and `?` are wild; ssh_config(5), "PATTERNS".
///
/// ```
/// assert!(feramiko::pattern_list_matches("*.example.org,!a.*", "b.example.org"));
/// assert!(!feramiko::pattern_list_matches("*.example.org,!a.*", "a.example.org"));
/// ```
#[must_use]
pub fn pattern_list_matches(list: &str, name: &str) -> bool {
    matches_list(list.as_bytes(), name.as_bytes(), Letters::Exact)
}

/// Whether `address` is in a list of addresses, networks (`192.0.2.0/24`) and patterns of them, each with `!`
/// to refuse; none when something in the list could never be an address or a name.
///
/// ```
/// let address = "192.0.2.7".parse()?;
/// assert_eq!(feramiko::address_list_matches("192.0.2.0/24,!192.0.2.1", address), Some(true));
/// assert_eq!(feramiko::address_list_matches("192.0.2.7/24", address), None, "bits beyond the length");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[must_use]
pub fn address_list_matches(list: &str, address: std::net::IpAddr) -> Option<bool> {
    Some(Sources::parse(list.as_bytes())?.contain(None, Some(address)))
}

/// Whether `name` is matched by a list of patterns: by one without `!`, and by none with it.
pub(crate) fn matches_list(list: &[u8], name: &[u8], letters: Letters) -> bool {
    let mut found = false;
    for pattern in list.split(|byte| *byte == b',') {
        let (negated, pattern) = match pattern {
            [b'!', refused @ ..] => (true, refused),
            _ => (false, pattern),
        };
        // A refusal that cannot be told must not be overlooked.
        if pattern.len() > PATTERN_BYTES {
            return false;
        }
        if matches(pattern, name, letters) {
            if negated {
                return false;
            }
            found = true;
        }
    }
    found
}

/// Whether `name` is matched by a pattern. The time is at most proportional to the product of both
/// lengths, whatever the pattern.
pub(crate) fn matches(pattern: &[u8], name: &[u8], letters: Letters) -> bool {
    if pattern.len() > PATTERN_BYTES {
        return false;
    }
    let same = |wanted: u8, byte: u8| match letters {
        Letters::Exact => wanted == byte,
        Letters::Lower => wanted.to_ascii_lowercase() == byte,
    };
    let (mut pattern, mut name) = (pattern, name);
    // Behind the last star: the pattern that follows it, and the name from where that was last tried.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([b'*', after @ ..], _) => {
                star = Some((after, name));
                pattern = after;
            }
            ([wanted, after @ ..], [byte, left @ ..]) if *wanted == b'?' || same(*wanted, *byte) => {
                (pattern, name) = (after, left);
            }
            ([], []) => return true,
            // An earlier star need not be asked again: this one could take all that it would give up.
            _ => match star {
                Some((after, [_, left @ ..])) => {
                    star = Some((after, left));
                    (pattern, name) = (after, left);
                }
                _ => return false,
            },
        }
    }
}
