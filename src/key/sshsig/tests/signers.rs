//! Who may sign: every option, bad lines, times; and that ssh-keygen judges the same.

use crate::key::{CertificateBuilder, time};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// 2020-06-01 00:00:00 UTC.
const JUNE: u64 = 1_590_969_600;

fn new_key() -> PublicKey {
    PKey::generate(KeyKind::Ed25519).unwrap().public_key().clone()
}

#[test]
fn times_of_every_form() {
    for (text, expected) in [
        ("20200601Z", Some(1_590_969_600)),
        ("20200601z", Some(1_590_969_600)),
        ("20200601utc", Some(1_590_969_600)),
        ("202006011234Z", Some(1_591_014_840)),
        ("20200601123456UTC", Some(1_591_014_896)),
        ("19700101Z", Some(0)),
        ("20200230Z", None),
        ("20201301Z", None),
        ("20200601240000Z", None),
        ("2020060112345Z", None),
        ("2020060Z", None),
        ("2020-601Z", None),
        ("+2020601Z", None),
        ("20200601 Z", None),
        ("20200601ZZ", None),
        ("Z", None),
        ("", None),
        ("2020060\u{e9}", None),
    ] {
        assert_eq!(time::parse(text), expected, "{text}");
    }
    // By the clocks of this place, wherever that is.
    let there = time::parse("20200601").unwrap();
    assert!((there - 1_590_969_600).abs() <= 14 * 3600 && there % 900 == 0);
}

#[test]
fn every_option_is_heeded() {
    let (key, other) = (new_key(), new_key());
    let line = key.to_line();
    let signers = AllowedSigners::parse(format!(
        "# who\n\
         me@a.org {line} comment\n\
         \n\
         git@a.org NAMESPACES=\"git,mail-*,!mail-x\" {line}\n\
         \t past@a.org  valid-before=\"20200601Z\"   {line}\r\n\
         soon@a.org valid-after=\"20200601Z\" {line}\n\
         both@a.org namespaces=\"file\",valid-after=\"20200601Z\",Valid-Before=\"202006010001Z\" {line}\n\
         ca@a.org cert-authority {line}\n\
         *@b.org,!mallory@b.org {line}\n\
         \"two words\" {line}\n\
         never@a.org namespaces=\"\" {line}\n"
    ));
    assert_eq!(signers.bad_lines(), []);
    let allowed = |line| SignerVerdict::Allowed { line };
    for (principal, namespace, time, expected) in [
        ("me@a.org", "file", JUNE, allowed(2)),
        ("Me@a.org", "file", JUNE, SignerVerdict::Unknown),
        ("git@a.org", "git", JUNE, allowed(4)),
        ("git@a.org", "mail-y", JUNE, allowed(4)),
        ("git@a.org", "mail-x", JUNE, SignerVerdict::OtherNamespace { line: 4 }),
        ("git@a.org", "Git", JUNE, SignerVerdict::OtherNamespace { line: 4 }),
        ("past@a.org", "file", JUNE, allowed(5)),
        ("past@a.org", "file", JUNE + 1, SignerVerdict::Expired { line: 5 }),
        ("soon@a.org", "file", JUNE - 1, SignerVerdict::NotYetValid { line: 6 }),
        ("soon@a.org", "file", JUNE, allowed(6)),
        ("both@a.org", "file", JUNE - 1, SignerVerdict::NotYetValid { line: 7 }),
        ("both@a.org", "file", JUNE + 60, allowed(7)),
        ("both@a.org", "file", JUNE + 61, SignerVerdict::Expired { line: 7 }),
        ("both@a.org", "git", JUNE, SignerVerdict::OtherNamespace { line: 7 }),
        ("ca@a.org", "file", JUNE, SignerVerdict::Unknown),
        ("you@b.org", "file", JUNE, allowed(9)),
        ("mallory@b.org", "file", JUNE, SignerVerdict::Unknown),
        ("two words", "file", JUNE, allowed(10)),
        ("never@a.org", "file", JUNE, SignerVerdict::OtherNamespace { line: 11 }),
        ("", "file", JUNE, SignerVerdict::Unknown),
    ] {
        let verdict = signers.check(principal, namespace, &key, at(time));
        assert_eq!(verdict, expected, "{principal} {namespace} {time}");
        assert_eq!(verdict.is_allowed(), matches!(expected, SignerVerdict::Allowed { .. }));
        assert_eq!(signers.check(principal, namespace, &other, at(time)), SignerVerdict::Unknown);
    }
    assert_eq!(signers.check_authority("ca@a.org", "file", &key, at(JUNE)), allowed(8));
    assert_eq!(signers.check_authority("me@a.org", "file", &key, at(JUNE)), SignerVerdict::Unknown);
    let before_1970 = UNIX_EPOCH - Duration::from_millis(1);
    assert!(signers.check("past@a.org", "file", &key, before_1970).is_allowed());
    assert!(!signers.check("soon@a.org", "file", &key, before_1970).is_allowed());
}

#[test]
fn the_first_line_that_allows_decides() {
    let (key, other) = (new_key(), new_key());
    let (line, of_other) = (key.to_line(), other.to_line());
    let signers = AllowedSigners::parse(format!(
        "me {of_other}\nme valid-before=\"20200101Z\" {line}\nme,you {line}\nyou namespaces=\"git\" {line}\n"
    ));
    assert_eq!(signers.check("me", "file", &key, at(JUNE)), SignerVerdict::Allowed { line: 3 });
    assert_eq!(signers.find_principals(&key, None, at(JUNE)), [b"me", &b"you"[..]]);
    assert_eq!(signers.find_principals(&key, None, at(1)), [&b"me"[..]]);
    assert_eq!(signers.find_principals(&key, Some(b"git"), at(JUNE)), [b"me", &b"you"[..]]);
    assert_eq!(signers.find_principals(&new_key(), None, at(JUNE)), [] as [&[u8]; 0]);
    assert_eq!(signers.match_principals("you"), [&b"me,you"[..], b"you"]);
    assert_eq!(signers.match_principals("nobody"), [] as [&[u8]; 0]);
}

#[test]
fn a_bad_line_spoils_only_itself() {
    let key = new_key();
    let line = key.to_line();
    for bad in [
        "me".to_owned(),
        "me ".to_owned(),
        format!("\"me {line}"),
        format!("\"\" {line}"),
        format!("me unknown {line}"),
        format!("me unknown=\"x\" {line}"),
        format!("me no-cert-authority {line}"),
        format!("me cert-authority=\"x\" {line}"),
        format!("me cert-authorityx {line}"),
        format!("me cert-authority, {line}"),
        format!("me ,cert-authority {line}"),
        format!("me namespaces {line}"),
        format!("me namespaces=file {line}"),
        format!("me namespaces=\"file {line}"),
        format!("me namespaces=\"file\"x {line}"),
        format!("me namespaces=\"a\",namespaces=\"b\" {line}"),
        format!("me valid-after=\"20200101Z\",valid-after=\"20200101Z\" {line}"),
        format!("me valid-after=\"yesterday\" {line}"),
        format!("me valid-after=\"19700101Z\" {line}"),
        format!("me valid-after=\"19690101Z\" {line}"),
        format!("me valid-before=\"\" {line}"),
        format!("me valid-before=\"20200101Z\",valid-after=\"20200101Z\" {line}"),
        format!("me namespaces=\"file\" {}", &line[..40]),
        "me namespaces=\"file\"".to_owned(),
        format!("me ssh-rsa{}", &line[11..]),
        "me ssh-other AAAACXNzaC1vdGhlcg==".to_owned(),
        format!("m\0e {line}"),
    ] {
        let signers = AllowedSigners::parse(format!("{bad}\nme {line}\n{bad}"));
        let numbers: Vec<_> = signers.bad_lines().iter().map(|bad| bad.line).collect();
        assert_eq!(numbers, [1, 3], "{bad}");
        assert!(signers.bad_lines().iter().all(|bad| !bad.reason.is_empty()));
        let verdict = signers.check("me", "file", &key, at(JUNE));
        assert_eq!(verdict, SignerVerdict::Allowed { line: 2 }, "{bad}");
    }
    let unknown = AllowedSigners::parse(format!("me unknown {line}"));
    assert_eq!(unknown.bad_lines()[0].reason, "an option that is not known");
    // Quotes hold blanks, commas and quotes.
    let quoted = AllowedSigners::parse(format!("me namespaces=\"a b,c\\\"d\" {line}"));
    assert!(quoted.check("me", "a b", &key, at(JUNE)).is_allowed());
    assert!(quoted.check("me", "c\"d", &key, at(JUNE)).is_allowed());
}

#[test]
fn cut_lists_allow_nobody_and_flipped_ones_nobody_else() {
    let key = new_key();
    let text = format!("me@a.org namespaces=\"git\",valid-before=\"20200601Z\" {}", key.to_line());
    for length in 0..text.len() {
        let signers = AllowedSigners::parse(&text[..length]);
        assert_eq!(signers.check("me@a.org", "git", &key, at(1)), SignerVerdict::Unknown, "{length}");
        assert_eq!(signers.bad_lines().len(), usize::from(length > 0));
    }
    for place in 0..text.len() {
        for bit in 0..8 {
            let mut flipped = text.clone().into_bytes();
            flipped[place] ^= 1 << bit;
            let signers = AllowedSigners::parse(&flipped);
            assert!(!signers.check("mallory", "git", &key, at(1)).is_allowed(), "{place} {bit}");
        }
    }
}

#[test]
fn files_of_signers_are_bounded_and_regular() {
    let bench = Bench::new();
    let key = new_key();
    let path = bench.write("signers", format!("me {}", key.to_line()));
    let signers = AllowedSigners::from_file(&path).unwrap();
    assert!(signers.check("me", "file", &key, at(JUNE)).is_allowed());
    std::fs::File::options().write(true).open(&path).unwrap().set_len(16 * 1024 * 1024 + 1).unwrap();
    for path in [path.as_str(), "/dev/zero", "/nonexistent"] {
        let error = AllowedSigners::from_file(path).unwrap_err();
        assert!(matches!(&error, SshSignatureError::Io { what, .. } if what == path), "{error:?}");
    }
}

/// ssh-keygen's own answers for one key, many lines, two times.
#[test]
fn ssh_keygen_judges_signers_the_same() {
    let bench = Bench::new();
    let (key, signature) = signed_here();
    let path = bench.write("signature", signature.to_armored());
    let (key, other) = (key.public_key(), new_key());
    let (line, of_other) = (key.to_line(), other.to_line());
    let mut allowed = 0;
    for (number, text) in [
        format!("me@a.org {line}"),
        format!("ME@a.org {line}"),
        format!("*@a.org,!you@a.org {line}"),
        format!("*,!me@* {line}"),
        format!("m?@a.org namespaces=\"f*\" {line}"),
        format!("me@a.org namespaces=\"git\" {line}"),
        format!("me@a.org namespaces=\"!file,*\" {line}"),
        format!("me@a.org NameSpaces=\"git,file\" {line}"),
        format!("me@a.org namespaces=\"\" {line}"),
        format!("me@a.org cert-authority {line}"),
        format!("me@a.org valid-before=\"20200601Z\" {line}"),
        format!("me@a.org valid-after=\"20200601Z\" {line}"),
        format!("me@a.org valid-after=\"20200601000001Z\" {line}"),
        format!("me@a.org valid-before=\"20191231235959Z\" {line}"),
        format!("me@a.org valid-after=\"20200101Z\",valid-before=\"20210101Z\" {line}"),
        format!("me@a.org unknown-option {line}"),
        format!("me@a.org unknown-option {line}\nme@a.org {line}"),
        format!("# comment\n\n  me@a.org   {line} a comment\n"),
        format!("\"me@a.org\" {line}"),
        format!("\"you@a.org,me@a.org\" namespaces=\"a b,file\" {line}"),
        format!("me@a.org {of_other}\nme@a.org,you {line}"),
        format!("me@a.org valid-before=\"20000101Z\" {line}\nyou@a.org {line}"),
        format!("me@a.org {of_other}"),
        "me@a.org".to_owned(),
        String::new(),
    ]
    .into_iter()
    .enumerate()
    {
        let signers = AllowedSigners::parse(&text);
        let file = bench.write("signers", &text);
        let time = "verify-time=20200601Z";
        let verify = ["-Y", "verify", "-f", &file, "-I", "me@a.org", "-n", "file", "-s", &path, "-O", time];
        let Some((theirs, shown)) = bench.keygen(&verify, b"message") else { return };
        let ours = signers.check("me@a.org", "file", key, at(JUNE)).is_allowed();
        assert_eq!(ours, theirs, "{number}: {text}: {shown}");
        allowed += usize::from(ours);

        let find = ["-Y", "find-principals", "-f", &file, "-s", &path, "-O", time];
        let (found, shown) = bench.keygen(&find, b"").unwrap();
        let ours = signers.find_principals(key, None, at(JUNE));
        let ours: Vec<_> = ours.into_iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
        let theirs: Vec<_> = shown.lines().filter(|line| line.contains("@a.org") && found).collect();
        let theirs: Vec<_> = theirs.into_iter().filter(|line| !line.contains(&file)).collect();
        let ours: Vec<_> = ours.into_iter().filter(|name| name.contains("@a.org")).collect();
        assert_eq!(ours, theirs, "{number}: {text}: {shown}");
        assert_eq!(!signers.find_principals(key, None, at(JUNE)).is_empty(), found, "{number}: {shown}");

        if signers.bad_lines().is_empty() {
            let matching = ["-Y", "match-principals", "-f", &file, "-I", "me@a.org"];
            let (found, shown) = bench.keygen(&matching, b"").unwrap();
            let ours = signers.match_principals("me@a.org");
            assert_eq!(!ours.is_empty(), found, "{number}: {shown}");
            for list in ours {
                assert!(shown.lines().any(|line| line.as_bytes() == list), "{number}: {shown}");
            }
        }
    }
    assert!((10..20).contains(&allowed), "{allowed}");
}

/// A place with summer time, for children.
pub(super) const PLACE: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

/// A time without a zone is that of the clocks of the place. In winter, that is what ssh-keygen says
/// too; in summer it takes it for winter time, and is an hour late.
#[test]
fn local_times_are_those_of_the_place() {
    if std::env::var("TZ").is_ok_and(|zone| zone == PLACE) {
        for (local, utc) in [
            ("20200115120000", "20200115110000Z"),
            ("20200115", "20200114230000Z"),
            ("202007151200", "202007151000Z"),
            ("20200716", "20200715220000Z"),
        ] {
            assert_eq!(time::parse(local), time::parse(utc), "{local}");
        }
        return;
    }
    // The zone is the process's, so this test runs again in another.
    let name = "key::sshsig::tests::signers::local_times_are_those_of_the_place";
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", name]).env("TZ", PLACE).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");

    let bench = Bench::new();
    let (key, signature) = signed_here();
    let path = bench.write("signature", signature.to_armored());
    let line = key.public_key().to_line();
    for (local, time, good) in [
        ("20200115120000", "20200115110000Z", true),
        ("20200115120000", "20200115110001Z", false),
        ("20200115", "20200114230000Z", true),
        ("20200115", "20200114230001Z", false),
    ] {
        let file = bench.write("signers", format!("me valid-before=\"{local}\" {line}"));
        let option = format!("verify-time={time}");
        let verify = ["-Y", "verify", "-f", &file, "-I", "me", "-n", "file", "-s", &path, "-O", &option];
        let Some((theirs, shown)) = bench.keygen(&verify, b"message") else { return };
        assert_eq!(theirs, good, "{local} {time}: {shown}");
    }
}

#[test]
fn a_certificate_signs_for_whom_it_names() {
    let (authority, key) =
        (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::EcdsaP256).unwrap());
    let builder = CertificateBuilder::user(key.public_key()).principal("me@a.org").principal("you");
    let certificate = builder.valid_before(at(JUNE + 10)).sign(&authority).unwrap();
    let holder = key.with_certificate(&certificate).unwrap();
    let signature = SshSignature::sign(&holder, "file", SignatureHash::Sha512, &b"data"[..]).unwrap();
    let read = SshSignature::from_armored(signature.to_armored()).unwrap();
    assert_eq!(read.verify("file", &b"data"[..]).unwrap(), &certificate);
    assert_eq!(read.verify("file", &b"other"[..]), Err(SshSignatureError::BadSignature));

    let ca = authority.public_key().to_line();
    let signers = AllowedSigners::parse(format!("*@a.org,odd cert-authority,namespaces=\"file\" {ca}\n"));
    let check =
        |principal: &str, namespace: &str, time| signers.check(principal, namespace, &certificate, at(time));
    assert_eq!(check("me@a.org", "file", JUNE), SignerVerdict::Allowed { line: 1 });
    assert_eq!(check("me@a.org", "git", JUNE), SignerVerdict::OtherNamespace { line: 1 });
    // Not named, not in the line, not any more.
    for (principal, time) in [("other@a.org", JUNE), ("odd", JUNE), ("you", JUNE), ("me@a.org", JUNE + 10)] {
        assert_eq!(check(principal, "file", time), SignerVerdict::Unknown, "{principal}");
    }
    assert_eq!(signers.find_principals(&certificate, None, at(JUNE)), [&b"me@a.org"[..]]);
    assert!(signers.find_principals(&certificate, None, at(JUNE + 10)).is_empty());
    assert!(signers.find_principals(&certificate, Some(b"git"), at(JUNE)).is_empty());
    // The key alone, a host's certificate, and one of another authority.
    let other = PKey::generate(KeyKind::Ed25519).unwrap();
    let of_host = CertificateBuilder::host(key.public_key()).principal("me@a.org").sign(&authority).unwrap();
    let of_other = CertificateBuilder::user(key.public_key()).principal("me@a.org").sign(&other).unwrap();
    for key in [key.public_key(), &of_host, &of_other] {
        assert_eq!(signers.check("me@a.org", "file", key, at(JUNE)), SignerVerdict::Unknown);
        assert!(signers.find_principals(key, None, at(JUNE)).is_empty());
    }
    // A line with the certificate itself is about that and no other.
    let signers = AllowedSigners::parse(format!("who {}\n", certificate.to_line()));
    assert!(signers.check("who", "file", &certificate, at(JUNE)).is_allowed());
    assert!(!signers.check("who", "file", key.public_key(), at(JUNE)).is_allowed());
}
