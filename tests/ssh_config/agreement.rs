//! Every host with every file and every set of options, asked of both programs.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::given::within;
use crate::peers::{Folder, command, example};

/// Keywords of which a line is not compared, with the reason.
const EXCEPTED: &[(&str, &str)] = &[
    ("gssapikeyexchange", "Debian's own"),
    ("gssapitrustdns", "Debian's own"),
    ("gssapirenewalforcesrekey", "Debian's own"),
    ("gssapikexalgorithms", "Debian's own"),
    ("warnweakcrypto", "not in OpenSSH 9.2"),
    ("obscurekeystroketiming", "not in OpenSSH 9.2"),
    ("channeltimeout", "not in OpenSSH 9.2"),
    ("tag", "not in OpenSSH 9.2"),
    ("versionaddendum", "not in OpenSSH 9.2"),
    ("updatehostkeys", "off unless asked for; there it follows other keywords"),
];
/// Keywords of which the default is another one: a line is not compared while both show their own.
const DEFAULTS: &[(&str, &str)] = &[
    ("forwardx11trusted", "Debian's own default"),
    ("requiredrsasize", "2048"),
    ("ciphers", "our own list"),
    ("macs", "our own list"),
    ("kexalgorithms", "our own list"),
    ("hostkeyalgorithms", "our own list"),
    ("hostbasedacceptedalgorithms", "our own list"),
    ("pubkeyacceptedalgorithms", "our own list"),
    ("casignaturealgorithms", "our own list"),
    ("securitykeyprovider", "built in there, not built here"),
    ("identityfile", "DSA and XMSS are gone"),
    ("revokedhostkeys", "one file only in OpenSSH 9.2"),
    ("ipqos", "that of OpenSSH 10.1"),
];

const HOSTS: &[&str] = &[
    "alpha",
    "beta.example.org",
    "me@gamma",
    "UPPER.Example.ORG",
    "192.0.2.7",
    "2001:DB8::0007",
    "ssh://you@delta:2200",
];

const OPTIONS: &[&[&str]] = &[
    &[],
    &["-l", "root", "-p", "2022", "-C", "-4", "-A", "-t", "-t"],
    &["-oUser=opt", "-o", "Port 99", "-oHostName=%h.opt", "-D", "1080", "-L", "80:[::1]:90", "-R", "/r:x:1"],
    &[
        "-J",
        "a@b:3,c",
        "-oBatchMode=yes",
        "-oServerAliveInterval=2m",
        "-q",
        "-N",
        "-g",
        "-e",
        "^a",
        "-S",
        "none",
        "-b",
        "::1",
        "-B",
        "lo",
    ],
];

/// Files, each with a part of the language.
const FILES: &[&str] = &[
    "",
    "Host alpha beta.*\n Port 1\nHost * !alpha\n Port 2\n User u\nHost ?amma\n Compression yes\n",
    "Host=*.example.org\n\tUser = \"quoted user\"\n  Port=\"77\" # why\nHost *\n\n# comment\n\tUser second\n ExitOnForwardFailure true\n",
    "Match host alpha\n HostName real.%h.test\n HostKeyAlias ALIAS\nMatch host real.* user root\n Port 5\nMatch originalhost alpha\n ForwardAgent yes\n",
    "Match !host alpha\n Port 3\nMatch user me,you\n Port 4\nMatch localuser root\n User l\nMatch all\n LogLevel verbose\n",
    "Match final host *.test\n Compression yes\nHost *\n HostName %h.test\nMatch !final\n Tunnel no\n",
    "CanonicalizeHostname yes\nCanonicalizeMaxDots 0\nCanonicalDomains invalid\nMatch canonical\n Port 6\nHost 192.0.2.7\n User canon\n",
    "IdentityFile ~/.ssh/a\nIdentityFile %d/b\nIdentityFile ~/.ssh/a\nCertificateFile c-%h\nSendEnv A* B\nSendEnv -A* C\nSetEnv X=1 Y=2 X=2\nSetEnv Z=3\n",
    "LocalForward 8080 host:80\nLocalForward 8080 host:80\nLocalForward [::1]:81 h:1\nRemoteForward 82 /tmp/%r\nRemoteForward 0 a:1\nRemoteForward 1081\nDynamicForward *:1080\nLocalForward /x/%n y:2\nRemoteForward /x /%h\nPermitRemoteOpen a:1 [::1]:* *:22\nGatewayPorts yes\n",
    "ControlPath ~/c/%C-%h-%p-%r-%n-%l-%L-%u-%i-%%\nControlMaster auto\nControlPersist 10m\nRekeyLimit 1G 1h\nUserKnownHostsFile ~/k1 %d/k2-%k /k3\nGlobalKnownHostsFile none\nIdentityAgent ~/a-%h\nRemoteCommand echo %h '%r' # all of it\nRequestTTY force\n",
    "ProxyCommand nc  %h %p # kept\nProxyJump never\nLocalCommand \"say\" %h\nPermitLocalCommand yes\nKnownHostsCommand /bin/k %H\nEscapeChar ^B\nConnectTimeout 1h30m\nServerAliveInterval 15\nAddKeysToAgent confirm 5m\n",
    "ProxyJump jump,me@192.0.2.9:2222\nProxyCommand never\nEscapeChar none\nStreamLocalBindMask 0117\nTunnel ethernet\nTunnelDevice 1:any\nSyslogFacility local3\nLogVerbose a\nFingerprintHash md5\nForwardAgent $SOCK\nAddKeysToAgent 60\nVerifyHostKeyDNS ask\n",
    "Ciphers aes128-ctr,aes256-ctr\nMACs hmac-sha2-256\nKexAlgorithms curve25519-sha256\nHostKeyAlgorithms ssh-ed25519\nPubkeyAcceptedAlgorithms ssh-ed25519,rsa-sha2-512\nCASignatureAlgorithms ssh-ed25519\nHostbasedAcceptedAlgorithms ssh-ed25519\nRequiredRSASize 3072\nIPQoS af21 17\nUpdateHostKeys yes\n",
    "Include part-a\nHost alpha\n Include part-*\nHost *\n Port 12\n Include no-such-file\nInclude ~/no/such\n",
    "IgnoreUnknown foo*,BAR\nFooBar x\nbar y\nChallengeResponseAuthentication no\nKeepAlive no\nProtocol 2\nUsePrivilegedPort no\nPubkeyAcceptedKeyTypes ssh-ed25519\nDSAAuthentication yes\nClearAllForwardings yes\nLocalForward 1 a:1\n",
    "Match exec \"test %h = alpha\"\n Port 31\nMatch exec false\n Port 32\nMatch user me exec true\n Port 33\n",
    // What both refuse.
    "Port 0\n",
    "Port 22 23\n",
    "NoSuchOption yes\n",
    "Host\n",
    "Match\n",
    "Match host\n",
    "Match all host x\n",
    "Match nothing x\n",
    "Compression maybe\n",
    "User \"open\n",
    "Host never\n Port x\n",
    "Include\n",
    "RekeyLimit 3\n",
    "LocalForward 80\n",
    "ControlPath %x\n",
    "UserKnownHostsFile a none\n",
    "SetEnv A\n",
    "IdentityAgent $a-b\n",
    "Ciphers rot13\n",
    "ConnectionAttempts 0\n",
    "CanonicalDomains -x\n",
    "EscapeChar ab\n",
    "ProxyJump a;b:22:3\n",
];

fn ask(mut program: Command, file: &Path, options: &[&str], host: &str) -> Output {
    program.arg("-F").arg(file).args(options).args(["-G", host]).env("SOCK", "/sock");
    program.stdin(Stdio::null()).output().expect("it starts")
}

/// The lines that are compared; `own` are those of a program that was told nothing.
fn compared(output: &Output, own: &BTreeSet<String>) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).expect("it is text");
    let keep = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default();
        let has = |list: &[(&str, &str)]| list.iter().any(|(known, _)| *known == name);
        !(has(EXCEPTED) || has(DEFAULTS) && own.contains(*line))
    };
    text.lines().filter(keep).map(str::to_owned).collect()
}

fn own(program: Command) -> BTreeSet<String> {
    let output = ask(program, Path::new("none"), &[], "nobody");
    String::from_utf8(output.stdout).expect("it is text").lines().map(str::to_owned).collect()
}

#[test]
fn openssh_agrees() {
    let _watch = within(120);
    let Some(program) = command("ssh").map(|ssh| ssh.get_program().to_owned()) else { return };
    let (theirs, ours) = (|| Command::new(&program), || Command::new(example("ssh")));
    let (their_own, our_own) = (own(theirs()), own(ours()));
    let folder = Folder::new();
    let (a, b) = (folder.file("part-a"), folder.file("part-b"));
    fs::write(&a, "User included\nHost beta.*\n Port 13\n").unwrap();
    fs::write(&b, "Match originalhost alpha\n Port 14\n").unwrap();
    let (mut cases, mut wrong) = (0, Vec::new());
    for (at, text) in FILES.iter().enumerate() {
        let text = text.replace("part-", &folder.file("part-").display().to_string());
        let file = folder.file(&format!("config-{at}"));
        fs::write(&file, &text).unwrap();
        'hosts: for host in HOSTS {
            // OpenSSH 9.2 has no jump host in %C.
            let jumps = |options: &&&[&str]| !(text.contains("%C") && options.contains(&"-J"));
            for options in OPTIONS.iter().filter(jumps) {
                let (them, us) = (ask(theirs(), &file, options, host), ask(ours(), &file, options, host));
                let (left, right) = (compared(&them, &their_own), compared(&us, &our_own));
                cases += 1;
                if them.status.code() != us.status.code() || them.status.success() && left != right {
                    let only = |some: &[String], others: &[String]| -> Vec<String> {
                        some.iter().filter(|line| !others.contains(line)).cloned().collect()
                    };
                    wrong.push(format!(
                        "{text:?} {options:?} {host}: OpenSSH {:?} {:?} {}, ours {:?} {:?} {}",
                        them.status.code(),
                        only(&left, &right),
                        String::from_utf8_lossy(&them.stderr),
                        us.status.code(),
                        only(&right, &left),
                        String::from_utf8_lossy(&us.stderr),
                    ));
                }
                // What is wrong with a file is wrong for every host.
                if !them.status.success() {
                    break 'hosts;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= 200, "{cases} cases");
}
