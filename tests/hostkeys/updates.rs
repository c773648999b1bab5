//! Further host keys: what ssh learns from our servers, what we learn from OpenSSH's and our own, and that
//! both change the same files in the same way.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use feramiko::{
    AcceptNewPolicy, HostKeys, HostKeysUpdate, KeyKind, PKey, PublicKey, SSHClient, SSHClientBuilder,
};

use serde_json::json;

use crate::peers::{
    Folder, KEY_KINDS, Keys, Python, Running, Server, example, keeper, program, require, sshd, start, user,
};

/// Two cores may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Our sshd program with three host keys; one for all tests of this file.
fn our_server() -> Option<&'static (Server, Keys)> {
    static SERVER: OnceLock<Option<(Server, Keys)>> = OnceLock::new();
    SERVER
        .get_or_init(|| {
            let keys = Keys::named("hostkeys")?;
            let server = start("our sshd", |folder, port| {
                let authorized = folder.file("authorized_keys");
                fs::write(&authorized, keys.public("ed25519") + "\n").unwrap();
                let mut command = keeper(r#""$@""#);
                command.arg(example("sshd")).args(["-p", &port.to_string(), "--listen", "127.0.0.1"]);
                for kind in ["ed25519", "rsa", "ecdsa256"] {
                    command.arg("-h").arg(keys.private(kind));
                }
                command.arg("-a").arg(authorized);
                (command, "listening on".to_owned())
            });
            Some((server, keys))
        })
        .as_ref()
}

/// `type base64` of a key of the set.
fn line(keys: &Keys, kind: &str) -> String {
    PublicKey::from_line(&keys.public(kind)).unwrap().0.to_line()
}

fn client(keys: &Keys, file: &Path) -> SSHClientBuilder {
    let mut algorithms = feramiko::Algorithms::client_defaults();
    // As ssh is told below.
    algorithms.set_host_keys("^ssh-ed25519").unwrap();
    SSHClient::builder()
        .no_ssh_config()
        .no_agent()
        .no_default_keys()
        .algorithms(algorithms)
        .key(PKey::from_file(keys.private("ed25519"), None).unwrap())
        .global_known_hosts_files::<&str>([])
        .known_hosts_file(file)
        .update_host_keys(true)
}

fn update(builder: SSHClientBuilder, port: u16) -> Option<HostKeysUpdate> {
    let client = builder.connect(&format!("{}@127.0.0.1:{port}", user())).unwrap();
    let update = client.host_keys_update(PATIENCE);
    assert_eq!(client.host_keys_update(PATIENCE), update, "it stays");
    client.close();
    update
}

/// Lets ssh log in and waits until it has done about the announcement what it does.
fn ssh_updates(ssh: &Path, keys: &Keys, port: u16, file: &Path, options: &[&str]) {
    let mut command = Command::new(ssh);
    command.args(["-F", "none", "-T", "-vvv", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
    command.args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "UpdateHostKeys=yes"]);
    command.args(["-o", "HostKeyAlgorithms=^ssh-ed25519", "-o", "CheckHostIP=no"]).args(options);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", file.display()));
    command.arg("-i").arg(keys.private("ed25519")).args(["-p", &port.to_string()]);
    command.arg(format!("{}@127.0.0.1", user())).arg("cat");
    let mut running =
        Running::start(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()));
    let (mut said, mut announced, mut disabled) = (String::new(), false, false);
    for line in BufReader::new(running.0.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        announced |= line.contains("rtype hostkeys-00");
        disabled |= line.contains("isabling UpdateHostkeys");
        let settled = ["Learned new", "Deprecating", "skipping User", "no new or deprecated"];
        said += &(line.clone() + "\n");
        if announced && (disabled || settled.iter().any(|word| line.contains(word))) {
            drop(running.0.stdin.take());
        }
    }
    assert!(running.ended().success() && announced, "{said}");
}

#[test]
fn ssh_learns_our_further_keys_and_forgets_old_ones() {
    let _watch = crate::given::within(300);
    let Some(ssh) = require("ssh", program("ssh")) else { return };
    let Some((server, keys)) = our_server() else { return };
    let folder = Folder::new();
    let file = folder.file("known_hosts");
    let name = format!("[127.0.0.1]:{}", server.port());
    let old = PKey::generate(KeyKind::EcdsaP384).unwrap().public_key().to_line();
    fs::write(&file, format!("{name} {}\n{name} {old}\n", line(keys, "ed25519"))).unwrap();
    ssh_updates(&ssh, keys, server.port(), &file, &[]);
    let learned = HostKeys::load(&file).unwrap();
    let mut learned: Vec<_> =
        learned.lookup("127.0.0.1", server.port()).iter().map(|key| key.to_line()).collect();
    learned.sort();
    let mut expected = ["ed25519", "rsa", "ecdsa256"].map(|kind| line(keys, kind));
    expected.sort();
    assert_eq!(learned, expected);
}

#[test]
fn we_learn_from_openssh() {
    let _watch = crate::given::within(300);
    let Some(keys) = Keys::named("hostkeys") else { return };
    let Some(server) = sshd(&keys, &keys, "") else { return };
    let folder = Folder::new();
    let (file, name) = (folder.file("known_hosts"), format!("[127.0.0.1]:{}", server.port()));
    let old = PKey::generate(KeyKind::Ed448).unwrap();
    // Known by each kind of key once: RSA proves by the algorithm of the exchange.
    for (known, _) in KEY_KINDS {
        let kept = format!("# a comment\n{name} {} its key\nrubbish\n", line(&keys, known));
        fs::write(&file, format!("{kept}{name} {}\n", old.public_key().to_line())).unwrap();
        let mut algorithms = feramiko::Algorithms::client_defaults();
        let key = PublicKey::from_line(&keys.public(known)).unwrap().0;
        algorithms.set_host_keys(&format!("^{}", key.algorithms()[0])).unwrap();
        let builder = client(&keys, &file).algorithms(algorithms);
        let Some(HostKeysUpdate::Changed(change)) = update(builder, server.port()) else { panic!("{known}") };
        assert_eq!(
            (change.new.len(), &change.old[..]),
            (KEY_KINDS.len() - 1, &[old.public_key().clone()][..])
        );
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with(&kept), "{text}");
        for (kind, _) in KEY_KINDS {
            assert_eq!(text.matches(&format!("{name} {}", line(&keys, kind))).count(), 1, "{text}");
        }
        assert_eq!(text.lines().count(), 2 + KEY_KINDS.len());
    }
    assert_eq!(update(client(&keys, &file), server.port()), Some(HostKeysUpdate::Unchanged));
}

/// What becomes of a file: the same as with ssh, and whether it is changed.
fn same_as_ssh(
    table: &[(&str, bool)],
    options: &[&str],
    told: impl Fn(SSHClientBuilder) -> SSHClientBuilder,
) {
    let Some(ssh) = require("ssh", program("ssh")) else { return };
    let Some((server, keys)) = our_server() else { return };
    let folder = Folder::new();
    let (theirs, ours) = (folder.file("theirs"), folder.file("ours"));
    let name = format!("[127.0.0.1]:{}", server.port());
    let old = PKey::generate(KeyKind::EcdsaP384).unwrap().public_key().to_line();
    for (text, changes) in table {
        let text = text
            .replace("HASHED", &HostKeys::hash_host(&name, None).unwrap())
            .replace("NAME", &name)
            .replace("PORT", &server.port().to_string())
            .replace("OLD", &old)
            .replace("ED25519", &line(keys, "ed25519"))
            .replace("RSA", &line(keys, "rsa"))
            .replace("P256", &line(keys, "ecdsa256"));
        fs::write(&theirs, &text).unwrap();
        fs::write(&ours, &text).unwrap();
        ssh_updates(&ssh, keys, server.port(), &theirs, options);
        let outcome = update(told(client(keys, &ours)), server.port()).unwrap();
        assert_eq!(matches!(outcome, HostKeysUpdate::Changed(_)), *changes, "{outcome:?} of\n{text}");
        let (theirs, ours) = (HostKeys::load(&theirs).unwrap(), HostKeys::load(&ours).unwrap());
        if !changes {
            assert_eq!((theirs.to_text(), ours.to_text()), (text.clone().into_bytes(), text.into_bytes()));
        }
        let known = |keys: &HostKeys| {
            let found = keys.lookup("127.0.0.1", server.port());
            let mut found: Vec<_> = found.iter().map(|key| key.to_line()).collect();
            found.sort();
            found
        };
        assert_eq!(known(&ours), known(&theirs));
    }
}

#[test]
fn the_files_that_ssh_changes_are_those_that_we_change() {
    let _watch = crate::given::within(300);
    let table = [
        ("NAME ED25519\n", true),
        ("HASHED ED25519\n", true),
        ("NAME ED25519\nNAME RSA\nNAME P256\n", false),
        ("NAME ED25519\nNAME RSA\nNAME P256\nNAME OLD\n# end\n", true),
        ("NAME,[192.0.2.7]:PORT ED25519\n", true),
    ];
    same_as_ssh(&table, &[], |builder| builder);
}

#[test]
fn the_files_that_ssh_leaves_alone_are_left_alone() {
    let _watch = crate::given::within(300);
    let table = [
        ("[127.0.0.1]:* ED25519\n", false),
        ("NAME,other,third ED25519\n", false),
        ("NAME ED25519\n@cert-authority NAME OLD\n", false),
        ("NAME ED25519\n@revoked * OLD\n", false),
        ("NAME ED25519\nother RSA\n", false),
        ("NAME ED25519\nNAME OLD\nother OLD\n", false),
    ];
    same_as_ssh(&table, &[], |builder| builder);
}

#[test]
fn a_host_that_was_not_known_by_its_own_name_teaches_nothing() {
    let _watch = crate::given::within(300);
    same_as_ssh(&[("127.0.0.1 ED25519\n", false)], &[], |builder| builder);
}

#[test]
fn hashed_names_are_written_when_asked_for() {
    let _watch = crate::given::within(300);
    let options = ["-o", "HashKnownHosts=yes"];
    same_as_ssh(&[("NAME ED25519\n", true)], &options, |builder| builder.hash_known_hosts(true));
    let Some((server, keys)) = our_server() else { return };
    let folder = Folder::new();
    let file = folder.file("known_hosts");
    fs::write(&file, format!("[127.0.0.1]:{} {}\n", server.port(), line(keys, "ed25519"))).unwrap();
    update(client(keys, &file).hash_known_hosts(true), server.port()).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("|1|")).count(), 2, "{text}");
}

#[test]
fn who_asks_is_told_and_may_decline() {
    let _watch = crate::given::within(300);
    let Some((server, keys)) = our_server() else { return };
    let folder = Folder::new();
    let (file, global) = (folder.file("known_hosts"), folder.file("global"));
    let text = format!("[127.0.0.1]:{} {}\n", server.port(), line(keys, "ed25519"));
    fs::write(&file, &text).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let declining = client(keys, &file).update_host_keys_callback(move |change| {
        sender.send(change.clone()).unwrap();
        false
    });
    assert_eq!(update(declining, server.port()), Some(HostKeysUpdate::Skipped("it was declined")));
    let change = receiver.recv().unwrap();
    assert_eq!((change.host.as_str(), change.port, change.old.len()), ("127.0.0.1", server.port(), 0));
    let new: Vec<_> = change.new.iter().map(PublicKey::to_line).collect();
    assert_eq!(new, [line(keys, "rsa"), line(keys, "ecdsa256")]);
    assert_eq!(update(client(keys, &file).update_host_keys(false), server.port()), None);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);

    // Known by the system's file only, or by nothing before.
    fs::rename(&file, &global).unwrap();
    let by_system = client(keys, &file).global_known_hosts_files([&global]);
    assert!(matches!(update(by_system, server.port()), Some(HostKeysUpdate::Skipped(_))));
    assert!(!file.exists());
    let accepted = client(keys, &file).missing_host_key(AcceptNewPolicy);
    assert!(matches!(update(accepted, server.port()), Some(HostKeysUpdate::Skipped(_))));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    // A second file of the user's keeps what it has, and an old key there cannot be forgotten.
    let old = PKey::generate(KeyKind::EcdsaP384).unwrap().public_key().to_line();
    let second = folder.file("second");
    fs::write(&second, format!("[127.0.0.1]:{} {old}\n", server.port())).unwrap();
    let both = client(keys, &file).known_hosts_files([&file, &second]);
    assert!(matches!(update(both, server.port()), Some(HostKeysUpdate::Skipped(_))));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn we_learn_from_asyncssh() {
    let _watch = crate::given::within(300);
    let Some(keys) = Keys::named("hostkeys") else { return };
    // No RSA: AsyncSSH proves that by SHA-1 unless the exchange was signed with it.
    let kinds = ["ed25519", "ecdsa256", "ecdsa521"];
    let spec = json!({
        "user": user(),
        "host_keys": kinds.map(|kind| keys.private(kind)),
        "authorized_keys": keys.all_public(),
        "announce": true,
    });
    let Some(server) = Python::AsyncSsh.server(&spec) else { return };
    let folder = Folder::new();
    let (file, name) = (folder.file("known_hosts"), format!("[127.0.0.1]:{}", server.port()));
    fs::write(&file, format!("{name} {}\n", line(&keys, "ed25519"))).unwrap();
    let outcome = update(client(&keys, &file), server.port());
    let Some(HostKeysUpdate::Changed(change)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(change.new.len(), kinds.len() - 1);
    let learned = HostKeys::load(&file).unwrap();
    assert_eq!(learned.lookup("127.0.0.1", server.port()).len(), kinds.len());
}

#[test]
fn asyncssh_learns_from_us() {
    let _watch = crate::given::within(300);
    let Some((server, keys)) = our_server() else { return };
    let spec = json!({
        "host": "127.0.0.1",
        "port": server.port(),
        "user": user(),
        "key": keys.private("ed25519"),
        "host_key": line(keys, "ed25519"),
        "action": "learn",
    });
    let Some(answer) = Python::AsyncSsh.client(&spec) else { return };
    assert_eq!(answer["added"], json!([line(keys, "rsa"), line(keys, "ecdsa256")]), "{answer}");
}
