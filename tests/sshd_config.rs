//! The program `sshd` and its configuration: what it understands, as OpenSSH's sshd understands it, what it
//! refuses, and how it is started, told to read again, and ended.

#![cfg(unix)]

mod given;
mod peers;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use feramiko::{PKey, ProxyCommand};
use given::within;
use peers::{Folder, Keys, Running, example, free_port, output, program, require, user};
use rustix::process::{Pid, Signal, kill_process};

/// What ours shows otherwise than OpenSSH 9.2, with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("ciphers", "ours has its own order"),
    ("macs", "ours offers no SHA-1 and no UMAC unless told so"),
    ("kexalgorithms", "ours has ML-KEM, and no NIST curves unless told so"),
    ("hostkeyalgorithms", "ours knows webauthn"),
    ("pubkeyacceptedalgorithms", "ours knows webauthn"),
    ("hostbasedacceptedalgorithms", "ours knows webauthn"),
    ("compression", "ours compresses only when told so"),
    ("requiredrsasize", "ours wants 2048 bits"),
    ("ipqos", "the default of OpenSSH 10.1"),
    ("channeltimeout", "9.2 does not show it when it is none"),
    ("rdomain", "Linux' OpenSSH has it in some builds only"),
    ("refuseconnection", "newer than 9.2"),
    ("persourcepenalties", "newer than 9.2"),
    ("persourcepenaltyexemptlist", "newer than 9.2"),
];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Our sshd with a file of these lines, a host key before them.
fn ours(folder: &Folder, host: &Keys, lines: &str) -> Command {
    let mut command = Command::new(example("sshd"));
    command.arg("-f").arg(config(folder, host, lines));
    command
}

fn config(folder: &Folder, host: &Keys, lines: &str) -> std::path::PathBuf {
    let path = folder.file("config");
    fs::write(&path, format!("HostKey {}\n{lines}\n", host.private("ed25519").display())).unwrap();
    path
}

/// The lines that a program shows of a configuration, without the exceptions.
fn shown(program: &Path, config: &Path, arguments: &[&str]) -> BTreeSet<String> {
    let mut command = Command::new(program);
    let output = output(command.arg("-T").arg("-f").arg(config).args(arguments), "");
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let excepted = |line: &&str| EXCEPTIONS.iter().any(|(name, _)| line.split(' ').next() == Some(name));
    text.lines().filter(|line| !excepted(line)).map(str::to_owned).collect()
}

#[test]
fn what_is_shown_is_what_openssh_shows() {
    let _watch = within(100);
    let Some(theirs) = require("sshd", program("sshd")) else { return };
    let Some(host) = Keys::named("host") else { return };
    let folder = Folder::new();
    fs::create_dir(folder.file("more")).unwrap();
    fs::write(folder.file("more/b.conf"), "MaxSessions 5\nAcceptEnv B\n").unwrap();
    fs::write(folder.file("more/a.conf"), "Match User root\nPermitTTY no\nMatch all\nX11Forwarding yes\n")
        .unwrap();
    let include = format!("Include {}/*.conf\nMaxSessions 6\n", folder.file("more").display());
    let nobody = ["-C", "user=nobody,host=a.example.org,addr=192.0.2.7,laddr=127.0.0.2,lport=22"];
    let root = ["-C", "user=root,host=b.example.org,addr=2001:db8::1,laddr=127.0.0.1,lport=2222"];
    for lines in [
        "UsePAM no",
        "MaxAuthTries 7\nPort 23",
        "Port 22\nPort 2222\nListenAddress 127.0.0.1\nListenAddress [::1]:7\nAddressFamily any",
        "AddressFamily inet\nPort=2200 # comment",
        "PermitRootLogin prohibit-password\nPermitRootLogin yes",
        "PermitRootLogin forced-commands-only\nStrictModes no\nIgnoreRhosts shosts-only",
        "LoginGraceTime 2m\nMaxAuthTries 3\nMaxSessions 0\nMaxStartups 5\nPerSourceMaxStartups 4",
        "MaxStartups 3:50:9\nClientAliveInterval 1m30s\nClientAliveCountMax 0\nUnusedConnectionTimeout 1h",
        "AcceptEnv LANG LC_*\nAcceptEnv A\nSetEnv A=1 \"B=two words\"\nSetEnv C=3",
        "AllowUsers a b@10.0.0.0/8\nAllowUsers c\nDenyUsers d\nAllowGroups g h\nDenyGroups i",
        "AuthorizedKeysFile /etc/keys/%u .ssh/keys\nAuthorizedPrincipalsFile %h/names\nTrustedUserCAKeys /etc/ca",
        "AuthorizedKeysCommand /bin/keys %u \"a b\"\nAuthorizedKeysCommandUser nobody",
        "ForceCommand echo \"a  b\" # no comment\nBanner /etc/issue\nChrootDirectory /srv/%u",
        "Subsystem sftp internal-sftp -R\nSubsystem other /bin/other  a b",
        "AuthenticationMethods publickey,password publickey,keyboard-interactive:pam",
        "AuthenticationMethods any\nPubkeyAuthOptions touch-required\nExposeAuthInfo yes",
        "RekeyLimit 1G 1h\nPermitUserEnvironment LC_*,X\nStreamLocalBindMask 0117\nLogLevel DEBUG1",
        "RekeyLimit default none\nDisableForwarding yes\nAllowTcpForwarding local\nAllowStreamLocalForwarding all",
        "GatewayPorts clientspecified\nPermitOpen a:22 [::1]:*\nPermitListen 8080\nX11DisplayOffset 7",
        "Match User root\nPermitTTY no\nForceCommand true\nMatch Address 192.0.2.0/24\nMaxAuthTries 2",
        "Match User r*,!root\nPermitTTY no\nMatch Group root\nAcceptEnv Z\nMatch LocalPort 2222 LocalAddress 127.0.0.1\nBanner /x",
        "MaxAuthTries 9\nMatch Host *.example.org\nMaxAuthTries 4\nMatch all\nMaxAuthTries 5\nPasswordAuthentication no",
        "Match User nobody,root Address *,!2001:db8::/32\nPermitTTY no",
        &include,
    ] {
        let config = config(&folder, &host, lines);
        let specified = [&nobody[..], &root];
        // 9.2 wants to be told the port where Match asks for it.
        let alone = [&["-o", "MaxAuthTries=8", "-p", "4022"][..]];
        for arguments in if lines.contains("Match") { &specified[..] } else { &alone } {
            let pair = [&*theirs, &*example("sshd")].map(|program| shown(program, &config, arguments));
            let [theirs, ours] = pair;
            let differ: Vec<_> = theirs.symmetric_difference(&ours).collect();
            assert!(differ.is_empty(), "{lines}\n{arguments:?}: {differ:?}");
        }
    }
}

#[test]
fn what_is_wrong_is_an_error_with_its_place() {
    let _watch = within(60);
    let Some(host) = Keys::named("host") else { return };
    let folder = Folder::new();
    for (lines, why) in [
        ("Banana yes", "line 2: Banana: no such option"),
        ("PermitTTY", "line 2: PermitTTY: no value"),
        ("PermitTTY yes no", "takes one value"),
        ("Match User a\nPort 22", "line 3: Port: is not allowed within a Match block"),
        ("Match Color red", "Unsupported Match attribute color"),
        ("Match RDomain a", "not built"),
        ("Match Address 192.0.2.7/24", "Invalid Match address"),
        ("UsePAM yes", "UsePAM: not built"),
        ("VersionAddendum caf\u{e9}", "printable ASCII"),
        ("KerberosAuthentication yes", "not built"),
        ("UseDNS yes", "not built"),
        ("RefuseConnection yes", "not built"),
        ("Match User a\nPubkeyAcceptedAlgorithms rot13", "rot13"),
        ("HostbasedAcceptedAlgorithms rot13", "rot13"),
        ("AuthenticationMethods rot13", "a method is not known"),
        ("AuthorizedKeysCommand /bin/true", "set without"),
        ("Ciphers rot13", "rot13"),
        ("Subsystem sftp internal-sftp -l INFO", "-l is not built"),
        ("Include /dev/zero\n", "too large"),
    ] {
        let output = output(ours(&folder, &host, lines).arg("-t"), "");
        assert_eq!(output.status.code(), Some(1), "{lines}");
        assert!(
            said(&output).starts_with("sshd: ") && said(&output).contains(why),
            "{lines}: {}",
            said(&output)
        );
    }
    // A host key that is not there leaves the others, if there are any.
    let lines = "PrintLastLog no\nDebianBanner no\nUseLogin no\nUsePAM no\nHostKey /no/such/key\nHostKeyAgent /no/such/agent";
    let output = output(ours(&folder, &host, lines).arg("-t"), "");
    assert!(output.status.success() && said(&output).contains("/no/such/key"), "{}", said(&output));
    for why in ["printlastlog is not built", "debianbanner is not built", "HostKeyAgent /no/such/agent"] {
        assert!(said(&output).contains(why), "{why}: {}", said(&output));
    }
}

/// OpenSSH's client with a key, that trusts whom it meets.
fn ssh(own: &Keys, port: u16) -> Option<Command> {
    let mut command = Command::new(require("ssh", program("ssh"))?);
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-i"]);
    command.arg(own.private("ed25519")).args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
    command.args(["-o", "IdentitiesOnly=yes", "-p", &port.to_string()]).env_remove("SSH_AUTH_SOCK");
    command.arg("-l").arg(user());
    Some(command)
}

/// Lines that let `user()` in with the key.
fn lets_in(folder: &Folder, own: &Keys, port: u16) -> String {
    fs::write(folder.file("keys"), own.public("ed25519")).unwrap();
    format!(
        "ListenAddress 127.0.0.1:{port}\nAuthorizedKeysFile {}\nStrictModes no\nPermitRootLogin yes\nPidFile {}\n",
        folder.file("keys").display(),
        folder.file("pid").display()
    )
}

fn number(path: &Path) -> Pid {
    let number = fs::read_to_string(path).unwrap().trim().parse().unwrap();
    Pid::from_raw(number).unwrap()
}

/// Waits for what has to happen soon.
fn soon(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: never");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn in_the_background_it_reads_again_and_ends() {
    let _watch = within(200);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let folder = Folder::new();
    let port = free_port();
    let lines = lets_in(&folder, &own, port);
    let Some(mut client) = ssh(&own, port) else { return };
    let sshd = ours(&folder, &host, &format!("{lines}SetEnv A=1\nAcceptEnv X"));
    let mut unmasked = Command::new("sh");
    unmasked.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(sshd.get_program()).args(sshd.get_args());
    let started = output(&mut unmasked, "");
    assert!(started.status.success(), "{}", said(&started));
    assert!(said(&started).contains("listening on 127.0.0.1:"), "{}", said(&started));
    let server = number(&folder.file("pid"));
    let run = |client: &mut Command| String::from_utf8(output(client, "").stdout).unwrap();
    assert_eq!(run(client.args(["127.0.0.1", "echo $A"])), "1\n");
    assert_eq!(run(ssh(&own, port).unwrap().args(["127.0.0.1", "umask"])), "0022\n");
    // Whoever asks it to read again may wait for the file.
    fs::remove_file(folder.file("pid")).unwrap();
    kill_process(server, Signal::HUP).unwrap();
    soon("the number anew", || folder.file("pid").exists());
    soon("all of it", || fs::read_to_string(folder.file("pid")).unwrap().ends_with('\n'));
    assert_eq!(number(&folder.file("pid")), server);
    // What does not parse changes nothing.
    config(&folder, &host, "Banana yes");
    kill_process(server, Signal::HUP).unwrap();
    assert_eq!(run(&mut client), "1\n");
    config(&folder, &host, &format!("{lines}SetEnv A=2"));
    kill_process(server, Signal::HUP).unwrap();
    soon("the new configuration", || {
        let mut client = ssh(&own, port).unwrap();
        run(client.args(["127.0.0.1", "echo $A"])) == "2\n"
    });
    let mut early = ssh(&own, port).unwrap();
    early.args(["127.0.0.1", "echo $$; exec sleep 1000"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut early = Running::start(&mut early);
    let mut program = String::new();
    BufReader::new(early.0.stdout.take().unwrap()).read_line(&mut program).unwrap();
    let program = Pid::from_raw(program.trim().parse().unwrap()).unwrap();
    // Another port: the old one is closed.
    let other = free_port();
    config(&folder, &host, &format!("{}SetEnv A=3", lets_in(&folder, &own, other)));
    kill_process(server, Signal::HUP).unwrap();
    soon("the other port", || {
        let mut client = ssh(&own, other).unwrap();
        run(client.args(["127.0.0.1", "echo $A"])) == "3\n"
    });
    soon("the port before", || TcpListener::bind(("127.0.0.1", port)).is_ok());
    // Where nobody can listen nobody does: it goes on where it is.
    let nowhere = lets_in(&folder, &own, other).replace("127.0.0.1", "192.0.2.1");
    config(&folder, &host, &format!("{nowhere}SetEnv A=4"));
    kill_process(server, Signal::HUP).unwrap();
    soon("the rest of the configuration", || {
        let mut client = ssh(&own, other).unwrap();
        run(client.args(["127.0.0.1", "echo $A"])) == "4\n"
    });
    rustix::process::test_kill_process(program).unwrap();
    kill_process(server, Signal::TERM).unwrap();
    soon("the end of what came by the first port", || rustix::process::test_kill_process(program).is_err());
    soon("its end", || !folder.file("pid").exists() && rustix::process::test_kill_process(server).is_err());
}

#[test]
fn what_does_not_start_says_so_before_it_goes_to_the_background() {
    let _watch = within(60);
    let Some(host) = Keys::named("host") else { return };
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = output(&mut ours(&folder, &host, &format!("ListenAddress {address}\nPidFile none")), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("in use"), "{}", said(&output));
}

#[test]
fn in_the_foreground_term_lets_sessions_end_and_the_status_is_0() {
    let _watch = within(60);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let folder = Folder::new();
    let port = free_port();
    let mut server = ours(&folder, &host, &lets_in(&folder, &own, port));
    let mut server = Running::start(server.arg("-D").stderr(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(server.0.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, format!("listening on 127.0.0.1:{port}\n"));
    let Some(mut client) = ssh(&own, port) else { return };
    let mut client =
        Running::start(client.args(["127.0.0.1", "echo runs; sleep 1; echo done"]).stdout(Stdio::piped()));
    let mut stdout = BufReader::new(client.0.stdout.take().unwrap());
    line.clear();
    stdout.read_line(&mut line).unwrap();
    kill_process(Pid::from_child(&server.0), Signal::TERM).unwrap();
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!((line.as_str(), rest.as_str(), client.ended().code()), ("runs\n", "done\n", Some(0)));
    assert_eq!(server.ended().code(), Some(0));
}

/// Whether the system asks the other end of a connection of `port` whether it is still there: the kind of the timer
/// that runs for the socket, proc(5).
fn asks_whether_it_is_there(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let local = format!("0100007F:{port:04X}");
    let line = lines.find(|words| words.get(1) == Some(&&*local) && words.get(3) == Some(&"01"));
    line.expect("it is connected").get(5).is_some_and(|timer| timer.starts_with("02:"))
}

#[test]
fn silent_clients_are_asked_whether_they_are_there() {
    let _watch = within(60);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    for (lines, asked) in [("", true), ("TCPKeepAlive no\n", false)] {
        let folder = Folder::new();
        let port = free_port();
        let lines = format!("{lines}{}", lets_in(&folder, &own, port));
        let mut server = Running::start(ours(&folder, &host, &lines).arg("-D").stderr(Stdio::piped()));
        BufReader::new(server.0.stderr.take().unwrap()).read_line(&mut String::new()).unwrap();
        let Some(mut client) = ssh(&own, port) else { return };
        let client =
            client.args(["127.0.0.1", "echo runs; cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut client = Running::start(client);
        BufReader::new(client.0.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        // While bytes are on their way another timer runs.
        soon("nothing is on its way", || asks_whether_it_is_there(port) == asked);
    }
}

#[test]
fn banners_have_bounds() {
    let _watch = within(60);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let (folder, key) = (Folder::new(), PKey::from_file(own.private("ed25519"), None).unwrap());
    let banner = folder.file("banner");
    let lines = format!("Banner {}\n{}", banner.display(), lets_in(&folder, &own, 22));
    let config = config(&folder, &host, &lines);
    let shown = || {
        let mut sshd = Command::new(example("sshd"));
        sshd.arg("-i").arg("-f").arg(&config);
        let stream = ProxyCommand::spawn(sshd).unwrap();
        let client = given::client().username(&user()).key(key.clone());
        client.connect_over(stream, "host").unwrap().banners().to_vec()
    };
    for (text, told) in [
        (b"welcome\n".to_vec(), vec!["welcome\n".to_owned()]),
        (b"caf\xe9\n".to_vec(), vec!["caf\u{fffd}\n".to_owned()]),
        (vec![b'x'; 1024 * 1024 + 1], Vec::new()),
    ] {
        fs::write(&banner, text).unwrap();
        assert_eq!(shown(), told);
    }
    fs::remove_file(&banner).unwrap();
    assert_eq!(shown(), Vec::<String>::new());
    assert!(output(Command::new("mkfifo").arg(&banner), "").status.success());
    assert_eq!(shown(), Vec::<String>::new(), "nobody writes there");
}

/// What sshd_config bounds is bounded for OpenSSH's client.
#[test]
fn tries_sessions_and_connections_have_limits() {
    let _watch = within(60);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let folder = Folder::new();
    let port = free_port();
    let lines = format!(
        "MaxAuthTries 2\nMaxSessions 1\nMaxStartups 1\nLoginGraceTime 30\n{}",
        lets_in(&folder, &own, port)
    );
    let mut server = Running::start(ours(&folder, &host, &lines).arg("-D").stderr(Stdio::piped()));
    BufReader::new(server.0.stderr.take().unwrap()).read_line(&mut String::new()).unwrap();
    // Three keys that nobody knows come before the right one.
    let Some(mut client) = ssh(&own, port) else { return };
    let mut many = Command::new(client.get_program());
    for kind in ["ed25519", "ecdsa256", "rsa"] {
        many.arg("-i").arg(host.private(kind));
    }
    let tried = output(many.args(client.get_args()).args(["127.0.0.1", "true"]), "");
    assert!(said(&tried).contains("Too many authentication failures"), "{}", said(&tried));
    // One session of a connection that is shared.
    let control = format!("-oControlPath={}", folder.file("control").display());
    let master = client.args(["-M", &control, "127.0.0.1", "echo runs; cat"]);
    let mut master = Running::start(master.stdin(Stdio::piped()).stdout(Stdio::piped()));
    BufReader::new(master.0.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let Some(mut second) = ssh(&own, port) else { return };
    let second = output(second.args([&control, "-oControlMaster=no", "-v", "127.0.0.1", "echo another"]), "");
    assert!(said(&second).contains("Session open refused by peer"), "{}", said(&second));
    // Somebody who does not log in, and nobody beside him.
    let waiting = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let Some(mut third) = ssh(&own, port) else { return };
    let third = output(third.args(["127.0.0.1", "true"]), "");
    assert_eq!(third.status.code(), Some(255), "{}", said(&third));
    drop(waiting);
    let again =
        || ssh(&own, port).is_none_or(|mut ssh| output(ssh.args(["127.0.0.1", "true"]), "").status.success());
    soon("there is room again", again);
}

#[test]
fn one_connection_on_standard_input_and_output() {
    let _watch = within(60);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let folder = Folder::new();
    let path = config(&folder, &host, &lets_in(&folder, &own, 1));
    // Two pipes, as a ProxyCommand has them.
    let Some(mut client) = ssh(&own, 1) else { return };
    client.arg(format!("-oProxyCommand={} -i -f {}", example("sshd").display(), path.display()));
    let ended = output(client.args(["nowhere", "cat; exit 7"]), vec![7; 300_000]);
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(7), 300_000), "{}", said(&ended));
    // A socket, as inetd has it.
    let (near, far) = UnixStream::pair().unwrap();
    let mut server = Command::new(example("sshd"));
    server
        .args(["-i", "-f"])
        .arg(&path)
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(far.try_clone().unwrap())));
    let mut server = Running::start(server.stdout(Stdio::from(std::os::fd::OwnedFd::from(far))));
    let client =
        given::client().username(&user()).key(PKey::from_file(own.private("ed25519"), None).unwrap());
    let client = client.connect_over(near, &format!("{}@socket", user())).unwrap();
    assert_eq!(client.output("echo $SSH_CLIENT").unwrap().stdout, b"UNKNOWN 65535 65535\n");
    drop(client);
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn who_speaks_no_ssh_is_told_so_as_sshd_says_it() {
    let _watch = within(60);
    let Some(host) = Keys::named("host") else { return };
    let folder = Folder::new();
    for (said, answer) in [
        ("\n", "Invalid SSH identification string.\r\n"),
        ("GET / HTTP/1.1\r\n\r\n", "Invalid SSH identification string.\r\n"),
        ("SSH-1.5-HALLO\n", "Protocol major versions differ.\r\n"),
    ] {
        let ended = output(ours(&folder, &host, "").arg("-i"), said);
        assert_eq!(ended.status.code(), Some(255));
        assert!(ended.stdout.ends_with(answer.as_bytes()), "{said}: {}", ended.stdout.escape_ascii());
    }
    let ended = output(ours(&folder, &host, "VersionAddendum of a test").arg("-i"), "");
    let line = String::from_utf8_lossy(&ended.stdout).lines().next().map(str::to_owned);
    assert!(line.as_ref().is_some_and(|line| line.ends_with(" of a test")), "{line:?}");
}

/// What is shown can be read, and means the same.
#[test]
fn what_is_shown_is_a_configuration() {
    let _watch = within(60);
    let Some(host) = Keys::named("host") else { return };
    let folder = Folder::new();
    let show = |config: &Path| {
        let output = output(Command::new(example("sshd")).arg("-T").arg("-f").arg(config), "");
        assert!(output.status.success(), "{}", said(&output));
        output.stdout
    };
    for lines in
        ["", "HostbasedAcceptedAlgorithms -rsa-*\nPubkeyAcceptedAlgorithms ssh-ed25519\nRekeyLimit 1G"]
    {
        let first = show(&config(&folder, &host, lines));
        fs::write(folder.file("again"), &first).unwrap();
        assert_eq!(show(&folder.file("again")).escape_ascii().to_string(), first.escape_ascii().to_string());
    }
}

/// OpenSSH's client, on our sshd over a pair of pipes.
fn through_pipes(own: &Keys, config: &Path) -> Option<Command> {
    let mut client = ssh(own, 1)?;
    client.arg(format!("-oProxyCommand={} -i -f {}", example("sshd").display(), config.display()));
    Some(client)
}

#[test]
fn which_signatures_a_user_may_make() {
    let _watch = within(60);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let folder = Folder::new();
    let lines = lets_in(&folder, &own, 1);
    let me = user();
    for (rules, ed25519, rsa) in [
        ("PubkeyAcceptedAlgorithms rsa-sha2-512".to_owned(), false, true),
        (
            format!(
                "PubkeyAcceptedAlgorithms ssh-ed25519\nMatch User {me}\nPubkeyAcceptedAlgorithms rsa-sha2-256"
            ),
            false,
            true,
        ),
        (
            format!(
                "PubkeyAcceptedAlgorithms rsa-sha2-512\nMatch User !{me},*\nPubkeyAcceptedAlgorithms ssh-ed25519"
            ),
            false,
            true,
        ),
        (format!("Match User {me}\nPubkeyAcceptedAlgorithms -rsa-*"), true, false),
    ] {
        let config = config(&folder, &host, &format!("{lines}\n{rules}"));
        for (kind, expected) in [("ed25519", ed25519), ("rsa", rsa)] {
            let Some(mut client) = through_pipes(&own, &config) else { return };
            fs::write(folder.file("keys"), own.public(kind)).unwrap();
            client.arg("-i").arg(own.private(kind));
            assert_eq!(
                output(client.args(["nowhere", "true"]), "").status.success(),
                expected,
                "{rules}: {kind}"
            );
        }
    }
}

/// HostKeyAgent: the server has the public half of its key, and an agent signs.
#[test]
fn an_agent_holds_the_host_key() {
    let _watch = within(60);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let folder = Folder::new();
    let socket = folder.file("agent");
    let Some(agent) = require("ssh-agent", program("ssh-agent")) else { return };
    let mut agent = Command::new(agent);
    let _agent = Running::start(agent.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()));
    soon("ssh-agent listens", || UnixStream::connect(&socket).is_ok());
    let held = feramiko::Agent::connect(&socket).unwrap();
    let lines = lets_in(&folder, &own, 1);
    let run = |kind: &str, lines: &str| {
        let public = folder.file("host_key.pub");
        fs::write(&public, host.public(kind)).unwrap();
        let key = public.with_extension("");
        let config = folder.file("config");
        fs::write(&config, format!("HostKey {}\n{lines}", key.display())).unwrap();
        let output = output(through_pipes(&own, &config)?.args(["nowhere", "true"]), "");
        Some((output.status.success(), said(&output)))
    };
    let with_agent = format!("HostKeyAgent {}\n{lines}", socket.display());
    for kind in ["ed25519", "ecdsa256", "rsa"] {
        assert!(!run(kind, &with_agent).unwrap().0, "{kind}: not held yet");
        let key = PKey::from_file(host.private(kind), None).unwrap();
        held.add(&key, &feramiko::AddOptions::new()).unwrap();
        let (entered, said) = run(kind, &with_agent).unwrap();
        assert!(entered, "{kind}: {said}");
        assert!(!run(kind, &lines).unwrap().0, "{kind}: without the agent");
    }
}

/// OpenSSH's client closes a channel of a shared connection as soon as both streams have ended, and waits for
/// the status then.
#[test]
fn the_status_of_who_ends_its_output_early_on_a_shared_connection() {
    let _watch = within(60);
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let folder = Folder::new();
    let config = config(&folder, &host, &lets_in(&folder, &own, 1));
    let socket = format!("-S{}", folder.file("shared").display());
    let Some(mut master) = through_pipes(&own, &config) else { return };
    let mut master = Running::start(master.args(["-NM", &socket, "nowhere"]).stdin(Stdio::null()));
    soon("the shared connection", || folder.file("shared").exists());
    let run = |input: &str, line: &str| {
        let mut client = ssh(&own, 1).unwrap();
        output(client.args([&socket, "nowhere", line]), input).status.code()
    };
    let early = "exec >/dev/null 2>&1; sleep 0.5; exit 7";
    assert_eq!(run("", early), Some(7));
    assert_eq!(run(&"unread ".repeat(100_000), &format!("exec </dev/null; {early}")), Some(7));
    for status in 0..10 {
        assert_eq!(run("", &format!("exit {status}")), Some(status));
    }
    kill_process(Pid::from_child(&master.0), Signal::TERM).unwrap();
    master.ended();
}
