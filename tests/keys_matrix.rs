//! Key files against the programs that own the formats: what ssh-keygen, puttygen and openssl write is
//! read here, what is written here they read; every key type, format, and with and without passphrase.
//! What a program does not have stands in `lacking.rs`.

#![cfg(unix)]

#[path = "keys_matrix/asyncssh.rs"]
mod asyncssh;
#[path = "keys_matrix/bounds.rs"]
mod bounds;
#[path = "keys_matrix/lacking.rs"]
mod lacking;
mod peers;
#[path = "keys_matrix/private.rs"]
mod private;
#[path = "keys_matrix/public.rs"]
mod public;
#[path = "keys_matrix/signatures.rs"]
mod signatures;
mod watch;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use feramiko::{KeyError, KeyFormat, OpensshParams, PKey, PublicKey, Secret};

const SECRET: &str = "open sesame";
const COMMENT: &str = "someone@somewhere here";

/// Key types, as ssh-keygen's -t and -b have them; puttygen makes the last, which ssh-keygen has not.
const KINDS: &[(&str, &str)] = &[
    ("ed25519", "256"),
    ("ecdsa", "256"),
    ("ecdsa", "384"),
    ("ecdsa", "521"),
    ("rsa", "2048"),
    ("dsa", "1024"),
    ("ed448", "448"),
];

/// The ciphers of OpenSSH's format.
const CIPHERS: [&str; 10] = [
    "aes256-ctr",
    "aes192-ctr",
    "aes128-ctr",
    "aes256-cbc",
    "aes192-cbc",
    "aes128-cbc",
    "3des-cbc",
    "aes256-gcm@openssh.com",
    "aes128-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
];

/// OpenSSH's format, at the least cost.
fn openssh(cipher: &str) -> KeyFormat {
    KeyFormat::Openssh(OpensshParams { cipher: cipher.to_owned(), rounds: 1 })
}

/// A folder with a key in it, in OpenSSH's format, and a file for each passphrase.
struct Kit {
    folder: tempfile::TempDir,
    kind: &'static str,
    public: PublicKey,
}

impl Kit {
    fn new((kind, bits): (&'static str, &'static str)) -> Option<Self> {
        peers::require("ssh-keygen", peers::program("ssh-keygen"))?;
        let folder = tempfile::tempdir().unwrap();
        let kit = |public| Self { folder, kind, public };
        let path = kit(PublicKey::from_line(ANY).unwrap().0);
        fs::write(path.path("pass"), SECRET).unwrap();
        fs::write(path.path("nopass"), "").unwrap();
        if kind == "ed448" {
            peers::require("puttygen", peers::program("puttygen"))?;
            let make = ["-q", "-t", kind, "-C", COMMENT, "--new-passphrase", "nopass"];
            path.run("puttygen", &[&make[..], &["-O", "private-openssh", "-o", "key"]].concat());
            path.run("puttygen", &["key", "-L", "-o", "key.pub"]);
        } else {
            path.run("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", "", "-C", COMMENT, "-f", "key"]);
        }
        let (public, comment) = PublicKey::from_file(path.path("key.pub")).unwrap();
        assert_eq!(comment, COMMENT);
        Some(Self { public, ..path })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How a program ends that runs in the folder.
    fn output(&self, program: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new(program);
        peers::output(command.args(arguments).current_dir(self.folder.path()), input)
    }

    /// Runs a program, which must succeed; what it printed.
    fn run_with(&self, program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = self.output(program, arguments, input);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {program} {arguments:?}: {said}", self.kind);
        output.stdout
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        self.run_with(program, arguments, b"")
    }

    /// The key as another file, made by ssh-keygen: format and passphrase changed in place.
    fn converted(&self, options: &[&str], passphrase: &str) -> String {
        let name = format!("{}{}", options.concat(), passphrase.len());
        fs::copy(self.path("key"), self.path(&name)).unwrap();
        let change = ["-q", "-p", "-a", "1", "-P", "", "-N", passphrase, "-f", &name];
        self.run("ssh-keygen", &[&change[..], options].concat());
        name
    }

    /// Whether the key is on an Edwards curve: PKCS#8 alone has such keys besides OpenSSH and PuTTY.
    fn is_edwards(&self) -> bool {
        self.kind.starts_with("ed")
    }

    /// Reads a file and holds it against the key.
    fn check(&self, name: &str, encrypted: bool) -> PKey {
        let path = self.path(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let secret = Some(SECRET).filter(|_| encrypted);
        let key =
            PKey::from_file(&path, secret).unwrap_or_else(|error| panic!("{} {name}: {error}", self.kind));
        assert_eq!(*key.public_key(), self.public, "{name}");
        for algorithm in self.public.algorithms() {
            let signature = key.sign(algorithm, b"data").unwrap();
            self.public.verify(algorithm, b"data", &signature).unwrap();
        }
        if encrypted {
            let read = |secret| PKey::from_file(&path, secret).unwrap_err();
            assert_eq!(read(None), KeyError::PassphraseNeeded, "{name}");
            assert_eq!(read(Some("")), KeyError::PassphraseNeeded, "{name}");
            assert_eq!(read(Some("open sesam")), KeyError::WrongPassphrase, "{name}");
        }
        key
    }

    /// Writes the key in a format; the file's name.
    fn write(&self, format: &KeyFormat, passphrase: &str) -> String {
        let name = "written";
        let key = PKey::from_file(self.path("key"), None).unwrap();
        key.write_private_key_file_as(self.path(name), format, Some(&Secret::from(passphrase))).unwrap();
        assert_eq!(fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777, 0o600);
        self.check(name, !passphrase.is_empty());
        name.to_owned()
    }

    fn line(&self) -> String {
        self.public.to_line()
    }
}

/// A key for the moment in which there is no other.
const ANY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJSWp/GbbrEVaklLADqm1OxK0WaQaFOCLanAOQH+8rE0";

/// Runs `test` with a key of every type.
fn each(test: impl Fn(&Kit) + Sync) {
    each_of(KINDS, test);
}

/// Runs `test` with a key of every type that ssh-keygen has.
fn each_of_ssh_keygen(test: impl Fn(&Kit) + Sync) {
    let (last, others) = KINDS.split_last().unwrap();
    assert_eq!(last.0, "ed448");
    each_of(others, test);
}

fn each_of(kinds: &[(&'static str, &'static str)], test: impl Fn(&Kit) + Sync) {
    std::thread::scope(|scope| {
        for kind in kinds {
            let test = &test;
            scope.spawn(move || Kit::new(*kind).iter().for_each(test));
        }
    });
}

fn words(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
