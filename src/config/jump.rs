//! ProxyJump: `[user@]host[:port]` or `ssh://[user@]host[:port]`, the first hop first. OpenSSH's readconf.c,
//! parse_jump.
//!
//! Pure.

use super::names;

/// The value as `ssh -G` shows it: only the last hop is put in order.
pub(super) fn shown(text: &str) -> Result<String, String> {
    let text = text.trim_start_matches([' ', '\t', '\r', '\n', '=']);
    if text.eq_ignore_ascii_case("none") {
        return Ok("none".to_owned());
    }
    let text = text.split('#').next().unwrap_or_default().trim_end();
    let wrong = || format!("invalid ProxyJump \"{text}\"");
    let hops: Option<Vec<_>> = text.split(',').map(hop).collect();
    let hops = hops.ok_or_else(wrong)?;
    let (user, host, port) = hops.last().ok_or_else(wrong)?;
    let numeric = host.contains(':') || host.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    let user = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
    let host = if numeric { format!("[{host}]") } else { host.clone() };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let before = text.rsplit_once(',').map(|(before, _)| format!("{before},")).unwrap_or_default();
    Ok(format!("{before}{user}{host}{port}"))
}

/// The host of the last hop, of a value that was put in order: what `%j` stands for.
pub(super) fn last_host(shown: &str) -> String {
    let last = shown.rsplit(',').next().unwrap_or_default();
    hop(last).map(|(_, host, _)| host).unwrap_or_default()
}

type Hop = (Option<String>, String, Option<u16>);

/// One hop; none where it is none, or has a name that no shell may see.
fn hop(text: &str) -> Option<Hop> {
    let uri = text.strip_prefix("ssh://");
    let whole = uri.map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
    let (user, place) = whole.rsplit_once('@').map_or((None, whole), |(user, place)| (Some(user), place));
    let user = user.map(|user| user.split(';').next().filter(|_| uri.is_some()).unwrap_or(user));
    let (host, port) = match place.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']')?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
        }
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port.filter(|port| !port.is_empty()) {
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
        None => None,
    };
    let fine = !host.is_empty()
        && names::is_host(host)
        && user.is_none_or(|user| !user.is_empty() && names::is_user(user));
    fine.then(|| (user.map(str::to_owned), host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hops() {
        for (text, expected) in [
            ("a", "a"),
            ("= me@a:22 # comment", "me@a:22"),
            ("x@a:1,ssh://me@b:2", "x@a:1,me@b:2"),
            ("192.0.2.1", "[192.0.2.1]"),
            ("[::1]:22", "[::1]:22"),
            ("NONE", "none"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(expected), "{text}");
        }
        for text in
            ["", ",a", "a,", "@a", "a:x", "a:0", "-oX", "a;b", "$(x)@a", "[a", "a b", "`x`", "u'@h", "-l@h"]
        {
            assert!(shown(text).is_err(), "{text}");
        }
    }
}
