//! Key files that AsyncSSH writes are read here, and those written here it reads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use feramiko::{KeyError, KeyFormat, KeyKind, OpensshParams, PKey, PublicKey, Secret};

use crate::{SECRET, peers};

/// Writes every format that AsyncSSH has into a folder; the names say the type and whether the file is
/// encrypted.
const ASYNCSSH_WRITES: &str = r#"
import sys, asyncssh
folder, secret = sys.argv[1], sys.argv[2]
for kind, more in (('ssh-ed25519', {}), ('ecdsa-sha2-nistp384', {}), ('ssh-rsa', {'key_size': 2048})):
    key = asyncssh.generate_private_key(kind, 'a comment', **more)
    path = lambda *words: '/'.join([folder, '-'.join((kind,) + words)])
    key.write_public_key(path('public'))
    formats = [('openssh', dict(cipher_name=name, rounds=1)) for name in
               ('aes256-ctr', 'aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com', '3des-cbc')]
    formats += [(form, dict(cipher_name=cipher, hash_name=name)) for form in ('pkcs8-pem', 'pkcs8-der')
                for cipher, name in (('aes128-cbc', 'sha1'), ('aes256-cbc', 'sha512'), ('des3-cbc', 'sha224'))]
    formats += [('pkcs8-der', dict(cipher_name='des3-cbc', hash_name='sha1', pbe_version=1))]
    if kind != 'ssh-ed25519':
        formats += [('pkcs1-pem', dict(cipher_name=name)) for name in ('aes192-cbc', 'des3-cbc')]
        key.write_private_key(path('plain', 'pkcs1-der'), 'pkcs1-der')
        key.write_public_key(path('public', 'pkcs1-der'), 'pkcs1-der' if kind == 'ssh-rsa' else 'pkcs8-der')
    for at, (name, options) in enumerate(formats):
        key.write_private_key(path('plain', str(at)), name)
        key.write_private_key(path('sealed', str(at)), name, secret, **options)
    for name in ('rfc4716', 'pkcs8-der', 'pkcs8-pem'):
        key.write_public_key(path('public', name), name)
    key.append_private_key(folder + '/several', 'openssh' if kind == 'ssh-ed25519' else 'pkcs1-pem')
"#;

#[test]
fn what_asyncssh_writes() {
    let Some(python) = peers::require("AsyncSSH", peers::python()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["-c", ASYNCSSH_WRITES, folder.path().to_str().unwrap(), SECRET];
    let output = peers::output(Command::new(python).args(arguments), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = |name: &str| folder.path().join(name);
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let kinds = ["ssh-ed25519", "ecdsa-sha2-nistp384", "ssh-rsa"];
    let publics = kinds.map(|kind| PublicKey::from_file(path(&format!("{kind}-public"))).unwrap().0);
    let mut count = 0;
    for name in names.iter().map(|name| name.to_str().unwrap()).filter(|name| *name != "several") {
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
        let at = kinds.iter().position(|kind| name.starts_with(kind)).unwrap();
        if name.contains("public") {
            assert_eq!(PublicKey::from_file(path(name)).unwrap().0, publics[at], "{name}");
        } else {
            let secret = Some(SECRET).filter(|_| name.contains("sealed"));
            let key = PKey::from_file(path(name), secret).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(*key.public_key(), publics[at], "{name}");
        }
        count += 1;
    }
    assert!(count > 70, "{count}");
    let several = PKey::all_from_bytes(&fs::read(path("several")).unwrap(), None).unwrap();
    assert!(several.iter().map(PKey::public_key).eq(&publics));
}

/// Says the public key of every file in a folder.
const ASYNCSSH_READS: &str = r#"
import os, sys, asyncssh
folder, secret = sys.argv[1], sys.argv[2]
for name in sorted(os.listdir(folder)):
    key = asyncssh.read_private_key(os.path.join(folder, name), secret if 'sealed' in name else None)
    print(key.export_public_key().decode().split(' ')[1])
"#;

#[test]
fn what_asyncssh_reads() {
    let Some(python) = peers::require("AsyncSSH", peers::python()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut keys = Vec::new();
    for kind in [KeyKind::Ed25519, KeyKind::EcdsaP521, KeyKind::Rsa(2048)] {
        let key = PKey::generate(kind).unwrap();
        let openssh =
            |cipher: &str| KeyFormat::Openssh(OpensshParams { cipher: cipher.to_owned(), rounds: 1 });
        for format in [
            openssh("aes256-ctr"),
            openssh("aes128-gcm@openssh.com"),
            openssh("chacha20-poly1305@openssh.com"),
            KeyFormat::Pem,
            KeyFormat::Pkcs8,
            KeyFormat::Pkcs8Der,
        ] {
            for passphrase in ["", SECRET] {
                let what = if passphrase.is_empty() { "plain" } else { "sealed" };
                let path = folder.path().join(format!("{:03}-{what}", keys.len()));
                match key.write_private_key_file_as(path, &format, Some(&Secret::from(passphrase))) {
                    Ok(()) => keys.push(key.public_key().base64()),
                    Err(error) => assert!(matches!(error, KeyError::Unsupported(_)), "{error}"),
                }
            }
        }
    }
    let arguments = ["-c", ASYNCSSH_READS, folder.path().to_str().unwrap(), SECRET];
    let output = peers::output(Command::new(python).args(arguments), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(keys.len() == 34, "{}", keys.len());
    assert_eq!(String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>(), keys);
}
