//! Private keys: what other programs write is read here, what is written here they read.

use std::fs;

use feramiko::{
    Argon2Kind, KeyFormat, KeyKind, PKey, PpkParams, PpkVersion, PublicFormat, PublicKey, Secret,
};

use crate::{CIPHERS, COMMENT, Kit, SECRET, each, each_of_ssh_keygen, openssh, peers, words};

#[test]
fn what_ssh_keygen_writes() {
    each_of_ssh_keygen(|kit| {
        // It writes Ed25519 in its own format whatever is asked for.
        for format in ["RFC4716", "PEM", "PKCS8"] {
            for passphrase in ["", SECRET] {
                let name = kit.converted(&["-m", format], passphrase);
                let key = kit.check(&name, !passphrase.is_empty());
                let own = format == "RFC4716" || kit.is_edwards();
                assert_eq!(key.comment(), if own { COMMENT } else { "" });
            }
        }
        for cipher in CIPHERS {
            let name = kit.converted(&["-Z", cipher], SECRET);
            let text = fs::read(kit.path(&name)).unwrap();
            assert_eq!(kit.check(&name, true).comment(), COMMENT, "{cipher}");
            // The cipher is the second word of the file, after 15 bytes that are the same in all.
            let body: Vec<_> = text.split(|byte| *byte == b'\n').skip(1).collect();
            let blob =
                openssl::base64::decode_block(str::from_utf8(&body[..body.len() - 2].concat()).unwrap());
            assert_eq!(&blob.unwrap()[19..19 + cipher.len()], cipher.as_bytes());
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
        for public in ["public", "public-openssh"] {
            kit.run("puttygen", &["key", "-O", public, "-o", "exported"]);
            let exported = PublicKey::from_file(kit.path("exported")).unwrap();
            assert_eq!(exported, (kit.public.clone(), COMMENT.to_owned()));
        }
        for format in ["private-openssh", "private-openssh-new", "private-sshcom"] {
            if format == "private-sshcom" && !["rsa", "dsa"].contains(&kit.kind) {
                continue;
            }
            for new in ["nopass", "pass"] {
                let name = format!("{format}{new}");
                // Its own file: it refuses to convert a file into the format that it is in.
                kit.run("puttygen", &["0nopass", "-O", format, "-o", &name, "--new-passphrase", new]);
                let key = kit.check(&name, new == "pass");
                // "private-openssh" is PEM where there is any.
                assert_eq!(key.comment() == COMMENT, format != "private-openssh" || kit.is_edwards());
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
            &["-v1", "PBE-MD5-RC2-64"],
            &["-v1", "PBE-SHA1-RC2-64"],
            &["-v1", "PBE-SHA1-RC2-128"],
            &["-v1", "PBE-SHA1-RC2-40", "-iter", "3"],
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
        let Some(tool) = traditional(kit.kind) else { return };
        let convert = |more: &[&str], name: &str| {
            kit.run("openssl", &[tool, &["-in", "p8", "-out", name], more].concat());
        };
        convert(&["-outform", "DER"], "der");
        kit.check("der", false);
        convert(&[], "pem");
        kit.check("pem", false);
        for cipher in ["-aes128", "-aes192", "-aes256", "-des3", "-des"] {
            convert(&[&[cipher, "-passout", &pass], OLD].concat(), cipher);
            kit.check(cipher, true);
        }
    });
}

/// What makes openssl write PKCS#1, SEC1 and what it has for DSA.
fn traditional(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "rsa" => Some(&["rsa", "-traditional"]),
        "dsa" => Some(&["dsa"]),
        "ecdsa" => Some(&["ec"]),
        _ => None,
    }
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
    each_of_ssh_keygen(|kit| {
        let mut formats: Vec<_> = CIPHERS.map(openssh).to_vec();
        if !kit.is_edwards() {
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
        let mut formats = vec![
            KeyFormat::Ppk(PpkParams { version: PpkVersion::V2, ..PpkParams::default() }),
            three(Argon2Kind::Id, 8192, 1, 1),
            three(Argon2Kind::I, 64, 3, 8),
            three(Argon2Kind::D, 8, 1, 1),
            openssh("aes256-ctr"),
            openssh("aes256-cbc"),
        ];
        if !kit.is_edwards() {
            formats.push(KeyFormat::Pem);
        }
        for format in formats {
            for (passphrase, file) in [("", "nopass"), (SECRET, "pass")] {
                let name = kit.write(&format, passphrase);
                // Into a format that it was not in, which needs all of it.
                let into =
                    if matches!(format, KeyFormat::Ppk(_)) { "private-openssh-new" } else { "private" };
                let convert = [&name, "-O", into, "-o", "back", "--old-passphrase", file];
                kit.run("puttygen", &[&convert[..], &["--new-passphrase", "nopass"]].concat());
                let comment = if format == KeyFormat::Pem { "imported-openssh-key" } else { COMMENT };
                assert_eq!(kit.check("back", false).comment(), comment, "{format:?}");
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
        for (format, form) in [
            (KeyFormat::Pkcs8, "PEM"),
            (KeyFormat::Pkcs8Der, "DER"),
            (KeyFormat::Pem, "PEM"),
            (KeyFormat::Der, "DER"),
        ] {
            if kit.is_edwards() && [KeyFormat::Pem, KeyFormat::Der].contains(&format) {
                continue;
            }
            for passphrase in ["", SECRET] {
                // PKCS#1 and SEC1 have no encryption in DER.
                if format == KeyFormat::Der && !passphrase.is_empty() {
                    continue;
                }
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
    each_of_ssh_keygen(|kit| {
        // ssh-keygen writes Ed25519 in its own format whatever is asked for.
        let formats = [("PEM", KeyFormat::Pem), ("PKCS8", KeyFormat::Pkcs8)];
        for (name, format) in formats.into_iter().filter(|_| !kit.is_edwards()) {
            let names = [kit.write(&format, ""), kit.converted(&["-m", name], "")];
            let [ours, theirs] = names.map(|name| fs::read_to_string(kit.path(&name)).unwrap());
            assert_eq!(ours, theirs, "{} {name}", kit.kind);
        }
    });
}

#[test]
fn what_has_one_form_only_is_written_as_openssl_does() {
    if peers::require("openssl", peers::program("openssl")).is_none() {
        return;
    }
    each(|kit| {
        let same = |format: &KeyFormat, arguments: &[&str]| {
            let name = kit.write(format, "");
            kit.run("openssl", &[arguments, &["-in", &name, "-out", "theirs"]].concat());
            let [ours, theirs] = [&name, "theirs"].map(|name| fs::read(kit.path(name)).unwrap());
            assert!(ours == theirs, "{} {format:?}", kit.kind);
        };
        let pkcs8 = ["pkcs8", "-topk8", "-nocrypt", "-outform"];
        same(&KeyFormat::Pkcs8, &[&pkcs8[..], &["PEM"]].concat());
        same(&KeyFormat::Pkcs8Der, &[&pkcs8[..], &["DER", "-inform", "DER"]].concat());
        let Some(tool) = traditional(kit.kind) else { return };
        same(&KeyFormat::Pem, tool);
        same(&KeyFormat::Der, &[tool, &["-inform", "DER", "-outform", "DER"]].concat());
    });
}

#[test]
fn what_has_one_form_only_is_written_as_puttygen_does() {
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

/// Of several keys in blocks of PEM others take the first; AsyncSSH has a call for all of them.
#[test]
fn the_first_of_several_keys() {
    let Some(kit) = Kit::new(("ecdsa", "256")) else { return };
    let keys = [PKey::from_file(kit.path("key"), None).unwrap(), PKey::generate(KeyKind::Rsa(2048)).unwrap()];
    for format in [KeyFormat::Pem, KeyFormat::Pkcs8] {
        PKey::write_all_as(&keys, kit.path("blocks"), &format, None).unwrap();
        assert_eq!(PKey::all_from_file(kit.path("blocks"), None).unwrap().len(), 2);
        let line = kit.run("ssh-keygen", &["-y", "-P", "", "-f", "blocks"]);
        assert_eq!(words(&line), kit.line(), "{format:?}");
    }
}
