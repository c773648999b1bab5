//! What a connection makes of what it is told: the library and the program, with OpenSSH's server.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use feramiko::{
    Agent, AgentServer, AutoAddPolicy, Cancel, Error, HostKeys, KeyKind, PKey, Phase, SSHClient,
    SSHClientBuilder, SSHConfig,
};

use crate::given::within;
use crate::peers::{Folder, Keys, Server, example, sshd, user};

/// A server, and a file that says how to reach it under the name `box`.
struct Site {
    server: Server,
    folder: Folder,
    host: Keys,
    own: Keys,
}

impl Site {
    fn new(more: &str) -> Option<Self> {
        let (host, own) = (Keys::named("host")?, Keys::named("user")?);
        let (server, folder) = (sshd(&host, &own, more)?, Folder::new());
        let site = Self { server, folder, host, own };
        let line = format!("[127.0.0.1]:{} {}\n", site.server.port(), site.host.public("ed25519"));
        fs::write(site.folder.file("known"), line).unwrap();
        Some(site)
    }

    /// The lines of every test, and more that come before.
    fn lines(&self, more: &str) -> String {
        format!(
            "{more}\nHost box\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n IdentityAgent none\n\
             UserKnownHostsFile {}\n GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n",
            self.server.port(),
            user(),
            self.own.private("ed25519").display(),
            self.folder.file("known").display(),
        )
    }

    fn builder(&self, more: &str) -> SSHClientBuilder {
        let file = self.folder.file("config");
        fs::write(&file, self.lines(more)).unwrap();
        SSHClient::builder().ssh_config(SSHConfig::from_file(file).unwrap())
    }

    fn connect(&self, more: &str) -> feramiko::Result<SSHClient> {
        self.builder(more).connect("box")
    }

    /// Our `ssh` by the same file; its standard output, or what was wrong.
    fn ssh(&self, more: &str, arguments: &[&str]) -> Result<String, String> {
        let file = self.folder.file("config");
        fs::write(&file, self.lines(more)).unwrap();
        let mut ssh = Command::new(example("ssh"));
        ssh.arg("-F").arg(&file).args(arguments).stdin(Stdio::null()).env("SHELL", "/bin/sh");
        let output = ssh.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }
}

fn said(client: &SSHClient, command: &str) -> String {
    client.output(command).unwrap().check().unwrap().stdout_text().unwrap().to_owned()
}

#[test]
fn a_host_is_reached_as_the_file_says() {
    let _watch = within(60);
    let Some(site) = Site::new("") else { return };
    let more = "SetEnv FERAMIKO=%n\nSendEnv CARGO_PKG_NAME\nCompression yes\nCiphers aes256-ctr\n\
                ServerAliveInterval 30\nRekeyLimit 1G\nBindAddress 127.0.0.1\nConnectTimeout 20\nConnectionAttempts 2\n";
    let client = site.connect(more).unwrap();
    assert_eq!(said(&client, "echo $FERAMIKO $CARGO_PKG_NAME"), "box feramiko\n");
    let agreed = format!("{:?}", client.transport().negotiated());
    assert!(agreed.contains("aes256-ctr") && agreed.contains("zlib@openssh.com"), "{agreed}");
    client.close();
    // What the builder says counts more.
    let client = site.builder(more).compress(false).connect("box").unwrap();
    let agreed = format!("{:?}", client.transport().negotiated());
    assert!(agreed.contains("aes256-ctr") && !agreed.contains("zlib"), "{agreed}");
    client.close();
    let wrong = site.builder(more).host_keys(HostKeys::new()).connect("box").unwrap_err();
    assert!(matches!(wrong, Error::HostKey { .. }), "{wrong}");
    let client = site
        .builder("StrictHostKeyChecking yes\n")
        .host_keys(HostKeys::new())
        .missing_host_key(AutoAddPolicy)
        .connect("box");
    client.unwrap().close();
    // Without it the host is nobody.
    assert!(SSHClient::builder().no_ssh_config().connect("box").is_err());
}

#[test]
fn a_host_is_told_what_the_file_adds_to_the_version() {
    let _watch = within(60);
    let Some(site) = Site::new("") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let builder = site.builder(&format!("Port {port}\nVersionAddendum for %n # and no more\n"));
    let connecting = thread::spawn(move || builder.connect("box"));
    let mut first = String::new();
    BufReader::new(listener.accept().unwrap().0).read_line(&mut first).unwrap();
    assert!(first.starts_with("SSH-2.0-feramiko_") && first.ends_with(" for box\r\n"), "{first:?}");
    connecting.join().unwrap().unwrap_err();
}

#[test]
fn hosts_are_known_as_the_file_says() {
    let _watch = within(60);
    let Some(site) = Site::new("") else { return };
    let known = site.folder.file("known");
    let key = site.host.public("ed25519");
    let refused = |more: &str| match site.connect(more) {
        Err(Error::HostKey { text, .. }) => text,
        other => panic!("{more}: {other:?}"),
    };
    let accepted = |more: &str| site.connect(more).unwrap_or_else(|error| panic!("{more}: {error}")).close();
    let revoked = site.folder.file("revoked");
    fs::write(&revoked, format!("{key}\n")).unwrap();
    assert!(refused(&format!("RevokedHostKeys {}\n", revoked.display())).contains("revoked"));
    fs::write(&known, format!("alias {key}\n")).unwrap();
    refused("");
    accepted("HostKeyAlias ALIAS\n");
    accepted("NoHostAuthenticationForLocalhost yes\n");
    refused("NoHostAuthenticationForLocalhost yes\nHostKeyAlias other\n");
    // A program of the user's knows the host.
    let script = site.folder.file("script");
    let asked = site.folder.file("asked");
    let text = format!("#!/bin/sh\necho \"$1 $2 $3\" >>{}\necho \"$1 {key}\"\n", asked.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    accepted(&format!("KnownHostsCommand {} %H %I %t\n", script.display()));
    let asked = fs::read_to_string(asked).unwrap();
    let name = format!("[127.0.0.1]:{}", site.server.port());
    assert!(asked.starts_with(&format!("{name} ORDER NONE\n")), "{asked}");
    assert!(asked.contains(&format!("{name} HOSTNAME ssh-ed25519\n")), "{asked}");
    let failing = site.connect("KnownHostsCommand /bin/false\n").unwrap_err();
    assert!(failing.to_string().contains("KnownHostsCommand"), "{failing}");
    // A new host is noted, its name hashed.
    fs::write(&known, "").unwrap();
    accepted("StrictHostKeyChecking accept-new\nHashKnownHosts yes\n");
    assert!(fs::read_to_string(&known).unwrap().starts_with("|1|"));
}

#[test]
fn what_is_not_built_keeps_out() {
    let _watch = within(60);
    let Some(site) = Site::new("") else { return };
    let wrong = site.connect("VerifyHostKeyDNS yes\n").unwrap_err();
    assert!(
        matches!(&wrong, Error::Unsupported(text) if text.to_lowercase().starts_with("verifyhostkeydns")),
        "{wrong}"
    );
    for line in ["Tunnel yes", "GSSAPIDelegateCredentials yes"] {
        let wrong = site.ssh(&format!("{line}\n"), &["box", "true"]).unwrap_err();
        assert!(wrong.contains("is not built"), "{line}: {wrong}");
    }
    // What weakens nothing is told once, where somebody looks.
    let told = site.ssh("LogVerbose *\n", &["-v", "box", "exit 3"]).unwrap_err();
    assert_eq!(told.matches("logverbose is not built").count(), 1, "{told}");
    assert_eq!(site.ssh("LogVerbose *\n", &["box", "exit 3"]).unwrap_err(), "");
    // As ssh-keygen shows the host's key.
    let mut keygen = Command::new("ssh-keygen");
    let shown =
        keygen.args(["-lv", "-E", "md5", "-f"]).arg(site.host.private("ed25519").with_extension("pub"));
    let shown = String::from_utf8(shown.output().unwrap().stdout).unwrap();
    let (line, picture) = shown.split_once('\n').unwrap();
    let told = site.ssh("VisualHostKey yes\nFingerprintHash md5\n", &["box", "exit 3"]).unwrap_err();
    let fingerprint = line.split(' ').nth(1).unwrap();
    assert_eq!(told, format!("Host key fingerprint is {fingerprint}\n{picture}"));
    assert_eq!(
        site.ssh("LocalForward 9 h:1\n", &["-oClearAllForwardings=yes", "box", "echo fine"]).as_deref(),
        Ok("fine\n")
    );
    let wrong = site.connect("Host box\n NoSuch x\n").unwrap_err();
    assert!(matches!(wrong, Error::Config(_)), "{wrong}");
}

#[test]
fn methods_keys_and_the_agent() {
    let _watch = within(60);
    let Some(site) = Site::new("") else { return };
    let tried = |more: &str| match site.connect(more) {
        Err(Error::Auth { attempts, .. }) => attempts.into_iter().map(|it| it.method).collect::<Vec<_>>(),
        other => panic!("{more}: {other:?}"),
    };
    assert_eq!(tried("PubkeyAuthentication no\n"), ["none"]);
    assert_eq!(tried("PreferredAuthentications password,keyboard-interactive\n"), ["none"]);
    site.connect("PreferredAuthentications keyboard-interactive,publickey\n").unwrap().close();
    // Keys that are read go to the agent that the file names.
    let socket = site.folder.file("agent");
    let (server, listener) = (AgentServer::builder().build(), AgentServer::listen(&socket).unwrap());
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (server, stream) = (server.clone(), stream.unwrap());
            thread::spawn(move || server.serve_connection(stream));
        }
    });
    let more = format!("IdentityAgent {}\nAddKeysToAgent 5m\n", socket.display());
    site.connect(&more).unwrap().close();
    let held = Agent::connect(&socket).unwrap().keys().unwrap();
    let own = site.own.public("ed25519");
    assert!(held.iter().any(|key| own.starts_with(&key.public_key().to_line())), "{held:?}");
    // Or when somebody says so, who can be asked.
    Agent::connect(&socket).unwrap().remove_all().unwrap();
    let more = format!("IdentityAgent {}\nAddKeysToAgent ask\n", socket.display());
    for (answer, expected) in [(None, 0), (Some(false), 0), (Some(true), 1)] {
        let mut builder = site.builder(&more);
        if let Some(answer) = answer {
            let path = site.own.private("ed25519");
            builder = builder.add_keys_to_agent_callback(move |asked, _| asked == path && answer);
        }
        builder.connect("box").unwrap().close();
        assert_eq!(Agent::connect(&socket).unwrap().keys().unwrap().len(), expected, "{answer:?}");
    }
    // Those that it holds besides are used, unless the file leaves them out.
    let (other, file) = (site.folder.file("other"), site.folder.file("others"));
    PKey::generate(KeyKind::Ed25519).unwrap().write_private_key_file(&other, None).unwrap();
    let only = |said: &str| {
        let lines = site.lines(&format!("IdentityAgent {}\nIdentitiesOnly {said}\n", socket.display()));
        let own = site.own.private("ed25519").display().to_string();
        fs::write(&file, lines.replace(&own, &other.display().to_string())).unwrap();
        SSHClient::builder().ssh_config(SSHConfig::from_file(&file).unwrap()).connect("box")
    };
    only("no").unwrap().close();
    assert!(matches!(only("yes"), Err(Error::Auth { .. })));
}

#[test]
fn certificates_of_other_places() {
    let _watch = within(60);
    let authority = PKey::generate(KeyKind::Ed25519).unwrap();
    let folder = Folder::new();
    let trusted = folder.file("ca.pub");
    fs::write(&trusted, authority.public_key().to_line() + "\n").unwrap();
    let Some(site) =
        Site::new(&format!("TrustedUserCAKeys {}\nPubkeyAuthentication yes\n", trusted.display()))
    else {
        return;
    };
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let path = folder.file("id");
    key.write_private_key_file(&path, None).unwrap();
    let certificate = certified(&authority, &key);
    let beside = folder.file("elsewhere.pub");
    fs::write(&beside, certificate + "\n").unwrap();
    let lines =
        |more: &str| format!("Host box\n IdentityFile {}\n IdentitiesOnly yes\n{more}", path.display());
    site.connect(&lines(&format!(" CertificateFile {}\n", beside.display()))).unwrap().close();
}

fn certified(authority: &PKey, key: &PKey) -> String {
    let builder = feramiko::CertificateBuilder::user(key.public_key()).principal(user());
    builder.sign(authority).unwrap().to_line()
}

#[test]
fn the_program_does_what_the_file_says() {
    let _watch = within(60);
    let Some(site) = Site::new("") else { return };
    assert_eq!(site.ssh("RemoteCommand echo %n %%\n", &["box"]).as_deref(), Ok("box %\n"));
    let both = site.ssh("RemoteCommand x\n", &["box", "true"]).unwrap_err();
    assert!(both.contains("Cannot execute command-line and remote command."), "{both}");
    let done = site.folder.file("done");
    let local = format!("PermitLocalCommand yes\nLocalCommand echo %n %T >{}\n", done.display());
    assert_eq!(site.ssh(&local, &["box", "echo x"]).as_deref(), Ok("x\n"));
    assert_eq!(fs::read_to_string(&done).unwrap(), "box NONE\n");
    fs::remove_file(&done).unwrap();
    site.ssh(&local.replace("yes", "no"), &["box", "true"]).unwrap();
    assert!(!Path::new(&done).exists());
    assert_eq!(
        site.ssh("Match tagged two\n SetEnv A=2\n", &["-P", "two", "box", "echo $A"]).as_deref(),
        Ok("2\n")
    );
    let log = site.folder.file("log");
    site.ssh("LogLevel DEBUG\n", &["-E", log.to_str().unwrap(), "box", "true"]).unwrap();
    assert!(fs::read_to_string(&log).unwrap().contains("NEWKEYS"));
    let slow = std::time::Instant::now();
    let gone = site.ssh("ConnectionAttempts 2\n", &["-p", "1", "-oBindInterface=lo", "box"]).unwrap_err();
    assert!(gone.contains("connecting to 127.0.0.1:1"), "{gone}");
    assert!(slow.elapsed() >= Duration::from_secs(1), "a second attempt comes a second later");
}

#[test]
fn the_way_to_a_host() {
    let _watch = within(60);
    let Some(site) = Site::new("") else { return };
    // A command that leads to the same server; a token that it has itself is left to its shell.
    let command = "ProxyCommand bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3; # %%'\n";
    let client = site.connect(command).unwrap();
    assert_eq!(said(&client, "echo by command"), "by command\n");
    client.close();
    assert_eq!(site.ssh(command, &["box", "echo", "too"]).as_deref(), Ok("too\n"));
    let gone = site.connect("ProxyCommand sh -c 'exit 3'\n").unwrap_err();
    assert!(gone.to_string().ends_with("ended: exit status 3"), "{gone}");
    // A program that makes the connection, passes it on and ends; and some that do not.
    let passing = |what: &str| {
        let end = "u=socket.socket(fileno=1);socket.send_fds(u,[bytes(1)],[s.fileno()])";
        format!(
            "ProxyUseFdpass yes\nProxyCommand python3 -c 'import socket,sys,os,time;{what};{end}' %h %p\n"
        )
    };
    let command = passing("s=socket.create_connection(sys.argv[1:3])");
    let client = site.connect(&command).unwrap();
    assert_eq!(said(&client, "echo passed on"), "passed on\n");
    client.close();
    assert_eq!(site.ssh(&command, &["box", "echo", "too"]).as_deref(), Ok("too\n"));
    for (what, told) in [
        ("s=open(\"/dev/null\")", "no stream socket"),
        ("s=socket.socket(type=socket.SOCK_DGRAM)", "no stream socket"),
        ("sys.exit(3)", "ended: exit status 3"),
    ] {
        let wrong = site.connect(&passing(what)).unwrap_err().to_string();
        assert!(wrong.contains("a proxy command passes on") && wrong.ends_with(told), "{what}: {wrong}");
    }
    let late = site.connect(&format!("ConnectTimeout 1\n{}", passing("time.sleep(600)"))).unwrap_err();
    assert!(matches!(late, Error::Timeout(Phase::Connect)), "{late}");
    let cancel = Cancel::new();
    let builder = site.builder(&passing("time.sleep(600)")).cancel(&cancel);
    let cancelled = thread::scope(|scope| {
        let connecting = scope.spawn(|| builder.connect("box").map(drop));
        thread::sleep(Duration::from_millis(300));
        cancel.cancel();
        connecting.join().unwrap().unwrap_err()
    });
    assert!(matches!(cancelled, Error::Cancelled), "{cancelled}");
    // A host on the way has its own lines, in the same file.
    let jump = "Match originalhost box\n ProxyJump gate\nHost gate\n HostKeyAlias gate\n";
    let gate = site.lines("").replace("Host box", "Host gate");
    let known = format!("gate {}\n", site.host.public("ed25519"));
    let refused = site.connect(&format!("{jump}{gate}")).unwrap_err();
    assert!(refused.to_string().contains("host key of gate"), "{refused}");
    let file = site.folder.file("known");
    fs::write(&file, fs::read_to_string(&file).unwrap() + &known).unwrap();
    let client = site.connect(&format!("{jump}{gate}")).unwrap();
    assert_eq!(said(&client, "echo by gate"), "by gate\n");
    client.close();
    assert_eq!(site.ssh(&gate, &["-J", "gate", "box", "echo", "jumped"]).as_deref(), Ok("jumped\n"));
    // One that is on the way to itself.
    assert!(site.connect(&format!("Host *\n ProxyJump gate\n{gate}")).is_err());
}

#[test]
fn forwardings_of_the_file() {
    let _watch = within(60);
    let Some(site) = Site::new("") else { return };
    let (near, far) = (site.folder.file("near"), site.folder.file("far"));
    let rules = format!(
        "LocalForward {} 127.0.0.1:{port}\nRemoteForward {} 127.0.0.1:{port}\nExitOnForwardFailure yes\n",
        near.display(),
        far.display(),
        port = site.server.port(),
    );
    // The server's first line comes through either.
    let ask = |path: &Path| {
        format!("import socket;s=socket.socket(socket.AF_UNIX);s.connect({path:?});print(s.recv(7).decode())")
    };
    let command = format!("python3 -c '{}' && python3 -c '{}'", ask(&near), ask(&far));
    assert_eq!(site.ssh(&rules, &["box", &command]).as_deref(), Ok("SSH-2.0\nSSH-2.0\n"));
    let taken = "LocalForward /no/such/folder/x h:1\n";
    assert_eq!(site.ssh(taken, &["box", "echo fine"]).as_deref(), Ok("fine\n"));
    assert!(site.ssh(&format!("ExitOnForwardFailure yes\n{taken}"), &["box", "true"]).is_err());
}
