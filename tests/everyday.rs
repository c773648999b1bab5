//! What people run over ssh every day, with our `ssh` and OpenSSH's server, with OpenSSH's and our server, and
//! with both ours: git, rsync, ansible, tmux, copies from one server to another.

#![cfg(unix)]

mod given;
mod peers;
#[path = "given/terminal.rs"]
mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use peers::{
    Folder, Keys, Running, Server, command, example, our_sshd, output, program, python, require, sshd, user,
};
use serde_json::{Value, json};
use terminal::Terminal;

/// More than a window, so that all has to move.
const BIG: usize = 5_000_003;

/// A server, and a program that reaches it as `ssh` would with the user's configuration.
struct Site {
    what: &'static str,
    ssh: PathBuf,
    sftp: PathBuf,
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
    let text = format!(
        "exec {} -F none -p {port} -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile={} -o LogLevel=ERROR -o BatchMode=yes \"$@\"\n",
        client.display(),
        own.private("ed25519").display(),
        folder.file("known_hosts").display(),
    );
    let ssh = script(&folder, "ssh", &text);
    let sftp = if our_client { example("sftp") } else { require("sftp", program("sftp"))? };
    let text = format!("exec {} -S {} \"$@\"\n", sftp.display(), ssh.display());
    let sftp = script(&folder, "sftp", &text);
    Some(Site { what, ssh, sftp, folder, _server: server })
}

fn script(folder: &Folder, name: &str, text: &str) -> PathBuf {
    let path = folder.file(name);
    fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
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

/// What is asked of a host. JSON is YAML.
fn play(source: &str) -> Value {
    let target = "{{ place }}/target {{ lookup('env', 'ANSIBLE_PIPELINING') }}";
    json!([{"hosts": "all", "gather_facts": false, "tasks": [
        {"ping": {}},
        {"copy": {"src": source, "dest": target, "mode": "0640"}, "register": "copied"},
        {"assert": {"that": ["copied is changed"]}},
        {"shell": "echo \"a  b\" | tr a-z A-Z; exit 3", "register": "ran",
         "failed_when": "ran.rc != 3 or ran.stdout != 'A  B'"},
        {"fetch": {"src": target, "dest": "{{ place }}/fetched/", "flat": true}},
    ]}])
}

/// All sites are hosts of one inventory: ansible takes longer to start than to do anything.
#[test]
fn ansible_pings_copies_and_runs() {
    let ansible = python().map(|python| python.with_file_name("ansible-playbook"));
    let Some(ansible) = require("ansible", ansible.filter(|path| path.is_file())) else { return };
    let (sites, folder) = (sites(), Folder::new());
    let host = |(number, site): (usize, &Site)| {
        let variables = json!({
            "ansible_host": "127.0.0.1", "ansible_user": user(), "place": site.place("."),
            "ansible_ssh_executable": site.ssh, "ansible_sftp_executable": site.sftp,
            "ansible_python_interpreter": "/usr/bin/python3", "ansible_control_path": site.place("master"),
        });
        (format!("host{number}"), variables)
    };
    let hosts: serde_json::Map<_, _> = sites.iter().enumerate().map(host).collect();
    let (inventory, source, book) =
        (folder.file("hosts.json"), folder.file("source"), folder.file("book.json"));
    fs::write(&inventory, json!({"all": {"hosts": hosts}}).to_string()).unwrap();
    let text: String = (0..20_000).map(|at| format!("line {at}\n")).collect();
    fs::write(&source, &text).unwrap();
    fs::write(&book, play(source.to_str().unwrap()).to_string()).unwrap();
    for (pipelining, transfer) in [("True", "piped"), ("False", "sftp")] {
        let mut command = Command::new(&ansible);
        command.arg("-i").arg(&inventory).arg(&book).env("HOME", folder.path()).current_dir(folder.path());
        command.envs([
            ("ANSIBLE_PIPELINING", pipelining),
            ("ANSIBLE_SSH_TRANSFER_METHOD", transfer),
            ("LC_ALL", "C.UTF-8"),
        ]);
        command.env("ANSIBLE_LOCAL_TEMP", folder.file("near")).env("ANSIBLE_REMOTE_TEMP", folder.file("far"));
        let done = output(&mut command, "");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        for site in &sites {
            let name = format!("target {pipelining}");
            let target = site.folder.file(&name);
            assert!(fs::read_to_string(&target).unwrap() == text, "{}: {said}", site.what);
            assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
            assert!(fs::read_to_string(site.folder.file("fetched").join(name)).unwrap() == text);
            // All went through one connection, which waits for more: ansible's default. It ends with the server.
            assert!(site.folder.file("master").exists(), "{}", site.what);
        }
    }
}

/// A server of tmux's that outlives the session it was started in, and ends with the test.
struct Tmux(PathBuf);

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.0).arg("kill-server").output();
    }
}

#[test]
fn tmux_is_typed_into_resized_and_left() {
    let _watch = given::within(180);
    if command("tmux").is_none() {
        return;
    }
    for site in sites() {
        let tmux = Tmux(site.folder.file("tmux"));
        // A line of its own would take one from the shell in it, and keys that come together are no text.
        fs::write(site.folder.file("conf"), "set -g status off\nset -g assume-paste-time 0\n").unwrap();
        let run = |words: &str| {
            let (mut terminal, far) = Terminal::open(80, 24);
            let mut ssh = Command::new("setsid");
            ssh.args(["-c", "-w"])
                .arg(&site.ssh)
                .args(["-tt", "-l", &user(), "127.0.0.1"])
                .env("TERM", "xterm");
            ssh.arg(format!("tmux -u -S {} -f {} {words}", tmux.0.display(), site.place("conf")));
            ssh.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far);
            let child = Running::start(&mut ssh);
            drop(ssh);
            terminal.types("echo be''gun\n");
            terminal.shows("begun");
            (terminal, child)
        };
        let (mut terminal, mut child) = run("new -s kept sh");
        terminal.resizes_a_shell();
        terminal
            .types("sh -c \"trap 'echo wo''ken; exit' INT; echo st''ays; while :; do sleep 0.05; done\"\n");
        terminal.shows("stays");
        terminal.types("\x03");
        terminal.shows("woken");
        // The key that leaves tmux.
        terminal.types("\x02d");
        terminal.shows("[detached (from session kept)]");
        terminal.shows_all();
        assert_eq!(child.ended().code(), Some(0), "{}", site.what);
        // What was shown is still there for whoever comes back.
        let (mut terminal, mut child) = run("attach -t kept");
        terminal.shows("woken");
        terminal.types("exit\n");
        terminal.shows("[exited]");
        terminal.shows_all();
        assert_eq!(child.ended().code(), Some(0), "{}", site.what);
    }
}

#[test]
fn scp_carries_from_one_server_to_another() {
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let (Some(scp), Some(theirs)) = (require("scp", program("scp")), sshd(&host, &own, "")) else { return };
    let (ours, folder) = (our_sshd(&host, &own), Folder::new());
    let from = folder.file("from");
    fs::create_dir_all(from.join("below")).unwrap();
    fs::write(from.join("big"), noise()).unwrap();
    fs::write(from.join("below/with space"), "x\n").unwrap();
    let mut count = 0;
    for program in [scp, example("scp")] {
        for (one, other) in [(&ours, &theirs), (&theirs, &ours)] {
            for protocol in ["-O", "-s"] {
                count += 1;
                let to = folder.file(&format!("to{count}"));
                let uri = |server: &Server, path: &Path| {
                    format!("scp://{}@127.0.0.1:{}/{}", user(), server.port(), path.display())
                };
                let mut scp = Command::new(&program);
                scp.args(["-3", "-r", "-q", "-B", protocol, "-F", "none", "-i"]).arg(own.private("ed25519"));
                scp.args(["-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=no", "-oLogLevel=ERROR"]);
                scp.arg("-oUserKnownHostsFile=/dev/null").arg(uri(one, &from)).arg(uri(other, &to));
                let done = output(&mut scp, "");
                let said = String::from_utf8_lossy(&done.stderr);
                assert!(done.status.success(), "{} {protocol}: {said}", program.display());
                let different = output(Command::new("diff").arg("-r").arg(&from).arg(&to), "");
                assert!(different.status.success(), "{}", String::from_utf8_lossy(&different.stdout));
            }
        }
    }
}
