//! OpenSSH's own regression scripts, as its package has them, with our `ssh` in place of theirs and our `sshd`
//! in place of theirs. `tests/openssh_regress/scripts.rs` says of each what comes of it; the table of
//! `doc/openssh-regress.md` says it too. The quick ones run always, the others where `FERAMIKO_LONG` is set.
//! `FERAMIKO_REGRESS` may name scripts, which run then, whatever is expected of them.

mod given;
mod peers;
#[path = "openssh_regress/scripts.rs"]
mod scripts;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use given::within;
use peers::{Folder, example, free_port, program, require, user};
use scripts::{Fate, SCRIPTS, Script};

/// The scripts wait a lot and compute little.
const AT_ONCE: usize = 4;
/// These have ports of their own, which are the same ones.
const ONE_BY_ONE: [&str; 6] =
    ["multiplex", "cfgmatch", "cfgmatchlisten", "forward-control", "forwarding", "dynamic-forward"];
/// These only work with the library that plays a security token; it is OpenSSH's programs that load it.
const WITH_TOKENS: [&str; 1] = ["hostkey-agent"];
/// The tests here use the same ones too.
static PORTS: Mutex<()> = Mutex::new(());
/// Of one script. OpenSSH's own slowest takes three minutes.
const SECONDS: &str = "600";
/// Of what a script prints, the end is told.
const TOLD: usize = 6000;

/// Which of the two programs is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

/// Runs a script: what went wrong, or how it was skipped. Somebody may take the port that was free a moment
/// before.
fn run(regress: &Path, script: &str, role: Role) -> Result<(), String> {
    match run_once(regress, script, role) {
        Err(told) if TAKEN.iter().any(|words| told.contains(words)) => run_once(regress, script, role),
        outcome => outcome,
    }
}

/// What a script says whose port somebody else has, be it what it has itself started a moment before.
const TAKEN: [&str; 2] = ["no sshd running on port", "Address already in use"];

/// The same, in a copy of the folder.
fn run_once(regress: &Path, script: &str, role: Role) -> Result<(), String> {
    let folder = Folder::new();
    let here = folder.file("regress");
    assert!(Command::new("cp").arg("-a").arg(regress).arg(&here).status().unwrap().success());
    if !WITH_TOKENS.contains(&script) {
        // Our programs load no library that plays a security token; without it the scripts make no such keys.
        fs::remove_dir_all(here.join("misc/sk-dummy")).unwrap();
    }
    let (ssh, sshd) = match role {
        Role::Client => (ssh_with_their_lists(&folder), program("sshd").unwrap()),
        Role::Server => (program("ssh").unwrap(), sshd_without_pam(&folder, script)),
    };
    let output = Command::new("timeout")
        .args(["--kill-after=10", SECONDS, "sh"])
        .arg(here.join("test-exec.sh"))
        .arg(&here)
        .arg(here.join(format!("{script}.sh")))
        .current_dir(&here)
        .envs([("OBJ", &here), ("BUILDDIR", &here), ("TEST_SSH_SSH", &ssh), ("TEST_SSH_SSHD", &sshd)])
        .envs([("SUDO", ""), ("TEST_SHELL", "sh"), ("TEST_SSH_UNSAFE_PERMISSIONS", "1")])
        .envs([("USER", user()), ("LOGNAME", user()), ("TEST_SSH_PORT", free_port().to_string())])
        .envs([("TEST_SSH_PLINK", "plink"), ("TEST_SSH_PUTTYGEN", "puttygen")])
        .env("TEST_SSH_SFTPSERVER", "/usr/lib/openssh/sftp-server")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut told =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    stop(&here.join("pidfile"));
    if told.contains("SKIPPED") {
        return Err(format!("skipped: {told}"));
    }
    if output.status.success() && told.contains("ok ") {
        return Ok(());
    }
    for log in ["failed-regress.log", "failed-ssh.log", "failed-sshd.log"] {
        let text = fs::read(here.join(log)).unwrap_or_default();
        let end = &text[text.len().saturating_sub(TOLD)..];
        write!(told, "\n== {log}\n{}", String::from_utf8_lossy(end)).unwrap();
    }
    Err(format!("{}: {told}", output.status))
}

/// A program of the test's own.
fn script(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let path = folder.file(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Debian's scripts ask for PAM, which ours has not; what comes first counts. One script reckons with the MACs that
/// OpenSSH offers by itself.
fn sshd_without_pam(folder: &Folder, name: &str) -> PathBuf {
    let macs = if name == "dhgex" { "-o MACs=+umac-64-etm@openssh.com" } else { "" };
    script(folder, "sshd", &format!("exec '{}' -o UsePAM=no {macs} \"$@\"", example("sshd").display()))
}

/// The scripts try all that `ssh -Q` lists with programs of OpenSSH's, which know less than ours.
fn ssh_with_their_lists(folder: &Folder) -> PathBuf {
    let (ours, theirs) = (example("ssh"), program("ssh").unwrap());
    let (ours, theirs) = (ours.display(), theirs.display());
    script(
        folder,
        "ssh",
        &format!("case \"$*\" in *-Q*) exec '{theirs}' \"$@\";; *) exec '{ours}' \"$@\";; esac"),
    )
}

/// Ends the server that a script has left.
fn stop(pidfile: &Path) {
    if let Ok(pid) = fs::read_to_string(pidfile) {
        // It may have ended meanwhile.
        let _ = Command::new("kill").arg(pid.trim()).stderr(Stdio::null()).status();
    }
}

/// Runs the scripts and says what was not as expected.
fn check(wanted: Vec<(&'static Script, Role)>) {
    let regress =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/openssh-tests/usr/lib/openssh/regress");
    let Some(regress) = require("openssh-tests", Some(regress).filter(|path| path.is_dir())) else { return };
    if require("sshd", program("sshd")).is_none() || require("ssh", program("ssh")).is_none() {
        return;
    }
    assert!(!wanted.is_empty());
    let (one_by_one, others): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|(script, _)| ONE_BY_ONE.contains(&script.name));
    let (others, wrong) = (Mutex::new(others), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let mut own = if worker == 0 { one_by_one.clone() } else { Vec::new() };
            let (others, wrong, regress) = (&others, &wrong, &regress);
            scope.spawn(move || {
                while let Some((script, role)) = own.pop().or_else(|| others.lock().unwrap().pop()) {
                    let outcome = run(regress, script.name, role);
                    let complaint = match (script.fate(role), outcome) {
                        (Fate::Passes, Err(error)) => error,
                        (Fate::Not(_), Ok(())) => "passes, which the table does not say".to_owned(),
                        _ => continue,
                    };
                    wrong.lock().unwrap().push(format!("{} as {role:?}: {complaint}", script.name));
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} scripts:\n{}", wrong.len(), wrong.join("\n----\n"));
}

impl Script {
    fn fate(&self, role: Role) -> Fate {
        match role {
            Role::Client => self.client,
            Role::Server => self.server,
        }
    }
}

fn both(script: &'static Script) -> [(&'static Script, Role); 2] {
    [(script, Role::Client), (script, Role::Server)]
}

#[test]
fn quick_scripts() {
    let _ports = PORTS.lock();
    let _watch = within(600);
    let named = std::env::var("FERAMIKO_REGRESS").unwrap_or_default();
    let named: Vec<_> = named.split_whitespace().collect();
    let wanted = |(script, role): &(&Script, Role)| match named[..] {
        [] => script.quick && script.fate(*role) == Fate::Passes,
        _ => named.contains(&script.name),
    };
    check(SCRIPTS.iter().flat_map(both).filter(wanted).collect());
}

#[test]
fn all_scripts() {
    if std::env::var_os("FERAMIKO_LONG").is_none() {
        return;
    }
    let _ports = PORTS.lock();
    let _watch = within(3000);
    check(
        SCRIPTS
            .iter()
            .flat_map(both)
            .filter(|(script, role)| !script.quick || script.fate(*role) != Fate::Passes)
            .collect(),
    );
}

#[test]
fn the_documentation_has_the_same_table() {
    let cell = |fate| match fate {
        Fate::Passes => "pass".to_owned(),
        Fate::Not(why) => format!("not: {why}"),
    };
    let mut table = "| script | our `ssh` | our `sshd` |\n|---|---|---|\n".to_owned();
    for script in SCRIPTS {
        let (client, server) = (cell(script.client), cell(script.server));
        writeln!(table, "| `{}` | {client} | {server} |", script.name).unwrap();
    }
    let page = include_str!("../doc/openssh-regress.md");
    assert!(page.ends_with(&table), "the table is now:\n{table}");
}
