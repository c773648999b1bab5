//! Our SFTP server with the programs that people mount, mirror and back up with: lftp, rclone, sshfs.

#![cfg(unix)]

mod peers;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use peers::{Folder, Keys, Server, command, example, our_sshd, output, sshd, user};

/// Large enough for several requests of every program.
const BIG: usize = 3_000_001;

struct Served {
    server: Server,
    key: String,
    folder: Folder,
}

/// A server of ours, and a tree with odd names in it.
fn served() -> Option<Served> {
    served_by(|host, own| Some(our_sshd(host, own)))
}

fn served_by(server: impl Fn(&Keys, &Keys) -> Option<Server>) -> Option<Served> {
    let (host, own) = (Keys::named("host")?, Keys::named("user")?);
    let folder = Folder::new();
    fs::create_dir_all(folder.file("tree/below/deep")).unwrap();
    let big: Vec<u8> = (0..BIG).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
    fs::write(folder.file("tree/big"), big).unwrap();
    fs::write(folder.file("tree/empty"), "").unwrap();
    fs::write(folder.file("tree/below/with space 'n \"quotes\""), "x\n").unwrap();
    fs::write(folder.file("tree/below/deep/ünïcode"), "y\n").unwrap();
    let key = own.private("ed25519").to_str().unwrap().to_owned();
    Some(Served { server: server(&host, &own)?, key, folder })
}

/// Runs a program that must succeed; what it printed.
fn run(program: &mut Command, input: &str) -> String {
    let done = output(program, input);
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{program:?}: {text}{}", String::from_utf8_lossy(&done.stderr));
    text
}

fn same(one: &Path, other: &Path) {
    run(Command::new("diff").arg("-r").arg(one).arg(other), "");
}

#[test]
fn lftp_mirrors_both_ways() {
    let (Some(mut lftp), Some(served)) = (command("lftp"), served()) else { return };
    let Served { server, key, folder } = &served;
    let place = |name: &str| folder.file(name).to_str().unwrap().to_owned();
    let script = format!(
        "set sftp:connect-program \"ssh -a -x -F none -i {key} -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR\"\nset cmd:fail-exit yes\n\
         open -p {} sftp://{}:@127.0.0.1\nmirror -R {tree} {up}\nmirror {up} {down}\n\
         mv {up}/big {up}/moved\nchmod 600 {up}/moved\nrm {up}/empty\nls {up}\n",
        server.port(),
        user(),
        tree = place("tree"),
        up = place("up"),
        down = place("down"),
    );
    let shown = run(lftp.env("HOME", folder.path()).args(["-f", "/dev/stdin"]), &script);
    assert!(shown.contains("moved") && !shown.contains("empty"), "{shown}");
    same(&folder.file("tree"), &folder.file("down"));
    assert!(folder.file("up/moved").exists() && !folder.file("up/empty").exists());
}

#[test]
fn rclone_copies_both_ways_and_checks() {
    let (Some(_), Some(served)) = (command("rclone"), served()) else { return };
    let Served { server, key, folder } = &served;
    let config = folder.file("rclone.conf");
    let text = format!(
        "[ours]\ntype = sftp\nhost = 127.0.0.1\nuser = {}\nport = {}\nkey_file = {key}\nshell_type = unix\n",
        user(),
        server.port()
    );
    fs::write(&config, text).unwrap();
    let there = format!("ours:{}", folder.file("up").display());
    let tree = folder.file("tree");
    let rclone = |words: &[&str]| {
        let mut rclone = Command::new("rclone");
        run(rclone.env("HOME", folder.path()).arg("--config").arg(&config).args(words), "")
    };
    let (tree_name, down) = (tree.to_str().unwrap(), folder.file("down"));
    rclone(&["copy", tree_name, &there]);
    rclone(&["check", tree_name, &there]);
    rclone(&["copy", &there, down.to_str().unwrap()]);
    same(&tree, &down);
    assert!(rclone(&["lsf", "-R", &there]).contains("ünïcode"));
}

#[test]
fn sshfs_mounts_servers_by_clients_of_either_kind() {
    // Containers mostly have no such device, or may not mount.
    let fuse = fs::File::options().read(true).write(true).open("/dev/fuse");
    if fuse.is_err() || !rustix::process::geteuid().is_root() {
        return println!("skipped: nothing can be mounted here");
    }
    let theirs = || served_by(|host, own| sshd(host, own, ""));
    let ours = example("ssh");
    for (served, client) in [(served(), None), (theirs(), Some(&ours)), (served(), Some(&ours))] {
        let (Some(mut sshfs), Some(served)) = (command("sshfs"), served) else { return };
        if let Some(client) = client {
            sshfs.arg("-o").arg(format!("ssh_command={}", client.display()));
        }
        mounts(&mut sshfs, &served);
    }
}

fn mounts(sshfs: &mut Command, served: &Served) {
    let Served { server, key, folder } = served;
    let (tree, mounted) = (folder.file("tree"), folder.file("mounted"));
    fs::create_dir(&mounted).unwrap();
    let from = format!("{}@127.0.0.1:{}", user(), tree.display());
    let options = format!("IdentityFile={key},StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null");
    let mount = sshfs.args(["-F", "/dev/null", "-p", &server.port().to_string(), "-o", &options, &from]);
    let done = output(mount.arg(&mounted), "");
    if !done.status.success() && String::from_utf8_lossy(&done.stderr).contains("fuse") {
        return println!("skipped: {}", String::from_utf8_lossy(&done.stderr));
    }
    assert!(done.status.success(), "{done:?}");
    let used = std::panic::catch_unwind(|| {
        same(&tree, &mounted);
        run(Command::new("cp").arg("-r").arg(mounted.join("below")).arg(mounted.join("copy")), "");
        same(&tree.join("below"), &tree.join("copy"));
        fs::rename(mounted.join("copy"), mounted.join("moved")).unwrap();
        symlink("big", mounted.join("link")).unwrap();
        assert_eq!(fs::read_link(tree.join("link")).unwrap(), Path::new("big"));
        fs::remove_dir_all(mounted.join("moved")).unwrap();
        run(Command::new("df").arg(&mounted), "");
    });
    run(Command::new("fusermount").arg("-u").arg(&mounted), "");
    used.unwrap();
    assert!(!tree.join("moved").exists());
}
