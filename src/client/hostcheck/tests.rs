//! Options that judge host keys: files, aliases, addresses, revoked keys, callbacks, the DNS.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::SystemTime;

use super::*;
use crate::client::SSHClient;
use crate::client::SSHClientBuilder;
use crate::client::dial::Destination;
use crate::crypto::hash::HashAlg;
use crate::hostkeys::{AcceptNewPolicy, AutoAddPolicy, SshfpRecords};
use crate::key::{CertificateBuilder, KeyKind, PKey, SshfpRecord};

fn key(kind: KeyKind) -> PublicKey {
    PKey::generate(kind).unwrap().public_key().clone()
}

/// Three keys: the host's, and two others.
fn keys() -> [PublicKey; 3] {
    [key(KeyKind::Ed25519), key(KeyKind::EcdsaP256), key(KeyKind::Ed25519)]
}

/// A client without files, and so without anything of this machine's.
fn client() -> SSHClientBuilder {
    SSHClient::builder().known_hosts_files::<&str>([]).global_known_hosts_files::<&str>([])
}

fn checker(builder: SSHClientBuilder, destination: &str, address: Option<&str>) -> Result<Checker> {
    let address = address.map(|address| address.parse::<IpAddr>().unwrap());
    let target = Destination::parse(destination).unwrap().target();
    Checker::new(builder.host_keys, &target, address, builder.options.algorithms.ca_signatures())
}

fn check(builder: SSHClientBuilder, destination: &str, address: Option<&str>, key: &PublicKey) -> Result<()> {
    checker(builder, destination, address)?.check(key)
}

/// Why a key is refused.
fn refusal(result: Result<()>) -> String {
    match result {
        Err(Error::HostKey { text, .. }) => text,
        other => panic!("{other:?}"),
    }
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

#[test]
fn several_files_are_asked_as_one_and_the_first_is_written_to() {
    let (files, [host, other, revoked]) = (Files::new(), keys());
    let second = format!("second {}\n", host.to_line());
    let global = format!("third {}\n@revoked * {}\n", host.to_line(), revoked.to_line());
    let (first, second_path) = (files.path("first"), files.file("second", &second));
    let global_path = files.file("global", &global);
    let told = || {
        client()
            .known_hosts_files([&first, &second_path])
            .global_known_hosts_files([&global_path, &files.path("none")])
            .missing_host_key(AcceptNewPolicy)
    };
    for name in ["second", "third"] {
        check(told(), name, None, &host).unwrap();
        assert!(refusal(check(told(), name, None, &other)).contains("CHANGED"));
    }
    assert!(refusal(check(told(), "second", None, &revoked)).contains("revoked"));
    assert!(!first.exists(), "nothing was new");
    check(told(), "New.example.org:2222", None, &other).unwrap();
    check(told(), "New.example.org:2222", None, &other).unwrap();
    assert_eq!(files.text("first"), format!("[new.example.org]:2222 {}\n", other.to_line()));
    assert_eq!((files.text("second"), files.text("global")), (second, global));
    // A file that is there and cannot be read may have revoked the key.
    let unreadable = told().global_known_hosts_files([files.0.path()]);
    assert!(matches!(check(unreadable, "second", None, &host), Err(Error::HostKeys(_))));
}

#[test]
fn names_are_hashed_when_asked_for() {
    let (files, [host, ..]) = (Files::new(), keys());
    let told = || {
        client()
            .known_hosts_file(files.path("hosts"))
            .hash_known_hosts(true)
            .check_host_ip(HostAddressCheck::Reject)
            .missing_host_key(AcceptNewPolicy)
    };
    check(told(), "host.example.org", Some("192.0.2.7"), &host).unwrap();
    let text = files.text("hosts");
    assert_eq!(text.lines().filter(|line| line.starts_with("|1|")).count(), 2, "{text}");
    check(told().missing_host_key(crate::RejectPolicy), "host.example.org", Some("192.0.2.7"), &host)
        .unwrap();
    assert_eq!(files.text("hosts"), text);
}

#[test]
fn an_alias_is_looked_up_instead_and_without_the_port() {
    let (files, [host, ..]) = (Files::new(), keys());
    let hosts = files.file("hosts", &format!("Build {}\n", host.to_line()));
    let told = || client().known_hosts_file(&hosts);
    check(told().host_key_alias("build"), "10.1.2.3:2222", None, &host).unwrap();
    refusal(check(told(), "10.1.2.3:2222", None, &host));
    let certified = PKey::generate(KeyKind::Ed25519).unwrap();
    let authority = PKey::generate(KeyKind::Ed25519).unwrap();
    let certificate =
        CertificateBuilder::host(certified.public_key()).principal("build").sign(&authority).unwrap();
    let trusting =
        files.file("authority", &format!("@cert-authority * {}\n", authority.public_key().to_line()));
    let told = || client().known_hosts_file(&trusting);
    check(told().host_key_alias("Build"), "10.1.2.3", None, &certificate).unwrap();
    assert!(refusal(check(told(), "10.1.2.3", None, &certificate)).contains("10.1.2.3"));
}

#[test]
fn the_address_is_checked_and_noted() {
    let (files, [host, other, _]) = (Files::new(), keys());
    let by_name = format!("host {}\n", host.to_line());
    let address = Some("192.0.2.7");
    let told = |check, text: &str| client().known_hosts_file(files.file("hosts", text)).check_host_ip(check);
    use HostAddressCheck::{Off, Reject, Warn};

    check(told(Off, &by_name), "host", address, &host).unwrap();
    assert_eq!(files.text("hosts"), by_name);
    check(told(Warn, &by_name), "host", address, &host).unwrap();
    let noted = format!("{by_name}192.0.2.7 {}\n", host.to_line());
    assert_eq!(files.text("hosts"), noted);
    check(told(Reject, &noted), "host", address, &host).unwrap();
    assert_eq!(files.text("hosts"), noted);

    let differing = format!("{by_name}192.0.2.7 {}\n", other.to_line());
    check(told(Warn, &differing), "host", address, &host).unwrap();
    let text = refusal(check(told(Reject, &differing), "host", address, &host));
    assert!(text.contains("192.0.2.7 has another key") && text.contains("hosts:2"), "{text}");
    // Nor is a new host believed there, or noted.
    let elsewhere = format!("192.0.2.7 {}\n", other.to_line());
    let new = told(Reject, &elsewhere).missing_host_key(AcceptNewPolicy);
    refusal(check(new, "host", address, &host));
    assert_eq!(files.text("hosts"), elsewhere);
    let revoked = format!("{by_name}@revoked 192.0.2.7 {}\n", host.to_line());
    assert!(refusal(check(told(Warn, &revoked), "host", address, &host)).contains("revoked"));
    // The address does not stand in for the name.
    let only_address = format!("192.0.2.7 {}\n", host.to_line());
    refusal(check(told(Reject, &only_address), "host", address, &host));
}

#[test]
fn addresses_of_this_machine_and_names_that_are_addresses_are_not_looked_up() {
    let (files, [host, other, _]) = (Files::new(), keys());
    let text = format!("host,192.0.2.7 {}\n127.0.0.1,::1 {}\n", host.to_line(), other.to_line());
    for (destination, address) in [
        ("host", "127.0.0.1"),
        ("host", "::1"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "::ffff:192.0.2.7"),
    ] {
        let hosts = files.file("hosts", &text);
        let told = client().known_hosts_file(hosts).check_host_ip(HostAddressCheck::Reject);
        check(told, destination, Some(address), &host).unwrap();
        assert_eq!(files.text("hosts"), text, "{destination} at {address}");
    }
    // Ports belong to addresses too, and an IPv4 address in IPv6's clothes is one.
    let hosts = files.file("hosts", &format!("[host]:2222 {}\n", host.to_line()));
    let told = client().known_hosts_file(hosts).check_host_ip(HostAddressCheck::Reject);
    check(told, "host:2222", Some("::ffff:192.0.2.7"), &host).unwrap();
    assert!(files.text("hosts").contains("\n[192.0.2.7]:2222 "), "{}", files.text("hosts"));
}

#[test]
fn revoked_keys_are_refused_whatever_known_hosts_says() {
    let (files, [host, other, _]) = (Files::new(), keys());
    let hosts = files.file("hosts", &format!("* {}\n* {}\n", host.to_line(), other.to_line()));
    let told = |list: PathBuf| client().known_hosts_file(&hosts).revoked_host_keys(list);
    let mut list = RevokedKeys::new();
    list.revoke_key(&host);
    list.write_file(files.path("krl")).unwrap();
    let text = files.file("text", &format!("# stolen\n{}\n", host.to_line()));
    for list in [files.path("krl"), text] {
        assert!(refusal(check(told(list.clone()), "host", None, &host)).contains("revoked"));
        check(told(list), "host", None, &other).unwrap();
    }
    // Half a list would let keys through.
    let bytes = fs::read(files.path("krl")).unwrap();
    fs::write(files.path("half"), &bytes[..bytes.len() / 2]).unwrap();
    for list in [files.path("none"), files.path("half"), files.0.path().to_owned()] {
        assert!(refusal(check(told(list), "host", None, &other)).contains("cannot be used"));
    }
    let both = told(files.path("krl")).revoked_host_keys(files.path("none"));
    refusal(check(both, "host", None, &other));
    let accepting = client().missing_host_key(AutoAddPolicy).revoked_host_keys(files.path("krl"));
    refusal(check(accepting, "host", None, &host));

    // The authority of a certificate counts too.
    let (certified, authority) =
        (PKey::generate(KeyKind::Ed25519).unwrap(), PKey::generate(KeyKind::Ed25519).unwrap());
    let certificate = CertificateBuilder::host(certified.public_key())
        .principal("host")
        .valid_after(SystemTime::UNIX_EPOCH)
        .sign(&authority)
        .unwrap();
    let line = format!("@cert-authority * {}\n", authority.public_key().to_line());
    let hosts = files.file("authority", &line);
    check(client().known_hosts_file(&hosts), "host", None, &certificate).unwrap();
    let revoked = files.file("authorities", &(authority.public_key().to_line() + "\n"));
    refusal(check(client().known_hosts_file(&hosts).revoked_host_keys(revoked), "host", None, &certificate));
}

#[test]
fn a_certificate_counts_if_its_authority_signed_as_it_may() {
    let files = Files::new();
    let authority = PKey::generate(KeyKind::EcdsaP256).unwrap();
    let plain = key(KeyKind::Ed25519);
    let certificate = CertificateBuilder::host(&plain).principal("host").sign(&authority).unwrap();
    let line = format!("@cert-authority * {}\n", authority.public_key().to_line());
    let told = |lines: &str, list: &str| {
        let mut algorithms = Algorithms::client_defaults();
        algorithms.set_ca_signatures(list).unwrap();
        check(
            client().known_hosts_file(files.file("hosts", lines)).algorithms(algorithms),
            "host",
            None,
            &certificate,
        )
    };
    told(&line, "ssh-ed25519,ecdsa-sha2-nistp256").unwrap();
    assert!(refusal(told(&line, "-ecdsa-*")).contains("nothing is known"));
    // The key itself may be known, unless the authority is not to be trusted at all.
    let known = format!("host {}\n", plain.to_line());
    told(&known, "-ecdsa-*").unwrap();
    let revoked = format!("{known}@revoked * {}\n", authority.public_key().to_line());
    assert!(refusal(told(&revoked, "-ecdsa-*")).contains("revoked"));
}

#[test]
fn lines_come_from_a_callback_too() {
    let [host, other, _] = keys();
    let (sender, receiver) = channel();
    let line = host.to_line();
    let told = client().check_host_ip(HostAddressCheck::Warn).known_hosts_callback(move |query| {
        sender.send(query.clone()).unwrap();
        Ok(format!("{} {line}\n", query.name).into_bytes())
    });
    let mut checker = checker(told, "Host:2222", Some("192.0.2.7")).unwrap();
    let mut algorithms = Algorithms::client_defaults();
    algorithms.set_host_keys("rsa-sha2-512,ssh-ed25519").unwrap();
    checker.prefer_known(&mut algorithms);
    assert_eq!(algorithms.host_keys(), ["ssh-ed25519", "rsa-sha2-512"]);
    checker.check(&host).unwrap();
    assert!(!checker.may_update, "no file of the user's has it");
    let asked: Vec<_> = receiver.try_iter().map(|query| (query.reason, query.name, query.key)).collect();
    assert_eq!(
        asked,
        [
            (KnownHostsReason::Order, "[host]:2222".to_owned(), None),
            (KnownHostsReason::HostName, "[host]:2222".to_owned(), Some(host.clone())),
            (KnownHostsReason::Address, "[192.0.2.7]:2222".to_owned(), Some(host.clone())),
        ]
    );
    let line = host.to_line();
    let told = || {
        let line = line.clone();
        client().known_hosts_callback(move |_| Ok(format!("host {line}\n").into_bytes()))
    };
    check(told(), "host", None, &host).unwrap();
    let HostKeyStatus::Changed { expected, .. } =
        checker_of(told(), &other).keys.lock().check("host", 22, &other)
    else {
        panic!()
    };
    assert_eq!(expected, std::slice::from_ref(&host), "the same lines count once");

    let line = host.to_line();
    let revoking = client()
        .missing_host_key(AutoAddPolicy)
        .known_hosts_callback(move |_| Ok(format!("@revoked * {line}\n").into_bytes()));
    refusal(check(revoking, "host", None, &host));
    let failing = client().missing_host_key(AutoAddPolicy).known_hosts_callback(|_| Err(Error::Cancelled));
    assert!(matches!(check(failing, "host", None, &host), Err(Error::Cancelled)));
}

/// A checker that has refused `key`.
fn checker_of(builder: SSHClientBuilder, key: &PublicKey) -> Checker {
    let mut checker = checker(builder, "host", None).unwrap();
    assert!(checker.check(key).is_err());
    checker
}

fn sshfp(key: &PublicKey, algorithm: u8, hash: u8) -> SshfpRecord {
    let function = if hash == 1 { HashAlg::Sha1 } else { HashAlg::Sha256 };
    SshfpRecord { algorithm, hash, digest: function.digest(&[key.blob()]).unwrap().to_vec() }
}

#[test]
fn the_dns_speaks_for_unknown_hosts_when_it_is_secured() {
    let (files, [host, other, third]) = (Files::new(), keys());
    let right = || sshfp(&host, 4, 2);
    // Records; what a secured answer leads to.
    let table = [
        (vec![right()], Some(true)),
        (vec![sshfp(&host, 4, 1)], Some(true)),
        (vec![sshfp(&third, 4, 2), right()], Some(true)),
        (vec![sshfp(&third, 4, 2)], Some(false)),
        // SHA-256 is believed, and SHA-1 not heard beside it.
        (vec![sshfp(&third, 4, 2), sshfp(&host, 4, 1)], Some(false)),
        (vec![sshfp(&third, 4, 1), right()], Some(true)),
        // Of other kinds of keys, or by unknown functions.
        (vec![sshfp(&other, 3, 2)], None),
        (vec![SshfpRecord { hash: 7, ..right() }], None),
        (vec![SshfpRecord { algorithm: 9, ..right() }], None),
        (vec![SshfpRecord { digest: Vec::new(), ..right() }], Some(false)),
        (Vec::new(), None),
    ];
    for (records, secured) in table {
        for secure in [true, false] {
            let answer = SshfpRecords { secure, records: records.clone() };
            let shown = format!("{answer:?}");
            let told = || {
                let answer = answer.clone();
                client().known_hosts_file(files.path("hosts")).sshfp_callback(move |_| Ok(answer.clone()))
            };
            let trusted = check(told(), "host", None, &host).is_ok();
            assert_eq!(trusted, secure && secured == Some(true), "{shown}");
            // Whom a policy lets in, secured fingerprints of other keys keep out.
            let accepted = check(told().missing_host_key(AutoAddPolicy), "host", None, &host).is_ok();
            assert_eq!(accepted, !(secure && secured == Some(false)), "{shown}");
        }
    }
    assert!(!files.path("hosts").exists(), "it is asked again next time");
}

#[test]
fn the_dns_is_asked_for_unknown_hosts_only_and_by_their_name() {
    let (files, [host, other, _]) = (Files::new(), keys());
    let (sender, receiver) = channel();
    let record = sshfp(&host, 4, 2);
    let told = |text: &str| {
        let (sender, record) = (sender.clone(), record.clone());
        client().known_hosts_file(files.file("hosts", text)).sshfp_callback(move |name| {
            sender.send(name.to_owned()).unwrap();
            Ok(SshfpRecords { secure: true, records: vec![record.clone()] })
        })
    };
    // What known_hosts says is not overruled.
    assert!(
        refusal(check(told(&format!("host {}\n", other.to_line())), "host", None, &host)).contains("CHANGED")
    );
    assert!(
        refusal(check(told(&format!("@revoked * {}\n", host.to_line())), "host", None, &host))
            .contains("revoked")
    );
    check(told(&format!("host {}\n", host.to_line())), "host", None, &host).unwrap();
    assert_eq!(receiver.try_iter().count(), 0);
    check(told("").host_key_alias("alias"), "host.example.org:2222", None, &host).unwrap();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), ["host.example.org"]);
    let failing = client().missing_host_key(AutoAddPolicy).sshfp_callback(|_| Err(Error::Cancelled));
    assert!(matches!(check(failing, "host", None, &host), Err(Error::Cancelled)));
}

#[test]
fn only_a_plain_key_of_a_users_file_under_its_own_name_may_be_updated() {
    let (files, [host, ..]) = (Files::new(), keys());
    let line = host.to_line();
    let file = |text: String| files.file("hosts", &text);
    let may = |builder: SSHClientBuilder, destination: &str| {
        let mut checker = checker(builder, destination, None).unwrap();
        checker.check(&host).unwrap();
        checker.may_update
    };
    let by_name = || file(format!("host {line}\n"));
    assert!(may(client().known_hosts_file(by_name()), "host"));
    assert!(may(client().host_keys(HostKeys::load(by_name()).unwrap()), "host"));
    assert!(may(client().known_hosts_files([files.path("none"), by_name()]), "host"));
    assert!(!may(client().known_hosts_file(by_name()), "host:2222"), "known without its port");
    assert!(!may(client().global_known_hosts_files([by_name()]), "host"));
    assert!(!may(client().host_keys(HostKeys::parse(format!("host {line}\n"))), "host"));
    let new = client().known_hosts_file(files.path("new")).missing_host_key(AcceptNewPolicy);
    assert!(!may(new, "host"), "nobody has looked at it");
}
