//! Lines of authorized_keys: what they let in, with what, and what is wrong with them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod authorities;

use super::*;
use crate::auth::Permissions;
use crate::key::{CertificateBuilder, KeyKind, PKey};

fn key() -> PKey {
    PKey::generate(KeyKind::Ed25519).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn login<'a>(key: &'a PublicKey, address: &str) -> KeyLogin<'a> {
    KeyLogin { now: at(1_600_000_000), ..KeyLogin::new("robey", key, Some(address.parse().unwrap())) }
}

/// The answer to a line with those options before the key.
fn answer(options: &str, environment: bool) -> Option<Permissions> {
    let key = key();
    let line = format!("{options} {} a comment", key.public_key().to_line());
    permissions(&AuthorizedKeys::parse(line).permit_user_environment(environment), key.public_key())
}

fn permissions(keys: &AuthorizedKeys, key: &PublicKey) -> Option<Permissions> {
    match keys.check(&login(key, "192.0.2.7")) {
        AuthAnswer::AcceptWith(permissions) => Some(*permissions),
        AuthAnswer::Refuse => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_options_allow() {
    let all = Permissions::default;
    let list = |entries: &[&str]| Some(entries.iter().map(|entry| (*entry).to_owned()).collect());
    for (options, expected) in [
        ("", all()),
        ("restrict", Permissions::restricted()),
        (",restrict", Permissions::restricted()),
        ("restrict,", Permissions::restricted()),
        ("restrict,,pty,", Permissions { pty: true, ..Permissions::restricted() }),
        ("restrict,pty", Permissions { pty: true, ..Permissions::restricted() }),
        ("pty,restrict", Permissions::restricted()),
        ("no-pty", Permissions { pty: false, ..all() }),
        ("NO-PTY", Permissions { pty: false, ..all() }),
        ("no-port-forwarding", Permissions { port_forwarding: false, ..all() }),
        ("no-agent-forwarding,no-x11-forwarding", {
            Permissions { agent_forwarding: false, x11_forwarding: false, ..all() }
        }),
        ("no-user-rc", Permissions { user_rc: false, ..all() }),
        (
            "command=\"echo \\\"a b\\\", c\"",
            Permissions { command: Some(b"echo \"a b\", c".to_vec()), ..all() },
        ),
        ("command=\"\"", Permissions { command: Some(Vec::new()), ..all() }),
        ("permitopen=\"localhost:80\",permitopen=\"[::1]:*\"", {
            Permissions { permit_open: list(&["localhost:80", "::1:*"]), ..all() }
        }),
        ("permitlisten=\"8080\"", Permissions { permit_listen: list(&[":8080"]), ..all() }),
        ("tunnel=\"3\"", Permissions { tunnel: Some("3".to_owned()), ..all() }),
        ("tunnel=\"2147483645\"", Permissions { tunnel: Some("2147483645".to_owned()), ..all() }),
        ("tunnel=\"Any\"", all()),
        ("no-touch-required", Permissions { touch_required: false, ..all() }),
        ("verify-required", Permissions { verify_required: true, ..all() }),
        ("from=\"192.0.2.0/24\"", all()),
        ("from=\"192.0.2.*,!192.0.2.8\"", all()),
        ("expiry-time=\"20301231\"", all()),
        ("expiry-time=\"202009131227Z\"", all()),
        ("environment=\"A=b\"", all()),
    ] {
        assert_eq!(answer(options, false), Some(expected), "{options}");
    }
    let environment = answer("environment=\"A=b\",environment=\"C=d=e\",environment=\"A=later\"", true);
    let expected = vec![("A".to_owned(), "b".to_owned()), ("C".to_owned(), "d=e".to_owned())];
    assert_eq!(environment.map(|permissions| permissions.environment), Some(expected));
}

#[test]
fn what_options_refuse() {
    for options in [
        "unheard-of",
        "restrict,unheard-of=\"x\"",
        "command",
        "command=date",
        "command=\"date",
        "command=\"a\",command=\"b\"",
        "no-pty=\"yes\"",
        "restrict;pty",
        "from=\"198.51.100.0/24\"",
        "from=\"*,!192.0.2.7\"",
        "from=\"\"",
        "from=\"192.0.2.0/24,!192.0.2.7/24\"",
        "from=\"192.0.2.0/24,!\"",
        "from=\"*\",from=\"10.*\"",
        "expiry-time=\"20200913\"",
        "expiry-time=\"tomorrow\"",
        "expiry-time=\"202013010000\"",
        "environment=\"A\"",
        "environment=\"=b\"",
        "environment=\"A B=c\"",
        "permitopen=\"80\"",
        "permitopen=\"localhost:0\"",
        "permitopen=\"localhost:http\"",
        "permitlisten=\"70000\"",
        "tunnel=\"x\"",
        "tunnel=\"\"",
        "tunnel=\"2147483646\"",
        "tunnel=\"99999999999\"",
        "principals=\"robey\"",
        "cert-authority",
        "cert-authority,principals=\"a,,b\"",
    ] {
        assert_eq!(answer(options, true), None, "{options}");
    }
}

#[test]
fn a_bad_line_spoils_only_itself() {
    let (one, two) = (key(), key());
    let text = format!(
        "# comment\n\n   \t\nnonsense\nrestrict,nonsense {}\n  {}\r\nssh-ed25519 AAAA broken\nssh-rsa {} lie\n\u{7f}\n",
        one.public_key().to_line(),
        two.public_key().to_line(),
        two.public_key().base64(),
    );
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(b"\xff\xfe\n");
    let keys = AuthorizedKeys::parse(&bytes);
    assert_eq!(keys.check(&login(one.public_key(), "192.0.2.7")), AuthAnswer::Refuse);
    assert!(matches!(keys.check(&login(two.public_key(), "192.0.2.7")), AuthAnswer::AcceptWith(_)));
    let bad: Vec<_> = keys.bad_lines().iter().map(|bad| bad.line).collect();
    assert_eq!(bad, [4, 5, 7, 8, 9, 10]);
    assert!(keys.bad_lines()[1].reason.contains("nonsense"));
    let keys = AuthorizedKeys::parse(format!("from=\"*,!10.0.0.1/8\" {}", one.public_key().to_line()));
    assert_eq!(keys.bad_lines()[0].reason, "from: an entry is no address, network or pattern");
}

#[test]
fn only_options_that_are_text_must_be_utf8() {
    let key = key();
    let line = key.public_key().to_line();
    let parsed = |before: &[u8], after: &[u8]| {
        AuthorizedKeys::parse([before, b" ", line.as_bytes(), b" ", after, b"\n"].concat())
    };
    let keys = permissions(&parsed(b"command=\"echo \xe9\"", b"caf\xe9"), key.public_key()).unwrap();
    assert_eq!(keys.command.as_deref(), Some(&b"echo \xe9"[..]));
    for bad in [&b"environment=\"A=\xe9\""[..], b"permitopen=\"\xe9:80\"", b"from=\"*,\xe9\"", b"\xe9"] {
        let keys = parsed(bad, b"");
        assert_eq!(keys.bad_lines().len(), 1, "{}", bad.escape_ascii());
    }
    let service = parsed(b"permitopen=\"localhost:ssh\"", b"");
    assert!(service.bad_lines()[0].reason.contains("a number"), "{:?}", service.bad_lines());
}

#[test]
fn the_first_line_that_lets_in_counts() {
    let key = key();
    let line = key.public_key().to_line();
    let text =
        format!("from=\"10.0.0.0/8\",command=\"a\" {line}\ncommand=\"b\" {line}\ncommand=\"c\" {line}\n");
    let keys = AuthorizedKeys::parse(text);
    for (address, command) in [("10.1.1.1", b"a"), ("192.0.2.7", b"b")] {
        let AuthAnswer::AcceptWith(permissions) = keys.check(&login(key.public_key(), address)) else {
            panic!()
        };
        assert_eq!(permissions.command.as_deref(), Some(&command[..]));
    }
}

#[test]
fn certificates_by_the_lines_of_their_authority() {
    let (authority, user) = (key(), key());
    let certificate = |principals: &[&str]| {
        let builder = CertificateBuilder::user(user.public_key());
        principals.iter().fold(builder, |builder, name| builder.principal(name)).sign(&authority).unwrap()
    };
    let line = authority.public_key().to_line();
    for (options, principals, lets_in) in [
        ("cert-authority", &["robey"][..], true),
        ("cert-authority", &["root", "robey"], true),
        ("cert-authority", &["root"], false),
        ("cert-authority", &[], false),
        ("cert-authority,principals=\"web,ci\"", &["ci"], true),
        ("cert-authority,principals=\"web,ci\"", &["robey"], false),
        ("cert-authority,from=\"10.*\"", &["robey"], false),
        ("", &["robey"], false),
    ] {
        let keys = AuthorizedKeys::parse(format!("{options} {line}"));
        let certificate = certificate(principals);
        let answer = keys.check(&login(&certificate, "192.0.2.7"));
        assert_eq!(answer != AuthAnswer::Refuse, lets_in, "{options} {principals:?}");
        assert_eq!(keys.check(&login(user.public_key(), "192.0.2.7")), AuthAnswer::Refuse, "without it");
    }
    let certified = certificate(&["robey"]).to_line();
    assert_eq!(AuthorizedKeys::parse(certified).bad_lines().len(), 1, "a certificate is no line");
}

#[test]
fn many_lines_are_quick_and_random_ones_harmless() {
    let (key, mut text) = (key(), String::new());
    for number in 0..5_000_u32 {
        let mut blob = crate::wire::string_of(b"ssh-ed25519");
        let bytes: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(32).collect();
        blob.extend(crate::wire::string_of(&bytes));
        let base64 = <base64ct::Base64 as base64ct::Encoding>::encode_string(&blob);
        text.push_str(&format!("restrict ssh-ed25519 {base64} number {number}\n"));
    }
    text.push_str(&key.public_key().to_line());
    let keys = AuthorizedKeys::parse(&text);
    assert!(matches!(keys.check(&login(key.public_key(), "192.0.2.7")), AuthAnswer::AcceptWith(_)));
    let line = format!("from=\"*\",command=\"a \\\"b\\\"\",restrict {} comment", key.public_key().to_line());
    for at in 0..line.len() {
        for byte in [b'"', b'\\', b' ', b',', 0, 0xff] {
            let mut changed = line.clone().into_bytes();
            changed[at] = byte;
            let _ = AuthorizedKeys::parse(&changed).check(&login(key.public_key(), "192.0.2.7"));
        }
        let _ = AuthorizedKeys::parse(&line[..at]).check(&login(key.public_key(), "192.0.2.7"));
    }
}

#[test]
fn what_is_no_file_or_too_large_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(FILE + 1).unwrap();
    for path in [large.as_path(), folder.path(), &folder.path().join("absent")] {
        assert!(matches!(AuthorizedKeys::load(path), Err(KeyError::Io { .. })), "{}", path.display());
    }
    let fine = folder.path().join("fine");
    std::fs::write(&fine, format!("{}\nnonsense\n", key().public_key().to_line())).unwrap();
    assert_eq!(AuthorizedKeys::load(&fine).unwrap().bad_lines().len(), 1);
}
