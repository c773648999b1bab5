//! Which names of hosts and users may stand in commands. OpenSSH's ssh_valid_hostname and ssh_valid_ruser:
//! names from a command line or a URI may be a stranger's, and what they are put into runs in a shell
//! (CVE-2023-51385, CVE-2025-61984).
//!
//! Pure.

/// Whether a host's name may stand anywhere.
pub(super) fn is_host(name: &str) -> bool {
    let bad =
        |letter: char| "'`\"$\\;&<>|(){},".contains(letter) || letter.is_whitespace() || letter.is_control();
    !name.is_empty() && !name.starts_with('-') && !name.contains(bad)
}

/// Whether a user's name may stand anywhere. A `$` may end it, as it does those of machines; before other letters a
/// shell would put a variable's value there, which OpenSSH lets it.
pub(super) fn is_user(name: &str) -> bool {
    let bad = |letter: char| "'`\";&<>|(){}".contains(letter) || letter.is_control();
    let variable = name.strip_suffix('$').unwrap_or(name).contains('$');
    let option = name.split(char::is_whitespace).skip(1).any(|word| word.starts_with('-'));
    !name.starts_with('-') && !name.contains(bad) && !variable && !option && !name.ends_with('\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_understand_is_no_name() {
        for good in ["host", "a.example.org", "::1", "fe80::1%eth0", "192.0.2.1", "_x", "h\u{e9}"] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            "-oProxyCommand=x",
            "a b",
            "a;b",
            "$(x)",
            "`x`",
            "a\nb",
            "a\0",
            "a|b",
            "a'b",
            "a\\",
            "a,b",
            "a\u{85}",
        ] {
            assert!(!is_host(bad), "{bad:?}");
        }
        for good in ["me", "me@home", "DOMAIN\\me", "a b", "me$"] {
            assert!(is_user(good), "{good}");
        }
        for bad in [
            "-l", "a;b", "a`b", "a\nb", "a\0b", "a -b", "a\t-b", "me\\", "$(x)", "a|b", "a'b", "\u{9b}x",
            "$HOME", "a$b", "me$$",
        ] {
            assert!(!is_user(bad), "{bad:?}");
        }
    }
}
