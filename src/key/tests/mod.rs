//! Keys made here and by ssh-keygen and openssl, in every format that is read, and broken ones.

mod cert;
mod fingerprint;
mod token;
mod wycheproof;

#[cfg(unix)]
use std::path::Path;

use super::*;
use crate::Secret;
use crate::programs::{command, output};

const KINDS: &[KeyKind] =
    &[KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Rsa(2048)];

fn works(key: &PKey) {
    for algorithm in key.public_key().algorithms() {
        let signature = key.sign(algorithm, b"data").unwrap();
        key.public_key().verify(algorithm, b"data", &signature).unwrap();
        assert_eq!(key.public_key().verify(algorithm, b"other", &signature), Err(KeyError::BadSignature));
        for at in [0, 10, signature.len() - 1] {
            let mut flipped = signature.clone();
            flipped[at] ^= 1;
            assert_eq!(key.public_key().verify(algorithm, b"data", &flipped), Err(KeyError::BadSignature));
        }
    }
}

/// Runs a program; none when it is not there.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = output(command(program)?.args(arguments), "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn every_kind_signs_verifies_and_is_written_and_read() {
    let passphrase = Secret::from("secret");
    for kind in KINDS.iter().chain(&[KeyKind::Ed448, KeyKind::Dss]) {
        let key = PKey::generate(*kind).unwrap().with_comment("me@here").unwrap();
        works(&key);
        for passphrase in [None, Some(&passphrase)] {
            let text = key.to_openssh(passphrase).unwrap();
            let read = PKey::from_bytes(text.as_bytes(), passphrase).unwrap();
            assert_eq!((read.public_key(), read.comment()), (key.public_key(), "me@here"));
            works(&read);
        }
        let text = key.to_openssh(Some(&passphrase)).unwrap();
        let read = |secret| PKey::from_bytes(text.as_bytes(), secret).unwrap_err();
        assert_eq!(read(None), KeyError::PassphraseNeeded);
        assert_eq!(read(Some(&Secret::from("wrong"))), KeyError::WrongPassphrase);
    }
}

#[test]
fn what_ssh_keygen_writes_is_read_and_what_we_write_it_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    for (at, (kind, format)) in [
        ("ed25519", "RFC4716"),
        ("ecdsa", "RFC4716"),
        ("rsa", "RFC4716"),
        ("dsa", "RFC4716"),
        ("rsa", "PEM"),
        ("ecdsa", "PEM"),
        ("rsa", "PKCS8"),
        ("ecdsa", "PKCS8"),
    ]
    .into_iter()
    .enumerate()
    {
        for passphrase in ["", "secret"] {
            let file = path(&format!("{at}{passphrase}"));
            let bits = match kind {
                "rsa" => "2048",
                "dsa" => "1024",
                _ => "256",
            };
            let arguments = [
                "-q",
                "-t",
                kind,
                "-b",
                bits,
                "-m",
                format,
                "-N",
                passphrase,
                "-C",
                "a comment",
                "-f",
                &file,
            ];
            if run("ssh-keygen", &arguments).is_none() {
                return;
            }
            let secret = Some(passphrase).filter(|passphrase| !passphrase.is_empty());
            let key =
                PKey::from_file(&file, secret).unwrap_or_else(|error| panic!("{kind} {format}: {error}"));
            works(&key);
            let line = std::fs::read_to_string(format!("{file}.pub")).unwrap();
            let (public, comment) = PublicKey::from_line(&line).unwrap();
            assert_eq!((&public, comment.as_str()), (key.public_key(), "a comment"));
            let shown = run("ssh-keygen", &["-l", "-f", &file]).unwrap();
            assert!(shown.contains(&public.fingerprint()), "{shown}");
            if secret.is_some() {
                assert!(PKey::from_file(&file, None).is_err());
                assert_eq!(PKey::from_file(&file, Some("wrong")).unwrap_err(), KeyError::WrongPassphrase);
            }
        }
    }
    for kind in KINDS.iter().chain(&[KeyKind::Dss]) {
        let key = PKey::generate(*kind).unwrap();
        let file = path(&format!("ours{kind:?}"));
        key.write_private_key_file(&file, None).unwrap();
        assert_eq!(run("ssh-keygen", &["-y", "-f", &file]).unwrap().trim(), key.public_key().to_line());
        let file = path(&format!("sealed{kind:?}"));
        key.write_private_key_file(&file, Some(&Secret::from("secret"))).unwrap();
        let line = run("ssh-keygen", &["-y", "-P", "secret", "-f", &file]).unwrap();
        assert_eq!(line.trim(), key.public_key().to_line());
    }
}

#[test]
fn every_cipher_of_key_files() {
    let folder = tempfile::tempdir().unwrap();
    for cipher in [
        "aes128-ctr",
        "aes192-ctr",
        "aes256-ctr",
        "aes128-cbc",
        "aes192-cbc",
        "aes256-cbc",
        "3des-cbc",
        "aes128-gcm@openssh.com",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
    ] {
        let file = folder.path().join(cipher).to_string_lossy().into_owned();
        let arguments = ["-q", "-t", "ed25519", "-Z", cipher, "-a", "4", "-N", "secret", "-f", &file];
        if run("ssh-keygen", &arguments).is_none() {
            return;
        }
        let key = PKey::from_file(&file, Some("secret")).unwrap_or_else(|error| panic!("{cipher}: {error}"));
        works(&key);
        assert_eq!(PKey::from_file(&file, Some("wrong")).unwrap_err(), KeyError::WrongPassphrase, "{cipher}");
    }
}

#[test]
fn a_costly_pkcs8_file_is_refused_before_it_is_worked_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (plain, cheap) = (path("plain"), path("cheap"));
    if run("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &plain]).is_none() {
        return;
    }
    run(
        "openssl",
        &["pkcs8", "-topk8", "-in", &plain, "-out", &cheap, "-passout", "pass:secret", "-iter", "5000"],
    );
    let text = std::fs::read(&cheap).unwrap();
    works(&PKey::from_bytes(&text, Some(&Secret::from("secret"))).unwrap());
    // The count 5000 is 0x1388; in its place 2^31 - 1.
    let text = std::str::from_utf8(&text).unwrap();
    let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = public::decode_base64(&base64).unwrap();
    let at = der.windows(4).position(|window| window == [2, 2, 0x13, 0x88]).unwrap();
    der.splice(at..at + 4, [2, 4, 0x7f, 0xff, 0xff, 0xff]);
    for length_at in der
        .clone()
        .iter()
        .enumerate()
        .filter(|(place, byte)| *place < at && **byte == 0x30)
        .map(|(place, _)| place + 1)
    {
        if der[length_at] < 0x7e {
            der[length_at] += 2;
        } else if der[length_at] == 0x81 {
            der[length_at + 1] += 2;
        }
    }
    let base64 = <base64ct::Base64 as base64ct::Encoding>::encode_string(&der);
    let text =
        format!("-----BEGIN ENCRYPTED PRIVATE KEY-----\n{base64}\n-----END ENCRYPTED PRIVATE KEY-----\n");
    // To work on it would take minutes.
    let started = std::time::Instant::now();
    let error = PKey::from_bytes(text.as_bytes(), Some(&Secret::from("secret"))).unwrap_err();
    assert!(matches!(error, KeyError::TooCostly(_)), "{error}");
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn broken_files_and_blobs_are_errors() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let text = key.to_openssh(None).unwrap();
    for length in 0..text.len() - 1 {
        assert!(PKey::from_bytes(&text.as_bytes()[..length], None).is_err(), "{length}");
    }
    let blob = key.public_key().blob();
    for length in 0..blob.len() {
        assert!(PublicKey::from_blob(&blob[..length]).is_err());
    }
    let mut trailing = blob.to_vec();
    trailing.push(0);
    assert!(PublicKey::from_blob(&trailing).is_err());
    assert!(matches!(
        PublicKey::from_blob(&crate::wire::string_of(b"ssh-unheard-of")),
        Err(KeyError::Unsupported(_))
    ));
    let line = key.public_key().to_line().replace("ssh-ed25519 ", "ssh-rsa ");
    assert!(PublicKey::from_line(&line).is_err());
}

#[test]
fn any_blanks_stand_between_the_words_of_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pub").to_string_lossy().into_owned();
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let (key, base64) = (key.public_key(), key.public_key().base64());
    for (line, comment) in [
        (format!("ssh-ed25519  {base64}"), ""),
        (format!(" \tssh-ed25519 \t {base64}\t\ta  comment \n"), "a  comment"),
        (format!("ssh-ed25519\t{base64}    c\r\n"), "c"),
    ] {
        assert_eq!(PublicKey::from_line(&line), Ok((key.clone(), comment.to_owned())), "{line:?}");
        std::fs::write(&path, &line).unwrap();
        assert_eq!(PublicKey::from_file(&path), Ok((key.clone(), comment.to_owned())), "{line:?}");
        if let Some(shown) = run("ssh-keygen", &["-l", "-f", &path]) {
            assert!(shown.contains(&key.fingerprint()), "{line:?}: {shown}");
        }
    }
    for bad in ["", "ssh-ed25519", "ssh-ed25519 \t "] {
        assert!(PublicKey::from_line(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn weak_and_absurd_rsa_keys_are_refused() {
    use crate::wire::{Writer, put_mpint};
    let blob = |e: &[u8], n: &[u8]| {
        let mut blob = Vec::new();
        blob.put("ssh-rsa");
        put_mpint(&mut blob, e);
        put_mpint(&mut blob, n);
        blob
    };
    let (mut weak, mut fine) = (vec![0xff; 64], vec![0xff; 256]);
    weak.push(1);
    fine[255] = 1;
    for (e, n) in [
        (&[3][..], &vec![0xff; 25_000][..]),
        (&[1], &fine),
        (&[2], &fine),
        (&[], &fine),
        (&[0xff; 9], &fine),
        (&[3], &weak),
        (&[3], &[]),
    ] {
        assert!(PublicKey::from_blob(&blob(e, n)).is_err(), "{e:?} {} bytes", n.len());
    }
    let mut short = vec![0xff; 128];
    short[127] = 1;
    let short = PublicKey::from_blob(&blob(&[3], &short)).unwrap();
    let mut signature = Vec::new();
    signature.put("rsa-sha2-256").put(&[1_u8; 128][..]);
    assert!(matches!(short.verify("rsa-sha2-256", b"data", &signature), Err(KeyError::BadSize(_))));
}

#[cfg(unix)]
#[test]
fn a_file_that_others_read_is_refused_with_the_mend() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    PKey::generate(KeyKind::Ed25519).unwrap().write_private_key_file(&path, None).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = PKey::from_file(&path, None).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    assert!(PKey::from_file(Path::new("/dev/zero"), None).is_err());
    assert!(PKey::from_file(folder.path(), None).is_err());
}

/// As ssh-keygen has it: a group may read a key that is not ours.
#[cfg(unix)]
#[test]
fn the_mode_of_anothers_file_is_his_concern() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    PKey::generate(KeyKind::Ed25519).unwrap().write_private_key_file(&path, None).unwrap();
    let ours = crate::sys::user::current_uid();
    for (owner, mode, fine) in
        [(ours, 0o640, false), (ours, 0o600, true), (12345, 0o640, true), (12345, 0o644, true)]
    {
        if chown(&path, Some(owner), None).is_err() {
            println!("skipped: only root gives files away");
            return;
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(PKey::from_file(&path, None).is_ok(), fine, "{owner} {mode:o}");
        if let Some(mut keygen) = command("ssh-keygen") {
            let run = output(keygen.args(["-y", "-f"]).arg(&path), "");
            assert_eq!(run.status.success(), fine, "{owner} {mode:o}: {run:?}");
        }
    }
}

#[test]
fn nothing_secret_is_shown() {
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let shown = format!("{key:?} {:?}", key.public_key());
    assert!(shown.contains("SHA256:") && shown.len() < 300, "{shown}");
}
