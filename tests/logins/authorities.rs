//! Authorities: in lines of authorized_keys, and the file of those that are trusted.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Command;

use feramiko::{CertificateBuilder, KeyKind};

use crate::given;
use crate::judges::{FORCED, Judges, NO_TERMINAL, Out, PLAIN, Verdict, all_agreed, connect, logged};
use crate::makers::Workshop;
use crate::peers::{output, user};

const OTHERS: Verdict =
    Out("Certificate invalid: name is not a listed principal", "the certificate is for others");
const NOT_NAMED: Verdict =
    Out("Certificate does not contain an authorized principal", "the certificate is for others");
const STRANGER: Verdict = Out("is not listed in /", "is not listed in /");

/// Options of a line with an authority's key, what is made of the certificate, and of the login.
const LINES: &[(&str, &[&str], Verdict)] = &[
    ("cert-authority", &["-n", "USER"], PLAIN),
    ("CERT-AUTHORITY", &["-n", "USER"], PLAIN),
    ("cert-authority,restrict", &["-n", "USER"], NO_TERMINAL),
    ("cert-authority", &["-n", "USER", "-O", "no-pty"], NO_TERMINAL),
    ("cert-authority,command=\"echo forced\"", &["-n", "USER"], FORCED),
    ("cert-authority", &["-n", "USER", "-O", "force-command=echo forced"], FORCED),
    ("cert-authority,command=\"echo forced\"", &["-n", "USER", "-O", "force-command=echo forced"], FORCED),
    (
        "cert-authority,command=\"echo forced\"",
        &["-n", "USER", "-O", "force-command=echo else"],
        Out("forced command options do not match", "a line and a certificate force different commands"),
    ),
    ("cert-authority,environment=\"V=value\"", &["-n", "USER"], PLAIN),
    ("cert-authority,principals=\"ci,web\"", &["-n", "web"], PLAIN),
    ("cert-authority,principals=\"ci,web\"", &["-n", "USER"], NOT_NAMED),
    ("cert-authority,principals=\"ci,w*\"", &["-n", "web"], NOT_NAMED),
    ("cert-authority", &["-n", "web"], OTHERS),
    (
        "cert-authority",
        &["-h", "-n", "USER"],
        Out("Invalid certificate options", "the certificate is of the wrong kind"),
    ),
    (
        "cert-authority",
        &["-n", "USER", "-V", "20190101:20200101"],
        Out("Certificate invalid: expired", "the certificate has expired"),
    ),
    (
        "cert-authority",
        &["-n", "USER", "-O", "source-address=10.0.0.0/8"],
        Out("not from a permitted source address", "the certificate may not be used from this address"),
    ),
    ("", &["-n", "USER"], STRANGER),
    ("restrict", &["-n", "USER"], STRANGER),
    (
        "cert-authority,from=\"10.*\"",
        &["-n", "USER"],
        Out("not from a permitted host", "the client comes from elsewhere"),
    ),
    ("cert-authority,expiry-time=\"20200101\"", &["-n", "USER"], Out("entry expired at", "it has expired")),
];

#[test]
fn authorities_in_lines() {
    let _watch = given::within(300);
    let (Some(judges), Some(shop)) = (Judges::new(&[]), Workshop::new()) else { return };
    let (authority, key) = (shop.key("authority", KeyKind::Ed25519), shop.key("id", KeyKind::Ed25519));
    let mut failed = Vec::new();
    for (options, arguments, verdict) in LINES {
        judges.write("keys", &format!("{options} {}\n", authority.public_key().to_line()));
        for (maker, by) in shop.makers() {
            let certified = shop.certificate(maker, "authority", arguments);
            let certified = key.with_certificate(&certified).unwrap();
            judges.agree(&format!("{options} {arguments:?} {by}"), &certified, *verdict, &mut failed);
        }
    }
    all_agreed(&failed);
}

/// OpenSSH before 10.3 takes a certificate that names nobody for everybody's where the authority stands in a line;
/// ours never did.
#[test]
fn a_certificate_that_names_nobody() {
    let _watch = given::within(300);
    let (Some(judges), Some(shop)) = (Judges::new(&[]), Workshop::new()) else { return };
    let (authority, key) = (shop.key("authority", KeyKind::Ed25519), shop.key("id", KeyKind::Ed25519));
    let (_, ours) = &judges.servers[1];
    for (maker, by) in shop.makers() {
        for options in ["cert-authority", "cert-authority,principals=\"web\""] {
            judges.write("keys", &format!("{options} {}\n", authority.public_key().to_line()));
            let before = ours.log().len();
            let certified = key.with_certificate(&shop.certificate(maker, "authority", &[])).unwrap();
            assert!(connect(ours, &certified).is_none(), "{options} {by}");
            logged(ours, before, "the certificate names nobody").unwrap();
        }
    }
}

/// What stands in TrustedUserCAKeys besides keys.
#[test]
fn files_of_authorities() {
    let _watch = given::within(300);
    let Some(judges) = Judges::new(&[]) else { return };
    let (authority, key) = (given::host_key(), given::host_key());
    let certificate = CertificateBuilder::user(key.public_key()).principal(user()).sign(&authority).unwrap();
    let (certified, line) = (key.with_certificate(&certificate).unwrap(), authority.public_key().to_line());
    let other = given::host_key().public_key().to_line();
    let mut failed = Vec::new();
    for (what, text, verdict) in [
        ("a comment and blanks before", format!("# ours\n\n \t{line} comment\n"), PLAIN),
        ("no end of line", line.clone(), PLAIN),
        ("the last of many", format!("{}{line}\n", format!("{other}\n").repeat(100)), PLAIN),
        ("a bad line behind", format!("{line}\nnonsense\n"), PLAIN),
        ("a bad line before", format!("nonsense\n{line}\n"), STRANGER),
        ("half a key before", format!("ssh-ed25519 AAAA\n{line}\n"), STRANGER),
        ("another", other.clone(), STRANGER),
        ("commented out", format!("#{line}\n"), STRANGER),
        ("with options", format!("cert-authority {line}\n"), STRANGER),
        ("its key as a certificate", certificate.to_line(), STRANGER),
        ("nothing", String::new(), STRANGER),
    ] {
        judges.write("authorities", &text);
        judges.agree(what, &certified, verdict, &mut failed);
    }
    judges.write("authorities", &[b"# caf\xe9\n", line.as_bytes(), b" caf\xe9\n"].concat());
    judges.agree("comments in Latin-1", &certified, PLAIN, &mut failed);
    fs::remove_file(judges.folder.file("authorities")).unwrap();
    judges.agree(
        "no file",
        &certified,
        Out("/authorities: No such file", "/authorities: No such file"),
        &mut failed,
    );
    all_agreed(&failed);
}

/// Ours alone, since OpenSSH's waits for the other end of a FIFO and reads a device without end.
#[test]
fn files_of_authorities_that_are_none() {
    let _watch = given::within(300);
    let Some(judges) = Judges::new(&[]) else { return };
    let (authority, key) = (given::host_key(), given::host_key());
    let certificate = CertificateBuilder::user(key.public_key()).principal(user()).sign(&authority).unwrap();
    let certified = key.with_certificate(&certificate).unwrap();
    let (line, path) = (authority.public_key().to_line(), judges.folder.file("authorities"));
    let (_, ours) = &judges.servers[1];
    let too_large = || {
        fs::write(&path, format!("{line}\n")).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(64 * 1024 * 1024 + 1).unwrap();
    };
    let fifo = || assert!(output(Command::new("mkfifo").arg(&path), "").status.success());
    let rows: [(&str, &dyn Fn(), &str); 4] = [
        ("a FIFO that nobody writes", &fifo, "not a regular file"),
        ("a device", &|| symlink("/dev/zero", &path).unwrap(), "not a regular file"),
        ("a folder", &|| symlink("/", &path).unwrap(), "not a regular file"),
        ("more than is read", &too_large, "larger than"),
    ];
    for (what, make, reason) in rows {
        fs::remove_file(&path).unwrap();
        make();
        let before = ours.log().len();
        assert!(connect(ours, &certified).is_none(), "{what}");
        logged(ours, before, reason).unwrap_or_else(|said| panic!("{what}: {said}"));
    }
    fs::remove_file(&path).unwrap();
    judges.write("authorities", &line);
    assert!(connect(ours, &certified).is_some(), "{}", ours.log());
}
