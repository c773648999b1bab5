//! Certificates made by ssh-keygen and here, judged and broken.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::wire::Writer;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn authority() -> PKey {
    PKey::generate(KeyKind::Ed25519).unwrap()
}

#[test]
fn what_ssh_keygen_signs_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for ca_kind in ["ed25519", "ecdsa", "rsa"] {
        let ca = path(&format!("ca_{ca_kind}"));
        if run("ssh-keygen", &["-q", "-t", ca_kind, "-N", "", "-f", &ca]).is_none() {
            return;
        }
        let ca_key = PKey::from_file(&ca, None).unwrap();
        for (kind, bits) in [("ed25519", "256"), ("ecdsa", "384"), ("rsa", "2048"), ("dsa", "1024")] {
            let file = path(&format!("{ca_kind}_{kind}"));
            run("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", "", "-f", &file]).unwrap();
            let public = format!("{file}.pub");
            run(
                "ssh-keygen",
                &[
                    "-q",
                    "-s",
                    &ca,
                    "-I",
                    "an id",
                    "-n",
                    "robey,ci",
                    "-z",
                    "77",
                    "-V",
                    "20200101Z:20990101Z",
                    "-O",
                    "force-command=uname -a",
                    "-O",
                    "source-address=192.0.2.0/24,2001:db8::/32",
                    "-O",
                    "no-pty",
                    "-O",
                    "extension:custom@example.org=value",
                    &public,
                ],
            )
            .unwrap();
            let line = std::fs::read_to_string(format!("{file}-cert.pub")).unwrap();
            let (key, _) = PublicKey::from_line(&line).unwrap();
            let private = PKey::from_file(&file, None).unwrap().with_certificate(&key).unwrap();
            works(&private);
            assert!(key.key_type().contains("-cert-v01@openssh.com"));
            assert_eq!(key.fingerprint(), private.public_key().without_certificate().fingerprint());
            let certificate = key.certificate().unwrap();
            assert_eq!(certificate.authority(), ca_key.public_key());
            assert_eq!((certificate.serial(), certificate.key_id().as_str()), (77, "an id"));
            assert_eq!(certificate.principals().collect::<Vec<_>>(), ["robey", "ci"]);
            assert_eq!(certificate.force_command(), Some(&b"uname -a"[..]));
            assert_eq!(certificate.valid_after(), Some(at(1_577_836_800)));
            assert_eq!(certificate.valid_before(), Some(at(4_070_908_800)));
            assert!(!certificate.has_extension("permit-pty") && certificate.has_extension("permit-user-rc"));
            assert!(certificate.has_extension("custom@example.org"));
            let good = certificate.check_user(at(1_700_000_000), Some("192.0.2.9".parse().unwrap()));
            assert_eq!(good, Ok(()));
        }
    }
}

#[test]
fn ssh_keygen_shows_what_we_sign() {
    let folder = tempfile::tempdir().unwrap();
    for ca in KINDS {
        let ca = PKey::generate(*ca).unwrap();
        for kind in KINDS {
            let key = PKey::generate(*kind).unwrap();
            let certificate = CertificateBuilder::user(key.public_key())
                .serial(5)
                .key_id("build")
                .principal("robey")
                .principal("ci")
                .valid_after(at(1_577_836_800))
                .force_command("uname")
                .no_extension("permit-pty")
                .sign(&ca)
                .unwrap();
            let file = folder.path().join("cert.pub");
            std::fs::write(&file, certificate.to_line()).unwrap();
            let Some(shown) = run("ssh-keygen", &["-L", "-f", &file.to_string_lossy()]) else { return };
            for part in [
                certificate.key_type(),
                "Key ID: \"build\"",
                "Serial: 5",
                "robey",
                "force-command uname",
                "permit-agent-forwarding",
                &ca.public_key().fingerprint(),
            ] {
                assert!(shown.contains(part), "{part} in {shown}");
            }
            assert!(!shown.contains("permit-pty"));
        }
    }
}

type Change = fn(CertificateBuilder) -> CertificateBuilder;

#[test]
fn a_users_certificate_is_judged() {
    let key = authority();
    let here = Some("192.0.2.7".parse().unwrap());
    let cases: &[(Change, Result<(), CertificateError>)] = &[
        (|c| c, Ok(())),
        (|c| c.valid_after(at(1000)), Ok(())),
        (|c| c.valid_after(at(1001)), Err(CertificateError::NotYetValid)),
        (|c| c.valid_before(at(1001)), Ok(())),
        (|c| c.valid_before(at(1000)), Err(CertificateError::Expired)),
        (|c| c.source_address("192.0.2.0/24"), Ok(())),
        (|c| c.source_address("198.51.100.0/24"), Err(CertificateError::SourceAddress)),
        (
            |c| c.source_address("192.0.2.7/24"),
            Err(CertificateError::CriticalOption("source-address".to_owned())),
        ),
        (
            |c| c.source_address("nonsense,192.0.2.7"),
            Err(CertificateError::CriticalOption("source-address".to_owned())),
        ),
        (|c| c.source_address(""), Err(CertificateError::CriticalOption("source-address".to_owned()))),
        (|c| c.force_command("uname"), Ok(())),
        (|c| c.critical_option("verify-required", None), Ok(())),
        (
            |c| c.critical_option("verify-required", Some(b"x")),
            Err(CertificateError::CriticalOption("verify-required".to_owned())),
        ),
        (
            |c| c.critical_option("force-command", None),
            Err(CertificateError::CriticalOption("force-command".to_owned())),
        ),
        (
            |c| c.critical_option("unheard@of", None),
            Err(CertificateError::CriticalOption("unheard@of".to_owned())),
        ),
        (|c| c.extension("unheard@of", Some(b"x")), Ok(())),
        (|c| c.extension("no-touch-required", None), Ok(())),
        (
            |c| c.extension("permit-user-rc", Some(b"x")),
            Err(CertificateError::Extension("permit-user-rc".to_owned())),
        ),
    ];
    for (at_case, (change, verdict)) in cases.iter().enumerate() {
        let builder = CertificateBuilder::user(key.public_key()).principal("robey");
        let signed = change(builder).sign(&authority()).unwrap();
        let certificate = signed.certificate().unwrap();
        assert_eq!(certificate.check_user(at(1000), here), *verdict, "case {at_case}");
        assert_eq!(certificate.check_host(at(1000), "robey"), Err(CertificateError::WrongKind));
    }
    let nobody = CertificateBuilder::user(key.public_key()).sign(&authority()).unwrap();
    assert_eq!(nobody.certificate().unwrap().check_user(at(1000), here), Err(CertificateError::NoPrincipals));
    let bound = CertificateBuilder::user(key.public_key()).principal("r").source_address("::/0");
    let bound = bound.sign(&authority()).unwrap();
    let unknown = bound.certificate().unwrap().check_user(at(1000), None);
    assert_eq!(unknown, Err(CertificateError::SourceAddress));
}

#[test]
fn a_hosts_certificate_is_judged() {
    let key = authority();
    let builder = || CertificateBuilder::host(key.public_key()).principal("www.example.org");
    let judge = |builder: CertificateBuilder, host: &str| {
        builder.sign(&authority()).unwrap().certificate().unwrap().check_host(at(1000), host)
    };
    assert_eq!(judge(builder(), "WWW.example.org"), Ok(()));
    let other = CertificateError::WrongPrincipal("ftp.example.org".to_owned());
    assert_eq!(judge(builder(), "ftp.example.org"), Err(other));
    assert_eq!(judge(builder().valid_before(at(9)), "www.example.org"), Err(CertificateError::Expired));
    let demands = judge(builder().force_command("x"), "www.example.org");
    assert_eq!(demands, Err(CertificateError::CriticalOption("force-command".to_owned())));
    let nobody = judge(CertificateBuilder::host(key.public_key()), "www.example.org");
    assert_eq!(nobody, Err(CertificateError::NoPrincipals));
}

#[test]
fn names_of_hosts_may_be_patterns_and_those_of_users_may_not() {
    let key = authority();
    for (pattern, host, good) in [
        ("*.example.org", "www.example.org", true),
        ("*.example.org", "WWW.Example.ORG", true),
        ("*.example.org", "a.b.example.org", true),
        ("*.example.org", ".example.org", true),
        ("*.example.org", "example.org", false),
        ("*.example.org", "www.example.org.evil", false),
        ("*.example.org", "wwwexample.org", false),
        ("*.EXAMPLE.org", "www.example.org", false),
        ("www?.example.org", "www1.example.org", true),
        ("www?.example.org", "www.example.org", false),
        ("*", "anything", true),
        ("192.0.2.*", "192.0.2.7", true),
        ("www*", "www", true),
        // One name, not a list, and nothing is turned around.
        ("*,x", "www.example.org", false),
        ("!x", "www.example.org", false),
        ("[w]ww.example.org", "www.example.org", false),
    ] {
        let judge = |builder: CertificateBuilder| {
            let signed = builder.principal(pattern).sign(&authority()).unwrap();
            signed.certificate().unwrap().clone()
        };
        let of_host = judge(CertificateBuilder::host(key.public_key()));
        assert_eq!(of_host.check_host(at(1000), host).is_ok(), good, "{pattern} {host}");
        assert!(!of_host.names(host) && of_host.names(pattern), "{pattern} {host}");
        let of_user = judge(CertificateBuilder::user(key.public_key()));
        assert!(!of_user.names(host), "{pattern} {host}");
        assert_eq!(of_user.check_host(at(1000), host), Err(CertificateError::WrongKind));
    }
    // What is longer than patterns may be matches nothing.
    for (length, good) in [(1024, true), (1025, false)] {
        let signed = CertificateBuilder::host(key.public_key()).principal("*".repeat(length));
        let signed = signed.sign(&authority()).unwrap();
        assert_eq!(signed.certificate().unwrap().check_host(at(1000), "www").is_ok(), good, "{length}");
    }
}

#[test]
fn a_weak_signature_of_an_authority_is_not_accepted() {
    let dss = PKey::generate(KeyKind::Dss).unwrap();
    let signed = CertificateBuilder::user(authority().public_key()).principal("robey").sign(&dss).unwrap();
    let verdict = signed.certificate().unwrap().check_user(at(1000), None);
    assert_eq!(verdict, Err(CertificateError::Algorithm("ssh-dss".to_owned())));
}

#[test]
fn a_changed_certificate_is_none() {
    let signed =
        CertificateBuilder::user(authority().public_key()).principal("robey").sign(&authority()).unwrap();
    let blob = signed.blob();
    for at in 0..blob.len() {
        let mut changed = blob.to_vec();
        changed[at] ^= 0x40;
        assert!(PublicKey::from_blob(&changed).is_err(), "byte {at}");
        assert!(PublicKey::from_blob(&blob[..at]).is_err(), "{at} bytes");
    }
    // A certificate signs no certificate.
    let intermediate = authority().with_certificate(&signed);
    assert!(intermediate.is_err(), "for another key");
}

#[test]
fn an_authority_with_a_certificate_signs_with_its_key() {
    let middle = authority();
    let signed = CertificateBuilder::user(middle.public_key()).principal("robey").sign(&authority()).unwrap();
    let middle = middle.with_certificate(&signed).unwrap();
    let leaf = CertificateBuilder::user(authority().public_key()).principal("robey").sign(&middle).unwrap();
    let by = leaf.certificate().unwrap().authority().clone();
    assert_eq!(by, middle.public_key().without_certificate());
    // Written by hand with the certificate as the authority, it is refused.
    let mut blob = leaf.blob().to_vec();
    let plain = crate::wire::string_of(by.blob());
    let from = blob.windows(plain.len()).position(|part| part == plain).unwrap();
    blob.splice(from..from + plain.len(), crate::wire::string_of(signed.blob()));
    assert!(matches!(PublicKey::from_blob(&blob), Err(KeyError::Malformed(_))));
}

#[test]
fn lists_without_end_are_refused() {
    let mut blob = Vec::new();
    let key = authority();
    let many = (0..300).fold(CertificateBuilder::user(key.public_key()), |c, n| c.principal(format!("u{n}")));
    assert!(matches!(many.sign(&authority()), Err(KeyError::Malformed(_))));
    let many =
        (0..300).fold(CertificateBuilder::user(key.public_key()), |c, n| c.extension(&format!("e{n}"), None));
    assert!(matches!(many.sign(&authority()), Err(KeyError::Malformed(_))));
    blob.put("ssh-ed25519-cert-v01@openssh.com");
    assert!(PublicKey::from_blob(&blob).is_err());
}

#[test]
fn intervals_are_signed_and_shown() {
    let (authority, key) = (authority(), PKey::generate(KeyKind::Ed25519).unwrap());
    let new = || CertificateBuilder::user(key.public_key());
    let shown = |interval: &str| {
        let signed = new().valid_interval(interval, at(1_600_000_000)).unwrap().sign(&authority).unwrap();
        signed.certificate().unwrap().validity()
    };
    assert_eq!(shown("always:forever"), "forever");
    assert!(shown("20200101Z:forever").starts_with("after 20"));
    assert!(shown("+52w").starts_with("from 2020-09-1"));
    assert!(matches!(new().valid_interval("tomorrow", at(0)), Err(KeyError::Malformed(_))));
    assert!(new().sign_by(&authority, "rsa-sha2-512").is_err());
    let rsa = PKey::generate(KeyKind::Rsa(2048)).unwrap();
    let signed = new().sign_by(&rsa, "rsa-sha2-256").unwrap();
    assert_eq!(signed.certificate().unwrap().algorithm(), "rsa-sha2-256");
}
