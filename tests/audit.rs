//! What ssh-audit finds about our server: nothing that fails, and with `pq_only` nothing at all, nor
//! against the policies for hardened servers that it comes with.

#![cfg(unix)]

mod given;
mod peers;

use std::net::TcpListener;
use std::process::{Command, Output};

use feramiko::{Algorithms, KeyKind, PKey, SSHServer, ServerHandle, ServerInterface};

struct Closed;

impl ServerInterface for Closed {}

fn server(algorithms: Algorithms) -> (ServerHandle, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = SSHServer::builder()
        .host_key(given::host_key())
        .host_key(PKey::generate(KeyKind::Rsa(4096)).unwrap())
        .algorithms(algorithms)
        .serve(listener, |_| Closed)
        .unwrap();
    (handle, port)
}

/// What ssh-audit says of a server; none if it is not here.
fn audit(algorithms: Algorithms, arguments: &[&str]) -> Option<(Output, String)> {
    let python = peers::require("ssh-audit", peers::python())?;
    let (_server, port) = server(algorithms);
    let output = Command::new(python.with_file_name("ssh-audit"))
        .args(arguments)
        .args(["-p", &port.to_string(), "127.0.0.1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some((output, text))
}

const SCAN: &[&str] = &["--skip-rate-test"];

#[test]
fn there_is_no_failure() {
    let Some((output, text)) = audit(Algorithms::server_defaults(), SCAN) else { return };
    assert!(!text.contains("[fail]"), "{text}");
    // 0 is clean, 2 has warnings, 3 failures.
    assert!(matches!(output.status.code(), Some(0 | 2)), "{:?} {text}", output.status);
}

#[test]
fn there_is_not_even_a_warning_when_only_post_quantum_exchanges_are_left() {
    let Some((output, text)) = audit(Algorithms::server_defaults().pq_only(), SCAN) else { return };
    assert!(!text.contains("[fail]") && !text.contains("[warn]"), "{text}");
    assert_eq!(output.status.code(), Some(0), "{text}");
}

/// The policy below, but for order and what may be left out.
const SUBSET: &str = r#"
name = "Hardened OpenSSH Server v10.4, in any order"
version = 1
allow_algorithm_subset_and_reordering = true
host keys = rsa-sha2-512, rsa-sha2-256, ssh-ed25519
key exchanges = mlkem768x25519-sha256, sntrup761x25519-sha512, sntrup761x25519-sha512@openssh.com, ext-info-s, kex-strict-s-v00@openssh.com
ciphers = chacha20-poly1305@openssh.com, aes256-gcm@openssh.com, aes256-ctr, aes192-ctr, aes128-gcm@openssh.com, aes128-ctr
macs = hmac-sha2-512-etm@openssh.com, hmac-sha2-256-etm@openssh.com, umac-128-etm@openssh.com
host_key_sizes = {"rsa-sha2-256": {"hostkey_size": 4096}, "rsa-sha2-512": {"hostkey_size": 4096}, "ssh-ed25519": {"hostkey_size": 256}}
"#;

#[test]
fn post_quantum_exchanges_only_is_a_hardened_policy() {
    let folder = peers::Folder::new();
    let policy = folder.file("policy");
    std::fs::write(&policy, SUBSET).unwrap();
    let arguments = ["-P", policy.to_str().unwrap()];
    let Some((output, text)) = audit(Algorithms::server_defaults().pq_only(), &arguments) else { return };
    assert_eq!(output.status.code(), Some(0), "{text}");
    let (output, text) = audit(Algorithms::server_defaults(), &arguments).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
}

#[test]
fn a_hardened_policy_is_kept_to_the_letter() {
    let mut algorithms = Algorithms::server_defaults().pq_only();
    algorithms.set_host_keys("rsa-sha2-512,rsa-sha2-256,ssh-ed25519").unwrap();
    algorithms.set_ciphers("aes128-gcm@openssh.com,aes128-ctr").unwrap();
    algorithms
        .set_ciphers("^chacha20-poly1305@openssh.com,aes256-gcm@openssh.com,aes256-ctr,aes192-ctr")
        .unwrap();
    algorithms.set_macs("^hmac-sha2-512-etm@openssh.com").unwrap();
    algorithms.set_macs("+umac-128-etm@openssh.com").unwrap();
    let policy = "Hardened OpenSSH Server v10.4 (version 1)";
    let Some((output, text)) = audit(algorithms, &["-P", policy]) else { return };
    assert_eq!(output.status.code(), Some(0), "{text}");
}
