//! Public keys: what other programs write is read here, what is written here they read.

use std::fs;

use feramiko::{PublicFormat, PublicKey};

use crate::{COMMENT, each, each_of_ssh_keygen, peers, words};

#[test]
fn public_keys_are_written_as_ssh_keygen_does() {
    each_of_ssh_keygen(|kit| {
        for (name, format) in
            [("RFC4716", PublicFormat::Rfc4716), ("PKCS8", PublicFormat::Pkcs8), ("PEM", PublicFormat::Pem)]
        {
            // It has Ed25519 in its own formats only; openssl has seen the others.
            let ours = if kit.is_edwards() && format != PublicFormat::Rfc4716 {
                kit.public.to_format(format, "").unwrap()
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

#[test]
fn public_keys_are_written_as_openssl_does() {
    if peers::require("openssl", peers::program("openssl")).is_none() {
        return;
    }
    each(|kit| {
        let pkcs1: &[&str] = &["rsa", "-RSAPublicKey_in", "-RSAPublicKey_out"];
        let spki: &[&str] = &["pkey", "-pubin", "-pubout"];
        for (format, tool) in
            [(PublicFormat::Pkcs8, spki), (PublicFormat::Pem, if kit.kind == "rsa" { pkcs1 } else { spki })]
        {
            for form in ["PEM", "DER"] {
                let ours = match form {
                    "PEM" => kit.public.to_format(format, "").unwrap().into_bytes(),
                    _ => kit.public.to_der(format).unwrap(),
                };
                fs::write(kit.path("ours"), &ours).unwrap();
                let convert = ["-in", "ours", "-inform", form, "-outform", form, "-out", "theirs"];
                kit.run("openssl", &[tool, &convert].concat());
                assert!(ours == fs::read(kit.path("theirs")).unwrap(), "{} {format:?} {form}", kit.kind);
                let (read, comment) = PublicKey::from_file(kit.path("theirs")).unwrap();
                assert_eq!((read, comment.as_str()), (kit.public.clone(), ""));
            }
        }
    });
}

#[test]
fn public_keys_that_puttygen_reads() {
    if peers::require("puttygen", peers::program("puttygen")).is_none() {
        return;
    }
    each(|kit| {
        for (format, into) in [(PublicFormat::Line, "public"), (PublicFormat::Rfc4716, "public-openssh")] {
            fs::write(kit.path("ours"), kit.public.to_format(format, COMMENT).unwrap()).unwrap();
            kit.run("puttygen", &["ours", "-O", into, "-o", "back"]);
            let back = PublicKey::from_file(kit.path("back")).unwrap();
            assert_eq!(back, (kit.public.clone(), COMMENT.to_owned()), "{format:?}");
        }
    });
}

/// The bare base64 of a key, which stands in known_hosts and in the output of other programs.
#[test]
fn a_blob_in_base64_is_the_key() {
    each(|kit| {
        let line = fs::read_to_string(kit.path("key.pub")).unwrap();
        let base64 = line.split(' ').nth(1).unwrap();
        assert_eq!(kit.public.base64(), base64);
        let blob = openssl::base64::decode_block(base64).unwrap();
        assert_eq!(PublicKey::from_blob(&blob).unwrap(), kit.public);
    });
}
