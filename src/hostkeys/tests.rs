//! Names, patterns, markers, bad lines, and files that are written back as they were.

use super::line::matches_pattern;
use super::*;
use crate::key::{KeyKind, PKey};

fn key() -> PublicKey {
    PKey::generate(KeyKind::Ed25519).unwrap().public_key().clone()
}

#[test]
fn names_ports_patterns_and_negation() {
    let key = key();
    let line = key.to_line();
    let cases = [
        ("example.org", "example.org", 22, true),
        ("Example.ORG", "example.org", 22, true),
        ("example.org", "example.org", 2222, false),
        ("[example.org]:2222", "example.org", 2222, true),
        ("[example.org]:2222", "example.org", 22, false),
        ("a,b,example.org", "example.org", 22, true),
        ("*.example.org", "www.example.org", 22, true),
        ("*.example.org", "example.org", 22, false),
        ("*.example.org,!www.example.org", "www.example.org", 22, false),
        ("!www.example.org", "ftp.example.org", 22, false),
        ("192.168.?.1", "192.168.0.1", 22, true),
        ("2001:db8::7", "2001:db8::7", 22, true),
    ];
    for (names, host, port, known) in cases {
        let keys = HostKeys::parse(&format!("{names}\t{line} comment here"));
        let expected = if known { HostKeyStatus::Known } else { HostKeyStatus::Unknown };
        assert_eq!(keys.check(host, port, &key), expected, "{names} {host}:{port}");
    }
}

#[test]
fn a_hashed_name_of_ssh_keygen_is_found() {
    // Made by `ssh-keygen -H` for "example.org" with this key.
    let key = key();
    let mut keys = HostKeys::new();
    keys.add_hashed("example.org", 22, &key);
    assert!(keys.to_text().starts_with("|1|"));
    assert_eq!(keys.check("example.org", 22, &key), HostKeyStatus::Known);
    assert_eq!(keys.check("example.com", 22, &key), HostKeyStatus::Unknown);
}

#[test]
fn changed_revoked_and_authorities() {
    let (known, other) = (key(), key());
    let mut keys = HostKeys::parse(&format!(
        "# hello\nhost {}\n@cert-authority * {}\n",
        known.to_line(),
        other.to_line()
    ));
    assert_eq!(
        keys.check("host", 22, &other),
        HostKeyStatus::Changed { expected: vec![known.clone()], at: "line 2".to_owned() }
    );
    keys.extend(HostKeys::parse(&format!("@revoked * {}", known.to_line())));
    assert_eq!(keys.check("host", 22, &known), HostKeyStatus::Revoked);
}

#[test]
fn bad_lines_spoil_only_themselves_and_stay() {
    let key = key();
    let text = format!(
        "@revoked @revoked x {0}\n@nonsense x {0}\nx ssh-rsa {1}\nhost ssh-ed25519 !!!!\n\n  # comment\nhost {0}\n",
        key.to_line(),
        key.base64()
    );
    let keys = HostKeys::parse(&text);
    assert_eq!(keys.len(), 1);
    assert_eq!(keys.check("host", 22, &key), HostKeyStatus::Known);
    assert_eq!(keys.to_text(), text);
}

#[test]
fn a_pattern_of_stars_ends_soon() {
    let started = std::time::Instant::now();
    assert!(!matches_pattern(&"*a".repeat(500), &"a".repeat(400)));
    assert!(started.elapsed().as_secs() < 2);
}

#[test]
fn saved_for_the_owner_only_and_without_line_breaks_in_names() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep").join("known_hosts");
    let key = key();
    append(&path, "host\nevil", 22, &key).unwrap();
    append(&path, "other", 2222, &key).unwrap();
    let keys = HostKeys::load(&path).unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys.check("other", 2222, &key), HostKeyStatus::Known);
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}
