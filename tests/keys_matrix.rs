//! Key files against the programs that own the formats: what ssh-keygen, puttygen and openssl write is
//! read here, what is written here they read; every key type, format, and with and without passphrase.

#![cfg(unix)]

#[path = "keys_matrix/asyncssh.rs"]
mod asyncssh;
mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use feramiko::{
    Argon2Kind, KeyError, KeyFormat, KeyKind, OpensshParams, PKey, PpkParams, PpkVersion, PublicFormat,
    PublicKey, Secret, SshSignature,
};

const SECRET: &str = "open sesame";
const COMMENT: &str = "someone@somewhere here";

/// Key types, as ssh-keygen's -t and -b have them.
const KINDS: &[(&str, &str)] = &[
    ("ed25519", "256"),
    ("ecdsa", "256"),
    ("ecdsa", "384"),
    ("ecdsa", "521"),
    ("rsa", "2048"),
    ("dsa", "1024"),
];

/// A folder with a key in it that ssh-keygen made, and a file for each passphrase.
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
        path.run("ssh-keygen", &["-q", "-t", kind, "-b", bits, "-N", "", "-C", COMMENT, "-f", "key"]);
        fs::write(path.path("pass"), SECRET).unwrap();
        fs::write(path.path("nopass"), "").unwrap();
        let (public, comment) = PublicKey::from_file(path.path("key.pub")).unwrap();
        assert_eq!(comment, COMMENT);
        Some(Self { public, ..path })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program in the folder, which must succeed; what it said.
    fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new(program);
        let output = peers::output(command.args(arguments).current_dir(self.folder.path()), "");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
        output.stdout
    }

    /// The key as another file, made by ssh-keygen: format and passphrase changed in place.
    fn converted(&self, format: &str, passphrase: &str) -> String {
        let name = format!("{format}{}", passphrase.len());
        fs::copy(self.path("key"), self.path(&name)).unwrap();
        self.run(
            "ssh-keygen",
            &["-q", "-p", "-a", "1", "-m", format, "-P", "", "-N", passphrase, "-f", &name],
        );
        name
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
    std::thread::scope(|scope| {
        for kind in KINDS {
            let test = &test;
            scope.spawn(move || Kit::new(*kind).iter().for_each(test));
        }
    });
}

fn words(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_ssh_keygen_writes() {
    each(|kit| {
        for format in ["RFC4716", "PEM", "PKCS8"] {
            if kit.kind == "ed25519" && format != "RFC4716" {
                continue;
            }
            for passphrase in ["", SECRET] {
                let name = kit.converted(format, passphrase);
                let key = kit.check(&name, !passphrase.is_empty());
                assert_eq!(key.comment(), if format == "RFC4716" { COMMENT } else { "" });
            }
        }
    });
}

#[test]
fn what_puttygen_writes() {
    if peers::require("puttygen", peers::program("puttygen")).is_none() {
        return;
    }
    each(|kit| {
        for (at, params) in [
            "version=2",
            "version=3,kdf=argon2id,passes=1",
            "version=3,kdf=argon2i,passes=2,memory=64",
            "version=3,kdf=argon2d,passes=3,memory=512,parallelism=4",
        ]
        .into_iter()
        .enumerate()
        {
            for new in ["nopass", "pass"] {
                let name = format!("{at}{new}");
                let arguments =
                    ["key", "-O", "private", "-o", &name, "--ppk-param", params, "--new-passphrase", new];
                kit.run("puttygen", &arguments);
                assert_eq!(kit.check(&name, new == "pass").comment(), COMMENT);
            }
        }
        kit.run("puttygen", &["key", "-O", "public", "-o", "exported"]);
        let exported = PublicKey::from_file(kit.path("exported")).unwrap();
        assert_eq!(exported, (kit.public.clone(), COMMENT.to_owned()));
        let others: &[&str] =
            // ssh.com's format has the others not.
            if ["rsa", "dsa"].contains(&kit.kind) { &["private-openssh", "private-sshcom"] } else { &["private-openssh"] };
        for format in others {
            for new in ["nopass", "pass"] {
                let name = format!("{format}{new}");
                kit.run("puttygen", &["key", "-O", format, "-o", &name, "--new-passphrase", new]);
                let key = kit.check(&name, new == "pass");
                assert_eq!(key.comment() == COMMENT, *format == "private-sshcom" || kit.kind == "ed25519");
            }
        }
    });
}

/// Has openssl read and write with what it calls legacy, such as single DES.
const OLD: &[&str] = &["-provider", "legacy", "-provider", "default"];

#[test]
fn what_openssl_writes() {
    if peers::require("openssl", peers::program("openssl")).is_none() {
        return;
    }
    each(|kit| {
        let key = PKey::from_file(kit.path("key"), None).unwrap();
        key.write_private_key_file_as(kit.path("p8"), &KeyFormat::Pkcs8, None).unwrap();
        let pass = format!("pass:{SECRET}");
        for (at, options) in [
            &["-v2", "aes-128-cbc"][..],
            &["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA1"],
            &["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512", "-iter", "70000"],
            &["-v2", "des3", "-v2prf", "hmacWithSHA384"],
            &["-scrypt", "-scrypt_N", "1024", "-scrypt_r", "8", "-scrypt_p", "2"],
            &["-v1", "PBE-SHA1-3DES"],
            &["-v1", "PBE-SHA1-2DES"],
            &["-v1", "PBE-MD5-DES"],
            &["-v1", "PBE-SHA1-DES"],
            &["-v1", "PBE-SHA1-RC4-128", "-iter", "1"],
            &["-v1", "PBE-SHA1-RC4-40"],
        ]
        .into_iter()
        .enumerate()
        {
            for form in ["PEM", "DER"] {
                let name = format!("{at}{form}");
                let mut arguments = vec!["pkcs8", "-topk8", "-in", "p8", "-out", &name];
                arguments.extend(["-outform", form, "-passout", &pass]);
                arguments.extend(options);
                arguments.extend(OLD);
                kit.run("openssl", &arguments);
                kit.check(&name, true);
            }
        }
        kit.run("openssl", &["pkcs8", "-topk8", "-nocrypt", "-in", "p8", "-outform", "DER", "-out", "plain"]);
        kit.check("plain", false);
        if kit.kind == "ed25519" {
            return;
        }
        let tool = if kit.kind == "rsa" { "rsa" } else { "ec" };
        let traditional: &[&str] = if kit.kind == "rsa" { &["-traditional"] } else { &[] };
        let convert = |more: &[&str], name: &str| {
            kit.run("openssl", &[&[tool, "-in", "p8", "-out", name], traditional, more].concat());
        };
        convert(&["-outform", "DER"], "der");
        kit.check("der", false);
        for cipher in ["-aes128", "-aes192", "-aes256", "-des3", "-des"] {
            convert(&[&[cipher, "-passout", &pass], OLD].concat(), cipher);
            kit.check(cipher, true);
        }
    });
}

/// PKCS#12's schemes are about text in UTF-16, which passphrases need not be.
#[test]
fn any_passphrase_in_the_schemes_of_pkcs12() {
    if peers::require("openssl", peers::program("openssl")).is_none() {
        return;
    }
    let Some(kit) = Kit::new(("ecdsa", "256")) else { return };
    let key = PKey::from_file(kit.path("key"), None).unwrap();
    key.write_private_key_file_as(kit.path("p8"), &KeyFormat::Pkcs8, None).unwrap();
    let long = "long ".repeat(30);
    for passphrase in ["x".as_bytes(), long.as_bytes(), "schön \u{1f511}".as_bytes(), b"sch\xf6n"] {
        fs::write(kit.path("pass"), passphrase).unwrap();
        let arguments = ["pkcs8", "-topk8", "-in", "p8", "-out", "old", "-v1", "PBE-SHA1-3DES"];
        kit.run("openssl", &[&arguments[..], &["-passout", "file:pass"]].concat());
        let read = PKey::from_bytes(&fs::read(kit.path("old")).unwrap(), Some(&Secret::from(passphrase)));
        assert_eq!(read.unwrap().public_key(), &kit.public, "{}", passphrase.escape_ascii());
    }
}

#[test]
fn what_ssh_keygen_reads() {
    each(|kit| {
        let openssh =
            |cipher: &str| KeyFormat::Openssh(OpensshParams { cipher: cipher.to_owned(), rounds: 1 });
        let mut formats = vec![openssh("aes256-ctr")];
        if kit.kind == "ed25519" {
            formats.extend([
                openssh("aes192-ctr"),
                openssh("aes128-ctr"),
                openssh("aes256-cbc"),
                openssh("aes192-cbc"),
                openssh("aes128-cbc"),
                openssh("3des-cbc"),
                openssh("aes256-gcm@openssh.com"),
                openssh("aes128-gcm@openssh.com"),
                openssh("chacha20-poly1305@openssh.com"),
            ]);
        } else {
            formats.extend([KeyFormat::Pem, KeyFormat::Pkcs8]);
        }
        for format in formats {
            for passphrase in ["", SECRET] {
                let name = kit.write(&format, passphrase);
                let line = kit.run("ssh-keygen", &["-y", "-P", passphrase, "-f", &name]);
                assert_eq!(words(&line), kit.line(), "{format:?}");
            }
        }
    });
}

#[test]
fn what_puttygen_reads() {
    if peers::require("puttygen", peers::program("puttygen")).is_none() {
        return;
    }
    each(|kit| {
        let three = |kind, memory, passes, parallelism| {
            KeyFormat::Ppk(PpkParams { version: PpkVersion::V3, kind, memory, passes, parallelism })
        };
        for format in [
            KeyFormat::Ppk(PpkParams { version: PpkVersion::V2, ..PpkParams::default() }),
            three(Argon2Kind::Id, 8192, 1, 1),
            three(Argon2Kind::I, 64, 3, 8),
            three(Argon2Kind::D, 8, 1, 1),
            KeyFormat::default(),
        ] {
            for (passphrase, file) in [("", "nopass"), (SECRET, "pass")] {
                let name = kit.write(&format, passphrase);
                // Into a format that it was not in, which needs all of it.
                let into = if format == KeyFormat::default() { "private" } else { "private-openssh-new" };
                let convert = [&name, "-O", into, "-o", "back", "--old-passphrase", file];
                kit.run("puttygen", &[&convert[..], &["--new-passphrase", "nopass"]].concat());
                assert_eq!(kit.check("back", false).comment(), COMMENT);
            }
        }
    });
}

#[test]
fn what_openssl_reads() {
    if peers::require("openssl", peers::program("openssl")).is_none() {
        return;
    }
    each(|kit| {
        let pem = kit.public.to_format(PublicFormat::Pkcs8, "").unwrap();
        for (format, form) in
            [(KeyFormat::Pkcs8, "PEM"), (KeyFormat::Pkcs8Der, "DER"), (KeyFormat::Pem, "PEM")]
        {
            if kit.kind == "ed25519" && format == KeyFormat::Pem {
                continue;
            }
            for passphrase in ["", SECRET] {
                let name = kit.write(&format, passphrase);
                let pass = format!("pass:{passphrase}");
                let public =
                    kit.run("openssl", &["pkey", "-in", &name, "-inform", form, "-passin", &pass, "-pubout"]);
                assert_eq!(String::from_utf8(public).unwrap(), pem);
            }
        }
    });
}

/// The same key, byte for byte, where the format leaves no choice.
#[test]
fn what_has_one_form_only_is_written_in_it() {
    each(|kit| {
        // ssh-keygen writes Ed25519 in its own format whatever is asked for.
        let formats = [("PEM", KeyFormat::Pem), ("PKCS8", KeyFormat::Pkcs8)];
        for (name, format) in formats.into_iter().filter(|_| kit.kind != "ed25519") {
            let names = [kit.write(&format, ""), kit.converted(name, "")];
            let [ours, theirs] = names.map(|name| fs::read_to_string(kit.path(&name)).unwrap());
            assert_eq!(ours, theirs, "{} {name}", kit.kind);
        }
    });
    if peers::require("puttygen", peers::program("puttygen")).is_none() {
        return;
    }
    each(|kit| {
        for (params, version) in [("version=2", PpkVersion::V2), ("version=3", PpkVersion::V3)] {
            for (passphrase, new) in [("", "nopass"), (SECRET, "pass")] {
                // Version 3 has a salt where it is encrypted.
                if version == PpkVersion::V3 && !passphrase.is_empty() {
                    continue;
                }
                let ppk = KeyFormat::Ppk(PpkParams { version, ..PpkParams::default() });
                let name = kit.write(&ppk, passphrase);
                let arguments =
                    ["key", "-O", "private", "-o", "theirs", "--ppk-param", params, "--new-passphrase", new];
                kit.run("puttygen", &arguments);
                let [ours, theirs] =
                    [&name, "theirs"].map(|name| fs::read_to_string(kit.path(name)).unwrap());
                assert_eq!(ours, theirs);
            }
        }
    });
}

#[test]
fn public_keys_are_written_as_ssh_keygen_does() {
    each(|kit| {
        for (name, format) in
            [("RFC4716", PublicFormat::Rfc4716), ("PKCS8", PublicFormat::Pkcs8), ("PEM", PublicFormat::Pem)]
        {
            let ours = if kit.kind == "ed25519" && format != PublicFormat::Rfc4716 {
                let ours = kit.public.to_format(format, "").unwrap();
                key_of_openssl(kit, &ours);
                ours
            } else {
                let theirs =
                    String::from_utf8(kit.run("ssh-keygen", &["-e", "-m", name, "-f", "key.pub"])).unwrap();
                let comment = theirs.split("Comment: \"").nth(1).and_then(|rest| rest.split('"').next());
                let ours = kit.public.to_format(format, comment.unwrap_or_default()).unwrap();
                assert_eq!(ours, theirs);
                fs::write(kit.path("exported"), &ours).unwrap();
                // It imports PKCS#1 only where it exports it: for RSA.
                let import = if kit.kind != "rsa" && name == "PEM" { "PKCS8" } else { name };
                let line = kit.run("ssh-keygen", &["-i", "-m", import, "-f", "exported"]);
                assert_eq!(words(&line), kit.line());
                assert_eq!(PublicKey::from_bytes(ours.as_bytes()).unwrap().1, comment.unwrap_or_default());
                ours
            };
            assert_eq!(PublicKey::from_bytes(ours.as_bytes()).unwrap().0, kit.public);
        }
        let line = fs::read_to_string(kit.path("key.pub")).unwrap();
        assert_eq!(kit.public.to_format(PublicFormat::Line, COMMENT).unwrap(), line);
    });
}

/// openssl takes the public key for what it is, and gives it back in DER.
fn key_of_openssl(kit: &Kit, pem: &str) {
    if peers::require("openssl", peers::program("openssl")).is_none() {
        return;
    }
    fs::write(kit.path("public.pem"), pem).unwrap();
    let arguments =
        ["pkey", "-pubin", "-in", "public.pem", "-outform", "DER", "-pubout", "-out", "public.der"];
    kit.run("openssl", &arguments);
    assert_eq!(PublicKey::from_file(kit.path("public.der")).unwrap(), (kit.public.clone(), String::new()));
}

/// ssh-keygen signs with the files written here, and what it signed is verified here.
#[test]
fn signatures_of_written_keys_hold_elsewhere() {
    each(|kit| {
        let mut formats = vec![KeyFormat::default()];
        if kit.kind != "ed25519" {
            formats.extend([KeyFormat::Pem, KeyFormat::Pkcs8]);
        }
        fs::write(kit.path("data"), b"something to sign").unwrap();
        for format in formats {
            let name = kit.write(&format, "");
            let line = kit.public.to_format(PublicFormat::Line, COMMENT).unwrap();
            fs::write(kit.path(&format!("{name}.pub")), line).unwrap();
            // ssh-keygen writes a signature once.
            let _ = fs::remove_file(kit.path("data.sig"));
            kit.run("ssh-keygen", &["-q", "-Y", "sign", "-n", "file", "-f", &name, "data"]);
            let signature = SshSignature::from_armored(fs::read(kit.path("data.sig")).unwrap()).unwrap();
            assert_eq!(*signature.verify("file", &b"something to sign"[..]).unwrap(), kit.public);
        }
    });
}

/// Signatures made here with keys that others wrote are verified by openssl.
#[test]
fn signatures_of_read_keys_hold_elsewhere() {
    if peers::require("openssl", peers::program("openssl")).is_none() {
        return;
    }
    each(|kit| {
        fs::write(kit.path("data"), b"something to sign").unwrap();
        fs::write(kit.path("public"), kit.public.to_format(PublicFormat::Pkcs8, "").unwrap()).unwrap();
        let signature = |algorithm: &str| {
            let key = PKey::from_file(kit.path("key"), None).unwrap();
            // Two strings: the algorithm and the bare signature.
            let blob = key.sign(algorithm, b"something to sign").unwrap();
            blob[4 + algorithm.len() + 4..].to_vec()
        };
        let verify: &[&str] = match kit.kind {
            "rsa" => {
                fs::write(kit.path("signature"), signature("rsa-sha2-512")).unwrap();
                &["dgst", "-sha512", "-verify", "public", "-signature", "signature", "data"]
            }
            "ed25519" => {
                fs::write(kit.path("signature"), signature("ssh-ed25519")).unwrap();
                &[
                    "pkeyutl",
                    "-verify",
                    "-pubin",
                    "-inkey",
                    "public",
                    "-rawin",
                    "-in",
                    "data",
                    "-sigfile",
                    "signature",
                ]
            }
            // SSH has r and s in a form of its own; ssh-keygen has verified that one above.
            _ => return,
        };
        kit.run("openssl", verify);
    });
}

/// ssh-keygen has no such keys; PuTTY, OpenSSL and AsyncSSH have.
#[test]
fn ed448() {
    let Some(puttygen) = peers::require("puttygen", peers::program("puttygen")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let run = |command: &mut Command| {
        let output = peers::output(command.current_dir(folder.path()), "");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    fs::write(path("pass"), SECRET).unwrap();
    run(Command::new(&puttygen).args([
        "-q",
        "-t",
        "ed448",
        "-C",
        COMMENT,
        "--new-passphrase",
        "pass",
        "-o",
        "ppk",
    ]));
    run(Command::new(&puttygen).args(["ppk", "--old-passphrase", "pass", "-L", "-o", "line"]));
    run(Command::new("openssl").args(["genpkey", "-algorithm", "ed448", "-out", "pem"]));
    for name in ["ppk", "pem"] {
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let (public, comment) = PublicKey::from_file(path("line")).unwrap();
    let read = PKey::from_file(path("ppk"), Some(SECRET)).unwrap();
    assert_eq!((read.public_key(), comment.as_str()), (&public, COMMENT));
    let made = PKey::generate(KeyKind::Ed448).unwrap();
    for key in [read, PKey::from_file(path("pem"), None).unwrap(), made] {
        let secret = Secret::from(SECRET);
        for format in [
            KeyFormat::default(),
            KeyFormat::Ppk(PpkParams::default()),
            KeyFormat::Pkcs8,
            KeyFormat::Pkcs8Der,
        ] {
            let text = key.to_format(&format, Some(&secret)).unwrap();
            let again = PKey::from_bytes(text.expose(), Some(&secret)).unwrap();
            assert_eq!(again.public_key(), key.public_key());
            let signature = again.sign("ssh-ed448", b"data").unwrap();
            key.public_key().verify("ssh-ed448", b"data", &signature).unwrap();
        }
    }
}
