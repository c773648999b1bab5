//! Certificates of an authority that both servers trust, made by `ssh-keygen` and made here, and refused for
//! the same reasons.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use feramiko::{CertificateBuilder, KeyKind};
use serde_json::json;

use crate::given;
use crate::judges::{
    FORCED, Judges, NO_TERMINAL, Out, PLAIN, TERMINAL, Verdict, all_agreed, connect, logged,
};
use crate::makers::Workshop;
use crate::peers::{Folder, Python, user};

const NOT_YET: Verdict = Out("Certificate invalid: not yet valid", "the certificate is not yet valid");
const EXPIRED: Verdict = Out("Certificate invalid: expired", "the certificate has expired");
const NOBODY: Verdict = Out("Certificate lacks principal list", "the certificate names nobody");
const OTHERS: Verdict =
    Out("Certificate invalid: name is not a listed principal", "the certificate is not for ");
const ELSEWHERE: Verdict =
    Out("not from a permitted source address", "the certificate may not be used from this address");
const NO_NETWORK: Verdict = Out(
    "Certificate source-address contents invalid",
    "the certificate demands source-address, which is not",
);
const A_HOSTS: Verdict =
    Out("Certificate invalid: not a user certificate", "the certificate is of the wrong kind");
const STRANGER: Verdict = Out("is not listed in /", "is not listed in /");

/// What is refused for what its authority has signed it by.
macro_rules! signed_by {
    ($name:literal) => {
        Out(
            concat!("certificate signature algorithm ", $name, ": signature algorithm not supported"),
            concat!("the certificate is signed by ", $name, ", which is not accepted"),
        )
    };
}

/// What is refused for an option that nobody knows.
macro_rules! demands {
    ($name:literal) => {
        Out(
            concat!("Certificate critical option \"", $name, "\" is not supported"),
            concat!("the certificate demands ", $name, ", which is not understood"),
        )
    };
}

/// Arguments of `ssh-keygen -s` for the key of the user of these tests, and what both servers make of it.
const MADE: &[(&[&str], Verdict)] = &[
    (&["-n", "USER"], TERMINAL),
    (&["-n", "root2,USER,x"], PLAIN),
    (&["-n", "USER", "-V", "20200101:20990101"], PLAIN),
    (&["-n", "USER", "-V", "-1d:+1d"], PLAIN),
    (&["-n", "USER", "-V", "always:forever"], PLAIN),
    (&["-n", "USER", "-V", "20900101:20910101"], NOT_YET),
    (&["-n", "USER", "-V", "+1h:+2h"], NOT_YET),
    (&["-n", "USER", "-V", "20900101:forever"], NOT_YET),
    (&["-n", "USER", "-V", "20190101:20200101"], EXPIRED),
    (&["-n", "USER", "-V", "-2d:-1m"], EXPIRED),
    (&["-n", "USER", "-V", "always:20200101"], EXPIRED),
    // An end that is long over says so, whoever it is for.
    (&["-n", "somebody", "-V", "always:20200101"], EXPIRED),
    (&[], NOBODY),
    (&["-n", "somebody"], OTHERS),
    (&["-n", "somebody,else"], OTHERS),
    (&["-n", "*"], OTHERS),
    (&["-n", "USER2"], OTHERS),
    (&["-n", "USER@127.0.0.1"], OTHERS),
    (&["-n", " USER"], OTHERS),
    (&["-h", "-n", "USER"], A_HOSTS),
    (&["-h"], A_HOSTS),
    (&["-n", "USER", "-O", "no-pty"], NO_TERMINAL),
    (&["-n", "USER", "-O", "clear"], NO_TERMINAL),
    (&["-n", "USER", "-O", "clear", "-O", "permit-pty"], TERMINAL),
    (&["-n", "USER", "-O", "no-agent-forwarding"], PLAIN),
    (&["-n", "USER", "-O", "no-port-forwarding"], PLAIN),
    (&["-n", "USER", "-O", "force-command=echo forced $SSH_ORIGINAL_COMMAND"], FORCED),
    (&["-n", "USER", "-O", "clear", "-O", "force-command=echo forced"], NO_TERMINAL),
    (&["-n", "USER", "-O", "source-address=127.0.0.1"], PLAIN),
    (&["-n", "USER", "-O", "source-address=127.0.0.0/8"], PLAIN),
    (&["-n", "USER", "-O", "source-address=10.0.0.0/8,127.0.0.1/32"], PLAIN),
    (&["-n", "USER", "-O", "source-address=10.0.0.0/8"], ELSEWHERE),
    (&["-n", "USER", "-O", "source-address=10.0.0.0/8,192.0.2.1,2001:db8::/32"], ELSEWHERE),
    (&["-n", "USER", "-O", "source-address=::1"], ELSEWHERE),
    (&["-n", "USER", "-O", "no-touch-required"], PLAIN),
    (&["-n", "USER", "-O", "verify-required"], PLAIN),
    (&["-n", "USER", "-O", "extension:x@example.org=y"], PLAIN),
    (&["-n", "USER", "-O", "extension:flag@example.org"], PLAIN),
    (&["-n", "USER", "-O", "critical:x@example.org=y"], demands!("x@example.org")),
    (&["-n", "USER", "-O", "critical:unknown"], demands!("unknown")),
    (&["-n", "USER", "-z", "18446744073709551615"], PLAIN),
    (&["-n", "USER", "-I", "id \"with\" odd \t characters"], PLAIN),
];

#[test]
fn certificates_of_either_maker() {
    let _watch = given::within(300);
    let (Some(judges), Some(shop)) = (Judges::new(&[]), Workshop::new()) else { return };
    let mut failed = Vec::new();
    let authority = shop.key("authority", KeyKind::Ed25519);
    let key = shop.key("id", KeyKind::Ed25519);
    shop.key("stranger", KeyKind::Ed25519);
    judges.write("authorities", &format!("# ours\n{}\n", authority.public_key().to_line()));
    for (maker, by) in shop.makers() {
        let mut agree = |signer: &str, arguments: &[&str], verdict| {
            let certified = key.with_certificate(&shop.certificate(maker, signer, arguments)).unwrap();
            judges.agree(&format!("{arguments:?} {by}, {signer}"), &certified, verdict, &mut failed);
        };
        MADE.iter().for_each(|(arguments, verdict)| agree("authority", arguments, *verdict));
        agree("stranger", &["-n", "USER"], STRANGER);
        agree("id", &["-n", "USER"], STRANGER);
    }
    all_agreed(&failed);
}

/// Whoever runs a server with what is usual in its configuration sees why a certificate is refused.
#[test]
fn reasons_are_told_unless_told_otherwise() {
    let _watch = given::within(300);
    let (Some(judges), Some(shop)) = (Judges::new(&["LogLevel INFO"]), Workshop::new()) else { return };
    let (authority, key) = (shop.key("authority", KeyKind::Ed25519), shop.key("id", KeyKind::Ed25519));
    judges.write("authorities", &authority.public_key().to_line());
    for (arguments, verdict) in MADE {
        let Out(theirs, ours) = verdict else { continue };
        let certified = key.with_certificate(&shop.certificate(0, "authority", arguments)).unwrap();
        for ((name, server), words) in judges.servers.iter().zip([theirs, ours]) {
            let before = server.log().len();
            assert!(connect(server, &certified).is_none(), "{name}: {arguments:?}");
            logged(server, before, words).unwrap_or_else(|said| panic!("{name}: {arguments:?}: {said}"));
        }
    }
}

/// By what an authority may sign: all but SHA-1, and but what the configuration takes away.
#[test]
fn signatures_of_either_maker() {
    let _watch = given::within(300);
    let (Some(judges), Some(shop)) = (Judges::new(&[]), Workshop::new()) else { return };
    let mut failed = Vec::new();
    let rows: &[(KeyKind, &[&str], Verdict)] = &[
        (KeyKind::EcdsaP256, &[], PLAIN),
        (KeyKind::EcdsaP384, &[], TERMINAL),
        (KeyKind::EcdsaP521, &[], signed_by!("ecdsa-sha2-nistp521")),
        (KeyKind::Rsa(2048), &[], TERMINAL),
        (KeyKind::Rsa(2048), &["-t", "rsa-sha2-256"], PLAIN),
        (KeyKind::Rsa(2048), &["-t", "ssh-rsa"], signed_by!("ssh-rsa")),
    ];
    for (number, (kind, arguments, verdict)) in rows.iter().enumerate() {
        let name = format!("authority{number}");
        let authority = shop.key(&name, *kind);
        judges.write("authorities", &authority.public_key().to_line());
        let key = shop.key("id", *kind);
        for (maker, by) in shop.makers() {
            let arguments = [&["-n", "USER"], *arguments].concat();
            let certificate = shop.certificate(maker, &name, &arguments);
            let certified = key.with_certificate(&certificate).unwrap();
            judges.agree(&format!("{kind:?} {arguments:?} {by}"), &certified, *verdict, &mut failed);
        }
    }
    all_agreed(&failed);
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

type Change = fn(CertificateBuilder) -> CertificateBuilder;

/// What `ssh-keygen` makes nobody, and an authority of another make may.
const ODD: &[(&str, Change, Verdict)] = &[
    ("never valid", |c| c.valid_after(at(4_000_000_000)).valid_before(at(1_600_000_000)), NOT_YET),
    ("expired since ever", |c| c.valid_before(at(0)), EXPIRED),
    ("from no network", |c| c.source_address("127.0.0.1/8"), NO_NETWORK),
    ("from a name", |c| c.source_address("localhost"), NO_NETWORK),
    ("from a pattern", |c| c.source_address("127.*"), NO_NETWORK),
    ("from nowhere", |c| c.source_address(""), NO_NETWORK),
    ("no permission at all, but one", |c| c.no_extensions().extension("permit-pty", None), TERMINAL),
    (
        "a demand with more than it takes",
        |c| c.critical_option("verify-required", Some(b"x")),
        Out(
            "Certificate option \"verify-required\" corrupt (extra data)",
            "the certificate demands verify-required, which is not understood",
        ),
    ),
    (
        "a demand with less than it takes",
        |c| c.critical_option("force-command", None),
        Out("arse \"force-command\"", "the certificate demands force-command, which is not understood"),
    ),
    (
        "no list of addresses",
        |c| c.critical_option("source-address", None),
        Out("arse \"source-address\"", "the certificate demands source-address, which is not understood"),
    ),
    (
        "an extension with more than it takes",
        |c| c.extension("permit-pty", Some(b"x")),
        Out(
            "Certificate option \"permit-pty\" corrupt (extra data)",
            "the certificate's extension permit-pty holds what is not understood",
        ),
    ),
    (
        "the flag of no touch with a value",
        |c| c.extension("no-touch-required", Some(b"")),
        Out(
            "Certificate option \"no-touch-required\" corrupt (extra data)",
            "extension no-touch-required holds",
        ),
    ),
    ("an id with a bell", |c| c.key_id("id \"with\" \n odd \u{7} characters"), PLAIN),
    ("two demands", |c| c.critical_option("a", None).critical_option("b", None), demands!("a")),
    (
        "a known demand's name in capitals",
        |c| c.critical_option("Verify-Required", None),
        demands!("Verify-Required"),
    ),
];

#[test]
fn certificates_that_ssh_keygen_makes_nobody() {
    let _watch = given::within(300);
    let Some(judges) = Judges::new(&[]) else { return };
    let (authority, key) = (given::host_key(), given::host_key());
    judges.write("authorities", &authority.public_key().to_line());
    let mut failed = Vec::new();
    let plain = || CertificateBuilder::user(key.public_key());
    let mut agree = |what: &str, builder: CertificateBuilder, verdict| {
        let certified = key.with_certificate(&builder.sign(&authority).unwrap()).unwrap();
        judges.agree(what, &certified, verdict, &mut failed);
    };
    for (what, change, verdict) in ODD {
        agree(what, change(plain().principal(user())), *verdict);
    }
    agree("in upper case", plain().principal(user().to_uppercase()), OTHERS);
    agree("an empty name", plain().principal(""), OTHERS);
    all_agreed(&failed);
}

/// A certificate that somebody has changed after it was signed, by a client that does not look.
#[test]
fn a_changed_certificate() {
    let _watch = given::within(300);
    let Some(judges) = Judges::new(&[]) else { return };
    let (authority, key) = (given::host_key(), given::host_key());
    judges.write("authorities", &authority.public_key().to_line());
    let folder = Folder::new();
    key.write_private_key_file(folder.file("id"), None).unwrap();
    let certificate = CertificateBuilder::user(key.public_key()).principal(user()).sign(&authority).unwrap();
    let line = certificate.to_line();
    // In the middle of its random bytes, which are signed like all else.
    let mut changed = line.clone().into_bytes();
    let place = line.find(' ').unwrap() + 70;
    changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
    let reasons = ["incorrect signature", "a public key is not read"];
    for (line, lets_in) in [(line.as_bytes(), true), (&changed, false)] {
        fs::write(folder.file("id-cert.pub"), line).unwrap();
        for ((name, server), reason) in judges.servers.iter().zip(reasons) {
            let before = server.log().len();
            let spec = json!({
                "host": "127.0.0.1", "port": server.port(), "user": user(), "command": "echo yes",
                "key": folder.file("id"), "certificate": folder.file("id-cert.pub"),
            });
            let Some(answer) = Python::Paramiko.client(&spec) else { return };
            assert_eq!(answer["stdout"] == "yes\n", lets_in, "{name}: {answer}");
            if !lets_in {
                logged(server, before, reason).unwrap();
            }
        }
    }
}

/// Where the client finds its key and certificate as `ssh` does.
#[test]
fn a_certificate_beside_its_key_file() {
    let _watch = given::within(300);
    let Some(judges) = Judges::new(&[]) else { return };
    let (authority, key) = (given::host_key(), given::host_key());
    judges.write("authorities", &authority.public_key().to_line());
    let folder = Folder::new();
    let path: PathBuf = folder.file("id");
    key.write_private_key_file(&path, None).unwrap();
    let certificate = CertificateBuilder::user(key.public_key()).principal(user()).sign(&authority).unwrap();
    for (certificate, lets_in) in [(None, false), (Some(&certificate), true)] {
        if let Some(certificate) = certificate {
            fs::write(folder.file("id-cert.pub"), certificate.to_line()).unwrap();
        }
        for (name, server) in &judges.servers {
            let client = given::client().username(&user()).key_file(&path, None);
            let connected = client.connect(&format!("127.0.0.1:{}", server.port()));
            assert_eq!(connected.is_ok(), lets_in, "{name}");
        }
    }
}
