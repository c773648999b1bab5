//! Servers that are asked for proofs, servers that do not give them, and small RSA keys.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use feramiko::{
    Algorithms, AuthAnswer, CertificateBuilder, Error, HostKeysUpdate, KeyError, KeyKind, PKey, PublicKey,
    SSHClient, SSHServer, SSHServerBuilder, ServerHandle, ServerInterface, Signer,
};

use crate::peers::{Folder, Keys, output, program, require, sshd, user};

const PROVE: &str = "hostkeys-prove-00@openssh.com";
/// Two cores may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lets everybody in, or everybody who has a key.
#[derive(Clone, Copy, PartialEq)]
enum Letting {
    Anybody,
    AnyKey,
}

impl ServerInterface for Letting {
    fn check_auth_none(&self, _: &str) -> AuthAnswer {
        AuthAnswer::when(*self == Self::Anybody)
    }

    fn check_auth_publickey(&self, _: &str, _: &PublicKey) -> AuthAnswer {
        AuthAnswer::Accept
    }
}

fn serve_for(letting: Letting, builder: SSHServerBuilder) -> feramiko::Result<(ServerHandle, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    Ok((builder.serve(listener, move |_| letting)?, port))
}

fn serve(builder: SSHServerBuilder) -> (ServerHandle, u16) {
    serve_for(Letting::Anybody, builder).unwrap()
}

fn with_keys(keys: &[PKey]) -> SSHServerBuilder {
    keys.iter().cloned().fold(SSHServer::builder(), SSHServerBuilder::host_key)
}

/// A client that knows the first of the keys, by a file of its own.
fn client(file: &Path, port: u16, known: &PKey) -> SSHClient {
    fs::write(file, format!("[127.0.0.1]:{port} {}\n", known.public_key().to_line())).unwrap();
    let builder = SSHClient::builder()
        .no_ssh_config()
        .no_agent()
        .no_default_keys()
        .global_known_hosts_files::<&str>([]);
    let builder = builder.known_hosts_file(file).update_host_keys(true);
    builder.connect(&format!("me@127.0.0.1:{port}")).unwrap()
}

fn two_keys() -> [PKey; 2] {
    [PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::EcdsaP256).unwrap()]
}

/// Blobs one after the other, each with its length before it.
fn request<'a>(blobs: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for blob in blobs {
        out.extend_from_slice(&u32::try_from(blob.len()).unwrap().to_be_bytes());
        out.extend_from_slice(blob);
    }
    out
}

#[test]
fn a_server_proves_its_own_keys_and_no_other() {
    let _watch = crate::given::within(300);
    let (folder, keys) = (Folder::new(), two_keys());
    let (first, second) = (keys[0].public_key().blob(), keys[1].public_key().blob());
    let authority = PKey::generate(KeyKind::Ed25519).unwrap();
    let certificate = CertificateBuilder::host(keys[1].public_key()).principal("x").sign(&authority).unwrap();
    let certified = keys[1].with_certificate(&certificate).unwrap();
    let (_server, port) = serve(with_keys(&keys).host_key(certified));
    let good = request([first, second]);
    let cases = [
        (good.clone(), true),
        (request([second]), true),
        (request([authority.public_key().blob()]), false),
        (request([first, authority.public_key().blob()]), false),
        (request([first, second, first]), false),
        (request([certificate.blob()]), false),
        (Vec::new(), false),
        (good[..good.len() - 1].to_vec(), false),
    ];
    let client = client(&folder.file("hosts"), port, &keys[0]);
    // It has asked once by itself.
    assert!(matches!(client.host_keys_update(PATIENCE), Some(HostKeysUpdate::Changed(_))));
    client.close();
    for (request, proven) in &cases {
        let client = self::client(&folder.file("hosts"), port, &keys[0]);
        client.host_keys_update(PATIENCE).unwrap();
        let ask = || client.transport().global_request(PROVE, request, Some(PATIENCE));
        match ask() {
            Ok(answer) => assert!(*proven && answer.len() > 64),
            Err(Error::RequestRefused(_)) => assert!(!proven),
            Err(error) => panic!("{error}"),
        }
        // Signatures cost time: there is an end to them, and the connection goes on.
        let answers = (0..10).map(|_| ask().is_ok()).collect::<Vec<_>>();
        assert_eq!(answers.iter().filter(|good| **good).count(), if *proven { 6 } else { 0 });
        assert!(client.transport().is_active());
    }
}

#[test]
fn a_server_that_is_told_so_announces_nothing() {
    let _watch = crate::given::within(300);
    let (folder, keys) = (Folder::new(), two_keys());
    let (_server, port) = serve(with_keys(&keys).announce_host_keys(false));
    let client = client(&folder.file("hosts"), port, &keys[0]);
    let blob = request([keys[0].public_key().blob()]);
    let answer = client.transport().global_request(PROVE, &blob, Some(PATIENCE));
    assert!(matches!(answer, Err(Error::RequestRefused(_))), "{answer:?}");
    // An announcement would have come before that answer.
    assert_eq!(client.host_keys_update(Duration::ZERO), None);
    // Whoever waits is woken by the connection's end.
    let started = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| client.host_keys_update(Duration::from_secs(3600)));
        client.close();
        assert_eq!(waiting.join().unwrap(), None);
    });
    assert!(started.elapsed() < PATIENCE);
}

#[test]
fn rsa_keys_are_proven_by_the_algorithm_of_the_exchange() {
    let _watch = crate::given::within(300);
    let (folder, file) = (Folder::new(), "hosts");
    let Some((first, second)) = Keys::named("hostkeys").zip(Keys::named("hostkeys-second")) else { return };
    let keys = [first, second].map(|keys| PKey::from_file(keys.private("rsa"), None).unwrap());
    let (_server, port) = serve(with_keys(&keys));
    // The client takes no other, though the server has a better one.
    let mut algorithms = Algorithms::client_defaults();
    algorithms.set_host_keys("rsa-sha2-256").unwrap();
    let line = format!("[127.0.0.1]:{port} {}\n", keys[0].public_key().to_line());
    fs::write(folder.file(file), line).unwrap();
    let builder = SSHClient::builder()
        .no_ssh_config()
        .no_agent()
        .no_default_keys()
        .global_known_hosts_files::<&str>([]);
    let builder = builder.known_hosts_file(folder.file(file)).update_host_keys(true).algorithms(algorithms);
    let client = builder.connect(&format!("me@127.0.0.1:{port}")).unwrap();
    let outcome = client.host_keys_update(PATIENCE);
    let Some(HostKeysUpdate::Changed(change)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(change.new, [keys[1].public_key().clone()]);
    assert!(client.host_keys().find("127.0.0.1", port, keys[1].public_key()).is_some());
}

/// A host key that does with proofs what it is made for, and signs everything else.
struct Odd<F> {
    key: PKey,
    prove: F,
}

impl<F> Signer for Odd<F>
where
    F: Fn(&PKey, &str, &[u8]) -> Result<Vec<u8>, KeyError> + Send + Sync,
{
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, algorithm: &str, data: &[u8]) -> Result<Vec<u8>, KeyError> {
        let proof = data.windows(PROVE.len()).any(|window| window == PROVE.as_bytes());
        if proof { (self.prove)(&self.key, algorithm, data) } else { self.key.sign(algorithm, data) }
    }
}

/// What our client makes of a server whose second key proves itself so.
fn update_from(
    prove: impl Fn(&PKey, &str, &[u8]) -> Result<Vec<u8>, KeyError> + Send + Sync + 'static,
) -> String {
    let (folder, [first, second]) = (Folder::new(), two_keys());
    let odd = PKey::from_signer(Odd { key: second, prove });
    let (_server, port) = serve(with_keys(&[first.clone(), odd]));
    let file = folder.file("hosts");
    let client = client(&file, port, &first);
    let before = format!("[127.0.0.1]:{port} {}\n", first.public_key().to_line());
    let outcome = client.host_keys_update(PATIENCE);
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    assert!(client.transport().is_active(), "the connection goes on");
    match outcome {
        Some(HostKeysUpdate::Failed(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_that_are_not_proven_are_not_learned() {
    let _watch = crate::given::within(300);
    let refused = update_from(|_, _, _| Err(KeyError::Signer("no".to_owned())));
    assert!(refused.contains(PROVE), "{refused}");
    // Another key's signature, and this key's over something else.
    let other = PKey::generate(KeyKind::EcdsaP256).unwrap();
    update_from(move |_, algorithm, data| other.sign(algorithm, data));
    update_from(|key, algorithm, data| key.sign(algorithm, &data[1..]));
    update_from(|key, algorithm, data| Ok(key.sign(algorithm, data)?[1..].to_vec()));
    update_from(|_, _, _| Ok(Vec::new()));
}

#[test]
fn a_proof_that_never_comes_holds_nobody_up() {
    let _watch = crate::given::within(300);
    let (folder, [first, second]) = (Folder::new(), two_keys());
    let (asked, done) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let there = (Arc::clone(&asked), Arc::clone(&done));
    let prove = move |key: &PKey, algorithm: &str, data: &[u8]| {
        there.0.wait();
        there.1.wait();
        key.sign(algorithm, data)
    };
    let odd = PKey::from_signer(Odd { key: second, prove });
    let (_server, port) = serve(with_keys(&[first.clone(), odd]));
    let client = client(&folder.file("hosts"), port, &first);
    asked.wait();
    let started = Instant::now();
    assert_eq!(client.host_keys_update(Duration::ZERO), None);
    client.close();
    assert!(matches!(client.host_keys_update(PATIENCE), Some(HostKeysUpdate::Failed(_))));
    assert!(started.elapsed() < PATIENCE);
    done.wait();
}

/// An RSA key of 1024 bits: nobody makes one but for tests like this.
fn small_rsa(folder: &Folder) -> Option<PKey> {
    let keygen = require("ssh-keygen", program("ssh-keygen"))?;
    let path = folder.file("small");
    let mut command = Command::new(keygen);
    command.args(["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f"]).arg(&path);
    assert!(output(&mut command, "").status.success());
    Some(PKey::from_file(&path, None).unwrap())
}

fn rsa_only() -> Algorithms {
    let mut algorithms = Algorithms::client_defaults();
    algorithms.set_host_keys("rsa-sha2-512,rsa-sha2-256").unwrap();
    algorithms
}

#[test]
fn an_old_device_with_a_small_rsa_key_is_reached_when_told_so() {
    let _watch = crate::given::within(300);
    let folder = Folder::new();
    let Some(small) = small_rsa(&folder) else { return };
    let Some(own) = Keys::named("hostkeys") else { return };
    let config = format!("RequiredRSASize 1024\nHostKey {}\n", folder.file("small").display());
    let Some(server) = sshd(&own, &own, &config) else { return };
    let line = format!("[127.0.0.1]:{} {}\n", server.port(), small.public_key().to_line());
    fs::write(folder.file("hosts"), line).unwrap();
    let connect = |bits: Option<usize>| {
        let builder =
            SSHClient::builder().no_ssh_config().no_agent().no_default_keys().algorithms(rsa_only());
        let builder = builder.known_hosts_file(folder.file("hosts")).global_known_hosts_files::<&str>([]);
        let builder = builder.key(PKey::from_file(own.private("ed25519"), None).unwrap());
        let builder = bits.into_iter().fold(builder, |builder, bits| builder.required_rsa_size(bits));
        builder.connect(&format!("{}@127.0.0.1:{}", user(), server.port()))
    };
    // Below 1024 nothing can be demanded.
    for told in [Some(1024), Some(0)] {
        let client = connect(told).unwrap();
        assert_eq!(client.transport().host_key(), Some(small.public_key()));
        assert!(client.transport().renegotiate_keys().is_ok());
        assert_eq!(client.output("echo yes").unwrap().check().unwrap().stdout_text().unwrap(), "yes\n");
    }
    for refused in [None, Some(1025), Some(2048), Some(usize::MAX)] {
        let error = connect(refused).unwrap_err().to_string();
        assert!(error.contains("1024 bits"), "{refused:?}: {error}");
    }
}

/// Whether ssh gets in with that key; it is told to take small ones.
fn ssh_gets_in(ssh: &Path, port: u16, key: &Path) -> bool {
    let mut command = Command::new(ssh);
    command.args(["-F", "none", "-T", "-v", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
    command.args(["-o", "RequiredRSASize=1024", "-o", "HostKeyAlgorithms=^rsa-sha2-512"]);
    command.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    command.arg("-i").arg(key).args(["-p", &port.to_string(), "me@127.0.0.1", "true"]);
    // The command is refused, which ends it.
    let said = String::from_utf8_lossy(&output(&mut command, "").stderr).into_owned();
    let (inside, outside) = (said.contains("Authenticated to"), said.contains("Permission denied"));
    assert!(inside != outside, "{said}");
    inside
}

#[test]
fn a_server_takes_small_rsa_keys_when_told_so() {
    let _watch = crate::given::within(300);
    let folder = Folder::new();
    let Some(small) = small_rsa(&folder) else { return };
    let Some(ssh) = require("ssh", program("ssh")) else { return };
    let path = folder.file("small");
    let ours = |port: u16| {
        let builder =
            SSHClient::builder().no_ssh_config().no_agent().no_default_keys().algorithms(rsa_only());
        let builder = builder.required_rsa_size(1024).host_keys(feramiko::HostKeys::new());
        let builder = builder.missing_host_key(feramiko::AutoAddPolicy).key(small.clone());
        builder.connect(&format!("me@127.0.0.1:{port}"))
    };
    // A host key and users' keys.
    let told = with_keys(std::slice::from_ref(&small)).required_rsa_size(1024);
    let (_server, port) = serve_for(Letting::AnyKey, told).unwrap();
    assert!(ssh_gets_in(&ssh, port, &path));
    ours(port).unwrap();
    // Not unless told so.
    assert!(matches!(
        serve_for(Letting::AnyKey, with_keys(std::slice::from_ref(&small))),
        Err(Error::Key(_))
    ));
    let large = PKey::from_file(Keys::named("hostkeys").unwrap().private("rsa"), None).unwrap();
    let (_server, port) = serve_for(Letting::AnyKey, with_keys(&[large])).unwrap();
    assert!(!ssh_gets_in(&ssh, port, &path));
    assert!(matches!(ours(port), Err(Error::Auth { .. })));
}
