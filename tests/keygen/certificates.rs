//! Certificates: signed by one, shown by the other.

use super::*;

/// Signs with both and has both show both certificates: but for the times that are counted from now on
/// and what is random, they say the same.
fn signed(both: &Both, arguments: &[&str], files: &[&str]) {
    let (theirs, ours) = both.run(arguments, b"");
    assert_eq!(
        (&ours.stdout, ours.status),
        (&theirs.stdout, theirs.status),
        "{arguments:?} {} {}",
        ours.stderr,
        theirs.stderr
    );
    assert_eq!(ours.status, Some(0), "{arguments:?}");
    for name in files {
        let shown: Vec<_> = [
            (&both.theirs, &both.keygen),
            (&both.ours, &both.keygen),
            (&both.theirs, &example("ssh_keygen")),
            (&both.ours, &example("ssh_keygen")),
        ]
        .into_iter()
        .map(|(folder, program)| run(program, folder.path(), &["-L", "-f", name], b""))
        .collect();
        assert_eq!(shown[0].status, Some(0), "{arguments:?}: {:?}", shown[0]);
        assert_eq!(shown[0].stdout, shown[2].stdout, "{arguments:?}");
        assert_eq!(shown[1].stdout, shown[3].stdout, "{arguments:?}");
        let without_time = |text: &str| {
            text.lines().filter(|line| !line.contains("Valid: ")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(without_time(&shown[0].stdout), without_time(&shown[1].stdout), "{arguments:?}");
        // Counted from now, which a second may pass in.
        let relative = |word: &&str| word.split(':').any(|time| time.starts_with(['+', '-']));
        let validity = arguments.iter().skip_while(|word| **word != "-V").nth(1);
        if !validity.is_some_and(relative) {
            assert_eq!(shown[0].stdout, shown[1].stdout, "{arguments:?}");
        }
        for folder in [&both.theirs, &both.ours] {
            fs::remove_file(folder.file(name)).unwrap();
        }
    }
}

#[test]
fn certificates_say_what_was_asked_for() {
    let Some(both) = Both::new() else { return };
    let user = &["-q", "-s", "ca", "-I", "an id"][..];
    let more: &[&[&str]] = &[
        &[],
        &["-n", "me,you,third", "-z", "7"],
        &["-z", "18446744073709551615", "-V", "always:forever"],
        &["-V", "20200101:20301231"],
        &["-V", "20200101120000:20301231235959Z"],
        &["-V", "202001011200Z:forever"],
        &["-V", "always:20301231UTC"],
        &["-V", "0x10:0x5f3759df"],
        &["-V", "always:0x5F3759DF"],
        &["-V", "+52w"],
        &["-V", "+1h30m"],
        &["-V", "-1d:+5m"],
        &["-V", "-1w2d:forever"],
        &["-O", "clear"],
        &["-O", "clear", "-O", "permit-pty", "-O", "permit-X11-forwarding"],
        &["-O", "no-pty", "-O", "no-user-rc", "-O", "no-agent-forwarding", "-O", "no-port-forwarding"],
        &["-O", "no-x11-forwarding", "-O", "no-touch-required", "-O", "verify-required"],
        &[
            "-O",
            "no-touch-required",
            "-O",
            "touch-required",
            "-O",
            "verify-required",
            "-O",
            "no-verify-required",
        ],
        &["-O", "force-command=echo a=b c", "-O", "source-address=10.0.0.0/8,::1,192.168.1.1"],
        &["-O", "extension:a@b.org=val=ue", "-O", "extension:flag@b.org", "-O", "critical:c@b.org=x"],
        &["-O", "critical:flag@b.org", "-O", "extension:empty@b.org="],
        &["-O", "clear", "-O", "extension:permit-pty", "-O", "Permit-User-RC"],
        &["-h"],
        &["-h", "-n", "host.example.org,10.0.0.1", "-z", "+3"],
        &["-h", "-O", "permit-pty"],
        &["-E", "md5"],
        &["-t", "ssh-ed25519"],
    ];
    for words in more {
        let arguments = [user, words, &["rsa.pub"]].concat();
        signed(&both, &arguments, &["rsa-cert.pub"]);
    }
}

#[test]
fn long_texts_are_shown_in_full() {
    let Some(both) = Both::new() else { return };
    let (id, command) = ("long id ".repeat(60), format!("force-command={}", "echo é ".repeat(90)));
    signed(&both, &["-q", "-s", "ca", "-I", &id, "-O", &command, "rsa.pub"], &["rsa-cert.pub"]);
}

#[test]
fn certificates_of_every_key_by_every_authority() {
    let Some(both) = Both::new() else { return };
    for (kind, _) in KEY_KINDS {
        let file = format!("{kind}-cert.pub");
        signed(&both, &["-s", kind, "-I", "id", "-n", "me", &format!("{kind}.pub")], &[&file]);
        signed(&both, &["-q", "-s", "ca", "-I", "id", kind], &[&file]);
    }
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        signed(&both, &["-s", "rsaca", "-t", algorithm, "-I", "id", "ed25519.pub"], &["ed25519-cert.pub"]);
    }
    let arguments = ["-s", "ca", "-I", "id", "-z", "+41", "rsa.pub", "ed25519.pub", "ecdsa256"];
    signed(&both, &arguments, &["rsa-cert.pub", "ed25519-cert.pub", "ecdsa256-cert.pub"]);
    both.made(&["-q", "-t", "ed25519", "-N", "secret", "-f", "enc"], b"", &["enc", "enc.pub"]);
    signed(&both, &["-s", "enc", "-P", "secret", "-I", "id", "rsa.pub"], &["rsa-cert.pub"]);
}

#[test]
fn the_report_of_a_signed_certificate() {
    let Some(both) = Both::new() else { return };
    let arguments =
        ["-s", "ca", "-I", "an id", "-n", "me,you", "-z", "5", "-V", "20200101:20300101", "rsa.pub"];
    let (theirs, ours) = both.run(&arguments, b"");
    assert_eq!(ours.stderr, theirs.stderr.replace('\r', ""));
}

#[test]
fn wrong_wishes() {
    let Some(both) = Both::new() else { return };
    both.made(&["-q", "-s", "ca", "-I", "x", "ed25519.pub"], b"", &["ed25519-cert.pub"]);
    for words in [
        "-V +1x",
        "-V 2020:forever",
        "-V forever:always",
        "-V +2d:+1d",
        "-V 20200101",
        "-V :",
        "-V 0xzz:forever",
        "-V always:always",
        "-V -60000w:forever",
        "-O odd",
        "-O force-command=",
        "-O source-address=",
        "-O source-address=host",
        "-O source-address=10.0.0.1/8",
        "-O source-address=10.0.0.0/33",
        "-O source-address=10.0.0.0/8,",
        "-n me,,you",
        "-n ,",
        "-z x",
        "-z -1",
        "-z 18446744073709551616",
        "-z +",
        "-t rsa",
        "-t odd",
    ] {
        both.all_same(&[(&format!("-q -s ca -I id {words} rsa.pub"), 255)]);
    }
    let twice = "-q -s ca -I id -O force-command=a -O force-command=b rsa.pub";
    both.all_same(&[
        (twice, 255),
        ("-s ca rsa.pub", 255),
        ("-s ca -I id", 1),
        ("-s absent -I id rsa.pub", 255),
        ("-s ca -I id absent.pub", 255),
        ("-s ca -I id ed25519-cert.pub", 255),
        ("-U -s ca -I id rsa.pub", 255),
        ("-L -f rsa.pub", 1),
        ("-L -f absent", 255),
        ("-L -f ed25519-cert.pub", 0),
    ]);
}

#[test]
fn files_of_certificates() {
    let Some(both) = Both::new() else { return };
    for (kind, _) in KEY_KINDS {
        let file = format!("{kind}-cert.pub");
        both.made(&["-q", "-s", "rsaca", "-I", kind, "-n", "a,b", kind], b"", &[&file]);
    }
    let lines: Vec<_> = KEY_KINDS.iter().map(|(kind, _)| both.line(&format!("{kind}-cert"))).collect();
    let text = format!("# all\n\n{}\n{}\n", lines.join("\n"), both.line("rsa"));
    both.write("all", text.as_bytes());
    both.write("first", lines.join("\n").as_bytes());
    both.write("broken", lines[0].replace("AAAA", "AAAB").as_bytes());
    both.all_same(&[("-L -f all", 0), ("-L -f first", 0), ("-L -f broken", 1), ("-L -E sha512 -f all", 0)]);
    both.same(&["-L", "-f", "-"], text.as_bytes());
    for (kind, _) in KEY_KINDS {
        both.all_same(&[(&format!("-lv -f {kind}-cert.pub"), 0), (&format!("-e -f {kind}-cert.pub"), 0)]);
    }
}

#[test]
fn clocks_of_a_place() {
    let Some(both) = Both::new() else { return };
    both.made(&["-q", "-s", "ca", "-I", "x", "-V", "20200115:20250715", "rsa.pub"], b"", &["rsa-cert.pub"]);
    let shown = |program: &Path, zone: &str| {
        let mut command = Command::new(program);
        command.args(["-L", "-f", "rsa-cert.pub"]).current_dir(both.ours.path()).env("TZ", zone);
        String::from_utf8(output(&mut command, "").stdout).unwrap()
    };
    for zone in ["CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "XYZ-5:30"] {
        assert_eq!(shown(&example("ssh_keygen"), zone), shown(&both.keygen, zone), "{zone}");
    }
}
