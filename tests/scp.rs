//! Copies by the old protocol and by SFTP, between the programs of others and ours.

#![cfg(unix)]

mod given;
mod peers;
mod raw;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use feramiko::{
    Answer, AuthAnswer, Error, ExitStatus, PKey, PublicKey, SCPServer, SSHServer, Secret, ServerHandle,
    ServerInterface, Session, SessionRequest,
};
use peers::{Folder, Keys, Python, example, our_sshd, program, require, sshd, user};
use raw::{Field, Raw, Role, message};
use serde_json::json;

/// Names that a copy must not change; the last is no UTF-8.
const NAMES: &[&[u8]] =
    &[b"plain", b"with space", b"it's \"quoted\"", "naïve ☃".as_bytes(), b"*[a]?", b"-dash", b"\xff\xfe"];

/// A tree with all that may go wrong.
fn tree(root: &Path) {
    let deep = root.join("a/b/c d/e");
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(root.join("empty dir")).unwrap();
    for (number, name) in NAMES.iter().enumerate() {
        fs::write(root.join(OsStr::from_bytes(name)), vec![number as u8; number * 1000]).unwrap();
    }
    fs::write(root.join("large"), pattern(5_000_000)).unwrap();
    fs::write(root.join("none"), "").unwrap();
    fs::write(deep.join("leaf"), "leaf").unwrap();
    fs::set_permissions(root.join("none"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(root.join("plain"), fs::Permissions::from_mode(0o751)).unwrap();
    for path in [root.join("plain"), deep, root.join("a")] {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_500_000_000);
        fs::File::open(path).unwrap().set_modified(time).unwrap();
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size.div_ceil(4) as u32)
        .flat_map(|word| word.wrapping_mul(2_654_435_761).to_be_bytes())
        .take(size)
        .collect()
}

/// Asserts that two trees are the same: names, data, modes, and with `times` when they were written.
fn same(one: &Path, other: &Path, times: bool) {
    let names = |path: &Path| {
        let mut names: Vec<OsString> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(one), names(other), "{}", other.display());
    for name in names(one) {
        let (first, second) = (one.join(&name), other.join(&name));
        let (known, found) = (first.metadata().unwrap(), second.metadata().unwrap());
        if times {
            assert_eq!(known.mode(), found.mode(), "{}", second.display());
            assert_eq!(known.mtime(), found.mtime(), "{}", second.display());
        }
        if known.is_dir() {
            same(&first, &second, times);
        } else {
            assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "{}", second.display());
        }
    }
}

fn keys() -> Option<(Keys, Keys)> {
    Some((Keys::named("host")?, Keys::named("user")?))
}

/// An scp, OpenSSH's or ours, that looks at nothing of the user's.
fn scp(path: impl AsRef<OsStr>, port: u16, keys: &Keys) -> Command {
    let mut command = Command::new(path);
    command.args(["-q", "-B", "-F", "none", "-P", &port.to_string(), "-i"]).arg(keys.private("ed25519"));
    for option in
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "LogLevel=ERROR"]
    {
        command.args(["-o", option]);
    }
    command.stdin(Stdio::null());
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn fails(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{command:?}");
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn there(path: &Path) -> OsString {
    let mut word = OsString::from(format!("{}@127.0.0.1:", user()));
    word.push(path);
    word
}

/// There and back: a tree with its times, a file to a name, several files to a directory.
fn round(scp: &dyn Fn() -> Command) {
    let folder = Folder::new();
    let (from, to, back) = (folder.file("from"), folder.file("to"), folder.file("back"));
    fs::create_dir(&from).unwrap();
    tree(&from);
    done(scp().args(["-r", "-p"]).arg(&from).arg(there(&to)));
    same(&from, &to, true);
    done(scp().args(["-r", "-p"]).arg(there(&to)).arg(&back));
    same(&from, &back, true);
    // Into directories that are there.
    done(scp().arg("-r").arg(&from).arg(there(&to)));
    same(&from, &to.join("from"), false);
    done(scp().arg("-r").arg(there(&from)).arg(&back));
    same(&from, &back.join("from"), false);
    let some = folder.file("some");
    fs::create_dir(&some).unwrap();
    done(scp().arg(from.join("plain")).arg(from.join("with space")).arg(there(&some)));
    assert_eq!(fs::read(some.join("with space")).unwrap(), vec![1; 1000]);
    done(scp().arg(there(&from.join("large"))).arg(there(&from.join("none"))).arg(&some));
    assert!(fs::read(some.join("large")).unwrap() == pattern(5_000_000));
    done(scp().arg(there(&from.join("plain"))).arg(folder.file("named")));
    assert!(folder.file("named").exists());
    let (code, said) = fails(scp().arg(there(&folder.file("missing"))).arg(&some));
    assert!(code == 1 && said.contains("No such file or directory"), "{code} {said}");
    let (code, said) = fails(scp().arg(there(&from)).arg(&some));
    assert!(code == 1 && said.contains("not a regular file"), "{code} {said}");
}

#[test]
fn openssh_s_scp_with_our_sshd() {
    let Some((hosts, keys)) = keys() else { return };
    let Some(theirs) = require("scp", program("scp")) else { return };
    let server = our_sshd(&hosts, &keys);
    round(&|| {
        let mut command = scp(&theirs, server.port(), &keys);
        command.arg("-O");
        command
    });
}

#[test]
fn openssh_s_scp_with_ours_as_the_other_side() {
    let Some((_, keys)) = keys() else { return };
    let Some(theirs) = require("scp", program("scp")) else { return };
    let folder = Folder::new();
    let bin = folder.file("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(example("scp"), bin.join("scp")).unwrap();
    // What is in place of ssh runs the command here.
    let wrapper = folder.file("ssh");
    let script =
        format!("#!/bin/sh\nfor last; do :; done\nPATH={}:$PATH exec sh -c \"$last\"\n", bin.display());
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    round(&|| {
        let mut command = scp(&theirs, 22, &keys);
        command.arg("-O").arg("-S").arg(&wrapper);
        command
    });
    // And both sides ours.
    round(&|| {
        let mut command = scp(example("scp"), 22, &keys);
        command.arg("-O").arg("-S").arg(&wrapper);
        command
    });
}

#[test]
fn our_scp_with_openssh_s_sshd() {
    let Some((hosts, keys)) = keys() else { return };
    let Some(server) = sshd(&hosts, &keys, "") else { return };
    for protocol in ["-O", "-s"] {
        round(&|| {
            let mut command = scp(example("scp"), server.port(), &keys);
            command.arg(protocol);
            command
        });
    }
    let folder = Folder::new();
    let from = folder.file("from");
    fs::create_dir(&from).unwrap();
    tree(&from);
    fs::remove_file(from.join(OsStr::from_bytes(b"\xff\xfe"))).unwrap();
    for (protocol, number) in [("-O", 1), ("-s", 2)] {
        // From one host through here to the other, patterns, URIs.
        let to = folder.file(&format!("to{number}"));
        done(
            scp(example("scp"), server.port(), &keys)
                .args(["-3", "-r", "-p", protocol])
                .arg(there(&from))
                .arg(there(&to)),
        );
        same(&from, &to, true);
        let some = folder.file(&format!("some{number}"));
        fs::create_dir(&some).unwrap();
        done(
            scp(example("scp"), server.port(), &keys)
                .arg(protocol)
                .arg(there(&from.join("l*[a-e]")))
                .arg(&some),
        );
        assert_eq!(fs::read_dir(&some).unwrap().count(), 1, "large");
        let uri = format!("scp://{}@127.0.0.1:{}/{}", user(), server.port(), from.join("plain").display());
        done(scp(example("scp"), 1, &keys).arg(protocol).arg(uri).arg(&some));
        assert!(some.join("plain").exists());
        let (code, _) = fails(scp(example("scp"), 1, &keys).arg(protocol).arg(there(&from)).arg(&some));
        assert_eq!(code, 255);
    }
    let by_ssh = require("ssh", program("ssh"));
    for protocol in ["-O", "-s"].iter().filter(|_| by_ssh.is_some()) {
        let to = folder.file(&format!("by{protocol}"));
        let mut command = scp(example("scp"), server.port(), &keys);
        command.arg("-S").arg(by_ssh.as_ref().unwrap()).args(["-r", protocol]).arg(there(&from)).arg(&to);
        done(&mut command);
        same(&from, &to, false);
    }
}

#[test]
fn options_that_are_wrong_say_so() {
    let run = |words: &[&str]| fails(Command::new(example("scp")).args(words));
    for words in [&["x"][..], &[], &["-l", "0", "a", "b:"], &["-z", "a", "b:"]] {
        assert!(run(words).1.contains("usage: scp"), "{words:?}");
    }
    for (words, text) in [
        (&["-J", "h.invalid", "b:a", "a"][..], "h.invalid"),
        (&["-F", "/none/x", "b:a", "a"], "configuration file /none/x"),
        (&["-A", "a", "b:"], "not built"),
        (&["-oX=1", "a", "b:"], "bad configuration option"),
    ] {
        assert!(run(words).1.contains(text), "{words:?}");
    }
    assert!(run(&["a", "-oX:b"]).1.contains("scp: "));
    assert!(run(&["-X", "what=1", "a", "b:"]).1.contains("nrequests"));
}

/// A server that has files and nothing else.
struct Files {
    scp: SCPServer,
    key: PublicKey,
}

impl ServerInterface for Files {
    fn check_auth_publickey(&self, _: &str, key: &PublicKey) -> AuthAnswer {
        AuthAnswer::when(*key == self.key)
    }

    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, command: &[u8]) -> Answer {
        Answer::when(SCPServer::is_for(command))
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        session.serve_scp(&self.scp)
    }
}

fn files(root: &Path, keys: &Keys, host: &PKey) -> (ServerHandle, u16) {
    let (scp, key) = (SCPServer::new(root), keys.public("ed25519"));
    let handle = SSHServer::builder()
        .host_key(host.clone())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |_| Files {
            scp: scp.clone(),
            key: PublicKey::from_line(&key).unwrap().0,
        })
        .unwrap();
    let port = handle.address().rsplit(':').next().unwrap().parse().unwrap();
    (handle, port)
}

#[test]
fn a_server_of_ours_without_a_program() {
    let Some(keys) = Keys::named("user") else { return };
    let folder = Folder::new();
    let (root, from, back) = (folder.file("root"), folder.file("from"), folder.file("back"));
    for made in [&root, &from, &back] {
        fs::create_dir(made).unwrap();
    }
    tree(&from);
    fs::write(folder.file("secret"), "secret").unwrap();
    let host = given::host_key();
    let (_handle, port) = files(&root, &keys, &host);
    let client = given::client()
        .username("robey")
        .key(PKey::from_file(keys.private("ed25519"), None).unwrap())
        .connect(&format!("127.0.0.1:{port}"))
        .unwrap();
    let ours = client.scp().recursive(true).preserve(true);
    ours.put(&from, "/").unwrap();
    ours.get("from", &back).unwrap();
    same(&from, &back.join("from"), true);
    assert!(matches!(ours.get("../secret", &back), Err(Error::Scp(_))));
    fs::write(from.join("a\nb"), "").unwrap();
    assert!(matches!(ours.put(&from, "again"), Err(Error::Scp(_))));
    fs::remove_file(from.join("a\nb")).unwrap();
    if let Some(theirs) = require("scp", program("scp")) {
        let host = "me@127.0.0.1:";
        done(scp(&theirs, port, &keys).args(["-O", "-r", "-p"]).arg(&from).arg(format!("{host}theirs")));
        same(&from, &root.join("theirs"), true);
        done(
            scp(&theirs, port, &keys)
                .args(["-O", "-r"])
                .arg(format!("{host}theirs"))
                .arg(back.join("theirs")),
        );
        same(&from, &back.join("theirs"), false);
        let (_, said) = fails(scp(&theirs, port, &keys).arg("-O").arg(format!("{host}../secret")).arg(&back));
        assert!(said.contains("No such file"), "{said}");
        let (_, said) = fails(scp(&theirs, port, &keys).arg("-O").arg(format!("{host}$(id)")).arg(&back));
        assert!(said.contains("no shell"), "{said}");
        done(scp(&theirs, port, &keys).arg("-O").arg(format!("{host}theirs/p*")).arg(&back));
        assert!(back.join("plain").exists());
    }
    pscp(&from, &root, &back, port, &host);
    asyncssh(&from, &root, &back, port, &keys);
}

fn pscp(from: &Path, root: &Path, back: &Path, port: u16, host: &PKey) {
    let Some(pscp) = require("pscp", program("pscp")) else { return };
    let home = Folder::new();
    let pscp = || {
        let mut command = Command::new(&pscp);
        command.env("HOME", home.path()).args(["-scp", "-batch", "-q", "-r", "-p", "-l", "me", "-pw", "foo"]);
        command.args(["-P", &port.to_string(), "-hostkey"]).arg(host.public_key().fingerprint());
        command.stdin(Stdio::null());
        command
    };
    done(pscp().arg(from).arg("127.0.0.1:putty"));
    same(from, &root.join("putty"), false);
    done(pscp().arg("127.0.0.1:putty").arg(back));
    same(from, &back.join("putty"), false);
    assert!(!pscp().arg("127.0.0.1:missing").arg(back).output().unwrap().status.success());
}

fn asyncssh(from: &Path, root: &Path, back: &Path, port: u16, keys: &Keys) {
    let spec = |source: &Path, target: &str, up: bool| {
        json!({"host": "127.0.0.1", "port": port, "user": "me", "key": keys.private("ed25519"), "action": "scp",
            "local": source, "remote": target, "up": up})
    };
    // It has no way to name what is no UTF-8.
    let plain = Folder::new();
    let from_plain = plain.file("from");
    done(Command::new("cp").arg("-rp").arg(from).arg(&from_plain));
    fs::remove_file(from_plain.join(OsStr::from_bytes(b"\xff\xfe"))).unwrap();
    let Some(answer) = Python::AsyncSsh.client(&spec(&from_plain, "async", true)) else { return };
    assert!(answer.get("error").is_none(), "{answer}");
    same(&from_plain, &root.join("async"), true);
    let answer = Python::AsyncSsh.client(&spec(&back.join("async"), "async", false)).unwrap();
    assert!(answer.get("error").is_none(), "{answer}");
    same(&from_plain, &back.join("async"), true);
}

#[test]
fn three_hundred_megabytes() {
    let Some((hosts, keys)) = keys() else { return };
    let Some(server) = sshd(&hosts, &keys, "") else { return };
    let folder = Folder::new();
    let (from, to, back) = (folder.file("from"), folder.file("to"), folder.file("back"));
    let data = pattern(300_000_000);
    fs::write(&from, &data).unwrap();
    let client = given::client()
        .username(&user())
        .key(PKey::from_file(keys.private("ed25519"), None).unwrap())
        .connect(&format!("127.0.0.1:{}", server.port()))
        .unwrap();
    client.scp().put(&from, to.as_os_str().as_bytes()).unwrap();
    client.scp().get(to.as_os_str().as_bytes(), &back).unwrap();
    assert!(fs::read(&to).unwrap() == data && fs::read(&back).unwrap() == data);
    // A program that is not there, and words that are not ours.
    let none = client.scp().program("no-such-scp").get("x", &back).unwrap_err();
    assert!(none.to_string().contains("not found"), "{none}");
    let strange = client.scp().program("echo hello; scp").get("x", &back).unwrap_err();
    assert!(matches!(strange, Error::Protocol { .. }), "{strange}");
    let silent = client.scp().timeout(Some(Duration::from_millis(300))).program("sleep 30; scp");
    let started = Instant::now();
    assert!(matches!(silent.get("x", &back), Err(Error::Timeout(_))));
    assert!(started.elapsed() < Duration::from_secs(5));
    // So much in a second.
    let slow = client.scp().bandwidth(Some(1_000_000));
    fs::write(&from, &data[..1_000_000]).unwrap();
    let started = Instant::now();
    slow.put(&from, to.as_os_str().as_bytes()).unwrap();
    assert!(started.elapsed() > Duration::from_millis(900));
}

/// A server whose program has ended before we say anything: what it said is the error, whenever we notice.
#[test]
fn a_program_that_ends_at_once_has_the_last_word() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            let mut raw = Raw::on(stream, Role::Server);
            raw.admit();
            for _ in 0..2 {
                let theirs = raw.accept_session();
                raw.expect(98);
                // In one write: the channel is closed when the answer is seen.
                let all = [
                    message(99).u32(theirs),
                    message(95).u32(theirs).u32(1).string("sh: scp: not found\n"),
                    message(98).u32(theirs).string("exit-status").bool(false).u32(127),
                    message(96).u32(theirs),
                    message(97).u32(theirs),
                ];
                let bytes: Vec<u8> = all.iter().flat_map(|payload| raw.seal(payload)).collect();
                assert!(raw.bytes(&bytes));
                while raw.recv()[0] != 97 {}
            }
            raw.closes(Duration::from_secs(20));
        });
        let client = given::client().username("robey").password("foo").connect(&address).unwrap();
        let folder = Folder::new();
        let got = client.scp().get("x", folder.file("got")).unwrap_err();
        assert!(got.to_string().contains("not found"), "{got}");
        let put = client.scp().put(file!(), "x").unwrap_err();
        assert!(put.to_string().contains("not found"), "{put}");
        client.close();
    });
}
