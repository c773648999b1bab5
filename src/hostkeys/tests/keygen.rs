//! Agreement with ssh-keygen: the lines that `-F` finds are those that we find, before and after `-H`
//! has hashed the file. Without ssh-keygen the tests say so and end.

use std::collections::BTreeSet;
use std::fs;
use std::process::Output;

use super::super::*;
use super::{E1, E2, E3, P256, RSA, key};
use crate::key::SshfpRecord;
use crate::programs::{command, output};
use crate::sys::file::tests::Directory;

/// A file with every form of line on which both sides should agree. Two are missing: ssh-keygen also
/// lists lines with a bad key, and does not know a marker that a tab ends.
fn table() -> String {
    let hashed = |name| HostKeys::hash_host(name, None).unwrap();
    let names = [
        "example.org".to_owned(),
        "Example.ORG".to_owned(),
        "www.example.org,ftp.example.org".to_owned(),
        "*.example.org".to_owned(),
        "*.example.org,!www.example.org".to_owned(),
        "!www.example.org,*.example.org".to_owned(),
        "!www.example.org".to_owned(),
        "www.*".to_owned(),
        "?ww.example.org".to_owned(),
        "w*w.ex*.org".to_owned(),
        "[example.org]:2222".to_owned(),
        "[example.org]:*".to_owned(),
        "[*.example.org]:2222".to_owned(),
        "[www.example.org]:22".to_owned(),
        "192.0.2.1".to_owned(),
        "192.0.2.?".to_owned(),
        "192.0.2.*,!192.0.2.7".to_owned(),
        "2001:db8::7".to_owned(),
        "[2001:db8::7]:2222".to_owned(),
        "2001:db8:*".to_owned(),
        "*".to_owned(),
        "localhost,127.0.0.1,::1".to_owned(),
        ",localhost,,".to_owned(),
        "**host".to_owned(),
        hashed("example.org"),
        hashed("[example.org]:2222"),
        hashed("192.0.2.1"),
        format!("|1|AAAA|{}", &hashed("example.org")[32..]),
        "nobody".to_owned(),
    ];
    let lines: Vec<_> = names.iter().zip([E1, E2, E3, P256, RSA].iter().cycle()).collect();
    let mut text = "# a comment\n\n".to_owned();
    for (name, key) in &lines {
        text += &format!("{name} {key} comment\n");
    }
    for line in [
        format!("\texample.org\t{E1}"),
        format!("@revoked example.org {E2}"),
        format!("@cert-authority *.example.org\t{E3}"),
        format!("@revoked @revoked example.org {E1}"),
        format!("@unknown example.org {E1}"),
        format!("@ example.org {E1}"),
        format!("#example.org {E1}"),
        "example.org".to_owned(),
    ] {
        text += &line;
        text.push('\n');
    }
    text
}

const HOSTS: [(&str, u16); 16] = [
    ("example.org", 22),
    ("www.example.org", 22),
    ("ftp.example.org", 22),
    ("a.b.example.org", 22),
    ("example.org", 2222),
    ("example.org", 2223),
    ("www.example.org", 2222),
    ("192.0.2.1", 22),
    ("192.0.2.7", 22),
    ("192.0.2.77", 22),
    ("2001:db8::7", 22),
    ("2001:db8::7", 2222),
    ("localhost", 22),
    ("::1", 22),
    ("myhost", 22),
    ("nowhere.example.com", 22),
];

/// The numbers of the lines in which `ssh-keygen -F` finds the host.
fn found_by_keygen(path: &Path, host: &str, port: u16) -> BTreeSet<usize> {
    let output = keygen(&["-F", &file_name_of(host, port), "-f"], path);
    let text = String::from_utf8(output.stdout).unwrap();
    let comments = text.lines().filter(|line| line.starts_with("# Host "));
    comments
        .map(|line| {
            let (_, number) = line.split_once(" found: line ").unwrap();
            number.split(' ').next().unwrap().parse().unwrap()
        })
        .collect()
}

fn found_by_us(keys: &HostKeys, host: &str, port: u16) -> BTreeSet<usize> {
    let name = file_name_of(host, port);
    let found = keys.entries().filter(|entry| entry.matches(&name) && entry.key().is_some());
    found.map(|entry| entry.place.line.unwrap()).collect()
}

/// What `ssh-keygen` says of a file.
fn keygen(arguments: &[&str], path: &Path) -> Output {
    let mut command = command("ssh-keygen").expect("it was looked for");
    output(command.args(arguments).arg(path), "")
}

fn keygen_is_absent() -> bool {
    command("ssh-keygen").is_none()
}

#[test]
fn finds_what_ssh_keygen_finds() {
    if keygen_is_absent() {
        return;
    }
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    fs::write(&path, table()).unwrap();
    let keys = HostKeys::load(&path).unwrap();
    let mut total = 0;
    for (host, port) in HOSTS {
        let expected = found_by_keygen(&path, host, port);
        total += expected.len();
        assert_eq!(found_by_us(&keys, host, port), expected, "{host} port {port}");
    }
    assert!(total > 50, "{total} lines were found");
}

#[test]
fn finds_the_same_keys_when_ssh_keygen_has_hashed_the_file() {
    if keygen_is_absent() {
        return;
    }
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    // ssh-keygen refuses to hash a file with lines that it does not understand, and forgets the names
    // that follow an empty one.
    let text: String = table()
        .lines()
        .filter(|line| !line.starts_with(',') && (line.starts_with('#') || !HostKeys::parse(line).is_empty()))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&path, text).unwrap();
    let before = HostKeys::load(&path).unwrap();
    let output = keygen(&["-H", "-f"], &path);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let after = HostKeys::load(&path).unwrap();
    let hashed = |keys: &HostKeys| keys.iter().filter(|entry| entry.names().starts_with("|1|")).count();
    assert!(hashed(&after) > hashed(&before) + 5);
    let set = |keys: &HostKeys, host, port| -> BTreeSet<Vec<u8>> {
        keys.lookup(host, port).iter().map(|key| key.blob().to_vec()).collect()
    };
    for (host, port) in HOSTS {
        assert_eq!(set(&after, host, port), set(&before, host, port), "{host} port {port}");
    }
}

#[test]
fn ssh_keygen_finds_and_removes_what_we_wrote() {
    if keygen_is_absent() {
        return;
    }
    let directory = Directory::new();
    let path = directory.file("known_hosts");
    let hosts = [("Host.example.org", 22), ("host.example.org", 2222), ("2001:db8::7", 22), ("::1", 2200)];
    let mut saved = HostKeys::new();
    for (host, port) in hosts {
        HostKeys::append(&path, host, port, &key(E1)).unwrap();
        HostKeys::append_hashed(&path, host, port, &key(RSA)).unwrap();
        saved.add_hashed(host, port, &key(P256)).unwrap();
    }
    let saved_path = directory.file("saved");
    saved.save(&saved_path).unwrap();
    for (number, (host, port)) in hosts.into_iter().enumerate() {
        let line = 2 * number + 1;
        assert_eq!(found_by_keygen(&path, host, port), BTreeSet::from([line, line + 1]), "{host}:{port}");
        assert_eq!(found_by_keygen(&saved_path, host, port), BTreeSet::from([number + 1]), "{host}:{port}");
    }
    let (host, port) = hosts[1];
    assert!(keygen(&["-R", &file_name_of(host, port), "-f"], &path).status.success());
    assert!(!HostKeys::load(&path).unwrap().contains(host, port));
}

#[test]
fn fingerprints_for_the_dns_are_those_of_ssh_keygen() {
    if keygen_is_absent() {
        return;
    }
    let directory = Directory::new();
    let path = directory.file("key.pub");
    for line in [E1, P256, RSA] {
        fs::write(&path, format!("{line}\n")).unwrap();
        let output = keygen(&["-r", "host", "-f"], &path);
        let text = String::from_utf8(output.stdout).unwrap();
        let mut hashes = Vec::new();
        for record in text.lines() {
            let words: Vec<_> = record.split(' ').collect();
            let [.., "SSHFP", algorithm, hash, digest] = words[..] else { panic!("{record}") };
            let byte = |at: usize| u8::from_str_radix(&digest[at..at + 2], 16).unwrap();
            let record = SshfpRecord {
                algorithm: algorithm.parse().unwrap(),
                hash: hash.parse().unwrap(),
                digest: (0..digest.len()).step_by(2).map(byte).collect(),
            };
            hashes.push(record.hash);
            let records = SshfpRecords { secure: true, records: vec![record] };
            assert_eq!(records.judge(&key(line)), SshfpVerdict::Match, "{text}");
            assert_ne!(records.judge(&key(E2)), SshfpVerdict::Match, "{text}");
        }
        assert_eq!(hashes, [1, 2]);
    }
}
