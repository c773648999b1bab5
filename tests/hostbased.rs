//! Hosts that vouch for their users, with OpenSSH and AsyncSSH in both roles: what lets in, and what
//! must not.

mod given;
mod peers;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use feramiko::{
    Answer, AuthAnswer, AuthInfo, CertificateBuilder, Error, ExitStatus, HostKeys, HostbasedClient,
    HostbasedRules, KeyKind, PKey, PublicKey, SSHServer, ServerHandle, ServerInterface, Session,
    SessionRequest,
};
use peers::{
    Folder, Keys, Python, example, inside, keeper, output, program, require, run_shell, sshd_at_home, start,
    user,
};
use serde_json::json;

/// The host that is believed.
const HOST: &str = "ci.example.org";

/// A server of ours that believes hosts.
struct Believing {
    rules: HostbasedRules,
    known: HostKeys,
}

struct Application(Arc<Believing>);

impl ServerInterface for Application {
    fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
        vec!["hostbased", "publickey"]
    }

    fn check_auth_hostbased(&self, user: &str, client: &HostbasedClient) -> AuthAnswer {
        self.0.rules.check(user, client, &self.0.known)
    }

    fn authenticated(&self, auth: &AuthInfo) {
        assert!(auth.key.is_none() && auth.hostbased.is_some() && auth.methods == ["hostbased"]);
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        run_shell(session)
    }
}

fn serve(rules: &str, known: &str) -> (ServerHandle, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let believing =
        Arc::new(Believing { rules: HostbasedRules::parse(rules), known: HostKeys::parse(known) });
    let handle = SSHServer::builder()
        .host_key(given::host_key())
        .serve(listener, move |_| Application(Arc::clone(&believing)))
        .unwrap();
    (handle, port)
}

/// The keys of a test: the host's, that of its authority, and one that nobody knows.
struct Given {
    own: PKey,
    authority: PKey,
    stranger: PKey,
}

impl Given {
    fn new(kind: KeyKind) -> Self {
        let key = || PKey::generate(kind).unwrap();
        Self { own: key(), authority: key(), stranger: key() }
    }

    fn known(&self) -> String {
        let (own, authority) = (self.own.public_key().to_line(), self.authority.public_key().to_line());
        format!("{HOST} {own}\n@cert-authority {HOST} {authority}\n")
    }

    /// A key that is known by its certificate only.
    fn certified(&self, certificate: impl Fn(&PublicKey) -> CertificateBuilder, authority: &PKey) -> PKey {
        let certificate = certificate(self.stranger.public_key()).sign(authority).unwrap();
        self.stranger.with_certificate(&certificate).unwrap()
    }

    /// What is claimed: the key, the host, the user there; and whether that lets `me` in, whom the
    /// host's user of the same name may be.
    fn cases(&self, me: &str) -> Vec<(&'static str, PKey, &'static str, String, bool)> {
        let me = || me.to_owned();
        let host = |key: &PublicKey| CertificateBuilder::host(key).principal(HOST);
        let of_another = |key: &PublicKey| CertificateBuilder::host(key).principal("other.example.org");
        let of_a_user = |key: &PublicKey| CertificateBuilder::user(key).principal(HOST);
        let past = SystemTime::now() - Duration::from_secs(1000);
        let expired = |key: &PublicKey| host(key).valid_before(past);
        vec![
            ("the host's key", self.own.clone(), HOST, me(), true),
            ("a dot at the end", self.own.clone(), "ci.example.org.", me(), true),
            ("another user", self.own.clone(), HOST, "somebody".to_owned(), false),
            ("another host", self.own.clone(), "other.example.org", me(), false),
            ("another key", self.stranger.clone(), HOST, me(), false),
            ("a certificate", self.certified(host, &self.authority), HOST, me(), true),
            ("another's certificate", self.certified(of_another, &self.authority), HOST, me(), false),
            ("a user's certificate", self.certified(of_a_user, &self.authority), HOST, me(), false),
            ("an expired certificate", self.certified(expired, &self.authority), HOST, me(), false),
            ("a stranger's certificate", self.certified(host, &self.own), HOST, me(), false),
        ]
    }
}

/// Whether our client gets in.
fn enters(port: u16, key: &PKey, host: &str, local: &str) -> bool {
    let builder = given::client().username(&user()).hostbased(key.clone(), host, local);
    match builder.connect(&format!("127.0.0.1:{port}")) {
        Ok(client) => {
            assert_eq!(client.output("echo yes").unwrap().stdout, b"yes\n");
            true
        }
        Err(Error::Auth { attempts, .. }) => {
            assert!(attempts.iter().all(|attempt| attempt.method == "hostbased" && attempt.key.is_some()));
            // A certificate that was refused is followed by the key alone.
            let expected = 1 + usize::from(key.public_key().certificate().is_some());
            assert_eq!(attempts.len(), expected, "{attempts:?}");
            false
        }
        Err(error) => panic!("{error}"),
    }
}

const KINDS: [KeyKind; 5] =
    [KeyKind::Ed25519, KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Rsa(2048)];

#[test]
fn our_client_on_our_server() {
    let _watch = given::within(300);
    let given = Given::new(KeyKind::Ed25519);
    let (_server, port) = serve(HOST, &given.known());
    for (what, key, host, local, lets_in) in given.cases(&user()) {
        assert_eq!(enters(port, &key, host, &local), lets_in, "{what}");
    }
    for kind in KINDS {
        let given = Given::new(kind);
        let (_server, port) = serve(HOST, &given.known());
        assert!(enters(port, &given.own, HOST, &user()), "{kind:?}");
    }
}

/// A key held elsewhere does as well, one that fails is an attempt among others, and a transport can
/// be told to.
#[test]
fn keys_held_elsewhere() {
    let _watch = given::within(300);
    struct Held(PKey, bool);
    impl feramiko::Signer for Held {
        fn public_key(&self) -> &PublicKey {
            self.0.public_key()
        }
        fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, feramiko::KeyError> {
            if self.1 {
                return Err(feramiko::KeyError::Signer("out of order".to_owned()));
            }
            self.0.sign(algorithm, data)
        }
    }
    let given = Given::new(KeyKind::Ed25519);
    let (_server, port) = serve(HOST, &given.known());
    let (broken, works) = (Held(given.own.clone(), true), Held(given.own.clone(), false));
    let client = given::client()
        .username(&user())
        .hostbased(PKey::from_signer(broken), HOST, &user())
        .hostbased(PKey::from_signer(works), HOST, &user());
    assert!(client.connect(&format!("127.0.0.1:{port}")).is_ok());
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let transport =
        feramiko::Transport::start_client(stream, feramiko::TransportOptions::default(), |_| Ok(())).unwrap();
    assert!(transport.auth_hostbased("me", &given.own, HOST, "you").is_err());
    assert!(transport.auth_hostbased("you", &given.own, HOST, "you").unwrap().is_empty());
}

/// An application that believes every host is not asked about certificates that say something else.
#[test]
fn bad_certificates_reach_nobody() {
    let _watch = given::within(300);
    struct Credulous;
    impl ServerInterface for Credulous {
        fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
            vec!["hostbased"]
        }
        fn check_auth_hostbased(&self, _: &str, client: &HostbasedClient) -> AuthAnswer {
            AuthAnswer::when(client.key.certificate().is_some())
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let _server = SSHServer::builder().host_key(given::host_key()).serve(listener, |_| Credulous).unwrap();
    let mut seen = 0;
    for (what, key, host, local, _) in Given::new(KeyKind::Ed25519).cases("me") {
        if key.public_key().certificate().is_none() {
            continue;
        }
        let believed = ["a certificate", "a stranger's certificate"].contains(&what);
        let client = given::client().username("me").hostbased(key, host, &local).connect(&address);
        assert_eq!(client.is_ok(), believed, "{what}");
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// A certificate for a host lets nobody in as a user, whoever trusts its authority.
#[test]
fn a_hosts_certificate_is_no_users() {
    let _watch = given::within(300);
    struct Trusting;
    impl ServerInterface for Trusting {
        fn check_auth_publickey(&self, _: &str, _: &PublicKey) -> AuthAnswer {
            AuthAnswer::Refuse
        }
        fn check_auth_certificate(&self, _: &str, _: &PublicKey) -> AuthAnswer {
            AuthAnswer::Accept
        }
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let _server = SSHServer::builder().host_key(given::host_key()).serve(listener, |_| Trusting).unwrap();
    let given = Given::new(KeyKind::Ed25519);
    for (builder, lets_in) in [
        (CertificateBuilder::host as fn(&PublicKey) -> CertificateBuilder, false),
        (CertificateBuilder::user, true),
    ] {
        let key = given.certified(|key| builder(key).principal("me"), &given.authority);
        assert_eq!(given::client().username("me").key(key).connect(&address).is_ok(), lets_in);
    }
}

/// A key in a file, and its certificate in another.
fn written(folder: &Folder, key: &PKey) -> (PathBuf, Option<PathBuf>) {
    key.without_certificate().write_private_key_file(folder.file("key"), None).unwrap();
    let certificate = key.public_key().certificate().map(|_| {
        fs::write(folder.file("key-cert.pub"), key.public_key().to_line() + "\n").unwrap();
        folder.file("key-cert.pub")
    });
    (folder.file("key"), certificate)
}

/// AsyncSSH's client on our server with a few of the cases.
fn asyncssh(given: &Given, cases: std::ops::Range<usize>) {
    let (_server, port) = serve(HOST, &given.known());
    for (what, key, host, local, lets_in) in given.cases("me").drain(cases) {
        let folder = Folder::new();
        let (path, certificate) = written(&folder, &key);
        let spec = json!({
            "host": "127.0.0.1", "port": port, "user": "me", "command": "echo yes",
            "hostbased": {"key": path, "certificate": certificate, "host": host, "user": local},
        });
        let Some(answer) = Python::AsyncSsh.client(&spec) else { return };
        let refused = answer["error"].as_str().is_some_and(|error| error.starts_with("PermissionDenied"));
        assert_eq!((answer["stdout"] == "yes\n", refused), (lets_in, !lets_in), "{what}: {answer}");
    }
}

#[test]
fn asyncssh_with_keys_on_our_server() {
    let _watch = given::within(300);
    asyncssh(&Given::new(KeyKind::Ed25519), 0..5);
}

#[test]
fn asyncssh_with_certificates_on_our_server() {
    let _watch = given::within(300);
    asyncssh(&Given::new(KeyKind::Ed25519), 5..10);
}

#[test]
fn asyncssh_with_keys_of_every_kind_on_our_server() {
    let _watch = given::within(300);
    KINDS[1..].iter().for_each(|kind| asyncssh(&Given::new(*kind), 0..1));
}

#[test]
fn our_client_on_asyncssh() {
    let _watch = given::within(300);
    let Some(host_keys) = Keys::named("host") else { return };
    let (given, me) = (Given::new(KeyKind::Ed25519), user());
    let spec = |given: &Given| {
        json!({
            "user": me, "host_keys": host_keys.all_private(),
            "hostbased": {"known": given.known(), "users": [me]},
        })
    };
    let Some(server) = Python::AsyncSsh.server(&spec(&given)) else { return };
    for (what, key, host, local, lets_in) in given.cases(&me) {
        assert_eq!(enters(server.port(), &key, host, &local), lets_in, "{what}: {}", server.log());
    }
    for kind in &KINDS[1..] {
        let given = Given::new(*kind);
        let Some(server) = Python::AsyncSsh.server(&spec(&given)) else { return };
        assert!(enters(server.port(), &given.own, HOST, &me), "{kind:?}: {}", server.log());
    }
}

/// OpenSSH's server and our program, over the same home.
fn both(home: &Folder) -> Option<[peers::Server; 2]> {
    let (host, own) = (Keys::named("host")?, Keys::named("user")?);
    fs::create_dir(home.file(".ssh")).unwrap();
    let options =
        ["HostbasedAuthentication=yes", "HostbasedUsesNameFromPacketOnly=yes", "IgnoreRhosts=shosts-only"];
    let lines = options.map(|option| option.replace('=', " ")).join("\n");
    let theirs = sshd_at_home(&host, &own, &format!("{lines}\nMaxAuthTries 20"), home.path())?;
    Some([theirs, our_sshd(home, &options)?])
}

fn our_sshd(home: &Folder, options: &[&str]) -> Option<peers::Server> {
    let host = Keys::named("host")?;
    Some(start("our sshd", |_, port| {
        let mut command = keeper(r#""$@""#);
        command.env("HOME", home.path());
        command.arg(example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1", "-h"]);
        command.arg(host.private("ed25519"));
        options.iter().for_each(|option| {
            command.args(["-o", option]);
        });
        (command, "listening on".to_owned())
    }))
}

/// Our program believes a host only at one of its addresses unless told otherwise, a file for all users
/// only of others than root, and none that anybody may write.
#[test]
fn our_sshd_is_careful() {
    let _watch = given::within(300);
    use std::os::unix::fs::PermissionsExt;
    let (home, given, me) = (Folder::new(), Given::new(KeyKind::Ed25519), user());
    fs::create_dir(home.file(".ssh")).unwrap();
    let key = given.own.public_key().to_line();
    let hosts = "127.0.0.1\n127.0.0.2\nlocalhost\n";
    fs::write(home.file("known"), format!("127.0.0.1,127.0.0.2,localhost {key}\n")).unwrap();
    fs::write(home.file(".shosts"), hosts).unwrap();
    let file = |name: &str, path: &str| format!("{name}={}", home.file(path).display());
    let known = file("GlobalKnownHostsFile", "known");
    let own = ["HostbasedAuthentication=yes", "IgnoreRhosts=no", &known];
    let Some(server) = our_sshd(&home, &own) else { return };
    for (host, lets_in) in [("127.0.0.1", true), ("localhost", true), ("127.0.0.2", false)] {
        assert_eq!(enters(server.port(), &given.own, host, &me), lets_in, "{host}: {}", server.log());
    }
    fs::set_permissions(home.file(".shosts"), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(!enters(server.port(), &given.own, "127.0.0.1", &me));
    fs::remove_file(home.file(".shosts")).unwrap();
    fs::write(home.file("equiv"), hosts).unwrap();
    let equivalents = file("ShostsEquivFile", "equiv");
    let server = our_sshd(&home, &["HostbasedAuthentication=yes", &known, &equivalents]).unwrap();
    assert_eq!(enters(server.port(), &given.own, "127.0.0.1", &me), me != "root");
}

fn write(home: &Folder, given: &Given, rules: &str) {
    fs::write(home.file(".ssh/known_hosts"), given.known()).unwrap();
    fs::write(home.file(".shosts"), rules).unwrap();
}

#[test]
fn our_client_on_sshd_and_on_ours() {
    let _watch = given::within(300);
    let (home, given, me) = (Folder::new(), Given::new(KeyKind::Ed25519), user());
    let Some(servers) = both(&home) else { return };
    write(&home, &given, HOST);
    for (what, key, host, local, lets_in) in given.cases(&me) {
        for server in &servers {
            assert_eq!(enters(server.port(), &key, host, &local), lets_in, "{what}: {}", server.log());
        }
    }
    for kind in KINDS {
        let given = Given::new(kind);
        write(&home, &given, HOST);
        for server in &servers {
            assert!(enters(server.port(), &given.own, HOST, &me), "{kind:?}: {}", server.log());
        }
    }
}

/// Lines of `.shosts`, the user there, and whether both servers let in; `ME` is who they run as.
const LINES: &[(&str, &str, bool)] = &[
    ("", "ME", false),
    ("ci.example.org", "ME", true),
    ("CI.Example.ORG", "ME", true),
    ("  ci.example.org", "ME", true),
    ("ci.example.org\r", "ME", true),
    ("ci.example.org", "you", false),
    ("ci.example.org you", "you", true),
    ("ci.example.org you", "ME", false),
    ("ci.example.org YOU", "you", false),
    ("+ci.example.org +you", "you", true),
    ("+", "ME", false),
    ("+ +", "ME", false),
    ("+ ME", "ME", false),
    ("ci.example.org +", "ME", false),
    ("*.example.org", "ME", false),
    ("-ci.example.org\nci.example.org", "ME", false),
    ("ci.example.org -ME\nci.example.org", "ME", false),
    ("ci.example.org -you\nci.example.org", "ME", true),
    ("-other.example.org\nci.example.org", "ME", true),
    ("ci.example.org\n-ci.example.org", "ME", true),
    ("# ci.example.org", "ME", false),
    ("# a comment\nci.example.org", "ME", true),
    ("ci.example.org # a comment", "ME", false),
    ("ci.example.org ME more", "ME", false),
    ("ci.example.org # a comment\nci.example.org", "ME", true),
    ("NO_PLUS\nci.example.org", "ME", true),
    ("+@nobodys-group", "ME", false),
    ("@nobodys-group\nci.example.org", "ME", true),
    ("ci.example.org @nobodys-group", "ME", false),
];

#[test]
fn lines_are_read_as_sshd_reads_them() {
    let _watch = given::within(300);
    let (home, given, me) = (Folder::new(), Given::new(KeyKind::Ed25519), user());
    let Some([theirs, ours]) = both(&home) else { return };
    let mut failed = Vec::new();
    for (text, local, lets_in) in LINES {
        let (text, local) = (text.replace("ME", &me), local.replace("ME", &me));
        write(&home, &given, &text);
        let got = [&theirs, &ours].map(|server| enters(server.port(), &given.own, HOST, &local));
        if got != [*lets_in; 2] {
            failed.push(format!("{text:?} {local}: sshd and ours {got:?}, expected {lets_in}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Our `ssh` program signs with the keys in /etc/ssh itself, if it can read them.
#[test]
fn our_ssh_on_our_server() {
    let _watch = given::within(300);
    let root = user() == "root";
    let Some(_) = require("unshare (as root)", program("unshare").filter(|_| root)) else { return };
    let Some(()) = require("/etc/ssh", Path::new("/etc/ssh").is_dir().then_some(())) else { return };
    let (etc, given) = (Folder::new(), Given::new(KeyKind::Ed25519));
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (_server, port) = serve(&name, &format!("{name} {}\n", given.own.public_key().to_line()));
    let run = || {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &inside(r#"mount --bind "$1" /etc/ssh && shift"#), "sh"]).arg(etc.path());
        command.arg(example("ssh")).args(["-F", "none", "-T", "-o", "StrictHostKeyChecking=no"]).arg("-o");
        command.arg(format!("UserKnownHostsFile={}", etc.file("known").display()));
        command.args([
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "HostbasedAuthentication=yes",
        ]);
        command.args(["-p", &port.to_string(), "me@127.0.0.1", "echo yes"]);
        output(command.env("LOGNAME", "me"), "")
    };
    let none = run();
    assert_eq!(none.status.code(), Some(255));
    assert!(String::from_utf8_lossy(&none.stderr).contains("no key of this host"));
    given.own.write_private_key_file(etc.file("ssh_host_ed25519_key"), None).unwrap();
    let answer = run();
    assert_eq!(answer.stdout, b"yes\n", "{}", String::from_utf8_lossy(&answer.stderr));
    given.stranger.write_private_key_file(etc.file("ssh_host_ed25519_key"), None).unwrap();
    assert_eq!(run().status.code(), Some(255));
}

/// OpenSSH's client has `ssh-keysign` sign, which knows the host's keys in /etc/ssh only: it gets one of
/// its own.
#[test]
fn openssh_on_our_server() {
    let _watch = given::within(300);
    let root = user() == "root";
    let Some(ssh) = require("ssh (as root)", program("ssh").filter(|_| root)) else { return };
    for (kind, name) in
        [(KeyKind::Ed25519, "ed25519"), (KeyKind::EcdsaP256, "ecdsa"), (KeyKind::Rsa(2048), "rsa")]
    {
        let (etc, given) = (Folder::new(), Given::new(kind));
        fs::write(
            etc.file("ssh_config"),
            "Host *\n EnableSSHKeysign yes\n HostbasedAuthentication yes\n PreferredAuthentications hostbased\n",
        )
        .unwrap();
        let run = |rules: &str, known: &str, key: &PKey| {
            let path = etc.file(&format!("ssh_host_{name}_key"));
            key.without_certificate().write_private_key_file(&path, None).unwrap();
            fs::write(path.with_extension("pub"), key.without_certificate().public_key().to_line()).unwrap();
            let beside = etc.file(&format!("ssh_host_{name}_key-cert.pub"));
            if key.public_key().certificate().is_some() {
                fs::write(beside, key.public_key().to_line()).unwrap();
            }
            let (_server, port) = serve(rules, known);
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", &inside(r#"mount --bind "$1" /etc/ssh && shift"#), "sh"])
                .arg(etc.path())
                .arg(&ssh)
                .args(["-T", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
                .args([
                    "-o",
                    "LogLevel=DEBUG2",
                    "-p",
                    &port.to_string(),
                    &format!("{}@127.0.0.1", user()),
                    "echo yes",
                ]);
            let answer = output(&mut command, "");
            (answer.stdout == b"yes\n", String::from_utf8_lossy(&answer.stderr).into_owned())
        };
        // The name is the one that the client's address has on this machine.
        let (entered, said) = run("nowhere", "", &given.own);
        let claimed = said.lines().find_map(|line| line.split("chost ").nth(1));
        let claimed = claimed.expect(&said).trim().trim_end_matches('.').to_owned();
        assert!(!entered, "{said}");
        let line = |key: &PKey| format!("{claimed} {}\n", key.public_key().to_line());
        let (entered, said) = run(&claimed, &line(&given.own), &given.own);
        assert!(entered, "{name}: {said}");
        let (entered, said) = run(&claimed, &line(&given.stranger), &given.own);
        assert!(!entered, "{name}: {said}");
        let certified =
            given.certified(|key| CertificateBuilder::host(key).principal(&claimed), &given.authority);
        let (entered, said) =
            run(&claimed, &format!("@cert-authority {}", line(&given.authority)), &certified);
        assert!(entered, "{name} certificate: {said}");
    }
}
