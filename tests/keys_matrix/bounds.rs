//! Files that are too large are refused before they are read, and those that are as large as may be take
//! memory in proportion: measured, each in a process of its own.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use feramiko::{
    AllowedSigners, AuthorizedKeys, HostKeys, KeyError, KeyKind, PKey, PublicKey, RevokedKeys,
    RevokedKeysError, SSHConfig, SshSignatureError,
};

use crate::watch::alone;

const MIB: u64 = 1024 * 1024;

/// What a reader says to a file that is too large.
type Refusal = fn(&Path) -> bool;

/// Every reader of the user's files; whether it said what is wrong.
const READERS: [(&str, Refusal); 9] = [
    ("HostKeys::load", |path| HostKeys::load(path).unwrap_err().kind() == ErrorKind::FileTooLarge),
    ("HostKeys::append", |path| {
        let error =
            HostKeys::append(path, "host", 22, PKey::generate(KeyKind::Ed25519).unwrap().public_key());
        error.unwrap_err().kind() == ErrorKind::FileTooLarge
    }),
    ("AuthorizedKeys::load", |path| {
        matches!(AuthorizedKeys::load(path), Err(KeyError::Io { kind: ErrorKind::FileTooLarge, .. }))
    }),
    ("AllowedSigners::from_file", |path| {
        matches!(
            AllowedSigners::from_file(path),
            Err(SshSignatureError::Io { kind: ErrorKind::FileTooLarge, .. })
        )
    }),
    ("RevokedKeys::from_file", |path| {
        matches!(
            RevokedKeys::from_file(path),
            Err(RevokedKeysError::Io { kind: ErrorKind::FileTooLarge, .. })
        )
    }),
    ("SSHConfig::from_file", |path| {
        SSHConfig::from_file(path).unwrap_err().to_string().contains("larger than")
    }),
    ("PKey::from_file", |path| is_key_too_large(&PKey::from_file(path, None).unwrap_err())),
    ("PKey::all_from_file", |path| is_key_too_large(&PKey::all_from_file(path, None).unwrap_err())),
    ("PublicKey::from_file", |path| is_key_too_large(&PublicKey::from_file(path).unwrap_err())),
];

fn is_key_too_large(error: &KeyError) -> bool {
    matches!(error, KeyError::InFile { error, .. } if **error == KeyError::Malformed("larger than any key file"))
}

#[test]
fn a_hundred_megabytes_are_refused_unread() {
    // What starting a thread and OpenSSL's tables take.
    alone("bounds::a_hundred_megabytes_are_refused_unread", 8, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        File::create(&path).unwrap().set_len(100 * MIB).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for (name, refused) in READERS {
            assert!(refused(&path), "{name}");
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 100 * MIB);
    });
}

/// As many lines of `line` as make a file of so many MiB.
fn lines(path: &Path, mib: u64, line: impl Fn(usize) -> String) -> usize {
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut left = usize::try_from(mib * MIB).unwrap();
    for number in 0.. {
        let line = line(number);
        if line.len() > left {
            return number;
        }
        file.write_all(line.as_bytes()).unwrap();
        left -= line.len();
    }
    unreachable!()
}

/// A line of the key whose public number is `number`.
fn key_line(number: usize) -> String {
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend([7; 24]);
    blob.extend(number.to_be_bytes());
    format!("ssh-ed25519 {}", openssl::base64::encode_block(&blob))
}

/// 64 MiB are accepted, and 100000 lines.
#[test]
fn the_largest_authorized_keys() {
    alone("bounds::the_largest_authorized_keys", 160, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authorized_keys");
        let comment = "c".repeat(600);
        let count = lines(&path, 64, |number| format!("{} {comment}\n", key_line(number)));
        let keys = AuthorizedKeys::load(&path).unwrap();
        assert!(keys.bad_lines().is_empty() && count > 95_000, "{count}");
    });
}

/// Each of them is told, up to the limit of lines.
#[test]
fn the_worst_authorized_keys() {
    alone("bounds::the_worst_authorized_keys", 160, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authorized_keys");
        lines(&path, 64, |_| "x\n".to_owned());
        assert_eq!(AuthorizedKeys::load(&path).unwrap().bad_lines().len(), 100_001);
    });
}

/// 16 MiB are accepted.
#[test]
fn the_largest_known_hosts() {
    alone("bounds::the_largest_known_hosts", 160, || {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("known_hosts");
        let count = lines(&path, 16, |number| format!("host{number} {}\n", key_line(number)));
        let hosts = HostKeys::load(&path).unwrap();
        assert_eq!(hosts.lookup(&format!("host{}", count - 1), 22).len(), 1);
    });
}
