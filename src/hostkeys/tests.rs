//! Names, patterns, markers, bad lines, the dict-like side, and files that are written back as they
//! were; and that ssh-keygen finds the same lines.

mod disk;
mod keygen;
mod update;

use std::time::{Duration, Instant};

use super::*;

pub(super) const E1: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYkCMScBgImnT7HHiFCOj0zuxgtmtrc2qqkMPsexTo9";
pub(super) const E2: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICfjVOJNDcRocFhnVzeRhi4cy12n5MYcic16TaRYwLbQ";
pub(super) const E3: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGdrDKTvGRm1v9Z7ODWxBlwx2IzFQJ3mo1LClzekE8At";
pub(super) const P256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBJhtHmp3qirNM9IbTfRhEjFqM68klZ8Pxtte1ubLsm3z1JeJJagpgnPYyUM84tgFupGvo0+yrOaIgQd/GBWXO/U=";
pub(super) const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCO4jWG1pK9/BH++URJUTtfPN/E8yIJOJp40F1FZBczumU5vPD+qNx0So52i8fwWrf3QSHJfT+sklietUBmqHdVR/VKT6MSh5MhYF2vKyCOFewXZLgCsmd/9nvj9voiDAvJbqfNIkn5yFaD/ryby7pMvf8Ev0PASog+u0xMwAANRQfUtR2oRUnHMt+h31N9GN79OpS2L+jhz47opdY2kPzGrt6JF8eC91T78OxIyOVP+G8ckqiC3GWpnVP7fBAOZl4UaSKnP2zBtCQriTIKFtSSQGubz/TMyXzFqE9grbPxk+b8zWq56ZrwB4BBGULuZaK4vMJb+oPjSt631hEhMqxV";

/// The key of `type base64`.
pub(super) fn key(line: &str) -> PublicKey {
    HostKeys::parse(format!("* {line}")).lookup("any", 22).remove(0).clone()
}

fn text(keys: &HostKeys) -> String {
    String::from_utf8(keys.to_text()).unwrap()
}

/// A seeded generator (xorshift64*), so that a failure can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

#[test]
fn names_ports_patterns_and_negation() {
    let cases = [
        ("example.org", "example.org", 22, true),
        ("Example.ORG", "example.org", 22, true),
        ("example.org", "EXAMPLE.org", 22, true),
        ("example.org", "example.org", 2222, false),
        ("example.org", "example.org.", 22, false),
        ("[example.org]:2222", "example.org", 2222, true),
        ("[example.org]:2222", "example.org", 22, false),
        ("[example.org]:2222", "example.org", 222, false),
        ("[example.org]:*", "example.org", 8022, true),
        ("a,b,example.org", "example.org", 22, true),
        ("a,b,example.org", "b,example.org", 22, false),
        (",,example.org,", "example.org", 22, true),
        ("*", "example.org", 22, true),
        ("*", "example.org", 2222, true),
        ("*.example.org", "www.example.org", 22, true),
        ("*.example.org", "example.org", 22, false),
        ("*.example.org,!www.example.org", "www.example.org", 22, false),
        ("!www.example.org,*.example.org", "ftp.example.org", 22, true),
        ("!www.example.org", "ftp.example.org", 22, false),
        ("!*", "ftp.example.org", 22, false),
        ("192.168.?.1", "192.168.0.1", 22, true),
        ("192.168.?.1", "192.168.10.1", 22, false),
        ("2001:db8::7", "2001:DB8::7", 22, true),
        ("[2001:db8::7]:2222", "2001:db8::7", 2222, true),
        ("fe80::1%eth0", "fe80::1%eth0", 22, true),
    ];
    for (names, host, port, known) in cases {
        let keys = HostKeys::parse(format!("{names} {E1} a comment"));
        let expected = if known { HostKeyStatus::Known } else { HostKeyStatus::Unknown };
        assert_eq!(keys.check(host, port, &key(E1)), expected, "{names} {host}:{port}");
        assert_eq!(keys.contains(host, port), known, "{names} {host}:{port}");
    }
}

#[test]
fn hashed_names() {
    // Made by `ssh-keygen -H` from "example.org" and "[example.org]:2222".
    let hashed = [HASHED_22, HASHED_2222];
    let keys = HostKeys::parse(format!("{} {E1}\n{} {E2}\n", hashed[0], hashed[1]));
    assert_eq!(keys.lookup("Example.org", 22), [&key(E1)]);
    assert_eq!(keys.lookup("example.org", 2222), [&key(E2)]);
    assert_eq!(keys.lookup("example.com", 22), [] as [&PublicKey; 0]);

    let salt = *b"01234567890123456789";
    let line = HostKeys::hash_host("HOST", Some(salt)).unwrap();
    assert_eq!(line, HostKeys::hash_host("host", Some(salt)).unwrap());
    assert!(line.starts_with("|1|MDEyMzQ1Njc4OTAxMjM0NTY3ODk=|"), "{line}");
    assert_ne!(HostKeys::hash_host("host", None), HostKeys::hash_host("host", None));

    let mut keys = HostKeys::new();
    keys.add_hashed("secret.example.org", 22, &key(E1)).unwrap();
    keys.add_hashed("secret.example.org", 22, &key(E1)).unwrap();
    assert_eq!(keys.len(), 1);
    assert!(!text(&keys).contains("secret"));
    assert_eq!(keys.check("secret.example.org", 22, &key(E1)), HostKeyStatus::Known);
    assert_eq!(keys.remove("secret.example.org", 22), 1);
    assert!(keys.is_empty());
}

#[test]
fn bad_hashed_names_match_nothing() {
    let good = HostKeys::hash_host("host", None).unwrap();
    let parts: Vec<_> = good.split('|').collect();
    let (salt, hash) = (parts[2], parts[3]);
    let cases = [
        format!("|1|{salt}|"),
        format!("|1||{hash}"),
        format!("|1|{salt}"),
        format!("|2|{salt}|{hash}"),
        format!("|1|{}|{hash}", &salt[1..]),
        format!("|1|{}|{hash}", salt.trim_end_matches('=')),
        format!("|1|!{}|{hash}", &salt[1..]),
        format!("|1|{salt}|{hash}|"),
        format!("|1|{salt}|{hash},host"),
        format!("|1|AAAA|{hash}"),
        "|".to_owned(),
        "|host|".to_owned(),
    ];
    for names in cases {
        let keys = HostKeys::parse(format!("{names} {E1}\n"));
        assert!(!keys.contains("host", 22), "{names}");
        assert_eq!(text(&keys), format!("{names} {E1}\n"));
    }
}

#[test]
fn changed_keys_say_what_was_expected_and_where() {
    let keys = HostKeys::parse(format!("# hello\n\nhost {E1}\nother {E2}\nhost,x {P256}\n"));
    let HostKeyStatus::Changed { expected, at } = keys.check("host", 22, &key(E2)) else { panic!() };
    assert_eq!(expected, [key(E1), key(P256)]);
    assert_eq!((at.file(), at.line(), at.to_string()), (None, Some(3), "line 3".to_owned()));
    assert_eq!(keys.check("host", 22, &key(P256)), HostKeyStatus::Known);
    // A key of another type than those known is no new key, it is another one.
    assert!(matches!(keys.check("host", 22, &key(RSA)), HostKeyStatus::Changed { .. }));

    let mut added = HostKeys::new();
    added.add("host", 22, &key(E1)).unwrap();
    let HostKeyStatus::Changed { at, .. } = added.check("host", 22, &key(E2)) else { panic!() };
    assert_eq!((at.line(), at.to_string()), (None, "added by this program".to_owned()));
}

#[test]
fn several_keys_and_the_order_of_algorithms() {
    let keys =
        HostKeys::parse(format!("host {RSA}\nh* {E1}\nhost {RSA}\n@revoked host {P256}\nhost {P256}\n"));
    assert_eq!(keys.lookup("host", 22), [&key(RSA), &key(E1), &key(RSA)]);
    let algorithms = keys.known_algorithms("host", 22);
    let mut expected = key(RSA).algorithms().to_vec();
    expected.extend(key(E1).algorithms());
    assert_eq!(algorithms, expected);
    assert!(keys.known_algorithms("x", 22).is_empty());
}

#[test]
fn revoked_keys_win_over_every_other_line() {
    for lines in [
        format!("host {E1}\n@revoked * {E1}\n"),
        format!("@revoked host {E1}\nhost {E1}\n"),
        format!("@revoked\t{}\t{E1}\nhost {E1}\n", HostKeys::hash_host("host", None).unwrap()),
        format!("@cert-authority * {E1}\n@revoked *,!other {E1}\nhost {E1}\n"),
    ] {
        let keys = HostKeys::parse(&lines);
        assert_eq!(keys.check("host", 22, &key(E1)), HostKeyStatus::Revoked, "{lines}");
        assert!(keys.lookup("host", 22).is_empty(), "{lines}");
        assert!(!keys.contains("host", 22), "{lines}");
        assert!(keys.known_algorithms("host", 22).is_empty(), "{lines}");
    }
    let keys = HostKeys::parse(format!("host {E1}\n@revoked elsewhere {E1}\n"));
    assert_eq!(keys.check("host", 22, &key(E1)), HostKeyStatus::Known);
}

#[test]
fn an_authority_is_no_host_key() {
    let keys = HostKeys::parse(format!("@cert-authority * {E1}\n"));
    assert_eq!(keys.check("host", 22, &key(E1)), HostKeyStatus::Unknown);
    assert_eq!(keys.iter().next().unwrap().marker(), Some(HostKeyMarker::CertAuthority));
}

#[test]
fn blanks_are_spaces_and_tabs_and_line_ends_may_be_of_dos() {
    let blob = E1.split(' ').nth(1).unwrap();
    for line in [
        format!("host\tssh-ed25519\t{blob}"),
        format!("\t host \t ssh-ed25519 \t {blob}\t"),
        format!("host ssh-ed25519 {blob}\r\n"),
        format!("host ssh-ed25519 {blob} a comment\twith blanks\r\n"),
        format!("@cert-authority\t*\t{P256}\r\nhost\t{E1}"),
    ] {
        let keys = HostKeys::parse(&line);
        assert_eq!(keys.check("host", 22, &key(E1)), HostKeyStatus::Known, "{line:?}");
        assert_eq!(text(&keys).trim_end_matches('\n'), line.trim_end_matches('\n'));
    }
    let keys = HostKeys::parse(format!("host {E1} a comment\twith blanks\r\n"));
    assert_eq!(keys.iter().next().unwrap().comment(), "a comment\twith blanks");
    let keys = HostKeys::parse(format!("host\u{a0}{E1}\nhost\x0b{E1}\nhost\x0c{E1}\n"));
    assert!(keys.is_empty(), "no other character is a blank");
}

#[test]
fn bad_lines_spoil_only_themselves_and_stay() {
    let blob = E1.split(' ').nth(1).unwrap();
    let bad = [
        format!("@revoked @revoked x {E1}"),
        format!("@cert-authority @revoked x {E1}"),
        format!("@nonsense x {E1}"),
        format!("@ x {E1}"),
        format!("@REVOKED x {E1}"),
        format!("x ssh-rsa {blob}"),
        format!("x ecdsa-sha2-nistp256 {blob}"),
        format!("x ssh-ed25519-cert-v01@openssh.com {blob}"),
        format!("x {blob}"),
        format!("x ssh-ed25519 {}", &blob[..blob.len() - 4]),
        format!("x ssh-ed25519 {blob}AAAA"),
        format!("x ssh-ed25519 {blob}="),
        format!("x ssh-ed25519 {}", "A".repeat(10_000_000)),
        "x ssh-ed25519 !!!!".to_owned(),
        "x ssh-ed25519".to_owned(),
        "x".to_owned(),
        "@revoked".to_owned(),
        "@revoked x".to_owned(),
        "x 1024 35 1234567890".to_owned(),
        "x ssh-unknown AAAAC3NzaC11bmtub3du".to_owned(),
        "\0".to_owned(),
        format!("#x {E1}"),
        "  # comment".to_owned(),
        String::new(),
        "\t".to_owned(),
    ];
    let mut all = String::new();
    for line in &bad {
        assert!(HostKeys::parse(line).is_empty(), "{}", line.get(..80).unwrap_or(line));
        all += &format!("{line}\nhost {E1}\n");
    }
    let keys = HostKeys::parse(&all);
    assert_eq!(keys.len(), bad.len());
    assert!(!keys.contains("x", 22));
    assert_eq!(keys.check("host", 22, &key(E1)), HostKeyStatus::Known);
    assert_eq!(text(&keys), all);
}

#[test]
fn bytes_that_are_no_text_stay_as_they_are() {
    let mut file = b"# caf\xe9\nh\xe9te,host ".to_vec();
    file.extend_from_slice(format!("{E1} caf").as_bytes());
    file.extend_from_slice(b"\xe9\n");
    let mut keys = HostKeys::parse(&file);
    assert_eq!(keys.to_text(), file);
    assert_eq!(keys.check("host", 22, &key(E1)), HostKeyStatus::Known);
    assert_eq!(keys.remove("host", 22), 1);
    assert!(keys.to_text().starts_with(b"# caf\xe9\nh\xe9te ssh-ed25519 "));
}

#[test]
fn every_truncation_and_random_damage_is_read_without_harm() {
    let hashed = HostKeys::hash_host("host", None).unwrap();
    let whole = format!("# c\n@revoked *,!a {E2}\n{hashed} {E1}\n[host]:2222 {P256} c\n").into_bytes();
    for end in 0..whole.len() {
        let keys = HostKeys::parse(&whole[..end]);
        assert_eq!(keys.to_text().trim_ascii_end(), whole[..end].trim_ascii_end());
        assert_ne!(keys.check("x", 22, &key(E1)), HostKeyStatus::Known);
    }
    let mut random = Random(11);
    for _ in 0..3_000 {
        let mut damaged = whole.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(damaged.len());
            damaged[at] = b"\n\t @|,*!#=\0\xffA"[random.below(13)];
        }
        let keys = HostKeys::parse(&damaged);
        assert_eq!(keys.to_text().trim_ascii_end(), damaged.trim_ascii_end());
        assert_ne!(keys.check("other", 2222, &key(E3)), HostKeyStatus::Known);
    }
}

#[test]
fn adding_finding_and_removing() {
    let before = format!("# mine\na,b,c {E1} comment\n*.org {E2}\n@revoked a {E3}\n");
    let mut keys = HostKeys::parse(&before);
    keys.add("new.org", 22, &key(E1)).unwrap();
    keys.add("New.org", 22, &key(E1)).unwrap();
    keys.add("new.org", 2200, &key(E2)).unwrap();
    assert_eq!(text(&keys), format!("{before}new.org {E1}\n[new.org]:2200 {E2}\n"));
    assert_eq!(keys.keys(), ["a", "b", "c", "*.org", "new.org", "[new.org]:2200"]);
    assert_eq!(keys.len(), 5);
    assert_eq!(keys.values().collect::<Vec<_>>(), [&key(E1), &key(E2), &key(E3), &key(E1), &key(E2)]);
    let entry = keys.iter().next().unwrap();
    assert_eq!((entry.names(), entry.key(), entry.comment()), ("a,b,c".into(), &key(E1), "comment".into()));
    assert_eq!((entry.marker(), entry.place().line()), (None, Some(2)));

    assert_eq!(keys.remove("B", 22), 1);
    assert_eq!(keys.remove("b", 22), 0);
    assert_eq!(keys.remove("new.org", 22), 1);
    assert!(keys.contains("new.org", 22), "by the pattern, which stays");
    assert_eq!(keys.remove("a", 22), 1);
    assert_eq!(keys.remove("c", 22), 1);
    assert_eq!(text(&keys), format!("# mine\n*.org {E2}\n@revoked a {E3}\n[new.org]:2200 {E2}\n"));

    keys.insert("new.org", 2200, &[key(E1), key(P256)]).unwrap();
    assert_eq!(keys.lookup("new.org", 2200), [&key(E1), &key(P256)]);
    let mut other = HostKeys::parse(format!("# more\nz {E3}\n"));
    other.extend(keys.clone());
    assert_eq!(text(&other), format!("# more\nz {E3}\n{}", text(&keys)));
    other.clear();
    assert_eq!((other.len(), other.to_text().len(), other.is_empty()), (0, 0, true));
}

#[test]
fn no_name_can_break_the_file_or_mean_more_than_one_host() {
    let mut keys = HostKeys::new();
    for host in [
        "",
        "a b",
        "a\tb",
        "a\nb",
        "a\r",
        "a\0",
        "a\u{85}b",
        "a\u{2028}b",
        "a,b",
        "*",
        "*.org",
        "h?st",
        "!host",
        "|1|x|y",
        "#host",
        "@revoked",
        "[host]:22",
        "a]",
    ] {
        let bad = HostKeysError::BadHost { host: host.to_owned() };
        assert_eq!(keys.add(host, 22, &key(E1)), Err(bad.clone()), "{host:?}");
        assert_eq!(keys.add_hashed(host, 2222, &key(E1)), Err(bad.clone()), "{host:?}");
        assert_eq!(keys.insert(host, 22, &[]), Err(bad), "{host:?}");
    }
    assert!(keys.is_empty());
    assert_eq!(
        HostKeysError::BadHost { host: "a\nb".to_owned() }.to_string(),
        "no host can be called \"a\\nb\""
    );
}

#[test]
fn large_files_are_read_and_asked_soon() {
    // Generous: these run unoptimised, beside other tests.
    let started = Instant::now();
    let line = format!("{} {P256}\n", HostKeys::hash_host("host", None).unwrap());
    let keys = HostKeys::parse(line.repeat(20_000));
    assert_eq!(keys.check("other", 22, &key(E1)), HostKeyStatus::Unknown);
    // Lines that say nothing take no more room than in the file.
    let keys = HostKeys::parse("\n".repeat(2_000_000));
    assert_eq!((keys.items.len(), keys.to_text().len()), (1, 2_000_000));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn policies_answer_as_they_are_called() {
    let unknown = UnknownHostKey { host: "Host".to_owned(), port: 2222, key: key(E1) };
    assert_eq!(unknown.name(), "[host]:2222");
    let policies: [(&dyn MissingHostKeyPolicy, HostKeyAnswer); 4] = [
        (&RejectPolicy, HostKeyAnswer::Reject),
        (&AutoAddPolicy, HostKeyAnswer::Accept),
        (&WarningPolicy, HostKeyAnswer::Accept),
        (&AcceptNewPolicy, HostKeyAnswer::AcceptAndSave),
    ];
    for (policy, answer) in policies {
        assert_eq!(policy.missing_host_key(&unknown), answer, "{policy:?}");
    }
}

/// `ssh-keygen -H` of "example.org".
const HASHED_22: &str = "|1|52MiR1hopagVjgvEdUF/t/emxKI=|ZZSx1Jl2R5omDoFQVajFRlQAJS8=";
/// `ssh-keygen -H` of "[example.org]:2222".
const HASHED_2222: &str = "|1|GJm0AqdHiDBIpbxFXvH9oNemnFU=|RbmmLDD0LBq4nvBEHVDGEIxM6w8=";

/// The line of a key with its certificate would make its own host one whose key has changed.
#[test]
fn a_certified_key_is_written_without_its_certificate() {
    use crate::key::{CertificateBuilder, KeyKind, PKey};

    let (authority, host) = [(); 2].map(|()| PKey::generate(KeyKind::Ed25519).unwrap()).into();
    let certified = CertificateBuilder::host(host.public_key()).principal("host").sign(&authority).unwrap();
    let line = format!("host {}\n", host.public_key().to_line());
    let directory = crate::sys::file::tests::Directory::new();
    let path = directory.file("known_hosts");
    let mut keys = HostKeys::new();
    for key in [&certified, host.public_key(), &certified] {
        keys.add("host", 22, key).unwrap();
        HostKeys::append(&path, "host", 22, key).unwrap();
        HostKeys::append_hashed(&path, "host", 22, key).unwrap();
        assert_eq!(text(&keys), line);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line);
        assert_eq!(keys.check("host", 22, &certified), HostKeyStatus::Known);
    }
    let mut hashed = HostKeys::new();
    hashed.add_hashed("host", 22, &certified).unwrap();
    hashed.add_hashed("host", 22, &certified).unwrap();
    assert_eq!(hashed.lookup("host", 22), [host.public_key()]);
}
