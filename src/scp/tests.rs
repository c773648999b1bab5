//! Hostile and honest peers, in memory.

use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::{SCPClient, SCPServer};
use crate::error::{Error, Result};
use crate::sys::file::tests::Directory;

/// A side that says what it says, whatever it hears.
struct Script {
    says: Cursor<Vec<u8>>,
    hears: Arc<Mutex<Vec<u8>>>,
}

impl Read for Script {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.says.read(buf)
    }
}

impl Write for Script {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.hears.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn scripted(says: impl AsRef<[u8]>) -> (SCPClient, Arc<Mutex<Vec<u8>>>) {
    let says = says.as_ref().to_vec();
    let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
    let hears = Arc::clone(&heard);
    let start = move |_: &[u8]| Ok(Script { says: Cursor::new(says.clone()), hears: Arc::clone(&hears) });
    (SCPClient::over(start), heard)
}

/// A client of our server, which serves a directory.
fn honest(server: SCPServer) -> SCPClient {
    SCPClient::over(move |command| {
        let (ours, theirs) = UnixStream::pair()?;
        let (server, command) = (server.clone(), command.to_vec());
        std::thread::spawn(move || drop(server.serve(&command, theirs)));
        Ok(ours)
    })
}

fn broke_rules(outcome: Result<()>, rule: &str) {
    match outcome {
        Err(Error::Protocol { text, .. }) => assert!(text.contains(rule), "{text}"),
        other => panic!("{rule}: {other:?}"),
    }
}

fn failure(outcome: Result<()>) -> String {
    match outcome {
        Err(Error::Scp(failed)) => failed.to_string(),
        other => panic!("{other:?}"),
    }
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn names_that_were_not_asked_for() {
    let dir = Directory::new();
    let inside = dir.file("in");
    fs::create_dir(&inside).unwrap();
    for (says, rule) in [
        // CVE-2019-6111
        ("C0644 1 .bashrc\nx\0", "not asked for"),
        ("C0644 1 file\nx\0C0644 1 other\nx\0", "not asked for"),
        ("C0644 1 file\nx\0C0644 1 file\nx\0", "a second time"),
        // CVE-2006-0225 and its heirs
        ("C0644 1 ../file\nx\0", "unexpected filename"),
        ("C0644 1 /file\nx\0", "unexpected filename"),
        ("C0644 1 ..\nx\0", "unexpected filename"),
        // CVE-2018-20685
        ("D0777 0 .\nE\n", "unexpected filename"),
        ("D0777 0 \nE\n", "unexpected filename"),
        ("D0777 0 file\nE\n", "a directory, which was not asked for"),
        ("E\n", "the end of no directory"),
        ("Welcome to the server\nC0644 1 file\nx\0", "expected control record: \\\"Welcome"),
    ] {
        let (client, _) = scripted(says);
        let rule = rule.replace("\\\"", "\"");
        broke_rules(client.get("/dir/file", &inside), &rule);
        let came: Vec<String> = names(&inside);
        assert!(came.is_empty() || came == ["file"], "{says}: {came:?}");
        let _ = fs::remove_file(inside.join("file"));
        assert_eq!(names(&dir.0), ["in"], "{says}");
    }
    let (client, _) = scripted("C0644 1 evil\nx\0");
    broke_rules(client.get("/dir/file", dir.file("file")), "not asked for");
    let (client, _) = scripted("C0644 1 .rc\nx\0");
    broke_rules(client.clone().expand(true).get("dir/*", &inside), "not asked for");
    client.check_names(false).get("dir/*", &inside).unwrap();
    assert_eq!(names(&inside), [".rc"]);
    let (client, _) = scripted("C0644 1 a.c\nx\0C0644 1 b.c\ny\0");
    client.clone().expand(true).get("dir/*.c", &inside).unwrap();
    broke_rules(client.expand(true).get("dir/*.c", dir.file("one")), "one file was asked for");
    assert_eq!(names(&inside), [".rc", "a.c", "b.c"]);
}

#[test]
fn directories_stay_where_they_are() {
    let dir = Directory::new();
    let (inside, outside) = (dir.file("in"), dir.file("out"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    let get = |says: &str| scripted(says).0.recursive(true).get("tree", &inside);
    broke_rules(get("D0755 0 other\nE\n"), "not asked for");
    broke_rules(get("D0755 0 tree\nD0755 0 ..\nE\nE\n"), "unexpected filename");
    broke_rules(get("D0755 0 tree\nC0644 1 a/../../x\nx\0E\n"), "unexpected filename");
    broke_rules(get("D0755 0 tree\n"), "a directory without end");
    broke_rules(get(&"D0755 0 tree\n".repeat(70)), "too deep");
    broke_rules(get("D0755 0 tree\nE\nE\n"), "the end of no directory");
    broke_rules(get("D0755 0 tree\nC0644 0 a\n\0C0644 0 a\n\0E\n"), "a second time");
    fs::remove_dir_all(inside.join("tree")).unwrap();
    // Links that somebody has planted: one for a directory, one for a file.
    symlink(&outside, inside.join("tree")).unwrap();
    assert!(failure(get("D0755 0 tree\n")).contains("tree"));
    fs::remove_file(inside.join("tree")).unwrap();
    fs::create_dir(inside.join("tree")).unwrap();
    symlink(outside.join("x"), inside.join("tree/x")).unwrap();
    symlink(&outside, inside.join("tree/d")).unwrap();
    assert!(failure(get("D0755 0 tree\nC0644 1 x\nE\n")).contains("is a symbolic link"));
    assert!(failure(get("D0755 0 tree\nD0755 0 d\nE\n")).contains("tree/d"));
    assert!(names(&outside).is_empty());
    // The mode is ours to widen while it is filled, and its own at the end.
    get("D0500 0 tree\nD0500 0 sub\nC0400 1 f\nx\0E\nE\n").unwrap();
    assert_eq!(fs::metadata(inside.join("tree/sub")).unwrap().mode() & 0o7777, 0o500);
}

#[test]
fn sizes_that_lie_and_streams_that_end() {
    let dir = Directory::new();
    let target = dir.file("file");
    fs::write(&target, "what was there before, which is longer").unwrap();
    let lost = |says: &str| match scripted(says).0.get("file", &target) {
        Err(Error::Io { source, .. }) => assert_eq!(source.kind(), io::ErrorKind::UnexpectedEof, "{says}"),
        other => panic!("{says}: {other:?}"),
    };
    lost("C0644 9223372036854775807 file\nshort");
    assert_eq!(fs::read(&target).unwrap(), b"short");
    lost("C0644 5 file\nwhole");
    lost("C0644 5 fi");
    lost("");
    broke_rules(scripted("C0644 2 file\nlonger\n").0.get("file", &target), "no status");
    broke_rules(scripted("C0644 99999999999999999999 file\n").0.get("file", &target), "bad size");
    let endless = [b"C0644 1 ".as_slice(), &[b'x'; 100_000]].concat();
    broke_rules(scripted(endless).0.get("file", &target), "too long");
}

#[test]
fn what_a_side_says_is_shown_harmlessly_and_not_for_ever() {
    let dir = Directory::new();
    // CVE-2019-6109 and 6110
    let (client, _) = scripted("\u{1}\x1b[2Jscp: file: Permission denied\nC0644 2 file\nok\0");
    let outcome = client.get("file", dir.file("file"));
    let Err(Error::Scp(failed)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(failed.failures[0].text, "\\u{1b}[2Jscp: file: Permission denied");
    assert_eq!(failed.kind(), io::ErrorKind::PermissionDenied);
    assert!(failed.failures[0].from_peer);
    assert_eq!(fs::read(dir.file("file")).unwrap(), b"ok");
    let (client, _) = scripted("\u{2}gone\nC0644 2 file\nok\0");
    assert_eq!(failure(client.get("file", dir.file("other"))), "gone");
    assert!(!dir.file("other").exists());
    let flood = scripted("\u{1}x\n".repeat(20_000)).0.get("file", dir.file("other"));
    assert!(matches!(flood, Err(Error::Limit { .. })), "{flood:?}");
    let many: String = (0..100).map(|number| format!("C0644 0 {number}\n\0")).collect();
    let many = scripted(many).0.check_names(false).max_entries(50).get("*", &dir.0);
    assert!(matches!(many, Err(Error::Limit { .. })), "{many:?}");
    let strange = scripted("\0\x1b]0;x\x07hello\n").0.put("/dev/null", "x");
    assert!(matches!(strange, Err(Error::Scp(_))), "{strange:?}");
    fs::write(dir.file("plain"), "x").unwrap();
    broke_rules(scripted("\0hello\x07\n").0.put(dir.file("plain"), "x"), "no status but \"hello\\u{7}\"");
}

#[test]
fn modes() {
    let dir = Directory::new();
    let mode = |name: &str| fs::metadata(dir.file(name)).unwrap().mode() & 0o7777;
    scripted("C6755 1 file\nx\0").0.get("file", &dir.0).unwrap();
    assert_eq!(mode("file") & 0o7000, 0);
    scripted("C4400 1 other\nx\0").0.get("other", &dir.0).unwrap();
    assert_eq!(mode("other"), 0o400);
    scripted("C4755 1 file\nx\0").0.preserve(true).get("file", &dir.0).unwrap();
    assert_eq!(mode("file"), 0o4755);
    fs::set_permissions(dir.file("file"), fs::Permissions::from_mode(0o600)).unwrap();
    scripted("C0777 1 file\ny\0").0.get("file", &dir.0).unwrap();
    assert_eq!(mode("file"), 0o600);
    scripted("T1000 5 2000 6\nC0644 0 file\n\0").0.preserve(true).get("file", &dir.0).unwrap();
    let stat = fs::metadata(dir.file("file")).unwrap();
    assert_eq!((stat.mtime(), stat.mtime_nsec(), stat.atime(), stat.atime_nsec()), (1000, 5000, 2000, 6000));
}

#[test]
fn a_sink_without_room() {
    let dir = Directory::new();
    // What cannot be written is read on, and the next file comes.
    let says = [b"C0644 100000 a\n".as_slice(), &[0; 100_001], b"C0644 1 b\nx\0"].concat();
    let (client, _) = scripted(says);
    fs::create_dir(dir.file("to")).unwrap();
    symlink("/dev/full", dir.file("full")).unwrap();
    let (one, heard) = scripted([b"C0644 100000 a\n".as_slice(), &[0; 100_001]].concat());
    assert!(failure(one.get("a", dir.file("full"))).ends_with("full: No space left on device"));
    assert!(heard.lock().unwrap().windows(7).any(|words| words == b"\x01scp: /"));
    client.clone().check_names(false).get("*", dir.file("to")).unwrap();
    assert_eq!(names(&dir.file("to")), ["a", "b"]);
    let (huge, heard) = scripted([b"C0644 9000000000000 a\n".as_slice(), &[0; 300_000]].concat());
    assert!(failure(huge.get("a", dir.file("full"))).ends_with("No space left on device"));
    assert!(heard.lock().unwrap().contains(&2));
    let mut none: &mut [u8] = &mut [];
    let outcome = scripted("C0644 5 a\nhello\0").0.getfo("a", &mut none);
    assert!(matches!(outcome, Err(Error::Scp(_))), "{outcome:?}");
}

#[test]
fn trees_go_there_and_back() {
    let dir = Directory::new();
    let (root, tree, back) = (dir.file("root"), dir.file("tree"), dir.file("back"));
    for made in [&root, &tree, &back] {
        fs::create_dir(made).unwrap();
    }
    let deep = (0..40).fold(tree.clone(), |path, number| path.join(format!("d{number}")));
    fs::create_dir_all(&deep).unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    for (name, data) in [("empty", &b""[..]), ("with space", b"1"), ("it's \"q\"", b"2"), ("large", &large)] {
        fs::write(tree.join(name), data).unwrap();
    }
    fs::write(deep.join("last"), "x").unwrap();
    use std::os::unix::ffi::OsStrExt;
    let wild = std::ffi::OsStr::from_bytes(b"\xff\x1b");
    fs::write(tree.join(wild), "wild").unwrap();
    fs::set_permissions(tree.join("empty"), fs::Permissions::from_mode(0o751)).unwrap();
    let shared = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&shared);
    let client = honest(SCPServer::new(&root)).recursive(true).preserve(true).progress(move |file| {
        if file.done == file.total {
            told.lock().unwrap().push(file.name.to_string());
        }
    });
    client.put(&tree, "").unwrap();
    client.put(&tree, "other").unwrap();
    client.get("tree", &back).unwrap();
    client.get("/../other/.", back.join("x")).unwrap_err();
    assert_eq!(fs::read(back.join("tree/large")).unwrap(), large);
    assert_eq!(fs::read(back.join("tree").join(wild)).unwrap(), b"wild");
    assert_eq!(fs::metadata(back.join("tree/empty")).unwrap().mode() & 0o7777, 0o751);
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let micros = |path: &Path| time(path).duration_since(std::time::UNIX_EPOCH).unwrap().as_micros();
    assert_eq!(micros(&back.join("tree")), micros(&tree));
    assert_eq!(micros(&back.join("tree/with space")), micros(&tree.join("with space")));
    assert_eq!(names(&root.join("other")), names(&tree));
    assert!(shared.lock().unwrap().iter().any(|name| name == "large"));
    // Newlines cannot be said.
    fs::write(tree.join("a\nb"), "").unwrap();
    assert!(failure(client.put(&tree, "third")).contains("a\\nb: the protocol has no way"));
    assert_eq!(names(&root.join("third")).len(), names(&tree).len() - 1);
}

#[test]
fn a_root_that_nothing_leaves() {
    let dir = Directory::new();
    let root = dir.file("root");
    fs::create_dir(&root).unwrap();
    fs::write(dir.file("secret"), "secret").unwrap();
    fs::write(root.join("a.c"), "a").unwrap();
    fs::write(root.join("b.c"), "b").unwrap();
    symlink(&dir.0, root.join("up")).unwrap();
    symlink(dir.file("secret"), root.join("link")).unwrap();
    let client = honest(SCPServer::new(&root));
    let mut read = Vec::new();
    client.getfo("/../../a.c", &mut read).unwrap();
    assert_eq!(read, b"a");
    let into = dir.file("into");
    fs::create_dir(&into).unwrap();
    for path in ["../secret", "up/secret", "link", "up", "/up/root/a.c"] {
        assert!(!failure(client.clone().recursive(true).get(path, &into)).is_empty(), "{path}");
        assert!(
            !failure(client.put(root.join("a.c"), format!("up/{}", path.trim_start_matches("../"))))
                .is_empty(),
            "{path}"
        );
    }
    assert!(failure(client.put(root.join("a.c"), "link")).contains("is a symbolic link"));
    assert_eq!(fs::read(dir.file("secret")).unwrap(), b"secret");
    assert!(names(&into).is_empty());
    client.clone().expand(true).get("*.c", &into).unwrap();
    assert_eq!(names(&into), ["a.c", "b.c"]);
    assert!(failure(client.clone().expand(true).get("$(id)", &into)).contains("there is no shell here"));
    assert_eq!(
        failure(client.get("none", &into)),
        "scp: none: No such file or directory".replace("none", "/none")
    );
    let reader = honest(SCPServer::new(&root).read_only(true));
    assert!(failure(reader.put(root.join("a.c"), "new")).contains("new"));
    assert!(!root.join("new").exists());
    let text = b"hello".repeat(1000);
    client.putfo(&mut text.as_slice(), 5000, "made", 0o640).unwrap();
    assert_eq!(fs::read(root.join("made")).unwrap(), text);
    assert!(failure(client.putfo(&mut text.as_slice(), 6000, "short", 0o640)).contains("shorter"));
    assert!(client.into_directory(true).put(root.join("a.c"), "made").is_err());
}

#[test]
fn a_client_that_breaks_the_rules() {
    let dir = Directory::new();
    let serve = |command: &str, says: &str| {
        let hears: Arc<Mutex<Vec<u8>>> = Arc::default();
        let script = Script { says: Cursor::new(says.as_bytes().to_vec()), hears: Arc::clone(&hears) };
        let served = SCPServer::new(&dir.0).serve(command.as_bytes(), script);
        (served, String::from_utf8(hears.lock().unwrap().clone()).unwrap())
    };
    let (served, heard) = serve("scp -t .", "C0644 1 ../x\nx\0");
    assert!(matches!(served, Err(Error::Protocol { .. })));
    assert!(heard.contains("\u{2}scp: protocol error: unexpected filename"), "{heard:?}");
    let (served, heard) = serve("rm -rf .", "");
    assert!(served.is_ok_and(|status| !status.success()));
    assert!(heard.starts_with('\u{2}'), "{heard:?}");
    let (_, heard) = serve("scp -t . ; id", "");
    assert!(heard.contains("no shell"), "{heard:?}");
    let (served, _) = serve("scp -f .", "\u{2}\n");
    assert!(served.is_ok_and(|status| !status.success()));
    assert!(names(&dir.0).is_empty());
}

/// A stream that breaks after so many bytes of either direction.
struct Cut {
    stream: UnixStream,
    left: usize,
}

impl Cut {
    fn take(&mut self, count: usize) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(count.min(self.left))
    }
}

impl Read for Cut {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = self.take(buf.len())?;
        let count = self.stream.read(&mut buf[..most])?;
        self.left -= count;
        Ok(count)
    }
}

impl Write for Cut {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let most = self.take(buf.len())?;
        let count = self.stream.write(&buf[..most])?;
        self.left -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that breaks at any byte is an error, never half a file that passes for a whole one.
#[test]
fn a_connection_that_breaks_anywhere() {
    let dir = Directory::new();
    let (root, back) = (dir.file("root"), dir.file("back"));
    fs::create_dir_all(root.join("tree/sub")).unwrap();
    fs::write(root.join("tree/sub/file"), [7; 100]).unwrap();
    fs::write(root.join("tree/other"), [8; 50]).unwrap();
    let mut whole = false;
    for left in 0..600 {
        let server = SCPServer::new(&root);
        let client = SCPClient::over(move |command| {
            let (ours, theirs) = UnixStream::pair()?;
            let (server, command) = (server.clone(), command.to_vec());
            std::thread::spawn(move || drop(server.serve(&command, theirs)));
            Ok(Cut { stream: ours, left })
        });
        for put in [false, true] {
            let _ = fs::remove_dir_all(&back);
            let _ = fs::remove_dir_all(root.join("new"));
            fs::create_dir(&back).unwrap();
            let client = client.clone().recursive(true).preserve(true);
            let copied = if put { client.put(root.join("tree"), "new") } else { client.get("tree", &back) };
            let to = if put { root.join("new") } else { back.join("tree") };
            if copied.is_ok() {
                assert_eq!(fs::read(to.join("sub/file")).unwrap(), [7; 100], "{left}");
                assert_eq!(fs::read(to.join("other")).unwrap(), [8; 50], "{left}");
                whole = true;
            }
            assert!(left > 150 || copied.is_err(), "{left}");
        }
    }
    assert!(whole);
}

/// As the fuzzer does, on a small scale: whatever comes, nothing leaves the directory and nothing panics.
#[test]
fn any_bytes_at_all() {
    let dir = Directory::new();
    let inside = dir.file("in");
    let mut seed = 11_u64;
    let mut next = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    let parts: [&[u8]; 16] = [
        b"C0644 3 a\n",
        b"D0755 0 d\n",
        b"E\n",
        b"T1 0 1 0\n",
        b"abc\0",
        b"\0",
        b"\x01x\n",
        b"\x02\n",
        b"C0644 ",
        b"../",
        b"/",
        b"9",
        b"\n",
        b" ",
        b"D0000 0 ..\n",
        b"C7777 1 \xff\nx\0",
    ];
    for _ in 0..2_000 {
        let says: Vec<u8> = (0..next(12)).flat_map(|_| parts[next(parts.len())].to_vec()).collect();
        let _ = fs::remove_dir_all(&inside);
        fs::create_dir(&inside).unwrap();
        let client = scripted(&says).0.recursive(true).preserve(next(2) == 0).check_names(false);
        let _ = client.get("x", &inside);
        let _ = scripted(&says).0.recursive(true).put(&inside, "x");
        assert_eq!(names(&dir.0), ["in"], "{says:?}");
    }
}
