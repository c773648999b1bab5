//! OpenSSH's sshd and ours over the same files: lines of authorized_keys, and certificates, must be
//! judged alike and have the same effect.

#![cfg(unix)]

mod given;
mod peers;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use feramiko::{CertificateBuilder, Error, IssuedBy, KeyKind, PKey, PtyRequest, PublicKey, RevokedKeys};
use peers::{Folder, Keys, Server, example, keeper, sshd, start, user};

/// Both servers and the files that they read at every login.
struct Judges {
    servers: [(&'static str, Server); 2],
    folder: Folder,
}

impl Judges {
    /// None without an sshd.
    fn new() -> Option<Self> {
        let (host, own) = (Keys::named("host")?, Keys::named("user")?);
        let folder = Folder::new();
        for name in ["keys", "authorities", "principals", "revoked"] {
            fs::write(folder.file(name), "").unwrap();
        }
        let path = |name: &str| folder.file(name).display().to_string();
        let theirs = sshd(
            &host,
            &own,
            &format!(
                "AuthorizedKeysFile {}\nTrustedUserCAKeys {}\nRevokedKeys {}\nPermitUserEnvironment yes\n\
                 MaxAuthTries 20\nCASignatureAlgorithms -ecdsa-sha2-nistp521\n",
                path("keys"),
                path("authorities"),
                path("revoked")
            ),
        )?;
        let options = [
            format!("TrustedUserCAKeys={}", path("authorities")),
            format!("RevokedKeys={}", path("revoked")),
            "PermitUserEnvironment=yes".to_owned(),
            "CASignatureAlgorithms=-ecdsa-sha2-nistp521".to_owned(),
        ];
        let ours = start("our sshd", |_, port| {
            let mut command = keeper(r#""$@""#);
            command.arg(example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1", "-h"]);
            command.arg(host.private("ed25519")).arg("-a").arg(path("keys"));
            options.iter().for_each(|option| {
                command.args(["-o", option]);
            });
            (command, "listening on".to_owned())
        });
        Some(Self { servers: [("sshd", theirs), ("ours", ours)], folder })
    }

    fn write(&self, name: &str, text: &(impl AsRef<[u8]> + ?Sized)) {
        fs::write(self.folder.file(name), text).unwrap();
    }

    /// What each makes of a login with `key`: nothing when it is refused, else what two commands
    /// print, and whether a terminal is given.
    fn judge(&self, key: &PKey) -> [Option<String>; 2] {
        [0, 1].map(|at| effect(&self.servers[at].1, key))
    }

    /// Both must let in, or refuse, and then do the same.
    fn agree(&self, what: &str, key: &PKey, lets_in: Option<&str>, failed: &mut Vec<String>) {
        let [theirs, ours] = self.judge(key);
        let expected = lets_in.is_none_or(|part| theirs.as_ref().is_some_and(|shown| shown.contains(part)));
        if theirs != ours || theirs.is_some() != lets_in.is_some() || !expected {
            failed.push(format!("{what}: sshd {theirs:?}, ours {ours:?}, expected {lets_in:?}"));
        }
    }
}

fn effect(server: &Server, key: &PKey) -> Option<String> {
    let address = format!("127.0.0.1:{}", server.port());
    let client = match given::client().username(&user()).key(key.clone()).connect(&address) {
        Ok(client) => client,
        Err(Error::Auth { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    let output = client.output("echo plain $V $W $SSH_ORIGINAL_COMMAND").unwrap();
    let terminal = client.command("test -t 0 && echo tty").get_pty(PtyRequest::new("vt100", 80, 24)).output();
    let terminal = match terminal {
        // The user's start-up files may complain before.
        Ok(output) => {
            format!("{:?}", output.stdout_text().unwrap().trim().lines().last().unwrap_or_default())
        }
        Err(Error::RequestRefused(_)) => "refused".to_owned(),
        Err(error) => panic!("{error}"),
    };
    Some(format!("{:?} tty {terminal}", output.stdout_text().unwrap()))
}

const PLAIN: Option<&str> = Some("plain");
const FORCED: Option<&str> = Some("forced");

/// Options before a key, and what both must show of it; nothing when they must refuse the key.
const LINES: &[(&str, Option<&str>)] = &[
    ("", PLAIN),
    ("restrict", Some("refused")),
    ("RESTRICT", Some("refused")),
    ("restrict,pty", Some("\"tty\"")),
    ("pty,restrict", Some("refused")),
    ("no-pty", Some("refused")),
    ("No-Pty", Some("refused")),
    ("no-pty,pty", Some("\"tty\"")),
    ("pty", Some("\"tty\"")),
    ("no-port-forwarding", PLAIN),
    ("port-forwarding", PLAIN),
    ("no-agent-forwarding", PLAIN),
    ("agent-forwarding", PLAIN),
    ("no-X11-forwarding", PLAIN),
    ("no-x11-forwarding", PLAIN),
    ("X11-forwarding", PLAIN),
    ("no-user-rc", PLAIN),
    ("user-rc", PLAIN),
    ("no-touch-required", PLAIN),
    ("touch-required", PLAIN),
    ("verify-required", PLAIN),
    ("restrict,no-touch-required,verify-required", Some("refused")),
    ("command=\"echo forced $SSH_ORIGINAL_COMMAND\"", FORCED),
    ("command=\"echo forced\",no-pty", Some("refused")),
    ("command=\"echo forced \\\"a  b\\\"\"", Some("a  b")),
    ("command=\"echo forced, and a comma\"", Some("and a comma")),
    ("COMMAND=\"echo forced\"", FORCED),
    ("command=\"echo forced\",command=\"echo twice\"", None),
    ("command=\"echo forced", None),
    ("command=echo", None),
    ("command", None),
    ("environment=\"V=value\"", Some("plain value")),
    ("environment=\"V=a\",environment=\"W=b\"", Some("plain a b")),
    ("environment=\"V=first\",environment=\"V=second\"", Some("plain first")),
    ("environment=\"V=a=b\"", Some("plain a=b")),
    ("environment=\"V=\"", PLAIN),
    ("environment=\"V\"", None),
    ("environment=\"V W=x\"", None),
    ("environment=\"V-W=x\"", None),
    ("from=\"127.0.0.1\"", PLAIN),
    ("from=\"127.0.0.*\"", PLAIN),
    ("from=\"127.0.0.0/8\"", PLAIN),
    ("from=\"10.0.0.0/8\"", None),
    ("from=\"10.0.0.0/8,127.0.0.1\"", PLAIN),
    ("from=\"*,!127.0.0.1\"", None),
    ("from=\"!127.0.0.1\"", None),
    ("from=\"!10.0.0.0/8\"", None),
    ("from=\"*\"", PLAIN),
    ("from=\"somewhere.example.org\"", None),
    ("from=\"::1\"", None),
    ("from=\"127.0.0.?\"", PLAIN),
    ("from=\"127.*.0.?,!10.0.0.?\"", PLAIN),
    ("from=\"127.0.0.0/8,!10.0.0.0/8\"", PLAIN),
    ("from=\"127.0.0.0/8,!127.0.0.1/8\"", None),
    ("from=\"127.0.0.0/8,!10.0.0.1/8\"", None),
    ("from=\"127.0.0.0/8,!127.0.0.1/33\"", None),
    ("from=\"!127.0.0.1/8,127.0.0.1\"", None),
    ("from=\"127.0.0.1,10.0.0.1/8\"", None),
    ("from=\"127.0.0.1,!\"", None),
    ("from=\"127.0.0.1,\"", None),
    ("from=\",127.0.0.1\"", None),
    ("from=\"127.0.0.1,!127.1\"", None),
    ("from", None),
    ("expiry-time=\"20990101\"", PLAIN),
    ("expiry-time=\"209901010000\"", PLAIN),
    ("expiry-time=\"20990101000000\"", PLAIN),
    ("expiry-time=\"20200101\"", None),
    ("expiry-time=\"202001010000\"", None),
    ("expiry-time=\"nonsense\"", None),
    ("expiry-time=\"\"", None),
    ("permitopen=\"localhost:80\"", PLAIN),
    ("permitopen=\"[::1]:80\",permitopen=\"localhost:*\"", PLAIN),
    ("permitopen=\"nonsense\"", None),
    ("permitopen=\"localhost:port\"", None),
    ("permitlisten=\"8080\"", PLAIN),
    ("permitlisten=\"localhost:8080\"", PLAIN),
    ("permitlisten=\"localhost:99999\"", None),
    ("tunnel=\"0\"", PLAIN),
    ("tunnel=\"any\"", PLAIN),
    ("tunnel=\"Any\"", PLAIN),
    ("tunnel=\"2147483645\"", PLAIN),
    ("tunnel=\"2147483646\"", None),
    ("tunnel=\"nonsense\"", None),
    ("tunnel=\"\"", None),
    ("principals=\"somebody\"", None),
    ("cert-authority", None),
    ("unheard-of", None),
    ("unheard-of=\"x\"", None),
    ("restrict,unheard-of", None),
    ("restrict,", Some("refused")),
    ("restrict,,pty", Some("\"tty\"")),
    (",restrict", Some("refused")),
    ("restrict pty", None),
    ("no-pty=\"x\"", None),
];

#[test]
fn lines_of_authorized_keys() {
    let Some(judges) = Judges::new() else { return };
    let (key, other) = (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::Ed25519).unwrap());
    let line = key.public_key().to_line();
    let mut failed = Vec::new();
    for (options, expected) in LINES {
        let text = format!("# a comment\n\n{options} {line} somebody\n");
        judges.write("keys", &text);
        judges.agree(options, &key, *expected, &mut failed);
    }
    let others = other.public_key().to_line();
    for (what, text, expected) in [
        ("a bad line before", format!("nonsense\n{line}\n"), PLAIN),
        ("no end of line", line.clone(), PLAIN),
        ("spaces before", format!("   \t {line}\n"), PLAIN),
        ("tabs between", format!("restrict\t{line}\n"), Some("refused")),
        ("a comment only", format!("# {line}\n"), None),
        ("another key", format!("{others}\n"), None),
        ("refused, then let in", format!("from=\"10.*\" {line}\ncommand=\"echo forced\" {line}\n"), FORCED),
        ("the first that lets in", format!("no-pty {line}\npty {line}\n"), Some("refused")),
        ("another type's name", line.replace("ssh-ed25519", "ssh-rsa"), None),
        ("broken base64", line.replace("AAAA", "AA*A"), None),
        ("nothing", String::new(), None),
    ] {
        judges.write("keys", &text);
        judges.agree(what, &key, expected, &mut failed);
    }
    let latin = [b"command=\"echo forced # \xe9\" ", line.as_bytes(), b" caf\xe9\n"].concat();
    judges.write("keys", &latin);
    judges.agree("a command and a comment in Latin-1", &key, FORCED, &mut failed);
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), failed.join("\n"));
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

type Change = fn(CertificateBuilder) -> CertificateBuilder;

/// What is done to a certificate for the user of these tests, and what both must show of it.
const CERTIFICATES: &[(&str, Change, Option<&str>)] = &[
    ("as it is", |c| c, Some("\"tty\"")),
    ("other principals too", |c| c.principal("root2").principal("x"), PLAIN),
    ("valid by now", |c| c.valid_after(at(1_600_000_000)).valid_before(at(4_000_000_000)), PLAIN),
    ("not yet valid", |c| c.valid_after(at(4_000_000_000)), None),
    ("expired", |c| c.valid_before(at(1_600_000_000)), None),
    ("never valid", |c| c.valid_after(at(4_000_000_000)).valid_before(at(1_600_000_000)), None),
    ("expired since ever", |c| c.valid_before(at(0)), None),
    ("no pty", |c| c.no_extension("permit-pty"), Some("refused")),
    ("no extensions", |c| c.no_extensions(), Some("refused")),
    ("no agent", |c| c.no_extension("permit-agent-forwarding"), PLAIN),
    ("no ports", |c| c.no_extension("permit-port-forwarding"), PLAIN),
    ("forced", |c| c.force_command("echo forced $SSH_ORIGINAL_COMMAND"), FORCED),
    ("forced, no pty", |c| c.force_command("echo forced").no_extensions(), Some("refused")),
    ("from here", |c| c.source_address("127.0.0.1"), PLAIN),
    ("from this network", |c| c.source_address("127.0.0.0/8"), PLAIN),
    ("from here or there", |c| c.source_address("10.0.0.0/8,127.0.0.1/32"), PLAIN),
    ("from elsewhere", |c| c.source_address("10.0.0.0/8"), None),
    ("from no network", |c| c.source_address("127.0.0.1/8"), None),
    ("from a name", |c| c.source_address("localhost"), None),
    ("from a pattern", |c| c.source_address("127.*"), None),
    ("from IPv6", |c| c.source_address("::1"), None),
    ("touch not required", |c| c.extension("no-touch-required", None), PLAIN),
    ("verify required", |c| c.critical_option("verify-required", None), PLAIN),
    ("an unknown extension", |c| c.extension("x@example.org", Some(b"y")), PLAIN),
    ("an unknown demand", |c| c.critical_option("x@example.org", Some(b"y")), None),
    ("an unknown flag", |c| c.critical_option("unknown", None), None),
    ("a serial", |c| c.serial(u64::MAX), PLAIN),
    ("an id", |c| c.key_id("id \"with\" \n odd \u{7} characters"), PLAIN),
];

#[test]
fn certificates_of_a_trusted_authority() {
    let Some(judges) = Judges::new() else { return };
    let name = user();
    let mut failed = Vec::new();
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP384, KeyKind::Rsa(2048)] {
        let authority = PKey::generate(kind).unwrap();
        judges.write("authorities", &format!("# ours\n{}\n", authority.public_key().to_line()));
        let key = PKey::generate(kind).unwrap();
        let certified = |certificate: PublicKey| key.with_certificate(&certificate).unwrap();
        let builder = || CertificateBuilder::user(key.public_key()).principal(&name);
        let few = if kind == KeyKind::Ed25519 { CERTIFICATES } else { &CERTIFICATES[..1] };
        for (what, change, expected) in few {
            let key = certified(change(builder()).sign(&authority).unwrap());
            judges.agree(what, &key, *expected, &mut failed);
        }
    }
    let authority = PKey::generate(KeyKind::Ed25519).unwrap();
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let plain = || CertificateBuilder::user(key.public_key());
    let mut agree = |what: &str, builder: CertificateBuilder, signer: &PKey, expected| {
        let certified = key.with_certificate(&builder.sign(signer).unwrap()).unwrap();
        judges.agree(what, &certified, expected, &mut failed);
    };
    let stranger = PKey::generate(KeyKind::Ed25519).unwrap();
    judges.write("authorities", &authority.public_key().to_line());
    agree("another authority", plain().principal(&name), &stranger, None);
    agree("no principals", plain(), &authority, None);
    agree("another's principal", plain().principal("somebody"), &authority, None);
    agree("a pattern as principal", plain().principal("*"), &authority, None);
    agree("in upper case", plain().principal(name.to_uppercase()), &authority, None);
    agree("a host's", CertificateBuilder::host(key.public_key()).principal(&name), &authority, None);
    agree("signed by itself", plain().principal(&name), &key, None);
    for (kind, expected) in [(KeyKind::EcdsaP256, PLAIN), (KeyKind::EcdsaP521, None)] {
        let authority = PKey::generate(kind).unwrap();
        judges.write("authorities", &authority.public_key().to_line());
        agree(
            "a signature that not every authority may make",
            plain().principal(&name),
            &authority,
            expected,
        );
    }
    let line = authority.public_key().to_line();
    judges.write("authorities", "");
    for (what, text, principal, expected) in [
        ("an authority's line", format!("cert-authority {line}"), &name[..], PLAIN),
        ("restricted", format!("cert-authority,restrict {line}"), &name, Some("refused")),
        ("forced", format!("cert-authority,command=\"echo forced\" {line}"), &name, FORCED),
        ("by principals", format!("cert-authority,principals=\"ci,web\" {line}"), "web", PLAIN),
        ("by principals, not the user", format!("cert-authority,principals=\"ci,web\" {line}"), &name, None),
        ("not for the user", format!("cert-authority {line}"), "web", None),
        ("a plain line", line.clone(), &name, None),
        ("from elsewhere", format!("cert-authority,from=\"10.*\" {line}"), &name, None),
        ("expired", format!("cert-authority,expiry-time=\"20200101\" {line}"), &name, None),
    ] {
        judges.write("keys", &text);
        agree(what, plain().principal(principal), &authority, expected);
    }
    judges.write("keys", &format!("cert-authority,command=\"echo forced\" {line}"));
    agree("forced twice alike", plain().principal(&name).force_command("echo forced"), &authority, FORCED);
    agree("forced differently", plain().principal(&name).force_command("echo else"), &authority, None);
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), failed.join("\n"));
}

/// What is revoked, by a list of ours, and what is not.
#[test]
fn revoked_keys_and_certificates() {
    let Some(judges) = Judges::new() else { return };
    let name = user();
    let (authority, key) = (given::host_key(), given::host_key());
    let builder = CertificateBuilder::user(key.public_key()).principal(&name).key_id("mine").serial(7);
    let certified = key.with_certificate(&builder.sign(&authority).unwrap()).unwrap();
    judges.write("keys", &key.public_key().to_line());
    judges.write("authorities", &authority.public_key().to_line());
    let by = Some(IssuedBy::Key(authority.public_key()));
    let other = given::host_key();
    let (own, others) = (key.public_key(), other.public_key());
    let line = |key: &PublicKey| key.to_line();
    let mut failed = Vec::new();
    for (what, specification, plain, certificate) in [
        ("nothing", String::new(), PLAIN, PLAIN),
        ("another key", line(others), PLAIN, PLAIN),
        ("the key", format!("key: {}", line(own)), None, None),
        ("its hash", format!("sha256: {}", line(own)), None, None),
        ("its old hash", format!("sha1: {}", line(own)), None, None),
        ("its fingerprint", format!("hash: {}", own.fingerprint()), None, None),
        ("the authority", format!("key: {}", line(authority.public_key())), PLAIN, None),
        ("the serial", "serial: 7".to_owned(), PLAIN, None),
        ("a range of serials", "serial: 5-9".to_owned(), PLAIN, None),
        ("other serials", "serial: 8-99".to_owned(), PLAIN, PLAIN),
        ("the id", "id: mine".to_owned(), PLAIN, None),
        ("another id", "id: min".to_owned(), PLAIN, PLAIN),
    ] {
        let mut list = RevokedKeys::new();
        list.revoke_specified(specification.as_bytes(), by).unwrap();
        list.write_file(judges.folder.file("revoked")).unwrap();
        judges.agree(what, &key, plain, &mut failed);
        judges.agree(&format!("{what}, certificate"), &certified, certificate, &mut failed);
    }
    for (what, text, lets_in) in [
        ("a plain list", line(own), None),
        ("a broken list", "nonsense".to_owned(), None),
        ("none", String::new(), PLAIN),
    ] {
        judges.write("revoked", &text);
        judges.agree(what, &key, lets_in, &mut failed);
    }
    fs::remove_file(judges.folder.file("revoked")).unwrap();
    judges.agree("no list", &key, None, &mut failed);
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), failed.join("\n"));
}

/// Where the client finds its key and certificate as `ssh` does.
#[test]
fn a_certificate_beside_its_key_file() {
    let Some(judges) = Judges::new() else { return };
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
