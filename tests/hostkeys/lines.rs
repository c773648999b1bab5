//! Which lines a host is found in: ours held against `ssh-keygen -F`; and that saving changes none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use feramiko::{HostKeys, KeyKind, PKey};

use crate::peers::{Folder, output, program, require};

/// Names as they stand in the first word of a line; `#name` is to be hashed.
const NAMES: &[&str] = &[
    "example.org",
    "Example.ORG",
    "www.example.org,ftp.example.org",
    "*.example.org",
    "*.example.org,!www.example.org",
    "!www.example.org,*.example.org",
    "!www.example.org",
    "!*",
    "!example.com,example.com",
    "example.com,!*.com",
    "www.*",
    "*.*.example.org",
    "?ww.example.org",
    "???.example.org",
    "????.example.org",
    "w*w.ex*.org",
    "*e*x*a*m*p*l*e*",
    "*.org,*.com",
    "[example.org]:2222",
    "[Example.org]:2222",
    "[example.org]:*",
    "[example.org]:22?2",
    "[*.example.org]:2222",
    "[*]:2222",
    "[*]:*,!*:2223",
    "[www.example.org]:22",
    "example.org:2222",
    "[example.org]",
    "example.org.",
    "192.0.2.1",
    "192.0.2.?",
    "192.0.2.*,!192.0.2.7",
    "192.0.2.0/24",
    "192.0.*.1",
    "[192.0.2.1]:2222",
    "2001:db8::7",
    "2001:DB8::7",
    "[2001:db8::7]:2222",
    "2001:db8:*",
    "2001:0db8::7",
    "*:*",
    "fe80::1%eth0",
    "::1",
    "*",
    "?*",
    "**",
    "localhost,127.0.0.1,::1",
    "**host",
    "*host*,!my*",
    "myhost,192.0.2.9",
    "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,myhost",
    "host_with-odd.chars~",
    "m\u{fc}nchen.example.org",
    "nobody",
    "#example.org",
    "#[example.org]:2222",
    "#www.example.org",
    "#192.0.2.1",
    "#2001:db8::7",
    "#[2001:db8::7]:2222",
    "#*.example.org",
    "#EXAMPLE.org",
    "#nobody",
    "|1|c2hvcnQ=|c2hvcnQ=",
    "|2|MDEyMzQ1Njc4OTAxMjM0NTY3ODk=|MDEyMzQ1Njc4OTAxMjM0NTY3ODk=",
];

const HOSTS: &[(&str, u16)] = &[
    ("example.org", 22),
    ("www.example.org", 22),
    ("ftp.example.org", 22),
    ("mail.example.org", 22),
    ("a.b.example.org", 22),
    ("example.com", 22),
    ("example.org", 2222),
    ("example.org", 2223),
    ("www.example.org", 2222),
    ("192.0.2.1", 22),
    ("192.0.2.7", 22),
    ("192.0.2.77", 22),
    ("192.0.2.1", 2222),
    ("2001:db8::7", 22),
    ("2001:db8::7", 2222),
    ("fe80::1%eth0", 22),
    ("localhost", 22),
    ("::1", 22),
    ("myhost", 22),
    ("nowhere.example.com", 22),
];

/// A file of every form of line, and the blanks, markers and bad lines between them.
fn table() -> String {
    let keys = [KeyKind::Ed25519, KeyKind::EcdsaP256].map(|kind| PKey::generate(kind).unwrap());
    let keys = keys.each_ref().map(|key| key.public_key().to_line());
    let mut text = "# a comment\n\n".to_owned();
    for (name, key) in NAMES.iter().zip(keys.iter().cycle()) {
        let name = match name.strip_prefix('#') {
            // hash_host writes names in lower case, as ssh does; ssh-keygen compares as it stands.
            Some(name) => HostKeys::hash_host(name, None).unwrap(),
            None => (*name).to_owned(),
        };
        text += &format!("{name} {key} comment\n");
    }
    for line in [
        format!("\texample.org\t{}", keys[0].replace(' ', "\t")),
        format!("   example.org   {}   ", keys[1]),
        format!("@revoked example.org {}", keys[0]),
        format!("@cert-authority *.example.org {} an authority", keys[1]),
        format!("@cert-authority {} {}", HostKeys::hash_host("example.org", None).unwrap(), keys[1]),
        format!("@revoked @revoked example.org {}", keys[0]),
        format!("@unknown example.org {}", keys[0]),
        format!("#example.org {}", keys[0]),
        "example.org".to_owned(),
        "   ".to_owned(),
        format!("example.org {}\r", keys[0]),
        format!("example.org {} a comment of DOS\r", keys[1]),
    ] {
        text += &line;
        text.push('\n');
    }
    text
}

/// The numbers of the lines in which `ssh-keygen -F` finds the host.
fn found_by_keygen(keygen: &Path, path: &Path, host: &str, port: u16) -> BTreeSet<usize> {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    let output = output(Command::new(keygen).arg("-F").arg(name).arg("-f").arg(path), "");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let comments = text.lines().filter(|line| line.starts_with("# Host "));
    let number = |line: &str| Some(line.split_once(" found: line ")?.1.split(' ').next()?.parse().unwrap());
    comments.filter_map(number).collect()
}

#[test]
fn the_lines_that_ssh_keygen_finds_are_those_that_we_find() {
    let Some(keygen) = require("ssh-keygen", program("ssh-keygen")) else { return };
    let folder = Folder::new();
    let path = folder.file("known_hosts");
    fs::write(&path, table()).unwrap();
    let keys = HostKeys::load(&path).unwrap();
    let mut total = 0;
    for (host, port) in HOSTS {
        let expected = found_by_keygen(&keygen, &path, host, *port);
        total += expected.len();
        let ours = keys.entries_for(host, *port);
        let ours: BTreeSet<_> = ours.iter().filter_map(|entry| entry.place().line()).collect();
        assert_eq!(ours, expected, "{host} port {port}");
    }
    assert!(total > 150, "{total} lines were found");
}

#[test]
fn saving_again_changes_no_byte() {
    let folder = Folder::new();
    let (path, copy) = (folder.file("known_hosts"), folder.file("copy"));
    let text = table();
    assert!(text.lines().count() > 75);
    fs::write(&path, &text).unwrap();
    let mut keys = HostKeys::load(&path).unwrap();
    keys.save(&copy).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), text);
    let new = PKey::generate(KeyKind::Ed25519).unwrap();
    keys.add("new.example.org", 2222, new.public_key()).unwrap();
    keys.save(&path).unwrap();
    let added = format!("{text}[new.example.org]:2222 {}\n", new.public_key().to_line());
    assert_eq!(fs::read_to_string(&path).unwrap(), added);
    // Taking the only new one away leaves what was there.
    assert_eq!(keys.remove("new.example.org", 2222), 1);
    assert_eq!(keys.to_text(), text.as_bytes());
}

#[test]
fn ten_thousand_lines_are_read_and_asked_soon() {
    let key = PKey::generate(KeyKind::EcdsaP256).unwrap();
    let line = key.public_key().to_line();
    let mut text = String::new();
    for number in 0..10_000 {
        let name = format!("host-{number}.example.org");
        let name = if number % 3 == 0 { HostKeys::hash_host(&name, None).unwrap() } else { name };
        text += &format!("{name} {line}\n");
    }
    let folder = Folder::new();
    let path = folder.file("known_hosts");
    fs::write(&path, &text).unwrap();
    // Unoptimised and beside other tests: a release build takes a twentieth.
    let started = std::time::Instant::now();
    let keys = HostKeys::load(&path).unwrap();
    let loaded = started.elapsed();
    for number in [0, 1, 9_999] {
        assert_eq!(keys.lookup(&format!("host-{number}.example.org"), 22), [key.public_key()]);
    }
    assert!(!keys.contains("host-10000.example.org", 22));
    let asked = started.elapsed() - loaded;
    eprintln!("10,000 lines: read in {loaded:?}, asked four times in {asked:?}");
    assert!(loaded.as_secs() < 3 && asked.as_secs() < 3, "read in {loaded:?}, asked in {asked:?}");
}
