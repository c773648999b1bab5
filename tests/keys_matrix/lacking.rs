//! The cells of the matrix that a program does not fill, each with the reason. Every row is run: a program
//! that has learned it fails the test, and the row becomes one of the matrix.

use std::fs;

use feramiko::{KeyFormat, PKey, PpkParams, PpkVersion, PublicFormat, Secret};

use crate::{CIPHERS, KINDS, Kit, SECRET, each_of, openssh, peers};

/// What a program is given as `it`: a key file that it does not read.
enum File {
    /// Private, with this passphrase.
    Private(KeyFormat, &'static str),
    Public(PublicFormat),
    PublicDer(PublicFormat),
    /// Two keys in a block of OpenSSH's format.
    Several,
}

use File::{Private, Public, PublicDer, Several};

/// A cell: a reason, types of keys, a file, and a program that fails.
type Lack = (&'static str, &'static [&'static str], File, &'static [&'static str]);

/// Types of the kit.
const ALL: &[&str] = &["ed25519", "ecdsa", "rsa", "dsa", "ed448"];
const OPENSSH: &[&str] = &["ed25519", "ecdsa", "rsa", "dsa"];
const PEM: &[&str] = &["ecdsa", "rsa", "dsa"];
const ED25519: &[&str] = &["ed25519"];
const ED448: &[&str] = &["ed448"];

/// Programs that would read `it`.
const KEYGEN: &[&str] = &["ssh-keygen", "-y", "-P", "", "-f", "it"];
const KEYGEN_RFC4716: &[&str] = &["ssh-keygen", "-i", "-f", "it"];
const KEYGEN_PKCS8: &[&str] = &["ssh-keygen", "-i", "-m", "PKCS8", "-f", "it"];
const KEYGEN_LINE: &[&str] = &["ssh-keygen", "-l", "-f", "it"];
const PUTTYGEN: &[&str] = &[
    "puttygen",
    "it",
    "-O",
    "private-openssh-new",
    "-o",
    "out",
    "--old-passphrase",
    "pass",
    "--new-passphrase",
    "nopass",
];
const PUTTYGEN_PUBLIC: &[&str] = &["puttygen", "it", "-l"];
const OPENSSL: &[&str] = &["openssl", "pkey", "-in", "it", "-passin", "file:pass", "-noout"];
const OPENSSL_PUBLIC: &[&str] = &["openssl", "pkey", "-pubin", "-in", "it", "-noout"];

fn ppk(version: PpkVersion) -> File {
    Private(KeyFormat::Ppk(PpkParams { version, ..PpkParams::default() }), "")
}

fn table() -> Vec<Lack> {
    let mut rows: Vec<Lack> = vec![
        ("OpenSSH has no Ed448", ED448, Private(KeyFormat::default(), ""), KEYGEN),
        ("OpenSSH has no Ed448", ED448, Private(KeyFormat::Pkcs8, ""), KEYGEN),
        ("OpenSSH has no Ed448", ED448, Public(PublicFormat::Line), KEYGEN_LINE),
        ("OpenSSH has no Ed448", ED448, Public(PublicFormat::Rfc4716), KEYGEN_RFC4716),
        ("OpenSSH has no Ed448", ED448, Public(PublicFormat::Pkcs8), KEYGEN_PKCS8),
        ("OpenSSH has Ed25519 in its own format only", ED25519, Private(KeyFormat::Pkcs8, ""), KEYGEN),
        ("OpenSSH has Ed25519 in its own format only", ED25519, Public(PublicFormat::Pkcs8), KEYGEN_PKCS8),
        ("OpenSSH has no DER", PEM, Private(KeyFormat::Der, ""), KEYGEN),
        ("OpenSSH has no DER", OPENSSH, Private(KeyFormat::Pkcs8Der, ""), KEYGEN),
        ("OpenSSH has no DER", OPENSSH, PublicDer(PublicFormat::Pkcs8), KEYGEN_PKCS8),
        ("OpenSSH has no PPK", OPENSSH, ppk(PpkVersion::V2), KEYGEN),
        ("OpenSSH has no PPK", OPENSSH, ppk(PpkVersion::V3), KEYGEN),
        ("OpenSSH reads blocks of one key", OPENSSH, Several, KEYGEN),
        ("PuTTY reads blocks of one key", ALL, Several, PUTTYGEN),
        ("PuTTY has no PKCS#8", ALL, Private(KeyFormat::Pkcs8, ""), PUTTYGEN),
        ("PuTTY has no PKCS#8", ALL, Private(KeyFormat::Pkcs8, SECRET), PUTTYGEN),
        ("PuTTY has no PKCS#8", ALL, Public(PublicFormat::Pkcs8), PUTTYGEN_PUBLIC),
        ("PuTTY has no PKCS#1 for public keys", &["rsa"], Public(PublicFormat::Pem), PUTTYGEN_PUBLIC),
        ("PuTTY has no DER", PEM, Private(KeyFormat::Der, ""), PUTTYGEN),
        ("PuTTY has no DER", ALL, Private(KeyFormat::Pkcs8Der, ""), PUTTYGEN),
        ("PuTTY has no DER", ALL, PublicDer(PublicFormat::Pkcs8), PUTTYGEN_PUBLIC),
        ("OpenSSL has PEM and DER only", ALL, Private(KeyFormat::default(), ""), OPENSSL),
        ("OpenSSL has PEM and DER only", ALL, ppk(PpkVersion::V2), OPENSSL),
        ("OpenSSL has PEM and DER only", ALL, ppk(PpkVersion::V3), OPENSSL),
        ("OpenSSL has PEM and DER only", ALL, Public(PublicFormat::Line), OPENSSL_PUBLIC),
        ("OpenSSL has PEM and DER only", ALL, Public(PublicFormat::Rfc4716), OPENSSL_PUBLIC),
    ];
    // PuTTY has two ciphers of OpenSSH's format.
    for cipher in CIPHERS.into_iter().filter(|cipher| !["aes256-ctr", "aes256-cbc"].contains(cipher)) {
        rows.push(("PuTTY has no such cipher for files", ALL, Private(openssh(cipher), SECRET), PUTTYGEN));
    }
    rows
}

/// What others do not write: for each program its arguments, and the types of keys.
const NOT_WRITTEN: &[(&str, &[&str], &[&str])] = &[
    (
        "ssh.com's format has RSA and DSA only",
        &["ed25519", "ecdsa", "ed448"],
        &["puttygen", "key", "-O", "private-sshcom", "-o", "out", "--new-passphrase", "nopass"],
    ),
    (
        "OpenSSH has Ed25519 in its own format only",
        ED25519,
        &["ssh-keygen", "-e", "-m", "PKCS8", "-f", "key.pub"],
    ),
    ("PKCS#1 and SEC1 have no Edwards curves", ED25519, &["ssh-keygen", "-e", "-m", "PEM", "-f", "key.pub"]),
    ("OpenSSH has no Ed448", ED448, &["ssh-keygen", "-e", "-f", "key.pub"]),
    ("OpenSSH has no Ed448", ED448, &["ssh-keygen", "-q", "-t", "ed448", "-N", "", "-f", "out"]),
];

impl Kit {
    fn write_what(&self, file: &File) {
        let key = PKey::from_file(self.path("key"), None).unwrap();
        let written = match file {
            Private(format, passphrase) => {
                let secret = Secret::from(*passphrase);
                return key.write_private_key_file_as(self.path("it"), format, Some(&secret)).unwrap();
            }
            Several => {
                let keys = [key.clone(), key];
                return PKey::write_all_as(&keys, self.path("it"), &openssh("aes256-ctr"), None).unwrap();
            }
            Public(format) => self.public.to_format(*format, "").unwrap().into_bytes(),
            PublicDer(format) => self.public.to_der(*format).unwrap(),
        };
        fs::write(self.path("it"), written).unwrap();
    }

    /// Runs a program, which must fail for what it is given and not for how it is called.
    fn lacks(&self, reason: &str, command: &[&str]) {
        let (program, arguments) = command.split_first().unwrap();
        let output = self.output(program, arguments, b"");
        let said = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(!output.status.success(), "{} {program} {arguments:?} does it; {reason}", self.kind);
        assert!(!said.contains("usage") && !said.contains("no such file"), "{program} {arguments:?}: {said}");
    }
}

#[test]
fn what_no_program_does() {
    for program in ["ssh-keygen", "puttygen", "openssl"] {
        if peers::require(program, peers::program(program)).is_none() {
            return;
        }
    }
    let rows = table();
    each_of(KINDS, |kit| {
        for (reason, kinds, file, command) in &rows {
            if kinds.contains(&kit.kind) {
                kit.write_what(file);
                kit.lacks(reason, command);
            }
        }
        for (reason, kinds, command) in NOT_WRITTEN {
            if kinds.contains(&kit.kind) {
                kit.lacks(reason, command);
            }
        }
    });
}
