//! The program `ssh_keygen` beside OpenSSH's: the same commands on the same files give the same output,
//! the same exit status and the same files.

#![cfg(unix)]

#[path = "keygen/agent.rs"]
mod agent;
#[path = "keygen/certificates.rs"]
mod certificates;
#[path = "keygen/hosts.rs"]
mod hosts;
#[path = "keygen/keys.rs"]
mod keys;
mod peers;
#[path = "keygen/revoked.rs"]
mod revoked;
#[path = "keygen/scan.rs"]
mod scan;
#[path = "keygen/signatures.rs"]
mod signatures;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use peers::{Folder, KEY_KINDS, Keys, example, output, program, require};

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn run(program: &Path, folder: &Path, arguments: &[&str], input: &[u8]) -> Ended {
    run_with(program, folder, arguments, input, &folder.join("no agent"))
}

/// Runs a program where it has no terminal: what it asks, it asks of `input`.
fn run_with(program: &Path, folder: &Path, arguments: &[&str], input: &[u8], agent: &Path) -> Ended {
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(program).args(arguments).current_dir(folder);
    command.env("TZ", "UTC").env("SSH_AUTH_SOCK", agent).env_remove("DISPLAY");
    let output = output(&mut command, input);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ended { status: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Two folders with the same files: one for OpenSSH's program, one for ours.
struct Both {
    theirs: Folder,
    ours: Folder,
    keygen: std::path::PathBuf,
}

impl Both {
    /// Folders with key pairs of each kind, `ca` and `enc`, whose passphrase is `secret`; none without
    /// ssh-keygen.
    fn new() -> Option<Self> {
        let keygen = require("ssh-keygen", program("ssh-keygen"))?;
        let keys = Keys::named("users")?;
        let this = Self { theirs: Folder::new(), ours: Folder::new(), keygen };
        for (kind, _) in KEY_KINDS {
            this.write(kind, &fs::read(keys.private(kind)).unwrap());
            this.write(&format!("{kind}.pub"), format!("{}\n", keys.public(kind)).as_bytes());
        }
        let hosts = Keys::named("hosts")?;
        this.write("ca", &fs::read(hosts.private("ed25519")).unwrap());
        this.write("ca.pub", format!("{}\n", hosts.public("ed25519")).as_bytes());
        this.write("rsaca", &fs::read(hosts.private("rsa")).unwrap());
        Some(this)
    }

    fn write(&self, name: &str, contents: &[u8]) {
        for folder in [&self.theirs, &self.ours] {
            fs::write(folder.file(name), contents).unwrap();
            fs::set_permissions(folder.file(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    fn line(&self, name: &str) -> String {
        fs::read_to_string(self.ours.file(&format!("{name}.pub"))).unwrap().trim().to_owned()
    }

    /// Has OpenSSH make something and gives it to both.
    fn made(&self, arguments: &[&str], input: &[u8], files: &[&str]) {
        let ended = run(&self.keygen, self.theirs.path(), arguments, input);
        assert_eq!(ended.status, Some(0), "{arguments:?}: {ended:?}");
        for name in files {
            let contents = fs::read(self.theirs.file(name)).unwrap();
            self.write(name, &contents);
        }
    }

    fn run(&self, arguments: &[&str], input: &[u8]) -> (Ended, Ended) {
        let theirs = run(&self.keygen, self.theirs.path(), arguments, input);
        (theirs, run(&example("ssh_keygen"), self.ours.path(), arguments, input))
    }

    /// Runs both on the same; the output and the status, which are the same.
    fn same(&self, arguments: &[&str], input: &[u8]) -> (String, i32) {
        let (theirs, ours) = self.run(arguments, input);
        assert_eq!(ours.stdout, theirs.stdout, "{arguments:?}: {} / {}", ours.stderr, theirs.stderr);
        assert_eq!(ours.status, theirs.status, "{arguments:?}: {} / {}", ours.stderr, theirs.stderr);
        assert!(!ours.stderr.contains("panicked"), "{arguments:?}: {}", ours.stderr);
        (ours.stdout, ours.status.unwrap())
    }

    /// Runs each of the commands on the same, and checks that both leave the same files.
    fn all_same(&self, commands: &[(&str, i32)]) {
        for (command, status) in commands {
            let arguments: Vec<_> = command.split(' ').collect();
            let (stdout, ended) = self.same(&arguments, b"");
            assert_eq!(ended, *status, "{command}: {stdout}");
            self.same_files(command);
        }
    }

    fn same_files(&self, after: &str) {
        let (theirs, ours) = (contents(self.theirs.path()), contents(self.ours.path()));
        for (name, text) in &theirs {
            let shown = ours.get(name).map(|text| String::from_utf8_lossy(text));
            assert_eq!(shown, Some(String::from_utf8_lossy(text)), "{after}: {name}");
        }
        assert_eq!(ours.len(), theirs.len(), "{after}");
    }
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}
