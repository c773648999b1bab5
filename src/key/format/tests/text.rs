//! The text around keys: what stands before and after, how lines end, headers, what is no key at all;
//! and files that are no files.

use std::time::{Duration, Instant};

use super::*;

fn plain(key: &PKey, format: &KeyFormat) -> String {
    String::from_utf8(key.to_format(format, None).unwrap().expose().to_vec()).unwrap()
}

#[test]
fn line_ends_marks_and_other_text() {
    let files = [
        plain(ed25519(), &KeyFormat::default()),
        plain(ed25519(), &KeyFormat::Pkcs8),
        plain(ed25519(), &KeyFormat::Ppk(PpkParams::default())),
    ];
    for file in &files {
        for changed in [
            file.clone(),
            file.replace('\n', "\r\n"),
            file.replace('\n', "\r"),
            file.trim_end().to_owned(),
            format!("{file}\n\nwords after it\n"),
            format!("\u{feff}{file}"),
        ] {
            let key =
                PKey::from_bytes(changed.as_bytes(), None).unwrap_or_else(|error| panic!("{changed}{error}"));
            assert_eq!(key.public_key(), ed25519().public_key());
        }
    }
    let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for file in &files[..2] {
        let with_bytes = [b"caf\xe9 -----BEGIN x\n".as_slice(), file.as_bytes()].concat();
        for changed in [
            with_bytes,
            format!("Bag Attributes\n    friendlyName: me\n{certificate}{file}").into_bytes(),
            file.replace('\n', "  \n").into_bytes(),
        ] {
            assert!(PKey::from_bytes(&changed, None).is_ok());
        }
        // A fence begins its line.
        assert!(PKey::from_bytes(format!("> {file}").as_bytes(), None).is_err());
    }
}

#[test]
fn what_is_no_private_key_is_named() {
    let public = ed25519().public_key();
    for format in [PublicFormat::Line, PublicFormat::Rfc4716, PublicFormat::Pkcs8] {
        let error = PKey::from_bytes(public.to_format(format, "c").unwrap().as_bytes(), None).unwrap_err();
        assert!(matches!(error, KeyError::Malformed(text) if text.contains("public key")), "{error}");
    }
    let private = plain(ed25519(), &KeyFormat::Pkcs8);
    let error = PublicKey::from_bytes(private.as_bytes()).unwrap_err();
    assert!(matches!(error, KeyError::Malformed(text) if text.contains("private key")), "{error}");
    let other = "-----BEGIN PGP PRIVATE KEY BLOCK-----\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----\n";
    assert!(matches!(PKey::from_bytes(other.as_bytes(), None), Err(KeyError::Unsupported(_))));
    for nothing in ["", "\n", "words", "\u{feff}", "-----BEGIN ", "-----BEGIN -----", "---- BEGIN  ----"] {
        assert!(PKey::from_bytes(nothing.as_bytes(), None).is_err(), "{nothing:?}");
        assert!(PublicKey::from_bytes(nothing.as_bytes()).is_err(), "{nothing:?}");
    }
}

/// What stands in a block, alone: as it is, in base64 on one line, and on lines that end in any way.
#[test]
fn base64_without_a_block() {
    let body = |text: &[u8]| {
        let lines: Vec<_> = Lines::new(text).collect();
        armour::base64(lines[1..lines.len() - 1].iter().copied()).unwrap()
    };
    let forms = |bytes: &[u8]| {
        let base64 = <base64ct::Base64 as base64ct::Encoding>::encode_string(bytes);
        let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        [base64.clone(), format!("\n  {base64} \n\n"), lines.join("\n"), lines.join("\r\n")]
    };
    for (format, secret) in [
        (KeyFormat::default(), None),
        (KeyFormat::default(), Some(&secret())),
        (KeyFormat::Pem, None),
        (KeyFormat::Pkcs8, None),
        (KeyFormat::Pkcs8, Some(&secret())),
    ] {
        let bare = body(ecdsa().to_format(&format, secret).unwrap().expose());
        assert_eq!(PKey::from_bytes(&bare, secret).unwrap().public_key(), ecdsa().public_key());
        for text in forms(&bare) {
            let read = |secret| PKey::from_bytes(text.as_bytes(), secret);
            assert_eq!(read(secret).unwrap().public_key(), ecdsa().public_key(), "{format:?}");
            assert!(secret.is_none() || read(None).unwrap_err() == KeyError::PassphraseNeeded);
            for length in 0..text.trim_ascii_end().len() {
                assert!(PKey::from_bytes(&text.as_bytes()[..length], secret).is_err(), "{format:?} {length}");
            }
        }
    }
    let public = ecdsa().public_key();
    let private = body(ecdsa().to_format(&KeyFormat::default(), Some(&secret())).unwrap().expose());
    for bare in [public.blob(), &public.to_der(PublicFormat::Pkcs8).unwrap(), &private] {
        for text in forms(bare) {
            let read = PublicKey::from_reader(text.as_bytes()).unwrap();
            assert_eq!(read, (public.clone(), String::new()));
        }
    }
    for nothing in ["AAAA", "MAAA", "b3BlbnNzaC1rZXktdjEA", "words"] {
        assert!(PKey::from_bytes(nothing.as_bytes(), None).is_err(), "{nothing}");
        assert!(PublicKey::from_bytes(nothing.as_bytes()).is_err(), "{nothing}");
    }
    assert_eq!(PublicKey::from_reader(std::io::repeat(b'\n')).unwrap_err(), TOO_LARGE);
}

#[test]
fn endless_and_nested_blocks() {
    let begin = "-----BEGIN PRIVATE KEY-----\n";
    let file = plain(ed25519(), &KeyFormat::Pkcs8);
    let started = Instant::now();
    for text in [
        begin.repeat(30_000),
        format!("{begin}{file}"),
        "-----BEGIN X-----\n".repeat(50_000),
        format!("{begin}{}", "A".repeat(1_000_000)),
        format!("{begin}{}", "A:\n".repeat(300_000)),
        format!("{begin}A: {}\n-----END PRIVATE KEY-----\n", "\\\n".repeat(400_000)),
        format!("{begin}A: {}\n-----END PRIVATE KEY-----\n", "x\\\n".repeat(300_000)),
        format!("{begin}{}\n-----END PRIVATE KEY-----\n", "\n".repeat(900_000)),
        format!("{begin}{}-----END PRIVATE KEY-----\n", "A:1\n".repeat(33)),
        "-----BEGIN PRIVATE KEY-----\n-----END RSA PRIVATE KEY-----\n".to_owned(),
        "-----BEGIN PRIVATE KEY-----\n---- END PRIVATE KEY ----\n".to_owned(),
    ] {
        assert!(PKey::from_bytes(text.as_bytes(), None).is_err());
        assert!(PKey::all_from_bytes(text.as_bytes(), None).is_err());
        assert!(PublicKey::from_bytes(text.as_bytes()).is_err());
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    for (count, good) in [(32, true), (33, false)] {
        let headers = "A:1\n".repeat(count);
        let text = file.replacen('\n', &format!("\n{headers}"), 1);
        assert_eq!(PKey::from_bytes(text.as_bytes(), None).is_ok(), good);
    }
    assert_eq!(PKey::all_from_bytes(file.repeat(64).as_bytes(), None).unwrap().len(), 64);
    assert!(PKey::all_from_bytes(file.repeat(65).as_bytes(), None).is_err());
}

#[test]
fn headers_of_rfc_1421() {
    let der = [0x5a; 32];
    let read = |headers: &str, secret: Option<&Secret>| {
        PKey::from_bytes(&pem_of("RSA PRIVATE KEY", headers, &der), secret).unwrap_err()
    };
    let iv = "00112233445566778899AABBCCDDEEFF";
    let good = format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{iv}\n\n");
    assert_eq!(read(&good, None), KeyError::PassphraseNeeded);
    assert_eq!(read(&good, Some(&secret())), KeyError::WrongPassphrase);
    // Without a space, as OpenSSL takes it: it would ask at the terminal.
    assert_eq!(read(&good.replace(": ", ":"), None), KeyError::PassphraseNeeded);
    for (from, to) in [
        ("Proc-Type: 4,ENCRYPTED\n", ""),
        (&good[23..], "\n"),
        (iv, "0011"),
        (iv, "0011223344556677"),
        (iv, "0011223344556677889900112233445Z"),
        (iv, "00112233445566778899001122334455x"),
        (iv, ""),
        (",0", "0"),
    ] {
        let error = read(&good.replace(from, to), Some(&secret()));
        assert!(matches!(error, KeyError::Malformed(_)), "{from} {to} {error}");
    }
    for (from, to) in [("4,ENCRYPTED", "4,MIC-ONLY"), ("AES-128-CBC", "RC2-CBC"), ("AES-128-CBC", "")] {
        let error = read(&good.replace(from, to), Some(&secret()));
        assert!(matches!(error, KeyError::Unsupported(_)), "{error}");
    }
}

#[test]
fn headers_of_rfc_4716() {
    let public = ed25519().public_key();
    for comment in
        ["", "x", "with \"quotes\"", &"long ".repeat(60), &"ä".repeat(200), "ends in \\", &"x".repeat(1022)]
    {
        let text = public.to_format(PublicFormat::Rfc4716, comment).unwrap();
        assert!(text.lines().all(|line| line.len() <= 72), "{text}");
        let crlf = text.replace('\n', "\r\n");
        for text in [text, crlf] {
            assert_eq!(PublicKey::from_bytes(text.as_bytes()).unwrap(), (public.clone(), comment.to_owned()));
        }
    }
    assert!(public.to_format(PublicFormat::Rfc4716, &"x".repeat(1023)).is_err());
    let text = public.to_format(PublicFormat::Rfc4716, "").unwrap();
    let with =
        |headers: &str| PublicKey::from_bytes(text.replacen('\n', &format!("\n{headers}"), 1).as_bytes());
    assert_eq!(with("Subject: me\nCOMMENT: unquoted words\nx-y: z\n").unwrap().1, "unquoted words");
    assert_eq!(with("Comment: in\\\n one\\\n\n").unwrap().1, "in one");
    for bad in ["Comment: x\\\n", &format!("{}: x\n", "t".repeat(65)), &format!("t: {}\n", "x".repeat(1025))]
    {
        assert!(with(bad).is_err(), "{bad}");
    }
    for format in [PublicFormat::Rfc4716, PublicFormat::Line] {
        assert!(public.to_format(format, "two\nlines").is_err());
    }
    let ppk = ed25519().with_comment("two\nPrivate-Lines: 7").unwrap();
    assert!(ppk.to_format(&KeyFormat::Ppk(PpkParams::default()), None).is_err());
}

#[test]
fn the_public_half_needs_no_passphrase() {
    for format in formats() {
        let comment = match &format {
            KeyFormat::Openssh(_) => "",
            KeyFormat::Ppk(_) => "a comment",
            _ => continue,
        };
        let file = ecdsa().to_format(&format, Some(&secret())).unwrap();
        let (key, read) = PublicKey::from_bytes(file.expose()).unwrap();
        assert_eq!((&key, read.as_str()), (ecdsa().public_key(), comment), "{format:?}");
        let text = String::from_utf8(file.expose().to_vec()).unwrap();
        let other = text.replace("3: ecdsa-sha2-nistp256", "3: ssh-ed25519");
        assert_eq!(PublicKey::from_bytes(other.as_bytes()).is_ok(), other == text);
    }
}

#[test]
fn one_line_with_remarks_before_it() {
    let public = ed25519().public_key();
    let text = format!("\u{feff}# a remark\r\n\r\n   {}  its comment \r\nmore\r\n", public.to_line());
    assert_eq!(PublicKey::from_bytes(text.as_bytes()).unwrap(), (public.clone(), "its comment".to_owned()));
}

#[test]
fn passphrases_of_any_bytes() {
    for passphrase in [&b"x"[..], b"\xff\xfe", b"a\0b", &[b'l'; 1000], &[b'l'; 5000]] {
        let secret = Secret::from(passphrase);
        for format in formats() {
            // OpenSSL takes up to 1024 bytes; what it refuses is an error here.
            match ecdsa().to_format(&format, Some(&secret)) {
                Ok(file) => {
                    let read = PKey::from_bytes(file.expose(), Some(&secret)).unwrap();
                    assert_eq!(read.public_key(), ecdsa().public_key());
                    let cut = Secret::from(&passphrase[..passphrase.len() - 1]);
                    assert!(PKey::from_bytes(file.expose(), Some(&cut)).is_err(), "{format:?}");
                }
                Err(error) => assert!(passphrase.len() > 1024, "{format:?}: {error}"),
            }
        }
    }
    // An empty one is none.
    for format in formats() {
        let file = ecdsa().to_format(&format, Some(&Secret::from(""))).unwrap();
        assert!(PKey::from_bytes(file.expose(), None).is_ok());
    }
}

#[test]
fn a_cut_body_is_no_wrong_passphrase() {
    let headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n";
    for length in [0, 1, 15, 17] {
        let file = pem_of("RSA PRIVATE KEY", headers, &vec![0; length]);
        assert!(matches!(PKey::from_bytes(&file, Some(&secret())), Err(KeyError::Malformed(_))), "{length}");
    }
}

#[cfg(unix)]
#[test]
fn files_that_are_none() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let started = Instant::now();
    for (name, size) in [("exactly", FILE), ("larger", FILE + 1), ("huge", 100 << 20)] {
        let file = std::fs::File::create(path(name)).unwrap();
        file.set_len(size).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
        let large = |error: KeyError| matches!(error, KeyError::InFile { error, .. } if *error == TOO_LARGE);
        assert_eq!(large(PKey::from_file(path(name), None).unwrap_err()), size > FILE);
        assert_eq!(large(PublicKey::from_file(path(name)).unwrap_err()), size > FILE);
    }
    let made = std::process::Command::new("mkfifo").args(["-m", "600"]).arg(path("fifo")).status();
    assert!(made.unwrap().success());
    for file in [path("fifo"), folder.path().to_owned(), path("missing"), "/dev/zero".into()] {
        assert!(PKey::from_file(&file, None).is_err(), "{}", file.display());
        assert!(PKey::all_from_file(&file, None).is_err());
        assert!(PKey::from_file_with(&file, |_| unreachable!()).is_err());
        assert!(matches!(PublicKey::from_file(&file), Err(KeyError::Io { .. })));
    }
    assert_eq!(PKey::from_reader(std::io::repeat(b'\n'), None).unwrap_err(), TOO_LARGE);
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_passphrase_is_asked_for_when_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key with no telling name");
    for format in formats() {
        ecdsa().write_private_key_file_as(&path, &format, None).unwrap();
        let key = PKey::from_file_with(&path, |_| unreachable!("it is not encrypted")).unwrap();
        assert_eq!(key.public_key(), ecdsa().public_key());
        ecdsa().write_private_key_file_as(&path, &format, Some(&secret())).unwrap();
        let mut prompts = Vec::new();
        let key = PKey::from_file_with(&path, |prompt| {
            prompts.push(prompt.to_owned());
            Some(secret())
        });
        assert_eq!(key.unwrap().public_key(), ecdsa().public_key());
        assert_eq!(prompts, [format!("Enter passphrase for key '{}': ", path.display())]);
        let with =
            |answer: Option<&str>| PKey::from_file_with(&path, |_| answer.map(Secret::from)).unwrap_err();
        assert_eq!(with(None), KeyError::PassphraseNeeded);
        assert_eq!(with(Some("Secret")), KeyError::WrongPassphrase);
        let file = std::fs::File::open(&path).unwrap();
        assert_eq!(PKey::from_reader(file, Some(&secret())).unwrap().public_key(), ecdsa().public_key());
    }
}
