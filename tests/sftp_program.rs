//! The program `sftp`: what it says and leaves behind, compared with OpenSSH's for the same commands; its
//! line editor on a terminal; and `sftp_get`, `sftp_put` and `demo_sftp`.

#![cfg(unix)]

mod given;
mod peers;
#[path = "sftp_program/terminal.rs"]
mod terminal;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use peers::{Folder, Keys, SFTP_SERVER, example, our_sshd, program, require, sftp_server, sshd, user};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn openssh() -> Option<(PathBuf, PathBuf)> {
    let server = sftp_server()?;
    Some((require("sftp", program("sftp"))?, server))
}

fn ours() -> PathBuf {
    example("sftp")
}

/// A folder with something of everything, here and there.
fn prepare(root: &Path) {
    for (place, name) in [("there", "t"), ("here", "h")] {
        let place = root.join(place);
        fs::create_dir_all(place.join("dir/sub")).unwrap();
        fs::create_dir_all(place.join("empty")).unwrap();
        let file = |path: &str, text: &[u8], mode: u32| {
            let path = place.join(path);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        file(&format!("{name}1"), b"one", 0o644);
        file(&format!("{name}2"), &vec![b'2'; 300_000], 0o600);
        file(&format!("{name}.sh"), b"#!/bin/sh\n", 0o755);
        file(".hidden", b"", 0o644);
        file("nothing", b"", 0o640);
        file("two words", b"words", 0o644);
        file("quote\"d 'n' back\\slash", b"quotes", 0o644);
        file("star*[x]?", b"star", 0o644);
        file("dir/inner", b"inner", 0o664);
        file("dir/sub/deep", b"deep", 0o444);
        symlink("inner", place.join("dir/link")).unwrap();
        symlink("dir", place.join("linked")).unwrap();
    }
    let old = Command::new("find")
        .arg(root)
        .args(["-exec", "touch", "-h", "-d", "2020-02-03 04:05", "{}", "+"])
        .status();
    assert!(old.unwrap().success());
}

/// A name, and what is there: its mode, and its contents or where it leads.
type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn tree(root: &Path) -> Tree {
    fn walk(root: &Path, path: &Path, tree: &mut Tree) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_owned();
            let contents = if found.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_vec()
            } else if found.is_dir() {
                Vec::new()
            } else {
                fs::read(&path).unwrap()
            };
            tree.insert(name, (found.mode(), contents));
            if found.is_dir() {
                walk(root, &path, tree);
            }
        }
    }
    let mut found = Tree::new();
    walk(root, root, &mut found);
    found
}

/// What a program said, with its folder's name taken out, and what it left.
#[derive(Debug, PartialEq)]
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
    tree: Tree,
}

struct Way<'a> {
    sftp: &'a Path,
    server: &'a Path,
    batch: bool,
    locale: &'static str,
}

/// Runs commands in a folder of their own: local names begin in `here`, the server's in `there`.
fn run(way: &Way<'_>, commands: &[u8]) -> Ran {
    run_in(&Folder::new(), way, commands)
}

fn run_in(folder: &Folder, way: &Way<'_>, commands: &[u8]) -> Ran {
    prepare(folder.path());
    let mut command = Command::new("timeout");
    command.arg(PATIENCE.as_secs().to_string()).arg(way.sftp);
    command.args(way.batch.then_some(["-b", "-"]).into_iter().flatten());
    command.arg("-D").arg(way.server).current_dir(folder.path().join("here"));
    command.env("LC_ALL", way.locale).env("TZ", "UTC").env("SHELL", "/bin/sh");
    let mut child = piped(&mut command);
    let all = [&b"@cd ../there\n"[..], commands].concat();
    // It may have ended before it has read all.
    let _ = child.stdin.take().unwrap().write_all(&all);
    let output = child.wait_with_output().unwrap();
    let root = folder.path().to_str().unwrap();
    let clean = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(root, "ROOT").replace('\r', "");
        text.split_inclusive('\n').map(undated).collect::<String>()
    };
    let (stdout, stderr) = (clean(&output.stdout), clean(&output.stderr));
    let server = way.server.display().to_string();
    Ran {
        status: output.status.code(),
        stdout,
        stderr: stderr.replace(&server, "SERVER"),
        tree: tree(folder.path()),
    }
}

/// A line of `ls -l` without the time of what was made just now: the programs run one after the other, and the system
/// may give a file a time that is ahead of the clock that OpenSSH reads, which then shows the year.
fn undated(line: &str) -> String {
    const TIME: usize = "Nov 22 01:57".len();
    let ends = line.char_indices().zip(line.chars().skip(1));
    let ends = ends.filter(|((_, letter), next)| !letter.is_whitespace() && next.is_whitespace());
    // Rights, links, user, group, size.
    let time = ends.map(|((at, letter), _)| at + letter.len_utf8() + 1).nth(4);
    let parts = time.and_then(|at| Some((line.get(..at)?, line.get(at..at + TIME)?, line.get(at + TIME..)?)));
    let year = this_year();
    match parts {
        Some((before, time, name))
            if line.starts_with(['-', 'd', 'l']) && (time.contains(':') || time.ends_with(&year)) =>
        {
            format!("{before}{:TIME$}{name}", "(now)")
        }
        _ => line.to_owned(),
    }
}

fn this_year() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    (1970 + since.as_secs() / 31_556_952).to_string()
}

#[test]
fn only_what_was_made_just_now_has_no_time() {
    let line = |time: &str| format!("drwxr-xr-x    ? root     root         4096 {time} bad\\377 x/\n");
    let undated_line = undated(&line("Nov 22 01:57"));
    assert_eq!(undated_line, line("(now)       "));
    assert_eq!(undated(&line(&format!("Nov 22  {}", this_year()))), undated_line);
    for other in [&line("Nov 22  2001"), "Nov 22 01:57\n", "sftp> ls -l *\n", "d\n"] {
        assert_eq!(undated(other), *other);
    }
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// What both programs are given.
const ROUNDS: &[&str] = &[
    "pwd\nversion\nhelp\n?\n",
    "ls\nls -1\nls -a\nls -1a\nls -r\nls -S\nls -1S\nls -1rS\nls dir\nls dir/\nls -1 dir/*\nls linked\nls t1\nls ./dir\n",
    "ls -l\nls -la\nls -l dir\nls -lh\nls -l t*\nls -lS t1 nothing\nls -l /dev/null\nls -d\nls -l linked\n",
    "ls *\nls -1 t?\nls [tn]*\nls t[!1]\nls {t1,dir}\nls -1 {t1,t2}\nls .h*\nls 'star*[x]?'\nls star\\*\\[x\\]\\?\nls none*\nls none\n",
    "ls */*\nls -1 */su?\nls ROOT/x\nls dir/none\nls /none/*\nls [\nls 't1\n",
    "cd dir\npwd\nls\ncd ..\npwd\ncd none\ncd t1\ncd\npwd\ncd /\npwd\nls /dev/null\n",
    "lpwd\nlcd dir\nlpwd\nlcd none\nlls\nlls -1 sub\nlmkdir new\nlmkdir new\nlcd new\nlpwd\n",
    "!echo hi there\n! echo  a\nlls none 2>/dev/null\n!exit 3\n!kill -9 $$\n",
    "mkdir new\nmkdir new\nmkdir a/b\nmkdir 'two w'\nrmdir new\nrmdir new\nrmdir dir\nrmdir t1\n",
    "rm t1\nrm t*\nrm none\nrm none*\nrm dir\nrm 'star*[x]?'\nrm \"quote\\\"d 'n' back\\slash\"\nrm star*\n",
    "rename t1 x1\nrename none x\nrename x1 t2\nrename -l t2 t.sh\nrename -l t2 t3\nrename dir folder\nrename 'two words' \"2 words\"\n",
    "ln t1 hard\nln -s t1 soft\nsymlink none broken\nln none x\nln -s x t1\nls -1\nln t1\n",
    "chmod 600 t1\nchmod 4755 t.sh\nchmod 0644 t*\nchmod 600 none\nchmod x t1\nchmod 999 t1\nchmod 600\nchmod -h 600 linked\n",
    "chown 0 t1\nchgrp 0 t*\nchown 0x0 t2\nchown -h 0 linked\nchown 0 none\nchgrp -h 0 none\nchown root t1\nchown 4294967296 t1\n",
    "cp t1 t1copy\ncopy t2 /none/x\ncp none x\ncp dir x\ncp t.sh 'a copy'\nls -1\n",
    "lumask 077\nget t1\nlumask 22\nget t.sh\nlumask\nlumask 9\n",
    "get t1\nget t1 h9\nget none\nget none*\nget t* empty\nget t* none\nget dir\nget t1 /none/x\nget nothing\nget 'two words'\nget two\\ words w\n",
    "get -p t1\nget -P t2 x\nget -f t1 y\nget -x t1\nget\nget 'star*[x]?'\nget star* glob\nget ./t1 z\nget dir/../t1 zz\nget t1 dir\nget t1 dir/\n",
    "get -r dir new\nget -R dir\nget -r dir dir2\nget -r empty e\nget -r t1 t1r\nget -r none\nget -pr dir kept\n",
    "put h1\nput h1 t9\nput none\nput none*\nput h* empty\nput h* none\nput dir\nput h1 /none/x\nput nothing\nput 'two words'\nput h1 dir\n",
    "put -p h1\nput -P h2 x\nput -f h1 y\nput -x h1\nput\nput 'star*[x]?'\nput star* glob\nput linked\nput h1 ../there/q\n",
    "put -r dir new\nput -R dir\nput -r empty e\nput -r h1 h1r\nput -r none\nput -pr dir kept\n",
    "!head -c 1000 ../there/t2 >t2\nreget t2\nreget t2\n!head -c 400000 /dev/zero >big\nreget t2 big\nreget none\nget -a t1 fresh\nreget t*\n",
    "!head -c 1000 h2 >../there/h2\nreput h2\nreput h2\nreput h1 fresh\nput -a h1 t1\nreput none\n",
    "mget t1 t2\nmput h1 h2\nDIR\nLs -1\nexit\nls\n",
    "  \n# comment\nls -1 #t1\nls -1 dir#\njajaja\nget 'a\n-rm none\n-jaja\n@ls -1 dir\n-@rm none\n@-ls -1 dir\nquit -x\npwd x\n",
    "df -x\nprogress\nprogress\nprogress x\nlpwd -x\nbye\n",
];

#[test]
fn commands_say_and_do_what_openssh_s_do() {
    let Some((theirs, server)) = openssh() else { return };
    let own = ours();
    for round in ROUNDS {
        let way = |sftp| Way { sftp, server: &server, batch: false, locale: "C.UTF-8" };
        let (expected, found) = (run(&way(&theirs), round.as_bytes()), run(&way(&own), round.as_bytes()));
        compare(round, &expected, &found);
    }
}

/// A batch ends at its first failure: each command is one of its own.
#[test]
fn batches_end_as_openssh_s_do() {
    let Some((theirs, server)) = openssh() else { return };
    let own = ours();
    let mut threads = Vec::new();
    for chunk in ROUNDS.chunks(7) {
        let (theirs, own, server) = (theirs.clone(), own.clone(), server.clone());
        threads.push(std::thread::spawn(move || {
            for command in chunk.iter().flat_map(|round| round.lines()) {
                let commands = format!("{command}\n@!echo went on\n");
                let way = |sftp| Way { sftp, server: &server, batch: true, locale: "C.UTF-8" };
                let (expected, found) =
                    (run(&way(&theirs), commands.as_bytes()), run(&way(&own), commands.as_bytes()));
                compare(command, &expected, &found);
            }
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn compare(commands: &str, expected: &Ran, found: &Ran) {
    // The directories of a tree come in any order.
    let lines = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let of_tree = |line: &String| line.starts_with("Retrieving ") || line.starts_with("Entering ");
        lines.chunk_by_mut(|a, b| of_tree(a) && of_tree(b)).for_each(<[_]>::sort);
        lines
    };
    for (expected, found) in lines(&expected.stdout).iter().zip(&lines(&found.stdout)) {
        assert_eq!(expected, found, "of {commands}");
    }
    assert_eq!(expected.stdout.len(), found.stdout.len(), "stdout of {commands}\n{}", found.stderr);
    assert_eq!(sorted(&expected.stderr), sorted(&found.stderr), "stderr of {commands}");
    assert_eq!(expected.status, found.status, "status of {commands}");
    for name in expected.tree.keys().chain(found.tree.keys()) {
        assert_eq!(expected.tree.get(name), found.tree.get(name), "{} after {commands}", name.display());
    }
}

/// Whether a line may differ: OpenSSH names each file that is left out of a tree, we say how many; its server has
/// one word for all that a system does not do.
fn beside(line: &str) -> bool {
    line.contains("not a regular file") || line.starts_with("remote lsetstat")
}

/// Lines of standard error; those of different processes come as they please.
fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().filter(|line| !beside(line)).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn names_may_be_anything() {
    let Some((theirs, server)) = openssh() else { return };
    let own = ours();
    let names: [&[u8]; 4] = ["größe".as_bytes(), b"bad\xff\xfe", b"line\nend", b"esc\x1b[31m"];
    for locale in ["C.UTF-8", "C"] {
        for batch in [false, true] {
            let mut commands = Vec::new();
            for (at, name) in names.iter().enumerate().filter(|(_, name)| !name.contains(&b'\n')) {
                let line = |begin: &str, end: &str| [begin.as_bytes(), name, end.as_bytes(), b"\n"].concat();
                commands.extend(line("put h1 '", "'"));
                commands.extend(line("ls -1 ", ""));
                commands.extend(line("get '", &format!("' back{at}")));
                commands.extend(line("rename \"", &format!("\" 'new{at} ü'")));
                commands.extend(line("mkdir ", ""));
                commands.extend(line("-rm ", "none"));
            }
            commands.extend_from_slice(b"ls\nls -1\nls -l *\nget -r .\n");
            let way = |sftp| Way { sftp, server: &server, batch, locale };
            compare(locale, &run(&way(&theirs), &commands), &run(&way(&own), &commands));
        }
    }
    // A line break comes by a pattern only.
    let folder = Folder::new();
    fs::create_dir(folder.path().join("there")).unwrap();
    fs::write(folder.path().join("there").join(OsStr::from_bytes(names[2])), b"x").unwrap();
    let way = Way { sftp: &own, server: &server, batch: true, locale: "C.UTF-8" };
    let ran = run_in(&folder, &way, b"get line*\nrm line?end\n");
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    let name = OsString::from_vec([b"here/", names[2]].concat());
    assert!(ran.tree.contains_key(Path::new(&name)));
}

#[test]
fn our_server_does_as_openssh_s() {
    let Some((_, server)) = openssh() else { return };
    let (own, own_server) = (ours(), example("sftp_server"));
    for round in ROUNDS {
        let way = |server| Way { sftp: &own, server, batch: false, locale: "C.UTF-8" };
        compare(round, &run(&way(&server), round.as_bytes()), &run(&way(&own_server), round.as_bytes()));
    }
}

#[test]
fn a_server_s_names_lead_nowhere_else() {
    let Some(python) = require("python3", program("python3")) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/suspect_sftp.py");
    let folder = Folder::new();
    let inside = folder.file("in/here");
    fs::create_dir_all(&inside).unwrap();
    let mut command = Command::new(ours());
    command.arg("-D").arg(format!("{} '{}'", python.display(), script.display())).current_dir(&inside);
    let (status, said, log) = ends(&mut command, b"ls -1\nget *\nget -r /d tree\nrm *\n");
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("Server sent suspect path \"../evil\" during readdir of \"/d\""), "{log}");
    assert!(
        said.contains("sftp> ls -1\nok\nsftp> ") && !said.contains("evil") && !said.contains("a/b"),
        "{said}"
    );
    let left: Vec<_> = tree(folder.path()).into_keys().collect();
    assert_eq!(left, ["in", "in/here", "in/here/ok", "in/here/tree", "in/here/tree/ok"].map(PathBuf::from));
}

/// What a program ends with, and what it said on standard error.
fn ends(command: &mut Command, input: &[u8]) -> (Option<i32>, String, String) {
    let mut child = piped(command);
    // A program that is wrong about its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn command_lines_end_as_openssh_s_do() {
    let Some((theirs, _)) = openssh() else { return };
    let own = ours();
    for line in [
        "",
        "-h",
        "-Z host",
        "a b c",
        "-1 host",
        "-P 0 host",
        "-B x host",
        "-R 0 host",
        "-X odd=1 host",
        "-X buffer=0 host",
        "-l 0 host",
        "-b /none/batch host",
        "-b - -b - host",
        "sftp://",
        "sftp://host:x/",
    ] {
        let words = || line.split_whitespace();
        let expected = ends(Command::new(&theirs).args(words()), b"");
        let found = ends(Command::new(&own).args(words()), b"");
        assert_eq!(expected.0, found.0, "{line}: {} but {}", expected.2, found.2);
    }
    for (line, wanted) in [
        ("-F /none/cfg host", "configuration file /none/cfg"),
        ("-J jump.invalid host", "jump.invalid"),
        ("-A host", "-A is not built"),
        ("-o ProxyCommand=false host", "the proxy command"),
        ("-o Port=x host", "Bad port"),
        ("-S /none/ssh host", "Connection closed"),
        ("-S /bin/false host", "Connection closed"),
        ("-D /none/server", "Connection closed"),
        ("-D /bin/true", "Connection closed"),
        ("-b - -D /bin/true", "Connection closed"),
    ] {
        let (status, _, said) = ends(Command::new(&own).args(line.split_whitespace()), b"");
        assert_eq!(status, Some(255), "{line}");
        assert!(said.contains(wanted), "{line}: {said}");
    }
}

/// A server, and the arguments that lead to it.
struct Reached {
    _server: peers::Server,
    port: u16,
    arguments: Vec<OsString>,
    _known: Folder,
}

fn reach(server: peers::Server, key: &Keys) -> Reached {
    let known = Folder::new();
    let port = server.port();
    let mut arguments = vec!["-i".into(), key.private("ed25519").into_os_string()];
    for option in ["BatchMode=yes", "StrictHostKeyChecking=accept-new", "GlobalKnownHostsFile=none"] {
        arguments.push(format!("-o{option}").into());
    }
    arguments.push(format!("-oUserKnownHostsFile={}", known.file("known").display()).into());
    Reached { _server: server, port, arguments, _known: known }
}

fn servers() -> Option<[Reached; 2]> {
    let (host, key) = (Keys::named("host")?, Keys::named("user")?);
    Some([reach(sshd(&host, &key, "")?, &key), reach(our_sshd(&host, &key), &key)])
}

#[test]
fn connections_of_our_own_and_by_ssh() {
    let Some(servers) = servers() else { return };
    for server in &servers {
        let folder = Folder::new();
        let port = server.port.to_string();
        let there = folder.file("there");
        fs::write(&there, b"there").unwrap();
        let host = format!("{}@127.0.0.1", user());
        let run = |more: &[&str], input: &[u8]| {
            let mut command = Command::new("timeout");
            command.arg("30").arg(ours()).args(&server.arguments).args(more).current_dir(folder.path());
            ends(command.env_remove("SSH_AUTH_SOCK"), input)
        };
        let path = there.display().to_string();
        let (status, said, log) = run(&["-P", &port, &format!("{host}:{path}"), "got"], b"");
        assert_eq!((status, said), (Some(0), format!("Fetching {path} to got\n")), "{log}");
        assert!(log.contains("Connected to 127.0.0.1."), "{log}");
        assert_eq!(fs::read(folder.file("got")).unwrap(), b"there");
        let uri = format!("sftp://{host}:{port}/{}", folder.path().display());
        let (status, said, log) = run(&["-q", "-b", "-", &uri], b"put got again\npwd\n");
        assert_eq!(status, Some(0), "{log}");
        assert!(said.ends_with(&format!("directory: {}\n", folder.path().display())), "{said}");
        assert!(folder.file("again").exists());
        let server_program = ["-s", SFTP_SERVER, "-C", "-P", &port, "-4", "-c", "aes256-ctr", &host];
        let (status, said, log) = run(&server_program, b"version\n");
        assert_eq!((status, said.as_str()), (Some(0), "sftp> version\nSFTP protocol version 3\n"), "{log}");
        let (status, _, log) = run(&["-P", &port, &format!("{host}:/none"), "x"], b"");
        assert_eq!(status, Some(1), "{log}");
        assert!(log.contains("File \"/none\" not found."), "{log}");
        let (status, _, log) = run(&["-P", "1", &host], b"");
        assert_eq!(status, Some(255), "{log}");
        let ssh = example("ssh").display().to_string();
        let (status, said, log) = run(&["-S", &ssh, "-P", &port, &host], b"version\n");
        assert_eq!((status, said.contains("version 3")), (Some(0), true), "{log}");
    }
}

#[test]
fn paramiko_s_demos_copy() {
    // Not every server has the hashes that are asked for.
    let Some([_, server]) = servers() else { return };
    let folder = Folder::new();
    prepare(folder.path());
    let run = |name: &str, more: &[&str]| {
        let mut command = Command::new("timeout");
        command.arg("30").arg(example(name)).args(&server.arguments).args(more).current_dir(folder.path());
        ends(command.arg("-P").arg(server.port.to_string()).env_remove("SSH_AUTH_SOCK"), b"")
    };
    let remote = |name: &str| format!("{}@127.0.0.1:{}/{name}", user(), folder.path().display());
    let (status, said, log) = run("sftp_put", &["-r", "--verify", "here", &remote("put")]);
    assert_eq!(status, Some(0), "{log}");
    assert!(said.starts_with("10 files, "), "{said}{log}");
    let (status, _, log) = run("sftp_get", &["-r", "-p", &remote("put"), "got"]);
    assert_eq!(status, Some(0), "{log}");
    let mut trees = ["here", "put", "got"].map(|name| tree(&folder.file(name)));
    // Modes of links are nobody's.
    trees.iter_mut().flat_map(BTreeMap::values_mut).for_each(|(mode, _)| *mode &= 0o170_700);
    assert_eq!(trees[0], trees[1]);
    assert_eq!(trees[0], trees[2]);
    let part = File::options().write(true).open(folder.file("got/h2")).unwrap();
    part.set_len(1000).unwrap();
    let (status, said, log) = run("sftp_get", &["--resume", &remote("put/h2"), "got/h2"]);
    assert_eq!(status, Some(0), "{log}");
    assert!(said.starts_with("1 files, 299000 bytes"), "{said}");
    let (status, said, _) = run("sftp_put", &["--resume", "here/h2", &remote("put/h2")]);
    assert_eq!((status, said.contains("1 left")), (Some(0), true), "{said}");
    let large = folder.file("large");
    fs::write(&large, vec![7; 9 << 20]).unwrap();
    let (status, said, log) = run("sftp_put", &["--connections=3", "large", &remote("striped")]);
    assert_eq!((status, said.as_str()), (Some(0), "1 files, 9437184 bytes; 0 left as they were\n"), "{log}");
    assert!(fs::read(folder.file("striped")).unwrap() == fs::read(&large).unwrap());
    for count in ["0", "9", "x"] {
        let (status, _, said) = run("sftp_put", &["--connections", count, "large", &remote("none")]);
        assert_eq!((status, said.contains("no number of connections")), (Some(1), true), "{said}");
    }
    let (status, said, log) = run("sftp_get", &["--connections=3", &remote("large"), "striped back"]);
    assert_eq!((status, said.as_str()), (Some(0), "1 files, 9437184 bytes; 0 left as they were\n"), "{log}");
    assert!(fs::read(folder.file("striped back")).unwrap() == fs::read(&large).unwrap());
    let (status, _, said) = run("sftp_get", &[&remote("none"), "x"]);
    assert_eq!((status, said.contains("no such file")), (Some(1), true), "{said}");
    assert_eq!(ends(&mut Command::new(example("sftp_get")), b"").0, Some(1));
}

/// OpenSSH's tests, as its package has them, with our program for its sftp: with its server, and with ours.
#[test]
fn openssh_s_own_tests_with_our_program() {
    let regress =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/openssh-tests/usr/lib/openssh/regress");
    let Some(regress) = require("openssh-tests", Some(regress).filter(|path| path.is_dir())) else { return };
    let (Some((_, server)), Some(_)) = (openssh(), require("sshd", program("sshd"))) else { return };
    for server in [server, example("sftp_server")] {
        let folder = Folder::new();
        let here = folder.file("regress");
        assert!(Command::new("cp").arg("-a").arg(&regress).arg(&here).status().unwrap().success());
        for script in
            ["sftp", "sftp-batch", "sftp-badcmds", "sftp-cmds", "sftp-glob", "sftp-perm", "sftp-uri"]
        {
            let mut command = Command::new("timeout");
            command.args(["300", "sh"]).arg(here.join("test-exec.sh")).arg(&here);
            command.arg(here.join(format!("{script}.sh"))).current_dir(&here);
            command.env("OBJ", &here).env("BUILDDIR", &here).env("SUDO", "").env("USER", user());
            command
                .env("TEST_SHELL", "sh")
                .env("TEST_SSH_SSH", "ssh")
                .env("TEST_SSH_UNSAFE_PERMISSIONS", "1");
            command.env("TEST_SSH_PORT", peers::free_port().to_string());
            command.env("TEST_SSH_SFTPSERVER", &server).env("TEST_SSH_SFTP", ours());
            let (status, said, log) = ends(&mut command, b"");
            assert!(status == Some(0) && (said + &log).contains("ok "), "{script}: {log}");
        }
    }
}
