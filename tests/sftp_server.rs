//! Our SFTP server with the clients of others: OpenSSH's `sftp` and `scp`, paramiko, AsyncSSH, PuTTY's `psftp`,
//! and OpenSSH's own tests of its server with ours in its place.

#![cfg(unix)]

mod given;
mod peers;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use feramiko::{
    Answer, AuthAnswer, ExitStatus, KeyKind, LocalServer, PKey, SSHServer, Secret, ServerInterface, Session,
    SessionRequest,
};
use peers::{Folder, Keys, Python, Server, example, free_port, our_sshd, output, program, require, user};
use serde_json::json;

/// What is moved: more than a window, not a multiple of anything.
const BIG: usize = 9_999_991;

/// What comes within a minute, or never.
const WAIT: Duration = Duration::from_secs(60);

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A folder with a tree to be moved.
fn tree() -> Folder {
    let folder = Folder::new();
    fs::create_dir_all(folder.file("tree/sub/deep")).unwrap();
    fs::write(folder.file("tree/big"), pattern(BIG)).unwrap();
    fs::write(folder.file("tree/empty"), "").unwrap();
    for number in 0..300 {
        fs::write(folder.file(&format!("tree/sub/{number}")), pattern(number * 7)).unwrap();
    }
    fs::write(folder.file("tree/sub/deep/with space"), "x").unwrap();
    fs::set_permissions(folder.file("tree/sub/deep/with space"), fs::Permissions::from_mode(0o604)).unwrap();
    folder
}

/// Whether two trees are the same, permissions and whole seconds of files included.
fn same(one: &Path, other: &Path) {
    let (metadata, there) = (fs::symlink_metadata(one).unwrap(), fs::symlink_metadata(other).unwrap());
    if metadata.is_dir() {
        let names = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|it| it.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(one), names(other), "{}", other.display());
        names(one).iter().for_each(|name| same(&one.join(name), &other.join(name)));
    } else {
        assert!(fs::read(one).unwrap() == fs::read(other).unwrap(), "{}", other.display());
        assert_eq!((metadata.mode(), metadata.mtime()), (there.mode(), there.mtime()), "{}", other.display());
    }
}

/// Runs commands by `sftp`, which ends at the first that fails but for those after a dash.
fn sftp(arguments: &[&str], folder: &Path, commands: &str) -> Option<Output> {
    let mut sftp = Command::new(require("sftp", program("sftp"))?);
    Some(output(sftp.args(arguments).current_dir(folder), commands))
}

const ROUND: &str = "\
mkdir up
put -Rp tree up
get -Rp up/tree down
rename up/tree/big up/tree/large
ln -s large up/tree/link
ln up/tree/large up/tree/hard
cp up/tree/large up/tree/copy
chmod 600 up/tree/copy
df up
ls -la up/tree
-rename -l up/tree/copy up/tree/hard
-get up/tree/none
rm up/tree/link
rm up/tree/large
rm up/tree/copy
rename up/tree/hard up/tree/big
reget up/tree/big part
";

fn round(arguments: &[&str]) -> Option<()> {
    let folder = tree();
    fs::write(folder.file("part"), pattern(1_000_000)).unwrap();
    let output = sftp(arguments, folder.path(), ROUND)?;
    assert!(output.status.success(), "{}", said(&output));
    assert!(
        said(&output).contains("remote rename \"") && said(&output).contains("Failure"),
        "{}",
        said(&output)
    );
    same(&folder.file("tree"), &folder.file("down"));
    same(&folder.file("tree/sub"), &folder.file("up/tree/sub"));
    assert!(fs::read(folder.file("up/tree/big")).unwrap() == pattern(BIG));
    assert!(fs::read(folder.file("part")).unwrap() == pattern(BIG));
    Some(())
}

#[test]
fn openssh_s_sftp_on_our_program() {
    let program = example("sftp_server");
    round(&["-b", "-", "-D", program.to_str().unwrap()]);
}

/// Our `sshd`, and what OpenSSH's clients are told to reach it.
fn our_server() -> Option<(Server, Vec<String>)> {
    let (host, own) = (Keys::named("host")?, Keys::named("user")?);
    let server = our_sshd(&host, &own);
    let mut options: Vec<String> =
        ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "LogLevel=ERROR"]
            .map(|option| format!("-o{option}"))
            .to_vec();
    options.extend(["-F", "none", "-P", &server.port().to_string(), "-i"].map(str::to_owned));
    options.push(own.private("ed25519").to_str().unwrap().to_owned());
    Some((server, options))
}

#[test]
fn openssh_s_sftp_on_our_sshd() {
    let Some((_server, options)) = our_server() else { return };
    let folder = tree();
    let mut arguments: Vec<&str> = options.iter().map(String::as_str).collect();
    let destination = format!("{}@127.0.0.1", user());
    arguments.extend(["-b", "-", &destination]);
    // A session begins in the home; the rest is done where the tree is.
    let there = folder.path().to_str().unwrap();
    let commands = format!("pwd\ncd {there}\n{}", ROUND.split("reget").next().unwrap());
    let Some(output) = sftp(&arguments, folder.path(), &commands) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let home = std::env::home_dir().unwrap().canonicalize().unwrap();
    assert!(said(&output).contains(&format!("Remote working directory: {}", home.display())));
    same(&folder.file("tree"), &folder.file("down"));
}

#[test]
fn openssh_s_scp_on_our_sshd() {
    let Some((_server, options)) = our_server() else { return };
    let Some(scp) = require("scp", program("scp")) else { return };
    let folder = tree();
    let there = format!("{}@127.0.0.1:{}", user(), folder.path().display());
    let run = |from: &str, to: &str| {
        let mut command = Command::new(&scp);
        let output = command.args(&options).args(["-s", "-r", "-p", from, to]).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    };
    run(folder.file("tree").to_str().unwrap(), &format!("{there}/up"));
    same(&folder.file("tree"), &folder.file("up"));
    run(&format!("{there}/tree"), folder.file("down").to_str().unwrap());
    same(&folder.file("tree"), &folder.file("down"));
}

#[test]
fn the_python_clients_on_our_sshd() {
    let (Some(host), Some(own)) = (Keys::named("host"), Keys::named("user")) else { return };
    let server = our_sshd(&host, &own);
    for python in Python::BOTH {
        let spec = |action: &str, path: &Path| {
            json!({
                "host": "127.0.0.1", "port": server.port(), "user": user(), "key": own.private("ed25519"),
                "action": action, "path": path, "bytes": BIG,
            })
        };
        let folder = Folder::new();
        let name = python.name();
        let Some(answer) = python.client(&spec("sftp", &folder.file("moved"))) else { continue };
        assert_eq!((&answer["ok"], &answer["bytes"]), (&json!(true), &json!(BIG)), "{name}: {answer}");
        let Some(answer) = python.client(&spec("files", folder.path())) else { continue };
        assert_eq!(answer["failed"], json!([]), "{name}: {answer}");
    }
}

/// One folder for everybody who knows the password.
struct Files(PathBuf);

impl ServerInterface for Files {
    fn check_auth_password(&self, _: &str, password: &Secret) -> AuthAnswer {
        AuthAnswer::when(password.matches("foo"))
    }

    fn check_channel_subsystem_request(&self, _: &SessionRequest, name: &str) -> Answer {
        Answer::when(name == "sftp")
    }

    fn session(&self, session: Session) -> io::Result<ExitStatus> {
        session.serve_sftp(LocalServer::rooted(&self.0)?)
    }
}

#[test]
fn psftp_below_a_root() {
    let Some(psftp) = require("psftp", program("psftp")) else { return };
    let (local, remote) = (tree(), Folder::new());
    symlink("/etc", remote.file("out")).unwrap();
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let root = remote.path().to_owned();
    let _server =
        SSHServer::builder().host_key(key.clone()).serve(listener, move |_| Files(root.clone())).unwrap();
    fs::write(
        local.file("batch"),
        "pwd\nput -r tree tree\nget -r tree down\nmv tree/big tree/large\nls tree\nchmod 600 tree/large\n\
         cd /../../..\npwd\ndel tree/empty\nmkdir new\nrmdir new\nreget tree/large part\n",
    )
    .unwrap();
    fs::write(local.file("part"), pattern(1_000_000)).unwrap();
    let run = |batch: &str| {
        Command::new(&psftp)
            .env("HOME", local.path())
            .current_dir(local.path())
            .args(["-batch", "-b", batch, "-l", "me", "-pw", "foo", "-P", &port, "-hostkey"])
            .arg(key.public_key().fingerprint())
            .arg("127.0.0.1")
            .output()
            .unwrap()
    };
    let output = run("batch");
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("Remote directory is /\n"), "{}", said(&output));
    for name in ["big", "empty", "sub/299", "sub/deep/with space"] {
        let (tree, down) = (local.file("tree").join(name), local.file("down").join(name));
        assert!(fs::read(tree).unwrap() == fs::read(down).unwrap(), "{name}");
    }
    assert!(fs::read(local.file("part")).unwrap() == pattern(BIG));
    assert_eq!(fs::metadata(remote.file("tree/large")).unwrap().mode() & 0o777, 0o600);
    assert!(!remote.file("tree/empty").exists() && !remote.file("new").exists());
    fs::write(local.file("batch"), "get out/passwd stolen\n").unwrap();
    assert!(!run("batch").status.success());
    assert!(!local.file("stolen").exists());
}

#[test]
fn the_program_s_options() {
    let server = example("sftp_server");
    let folder = Folder::new();
    fs::write(folder.file("file"), "text").unwrap();
    let run = |options: &str, commands: &str| {
        let program = format!("{} {options}", server.display());
        sftp(&["-b", "-", "-D", &program], folder.path(), commands)
    };
    let Some(output) = run("-R", "get file got\n-put file new\n-rm file\n-mkdir dir\nls") else { return };
    assert!(output.status.success() && said(&output).contains("Permission denied"), "{}", said(&output));
    assert!(folder.file("got").exists() && folder.file("file").exists());
    assert!(!folder.file("new").exists() && !folder.file("dir").exists());
    let check = |options: &str, commands: &str, right: bool| {
        let output = run(options, commands).unwrap();
        assert_eq!(output.status.success(), right, "{options} {commands}: {}", said(&output));
    };
    check("-P mkdir,remove", "mkdir dir\n", false);
    check("-P mkdir,remove", "put file new\n", true);
    check("-p realpath,lstat,stat,opendir,readdir,close", "ls\n", true);
    check("-p realpath,lstat,stat,opendir,readdir,close", "get file got\n", false);
    check("-u 077", "put file masked\nmkdir private\n", true);
    let mode = |name: &str| fs::metadata(folder.file(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("masked"), mode("private")), (0o600, 0o700));
    check("-f AUTH -l INFO", "ls\n", true);
    let inside = folder.file("private");
    check(&format!("-d {}", inside.display()), "put file in\n", true);
    assert!(inside.join("in").exists());
    for wrong in ["-P nothing", "-z", "-u 888", "-d /none/such", "-l LOUD", "-d %x", "-f KERN"] {
        check(wrong, "ls\n", false);
    }
    let output = Command::new(&server).args(["-Q", "requests"]).output().unwrap();
    let known = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && known.lines().any(|name| name == "users-groups-by-id"));
    assert!(known.lines().take(4).eq(["open", "close", "read", "write"]));
}

/// OpenSSH's tests, as its package has them, with our program for its server.
#[test]
fn openssh_s_own_tests_with_our_program() {
    let regress =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/openssh-tests/usr/lib/openssh/regress");
    let found = Some(regress).filter(|path| path.is_dir());
    let Some(regress) = require("openssh-tests", found) else { return };
    if require("sshd", program("sshd")).is_none() {
        return;
    }
    let folder = Folder::new();
    let copied = Command::new("cp").arg("-a").arg(&regress).arg(folder.file("regress")).status().unwrap();
    assert!(copied.success());
    for script in [
        "sftp",
        "sftp-batch",
        "sftp-badcmds",
        "sftp-cmds",
        "sftp-glob",
        "sftp-perm",
        "sftp-uri",
        "scp",
        "scp-uri",
    ] {
        let here = folder.file("regress");
        let output = Command::new("timeout")
            .args(["300", "sh"])
            .arg(here.join("test-exec.sh"))
            .arg(&here)
            .arg(here.join(format!("{script}.sh")))
            .current_dir(&here)
            .env("OBJ", &here)
            .env("BUILDDIR", &here)
            .env("SUDO", "")
            .env("USER", user())
            .env("TEST_SHELL", "sh")
            .env("TEST_SSH_SSH", "ssh")
            .env("TEST_SSH_UNSAFE_PERMISSIONS", "1")
            .env("TEST_SSH_PORT", free_port().to_string())
            .env("TEST_SSH_SFTPSERVER", example("sftp_server"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}", said(&output));
        assert!(said(&output).contains("ok "), "{script}: {}", said(&output));
    }
}

/// Our client's channel, greeted or not; the library's own client of SFTP has no part in it.
#[test]
fn sessions_end_as_they_should() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let root = folder.path().to_owned();
    let key = PKey::generate(KeyKind::Ed25519).unwrap();
    let server = SSHServer::builder().host_key(key).serve(listener, move |_| Files(root.clone())).unwrap();
    let client = given::client().username("me").password("foo").connect(&address).unwrap();
    let hello = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    let start = || {
        let channel = client.open_session().unwrap();
        channel.invoke_subsystem("sftp").unwrap();
        channel
    };
    let version = |channel: &feramiko::Channel| {
        let mut front = [0; 9];
        (&mut { channel }).read_exact(&mut front).unwrap();
        assert_eq!(front[4..], [2, 0, 0, 0, 3]);
    };

    // In order: the status is success.
    let channel = start();
    (&channel).write_all(&hello).unwrap();
    version(&channel);
    channel.shutdown(Shutdown::Write);
    assert_eq!(channel.wait_exit(Some(WAIT)).unwrap(), ExitStatus::Code(0));

    // What is no SFTP: no status, and the channel is closed.
    let channel = start();
    (&channel).write_all(b"\xff\xff\xff\xff").unwrap();
    assert_eq!(channel.wait_exit(Some(WAIT)).unwrap(), ExitStatus::Missing);

    // The other stream carries nothing: it neither ends the session nor holds it up.
    let channel = start();
    let mut other = channel.stderr();
    let noise = vec![0; 1 << 20];
    for _ in 0..20 {
        other.write_all(&noise).unwrap();
    }
    (&channel).write_all(&hello).unwrap();
    version(&channel);
    channel.shutdown(Shutdown::Write);
    assert_eq!(channel.wait_exit(Some(WAIT)).unwrap(), ExitStatus::Code(0));

    // Many at once, gone without a word.
    let left: Vec<_> = (0..5).map(|_| start()).collect();
    left.iter().for_each(|channel| (&*channel).write_all(&hello).unwrap());
    drop(left);
    client.close();
    server.shutdown(WAIT);
}
