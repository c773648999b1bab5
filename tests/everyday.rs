//! What people run over ssh every day, with our `ssh` and OpenSSH's server, with OpenSSH's and our server, and
//! with both ours: git, rsync.

#![cfg(unix)]

mod peers;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use peers::{Folder, Keys, Server, command, example, our_sshd, output, program, require, sshd, user};

/// More than a window, so that all has to move.
const BIG: usize = 5_000_003;

/// A server, and a program that reaches it as `ssh` would with the user's configuration.
struct Site {
    what: &'static str,
    ssh: PathBuf,
    folder: Folder,
    _server: Server,
}

/// Each client with each server, one of them ours.
fn sites() -> Vec<Site> {
    let pairs = [("our client", true, false), ("our server", false, true), ("both ours", true, true)];
    pairs.into_iter().filter_map(|(what, client, server)| site(what, client, server)).collect()
}

fn site(what: &'static str, our_client: bool, our_server: bool) -> Option<Site> {
    let (host, own) = (Keys::named("host")?, Keys::named("user")?);
    let theirs = require("ssh", program("ssh"))?;
    let server = if our_server { our_sshd(&host, &own) } else { sshd(&host, &own, "")? };
    let client = if our_client { example("ssh") } else { theirs };
    let (folder, port) = (Folder::new(), server.port());
    let ssh = folder.file("ssh");
    let text = format!(
        "#!/bin/sh\nexec {} -F none -p {port} -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile={} -o LogLevel=ERROR -o BatchMode=yes \"$@\"\n",
        client.display(),
        own.private("ed25519").display(),
        folder.file("known_hosts").display(),
    );
    fs::write(&ssh, text).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    Some(Site { what, ssh, folder, _server: server })
}

impl Site {
    fn place(&self, name: &str) -> String {
        self.folder.file(name).to_str().unwrap().to_owned()
    }

    /// A file on the server, as copying programs name it.
    fn there(&self, name: &str) -> String {
        format!("{}@127.0.0.1:{}", user(), self.place(name))
    }

    /// Runs a program that must succeed; what it printed.
    fn run(&self, program: &mut Command) -> String {
        let done = output(program, "");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{}: {program:?}: {text}{errors}", self.what);
        text
    }
}

fn noise() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..BIG).map(|_| next()).collect()
}

fn same(site: &Site, one: &Path, other: &Path) {
    site.run(Command::new("diff").arg("-r").arg("--exclude=.git").arg(one).arg(other));
}

#[test]
fn git_clones_and_pushes() {
    if command("git").is_none() {
        return;
    }
    for site in sites() {
        let git = |words: &[&str], folder: &str| {
            let mut git = Command::new("git");
            git.args(["-c", "user.name=me", "-c", "user.email=me@example.org", "-C", folder]).args(words);
            site.run(git.env("GIT_SSH_COMMAND", &site.ssh).env("GIT_SSH_VARIANT", "ssh"))
        };
        let (here, far, one, two) =
            (site.place("."), site.place("far"), site.place("one"), site.place("two"));
        git(&["init", "-q", "--bare", "-b", "main", &far], &here);
        git(&["clone", "-q", &site.there("far"), &one], &here);
        fs::write(site.folder.file("one/big"), noise()).unwrap();
        for at in 0..200 {
            fs::write(site.folder.file(&format!("one/small{at}")), format!("{at}\n")).unwrap();
        }
        git(&["add", "-A"], &one);
        git(&["commit", "-q", "-m", "first"], &one);
        git(&["push", "-q", "origin", "HEAD:main"], &one);
        git(&["clone", "-q", "-b", "main", &site.there("far"), &two], &here);
        same(&site, Path::new(&one), Path::new(&two));
        // Only what is new moves.
        fs::write(site.folder.file("two/small7"), "other\n").unwrap();
        git(&["commit", "-qam", "second"], &two);
        git(&["push", "-q"], &two);
        git(&["pull", "-q", "origin", "main"], &one);
        same(&site, Path::new(&one), Path::new(&two));
    }
}

#[test]
fn rsync_mirrors_both_ways() {
    if command("rsync").is_none() {
        return;
    }
    for site in sites() {
        let tree = site.folder.file("tree");
        fs::create_dir_all(tree.join("below/deep")).unwrap();
        fs::write(tree.join("big"), noise()).unwrap();
        fs::write(tree.join("below/with space 'n \"quotes\""), "x\n").unwrap();
        fs::write(tree.join("below/deep/ünïcode"), "y\n").unwrap();
        std::os::unix::fs::symlink("../big", tree.join("below/link")).unwrap();
        let rsync = |words: &[&str]| {
            site.run(Command::new("rsync").args(["-a", "--delete", "-e", &site.place("ssh")]).args(words))
        };
        let (from, up, down) = (site.place("tree/"), site.there("up/"), site.place("down/"));
        rsync(&[&from, &up]);
        rsync(&["-z", &up, &down]);
        same(&site, &tree, &site.folder.file("down"));
        // A change in the middle, and what is gone.
        let mut changed = noise();
        changed[BIG / 2] ^= 1;
        fs::write(tree.join("big"), changed).unwrap();
        fs::remove_file(tree.join("below/deep/ünïcode")).unwrap();
        rsync(&["--no-whole-file", "--checksum", &from, &up]);
        rsync(&["--checksum", &up, &down]);
        same(&site, &tree, &site.folder.file("down"));
    }
}
