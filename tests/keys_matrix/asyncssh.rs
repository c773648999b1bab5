//! Key files that AsyncSSH writes are read here, and those written here it reads; both verify what the
//! other has signed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use feramiko::{KeyError, KeyFormat, KeyKind, PKey, PublicKey, Secret};

use crate::{CIPHERS, SECRET, openssh, peers};

/// What AsyncSSH has; its names of types, which are the algorithms of all but RSA.
const KINDS: [(&str, KeyKind); 7] = [
    ("ssh-ed25519", KeyKind::Ed25519),
    ("ssh-ed448", KeyKind::Ed448),
    ("ecdsa-sha2-nistp256", KeyKind::EcdsaP256),
    ("ecdsa-sha2-nistp384", KeyKind::EcdsaP384),
    ("ecdsa-sha2-nistp521", KeyKind::EcdsaP521),
    ("ssh-rsa", KeyKind::Rsa(2048)),
    ("ssh-dss", KeyKind::Dss),
];

/// Runs a program of Python's with a folder and the passphrase; what it printed.
fn run(python: &Path, program: &str, folder: &Path) -> String {
    let arguments = ["-c", program, folder.to_str().unwrap(), SECRET];
    let output = peers::output(Command::new(python).args(arguments), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Writes every format that AsyncSSH has into a folder; the names say the type and whether the file is
/// encrypted. A signature's name ends in its algorithm.
const ASYNCSSH_WRITES: &str = r#"
import sys, asyncssh
folder, secret = sys.argv[1], sys.argv[2]
ecdsa = ('ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521')
for kind in ('ssh-ed25519', 'ssh-ed448', *ecdsa, 'ssh-rsa', 'ssh-dss'):
    edwards = kind.startswith('ssh-ed')
    key = asyncssh.generate_private_key(kind, 'a comment', **({'key_size': 2048} if kind == 'ssh-rsa' else {}))
    path = lambda *words: '/'.join([folder, '-'.join((kind,) + words)])
    for name in ('rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa') if kind == 'ssh-rsa' else (kind,):
        with open(path('signature.' + name), 'wb') as file:
            file.write(key.sign(b'data', name.encode()))
    key.write_public_key(path('public'))
    formats = [('openssh', dict(cipher_name=name, rounds=1)) for name in
               ('aes256-ctr', 'aes192-ctr', 'aes128-ctr', 'aes256-cbc', 'aes192-cbc', 'aes128-cbc', '3des-cbc',
                'aes256-gcm@openssh.com', 'aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com')]
    formats += [(form, dict(cipher_name=cipher, hash_name=name)) for form in ('pkcs8-pem', 'pkcs8-der')
                for cipher, name in (('aes128-cbc', 'sha1'), ('aes256-cbc', 'sha512'), ('des3-cbc', 'sha224'))]
    formats += [('pkcs8-der', dict(cipher_name='des3-cbc', hash_name='sha1', pbe_version=1))]
    if not edwards:
        formats += [('pkcs1-pem', dict(cipher_name=name)) for name in ('aes192-cbc', 'des3-cbc')]
        key.write_private_key(path('plain', 'pkcs1-der'), 'pkcs1-der')
    if kind == 'ssh-rsa':
        key.write_public_key(path('public', 'pkcs1-der'), 'pkcs1-der')
    for at, (name, options) in enumerate(formats):
        key.write_private_key(path('plain', str(at)), name)
        key.write_private_key(path('sealed', str(at)), name, secret, **options)
    for name in ('rfc4716', 'pkcs8-der', 'pkcs8-pem'):
        key.write_public_key(path('public', name), name)
    key.append_private_key(folder + '/several', 'openssh' if edwards else 'pkcs1-pem')
"#;

#[test]
fn what_asyncssh_writes() {
    let Some(python) = peers::require("AsyncSSH", peers::python()) else { return };
    let folder = tempfile::tempdir().unwrap();
    run(&python, ASYNCSSH_WRITES, folder.path());
    let path = |name: &str| folder.path().join(name);
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let kinds = KINDS.map(|(kind, _)| kind);
    let publics = kinds.map(|kind| PublicKey::from_file(path(&format!("{kind}-public"))).unwrap().0);
    let mut count = 0;
    for name in names.iter().map(|name| name.to_str().unwrap()).filter(|name| *name != "several") {
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
        let at = kinds.iter().position(|kind| name.starts_with(kind)).unwrap();
        if let Some((_, algorithm)) = name.split_once("signature.") {
            publics[at].verify(algorithm, b"data", &fs::read(path(name)).unwrap()).unwrap();
        } else if name.contains("public") {
            assert_eq!(PublicKey::from_file(path(name)).unwrap().0, publics[at], "{name}");
        } else {
            let secret = Some(SECRET).filter(|_| name.contains("sealed"));
            let key = PKey::from_file(path(name), secret).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(*key.public_key(), publics[at], "{name}");
        }
        count += 1;
    }
    // Per type 34 private files in OpenSSH's format and PKCS#8, four public ones, a signature; the five
    // with PKCS#1 and SEC1 five more; RSA two more signatures and a public file.
    assert_eq!(count, 7 * 39 + 5 * 5 + 3);
    let several = PKey::all_from_bytes(&fs::read(path("several")).unwrap(), None).unwrap();
    assert!(several.iter().map(PKey::public_key).eq(&publics));
}

/// Says the public key of every file in a folder, after it has verified the signatures beside it, which
/// begin with its name.
const ASYNCSSH_READS: &str = r#"
import os, sys, asyncssh
folder, secret = sys.argv[1], sys.argv[2]
for name in sorted(os.listdir(folder + '/keys')):
    key = asyncssh.read_private_key(folder + '/keys/' + name, secret if 'sealed' in name else None)
    mine = [other for other in os.listdir(folder + '/signatures') if other.startswith(name + '.')]
    for other in mine:
        with open(folder + '/signatures/' + other, 'rb') as file:
            if not key.convert_to_public().verify(b'data', file.read()):
                sys.exit(other + ' is wrong')
    print(key.export_public_key().decode().split()[1], len(mine))
"#;

#[test]
fn what_asyncssh_reads() {
    let Some(python) = peers::require("AsyncSSH", peers::python()) else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["keys", "signatures"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    let mut wanted = Vec::new();
    for (_, kind) in KINDS {
        let key = PKey::generate(kind).unwrap();
        let others = [KeyFormat::Pem, KeyFormat::Der, KeyFormat::Pkcs8, KeyFormat::Pkcs8Der];
        for format in CIPHERS.into_iter().map(openssh).chain(others) {
            for passphrase in ["", SECRET] {
                let what = if passphrase.is_empty() { "plain" } else { "sealed" };
                let name = format!("{:03}-{what}", wanted.len());
                let path = folder.path().join("keys").join(&name);
                match key.write_private_key_file_as(path, &format, Some(&Secret::from(passphrase))) {
                    Ok(()) => {}
                    Err(KeyError::Unsupported(_)) => continue,
                    Err(error) => panic!("{kind:?} {format:?}: {error}"),
                }
                let algorithms = key.public_key().algorithms();
                for algorithm in algorithms {
                    let path = folder.path().join("signatures").join(format!("{name}.{algorithm}"));
                    fs::write(path, key.sign(algorithm, b"data").unwrap()).unwrap();
                }
                wanted.push(format!("{} {}", key.public_key().base64(), algorithms.len()));
            }
        }
    }
    // All but PKCS#1 and SEC1 of Edwards curves, and those encrypted in DER.
    assert_eq!(wanted.len(), 7 * 24 + 5 * 3);
    let printed = run(&python, ASYNCSSH_READS, folder.path());
    assert_eq!(printed.lines().collect::<Vec<_>>(), wanted);
}

/// Says how many keys there are in each file, or that it reads none.
const ASYNCSSH_COUNTS: &str = r#"
import os, sys, asyncssh
for name in ('openssh', 'pem', 'pkcs8'):
    try:
        print(name, len(asyncssh.read_private_key_list(sys.argv[1] + '/' + name)))
    except asyncssh.KeyImportError as error:
        print(name, error)
"#;

#[test]
fn several_keys_in_one_file() {
    let Some(python) = peers::require("AsyncSSH", peers::python()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let keys = [KeyKind::EcdsaP256, KeyKind::Rsa(2048)].map(|kind| PKey::generate(kind).unwrap());
    for (name, format) in
        [("openssh", KeyFormat::default()), ("pem", KeyFormat::Pem), ("pkcs8", KeyFormat::Pkcs8)]
    {
        PKey::write_all_as(&keys, folder.path().join(name), &format, None).unwrap();
    }
    // It reads several blocks, but not several keys in one.
    let printed = run(&python, ASYNCSSH_COUNTS, folder.path());
    assert_eq!(printed, "openssh Invalid OpenSSH private key\npem 2\npkcs8 2\n");
}
