//! `ssh_keyscan` beside OpenSSH's, against its server.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;

use super::peers::{Server, dropbear, our_sshd, sshd};
use super::*;

/// OpenSSH's program, and its server with host keys and their certificates.
fn bench() -> Option<(std::path::PathBuf, Server, Folder)> {
    let scan = require("ssh-keyscan", program("ssh-keyscan"))?;
    let keygen = require("ssh-keygen", program("ssh-keygen"))?;
    let (hosts, users, folder) = (Keys::named("hosts")?, Keys::named("users")?, Folder::new());
    let mut more = String::new();
    for (kind, _) in KEY_KINDS {
        fs::copy(hosts.private(kind).with_extension("pub"), folder.file(&format!("{kind}.pub"))).unwrap();
        let ca = users.private("ed25519");
        let ca = ca.to_str().unwrap();
        let file = format!("{kind}.pub");
        run(&keygen, folder.path(), &["-q", "-s", ca, "-I", "x", "-h", "-n", "127.0.0.1", &file], b"");
        more += &format!("HostCertificate {}\n", folder.file(&format!("{kind}-cert.pub")).display());
    }
    let server = sshd(&hosts, &users, &more)?;
    Some((scan, server, folder))
}

/// What a program prints, sorted: the order of the answers is chance's.
fn lines(ended: &Ended) -> Vec<String> {
    let mut lines: Vec<_> = ended.stdout.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn keys_of_a_host() {
    let Some((scan, server, folder)) = bench() else { return };
    let port = server.port().to_string();
    fs::write(folder.file("list"), "# hosts\n\n127.0.0.1 Name.example.org,127.0.0.1 # x\n127.0.0.1\n")
        .unwrap();
    for (words, count) in [
        ("127.0.0.1", 3),
        ("-t ed25519 127.0.0.1", 1),
        ("-t ssh-ed25519,ecdsa-sha2-nistp384 -T 30 127.0.0.1", 2),
        ("-t dsa 127.0.0.1", 0),
        ("-c -t ed25519,ecdsa 127.0.0.1", 2),
        ("-c -t rsa 127.0.0.1", 1),
        ("-D -t rsa,ecdsa 127.0.0.1", 4),
        ("-D -t ed25519 localhost", 2),
        ("-4 -t ed25519 127.0.0.1 localhost", 2),
        ("-t ed25519 127.0.0.1/32", 1),
        ("-t ed25519 -f list", 3),
    ] {
        let mut arguments = vec!["-p", &port];
        arguments.extend(words.split(' '));
        let [theirs, ours] =
            [&scan, &example("ssh_keyscan")].map(|program| run(program, folder.path(), &arguments, b""));
        assert_eq!(lines(&ours), lines(&theirs), "{words}: {}", ours.stderr);
        assert_eq!((ours.status, lines(&ours).len()), (theirs.status, count), "{words}: {}", ours.stderr);
        let versions = |ended: &Ended| ended.stderr.lines().filter(|line| line.contains("SSH-2.0-")).count();
        assert_eq!(versions(&ours), versions(&theirs), "{words}: {}", ours.stderr);
    }
    // Hashed names are found again.
    let ours = run(&example("ssh_keyscan"), folder.path(), &["-H", "-p", &port, "127.0.0.1"], b"");
    assert!(ours.stdout.lines().all(|line| line.starts_with("|1|")), "{}", ours.stdout);
    fs::write(folder.file("known"), &ours.stdout).unwrap();
    let host = format!("[127.0.0.1]:{port}");
    let found = run(&program("ssh-keygen").unwrap(), folder.path(), &["-F", &host, "-f", "known"], b"");
    assert_eq!(found.stdout.lines().count(), 6, "{}", found.stdout);
    let only = |hash: &str| {
        let hash = format!("hashalg={hash}");
        let arguments = ["-D", "-q", "-O", &hash, "-t", "rsa", "-p", &port, "127.0.0.1"];
        let ended = run(&example("ssh_keyscan"), folder.path(), &arguments, b"");
        assert_eq!(ended.stderr, "");
        ended.stdout
    };
    assert!(only("sha1").starts_with("127.0.0.1 IN SSHFP 1 1 "));
    assert!(only("SHA256").starts_with("127.0.0.1 IN SSHFP 1 2 "));
}

#[test]
fn keys_of_other_servers() {
    let Some(scan) = require("ssh-keyscan", program("ssh-keyscan")) else { return };
    let (Some(hosts), Some(users)) = (Keys::named("hosts"), Keys::named("users")) else { return };
    let folder = Folder::new();
    let servers = [Some(our_sshd(&hosts, &users)), dropbear(&hosts, &users)];
    for server in servers.into_iter().flatten() {
        let port = server.port().to_string();
        let [theirs, ours] = [&scan, &example("ssh_keyscan")]
            .map(|program| run(program, folder.path(), &["-p", &port, "127.0.0.1"], b""));
        assert_eq!((lines(&ours), ours.status), (lines(&theirs), Some(0)), "{}", ours.stderr);
    }
}

#[test]
fn hosts_that_do_not_answer() {
    let Some((_, server, folder)) = bench() else { return };
    let ask = |arguments: &[&str]| run(&example("ssh_keyscan"), folder.path(), arguments, b"");
    // One listens and says nothing, one says something else and goes, one is not there.
    let [silent, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [silent_port, other_port] =
        [&silent, &other].map(|listener| listener.local_addr().unwrap().port().to_string());
    let ended = ask(&["-T", "1", "-t", "ed25519,rsa,ecdsa", "-p", &silent_port, "127.0.0.1"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        stream.write_all(b"220 mail.example.org ESMTP\r\n").unwrap();
    });
    let ended = ask(&["-t", "ed25519", "-p", &other_port, "127.0.0.1"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    serving.join().unwrap();
    let ended = ask(&["-t", "ed25519", "-p", &other_port, "127.0.0.1"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""), "{}", ended.stderr);
    // The others are asked all the same; of several addresses, the first that answers.
    let port = server.port().to_string();
    let ended = ask(&[
        "-t",
        "ed25519",
        "-p",
        &port,
        "nowhere.invalid",
        "nowhere.invalid,127.0.0.1 name",
        "127.0.0.1",
    ]);
    assert_eq!((ended.status, ended.stdout.lines().count()), (Some(0), 2), "{}", ended.stderr);
    assert!(ended.stdout.starts_with(&format!("[name]:{port} ssh-ed25519 ")), "{}", ended.stdout);
}

#[test]
fn wrong_questions() {
    let Some(scan) = require("ssh-keyscan", program("ssh-keyscan")) else { return };
    let folder = Folder::new();
    for arguments in [
        &[][..],
        &["-p", "0", "x"],
        &["-p", "x", "x"],
        &["-T", "0", "x"],
        &["-T", "x", "x"],
        &["-t", "odd", "x"],
        &["-W"],
        &["-f", "absent"],
    ] {
        let [theirs, ours] =
            [&scan, &example("ssh_keyscan")].map(|program| run(program, folder.path(), arguments, b""));
        assert_eq!(
            (ours.status, &ours.stdout),
            (theirs.status, &theirs.stdout),
            "{arguments:?} {}",
            ours.stderr
        );
        assert!(!ours.stderr.is_empty(), "{arguments:?}");
    }
}
