//! An application that trusts authorities of users, and lists of keys that no application lets in by: certificates
//! and lists of ssh-keygen's, shown by OpenSSH's ssh and by our client.

mod given;
mod peers;

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use feramiko::{
    Answer, AuthAnswer, AuthInfo, Error, ExitStatus, HostbasedClient, KeyLogin, PKey, Peer, PublicKey,
    SSHServer, ServerHandle, ServerInterface, Session, SessionKind, SessionRequest, UserAuthorities,
};
use peers::{Folder, output, program, require, run_shell};

/// Trusts the authority of a folder, and reads its `principals` if they are there.
struct Trusting {
    folder: PathBuf,
    peer: Peer,
}

impl ServerInterface for Trusting {
    fn check_auth_certificate(&self, user: &str, key: &PublicKey) -> AuthAnswer {
        let mut trusted = UserAuthorities::load(self.folder.join("ca.pub")).unwrap();
        if let Ok(text) = fs::read(self.folder.join("principals")) {
            trusted = trusted.principals(text);
        }
        let address = self.peer.addresses.map(|(address, _)| address.ip());
        trusted.check(&KeyLogin::new(user, key, address))
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        run_shell(session)
    }
}

/// Lets in every certificate, the users of every host, and users named for a list by any key; and notes whom.
struct Credulous(Arc<Mutex<Vec<AuthInfo>>>);

impl ServerInterface for Credulous {
    fn allowed_auths(&self, _: &str) -> Vec<&'static str> {
        vec!["publickey", "hostbased"]
    }

    fn check_auth_publickey(&self, user: &str, _: &PublicKey) -> AuthAnswer {
        AuthAnswer::when(user.starts_with("by "))
    }

    fn check_auth_certificate(&self, _: &str, _: &PublicKey) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn check_auth_hostbased(&self, _: &str, _: &HostbasedClient) -> AuthAnswer {
        AuthAnswer::Accept
    }

    fn connection_rules(&self, user: &str, usual: feramiko::ConnectionRules) -> feramiko::ConnectionRules {
        // Nothing that stands here takes the server's lists away.
        let mut rules = feramiko::ConnectionRules::default();
        rules.limits = usual.limits;
        rules.revoked_keys.extend(user.strip_prefix("by ").map(PathBuf::from));
        rules
    }

    fn authenticated(&self, auth: &AuthInfo) {
        self.0.lock().unwrap().push(auth.clone());
    }

    fn check_channel_exec_request(&self, _: &SessionRequest, _: &[u8]) -> Answer {
        Answer::Yes
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        assert_eq!(session.request().kind, SessionKind::Exec(b"echo yes".to_vec()));
        run_shell(session)
    }
}

/// ssh-keygen in the folder.
fn keygen(folder: &Folder, arguments: &[&str]) {
    let made = output(Command::new("ssh-keygen").arg("-q").args(arguments).current_dir(folder.path()), "");
    assert!(made.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&made.stderr));
}

/// A folder with two authorities, and a user's key with a certificate made with `arguments`.
fn folder(kind: &str, authority: &str, arguments: &[&str]) -> Option<Folder> {
    require("ssh-keygen", program("ssh-keygen"))?;
    let folder = Folder::new();
    for (name, kind) in [("ca", "ed25519"), ("other", "ed25519"), ("key", kind)] {
        keygen(&folder, &["-t", kind, "-N", "", "-C", name, "-f", name]);
    }
    keygen(&folder, &[&["-s", authority, "-I", "mine"], arguments, &["key.pub"]].concat());
    Some(folder)
}

/// What `echo yes` prints by ssh, and by our client; nothing where the key does not let in.
fn entered(folder: &Folder, server: &ServerHandle) -> Option<[String; 2]> {
    let address = server.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut ssh = Command::new(require("ssh", program("ssh"))?);
    ssh.args(["-F", "none", "-T", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    ssh.args(["-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "LogLevel=ERROR", "-i"]);
    ssh.arg(folder.file("key"))
        .args(["-l", "deploy", "-p", port, host, "echo yes"])
        .env_remove("SSH_AUTH_SOCK");
    let theirs = output(&mut ssh, "");
    let said = String::from_utf8_lossy(&theirs.stderr);
    assert!(theirs.status.success() || said.contains("Permission denied"), "{said}");
    let client = given::client().username("deploy").key_file(folder.file("key"), None);
    let ours = match client.connect(&address) {
        Ok(client) => client.output("echo yes").unwrap().stdout,
        Err(Error::Auth { attempts, .. }) => {
            assert!(attempts.iter().any(|attempt| attempt.key.is_some()), "{attempts:?}");
            Vec::new()
        }
        Err(error) => panic!("{error}"),
    };
    Some([theirs.stdout, ours].map(|text| String::from_utf8(text).unwrap()))
}

fn trusting(folder: &Folder) -> ServerHandle {
    let path = folder.path().to_owned();
    SSHServer::builder()
        .host_key(given::host_key())
        .serve(TcpListener::bind("127.0.0.1:0").unwrap(), move |peer| Trusting {
            folder: path.clone(),
            peer: peer.clone(),
        })
        .unwrap()
}

/// What a certificate is made with, the lines of principals, and what is printed.
type Case = (&'static [&'static str], Option<&'static str>, &'static str);

#[test]
fn certificates_let_in_as_their_authority_says() {
    let _watch = given::within(600);
    const FOR_ME: &[&str] = &["-n", "deploy"];
    let cases: &[Case] = &[
        (FOR_ME, None, "yes\n"),
        (&["-n", "ci,deploy"], None, "yes\n"),
        (&["-n", "ci"], None, ""),
        (&["-n", "*"], None, ""),
        // Whom it names nobody has written down.
        (&[], None, ""),
        (&["-n", "deploy", "-V", "19990101:20000101"], None, ""),
        (&["-n", "deploy", "-O", "source-address=10.0.0.0/8"], None, ""),
        (&["-n", "deploy", "-O", "source-address=127.0.0.0/8"], None, "yes\n"),
        (&["-n", "deploy", "-O", "force-command=echo forced"], None, "forced\n"),
        (&["-n", "deploy", "-O", "critical:unheard@example.org=x"], None, ""),
        (&["-h", "-n", "deploy"], None, ""),
        (&["-n", "ci"], Some("web\nci\n"), "yes\n"),
        (FOR_ME, Some("web\nci\n"), ""),
        (FOR_ME, Some(""), ""),
        (&["-n", "ci"], Some("command=\"echo by line\" ci # what follows\n"), "by line\n"),
        (&["-n", "ci"], Some("from=\"10.0.0.0/8\" ci\n"), ""),
        (&["-n", "ci"], Some("from=\"127.0.0.0/8\" ci\n"), "yes\n"),
        (&["-n", "ci", "-O", "force-command=echo forced"], Some("command=\"echo else\" ci\n"), ""),
    ];
    for (arguments, principals, expected) in cases {
        let Some(folder) = folder("ed25519", "ca", arguments) else { return };
        if let Some(text) = principals {
            fs::write(folder.file("principals"), text).unwrap();
        }
        let Some(printed) = entered(&folder, &trusting(&folder)) else { return };
        assert_eq!(printed, [*expected, *expected], "{arguments:?} {principals:?}");
    }
    for (kind, authority, expected) in
        [("rsa", "ca", "yes\n"), ("ecdsa", "ca", "yes\n"), ("ecdsa", "other", ""), ("ed25519", "key", "")]
    {
        let Some(folder) = folder(kind, authority, FOR_ME) else { return };
        let Some(printed) = entered(&folder, &trusting(&folder)) else { return };
        assert_eq!(printed, [expected, expected], "{kind} {authority}");
    }
}

fn credulous(list: Option<&Path>) -> (ServerHandle, Arc<Mutex<Vec<AuthInfo>>>) {
    let seen = Arc::default();
    let told = Arc::clone(&seen);
    let mut builder = SSHServer::builder().host_key(given::host_key());
    if let Some(list) = list {
        builder = builder.revoked_keys(list);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (builder.serve(listener, move |_| Credulous(Arc::clone(&told))).unwrap(), seen)
}

#[test]
fn what_is_revoked_lets_nobody_in_whatever_the_application_says() {
    let _watch = given::within(600);
    let Some(folder) = folder("ed25519", "ca", &["-n", "deploy", "-z", "7"]) else { return };
    let list = folder.file("list");
    let (server, seen) = credulous(Some(&list));
    let enters = || entered(&folder, &server).map(|printed| printed.map(|text| text == "yes\n"));
    // One that is not there revokes all.
    let Some(none) = enters() else { return };
    assert_eq!(none, [false; 2]);
    assert!(seen.lock().unwrap().is_empty());
    for (specification, lets_in) in
        [("", true), ("serial: 6\nid: yours\n", true), ("serial: 7\n", false), ("id: mine\n", false)]
    {
        fs::write(folder.file("specification"), specification).unwrap();
        keygen(&folder, &["-k", "-f", "list", "-s", "ca.pub", "specification"]);
        assert_eq!(enters(), Some([lets_in; 2]), "{specification:?}");
    }
    for (name, lets_in) in
        [("key.pub", false), ("key-cert.pub", false), ("ca.pub", false), ("other.pub", true)]
    {
        keygen(&folder, &["-k", "-f", "list", name]);
        assert_eq!(enters(), Some([lets_in; 2]), "{name}");
    }
    // Public keys line by line are a list as well; half a list is none.
    for (text, lets_in) in [
        (fs::read(folder.file("key.pub")).unwrap(), false),
        (fs::read(folder.file("other.pub")).unwrap(), true),
        (b"nonsense\n".to_vec(), false),
        (b"SSHKRL\n\0".to_vec(), false),
    ] {
        fs::write(&list, &text).unwrap();
        assert_eq!(enters(), Some([lets_in; 2]), "{}", text.escape_ascii());
    }
    let certified = |auth: &AuthInfo| auth.key.as_ref().is_some_and(|key| key.certificate().is_some());
    assert!(seen.lock().unwrap().iter().all(certified));
}

#[test]
fn lists_hold_for_hosts_that_vouch_and_for_single_users() {
    let _watch = given::within(300);
    let Some(folder) = folder("ed25519", "ca", &["-n", "deploy"]) else { return };
    let key = PKey::from_file(folder.file("key"), None).unwrap();
    let (other, mine) = (folder.file("other.pub"), folder.file("key.pub"));
    for (list, lets_in) in [(None, true), (Some(&other), true), (Some(&mine), false)] {
        let (server, seen) = credulous(list.map(PathBuf::as_path));
        let client = given::client().username("deploy").hostbased(key.clone(), "ci.example.org", "me");
        let client = client.connect(&server.address());
        assert_eq!(client.is_ok(), lets_in, "{list:?}");
        if let Ok(client) = client {
            // Answered by whoever was told of the login before.
            assert_eq!(client.output("echo yes").unwrap().stdout, b"yes\n");
        }
        assert_eq!(seen.lock().unwrap().len(), usize::from(lets_in));
    }
    let (server, _) = credulous(Some(&other));
    for (list, lets_in) in [(&other, true), (&mine, false), (&folder.file("absent"), false)] {
        let client = given::client().username(&format!("by {}", list.display())).key(key.clone());
        assert_eq!(client.connect(&server.address()).is_ok(), lets_in, "{}", list.display());
    }
}
