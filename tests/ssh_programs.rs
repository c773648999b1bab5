//! The programs `ssh` and `sshd`, and paramiko's demos: which options count, what they say, how they end.

#![cfg(unix)]

mod peers;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use peers::{Folder, Keys, Server, example, keeper, our_sshd, sshd, start, user};

/// Longer than anything here takes, in seconds; `timeout` then ends the program with this status.
const PATIENCE: &str = "30";
const HUNG: i32 = 124;
/// The number of SIGPIPE.
const PIPE: i32 = 13;

/// A program that ends in time.
fn bounded(name: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(example(name)).stdin(Stdio::null());
    command
}

/// Our `ssh`, that looks at nothing of the user's.
fn ssh(known: &Folder, keys: &Keys) -> Command {
    let mut command = bounded("ssh");
    command.args(["-F", "none", "-o", "BatchMode=yes", "-i"]).arg(keys.private("ed25519"));
    command.arg(format!("-oUserKnownHostsFile={}", known.file("known").display()));
    command.args(["-o", "GlobalKnownHostsFile=none"]).env_remove("SSH_AUTH_SOCK");
    command
}

/// The same, that takes the host as it is.
fn trusting(known: &Folder, keys: &Keys, port: u16) -> Command {
    let mut command = ssh(known, keys);
    command.args(["-o", "StrictHostKeyChecking=accept-new", "-p", &port.to_string()]);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Its exit status and what it printed on standard output.
fn answer(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn keys() -> Option<(Keys, Keys)> {
    Some((Keys::named("host")?, Keys::named("user")?))
}

/// Our server and OpenSSH's.
fn servers() -> Option<(Keys, [Server; 2])> {
    let (host, own) = keys()?;
    let servers = [our_sshd(&host, &own), sshd(&host, &own, "")?];
    Some((own, servers))
}

#[test]
fn wrong_values_are_errors() {
    for option in [
        "StrictHostKeyChecking=banana",
        "BatchMode=maybe",
        "RequestTTY=sometimes",
        "Compression=9",
        "HashKnownHosts=hash",
        "CheckHostIP=1",
        "UpdateHostKeys=often",
        "IdentitiesOnly=",
        "ForwardAgent=yes no",
        "Port=0",
        "ConnectTimeout=soon",
        "RekeyLimit=1G 1h 1h",
        "RekeyLimit=1",
        "SetEnv=A",
        "ServerAliveCountMax=x",
        "Ciphers=rot13",
        "LogLevel=LOUD",
        "User=\"me",
        "NoSuchOption=yes",
    ] {
        // The second counts for nothing, and is an error all the same.
        for before in [&[][..], &["-oBatchMode=yes"]] {
            let output = bounded("ssh").args(before).args(["-q", "-o", option, "host"]).output().unwrap();
            assert_eq!(output.status.code(), Some(255), "{option}");
            assert!(said(&output).contains(&format!("-o {option}: ")), "{option}: {}", said(&output));
        }
    }
    for (arguments, text) in [
        (&["-p", "0", "host"][..], "Bad port '0'"),
        (&["ssh://host:port"], "ssh://host:port: bad URI"),
        (&["-s", "host"], "You must specify a subsystem to invoke."),
        (&["-F", "/no/such/config", "host"], "configuration file /no/such/config"),
        (&["@host"], "usage: "),
        (&[], "usage: "),
        (&["-J", "jump.invalid", "-F", "none", "host"], "jump.invalid"),
        (&["-L", "80:h", "-F", "none", "host"], "bad forwarding specification"),
        (&["-O", "check", "-F", "none", "host"], "No ControlPath specified"),
        (&["-O", "dance", "-S", "/none", "-F", "none", "host"], "Invalid multiplex command."),
        (&["-f", "-F", "none", "host"], "without a command"),
        (&["-w", "0", "-F", "none", "host"], "-w is not built"),
        (&["-o", "Tunnel=yes", "-F", "none", "host"], "Tunnel is not built"),
        (&["-1", "host"], "protocol"),
        (&["-o", "VerifyHostKeyDNS=yes", "-F", "none", "host"], "verifyhostkeydns"),
    ] {
        let output = bounded("ssh").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(255), "{arguments:?}");
        assert!(said(&output).contains(text), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn what_is_no_text_is_refused_or_passed_on() {
    let odd = OsString::from_vec(b"a\xff".to_vec());
    for option in ["-l", "-o", "-c"] {
        let output = bounded("ssh").arg(option).arg(&odd).arg("host").output().unwrap();
        assert_eq!(output.status.code(), Some(255));
        assert!(said(&output).contains("not UTF-8"), "{option}: {}", said(&output));
    }
    for program in ["ssh_keygen", "ssh_keyscan", "demo", "demo_keygen", "bench_files", "demo_server"] {
        let output = bounded(program).arg(&odd).output().unwrap();
        assert!(!output.status.success());
        assert!(said(&output).contains("not UTF-8"), "{program}: {}", said(&output));
    }
    let Some((host, own)) = keys() else { return };
    let Some(server) = sshd(&host, &own, "") else { return };
    let (known, files) = (Folder::new(), Folder::new());
    let identity = files.path().join(&odd);
    fs::copy(own.private("ed25519"), &identity).unwrap();
    let mut command = trusting(&known, &Keys::named("host").unwrap(), server.port());
    command.arg("-i").arg(&identity).args(["-o", "SendEnv=ODD_?AM*E", "127.0.0.1"]);
    command.env("ODD_NAME", &odd).env("ODD_NOTHING", "x").env(&odd, "x");
    let output =
        command.arg(OsStr::from_bytes(b"printf '%s' \"$ODD_NAME$ODD_NOTHING\xfe\"")).output().unwrap();
    assert_eq!(output.stdout, b"a\xff\xfe", "{}", said(&output));
}

#[test]
fn the_first_value_counts() {
    let Some((host, own)) = keys() else { return };
    let Some(server) = sshd(&host, &own, "") else { return };
    let (known, port) = (Folder::new(), server.port().to_string());
    let me = user();
    // A host that nobody knows: only the first says what becomes of it.
    let strict = ["-o", "StrictHostKeyChecking=yes", "-o", "StrictHostKeyChecking=no"];
    let refused = ssh(&known, &own).args(strict).args(["-p", &port, "127.0.0.1", "true"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(255));
    assert!(!known.file("known").exists(), "{}", said(&refused));

    let uri = |port: &str| format!("ssh://{me}@127.0.0.1:{port}/");
    let at = "nobody-of-that-name@127.0.0.1";
    for (arguments, expected) in [
        (&["-p", &port, &uri(&port)][..], Some(0)),
        (&["-p", &port, &uri("1")], Some(0)),
        (&["-o", &format!("Port={port}"), "-p", "1", "127.0.0.1"], Some(0)),
        (&["-p", "1", &uri(&port)], Some(255)),
        (&[&uri(&port), "-p", "1"], Some(0)),
        (&["-p", &port, "-l", &me, at], Some(0)),
        (&["-p", &port, "-o", &format!("User={me}"), "-l", "nobody-of-that-name", at], Some(0)),
        (&["-p", &port, at, "-l", &me], Some(255)),
    ] {
        let mut command = ssh(&known, &own);
        command.args(["-o", "StrictHostKeyChecking=accept-new"]).args(arguments);
        assert_eq!(command.arg("true").output().unwrap().status.code(), expected, "{arguments:?}");
    }

    // Lists grow, but for SetEnv, as with OpenSSH; all of one line counts.
    let mut command = trusting(&known, &own, server.port());
    command.args(["-o", "SetEnv=A=1 B='2 3'", "-o", "SetEnv=A=9", "-o", "SendEnv=C", "-o", "SendEnv=D* E"]);
    command.args([
        "-o",
        "SendEnv=-D2",
        "-oRekeyLimit=1G 1h",
        "-oConnectTimeout=1m",
        "-oServerAliveInterval=5s",
    ]);
    for name in ["C", "D1", "E"] {
        command.env(name, name);
    }
    let (status, text) = answer(command.args(["127.0.0.1", "echo $A,$B,$C,$D1,$E"]));
    assert_eq!((status, &text[..]), (Some(0), "1,2 3,C,D1,E\n"));
}

#[test]
fn quiet_is_quiet() {
    for arguments in [&["-q"][..], &["-o", "LogLevel=QUIET"], &["-v", "-q"]] {
        let output =
            bounded("ssh").args(arguments).args(["-F", "none", "-p", "1", "127.0.0.1"]).output().unwrap();
        assert_eq!((output.status.code(), &said(&output)[..]), (Some(255), ""), "{arguments:?}");
    }
    let log = Folder::new();
    let output =
        bounded("ssh").arg("-E").arg(log.file("log")).args(["-p", "1", "127.0.0.1"]).output().unwrap();
    assert_eq!(said(&output), "");
    assert!(fs::read_to_string(log.file("log")).unwrap().starts_with("ssh: "));
}

#[test]
fn a_reader_of_ssh_that_goes_away() {
    let Some((own, servers)) = servers() else { return };
    for (server, name) in servers.iter().zip(["ours", "sshd"]) {
        let known = Folder::new();
        let mut command = trusting(&known, &own, server.port());
        let mut child = command.args(["127.0.0.1", "yes"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 2];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
        drop(child.stdout.take());
        let status = child.wait().unwrap().code();
        assert_ne!(status, Some(HUNG), "{name}");
        assert_eq!(status, Some(255), "{name}");

        let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
        let mut command = trusting(&known, &own, server.port());
        let status = command.args(["127.0.0.1", "seq 1 100000; exit 7"]).stdout(full()).status().unwrap();
        assert_eq!(status.code(), Some(7), "{name}");
        let mut command = trusting(&known, &own, server.port());
        let status = command.args(["127.0.0.1", "echo error >&2; exit 7"]).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(7), "{name}");
    }
}

/// A pipe whose reader is gone.
fn nobody() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
fn nobody_listens() {
    let keys = Folder::new();
    for (program, arguments) in [
        ("ssh", &["-Q", "cipher"][..]),
        ("demo_keygen", &[keys.file("key").to_str().unwrap()]),
        ("quickstart", &[]),
        ("ssh_keygen", &["-t", "ed25519", "-N", "", "-f", keys.file("other").to_str().unwrap()]),
    ] {
        let mut command = Command::new(example(program));
        let output = command.args(arguments).stdin(Stdio::null()).stdout(nobody()).output().unwrap();
        assert_eq!((output.status.signal(), &said(&output)[..]), (Some(PIPE), ""), "{program}");
    }
    for program in ["ssh", "sshd", "ssh_add", "ssh_keygen", "ssh_keyscan", "ssh_agent", "bench_peer", "demo"]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let status = bounded(program).args(["-z", "-", "9"]).stderr(full).status().unwrap();
        assert!(matches!(status.code(), Some(1 | 255)), "{program}: {status}");
    }
}

#[test]
fn demos_say_what_is_wrong() {
    let folder = Folder::new();
    let (file, missing) = (folder.file("key"), folder.file("no/such/key"));
    let (file, missing) = (file.to_str().unwrap(), missing.to_str().unwrap());
    assert!(bounded("demo_keygen").arg(file).output().unwrap().status.success());
    let before = fs::read(file).unwrap();
    fs::remove_file(folder.file("key.pub")).unwrap();
    for (program, arguments, text) in [
        ("demo", &[][..], "usage: demo user@host[:port] [command]"),
        ("demo_simple", &[], "usage: demo_simple [user@]host[:port]"),
        ("forward", &[], "usage: forward "),
        ("rforward", &["host"], "-r host:port is missing"),
        ("demo_keygen", &[], "usage: demo_keygen FILE"),
        ("demo_keygen", &[file], "is there already"),
        ("demo_keygen", &[missing], "No such file"),
        ("demo_server", &["port"], "invalid digit"),
        ("socket_server", &["port"], "invalid digit"),
        ("bastion", &[], "usage: bastion ADDRESS HOST_KEY AUTHORIZED_KEYS [user@]host[:port]"),
        ("bench_files", &["one"], "four arguments are needed"),
        ("quickstart", &["me@127.0.0.1:1"], "127.0.0.1"),
    ] {
        let output = bounded(program).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{program}");
        assert!(said(&output).starts_with(&format!("{program}: ")), "{}", said(&output));
        assert!(said(&output).contains(text) && said(&output).lines().count() == 1, "{}", said(&output));
    }
    assert_eq!(fs::read(file).unwrap(), before);
    assert!(!folder.file("key.pub").exists());
}

#[test]
fn sshd_refuses_what_it_cannot_do() {
    let Some((host, _)) = keys() else { return };
    let key = host.private("ed25519");
    for (arguments, text) in [
        (&["-u", "nobody-of-that-name:secret"][..], "there is no such user"),
        (&["extra"], "Extra argument extra."),
        (&["-oLoginGraceTime=18446744073709551615h"], "is no time"),
        (&["-oMaxAuthTries=4294967297"], "out of range"),
        (&["-oMaxStartups=10:4294967297:20"], "out of range"),
        (&["-oMaxStartups=10:101:20"], "begin:percent:full"),
        (&["-oMaxStartups=30:50:20"], "begin:percent:full"),
        (&["-oAllowAgentForwarding=maybe"], "-o AllowAgentForwarding=maybe: not one of yes, no"),
        (&["-oAllowAgentForwarding=yes", "-oAllowAgentForwarding=maybe"], "maybe"),
        (&["-oAuthorizedKeysFile=%x"], "a % that means nothing"),
        (&["-oIgnoreRhosts=x"], "shosts-only"),
    ] {
        let output = bounded("sshd").arg("-h").arg(&key).args(["-p", "0"]).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said(&output).starts_with("sshd: ") && said(&output).contains(text), "{}", said(&output));
    }
}

#[test]
fn new_keys_after_a_time() {
    let Some((host, own)) = keys() else { return };
    let Some(server) = sshd(&host, &own, "") else { return };
    let known = Folder::new();
    let mut command = trusting(&known, &own, server.port());
    command.args(["-v", "-o", "RekeyLimit=default 1s", "127.0.0.1", "sleep 2"]);
    let output = command.output().unwrap();
    assert!(said(&output).matches("NEWKEYS sent").count() > 1, "{}", said(&output));
}

#[test]
fn nothing_is_asked_in_batch_mode() {
    let Some((host, _)) = keys() else { return };
    let folder = Folder::new();
    let password = format!("{}:secret", user());
    let server = at_home(&host, folder.path(), &["-u", &password]);
    let askpass = folder.file("askpass");
    fs::write(&askpass, "#!/bin/sh\ntouch \"$0.asked\"; echo secret\n").unwrap();
    fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
    let run = |name: &str, batch: &str| {
        let mut command = bounded("ssh");
        command.arg(format!("-oBatchMode={batch}")).env("HOME", folder.path()).env_remove("SSH_AUTH_SOCK");
        command.env("SSH_ASKPASS", &askpass).env("SSH_ASKPASS_REQUIRE", "force");
        command.args(["-o", "StrictHostKeyChecking=accept-new", "-p", &server.port().to_string()]);
        command.args(["-l", name, "127.0.0.1", "true"]).output().unwrap().status.code()
    };
    assert_eq!(run(&user(), "yes"), Some(255));
    assert!(!folder.file("askpass.asked").exists());
    assert_eq!(run(&user(), "no"), Some(0));
    assert_eq!(run("nobody-of-that-name", "no"), Some(255));
}

/// Our server with these options, whose user is at home in a folder.
fn at_home(host: &Keys, home: &Path, options: &[&str]) -> Server {
    start("our sshd", |_, port| {
        let mut command = keeper(r#""$@""#);
        command.arg(example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1", "-h"]);
        command.arg(host.private("ed25519")).args(options).env("HOME", home);
        (command, "listening on".to_owned())
    })
}

#[test]
fn files_of_sshd() {
    let Some((host, own)) = keys() else { return };
    let (home, known) = (Folder::new(), Folder::new());
    fs::write(home.file(&format!("keys_{}", user())), own.public("ed25519")).unwrap();
    fs::write(home.file("keys_%"), own.public("ed25519")).unwrap();
    let none = [
        "-oHostCertificate=none",
        "-oTrustedUserCAKeys=none",
        "-oAuthorizedPrincipalsFile=none",
        "-oRevokedKeys=none",
    ];
    for (options, expected) in [
        (&["-oAuthorizedKeysFile=none keys_%u"][..], Some(0)),
        (&["-oAuthorizedKeysFile=%h/keys_%u"], Some(0)),
        (&["-oAuthorizedKeysFile=~/keys_%%"], Some(0)),
        (&["-oAuthorizedKeysFile=keys_%u", "-oAuthorizedKeysFile=none"], Some(0)),
        (&["-oAuthorizedKeysFile=none", "-oAuthorizedKeysFile=keys_%u"], Some(255)),
    ] {
        let server = at_home(&host, home.path(), &[&none[..], options, &["-oLoginGraceTime=1h30m"]].concat());
        let mut command = trusting(&known, &own, server.port());
        let status = command.args(["127.0.0.1", "true"]).output().unwrap().status;
        assert_eq!(status.code(), expected, "{options:?}: {}", server.log());
    }
}

/// What a program answers to `-Q`; nothing is in it twice.
fn queried(ssh: &Path, what: &str) -> BTreeSet<String> {
    let output = peers::output(Command::new(ssh).args(["-Q", what]), "");
    assert!(output.status.success(), "{} -Q {what}: {}", ssh.display(), said(&output));
    let lines: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let set: BTreeSet<_> = lines.iter().cloned().collect();
    assert_eq!(set.len(), lines.len(), "{what} names something twice");
    set
}

/// The rows of a family in `doc/algorithms.md`, which a test of the library holds against its tables.
fn rows(family: &str) -> BTreeSet<String> {
    let table = include_str!("../doc/algorithms.md").lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = table.filter_map(|row| row.split_once("` | "));
    rows.filter(|(_, rest)| rest.split(" | ").next() == Some(family))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// `ssh -Q` says what the library has, all of it and nothing else; and all that OpenSSH's says.
#[test]
fn queries_tell_the_tables() {
    let ours = example("ssh");
    let signatures = rows("signature");
    let certified = |name: &&String| name.contains("-cert-v01@");
    let is_type = |name: &&String| !name.starts_with("rsa-sha2-") && !name.starts_with("webauthn-");
    let (certificates, plain): (BTreeSet<String>, BTreeSet<String>) =
        signatures.iter().cloned().partition(|name| certified(&name));
    let of_types = |set: &BTreeSet<String>| set.iter().filter(is_type).cloned().collect::<BTreeSet<_>>();
    let wanted = [
        ("cipher", rows("cipher")),
        ("mac", rows("MAC")),
        ("kex", rows("key exchange")),
        ("compression", rows("compression")),
        ("sig", plain.clone()),
        ("key-sig", signatures.clone()),
        ("HostKeyAlgorithms", signatures.clone()),
        ("PubkeyAcceptedAlgorithms", signatures.clone()),
        ("key", of_types(&signatures)),
        ("key-plain", of_types(&plain)),
        ("key-cert", of_types(&certificates)),
    ];
    for (what, wanted) in &wanted {
        assert!(wanted.len() > 2, "{what}: {wanted:?}");
        assert_eq!(queried(&ours, what), *wanted, "{what}");
    }
    let Some(theirs) = peers::require("ssh", peers::program("ssh")) else { return };
    // GSSAPI is not built.
    let known: BTreeSet<_> = queried(&theirs, "help").into_iter().filter(|what| what != "kex-gss").collect();
    assert_eq!(queried(&ours, "help"), known);
    for what in known.iter().map(String::as_str).chain(["HostKeyAlgorithms", "PubkeyAcceptedAlgorithms"]) {
        let (theirs, ours) = (queried(&theirs, what), queried(&ours, what));
        assert!(theirs.is_subset(&ours), "{what}: {:?}", theirs.difference(&ours));
    }
    let unknown = peers::output(bounded("ssh").args(["-Q", "rot13"]), "");
    assert_eq!((unknown.status.code(), said(&unknown).contains("Unsupported query")), (Some(255), true));
}
