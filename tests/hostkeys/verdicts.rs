//! Whom we trust is whom ssh trusts: both connect to the same sshd by the same known_hosts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use feramiko::{
    AcceptNewPolicy, Algorithms, CertificateBuilder, Error, HostKeys, KeyKind, PKey, RejectPolicy, SSHClient,
};

use crate::peers::{Folder, Keys, Server, output, program, require, sshd};

const ALIAS: &str = "ci.build.example.org";
const PLAIN: &str = "ssh-ed25519";

/// The host's keys and what signed its certificates; one sshd for all tests of this file.
struct Site {
    server: Server,
    /// Of the host, by type: each has another certificate.
    keys: Vec<PKey>,
    authority: PKey,
    stranger: PKey,
    _folder: Folder,
}

/// The certificates: the kind of key tells which one a client asks for.
const CERTIFICATES: [(KeyKind, &str); 4] = [
    (KeyKind::Ed25519, "good"),
    (KeyKind::EcdsaP256, "expired"),
    (KeyKind::EcdsaP384, "for another name"),
    (KeyKind::EcdsaP521, "a user's"),
];

fn site() -> Option<&'static Site> {
    static SITE: OnceLock<Option<Site>> = OnceLock::new();
    SITE.get_or_init(|| {
        let host = Keys::named("hostkeys")?;
        let folder = Folder::new();
        let authority = PKey::generate(KeyKind::Ed25519).unwrap();
        let hour = Duration::from_secs(3600);
        let mut config = String::new();
        let mut keys = Vec::new();
        for (kind, what) in CERTIFICATES {
            let key = PKey::generate(kind).unwrap();
            let builder = match what {
                "a user's" => CertificateBuilder::user(key.public_key()),
                _ => CertificateBuilder::host(key.public_key()),
            };
            let builder = match what {
                "for another name" => builder.principal("other.example.org"),
                _ => builder.principal(ALIAS).principal("127.0.0.1"),
            };
            let builder = match what {
                "expired" => builder.valid_before(SystemTime::now() - hour),
                _ => builder.valid_before(SystemTime::now() + hour),
            };
            let certificate = builder.sign(&authority).unwrap();
            let path = folder.file(key.public_key().key_type());
            key.write_private_key_file(&path, None).unwrap();
            let beside = path.with_extension("pub");
            fs::write(&beside, certificate.to_line() + "\n").unwrap();
            config += &format!("HostKey {}\nHostCertificate {}\n", path.display(), beside.display());
            keys.push(key);
        }
        let server = sshd(&host, &host, &config)?;
        let stranger = PKey::generate(KeyKind::Ed25519).unwrap();
        Some(Site { server, keys, authority, stranger, _folder: folder })
    })
    .as_ref()
}

/// One question to both clients.
struct Case {
    lines: String,
    /// The host's name, or none for its address and port.
    alias: Option<&'static str>,
    algorithms: String,
    trusted: bool,
}

fn case(site: &Site, alias: Option<&'static str>, algorithms: &str, text: &str, trusted: bool) -> Case {
    let line = |key: &PKey| key.public_key().to_line();
    let mut lines = text
        .replace("PORT", &site.server.port().to_string())
        .replace("KEY", &line(&site.keys[0]))
        .replace("STRANGER", &line(&site.stranger))
        .replace("AUTHORITY", &line(&site.authority));
    for name in [ALIAS.to_owned(), "127.0.0.1".to_owned(), format!("[127.0.0.1]:{}", site.server.port())] {
        lines = lines.replace(&format!("HASHED({name})"), &HostKeys::hash_host(&name, None).unwrap());
    }
    Case { lines, alias, algorithms: algorithms.to_owned(), trusted }
}

fn ssh_trusts(ssh: &Path, site: &Site, case: &Case, file: &Path, strict: &str) -> bool {
    let mut command = Command::new(ssh);
    command.args(["-F", "none", "-T", "-o", "BatchMode=yes", "-o", "PreferredAuthentications=none"]);
    command.args(["-o", "GlobalKnownHostsFile=/dev/null", "-o", "CheckHostIP=no"]);
    command.arg("-o").arg(format!("StrictHostKeyChecking={strict}"));
    command.arg("-o").arg(format!("UserKnownHostsFile={}", file.display()));
    command.arg("-o").arg(format!("HostKeyAlgorithms={}", case.algorithms));
    if let Some(alias) = case.alias {
        command.arg("-o").arg(format!("HostKeyAlias={alias}"));
    }
    command.args(["-p", &site.server.port().to_string(), "nobody@127.0.0.1", "true"]);
    let output = output(&mut command, "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match (said.contains("Permission denied"), said.contains("Host key verification failed")) {
        (true, false) => true,
        (false, true) => false,
        _ => panic!("ssh says, of\n{}\n{said}", case.lines),
    }
}

fn we_trust(site: &Site, case: &Case, file: &Path, accept_new: bool) -> bool {
    let mut algorithms = Algorithms::client_defaults();
    algorithms.set_host_keys(&case.algorithms).unwrap();
    let builder = SSHClient::builder()
        .no_ssh_config()
        .no_agent()
        .no_default_keys()
        .algorithms(algorithms)
        .global_known_hosts_files::<&str>([])
        .known_hosts_file(file);
    let builder = case.alias.into_iter().fold(builder, |builder, alias| builder.host_key_alias(alias));
    let builder = match accept_new {
        true => builder.missing_host_key(AcceptNewPolicy),
        false => builder.missing_host_key(RejectPolicy),
    };
    match builder.connect(&format!("nobody@127.0.0.1:{}", site.server.port())) {
        Err(Error::Auth { .. }) => true,
        Err(Error::HostKey { .. }) => false,
        other => panic!("of\n{}\n{other:?}", case.lines),
    }
}

fn hold(cases: impl Fn(&Site) -> Vec<Case>) {
    let Some(ssh) = require("ssh", program("ssh")) else { return };
    let Some(site) = site() else { return };
    let folder = Folder::new();
    let cases = cases(site);
    // Both mostly wait for each other.
    std::thread::scope(|scope| {
        for (number, case) in cases.iter().enumerate() {
            let (ssh, file) = (&ssh, folder.file(&number.to_string()));
            scope.spawn(move || {
                fs::write(&file, &case.lines).unwrap();
                let theirs = ssh_trusts(ssh, site, case, &file, "yes");
                let ours = we_trust(site, case, &file, false);
                assert_eq!((theirs, ours), (case.trusted, case.trusted), "ssh and we, of\n{}", case.lines);
                assert_eq!(fs::read_to_string(&file).unwrap(), case.lines);
            });
        }
    });
}

#[test]
fn names_patterns_and_hashes() {
    let _watch = crate::given::within(300);
    hold(|site| {
        let table = [
            ("ci.build.example.org KEY\n", true),
            ("ci.build.example.org STRANGER\n", false),
            ("ci.build.example.org STRANGER\nci.build.example.org KEY comment\n", true),
            ("CI.Build.Example.ORG KEY\n", true),
            ("other,ci.build.example.org KEY\n", true),
            ("*.build.example.org KEY\n", true),
            ("*.build.example.org,!ci.build.example.org KEY\n", false),
            ("!ci.build.example.org,* KEY\n", false),
            ("?i.build.example.org KEY\n", true),
            ("HASHED(ci.build.example.org) KEY\n", true),
            ("HASHED(127.0.0.1) KEY\n", false),
            ("[ci.build.example.org]:PORT KEY\n", false),
        ];
        table.iter().map(|(text, trusted)| case(site, Some(ALIAS), PLAIN, text, *trusted)).collect()
    });
}

#[test]
fn markers_and_odd_lines() {
    let _watch = crate::given::within(300);
    hold(|site| {
        let table = [
            ("@revoked * KEY\nci.build.example.org KEY\n", false),
            ("ci.build.example.org KEY\n@revoked ci.build.example.org KEY\n", false),
            ("ci.build.example.org KEY\n@revoked other KEY\n", true),
            ("@cert-authority * KEY\n", false),
            ("@unknown ci.build.example.org KEY\n", false),
            ("#ci.build.example.org KEY\n", false),
            ("\tci.build.example.org\tKEY\n", true),
            ("ci.build.example.org KEY\r\n", true),
            ("rubbish\n\n   \nci.build.example.org ssh-ed25519 AAAA\nci.build.example.org KEY", true),
            ("", false),
        ];
        table.iter().map(|(text, trusted)| case(site, Some(ALIAS), PLAIN, text, *trusted)).collect()
    });
}

#[test]
fn ports() {
    let _watch = crate::given::within(300);
    hold(|site| {
        let table = [
            ("[127.0.0.1]:PORT KEY\n", true),
            ("[127.0.0.1]:PORT STRANGER\n", false),
            ("[127.0.0.1]:* KEY\n", true),
            // What is said of a host holds for its other ports, unless something is said of these.
            ("127.0.0.1 KEY\n", true),
            ("127.0.0.1 STRANGER\n", false),
            ("[127.0.0.1]:PORT STRANGER\n127.0.0.1 KEY\n", false),
            ("HASHED([127.0.0.1]:PORT) KEY\n", true),
            ("HASHED(127.0.0.1) KEY\n", true),
            ("@revoked 127.0.0.1 KEY\n[127.0.0.1]:PORT KEY\n", true),
            ("@revoked 127.0.0.1 KEY\n127.0.0.1 KEY\n", false),
        ];
        table.iter().map(|(text, trusted)| case(site, None, PLAIN, text, *trusted)).collect()
    });
}

#[test]
fn certificates() {
    let _watch = crate::given::within(300);
    hold(|site| {
        let good = "ssh-ed25519-cert-v01@openssh.com";
        let table = [
            (good, Some(ALIAS), "@cert-authority *.build.example.org AUTHORITY\n", true),
            (good, Some(ALIAS), "@cert-authority HASHED(ci.build.example.org) AUTHORITY\n", true),
            (good, Some(ALIAS), "@cert-authority *.build.example.org,!ci.* AUTHORITY\n", false),
            (good, Some(ALIAS), "@cert-authority * STRANGER\n", false),
            (good, Some(ALIAS), "@cert-authority * STRANGER\nci.build.example.org KEY\n", true),
            (good, Some(ALIAS), "@cert-authority * AUTHORITY\n@revoked * AUTHORITY\n", false),
            (good, Some(ALIAS), "ci.build.example.org KEY\n@revoked * AUTHORITY\n", false),
            (good, Some(ALIAS), "@cert-authority * AUTHORITY\n@revoked * KEY\n", false),
            (good, Some(ALIAS), "@cert-authority * AUTHORITY\nci.build.example.org STRANGER\n", true),
            (good, Some(ALIAS), "ci.build.example.org AUTHORITY\n", false),
            (good, Some("elsewhere.example.org"), "@cert-authority * AUTHORITY\n", false),
            (good, None, "@cert-authority 127.0.0.1 AUTHORITY\n", true),
            (good, None, "@cert-authority [127.0.0.1]:PORT AUTHORITY\n", true),
        ];
        table
            .iter()
            .map(|(algorithm, alias, text, trusted)| case(site, *alias, algorithm, text, *trusted))
            .collect()
    });
}

#[test]
fn bad_certificates_and_the_plain_key_behind_them() {
    let _watch = crate::given::within(300);
    hold(|site| {
        let mut cases = Vec::new();
        for key in &site.keys[1..] {
            let algorithm = format!("{}-cert-v01@openssh.com", key.public_key().key_type());
            let authority = "@cert-authority * AUTHORITY\n";
            cases.push(case(site, Some(ALIAS), &algorithm, authority, false));
            let with_plain = format!("{authority}{ALIAS} {}\n", key.public_key().to_line());
            cases.push(case(site, Some(ALIAS), &algorithm, &with_plain, true));
        }
        cases
    });
}

/// Whether ssh takes the names of a host's certificate for patterns: since 10.3.
fn ssh_knows_patterns(ssh: &Path) -> bool {
    let said = output(Command::new(ssh).arg("-V"), "").stderr;
    let said = String::from_utf8_lossy(&said).into_owned();
    let version = said.strip_prefix("OpenSSH_").and_then(|rest| rest.split(['p', ',', ' ']).next());
    let (major, minor) = version.and_then(|version| version.split_once('.')).unwrap();
    (major.parse::<u32>().unwrap(), minor.parse::<u32>().unwrap()) >= (10, 3)
}

#[test]
fn patterns_in_a_certificate() {
    let _watch = crate::given::within(300);
    let (Some(ssh), Some(keygen)) =
        (require("ssh", program("ssh")), require("ssh-keygen", program("ssh-keygen")))
    else {
        return;
    };
    let Some(host) = Keys::named("hostkeys") else { return };
    let folder = Folder::new();
    let (authority, key, stranger) = (
        PKey::generate(KeyKind::Ed25519),
        PKey::generate(KeyKind::Ed25519),
        PKey::generate(KeyKind::Ed25519),
    );
    let (authority, key, stranger) = (authority.unwrap(), key.unwrap(), stranger.unwrap());
    authority.write_private_key_file(folder.file("ca"), None).unwrap();
    key.write_private_key_file(folder.file("key"), None).unwrap();
    fs::write(folder.file("key.pub"), key.public_key().to_line() + "\n").unwrap();
    let mut sign = Command::new(keygen);
    sign.args([
        "-q",
        "-s",
        "ca",
        "-I",
        "host",
        "-h",
        "-n",
        "*.build.example.org,web?.example.org",
        "key.pub",
    ]);
    assert!(output(sign.current_dir(folder.path()), "").status.success());
    let file = |name: &str| folder.file(name).display().to_string();
    let config = format!("HostKey {}\nHostCertificate {}\n", file("key"), file("key-cert.pub"));
    let Some(server) = sshd(&host, &host, &config) else { return };
    let site = Site { server, keys: vec![key], authority, stranger, _folder: folder };
    let (folder, known) = (Folder::new(), ssh_knows_patterns(&ssh));
    for (alias, fits) in [
        (ALIAS, true),
        ("web7.example.org", true),
        ("web.example.org", false),
        ("build.example.org", false),
        ("ci.build.example.org.example.net", false),
    ] {
        let text = "@cert-authority * AUTHORITY\n";
        let case = case(&site, Some(alias), "ssh-ed25519-cert-v01@openssh.com", text, fits);
        let lines = folder.file("known_hosts");
        fs::write(&lines, &case.lines).unwrap();
        assert_eq!(we_trust(&site, &case, &lines, false), fits, "{alias}");
        assert_eq!(ssh_trusts(&ssh, &site, &case, &lines, "yes"), fits && known, "{alias}");
    }
}

#[test]
fn a_new_host_is_noted_as_ssh_notes_it() {
    let _watch = crate::given::within(300);
    let Some(ssh) = require("ssh", program("ssh")) else { return };
    let Some(site) = site() else { return };
    let folder = Folder::new();
    let (theirs, ours) = (folder.file("theirs"), folder.file("ours"));
    for (text, alias) in [
        ("", Some(ALIAS)),
        ("# a comment\nother STRANGER\n", None),
        ("@cert-authority elsewhere AUTHORITY\n", Some(ALIAS)),
        ("ci.build.example.org STRANGER\n", Some(ALIAS)),
    ] {
        let case = case(site, alias, PLAIN, text, !text.starts_with("ci."));
        fs::write(&theirs, &case.lines).unwrap();
        fs::write(&ours, &case.lines).unwrap();
        assert_eq!(ssh_trusts(&ssh, site, &case, &theirs, "accept-new"), case.trusted, "{}", case.lines);
        assert_eq!(we_trust(site, &case, &ours, true), case.trusted, "{}", case.lines);
        let (theirs, ours) = (fs::read_to_string(&theirs).unwrap(), fs::read_to_string(&ours).unwrap());
        assert_eq!(ours, theirs);
    }
}
