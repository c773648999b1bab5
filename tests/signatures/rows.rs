//! The rows of the table of signatures, and a key for each.

use std::path::PathBuf;
use std::sync::OnceLock;

use feramiko::{CertificateBuilder, KeyFormat, KeyKind, PKey, PpkParams, PublicKey};

use crate::peers::{Folder, user};
use crate::token::{TOUCHED, Token};

/// Names of the rows, and which key they sign with.
pub(crate) const ROWS: &[(&str, &str)] = &[
    ("ssh-ed25519-cert-v01@openssh.com", "ed25519"),
    ("ecdsa-sha2-nistp256-cert-v01@openssh.com", "p256"),
    ("ecdsa-sha2-nistp384-cert-v01@openssh.com", "p384"),
    ("ecdsa-sha2-nistp521-cert-v01@openssh.com", "p521"),
    ("sk-ssh-ed25519-cert-v01@openssh.com", "sk-ed25519"),
    ("sk-ecdsa-sha2-nistp256-cert-v01@openssh.com", "sk-p256"),
    ("rsa-sha2-512-cert-v01@openssh.com", "rsa"),
    ("rsa-sha2-256-cert-v01@openssh.com", "rsa"),
    ("ssh-ed25519", "ed25519"),
    ("ecdsa-sha2-nistp256", "p256"),
    ("ecdsa-sha2-nistp384", "p384"),
    ("ecdsa-sha2-nistp521", "p521"),
    ("sk-ssh-ed25519@openssh.com", "sk-ed25519"),
    ("sk-ecdsa-sha2-nistp256@openssh.com", "sk-p256"),
    ("webauthn-sk-ecdsa-sha2-nistp256@openssh.com", "sk-p256"),
    ("rsa-sha2-512", "rsa"),
    ("rsa-sha2-256", "rsa"),
    ("ssh-ed448-cert-v01@openssh.com", "ed448"),
    ("ssh-ed448", "ed448"),
    ("ssh-rsa-cert-v01@openssh.com", "rsa"),
    ("ssh-rsa", "rsa"),
    ("ssh-dss-cert-v01@openssh.com", "dss"),
    ("ssh-dss", "dss"),
];

/// Keys that live in files.
pub(crate) const FILES: [&str; 7] = ["ed25519", "p256", "p384", "p521", "rsa", "ed448", "dss"];
/// Keys that tokens keep.
pub(crate) const TOKENS: [&str; 2] = ["sk-ed25519", "sk-p256"];

pub(crate) fn certified(row: &str) -> bool {
    row.ends_with("-cert-v01@openssh.com")
}

/// A key of each kind, made once.
pub(crate) fn key(name: &str) -> PKey {
    static KEYS: OnceLock<Vec<(&str, PKey)>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        // Paramiko finds nothing in a file whose comment and padding are both empty.
        let made = |kind| PKey::generate(kind).unwrap().with_comment("test").unwrap();
        vec![
            ("authority", made(KeyKind::Ed25519)),
            ("ed25519", made(KeyKind::Ed25519)),
            ("p256", made(KeyKind::EcdsaP256)),
            ("p384", made(KeyKind::EcdsaP384)),
            ("p521", made(KeyKind::EcdsaP521)),
            ("rsa", made(KeyKind::Rsa(2048))),
            ("ed448", made(KeyKind::Ed448)),
            ("dss", made(KeyKind::Dss)),
            ("sk-ed25519", Token::generate(KeyKind::Ed25519, TOUCHED)),
            ("sk-p256", Token::generate(KeyKind::EcdsaP256, TOUCHED)),
        ]
    });
    keys.iter().find(|(known, _)| *known == name).unwrap().1.clone()
}

fn with(key: &PKey, certificate: CertificateBuilder) -> PKey {
    key.with_certificate(&certificate.sign(&self::key("authority")).unwrap()).unwrap()
}

/// The key of a row as a host's, with a certificate if the row is one of certificates.
pub(crate) fn host_key(row: &str, name: &str) -> PKey {
    let key = key(name);
    let host = CertificateBuilder::host(key.public_key()).principal("127.0.0.1");
    if certified(row) { with(&key, host) } else { key }
}

/// The same as a user's.
pub(crate) fn user_key(row: &str, name: &str) -> PKey {
    let key = key(name);
    let own = CertificateBuilder::user(key.public_key()).principal(user());
    if certified(row) { with(&key, own) } else { key }
}

/// Lines of known_hosts that trust all the keys, and the authority.
pub(crate) fn known_hosts() -> String {
    let every = ROWS.iter().map(|(_, name)| format!("* {}\n", key(name).public_key().to_line()));
    every.chain([format!("@cert-authority * {}\n", key("authority").public_key().to_line())]).collect()
}

/// Lines of authorized_keys with all of them.
pub(crate) fn authorized_keys() -> String {
    ROWS.iter().map(|(_, name)| key(name).public_key().to_line() + "\n").collect()
}

/// All the keys as files: in OpenSSH's form, in PuTTY's, and certificates for hosts and for users.
pub(crate) fn write(folder: &Folder) {
    for name in FILES {
        let key = key(name);
        key.write_private_key_file(folder.file(name), None).unwrap();
        let ppk = KeyFormat::Ppk(PpkParams::default());
        key.write_private_key_file_as(folder.file(&format!("{name}.ppk")), &ppk, None).unwrap();
    }
    for name in FILES.iter().chain(&TOKENS) {
        let key = key(name);
        let line = |key: &PublicKey| key.to_line() + "\n";
        std::fs::write(folder.file(&format!("{name}.pub")), line(key.public_key())).unwrap();
        let row = "-cert-v01@openssh.com";
        let (host, user) = (host_key(row, name), user_key(row, name));
        std::fs::write(folder.file(&format!("{name}-host.pub")), line(host.public_key())).unwrap();
        std::fs::write(folder.file(&format!("{name}-user.pub")), line(user.public_key())).unwrap();
    }
    let authority = key("authority").public_key().to_line();
    // PuTTY has its own file for each authority.
    std::fs::create_dir_all(folder.file(".putty/sshhostcas")).unwrap();
    let putty = format!(
        "PublicKey={}\nValidity=*\nPermitRSASHA1=1\nPermitRSASHA256=1\nPermitRSASHA512=1\n",
        key("authority").public_key().base64()
    );
    std::fs::write(folder.file(".putty/sshhostcas/authority"), putty).unwrap();
    std::fs::write(folder.file("authority.pub"), authority + "\n").unwrap();
    std::fs::write(folder.file("known_hosts"), known_hosts()).unwrap();
    std::fs::write(folder.file("authorized_keys"), authorized_keys()).unwrap();
}

/// The certificate of a row's key for a user, in its file.
pub(crate) fn user_certificate(folder: &Folder, row: &str, name: &str) -> Option<PathBuf> {
    certified(row).then(|| folder.file(&format!("{name}-user.pub")))
}
