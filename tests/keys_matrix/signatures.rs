//! Signatures: made here and verified by other programs, made by them and verified here.

use std::fs;

use feramiko::{KeyFormat, PKey, PublicFormat, SignatureHash, SshSignature};
use openssl::bn::BigNum;
use openssl::dsa::DsaSig;
use openssl::ecdsa::EcdsaSig;

use crate::{COMMENT, each, each_of_ssh_keygen, peers};

const DATA: &[u8] = b"something to sign";

/// ssh-keygen signs with the files written here, and what it signed is verified here.
#[test]
fn signatures_of_written_keys_hold_elsewhere() {
    each_of_ssh_keygen(|kit| {
        let mut formats = vec![KeyFormat::default()];
        if !kit.is_edwards() {
            formats.extend([KeyFormat::Pem, KeyFormat::Pkcs8]);
        }
        fs::write(kit.path("data"), DATA).unwrap();
        for format in formats {
            let name = kit.write(&format, "");
            let line = kit.public.to_format(PublicFormat::Line, COMMENT).unwrap();
            fs::write(kit.path(&format!("{name}.pub")), line).unwrap();
            // ssh-keygen writes a signature once.
            let _ = fs::remove_file(kit.path("data.sig"));
            kit.run("ssh-keygen", &["-q", "-Y", "sign", "-n", "file", "-f", &name, "data"]);
            let signature = SshSignature::from_armored(fs::read(kit.path("data.sig")).unwrap()).unwrap();
            assert_eq!(*signature.verify("file", DATA).unwrap(), kit.public);
        }
    });
}

/// What was signed here is verified by ssh-keygen, with a key that it wrote and with one written here.
#[test]
fn signatures_made_here_hold_for_ssh_keygen() {
    each_of_ssh_keygen(|kit| {
        let written = kit.write(&KeyFormat::default(), "");
        for name in ["key", &written] {
            let key = PKey::from_file(kit.path(name), None).unwrap();
            for hash in [SignatureHash::Sha256, SignatureHash::Sha512] {
                let signature = SshSignature::sign(&key, "file", hash, DATA).unwrap();
                fs::write(kit.path("ours"), signature.to_armored()).unwrap();
                let check = ["-Y", "check-novalidate", "-n", "file", "-s", "ours"];
                let said = kit.run_with("ssh-keygen", &check, DATA);
                assert!(said.starts_with(b"Good \"file\" signature"), "{}", said.escape_ascii());
            }
        }
    });
}

/// How openssl signs and verifies by an algorithm of a key.
fn digest(algorithm: &str) -> Option<&'static str> {
    match algorithm {
        "ssh-rsa" | "ssh-dss" => Some("-sha1"),
        "rsa-sha2-256" | "ecdsa-sha2-nistp256" => Some("-sha256"),
        "ecdsa-sha2-nistp384" => Some("-sha384"),
        "rsa-sha2-512" | "ecdsa-sha2-nistp521" => Some("-sha512"),
        // It hashes by itself.
        "ssh-ed25519" | "ssh-ed448" => None,
        other => panic!("{other} is in no test"),
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The two strings of a signature in SSH: the algorithm, and what it says.
fn split(blob: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = blob.split_first_chunk().unwrap();
    rest.split_at(usize::try_from(u32::from_be_bytes(*length)).unwrap())
}

/// The signature as openssl has it, from SSH's blob.
fn for_openssl(algorithm: &str, blob: &[u8]) -> Vec<u8> {
    let (name, rest) = split(blob);
    let (bare, end) = split(rest);
    assert_eq!((name, end), (algorithm.as_bytes(), &[][..]));
    let number = |bytes: &[u8]| BigNum::from_slice(bytes).unwrap();
    match algorithm {
        "ssh-dss" => {
            assert_eq!(bare.len(), 40);
            let (r, s) = bare.split_at(20);
            DsaSig::from_private_components(number(r), number(s)).unwrap().to_der().unwrap()
        }
        _ if algorithm.starts_with("ecdsa") => {
            let (r, rest) = split(bare);
            let (s, end) = split(rest);
            assert!(end.is_empty());
            EcdsaSig::from_private_components(number(r), number(s)).unwrap().to_der().unwrap()
        }
        _ => bare.to_vec(),
    }
}

/// SSH's blob of what openssl has made.
fn from_openssl(algorithm: &str, signature: &[u8]) -> Vec<u8> {
    let bare = match algorithm {
        "ssh-dss" => {
            let pair = DsaSig::from_der(signature).unwrap();
            [pair.r(), pair.s()].map(|number| number.to_vec_padded(20).unwrap()).concat()
        }
        _ if algorithm.starts_with("ecdsa") => {
            let pair = EcdsaSig::from_der(signature).unwrap();
            let mpint = |number: &openssl::bn::BigNumRef| {
                let bytes = number.to_vec();
                let sign: &[u8] = if bytes[0] >= 0x80 { &[0] } else { &[] };
                string(&[sign, &bytes].concat())
            };
            [mpint(pair.r()), mpint(pair.s())].concat()
        }
        _ => signature.to_vec(),
    };
    [string(algorithm.as_bytes()), string(&bare)].concat()
}

/// By every algorithm of every key that openssl has, both ways.
#[test]
fn signatures_of_openssl_and_for_it() {
    if peers::require("openssl", peers::program("openssl")).is_none() {
        return;
    }
    each(|kit| {
        fs::write(kit.path("data"), DATA).unwrap();
        fs::write(kit.path("public"), kit.public.to_format(PublicFormat::Pkcs8, "").unwrap()).unwrap();
        let key = PKey::from_file(kit.path("key"), None).unwrap();
        // With Ed448 this is a key that was written here; the others could be ssh-keygen's.
        key.write_private_key_file_as(kit.path("p8"), &KeyFormat::Pkcs8, None).unwrap();
        assert!(!kit.public.algorithms().is_empty());
        for algorithm in kit.public.algorithms() {
            let ours = for_openssl(algorithm, &key.sign(algorithm, DATA).unwrap());
            fs::write(kit.path("ours"), ours).unwrap();
            let (verify, sign) = match digest(algorithm) {
                Some(hash) => (
                    vec!["dgst", hash, "-verify", "public", "-signature", "ours", "data"],
                    vec!["dgst", hash, "-sign", "p8", "-out", "theirs", "data"],
                ),
                None => (
                    "pkeyutl -verify -pubin -inkey public -rawin -in data -sigfile ours".split(' ').collect(),
                    "pkeyutl -sign -inkey p8 -rawin -in data -out theirs".split(' ').collect(),
                ),
            };
            kit.run("openssl", &verify);
            kit.run("openssl", &sign);
            let theirs = from_openssl(algorithm, &fs::read(kit.path("theirs")).unwrap());
            kit.public.verify(algorithm, DATA, &theirs).unwrap();
            assert!(kit.public.verify(algorithm, &DATA[1..], &theirs).is_err());
        }
    });
}
