//! Patterns of host names: `*`, `?`, and lists with `!`, as in ssh_config(5), "PATTERNS".
//!
//! Bytes against bytes; ASCII letters are compared without case.

/// Longer patterns match nothing, as with OpenSSH: no host name has that many bytes.
const PATTERN_BYTES: usize = 1024;

/// Whether `name`, in lower case, is matched by a list of patterns: by one without `!`, and by none
/// with it.
pub(super) fn matches_list(list: &[u8], name: &[u8]) -> bool {
    let mut found = false;
    for pattern in list.split(|byte| *byte == b',') {
        match pattern {
            [b'!', refused @ ..] if matches(refused, name) => return false,
            [b'!', ..] => {}
            _ => found |= matches(pattern, name),
        }
    }
    found
}

/// Whether `name`, in lower case, is matched by a pattern. The time is at most proportional to the
/// product of both lengths, whatever the pattern.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if pattern.len() > PATTERN_BYTES {
        return false;
    }
    let (mut pattern, mut name) = (pattern, name);
    // Behind the last star: the pattern that follows it, and the name from where that was last tried.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern, name) {
            ([b'*', after @ ..], _) => {
                star = Some((after, name));
                pattern = after;
            }
            ([wanted, after @ ..], [byte, left @ ..])
                if *wanted == b'?' || wanted.to_ascii_lowercase() == *byte =>
            {
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
