//! Keys: making, showing, changing, converting.

use feramiko::{KeyFormat, PKey, PpkParams, Secret};

use super::*;

#[test]
fn fingerprints_and_pictures() {
    let Some(both) = Both::new() else { return };
    both.made(&["-q", "-t", "ed25519", "-N", "secret", "-C", "sealed", "-f", "enc"], b"", &["enc"]);
    fs::remove_file(both.theirs.file("enc.pub")).unwrap();
    let [one, two] = ["ed25519", "rsa"].map(|kind| both.line(kind));
    let bare: Vec<_> = one.split(' ').take(2).collect();
    let bare = bare.join(" ");
    both.write("bare", format!("{bare}\n").as_bytes());
    both.write("nothing", b"no key\n\n# nothing\n");
    both.write(
        "authorized",
        format!(
            "# two keys\n\n  {one}\nrestrict,command=\"echo \\\" a b\" {two}\nssh-rsa broken\nno-pty {bare}\n"
        )
        .as_bytes(),
    );
    both.write("known", format!("host,10.0.0.1 {bare}\n|1|a|b {two}\n@revoked * {two}\n").as_bytes());
    both.write("two", format!("{one}\n{two}\n{one} # remark\n").as_bytes());
    both.write("crlf", format!("{one}\r\n").as_bytes());
    both.write("odd", format!("22 {one}\nhost  {one}\n0 {one}\n").as_bytes());
    for (kind, _) in KEY_KINDS {
        for command in
            ["-l -f", "-lv -f", "-l -E md5 -f", "-lv -E MD5 -f", "-lv -E sha512 -f", "-l -E sha1 -f"]
        {
            both.all_same(&[(&format!("{command} {kind}"), 0), (&format!("{command} {kind}.pub"), 0)]);
        }
    }
    both.all_same(&[
        ("-l -f enc", 0),
        ("-lv -f authorized", 0),
        ("-lv -f known", 0),
        ("-l -f two", 0),
        ("-l -f bare", 0),
        ("-l -f crlf", 0),
        ("-l -f odd", 0),
        ("-l -f nothing", 255),
        ("-l -f absent", 255),
        ("-l -E sha3 -f rsa", 255),
    ]);
    both.same(&["-l", "-f", "-"], format!("{one}\n").as_bytes());
}

#[test]
fn public_halves() {
    let Some(both) = Both::new() else { return };
    both.made(&["-q", "-t", "ecdsa", "-N", "secret", "-C", "sealed", "-f", "enc"], b"", &["enc", "enc.pub"]);
    both.made(
        &["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", "pem"],
        b"",
        &["pem", "pem.pub"],
    );
    both.made(&["-q", "-t", "ecdsa", "-m", "PKCS8", "-N", "secret", "-f", "p8"], b"", &["p8", "p8.pub"]);
    for (kind, _) in KEY_KINDS {
        both.all_same(&[(&format!("-y -f {kind}"), 0)]);
    }
    both.all_same(&[
        ("-y -P secret -f enc", 0),
        ("-y -P wrong -f enc", 255),
        ("-y -f pem", 0),
        ("-y -P secret -f p8", 0),
        ("-y -f rsa.pub", 255),
        ("-y -f absent", 255),
        ("-l -f pem", 0),
    ]);
    both.same(&["-y", "-f", "enc"], b"secret\n");
    for folder in [&both.theirs, &both.ours] {
        fs::set_permissions(folder.file("rsa"), fs::Permissions::from_mode(0o644)).unwrap();
    }
    both.all_same(&[("-y -f rsa", 255)]);
}

#[test]
fn conversions() {
    let Some(both) = Both::new() else { return };
    for (kind, _) in KEY_KINDS {
        let (text, _) = both.same(&["-e", "-f", &format!("{kind}.pub")], b"");
        both.write("rfc", text.as_bytes());
        both.all_same(&[(&format!("-e -f {kind}"), 0), ("-i -f rfc", 0), ("-i -m PEM -f rfc", 255)]);
        if *kind == "ed25519" {
            continue;
        }
        for format in ["PKCS8", "PEM", "pem"] {
            let (text, _) = both.same(&["-e", "-m", format, "-f", &format!("{kind}.pub")], b"");
            both.write("pem", text.as_bytes());
            let of_rsa = kind == &"rsa" && format != "PKCS8";
            both.all_same(&[("-i -m PKCS8 -f pem", 0), ("-i -m PEM -f pem", if of_rsa { 0 } else { 255 })]);
        }
    }
    both.all_same(&[
        ("-e -m odd -f rsa", 255),
        ("-e -f absent", 255),
        ("-i -f absent", 255),
        ("-i -f rsa", 255),
    ]);
    // What OpenSSH 9.2 cannot.
    let (_, ours) = both.run(&["-e", "-m", "PKCS8", "-f", "ed25519.pub"], b"");
    assert!(ours.stdout.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{ours:?}");
}

#[test]
fn records_for_the_dns() {
    let Some(both) = Both::new() else { return };
    both.made(&["-q", "-s", "ca", "-I", "x", "-h", "rsa.pub"], b"", &["rsa-cert.pub"]);
    for (kind, _) in KEY_KINDS {
        both.all_same(&[
            (&format!("-r host.example.org -f {kind}"), 0),
            (&format!("-r host.example.org -g -f {kind}.pub"), 0),
        ]);
    }
    both.all_same(&[("-r host -f rsa-cert.pub", 0), ("-r host -f absent", 255)]);
    // What newer ones than 9.2 can.
    for (hash, number) in [("sha1", "1"), ("SHA256", "2")] {
        let arguments = ["-r", "host", "-O", &format!("hashalg={hash}"), "-f", "rsa"];
        let ended = run(&example("ssh_keygen"), both.ours.path(), &arguments, b"");
        assert!(ended.stdout.starts_with(&format!("host IN SSHFP 1 {number} ")), "{ended:?}");
        assert_eq!(ended.stdout.lines().count(), 1);
    }
    let ended = run(&example("ssh_keygen"), both.ours.path(), &["-r", "x", "-O", "odd", "-f", "rsa"], b"");
    assert_eq!(ended.status, Some(255), "{ended:?}");
    // This machine's own, if it has any.
    both.same(&["-r", "host"], b"");
}

#[test]
fn making_keys() {
    let Some(both) = Both::new() else { return };
    for (arguments, passphrase, kind, bits) in [
        ("-t ed25519", "secret", "ssh-ed25519", 256),
        ("-t ecdsa", "", "ecdsa-sha2-nistp256", 256),
        ("-t ecdsa -b 521", "secret", "ecdsa-sha2-nistp521", 521),
        ("-t ecdsa-sha2-nistp384", "", "ecdsa-sha2-nistp384", 384),
        ("-t rsa -b 2048 -m PEM", "secret", "ssh-rsa", 2048),
        ("-t dsa -Z aes256-gcm@openssh.com", "secret", "ssh-dss", 1024),
    ] {
        let mut words: Vec<_> = arguments.split(' ').collect();
        words.extend(["-a", "1", "-N", passphrase, "-C", "a b", "-f", "new"]);
        let (theirs, ours) = both.run(&words, b"y\n");
        assert_eq!(ours.status, Some(0), "{ours:?}");
        // The fingerprint and its picture differ, and so may the question.
        let shape = |text: &str| text.lines().map(|line| line.len()).collect::<Vec<_>>();
        assert_eq!(shape(&ours.stdout), shape(&theirs.stdout), "{}", ours.stdout);
        // Each reads what the other has written.
        for name in ["new", "new.pub"] {
            let (mine, other) = (both.ours.file(name), both.theirs.file(name));
            fs::copy(&mine, both.theirs.file("swap")).unwrap();
            fs::copy(&other, mine).unwrap();
            fs::rename(both.theirs.file("swap"), other).unwrap();
        }
        let (theirs, ours) = both.run(&["-y", "-P", passphrase, "-f", "new"], b"");
        for shown in [theirs, ours] {
            assert!(shown.stdout.starts_with(&format!("{kind} ")), "{shown:?}");
            let commented = !arguments.contains("PEM");
            assert_eq!(shown.stdout.ends_with(" a b\n"), commented, "{shown:?}");
        }
        let (theirs, ours) = both.run(&["-l", "-f", "new.pub"], b"");
        assert!(
            ours.stdout.starts_with(&format!("{bits} "))
                && theirs.stdout.ends_with(" a b (DSA)\n") == (kind == "ssh-dss")
        );
    }
    let mode = |name: &str| fs::metadata(both.ours.file(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("new"), mode("new.pub")), (0o600, 0o644));
    for (folder, name) in
        [&both.theirs, &both.ours].into_iter().flat_map(|folder| [(folder, "new"), (folder, "new.pub")])
    {
        fs::remove_file(folder.file(name)).unwrap();
    }
    both.all_same(&[
        ("-t odd -f odd -N x", 255),
        ("-t ecdsa -b 123 -f odd -N x", 255),
        ("-t dsa -b 2048 -f odd -N x", 255),
        ("-t rsa -b 512 -f odd -N x", 255),
        ("-t rsa -b 0 -f odd -N x", 255),
        ("-t rsa -a 0 -f odd -N x", 255),
        ("-p -c", 1),
        ("-l -H", 1),
        ("-W", 1),
        ("too many", 1),
    ]);
}

#[test]
fn an_existing_key_is_not_overwritten_unasked() {
    let Some(both) = Both::new() else { return };
    for answer in ["n\n", "", "no\n"] {
        both.same(&["-t", "ed25519", "-N", "", "-f", "rsa"], answer.as_bytes());
        both.same_files("a refused question");
    }
    let (theirs, ours) = both.run(&["-q", "-t", "ed25519", "-N", "", "-f", "rsa"], b"y\n");
    assert_eq!((ours.stdout, ours.status), (theirs.stdout, Some(0)));
    assert!(both.line("rsa").starts_with("ssh-ed25519 "));
}

#[test]
fn a_passphrase_is_changed() {
    let Some(both) = Both::new() else { return };
    let path = both.ours.file("rsa");
    both.same(&["-p", "-P", "", "-N", "first one", "-f", "rsa"], b"");
    assert!(PKey::from_file(&path, Some("first one")).is_ok());
    both.same(&["-p", "-P", "wrong", "-N", "x", "-f", "rsa"], b"");
    both.same(&["-p", "-P", "first one", "-N", "second", "-a", "2", "-f", "rsa"], b"");
    assert_eq!(PKey::from_file(&path, Some("second")).unwrap().comment(), "feramiko test");
    both.same(&["-p", "-f", "rsa"], b"second\nthird\nthird\n");
    both.same(&["-p", "-f", "rsa"], b"third\none\nother\n");
    both.same(&["-p", "-P", "third", "-N", "", "-m", "PEM", "-f", "rsa"], b"");
    assert!(fs::read_to_string(&path).unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    both.same(&["-p", "-P", "", "-N", "", "-f", "rsa"], b"");
    both.same(&["-p", "-f", "absent"], b"");
    let shown = run(&both.keygen, both.ours.path(), &["-y", "-f", "rsa"], b"");
    assert_eq!(shown.status, Some(0), "{shown:?}");
}

#[test]
fn a_comment_is_changed() {
    let Some(both) = Both::new() else { return };
    both.made(&["-q", "-t", "ecdsa", "-N", "secret", "-C", "", "-f", "enc"], b"", &["enc", "enc.pub"]);
    both.made(
        &["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-f", "pem"],
        b"",
        &["pem", "pem.pub"],
    );
    for (arguments, input) in [
        (&["-c", "-C", "new comment", "-f", "rsa"][..], ""),
        (&["-c", "-C", "new comment", "-f", "rsa"], ""),
        (&["-c", "-C", "", "-f", "rsa"], ""),
        (&["-c", "-f", "rsa"], "typed\n"),
        (&["-c", "-f", "rsa"], ""),
        (&["-c", "-P", "secret", "-C", "x", "-f", "enc"], ""),
        (&["-c", "-P", "wrong", "-C", "x", "-f", "enc"], ""),
        (&["-c", "-C", "x", "-f", "pem"], ""),
        (&["-c", "-m", "PEM", "-C", "x", "-f", "rsa"], ""),
        (&["-c", "-C", "x", "-f", "absent"], ""),
    ] {
        both.same(arguments, input.as_bytes());
        for name in ["rsa.pub", "enc.pub", "pem.pub"] {
            let [theirs, ours] =
                [&both.theirs, &both.ours].map(|folder| fs::read_to_string(folder.file(name)).unwrap());
            assert_eq!(ours, theirs, "{arguments:?}");
        }
    }
    let shown = run(&both.keygen, both.ours.path(), &["-y", "-P", "secret", "-f", "enc"], b"");
    assert!(shown.stdout.ends_with(" x\n"), "{shown:?}");
}

#[test]
fn host_keys_of_every_type() {
    let Some(both) = Both::new() else { return };
    for folder in [&both.theirs, &both.ours] {
        fs::create_dir_all(folder.file("root/etc/ssh")).unwrap();
        fs::write(folder.file("root/etc/ssh/ssh_host_rsa_key"), "there already").unwrap();
    }
    both.same(&["-A", "-f", "root"], b"");
    let names = |folder: &Folder| contents(&folder.file("root/etc/ssh")).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&both.ours), names(&both.theirs));
    assert_eq!(names(&both.ours).len(), 5);
    both.same(&["-A", "-f", "root"], b"");
    let key = PKey::from_file(both.ours.file("root/etc/ssh/ssh_host_ecdsa_key"), None).unwrap();
    assert!(key.comment().contains('@') && key.public_key().bits() == 256);
}

#[test]
fn what_is_not_built_says_so() {
    let Some(both) = Both::new() else { return };
    for arguments in
        [&["-t", "ed25519-sk", "-f", "x"][..], &["-K"], &["-M", "generate", "x"], &["-D", "x.so"], &["-B"]]
    {
        let ended = run(&example("ssh_keygen"), both.ours.path(), arguments, b"");
        assert_eq!(ended.status, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("not built"), "{ended:?}");
    }
    // Keys of PuTTY are read like others.
    let key = PKey::from_file(both.ours.file("ed25519"), None).unwrap();
    let ppk = key.to_format(&KeyFormat::Ppk(PpkParams::default()), Some(&Secret::from("secret"))).unwrap();
    both.write("ppk", ppk.expose());
    let ended = run(&example("ssh_keygen"), both.ours.path(), &["-y", "-P", "secret", "-f", "ppk"], b"");
    assert_eq!(ended.stdout, both.line("ed25519") + "\n");
}
