//! The other implementations with each other: what `tests/peers` offers to interop tests works,
//! so that a failure there is ours.

mod peers;

use peers::{Keys, Python, Server, dropbear, require, sshd, user};
use serde_json::{Value, json};

/// Host keys and the user's own.
fn keys() -> Option<(Keys, Keys)> {
    Some((Keys::named("host")?, Keys::named("user")?))
}

/// A server of each kind, by its name.
fn servers(more: Value) -> Option<Vec<(&'static str, Server)>> {
    let (host, own) = keys()?;
    // sshd takes less than the others: this is all they have in common beyond its defaults.
    let config = more["rekey_bytes"].as_u64().map(|bytes| format!("RekeyLimit {bytes}"));
    let mut servers = vec![("sshd", sshd(&host, &own, &config.unwrap_or_default())?)];
    let mut spec = json!({
        "user": user(), "password": "foo", "host_keys": host.all_private(), "authorized_keys": own.all_public(),
    });
    merge(&mut spec, more);
    for python in Python::BOTH {
        servers.push((python.name(), python.server(&spec)?));
    }
    Some(servers)
}

fn merge(spec: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("{more} is no object") };
    spec.as_object_mut().unwrap().extend(more);
}

/// Asks both clients of every server, and hands each answer to `check`.
fn every_pair(server: Value, client: Value, check: impl Fn(&str, &Value)) {
    let Some(servers) = servers(server) else { return };
    let Some((_, own)) = keys() else { return };
    for (name, server) in &servers {
        for python in Python::BOTH {
            let mut spec = json!({
                "host": "127.0.0.1", "port": server.port(), "user": user(), "key": own.private("ed25519"),
            });
            merge(&mut spec, client.clone());
            let Some(answer) = python.client(&spec) else { return };
            let pair = format!("{} to {name}", python.name());
            assert_eq!(answer.get("error"), None, "{pair}:\n{}", server.log());
            check(&pair, &answer);
        }
    }
}

#[test]
fn a_command() {
    let command = "cat; echo error >&2; exit 3";
    every_pair(json!({}), json!({"command": command, "stdin": "input"}), |pair, answer| {
        assert_eq!(answer["stdout"], "input", "{pair}");
        assert_eq!(answer["stderr"], "error\n", "{pair}");
        assert_eq!(answer["exit"], 3, "{pair}");
        assert_eq!(answer["signal"], Value::Null, "{pair}");
    });
}

#[test]
fn a_signal() {
    every_pair(json!({}), json!({"command": "kill -TERM $$"}), |pair, answer| {
        assert_eq!(answer["signal"], "TERM", "{pair}");
        assert_eq!(answer["exit"], Value::Null, "{pair}");
    });
}

#[test]
fn variables() {
    let asked = json!({"command": "echo $LC_X", "env": {"LC_X": "y z"}});
    every_pair(json!({}), asked, |pair, answer| assert_eq!(answer["stdout"], "y z\n", "{pair}"));
}

#[test]
fn many_channels() {
    every_pair(json!({}), json!({"action": "channels", "count": 20}), |pair, answer| {
        let expected: Vec<String> = (0..20).map(|i| format!("channel {i}")).collect();
        assert_eq!(answer["stdout"], json!(expected), "{pair}");
        assert_eq!(answer["exit"], json!(vec![0; 20]), "{pair}");
    });
}

#[test]
fn a_tunnel() {
    let Some(servers) = servers(json!({})) else { return };
    // A server's own version line is what comes back.
    let to = json!({"action": "tunnel", "to": ["127.0.0.1", servers[0].1.port()], "stdin": "SSH-2.0-x\r\n"});
    every_pair(json!({}), to, |pair, answer| {
        assert!(answer["stdout"].as_str().unwrap().starts_with("SSH-2.0-OpenSSH"), "{pair}");
    });
}

#[test]
fn chosen_algorithms() {
    let chosen = json!({
        "kex": ["ecdh-sha2-nistp384"],
        "ciphers": ["aes256-ctr"],
        "macs": ["hmac-sha2-512"],
        "host_key_algorithms": ["rsa-sha2-256"],
        "compression": true,
    });
    let mut asked = chosen.clone();
    merge(&mut asked, json!({"command": "true"}));
    every_pair(json!({"compression": true}), asked, |pair, answer| {
        for (field, name) in [("kex", "kex"), ("ciphers", "cipher"), ("macs", "mac")] {
            assert_eq!(answer[name], chosen[field][0], "{pair}");
        }
        assert_eq!(answer["compression"], "zlib@openssh.com", "{pair}");
    });
}

#[test]
fn every_way_to_log_in() {
    let Some(servers) = servers(json!({})) else { return };
    let Some((host, own)) = keys() else { return };
    let mut ways = vec![json!({"password": "foo"}), json!({"password": "foo", "interactive": true})];
    ways.extend(peers::KEY_KINDS.iter().map(|(kind, _)| json!({"key": own.private(kind)})));
    for (name, server) in servers.iter().filter(|(name, _)| *name != "sshd") {
        for (python, way) in Python::BOTH.iter().flat_map(|python| ways.iter().map(move |way| (python, way)))
        {
            let mut spec = json!({
                "host": "127.0.0.1", "port": server.port(), "user": user(), "command": "echo in",
                "host_key_algorithms": ["ssh-ed25519"], "host_key": host.public("ed25519"),
            });
            merge(&mut spec, way.clone());
            let Some(answer) = python.client(&spec) else { return };
            assert_eq!(answer["stdout"], "in\n", "{} to {name} {way}: {answer}", python.name());
        }
    }
}

#[test]
fn dropbear_serves_both() {
    let Some((host, own)) = keys() else { return };
    let Some(server) = dropbear(&host, &own) else { return };
    for (python, kind) in Python::BOTH.into_iter().flat_map(|python| [(python, "ed25519"), (python, "rsa")]) {
        let spec = json!({
            "host": "127.0.0.1", "port": server.port(), "user": user(), "key": own.private(kind),
            "host_key_algorithms": ["ssh-ed25519"], "host_key": host.public("ed25519"),
            "command": "cat", "stdin": "input",
        });
        let Some(answer) = python.client(&spec) else { return };
        assert_eq!(answer["stdout"], "input", "{} {kind}: {answer}\n{}", python.name(), server.log());
        assert!(answer["peer"].as_str().unwrap().contains("dropbear"), "{answer}");
    }
}

#[test]
fn refusals_are_answers() {
    let Some(servers) = servers(json!({})) else { return };
    let Some((_, own)) = keys() else { return };
    for (name, server) in &servers {
        for python in Python::BOTH {
            let spec = json!({
                "host": "127.0.0.1", "port": server.port(), "user": user(), "command": "true",
                "password": "wrong", "host_key": own.public("ed25519"),
            });
            let Some(answer) = python.client(&spec) else { return };
            assert!(answer["error"].is_string(), "{} to {name}: {answer}", python.name());
            let mut spec = spec;
            spec.as_object_mut().unwrap().remove("host_key");
            let Some(answer) = python.client(&spec) else { return };
            assert!(answer["error"].is_string(), "{} to {name}: {answer}", python.name());
        }
    }
}

#[test]
fn files() {
    let Some(servers) = servers(json!({})) else { return };
    let Some((_, own)) = keys() else { return };
    let folder = peers::Folder::new();
    // paramiko comes without a file server.
    for (name, server) in servers.iter().filter(|(name, _)| *name != "paramiko") {
        for python in Python::BOTH {
            let spec = json!({
                "host": "127.0.0.1", "port": server.port(), "user": user(), "key": own.private("rsa"),
                "action": "sftp", "path": folder.file("data"), "bytes": 300_000,
            });
            let Some(answer) = python.client(&spec) else { return };
            assert_eq!(answer["ok"], true, "{} to {name}: {answer}", python.name());
        }
    }
}

#[test]
fn a_terminal() {
    let Some(servers) = servers(json!({})) else { return };
    let Some((_, own)) = keys() else { return };
    // AsyncSSH's server runs no programs on terminals.
    for (name, server) in servers.iter().filter(|(name, _)| *name != "asyncssh") {
        for python in Python::BOTH {
            let spec = json!({
                "host": "127.0.0.1", "port": server.port(), "user": user(), "key": own.private("ed25519"),
                "command": "stty size; echo $TERM", "pty": true,
            });
            let Some(answer) = python.client(&spec) else { return };
            assert_eq!(answer["stdout"], "24 80\r\nxterm\r\n", "{} to {name}: {answer}", python.name());
        }
    }
}

#[test]
fn a_server_ends_with_its_value() {
    let Some(servers) = servers(json!({})) else { return };
    let ports: Vec<u16> = servers.iter().map(|(_, server)| server.port()).collect();
    drop(servers);
    for port in ports {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{port}");
    }
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let Some((host, own)) = keys() else { return };
    if require("sshd", peers::program("sshd")).is_none() {
        return;
    }
    let panic = std::panic::catch_unwind(|| sshd(&host, &own, "NoSuchOption yes")).unwrap_err();
    let said = panic.downcast_ref::<String>().unwrap();
    assert!(said.contains("Bad configuration option: NoSuchOption"), "{said}");
}

#[test]
fn what_is_there_is_not_skipped() {
    assert_eq!(require("something", Some(1)), Some(1));
    assert!(peers::program("sh").is_some());
    assert!(peers::program("no such program").is_none());
}
